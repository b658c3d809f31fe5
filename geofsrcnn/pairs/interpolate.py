"""Fields from one grid to another, by interpolation or by the means of cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.axis import axis_of
from geofsrcnn.grids.fine import Domain
from geofsrcnn.grids.longitude import columns_near, move_near, unwrap
from geofsrcnn.grids.mesh import vectors_of
from geofsrcnn.pairs.fields import Fields
from geofsrcnn.pairs.frames import Frame, transform_axes, transform_points


def domain_of(fine: Fields, factor: int) -> Domain:
    """The grid of fine fields as a domain.

    Raises
    ------
    InputError
        If it has no coordinates of one dimension.
    """
    grid, is_longitude = fine.grid, fine.frame.is_geographic
    y, x = axis_values(fine.dataset, grid, f"the grid of {fine.shown}")
    return Domain(y, unwrap(x) if is_longitude else x, factor, (grid.y, grid.x), is_longitude)


def axis_values(holder: xr.Dataset | xr.DataArray, grid: CFGrid, shown: str) -> tuple[Array, Array]:
    """Coordinates of rows and columns.

    Raises
    ------
    InputError
        If there are none that say where cells are.
    """
    if grid.y_coordinate is None or grid.x_coordinate is None or grid.kind == "curvilinear":
        raise InputError(f"{shown} has no coordinates of one dimension: interpolate it to such a grid")
    y, x = (holder[name].to_numpy().astype(np.float64) for name in (grid.y_coordinate, grid.x_coordinate))
    return y, x


def regrid(field: xr.DataArray, grid: CFGrid, frames: tuple[Frame, Frame], y: Array, x: Array) -> Array:
    """A field ``(..., y, x)`` at rows and columns of another frame; see `interpolate`.

    Parameters
    ----------
    field : DataArray
        Its last two dimensions are the grid's.
    grid : CFGrid
        Of the field.
    frames : tuple of Frame
        Of the field, and of what is wanted.
    y, x : ndarray
        Where it is wanted.
    """
    own, there = frames
    moved = transform_axes(y, x, there, own)
    if moved is None:
        return interpolate(field, grid, y, x, is_longitude=there.is_geographic)
    axes = axis_values(field, grid, printable(field.name))
    rows, columns, order = _locate(*axes, *moved, is_longitude=own.is_geographic)
    values = field.to_numpy()[..., order[0][:, None], order[1][None, :]]
    result = _interpolate_known(
        values,
        lambda each: rows.interpolate_points(each, columns),
        lambda each: rows.nearest_points(each, columns),
    )
    return np.where(np.isfinite(moved[0]), result, np.nan)


def _interpolate_known(values: Array, linear: Callable[[Array], Array], nearest: Callable[[Array], Array]) -> Array:
    """Interpolate values, of which missing ones have no weight; missing where the nearest one is."""
    valid = np.isfinite(values)
    if valid.all():
        return linear(values)
    total, weight, known = linear(np.where(valid, values, 0)), linear(valid * 1.0), nearest(valid)
    result: Array = np.where(known, total / np.where(known, weight, 1), np.nan)
    return result


def _locate(
    rows: Array, columns: Array, y: Array, x: Array, *, is_longitude: bool
) -> tuple[_Line, _Line, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Find where points ``(i, j)`` lie between rising rows and columns, and the order that makes these rise."""
    known = np.isfinite(y) & np.isfinite(x)
    if not known.any():
        raise InputError("no cell of the fine grid lies within the CRS of the coarse one: check both")
    y, x = np.where(known, y, y[known][0]), np.where(known, x, x[known][0])  # any point: `regrid` leaves these out
    order = np.argsort(rows), np.argsort(columns)
    rising = columns[order[1]]
    if is_longitude:
        x = move_near(x, middle_of(x))
        rising, found = columns_near(move_near(columns, middle_of(x)), x)
        order = order[0], found
    return _Line.at(rows[order[0]], y), _Line.at(rising, x), order


def middle_of(longitudes: Array) -> float:
    """The longitude in the middle of others, whatever turns lie between them."""
    angles = np.deg2rad(longitudes)
    return float(np.rad2deg(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())))


