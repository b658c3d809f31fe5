"""Fit what stands around a network of pairs, and score baselines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.evaluation.scores import Errors
from geofsrcnn.pairs.pairing import (
    BASELINES,
    BILINEAR,
    CLIMATOLOGY,
    CORRECTION,
    MEANS_KEPT,
    REGRESSION,
    Pairing,
    Predictor,
    Target,
)
from geofsrcnn.pairs.quantities import unit_conversion
from geofsrcnn.pairs.read import TEXTS, Pairs, in_units, refuse_unknown
from geofsrcnn.pairs.spec import PairsSpec
from geofsrcnn.pairs.statistics import CellRegression
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.normalize import Normalizer

FEWEST = 20
"""Times that a fine cell needs to be trained on."""

SAME_MEANS = 1e-3
"""Difference of block means and coarse values, of the truth's standard deviation, up to which they are the same."""


def fit(
    pairs: Pairs, training_period: Mask, spec: PairsSpec, static: tuple[Array, list[str]], members: int = 1
) -> Pairing:
    """Fit all constants around the network to the times of the training period.

    Parameters
    ----------
    pairs : Pairs
        All times.
    training_period : ndarray (time,) of bool
        Those to fit on.
    spec : PairsSpec
        What is made of them.
    static : tuple of ndarray (k, Y, X) and list of str
        Static predictors on the padded fine grid, and their names.
    members : int
        Networks whose mean is the result.

    Raises
    ------
    UsageError, InputError
        If a name is not there, a target has too few values, or nothing is left to learn.
    """
    predictor_names, target_names = ([str(each.name) for each in some] for some in (pairs.predictors, pairs.targets))
    refuse_unknown("predictor", "transforms", spec.transforms, predictor_names)
    refuse_unknown("target", "limits", spec.limits, target_names)
    refuse_unknown("target", "weights", spec.weights, target_names)
    predictors = [_fit_predictor(pairs, i, training_period, spec) for i in range(len(predictor_names))]
    targets = [_fit_target(pairs, k, predictors, training_period, spec) for k in range(len(target_names))]
    layers, names = static
    standard = np.stack([Normalizer.fit([layer]).encode(layer) for layer in layers]) if len(layers) else layers
    dates = [pairs.dates[i] for i in np.nonzero(training_period)[0]]
    return Pairing(
        pairs.domain,
        predictors,
        targets,
        np.nan_to_num(standard),
        spec.calendar,
        tuple(names),
        (min(dates), max(dates)),
        members,
        pairs.frame,
    )


def _fit_predictor(pairs: Pairs, i: int, training_period: Mask, spec: PairsSpec) -> Predictor:
    name, attrs = str(pairs.predictors[i].name), pairs.predictors[i].attrs
    values = (pairs.coarse[times, i] for times in pairs.blocks(training_period))
    return Predictor(
        name,
        str(attrs.get("units", "")),
        Normalizer.fit(values, transform=spec.transforms.get(name, "none")),
        _span(pairs.coarse[times, i] for times in pairs.blocks(training_period)),
        pairs.spacing.get(name, (0.0, 0.0)),
        pairs.outside.get(name, 0.0),
    )


def _fit_target(
    pairs: Pairs, k: int, predictors: Sequence[Predictor], training_period: Mask, spec: PairsSpec
) -> Target:
    name, attrs, i = str(pairs.targets[k].name), pairs.targets[k].attrs, pairs.partner[k]
    partner = None if i is None else predictors[i]
    units = str(attrs.get("units", ""))
    conversion = None if partner is None else unit_conversion(name, attrs, partner.units, units)
    if spec.base == "correction" and partner is not None and conversion is None:
        raise UsageError(
            f"target {printable(name)} counts in {printable(units)}, its partner in {printable(partner.units)}, which "
            "a correction of the mean cannot convert: convert one, or use base='regression'"
        )
    conserving = "mean" if spec.conserving == "positive" else spec.conserving
    if conserving in ("mean", "area") and conversion is None:
        words = f"target {printable(name)} has no partner in units that can be converted"
        raise UsageError(f"{words}: its block means cannot be kept, use conserving='none'")
    baselines, stds = _fit_baselines(pairs, k, training_period, conversion)
    base = CLIMATOLOGY if partner is None else CORRECTION if spec.base == "correction" else REGRESSION
    if not (stds[base] > 0).any():
        if partner is not None and (stds[CLIMATOLOGY] > 0).any():
            words = f"{base} gives target {printable(name)} exactly from {printable(partner.name)}"
            raise InputError(f"{words}: nothing is left for a network to learn")
        words = f"target {printable(name)} has no cell with {FEWEST} values that differ"
        raise InputError(f"{words} among the times to fit on: take a later day, or another variable")
    if conserving == "auto":
        conserving = "none" if conversion is None else find_conserved(pairs, k, training_period)
    return Target(
        name,
        {key: str(attrs[key]) for key in TEXTS if key in attrs},
        None if partner is None else partner.name,
        baselines,
        base,
        stds[base],
        spec.limits_of(name),
        conserving,
    )


