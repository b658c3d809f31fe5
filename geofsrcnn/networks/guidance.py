"""Local regression of a coarse field on a finer guide: details of the field in its own units.

Around each coarse cell the field is regressed on the block means of the guide's bands, within windows of several sizes.
The slopes, applied to what the guide holds beyond interpolation of its own block means, are details that the coarse
field may have: zero on average over each block, in units of the field, and the same whatever the guide's units are, how
many bands it has, and whether it runs with or against the field. Chance gives slopes too: details shrink by what is to
be expected of the coefficient of determination where nothing is related (James and Stein 1961; Wherry 1931), so that a
guide of noise adds little.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from geofsrcnn.networks.limits import cut

INTERPOLATION = "cubic-c"
"""Classical method that interpolates block means of a guide, and the field: what is beyond it counts as details."""

RADII = (2, 4, 7)
"""Cells around a cell that its regressions see, one regression each: windows of 5, 9 and 15 cells."""

RIDGE = 1e-3
"""Share of its variance that is added to each band of the guide, and as much of that within its blocks: bands that
say nearly the same share what they explain, and one that hardly varies from cell to cell explains nothing."""

LARGEST = 2.0
"""Details of a block are at most so many times the deviation of the coarse cells around."""

ROUNDING = 1e-13
"""Share of its mean square that a variance may be wrong by, as it is the difference of two large numbers."""


@dataclass(frozen=True)
class GuideBlock:
    """A block of a guide, as regressions use it.

    Parameters
    ----------
    means : Tensor (band, y, x), float64
        Block means, filled where there is none.
    details : Tensor (band, factor * factor, y, x), float64
        The guide less its interpolated block means.
    usable : Tensor (y, x) of bool
        Cells in which the whole block of every band is known.
    """

    means: Tensor
    details: Tensor
    usable: Tensor


def regress(x: Tensor, guide: GuideBlock, weights: Tensor, radius: int) -> Tensor:
    """Tell the details of a field by local regression on a guide.

    Parameters
    ----------
    x : Tensor (y, x), float64
        Coarse values, near zero for the sake of rounding; anything finite where `weights` is 0.
    guide : GuideBlock
        On the same cells.
    weights : Tensor (y, x), float64
        1 for cells that count, 0 for others.
    radius : int
        Cells around a cell that are looked at.

    Returns
    -------
    Tensor (factor * factor, y - 2 * radius, x - 2 * radius), float64
        Details in units of `x`; 0 where too few cells count.
    """
    bands = len(guide.means)
    count = _sums(weights, radius)
    known = count.clamp_min(1.0)

    def mean(values: Tensor) -> Tensor:
        return _sums(values * weights, radius) / known

    given = guide.means
    inner = mean((guide.details.square()).mean(1))
    of_x, of_guide = mean(x), mean(given)
    square = mean(given.square())
    variance = (mean(x.square()) - of_x.square()).clamp_min(0.0)
    shared = mean(x * given) - of_x * of_guide
    matrix = [[mean(given[i] * given[j]) - of_guide[i] * of_guide[j] for j in range(i + 1)] for i in range(bands)]
    for i in range(bands):
        own = matrix[i][i].clamp_min(0.0)  # rounding may take it below
        added = RIDGE * (own + inner[i]) + ROUNDING * square[i]
        matrix[i][i] = torch.where(added > 0, own + added, 1.0)
    slopes = _solve(matrix, shared)
    explained = ((slopes * shared).sum(0) / torch.where(variance > 0, variance, 1.0)).clamp(0.0, 1.0)
    spare = count - bands - 1
    chance = bands / spare.clamp_min(1.0) * (1 - explained) / explained.clamp_min(1e-6)
    share = torch.where(spare > 0, (1 - chance).clamp_min(0.0), 0.0)
    details = torch.einsum("kyx,ksyx->syx", slopes * share, cut(guide.details, radius))
    size = details.square().mean(0).sqrt()
    most = LARGEST * variance.sqrt()
    return details * torch.where(size > most, most / size.clamp_min(torch.finfo(size.dtype).tiny), 1.0)


def _sums(x: Tensor, radius: int) -> Tensor:
    """Sums over ``2 * radius + 1`` cells along both axes, those at the edge left out.

    Each sum has its own terms, unlike differences of running sums, which would carry the magnitude of far cells.
    """
    size = 2 * radius + 1
    flat = x.reshape(-1, 1, *x.shape[-2:])
    rows = F.avg_pool2d(flat, (size, 1), stride=1, divisor_override=1)
    found = F.avg_pool2d(rows, (1, size), stride=1, divisor_override=1)
    return found.reshape(*x.shape[:-2], *found.shape[-2:])


def _solve(matrix: list[list[Tensor]], right: Tensor) -> Tensor:
    """Solve a symmetric positive definite system in each cell, by its Cholesky factor; lower triangle given.

    A few operations on whole fields each, since a library call for each small matrix would take far longer.
    """
    n = len(matrix)
    lower: list[list[Tensor]] = []
    for i in range(n):
        row: list[Tensor] = []
        for j in range(i):
            rest = matrix[i][j]
            for k in range(j):
                rest = rest - row[k] * lower[j][k]
            row.append(rest / lower[j][j])
        pivot = matrix[i][i]
        for left in row:
            pivot = pivot - left * left
        # not below what the ridge adds, but for rounding
        lower.append([*row, torch.maximum(pivot, matrix[i][i] * (RIDGE / 2)).sqrt()])
    forward: list[Tensor] = []
    for i in range(n):
        rest = right[i]
        for k in range(i):
            rest = rest - lower[i][k] * forward[k]
        forward.append(rest / lower[i][i])
    found: list[Tensor] = [torch.empty(0)] * n
    for i in reversed(range(n)):
        rest = forward[i]
        for k in range(i + 1, n):
            rest = rest - lower[k][i] * found[k]
        found[i] = rest / lower[i][i]
    return torch.stack(found)
