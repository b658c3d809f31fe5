"""Tags of a raster that hold for the finer one as well, and those that do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geofsrcnn.formats.nodata import COMBINATION
from geofsrcnn.grids.resolution import states_resolution

STALE_TAGS = ("STATISTICS_", "TIFFTAG_MINSAMPLEVALUE", "TIFFTAG_MAXSAMPLEVALUE", "OVR_", COMBINATION, "GEOFSRCNN_")
"""Beginnings of tags that describe the coarse cells' values, the file's inner form or the run that made it."""

STALE_DOMAINS = frozenset(
    [
        "IMAGE_STRUCTURE",
        "DERIVED_SUBDATASETS",
        "SUBDATASETS",
        "RPC",
        "TIFF",
        "COLOR_PROFILE",
        "GEOLOCATION",
        # what states the coarse grid: a zoom level, JPEG 2000's GML, labels and headers of the input's format
        "TILING_SCHEME",
        "xml:gml.root-instance",
        "xml:PDS4",
        "xml:DES",
        "xml:TRE",
        "NITF_METADATA",
        "TRE",
        "CGM",
        "ENVI",
        "GRIB",  # how values are packed
        "xml:VRT",
        "LocationInfo",
        "DISPLAY_TRE",
        "rio_creation_kwds",
    ]
)

COLOUR_PROFILE = ("SOURCE_ICC_PROFILE", "SOURCE_PRIMARIES_RED", "SOURCE_PRIMARIES_GREEN", "SOURCE_PRIMARIES_BLUE")
"""How colours are meant, as GDAL reads it and as it takes it for creation options; and the white point."""


def is_stale(key: str) -> bool:
    """Tell whether a tag speaks of the coarse cells: their statistics, their size, how many of them there are.

    Examples
    --------
    >>> [is_stale(key) for key in ("STATISTICS_MEAN", "geospatial_lat_resolution", "PIXEL_SIZE", "time_resolution")]
    [True, True, True, False]
    """
    return key.startswith(STALE_TAGS) or states_resolution(key)


def tags_of(dataset: Any, index: int = 0, domain: str | None = None) -> dict[str, str]:
    """Tags of a raster, or of a band of it, that the finer raster keeps."""
    return {key: value for key, value in dataset.tags(index, ns=domain).items() if not is_stale(key)}


def domains_of(dataset: Any, index: int = 0) -> dict[str, dict[str, str]]:
    """Tags of other domains, of a raster or of a band of it, that the finer raster keeps."""
    names = [name for name in dataset.tag_namespaces(index) if name not in STALE_DOMAINS]
    # labels as JSON describe the input's format, and rasterio does not read them whole
    found = {n: tags_of(dataset, index, n) for n in names if not n.startswith(("LocationInfo", "json:"))}
    return {name: tags for name, tags in found.items() if tags}


def colour_profile(dataset: Any) -> Mapping[str, str]:
    """ICC profile, or primaries and white point: creation options of the output."""
    stated: dict[str, str] = dataset.tags(ns="COLOR_PROFILE")
    return {key: value for key, value in stated.items() if key in (*COLOUR_PROFILE, "SOURCE_WHITEPOINT") and value}


def grey_ramp(colours: Mapping[int, Sequence[int]]) -> int | None:
    """1 or -1 where a colour table only brightens or darkens evenly with the value, from black to white; else None.

    Examples
    --------
    >>> grey_ramp({value: (255 - value,) * 3 for value in range(256)})
    -1
    """
    greys = [colour[0] for _, colour in sorted(colours.items()) if len(set(colour[:3])) == 1]
    last = len(colours) - 1
    if len(greys) != len(colours) or last < 15:
        return None
    for slope, start in ((1, 0), (-1, 255)):
        if all(abs(start + slope * 255 * n / last - grey) <= 1 for n, grey in enumerate(greys)):
            return slope
    return None
