"""Zarr: stores are whole, odd ones are read or refused, and only stores are replaced."""

from __future__ import annotations

import errno
import shutil
import time
import warnings
import zipfile

import numpy as np
import pytest
import xarray as xr
import zarr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, OutputError, UsageError
from geofsrcnn.formats.writer import NewField
from geofsrcnn.formats.zarr import ZarrWriter
from tests.support import processes
from tests.support.grids import projected, regular
from tests.support.stores import MODEL, packed, reopened, stored


@pytest.mark.parametrize("version", [2, 3])
def test_a_store_is_whole(tmp_path, version):
    """All chunks written, also of nothing but fill; consolidated metadata; the version and compression of the input."""
    dataset = packed()
    dataset["tas"][:] = np.nan
    dataset["tas"].encoding |= {"compressors": (zarr.codecs.ZstdCodec(level=3),)} if version == 3 else {}
    path = stored(dataset, tmp_path / "coarse.zarr", version)
    output = tmp_path / "fine.zarr"
    with warnings.catch_warnings():  # xarray leaves out chunks of nothing but fill
        warnings.filterwarnings("ignore", "W-MISSING-CHUNK")
        upscale_file(path, output, 3, MODEL, tile_size=10)
    root = zarr.open_group(output, use_consolidated=True)
    assert root.metadata.zarr_format == version
    assert root.metadata.consolidated_metadata is not None
    assert set(root.metadata.consolidated_metadata.metadata) == set(reopened(output).variables)
    array = root["tas"]
    assert array.nchunks_initialized == array.nchunks > 1
    if version == 3:
        assert array.compressors[0].level == 3
    assert reopened(output)["tas"].isnull().all()


def test_odd_stores(tmp_path):
    """Sharded, column-major, with stale consolidated metadata, zipped, with lossy filters: the same numbers."""
    dataset = regular(times=4)
    expected = upscale_dataset(dataset, 3, MODEL)["tas"].to_numpy()
    sharded = regular(times=4)
    sharded["tas"].encoding = {"chunks": (1, 12, 15), "shards": (2, 24, 30)}
    stored(sharded, tmp_path / "sharded.zarr")
    stored(dataset, tmp_path / "stale.zarr", 2)
    zarr.open_group(tmp_path / "stale.zarr")["tas"].attrs["units"] = "degC"
    columns = zarr.open_group(stored(dataset.drop_vars("tas"), tmp_path / "columns.zarr", 2), zarr_format=2)
    made = columns.create_array("tas", shape=(4, 24, 30), chunks=(2, 9, 30), dtype="f4", order="F")
    made[:] = dataset["tas"].to_numpy()
    made.attrs["_ARRAY_DIMENSIONS"] = ["time", "lat", "lon"]
    with zipfile.ZipFile(tmp_path / "zipped.zarr.zip", "w") as archive:
        for part in sorted((tmp_path / "stale.zarr").rglob("*")):
            if part.is_file():
                archive.write(part, part.relative_to(tmp_path / "stale.zarr"))
    for name in ("sharded.zarr", "columns.zarr", "stale.zarr", "zipped.zarr.zip"):
        upscale_file(tmp_path / name, tmp_path / "fine.zarr", 3, MODEL, overwrite=True)
        found = reopened(tmp_path / "fine.zarr")["tas"]
        assert np.allclose(found, expected, atol=1e-4)
    assert reopened(tmp_path / "fine.zarr")["tas"].attrs["units"] == "degC"


