"""Frames of coordinates: the CRS and units that they count in, and points of one frame in another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xarray as xr
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from geofsrcnn._types import Array
from geofsrcnn.cf.crs import NAMELESS, axes_of, crs_of, in_units_of, is_rotated, mapping_of
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.cf.places import refuse_other_angles
from geofsrcnn.errors import InputError
from geofsrcnn.grids.longitude import move_near
from geofsrcnn.grids.mesh import places_of, vectors_of

GLOBE = "EPSG:4326"

SAME_POINT = 0.02
"""Degrees between points on the globe that are the same, of coordinates that are stored with few digits."""

POINTS = 40
"""Rows and columns that are looked at, at most, to find a rotated pole."""


@dataclass(frozen=True)
class Frame:
    """CRS of a grid, and the units of its coordinates.

    Parameters
    ----------
    crs : str
        Its CRS as WKT or by its code, "" where unknown; latitudes and longitudes of any datum are WGS 84's, as datums
        differ by far less than a cell.
    scale : tuple of float
        What coordinates of rows and of columns are multiplied by to count in units of the CRS.
    """

    crs: str = ""
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def is_valid(self) -> bool:
        """True if its CRS is none, or can be read as WKT."""
        try:
            return not self.crs or CRS.from_wkt(self.crs) is not None
        except CRSError:
            return False

    @property
    def is_geographic(self) -> bool:
        """True if columns are longitudes, of the globe or about a rotated pole."""
        return self.crs == GLOBE or bool(self.crs and CRS.from_user_input(self.crs).is_geographic)

    @property
    def is_globe(self) -> bool:
        """True if rows and columns are latitudes and longitudes."""
        return self.crs == GLOBE

    def axes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Attributes of the coordinates of rows and columns (CF 4.1, 4.2, 5.6)."""
        return axes_of(CRS.from_user_input(self.crs) if self.crs else None, self.scale)

    def mapping(self) -> dict[str, Any] | None:
        """Attributes of a grid mapping; none for latitudes and longitudes, and where no CRS is known."""
        if self.is_globe or not self.crs:
            return None
        return mapping_of(CRS.from_user_input(self.crs))

    def __str__(self) -> str:
        if self.is_globe:
            return "latitude-longitude"
        if not self.crs:
            return "of no stated CRS"
        crs = CRS.from_user_input(self.crs)
        if is_rotated(crs):
            return "on a rotated pole"
        way = crs.coordinate_operation
        return f"projected ({way.method_name})" if crs.name in NAMELESS and way is not None else str(crs.name)


def frame_of(dataset: xr.Dataset, grid: CFGrid) -> Frame:
    """Find the frame of a grid: by its grid mapping, its latitudes and longitudes, or its axes.

    Latitudes and longitudes of two dimensions overrule axes that only look like them.
    """
    if grid.y_coordinate is None or grid.x_coordinate is None:
        return Frame()
    for name in (grid.y_coordinate, grid.x_coordinate):
        refuse_other_angles(dataset[name], name)
    stated = _stated(dataset, grid)
    if stated is not None and (is_rotated(stated) or not stated.is_geographic):
        names = (grid.y_coordinate, grid.x_coordinate)
        units = ["" if stated.is_geographic else str(dataset[name].attrs.get("units", "")) for name in names]
        y, x = (in_units_of(stated, text, name) for text, name in zip(units, names, strict=True))
        return Frame(stated.to_wkt(), (y, x))
    if (found := _by_latitudes(dataset, grid)) is not None:
        return found
    globe = grid.kind == "latitude-longitude" or (stated is not None and grid.kind != "rotated")
    return Frame(GLOBE) if globe else Frame()


def _stated(dataset: xr.Dataset, grid: CFGrid) -> CRS | None:
    """The CRS that a grid mapping states; None where it is empty, as in files that lost its attributes."""
    try:
        return crs_of(dataset, grid)
    except InputError:
        return None


