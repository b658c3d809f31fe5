"""Coordinate reference systems after CF: the one that a grid mapping states, its grid mapping, axes and units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from affine import Affine
from pyproj import CRS, Proj
from pyproj.database import get_units_map
from pyproj.exceptions import CRSError

from geofsrcnn.errors import InputError, printable
from geofsrcnn.grids.longitude import period_of

if TYPE_CHECKING:  # rasters come here without xarray
    import xarray as xr

    from geofsrcnn.cf.grid import CFGrid

NAMELESS = ("", "unknown", "unnamed", "undefined")
"""Names of CRSs that have none."""

_EPSG_NAMES = {
    "m": "metre",
    "km": "kilometre",
    "cm": "centimetre",
    "ft": "foot",
    "us-ft": "us survey foot",
    "rad": "radian",
    "deg": "degree",
    "gon": "grad",
    "urad": "microradian",
}
"""EPSG's names of units, in small letters, by the symbols that files use."""

_SYMBOLS = {_EPSG_NAMES[symbol]: symbol for symbol in ("m", "km", "cm", "rad", "deg")}
"""Symbols that UDUNITS knows, by EPSG's names."""


def crs_of(dataset: xr.Dataset, grid: CFGrid) -> CRS | None:
    """Return the CRS that the grid mapping states, if there is one; an InputError if it cannot be read."""
    if grid.mapping is None:
        return None
    attrs: Mapping[Any, Any] = dataset[grid.mapping].attrs
    text = attrs.get("crs_wkt") or attrs.get("spatial_ref")
    try:
        return CRS.from_wkt(str(text)) if text else CRS.from_cf({str(k): v for k, v in attrs.items()})
    except (CRSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"grid mapping {printable(grid.mapping)} states no CRS ({printable(error)})") from error


def mapping_of(crs: CRS) -> dict[str, Any]:
    """Attributes of a grid mapping (CF 5.6): parameters, ``crs_wkt``, and ``spatial_ref`` for GDAL.

    Where WKT 1 cannot express it (rotated poles), ``spatial_ref`` is WKT 2, which GDAL reads too.
    """
    try:
        text = crs.to_wkt("WKT1_GDAL")
    except CRSError:
        text = crs.to_wkt()
    return {**crs.to_cf(), "spatial_ref": text}


def geotransform_text(affine: Affine) -> str:
    """``GeoTransform`` of a grid mapping, as GDAL writes it: corner, step and turn of columns, then of rows."""
    return " ".join(repr(float(number)) for number in affine.to_gdal())


def is_rotated(crs: CRS) -> bool:
    """Tell whether coordinates are latitudes and longitudes about another pole than the globe's."""
    if crs.is_bound and crs.source_crs is not None:
        return is_rotated(crs.source_crs)
    return bool(crs.is_geographic and (is_rotated(without_heights(crs)) if crs.is_compound else crs.is_derived))


def without_heights(crs: CRS) -> CRS:
    """Return the horizontal part of a CRS; the CRS itself if it has no heights."""
    return crs.sub_crs_list[0] if crs.is_compound else crs.to_2d()


