"""Fields from one grid to another, by interpolation or by the means of cells."""

from __future__ import annotations

from collections.abc import Sequence
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
from geofsrcnn.pairs.places import Frame, transform_axes, transform_points, vectors_of
from geofsrcnn.pairs.times import Fields


def domain_of(fine: Fields, factor: int) -> Domain:
    """The grid of fine fields as a domain.

    Raises
    ------
    InputError
        If it has no coordinates of one dimension.
    """
    grid, is_longitude = fine.grid, fine.place.is_geographic
    names = axes_of(grid, f"the grid of {fine.shown}")
    y, x = (fine.dataset[name].to_numpy().astype(np.float64) for name in names)
    return Domain(y, unwrap(x) if is_longitude else x, factor, (grid.y, grid.x), is_longitude)


def axes_of(grid: CFGrid, shown: str) -> tuple[str, str]:
    """The coordinates of rows and columns.

    Raises
    ------
    InputError
        If there are none that say where cells are.
    """
    if grid.y_coordinate is None or grid.x_coordinate is None or grid.kind == "curvilinear":
        raise InputError(f"{shown} has no coordinates of one dimension: interpolate it to such a grid")
    return grid.y_coordinate, grid.x_coordinate


def regrid(field: xr.DataArray, grid: CFGrid, places: tuple[Frame, Frame], y: Array, x: Array) -> Array:
    """A field ``(..., y, x)`` at rows and columns of another place; see `interpolate`.

    Parameters
    ----------
    field : DataArray
        Its last two dimensions are the grid's.
    grid : CFGrid
        Of the field.
    places : tuple of Frame
        Of the field, and of what is wanted.
    y, x : ndarray
        Where it is wanted.
    """
    own, there = places
    moved = transform_axes(y, x, there, own)
    if moved is None:
        return interpolate(field, grid, y, x, is_longitude=there.is_geographic)
    rows, columns = (field[name].to_numpy().astype(np.float64) for name in axes_of(grid, printable(field.name)))
    down, right, order = _lines_at(rows, columns, *moved, is_longitude=own.is_geographic)
    values = field.to_numpy()[..., order[0][:, None], order[1][None, :]]
    valid = np.isfinite(values)
    total = down.among(np.where(valid, values, 0), right)
    result: Array = total
    if not valid.all():
        weight, near = down.among(valid * 1.0, right), down.nearest_among(valid, right)
        result = np.where(near, total / np.where(near, weight, 1), np.nan)
    return np.where(np.isfinite(moved[0]), result, np.nan)


