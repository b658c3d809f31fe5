"""Longitudes: they go around the globe, and differ by whole turns.

Whether columns close the globe is asked in two ways. `period_of` asks for a whole number of equal steps, as where a
column's index is counted on past the last one. Interpolation goes by coordinates, which may be uneven: there no column
must be missing between the last and the first (`MAX_GAP`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array

FULL_CIRCLE = 360.0
"""Degrees around the globe."""

MAX_REPEATED = 2
"""Last columns that may repeat the first ones on a grid that goes around the globe."""


MAX_GAP = 1.5
"""Steps from the last column on to the first, from which a column is missing between them."""


def unwrap(values: Array) -> Array:
    """Remove jumps by a full circle: 350, 355, 0, 5 go on to 360, 365."""
    result: Array = np.unwrap(values, period=FULL_CIRCLE)
    return result


def move_near(values: Array | float, parents: Array | float) -> Array:
    """Move longitudes by whole circles to within 180 degrees of others."""
    moved: Array = values - FULL_CIRCLE * np.round((values - parents) / FULL_CIRCLE)
    return moved


def move_cells(edges: Array, middle: float, turn: float, *, closed: bool) -> Array:
    """Move cells ``(n, 2)`` by whole turns to where a grid has its middle, in its units.

    Those of a grid that goes around the globe stay together, as it goes on beyond its ends; to another each goes alone,
    so that those on either side of the date line find it.

    Examples
    --------
    >>> move_cells(np.array([[-180.0, -170], [170, 180]]), 180.0, 360.0, closed=False).tolist()
    [[180.0, 190.0], [170.0, 180.0]]
    """
    own = edges.mean() if closed else edges.mean(1, keepdims=True)
    moved: Array = edges + turn * np.round((middle - own) / turn)
    return moved


def period_of(step: float, columns: int, circumference: float = FULL_CIRCLE) -> int:
    """How many columns of a step make the whole globe; 0 if those that are there do not.

    Some last columns may repeat the first. The circumference is in units of the step.
    """
    period = round(circumference / abs(step))
    closes = abs(period * abs(step) - circumference) < 0.01 * abs(step)
    return period if closes and 0 <= columns - period <= MAX_REPEATED else 0


def period_of_columns(longitudes: Array) -> int:
    """How many of these columns, evenly spaced and without jumps, make the whole globe; 0 if they do not.

    Examples
    --------
    >>> [period_of_columns(np.arange(0, end, 2.5)) for end in (360, 361, 90)]
    [144, 144, 0]
    """
    count = len(longitudes)
    return 0 if count < 3 else period_of(float(longitudes[-1] - longitudes[0]) / (count - 1), count)


def columns_near(known: Array, wanted: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Known columns moved by whole circles nearest to the wanted ones, rising, and their indexes.

    Columns around the globe are repeated at both ends, as far as they are wanted.
    """
    moved = move_near(known, wanted.mean())
    order = np.argsort(moved, kind="stable")
    order = order[np.diff(moved[order], prepend=-np.inf) > 1e-6]  # one of those that are stored at both ends
    places = moved[order]
    steps = np.diff(places)
    if not len(steps) or places[0] + FULL_CIRCLE - places[-1] > MAX_GAP * np.median(steps):
        return places, order
    places, order = np.concatenate([places - FULL_CIRCLE, places, places + FULL_CIRCLE]), np.tile(order, 3)
    margin = 2 * steps.max()  # the neighbours that interpolation needs
    used = (places > wanted.min() - margin) & (places < wanted.max() + margin)
    return places[used], order[used]
