"""Settings of a process of ours, made before its work begins."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

LINKING_DRIVERS = (
    *("VRT", "GTI", "WMS", "WMTS", "WCS", "HTTP", "STACIT", "STACTA", "DERIVED", "PDF", "MBTiles", "Rasterlite"),
    *("KMLSUPEROVERLAY", "PLMOSAIC", "EEDA", "EEDAI"),
)
"""GDAL's drivers that open other files or servers."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def harden_gdal(driver: str | None = None) -> None:
    """Set GDAL's environment for a process of ours: no network, no drivers that open other files but the one asked for.

    GDAL reads it once, before its first use in the process.
    """
    skipped = [name for name in LINKING_DRIVERS if driver is None or name.upper() != driver.upper()]
    os.environ["GDAL_SKIP"] = " ".join(skipped)
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    os.environ["CPL_VSIL_CURL_ALLOWED_EXTENSIONS"] = ".none"


def keep_freed_memory() -> None:
    """Let glibc hand freed memory out again instead of giving it back: a step on a CPU takes a tenth less time.

    The fields of a step are a few megabytes each, so that each would be mapped, cleared and unmapped anew. For a
    process of our own, as the setting holds for all of it; elsewhere than on glibc nothing happens.
    """
    with suppress(AttributeError, OSError, TypeError):  # other C libraries; TypeError: Windows has no CDLL(None)
        of_c = ctypes.CDLL(None)
        of_c.mallopt(_M_MMAP_THRESHOLD, 2**30)
        of_c.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
