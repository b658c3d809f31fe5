"""The promises of networks that take bands together: each holds for each band, whatever the others hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.fill import fill
from tests.support.strategies import RUBBISH, factors, masks, seeds

TWO, FOUR = {"joint": True, "channels": 2}, {"joint": True, "channels": 4}
FORMS = st.sampled_from(
    [
        TWO,
        FOUR,
        {**TWO, "prelu": "channel"},
        {**FOUR, "skip": "cubic"},
        {**TWO, "conserving": "none"},
        {**FOUR, "skip": "none"},
        {**TWO, "feature_kernel": 11},
    ]
)
tile_sizes = st.integers(9, 30)
"""At least the halo of these networks."""
shapes = st.sampled_from([(1, 1), (1, 17), (17, 1), (5, 23), (12, 14), (26, 19)])
kinds = st.sampled_from(["noise", "step", "flat patches", "plane", "flat"])


def band(kind, shape, seed):
    """Noise, a step, flat parts, a plane or a constant, in steps of a 64th from -16 to 16."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    made = {
        "noise": rng.integers(-1024, 1025, shape) / 64,
        "step": np.where(x + y < sum(shape) // 2, -16.0, 16.0),
        "flat patches": 16 * np.round(rng.uniform(-1, 1, shape)) * (x % 5 < 2),
        "plane": (x - 2 * y) / 4,
        "flat": np.full(shape, 3.25),
    }
    return made[kind]


@st.composite
def rasters(draw, count, shape=None):
    """Bands that look unlike each other."""
    shape = shape or draw(shapes)
    return np.stack([band(draw(kinds), shape, draw(seeds)) for _ in range(count)])


def local_range(coarse, halo, factor):
    """Largest minus smallest value of a band within the receptive field, for each fine cell."""
    size = (0, 2 * halo + 1, 2 * halo + 1)
    size = (1, *size[1:])
    wide = ndimage.maximum_filter(coarse, size, mode="nearest") - ndimage.minimum_filter(coarse, size, mode="nearest")
    return repeat(wide, factor)


# 1. In the right place


@given(factors, FORMS, st.tuples(*[st.floats(-50, 50)] * 2), st.sampled_from([0.0, -300.0, 101325.0]), seeds)
def test_a_plane_is_that_plane_whatever_the_other_bands_hold(random_network, factor, form, slopes, offset, seed):
    """a + b x + c y in one band is the same plane at the fine cells' centres, beside noise and missing cells."""
    model = random_network(factor, seed=seed % 3, **form)
    halo, size = model.config.halo, 36
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    fy, fx = (np.mgrid[: size * factor, : size * factor] + 0.5) / factor - 0.5
    plane, expected = (offset + slopes[0] * v + slopes[1] * u for v, u in ((y, x), (fy, fx)))
    coarse = rng.normal(0, 1e3, (model.config.channels, size, size))
    coarse[1] = plane
    coarse[0, rng.random((size, size)) < 0.1] = np.nan
    found = upscale_array(coarse, factor, model, threads=1)[1]
    if model.config.skip == "none":  # such a network interpolates nothing: planes become steps
        expected = repeat(plane, factor)
    inside = (slice(halo * factor, -halo * factor),) * 2
    span = sum(abs(s) for s in slopes) * (2 * halo + 1)
    assert np.abs(found - expected)[inside].max() <= 1e-5 * span + 1e-12 * abs(offset)


@given(factors, FORMS, st.sampled_from([0.0, 0.1, 273.15, 101325.7, 1e-7, 1e25]), seeds)
def test_a_constant_stays_to_the_last_bit(random_network, factor, form, value, seed):
    """A flat band is flat, whatever the others hold."""
    model = random_network(factor, **form)
    coarse = np.random.default_rng(seed).normal(size=(model.config.channels, 9, 11))
    coarse[0] = value
    assert (upscale_array(coarse, factor, model, threads=1)[0] == value).all()


# 2. In one piece


