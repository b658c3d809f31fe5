"""A look at some cells of a raster: values that stand for missing cells unsaid, whole numbers in steps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.errors import warn

NINES = re.compile(r"-9{2,}(\.9*)?|9{4,}(\.9*)?")
"""Numbers that people write for missing cells."""

ENDS = {-(2**15), -(2**15) + 1, 2**15 - 1, -(2**31), -(2**31) + 1, 2**31 - 1}
"""Ends of integer types, which programs write for them; those of bytes and unsigned types are values as well."""

UNSIGNED_ENDS = {2**8 - 1, 2**16 - 1, 2**32 - 1}
"""Ends of unsigned types, marks only where all others are a third of them at most."""

BEYOND = 1e6
"""A float so many times larger than all others is no value either."""

RIM = 0.15
"""Part of the cells at a raster's edge that a collar has."""

CLASSES = 40
"""Values of classes are fewer."""


class Glimpse(NamedTuple):
    """A window of one band, as stored."""

    values: Array
    """``(y, x)``"""
    valid: Mask
    edges: Mask
    """Cells at the raster's edge."""


def warn_of_mark(what: str, mark: str, remedy: str) -> None:
    """Warn of what looks like a mark of missing cells; the remedy says how it is declared."""
    words = f"{what} holds many cells of {mark}, far from all others, which nothing declares to be missing"
    warn("W-NODATA", f"{words}: if they are, say so {remedy}")


def sentinel(glimpses: Sequence[Glimpse]) -> str | None:
    """A usual mark of missing cells, apart from all other values.

    Parameters
    ----------
    glimpses : sequence of Glimpse
        Of one band.

    Returns
    -------
    str or None
        As it is stored, in as many digits as it takes.
    """
    stored = np.concatenate([g.values[g.valid] for g in glimpses])
    cells = stored.astype(np.float64)
    ends = (stored.min(), stored.max()) if stored.size > 1 else ()
    return next((_spelt(end) for end in ends if _apart(end, cells)), None)


def collar(glimpses: Sequence[Glimpse]) -> str | None:
    """The smallest or largest value, if a scene's collar is made of it, as stored; of one band."""
    cells = np.concatenate([g.values[g.valid] for g in glimpses]).astype(np.float64)
    rim = np.concatenate([g.values[g.valid & g.edges] for g in glimpses]).astype(np.float64)
    ends = (cells.min(), cells.max()) if rim.size else ()
    return next((_spelt(e) for e in ends if (rim == e).mean() >= RIM and _is_collar(e, cells, glimpses)), None)


def _spelt(value: np.generic) -> str:
    return str(value).removesuffix(".0")


def _apart(end: np.generic, cells: Array) -> bool:
    """Tell whether the smallest or largest value is a mark: a usual one with a gap beside it, several times."""
    same = cells == float(end)
    others = cells[~same]
    if same.sum() < 2:
        return False
    unsigned = end.dtype.kind == "u" and int(end) in UNSIGNED_ENDS
    top = unsigned and float(end) > 3 * max(others.max(initial=0.0), 1.0)
    usual = top or end in ENDS or NINES.fullmatch(_spelt(end)) is not None
    if not others.size:
        return usual
    gap = np.abs(others - float(end)).min()
    if usual and gap >= 0.2 * np.ptp(others) and gap > 1:
        return True
    return bool(abs(float(end)) > BEYOND * max(np.abs(others).max(), 1.0))


def _is_collar(end: float, cells: Array, glimpses: Sequence[Glimpse]) -> bool:
    """Tell whether a value fills a solid area, its surroundings far from it: a scene's collar, not a sea at 0 m."""
    others = cells[cells != end]
    if others.size < 200 or len(np.unique(others)) <= CLASSES:
        return False
    spread = float(np.subtract(*np.percentile(others, [95, 5])))
    solid, total, beside = 0, 0, []
    for g in glimpses:
        same = g.values == end
        around = np.pad(same, 1, mode="edge")
        near = [around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]]
        solid, total = solid + int((same & np.logical_and.reduce(near)).sum()), total + int(same.sum())
        beside.append(g.values[g.valid & ~same & np.logical_or.reduce(near)])
    border = np.concatenate(beside).astype(np.float64)
    far = np.abs(border - end) >= 0.25 * spread
    return bool(spread > 0 and border.size >= 20 and solid >= 0.85 * total and far.mean() >= 0.8)


def steps(glimpses: Sequence[Glimpse]) -> float | None:
    """How far apart neighbours of an integer band are where they differ, in the middle; None for classes."""
    cells = np.concatenate([g.values[g.valid] for g in glimpses])
    if cells.dtype.kind not in "iu" or len(np.unique(cells)) <= CLASSES:
        return None
    found = []
    for g in glimpses:
        values = g.values.astype(np.float64)
        both = g.valid[:, 1:] & g.valid[:, :-1]
        found.append(np.abs(np.diff(values, axis=1))[both])
    differences = np.concatenate(found)
    differences = differences[differences > 0]  # a sea is no slope
    return float(np.median(differences)) if differences.size else None
