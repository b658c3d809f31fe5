"""Integers that look like classes: in patches, and no way from one value to another through those between."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.errors import warn
from geofsrcnn.values.encoding import Packing
from geofsrcnn.values.quantity import Quantity
from geofsrcnn.values.quantity_units import read_units

FEW = 48
"""Values that a raster of classes or flags has at most, in a part of it; ids, such as those of parcels, are more."""

CELLS_OF_AN_ID = 20
"""Cells that an id has at least, on average."""

LEAST_CELLS = 2000
"""Cells that it takes to tell."""

IN_PATCHES = (0.4, 0.6)
"""Share of neighbours that are equal, at least, but for those of the most common value: of classes, and of ids."""

JUMPS = 0.25
"""Share of unequal neighbours with other values between them, at least; measurements in steps go through them."""

UNRELATED = 0.6
"""How far unequal neighbours are apart, at least, of how far those are whom chance brings together."""


def may_hold_classes(packing: Packing, quantity: Quantity, units: str) -> bool:
    """Tell whether values can be classes: whole numbers as they are stored, without units, that nothing says more of.

    Examples
    --------
    >>> from geofsrcnn.values.quantity import UNKNOWN
    >>> packing = Packing(np.dtype("uint8"))
    >>> may_hold_classes(packing, UNKNOWN, ""), may_hold_classes(packing, UNKNOWN, "m")
    (True, False)
    """
    return packing.dtype.kind in "iu" and packing.plain and quantity.unknown and read_units(units).plain


def warn_of_classes(what: str, values: Array, valid: Mask, remedy: str) -> bool:
    """Warn of integers that look like classes, and tell whether they do."""
    count = count_classes(values, valid)
    if count:
        words = f"{what} holds {count} values without a gradient between them, as classes have"
        warn("W-CLASSES", f"{words}: if it holds classes or flags, {remedy}")
    return count > 0


def count_classes(values: Array, valid: Mask) -> int:
    """How many classes there seem to be; 0 if the values look like measurements.

    Parameters
    ----------
    values : ndarray (y, x)
        Integers.
    valid : ndarray (y, x), bool
        True where valid.

    Examples
    --------
    >>> cells = np.kron([[4, 4, 8], [11, 4, 9], [4, 9, 11]], np.ones((20, 20), int))
    >>> count_classes(cells, np.full(cells.shape, True))
    4
    """
    if valid.sum() < LEAST_CELLS:
        return 0
    found, rank = np.unique(values, return_inverse=True)
    used = np.unique(values[valid])
    few = used.size <= FEW
    if used.size < 3 or not (few or used.size * CELLS_OF_AN_ID <= valid.sum()):
        return 0
    rank = np.searchsorted(used, found)[rank.reshape(values.shape)]  # of each cell among the values in valid cells
    below, beside = valid[1:] & valid[:-1], valid[:, 1:] & valid[:, :-1]  # pairs of neighbours, both valid
    one = np.concatenate([rank[1:][below], rank[:, 1:][beside]])
    other = np.concatenate([rank[:-1][below], rank[:, :-1][beside]])
    common = np.bincount(rank[valid]).argmax()
    differ = one != other
    rare = (one != common) | (other != common)  # a field of counts is one patch of zeros: only the rest tells
    if not differ.any() or differ[rare].mean() > 1 - IN_PATCHES[0 if few else 1]:
        return 0
    one, other = one[differ], other[differ]
    step = np.abs(one - other)
    by_chance = np.abs(one - np.roll(other, one.size // 2))  # between cells that are no neighbours
    jumps = (step > 1).mean() >= JUMPS and step.mean() >= UNRELATED * by_chance[by_chance > 0].mean()
    return int(used.size) if jumps else 0
