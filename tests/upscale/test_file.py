"""Files of any kind into any other: the numbers of memory, metadata as CF and GDAL say it, or a clear refusal."""

from __future__ import annotations

import json
import re
import shutil
import warnings
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

from geofsrcnn import load_checkpoint, upscale_dataset, upscale_file, upscale_raster
from geofsrcnn.errors import GeofsrcnnError, GeofsrcnnWarning, InputError, LimitError, OutputError, UsageError
from geofsrcnn.networks.catalog import load_method
from geofsrcnn.upscale.file import estimate_file
from geofsrcnn.values.blocks import block_mean
from tests.support import processes
from tests.support.grids import curvilinear, globe, projected, regular
from tests.support.rasters import UTM, read, state, terrain, write

MODEL = load_checkpoint("small", 3)
PACKING = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 270.0, "_FillValue": np.int16(-32768)}


def packed() -> xr.Dataset:
    """A field that is stored as integers, with holes."""
    dataset = regular(times=5)
    dataset["tas"][1, 4:7, 20:] = np.nan
    dataset["tas"].encoding = dict(PACKING)
    return dataset


GRIDS = {
    "packed": packed,
    "projected": projected,
    "globe": globe,
    "repeated column": lambda: globe(repeat=1),
    "curvilinear": curvilinear,
}


def stored(dataset: xr.Dataset, path: Path, version: int = 3) -> Path:
    """Written by xarray."""
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.to_zarr(path, zarr_format=version)
    else:
        dataset.to_netcdf(path, engine="netcdf4")
    return path


def reopened(path: Path, **options: object) -> xr.Dataset:
    """Read by xarray, in memory."""
    with xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "netcdf4", **options) as dataset:
        return dataset.load()


def close(a: xr.Dataset, b: xr.Dataset, step: float = 0.0) -> None:
    """The same variables, types, attributes and values, to half a packing step."""
    assert set(a.variables) == set(b.variables)
    assert set(a.coords) == set(b.coords)
    for name in map(str, a.variables):
        x, y = a[name], b[name]
        assert x.dims == y.dims
        assert x.dtype == y.dtype
        assert {k: v for k, v in x.attrs.items() if k != "coordinates"}.keys() == y.attrs.keys()
        if x.dtype.kind != "f":
            assert np.array_equal(x, y)
            continue
        assert np.array_equal(np.isnan(x), np.isnan(y))
        span = float(x.max() - x.min()) if x.size else 0.0
        assert np.allclose(x, y, rtol=0, atol=step / 2 * 1.001 + 1e-5 * span, equal_nan=True)


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
    from geofsrcnn.upscale import stream

    dataset = regular(times=9)
    dataset["tas"].encoding = {"chunks": (9, 24, 30)}
    path = stored(dataset, tmp_path / "coarse.zarr")
    upscale_file(path, tmp_path / "held.zarr", 3, MODEL)
    monkeypatch.setattr(stream, "SLAB", 1000)
    monkeypatch.setattr(stream, "PART", 50_000)
    with pytest.warns(GeofsrcnnWarning, match="W-CHUNKS: tas has chunks of 9 along time"):
        upscale_file(path, tmp_path / "again.zarr", 3, MODEL)
    close(reopened(tmp_path / "held.zarr"), reopened(tmp_path / "again.zarr"))
    assert zarr.open(tmp_path / "again.zarr" / "tas").chunks[0] == 1


# -------------------------------------------------------------------------------------------------------- NetCDF


def test_what_is_stored_comes_out_as_it_was(tmp_path):
    """Calendars, text, scalars, unlimited dimensions and other grids' variables: byte by byte, type by type."""
    path = tmp_path / "coarse.nc"
    stored(regular(), path)
    with netCDF4.Dataset(path, "a") as file:
        file.createDimension("station", 2)
        file.createDimension("text", 5)
        names = file.createVariable("station_name", "S1", ("station", "text"))
        names[:] = netCDF4.stringtochar(np.array([b"Oslo", b"Bern"], "S5"))
        file.createVariable("comment", str, ("station",))[:] = np.array(["first", "zweite"], object)
        file.createVariable("count", "u8", ("station",))[:] = np.array([2**63, 1], "u8")
        file.setncattr("numbers", np.array([1, 2], "int16"))
    output = tmp_path / "fine.nc"
    upscale_file(path, output, 3, MODEL)
    with netCDF4.Dataset(path) as a, netCDF4.Dataset(output) as b:
        a.set_auto_mask(False)
        b.set_auto_mask(False)
        assert b.data_model == a.data_model
        for name in ("time", "station_name", "comment", "count", "height"):
            assert np.array_equal(a[name][:], b[name][:])
            assert a[name].dtype == b[name].dtype
            assert repr(a[name].__dict__) == repr(b[name].__dict__)
        assert np.array_equal(b.getncattr("numbers"), [1, 2])


