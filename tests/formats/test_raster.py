"""Bad and odd rasters: refused in time, in bounded memory and in plain words, or read right."""

from __future__ import annotations

import math
import shutil
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from rasterio.enums import ColorInterp

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import (
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    LimitError,
    ModelError,
    OutputError,
    UsageError,
)
from geofsrcnn.files.paths import watch_changes
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.machine import peak_memory
from tests.support.rasters import NOWHERE, created, opened, read, state, terrain, write

VRT = '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte">{}</VRTRasterBand></VRTDataset>'


@pytest.fixture
def output(tmp_path) -> Path:
    """An output name in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "fine.tif"


@pytest.fixture
def source(tmp_path) -> Path:
    """An input name."""
    return tmp_path / "coarse.tif"


def refused(source: Path, output: Path, error: type[GeofsrcnnError], words: str, **options: object) -> None:
    """The raster is refused with these words; the input is untouched and there is no output."""
    before = state(source) if source.is_file() else None
    with pytest.raises(error, match=words):
        upscale_file(source, output, 2, options.pop("model", "bilinear"), **options)
    assert not list(output.parent.iterdir())
    assert before is None or state(source) == before


def warned(source: Path, output: Path, code: str, words: str, **options: object) -> None:
    """The raster is upscaled with this warning, which is given once."""
    with pytest.warns(GeofsrcnnWarning, match=f"{code}: .*{words}") as caught:
        upscale_file(source, output, 2, options.pop("model", "bilinear"), overwrite=True, **options)
    assert [w.message.code for w in caught] == [code]


def tiff(tags: dict[int, tuple[int, int, int]], data: bytes = b"", order: str = "<") -> bytes:
    """A TIFF file by hand: tags as ``{number: (type, count, value)}``, then data at offset 8."""
    at = 8 + len(data) + len(data) % 2
    entries = b"".join(struct.pack(f"{order}HHII", key, *tags[key]) for key in sorted(tags))
    start = b"II*\0" if order == "<" else b"MM\0*"
    return (
        start
        + struct.pack(f"{order}I", at)
        + data.ljust(at - 8, b"\0")
        + struct.pack(f"{order}H", len(tags))
        + entries
        + bytes(4)
    )


def grey(rows: int, columns: int, **more: int) -> dict[int, tuple[int, int, int]]:
    """Tags of an 8-bit grey image of one strip at offset 8."""
    names = {"compression": 259, "rows_per_strip": 278, "bytes": 279, "tile_width": 322, "tile_height": 323}
    tags = {
        256: (4, 1, columns),
        257: (4, 1, rows),
        258: (3, 1, 8),
        259: (3, 1, 1),
        262: (3, 1, 1),
        273: (4, 1, 8),
        277: (3, 1, 1),
        278: (4, 1, rows),
        279: (4, 1, rows * columns % 2**32),
    }
    for name, value in more.items():
        tags[names[name]] = (4 if value > 65535 else 3, 1, value)
    return tags


# ------------------------------------------------------------------------------------ B1 to B3: not GeoTIFFs


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            VRT.format("").encode(),
            r"not a GeoTIFF: coarse.tif \(it starts with '<VRTDataset rast'\): read it with driver='VRT'",
        ),
        (b'<GDAL_WMS><Service name="WMS"/></GDAL_WMS>', "it starts with '<GDAL_WMS>"),
        (b'{"type": "FeatureCollection"}', "it starts with"),
        (b"<!DOCTYPE html><html>404</html>", "a web page, not data: coarse.tif: the download went wrong"),
        (b"", r"not a GeoTIFF: coarse.tif \(it is empty\)"),
        (b"I", "it starts with 'I'"),
        (b"II*", "not a GeoTIFF"),
        (b"some text", "it starts with 'some text'"),
        (b"\x1b[31mred", r"it starts with '\\x1b\[31mred'"),
        (b"II*\0", "cannot open coarse.tif as GTiff"),
        (b"II*\0" + bytes(11), "cannot open coarse.tif as GTiff"),
        (b"GRIB" + bytes(20), "GRIB, not a GeoTIFF: coarse.tif"),
        (b"\x89PNG\r\n\x1a\n", "not a GeoTIFF"),
    ],
)
def test_files_that_are_no_tiffs(source, output, content, words):
    """What a file is counts, not its suffix: each is refused in its own words."""
    source.write_bytes(content)
    refused(source, output, InputError, words)


def test_a_vrt_in_disguise_opens_no_other_file(source, output):
    """A VRT under the name of a TIFF is refused; what it refers to is not even looked at."""
    secret = source.with_name("secret.tif")
    write(secret, terrain((4, 4)))
    inner = f'<SimpleSource><SourceFilename relativeToVRT="0">{secret}</SourceFilename></SimpleSource>'
    source.write_text(VRT.format(inner))
    seen = secret.stat().st_atime_ns
    refused(source, output, InputError, "not a GeoTIFF.*<VRTDataset")
    assert secret.stat().st_atime_ns == seen


def test_missing_files_and_folders(source, output):
    """A missing file and a folder are refused each in its own words."""
    refused(source, output, InputError, "no such file: .*coarse.tif")
    source.mkdir()
    refused(source, output, InputError, "a folder, neither a GeoTIFF nor a Zarr group: coarse.tif")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("coarse.tif", b"\x89HDF\r\n\x1a\n" + bytes(20), "HDF5, not a GeoTIFF: coarse.tif: convert it"),
        ("coarse.tif", b"CDF\1" + bytes(20), "NetCDF, not a GeoTIFF: coarse.tif"),
        ("coarse.tif/zarr.json", b"{}", "Zarr, not a GeoTIFF: coarse.tif"),
    ],
)
def test_a_source_of_rasters_takes_no_dataset(tmp_path, name, content, words):
    """NetCDF and Zarr have readers of their own."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        RasterSource(tmp_path / "coarse.tif")


