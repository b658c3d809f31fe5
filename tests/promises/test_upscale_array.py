"""The five promises of DESIGN.md, through the public function, for networks with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.networks.config import PRESETS
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.kernels import CLASSICAL
from tests.support.strategies import RUBBISH, factors, fields, magnitudes, masks, seeds, shapes, tile_sizes

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FORMS = st.sampled_from([{}, {"skip": "cubic"}, {"prelu": "channel"}, {"conserving": "none"}, {"skip": "none"}])
"""Unit-free forms of the network."""
ARTICLE = {"pad_layers": True, "unit_free": False, "skip": "none", "mapping_prelu": "last", "conserving": "none"}


def local_range(coarse, halo, factor):
    """Largest minus smallest value within the receptive field, for each fine cell."""
    size = 2 * halo + 1
    wide = ndimage.maximum_filter(coarse, size, mode="nearest") - ndimage.minimum_filter(coarse, size, mode="nearest")
    return repeat(wide, factor)


# 1. In the right place


@given(factors, FORMS, st.tuples(*[st.floats(-50, 50)] * 2), st.sampled_from([0.0, -300.0, 101325.0, 1e6]), seeds)
def test_planes_come_out_as_planes_for_any_weights(random_network, factor, form, slopes, offset, seed):
    """a + b x + c y is the same plane at the fine cells' centres, away from edges and missing cells."""
    model = random_network(factor, seed=seed % 3, **form)
    halo, size = model.config.halo, 24
    y, x = np.mgrid[:size, :size]
    fy, fx = (np.mgrid[: size * factor, : size * factor] + 0.5) / factor - 0.5
    plane, expected = (offset + slopes[0] * v + slopes[1] * u for v, u in ((y, x), (fy, fx)))
    valid = np.ones(plane.shape, bool)
    valid[3, 4] = False
    away = np.zeros(plane.shape, bool)
    away[halo:-halo, halo:-halo] = True
    away &= ndimage.minimum_filter(valid, 2 * halo + 1)
    found = upscale_array(plane, factor, model, valid=valid, threads=1)
    if model.config.skip == "none":  # such a network interpolates nothing: planes become steps
        expected = repeat(plane, factor)
    span = sum(abs(s) for s in slopes) * (2 * halo + 1)
    assert away.any()
    assert np.abs(found - expected)[repeat(away, factor)].max() <= 1e-5 * span + 1e-14 * abs(offset) * 100


# 2. In one piece


@given(factors, FORMS, tile_sizes, st.integers(1, 3), st.data())
def test_tiled_is_whole(random_network, factor, form, tile_size, threads, data):
    """Any tile size and number of threads give the whole field's result to 1e-5 of the local range."""
    coarse = data.draw(fields(middle=data.draw(st.sampled_from([0.0, 101325.0])), width=10.0))
    model = random_network(factor, **form)
    whole = upscale_array(coarse, factor, model, tile_size=1000, threads=1)
    tiled = upscale_array(coarse, factor, model, tile_size=tile_size, threads=threads)
    assert (np.abs(tiled - whole) <= 1e-5 * local_range(coarse, model.config.halo, factor)).all()


@given(tile_sizes, st.data())
def test_tiled_is_whole_with_missing_cells(random_network, tile_size, data):
    """The same with missing cells: what they are filled with does not depend on the tile either."""
    coarse = data.draw(fields(width=10.0))
    coarse[~data.draw(masks(coarse.shape))] = np.nan
    model = random_network(3)
    whole = upscale_array(coarse, 3, model, tile_size=1000, threads=1)
    tiled = upscale_array(coarse, 3, model, tile_size=tile_size, threads=2)
    assert np.array_equal(np.isnan(tiled), np.isnan(whole))
    known = np.nan_to_num(coarse)
    allowed = 1e-5 * local_range(known, 2 * model.config.halo, 3)
    assert (np.abs(np.nan_to_num(tiled) - np.nan_to_num(whole)) <= allowed).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tile_size", [4, 7, 16, 31])
