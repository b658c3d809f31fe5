"""Distributions against those of scipy, and their CRPS against its integral."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, stats

from geofsrcnn.pairs.distributions import BernoulliGamma, Gaussian, gamma_quantile

GAUSSIAN = Gaussian(np.array([1.0, -2.0, 280.0]), np.array([0.5, 3.0, 1.2]))
RAIN = BernoulliGamma(np.array([0.02, 2.0, 9.0]), np.array([0.05, 0.6, 0.99]), np.array([0.35, 0.9, 6.5]))


def amounts(i: int):
    """The gamma distribution of the amounts of a cell of RAIN."""
    chance, shape = RAIN.chance[i], RAIN.shape[i]
    return stats.gamma(shape, scale=RAIN.mean[i] / chance / shape)


def integral(share_below, truth: float, low: float, high: float) -> float:
    """CRPS as it is defined: the integral of (F(x) - [x >= truth])^2."""
    cuts = sorted({low, high, *(c for c in (truth, 0.0) if low < c < high)})
    ends = itertools.pairwise(cuts)
    square = lambda x: (share_below(x) - (x >= truth)) ** 2
    return sum(integrate.quad(square, a, b, limit=400)[0] for a, b in ends)


def test_gamma_quantiles_are_those_of_scipy():
    """Over shapes from 0.1 to 60 and shares near 0 and 1; of no share 0, and what is missing stays so."""
    rng = np.random.default_rng(0)
    shape, share = np.exp(rng.uniform(-2.3, 4.1, 5000)), rng.uniform(0, 1, 5000)
    share[:3] = 1e-9, 1 - 1e-9, 0.5
    assert np.allclose(gamma_quantile(shape, share), stats.gamma.ppf(share, shape), rtol=1e-7, atol=0)
    assert gamma_quantile(np.array([0.5]), np.array([0.0])).tolist() == [0]
    assert np.isnan(gamma_quantile(np.array([np.nan, 1.0]), np.array([0.5, np.nan]))).all()


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_quantiles_and_shares(i, share):
    """Gaussian ones are scipy's; of rain, those of zeros and amounts together."""
    gaussian = stats.norm(GAUSSIAN.mean[i], GAUSSIAN.std[i])
    assert GAUSSIAN.quantile(share)[i] == pytest.approx(gaussian.ppf(share), rel=1e-9)
    assert GAUSSIAN.share_below(0.7)[i] == pytest.approx(gaussian.cdf(0.7), abs=1e-12)
    assert GAUSSIAN.chance_of(0.7)[i] == pytest.approx(gaussian.sf(0.7), abs=1e-12)
    dry = 1 - RAIN.chance[i]
    wanted = 0.0 if share <= dry else amounts(i).ppf((share - dry) / RAIN.chance[i])
    assert RAIN.quantile(share)[i] == pytest.approx(wanted, rel=1e-6, abs=1e-9)
    assert RAIN.share_below(0.7)[i] == pytest.approx(dry + RAIN.chance[i] * amounts(i).cdf(0.7), abs=1e-9)
    assert RAIN.chance_of(1.0)[i] == pytest.approx(RAIN.chance[i] * amounts(i).sf(1.0), abs=1e-9)
    assert RAIN.chance_of(0)[i] == RAIN.chance[i]
    assert RAIN.share_below(-0.1)[i] == 0


def test_quantiles_keep_to_limits():
    """Of Gaussian ones both, of amounts the largest."""
    limited = Gaussian(np.array([95.0, 2.0]), np.array([10.0, 10.0]), (0.0, 100.0))
    assert limited.quantile(0.9).tolist() == [100.0, pytest.approx(14.8155, abs=1e-4)]
    assert limited.quantile(0.1)[1] == 0
    assert BernoulliGamma(RAIN.mean, RAIN.chance, RAIN.shape, 3.0).quantile(0.99).max() == 3


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("truth", [0.0, 0.1, 2.0, 15.0])
def test_crps_is_its_integral(i, truth):
    """For zero, and for amounts that are likely and unlikely."""
    dry, chance = 1 - RAIN.chance[i], RAIN.chance[i]
    share = lambda x: (x >= 0) * (dry + chance * amounts(i).cdf(x))
    wanted = integral(share, truth, -1.0, 200.0)
    assert RAIN.crps(np.full(3, truth))[i] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    gaussian = stats.norm(GAUSSIAN.mean[i], GAUSSIAN.std[i])
    truth += float(gaussian.mean())
    wanted = integral(gaussian.cdf, truth, truth - 40, truth + 40)
    assert GAUSSIAN.crps(np.full(3, truth))[i] == pytest.approx(wanted, rel=1e-4, abs=1e-6)


def test_moments_of_rain():
    """Mean and variance, zeros among the values, as drawn ones have them."""
    rng = np.random.default_rng(1)
    for i in range(3):
        drawn = amounts(i).rvs(400_000, random_state=rng) * (rng.uniform(size=400_000) < RAIN.chance[i])
        assert drawn.mean() == pytest.approx(RAIN.mean[i], rel=0.03)
        assert drawn.var() == pytest.approx(RAIN.variance[i], rel=0.1)


@pytest.mark.parametrize("i", range(3))
def test_expected_errors(i):
    """Mean absolute differences from the mean, as integrals have them."""
    gaussian = stats.norm(GAUSSIAN.mean[i], GAUSSIAN.std[i])
    assert GAUSSIAN.expected_error[i] == pytest.approx(gaussian.expect(lambda x: abs(x - GAUSSIAN.mean[i])), rel=1e-6)
    mean, chance = RAIN.mean[i], RAIN.chance[i]
    below, _ = integrate.quad(lambda x: (mean - x) * amounts(i).pdf(x), 0, mean, limit=400)
    assert RAIN.expected_error[i] == pytest.approx(2 * ((1 - chance) * mean + chance * below), rel=1e-5)


@pytest.mark.parametrize("distribution", [GAUSSIAN, RAIN], ids=["gaussian", "rain"])
def test_mixtures_have_mean_and_variance_of_all(distribution):
    """Mean of variances and variance of means; those that agree are themselves."""
    mixed = distribution.mix()
    assert mixed.mean == pytest.approx(distribution.mean.mean())
    assert mixed.variance == pytest.approx(distribution.variance.mean() + distribution.mean.var())
    one = type(distribution)(*(np.repeat(getattr(distribution, n)[None], 3, 0) for n in list(vars(distribution))[:-1]))
    assert np.allclose(one.mix().variance, distribution.variance, rtol=1e-12)
    if distribution is RAIN:
        assert mixed.chance == pytest.approx(RAIN.chance.mean())