# ------------------------------------------------------------------------------------- B4 to B7: damage and bombs


@pytest.mark.parametrize("compress", [None, "deflate", "zstd", "lzw"])
@pytest.mark.parametrize("tiled", [True, False])
def test_truncated_rasters_fail_at_the_first_bad_block(source, output, compress, tiled):
    """A file that is cut short is refused where it cannot be read, and the window is named."""
    data = np.random.default_rng(0).normal(size=(96, 96)).astype("float32")
    options = {"tiled": True, "blockxsize": 32, "blockysize": 32} if tiled else {"blockysize": 8}
    write(source, data, compress=compress, **options)
    with tifffile.TiffFile(source) as file:
        last = max(file.pages[0].dataoffsets)
    with source.open("r+b") as file:
        file.truncate(last + 40)
    refused(source, output, InputError, r"cannot (read rows \d+ to \d+, columns \d+ to \d+ of|open) coarse.tif .*")


def test_a_corrupt_block_is_named(source, output):
    """Rubbish in one block is refused with the window that holds it."""
    write(source, np.random.default_rng(0).integers(0, 9, (96, 96)).astype("uint8"), compress="deflate", blockysize=8)
    with tifffile.TiffFile(source) as file:
        place = file.pages[0].dataoffsets[9]
    with source.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 20)
    words = r"cannot read rows 64 to 80, columns 0 to 16 of coarse.tif \(.*\): is the file whole\?"
    refused(source, output, InputError, words, model="nearest", tile_size=16)


@pytest.mark.parametrize(
    ("tags", "error", "words"),
    [
        (grey(50_000, 55_000), LimitError, r"declares 2.6 GiB in a file of \d+ bytes: .*allow_sparse=True"),
        (grey(60_000, 60_000, rows_per_strip=1), LimitError, "declares 3.4 GiB in a file of"),
        (grey(200_000, 200_000, rows_per_strip=16), LimitError, r"declares 37.3 GiB in a file of \d+ bytes"),
        (grey(16, 2**31 - 1), (InputError, LimitError), "coarse.tif"),
        (grey(2**31, 2**31), InputError, "cannot open coarse.tif"),
        (grey(0, 5), InputError, "cannot open coarse.tif|raster without cells"),
        (grey(5, 5, compression=50_002), InputError, "cannot open coarse.tif"),
        (grey(5, 5, compression=12_345), InputError, "cannot open coarse.tif"),
    ],
    ids=["one strip", "many strips", "huge", "wide", "absurd", "empty", "JXL", "unknown codec"],
)
def test_small_files_that_declare_much(source, output, tags, error, words):
    """A few hundred bytes that declare gigabytes are refused before anything of that size is asked for."""
    source.write_bytes(tiff(tags, bytes(64)))
    before = peak_memory()
    refused(source, output, error, words)
    assert peak_memory() - before < 100 * 2**20


