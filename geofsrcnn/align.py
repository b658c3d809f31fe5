"""Coarse and fine fields of the same times, on grids that fit: what a network is trained on, and applied to.

The fine grid decides. It is padded to a multiple of the factor, and the coarse fields are taken at the middles of its
blocks, interpolated where they lie elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from geofsrcnn.axes import axis_of
from geofsrcnn.cf import CFGrid, find_grid
from geofsrcnn.domain import Domain
from geofsrcnn.errors import InputError, printable

Array = npt.NDArray[Any]

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
        for mine, its in zip(_places(fields), _places(first), strict=True):
            if len(mine) != len(its) or (len(its) > 1 and np.abs(mine - its).max() > 1e-3 * np.abs(np.diff(its)).min()):
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


def _places(fields: Fields) -> tuple[Array, Array]:
    """Coordinates of rows and columns."""
    y, x = (
        np.arange(fields.dataset.sizes[dim]) if name is None else fields.dataset[name].to_numpy().astype(np.float64)
        for name, dim in ((fields.grid.y_coordinate, fields.grid.y), (fields.grid.x_coordinate, fields.grid.x))
    )
    return y, x


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


def domain_of(fine: Fields, factor: int) -> Domain:
    """The grid of fine fields as a domain.

    Raises
    ------
    InputError
        If it has no coordinates of one dimension.
    """
    grid = fine.grid
    if grid.y_coordinate is None or grid.x_coordinate is None:
        raise InputError(f"the grid of {fine.shown} has no coordinates of one dimension: interpolate it to such a grid")
    y, x = (fine.dataset[name].to_numpy().astype(np.float64) for name in (grid.y_coordinate, grid.x_coordinate))
    if grid.kind == "latitude-longitude":
        x = np.unwrap(x, period=360)
    return Domain(y, x, factor, (grid.y, grid.x), grid.kind == "latitude-longitude")


def interpolated(field: xr.DataArray, grid: CFGrid, y: Array, x: Array, *, turning: bool) -> Array:
    """A field ``(..., y, x)`` at rows and columns of other coordinates, linearly; beyond its edge, that edge's values.

    Missing where the nearest cell is; a missing neighbour has no weight.

    Parameters
    ----------
    field : DataArray
        Its last two dimensions are the grid's.
    grid : CFGrid
        Of the field, with coordinates of one dimension.
    y, x : ndarray
        Where it is wanted.
    turning : bool
        Columns are longitudes, which may differ by whole turns.

    Raises
    ------
    InputError
        If the grid has no coordinates of one dimension.
    """
    if grid.y_coordinate is None or grid.x_coordinate is None:
        raise InputError(f"{printable(field.name)} has no coordinates of one dimension: interpolate it to such a grid")
    rows, columns = (field[name].to_numpy().astype(np.float64) for name in (grid.y_coordinate, grid.x_coordinate))
    order = [np.argsort(rows), np.argsort(columns)]
    known = [rows[order[0]], columns[order[1]]]
    if turning:
        known[1], order[1] = _longitudes(columns, x)
    values = field.to_numpy()[..., order[0][:, None], order[1][None, :]]
    lines = [_Line.at(k, places) for k, places in zip(known, (y, x), strict=True)]
    valid = np.isfinite(values)
    if valid.all():
        return lines[1].between(lines[0].between(values, -2), -1)
    total, weight = (
        lines[1].between(lines[0].between(each, -2), -1) for each in (np.where(valid, values, 0), valid * 1.0)
    )
    near = lines[1].nearest(lines[0].nearest(valid, -2), -1)
    result: Array = np.where(near, total / np.where(near, weight, 1), np.nan)
    return result


def _longitudes(known: Array, wanted: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Known columns where whole turns bring them nearest to the wanted ones, rising, and which columns they are.

    Those that go around the globe go on at both ends, as far as they are wanted.
    """
    near = known + 360 * np.round((wanted.mean() - known) / 360)
    order = np.argsort(near, kind="stable")
    order = order[np.diff(near[order], prepend=-np.inf) > 1e-6]  # one of those that are stored at both ends
    places = near[order]
    steps = np.diff(places)
    if not len(steps) or places[0] + 360 - places[-1] > 1.5 * np.median(steps):
        return places, order
    places, order = np.concatenate([places - 360, places, places + 360]), np.tile(order, 3)
    spare = 2 * steps.max()
    used = (places > wanted.min() - spare) & (places < wanted.max() + spare)
    return places[used], order[used]


@dataclass(frozen=True)
class _Line:
    """Where places lie between known ones along an axis: after `low`, by a share of the step to the next."""

    low: npt.NDArray[np.int64]
    share: Array

    @classmethod
    def at(cls, known: Array, places: Array) -> _Line:
        """Beyond the ends, at the end; within a millionth of a known place, there."""
        if len(known) == 1:
            return cls(np.zeros(len(places), np.int64), np.zeros(len(places)))
        at = np.clip(places, known[0], known[-1])
        low = np.clip(np.searchsorted(known, at, side="right") - 1, 0, len(known) - 2)
        share = (at - known[low]) / (known[low + 1] - known[low])
        return cls(low, np.where(np.abs(share - np.rint(share)) < 1e-6, np.rint(share), share))

    def between(self, values: Array, axis: int) -> Array:
        """Values interpolated linearly along an axis."""
        last = values.shape[axis] - 1
        before, after = (np.take(values, np.minimum(each, last), axis) for each in (self.low, self.low + 1))
        share = self.share[:, None] if axis == -2 else self.share
        result: Array = before + share * (after - before)
        return result

    def nearest(self, values: Array, axis: int) -> Array:
        """Those of the nearest known place."""
        index = np.minimum(self.low + (self.share > 0.5), values.shape[axis] - 1)
        result: Array = np.take(values, index, axis)
        return result


def averaged(field: xr.DataArray, grid: CFGrid, domain: Domain) -> Array:
    """A field ``(y, x)`` as means over the cells of the padded fine grid; interpolated where it is the coarser one.

    Parameters
    ----------
    field : DataArray
        Its dimensions are the grid's.
    grid : CFGrid
        Of the field.
    domain : Domain
        The fine grid.
    """
    near = domain.pad(interpolated(field, grid, domain.y, domain.x, turning=domain.turning))
    rows, columns = (
        _cells(field[str(name)].to_numpy().astype(np.float64), axis, turning=turning)
        for name, axis, turning in (
            (grid.y_coordinate, domain.y, False),
            (grid.x_coordinate, domain.x, domain.turning),
        )
    )
    values = field.to_numpy()[np.ix_(rows >= 0, columns >= 0)]
    at = (rows[rows >= 0][:, None], columns[columns >= 0][None, :])
    known = np.isfinite(values)
    total, count = np.zeros(domain.padded), np.zeros(domain.padded)
    np.add.at(total, at, np.where(known, values, 0))
    np.add.at(count, at, known)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), near)
    return mean


def _cells(places: Array, axis: Array, *, turning: bool) -> npt.NDArray[np.int64]:
    """Which fine row or column each place lies in; -1 for none."""
    if turning:
        places = places + 360 * np.round((axis.mean() - places) / 360)
    edges = axis_of(axis, longitude=turning).edges
    falling = axis[0] > axis[-1]
    lows, highs = (edges[::-1, 1], edges[::-1, 0]) if falling else (edges[:, 0], edges[:, 1])
    index = np.searchsorted(lows, places, side="right") - 1
    inside = (index >= 0) & (places < highs[np.maximum(index, 0)])
    index = len(axis) - 1 - index if falling else index
    return np.where(inside, index, -1)
