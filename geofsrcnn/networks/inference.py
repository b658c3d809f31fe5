"""Networks and classical methods ready to run: projections folded, weights packed, nothing changed by use."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from geofsrcnn.errors import ModelError
from geofsrcnn.networks.fsrcnn import (
    FSRCNN,
    Convolution,
    Layer,
    Weights,
    assemble,
    differences,
    drop_centre,
    on_differences,
    run_layers,
    run_with_features,
)
from geofsrcnn.networks.limits import cut, neighbour_bounds
from geofsrcnn.values.kernels import filter_bank

if TYPE_CHECKING:
    from geofsrcnn.networks.expected_error import ErrorHead


class Upsampler(Protocol):
    """A network or a classical method, as the engine needs it."""

    factor: int
    """Fine cells along one side of a coarse cell."""
    halo: int
    """Coarse cells that an output depends on around its own cell."""
    channels: int
    """Bands that are computed together; 1: each for itself."""
    joint: bool
    """Bands that are computed together have units of their own, and may hold NaN where nothing is known of a cell."""
    padding: str
    """Values beyond the raster's edge, as in `FSRCNNConfig`."""
    unit_free: bool
    """A multiple of the values gives that multiple of the result, and one value everywhere that value everywhere."""
    whole_field: bool
    """It has to see a field at once, not in tiles."""
    conserving: bool
    """Block means equal the coarse cells."""
    gives_error: bool
    """It says how large an error to expect in each fine cell."""

    @property
    def overshoot(self) -> float | None:
        """Share of the range of the 3 x 3 coarse cells around by which it may be left; None: no limit."""
        ...

    def limit(self, overshoot: float | None, /) -> Self:
        """The same, with another such share."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, channels, y + 2 halo, x + 2 halo)`` to ``(n, channels, factor y, factor x)``, same type."""
        ...

    def with_error(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """The same, and the expected absolute error of each fine cell, float32; for those that give it."""
        ...


LANES = 16
"""float32 values of a 512-bit vector: oneDNN works on so many output channels at once."""


class _FusedLayer:
    """A convolution for inference on a CPU: weights packed once, the PReLU's single slope fused (oneDNN).

    With few output channels most of a vector would idle, so neighbouring columns are computed together, as
    channels of one wider convolution that moves on by as many columns.
    """

    def __init__(self, layer: Layer, dtype: torch.dtype, size: int = 128) -> None:
        self.radius = layer.radius
        self._together = max(1, LANES // layer.weight.shape[0]) if layer.slopes is None else 1
        self._width = layer.weight.shape[-1]
        self._bias = None if layer.bias is None else layer.bias.to(dtype).repeat(self._together)
        weight = side_by_side(layer.weight, self._together).to(dtype).contiguous(memory_format=torch.channels_last)
        self._geometry = ([0, 0], [1, self._together], [1, 1], layer.groups)  # padding, stride, dilation, groups
        nominal = [
            1,
            weight.shape[1] * layer.groups,
            size,
            size,
        ]  # the input that the order of the weights is chosen for
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry, nominal)
        self._slope = None if layer.slopes is None else [float(layer.slopes)]

    def __call__(self, x: Tensor) -> Tensor:
        name, slope = ("none", []) if self._slope is None else ("leaky_relu", self._slope)
        columns = x.shape[-1] - self._width + 1
        if spare := -columns % self._together:
            x = F.pad(x, (0, spare))
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._geometry, name, slope, ""
        )
        return result if self._together == 1 else _interleave(result, self._together)[..., :columns]


def side_by_side(weight: Tensor, count: int) -> Tensor:
    """The weight of a convolution that gives `count` neighbouring columns at once.

    Parameters
    ----------
    weight : Tensor (o, i, k, k)
        Weight of a convolution with stride 1.
    count : int
        Columns together.

    Returns
    -------
    Tensor (count * o, i, k, k + count - 1)
        Weight of the same convolution with stride ``(1, count)``; channel ``j * o + p`` is channel p of column j.
    """
    return torch.cat([F.pad(weight, (j, count - 1 - j)) for j in range(count)])


def _interleave(x: Tensor, count: int) -> Tensor:
    """Columns computed together, one after the other again; no copy if channels are last in memory."""
    n, channels, rows, columns = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, rows, columns * count, channels // count).permute(0, 3, 1, 2)


class _PlainLayer:
    """A convolution for inference anywhere."""

    def __init__(self, layer: Layer, dtype: torch.dtype, device: torch.device) -> None:
        self.radius = layer.radius
        self._weight = layer.weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        self._bias = None if layer.bias is None else layer.bias.to(device, dtype)
        self._slopes = None if layer.slopes is None else layer.slopes.to(device, dtype)
        self._groups = layer.groups

    def __call__(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self._weight, self._bias, groups=self._groups)
        return x if self._slopes is None else F.prelu(x, self._slopes)


def _relative_to_last(layer: Layer, channels: int) -> Layer:
    """Subtract the last sub-pixel of a block from the others and leave it out: `assemble` removes the mean anyway."""

    def rest(values: Tensor) -> Tensor:
        blocks = values.reshape(channels, -1, *values.shape[1:])
        return (blocks[:, :-1] - blocks[:, -1:]).flatten(0, 1)

    return Layer(rest(layer.weight), None if layer.bias is None else rest(layer.bias), layer.slopes)


