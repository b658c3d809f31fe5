"""Rasters as guides: read on a grid that is not theirs, warped where need be."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform
from rasterio.windows import Window as RasterioWindow

from geofsrcnn._types import StrPath
from geofsrcnn.errors import InputError, printable
from geofsrcnn.files.kinds import sniff
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.gdal import GDAL_ERRORS, gdal_message, open_file, quiet
from geofsrcnn.formats.georeference import read_grid
from geofsrcnn.formats.metadata import grey_ramp
from geofsrcnn.grids.affine import Grid, apply_affine
from geofsrcnn.grids.fine import TINY
from geofsrcnn.grids.windows import Window
from geofsrcnn.options import FACTORS
from geofsrcnn.values.cells import Cells, measured

AVERAGED = 0.75
"""A guide whose cells are smaller than this share of those wanted is averaged, others are interpolated."""


@dataclass(frozen=True)
class Fit:
    """How a guide comes onto a grid.

    Parameters
    ----------
    method : str
        ``as it is``, ``cubic`` or ``average``.
    scale : float
        Its own cells along one side of a cell of the grid.
    """

    method: str
    scale: float


class GuideRaster:
    """A raster read on another grid, as a source of its cells.

    Parameters
    ----------
    path : str or path
        A local GeoTIFF.
    grid : Grid
        The grid that is wanted.

    Raises
    ------
    InputError
        If it cannot be read, or cannot be placed on the grid, or does not cover any of it.
    """

    def __init__(self, path: StrPath, grid: Grid) -> None:
        found = local_path(path)
        self.shown = printable(found.name)
        self._held = ExitStack()
        try:
            dataset = self._held.enter_context(_open(found))
            self._bands = _bands_of(dataset, self.shown)
            self.own = read_grid(dataset, self.shown)
            self.fit, self._dataset = self._place(dataset, grid)
            self._grid = grid
        except BaseException:
            self._held.close()
            raise

    def _place(self, dataset: Any, grid: Grid) -> tuple[Fit, Any]:
        """The raster as it is on the grid, or warped to it."""
        if _same(self.own, grid):
            return Fit("as it is", 1.0), dataset
        if grid.affine is None or grid.crs is None or self.own.affine is None or self.own.crs is None:
            shapes = " and ".join(f"{rows} x {columns}" for rows, columns in (self.own.shape, grid.shape))
            raise InputError(
                f"the guide {self.shown} cannot be placed: both rasters need a transform and a CRS, or it has to have "
                f"the fine cells exactly ({shapes})"
            )
        _check_overlap(self.own, grid, self.shown)
        scale = cells_of(self.own, grid)
        aligned = scale > 1 - TINY and scale < 1 + TINY and _whole(self.own, grid)
        method = Resampling.nearest if aligned else Resampling.average if scale > 1 / AVERAGED else Resampling.cubic
        rows, columns = grid.shape
        warped = WarpedVRT(
            dataset,
            crs=grid.crs,
            transform=grid.affine,
            width=columns,
            height=rows,
            resampling=method,
            dtype=np.result_type(np.float32, *(dataset.dtypes[band - 1] for band in self._bands)).name,
            nodata=np.nan,
            UNIFIED_SRC_NODATA="NO",  # what one band lacks must not get into another's values, nor be taken for one
            tolerance=0.01,
        )
        return Fit("as it is" if aligned else method.name, scale), self._held.enter_context(warped)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        return len(self._bands), *self._grid.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window.

        Raises
        ------
        InputError
            If a block cannot be read or decoded.
        """
        chosen, area = self._bands[bands], RasterioWindow.from_slices(*window.slices())
        try:
            with rasterio.Env(), quiet():
                values = self._dataset.read(chosen, window=area, masked=False).astype(np.float64)
                masks = self._dataset.read_masks(chosen, window=area)
                if (alpha := _alpha_of(self._dataset)) is not None:  # which masks of a warped raster leave out
                    masks = masks * (self._dataset.read(alpha, window=area) > 0)
        except (*GDAL_ERRORS, OSError, MemoryError) as error:
            raise InputError(f"cannot read {window} of the guide {self.shown} ({gdal_message(error)})") from error
        return Cells(values, (masks > 0) & measured(values))

    def close(self) -> None:
        """Close the file."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path) -> Any:
    """The raster, which options of the input do not speak for."""
    if sniff(path) != "GeoTIFF":
        raise InputError(f"the guide {printable(path.name)} is no GeoTIFF: convert it first (gdal_translate)")
    return open_file(path, "GTiff", sidecars=False)


def _bands_of(dataset: Any, shown: str) -> list[int]:
    """Indexes of the bands that hold values; an InputError if there are none."""
    bands = [i for i in dataset.indexes if dataset.colorinterp[i - 1] != ColorInterp.alpha]
    if not bands or any(np.dtype(dataset.dtypes[i - 1]).kind == "c" for i in bands):
        raise InputError(f"the guide {shown} has no band of real numbers")
    if any(dataset.colorinterp[i - 1] == ColorInterp.palette and not _is_ramp(dataset, i) for i in bands):
        raise InputError(f"the guide {shown} holds classes or a palette: expand it first (gdal_translate -expand rgb)")
    return bands


def _is_ramp(dataset: Any, band: int) -> bool:
    return grey_ramp(dataset.colormap(band)) is not None


def _alpha_of(dataset: Any) -> int | None:
    """Index of the alpha band, if there is one."""
    return next((i for i in dataset.indexes if dataset.colorinterp[i - 1] == ColorInterp.alpha), None)


def _same(a: Grid, b: Grid) -> bool:
    """True if two grids are the same to a small part of a cell, or neither says where it lies."""
    if a.shape != b.shape:
        return False
    if a.affine is None or b.affine is None:
        return a.affine is None and b.affine is None
    for corner in ((0, 0), a.shape[::-1]):
        apart = [abs(p - q) for p, q in zip(a.affine * corner, b.affine * corner, strict=True)]
        if max(apart) > TINY * max(abs(b.affine.a), abs(b.affine.b)):
            return False
    return a.crs == b.crs or a.crs is None or b.crs is None


def _whole(a: Grid, b: Grid) -> bool:
    """True if the cells of two grids of one CRS coincide where they overlap."""
    if a.crs != b.crs or a.affine is None or b.affine is None:
        return False
    columns, rows = b.shape[::-1]
    turned = abs(a.affine.b - b.affine.b) + abs(a.affine.d - b.affine.d)
    corners = apply_affine(~a.affine, *apply_affine(b.affine, np.array([0, columns]), np.array([0, rows])))
    return bool(turned <= TINY * abs(b.affine.a) and np.abs(corners - corners.round()).max() < TINY)


def _check_overlap(guide: Grid, grid: Grid, shown: str) -> None:
    """Refuse a guide that lies elsewhere; some places all over it tell."""
    assert guide.affine is not None
    assert grid.affine is not None
    rows, columns = np.meshgrid(*(np.linspace(0, n, 21) for n in guide.shape), indexing="ij")
    places = apply_affine(guide.affine, columns, rows)
    if guide.crs != grid.crs:
        with rasterio.Env():
            places = np.array(transform(guide.crs, grid.crs, *places.reshape(2, -1)))
    across, along = apply_affine(~grid.affine, *places)
    for cells, most in ((across, grid.shape[1]), (along, grid.shape[0])):
        known = cells[np.isfinite(cells)]
        if not known.size or known.max() <= 0 or known.min() >= most:
            raise InputError(f"the guide {shown} does not cover any of the raster: does it show the same ground?")


def cells_of(guide: Grid, grid: Grid) -> float:
    """How many of a guide's cells lie along one side of a cell of a grid, where the middle of the grid is.

    Raises
    ------
    InputError
        If one cannot be placed on the other.
    """
    assert guide.affine is not None
    assert grid.affine is not None
    rows, columns = grid.shape
    corners = [(columns / 2, rows / 2), (columns / 2 + 1, rows / 2), (columns / 2, rows / 2 + 1)]
    xs, ys = zip(*(grid.affine * corner for corner in corners), strict=True)
    if guide.crs != grid.crs:
        try:
            with rasterio.Env():
                xs, ys = transform(grid.crs, guide.crs, xs, ys)
        except (*GDAL_ERRORS, ValueError) as error:
            raise InputError(f"the guide's CRS cannot be reached from that of the raster ({error})") from error
    points = np.array([~guide.affine * place for place in zip(xs, ys, strict=True)])
    across, along = points[1] - points[0], points[2] - points[0]
    scale = float(np.sqrt(abs(across[0] * along[1] - across[1] * along[0])))
    if not np.isfinite(scale) or scale <= 0:
        raise InputError("the guide cannot be placed on the raster: do they lie in the same part of the world?")
    return scale


def find_factor(path: StrPath, grid: Grid) -> int:
    """Find the factor that brings a raster onto its guide's cells, to the nearest whole number.

    Raises
    ------
    InputError
        If the guide is not 2 to 8 times finer, or either does not say where it lies.
    """
    found = local_path(path)
    shown = printable(found.name)
    with _open(found) as dataset:
        guide = read_grid(dataset, shown)
    if guide.affine is None or grid.affine is None:
        ratios = [fine / coarse for fine, coarse in zip(guide.shape, grid.shape, strict=True)]
        if ratios[0] == ratios[1] and ratios[0] in FACTORS:
            return int(ratios[0])
        raise InputError(f"the guide {shown} or the raster has no transform: name the factor with factor=")
    scale = cells_of(guide, grid)
    factor = round(scale)
    if factor not in FACTORS:
        raise InputError(
            f"the guide {shown} is {scale:.3g} times finer than the raster: a guide is 2 to 8 times finer, or name the "
            "factor with factor="
        )
    return factor