@pytest.mark.parametrize("codec", ["deflate", "zstd", "none"])
def test_bombs_are_refused_before_they_are_unpacked(source, output, codec):
    """A few kB that unpack to one tile of 400 MB are refused by the tile's size."""
    side = 20_480
    data, number = b"\x28\xb5\x2f\xfd" + bytes(100), {"deflate": 8, "zstd": 50_000, "none": 1}[codec]
    if codec == "deflate":
        packer = zlib.compressobj(9)
        data = b"".join(packer.compress(bytes(2**20)) for _ in range(side**2 // 2**20)) + packer.flush()
    tags = {key: tag for key, tag in grey(side, side, compression=number).items() if key not in (273, 278, 279)}
    tags |= {322: (4, 1, side), 323: (4, 1, side), 324: (4, 1, 8), 325: (4, 1, len(data))}
    source.write_bytes(tiff(tags, data))
    before = peak_memory()
    refused(source, output, LimitError, r"block of 400 MiB in coarse.tif \(limit 256\): rewrite it with")
    assert peak_memory() - before < 100 * 2**20


def test_sparse_rasters_on_request(source, output):
    """Reading a thousand times the size of a file needs --allow-sparse; a small part of it is read without."""
    with created(source, (1, 40_000, 40_000), "uint8", tiled=True, SPARSE_OK="TRUE", nodata=255) as d:
        d.write(np.full((256, 256), 7, "uint8"), 1, window=((0, 256), (0, 256)))
    refused(source, output, LimitError, "declares 1.5 GiB in a file of .*allow_sparse=True")
    most = (500_000, 6_000_000 - 39_000 * 30, 500_000 + 39_000 * 30, 6_000_000)
    refused(source, output, LimitError, "declares 1.4 GiB in a file of .*allow_sparse=True", bounds=most)
    bounds = (500_000, 6_000_000 - 300 * 30, 500_000 + 300 * 30, 6_000_000)
    warned(source, output, "W-SPARSE", "lacks blocks", model="nearest", bounds=bounds)
    fine = read(output, 1)
    assert fine.shape == (600, 600)
    assert (fine[:512, :512] == 7).all()
    assert (fine[512:] == 255).all()
    assert (fine[:, 512:] == 255).all()


@pytest.mark.parametrize("nodata", [None, 9])
def test_absent_blocks_are_nodata_or_zero(source, output, nodata):
    """Blocks that a sparse file lacks are nodata, or 0 without one, with W-SPARSE."""
    with created(
        source, (1, 64, 64), "uint8", tiled=True, blockxsize=32, blockysize=32, SPARSE_OK=1, nodata=nodata
    ) as d:
        d.write(np.full((32, 32), 5, "uint8"), 1, window=((0, 32), (32, 64)))
    warned(source, output, "W-SPARSE", "lacks blocks", model="nearest")
    fine = read(output, 1)
    assert (fine[:64, 64:] == 5).all()
    assert (fine[64:] == (nodata or 0)).all()
    with opened(output) as d:
        assert d.nodata == nodata


def test_a_scattered_file_without_blocks_is_nodata(source, output):
    """A raster of absent blocks only is all nodata, and upscales to all nodata."""
    with created(source, (1, 64, 64), "float32", tiled=True, blockxsize=32, blockysize=32, SPARSE_OK=1, nodata=-1):
        pass
    warned(source, output, "W-SPARSE", "lacks blocks")
    assert (read(output) == -1).all()


# ------------------------------------------------------------------------------- B10, B11: georeference


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (NOWHERE, "has no transform: the output has none either"),
        ({"crs": None}, "has no CRS: the output has none either"),
    ],
)
def test_what_is_not_there_is_not_made_up(source, output, profile, words):
    """Without CRS or transform there is W-NOGEO, and the output has none either."""
    write(source, terrain(), **profile)
    warned(source, output, "W-NOGEO", words)
    with opened(output) as d:
        assert d.crs is None
        assert d.transform.is_identity == ("transform" in profile)


