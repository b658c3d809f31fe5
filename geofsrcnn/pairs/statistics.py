"""Statistics of each cell of the fine grid, and block means that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.values.blocks import row_shares


def with_means(fine: Array, means: Array, limits: tuple[float, float], areas: Array | None = None) -> Array:
    """Fine fields whose block means are the coarse values, within limits; blocks with a gap are only brought into them.

    The rule is told at `geofsrcnn.networks.limits.conserve`, and a test holds both to it. That one is for networks:
    differentiable, with bounds of each block. This one knows gaps and areas, and takes a third of its time in float64.

    Parameters
    ----------
    fine : ndarray (time, Y, X)
        NaN where missing.
    means : ndarray (time, y, x)
        Of whole blocks; NaN where missing.
    limits : tuple of float
        Smallest and largest value.
    areas : ndarray (Y,), optional
        Of the cells of each row, by which they count in the means.
    """
    times, rows, columns = means.shape
    factor = fine.shape[1] // rows
    blocks = np.clip(fine, *limits).reshape(times, rows, factor, columns, factor)
    wanted = np.clip(means, *limits)[:, :, None, :, None]
    counts = 1.0 if areas is None else row_shares(areas, factor)[:, :, None, None]
    missing = wanted - (blocks * counts).mean((2, 4), keepdims=True)
    room = np.where(missing > 0, limits[1] - blocks, blocks - limits[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(np.isfinite(room), room / (room * counts).mean((2, 4), keepdims=True), 1.0)
    moved = np.clip(blocks + missing * np.where(np.isfinite(share), share, 0.0), *limits)
    moved = np.where((wanted <= limits[0]) | (wanted >= limits[1]), wanted, moved)
    result: Array = np.where(np.isfinite(missing), moved, blocks).reshape(fine.shape)
    return result


def unshuffle(fine: Array, factor: int) -> Array:
    """Fine fields as coarse channels, sub-pixel by sub-pixel.

    Parameters
    ----------
    fine : ndarray (k, y, x)
        Sizes are multiples of the factor.
    factor : int
        Fine cells along one side of a coarse cell.

    Returns
    -------
    ndarray (k * factor * factor, y / factor, x / factor)

    Examples
    --------
    >>> unshuffle(np.arange(16).reshape(1, 4, 4), 2)[:, 0, 0]
    array([0, 1, 4, 5])
    """
    k, rows, columns = fine.shape
    blocks = fine.reshape(k, rows // factor, factor, columns // factor, factor)
    return blocks.transpose(0, 2, 4, 1, 3).reshape(k * factor**2, rows // factor, columns // factor)


@dataclass
class CellRegression:
    """Least squares ``y = slope * x + offset`` for each cell, summed up block by block.

    Parameters
    ----------
    shape : tuple of int
        ``(y, x)``.
    """

    shape: tuple[int, int]

    def __post_init__(self) -> None:
        self._n, self._x, self._y, self._xx, self._xy, self._yy = (np.zeros(self.shape) for _ in range(6))
        self._origin: tuple[Array, Array] | None = None

    def add(self, x: Array | None, y: Array) -> None:
        """Values ``(time, y, x)``; NaN in either does not count. Without `x`, the mean alone is fitted."""
        given = np.zeros_like(y) if x is None else x
        valid = np.isfinite(y) & np.isfinite(given)
        if self._origin is None:  # near the data, so that squares keep their digits
            some = np.maximum(valid.sum(0), 1)
            middle_x, middle_y = (np.where(valid, v, 0).sum(0) / some for v in (given, y))
            self._origin = middle_x, middle_y
        dx, dy = (np.where(valid, v - o, 0.0) for v, o in zip((given, y), self._origin, strict=True))
        self._n += valid.sum(0)
        self._x += dx.sum(0)
        self._y += dy.sum(0)
        self._xx += (dx * dx).sum(0)
        self._xy += (dx * dy).sum(0)
        self._yy += (dy * dy).sum(0)

    def solve(self, fewest: int, slope: float | None = None) -> tuple[Array, Array, Array]:
        """Slope, offset and the standard deviation of what is left ``(y, x)``; NaN where there were fewer values.

        A given slope holds for all cells: the offset alone is fitted.
        """
        assert self._origin is not None
        n = np.maximum(self._n, 1)
        mx, my = self._x / n, self._y / n
        var, cov, total = self._xx / n - mx**2, self._xy / n - mx * my, self._yy / n - my**2
        slopes = np.where(var > 0, cov / np.where(var > 0, var, 1), 0.0) if slope is None else np.full(var.shape, slope)
        left = np.sqrt(np.maximum(total - 2 * slopes * cov + slopes**2 * var, 0))
        offset = my + self._origin[1] - slopes * (mx + self._origin[0])
        few = self._n < fewest
        return np.where(few, np.nan, slopes), np.where(few, np.nan, offset), np.where(few, np.nan, left)
