"""Time axes of files: their dates, the step from one time to the next, and how long the time of a value is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import attribute
from geofsrcnn.cf.dates import Date, Step

SHORTEST = 0.9
"""Days from which on times are not several a day."""

LONGEST = 1.1
"""Days up to which times are daily."""

_POINT = re.compile(r"\btime\s*:\s*point\b")

REGULAR = 0.2
"""Relative difference from the median gap up to which gaps are regular, as of seasons and of a month's thirds."""

MOST = 0.9
"""Share of regular gaps from which on all times are taken for regular."""

FEWEST_GAPS = 3
"""Gaps that show whether times are regular."""


@dataclass(frozen=True)
class TimeAxis:
    """The times of a dataset.

    Parameters
    ----------
    index : Index
        Of numpy's or cftime's dates.
    bounds : tuple of Index, optional
        Where the time of each value begins and ends (CF 7.1).
    are_moments : bool
        Values are those of single moments, by their cell methods (CF 7.3).
    is_climatology : bool
        Values are statistics over several years (CF 7.4).
    """

    index: Any
    bounds: tuple[Any, Any] | None = None
    are_moments: bool = False
    is_climatology: bool = False

    @cached_property
    def dates(self) -> list[Date]:
        """The date of each time; where bounds say that values are of a day or longer, of their center.

        So a month whose time is its end, the first of the next month, has a date within it.
        """
        times = self.index
        if self.bounds is not None and (self._lengths > SHORTEST).all():
            start, end = self.bounds
            times = start + (end - start) / 2
        return [Date(time.year, time.month, time.day, time.hour, time.minute) for time in times]

    @cached_property
    def step(self) -> Step:
        """Distance of times: of several a day, a day, a month, a year; nothing where it is none of them, or one."""
        dates = self.dates
        if len(dates) < 2:
            return ""
        gap = float(np.median(self._gaps))
        if 26 < gap < 33 and all_differ(dates, 2):
            return "months"
        if 350 < gap < 380 and all_differ(dates, 1):
            return "years"
        if not all_differ(dates, 3) and all_differ(dates, 5):
            return "hours"
        return "days" if SHORTEST < gap < LONGEST else ""

    @cached_property
    def gap(self) -> float | None:
        """Median days from one time to the next; None where they are few, or any days that were left."""
        gaps = self._gaps
        median = float(np.median(gaps)) if len(gaps) else 0.0
        is_regular = len(gaps) >= FEWEST_GAPS and (np.abs(gaps - median) <= REGULAR * median).mean() > MOST
        return median if self.step or is_regular else None

    @cached_property
    def duration(self) -> float | None:
        """Median days that a value stands for, 0 for moments; None where nothing states it."""
        if self.are_moments:
            return 0.0
        return None if self.bounds is None else float(np.median(self._lengths)) or None

    @property
    def is_daily(self) -> bool:
        """True if each value is that of a day, by what is stated of it, else by the distance of times."""
        return self.step == "days" if self.duration is None else SHORTEST < self.duration < LONGEST

    @cached_property
    def _gaps(self) -> Array:
        return np.abs(_in_days(np.diff(np.asarray(self.index))))

    @cached_property
    def _lengths(self) -> Array:
        assert self.bounds is not None
        return np.abs(_in_days(self.bounds[1] - self.bounds[0]))


def time_axis(dataset: xr.Dataset, dim: str, names: Sequence[str]) -> TimeAxis:
    """Read the time axis of some variables of a decoded dataset."""
    coordinate = dataset[dim]
    methods = [str(dataset[name].attrs.get("cell_methods", "")) for name in names if dim in dataset[name].dims]
    return TimeAxis(
        dataset.indexes[dim],
        _bounds(dataset, dim),
        bool(methods) and all(map(_POINT.search, methods)),
        isinstance(attribute(coordinate, "climatology"), str),
    )


def bounds_name(dataset: xr.Dataset, dim: str) -> str | None:
    """Return the name of the bounds of a time axis; None where there are none."""
    name = attribute(dataset[dim], "bounds")
    return name if isinstance(name, str) and name in dataset.variables else None


def _bounds(dataset: xr.Dataset, dim: str) -> tuple[Any, Any] | None:
    name = bounds_name(dataset, dim)
    if name is None:
        return None
    bounds = dataset.variables[name]
    if bounds.dims[:1] != (dim,) or bounds.shape[1:] != (2,):
        return None
    starts, ends = (xr.DataArray(bounds[:, end]).to_index() for end in (0, 1))
    return (starts, ends) if is_time_index(starts) and is_time_index(ends) else None


def is_time_index(index: Any) -> bool:
    """Tell whether an index holds dates, of numpy or cftime."""
    return len(index) > 0 and all(hasattr(index[0], part) for part in ("year", "month", "day", "hour", "minute"))


def all_differ(dates: Sequence[Date], parts: int) -> bool:
    """Tell whether no two dates have the same year, month and so on."""
    return len({date[:parts] for date in dates}) == len(dates)


def _in_days(gaps: Any) -> Array:
    """Differences of times in days."""
    values = np.asarray(gaps)
    if values.dtype.kind == "m":
        result: Array = values / np.timedelta64(1, "D")
        return result
    return np.array([gap.total_seconds() / 86400 for gap in values], np.float64)
