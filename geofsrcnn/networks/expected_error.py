"""Expected absolute error of each fine cell: a second head on a network's features.

Features are linear in differences of neighbouring cells but for PReLUs, so their magnitudes measure how rough the field
is, each in its own way and scale. The head turns these magnitudes into the expected error in two steps: their mean sets
the unit, and a small network of the logarithms of their ratios, which have none, says how much of it to expect in a
coarse cell; how its fine cells share in it is the same everywhere (at the corners more than in the middle). So the
expected error scales with the values and does not see what is added to them: where ``U(a X + b) = a U(X) + b``, the
error is ``|a|`` times as large; on a plane it is 0. How an error grows from one scale to the next is what the ratios
tell: a power law of roughness over distance is a plane in their logarithms.

Trained on the frozen network by the likelihood of a Laplace distribution, whose scale is the expected absolute error
(Kendall and Gal 2017, eq. 5, with absolute instead of squared errors).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from geofsrcnn.errors import ConfigError, ModelError, printable
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Checkpoint, Section
from geofsrcnn.networks.config import FSRCNNConfig, check_keys, check_size
from geofsrcnn.networks.fsrcnn import Convolution, Features, Layer
from geofsrcnn.networks.limits import cut

L = TypeVar("L", bound=Convolution)
M = TypeVar("M", bound=Convolution)

FLOOR = 1e-3
"""Magnitudes below this share of their mean count as this: nothing follows from how small they are."""

GAIN = (-12.0, 6.0)
"""Logarithm of the smallest and the largest expected error, in units of the mean magnitude."""


@dataclass(frozen=True)
class ErrorConfig:
    """Sizes of the head.

    Parameters
    ----------
    channels : int
        Magnitudes that are taken from the shrunk and from the expanded features each.
    hidden : int
        Channels of the small network of their ratios.
    radius : int
        Coarse cells around a cell over which the magnitudes of shrunk features are averaged, at most.

    Raises
    ------
    ConfigError
        If one is out of bounds.
    """

    channels: int = 8
    hidden: int = 16
    radius: int = 4

    def __post_init__(self) -> None:
        for name, (low, high) in {"channels": (1, 64), "hidden": (1, 64), "radius": (1, 16)}.items():
            check_size(name, getattr(self, name), low, high)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ErrorConfig:
        """Build a configuration from plain values; a ConfigError says what is unknown or out of bounds."""
        check_keys(cls, values)
        return cls(**values)


@dataclass(frozen=True)
class HeadLayers(Generic[L]):
    """Convolutions of the head in order, however they are carried out."""

    near: L
    deep: L
    hidden: L

    def prepare(self, prepare: Callable[[L], M]) -> HeadLayers[M]:
        """Return the same, each made ready by `prepare`."""
        return HeadLayers(*(prepare(layer) for layer in (self.near, self.deep, self.hidden)))


class ErrorHead(nn.Module):
    """The head.

    Parameters
    ----------
    config : FSRCNNConfig
        Of the network that it stands on, unit-free and of one band.
    sizes : ErrorConfig, optional
        Its own.

    Raises
    ------
    ConfigError
        If the network is not unit-free, or has more than one band.
    """

    def __init__(self, config: FSRCNNConfig, sizes: ErrorConfig | None = None) -> None:
        super().__init__()
        if not config.unit_free or config.channels != 1 or config.inputs:
            raise ConfigError("the expected error needs a unit-free network of one band")
        self.config, self.sizes = config, sizes or ErrorConfig()
        channels = self.sizes.channels
        self.near = nn.Conv2d(config.s, channels, 1, bias=False)
        self.deep = nn.Conv2d(config.d, channels, 1, bias=False)
        ratios = channels * (len(self.radii) + len(self.deep_radii))
        self.hidden = nn.Conv2d(ratios, self.sizes.hidden, 1)
        self.gain = nn.Conv2d(self.sizes.hidden, 1, 1)
        self.pattern = nn.Parameter(torch.zeros(config.factor**2))
        if not self.gain.weight.is_meta:
            for layer in (self.near, self.deep):
                nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(self.gain.weight)
            nn.init.constant_(self.gain.bias, -1.0)  # type: ignore[arg-type]

    @property
    def radii(self) -> tuple[int, ...]:
        """Coarse cells around a cell over which magnitudes of shrunk features are averaged, within the halo."""
        room = self.config.network_halo - (self.config.feature_kernel - 1) // 2
        return tuple(sorted({min(1, room), min(self.sizes.radius, room)}))

    @property
    def deep_radii(self) -> tuple[int, ...]:
        """The same of the expanded features, which reach as far as the deconvolution."""
        return tuple(sorted({0, (self.config.deconvolution_taps - 1) // 2}))

    def layers(self) -> HeadLayers[Layer]:
        """Return the convolutions as applied; magnitudes are a PReLU of slope -1.

        Returns
        -------
        HeadLayers
            The first three; what comes behind has one channel.
        """
        magnitude, leaky = (self.pattern.new_tensor([slope]) for slope in (-1.0, 0.1))
        assert self.hidden.bias is not None
        bias = self.hidden.bias + math.log(FLOOR) * self.hidden.weight.sum((1, 2, 3))
        return HeadLayers(
            Layer(self.near.weight, None, magnitude),
            Layer(self.deep.weight, None, magnitude),
            Layer(self.hidden.weight, bias, leaky),
        )

    def forward(self, features: Features, layers: HeadLayers[Any] | None = None) -> Tensor:
        """Expect the absolute error of each fine cell.

        Parameters
        ----------
        features : Features
            Of the network.
        layers : HeadLayers, optional
            Its convolutions, ready for inference.

        Returns
        -------
        Tensor (n, 1, factor * y, factor * x), float32
            In the units of the network's input, at or above 0.
        """
        layers = layers or self.layers()
        rows = features.shape[0]
        near, deep = layers.near(features.shrunk.float()), layers.deep(features.expanded.float())
        magnitudes = torch.cat([*means_around(near, self.radii, rows), *means_around(deep, self.deep_radii, rows)], 1)
        unit = magnitudes.mean(1, keepdim=True)
        # log(m / unit + FLOOR) less log(FLOOR), which the next layer's bias holds: a pass less, and a faster function
        ratios = torch.log1p(magnitudes / (unit * FLOOR).clamp_min(torch.finfo(torch.float32).tiny))
        gain = self.gain(layers.hidden(ratios)).clamp(*GAIN)
        return spread(unit * gain.exp(), self.pattern.exp(), self.config.factor)


def spread(coarse: Tensor, shares: Tensor, factor: int) -> Tensor:
    """Give each of the ``factor * factor`` fine cells of a coarse one ``(n, 1, y, x)`` its share of the value."""
    n, _, rows, columns = coarse.shape
    wide = coarse[..., None].expand(-1, -1, -1, -1, factor).reshape(n, 1, rows, 1, columns * factor)
    pattern = shares.reshape(factor, factor).repeat(1, columns)  # a row of the fine grid each: long runs in memory
    return (wide * pattern).reshape(n, 1, rows * factor, columns * factor)


def means_around(x: Tensor, radii: Sequence[int], rows: int) -> Iterator[Tensor]:
    """Yield means over ``2 * radius + 1`` cells along both axes, for the middle `rows` rows and as many columns less.

    Sums over few neighbours that are repeated at growing distances: 9 cells are 3 times 3, four additions. Those of a
    smaller radius before are a step on the way where its cells go into the larger one's.
    """
    x = cut(x, (x.shape[-2] - rows) // 2 - max(radii))
    sums, width = x, 1
    for radius in radii:
        count = 2 * radius + 1
        if count % width:
            sums, width = x, 1
        while width < count:
            few = next(n for n in range(3, count + 1, 2) if count // width % n == 0)
            sums, width = _add_neighbours(sums, few, width), width * few
        yield cut(sums, (sums.shape[-2] - rows) // 2) / count**2


def _add_neighbours(x: Tensor, count: int, step: int) -> Tensor:
    """Add up so many cells along both axes, `step` apart, for all but the outer ones."""
    for axis in (-2, -1):
        length = x.shape[axis] - (count - 1) * step
        x, *others = (x.narrow(axis, number * step, length) for number in range(count))
        x = x + others[0]
        for other in others[1:]:
            x += other
    return x


def section_of(head: ErrorHead, facts: dict[str, Any]) -> Section:
    """Return the head as a section of a checkpoint, with what is known of its training and its calibration."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in head.state_dict().items()}
    return Section({"sizes": asdict(head.sizes), **facts}, arrays)


def head_of(checkpoint: Checkpoint) -> ErrorHead | None:
    """Build the head that a checkpoint holds; None if it holds none.

    Raises
    ------
    ModelError
        If it does not fit its description or the network.
    """
    section = checkpoint.sections.get(EXPECTED_ERROR)
    if section is None:
        return None
    try:
        head = ErrorHead(checkpoint.config, ErrorConfig.from_dict(section.values.get("sizes", {})))
        head.load_state_dict({name: torch.from_numpy(array) for name, array in section.arrays.items()})
    except (ConfigError, RuntimeError, AttributeError, TypeError) as error:
        shown = printable(checkpoint.path.name)
        raise ModelError(f"the expected error of {shown} does not fit its network ({printable(error)})") from None
    return head.eval().requires_grad_(False)
