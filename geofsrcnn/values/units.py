"""Units of the same quantity that climate data mix: temperatures, and amounts of rain."""

from __future__ import annotations

_KELVIN = {"K": (1.0, 0.0), "degC": (1.0, 273.15)}

_A_DAY = {"mm/day": (1.0, 0.0), "m/day": (1000.0, 0.0), "kg m-2 s-1": (86400.0, 0.0), "mm/h": (24.0, 0.0)}

_SPELLINGS = {
    "K": ("k", "kelvin", "degk", "deg_k"),
    "degC": ("c", "celsius", "degc", "deg_c", "degree_c", "degrees_c", "degree_celsius", "degrees_celsius", "°c"),
    "mm/day": ("mm/day", "mm day-1", "mm d-1", "mm/d", "kg m-2 day-1", "kg m-2 d-1", "mm day^-1", "kg/m2/day"),
    "m/day": ("m/day", "m day-1", "m d-1"),
    "kg m-2 s-1": ("kg m-2 s-1", "kg m**-2 s**-1", "kg/m2/s", "kg/m^2/s", "kg m^-2 s^-1", "mm/s", "mm s-1"),
    "mm/h": ("mm/h", "mm h-1", "mm hr-1", "mm/hr", "mm hour-1", "kg m-2 h-1"),
}

_CANONICAL = {spelling: name for name, every in _SPELLINGS.items() for spelling in every}


def differ(one: str, other: str) -> bool:
    """Whether two units are stated and not the same.

    Examples
    --------
    >>> differ("K", "kelvin"), differ("K", "degC"), differ("", "K")
    (False, True, False)
    """
    return bool(one) and bool(other) and conversion(one, other) != (1.0, 0.0)


def conversion(given: str, wanted: str) -> tuple[float, float] | None:
    """Scale and offset from one unit to another; None where they are not known to measure the same.

    A unit that is not stated is taken for the other.

    Examples
    --------
    >>> conversion("K", "degC")
    (1.0, -273.15)
    >>> conversion("kg m-2 s-1", "mm/day")
    (86400.0, 0.0)
    >>> conversion("m", "K") is None
    True
    """
    if not given or not wanted or given == wanted:
        return 1.0, 0.0
    one, other = (_CANONICAL.get(unit.strip().lower()) for unit in (given, wanted))
    for known in (_KELVIN, _A_DAY):
        if one in known and other in known:
            (scale, offset), (into, base) = known[one], known[other]
            return scale / into, (offset - base) / into
    return None
