"""Distributions of fine values: a Gaussian, and for amounts with many zeros a chance and a gamma (Bernoulli-gamma).

Arrays of one shape each; what is NaN in one stays NaN in all that follows from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from geofsrcnn._types import Array
from geofsrcnn.evaluation.distributions import Distribution as ScoredDistribution

LIMITLESS = (-math.inf, math.inf)


class Distribution(ScoredDistribution, Protocol):
    """A distribution in each cell, with all that outputs are made of."""

    def quantile(self, share: float) -> Array:
        """The value that this share lies below, within limits."""

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score of each value (Gneiting, Raftery 2007)."""

    def mix(self) -> Distribution:
        """Mix those along the first axis, equally likely: mean of variances and variance of means."""


@dataclass(frozen=True)
class Gaussian:
    """Gaussian distributions.

    Parameters
    ----------
    mean, std : ndarray
        In the values' units; `std` above 0.
    limits : tuple of float
        Smallest and largest value, which quantiles keep to.
    """

    mean: Array
    std: Array
    limits: tuple[float, float] = LIMITLESS

    @property
    def variance(self) -> Array:
        """Square of the standard deviation."""
        return np.square(self.std)

    @property
    def expected_error(self) -> Array:
        """Mean absolute difference from the mean."""
        return self.std * math.sqrt(2 / math.pi)

    def share_below(self, value: Array | float) -> Array:
        """Chance of at most this value."""
        return _of_torch(torch.special.ndtr, (value - self.mean) / self.std)

    def chance_of(self, least: float) -> Array:
        """Chance of at least this value."""
        return _of_torch(torch.special.ndtr, (self.mean - least) / self.std)

    def quantile(self, share: float) -> Array:
        """The value that this share lies below, within limits."""
        at = float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
        result: Array = np.clip(self.mean + at * self.std, *self.limits)
        return result

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score, limits not counted (Gneiting et al. 2005, eq. 5)."""
        z = (truth - self.mean) / self.std
        density = np.exp(-np.square(z) / 2) / math.sqrt(2 * math.pi)
        share = _of_torch(torch.special.ndtr, z)
        result: Array = self.std * (z * (2 * share - 1) + 2 * density - 1 / math.sqrt(math.pi))
        return result

    def mix(self) -> Gaussian:
        """Mix those along the first axis, equally likely: mean of variances and variance of means."""
        variance = np.mean(self.variance, 0) + np.var(self.mean, 0)
        return replace(self, mean=np.mean(self.mean, 0), std=np.sqrt(variance))


@dataclass(frozen=True)
class BernoulliGamma:
    """Zero, or with a chance an amount of a gamma distribution (Cannon 2008).

    Parameters
    ----------
    mean : ndarray
        Of all values, zeros among them; above 0.
    chance : ndarray
        Of more than 0; between 0 and 1.
    shape : ndarray
        Of the gamma distribution of the amounts.
    high : float
        Largest value, which quantiles keep to.
    """

    mean: Array
    chance: Array
    shape: Array
    high: float = math.inf

    @property
    def scale(self) -> Array:
        """Scale of the gamma distribution, whose mean is ``shape * scale``."""
        result: Array = self.mean / (self.chance * self.shape)
        return result

    @property
    def variance(self) -> Array:
        """Variance of all values, zeros among them."""
        result: Array = np.square(self.mean) * ((1 + 1 / self.shape) / self.chance - 1)
        return result

    @property
    def expected_error(self) -> Array:
        """Mean absolute difference from the mean: twice that of what lies below it, which is as far off in all."""
        below = gamma_share(self.shape + 1, self.mean / self.scale)  # the share of all amounts that lies below
        result: Array = 2 * self.mean * (self.share_below(self.mean) - below)
        return result

    def share_below(self, value: Array | float) -> Array:
        """Chance of at most this value."""
        amounts = gamma_share(self.shape, np.maximum(value, 0) / self.scale)
        result: Array = np.where(np.less(value, 0), 0.0, 1 - self.chance + self.chance * amounts)
        return result

    def chance_of(self, least: float) -> Array:
        """Chance of at least this value; of more than 0 where it is 0."""
        result: Array = self.chance * (1 - gamma_share(self.shape, max(least, 0.0) / self.scale))
        return result

    def quantile(self, share: float) -> Array:
        """The value that this share lies below, within limits; 0 where zeros alone are so many."""
        wanted = 1 - (1 - share) / self.chance
        amounts = gamma_quantile(self.shape, np.maximum(wanted, 0)) * self.scale
        result: Array = np.minimum(amounts, self.high)
        return result

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score.

        ``E|X - y| - E|X - X'| / 2``, put together from those of the gamma distribution (Scheuerer and Moeller 2015)
        and of zero.
        """
        p, a, scale = self.chance, self.shape, self.scale
        y = np.maximum(truth, 0) / scale
        off = y * (2 * gamma_share(a, y) - 1) - a * (2 * gamma_share(a + 1, y) - 1)
        apart = np.exp(_of_torch(torch.lgamma, a + 0.5) - _of_torch(torch.lgamma, a)) / math.sqrt(math.pi)
        result: Array = scale * ((1 - p) * y + p * off - p * (1 - p) * a - p**2 * apart)
        result += np.maximum(-truth, 0)
        return result

    def mix(self) -> BernoulliGamma:
        """Mix those along the first axis, equally likely, into one of their chance, mean and variance."""
        mean, chance = np.mean(self.mean, 0), np.mean(self.chance, 0)
        variance = np.mean(self.variance, 0) + np.var(self.mean, 0)
        of_amounts = chance * (variance / np.square(mean) + 1) - 1  # their variance in squares of their mean
        return replace(self, mean=mean, chance=chance, shape=1 / of_amounts)


