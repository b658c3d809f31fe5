"""Times that go together: days by date, months by month, years by year, in any calendar, wherever they are stamped."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.cf.dates import Date, day_of_year, days_between
from geofsrcnn.errors import InputError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.fields import Fields, fields_of, join_fields
from geofsrcnn.pairs.match_times import common_step, common_times
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.spec import PairOptions
from tests.support.pairfiles import SMALL, made, train_files

pytestmark = pytest.mark.usefixtures("one_thread")

MONTHS = pd.date_range("1990-01-01", periods=48, freq="MS")


def at(times: object, name: str = "a", bounds: object = None, methods: str = "") -> Fields:
    size = len(times)  # type: ignore[arg-type]
    attrs = {"cell_methods": methods} if methods else {}
    dataset = xr.Dataset({"a": (("time", "y", "x"), np.zeros((size, 3, 4)), attrs)}, {"time": times})
    if bounds is not None:
        dataset["time"].attrs["bounds"] = "time_bnds"
        dataset["time_bnds"] = (("time", "n"), np.stack(bounds, 1))
    return fields_of(dataset, name)


def stamped(where: str) -> object:
    """48 months from 1990 on."""
    ends = MONTHS + pd.offsets.MonthEnd(1)
    calendars = {"noleap", "360_day", "julian"}
    if where in calendars:
        return xr.date_range("1990-01-01", periods=48, freq="MS", calendar=where, use_cftime=True)
    return {"1st": MONTHS, "15th": MONTHS + pd.Timedelta(14, "D"), "middle": MONTHS + (ends - MONTHS) / 2, "end": ends}[
        where
    ]


STAMPS = ("1st", "15th", "middle", "end", "noleap", "360_day", "julian")


@given(one=st.sampled_from(STAMPS), other=st.sampled_from(STAMPS), begin=st.integers(0, 20), gap=st.integers(0, 5))
def test_months_are_matched_by_month(one, other, begin, gap):
    """Every month of both, wherever it is stamped; those of one alone are left out."""
    left = [i for i in range(48) if i % 12 != gap]
    a, b = at(stamped(one)[left]), at(stamped(other)[begin:])
    first, second = common_times([a, b])
    assert [left[i] for i in first] == [i for i in left if i >= begin] == [i + begin for i in second]
    assert common_step([a, b]) == "months"


def test_a_month_stamped_at_its_end_is_told_by_its_bounds():
    """The first of the next month at midnight, as some models write: bounds say which month it is."""
    ends = MONTHS + pd.offsets.MonthBegin(1)
    told = at(ends, "b", (MONTHS, ends))
    assert common_times([at(MONTHS), told]) == [list(range(48))] * 2
    assert str(told.dates[0]) == "1990-01-16"
    days = pd.date_range("2001-01-01", periods=9)
    assert common_times([at(days), at(days[1:], "b", (days[:-1], days[1:]))])[0] == list(range(8))


def test_years_are_matched_by_year():
    """The middle of a year, its first day, its last, in any calendar."""
    firsts = pd.date_range("1950-01-01", periods=30, freq="YS")
    middles = xr.date_range("1955-06-01", periods=30, freq="YS-JUN", calendar="360_day", use_cftime=True)
    assert common_times([at(firsts), at(middles)])[1] == list(range(25))
    assert common_step([at(firsts), at(middles)]) == "years"


DAYS = pd.date_range("2001-01-01", periods=400)


@pytest.mark.parametrize(
    ("short", "long", "words"),
    [
        (DAYS, MONTHS, "s has a time a day, l one a month: average the months first"),
        (DAYS, pd.date_range("1990-01-01", periods=20, freq="YS"), "s has a time a day, l one a year"),
        (MONTHS, pd.date_range("1990-01-01", periods=20, freq="YS"), "s has a time a month, l one a year"),
        (pd.date_range("2001-01-01", periods=40, freq="6h"), MONTHS, "s has several times a day, l one a month"),
        (pd.date_range("1990-01-01", periods=80, freq="5D"), MONTHS, "s has several times a month, l one"),
    ],
)
def test_means_of_other_lengths_are_refused(short, long, words):
    """A day is no month, though both are stamped on the first."""
    for pair in ([at(short, "s"), at(long, "l")], [at(long, "l"), at(short, "s")]):
        with pytest.raises(InputError, match=words):
            common_times(pair)


def until_next(times: pd.DatetimeIndex, step: object) -> tuple[object, object]:
    """Bounds of periods that begin at these times."""
    return times, times + step


SEASONS = pd.date_range("1990-01-01", periods=16, freq="QS")
WEEKS = pd.date_range("2001-01-01", periods=50, freq="7D")
YEARS = pd.date_range("1990-01-01", periods=20, freq="YS")
A_DAY, A_WEEK, A_MONTH = pd.Timedelta(1, "D"), pd.Timedelta(7, "D"), pd.offsets.MonthBegin(1)
A_SEASON, A_YEAR = pd.offsets.MonthBegin(3), pd.offsets.YearBegin(1)


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (at(DAYS, "s"), at(WEEKS, "l")),
        (at(DAYS, "s"), at(SEASONS, "l")),
        (at(MONTHS, "s"), at(SEASONS, "l")),
        (at(YEARS, "s"), at(YEARS[::5], "l")),
    ],
    ids=["days-weeks", "days-seasons", "months-seasons", "years-5 years"],
)
def test_longer_steps_are_refused_without_bounds(short, long):
    """A week's mean is not paired with its first day, nor a season's with its first month."""
    for pair in ([short, long], [long, short]):
        with pytest.raises(InputError, match=r"l has a time every \d+ days, s every \d+: average s over the same"):
            common_times(pair)
    assert common_times([long, long])[0] == list(range(len(long.dates)))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        (at(DAYS, "s", until_next(DAYS, A_DAY)), at(WEEKS, "l", until_next(WEEKS, A_WEEK))),
        (at(DAYS, "s"), at(WEEKS, "l", until_next(WEEKS, A_WEEK))),
        (at(DAYS, "s"), at(DAYS, "l", until_next(DAYS, A_WEEK))),
        (at(DAYS, "s", until_next(DAYS, A_DAY)), at(MONTHS[:1], "l", until_next(MONTHS[:1], A_MONTH))),
        (at(MONTHS, "s", until_next(MONTHS, A_MONTH)), at(SEASONS, "l", until_next(SEASONS, A_SEASON))),
        (at(MONTHS, "s", until_next(MONTHS, A_DAY)), at(MONTHS, "l", until_next(MONTHS, A_MONTH))),
        (at(YEARS, "s", until_next(YEARS, A_SEASON)), at(YEARS, "l", until_next(YEARS, A_YEAR))),
        (at(MONTHS, "s", methods="area: mean time: point"), at(MONTHS, "l", until_next(MONTHS, A_MONTH))),
    ],
    ids=[
        "days-weeks",
        "days-weeks, one stated",
        "running weeks",
        "days-one month",
        "months-seasons",
        "the first of each month",
        "winters-years",
        "moments-months",
    ],
)
def test_values_of_longer_times_are_refused(short, long):
    """As bounds of times and cell methods tell, whatever their dates."""
    words = r"values of l are of \d+ days each, those of s of (at most )?(\d+|single moments): average s over the same"
    for pair in ([short, long], [long, short]):
        with pytest.raises(InputError, match=words):
            common_times(pair)


def test_times_of_one_length_are_matched_at_any_distance():
    """The Januaries of two files; days at 12:00 and of 24 hours; winters, of which one file has no bounds."""
    januaries = at(YEARS, "a", until_next(YEARS, A_MONTH))
    assert len(common_times([januaries, at(YEARS, "b", until_next(YEARS, A_MONTH))])[0]) == 20
    assert len(common_times([januaries, at(YEARS, "b")])[0]) == 20
    moments = at(DAYS + pd.Timedelta(12, "h"), "a", methods="time: point")
    assert len(common_times([moments, at(DAYS, "b", until_next(DAYS, A_DAY))])[0]) == 400
    some = DAYS[[0, 3, 4, 9, 20, 21]]
    assert len(common_times([at(some), at(DAYS)])[0]) == 6


def test_a_climatology_is_no_year():
    """Means of thirty Januaries are not those of the year that they are dated (CF 7.4)."""
    dataset = xr.Dataset({"a": (("time", "y", "x"), np.zeros((12, 3, 4)))}, {"time": MONTHS[:12]})
    dataset["time"].attrs["climatology"] = "climatology_bounds"
    with pytest.raises(InputError, match="c is a climatology, m is none: give fields of the same times"):
        common_times([at(MONTHS, "m"), fields_of(dataset, "c")])


def test_files_of_one_variable_at_two_steps_are_refused():
    """A file of days is not continued by one of months."""
    later = pd.date_range("2005-01-01", periods=12, freq="MS")
    with pytest.raises(
        InputError, match=r"files have a at steps of several lengths \(days, months\): give one of them"
    ):
        join_fields([at(DAYS, "d"), at(later, "m")])


def test_hours_that_differ_are_said():
    """The days are in both, which the years and calendars do not explain."""
    hours = pd.date_range("2001-01-01", periods=40, freq="6h")
    with pytest.raises(InputError, match=r"the days are the same, the hours differ \(a 00:00, 06:00.*; b 03:00"):
        common_times([at(hours), at(hours + pd.Timedelta(3, "h"), "b")])


def test_times_that_are_not_decoded_are_said():
    """In a dataset opened with decode_times=False, which `fields_of` cannot decode."""
    dataset = xr.Dataset({"a": (("time", "y", "x"), np.zeros((9, 3, 4)))}, {"time": np.arange(9)})
    dataset["time"].attrs["units"] = "days since 2001-01-01"
    with pytest.raises(InputError, match=r"times of c are not decoded \(time\): open it with decode_times=True"):
        fields_of(dataset, "c")


def test_the_season_of_a_month_does_not_depend_on_its_stamp():
    """The calendar's channels are those of the middle of a month, of a year its middle."""
    assert {day_of_year(Date(1990, 3, day), "months") for day in (1, 15, 31)} == {2 * 30.4375 + 15}
    assert {day_of_year(Date(1990, month, 1), "years") for month in (1, 6, 12)} == {6 * 30.4375}
    assert day_of_year(Date(1990, 3, 4)) == 2 * 30.4375 + 3


