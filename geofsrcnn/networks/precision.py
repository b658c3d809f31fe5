"""The arithmetic that a device computes a network in."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn.functional import conv2d

PROBE_SECONDS = 0.2
"""Both candidates together are timed for so long, after a first call of each."""

WORTH = 0.9
"""Share of float32's time that bfloat16 may take to be chosen."""


def resolve_precision(precision: str, device: str) -> str:
    """Return ``float32`` or ``bfloat16``, for ``auto`` the faster one on a device."""
    return _fastest(device) if precision == "auto" else precision


@cache
def _fastest(device: str) -> str:
    """Time a convolution as most of ``default``'s work is, by turns; bfloat16 if it is faster by a tenth or more.

    Processors without instructions for bfloat16 emulate it, which takes many times as long.
    """
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    with torch.inference_mode():
        inputs = {
            kind: (
                torch.ones(1, 32, 128, 128, dtype=kind, device=device).to(memory_format=torch.channels_last),
                torch.ones(32, 32, 3, 3, dtype=kind, device=device).to(memory_format=torch.channels_last),
            )
            for kind in best
        }
        for x, weight in inputs.values():  # the first call prepares the second
            conv2d(x, weight)
        end = time.perf_counter() + PROBE_SECONDS
        while time.perf_counter() < end:
            for kind, (x, weight) in inputs.items():
                start = time.perf_counter()
                conv2d(x, weight)
                if x.is_cuda:
                    torch.cuda.synchronize(x.device)
                best[kind] = min(best[kind], time.perf_counter() - start)
    return "bfloat16" if best[torch.bfloat16] < WORTH * best[torch.float32] else "float32"
