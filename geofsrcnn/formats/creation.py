"""How a GeoTIFF is created: its form, GDAL's creation options, and those that would break a promise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rasterio.shutil
from rasterio.io import MemoryFile

from geofsrcnn.errors import UsageError, printable
from geofsrcnn.formats.gdal import GDAL_ERRORS, gdal_message, quiet

LOSSY = ("JPEG", "WEBP", "JXL", "LERC", "LERC_DEFLATE", "LERC_ZSTD", "CCITTRLE", "CCITTFAX3", "CCITTFAX4")
"""Compressions that change values."""

REFUSED = {
    **dict.fromkeys(("DISCARD_LSB", "NBITS", "MAX_Z_ERROR"), "changes the values"),
    **dict.fromkeys(
        ("TILING_SCHEME", "TARGET_SRS", "RES", "EXTENT", "ALIGNED_LEVELS", "ADD_ALPHA"), "changes the grid"
    ),
    **dict.fromkeys(("PROFILE", "TFW", "RPB", "RPCTXT", "WORLDFILE"), "moves metadata out of the file"),
}
"""Creation options against what the output promises."""

PREDICTED = ("DEFLATE", "ZSTD", "LZW")
"""Compressions that take a predictor."""

DESCRIBING = frozenset(
    ["DRIVER", "WIDTH", "HEIGHT", "COUNT", "DTYPE", "NODATA", "CRS", "TRANSFORM", "GCPS", "RPCS", "MODE", "SHARING"]
)
"""Arguments of rasterio beside creation options; the input sets them, not ``co``."""


@dataclass(frozen=True)
class Format:
    """How the output is written.

    Parameters
    ----------
    dtype : str, optional
        Type of all bands; by default the input's.
    cog : bool
        Cloud optimised, with overviews.
    options : mapping
        GDAL creation options, over the defaults.
    provenance : mapping
        Tags that say how the output was made.
    """

    dtype: str | None = None
    cog: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)


def writing_env() -> Any:
    """GDAL's configuration for outputs: masks inside the file, nothing beside it."""
    return rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES", GDAL_PAM_ENABLED="NO", GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR")


def takes_predictor(compression: str, *, odd_bits: bool) -> bool:
    """Tell whether GDAL combines a predictor with a compression and with numbers of fewer bits than their type."""
    return compression.upper() in PREDICTED and not odd_bits


def default_compression(given: Mapping[str, str], dtype: np.dtype[Any], odd_bits: bool) -> dict[str, Any]:
    """Defaults: ZSTD, as small as DEFLATE here at less than half the time, with the predictor of the type."""
    method = given.get("COMPRESS", "ZSTD").upper()
    options: dict[str, Any] = {"COMPRESS": method}
    if method == "ZSTD":
        options["ZSTD_LEVEL"] = 1
    if takes_predictor(method, odd_bits=odd_bits):
        options["PREDICTOR"] = 3 if dtype.kind == "f" else 2
    return options


def check_creation_options(form: Format, dtype: np.dtype[Any]) -> None:
    """Refuse creation options that break a promise, and those of which GDAL warns on a tiny raster in memory.

    On a large one it would pass over what it does not know, or fail after all the work.

    Raises
    ------
    UsageError
        If an option cannot be.
    """
    if not form.options:
        return
    given = {key.upper(): value for key, value in form.options.items()}
    if wrong := sorted(given.keys() & DESCRIBING):
        raise UsageError(f"creation option {wrong[0]} is not yours to set: the input and other options decide it")
    if given.get("COMPRESS", "").upper() in LOSSY:
        raise UsageError(f"COMPRESS={given['COMPRESS']} changes the values: take ZSTD, DEFLATE, LZW or LZMA")
    if wrong := sorted(given.keys() & REFUSED.keys()):
        raise UsageError(f"creation option {wrong[0]} {REFUSED[wrong[0]]}: leave it out")
    options = {key.lower(): value for key, value in form.options.items()}
    plain = {} if form.cog else options
    captured = CapturedWarnings()
    try:
        with writing_env(), quiet(), captured, MemoryFile() as memory:
            with memory.open(driver="GTiff", width=32, height=32, count=1, dtype=dtype.name, **plain) as tiny:
                tiny.write(np.zeros((1, 32, 32), dtype))
            if form.cog:
                with MemoryFile() as copy:
                    rasterio.shutil.copy(memory.name, copy.name, driver="COG", **options)
    except (*GDAL_ERRORS, OSError, ValueError, TypeError) as error:
        raise UsageError(f"GDAL refuses the creation options ({gdal_message(error)}): fix co=") from None
    if captured.messages:
        raise UsageError(f"GDAL does not take the creation options ({printable(captured.messages[0])}): fix co=")


class CapturedWarnings(logging.Handler):
    """Captures GDAL's warnings, which rasterio logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the words of a warning."""
        self.messages.append(record.getMessage().split(" in ", 1)[-1])

    def __enter__(self) -> None:
        logging.getLogger("rasterio._env").addHandler(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("rasterio._env").removeHandler(self)
