"""Networks that were trained on pairs beside the truth on later times, and beside baselines.

Baselines are the interpolations of each target's partner (where its units are known), and each cell's mean, mean
correction and regression, as they were fitted in the training, within the limits that hold for the network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from geofsrcnn._types import Array, Mask, Progress
from geofsrcnn.cf.dates import PARTS, Date, Step, parse_day
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.evaluation.comparer import Comparer, Subject
from geofsrcnn.evaluation.comparison import Comparison, unique_names
from geofsrcnn.grids.axis import same_places
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import Checkpoint, load_checkpoint
from geofsrcnn.pairs.distributions import Distribution
from geofsrcnn.pairs.fit import apply_baselines, find_conserved
from geofsrcnn.pairs.frames import transform_axes
from geofsrcnn.pairs.match import match_predictor
from geofsrcnn.pairs.network import downscale_with_distributions, pairing_of
from geofsrcnn.pairs.pairing import BASELINES, BILINEAR, MEANS_KEPT, Downscaled, Pairing
from geofsrcnn.pairs.predictive import Predictive, predictive_of
from geofsrcnn.pairs.quantities import wet_amount
from geofsrcnn.pairs.read import Pairs, read_pairs
from geofsrcnn.values.fill import fill
from geofsrcnn.values.kernels import BICUBIC, resample
from geofsrcnn.values.units import differ

INTERPOLATIONS = {"nearest": "nearest", "bicubic": BICUBIC, "lanczos": "lanczos"}
"""Interpolations of the partner on the coarse grid; bilinear is taken from its own grid."""

MARGIN = 4
"""Coarse cells around the grid that interpolations need."""


@dataclass(frozen=True)
class _Model:
    """A model under its name, with the indexes of its predictors among all that were read."""

    name: str
    checkpoint: Checkpoint
    pairing: Pairing
    indexes: list[int]
    predictive: Predictive | None = None

    def downscale(self, pairs: Pairs, times: Array, device: str) -> tuple[Downscaled, list[Distribution]]:
        """Run all members, and give the targets' distributions, if there are any."""
        reach = self.checkpoint.config.halo
        spare = pairs.margin - reach
        inner = slice(spare, -spare or None)
        coarse = pairs.coarse[times][:, self.indexes, inner, inner]
        given = coarse, pairs.partners[times], pairs.days[times]
        networks = self.checkpoint.members, self.predictive, self.pairing
        return downscale_with_distributions(*networks, *given, device)


