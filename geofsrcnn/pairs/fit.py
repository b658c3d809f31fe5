"""What stands around a network of pairs, fitted to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.evaluation.scores import Errors
from geofsrcnn.pairs.pairing import (
    BILINEAR,
    CLIMATOLOGY,
    CORRECTION,
    LINES,
    MEANS_KEPT,
    REGRESSION,
    Pairing,
    Predictor,
    Target,
)
from geofsrcnn.pairs.quantities import converted
from geofsrcnn.pairs.read import TEXTS, Pairs, day_text, in_units, refuse_unknown
from geofsrcnn.pairs.statistics import CellRegression
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.normalize import Normalizer

FEWEST = 20
"""Times that a fine cell needs to be trained on."""

SAME_MEANS = 1e-3
"""Difference of block means and coarse values, of the truth's spread, up to which they are the same."""


def fit(
    pairs: Pairs,
    first: Array,
    *,
    statics: Array,
    names: Sequence[str] = (),
    calendar: bool = False,
    base: str = "regression",
    conserving: str = "none",
    members: int = 1,
    transforms: dict[str, str] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
) -> Pairing:
    """All constants around the network, from the first part of the times.

    Parameters
    ----------
    pairs : Pairs
        All times.
    first : ndarray (time,) of bool
        Those to fit on.
    statics : ndarray (k, Y, X)
        On the padded fine grid.
    names : sequence of str
        Of the statics.
    calendar : bool
        The day of the year is a predictor.
    base : {"regression", "correction"}
        What a target is before the network: a regression of each cell on its partner, or the partner with the mean
        difference of each cell, for a climate that leaves what it was fitted on.
    conserving : {"auto", "mean", "area", "none"}
        Whether block means, plain or by area, are kept as the coarse values: auto as those of the truth are.
    members : int
        Networks whose mean is the result.
    transforms : dict of str to str
        Of predictors; none where not given.
    limits : dict of str to tuple of float
        Smallest and largest value of targets.
    """
    known, aims = ([str(each.name) for each in some] for some in (pairs.predictors, pairs.targets))
    refuse_unknown("predictor", transforms or {}, known)
    refuse_unknown("target", limits or {}, aims)
    for low, high in (limits or {}).values():
        if not low < high:
            raise UsageError(f"limits must be a smaller and a larger number, got {low} and {high}")
    predictors = [
        Predictor(
            name,
            str(given.attrs.get("units", "")),
            Normalizer.fit(
                (pairs.coarse[times, i] for times in pairs.blocks(first)),
                transform=(transforms or {}).get(name, "none"),
            ),
            _span(pairs.coarse[times, i] for times in pairs.blocks(first)),
            pairs.spacing.get(name, (0.0, 0.0)),
            pairs.outside.get(name, 0.0),
        )
        for i, (name, given) in enumerate(zip(known, pairs.predictors, strict=True))
    ]
    targets = []
    for k, wanted in enumerate(pairs.targets):
        i = pairs.partner[k]
        units = str(wanted.attrs.get("units", ""))
        known_as = None if i is None else converted(aims[k], wanted.attrs, predictors[i].units, units)
        if base == "correction" and i is not None and known_as is None:
            raise UsageError(
                f"target {printable(wanted.name)} counts in {printable(units)}, its partner in "
                f"{printable(predictors[i].units)}, which a correction of the mean cannot convert: convert one, or "
                "take --base regression"
            )
        lines, spreads = {}, {}
        for line in LINES if known_as else (CLIMATOLOGY, REGRESSION) if i is not None else (CLIMATOLOGY,):
            scale, offset = known_as or (1.0, 0.0)
            if line == BILINEAR:
                lines[line] = np.full(pairs.domain.padded, scale), np.full(pairs.domain.padded, offset)
                continue
            cells = CellRegression(pairs.domain.padded)
            for times in pairs.blocks(first):
                cells.add(None if line == CLIMATOLOGY else pairs.partners[times, k], pairs.fine[times, k])
            slope, level, spreads[line] = cells.fitted(FEWEST, {CLIMATOLOGY: 0.0, CORRECTION: scale}.get(line))
            lines[line] = slope, level
        chosen = CLIMATOLOGY if i is None else CORRECTION if base == "correction" else REGRESSION
        if not (spreads[chosen] > 0).any() and (spreads[CLIMATOLOGY] > 0).any():
            words = f"{chosen} gives target {printable(wanted.name)} exactly from {printable(known[i or 0])}"
            raise InputError(f"{words}: nothing is left for a network to learn")
        if not (spreads[chosen] > 0).any():
            words = f"target {printable(wanted.name)} has no cell with {FEWEST} values that differ"
            raise InputError(f"{words} among the times to fit on: take a later day, or another variable")
        if conserving in ("mean", "area") and known_as is None:
            words = f"target {printable(wanted.name)} has no partner in units that can be converted"
            raise UsageError(f"{words}: its block means cannot be kept, take --conserving none")
        kept = same_means(pairs, k, first) if conserving == "auto" and known_as is not None else conserving
        targets.append(
            Target(
                str(wanted.name),
                {key: str(wanted.attrs[key]) for key in TEXTS if key in wanted.attrs},
                None if i is None else known[i],
                lines,
                chosen,
                spreads[chosen],
                (limits or {}).get(str(wanted.name), (-np.inf, np.inf)),
                "none" if kept == "auto" else kept,
            )
        )
    standard = np.stack([Normalizer.fit([layer]).encode(layer) for layer in statics]) if len(statics) else statics
    days = [pairs.stamps[i] for i in np.nonzero(first)[0]]
    fitted = (day_text(min(days)), day_text(max(days)))
    around = pairs.domain, predictors, targets, np.nan_to_num(standard), calendar, tuple(names), fitted, members
    return Pairing(*around, pairs.place)


