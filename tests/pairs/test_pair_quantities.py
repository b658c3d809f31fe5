"""What a field measures, where that decides how it is scored and converted."""

from __future__ import annotations

import pytest

from geofsrcnn.pairs.quantities import unit_conversion, wet_from
from geofsrcnn.values.quantity import SHORT_NAMES, Header, Kind, is_precipitation, quantity_of

RAIN = sorted(name for name, words in SHORT_NAMES.items() if words == "precipitation")


@pytest.mark.parametrize("name", [*RAIN, "mtpr", "rr24", "prec", "pre", "rainfall", "Precipitation_Flux", "rain_rate"])
def test_what_is_called_rain_is_rain_everywhere(name):
    """For wet days, which are a millimetre each, and for the limits of a finer field."""
    assert wet_from(name, {"units": "mm"}, 1) == 1
    assert wet_from(name, {"units": "m"}, 0.25) == pytest.approx(2.5e-4)
    assert wet_from(name, {"units": "kg m-2 s-1"}, 1) == pytest.approx(1 / 86400)
    assert quantity_of(Header(name, units="mm")).kind is Kind.NEVER_NEGATIVE


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tcwv", "precipitable water"),
        ("pe", "precipitation minus evaporation"),
        ("pr", "precipitation anomaly"),
        ("x", "potential evapotranspiration of rainfed crops"),
        ("snd", "snow depth"),
        ("wind", "wind speed"),
    ],
)
def test_other_water_has_no_wet_days(name, words):
    """Nor have differences of rain."""
    assert wet_from(name, {"units": "mm", "long_name": words}, 1) is None


def test_rain_is_told_by_any_of_its_words():
    """By a standard name, a long name or a short name of GRIB."""
    assert is_precipitation(Header("x", standard_name="convective_rainfall_flux"))
    assert is_precipitation(Header("x", long_name="Showers"))
    assert is_precipitation(Header("unknown", attrs={"GRIB_shortName": "tp"}))
    assert not is_precipitation(Header("x", long_name="training set"))


def test_bias_adjusted_rain_is_rain():
    """As of CORDEX and ISIMIP: no difference, though a bias is named."""
    attrs = {"units": "kg m-2 s-1", "standard_name": "precipitation_flux", "long_name": "Bias-Adjusted Precipitation"}
    assert wet_from("prAdjust", attrs, 1) == pytest.approx(1 / 86400)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("t", {"long_name": "temperature residual"}),
        ("t", {"long_name": "trend of temperature"}),
        ("t_delta", {}),
        ("T", {"long_name": "perturbation potential temperature theta-t0"}),
        ("tas", {"long_name": "ensemble spread of temperature"}),
        ("tas", {"standard_name": "air_temperature_anomaly"}),
        ("tas", {"standard_name": "air_temperature standard_error"}),
        ("dtr", {}),
        ("t", {"long_name": "Daily temperature range"}),
        ("t", {"standard_name": "dew_point_depression"}),
        ("tas", {"cell_methods": "time: mean within days time: range over days"}),
        ("tas", {"cell_methods": "area: mean time: standard_deviation (interval: 1 day)"}),
        ("tas", {"units_metadata": "temperature: difference"}),
    ],
)
def test_zero_of_a_difference_is_zero_in_any_unit(name, attrs):
    """From kelvins to degrees Celsius a difference stays what it is."""
    assert unit_conversion(name, attrs, "K", "degC") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "attrs"),
    [
        ("tas", {"standard_name": "air_temperature", "long_name": "Near-Surface Air Temperature"}),
        ("tasAdjust", {"long_name": "Bias-Adjusted Near-Surface Air Temperature"}),
        ("tas", {"long_name": "temperature (bias corrected, trend-preserving)"}),
        ("tas_bias_corrected", {}),
        ("ta", {"long_name": "zonal mean temperature"}),
        ("tair", {"long_name": "forcing air temperature"}),
        ("tas", {"cell_methods": "time: mid_range"}),
        ("tas", {"cell_methods": "time: mean (comment: range of hours)"}),
        ("tas", {"long_name": "mid-range temperature"}),
        ("delta_t", {"units_metadata": "temperature: on_scale"}),
    ],
)
def test_whole_temperatures_keep_their_zero(name, attrs):
    """Whatever is said beside of how they were made."""
    assert unit_conversion(name, attrs, "K", "degC") == (1.0, -273.15)


@pytest.mark.parametrize("words", ["rainfall infiltration", "irrigation and rain", "rain recharge", "rain discharge"])
def test_other_water_is_none_with_and_without_a_word_of_rain(words):
    """One list serves both: what is told by its words, and what only its units tell of."""
    assert not is_precipitation(Header("x", long_name=words))
    assert wet_from("x", {"units": "mm/day", "long_name": words.replace("rainfall", "").replace("rain", "")}, 1) is None
    assert is_precipitation(Header("x", long_name="precipitation (rain and melted snow)"))


@pytest.mark.parametrize("units", ["mm/day", "millimeters day-1", "mm (24 h)-1"])
def test_a_depth_of_millimetres_in_a_time_is_rain(units):
    """However it is spelled, where no word says something else; metres in a time are none."""
    assert wet_from("x", {"units": units}, 1) == pytest.approx(1)
    assert wet_from("x", {"units": "m/day"}, 1) is None
