"""Cells of NetCDF files that were never written: missing, as the NetCDF library and its tools take them."""

from __future__ import annotations

from contextlib import nullcontext

import netCDF4
import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.cf.encoding import DEFAULT_FILLS, missing_of
from geofsrcnn.errors import GeofsrcnnWarning
from tests.support.rasters import terrain

HOLE = (slice(4, 6), slice(3, 5))
FORMS = ["NETCDF4", "NETCDF3_64BIT_OFFSET"]


def unwritten(path, dtype, form="NETCDF4", **options):
    """A NetCDF file of a field with four cells that were never written; values from 500 to 600."""
    values = terrain((12, 14), low=500, high=600)
    attrs = options.pop("attrs", {})
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.set_auto_maskandscale(False)
        for name, size, units in (("lat", 12, "degrees_north"), ("lon", 14, "degrees_east")):
            file.createDimension(name, size)
            coordinate = file.createVariable(name, "f8", (name,))
            coordinate.units = units
            coordinate[:] = 10 + np.arange(size)
        field = file.createVariable("tas", dtype, ("lat", "lon"), **options)
        field.set_auto_maskandscale(False)
        field.setncatts({"units": "K", **attrs})
        stored = np.rint((values - attrs.get("add_offset", 0)) / attrs.get("scale_factor", 1))
        stored = stored if np.dtype(dtype).kind in "iu" else values
        mask = np.ones(values.shape, bool)
        mask[HOLE] = False
        for y, x in zip(*np.nonzero(mask), strict=True):
            field[y, x] = stored[y, x]
    return path


def decoded(path):
    """A field of a file as numbers, what the library masks as NaN."""
    with netCDF4.Dataset(path) as file:
        return np.ma.filled(file["tas"][:].astype("float64"), np.nan)


def test_the_values_are_those_of_the_library():
    """The table is netCDF4's, without bytes, which have none, and complex numbers."""
    library = {key: value for key, value in netCDF4.default_fillvals.items() if key[0] != "c" and key[1:] != "1"}
    assert library == DEFAULT_FILLS


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i4", "i8", "u2", "u4", "u8"])
def test_cells_that_were_never_written_are_missing(tmp_path, dtype):
    """Without `_FillValue` they hold the library's own value: missing before, masked by it after."""
    source = unwritten(tmp_path / "in.nc", dtype)
    upscale_file(source, tmp_path / "out.nc", 2, "bilinear")
    fine, expected = decoded(tmp_path / "out.nc"), np.zeros((24, 28), bool)
    expected[8:12, 6:10] = True
    assert np.array_equal(np.isnan(fine), expected)
    assert 499 <= fine[~expected].min() <= fine[~expected].max() <= 601


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("attrs", [{"scale_factor": 0.01, "add_offset": 550.0}, {"missing_value": np.int16(77)}])
def test_packed_and_beside_missing_value(tmp_path, form, attrs):
    """The value counts as stored, and beside a `missing_value`, in files and as xarray decodes them."""
    source = unwritten(tmp_path / "in.nc", "i2", form, attrs=attrs)
    upscale_file(source, tmp_path / "out.nc", 2, "bilinear")
    fine = decoded(tmp_path / "out.nc")
    assert np.isnan(fine).sum() == 16
    assert 499 <= np.nanmin(fine) <= np.nanmax(fine) <= 601
    with xr.open_dataset(source) as dataset:
        whole = upscale_dataset(dataset, 2, "bilinear").tas.to_numpy()
    outside = np.isfinite(fine)
    assert np.allclose(whole[outside], fine[outside], atol=0.51 if "missing_value" in attrs else 0.006)


@pytest.mark.parametrize(("dtype", "options"), [("i1", {}), ("u1", {}), ("i2", {"fill_value": False})])
def test_bytes_and_variables_that_are_not_filled_have_none(tmp_path, dtype, options):
    """A byte of -127, and -32767 where the library was told not to fill, are values."""
    with netCDF4.Dataset(unwritten(tmp_path / "in.nc", dtype, **options), "r+") as file:
        field = file["tas"]
        field.set_auto_maskandscale(False)
        field[:] = 100
        field[HOLE] = netCDF4.default_fillvals[dtype]
    upscale_file(tmp_path / "in.nc", tmp_path / "out.nc", 2, "nearest")
    with pytest.warns(GeofsrcnnWarning, match="W-NODATA: tas .* -32767") if options else nullcontext():
        upscale_file(tmp_path / "in.nc", tmp_path / "smooth.nc", 2, "bilinear")
    with netCDF4.Dataset(tmp_path / "smooth.nc") as file:
        file.set_auto_maskandscale(False)
        assert len(np.unique(file["tas"][:])) > 2  # the hole is interpolated


def test_a_stated_fill_value_is_the_only_one():
    """With `_FillValue` the library's own is a value; without, in an array of floats of any origin, it is not."""
    field = xr.DataArray(np.zeros((2, 2), "float32"), dims=("y", "x"))
    assert missing_of(field).marks == (DEFAULT_FILLS["f4"],)
    assert missing_of(field.assign_attrs(_FillValue=np.float32(-1))).marks == (-1,)
    assert missing_of(field.astype("int16")).marks == ()


@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_into_a_geotiff(tmp_path, dtype):
    """In a GeoTIFF the cells are nodata."""
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(unwritten(tmp_path / "in.nc", dtype), tmp_path / "out.tif", 2, "bilinear")
    with rasterio.open(tmp_path / "out.tif") as d:
        assert (d.read_masks(1) == 0).sum() == 16
        assert np.isnan(d.nodata) if dtype == "f4" else d.nodata == -32767


def test_zarr_is_told_which_cells_the_netcdf_library_filled(tmp_path):
    """Zarr has no default fill value of NetCDF's: readers see the missing cells by a stated one."""
    upscale_file(unwritten(tmp_path / "in.nc", "f4"), tmp_path / "out.zarr", 2, "bilinear")
    with xr.open_zarr(tmp_path / "out.zarr") as fine:
        assert int(np.isnan(fine["tas"]).sum()) == 16


def test_zarr_is_told_it_of_variables_that_are_no_fields(tmp_path):
    """A series beside the fields whose last value was never written is missing there in Zarr as well."""
    source = unwritten(tmp_path / "in.nc", "f4")
    with netCDF4.Dataset(source, "r+") as file:
        file.createDimension("station", 3)
        series = file.createVariable("height", "f4", ("station",))
        series[:2] = [1, 2]
        file.createVariable("crs", "i4", ())  # whose number means nothing, and is never written
        names = file.createVariable("name", str, ("station",))
        names[:] = np.array(["a", "b", "c"], object)
        names.missing_value = "0"
    upscale_file(source, tmp_path / "out.zarr", 2, "bilinear")
    with xr.open_zarr(tmp_path / "out.zarr") as fine:
        assert np.isnan(fine["height"].to_numpy()).tolist() == [False, False, True]
        assert "_FillValue" not in {**fine["lat"].encoding, **fine["crs"].encoding, **fine["crs"].attrs}
