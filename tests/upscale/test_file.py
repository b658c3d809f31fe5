"""Files of any kind into any other: the numbers of memory, metadata as CF and GDAL say it, or a clear refusal."""

from __future__ import annotations

import json
import re
import shutil
import threading
import zipfile
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn import upscale, upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnError, GeofsrcnnWarning, InputError, LimitError, OutputError, UsageError
from geofsrcnn.formats import geotiff, netcdf, readback, writer
from geofsrcnn.formats import zarr as zarr_format
from geofsrcnn.formats.writer import checksum
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.upscale.file import estimate_file
from tests.support import processes
from tests.support.grids import globe, projected, regular
from tests.support.rasters import state, terrain, write
from tests.support.stores import GRIDS, MODEL, PACKING, close, packed, reopened, stored

# ---------------------------------------------------------------------------------------------- the same numbers


@pytest.mark.parametrize("output", ["fine.nc", "fine.zarr"])
@pytest.mark.parametrize("source", ["coarse.nc", "coarse2.zarr", "coarse3.zarr"])
@pytest.mark.parametrize("kind", GRIDS)
def test_files_give_the_numbers_of_memory(tmp_path, kind, source, output):
    """From NetCDF and Zarr of both versions into NetCDF and Zarr: what the accessor gives for the same file."""
    path = stored(GRIDS[kind](), tmp_path / source, 2 if "2" in source else 3)
    expected = upscale_dataset(reopened(path), 3, MODEL)
    summary = upscale_file(path, tmp_path / output, 3, MODEL, tile_size=12)
    found = reopened(tmp_path / output)
    close(expected, found, 0.01 if kind == "packed" else 0)
    assert found.attrs == expected.attrs
    assert summary.fine == tuple(3 * n for n in summary.coarse)
    if kind == "packed":
        assert {k: found["tas"].encoding[k] for k in PACKING} == PACKING


def coarse_of(folder: Path, kind: str) -> Path:
    """A raster of two bands, or three times of a field, larger than a few tiles."""
    if kind == "nc":
        return stored(regular(rows=90, columns=170, times=3)[["tas"]], folder / "coarse.nc")
    values = terrain((2, 130, 170), high=200)
    path = write(folder / "coarse.tif", values.astype("float32" if kind == "masked" else kind))
    if kind == "masked":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as raster:
            raster.write_mask(np.where(values[0] > 120, 255, 0).astype("uint8"))
    return path


@pytest.mark.filterwarnings("ignore:W-DATUM")
@pytest.mark.parametrize("output", ["fine.tif", "fine.nc", "fine.zarr"])
@pytest.mark.parametrize("kind", ["float32", "uint8", "masked", "nc"])
def test_bytes_do_not_depend_on_threads(tmp_path, kind, output):
    """Whoever computes, encodes and compresses, files are the same to the last byte."""
    source = coarse_of(tmp_path, kind)
    bytes_of = {}
    for threads in (1, 2, 7):
        target = tmp_path / str(threads) / output
        target.parent.mkdir()
        upscale_file(source, target, 3, MODEL, threads=threads, tile_size=32)
        parts = [target] if target.is_file() else target.rglob("*")
        bytes_of[threads] = {str(path.relative_to(target)): path.read_bytes() for path in parts if path.is_file()}
    assert len(bytes_of[1]) == 1 or output == "fine.zarr"
    assert bytes_of[1] == bytes_of[2] == bytes_of[7]


@pytest.mark.filterwarnings("ignore:W-DATUM")
@pytest.mark.parametrize("output", ["fine.tif", "fine.nc", "fine.zarr"])
@pytest.mark.parametrize("kind", ["float32", "nc"])
def test_the_calling_thread_writes_what_others_encoded_and_checked(tmp_path, monkeypatch, kind, output):
    """Checksums, the last step before writing and the only one after reading back, are made by other threads."""
    made = []
    for module in (geotiff, netcdf, readback, writer, zarr_format):
        monkeypatch.setattr(
            module, "checksum", lambda values: made.append(threading.get_ident()) or checksum(values), raising=True
        )
    monkeypatch.setattr(upscale.raster._GeoTIFF, "rehearse", lambda _: None)  # on the calling thread
    upscale_file(coarse_of(tmp_path, kind), tmp_path / output, 3, MODEL, threads=2, tile_size=64)
    assert len(set(made)) > 1
    assert threading.get_ident() not in made


