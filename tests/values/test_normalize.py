"""Standardised values come back, constants are those of all the values, however they were divided into blocks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.errors import ConfigError, InputError
from geofsrcnn.values.normalize import TRANSFORMS, Normalizer, apply_transform, undo_transform


@pytest.mark.parametrize("per_cell", [False, True])
@pytest.mark.parametrize("transform", TRANSFORMS)
@given(seed=st.integers(0, 2**31), cuts=st.lists(st.integers(1, 39), max_size=4), level=st.sampled_from([0.0, 1e5]))
def test_constants_are_those_of_all_values(transform, per_cell, seed, cuts, level):
    """Mean and standard deviation of numpy, NaN left out, whatever the blocks."""
    values = np.random.default_rng(seed).gamma(0.7, 3, (40, 3, 4)) + level
    values[np.random.default_rng(seed + 1).random(values.shape) < 0.2] = np.nan
    values[:, 0, 0] = np.nan
    blocks = np.split(values, sorted(set(cuts)))
    made = Normalizer.fit(blocks, transform=transform, per_cell=per_cell)
    seen = apply_transform(values, transform)
    axes = 0 if per_cell else None
    known = np.isfinite(seen).any(axes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # cells without values
        mean, std = np.nanmean(seen, axes), np.nanstd(seen, axes)
    assert np.allclose(made.mean[known], np.asarray(mean)[known], rtol=1e-9)
    assert np.allclose(made.std[known], np.asarray(std)[known], rtol=1e-6)
    if per_cell:
        assert (made.mean[0, 0], made.std[0, 0]) == (0, 1)


@pytest.mark.parametrize("transform", TRANSFORMS)
@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=20))
def test_what_is_encoded_comes_back(transform, values):
    """Decoding undoes encoding, negative values included."""
    given_ = np.array(values)
    made = Normalizer.fit([given_[None]], transform=transform)
    assert np.allclose(made.decode(made.encode(given_)), given_, rtol=1e-6, atol=1e-6)
    assert np.allclose(undo_transform(apply_transform(given_, transform), transform), given_, rtol=1e-9, atol=1e-9)


def test_constant_values_keep_their_scale():
    """A constant field is counted from its value, not divided by nothing."""
    made = Normalizer.fit([np.full((5, 2, 2), 273.15)])
    assert np.isclose(made.mean, 273.15, rtol=1e-12)
    assert made.std == 1.0


def test_refusals():
    """No values, no such transform, a std of 0."""
    with pytest.raises(InputError, match="no valid value"):
        Normalizer.fit([np.full((2, 2), np.nan)])
    with pytest.raises(ConfigError, match="transform must be one of none, sqrt, log1p, got 'cube'"):
        Normalizer.fit([np.zeros((2, 2))], transform="cube")
    with pytest.raises(ConfigError, match="std positive"):
        Normalizer(np.zeros(()), np.zeros(()))
