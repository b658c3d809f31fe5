"""Fields from one grid to another, by interpolation or by the means of cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.axis import axis_of
from geofsrcnn.grids.fine import Domain
from geofsrcnn.grids.longitude import columns_near, near, unwrapped
from geofsrcnn.pairs.times import Fields


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
        x = unwrapped(x)
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
        known[1], order[1] = columns_near(columns, x)
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
        places = near(places, axis.mean())
    edges = axis_of(axis, longitude=turning).edges
    falling = axis[0] > axis[-1]
    lows, highs = (edges[::-1, 1], edges[::-1, 0]) if falling else (edges[:, 0], edges[:, 1])
    index = np.searchsorted(lows, places, side="right") - 1
    inside = (index >= 0) & (places < highs[np.maximum(index, 0)])
    index = len(axis) - 1 - index if falling else index
    return np.where(inside, index, -1)