@pytest.mark.parametrize(
    "form", ["NETCDF4", "NETCDF4_CLASSIC", "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA"]
)
def test_the_data_model_and_unlimited_dimensions_stay(tmp_path, form):
    """Each form of NetCDF gives the same form, and time can still grow."""
    path = tmp_path / "coarse.nc"
    regular().to_netcdf(path, engine="netcdf4", format=form, unlimited_dims=["time"])
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file.data_model == form
        assert file.dimensions["time"].isunlimited()
        assert file["tas"].shape == (2, 72, 90)
    close(upscale_dataset(reopened(path), 3, MODEL), reopened(tmp_path / "fine.nc"))


def test_compression_stays_and_chunks_fit(tmp_path):
    """Filters are kept, chunk sizes made for the finer grid."""
    path = stored(regular(), tmp_path / "coarse.nc")
    dataset = regular()
    dataset["tas"].encoding = {"zlib": True, "complevel": 5, "shuffle": True, "chunksizes": (1, 24, 30)}
    squeezed = stored(dataset, tmp_path / "squeezed.nc")
    for source, level in ((path, 0), (squeezed, 5)):
        upscale_file(source, tmp_path / "fine.nc", 3, MODEL, overwrite=True)
        with netCDF4.Dataset(tmp_path / "fine.nc") as file:
            assert file["tas"].filters()["complevel"] == level
            assert file["tas"].chunking() == [2, 72, 90]


def test_marks_and_packing_as_stored(tmp_path):
    """Unsigned bytes in a signed type, a second mark, values that rounding would bring onto a mark."""
    path = tmp_path / "coarse.nc"
    field = np.clip(np.rint(terrain((20, 26)) * 255), 0, 254).astype("uint8")
    field[3, 4], field[9, 9] = 255, 7
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("y", 20), ("x", 26)):
            file.createDimension(dim, size)
            file.createVariable(dim, "f8", (dim,))[:] = np.arange(size)
        v = file.createVariable("dn", "i1", ("y", "x"), fill_value=np.int8(-1))
        v.set_auto_maskandscale(False)
        v.setncatts({"_Unsigned": "true", "missing_value": np.int8(7), "scale_factor": 0.5})
        v[:] = field.view("int8")
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        file.set_auto_maskandscale(False)
        fine = file["dn"][:].view("uint8")
    assert np.array_equal(fine == 255, np.repeat(np.repeat(field == 255, 3, 0), 3, 1))
    assert np.array_equal(fine == 7, np.repeat(np.repeat(field == 7, 3, 0), 3, 1))
    assert np.abs(block_mean(fine.astype(float), 3) - field)[(field != 255) & (field != 7)].max() <= 0.51


def test_marks_of_64_bits_keep_their_digits(tmp_path):
    """NetCDF's own fill value of int64 is no number that a double holds."""
    field = (terrain((20, 26)) * 1e6).astype("int64")
    field[3, 4] = mark = netCDF4.default_fillvals["i8"]
    dataset = projected()
    dataset["count"] = (("y", "x"), field, {"_FillValue": np.int64(mark)})
    for end in (".nc", ".zarr"):
        source = stored(dataset[["count"]], tmp_path / f"coarse{end}")
        upscale_file(source, tmp_path / f"fine{end}", 3, MODEL)
        missing = reopened(tmp_path / f"fine{end}", mask_and_scale=False)["count"].to_numpy() == mark
        assert np.array_equal(missing, np.repeat(np.repeat(field == mark, 3, 0), 3, 1))


def test_other_types_on_request(tmp_path):
    """--dtype float32 unpacks: values as they are, no packing, NaN where missing."""
    path = stored(packed(), tmp_path / "coarse.nc")
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL, dtype="float32")
    plain = reopened(tmp_path / "fine.nc", mask_and_scale=False)["tas"]
    assert plain.dtype == np.float32
    assert "scale_factor" not in plain.attrs
    expected = upscale_dataset(reopened(path), 3, MODEL)["tas"]
    assert np.array_equal(np.isnan(plain), np.isnan(expected))
    assert np.nanmax(np.abs(plain - expected)) < 1e-3
    with pytest.raises(UsageError, match="type 'int16': with NetCDF or Zarr, fields keep their type"):
        upscale_file(path, tmp_path / "other.nc", 3, MODEL, dtype="int16")


def test_totals_and_categories(tmp_path):
    """What a cell holds in all is divided among its parts; classes are repeated, which is said."""
    dataset = projected()
    people = (terrain((20, 26)) * 1000).astype("int32")
    dataset["people"] = (("y", "x"), people, {"cell_methods": "area: sum", "grid_mapping": "spatial_ref"})
    cover = np.random.default_rng(0).integers(0, 9, (20, 26)).astype("uint8")
    dataset["cover"] = (("y", "x"), cover, {"flag_values": np.arange(9, dtype="uint8"), "flag_meanings": "a b c"})
    dataset["names"] = (("y", "x"), np.full((20, 26), "a", object))
    path = stored(dataset, tmp_path / "coarse.nc")
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*cover"):
        upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    fine = reopened(tmp_path / "fine.nc")
    assert np.allclose(fine["people"].to_numpy().reshape(20, 3, 26, 3).sum((1, 3)), people)
    assert np.array_equal(fine["cover"], np.repeat(np.repeat(cover, 3, 0), 3, 1))
    assert fine["names"].shape == (60, 78)


