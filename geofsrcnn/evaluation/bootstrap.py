"""Intervals of scores by bootstrap: what was scored is drawn again, with replacement, in units that belong together.

Times are drawn in blocks of consecutive ones, as neighbours are alike: the moving-block bootstrap (Kuensch 1989,
Annals of Statistics 17, 1217-1241; Politis and Romano 1994 for its kin), with the block length of Wilks (1997, Journal
of Climate 10, 65-82). Rasters are drawn in square tiles, each a block of its own (Lahiri 2003, Resampling Methods for
Dependent Data, chapter 12). A replicate draws the same units for all methods, so that what is hard for all of them
widens no ratio. Intervals lie between quantiles of the replicates, as much further out as few blocks ask for (the
expanded percentile method of Hesterberg 2015, The American Statistician 69, 371-386).
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.evaluation.comparison import Interval

LEVEL = 0.95
"""Share of repeated samples whose interval holds the true score."""

INTERVAL = f"{100 * LEVEL:g} % interval"
"""Words for one."""

REPLICATES = 2000

FEWEST = 10
"""Units of which an interval is made, at least."""

SEED = 1989
"""Seed of the draws: the same scores have the same intervals."""


def block_length(series: Array) -> int:
    """Length of blocks by the lag-1 autocorrelation of a series.

    Wilks (1997, equation 20): the l that solves ``l = (n - l + 1) ** (2 / 3 * (1 - n' / n))`` with the effective number
    of independent values ``n' = n (1 - r) / (1 + r)``; 1 where neighbours are not alike.

    Examples
    --------
    >>> block_length(np.array([1.0, -1.0] * 20))
    1
    """
    n = len(series)
    off = series - series.mean()
    variance = float(off @ off)
    r = min(max(float(off[1:] @ off[:-1]) / variance, 0.0), 0.99) if variance > 0 else 0.0
    exponent = 2 / 3 * (1 - (1 - r) / (1 + r))
    length = 1.0
    for _ in range(100):  # the right side falls as l rises: halfway steps settle
        length = (length + (n - length + 1) ** exponent) / 2
    return max(1, min(round(length), n // 2))


def rmse_intervals(
    squares: dict[str, Array], weights: Array, baseline: str | None, *, ordered: bool
) -> dict[str, dict[str, Interval]]:
    """Intervals of the RMSE of each method, and of its ratio to a baseline's.

    Parameters
    ----------
    squares : dict of str to ndarray (unit,)
        Sum of weighted squared errors of each method in each unit (a time, or a tile of a raster).
    weights : ndarray (unit,)
        Sum of weights of each unit; units without weight do not count.
    baseline : str, optional
        The method that others are divided by.
    ordered : bool
        Whether neighbouring units are alike, as times are: they are then drawn in blocks.

    Returns
    -------
    dict
        ``found[method]["rmse"]`` and ``found[method]["ratio"]``; empty of fewer than `FEWEST` units.
    """
    used = weights > 0
    count = int(used.sum())
    if count < FEWEST:
        return {}
    sums = np.stack([weights[used], *(each[used] for each in squares.values())])
    length = max(block_length(each / sums[0]) for each in sums[1:]) if ordered else 1
    blocks = round(count / length)
    drawn, tail = _draw_sums(sums, length, blocks), _tail(blocks)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = dict(zip(squares, np.sqrt(drawn[1:] / drawn[0]), strict=True))
        found = {name: {"rmse": _ends(each, tail)} for name, each in errors.items()}
        for name, each in errors.items():
            if baseline not in (None, name):
                found[name]["ratio"] = _ends(each / errors[baseline], tail)
    finite = {
        name: {m: ends for m, ends in own.items() if all(map(math.isfinite, ends))} for name, own in found.items()
    }
    return {name: own for name, own in finite.items() if own}


def _draw_sums(sums: Array, length: int, blocks: int) -> Array:
    """Sums over the blocks of each replicate: from ``(sum, unit)`` to ``(sum, replicate)``."""
    running = np.concatenate([np.zeros((len(sums), 1)), sums.cumsum(1)], 1)
    each = running[:, length:] - running[:, :-length]
    draws = np.random.default_rng(SEED)
    result = np.zeros((len(sums), REPLICATES))
    for i in range(REPLICATES):
        result[:, i] = each[:, draws.integers(each.shape[1], size=blocks)].sum(1)
    return result


def _tail(blocks: int) -> float:
    """Share of the replicates beyond each end: that of Student's t of so many blocks, in the normal distribution.

    The quantile of t is expanded in that of the normal distribution (Abramowitz and Stegun 1964, 26.7.5).
    """
    normal, free = NormalDist(), blocks - 1
    z = normal.inv_cdf((1 + LEVEL) / 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return normal.cdf(-t * math.sqrt(blocks / free))


def _ends(replicates: Array, tail: float) -> Interval:
    low, high = np.quantile(replicates, (tail, 1 - tail))
    return float(low), float(high)
