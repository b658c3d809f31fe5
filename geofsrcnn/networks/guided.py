"""A second network that corrects a first one by a finer guide.

The first network makes the coarse field finer by itself. The second sees the same local differences of the field, what
the first one added to each block, and what a guide tells by local regression (`geofsrcnn.networks.guidance`); it is an
FSRCNN in its stages, gives a correction of each block, and block means are taken out of it. All that it sees is in
units of the field, and it has no biases: ``U(a X + b, G) = a U(X, G) + b``, whatever the guide's units are. A field
that is a plane under a guide that is one comes out as that plane. Cells without a guide keep what the first network
gives.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geofsrcnn.errors import ConfigError, ModelError, UsageError, printable
from geofsrcnn.networks.card import is_shipped
from geofsrcnn.networks.catalog import GUIDED_REFUSALS, Model
from geofsrcnn.networks.checkpoint import GUIDED, Checkpoint, Section, load_checkpoint
from geofsrcnn.networks.config import SIZES, check_keys, check_size
from geofsrcnn.networks.fsrcnn import FIRST_WEIGHT, activate, blind_to_planes, differences, on_differences
from geofsrcnn.networks.guidance import INTERPOLATION, RADII, GuideBlock, regress
from geofsrcnn.networks.inference import Classical, Upsampler
from geofsrcnn.networks.limits import cut

FEATURE_KERNEL, DETAILS_KERNEL, MAPPING_KERNEL, LAST_KERNEL = 5, 3, 3, 3
"""Coarse cells along one side of the convolutions: of the field, of what is told of blocks, within, and the last."""

FIRST_SHARE = 0.7
"""Share of what the middle window tells that an untrained network adds."""


@dataclass(frozen=True)
class GuidedConfig:
    """Sizes of the correcting network.

    Parameters
    ----------
    factor : int
        Fine cells along one side of a coarse cell.
    d, s, m : int
        Feature channels, channels after shrinking, mapping layers, as of `FSRCNNConfig`.

    Raises
    ------
    ConfigError
        If one is out of bounds.
    """

    factor: int
    d: int = 32
    s: int = 16
    m: int = 2

    def __post_init__(self) -> None:
        for name in ("factor", "d", "s", "m"):
            check_size(name, getattr(self, name), *SIZES[name])

    @property
    def halo(self) -> int:
        """Coarse cells that the network reaches on each side of what it sees."""
        return _reach(FEATURE_KERNEL) + self.m * _reach(MAPPING_KERNEL) + _reach(LAST_KERNEL)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> GuidedConfig:
        """Build a configuration from plain values; a ConfigError says what is unknown or out of bounds."""
        check_keys(cls, values)
        return cls(**values)


def _reach(kernel: int) -> int:
    """Cells around its own that a convolution sees."""
    return (kernel - 1) // 2


@dataclass(frozen=True)
class Evidence:
    """All that the correcting network sees, in units of the field.

    Parameters
    ----------
    coarse : Tensor (n, 1, y, x)
        Coarse values; nothing but their differences counts.
    added : Tensor (n, factor * factor, y, x), float32
        What the first network adds to the coarse value in each fine cell.
    beyond : Tensor (n, factor * factor, y, x), float32
        What of it is beyond interpolation, which makes planes of planes.
    details : Tensor (n, factor * factor * windows, y, x), float32
        What the guide tells by regression within each window.
    """

    coarse: Tensor
    added: Tensor
    beyond: Tensor
    details: Tensor

    def to(self, device: torch.device) -> Evidence:
        """The same on a device."""
        return Evidence(*(getattr(self, each.name).to(device) for each in fields(self)))


class Correction(nn.Module):
    """The correcting network.

    Parameters
    ----------
    config : GuidedConfig
        Its sizes.
    """

    def __init__(self, config: GuidedConfig) -> None:
        super().__init__()
        self.config = config
        d, s, block = config.d, config.s, config.factor**2

        def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, bias=False)

        self.feature = convolution(1, d, FEATURE_KERNEL)
        self.details = convolution(block * (1 + len(RADII)), d, DETAILS_KERNEL)
        self.shrink = convolution(d, s, 1)
        self.mapping = nn.ModuleList(convolution(s, s, MAPPING_KERNEL) for _ in range(config.m))
        self.expand = convolution(s, d, 1)
        self.deconvolution = convolution(d, block, LAST_KERNEL)
        self.skip = convolution(block * len(RADII), block, 1)
        self.slopes = nn.Parameter(torch.full((config.m + 3,), 0.25))
        self._start_from_regression()

    @property
    def digest(self) -> str:
        """Hash of sizes and weights."""
        found = hashlib.sha256(repr(self.config).encode())
        for name, tensor in self.state_dict().items():
            found.update(name.encode() + tensor.cpu().numpy().tobytes())
        return found.hexdigest()

    @torch.no_grad()
    def _start_from_regression(self) -> None:
        """Let an untrained network add a share of what the middle window tells, and little else."""
        if self.skip.weight.is_meta:
            return
        block = self.config.factor**2
        self.deconvolution.weight *= FIRST_WEIGHT
        self.skip.weight.zero_()
        middle = block * (len(RADII) // 2)
        self.skip.weight[:, middle : middle + block, 0, 0] = FIRST_SHARE * torch.eye(block)

    def forward(self, seen: Evidence) -> Tensor:
        """Correct each block.

        Parameters
        ----------
        seen : Evidence
            With the halo around.

        Returns
        -------
        Tensor (n, factor * factor, y, x), float32
            To be added to what the first network gives; 0 on average over each block.
        """
        halo = self.config.halo
        local = on_differences(blind_to_planes(self.feature.weight))
        hidden = F.conv2d(differences(seen.coarse, torch.float32), local)
        beyond = _reach(FEATURE_KERNEL) - _reach(DETAILS_KERNEL)
        hidden = hidden + self.details(cut(torch.cat([seen.details, seen.beyond], 1), beyond))
        hidden = activate(hidden, self.slopes[0])
        for number, layer in enumerate((self.shrink, *self.mapping, self.expand), 1):
            hidden = activate(layer(hidden), self.slopes[number])
        found: Tensor = self.deconvolution(hidden) + self.skip(cut(seen.details, halo))
        return found - found.mean(1, keepdim=True)


def only_regression(config: GuidedConfig) -> Correction:
    """Return a correcting network that adds what the middle window tells, and nothing else."""
    correction = Correction(config)
    with torch.no_grad():
        share = correction.skip.weight / FIRST_SHARE
        for weight in correction.parameters():
            weight.zero_()
        correction.skip.weight.copy_(share)
    return correction


class Guided:
    """A network and its correction, ready for inference; without a guide, the network alone.

    Safe to share between threads.

    Parameters
    ----------
    first : Upsampler
        Of one band, not limited in its overshoot: a guide may show what stands out.
    correction : Correction
        Copied.
    device : str
        Where the correction is computed.
    """

    channels = 1
    joint = False
    whole_field = False
    gives_error = False
    overshoot = None

    def __init__(self, first: Upsampler, correction: Correction, device: str = "cpu") -> None:
        self.first = first.limit(None)
        self.factor, self.padding, self.unit_free = first.factor, first.padding, first.unit_free
        self.conserving = first.conserving
        self.device = torch.device(device)
        self.correction = copy.deepcopy(correction).to(self.device).eval().requires_grad_(False)
        self.interpolation = Classical(INTERPOLATION, first.factor)
        self.halo = correction.config.halo + self.reach

    @property
    def reach(self) -> int:
        """Coarse cells that the evidence of a cell depends on around it."""
        return max(self.first.halo, self.interpolation.halo, *RADII)

    def limit(self, overshoot: float | None) -> Self:
        """The same, which has no limit; a UsageError if one is given."""
        if overshoot is not None:
            raise UsageError(GUIDED_REFUSALS["overshoot"])
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """The first network alone, ``(n, 1, y + 2 halo, x + 2 halo)`` to ``(n, 1, f y, f x)``."""
        return self.first(cut(x, self.halo - self.first.halo))

    def with_error(self, _: Tensor, /) -> tuple[Tensor, Tensor]:
        """Refuse: nobody has taught it how wrong it is."""
        raise ModelError(GUIDED_REFUSALS["error"])

    def guided(self, x: Tensor, guide: GuideBlock, valid: Tensor) -> Tensor:
        """Upscale one band by a guide.

        Parameters
        ----------
        x : Tensor (1, 1, y + 2 halo, x + 2 halo)
            Coarse values with the halo around them.
        guide : GuideBlock
            On the same cells.
        valid : Tensor (y + 2 halo, x + 2 halo) of bool
            Cells with a value of their own: no filled or repeated ones.

        Returns
        -------
        Tensor (1, 1, factor * y, factor * x), the type of `x`
        """
        usable = cut(guide.usable, self.halo)
        if not usable.any():
            return self(x)
        with torch.inference_mode():
            seen = self.gather(x, guide, valid)
            found = self.correction(seen.to(self.device)).to(x.device)
            added = cut(seen.added, self.correction.config.halo)
            blocks = (added + torch.where(usable, found, 0.0)).to(x.dtype)
            if self.conserving:
                blocks = blocks - blocks.mean(1, keepdim=True)
            return F.pixel_shuffle(blocks + cut(x, self.halo), self.factor)

    def gather(self, x: Tensor, guide: GuideBlock, valid: Tensor) -> Evidence:
        """Gather what the correcting network sees.

        Parameters
        ----------
        x : Tensor (1, 1, y + 2 reach, x + 2 reach)
            Coarse values.
        guide : GuideBlock
            On the same cells.
        valid : Tensor (y + 2 reach, x + 2 reach) of bool
            Cells with a value of their own.

        Returns
        -------
        Evidence
            Of the inner ``(y, x)`` cells.
        """
        reach, core = self.reach, cut(x, self.reach)
        found, plain = (
            (F.pixel_unshuffle(method(cut(x, reach - method.halo)), self.factor) - core).float()
            for method in (self.first, self.interpolation)
        )
        values = x[0, 0].double()
        values = values - values[valid].mean() if valid.any() else values
        weights = (valid & guide.usable).double()
        details = [
            regress(cut(values, reach - r), _cut_guide(guide, reach - r), cut(weights, reach - r), r) for r in RADII
        ]
        return Evidence(core, found, found - plain, torch.cat(details)[None].float())


def _cut_guide(guide: GuideBlock, cells: int) -> GuideBlock:
    return GuideBlock(cut(guide.means, cells), cut(guide.details, cells), cut(guide.usable, cells))


def section_of(correction: Correction, facts: dict[str, Any]) -> Section:
    """Return a correcting network as a section of a checkpoint, with what is known of its training."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in correction.state_dict().items()}
    sizes = {name: value for name, value in asdict(correction.config).items() if name != "factor"}
    return Section({**facts, "sizes": sizes}, arrays)


