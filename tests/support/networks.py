"""Networks with random weights."""

from __future__ import annotations

import torch
from torch import Tensor

from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.expected_error import ErrorConfig, ErrorHead
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


def deconvolution_to_subpixel(weight: Tensor, factor: int) -> Tensor:
    """A centred transposed convolution's weight as that of a convolution before a pixel shuffle (Shi et al. 2016).

    Parameters
    ----------
    weight : Tensor (d, c, t * factor, t * factor)
        Of ``ConvTranspose2d(d, c, t * factor, stride=factor, padding=(t - 1) * factor // 2)``, t odd.
    factor : int
        The stride.

    Returns
    -------
    Tensor (c * factor * factor, d, t, t)
    """
    d, c, k, _ = weight.shape
    t = k // factor
    taps = weight.reshape(d, c, t, factor, t, factor).flip(2, 4)
    return taps.permute(1, 3, 5, 0, 2, 4).reshape(c * factor * factor, d, t, t)


def random_head(config: FSRCNNConfig, seed: int = 0, **sizes: int) -> ErrorHead:
    """A head of expected errors, every weight drawn."""
    torch.manual_seed(seed)
    head = ErrorHead(config, ErrorConfig(**sizes))
    with torch.no_grad():
        head.gain.weight.normal_(0, 0.1)
        head.hidden.bias.normal_(0, 0.2)
    return head.eval().requires_grad_(False)
