"""Datasets on the finer grid: numbers of the engine, metadata that other tools read right, and the accessor."""

from __future__ import annotations

import subprocess
import sys
import warnings

import cf_xarray  # noqa: F401  registers ds.cf
import dask
import netCDF4
import numpy as np
import odc.geo.xr  # noqa: F401  registers ds.odc
import pytest
import rasterio
import rioxarray  # noqa: F401  registers ds.rio
import xarray as xr

import geofsrcnn
from geofsrcnn import upscale_array, upscale_dataarray, upscale_dataset
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.values.blocks import block_mean
from tests.support.grids import GAUSSIAN, curvilinear, globe, projected, regular
from tests.support.rasters import terrain

MODEL = "small"


# ----------------------------------------------------------------------------------------------------- numbers


def test_the_numbers_are_the_engines():
    """Array, Dataset, DataArray and dask in any chunking give the same."""
    dataset = regular()
    expected = upscale_array(dataset["tas"].to_numpy(), 3, MODEL, threads=1)
    assert np.array_equal(upscale_dataset(dataset, 3, MODEL)["tas"], expected)
    assert np.array_equal(upscale_dataarray(dataset["tas"], 3, MODEL), expected)
    assert np.array_equal(dataset["tas"].fsrcnn.upscale(3, MODEL), expected)
    lazy = dataset.chunk(time=1, lat=13, lon=17).fsrcnn.upscale(3, MODEL)
    assert dask.is_dask_collection(lazy["tas"].data)
    assert np.allclose(lazy["tas"], expected, atol=1e-5 * 50)


def test_dimensions_may_stand_in_any_order():
    """Longitude first, time last: as they were."""
    dataset = regular().transpose("lon", "time", "lat", ...)
    fine = upscale_dataset(dataset, 2, MODEL)
    assert fine["tas"].dims == ("lon", "time", "lat")
    straight = upscale_dataset(regular(), 2, MODEL)
    assert np.array_equal(fine["tas"].transpose("time", "lat", "lon"), straight["tas"])


@pytest.mark.parametrize("chunks", [None, {"lat": 10, "lon": 20}])
@pytest.mark.parametrize("repeat", [0, 1, 2])
def test_there_is_no_seam_at_the_date_line(chunks, repeat):
    """A global field rolled by k columns gives the same result rolled; columns that repeat stay the same."""
    dataset = globe(repeat=repeat)
    dataset = dataset if chunks is None else dataset.chunk(chunks)
    whole = upscale_dataset(dataset, 3, MODEL)["z"].to_numpy()
    assert np.allclose(whole[:, 64 * 3 :], whole[:, : 3 * repeat], atol=1e-6)
    rolled = globe()
    rolled["z"] = rolled["z"].roll(lon=17, roll_coords=False)
    rolled = rolled if chunks is None else rolled.chunk(chunks)
    again = upscale_dataset(rolled, 3, MODEL)["z"].to_numpy()
    assert np.allclose(np.roll(whole[:, : 64 * 3], 51, axis=1), again, atol=1e-6)


def test_block_means_are_kept_and_missing_stays_missing():
    """Plain block means equal the input; NaN cells are NaN in their parts alone."""
    dataset = regular()
    dataset["tas"][0, 3:5, 7] = np.nan
    fine = upscale_dataset(dataset, 4, MODEL)["tas"].to_numpy()
    coarse = dataset["tas"].to_numpy()
    assert np.allclose(block_mean(fine, 4), coarse, atol=1e-4, equal_nan=True)
    assert np.array_equal(np.isnan(fine), np.repeat(np.repeat(np.isnan(coarse), 4, 1), 4, 2))