def correction_of(checkpoint: Checkpoint) -> Correction | None:
    """Build the correcting network that a checkpoint holds; None if it holds none.

    Raises
    ------
    ModelError
        If it does not fit its description or the network.
    """
    section = checkpoint.sections.get(GUIDED)
    if section is None:
        return None
    try:
        sizes = section.values.get("sizes", {})
        correction = Correction(GuidedConfig.from_dict({**sizes, "factor": checkpoint.config.factor}))
        correction.load_state_dict({name: torch.from_numpy(array) for name, array in section.arrays.items()})
    except (ConfigError, RuntimeError, AttributeError, TypeError) as error:
        shown = printable(checkpoint.path.name)
        raise ModelError(f"the guided network of {shown} does not fit ({printable(error)})") from None
    return correction.eval().requires_grad_(False)


def known_correction(model: Model) -> Correction | None:
    """Return the correcting network of a model's file, or that of ``default``; None where neither holds one."""
    found = None if model.checkpoint is None else correction_of(model.checkpoint)
    if found is None and is_shipped("default", model.factor):
        found = correction_of(load_checkpoint("default", model.factor))
    return found


def guided_model(model: Model, correction: Correction | None = None) -> Model:
    """Return a model that follows a guide where one is given.

    Parameters
    ----------
    model : Model
        A network or a classical method of one band.
    correction : Correction, optional
        The correcting network; if not given that of the model's file or of the shipped ``default``, else an untrained
        one, which follows the middle regression.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If the model repeats cells, was trained on pairs or has several bands.
    """
    first = model.upsampler
    if isinstance(first, Guided):
        if correction is None:
            return model
        first = first.first
    if first is None or model.of_pairs or first.channels != 1 or first.whole_field or not first.unit_free:
        raise ModelError(f"model {model.name} cannot follow a guide: take a shipped network (default)")
    if correction is None:
        correction = known_correction(model)
    if correction is None:
        torch.manual_seed(0)
        correction = Correction(GuidedConfig(model.factor))
    return replace(model, members=(Guided(first, correction, model.device),))
