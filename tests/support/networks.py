"""Networks with random weights."""

from __future__ import annotations

import torch

from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN

TINY = {"d": 8, "s": 4, "m": 1}


def random_model(seed: int = 0, **config: object) -> FSRCNN:
    """A network whose residual is as large as the field's own variation, every weight drawn."""
    torch.manual_seed(seed)
    model = FSRCNN(FSRCNNConfig(**config))
    with torch.no_grad():
        if model.config.skip != "none":
            model.deconvolution.weight *= 100
        for name, weight in model.named_parameters():
            if "prelu" in name:
                weight.uniform_(0.05, 0.6)
            elif name.endswith("bias"):
                weight.normal_(0, 0.2)
            elif name == "skip":
                weight.add_(0.02 * torch.randn_like(weight))
    return model.eval().requires_grad_(False)
