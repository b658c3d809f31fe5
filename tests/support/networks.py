"""Networks with random weights."""

from __future__ import annotations

import torch
from torch import Tensor

from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.expected_error import ErrorConfig, ErrorHead
from geofsrcnn.networks.fsrcnn import FSRCNN

TINY = {"d": 8, "s": 4, "m": 1}

FREE = {"unit_free": False, "skip": "none"}
VARIANTS = {
    "default sizes": PRESETS["default"],
    "small sizes": PRESETS["small"],
    "paper": PRESETS["paper"],
    "article": {"pad_layers": True, "mapping_prelu": "last", "conserving": "none", **FREE},
    "article, three bands": {"pad_layers": True, "channels": 3, "conserving": "none", **FREE},
    "article, reflecting": {"pad_layers": True, "padding": "reflect", "conserving": "none", **FREE},
    "article, zeros": {"pad_layers": True, "padding": "zeros", "bias": True, **FREE},
    "slope a channel": {"prelu": "channel"},
    "slope after the last": {"mapping_prelu": "last", "m": 3},
    "slope a channel after the last": {"mapping_prelu": "last", "prelu": "channel", "m": 2},
    "biases": {"bias": True, "unit_free": False},
    "biases, slope a channel": {"bias": True, "unit_free": False, "prelu": "channel", "skip": "none"},
    "cubic skip": {"skip": "cubic"},
    "no skip": {"skip": "none"},
    "no skip, not conserving": {"skip": "none", "conserving": "none"},
    "not conserving": {"conserving": "none"},
    "positive": {"conserving": "positive"},
    "positive, cubic skip": {"conserving": "positive", "skip": "cubic", "factor": 2},
    "zeros": {"padding": "zeros", "factor": 2},
    "reflect": {"padding": "reflect", "factor": 4},
    "three bands": {"channels": 3},
    "three bands, cubic skip, positive": {"channels": 3, "skip": "cubic", "conserving": "positive"},
    "three bands, no skip": {"channels": 3, "skip": "none", "factor": 2},
    "joint": {"channels": 2, "joint": True},
    "joint, slope a channel, positive": {
        "channels": 4,
        "joint": True,
        "prelu": "channel",
        "conserving": "positive",
        "factor": 2,
    },
    "joint, no skip, not conserving": {"channels": 4, "joint": True, "skip": "none", "conserving": "none"},
    "joint, large kernels": {"channels": 2, "joint": True, "feature_kernel": 11, "factor": 2},
    "wide skip": {"skip_kernel": 15},
    "one tap": {"deconvolution_taps": 1},
    "five taps": {"deconvolution_taps": 5, "factor": 2},
    "large kernels": {"feature_kernel": 7, "mapping_kernel": 5},
}
"""Forms of the network."""


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
