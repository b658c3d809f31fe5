"""A look at some cells of a raster before all of them are read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import numpy as np
from rasterio.enums import ColorInterp

from geofsrcnn.errors import printable, warn
from geofsrcnn.formats.gdal import GDAL_ERRORS
from geofsrcnn.formats.raster import Band, RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.classes import LEAST_CELLS, may_hold_classes, warn_of_classes
from geofsrcnn.values.quantity import Quantity
from geofsrcnn.values.quantity_units import Measure, read_units
from geofsrcnn.values.sentinels import Sample, find_collar, find_sentinel, typical_step, warn_of_mark

SIDE = 128
"""Rows and columns of a window that is looked at; there are nine, corners and edges among them."""

LARGEST_BLOCK = 16 * 2**20
"""Bytes of a block above which nothing is looked at: it would be decoded for few cells."""

SMOOTH = 30
"""Steps from cell to cell of a DEM's whole metres; those of imagery are larger, or its type is unsigned."""

ELEVATION = re.compile(r"elev|height|altitude|terrain|topo|bathy|depth|\bd[est]m\b", re.IGNORECASE)

COLOURS = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)

MIDDLE = 256
"""Rows and columns of the window in the middle where classes and alpha are looked for."""

SAMPLED_BANDS = 3
"""Bands that are looked at."""


def read_samples(source: RasterSource) -> list[list[Sample]]:
    """Look at windows of the first bands, each band's in a list; none where that costs too much."""
    bands, rows, columns = source.shape
    if source.block_bytes > LARGEST_BLOCK:
        return []
    found: list[list[Sample]] = [[] for _ in range(min(bands, SAMPLED_BANDS))]
    for (y0, y1), (x0, x1) in itertools.product(_spans(rows), _spans(columns)):
        stored, valid = source.look(Window(y0, y1, x0, x1), slice(0, len(found)))
        edges = np.zeros(stored.shape[1:], bool)
        edges[[k for k, there in ((0, y0 == 0), (-1, y1 == rows)) if there]] = True
        edges[:, [k for k, there in ((0, x0 == 0), (-1, x1 == columns)) if there]] = True
        for band, own in enumerate(found):
            own.append(Sample(stored[band], valid[band], edges))
    return found


def warn_of_values(source: RasterSource, quantities: Sequence[Quantity], *, rounded: bool) -> None:
    """Warn of what values tell: an alpha band that is none, classes, undeclared missing cells, steps of whole numbers.

    Parameters
    ----------
    source : RasterSource
        Opened; a bounded number of its cells is read.
    quantities : sequence of Quantity
        What each band is taken for.
    rounded : bool
        Finer cells are stored as whole numbers without anybody having asked for it.
    """
    try:
        _warn_of_alpha(source)
        if source.raw:
            return
        _warn_of_classes(source, quantities)
        samples = read_samples(source)
    except (*GDAL_ERRORS, OSError, MemoryError):  # the run says it where it matters
        return
    _warn_of_missing(source, samples)
    if rounded and len(source.bands) == 1 and samples and _is_smooth(source.bands[0], samples[0]):
        warn(
            "W-STEPS",
            f"{printable(source.path.name)} holds whole numbers that differ by {typical_step(samples[0]):g} from cell "
            "to cell, so finer cells come out in steps: dtype='float32' keeps fractions",
        )


def _warn_of_alpha(source: RasterSource) -> None:
    """Say which alpha band has many values that are neither clear nor opaque."""
    if source.alpha_index is None:
        return
    alpha = source.look_at_alpha(Window.middle(source.grid.shape, MIDDLE))
    between = (alpha > 0) & (alpha < alpha.max())  # what is opaque need not be the largest value of the type
    if alpha.size >= LEAST_CELLS // 2 and between.mean() > 0.5 and np.unique(alpha[between]).size >= 16:
        warn(
            "W-ALPHA",
            f"band {source.alpha_index} of {printable(source.path.name)} is tagged as alpha and taken as such, but "
            "looks like measurements, such as infrared: if it is, use alpha='none'",
        )


def _warn_of_classes(source: RasterSource, quantities: Sequence[Quantity]) -> None:
    """Say which band without a colour holds what look like classes."""
    middle = Window.middle(source.grid.shape, MIDDLE)
    for number, (band, quantity) in enumerate(zip(source.bands[:16], quantities, strict=False)):
        if band.colour in COLOURS or not may_hold_classes(band.packing, quantity, band.unit or ""):
            continue
        stored, valid = source.look(middle, slice(number, number + 1))
        what = f"band {band.index} of {printable(source.path.name)}"
        if warn_of_classes(
            what, stored[0], valid[0], f"repeat them with model='nearest' or kinds={{'{band.index}': 'category'}}"
        ):
            return


def _warn_of_missing(source: RasterSource, samples: list[list[Sample]]) -> None:
    """Say which value looks like that of missing cells, though nothing declares it."""
    declared = source.has_mask or source.alpha_as_mask or any(source.alpha)
    for band, own in zip(source.bands, samples, strict=False):
        found = None if band.colour in COLOURS else find_sentinel(own)
        if found is None and not declared and band.nodata is None:
            found = find_collar(own)
        if found is not None:
            warn_of_mark(f"band {band.index} of {printable(source.path.name)}", found, f"with nodata={found}")
            return


def _is_smooth(band: Band, samples: list[Sample]) -> bool:
    """Tell whether a band of integers is a surface such as a DEM, and not imagery, whose neighbours differ by more."""
    words = f"{band.description or ''} {band.tags.get('LAYER_TYPE', '')}"
    is_elevation = ELEVATION.search(words) or read_units(band.unit or "").measure is Measure.METRES
    if band.dtype.kind not in "iu" or band.dtype.itemsize < 2 or not (band.dtype.kind == "i" or is_elevation):
        return False
    step = typical_step(samples)
    return step is not None and 0 < step <= SMOOTH


def _spans(size: int) -> list[tuple[int, int]]:
    """First and end of the windows along one side: at both ends and in the middle."""
    if size <= 3 * SIDE:
        return [(0, size)]
    return [(start, start + SIDE) for start in (0, (size - SIDE) // 2, size - SIDE)]
