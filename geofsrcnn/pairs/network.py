"""Networks of pairs: their section of a checkpoint, and what they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from geofsrcnn._types import Array
from geofsrcnn.errors import ConfigError, InputError, ModelError, printable
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.checkpoint import PAIRING, Checkpoint, Section
from geofsrcnn.pairs.distributions import Distribution
from geofsrcnn.pairs.pairing import Downscaled, Pairing
from geofsrcnn.pairs.predictive import DISTRIBUTION, Predictive, pack_predictive
from geofsrcnn.pairs.section import member_count, pack, shapes, unpack


def section_of(pairing: Pairing, predictive: Predictive | None = None) -> dict[str, Section]:
    """Return the sections of a checkpoint that `save_checkpoint` takes for networks of pairs."""
    beside = {} if predictive is None else {DISTRIBUTION: pack_predictive(predictive)}
    return {PAIRING: Section(*pack(pairing)), **beside}


def pairing_of(model: Model | Checkpoint) -> Pairing:
    """Return what stands around a network that was trained on pairs.

    Raises
    ------
    ModelError
        If it was not, or its section is damaged.
    """
    name, checkpoint = (model.name, model.checkpoint) if isinstance(model, Model) else (model.card.name, model)
    if checkpoint is None or not checkpoint.of_pairs:
        raise ModelError(f"model {printable(name)} was not trained on pairs: evaluate it on rasters (evaluate)")
    shown = printable(checkpoint.path.name)
    try:
        pairing = _decode(checkpoint.sections[PAIRING], len(checkpoint.members))
    except (KeyError, TypeError, ValueError, ConfigError, InputError) as error:
        raise ModelError(f"the model card of {shown} is damaged (pairing: {printable(error)})") from None
    config = checkpoint.config
    if pairing.channels != config.inputs or len(pairing.targets) != config.channels:
        found = f"{pairing.channels} channels for {config.inputs}"
        raise ModelError(f"the model card of {shown} is damaged (pairing: {found})")
    return pairing


def _decode(section: Section, members: int) -> Pairing:
    if {name: array.shape for name, array in section.arrays.items()} != shapes(section.values):
        raise ConfigError("arrays that do not fit the words")
    if member_count(section.values) != members:
        raise ConfigError(f"{members} networks")
    return unpack(section.values, section.arrays)


def downscale(
    networks: Sequence[Callable[[Tensor], Tensor]],
    pairing: Pairing,
    coarse: Array,
    partners: Array,
    days: Array,
    device: str,
) -> Downscaled:
    """Apply networks of pairs, each for itself.

    Parameters
    ----------
    networks : sequence of callable
        `Network` or FSRCNN, ``(n, c, y + 2 halo, x + 2 halo)`` to ``(n, c, f y, f x)``.
    pairing : Pairing
        What stands around them.
    coarse : ndarray (time, predictor, y + 2 halo, x + 2 halo)
        In the predictors' units.
    partners : ndarray (time, target, Y, X)
        On the padded fine grid.
    days : ndarray (time,)
        Of the year, from 0.
    device : str
        Of the networks.
    """
    halo = _halo_of(pairing, coarse)
    bases, inner = pairing.bases(partners), slice(halo, -halo or None)
    given = coarse[..., inner, inner].astype(np.float64)
    members, latents = [], []
    for residuals in run(networks, pairing, coarse, days, device):
        fine = pairing.finish(bases, residuals, given)
        members.append(fine)
        latents.append(fine + pairing.below_limits(bases, residuals))
    return Downscaled(np.stack(members), np.stack(latents))


def downscale_with_distributions(
    networks: Sequence[Callable[[Tensor], Tensor]],
    predictive: Predictive | None,
    pairing: Pairing,
    coarse: Array,
    partners: Array,
    days: Array,
    device: str,
) -> tuple[Downscaled, list[Distribution]]:
    """Apply networks of pairs, as `downscale`, and give the distributions about their mean, if there are any."""
    found = downscale(networks, pairing, coarse, partners, days, device)
    if predictive is None:
        return found, []
    (outputs,) = run([predictive.model], pairing, coarse, days, device)
    return found, predictive.distributions(outputs, found, pairing)


def run(
    networks: Sequence[Callable[[Tensor], Tensor]], pairing: Pairing, coarse: Array, days: Array, device: str
) -> list[Array]:
    """Run networks on the input that they all take: ``(time, channel, Y, X)`` of each, on the padded grid."""
    inputs = torch.from_numpy(pairing.inputs(coarse, days, _halo_of(pairing, coarse))).to(device)
    with torch.inference_mode():
        return [network(inputs).cpu().numpy().astype(np.float64) for network in networks]


def _halo_of(pairing: Pairing, coarse: Array) -> int:
    """Coarse cells around the grid in some fields."""
    halo: int = (coarse.shape[-1] - pairing.domain.padded[1] // pairing.factor) // 2
    return halo