def test_groups(tmp_path):
    """A file with one group of fields is read there; with several, one must be named."""
    path = tmp_path / "coarse.nc"
    projected().to_netcdf(path, engine="netcdf4", group="data/grid")
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    assert reopened(tmp_path / "fine.nc")["dem"].shape == (60, 78)
    regular().to_netcdf(path, engine="netcdf4", group="other", mode="a")
    with pytest.raises(UsageError, match=r"several groups in coarse.nc: data/grid, other: choose one with --group"):
        upscale_file(path, tmp_path / "none.nc", 3, MODEL)
    with pytest.raises(UsageError, match=r"no group third with variables in coarse.nc: there are data/grid, other"):
        upscale_file(path, tmp_path / "none.nc", 3, MODEL, group="third")
    upscale_file(path, tmp_path / "other.nc", 3, MODEL, group="/other")
    assert reopened(tmp_path / "other.nc")["tas"].shape == (2, 72, 90)
    store = tmp_path / "coarse.zarr"
    for name, dataset in (("a", projected()), ("b", regular())):
        dataset.to_zarr(store, group=name, mode="a", zarr_format=2)
    with pytest.raises(UsageError, match=r"several groups in coarse.zarr: a, b: choose"):
        upscale_file(store, tmp_path / "none.nc", 3, MODEL)
    upscale_file(store, tmp_path / "b.nc", 3, MODEL, group="b")
    close(reopened(tmp_path / "other.nc"), reopened(tmp_path / "b.nc"))


@pytest.mark.parametrize("end", [".nc", ".zarr"])
def test_groups_take_coordinates_from_their_parents(tmp_path, end):
    """Coordinates, bounds and grid mapping in the root, fields in groups (CF 2.7): the root alone has no field."""
    dataset = projected()
    dataset["dem"].attrs["coordinates"] = "height"
    dataset = dataset.assign_coords(height=2.0, time=("time", [1.0, 2.0]))
    dataset["x"].attrs["bounds"] = "x_bnds"
    dataset["x_bnds"] = ("x", "bnds"), dataset["x"].to_numpy()[:, None] + np.array([-15.0, 15.0])
    source, names = tmp_path / f"coarse{end}", ["x", "y", "x_bnds", "spatial_ref", "height"]
    options = {"engine": "netcdf4"} if end == ".nc" else {"zarr_format": 2}
    save = "to_netcdf" if end == ".nc" else "to_zarr"
    getattr(dataset[names].reset_coords(), save)(source, **options)
    inner = xr.Dataset({"dem": dataset["dem"].variable, "other": (("time", "y", "x"), np.zeros((3, 20, 26)))})
    getattr(inner, save)(source, group="data/a", mode="a", **options)
    if end == ".nc":  # the group's dimensions are the root's
        with netCDF4.Dataset(source, "w") as file:
            for name, variable in dataset[names].variables.items():
                for dim, size in variable.sizes.items():
                    if dim not in file.dimensions:
                        file.createDimension(dim, size)
                made = file.createVariable(name, variable.dtype, variable.dims)
                made.setncatts(variable.attrs)
                made[...] = variable.to_numpy()
            group = file.createGroup("data").createGroup("a")
            group.createVariable("dem", "f8", ("y", "x"))[:] = dataset["dem"].to_numpy()
            group["dem"].setncatts(dataset["dem"].attrs)
    upscale_file(source, tmp_path / "fine.nc", 3, MODEL, variables=["dem"])
    expected = upscale_dataset(dataset[[*names, "dem"]], 3, MODEL, variables=["dem"])
    fine = reopened(tmp_path / "fine.nc")
    for name in ("dem", "x", "y", "x_bnds", "height"):
        assert np.allclose(fine[name], expected[name], rtol=1e-6), name
    assert fine["spatial_ref"].attrs["GeoTransform"] == expected["spatial_ref"].attrs["GeoTransform"]


def test_groups_refer_to_others_by_paths(tmp_path):
    """A grid mapping in the root and places in a sibling group, named by paths; the root's attributes come along."""
    path, places = tmp_path / "coarse.nc", curvilinear(vertices=False)
    with netCDF4.Dataset(path, "w") as file:
        file.title = "level 2"
        for dim, size in (("j", 18), ("i", 40), ("text", 3)):
            file.createDimension(dim, size)
        file.createVariable("Times", "S1", ("j", "text"))[:] = b"a"  # no field
        file.createVariable("crs", "i4", ()).grid_mapping_name = "latitude_longitude"
        navigation, data = file.createGroup("navigation"), file.createGroup("data")
        for name in ("latitude", "longitude"):
            made = navigation.createVariable(name, "f8", ("j", "i"))
            made.setncatts({k: v for k, v in places[name].attrs.items() if k != "bounds"})
            made[:] = places[name].to_numpy()
        field = data.createVariable("chlor", "f4", ("j", "i"))
        field.setncatts({"coordinates": "/navigation/latitude ../navigation/longitude", "grid_mapping": "/crs"})
        field[:] = places["tos"].to_numpy()
    upscale_file(path, tmp_path / "fine.nc", 2, load_method("cubic", 2).name)
    fine = reopened(tmp_path / "fine.nc", decode_coords=False)
    assert fine.attrs["title"] == "level 2"
    assert fine["latitude"].shape == fine["longitude"].shape == fine["chlor"].shape == (36, 80)
    assert (fine["chlor"].attrs["coordinates"], fine["chlor"].attrs["grid_mapping"]) == ("latitude longitude", "crs")
    assert "crs" in fine