def interpolate(field: xr.DataArray, grid: CFGrid, y: Array, x: Array, *, is_longitude: bool) -> Array:
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
    is_longitude : bool
        Columns are longitudes, which may differ by whole turns.

    Raises
    ------
    InputError
        If the grid has no coordinates of one dimension.
    """
    rows, columns = axis_values(field, grid, printable(field.name))
    order = [np.argsort(rows), np.argsort(columns)]
    rising = [rows[order[0]], columns[order[1]]]
    if is_longitude:
        rising[1], order[1] = columns_near(columns, x)
    values = field.to_numpy()[..., order[0][:, None], order[1][None, :]]
    down, across = _Line.at(rising[0], y), _Line.at(rising[1], x)
    return _interpolate_known(
        values,
        lambda each: across.interpolate(down.interpolate(each, -2), -1),
        lambda each: across.nearest(down.nearest(each, -2), -1),
    )


@dataclass(frozen=True)
class _Line:
    """Where coordinates lie between known ones along an axis: after `low`, by a share of the step to the next."""

    low: npt.NDArray[np.int64]
    share: Array

    @classmethod
    def at(cls, known: Array, wanted: Array) -> _Line:
        """Beyond the ends, at the end; within a millionth of a known one, there."""
        if len(known) == 1:
            return cls(np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape))
        inside = np.clip(wanted, known[0], known[-1])
        low = np.clip(np.searchsorted(known, inside, side="right") - 1, 0, len(known) - 2)
        share = (inside - known[low]) / (known[low + 1] - known[low])
        return cls(low, np.where(np.abs(share - np.rint(share)) < 1e-6, np.rint(share), share))

    def interpolate(self, values: Array, axis: int) -> Array:
        """Interpolate values linearly along an axis."""
        last = values.shape[axis] - 1
        before, after = (np.take(values, np.minimum(each, last), axis) for each in (self.low, self.low + 1))
        share = self.share[:, None] if axis == -2 else self.share
        result: Array = before + share * (after - before)
        return result

    def nearest(self, values: Array, axis: int) -> Array:
        """Take the values that are nearest along an axis."""
        result: Array = np.take(values, self._nearest_index(values.shape[axis]), axis)
        return result

    def interpolate_points(self, values: Array, columns: _Line) -> Array:
        """Interpolate values ``(..., y, x)`` bilinearly at points, of which these are the rows."""
        result = np.zeros((*values.shape[:-2], *self.low.shape))
        for row, row_weight in ((self.low, 1 - self.share), (self.low + 1, self.share)):
            for column, column_weight in ((columns.low, 1 - columns.share), (columns.low + 1, columns.share)):
                i, j = np.minimum(row, values.shape[-2] - 1), np.minimum(column, values.shape[-1] - 1)
                result += row_weight * column_weight * values[..., i, j]
        return result

    def nearest_points(self, values: Array, columns: _Line) -> Array:
        """Take the values ``(..., y, x)`` that are nearest to points, of which these are the rows."""
        rows, size = self._nearest_index(values.shape[-2]), values.shape[-1]
        result: Array = values[..., rows, columns._nearest_index(size)]
        return result

    def _nearest_index(self, size: int) -> npt.NDArray[np.int64]:
        return np.minimum(self.low + (self.share > 0.5), size - 1)


def average(field: xr.DataArray, grid: CFGrid, domain: Domain, frames: tuple[Frame, Frame] | None = None) -> Array:
    """A field ``(y, x)`` as means over the cells of the padded fine grid; interpolated where it is the coarser one.

    A cell counts where its middle lies.

    Parameters
    ----------
    field : DataArray
        Its dimensions are the grid's.
    grid : CFGrid
        Of the field.
    domain : Domain
        The fine grid.
    frames : tuple of Frame, optional
        Of the field and of the fine grid; the same if not given.
    """
    frames = frames or (Frame(), Frame())
    if transform_axes(domain.y, domain.x, frames[1], frames[0]) is not None:
        return _average_transformed(field, grid, domain, frames)
    near = domain.pad(interpolate(field, grid, domain.y, domain.x, is_longitude=domain.is_longitude))
    y, x = axis_values(field, grid, printable(field.name))
    rows = _cells(y, domain.y, is_longitude=False)
    columns = _cells(x, domain.x, is_longitude=domain.is_longitude)
    values = field.to_numpy()[np.ix_(rows >= 0, columns >= 0)]
    total, count = np.zeros(domain.padded), np.zeros(domain.padded)
    _count(total, count, values, np.broadcast_arrays(rows[rows >= 0][:, None], columns[columns >= 0][None, :]))
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), near)
    return mean


def _count(total: Array, count: Array, values: Array, cells: Sequence[npt.NDArray[np.int64]]) -> None:
    """Add values to the sums of their cells."""
    known = np.isfinite(values)
    np.add.at(total, tuple(cells), np.where(known, values, 0))
    np.add.at(count, tuple(cells), known)


BLOCK = 2**20
"""Cells of another CRS that are transformed together."""

FINER = 0.5
"""Share of the fine cells with a cell of a static field in them from which on that is taken for the finer one."""


def _average_transformed(field: xr.DataArray, grid: CFGrid, domain: Domain, frames: tuple[Frame, Frame]) -> Array:
    """Average a field in another CRS as `average` does, some rows after the other."""
    moved = transform_axes(domain.y, domain.x, frames[1], frames[0])
    assert moved is not None
    rows, columns = axis_values(field, grid, printable(field.name))
    outside = ~_covered(rows, columns, moved, is_longitude=frames[0].is_geographic)
    interpolated = domain.pad(np.where(outside, np.nan, regrid(field, grid, frames, domain.y, domain.x)))
    near_rows = np.nonzero(_reached(rows, moved[0]))[0]
    near_columns = np.ones(len(columns), bool) if frames[0].is_geographic else _reached(columns, moved[1])
    columns, values = columns[near_columns], field.to_numpy()[:, near_columns]
    total, count = np.zeros(domain.padded), np.zeros(domain.padded)
    for start in range(0, len(near_rows), step := max(1, BLOCK // max(1, len(columns)))):
        some = near_rows[start : start + step]
        all_rows, all_columns = np.meshgrid(rows[some], columns, indexing="ij")
        y, x = transform_points(all_rows, all_columns, *frames)
        known = np.isfinite(y)
        i = _cells(np.where(known, y, np.inf), domain.y, is_longitude=False)  # infinity lies in no cell
        j = _cells(np.where(known, x, domain.x[0]), domain.x, is_longitude=domain.is_longitude)
        hit = (i >= 0) & (j >= 0)
        _count(total, count, values[some][hit], (i[hit], j[hit]))
    finer = (domain.crop(count) > 0)[~outside]
    if not finer.size or finer.mean() < FINER:
        return interpolated
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), interpolated)
    return mean


def _reached(known: Array, wanted: Array) -> npt.NDArray[np.bool_]:
    """Tell which coordinates lie within the cells around points ``(i, j)``, or beside them."""
    cell = max(float(np.nanmax(np.abs(np.diff(wanted, axis=axis)))) for axis in (0, 1))
    spare = cell + (2 * float(np.abs(np.diff(known)).max()) if len(known) > 1 else 0.0)
    low, high = np.nanmin(wanted), np.nanmax(wanted)
    result: npt.NDArray[np.bool_] = (known >= low - spare) & (known <= high + spare)
    return result


def _covered(rows: Array, columns: Array, points: tuple[Array, Array], *, is_longitude: bool) -> npt.NDArray[np.bool_]:
    """Tell which points lie within the cells of rows and columns."""
    y, x = points
    result = np.isfinite(y) & np.isfinite(x)
    if is_longitude:
        middle = middle_of(x[np.isfinite(x)])
        columns, x = move_near(columns, middle), move_near(x, middle)
    with np.errstate(invalid="ignore"):
        return result & _within_cells(rows, y) & _within_cells(columns, x)


def _within_cells(axis: Array, coordinates: Array) -> npt.NDArray[np.bool_]:
    """Tell which coordinates lie within the cells of an axis, which reach half a step beyond its ends."""
    first, last = float(axis.min()), float(axis.max())
    half = (last - first) / max(len(axis) - 1, 1) / 2
    result: npt.NDArray[np.bool_] = (coordinates >= first - half) & (coordinates <= last + half)
    return result


def is_covered(fields: Fields, domain: Domain, frame: Frame) -> npt.NDArray[np.bool_]:
    """Tell of a domain's cells, of coordinates in a frame, which of their centers lie within the cells of a grid."""
    rows, columns = axis_values(fields.dataset, fields.grid, fields.shown)
    moved = transform_axes(domain.y, domain.x, frame, fields.frame)
    if moved is not None:
        return _covered(rows, columns, moved, is_longitude=fields.frame.is_geographic)
    if domain.is_longitude:
        columns = move_near(columns, domain.x.mean())
    result: npt.NDArray[np.bool_] = np.outer(_within_cells(rows, domain.y), _within_cells(columns, domain.x))
    return result


