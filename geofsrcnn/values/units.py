"""Units of measurement as climate data spell them, converted by pint.

UDUNITS (CF 3.1) is the language of the files; what pint reads otherwise is put into its words first. Water is one
quantity whether it counts as a depth or as a mass over an area. Months and years have no length, so that nothing a
month becomes anything a day.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from geofsrcnn.errors import need
from geofsrcnn.values.quantity_units import Measure, read_units

if TYPE_CHECKING:
    from pint import UnitRegistry

_NAMES = {
    Measure.NUMBER: "dimensionless",
    Measure.PART: "dimensionless",
    Measure.PERCENT: "percent",
    Measure.RADIANS: "radian",
    Measure.GRADS: "grade",
    Measure.KELVIN: "kelvin",
    Measure.CELSIUS: "degC",
    Measure.FAHRENHEIT: "degF",
}
"""Pint's names of units that `values.quantity_units` has the spellings of; degrees start at north or at east."""

_WHOLE = {
    **dict.fromkeys(("mb", "mbar", "millibars"), "millibar"),
    **dict.fromkeys(("kt", "kts", "knots"), "knot"),
    **dict.fromkeys(("psu", "pss", "pss-78", "g/kg"), "1e-3 dimensionless"),
    "gpm": "meter",
    "gpdam": "dekameter",
}
"""Other whole units, in small letters and without blanks, that pint reads as something else or not at all."""

_OF_WATER = re.compile(r"\s+(?:of\s+)?(?:liquid\s+)?water(?:\s+equivalent)?$|\s+w\.?\s?e\.?$|\s*H2O$", re.IGNORECASE)

_POWER = re.compile(r"(?<=[A-Za-zµμ)])(?<![\d.][eE])(?:\^|\*\*)?([-+]?\d{1,2})(?![\d.])")

_TIME = r"(h|hrs?|hours?|d|days?|min|minutes?)"

_LENGTHY = 80

_CALENDAR = ("month", "year", "decade", "century")

_WATER = 1000.0
"""Kilograms in a cubic metre, by which a mass over an area is a depth."""


def differ(one: str, other: str) -> bool:
    """Tell whether two units are stated and not the same.

    Examples
    --------
    >>> differ("K", "kelvin"), differ("K", "degC"), differ("", "K"), differ("m s**-1", "m/s")
    (False, True, False, False)
    """
    return bool(one) and bool(other) and conversion(one, other) != (1.0, 0.0)


@lru_cache(maxsize=256)
def conversion(given: str, wanted: str, *, difference: bool = False) -> tuple[float, float] | None:
    """Scale and offset from one unit to another; None where they are not known to measure the same.

    A unit that is not stated is taken for the other.

    Parameters
    ----------
    given, wanted : str
        Units.
    difference : bool
        The values are differences, such as ranges and anomalies: zero stays zero.

    Examples
    --------
    >>> conversion("K", "degC"), conversion("K", "degC", difference=True)
    ((1.0, -273.15), (1.0, 0.0))
    >>> conversion("kg m-2 s-1", "mm/day"), conversion("m", "kg m**-2"), conversion("%", "1")
    ((86400.0, 0.0), (1000.0, 0.0), (0.01, 0.0))
    >>> conversion("m", "K") is None, conversion("mm/month", "mm/day") is None
    (True, True)
    """
    if not given.strip() or not wanted.strip() or given == wanted:
        return 1.0, 0.0
    one, other = _quantity(given), _quantity(wanted)
    if one is None or other is None or _calendar(one) != _calendar(other):
        return None
    ratio = one.dimensionality / other.dimensionality
    try:
        if ratio == {"[mass]": 1, "[length]": -3}:
            one = one / _registry().Quantity(_WATER, "kg/m**3")
        elif ratio == {"[mass]": -1, "[length]": 3}:
            one = one * _registry().Quantity(_WATER, "kg/m**3")
        at = [_registry().Quantity(value * one.magnitude, one.units).to(other.units).magnitude for value in (0, 1, 2)]
    except Exception:  # noqa: BLE001 - whatever a library makes of words from a file, they are no units that convert
        return None
    low, middle, high = (float(value) / float(other.magnitude) for value in at)
    if not abs((high - middle) - (middle - low)) <= 1e-9 * abs(middle - low):  # logarithms, such as dBZ
        return None
    return _round(middle - low), 0.0 if difference else _round(low)


def _round(value: float) -> float:
    """Without the last digits, which the way of a conversion leaves; no minus before zero."""
    return float(f"{value:.13g}") + 0.0


def _calendar(quantity: Any) -> dict[str, float]:
    """Powers of units of time that are longer and shorter in one calendar than in another."""
    return {name: power for name, power in quantity.unit_items() if name in _CALENDAR}


@lru_cache(maxsize=256)
def _quantity(text: str) -> Any | None:
    """Return a unit as a quantity of pint's; None where nothing is known of it."""
    words = _in_words_of_pint(text)
    for spelling in (words, words.lower()) if words else ():
        try:
            return _registry().Quantity(_registry().parse_expression(spelling))
        except Exception:  # noqa: BLE001, S112 - as above
            continue
    return None


def _in_words_of_pint(text: str) -> str:
    """A unit in UDUNITS' words in those of pint; empty for what can be none, or would take long to read.

    Examples
    --------
    >>> _in_words_of_pint("kg m-2 s-1"), _in_words_of_pint("mm/3h"), _in_words_of_pint("m of water equivalent")
    ('kg m**-2 s**-1', 'mm/(3 h)', 'm')
    """
    text = _OF_WATER.sub("", text.strip())
    if (name := _NAMES.get(read_units(text).measure)) is not None:
        return name
    if (whole := _WHOLE.get(re.sub(r"[\s_]", "", text).lower())) is not None:
        return whole
    text = re.sub(r"(?<=[A-Za-z0-9])[.·](?=[A-Za-z])", " ", text)
    text = _POWER.sub(r"**\1", text).replace("^", "**").replace("%", " percent ").strip()
    text = re.sub(rf"/\s*(\d+)\s*{_TIME}\b", r"/(\1 \2)", text)
    text = re.sub(rf"(?<=[A-Za-z0-9)] )(\d+){_TIME}\*\*-1\b", r"(\1 \2)**-1", text)
    powers = re.findall(r"\*\*\s*([^\s*/()]*)", text)
    small = all(re.fullmatch(r"[-+]?\d{1,2}", power) for power in powers) and not re.search(r"\*\*[^*/()]*\*\*\d", text)
    return text if small and len(text) <= _LENGTHY else ""


@lru_cache(maxsize=1)
def _registry() -> UnitRegistry[Any]:
    """Pint's units, and some of the atmosphere's."""
    need("netcdf,zarr", "pint")
    import pint

    registry: UnitRegistry[Any] = pint.UnitRegistry(cache_folder=None)
    for line in ("okta = 0.125", "ppmv = 1e-6", "ppbv = 1e-9", "dobson_unit = 4.4615e-4 mol / m**2 = DU"):
        registry.define(line)
    return registry
