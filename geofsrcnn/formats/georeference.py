"""Where a raster says its cells lie: transform, CRS, ground control points, RPCs; and what of it a GeoTIFF holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyproj
import rasterio
from affine import Affine
from pyproj.exceptions import CRSError
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from geofsrcnn.cf.crs import NAMELESS, columns_around, without_heights
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.formats.gdal import GDAL_ERRORS, quiet
from geofsrcnn.formats.tiff import coordinate_epoch
from geofsrcnn.grids.affine import Grid

POLYNOMIALS = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
"""Polynomials of RPCs, of 20 coefficients each."""


def read_grid(dataset: Any, shown: str, stated: str | None = None) -> Grid:
    """The grid of an opened raster, as a GeoTIFF can say it.

    Where both a transform and ground control points are stated, the transform is taken, as GDAL does.

    Raises
    ------
    UsageError
        If the CRS that is stated instead of the file's is none.
    """
    with quiet():
        affine, crs = dataset.transform, dataset.crs
        points, point_crs = dataset.gcps
    if stated is not None:
        crs = point_crs = _stated_crs(stated)
    placed = affine != Affine.identity()
    if placed and points:
        words = f"has a transform and {len(points)} ground control points, of which a GeoTIFF holds one"
        warn("W-GCPS", f"{shown} {words}: the transform is kept")
        points = []
    return Grid(
        shape=(dataset.height, dataset.width),
        affine=affine if placed else None,
        crs=(crs or None) if placed or not points else None,
        gcps=tuple((p.row, p.col, p.x, p.y, p.z, p.id, p.info) for p in points),
        gcp_crs=point_crs or None if points else None,
        rpcs=_read_rpcs(dataset, shown),
        epoch=coordinate_epoch(Path(dataset.name)) if dataset.crs and not stated else None,
    )


def _stated_crs(text: str) -> CRS:
    try:
        with rasterio.Env():
            return CRS.from_user_input(text)
    except (*GDAL_ERRORS, ValueError) as error:
        words = f"crs='{printable(text)[:80]}' is no CRS ({printable(error)})"
        raise UsageError(f"{words}: give EPSG:CODE or WKT") from None


def _read_rpcs(dataset: Any, shown: str) -> Any:
    """Rational polynomial coefficients; none, with a warning, where they are not all there."""
    try:
        rpcs = dataset.rpcs
    except (KeyError, ValueError, IndexError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "numbers in them"
    else:
        short = [name for name in POLYNOMIALS if rpcs is not None and len(getattr(rpcs, name)) != 20]
        if not short:
            return rpcs
        missing = f"20 coefficients of {short[0].upper()}"
    warn("W-RPC", f"{shown} has incomplete RPCs, without {missing}: the output has none")
    return None


def period_along(grid: Grid) -> int:
    """Columns that go around the globe, so that the first is the last one's neighbour; 0 if they do not.

    In degrees or grads, or in any cylindrical projection; the last column may be the first one's place again, as it is
    where cell centres lie at -180 and at 180 degrees.
    """
    t = grid.affine
    if t is None or t.b or t.d or not grid.crs:
        return 0
    return columns_around(pyproj.CRS.from_wkt(grid.crs.to_wkt()), t.a, grid.shape[1])


class DatedCRS(CRS):  # type: ignore[misc]
    """A CRS and the decimal year that coordinates hold for: what rasterio hands to GDAL says both."""

    epoch = 0.0

    @classmethod
    def of(cls, crs: CRS, epoch: float | None) -> CRS:
        """That of an epoch; the CRS itself without one."""
        if not crs or epoch is None:
            return crs
        known = crs.to_authority(confidence_threshold=100)
        dated = cls()  # rasterio's own constructors give no subclass
        dated.__setstate__((CRS.from_authority(*known) if known else crs).to_wkt(version="WKT2_2019"))
        dated.epoch = epoch
        return dated

    def to_wkt(self, *_: Any, **__: Any) -> str:
        """As coordinate metadata (ISO 19162) in JSON: of the same in WKT, GDAL forgets the epoch the second time."""
        crs = pyproj.CRS.from_wkt(super().to_wkt(version="WKT2_2019")).to_json_dict()
        return json.dumps({"type": "CoordinateMetadata", "crs": crs, "coordinateEpoch": self.epoch})


def as_geotiff_holds(grid: Grid, shown: str) -> Grid:
    """The grid with what of its CRS a GeoTIFF can say, after a look at a tiny one in memory; the rest with a warning.

    Raises
    ------
    InputError
        If a GeoTIFF cannot say the horizontal CRS.
    """
    if not grid.crs:
        return grid
    crs = grid.crs
    if not _is_kept(crs):
        crs = _without_height(crs)
        if not crs or not _is_kept(crs):
            raise InputError(f"a GeoTIFF cannot hold the CRS {_name(grid.crs)} of {shown}: warp it first (gdalwarp)")
        warn("W-CRS", f"a GeoTIFF cannot hold the vertical part of the CRS of {shown}: it says the horizontal one")
    epoch = grid.epoch
    if epoch is not None and _as_written(DatedCRS.of(crs, epoch)) is None:
        warn("W-EPOCH", f"the coordinate epoch {epoch:g} of {shown} cannot be written with its CRS: it is left out")
        epoch = None
    return replace(grid, crs=crs, epoch=epoch)


def _is_kept(crs: CRS) -> bool:
    """Tell whether a GeoTIFF says this CRS, not nothing and no other one; names do not count."""
    found = _as_written(crs)
    if found is None:
        return False
    return same_crs(found, crs)


def same_crs(a: CRS | None, b: CRS | None) -> bool:
    """Tell whether two CRSs are the same, whatever they are called; none is the same as none."""
    if not (a and b):
        return not (a or b)
    if a == b or a.to_dict() == b.to_dict():
        return True
    there, here = (pyproj.CRS.from_wkt(each.to_wkt()) for each in (a, b))
    return bool(there.equals(here, ignore_axis_order=True))


def _as_written(crs: CRS) -> CRS | None:
    """Return what a tiny GeoTIFF in memory says of a CRS."""
    try:
        with rasterio.Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
            profile = {"width": 1, "height": 1, "count": 1, "dtype": "uint8", "transform": Affine(1, 0, 0, 0, -1, 1)}
            with memory.open(driver="GTiff", crs=crs, **profile):
                pass
            with memory.open() as tiny:
                return tiny.crs
    except GDAL_ERRORS:
        return None


def _name(crs: CRS) -> str:
    """Its name; its projection where it has none."""
    whole = pyproj.CRS.from_wkt(crs.to_wkt())
    method = whole.coordinate_operation.method_name if whole.coordinate_operation else whole.type_name
    return printable(method if whole.name in NAMELESS else whole.name)


def _without_height(crs: CRS) -> CRS | None:
    """Return the part of a CRS in two dimensions, if it has more."""
    whole = pyproj.CRS.from_wkt(crs.to_wkt())
    try:
        part = without_heights(whole)
        return None if part == whole else CRS.from_wkt(part.to_wkt())
    except (CRSError, *GDAL_ERRORS):
        return None
