"""What a variable is taken for, over headers of real files whose kind was decided by hand."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.errors import UsageError
from geofsrcnn.values.quantity import (
    Certainty,
    Header,
    Kind,
    Quantity,
    fraction_limits,
    header_of_band,
    quantity_as,
    quantity_of,
)
from geofsrcnn.values.quantity_units import Measure, read_units

TABLE = json.loads(Path(__file__).with_name("quantity_headers.json").read_text(encoding="utf-8"))
"""Facts that files of public packages and models say of their variables, each with its source."""

FELT = {"never-negative", "direction", "category"}
"""What must not be taken for a plain field."""


def header(row: dict) -> Header:
    """A row of the table as a header."""
    stated = {key: value for key, value in row.items() if key not in {"kind", "doubt", "source"}}
    return Header(**stated)


def kind(name: str = "x", units: str = "", **more) -> str:
    """What a header is taken for."""
    return quantity_of(Header(name, units=units, **more)).kind.value


@pytest.fixture(scope="module")
def wrong() -> list[tuple[str, str, str]]:
    """What was decided by hand, what was found and in which row, where these differ."""
    found = [(row, quantity_of(header(row))) for row in TABLE]
    return [
        (row["kind"], quantity.kind.value, f"{quantity.evidence}: {row}")
        for row, quantity in found
        if quantity.kind.value != row["kind"]
    ]


def test_the_table_is_large_and_has_all_kinds():
    """At least 300 headers of at least 30 files, and enough of each kind to tell."""
    counts = Counter(row["kind"] for row in TABLE)
    assert len(TABLE) >= 300
    assert len({row["source"] for row in TABLE}) >= 30
    assert all(counts[each] >= 25 for each in ("field", "never-negative", "fraction", "direction", "category", "place"))


def test_real_headers_are_told_right(wrong):
    """At least 98 in 100."""
    lines = "\n".join(f"{expected} was taken for {found}, by {row}" for expected, found, row in wrong)
    assert len(wrong) <= 0.02 * len(TABLE), lines


def test_no_quantity_with_limits_is_taken_for_a_plain_field(wrong):
    """No never negative one, no direction and no category among them."""
    missed = [row for expected, found, row in wrong if expected in FELT and found == "field"]
    assert not missed, "\n".join(missed)


def test_no_plain_field_is_taken_for_a_category_or_a_direction(wrong):
    """Nothing that the network should see is repeated or turned."""
    missed = [row for expected, found, row in wrong if expected == "field" and found in {"category", "direction"}]
    assert not missed, "\n".join(missed)


@pytest.fixture(scope="module")
def standard_names() -> dict[str, str]:
    """The kind of each name of the CF standard name table, by its canonical units."""
    checker = pytest.importorskip("compliance_checker")
    path = Path(checker.__file__).parent / "data" / "cf-standard-name-table.xml"
    entries = ET.parse(path).getroot().iter("entry")
    return {
        entry.get("id"): kind(units=entry.findtext("canonical_units") or "", standard_name=entry.get("id"))
        for entry in entries
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"(wind|wave|velocity).*_(from|to)_direction(_at_.*)?", "direction"),
        (r".*azimuth_angle", "direction"),
        (r"(?!tendency|gross|fraction|integral|probability).*area_fraction", "fraction"),
        (r".*(binary_mask|quality_flag|_type)", "category"),
        (r"(air|sea_surface|surface|soil|brightness|dew_point)_temperature", "field"),
        (r"(?!square_of|eastward_friction).*(_anomaly|_net_.*|eastward_.*_velocity|northward_wind)", "field"),
        (r"tendency_of_(?!.*emission).*", "field"),
        (
            r"(?!change|tendency|minus|correction).*(precipitation|rainfall|snowfall)_(flux|amount|rate)",
            "never-negative",
        ),
        (r"(mass|mole|number|radioactivity)_concentration_of.*", "never-negative"),
        (r"(mole|mass)_fraction_of.*_in_(air|sea_water)", "never-negative"),
        (r"(surface_|)(up|down)welling_(long|short)wave_flux_in_air.*", "never-negative"),
        (r".*(significant_height|mean_period|_speed|optical_thickness.*|mixed_layer_thickness.*)", "never-negative"),
        (r"(sea_ice|ocean|sea_water)_(volume|area|mass)", "total"),
        (r"(grid_)?(latitude|longitude)", "place"),
    ],
)
def test_families_of_standard_names(standard_names, pattern, expected):
    """Rules are of words: each family of the table is of one kind."""
    family = [name for name in standard_names if re.fullmatch(pattern, name)]
    others = {name: standard_names[name] for name in family if standard_names[name] != expected}
    assert family
    assert others == {}


def test_rain_of_the_climate_data_store_is_never_negative():
    """ERA5's tp, whose standard_name is "unknown"."""
    attrs = {"GRIB_shortName": "tp"}
    rain = quantity_of(Header("tp", units="m", standard_name="unknown", long_name="Total precipitation", attrs=attrs))
    assert rain == Quantity(Kind.NEVER_NEGATIVE, "long_name 'Total precipitation'", (0.0, math.inf))