def test_groups_that_are_left_out_are_said(tmp_path):
    """Fields in the root and in groups: the root, and a word on the others."""
    path = stored(projected(), tmp_path / "coarse.nc")
    regular().to_netcdf(path, engine="netcdf4", group="more", mode="a")
    with pytest.warns(GeofsrcnnWarning, match="W-GROUPS: left out of coarse.nc: groups more: choose one with --group"):
        upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    upscale_file(path, tmp_path / "more.nc", 3, MODEL, group="more")
    assert "dem" not in reopened(tmp_path / "more.nc")


def test_enumerations_keep_their_meanings(tmp_path):
    """A field of a NetCDF enumeration type is repeated, its names as CF flags."""
    path = stored(projected(), tmp_path / "coarse.nc")
    with netCDF4.Dataset(path, "a") as file:
        kind = file.createEnumType("u1", "cloud", {"clear": 0, "thin": 1, "very thick": 2})
        file.createVariable("clouds", kind, ("y", "x"))[:] = np.arange(520).reshape(20, 26) % 3
        file.createVariable("rows", kind, ("band",) if "band" in file.dimensions else ())[...] = 1
    for end in (".nc", ".zarr"):
        with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*clouds"):
            upscale_file(path, tmp_path / f"fine{end}", 3, MODEL)
        clouds = reopened(tmp_path / f"fine{end}")["clouds"]
        assert np.array_equal(clouds, (np.arange(520).reshape(20, 26) % 3).repeat(3, 0).repeat(3, 1))
        assert clouds.attrs["flag_meanings"] == "clear thin very_thick"
        assert list(clouds.attrs["flag_values"]) == [0, 1, 2]


def test_attributes_that_netcdf_cannot_hold(tmp_path):
    """Zarr has true, null and nested attributes: NetCDF gets them as JSON."""
    source = stored(projected(), tmp_path / "coarse.zarr")
    root = zarr.open_group(source)
    odd = {"a": True, "b": {"c": [1, {"d": None}]}, "e": None, "f": [1, 2], "g": ["x", "y"], "h": [], "i": [1, "x"]}
    root.attrs.update(odd)
    root["dem"].attrs.update(odd)
    upscale_file(source, tmp_path / "fine.nc", 3, MODEL)
    fine = reopened(tmp_path / "fine.nc")
    for attrs in (fine.attrs, fine["dem"].attrs):
        assert (attrs["a"], attrs["b"], attrs["e"]) == ("true", '{"c": [1, {"d": null}]}', "null")
        assert list(attrs["f"]) == [1, 2]
        assert attrs["g"] == ["x", "y"]
        assert attrs["i"] == '[1, "x"]'


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_64BIT"])
def test_an_unlimited_dimension_of_fields_alone_stays(tmp_path, form):
    """Without a coordinate of its own as well."""
    dataset = regular(times=3).drop_vars("time")
    dataset.to_netcdf(tmp_path / "coarse.nc", format=form, unlimited_dims=["time"])
    upscale_file(tmp_path / "coarse.nc", tmp_path / "fine.nc", 3, MODEL)
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        assert file.dimensions["time"].isunlimited()
        assert file["tas"].shape == (3, 72, 90)


def test_a_zero_in_a_coordinate_is_no_missing_value(tmp_path):
    """Zarr's fill value is 0 where nobody chose another."""
    source = stored(regular(west=-5.0).drop_vars(["lon", "lon_bnds"]), tmp_path / "coarse.zarr", 2)
    made = zarr.open_group(source).create_array("lon", shape=30, dtype="f8", fill_value=0.0)
    made[:] = -5 + 0.5 * np.arange(30)
    made.attrs.update({"_ARRAY_DIMENSIONS": ["lon"], "units": "degrees_east"})
    upscale_file(source, tmp_path / "fine.nc", 3, MODEL)
    assert np.allclose(reopened(tmp_path / "fine.nc")["lon"].diff("lon"), 0.5 / 3)


