"""Directions: how far they lie apart, and their mean."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.values.blocks import block_mean


def shorter_way(differences: Array, period: float) -> Array:
    """Turn differences of directions into those of the shorter way round, from minus half a period on.

    Examples
    --------
    >>> shorter_way(np.array([350.0, -20.0, 180.0]), 360.0)
    array([ -10.,  -20., -180.])
    """
    result: Array = (differences + period / 2) % period - period / 2
    return result


def mean_direction(radians: Array, factor: int) -> Array:
    """Find the direction of the mean unit vector of each block (Mardia and Jupp 2000, 2.2), from -pi to pi.

    Examples
    --------
    >>> mean_direction(np.array([[0.1, -0.1], [0.2, -0.2]]), 2).round(9) + 0.0
    array([[0.]])
    """
    result: Array = np.arctan2(block_mean(np.sin(radians), factor), block_mean(np.cos(radians), factor))
    return result
