"""The network: FSRCNN (Dong, Loy, Tang, ECCV 2016), unit-free and conserving, on the coarse grid.

Five stages by the paper's names: feature extraction, shrinking, mapping, expanding, deconvolution; beside them
a skip, linear interpolation of the coarse field to which the network adds a residual.

Convolutions run 'valid': an input ``(n, c, y + 2 * halo, x + 2 * halo)`` gives ``(n, c, f * y, f * x)``.

How the promises hold for any weights, in training too:

*Local differences.* The first layer's filters are projected onto the complement of span{1, x, y}, and the
skip's onto filters that reproduce planes. Filters without a sum are then applied to the differences of
neighbouring cells (`differences`, `on_differences`), so neither the magnitude of the values nor anything far
away enters the arithmetic: 101325 +- 0.1 is as good as 0 +- 0.1, and a plane comes out exactly.

*No biases, homogeneous activations.* ``U(a X + b) = a U(X) + b`` for ``a > 0``.

*Conservation.* The residual's block mean is taken out before the coarse value is added.

*Bands together.* In a joint network each band has feature filters of its own. What they give is divided by the band's
local roughness, and the residual is multiplied by it again (`geofsrcnn.networks.roughness`): between, bands mix free of
units, so each band keeps to these promises whatever the others' units are.

*No surprises.* Where residuals leave the range of the 3 x 3 coarse cells around by more than a share of it, they are
clipped and their block's mean is restored, in differences from the coarse cell (`geofsrcnn.networks.limits`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geofsrcnn.errors import InputError
from geofsrcnn.networks.config import TORCH_PADDING, FSRCNNConfig
from geofsrcnn.networks.limits import Bounds, conserve, cut, limit_blocks, limit_rows, neighbour_bounds
from geofsrcnn.networks.roughness import divide, multiply, roughness, zero_unknown
from geofsrcnn.values.kernels import filter_bank, offsets

FIRST_WEIGHT = 0.01
"""Share of its drawn weights that a last layer starts with where it adds to something: next to nothing."""


def differences(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Differences to the right and the lower neighbour, in `x`'s own precision, then as `dtype`.

    Parameters
    ----------
    x : Tensor (n, c, y, x)
        Any floating type.
    dtype : torch.dtype, optional
        Type of the result; `x`'s if not given.

    Returns
    -------
    Tensor (n, 2 c, y, x), channels last
        Channel ``2 k`` is ``x[..., 1:] - x[..., :-1]`` of channel k, ``2 k + 1`` the same along y; 0 in the
        last column and row.
    """
    n, c, rows, columns = x.shape
    result = torch.zeros((n, rows, columns, c, 2), dtype=dtype or x.dtype, device=x.device)
    last = x.permute(0, 2, 3, 1)
    result[:, :, :-1, :, 0] = last[:, :, 1:] - last[:, :, :-1]
    result[:, :-1, :, :, 1] = last[:, 1:] - last[:, :-1]
    return result.flatten(3).permute(0, 3, 1, 2)


def on_differences(filters: Tensor) -> Tensor:
    """Filters whose sum is zero, rewritten to act on `differences`.

    Along each row the filter's terms are summed towards the centre column; what remains of the rows acts on
    the centre column and is summed along y. Nothing is lost but the filter's sum.

    Parameters
    ----------
    filters : Tensor (o, c, k, k)
        Odd k; each ``filters[o, c]`` sums to zero.

    Returns
    -------
    Tensor (o, 2 c, k, k)
    """
    o, c, k, _ = filters.shape
    centre = k // 2
    along_x = filters.cumsum(-1)
    rows = along_x[..., -1:]
    right = torch.arange(k, device=filters.device) >= centre
    gx = torch.where(right, rows - along_x, -along_x)
    gy = torch.zeros_like(filters)
    gy[..., centre] = -rows[..., 0].cumsum(-1)
    # the last column and row have no neighbour within the filter
    has_right = torch.ones_like(filters[0, 0])
    has_right[:, -1] = 0
    has_lower = torch.ones_like(filters[0, 0])
    has_lower[-1, :] = 0
    return torch.stack([gx * has_right, gy * has_lower], dim=2).reshape(o, 2 * c, k, k)