def share_outside(fields: Fields, domain: Domain, frame: Frame) -> float:
    """Return the share of a domain's cells whose centers lie beyond the cells of a grid; see `is_covered`."""
    return float(1 - is_covered(fields, domain, frame).mean())


def steps_over(fields: Fields, domain: Domain, frame: Frame) -> tuple[float, float]:
    """Return the median cells of a grid from a fine row to the next, and from a fine column to the next."""
    moved = transform_axes(domain.y, domain.x, frame, fields.frame)
    cell_y, cell_x = fields.spacing
    if moved is None:
        fine_y, fine_x = (float(np.median(np.abs(np.diff(axis)))) for axis in (domain.y, domain.x))
        return (fine_y / cell_y if cell_y else 0.0), (fine_x / cell_x if cell_x else 0.0)
    found = []
    for axis in (0, 1):
        step_y, step_x = (np.abs(np.diff(each, axis=axis)) for each in moved)
        if fields.frame.is_geographic:
            step_x = np.abs(move_near(step_x, 0.0))  # the shorter way around
        rows = step_y / cell_y if cell_y else 0 * step_y
        columns = step_x / cell_x if cell_x else 0 * step_x
        found.append(float(np.nanmedian(np.hypot(rows, columns))))
    return found[0], found[1]


def degrees_apart(coarse: Fields, fine: Fields) -> float | None:
    """Return how far apart points of the same coordinates are on the globe, in coarse cells, at most.

    By latitudes and longitudes of two dimensions, where both have some; None where one has none, or they do not meet.
    """
    if (coarse_vectors := _vectors(coarse)) is None or (fine_vectors := _vectors(fine)) is None:
        return None
    (rows, columns), (y, x) = (axis_values(each.dataset, each.grid, each.shown) for each in (coarse, fine))
    y, x = (wanted[(wanted >= known.min()) & (wanted <= known.max())] for known, wanted in ((rows, y), (columns, x)))
    if not (len(y) and len(x)):
        return None
    one, other = (
        interpolate(vectors, each.grid, y, x, is_longitude=False)
        for each, vectors in ((coarse, coarse_vectors), (fine, fine_vectors))
    )
    distance = np.linalg.norm(one - other, axis=0)
    cell = np.linalg.norm(np.diff(coarse_vectors, axis=1), axis=0)
    return float(np.nanmax(distance) / np.nanmedian(cell)) if np.isfinite(distance).any() and cell.size else None


