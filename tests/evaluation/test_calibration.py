"""How well expected errors fit: against what SciPy gives, and errors that are known to fit or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from geofsrcnn.evaluation.calibration import calibration, rank_correlation, sparsification, spread_of_ratios


def laplace(seed=0, size=200_000):
    """Scales that vary a hundredfold, and errors drawn with them."""
    rng = np.random.default_rng(seed)
    scale = 10 ** rng.uniform(-1, 1, size)
    return scale, np.abs(rng.laplace(0, scale))


def test_errors_drawn_with_their_scale_fit():
    """Ratio and coverage are right, and so is each group of the diagram."""
    scale, error = laplace()
    fit = calibration(scale, error, np.ones(scale.shape, bool))
    assert fit.ratio == pytest.approx(1, abs=0.01)
    assert (fit.within_half, fit.within_ninety) == pytest.approx((0.5, 0.9), abs=0.005)
    assert fit.true == pytest.approx(fit.expected, rel=0.06)
    assert fit.expected == tuple(sorted(fit.expected))
    assert fit.cells == scale.size


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_too_sure_and_too_cautious(factor):
    """Half of the right errors give a ratio of a half and too few within them; the order is the same."""
    scale, error = laplace()
    right, found = (calibration(s, error, np.ones(scale.shape, bool)) for s in (scale, factor * scale))
    assert found.ratio == pytest.approx(factor * right.ratio)
    assert (found.within_half < 0.5) == (factor < 1)
    assert (found.rank, found.sparsification) == pytest.approx((right.rank, right.sparsification))


def test_rank_correlation_is_spearmans():
    """With ties, as integers have them."""
    rng = np.random.default_rng(1)
    a = rng.integers(0, 9, 5000)
    b = a + rng.integers(0, 9, 5000)
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    assert rank_correlation(a, np.zeros(5000)) == 0


def test_sparsification_is_least_in_the_right_order():
    """Right order, no order, wrong order; without any order nothing is gained."""
    error = np.random.default_rng(2).exponential(size=20_000)
    right, none, wrong = (sparsification(o, error) for o in (error, np.arange(error.size), -error))
    assert right < none < wrong
    assert none == pytest.approx(1, abs=0.03)


def test_only_cells_that_count_do():
    """Others may hold anything."""
    scale, error = laplace(size=1000)
    where = np.arange(1000) < 500
    spoilt = np.where(where, error, np.nan)
    assert calibration(scale, spoilt, where) == calibration(scale[:500], error[:500], np.ones(500, bool))


def test_a_field_without_errors_has_no_calibration():
    """Nothing to compare with."""
    assert calibration(np.ones(5), np.zeros(5), np.ones(5, bool)) is None
    assert calibration(np.ones(5), np.ones(5), np.zeros(5, bool)) is None


def test_ratios_of_fields():
    """Geometric mean, and spread in logarithms."""
    assert spread_of_ratios([0.5, 2.0]) == pytest.approx((1.0, np.log(2)))
