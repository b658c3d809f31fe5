"""States of a training, from which it goes on exactly: tensors as safetensors, the rest as JSON in the header.

They lie in a folder beside the checkpoint, ``NAME.training``, the last two of them, and go when the training ends.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from geofsrcnn._version import __version__
from geofsrcnn.errors import OutputError, TrainError, printable, warn
from geofsrcnn.files.staging import check_target, staged
from geofsrcnn.networks.checkpoint import check_output

FORMAT_VERSION = 2

KEPT = 2
"""States that are kept: if the newest is damaged, the one before it serves."""


@dataclass(frozen=True)
class State:
    """A training at some step.

    Parameters
    ----------
    step : int
        Steps taken.
    tensors : dict of str to Tensor
        Weights, their moving average, the optimiser's moments.
    values : dict
        Plain values (JSON), and what tells this training from others.
    """

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


def folder_of(checkpoint: Path) -> Path:
    """Where the states of a training lie."""
    return checkpoint.with_suffix(".training")


def check_checkpoint(out: str | os.PathLike[str], inputs: Iterable[Path], *, overwrite: bool, resume: bool) -> Path:
    """Return the path of a checkpoint to train.

    Raises
    ------
    UsageError, OutputError
        If its name is of another kind, or it would replace an input, a checkpoint or an unfinished training.
    """
    target = check_output(out, inputs, overwrite=True)  # unfinished ones are said first
    if has_states(target) and not (resume or overwrite):
        folder = printable(folder_of(target))
        raise OutputError(f"an unfinished training lies in {folder}: use resume=True or overwrite=True")
    check_target(target, overwrite=overwrite or resume)
    return target


def open_checkpoint(
    out: str | os.PathLike[str], inputs: Iterable[Path], *, overwrite: bool, resume: bool
) -> tuple[Path, State | None]:
    """Return the path of a checkpoint to train, and the state to go on from, if there is one.

    Raises
    ------
    UsageError, OutputError
        As `check_checkpoint`, and if the training to resume is finished.
    """
    target = check_checkpoint(out, inputs, overwrite=overwrite, resume=resume)
    if resume and not overwrite and target.exists() and not has_states(target):
        raise OutputError(f"{printable(target.name)} is finished: nothing is left to resume; use overwrite=True")
    return target, load_state(target) if resume else None


def save_state(checkpoint: Path, state: State) -> None:
    """Write a state, verified by reading it again, and remove all but the last `KEPT`.

    Raises
    ------
    TrainError
        If a number is not finite.
    OutputError
        If it cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise TrainError(
                f"{name} is not finite at step {state.step}: the state is not saved; take a smaller learning rate"
            )
    folder = folder_of(checkpoint)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {printable(folder)} ({error.strerror})") from error
    metadata = {
        "format": "geofsrcnn training",
        "format_version": str(FORMAT_VERSION),
        "versions": json.dumps(_versions()),
        "step": str(state.step),
        "values": json.dumps(state.values),
    }
    path = folder / f"state-{state.step:09d}.safetensors"
    with staged(path, overwrite=True) as staging:
        staging.write_bytes(save_tensors(tensors, metadata))
        _read(staging)
    for old in _states(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def has_states(checkpoint: Path) -> bool:
    """Tell whether a training was stopped before its end."""
    return bool(_states(folder_of(checkpoint)))


def steps_taken(checkpoint: Path) -> int:
    """Steps that a stopped training had taken when its newest state was saved."""
    return max((int(path.stem.rpartition("-")[2]) for path in _states(folder_of(checkpoint))), default=0)


def load_state(checkpoint: Path) -> State | None:
    """The newest sound state, or None; a warning names those that were passed over.

    Raises
    ------
    TrainError
        If states exist and none is sound.
    """
    found = _states(folder_of(checkpoint))
    for path in found:
        try:
            return _read(path)
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            warn("W-STATE", f"state {printable(path.name)} is damaged ({printable(error)}) and passed over")
    if found:
        raise TrainError(f"no sound state in {printable(folder_of(checkpoint))}: remove it, or use overwrite=True")
    return None


def remove_states(checkpoint: Path) -> None:
    """Remove the folder of states, of a training that has ended."""
    shutil.rmtree(folder_of(checkpoint), ignore_errors=True)


def _states(folder: Path) -> list[Path]:
    """Newest first."""
    return sorted(folder.glob("state-*.safetensors"), reverse=True)


def _versions() -> dict[str, str]:
    return {"geofsrcnn": __version__, "torch": torch.__version__, "numpy": np.__version__}


def _read(path: Path) -> State:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != "geofsrcnn training" or metadata.get("format_version") != str(FORMAT_VERSION):
            raise ValueError("not a state of this version")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    values = json.loads(metadata["values"])
    if not all(math.isfinite(float(tensor.abs().max())) for tensor in tensors.values() if tensor.numel()):
        raise ValueError("numbers that are not finite")
    return State(int(metadata["step"]), tensors, values)
