"""Expected errors beside the fields of datasets: the engine's numbers, described after CF, in memory and in files."""

from __future__ import annotations

import contextlib
import io
import json
import warnings

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn import upscale_array, upscale_dataarray, upscale_dataset, upscale_datatree, upscale_file
from geofsrcnn.errors import InputError, ModelError, OutputError, UsageError
from geofsrcnn.formats.netcdf import NetCDFWriter
from geofsrcnn.networks.checkpoint import PAIRING, Card, Section, load_checkpoint, save_checkpoint
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.encoding import SCALING
from tests.support.grids import curvilinear, globe, projected, regular
from tests.support.networks import TINY, random_model
from tests.support.rasters import read, terrain, write
from tests.support.stores import packed, reopened, stored


@pytest.fixture
def model(with_errors):
    """A network with a head of expected errors."""
    return with_errors


@pytest.fixture(scope="module")
def of_pairs(tmp_path_factory):
    """What says of itself that it was trained on pairs."""
    path = tmp_path_factory.mktemp("pairs") / "m.safetensors"
    save_checkpoint(path, random_model(factor=3, **TINY), Card("rain"), sections={PAIRING: Section({"some": 1})})
    return load_checkpoint(path)


# ----------------------------------------------------------------------------------------------------------- in memory


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_numbers_are_the_engines(model, dtype):
    """Values are those that come without, errors those of the array; missing cells have none."""
    dataset = regular(dtype=dtype)
    dataset["tas"][0, 3:5, 7] = np.nan
    fine, errors = upscale_array(dataset["tas"].to_numpy(), 3, model, error=True)
    found = upscale_dataset(dataset, 3, model, error=True)
    assert np.array_equal(found["tas"], upscale_dataset(dataset, 3, model)["tas"], equal_nan=True)
    assert np.array_equal(found["tas"], fine, equal_nan=True)
    assert np.array_equal(found["tas_error"], errors, equal_nan=True)
    assert found["tas_error"].dtype == dtype
    assert np.array_equal(np.isnan(found["tas_error"]), repeat(np.isnan(dataset["tas"].to_numpy()), 3))


def test_an_error_stands_beside_its_field(model):
    """Behind it, on the same dimensions in the same order, described; everything else is as without."""
    dataset = regular().transpose("lon", "time", "lat", ...)
    dataset["tas"].attrs |= {"grid_mapping": "crs", "valid_range": [200.0, 400.0], "ancillary_variables": "height"}
    dataset["crs"] = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    without, found = upscale_dataset(dataset, 3, model), dataset.fsrcnn.upscale(3, model, error=True)
    names = list(without.data_vars)
    assert list(found.data_vars) == [*names[: names.index("tas") + 1], "tas_error", *names[names.index("tas") + 1 :]]
    assert found["tas_error"].dims == found["tas"].dims == ("lon", "time", "lat")
    assert found["tas"].attrs == {**without["tas"].attrs, "ancillary_variables": "height tas_error"}
    xr.testing.assert_identical(found.drop_vars(["tas", "tas_error"]), without.drop_vars("tas"))
    assert found["tas_error"].attrs == {
        "long_name": "expected absolute error of tas",
        "units": "K",
        "units_metadata": "temperature: difference",
        "grid_mapping": "crs",
        "comment": "mean absolute error that the network expects; no standard error, which is a standard deviation",
    }


def test_an_array_becomes_a_dataset_of_two(model):
    """Under its name, or as `field` without one; the values are those of the array that comes without."""
    array = regular()["tas"]
    for found in (upscale_dataarray(array, 3, model, error=True), array.fsrcnn.upscale(3, model, error=True)):
        assert list(found.data_vars) == ["tas", "tas_error"]
        assert np.array_equal(found["tas"], upscale_dataarray(array, 3, model))
    assert list(upscale_dataarray(array.rename(None), 3, model, error=True).data_vars) == ["field", "field_error"]
    assert isinstance(upscale_dataarray(array, 3, model, error=False), xr.DataArray)


