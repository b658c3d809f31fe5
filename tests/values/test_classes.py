"""Integers that look like classes, and measurements that do not, however few values they have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, spatial

from geofsrcnn.values.classes import count_classes

SCENES = [2, 4, 5, 6, 7, 8, 9, 10, 11]
FLAGS = [1, 21824, 21890, 21952, 22018, 22280, 23888, 54596, 55052]


def smooth(scale, seed=0):
    """A smooth field from 0 to 1."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(200, 220)), scale)
    return (field - field.min()) / np.ptp(field)


def patches(codes, scale):
    """The class whose own field is the highest."""
    return np.array(codes)[np.stack([smooth(scale, seed) for seed in range(len(codes))]).argmax(0)]


@pytest.mark.parametrize("scale", [2, 5, 12])
@pytest.mark.parametrize("codes", [SCENES, FLAGS])
def test_classes_and_flags(codes, scale):
    """Scene classes of Sentinel-2 and quality flags of Landsat, in patches of any size."""
    cells = patches(codes, scale)
    assert count_classes(cells, np.full(cells.shape, True)) == len(codes)


@pytest.mark.parametrize("scale", [2, 5, 12])
@pytest.mark.parametrize(
    "kind", ["degrees", "decimetres", "flat", "shower", "percent", "noisy", "counts", "holes", "constant", "mask"]
)
def test_measurements(kind, scale):
    """Few steps, steps of ten, showers on dry land, per cent with much of 0 and 100, noise, counts, holes of 0."""
    field, rng = smooth(scale), np.random.default_rng(1)
    cells = {
        "degrees": np.rint(field * 15),
        "decimetres": 10 * np.rint(field * 20),
        "flat": np.rint(field * 3),
        "shower": np.rint(np.maximum(field - 0.6, 0) * 75),
        "percent": np.clip(np.rint((field - 0.5) * 300), 0, 100),
        "noisy": np.rint(field * 30 + rng.normal(size=field.shape)),
        "counts": rng.poisson(np.maximum(field - 0.5, 0) * 8),
        "holes": np.where(smooth(scale, 3) > 0.7, 0, np.rint(field * 20 + 100)),
        "constant": np.ones(field.shape),
        "mask": field > 0.5,
    }[kind].astype("int16")
    assert count_classes(cells, np.full(cells.shape, True)) == 0


@pytest.mark.parametrize("ids", [60, 300, 1000])
def test_ids_of_parcels(ids):
    """More ids than classes ever are, each in a patch of its own, in no order."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:200, :220]
    nearest = spatial.KDTree(rng.random((ids, 2)) * [200, 220]).query(np.stack([y, x], -1))[1]
    cells = rng.choice(100_000, ids, replace=False)[nearest]
    assert count_classes(cells, np.full(cells.shape, True)) == len(np.unique(cells)) > 48


@pytest.mark.parametrize("scale", [2, 5, 12])
@pytest.mark.parametrize("kind", ["metres", "repeated", "plateaus", "sea", "noisy", "percent"])
def test_measurements_of_many_values(kind, scale):
    """A DEM, one whose cells were repeated, terraces, land above a sea, noise, and per cent are no ids."""
    field, rng = smooth(scale), np.random.default_rng(1)
    cells = {
        "metres": np.rint(field * 800),
        "repeated": np.kron(np.rint(field[:50, :55] * 800), np.ones((4, 4))),
        "plateaus": np.rint(field * 60),
        "sea": np.maximum(np.rint((field - 0.6) * 900), 0),
        "noisy": np.kron(np.rint(field * 90 + rng.normal(0, 8, field.shape))[::2, ::2], np.ones((2, 2))),
        "percent": np.clip(np.rint((field - 0.5) * 300), 0, 100),
    }[kind].astype("int16")
    assert count_classes(cells, np.full(cells.shape, True)) == 0


def test_missing_cells_do_not_count():
    """Classes around a hole, and too few cells to tell."""
    cells, valid = patches(SCENES, 5), np.full((200, 220), True)
    cells[50:100] = -99
    valid[50:100] = False
    assert count_classes(cells, valid) == len(SCENES)
    valid[30:] = valid[:, 30:] = False
    assert count_classes(cells, valid) == 0
