"""Defects found in other packages, by number in the survey of peers, that must not occur here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.networks.config import PRESETS
from geofsrcnn.networks.inference import Network
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.kernels import CLASSICAL
from tests.support.networks import random_model

SMOOTH = [m for m in CLASSICAL if m != "nearest"]
FORMS = [{}, {"skip": "cubic"}, {"conserving": "positive"}, PRESETS["small"], {"conserving": "none"}]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("tile_size", [7, 12, 40])
def test_peer_d1_a_constant_with_holes_stays_constant_across_tiles(random_network, form, tile_size):
    """No blending, no zeros from outside: 5000 stays 5000 at every tile border, edge and hole."""
    coarse = np.full((33, 38), 5000.0)
    valid = np.random.default_rng(0).random(coarse.shape) < 0.9
    fine = upscale_array(coarse, 3, random_network(3, **form), valid=valid, tile_size=tile_size)
    assert np.abs(fine - 5000).max() <= 1e-9


@pytest.mark.parametrize("name", ["default", "small"])
def test_peer_d2_the_overlap_is_the_networks_own_reach(random_network, name):
    """Even the smallest tile shows no seam, because the halo is computed from the layers."""
    model = random_network(3, **PRESETS[name])
    coarse = np.random.default_rng(1).normal(size=(25, 29))
    whole = upscale_array(coarse, 3, model, tile_size=100, threads=1)
    tiled = upscale_array(coarse, 3, model, tile_size=model.config.halo, threads=1)
    assert np.abs(tiled - whole).max() <= 1e-5 * np.ptp(coarse)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("method", SMOOTH)
def test_peer_d3_impulse_responses_are_centred(method, factor):
    """An impulse comes out mirror-symmetric about its own cell's centre."""
    coarse = np.zeros((31, 31))
    coarse[15, 15] = 1
    fine = upscale_array(coarse, factor, method)
    for mirrored in (fine[::-1], fine[:, ::-1], fine.T):
        assert np.allclose(fine, mirrored, atol=1e-6)
    y, x = np.mgrid[: 31 * factor, : 31 * factor]
    centre = factor * 15 + (factor - 1) / 2
    assert (fine * y).sum() / fine.sum() == pytest.approx(centre, abs=1e-4)
    assert (fine * x).sum() / fine.sum() == pytest.approx(centre, abs=1e-4)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("form", [{}, {"skip": "cubic"}, {"m": 3}, {"deconvolution_taps": 5}])
def test_peer_d3_networks_reach_equally_far_on_all_sides(random_network, factor, form):
    """An impulse's influence is a square of whole coarse cells around its own: no side is favoured."""
    model = random_network(factor, **form)
    halo = model.config.halo
    coarse = np.zeros((31, 31))
    coarse[15, 15] = 1e4
    touched = block_mean((upscale_array(coarse, factor, model) != 0).astype(float), factor) > 0
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    assert (rows[0], rows[-1]) == (15 - halo, 15 + halo)
    assert (columns[0], columns[-1]) == (15 - halo, 15 + halo)


@pytest.mark.parametrize("factor", [2, 4])
def test_peer_d3_even_factors_show_no_chequerboard(random_network, factor):
    """Each fine cell is served alike: a constant shows no pattern at even factors, in the paper's layers too."""
    fine = upscale_array(np.full((12, 12), 280.5), factor, random_network(factor))
    assert (fine == 280.5).all()


def test_peer_d4_sizes_are_factor_times_the_input(random_network):
    """20 cells give 60 at factor 3, not 58."""
    for form in ({}, PRESETS["paper"], {"pad_layers": True, "unit_free": False, "skip": "none"}):
        assert upscale_array(np.zeros((20, 20)), 3, random_network(3, **form)).shape == (60, 60)


@pytest.mark.parametrize("form", FORMS)
def test_peer_d5_a_hole_in_a_constant_touches_no_valid_cell(random_network, form):
    """A 3 x 3 hole of -9999 in a constant 5000 lowers no valid cell; nor does NaN spread."""
    coarse = np.full((30, 30), 5000.0, np.float32)
    for missing in (-9999.0, np.nan):
        coarse[12:15, 14:17] = missing
        fine = upscale_array(coarse, 3, random_network(3, **form), nodata=missing)
        hole = np.zeros(fine.shape, bool)
        hole[36:45, 42:51] = True
        assert (fine[~hole] == 5000).all()
        assert np.array_equal(fine[hole], np.full(81, missing, np.float32), equal_nan=True)


