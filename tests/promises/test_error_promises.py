"""The promises for expected errors, through the public function, for networks and heads with random weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.engine.base import Job
from geofsrcnn.engine.tile import upscale_tile
from geofsrcnn.errors import GeofsrcnnWarning, ModelError
from geofsrcnn.grids.windows import Tile, Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.inference import Network
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.cells import Cells
from tests.support.networks import TINY, random_head, random_model
from tests.support.strategies import RUBBISH, factors, fields, masks, seeds, tile_sizes


def model_with_errors(factor, seed=0):
    """A network and a head on it, ready to run."""
    network = random_model(seed, factor=factor, **TINY)
    ready = Network(network, head=random_head(network.config, seed))
    return Model("random", factor, "cpu", "float32", (ready,))


def scale_of(coarse, halo, factor):
    """Largest difference of neighbouring cells within the receptive field, for each fine cell."""
    across = [np.pad(np.abs(np.diff(coarse, axis=axis)), [(0, axis == 0), (0, axis == 1)]) for axis in (0, 1)]
    return repeat(ndimage.maximum_filter(np.maximum(*across), 2 * halo + 3, mode="nearest"), factor)


@given(factors, seeds, st.sampled_from(["float32", "float64", "int16", "uint8"]))
def test_errors_have_the_place_and_units_of_values(factor, seed, dtype):
    """One error at or above 0 for each fine cell, floating, and the values are those that come without."""
    coarse = np.random.default_rng(seed).integers(1, 200, (2, 9, 12)).astype(dtype)
    model = model_with_errors(factor)
    fine, errors = upscale_array(coarse, factor, model, error=True, threads=1)
    assert np.array_equal(fine, upscale_array(coarse, factor, model, threads=1))
    assert errors.shape == fine.shape
    assert errors.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert (errors > 0).all()
    one = upscale_array(coarse[1], factor, model, error=True, threads=1)[1]
    assert np.allclose(one, errors[1], rtol=1e-5)


@given(factors, st.tuples(*[st.floats(-50, 50)] * 2), st.sampled_from([0.0, -300.0, 101325.0]), seeds)
def test_planes_have_none(factor, slopes, offset, seed):
    """On a plane the expected error is 0, to the rounding of its slope, away from edges."""
    model = model_with_errors(factor, seed % 3)
    halo, size = model.halo, 24
    y, x = np.mgrid[:size, :size]
    plane = offset + slopes[0] * y + slopes[1] * x
    errors = upscale_array(plane, factor, model, error=True, threads=1)[1]
    inside = errors[factor * halo : -factor * halo, factor * halo : -factor * halo]
    assert inside.max() <= 1e-3 * (sum(map(abs, slopes)) + 1e-9 * abs(offset))


@given(factors, tile_sizes, st.integers(1, 3), st.data())
def test_tiled_is_whole(factor, tile_size, threads, data):
    """Any tile size and number of threads give the same errors to 1e-4 of the local differences."""
    coarse = data.draw(fields(middle=data.draw(st.sampled_from([0.0, 101325.0])), width=10.0))
    coarse[~data.draw(masks(coarse.shape))] = np.nan
    model = model_with_errors(factor)
    whole = upscale_array(coarse, factor, model, error=True, tile_size=1000, threads=1)[1]
    tiled = upscale_array(coarse, factor, model, error=True, tile_size=tile_size, threads=threads)[1]
    assert np.array_equal(np.isnan(whole), repeat(np.isnan(coarse), factor))
    assert np.array_equal(np.isnan(tiled), np.isnan(whole))
    allowed = 1e-4 * scale_of(np.nan_to_num(coarse), 2 * model.halo, factor) + 1e-9
    assert (np.abs(np.nan_to_num(tiled) - np.nan_to_num(whole)) <= allowed).all()


@given(factors, st.integers(-20, 20), st.integers(-(2**24), 2**24), seeds)
def test_scale_passes_through_and_offset_does_not_matter(factor, power, offset, seed):
    """Where the values become a U + b, the errors become a s."""
    coarse = np.random.default_rng(seed).integers(-1024, 1024, (9, 12)) / 64
    a, b = 2.0**power, float(offset)
    if not np.array_equal((a * coarse + b) - b, a * coarse):
        return
    model = model_with_errors(factor)
    found = upscale_array(a * coarse + b, factor, model, error=True, threads=1)[1]
    assert np.allclose(found, a * upscale_array(coarse, factor, model, error=True, threads=1)[1], rtol=1e-5)


@given(factors, st.data())
def test_missing_cells_have_none_and_harm_nothing(factor, data):
    """NaN exactly where values are missing; what stands under a mask does not matter."""
    coarse = data.draw(fields(width=10.0))
    valid = data.draw(masks(coarse.shape))
    model = model_with_errors(factor)
    errors = []
    for rubbish in data.draw(st.lists(st.sampled_from(RUBBISH), min_size=2, max_size=2, unique=True)):
        held = np.where(valid, coarse, rubbish)
        errors.append(upscale_array(held, factor, model, valid=valid, error=True, threads=1)[1])
    assert np.array_equal(np.isnan(errors[0]), ~repeat(valid, factor))
    assert np.array_equal(errors[0], errors[1], equal_nan=True)


def test_within_a_range_errors_are_no_larger_than_it_and_0_at_its_ends():
    """Where a conserved mean lies at a bound, every cell of the block does: there is nothing to be wrong about."""
    rain = np.clip(np.random.default_rng(0).normal(0, 5, (20, 20)), 0, 9)
    model = model_with_errors(3)
    errors = upscale_array(rain, 3, model, value_range=(0, 9), error=True, threads=1)[1]
    dry = repeat(rain == 0, 3)
    assert (errors[dry] == 0).all()
    assert (errors[repeat((rain > 0) & (rain < 9), 3)] > 0).all()
    assert errors.max() <= 9


def test_cells_beyond_a_range_have_no_error():
    """They come out at its end, every cell of the block, as those do that lie at it."""
    coarse = np.random.default_rng(0).normal(0, 5, (20, 20))
    with pytest.warns(GeofsrcnnWarning, match="W-RANGE"):
        fine, errors = upscale_array(coarse, 3, model_with_errors(3), value_range=(-4, 4), error=True, threads=1)
    beyond = repeat(np.abs(coarse) >= 4, 3)
    assert (np.abs(fine[beyond]) == 4).all()
    assert (errors[beyond] == 0).all()
    assert (errors[~beyond] > 0).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-25, 1e25])
def test_very_small_and_large_values(scale):
    """Float64 values near or beyond the exponents of float32 have errors of their own size."""
    coarse = np.random.default_rng(1).normal(size=(12, 14))
    model = model_with_errors(2)
    plain = upscale_array(coarse, 2, model, error=True, threads=1)[1]
    assert np.allclose(upscale_array(coarse * scale, 2, model, error=True, threads=1)[1] / scale, plain, rtol=1e-4)


def test_with_errors_is_the_block_that_comes_without():
    """The arithmetic of a tile, called directly."""
    network = model_with_errors(3).upsampler
    values = np.random.default_rng(0).normal(size=(2, 8, 9)).astype(np.float32)
    whole = Window(0, 8, 0, 9)
    found = upscale_tile(
        Job(network, 3, errors=True), Cells(values, np.ones(values.shape, bool)), Tile(whole, whole, whole.refine(3))
    )
    assert found.values.shape == found.errors.shape == (2, 24, 27)


@pytest.mark.parametrize("method", ["cubic", "nearest", "lanczos-bp"])
def test_classical_methods_are_refused(method):
    """With a word that says what gives them."""
    with pytest.raises(ModelError, match=f"model {method} gives no expected error: take a shipped network"):
        upscale_array(np.ones((4, 4)), 3, method, error=True)
