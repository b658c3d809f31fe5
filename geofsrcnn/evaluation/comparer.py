"""Compare what several methods made of one variable with the truth, some times after the other.

A value counts where the truth and all methods have one; cells count by their area.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.cf.dates import Date
from geofsrcnn.errors import InputError, printable
from geofsrcnn.evaluation.bootstrap import rmse_intervals
from geofsrcnn.evaluation.calibration import Fit
from geofsrcnn.evaluation.comparison import Comparison, Interval, Maps
from geofsrcnn.evaluation.distributions import Distribution, DistributionScores
from geofsrcnn.evaluation.measures import PERCENTILES
from geofsrcnn.evaluation.scores import Correlation, Errors, crps, radial_spectrum, shift, ssim
from geofsrcnn.evaluation.terrain import Terrain
from geofsrcnn.values.angles import shorter_way
from geofsrcnn.values.blocks import block_mean

BINS = 60
"""Along each axis of the scatter."""

SAMPLE = 4_000_000
"""Values of which quantiles are taken; evenly chosen ones of more."""

DRAWN = 1024
"""Fine rows and columns that are drawn, at most, in a field's middle."""

SHIFTS = 40
"""Times on which the shift is measured, at most."""

SMALLEST_SHIFT = 16
"""Rows and columns of a field that a shift is measured on, at least."""

SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM"} | {
    **dict.fromkeys((6, 7, 8), "JJA"),
    **dict.fromkeys((9, 10, 11), "SON"),
}

PARTS = ("DJF", "MAM", "JJA", "SON", *(f"{month:02d}" for month in range(1, 13)))
"""Seasons and months, in their order."""


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


