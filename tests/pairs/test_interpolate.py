"""Coarse fields at fine places: longitudes of any start, files by year."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.errors import InputError
from geofsrcnn.pairs.fields import fields_of, join_fields
from geofsrcnn.pairs.interpolate import interpolate
from geofsrcnn.pairs.match_times import common_times

LAT = np.array([60.0, 50, 40])


def field(lon: np.ndarray, values: np.ndarray, days: np.ndarray | None = None) -> xr.Dataset:
    """Values ``(lon,)`` in each of three rows, at one or several days."""
    shape = (1 if days is None else len(days), len(LAT), len(lon))
    stamps = np.datetime64("2000-01-01", "ns") + (np.zeros(1) if days is None else days).astype("m8[D]")
    return xr.Dataset(
        {"t": (("time", "lat", "lon"), np.broadcast_to(values, shape).copy())},
        {
            "time": stamps,
            "lat": ("lat", LAT, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


def at(dataset: xr.Dataset, x: np.ndarray) -> np.ndarray:
    fields = fields_of(dataset, "f")
    return interpolate(fields.at("t", [0]), fields.grid, LAT, x, is_longitude=True)[0, 1]


@given(
    count=st.integers(8, 40),
    start=st.floats(-400, 400),
    centre=st.floats(-400, 400),
    width=st.floats(1, 350),
    falling=st.booleans(),
    both_ends=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_global_field_is_the_same_wherever_its_columns_begin(count, start, centre, width, falling, both_ends, seed):
    """As numpy's periodic interpolation has it, across Greenwich, the date line and the ends of the columns."""
    lon = start + 360 / count * np.arange(count)
    values = np.random.default_rng(seed).normal(size=count)
    x = np.linspace(centre - width / 2, centre + width / 2, 23)
    expected = np.interp(x, lon, values, period=360)
    if both_ends:
        lon, values = np.append(lon, lon[0] + 360), np.append(values, values[0])
    if falling:
        lon, values = lon[::-1], values[::-1]
    assert np.allclose(at(field(lon, values), x), expected, atol=1e-5)


@pytest.mark.parametrize("lon", [np.arange(-10.0, 11, 2), np.arange(350.0, 371, 2), np.arange(-370.0, -349, 2)])
def test_a_field_across_greenwich(lon):
    """Of a region, whatever whole turns its longitudes are off; beyond its edge stand that edge's values."""
    x = np.array([-15.0, -9, -0.5, 0.5, 9, 15])
    assert np.allclose(at(field(lon, np.arange(11.0)), x), np.interp(x, np.arange(-10.0, 11, 2), np.arange(11.0)))


def test_files_by_year_are_one():
    """In any order; common times are found across them."""
    lon, days = np.arange(4.0), np.arange(30)
    whole = field(lon, np.arange(4.0), days)
    whole["t"] = whole["t"] + whole["time"].dt.day
    parts = [whole.isel(time=slice(first, first + 10)) for first in (10, 0, 20)]
    [made] = join_fields([fields_of(part, f"{i}.nc") for i, part in enumerate(parts)])
    assert made.shown == "1.nc and 2 more"
    assert made.dates == fields_of(whole, "whole").dates
    assert np.array_equal(made.at("t", range(30)), whole["t"])
    assert common_times([made, fields_of(parts[0], "part")]) == [list(range(10, 20)), list(range(10))]
    assert len(join_fields([fields_of(whole, "a"), fields_of(whole.rename(t="u"), "b")])) == 2


def test_files_that_are_not_of_other_times_are_refused():
    """Other grids, units, calendars; days that repeat are found where times are matched."""
    lon, days = np.arange(4.0), np.arange(10)
    one, next_ = field(lon, np.arange(4.0), days), field(lon, np.arange(4.0), days + 10)

    def both(other: xr.Dataset):
        return join_fields([fields_of(one, "a.nc"), fields_of(other, "b.nc")])

    with pytest.raises(InputError, match=r"b\.nc and a\.nc have t on other grids"):
        both(next_.assign_coords(lon=("lon", lon + 0.5, {"units": "degrees_east"})))
    with pytest.raises(InputError, match="files have t in other units"):
        both(next_.assign(t=next_["t"].assign_attrs(units="K")))
    with pytest.raises(InputError, match=r"times of a\.nc and b\.nc do not go together"):
        both(next_.convert_calendar("noleap", use_cftime=True))
    with pytest.raises(InputError, match="several files have t, and no times to tell them apart"):
        both(next_.isel(time=0, drop=True))
    with pytest.raises(InputError, match=r"times of a\.nc and 1 more repeat"):
        common_times(both(field(lon, np.arange(4.0), days + 5)))
