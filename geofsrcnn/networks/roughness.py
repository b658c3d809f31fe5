"""Local roughness of each band: the unit in which the bands of a joint network meet.

The roughness of a band at a cell is the mean absolute second difference in a window around it. A multiple of the band
has that multiple of it, a plane that is added to the band does not enter, and nothing beyond the window does. A feature
that is blind to planes is a sum of second differences, so divided by the roughness it is bounded. On a plane both are
nothing but rounding: there the slope, the mean absolute first difference, keeps the ratio small, and what the other
bands say of a plane is multiplied by 0.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1 / 32
"""Part of the slope that is added to the roughness before it divides: rounding stays a thousand times below it."""


def zero_unknown(local: Tensor) -> Tensor:
    """Differences from or to a cell that nothing is known of (NaN) are 0: it says nothing."""
    return local.masked_fill(local.isnan(), 0.0)


def roughness(local: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Roughness of each band within windows of ``2 * radius + 1`` cells along both axes, and a divisor beside it.

    Parameters
    ----------
    local : Tensor (n, 2 c, y + 2 * radius, x + 2 * radius)
        Differences, as `geofsrcnn.networks.fsrcnn.differences` gives them.
    radius : int
        Cells around a cell.

    Returns
    -------
    tuple of Tensor (n, c, y, x), float32
        0 on planes but for rounding; 0 where a window is flat.
    """
    cells = 2 * radius + 1
    x, y = local[:, ::2, :, :-1].float(), local[:, 1::2, :-1].float()  # the last ones have no neighbour
    slopes = (x, y)
    curves = (x[..., 1:] - x[..., :-1], y[..., 1:, :] - y[..., :-1, :], x[..., 1:, :] - x[..., :-1, :])
    rows, columns = (local.shape[axis] - cells for axis in (-2, -1))
    rough, slope = (
        torch.stack([_mean(each.abs(), (each.shape[-2] - rows, each.shape[-1] - columns)) for each in group]).mean(0)
        for group in (curves, slopes)
    )
    return rough, rough + FLOOR * slope


def _mean(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Means over windows, one axis after the other."""
    return F.avg_pool2d(F.avg_pool2d(x, (1, window[1]), 1), (window[0], 1), 1)


def divide(features: Tensor, unit: Tensor) -> Tensor:
    """Divide the channels ``(n, c * k, y, x)`` of each band by its unit; 0 where that is 0."""
    known = unit >= torch.finfo(torch.float32).tiny
    return multiply(features, torch.where(known, unit, 1.0).reciprocal() * known)


def multiply(x: Tensor, unit: Tensor) -> Tensor:
    """Multiply the channels ``(n, c * k, y, x)`` of each band by its unit, the type of `x`."""
    bands: Tensor = x.unflatten(1, (unit.shape[1], -1))  # type: ignore[no-untyped-call]
    return (bands * unit.unsqueeze(2)).flatten(1, 2).to(x.dtype)
