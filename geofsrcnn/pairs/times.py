"""Coarse or fine fields of files, joined along time, and the times that several of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import attribute, counts_time
from geofsrcnn.cf.dates import PARTS, Date, Step
from geofsrcnn.cf.grid import CFGrid, find_grid
from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.axis import same_places
from geofsrcnn.pairs.dimensions import is_member, split_levels
from geofsrcnn.pairs.places import Frame, frame_of, transform_axes
from geofsrcnn.pairs.quantities import convert, unit_conversion

TIMES_PER_BLOCK = 64
"""Times that are read and computed together."""


@dataclass(frozen=True)
class Fields:
    """Variables of a dataset on one grid, with times; read when asked for.

    Parameters
    ----------
    dataset : Dataset
        Decoded; NaN where missing.
    grid : CFGrid
        Of its fields.
    time : str, optional
        Dimension of times.
    shown : str
        Where it comes from, for messages.
    place : Frame
        CRS and units of its coordinates.
    member : str, optional
        Dimension of the members of an ensemble.
    parents : dict of str to str
        Of the fields that are a level of a variable, which.
    """

    dataset: xr.Dataset
    grid: CFGrid
    time: str | None
    shown: str
    place: Frame = field(default_factory=Frame)
    member: str | None = None
    parents: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its fields."""
        return self.grid.variables

    @property
    def members(self) -> list[Any]:
        """Labels of the members of an ensemble; none where there is no ensemble."""
        if self.member is None:
            return []
        return list(self.dataset[self.member].to_numpy())  # numbers from 0 where there is no coordinate

    @cached_property
    def dates(self) -> list[Date]:
        """The date of each time; of means, of the center of their bounds (CF 7.1).

        So a month whose time is its end, the first of the next month, has a date within it.
        """
        if self.time is None:
            return []
        centers = self._bounds_centers()
        times = self.dataset.indexes[self.time] if centers is None else centers
        return [Date(time.year, time.month, time.day, time.hour, time.minute) for time in times]

    def _bounds_centers(self) -> Any | None:
        """Centers of the bounds of times, where they say that a time is a day or longer."""
        name = attribute(self.dataset[str(self.time)], "bounds")
        bounds = self.dataset.variables.get(name) if isinstance(name, str) else None
        if bounds is None or bounds.dims[:1] != (self.time,) or bounds.shape[1:] != (2,):
            return None
        first, last = xr.DataArray(bounds[:, 0]).to_index(), xr.DataArray(bounds[:, 1]).to_index()
        if not (_is_time(first) and _is_time(last)):
            return None
        return first + (last - first) / 2 if (_days(last - first) > SHORTEST).all() else None

    @cached_property
    def step(self) -> Step:
        """Distance of times: of several a day, a day, a month, a year; nothing where it is none of them, or one."""
        dates = self.dates
        if len(dates) < 2:
            return ""
        gap = float(np.median(np.abs(_days(np.diff(np.asarray(self.dataset.indexes[str(self.time)]))))))
        if 26 < gap < 33 and _differ(dates, 2):
            return "months"
        if 350 < gap < 380 and _differ(dates, 1):
            return "years"
        if not _differ(dates, 3) and _differ(dates, 5):
            return "hours"
        return "days" if SHORTEST < gap < 1.1 else ""

    @property
    def spacing(self) -> tuple[float, float]:
        """Between rows and between columns, at the middle; 0 where unknown."""
        steps = []
        for name in (self.grid.y_coordinate, self.grid.x_coordinate):
            places = np.zeros(0) if name is None else self.dataset[name].to_numpy().astype(np.float64).ravel()
            steps.append(float(np.median(np.abs(np.diff(places)))) if len(places) > 1 else 0.0)
        return steps[0], steps[1]

    def at(self, name: str, times: Sequence[int], member: int = 0) -> xr.DataArray:
        """A field at some times ``(time, y, x)``, of a member of the ensemble if it is one."""
        found = self.dataset[name]
        if self.member in found.dims:
            found = found.isel({self.member: member}, drop=True)
        if self.time is not None:
            found = found.isel({self.time: list(times)})
        return found.transpose(..., self.grid.y, self.grid.x)


SHORTEST = 0.9
"""Days from which on times are not several a day."""


def _days(gaps: Any) -> Array:
    """Differences of times in days."""
    values = np.asarray(gaps)
    if values.dtype.kind == "m":
        result: Array = values / np.timedelta64(1, "D")
        return result
    return np.array([gap.total_seconds() / 86400 for gap in values], np.float64)


def _differ(dates: Sequence[Date], parts: int) -> bool:
    """Tell whether no two dates have the same year, month and so on."""
    return len({date[:parts] for date in dates}) == len(dates)


