"""Coordinates of cells: each cell split into equal parts, along one axis or over a curvilinear mesh.

Cells are areas between edges. Arrays in, arrays out; degrees on the globe, any unit elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geofsrcnn.errors import InputError

Array = npt.NDArray[Any]

REPEATED = 2
"""Last columns that may repeat the first ones on a grid that goes around the globe."""

EVEN = 1e-4
"""Share of a step by which coordinates may leave an even spacing and still count as even."""


@dataclass(frozen=True)
class Axis:
    """Cells along one dimension.

    Parameters
    ----------
    values : ndarray (n,), float64
        Where a cell's coordinate is; not always its middle.
    edges : ndarray (n, 2), float64
        Where it begins and ends, in the direction of the index.
    """

    values: Array
    edges: Array

    @property
    def even(self) -> bool:
        """Whether all cells are equally wide and follow each other."""
        widths = self.edges[:, 1] - self.edges[:, 0]
        tiny = EVEN * abs(widths.mean())
        return bool(
            np.all(np.abs(widths - widths.mean()) <= tiny)
            and np.all(np.abs(self.edges[1:, 0] - self.edges[:-1, 1]) <= tiny)
        )

    def split(self, factor: int) -> Axis:
        """Each cell in `factor` equal parts, coordinates in their middle.

        Examples
        --------
        >>> axis_of(np.array([10.0, 20.0])).split(2).values
        array([ 7.5, 12.5, 17.5, 22.5])
        """
        start, end = self.edges[:, :1], self.edges[:, 1:]
        at = np.arange(2 * factor + 1) / (2 * factor)
        points = start * (1 - at) + end * at
        edges = np.stack([points[:, :-1:2], points[:, 2::2]], axis=-1)
        return Axis(points[:, 1::2].reshape(-1), edges.reshape(-1, 2))


def axis_of(
    values: Array, bounds: Array | None = None, *, latitude: bool = False, longitude: bool = False, name: str = "axis"
) -> Axis:
    """The cells that coordinates stand for.

    Parameters
    ----------
    values : ndarray (n,)
        Rising or falling; longitudes may jump by 360 degrees.
    bounds : ndarray (n, 2), optional
        Stated edges, in either order; without them edges lie midway between coordinates, evenly where those are even.
    latitude, longitude : bool
        Degrees on the globe: edges of latitudes that are not stated stop at the poles.
    name : str
        For messages.

    Returns
    -------
    Axis
        In float64; longitudes without jumps.

    Raises
    ------
    InputError
        If the coordinates are not finite, neither rise nor fall, or there is one without bounds.
    """
    known = np.asarray(values, np.float64)
    if not np.isfinite(known).all():
        raise InputError(f"coordinate {name} has missing values: give whole coordinates")
    if longitude:
        known = np.unwrap(known, period=360)
    steps = np.diff(known)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        remedy = "roll it so that it goes on through 0 or 180 degrees" if longitude and steps.any() else "sort it"
        raise InputError(f"coordinate {name} neither rises nor falls throughout: {remedy}, or take out duplicates")
    stated = None if bounds is None else _stated(known, np.asarray(bounds, np.float64), longitude=longitude)
    if known.size == 1 and stated is None:
        raise InputError(f"coordinate {name} has one cell and no bounds, so its size is unknown: add bounds")
    spacing = _even_step(known, np.asarray(values).dtype)
    if spacing is not None:
        count = np.arange(known.size)[:, None]
        edges = known[0] + spacing * (count + np.array([-0.5, 0.5]))
        if stated is None or np.all(np.abs(stated - edges) <= EVEN * abs(spacing) + _rounding(values)):
            return Axis(known, _within_poles(edges) if latitude and stated is None else edges)
    if stated is not None:
        return Axis(known, stated)
    middle = (known[1:] + known[:-1]) / 2
    ends = np.concatenate([[2 * known[0] - middle[0]], middle, [2 * known[-1] - middle[-1]]])
    edges = np.stack([ends[:-1], ends[1:]], axis=1)
    return Axis(known, _within_poles(edges) if latitude else edges)


def _stated(known: Array, bounds: Array, *, longitude: bool) -> Array | None:
    """Stated bounds in the direction of the index; None if they make no cells around the coordinates."""
    if bounds.shape != (known.size, 2) or not np.isfinite(bounds).all():
        return None
    if longitude:
        bounds = bounds + 360 * np.round((known[:, None] - bounds) / 360)
    falling = known.size > 1 and known[1] < known[0]
    edges = np.sort(bounds, axis=1)
    low, high = edges.T
    around = np.all(low < high) and np.all(low <= known) and np.all(known <= high)
    if not around:
        return None
    return edges[:, ::-1] if falling or (known.size == 1 and bounds[0, 0] > bounds[0, 1]) else edges


def _even_step(known: Array, dtype: np.dtype[Any]) -> float | None:
    """The step of evenly spaced coordinates, rounding of their type allowed for."""
    if known.size < 2:
        return None
    step = float(known[-1] - known[0]) / (known.size - 1)
    off = np.abs(known - (known[0] + step * np.arange(known.size))).max()
    rounding = _rounding(known.astype(dtype)) if dtype.kind == "f" else 0.0
    return step if off <= EVEN * abs(step) + rounding else None


def _rounding(values: Array) -> float:
    """What one rounding to the coordinates' type may move them by."""
    kind = np.asarray(values).dtype
    return float(np.finfo(kind).eps * np.abs(values).max()) if kind.kind == "f" else 0.0


