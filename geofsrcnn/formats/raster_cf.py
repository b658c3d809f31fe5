"""Rasters as CF datasets: a GeoTIFF on its way to NetCDF or Zarr.

The grid mapping is written as CF 1.11 and as GDAL read it: parameters, ``crs_wkt``, ``spatial_ref`` and
``GeoTransform``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from pyproj import CRS
from xarray.backends import BackendArray
from xarray.core import indexing

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import CONVENTIONS
from geofsrcnn.cf.crs import axes_of, geotransform_text, mapping_of
from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.formats.nodata import mark_for_mask
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.encoding import SCALING
from geofsrcnn.values.quantity import Kind, Quantity

NAME = "band_data"
"""The variable that a raster becomes, as in rioxarray."""

MAPPING = "spatial_ref"
"""Its grid mapping, as in rioxarray."""


class _Stored(BackendArray):
    """The stored values of a raster's bands, read when they are asked for."""

    def __init__(self, source: RasterSource, mark: float | None) -> None:
        self._source, self._mark = source, mark
        self.shape, self.dtype = source.shape, source.bands[0].dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Array:
        return np.asarray(
            indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)
        )

    def _read(self, key: tuple[Any, ...]) -> Array:
        parts = [
            slice(k, k + 1) if isinstance(k, int) else slice(*k.indices(n))
            for k, n in zip(key, self.shape, strict=True)
        ]
        bands, rows, columns = parts
        cells = self._source.read(Window(rows.start, rows.stop, columns.start, columns.stop), bands)
        values = cells.values
        if self._mark is not None and not cells.valid.all():
            values = np.where(cells.valid, values, values.dtype.type(self._mark))
        return values[tuple(0 if isinstance(k, int) else slice(None, None, k.step) for k in key)]


def dataset_of(source: RasterSource, quantities: Sequence[Quantity]) -> xr.Dataset:
    """A raster as a CF dataset, its cells not read: `band_data` along band, y and x, and a grid mapping.

    The dataset's tags become its attributes; of a colour table and tags of bands, which have no place
    there, a warning says so.

    Parameters
    ----------
    source : RasterSource
        Opened; reads stored values from here on.
    quantities : sequence of Quantity
        What each band is; the dataset's encoding says it to `cf.refine`.

    Raises
    ------
    InputError
        If the raster holds what a CF grid cannot say: rotation, control points, bands of several types or packings.
    """
    shown = printable(source.path.name)
    _refuse_unsayable(source, quantities, shown)
    mark = source.bands[0].nodata
    if mark is None and (source.has_mask or source.alpha_as_mask):
        mark = mark_for_mask(source.bands[0].dtype, f"{shown} has a mask")
    _warn_of_left_out(source, shown)
    source.raw = True
    lazy = indexing.LazilyIndexedArray(_Stored(source, mark))
    values = xr.Variable(("band", "y", "x"), lazy, _attrs_of_values(source, mark, shown))
    variables: dict[str, xr.Variable] = {}
    if len(source.bands) == 1:
        values = values.isel(band=0)
    else:
        variables["band"] = xr.Variable("band", np.array([b.index for b in source.bands], "int32"))
        if any(b.description for b in source.bands):
            names = [b.description or f"band {b.index}" for b in source.bands]
            variables["band_name"] = xr.Variable("band", np.array(names, object))
            values.attrs["coordinates"] = "band_name"
    grid = source.grid
    if grid.affine is not None:
        values.attrs["grid_mapping"] = MAPPING
        crs = None if grid.crs is None else CRS.from_wkt(grid.crs.to_wkt())
        variables |= _coordinates(grid.affine, grid.shape, crs)
    variables[NAME] = values
    dataset = xr.Dataset(variables, attrs={**source.tags, "Conventions": CONVENTIONS, "source": shown})
    dataset.encoding["quantities"] = {NAME: quantities}
    return dataset


def _refuse_unsayable(source: RasterSource, quantities: Sequence[Quantity], shown: str) -> None:
    """Refuse rasters that hold what one variable on a CF grid cannot say, with an InputError."""
    t = source.grid.affine
    if source.grid.gcps or source.grid.rpcs is not None:
        raise InputError(f"{shown} is placed by control points, which NetCDF and Zarr do not carry: write a GeoTIFF")
    if t is not None and (t.b or t.d):
        raise InputError(f"{shown} is rotated, which NetCDF and Zarr do not carry: write a GeoTIFF")
    for what in ("dtype", "nodata", "scale", "offset"):
        if len({repr(getattr(band, what)) for band in source.bands}) > 1:
            raise InputError(f"bands of {shown} differ in {what}: upscale them one by one with bidx=")
    kinds = {q.kind for q in quantities}
    if Kind.TOTAL in kinds and len(kinds) > 1:
        listed = ", ".join(f"{b.index} {q.kind.value}" for b, q in zip(source.bands, quantities, strict=True))
        raise InputError(f"some bands of {shown} are totals ({listed}): upscale them one by one with bidx=")


def _warn_of_left_out(source: RasterSource, shown: str) -> None:
    """Warn of what only a GeoTIFF keeps."""
    tagged = any(band.domains or any(not key.startswith("GRIB_") for key in band.tags) for band in source.bands)
    left_out = {
        "a colour table": source.colourmap is not None,
        "tags of bands": tagged,
        "tags of other domains": bool(source.domains),
        "a coordinate epoch": source.grid.epoch is not None,
        "units that differ between bands": len({band.unit for band in source.bands}) > 1,
    }
    if words := " and ".join(what for what, there in left_out.items() if there):
        warn("W-LEFT-OUT", f"{shown} has {words}, which only a GeoTIFF output keeps")


def _attrs_of_values(source: RasterSource, mark: float | None, shown: str) -> dict[str, Any]:
    """Return the attributes of the variable with all bands: how it is stored, units, title."""
    first, alone = source.bands[0], len(source.bands) == 1
    attrs: dict[str, Any] = {} if mark is None else {"_FillValue": first.dtype.type(mark)}
    if not first.packing.plain:
        attrs |= dict(zip(SCALING, (first.scale, first.offset), strict=True))
    if first.unit and len({band.unit for band in source.bands}) == 1:
        attrs["units"] = first.unit
    if first.description:
        attrs["long_name"] = first.description if alone else shown
    return attrs


def _coordinates(t: Affine, shape: tuple[int, int], crs: CRS | None) -> dict[str, xr.Variable]:
    """Places of rows and columns, and the grid mapping."""
    rows, columns = shape
    about = axes_of(crs)
    mapping = {} if crs is None else mapping_of(crs)
    mapping["GeoTransform"] = geotransform_text(t)
    return {
        "y": xr.Variable("y", t.f + t.e * (np.arange(rows) + 0.5), about[0]),
        "x": xr.Variable("x", t.c + t.a * (np.arange(columns) + 0.5), about[1]),
        MAPPING: xr.Variable((), np.int32(0), mapping),
    }
