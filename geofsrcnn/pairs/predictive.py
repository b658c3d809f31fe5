"""The network that gives distributions of targets about their means, and its section of a checkpoint.

Means are those of the networks of pairs, which stay as they are. This network, of the same form, takes the same input
and gives how far the truth may lie from them: of a Gaussian the logarithm of its standard deviation, of a
Bernoulli-gamma distribution (Cannon 2008) the logits of the chance of more than 0 and the logarithm of the shape. It is
trained by likelihood on times that the networks behind the means have not seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geofsrcnn._types import Array
from geofsrcnn.errors import ConfigError, ModelError, printable
from geofsrcnn.networks.checkpoint import Checkpoint, Section
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.pairs.distributions import BernoulliGamma, Distribution, Gaussian
from geofsrcnn.pairs.pairing import CLIMATOLOGY, Downscaled, Pairing, Target

DISTRIBUTION = "distribution"
"""Name of the section of a checkpoint that holds the network."""

GAUSSIAN, BERNOULLI_GAMMA = "gaussian", "bernoulli-gamma"

OUTPUTS = {GAUSSIAN: 1, BERNOULLI_GAMMA: 2}
"""Channels that each family takes."""

SHARPNESS = 16.0
"""Means below a tenth of a cell's average turn into small ones above 0; the larger, the fewer."""

LEAST = 1e-3
"""Smallest mean of amounts, of the cell's average."""

LOG_STD = (-5.0, 5.0)
"""Logarithm of the smallest and the largest standard deviation, of that of what the base leaves."""

CHANCES = (1e-4, 1 - 1e-4)

LOG_SHAPE = (-1.2, 2.0)
"""Logarithm of the smallest and the largest shape of the amounts: 0.3, as few amounts have less, and 7."""


@dataclass(frozen=True)
class Predictive:
    """A network that gives distributions, and of which family each target's is.

    Parameters
    ----------
    model : FSRCNN
        With `OUTPUTS` channels of each target, in their order.
    families : tuple of str
        Of the targets: "gaussian" or "bernoulli-gamma".
    wet : tuple of float or None
        Of the targets: the amount from which on a cell is wet, 0 for more than nothing; None where it is no amount.
    """

    model: FSRCNN
    families: tuple[str, ...]
    wet: tuple[float | None, ...]

    def distributions(self, outputs: Array, found: Downscaled, pairing: Pairing) -> list[Distribution]:
        """Return the distribution of each target, those about the results of all networks mixed.

        Parameters
        ----------
        outputs : ndarray (time, channel, Y, X)
            Of the network, on the padded grid.
        found : Downscaled
            Targets by the networks.
        pairing : Pairing
            Of the networks.
        """
        domain, about = pairing.domain, centres(found, self.families)
        distributions = list[Distribution]()
        for k, (target, family) in enumerate(zip(pairing.targets, self.families, strict=True)):
            own = domain.crop(outputs[:, channels_of(self.families)[k]])
            given = own, domain.crop(unit_of(target, family)), about[:, :, k]
            tensors = (torch.from_numpy(np.asarray(each, np.float64)) for each in given)
            parts = [part.numpy() for part in parameters(family, *tensors)]
            if family == GAUSSIAN:
                std = np.broadcast_to(parts[0], about[:, :, k].shape)
                distributions.append(Gaussian(about[:, :, k], std, target.limits).mix())
            else:
                distributions.append(BernoulliGamma(parts[0], parts[1], parts[2], target.limits[1]).mix())
        return distributions


def centres(found: Downscaled, families: Sequence[str]) -> Array:
    """Return what distributions lie about ``(network, time, target, y, x)``: results, of amounts below 0 as well."""
    of_amounts = np.array([family == BERNOULLI_GAMMA for family in families])
    result: Array = np.where(of_amounts[:, None, None], found.latents, found.members)
    return result


def family_of(target: Target, zeros: float) -> str:
    """Choose a family: Bernoulli-gamma for what has 0 as its smallest value, and this share of zeros or a few."""
    return BERNOULLI_GAMMA if target.limits[0] == 0 and zeros >= MANY_ZEROS else GAUSSIAN


MANY_ZEROS = 0.02
"""Share of zeros that tells amounts from other values that cannot be negative."""


def channels_of(families: Sequence[str]) -> list[slice]:
    """Channels of the network that belong to each target."""
    ends = np.cumsum([OUTPUTS[family] for family in families]).tolist()
    return [slice(end - OUTPUTS[family], end) for end, family in zip(ends, families, strict=True)]


