"""Expected errors beside values, wherever they are held: their type, their name, their title."""

from __future__ import annotations

from typing import Any

import numpy as np


def error_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Floating type of the expected errors of values: float32, or float64 where values have more digits."""
    return np.result_type(dtype, np.float32)


def type_beside_errors(dtype: np.dtype[Any], *, unpacked: bool = False) -> np.dtype[Any] | None:
    """Return the type of values that share one with their errors, as all bands of a GeoTIFF do; None for their own.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the values.
    unpacked : bool
        They lose their packing beside errors, which have none.

    Examples
    --------
    >>> [type_beside_errors(np.dtype(name)) for name in ("int16", "int32", "float32")]
    [dtype('float32'), dtype('float64'), None]
    """
    floating = error_type(dtype)
    return floating if unpacked or floating != dtype else None


def error_name(name: str) -> str:
    """Name the expected errors of a variable, or of a band."""
    return f"{name}_error"


def error_title(name: str) -> str:
    """Say what the expected errors of a variable, or of a band, are."""
    return f"expected absolute error of {name}"
