"""How good distributions are: their score, whether they are as wide as errors are large, how often they hold."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.evaluation.measures import INTERVALS


class Distribution(Protocol):
    """A distribution in each cell, as far as it is scored."""

    @property
    def mean(self) -> Array:
        """In the values' units."""

    @property
    def variance(self) -> Array:
        """In the square of the values' units."""

    @property
    def expected_error(self) -> Array:
        """Mean absolute difference from the mean, in the values' units."""

    def share_below(self, value: Array | float) -> Array:
        """Chance of at most this value."""

    def chance_of(self, least: float) -> Array:
        """Chance of at least this value; of more than 0 where it is 0."""

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score of each value (Gneiting, Raftery 2007)."""


class DistributionScores:
    """Scores of distributions, gathered part by part.

    Parameters
    ----------
    wet : float, optional
        The amount from which on a value is wet, where the variable is rain.
    """

    def __init__(self, wet: float | None) -> None:
        self._wet = wet
        self._sums = np.zeros(5 + len(INTERVALS))

    def add(self, distribution: Distribution, truth: Array, where: Mask, weights: Array) -> None:
        """Take in the cells of `where`; all of one shape."""
        weight, known = weights[where].astype(np.float64), np.where(where, truth, 0.0).astype(np.float64)
        parts = [
            np.ones(truth.shape),
            distribution.crps(known),
            distribution.variance,
            np.square(distribution.mean - known),
            *_held(distribution, known),
            np.zeros(truth.shape) if self._wet is None else distribution.chance_of(self._wet) - (known >= self._wet),
        ]
        self._sums += [float(weight @ part[where]) for part in parts]

    @property
    def scores(self) -> dict[str, float]:
        """CRPS, spread divided by error, shares within intervals, and the share of wet values less the truth's."""
        weight, crps, variance, squares, *held, wet = self._sums.tolist()
        found = {"crps": crps / weight}
        if squares > 0:
            found["spread_skill"] = math.sqrt(variance / squares)
        found |= {f"within_{share}": each / weight for share, each in zip(INTERVALS, held, strict=True)}
        return found if self._wet is None else {**found, "wet_chance": wet / weight}


def _held(distribution: Distribution, truth: Array) -> list[Array]:
    """Shares of each value that intervals hold: 0 or 1, and between them where a value is likely by itself, as 0.

    Such a value stands for all shares between the chance of less and that of no more: so many of these the interval
    holds as if it were drawn among them (Czado et al. 2009).
    """
    above = distribution.share_below(truth)
    below = distribution.share_below(np.nextafter(truth, -np.inf))
    width = np.maximum(above - below, np.finfo(np.float64).tiny)
    found = []
    for share in INTERVALS:
        low, high = 0.5 - share / 200, 0.5 + share / 200
        part = (np.minimum(above, high) - np.maximum(below, low)) / width
        inside = (above >= low) & (above <= high)
        found.append(np.where(width > 1e-6, np.clip(part, 0, 1), inside))
    return found