def fields_of(dataset: xr.Dataset, shown: str, variables: Sequence[str] | None = None) -> Fields:
    """The fields of a dataset, their levels apart, and their dimensions of times and members.

    Raises
    ------
    InputError, UsageError
        If there is no grid, or a field has dimensions besides time, member, level, y and x.
    """
    dataset, parents = split_levels(dataset, variables or ())
    if variables:
        levels = [level for level, parent in parents.items() if parent in variables]
        variables = [*(name for name in variables if name in dataset.variables), *levels]
    return find_fields(dataset, shown, variables, parents)


def find_fields(
    dataset: xr.Dataset,
    shown: str,
    variables: Sequence[str] | None = None,
    parents: Mapping[str, str] | None = None,
) -> Fields:
    """The fields of a dataset whose levels are apart, by `split_levels`, and of which variables they are levels.

    Raises
    ------
    InputError, UsageError
        As `fields_of`.
    """
    grid = find_grid(dataset, variables=variables or None)
    others = {str(dim) for name in grid.variables for dim in dataset[name].dims} - {grid.y, grid.x}
    times = [dim for dim in others if dim in dataset.indexes and _is_time(dataset.indexes[dim])]
    left = [dim for dim in others if dim not in times and dataset.sizes[dim] > 1]
    members = [dim for dim in left if is_member(dataset, dim)]
    spare = {dim for dim in left if dim not in members}
    if spare or len(times) > 1 or len(members) > 1:
        raise InputError(_spare_dimensions(dataset, shown, sorted(spare or set(times if len(times) > 1 else members))))
    place = frame_of(dataset, grid)
    dataset = dataset.isel({dim: 0 for dim in others if dim not in (*times, *members)}, drop=True)
    return Fields(
        dataset, grid, times[0] if times else None, shown, place, members[0] if members else None, dict(parents or {})
    )


def _spare_dimensions(dataset: xr.Dataset, shown: str, dims: Sequence[str]) -> str:
    for dim in dims:
        if dim in dataset.variables and counts_time(dataset[dim]):
            return f"times of {shown} are not decoded ({printable(dim)}): open it with decode_times=True"
    words = printable(", ".join(dims))
    return f"fields of {shown} have dimensions besides time, member, level, y and x: {words}: select one of each first"


def join_fields(all_fields: Sequence[Fields]) -> list[Fields]:
    """Datasets that have the same fields at other times, such as files by year, as one, in order of time; lazily.

    Raises
    ------
    InputError
        If they are on other grids, have other calendars, or have some of their fields alone in common.
    """
    groups: dict[tuple[str, ...], list[Fields]] = {}
    for fields in all_fields:
        groups.setdefault(tuple(sorted(fields.names)), []).append(fields)
    return [group[0] if len(group) == 1 else _join_group(group) for group in groups.values()]


def _join_group(group: list[Fields]) -> Fields:
    first = group[0]
    names = printable(", ".join(first.names))
    if any(fields.time is None for fields in group):
        raise InputError(f"several files have {names}, and no times to tell them apart: leave one out")
    for fields in group[1:]:
        if transform_axes(*places_of(first), first.place, fields.place, (first.shown, fields.shown)) is not None:
            raise InputError(f"{fields.shown} and {first.shown} have {names} in other CRS: bring them onto one grid")
        for mine, its in zip(places_of(fields), places_of(first), strict=True):
            if not same_places(mine, its):
                words = f"{fields.shown} and {first.shown} have {names} on other grids"
                raise InputError(f"{words}: bring them onto one, or leave one out")
    if len({(fields.member, str(fields.members)) for fields in group}) > 1:
        raise InputError(f"files have {names} of other members: select those that all have")
    group = sorted(group, key=lambda fields: fields.dates[0])
    parts = [_part(f, first).chunk({first.time: TIMES_PER_BLOCK}) for f in group]
    try:
        whole = xr.concat(
            parts, first.time, data_vars="minimal", coords="minimal", compat="override", join="override",
            combine_attrs="override",
        )  # fmt: skip
        index = whole.indexes[first.time]
        if not index.is_monotonic_increasing:
            whole = whole.isel({first.time: np.argsort(index)})
    except (TypeError, ValueError) as error:
        raise InputError(f"times of {group[0].shown} and {group[1].shown} do not go together: {error}") from error
    shown = f"{group[0].shown} and {len(group) - 1} more"
    return Fields(whole, first.grid, first.time, shown, first.place, first.member, first.parents)


