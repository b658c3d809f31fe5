"""How any network is trained: options, their checks, the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from geofsrcnn.errors import ConfigError, printable
from geofsrcnn.options import PRECISIONS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

WARM_UP = 200
"""Steps in which the learning rate rises."""

SHORT_WARM_UP = 50
"""The same of small networks that stand on a trained one."""

MAX_SKIPPED_IN_A_ROW = 3
"""Steps with a loss or gradient that is not finite are skipped; more of them one after the other end the training."""

MAX_SKIPPED_SHARE = 0.01
"""The same of all steps so far."""

CHOICES = {
    "loss": ("charbonnier", "l1", "mse"),
    "keep": ("best", "last"),
    "lr_schedule": ("cosine", "constant"),
    "precision": PRECISIONS,
}
"""Fields of a schedule that take one of a few words."""

BOUNDS: dict[str, tuple[int, int | None]] = {
    "steps": (1, None),
    "batch_size": (1, None),
    "validate_every": (1, None),
    "frozen": (0, None),
    "patience": (0, None),
    "seed": (0, 2**63 - 1),
    "patch": (4, None),
    "pyramid_levels": (0, 6),
}
"""Smallest and largest values of fields of a schedule that are whole numbers."""

BASELINE = "lanczos-bp"
"""The strongest classical method on most fields; scores of a training on rasters are ratios to it."""

STAGES = ("feature", "shrink", "mapping", "expand", "deconvolution", "skip")
"""Stages of the network, as the names of its weights begin."""


@dataclass(frozen=True)
class Schedule:
    """Options of any training.

    Parameters
    ----------
    steps : int
        Optimiser steps of the whole schedule.
    minutes : float, optional
        End after this time instead, the schedule stretched to it; not reproducible to the bit.
    batch_size : int
        Patches in a step.
    learning_rate : float
        Peak learning rate (AdamW), after a warm-up of 200 steps, then a cosine to 0.
    weight_decay : float
        Weight decay (AdamW).
    loss : {"charbonnier", "l1", "mse"}
        Loss of errors, which count in units of a patch's roughness.
    charbonnier_eps : float
        The epsilon of the Charbonnier loss ``sqrt(e^2 + charbonnier_eps^2)``.
    ema_decay : float
        Decay of the exponential moving average (EMA) of the weights, which is what is kept.
    frozen : int
        First steps in which only the last layer and the skip are trained; for `start` from another factor.
    freeze : tuple of str
        Stages that are never trained, of `STAGES`; for `start`.
    last_layer_lr_ratio : float
        The deconvolution's learning rate as a share of the others' (the paper's: 0.1).
    lr_schedule : {"cosine", "constant"}
        Course of the learning rate after the warm-up; the paper's is constant.
    patience : int
        End after so many validations without a better score; 0 for never.
    precision : {"float32", "bfloat16"}
        Arithmetic of the convolutions in training (autocast); weights and the loss stay float32.
    validate_every : int
        Steps between validations.
    keep : {"best", "last"}
        The weights that are kept: the best on the held-out fields, or those of the last step, for long schedules and
        few held-out fields, whose score says less than the schedule's end.
    save_minutes : float
        Minutes between saved states, from which a stopped training goes on.
    seed : int
        Seed of weights, patches and held-out sites.

    Raises
    ------
    ConfigError
        If a value makes no sense.
    """

    steps: int = 20_000
    minutes: float | None = None
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    loss: str = "charbonnier"
    charbonnier_eps: float = 0.3
    ema_decay: float = 0.999
    frozen: int = 0
    freeze: tuple[str, ...] = ()
    last_layer_lr_ratio: float = 1.0
    lr_schedule: str = "cosine"
    patience: int = 0
    precision: str = "float32"
    validate_every: int = 500
    keep: str = "best"
    save_minutes: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(f"minutes= must be positive, got {self.minutes}")
        if not 0 < self.save_minutes < math.inf:
            raise ConfigError(f"save_minutes= must be positive, got {self.save_minutes}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name}= must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if unknown := [name for name in self.freeze if name not in STAGES]:
            raise ConfigError(f"freeze= takes {', '.join(STAGES)}, got {printable(', '.join(unknown))}")
        if set(self.freeze) == set(STAGES):
            raise ConfigError("freeze= leaves nothing to train: name fewer stages")
        if not 0 < self.last_layer_lr_ratio <= 10:
            raise ConfigError(f"last_layer_lr_ratio= must be above 0, at most 10, got {self.last_layer_lr_ratio}")

    def learning_rate_at(self, step: int, done: float, warm_up: int = WARM_UP) -> float:
        """Return the learning rate of a step.

        Parameters
        ----------
        step : int
            From 0.
        done : float
            Share of the schedule that is done, 0 to 1.
        warm_up : int
            Steps in which it rises.

        Returns
        -------
        float
        """
        return learning_rate_at(self.learning_rate, step, done, warm_up, constant=self.lr_schedule == "constant")

    def ema_decay_at(self, step: int) -> float:
        """Return the decay of the averaged weights after a step: first ones leave the initial weights sooner.

        Parameters
        ----------
        step : int
            From 0.

        Returns
        -------
        float
        """
        return ema_decay_at(self.ema_decay, step)


def learning_rate_at(peak: float, step: int, done: float, warm_up: int, *, constant: bool = False) -> float:
    """Return the learning rate of a step: it rises to its peak, then falls along a cosine, unless constant."""
    falling = 1.0 if constant else 0.5 * (1 + math.cos(math.pi * done))
    return peak * min(1.0, (step + 1) / warm_up) * falling


def ema_decay_at(decay: float, step: int) -> float:
    """Return the decay of the averaged weights after a step: first ones leave the initial weights sooner."""
    return min(decay, (1 + step) / (10 + step))


def check_options(options: DataclassInstance) -> None:
    """Refuse options of a training that are out of bounds with a ConfigError, those of them that it has."""
    given = {each.name: getattr(options, each.name) for each in fields(options)}
    for name in [name for name in given if name in BOUNDS]:
        _check_bounds(name, given[name])
    for name in ("learning_rate", "charbonnier_eps"):
        if name in given and not 0 < given[name] < math.inf:
            raise ConfigError(f"{name}= must be positive, got {given[name]}")
    for name in ("ema_decay", "weight_decay"):
        if name in given and not 0 <= given[name] < 1:
            raise ConfigError(f"{name}= must be from 0 to below 1, got {given[name]}")


def _check_bounds(name: str, value: int) -> None:
    low, high = BOUNDS[name]
    if value < low or (high is not None and value > high):
        allowed = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name}= must be {allowed}, got {value}")


@dataclass(frozen=True)
class TrainOptions(Schedule):
    """Options of a training on fine rasters, beside those of `geofsrcnn.training.schedule.Schedule`.

    Parameters
    ----------
    patch : int
        Coarse cells along one side of what a patch is scored on.
    balance : float
        Files are drawn in proportion to their number of cells to this power.
    pyramid_levels : int
        Times that fields are halved (block means) to serve as further fields.
    blur : float
        Share of the patches that are smoothed by a random amount.
    mix : float
        Share of the patches to which a part of another one is added.
    noise : float
        Share of the patches that get white noise, of 3 % to twice the differences of neighbouring cells, as sensors
        have it.
    quantise : float
        Share of the patches whose values are rounded to 8 to 512 levels, as 8-bit imagery is; of half of them the
        coarse ones too.
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
    pyramid_levels: int = 0
    blur: float = 0.0
    mix: float = 0.0
    noise: float = 0.0
    quantise: float = 0.0
    branches: bool = False
    teacher_weight: float = 0.5
    hold_out: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.hold_out < 1:
            raise ConfigError(f"hold_out= must be between 0 and 1, got {self.hold_out}")
        for name in ("blur", "mix", "noise", "quantise", "teacher_weight", "balance"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}= must be from 0 to 1, got {getattr(self, name)}")


ERROR_RECIPE = TrainOptions(
    steps=2000,
    learning_rate=3e-3,
    ema_decay=0.998,
    patch=24,
    balance=0.25,
    pyramid_levels=2,
    blur=0.1,
    noise=0.1,
    quantise=0.15,
    validate_every=500,
    hold_out=0.25,
)
"""Options of `geofsrcnn.train_error`, with which the shipped models learned how wrong they may be."""


@dataclass(frozen=True)
class Result:
    """The outcome of a training.

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
