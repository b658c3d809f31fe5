"""Expected errors beside values, wherever they are held: their type, their name, their title."""

from __future__ import annotations

from typing import Any

import numpy as np


def error_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Floating type of the expected errors of values: float32, or float64 where values have more digits."""
    return np.result_type(dtype, np.float32)


def error_name(name: str) -> str:
    """Name the expected errors of a variable, or of a band."""
    return f"{name}_error"


def error_title(name: str) -> str:
    """Say what the expected errors of a variable, or of a band, are."""
    return f"expected absolute error of {name}"