def test_ranges_by_name_type_and_argument():
    """Rain is never negative, packed values stay storable, an argument decides over names."""
    dataset = regular()
    dry = np.maximum(terrain((2, 24, 30), low=-1, high=1), 0)
    dataset["pr"] = (("time", "lat", "lon"), dry, {"standard_name": "precipitation_flux", "units": "kg m-2 s-1"})
    free = upscale_array(dry, 3, MODEL)
    assert free.min() < 0
    fine = upscale_dataset(dataset, 3, MODEL)
    assert fine["pr"].min() >= 0
    assert np.allclose(block_mean(fine["pr"].to_numpy(), 3), dry, atol=1e-6)
    dataset["tas"].encoding = {"dtype": "int16", "scale_factor": 0.0005, "add_offset": 275.0}
    with pytest.warns(GeofsrcnnWarning, match="W-RANGE"):
        packed = upscale_dataset(dataset, 3, MODEL)["tas"]
    assert packed.max() <= 275 + 16.3835 + 1e-4
    with pytest.warns(GeofsrcnnWarning, match="W-RANGE"):
        assert upscale_dataset(dataset[["pr"]], 3, MODEL, value_range=(0.2, 0.5))["pr"].max() <= 0.5


@pytest.mark.filterwarnings("ignore:W-PARTS")
def test_totals_are_shared_out():
    """What a cell holds in all is divided among its parts, integers too; sums are kept."""
    dataset = projected()
    people = (terrain((20, 26)) * 1000).astype("int32")
    dataset["people"] = (("y", "x"), people, {"cell_methods": "area: sum", "grid_mapping": "spatial_ref"})
    fine = upscale_dataset(dataset, 3, MODEL)["people"].to_numpy()
    assert fine.dtype == np.float64
    assert np.allclose(fine.reshape(20, 3, 26, 3).sum((1, 3)), people)


def test_categories_are_repeated_and_said():
    """Flags keep their values and type, lazily too."""
    dataset = projected()
    kinds = np.random.default_rng(0).integers(0, 9, (20, 26)).astype("uint8")
    dataset["cover"] = (("y", "x"), kinds, {"flag_values": np.arange(9, dtype="uint8"), "flag_meanings": "a b c"})
    for given in (dataset, dataset.chunk()):
        with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*cover"):
            fine = upscale_dataset(given, 2, MODEL)["cover"]
        assert fine.dtype == np.uint8
        assert np.array_equal(fine, np.repeat(np.repeat(kinds, 2, 0), 2, 1))


def test_undecoded_marks_are_missing():
    """Where marks were not decoded, each stays what it is, and no valid cell becomes one."""
    dataset = projected()
    stored = (terrain((20, 26)) * 3000).astype("int16")
    stored[4, 5], stored[9, 9] = -32768, -1
    attrs = {"_FillValue": np.int16(-32768), "missing_value": np.int16(-1), "scale_factor": 0.1, "add_offset": 5.0}
    dataset["packed"] = (("y", "x"), stored, attrs)
    for given in (dataset, dataset.chunk(y=9)):
        fine = upscale_dataset(given, 3, MODEL)["packed"]
        assert fine.dtype == np.int16
        assert (fine == -32768).sum() == (fine == -1).sum() == 9
        rest = fine.to_numpy()[~np.isin(fine.to_numpy(), (-32768, -1))]
        assert rest.min() > -400
        assert fine.attrs == attrs


@pytest.mark.parametrize("chunks", [None, {"y": 9}])
@pytest.mark.parametrize("stored", [True, False])
def test_cells_outside_the_valid_range_harm_nothing(chunks, stored):
    """They are missing (CF 2.5.1): none of them reaches its neighbours, and they come out as they are."""
    dataset = projected()
    field = np.round(terrain((20, 26)) * 3000)
    field[4, 5] = 32764
    attrs = {"valid_range": np.array([0, 10000], "int16"), "scale_factor": 0.1}
    dataset["ndvi"] = (("y", "x"), field.astype("int16"), attrs)
    if not stored:
        decoded = dataset["ndvi"].astype("float32") * np.float32(0.1)
        decoded.attrs, decoded.encoding = {"valid_range": attrs["valid_range"]}, {"scale_factor": 0.1, "dtype": "int16"}
        dataset["ndvi"] = decoded
    fine = upscale_dataset(dataset if chunks is None else dataset.chunk(chunks), 3, MODEL)["ndvi"].to_numpy()
    scale = 1 if stored else 0.1
    assert np.allclose(fine[12:15, 15:18], 32764 * scale)
    field[4, 5] = 0
    valid = np.ones(field.shape, bool)
    valid[4, 5] = False
    expected = upscale_array(field * scale, 3, MODEL, valid=valid, value_range=(0, 10000 * scale))
    expected[12:15, 15:18] = fine[12:15, 15:18]
    assert np.allclose(fine, expected, atol=0.51 if stored else 2e-3)


