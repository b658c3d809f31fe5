"""Simple methods that follow a guide, and measures of sharpened imagery, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geofsrcnn.evaluation.guided import ergas, fit_guide_to, high_pass, spectral_angle, substitute

ALL = np.ones((6, 7), bool)


def scene(seed=0):
    """A field that is twice one band of a guide less half of another, with details of both."""
    rng = np.random.default_rng(seed)
    means, details = rng.normal(size=(2, 6, 7)), rng.normal(size=(2, 4, 6, 7))
    return 2 * means[0] - 0.5 * means[1] + 30, means, details


def test_a_mix_of_bands_is_found():
    coarse, means, _ = scene()
    assert np.allclose(fit_guide_to(coarse, means, ALL), [2, -0.5])


@pytest.mark.parametrize("unit", [1e30, 1e-30, -4.0])
def test_units_of_the_guide_do_not_matter(unit):
    """Slopes are in units of the field by units of each band."""
    coarse, means, _ = scene()
    found = fit_guide_to(coarse, means * np.array([unit, 1.0])[:, None, None] + np.array([0, 1e6])[:, None, None], ALL)
    assert np.allclose(found * [unit, 1.0], [2, -0.5], rtol=1e-6)


def test_cells_that_do_not_count_have_no_say():
    coarse, means, details = scene()
    counts = ALL.copy()
    counts[2, 3] = False
    spoilt = np.where(counts, coarse, 1e9), np.where(counts, means, np.nan)
    assert np.allclose(fit_guide_to(*spoilt, counts), [2, -0.5])
    assert np.isfinite(high_pass(*spoilt, details, counts)).all()


def test_component_substitution_adds_the_details_of_the_mix():
    coarse, means, details = scene()
    assert np.allclose(substitute(coarse, means, details, ALL), 2 * details[0] - 0.5 * details[1])


def test_the_high_pass_filter_scales_the_mean_band_by_deviations():
    """With the sign of their correlation."""
    _, means, details = scene()
    for sign in (1, -1):
        found = high_pass(sign * 5 * means.mean(0) + 8, means, details, ALL)
        assert np.allclose(found, sign * 5 * details.mean(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("coarse", "means", "counts"),
    [
        (np.ones((6, 7)), np.ones((2, 6, 7)), ALL),
        (np.arange(42.0).reshape(6, 7), np.ones((2, 6, 7)), ALL),
        (np.ones((6, 7)), np.arange(84.0).reshape(2, 6, 7), ALL),
        (np.arange(42.0).reshape(6, 7), np.arange(84.0).reshape(2, 6, 7), ~ALL),
        (np.arange(42.0).reshape(6, 7), np.arange(84.0).reshape(2, 6, 7), np.arange(42).reshape(6, 7) == 4),
    ],
    ids=["both flat", "flat guide", "flat field", "no cell", "one cell"],
)
def test_where_nothing_can_be_told_nothing_is_added(coarse, means, counts):
    details = np.random.default_rng(0).normal(size=(2, 4, 6, 7))
    assert not high_pass(coarse, means, details, counts).any()
    assert np.abs(substitute(coarse, means, details, counts)).max() < 1e-9


def test_the_spectral_angle_by_hand():
    """0 for proportions, 90 degrees for (1, 0) against (0, 1), the mean over cells; cells of zeros have none."""
    truth = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert spectral_angle(3 * truth, truth) == pytest.approx(0, abs=1e-5)
    assert spectral_angle(truth[::-1], truth) == pytest.approx(45)
    assert math.isnan(spectral_angle(0 * truth, truth))
    assert spectral_angle(-truth, truth) == pytest.approx(180)


def test_ergas_by_hand():
    """100 / factor times the root of the mean of squared relative errors."""
    assert ergas([3.0, 8.0], [100.0, 200.0], 4) == pytest.approx(25 * math.sqrt((0.03**2 + 0.04**2) / 2))
    assert ergas([3.0], [-100.0], 2) == pytest.approx(1.5)
    assert math.isnan(ergas([1.0, 1.0], [0.0, 5.0], 2))