def _can_fuse(layer: Layer, device: torch.device) -> bool:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    single = layer.slopes is None or layer.slopes.numel() == 1
    return single and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def prepare_layer(layer: Layer, dtype: torch.dtype, device: torch.device) -> Convolution:
    """Pack a layer's weights for inference on a device."""
    bias, slopes = (None if t is None else t.detach().cpu() for t in (layer.bias, layer.slopes))
    layer = Layer(layer.weight.detach().cpu(), bias, slopes, layer.groups)
    return _FusedLayer(layer, dtype) if _can_fuse(layer, device) else _PlainLayer(layer, dtype, device)


class Network:
    """A trained network ready for inference: projections folded, weights packed, nothing changed by use.

    Safe to share between threads.

    Parameters
    ----------
    model : FSRCNN
        Copied; later changes to it have no effect.
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
    precision : {"float32", "bfloat16"}
        Arithmetic of the hourglass; the skip stays float32, the coarse value keeps the input's type.
    head : ErrorHead, optional
        Gives the expected error; copied.
    """

    def __init__(
        self, model: FSRCNN, device: str = "cpu", precision: str = "float32", head: ErrorHead | None = None
    ) -> None:
        self.config = config = model.config
        self.factor, self.halo, self.channels = config.factor, config.halo, config.channels
        self.joint, self.padding = config.joint, str(config.padding)
        self.unit_free, self.whole_field = config.unit_free, config.pad_layers
        self.conserving = config.conserving != "none"
        self.device = torch.device(device)
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        with torch.no_grad():
            weights = model.weights()
        *layers, last = weights.layers
        skip = weights.skip
        if config.conserving != "none":
            last = _relative_to_last(last, config.channels)
            skip = None if skip is None else _relative_to_last(skip, 1)
        self._weights = Weights(
            [self._prepare(layer, dtype) for layer in (*layers, last)],
            None if skip is None else self._prepare(skip, torch.float32),
            dtype,
        )
        self.gives_error = head is not None
        self._head = None if head is None else copy.deepcopy(head).to(self.device).eval().requires_grad_(False)
        if self._head is not None:
            self._head_layers = self._head.layers().prepare(lambda layer: self._prepare(layer, torch.float32))

    def _prepare(self, layer: Layer, dtype: torch.dtype) -> Convolution:
        return prepare_layer(layer, dtype, self.device)

    @property
    def overshoot(self) -> float | None:
        """Share of the range of the 3 x 3 coarse cells around by which it may be left."""
        return self.config.overshoot

    def limit(self, overshoot: float | None) -> Self:
        """The same, with another such share; weights are shared."""
        limited = copy.copy(self)
        limited.config = replace(self.config, overshoot=overshoot)
        return limited

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, c, y + 2 halo, x + 2 halo)`` to ``(n, c, f y, f x)``, of the input's type, on its device."""
        with torch.inference_mode():
            return run_layers(self.config, x.to(self.device), self._weights).to(x.device)

    def with_error(self, x: Tensor, /) -> tuple[Tensor, Tensor]:
        """The same, and the expected absolute error of each fine cell, float32."""
        assert self._head is not None
        with torch.inference_mode():
            fine, features = run_with_features(self.config, x.to(self.device), self._weights)
            return fine.to(x.device), self._head(features, self._head_layers).to(x.device)


class Classical:
    """A classical method as an `Upsampler`: the same engine, a fixed filter bank, no network.

    Parameters
    ----------
    method : str
        A name of `geofsrcnn.values.kernels`.
    factor : int
        Fine cells along one side of a coarse cell.
    device : str
        As for `Network`.
    """

    channels = 1
    joint = False
    padding = "replicate"
    unit_free = True
    whole_field = False
    gives_error = False

    def __init__(self, method: str, factor: int, device: str = "cpu") -> None:
        self.conserving = method.endswith(("-c", "-bp"))  # also where a range is kept
        self.factor, self.device = factor, torch.device(device)
        self.overshoot: float | None = None
        bank = torch.tensor(filter_bank(method, factor))
        self.halo = bank.shape[-1] // 2
        filters = on_differences(drop_centre(bank.reshape(factor**2, 1, *bank.shape[2:])))
        self._layer = _PlainLayer(Layer(filters, None, None), torch.float32, self.device)

    def limit(self, overshoot: float | None) -> Self:
        """The same, with another share of the range around by which it may be left."""
        limited = copy.copy(self)
        limited.overshoot = overshoot
        return limited

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1, y + 2 halo, x + 2 halo)`` to ``(n, 1, f y, f x)``, of the input's type, on its device."""
        with torch.inference_mode():
            there = x.to(self.device)
            residual = self._layer(differences(there, torch.float32))
            bounds = None if self.overshoot is None else neighbour_bounds(there, self.halo, self.overshoot)
            core = cut(there, self.halo)
            fine = assemble(
                core, residual, self.factor, "none", anchored=True, bounds=bounds, keep_means=self.conserving
            )
            return fine.to(x.device)

    def with_error(self, _: Tensor, /) -> tuple[Tensor, Tensor]:
        """Refuse: a filter bank has no features."""
        raise ModelError("classical methods give no expected error: take a network")
