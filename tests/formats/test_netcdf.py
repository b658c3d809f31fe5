"""NetCDF: what is stored comes out as it was, groups and attributes too."""

from __future__ import annotations

from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr
import zarr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, UsageError
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.values.blocks import block_mean
from tests.support.grids import curvilinear, projected, regular
from tests.support.rasters import terrain
from tests.support.stores import MODEL, close, packed, reopened, stored


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


@pytest.mark.filterwarnings("ignore:W-PARTS")
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
    with pytest.raises(UsageError, match=r"several groups in coarse.nc: data/grid, other: choose one with group="):
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
    upscale_file(path, tmp_path / "fine.nc", 2, load_model("cubic", 2).name)
    fine = reopened(tmp_path / "fine.nc", decode_coords=False)
    assert fine.attrs["title"] == "level 2"
    assert fine["latitude"].shape == fine["longitude"].shape == fine["chlor"].shape == (36, 80)
    assert (fine["chlor"].attrs["coordinates"], fine["chlor"].attrs["grid_mapping"]) == ("latitude longitude", "crs")
    assert "crs" in fine


def test_groups_that_are_left_out_are_said(tmp_path):
    """Fields in the root and in groups: the root, and a word on the others."""
    path = stored(projected(), tmp_path / "coarse.nc")
    regular().to_netcdf(path, engine="netcdf4", group="more", mode="a")
    with pytest.warns(GeofsrcnnWarning, match="W-GROUPS: left out of coarse.nc: groups more: choose one with group="):
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