@given(factors, FORMS, tile_sizes, st.integers(1, 3), st.data())
def test_tiled_is_whole(random_network, factor, form, tile_size, threads, data):
    """Any tile size and number of threads give the same, with cells missing in some bands, others or none."""
    model = random_network(factor, **form)
    coarse = data.draw(rasters(model.config.channels))
    for each in coarse:
        each[~data.draw(masks(each.shape))] = np.nan
    whole = upscale_array(coarse, factor, model, tile_size=1000, threads=1)
    tiled = upscale_array(coarse, factor, model, tile_size=tile_size, threads=threads)
    assert np.array_equal(np.isnan(tiled), np.isnan(whole))
    allowed = 1e-5 * local_range(np.nan_to_num(coarse), 2 * model.config.halo, factor)
    assert (np.abs(np.nan_to_num(tiled) - np.nan_to_num(whole)) <= allowed).all()


# 3. In its own units, each band in its own


@given(factors, FORMS, st.integers(-20, 20), st.integers(-(2**24), 2**24), st.booleans(), st.data())
def test_scale_and_offset_of_a_band_pass_through_that_band_alone(
    random_network, factor, form, power, offset, gaps, data
):
    """Band i as a X + b: U is a U + b in band i, and the same in all others to the last bit, cells missing or not."""
    model = random_network(factor, **form)
    count = model.config.channels
    coarse = data.draw(rasters(count))
    if gaps:
        for each in coarse:
            each[~data.draw(masks(each.shape))] = np.nan
    a, b, i = 2.0**power, float(offset), data.draw(st.integers(0, count - 1))
    if not np.array_equal((a * coarse[i] + b) - b, a * coarse[i], equal_nan=True):
        return
    other = coarse.copy()
    other[i] = a * coarse[i] + b
    before, after = (upscale_array(x, factor, model, threads=1) for x in (coarse, other))
    rest = np.arange(count) != i
    assert np.array_equal(after[rest], before[rest], equal_nan=True)
    allowed = 4 * np.spacing(abs(b) + a * 200)
    assert (np.abs(np.nan_to_num(after[i] - (a * before[i] + b))) <= allowed).all()


@given(FORMS, st.floats(1e-3, 1e3), seeds)
def test_any_scale_of_a_band_changes_the_others_by_rounding_only(random_network, form, scale, seed):
    """No power of two is needed."""
    model = random_network(3, **form)
    coarse = np.random.default_rng(seed).normal(size=(model.config.channels, 12, 14))
    other = coarse * np.r_[scale, np.ones(len(coarse) - 1)][:, None, None]
    before, after = (upscale_array(x, 3, model, threads=1) for x in (coarse, other))
    assert np.abs(after[1:] - before[1:]).max() <= 1e-5 * np.ptp(coarse)
    assert np.abs(after[0] / scale - before[0]).max() <= 1e-5 * np.ptp(coarse)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bands_of_very_different_magnitudes(random_network, dtype):
    """A band near 1e-40 beside one near 1e37 comes out as both near 1 do, and pressure as its anomaly."""
    unit = (np.random.default_rng(4).integers(-63, 64, (4, 12, 14)) / 64).astype(dtype)
    model = random_network(3, **FOUR)
    expected = upscale_array(unit, 3, model, threads=1).astype(np.float64)
    powers = np.array([-133, 122, 0, -61])[:, None, None]
    found = np.ldexp(upscale_array(np.ldexp(unit, powers), 3, model, threads=1).astype(np.float64), -powers)
    assert np.abs(found - expected)[1:].max() <= 1e-6
    assert np.abs(found - expected)[0].max() <= (2.0**-15 if dtype == "float32" else 1e-6)  # a denormal's digits


# 4. Nothing made up on average


@pytest.mark.parametrize("conserving", ["mean", "positive"])
@given(factor=factors, data=st.data())
def test_block_means_of_each_band_are_its_coarse_cells(random_network, conserving, factor, data):
    """Whatever the bands hold; with ``positive`` nothing falls below zero."""
    coarse = data.draw(rasters(4))
    coarse = np.abs(coarse) if conserving == "positive" else coarse
    fine = upscale_array(coarse, factor, random_network(factor, conserving=conserving, **FOUR), threads=1)
    assert np.abs(block_mean(fine, factor) - coarse).max() <= 1e-13 * 200
    assert conserving == "mean" or fine.min() >= 0