@dataclass(frozen=True)
class _Times:
    """Some times of the truth, and how they are scored.

    Parameters
    ----------
    truth : ndarray (time, y, x)
        NaN where it is not scored.
    scored : ndarray (time, y, x) of bool
        Cells that are.
    weights : ndarray (time, y, x)
        By which cells count.
    dates : list of Date
        Of the times, or none.
    coarse : ndarray (time, Y, X)
        What the methods were given.
    areas : ndarray (y,), optional
        Of the cells of each row, by which they count in block means.
    terrain : Terrain, optional
        The cells, where values are elevations.
    """

    truth: Array
    scored: Mask
    weights: Array
    dates: list[Date]
    coarse: Array
    areas: Array | None
    terrain: Terrain | None

    @cached_property
    def derived(self) -> dict[str, Array]:
        """Slopes and shading of the truth."""
        return {} if self.terrain is None else self.terrain.derive(self.truth)


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
        self._subject, self._models, self._count = subject, models, times
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
        self._truth = _Description()
        self._unit_weights: list[Array] = []
        self._methods: defaultdict[str, _Method] = defaultdict(_Method)
        self._members = _Members()
        self._distributions: dict[str, DistributionScores] = {}
        self._fits: dict[str, Fit] = {}
        self._wavelengths = np.zeros(0)
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
        distributions: Mapping[str, Distribution] | None = None,
        terrain: Terrain | None = None,
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
        distributions : mapping of str to Distribution, optional
            Of models that give them, by name.
        terrain : Terrain, optional
            The cells, where values are elevations, whose slopes and shading are compared too.
        """
        named = estimates.items() if isinstance(estimates, Mapping) else estimates
        if where is None:
            named = list(named)
            where = np.isfinite(truth) & np.logical_and.reduce([np.isfinite(each) for _, each in named])
        weights = np.broadcast_to(self._weights, truth.shape)
        times = _Times(np.where(where, truth, np.nan), where, weights, dates, coarse, areas, terrain)
        shown, drawn = self._index_shown(len(truth)), {}
        self._add_truth(times)
        for name, estimate in named:
            values = np.where(where, self._unwrap(estimate, truth), np.nan)
            self._add_method(self._methods[name], values, times, conserved=conserved)
            if shown is not None:
                drawn[name] = values[shown][self._middle[0]].copy()
        if members is not None:
            self._members.add(members, times)
        for name, distribution in (distributions or {}).items():
            sums = self._distributions.setdefault(name, DistributionScores(self._subject.wet))
            sums.add(distribution, times.truth, times.scored, times.weights)
            if self._detail:
                errors = distribution.expected_error, np.abs(distribution.mean - truth), where
                chosen = self._choose(truth.shape)
                self._fits.setdefault(name, Fit()).add(*(each.reshape(-1)[chosen] for each in errors))
        if shown is not None:
            self._keep_maps(times, shown, drawn, members)
        self._seen += len(truth)

    def _index_shown(self, count: int) -> int | None:
        """Index of the time that is drawn among the next ones; None if it is not among them."""
        index = self._show - self._seen
        return index if self._detail and 0 <= index < count else None

    def _unwrap(self, estimate: Array, truth: Array) -> Array:
        """Directions as far from the truth as their angle is; other values as they are."""
        period = self._subject.period
        return truth + shorter_way(estimate - truth, period) if period else estimate

    def _add_truth(self, times: _Times) -> None:
        self._cells += int(times.scored.sum())
        self._dates += times.dates
        self._unit_weights.append(self._sum_units(np.where(times.scored, times.weights, 0.0)))
        self._describe(self._truth, times.truth, times)

    def _add_method(self, method: _Method, values: Array, times: _Times, *, conserved: bool) -> None:
        self._describe(method, values, times)
        method.add_errors(values, times)
        method.add_terrain(values, times)
        squares = np.where(times.scored, times.weights * np.square(values - times.truth), 0.0)
        method.unit_squares.append(self._sum_units(squares))
        if self._detail:
            self._compare_structure(method, values, times)
        if conserved:
            method.add_block_means(values, times, self._subject.factor)

    def _sum_units(self, fields: Array) -> Array:
        """Sums over times, or over tiles of them: the units that intervals are made of."""
        rows, columns = self._tiles
        return np.add.reduceat(np.add.reduceat(fields, rows, 1), columns, 2).reshape(-1)

    def _describe(self, field: _Description, values: Array, times: _Times) -> None:
        """Gather what is known of a field without the truth: wet values, quantiles, spectrum."""
        if self._subject.wet is not None:
            field.add_wet(values, times, self._subject.wet)
        if self._detail:
            chosen = self._choose(values.shape)
            field.add_sample(values.reshape(-1)[chosen], times.weights.reshape(-1)[chosen], self._subject.extent[0])
            self._wavelengths, power = radial_spectrum(values)
            field.spectra.add(power.sum(0), len(values))

    def _choose(self, shape: tuple[int, ...]) -> slice:
        """Choose evenly spread values of the next times ``(time, y, x)``, the same however times are cut."""
        return slice(-(self._seen * math.prod(shape[1:])) % self._every, None, self._every)

    def _compare_structure(self, method: _Method, values: Array, times: _Times) -> None:
        scored = (np.clip(each[times.scored], self._edges[0], self._edges[-1]) for each in (times.truth, values))
        rows, columns = (np.searchsorted(self._edges[1:-1], each, side="right") for each in scored)
        method.scatter += np.bincount(rows * BINS + columns, minlength=BINS**2).reshape(BINS, BINS)
        low, high = self._subject.extent
        step = math.ceil(self._count / SHIFTS)
        for i, (estimate, truth) in enumerate(zip(values, times.truth, strict=True)):
            method.ssim.append(ssim(estimate - low, truth - low, high - low))  # the same in K and degC
            complete = times.scored[i].all() and min(truth.shape) >= SMALLEST_SHIFT
            if complete and (self._seen + i) % step == 0 and np.ptp(truth) > 0 and np.ptp(estimate) > 0:
                method.shifts.append(shift(estimate, truth))

    def _keep_maps(self, times: _Times, shown: int, drawn: dict[str, Array], members: Array | None) -> None:
        fine, blocks = self._middle
        order = [*self._models, *(name for name in drawn if name not in self._models)]
        truth, subject = times.truth[shown][fine], self._subject
        spread = None if members is None else members[:, shown].std(0, ddof=1)[fine]
        self._maps = Maps(
            str(times.dates[shown]) if times.dates else "",
            subject.y[fine[0]],
            subject.x[fine[1]],
            times.coarse[shown][blocks],
            truth,
            {name: drawn[name] for name in order},
            None if spread is None else np.where(np.isfinite(truth), spread, np.nan),
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
        squares = {name: np.concatenate(method.unit_squares) for name, method in self._methods.items()}
        best, ordered = found.best_baseline if found.baselines else None, len(self._tiles[0]) == 1
        intervals = rmse_intervals(squares, np.concatenate(self._unit_weights), best, ordered=ordered)
        reliability = {name: fit.reliability() for name, fit in self._fits.items()}
        return replace(found, intervals=intervals, reliability=reliability)

    def _scores(self) -> dict[str, dict[str, float]]:
        scores = {name: self._score(method) for name, method in self._methods.items()}
        if self._members:
            scores[self._models[0]] |= self._members.scores
        for name, distribution in self._distributions.items():
            scores[name] |= distribution.scores
        return scores

    def _spectra(self) -> dict[str, Array]:
        return {"truth": self._truth.spectra.mean, **{name: m.spectra.mean for name, m in self._methods.items()}}

    def _parts(self) -> dict[str, dict[str, dict[str, float]]]:
        """RMSE of parts of the times."""
        first = next(iter(self._methods.values()))
        return {
            part: {
                key: {name: method.parts[part][key].rmse for name, method in self._methods.items()}
                for key in sorted(keys, key=PARTS.index)
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
        found |= {name: derived.rmse for name, derived in method.terrain.items() if derived.count}
        if self._detail:
            found |= self._score_structure(method)
        if self._subject.wet is not None:
            found |= method.compare_wet(self._truth)
        if method.blocks:
            found["conservation"] = method.conservation
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
        for p, estimated, true in zip(PERCENTILES, method.quantiles(), truth.quantiles(), strict=True):
            found[f"p{p}"] = estimated - true
        for i, axis in enumerate("yx"):
            found[f"shift_{axis}"] = _mean([each[i] for each in method.shifts])
        return found


class _Description:
    """Sums over the times of a method, or of the truth, alone."""

    def __init__(self) -> None:
        self.spectra = _Mean()
        self._sample: list[Array] = []
        self._sample_weights: list[Array] = []
        self._weight, self._wet_weight, self._wet_amount = 0.0, 0.0, 0.0

    def add_wet(self, values: Array, times: _Times, threshold: float) -> None:
        """Take in how much is wet, and the amounts there."""
        wet = times.scored & (values >= threshold)
        self._weight += times.weights[times.scored].sum()
        self._wet_weight += times.weights[wet].sum()
        self._wet_amount += (times.weights[wet] * values[wet]).sum()

    def compare_wet(self, truth: _Description) -> dict[str, float]:
        """Share of wet values and their mean, less the truth's."""
        found = {"wet_days": float(self._wet_weight / self._weight - truth._wet_weight / truth._weight)}
        if self._wet_weight > 0 and truth._wet_weight > 0:
            found["wet_intensity"] = float(self._wet_amount / self._wet_weight - truth._wet_amount / truth._wet_weight)
        return found

    def add_sample(self, values: Array, weights: Array, origin: float) -> None:
        """Take in some values, from an origin near them: float32 keeps its digits near 0."""
        known = np.isfinite(values)
        self._sample.append((values[known] - origin).astype(np.float32))
        self._sample_weights.append(weights[known].astype(np.float32))

    def quantiles(self) -> list[float]:
        """Work out the weighted percentiles of the sampled values, from their origin."""
        values, weights = np.concatenate(self._sample), np.concatenate(self._sample_weights)
        shares = np.array(PERCENTILES) / 100
        return [float(q) for q in np.quantile(values, shares, weights=weights, method="inverted_cdf")]