def _lines_at(
    rows: Array, columns: Array, y: Array, x: Array, *, is_longitude: bool
) -> tuple[_Line, _Line, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Where points ``(i, j)`` lie between rising rows and columns, and the order that makes these rise."""
    known = np.isfinite(y) & np.isfinite(x)
    if not known.any():
        raise InputError("no place of the fine grid can be told in the CRS of the coarse one: check both")
    y, x = np.where(known, y, y[known][0]), np.where(known, x, x[known][0])
    order = np.argsort(rows), np.argsort(columns)
    places = columns[order[1]]
    if is_longitude:
        x = move_near(x, middle_of(x))
        places, found = columns_near(move_near(columns, middle_of(x)), x)
        order = order[0], found
    return _Line.at(rows[order[0]], y), _Line.at(places, x), order


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
    rows, columns = (field[name].to_numpy().astype(np.float64) for name in axes_of(grid, printable(field.name)))
    order = [np.argsort(rows), np.argsort(columns)]
    known = [rows[order[0]], columns[order[1]]]
    if is_longitude:
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
            return cls(np.zeros(places.shape, np.int64), np.zeros(places.shape))
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

    def among(self, values: Array, columns: _Line) -> Array:
        """Values ``(..., y, x)`` interpolated bilinearly at points, of which these are the rows."""
        result = np.zeros((*values.shape[:-2], *self.low.shape))
        for row, tall in ((self.low, 1 - self.share), (self.low + 1, self.share)):
            for column, wide in ((columns.low, 1 - columns.share), (columns.low + 1, columns.share)):
                down, right = np.minimum(row, values.shape[-2] - 1), np.minimum(column, values.shape[-1] - 1)
                result += tall * wide * values[..., down, right]
        return result

    def nearest_among(self, values: Array, columns: _Line) -> Array:
        """Those of the nearest known place."""
        down, right = (
            np.minimum(line.low + (line.share > 0.5), n - 1)
            for line, n in zip((self, columns), values.shape[-2:], strict=True)
        )
        result: Array = values[..., down, right]
        return result


def average(field: xr.DataArray, grid: CFGrid, domain: Domain, places: tuple[Frame, Frame] | None = None) -> Array:
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
    places : tuple of Frame, optional
        Of the field and of the fine grid; the same if not given.
    """
    places = places or (Frame(), Frame())
    if transform_axes(domain.y, domain.x, places[1], places[0]) is not None:
        return _average_elsewhere(field, grid, domain, places)
    near = domain.pad(interpolate(field, grid, domain.y, domain.x, is_longitude=domain.is_longitude))
    rows, columns = (
        _cells(field[str(name)].to_numpy().astype(np.float64), axis, is_longitude=is_longitude)
        for name, axis, is_longitude in (
            (grid.y_coordinate, domain.y, False),
            (grid.x_coordinate, domain.x, domain.is_longitude),
        )
    )
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
"""Cells of another CRS whose places are found together."""

FINER = 0.5
"""Share of the fine cells with a cell of a static field in them from which on that is taken for the finer one."""


def _average_elsewhere(field: xr.DataArray, grid: CFGrid, domain: Domain, places: tuple[Frame, Frame]) -> Array:
    """As `average`, of a field in another CRS; some rows after the other."""
    inside = regrid(field, grid, places, domain.y, domain.x)
    moved = transform_axes(domain.y, domain.x, places[1], places[0])
    assert moved is not None
    rows, columns = (field[name].to_numpy().astype(np.float64) for name in axes_of(grid, printable(field.name)))
    used = _reached(rows, moved[0])
    right = np.ones(len(columns), bool) if places[0].is_geographic else _reached(columns, moved[1])
    beyond = ~_covered(rows, columns, moved, is_longitude=places[0].is_geographic)
    total, count = np.zeros(domain.padded), np.zeros(domain.padded)
    columns, values = columns[right], field.to_numpy()
    chosen = np.nonzero(used)[0]
    for start in range(0, len(chosen), step := max(1, BLOCK // max(1, len(columns)))):
        some = chosen[start : start + step]
        whole = np.meshgrid(rows[some], columns, indexing="ij")
        y, x = transform_points(whole[0], whole[1], *places)
        known = np.isfinite(y)
        down = _cells(np.where(known, y, np.inf), domain.y, is_longitude=False)
        across = _cells(np.where(known, x, domain.x[0]), domain.x, is_longitude=domain.is_longitude)
        hit = (down >= 0) & (across >= 0)
        _count(total, count, values[some][:, right][hit], (down[hit], across[hit]))
    near = domain.pad(np.where(beyond, np.nan, inside))
    finer = (domain.crop(count) > 0)[~beyond]
    if not finer.size or finer.mean() < FINER:
        return near
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), near)
    return mean


def _reached(known: Array, wanted: Array) -> npt.NDArray[np.bool_]:
    """Which places lie within the cells around others ``(i, j)``, or beside them."""
    cell = max(float(np.nanmax(np.abs(np.diff(wanted, axis=axis)))) for axis in (0, 1))
    spare = cell + (2 * float(np.abs(np.diff(known)).max()) if len(known) > 1 else 0.0)
    low, high = np.nanmin(wanted), np.nanmax(wanted)
    result: npt.NDArray[np.bool_] = (known >= low - spare) & (known <= high + spare)
    return result


def _covered(rows: Array, columns: Array, points: tuple[Array, Array], *, is_longitude: bool) -> npt.NDArray[np.bool_]:
    """Which points lie within the cells of rows and columns."""
    result = np.isfinite(points[0]) & np.isfinite(points[1])
    down, right = points
    if is_longitude:
        middle = middle_of(right[np.isfinite(right)])
        columns, right = move_near(columns, middle), move_near(right, middle)
    for known, wanted in ((rows, down), (columns, right)):
        ends = np.sort(known)
        half = (ends[-1] - ends[0]) / max(len(ends) - 1, 1) / 2
        with np.errstate(invalid="ignore"):
            result &= (wanted >= ends[0] - half) & (wanted <= ends[-1] + half)
    return result


def share_outside(fields: Fields, domain: Domain, place: Frame) -> float:
    """Share of a domain's cells, which are of some place, whose middles lie beyond the cells of a grid."""
    rows, columns = (fields.dataset[name].to_numpy().astype(np.float64) for name in axes_of(fields.grid, fields.shown))
    moved = transform_axes(domain.y, domain.x, place, fields.place)
    if moved is not None:
        return float(1 - _covered(rows, columns, moved, is_longitude=fields.place.is_geographic).mean())
    shares = []
    for known, places, is_longitude in ((rows, domain.y, False), (columns, domain.x, domain.is_longitude)):
        ends = np.sort(move_near(known, places.mean()) if is_longitude else known)
        half = (ends[-1] - ends[0]) / max(len(ends) - 1, 1) / 2
        shares.append(np.mean((places < ends[0] - half) | (places > ends[-1] + half)))
    return float(1 - (1 - shares[0]) * (1 - shares[1]))


def steps_over(fields: Fields, domain: Domain, place: Frame) -> tuple[float, float]:
    """Cells of a grid from a fine row to the next and from a fine column to the next, at the middle."""
    moved = transform_axes(domain.y, domain.x, place, fields.place)
    own = fields.spacing
    if moved is None:
        steps = [float(np.median(np.abs(np.diff(places)))) for places in (domain.y, domain.x)]
        return tuple(a / b if b else 0.0 for a, b in zip(steps, own, strict=True))  # type: ignore[return-value]
    found = []
    for axis in (0, 1):
        ways = [np.abs(np.diff(each, axis=axis)) for each in moved]
        ways[1] = np.minimum(ways[1], np.abs(360 - ways[1])) if fields.place.is_geographic else ways[1]
        cells = np.hypot(*(way / size if size else 0 * way for way, size in zip(ways, own, strict=True)))
        found.append(float(np.nanmedian(cells)))
    return found[0], found[1]


def degrees_apart(coarse: Fields, fine: Fields) -> float | None:
    """How far apart places with the same coordinates are on the globe, in coarse cells, at most.

    By latitudes and longitudes of two dimensions, where both have some; None where one has none, or they do not meet.
    """
    vectors = []
    for fields in (coarse, fine):
        names = fields.grid.latitude, fields.grid.longitude
        if any(name is None or fields.dataset[name].ndim != 2 for name in names):
            return None
        places = (fields.dataset[name].transpose(fields.grid.y, fields.grid.x).to_numpy() for name in names)
        vectors.append(vectors_of(*(each.astype(np.float64) for each in places)))
    rows, columns, y, x = (
        fields.dataset[name].to_numpy().astype(np.float64)
        for fields in (coarse, fine)
        for name in axes_of(fields.grid, fields.shown)
    )
    y, x = (wanted[(wanted >= known.min()) & (wanted <= known.max())] for known, wanted in ((rows, y), (columns, x)))
    if not (len(y) and len(x)):
        return None
    made = []
    for fields, whole in zip((coarse, fine), vectors, strict=True):
        names = axes_of(fields.grid, fields.shown)
        field = xr.DataArray(
            np.moveaxis(whole, -1, 0),
            {name: fields.dataset[name] for name in names},
            ("part", fields.grid.y, fields.grid.x),
            "places",
        )
        made.append(interpolate(field, fields.grid, y, x, is_longitude=False))
    apart = np.linalg.norm(made[0] - made[1], axis=0)
    step = np.linalg.norm(np.diff(vectors[0], axis=0), axis=-1)
    return float(np.nanmax(apart) / np.nanmedian(step)) if np.isfinite(apart).any() and step.size else None


def _cells(places: Array, axis: Array, *, is_longitude: bool) -> npt.NDArray[np.int64]:
    """Which fine row or column each place lies in; -1 for none."""
    if is_longitude:
        places = move_near(places, axis.mean())
    edges = axis_of(axis, longitude=is_longitude).edges
    falling = axis[0] > axis[-1]
    lows, highs = (edges[::-1, 1], edges[::-1, 0]) if falling else (edges[:, 0], edges[:, 1])
    index = np.searchsorted(lows, places, side="right") - 1
    inside = (index >= 0) & (places < highs[np.maximum(index, 0)])
    index = len(axis) - 1 - index if falling else index
    return np.where(inside, index, -1)