@pytest.mark.parametrize(
    ("name", "units", "description", "expected"),
    [
        ("RAINNC", "mm", "ACCUMULATED TOTAL GRID SCALE PRECIPITATION", "never-negative"),
        ("SNOWNC", "mm", "ACCUMULATED TOTAL GRID SCALE SNOW AND ICE", "never-negative"),
        ("SWDOWN", "W m-2", "DOWNWARD SHORT WAVE FLUX AT GROUND SURFACE", "never-negative"),
        ("GLW", "W m-2", "DOWNWARD LONG WAVE FLUX AT GROUND SURFACE", "never-negative"),
        ("GSW", "W m-2", "NET SHORT WAVE FLUX AT GROUND SURFACE", "field"),
        ("OLR", "W m-2", "TOA OUTGOING LONG WAVE", "never-negative"),
        ("HFX", "W m-2", "UPWARD HEAT FLUX AT THE SURFACE", "field"),
        ("QFX", "kg m-2 s-1", "UPWARD MOISTURE FLUX AT THE SURFACE", "field"),
        ("PBLH", "m", "PBL HEIGHT", "never-negative"),
        ("XLAND", "", "LAND MASK (1 FOR LAND, 2 FOR WATER)", "category"),
        ("SNOWC", "", "FLAG INDICATING SNOW COVERAGE (1 FOR SNOW COVER)", "category"),
        ("CLDFRA", "", "CLOUD FRACTION", "fraction"),
        ("ALBEDO", "-", "ALBEDO", "fraction"),
        ("REFL_10CM", "dBZ", "Radar reflectivity", "field"),
        ("LU_INDEX", "category", "Dominant category", "category"),
        ("LANDUSEF", "category", "24-category USGS landuse", "fraction"),
    ],
)
def test_wrf_is_told_by_descriptions(name, units, description, expected):
    """Which say what names of eight letters cannot."""
    attrs = {"description": description, "MemoryOrder": "XY "}
    assert kind(name, units, attrs=attrs) == expected


@pytest.mark.parametrize(
    "words", ["Precipitation anomaly", "Change of precipitation", "precipitation bias", "Net rain"]
)
def test_differences_of_amounts_are_fields(words):
    """Whatever the standard name says."""
    assert kind("pr", "mm/day", standard_name="precipitation_flux", long_name=words) == "field"


@pytest.mark.parametrize("words", ["Bias-Adjusted Precipitation", "bias corrected rainfall"])
def test_what_was_adjusted_is_no_difference(words):
    """ISIMIP's long names say that a bias was taken away, not that the values are one."""
    assert kind("pr", "kg m-2 s-1", long_name=words) == "never-negative"
    assert kind("bias", "kg m-2 s-1", long_name="Bias of precipitation") == "field"


