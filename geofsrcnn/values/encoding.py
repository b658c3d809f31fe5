"""Missing cells and stored types: which values are valid, and how results are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from geofsrcnn._types import Array, Mask, Range
from geofsrcnn.errors import InputError, UsageError

HUGE = 3.399e38
"""Magnitude from which a number stands for a missing cell: float32's largest, 3.4028e38, with however few digits."""

TOLERANCE = 2.0**-22
"""Share of the sum of two floats by which they may differ and be one to GDAL: twice float32's epsilon."""

EXACT = 2**53
"""Largest integer up to which float64 holds every integer."""

SCALING = ("scale_factor", "add_offset")
"""Attributes that say how numbers are scaled (CF 8.1)."""

MARKS = ("_FillValue", "missing_value")
"""Attributes that name the numbers of missing cells (CF 2.5.1)."""

VALID = ("valid_range", "valid_min", "valid_max")
"""Attributes that name the range of valid numbers (CF 2.5.1)."""


def is_scaled(attrs: Mapping[Any, Any]) -> bool:
    """Tell whether attributes say that numbers are scaled, which decoded ones are not."""
    return any(key in attrs for key in SCALING)


def valid_ends(attrs: Mapping[Any, Any]) -> tuple[Any, Any] | None:
    """Return the ends of the valid range as attributes state them, of which one may be None; None without any.

    Examples
    --------
    >>> valid_ends({"valid_min": 0}), valid_ends({"valid_range": [0, 5]}), valid_ends({})
    ((0, None), (np.int64(0), np.int64(5)), None)
    """
    given = attrs.get("valid_range")
    low, high = (attrs.get("valid_min"), attrs.get("valid_max")) if given is None else (None, None)
    if given is not None and np.size(given) == 2:
        low, high = np.ravel(given)
    return None if low is None and high is None else (low, high)


def refuse_lost_digits(stored: Array, valid: Mask, name: str) -> None:
    """Refuse valid 64-bit integers that are too large for float64, with an InputError."""
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize < 8:
        return
    beyond = stored > EXACT
    if stored.dtype.kind == "i":
        beyond |= stored < -EXACT
    if (valid & beyond).any():
        words = f"integers beyond 2**53 in {name} would lose digits: subtract an offset first"
        raise InputError(f"{words}, or accept it for a raster with allow_lossy=True")


def is_number(values: Array) -> Mask:
    """Tell which cells are finite, and not as large as float32 can be.

    Floats at that end and beyond (3.4028e38, 1.8e308) stand for missing cells whatever the file says; taken as values
    they would drown their neighbourhood. Values are as stored, before scale and offset.

    Examples
    --------
    >>> is_number(np.array([1.0, np.nan, 3.5e38]))
    array([ True, False, False])
    """
    mask: Mask
    if values.dtype.kind != "f":
        mask = np.ones(values.shape, bool)
    elif values.dtype.itemsize < 4:
        mask = np.isfinite(values)
    else:
        mask = np.abs(values) < HUGE
    return mask


def equals_mark(values: Array, mark: Any) -> Mask:
    """Cells that hold a mark of missing cells, as GDAL compares.

    Files state marks with fewer digits than their cells have; so floats are the same to GDAL's mask bands where they
    differ by less than 4.8e-7 of them. Both are as stored, of one type.

    Examples
    --------
    >>> equals_mark(np.array([-3.4028235e38, -3.0e30], np.float32), np.float32(-3.40282e38))
    array([ True, False])
    """
    same: Mask = values == mark
    if values.dtype.kind != "f" or mark == 0 or not np.isfinite(mark):
        return same
    if values.dtype.itemsize < 4:
        values, mark = values.astype(np.float32), np.float32(mark)
    with np.errstate(over="ignore", invalid="ignore"):  # sums beyond the type are infinite, in GDAL too
        same |= np.abs(values - mark) < values.dtype.type(TOLERANCE) * np.abs(values + mark)
    return same


