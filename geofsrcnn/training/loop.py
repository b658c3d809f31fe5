"""Steps of a training: batches, gradients, moving averages, what is kept."""

from __future__ import annotations

import copy
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils import deterministic

from geofsrcnn.errors import TrainError, UsageError, printable
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.training.branches import fold
from geofsrcnn.training.log import Report
from geofsrcnn.training.patches import prefetch
from geofsrcnn.training.processes import SINGLE_PROCESS, LostRank, Ranks
from geofsrcnn.training.schedule import BAD_IN_A_ROW, BAD_SHARE, WARM_UP, Result, Schedule, TrainOptions
from geofsrcnn.training.states import State


class Run:
    """All that changes while a network is trained."""

    def __init__(self, model: FSRCNN, options: Schedule, ranks: Ranks = SINGLE_PROCESS) -> None:
        self.options = options
        self.ranks = ranks
        self.model = model
        self.average = copy.deepcopy(model)
        self.untrained = fold(model)
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
            for own, share in ((False, 1.0), (True, options.last_layer_lr_ratio))
        ]
        self.optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
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
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        falling = 0.5 * (1 + math.cos(math.pi * self.done)) if self.options.lr_schedule == "cosine" else 1.0
        return self.options.learning_rate * min(1.0, (self.step + 1) / WARM_UP) * falling

    def record(self, done: float, score: float) -> dict[str, Any]:
        """Return the figures of a validation, for a report."""
        return {
            "step": self.step,
            "done": done,
            "seconds": round(self.seconds, 1),
            "learning_rate": round(self.learning_rate, 8),
            "loss": round(self.losses / max(self.counted, 1), 5),
            "score": round(score, 5),
            "best": round(self.best, 5),
        }

    def take(self, loss: Tensor, batch: list[str]) -> None:
        """One optimiser step; one with a loss or gradient that is not finite changes nothing."""
        options = self.options
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * group["share"]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.step < options.frozen:
            for name, parameter in self.parameters.items():
                if not name.startswith(("deconvolution.", "skip")):
                    parameter.grad = None
        self.ranks.all_reduce_gradients(self.parameters.values())
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        value = self.ranks.all_reduce_sum(loss.detach()).item()
        if not (math.isfinite(value) and math.isfinite(norm.item())):
            self._skip_step(batch)
            return
        self.bad_in_a_row = 0
        self.losses += value
        self.counted += 1
        self.optimiser.step()
        self._update_average(min(options.ema_decay, (1 + self.step) / (10 + self.step)))
        self.step += 1

    def _skip_step(self, batch: list[str]) -> None:
        self.bad += 1
        self.bad_in_a_row += 1
        self.step += 1
        if self.bad_in_a_row > BAD_IN_A_ROW or self.bad > max(BAD_IN_A_ROW, BAD_SHARE * self.step):
            raise TrainError(
                f"the loss or its gradient is not finite at step {self.step - 1}, {self.bad} steps so far: take a "
                f"smaller learning rate, or look at {printable('; '.join(batch))}"
            )

    @torch.no_grad()
    def _update_average(self, decay: float) -> None:
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
                "start anew with overwrite=True"
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


def identify(config: FSRCNNConfig, options: Schedule, data: str, teacher: str | None = None) -> dict[str, Any]:
    """Return what tells a training from others: all that decides its weights, and `data` and `teacher` by digest."""
    plain = {**asdict(options), "save_minutes": None}
    return {"config": config.to_dict(), "options": plain, "data": data, "teacher": teacher}


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
        done = run.done
        if run.checked != run.step and (run.step % options.validate_every == 0 or done >= 1):
            done = _validate(training, done)
        if done >= 1:
            if run.best_step == 0 and run.ranks.first:
                training.keep(run.untrained, 0)
            return Result(str(training.out), run.best, run.step, run.seconds, run.best_fields)
        try:
            each_step()
        except BaseException:
            _save(training)
            raise
        if time.monotonic() - saved > 60 * options.save_minutes and run.ranks.first:
            training.save()
            saved = time.monotonic()
        try:
            run.take(*training.loss(batch))
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
    ratios = training.validate(run.average) if run.ranks.first else {}
    score = run.ranks.broadcast(geometric_mean(list(ratios.values())) if ratios else 0.0)
    better = score < run.best
    run.without_better = 0 if better else run.without_better + 1
    if 0 < options.patience <= run.without_better:
        done = 1.0
    if better or (options.keep == "last" and done >= 1):
        run.best, run.best_fields, run.best_step = score, ratios, run.step
        if run.step > 0 and run.ranks.first:  # the untrained one at the end only: an older one is worth more
            training.keep(fold(run.average), run.step)
    if training.report is not None and run.ranks.first:
        training.report(run.record(done, score))
    run.losses, run.counted, run.checked = 0.0, 0, run.step
    return done


def batch_loss(
    run: Run, coarse: Tensor, fine: Tensor, valid: Tensor | None, guide: Teacher | None, options: TrainOptions
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


def penalty(error: Tensor, valid: Tensor | None, options: Schedule, ranks: Ranks = SINGLE_PROCESS) -> Tensor:
    """The mean loss of errors over the cells that count; of several processes, each one's part of it."""
    if options.loss == "mse":
        each = error.square()
    elif options.loss == "l1":
        each = error.abs()
    else:
        each = (error.square() + options.charbonnier_eps**2).sqrt() - options.charbonnier_eps
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
