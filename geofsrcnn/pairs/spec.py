"""Arguments of a training on pairs, checked before anything is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geofsrcnn.cf.dates import Date, parse_day
from geofsrcnn.errors import ConfigError, UsageError, printable
from geofsrcnn.files.paths import expand, size_of
from geofsrcnn.training.schedule import Schedule

BASES = ("regression", "correction")

CONSERVING = ("auto", "mean", "area", "positive", "none")

MAX_MEMBERS = 64

FOLDS = 4
"""Networks that are each trained without a part of the times, for distributions."""


@dataclass(frozen=True)
class PairsSpec:
    """Files of pairs, and what is made of them.

    Parameters
    ----------
    coarse, fine : sequence of path
        NetCDF or Zarr of the same times, files by year as well; GeoTIFF, which holds no times, for `static` alone.
        Names may be patterns.
    until : str
        Day ``YYYY-MM-DD``; times before are fitted on, the others are scored on.
    static : sequence of path
        Fine fields that do not change, such as elevation.
    predictors, targets : sequence of str
        Variables; all fields of the files if none are given.
    partners : mapping of str to str
        The predictor that is the same quantity as a target; found by standard name or name where not given.
    transforms : mapping of str to str
        Transforms of predictors by name: ``sqrt``, ``log1p``.
    limits : mapping of str to tuple of float
        Smallest and largest value of targets, in their units.
    weights : mapping of str to float
        How much the errors of a target count, beside those of the others; 1 where not given.
    calendar : bool
        The day of the year is a predictor.
    base : {"regression", "correction"}
        A target before the network: a regression of each cell on its partner, or the partner with the mean
        difference of each cell, for a climate that leaves what it was fitted on.
    conserving : {"auto", "mean", "area", "positive", "none"}
        Whether block means are kept as the coarse values, within limits: auto keeps those of targets whose true block
        means are (within a thousandth of their standard deviation) the partner's coarse values; area has cells count
        by their area on the globe, which auto finds as well; positive also limits targets without `limits` to 0 and
        above.

    Raises
    ------
    UsageError
        If a value makes no sense.
    """

    coarse: Sequence[str | os.PathLike[str]]
    fine: Sequence[str | os.PathLike[str]]
    until: str
    static: Sequence[str | os.PathLike[str]] = ()
    predictors: Sequence[str] = ()
    targets: Sequence[str] = ()
    partners: Mapping[str, str] = field(default_factory=dict)
    transforms: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    calendar: bool = True
    base: str = "regression"
    conserving: str = "auto"

    def __post_init__(self) -> None:
        from geofsrcnn.values.normalize import TRANSFORMS  # here, so that help needs no numpy

        for name, choices in (("base", BASES), ("conserving", CONSERVING)):
            if getattr(self, name) not in choices:
                raise UsageError(f"{name}= must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if parse_day(self.until) is None:
            raise UsageError(f"until= must be a day such as 1993-06-01, got {self.until!r}")
        for name, transform in self.transforms.items():
            if transform not in TRANSFORMS:
                words = f"the transform of {printable(name)} must be one of {', '.join(TRANSFORMS)}"
                raise UsageError(f"{words}, got '{printable(transform)}'")
        for low, high in self.limits.values():
            if not low < high:
                raise UsageError(f"limits= must be a smaller and a larger number, got {low} and {high}")
        for name, weight in self.weights.items():
            if not 0 < weight < math.inf:
                raise UsageError(f"the weight of {printable(name)} must be above 0 and finite, got {weight}")

    @property
    def first_day(self) -> Date:
        """The day of `until`."""
        day = parse_day(self.until)
        assert day is not None  # checked when made
        return day

    def limits_of(self, target: str) -> tuple[float, float]:
        """Return the smallest and the largest value of a target.

        Parameters
        ----------
        target : str
            Its name.

        Returns
        -------
        tuple of float
            In the target's units; infinite where there is no limit.
        """
        return self.limits.get(target, (0.0 if self.conserving == "positive" else -math.inf, math.inf))

    @property
    def files(self) -> list[Path]:
        """All files, patterns expanded."""
        return expand([*self.coarse, *self.fine, *self.static])

    def record(self) -> dict[str, str]:
        """Return all of it in words, files by name and size, as a checkpoint keeps it.

        Returns
        -------
        dict
            A text for each parameter, by its name.
        """
        tables = {name: getattr(self, name) for name in ("partners", "transforms", "limits", "weights")}
        return {
            **{name: _files_text(getattr(self, name)) for name in ("coarse", "fine", "static")},
            "until": self.until,
            "calendar": str(self.calendar),
            "base": self.base,
            "conserving": self.conserving,
            "predictors": ", ".join(self.predictors),
            "targets": ", ".join(self.targets),
            **{name: ", ".join(f"{k}={v}" for k, v in sorted(table.items())) for name, table in tables.items()},
        }


def _files_text(paths: Sequence[Any]) -> str:
    return ", ".join(f"{path.name} ({size_of(path)})" for path in expand(paths))


@dataclass(frozen=True)
class PairOptions(Schedule):
    """Options of a training on pairs, beside those of `geofsrcnn.training.schedule.Schedule`.

    Parameters
    ----------
    dropout : float
        Share of the channels before the deconvolution that are left out at random in each step.
    members : int
        Networks that are trained one after the other, from the seed and those that follow it; their mean is the
        result, their standard deviation says how much they agree.
    distribution : bool
        Learn how wrong the result may be as well: a distribution of the truth about it in each cell, Gaussian, or
        where the smallest value is 0 and many are, a chance of more and a gamma distribution of how much. It is
        learned from networks that are each trained without a quarter of the times, on these.

    Raises
    ------
    ConfigError
        If a value makes no sense.
    """

    steps: int = 1500
    batch_size: int = 32
    weight_decay: float = 0.01
    loss: str = "mse"
    ema_decay: float = 0.99
    validate_every: int = 500
    keep: str = "last"
    dropout: float = 0.2
    members: int = 1
    distribution: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout= must be from 0 to below 1, got {self.dropout}")
        if not 1 <= self.members <= MAX_MEMBERS:
            raise ConfigError(f"members= must be from 1 to {MAX_MEMBERS}, got {self.members}")
        if not isinstance(self.distribution, bool):
            raise ConfigError(f"distribution= must be True or False, got {self.distribution!r}")

    @property
    def networks(self) -> int:
        """Number of networks that are trained: for distributions one for each fold too, and the one that gives them."""
        return self.members + (FOLDS + 1 if self.distribution else 0)

    @property
    def distribution_steps(self) -> int:
        """Steps of the network that gives distributions: half of them, as what is likely is learned by heart sooner."""
        return -(-self.steps // 2)

    @property
    def total_steps(self) -> int:
        """Steps of all networks."""
        return self.steps * self.networks - (self.steps - self.distribution_steps if self.distribution else 0)