# ---------------------------------------------------------------------------------------------------- metadata


def test_everything_else_passes():
    """Time and its calendar, scalars, attributes of fields, attributes of the dataset; history is longer."""
    dataset = regular()
    fine = upscale_dataset(dataset, 3, MODEL)
    assert fine["tas"].attrs == dataset["tas"].attrs
    xr.testing.assert_identical(fine["time"], dataset["time"])
    xr.testing.assert_identical(fine["height"], dataset["height"])
    assert list(fine.data_vars) == list(dataset.data_vars)
    assert set(fine.coords) == set(dataset.coords)
    assert fine.attrs["title"] == "made up"
    first, second = fine.attrs["history"].split("\n")
    assert first == "made"
    assert second.startswith(f"geofsrcnn {geofsrcnn.__version__}: upscaled 3 times, model small-x3, sha256 ")


def test_the_input_is_not_touched():
    """Values, attributes and encodings are as they were, and so is what the result shares with it."""
    dataset = regular()
    dataset["tas"].encoding = {"chunksizes": (1, 24, 30), "zlib": True, "source": "x"}
    before = dataset.copy(deep=True)
    fine = upscale_dataset(dataset, 3, MODEL)
    fine["tas"].attrs["units"] = fine["lat"].attrs["units"] = fine.attrs["title"] = "changed"
    xr.testing.assert_identical(dataset, before)
    assert dataset["tas"].encoding == {"chunksizes": (1, 24, 30), "zlib": True, "source": "x"}
    assert fine["tas"].encoding == {"zlib": True}


def test_coordinates_that_no_field_uses_survive():
    """A coordinate along a dimension of its own is not lost, a grid mapping stored so included."""
    dataset = projected().assign_coords(member=("member", [1, 2]))
    mapping = dataset["spatial_ref"].attrs
    dataset = dataset.drop_vars("spatial_ref").assign_coords(crs=("crs", [3], mapping))
    fine = upscale_dataset(dataset, 3, MODEL)
    assert fine["member"].values.tolist() == [1, 2]
    assert fine["crs"].attrs["GeoTransform"].split()[1] == "10.0"


def test_other_indexes_survive():
    """A MultiIndex along another dimension is still one."""
    dataset = regular().stack(event=["time"])
    fine = upscale_dataset(dataset, 2, MODEL)
    assert fine.indexes["event"].equals(dataset.indexes["event"])
    assert fine.indexes["lat"].size == 48


def test_cf_xarray_finds_the_axes():
    """Axes, coordinates and bounds are where CF says."""
    fine = upscale_dataset(regular(), 3, MODEL)
    assert fine.cf.coordinates["latitude"] == ["lat"]
    assert fine.cf.bounds["longitude"] == ["lon_bnds"]
    assert fine.cf["latitude"].size == 72


