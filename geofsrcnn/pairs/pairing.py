"""Predictors, static predictors and calendar that a network of pairs takes, and targets that it gives.

A target is a linear function of its partner among the predictors, interpolated, for each cell of the fine grid
(climatology where there is no partner), and the network gives what is left, in units of that cell's standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array
from geofsrcnn.cf.dates import Date, parse_day
from geofsrcnn.errors import ConfigError
from geofsrcnn.grids.fine import Domain
from geofsrcnn.options import FACTORS
from geofsrcnn.pairs.places import GLOBE, Frame
from geofsrcnn.pairs.quantities import unit_conversion
from geofsrcnn.pairs.spec import MAX_MEMBERS
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
    place : Frame
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
    place: Frame

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
        """The place of a target's partner among the predictors."""
        return None if target.partner is None else [p.name for p in self.predictors].index(target.partner)

    def bases(self, partners: Array) -> Array:
        """Targets without the network ``(time, target, y, x)``, from their partners at the fine cells."""
        whole = [t.baseline(t.base, partners[:, k], len(partners)) for k, t in enumerate(self.targets)]
        return np.stack(whole, axis=1)

    def finish(self, bases: Array, residuals: Array, coarse: Array) -> Array:
        """Targets ``(time, target, y, x)`` on the grid.

        Parameters
        ----------
        bases, residuals : ndarray (time, target, Y, X)
            On the padded grid: without the network, and what it gives.
        coarse : ndarray (time, predictor, Y / factor, X / factor)
            In the predictors' units.
        """
        whole = []
        for k, target in enumerate(self.targets):
            fine, i = target.finish(bases[:, k], residuals[:, k]), self.partner(target)
            whole.append(fine if i is None else self.with_coarse_means(target, fine, coarse[:, i]))
        return self.domain.crop(np.stack(whole, axis=1))

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
        parts = [
            np.stack([p.normalizer.encode(coarse[:, i]) for i, p in enumerate(self.predictors)], axis=1),
        ]
        parts[0] = np.where(np.isfinite(parts[0]), parts[0], 0.0)
        if len(self.static_predictors):
            folded = unshuffle(self.static_predictors, self.factor)
            framed = np.pad(folded, [(0, 0), (halo, halo), (0, 0)], mode="edge")
            framed = np.pad(framed, [(0, 0), (0, 0), (halo, halo)], mode="wrap" if self.domain.is_global else "edge")
            parts.append(np.broadcast_to(framed, (times, *framed.shape)))
        if self.calendar:
            angle = 2 * np.pi * np.asarray(days, np.float64) / YEAR
            season = np.stack([np.sin(angle), np.cos(angle)], axis=1)
            parts.append(np.broadcast_to(season[:, :, None, None], (times, 2, rows, columns)))
        return np.concatenate(parts, axis=1).astype(np.float32)


