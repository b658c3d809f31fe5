"""A field of a CF dataset as a GeoTIFF: its bands, their labels, and its grid as a GeoTIFF can state it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import rasterio.crs
import xarray as xr
from affine import Affine
from pyproj import CRS
from rasterio.enums import ColorInterp

from geofsrcnn._types import Array, Write, each_of
from geofsrcnn.cf.crs import crs_of, in_units_of
from geofsrcnn.cf.encoding import missing_of, packing_of
from geofsrcnn.cf.grid import CFGrid, axis_along, coordinate_values
from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.formats.creation import Format
from geofsrcnn.formats.error_bands import with_error_bands
from geofsrcnn.formats.gdal import warn_of_proj
from geofsrcnn.formats.georeference import as_geotiff_holds
from geofsrcnn.formats.geotiff import GeoTiffSink
from geofsrcnn.formats.raster import Band, RasterMetadata
from geofsrcnn.formats.writer import Index, NewField
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.axis import Axis
from geofsrcnn.grids.longitude import unwrap
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import Missing
from geofsrcnn.values.expected_errors import error_name


class GeoTIFFWriter:
    """A GeoTIFF of one field, a band for each index of its other dimensions; behind them perhaps its expected errors.

    North is up and east is right in it, whichever way the rows and columns of the dataset go.

    Parameters
    ----------
    path : Path
        Not yet existing.
    dataset : Dataset
        The coarse one, for labels of bands.
    grid : Grid
        Of the fine cells; see `grid_of`.
    form : Format
        How to write.
    threads : int
        Threads that compress.

    Raises
    ------
    OutputError, UsageError, InputError
        If it cannot be written, or an option is wrong.
    """

    bands_first = True

    def __init__(self, path: Path, dataset: xr.Dataset, grid: Grid, form: Format, threads: int = 1) -> None:
        self._path, self._dataset, self._form, self._threads = path, dataset, form, threads
        self._grid, self._flipped = north_up(grid)
        self._names: list[str] = []
        self._held = ExitStack()
        self._sink: GeoTiffSink | None = None
        self._missing = Missing()
        self._lead: tuple[int, ...] = ()

    def define(self, fields: Sequence[NewField]) -> None:
        """The field; then its expected errors, which are not packed, as floats of the field's type."""
        values, *errors = fields
        self._names = [new.name for new in fields]
        metadata = self._describe(values)
        if errors:
            metadata = self._with_errors(metadata, errors[0])
        block = values.chunks[-1]
        sink = GeoTiffSink(self._path, metadata, self._grid, block, self._form, threads=self._threads)
        self._sink = self._held.enter_context(sink)

    def _with_errors(self, metadata: RasterMetadata, new: NewField) -> RasterMetadata:
        values = metadata.bands
        metadata = with_error_bands(metadata, range(len(values)))
        described = zip(metadata.bands[len(values) :], _error_descriptions(self._dataset, new), strict=True)
        return replace(metadata, bands=[*values, *(replace(b, description=words) for b, words in described)])

    def _describe(self, new: NewField) -> RasterMetadata:
        variable = xr.Variable(tuple(new.sizes), np.empty([0] * len(new.sizes), new.dtype), new.attrs)
        coarse = self._dataset.variables.get(new.name)
        if coarse is not None and coarse.dtype == new.dtype:  # which may say that it comes from NetCDF
            variable.encoding = {**coarse.encoding, "dtype": new.dtype}
        packing, self._missing = packing_of(variable), missing_of(variable)
        self._dtype = packing.dtype.newbyteorder("=")  # bytes may count from 0 to 255 under another sign
        floats = () if new.dtype.kind != "f" else (float("nan"),)
        nodata = next(iter((*packing.missing.marks, *floats, *self._missing.marks)), None)
        self._lead = tuple(new.sizes.values())[:-2]
        bands = [
            Band(
                index=index,
                dtype=self._dtype,
                nodata=nodata,
                scale=packing.scale,
                offset=packing.offset,
                description=description,
                unit=str(new.attrs["units"]) if "units" in new.attrs else None,
                colour=ColorInterp.gray if index == 1 else ColorInterp.undefined,
                bits=None,
            )
            for index, description in enumerate(_descriptions(self._dataset, new), 1)
        ]
        return RasterMetadata(
            bands=bands,
            alpha=(),
            order=[band.index for band in bands],
            interleave="band",
            colourmap=None,
            tags={k: str(v) for k, v in self._dataset.attrs.items() if isinstance(v, str) and k != "history"},
            domains={},
            creation={},
            raw=True,
        )

    def prepare(self, name: str, index: Index, values: Array) -> Write:
        """Some bands of a window."""
        assert self._sink is not None, name
        sides = zip(index[-2:], self._grid.shape, self._flipped, strict=True)
        rows, columns = (slice(n - part.stop, n - part.start) if flip else part for part, n, flip in sides)
        window = Window(rows.start, rows.stop, columns.start, columns.stop)
        missing = self._missing if name == self._names[0] else Missing()
        count = np.prod(self._lead, dtype=int)
        bands = np.arange(count).reshape(self._lead)[index[:-2]].ravel() + count * self._names.index(name)
        layers = values.reshape(-1, *values.shape[-2:]).astype(values.dtype.newbyteorder("="), copy=False)
        layers = layers.view(self._dtype)
        layers = np.ascontiguousarray(
            np.flip(layers, tuple(axis for axis, flip in enumerate(self._flipped, 1) if flip))
        )
        writes = [
            self._sink.prepare(window, Cells(layer[None], missing.valid(layer)[None]), slice(int(band), int(band) + 1))
            for band, layer in zip(bands, layers, strict=True)
        ]
        return each_of(writes)

    def finish(self, each_part: Callable[[], None], threads: int) -> None:
        """Close the file, and compare it with what was written."""
        assert self._sink is not None
        self._sink.finish(each_part, threads)

    def close(self) -> None:
        """Let go of the file."""
        if self._sink is not None:
            self._sink.abandon()
        self._held.close()


