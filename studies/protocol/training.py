"""A training on photographs or grids, as simple as it can be: settings in, a network and its curve out."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.srcnn import SRCNN, SRCNNConfig
from geofsrcnn.training.branches import add_branches, fold
from geofsrcnn.training.loop import adamw, move_average, take_step
from geofsrcnn.training.schedule import ema_decay_at, learning_rate_at
from geofsrcnn.values.kernels import filter_bank
from protocol.images import Array, make_coarse
from protocol.patches import PAPER_SCALES, WHITE, Coarsen, Patches

WARM_UP = 200

Network: TypeAlias = FSRCNN | SRCNN

PAPER_FORM: dict[str, Any] = {**PRESETS["paper"], "pad_layers": True}
"""FSRCNN as printed: biases, a PReLU slope a channel, zeros around every layer, no skip."""


@dataclass(frozen=True)
class Settings:
    """How a network is made and trained.

    Parameters
    ----------
    network : dict
        Parameters of `FSRCNNConfig` that differ from the paper's own form; with ``kernels`` those of `SRCNNConfig`.
    factor : int
        Fine cells along one side of a coarse cell.
    initial : {"he", "paper", "carry"}
        First weights: He et al. (2015) everywhere; the paper's, whose deconvolution starts at a standard deviation of
        0.001; or a network that carries its input through one channel and interpolates it linearly.
    steps, batch, patch : int
        Optimiser steps, patches in each, their coarse cells along one side.
    learning_rate, last_layer_lr_ratio : float
        Peak rate, and the deconvolution's as a share of it.
    constant : bool
        Keep the rate as it is after the warm-up; else it falls to 0 along a cosine.
    loss : {"mse", "charbonnier"}
        Charbonnier's with an epsilon of one grey level.
    ema : float
        Decay of the average of the weights, which is kept; 0 keeps the last ones.
    branches : bool
        Train mapping layers with branches beside them, folded afterwards.
    mirror : bool
        Mirrored patches beside rotated ones.
    scales : tuple of float
        Sizes at which images are seen.
    frozen : bool
        Train the deconvolution alone (transfer from another factor).
    linear : tuple of str
        Stages whose activations are left out: their slopes are 1 and stay so.
    seed : int
        Of weights and patches.
    """

    network: dict[str, Any] = field(default_factory=dict)
    factor: int = 3
    initial: str = "he"
    steps: int = 1000
    batch: int = 16
    patch: int = 24
    learning_rate: float = 1e-3
    last_layer_lr_ratio: float = 0.1
    constant: bool = False
    loss: str = "mse"
    ema: float = 0.0
    branches: bool = False
    mirror: bool = False
    scales: tuple[float, ...] = PAPER_SCALES
    frozen: bool = False
    linear: tuple[str, ...] = ()
    seed: int = 0

    @classmethod
    def of(cls, values: dict[str, Any]) -> Settings:
        """Build settings from the tables of a study's TOML."""
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SystemExit(f"unknown settings: {', '.join(unknown)}")
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class Trained:
    """A network, and its scores on the way: a list of ``seconds`` of CPU, ``step``, ``loss`` and what was measured."""

    model: Network
    curve: list[dict[str, float]]


Measure = Callable[[Network], dict[str, float]]


def make_network(settings: Settings) -> Network:
    """Make the untrained network."""
    torch.manual_seed(settings.seed)
    if "kernels" in settings.network:
        if settings.initial != "carry":
            raise SystemExit(f"SRCNN carries its input at first: initial is carry, not {settings.initial!r}")
        kernels = tuple(settings.network["kernels"])
        srcnn = SRCNN(SRCNNConfig(**{**settings.network, "kernels": kernels, "factor": settings.factor}))
        carry_through(srcnn.feature, srcnn.mapping, srcnn.reconstruction)
        return srcnn
    model = FSRCNN(FSRCNNConfig(**{**PAPER_FORM, "factor": settings.factor, **settings.network}))
    if settings.initial == "paper":
        nn.init.normal_(model.deconvolution.weight, std=0.001)
    elif settings.initial == "carry":
        carry_input(model)
    elif settings.initial != "he":
        raise SystemExit(f"initial is he, paper or carry, not {settings.initial!r}")
    for name, slopes in model.named_parameters():
        if "prelu" in name and name.startswith(settings.linear):
            nn.init.ones_(slopes).requires_grad_(False)
    return model


