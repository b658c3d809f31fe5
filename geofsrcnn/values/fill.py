"""Missing cells filled from their surroundings, so that nothing invalid reaches a network."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array, Mask


def fill(values: Array, valid: Mask, rings: int, beyond: float = 0.0) -> Array:
    """Fill invalid cells near valid ones, ring by ring, each from its filled 8-neighbours' mean.

    Cells farther than `rings` from any valid cell of their band become `beyond`: nothing valid in that band depends on
    them. What stood under the mask has no influence.

    Parameters
    ----------
    values : ndarray (band, y, x)
        Any values under the mask, NaN and infinities included.
    valid : ndarray (band, y, x) of bool
        True where valid.
    rings : int
        How far from a valid cell to fill, in cells (Chebyshev distance).
    beyond : float
        Value of cells beyond.

    Returns
    -------
    ndarray (band, y, x), float64
        Finite where a cell is valid or near one; valid cells unchanged.

    Examples
    --------
    >>> fill(np.array([[[2.0, 4.0, np.nan, 9.0]]]), np.array([[[True, True, False, False]]]), 1)
    array([[[2., 4., 4., 0.]]])
    """
    known = valid.copy()
    filled = np.where(valid, values, 0.0).astype(np.float64)
    for _ in range(rings):
        if known.all():
            break
        weight = _neighbour_sum(known.astype(np.float64))
        ring = ~known & (weight > 0)
        if not ring.any():
            break
        total = _neighbour_sum(filled)
        filled[ring] = total[ring] / weight[ring]
        known |= ring
    if beyond:
        filled[~known] = beyond
    return filled


def _neighbour_sum(values: Array) -> Array:
    """Sum over the 3 x 3 neighbourhood, nothing beyond the edge."""
    padded = np.pad(values, [(0, 0), (1, 1), (1, 1)])
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    total: Array = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    return total
