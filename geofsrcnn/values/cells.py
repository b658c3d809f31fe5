"""Values, validity and what goes with them, between sources, the engine and sinks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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


def is_one_value(field: Array) -> bool:
    """Tell whether each band of a field ``(..., y, x)`` holds one value, to the last bit; views of one cell at once."""
    if field.strides[-2:] == (0, 0):
        return True
    if field.itemsize > 8:  # complex numbers, which are only repeated
        return False
    bits = field.view(f"u{field.itemsize}")
    first = bits[..., :1, :1]
    return np.array_equal(first, bits[..., -1:, -1:]) and bool((bits == first).all())  # two cells nearly always decide


def spread(field: Array, shape: tuple[int, int]) -> Array:
    """The first cell of a field ``(..., y, x)``, repeated over rows and columns: a view that cannot be written to."""
    return np.broadcast_to(field[..., :1, :1], (*field.shape[:-2], *shape))


def join_bands(fields: Sequence[Array]) -> Array:
    """Fields ``(band, y, x)`` behind each other; a view of one cell of each band if all are such views."""
    if len(fields) == 1:
        return fields[0]
    if all(field.strides[-2:] == (0, 0) for field in fields):
        return spread(np.concatenate([field[:, :1, :1] for field in fields]), fields[0].shape[-2:])
    return np.concatenate(fields)


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

    def one_cell(self) -> Cells | None:
        """One cell of each band, where it stands for all cells of the window; None where cells differ.

        The guide is left out.
        """
        fields = (self.values, self.valid, self.alpha, self.mask, self.errors)
        if not all(field is None or is_one_value(field) for field in fields):
            return None
        return replace(self.spread((1, 1)), guide=None)

    def spread(self, shape: tuple[int, int]) -> Cells:
        """The first cell of each band, repeated over rows and columns; arrays are views that cannot be written to."""
        optional = [None if field is None else spread(field, shape) for field in (self.alpha, self.mask, self.errors)]
        alpha, mask, errors = optional
        values, valid = spread(self.values, shape), spread(self.valid, shape)
        return replace(self, values=values, valid=valid, alpha=alpha, mask=mask, errors=errors)

    def with_nan(self) -> Array:
        """Give the values as float64, NaN where they are not valid."""
        return np.where(self.valid, self.values.astype(np.float64), np.nan)