def axes_of(crs: CRS | None, scale: tuple[float, float] = (1.0, 1.0)) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of the coordinates of rows and of columns (CF 4.1, 4.2, 5.6).

    Parameters
    ----------
    crs : CRS, optional
        CRS of the coordinates, if it is known.
    scale : tuple of float
        Factors that bring coordinates of rows and of columns to units of the CRS.
    """
    if crs is None:
        return {"axis": "Y"}, {"axis": "X"}
    if crs.is_geographic:
        rotated = is_rotated(crs)
        names = ("grid_latitude", "grid_longitude") if rotated else ("latitude", "longitude")
        units = ("degrees", "degrees") if rotated else ("degrees_north", "degrees_east")
        own = _unit_name(_size(crs), angular=True)
        units = units if own in ("deg", "") else (own, own)
    else:
        found = [_unit_along(crs, each) for each in scale]
        angular = "_angular" if any(is_angle for _, is_angle in found) else ""
        names = (f"projection_y{angular}_coordinate", f"projection_x{angular}_coordinate")
        units = (found[0][0], found[1][0])
    y, x = (
        {**({"units": unit} if unit else {}), "standard_name": name, "axis": axis}
        for name, unit, axis in zip(names, units, "YX", strict=True)
    )
    return y, x


def _unit_along(crs: CRS, scale: float) -> tuple[str, bool]:
    """The unit of a coordinate of a projection, "" where it has no name, and whether it is an angle of an image."""
    metres = scale * _size(crs)
    if name := _unit_name(metres, angular=False):
        return name, False
    height = crs.to_cf().get("perspective_point_height")
    angle = "" if height is None else _unit_name(metres / float(height), angular=True)
    return angle, bool(angle)


def _size(crs: CRS) -> float:
    """Metres or radians in the unit of a CRS."""
    return float(crs.axis_info[0].unit_conversion_factor) if crs.axis_info else 1.0


def _unit_name(size: float, *, angular: bool) -> str:
    """The name of a unit of so many metres or radians, as UDUNITS reads it; "" where it has none."""
    units = get_units_map(category="angular" if angular else "linear")
    usual = [name for name in units if name.lower() in _EPSG_NAMES.values()]
    for name in (*usual, *units):
        if math.isclose(units[name].conv_factor, size, rel_tol=1e-9):
            return _SYMBOLS.get(name.lower(), name.replace(" ", "_"))
    return ""


def circumference_of(crs: CRS) -> float:
    """Return the way around the globe in units of the CRS; 0 if its meridians are not parallel and evenly spaced.

    Raises
    ------
    CRSError
        If PROJ cannot project with it.
    """
    if crs.is_geographic:
        return 0.0 if is_rotated(crs) else math.tau / _size(crs)
    project = Proj(crs)
    longitudes = [float(n) for n in range(-165, 195, 30)]
    rows = [project(longitudes, [latitude] * len(longitudes))[0] for latitude in (0.0, 40.0, -60.0)]
    steps = sorted(b - a for a, b in zip(rows[0], [*rows[0][1:], rows[0][0]], strict=True))
    step = steps[len(steps) // 2]  # but for the one that jumps back where the map is cut
    circumference = len(longitudes) * step
    if not (math.isfinite(circumference) and circumference > 0):
        return 0.0
    tolerance = 1e-6 * circumference
    half = circumference / 2
    even = all(abs((each - step + half) % circumference - half) < tolerance for each in steps)
    parallel = all(abs(a - b) < tolerance for row in rows[1:] for a, b in zip(rows[0], row, strict=True))
    return circumference if even and parallel else 0.0


def columns_around(crs: CRS, step: float, columns: int) -> int:
    """Return how many columns of a step in units of the CRS make the whole globe; 0 if those that are there do not."""
    try:
        circumference = circumference_of(crs)
    except CRSError:
        return 0
    return period_of(step, columns, circumference) if circumference else 0


def in_units_of(crs: CRS, text: str, name: str) -> float:
    """Return the factor that brings a coordinate to units of the CRS; angles of geostationary images in lengths.

    Parameters
    ----------
    crs : CRS
        CRS of the grid mapping.
    text : str
        Units of the coordinate.
    name : str
        Name of the coordinate, for messages.

    Raises
    ------
    InputError
        If its units do not fit the CRS.
    """
    own = crs.axis_info[0] if crs.axis_info else None
    if own is None or text in ("", "1"):
        return 1.0
    found = _unit(text)
    if found is not None:
        size, angular = found
        height = crs.to_cf().get("perspective_point_height") if angular and not crs.is_geographic else None
        if height is not None:
            return size * float(height) / own.unit_conversion_factor
        if angular == crs.is_geographic:
            return 1.0 if size == own.unit_conversion_factor else size / own.unit_conversion_factor
    words = f"coordinate {name} counts in {printable(text)}, the CRS of the grid mapping in {own.unit_name}"
    raise InputError(f"{words}: fix the units, or write NetCDF or Zarr")


def _unit(text: str) -> tuple[float, bool] | None:
    """Metres or radians in a unit, and whether it is an angle; by EPSG's names."""
    name = text.strip().lower().replace("_", " ").replace("meter", "metre").replace("feet", "foot")
    name = _EPSG_NAMES.get(name, name.removesuffix("s"))
    for angular, category in enumerate(("linear", "angular")):
        for known, unit in get_units_map(category=category).items():
            if known.lower() == name:
                return unit.conv_factor, bool(angular)
    return None
