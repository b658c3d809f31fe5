"""Train a network on coarse and fine fields of the same times, and say whether it is better than simple methods."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError, OutputError, UsageError, printable, warn
from geofsrcnn.evaluation.scores import Errors
from geofsrcnn.files.paths import expanded, refuse_same, size_of
from geofsrcnn.files.staging import check_target
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import Card, save_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN, Weights, run_layers
from geofsrcnn.pairs.diagnose import diagnose
from geofsrcnn.pairs.fit import baselines, drawn, fit, scored
from geofsrcnn.pairs.network import downscaled, section_of
from geofsrcnn.pairs.pairing import Pairing, packed
from geofsrcnn.pairs.read import Pairs, day_text, read_pairs, read_statics
from geofsrcnn.pairs.spec import BASES, CONSERVING, PairOptions
from geofsrcnn.pairs.times import Stamp
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import Run, deterministic_torch, penalty
from geofsrcnn.training.loop import fit as train_to_the_end
from geofsrcnn.training.patches import made_ahead
from geofsrcnn.training.processes import Ranks, joined
from geofsrcnn.training.states import State, folder_of, has_states, load_state, remove_states, save_state

FORM: dict[str, Any] = {
    "bias": True,
    "prelu": "channel",
    "unit_free": False,
    "skip": "none",
    "conserving": "none",
}
"""Of networks of pairs: units and places carry meaning, and the regression beside them is the skip."""


@dataclass(frozen=True)
class PairResult:
    """What a training on pairs gave.

    Parameters
    ----------
    out : str
        The checkpoint.
    times : tuple of int
        Fitted on, scored on.
    scores : dict
        RMSE by target and method, `network` among them, on the times that were not fitted on.
    members : dict
        RMSE by target of each member alone.
    steps : int
        Steps taken.
    seconds : float
        Wall time of training.
    matched : str
        What times were matched by: "hours", "days", "months", "years", or "" where they are days of no fixed step.
    """

    out: str
    times: tuple[int, int]
    scores: dict[str, dict[str, float]]
    members: dict[str, list[float]]
    steps: int
    seconds: float
    matched: str = ""


def train_pairs(
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    out: str | os.PathLike[str],
    *,
    until: str,
    static: Sequence[str | os.PathLike[str]] = (),
    calendar: bool = True,
    base: str = "regression",
    conserving: str = "auto",
    predictors: Sequence[str] = (),
    targets: Sequence[str] = (),
    partners: dict[str, str] | None = None,
    transforms: dict[str, str] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
    weights: dict[str, float] | None = None,
    sizes: dict[str, int] | None = None,
    options: PairOptions | None = None,
    device: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> PairResult:
    """Train a network on pairs.

    Parameters
    ----------
    coarse, fine : sequence of path
        NetCDF or Zarr of the same times, files by year as well; GeoTIFF, which holds no times, for `static` alone.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``.
    until : str
        Day ``YYYY-MM-DD``; times before are fitted on, the others are scored on.
    static : sequence of path
        Fine fields that do not change, such as elevation.
    calendar : bool
        The day of the year is a predictor.
    base : {"regression", "correction"}
        What a target is before the network: a regression of each cell on its partner, or the partner with the mean
        difference of each cell, for a climate that leaves what it was fitted on.
    conserving : {"auto", "mean", "area", "positive", "none"}
        Whether block means are kept as the coarse values, within limits: auto keeps those of targets whose true block
        means are (within a thousandth of their spread) the partner's coarse values; area has cells count by their area
        on the globe, which auto finds as well; positive also limits targets without `limits` to 0 and above.
    predictors, targets : sequence of str
        Variables; all fields of the files if none are given.
    partners : dict of str to str
        The predictor that is the same quantity as a target; found by standard name or name where not given.
    transforms : dict of str to str
        Of predictors: ``sqrt``, ``log1p``.
    limits : dict of str to tuple of float
        Smallest and largest value of targets.
    weights : dict of str to float
        How much the errors of a target count, beside those of the others; 1 where not given.
    sizes : dict of str to int
        Of the network: ``d``, ``s``, ``m``.
    options : PairOptions, optional
        How to train.
    device, overwrite, resume, report, each_step
        As for `geofsrcnn.train_model`.

    Returns
    -------
    PairResult

    Raises
    ------
    UsageError, InputError, OutputError, TrainError
        If an argument is wrong, files cannot be used, or the loss is no longer finite.
    """
    options = options or PairOptions()
    if base not in BASES:
        raise UsageError(f"base must be one of {', '.join(BASES)}, got {base!r}")
    if conserving not in CONSERVING:
        raise UsageError(f"conserving must be one of {', '.join(CONSERVING)}, got {conserving!r}")
    target = Path(out).absolute()
    if target.suffix != ".safetensors":
        raise UsageError(f"the checkpoint's name must end in .safetensors: {printable(target.name)}")
    refuse_same(target, *expanded([*coarse, *fine, *static]))
    if has_states(target) and not (resume or overwrite):
        raise OutputError(f"an unfinished training lies in {printable(folder_of(target))}: use --resume or --overwrite")
    if resume and target.exists() and not has_states(target):
        raise OutputError(f"{printable(target.name)} is finished: nothing is left to resume")
    unfinished = load_state(target) if resume else None
    check_target(target, overwrite=overwrite or unfinished is not None)
    device = check_device(device)
    given = {**FORM, "d": 64, "s": 32, "m": 1, **(sizes or {}), "factor": factor}
    reach = FSRCNNConfig.from_dict(given).halo
    pairs = read_pairs(coarse, fine, factor, reach, predictors=predictors, targets=targets, partners=partners)
    first = _before(pairs.stamps, until)
    later = ~first
    layers, names = read_statics(static, pairs.domain, pairs.place)
    pairing = fit(
        pairs,
        first,
        statics=layers,
        names=names,
        calendar=calendar,
        base=base,
        conserving="mean" if conserving == "positive" else conserving,
        members=options.members,
        transforms=transforms,
        limits=_limits(pairs, limits, positive=conserving == "positive"),
    )
    for words in diagnose(pairs, pairing, first):
        warn("W-PAIRS", words)
    if options.keep == "best" or options.patience:
        chosen = "--keep best" if options.keep == "best" else "--patience"
        warn("W-CHOSEN", f"{chosen} chooses by the scores on the times from {until} on, which are flattered by it")
    arguments = arguments_of(
        coarse,
        fine,
        static,
        until,
        calendar,
        base,
        conserving,
        predictors,
        targets,
        partners,
        transforms,
        limits,
        weights,
    )
    config = FSRCNNConfig.from_dict({**given, "channels": len(pairing.targets), "inputs": pairing.channels})
    shares = _shares(pairing, weights or {})
    identity = {
        "config": config.to_dict(),
        "options": {**dataclasses.asdict(options), "save_minutes": None},
        "data": f"{_digest(pairs, pairing, first)} {shares.tolist()}",
        "teacher": None,
    }
    simple = baselines(pairs, pairing, later)
    weight = torch.from_numpy(_weights(pairs, pairing, first) * shares[:, None, None]).to(device)
    done: list[FSRCNN] = []
    alone: list[dict[str, float]] = []
    ours = unfinished is not None
    steps, seconds = 0, 0.0

    def scores(networks: Sequence[FSRCNN]) -> dict[str, float]:
        found = [Errors() for _ in pairing.targets]
        for times in pairs.blocks(later):
            given = pairs.coarse[times], pairs.partners[times], pairs.days[times]
            whole = pairs.domain.pad(downscaled(networks, pairing, *given, device).mean(0))
            for k, errors in enumerate(found):
                errors.add(whole[:, k], pairs.fine[times, k], scored(pairs, pairing, k, times))
        return {target.name: errors.rmse for target, errors in zip(pairing.targets, found, strict=True)}

    def keep(networks: list[FSRCNN], step: int) -> None:
        """The members so far."""
        nonlocal ours
        final = scores(networks)
        save_checkpoint(
            target,
            networks,
            Card(
                name=target.stem,
                summary=f"{', '.join(final)} from {', '.join(p.name for p in pairing.predictors)}, x{factor}",
                data=[{"name": path.name, "source": "", "licence": ""} for path in expanded([*coarse, *fine, *static])],
                scores={
                    "what": f"RMSE on {int(later.sum())} times from {until} on, fitted on {int(first.sum())} before",
                    **{name: {"network": round(v, 5), **_rounded(simple[name])} for name, v in final.items()},
                },
                training={**dataclasses.asdict(options), "step": step, "arguments": arguments},
                limits="Only for this grid and these predictors; units and places carry meaning.",
                created=dt.datetime.now(dt.UTC).date().isoformat(),
            ),
            sections=section_of(dataclasses.replace(pairing, members=len(networks))),
            overwrite=overwrite or ours,
        )
        ours = True

    def member(number: int, ranks: Ranks) -> FSRCNN:
        """Train one, from where it was left."""
        nonlocal steps, seconds
        own = dataclasses.replace(options, seed=options.seed + number)
        torch.manual_seed(own.seed)
        model = FSRCNN(config)
        with torch.no_grad():
            model.deconvolution.weight *= 0.01  # start at the base
        run = Run(model.to(device), own, ranks)
        best = run.untrained
        if unfinished is not None and unfinished.values["member"] == number:
            best = _network(config, unfinished, number)
            run.restore(unfinished, identity)

        def draw(step: int) -> _Batch:
            times = drawn(first, own.batch_size, own.seed, step)
            return _batch(pairs, pairing, times, ranks.share(len(times)), _left_out(own, step, len(times), config.d))

        def loss_of(batch: _Batch) -> tuple[Tensor, list[str]]:
            x, truth, valid, left = (each.to(device) for each in batch.tensors)
            with run.autocast():
                result = _with_dropout(run.model, x, left)
            error = (result.float() - truth) * weight
            return penalty(error.where(valid, torch.zeros_like(error)), valid, own, ranks), batch.shown

        def ratios(network: FSRCNN) -> dict[str, float]:
            return {name: value / min(simple[name].values()) for name, value in scores([network]).items()}

        def keep_best(network: FSRCNN, _score: float, _ratios: dict[str, float], step: int) -> None:
            nonlocal best
            best = network
            keep([*done, best], step)

        def save() -> None:
            state = run.state(identity)
            tensors = {f"member{k}.{n}": t for k, net in enumerate([*done, best]) for n, t in net.state_dict().items()}
            values = {**state.values, "member": number, "alone": alone}
            save_state(target, State(number * own.steps + state.step, state.tensors | tensors, values))

        def said(record: dict[str, Any]) -> None:
            if report is not None and own.members > 1:
                record = {**record, "done": (number + record["done"]) / own.members, "member": number}
            if report is not None:
                report(record)

        prepared = made_ahead(draw, run.step)
        result = train_to_the_end(run, prepared, loss_of, ratios, keep_best, save, said, each_step, str(target))
        steps, seconds = steps + result.steps, seconds + result.seconds
        return best

    with joined(device, options.batch_size, timed=options.minutes is not None) as ranks, deterministic_torch():
        start = 0
        if unfinished is not None:
            start, alone = unfinished.values["member"], unfinished.values["alone"]
            done = [_network(config, unfinished, number) for number in range(start)]
        elif ranks.first:
            remove_states(target)
        for number in range(start, options.members):
            network = member(number, ranks)
            done.append(network)
            if ranks.first:
                alone.append(scores([network]))
        if ranks.first:
            remove_states(target)
    final = scores(done)
    return PairResult(
        str(target),
        (int(first.sum()), int(later.sum())),
        {name: {"network": value, **simple[name]} for name, value in final.items()},
        {name: [each[name] for each in alone] for name in final},
        steps,
        seconds,
        pairs.step,
    )


def arguments_of(
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    static: Sequence[str | os.PathLike[str]] = (),
    until: str = "",
    calendar: bool = True,
    base: str = "regression",
    conserving: str = "auto",
    predictors: Sequence[str] = (),
    targets: Sequence[str] = (),
    partners: dict[str, str] | None = None,
    transforms: dict[str, str] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
    weights: dict[str, float] | None = None,
) -> dict[str, str]:
    """What besides options decides a training on pairs, in words, for its card; files by name and size."""
    files = {name: expanded(some) for name, some in (("coarse", coarse), ("fine", fine), ("static", static))}
    shown = {name: ", ".join(f"{path.name} ({size_of(path)})" for path in paths) for name, paths in files.items()}
    tables = {"partners": partners, "transforms": transforms, "limits": limits, "weights": weights}
    return {
        **shown,
        "until": until,
        "calendar": str(calendar),
        "base": base,
        "conserving": conserving,
        "predictors": ", ".join(predictors),
        "targets": ", ".join(targets),
        **{name: ", ".join(f"{k}={v}" for k, v in sorted((each or {}).items())) for name, each in tables.items()},
    }


def _limits(
    pairs: Pairs, limits: dict[str, tuple[float, float]] | None, *, positive: bool
) -> dict[str, tuple[float, float]]:
    low = dict.fromkeys((str(target.name) for target in pairs.targets), (0.0, float("inf"))) if positive else {}
    return low | (limits or {})


def _digest(pairs: Pairs, pairing: Pairing, first: Array) -> str:
    """SHA-256 of all that decides a training besides its options, hexadecimal."""
    words, arrays = packed(pairing)
    result = hashlib.sha256(f"{pairs.digest} {json.dumps(words, sort_keys=True)}".encode())
    for part in (first, *arrays.values()):
        result.update(np.ascontiguousarray(part).tobytes())
    return result.hexdigest()


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in scores.items()}


def _before(stamps: list[Stamp], until: str) -> npt.NDArray[np.bool_]:
    try:
        parts = tuple(int(part) for part in until.split("-"))
    except ValueError:
        parts = ()
    if len(parts) != 3:
        raise UsageError(f"until must be a day such as 1993-06-01, got {until!r}")
    first = np.array([stamp[:3] < parts for stamp in stamps])
    if first.all() or not first.any():
        span = f"{day_text(stamps[0])} to {day_text(stamps[-1])}"
        raise InputError(f"no time to {'score on from' if first.all() else 'fit on before'} {until}: there are {span}")
    return first


def _shares(pairing: Pairing, weights: dict[str, float]) -> npt.NDArray[np.float32]:
    names = [target.name for target in pairing.targets]
    for name, value in weights.items():
        if name not in names:
            raise UsageError(f"no target {printable(name)} to weigh: there are {printable(', '.join(names))}")
        if not 0 < value < float("inf"):
            raise UsageError(f"the weight of {printable(name)} must be above 0 and finite, got {value}")
    return np.array([weights.get(name, 1.0) for name in names], np.float32)


def _weights(pairs: Pairs, pairing: Pairing, first: Array) -> Array:
    """How much errors count ``(target, Y, X)``: in units of what the base leaves of each target overall."""
    spread = np.stack([target.spread for target in pairing.targets])
    errors = [Errors() for _ in pairing.targets]
    for times in pairs.blocks(first):
        bases = pairing.bases(pairs.partners[times])
        for k, each in enumerate(errors):
            truth = pairs.fine[times, k]
            each.add(bases[:, k], truth, np.isfinite(truth) & np.isfinite(bases[:, k]) & (spread[k] > 0))
    overall = np.array([each.rmse for each in errors])
    result: Array = (np.nan_to_num(spread) / overall[:, None, None]).astype(np.float32)
    return result


@dataclass(frozen=True)
class _Batch:
    """Input, truth in units of each cell's spread, where it counts, channels that stay; and the first days."""

    tensors: tuple[Tensor, Tensor, Tensor, Tensor]
    shown: list[str]


