"""Shifts between fields of other contrast, found to a small part of a cell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from geofsrcnn.evaluation.registration import register

FINE = 10


def pair(dy, dx, shape=(64, 72), seed=0):
    """Block means of a field, and of another in other units that lies so many cells further along each axis."""
    rng = np.random.default_rng(seed)
    pad = 3
    fine = ndimage.gaussian_filter(rng.normal(size=[(n + 2 * pad) * FINE for n in shape]), 9.0)

    def means(y, x):
        rows, columns = pad * FINE - round(y * FINE), pad * FINE - round(x * FINE)
        part = fine[rows : rows + shape[0] * FINE, columns : columns + shape[1] * FINE]
        return part.reshape(shape[0], FINE, shape[1], FINE).mean((1, 3))

    noise = 0.2 * means(0, 0).std() * rng.normal(size=shape)
    return 40.0 + 300.0 * means(dy, dx) + 300.0 * noise, means(0, 0)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (0.5, 0), (0, -0.5), (0.3, 0.2), (-1.2, 0.7), (1.9, -1.9)], ids=str)
def test_shifts_are_found_to_a_part_of_a_cell(dy, dx):
    """In sign and size: the first field lies so much further along each axis."""
    found = register(*pair(dy, dx))
    assert abs(found.y - dy) < 0.06
    assert abs(found.x - dx) < 0.06
    assert found.coherence > 0.5


def test_two_fields_swapped_give_the_opposite():
    field, other = pair(0.4, -0.3)
    there, back = register(field, other), register(other, field)
    assert abs(there.y + back.y) < 0.02
    assert abs(there.x + back.x) < 0.02


def test_contrast_and_units_do_not_count():
    """Nor a trend of one of them."""
    field, other = pair(0.5, 0.0)
    found = register(np.sinh(2 * (field - field.mean()) / field.std()) + np.arange(72) / 30, other)
    assert abs(found.y - 0.5) < 0.1
    assert abs(found.x) < 0.1


def test_unrelated_fields_do_not_cohere():
    for seed in range(5):
        assert register(pair(0, 0, seed=seed)[0], pair(0, 0, seed=seed + 50)[1]).coherence < 0.3


@pytest.mark.parametrize("other", [np.zeros((40, 40)), np.full((40, 40), 1e9)])
def test_fields_that_show_nothing_do_not_cohere(other):
    found = register(np.random.default_rng(0).normal(size=(40, 40)), other)
    assert (found.y, found.x, found.coherence) == (0.0, 0.0, 0.0)


def test_a_small_field_gives_no_error():
    found = register(np.eye(3), np.eye(3))
    assert np.isfinite([found.y, found.x, found.coherence]).all()