def test_a_store_that_changes_while_it_is_read_is_refused(tmp_path):
    """A chunk that is replaced below the root, or an array's metadata: no output."""
    for version, change in ((2, "tas/0.0.0"), (3, "tas/zarr.json")):
        source = stored(regular(), tmp_path / f"coarse{version}.zarr", version)

        def touch(done: int, total: int, path: Path = source / change) -> None:
            new = path.with_name("new")
            new.write_bytes(path.read_bytes())
            new.replace(path)

        with pytest.raises(InputError, match=f"coarse{version}.zarr was changed while it was read"):
            upscale_file(source, tmp_path / "fine.nc", 3, MODEL, progress=touch)
        assert not (tmp_path / "fine.nc").exists()


def test_a_geotiff_takes_the_chosen_field_alone(tmp_path):
    """What it refers to cannot come along, and is no reason to refuse."""
    dataset = projected()
    dataset["lev"] = ("lev", [0.3, 0.9], {"formula_terms": "ps: ps"})
    dataset["ta"] = dataset["dem"].expand_dims(lev=2)
    dataset["ta"].attrs = dict(dataset["dem"].attrs)
    dataset["ps"] = dataset["dem"] * 2
    source = stored(dataset, tmp_path / "coarse.nc")
    upscale_file(source, tmp_path / "fine.tif", 3, MODEL, variables=["ta"])
    with rasterio.open(tmp_path / "fine.tif") as raster:
        assert raster.count == 2
    upscale_file(source, tmp_path / "fine.nc", 3, MODEL, variables=["ta"])
    assert reopened(tmp_path / "fine.nc")["ps"].shape == (60, 78)


# ---------------------------------------------------------------------------------------------------------- Zarr


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
    with pytest.raises(OutputError, match=r"output exists: .*fine.zarr: use --overwrite"):
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


# ------------------------------------------------------------------------------------------------------- GeoTIFF


def test_a_geotiff_becomes_a_dataset(tmp_path):
    """To NetCDF and Zarr: the cells of the GeoTIFF way, a georeference that GDAL, rioxarray and odc-geo read alike."""
    import odc.geo.xr  # noqa: F401
    import rioxarray  # noqa: F401

    field = terrain((3, 30, 41), high=900).astype("float32")
    field[:, 3, 4] = -9999
    path = write(tmp_path / "coarse.tif", field, nodata=-9999)
    upscale_raster(path, tmp_path / "fine.tif", 3, MODEL, tile_size=16)
    expected = read(tmp_path / "fine.tif")
    for name in ("fine.nc", "fine.zarr"):
        upscale_file(path, tmp_path / name, 3, MODEL, tile_size=16)
        fine = reopened(tmp_path / name, decode_coords="all")
        values = fine["band_data"]
        assert np.array_equal(np.where(np.isnan(values), -9999, values), expected)
        assert fine["band"].to_numpy().tolist() == [1, 2, 3]
        assert fine["band_data"].rio.crs == rasterio.crs.CRS.from_epsg(32633)
        with rasterio.open(tmp_path / "fine.tif") as d:
            assert values.rio.transform().almost_equals(d.transform, 1e-9)
            assert values.odc.geobox.transform.almost_equals(d.transform, 1e-9)
            assert values.odc.geobox.crs.epsg == 32633
    with rasterio.open(f"netcdf:{tmp_path / 'fine.nc'}:band_data") as d, rasterio.open(tmp_path / "fine.tif") as e:
        assert d.crs == e.crs
        assert d.transform.almost_equals(e.transform, 1e-9)


def test_packed_and_geographic_rasters(tmp_path):
    """Scale, offset, units, descriptions of bands; latitude and longitude named as CF has them."""
    path = write(
        tmp_path / "coarse.tif",
        (terrain((2, 20, 24)) * 1000).astype("uint16"),
        crs="EPSG:4326",
        transform=rasterio.Affine(0.25, 0, 5, 0, -0.25, 50),
        nodata=0,
    )
    with rasterio.open(path, "r+") as d:
        d.scales, d.offsets = (0.1, 0.1), (5.0, 5.0)
        d.descriptions, d.units = ("red", "green"), ("K", "K")
    upscale_file(path, tmp_path / "fine.nc", 2, "small")
    upscale_raster(path, tmp_path / "fine.tif", 2, "small")
    fine = reopened(tmp_path / "fine.nc", mask_and_scale=False, decode_coords="all")
    assert np.array_equal(fine["band_data"], read(tmp_path / "fine.tif"))
    assert fine["band_data"].attrs["scale_factor"] == 0.1
    assert fine["band_data"].attrs["units"] == "K"
    assert fine["band_name"].to_numpy().tolist() == ["red", "green"]
    assert fine["y"].attrs["standard_name"] == "latitude"
    upscale_file(tmp_path / "fine.nc", tmp_path / "back.tif", 2, "nearest")
    with rasterio.open(tmp_path / "back.tif") as d:
        assert (d.count, d.nodata, d.scales, d.offsets) == (2, 0, (0.1, 0.1), (5.0, 5.0))
        assert np.allclose(d.transform[:6], (0.0625, 0, 5, 0, -0.0625, 50))
        assert d.crs == rasterio.crs.CRS.from_epsg(4326)


