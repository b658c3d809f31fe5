"""Networks and classical methods ready to run: projections folded, weights packed, nothing changed by use."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from geofsrcnn.model import (
    FSRCNN,
    Layer,
    Weights,
    assemble,
    cut,
    differences,
    on_differences,
    run_layers,
    without_centre,
)
from geofsrcnn.resample import filter_bank


class Upsampler(Protocol):
    """What the engine needs of a network or a classical method."""

    factor: int
    halo: int
    channels: int
    padding: str
    unit_free: bool
    whole: bool

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, channels, y + 2 halo, x + 2 halo)`` to ``(n, channels, factor y, factor x)``, same type."""
        ...


class _FusedLayer:
    """A convolution for inference on a CPU: weights packed once, the PReLU's single slope fused (oneDNN)."""

    def __init__(self, layer: Layer, dtype: torch.dtype, size: int) -> None:
        self.radius = layer.radius
        self._bias = None if layer.bias is None else layer.bias.to(dtype)
        weight = layer.weight.to(dtype).contiguous(memory_format=torch.channels_last)
        nominal = [1, weight.shape[1], size, size]
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(weight, [0, 0], [1, 1], [1, 1], 1, nominal)
        self._slope = None if layer.slopes is None else [float(layer.slopes)]

    def __call__(self, x: Tensor) -> Tensor:
        name, slope = ("none", []) if self._slope is None else ("leaky_relu", self._slope)
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, [0, 0], [1, 1], [1, 1], 1, name, slope, ""
        )
        return result


class _PlainLayer:
    """A convolution for inference anywhere."""

    def __init__(self, layer: Layer, dtype: torch.dtype, device: torch.device) -> None:
        self.radius = layer.radius
        self._weight = layer.weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
        self._bias = None if layer.bias is None else layer.bias.to(device, dtype)
        self._slopes = None if layer.slopes is None else layer.slopes.to(device, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self._weight, self._bias)
        return x if self._slopes is None else F.prelu(x, self._slopes)


def _can_fuse(layer: Layer, device: torch.device) -> bool:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    single = layer.slopes is None or layer.slopes.numel() == 1
    return single and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


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
        Of the hourglass; the skip stays float32, the coarse value keeps the input's type.
    """

    def __init__(self, model: FSRCNN, device: str = "cpu", precision: str = "float32") -> None:
        self.config = config = model.config
        self.factor, self.halo, self.channels = config.factor, config.halo, config.channels
        self.padding: str = config.padding
        self.unit_free, self.whole = config.unit_free, config.pad_layers
        self.device = torch.device(device)
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        with torch.no_grad():
            weights = model.weights()
        self._weights = Weights(
            [self._prepare(layer, dtype) for layer in weights.layers],
            None if weights.skip is None else self._prepare(weights.skip, torch.float32),
            dtype,
        )

    def _prepare(self, layer: Layer, dtype: torch.dtype) -> _FusedLayer | _PlainLayer:
        layer = Layer(*(None if t is None else t.detach().cpu() for t in (layer.weight, layer.bias, layer.slopes)))  # type: ignore[arg-type]
        if _can_fuse(layer, self.device):
            return _FusedLayer(layer, dtype, size=128)
        return _PlainLayer(layer, dtype, self.device)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, c, y + 2 halo, x + 2 halo)`` to ``(n, c, f y, f x)``, of the input's type, on its device."""
        with torch.inference_mode():
            return run_layers(self.config, x.to(self.device), self._weights).to(x.device)


class Classical:
    """A classical method as an `Upsampler`: the same engine, a fixed filter bank, no network.

    Parameters
    ----------
    method : str
        A name of `geofsrcnn.resample`.
    factor : int
        Fine cells along one side of a coarse cell.
    device : str
        As for `Network`.
    """

    channels = 1
    padding = "replicate"
    unit_free = True
    whole = False

    def __init__(self, method: str, factor: int, device: str = "cpu") -> None:
        self.method, self.factor, self.device = method, factor, torch.device(device)
        bank = torch.tensor(filter_bank(method, factor))
        self.halo = bank.shape[-1] // 2
        filters = on_differences(without_centre(bank.reshape(factor**2, 1, *bank.shape[2:])))
        self._layer = _PlainLayer(Layer(filters, None, None), torch.float32, self.device)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, 1, y + 2 halo, x + 2 halo)`` to ``(n, 1, f y, f x)``, of the input's type, on its device."""
        with torch.inference_mode():
            local = differences(x.to(self.device), torch.float32)
            fine = assemble(cut(x.to(self.device), self.halo), self._layer(local), self.factor, "none", anchored=True)
            return fine.to(x.device)
