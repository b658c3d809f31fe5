"""Messages between a batch run and its workers: small, plain and safe to pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from geofsrcnn.options import UpscaleOptions


@dataclass(frozen=True)
class Settings:
    """Settings that all tasks of a run have in common.

    Parameters
    ----------
    run : str
        Names the run.
    factor : int
        Fine cells along one side of a coarse cell.
    model, digest : str
        A classical method, or a checkpoint by its SHA-256, which `Setup` has brought.
    options : UpscaleOptions
        But for what a worker adds.
    folder : str
        Path or URL of the folder of outputs.
    split : int
        Coarse cells of a part; larger files are split. 0: none is.
    allow_remote : tuple of str
        Hosts and buckets.
    strict : bool
        Warnings are errors.
    versions : mapping
        Versions of the packages that results depend on.
    """

    run: str
    factor: int
    model: str
    digest: str
    options: UpscaleOptions
    folder: str
    split: int
    allow_remote: tuple[str, ...]
    strict: bool
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """One input, its output relative to the folder of outputs, and the fields to take."""

    source: str
    target: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """The output is there, whole: its SHA-256, bytes and fine cells."""

    sha256: str
    size: int
    cells: int


@dataclass(frozen=True)
class Failed:
    """There is no output: the exit code that a run of its own would have, and the reason in one line."""

    code: int
    reason: str


@dataclass(frozen=True)
class Split:
    """The input is large: it is to be computed in so many parts."""

    parts: int


@dataclass(frozen=True)
class Part:
    """One part of a split input is there."""


@dataclass(frozen=True)
class Stopped:
    """The run was asked to end."""


@dataclass(frozen=True)
class Mismatch:
    """The worker has other versions than the run, in words."""

    reason: str


Outcome: TypeAlias = Done | Failed | Split | Part | Stopped | Mismatch


@dataclass(frozen=True)
class Report:
    """The outcome of a task, and what it took.

    Parameters
    ----------
    outcome : Outcome
        The end that the task came to.
    warnings : tuple of str
        One line each.
    seconds : float
        Time that the worker took.
    fingerprint : str, optional
        Changes when the input does; None of a task that did not look at it.
    """

    outcome: Outcome
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    fingerprint: str | None = None