def test_sea_beside_mountains_stays_at_its_level(random_network, tile_size, dtype):
    """Where the receptive field is flat, the result is that value to the last bit, whatever stands beyond."""
    rng = np.random.default_rng(0)
    coarse = np.zeros((40, 46), dtype)
    coarse[:, 25:] = rng.uniform(2500, 3500, (40, 21))
    coarse[30:, :10] = -7.3
    model = random_network(3)
    whole = upscale_array(coarse, 3, model, tile_size=1000, threads=1)
    tiled = upscale_array(coarse, 3, model, tile_size=tile_size, threads=2)
    wide = local_range(coarse, model.config.halo, 3)
    flat = wide == 0
    assert flat.mean() > 0.2
    assert np.array_equal(tiled[flat], repeat(coarse, 3)[flat])
    assert (np.abs(tiled - whole) <= 1e-5 * wide + (np.spacing(np.abs(whole)) if dtype == "float32" else 0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_threads_change_no_bit(random_network, dtype):
    """With the same tiles the result is the same to the last bit, whatever the number of threads."""
    coarse = np.random.default_rng(1).normal(0, 1000, (3, 37, 41)).astype(dtype)
    results = [upscale_array(coarse, 3, random_network(3), tile_size=9, threads=n, nodata=7) for n in (1, 2, 5)]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("far", [-3.3e38, 1e30, -1e20])
def test_an_odd_value_far_away_changes_nothing(random_network, far):
    """One huge value (an undeclared nodata) has no influence beyond its receptive field, in the same tile either."""
    model = random_network(3)
    rng = np.random.default_rng(2)
    coarse = (0.1 + 0.01 * rng.normal(size=(30, 60))).astype(np.float32)
    before = upscale_array(coarse, 3, model, threads=1)
    wide = local_range(coarse, model.config.halo, 3)
    coarse[15, 50] = far
    after = upscale_array(coarse, 3, model, threads=1)
    away = (slice(None), slice(0, 3 * (50 - model.config.halo)))
    assert (np.abs(after - before)[away] <= 1e-5 * wide[away] + np.spacing(np.float32(0.1))).all()


# 3. In its own units


@given(factors, FORMS, st.integers(-20, 20), st.integers(-(2**24), 2**24), seeds)
def test_scale_and_offset_pass_through(random_network, factor, form, power, offset, seed):
    """U(a X + b) = a U(X) + b, up to the rounding of the result's own type."""
    coarse = np.random.default_rng(seed).integers(-1024, 1024, (9, 12)) / 64
    a, b = 2.0**power, float(offset)
    if not np.array_equal((a * coarse + b) - b, a * coarse):
        return
    model = random_network(factor, **form)
    found = upscale_array(a * coarse + b, factor, model, threads=1)
    expected = a * upscale_array(coarse, factor, model, threads=1) + b
    assert np.abs(found - expected).max() <= 4 * np.spacing(abs(b) + a * 200)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pressure_is_as_good_as_its_anomaly(random_network, dtype):
    """101325 +- 10 Pa comes out as 0 +- 10 does, to the rounding of the type at 101325."""
    anomaly = (np.random.default_rng(3).integers(-640, 640, (20, 22)) / 64).astype(dtype)
    model = random_network(3)
    fine = upscale_array(anomaly, 3, model, threads=1).astype(np.float64)
    found = upscale_array(anomaly + anomaly.dtype.type(101325), 3, model, threads=1)
    assert found.dtype == dtype
    allowed = 1e-6 * np.ptp(anomaly) * (dtype == "float32") + np.spacing(np.array(101335, dtype))
    assert np.abs(found - (101325 + fine)).max() <= allowed


@pytest.mark.parametrize("power", [-133, -128, -100, -61, 61, 100, 122])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_magnitudes_at_the_ends_of_float32(random_network, dtype, power):
    """Values near 1e-40 and 1e37 are upscaled as values near 1 are, without NaN, infinity or warning."""
    unit = (np.random.default_rng(4).integers(-63, 64, (12, 14)) / 64).astype(dtype)
    model = random_network(3)
    expected = upscale_array(unit, 3, model, threads=1).astype(np.float64)
    found = upscale_array(np.ldexp(unit, power), 3, model, threads=1).astype(np.float64)
    assert np.isfinite(found).all()
    quantum = 2.0**-148 if dtype == "float32" else 0.0
    assert np.abs(found - np.ldexp(expected, power)).max() <= np.ldexp(1e-6, power) + quantum


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1e38, 3.3e38, 1e-40])
def test_no_overflow_at_the_largest_and_smallest_values(random_network, dtype, value):
    """Fields that reach the type's end come out finite: overshoot is clipped, nothing becomes infinite."""
    coarse = (np.random.default_rng(5).uniform(-1, 1, (12, 14)) * value).astype(dtype)
    assert np.isfinite(upscale_array(coarse, 3, random_network(3), threads=1)).all()


