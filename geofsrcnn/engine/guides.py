"""A finer guide beside coarse cells made ready for regressions, tile by tile."""

from __future__ import annotations

import numpy as np
import torch

from geofsrcnn.grids.windows import Margin
from geofsrcnn.networks.guidance import INTERPOLATION, GuideBlock
from geofsrcnn.networks.inference import Classical
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.cells import GuideCells
from geofsrcnn.values.fill import fill


def prepare_guide(guide: GuideCells, factor: int, halo: int) -> GuideBlock:
    """Make a guide ready for regressions, on all coarse cells that were read.

    What stands under missing cells has no influence; a coarse cell in which any fine one is missing is not used.

    Parameters
    ----------
    guide : GuideCells
        On the fine cells of what was read.
    factor : int
        Fine cells along one side of a coarse cell.
    halo : int
        How far from usable cells block means are filled, in coarse cells.

    Returns
    -------
    GuideBlock
    """
    rows, columns = (n // factor for n in guide.valid.shape)
    usable = guide.valid.reshape(rows, factor, columns, factor).all((1, 3))
    values = np.where(guide.valid, guide.values, 0).astype(np.float64)
    if guide.valid.any():  # near zero, for the sake of rounding
        values -= values.mean((1, 2), where=guide.valid, keepdims=True)
        values *= guide.valid
    means = block_mean(values, factor)
    means = fill(means, np.broadcast_to(usable, means.shape), halo)
    method = Classical(INTERPOLATION, factor)
    around = np.pad(means, [(0, 0), *[(method.halo, method.halo)] * 2], mode="edge")
    rough = method(torch.from_numpy(around)[:, None])
    details = torch.nn.functional.pixel_unshuffle(torch.from_numpy(values)[:, None] - rough, factor)
    known = torch.from_numpy(usable)
    return GuideBlock(torch.from_numpy(means), torch.where(known, details, 0.0), known)


def fit_guide(guide: GuideBlock, margin: Margin, halo: int) -> GuideBlock:
    """Cut to the halo what was read for filling only, and pad where the raster ends with cells that are not used."""
    sides = (margin.left, margin.right, margin.top, margin.bottom)
    pads = [halo - side for side in sides]  # negative ones cut

    def fit(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(x, pads)

    return GuideBlock(fit(guide.means), fit(guide.details), fit(guide.usable))
