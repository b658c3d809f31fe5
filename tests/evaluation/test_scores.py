"""Scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.evaluation.scores import Errors, rmse, scored_mask, shift
from tests.support.strategies import factors, masks, shapes


def test_rmse_by_hand():
    """Errors 3 and 4 over two of three cells: the root of 12.5."""
    estimate, truth = np.array([[3.0, 4.0, 100.0]]), np.zeros((1, 3))
    assert rmse(estimate, truth, np.array([[True, True, False]])) == pytest.approx(12.5**0.5)


def test_rmse_of_integers_does_not_wrap():
    """Unsigned fields are compared as numbers."""
    assert rmse(np.array([[1]], np.uint8), np.array([[3]], np.uint8), np.array([[True]])) == 2


@given(shapes, factors, st.integers(0, 5), st.data())
def test_scored_mask_is_a_square_of_valid_cells(shape, factor, margin, data):
    """A cell counts if the whole square around it lies in the raster and is valid; a plain loop agrees."""
    valid = data.draw(masks(shape))
    found = scored_mask(valid, factor, margin)
    assert found.shape == (shape[0] * factor, shape[1] * factor)
    rows, columns = shape
    for y in range(rows):
        for x in range(columns):
            inside = margin <= y < rows - margin and margin <= x < columns - margin
            square = valid[max(y - margin, 0) : y + margin + 1, max(x - margin, 0) : x + margin + 1]
            block = found[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
            assert (block == (inside and square.all())).all()


def test_errors_gathered_in_parts_are_those_of_the_whole():
    """RMSE, MAE and bias by hand, in two parts."""
    errors = Errors()
    errors.add(np.array([3.0, 9.0]), np.array([0.0, 0.0]), np.array([True, False]))
    errors.add(np.array([[-4.0]]), np.array([[0.0]]), np.array([[True]]))
    assert (errors.count, errors.mae, errors.bias) == (2, 3.5, -0.5)
    assert errors.rmse == pytest.approx(12.5**0.5)


def moved(seed: int, dy: float, dx: float, size: int = 192) -> tuple[np.ndarray, np.ndarray]:
    """A random field and the same field moved by a known fraction of a cell."""
    ky, kx = np.meshgrid(np.fft.fftfreq(2 * size), np.fft.fftfreq(2 * size), indexing="ij")
    k = np.hypot(ky, kx)
    white = np.fft.fft2(np.random.default_rng(seed).normal(size=(2 * size, 2 * size)))
    spectrum = white / (0.05 + k) ** 1.5 * (k < 0.3)
    there = spectrum * np.exp(-2j * np.pi * (ky * dy + kx * dx))
    truth, estimate = (np.fft.ifft2(s).real[:size, : size - 20] for s in (spectrum, there))
    return estimate, truth


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (0.25, -0.4), (-0.5, 0.02), (0.1, 0.5), (0.0, -0.3)])
def test_shift_finds_a_known_shift(dy, dx):
    """A shift of a fraction of a cell is found to 0.005 cells, with its sign, on both axes."""
    estimate, truth = moved(1, dy, dx)
    assert shift(estimate, truth) == pytest.approx((dy, dx), abs=0.005)
    assert shift(truth, estimate) == pytest.approx((-dy, -dx), abs=0.005)


def test_shift_does_not_depend_on_units():
    """Scale and offset of either field have no influence."""
    estimate, truth = moved(2, 0.2, 0.1)
    assert shift(estimate * 1e4 + 101325, truth) == pytest.approx(shift(estimate, truth), abs=1e-6)