def test_masks_and_alpha_become_marks(tmp_path):
    """A mask is stored as NaN; integers need a value for it."""
    field = terrain((1, 20, 24)).astype("float32")
    mask = np.full((20, 24), 255, "uint8")
    mask[5:8, 5:8] = 0
    for dtype in ("float32", "uint8"):
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
            rasterio.open(
                tmp_path / f"{dtype}.tif", "w", driver="GTiff", count=1, height=20, width=24, dtype=dtype, **UTM
            ) as d,
        ):
            d.write((field * 200).astype(dtype))
            d.write_mask(mask)
    upscale_file(tmp_path / "float32.tif", tmp_path / "fine.nc", 3, MODEL)
    found = reopened(tmp_path / "fine.nc")["band_data"]
    assert np.array_equal(np.isnan(found), np.repeat(np.repeat(mask == 0, 3, 0), 3, 1))
    with pytest.raises(InputError, match=r"uint8.tif has a mask and no nodata value: say with --nodata"):
        upscale_file(tmp_path / "uint8.tif", tmp_path / "none.nc", 3, MODEL)
    upscale_file(tmp_path / "uint8.tif", tmp_path / "fine2.nc", 3, MODEL, nodata=255)
    assert (reopened(tmp_path / "fine2.nc", mask_and_scale=False)["band_data"] == 255).sum() == 81


def test_a_field_becomes_a_geotiff(tmp_path):
    """One field of a dataset, a band for each time and level, packing kept; labels say which is which."""
    path = stored(packed(), tmp_path / "coarse.nc")
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=10, cog=True, variables=["tas"])
    fine = reopened(tmp_path / "fine.nc", mask_and_scale=False)["tas"]
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.abs(d.read().astype(int) - fine.to_numpy()).max() <= 1
        assert (d.read() == -32768).sum() == (fine == -32768).sum() > 0
        assert d.descriptions[1] == "temperature, time 2000-01-02 12:00:00"
        assert (d.nodata, d.scales[0], d.offsets[0], d.units[0]) == (-32768, 0.01, 270.0, "K")
        assert d.crs == rasterio.crs.CRS.from_epsg(4326)
        assert np.allclose(d.bounds, (-10.25, 39.75, 4.75, 51.75))
        assert d.tags()["GEOFSRCNN_FACTOR"] == "3"
        assert d.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    fields = regular()
    fields["pr"] = fields["tas"] * 2
    fields.to_netcdf(tmp_path / "two.nc", engine="netcdf4")
    with pytest.raises(UsageError, match="a GeoTIFF holds one field, there are tas, pr: use --variables"):
        upscale_file(tmp_path / "two.nc", tmp_path / "none.tif", 3, MODEL)
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(tmp_path / "two.nc", tmp_path / "pr.tif", 3, MODEL, variables=["pr"])
    assert read(tmp_path / "pr.tif").shape == (2, 72, 90)


def test_names_of_bands_and_tags_come_back(tmp_path):
    """From GeoTIFF to NetCDF and back: descriptions and tags; what NetCDF has no place for is said."""
    path = write(tmp_path / "coarse.tif", terrain((2, 20, 26), high=900).astype("float32"))
    with rasterio.open(path, "r+") as d:
        d.descriptions = ("red", "near infrared")
        d.update_tags(SENSOR="OLI")
    upscale_file(path, tmp_path / "fine.nc", 2, "cubic")
    upscale_file(tmp_path / "fine.nc", tmp_path / "finer.tif", 2, "cubic")
    with rasterio.open(tmp_path / "finer.tif") as d:
        assert d.descriptions == ("red", "near infrared")
        assert d.tags()["SENSOR"] == "OLI"
    with rasterio.open(path, "r+") as d:
        d.update_tags(1, STATISTICS_KIND="made up", GAIN="3")
    with pytest.warns(GeofsrcnnWarning, match="W-LEFT-OUT: coarse.tif has tags of bands, which only a GeoTIFF output"):
        upscale_file(path, tmp_path / "again.nc", 2, "cubic")
    cover = write(tmp_path / "cover.tif", np.random.default_rng(0).integers(0, 3, (20, 26)).astype("uint8"))
    with rasterio.open(cover, "r+") as d:
        d.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.warns(GeofsrcnnWarning, match="W-LEFT-OUT: cover.tif has a colour table"):
        upscale_file(cover, tmp_path / "cover.zarr", 2, "nearest")


def test_text_along_time_is_no_name_of_a_band(tmp_path):
    """ERA5's `expver` beside the times: bands are named by time, and each by another."""
    dataset = regular(times=3)
    dataset["expver"] = ("time", np.array(["0001"] * 3))
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(stored(dataset, tmp_path / "coarse.nc"), tmp_path / "fine.tif", 2, "cubic", variables=["tas"])
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert d.descriptions[2] == "temperature, time 2000-01-04 00:00:00"
    chars = projected().expand_dims(band=2).copy()
    chars["name"] = ("band", np.array([b"ab", b"cd"]))
    chars.to_netcdf(tmp_path / "chars.nc", format="NETCDF3_CLASSIC")
    upscale_file(tmp_path / "chars.nc", tmp_path / "chars.tif", 2, "cubic", variables=["dem"])
    with rasterio.open(tmp_path / "chars.tif") as d:
        assert d.descriptions == ("ab", "cd")


