"""Compare what several methods made of one variable with the truth, some times after the other.

A value counts where the truth and all methods have one; cells count by their area.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError, printable
from geofsrcnn.evaluation.comparison import Comparison, Maps
from geofsrcnn.evaluation.scores import Correlation, Errors, crps, radial_spectrum, shift, ssim
from geofsrcnn.values.blocks import block_mean

PERCENTILES = (1, 5, 95, 99)

BINS = 60

SAMPLE = 4_000_000
"""Values of which quantiles are taken; of more, evenly chosen ones."""

SHIFTS = 40
"""Times on which the shift is measured, at most."""

SMALLEST_SHIFT = 16

SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM"} | {
    **dict.fromkeys((6, 7, 8), "JJA"),
    **dict.fromkeys((9, 10, 11), "SON"),
}

ORDER = ("DJF", "MAM", "JJA", "SON", *(f"{month:02d}" for month in range(1, 13)))


class Comparer:
    """All measures of one variable.

    Parameters
    ----------
    name, unit : str
        Of the variable.
    factor : int
        Fine cells along one side of a coarse cell.
    models : tuple of str
        Methods that are networks.
    y, x : ndarray
        Coordinates of the fine rows and columns.
    extent : tuple of float
        Smallest and largest value of the truth.
    times : int
        How many there will be.
    weights : ndarray (y, x), optional
        Areas of the cells; all alike if not given.
    wet : float, optional
        The amount from which on a value is wet, 1 mm a day in the unit, where the variable is rain.
    show : int
        Which time is drawn.
    """

    def __init__(
        self,
        name: str,
        unit: str,
        factor: int,
        *,
        models: tuple[str, ...],
        y: Array,
        x: Array,
        extent: tuple[float, float],
        times: int,
        weights: Array | None = None,
        wet: float | None = None,
        show: int = 0,
    ) -> None:
        self._name, self._unit, self._factor, self._models = name, unit, factor, models
        self._y, self._x, self._extent, self._times = y, x, extent, times
        self._weights = np.ones((len(y), len(x))) if weights is None else weights
        self._wet, self._show = wet, show
        self._every = max(1, math.ceil(times * len(y) * len(x) / SAMPLE))
        while math.gcd(self._every, len(y) * len(x)) > 1:  # else the same columns each time
            self._every += 1
        self._edges = np.linspace(*extent, BINS + 1)
        self._stamps: list[tuple[int, ...]] = []
        self._seen, self._cells = 0, 0
        self._methods: dict[str, _Method] = {}
        self._truth = _Method()
        self._scores_of_members: list[tuple[float, float, float, float]] = []
        self._maps: Maps | None = None

    def add(
        self,
        truth: Array,
        estimates: dict[str, Array],
        *,
        stamps: list[tuple[int, ...]],
        coarse: Array,
        conserved: bool = False,
        areas: Array | None = None,
        members: Array | None = None,
    ) -> None:
        """Take in some times.

        Parameters
        ----------
        truth : ndarray (time, y, x)
            NaN where it does not count.
        estimates : dict of str to ndarray (time, y, x)
            By method, the same ones each time.
        stamps : list of tuple
            Year, month, day of the times; empty for fields of no time.
        coarse : ndarray (time, Y, X)
            What the methods were given, on the coarse grid.
        conserved : bool
            Whether the truth's block means are the coarse values.
        areas : ndarray (y,), optional
            Of the cells of each row, by which they count in block means.
        members : ndarray (member, time, y, x), optional
            Of the first model.
        """
        where = np.isfinite(truth) & np.logical_and.reduce([np.isfinite(each) for each in estimates.values()])
        weights = np.broadcast_to(self._weights, truth.shape)
        self._cells += int(where.sum())
        self._stamps += stamps
        wanted, *others = (np.where(where, each, np.nan) for each in (truth, *estimates.values()))
        held = dict(zip(estimates, others, strict=True))
        methods = [self._methods.setdefault(name, _Method()) for name in held]
        for method, values in zip([self._truth, *methods], [wanted, *others], strict=True):
            self._sampled(method, values, weights)
            wavelengths, power = radial_spectrum(values)
            method.spectra.add(power.sum(0), len(truth))
            if self._wet is not None:
                wet = where & (values >= self._wet)
                method.wet += [weights[where].sum(), weights[wet].sum(), (weights[wet] * values[wet]).sum()]
            self._wavelengths = wavelengths
            if method is self._truth:
                continue
            self._compared(method, values, wanted, where, weights, stamps)
            if conserved:
                self._conserved(method, values, coarse, areas)
        if members is not None:
            self._of_members(members, truth, where, weights)
        if self._seen <= self._show < self._seen + len(truth):
            self._drawn(self._show - self._seen, wanted, held, coarse, stamps, members)
        self._seen += len(truth)

    def _sampled(self, method: _Method, values: Array, weights: Array) -> None:
        flat, weight = values.reshape(-1), weights.reshape(-1)
        first = -(self._seen * values[0].size) % self._every  # the same values however the times are cut
        some, heavy = flat[first :: self._every], weight[first :: self._every]
        known = np.isfinite(some)
        method.sample.append((some[known] - self._extent[0]).astype(np.float32))  # float32 keeps its digits near 0
        method.heavy.append(heavy[known].astype(np.float32))

    def _compared(
        self, method: _Method, values: Array, truth: Array, where: Array, weights: Array, stamps: list[tuple[int, ...]]
    ) -> None:
        method.errors.add(values, truth, where, weights)
        method.correlation.add(values, truth, where, weights)
        ends = self._edges[0], self._edges[-1]
        both = [np.clip(each[where], *ends) for each in (truth, values)]
        rows, columns = (np.searchsorted(self._edges[1:-1], each, side="right") for each in both)
        method.scatter += np.bincount(rows * BINS + columns, minlength=BINS**2).reshape(BINS, BINS)
        low, high = self._extent
        step = math.ceil(self._times / SHIFTS)
        for i, (estimate, wanted) in enumerate(zip(values, truth, strict=True)):
            method.ssim.append(ssim(estimate - low, wanted - low, high - low))  # the same in K and degC
            complete = where[i].all() and min(wanted.shape) >= SMALLEST_SHIFT
            if complete and (self._seen + i) % step == 0 and np.ptp(wanted) > 0 and np.ptp(estimate) > 0:
                method.shifts.append(shift(estimate, wanted))
        for i, stamp in enumerate(stamps):
            for part, key in (("season", SEASONS[stamp[1]]), ("month", f"{stamp[1]:02d}")):
                errors = method.parts.setdefault(part, {}).setdefault(key, Errors())
                errors.add(values[i], truth[i], where[i], weights[i])

    def _conserved(self, method: _Method, values: Array, coarse: Array, areas: Array | None) -> None:
        for fine, low in zip(values, coarse, strict=True):
            means = block_mean(fine.astype(np.float64), self._factor, areas)
            off = means - low[: means.shape[0], : means.shape[1]]
            known = np.isfinite(off)
            method.blocks += [known.sum(), np.square(off[known]).sum()]

    def _of_members(self, members: Array, truth: Array, where: Array, weights: Array) -> None:
        weight = weights[where].astype(np.float64)
        values, wanted = members[:, where].astype(np.float64), truth[where].astype(np.float64)
        count = len(members)
        self._scores_of_members.append(
            (
                float(weight.sum()),
                float(weight @ crps(values, wanted)),
                float(weight @ values.var(0, ddof=1)) * (count + 1) / count,
                float(weight @ np.square(values.mean(0) - wanted)),
            )
        )

    def _drawn(
        self,
        i: int,
        truth: Array,
        held: dict[str, Array],
        coarse: Array,
        stamps: list[tuple[int, ...]],
        members: Array | None,
    ) -> None:
        order = [*self._models, *(name for name in held if name not in self._models)]
        spread = None if members is None else np.where(np.isfinite(truth[i]), members[:, i].std(0, ddof=1), np.nan)
        fine = {name: held[name][i] for name in order}
        when = _day(stamps[i]) if stamps else ""
        self._maps = Maps(when, self._y, self._x, coarse[i], truth[i], fine, spread)

    def finish(self) -> Comparison:
        """What was found.

        Raises
        ------
        InputError
            If no value counts.
        """
        if not self._cells:
            raise InputError(f"nothing to compare: where {printable(self._name)} is known, some method gives nothing")
        assert self._maps is not None
        scores = {name: self._score(method) for name, method in self._methods.items()}
        if self._scores_of_members:
            total, score, variance, squares = (sum(part) for part in zip(*self._scores_of_members, strict=True))
            scores[self._models[0]]["crps"] = score / total
            if squares > 0:
                scores[self._models[0]]["spread_skill"] = math.sqrt(variance / squares)
        first = next(iter(self._methods.values()))
        parts = {
            part: {
                key: {name: method.parts[part][key].rmse for name, method in self._methods.items()}
                for key in sorted(keys, key=ORDER.index)
                if first.parts[part][key].count
            }
            for part, keys in first.parts.items()
            if len(keys) > 1
        }
        days = sorted(self._stamps)
        return Comparison(
            self._name,
            self._unit,
            self._factor,
            self._seen,
            self._cells,
            (_day(days[0]), _day(days[-1])) if days else ("", ""),
            self._models,
            scores,
            self._wavelengths,
            {"truth": self._truth.spectra.mean, **{name: m.spectra.mean for name, m in self._methods.items()}},
            self._edges,
            {name: method.scatter for name, method in self._methods.items()},
            self._maps,
            parts,
        )

    def _score(self, method: _Method) -> dict[str, float]:
        errors, truth = method.errors, self._truth
        found = {"rmse": errors.rmse, "mae": errors.mae, "bias": errors.bias, "correlation": method.correlation.value}
        span = self._extent[1] - self._extent[0]
        if errors.rmse > 0 and span > 0:
            found["psnr"] = 20 * math.log10(span / errors.rmse)
        found["ssim"] = _mean(method.ssim)
        fine = self._wavelengths < 2 * self._factor
        if fine.any() and truth.spectra.mean[fine].sum() > 0:
            found["spectrum_ratio"] = float(method.spectra.mean[fine].sum() / truth.spectra.mean[fine].sum())
        for p, own, wanted in zip(PERCENTILES, method.quantiles(), truth.quantiles(), strict=True):
            found[f"p{p}"] = own - wanted
        if self._wet is not None:
            found["wet_days"] = float(method.wet[1] / method.wet[0] - truth.wet[1] / truth.wet[0])
            if method.wet[1] > 0 and truth.wet[1] > 0:
                found["wet_intensity"] = float(method.wet[2] / method.wet[1] - truth.wet[2] / truth.wet[1])
        for i, axis in enumerate("yx"):
            found[f"shift_{axis}"] = _mean([each[i] for each in method.shifts])
        if method.blocks[0]:
            found["conservation"] = math.sqrt(method.blocks[1] / method.blocks[0])
        return {name: value for name, value in found.items() if math.isfinite(value)}


class _Method:
    """What is gathered of one method, or of the truth."""

    def __init__(self) -> None:
        self.errors, self.correlation = Errors(), Correlation()
        self.spectra = _Mean()
        self.sample: list[Array] = []
        self.heavy: list[Array] = []
        self.ssim: list[float] = []
        self.shifts: list[tuple[float, float]] = []
        self.scatter = np.zeros((BINS, BINS), np.int64)
        self.wet, self.blocks = np.zeros(3), np.zeros(2)
        self.parts: dict[str, dict[str, Errors]] = {}

    def quantiles(self) -> list[float]:
        """Weighted, of the sampled values."""
        values, weights = np.concatenate(self.sample), np.concatenate(self.heavy)
        shares = np.array(PERCENTILES) / 100
        return [float(q) for q in np.quantile(values, shares, weights=weights, method="inverted_cdf")]


class _Mean:
    """A mean over times."""

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def add(self, total: Array, count: int) -> None:
        """Take in a sum over so many."""
        self._sum, self._count = self._sum + total, self._count + count

    @property
    def mean(self) -> Array:
        """Of all."""
        return np.asarray(self._sum / max(self._count, 1))


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _day(stamp: tuple[int, ...]) -> str:
    return "{:04d}-{:02d}-{:02d}".format(*stamp[:3])
