"""Statements of a file about the coarse grid's resolution, or of its numbers of cells."""

from __future__ import annotations

import re

_RESOLUTION = re.compile(
    r"RESOLUTION|(?<![A-Z])GSD(?![A-Z])|(PIXEL|CELL|BIN)_?SIZE|(PIXEL|LINE|SAMPLE|GRID|COLUMN|ROW)_?SPACING|"
    r"(DATA|GRID)_?(ROWS|COLUMNS)|TIFFTAG_[XY]RES|^STRUCTMETADATA(\.\d+)?$|^GRIDHEADER$|"
    r"^(WEST-EAST|SOUTH-NORTH)_PATCH_(START|END)_(UN)?STAG$",
    re.IGNORECASE,
)

_OF_OTHER_KINDS = re.compile(r"TIME|TEMPORAL|SPECTRAL|RADIOMETRIC|VERTICAL|COLO[U]?R|BIT", re.IGNORECASE)


def states_resolution(key: str) -> bool:
    """Tell whether an attribute or a tag of this name states the size or the number of horizontal cells.

    Examples
    --------
    >>> [states_resolution(key) for key in ("geospatial_lat_resolution", "PIXEL_SIZE", "time_resolution", "title")]
    [True, True, False, False]
    """
    return _RESOLUTION.search(key) is not None and _OF_OTHER_KINDS.search(key) is None
