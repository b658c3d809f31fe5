"""The fine grid that a model of pairs is trained on, and the coarse one whose cells it divides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.grids.axis import axis_of
from geofsrcnn.grids.longitude import period_of_columns, unwrap

TINY = 1e-3
"""Share of a cell by which grids may differ and still be the same."""


@dataclass(frozen=True)
class Domain:
    """A fine grid, and the coarse one that it refines.

    Parameters
    ----------
    y, x : ndarray
        Coordinates of fine rows and columns.
    factor : int
        Fine cells along one side of a coarse cell.
    names : tuple of str
        Dimensions ``(y, x)``.
    is_longitude : bool
        Columns are longitudes, which jump by 360 degrees.

    Examples
    --------
    >>> domain = Domain(np.arange(5.0), np.arange(6.0), 3)
    >>> domain.shape, domain.padded
    ((5, 6), (6, 6))
    >>> [centers.tolist() for centers in domain.block_centers(margin=1)]
    [[-2.0, 1.0, 4.0, 7.0], [-2.0, 1.0, 4.0, 7.0]]
    """

    y: Array
    x: Array
    factor: int
    names: tuple[str, str] = ("y", "x")
    is_longitude: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Fine rows and columns."""
        return len(self.y), len(self.x)

    @property
    def padded(self) -> tuple[int, int]:
        """Fine rows and columns of whole coarse cells; those beyond the grid are invalid."""
        rows, columns = (-(-n // self.factor) * self.factor for n in self.shape)
        return rows, columns

    @property
    def areas(self) -> Array:
        """Areas of the cells of each padded row ``(y,)``, relative: on the globe by the sines of its latitudes."""
        rows = self.padded[0]
        if not self.is_longitude:
            return np.ones(rows)
        areas = axis_of(self.y, latitude=True).sphere_areas
        return np.pad(areas, (0, rows - len(areas)), mode="edge")

    @property
    def is_global(self) -> bool:
        """True if whole blocks of columns go around the globe."""
        columns = len(self.x)
        return self.is_longitude and columns % self.factor == 0 and period_of_columns(unwrap(self.x)) == columns

    def block_centers(self, margin: int) -> tuple[Array, Array]:
        """Coordinates of coarse rows and columns, `margin` more on each side."""
        return (
            _block_centers(self.y, self.factor, margin, longitude=False),
            _block_centers(self.x, self.factor, margin, longitude=self.is_longitude),
        )

    def pad(self, fine: Array) -> Array:
        """Fields ``(..., y, x)`` with NaN beyond the grid."""
        rows, columns = (n - m for n, m in zip(self.padded, self.shape, strict=True))
        return np.pad(fine, [(0, 0)] * (fine.ndim - 2) + [(0, rows), (0, columns)], constant_values=np.nan)

    def crop(self, fine: Array) -> Array:
        """The grid's part of padded fields ``(..., y, x)``."""
        rows, columns = self.shape
        return fine[..., :rows, :columns]


def _block_centers(values: Array, factor: int, margin: int, *, longitude: bool) -> Array:
    edges = axis_of(values, longitude=longitude).edges
    starts = edges[::factor, 0]
    width = (edges[-1, 1] - edges[0, 0]) / len(edges) * factor
    last = edges[-1, 1] if len(values) % factor == 0 else starts[-1] + width
    before, after = starts[0] - width * np.arange(margin, 0, -1), last + width * np.arange(1, margin + 1)
    bounds = np.concatenate([before, starts, [last], after])
    centers: Array = (bounds[1:] + bounds[:-1]) / 2
    return centers