def _plane_basis(k: int) -> Tensor:
    """Orthonormal basis (3, k * k) of 1, y and x over a k x k window."""
    line = torch.arange(k, dtype=torch.float64) - k // 2
    one = torch.ones(k, k, dtype=torch.float64)
    planes = torch.stack([one, one * line[:, None], one * line[None, :]]).flatten(1)
    result: Tensor = planes / planes.norm(dim=1, keepdim=True)
    return result


def blind_to_planes(filters: Tensor) -> Tensor:
    """Project filters ``(o, c, k, k)`` onto those that give 0 on planes."""
    basis = _plane_basis(filters.shape[-1]).to(filters)
    flat = filters.flatten(2)
    return (flat - (flat @ basis.T) @ basis).reshape(filters.shape)


def _plane_targets(k: int, factor: int) -> Tensor:
    """Inner products (factor * factor, 3) with the basis of any filter bank that reproduces planes."""
    line = torch.arange(k, dtype=torch.float64) - k // 2
    centre = torch.from_numpy(offsets(factor))
    slope = centre / line.norm() / k**0.5
    y, x = torch.meshgrid(slope, slope, indexing="ij")
    return torch.stack([torch.full_like(y, 1 / k), y, x], dim=-1).reshape(factor**2, 3)


def assemble(
    x: Tensor,
    residual: Tensor,
    factor: int,
    conserving: str,
    *,
    anchored: bool,
    bounds: Bounds | None = None,
    keep_means: bool = False,
) -> Tensor:
    """Coarse values plus residuals, conserved, as the fine field.

    Parameters
    ----------
    x : Tensor (n, c, y, x)
        Coarse values of the output's cells.
    residual : Tensor (n, c * f * f, y, x)
        What the skip and the network add to the coarse value of each fine cell. For conserving forms the last of
        each f * f may be left out: counted from it, it is 0, and the block's mean is taken out anyway.
    factor : int
        Fine cells along one side of a coarse cell.
    conserving : {"mean", "positive", "none"}
        See `FSRCNNConfig`.
    anchored : bool
        True if the residual counts from the coarse value (with a skip), False if from zero.
    bounds : tuple of Tensor (n, c, y, x), optional
        Smallest and largest value of each block, as differences from the coarse one.
    keep_means : bool
        Restore the means of blocks that are clipped to their bounds, as conserving forms do anyway.

    Returns
    -------
    Tensor (n, c, factor * y, factor * x), the type of `x`
    """
    n, c, rows, columns = x.shape
    blocks = residual.permute(0, 2, 3, 1).reshape(n, rows, columns, c, -1).to(x.dtype)
    if conserving != "none":
        remove_mean = torch.eye(factor**2, dtype=x.dtype, device=x.device) - 1 / factor**2
        blocks = blocks @ remove_mean[: blocks.shape[-1]]
    absolute = not anchored and conserving == "none"
    if bounds is not None and conserving != "positive":
        low, high = ((x + bound if absolute else bound).permute(0, 2, 3, 1) for bound in bounds)
        blocks = limit_rows(blocks, low, high, keep_means=keep_means or conserving != "none")
    parts = blocks.view(n, rows, columns, c, factor, factor).permute(0, 3, 1, 4, 2, 5)
    if absolute:
        fine = parts.to(x.dtype)
    elif torch.is_grad_enabled():
        fine = parts + x[:, :, :, None, :, None]
    else:  # written where it belongs at once: a pass over the fine field less
        fine = torch.empty(parts.shape, dtype=x.dtype, device=x.device)
        torch.add(x[:, :, :, None, :, None], parts, out=fine)
    if conserving == "positive":
        values = fine.permute(0, 1, 3, 5, 2, 4).reshape(n, c, factor**2, rows, columns)
        values = conserve(values, x, 0.0, float("inf"))
        if bounds is not None:
            low, high = ((x + bound).clamp_min(0.0) for bound in bounds)
            values = limit_blocks(values, x, low, high, keep_means=True)
        return F.pixel_shuffle(values.reshape(n, -1, rows, columns), factor)
    return fine.reshape(n, c, rows * factor, columns * factor)