def test_days_between_times():
    """A part of a day where there are several times a day; days at another hour each are days."""
    dates = [Date(2000, 1, 1), Date(2000, 1, 1, 6), Date(2000, 1, 2, 12)]
    assert days_between(dates, "hours") == 0.25
    assert days_between(dates, "months") == days_between(dates[:1], "hours") == 1


@pytest.fixture(scope="module")
def monthly(tmp_path_factory):
    """Made pairs of 240 months, coarse ones in the middle, fine ones on the first."""
    files = made(tmp_path_factory.mktemp("monthly"), lapse=True)
    first = pd.date_range("1980-01-01", periods=240, freq="MS")
    for name, stamps in (("coarse", first + pd.Timedelta(15, "D")), ("fine", first)):
        with xr.open_dataset(files[name]) as dataset:
            whole = dataset.load()
        whole.assign_coords(time=stamps).to_netcdf(files[name])
    return files


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_months_train_evaluate_and_apply(monthly, tmp_path):
    """All are fitted on, those that were fitted on are not scored, whatever their stamps."""
    out = tmp_path / "m.safetensors"
    line = {"until": "1990-01-01", "sizes": SMALL, "options": PairOptions(steps=2), "overwrite": True}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train_files([monthly["coarse"]], [monthly["fine"]], 4, out, **line)
    assert (result.times, result.matched) == ((120, 120), "months")
    assert pairing_of(load_checkpoint(out)).fitted == (Date(1980, 1, 16), Date(1989, 12, 16))
    with xr.open_dataset(monthly["coarse"]) as coarse:
        late = coarse.load().assign_coords(time=pd.date_range("1980-01-31", periods=240, freq="ME"))
    late.to_netcdf(tmp_path / "late.nc")
    (found,) = evaluate_pairs([out], [tmp_path / "late.nc"], [monthly["fine"]])
    assert (found.times, found.span) == (120, ("1990-01-31", "1999-12-31"))
    (same,) = evaluate_pairs([out], [monthly["coarse"]], [monthly["fine"]])
    assert same.scores == found.scores


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_months_since_train_and_apply(monthly, tmp_path):
    """Counted in months: the same as dated, in files and in datasets that are not decoded."""
    counted = {}
    for name in ("coarse", "fine"):
        counted[name] = tmp_path / f"{name}.nc"
        with xr.open_dataset(monthly[name]) as dataset:
            whole = dataset.load().assign_coords(time=("time", np.arange(240)))
        whole["time"].attrs = {"units": "months since 1980-01-01", "calendar": "standard"}
        whole.to_netcdf(counted[name])
    line = {"until": "1990-01-01", "sizes": SMALL, "options": PairOptions(steps=2)}
    dated = train_files([monthly["coarse"]], [monthly["fine"]], 4, tmp_path / "a.safetensors", **line)
    result = train_files([counted["coarse"]], [counted["fine"]], 4, tmp_path / "b.safetensors", **line)
    assert result.scores == dated.scores
    with xr.open_dataset(counted["coarse"], decode_times=False) as raw:
        fine = downscale_dataset(raw, tmp_path / "b.safetensors")
    assert list(fine["time"].to_index()[:3]) == list(pd.date_range("1980-01-01", periods=3, freq="MS"))
    fine.to_netcdf(tmp_path / "fine.nc", mode="w")
    with xr.open_dataset(tmp_path / "fine.nc") as again:
        assert again["time"].encoding["units"].startswith("days since")
