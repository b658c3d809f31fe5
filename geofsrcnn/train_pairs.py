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
from torch.nn import functional

from geofsrcnn.checkpoint import Card, save_checkpoint
from geofsrcnn.errors import ConfigError, InputError, OutputError, UsageError, printable, warn
from geofsrcnn.files import check_target, refuse_same
from geofsrcnn.methods import check_device
from geofsrcnn.metrics import rmse
from geofsrcnn.model import FSRCNN, FSRCNNConfig, Weights, run_layers
from geofsrcnn.pairing import Pairing, packed
from geofsrcnn.pairs import Pairs, baselines, batches, diagnose, expanded, fit, read_pairs, read_statics, scored
from geofsrcnn.resume import folder_of, has_states, load_state, remove_states, save_state
from geofsrcnn.train import Report, Run, Schedule, deterministic_torch, penalty
from geofsrcnn.train import fit as train_to_the_end

Array = npt.NDArray[Any]

BASES = ("regression", "correction")

FORM: dict[str, Any] = {
    "bias": True,
    "prelu": "channel",
    "unit_free": False,
    "skip": "none",
    "conserving": "none",
}
"""Of networks of pairs: units and places carry meaning, and the regression beside them is the skip."""


@dataclass(frozen=True)
class PairOptions(Schedule):
    """How to train on pairs: besides a `Schedule`,

    Parameters
    ----------
    dropout : float
        Share of the channels before the deconvolution that are left out at random in each step.
    """

    steps: int = 1500
    batch: int = 32
    decay: float = 0.01
    loss: str = "mse"
    average: float = 0.99
    check_every: int = 500
    keep: str = "last"
    dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {self.dropout}")


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
    steps : int
        Steps taken.
    seconds : float
        Wall time of training.
    """

    out: str
    times: tuple[int, int]
    scores: dict[str, dict[str, float]]
    steps: int
    seconds: float


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
    predictors: Sequence[str] = (),
    targets: Sequence[str] = (),
    partners: dict[str, str] | None = None,
    transforms: dict[str, str] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
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
        NetCDF, Zarr or GeoTIFF of the same times.
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
    predictors, targets : sequence of str
        Variables; all fields of the files if none are given.
    partners : dict of str to str
        The predictor that is the same quantity as a target; found by standard name or name where not given.
    transforms : dict of str to str
        Of predictors: ``sqrt``, ``log1p``.
    limits : dict of str to tuple of float
        Smallest and largest value of targets.
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
    target = Path(out).absolute()
    if target.suffix != ".safetensors":
        raise UsageError(f"the checkpoint's name must end in .safetensors: {printable(target.name)}")
    refuse_same(target, *expanded([*coarse, *fine, *static]))
    if has_states(target) and not (resume or overwrite):
        raise OutputError(f"an unfinished training lies in {printable(folder_of(target))}: use --resume or --overwrite")
    unfinished = load_state(target) if resume else None
    check_target(target, overwrite=overwrite or unfinished is not None)
    device = check_device(device)
    given = {**FORM, "d": 64, "s": 32, "m": 1, **(sizes or {}), "factor": factor}
    reach = FSRCNNConfig.from_dict(given).halo
    pairs = read_pairs(coarse, fine, factor, reach, predictors=predictors, targets=targets)
    first = _before(pairs.stamps, until)
    layers, names = read_statics(static, pairs.domain)
    pairing = fit(
        pairs,
        first,
        statics=layers,
        names=names,
        calendar=calendar,
        base=base,
        partners=partners,
        transforms=transforms,
        limits=limits,
    )
    for words in diagnose(pairs, pairing, first):
        warn("W-PAIRS", words)
    config = FSRCNNConfig.from_dict({**given, "channels": len(pairing.targets), "inputs": pairing.channels})
    torch.manual_seed(options.seed)
    model = FSRCNN(config)
    with torch.no_grad():
        model.deconvolution.weight *= 0.01  # start at the regression
    run = Run(model.to(device), options)
    identity = {
        "config": config.to_dict(),
        "options": {**dataclasses.asdict(options), "save_minutes": None},
        "data": _digest(pairs, pairing, first),
        "teacher": None,
    }
    if unfinished is not None:
        run.restore(unfinished, identity)
    else:
        remove_states(target)
    simple = baselines(pairs, pairing, first)
    inputs = torch.from_numpy(pairing.inputs(pairs.coarse, pairs.days, reach))
    bases = pairing.bases(pairs.partners)
    truth, valid, weight = _targets(pairs, pairing, bases, first)
    ours = unfinished is not None

    def loss_of(times: Array) -> tuple[Tensor, list[str]]:
        index = torch.from_numpy(times)
        mask = valid[index].to(device)
        result = _with_dropout(run.model, inputs[index].to(device), options.dropout, run.step)
        error = (result - truth[index].to(device)) * weight.to(device)
        shown = ["-".join(map(str, pairs.stamps[i][:3])) for i in times[:3]]
        return penalty(error.where(mask, torch.zeros_like(error)), mask, options), shown

    def network(model: FSRCNN, times: Array) -> Array:
        with torch.inference_mode():
            chosen = inputs[torch.from_numpy(times)]
            parts = [model(chosen[i : i + 64].to(device)).cpu().numpy() for i in range(0, len(times), 64)]
        whole = np.concatenate(parts).astype(np.float64)
        return np.stack([t.finish(bases[times, k], whole[:, k]) for k, t in enumerate(pairing.targets)], axis=1)

    later = np.nonzero(~first)[0]

    def scores(model: FSRCNN) -> dict[str, float]:
        found = network(model, later)
        return {
            target.name: rmse(found[:, k], pairs.fine[later, k], scored(pairs, pairing, k)[later])
            for k, target in enumerate(pairing.targets)
        }

    def ratios(model: FSRCNN) -> dict[str, float]:
        return {name: value / min(simple[name].values()) for name, value in scores(model).items()}

    final: dict[str, float] = {}

    def keep(best: FSRCNN, _score: float, _ratios: dict[str, float], step: int) -> None:
        nonlocal ours, final
        final = scores(best)
        save_checkpoint(
            target,
            best,
            Card(
                name=target.stem,
                summary=f"{', '.join(final)} from {', '.join(p.name for p in pairing.predictors)}, x{factor}",
                data=[{"name": path.name, "source": "", "licence": ""} for path in expanded([*coarse, *fine, *static])],
                scores={
                    "what": f"RMSE on {len(later)} times from {until} on, fitted on {int(first.sum())} before",
                    **{name: {"network": round(v, 5), **_rounded(simple[name])} for name, v in final.items()},
                },
                training={**dataclasses.asdict(options), "step": step},
                limits="Only for this grid and these predictors; units and places carry meaning.",
                created=dt.datetime.now(dt.UTC).date().isoformat(),
            ),
            pairing=pairing,
            overwrite=overwrite or ours,
        )
        ours = True

    with deterministic_torch():
        result = train_to_the_end(
            run,
            batches(first, options.batch, options.seed, run.step),
            loss_of,
            ratios,
            keep,
            lambda: save_state(target, run.state(identity)),
            report,
            each_step,
            str(target),
        )
    remove_states(target)
    return PairResult(
        str(target),
        (int(first.sum()), len(later)),
        {name: {"network": value, **simple[name]} for name, value in final.items()},
        result.steps,
        result.seconds,
    )


def _digest(pairs: Pairs, pairing: Pairing, first: Array) -> str:
    """SHA-256 of all that decides a training besides its options, hexadecimal."""
    words, arrays = packed(pairing)
    result = hashlib.sha256(f"{pairs.digest} {json.dumps(words, sort_keys=True)}".encode())
    for part in (first, *arrays.values()):
        result.update(np.ascontiguousarray(part).tobytes())
    return result.hexdigest()


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 5) for name, value in scores.items()}


def _before(stamps: list[tuple[int, ...]], until: str) -> npt.NDArray[np.bool_]:
    try:
        parts = tuple(int(part) for part in until.split("-"))
    except ValueError:
        parts = ()
    if len(parts) != 3:
        raise UsageError(f"until must be a day such as 1993-06-01, got {until!r}")
    first = np.array([stamp[:3] < parts for stamp in stamps])
    if first.all() or not first.any():
        span = f"{stamps[0][:3]} to {stamps[-1][:3]}"
        raise InputError(f"no time to {'score on from' if first.all() else 'fit on before'} {until}: there are {span}")
    return first


def _targets(pairs: Pairs, pairing: Pairing, bases: Array, first: Array) -> tuple[Tensor, Tensor, Tensor]:
    """What the network is to give, where it counts, and how much: squares in units of what the base leaves overall."""
    spread = np.stack([target.spread for target in pairing.targets])
    left = pairs.fine - bases
    valid = np.isfinite(left) & np.isfinite(spread) & (spread > 0)
    overall = [np.sqrt(np.square(left[first, k])[valid[first, k]].mean()) for k in range(len(spread))]
    truth = np.where(valid, left / np.where(spread > 0, spread, 1), 0.0)
    weight = np.nan_to_num(spread) / np.array(overall)[:, None, None]
    return (
        torch.from_numpy(truth.astype(np.float32)),
        torch.from_numpy(valid),
        torch.from_numpy(weight.astype(np.float32)),
    )


def _with_dropout(model: FSRCNN, x: Tensor, share: float, step: int) -> Tensor:
    """The network's result with channels left out before the deconvolution, which the step's number decides."""
    weights = model.weights()
    if share > 0:
        torch.manual_seed(step)
    *others, last = weights.layers

    class Dropped:
        radius = last.radius

        def __call__(self, hidden: Tensor) -> Tensor:
            return last(functional.dropout2d(hidden, share))

    return run_layers(model.config, x, Weights([*others, Dropped()], weights.skip))
