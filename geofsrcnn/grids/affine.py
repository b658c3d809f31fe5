"""The georeferenced grid as a value: shape, affine, CRS, ground control points, RPCs.

Cells are areas: ``affine * (column, row)`` is the upper-left corner of a cell as stored. `refine` cuts each
cell into ``factor x factor`` equal parts; nothing else moves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError
from geofsrcnn.grids.windows import Window


@dataclass(frozen=True)
class Grid:
    """Where the cells of a raster lie.

    Parameters
    ----------
    shape : tuple of int
        ``(y, x)``, rows and columns.
    affine : Affine or None
        From (column, row) of cell corners to coordinates of `crs`; None if the raster states none.
    crs : object or None
        Coordinate reference system as the reader gave it, passed on unchanged.
    gcps : tuple
        Ground control points ``(row, column, x, y, z, id, info)``, rows and columns of cell corners.
    gcp_crs : object or None
        Coordinate reference system of the ground control points.
    rpcs : object or None
        Rational polynomial coefficients with ``line_off``, ``samp_off``, ``line_scale``, ``samp_scale``.
    epoch : float or None
        Decimal year of the coordinates, where the CRS is a dynamic one.
    """

    shape: tuple[int, int]
    affine: Affine | None = None
    crs: Any = None
    gcps: tuple[tuple[Any, ...], ...] = ()
    gcp_crs: Any = None
    rpcs: Any = None
    epoch: float | None = None

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """``(left, bottom, right, top)`` of the corners as stored; only for grids that are not rotated.

        Examples
        --------
        >>> Grid((2, 3), Affine(30.0, 0, 100.0, 0, -30.0, 500.0)).bounds
        (100.0, 440.0, 190.0, 500.0)
        """
        t = self.affine if self.affine is not None else Affine.identity()
        rows, columns = self.shape
        return t.c, t.f + t.e * rows, t.c + t.a * columns, t.f

    def refine(self, factor: int) -> Grid:
        """The grid of the ``factor x factor`` equal parts of each cell.

        Corners stay where they are. RPCs refer to cell centres (as GDAL applies them), so a line ``l``
        becomes ``factor * l + (factor - 1) / 2``.

        Examples
        --------
        >>> Grid((2, 3), Affine(30.0, 0, 100.0, 0, -30.0, 500.0)).refine(3).affine.a
        10.0
        """
        rows, columns = self.shape
        return replace(
            self,
            shape=(rows * factor, columns * factor),
            affine=None if self.affine is None else _refine_affine(self.affine, self.shape, factor),
            gcps=tuple((row * factor, column * factor, *rest) for row, column, *rest in self.gcps),
            rpcs=None if self.rpcs is None else _refine_rpcs(self.rpcs, factor),
        )

    def crop(self, window: Window) -> Grid:
        """The grid of a window's cells; the other cells' places are kept."""
        y, x = window.y0, window.x0
        rpcs = self.rpcs
        if rpcs is not None and (y or x):
            rpcs = _copy(rpcs, line_off=rpcs.line_off - y, samp_off=rpcs.samp_off - x)
        affine = self.affine
        if affine is not None and (y or x):
            t = affine
            affine = Affine(t.a, t.b, t.a * x + t.b * y + t.c, t.d, t.e, t.d * x + t.e * y + t.f)
        return replace(
            self,
            shape=window.shape,
            affine=affine,
            gcps=tuple((row - y, column - x, *rest) for row, column, *rest in self.gcps),
            rpcs=rpcs,
        )

    def window(self, bounds: tuple[float, float, float, float], *, period: int = 0) -> Window:
        """The smallest window of whole cells that covers `bounds`, cut at the raster's edge.

        Parameters
        ----------
        bounds : tuple of float
            ``(west, south, east, north)`` in the grid's coordinates.
        period : int
            Columns around the globe; 0 if they do not go around. Where they do, the window may begin or end beyond
            the raster's edge; one of more than a turn is that of all columns.

        Raises
        ------
        InputError
            If the grid has no affine, is rotated, or does not meet the bounds.
        """
        t = self.affine
        if t is None or t.b or t.d:
            raise InputError("bounds need a raster with a transform that is not rotated: crop it first")
        west, south, east, north = bounds
        columns = sorted(((west - t.c) / t.a, (east - t.c) / t.a))
        rows = sorted(((north - t.f) / t.e, (south - t.f) / t.e))
        tiny = 1e-6  # of a cell: bounds typed in decimals still mean the cell edge
        x0, x1 = math.floor(columns[0] + tiny), math.ceil(columns[1] - tiny)
        if period and x1 - x0 > period:
            x0, x1 = 0, self.shape[1]
        elif not period:
            x0, x1 = max(x0, 0), min(x1, self.shape[1])
        y0, y1 = max(math.floor(rows[0] + tiny), 0), min(math.ceil(rows[1] - tiny), self.shape[0])
        if y0 >= y1 or x0 >= x1:
            raise InputError(f"bounds {bounds} do not meet the raster's bounds {self.bounds}")
        return Window(y0, y1, x0, x1)


def apply_affine(affine: Affine, columns: Array, rows: Array) -> Array:
    """Coordinates ``(2, ...)`` of places in cells, or, by the inverse, the other way round."""
    a, b, c, d, e, f = affine[:6]
    return np.array([a * columns + b * rows + c, d * columns + e * rows + f])


def _refine_affine(t: Affine, shape: tuple[int, int], factor: int) -> Affine:
    if t.b == 0 and t.d == 0:
        a = _refine_step(t.a, shape[1], t.c, factor)
        e = _refine_step(t.e, shape[0], t.f, factor)
        return Affine(a, t.b, t.c, t.d, e, t.f)
    return Affine(t.a / factor, t.b / factor, t.c, t.d / factor, t.e / factor, t.f)


def _refine_step(step: float, cells: int, origin: float, factor: int) -> float:
    """``step / factor``, moved by at most two units in the last place where that keeps the far edge's bits.

    The far edge is ``origin + step * cells`` in floating point; dividing the step and multiplying the
    cells can round it differently.
    """
    far = origin + step * cells
    near = step / factor
    up, down = math.nextafter(near, math.inf), math.nextafter(near, -math.inf)
    beyond = math.nextafter(up, math.inf), math.nextafter(down, -math.inf)
    for candidate in (near, up, down, *beyond):
        if origin + candidate * (cells * factor) == far:
            return candidate
    return near


def _refine_rpcs(rpcs: Any, factor: int) -> Any:
    centre = (factor - 1) / 2
    return _copy(
        rpcs,
        line_off=rpcs.line_off * factor + centre,
        samp_off=rpcs.samp_off * factor + centre,
        line_scale=rpcs.line_scale * factor,
        samp_scale=rpcs.samp_scale * factor,
    )


def _copy(rpcs: Any, **changes: float) -> Any:
    values = {**rpcs.to_dict(), **changes}
    return type(rpcs)(**values)