def pack(pairing: Pairing) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """A pairing as plain values and arrays without NaN, for a checkpoint."""
    domain = pairing.domain
    words = {
        "y": domain.y.tolist(),
        "x": domain.x.tolist(),
        "factor": domain.factor,
        "names": list(domain.names),
        "turning": domain.is_longitude,
        "predictors": [
            {
                "name": p.name,
                "units": p.units,
                "transform": p.normalizer.transform,
                "mean": float(p.normalizer.mean),
                "spread": float(p.normalizer.std),
                "span": [float(end) for end in p.span],
                "spacing": [float(step) for step in p.spacing],
                "outside": float(p.outside),
            }
            for p in pairing.predictors
        ],
        "targets": [
            {
                "name": t.name,
                "attrs": t.attrs,
                "partner": t.partner,
                "base": t.base,
                "lines": sorted(t.baselines),
                "conserving": t.conserving,
                "limits": [None if np.isinf(end) else float(end) for end in t.limits],
            }
            for t in pairing.targets
        ],
        "statics": list(pairing.static_names),
        "calendar": pairing.calendar,
        "fitted": [str(day) for day in pairing.fitted],
        "members": pairing.members,
        **({} if pairing.place.is_globe else {"crs": pairing.place.crs, "scale": list(pairing.place.scale)}),
    }
    zeros = np.zeros(domain.padded)
    arrays: dict[str, Array] = {}
    for name, (baseline, part) in _CELLS.items():
        cells = [t.baselines.get(baseline, (zeros, zeros))[part] for t in pairing.targets]
        arrays[name] = np.stack([np.nan_to_num(each) for each in cells])
    arrays["spread"], arrays["known"] = np.nan_to_num(pairing.std), np.isfinite(pairing.std)
    arrays["statics"] = pairing.static_predictors
    return words, {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


_CELLS = {
    "climatology": (CLIMATOLOGY, 1),
    "correction": (CORRECTION, 1),
    "slope": (REGRESSION, 0),
    "offset": (REGRESSION, 1),
}
"""Arrays of a checkpoint: of which baseline they are the slope (0) or offset (1)."""


def shapes(words: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays that go with the words of a card; none without words."""
    if not words:
        return {}
    rows, columns = _domain(words).padded
    cells = {name: (len(words["targets"]), rows, columns) for name in (*_CELLS, "spread", "known")}
    return {**cells, "statics": (len(words["statics"]), rows, columns)}


def member_count(words: dict[str, Any]) -> int:
    """Networks that go with the words of a card; one without words."""
    count = int(words["members"]) if words else 1
    if not 1 <= count <= MAX_MEMBERS:
        raise ConfigError("members that cannot be")
    return count


def unpack(words: dict[str, Any], arrays: dict[str, Array]) -> Pairing:
    """The pairing that `pack` has taken apart."""
    cells = {
        name: np.where(arrays["known"] > 0, arrays[name], np.nan).astype(np.float64) for name in (*_CELLS, "spread")
    }
    one = np.ones(cells["spread"].shape[1:])
    predictors = [
        Predictor(
            str(p["name"]),
            str(p["units"]),
            Normalizer(np.asarray(float(p["mean"])), np.asarray(float(p["spread"])), str(p["transform"])),
            (float(p["span"][0]), float(p["span"][1])),
            (float(p["spacing"][0]), float(p["spacing"][1])),
            float(p["outside"]),
        )
        for p in words["predictors"]
    ]
    targets = []
    for k, t in enumerate(words["targets"]):
        low, high = (d if end is None else float(end) for end, d in zip(t["limits"], (-np.inf, np.inf), strict=True))
        attrs = {str(key): str(value) for key, value in t["attrs"].items()}
        if t["partner"] is not None and t["partner"] not in {p.name for p in predictors}:
            raise ConfigError(f"no predictor {t['partner']}")
        (units,) = {p.units for p in predictors if p.name == t["partner"]} or {""}
        scale, shift = unit_conversion(str(t["name"]), attrs, units, attrs.get("units", "")) or (1.0, 0.0)
        every = {
            CLIMATOLOGY: (0 * one, cells["climatology"][k]),
            BILINEAR: (scale * one, shift * one),
            CORRECTION: (scale * one, cells["correction"][k]),
            REGRESSION: (cells["slope"][k], cells["offset"][k]),
        }
        if t["base"] not in t["lines"]:
            raise ConfigError(f"no base {t['base']}")
        chosen = {str(name): every[name] for name in t["lines"]}
        kept = str(t["conserving"])
        if kept not in CONSERVING:
            raise ConfigError(f"conserving that is not known, {kept}")
        if kept != "none" and BILINEAR not in chosen:
            raise ConfigError("conserving without a partner in the same units")
        std = cells["spread"][k]
        targets.append(Target(str(t["name"]), attrs, t["partner"], chosen, str(t["base"]), std, (low, high), kept))
    names = tuple(map(str, words["statics"]))
    first, last = (parse_day(str(day)) for day in words["fitted"])
    if first is None or last is None:
        raise ConfigError("days that cannot be")
    members = member_count(words)
    calendar = bool(words["calendar"])
    place = Frame(GLOBE)
    if "crs" in words:
        y, x = (float(each) for each in words["scale"])
        place = Frame(str(words["crs"]), (y, x))
        if not place.is_valid:
            raise ConfigError("a CRS that cannot be")
    elif not words["turning"]:
        place = Frame()
    statics = arrays["statics"]
    return Pairing(_domain(words), predictors, targets, statics, calendar, names, (first, last), members, place)


def _domain(words: dict[str, Any]) -> Domain:
    y, x = (np.asarray(words[name], np.float64) for name in ("y", "x"))
    factor = int(words["factor"])
    if y.ndim != 1 or x.ndim != 1 or min(len(y), len(x)) < 2 or factor not in FACTORS:
        raise ConfigError("coordinates or factor that cannot be")
    rows, columns = map(str, words["names"])
    return Domain(y, x, factor, (rows, columns), bool(words["turning"]))
