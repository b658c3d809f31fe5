"""Longitudes that go around the globe."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.grids.axis import REPEATED, Axis


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