# 5. Missing stays missing, and harms nothing, band by band


@given(factors, FORMS, st.sampled_from(RUBBISH), tile_sizes, st.data())
def test_each_band_is_missing_where_it_was(random_network, factor, form, rubbish, tile_size, data):
    """A band is valid where it was, others missing there or not, and what stands under a mask changes no bit."""
    model = random_network(factor, **form)
    coarse = data.draw(rasters(model.config.channels))
    valid = np.stack([data.draw(masks(each.shape)) for each in coarse])
    one, other = (
        upscale_array(np.where(valid, coarse, under), factor, model, valid=valid, threads=1, tile_size=tile_size)
        for under in (np.nan, rubbish)
    )
    there = repeat(valid, factor)
    assert np.array_equal(np.isfinite(one), there)
    assert np.array_equal(one[there], other[there])


@given(factors, FORMS, seeds)
def test_a_band_that_is_missing_tells_as_much_as_a_flat_one(random_network, factor, form, seed):
    """Nothing: the others are what they are beside a constant, to the last bit."""
    model = random_network(factor, **form)
    coarse = np.random.default_rng(seed).normal(size=(model.config.channels, 12, 14))
    flat, missing = coarse.copy(), coarse.copy()
    flat[0], missing[0] = 7.0, np.nan
    found = upscale_array(missing, factor, model, threads=1)
    assert np.isnan(found[0]).all()
    assert np.array_equal(found[1:], upscale_array(flat, factor, model, threads=1)[1:])


# 6. No surprises


@given(factors, FORMS, st.sampled_from([0.0, 0.25, 0.5]), st.data())
def test_each_band_keeps_to_its_own_range(random_network, factor, form, share, data):
    """A fine cell leaves the range of its band's 3 x 3 coarse cells by at most a share of it, and means are kept."""
    model = random_network(factor, **form)
    coarse = data.draw(rasters(model.config.channels))
    valid = np.stack([data.draw(masks(each.shape)) for each in coarse])
    fine = upscale_array(coarse, factor, model, valid=valid, overshoot=share, threads=1)
    seen, there = fill(coarse, valid, 2), repeat(valid, factor)
    low, high = (each(seen, (1, 3, 3), mode="nearest") for each in (ndimage.minimum_filter, ndimage.maximum_filter))
    spare = share * (high - low)
    beyond = np.maximum(repeat(low - spare, factor) - fine, fine - repeat(high + spare, factor))
    assert beyond[there].max(initial=0) <= 1e-13 * 200
    if model.config.conserving != "none":
        assert np.abs(block_mean(fine, factor) - coarse)[valid].max(initial=0) <= 1e-13 * 200


@given(st.sampled_from([(0.0, 1.0), (0.0, np.inf)]), seeds)
@pytest.mark.filterwarnings("ignore:W-RANGE")
def test_a_range_is_kept_beside_missing_cells(random_network, bounds, seed):
    """Bounds and block means hold in each band where some cells of another are missing."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 1, (4, 12, 14))
    coarse[1, rng.random((12, 14)) < 0.6] = np.nan
    fine = upscale_array(coarse, 3, random_network(3, **FOUR), value_range=bounds, threads=1)
    assert np.nanmin(fine) >= bounds[0]
    assert np.nanmax(fine) <= bounds[1]
    assert np.nanmax(np.abs(block_mean(fine, 3) - coarse)) <= 1e-6


# Bands do help each other


def test_a_band_hears_of_the_others(random_network):
    """Structure in one band changes another."""
    coarse = np.random.default_rng(0).normal(size=(2, 12, 14))
    model = random_network(3, **TWO)
    before = upscale_array(coarse, 3, model, threads=1)
    coarse[0] = coarse[0, ::-1]
    assert np.abs(upscale_array(coarse, 3, model, threads=1)[1] - before[1]).max() > 0.1
