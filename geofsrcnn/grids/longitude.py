"""Longitudes: they go around the globe, and differ by whole turns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array

TURN = 360.0
"""Degrees around the globe."""

REPEATED = 2
"""Last columns that may repeat the first ones on a grid that goes around the globe."""


def unwrap(values: Array) -> Array:
    """Longitudes without jumps by a turn: 350, 355, 0, 5 go on to 360, 365."""
    result: Array = np.unwrap(values, period=TURN)
    return result


def move_near(values: Array, parents: Array | float) -> Array:
    """Longitudes moved by whole turns to within half a turn of others."""
    moved: Array = values - TURN * np.round((values - parents) / TURN)
    return moved


def is_turn(width: float, tolerance: float) -> bool:
    """Tell whether a width in degrees is that of the globe."""
    return abs(abs(width) - TURN) < tolerance


def period_of(step: float, columns: int, turn: float = TURN) -> int:
    """How many columns of a step make the whole globe; 0 if those that are there do not.

    Some last columns may repeat the first. A turn is counted in degrees unless it is given.
    """
    period = round(turn / abs(step))
    whole = abs(period * abs(step) - turn) < 0.01 * abs(step)
    return period if whole and 0 <= columns - period <= REPEATED else 0


def columns_near(known: Array, wanted: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Known columns where whole turns bring them nearest to the wanted ones, rising, and which columns they are.

    Those that go around the globe go on at both ends, as far as they are wanted.
    """
    moved = move_near(known, wanted.mean())
    order = np.argsort(moved, kind="stable")
    order = order[np.diff(moved[order], prepend=-np.inf) > 1e-6]  # one of those that are stored at both ends
    places = moved[order]
    steps = np.diff(places)
    if not len(steps) or places[0] + TURN - places[-1] > 1.5 * np.median(steps):
        return places, order
    places, order = np.concatenate([places - TURN, places, places + TURN]), np.tile(order, 3)
    spare = 2 * steps.max()
    used = (places > wanted.min() - spare) & (places < wanted.max() + spare)
    return places[used], order[used]
