"""A source around another: columns that go around the globe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from geofsrcnn.engine.base import Source
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells, GuideCells


class PeriodicSource:
    """A source whose columns go around the globe, from any column on, and as often as is wanted.

    Parameters
    ----------
    source : Source
        Its first column's neighbour is the column `period` - 1, and column `period` is the first again.
    period : int
        Columns around the globe: all of the source's, less last ones that repeat the first.
    first : int
        Column of the source, counted on in both directions, that is the first one here.
    columns : int
        How many there are here.
    """

    def __init__(self, source: Source, period: int, first: int, columns: int) -> None:
        self._source, self._period, self._first, self._columns = source, period, first, columns

    def over(self, make: Callable[[Source], Source]) -> PeriodicSource:
        """The same columns of what is made of the source."""
        return PeriodicSource(make(self._source), self._period, self._first, self._columns)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        bands, rows, _ = self._source.shape
        return bands, rows, self._columns

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window, in as many pieces as it takes."""
        columns = self._source.shape[2]
        index = np.arange(window.x0, window.x1) + self._first
        index = np.where((index >= 0) & (index < columns), index, index % self._period)
        starts = [0, *(np.flatnonzero(np.diff(index) != 1) + 1), index.size]
        pieces = [
            self._source.read(Window(window.y0, window.y1, int(index[a]), int(index[b - 1]) + 1), bands)
            for a, b in itertools.pairwise(starts)
        ]
        if len(pieces) == 1:
            return pieces[0]
        alphas = [piece.alpha for piece in pieces if piece.alpha is not None]
        masks = [piece.mask for piece in pieces if piece.mask is not None]
        guides = [piece.guide for piece in pieces if piece.guide is not None]
        return Cells(
            np.concatenate([piece.values for piece in pieces], axis=-1),
            np.concatenate([piece.valid for piece in pieces], axis=-1),
            np.concatenate(alphas, axis=-1) if alphas else None,
            np.concatenate(masks, axis=-1) if masks else None,
            undeclared=any(piece.undeclared for piece in pieces),
            guide=_join_guides(guides) if guides else None,
        )


def _join_guides(guides: Sequence[GuideCells]) -> GuideCells:
    """Guides of windows beside each other as one."""
    values = np.concatenate([guide.values for guide in guides], axis=-1)
    return GuideCells(values, np.concatenate([guide.valid for guide in guides], axis=-1))
