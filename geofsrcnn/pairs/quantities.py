"""What a field measures, where that decides how it is converted and scored: differences, and rain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from geofsrcnn.values.units import conversion

_DIFFERENCE = re.compile(
    r"anomal|difference|departure|increment|\btendency|_range\b|\brange\b|\bdtr\b|standard.deviation|\bbias\b|"
    r"change_over_time|\bchange of\b",
    re.IGNORECASE,
)

_RAIN = re.compile(r"precipitation|rain|\bprecip\b|\bprcp\b|shower", re.IGNORECASE)

_NO_RAIN = re.compile(r"precipitable|minus|evap", re.IGNORECASE)

_RAIN_NAMES = re.compile(r"pre?c?|precip|prcp|ppt|tp|mtpr|tprate|rr|rr24|apcp|rain\w*|precipitation\w*")

_OTHER_WATER = re.compile(
    r"evap|transpir|runoff|discharge|melt|flow|recharge|infiltrat|irrigat|snow|dew|flux", re.IGNORECASE
)


def converted(name: str, attrs: Mapping[str, Any], given: str, wanted: str) -> tuple[float, float] | None:
    """Scale and offset from one unit to another for a quantity; None where they are not known to measure the same.

    Examples
    --------
    >>> converted("tas", {}, "K", "degC"), converted("dtr", {"long_name": "daily range"}, "K", "degC")
    ((1.0, -273.15), (1.0, 0.0))
    """
    return conversion(given, wanted, difference=is_difference(name, attrs))


def is_difference(name: str, attrs: Mapping[str, Any]) -> bool:
    """Whether values are differences, such as anomalies and ranges, whose zero is that of any unit."""
    keys = ("standard_name", "long_name", "cell_methods", "units_metadata")
    return any(_DIFFERENCE.search(text) for text in (name, *(str(attrs.get(key, "")) for key in keys)))


def wet_from(name: str, attrs: Mapping[str, Any], days: float) -> float | None:
    """The amount from which on a value is wet, 1 mm a day, in the field's unit; None for what is no rain.

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
    units = str(attrs.get("units", ""))
    words = " ".join(str(attrs.get(key, "")) for key in ("standard_name", "long_name"))
    named = bool(_RAIN.search(words) or _RAIN_NAMES.fullmatch(name.lower())) and not _NO_RAIN.search(words)
    rate, amount = (conversion(one, units) if units else None for one in ("mm/day", "mm"))
    if rate is not None:
        unsaid = "mm" in units and not _OTHER_WATER.search(f"{name} {words}")
        return rate[0] if named or unsaid else None
    return amount[0] * days if amount is not None and named else None
