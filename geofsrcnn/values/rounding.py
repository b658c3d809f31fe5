"""Floats rounded to fewer bits, so that they compress."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array

ERROR_BITS = 9
"""Bits of the mantissa that stored expected errors keep: three digits, within 0.1 % of what was computed.

An expected error is not known any better, and takes half the room of one with all its bits.
"""

_INTEGERS = {4: np.uint32, 8: np.uint64}


def round_mantissa(values: Array, bits: int = ERROR_BITS) -> Array:
    """Round floats to so many bits of their mantissa, ties away from 0; NaN and infinities stay.

    Parameters
    ----------
    values : ndarray
        float32 or float64.
    bits : int
        Those behind the leading one, which is not stored.

    Examples
    --------
    >>> round_mantissa(np.array([1.0, 0.1234567, np.nan], np.float32), 9)
    array([1.        , 0.12341309,        nan], dtype=float32)
    """
    whole = np.ascontiguousarray(values).view(_INTEGERS[values.dtype.itemsize])
    last = whole.dtype.type(1 << (np.finfo(values.dtype).nmant - bits))  # the last bit that stays
    rounded = whole + last // 2
    rounded &= ~(last - whole.dtype.type(1))
    floats: Array = rounded.view(values.dtype)
    np.copyto(floats, values, where=~np.isfinite(values))
    return floats
