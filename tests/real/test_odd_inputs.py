"""Every odd TIFF comes out right or is refused in one line, and is left as it was."""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.enums import ColorInterp, MaskFlags

from geofsrcnn import upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.networks.checkpoint import Card, save_checkpoint
from tests.support import processes
from tests.support.networks import TINY, random_model
from tests.support.rasters import ODD, blocks, opened, state

FILES = sorted(path.name for path in ODD.glob("*.tif*") if path.suffix in (".tif", ".tiff"))
PEAK = 500 * 2**20

CATEGORICAL = {
    "gdal__huge-implied-number-strips.tif",
    "gdal__minimum_tiff_tags_with_warning.tif",
    "imagetiff__fax4.tiff",
    "imagetiff__miniswhite-1c-1b.tiff",
    "imagetiff__palette-1c-1b.tiff",
    "riocogeo__image_colormap.tif",
}
"""Whole, but of classes: only repeated."""

DAMAGED = {
    "gdal__byte_truncated.tif": (3, "cannot read rows 0 to 20, columns 0 to 20 of .*TIFFReadEncodedStrip"),
    "gdal__excessive-memory-TIFFFillTile.tif": (3, "cannot read rows .*Too large tile byte count"),
    "gdal__leak-ZIPSetupDecode.tif": (3, "cannot read rows .*Predictor"),
    "gdal__many_blocks_truncated.tif": (3, "cannot read rows "),
    "gdal__packbits-not-enough-data.tif": (3, "cannot read rows "),
    "gdal__ycbcr_24_lzw.tif": (3, "cannot read rows .*can not handle image"),
    "gdal__hugeblocksize.tif": (3, "cannot open .*Too large block size"),
    "gdal__jxl-rgbi.tif": (3, "cannot open .*missing codec JXL"),
    "gdal__strip_larger_than_2GB_header.tif": (6, r"block of 512 MiB .*\(limit 256\)"),
    "gdal__cfloat32.tif": (3, "complex data in band 1"),
    "gdal__cint16.tif": (3, "complex data in band 1"),
    "gdal__cint_sar.tif": (3, "complex data in band 1"),
    "gdal__complex_non_zero_real_zero_imag.tif": (3, "complex data in band 1"),
    "imagetiff__divide_by_zero_id_000019_sig_06_src_000.tif": (3, "cannot open .*RowsPerStrip"),
    "imagetiff__divide_by_zero_id_000022_sig_06_src_000.tif": (3, "cannot open .*RowsPerStrip"),
    "imagetiff__graydepth-invert-overflow-5a0aad5024cc4ff3.tiff": (3, "cannot open .*SamplesPerPixel"),
    "imagetiff__graydepth-invert-overflow-9f2f479685f84884.tiff": (3, "cannot open .*SamplesPerPixel"),
    "imagetiff__inf_loop_id_000028_src_000508_op_.tif": (3, "cannot read rows "),
    "imagetiff__inf_loop_id_000029_src_000556_000.tif": (3, "cannot read rows "),
    "imagetiff__oom_crash_id_000016_sig_06_src_000.tif": (3, "cannot open .*Compression"),
    "imagetiff__oom_crash_id_000034_sig_06_src_000.tif": (3, "cannot open .*ImageLength"),
    "imagetiff__oom_crash_id_000061_sig_06_src_000.tif": (3, "cannot open .*RowsPerStrip"),
    "rasterio__corrupt.tif": (3, "cannot read rows .*columns .*TIFFFillTile"),
}
"""Refused whatever the model, with what must be said."""


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A random network of factor 2 that keeps block means."""
    path = tmp_path_factory.mktemp("network") / "random.safetensors"
    save_checkpoint(path, random_model(3, **TINY, factor=2), Card(name="random"))
    return path


def facts(path: Path) -> dict[str, Any]:
    """Everything an output is compared on, read by plain rasterio."""
    with opened(path) as d:
        values = d.read()
        alpha = [i for i, colour in enumerate(d.colorinterp) if colour == ColorInterp.alpha]
        valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        if d.nodata is not None and not np.isnan(d.nodata):
            valid &= values != np.asarray(d.nodata).astype(values.dtype)
        flags = d.mask_flag_enums[0]
        if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
            valid &= d.read_masks(1) != 0
        for i in alpha:
            valid &= values[i] != 0
        return {
            "values": values,
            "valid": valid,
            "alpha": alpha,
            "corners": [d.transform * corner for corner in ((0, 0), (d.width, 0), (0, d.height), (d.width, d.height))],
            "georeferenced": not d.transform.is_identity,
            "crs": d.crs,
            "dtypes": set(d.dtypes),
            "nodata": repr(d.nodata),
            "colours": d.colorinterp,
            "described": (d.descriptions, d.units, d.scales, d.offsets),
            "gcps": len(d.gcps[0]),
            "xmp": d.tags(ns="xml:XMP"),
            "tags": d.tags(),
        }


def check_output(source: Path, output: Path, *, repeated: bool) -> None:
    """The output is the input at twice the resolution: place, meaning, missing cells, and means."""
    coarse, fine = facts(source), facts(output)
    bands, rows, columns = coarse["values"].shape
    assert fine["values"].shape == (bands, 2 * rows, 2 * columns)
    for key in ("dtypes", "nodata", "described", "crs", "georeferenced", "gcps", "alpha", "xmp"):
        assert fine[key] == coarse[key], key
    if coarse["georeferenced"]:
        assert np.allclose(fine["corners"], coarse["corners"], rtol=1e-12, atol=1e-9)
    assert np.array_equal(fine["valid"], coarse["valid"].repeat(2, 1).repeat(2, 2))
    inside = [i for i in range(bands) if i not in coarse["alpha"]]
    cells = blocks(fine["values"].astype(np.float64), 2)
    whole = coarse["values"].astype(np.float64)
    for i in coarse["alpha"] if not repeated else range(bands):
        assert (cells[i] == whole[i][..., None])[coarse["valid"][i]].all()
    for i in inside:
        valid = coarse["valid"][i]
        off = np.abs(cells[i].mean(-1) - whole[i])[valid]
        # a stored value that would equal nodata moves by one, in one cell of four
        step = 0.5 + 0.25 * (coarse["nodata"] != "None") if fine["values"].dtype.kind in "iu" else 0
        allowed = step + 1e-5 * (np.abs(whole[i][valid]).max() if valid.any() else 0)
        assert off.max(initial=0) <= allowed, (i, off.max())
    moved = any((np.ptp(cells[i], axis=-1) > 0)[coarse["valid"][i]].any() for i in inside)
    varied = any(np.unique(whole[i][coarse["valid"][i]]).size > 8 for i in inside)
    if repeated or varied:
        assert moved == (not repeated)
    stale = ("STATISTICS_", "OVR_", "TIFFTAG_M", "TIFFTAG_XRES", "TIFFTAG_YRES", "TIFFTAG_RES")
    kept = {k: v for k, v in coarse["tags"].items() if not k.startswith(stale) and "esolution" not in k}
    assert kept.items() <= fine["tags"].items()


@pytest.mark.skipif(not FILES, reason="the odd files are not beside the project")
def test_the_index_of_odd_files_names_no_other_tiff():
    """Every TIFF of the odd set is one of the files tried below, and every expectation is of one of them."""
    with (ODD / "INDEX.csv").open(encoding="utf-8") as file:
        named = {row["file"] for row in csv.DictReader(file) if row["file"].endswith((".tif", ".tiff"))}
    assert named == set(FILES)
    assert CATEGORICAL | DAMAGED.keys() <= named


ABSENT = [pytest.param("", marks=pytest.mark.skip("no odd files beside the project"))]


@pytest.mark.parametrize("name", [name for name in FILES if name not in DAMAGED] or ABSENT)
def test_whole_odd_tiffs_come_out_right(name, network, tmp_path):
    """Each odd TIFF that can be read comes out in place and whole, classes only repeated; the input is untouched."""
    source, output = ODD / name, tmp_path / "out.tif"
    before = state(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        if name in CATEGORICAL:
            with pytest.raises(InputError, match="categorical raster"):
                upscale_file(source, output, 2, network)
        upscale_file(source, output, 2, "nearest" if name in CATEGORICAL else network)
    check_output(source, output, repeated=name in CATEGORICAL)
    assert [p.name for p in tmp_path.iterdir()] == ["out.tif"]
    assert state(source) == before


@pytest.mark.parametrize("name", sorted(DAMAGED.keys() & set(FILES)) or ABSENT)
def test_damaged_odd_tiffs_are_refused_in_one_line(name, tmp_path):
    """Each odd TIFF that is damaged, too large or complex is refused in bounded memory and time; nothing is left."""
    source = ODD / name
    before = state(source)
    done = processes.run("upscale", source, tmp_path / "out.tif", "-f", 2, "-m", "nearest")
    code, words = DAMAGED[name]
    message = done.refused(code)
    assert re.search(words, message), message
    assert name in message
    assert done.peak < PEAK
    assert not list(tmp_path.iterdir())
    assert state(source) == before
