"""What several methods made of one variable's coarse fields, beside the truth: scores, spectra, maps, and words."""

from __future__ import annotations

from dataclasses import dataclass, field

from geofsrcnn._types import Array


@dataclass(frozen=True)
class Maps:
    """One moment, for looking at.

    Parameters
    ----------
    when : str
        The moment, or ``""``.
    y, x : ndarray
        Coordinates of the fine rows and columns; rows may run either way.
    coarse : ndarray (y / factor, x / factor), about
        What the methods were given, on the coarse grid that the fine one refines (from the same corner; the last
        row and column may reach beyond the fine grid); NaN where missing.
    truth : ndarray (y, x)
        NaN where missing.
    fine : dict of str to ndarray (y, x)
        What some of the methods gave, models first.
    spread : ndarray (y, x), optional
        Standard deviation of the first model's members.
    """

    when: str
    y: Array
    x: Array
    coarse: Array
    truth: Array
    fine: dict[str, Array]
    spread: Array | None = None


@dataclass(frozen=True)
class Comparison:
    """One variable.

    Parameters
    ----------
    name, unit : str
        Of the variable or band.
    factor : int
        Fine cells along one side of a coarse cell.
    times, cells : int
        Times that were compared; values (cells times times) that counted.
    span : tuple of str
        First and last time, or ``("", "")``.
    models : tuple of str
        Methods that are networks; all others are simple ones.
    scores : dict
        ``scores[method][measure]``; a measure that cannot be is not there. See `MEASURES`.
    parts : dict
        ``parts["season"]["DJF"][method]`` and ``parts["month"]["01"][method]``: RMSE of a part of the times; empty
        where all times lie in one part, or there are none.
    wavelengths : ndarray (k,)
        Of the spectra, in fine cells, falling.
    spectra : dict of str to ndarray (k,)
        Radially averaged power by method, and of ``"truth"``.
    edges : ndarray (n + 1,)
        Of the bins of `scatter`, in the unit.
    scatter : dict of str to ndarray (n, n) of int
        How often the truth (first axis) and a method's value (second) fell into each pair of bins.
    maps : Maps
        One moment.
    """

    name: str
    unit: str
    factor: int
    times: int
    cells: int
    span: tuple[str, str]
    models: tuple[str, ...]
    scores: dict[str, dict[str, float]]
    wavelengths: Array
    spectra: dict[str, Array]
    edges: Array
    scatter: dict[str, Array]
    maps: Maps
    parts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @property
    def best_simple(self) -> str:
        """The simple method with the smallest RMSE."""
        return min((m for m in self.scores if m not in self.models), key=lambda m: self.scores[m]["rmse"])

    @property
    def best_model(self) -> str:
        """The model with the smallest RMSE."""
        return min(self.models, key=lambda m: self.scores[m]["rmse"])

    def ratio(self, model: str) -> float:
        """A model's RMSE divided by the best simple method's; below 1 the model is better."""
        return self.scores[model]["rmse"] / self.scores[self.best_simple]["rmse"]


MEASURES: dict[str, str] = {
    "rmse": "root of the mean squared error",
    "mae": "mean absolute error",
    "bias": "mean error, estimate less truth",
    "correlation": "Pearson's, over all values",
    "psnr": "peak signal to noise ratio in dB, of the truth's range",
    "ssim": "structural similarity (Wang et al. 2004), mean over times",
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
    "spread_skill": "spread of the members divided by the error of their mean (1 if the spread is right)",
}
"""What the scores are called, and are."""