@given(
    magnitudes, st.sampled_from(["float32", "float64"]), st.sampled_from((*CLASSICAL, "network", "positive")), st.data()
)
def test_every_magnitude_gives_finite_values(random_network, magnitude, dtype, method, data):
    """Pressure, kelvin, heights, 1e38 and 1e-40: every method gives finite values near the coarse ones."""
    coarse = data.draw(fields(middle=magnitude[0], width=magnitude[1], dtype=dtype))
    conserving = "positive" if method == "positive" else "mean"
    model = method if method in CLASSICAL else random_network(3, conserving=conserving)
    fine = upscale_array(np.abs(coarse) if method == "positive" else coarse, 3, model, threads=1)
    assert fine.dtype == dtype
    assert np.isfinite(fine).all()


@given(
    factors,
    st.sampled_from([{}, {"conserving": "positive"}, {"conserving": "none"}, {"channels": 3}]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([0.0, 0.1, 273.15, 101325.7, 3000.3, 1e-7, 1e25, 1e38, 1e-30]),
    shapes,
)
def test_constants_come_out_to_the_last_bit(random_network, factor, form, dtype, value, shape):
    """A constant in is the same constant out, whatever the weights."""
    coarse = np.full((form.get("channels", 1), *shape), value, dtype)
    found = upscale_array(coarse, factor, random_network(factor, **form), threads=1)
    assert np.array_equal(found, repeat(coarse, factor))


# 4. Nothing made up on average


def assert_means_kept(fine, coarse, factor, span=0.0):
    """Block means equal the coarse cells within the rounding of the type, at the values' or the span's size."""
    eps = np.finfo(fine.dtype).eps
    largest = np.abs(fine).reshape(*coarse.shape[:-2], coarse.shape[-2], factor, coarse.shape[-1], factor)
    allowed = 4 * eps * (largest.max(axis=(-3, -1)).astype(np.float64) + np.abs(coarse) + span)
    assert (np.abs(block_mean(fine, factor) - coarse) <= allowed).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(factor=factors, middle=st.sampled_from([0.0, 101325.0, -4000.0]), data=st.data())
def test_block_means_are_the_coarse_cells(random_network, dtype, factor, middle, data):
    """The mean of each block is the coarse cell, within rounding of the output's type."""
    coarse = data.draw(fields(middle=middle, width=10.0, dtype=dtype))
    assert_means_kept(upscale_array(coarse, factor, random_network(factor), threads=1), coarse, factor)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(factor=factors, data=st.data())
def test_positive_models_keep_means_and_never_go_below_zero(random_network, dtype, factor, data):
    """With ``positive`` nothing is negative, means are kept, and a block of mean 0 stays 0."""
    coarse = np.maximum(data.draw(fields(width=5.0, dtype=dtype)), 0)
    fine = upscale_array(coarse, factor, random_network(factor, conserving="positive"), threads=1)
    assert fine.min() >= 0
    assert (fine[repeat(coarse == 0, factor)] == 0).all()
    assert_means_kept(fine, coarse, factor, span=2 * coarse.max())


@pytest.mark.filterwarnings("ignore:W-RANGE")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(
    factor=factors,
    bounds=st.sampled_from([(0.0, 1.0), (0.0, np.inf), (-np.inf, 1.0), (-3.0, 0.25), (0.25, 0.5)]),
    form=st.sampled_from([{}, {"conserving": "none"}, {"conserving": "positive"}]),
    data=st.data(),
)
def test_a_range_is_kept_together_with_the_means(random_network, dtype, factor, bounds, form, data):
    """Values stay in the range; conserving models keep block means, coarse cells outside come out at the bound."""
    coarse = data.draw(fields(middle=0.5, width=0.8, dtype=dtype))
    if form.get("conserving") == "positive":
        coarse = np.abs(coarse)
    fine = upscale_array(coarse, factor, random_network(factor, **form), value_range=bounds, threads=1)
    assert fine.min() >= bounds[0]
    assert fine.max() <= bounds[1]
    if form.get("conserving") != "none":
        assert_means_kept(fine, np.clip(coarse, *bounds), factor, span=4.0)


@given(factors, st.sampled_from(["int16", "int32", "uint16", "int64"]), st.sampled_from([1, 30, 3000]), seeds)
def test_integers_keep_means_within_a_half(random_network, factor, dtype, width, seed):
    """Rounded to integers, block means stay within 0.5 of the coarse cells."""
    coarse = np.random.default_rng(seed).integers(20000 - width, 20000 + width + 1, (11, 9)).astype(dtype)
    fine = upscale_array(coarse, factor, random_network(factor), threads=1)
    assert fine.dtype == dtype
    assert np.abs(block_mean(fine, factor) - coarse).max() <= 0.5


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
def test_integers_at_the_types_ends_keep_means(random_network, dtype):
    """Clipping at the type's ends is made good within the block: images in 0 to 255 keep their means."""
    info = np.iinfo(dtype)
    coarse = np.random.default_rng(6).integers(info.min, info.max, (14, 15), endpoint=True).astype(dtype)
    fine = upscale_array(coarse, 3, random_network(3), threads=1)
    assert np.abs(block_mean(fine, 3) - coarse).max() <= 0.5


# 5. Missing stays missing, and harms nothing


@given(factors, st.sampled_from(["network", "positive", "cubic", "nearest", "lanczos-bp"]), st.data())
def test_valid_exactly_where_the_coarse_cell_is(random_network, factor, method, data):
    """Fine cells are NaN exactly where their coarse cell is, and finite elsewhere."""
    coarse = data.draw(fields(width=10.0, dtype=data.draw(st.sampled_from(["float32", "float64"]))))
    valid = data.draw(masks(coarse.shape))
    coarse[~valid] = np.nan
    conserving = "positive" if method == "positive" else "mean"
    model = method if method in CLASSICAL else random_network(factor, conserving=conserving)
    fine = upscale_array(coarse, factor, model, threads=1, tile_size=13)
    assert np.array_equal(np.isfinite(fine), repeat(valid, factor))
    assert np.array_equal(np.isnan(fine), ~repeat(valid, factor))


@given(factors, st.sampled_from(RUBBISH), st.sampled_from(["float32", "float64"]), FORMS, tile_sizes, st.data())
def test_what_stands_under_the_mask_changes_no_bit(random_network, factor, rubbish, dtype, form, tile_size, data):
    """Valid results keep their bits whether missing cells hold NaN, 1e30, -9999, infinity or 0."""
    coarse = data.draw(fields(middle=273.0, width=10.0, dtype=dtype))
    valid = data.draw(masks(coarse.shape))
    model = random_network(factor, **form)
    options = {"valid": valid, "threads": 1, "tile_size": tile_size}
    before = upscale_array(coarse, factor, model, **options)
    after = upscale_array(np.where(valid, coarse, coarse.dtype.type(rubbish)), factor, model, **options)
    where = repeat(valid, factor)
    assert np.array_equal(before[where], after[where])
    assert np.array_equal(after[~where], np.full((~where).sum(), rubbish, dtype), equal_nan=True)


@given(st.sampled_from([-9999.0, 0.0, 1e30]), st.data())
def test_nodata_nan_and_mask_are_one_thing(random_network, nodata, data):
    """The same cells missing by nodata value, by NaN or by mask give the same valid cells to the last bit."""
    coarse = data.draw(fields(middle=3.0, width=2.0, dtype="float32"))
    valid = data.draw(masks(coarse.shape))
    model, where = random_network(3), repeat(valid, 3)
    by_nodata = upscale_array(np.where(valid, coarse, np.float32(nodata)), 3, model, nodata=nodata, threads=1)
    by_nan = upscale_array(np.where(valid, coarse, np.float32(np.nan)), 3, model, threads=1)
    by_mask = upscale_array(coarse, 3, model, valid=valid, nodata=nodata, threads=1)
    assert np.array_equal(by_nodata, by_mask)
    assert np.array_equal(by_nodata[where], by_nan[where])
    assert (by_nodata[~where] == np.float32(nodata)).all()


@pytest.mark.parametrize("dtype", INTEGERS)
@given(
    end=st.sampled_from(["min", "max", "middle"]),
    method=st.sampled_from(["network", "bilinear", "nearest"]),
    data=st.data(),
)
def test_no_valid_integer_equals_nodata(random_network, dtype, end, method, data):
    """Next to the nodata value, at the type's ends too, valid cells never take it and missing cells always do."""
    info = np.iinfo(dtype)
    big = info.bits == 64
    low, high = (-(2**53) if info.min < 0 else 0, 2**53) if big else (int(info.min), int(info.max))
    nodata = {"min": low, "max": high, "middle": 7}[end]
    near = [v for v in range(nodata - 3, nodata + 4) if v != nodata and low <= v <= high]
    rng = np.random.default_rng(data.draw(seeds))
    shape = data.draw(shapes)
    valid = data.draw(masks(shape))
    coarse = np.where(valid, rng.choice(np.array(near, dtype), shape), np.array(nodata, dtype))
    model = method if method in CLASSICAL else random_network(3)
    fine = upscale_array(coarse, 3, model, nodata=nodata, threads=1)
    assert fine.dtype == dtype
    assert np.array_equal(fine != np.array(nodata, dtype), repeat(valid, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("values", "nodata"), [((1.0, -3.0), 0.0), ((3.0, -1.0), 0.0), ((10.0, 6.0), 7.0)])
def test_no_valid_float_equals_nodata(dtype, values, nodata):
    """Bilinear between 1 and -3 passes 0 exactly: with nodata 0 the cell takes the next float that GDAL masks not."""
    coarse = np.tile(np.array(values, dtype), (6, 5))
    without = upscale_array(coarse, 2, "bilinear")
    assert (without == nodata).any()
    fine = upscale_array(coarse, 2, "bilinear", nodata=nodata)
    assert (np.abs(fine - nodata) >= 4.7e-7 * abs(nodata)).all()
    assert (fine != nodata).all()
    assert np.abs(fine - without).max() <= max(1e-6 * abs(nodata), np.spacing(np.array(1e-9, dtype)))


@pytest.mark.parametrize("end", ["min", "max"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nodata_at_the_ends_of_floats(random_network, dtype, end):
    """GDAL's -3.4028234663852886e38 as nodata masks its cells and no others; ordinary values are untouched."""
    nodata = float(getattr(np.finfo(dtype), end))
    coarse = np.random.default_rng(7).normal(size=(9, 9)).astype(dtype)
    coarse[2, 3] = nodata
    fine = upscale_array(coarse, 3, random_network(3), nodata=nodata, threads=1)
    expected = np.zeros((27, 27), bool)
    expected[6:9, 9:12] = True
    assert np.array_equal(fine == nodata, expected)
    assert np.abs(fine[~expected]).max() < 100


@pytest.mark.parametrize("model", ["network", "cubic", "nearest"])
def test_nothing_but_missing_cells(random_network, model):
    """An array without a valid cell comes out without one."""
    chosen = random_network(3) if model == "network" else model
    assert np.isnan(upscale_array(np.full((7, 5), np.nan), 3, chosen)).all()
    assert (upscale_array(np.full((7, 5), -1, np.int16), 3, chosen, nodata=-1) == -1).all()


@given(factors, st.sampled_from([0.1, -5000.0, 1e20]), shapes, seeds)
def test_a_single_valid_cell_comes_out_as_it_is(random_network, factor, value, shape, seed):
    """One valid cell among missing ones becomes a block of its own value."""
    rng = np.random.default_rng(seed)
    y, x = rng.integers(0, shape[0]), rng.integers(0, shape[1])
    coarse = np.full(shape, np.nan)
    coarse[y, x] = value
    fine = upscale_array(coarse, factor, random_network(factor), threads=1)
    block = fine[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
    assert np.allclose(block, value, rtol=1e-15, atol=0)
    assert np.isfinite(fine).sum() == factor**2


def test_bands_have_their_own_missing_cells(random_network):
    """A hole in one band leaves the others to the last bit; nodata may differ between bands."""
    coarse = np.random.default_rng(8).normal(50, 10, (3, 12, 13)).astype(np.float32)
    model = random_network(3)
    before = upscale_array(coarse, 3, model, threads=1)
    coarse[1, 4, 4], coarse[2, 5, 6] = -1, -2
    fine = upscale_array(coarse, 3, model, nodata=[None, -1, -2], threads=1)
    assert np.array_equal(fine[0], before[0])
    assert (fine[1] == -1).sum() == 9
    assert (fine[2] == -2).sum() == 9


# Forms of the network, types and shapes


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (14, 11)])
@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_the_articles_form_is_its_layers_on_the_whole_array(random_network, shape, padding):
    """Padded at every layer, one channel: the array goes through in one piece, as the layers say."""
    model = random_network(3, padding=padding, **ARTICLE)
    coarse = np.random.default_rng(9).normal(size=shape).astype(np.float32)
    with torch.no_grad():
        expected = model.model(torch.from_numpy(coarse)[None, None])[0, 0].numpy()
    found = upscale_array(coarse, 3, model, tile_size=4)
    assert found.shape == (3 * shape[0], 3 * shape[1])
    assert np.allclose(found, expected, atol=1e-5)


def test_the_articles_form_leaves_valid_cells_independent_of_nodata(random_network):
    """In this form too, valid results do not depend on what stands under the mask."""
    model = random_network(3, **ARTICLE)
    coarse = np.random.default_rng(9).normal(size=(12, 13))
    coarse[4, 5] = np.nan
    fine = upscale_array(coarse, 3, model)
    valid = np.isfinite(coarse)
    coarse[4, 5] = 1e30
    assert np.array_equal(upscale_array(coarse, 3, model, valid=valid)[repeat(valid, 3)], fine[repeat(valid, 3)])


def test_the_papers_form_is_its_layers_on_the_padded_array(random_network):
    """The paper's sizes, biases and slopes, zeros around: as the network says, tiled or not."""
    model = random_network(3, **PRESETS["paper"])
    coarse = np.random.default_rng(10).random((15, 18)).astype(np.float32)
    with torch.no_grad():
        expected = model.model(F.pad(torch.from_numpy(coarse)[None, None], [7] * 4))[0, 0].numpy()
    assert np.allclose(upscale_array(coarse, 3, model, tile_size=8), expected, atol=1e-5)


@pytest.mark.parametrize("form", [{}, ARTICLE, {"conserving": "positive", "skip": "cubic"}])
def test_three_bands_together(random_network, form):
    """A model of three channels takes three bands, and says so when there are others."""
    model = random_network(3, channels=3, **form)
    coarse = np.random.default_rng(11).random((3, 10, 12))
    assert upscale_array(coarse, 3, model).shape == (3, 30, 36)
    with pytest.raises(ModelError, match="takes 3 bands, the raster has 1"):
        upscale_array(coarse[0], 3, model)


@pytest.mark.parametrize("dtype", [*INTEGERS, "float16", "float32", "float64"])
@pytest.mark.parametrize("model", ["network", "nearest", "cubic"])
def test_types_are_kept(random_network, dtype, model):
    """The result has the array's type and factor times its shape; the array is untouched."""
    coarse = np.arange(60).reshape(6, 10).astype(dtype)
    before = coarse.copy()
    fine = upscale_array(coarse, 3, random_network(3) if model == "network" else model)
    assert (fine.dtype, fine.shape) == (dtype, (18, 30))
    assert np.array_equal(coarse, before)
    assert np.abs(fine.astype(float) - repeat(before, 3).astype(float)).max() < 60


@pytest.mark.parametrize("layout", ["lists", "fortran", "reversed", "read-only", "big-endian"])
def test_any_memory_layout_will_do(random_network, layout):
    """Lists, columns first, reversed views, read-only and byte-swapped arrays give the same numbers."""
    coarse = np.random.default_rng(12).normal(size=(9, 11))
    expected = upscale_array(coarse, 3, random_network(3), threads=1)
    given_as = {
        "lists": coarse.tolist(),
        "fortran": np.asfortranarray(coarse),
        "reversed": coarse[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": coarse.copy(),
        "big-endian": coarse.astype(">f8"),
    }[layout]
    if layout == "read-only":
        given_as.setflags(write=False)
    assert np.array_equal(upscale_array(given_as, 3, random_network(3), threads=1), expected)


@given(shapes, factors, st.sampled_from([2, 3]))
def test_shapes(random_network, shape, factor, dimensions):
    """Each side is multiplied by the factor, from a single cell on, with bands and without."""
    coarse = np.random.default_rng(0).normal(size=(2, *shape) if dimensions == 3 else shape)
    fine = upscale_array(coarse, factor, random_network(factor), threads=1)
    assert fine.shape == (*coarse.shape[:-2], shape[0] * factor, shape[1] * factor)


def test_large_integers_are_exact(random_network):
    """Integers near 2**53 keep their digits; beyond it only repeating is allowed."""
    coarse = np.full((5, 5), 2**53 - 1, np.int64)
    assert (upscale_array(coarse, 3, random_network(3)) == 2**53 - 1).all()
    coarse[0, 0] = 2**53 + 2
    with pytest.raises(InputError, match=r"integers beyond 2\*\*53 in the array would lose digits"):
        upscale_array(coarse, 3, random_network(3))
    assert (upscale_array(coarse, 2, "nearest")[:2, :2] == 2**53 + 2).all()


def test_progress_counts_to_the_end(random_network):
    """Progress is reported after each tile, up to the total."""
    seen = []
    upscale_array(np.zeros((20, 9)), 3, random_network(3), tile_size=8, progress=lambda *at: seen.append(at))
    assert seen == [(i, 6) for i in range(1, 7)]


def test_the_same_call_gives_the_same_bits(random_network):
    """Repeating a call changes nothing; a path, its string and the loaded checkpoint are one model."""
    coarse = np.random.default_rng(13).normal(size=(30, 31))
    model = random_network(3)
    first = upscale_array(coarse, 3, model)
    for again in (model, model.path, str(model.path)):
        assert np.array_equal(upscale_array(coarse, 3, again), first)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), r"array must be \(y, x\) or \(band, y, x\), got 1 dimensions"),
        (np.zeros((1, 2, 3, 4)), "got 4 dimensions"),
        (np.zeros((0, 4)), r"array without cells: shape \(0, 4\)"),
        (np.zeros((3, 4), bool), "array of type bool cannot be upscaled"),
        (np.zeros((3, 4), complex), "array of type complex128 cannot be upscaled"),
        (np.zeros((3, 4), "M8[s]"), "array of type datetime64.* cannot be upscaled"),
        (np.array([["a", "b"]]), "array of type <U1 cannot be upscaled"),
    ],
)
def test_arrays_that_cannot_be_upscaled(array, message):
    """Wrong dimensions, no cells and types without a meaning are refused."""
    with pytest.raises(InputError, match=message):
        upscale_array(array, 3, "cubic")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 1}, "factor must be a whole number from 2 to 8, got 1"),
        ({"factor": 2.5}, "factor must be a whole number from 2 to 8, got 2.5"),
        ({"factor": True}, "factor must be a whole number from 2 to 8, got True"),
        ({"tile_size": 0}, "tile size must be a positive whole number, got 0"),
        ({"tile_size": 3.5}, "tile size must be a positive whole number"),
        ({"tile_size": 1}, "tile size 1 is below the halo of cubic, 2 cells"),
        ({"threads": 0}, "threads must be a positive whole number, got 0"),
        ({"threads": True}, "threads must be a positive whole number"),
        ({"value_range": (1, 1)}, "value_range= must be a smaller and a larger number, got 1 1"),
        ({"value_range": (0, np.nan)}, "value_range= must be a smaller and a larger number"),
        ({"precision": "float16"}, "precision must be one of float32, bfloat16, auto"),
        ({"device": "tpu7"}, "no device 'tpu7' here"),
        ({"nodata": [1, 2]}, "2 nodata values for 1 bands"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    """Each argument is checked before anything is computed, and named."""
    with pytest.raises(UsageError, match=message):
        upscale_array(np.zeros((5, 6)), **{"factor": 3, "model": "cubic", **options})


@pytest.mark.parametrize("valid", [np.ones((5, 6)), np.ones((6, 5), bool), np.ones(6, bool)])
def test_masks_of_another_shape_or_type_are_refused(valid):
    """A mask is bool, of the array's shape or its rows and columns."""
    with pytest.raises(InputError, match=r"valid must be bool of shape \(1, 5, 6\) or \(5, 6\)"):
        upscale_array(np.zeros((5, 6)), 3, "cubic", valid=valid)


def test_a_model_for_another_factor_is_refused(random_network):
    """A checkpoint serves its own factor only; an unknown name lists what there is."""
    with pytest.raises(ModelError, match="model random is for factor 3, not 2"):
        upscale_array(np.zeros((5, 6)), 2, random_network(3))
    with pytest.raises(ModelError, match="is for factor 3, not 2"):
        upscale_array(np.zeros((5, 6)), 2, random_network(3).path)
    with pytest.raises(ModelError, match="no model 'best' for factor 3 in the package"):
        upscale_array(np.zeros((5, 6)), 3, "best")


def test_a_masked_array_keeps_its_mask():
    """What numpy masks is missing: it harms nothing, holds what it held, and is masked in the result."""
    values = np.arange(60.0).reshape(6, 10)
    values[2, 3] = -9999
    masked = upscale_array(np.ma.masked_equal(values, -9999), 2, "bilinear")
    expected = upscale_array(values, 2, "bilinear", valid=values != -9999)
    assert isinstance(masked, np.ma.MaskedArray)
    assert np.array_equal(masked.data, expected)
    assert np.array_equal(np.ma.getmaskarray(masked), (values == -9999).repeat(2, 0).repeat(2, 1))
    assert masked.fill_value == -9999
    assert masked.min() >= 0


@pytest.mark.parametrize("model", ["bilinear", "nearest"])
@pytest.mark.parametrize("shape", [(6, 10), (2, 6, 10)])
def test_all_that_is_missing_in_a_masked_array_is_masked(model, shape):
    """NaN and nodata values that numpy does not mask are masked in the result; without any, nothing is."""
    values = np.ma.masked_equal(np.arange(float(np.prod(shape))).reshape(shape), 0)
    values[..., 1, 1], values[..., 2, 2] = np.nan, -5
    fine = upscale_array(values, 3, model, nodata=-5)
    assert np.ma.getmaskarray(fine).sum() == 9 * {2: 1 + 2, 3: 1 + 2 * 2}[len(shape)]
    whole = upscale_array(np.ma.MaskedArray(np.ones(shape, "int16")), 3, model)
    assert isinstance(whole, np.ma.MaskedArray)
    assert not np.ma.getmaskarray(whole).any()
    assert not isinstance(upscale_array(np.ones(shape), 3, model), np.ma.MaskedArray)


def test_a_huge_double_harms_only_itself():
    """One cell of -1.797e308 in a field of doubles changes nothing beyond its neighbourhood, at any tile size."""
    clean = np.random.default_rng(0).normal(size=(90, 110)).cumsum(0).cumsum(1)
    dirty = clean.copy()
    dirty[45, 55] = -1.797e308
    expected = upscale_array(clean, 2, "lanczos-bp")
    far = np.ones(expected.shape, bool)
    far[2 * 20 : 2 * 70, 2 * 30 : 2 * 80] = False
    for tile_size in (None, 20):
        with pytest.warns(GeofsrcnnWarning, match=r"W-HUGE: the array holds values of 3.4e38 and more, taken as"):
            found = upscale_array(dirty, 2, "lanczos-bp", tile_size=tile_size)
        assert np.abs(found - expected)[far].max() < 1e-4


def test_whole_numbers_of_numpy_are_whole_numbers():
    """numpy's integers serve as factor, tile size and threads; a whole float serves as a factor."""
    values = np.arange(80.0).reshape(8, 10)
    expected = upscale_array(values, 3, "cubic", tile_size=6, threads=1)
    found = upscale_array(values, np.int64(3), "cubic", tile_size=np.int64(6), threads=np.int64(1))
    assert np.array_equal(found, expected)
    assert np.array_equal(upscale_array(values, 3.0, "cubic", tile_size=6, threads=1), expected)


@pytest.mark.parametrize(
    ("dtype", "nodata", "words"),
    [
        ("uint8", -9999, "nodata -9999 cannot be stored as uint8"),
        ("uint8", 3.5, "nodata 3.5 cannot be stored as uint8"),
        ("float32", "abc", "nodata must be a number, or one for each band, got 'abc'"),
        ("float32", [1, 2], "2 nodata values for 1 bands"),
    ],
)
def test_nodata_that_cannot_be(dtype, nodata, words):
    """A nodata value that the array cannot hold is an error, not silence."""
    with pytest.raises(UsageError, match=words):
        upscale_array(np.ones((4, 4), dtype), 2, "bilinear", nodata=nodata)


def test_a_nodata_of_numpy_is_a_number():
    """An array without dimensions serves as nodata."""
    values = np.array([[1.0, -9999.0], [3.0, 4.0]])
    found = upscale_array(values, 2, "bilinear", nodata=np.array(-9999.0))
    assert (found[:2, 2:] == -9999).all()


def test_a_range_that_the_input_leaves_is_said():
    """Values outside the range are named in a warning; nearest, which keeps to none, is refused with one."""
    values = np.array([[1.0, -5.0], [3.0, 4.0]])
    with pytest.warns(GeofsrcnnWarning, match="the array holds values outside the range 0 to inf, such as -5"):
        found = upscale_array(values, 2, "bilinear", value_range=(0, np.inf))
    assert found.min() == 0
    with pytest.raises(UsageError, match="nearest repeats cells as they are and keeps to no range"):
        upscale_array(values, 2, "nearest", value_range=(0, 2))