def test_unsigned_flags_reach_a_geotiff(tmp_path):
    """Flags that are stored as signed bytes and count from 0 to 255 are unsigned bytes in a GeoTIFF."""
    flags = np.random.default_rng(0).integers(0, 256, (20, 26)).astype("uint8")
    dataset = projected()
    dataset["dqf"] = (
        ("y", "x"),
        flags.view("int8"),
        {"_Unsigned": "true", "flag_values": np.arange(4, dtype="int8"), "grid_mapping": "spatial_ref"},
    )
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*dqf"):
        upscale_file(stored(dataset, tmp_path / "a.nc"), tmp_path / "a.tif", 2, "cubic", variables=["dqf"])
    assert np.array_equal(read(tmp_path / "a.tif")[0], np.repeat(np.repeat(flags, 2, 0), 2, 1))


def test_unknown_arguments_are_refused(tmp_path):
    """An argument that does nothing is an error, whatever the formats."""
    for source in (stored(projected(), tmp_path / "a.nc"), write(tmp_path / "a.tif", terrain((20, 26)))):
        with pytest.raises(UsageError, match=r"unknown arguments resampling: there are .*variables"):
            upscale_file(source, tmp_path / "b.nc", 2, "cubic", resampling="cubic")


KM, FEET = "+proj=utm +zone=33 +datum=WGS84 +units=km", "EPSG:2263"
GOES = {
    "grid_mapping_name": "geostationary",
    "perspective_point_height": 35786023.0,
    "sweep_angle_axis": "x",
    "longitude_of_projection_origin": -75.0,
    "latitude_of_projection_origin": 0.0,
    "semi_major_axis": 6378137.0,
    "semi_minor_axis": 6356752.3,
}


@pytest.mark.parametrize(
    ("crs", "unit", "metres", "step"),
    [
        ("EPSG:32633", "m", 1, 10),
        ("EPSG:32633", "metres", 1, 10),
        ("EPSG:32633", "km", 1000, 10),
        ("EPSG:32633", "kilometers", 1000, 10),
        ("EPSG:32633", "", 1, 10),
        (KM, "km", 1000, 0.01),
        (KM, "m", 1, 0.01),
        (FEET, "US_survey_foot", 1200 / 3937, 10 * 3937 / 1200),
        (FEET, "m", 1, 10 * 3937 / 1200),
        (GOES, "rad", 35786023.0, 10),
        (GOES, "m", 1, 10),
        ("EPSG:32633", "rad", 1, None),
        ("EPSG:32633", "degrees", 1, None),
        ("EPSG:32633", "parsecs", 1, None),
        ("EPSG:4326", "m", 1, None),
    ],
)
def test_coordinates_count_in_the_units_of_the_crs(tmp_path, crs, unit, metres, step):
    """Whatever coordinates count in, a GeoTIFF's transform counts in units of its CRS; other units are refused."""
    from pyproj import CRS

    made = CRS.from_cf(crs) if isinstance(crs, dict) else CRS.from_user_input(crs)
    dataset = xr.Dataset(
        {"dem": (("y", "x"), terrain((20, 26)), {"grid_mapping": "m"}), "m": ((), 0, {"crs_wkt": made.to_wkt()})},
        {
            name: (name, (start + 30 * np.arange(size)) / metres, {"units": unit, "axis": name.upper()})
            for name, start, size in (("y", 4000, 20), ("x", 5000, 26))
        },
    )
    source = stored(dataset, tmp_path / "coarse.nc")
    if step is None:
        with pytest.raises(InputError, match=f"coordinate y counts in {unit}, the CRS of the grid mapping in"):
            upscale_file(source, tmp_path / "fine.tif", 3, MODEL)
        return
    upscale_file(source, tmp_path / "fine.tif", 3, MODEL)
    with rasterio.open(tmp_path / "fine.tif") as d:
        t = d.transform
    assert np.allclose([t.a, t.e, t.c, t.f], [step, step, 498.5 * step, 398.5 * step])


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (curvilinear(), "latitude and longitude of two dimensions"),
        (globe(latitude=np.linspace(90, -90, 31)), "unevenly spaced rows or columns"),
        (regular().drop_vars(["lat_bnds", "lon_bnds"]).rename(lat="rlat", lon="rlon"), "rotated pole"),
    ],
)
def test_grids_that_a_geotiff_cannot_say(tmp_path, dataset, words):
    """Refused with the reason, before any work."""
    if "rlat" in dataset.dims:
        for name, standard in (("rlat", "grid_latitude"), ("rlon", "grid_longitude")):
            dataset[name].attrs = {"standard_name": standard, "units": "degrees"}
    path = stored(dataset, tmp_path / "coarse.nc")
    with pytest.raises(InputError, match=f"{words}.*, which a GeoTIFF cannot say"):
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["coarse.nc"]


