"""Longitudes: they go around the globe, and differ by whole turns."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array

FULL_CIRCLE = 360.0
"""Degrees around the globe."""

MAX_REPEATED = 2
"""Last columns that may repeat the first ones on a grid that goes around the globe."""


def unwrap(values: Array) -> Array:
    """Remove jumps by a full circle: 350, 355, 0, 5 go on to 360, 365."""
    result: Array = np.unwrap(values, period=FULL_CIRCLE)
    return result


def move_near(values: Array, parents: Array | float) -> Array:
    """Move longitudes by whole circles to within 180 degrees of others."""
    moved: Array = values - FULL_CIRCLE * np.round((values - parents) / FULL_CIRCLE)
    return moved


def period_of(step: float, columns: int, circumference: float = FULL_CIRCLE) -> int:
    """How many columns of a step make the whole globe; 0 if those that are there do not.

    Some last columns may repeat the first. The circumference is in units of the step.
    """
    period = round(circumference / abs(step))
    closes = abs(period * abs(step) - circumference) < 0.01 * abs(step)
    return period if closes and 0 <= columns - period <= MAX_REPEATED else 0


def columns_near(known: Array, wanted: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Known columns moved by whole circles nearest to the wanted ones, rising, and their indexes.

    Columns around the globe are repeated at both ends, as far as they are wanted.
    """
    moved = move_near(known, wanted.mean())
    order = np.argsort(moved, kind="stable")
    order = order[np.diff(moved[order], prepend=-np.inf) > 1e-6]  # one of those that are stored at both ends
    places = moved[order]
    steps = np.diff(places)
    if not len(steps) or places[0] + FULL_CIRCLE - places[-1] > 1.5 * np.median(
        steps
    ):  # the last is not the first's neighbour
        return places, order
    places, order = np.concatenate([places - FULL_CIRCLE, places, places + FULL_CIRCLE]), np.tile(order, 3)
    margin = 2 * steps.max()  # the neighbours that interpolation needs
    used = (places > wanted.min() - margin) & (places < wanted.max() + margin)
    return places[used], order[used]
