"""Places of cells of two dimensions, and those of the parts of such cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError
from geofsrcnn.grids.longitude import MAX_GAP, MAX_REPEATED, move_near


@dataclass(frozen=True)
class Mesh:
    """Cells of a curvilinear grid on the globe, in degrees.

    Parameters
    ----------
    latitude, longitude : ndarray (y, x), float64
        Places of the cells' centres; NaN where unknown.
    latitudes, longitudes : ndarray (y, x, 4), float64
        Places of their corners, in index order: (0, 0), (0, 1), (1, 1), (1, 0).
    """

    latitude: Array
    longitude: Array
    latitudes: Array
    longitudes: Array

    def split(self, factor: int) -> Mesh:
        """Each cell in ``factor x factor`` parts, by linear interpolation between its corners on the sphere."""
        corners = vectors_of(self.latitudes, self.longitudes)
        at = np.arange(2 * factor + 1) / (2 * factor)
        v, u = np.meshgrid(at, at, indexing="ij")
        weights = np.stack([(1 - v) * (1 - u), (1 - v) * u, v * u, v * (1 - u)], axis=-1)  # bilinear, of the corners
        points = np.einsum("ijkc,abk->iajbc", corners, weights)  # (y, 2 f + 1, x, 2 f + 1, 3)
        own = np.repeat(np.repeat(self.longitude, factor, 0), factor, 1)

        def degrees(rows: slice, columns: slice) -> tuple[Array, Array]:
            chosen = points[:, rows][:, :, :, columns]
            y, a, x, b, _ = chosen.shape
            latitude, longitude = places_of(chosen.reshape(y * a, x * b, 3))
            return latitude, move_near(longitude, own)

        first, last, middle = slice(0, -1, 2), slice(2, None, 2), slice(1, None, 2)
        corner_places = [degrees(*where) for where in ((first, first), (first, last), (last, last), (last, first))]
        return Mesh(
            *degrees(middle, middle),
            np.stack([latitude for latitude, _ in corner_places], axis=-1),
            np.stack([longitude for _, longitude in corner_places], axis=-1),
        )


def mesh_of(
    latitude: Array, longitude: Array, vertices: tuple[Array, Array] | None = None, *, period: int = 0
) -> tuple[Mesh, tuple[int, ...]]:
    """The cells of a curvilinear grid.

    Parameters
    ----------
    latitude, longitude : ndarray (y, x)
        Places of the cells' centres, degrees.
    vertices : tuple of ndarray (y, x, 4), optional
        Stated latitudes and longitudes of corners, in any order around the cell; without them corners lie between
        the centres of four cells.
    period : int
        Columns that make the whole globe, or 0.

    Returns
    -------
    Mesh
        Corners in index order.
    tuple of int
        Which corner in index order each stated vertex is.
    """
    if vertices is not None and vertices[0].shape != (*latitude.shape, 4):
        vertices = None
    if vertices is not None:
        latitude, longitude = _fill_centres(latitude, longitude, vertices)
    corners = _estimate_corners(vectors_of(latitude, longitude), period=period)
    order: tuple[int, ...] = (0, 1, 2, 3)
    if vertices is not None:
        stated = vectors_of(*vertices)
        order = _order_of(stated, corners)
        corners = stated[..., [order.index(i) for i in range(4)], :]
    latitudes, longitudes = places_of(corners)
    known = longitude.astype(np.float64)
    return Mesh(latitude.astype(np.float64), known, latitudes, move_near(longitudes, known[..., None])), order


def _order_of(stated: Array, corners: Array) -> tuple[int, ...]:
    """Return which corner each stated vertex is: of all orders around a cell, the one with the least distances."""
    orders = [np.roll(ring, k).tolist() for ring in ((0, 1, 2, 3), (3, 2, 1, 0)) for k in range(4)]
    misfits = [float(np.nanmean((stated - corners[..., order, :]) ** 2)) for order in orders]
    return tuple(orders[int(np.argmin(misfits))])


def _fill_centres(latitude: Array, longitude: Array, vertices: tuple[Array, Array]) -> tuple[Array, Array]:
    """Put centres that are unknown in the middle of their corners."""
    unknown = np.isnan(latitude) | np.isnan(longitude)
    if not unknown.any():
        return latitude, longitude
    middle_latitude, middle_longitude = places_of(vectors_of(*vertices).mean(2))
    return np.where(unknown, middle_latitude, latitude), np.where(unknown, middle_longitude, longitude)


def vectors_of(latitude: Array, longitude: Array) -> Array:
    """Points on the unit sphere, ``(..., 3)``."""
    phi, lam = np.radians(latitude.astype(np.float64)), np.radians(longitude.astype(np.float64))
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def places_of(points: Array) -> tuple[Array, Array]:
    """Latitude and longitude of directions ``(..., 3)``."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def _estimate_corners(centres: Array, *, period: int) -> Array:
    """Corners midway between four centres, ``(y, x, 4, 3)`` in index order; at the edges centres are extrapolated."""
    grown = _extend(_extend(centres, 0), 1, period)
    points = (grown[:-1, :-1] + grown[:-1, 1:] + grown[1:, 1:] + grown[1:, :-1]) / 4
    return np.stack([points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]], axis=2)


def _extend(centres: Array, axis: int, period: int = 0) -> Array:
    """Add a centre on either side of an axis: the neighbour around the globe, else a quadratic extrapolation."""
    c = np.moveaxis(centres, axis, 0)
    if len(c) == 1:
        raise InputError("a curvilinear grid of one row or column has cells of unknown size: add vertices")
    if period:
        before, after = c[period - 1], c[len(c) % period]
    elif len(c) == 2:
        before, after = 2 * c[0] - c[1], 2 * c[-1] - c[-2]
    else:
        before, after = 3 * c[0] - 3 * c[1] + c[2], 3 * c[-1] - 3 * c[-2] + c[-3]
    return np.moveaxis(np.concatenate([before[None], c, after[None]]), 0, axis)


def mesh_period(latitude: Array, longitude: Array) -> int:
    """Columns of a curvilinear grid that make the whole globe, by centres ``(y, x)`` in degrees; 0 if they do not."""
    columns = longitude.shape[1]
    centres = vectors_of(latitude, longitude)
    for period in range(columns, max(columns - MAX_REPEATED, 8) - 1, -1):
        last, step = centres[:, period - 1], centres[:, period - 1] - centres[:, period - 2]
        gap = centres[:, 0] - last
        known = np.isfinite(gap).all(1) & np.isfinite(step).all(1)
        size = np.maximum(np.linalg.norm(step[known], axis=1), 1e-12)
        ratio = (gap[known] * step[known]).sum(1) / size**2  # steps from the last column to the first, of each row
        if known.any() and np.mean((ratio > 0.5) & (ratio < MAX_GAP)) > 0.9:
            return period
    return 0