def test_geolocation_arrays_are_dropped_with_a_warning(source, output):
    """Geolocation arrays are of the coarse grid: dropped with W-GEOLOC, never half kept."""
    with created(source, (1, 6, 6), "float32") as d:
        d.write(terrain((1, 6, 6)).astype("float32"))
        d.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif", PIXEL_OFFSET="0", PIXEL_STEP="1")
    warned(source, output, "W-GEOLOC", "geolocation arrays, which are dropped")
    with opened(output) as d:
        assert d.tags(ns="GEOLOCATION") == {}


# ---------------------------------------------------------------------------------------- B13 to B15: nodata


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", -9999), ("int16", 1e6), ("uint16", math.nan)])
def test_a_nodata_value_that_cannot_occur(source, output, dtype, nodata):
    """A nodata value beyond the type is no nodata value."""
    write(source, np.rint(terrain(high=200)).astype(dtype))
    set_nodata(source, nodata)
    upscale_file(source, output, 2, "bilinear")
    with opened(output) as d:
        assert d.nodata is None
        assert np.array_equal(d.read(1), upscale_array(read(source, 1), 2, "bilinear"))


def set_nodata(path: Path, nodata: float) -> None:
    """GDAL_NODATA by hand: rasterio refuses values out of range."""
    with tifffile.TiffFile(path) as file:
        data = read(path)
        geo = {t.code: t for t in file.pages[0].tags.values() if t.code in (33550, 33922, 34735, 34736, 34737)}
        extra = [(t.code, t.dtype, t.count, t.value, False) for t in geo.values()]
    tifffile.imwrite(path, data[0], extratags=[*extra, (42113, "s", 0, str(nodata), False)], metadata=None)


@pytest.mark.parametrize("missing", [np.nan, -9999.0])
@pytest.mark.parametrize("model", ["lanczos-bp", "network"])
def test_all_missing_and_missing_tiles(source, output, random_network, missing, model):
    """A raster or a tile of nothing but nodata comes out as nodata; its neighbours are what they would be."""
    chosen = random_network(2) if model == "network" else model
    data = terrain((60, 70)).astype("float32")
    data[:40, :40] = missing
    write(source, data, nodata=missing)
    upscale_file(source, output, 2, chosen, tile_size=16)
    expected = upscale_array(data, 2, chosen, nodata=missing, tile_size=16)
    assert np.array_equal(read(output, 1), expected, equal_nan=True)
    assert np.array_equal(read(output, 1)[:80, :80], np.full((80, 80), missing, "float32"), equal_nan=True)
    write(source, np.full((20, 20), missing, "float32"), nodata=missing)
    upscale_file(source, output, 2, chosen, overwrite=True)
    assert np.array_equal(read(output, 1), np.full((40, 40), missing, "float32"), equal_nan=True)


def test_infinite_values_are_missing(source, output):
    """Infinities are taken as missing, with W-INF, and reach no neighbour."""
    data = terrain((20, 20)).astype("float32")
    data[5, 6], data[9, 9] = np.inf, -np.inf
    write(source, data)
    warned(source, output, "W-INF", "holds infinite values, which are taken as missing")
    fine = read(output, 1)
    assert np.isnan(fine).sum() == 8
    valid = np.isfinite(data)
    assert np.array_equal(fine, upscale_array(np.where(valid, data, np.nan), 2, "bilinear"), equal_nan=True)


@pytest.mark.parametrize("value", [1e38, 3.3e38, 1e-42, -1e38, 0.0, 42.0])
def test_large_tiny_and_constant_values(source, output, random_network, value):
    """Constants come out as they are, at the ends of float32 too, and finite cells stay finite."""
    data = np.full((12, 13), value, "float32")
    write(source, data)
    upscale_file(source, output, 2, random_network(2))
    assert np.allclose(read(output), value, rtol=1e-6, atol=0)
    data[3, 4] = value / 2 + 1e-45
    write(source, data)
    upscale_file(source, output, 2, random_network(2), overwrite=True)
    assert np.isfinite(read(output)).all()


