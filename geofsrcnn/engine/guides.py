"""A finer guide beside coarse cells: read with them, and made ready for regressions, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import Source
from geofsrcnn.grids.windows import Margin, Window
from geofsrcnn.networks.guidance import INTERPOLATION, GuideBlock
from geofsrcnn.networks.inference import Classical
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.cells import Cells, GuideCells, measured
from geofsrcnn.values.fill import fill

MOST_CELLS = 2**22
"""Cells of a band that are read at once to be averaged."""


class GuideArray:
    """A guide in memory as a source of fine cells.

    Parameters
    ----------
    array : ndarray (k, y, x)
        NaN where missing.
    """

    def __init__(self, array: Array) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        bands, rows, columns = self._array.shape
        return bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window."""
        values = self._array[(bands, *window.slices())]
        return Cells(values, measured(values))


class GuidedSource:
    """A source of coarse cells with a finer guide beside them.

    Parameters
    ----------
    source : Source
        Of the coarse cells.
    guides : sequence of Source
        Whose cells are the fine ones of `source`, so many times as many; the bands of all count.
    factor : int
        Fine cells along one side of a coarse cell.
    """

    def __init__(self, source: Source, guides: Sequence[Source], factor: int) -> None:
        self._source, self._guides, self._factor = source, guides, factor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns of the coarse cells."""
        return self._source.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The coarse cells of a window, and the guide on its fine ones."""
        cells = self._source.read(window, bands)
        pieces = [guide.read(window.refine(self._factor), slice(None)) for guide in self._guides]
        values = np.concatenate([piece.values for piece in pieces])
        valid: Mask = np.logical_and.reduce([layer for piece in pieces for layer in piece.valid])
        return replace(cells, guide=GuideCells(values, valid))


class BlockMeanSource:
    """A source made coarser: block means, missing where any cell of a block is.

    Parameters
    ----------
    source : Source
        What is read.
    factor : int
        Its cells along one side of a cell here; rows and columns that do not fill a block are left out.
    """

    def __init__(self, source: Source, factor: int) -> None:
        self._source, self._factor = source, factor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        bands, rows, columns = self._source.shape
        return bands, rows // self._factor, columns // self._factor

    def read(self, window: Window, bands: slice) -> Cells:
        """The block means of a window, from strips of it that are read one after the other to save memory."""
        step = max(1, MOST_CELLS // (window.shape[1] * self._factor**2))
        strips = [
            self._means(Window(y, min(y + step, window.y1), window.x0, window.x1), bands)
            for y in range(window.y0, window.y1, step)
        ]
        means = np.concatenate(strips, axis=1)
        return Cells(means, np.isfinite(means))

    def _means(self, window: Window, bands: slice) -> Array:
        cells = self._source.read(window.refine(self._factor), bands)
        return block_mean(np.where(cells.valid, cells.values, np.nan), self._factor)


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
