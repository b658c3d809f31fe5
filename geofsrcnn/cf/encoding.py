"""How variables say that their values are stored and limited (CF 2.5, 8.1)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Range
from geofsrcnn.cf.attributes import attribute
from geofsrcnn.errors import InputError, printable
from geofsrcnn.values.encoding import (
    MARKS,
    SCALING,
    Missing,
    Packing,
    is_scaled,
    shared_range,
    stored_limits,
    valid_ends,
    within,
)
from geofsrcnn.values.storage import Storage

NEVER_FILLED = "never_filled"
"""Key of the encoding of variables that the NetCDF library was told not to fill."""

DEFAULT_FILLS = {
    "i2": -(2**15) + 1,
    "i4": -(2**31) + 1,
    "i8": -(2**63) + 2,
    "u2": 2**16 - 1,
    "u4": 2**32 - 1,
    "u8": 2**64 - 2,
    **dict.fromkeys(("f4", "f8"), float.fromhex("0x1.ep+122")),
}
"""Values of cells that were never written, by the NetCDF library's convention; bytes have none."""


def stored_chunk(variable: xr.Variable) -> tuple[int, ...] | None:
    """Return the sizes of what is stored, and read, in one piece; None where the file is in no chunks."""
    encoding = variable.encoding
    return encoding.get("shards") or encoding.get("chunksizes") or encoding.get("chunks") or None


def packing_of(variable: xr.Variable | xr.DataArray) -> Packing:
    """How a variable is or was stored, whether xarray has decoded it or not."""
    dtype = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if dtype.kind not in "iuf":
        dtype = variable.dtype
    unsigned = str(attribute(variable, "_Unsigned")).lower()
    if (dtype.kind, unsigned) in {("i", "true"), ("u", "false")}:
        dtype = np.dtype(f"{'u' if unsigned == 'true' else 'i'}{dtype.itemsize}")
    scale, offset = (_packing_number(variable, key) for key in SCALING)
    marks = [_parse_marks(attribute(variable, key)) for key in MARKS]
    stated = tuple(dict.fromkeys(_as_stored(m, dtype) for mark in marks for m in mark))
    packing = Packing(dtype, 1.0 if scale is None else scale, 0.0 if offset is None else offset)
    return replace(packing, missing=Missing(stated, _valid_range(variable, packing)))


def _parse_marks(marks: Any) -> list[Any]:
    """Marks of missing cells as numbers; texts that are none are left out."""
    found = []
    for mark in [] if marks is None else np.ravel(marks):
        if isinstance(mark, (str, bytes)):
            text = mark.decode(errors="replace") if isinstance(mark, bytes) else mark
            try:
                found.append(np.float64(text.strip().rstrip("fFdDlLsSbB")))
            except ValueError:
                continue
        else:
            found.append(mark)
    return found


def _packing_number(variable: xr.Variable | xr.DataArray, key: str) -> float | None:
    """A packing attribute, which must be a number that can be undone."""
    given = attribute(variable, key)
    if given is None:
        return None
    try:
        number = float(np.ravel(given)[0])
    except (TypeError, ValueError, IndexError):
        number = math.nan
    if not math.isfinite(number) or (key == "scale_factor" and number == 0):
        raise InputError(f"{key} is {printable(str(given))}, which nothing can be packed by: fix the attribute")
    return number


def _as_stored(number: Any, dtype: np.dtype[Any]) -> float:
    """A number in the stored type, its sign read as that type's: -1 is 255 where bytes are unsigned."""
    if dtype.kind == "f":
        return float(dtype.type(number))
    if dtype.kind == "u" and np.asarray(number).dtype.kind == "i" and number < 0:
        return float(int(number) + 2 ** (8 * dtype.itemsize))
    if dtype.kind == "i" and np.asarray(number).dtype.kind == "u" and number > np.iinfo(dtype).max:
        return float(int(number) - 2 ** (8 * dtype.itemsize))
    return int(number) if np.asarray(number).dtype.kind in "iu" else float(number)  # 64 bits keep their digits


def missing_of(variable: xr.Variable | xr.DataArray) -> Missing:
    """Which values of a variable are missing, decoded or not, and which ones would be stored as missing."""
    packing = packing_of(variable)
    packed = is_scaled(variable.attrs)
    marked = any(key in variable.attrs for key in MARKS)
    limits = packing.missing.limits
    if limits is not None and not packed:  # by half a step more: decoding rounds
        step = 0.0 if packing.plain else abs(packing.scale) / 2
        ends = sorted(map(packing.value_of, limits))
        limits = ends[0] - step, ends[1] + step
    fills = _default_fills(variable, packing, decoded=not packed)
    if marked or packing.dtype.kind not in "iu":
        return Missing((*packing.missing.marks, *fills) if marked else fills, limits)
    codes = tuple(map(packing.value_of, packing.missing.marks))
    return Missing(fills, limits, codes, abs(packing.scale))


