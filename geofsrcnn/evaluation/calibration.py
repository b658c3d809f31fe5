"""How well expected errors fit true ones: their ratio, their order, how many true ones lie within so many expected.

Expected absolute errors are taken for the scale of a Laplace distribution: half of the true errors should lie within
``ln 2`` of them, nine in ten within ``ln 10``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array, Facts, Mask
from geofsrcnn.evaluation.scores import log_ratios

SAMPLE = 50_000
"""Cells of a field, evenly spread, that order and reliability are judged by."""

BINS = 10
"""Points of a reliability diagram: the cells, by their expected errors, in so many groups of the same number."""

STEPS = 50
"""Points of a sparsification curve."""


@dataclass(frozen=True)
class Calibration(Facts):
    """Expected absolute errors beside true ones, over the cells of a field.

    Parameters
    ----------
    ratio : float
        Mean expected error divided by the mean true one; 1 is right, below 1 is too sure.
    rank : float
        Spearman's correlation of expected and true errors.
    sparsification : float
        Area between the sparsification curves of the expected and of the true errors (AUSE, Ilg et al. 2018): the mean
        error, as a share of that of all cells, of what is left where the cells that are expected to be worst are left
        out, averaged over all shares that are left out; less the same in the order of the true errors. 0 is best.
    within_half, within_ninety : float
        Shares of true errors within ``ln 2`` and ``ln 10`` of the expected: 0.5 and 0.9 are right.
    expected, true : tuple of float
        Mean expected and mean true error of groups of cells, by their expected errors.
    cells : int
        Cells that were compared.
    """

    ratio: float
    rank: float
    sparsification: float
    within_half: float
    within_ninety: float
    expected: tuple[float, ...]
    true: tuple[float, ...]
    cells: int


@dataclass(frozen=True)
class Reliability(Facts):
    """Mean expected and mean true error of groups of cells, by their expected errors."""

    expected: tuple[float, ...]
    true: tuple[float, ...]


class Fit:
    """Expected and true errors of a field, gathered part by part."""

    def __init__(self) -> None:
        self._parts: list[tuple[Array, Array]] = []

    def add(self, expected: Array, true: Array, where: Mask) -> None:
        """Take in some cells, those of `where`."""
        self._parts.append((expected[where].astype(np.float32), true[where].astype(np.float32)))

    def finish(self) -> Calibration | None:
        """Compare them; None if there are none, or all true errors are 0."""
        expected, true = self._joined()
        return calibration(expected, true, np.ones(true.shape, bool))

    def reliability(self) -> Reliability:
        """Group them."""
        return _group(*(each.astype(np.float64) for each in self._joined()))

    def _joined(self) -> tuple[Array, Array]:
        empty = np.zeros(0, np.float32)
        expected, true = (np.concatenate(each) for each in zip((empty, empty), *self._parts, strict=True))
        return expected, true


def _group(expected: Array, true: Array) -> Reliability:
    """Group cells by their expected errors, `BINS` groups of the same number."""
    by_expected = np.argsort(expected, kind="stable")
    groups = [part for part in np.array_split(by_expected, BINS) if part.size]
    means = (tuple(float(each[part].mean()) for part in groups) for each in (expected, true))
    return Reliability(*means)


def calibration(expected: Array, true: Array, where: Mask) -> Calibration | None:
    """Compare expected absolute errors with true ones over the cells of `where`; None if all true ones are 0.

    Parameters
    ----------
    expected, true : ndarray
        Of the same shape and units, at or above 0.
    where : ndarray of bool
        Cells that count.
    """
    s, e = expected[where].astype(np.float64), true[where].astype(np.float64)
    if not e.size or not e.any():
        return None
    order = np.random.default_rng(0).permutation(s.size)[:SAMPLE]
    some_s, some_e = s[order], e[order]
    groups = _group(some_s, some_e)
    return Calibration(
        ratio=float(s.mean() / e.mean()),
        rank=rank_correlation(some_s, some_e),
        sparsification=sparsification(some_s, some_e) - sparsification(some_e, some_e),
        within_half=float((e <= math.log(2) * s).mean()),
        within_ninety=float((e <= math.log(10) * s).mean()),
        expected=groups.expected,
        true=groups.true,
        cells=int(s.size),
    )


def rank_correlation(a: Array, b: Array) -> float:
    """Spearman's correlation; ties have the mean of their ranks. 0 where one of them is constant."""
    ranks = [_ranks(each) for each in (a, b)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = math.prod(float(np.sqrt((d**2).sum())) for d in deviations)
    return float((deviations[0] * deviations[1]).sum() / norm) if norm else 0.0


def _ranks(values: Array) -> Array:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks: Array = (last - (count - 1) / 2)[place.ravel()]
    return ranks


def sparsification(order: Array, true: Array) -> float:
    """Area under the sparsification curve of true errors, the largest of `order` left out first (Ilg et al. 2018)."""
    rising = true[np.argsort(order, kind="stable")]
    sums = np.cumsum(rising)
    left = np.maximum((rising.size * (1 - np.arange(STEPS) / STEPS)).astype(int), 1)
    return float((sums[left - 1] / left).mean() / true.mean())


def spread_of_ratios(ratios: Sequence[float]) -> tuple[float, float]:
    """Geometric mean of ratios of fields, and the standard deviation of their logarithms."""
    logs = log_ratios(ratios)
    return float(np.exp(logs.mean())), float(logs.std())