def unit_of(target: Target, family: str) -> Array:
    """The unit ``(Y, X)`` that the network counts in: what the base leaves, or a cell's average; NaN where unseen."""
    if family == GAUSSIAN:
        return np.where(target.std > 0, target.std, np.nan)
    average = target.baselines[CLIMATOLOGY][1]
    known = np.isfinite(target.std) & np.isfinite(average)
    least = LEAST * max(float(average[known].mean()), float(np.finfo(np.float32).tiny)) if known.any() else 1.0
    result: Array = np.where(known, np.maximum(average, least), np.nan)
    return result


def parameters(family: str, outputs: Tensor, unit: Tensor, latents: Tensor) -> tuple[Tensor, ...]:
    """Turn what the network gives into parameters of a family.

    Parameters
    ----------
    family : str
        Of the target.
    outputs : Tensor (time, channel, y, x)
        The target's channels.
    unit : Tensor (y, x)
        Of `unit_of`.
    latents : Tensor (..., time, y, x)
        Means, negative where they would be without a limit at 0.

    Returns
    -------
    tuple of Tensor
        Standard deviation; or mean, chance and shape, as `BernoulliGamma` takes them.
    """
    if family == GAUSSIAN:
        return (unit * outputs[:, 0].clamp(*LOG_STD).exp(),)
    mean = F.softplus(SHARPNESS * latents / unit) / SHARPNESS + LEAST
    chance = torch.sigmoid(outputs[:, 0] + mean.log()).clamp(*CHANCES)
    return mean * unit, chance, outputs[:, 1].clamp(*LOG_SHAPE).exp().expand_as(mean)


def negative_log_likelihood(family: str, outputs: Tensor, unit: Tensor, latents: Tensor, truth: Tensor) -> Tensor:
    """Score outputs of the network by the truth ``(time, y, x)``, in units of `unit_of`, but for a constant."""
    parts = parameters(family, outputs, unit, latents)
    if family == GAUSSIAN:
        std = parts[0] / unit
        return std.log() + 0.5 * ((truth - latents) / (unit * std)).square()
    mean, chance, shape = parts
    scale = mean / (unit * chance * shape)
    amount = (truth / unit).clamp_min(LEAST / 10)
    density = (shape - 1) * amount.log() - amount / scale - torch.lgamma(shape) - shape * scale.log()
    return -torch.where(truth > 0, chance.log() + density, torch.log1p(-chance))


def pack_predictive(predictive: Predictive) -> Section:
    """Return the network as a section of a checkpoint."""
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in predictive.model.state_dict().items()}
    return Section({"families": list(predictive.families), "wet": list(predictive.wet)}, arrays)


def config_of(config: FSRCNNConfig, families: Sequence[str]) -> FSRCNNConfig:
    """Return the configuration of the network beside networks of another."""
    return FSRCNNConfig.from_dict({**config.to_dict(), "channels": sum(OUTPUTS[family] for family in families)})


def predictive_of(checkpoint: Checkpoint | None, pairing: Pairing) -> Predictive | None:
    """Build the network that a checkpoint of pairs holds; None if it holds none.

    Raises
    ------
    ModelError
        If it does not fit its description.
    """
    section = None if checkpoint is None else checkpoint.sections.get(DISTRIBUTION)
    if checkpoint is None or section is None:
        return None
    try:
        return _decode(section, checkpoint.config, pairing)
    except (ConfigError, KeyError, RuntimeError, TypeError, ValueError) as error:
        shown = printable(checkpoint.path.name)
        raise ModelError(f"the distribution of {shown} does not fit its networks ({printable(error)})") from None


def _decode(section: Section, config: FSRCNNConfig, pairing: Pairing) -> Predictive:
    families = tuple(map(str, section.values["families"]))
    wet = tuple(None if each is None else float(each) for each in section.values["wet"])
    if not len(families) == len(wet) == len(pairing.targets):
        raise ConfigError(f"{len(families)} distributions, {len(pairing.targets)} targets")
    for family, target, least in zip(families, pairing.targets, wet, strict=True):
        if family not in OUTPUTS or (family == BERNOULLI_GAMMA and target.limits[0] != 0):
            raise ConfigError(f"{family} of {target.name}")
        if least is not None and not 0 <= least < np.inf:
            raise ConfigError(f"wet from {least}")
    model = FSRCNN(config_of(config, families))
    model.load_state_dict({name: torch.from_numpy(array) for name, array in section.arrays.items()})
    return Predictive(model.eval().requires_grad_(False), families, wet)


def each_target(families: Sequence[str], outputs: Tensor) -> Iterator[tuple[int, str, Tensor]]:
    """Number, family and channels ``(time, channel, y, x)`` of each target."""
    for k, channels in enumerate(channels_of(families)):
        yield k, families[k], outputs[:, channels]
