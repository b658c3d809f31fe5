"""A look at some cells of a raster before all of them are read."""

from __future__ import annotations

import math
import re

import numpy as np

from geofsrcnn.errors import printable, warn
from geofsrcnn.formats.raster import GDAL_ERRORS, Band, RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.sentinels import Glimpse, collar, sentinel, steps

SIDE = 128
"""Rows and columns of a window that is looked at; there are nine, corners and edges among them."""

LARGEST_BLOCK = 16 * 2**20
"""Bytes of a block above which nothing is looked at: it would be decoded for few cells."""

SMOOTH = 30
"""Steps from cell to cell of a DEM's whole metres; those of imagery are larger, or its type is unsigned."""

ELEVATION = re.compile(r"elev|height|altitude|terrain|topo|bathy|depth|\bd[est]m\b", re.IGNORECASE)

METRES = ("m", "metre", "meter", "metres", "meters")

BANDS = 3
"""Bands that are looked at."""


def glimpses(source: RasterSource) -> list[list[Glimpse]]:
    """Windows of the first bands, each band's in a list; none where that costs too much, or nothing can be read."""
    bands, rows, columns = source.shape
    if source.block_bytes > LARGEST_BLOCK:
        return []
    found: list[list[Glimpse]] = [[] for _ in range(min(bands, BANDS))]
    try:
        for y0, y1 in _places(rows):
            for x0, x1 in _places(columns):
                stored, valid = source.look(Window(y0, y1, x0, x1), slice(0, len(found)))
                edges = np.zeros(stored.shape[1:], bool)
                edges[[k for k, there in ((0, y0 == 0), (-1, y1 == rows)) if there]] = True
                edges[:, [k for k, there in ((0, x0 == 0), (-1, x1 == columns)) if there]] = True
                for band, own in enumerate(found):
                    own.append(Glimpse(stored[band], valid[band], edges))
    except (*GDAL_ERRORS, OSError, MemoryError):  # the run says it where it matters
        return []
    return found


def warn_of_values(source: RasterSource, *, rounded: bool) -> None:
    """Warn of what values tell: missing cells that nothing declares, and whole numbers whose finer cells are steps.

    Parameters
    ----------
    source : RasterSource
        Opened; a bounded number of its cells is read.
    rounded : bool
        Whether finer cells are stored as whole numbers without anybody having asked for it.
    """
    shown = printable(source.path.name)
    seen = glimpses(source)
    declared = source.has_mask or source.alpha_as_mask or any(source.alpha)
    for band, own in zip(source.bands, seen, strict=False):
        found = sentinel(own)
        if found is None and not declared and band.nodata is None:
            found = collar(own)
        if found is not None:
            warn(
                "W-NODATA",
                f"{shown} has many cells of {found} in band {band.index}, far from all others, which nothing "
                f"declares to be missing: if they are, say so with --nodata {found}",
            )
            break
    if rounded and len(source.bands) == 1 and seen and _is_smooth(source.bands[0], seen[0]):
        warn(
            "W-STEPS",
            f"{shown} holds whole numbers that differ by {steps(seen[0]):g} from cell to cell, so finer cells come out "
            "in steps: --dtype float32 keeps fractions",
        )


def _is_smooth(band: Band, seen: list[Glimpse]) -> bool:
    """Whether a band of integers is a surface such as a DEM, and not imagery, whose neighbours differ by more."""
    told = ELEVATION.search(f"{band.description or ''} {band.tags.get('LAYER_TYPE', '')}") or band.unit in METRES
    if band.dtype.kind not in "iu" or band.dtype.itemsize < 2 or not (band.dtype.kind == "i" or told):
        return False
    apart = steps(seen)
    return apart is not None and 0 < apart * abs(band.scale) <= (math.inf if told else SMOOTH)


def _places(size: int) -> list[tuple[int, int]]:
    """Where windows lie along one side: at both ends and in the middle."""
    if size <= 3 * SIDE:
        return [(0, size)]
    return [(start, start + SIDE) for start in (0, (size - SIDE) // 2, size - SIDE)]
