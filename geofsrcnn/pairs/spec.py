"""Options of a training on pairs, and their checks; nothing is opened here."""

from __future__ import annotations

from dataclasses import dataclass

from geofsrcnn.errors import ConfigError
from geofsrcnn.training.schedule import Schedule

BASES = ("regression", "correction")

CONSERVING = ("auto", "mean", "area", "positive", "none")

MAX_MEMBERS = 64


@dataclass(frozen=True)
class PairOptions(Schedule):
    """How to train on pairs: besides a `Schedule`,

    Parameters
    ----------
    dropout : float
        Share of the channels before the deconvolution that are left out at random in each step.
    members : int
        Networks that are trained one after the other, from the seed and those that follow it; their mean is the
        result, their spread says how sure it is.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout must be from 0 to below 1, got {self.dropout}")
        if not 1 <= self.members <= MAX_MEMBERS:
            raise ConfigError(f"members must be from 1 to {MAX_MEMBERS}, got {self.members}")
