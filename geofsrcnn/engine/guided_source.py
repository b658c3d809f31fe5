"""Sources of finer guides, and of coarse cells with guides beside them; numpy alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import Source
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.cells import Cells, GuideCells, measured

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


class BandGuides:
    """A guide for each band of what it guides, such as one for each time; all of as many bands.

    By itself it is the first one.

    Parameters
    ----------
    guides : sequence of Source
        Of each band.
    """

    def __init__(self, guides: Sequence[Source]) -> None:
        self.guides = guides

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns of each."""
        return self.guides[0].shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window of the first guide."""
        return self.guides[0].read(window, bands)


def guide_sources(
    arrays: Sequence[Array], lead: Sequence[int], time_axis: int | None, chosen: Sequence[int] | None = None
) -> list[Source]:
    """Return guides in memory as sources for the slices of a field as bands.

    Parameters
    ----------
    arrays : sequence of ndarray (k, y, x) or (time, k, y, x)
        NaN where missing; the same for all slices, or of the field's times.
    lead : sequence of int
        Sizes of the field's leading dimensions.
    time_axis : int, optional
        The one of times, if any guide has them.
    chosen : sequence of int, optional
        Numbers of the slices that are the bands; all if not given.
    """
    slices = range(math.prod(lead)) if chosen is None else chosen

    def beside(array: Array) -> Source:
        if array.ndim == 3 or time_axis is None:
            return GuideArray(array)
        return BandGuides([GuideArray(array[np.unravel_index(n, tuple(lead))[time_axis]]) for n in slices])

    return [beside(array) for array in arrays]


def _guide_of(guide: Source, bands: slice) -> Source:
    """The guide of a group of bands: of the first of them where each has one."""
    return guide.guides[bands.start or 0] if isinstance(guide, BandGuides) else guide


def coarsen_guide(guide: Source, factor: int) -> Source:
    """A guide made coarser, each where there is one for each band."""
    if isinstance(guide, BandGuides):
        return BandGuides([BlockMeanSource(each, factor) for each in guide.guides])
    return BlockMeanSource(guide, factor)


class GuidedSource:
    """A source of coarse cells with a finer guide beside them.

    Parameters
    ----------
    source : Source
        Of the coarse cells.
    guides : sequence of Source
        Whose cells are the fine ones of `source`, so many times as many; the bands of all count. `BandGuides` are for
        bands that are read one by one.
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
        beside = [_guide_of(guide, bands) for guide in self._guides]
        pieces = [guide.read(window.refine(self._factor), slice(None)) for guide in beside]
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
