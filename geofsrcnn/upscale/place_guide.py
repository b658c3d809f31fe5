"""Guides in xarray objects: brought onto the finer grid of a dataset, and laid beside its fields."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import is_time
from geofsrcnn.cf.encoding import storage_of
from geofsrcnn.cf.grid import CFGrid, axis_along, find_grid
from geofsrcnn.cf.refine import Refinement
from geofsrcnn.errors import GeofsrcnnError, InputError, printable
from geofsrcnn.grids.fine import TINY, Domain
from geofsrcnn.grids.longitude import columns_near, move_near, unwrap
from geofsrcnn.options import FACTORS
from geofsrcnn.pairs.fields import Fields
from geofsrcnn.pairs.frames import Frame, check_known, frame_of, transform_axes
from geofsrcnn.pairs.interpolate import average, axis_values, is_covered, regrid, steps_over

SHOWN = ("the dataset", "the guide")

AS_IT_IS, LINEAR, AVERAGE = "as it is", "linear", "average"
"""Ways in which a guide comes onto the fine grid."""

AVERAGED = 2.0
"""A guide with so many cells along one side of those wanted is averaged, others are interpolated."""

UNEVEN = 0.02
"""Share of a factor by which cells of a guide may differ from a whole number to one of the dataset."""


@dataclass(frozen=True)
class FieldGuide:
    """The guide of a field on its fine cells.

    Parameters
    ----------
    bands : sequence of ndarray (k, y, x) or (time, k, y, x)
        NaN where missing; some the same at all times, some of the field's times.
    time : str, optional
        The dimension of times, if any has them.
    """

    bands: Sequence[Array]
    time: str | None = None

    def time_axis(self, dims: Sequence[str]) -> int | None:
        """Return the place of the times among the dimensions of the field."""
        return None if self.time is None else dims.index(self.time)


@dataclass(frozen=True)
class PlacedGuide:
    """A guide on the fine grid of a dataset.

    Parameters
    ----------
    fields : mapping of str to DataArray (..., y, x)
        Its fields, floating, NaN where missing, with the coordinates of their leading dimensions.
    method : str
        How it came there: ``as it is``, ``linear`` or ``average``.
    cells : float
        Its own cells along one side of a fine cell, about.
    """

    fields: Mapping[str, xr.DataArray]
    method: str
    cells: float = 1.0

    def __str__(self) -> str:
        return f"{', '.join(map(printable, self.fields))} ({self.method})"

    def beside(self, field: xr.DataArray) -> FieldGuide:
        """Lay it beside a field: leading dimensions are bands, but for times that both have.

        Parameters
        ----------
        field : DataArray
            With its coordinates.

        Raises
        ------
        InputError
            If times of the field are not in the guide.
        """
        bands, times = [], None
        for name, guide in self.fields.items():
            time = _shared_time(guide, field)
            bands.append(_as_bands(guide if time is None else _at_times_of(guide, field, time, name), time))
            times = time or times
        return FieldGuide(bands, times)


def _shared_time(guide: xr.DataArray, field: xr.DataArray) -> str | None:
    """The dimension of times that a guide shares with a field; none where it has but one."""
    shared = [str(dim) for dim in guide.dims[:-2] if dim in field.dims and guide.sizes[dim] > 1]
    holder = field.to_dataset(name="_field")
    return next((dim for dim in shared if is_time(holder, dim) or dim.lower() == "time"), None)


def _at_times_of(guide: xr.DataArray, field: xr.DataArray, time: str, name: str) -> xr.DataArray:
    """The guide at the times of a field."""
    if time in guide.coords and time in field.coords:
        index, wanted = guide.get_index(time), field.get_index(time)
        places = index.get_indexer(wanted) if index.is_unique else np.array([-1])
        if (places >= 0).all():
            return guide.isel({time: places})
        what = f"has not all times of {printable(field.name)}"
    elif guide.sizes[time] == field.sizes[time]:
        return guide
    else:
        what = f"has {guide.sizes[time]} along {printable(time)}, {printable(field.name)} {field.sizes[time]}"
    raise InputError(
        f"the guide {printable(name)} {what}: give it the same times, or one map for all (guide.mean('{time}'))"
    )


def _as_bands(guide: xr.DataArray, time: str | None) -> Array:
    """Values ``(k, y, x)``, or ``(time, k, y, x)``."""
    lead = [dim for dim in guide.dims[:-2] if dim != time]
    ordered = guide if time is None else guide.transpose(time, *lead, *guide.dims[-2:])
    shape = (-1, *guide.shape[-2:]) if time is None else (guide.sizes[time], -1, *guide.shape[-2:])
    return ordered.to_numpy().reshape(shape)


class Guide:
    """A guide as it is given.

    Parameters
    ----------
    dataset : Dataset
        With one finer grid, whose fields of numbers all count.
    x, y : str, optional
        Horizontal dimensions of the dataset that it guides, which it may share.

    Raises
    ------
    InputError
        If it has no horizontal grid, several, or no field of numbers.
    """

    def __init__(self, dataset: xr.Dataset, x: str | None = None, y: str | None = None) -> None:
        named = {"x": x, "y": y} if {x, y} <= {str(dim) for dim in dataset.dims} else {}
        try:
            self.grid = find_grid(dataset, **named)
        except GeofsrcnnError as error:
            raise InputError(f"the guide: {error}") from None
        self.dataset = dataset
        self.names = [name for name in self.grid.variables if dataset[name].dtype.kind in "iuf"]
        if not self.names:
            raise InputError(f"the guide has no field of numbers: {', '.join(map(printable, self.grid.variables))}")

    @cached_property
    def _fields(self) -> Fields:
        return Fields(self.dataset, self.grid, None, SHOWN[1], frame_of(self.dataset, self.grid))

    def find_factor(self, dataset: xr.Dataset, grid: CFGrid) -> int:
        """Find how many of its cells lie along one side of a cell of a dataset.

        Raises
        ------
        InputError
            If that is no whole number from 2 to 8, or cannot be told.
        """
        rows, columns = self._cells_in(dataset, grid)
        factor = round(rows)
        even = all(abs(cells - factor) <= UNEVEN * factor for cells in (rows, columns))
        if factor not in FACTORS or not even:
            raise InputError(
                f"the guide has {rows:.3g} rows and {columns:.3g} columns to a cell of the dataset, which is no whole "
                "number from 2 to 8: name the factor with factor="
            )
        return factor

    def _cells_in(self, dataset: xr.Dataset, grid: CFGrid) -> tuple[float, float]:
        """Rows and columns of the guide to a cell of a dataset."""
        if min(grid.shape) < 2 or not (_has_axes(grid) and _has_axes(self.grid)):
            rows, columns = (fine / coarse for fine, coarse in zip(self.grid.shape, grid.shape, strict=True))
            return rows, columns
        y, x = (axis_along(dataset, str(name)).values for name in (grid.y_coordinate, grid.x_coordinate))
        frame, fields = frame_of(dataset, grid), self._fields
        if not (frame.crs and fields.frame.crs):  # numbers alone tell how fine it is, if not where
            frame, fields = Frame(), replace(fields, frame=Frame())
        return steps_over(fields, Domain(y, x, 1, (grid.y, grid.x), frame.is_geographic), frame)

    def place(self, dataset: xr.Dataset, plan: Refinement) -> PlacedGuide:
        """Bring it onto the finer grid of a dataset.

        Parameters
        ----------
        dataset : Dataset
            Coarse.
        plan : Refinement
            Its plan.

        Raises
        ------
        InputError
            If the two do not say where they lie to each other, or the guide covers nothing of the dataset.
        """
        fields = {name: self._values(name) for name in self.names}
        if not (_has_axes(plan.grid) and _has_axes(self.grid)):
            if self._same_cells(plan):
                return PlacedGuide(fields, AS_IT_IS)
            raise InputError(
                f"the guide has {_sizes(self.grid.shape)} cells ({self.grid.kind}), the fine grid "
                f"{_sizes(_fine_shape(plan))} ({plan.grid.kind}), which tell not where they lie to each other: "
                f"bring it onto that grid first, which is that of ds.fsrcnn.upscale({plan.factor}, 'nearest')"
            )
        places = self._coinciding(dataset, plan)
        if places is None:
            return self._warp(fields, dataset, plan)
        known = np.logical_and.outer(*(each >= 0 for each in places))
        return PlacedGuide(
            {name: field[..., places[0], places[1]].where(known) for name, field in fields.items()}, AS_IT_IS
        )

    def _values(self, name: str) -> xr.DataArray:
        """A field ``(..., y, x)``, NaN where missing."""
        field = self.dataset[name].transpose(..., self.grid.y, self.grid.x)
        cells = storage_of(field).decode(field.to_numpy(), printable(name))
        found = field.copy(data=cells.with_nan())
        found.attrs, found.encoding = {}, {}
        return found

    def _same_cells(self, plan: Refinement) -> bool:
        """Tell whether cells without coordinates of one dimension are those of the fine grid."""
        if self.grid.shape != _fine_shape(plan) or self.grid.kind != plan.grid.kind:
            return False
        return plan.grid.kind == "index" or self._same_mesh(plan)

    def _coinciding(self, dataset: xr.Dataset, plan: Refinement) -> tuple[Array, Array] | None:
        """Find rows and columns that are those of the fine grid, -1 beyond the guide; None if its cells are others."""
        wanted, own = _fine_axes(plan), axis_values(self.dataset, self.grid, SHOWN[1])
        here, there = frame_of(dataset, plan.grid), self._fields.frame
        if here.crs and there.crs and transform_axes(*wanted, here, there, SHOWN) is not None:
            return None
        around = here.is_geographic or there.is_geographic
        rows = _find(np.sort(own[0]), np.argsort(own[0]), wanted[0])
        columns = _find(
            *(columns_near(own[1], wanted[1]) if around else (np.sort(own[1]), np.argsort(own[1]))), wanted[1]
        )
        return None if rows is None or columns is None else (rows, columns)

    def _same_mesh(self, plan: Refinement) -> bool:
        """Tell whether latitudes and longitudes of two dimensions are those of the fine grid."""
        own = [self.dataset[str(name)] for name in (self.grid.latitude, self.grid.longitude)]
        wanted = [plan.derived[str(name)] for name in (plan.grid.latitude, plan.grid.longitude)]
        if any(each.ndim != 2 for each in own):
            return False
        mine = [each.transpose(self.grid.y, self.grid.x).to_numpy() for each in own]
        theirs = [each.transpose(plan.grid.y, plan.grid.x).to_numpy() for each in wanted]
        off = np.hypot(mine[0] - theirs[0], move_near(mine[1], theirs[1]) - theirs[1])
        steps = [np.hypot(*(np.diff(each, axis=axis) for each in theirs)) for axis in (0, 1)]
        return bool(np.nanmax(off) <= TINY * min(float(np.nanmedian(each)) for each in steps))

    def _warp(self, fields: Mapping[str, xr.DataArray], dataset: xr.Dataset, plan: Refinement) -> PlacedGuide:
        """Interpolate, or average where the guide is much finer than wanted; missing beyond its edges."""
        frames = self._fields.frame, frame_of(dataset, plan.grid)
        y, x = _fine_axes(plan)
        check_known(frames[::-1], SHOWN)
        domain = Domain(y, x, plan.factor, (plan.grid.y, plan.grid.x), frames[1].is_geographic)
        covered = is_covered(self._fields, domain, frames[1])
        if not covered.any():
            raise InputError("the guide covers nothing of the dataset: check the coordinates of both")
        rows, columns = steps_over(self._fields, domain, frames[1])
        method = AVERAGE if min(rows, columns) >= AVERAGED else LINEAR

        axes = {str(n): self.dataset[str(n)].variable for n in (self.grid.y_coordinate, self.grid.x_coordinate)}

        def bring(name: str, values: Array) -> Array:
            field = xr.DataArray(values, axes, (self.grid.y, self.grid.x), name)
            if method == AVERAGE:
                return domain.crop(average(field, self.grid, domain, frames))
            return regrid(field, self.grid, frames, y, x)

        placed = {}
        for name, field in fields.items():
            layers = field.to_numpy().reshape(-1, *field.shape[-2:])
            fine = np.stack([np.where(covered, bring(name, layer), np.nan) for layer in layers])
            lead = {str(dim): field.coords[dim] for dim in field.dims[:-2] if dim in field.coords}
            placed[name] = xr.DataArray(fine.reshape(*field.shape[:-2], *domain.shape), lead, field.dims, name)
        return PlacedGuide(placed, method, math.sqrt(rows * columns))


def _has_axes(grid: CFGrid) -> bool:
    """Tell whether coordinates of one dimension say where cells are."""
    return grid.kind in ("latitude-longitude", "projected", "rotated")


def _fine_shape(plan: Refinement) -> tuple[int, int]:
    rows, columns = plan.grid.shape
    return rows * plan.factor, columns * plan.factor


def _fine_axes(plan: Refinement) -> tuple[Array, Array]:
    """Coordinates of the fine rows and columns."""
    y, x = (
        plan.derived[str(n)].to_numpy().astype(np.float64) for n in (plan.grid.y_coordinate, plan.grid.x_coordinate)
    )
    return y, unwrap(x) if plan.grid.kind == "latitude-longitude" else x


def _find(rising: Array, order: Array, wanted: Array) -> Array | None:
    """Find coordinates among others: their indexes there, -1 for those beyond the ends; None if others lie between.

    Parameters
    ----------
    rising : ndarray
        The others, rising.
    order : ndarray
        Their indexes.
    wanted : ndarray
        Of a finer grid.
    """
    step = float(np.median(np.abs(np.diff(wanted))))
    nearest = np.clip(np.searchsorted(rising, wanted - step / 2), 0, len(rising) - 1)
    there = np.abs(rising[nearest] - wanted) <= TINY * step
    beyond = (wanted < rising[0] - step / 2) | (wanted > rising[-1] + step / 2)
    return np.where(there, order[nearest], -1) if there.any() and (there | beyond).all() else None


def _sizes(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"