def _fit_baselines(
    pairs: Pairs, k: int, training_period: Mask, conversion: tuple[float, float] | None
) -> tuple[dict[str, tuple[Array, Array]], dict[str, Array]]:
    """Fit each baseline of a target: slopes and offsets, and the standard deviation of what it leaves.

    Parameters
    ----------
    pairs, k, training_period
        As for `fit`, and which target.
    conversion : tuple of float, optional
        Scale and offset from the partner's units to the target's; None where they are not known, or there is no
        partner.
    """
    shape = pairs.domain.padded
    slopes = {CLIMATOLOGY: 0.0} if conversion is None else {CLIMATOLOGY: 0.0, CORRECTION: conversion[0]}
    baselines: dict[str, tuple[Array, Array]] = {}
    stds: dict[str, Array] = {}
    for name in (CLIMATOLOGY, CORRECTION, REGRESSION):
        if (name == CORRECTION and conversion is None) or (name == REGRESSION and pairs.partner[k] is None):
            continue
        cells = CellRegression(shape)
        for times in pairs.blocks(training_period):
            cells.add(None if name == CLIMATOLOGY else pairs.partners[times, k], pairs.fine[times, k])
        slope, offset, stds[name] = cells.solve(FEWEST, slopes.get(name))
        baselines[name] = slope, offset
    if conversion is not None:
        baselines[BILINEAR] = np.full(shape, conversion[0]), np.full(shape, conversion[1])
    return {name: baselines[name] for name in BASELINES if name in baselines}, stds


def _span(blocks: Iterable[Array]) -> tuple[float, float]:
    """Return the smallest and the largest value."""
    low, high = np.inf, -np.inf
    for block in blocks:
        low, high = float(np.fmin(low, np.fmin.reduce(block, None))), float(np.fmax(high, np.fmax.reduce(block, None)))
    return low, high


def score_baselines(pairs: Pairs, pairing: Pairing, chosen: Mask) -> dict[str, dict[str, float]]:
    """Return the RMSE of baselines on the chosen times, by target: see `geofsrcnn.pairs.pairing.BASELINES`."""
    found: dict[str, dict[str, Errors]] = {target.name: {} for target in pairing.targets}
    for times in pairs.blocks(chosen):
        for k, target in enumerate(pairing.targets):
            truth, where = pairs.fine[times, k], find_scored(pairs, pairing, k, times)
            for name, guess in apply_baselines(pairing, k, pairs, times).items():
                found[target.name].setdefault(name, Errors()).add(guess, truth, where)
    return {name: {method: errors.rmse for method, errors in each.items()} for name, each in found.items()}


def best_baseline(scores: Mapping[str, float]) -> tuple[float, str]:
    """Return the smallest RMSE and whose it is, the network's own left out."""
    return min((value, method) for method, value in scores.items() if method != "network")


def apply_baselines(pairing: Pairing, k: int, pairs: Pairs, times: Array) -> dict[str, Array]:
    """Apply the methods without a network to a target ``(time, Y, X)``, finished as the network's result is.

    All are within its limits; where the network keeps block means, so does its base as one more method, so that a
    network that has learned nothing is no better than the best of them.
    """
    target, partner = pairing.targets[k], pairs.partners[times, k]
    found = {name: np.clip(target.baseline(name, partner, len(partner)), *target.limits) for name in target.baselines}
    at = pairs.partner[k]
    if target.conserving != "none" and at is not None:
        coarse = pairs.inner(times, at).astype(np.float64)
        found[MEANS_KEPT] = pairing.with_coarse_means(target, found[target.base], coarse)
    return found


def find_scored(pairs: Pairs, pairing: Pairing, k: int, times: Array) -> Mask:
    """Return the cells ``(time, Y, X)`` of a target that can be scored."""
    where: Mask = np.isfinite(pairs.fine[times, k]) & np.isfinite(pairing.targets[k].std)
    return where & np.isfinite(pairs.partners[times, k]) if pairing.targets[k].partner is not None else where


def draw_times(training_period: Mask, size: int, seed: int, step: int) -> Array:
    """Draw the indexes of a step's times; each time once in an epoch, in an order that seed and epoch decide."""
    times = np.nonzero(training_period)[0]
    epoch, batch = divmod(step, max(1, len(times) // size))
    order = np.random.default_rng([seed, epoch]).permutation(times)
    return order[batch * size : (batch + 1) * size]


def find_conserved(pairs: Pairs, k: int, chosen: Mask) -> str:
    """Find which block means of a target are its coarse values, within a thousandth of their standard deviation.

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
