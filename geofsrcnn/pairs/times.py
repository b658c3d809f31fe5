"""Coarse or fine fields of files, joined along time, and the times that several of them share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.grid import CFGrid, find_grid
from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.axis import same_places

TOGETHER = 64
"""Times that are read, and reckoned with, together."""


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
    """

    dataset: xr.Dataset
    grid: CFGrid
    time: str | None
    shown: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of its fields."""
        return self.grid.variables

    @cached_property
    def stamps(self) -> list[tuple[int, ...]]:
        """Year, month, day of each time, and hour and minute unless there is one a day."""
        if self.time is None:
            return []
        found = [_stamp(value) for value in self.dataset.indexes[self.time]]
        days = [stamp[:3] for stamp in found]
        return days if len(set(days)) == len(days) else found

    @property
    def spacing(self) -> tuple[float, float]:
        """Between rows and between columns, at the middle; 0 where unknown."""
        steps = []
        for name in (self.grid.y_coordinate, self.grid.x_coordinate):
            places = np.zeros(0) if name is None else self.dataset[name].to_numpy().astype(np.float64).ravel()
            steps.append(float(np.median(np.abs(np.diff(places)))) if len(places) > 1 else 0.0)
        return steps[0], steps[1]

    def at(self, name: str, times: Sequence[int]) -> xr.DataArray:
        """A field at some times ``(time, y, x)``."""
        field = self.dataset[name]
        if self.time is not None:
            field = field.isel({self.time: list(times)})
        return field.transpose(..., self.grid.y, self.grid.x)


def _stamp(value: Any) -> tuple[int, ...]:
    return value.year, value.month, value.day, value.hour, value.minute


def fields_of(dataset: xr.Dataset, shown: str, variables: Iterable[str] | None = None) -> Fields:
    """The fields of a dataset, and their time dimension.

    Raises
    ------
    InputError, UsageError
        If there is no grid, or a field has dimensions besides time, y and x.
    """
    grid = find_grid(dataset, variables=variables)
    others = {str(dim) for name in grid.variables for dim in dataset[name].dims} - {grid.y, grid.x}
    times = [dim for dim in others if dim in dataset.indexes and _is_time(dataset.indexes[dim])]
    spare = {dim for dim in others if dim not in times and dataset.sizes[dim] > 1}
    if spare or len(times) > 1:
        words = printable(", ".join(sorted(spare or set(times))))
        raise InputError(f"fields of {shown} have dimensions besides time, y and x: {words}: select one of each first")
    dataset = dataset.isel({dim: 0 for dim in others if dim not in times}, drop=True)
    return Fields(dataset, grid, times[0] if times else None, shown)


def joined(all_fields: Sequence[Fields]) -> list[Fields]:
    """Datasets that have the same fields at other times, such as files by year, as one, in order of time; lazily.

    Raises
    ------
    InputError
        If they are on other grids, have other calendars, or have some of their fields alone in common.
    """
    groups: dict[tuple[str, ...], list[Fields]] = {}
    for fields in all_fields:
        groups.setdefault(tuple(sorted(fields.names)), []).append(fields)
    return [group[0] if len(group) == 1 else _joined(group) for group in groups.values()]


def _joined(group: list[Fields]) -> Fields:
    first = group[0]
    names = printable(", ".join(first.names))
    if any(fields.time is None for fields in group):
        raise InputError(f"several files have {names}, and no times to tell them apart: leave one out")
    for fields in group[1:]:
        for mine, its in zip(places_of(fields), places_of(first), strict=True):
            if not same_places(mine, its):
                words = f"{fields.shown} and {first.shown} have {names} on other grids"
                raise InputError(f"{words}: bring them onto one, or leave one out")
    group = sorted(group, key=lambda fields: fields.stamps[0])
    parts = [f.dataset[list(f.names)].rename({f.time: first.time}).chunk({first.time: TOGETHER}) for f in group]
    units = {tuple(str(part[name].attrs.get("units", "")) for name in first.names) for part in parts}
    if len(units) > 1:
        raise InputError(f"files have {names} in other units: convert them to one, or leave some out")
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
    return Fields(whole, first.grid, first.time, f"{group[0].shown} and {len(group) - 1} more")


def _is_time(index: Any) -> bool:
    return len(index) > 0 and all(hasattr(index[0], part) for part in ("year", "month", "day", "hour", "minute"))


def common_times(all_fields: Sequence[Fields]) -> list[list[int]]:
    """For each dataset, the indexes of the times that all have, in order of the first.

    Raises
    ------
    InputError
        If they share none, one repeats, or some are daily and others are not.
    """
    timed = [fields for fields in all_fields if fields.time is not None]
    if not timed:
        return [[] for _ in all_fields]
    for fields in timed:
        if len(set(fields.stamps)) < len(fields.stamps):
            raise InputError(f"times of {fields.shown} repeat: take one of each")
    often = [fields for fields in timed if len(fields.stamps[0]) > 3 and len(fields.stamps) > 1]
    if often and len(often) < len(timed):
        daily = next(fields for fields in timed if fields not in often)
        raise InputError(f"{often[0].shown} has several times a day, {daily.shown} one: average the days first")
    length = min(len(stamp) for fields in timed for stamp in fields.stamps[:1])
    places = [{stamp[:length]: i for i, stamp in enumerate(fields.stamps)} for fields in timed]
    shared = [stamp[:length] for stamp in timed[0].stamps if all(stamp[:length] in place for place in places)]
    if not shared:
        words = "; ".join(f"{f.shown} {_span(f.stamps)}" for f in timed)
        raise InputError(f"no time is in all of the files: {words}: check the years and calendars")
    indexes = iter([[place[stamp] for stamp in shared] for place in places])
    return [next(indexes) if fields.time is not None else [] for fields in all_fields]


def _span(stamps: list[tuple[int, ...]]) -> str:
    return " to ".join("-".join(f"{part:02d}" for part in stamp[:3]) for stamp in (stamps[0], stamps[-1]))


def places_of(fields: Fields) -> tuple[Array, Array]:
    """Coordinates of rows and columns."""
    y, x = (
        np.arange(fields.dataset.sizes[dim]) if name is None else fields.dataset[name].to_numpy().astype(np.float64)
        for name, dim in ((fields.grid.y_coordinate, fields.grid.y), (fields.grid.x_coordinate, fields.grid.x))
    )
    return y, x
