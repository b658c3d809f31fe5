"""Missing cells as a raster states them: nodata values, exactly and as GDAL takes them, and masks of bands."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from rasterio.enums import MaskFlags

from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.formats.tiff import nodata_text
from geofsrcnn.values.encoding import EXACT, stored_nodata

COMBINATION = "NODATA_VALUES"
"""Tag with a value for each band: cells where all bands hold theirs are missing in all, and no others."""


def nodata_of(dataset: Any, index: int, dtype: np.dtype[Any], path: Path, given: float | None) -> float | None:
    """The stored value of a band's missing cells, as `given` by the user, else as the file states it.

    Raises
    ------
    UsageError, InputError
        If the type cannot hold the given value, or the file's cannot be read exactly.
    """
    if given is not None:
        if dtype.kind in "iuf" and stored_nodata(given, dtype) is None:
            raise UsageError(f"nodata {given} cannot be stored as {dtype}, the type of band {index}")
        return given
    stated: float | None = dataset.nodatavals[index - 1]
    shown = printable(path.name)
    if dtype.kind in "iu" and dtype.itemsize == 8:
        stated = _exact(dataset, index, dtype, path, stated)
    if stated is None or dtype.kind not in "iu" or stored_nodata(stated, dtype) is not None:
        return stated
    whole = math.trunc(stated) if math.isfinite(stated) else None
    if whole is None or stored_nodata(whole, dtype) is None:
        warn("W-NODATA", f"{shown} states nodata {stated}, which {dtype} cannot hold: taken as none")
        return None
    warn("W-NODATA", f"{shown} states nodata {stated}, which {dtype} cannot hold: taken as {whole}, as GDAL does")
    return float(whole)


def _exact(dataset: Any, index: int, dtype: np.dtype[Any], path: Path, rounded: float | None) -> float | None:
    """A nodata value of 64-bit integers, which rasterio rounds to a double, or gives as none beyond the type's end."""
    if rounded is None and MaskFlags.nodata not in dataset.mask_flag_enums[index - 1]:
        return None
    shown = printable(path.name)
    text = (nodata_text(path) or "").strip() if dataset.driver == "GTiff" else ""
    found = re.match(r"[+-]?\d+", text)
    value = None if found is None else _wrap(int(found[0]), dtype)
    if value is None or (rounded is not None and float(value) != rounded):  # stated elsewhere, as in a sidecar
        if rounded is None or abs(rounded) > EXACT:
            raise InputError(f"the nodata value of {shown} is too large to be read exactly: give it with nodata=")
        return rounded
    if found is not None and found[0] != text:  # as rasterio spells large ones
        warn(
            "W-NODATA",
            f"{shown} states nodata {printable(text)}, which GDAL reads as {value} in {dtype}: say with nodata= what "
            "stands for missing cells",
        )
    return value if abs(value) > EXACT else float(value)


def _wrap(value: int, dtype: np.dtype[Any]) -> int:
    """A number as C reads it into 64 bits: stopped at the ends, and counted from the upper one if it has no sign."""
    info = np.iinfo(dtype)
    return value % 2**64 if dtype.kind == "u" and value < 0 else min(max(value, int(info.min)), int(info.max))


def mark_for_mask(dtype: np.dtype[Any], what: str) -> float:
    """Return what missing cells are stored as where an output has no mask: NaN, or an InputError if there is none."""
    if dtype.kind != "f":
        raise InputError(f"{what} and no nodata value: say with nodata= what stands for missing cells")
    return math.nan


def warn_of_combination(dataset: Any, shown: str) -> None:
    """Warn of a list of nodata values that is ignored, as it has not one for each band."""
    tag = dataset.tags().get(COMBINATION)
    if tag is not None and MaskFlags.per_dataset not in dataset.mask_flag_enums[0]:
        warn(
            "W-NODATA",
            f"{shown} has {dataset.count} bands and the tag {COMBINATION}={printable(tag)}: not one for each band, so "
            "taken as none",
        )
