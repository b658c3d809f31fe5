"""What can be run by name: networks in the package or in a file, and classical methods."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geofsrcnn.errors import ModelError, UsageError, printable
from geofsrcnn.options import PRECISIONS, check_factor
from geofsrcnn.values.kernels import CLASSICAL

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.networks.inference import Upsampler


@dataclass(frozen=True)
class Method:
    """A network or a classical method, ready to run.

    Parameters
    ----------
    name : str
        As given.
    digest : str
        SHA-256 of the checkpoint's file; empty for classical methods.
    factor : int
        Fine cells along one side of a coarse cell.
    upsampler : Upsampler or None
        None repeats cells.
    device : str
        Where it runs.
    operations : int
        Multiply-adds for a coarse cell and band.
    """

    name: str
    digest: str
    factor: int
    upsampler: Upsampler | None
    device: str
    operations: int

    @property
    def halo(self) -> int:
        """Coarse cells that an output depends on around its own."""
        return 0 if self.upsampler is None else self.upsampler.halo


def check_device(device: str) -> str:
    """``"auto"`` resolved; any other device if torch has it.

    Raises
    ------
    UsageError
        If torch does not have it.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"no device {printable(device)!r} here: take auto, cpu or cuda") from None
    return device


def load_method(
    model: str | os.PathLike[str] | Checkpoint,
    factor: int,
    *,
    device: str = "auto",
    precision: str = "float32",
) -> Method:
    """A model by name, path or loaded checkpoint, or a classical method by name.

    Parameters
    ----------
    model : str, path or Checkpoint
        ``default``, a ``.safetensors`` file, what `load_checkpoint` gave, or one of
        `geofsrcnn.values.kernels.CLASSICAL`.
    factor : int
        Factor that it must serve.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    precision : {"float32", "bfloat16"}
        Of the network's hourglass.

    Raises
    ------
    UsageError, ModelError
        If an argument is wrong, or there is no such model.
    """
    factor = check_factor(factor)
    if precision not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if model == "nearest":
        return Method("nearest", "", factor, None, "cpu", 0)
    device = check_device(device)
    from geofsrcnn.networks.checkpoint import Checkpoint, load_checkpoint
    from geofsrcnn.networks.inference import Classical, Network

    if isinstance(model, str) and model in CLASSICAL:
        classical = Classical(model, factor, device)
        return Method(model, "", factor, classical, device, factor**2 * (2 * classical.halo + 1) ** 2)
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model, factor)
    if checkpoint.sections:
        raise ModelError(f"model {checkpoint.card.name} was trained on pairs: apply it to files or Datasets (upscale)")
    if checkpoint.config.factor != factor:
        raise ModelError(f"model {checkpoint.card.name} is for factor {checkpoint.config.factor}, not {factor}")
    network = Network(checkpoint.model, device, precision)
    return Method(checkpoint.card.name, checkpoint.digest, factor, network, device, checkpoint.config.operations)


def of_pairs(model: str | os.PathLike[str] | Checkpoint) -> Checkpoint | None:
    """The model, loaded, if it was trained on pairs of coarse and fine fields.

    Raises
    ------
    ModelError
        If a file is not there or refused.
    """
    if isinstance(model, (str, os.PathLike)):
        if not os.fspath(model).endswith(".safetensors"):
            return None
        from geofsrcnn.networks.checkpoint import load_checkpoint

        model = load_checkpoint(model)
    return model if getattr(model, "sections", None) else None
