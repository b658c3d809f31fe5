"""Sizes and forms of the network; no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from geofsrcnn.errors import ConfigError, printable
from geofsrcnn.options import FACTORS, is_share

DEFAULT_FACTOR = 3
"""Factor where none is asked for."""

SIZES = {
    "factor": (FACTORS[0], FACTORS[-1]),
    "channels": (1, 256),
    "inputs": (0, 4096),
    "d": (1, 256),
    "s": (1, 64),
    "m": (1, 16),
    "feature_kernel": (3, 15),
    "mapping_kernel": (1, 9),
    "deconvolution_taps": (1, 9),
    "skip_kernel": (3, 31),
}
"""Smallest and largest sizes of networks."""

ROUGHNESS_RADIUS = 4
"""Coarse cells around a cell over which the roughness of each band of a joint network is averaged, at least."""

TORCH_PADDING = {"replicate": "replicate", "zeros": "constant", "reflect": "reflect"}
"""Values of `FSRCNNConfig.padding` as PyTorch calls them."""

NUMPY_PADDING = {**TORCH_PADDING, "replicate": "edge"}
"""The same as NumPy and ONNX call them."""

_ODD = ("feature_kernel", "mapping_kernel", "deconvolution_taps", "skip_kernel")


@dataclass(frozen=True)
class FSRCNNConfig:
    """Sizes and forms of the network; the defaults are ``default``, the article's sizes.

    Parameters
    ----------
    factor : int
        Fine cells along one side of a coarse cell, 2 to 8.
    channels : int
        Bands in and out.
    inputs : int
        Bands in where they are others than those out (networks of pairs); 0 where they are the same.
    d, s, m : int
        The paper's sensitive variables: feature channels, channels after shrinking, mapping layers. With `joint` each
        band has an equal part of the feature channels.
    feature_kernel, mapping_kernel : int
        Odd kernel sizes (the paper's: 5 and 3).
    deconvolution_taps : int
        Odd ``t``; the deconvolution's kernel is ``t * factor`` wide, which keeps it centred.
    bias : bool
        Biases in every layer (the paper's form); not with `unit_free`.
    prelu : {"layer", "channel"}
        One slope a layer, fused into the convolution on CPUs, or one a channel, the paper's.
    mapping_prelu : {"each", "last"}
        PReLU after each mapping convolution or after the last (the article's form).
    unit_free : bool
        First layer blind to planes, so that units and offsets do not matter.
    skip : {"learned", "cubic", "none"}
        Interpolation beside the network: a learned filter bank that starts as lanczos3 with
        back-projection, fixed cubic convolution (a = -0.5), or none (the paper's form).
    skip_kernel : int
        Odd size of the learned skip's filters.
    conserving : {"mean", "positive", "none"}
        Block means equal the coarse cells; ``positive`` also keeps values at or above zero.
    overshoot : float, optional
        Share of the range of the 3 x 3 coarse cells around, 0 to 1, by which fine values may leave it; no limit if not
        given.
    padding : {"replicate", "zeros", "reflect"}
        Values beyond the raster's edge.
    pad_layers : bool
        Pad at every layer, as the article does, rather than once at the input; whole image only.
    joint : bool
        Bands help each other, each in units of its own: only with several, and with `unit_free`.

    Raises
    ------
    ConfigError
        If a value is out of bounds or a combination makes no sense.
    """

    factor: int = DEFAULT_FACTOR
    channels: int = 1
    inputs: int = 0
    d: int = 64
    s: int = 32
    m: int = 4
    feature_kernel: int = 5
    mapping_kernel: int = 3
    deconvolution_taps: int = 3
    bias: bool = False
    prelu: Literal["layer", "channel"] = "layer"
    mapping_prelu: Literal["each", "last"] = "each"
    unit_free: bool = True
    skip: Literal["learned", "cubic", "none"] = "learned"
    skip_kernel: int = 9
    conserving: Literal["mean", "positive", "none"] = "mean"
    overshoot: float | None = None
    padding: Literal["replicate", "zeros", "reflect"] = "replicate"
    pad_layers: bool = False
    joint: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in SIZES.items():
            value = getattr(self, name)
            check_size(name, value, low, high)
            if name in _ODD and value % 2 == 0:
                raise ConfigError(f"{name} must be odd, got {value}")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name in ("bias", "unit_free", "pad_layers", "joint"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if self.overshoot is not None and not is_share(self.overshoot):
            raise ConfigError(f"overshoot must be a number from 0 to 1, or None, got {self.overshoot!r}")
        if self.bias and self.unit_free:
            raise ConfigError("biases carry units: bias=True needs unit_free=False")
        self._check_joint()
        if self.inputs and (self.unit_free or self.skip != "none" or self.conserving != "none"):
            raise ConfigError("inputs of other bands need unit_free=False, skip='none' and conserving='none'")
        if self.inputs and self.overshoot is not None:
            raise ConfigError("inputs of other bands set no range that overshoot could keep to")
        if self.pad_layers and (self.unit_free or self.skip != "none"):
            raise ConfigError("pad_layers is the article's form: it needs unit_free=False, skip='none'")

    def _check_joint(self) -> None:
        if self.joint and self.channels == 1:
            raise ConfigError("joint=True is for two bands or more that help each other, there is 1")
        if self.joint and not self.unit_free:
            raise ConfigError("bands help each other each in its own units: joint=True needs unit_free=True")
        if self.joint and self.d % self.channels:
            raise ConfigError(f"d must be a multiple of the {self.channels} bands with joint=True, got {self.d}")

    @property
    def network_halo(self) -> int:
        """Coarse cells that the hourglass reaches on each side."""
        if self.pad_layers:
            return 0
        mapping = self.m * (self.mapping_kernel - 1) // 2
        first = self.roughness_radius if self.joint else (self.feature_kernel - 1) // 2
        return first + mapping + (self.deconvolution_taps - 1) // 2

    @property
    def roughness_radius(self) -> int:
        """Coarse cells that the roughness of a joint network's band reaches on each side; no fewer than a feature."""
        return max(ROUGHNESS_RADIUS, (self.feature_kernel - 1) // 2)

    @property
    def skip_halo(self) -> int:
        """Coarse cells that the skip reaches on each side."""
        return {"learned": (self.skip_kernel - 1) // 2, "cubic": 2, "none": 0}[self.skip]

    @property
    def halo(self) -> int:
        """Coarse cells that an output depends on around its own cell.

        Examples
        --------
        >>> FSRCNNConfig().halo
        7
        """
        return max(self.network_halo, self.skip_halo)

    @property
    def operations(self) -> int:
        """Multiply-adds of the hourglass for a coarse cell of all bands; skip, roughness and halo not counted.

        Examples
        --------
        >>> FSRCNNConfig().operations
        47744
        """
        c, d, s = self.channels, self.d, self.s
        given = self.inputs or (1 if self.joint else c)
        mapping = self.m * s * s * self.mapping_kernel**2
        last = d * c * self.factor**2 * self.deconvolution_taps**2
        return given * d * self.feature_kernel**2 + d * s + mapping + s * d + last

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, for a checkpoint's card.

        Returns
        -------
        dict
            The value of each parameter, by its name; ``joint`` only where it is set, so that files of other networks
            stay what they are.
        """
        values = dataclasses.asdict(self)
        return values if self.joint else {name: value for name, value in values.items() if name != "joint"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FSRCNNConfig:
        """Build a configuration from plain values.

        Parameters
        ----------
        values : dict
            Values by the names of parameters; the defaults hold for the others.

        Returns
        -------
        FSRCNNConfig
            The configuration with these values.

        Raises
        ------
        ConfigError
            If a name is unknown, a value is out of bounds or a combination makes no sense.
        """
        check_keys(cls, values)
        return cls(**values)


def check_size(name: str, value: object, low: int, high: int) -> None:
    """Refuse a size of a network that is no whole number within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(f"{name} must be a whole number from {low} to {high}, got {value!r}")


def check_keys(config: type, values: Mapping[str, Any]) -> None:
    """Refuse values that a configuration has no parameter for."""
    if unknown := sorted(set(values) - {field.name for field in dataclasses.fields(config)}):
        raise ConfigError(f"unknown configuration keys: {printable(', '.join(unknown))}")


CHOICES: dict[str, tuple[str, ...]] = {
    "prelu": ("layer", "channel"),
    "mapping_prelu": ("each", "last"),
    "skip": ("learned", "cubic", "none"),
    "conserving": ("mean", "positive", "none"),
    "padding": ("replicate", "zeros", "reflect"),
}
"""Fields of a configuration that take one of a few words."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {"d": 64, "s": 32, "m": 4},
    "small": {"d": 32, "s": 5, "m": 1},
    "large": {"d": 64, "s": 48, "m": 12},
    "paper": {
        "d": 56,
        "s": 12,
        "m": 4,
        "bias": True,
        "prelu": "channel",
        "unit_free": False,
        "skip": "none",
        "conserving": "none",
        "padding": "zeros",
    },
}
"""Sizes by name: the article's, the paper's FSRCNN-s, four times the article's operations, the paper's own form."""


WIDENED = 1.1
"""Operations a band of a joint network over those of the network of one band that it is widened from, at most."""


def widen(sizes: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """Return sizes of a joint network with about as many operations a band as a network of one band has.

    Parameters
    ----------
    sizes : mapping
        ``factor``, ``d``, ``s`` and others of a network of one band.
    channels : int
        Bands together.

    Examples
    --------
    >>> widen({"factor": 3, "d": 64, "s": 32, "m": 4}, 4)
    {'factor': 3, 'd': 128, 's': 64, 'm': 4, 'channels': 4, 'joint': True}
    """
    most = WIDENED * channels * FSRCNNConfig.from_dict(dict(sizes)).operations
    width = math.sqrt(channels)
    while True:
        each = min(round(sizes["d"] * width / channels), SIZES["d"][1] // channels)
        s = min(round(sizes["s"] * width), SIZES["s"][1])
        wide = {**sizes, "d": channels * max(each, 1), "s": max(s, 1), "channels": channels, "joint": True}
        if FSRCNNConfig.from_dict(wide).operations <= most or width < 1:
            return wide
        width *= 0.98
