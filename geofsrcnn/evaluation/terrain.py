"""Slopes and shading of elevations, which users of a DEM derive from it, as GIS programs do.

Gradients weight the eight cells around each as `gdaldem` and QGIS do (B. K. P. Horn 1981, Hill shading and the
reflectance map).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.quantity_units import Measure, read_units

METRES_OF_A_DEGREE = 111_195.0
"""On a sphere of 6371 km."""

SUN = (315.0, 45.0)
"""Azimuth, clockwise from north, and altitude of the light that shades terrain, in degrees."""

_TERRAIN = re.compile(r"elev|altitude|terrain|topo|bathy|orog|relief|srtm|\bd[est]m\b", re.IGNORECASE)

_OTHER_LENGTH = re.compile(
    r"\brain|precip|snow|wave|swell|canopy|tree|geopot|tide|runoff|evap|thick|visib|cloud|boundary", re.IGNORECASE
)


@dataclass(frozen=True)
class Terrain:
    """The size of cells of elevations in metres.

    Parameters
    ----------
    height : float
        Of a cell from north to south; negative if rows run northwards.
    width : ndarray (y, 1)
        Of the cells of each row, from west to east.
    """

    height: float
    width: Array

    def derive(self, elevations: Array) -> dict[str, Array]:
        """Derive ``slope`` in degrees and ``hillshade`` from 0 to 255, by these names.

        Parameters
        ----------
        elevations : ndarray (..., y, x)
            Metres; NaN where missing.

        Returns
        -------
        dict of str to ndarray (..., y, x)
            NaN at the edges and beside missing cells.
        """
        south, east = self._gradient(elevations)
        azimuth, altitude = (math.radians(angle) for angle in SUN)
        steepness = np.hypot(south, east)
        facing = math.sin(altitude) + math.cos(altitude) * (south * math.cos(azimuth) - east * math.sin(azimuth))
        light = np.maximum(facing, 0.0) / np.sqrt(1 + steepness**2)
        return {"slope": np.degrees(np.arctan(steepness)), "hillshade": 255 * light}

    def _gradient(self, elevations: Array) -> tuple[Array, Array]:
        """Rise per metre towards the south and towards the east."""
        z = np.pad(elevations, [(0, 0)] * (elevations.ndim - 2) + [(1, 1)] * 2, constant_values=np.nan)
        rows, columns = elevations.shape[-2:]
        south, east = np.zeros(elevations.shape), np.zeros(elevations.shape)
        for i, weight in enumerate((1.0, 2.0, 1.0)):
            across, along = z[..., i : i + columns], z[..., i : i + rows, :]
            south += weight * (across[..., 2:, :] - across[..., :-2, :])
            east += weight * (along[..., 2:] - along[..., :-2])
        return south / (8 * self.height), east / (8 * self.width)


def terrain_of(grid: Grid, window: Window, words: str, unit: str) -> Terrain | None:
    """Find the cells of a part of a raster, if its values are elevations in metres and it says where it lies.

    Parameters
    ----------
    grid : Grid
        Of the raster.
    window : Window
        The part.
    words : str
        What the raster says of its values, its name included.
    unit : str
        Of the values; metres if empty.

    Returns
    -------
    Terrain or None
    """
    affine, crs = grid.affine, grid.crs
    if affine is None or affine.b or affine.d or not crs or not is_elevation(words, unit):
        return None
    rows = np.arange(window.y0, window.y1) + 0.5
    if crs.is_geographic:
        shrink = np.cos(np.radians(affine.f + affine.e * rows))
        size = METRES_OF_A_DEGREE
    else:
        shrink, size = np.ones(len(rows)), crs.linear_units_factor[1]
    return Terrain(-affine.e * size, (affine.a * size * shrink)[:, None])


def is_elevation(words: str, unit: str) -> bool:
    """Tell whether values are elevations in metres, by words and unit.

    Examples
    --------
    >>> is_elevation("SRTM 90 m", ""), is_elevation("", "m"), is_elevation("significant wave height", "m")
    (True, True, False)
    """
    if _OTHER_LENGTH.search(words):
        return False
    return read_units(unit).measure is Measure.METRES if unit else bool(_TERRAIN.search(words))
