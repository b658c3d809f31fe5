"""Floats of fewer bits: close, on one grid, and the same where they are no numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geofsrcnn.values.rounding import ERROR_BITS, round_mantissa


@given(st.sampled_from(["float32", "float64"]), st.integers(1, 20), st.data())
def test_within_half_of_the_last_bit(dtype, bits, data):
    """Rounded once, nothing changes any more; the sign and what is no number stay."""
    values = data.draw(arrays.arrays(dtype, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
    values[0] = 0, np.nan, np.inf, -np.inf
    rounded = round_mantissa(values, bits)
    assert rounded.dtype == dtype
    assert np.array_equal(rounded[0], values[0], equal_nan=True)
    normal = np.isfinite(values) & (np.abs(values) > 1e-30)
    assert (np.abs(rounded[normal] - values[normal]) <= 2.0 ** -(bits + 1) * np.abs(values[normal])).all()
    assert np.array_equal(round_mantissa(rounded, bits), rounded, equal_nan=True)
    mantissas = np.frexp(rounded[normal])[0] * 2.0 ** (bits + 1)
    assert np.array_equal(mantissas, np.rint(mantissas))


@pytest.mark.parametrize("pattern", [0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001])
def test_every_nan_stays_one(pattern):
    """Whatever its bits are."""
    assert np.isnan(round_mantissa(np.array([pattern], np.uint32).view(np.float32))).all()


def test_errors_keep_three_digits():
    """0.1 %, as the documentation says."""
    values = np.random.default_rng(0).lognormal(size=1000).astype("float32")
    assert np.abs(round_mantissa(values, ERROR_BITS) / values - 1).max() < 0.001