@pytest.mark.parametrize(
    ("units", "limits"),
    [("(0 - 1)", (0, 1)), ("fraction", (0, 1)), ("0-1", (0, 1)), ("1", (0, 1)), ("%", (0, 100)), ("percent", (0, 100))],
)
def test_limits_of_fractions_follow_their_units(units, limits):
    """In whatever words these are."""
    cover = quantity_of(Header("tcc", units=units, long_name="Total cloud cover"))
    assert (cover.kind, cover.limits) == (Kind.FRACTION, limits)


def test_fractions_without_units_take_their_upper_limit_from_values():
    """WRF states none for its vegetation fraction, which is one of 100."""
    cover = quantity_of(Header("VEGFRA", attrs={"description": "VEGETATION FRACTION"}))
    assert cover.limits == (0, math.inf)
    assert fraction_limits(0, 0.7) == (0, 1)
    assert fraction_limits(0, 86.5) == (0, 100)
    assert fraction_limits(0, 250) == (0, math.inf)


def test_limits_that_coarse_values_pass_are_none():
    """Retrievals of a fraction may be negative."""
    assert fraction_limits(-0.2, 3) == (-math.inf, 100)


@pytest.mark.parametrize(
    ("header", "certainty"),
    [
        (Header("a", units="t", cell_methods="area: sum"), Certainty.STATED),
        (Header("a", units="kg", standard_name="atmosphere_mass_of_carbon_dioxide"), Certainty.STATED),
        (Header("a", attrs={"flag_values": [1, 2]}), Certainty.STATED),
        (Header("population", units="persons"), Certainty.GUESSED),
        (Header("a"), Certainty.UNKNOWN),
    ],
)
def test_certainty_follows_who_says_it(header, certainty):
    """Conventions state, words and units let guess, nothing tells nothing; what the user says is said."""
    assert quantity_of(header).certainty is certainty
    assert quantity_as("field", header).certainty is Certainty.GIVEN


@pytest.mark.parametrize(
    ("units", "period"), [("degree", 360), ("Degree true", 360), ("degrees", 360), ("rad", 2 * math.pi), ("", 360)]
)
def test_directions_have_a_period(units, period):
    """That of their units, 360 without any."""
    wind = quantity_of(Header("wdir", units=units, long_name="Wind direction"))
    assert (wind.kind, wind.period) == (Kind.DIRECTION, period)


@pytest.mark.parametrize(
    ("name", "units", "more"),
    [
        ("sza", "degree", {"standard_name": "solar_zenith_angle"}),
        ("slope", "degrees", {"long_name": "Terrain slope"}),
        ("u", "m s-1", {"long_name": "x-direction geostrophic wind"}),
        ("wdw", "radians", {"long_name": "Wave spectral directional width"}),
        ("wdir_sd", "degree", {"standard_name": "wind_from_direction", "cell_methods": "time: standard_deviation"}),
        ("dwd", "degree", {"long_name": "Wind direction bias"}),
        ("fdir", "", {"long_name": "Flow direction", "dtype": "uint8"}),
    ],
)
def test_other_angles_are_no_directions(name, units, more):
    """Zenith angles, slopes, widths, spreads, differences, and directions of flow as codes."""
    assert kind(name, units, **more) != "direction"


@pytest.mark.parametrize("dtype", ["str", "S1", "complex64", "complex_int16", "datetime64[ns]"])
def test_what_is_no_real_number_is_other(dtype):
    """Text, dates and complex values, in the words of any library."""
    assert kind("precipitation", dtype=dtype) == "other"


def test_an_axis_has_half_the_period():
    """The orientation of mountains has no head."""
    axis = quantity_of(Header("anor", units="radians", long_name="Angle of sub-gridscale orography"))
    assert (axis.kind, axis.period) == (Kind.DIRECTION, math.pi)


