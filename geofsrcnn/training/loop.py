"""Steps of a training: batches, gradients, moving averages, what is kept."""

from __future__ import annotations

import copy
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils import deterministic

from geofsrcnn.errors import TrainError, UsageError, printable
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.checkpoint import Checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.limits import cut
from geofsrcnn.training.branches import fold
from geofsrcnn.training.log import Report
from geofsrcnn.training.patches import prefetch
from geofsrcnn.training.processes import SINGLE_PROCESS, LostRank, Ranks
from geofsrcnn.training.schedule import MAX_SKIPPED_IN_A_ROW, MAX_SKIPPED_SHARE, Result, Schedule, TrainOptions
from geofsrcnn.training.states import State

LARGEST_GRADIENT = 1.0
"""Gradients whose norm is larger are clipped to it."""

NOT_FINITE, SMALLER_RATE = "the loss or its gradient is not finite", "take a smaller learning rate"
"""Words for a training that goes astray."""

SAVED = (
    "step",
    "skipped",
    "skipped_in_a_row",
    "loss_sum",
    "loss_count",
    "validated_step",
    "best_score",
    "best_ratios",
    "best_step",
    "validations_since_best",
)
"""Attributes of a `Run` that are plain values of its state."""


class Run:
    """All that changes while a network is trained: `take_step` is a step, `state` and `restore` keep and resume it.

    A step is a batch, its loss, and an optimiser step; one whose loss or gradient is not finite counts, but changes
    no weight. After each step an exponential moving average (EMA) of the weights moves towards them: it is what is
    validated, and what a checkpoint holds. A resumed training goes on to the same result: weights, their average, the
    optimiser's moments, the counters of `SAVED` and the time so far are saved; batches follow from the step's number.

    Parameters
    ----------
    model : FSRCNN
        The network; its weights change.
    options : Schedule
        How it is trained.
    ranks : Ranks
        The processes that train it together.

    Attributes
    ----------
    ema_model : FSRCNN
        The moving average of the weights.
    untrained : FSRCNN
        The network as it was, which is kept if none is better.
    parameters : dict of str to Parameter
        Weights that are trained, by name; the others are frozen.
    step : int
        Steps taken, skipped ones among them.
    skipped, skipped_in_a_row : int
        Steps that were not finite, and those of them since the last that was.
    loss_sum, loss_count : float, int
        Of the steps since the last validation.
    validated_step : int
        Step of the last validation; -1 before the first.
    best_score, best_ratios, best_step : float, dict, int
        The best validation: its score, the ratios behind it, and its step.
    validations_since_best : int
        Validations since then.
    """

    def __init__(self, model: FSRCNN, options: Schedule, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.options = options
        self.ranks = ranks
        self.model = model
        self.ema_model = copy.deepcopy(model)
        self.untrained = fold(model)
        self.parameters = {
            name: parameter
            for name, parameter in model.named_parameters()
            if not name.startswith(options.freeze)  # an empty tuple begins nothing
        }
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in self.parameters)
        self.optimiser = _optimiser(self.parameters, options)
        self.step = 0
        self.skipped, self.skipped_in_a_row = 0, 0
        self.loss_sum, self.loss_count = 0.0, 0
        self.validated_step = -1
        self.best_score, self.best_ratios, self.best_step = math.inf, dict[str, float](), 0
        self.validations_since_best = 0
        self._seconds_before, self._started = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of training, that before a resume included."""
        return self._seconds_before + time.monotonic() - self._started

    @property
    def share_done(self) -> float:
        """Share of the schedule that is done, 0 to 1."""
        minutes = self.options.minutes
        return min(1.0, self.step / self.options.steps if minutes is None else self.seconds / 60 / minutes)

    def autocast(self) -> torch.autocast:
        """The precision of the convolutions."""
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.options.precision == "bfloat16")

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self.options.learning_rate_at(self.step, self.share_done)

    def record(self, done: float, score: float) -> dict[str, Any]:
        """Return the figures of a validation, for a report."""
        return {
            "step": self.step,
            "done": done,
            "seconds": round(self.seconds, 1),
            "learning_rate": round(self.learning_rate, 8),
            "loss": round(self.loss_sum / max(self.loss_count, 1), 5),
            "score": round(score, 5),
            "best": round(self.best_score, 5),
        }

    def take_step(self, loss: Tensor, batch: list[str]) -> None:
        """Take an optimiser step from the loss of a batch; one that is not finite changes no weight."""
        options = self.options
        set_learning_rate(self.optimiser, self.learning_rate)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.step < options.frozen:
            for name, parameter in self.parameters.items():
                if not name.startswith(("deconvolution.", "skip")):
                    parameter.grad = None
        self.ranks.all_reduce_gradients(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), LARGEST_GRADIENT)
        value = self.ranks.all_reduce_sum(loss.detach()).item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            self._skip_step(batch)
            return
        self.skipped_in_a_row = 0
        self.loss_sum += value
        self.loss_count += 1
        self.optimiser.step()
        move_average(self.ema_model, self.model, options.ema_decay_at(self.step))
        self.step += 1

    def _skip_step(self, batch: list[str]) -> None:
        """Count a step that is not finite; a TrainError ends the training if there are too many."""
        self.skipped += 1
        self.skipped_in_a_row += 1
        self.step += 1
        allowed = max(MAX_SKIPPED_IN_A_ROW, MAX_SKIPPED_SHARE * self.step)
        if self.skipped_in_a_row > MAX_SKIPPED_IN_A_ROW or self.skipped > allowed:
            raise TrainError(
                f"{NOT_FINITE} at step {self.step - 1}, {self.skipped} steps so far: "
                f"{SMALLER_RATE}, or look at {printable('; '.join(batch))}"
            )

    def state(self, identity: dict[str, Any]) -> State:
        """All of it as tensors and plain values."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema_model.state_dict().items()}
        for name, parameter in self.parameters.items():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value
        counters = {name: getattr(self, name) for name in SAVED}
        return State(self.step, tensors, {**counters, "seconds": self.seconds, "identity": identity})

    def restore(self, state: State, identity: dict[str, Any]) -> None:
        """Go on from a saved state of the same training."""
        if others := differences(state.values.get("identity", {}), identity):
            raise UsageError(
                f"the unfinished training had other {others}: give it the same, or start anew with overwrite=True"
            )
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimiser": {}}
        for name, tensor in state.tensors.items():
            part, _, rest = name.partition(".")
            if part in parts:
                parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.ema_model.load_state_dict(parts["ema"])
        for name, tensor in parts["optimiser"].items():
            key, _, parameter = name.partition(".")
            owner = self.parameters[parameter]
            self.optimiser.state[owner][key] = tensor if key == "step" else tensor.to(owner.device)
        for name in SAVED:
            setattr(self, name, state.values[name])
        self._seconds_before, self._started = float(state.values["seconds"]), time.monotonic()