class _Convolution(nn.Conv2d):
    """One that draws no weights where there are shapes only: torch would import its compiler for that."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class FSRCNN(nn.Module):
    """The trainable network.

    Parameters
    ----------
    config : FSRCNNConfig, optional
        Sizes and forms; those of ``default`` if not given.
    """

    def __init__(self, config: FSRCNNConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FSRCNNConfig()
        c, d, s, f = config.channels, config.d, config.s, config.factor

        def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
            return _Convolution(inputs, outputs, kernel, bias=config.bias)

        def slopes(outputs: int) -> nn.PReLU:
            return nn.PReLU(1 if config.prelu == "layer" else outputs)

        given = 1 if config.joint else config.inputs or c
        self.feature = convolution(given, d, config.feature_kernel)  # a joint one's bands have d / c filters each
        self.shrink = convolution(d, s, 1)
        self.mapping = nn.ModuleList(convolution(s, s, config.mapping_kernel) for _ in range(config.m))
        self.expand = convolution(s, d, 1)
        self.deconvolution = convolution(d, c * f * f, config.deconvolution_taps)
        self.feature_prelu = slopes(d)
        self.shrink_prelu = slopes(s)
        count = config.m if config.mapping_prelu == "each" else 1
        self.mapping_prelu = nn.ModuleList(slopes(s) for _ in range(count))
        self.expand_prelu = slopes(d)
        if config.skip == "learned":
            self.skip = nn.Parameter(_initial_skip(config))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights (He et al. 2015); the deconvolution starts small, so training starts at the skip."""
        if self.feature.weight.is_meta:
            return
        for layer in (self.feature, self.shrink, *self.mapping, self.expand, self.deconvolution):
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, a=0.25, nonlinearity="leaky_relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        if self.config.skip != "none":
            with torch.no_grad():
                self.deconvolution.weight *= FIRST_WEIGHT

    @property
    def halo(self) -> int:
        """Coarse cells that an output depends on around its own cell."""
        return self.config.halo

    def feature_filters(self) -> Tensor:
        """Project the first layer's filters, so that they are blind to planes, if the network is unit-free.

        Returns
        -------
        Tensor (d, channels, feature_kernel, feature_kernel)
            The filters as applied; with `joint` each sees one band, ``(d, 1, feature_kernel, feature_kernel)``.
        """
        weight = self.feature.weight
        if not self.config.unit_free:
            return weight
        return blind_to_planes(weight)

    def skip_filters(self) -> Tensor | None:
        """Project the skip's filters, so that they reproduce planes.

        Returns
        -------
        Tensor (factor * factor, 1, skip_kernel, skip_kernel), optional
            The filters as applied; None without a skip.
        """
        config = self.config
        if config.skip == "none":
            return None
        if config.skip == "cubic":
            bank = filter_bank("cubic", config.factor)
            return torch.tensor(bank.reshape(-1, 1, *bank.shape[2:])).to(self.feature.weight)
        k = config.skip_kernel
        basis = _plane_basis(k).to(self.skip)
        targets = _plane_targets(k, config.factor).to(self.skip)
        flat = self.skip.flatten(1)
        return (flat - (flat @ basis.T - targets) @ basis).reshape(-1, 1, k, k)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale coarse fields.

        Parameters
        ----------
        x : Tensor (n, inputs or channels, y + 2 * halo, x + 2 * halo)
            Coarse values with the halo around them (none with `pad_layers`), float32 or float64.

        Returns
        -------
        Tensor (n, channels, factor * y, factor * x)
            Fine values in the units of `x`, and of its type.
        """
        return run_layers(self.config, x, self.weights())

    def weights(self) -> Weights[Layer]:
        """Project the filters, and rewrite them to act on differences of neighbouring cells.

        Returns
        -------
        Weights
            All convolutions as applied.
        """
        config = self.config
        feature = self.feature_filters()
        if config.unit_free:
            feature = on_differences(feature)
        skip = self.skip_filters()
        if skip is not None:
            skip = on_differences(drop_centre(skip))
        slopes: list[Any] = [prelu.weight for prelu in self.mapping_prelu]
        slopes = [None] * (config.m - len(slopes)) + slopes  # a single one follows the last layer
        convolutions: list[Any] = list(self.mapping)
        mapping = [Layer(each.weight, each.bias, slope) for each, slope in zip(convolutions, slopes, strict=True)]
        layers = [
            Layer(feature, self.feature.bias, self.feature_prelu.weight, config.channels if config.joint else 1),
            Layer(self.shrink.weight, self.shrink.bias, self.shrink_prelu.weight),
            *mapping,
            Layer(self.expand.weight, self.expand.bias, self.expand_prelu.weight),
            Layer(self.deconvolution.weight, self.deconvolution.bias, None),
        ]
        return Weights(layers, None if skip is None else Layer(skip, None, None))


def _initial_skip(config: FSRCNNConfig) -> Tensor:
    """lanczos3 with back-projection, cut or padded to the skip's kernel, ``(f * f, k, k)``."""
    bank = filter_bank("lanczos-bp", config.factor)
    spare = (bank.shape[-1] - config.skip_kernel) // 2
    bank = bank[..., spare:-spare, spare:-spare] if spare > 0 else np.pad(bank, [(0, 0)] * 2 + [(-spare, -spare)] * 2)
    return torch.tensor(bank.reshape(config.factor**2, config.skip_kernel, config.skip_kernel), dtype=torch.float32)