def test_global_rasters_wrap_as_well(tmp_path):
    """A GeoTIFF of the whole globe has no seam where its columns end; cut by bounds, neither; masks go around too."""
    dataset = globe()
    field = dataset["z"].to_numpy().astype("float32")
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(5.625, 0, -2.8125, 0, -5.625, 90)}
    path = write(tmp_path / "coarse.tif", field, **place)
    upscale_raster(path, tmp_path / "fine.tif", 3, MODEL, tile_size=16)
    expected = upscale_dataset(dataset, 3, MODEL)["z"].to_numpy()
    assert np.abs(read(tmp_path / "fine.tif")[0] - expected).max() < 1e-5
    upscale_raster(path, tmp_path / "part.tif", 3, MODEL, bounds=(-2, -40, 60, 40))
    with rasterio.open(tmp_path / "part.tif") as d:
        assert np.allclose(d.bounds, (-2.8125, -45, 64.6875, 45), atol=6)
        rows, columns = (round((90 - d.bounds.top) / 1.875), round((d.bounds.left + 2.8125) / 1.875))
        assert np.abs(d.read(1) - expected[rows : rows + d.height, columns : columns + d.width]).max() < 1e-5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as d:
        d.write_mask(np.arange(64)[None].repeat(32, 0) > 3)
    upscale_raster(path, tmp_path / "masked.tif", 3, MODEL, tile_size=16)
    with rasterio.open(tmp_path / "masked.tif") as d:
        assert np.array_equal(d.read_masks(1)[0] != 0, np.arange(192) > 11)


def test_longitude_that_jumps_by_360_is_even_all_the_same(tmp_path):
    """350, 355, 0, 5: the transform of the GeoTIFF and the GeoTransform of the NetCDF go on past 360."""
    from pyproj import CRS

    dataset = regular(columns=6).isel(time=0).drop_vars(["lat_bnds", "lon_bnds"])
    dataset = dataset.assign_coords(lon=("lon", [350.0, 355, 0, 5, 10, 15], {"units": "degrees_east"}))
    dataset["tas"].attrs["grid_mapping"] = "crs"
    wkt = CRS.from_epsg(4326).to_wkt()
    dataset["crs"] = ((), 0, {"crs_wkt": wkt, "GeoTransform": "347.5 5.0 0.0 52.0 0.0 -0.5"})
    path = stored(dataset, tmp_path / "coarse.nc")
    upscale_file(path, tmp_path / "fine.tif", 2, "bilinear")
    upscale_file(path, tmp_path / "fine.nc", 2, "bilinear")
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.allclose((d.transform.a, d.transform.c), (2.5, 347.5))
    numbers = [float(n) for n in reopened(tmp_path / "fine.nc")["crs"].attrs["GeoTransform"].split()]
    assert np.allclose(numbers[:2], (347.5, 2.5))


def test_grib_through_gdal(shared, tmp_path):
    """With --driver GRIB, into all three formats, and without it a hint."""
    path = shared / "data" / "odd" / "cfgrib__regular_gg_ml.grib"
    for name in ("fine.tif", "fine.nc", "fine.zarr"):
        upscale_file(path, tmp_path / name, 3, MODEL, driver="GRIB")
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.allclose(reopened(tmp_path / "fine.nc")["band_data"], d.read(1), atol=1e-3)
    with pytest.raises(InputError, match=r"GRIB, not a GeoTIFF: .*: read it with --driver GRIB"):
        upscale_file(path, tmp_path / "none.nc", 3, MODEL)


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
        ("coarse.nc", "fine.nc", {"max_pixels": 100}, LimitError, "--max-pixels allows 100"),
        ("coarse.nc", "fine.nc", {"bidx": (1,)}, UsageError, "--bidx is for rasters"),
        ("coarse.nc", "fine.nc", {"nodata": 0.0}, UsageError, "--nodata is for rasters"),
        ("coarse.nc", "fine.nc", {"bounds": (0, 0, 1, 1)}, UsageError, "--bounds cuts rasters"),
        ("coarse.nc", "fine.nc", {"cog": True}, UsageError, "--cog needs a GeoTIFF output"),
        ("coarse.nc", "fine.tif", {"co": {"COMPRESS": "JPEG"}}, UsageError, "COMPRESS=JPEG changes the values"),
        ("coarse.tif", "fine.tif", {"variables": ["a"]}, UsageError, "--variables is for NetCDF and Zarr"),
        ("coarse.tif", "fine.nc", {"group": "a"}, UsageError, "--group is for NetCDF and Zarr"),
        ("coarse.nc", "fine.nc", {"tile_size": 0}, UsageError, "tile size"),
        ("coarse.nc", "fine.nc", {"threads": 0}, UsageError, "threads"),
        ("coarse.nc", "fine.nc", {"value_range": (3, 1)}, UsageError, "range must be a smaller and a larger"),
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
    assert estimate.model == load_method(MODEL, 3).name