@torch.no_grad()
def move_average(ema_model: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights a little towards those of the model that is trained.

    Parameters
    ----------
    ema_model : Module
        Holds the averages, and is changed.
    model : Module
        As it is after a step.
    decay : float
        Share that the averages keep.
    """
    for average, weight in zip(ema_model.parameters(), model.parameters(), strict=True):
        average.lerp_(weight, 1 - decay)


def _optimiser(parameters: Mapping[str, nn.Parameter], options: Schedule) -> torch.optim.AdamW:
    """AdamW over the weights that are trained; the deconvolution's have a learning rate of their own."""
    last = [weight for name, weight in parameters.items() if name.startswith("deconvolution.")]
    others = [weight for name, weight in parameters.items() if not name.startswith("deconvolution.")]
    groups: list[dict[str, Any]] = [
        {"params": others, "lr_ratio": 1.0},
        {"params": last, "lr_ratio": options.last_layer_lr_ratio},
    ]
    return adamw([group for group in groups if group["params"]], options.learning_rate, options.weight_decay)


def adamw(
    parameters: Iterable[nn.Parameter] | list[dict[str, Any]], learning_rate: float, weight_decay: float = 0.0
) -> torch.optim.AdamW:
    """Return the optimiser of all trainings."""
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99))


def set_learning_rate(optimiser: torch.optim.Optimizer, learning_rate: float) -> None:
    """Set the rate of the next step; groups of weights may have a share of it, their ``lr_ratio``."""
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("lr_ratio", 1.0)