def _within_poles(edges: Array) -> Array:
    return np.clip(edges, -90.0, 90.0)


def columns_around(axis: Axis) -> int:
    """How many columns of longitudes make the whole globe; 0 if they do not.

    Up to two last columns that repeat the first do not count.

    Examples
    --------
    >>> columns_around(axis_of(np.arange(0, 360, 2.5), longitude=True))
    144
    """
    values = axis.values
    if values.size < 3 or not axis.even:
        return 0
    step = float(abs(values[-1] - values[0])) / (values.size - 1)
    around = round(360 / step)
    if abs(around * step - 360) > 0.01 * step or not 0 <= values.size - around <= REPEATED:
        return 0
    return around


def near(values: Array, parents: Array) -> Array:
    """Longitudes moved by whole turns to within half a turn of their parents'."""
    moved: Array = values - 360 * np.round((values - parents) / 360)
    return moved


# ------------------------------------------------------------------------------------------------- curvilinear


@dataclass(frozen=True)
class Mesh:
    """Cells of a curvilinear grid on the globe, in degrees.

    Parameters
    ----------
    latitude, longitude : ndarray (y, x), float64
        Of the cells' centres; NaN where unknown.
    latitudes, longitudes : ndarray (y, x, 4), float64
        Of their corners, in index order: (0, 0), (0, 1), (1, 1), (1, 0).
    """

    latitude: Array
    longitude: Array
    latitudes: Array
    longitudes: Array

    def split(self, factor: int) -> Mesh:
        """Each cell in ``factor x factor`` parts, by linear interpolation between its corners on the sphere."""
        corners = _vectors(self.latitudes, self.longitudes)
        at = np.arange(2 * factor + 1) / (2 * factor)
        v, u = np.meshgrid(at, at, indexing="ij")
        weights = np.stack([(1 - v) * (1 - u), (1 - v) * u, v * u, v * (1 - u)], axis=-1)
        points = np.einsum("ijkc,abk->iajbc", corners, weights)  # (y, 2 f + 1, x, 2 f + 1, 3)
        own = np.repeat(np.repeat(self.longitude, factor, 0), factor, 1)

        def degrees(rows: slice, columns: slice) -> tuple[Array, Array]:
            chosen = points[:, rows][:, :, :, columns]
            y, a, x, b, _ = chosen.shape
            latitude, longitude = _degrees(chosen.reshape(y * a, x * b, 3))
            return latitude, near(longitude, own)

        first, last, middle = slice(0, -1, 2), slice(2, None, 2), slice(1, None, 2)
        around = [degrees(*where) for where in ((first, first), (first, last), (last, last), (last, first))]
        return Mesh(
            *degrees(middle, middle),
            np.stack([latitude for latitude, _ in around], axis=-1),
            np.stack([longitude for _, longitude in around], axis=-1),
        )


