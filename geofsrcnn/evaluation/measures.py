"""Scores: their names, their meaning, and how their numbers are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from geofsrcnn.errors import printable
from geofsrcnn.evaluation.comparison import Comparison

MEASURES: dict[str, str] = {
    "accuracy": "share of the cells that get their class",
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
    "bias": "mean error, estimate less truth",
    "correlation": "Pearson's, over all values",
    "psnr": "peak signal to noise ratio in dB, of the truth's range",
    "ssim": "structural similarity (Wang et al. 2004), mean over times or windows",
    "spectrum_ratio": "power at wavelengths below two coarse cells, divided by the truth's",
    "p1": "error of the 1st percentile",
    "p5": "error of the 5th percentile",
    "p95": "error of the 95th percentile",
    "p99": "error of the 99th percentile",
    "wet_days": "share of values of 1 mm a day or more, less the truth's (rain)",
    "wet_intensity": "mean of values of 1 mm a day or more, less the truth's (rain)",
    "shift_y": "rows by which the estimate lies too far along the axis (phase correlation)",
    "shift_x": "columns by which the estimate lies too far along the axis",
    "conservation": "root mean squared difference of block means from the coarse field",
    "crps": "continuous ranked probability score of the members",
    "ratio": "RMSE divided by the best baseline's; below 1 the method is better",
    "spread_skill": "spread of the members divided by the error of their mean (1 if the spread is right)",
}
"""The scores and their meaning."""


class Column(NamedTuple):
    """How a measure is shown: unit and decimals are the variable's where None; what is best, least, most, 0 or 1."""

    head: str
    unit: str | None
    decimals: int | None
    best: str


COLUMNS = {
    "accuracy": Column("right class", "", 4, "most"),
    "rmse": Column("RMSE", None, None, "least"),
    "ratio": Column("to best baseline", "", 3, "least"),
    "mae": Column("MAE", None, None, "least"),
    "bias": Column("bias", None, None, "0"),
    "correlation": Column("correlation", "", 4, "most"),
    "psnr": Column("PSNR", "dB", 2, "most"),
    "ssim": Column("SSIM", "", 4, "most"),
    "crps": Column("CRPS", None, None, "least"),
    "spread_skill": Column("spread / error", "", 2, "1"),
    "spectrum_ratio": Column("fine power", "", 3, "1"),
    "p1": Column("1st pct.", None, None, "0"),
    "p5": Column("5th pct.", None, None, "0"),
    "p95": Column("95th pct.", None, None, "0"),
    "p99": Column("99th pct.", None, None, "0"),
    "wet_days": Column("wet share", "", 4, "0"),
    "wet_intensity": Column("wet mean", None, None, "0"),
    "shift_y": Column("shift y", "cells", 2, "0"),
    "shift_x": Column("shift x", "cells", 2, "0"),
    "conservation": Column("block means", None, None, "least"),
}

BADNESS: dict[str, Callable[[float], float]] = {
    "least": lambda value: value,
    "most": lambda value: -value,
    "0": abs,
    "1": lambda value: abs(math.log(value)) if value > 0 else math.inf,
}


def unit_text(measure: str, c: Comparison) -> str:
    """The unit of a measure, for a table."""
    unit = COLUMNS[measure].unit
    return printable(c.unit) if unit is None else unit


def decimals(measure: str, c: Comparison) -> int:
    """Decimals of a measure; in the variable's unit so many that the largest RMSE has four digits."""
    places = COLUMNS[measure].decimals
    if places is not None:
        return places
    largest = max((s["rmse"] for s in c.scores.values() if math.isfinite(s.get("rmse", math.nan))), default=0.0)
    return max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 3


def number_text(value: float, places: int, *, signed: bool = False) -> str:
    """A number with fixed decimals, or powers of ten where those would be many; zero has no sign."""
    if not math.isfinite(value):
        return "–"
    if places > 7:
        return f"{value:{'+' if signed and value else ''}.3e}"
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text if float(text) else text.lstrip("+-")