def _part(fields: Fields, first: Fields) -> xr.Dataset:
    """The fields of one file of several, in the units of the first, with the bounds of their times."""
    bounds = attribute(fields.dataset[str(fields.time)], "bounds")
    kept = [bounds] if isinstance(bounds, str) and bounds in fields.dataset.variables else []
    part = fields.dataset[[*fields.names, *kept]].rename({fields.time: first.time})
    for name in fields.names:
        given, wanted = (str(each.dataset[name].attrs.get("units", "")) for each in (fields, first))
        known = unit_conversion(name, first.dataset[name].attrs, given, wanted)
        if known is None or bool(given) != bool(wanted):
            raise InputError(f"files have {printable(name)} in other units: convert them to one, or leave some out")
        if known != (1.0, 0.0):
            part[name] = convert(part[name].chunk(), known).assign_attrs(first.dataset[name].attrs)
    return part


def _is_time(index: Any) -> bool:
    return len(index) > 0 and all(hasattr(index[0], part) for part in ("year", "month", "day", "hour", "minute"))


def common_step(all_fields: Sequence[Fields]) -> Step:
    """Find the distance of times of datasets that go together, by which they are matched.

    Raises
    ------
    InputError
        If some are means of longer times than others.
    """
    timed = [fields for fields in all_fields if fields.time is not None and len(fields.dates) > 1]
    found = {fields.step: fields for fields in reversed(timed)}
    orders: tuple[tuple[Step, Step, str], ...] = (
        ("hours", "days", "has several times a day, {} one: average the days first"),
        ("hours", "", "has several times a day, {} one: average the days first"),
        ("hours", "months", "has several times a day, {} one a month: average the months first"),
        ("days", "months", "has a time a day, {} one a month: average the months first"),
        ("hours", "years", "has several times a day, {} one a year: average the years first"),
        ("days", "years", "has a time a day, {} one a year: average the years first"),
        ("months", "years", "has a time a month, {} one a year: average the years, or select one month first"),
    )
    for shorter, longer, words in orders:
        if shorter in found and longer in found:
            raise InputError(f"{found[shorter].shown} {words.format(found[longer].shown)}")
    step: Step = next((step for step in found if step), "")
    for fields in timed:
        if step in ("months", "years") and not _differ(fields.dates, PARTS[step]):
            words = f"has several times a {step[:-1]}, {found[step].shown} one"
            raise InputError(f"{fields.shown} {words}: average the {step} first")
    return step


def common_times(all_fields: Sequence[Fields]) -> list[list[int]]:
    """For each dataset, the indexes of the times that all have, in order of the first.

    Days are matched by date, whatever their hour, months by year and month, years by year, in any calendar.

    Raises
    ------
    InputError
        If they share none, one repeats, or some are of another step than others.
    """
    timed = [fields for fields in all_fields if fields.time is not None]
    if not timed:
        return [[] for _ in all_fields]
    for fields in timed:
        if not _differ(fields.dates, PARTS[fields.step]):
            raise InputError(f"times of {fields.shown} repeat: take one of each")
    length = PARTS[common_step(timed)]
    places = [{date[:length]: i for i, date in enumerate(fields.dates)} for fields in timed]
    shared = [date[:length] for date in timed[0].dates if all(date[:length] in place for place in places)]
    if not shared:
        raise InputError(f"no time is in all of the files: {_not_shared(timed, length)}")
    indexes = iter([[place[date] for date in shared] for place in places])
    return [next(indexes) if fields.time is not None else [] for fields in all_fields]


def _not_shared(timed: Sequence[Fields], length: int) -> str:
    """Why no time is in all of the files."""
    days = [{date[:3] for date in fields.dates} for fields in timed]
    if length > 3 and (same := set.intersection(*days)):
        hours = [sorted({date[3:5] for date in fields.dates if date[:3] == min(same)}) for fields in timed]
        texts = (", ".join(f"{hour:02d}:{minute:02d}" for hour, minute in some[:4]) for some in hours)
        words = "; ".join(f"{fields.shown} {text}" for fields, text in zip(timed, texts, strict=True))
        return f"the days are the same, the hours differ ({words}): shift or average them first"
    words = "; ".join(f"{fields.shown} {fields.dates[0]} to {fields.dates[-1]}" for fields in timed)
    return f"{words}: check the years and calendars"


def places_of(fields: Fields) -> tuple[Array, Array]:
    """Coordinates of rows and columns."""
    y, x = (
        np.arange(fields.dataset.sizes[dim]) if name is None else fields.dataset[name].to_numpy().astype(np.float64)
        for name, dim in ((fields.grid.y_coordinate, fields.grid.y), (fields.grid.x_coordinate, fields.grid.x))
    )
    return y, x
