"""Units: what files write is read as UDUNITS reads it, and what UDUNITS cannot read as people mean it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.values.units import conversion, differ

LENGTHS = ("m", "mm", "km", "cm", "ft")
TIMES = ("s", "h", "day", "d", "hour")

UDUNITS = [
    *(("m s**-1", "m s-1"), ("m/s", "km h-1"), ("Pa", "hPa"), ("millibars", "hPa"), ("m", "mm"), ("%", "1")),
    *(("K", "degC"), ("degF", "K"), ("degree_Celsius", "degF"), ("celsius", "K"), ("kg kg**-1", "g kg-1")),
    *(("W/m^2", "kW m-2"), ("m**3 m**-3", "%"), ("ug m-3", "kg m-3"), ("µg/m3", "kg m-3"), ("1e-3", "1")),
    *(("10^-3 kg kg-1", "g/kg"), ("knots", "m s-1"), ("mm (3 h)-1", "mm/day"), ("K day-1", "K s-1")),
    *(("degrees", "radian"), ("m.s-1", "m/s"), ("MJ m-2 day-1", "W m-2"), ("cm/month", "mm/month"), ("atm", "Pa")),
    *(("m", "K"), ("J m-2", "W m-2"), ("dBZ", "1"), ("kg", "m")),
]
"""Units that UDUNITS, which CF names, knows."""


@pytest.mark.parametrize(("given_units", "wanted"), UDUNITS)
def test_conversions_are_those_of_udunits(given_units, wanted):
    """Scale and offset of the C library."""
    cf_units = pytest.importorskip("cf_units")
    one, other = cf_units.Unit(given_units), cf_units.Unit(wanted)
    found = conversion(given_units, wanted)
    if not one.is_convertible(other):
        assert found is None
        return
    low, high = one.convert(0.0, other), one.convert(1.0, other)
    assert found is not None
    assert found == (pytest.approx(high - low, rel=1e-6), pytest.approx(low, rel=1e-6, abs=1e-9))


@pytest.mark.parametrize(
    ("given_units", "wanted", "scale"),
    [
        ("deg C", "degC", 1),
        ("degrees C", "Celsius", 1),
        ("C", "degC", 1),
        ("k", "K", 1),
        ("mb", "Pa", 100),
        ("gpm", "m", 1),
        ("fraction", "%", 100),
        ("proportion", "pct", 100),
        ("unity", "percentage", 100),
        ("degrees Kelvin", "K", 1),
        ("gons", "degrees", 0.9),
        ("radians", "rad", 1),
        ("(0 - 1)", "%", 100),
        ("psu", "0.001", 1),
        ("okta", "1", 0.125),
        ("m of water equivalent", "mm", 1000),
        ("mm w.e.", "m", 1e-3),
        ("mm/3h", "mm/day", 8),
        ("mm/24h", "mm/day", 1),
        ("mm 3h-1", "mm/day", 8),
        ("MM/DAY", "mm d-1", 1),
        ("kg m-2 s-1", "mm/day", 86400),
        ("kg.m-2.s-1", "mm/h", 3600),
        ("m/h", "kg m-2 day-1", 24000),
        ("mm", "kg m-2", 1),
    ],
)
def test_what_people_write_is_read_as_they_mean_it(given_units, wanted, scale):
    """ECMWF's words, water as a mass or a depth, three hours in a denominator."""
    assert conversion(given_units, wanted) == (pytest.approx(scale), 0.0)
    assert conversion(wanted, given_units) == (pytest.approx(1 / scale), 0.0)


@pytest.mark.parametrize(
    ("given_units", "wanted"),
    [
        ("mm/month", "mm/day"),
        ("mm/year", "mm/day"),
        ("mm", "mm/day"),
        ("degrees from east", "degrees from north"),
        ("foo", "bar"),
        ("10**10**10", "1"),
        ("m**99999999", "m"),
        ("9" * 200, "1"),
        ("1/0", "1"),
        ("__import__('os')", "1"),
        ("m) + (m", "m"),
    ],
)
def test_what_cannot_be_converted_is_not(given_units, wanted):
    """Months of no length, totals and rates, words, and what would take for ever."""
    assert conversion(given_units, wanted) is None
    assert differ(given_units, wanted)


def test_differences_keep_their_zero():
    """A range of temperatures counts as many kelvins as degrees."""
    assert conversion("K", "degC") == (1.0, -273.15)
    assert conversion("K", "degC", difference=True) == (1.0, 0.0)
    assert conversion("degF", "K", difference=True) == (pytest.approx(5 / 9), 0.0)


@given(
    one=st.tuples(st.sampled_from(LENGTHS), st.sampled_from(TIMES)),
    other=st.tuples(st.sampled_from(LENGTHS), st.sampled_from(TIMES)),
    forms=st.tuples(*[st.sampled_from(["{}/{}", "{} {}-1", "{} {}**-1", "{} {}^-1", "{}.{}-1", "{} / {}"])] * 2),
)
def test_there_and_back_is_nothing(one, other, forms):
    """Every spelling of a speed is the same, and conversions are inverse to each other."""
    a, b = forms[0].format(*one), forms[1].format(*other)
    there, back = conversion(a, b), conversion(b, a)
    assert there is not None
    assert back is not None
    assert math.isclose(there[0] * back[0], 1, rel_tol=1e-9)
    assert not differ(a, forms[1].format(*one))