@dataclass(frozen=True)
class Missing:
    """Which stored values of a CF variable stand for missing cells, besides NaN and infinities (CF 2.5.1).

    Parameters
    ----------
    marks : tuple of float
        ``_FillValue`` and ``missing_value``.
    limits : tuple of float, optional
        The valid range: cells outside it are missing too.
    codes : tuple of float
        Values that packing will turn into marks of missing cells, which it rounds to whole steps.
    step : float
        Of that packing.
    """

    marks: tuple[float, ...] = ()
    limits: Range | None = None
    codes: tuple[float, ...] = ()
    step: float = 0.0

    def valid(self, stored: Array) -> Mask:
        """Tell which cells are not missing."""
        return is_number(stored) & self._unmarked(stored, self.marks)

    def undeclared(self, stored: Array) -> Mask:
        """Tell which cells are missing for no other reason than that they hold the largest floats."""
        if stored.dtype.kind != "f" or stored.dtype.itemsize < 4:
            return np.zeros(stored.shape, bool)
        huge: Mask = np.isfinite(stored) & (np.abs(stored) >= HUGE)
        if not huge.any():
            return huge
        alike = tuple(mark for mark in self.marks if abs(mark) >= HUGE)  # others are the same only to GDAL's rounding
        return huge & self._unmarked(stored, alike)

    def _unmarked(self, stored: Array, marks: tuple[float, ...]) -> Mask:
        """Tell which cells hold none of these marks and lie within the limits."""
        mask = np.ones(stored.shape, bool)
        for mark in marks:
            value = stored_nodata(mark, stored.dtype)
            if value is not None and not np.isnan(value):
                mask &= ~equals_mark(stored, value)
        if self.limits is not None:
            low, high = (stored.dtype.type(end) if stored.dtype.kind == "f" else end for end in self.limits)
            with np.errstate(invalid="ignore"):
                mask &= (stored >= low) & (stored <= high)
        return mask

    def keep_clear(self, stored: Array, valid: Mask, wanted: Array) -> None:
        """Move valid cells off the marks that rounding brings them onto, in place."""
        for code in self.codes:
            accident = valid & (np.abs(stored - code) <= self.step / 2)
            if accident.any():
                side = np.where(wanted[accident] < code, -self.step, self.step)
                stored[accident] = code + 0.51 * side  # just past the middle, so that packing rounds to the next step
        for mark in self.marks:
            value = stored_nodata(mark, stored.dtype)
            if value is None or np.isnan(value):
                continue
            accident = valid & equals_mark(stored, value)
            if accident.any():
                stored[accident] = _next_to(value, stored.dtype, None, wanted[accident])


