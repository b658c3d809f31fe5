"""Predictors, static predictors and calendar that a network of pairs takes, and targets that it gives.

A target is a linear function of its partner among the predictors, interpolated, for each cell of the fine grid
(climatology where there is no partner), and the network gives what is left, in units of that cell's standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.cf.dates import Date
from geofsrcnn.grids.fine import Domain
from geofsrcnn.pairs.frames import Frame
from geofsrcnn.pairs.statistics import unshuffle, with_means
from geofsrcnn.values.normalize import Normalizer

YEAR = 365.25


@dataclass(frozen=True)
class Predictor:
    """A coarse variable.

    Parameters
    ----------
    name, units : str
        As its file says them.
    normalizer : Normalizer
        One mean and standard deviation.
    span : tuple of float
        Smallest and largest value that was fitted on.
    spacing : tuple of float
        Of its rows and columns, in the units of its coordinates; 0 where unknown.
    outside : float
        Share of the fine cells that lie beyond its grid, where its edge values stand.
    """

    name: str
    units: str
    normalizer: Normalizer
    span: tuple[float, float] = (-np.inf, np.inf)
    spacing: tuple[float, float] = (0.0, 0.0)
    outside: float = 0.0


@dataclass(frozen=True)
class Target:
    """A fine variable.

    Parameters
    ----------
    name : str
        As its file says it.
    attrs : dict of str
        Units, names.
    partner : str, optional
        The predictor that is the same quantity.
    baselines : dict of str to tuple of ndarray (y, x)
        By name ``slope * partner + offset`` in each cell: see `BASELINES`; NaN in cells that were never seen.
    base : str
        The one of them to which the network adds.
    std : ndarray (y, x)
        Standard deviation of what the base leaves; NaN in cells that were never seen.
    limits : tuple of float
        Smallest and largest value.
    conserving : {"none", "mean", "area"}
        Whether block means are the partner's coarse values, brought into the target's units (`BILINEAR`): plain means,
        or such in which cells count by their area.
    """

    name: str
    attrs: dict[str, str]
    partner: str | None
    baselines: dict[str, tuple[Array, Array]]
    base: str
    std: Array
    limits: tuple[float, float] = (-np.inf, np.inf)
    conserving: str = "none"

    @property
    def unit_line(self) -> tuple[float, float]:
        """Scale and offset from the partner's units to the target's; 1 and 0 where they are not known."""
        slopes, offsets = self.baselines.get(BILINEAR, (np.ones(1), np.zeros(1)))
        return slopes.flat[0], offsets.flat[0]

    def baseline(self, method: str, partner: Array | None, times: int) -> Array:
        """``(time, y, x)`` by one of the baselines, without limits."""
        slope, offset = self.baselines[method]
        if partner is None or method == CLIMATOLOGY:  # also where the partner is missing
            return np.broadcast_to(offset, (times, *offset.shape))
        result: Array = slope * partner + offset
        return result

    def finish(self, base: Array, residual: Array) -> Array:
        """With what the network gives, within limits; NaN where nothing is known."""
        result: Array = np.clip(base + self.std * residual, *self.limits)
        return result


CONSERVING = ("none", "mean", "area")

CLIMATOLOGY, BILINEAR = "climatology", "bilinear"

CORRECTION, REGRESSION = "mean correction", "cell regression"

BASELINES = (CLIMATOLOGY, BILINEAR, CORRECTION, REGRESSION)
"""Each cell's mean; its partner in the target's units; that and their mean difference; least squares on the partner."""

MEANS_KEPT = "block means kept"
"""The base with block means that are the coarse values: where the network keeps them, what it gives untaught."""


@dataclass(frozen=True)
class Pairing:
    """All that stands around the network.

    Parameters
    ----------
    domain : Domain
        The fine grid.
    predictors : sequence of Predictor
        In the order of the network's channels.
    targets : sequence of Target
        In the order of its bands.
    static_predictors : ndarray (k, y, x)
        Standardised, on the padded fine grid; the network takes each as ``factor * factor`` coarse channels.
    calendar : bool
        Sine and cosine of the day of the year are channels.
    static_names : sequence of str
        Of the static predictors.
    fitted : tuple of Date
        First and last day that was fitted on.
    members : int
        Networks whose mean is the result.
    frame : Frame
        CRS and units of the fine grid's coordinates.
    """

    domain: Domain
    predictors: Sequence[Predictor]
    targets: Sequence[Target]
    static_predictors: Array
    calendar: bool
    static_names: Sequence[str]
    fitted: tuple[Date, Date]
    members: int
    frame: Frame

    @property
    def factor(self) -> int:
        """Fine cells along one side of a coarse cell."""
        return self.domain.factor

    @property
    def std(self) -> Array:
        """Standard deviation of what the base leaves ``(target, y, x)``; NaN in cells that were never seen."""
        return np.stack([target.std for target in self.targets])

    @property
    def channels(self) -> int:
        """Number of channels that the network takes."""
        return len(self.predictors) + len(self.static_predictors) * self.factor**2 + 2 * self.calendar

    def partner(self, target: Target) -> int | None:
        """The index of a target's partner among the predictors; None without one."""
        return None if target.partner is None else [p.name for p in self.predictors].index(target.partner)

    def bases(self, partners: Array) -> Array:
        """Targets without the network ``(time, target, y, x)``, from their partners at the fine cells."""
        bases = [t.baseline(t.base, partners[:, k], len(partners)) for k, t in enumerate(self.targets)]
        return np.stack(bases, axis=1)

    def finish(self, bases: Array, residuals: Array, coarse: Array) -> Array:
        """Targets ``(time, target, y, x)`` on the grid.

        Parameters
        ----------
        bases, residuals : ndarray (time, target, Y, X)
            On the padded grid: without the network, and what it gives.
        coarse : ndarray (time, predictor, Y / factor, X / factor)
            In the predictors' units.
        """
        finished = []
        for k, target in enumerate(self.targets):
            fine, i = target.finish(bases[:, k], residuals[:, k]), self.partner(target)
            finished.append(fine if i is None else self.with_coarse_means(target, fine, coarse[:, i]))
        return self.domain.crop(np.stack(finished, axis=1))

    def below_limits(self, bases: Array, residuals: Array) -> Array:
        """How far targets ``(time, target, y, x)`` lie below their smallest values before they are brought to them.

        At or below 0; parameters as for `finish`.
        """
        below = [
            np.minimum(bases[:, k] + target.std * residuals[:, k] - target.limits[0], 0.0)
            for k, target in enumerate(self.targets)
        ]
        return self.domain.crop(np.stack(below, axis=1))

    def with_coarse_means(self, target: Target, fine: Array, coarse: Array) -> Array:
        """A target ``(time, Y, X)`` with the block means of its partner on the coarse grid, where they are kept."""
        if target.conserving == "none":
            return fine
        slope, offset = target.unit_line
        areas = self.domain.areas if target.conserving == "area" else None
        return with_means(fine, slope * coarse + offset, target.limits, areas)

    def inputs(self, coarse: Array, days: Array, halo: int) -> Array:
        """The network's input.

        Parameters
        ----------
        coarse : ndarray (time, predictor, y + 2 * halo, x + 2 * halo)
            On the coarse grid, in the predictors' units; NaN where missing, for which the mean stands in.
        days : ndarray (time,)
            Of the year, from 0.
        halo : int
            Coarse cells around the grid; static predictors are repeated there, or go on around the globe.

        Returns
        -------
        ndarray (time, channels, y + 2 * halo, x + 2 * halo), float32
        """
        times, _, rows, columns = coarse.shape
        encoded = np.stack([p.normalizer.encode(coarse[:, i]) for i, p in enumerate(self.predictors)], axis=1)
        parts = [np.where(np.isfinite(encoded), encoded, 0.0)]
        if len(self.static_predictors):
            channels = unshuffle(self.static_predictors, self.factor)
            channels = np.pad(channels, [(0, 0), (halo, halo), (0, 0)], mode="edge")
            channels = np.pad(
                channels, [(0, 0), (0, 0), (halo, halo)], mode="wrap" if self.domain.is_global else "edge"
            )
            parts.append(np.broadcast_to(channels, (times, *channels.shape)))
        if self.calendar:
            angle = 2 * np.pi * np.asarray(days, np.float64) / YEAR
            season = np.stack([np.sin(angle), np.cos(angle)], axis=1)
            parts.append(np.broadcast_to(season[:, :, None, None], (times, 2, rows, columns)))
        return np.concatenate(parts, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Downscaled:
    """Targets by each network, and what lies behind them.

    Parameters
    ----------
    members : ndarray (network, time, target, y, x), float64
        On the grid; NaN where nothing is known.
    latents : ndarray (network, time, target, y, x), float64
        The same, below the smallest value where they would be without that limit: the further, the surer is it reached.
    """

    members: Array
    latents: Array

    @cached_property
    def mean(self) -> Array:
        """Mean of the networks ``(time, target, y, x)``, which is the result."""
        result: Array = self.members.mean(0)
        return result
