"""Coordinates of cells: each cell split into equal parts, along one axis or over a curvilinear mesh.

Cells are areas between edges. Arrays in, arrays out; degrees on the globe, any unit elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError
from geofsrcnn.grids.longitude import move_near, period_of_columns, unwrap

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
        """True if all cells are equally wide and follow each other."""
        widths = self.edges[:, 1] - self.edges[:, 0]
        tiny = EVEN * abs(widths.mean())
        return bool(
            np.all(np.abs(widths - widths.mean()) <= tiny)
            and np.all(np.abs(self.edges[1:, 0] - self.edges[:-1, 1]) <= tiny)
        )

    @property
    def sphere_areas(self) -> Array:
        """Areas of cells between these latitudes, relative: differences of their edges' sines."""
        result: Array = np.abs(np.diff(np.sin(np.radians(self.edges)), axis=1))[:, 0]
        return result

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
        known = unwrap(known)
    steps = np.diff(known)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        remedy = "roll it so that it goes on through 0 or 180 degrees" if longitude and steps.any() else "sort it"
        raise InputError(f"coordinate {name} neither rises nor falls throughout: {remedy}, or take out duplicates")
    stated = None if bounds is None else _check_bounds(known, np.asarray(bounds, np.float64), longitude=longitude)
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
    ends = borders(known)
    edges = np.stack([ends[:-1], ends[1:]], axis=1)
    return Axis(known, _within_poles(edges) if latitude else edges)


def borders(centres: Array) -> Array:
    """Place borders midway between two or more centres, and outer ones as far from the outer centres."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _check_bounds(known: Array, bounds: Array, *, longitude: bool) -> Array | None:
    """Stated bounds in the direction of the index; None if they make no cells around the coordinates."""
    if bounds.shape != (known.size, 2) or not np.isfinite(bounds).all():
        return None
    if longitude:
        bounds = move_near(bounds, known[:, None])
    falling = known.size > 1 and known[1] < known[0]
    edges = np.sort(bounds, axis=1)
    low, high = edges.T
    within = np.all(low < high) and np.all(low <= known) and np.all(known <= high)
    if not within:
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
    """Return how far one rounding to the coordinates' type may move them."""
    kind = np.asarray(values).dtype
    return float(np.finfo(kind).eps * np.abs(values).max()) if kind.kind == "f" else 0.0


def _within_poles(edges: Array) -> Array:
    return np.clip(edges, -90.0, 90.0)


def period_along(axis: Axis) -> int:
    """How many columns of longitudes make the whole globe; 0 if they do not.

    Up to two last columns may repeat the first.

    Examples
    --------
    >>> period_along(axis_of(np.arange(0, 360, 2.5), longitude=True))
    144
    """
    return period_of_columns(axis.values) if axis.even else 0


def same_places(mine: Array, wanted: Array) -> bool:
    """Tell whether coordinates of two grids are the same, to a thousandth of a step."""
    if len(mine) != len(wanted):
        return False
    return len(wanted) < 2 or bool(np.abs(mine - wanted).max() <= 1e-3 * np.abs(np.diff(wanted)).min())