def test_chunks_that_are_missing_are_said(tmp_path):
    """A missing chunk reads as the fill value: a warning with the count, an error with --strict."""
    dataset = regular()
    dataset["tas"].encoding = {"chunks": (1, 24, 30), "_FillValue": np.float32(-999)}
    path = stored(dataset, tmp_path / "coarse.zarr", 2)
    (path / "tas" / "1.0.0").unlink()
    with pytest.warns(GeofsrcnnWarning, match="W-MISSING-CHUNK: tas lacks 1 of 2 chunks"):
        upscale_file(path, tmp_path / "fine.zarr", 3, MODEL)
    assert reopened(tmp_path / "fine.zarr")["tas"][1].isnull().all()
    done = processes.run("upscale", path, tmp_path / "strict.zarr", "--strict", "-q")
    assert "W-MISSING-CHUNK" in done.refused(3)
    assert not (tmp_path / "strict.zarr").exists()


def test_a_store_replaces_only_a_store(tmp_path):
    """With overwrite a Zarr gives way to a Zarr; any other folder or file stays."""
    path = stored(projected(), tmp_path / "coarse.nc")
    output = tmp_path / "fine.zarr"
    upscale_file(path, output, 2, "small")
    with pytest.raises(OutputError, match=r"output exists: .*fine.zarr: use overwrite=True"):
        upscale_file(path, output, 3, MODEL)
    assert reopened(output)["dem"].shape == (40, 52)
    upscale_file(path, output, 3, MODEL, overwrite=True)
    assert reopened(output)["dem"].shape == (60, 78)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["coarse.nc", "fine.zarr"]
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="a folder that holds no Zarr"):
        upscale_file(path, mine, 3, MODEL, overwrite=True)
    assert (mine / "letter.txt").read_text() == "dear"
    (tmp_path / "file.zarr").write_text("dear")
    with pytest.raises(OutputError, match="output is a file, not a folder"):
        upscale_file(path, tmp_path / "file.zarr", 3, MODEL, overwrite=True)
    with pytest.raises(UsageError, match="output lies within the input"):
        upscale_file(output, output / "inner.zarr", 3, MODEL)
    with pytest.raises(UsageError, match="output is the input"):
        upscale_file(output, tmp_path / "." / "fine.zarr", 3, MODEL, overwrite=True)


def test_chunks_under_way_when_one_fails_make_no_folder_later(tmp_path, monkeypatch):
    """Zarr goes on with other chunks after an error of one: they are waited for, and none is written afterwards."""
    put, late = zarr.storage._local._put, []

    def slow(path, value, **options):
        if path.name == "0" and path.parent.name == "c":
            raise OSError(errno.ENOSPC, "No space left on device")
        if path.parent.name == "c":
            time.sleep(0.2)
            late.append(path)
        return put(path, value, **options)

    monkeypatch.setattr(zarr.storage._local, "_put", slow)
    work = tmp_path / "work"
    writer = ZarrWriter(work / "x.zarr", xr.Dataset(), 3)
    writer.define([NewField("a", {"x": 40}, np.dtype("f8"), {}, (1,))])
    with pytest.raises(OutputError, match="No space left"):
        writer.prepare("a", (slice(0, 40),), np.ones(40))()
    writer.close()
    written = len(late)
    shutil.rmtree(work)
    time.sleep(1)
    assert not work.exists()
    assert 0 < written < 39
    assert len(late) == written


def test_a_store_that_cannot_be_begun_makes_no_folder_later(tmp_path, monkeypatch):
    """The same of the coordinates, before there are fields."""
    put = zarr.storage._local._put

    def slow(path, value, **options):
        if path.name == ".zarray" and path.parent.name == "b":
            raise OSError(errno.ENOSPC, "No space left on device")
        if path.name == ".zattrs" and path.parent.name == "b":
            time.sleep(0.2)
        return put(path, value, **options)

    monkeypatch.setattr(zarr.storage._local, "_put", slow)
    rest = xr.Dataset({name: ("x", np.arange(5.0)) for name in "abc"})
    with pytest.raises(OutputError, match="No space left"):
        ZarrWriter(tmp_path / "work" / "x.zarr", rest, 2)
    shutil.rmtree(tmp_path / "work")
    time.sleep(1)
    assert not (tmp_path / "work").exists()
