"""Classical methods against independent references."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from geofsrcnn.errors import UsageError
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.kernels import KERNELS, filter_bank, offsets, resample, split_method, taps
from tests.support.strategies import factors, fields, seeds, shapes

METHODS = [kernel + suffix for kernel in KERNELS for suffix in ("", "-c", "-bp")]
PLANAR = ("bilinear", "cubic", "bilinear-c", "cubic-c", "bilinear-bp", "cubic-bp")


def noise(seed, shape=(24, 27)):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("method", METHODS)
def test_filter_bank_is_resample_inside(method, factor):
    """One filter for each sub-pixel gives what kernels along rows and columns, round by round, give."""
    coarse, bank = noise(1, (30, 33)), filter_bank(method, factor)
    radius = bank.shape[-1] // 2
    inside = (slice(radius, 30 - radius), slice(radius, 33 - radius))
    expected = resample(coarse, factor, method)
    for p in range(factor):
        for q in range(factor):
            found = ndimage.correlate(coarse, bank[p, q], mode="nearest")[inside]
            assert np.allclose(found, expected[p::factor, q::factor][inside], atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@given(seed=seeds, shape=shapes)
def test_bilinear_is_scipys(factor, seed, shape):
    """scipy.ndimage.zoom with order 1 and cells as areas gives the same field, edges included."""
    coarse = noise(seed, shape)
    expected = ndimage.zoom(coarse, factor, order=1, grid_mode=True, mode="nearest")
    assert np.allclose(resample(coarse, factor, "bilinear"), expected, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@given(seed=seeds, shape=shapes)
def test_cubic_075_is_torchs_bicubic(factor, seed, shape):
    """torch's bicubic (a = -0.75, corners not aligned) gives the same field, edges included."""
    coarse = noise(seed, shape)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(coarse)[None, None], scale_factor=factor, mode="bicubic", align_corners=False
    )
    assert np.allclose(resample(coarse, factor, "cubic-0.75"), expected[0, 0].numpy(), atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("method", ["bilinear", "cubic", "lanczos"])
def test_kernels_are_gdals_inside(method, factor):
    """GDAL's bilinear, cubic and lanczos, through rasterio, give the same values away from the edges."""
    coarse = noise(3)
    fine = np.zeros((24 * factor, 27 * factor))
    step = 30.0
    reproject(
        coarse,
        fine,
        src_transform=Affine(step, 0, 500000, 0, -step, 6000000),
        dst_transform=Affine(step / factor, 0, 500000, 0, -step / factor, 6000000),
        src_crs="EPSG:32633",
        dst_crs="EPSG:32633",
        resampling=Resampling[method],
    )
    inside = (slice(3 * factor, -3 * factor),) * 2
    assert np.allclose(resample(coarse, factor, method)[inside], fine[inside], atol=1e-9)


@pytest.mark.parametrize("method", [m for m in METHODS if m.endswith("-c")])
@given(factor=factors, coarse=fields())
def test_conserving_methods_keep_block_means(method, factor, coarse):
    """After ``-c`` each block's mean is the coarse cell."""
    assert np.allclose(block_mean(resample(coarse, factor, method), factor), coarse, atol=1e-13)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k != "nearest"])
def test_back_projection_nears_the_block_means(kernel):
    """After ``-bp`` block means are at least ten times nearer to the coarse cells."""
    coarse = ndimage.gaussian_filter(noise(5), 1)
    errors = [np.abs(block_mean(resample(coarse, 3, kernel + end), 3) - coarse).max() for end in ("", "-bp")]
    assert errors[1] < 0.1 * errors[0]


@pytest.mark.parametrize("method", METHODS)
@given(factor=factors, shape=shapes, value=st.floats(-1e6, 1e6))
def test_constants_stay(method, factor, shape, value):
    """Every method gives a constant back."""
    assert np.allclose(resample(np.full(shape, value), factor, method), value, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("method", PLANAR)
@given(factor=factors, slopes=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_planes_come_out_as_planes(method, factor, slopes):
    """Bilinear and cubic (a = -0.5) reproduce a plane at the fine cells' centres, away from edges."""
    size, margin = 30, 9
    y, x = np.mgrid[:size, :size]
    fy, fx = ((np.mgrid[: size * factor, : size * factor] + 0.5) / factor) - 0.5
    fine = resample(slopes[0] * x + slopes[1] * y, factor, method)
    inside = (slice(margin * factor, -margin * factor),) * 2
    assert np.allclose(fine[inside], (slopes[0] * fx + slopes[1] * fy)[inside], atol=1e-11)


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_taps_sum_to_one_and_are_mirrored(kernel, factor):
    """Filters sum to 1; the last sub-pixel's is the first's reversed: nothing is off-centre."""
    line = taps(kernel, factor)
    assert np.allclose(line.sum(axis=1), 1, atol=1e-15)
    assert np.allclose(line, line[::-1, ::-1], atol=1e-15)


@given(factors)
def test_offsets_are_the_centres_of_equal_parts(factor):
    """Offsets are evenly spaced by 1 / f around 0, half a fine cell inside the coarse cell's edges."""
    found = offsets(factor)
    assert found.sum() == pytest.approx(0, abs=1e-15)
    assert np.allclose(np.diff(found), 1 / factor)
    assert found[0] - 0.5 / factor == pytest.approx(-0.5)


@given(factors, shapes, seeds)
def test_block_mean_undoes_repeat(factor, shape, seed):
    """Repeated cells have their own value as mean; a plain loop agrees."""
    coarse = np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)
    fine = repeat(coarse, factor)
    assert fine.dtype == coarse.dtype
    assert np.array_equal(block_mean(fine, factor), coarse)
    fine = fine + np.arange(fine.size).reshape(fine.shape)
    assert block_mean(fine, factor)[-1, -1] == pytest.approx(fine[-factor:, -factor:].mean())


def test_block_mean_cuts_off_partial_blocks_and_keeps_nan():
    """Cells that do not fill a block are left out; a NaN makes its block NaN."""
    fine = np.arange(35.0).reshape(5, 7)
    fine[0, 0] = np.nan
    found = block_mean(fine, 2)
    assert found.shape == (2, 3)
    assert np.isnan(found[0, 0])
    assert found[1, 1] == fine[2:4, 2:4].mean()


@pytest.mark.parametrize("method", ["bicubic", "cubic-x", "-c", "", "cubic-c-c"])
def test_unknown_methods_are_refused(method):
    """A name that is no method is an error that lists the methods."""
    with pytest.raises(UsageError, match=r"no resampling method .* take one of nearest, bilinear"):
        split_method(method)


def test_filter_bank_cannot_be_changed():
    """The cached bank is read-only."""
    with pytest.raises(ValueError, match="read-only"):
        filter_bank("cubic", 3)[0, 0, 0, 0] = 1
