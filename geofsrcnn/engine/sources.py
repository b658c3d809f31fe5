"""Sources around other sources: columns that go around the globe, values watched for their range."""

from __future__ import annotations

import itertools

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import Source
from geofsrcnn.errors import warn
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells


class AroundGlobe:
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
        return Cells(
            np.concatenate([piece.values for piece in pieces], axis=-1),
            np.concatenate([piece.valid for piece in pieces], axis=-1),
            np.concatenate(alphas, axis=-1) if alphas else None,
            np.concatenate(masks, axis=-1) if masks else None,
        )


class Watched:
    """A source that warns of values outside the range that the result is to keep."""

    def __init__(self, source: Source, value_range: tuple[float, float] | None, name: str) -> None:
        self._source, self._range, self._name = source, value_range, name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the source."""
        return self._source.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The source's cells, after a look at them."""
        cells = self._source.read(window, bands)
        if self._range is not None and warn_outside(cells.values, cells.valid, self._range, self._name):
            self._range = None
        return cells


def warn_outside(values: Array, valid: Mask, limits: tuple[float, float], name: str) -> bool:
    """Warn of valid values outside a range; whether there are any."""
    low, high = limits
    outside = valid & ((values < low) | (values > high))
    if not outside.any():
        return False
    warn(
        "W-RANGE",
        f"{name} holds values outside the range {low:g} to {high:g}, such as {values[outside][0]:g}: they come out at "
        "its bounds, and their cells' means with them",
    )
    return True