def test_rioxarray_odc_geo_and_gdal_read_the_georeference(tmp_path):
    """Three tools, one transform: the input's, cells a third as large."""
    fine = upscale_dataset(projected(), 3, MODEL)
    expected = rasterio.Affine(10, 0, 500_000, 0, -10, 6_000_000)
    assert fine["dem"].rio.transform() == expected
    assert fine["dem"].rio.crs.to_epsg() == 32633
    assert fine["dem"].odc.geobox.affine.almost_equals(expected)
    assert fine["dem"].odc.geobox.crs.epsg == 32633
    path = tmp_path / "fine.nc"
    fine.to_netcdf(path, engine="netcdf4")
    script = (
        "import rasterio, sys\n"
        "with rasterio.open(sys.argv[1], driver='netCDF') as d:\n"
        "    print(d.shape, d.crs.to_epsg(), *(round(n, 6) for n in d.transform[:6]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, f"netcdf:{path}:dem"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "(60, 78) 32633 10.0 0.0 500000.0 0.0 -10.0 6000000.0"


@pytest.mark.parametrize("dataset", [regular(), globe(latitude=GAUSSIAN), projected(), curvilinear()])
def test_the_result_can_be_stored_and_read(tmp_path, dataset):
    """NetCDF and back: identical, bounds and places included."""
    fine = upscale_dataset(dataset, 2, MODEL)
    fine.to_netcdf(tmp_path / "fine.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "fine.nc", engine="netcdf4", decode_times=False) as again:
        assert set(again.variables) == set(fine.variables)
        for name in fine.variables:
            assert np.array_equal(again[name], fine[name]), name


# ------------------------------------------------------------------------------------------ files of other makers


def packed(values: np.ndarray, **attrs: object) -> xr.Dataset:
    """A projected dataset with one more field as it is stored."""
    dataset = projected()
    dataset["packed"] = (("y", "x"), values, {"grid_mapping": "spatial_ref", **attrs})
    return dataset[["packed"]]


@pytest.mark.parametrize("chunks", [None, {"y": 9}])
def test_unsigned_bytes_read_as_signed(chunks):
    """Undecoded int8 with `_Unsigned` counts from 0 to 255, as the file does; 255 is its mark."""
    stored = np.clip(terrain((20, 26)) * 250, 0, 250).astype("uint8")
    stored[3, 4] = 255
    given = packed(stored.view("int8"), _Unsigned="true", _FillValue=np.int8(-1))
    fine = upscale_dataset(given if chunks is None else given.chunk(chunks), 3, MODEL)["packed"].to_numpy()
    plain = packed(stored, _FillValue=np.uint8(255))
    expected = upscale_dataset(plain if chunks is None else plain.chunk(chunks), 3, MODEL)["packed"].to_numpy()
    assert fine.dtype == np.int8
    assert np.array_equal(fine.view("uint8"), expected)
    assert np.array_equal(expected == 255, np.repeat(np.repeat(stored == 255, 3, 0), 3, 1))


@pytest.mark.filterwarnings("ignore:W-PARTS")
def test_undecoded_totals_with_an_offset():
    """Sums of decoded values are kept where totals are packed with an offset."""
    stored = (terrain((20, 26)) * 1000).astype("int16")
    stored[2, 2] = -32768
    given = packed(stored, cell_methods="area: sum", scale_factor=0.5, add_offset=40.0, _FillValue=np.int16(-32768))
    fine = xr.decode_cf(upscale_dataset(given, 3, MODEL))["packed"].to_numpy()
    coarse = xr.decode_cf(given)["packed"].to_numpy()
    assert np.allclose(fine.reshape(20, 3, 26, 3).sum((1, 3)), coarse, rtol=1e-6, equal_nan=True)
    assert np.isnan(fine[6:9, 6:9]).all()


@pytest.mark.parametrize("chunks", [None, {"y": 9}])
def test_marks_inside_the_range_of_the_type_stay(tmp_path, chunks):
    """ERA5's -32767 and a DEM's -9999 stay the mark, packing stays, and no cell is rounded onto the mark."""
    values = np.linspace(-10_010, -9_980, 20 * 26).reshape(20, 26)
    values[5, 5] = np.nan
    given = packed(values)
    marks = {"_FillValue": np.int16(-9999), "missing_value": np.array([-9999, -1], "int16")}
    given["packed"].encoding = {"dtype": "int16", "scale_factor": 1.0, **marks}
    fine = upscale_dataset(given if chunks is None else given.chunk(chunks), 3, MODEL)
    assert fine["packed"].encoding["_FillValue"] == -9999
    assert fine["packed"].encoding["dtype"] == "int16"
    fine.to_netcdf(tmp_path / "fine.nc")
    with xr.open_dataset(tmp_path / "fine.nc", mask_and_scale=False) as raw:
        assert raw["packed"].dtype == np.int16
        missing = raw["packed"].to_numpy() == -9999
    assert np.array_equal(missing, np.repeat(np.repeat(np.isnan(values), 3, 0), 3, 1))


def test_large_integers_are_refused_lazily_as_well():
    """2**53 and more would lose digits: the same words from numpy and dask; where missing it is no matter."""
    stored = np.full((20, 26), 2**53 + 1)
    stored[:10] = np.arange(260).reshape(10, 26)
    given = packed(stored)
    for each in (given, given.chunk(y=7)):
        with pytest.raises(InputError, match="integers beyond 2\\*\\*53 in packed"):
            upscale_dataset(each, 3, MODEL).compute()
    marked = packed(stored, _FillValue=np.int64(2**53 + 1))
    for each in (marked, marked.chunk(y=12)):
        assert (upscale_dataset(each, 3, MODEL)["packed"].to_numpy()[30:] == 2**53 + 1).all()


def test_dask_says_values_out_of_range_once():
    """Values that the range cuts off are said with dask too, once."""
    dataset = packed(terrain((20, 26)))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        upscale_dataset(dataset.chunk(y=7), 3, MODEL, value_range=(0.2, 0.8)).compute(scheduler="single-threaded")
        upscale_dataset(dataset.chunk(y=7) * 1.1, 3, MODEL, value_range=(0.2, 0.8)).compute(scheduler="single-threaded")
    words = [str(w.message) for w in said if issubclass(w.category, GeofsrcnnWarning)]
    assert len(words) == 2  # one for each dataset
    assert all(each.startswith("W-RANGE: packed holds values outside the range 0.2 to 0.8") for each in words)


@pytest.mark.parametrize("chunks", [None, {"y": 9}])
def test_the_largest_floats_of_a_dataset_are_missing_and_said_once(chunks):
    """3.4e38 that nothing declares is missing, with W-HUGE once, from numpy and dask; a declared one says nothing."""
    values = terrain((20, 26))
    values[3, 4] = values[18, 25] = 3.4e38
    for attrs, codes in (({}, ["W-HUGE"]), ({"_FillValue": np.float32(3.4e38)}, [])):
        given = packed(values.astype("float32"), standard_name="air_temperature", **attrs)
        given = given if chunks is None else given.chunk(chunks)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            fine = upscale_dataset(given, 3, MODEL)["packed"].compute(scheduler="single-threaded").to_numpy()
        assert [w.message.code for w in said if isinstance(w.message, GeofsrcnnWarning)] == codes
        assert np.nanmax(np.abs(fine[fine < 1e38])) < 10 * terrain((20, 26)).max()


def test_enumerations_are_repeated(tmp_path):
    """A NetCDF enumeration is a category: repeated, its names kept."""
    path = tmp_path / "a.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("lat", 4)
        file.createDimension("lon", 5)
        for name, units in (("lat", "degrees_north"), ("lon", "degrees_east")):
            made = file.createVariable(name, "f8", name)
            made.units = units
            made[:] = np.arange(len(file.dimensions[name]))
        kind = file.createEnumType("u1", "cloud", {"clear": 0, "thin": 1, "thick": 2, "unknown": 255})
        file.createVariable("clouds", kind, ("lat", "lon"), fill_value=255)[:] = np.arange(20).reshape(4, 5) % 3
    with xr.open_dataset(path) as dataset, pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*clouds"):
        fine = upscale_dataset(dataset, 2)
    fine.to_netcdf(tmp_path / "b.nc")
    with netCDF4.Dataset(tmp_path / "b.nc") as file:
        assert file["clouds"].datatype.enum_dict["thick"] == 2
        assert np.array_equal(file["clouds"][:], (np.arange(20).reshape(4, 5) % 3).repeat(2, 0).repeat(2, 1))


def test_what_chosen_fields_refer_to_comes_along():
    """Places in two dimensions and the pressure that levels are made of, but not other fields."""
    dataset = projected()
    dims, shape = ("lev", "y", "x"), (2, 20, 26)
    dataset["ta"] = (
        dims,
        np.random.default_rng(0).random(shape),
        {"coordinates": "lat lon", "grid_mapping": "spatial_ref"},
    )
    dataset["lev"] = ("lev", [0.3, 0.9], {"formula_terms": "a: a b: b ps: ps", "bounds": "lev_bnds"})
    dataset["lev_bnds"] = (("lev", "bnds"), [[0, 0.5], [0.5, 1]], {"formula_terms": "a: a b: b ps: ps"})
    dataset["a"], dataset["b"] = ("lev", [0.1, 0.2]), ("lev", [0.2, 0.3])
    dataset["ps"] = (("y", "x"), 1e5 + terrain((20, 26)), {"units": "Pa"})
    dataset["other"] = (("y", "x"), terrain((20, 26)))
    dataset["lat"] = (("y", "x"), 50 + terrain((20, 26), high=0.1), {"units": "degrees_north"})
    dataset["lon"] = (("y", "x"), 5 + terrain((20, 26), high=0.1), {"units": "degrees_east"})
    fine = upscale_dataset(dataset, 2, MODEL, variables=["ta"])
    assert {"ta", "ps", "a", "b", "lev_bnds", "lat", "lon"} <= set(fine.variables)
    assert not {"other", "dem"} & set(fine.variables)
    assert fine["ps"].shape == fine["lat"].shape == (40, 52)


def test_bounds_take_names_that_are_free():
    """Uneven cells get bounds though `lat_bnds` is something else, and `bnds` of another length."""
    dataset = globe(latitude=GAUSSIAN)
    dataset["lat_bnds"] = ("lat", np.arange(32))
    dataset["lat"].attrs["bounds"] = "lat_bnds"
    dataset["other"] = ("bnds", np.arange(5))
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*lat_bnds"):
        fine = upscale_dataset(dataset, 2, MODEL)
    bounds = fine[fine["lat"].attrs["bounds"]]
    assert bounds.shape == (64, 2)
    assert np.allclose(bounds.mean(bounds.dims[1]), fine["lat"])
    assert fine["other"].sizes == {"bnds": 5}


def test_a_dataarray_refers_to_no_bounds_that_it_cannot_hold():
    """No `bounds` attribute without the variable, whether the input had them or they are new."""
    for array in (regular()["tas"], globe(latitude=GAUSSIAN)["z"]):
        fine = array.fsrcnn.upscale(2, MODEL)
        assert all("bounds" not in fine[name].attrs for name in fine.coords)


def test_dataarrays_without_a_name_whose_coordinate_is_called_field():
    """Any names of coordinates will do."""
    array = regular()["tas"].assign_coords(field=1.0, field_=("lat", np.arange(24))).rename(None)
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*field_"):
        fine = array.fsrcnn.upscale(2, MODEL)
    assert fine.name is None
    assert fine.fsrcnn.grid.shape == (48, 60)


def test_a_variable_is_named_by_one_text():
    """`variables="tas"` is one variable, not three letters."""
    assert "tas" in upscale_dataset(regular(), 2, MODEL, variables="tas")


@pytest.mark.parametrize("model", ["lanczos-c", "cubic-bp", "small"])
@pytest.mark.parametrize("chunks", [None, {"y": 11}])
def test_rain_keeps_its_sum_where_it_may_not_be_negative(model, chunks):
    """The range that a name implies keeps block means with every method that keeps them, half of the cells dry."""
    rain = np.maximum(terrain((20, 26), low=-1), 0)
    dataset = packed(rain, standard_name="precipitation_flux", units="kg m-2 s-1")
    fine = upscale_dataset(dataset if chunks is None else dataset.chunk(chunks), 3, model)["packed"].to_numpy()
    assert fine.min() >= 0
    off = np.abs(block_mean(fine, 3) - rain).max()
    assert off < (1e-6 if model != "cubic-bp" else 0.05)
    assert fine.mean() == pytest.approx(rain.mean(), rel=1e-6 if model != "cubic-bp" else 0.01)


@pytest.mark.parametrize("mark", ["none", "", "n/a", b"x"])
def test_marks_that_are_no_numbers_mark_nothing(mark):
    """A text as `missing_value` is no reason to stop; one that is a number counts."""
    values = terrain((20, 26))
    values[3, 3] = -9999
    for key in ("missing_value", "_FillValue"):
        plain = upscale_dataset(packed(values, **{key: mark}), 3, MODEL)["packed"].to_numpy()
        assert plain[10, 10] != -9999
        assert (upscale_dataset(packed(values, **{key: "-9999.f"}), 3, MODEL)["packed"] == -9999).sum() == 9


def test_swapped_dimensions_are_refused():
    """Metadata say which is which: what contradicts them is not taken."""
    for wrong in ({"x": "lat", "y": "lon"}, {"x": "time", "y": "lat"}, {"x": "lon", "y": "time"}):
        with pytest.raises(UsageError, match="is another axis by its metadata"):
            upscale_dataset(regular(), 2, MODEL, **wrong)
    with pytest.raises(UsageError, match="y='x' is another axis"):
        upscale_dataset(projected(), 2, MODEL, x="y", y="x")


@pytest.mark.filterwarnings("ignore:W-PARTS")
def test_shares_of_totals_are_stored_as_they_are(tmp_path):
    """Sums stay the same in a file, though the total was stored as whole numbers."""
    people = np.random.default_rng(0).integers(0, 9, (20, 26)).astype("int32")
    packed(people, cell_methods="area: sum", _FillValue=np.int32(-1)).to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as dataset:
        upscale_dataset(dataset, 3, MODEL).to_netcdf(tmp_path / "b.nc")
    with xr.open_dataset(tmp_path / "b.nc") as fine:
        assert float(fine["packed"].sum()) == pytest.approx(people.sum(), rel=1e-6)


def test_coordinates_with_gaps_are_refused():
    """A longitude that is missing is said, not guessed."""
    dataset = regular().drop_vars("lon_bnds")
    longitude = dataset["lon"].to_numpy().copy()
    longitude[0] = np.nan
    with pytest.raises(InputError, match="coordinate lon has missing values"):
        upscale_dataset(dataset.assign_coords(lon=("lon", longitude, {"units": "degrees_east"})), 2, MODEL)


def test_times_of_cells_are_repeated(tmp_path):
    """When a cell was seen is not interpolated, decoded or not."""
    dataset = projected()
    seen = np.datetime64("2020-01-01", "ns") + np.arange(520).reshape(20, 26).astype("m8[s]")
    dataset["seen"] = (("y", "x"), seen)
    dataset.to_netcdf(tmp_path / "a.nc")
    for decode in (True, False):
        with xr.open_dataset(tmp_path / "a.nc", decode_times=decode) as stored:
            with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*seen"):
                fine = upscale_dataset(stored, 2, MODEL)["seen"]
            assert np.array_equal(fine, np.repeat(np.repeat(stored["seen"].to_numpy(), 2, 0), 2, 1))


def test_references_to_what_is_left_out_go_with_it():
    """No attribute names a variable that `variables` has left out."""
    dataset = regular()
    dataset["tas"].attrs["ancillary_variables"] = "flag height"
    dataset["flag"] = dataset["tas"] * 0
    dataset["ps"] = dataset["tas"] * 2
    dataset["lev"] = ("lev", [0.5], {"formula_terms": "ps: ps"})
    fine = upscale_dataset(dataset, 2, MODEL, variables=["tas"])
    assert not {"flag", "ps"} & set(fine.variables)
    assert fine["tas"].attrs["ancillary_variables"] == "height"
    assert "formula_terms" not in fine["lev"].attrs


def test_bounds_that_are_packed_or_marked_are_unpacked():
    """Undecoded bounds with packing or a fill value of their own come out as plain numbers that xarray decodes."""
    dataset = regular()
    stored = np.rint(dataset["lat_bnds"].to_numpy() * 1e4).astype("int32")
    dataset["lat_bnds"] = (("lat", "bnds"), stored, {"scale_factor": 1e-4, "_FillValue": np.int32(-1)})
    dataset["lon_bnds"].attrs["_FillValue"] = np.nan
    expected = upscale_dataset(regular(), 2, MODEL)
    fine = xr.decode_cf(upscale_dataset(dataset, 2, MODEL), decode_times=False)
    for name in ("lat_bnds", "lon_bnds"):
        assert np.allclose(fine[name], expected[name], atol=1e-6)


# ------------------------------------------------------------------------------------------------ the accessor


def test_chosen_variables():
    """Others on the grid are left out, others off it stay."""
    dataset = regular()
    dataset["other"] = dataset["tas"] * 2
    fine = dataset.fsrcnn.upscale(2, MODEL, variables=["other"])
    assert "tas" not in fine
    assert {"other", "height", "lat_bnds"} <= set(fine.data_vars)


def test_the_grid_is_shown():
    """What was found, in a line."""
    assert repr(regular().fsrcnn.grid).startswith("24 x 30 cells along (lat, lon), latitude (lat) and longitude (lon)")
    assert regular()["tas"].fsrcnn.grid.even


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: regular().fsrcnn.upscale(9, MODEL), UsageError, "factor must be a whole number from 2 to 8"),
        (lambda: regular().fsrcnn.upscale(3, "nosuch"), ModelError, "no model 'nosuch'"),
        (lambda: regular().fsrcnn.upscale(3, MODEL, x="a", y="lat"), UsageError, "no dimension a"),
        (lambda: regular().fsrcnn.upscale(3, MODEL, x="lon", y="lon"), UsageError, "x= and y= are both lon"),
        (lambda: regular().fsrcnn.upscale(3, MODEL, value_range=5), UsageError, "value_range= must be .* got 5"),
        (lambda: xr.Dataset({1: regular()["tas"]}).fsrcnn.upscale(3), UsageError, "names must be text, which 1 is not"),
        (lambda: upscale_dataset(regular()["tas"], 3), UsageError, "a Dataset is needed, got DataArray"),
        (lambda: upscale_dataarray(regular(), 3), UsageError, "a DataArray is needed, got Dataset"),
        (lambda: regular().isel(time=slice(0, 0)).fsrcnn.upscale(3, MODEL), InputError, "tas has no cells"),
        (
            lambda: xr.DataArray(np.zeros((3, 4)), dims=("a", "b")).fsrcnn.upscale(2),
            UsageError,
            r"cannot tell .*\(a, b\)",
        ),
        (lambda: xr.DataArray(np.zeros(3), dims="a").fsrcnn.upscale(2), InputError, "no variable with two"),
        (lambda: regular()["tas"].stack(z=["lat", "lon"]).fsrcnn.upscale(2), InputError, "both lie along z"),
    ],
)
def test_wrong_calls(call, kind, words):
    """One line each, of the class that fits."""
    with pytest.raises(kind, match=words):
        call()