def gamma_share(shape: Array, value: Array) -> Array:
    """Share of the gamma distribution of this shape and scale 1 below values at or above 0."""
    shape, value = np.broadcast_arrays(shape, value)
    return _of_torch(torch.special.gammainc, shape, value)


STEPS = 12
"""Steps in which a quantile is found, at most."""


def gamma_quantile(shape: Array, share: Array) -> Array:
    """Quantiles of gamma distributions of these shapes and scale 1, by Halley's method (Press et al. 2007, 6.2.1).

    Examples
    --------
    >>> gamma_quantile(np.array([1.0, 2.0]), np.array([0.5, 0.0])).round(6).tolist()
    [0.693147, 0.0]
    """
    a, p = (np.asarray(each, np.float64) for each in np.broadcast_arrays(shape, share))
    log_gamma = _of_torch(torch.lgamma, a)
    x = _first_guess(a, p)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(STEPS):
            error = gamma_share(a, x) - p
            step = error / np.exp((a - 1) * np.log(x) - x - log_gamma)
            step /= 1 - 0.5 * np.minimum(1.0, step * ((a - 1) / x - 1))
            moved = np.where(x - step > 0, x - step, x / 2)
            settled = (x <= 0) | ~(np.abs(moved - x) > 1e-10 * x)
            x = np.where((x > 0) & np.isfinite(moved), moved, x)
            if settled.all():
                break
    result: Array = np.where(np.isnan(a) | np.isnan(p), np.nan, np.where(p > 0, x, 0.0))
    return result


def _first_guess(a: Array, p: Array) -> Array:
    """Guess quantiles: Wilson and Hilferty's for shapes above 1, of power and exponential tails below."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        normal = _of_torch(torch.special.ndtri, p)
        large = np.maximum(1e-3, a * (1 - 1 / (9 * a) + normal / (3 * np.sqrt(a))) ** 3)
        middle = 1 - a * (0.253 + a * 0.12)
        small = np.where(p < middle, (p / middle) ** (1 / a), 1 - np.log(1 - (p - middle) / (1 - middle)))
    result: Array = np.where(a > 1, large, small)
    return result


def _of_torch(function: Callable[..., torch.Tensor], *values: Array) -> Array:
    """Apply a special function of torch, which holds those that numpy lacks, in float64."""
    tensors = [torch.from_numpy(np.array(each, np.float64)) for each in values]
    result: Array = function(*tensors).numpy()
    return result