def test_an_external_mask_counts_on_request(source, output):
    """A .msk beside the input is ignored with W-SIDECAR, and used with --sidecars."""
    data = terrain((10, 11)).astype("float32")
    write(source, data)
    mask = np.full((10, 11), 255, "uint8")
    mask[4:7, 2:5] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO"), rasterio.open(source, "r+") as d:
        d.write_mask(mask)
    assert source.with_name("coarse.tif.msk").exists()
    warned(source, output, "W-SIDECAR", r"ignored beside coarse.tif: coarse.tif.msk: read with sidecars=True")
    assert np.array_equal(read(output, 1), upscale_array(data, 2, "bilinear"))
    before = state(source)
    upscale_file(source, output, 2, "bilinear", sidecars=True, overwrite=True)
    with opened(output) as d:
        assert np.array_equal(d.read_masks(1), mask.repeat(2, 0).repeat(2, 1))
        valid = d.read_masks(1) != 0
        assert np.array_equal(d.read(1)[valid], upscale_array(data, 2, "bilinear", valid=mask != 0)[valid])
    assert state(source) == before


@pytest.mark.parametrize("name", ["coarse.tif.aux.xml", "coarse.tfw", "coarse.tifw", "coarse.wld"])
def test_sidecars_change_nothing_unless_asked(source, output, name):
    """World files and PAM beside the input have no say, are warned of, and are never written or removed."""
    write(source, terrain(), **NOWHERE)
    text = "1\n0\n0\n-1\n100\n200\n"
    if name.endswith("xml"):
        band = '<PAMRasterBand band="1"><NoDataValue>0</NoDataValue></PAMRasterBand>'
        text = f"<PAMDataset><SRS>EPSG:4326</SRS>{band}</PAMDataset>"
    source.with_name(name).write_text(text)
    before = state(source)
    with pytest.warns(GeofsrcnnWarning, match="W-(SIDECAR|NOGEO)") as caught:
        upscale_file(source, output, 2, "bilinear")
    assert f"ignored beside coarse.tif: {name}: read with sidecars=True" in str(caught[0].message)
    assert [w.message.code for w in caught] == ["W-SIDECAR", "W-NOGEO"]
    with opened(output) as d:
        assert (d.crs, d.nodata, d.transform.is_identity) == (None, None, True)
    assert state(source) == before


def test_a_world_file_counts_on_request(source, output):
    """With --sidecars a world file gives the transform, and the input is still not written to."""
    write(source, terrain(), **NOWHERE)
    source.with_suffix(".tfw").write_text("10\n0\n0\n-10\n105\n195\n")
    before = state(source)
    with pytest.warns(GeofsrcnnWarning, match="W-NOGEO: .*no CRS"):
        upscale_file(source, output, 2, "bilinear", sidecars=True)
    with opened(output) as d:
        assert d.transform == Affine(5, 0, 100, 0, -5, 200)
    assert state(source) == before


# ------------------------------------------------------------------------- B16 to B20: types and meaning


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
def test_complex_data_is_refused(source, output, dtype):
    """Complex bands are refused by all models, with what to do."""
    with created(source, (1, 5, 5), dtype) as d:
        d.write(np.ones((1, 5, 5), "complex64"))
    for model in ("bilinear", "nearest"):
        refused(source, output, InputError, "complex data in band 1 of coarse.tif: upscale amplitude", model=model)


def test_integers_beyond_53_bits(source, output):
    """64-bit integers that float64 cannot hold are refused, repeated exactly, or accepted as lossy."""
    data = np.array([[2**53 + 1, 5], [7, 9]], "int64")
    write(source, data)
    refused(source, output, InputError, r"integers beyond 2\*\*53 in rows 0 to 2, .*allow_lossy=True")
    upscale_file(source, output, 2, "nearest")
    assert np.array_equal(read(output, 1), data.repeat(2, 0).repeat(2, 1))
    upscale_file(source, output, 2, "bilinear", allow_lossy=True, overwrite=True)
    assert abs(int(read(output, 1)[0, 0]) - (2**53 + 1)) <= 2**50
    write(source, data - 1)
    upscale_file(source, output, 2, "bilinear", overwrite=True)


