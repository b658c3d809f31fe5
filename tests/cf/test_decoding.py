"""Times in months and years are dates of the calendar; what cannot be read is said in one line."""

from __future__ import annotations

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import InputError


def times(values: object, units: str, calendar: str | None = "standard") -> xr.Dataset:
    attrs = {"units": units} | ({"calendar": calendar} if calendar else {})
    return xr.Dataset(coords={"time": ("time", np.asarray(values), attrs)})


@given(
    start=st.dates(pd.Timestamp("1900-01-01").date(), pd.Timestamp("2020-12-31").date()),
    counts=st.lists(st.integers(-240, 960), min_size=1, max_size=5, unique=True),
    years=st.booleans(),
)
def test_whole_months_and_years_are_those_of_pandas(start, counts, years):
    """From any day, to the last of a shorter month."""
    units = f"{'years' if years else 'months'} since {start.isoformat()}"
    counts = [count // 12 for count in counts] if years else counts
    found = decode_times(times(counts, units), "a.nc")["time"].to_index()
    offset = "years" if years else "months"
    assert list(found) == [pd.Timestamp(start) + pd.DateOffset(**{offset: count}) for count in counts]


@pytest.mark.parametrize("calendar", ["360", "360_day"])
def test_halves_of_months_are_their_middles(calendar):
    """As IRI's files count, whose calendar is called 360."""
    found = decode_times(times([0.5, 1.5, 12.5], "months since 1960-01-01", calendar), "a.nc")["time"].to_numpy()
    assert [(t.year, t.month, t.day) for t in found] == [(1960, 1, 16), (1960, 2, 16), (1961, 1, 16)]
    standard = decode_times(times([0.5, 1.5, 12.5], "months since 1960-01-01"), "a.nc")["time"].to_index()
    assert list(standard) == list(pd.to_datetime(["1960-01-16T12", "1960-02-15T12", "1961-01-16T12"]))


def test_bounds_go_with_their_times():
    """Bounds, which need no units of their own."""
    dataset = times([0, 1, 2], "months since 2001-01-01", None)
    dataset["time"].attrs["bounds"] = "bnds"
    dataset["bnds"] = (("time", "n"), np.stack([np.arange(3), np.arange(1, 4)], 1))
    found = decode_times(dataset, "a.nc")
    assert list(pd.to_datetime(found["bnds"].to_numpy()[:, 1])) == list(
        pd.to_datetime(["2001-02-01", "2001-03-01", "2001-04-01"])
    )
    assert found["time"].encoding["units"].startswith("days since 2001-01-01")


def test_others_are_as_xarray_decodes_them():
    """Days and hours, and a dataset that is decoded."""
    dataset = times([0, 31], "days since 2001-01-01", "noleap")
    assert isinstance(decode_times(dataset, "a.nc")["time"].to_numpy()[0], cftime.DatetimeNoLeap)
    again = decode_times(decode_times(times([0, 6], "hours since 2001-01-01"), "a.nc"), "a.nc")
    assert again["time"].dtype.kind == "M"


@pytest.mark.parametrize(
    ("units", "calendar"),
    [
        ("fortnights since 2001-01-01", "standard"),
        ("months since sometime", "standard"),
        ("days since 2001-01-01", "x"),
    ],
)
def test_what_cannot_be_read_is_one_line(units, calendar):
    """The variable, the file, the units, and what to do."""
    words = rf"time of a\.nc counts '{units}', which cannot be read as dates .*: write them as days since a date"
    with pytest.raises(InputError, match=words) as caught:
        decode_times(times([0, 1], units, calendar), "a.nc")
    assert "\n" not in str(caught.value)
