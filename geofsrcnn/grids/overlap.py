"""Averages by area of a fine field over the cells of another grid, whose sides are parallel to those of the fine cells.

Within a fine cell values follow a slope along rows and along columns, as its neighbours tell, limited so that it leaves
their range nowhere (van Leer 1977). Its mean is the fine cell's, so that means are kept; and a plane stays the plane
that it is, which it would not if each fine cell were flat (second-order conservative remapping: Jones 1999).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.grids.fine import TINY
from geofsrcnn.grids.windows import Window

ROUNDING = 1e-6
"""Share of a fine cell by which an edge may lie off one of the fine grid and still be that edge."""


class Sums(NamedTuple):
    """A field ``(..., y, x)`` in which some cells are missing, or missing in part."""

    values: Array
    """Value of each cell, times the share of it that is valid."""

    shares: Array
    """That share, 0 to 1."""


class _Taps(NamedTuple):
    """Fine cells that wanted cells overlap, ``(n, k)``."""

    cell: Array
    """Which they are."""

    share: Array
    """The share of the wanted cell that lies in each."""

    place: Array
    """Where the middle of that part lies, in fine cells from the middle of the fine cell."""


@dataclass(frozen=True)
class AxisOverlap:
    """Wanted cells along one axis of a fine grid.

    Parameters
    ----------
    edges : ndarray (n, 2), float64
        Where each begins and ends, counted in fine cells, the lower first.
    cells : int
        Number of fine cells.
    """

    edges: Array
    cells: int

    @classmethod
    def of(cls, edges: Array, cells: int) -> AxisOverlap:
        """Make it of edges in either order; those that are edges of the fine grid but for rounding become so."""
        edges = np.sort(edges, axis=1)
        whole = np.rint(edges)
        off = np.abs(edges - whole)
        return cls(np.where(off <= (TINY if off.max() < TINY else ROUNDING), whole, edges), cells)

    @property
    def nearest(self) -> Array:
        """The fine cell in the middle of each wanted one, or the nearest to it."""
        found: Array = np.clip(np.floor(self.edges.mean(1)).astype(np.int64), 0, self.cells - 1)
        return found

    @property
    def widths(self) -> Array:
        """Fine cells to each wanted one."""
        found: Array = self.edges[:, 1] - self.edges[:, 0]
        return found

    @property
    def meets(self) -> bool:
        """True if some wanted cells lie on the fine grid."""
        return bool(self.edges.min() < self.cells and self.edges.max() > 0)

    @property
    def complete(self) -> bool:
        """True if no wanted cell lies wholly beyond the fine grid."""
        return bool(self.edges[:, 0].max() < self.cells and self.edges[:, 1].min() > 0)

    def needed(self, start: int, stop: int) -> tuple[int, int]:
        """First and end of the fine cells that some wanted cells need, with the neighbours that slopes come from."""
        edges = self.edges[start:stop]
        there = edges[(edges[:, 1] > 0) & (edges[:, 0] < self.cells)]  # others may lie half the globe away
        some = there if len(there) else edges[:1]
        low, high = some.min(), some.max()
        first = min(max(math.floor(low) - 1, 0), self.cells - 1)
        return first, max(min(math.ceil(high) + 1, self.cells), first + 1)

    def taps(self, start: int, stop: int, first: int, length: int) -> _Taps:
        """Find what the wanted cells from `start` to `stop` overlap of a part of the fine ones."""
        low, high = self.edges[start:stop, :1], self.edges[start:stop, 1:]
        cell = np.floor(low).astype(np.int64) + np.arange(math.ceil((high - np.floor(low)).max()))
        left, right = np.maximum(cell, low), np.minimum(cell + 1, high)
        there = (right > left) & (cell >= first) & (cell < first + length)
        share = np.where(there, right - left, 0.0) / (high - low)
        place = np.where(there, (left + right) / 2 - (cell + 0.5), 0.0)
        return _Taps(np.clip(cell - first, 0, length - 1), share, place)


@dataclass(frozen=True)
class AreaOverlap:
    """The cells of a wanted grid on a fine one, both with parallel sides.

    Parameters
    ----------
    rows, columns : AxisOverlap
        Along either axis.
    """

    rows: AxisOverlap
    columns: AxisOverlap

    method = "averaged by area"
    """In words, for the summary."""

    exact = True
    """Sums are kept."""

    @classmethod
    def of_parts(cls, shape: tuple[int, int], parts: int) -> AreaOverlap:
        """Make the overlap of the equal parts of fine cells, so many along one side."""
        return cls(*(AxisOverlap.of(np.arange(n * parts)[:, None] / parts + [0, 1 / parts], n) for n in shape))

    def split(self, field: Sums) -> Sums:
        """Average a field of all fine cells over all wanted ones."""
        rows, columns = self.rows.cells, self.columns.cells
        return self.average(field, Window(0, rows, 0, columns), Window(0, self.shape[0], 0, self.shape[1]))

    @property
    def shape(self) -> tuple[int, int]:
        """Wanted rows and columns."""
        return len(self.rows.edges), len(self.columns.edges)

    @property
    def meets(self) -> bool:
        """True if some wanted cells lie on the fine grid."""
        return self.rows.meets and self.columns.meets

    @property
    def complete(self) -> bool:
        """True if no wanted cell lies wholly beyond the fine grid."""
        return self.rows.complete and self.columns.complete

    @property
    def complete_around(self) -> bool:
        """The same, where the fine grid goes around the globe, so that none lies beyond its first or last column."""
        return self.rows.complete

    @property
    def area(self) -> float:
        """Fine cells to a wanted one, on average."""
        return float(self.rows.widths.mean() * self.columns.widths.mean())

    def areas(self, wanted: Window) -> Array:
        """Fine cells to each of some wanted ones, ``(y, x)``."""
        found: Array = np.outer(self.rows.widths[wanted.y0 : wanted.y1], self.columns.widths[wanted.x0 : wanted.x1])
        return found

    def shift(self, columns: int, cells: int) -> AreaOverlap:
        """The same with fine columns that are numbered from another one on, and are so many."""
        return replace(self, columns=AxisOverlap(self.columns.edges + columns, cells))

    def part(self, wanted: Window, fine: Window) -> AreaOverlap:
        """The same for a window of wanted cells on a window of fine ones."""
        rows, columns = fine.shape
        return AreaOverlap(
            AxisOverlap(self.rows.edges[wanted.y0 : wanted.y1] - fine.y0, rows),
            AxisOverlap(self.columns.edges[wanted.x0 : wanted.x1] - fine.x0, columns),
        )

    def needed(self, wanted: Window) -> Window:
        """Fine cells that a window of wanted ones needs."""
        y, x = self.rows.needed(wanted.y0, wanted.y1), self.columns.needed(wanted.x0, wanted.x1)
        return Window(*y, *x)

    def average(self, field: Sums, fine: Window, wanted: Window, *, slopes: bool = True) -> Sums:
        """Average a field of some fine cells over some wanted ones.

        Parameters
        ----------
        field : Sums
            Of the fine cells.
        fine, wanted : Window
            Those that `needed` tells, and those that need them.
        slopes : bool
            Follow the slope within fine cells; otherwise each is flat.
        """
        y, x = self._taps(fine, wanted)
        turned = _along(Sums(*(each.swapaxes(-1, -2) for each in field)), y, slopes=slopes)
        return _along(Sums(*(each.swapaxes(-1, -2) for each in turned)), x, slopes=slopes)

    def majority(self, values: Array, valid: Mask, fine: Window, wanted: Window) -> Array:
        """Find the value that most of each wanted cell has ``(..., y, x)``, of its valid parts if there are some."""
        y, x = self._taps(fine, wanted)
        found, weights = [], []
        for i in range(y.cell.shape[1]):
            for j in range(x.cell.shape[1]):
                at = (..., y.cell[:, i, None], x.cell[None, :, j])
                found.append(values[at])
                weights.append(y.share[:, i, None] * x.share[None, :, j] * np.where(valid[at], 1.0, ROUNDING))
        best, most = found[0], np.full(found[0].shape, -1.0)
        for value in found:
            weight = sum(np.where(other == value, share, 0.0) for other, share in zip(found, weights, strict=True))
            better = (weight > most * (1 + ROUNDING)) | ((weight > most * (1 - ROUNDING)) & (value < best))
            best, most = np.where(better, value, best), np.where(better, weight, most)
        return best

    def _taps(self, fine: Window, wanted: Window) -> tuple[_Taps, _Taps]:
        rows, columns = fine.shape
        return (
            self.rows.taps(wanted.y0, wanted.y1, fine.y0, rows),
            self.columns.taps(wanted.x0, wanted.x1, fine.x0, columns),
        )


def _along(field: Sums, taps: _Taps, *, slopes: bool) -> Sums:
    """Average along the last axis."""
    index, share, place = taps
    values, shares = (_weighted(each, index, share) for each in field)
    if slopes and place.any():
        values = values + _weighted(field.shares * limited_slopes(field), index, share * place)
    return Sums(values, shares)


def _weighted(field: Array, index: Array, weights: Array) -> Array:
    """Sum some cells along the last axis, each with its weight."""
    found: Array = weights[:, 0] * field[..., index[:, 0]]
    for k in range(1, index.shape[1]):
        found += weights[:, k] * field[..., index[:, k]]
    return found


def limited_slopes(field: Sums) -> Array:
    """Slope within each cell along the last axis; 0 at the ends, at extremes and beside missing cells.

    That of the neighbours on either side, at most twice the difference from each of them: so no part of a cell leaves
    the range of its neighbours, and the slope of a plane is its own.

    Examples
    --------
    >>> limited_slopes(Sums(np.array([0.0, 1, 2, 2, 5]), np.ones(5)))
    array([0., 1., 0., 0., 0.])
    """
    values = np.divide(field.values, field.shares, out=np.zeros_like(field.values), where=field.shares > 0)
    steps = np.diff(values)
    before, after = steps[..., :-1], steps[..., 1:]
    size = np.minimum(np.abs(before + after) / 2, 2 * np.minimum(np.abs(before), np.abs(after)))
    known = field.shares > 0
    rising = (np.sign(before) == np.sign(after)) & known[..., :-2] & known[..., 1:-1] & known[..., 2:]
    slopes = np.zeros_like(values)
    slopes[..., 1:-1] = np.where(rising, np.sign(after) * size, 0.0)
    return slopes