@settings(max_examples=15)
@given(data=st.data())
def test_no_layout_changes_the_numbers(tmp_path_factory, data):
    """Whatever the order of dimensions, the stored chunks, the tile size and the threads."""
    dims = data.draw(st.permutations(["time", "level", "lat", "lon"]))
    sizes = {"time": data.draw(st.integers(1, 7)), "level": data.draw(st.integers(1, 3)), "lat": 13, "lon": 17}
    chunks = {dim: data.draw(st.integers(1, size)) for dim, size in sizes.items()}
    field = terrain((sizes["time"], sizes["level"], 13, 17), seed=data.draw(st.integers(0, 99))).astype("float32")
    field[0, 0, 3:5, 8] = np.nan
    dataset = xr.Dataset(
        {"z": (("time", "level", "lat", "lon"), field)},
        {
            "lat": ("lat", np.arange(13.0), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(17.0), {"units": "degrees_east"}),
        },
    )
    folder = tmp_path_factory.mktemp("layout")
    kind = data.draw(st.sampled_from([".nc", ".zarr"]))
    turned = dataset.transpose(*dims)
    key = "chunksizes" if kind == ".nc" else "chunks"
    turned["z"].encoding = {key: tuple(chunks[dim] for dim in dims)}
    path = stored(turned, folder / f"coarse{kind}")
    output = folder / data.draw(st.sampled_from(["fine.nc", "fine.zarr"]))
    upscale_file(path, output, 3, MODEL, tile_size=data.draw(st.integers(5, 20)), threads=data.draw(st.integers(1, 3)))
    found = reopened(output)["z"]
    assert found.dims == tuple(dims)
    expected = upscale_dataset(dataset, 3, MODEL)["z"]
    found = found.transpose(*expected.dims)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 1e-5


def test_a_globe_rolled_gives_the_result_rolled(tmp_path):
    """No seam at the date line, from file to file."""
    dataset = globe()
    plain = stored(dataset, tmp_path / "plain.nc")
    rolled = stored(dataset.assign(z=dataset["z"].roll(lon=11)), tmp_path / "rolled.nc")
    fine = [
        upscale_file(path, tmp_path / f"{path.stem}.zarr", 3, MODEL, tile_size=16, overwrite=True)
        for path in (plain, rolled)
    ]
    a, b = (reopened(Path(s.output))["z"].to_numpy() for s in fine)
    assert np.abs(np.roll(a, 33, axis=1) - b).max() < 1e-5


def test_grids_that_are_read_slab_by_slab_and_too_large_for_it(tmp_path, monkeypatch):
    """Chunks of many times are held where they are small, read again where not, which is said."""
    from geofsrcnn.upscale import fields

    dataset = regular(times=9)
    dataset["tas"].encoding = {"chunks": (9, 24, 30)}
    path = stored(dataset, tmp_path / "coarse.zarr")
    upscale_file(path, tmp_path / "held.zarr", 3, MODEL)
    monkeypatch.setattr(fields, "SLAB", 1000)
    monkeypatch.setattr(fields, "PART", 50_000)
    with pytest.warns(GeofsrcnnWarning, match="W-CHUNKS: tas has chunks of 9 along time"):
        upscale_file(path, tmp_path / "again.zarr", 3, MODEL)
    close(reopened(tmp_path / "held.zarr"), reopened(tmp_path / "again.zarr"))
    assert zarr.open(tmp_path / "again.zarr" / "tas").chunks[0] == 1


# -------------------------------------------------------------------------------------------------- wrong inputs


@pytest.fixture(scope="module")
def wrong(tmp_path_factory) -> Path:
    """A folder of inputs that something is wrong with, and of some that are right."""
    folder = tmp_path_factory.mktemp("wrong")
    path = stored(regular(), folder / "coarse.nc")
    bare = projected().drop_vars(["x", "y"]).rename(x="a", y="b")
    stored(bare, folder / "bare.nc")
    (folder / "text.nc").write_text("no dataset")
    (folder / "short.nc").write_bytes(path.read_bytes()[:3000])
    write(folder / "coarse.tif", terrain().astype("float32"))
    write(folder / "turned.tif", terrain().astype("float32"), transform=rasterio.Affine(3, 1, 0, 1, -3, 0))
    empty = regular().isel(time=slice(0, 0))
    stored(empty, folder / "empty.nc")
    complex_ = xr.Dataset({"z": (("y", "x"), np.ones((9, 9), "complex64"))})
    stored(complex_, folder / "complex.zarr", 2)
    wide = regular()
    wide["tas"] = wide["tas"].astype("int64", keep_attrs=True)
    wide["tas"][0, 0, 0] = 2**60
    stored(wide, folder / "wide.nc")
    shutil.copytree(stored(regular(), folder / "good.zarr", 2), folder / "bad.zarr")
    (folder / "bad.zarr" / "tas" / ".zarray").write_text("{no json")
    shutil.copytree(folder / "good.zarr", folder / "torn.zarr")
    chunk = next(p for p in sorted((folder / "torn.zarr" / "tas").iterdir()) if not p.name.startswith("."))
    chunk.write_bytes(chunk.read_bytes()[:40])
    return folder