def _vectors(fields: Fields) -> xr.DataArray | None:
    """Return the unit vectors ``(3, y, x)`` of a grid's latitudes and longitudes of two dimensions; None without."""
    grid = fields.grid
    if grid.latitude is None or grid.longitude is None:
        return None
    angles = [fields.dataset[name] for name in (grid.latitude, grid.longitude)]
    if any(each.ndim != 2 for each in angles):
        return None
    latitude, longitude = (each.transpose(grid.y, grid.x).to_numpy().astype(np.float64) for each in angles)
    axes = {name: fields.dataset[name] for name in (grid.y_coordinate, grid.x_coordinate) if name is not None}
    vectors = np.moveaxis(vectors_of(latitude, longitude), -1, 0)
    return xr.DataArray(vectors, axes, ("part", grid.y, grid.x), "vectors")


def _cells(coordinates: Array, axis: Array, *, is_longitude: bool) -> npt.NDArray[np.int64]:
    """Find the fine row or column that each coordinate lies in; -1 for none."""
    if is_longitude:
        coordinates = move_near(coordinates, axis.mean())
    edges = axis_of(axis, longitude=is_longitude).edges
    falling = axis[0] > axis[-1]
    lows, highs = (edges[::-1, 1], edges[::-1, 0]) if falling else (edges[:, 0], edges[:, 1])
    index = np.searchsorted(lows, coordinates, side="right") - 1
    inside = (index >= 0) & (coordinates < highs[np.maximum(index, 0)])
    index = len(axis) - 1 - index if falling else index
    return np.where(inside, index, -1)