def _default_fills(variable: xr.Variable | xr.DataArray, packing: Packing, *, decoded: bool) -> tuple[float, ...]:
    """The value of cells that were never written, where no `_FillValue` says which it is (NetCDF User's Guide).

    No other float is like it; integers may well be, so that they have it only in variables of NetCDF files that the
    library fills.
    """
    stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
    fill = DEFAULT_FILLS.get(stored.str[1:])
    filled = stored.kind == "f" or ("source" in variable.encoding and not variable.encoding.get(NEVER_FILLED))
    if fill is None or not filled or attribute(variable, "_FillValue") is not None:
        return ()
    if stored.kind != "f":
        fill = _as_stored(stored.type(fill), packing.dtype)
    return (packing.value_of(fill) if decoded and not packing.plain else fill,)


def storage_of(
    variable: xr.Variable | xr.DataArray,
    *,
    total: bool = False,
    raw: bool = False,
    unpacked: np.dtype[Any] | None = None,
    moved: bool = False,
) -> Storage:
    """How a variable's numbers become cells, and fine cells numbers, whether xarray has decoded it or not.

    Parameters
    ----------
    variable : Variable or DataArray
        With attributes and encoding.
    total : bool
        Values are divided, and not packed again.
    raw : bool
        Stored numbers are repeated, whatever they mean.
    unpacked : numpy.dtype, optional
        Floating type that fine values are written in, instead of the variable's.
    moved : bool
        Fine cells are not parts of coarse ones.
    """
    packing, missing = packing_of(variable), missing_of(variable)
    if not is_packed(variable):  # numbers are values; encoding may tell how they will be packed
        packing = Packing(variable.dtype.newbyteorder("="))
    if total:
        missing = replace(missing, codes=())
    coarse = replace(packing, missing=missing)
    if unpacked is not None:
        return Storage(coarse, Packing(unpacked, mark=np.nan), unpacked, raw)
    native = coarse.dtype.newbyteorder("=")
    # the parts of a missing cell hold its mark already, unless arithmetic in floats has changed it
    changed = total or moved or (native.kind == "f" and not coarse.plain)
    changed |= native.kind in "iu" and native.itemsize == 8
    mark = _mark_of(variable, missing, native) if changed else None
    return Storage(coarse, replace(coarse, dtype=native, mark=mark), variable.dtype, raw)


def _mark_of(variable: xr.Variable | xr.DataArray, missing: Missing, dtype: np.dtype[Any]) -> float | None:
    """Return what stands for missing cells: what is stated, else NaN; of whole numbers what the library fills with."""
    if dtype.kind == "f" and not any(key in variable.attrs for key in MARKS):
        return math.nan
    return missing.marks[0] if missing.marks else None


def is_packed(variable: xr.Variable | xr.DataArray) -> bool:
    """Tell whether a variable holds numbers that attributes tell how to unpack."""
    return is_scaled(variable.attrs) or "_Unsigned" in variable.attrs


def limits_of(variable: xr.Variable | xr.DataArray) -> Range | None:
    """The range that a field's values keep: what its type stores, and its valid range.

    Parameters
    ----------
    variable : Variable or DataArray
        With attributes and encoding.

    Returns
    -------
    tuple of float, or None
        In the variable's units, unpacked.
    """
    packing = packing_of(variable)
    limits = within(packing.limits, storage_of(variable).limits)
    if packing.missing.limits is None:
        return limits
    ends = sorted(map(packing.value_of, packing.missing.limits))
    return (ends[0], ends[1]) if limits is None else shared_range(limits, (ends[0], ends[1]))


def _valid_range(variable: xr.Variable | xr.DataArray, packing: Packing) -> Range | None:
    """`valid_range`, or `valid_min` and `valid_max`, as stored: those of the packed type are in packed units."""
    pair = valid_ends(variable.attrs)
    if pair is None:
        return None
    try:
        low, high = (d if end is None else float(end) for end, d in zip(pair, (-math.inf, math.inf), strict=True))
    except (TypeError, ValueError):
        return None
    stored = next(np.asarray(end).dtype for end in pair if end is not None)
    if stored.kind not in "iu" and not packing.plain:
        low, high = sorted((end - packing.offset) / packing.scale for end in (low, high))
    elif stored.kind == "i" and math.isfinite(low) and math.isfinite(high):
        low, high = (_as_stored(stored.type(end), packing.dtype) for end in (low, high))
    least, most = stored_limits(packing.dtype) or (-math.inf, math.inf)
    return (low, high) if low < high and low < most and high > least else None
