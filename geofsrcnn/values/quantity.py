"""The quantity of a variable, told from all that its header says: a pure function of names, units and attributes.

| kind | what becomes of it |
|---|---|
| field | the network |
| never negative | the network, within [0, inf) |
| fraction | the network, within 0 and 1, or 0 and 100 |
| direction | sine and cosine through the network |
| category | repeated |
| total | upscaled, divided among the parts of a cell (CF 7.3: extensive) |
| place | derived from the grid |
| other | copied or repeated: time, text |
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from geofsrcnn._types import Range
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.values.encoding import is_scaled, valid_ends
from geofsrcnn.values.quantity_units import Measure, Units, counts_time, read_units
from geofsrcnn.values.quantity_words import (
    CONCENTRATION,
    CONTINUOUS,
    OTHER_WATER,
    PRECIPITATION,
    X_NAMES,
    Y_NAMES,
    Word,
    as_words,
    is_boundary,
    place_named,
    words_of,
)


class Kind(Enum):
    """The kind of a variable; the values of the first six are the words of ``--as NAME=KIND``."""

    FIELD = "field"
    NEVER_NEGATIVE = "never-negative"
    FRACTION = "fraction"
    DIRECTION = "direction"
    CATEGORY = "category"
    TOTAL = "total"
    PLACE = "place"
    OTHER = "other"


STATED = (Kind.FIELD, Kind.NEVER_NEGATIVE, Kind.FRACTION, Kind.DIRECTION, Kind.CATEGORY, Kind.TOTAL)
"""Kinds that a user may give a variable."""

POSITIVE = 0.0, math.inf


class Certainty(Enum):
    """How far the evidence of what a variable is can be believed."""

    GIVEN = "the user gives it"
    STATED = "a convention states it"
    GUESSED = "words, units or the type tell it"
    UNKNOWN = "nothing tells it"


@dataclass(frozen=True)
class Header:
    """The header of a variable, as a file states it.

    Parameters
    ----------
    name : str
    dtype : numpy.dtype or str
        As stored.
    units, standard_name, long_name, cell_methods : str
        Empty where not stated.
    attrs : mapping
        All other attributes.
    coordinate : bool
        Whether it stands among the coordinates of others.
    horizontal : tuple of str
        Names of its dimensions that lie along the ground, where they are known.
    """

    name: str
    dtype: np.dtype[Any] | str = "float32"
    units: str = ""
    standard_name: str = ""
    long_name: str = ""
    cell_methods: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    coordinate: bool = False
    horizontal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantity:
    """The quantity that a variable holds.

    Parameters
    ----------
    kind : Kind
    evidence : str
        Which attribute says so.
    limits : tuple of float, optional
        What its values keep, in its own units.
    period : float, optional
        Of a direction: 360 in degrees, 2 pi in radians; pi where it is an axis without a head.
    certainty : Certainty
        How far the evidence is to be believed.
    """

    kind: Kind
    evidence: str
    limits: Range | None = None
    period: float | None = None
    certainty: Certainty = Certainty.GUESSED

    @property
    def given(self) -> bool:
        """Tell whether the user gives it."""
        return self.certainty is Certainty.GIVEN

    @property
    def stated(self) -> bool:
        """Tell whether a convention or the user says it, rather than words and units."""
        return self.certainty in {Certainty.GIVEN, Certainty.STATED}

    @property
    def unknown(self) -> bool:
        """Tell whether nothing says what it is."""
        return self.certainty is Certainty.UNKNOWN


UNKNOWN = Quantity(Kind.FIELD, "nothing says otherwise", certainty=Certainty.UNKNOWN)
"""The quantity of a variable that nothing tells of."""


def fraction_limits(least: float, most: float) -> Range:
    """Return the limits of a fraction whose units do not tell, by its smallest and largest coarse value.

    The upper limit is 1 if no value is above it, 100 if no value is above that. A limit that the values themselves pass
    is none: the header has said too much.

    Examples
    --------
    >>> fraction_limits(0, 87.0), fraction_limits(0, 0.9), fraction_limits(-0.1, 250)
    ((0.0, 100.0), (0.0, 1.0), (-inf, inf))
    """
    return 0.0 if least >= 0 else -math.inf, next((end for end in (1.0, 100.0) if most <= end), math.inf)


def direction_start(period: float, least: float, most: float) -> float:
    """Return where directions start to count, 0 or minus half a turn, by their smallest and largest value.

    A single -1 often stands for no direction, so that it takes less than -1.2 degrees to count from below 0.

    Examples
    --------
    >>> direction_start(360.0, -1.0, 350.0), direction_start(360.0, -170.0, 180.0)
    (0.0, -180.0)
    """
    half = period / 2 * (1 + 1e-6)
    has_negative = least < -period / 300
    return -period / 2 if has_negative and -half <= least and most <= half else 0.0


def quantity_of(header: Header) -> Quantity:
    """Return what a variable is.

    Parameters
    ----------
    header : Header

    Returns
    -------
    Quantity

    Examples
    --------
    >>> quantity_of(Header("tp", units="m", standard_name="unknown", long_name="Total precipitation"))
    Quantity(kind=<Kind.NEVER_NEGATIVE: 'never-negative'>, evidence="long_name 'Total precipitation'", \
limits=(0.0, inf), period=None, certainty=<Certainty.GUESSED: 'words, units or the type tell it'>)
    """
    for judge in (_judge_type, _judge_flags, _judge_place, _judge_code_units, _judge_methods):
        if (found := judge(header)) is not None:
            return found
    return _judge_words(header)


def is_precipitation(header: Header) -> bool:
    """Tell whether a variable is precipitation, an amount or a rate: by its words, or as such variables are called.

    Examples
    --------
    >>> is_precipitation(Header("lsp")), is_precipitation(Header("tcwv", long_name="precipitable water"))
    (True, False)
    """
    texts = [text for _, text in _titles(header)]
    return any(map(PRECIPITATION.search, texts)) and not any(map(OTHER_WATER.search, texts))


def quantity_as(kind: str, header: Header) -> Quantity:
    """Return what a variable is by the word of the user, with limits and period as its units tell.

    Raises
    ------
    UsageError
        If the word names no kind.
    """
    try:
        wanted = Kind(kind.strip().lower().replace("_", "-").replace(" ", "-"))
    except ValueError:
        wanted = Kind.OTHER
    if wanted not in STATED:
        words = ", ".join(each.value for each in STATED)
        raise UsageError(f"{printable(kind)} is no kind of variable: kinds= takes {words}")
    units = read_units(header.units)
    limits = period = None
    if wanted is Kind.NEVER_NEGATIVE:
        limits = POSITIVE
    elif wanted is Kind.FRACTION:
        limits = units.share
    elif wanted is Kind.DIRECTION:
        period = units.period or 360.0
    elif wanted is Kind.TOTAL and quantity_of(header).limits is not None:
        limits = POSITIVE
    return Quantity(wanted, "as you say", limits, period, Certainty.GIVEN)


def header_of_band(
    description: str | None, unit: str | None, dtype: Any, *, name: str = "", tags: Mapping[str, Any] | None = None
) -> Header:
    """The header of a band of a raster: its description, its unit, the name of its file, its tags.

    Parameters
    ----------
    description, unit : str, optional
        Of the band.
    dtype
        As stored.
    name : str
        That of its file, of which only words that name a quantity by themselves are read.
    tags : mapping, optional
        Of the band, by GDAL's names: ``STANDARD_NAME``, ``LONG_NAME``, ``GRIB_ELEMENT``, ``GRIB_COMMENT``, and those
        of NetCDF (``tp#long_name``).
    """
    attrs = {str(key).rpartition("#")[2].lower(): value for key, value in (tags or {}).items()}

    def take(*keys: str) -> str:
        """The first tag that is stated."""
        return next((str(attrs.pop(key)) for key in keys if attrs.get(key)), "")

    words = description or take("grib_comment")
    return Header(
        name=take("netcdf_varname", "grib_element") or ("" if description else _word_of_file(name)),
        dtype=dtype,
        units=unit or take("units", "grib_unit").strip("[]"),
        standard_name=take("standard_name"),
        long_name=take("long_name") or words,
        cell_methods=take("cell_methods"),
        attrs={**attrs, "description": words},
    )


_FILE_WORDS = (
    re.compile(
        r"qa_pixel|qa_radsat|scl|fmask|cloud_?mask|land_?cover|land_?use|lulc|nlcd|corine|clc|worldcover|globcover|mcd12q1"
    ),
    re.compile(r"aspect|wind_?dir(?:ection)?"),
    re.compile(r"precipitation|precip|prcp|ppt|rainfall|chirps|imerg"),
    re.compile(r"swe|snow_depth"),
    re.compile(r"population_(?:count|density)|ghs_pop|ppp|landscan"),
    re.compile(r"wind_?speed"),
)
"""Words of the names of files of one band that say what is in them, by what they mean."""

_BESIDE = re.compile(
    r"(?:^|_)(?:dem|dsm|dtm|slope|ratio|mask|hillshade|t2m|temp|temperature|tcc|canopy|impervious|percent|pct|fraction|frac"
    r"|cropland|sin|sine|cos|cosine|std|index|b\d+)(?=_|\d|$)"
)
"""Words beside them with which they may mean something else."""


def _word_of_file(name: str) -> str:
    """The word of a file's name that says what its one band is; none where another word speaks of something else.

    Examples
    --------
    >>> _word_of_file("LC08_L2SP_QA_PIXEL"), _word_of_file("dem_slope_aspect"), _word_of_file("precipitation_anomaly")
    ('qa_pixel', '', '')
    """
    text = as_words(name)
    found = [
        (known, match) for known in _FILE_WORDS for match in re.finditer(rf"(?:^|_)({known.pattern})(?=_|\d|$)", text)
    ]
    if len({known for known, _ in found}) != 1:
        return ""
    match = found[0][1]
    rest = re.sub(rf"(?:^|_)(?:{found[0][0].pattern})(?=_|\d|$)", "", text)
    return "" if words_of(rest.strip("_")) or _BESIDE.search(rest) else match[1]


_ROTATED = re.compile(r"r(lat|lon)s?")
"""Rotated latitudes and longitudes, of two dimensions as well."""

_PLACE_STANDARD = re.compile(r"(?:grid_)?(?:latitude|longitude)|projection_[xy](?:_angular)?_coordinate")

_CODE_FRACTION = re.compile(r"\d+_categor(?:y|ies)(?:_|$)")
"""Descriptions of WPS, "16-category top-layer soil type": fractions of each category, whose units read "category"."""


def _judge_type(header: Header) -> Quantity | None:
    """Judge by the type alone."""
    try:
        kind = np.dtype(header.dtype).kind
    except TypeError:  # text of NetCDF, complex integers of GDAL
        kind = "O"
    if kind == "b":
        return Quantity(Kind.CATEGORY, "its type is boolean")
    if kind in "SUOMVc":
        return Quantity(Kind.OTHER, "its type is no real number")
    if counts_time(header.units):
        return Quantity(Kind.OTHER, f"units {_quote(header.units)}")
    return None


def _judge_flags(header: Header) -> Quantity | None:
    """Flags of CF 3.5, unless they only name values outside the valid range of a field."""
    for key in ("flag_values", "flag_masks", "flag_meanings"):
        if key in header.attrs and not _outside(header):
            return Quantity(Kind.CATEGORY, key, certainty=Certainty.STATED)
    return None


def _outside(header: Header) -> bool:
    """Tell whether all flags stand for values outside the valid range: gaps of a field, each with its reason."""
    ends = valid_ends(header.attrs)
    if ends is None or None in ends:
        return False
    try:
        low, high = (float(end) for end in ends)
        values = [float(value) for value in np.ravel(header.attrs["flag_values"])]
    except (KeyError, TypeError, ValueError):
        return False
    return math.isfinite(high - low) and all(not low <= value <= high for value in values)


def _judge_place(header: Header) -> Quantity | None:
    """Latitudes, longitudes, projected coordinates, and their bounds."""
    units, name = read_units(header.units), header.name.lower()
    if units.measure is Measure.PLACE:
        return Quantity(Kind.PLACE, f"units {_quote(header.units)}")
    if _PLACE_STANDARD.fullmatch(header.standard_name):
        return Quantity(Kind.PLACE, f"standard_name {_quote(header.standard_name)}", certainty=Certainty.STATED)
    if (place_named(name) or _ROTATED.fullmatch(name)) and (units.period or not units.text):
        return Quantity(Kind.PLACE, f"name {_quote(header.name)}")
    if as_words(header.long_name) in {"latitude", "longitude"} and (units.period or not units.text):
        return Quantity(Kind.PLACE, f"long_name {_quote(header.long_name)}")
    if is_boundary(name):
        near = re.search(r"lat|lon|(?:^|_)[xy](?:_|$)", name)
        return Quantity(Kind.PLACE if near else Kind.OTHER, f"name {_quote(header.name)}")
    return None


def _judge_code_units(header: Header) -> Quantity | None:
    """Units that say that numbers stand for something else."""
    units = read_units(header.units)
    if units.measure is not Measure.CODE:
        return None
    words = words_of(as_words(f"{header.long_name} {header.attrs.get('description', '')}"))
    if Word.DIFFERENCE in words or (units.text == "index" and Word.CLASS not in words):
        return None
    if Word.SHARE in words or _CODE_FRACTION.match(as_words(str(header.attrs.get("description", "")))):
        return Quantity(Kind.FRACTION, f"description {_quote(header.attrs.get('description', ''))}", POSITIVE)
    return Quantity(Kind.CATEGORY, f"units {_quote(header.units)}")


def _judge_methods(header: Header) -> Quantity | None:
    """Sums over area (CF 7.3), and spreads."""
    units = read_units(header.units)
    evidence = f"cell_methods {_quote(header.cell_methods)}"
    for names, method in re.findall(r"((?:[\w.]+:\s*)+)(\w+)", re.sub(r"\([^)]*\)", "", header.cell_methods)):
        if method in {"standard_deviation", "variance", "range", "sum_of_squares", "root_mean_square"}:
            return Quantity(Kind.NEVER_NEGATIVE, evidence, POSITIVE, certainty=Certainty.STATED)
        if method == "sum" and _over_ground(names, header.horizontal) and not units.per_area:
            limits = POSITIVE if _judge_words(header).limits is not None else None
            return Quantity(Kind.TOTAL, evidence, limits, certainty=Certainty.STATED)
    return None


def _over_ground(names: str, horizontal: tuple[str, ...]) -> bool:
    """Tell whether the dimensions of a cell method together are an area."""
    over = {name.lower() for name in re.findall(r"[\w.]+", names)}
    if horizontal and {name.lower() for name in horizontal} <= over:
        return True
    return "area" in over or (any(map(Y_NAMES.fullmatch, over)) and any(map(X_NAMES.fullmatch, over)))


def _judge_words(header: Header) -> Quantity:
    """Judge by the words of names, with the units."""
    units = read_units(header.units)
    stated = f"units {_quote(header.units)}"
    if units.measure is Measure.LOGARITHM:
        return Quantity(Kind.FIELD, stated)
    titles = _titles(header)
    for judge in (_judge_spread, _judge_difference, _judge_title):
        for evidence, text in titles:
            if (found := judge(header, units, evidence, text)) is not None:
                by_convention = found.evidence.startswith("standard_name")
                return replace(found, certainty=Certainty.STATED) if by_convention else found
    if units.measure is Measure.PART:
        return Quantity(Kind.FRACTION, stated, units.share)
    if units.measure is Measure.CONCENTRATION:
        return Quantity(Kind.NEVER_NEGATIVE, stated, POSITIVE)
    if units.period and units.text.endswith("true"):
        return Quantity(Kind.DIRECTION, stated, period=360.0)
    if header.coordinate and _integer(header) and units.plain:
        return Quantity(Kind.CATEGORY, "integers among the coordinates")
    return UNKNOWN


def _titles(header: Header) -> list[tuple[str, str]]:
    """Texts that name the quantity, the most reliable first, and where they stand."""
    standard = "" if header.standard_name in {"unknown", "undefined"} else header.standard_name
    description = str(header.attrs.get("description", ""))
    long_name = "" if _NUMBERED.fullmatch(header.long_name.lower()) else header.long_name
    given = [("standard_name", standard), ("long_name", long_name)]
    if len(description) < 120:  # longer ones are prose, where anything may be named
        given.append(("description", description))
    given.append(("name", header.name))
    found = [(f"{key} {_quote(text)}", as_words(text[:200])) for key, text in given if text]
    short = {header.name.lower(): None, str(header.attrs.get("GRIB_shortName", "")).lower(): None}
    found += [(f"name {_quote(name)}", SHORT_NAMES.get(name, "")) for name in short]
    return [title for title in found if title[1]]


_NUMBERED = re.compile(r"(gdal )?band( number)? \d+")
"""Long names that number what they name, as GDAL writes them."""


def _judge_spread(header: Header, units: Units, evidence: str, text: str) -> Quantity | None:
    """Standard deviations, squares and counts of whatever quantity."""
    if Word.SPREAD not in words_of(text) or _is_flag(header, units, text) or text.endswith("slope_direction"):
        return None
    return _judge_total(units, evidence, text) or Quantity(Kind.NEVER_NEGATIVE, evidence, POSITIVE)


def _judge_difference(header: Header, units: Units, evidence: str, text: str) -> Quantity | None:
    """Differences and other quantities with a sign, whatever else the titles name."""
    signed = words_of(text)[:1] == (Word.DIFFERENCE,) or "net" in text.split("_")
    return Quantity(Kind.FIELD, evidence) if signed and not _is_flag(header, units, text) else None


def _is_flag(header: Header, units: Units, text: str) -> bool:
    """Tell whether a text names a flag of something, rather than the thing."""
    last = re.search(r"(?:flags?|mask)$", text) is not None
    return Word.FLAG in words_of(text) and units.plain and (last or _integer(header))


def _judge_title(header: Header, units: Units, evidence: str, text: str) -> Quantity | None:
    """Judge by one text; None where it tells nothing."""
    words = words_of(text)
    if Word.DIRECTION in words and (found := _judge_direction(header, units, evidence, text)) is not None:
        return found
    if (found := _judge_total(units, evidence, text)) is not None:
        return found
    if units.measure is Measure.PART and not (Word.FLAG in words and _integer(header)):
        return Quantity(Kind.FRACTION, f"units {_quote(header.units)}", units.share)
    if units.plain and _is_class(header, text):
        return Quantity(Kind.CATEGORY, evidence)
    if (units.plain or units.measure is Measure.PERCENT) and _is_share(units, text):
        return Quantity(Kind.FRACTION, evidence, units.share)
    if units.is_temperature:
        return Quantity(Kind.FIELD, evidence)
    if Word.CERTAIN in words:
        return Quantity(Kind.NEVER_NEGATIVE, evidence, POSITIVE)
    if Word.SIGNED in words:
        return Quantity(Kind.FIELD, evidence)
    return Quantity(Kind.NEVER_NEGATIVE, evidence, POSITIVE) if Word.AMOUNT in words else None


def _is_class(header: Header, text: str) -> bool:
    """Tell whether a text whose units are those of numbers names classes, flags or labels."""
    words, integer = words_of(text), _integer(header)
    if Word.FLAG in words and integer:
        return True
    if Word.SHARE in words:
        return False
    label = Word.LABEL in words and (integer or header.coordinate) and not CONTINUOUS.search(text)
    return Word.FLAG in words or Word.CLASS in words or label


def _is_share(units: Units, text: str) -> bool:
    """Tell whether a text whose units are those of numbers or % names a fraction, and no concentration."""
    words = words_of(text)
    if CONCENTRATION.search(text):
        return False
    cover = Word.COVER in words and Word.CLASS not in words
    of_hundred = units.measure is Measure.PERCENT and not {"quality", "area"}.isdisjoint(text.split("_"))
    return Word.SHARE in words or cover or of_hundred


def _judge_direction(header: Header, units: Units, evidence: str, text: str) -> Quantity | None:
    """A direction, if it is stated in an angle, or in nothing and named plainly; no function of one."""
    if _FUNCTION.search(text):
        return None
    if not units.period and (units.text or not _HEADS.search(text)):
        return None
    if _integer(header) and "flow" in text:  # codes of eight neighbours
        return None
    period = units.period or (2 * math.pi if "radian" in text else 360.0)
    axis = "angle_of_sub_gridscale_orography" in text
    return Quantity(Kind.DIRECTION, evidence, period=period / 2 if axis else period)


_FUNCTION = re.compile(r"(?:^|_)(?:sin|sine|cos|cosine|tan(?:gent)?|std|ratio)(?=_|$)")

_HEADS = re.compile(
    r"(?:^|_)(?:direction|w(?:ind_?)?dir|azimuth(?:_angles?)?|aspect)(?:_(?:from|to|deg|degrees?|rad|radians?|true|\d+m?))*$"
)
"""How names of directions end that state no units."""


def _judge_total(units: Units, evidence: str, text: str) -> Quantity | None:
    """A total of a cell, told by its quantity and by units that name no area."""
    if units.per_area or "density" in text.split("_"):
        return None
    words = _TOTALS.get(units.measure)
    if not (units.per_cell or units.measure is Measure.PERSONS or (words is not None and words.search(text))):
        return None
    return Quantity(Kind.TOTAL, f"{evidence}, units {_quote(units.text)}", POSITIVE)


_TOTALS = {
    Measure.NUMBER: re.compile(r"(?:^|_)(?:population|inhabitants|headcount|livestock)(?:_|$)"),
    Measure.MASS: re.compile(r"(?:^|_)(?:emissions?|emitted|mass|moles|production|consumption|stock)(?:_|$)|biomass"),
    Measure.MASS_RATE: re.compile(r"(?:^|_)(?:emissions?|emitted|emis|production|consumption)(?:_|$)"),
    Measure.VOLUME: re.compile(r"volume|storage"),
    Measure.AREA: re.compile(
        r"^(?!.*(?:upstream|catchment|drainage|contribut|accumulat)).*(?:^|_)(?:area|acreage)(?:_|$)"
    ),
}
"""Names of quantities whose values are totals of cells, by what their units measure."""


def _integer(header: Header) -> bool:
    """Tell whether values are integers, not packed."""
    return np.dtype(header.dtype).kind in "iu" and not is_scaled(header.attrs)


def _quote(text: object) -> str:
    words = " ".join(printable(text).split())
    return f"'{words if len(words) <= 60 else words[:57] + '...'}'"


SHORT_NAMES = {
    name: words
    for words, names in {
        "precipitation": "tp cp lsp pr prc ppt precip prcp rr rf rainc rainnc pcp apcp prate tprate chirps imerg"
        " mtpr rr24 prec pre",
        "snow": "swe sd snd snw snod sf prsn scd",
        "runoff": "ro sro mrro mrros qtot",
        "soil_moisture": "swvl1 swvl2 swvl3 swvl4 mrso mrsos smois ssm sm_surface",
        "radiation": "ssrd strd rsds rlds rsus rlus rsdt rsut rlut dswrf dlwrf ghi dni dhi swdown glw srad",
        "wind_speed": "ws si10 sfcwind wspd wind_speed_10m ff gust fg10 i10fg",
        "wave_height": "swh hs hsig vhm0",
        "humidity": "hus hur hurs huss rh2m q2",
        "chlorophyll": "chl chla chlor_a",
        "optical_depth": "aod aod550 aot od550aer",
        "direction_of_wind": "wdir dwi mwd mdww mdts mdir wd dd vmdr winddir",
        "cloud_cover": "tcc lcc mcc hcc clt",
        "sea_ice_concentration": "siconc sic ci",
        "land_mask": "lsm landmask lsmask",
        "population_count": "popcount ghs_pop ppp landscan",
    }.items()
    for name in names.split()
}
"""Meanings of common names that stand alone."""