@dataclass(frozen=True)
class Packing:
    """How values are stored: ``value = scale * stored + offset`` (CF 8.1, and the tags of a GeoTIFF's bands).

    Its law: what is encoded from decoded cells is what was stored, and no valid cell is ever stored as a missing one.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the stored numbers.
    scale, offset : float
        Of the formula.
    missing : Missing
        Which stored values are missing cells.
    mark : float, optional
        What missing cells are stored as; without it they keep what they hold.
    bounds : tuple of float, optional
        Smallest and largest number that can be stored, where they are narrower than the type's (``NBITS``).
    """

    dtype: np.dtype[Any]
    scale: float = 1.0
    offset: float = 0.0
    missing: Missing = field(default_factory=Missing)
    mark: float | None = None
    bounds: Range | None = None

    @property
    def plain(self) -> bool:
        """True if stored numbers are the values themselves."""
        return (self.scale, self.offset) == (1.0, 0.0)

    @property
    def step(self) -> float:
        """Difference of values whose stored numbers follow each other; 0 for floats."""
        return abs(self.scale) if self.dtype.kind in "iu" else 0.0

    @property
    def working_type(self) -> np.dtype[Any]:
        """Type of decoded values: float32 where it holds all of them."""
        small = self.plain and (self.dtype.itemsize <= 2 or self.dtype == np.float32)
        return np.dtype(np.float32 if small else np.float64)

    @property
    def limits(self) -> Range | None:
        """Smallest and largest value that can be stored, missing marks at the ends left out; None for floats."""
        bounds = self.bounds or stored_limits(self.dtype)
        if bounds is None:
            return None
        low, high = bounds
        marks = {float(mark) for mark in self.missing.marks}
        while low in marks and low < high:
            low, marks = low + 1, marks - {low}
        while high in marks and low < high:
            high, marks = high - 1, marks - {high}
        ends = self.value_of(low), self.value_of(high)
        return min(ends), max(ends)

    def value_of(self, number: float) -> float:
        """Return the value that a stored number stands for."""
        return number * self.scale + self.offset

    def decode(self, stored: Array, dtype: np.dtype[Any] | None = None) -> Array:
        """Values of stored numbers, valid or not.

        Parameters
        ----------
        stored : ndarray
            Of the packing's type.
        dtype : numpy.dtype, optional
            Of the values, instead of `working_type`.
        """
        values: Array = stored.astype(self.working_type if dtype is None else dtype)
        return values if self.plain else values * self.scale + self.offset

    def encode(self, values: Array, valid: Mask) -> Array:
        """Numbers as they are stored: rounded, clipped, clear of what stands for missing cells."""
        if not self.plain:
            values = (values - self.offset) / self.scale
        stored = to_stored(values, valid, self.dtype, self.mark, self.bounds)
        self.missing.keep_clear(stored, valid, values)
        return stored


def stored_nodata(nodata: float | None, dtype: np.dtype[Any]) -> Any | None:
    """The nodata value as it is stored in `dtype`, or None where that type cannot hold it.

    Examples
    --------
    >>> stored_nodata(-9999, np.dtype("uint8")) is None
    True
    >>> stored_nodata(-3.4e38, np.dtype("float32"))
    np.float32(-3.4e+38)
    """
    if nodata is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(nodata)
    if not math.isfinite(nodata) or int(nodata) != nodata:
        return None
    info = np.iinfo(dtype)
    return dtype.type(int(nodata)) if info.min <= int(nodata) <= info.max else None


def stored_limits(dtype: np.dtype[Any]) -> Range | None:
    """Smallest and largest value of an integer type, of 64 bits as the nearest double; None for floats.

    Examples
    --------
    >>> stored_limits(np.dtype("uint8"))
    (0.0, 255.0)
    """
    if dtype.kind not in "iu":
        return None
    info = np.iinfo(dtype)
    return float(info.min), float(info.max)


def within(a: Range | None, b: Range | None) -> Range | None:
    """The part that two ranges share; None stands for no bounds.

    Raises
    ------
    UsageError
        If they share nothing.

    Examples
    --------
    >>> within((0.0, 255.0), (-5.0, 100.0))
    (0.0, 100.0)
    """
    if a is None or b is None:
        return b if a is None else a
    shared = max(a[0], b[0]), min(a[1], b[1])
    if shared[0] >= shared[1]:
        raise UsageError(f"no value lies both from {a[0]} to {a[1]} and from {b[0]} to {b[1]}: check the range")
    return shared


def shared_range(limits: Range, other: Range | None) -> Range:
    """Return what two ranges share; the first where they share nothing, which is wrong, and no reason to stop.

    Examples
    --------
    >>> shared_range((0.0, 255.0), (0.0, 1.0)), shared_range((0.0, 255.0), (-5.0, -1.0))
    ((0.0, 1.0), (0.0, 255.0))
    """
    try:
        return within(limits, other) or limits
    except UsageError:
        return limits