def test_coordinates_that_are_upscaled_have_errors_that_are_coordinates(model):
    """So that the Dataset of an array has the array and its error as variables, and no others."""
    dataset = curvilinear(vertices=False)
    depth = xr.DataArray(terrain((18, 40), high=4000), dims=("j", "i"), attrs={"units": "m", "long_name": "depth"})
    array = dataset["tos"].assign_coords(depth=depth)
    found = upscale_dataarray(array, 3, model, error=True)
    assert list(found.data_vars) == ["tos", "tos_error"]
    assert set(found.coords) == {*upscale_dataarray(array, 3, model).coords, "depth_error"}


@pytest.mark.filterwarnings("ignore:W-REPEATED")
def test_what_is_not_upscaled_has_none(model):
    """Categories, numbers beside the grid, places."""
    dataset = curvilinear()
    dataset["soil"] = dataset["tos"].round().astype("int16").assign_attrs(flag_values=np.int16([1, 2]), units="1")
    dataset["height"] = 2.0
    found = upscale_dataset(dataset, 3, model, error=True)
    assert [name for name in found.variables if str(name).endswith("_error")] == ["tos_error"]


def test_totals_are_divided_and_directions_are_angles(model):
    """A part's error is a part; no direction is more than a quarter of a turn wrong."""
    dataset = projected()
    people = terrain((20, 26), high=900)
    dataset["people"] = (("y", "x"), people, {"units": "persons", "grid_mapping": "spatial_ref"})
    dataset["wd"] = (("y", "x"), np.linspace(0, 720, 520).reshape(20, 26) % 360, {"units": "degree"})
    kinds = {"people": "total", "wd": "direction"}
    found = upscale_dataset(dataset, 3, model, kinds=kinds, error=True)
    whole = upscale_array(people, 3, model, value_range=(0, np.inf), error=True)[1]
    assert np.allclose(found["people_error"], whole / 9)
    assert 0 < found["wd_error"].max() <= 90
    assert found["wd_error"].max() > 1


def test_errors_of_durations_are_durations(model):
    """In the unit of the field, which may be written to a file."""
    dataset = regular()
    days = dataset["tas"].to_numpy().astype(float)
    durations = (days * 86400e9).astype("timedelta64[ns]")
    durations[0, 3, 4] = np.timedelta64("NaT")
    dataset["tas"] = dataset["tas"].copy(data=durations)
    found = upscale_dataset(dataset[["tas"]].drop_vars("time"), 3, model, error=True)
    errors = found["tas_error"].to_numpy()
    assert errors.dtype == "timedelta64[ns]"
    assert np.array_equal(np.isnat(errors), np.isnat(found["tas"].to_numpy()))
    holed = np.where(np.isnat(durations), np.nan, days)
    expected = upscale_array(holed, 3, model, error=True)[1]
    found = np.where(np.isnat(errors), np.nan, errors / np.timedelta64(1, "D"))
    assert np.allclose(found, expected, rtol=1e-4, equal_nan=True)


def test_packed_fields_have_errors_that_are_not_packed(model, tmp_path):
    """Written by xarray the field is packed as it was, its error is a float that is compressed like it."""
    coarse = packed()
    coarse["tas"].encoding |= {"zlib": True, "complevel": 4}
    fine = upscale_dataset(coarse, 3, model, error=True)
    fine.to_netcdf(tmp_path / "fine.nc", engine="netcdf4")
    with netCDF4.Dataset(tmp_path / "fine.nc") as file:
        field, error = file["tas"], file["tas_error"]
        assert (field.dtype, error.dtype) == ("int16", "float32")
        assert not {*SCALING, "missing_value"} & set(error.ncattrs())
        assert error.filters()["complevel"] == field.filters()["complevel"] == 4
    assert np.array_equal(reopened(tmp_path / "fine.nc")["tas_error"], fine["tas_error"], equal_nan=True)


def test_nodes_of_a_tree_have_theirs(model):
    """As each dataset alone."""
    one, other = regular(), regular(times=3) + 1
    fine = upscale_datatree(xr.DataTree.from_dict({"/a": one, "/b/c": other}), 3, model, error=True)
    xr.testing.assert_identical(fine["a"].to_dataset(), upscale_dataset(one, 3, model, error=True))
    assert "tas_error" in fine["b/c"].data_vars