def test_dataarrays_of_any_name():
    """Without a name, or with that of a coordinate, they keep it."""
    array = regular()["tas"]
    assert array.rename(None).fsrcnn.upscale(2, MODEL).name is None
    assert projected()["x"].expand_dims(y=4).rename("y2").fsrcnn.upscale(2, MODEL).name == "y2"


@pytest.mark.parametrize(
    "order",
    [
        "import geofsrcnn, xarray as xr",
        "import xarray as xr, geofsrcnn",
        "import geofsrcnn, importlib.util; importlib.util.find_spec('xarray'); import xarray as xr",
        "from geofsrcnn import upscale_dataset; import xarray as xr",
        "from geofsrcnn import upscale_file, upscale_dataarray; import xarray as xr",
        "import geofsrcnn.cf.refine; import xarray as xr",
        "import geofsrcnn.engine.lazy; import xarray as xr",
    ],
)
def test_the_accessor_is_there_after_import(order):
    """Whichever is imported first, xarray or a part of ours; geofsrcnn itself imports neither xarray nor torch."""
    script = f"{order}\nimport sys\nassert 'torch' not in sys.modules\nxr.Dataset.fsrcnn, xr.DataArray.fsrcnn"
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)
    alone = "import geofsrcnn, sys\nassert not {'torch', 'xarray', 'dask'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", alone], check=True)


def test_nothing_is_computed_from_dask():
    """The call itself reads no field."""

    def touched(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    dataset = regular().chunk(lat=12)
    dataset["tas"] = dataset["tas"].copy(data=dataset["tas"].data.map_blocks(touched, dtype="float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = dataset.fsrcnn.upscale(3, MODEL)
    assert fine["tas"].shape == (2, 72, 90)