@torch.no_grad()
def carry_input(model: FSRCNN) -> None:
    """Let the first channel of each layer hand the input on, and the deconvolution interpolate it linearly.

    The graph stays the paper's. What the other channels add starts small, so that training starts at interpolation.
    """
    taps = model.config.deconvolution_taps
    linear = np.zeros((model.config.factor**2, taps, taps), np.float32)
    start = taps // 2 - 1
    linear[:, start : start + 3, start : start + 3] = filter_bank("bilinear", model.config.factor).reshape(-1, 3, 3)
    model.deconvolution.weight *= 0.01
    carry_through(model.feature, model.shrink, *model.mapping, model.expand)
    model.deconvolution.weight[:, 0] = torch.from_numpy(linear)


@torch.no_grad()
def carry_through(*layers: nn.Module) -> None:
    """Let the first output channel of convolutions be their first input channel."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        centre = layer.kernel_size[0] // 2
        layer.weight[0] = 0
        layer.weight[0, 0, centre, centre] = 1


def save(model: Network, path: Path) -> None:
    """Save a network's weights."""
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def take_over(model: Network, path: Path) -> None:
    """Take over a network's weights from a file; of one for another factor, all but the deconvolution's.

    Raises
    ------
    SystemExit
        If anything else does not fit.
    """
    own = model.state_dict()
    saved = load_file(path)
    fitting = {name: tensor for name, tensor in saved.items() if tensor.shape == own[name].shape}
    if others := sorted(name for name in own if name not in fitting and not name.startswith("deconvolution.")):
        raise SystemExit(f"{path.name} is of another network: {', '.join(others)} differ")
    model.load_state_dict({**own, **fitting})


def train(
    model: Network,
    examples: Sequence[Array],
    settings: Settings,
    coarsen: Coarsen = make_coarse,
    measure: Measure = lambda _: {},
    *,
    every: int = 2000,
    tell: Callable[[dict[str, float]], None] = lambda _: None,
) -> Trained:
    """Train a network on fine fields.

    Parameters
    ----------
    model : FSRCNN or SRCNN
        Its weights change.
    examples : sequence of ndarray (y, x)
        Fine fields, of 0 to 255.
    settings : Settings
        How.
    coarsen : callable
        Makes them coarser.
    measure : callable
        Gives figures of a network, for the curve.
    every : int
        Steps between points of the curve.
    tell : callable
        Gets each point of the curve.

    Returns
    -------
    Trained
    """
    if settings.branches and isinstance(model, FSRCNN):
        add_branches(model)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter less time a step
    averaged = copy.deepcopy(model)
    patches = Patches(
        examples,
        settings.factor,
        coarsen,
        patch=settings.patch,
        halo=model.halo,
        padding=padding_of(model),
        batch=settings.batch,
        mirror=settings.mirror,
        seed=settings.seed,
    )
    optimiser = _optimiser(model, settings)
    started, losses, curve = time.process_time(), [], []
    measured = 0.0
    for step in range(settings.steps):
        coarse, fine = patches.draw(step)
        rate = learning_rate_at(
            settings.learning_rate, step, step / settings.steps, WARM_UP, constant=settings.constant
        )
        losses.append(take_step(optimiser, _loss(model(coarse) - fine, settings.loss), rate, step))
        move_average(averaged, model, ema_decay_at(settings.ema, step) if settings.ema else 0.0)
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            before = time.process_time()
            seconds = before - started - measured
            point = {"step": step + 1, "seconds": round(seconds, 1), "loss": float(np.mean(losses))}
            curve.append({**point, **measure(_plain(averaged))})
            tell(curve[-1])
            losses.clear()
            measured += time.process_time() - before
    return Trained(_plain(averaged), curve)


def padding_of(model: Network) -> str:
    """Name what a network sees beyond a field's edge."""
    return str(model.config.padding) if isinstance(model, FSRCNN) else "replicate"


def _plain(model: Network) -> Network:
    """Return a copy with its branches folded."""
    return fold(model) if isinstance(model, FSRCNN) else copy.deepcopy(model)


def _optimiser(model: Network, settings: Settings) -> torch.optim.AdamW:
    """AdamW; the last layer's rate is a share of the others'."""
    names = ("deconvolution.", "reconstruction.")
    last = [weight for name, weight in model.named_parameters() if name.startswith(names)]
    others = [weight for name, weight in model.named_parameters() if not name.startswith(names)]
    groups: list[dict[str, Any]] = [{"params": last, "lr_ratio": settings.last_layer_lr_ratio}]
    if not settings.frozen:
        groups.append({"params": others, "lr_ratio": 1.0})
    return adamw(groups, settings.learning_rate)


def _loss(error: Tensor, name: str) -> Tensor:
    if name == "mse":
        return error.square().mean()
    if name == "charbonnier":
        return (error.square() + WHITE**-2).sqrt().mean()
    raise SystemExit(f"loss is mse or charbonnier, not {name!r}")
