"""Units as evidence of what a variable is, in the many ways that files spell them.

The spellings stand here for all modules. `values.units` converts between units, `cf.crs` knows those that coordinates
of a CRS count in.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from geofsrcnn._types import Range


class Measure(Enum):
    """The kind of quantity that units measure, as far as it tells kinds of variables apart."""

    NUMBER = "a number"
    CODE = "a code, which stands for something else"
    PART = "a part of 1"
    PERCENT = "parts of 100"
    DEGREES = "an angle in degrees"
    RADIANS = "an angle in radians"
    GRADS = "an angle in grads"
    PLACE = "a latitude or a longitude"
    KELVIN = "a temperature in kelvins"
    CELSIUS = "a temperature in degrees Celsius"
    FAHRENHEIT = "a temperature in degrees Fahrenheit"
    METRES = "a length in metres"
    LOGARITHM = "a logarithm"
    CONCENTRATION = "a concentration"
    PERSONS = "persons, animals or households"
    MASS = "a mass, or an amount of substance"
    MASS_RATE = "a mass in a time"
    VOLUME = "a volume"
    AREA = "an area"
    OTHER = "something else"


@dataclass(frozen=True)
class Units:
    """Units, read.

    Parameters
    ----------
    text : str
        In lower case.
    measure : Measure
    per_area, per_cell : bool
        Whether they are those of a quantity for each area, and of one for each cell.
    """

    text: str
    measure: Measure
    per_area: bool
    per_cell: bool

    @property
    def plain(self) -> bool:
        """True if values are numbers without a dimension, or codes."""
        return self.measure in {Measure.NUMBER, Measure.CODE}

    @property
    def place(self) -> str | None:
        """The coordinate that counts in them, "latitude" or "longitude", north and east being positive."""
        return next((which for which, pattern in _PLACES.items() if re.fullmatch(pattern, self.text)), None)

    @property
    def period(self) -> float | None:
        """The period of an angle."""
        return {Measure.DEGREES: 360.0, Measure.RADIANS: 2 * math.pi, Measure.GRADS: 400.0}.get(self.measure)

    @property
    def is_temperature(self) -> bool:
        """True if values are temperatures, on any scale."""
        return self.measure in {Measure.KELVIN, Measure.CELSIUS, Measure.FAHRENHEIT}

    @property
    def in_millimetres(self) -> bool:
        """True if they count millimetres, of anything and in any time."""
        return _MILLIMETRES.search(self.text) is not None

    @property
    def share(self) -> Range:
        """The limits of a fraction; without an upper one where units do not tell."""
        if self.measure is Measure.PERCENT:
            return 0.0, 100.0
        stated = self.measure is Measure.PART or self.text in {"1", "1.0", "unity"}
        return 0.0, 1.0 if stated else math.inf


def counts_time(units: str) -> bool:
    """Tell whether units count time since a date."""
    return re.search(r"\bsince\b", units) is not None


@lru_cache(maxsize=1024)
def read_units(units: str) -> Units:
    """Read what units tell.

    Examples
    --------
    >>> read_units("(0 - 1)").measure, read_units("Degree true").period, read_units("kg m**-2 s**-1").per_area
    (<Measure.PART: 'a part of 1'>, 360.0, True)
    """
    text = " ".join(units.lower().split())[:100]
    measure = next((measure for measure, pattern in _SPELLINGS.items() if pattern.fullmatch(text)), Measure.OTHER)
    return Units(text, measure, _PER_AREA.search(text) is not None, _PER_CELL.search(text) is not None)


_TIME = r"(?:yr|year|month|mon|day|d|hour|hr|h|s|a)"

_MANY = r"(?:(?:10\^?\d+|1[0-9]{3,}|thousands?|millions?|billions?)(?: of)? )?"

_WEIGHT = (
    rf"{_MANY}(?:[kmgtp]?g|kilograms?|(?:kilo|mega|giga|metric )?tons?|(?:metric )?tonnes?|t|[mkg]t|kton(?:ne)?s?"
    r"|k?mol|moles?)"
    r" ?(?:c|n)?(?:o?2|eq)*"
)

_POWER = r"(?:\*\*|\^)?"

_METRE = r"m(?:eters?|etres?)?"

_SCALE = r"(?:deg(?:ree)?s?|°)?[ _]?"

_PLACES = {
    "latitude": r"deg(?:ree)?s?[ _]?(?:n|north|lat|latitude)",
    "longitude": r"deg(?:ree)?s?[ _]?(?:e|east|lon|longitude)",
}
"""Units of latitudes and longitudes as they are found, besides CF's own spellings."""

