"""Options of a run and their checks; nothing is opened here."""

from __future__ import annotations

import math
import os

import numpy as np

from geofsrcnn.errors import UsageError, printable

FACTORS = range(2, 9)

PRECISIONS = ("float32", "bfloat16")


def check_factor(factor: float) -> int:
    """The factor as an int.

    Raises
    ------
    UsageError
        If it is not a whole number from 2 to 8.
    """
    if isinstance(factor, bool) or factor not in FACTORS:
        raise UsageError(f"factor must be a whole number from 2 to 8, got {factor!r}")
    return int(factor)


OUTPUT_TYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)


def check_tile_size(tile_size: int | None) -> None:
    """Refuse tile sizes that no model can use.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if tile_size is not None and (
        not isinstance(tile_size, (int, np.integer)) or isinstance(tile_size, bool) or tile_size < 1
    ):
        raise UsageError(f"tile size must be a positive whole number, got {tile_size!r}")


def workers_of(threads: int | None) -> int:
    """Threads that compute: those asked for, or one for each core.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, (int, np.integer)) or isinstance(threads, bool) or threads < 1:
        raise UsageError(f"threads must be a positive whole number, got {threads!r}")
    return int(threads)


def check_range(value_range: tuple[float, float] | None, model: object) -> None:
    """Refuse ranges that are none, or that the model cannot keep.

    Raises
    ------
    UsageError
        If the two numbers are not in order, or cells are only repeated.
    """
    if value_range is None:
        return
    if model == "nearest":
        raise UsageError("nearest repeats cells as they are and keeps to no range: leave out the range or the model")
    try:
        low, high = value_range
        wrong = math.isnan(low) or math.isnan(high) or not low < high
    except (TypeError, ValueError):
        raise UsageError(f"range must be a smaller and a larger number, got {value_range!r}") from None
    if wrong:
        raise UsageError(f"range must be a smaller and a larger number, got {low} {high}")


def check_dtype(dtype: str | None) -> None:
    """Refuse types that no output has.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if dtype is not None and dtype not in OUTPUT_TYPES:
        raise UsageError(f"type {printable(dtype)!r} cannot be written: take one of {', '.join(OUTPUT_TYPES)}")


def check_bounds(bounds: tuple[float, float, float, float] | None) -> None:
    """Refuse bounds that are none.

    Raises
    ------
    UsageError
        If they are not four numbers in order.
    """
    if bounds is None:
        return
    west, south, east, north = bounds
    if not all(map(math.isfinite, bounds)) or not (west < east and south < north):
        raise UsageError(f"bounds must be four numbers, west below east and south below north, got {bounds}")