@pytest.mark.parametrize(
    ("name", "dtype", "more"),
    [
        ("region", "int32", {"coordinate": True}),
        ("cell_id", "int64", {"coordinate": True}),
        ("number", "int16", {"coordinate": True}),
        ("LSMASK", "int8", {"long_name": "land_sea_mask"}),
        ("mask", "float32", {}),
        ("IVGTYP", "int32", {"attrs": {"description": "DOMINANT VEGETATION CATEGORY"}}),
        ("quality_flag", "uint8", {}),
        ("soil", "float32", {"long_name": "Soil type", "units": "(Code table 4.213)"}),
        ("lc", "uint8", {"attrs": {"flag_values": [1, 2], "flag_meanings": "land water"}}),
        ("landcover", "uint8", {}),
        ("lossyear", "uint8", {}),
        ("land", "bool", {}),
    ],
)
def test_labels_and_masks_are_categories(name, dtype, more):
    """With or without flags; a number among coordinates is a label or nothing says so."""
    found = kind(name, dtype=dtype, **more)
    assert found == ("never-negative" if name == "number" else "category")


@pytest.mark.parametrize(
    ("name", "dtype", "more"),
    [
        ("NDVI", "int16", {"long_name": "16 days NDVI vegetation index"}),
        ("spi", "float32", {"long_name": "Standardised precipitation index", "units": "dimensionless"}),
        ("stl1", "float32", {"long_name": "Soil temperature level 1", "units": "K"}),
        ("index", "float32", {"long_name": "K index", "units": "K"}),
        ("height", "int16", {"standard_name": "surface_altitude", "units": "m", "coordinate": True}),
        ("red", "uint16", {"units": "DN"}),
        ("sst", "int16", {"units": "kelvin", "attrs": {"scale_factor": 0.01}, "long_name": "sea surface temperature"}),
    ],
)
def test_measures_are_no_categories(name, dtype, more):
    """Indices that are measured, heights among coordinates, imagery and packed values."""
    assert kind(name, dtype=dtype, **more) == "field"


def test_flags_outside_the_valid_range_name_gaps():
    """Sea ice concentration whose flags are for the pole, lakes, coast and land."""
    attrs = {
        "valid_range": np.array([0, 250], "uint8"),
        "flag_values": np.array([251, 252, 253, 254], "uint8"),
        "flag_meanings": "pole_hole lakes coastal land_mask",
    }
    ice = Header("ice", "uint8", "1", "sea_ice_area_fraction", attrs=attrs)
    assert quantity_of(ice).kind is Kind.FRACTION


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"cell_methods": "area: sum"}, "total"),
        ({"cell_methods": "lat: lon: sum"}, "total"),
        ({"cell_methods": "longitude: latitude: sum"}, "total"),
        ({"cell_methods": "area: time: sum"}, "total"),
        ({"cell_methods": "time: sum (interval: 1 hour)"}, "field"),
        ({"cell_methods": "longitude: sum"}, "field"),
        ({"cell_methods": "b: a: sum", "horizontal": ("a", "b")}, "total"),
        ({"cell_methods": "area: sum where sea time: mean", "units": "kg m-2"}, "field"),
        ({"standard_name": "ocean_volume", "units": "m3"}, "total"),
        ({"standard_name": "cell_area", "units": "m2"}, "total"),
        ({"standard_name": "sea_ice_mass", "units": "kg"}, "total"),
        ({"long_name": "Population count"}, "total"),
        ({"long_name": "Population", "units": "people"}, "total"),
        ({"long_name": "Population density", "units": "people km-2"}, "never-negative"),
        ({"long_name": "CO2 emissions", "units": "kg/year"}, "total"),
        ({"long_name": "CO2 emissions", "units": "kg m-2 s-1"}, "never-negative"),
        ({"long_name": "Cattle", "units": "head per pixel"}, "total"),
        ({"long_name": "Upstream area", "units": "km2"}, "never-negative"),
        ({"standard_name": "ocean_mass_x_transport", "units": "kg s-1"}, "field"),
    ],
)
def test_totals_are_told_by_cell_methods_or_by_units(more, expected):
    """CF 7.3 in all its forms; a sum over time alone is no total, nor is what is for each square metre."""
    assert kind("x", **more) == expected