def drop_centre(filters: Tensor) -> Tensor:
    """Interpolation filters less the coarse cell itself: they sum to zero."""
    centre = torch.zeros_like(filters[0, 0])
    centre[filters.shape[-2] // 2, filters.shape[-1] // 2] = 1
    return filters - centre


@dataclass(frozen=True)
class Layer:
    """One convolution as applied: weight, bias, PReLU slopes (None: no activation), groups of channels kept apart."""

    weight: Tensor
    bias: Tensor | None
    slopes: Tensor | None
    groups: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve and activate."""
        x = F.conv2d(x, self.weight, self.bias, groups=self.groups)
        return x if self.slopes is None else activate(x, self.slopes)

    @property
    def radius(self) -> int:
        """Cells that the kernel reaches on each side."""
        return self.weight.shape[-1] // 2


def activate(x: Tensor, slopes: Tensor) -> Tensor:
    """PReLU. With a single slope, training takes a third of the time of torch's, which keeps a gradient a cell."""
    if slopes.numel() == 1 and torch.is_grad_enabled():
        result: Tensor = _SingleSlope.apply(x, slopes)  # type: ignore[no-untyped-call]
        return result
    return F.prelu(x, slopes)


class _SingleSlope(torch.autograd.Function):
    """PReLU with one slope for all channels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.leaky_relu(x, float(slope))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        x, slope = ctx.saved_tensors
        a = float(slope)
        of_x = torch.ops.aten.leaky_relu_backward(gradient, x, a, False)
        if not ctx.needs_input_grad[1]:
            return of_x, None
        # The slope's gradient is N, the sum of gradient * x over cells below zero; P is that over those above. Two dot
        # products give it without another field in memory: gradient . x = P + N and of_x . x = P + a N.
        if abs(1 - a) < 0.01:  # their difference, (1 - a) N, has too few digits
            return of_x, (gradient * x.clamp_max(0)).sum().reshape(slope.shape)
        flat_x, flat_gradient, flat_of_x = (each.permute(0, 2, 3, 1).reshape(-1) for each in (x, gradient, of_x))
        difference = torch.dot(flat_gradient, flat_x) - torch.dot(flat_of_x, flat_x)
        return of_x, (difference / (1 - a)).reshape(slope.shape)


class Convolution(Protocol):
    """A layer, however it is carried out."""

    @property
    def radius(self) -> int:
        """Cells that the kernel reaches on each side."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve and activate."""
        ...


L = TypeVar("L", bound=Convolution)


@dataclass(frozen=True)
class Weights(Generic[L]):
    """All convolutions in order, and the skip's."""

    layers: Sequence[L]
    skip: L | None
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Features:
    """The network's features that a second head stands on.

    Parameters
    ----------
    shrunk : Tensor (n, s, y + 2 k, x + 2 k)
        After shrinking; k is what the layers behind reach.
    expanded : Tensor (n, d, y + 2 k, x + 2 k)
        Before the deconvolution; k is what that reaches.
    shape : tuple of int
        Coarse cells ``(y, x)`` of the output.
    """

    shrunk: Tensor
    expanded: Tensor
    shape: tuple[int, int]


def run_layers(config: FSRCNNConfig, x: Tensor, weights: Weights[Any]) -> Tensor:
    """The network's arithmetic; training and inference differ only in how a layer is carried out."""
    return _run_layers(config, x, weights, ())[0]


def run_with_features(config: FSRCNNConfig, x: Tensor, weights: Weights[Any]) -> tuple[Tensor, Features]:
    """The same, and the features on the way; for networks that pad at the input."""
    fine, (shrunk, expanded) = _run_layers(config, x, weights, (1, len(weights.layers) - 2))
    rows, columns = (n // config.factor for n in fine.shape[-2:])
    return fine, Features(shrunk, expanded, (rows, columns))


def _run_layers(
    config: FSRCNNConfig, x: Tensor, weights: Weights[Any], kept: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """The fine values, and what the layers of these numbers give."""
    halo, dtype = config.halo, weights.dtype
    core = cut(x, halo)
    if config.inputs:  # other bands than those out: of the coarse values nothing but the shape is used
        core = core[:, :1].expand(-1, config.channels, -1, -1)
    local = differences(x, torch.float32) if config.unit_free or weights.skip is not None else None
    if config.joint and local is not None:
        local = zero_unknown(local)
    hidden = cut(local if config.unit_free and local is not None else x, halo - config.network_halo)
    units = roughness(hidden, config.roughness_radius) if config.joint else None
    if units is not None:
        hidden = cut(hidden, config.roughness_radius - weights.layers[0].radius)
    hidden, features = _run_hourglass(config, hidden.to(dtype), weights.layers, units, kept)
    residual = hidden.float()
    if weights.skip is not None and local is not None:
        residual = residual + _apply_skip(cut(local, halo - config.skip_halo), weights.skip)
    bounds = None if config.overshoot is None else neighbour_bounds(x, halo, config.overshoot)
    anchored = weights.skip is not None
    fine = assemble(core, residual, config.factor, config.conserving, anchored=anchored, bounds=bounds)
    return fine, features


def _run_hourglass(
    config: FSRCNNConfig,
    hidden: Tensor,
    layers: Sequence[Convolution],
    units: tuple[Tensor, Tensor] | None,
    kept: Sequence[int],
) -> tuple[Tensor, list[Tensor]]:
    """The last layer's output, of a joint network times the bands' roughness, and what the layers kept give."""
    features = []
    for number, layer in enumerate(layers):
        if config.pad_layers and layer.radius:
            _check_reflection(config, hidden, layer.radius)
            hidden = F.pad(hidden, [layer.radius] * 4, mode=TORCH_PADDING[config.padding])
        hidden = layer(hidden)
        if units is not None and number == 0:
            hidden = divide(hidden, units[1])
        if number in kept:
            features.append(hidden)
    if units is not None:
        hidden = multiply(hidden.float(), cut(units[0], (units[0].shape[-1] - hidden.shape[-1]) // 2))
    return hidden, features


def _check_reflection(config: FSRCNNConfig, hidden: Tensor, radius: int) -> None:
    """Refuse to reflect fields that have fewer cells than a kernel reaches."""
    if config.padding == "reflect" and min(hidden.shape[-2:]) <= radius:
        raise InputError(
            f"a network that reflects at each layer needs fields of {radius + 1} x {radius + 1} cells or more"
        )


def _apply_skip(local: Tensor, layer: Convolution) -> Tensor:
    """Convolve each band with the same filter bank."""
    n, doubled, rows, columns = local.shape
    if doubled == 2:
        return layer(local)
    bands = local.reshape(n * doubled // 2, 2, rows, columns)
    out: Tensor = layer(bands)
    return out.reshape(n, -1, *out.shape[-2:])
