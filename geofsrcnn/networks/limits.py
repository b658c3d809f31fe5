"""Limits of fine values, within which blocks keep their means.

*No surprises.* Of the 3 x 3 coarse cells around a block let `low` and `high` be the smallest and the largest value.
Fine values lie between ``low - k (high - low)`` and ``high + k (high - low)``, where k is the `overshoot` of the
network's configuration, or of a run. The coarse cell itself always does, so there is room to restore the mean. These
bounds count from the coarse cell: a multiple of the values has that multiple of them, and what is added to the values
does not enter. Coarse cells are those that the network sees: repeated beyond the edge, missing ones filled from their
neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

Bounds: TypeAlias = tuple[Tensor, Tensor]
"""Smallest and largest values."""


def cut(x: Tensor, cells: int) -> Tensor:
    """Cut so many cells off each side."""
    return x[..., cells : x.shape[-2] - cells, cells : x.shape[-1] - cells] if cells else x


def neighbour_bounds(x: Tensor, halo: int, overshoot: float) -> Bounds:
    """Bounds of fine values, as differences from the coarse cell that they lie in.

    Parameters
    ----------
    x : Tensor (n, c, y + 2 * halo, x + 2 * halo)
        Coarse values.
    halo : int
        Cells around; without any, the first and last ones are repeated.
    overshoot : float
        Share of the range of the 3 x 3 cells around by which it may be left.

    Returns
    -------
    tuple of Tensor (n, c, y, x)
        At or below 0, and at or above 0.
    """
    x = cut(x, halo - 1) if halo else F.pad(x, [1] * 4, mode="replicate")
    low, high, middle = _around(torch.minimum, x), _around(torch.maximum, x), cut(x, 1)
    spare = (high - low) * overshoot
    return (low - middle) - spare, (high - middle) + spare


def _around(choose: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> Tensor:
    """The smallest or largest of 3 x 3 cells, for all but the outer ones."""
    rows = choose(choose(x[..., :-2, :], x[..., 1:-1, :]), x[..., 2:, :])
    return choose(choose(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def limit_rows(blocks: Tensor, low: Tensor, high: Tensor, *, keep_means: bool) -> Tensor:
    """Clip blocks that leave their bounds; the others stay as they are, and cost next to nothing.

    Parameters
    ----------
    blocks : Tensor (n, y, x, c, f * f)
        Values of each block; of mean 0 where means are to be kept.
    low, high : Tensor (n, y, x, c)
        Bounds of each block.
    keep_means : bool
        Restore the means within the bounds.

    Returns
    -------
    Tensor (n, y, x, c, f * f)
    """
    rows, low, high = blocks.flatten(0, 3), low.flatten(), high.flatten()
    with torch.no_grad():
        across = rows.t().contiguous()  # many blocks at once in a vector
        outside = (across.amin(0) < low) | (across.amax(0) > high)
        (index,) = outside.nonzero(as_tuple=True)
    if not len(index):
        return blocks
    chosen, low, high = rows[index].t(), low[index], high[index]
    if keep_means:
        shape = (1, 1, -1, len(index), 1)
        zero = torch.zeros_like(low)
        kept = conserve(chosen.reshape(shape), *(each.reshape(1, 1, -1, 1) for each in (zero, low, high)))
        chosen = kept.reshape(-1, len(index))
    else:
        chosen = chosen.clamp(low, high)
    return rows.index_copy(0, index, chosen.t()).reshape(blocks.shape)


def limit_blocks(fine: Tensor, coarse: Tensor, low: Tensor, high: Tensor, *, keep_means: bool) -> Tensor:
    """Clip blocks that leave their bounds; the others stay as they are.

    Parameters
    ----------
    fine : Tensor (n, c, f * f, y, x)
        Values of each block.
    coarse : Tensor (n, c, y, x)
        Their means.
    low, high : Tensor (n, c, y, x)
        Bounds of each block.
    keep_means : bool
        Restore the means within the bounds.

    Returns
    -------
    Tensor (n, c, f * f, y, x)
    """
    lowest, highest = low.unsqueeze(2), high.unsqueeze(2)
    outside = ((fine < lowest) | (fine > highest)).any(2, keepdim=True)
    kept = conserve(fine, coarse, low, high) if keep_means else fine.clamp(lowest, highest)
    return torch.where(outside, kept, fine)


def conserve(fine: Tensor, coarse: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Clip fine values to a range and restore their blocks' means within it.

    What clipping adds to a block is taken from its other cells in proportion to their room, so none leaves
    the range. Cells whose coarse value lies at a bound or outside come out at that bound, exactly: no trace of rain
    is left in a dry cell. Fields of models of pairs follow the same rule (`geofsrcnn.pairs.statistics.with_means`).

    Parameters
    ----------
    fine : Tensor (n, c, f * f, y, x)
        Values of each block.
    coarse : Tensor (n, c, y, x)
        The means to keep.
    low, high : float or Tensor (n, c, y, x)
        Bounds of all blocks, infinite where there is none; or both of each block, finite.

    Returns
    -------
    Tensor (n, c, f * f, y, x)
    """
    if isinstance(low, Tensor) and isinstance(high, Tensor):
        low, high = low.unsqueeze(2), high.unsqueeze(2)
    coarse = coarse.unsqueeze(2)
    clipped, target = clip(fine, low, high), clip(coarse, low, high)
    missing = (target - clipped).mean(2, keepdim=True)
    up = _shares(high - clipped) if _is_finite(high) else torch.ones_like(clipped)
    down = _shares(clipped - low) if _is_finite(low) else torch.ones_like(clipped)
    kept = clip(clipped + missing * torch.where(missing > 0, up, down), low, high)
    return torch.where(settled(coarse, low, high), target, kept)


def settled(coarse: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Tell where a mean at a bound or beyond leaves no choice: all cells of the block lie at that bound."""
    return (coarse <= low) | (coarse >= high)


def clip(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """Clip to bounds that are both numbers, or both tensors."""
    return x.clamp(low, high)  # type: ignore[arg-type]


def _is_finite(bound: float | Tensor) -> bool:
    return isinstance(bound, Tensor) or math.isfinite(bound)


def _shares(room: Tensor) -> Tensor:
    """Shares of a change in proportion to room; their block mean is 1 where there is any room."""
    mean = room.mean(2, keepdim=True)
    return torch.where(mean > 0, room / mean.clamp_min(torch.finfo(room.dtype).tiny), torch.zeros_like(room))