def test_thematic_layers_are_classes(source, output):
    """A raster that says it is thematic is refused like a palette."""
    with created(source, (1, 5, 5), "uint8") as d:
        d.write(np.ones((1, 5, 5), "uint8"))
        d.update_tags(1, LAYER_TYPE="thematic")
    refused(source, output, InputError, "categorical raster")
    upscale_file(source, output, 2, "nearest")
    assert (read(output) == 1).all()


@pytest.mark.parametrize("what", ["scale", "offset"])
def test_scale_and_offset_that_make_no_sense(source, output, what):
    """A scale of 0 or a NaN offset is refused: no value would be physical."""
    with created(source, (1, 5, 5), "int16") as d:
        d.write(np.ones((1, 5, 5), "int16"))
        d.scales, d.offsets = ((0.0,), (1.0,)) if what == "scale" else ((1.0,), (math.nan,))
    refused(source, output, InputError, "band 1 of coarse.tif has scale .* and offset .*: fix the tags")


def test_tags_that_are_not_utf8(source, output):
    """Tags in Latin-1 do not stop the run."""
    tifffile.imwrite(source, np.ones((5, 5), "uint8"), description="H\xf6he".encode("latin-1"), metadata=None)
    warned(source, output, "W-NOGEO", "no transform")
    assert (read(output) == 1).all()


def test_tags_named_like_arguments(source, output):
    """Tags that are called like rasterio's arguments do no harm."""
    with created(source, (1, 5, 5), "uint8") as d:
        d.write(np.ones((1, 5, 5), "uint8"))
    with rasterio.open(source, "r+") as d:
        d.update_tags(xx="RPC", yyyy="7", a="b")
    data = source.read_bytes()
    assert data.count(b'name="xx"') == 1
    source.write_bytes(data.replace(b'name="xx"', b'name="ns"').replace(b'name="yyyy"', b'name="bidx"'))
    with opened(source) as d:
        assert {"ns": "RPC", "bidx": "7", "a": "b"}.items() <= d.tags().items()
    upscale_file(source, output, 2, "nearest")
    with opened(output) as d:
        assert d.tags()["a"] == "b"


# ----------------------------------------------------------------------------- B22, B24: bands and pages


def test_a_model_of_other_bands_is_refused(source, output, random_network):
    """A model of three bands and a raster of two do not fit, in either direction; --bidx makes them fit."""
    model = random_network(2, channels=3)
    write(source, terrain((2, 9, 9)).astype("float32"))
    words = "model random takes 3 bands together, coarse.tif has 2 bands: choose them with bidx="
    refused(source, output, ModelError, words, model=model)
    data = terrain((4, 9, 9)).astype("float32")
    write(source, data)
    refused(source, output, ModelError, "model random takes 3 bands together, coarse.tif has 4 bands", model=model)
    upscale_file(source, output, 2, model, bidx=(4, 2, 1))
    assert np.array_equal(read(output), upscale_array(data[[3, 1, 0]], 2, model))


@pytest.mark.parametrize(("bidx", "words"), [((3,), "no band 3 in coarse.tif: it has 2"), ((1, 1), "band given twice")])
def test_bands_that_are_not_there(source, output, bidx, words):
    """Bands that do not exist or are given twice are usage errors."""
    write(source, terrain((2, 9, 9)))
    refused(source, output, UsageError, words, bidx=bidx)


def test_alpha_alone_is_nothing_to_upscale(source, output):
    """Only an alpha band is no raster."""
    with created(source, (2, 9, 9), "uint8", alpha="YES") as d:
        d.write(np.ones((2, 9, 9), "uint8"))
        assert d.colorinterp[1] == ColorInterp.alpha
    refused(source, output, InputError, "no band but alpha", bidx=(2,))


