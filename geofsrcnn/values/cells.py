"""Values, validity and what goes with them, between sources, the engine and sinks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array, Mask


@dataclass(frozen=True)
class GuideCells:
    """A finer guide on the fine cells of a window.

    Parameters
    ----------
    values : ndarray (k, factor * y, factor * x)
        Bands of the guide, in any units.
    valid : ndarray (factor * y, factor * x) of bool
        True where all bands are valid.
    """

    values: Array
    valid: Mask


def measured(values: Array) -> Mask:
    """True where a guide holds a number; beyond 1e35 it marks a missing cell, even if nothing declares it.

    Such a mark would drown all other values, and its square overflow.
    """
    found: Mask = np.abs(values) < 1e35
    return found


@dataclass
class Cells:
    """Values of a window on their way from a source to a sink.

    Parameters
    ----------
    values : ndarray (band, y, x)
        float32 or float64 in physical units, or the stored type if the source is read raw.
    valid : ndarray (band, y, x) of bool
        True where valid.
    alpha : ndarray (k, y, x), optional
        Alpha bands as stored; with the first bands of a window only.
    mask : ndarray (y, x), uint8, optional
        The dataset's mask as stored; with the first bands of a window only.
    errors : ndarray (band, y, x), optional
        Expected absolute error of each value, NaN where there is none to tell.
    undeclared : bool
        Some cells are missing for no other reason than that they hold the largest floats.
    guide : GuideCells, optional
        A finer guide of all bands.
    """

    values: Array
    valid: Mask
    alpha: Array | None = None
    mask: Array | None = None
    errors: Array | None = None
    undeclared: bool = False
    guide: GuideCells | None = None

    def with_nan(self) -> Array:
        """Give the values as float64, NaN where they are not valid."""
        return np.where(self.valid, self.values.astype(np.float64), np.nan)