def _descriptions(dataset: xr.Dataset, new: NewField) -> list[str]:
    """Descriptions of bands: the field's title, unless bands have names of their own, and a label of each dimension."""
    labels, named = _labels_of_bands(dataset, new)
    title = [] if named else [str(new.attrs.get("long_name") or new.attrs.get("standard_name") or new.name)]
    return [", ".join((*title, *words)) for words in labels]


def _error_descriptions(dataset: xr.Dataset, new: NewField) -> list[str]:
    """Descriptions of bands of expected errors: labels of dimensions, then NAME_error of the field, or of each band."""
    labels, named = _labels_of_bands(dataset, new)
    return [error_name(", ".join(words)) if named else ", ".join((*words, new.name)) for words in labels]


def _labels_of_bands(dataset: xr.Dataset, new: NewField) -> tuple[list[tuple[str, ...]], bool]:
    """A label of each dimension for each band, and whether these are names of their own."""
    lead = list(new.sizes.items())[:-2]
    names = [_names(dataset, dim) for dim, _ in lead]
    labels = [known or _labels(dataset, dim, size) for known, (dim, size) in zip(names, lead, strict=True)]
    return list(itertools.product(*labels)), any(len(set(known)) > 1 for known in names)


def _names(dataset: xr.Dataset, dim: str) -> list[str]:
    """Names along a dimension whose own coordinate only counts, of the first text that lies along it."""
    own = dataset.variables.get(dim)
    if own is not None and not (own.dtype.kind in "iu" and np.all(np.diff(own.to_numpy().astype(np.int64)) == 1)):
        return []
    if own is not None and "units" in own.attrs:
        return []
    for name, variable in dataset.variables.items():
        if name != dim and variable.dims[:1] == (dim,) and variable.dtype.kind in "OUTS":
            text = xr.decode_cf(xr.Dataset({"text": variable}))["text"]
            if text.dims == (dim,):
                texts = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in text.to_numpy()]
                return [printable(str(each)) for each in texts]
    return []


def _labels(dataset: xr.Dataset, dim: str, size: int) -> list[str]:
    """Return what stands along a dimension, dates as such."""
    if dim not in dataset.variables or dataset.variables[dim].ndim != 1:
        return [f"{dim} {i}" for i in range(size)]
    alone = dataset[[dim]]
    try:
        values = decode_times(alone, "the dataset")[dim]
    except (InputError, ValueError, OverflowError, KeyError):
        values = alone[dim]
    unit = values.attrs.get("units", "")
    if values.dtype.kind == "M":
        return [f"{dim} {np.datetime_as_string(v, 's')}" for v in values.to_numpy()]
    if values.dtype.kind == "f":
        return [f"{dim} {v:g} {unit}".strip() for v in values.to_numpy()]
    return [printable(f"{dim} {v} {unit}".strip()) for v in values.to_numpy()]