def test_only_the_first_page_is_read(source, output):
    """Of several pages the first is read, with W-PAGES; a reduced page is no page."""
    first = np.rint(terrain((20, 21), high=200)).astype("uint8")
    with tifffile.TiffWriter(source) as file:
        file.write(first, metadata=None)
        file.write(255 - first, metadata=None)
    with pytest.warns(
        GeofsrcnnWarning, match="W-(PAGES: coarse.tif has 2 pages: only the first is read|NOGEO)"
    ) as caught:
        upscale_file(source, output, 2, "bilinear")
    assert sorted(w.message.code for w in caught) == ["W-NOGEO", "W-PAGES"]
    assert np.array_equal(read(output, 1), upscale_array(first, 2, "bilinear"))


def test_sub_directories_are_not_read(source, output):
    """SubIFDs of the first page are neither source nor page."""
    first = np.rint(terrain((20, 20), high=200)).astype("uint8")
    with tifffile.TiffWriter(source) as file:
        file.write(first, subifds=1, metadata=None)
        file.write(first[::2, ::2], subfiletype=1, metadata=None)
    warned(source, output, "W-NOGEO", "no transform")
    assert np.array_equal(read(output, 1), upscale_array(first, 2, "bilinear"))


# --------------------------------------------------------------------------------------- other drivers


@pytest.mark.parametrize(("driver", "suffix"), [("HFA", ".img"), ("ENVI", ".bin"), ("hfa", ".img"), ("PNG", ".png")])
def test_other_drivers_by_name(tmp_path, output, driver, suffix):
    """--driver opens GDAL's other formats; without it they are refused with a hint."""
    source = tmp_path / f"coarse{suffix}"
    data = np.rint(terrain((12, 13), high=200)).astype("uint8")
    write(tmp_path / "c.tif", data)
    rasterio.shutil.copy(tmp_path / "c.tif", source, driver=driver.upper())
    words = rf"not a GeoTIFF: .*: (read it with driver='{driver.upper()}'|name GDAL's driver)"
    with pytest.raises(InputError, match=words):
        upscale_file(source, output, 2, "bilinear")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        before = state(source)
        upscale_file(source, output, 2, "bilinear", driver=driver)
    assert state(source) == before
    assert np.array_equal(read(output, 1), upscale_array(data, 2, "bilinear"))


def test_an_ascii_grid(tmp_path, output):
    """AAIGrid comes out as a GeoTIFF with its nodata and place."""
    source = tmp_path / "coarse.asc"
    source.write_text(
        "ncols 3\nnrows 2\nxllcorner 100\nyllcorner 50\ncellsize 10\nNODATA_value -9999\n1 2 3\n4 -9999 6\n"
    )
    with pytest.warns(GeofsrcnnWarning, match="W-NOGEO"):
        upscale_file(source, output, 2, "nearest", driver="AAIGrid")
    with opened(output) as d:
        assert d.bounds == (100, 50, 130, 70)
        assert d.nodata == -9999
        assert d.read(1)[2].tolist() == [4, 4, -9999, -9999, 6, 6]


def test_a_mosaic(tmp_path, output):
    """A VRT mosaic, asked for by name, is one raster: no seam where its files meet."""
    data = terrain((40, 60)).astype("float32")
    parts = ""
    for number, x in enumerate((0, 30)):
        write(tmp_path / f"{number}.tif", data[:, x : x + 30])
        parts += (
            f'<SimpleSource><SourceFilename relativeToVRT="1">{number}.tif</SourceFilename><SourceBand>1</SourceBand>'
            f'<SrcRect xOff="0" yOff="0" xSize="30" ySize="40"/><DstRect xOff="{x}" yOff="0" xSize="30" ySize="40"/>'
            "</SimpleSource>"
        )
    source = tmp_path / "mosaic.vrt"
    source.write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="40"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 30, 0, 6000000, 0, -30</GeoTransform>"
        f'<VRTRasterBand dataType="Float32" band="1">{parts}</VRTRasterBand></VRTDataset>'
    )
    upscale_file(source, output, 2, "lanczos-bp", driver="VRT")
    with opened(output) as d:
        assert d.bounds == (500_000, 6_000_000 - 1200, 500_000 + 1800, 6_000_000)
        assert np.array_equal(d.read(1), upscale_array(data, 2, "lanczos-bp"))