def test_a_total_of_an_amount_is_never_negative():
    """And one of anything keeps no limits."""
    assert quantity_of(Header("pr", long_name="Precipitation", cell_methods="area: sum")).limits == (0, math.inf)
    assert quantity_of(Header("n", cell_methods="area: sum")).limits is None


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("lat", ""),
        ("XLONG_M", "degrees longitude"),
        ("nav_lat", "degrees"),
        ("lon_vertices", ""),
        ("lonc", ""),
        ("LATIXY", ""),
        ("glamt", ""),
        ("long", ""),
        ("y", "Degrees_north"),
    ],
)
def test_places_are_told_by_names_and_units(name, units):
    """Latitudes and longitudes in all their spellings."""
    assert kind(name, units) == "place"


@pytest.mark.parametrize(
    ("description", "unit", "dtype", "name", "expected"),
    [
        ("Total precipitation", "mm", "float32", "", "never-negative"),
        ("SCL, Scene classification, None", None, "uint8", "", "category"),
        (None, None, "uint16", "LC08_L2SP_190024_20200101_02_T1_QA_PIXEL", "category"),
        (None, None, "uint8", "nlcd_2019_land_cover", "category"),
        (None, None, "float32", "aspect", "direction"),
        (None, None, "float32", "chirps-v2.0.2020.01", "never-negative"),
        (None, None, "int16", "study_area_region_1_temp", "field"),
        ("B4, central wavelength 665 nm", None, "uint16", "T32TQM_region_3", "field"),
        ("Elevation", "m", "int16", "n50_dem", "field"),
        ("Band 1", "", "uint8", "scan_of_a_map", "field"),
    ],
)
def test_bands_are_told_by_description_unit_and_file(description, unit, dtype, name, expected):
    """Of a file's name only what names a quantity by itself."""
    assert quantity_of(header_of_band(description, unit, dtype, name=name)).kind.value == expected


def test_bands_of_grib_are_told_by_their_tags():
    """Units of GDAL's GRIB driver stand in brackets."""
    tags = {"GRIB_ELEMENT": "APCP", "GRIB_COMMENT": "06 hr Total precipitation [kg/(m^2)]", "GRIB_UNIT": "[kg/(m^2)]"}
    found = header_of_band(None, None, "float64", tags=tags)
    assert (found.name, found.units) == ("APCP", "kg/(m^2)")
    assert quantity_of(found).kind is Kind.NEVER_NEGATIVE


def test_the_user_overrules():
    """With the limits and the period of the units."""
    band = Header("b1", units="%")
    assert quantity_as("fraction", band).limits == (0, 100)
    assert quantity_as("never-negative", band).limits == (0, math.inf)
    assert quantity_as("Never Negative", band).kind is Kind.NEVER_NEGATIVE
    assert quantity_as("direction", Header("a", units="rad")).period == 2 * math.pi
    assert quantity_as("field", Header("tp", long_name="Total precipitation")).limits is None
    assert quantity_as("total", Header("pr", long_name="Precipitation")).limits == (0, math.inf)


@pytest.mark.parametrize("word", ["rain", "place", "other", ""])
def test_an_unknown_kind_is_refused(word):
    """Places and times are not for the user to state."""
    with pytest.raises(UsageError, match="is no kind of variable: kinds= takes field, never-negative, fraction"):
        quantity_as(word, Header("x"))


texts = st.text(max_size=60)


@given(name=texts, units=texts, standard=texts, long=texts, methods=texts, coordinate=st.booleans())
def test_any_header_has_a_kind(name, units, standard, long, methods, coordinate):
    """Whatever texts a file holds, one line of evidence comes out."""
    found = quantity_of(Header(name, "int16", units, standard, long, methods, {"flag_values": long}, coordinate))
    assert found.evidence.isprintable()
    assert found == quantity_of(
        Header(name, "int16", units, standard, long, methods, {"flag_values": long}, coordinate)
    )