def evaluate_pairs(
    models: Sequence[str | os.PathLike[str] | Checkpoint],
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    *,
    since: str | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> list[Comparison]:
    """Compare networks of pairs, and baselines, with the truth at times that they were not fitted on.

    Parameters
    ----------
    models : sequence of path or Checkpoint
        Of `geofsrcnn.pairs.train`, for one fine grid and the same targets: several trainings, to see how they differ.
    coarse, fine : sequence of path
        As for `geofsrcnn.pairs.train`.
    since : str, optional
        Day ``YYYY-MM-DD``, after all days that were fitted on; the first such day if not given.
    device : str
        ``auto``, ``cpu``, ``cuda``.
    progress : callable, optional
        Called with times done and all of them, before some and at the end; what it raises ends the evaluation.

    Returns
    -------
    list of Comparison
        One a target.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, files do not fit the models, or no time is left.
    """
    loaded = [model if isinstance(model, Checkpoint) else load_checkpoint(model) for model in models]
    if not loaded:
        raise UsageError("no model to evaluate: give one or several checkpoints")
    device = check_device(device)
    pairings = [pairing_of(checkpoint) for checkpoint in loaded]
    pairs = _read(loaded, pairings, coarse, fine, since)
    for checkpoint, pairing in zip(loaded, pairings, strict=True):
        shown = printable(checkpoint.path.name)
        _check_targets(shown, pairing, pairs)
        _check_grid(shown, pairing, pairs)
        _check_same_refinement(shown, pairing, pairings[0])
        _check_predictors(shown, pairing, pairs)
    predictors = [str(predictor.name) for predictor in pairs.predictors]
    compared = [
        _Model(
            name,
            checkpoint,
            pairing,
            [predictors.index(p.name) for p in pairing.predictors],
            predictive_of(checkpoint, pairing),
        )
        for name, checkpoint, pairing in zip(_names(loaded), loaded, pairings, strict=True)
    ]
    return list(_compare(compared, pairs, device, progress or (lambda _done, _total: None)))


def _read(
    loaded: Sequence[Checkpoint],
    pairings: Sequence[Pairing],
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    since: str | None,
) -> Pairs:
    """Read what all models need at times that none was fitted on, in the units of the first one."""
    first = pairings[0]
    last_day = max(pairing.fitted[1] for pairing in pairings)
    since_day = _check_since(since, last_day)
    pairs = read_pairs(
        coarse,
        fine,
        first.factor,
        max(MARGIN, *(checkpoint.config.halo for checkpoint in loaded)),
        predictors=list(dict.fromkeys(p.name for pairing in pairings for p in pairing.predictors)),
        targets=[target.name for target in first.targets],
        partners={t.name: t.partner for t in first.targets if t.partner is not None},
        units={p.name: p.units for p in first.predictors} | {t.name: t.attrs.get("units", "") for t in first.targets},
        wanted=partial(_is_later, last_day=last_day, since=since_day),
    )
    if not pairs.dates:
        begin = f"after {last_day}, the last day that was fitted on" if since_day is None else f"from {since_day} on"
        raise InputError(f"no time {begin}: give later files")
    return pairs


def _is_later(date: Date, step: Step, last_day: Date, since: Date | None) -> bool:
    """Tell whether a date comes after the last day that was fitted on; a month or a year as a whole."""
    parts = min(PARTS[step], 3)
    return date[:parts] > last_day[:parts] and (since is None or date >= since)


def _check_since(since: str | None, last_day: Date) -> Date | None:
    if since is None:
        return None
    day = parse_day(since)
    if day is None:
        raise UsageError(f"since= must be a day such as 1993-06-01, got {printable(since)}")
    if day <= last_day:
        raise InputError(f"the model was fitted on days up to {last_day}: since= must be later, got {day}")
    return day


def _check_grid(shown: str, pairing: Pairing, pairs: Pairs) -> None:
    """Refuse a model of another fine grid than that of the files."""
    for axis, own, given in (
        ("rows", pairing.domain.y, pairs.domain.y),
        ("columns", pairing.domain.x, pairs.domain.x),
    ):
        if not same_places(given, own):
            raise InputError(
                f"{shown} is for {axis} from {own[0]:g} to {own[-1]:g} ({len(own)}), the fine files have "
                f"{given[0]:g} to {given[-1]:g} ({len(given)})"
            )
    called = "the fine files' grid", f"the grid of {shown}"
    if transform_axes(pairs.domain.y, pairs.domain.x, pairs.frame, pairing.frame, called) is not None:
        words = f"{shown} is for a grid {pairing.frame}, the fine files are {pairs.frame}"
        raise InputError(f"{words}, or another one: give files of the CRS that it was trained on")


def _check_targets(shown: str, pairing: Pairing, pairs: Pairs) -> None:
    """Refuse a model of other targets than the fine files have, or of targets in other units."""
    own, given = [target.name for target in pairing.targets], [str(target.name) for target in pairs.targets]
    if own != given:
        words = f"{shown} gives {printable(', '.join(own))}, the fine files have {printable(', '.join(given))}"
        raise InputError(f"{words}: the same targets are needed, in the same order")
    for target, truth in zip(pairing.targets, pairs.targets, strict=True):
        units = str(truth.attrs.get("units", ""))
        if differ(units, target.attrs.get("units", "")):
            raise InputError(
                f"{printable(target.name)} is in {printable(units)}, {shown} gives {printable(target.attrs['units'])}"
            )


def _check_same_refinement(shown: str, pairing: Pairing, first: Pairing) -> None:
    """Refuse a model of another factor, or whose targets have other partners than those of the first model."""
    if pairing.factor != first.factor:
        raise InputError(f"{shown} is for factor {pairing.factor}, the first model for {first.factor}")
    for target, same in zip(pairing.targets, first.targets, strict=True):
        if target.partner != same.partner:
            refined, instead = (printable(name or "no variable") for name in (target.partner, same.partner))
            raise InputError(f"{shown} refines {refined}, the first model {instead}: evaluate each for itself")


def _check_predictors(shown: str, pairing: Pairing, pairs: Pairs) -> None:
    """Refuse a model of predictors on another resolution, or in other units than those of the first model."""
    headers = {str(predictor.name): predictor for predictor in pairs.predictors}
    for predictor in pairing.predictors:
        attrs = headers[predictor.name].attrs
        match_predictor(predictor, attrs, pairs.spacing[predictor.name], pairs.outside[predictor.name], shown)
        if differ(attrs.get("units", ""), predictor.units):  # values were read in the first model's
            words = f"{shown} takes {printable(predictor.name)} in {printable(predictor.units)}"
            raise InputError(f"{words}, the first model in {printable(attrs['units'])}: evaluate each for itself")


def _names(loaded: Sequence[Checkpoint]) -> list[str]:
    """Name the models: network, or their files' names where there are several."""
    if len(loaded) == 1:
        return ["network"]
    taken = {"truth", *BASELINES, MEANS_KEPT, *INTERPOLATIONS}
    return unique_names([Path(checkpoint.path).stem for checkpoint in loaded], taken)


def _compare(models: list[_Model], pairs: Pairs, device: str, progress: Progress) -> Iterator[Comparison]:
    """Compare all models on all times, target by target."""
    all_times, targets = _all_times(pairs), range(len(pairs.targets))
    comparers = [_comparer_of(models, pairs, k) for k in targets]
    kept = [find_conserved(pairs, k, all_times) for k in targets]
    done = 0
    for times in pairs.blocks(all_times):
        progress(done, len(pairs.dates))
        found = [model.downscale(pairs, times, device) for model in models]
        members = found[0][0].members
        for k, comparer in enumerate(comparers):
            coarse = _partner_field(models[0].pairing, pairs, k, times)
            baselines = _baselines(models[0].pairing, pairs, k, times, coarse)
            margin = pairs.margin
            comparer.add(
                pairs.domain.crop(pairs.fine[times, k]).astype(np.float64),
                {model.name: each.mean[:, k] for model, (each, _) in zip(models, found, strict=True)} | baselines,
                dates=[pairs.dates[i] for i in times],
                coarse=coarse[:, margin:-margin, margin:-margin],
                conserved=kept[k] != "none",
                areas=pairs.domain.areas if kept[k] == "area" else None,
                members=members[:, :, k] if len(members) > 1 else None,
                distributions={m.name: each[k] for m, (_, each) in zip(models, found, strict=True) if each},
            )
        done += len(times)
    progress(done, len(pairs.dates))
    for comparer in comparers:
        yield comparer.finish()


def _comparer_of(models: list[_Model], pairs: Pairs, k: int) -> Comparer:
    """Begin the comparison of one target."""
    domain, target = pairs.domain, models[0].pairing.targets[k]
    value_range, shown_time = _range_of(pairs, k)
    subject = Subject(
        target.name,
        target.attrs.get("units", ""),
        domain.factor,
        domain.y * pairs.frame.scale[0],
        domain.x * pairs.frame.scale[1],
        value_range,
        np.broadcast_to(domain.areas[: len(domain.y), None], domain.shape),
        wet_amount(target.name, target.attrs, pairs.dates, pairs.step),
        pairs.frame.crs,
    )
    names = tuple(model.name for model in models)
    return Comparer(subject, models=names, times=len(pairs.dates), show=shown_time)


def _partner_field(pairing: Pairing, pairs: Pairs, k: int, times: Array) -> Array:
    """A target's partner in the target's units, on the coarse grid and its margin; NaN where there is none."""
    at, domain = pairs.partner[k], pairs.domain
    if at is None:
        margins = 2 * pairs.margin
        return np.full((len(times), *(n // domain.factor + margins for n in domain.padded)), np.nan)
    scale, offset = pairing.targets[k].unit_line
    result: Array = scale * pairs.coarse[times, at].astype(np.float64) + offset
    return result


def _baselines(pairing: Pairing, pairs: Pairs, k: int, times: Array, coarse: Array) -> dict[str, Array]:
    """Apply what was fitted to each cell and, where the units of the partner are known, its interpolations."""
    domain = pairs.domain
    found = {name: domain.crop(values) for name, values in apply_baselines(pairing, k, pairs, times).items()}
    if BILINEAR in found:
        plain = _interpolate(coarse, domain.factor, pairs.margin, domain.shape)
        found |= {name: np.clip(values, *pairing.targets[k].limits) for name, values in plain.items()}
    return found


def _interpolate(wide: Array, factor: int, margin: int, shape: tuple[int, ...]) -> dict[str, Array]:
    """The coarse fields with their margin ``(time, y, x)``, by method on the fine grid."""
    known = np.isfinite(wide)
    whole = wide if known.all() else fill(wide, known, 2 * MARGIN)
    edge, (rows, columns) = margin * factor, shape
    found = {}
    for name, method in INTERPOLATIONS.items():
        fine = np.stack([resample(each, factor, method) for each in whole])
        found[name] = fine[:, edge : edge + rows, edge : edge + columns]
    return found


def _all_times(pairs: Pairs) -> Mask:
    return np.ones(len(pairs.dates), bool)


def _range_of(pairs: Pairs, k: int) -> tuple[tuple[float, float], int]:
    """Smallest and largest true value, and a time whose field varies much, for the maps."""
    low, high, variances = np.inf, -np.inf, []
    for times in pairs.blocks(_all_times(pairs)):
        values = pairs.fine[times, k]
        low, high = np.fmin(low, np.fmin.reduce(values, None)), np.fmax(high, np.fmax.reduce(values, None))
        known = np.isfinite(values)
        count = np.maximum(known.sum((1, 2)), 1)
        mean = np.where(known, values, 0).sum((1, 2)) / count
        off = np.where(known, values - mean[:, None, None], 0)
        variances.append(np.where(known.any((1, 2)), (off**2).sum((1, 2)) / count, -1))
    if not low < high:
        name = printable(pairs.targets[k].name)
        raise InputError(f"{name} has no two different values at the times to score on: nothing can be compared")
    ranked = np.argsort(np.concatenate(variances), kind="stable")
    return (float(low), float(high)), int(ranked[int(0.9 * (len(ranked) - 1))])
