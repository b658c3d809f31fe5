"""Compare what several methods made of one variable with the truth, some times after the other.

A value counts where the truth and all methods have one; cells count by their area.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.cf.dates import Date
from geofsrcnn.errors import InputError, printable
from geofsrcnn.evaluation.bootstrap import rmse_intervals
from geofsrcnn.evaluation.comparison import Comparison, Interval, Maps
from geofsrcnn.evaluation.scores import Correlation, Errors, crps, radial_spectrum, shift, ssim
from geofsrcnn.values.blocks import block_mean

PERCENTILES = (1, 5, 95, 99)

BINS = 60

SAMPLE = 4_000_000
"""Values of which quantiles are taken; evenly chosen ones of more."""

DRAWN = 1024
"""Fine rows and columns that are drawn, at most, in a field's middle."""

SHIFTS = 40
"""Times on which the shift is measured, at most."""

SMALLEST_SHIFT = 16

SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM"} | {
    **dict.fromkeys((6, 7, 8), "JJA"),
    **dict.fromkeys((9, 10, 11), "SON"),
}

ORDER = ("DJF", "MAM", "JJA", "SON", *(f"{month:02d}" for month in range(1, 13)))


@dataclass(frozen=True)
class Subject:
    """The variable that is compared.

    Parameters
    ----------
    name, unit : str
        Of the variable, or of file and band.
    factor : int
        Fine cells along one side of a coarse cell.
    y, x : ndarray
        Coordinates of the fine rows and columns.
    extent : tuple of float
        Smallest and largest value of the truth.
    weights : ndarray (y, x), optional
        Areas of the cells; all alike if not given.
    wet : float, optional
        The amount from which on a value is wet, 1 mm a day in the unit, where the variable is rain.
    crs : str
        CRS of the coordinates as WKT or by its code; ``""`` where unknown.
    period : float
        Values go around, as directions do: errors are angles then; 0 if they do not.
    """

    name: str
    unit: str
    factor: int
    y: Array
    x: Array
    extent: Interval
    weights: Array | None = None
    wet: float | None = None
    crs: str = ""
    period: float = 0.0