@pytest.mark.parametrize(
    ("units", "measure"),
    [
        ("degC", Measure.CELSIUS),
        ("degrees Kelvin", Measure.KELVIN),
        ("Metres", Measure.METRES),
        ("grads", Measure.GRADS),
        ("degrees_east", Measure.PLACE),
        ("kg kg**-1", Measure.CONCENTRATION),
        ("µg/m3", Measure.CONCENTRATION),
        ("kg/year", Measure.MASS_RATE),
        ("m3", Measure.VOLUME),
        ("mm", Measure.OTHER),
        ("lg(re m-1)", Measure.LOGARITHM),
    ],
)
def test_units_are_read(units, measure):
    """As far as they tell kinds apart."""
    assert read_units(units).measure is measure


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("aspect", "direction"),
        ("aspect_30m", "direction"),
        ("LC08_L2SP_QA_PIXEL", "category"),
        ("prism_ppt_us_30s_2020", "never-negative"),
        ("chirps_rainfall_2020", "never-negative"),
        ("GHS_POP_E2020_GLOBE_R2023A", "total"),
        ("ken_ppp_2020_UNadj", "total"),
        ("dem_slope_aspect", "field"),
        ("aspect_ratio", "field"),
        ("cos_aspect", "field"),
        ("terrain_aspect_dem", "field"),
        ("era5_wind_direction_mask_dem", "field"),
        ("wind_speed_direction_10m", "field"),
        ("chirps_era5_t2m", "field"),
        ("T32TPR_B04_B08_SCL_20m", "field"),
        ("nlcd_tcc_conus_2021", "field"),
        ("nlcd_2019_impervious_l48", "field"),
        ("precipitation_anomaly", "field"),
        ("rainfall_change_2050", "field"),
    ],
)
def test_a_file_name_tells_only_what_nothing_beside_it_doubts(stem, expected):
    """One word of a quantity counts; several, or one that turns it into something else, tell nothing."""
    dtype = "uint16" if expected == "category" else "float32"
    assert quantity_of(header_of_band(None, None, dtype, name=stem)).kind.value == expected
    assert quantity_of(header_of_band("height", "m", "float32", name=stem)).kind is Kind.FIELD


@pytest.mark.parametrize(
    ("said", "dtype", "period"),
    [
        ("Wind direction (deg)", "float32", 360),
        ("Wind Direction [degrees]", "uint16", 360),
        ("wind_direction_10m", "int16", 360),
        ("aspect (radians)", "float32", 2 * math.pi),
        ("sunAzimuthAngles", "float32", 360),
        ("flow direction", "uint8", None),
        ("sin_aspect", "float32", None),
        ("cosine of aspect", "float32", None),
        ("cos azimuth", "float32", None),
    ],
)
def test_directions_in_all_spellings_and_no_function_of_one(said, dtype, period):
    """Without a unit, in whole numbers too; sines and cosines are none."""
    assert quantity_of(header_of_band(said, None, dtype)).period == period


@pytest.mark.parametrize("said", ["Elevation (source: SRTM)", "DEM UTM zone 33", "reflectance tile T32"])
def test_measures_in_whole_numbers_are_no_labels(said):
    """Though a word of labels stands beside."""
    assert quantity_of(header_of_band(said, None, "int16")).kind is not Kind.CATEGORY


@pytest.mark.parametrize(
    ("units", "long_name", "expected"),
    [
        ("Gg", "NOx emissions", "total"),
        ("kton", "NOx emissions", "total"),
        ("metric tons", "SO2 emissions", "total"),
        ("t CO2", "emissions", "total"),
        ("kg C", "carbon stock", "total"),
        ("cm^2", "cell area", "total"),
        ("centimeter^2", "area of T cells", "total"),
        ("square km", "cell area", "total"),
        ("thousand persons", "population", "total"),
        ("1000 ha", "harvested area", "total"),
        ("g kg-1", "mixing ratio", "never-negative"),
        ("degT", "wind direction", "direction"),
        ("degrees (0 to 360)", "wind direction", "direction"),
        ("deg.", "wind direction", "direction"),
        ("compass degrees", "wind direction", "direction"),
        ("Basin Index", "basin index number (signed integers)", "category"),
        ("", "mascon identifier", "category"),
        ("1", "95th percentile of leaf area index", "never-negative"),
        ("m s-1", "radial wind speed", "field"),
        ("degC", "temperature", "field"),
    ],
)
def test_units_and_words_as_they_are_found(units, long_name, expected):
    """Spellings of real files."""
    assert kind("v", units, long_name=long_name) == expected