def _span(blocks: Iterable[Array]) -> tuple[float, float]:
    """Smallest and largest value."""
    low, high = np.inf, -np.inf
    for block in blocks:
        low, high = float(np.fmin(low, np.fmin.reduce(block, None))), float(np.fmax(high, np.fmax.reduce(block, None)))
    return low, high


def baselines(pairs: Pairs, pairing: Pairing, chosen: Array) -> dict[str, dict[str, float]]:
    """RMSE of simple methods on the chosen times, by target: see `geofsrcnn.pairs.pairing.LINES`."""
    found: dict[str, dict[str, Errors]] = {target.name: {} for target in pairing.targets}
    for times in pairs.blocks(chosen):
        for k, target in enumerate(pairing.targets):
            truth, where = pairs.fine[times, k], scored(pairs, pairing, k, times)
            for name, guess in simple_methods(pairing, k, pairs, times).items():
                found[target.name].setdefault(name, Errors()).add(guess, truth, where)
    return {name: {method: errors.rmse for method, errors in each.items()} for name, each in found.items()}


def simple_methods(pairing: Pairing, k: int, pairs: Pairs, times: Array) -> dict[str, Array]:
    """What methods without a network give for a target ``(time, Y, X)``, finished as the network's result is.

    All are within its limits; where the network keeps block means, so does its base as one more method, so that a
    network that has learned nothing is no better than the best of them.
    """
    target, partner = pairing.targets[k], pairs.partners[times, k]
    found = {line: np.clip(target.simple(line, partner, len(partner)), *target.limits) for line in target.lines}
    at = pairs.partner[k]
    if target.conserving != "none" and at is not None:
        coarse = pairs.inner(times, at).astype(np.float64)
        found[MEANS_KEPT] = pairing.with_coarse_means(target, found[target.base], coarse)
    return found


def scored(pairs: Pairs, pairing: Pairing, k: int, times: Array) -> npt.NDArray[np.bool_]:
    """Cells ``(time, Y, X)`` of a target that can be scored."""
    where: npt.NDArray[np.bool_] = np.isfinite(pairs.fine[times, k]) & np.isfinite(pairing.targets[k].spread)
    return where & np.isfinite(pairs.partners[times, k]) if pairing.targets[k].partner is not None else where


def drawn(first: Array, size: int, seed: int, step: int) -> Array:
    """Indexes of a step's times; each time once in an epoch, in an order that seed and epoch decide."""
    times = np.nonzero(first)[0]
    epoch, place = divmod(step, max(1, len(times) // size))
    order = np.random.default_rng([seed, epoch]).permutation(times)
    return order[place * size : (place + 1) * size]


def same_means(pairs: Pairs, k: int, chosen: Array) -> str:
    """Which block means of a target are its partner's coarse values, within a thousandth of their spread.

    Returns
    -------
    {"none", "mean", "area"}
        Neither, plain ones, or those in which cells count by their area; the closer of the two.
    """
    at = pairs.partner[k]
    if at is None:
        return "none"
    times = next(pairs.blocks(chosen))
    fine = pairs.fine[times, k].astype(np.float64)
    scale, offset = in_units(pairs, k)
    given = scale * pairs.inner(times, at).astype(np.float64) + offset
    off = {"none": np.inf}
    for kind, areas in (("mean", None), ("area", pairs.domain.areas)):
        means = block_mean(fine, pairs.domain.factor, areas)
        known = np.isfinite(means - given)
        if known.any():
            worst = float(np.abs((means - given)[known]).max())
            off[kind] = worst if worst <= SAME_MEANS * float(means[known].std()) else np.inf
    return min(off, key=lambda kind: off[kind])