def take_step(optimiser: torch.optim.Optimizer, loss: Tensor, learning_rate: float, step: int) -> float:
    """Take an optimiser step from a loss, and return its value; gradients are clipped.

    Groups of weights that have an ``lr_ratio`` learn at this share of the rate.

    Raises
    ------
    TrainError
        If the loss or its gradient is not finite; no weight is changed then.
    """
    set_learning_rate(optimiser, learning_rate)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = nn.utils.clip_grad_norm_(weights, LARGEST_GRADIENT)
    if not math.isfinite(loss.item() + norm.item()):
        raise TrainError(f"{NOT_FINITE} at step {step}: {SMALLER_RATE}")
    optimiser.step()
    return loss.item()


def identify(
    config: FSRCNNConfig,
    options: Schedule,
    data: str,
    teacher: str | None = None,
    arguments: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return what tells a training from others: all that decides its weights, and `data` and `teacher` by digest.

    The `arguments` behind the data only name what differs.
    """
    plain = {**asdict(options), "save_minutes": None}
    return {"config": config.to_dict(), "options": plain, "data": data, "teacher": teacher, "arguments": arguments}


def identity_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the same of a finished training, as its checkpoint and `record` tell it."""
    record = dict(checkpoint.card.training)
    facts = {name: record.pop(name, None) for name in ("data", "teacher", "arguments")}
    record.pop("step", None)
    return {"config": checkpoint.config.to_dict(), "options": {**record, "save_minutes": None}, **facts}


def record(identity: Mapping[str, Any], options: Schedule, step: int) -> dict[str, Any]:
    """Return what a model card says of a training."""
    facts = {name: identity[name] for name in ("data", "teacher", "arguments") if identity[name] is not None}
    return {**asdict(options), "step": step, **facts}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name what makes a training another than an earlier one; empty if it is the same."""
    now = json.loads(json.dumps(now))
    found = [] if before.get("config") == now["config"] else ["network sizes"]
    found += _differing(before.get("options"), now["options"])
    if before.get("data") != now["data"]:
        found += _differing(before.get("arguments"), now["arguments"]) or ["data"]
    if before.get("teacher") != now["teacher"]:
        found.append("teacher")
    return printable(" and ".join(found))


def _differing(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> list[str]:
    """Names whose values differ."""
    before, now = before or {}, now or {}
    return [name for name in {**now, **before} if before.get(name) != now.get(name)]


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


class Training(ABC, Generic[B]):
    """A network in training: where its batches come from, how they are scored, where the result goes.

    Parameters
    ----------
    run : Run
        Changes with each step.
    out : Path
        The checkpoint.
    report : callable, optional
        Gets the figures of each validation.
    """

    def __init__(self, run: Run, out: Path, report: Report | None) -> None:
        self.run = run
        self.out = out
        self.report = report

    @abstractmethod
    def draw(self, step: int) -> B:
        """Make the batch of a step."""

    @abstractmethod
    def loss(self, batch: B) -> tuple[Tensor, list[str]]:
        """Return the loss of a batch, and what it was made of, for messages."""

    @abstractmethod
    def validate(self, model: FSRCNN) -> dict[str, float]:
        """Return ratios to a baseline, by name; their geometric mean is the score."""

    @abstractmethod
    def keep(self, model: FSRCNN, step: int) -> None:
        """Write a folded network as the checkpoint, of which the run knows the score."""

    @abstractmethod
    def save(self) -> None:
        """Write the run's state."""


def fit(training: Training[Any], each_step: Callable[[], None]) -> Result:
    """Train to the schedule's end.

    Parameters
    ----------
    training : Training
        Its run changes with each step.
    each_step : callable
        Called before each step; what it raises ends the training, its state saved.

    Returns
    -------
    Result
    """
    run, options = training.run, training.run.options
    saved = time.monotonic()
    for batch in prefetch(training.draw, run.step):
        done = run.share_done
        if run.validated_step != run.step and (run.step % options.validate_every == 0 or done >= 1):
            done = _validate(training, done)
        if done >= 1:
            if run.best_step == 0 and run.ranks.first:
                training.keep(run.untrained, 0)
            return Result(str(training.out), run.best_score, run.step, run.seconds, run.best_ratios)
        try:
            each_step()
        except BaseException:
            _save(training)
            raise
        if time.monotonic() - saved > 60 * options.save_minutes and run.ranks.first:
            training.save()
            saved = time.monotonic()
        try:
            run.take_step(*training.loss(batch))
        except LostRank:
            _save(training)  # the step has changed nothing yet
            each_step()  # which knows whether this process was to stop as well
            raise
    raise AssertionError("batches do not end")


def _save(training: Training[Any]) -> None:
    if training.run.ranks.first:
        training.save()


def _validate(training: Training[Any], done: float) -> float:
    """Score the averaged weights, keep and report them; return how much of the schedule is done, 1 to end it."""
    run, options = training.run, training.run.options
    ratios = training.validate(run.ema_model) if run.ranks.first else {}
    score = run.ranks.broadcast(geometric_mean(list(ratios.values())) if ratios else 0.0)
    better = score < run.best_score
    run.validations_since_best = 0 if better else run.validations_since_best + 1
    if 0 < options.patience <= run.validations_since_best:
        done = 1.0
    if better or (options.keep == "last" and done >= 1):
        run.best_score, run.best_ratios, run.best_step = score, ratios, run.step
        if run.step > 0 and run.ranks.first:  # the untrained one at the end only: an older one is worth more
            training.keep(fold(run.ema_model), run.step)
    if training.report is not None and run.ranks.first:
        training.report(run.record(done, score))
    run.loss_sum, run.loss_count, run.validated_step = 0.0, 0, run.step
    return done


def batch_loss(
    run: Run, coarse: Tensor, fine: Tensor, valid: Tensor | None, teacher: Teacher | None, options: TrainOptions
) -> Tensor:
    """Return the loss against the truth, or partly against the teacher, over the cells that count."""
    model, ranks = run.model, run.ranks
    with run.autocast():
        result = model(coarse)
    loss = penalty(result.float() - fine, valid, options, ranks)
    if teacher is None:
        return loss
    with torch.no_grad():
        wider = teacher.halo - model.halo
        if wider > 0:
            coarse = nn.functional.pad(coarse, [wider] * 4, mode="replicate")
        taught = teacher.model(cut(coarse, max(-wider, 0)))
    weight = options.teacher_weight
    return (1 - weight) * loss + weight * penalty(result.float() - taught, valid, options, ranks)


def penalty(error: Tensor, valid: Tensor | None, options: Schedule, ranks: Ranks = SINGLE_PROCESS) -> Tensor:
    """Return the mean loss of errors over the cells that count; of several processes, this one's part of it."""
    if options.loss == "mse":
        each = error.square()
    elif options.loss == "l1":
        each = error.abs()
    else:
        each = (error.square() + options.charbonnier_eps**2).sqrt() - options.charbonnier_eps
    return average(each, valid, ranks)


def average(each: Tensor, valid: Tensor | None, ranks: Ranks = SINGLE_PROCESS) -> Tensor:
    """Return the mean over the cells that count; of several processes, this one's part of it."""
    if ranks.count > 1:
        count = torch.tensor(float(each.numel()), device=each.device) if valid is None else valid.sum().float()
        kept = each if valid is None else each.where(valid, torch.zeros_like(each))
        return kept.sum() / ranks.all_reduce_sum(count)
    return each.mean() if valid is None else each.where(valid, torch.zeros_like(each)).sum() / valid.sum()


@dataclass(frozen=True)
class Teacher:
    """A larger network that another learns from."""

    model: FSRCNN
    halo: int
    digest: str

    def to(self, device: str) -> Teacher:
        """The same on a device."""
        return replace(self, model=self.model.to(device))