def _by_latitudes(dataset: xr.Dataset, grid: CFGrid) -> Frame | None:
    """Find the frame of a grid from its latitudes and longitudes of two dimensions; None where there are none.

    Axes in degrees turn into them by a rotation of the globe, which is found by least squares (Kabsch 1976); axes of a
    projection do not.
    """
    if grid.latitude is None or grid.longitude is None or dataset[grid.latitude].ndim != 2:
        return None
    steps = {dim: slice(None, None, -(-dataset.sizes[dim] // POINTS)) for dim in (grid.y, grid.x)}
    some = dataset.isel(steps)
    y, x = (some[name].to_numpy().astype(np.float64) for name in (str(grid.y_coordinate), str(grid.x_coordinate)))
    angles = (some[name].transpose(grid.y, grid.x).to_numpy() for name in (grid.latitude, grid.longitude))
    latitude, longitude = (values.astype(np.float64).ravel() for values in angles)
    if np.abs(y).max() > 90 or np.abs(x).max() > 540:
        return Frame()
    rows, columns = (each.ravel() for each in np.meshgrid(y, x, indexing="ij"))
    known = np.isfinite(latitude) & np.isfinite(longitude)
    own, true = (vectors_of(a[known], b[known]) for a, b in ((rows, columns), (latitude, longitude)))
    if known.sum() < 4:
        return None
    cell = max(float(np.abs(np.diff(each)).max()) if len(each) > 1 else 0.0 for each in (y, x))
    if _apart(own, true) < (cell if grid.kind == "latitude-longitude" else SAME_POINT):
        return Frame(GLOBE)
    u, _, vt = np.linalg.svd(true.T @ own)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    if _apart(own @ turn.T, true) > SAME_POINT:
        return Frame()
    (pole, _), (meridian, origin) = (each.tolist() for each in places_of(np.stack([turn[:, 2], turn[2]])))
    words = {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": pole,
        "grid_north_pole_longitude": meridian,
        "north_pole_grid_longitude": origin,
    }
    return Frame(CRS.from_cf(words).to_wkt())


def _apart(one: Array, other: Array) -> float:
    """Largest angle between unit vectors, in degrees."""
    return float(np.rad2deg(2 * np.arcsin(np.clip(np.linalg.norm(one - other, axis=1) / 2, 0, 1)).max()))


def check_known(frames: tuple[Frame, Frame], shown: tuple[str, str]) -> None:
    """Refuse two grids of which one states a CRS and the other none: numbers alone say not where that is.

    Parameters
    ----------
    frames : tuple of Frame
        What their coordinates count.
    shown : tuple of str
        What they are called in messages.

    Raises
    ------
    InputError
    """
    if bool(frames[0].crs) == bool(frames[1].crs):
        return
    first = bool(frames[0].crs)
    known, silent, frame = (*shown, frames[0]) if first else (*reversed(shown), frames[1])
    words = f"{known} is {frame}, {silent} states no CRS"
    raise InputError(f"{words}: give it a grid_mapping, a raster its CRS, or warp one to the other's CRS first")


def transform_axes(
    y: Array, x: Array, here: Frame, there: Frame, shown: tuple[str, str] = ("one grid", "the other grid")
) -> tuple[Array, Array] | None:
    """Rows and columns of one grid in the coordinates of another; None where these are the same.

    Parameters
    ----------
    y, x : ndarray (rows,), (columns,)
        Coordinates.
    here, there : Frame
        What they count, and what is wanted.
    shown : tuple of str
        What the two grids are called in messages.

    Returns
    -------
    tuple of ndarray (rows, columns), or None
        NaN where the other CRS does not reach; longitudes as they come.

    Raises
    ------
    InputError
        If one states a CRS and the other none.
    """
    check_known((here, there), shown)
    if here == there or not there.crs:
        return None
    return _transform_axes(np.asarray(y, np.float64).tobytes(), np.asarray(x, np.float64).tobytes(), here, there)


@lru_cache(maxsize=16)
def _transform_axes(rows: bytes, columns: bytes, here: Frame, there: Frame) -> tuple[Array, Array] | None:
    y, x = (np.frombuffer(each, np.float64) for each in (rows, columns))
    whole = np.meshgrid(y, x, indexing="ij")
    moved = transform_points(whole[0], whole[1], here, there)
    step = min(float(np.abs(np.diff(each)).min()) if len(each) > 1 else 1.0 for each in (y, x))
    off = [np.abs(a - b) for a, b in zip(moved, whole, strict=True)]
    off[1] = np.abs(move_near(off[1], 0.0)) if there.is_geographic else off[1]
    same = all(np.isfinite(each).all() and each.max() < 1e-4 * step for each in off)
    return None if same else moved


def transform_points(y: Array, x: Array, here: Frame, there: Frame) -> tuple[Array, Array]:
    """Points of one frame in the coordinates of another; NaN where its CRS does not reach."""
    columns, rows = _transformer(here.crs, there.crs).transform(x * here.scale[1], y * here.scale[0])
    found = (np.asarray(rows) / there.scale[0], np.asarray(columns) / there.scale[1])
    known = np.isfinite(found[0]) & np.isfinite(found[1])
    return np.where(known, found[0], np.nan), np.where(known, found[1], np.nan)


@lru_cache(maxsize=16)
def _transformer(here: str, there: str) -> Any:
    return Transformer.from_crs(here, there, always_xy=True)
