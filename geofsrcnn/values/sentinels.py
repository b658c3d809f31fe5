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

SOLID = 0.85
"""Share of a collar's cells, at least, whose neighbours are of it."""

APART = (0.25, 0.8)
"""How far cells beside a collar are from it, of the range that most others span, and how many of them, at least."""


class Sample(NamedTuple):
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


def find_sentinel(samples: Sequence[Sample]) -> str | None:
    """Find a usual mark of missing cells, apart from all other values.

    Parameters
    ----------
    samples : sequence of Sample
        Of one band.

    Returns
    -------
    str or None
        As it is stored, in as many digits as it takes.
    """
    stored = np.concatenate([sample.values[sample.valid] for sample in samples])
    cells = stored.astype(np.float64)
    ends = (stored.min(), stored.max()) if stored.size > 1 else ()
    return next((_spell(end) for end in ends if _is_sentinel(end, cells)), None)


def find_collar(samples: Sequence[Sample]) -> str | None:
    """Return the smallest or largest value, as stored, if a scene's collar is made of it."""
    cells = np.concatenate([sample.values[sample.valid] for sample in samples]).astype(np.float64)
    rim = np.concatenate([sample.values[sample.valid & sample.edges] for sample in samples]).astype(np.float64)
    ends = (cells.min(), cells.max()) if rim.size else ()
    return next((_spell(e) for e in ends if (rim == e).mean() >= RIM and _is_collar(e, cells, samples)), None)


def _spell(value: np.generic) -> str:
    return str(value).removesuffix(".0")


def _is_sentinel(end: np.generic, cells: Array) -> bool:
    """Tell whether the smallest or largest value is a mark: a usual one with a gap beside it, several times."""
    same = cells == float(end)
    others = cells[~same]
    if same.sum() < 2:
        return False
    unsigned = end.dtype.kind == "u" and int(end) in UNSIGNED_ENDS
    top = unsigned and float(end) > 3 * max(others.max(initial=0.0), 1.0)
    usual = top or end in ENDS or NINES.fullmatch(_spell(end)) is not None
    if not others.size:
        return usual
    gap = np.abs(others - float(end)).min()
    if usual and gap >= 0.2 * np.ptp(others) and gap > 1:
        return True
    return bool(abs(float(end)) > BEYOND * max(np.abs(others).max(), 1.0))


def _is_collar(end: float, cells: Array, samples: Sequence[Sample]) -> bool:
    """Tell whether a value fills a solid area, its surroundings far from it: a scene's collar, not a sea at 0 m."""
    others = cells[cells != end]
    if others.size < 200 or len(np.unique(others)) <= CLASSES:
        return False
    low, high = np.percentile(others, [5, 95])
    solid, total, beside = 0, 0, []
    for sample in samples:
        same = sample.values == end
        padded = np.pad(same, 1, mode="edge")
        neighbours = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        solid += int((same & np.logical_and.reduce(neighbours)).sum())
        total += int(same.sum())
        beside.append(sample.values[sample.valid & ~same & np.logical_or.reduce(neighbours)])
    border = np.concatenate(beside).astype(np.float64)
    if high <= low or border.size < 20 or solid < SOLID * total:
        return False
    distance, share = APART
    return bool((np.abs(border - end) >= distance * (high - low)).mean() >= share)


def typical_step(samples: Sequence[Sample]) -> float | None:
    """Return the median difference of unequal neighbours of an integer band; None for classes."""
    cells = np.concatenate([sample.values[sample.valid] for sample in samples])
    if cells.dtype.kind not in "iu" or len(np.unique(cells)) <= CLASSES:
        return None
    found = []
    for sample in samples:
        values = sample.values.astype(np.float64)
        both = sample.valid[:, 1:] & sample.valid[:, :-1]
        found.append(np.abs(np.diff(values, axis=1))[both])
    differences = np.concatenate(found)
    differences = differences[differences > 0]  # flat areas, such as a sea, have no step
    return float(np.median(differences)) if differences.size else None
