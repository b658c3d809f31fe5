"""Fine fields of several methods beside the truth of one variable: scores, intervals, spectra, maps."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from geofsrcnn._types import Array
from geofsrcnn.evaluation.calibration import Calibration, Reliability

Interval = tuple[float, float]


@dataclass(frozen=True)
class Maps:
    """Fields of one moment or window, for looking at.

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
    crs : str
        CRS of the coordinates as WKT or by its code; ``""`` where unknown.
    """

    when: str
    y: Array
    x: Array
    coarse: Array
    truth: Array
    fine: dict[str, Array]
    spread: Array | None = None
    crs: str = ""


@dataclass(frozen=True)
class Comparison:
    """Networks and baselines beside the truth of one variable or band.

    Parameters
    ----------
    name, unit : str
        Of the variable, or of file and band.
    factor : int
        Fine cells along one side of a coarse cell.
    times, cells : int
        Times that were compared, 1 for a raster; values (cells times times) that were scored.
    span : tuple of str
        First and last time, or ``("", "")``.
    models : tuple of str
        Methods that are networks; all others are baselines.
    scores : dict
        ``scores[method][measure]``; a measure that cannot be is not there. See
        `geofsrcnn.evaluation.measures.MEASURES`.
    wavelengths : ndarray (k,)
        Of the spectra, in fine cells, falling; empty where they were not asked for.
    spectra : dict of str to ndarray (k,)
        Radially averaged power by method, and of ``"truth"``.
    edges : ndarray (n + 1,)
        Of the bins of `scatter`, in the unit.
    scatter : dict of str to ndarray (n, n) of int
        How often the truth (first axis) and a method's value (second) fell into each pair of bins.
    maps : Maps, optional
        One moment or window.
    parts : dict
        ``parts["season"]["DJF"][method]`` and ``parts["month"]["01"][method]``: RMSE of a part of the times; empty
        where all times lie in one part, or there are none.
    intervals : dict
        ``intervals[method][measure]``: ends of the 95 % interval of ``rmse`` and of ``ratio``, the RMSE divided by the
        best baseline's (`geofsrcnn.evaluation.bootstrap`); empty where there are too few times.
    calibrations : dict of str to Calibration
        How well expected errors fit true ones, of the networks that give them.
    reliability : dict of str to Reliability
        The same of the distributions of models that give them: expected absolute errors beside true ones.
    windows : int
        Windows of a raster that were scored; 1 for all of it.
    file : str
        The raster, or ``""``.
    band : int, optional
        Of it, from 1.
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
    maps: Maps | None
    parts: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    reliability: dict[str, Reliability] = field(default_factory=dict)
    windows: int = 1
    file: str = ""
    band: int | None = None

    @property
    def baselines(self) -> tuple[str, ...]:
        """The methods that are no networks."""
        return tuple(method for method in self.scores if method not in self.models)

    @property
    def repeated(self) -> bool:
        """True if the models are several trainings for the same task, whose mean and deviation say something."""
        return len(self.models) > 1 and bool(self.span[0])

    @property
    def best_baseline(self) -> str:
        """The baseline with the smallest RMSE; categories have one only."""
        return min(self.baselines, key=lambda m: self.scores[m].get("rmse", 0.0))

    @property
    def best_model(self) -> str:
        """The model with the smallest RMSE."""
        return min(self.models, key=lambda m: self.scores[m]["rmse"])

    def ratio(self, method: str, baseline: str | None = None, measure: str = "rmse") -> float:
        """Divide a method's RMSE by a baseline's: below 1 the method is better.

        Parameters
        ----------
        method : str
            A name of `scores`.
        baseline : str, optional
            Another; the best baseline if not given.
        measure : str
            What is divided instead, such as ``slope``.

        Returns
        -------
        float
            The ratio of the two.
        """
        return self.scores[method][measure] / self.scores[baseline or self.best_baseline][measure]


def unique_names(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Name the models of a comparison: names that repeat, or that others have, are numbered from 2.

    Examples
    --------
    >>> unique_names(["mine", "cubic", "mine"], ["truth", "cubic"])
    ['mine', 'cubic (2)', 'mine (2)']
    """
    used, found = set(taken), list[str]()
    for name in names:
        numbered = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
        found.append(next(each for each in numbered if each not in used))
        used.add(found[-1])
    return found
