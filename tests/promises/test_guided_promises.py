"""The promises for fields that follow a guide, through the public function, for networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.errors import InputError, ModelError, UsageError
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.guided import Correction, Guided, GuidedConfig
from geofsrcnn.networks.inference import Network
from geofsrcnn.values.blocks import block_mean, repeat
from tests.support.networks import TINY, random_model
from tests.support.strategies import masks, seeds, tile_sizes

factors = st.sampled_from([2, 3])


def guided(factor, seed=0):
    """A model with random weights that follows guides, and the same without."""
    alone = Network(random_model(seed, factor=factor, conserving="mean", **TINY))
    torch.manual_seed(seed)
    correction = Correction(GuidedConfig(factor, d=6, s=4, m=1))
    with torch.no_grad():
        for weight in correction.parameters():
            weight.copy_(torch.randn_like(weight) * 0.2)
    follows = Guided(alone, correction)
    return [Model("random", factor, "cpu", "float32", (each,)) for each in (follows, alone)]


def run(model, coarse, guide, **options):
    return upscale_array(coarse, model.factor, model, guide=guide, threads=1, **options)


def scene(factor, seed, shape=(14, 17)):
    """A coarse field, and a guide of two bands of which one has to do with it."""
    rng = np.random.default_rng(seed)
    fine = ndimage.gaussian_filter(rng.normal(size=[n * factor for n in shape]), 1.0)
    other = rng.normal(size=fine.shape)
    return block_mean(fine, factor), np.stack([3.0 * fine + 0.1 * other + 7.0, other])


def local_range(coarse, factor, halo):
    """Largest minus smallest coarse value within the receptive field, for each fine cell."""
    size = 2 * halo + 1
    spread = ndimage.maximum_filter(coarse, size) - ndimage.minimum_filter(coarse, size)
    return repeat(spread, factor)


@given(factors, seeds)
def test_a_guide_matters(factor, seed):
    """Results follow the guide: the other tests are not about a network that looks away."""
    coarse, guide = scene(factor, seed)
    model, alone = guided(factor, seed % 5)
    plain = upscale_array(coarse, factor, alone, threads=1)
    assert np.abs(run(model, coarse, guide) - plain).max() > 1e-3 * np.ptp(coarse)
    assert np.allclose(upscale_array(coarse, factor, model, threads=1), plain, atol=1e-6)


@given(factors, st.tuples(*[st.floats(-50, 50)] * 4), st.sampled_from([0.0, -300.0, 101325.0]), seeds)
def test_planes_under_planes_stay_planes(factor, slopes, offset, seed):
    """In the right place against both grids: a plane under a guide that is one comes out as that plane."""
    model, _ = guided(factor, seed % 5)
    size = 2 * model.halo + 6
    y, x = ((np.arange(size * factor) + 0.5) / factor - 0.5 for _ in range(2))
    fine = offset + slopes[0] * y[:, None] + slopes[1] * x[None, :]
    guide = 40.0 + slopes[2] * y[:, None] + slopes[3] * x[None, :]
    found = run(model, block_mean(fine, factor), guide)
    inside = (slice(factor * model.halo, -factor * model.halo),) * 2
    rounding = 1e-4 * (abs(slopes[0]) + abs(slopes[1])) + 1e-9 * abs(offset)
    assert np.abs(found - fine)[inside].max() <= rounding + 1e-9


@given(factors, tile_sizes, st.integers(1, 3), seeds)
def test_tiled_is_whole(factor, tile_size, threads, seed):
    """Any tile size and number of threads give the same to 1e-5 of the local range."""
    coarse, guide = scene(factor, seed, (40, 33))
    model, _ = guided(factor, seed % 5)
    tile_size = max(tile_size, model.halo)
    options = {"guide": guide, "model": model}
    whole = upscale_array(coarse, factor, tile_size=1000, threads=1, **options)
    tiled = upscale_array(coarse, factor, tile_size=tile_size, threads=threads, **options)
    assert (np.abs(tiled - whole) <= 1e-5 * local_range(coarse, factor, model.halo) + 1e-9).all()


@given(factors, st.floats(1e-3, 1e3), st.sampled_from([0.0, -5.0, 1e5]), seeds)
def test_units_of_the_field_pass_through(factor, scale, offset, seed):
    """``U(a X + b, G) = a U(X, G) + b``."""
    coarse, guide = scene(factor, seed)
    model, _ = guided(factor, seed % 5)
    expected = scale * run(model, coarse, guide) + offset
    found = run(model, scale * coarse + offset, guide)
    assert np.abs(found - expected).max() <= 1e-4 * scale * np.ptp(coarse) + 1e-9 * abs(offset)


@given(factors, st.sampled_from([-1e3, -1.0, 1e-3, 250.0]), st.sampled_from([0.0, 1e4]), seeds)
def test_units_of_the_guide_do_not_matter(factor, scale, offset, seed):
    """A guide in other units, or upside down, tells the same."""
    coarse, guide = scene(factor, seed)
    model, _ = guided(factor, seed % 5)
    found = run(model, coarse, guide * np.array([scale, 1.0])[:, None, None] + offset)
    assert np.abs(found - run(model, coarse, guide)).max() <= 1e-4 * np.ptp(coarse)


@given(factors, seeds, st.sampled_from(["float32", "float64"]))
def test_block_means_are_kept(factor, seed, dtype):
    """Nothing is made up on average."""
    coarse, guide = scene(factor, seed)
    coarse = (1000 + coarse).astype(dtype)
    model, _ = guided(factor, seed % 5)
    found = run(model, coarse, guide)
    assert found.dtype == dtype
    assert np.abs(block_mean(found, factor) - coarse).max() <= (1e-3 if dtype == "float32" else 1e-5)


@given(factors, seeds, st.data())
def test_missing_cells_stay_missing_and_harm_nothing(factor, seed, data):
    """A fine cell is valid where its coarse cell is, whatever the guide lacks; rubbish under either does not matter."""
    coarse, guide = scene(factor, seed)
    model, alone = guided(factor, seed % 5)
    valid = data.draw(masks(coarse.shape))
    holes = np.random.default_rng(seed).random(guide.shape[1:]) < 0.05
    found = []
    for rubbish in (1e30, -7.0):
        beside = np.ma.masked_array(np.where(holes, rubbish, guide), np.broadcast_to(holes, guide.shape))
        found.append(run(model, np.where(valid, coarse, rubbish), beside, valid=valid))
    known = repeat(valid, factor)
    assert np.isfinite(found[0][known]).all()
    assert np.array_equal(found[0][known], found[1][known])
    without = repeat(block_mean(np.where(holes, np.nan, 0.0), factor), factor)
    plain = upscale_array(coarse, factor, alone, valid=valid, threads=1)
    there = known & np.isnan(without)
    assert np.abs(found[0] - plain)[there].max(initial=0) <= 1e-5 * np.ptp(coarse)


def test_nan_cells_come_out_as_nan_under_a_guide():
    """As they do without one."""
    coarse, guide = scene(2, 0)
    coarse[3, 4] = np.nan
    model, _ = guided(2)
    assert np.array_equal(np.isnan(run(model, coarse, guide)), repeat(np.isnan(coarse), 2))


def test_a_range_is_kept_under_a_guide():
    """With block means kept within it."""
    coarse, guide = scene(3, 1)
    coarse = np.clip(coarse, 0, None)
    model, _ = guided(3)
    found = run(model, coarse, guide, value_range=(0, 10))
    assert found.min() >= 0
    assert np.abs(block_mean(found, 3) - coarse).max() <= 1e-5


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"guide": np.ones((5, 5))}, InputError, "guide must be on the fine grid"),
        ({"guide": np.ones((0, 28, 34))}, InputError, "guide must be on the fine grid"),
        ({"guide": np.ones((28, 34)), "error": True}, UsageError, "give no expected error"),
        ({"guide": np.ones((28, 34)), "model": "nearest"}, ModelError, "cannot follow a guide"),
    ],
)
def test_guides_that_cannot_be_are_refused(options, error, words):
    coarse, _ = scene(2, 0)
    with pytest.raises(error, match=words):
        upscale_array(coarse, 2, **options)
