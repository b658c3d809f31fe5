"""Train a network on fine rasters: coarse patches are block means of fine ones.

The schedule is AdamW with a warm-up and a cosine; what is kept is the moving average of the weights, whenever it does
better on the held-out fields, or that of the last step. A step's batch depends on the seed and the step alone, so a
training that was stopped goes on exactly as if it had not been (`resume`).
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import json
import math
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils import deterministic

from geofsrcnn.checkpoint import Card, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.errors import ConfigError, InputError, OutputError, TrainError, UsageError, printable
from geofsrcnn.files import check_target, local_path, refuse_same
from geofsrcnn.logbook import Report
from geofsrcnn.methods import check_device
from geofsrcnn.metrics import geometric_mean, rmse, scored_mask
from geofsrcnn.model import FSRCNN, FSRCNNConfig
from geofsrcnn.nodata import fill
from geofsrcnn.patches import Batch, Field, Patches, digest, made_ahead, split
from geofsrcnn.ranks import ALONE, LostRank, Ranks, joined
from geofsrcnn.resample import block_mean, resample
from geofsrcnn.resume import State, folder_of, has_states, load_state, remove_states, save_state

Array = npt.NDArray[Any]

BASELINE = "lanczos-bp"
"""The strongest classical method on most fields; scores during training are ratios to it."""

MIN_SCORED = 400
"""Fine cells that a validation field needs to count."""

MAX_VALIDATION = 768
"""Fine rows and columns of a validation field that are scored; its middle is taken."""

WARM_UP = 200
"""Steps in which the learning rate rises."""

BAD_IN_A_ROW = 3
BAD_SHARE = 0.01
"""Steps with a loss or gradient that is not finite are left out; more of them than these end the training."""

_CHOICES = {
    "loss": ("charbonnier", "l1", "mse"),
    "keep": ("best", "last"),
    "course": ("cosine", "constant"),
    "precision": ("float32", "bfloat16"),
}

STAGES = ("feature", "shrink", "mapping", "expand", "deconvolution", "skip")
"""Of the network, as the names of its weights begin."""


@dataclass(frozen=True)
class Schedule:
    """How any network is trained.

    Parameters
    ----------
    steps : int
        Optimiser steps of the whole schedule.
    minutes : float, optional
        End after this time instead, the schedule stretched to it; not reproducible to the bit.
    batch : int
        Patches in a step.
    rate : float
        Peak learning rate (AdamW), after a warm-up of 200 steps, then a cosine to 0.
    decay : float
        Weight decay (AdamW).
    loss : {"charbonnier", "l1", "mse"}
        Of errors in units of a patch's roughness.
    softness : float
        Of the Charbonnier loss ``sqrt(e^2 + softness^2)``.
    average : float
        Decay of the moving average of the weights, which is what is kept.
    frozen : int
        First steps in which only the last layer and the skip are trained; for `start` from another factor.
    freeze : tuple of str
        Stages that are never trained, of `STAGES`; for `start`.
    last_rate : float
        The deconvolution's learning rate as a share of the others' (the paper's: 0.1).
    course : {"cosine", "constant"}
        Of the learning rate after the warm-up; the paper's is constant.
    patience : int
        End after so many validations without a better score; 0 for never.
    precision : {"float32", "bfloat16"}
        Of the convolutions in training (autocast); weights and the loss stay float32.
    check_every : int
        Steps between validations.
    keep : {"best", "last"}
        Which weights are kept: the best on the held-out fields, or those of the last step, for long schedules and
        few held-out fields, whose score says less than the schedule's end.
    save_minutes : float
        Minutes between saved states, from which a stopped training goes on.
    seed : int
        Of weights, patches and held-out sites.

    Raises
    ------
    ConfigError
        If a value makes no sense.
    """

    steps: int = 20_000
    minutes: float | None = None
    batch: int = 16
    rate: float = 1e-3
    decay: float = 0.0
    loss: str = "charbonnier"
    softness: float = 0.3
    average: float = 0.999
    frozen: int = 0
    freeze: tuple[str, ...] = ()
    last_rate: float = 1.0
    course: str = "cosine"
    patience: int = 0
    precision: str = "float32"
    check_every: int = 500
    keep: str = "best"
    save_minutes: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in {"steps": 1, "batch": 1, "check_every": 1, "frozen": 0, "patience": 0}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(f"minutes must be positive, got {self.minutes}")
        if not 0 < self.save_minutes < math.inf:
            raise ConfigError(f"save_minutes must be positive, got {self.save_minutes}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {self.seed}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if unknown := [name for name in self.freeze if name not in STAGES]:
            raise ConfigError(f"freeze takes {', '.join(STAGES)}, got {printable(', '.join(unknown))}")
        if set(self.freeze) == set(STAGES):
            raise ConfigError("freeze leaves nothing to train: name fewer stages")
        if not 0 < self.last_rate <= 10:
            raise ConfigError(f"last_rate must be above 0, at most 10, got {self.last_rate}")
        if not (
            0 < self.rate < math.inf and 0 < self.softness < math.inf and 0 <= self.average < 1 and 0 <= self.decay < 1
        ):
            raise ConfigError("rate and softness must be positive, average and decay from 0 to below 1")


@dataclass(frozen=True)
class TrainOptions(Schedule):
    """How to train on fine rasters: besides a `Schedule`,

    Parameters
    ----------
    patch : int
        Coarse cells along one side of what a patch is scored on.
    balance : float
        Files are drawn in proportion to their number of cells to this power.
    coarser : int
        How many times fields are halved (block means) to serve as further fields.
    blur : float
        Share of the patches that are smoothed by a random amount.
    mix : float
        Share of the patches to which a part of another one is added.
    branches : bool
        Train each mapping convolution as the sum of a k x k, a 1 x 1 and an identity (Ding et al. 2021), folded
        into one when it is kept.
    teacher_weight : float
        Share of the loss that is taken against the teacher's result instead of the truth.
    hold_out : float
        Share of the sites that is held out where no validation rasters are given.
    """

    patch: int = 32
    balance: float = 0.5
    coarser: int = 0
    blur: float = 0.0
    mix: float = 0.0
    branches: bool = False
    teacher_weight: float = 0.5
    hold_out: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in {"patch": 1, "coarser": 0}.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be at least {low}, got {getattr(self, name)}")
        if not 0 < self.hold_out < 1:
            raise ConfigError(f"hold_out must be between 0 and 1, got {self.hold_out}")
        for name in ("blur", "mix", "teacher_weight", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Parameters
    ----------
    out : str
        The checkpoint.
    score : float
        Geometric mean over validation fields of RMSE divided by that of lanczos3 with back-projection.
    steps : int
        Steps taken; the best checkpoint may be an earlier one.
    seconds : float
        Wall time, that before a resume included.
    fields : dict
        The ratio for each validation field.
    """

    out: str
    score: float
    steps: int
    seconds: float
    fields: dict[str, float] = field(default_factory=dict)


def train_model(
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    out: str | os.PathLike[str],
    *,
    config: FSRCNNConfig | None = None,
    options: TrainOptions | None = None,
    validation: Sequence[str | os.PathLike[str]] = (),
    card: str | os.PathLike[str] | dict[str, Any] | None = None,
    start: str | os.PathLike[str] | Checkpoint | None = None,
    teacher: str | os.PathLike[str] | Checkpoint | None = None,
    device: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> Result:
    """Train a network and keep the best checkpoint.

    Parameters
    ----------
    fine : sequence of path
        Rasters of the fine grid; every band is a field, rasters of the same area are one site.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``; replaced whenever validation improves on the untrained network, which
        is written at the end if none was better (``keep="last"``: the last one is).
    config : FSRCNNConfig, optional
        Network; its factor must be `factor`.
    options : TrainOptions, optional
        How to train.
    validation : sequence of path
        Rasters to validate on instead of held-out sites.
    card : path or dict, optional
        TOML with ``summary``, ``limits``, ``created`` and ``[[data]]`` (name, source, licence) for the model card.
    start : path or Checkpoint, optional
        Weights to start from. From another factor, the last layer and the skip are new, the rest is kept.
    teacher : path or Checkpoint, optional
        Network of the same factor to learn from beside the truth (Hinton et al. 2015).
    device : str
        ``auto``, ``cpu``, ``cuda``.
    overwrite : bool
        Replace an existing `out`.
    resume : bool
        Go on from the state that a stopped training left beside `out`; from the start if there is none.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training, its state saved.

    Returns
    -------
    Result

    Raises
    ------
    UsageError, InputError, OutputError, TrainError
        If an argument is wrong, rasters cannot be used, or the loss is no longer finite.
    """
    options = options or TrainOptions()
    config = config or FSRCNNConfig(factor=factor)
    if config.factor != factor:
        raise UsageError(f"the configuration is for factor {config.factor}, not {factor}")
    if config.channels != 1 or config.pad_layers:
        raise UsageError("train takes one-band networks that pad at the input")
    target = Path(out).absolute()
    if target.suffix != ".safetensors":
        raise UsageError(f"the checkpoint's name must end in .safetensors: {printable(target.name)}")
    paths = [local_path(path) for path in fine]
    others = (*validation, *(x for x in (start, teacher, card) if isinstance(x, (str, os.PathLike))))
    refuse_same(target, *paths, *(Path(other) for other in others))
    if has_states(target) and not (resume or overwrite):
        raise OutputError(f"an unfinished training lies in {printable(folder_of(target))}: use --resume or --overwrite")
    unfinished = load_state(target) if resume else None
    check_target(target, overwrite=overwrite or unfinished is not None)
    written = _read_card(card)
    device = check_device(device)

    training, held_out = split(
        paths, [local_path(p) for p in validation], factor, hold_out=options.hold_out, seed=options.seed
    )
    anchored = config.conserving == "positive"
    scored = [s for s in (_prepare(f, factor, config.halo, anchored=anchored) for f in held_out) if s is not None]
    if not scored:
        raise InputError("no validation field has enough valid cells and any structure: give --validation rasters")
    patches = Patches(
        training,
        factor,
        config.halo,
        patch=options.patch,
        batch=options.batch,
        balance=options.balance,
        coarser=options.coarser,
        blur=options.blur,
        mix=options.mix,
        seed=options.seed,
        anchored=anchored,
    )
    torch.manual_seed(options.seed)
    model = FSRCNN(config)
    if start is not None:
        _start_from(model, start)
    if options.branches:
        _add_branches(model)
    guide = None if teacher is None else _teacher(teacher, config).to(device)
    identity = {
        "config": config.to_dict(),
        "options": {**dataclasses.asdict(options), "save_minutes": None},
        "data": digest(training + held_out),
        "teacher": None if guide is None else guide.digest,
    }
    with joined(device, options.batch, timed=options.minutes is not None) as ranks:
        run = Run(model.to(device), options, ranks)
        if unfinished is not None:
            run.restore(unfinished, identity)
        elif ranks.first:
            remove_states(target)
        ours = unfinished is not None

        def keep(best: FSRCNN, score: float, fields: dict[str, float], step: int) -> None:
            nonlocal ours
            save_checkpoint(
                target,
                best,
                Card(
                    name=target.stem,
                    summary=written.get("summary", ""),
                    data=written.get("data") or [{"name": n, "source": "", "licence": ""} for n in patches.files],
                    scores={
                        "what": f"RMSE divided by that of {BASELINE}, held-out sites",
                        "geometric_mean": round(score, 4),
                        "fields": {n: round(v, 4) for n, v in fields.items()},
                    },
                    training={**dataclasses.asdict(options), "step": step},
                    limits=written.get("limits", ""),
                    created=written.get("created") or dt.datetime.now(dt.UTC).date().isoformat(),
                ),
                overwrite=overwrite or ours,
            )
            ours = True

        def save() -> None:
            save_state(target, run.state(identity))

        def loss_of(batch: Batch) -> tuple[Tensor, list[str]]:
            own = run.ranks.share(options.batch)
            coarse, fine = (torch.from_numpy(part[own]).to(device) for part in (batch.coarse, batch.fine))
            valid = None if batch.valid is None else torch.from_numpy(batch.valid[own]).to(device)
            return _loss(run, coarse, fine, valid, guide, options), batch.origins

        def validate(model: FSRCNN) -> dict[str, float]:
            return _validate(model, scored, device)

        with deterministic_torch():
            result = fit(
                run, made_ahead(patches.draw, run.step), loss_of, validate, keep, save, report, each_step, str(target)
            )
        if ranks.first:
            remove_states(target)
        return result


def _read_card(card: str | os.PathLike[str] | dict[str, Any] | None) -> dict[str, Any]:
    if card is None:
        return {}
    if not isinstance(card, dict):
        return _check_card(*_read_toml(local_path(card)))
    return _check_card(card, "the model")


def _read_toml(found: Path) -> tuple[dict[str, Any], str]:
    shown = printable(found.name)
    if found.stat().st_size > 2**20:
        raise ConfigError(f"card is larger than 1 MiB: {printable(found)}")
    try:
        return tomllib.loads(found.read_text(encoding="utf-8-sig")), shown
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"card {shown} is not TOML ({printable(error)})") from None
    except OSError as error:
        raise ConfigError(f"cannot read the card {shown} ({error.strerror})") from None


def _check_card(card: dict[str, Any], shown: str) -> dict[str, Any]:
    if unknown := sorted(set(card) - {"summary", "limits", "created", "data"}):
        raise ConfigError(f"card {shown} has unknown keys: {', '.join(map(printable, unknown))}")
    texts = all(isinstance(card.get(key, ""), str) for key in ("summary", "limits", "created"))
    rows = card.get("data", [])
    if not texts or not isinstance(rows, list) or not all(map(_is_texts, rows)):
        raise ConfigError(f"card {shown}: summary and limits are texts, data a list of tables of texts")
    return card


def _is_texts(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(value, str) for value in row.values())


# ----------------------------------------------------------------------------------------------------- network


def _start_from(model: FSRCNN, start: str | os.PathLike[str] | Checkpoint) -> None:
    """The weights of a checkpoint; from another factor, all but the last layer and the skip."""
    given = start if isinstance(start, Checkpoint) else load_checkpoint(start)
    if dataclasses.replace(given.config, factor=model.config.factor) != model.config:
        raise UsageError("the checkpoint to start from has another configuration")
    weights = given.model.state_dict()
    if given.config.factor != model.config.factor:
        weights = {k: v for k, v in weights.items() if not k.startswith(("deconvolution.", "skip"))}
    model.load_state_dict(weights, strict=False)


@dataclass(frozen=True)
class _Teacher:
    model: FSRCNN
    halo: int
    digest: str

    def to(self, device: str) -> _Teacher:
        return dataclasses.replace(self, model=self.model.to(device))


def _teacher(teacher: str | os.PathLike[str] | Checkpoint, config: FSRCNNConfig) -> _Teacher:
    given = teacher if isinstance(teacher, Checkpoint) else load_checkpoint(teacher, config.factor)
    if given.config.factor != config.factor or given.config.channels != 1 or given.sections:
        raise UsageError("the teacher must have the same factor and one band")
    return _Teacher(given.model, given.config.halo, given.digest)


class _Branches(nn.Module):
    """A k x k convolution's weight plus a 1 x 1 one's plus the identity's: one weight, three ways to learn it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        channels = weight.shape[0]
        self.point = nn.Parameter(torch.zeros(channels, channels))
        self.straight = nn.Parameter(torch.zeros(channels))

    def forward(self, weight: Tensor) -> Tensor:
        centre = weight.shape[-1] // 2
        added = self.point + torch.diag(self.straight)
        return weight + nn.functional.pad(added[:, :, None, None], [centre] * 4)


def _add_branches(model: FSRCNN) -> None:
    for layer in model.mapping:
        parametrize.register_parametrization(layer, "weight", _Branches(layer.weight))  # type: ignore[arg-type]


def folded(model: FSRCNN) -> FSRCNN:
    """The plain network that gives the same: branches summed into single convolutions."""
    weights = {name: tensor for name, tensor in model.state_dict().items() if ".parametrizations." not in name}
    for i, layer in enumerate(model.mapping):
        weights[f"mapping.{i}.weight"] = layer.weight.detach()  # type: ignore[operator]
    plain = FSRCNN(model.config)
    plain.load_state_dict(weights)
    return plain


# -------------------------------------------------------------------------------------------------- validation


@dataclass
class _Scored:
    """A validation field with its coarse version and the baselines' scores."""

    name: str
    coarse: Tensor
    offset: float
    truth: Array
    where: npt.NDArray[np.bool_]
    baseline: float


def _prepare(f: Field, factor: int, halo: int, *, anchored: bool) -> _Scored | None:
    """Block means, filled and padded, counted from 0 if anchored there; None where too few cells count."""
    rows, columns = (min(n, MAX_VALIDATION) // factor * factor for n in f.values.shape)
    y, x = ((n - m) // 2 for n, m in zip(f.values.shape, (rows, columns), strict=True))
    truth = f.values[y : y + rows, x : x + columns]
    coarse = block_mean(truth, factor)
    valid = np.isfinite(coarse)
    where = scored_mask(valid, factor)
    if where.sum() < MIN_SCORED:
        return None
    coarse = fill(coarse[None], valid[None], 2 * halo)[0]
    baseline = rmse(resample(coarse, factor, BASELINE), truth, where)
    if baseline <= 1e-9 * float(np.abs(truth[where]).max()):  # constant but for rounding
        return None
    offset = 0.0 if anchored else float(coarse.mean())
    padded = np.pad(coarse - offset, halo, mode="edge").astype(np.float32)
    return _Scored(f.name, torch.from_numpy(padded)[None, None], offset, truth, where, baseline)


def _validate(model: FSRCNN, fields: list[_Scored], device: str) -> dict[str, float]:
    """RMSE divided by the baseline's, for each field."""
    scores = {}
    with torch.inference_mode():
        for f in fields:
            fine = model(f.coarse.to(device))[0, 0].cpu().numpy().astype(np.float64) + f.offset
            scores[f.name] = rmse(fine, f.truth, f.where) / f.baseline
    return scores


# -------------------------------------------------------------------------------------------------------- loop


class Run:
    """All that changes while a network is trained."""

    def __init__(self, model: FSRCNN, options: Schedule, ranks: Ranks = ALONE) -> None:
        self.options = options
        self.ranks = ranks
        self.model = model
        self.average = copy.deepcopy(model)
        self.untrained = folded(model)
        self.parameters = {
            name: parameter
            for name, parameter in model.named_parameters()
            if not name.startswith(options.freeze)  # an empty tuple begins nothing
        }
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in self.parameters)
        last = [name.startswith("deconvolution.") for name in self.parameters]
        groups = [
            {
                "params": [p for p, here in zip(self.parameters.values(), last, strict=True) if here == own],
                "share": share,
            }
            for own, share in ((False, 1.0), (True, options.last_rate))
        ]
        self.optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=options.rate,
            weight_decay=options.decay,
            betas=(0.9, 0.99),
        )
        self.step = 0
        self.best, self.best_fields, self.best_step = math.inf, dict[str, float](), 0
        self.checked = -1
        self.losses, self.counted = 0.0, 0
        self.bad, self.bad_in_a_row = 0, 0
        self.without_better = 0
        self._before, self._start = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of training, that before a resume included."""
        return self._before + time.monotonic() - self._start

    @property
    def done(self) -> float:
        """Share of the schedule, 0 to 1."""
        minutes = self.options.minutes
        return min(1.0, self.step / self.options.steps if minutes is None else self.seconds / 60 / minutes)

    def autocast(self) -> torch.autocast:
        """The precision of the convolutions."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bfloat16")

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        falling = 0.5 * (1 + math.cos(math.pi * self.done)) if self.options.course == "cosine" else 1.0
        return self.options.rate * min(1.0, (self.step + 1) / WARM_UP) * falling

    def take(self, loss: Tensor, batch: list[str]) -> None:
        """One optimiser step; one with a loss or gradient that is not finite changes nothing."""
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * group["share"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.step < options.frozen:
            for name, parameter in self.parameters.items():
                if not name.startswith(("deconvolution.", "skip")):
                    parameter.grad = None
        self.ranks.add_up(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        value = self.ranks.total(loss.detach()).item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            self._left_out(batch)
            return
        self.bad_in_a_row = 0
        self.losses += value
        self.counted += 1
        self.optimiser.step()
        self._follow(min(options.average, (1 + self.step) / (10 + self.step)))
        self.step += 1

    def _left_out(self, batch: list[str]) -> None:
        self.bad += 1
        self.bad_in_a_row += 1
        self.step += 1
        if self.bad_in_a_row > BAD_IN_A_ROW or self.bad > max(BAD_IN_A_ROW, BAD_SHARE * self.step):
            raise TrainError(
                f"the loss or its gradient is not finite at step {self.step - 1}, {self.bad} steps so far: take a "
                f"smaller --rate, or look at {printable('; '.join(batch))}"
            )

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the averaged weights a little towards the model's."""
        for a, b in zip(self.average.parameters(), self.model.parameters(), strict=True):
            a.lerp_(b, 1 - decay)

    def state(self, identity: dict[str, Any]) -> State:
        """All of it as tensors and plain values."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value
        plain = {name: getattr(self, name) for name in _PLAIN}
        return State(self.step, tensors, {**plain, "seconds": self.seconds, "identity": identity})

    def restore(self, state: State, identity: dict[str, Any]) -> None:
        """Go on from a saved state of the same training."""
        saved = state.values.get("identity", {})
        if differing := [key for key in identity if saved.get(key) != json.loads(json.dumps(identity[key]))]:
            raise UsageError(
                f"the unfinished training had other {' and '.join(_WORDS[k] for k in differing)}: give it the same, or "
                "start anew with --overwrite"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
        for name, tensor in state.tensors.items():
            part, _, rest = name.partition(".")
            if part in parts:
                parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.average.load_state_dict(parts["average"])
        for name, tensor in parts["optimiser"].items():
            key, _, parameter = name.partition(".")
            owner = self.parameters[parameter]
            self.optimiser.state[owner][key] = tensor if key == "step" else tensor.to(owner.device)
        for name in _PLAIN:
            setattr(self, name, state.values[name])
        self._before, self._start = float(state.values["seconds"]), time.monotonic()


_PLAIN = (
    "step",
    "checked",
    "best",
    "best_fields",
    "best_step",
    "losses",
    "counted",
    "bad",
    "bad_in_a_row",
    "without_better",
)
_WORDS = {"config": "network sizes", "options": "options", "data": "data", "teacher": "teacher"}


@contextmanager
def deterministic_torch() -> Iterator[None]:
    """Only operations that give the same each time; what was set before is set again after."""
    settings = cast("Any", deterministic)  # its attribute is set up where type checkers do not see it
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    settings.fill_uninitialized_memory = False  # nothing here reads memory that it has not written
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings.fill_uninitialized_memory = before[1]


B = TypeVar("B")


def fit(
    run: Run,
    batches: Iterator[B],
    loss_of: Callable[[B], tuple[Tensor, list[str]]],
    validate: Callable[[FSRCNN], dict[str, float]],
    keep: Callable[[FSRCNN, float, dict[str, float], int], None],
    save: Callable[[], None],
    report: Report | None,
    each_step: Callable[[], None],
    out: str,
) -> Result:
    """Train to the schedule's end.

    Parameters
    ----------
    run : Run
        Changes with each step.
    batches : iterator
        From the run's step on, without end.
    loss_of : callable
        Of a batch, and what it was made of, for messages.
    validate : callable
        Ratios to a baseline, by name; their geometric mean is the score.
    keep : callable
        Writes the folded network with its score, ratios and step.
    save : callable
        Writes the run's state.
    report, each_step
        As for `train_model`.
    out : str
        The checkpoint, for the result.
    """
    options = run.options
    saved = time.monotonic()
    for batch in batches:
        done = run.done
        if run.checked != run.step and (run.step % options.check_every == 0 or done >= 1):
            ratios = validate(run.average) if run.ranks.first else {}
            score = run.ranks.told(geometric_mean(list(ratios.values())) if ratios else 0.0)
            better = score < run.best
            run.without_better = 0 if better else run.without_better + 1
            tired = 0 < options.patience <= run.without_better
            if tired:
                done = 1.0
            if better or (options.keep == "last" and done >= 1):
                run.best, run.best_fields, run.best_step = score, ratios, run.step
                if run.step > 0 and run.ranks.first:  # the untrained one at the end only: an older one is worth more
                    keep(folded(run.average), score, ratios, run.step)
            if report is not None and run.ranks.first:
                report(
                    {
                        "step": run.step,
                        "done": done,
                        "seconds": round(run.seconds, 1),
                        "rate": round(run.rate, 8),
                        "loss": round(run.losses / max(run.counted, 1), 5),
                        "score": round(score, 5),
                        "best": round(run.best, 5),
                    }
                )
            run.losses, run.counted, run.checked = 0.0, 0, run.step
        if done >= 1:
            if run.best_step == 0 and run.ranks.first:
                keep(run.untrained, run.best, run.best_fields, 0)
            return Result(out, run.best, run.step, run.seconds, run.best_fields)
        try:
            each_step()
        except BaseException:
            if run.ranks.first:
                save()
            raise
        if time.monotonic() - saved > 60 * options.save_minutes and run.ranks.first:
            save()
            saved = time.monotonic()
        try:
            run.take(*loss_of(batch))
        except LostRank:
            if run.ranks.first:  # the step has changed nothing yet
                save()
            each_step()  # which knows whether this process was to stop as well
            raise
    raise AssertionError("batches do not end")


def _loss(
    run: Run, coarse: Tensor, fine: Tensor, valid: Tensor | None, guide: _Teacher | None, options: TrainOptions
) -> Tensor:
    """The loss against the truth, or partly against the teacher, over the cells that count."""
    model, ranks = run.model, run.ranks
    with run.autocast():
        result = model(coarse)
    loss = penalty(result.float() - fine, valid, options, ranks)
    if guide is None:
        return loss
    with torch.no_grad():
        spare = guide.halo - model.halo
        given = coarse if spare <= 0 else nn.functional.pad(coarse, [spare] * 4, mode="replicate")
        taught = guide.model(given if spare >= 0 else given[..., -spare:spare, -spare:spare])
    weight = options.teacher_weight
    return (1 - weight) * loss + weight * penalty(result.float() - taught, valid, options, ranks)


def penalty(error: Tensor, valid: Tensor | None, options: Schedule, ranks: Ranks = ALONE) -> Tensor:
    """The mean loss of errors over the cells that count; of several processes, each one's part of it."""
    if options.loss == "mse":
        each = error.square()
    elif options.loss == "l1":
        each = error.abs()
    else:
        each = (error.square() + options.softness**2).sqrt() - options.softness
    if ranks.count > 1:
        count = torch.tensor(float(each.numel()), device=each.device) if valid is None else valid.sum().float()
        kept = each if valid is None else each.where(valid, torch.zeros_like(each))
        return kept.sum() / ranks.total(count)
    return each.mean() if valid is None else each.where(valid, torch.zeros_like(each)).sum() / valid.sum()