@pytest.mark.parametrize(
    ("source", "name", "options", "kind", "words"),
    [
        ("coarse.nc", "fine.png", {}, UsageError, "output's name must end in .tif, .tiff, .nc, .nc4, .zarr"),
        ("coarse.nc", "fine", {}, UsageError, "output's name must end in"),
        ("absent.nc", "fine.nc", {}, InputError, "no such file"),
        ("text.nc", "fine.nc", {}, InputError, "not a GeoTIFF"),
        ("short.nc", "fine.nc", {}, InputError, "cannot read short.nc"),
        ("bare.nc", "fine.nc", {}, UsageError, "cannot tell which dimensions are horizontal"),
        ("bare.nc", "fine.nc", {"x": "a"}, UsageError, "give both dimensions"),
        ("empty.nc", "fine.nc", {}, InputError, "variable tas has no cells"),
        ("complex.zarr", "fine.zarr", {}, InputError, "variable z is complex"),
        ("wide.nc", "fine.nc", {}, InputError, r"beyond 2\*\*53 in tas"),
        ("bad.zarr", "fine.zarr", {}, InputError, "cannot read bad.zarr"),
        ("torn.zarr", "fine.zarr", {}, InputError, "cannot read tas at rows 0"),
        ("turned.tif", "fine.nc", {}, InputError, "turned.tif is rotated, which NetCDF and Zarr do not carry"),
        ("coarse.nc", "fine.nc", {"variables": ["tos"]}, UsageError, "no variable tos: there are"),
        ("coarse.nc", "fine.nc", {"max_pixels": 100}, LimitError, "more than max_pixels=100 allows"),
        ("coarse.nc", "fine.nc", {"bidx": (1,)}, UsageError, "bidx= is for rasters"),
        ("coarse.nc", "fine.nc", {"nodata": 0.0}, UsageError, "nodata= is for rasters"),
        ("coarse.nc", "fine.nc", {"bounds": (0, 0, 1, 1)}, UsageError, "bounds= cuts rasters"),
        ("coarse.nc", "fine.nc", {"cog": True}, UsageError, "cog= needs a GeoTIFF output"),
        ("coarse.nc", "fine.tif", {"co": {"COMPRESS": "JPEG"}}, UsageError, "COMPRESS=JPEG changes the values"),
        ("coarse.tif", "fine.tif", {"variables": ["a"]}, UsageError, "variables= is for NetCDF and Zarr"),
        ("coarse.tif", "fine.nc", {"group": "a"}, UsageError, "group= is for NetCDF and Zarr"),
        ("coarse.nc", "fine.nc", {"tile_size": 0}, UsageError, "tile size"),
        ("coarse.nc", "fine.nc", {"threads": 0}, UsageError, "threads"),
        ("coarse.nc", "fine.nc", {"value_range": (3, 1)}, UsageError, "value_range= must be a smaller and a larger"),
        ("coarse.nc", "missing/fine.nc", {}, OutputError, "output folder is missing"),
        ("coarse.nc", "coarse.nc", {"overwrite": True}, UsageError, "output is the input"),
    ],
)
def test_nothing_is_left_and_nothing_touched(wrong, source, name, options, kind, words):
    """Refusals of all kinds: one class and one line each, the input as it was, no output."""
    inputs = [p for p in sorted(wrong.rglob("*")) if p.is_file()]
    before = [state(p) for p in inputs]
    with pytest.raises(kind, match=words) as caught:
        upscale_file(wrong / source, wrong / name, 3, MODEL, **options)
    assert "\n" not in str(caught.value)
    assert sorted(p for p in wrong.rglob("*") if p.is_file()) == inputs
    assert [state(p) for p in inputs] == before


def test_chunks_too_large_to_hold_are_refused_unread(tmp_path):
    """A small file that declares one chunk of gigabytes."""
    path = tmp_path / "bomb.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("y", 20000)
        file.createDimension("x", 20000)
        file.createVariable("z", "f8", ("y", "x"), zlib=True, chunksizes=(20000, 20000))
    done = processes.run("upscale", path, tmp_path / "fine.nc")
    assert "chunk of 3052 MiB of z in bomb.nc (limit 256): rechunk it first" in done.refused(6)
    assert done.peak < 600 * 2**20
    with zipfile.ZipFile(tmp_path / "evil.zarr.zip", "w") as archive:
        archive.writestr("../zarr.json", "{}")
    with pytest.raises(InputError, match="names that lead out of it"):
        upscale_file(tmp_path / "evil.zarr.zip", tmp_path / "fine.nc", 3, MODEL)


