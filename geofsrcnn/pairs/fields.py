"""Coarse or fine fields of files, one grid and one time axis each, joined along time where there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import counts_time
from geofsrcnn.cf.dates import Date, Step
from geofsrcnn.cf.grid import CFGrid, find_grid
from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.axis import same_places
from geofsrcnn.pairs.dimensions import is_member, split_levels
from geofsrcnn.pairs.frames import Frame, frame_of, transform_axes
from geofsrcnn.pairs.quantities import convert, unit_conversion
from geofsrcnn.pairs.times import TimeAxis, bounds_name, is_time_index, time_axis

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
    frame : Frame
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
    frame: Frame = field(default_factory=Frame)
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
    def times(self) -> TimeAxis | None:
        """The time axis."""
        return None if self.time is None else time_axis(self.dataset, self.time, self.names)

    @property
    def dates(self) -> list[Date]:
        """The date of each time; none without a time axis."""
        return [] if self.times is None else self.times.dates

    @property
    def step(self) -> Step:
        """Distance of times; nothing where it is none, or there are none."""
        return "" if self.times is None else self.times.step

    @property
    def is_daily(self) -> bool:
        """True if each value is that of a day."""
        return self.times is not None and self.times.is_daily

    @property
    def spacing(self) -> tuple[float, float]:
        """Between rows and between columns, at the middle; 0 where unknown."""
        steps = []
        for name in (self.grid.y_coordinate, self.grid.x_coordinate):
            values = np.zeros(0) if name is None else self.dataset[name].to_numpy().astype(np.float64).ravel()
            steps.append(float(np.median(np.abs(np.diff(values)))) if len(values) > 1 else 0.0)
        return steps[0], steps[1]

    def at(self, name: str, times: Sequence[int], member: int = 0) -> xr.DataArray:
        """A field at some times ``(time, y, x)``, of a member of the ensemble if it is one."""
        found = self.dataset[name]
        if self.member in found.dims:
            found = found.isel({self.member: member}, drop=True)
        if self.time is not None:
            found = found.isel({self.time: list(times)})
        return found.transpose(..., self.grid.y, self.grid.x)


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
    dims = _leading_dims(dataset, grid)
    time, member = _time_and_member(dataset, dims, shown)
    frame = frame_of(dataset, grid)
    single = {dim: 0 for dim in dims if dim not in (time, member)}
    return Fields(dataset.isel(single, drop=True), grid, time, shown, frame, member, dict(parents or {}))


def _leading_dims(dataset: xr.Dataset, grid: CFGrid) -> list[str]:
    """Return the dimensions of a grid's fields besides y and x."""
    return sorted({str(dim) for name in grid.variables for dim in dataset[name].dims} - {grid.y, grid.x})


def _time_and_member(dataset: xr.Dataset, dims: Sequence[str], shown: str) -> tuple[str | None, str | None]:
    """Find the dimensions of times and of members among some, all others of which must be of size 1.

    Raises
    ------
    InputError
        If others are longer, or several are of times or members.
    """
    times = [dim for dim in dims if dim in dataset.indexes and is_time_index(dataset.indexes[dim])]
    long = [dim for dim in dims if dim not in times and dataset.sizes[dim] > 1]
    members = [dim for dim in long if is_member(dataset, dim)]
    others = [dim for dim in long if dim not in members]
    unclear = others or (times if len(times) > 1 else []) or (members if len(members) > 1 else [])
    if unclear:
        raise InputError(_unclear_dimensions(dataset, shown, unclear))
    return (times[0] if times else None), (members[0] if members else None)


def _unclear_dimensions(dataset: xr.Dataset, shown: str, dims: Sequence[str]) -> str:
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
        if transform_axes(*coordinates_of(first), first.frame, fields.frame, (first.shown, fields.shown)) is not None:
            raise InputError(f"{fields.shown} and {first.shown} have {names} in other CRS: bring them onto one grid")
        for mine, its in zip(coordinates_of(fields), coordinates_of(first), strict=True):
            if not same_places(mine, its):
                words = f"{fields.shown} and {first.shown} have {names} on other grids"
                raise InputError(f"{words}: bring them onto one, or leave one out")
    if len({(fields.member, str(fields.members)) for fields in group}) > 1:
        raise InputError(f"files have {names} of other members: select those that all have")
    if len(steps := {fields.step for fields in group} - {""}) > 1:
        raise InputError(
            f"files have {names} at steps of several lengths ({', '.join(sorted(steps))}): give one of them"
        )
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
    return Fields(whole, first.grid, first.time, shown, first.frame, first.member, first.parents)


def _part(fields: Fields, first: Fields) -> xr.Dataset:
    """The fields of one file of several, in the units of the first, with the bounds of their times."""
    bounds = bounds_name(fields.dataset, str(fields.time))
    kept = [*fields.names] if bounds is None else [*fields.names, bounds]
    part = fields.dataset[kept].rename({fields.time: first.time})
    for name in fields.names:
        given, wanted = (str(each.dataset[name].attrs.get("units", "")) for each in (fields, first))
        known = unit_conversion(name, first.dataset[name].attrs, given, wanted)
        if known is None or bool(given) != bool(wanted):
            raise InputError(f"files have {printable(name)} in other units: convert them to one, or leave some out")
        if known != (1.0, 0.0):
            part[name] = convert(part[name].chunk(), known).assign_attrs(first.dataset[name].attrs)
    return part


def coordinates_of(fields: Fields) -> tuple[Array, Array]:
    """Coordinates of rows and columns."""
    y, x = (
        np.arange(fields.dataset.sizes[dim]) if name is None else fields.dataset[name].to_numpy().astype(np.float64)
        for name, dim in ((fields.grid.y_coordinate, fields.grid.y), (fields.grid.x_coordinate, fields.grid.x))
    )
    return y, x