def test_peer_d5_a_coast_is_not_pulled_towards_the_sea(random_network):
    """A plane cut off by nodata keeps its values near the coast within its own local range."""
    y, x = np.mgrid[:30, :30].astype(float)
    coarse = 500 + 2 * x + y
    valid = x + y < 30
    fine = upscale_array(np.where(valid, coarse, -9999), 3, "lanczos-bp", nodata=-9999)
    off = np.abs(fine - repeat(coarse, 3))[repeat(valid, 3)]
    assert off.max() < 3


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("float32", (800, 1685)), ("float32", (270.0, 288.0)), ("uint16", (0, 30000)), ("int16", (-300, 300))],
)
def test_peer_d6_heights_kelvin_and_16_bit_are_kept(random_network, dtype, values):
    """Heights, kelvin, 16-bit counts and negative values keep their type, range and means."""
    unit = ndimage.gaussian_filter(np.random.default_rng(2).random((24, 25)), 2)
    unit = 0.3 + 0.4 * (unit - unit.min()) / np.ptp(unit)
    coarse = (values[0] + (values[1] - values[0]) * unit).astype(dtype)
    fine = upscale_array(coarse, 3, "lanczos-bp")
    assert fine.dtype == dtype
    allowed = 0.5 + 1e-4 * (values[1] - values[0])  # with back-projection means are kept nearly
    assert np.abs(block_mean(fine, 3) - coarse).max() <= allowed
    assert np.abs(fine.astype(float) - repeat(coarse, 3)).max() < 0.2 * (values[1] - values[0])


@pytest.mark.parametrize("bands", [1, 2, 4, 5, 17])
def test_peer_d6_any_number_of_bands(random_network, bands):
    """Any number of bands goes through a model of one channel, each as it would alone."""
    coarse = np.random.default_rng(3).normal(size=(bands, 9, 8)).astype(np.float32)
    fine = upscale_array(coarse, 3, random_network(3), threads=1)
    assert np.array_equal(fine[-1], upscale_array(coarse[-1], 3, random_network(3), threads=1))


@pytest.mark.parametrize("method", [*CLASSICAL, "network"])
def test_peer_d7_missing_and_constant_fields_are_no_error(random_network, method):
    """A single NaN, only NaN, and a constant all come out, without a warning."""
    model = random_network(3) if method == "network" else method
    field = np.ones((8, 9))
    field[2, 3] = np.nan
    assert np.isnan(upscale_array(field, 3, model)).sum() == 9
    assert np.isnan(upscale_array(np.full((8, 9), np.nan), 3, model)).all()


