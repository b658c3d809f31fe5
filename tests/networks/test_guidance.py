"""Local regression on a guide, against numpy's least squares, and where it must not blow up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from geofsrcnn.networks.guidance import LARGEST, RADII, GuideBlock, regress

FACTOR = 2

RIDGE = 1e-3


def case(bands=2, size=5, seed=0, related=0.8):
    """A field of cells, a guide of which the first band has to do with it, and weights of 1."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(bands, size, size))
    x = related * means[0] + (1 - related) * rng.normal(size=(size, size))
    details = rng.normal(size=(bands, FACTOR**2, size, size))
    return x, means, details - details.mean(1, keepdims=True), np.ones((size, size))


def block(means, details):
    known = torch.ones(means.shape[1:], dtype=torch.bool)
    return GuideBlock(torch.from_numpy(means), torch.from_numpy(details), known)


def told(x, means, details, weights, radius=2):
    """Details by the module under test."""
    return regress(torch.from_numpy(x), block(means, details), torch.from_numpy(weights), radius).numpy()


def reference(x, means, details, weights):
    """Details of the cell in the middle, by least squares with the ridge as further equations."""
    counts, middle = weights > 0, x.shape[0] // 2
    n, bands = int(counts.sum()), len(means)
    y, design = x[counts], means[:, counts].T
    y, design = y - y.mean(), design - design.mean(0)
    ridge = np.sqrt(n * RIDGE * (design.var(0) + (details[:, :, counts] ** 2).mean((1, 2))))
    slopes = np.linalg.lstsq(np.vstack([design, np.diag(ridge)]), np.r_[y, np.zeros(bands)], rcond=None)[0]
    explained = slopes @ (design * y[:, None]).mean(0) / y.var()
    share = max(0.0, 1 - bands / (n - bands - 1) * (1 - explained) / explained)
    found = share * np.einsum("k,ks->s", slopes, details[:, :, middle, middle])
    size, most = np.sqrt((found**2).mean()), LARGEST * y.std()
    return found * min(1.0, most / size)


@pytest.mark.parametrize(("bands", "size", "related"), list(itertools.product([1, 2, 5], [5, 9, 15], [0.95, 0.3])))
def test_a_window_is_regressed_as_least_squares_does(bands, size, related):
    """Slopes, shrinking and bounds of a single window, some cells of which do not count."""
    x, means, details, weights = case(bands, size, seed=bands, related=related)
    weights[np.random.default_rng(1).random(weights.shape) < 0.2] = 0
    expected = reference(x, means, details, weights)
    found = told(x, means, details, weights, size // 2)
    assert found.shape == (FACTOR**2, 1, 1)
    assert np.abs(expected).max() > 1e-3 or related < 0.5
    assert np.abs(found[:, 0, 0] - expected).max() <= 1e-9 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("radius", RADII)
def test_each_window_is_on_its_own(radius):
    """A larger field gives what each of its windows gives."""
    size = 2 * radius + 1
    x, means, details, weights = case(2, size + 3, seed=4)
    found = told(x, means, details, weights, radius)
    assert found.shape == (FACTOR**2, 4, 4)
    for y, across in itertools.product(range(4), repeat=2):
        part = (..., slice(y, y + size), slice(across, across + size))
        assert np.allclose(found[:, y, across], reference(x[part], means[part], details[part], weights[part]))


def test_units_of_the_field_pass_through_and_those_of_the_guide_do_not_matter():
    x, means, details, weights = case(2, 11)
    plain = told(x, means, details, weights)
    units = np.array([-300.0, 1e-6])
    other = told(x, units[:, None, None] * means, units[:, None, None, None] * details, weights)
    assert np.abs(other - plain).max() < 1e-9
    for scale in (1e30, -4.0, 1e-30):
        assert np.abs(told(scale * x, means, details, weights) / scale - plain).max() < 1e-9
    assert np.abs(told(x + 1000.0, means - 500.0, details, weights) - plain).max() < 1e-6


def test_rubbish_where_nothing_counts_does_not_matter():
    """Of the field and of the guide's means alike."""
    x, means, details, weights = case(2, 11)
    weights[3:6, 2:5] = 0
    rubbish = np.where(weights > 0, x, 1e12), np.where(weights > 0, means, -1e9)
    assert np.array_equal(told(*rubbish, details, weights), told(x, means, details, weights))


@pytest.mark.parametrize("radius", RADII)
def test_chance_is_shrunk(radius):
    """Of an unrelated guide next to nothing is left, the less the larger the window; of a related one nearly all."""
    found = {}
    for related in (0.0, 0.97):
        x, means, details, weights = case(3, 80, seed=2, related=related)
        found[related] = np.sqrt((told(x, means, details, weights, radius) ** 2).mean()) / x.std()
    assert found[0.0] < {2: 0.45, 4: 0.2, 7: 0.1}[radius]
    assert 0.7 < found[0.97] < 1.3


ODD = {
    "constant guide": lambda x, means, details: (x, 0 * means + 7.0, 0 * details),
    "constant guide with details": lambda x, means, details: (x, 0 * means + 7.0, details),
    "constant field": lambda x, means, details: (0 * x + 3.0, means, details),
    "constant field and guide": lambda x, means, details: (0 * x, 0 * means, 0 * details),
    "twice the same band": lambda x, means, details: (x, means[[0, 0]], details[[0, 0]]),
    "nearly the same band": lambda x, means, details: (x, means[[0, 0]] * [[[1]], [[1 + 1e-9]]], details[[0, 0]]),
    "opposite bands": lambda x, means, details: (x, means[[0, 0]] * [[[1]], [[-1]]], details[[0, 0]]),
    "saturated": lambda x, means, details: (x, np.minimum(means, -0.8), details * (means < -0.8)[:, None]),
    "steep": lambda x, means, details: (x, means * 1e-12, details),
    "far from zero": lambda x, means, details: (x, means + 1e7, details),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("radius", RADII)
def test_nothing_blows_up(odd, radius):
    """Whatever a guide holds, details are finite and no larger than the field varies around them."""
    x, means, details, weights = case(2, 24, seed=5)
    x, means, details = ODD[odd](x, means, details)
    found = told(x, means, details, weights, radius)
    assert np.isfinite(found).all()
    assert np.sqrt((found**2).mean(0)).max() <= LARGEST * x.std() * 2 + 1e-12
    if "constant" in odd:
        assert np.abs(found).max() <= 1e-6


def test_bands_that_say_the_same_share_what_they_explain():
    """A band given twice tells what it tells alone, but for the ridge and the odds of chance."""
    x, means, details, weights = case(1, 24, related=0.95)
    alone = told(x, means, details, weights, 7)
    twice = told(x, means[[0, 0]], details[[0, 0]], weights, 7)
    assert np.abs(twice - alone).max() < 0.02 * np.abs(alone).max()


@pytest.mark.parametrize("known", [0, 1, 2, 3])
def test_too_few_cells_tell_nothing(known):
    """As many as there are slopes and a mean fit anything."""
    x, means, details, weights = case(2, 5)
    weights[:] = 0
    weights.flat[[3, 8, 20][:known]] = 1
    assert not told(x, means, details, weights).any()
