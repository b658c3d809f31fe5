"""Values that are not plain numbers of numpy or dask."""

import warnings

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import InputError
from tests.support.grids import regular


@pytest.mark.parametrize("chunks", [None, {"time": 1}])
@pytest.mark.parametrize("step", ["ns", "s"])
def test_durations_are_numbers(chunks, step):
    """Consecutive dry days: upscaled as their number of steps, durations again; an unknown one stays unknown."""
    dataset = regular()
    days = np.round(dataset["tas"].to_numpy() - 200)
    durations = days.astype("timedelta64[D]").astype(f"timedelta64[{step}]")
    durations[0, 3, 4] = np.timedelta64("NaT")
    dataset["cdd"] = (("time", "lat", "lon"), durations)
    known = dataset.assign(cdd=(("time", "lat", "lon"), np.where(np.isnat(durations), np.nan, days)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = upscale_dataset(dataset if chunks is None else dataset.chunk(chunks), 3, "small")["cdd"]
        right = upscale_dataset(known, 3, "small")["cdd"].to_numpy()
    assert fine.dtype == f"timedelta64[{step}]"
    assert (fine.chunks is not None) == (chunks is not None)
    values = fine.to_numpy()
    assert np.array_equal(np.isnat(values), np.isnan(right))
    found = np.where(np.isnat(values), np.nan, values / np.timedelta64(1, "D"))
    np.testing.assert_allclose(found, right, atol=1e-4)


def test_arrays_of_other_libraries_are_refused_in_a_line():
    """Quantities of pint: which variable, what it holds, what to do; neither numpy nor dask is meant by its name."""
    pint = pytest.importorskip("pint")
    dataset = regular()
    quantity = pint.UnitRegistry().Quantity(dataset["tas"].to_numpy(), "kelvin")
    dataset["tas"] = (("time", "lat", "lon"), quantity)
    with pytest.raises(InputError, match=r"^tas holds its values as pint.*Quantity: make them numpy's or dask's first"):
        upscale_dataset(dataset, 3, "small")


def test_a_grid_mapping_of_characters_stays_a_scalar(tmp_path):
    """`char rotated_pole ;` of CORDEX files has no dimension afterwards; a letter that says something stays one."""
    netCDF4 = pytest.importorskip("netCDF4")
    regular()[["tas"]].to_netcdf(tmp_path / "in.nc")
    with netCDF4.Dataset(tmp_path / "in.nc", "a") as n:
        n.createVariable("crs", "S1", ()).grid_mapping_name = "latitude_longitude"
        n.createVariable("letter", "S1", ())[...] = b"x"
        n["tas"].grid_mapping = "crs"
    for name in ("out.nc", "out.zarr"):
        upscale_file(tmp_path / "in.nc", tmp_path / name, 3, "bilinear")
        with xr.open_dataset(tmp_path / name, decode_cf=False) as fine:
            assert fine["crs"].dims == ()
            assert fine["crs"].attrs["grid_mapping_name"] == "latitude_longitude"
            assert bytes(fine["letter"].values).strip(b"\0") == b"x"
