"""The grid that is wanted of a raster, like another raster's or of a resolution, and where its cells lie.

Cells with sides parallel to those of the raster, in the same CRS, overlap exactly (`AreaOverlap`); onto all others GDAL
warps.
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import pyproj
import rasterio
from affine import Affine
from pyproj.exceptions import CRSError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform

from geofsrcnn._types import Array, Mask
from geofsrcnn.cf.crs import circumference_of
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.files.kinds import sniff
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.gdal import GDAL_ERRORS, open_file, quiet
from geofsrcnn.formats.georeference import period_along, read_grid, same_crs
from geofsrcnn.grids.affine import Grid, apply_affine
from geofsrcnn.grids.fine import TINY
from geofsrcnn.grids.longitude import FULL_CIRCLE, move_cells, move_near
from geofsrcnn.grids.overlap import ROUNDING, AreaOverlap, AxisOverlap, Sums
from geofsrcnn.grids.windows import Window
from geofsrcnn.options import FACTORS

if TYPE_CHECKING:
    from geofsrcnn.options import UpscaleOptions

_ONE_WARP = Lock()
"""Held by the thread that warps: rasterio turns its warnings off and on for all of them."""

PARTS = 2
"""Parts along one side of a fine cell that follow its slopes before a warp."""

EXACT = 1e-9
"""Cells by which places may be off in a warp: what is off more depends on the tile; with 0 rasterio opens none."""

SAMPLES = 33
"""Rows and columns of places that are looked at in a window."""

MARGIN = 2
"""Fine cells around those that the edge of a warped window falls on."""


def wanted_grid(grid: Grid, options: UpscaleOptions, shown: str) -> Grid:
    """The grid that is wanted of a raster.

    Parameters
    ----------
    grid : Grid
        That of the raster, or of the part of it that is wanted.
    options : UpscaleOptions
        With `like` or `resolution`.
    shown : str
        Name of the raster, for messages.

    Raises
    ------
    InputError
        If one of the two does not say where it lies.
    """
    if grid.affine is None:
        raise InputError(f"{shown} has no transform, which tells where cells lie: set one (gdal_translate -a_ullr)")
    if options.resolution is not None:
        return _of_resolution(grid, options.resolution, shown)
    assert options.like is not None
    path = local_path(options.like)
    name = printable(path.name)
    if sniff(path) != "GeoTIFF":
        raise InputError(f"{name}, the raster of like=, is no GeoTIFF: convert it first (gdal_translate)")
    with open_file(path, "GTiff", sidecars=False) as dataset:
        found = read_grid(dataset, name)
    if found.affine is None:
        raise InputError(
            f"{name}, the raster of like=, has no transform, which tells where its cells lie: warp it first (gdalwarp)"
        )
    if found.crs and not grid.crs:
        raise InputError(f"{shown} has no CRS, {name} has one: say which with crs=")
    if grid.crs and not found.crs:
        raise InputError(f"{name}, the raster of like=, has no CRS: set it (gdal_edit.py -a_srs)")
    return replace(found, rpcs=None)


def _of_resolution(grid: Grid, resolution: tuple[float, float], shown: str) -> Grid:
    """The grid of these cells that begins where a raster does, and covers all of it."""
    t = grid.affine
    assert t is not None
    if t.b or t.d:
        raise InputError(f"{shown} is rotated, so that resolution= has no meaning: give like=, or warp it first")
    factor_of(max(abs(t.a) / resolution[0], abs(t.e) / resolution[1]), shown)  # before so many cells are counted
    rows, columns = grid.shape
    width, height = math.copysign(resolution[0], t.a), math.copysign(resolution[1], t.e)
    shape = math.ceil(rows * t.e / height - TINY), math.ceil(columns * t.a / width - TINY)
    return replace(grid, shape=shape, affine=Affine(width, 0.0, t.c, 0.0, height, t.f), rpcs=None, gcps=())


def needed_factor(grid: Grid, wanted: Grid, shown: str) -> int:
    """Find the smallest factor that makes cells at least as fine as those wanted, by the median over what both show.

    Raises
    ------
    UsageError
        If they are coarser than those of the raster, or too fine.
    InputError
        If one grid cannot be placed on the other.
    """
    rows, columns = _cells_of(grid, wanted)
    if min(rows, columns) > 1 + TINY:
        raise UsageError(
            f"the wanted cells are coarser than those of {shown}, {max(rows, columns):.3g} times as wide: average it "
            "instead (gdalwarp -r average)"
        )
    return factor_of(1 / min(rows, columns), shown)


def factor_of(finer: float, shown: str) -> int:
    """Return the smallest factor that makes cells as many times finer than those of a raster.

    Raises
    ------
    UsageError
        If there is none.
    """
    if finer > FACTORS[-1] + TINY:
        raise UsageError(
            f"the wanted cells are {finer:.3g} times finer than those of {shown}: ask for cells at most "
            f"{FACTORS[-1]} times finer"
        )
    return max(FACTORS[0], math.ceil(finer - TINY))


def _cells_of(grid: Grid, wanted: Grid) -> tuple[float, float]:
    """Rows and columns of a grid to a wanted cell, the median over what both show."""
    columns, rows = _shared_places(grid, wanted)
    x, y = _places(grid, wanted, np.stack([columns, columns + 1, columns]), np.stack([rows, rows, rows + 1]))
    known = np.isfinite(x).all(0) & np.isfinite(y).all(0)
    found = tuple(
        float(np.median(np.hypot(*(each[1:] - each[0])[:, known]))) if known.any() else 0.0 for each in (y, x)
    )
    if not all(each > 0 for each in found):
        raise InputError("the wanted grid cannot be placed on the raster: do they lie in the same part of the world?")
    return found[0], found[1]


def _shared_places(grid: Grid, wanted: Grid) -> Array:
    """Some columns and rows ``(2, n)`` of a wanted grid that a grid shows, else those of its middle."""
    y, x = (n * (np.arange(SAMPLES) + 0.5) / SAMPLES for n in grid.shape)
    rows, columns = np.meshgrid(y, x, indexing="ij")
    places = _places(wanted, grid, columns, rows)
    ends = np.array(wanted.shape[::-1])
    there = ((places > 0) & (places < ends[:, None, None])).all(0)
    return places[:, there] if there.any() else ends[:, None] / 2


def _places(grid: Grid, wanted: Grid, columns: Array, rows: Array) -> Array:
    """Columns and rows of a grid ``(2, ...)`` where those of the wanted one lie; not finite where there are none."""
    assert grid.affine is not None
    assert wanted.affine is not None
    places = apply_affine(wanted.affine, columns, rows)
    if not same_crs(grid.crs, wanted.crs):
        places = _transform(wanted.crs, grid.crs, *places.reshape(2, -1)).reshape(places.shape)
    with np.errstate(invalid="ignore"):  # where they are infinite
        return apply_affine(~grid.affine, *places)


def _transform(here: CRS, there: CRS, x: Array, y: Array) -> Array:
    """Coordinates ``(2, n)`` in another CRS as GDAL has them; infinite where it does not reach."""
    with rasterio.Env(), quiet():
        try:
            return np.array(transform(here, there, x, y))
        except GDAL_ERRORS:  # it gives all or none: PROJ tells which there are
            start, end = (pyproj.CRS.from_wkt(each.to_wkt()) for each in (here, there))
            found = np.array(pyproj.Transformer.from_crs(start, end, always_xy=True).transform(x, y))
            known = np.isfinite(found).all(0)
            with suppress(*GDAL_ERRORS):
                found[:, known] = transform(here, there, x[known], y[known])
            return found


def overlap_on(fine: Grid, wanted: Grid, shown: str) -> AreaOverlap | WarpOverlap:
    """Where the cells of a wanted grid lie on a fine one.

    Raises
    ------
    InputError
        If they lie elsewhere.
    """
    assert fine.affine is not None
    assert wanted.affine is not None
    turned = any(abs(t.b) + abs(t.d) > 0 for t in (fine.affine, wanted.affine))
    overlap = WarpOverlap(fine, wanted) if turned or not same_crs(fine.crs, wanted.crs) else _overlap(fine, wanted)
    if not overlap.meets:
        raise InputError(f"the wanted grid covers nothing of {shown}: do they show the same part of the world?")
    return overlap


def _overlap(fine: Grid, wanted: Grid) -> AreaOverlap:
    """The overlap of grids of one CRS, whose longitudes may count from another meridian."""
    rows, columns = wanted.shape
    x, y = np.arange(columns + 1.0), np.arange(rows + 1.0)
    across, _ = _places(fine, wanted, x, np.zeros_like(x))
    _, along = _places(fine, wanted, np.zeros_like(y), y)
    top, left = (np.stack([edges[:-1], edges[1:]], 1) for edges in (along, across))
    if (turn := _columns_around(fine)) > 0:
        left = move_cells(left, fine.shape[1] / 2, turn, closed=period_along(fine) > 0)
    return AreaOverlap(AxisOverlap.of(top, fine.shape[0]), AxisOverlap.of(left, fine.shape[1]))


def _columns_around(grid: Grid) -> float:
    """Columns of a grid that go around the globe, as long as they are; 0 if none do."""
    if not grid.crs or grid.affine is None:
        return 0.0
    try:
        return circumference_of(pyproj.CRS.from_wkt(grid.crs.to_wkt())) / abs(grid.affine.a)
    except CRSError:
        return 0.0


@dataclass(frozen=True)
class WarpOverlap:
    """The cells of a wanted grid on a fine one in another CRS, or turned against it, as GDAL sees them.

    Parameters
    ----------
    fine, wanted : Grid
        The two grids.
    """

    fine: Grid
    wanted: Grid

    method = "warped (GDAL, average)"
    """In words, for the summary."""

    exact = False
    """Sums are not kept."""

    @property
    def shape(self) -> tuple[int, int]:
        """Wanted rows and columns."""
        return self.wanted.shape

    @cached_property
    def turn(self) -> float:
        """Fine columns that go around the globe, as long as they are; 0 if none do."""
        return _columns_around(self.fine)

    def shift(self, columns: int, cells: int) -> WarpOverlap:
        """The same with fine columns that are numbered from another one on, and are so many."""
        rows = self.fine.shape[0]
        return replace(self, fine=self.fine.crop(Window(0, rows, -columns, cells - columns)))

    def part(self, wanted: Window, fine: Window) -> WarpOverlap:
        """The same for a window of wanted cells on a window of fine ones."""
        return WarpOverlap(self.fine.crop(fine), self.wanted.crop(wanted))

    @cached_property
    def area(self) -> float:
        """Fine cells to a wanted one, the median over what both grids show."""
        return math.prod(_cells_of(self.fine, self.wanted))

    def areas(self, wanted: Window) -> Array:
        """Fine cells to each of some wanted ones, ``(y, x)``; the median for all."""
        return np.full(wanted.shape, self.area)

    @property
    def meets(self) -> bool:
        """True if some wanted cells lie on the fine grid."""
        low, high = self._reach(Window(0, self.shape[0], 0, self.shape[1]))
        return all(b > 0 and a < n for a, b, n in zip(low, high, self.fine.shape, strict=True))

    @property
    def complete(self) -> bool:
        """True if no wanted cell lies beyond the fine grid, as far as some places tell."""
        return all(self._covered)

    @property
    def complete_around(self) -> bool:
        """The same, where the fine grid goes around the globe, so that none lies beyond its first or last column."""
        return self._covered[0]

    @cached_property
    def _covered(self) -> tuple[bool, bool]:
        """True if all wanted cells lie within the first and last row of the fine grid; the same of columns."""
        whole = Window(0, self.shape[0], 0, self.shape[1])
        if not np.isfinite(self._some_places(whole)).all():
            return False, False
        ends = zip(*self._reach(whole), self.fine.shape, strict=True)
        rows, columns = (low >= -ROUNDING and high <= cells + ROUNDING for low, high, cells in ends)
        return rows, columns

    def _some_places(self, wanted: Window) -> Array:
        """Columns and rows of the fine grid where some places of a window lie; not finite where there are none."""
        y, x = np.linspace(wanted.y0, wanted.y1, SAMPLES), np.linspace(wanted.x0, wanted.x1, SAMPLES)
        rows, columns = np.meshgrid(y, x, indexing="ij")
        return _places(self.fine, self.wanted, columns, rows)

    def _reach(self, wanted: Window) -> tuple[tuple[float, float], tuple[float, float]]:
        """Smallest and largest row and column of the fine grid that places in a window lie on; some all over it."""
        x, y = (each[np.isfinite(each)] for each in self._some_places(wanted))
        if not (x.size and y.size):
            return (math.inf, math.inf), (-math.inf, -math.inf)
        if self.turn:  # places on one side of the date line are near those on the other
            middle = self.fine.shape[1] / 2
            if self.fine.shape[1] > self.turn - 0.5:  # around the globe, where they stay together
                x = x + self.turn * np.round((x[x.size // 2] - x) / self.turn)
                x = x + self.turn * round((middle - (x.min() + x.max()) / 2) / self.turn)
            else:
                x = x + self.turn * np.round((middle - x) / self.turn)
        return (float(y.min()), float(x.min())), (float(y.max()), float(x.max()))

    def needed(self, wanted: Window) -> Window:
        """Fine cells that a window of wanted ones needs; at least one."""
        ends = []
        for low, high, cells in zip(*self._reach(wanted), self.fine.shape, strict=True):
            margin = MARGIN + 0.01 * max(high - low, 0.0)  # where places between those looked at bulge
            first, last = (0, 0) if low > high else (math.floor(low - margin), math.ceil(high + margin))
            first = min(max(first, 0), cells - 1)
            ends += [first, max(min(last, cells), first + 1)]
        return Window(*ends)

    def average(self, field: Sums, fine: Window, wanted: Window, *, slopes: bool = True) -> Sums:
        """Average a field of some fine cells over some wanted ones; as cells are flat to GDAL, slopes make parts."""
        parts = PARTS if slopes else 1
        if slopes:
            field = AreaOverlap.of_parts(fine.shape, parts).split(field)
        return Sums(*self._warp(np.stack(field), fine, parts, wanted, Resampling.average, 0.0))

    def majority(self, values: Array, valid: Mask, fine: Window, wanted: Window) -> Array:
        """Find the value that most of the valid part of each wanted cell has; the lowest there is where none is."""
        known, numbers = np.unique(values, return_inverse=True)  # for GDAL keeps about seven digits of a value
        marked = np.where(valid, numbers.reshape(values.shape).astype(np.float64), np.nan)
        found = self._warp(marked[None], fine, 1, wanted, Resampling.mode, np.nan)[0]
        most: Array = known[np.nan_to_num(found).astype(np.int64)]
        return most

    def _warp(
        self, layers: Array, fine: Window, parts: int, wanted: Window, method: Resampling, nodata: float
    ) -> Array:
        """Warp fields of parts of fine cells onto a window of wanted ones.

        Around the globe once more from half a turn on, for wanted cells that lie over the ends of the first.
        """
        around = Window(fine.y0 - 1, fine.y1 + 1, fine.x0 - 1, fine.x1 + 1)
        if not self.turn or fine.shape[1] < self.turn:  # in a frame, so that what lies beyond counts as missing
            layers = np.pad(layers, ((0, 0), (parts, parts), (parts, parts)), constant_values=nodata)
            return self._warp_from(layers, self.fine.crop(around).refine(parts), parts, wanted, method, nodata)
        count = round(self.turn * parts)
        half, place = count // 2, self.fine.crop(fine).refine(parts)
        layers = layers[..., :count]
        first = self._warp_from(layers, place, parts, wanted, method, nodata)
        moved = place.crop(Window(0, place.shape[0], half, half + count))
        second = self._warp_from(np.roll(layers, -half, axis=-1), moved, parts, wanted, method, nodata)
        rows, columns = np.mgrid[wanted.y0 : wanted.y1, wanted.x0 : wanted.x1] + 0.5
        turns = (_places(self.fine, self.wanted, columns, rows)[0] - fine.x0) / self.turn
        within: Array = np.abs(turns - np.floor(turns) - 0.5) < 0.25
        return np.where(within, first, second)

    def _warp_from(
        self, layers: Array, place: Grid, parts: int, wanted: Window, method: Resampling, nodata: float
    ) -> Array:
        """Warp fields of a place onto a window of wanted cells."""
        bands, rows, columns = layers.shape
        assert place.affine is not None
        place = _within_turn(replace(place, shape=(rows, columns)), abs(place.affine.a) * self.turn * parts)
        profile = {"driver": "GTiff", "dtype": "float64", "count": bands, "height": rows, "width": columns}
        options = {
            "src_crs": place.crs,
            "crs": self.wanted.crs,
            "transform": self.wanted.crop(wanted).affine,
            "height": wanted.shape[0],
            "width": wanted.shape[1],
            "src_nodata": nodata if math.isnan(nodata) else None,
            "nodata": nodata if math.isnan(nodata) else None,
            "tolerance": EXACT,
        }
        with _ONE_WARP, rasterio.Env(), quiet(), MemoryFile() as memory:
            with memory.open(crs=self.fine.crs, transform=place.affine, **profile) as file:
                file.write(layers)
            with memory.open() as file, WarpedVRT(file, resampling=method, **options) as warped:
                found: Array = warped.read()
        return found


def _within_turn(grid: Grid, circumference: float) -> Grid:
    """A grid as GDAL counts places: where it goes over the ends of a turn, in a CRS that has it in its middle."""
    t = grid.affine
    assert t is not None
    if not circumference:
        return grid
    with quiet():
        words = {name: value for name, _, value in (word.partition("=") for word in grid.crs.to_proj4().split())}
    geographic = grid.crs.is_geographic
    easting = 0.0 if geographic else float(words.get("+x_0", 0)) / grid.crs.linear_units_factor[1]
    middle = t.c + t.a * grid.shape[1] / 2 - easting
    turns = circumference * round(middle / circumference)
    moved = replace(grid, affine=Affine(t.a, t.b, t.c - turns, t.d, t.e, t.f))
    west, _, east, _ = moved.bounds
    if max(abs(west - easting), abs(east - easting)) <= circumference / 2 + TINY * abs(t.a):
        return moved
    if geographic:
        words["+lon_wrap"] = str(middle - turns)
    else:
        meridian = float(words.get("+lon_0", 0)) + FULL_CIRCLE * middle / circumference
        words["+lon_0"] = str(move_near(meridian, 0.0))
        moved = replace(grid, affine=Affine(t.a, t.b, t.c - middle, t.d, t.e, t.f))
    with quiet():
        return replace(
            moved, crs=CRS.from_string(" ".join(f"{name}={value}".rstrip("=") for name, value in words.items()))
        )