def test_models_of_several_bands_are_refused(tmp_path, random_network):
    """Fields are upscaled one by one."""
    two = random_network(3, channels=2)
    path = stored(regular(), tmp_path / "coarse.nc")
    with pytest.raises(GeofsrcnnError, match="takes 2 bands: fields are upscaled one by one"):
        upscale_file(path, tmp_path / "fine.nc", 3, two)
    with pytest.raises(GeofsrcnnError, match="takes 2 bands"):
        upscale_dataset(regular(), 3, two)


# -------------------------------------------------------------------------------------------------- command line


def test_the_command(tmp_path):
    """NetCDF to Zarr and Zarr to NetCDF by ``geofsrcnn upscale``, with summary, estimate and progress of its own."""
    path = stored(regular(), tmp_path / "coarse.nc")
    done = processes.run("upscale", path, tmp_path / "fine.zarr", "--variables", "tas", "--json")
    assert (done.code, done.err) == (0, "")
    summary = json.loads(done.out)
    assert (summary["bands"], summary["coarse"], summary["fine"]) == (2, [24, 30], [72, 90])
    assert summary["output_bytes"] == sum(p.stat().st_size for p in (tmp_path / "fine.zarr").rglob("*") if p.is_file())
    dry = processes.run("upscale", tmp_path / "fine.zarr", tmp_path / "finer.nc", "--factor", 2, "--dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert "144 x 180" in dry.out
    assert not (tmp_path / "finer.nc").exists()
    done = processes.run("upscale", tmp_path / "fine.zarr", tmp_path / "finer.nc", "--factor", 2)
    assert (done.code, done.err) == (0, "")
    assert "72 x 90 -> 144 x 180, 2 bands" in done.out
    assert reopened(tmp_path / "finer.nc")["tas"].shape == (2, 144, 180)
    assert len(reopened(tmp_path / "finer.nc").attrs["history"].splitlines()) == 3


def test_info_says_what_becomes_of_each_variable(tmp_path):
    """Grid, variables, packing and roles, as text and as JSON; a file without a grid is refused as upscale does it."""
    path = stored(packed(), tmp_path / "coarse.nc")
    done = processes.run("info", path)
    assert (done.code, done.err) == (0, "")
    assert "24 x 30 cells along (lat, lon), latitude (lat) and longitude (lon), evenly spaced; fields: tas" in done.out
    assert re.search(r"tas +time 5, lat 24, lon 30 +int16 \* 0.01 \+ 270 +K +upscaled", done.out)
    assert re.search(r"lat_bnds +lat 24, bnds 2 +float64 +made anew", done.out)
    facts = json.loads(processes.run("info", path, "--json").out)
    assert {v["name"]: v["becomes"] for v in facts["variables"]} == {
        **dict.fromkeys(("lat", "lon", "lat_bnds", "lon_bnds"), "made anew"),
        **dict.fromkeys(("height", "time"), "copied"),
        "tas": "upscaled",
    }
    dataset = projected()
    dataset["dem"].encoding["_FillValue"] = np.nan
    facts = processes.run("info", stored(dataset, tmp_path / "nan.nc"), "--json").out
    assert "NaN" not in facts
    assert next(v for v in json.loads(facts)["variables"] if v["name"] == "dem")["missing"] == ["nan"]
    xr.Dataset({"a": ("n", [1.0, 2.0])}).to_netcdf(tmp_path / "list.nc", engine="netcdf4")
    assert "no variable with two horizontal dimensions" in processes.run("info", tmp_path / "list.nc").refused(3)


def test_the_estimate_is_of_the_right_size(tmp_path):
    """Sizes are exact, and tiles are as many as are written."""
    path = stored(regular(times=5), tmp_path / "coarse.nc")
    seen: list[tuple[int, int]] = []
    estimate = estimate_file(path, tmp_path / "fine.nc", 3, MODEL, tile_size=10)
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL, tile_size=10, progress=lambda *now: seen.append(now))
    assert estimate.disk == 5 * 72 * 90 * 4
    assert estimate.tiles == seen[-1][1] == max(done for done, _ in seen)
    assert estimate.bands == 5
    assert estimate.model == load_model(MODEL, 3).name