class Comparer:
    """All measures of one variable.

    Parameters
    ----------
    subject : Subject
        The variable.
    models : tuple of str
        Methods that are networks.
    times : int
        How many there will be; windows of a raster count as times.
    show : int
        Which time is drawn.
    tiles : int
        Tiles along each side of a field that intervals are made of; 1 for the times themselves.
    detail : bool
        Measure structure as well: spectra, quantiles, SSIM, shifts, scatter, maps.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        models: tuple[str, ...],
        times: int,
        show: int = 0,
        tiles: int = 1,
        detail: bool = True,
    ) -> None:
        self._subject, self._models, self._times = subject, models, times
        self._show, self._detail = show, detail
        shape = len(subject.y), len(subject.x)
        self._weights = np.ones(shape) if subject.weights is None else subject.weights
        self._middle = _middle(shape, subject.factor)
        self._tiles = [np.arange(tiles) * size // tiles for size in shape]
        self._every = max(1, math.ceil(times * math.prod(shape) / SAMPLE))
        while math.gcd(self._every, math.prod(shape)) > 1:  # else the same columns each time
            self._every += 1
        self._edges = np.linspace(*subject.extent, BINS + 1)
        self._dates: list[Date] = []
        self._seen, self._cells = 0, 0
        self._methods: dict[str, _Method] = {}
        self._truth = _Method()
        self._wavelengths = np.zeros(0)
        self._scores_of_members: list[tuple[float, float, float, float]] = []
        self._maps: Maps | None = None

    def add(
        self,
        truth: Array,
        estimates: Mapping[str, Array] | Iterable[tuple[str, Array]],
        *,
        dates: list[Date],
        coarse: Array,
        where: Mask | None = None,
        conserved: bool = False,
        areas: Array | None = None,
        members: Array | None = None,
    ) -> None:
        """Take in some times.

        Parameters
        ----------
        truth : ndarray (time, y, x)
            NaN where it does not count.
        estimates : mapping of str to ndarray (time, y, x), or iterable of both
            By method, the same ones each time; taken one after the other where `where` is given.
        dates : list of Date
            Of the times; empty for fields of no time.
        coarse : ndarray (time, Y, X)
            What the methods were given, on the coarse grid.
        where : ndarray (time, y, x) of bool, optional
            Cells that are scored, where truth and all estimates are known; found from them if not given.
        conserved : bool
            Whether the truth's block means are the coarse values.
        areas : ndarray (y,), optional
            Of the cells of each row, by which they count in block means.
        members : ndarray (member, time, y, x), optional
            Of the first model.
        """
        pairs = estimates.items() if isinstance(estimates, Mapping) else estimates
        if where is None:
            pairs = list(pairs)
            where = np.isfinite(truth) & np.logical_and.reduce([np.isfinite(each) for _, each in pairs])
        weights, wanted = np.broadcast_to(self._weights, truth.shape), np.where(where, truth, np.nan)
        shown = self._show - self._seen if self._detail and 0 <= self._show - self._seen < len(truth) else None
        drawn: dict[str, Array] = {}
        self._cells += int(where.sum())
        self._dates += dates
        self._truth.sums.append(self._sum_units(np.where(where, weights, 0.0)))
        self._describe(self._truth, wanted, where, weights)
        for name, each in pairs:
            values, method = (
                np.where(where, self._unwrap(each, truth), np.nan),
                self._methods.setdefault(name, _Method()),
            )
            self._describe(method, values, where, weights)
            self._score_errors(method, values, wanted, where, weights, dates)
            if self._detail:
                self._compare_structure(method, values, wanted, where)
            if conserved:
                self._compare_means(method, values, coarse, areas)
            if shown is not None:
                drawn[name] = values[shown][self._middle[0]].copy()
        if members is not None:
            self._score_members(members, truth, where, weights)
        if shown is not None:
            spread = None if members is None else members[:, shown].std(0, ddof=1)
            self._keep_maps(wanted[shown], drawn, coarse[shown], str(dates[shown]) if dates else "", spread)
        self._seen += len(truth)

    def _unwrap(self, estimate: Array, truth: Array) -> Array:
        """Directions as far from the truth as their angle is; other values as they are."""
        period = self._subject.period
        return truth + (estimate - truth + period / 2) % period - period / 2 if period else estimate

    def _describe(self, method: _Method, values: Array, where: Mask, weights: Array) -> None:
        """Gather what is known of a field without the truth: wet values, quantiles, spectrum."""
        if self._subject.wet is not None:
            wet = where & (values >= self._subject.wet)
            method.wet += [weights[where].sum(), weights[wet].sum(), (weights[wet] * values[wet]).sum()]
        if self._detail:
            self._sample(method, values, weights)
            self._wavelengths, power = radial_spectrum(values)
            method.spectra.add(power.sum(0), len(values))

    def _sample(self, method: _Method, values: Array, weights: Array) -> None:
        flat, weight = values.reshape(-1), weights.reshape(-1)
        first = -(self._seen * values[0].size) % self._every  # the same values however the times are cut
        some, heavy = flat[first :: self._every], weight[first :: self._every]
        known = np.isfinite(some)
        method.sample.append(
            (some[known] - self._subject.extent[0]).astype(np.float32)
        )  # float32 keeps its digits near 0
        method.heavy.append(heavy[known].astype(np.float32))

    def _sum_units(self, fields: Array) -> Array:
        """Sums over times, or over tiles of them: the units that intervals are made of."""
        rows, columns = self._tiles
        return np.add.reduceat(np.add.reduceat(fields, rows, 1), columns, 2).reshape(-1)

    def _score_errors(
        self, method: _Method, values: Array, truth: Array, where: Mask, weights: Array, dates: list[Date]
    ) -> None:
        method.errors.add(values, truth, where, weights)
        method.correlation.add(values, truth, where, weights)
        method.sums.append(self._sum_units(np.where(where, weights * np.square(values - truth), 0.0)))
        for i, date in enumerate(dates):
            for part, key in (("season", SEASONS[date.month]), ("month", f"{date.month:02d}")):
                errors = method.parts.setdefault(part, {}).setdefault(key, Errors())
                errors.add(values[i], truth[i], where[i], weights[i])

    def _compare_structure(self, method: _Method, values: Array, truth: Array, where: Mask) -> None:
        both = [np.clip(each[where], self._edges[0], self._edges[-1]) for each in (truth, values)]
        rows, columns = (np.searchsorted(self._edges[1:-1], each, side="right") for each in both)
        method.scatter += np.bincount(rows * BINS + columns, minlength=BINS**2).reshape(BINS, BINS)
        low, high = self._subject.extent
        step = math.ceil(self._times / SHIFTS)
        for i, (estimate, wanted) in enumerate(zip(values, truth, strict=True)):
            method.ssim.append(ssim(estimate - low, wanted - low, high - low))  # the same in K and degC
            complete = where[i].all() and min(wanted.shape) >= SMALLEST_SHIFT
            if complete and (self._seen + i) % step == 0 and np.ptp(wanted) > 0 and np.ptp(estimate) > 0:
                method.shifts.append(shift(estimate, wanted))

    def _compare_means(self, method: _Method, values: Array, coarse: Array, areas: Array | None) -> None:
        for fine, low in zip(values, coarse, strict=True):
            means = block_mean(fine.astype(np.float64), self._subject.factor, areas)
            off = means - low[: means.shape[0], : means.shape[1]]
            known = np.isfinite(off)
            method.blocks += [known.sum(), np.square(off[known]).sum()]

    def _score_members(self, members: Array, truth: Array, where: Mask, weights: Array) -> None:
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

    def _keep_maps(self, truth: Array, drawn: dict[str, Array], coarse: Array, when: str, spread: Array | None) -> None:
        fine, blocks = self._middle
        order = [*self._models, *(name for name in drawn if name not in self._models)]
        known, subject = truth[fine], self._subject
        self._maps = Maps(
            when,
            subject.y[fine[0]],
            subject.x[fine[1]],
            coarse[blocks],
            known,
            {name: drawn[name] for name in order},
            None if spread is None else np.where(np.isfinite(known), spread[fine], np.nan),
            subject.crs,
        )

    def finish(self) -> Comparison:
        """Work out all measures.

        Raises
        ------
        InputError
            If no value is scored.
        """
        subject = self._subject
        if not self._cells:
            name = printable(subject.name)
            raise InputError(f"nothing to compare: where {name} is known, some method gives nothing")
        days = sorted(self._dates)
        found = Comparison(
            subject.name,
            subject.unit,
            subject.factor,
            self._seen,
            self._cells,
            (str(days[0]), str(days[-1])) if days else ("", ""),
            self._models,
            self._scores(),
            self._wavelengths,
            self._spectra() if self._detail else {},
            self._edges,
            {name: method.scatter for name, method in self._methods.items()} if self._detail else {},
            self._maps,
            self._parts(),
        )
        sums = {name: np.concatenate(method.sums) for name, method in self._methods.items()}
        best, ordered = found.best_baseline if found.baselines else None, len(self._tiles[0]) == 1
        return replace(found, intervals=rmse_intervals(sums, np.concatenate(self._truth.sums), best, ordered=ordered))

    def _scores(self) -> dict[str, dict[str, float]]:
        scores = {name: self._score(method) for name, method in self._methods.items()}
        if self._scores_of_members:
            total, score, variance, squares = (sum(part) for part in zip(*self._scores_of_members, strict=True))
            scores[self._models[0]]["crps"] = score / total
            if squares > 0:
                scores[self._models[0]]["spread_skill"] = math.sqrt(variance / squares)
        return scores

    def _spectra(self) -> dict[str, Array]:
        return {"truth": self._truth.spectra.mean, **{name: m.spectra.mean for name, m in self._methods.items()}}

    def _parts(self) -> dict[str, dict[str, dict[str, float]]]:
        """RMSE of parts of the times."""
        first = next(iter(self._methods.values()))
        return {
            part: {
                key: {name: method.parts[part][key].rmse for name, method in self._methods.items()}
                for key in sorted(keys, key=ORDER.index)
                if first.parts[part][key].count
            }
            for part, keys in first.parts.items()
            if len(keys) > 1
        }

    def _score(self, method: _Method) -> dict[str, float]:
        errors = method.errors
        found = {"rmse": errors.rmse, "mae": errors.mae, "bias": errors.bias}
        if not self._subject.period:
            found["correlation"] = method.correlation.value
        if self._detail:
            found |= self._score_structure(method)
        truth = self._truth
        if self._subject.wet is not None:
            found["wet_days"] = float(method.wet[1] / method.wet[0] - truth.wet[1] / truth.wet[0])
            if method.wet[1] > 0 and truth.wet[1] > 0:
                found["wet_intensity"] = float(method.wet[2] / method.wet[1] - truth.wet[2] / truth.wet[1])
        if method.blocks[0]:
            found["conservation"] = math.sqrt(method.blocks[1] / method.blocks[0])
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _score_structure(self, method: _Method) -> dict[str, float]:
        truth, found, rmse = self._truth, {}, method.errors.rmse
        span = self._subject.extent[1] - self._subject.extent[0]
        if rmse > 0 and span > 0:
            found["psnr"] = 20 * math.log10(span / rmse)
        found["ssim"] = _mean(method.ssim)
        fine = self._wavelengths < 2 * self._subject.factor
        if fine.any() and truth.spectra.mean[fine].sum() > 0:
            found["spectrum_ratio"] = float(method.spectra.mean[fine].sum() / truth.spectra.mean[fine].sum())
        for p, own, wanted in zip(PERCENTILES, method.quantiles(), truth.quantiles(), strict=True):
            found[f"p{p}"] = own - wanted
        for i, axis in enumerate("yx"):
            found[f"shift_{axis}"] = _mean([each[i] for each in method.shifts])
        return found


class _Method:
    """Sums that are gathered of one method, or of the truth."""

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
        self.sums: list[Array] = []  # of weighted squared errors in each unit; of the truth, of weights

    def quantiles(self) -> list[float]:
        """Work out the weighted percentiles of the sampled values."""
        values, weights = np.concatenate(self.sample), np.concatenate(self.heavy)
        shares = np.array(PERCENTILES) / 100
        return [float(q) for q in np.quantile(values, shares, weights=weights, method="inverted_cdf")]


class _Mean:
    """A mean over times."""

    def __init__(self) -> None:
        self._sum: Any = 0.0
        self._count = 0

    def add(self, total: Array, count: int) -> None:
        """Take in a sum over so many times."""
        self._sum, self._count = self._sum + total, self._count + count

    @property
    def mean(self) -> Array:
        """The mean of all that was taken in."""
        return np.asarray(self._sum / max(self._count, 1))


def _middle(shape: tuple[int, int], factor: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a field that is drawn: its fine cells, and the coarse ones that they refine."""
    fine, coarse = [], []
    for size in shape:
        count = -(-size // factor)
        kept = min(count, DRAWN // factor)
        start = (count - kept) // 2
        fine.append(slice(factor * start, factor * (start + kept)))
        coarse.append(slice(start, start + kept))
    return (fine[0], fine[1]), (coarse[0], coarse[1])


def _mean(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan
