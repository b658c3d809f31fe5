"""Scores: their names, their meaning, and how their numbers are shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from geofsrcnn.errors import printable
from geofsrcnn.evaluation.comparison import Comparison

PERCENTILES = (1, 5, 95, 99)
"""Whose errors are told."""

INTERVALS = (50, 90)
"""Per cent of the truth that intervals about the median should hold."""

INTERVAL_RANK = 9
"""Rank of intervals in the terminal."""


class Measure(NamedTuple):
    """Meaning of a score, and how it is shown.

    Parameters
    ----------
    key : str
        Its name in `geofsrcnn.evaluation.comparison.Comparison.scores`, and in JSON.
    title : str
        Head of its column.
    unit : str, optional
        The variable's if None.
    decimals : int, optional
        As many as suit the variable's RMSE if None.
    best : {"least", "most", "0", "0.5", "0.9", "1"}
        The best value.
    meaning : str
        For the reader of a report.
    rank : int
        In the terminal: 0 is not shown, 1 always, and of the others those of higher rank give way to a narrow one.
    """

    key: str
    title: str
    unit: str | None
    decimals: int | None
    best: str
    meaning: str
    rank: int = 0


_SKILL = (
    Measure("accuracy", "right class", "", 4, "most", "share of the cells that get their class", 1),
    Measure(
        "ratio", "to best baseline", "", 3, "least", "RMSE divided by the best baseline's; below 1 it is better", 1
    ),
    Measure("rmse", "RMSE", None, None, "least", "root of the mean squared error", 1),
    Measure("mae", "MAE", None, None, "least", "mean absolute error", 3),
    Measure("bias", "bias", None, None, "0", "mean error, estimate less truth", 2),
    Measure("correlation", "correlation", "", 4, "most", "Pearson's, over all values", 6),
    Measure("psnr", "PSNR", "dB", 2, "most", "peak signal to noise ratio in dB, of the truth's range"),
    Measure("ssim", "SSIM", "", 4, "most", "structural similarity (Wang et al. 2004), mean over times or windows", 5),
    Measure("crps", "CRPS", None, None, "least", "continuous ranked probability score of members, or distributions"),
    Measure(
        "spread_skill",
        "spread / error",
        "",
        2,
        "1",
        "spread of the members, or distributions, over the error of their mean; 1 is right",
    ),
    *(
        Measure(
            f"within_{share}",
            f"in {share} %",
            "",
            3,
            f"{share / 100:g}",
            f"share of the truth within the middle {share} % of distributions",
        )
        for share in INTERVALS
    ),
    Measure("wet_chance", "wet chance", "", 4, "0", "mean chance of 1 mm a day or more, less the truth's share (rain)"),
)

_STRUCTURE = (
    Measure(
        "spectrum_ratio", "fine power", "", 3, "1", "power at wavelengths below two coarse cells over the truth's", 4
    ),
    *(
        Measure(f"p{number}", f"{ordinal} pct.", None, None, "0", f"error of the {ordinal} percentile")
        for number, ordinal in zip(PERCENTILES, ("1st", "5th", "95th", "99th"), strict=True)
    ),
    Measure("wet_days", "wet share", "", 4, "0", "share of values of 1 mm a day or more, less the truth's (rain)"),
    Measure(
        "wet_intensity", "wet mean", None, None, "0", "mean of values of 1 mm a day or more, less the truth's (rain)"
    ),
    Measure("shift_y", "shift y", "cells", 2, "0", "rows by which the estimate lies too far along (phase correlation)"),
    Measure("shift_x", "shift x", "cells", 2, "0", "columns by which the estimate lies too far along"),
    Measure("conservation", "block means", None, None, "least", "RMS difference of block means from the coarse field"),
)

_TERRAIN = (
    Measure("slope", "slope", "°", 3, "least", "RMSE of slopes (Horn 1981), of elevations in metres", 4),
    Measure(
        "hillshade", "hillshade", "", 2, "least", "RMSE of shading by light from the northwest, 45 degrees up, 0 to 255"
    ),
)

GROUPS = {"Skill": _SKILL, "Terrain": _TERRAIN, "Fine structure, extremes and position": _STRUCTURE}
"""Scores by the caption of their table in a report, in the order of its columns."""

MEASURES = {measure.key: measure for group in GROUPS.values() for measure in group}
"""All scores by key."""


def _distance(wanted: float, value: float) -> float:
    return abs(value - wanted)


BADNESS: dict[str, Callable[[float], float]] = {
    "least": lambda value: value,
    "most": lambda value: -value,
    "0": abs,
    **{f"{share / 100:g}": partial(_distance, share / 100) for share in INTERVALS},
    "1": lambda value: abs(math.log(value)) if value > 0 else math.inf,
}


def unit_text(measure: str, c: Comparison) -> str:
    """The unit of a measure, for a table."""
    unit = MEASURES[measure].unit
    return printable(c.unit) if unit is None else unit


def decimals(measure: str, c: Comparison) -> int:
    """Decimals of a measure; in the variable's unit so many that the largest RMSE has four digits."""
    places = MEASURES[measure].decimals
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