def test_lazy_stays_lazy(model):
    """Values and errors of dask chunks are the numbers in memory, nothing being computed before."""
    dataset = globe().fsrcnn.upscale(3, model, error=True)
    lazy = globe().chunk(lat=16, lon=20).fsrcnn.upscale(3, model, error=True)
    for name in ("z", "z_error"):
        assert lazy[name].chunks is not None
        assert np.allclose(lazy[name], dataset[name], atol=1e-4)
        assert lazy[name].attrs == dataset[name].attrs


@pytest.mark.parametrize("kind", ["cubic", "nearest", "bare", "pairs"])
def test_models_without_errors_are_refused_everywhere(kind, random_network, of_pairs, tmp_path):
    """In the same words, before anything is written."""
    dataset = regular()
    path = stored(dataset, tmp_path / "in.nc")
    model, name, instead = {
        "bare": (random_network(3), "random", "add it with train_error"),
        "pairs": (of_pairs, "rain", "leave out error=True"),
    }.get(kind, (kind, kind, r"take a shipped network \(default\)"))
    runs = [
        lambda: upscale_dataset(dataset, 3, model, error=True),
        lambda: upscale_datatree(xr.DataTree(dataset), 3, model, error=True),
        lambda: upscale_file(path, tmp_path / "out.nc", 3, model, error=True),
        lambda: upscale_file(path, tmp_path / "out.zarr", 3, model, error=True),
    ]
    if kind != "pairs":  # which are for datasets only, with errors or without
        runs.append(lambda: upscale_array(dataset["tas"].to_numpy(), 3, model, error=True))
        runs.append(lambda: upscale_dataarray(dataset["tas"], 3, model, error=True))
    for run in runs:
        with pytest.raises(ModelError, match=f"model {name} gives no expected error: {instead}"):
            run()
    assert [each.name for each in tmp_path.iterdir()] == ["in.nc"]


# ------------------------------------------------------------------------------------------------------------ in files

GRIDS = {
    "packed": packed,
    "projected": projected,
    "globe": lambda: globe(repeat=1),
    "curvilinear": curvilinear,
    "turned": lambda: regular().transpose("lon", "time", "lat", ...),
}


@pytest.mark.parametrize("target", [".nc", ".zarr"])
@pytest.mark.parametrize("source", [".nc", ".zarr"])
@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_a_file_holds_what_the_dataset_does(kind, source, target, model, tmp_path):
    """Values, errors, attributes and references, on any grid, whatever is read and written."""
    coarse = GRIDS[kind]()
    path, out = stored(coarse, tmp_path / f"in{source}"), tmp_path / f"out{target}"
    upscale_file(path, out, 3, model, error=True, tile_size=16)
    expected, found = reopened(path).fsrcnn.upscale(3, model, error=True), reopened(out)
    assert sorted(map(str, found.variables)) == sorted(map(str, expected.variables))
    names = [str(name) for name in expected.variables if str(name).endswith("_error")]
    assert names
    for name in names:
        assert found[name].dims == expected[name].dims
        assert found[name].dtype == ("float32" if kind == "packed" else expected[name].dtype)  # as it is stored
        assert found[name].attrs == expected[name].attrs
        assert np.array_equal(np.isnan(found[name]), np.isnan(expected[name]))
        assert np.allclose(found[name], expected[name], rtol=2e-3, atol=1e-4, equal_nan=True)
        field = name.removesuffix("_error")
        assert found[field].attrs["ancillary_variables"] == name
    upscale_file(path, tmp_path / f"without{target}", 3, model, tile_size=16)
    without = reopened(tmp_path / f"without{target}")
    for name in map(str, without.variables):
        assert np.array_equal(without[name], found[name], equal_nan=without[name].dtype.kind == "f")