@pytest.mark.parametrize("shape", [(128, 200), (256, 96), (100, 100), (224, 65), (3, 150)])
def test_peer_d8_every_shape_is_covered_whole(shape):
    """Wide, tall and odd shapes are covered to the last cell, rows and columns in their places."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    coarse = (1000.0 * y + x).astype(np.float32)
    fine = upscale_array(coarse, 2, "bilinear", tile_size=64)
    assert fine.shape == (2 * shape[0], 2 * shape[1])
    assert np.abs(block_mean(fine, 2)[1:-1, 1:-1] - coarse[1:-1, 1:-1]).max() < 0.1
    assert fine[-1, -1] == coarse[-1, -1]


def test_peer_d12_zero_blocks_give_zeros(random_network):
    """Blocks of zeros among rain give zeros, no NaN; a 300 K cell stays within its surroundings."""
    rain = np.maximum(np.random.default_rng(4).normal(0, 5, (20, 21)), 0)
    rain[5:12, 3:15] = 0
    for conserving in ("positive", "mean"):
        fine = upscale_array(rain, 3, random_network(3, conserving=conserving))
        assert np.isfinite(fine).all()
    model = random_network(3, conserving="positive")
    assert (upscale_array(np.zeros((9, 9)), 3, model) == 0).all()
    assert (upscale_array(rain, 3, model)[repeat(rain == 0, 3)] == 0).all()
    flat = upscale_array(np.full((9, 9), 300.0), 3, model)
    assert np.abs(flat - 300).max() <= 1e-9


def test_peer_d14_the_border_is_kept(random_network):
    """The outermost cells come out too: nothing is trimmed by the halo."""
    coarse = np.random.default_rng(5).normal(size=(6, 7))
    fine = upscale_array(coarse, 3, random_network(3))
    assert fine.shape == (18, 21)
    assert np.allclose(block_mean(fine, 3), coarse, atol=1e-5)


@pytest.mark.parametrize("field", ["negative", "above one", "nodata"])
def test_peer_d15_nothing_is_clamped_to_a_display_range(random_network, field):
    """Negative heights, large counts and a float nodata tag come out as they are."""
    coarse = np.random.default_rng(6).normal(0, 1, (15, 16)).astype(np.float32)
    coarse = coarse - 300 if field == "negative" else coarse + 30000
    if field == "nodata":
        coarse[3, 3] = -9999
    fine = upscale_array(coarse, 3, random_network(3), nodata=-9999)
    assert (fine[9:12, 9:12] == -9999).all() == (field == "nodata")
    keep = coarse != -9999
    assert np.allclose(block_mean(fine, 3)[keep], coarse[keep], rtol=1e-6)


def test_peer_d16_no_statistics_of_a_tile_enter(random_network):
    """Values far away, dark or bright, in the tile or out of it, leave a region to the last bit."""
    model = random_network(3)
    coarse = np.random.default_rng(7).normal(5, 1, (20, 50))
    before = upscale_array(coarse, 3, model)
    coarse[:, 30:] *= 1e4
    after = upscale_array(coarse, 3, model)
    reach = 3 * (30 - model.config.halo)
    assert np.array_equal(before[:, :reach], after[:, :reach])


def test_peer_d18_zeros_and_negatives_are_values(random_network):
    """Zero and negative cells are not missing unless they are said to be."""
    coarse = np.random.default_rng(8).integers(-3, 3, (12, 13)).astype(np.float32)
    fine = upscale_array(coarse, 3, random_network(3))
    assert np.allclose(block_mean(fine, 3), coarse, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("model", ["bilinear", "cubic", "network"])
def test_peer_d20_a_plane_stays_in_place(random_network, model, factor):
    """The plane 2 x + 5 y comes out at the fine cells' centres: no corner alignment, no kernel error."""
    chosen = random_network(factor) if model == "network" else model
    y, x = np.mgrid[:24, :24].astype(float)
    fy, fx = (np.mgrid[: 24 * factor, : 24 * factor] + 0.5) / factor - 0.5
    fine = upscale_array(2 * x + 5 * y, factor, chosen)
    inside = (slice(6 * factor, -6 * factor),) * 2
    assert np.abs(fine - (2 * fx + 5 * fy))[inside].max() < 1e-4


def test_peer_d21_only_the_missing_cells_are_lost(random_network):
    """One missing cell costs 9 fine cells, not 36; -9999 does not mix into its neighbours."""
    coarse = np.full((14, 14), 10.0, np.float32)
    coarse[6, 6] = -9999
    fine = upscale_array(coarse, 3, random_network(3), nodata=-9999)
    assert (fine == -9999).sum() == 9
    assert (fine == 10).sum() == fine.size - 9


def test_peer_d22_block_means_are_kept_where_kernels_lose_them():
    """A conserving network keeps block means that bicubic misses by far."""
    coarse = np.random.default_rng(9).normal(size=(20, 20)).astype(np.float32)
    network = Network(random_model(1, d=8, s=4, m=1))
    padded = np.pad(coarse, network.halo, mode="edge")
    fine = network(torch.from_numpy(padded)[None, None])[0, 0].numpy()
    assert np.abs(block_mean(upscale_array(coarse, 3, "cubic"), 3) - coarse).max() > 0.1
    assert np.abs(block_mean(fine, 3) - coarse).max() < 1e-5