class _Method(_Description):
    """Sums over the times of a method beside the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.errors, self.correlation = Errors(), Correlation()
        self.parts: dict[str, dict[str, Errors]] = {}
        self.unit_squares: list[Array] = []  # weighted squared errors of each unit
        self.ssim: list[float] = []
        self.shifts: list[tuple[float, float]] = []
        self.scatter = np.zeros((BINS, BINS), np.int64)
        self.blocks, self._block_squares = 0, 0.0
        self.terrain: dict[str, Errors] = {}

    def add_errors(self, values: Array, times: _Times) -> None:
        """Take in errors, of all times and of each season and month."""
        self.errors.add(values, times.truth, times.scored, times.weights)
        self.correlation.add(values, times.truth, times.scored, times.weights)
        for i, date in enumerate(times.dates):
            for part, key in (("season", SEASONS[date.month]), ("month", f"{date.month:02d}")):
                errors = self.parts.setdefault(part, {}).setdefault(key, Errors())
                errors.add(values[i], times.truth[i], times.scored[i], times.weights[i])

    def add_terrain(self, values: Array, times: _Times) -> None:
        """Take in errors of slopes and shading, where values are elevations."""
        if times.terrain is None:
            return
        for name, layer in times.terrain.derive(values).items():
            known = np.isfinite(layer) & np.isfinite(times.derived[name])
            self.terrain.setdefault(name, Errors()).add(layer, times.derived[name], known, times.weights)

    def add_block_means(self, values: Array, times: _Times, factor: int) -> None:
        """Take in how far block means are from the coarse values."""
        for fine, coarse in zip(values, times.coarse, strict=True):
            means = block_mean(fine.astype(np.float64), factor, times.areas)
            off = means - coarse[: means.shape[0], : means.shape[1]]
            known = np.isfinite(off)
            self.blocks += int(known.sum())
            self._block_squares += np.square(off[known]).sum()

    @property
    def conservation(self) -> float:
        """Root mean squared difference of block means."""
        return math.sqrt(self._block_squares / self.blocks)


class _Members:
    """Sums over the times of the members of a model."""

    def __init__(self) -> None:
        self._sums: list[tuple[float, float, float, float]] = []

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, members: Array, times: _Times) -> None:
        """Take in the members ``(member, time, y, x)``."""
        weight = times.weights[times.scored].astype(np.float64)
        values, truth = members[:, times.scored].astype(np.float64), times.truth[times.scored].astype(np.float64)
        count = len(members)
        self._sums.append(
            (
                float(weight.sum()),
                float(weight @ crps(values, truth)),
                float(weight @ values.var(0, ddof=1)) * (count + 1) / count,
                float(weight @ np.square(values.mean(0) - truth)),
            )
        )

    @property
    def scores(self) -> dict[str, float]:
        """CRPS, and spread divided by error where there is one."""
        weight, score, variance, squares = (sum(part) for part in zip(*self._sums, strict=True))
        found = {"crps": score / weight}
        if squares > 0:
            found["spread_skill"] = math.sqrt(variance / squares)
        return found


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
