"""What a field measures, where that decides how it is scored and converted."""

from __future__ import annotations

import pytest

from geofsrcnn.pairs.quantities import converted


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
    assert converted(name, attrs, "K", "degC") == (1.0, 0.0)


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
    assert converted(name, attrs, "K", "degC") == (1.0, -273.15)