def mesh_of(
    latitude: Array, longitude: Array, vertices: tuple[Array, Array] | None = None, *, around: int = 0
) -> tuple[Mesh, tuple[int, ...]]:
    """The cells of a curvilinear grid.

    Parameters
    ----------
    latitude, longitude : ndarray (y, x)
        Of the cells' centres, degrees.
    vertices : tuple of ndarray (y, x, 4), optional
        Stated latitudes and longitudes of corners, in any order around the cell; without them corners lie between
        the centres of four cells.
    around : int
        Columns that make the whole globe, or 0.

    Returns
    -------
    Mesh
        Corners in index order.
    tuple of int
        Which corner in index order each stated vertex is.
    """
    centres = _vectors(latitude, longitude)
    guess = _corners(centres, around=around)
    order: tuple[int, ...] = (0, 1, 2, 3)
    corners = guess
    if vertices is not None and vertices[0].shape == (*latitude.shape, 4):
        stated = _vectors(*vertices)
        turns = [tuple(np.roll(ring, k)) for ring in ((0, 1, 2, 3), (3, 2, 1, 0)) for k in range(4)]
        misfit = [float(np.nanmean((stated - guess[..., list(turn), :]) ** 2)) for turn in turns]
        order = tuple(int(i) for i in turns[int(np.argmin(misfit))])
        corners = stated[..., [order.index(i) for i in range(4)], :]
    latitudes, longitudes = _degrees(corners)
    known = longitude.astype(np.float64)
    return Mesh(latitude.astype(np.float64), known, latitudes, near(longitudes, known[..., None])), order


def mesh_around(latitude: Array, longitude: Array) -> int:
    """How many columns of a curvilinear grid make the whole globe, as `columns_around`.

    Parameters
    ----------
    latitude, longitude : ndarray (y, x)
        Of the cells' centres, degrees.
    """
    columns = longitude.shape[1]
    centres = _vectors(latitude, longitude)
    for around in range(columns, max(columns - REPEATED, 8) - 1, -1):
        last, step = centres[:, around - 1], centres[:, around - 1] - centres[:, around - 2]
        gap = centres[:, 0] - last
        known = np.isfinite(gap).all(1) & np.isfinite(step).all(1)
        size = np.maximum(np.linalg.norm(step[known], axis=1), 1e-12)
        ratio = (gap[known] * step[known]).sum(1) / size**2  # how many steps on the first column is
        if known.any() and np.mean((ratio > 0.5) & (ratio < 1.5)) > 0.9:
            return around
    return 0


def _vectors(latitude: Array, longitude: Array) -> Array:
    """Points on the unit sphere, ``(..., 3)``."""
    phi, lam = np.radians(latitude.astype(np.float64)), np.radians(longitude.astype(np.float64))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def _degrees(points: Array) -> tuple[Array, Array]:
    """Latitude and longitude of directions ``(..., 3)``."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def _corners(centres: Array, *, around: int) -> Array:
    """Between four centres each, ``(y, x, 4, 3)`` in index order; beyond the edges by quadratic extrapolation."""
    grown = _beyond(_beyond(centres, 0), 1, around)
    points = (grown[:-1, :-1] + grown[:-1, 1:] + grown[1:, 1:] + grown[1:, :-1]) / 4
    return np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)


def _beyond(centres: Array, axis: int, around: int = 0) -> Array:
    """One more on either side of an axis."""
    c = np.moveaxis(centres, axis, 0)
    if len(c) == 1:
        raise InputError("a curvilinear grid of one row or column has cells of unknown size: add vertices")
    if around:
        before, after = c[around - 1], c[len(c) % around]
    elif len(c) == 2:
        before, after = 2 * c[0] - c[1], 2 * c[-1] - c[-2]
    else:
        before, after = 3 * c[0] - 3 * c[1] + c[2], 3 * c[-1] - 3 * c[-2] + c[-3]
    return np.moveaxis(np.concatenate([before[None], c, after[None]]), 0, axis)