_SPELLINGS = {
    measure: re.compile("|".join(spellings))
    for measure, spellings in {
        Measure.NUMBER: (
            r"1|1\.0|unity|-|-/-|~|\?|#|null|n/a|unitless|dimensionless|no ?units?",
            r"unknown|numeric|number|ratio|counts?|none|",
        ),
        Measure.CODE: (
            r"\(?code table.*|category|categories|categorical|\d+ ?categories|class(?:es)?|classification|codes?",
            r"flags?|ids?|index|basin index|region index|type|mask|bool|boolean|bits?|bit ?field|enum.*|see .*",
            r"index number|pft",
        ),
        Measure.PART: (
            r"[(\[]?\s*0(?:\.0?)?\s*(?:-|to|\.\.|,)\s*1(?:\.0?)?\s*[)\]]?",
            r"frac(?:tion)?(?:al)?s?|fraction .*|proportion|unit fraction",
        ),
        Measure.PERCENT: (r"%|percent(?:age)?s?|pct|per ?cent|[(\[]?\s*0\s*(?:-|to)\s*100\s*[)\]]?",),
        Measure.DEGREES: (
            (
                r"(?:arc_?|angular_?|compass )?(?:degrees?|degs?|°|º)\.?t?(?: \(.*\))?"
                r"(?:[ _](?:true|t|magnetic|clockwise.*|from.*|cw.*))?"
            ),
        ),
        Measure.RADIANS: (r"rad(?:ian)?s?",),
        Measure.GRADS: (r"(?:gon|grade?)s?",),
        Measure.PLACE: (*_PLACES.values(), r"deg(?:ree)?s?[ _]?(?:s|w|south|west)"),
        Measure.KELVIN: (rf"k|degk|{_SCALE}kelvins?",),
        Measure.CELSIUS: (rf"{_SCALE}(?:c|celsius)",),
        Measure.FAHRENHEIT: (rf"{_SCALE}(?:f|fahrenheit)",),
        Measure.METRES: (_METRE,),
        Measure.LOGARITHM: (r"db[a-z]?|db .*|decibels?|log.*|ln.*|.*\(re .*|lg\(.*",),
        Measure.CONCENTRATION: (
            rf"(?:[mµu]?g|kg|mol|mmol)(?: ?(?:/|per) ?| )(?:kg|mol|g){_POWER}(?:-1)?",
            r"pp[mbt][vm]?|psu|pss.*|dobsons?|du",
            rf"(?:µg|ug|mg|ng|micrograms?|milligrams?|[mµu]mol) ?(?:/|per)? ?[ml]{_POWER}(?:-?3|-1)?",
            rf"molec(?:ules?)?\.? ?(?:/ ?cm2|cm{_POWER}-2)|w ?[/m].*sr.*",
        ),
        Measure.PERSONS: (
            rf"{_MANY}(?:number of )?(?:persons?|people|inhabitants?|residents?|capita|heads?|individuals?)",
            rf"{_MANY}(?:number of )?households?",
            r"animals?|pop(?:ulation)?(?: count)?",
        ),
        Measure.MASS: (_WEIGHT,),
        Measure.MASS_RATE: (rf"{_WEIGHT} ?(?:/|per) ?{_TIME}", rf"{_WEIGHT} {_TIME}{_POWER}-1"),
        Measure.VOLUME: (rf"{_MANY}[ck]?{_METRE}{_POWER}3|cubic k?m.*|lit(?:re|er)s?|mcm|bcm",),
        Measure.AREA: (
            rf"{_MANY}(?:k|c|kilo|centi)?{_METRE}{_POWER}2",
            rf"sq(?:uare)?\.? ?(?:k|kilo)?{_METRE}|acres?|degrees?2",
            rf"{_MANY}(?:ha|hectares?)",
        ),
    }.items()
}
"""Spellings of units, read in lower case."""

_MILLIMETRES = re.compile(rf"(?<![a-z])(?:m|milli){_METRE}(?![a-z])")

_PER_AREA = re.compile(r"(?:^|[ .*])[ck]?m(?:\^|\*\*)?-2|/ ?\(?[ck]?m(?:\^|\*\*)?2|/ ?ha\b|\bha-1|per (?:sq|km|m)")

_PER_CELL = re.compile(
    r"(?:/|\bper\b) ?(?:grid[ -]?)?(?:cell|pixel|box|gridbox|gridcell)\b|\b(?:grid)?(?:cell|pixel|box)\^?-1"
)
