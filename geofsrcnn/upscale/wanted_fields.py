"""The grid that is wanted of a dataset, like another dataset's or of a resolution, instead of a finer one of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import join_names
from geofsrcnn.cf.grid import CFGrid, axis_along, find_grid
from geofsrcnn.cf.places import bounds_name
from geofsrcnn.cf.refine import Refinement, Role, fine_mappings
from geofsrcnn.errors import GeofsrcnnError, InputError, UsageError, printable, warn
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.field_tiff import even_rows, grid_of
from geofsrcnn.formats.georeference import as_geotiff_holds
from geofsrcnn.formats.open import open_dataset
from geofsrcnn.formats.wanted import factor_of, needed_factor, overlap_on, wanted_grid
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.axis import EVEN, Axis
from geofsrcnn.grids.fine import TINY
from geofsrcnn.grids.longitude import FULL_CIRCLE, move_cells
from geofsrcnn.grids.overlap import AreaOverlap, AxisOverlap, Sums
from geofsrcnn.grids.windows import Window
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.pairs.frames import frame_of, transform_axes
from geofsrcnn.upscale.fields import Field, onto_of

SHOWN = ("the dataset", "like=")

AXES = ("latitude-longitude", "projected", "rotated")
"""Kinds of grids whose cells coordinates of one dimension tell."""


@dataclass(frozen=True)
class WantedAxes:
    """Cells that are wanted of a dataset.

    Parameters
    ----------
    grid : CFGrid
        The dataset's own.
    coarse, wanted : tuple of Axis
        Rows and columns, of the dataset and wanted.
    words : str
        Which cells these are.
    """

    grid: CFGrid
    coarse: tuple[Axis, Axis]
    wanted: tuple[Axis, Axis]
    words: str

    @classmethod
    def of(
        cls,
        dataset: xr.Dataset,
        like: xr.Dataset | xr.DataArray | None,
        resolution: tuple[float, float] | None,
        x: str | None = None,
        y: str | None = None,
    ) -> WantedAxes:
        """Find the cells that are wanted of a dataset.

        Raises
        ------
        InputError
            If one of the two says not where its cells lie, or they lie in other CRSs.
        """
        with warnings.catch_warnings(action="ignore"):  # they come when the dataset is made finer
            grid = find_grid(dataset, x=x, y=y)
        coarse = _axes_of(dataset, grid, SHOWN[0])
        _refuse_gaps(coarse)
        if resolution is not None:
            width, height = resolution
            factor_of(max(_width(coarse[0]) / height, _width(coarse[1]) / width), SHOWN[0])  # before so many are made
            wanted = _of_width(coarse[0], height), _of_width(coarse[1], width)
            return cls(grid, coarse, wanted, f"averaged by area onto cells of {width:g} x {height:g}")
        assert like is not None
        other = like.to_dataset(name="field") if isinstance(like, xr.DataArray) else like
        try:
            there = find_grid(other)
        except GeofsrcnnError as error:
            raise InputError(f"like= has no grid: {error}") from None
        wanted = _axes_of(other, there, SHOWN[1])
        frames = frame_of(dataset, grid), frame_of(other, there)
        places = _some(wanted[0].values), _some(wanted[1].values)
        if grid.kind != there.kind or transform_axes(*places, frames[1], frames[0], SHOWN[::-1]) is not None:
            raise InputError(
                f"the dataset is {frames[0]}, like= {frames[1]}: reproject one of them first (rioxarray), or take "
                "GeoTIFFs, which are warped"
            )
        return cls(grid, coarse, wanted, "averaged by area onto the cells of another dataset")

    @classmethod
    def of_options(cls, dataset: xr.Dataset, options: UpscaleOptions) -> WantedAxes:
        """Find the cells that options of a run over files ask for; `like` may be any file.

        Raises
        ------
        GeofsrcnnError
            As `of` does, and if that file cannot be read.
        """
        if options.like is None:
            return cls.of(dataset, None, options.resolution, options.x, options.y)
        path = local_path(options.like)
        with warnings.catch_warnings(action="ignore"), open_dataset(path, raw=True) as other:  # its fields do not count
            found = cls.of(dataset, other, None, options.x, options.y)
        return replace(found, words=f"{AreaOverlap.method} onto {options.wanted_cells}")

    @property
    def factor(self) -> int:
        """The smallest factor that makes cells at least as fine as those wanted.

        Raises
        ------
        UsageError
            If they are coarser than those of the dataset, or too fine.
        """
        pairs = zip(self.coarse, self.wanted, strict=True)
        finer = [_width(coarse) / _width(wanted) for coarse, wanted in pairs]
        if max(finer) < 1 - TINY:
            raise UsageError(
                f"the wanted cells are coarser than those of the dataset, {1 / min(finer):.3g} times as wide: average "
                "it instead (xarray's coarsen, or cdo remapcon)"
            )
        return factor_of(max(finer), SHOWN[0])

    geotiff = None
    """The grid of a GeoTIFF, which this is not for."""

    def put(self, fields: Sequence[Field], period: int) -> list[Field]:  # noqa: ARG002  as of `WantedRaster`
        """Say of fields, which the plan has put onto the wanted cells, how they come there."""
        onto = [each.onto and replace(each.onto, method=self.words) for each in fields]
        return [replace(each, onto=described) for each, described in zip(fields, onto, strict=True)]

    def put_plan(self, dataset: xr.Dataset, plan: Refinement) -> Refinement:
        """Put the plan of a finer dataset onto the wanted cells.

        Raises
        ------
        InputError
            If these lie elsewhere.
        """
        (rows, columns), (y, x) = self.coarse, self.wanted
        if self.grid.kind != "projected":
            middle = float(columns.edges.mean())
            x = replace(x, edges=move_cells(x.edges, middle, FULL_CIRCLE, closed=plan.grid.period > 0))
        overlap = AreaOverlap(_overlap(rows, y, plan.factor), _overlap(columns, x, plan.factor))
        if not overlap.meets:
            raise InputError("the wanted grid covers nothing of the dataset: check the coordinates of both")
        derived = {**self._coordinates(dataset, plan), **_areas(plan, overlap)}
        derived |= fine_mappings(dataset, replace(self.grid, even=all(each.even for each in self.wanted)), derived)
        lost = [name for name in plan.derived if name not in derived and name in dataset.variables]
        if lost:
            warn("W-PLACES", f"left out, for they say where cells of another grid are: {join_names(lost)}")
        roles = {name: Role.OMITTED if name in lost else role for name, role in plan.roles.items()}
        return replace(plan, roles=roles, derived=derived, overlap=overlap)

    def _coordinates(self, dataset: xr.Dataset, plan: Refinement) -> dict[str, xr.Variable]:
        """Coordinates of the wanted rows and columns, and their boundaries where the finer ones have some."""
        found = {}
        names = self.grid.y_coordinate, self.grid.x_coordinate
        for name, axis in zip(map(str, names), self.wanted, strict=True):
            fine = plan.derived[name]
            found[name] = xr.Variable(fine.dims, axis.values, fine.attrs, fine.encoding)
            bounds = fine.attrs.get("bounds") or bounds_name(dataset, dataset[name])
            if bounds in plan.derived:
                edges = plan.derived[bounds]
                found[bounds] = xr.Variable(edges.dims, axis.edges, edges.attrs, edges.encoding)
        return found


@dataclass(frozen=True)
class WantedRaster:
    """Cells of a GeoTIFF that are wanted of a dataset.

    Parameters
    ----------
    coarse, wanted : Grid
        Those of the dataset, and those that are wanted.
    words : str
        Which cells these are.
    """

    coarse: Grid
    wanted: Grid
    words: str

    @classmethod
    def of_options(cls, dataset: xr.Dataset, options: UpscaleOptions) -> WantedRaster:
        """Find the cells that options of a run over files ask for.

        Raises
        ------
        GeofsrcnnError
            If the dataset has none that a GeoTIFF can say, or that file cannot be read.
        """
        grid = find_grid(dataset, variables=options.variables or None, x=options.x, y=options.y)
        rows = even_rows(dataset, grid)
        part = grid_of(dataset, grid, rows)
        coarse = part.crop(Window(-rows.start, grid.shape[0] - rows.start, 0, grid.shape[1]))  # those at poles as whole
        return cls(coarse, wanted_grid(part, options, SHOWN[0]), options.wanted_cells)

    @property
    def factor(self) -> int:
        """The smallest factor that makes cells at least as fine as those wanted."""
        return needed_factor(self.coarse, self.wanted, SHOWN[0])

    @property
    def geotiff(self) -> Grid:
        """The grid of the GeoTIFF."""
        return as_geotiff_holds(self.wanted, SHOWN[0])

    def put_plan(self, dataset: xr.Dataset, plan: Refinement) -> Refinement:  # noqa: ARG002  as of `WantedAxes`
        """Leave the plan as it is: a GeoTIFF holds no coordinates."""
        return plan

    def put(self, fields: Sequence[Field], period: int) -> list[Field]:
        """Put fields onto the wanted cells.

        Raises
        ------
        UsageError, InputError
            If these lie elsewhere, or a field cannot come there.
        """
        found = []
        for field in fields:
            overlap = overlap_on(self.coarse.refine(field.factor), self.wanted, SHOWN[0])
            if field.total and not overlap.exact:
                raise UsageError(f"{printable(field.name)} holds totals of cells, which a warp does not keep")
            words = f"{overlap.method} onto {self.words}"
            found.append(replace(field, onto=replace(onto_of(field, overlap, period), method=words)))
        return found


def _axes_of(dataset: xr.Dataset, grid: CFGrid, shown: str) -> tuple[Axis, Axis]:
    """Rows and columns of a grid; an InputError where it has none."""
    if grid.kind not in AXES:
        raise InputError(
            f"{shown} has a grid that is {grid.kind}: a wanted grid takes coordinates of one dimension each"
        )
    return axis_along(dataset, str(grid.y_coordinate)), axis_along(dataset, str(grid.x_coordinate))


def _refuse_gaps(axes: tuple[Axis, Axis]) -> None:
    """Refuse cells that do not follow each other: what lies between them would come from one of them."""
    for words, axis in zip(("rows", "columns"), axes, strict=True):
        gaps = np.abs(axis.edges[1:, 0] - axis.edges[:-1, 1])
        if gaps.size and gaps.max() > EVEN * _width(axis):
            raise InputError(
                f"{SHOWN[0]} has {words} with gaps between their bounds, or that overlap: reindex it, or "
                "drop the bounds"
            )


def _some(values: Array) -> Array:
    """Coordinates of two neighbours at either end and in the middle: a CRS that is the same there is the same."""
    last = len(values) - 1
    found: Array = values[np.unique(np.clip([0, 1, last // 2, last // 2 + 1, last - 1, last], 0, last))]
    return found


def _width(axis: Axis) -> float:
    """Width of a cell, the median."""
    return float(np.median(np.abs(np.diff(axis.edges))))


def _of_width(axis: Axis, width: float) -> Axis:
    """Cells of a width from where an axis begins on, which cover all of it."""
    first, last = axis.edges[0, 0], axis.edges[-1, 1]
    count = max(1, math.ceil(abs(last - first) / width - TINY))
    edges = first + math.copysign(width, last - first) * np.arange(count + 1)
    return Axis((edges[1:] + edges[:-1]) / 2, np.stack([edges[:-1], edges[1:]], axis=1))


def _overlap(coarse: Axis, wanted: Axis, factor: int) -> AxisOverlap:
    """Wanted cells on the parts of coarse ones, counted in these."""
    fine = coarse.split(factor).edges
    return AxisOverlap.of(_counted(np.append(fine[:, 0], fine[-1, 1]), wanted.edges), len(fine))


def _counted(borders: Array, places: Array) -> Array:
    """Places counted in cells between borders, which rise or fall; beyond them in cells as wide as the last ones."""
    sign = 1.0 if borders[-1] > borders[0] else -1.0
    rising, wanted = sign * borders, sign * places
    found = np.interp(wanted, rising, np.arange(len(rising)))
    before, after = rising[1] - rising[0], rising[-1] - rising[-2]
    found = np.where(wanted < rising[0], (wanted - rising[0]) / before, found)
    return np.where(wanted > rising[-1], len(rising) - 1 + (wanted - rising[-1]) / after, found)


def _areas(plan: Refinement, overlap: AreaOverlap) -> dict[str, xr.Variable]:
    """Cell areas, shared out by how much of them lies in the wanted cells."""
    y, x = plan.grid.y, plan.grid.x
    found = {}
    for name, area in plan.derived.items():
        if area.attrs.get("standard_name") != "cell_area" or not {y, x} <= set(area.dims):
            continue
        values = area.transpose(..., y, x).to_numpy().astype(np.float64)
        valid = np.isfinite(values)
        fine, wanted = (Window(0, shape[0], 0, shape[1]) for shape in (values.shape[-2:], overlap.shape))
        sums = overlap.average(Sums(np.where(valid, values, 0.0), valid.astype(np.float64)), fine, wanted)
        shared = np.where(sums.shares > 0, sums.values * overlap.areas(wanted), np.nan).astype(area.dtype)
        dims = area.transpose(..., y, x).dims
        found[name] = xr.Variable(dims, shared, area.attrs, area.encoding).transpose(*area.dims)
    return found