def _batch(pairs: Pairs, pairing: Pairing, times: Array, share: slice, stay: Array) -> _Batch:
    own = times[share]
    spread = np.stack([target.spread for target in pairing.targets])
    left = pairs.fine[own] - pairing.bases(pairs.partners[own])
    valid = np.isfinite(left) & (spread > 0)
    truth = np.where(valid, left / np.where(spread > 0, spread, 1), 0.0).astype(np.float32)
    arrays = pairing.inputs(pairs.coarse[own], pairs.days[own], pairs.margin), truth, valid, stay[share]
    x, y, where, kept = (torch.from_numpy(each) for each in arrays)
    return _Batch((x, y, where, kept), [day_text(pairs.stamps[i]) for i in own[:3]])


def _left_out(options: PairOptions, step: int, times: int, channels: int) -> Array:
    """Factors ``(time, channel, 1, 1)`` of the channels before the deconvolution: 0 for those left out in a step."""
    lots = np.random.default_rng([options.seed, step, 1]).uniform(size=(times, channels, 1, 1))
    result: Array = ((lots >= options.dropout) / (1 - options.dropout)).astype(np.float32)
    return result


def _with_dropout(model: FSRCNN, x: Tensor, stay: Tensor) -> Tensor:
    """The network's result, the channels before the deconvolution multiplied (Tompson et al. 2015)."""
    weights = model.weights()
    *others, last = weights.layers

    class Dropped:
        radius = last.radius

        def __call__(self, hidden: Tensor) -> Tensor:
            return last(hidden * stay)

    return run_layers(model.config, x, Weights([*others, Dropped()], weights.skip))


def _network(config: FSRCNNConfig, state: State, number: int) -> FSRCNN:
    """A member that a stopped training had."""
    begin = f"member{number}."
    model = FSRCNN(config)
    model.load_state_dict({n.removeprefix(begin): t for n, t in state.tensors.items() if n.startswith(begin)})
    return model
