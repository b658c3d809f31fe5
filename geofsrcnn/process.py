"""Settings of a process of ours, made before its work begins."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from geofsrcnn.system import c_function

LINKING_DRIVERS = (
    *("VRT", "GTI", "WMS", "WMTS", "WCS", "HTTP", "STACIT", "STACTA", "DERIVED", "PDF", "MBTiles", "Rasterlite"),
    *("KMLSUPEROVERLAY", "PLMOSAIC", "EEDA", "EEDAI"),
)
"""GDAL's drivers that open other files or servers."""

PROJ_VARIABLES = ("PROJ_DATA", "PROJ_LIB")
"""Where PROJ's data are, for whatever program set them; of another version of PROJ they cost CRSs their codes."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def harden_gdal(driver: str | None = None) -> None:
    """Set GDAL's environment for a process of ours: no network, no drivers that open other files but the one asked for.

    Data of PROJ are those that rasterio brings, not those of another program (QGIS, PostGIS) that started this one.

    GDAL reads it once, before its first use in the process.
    """
    skipped = [name for name in LINKING_DRIVERS if driver is None or name.upper() != driver.upper()]
    os.environ["GDAL_SKIP"] = " ".join(skipped)
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    os.environ["CPL_VSIL_CURL_ALLOWED_EXTENSIONS"] = ".none"
    if rasterio_brings_proj():
        for name in PROJ_VARIABLES:
            os.environ.pop(name, None)


def rasterio_brings_proj() -> bool:
    """Tell whether rasterio has data of PROJ of its own, as installed by pip."""
    spec = find_spec("rasterio")
    places = spec.submodule_search_locations if spec is not None else None
    return any((Path(place) / "proj_data" / "proj.db").is_file() for place in places or ())


def keep_freed_memory() -> None:
    """Let glibc hand freed memory out again instead of giving it back: a step on a CPU takes a tenth less time.

    The fields of a step are a few megabytes each, so that each would be mapped, cleared and unmapped anew. For a
    process of our own, as the setting holds for all of it; elsewhere than on glibc nothing happens.
    """
    if set_option := c_function("mallopt"):
        set_option(_M_MMAP_THRESHOLD, 2**30)
        set_option(_M_TRIM_THRESHOLD, 2**31 - 1)