@pytest.mark.parametrize("driver", ["WMS", "wcs", "HTTP", "netCDF", "HDF5", "Zarr", "GTI", "PDF", "MEM", "DERIVED"])
def test_drivers_that_are_never_opened(source, output, driver):
    """Drivers of servers, of other files and of a second HDF5 library are refused by name."""
    write(source, terrain())
    refused(source, output, UsageError, f"driver {driver} is not opened", driver=driver)


@pytest.mark.parametrize("driver", ["PNG", "HFA", "NoSuchDriver"])
def test_a_driver_that_does_not_fit(source, output, driver):
    """A wrong or unknown driver is an input error that names it."""
    write(source, terrain())
    refused(source, output, InputError, f"cannot open coarse.tif as {driver}", driver=driver)


def test_bands_of_several_types_do_not_fit_one_file(tmp_path, output):
    """Bands of several types are refused with what to do, and converted on request."""
    source = tmp_path / "mixed.vrt"
    for name, dtype in (("a", "uint8"), ("b", "float32")):
        write(tmp_path / f"{name}.tif", np.full((4, 4), 3, dtype))
    source.write_text(
        '<VRTDataset rasterXSize="4" rasterYSize="4">'
        + "".join(
            f'<VRTRasterBand dataType="{t}" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">{f}.tif'
            "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
            for n, (f, t) in enumerate((("a", "Byte"), ("b", "Float32")), 1)
        )
        + "</VRTDataset>"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        with pytest.raises(InputError, match=r"bands of several types \(float32, uint8\) do not fit one GeoTIFF"):
            upscale_file(source, output, 2, "bilinear", driver="VRT")
        upscale_file(source, output, 2, "bilinear", driver="VRT", dtype="float32")
    assert (read(output) == 3).all()


# ------------------------------------------------------------------------------------- reading does not write


def test_reading_leaves_no_trace(source):
    """Opening and reading write nothing beside the input, statistics and histograms included."""
    write(source, terrain((30, 30)).astype("float32"))
    before, check_unchanged = state(source), watch_changes([source])
    with RasterSource(source) as raster:
        cells = raster.read(Window(2, 12, 3, 9), slice(0, 1))
        check_unchanged()
    assert cells.values.shape == (1, 10, 6)
    assert np.array_equal(cells.values[0], read(source, 1)[2:12, 3:9])
    assert state(source) == before


def test_a_replaced_input_is_noticed(source, tmp_path):
    """An input that was replaced or touched since it was opened is refused at the end."""
    write(source, terrain((30, 30)).astype("float32"))
    check_unchanged = watch_changes([source])
    with RasterSource(source):
        shutil.copy(source, tmp_path / "other.tif")
        (tmp_path / "other.tif").replace(source)
        with pytest.raises(InputError, match=r"coarse.tif was changed while it was read: run again"):
            check_unchanged()


@pytest.mark.parametrize("kind", ["same", "symlink", "hard link"])
def test_output_over_the_input_is_refused(source, tmp_path, kind):
    """The input is never the output, under any name, with --overwrite or not."""
    write(source, terrain())
    other = source if kind == "same" else tmp_path / "other.tif"
    if kind == "symlink":
        other.symlink_to(source)
    elif kind == "hard link":
        other.hardlink_to(source)
    before = state(source)
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="output is the input"):
            upscale_file(source, other, 2, "nearest", overwrite=overwrite)
    assert state(source) == before


def test_the_output_may_not_be_the_model(source, tmp_path, random_network):
    """The checkpoint is not overwritten by an output of its name either."""
    write(source, terrain())
    model = tmp_path / "model.safetensors"
    shutil.copy(random_network(2).path, model)
    before = state(model)
    with pytest.raises(UsageError, match=r"output is the input: .*model.safetensors"):
        upscale_file(source, model, 2, model, overwrite=True)
    assert state(model) == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("", "output is a folder"), ("a/b.tif", "output folder is missing"), ("c" * 260, "longer than")],
    ids=["folder", "missing", "long"],
)
def test_a_folder_as_output(source, tmp_path, name, words):
    """A folder, a missing folder and a name that is too long are output errors."""
    write(source, terrain())
    with pytest.raises(OutputError, match=words):
        upscale_file(source, tmp_path / name, 2, "nearest")