def north_up(grid: Grid) -> tuple[Grid, tuple[bool, bool]]:
    """A grid whose rows go south and whose columns go east, and whether rows and columns are flipped for it."""
    t = grid.affine
    if t is None:
        return grid, (False, False)
    (rows, columns), flipped = grid.shape, (t.e > 0, t.a < 0)
    top, down = (t.f + t.e * rows, -t.e) if flipped[0] else (t.f, t.e)
    left, right = (t.c + t.a * columns, -t.a) if flipped[1] else (t.c, t.a)
    return replace(grid, affine=Affine(right, t.b, left, t.d, down, top)), flipped


def even_rows(dataset: xr.Dataset, grid: CFGrid) -> slice:
    """Rows that a GeoTIFF can say: all, or with a warning all but those around the poles, whose cells are cut there."""
    rows = grid.shape[0]
    if grid.even or grid.kind != "latitude-longitude":
        return slice(0, rows)
    along = axis_along(dataset, str(grid.y_coordinate))
    first, last = (abs(abs(edge) - 90) < 1e-6 for edge in (along.edges[0, 0], along.edges[-1, 1]))
    part = slice(int(first), rows - int(last))
    if not Axis(along.values[part], along.edges[part]).even or not axis_along(dataset, str(grid.x_coordinate)).even:
        return slice(0, rows)
    dropped = rows - (part.stop - part.start)
    what = "one row" if dropped == 1 else "two rows"
    warn("W-POLES", f"a GeoTIFF cannot say the half cells at the poles: {what} left out, which NetCDF would have")
    return part


def grid_of(dataset: xr.Dataset, grid: CFGrid, rows: slice | None = None) -> Grid:
    """The grid of a dataset's cells as a GeoTIFF can state it, or of some of its rows, in the dataset's order.

    Raises
    ------
    InputError
        If it cannot: cells that are uneven, rotated pole, latitude and longitude of two dimensions, no coordinates.
    """
    every_row = slice(0, grid.shape[0])
    part = every_row if rows is None else rows
    _refuse_grid(grid, even=grid.even or part != every_row)
    crs = crs_of(dataset, grid)
    if crs is None and grid.kind == "latitude-longitude":
        warn("W-DATUM", "latitude and longitude without a grid mapping: the GeoTIFF says WGS 84")
        crs = CRS.from_epsg(4326)
    elif crs is None:
        warn("W-NOGEO", "the grid has no grid mapping: the GeoTIFF has no CRS")
    top, down = _edge_and_step(dataset, grid, str(grid.y_coordinate), part, crs)
    left, right = _edge_and_step(dataset, grid, str(grid.x_coordinate), slice(None), crs)
    shape = part.stop - part.start, grid.shape[1]
    warn_of_proj()
    with rasterio.Env():  # which tells PROJ where its database is
        known = None if crs is None else rasterio.crs.CRS.from_wkt(crs.to_wkt())
    return as_geotiff_holds(Grid(shape, Affine(right, 0.0, left, 0.0, down, top), known), "the dataset")


def _refuse_grid(grid: CFGrid, *, even: bool) -> None:
    """Refuse a grid that no affine transform gives, with an InputError."""
    obstacle = {
        "rotated": "a rotated pole",
        "curvilinear": "latitude and longitude of two dimensions",
        "index": "no coordinates",
    }.get(grid.kind)
    if obstacle is None and not even:
        obstacle = "unevenly spaced rows or columns"
    if obstacle is not None:
        raise InputError(f"the grid has {obstacle}, which a GeoTIFF cannot say: write NetCDF or Zarr, or warp it first")


def _edge_and_step(dataset: xr.Dataset, grid: CFGrid, name: str, part: slice, crs: CRS | None) -> tuple[float, float]:
    """Return the outer edge of the first cell along a coordinate, and the cells' size, in units of the CRS."""
    variable = dataset[name]
    degrees = grid.kind == "latitude-longitude"
    values = coordinate_values(variable)[part].astype(np.float64)
    if degrees and name == grid.x_coordinate:
        values = unwrap(values)
    if values.size < 2:
        raise InputError(f"the grid has one cell along {printable(name)}: a GeoTIFF cannot say its size")
    step = (values[-1] - values[0]) / (values.size - 1)
    units = "degree" if degrees else str(variable.attrs.get("units", ""))
    unit = 1.0 if crs is None else in_units_of(crs, units, printable(name))
    return unit * (values[0] - step / 2), unit * step