def to_stored(
    values: Array,
    valid: Mask,
    dtype: np.dtype[Any],
    nodata: float | None = None,
    limits: Range | None = None,
) -> Array:
    """Values as the output type stores them.

    Integers are rounded to the nearest (ties to even) and clipped to what the type, or `limits`, can hold.
    Invalid cells get the nodata value if there is one and else keep what they hold; a valid cell that would
    come out equal to the nodata value takes the next value that the type can hold.

    Parameters
    ----------
    values : ndarray, floating or already of `dtype`
        In stored units.
    valid : ndarray of bool, the same shape
        True where valid.
    dtype : numpy.dtype
        Type of the output.
    nodata : float, optional
        Stored value of missing cells.
    limits : tuple of float, optional
        Smallest and largest stored value, where they are narrower than the type's (``NBITS``).

    Returns
    -------
    ndarray of `dtype`, the same shape

    Examples
    --------
    >>> to_stored(np.array([-3.2, 7.5, 0.2, 9.0]), np.array([True, True, True, False]), np.dtype("uint8"), 0)
    array([1, 8, 1, 0], dtype=uint8)
    """
    missing = stored_nodata(nodata, dtype)
    stored = _to_float(values, valid, dtype) if dtype.kind == "f" else _to_integer(values, dtype, limits)
    if missing is None:
        return stored
    if not np.isnan(missing):
        accident = valid & equals_mark(stored, missing)
        if accident.any():
            stored[accident] = _next_to(missing, dtype, limits, values[accident])
    stored[~valid] = missing
    return stored


def _to_float(values: Array, valid: Mask, dtype: np.dtype[Any]) -> Array:
    most = min(float(np.finfo(dtype).max), float(np.nextafter(np.float32(HUGE), np.float32(0))))
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype(dtype)
        if -most <= stored.min(initial=0) and stored.max(initial=0) <= most:  # nearly always
            return stored
    overflow = valid & (np.abs(stored) > most)
    if overflow.any():
        stored[overflow] = np.clip(values[overflow], -most, most).astype(dtype)
    return stored


def _to_integer(values: Array, dtype: np.dtype[Any], limits: Range | None) -> Array:
    info = np.iinfo(dtype)
    low, high = limits if limits is not None else (info.min, info.max)
    if values.dtype.kind != "f":
        own = np.iinfo(values.dtype)
        return np.clip(values, max(low, own.min), min(high, own.max)).astype(dtype)
    exact = np.promote_types(values.dtype, np.float32 if info.bits <= 16 else np.float64)
    stored: Array = np.rint(values.astype(exact, copy=False))
    stored[np.isnan(stored)] = 0.0
    np.clip(stored, low, high, out=stored)
    if info.bits <= 32:
        narrow: Array = stored.astype(dtype)
        return narrow
    # the largest 64-bit integers are not exact in float64 and would wrap when cast
    inside = (stored > float(info.min)) & (stored < float(info.max))
    result = np.where(inside, stored, 0.0).astype(dtype)
    result[stored >= float(info.max)] = high
    result[stored <= float(info.min)] = low
    return result


def _next_to(missing: Any, dtype: np.dtype[Any], limits: Range | None, wanted: Array) -> Array:
    """The stored neighbours of the nodata value, on the side where each wanted value lies."""
    if dtype.kind == "f":
        up, down = (_clear_of(missing, dtype, side) for side in (1, -1))
        up_ok, down_ok = abs(float(up)) < HUGE, abs(float(down)) < HUGE
    else:
        info = np.iinfo(dtype)
        low, high = limits if limits is not None else (info.min, info.max)
        up_ok, down_ok = int(missing) < high, int(missing) > low
        up = dtype.type(int(missing) + 1) if up_ok else missing
        down = dtype.type(int(missing) - 1) if down_ok else missing
    above = (wanted.astype(np.float64) >= float(missing)) & up_ok | (not down_ok)
    result: Array = np.where(above, up, down)
    return result


def _clear_of(mark: Any, dtype: np.dtype[Any], side: int) -> Any:
    """The first float on one side of a mark that is not the same to GDAL; infinite where there is none."""
    with np.errstate(over="ignore"):
        value = np.nextafter(mark, dtype.type(side * np.inf))
        step = 2.0 * TOLERANCE * abs(float(mark))
        while np.isfinite(value) and equals_mark(np.asarray(value), mark):
            value, step = dtype.type(float(mark) + side * step), 2.0 * step
    return value