@pytest.mark.parametrize("target", [".nc", ".zarr"])
def test_a_raster_becomes_a_dataset_with_errors(target, model, tmp_path):
    """Of each band, in the unit of the bands; where cells are missing there is none."""
    field = terrain((2, 30, 41), high=900).astype("float32")
    field[:, 3, 4] = -9999
    path = write(tmp_path / "in.tif", field, nodata=-9999)
    with rasterio.open(path, "r+") as d:
        d.units = ("m", "m")
    upscale_file(path, tmp_path / f"out{target}", 3, model, error=True)
    found = reopened(tmp_path / f"out{target}", decode_coords="all")
    errors = upscale_array(read(path), 3, model, nodata=-9999, error=True)[1]
    assert np.allclose(found["band_data_error"], errors, rtol=2e-3, equal_nan=True)
    assert found["band_data_error"].attrs["units"] == "m"
    assert found["band_data"].attrs["ancillary_variables"] == "band_data_error"
    assert found["band_data_error"].encoding["grid_mapping"] == found["band_data"].encoding["grid_mapping"]


@pytest.mark.filterwarnings("ignore:W-REPEATED")
def test_bands_that_are_repeated_have_none(model, tmp_path):
    """In a variable of bands of several kinds they are NaN there."""
    field = np.stack([terrain((20, 24), high=90), np.round(terrain((20, 24), high=5))]).astype("float32")
    path = write(tmp_path / "in.tif", field)
    summary = upscale_file(path, tmp_path / "out.nc", 3, model, error=True, kinds={"2": "category"})
    assert (summary.bands, summary.error_bands) == (2, 1)
    errors = reopened(tmp_path / "out.nc")["band_data_error"]
    assert (errors[0] > 0).all()
    assert np.isnan(errors[1]).all()


def test_errors_are_stored_as_their_field_is(model, tmp_path):
    """Chunks and compression are the field's; the type is a float's, not packed."""
    coarse = packed()
    coarse["tas"].encoding |= {"zlib": True, "complevel": 4, "shuffle": True}
    path = stored(coarse, tmp_path / "in.nc")
    upscale_file(path, tmp_path / "out.nc", 3, model, error=True, tile_size=16)
    with netCDF4.Dataset(tmp_path / "out.nc") as file:
        field, error = file["tas"], file["tas_error"]
        assert (field.dtype, error.dtype) == ("int16", "float32")
        assert error.chunking() == field.chunking()
        assert error.filters() == field.filters()
        assert np.isnan(error.getncattr("_FillValue"))
        assert not {*SCALING, "missing_value"} & set(error.ncattrs())
    upscale_file(stored(packed(), tmp_path / "in.zarr"), tmp_path / "out.zarr", 3, model, error=True, tile_size=16)
    found = reopened(tmp_path / "out.zarr", mask_and_scale=False)
    assert found["tas_error"].encoding["chunks"] == found["tas"].encoding["chunks"]
    assert str(found["tas_error"].encoding["compressors"]) == str(found["tas"].encoding["compressors"])
    upscale_file(path, tmp_path / "double.nc", 3, model, error=True, dtype="float64")
    assert reopened(tmp_path / "double.nc")["tas_error"].dtype == "float64"


def test_errors_are_read_back_and_compared(model, tmp_path, monkeypatch):
    """A file whose errors are not what was written is no output."""
    write_part = NetCDFWriter._write

    def damage(writer, name, index, values, checksum):
        write_part(writer, name, index, values, checksum)
        if name == "tas_error":
            writer._file.variables[name][index] = values + 1

    monkeypatch.setattr(NetCDFWriter, "_write", damage)
    with pytest.raises(OutputError, match=r"differs from what was written \(tas_error\)"):
        upscale_file(stored(regular(), tmp_path / "in.nc"), tmp_path / "out.nc", 3, model, error=True)
    assert not (tmp_path / "out.nc").exists()


def test_a_taken_name_is_refused_before_anything_is_written(model, tmp_path):
    """The output of a run with errors as an input: its fields can be chosen."""
    path = stored(regular(), tmp_path / "in.nc")
    upscale_file(path, tmp_path / "fine.nc", 3, model, error=True)
    with pytest.raises(InputError, match="tas_error, the name of the expected error of tas, is taken"):
        upscale_file(tmp_path / "fine.nc", tmp_path / "finer.nc", 3, model, error=True)
    upscale_file(tmp_path / "fine.nc", tmp_path / "finer.nc", 3, model, error=True, variables=["tas"])
    found = reopened(tmp_path / "finer.nc")
    assert found["tas"].attrs["ancillary_variables"] == "tas_error"
    assert found["tas_error"].shape == found["tas"].shape == (2, 216, 270)


