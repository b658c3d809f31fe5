"""Branches beside the mapping convolutions while a network trains, folded into them afterwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from geofsrcnn.networks.fsrcnn import FSRCNN


class _Branches(nn.Module):
    """A k x k convolution's weight plus a 1 x 1 one's plus the identity's: one weight, three ways to learn it."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        channels = weight.shape[0]
        self.point = nn.Parameter(torch.zeros(channels, channels))
        self.straight = nn.Parameter(torch.zeros(channels))

    def forward(self, weight: Tensor) -> Tensor:
        centre = weight.shape[-1] // 2
        added = self.point + torch.diag(self.straight)
        return weight + nn.functional.pad(added[:, :, None, None], [centre] * 4)


def add_branches(model: FSRCNN) -> None:
    """Let the mapping convolutions of a network train with branches beside them."""
    for layer in model.mapping:
        parametrize.register_parametrization(layer, "weight", _Branches(layer.weight))  # type: ignore[arg-type]


def fold(model: FSRCNN) -> FSRCNN:
    """The plain network that gives the same: branches summed into single convolutions."""
    weights = {name: tensor for name, tensor in model.state_dict().items() if ".parametrizations." not in name}
    for i, layer in enumerate(model.mapping):
        weights[f"mapping.{i}.weight"] = layer.weight.detach()  # type: ignore[operator]
    plain = FSRCNN(model.config)
    plain.load_state_dict(weights)
    return plain
