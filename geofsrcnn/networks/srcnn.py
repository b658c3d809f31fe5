"""SRCNN (Dong, Loy, He, Tang, TPAMI 2016): the network before FSRCNN, which it is compared with.

Cubic convolution first, then three convolutions on the fine grid. So its operations count for each fine cell: at x3
nine times for a coarse one. It runs through the same engine as all networks, in tiles, but keeps none of their promises
on units and block means: it is here as the baseline of the literature.

The coarse field has a halo around it, values beyond the raster's edge repeat the last ones, and all layers run 'valid'
(the authors' code repeats the last values of each layer instead).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geofsrcnn.errors import ConfigError, ModelError
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.config import DEFAULT_FACTOR, SIZES, check_size
from geofsrcnn.networks.fsrcnn import FIRST_WEIGHT, Convolution, Layer, assemble
from geofsrcnn.networks.inference import prepare_layer
from geofsrcnn.networks.limits import cut, neighbour_bounds
from geofsrcnn.values.kernels import filter_bank

CUBIC_RADIUS = 2
"""Coarse cells that cubic convolution reaches on each side."""


@dataclass(frozen=True)
class SRCNNConfig:
    """Sizes of the network; the defaults are the first paper's 9-1-5.

    Parameters
    ----------
    factor : int
        Fine cells along one side of a coarse cell, 2 to 8.
    n1, n2 : int
        Channels after the first and the second convolution.
    kernels : tuple of int
        Odd sizes of the three kernels, in fine cells: ``(9, 1, 5)``, or ``(9, 5, 5)`` for the larger network.

    Raises
    ------
    ConfigError
        If a value is out of bounds.
    """

    factor: int = DEFAULT_FACTOR
    n1: int = 64
    n2: int = 32
    kernels: tuple[int, int, int] = (9, 1, 5)

    def __post_init__(self) -> None:
        check_size("factor", self.factor, *SIZES["factor"])
        check_size("n1", self.n1, 1, 256)
        check_size("n2", self.n2, 1, 256)
        if len(self.kernels) != 3 or any(kernel % 2 == 0 or not 1 <= kernel <= 31 for kernel in self.kernels):
            raise ConfigError(f"kernels must be three odd numbers from 1 to 31, got {self.kernels!r}")

    @property
    def reach(self) -> int:
        """Fine cells that the convolutions reach on each side."""
        return sum(kernel // 2 for kernel in self.kernels)

    @property
    def margin(self) -> int:
        """Coarse cells around its own whose fine cells an output depends on."""
        return math.ceil(self.reach / self.factor)

    @property
    def halo(self) -> int:
        """Coarse cells around its own that an output depends on, at most.

        Examples
        --------
        >>> SRCNNConfig(factor=3).halo
        4
        """
        return self.margin + CUBIC_RADIUS

    @property
    def operations(self) -> int:
        """Multiply-adds of the convolutions for a coarse cell.

        Examples
        --------
        >>> SRCNNConfig(factor=3).operations // 9, SRCNNConfig(factor=3, kernels=(9, 5, 5)).operations // 9
        (8032, 57184)
        """
        first, second, third = (kernel**2 for kernel in self.kernels)
        return self.factor**2 * (first * self.n1 + second * self.n1 * self.n2 + third * self.n2)


class SRCNN(nn.Module):
    """The trainable network.

    Parameters
    ----------
    config : SRCNNConfig, optional
        Its sizes; 9-1-5 at x3 if not given.
    """

    def __init__(self, config: SRCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SRCNNConfig()
        sizes = (1, config.n1, config.n2, 1)
        self.feature, self.mapping, self.reconstruction = (
            nn.Conv2d(sizes[i], sizes[i + 1], kernel) for i, kernel in enumerate(config.kernels)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights (He et al. 2015), small in the last layer."""
        for layer in (self.feature, self.mapping, self.reconstruction):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.reconstruction.weight *= FIRST_WEIGHT

    @property
    def halo(self) -> int:
        """Coarse cells around its own that an output depends on, at most."""
        return self.config.halo

    def layers(self) -> list[Layer]:
        """Give the three convolutions as applied; a ReLU is a PReLU of slope 0."""
        zero = torch.zeros(1, device=self.feature.weight.device)
        slopes = (zero, zero, None)
        convolutions = (self.feature, self.mapping, self.reconstruction)
        return [Layer(each.weight, each.bias, slope) for each, slope in zip(convolutions, slopes, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        """Upscale coarse fields.

        Parameters
        ----------
        x : Tensor (n, 1, y + 2 * halo, x + 2 * halo)
            Coarse values with the halo around them.

        Returns
        -------
        Tensor (n, 1, factor * y, factor * x)
        """
        return run_layers(self.config, x, self.layers())


def run_layers(config: SRCNNConfig, x: Tensor, layers: Sequence[Convolution]) -> Tensor:
    """Interpolate, then convolve; training and inference differ only in how a layer is carried out."""
    fine = interpolate(x, config.factor)
    for layer in layers:
        fine = layer(fine)
    return cut(fine, config.factor * config.margin - config.reach)


def interpolate(x: Tensor, factor: int) -> Tensor:
    """Interpolate by cubic convolution (Keys 1981, a = -0.5); 2 coarse cells are lost on each side.

    Parameters
    ----------
    x : Tensor (n, 1, y + 4, x + 4)
        Coarse values.
    factor : int
        Fine cells along one side of a coarse cell.

    Returns
    -------
    Tensor (n, 1, factor * y, factor * x)
    """
    bank = torch.tensor(filter_bank("cubic", factor)).to(x)
    return F.pixel_shuffle(F.conv2d(x, bank.reshape(factor**2, 1, *bank.shape[2:])), factor)


class SRCNNUpsampler:
    """A trained network as an `Upsampler`: weights packed, nothing changed by use.

    Parameters
    ----------
    model : SRCNN
        Copied; later changes to it have no effect.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    """

    channels = 1
    joint = False
    padding = "replicate"
    unit_free = False
    whole_field = False
    conserving = False
    gives_error = False

    def __init__(self, model: SRCNN, device: str = "cpu") -> None:
        self.config = model.config
        self.factor, self.halo = model.config.factor, model.config.halo
        self.device = torch.device(device)
        self.overshoot: float | None = None
        self._layers = [prepare_layer(layer, torch.float32, self.device) for layer in model.layers()]

    def limit(self, overshoot: float | None) -> Self:
        """The same, with another share of the range around by which it may be left; weights are shared."""
        limited = copy.copy(self)
        limited.overshoot = overshoot
        return limited

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1, y + 2 halo, x + 2 halo)`` to ``(n, 1, f y, f x)``, of the input's type, on its device."""
        with torch.inference_mode():
            there = x.to(self.device)
            fine = run_layers(self.config, there.float(), self._layers)
            bounds = None if self.overshoot is None else neighbour_bounds(there, self.halo, self.overshoot)
            values = F.pixel_unshuffle(fine, self.factor)
            core = cut(there, self.halo)
            return assemble(core, values, self.factor, "none", anchored=False, bounds=bounds).to(x.device)

    def with_error(self, _: Tensor, /) -> tuple[Tensor, Tensor]:
        """Refuse: it has no head that gives errors."""
        raise ModelError("SRCNN gives no expected error: take a shipped network (default)")


def srcnn_model(model: SRCNN, device: str = "cpu") -> Model:
    """Make a trained network ready for whatever takes a loaded model: arrays, datasets, files, evaluation.

    Parameters
    ----------
    model : SRCNN
        Copied.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    Model
        As `geofsrcnn.load_model` gives it.
    """
    upsampler = SRCNNUpsampler(model, device)
    return Model("srcnn", upsampler.factor, device, "float32", (upsampler,), model.config.operations)
