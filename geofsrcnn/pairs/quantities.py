"""Tell differences and rain from other fields, which decides how they are converted and scored."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from geofsrcnn.cf.dates import Date, Step, days_between
from geofsrcnn.values.quantity import Header, is_precipitation
from geofsrcnn.values.quantity_units import read_units
from geofsrcnn.values.quantity_words import NO_PRECIPITATION, Word, as_words, words_of
from geofsrcnn.values.units import conversion

if TYPE_CHECKING:
    import xarray as xr


def unit_conversion(
    name: str, attrs: Mapping[str, Any], given: str, wanted: str, *, is_daily: bool = False
) -> tuple[float, float] | None:
    """Find scale and offset from one unit to another for a quantity; None where they are not known to measure the same.

    Parameters
    ----------
    name : str
        Of the variable.
    attrs : mapping
        Of the variable: standard_name, long_name, cell_methods.
    given, wanted : str
        Units.
    is_daily : bool
        Each value is that of a day, so that totals of precipitation and rates are known from each other.

    Examples
    --------
    >>> unit_conversion("tas", {}, "K", "degC"), unit_conversion("dtr", {"long_name": "daily range"}, "K", "degC")
    ((1.0, -273.15), (1.0, 0.0))
    >>> unit_conversion("pr", {}, "kg m-2 s-1", "mm"), unit_conversion("pr", {}, "kg m-2 s-1", "mm", is_daily=True)
    (None, (86400.0, 0.0))
    """
    found = conversion(given, wanted, difference=is_difference(name, attrs))
    if found is None and is_daily and _is_precipitation(name, attrs, given):
        return _daily_conversion(given, wanted)
    return found


def _daily_conversion(given: str, wanted: str) -> tuple[float, float] | None:
    """Find scale and offset from a day's total to a rate, or from a rate to a day's total."""
    for one, other in (("mm", "mm/day"), ("mm/day", "mm")):
        first, last = conversion(given, one), conversion(other, wanted)
        if first is not None and last is not None:
            return first[0] * last[0], 0.0
    return None


def _is_precipitation(name: str, attrs: Mapping[str, Any], units: str) -> bool:
    standard, long = (str(attrs.get(key, "")) for key in ("standard_name", "long_name"))
    return is_precipitation(Header(name, units=units, standard_name=standard, long_name=long))


def convert(values: xr.DataArray, conversion: tuple[float, float]) -> xr.DataArray:
    """Bring values into other units, by `unit_conversion`; without a copy where they are the same."""
    scale, offset = conversion
    return values if conversion == (1.0, 0.0) else values * scale + offset


def is_difference(name: str, attrs: Mapping[str, Any]) -> bool:
    """Tell whether values are differences, such as anomalies, residuals and ranges, whose zero is that of any unit.

    What ``units_metadata`` says of temperatures (CF 1.11, 3.1.2) goes before all words.
    """
    stated = _STATED.search(str(attrs.get("units_metadata", "")))
    if stated is not None:
        return stated[1] == "difference"
    if _METHODS.search(re.sub(r"\([^)]*\)", "", str(attrs.get("cell_methods", "")))):
        return True
    texts = (name, str(attrs.get("standard_name", "")), str(attrs.get("long_name", "")))
    return any(map(_says_difference, texts))


def _says_difference(text: str) -> bool:
    words = _NO_DIFFERENCE.sub("_", as_words(text))
    return bool({Word.DIFFERENCE, Word.SPREAD}.intersection(words_of(words))) or _RANGE.search(words) is not None


_STATED = re.compile(r"temperature:\s*(difference|on_scale)")

_METHODS = re.compile(r":\s*(?:range|standard_deviation)\b")
"""Cell methods that leave differences; the middle of a range (``mid_range``) is none."""

_RANGE = re.compile(
    r"(?:^|_)(?:(?<!mid_)(?<!long_)(?<!medium_)(?<!short_)range|dtr|depression|excess|deficit|lifted_index)(?:_|$)"
)
"""Differences of two values of one quantity, besides those of `values.quantity_words`."""

_NO_DIFFERENCE = re.compile(
    r"(?<![a-z0-9])(?:"
    r"(?:bias|error|trend)s?_(?:adjust(?:ed)?|correct(?:ed)?|(?:adjustment|correction)(?=_method)|preserving|free)"
    r"|(?:after|with|by|using)_(?:[a-z0-9]+_){0,3}(?:correction|adjustment)s?"
    r"|net|zonal(?:ly)?|meridional(?:ly)?|forcings?|nudging|relaxation)(?![a-z0-9])"
)
"""Words that stand beside whole values too: of how they were made, along which way, and what for."""


def wet_amount(name: str, attrs: Mapping[str, Any], dates: Sequence[Date], step: Step) -> float | None:
    """The same as `wet_from`, of a field of some times; None too of months and years: no wet days."""
    return None if step in ("months", "years") else wet_from(name, attrs, days_between(dates, step))


def wet_from(name: str, attrs: Mapping[str, Any], days: float) -> float | None:
    """The amount from which on a value is wet, 1 mm a day, in the field's unit; None for what is no rain, as anomalies.

    Parameters
    ----------
    name : str
        Of the field.
    attrs : mapping
        Of the field: units, standard_name, long_name.
    days : float
        Between its times, in which amounts fell; rates say it themselves.

    Examples
    --------
    >>> wet_from("tprate", {"units": "m/day"}, 1), wet_from("tp", {"units": "m"}, 1)
    (0.001, 0.001)
    >>> wet_from("wind", {"units": "m/s"}, 1)
    """
    if is_difference(name, attrs):
        return None
    units, standard, words = (str(attrs.get(key, "")) for key in ("units", "standard_name", "long_name"))
    named = _is_precipitation(name, attrs, units)
    rate, amount = (conversion(one, units) if units else None for one in ("mm/day", "mm"))
    if rate is not None:
        other = NO_PRECIPITATION.search(as_words(f"{name} {standard} {words}"))
        return rate[0] if named or (read_units(units).in_millimetres and not other) else None
    return amount[0] * days if amount is not None and named else None