@pytest.mark.filterwarnings("ignore:W-DATUM")
@pytest.mark.parametrize("kind", ["packed", "projected", "turned", "limited"])
def test_a_geotiff_of_a_field_holds_its_errors_behind_it(kind, model, tmp_path):
    """The errors of a NetCDF, in a band for each of the values; all bands are floats, and not packed."""
    if kind == "limited":  # errors are no values out of range
        coarse = regular(times=3)
        coarse["tas"].attrs["valid_range"] = np.float32([200, 400])
        coarse["tas"].encoding["_FillValue"] = np.float32(-9999)
        coarse["tas"][1, 4:7, 20:] = np.nan
    else:
        coarse = GRIDS[kind]()
    path = stored(coarse, tmp_path / "in.nc")
    upscale_file(path, tmp_path / "out.nc", 3, model, error=True, dtype="float32" if kind == "packed" else None)
    summary = upscale_file(path, tmp_path / "out.tif", 3, model, error=True)
    expected = reopened(tmp_path / "out.nc")
    name = next(str(name) for name in expected if f"{name}_error" in expected)
    leading = [dim for dim in expected[name].dims if dim == "time"]
    rows, columns = ("lat", "lon") if leading else ("y", "x")
    with rasterio.open(tmp_path / "out.tif") as d:
        found, tags = d.read(masked=True).astype(d.dtypes[0]).filled(np.nan), [d.tags(i) for i in d.indexes]
        words, units, count = d.descriptions, d.units, d.count // 2
        assert (set(d.scales), set(d.offsets)) == ({1.0}, {0.0})
    for number, variable in enumerate((name, f"{name}_error")):
        values = expected[variable].transpose(*leading, rows, columns).to_numpy().reshape(-1, *found.shape[1:])
        assert found.dtype == values.dtype
        own = found[number * count : (number + 1) * count]
        assert np.allclose(own, values, rtol=2e-3, equal_nan=True)
    assert all(word.endswith(f"{name}_error") for word in words[count:])
    assert len(set(words)) == 2 * count
    assert (summary.bands, summary.error_bands) == (count, count)
    assert summary.dtype == ("float32" if kind == "packed" else None)
    assert set(units) == {expected[name].attrs["units"]}
    assert all(each["long_name"].startswith("expected absolute error of") for each in tags[count:])


@pytest.mark.filterwarnings("ignore:W-REPEATED")
@pytest.mark.parametrize("target", [".nc", ".zarr", ".tif"])
def test_a_file_of_categories_has_no_errors_and_says_so(target, model, tmp_path):
    """What was asked for is nowhere ignored."""
    dataset = projected()
    dataset["dem"] = dataset["dem"].round().astype("int16").assign_attrs(flag_values=np.int16([1, 2]), units="1")
    with pytest.raises(UsageError, match="holds categories, which are repeated and have no expected error"):
        upscale_file(stored(dataset, tmp_path / "in.nc"), tmp_path / f"out{target}", 3, model, error=True)
    assert not (tmp_path / f"out{target}").exists()


@pytest.mark.parametrize("kind", sorted(GRIDS))
def test_the_cf_checker_finds_nothing_new(kind, model, tmp_path):
    """Whatever it says of a file with errors, it says of the one without; of an error, what it says of its field."""
    runner = pytest.importorskip("compliance_checker.runner")
    path = stored(GRIDS[kind](), tmp_path / "in.nc")
    said = []
    for error in (False, True):
        out = tmp_path / f"{error}.nc"
        upscale_file(path, out, 3, model, error=error)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            runner.CheckSuite.load_all_available_checkers()
            report = tmp_path / "report.json"
            runner.ComplianceChecker.run_checker(
                str(out), ["cf:1.11"], 0, "normal", output_filename=report, output_format="json"
            )
        found = json.loads(report.read_text())["cf:1.11"]
        said.append({m for key in ("high_priorities", "medium_priorities") for c in found[key] for m in c["msgs"]})
    assert {message.replace("_error", "") for message in said[1]} - said[0] == set()
