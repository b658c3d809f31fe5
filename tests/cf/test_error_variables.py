"""Variables of expected errors: their names, and what they say of themselves and their fields."""

from __future__ import annotations

import numpy as np
import pytest

from geofsrcnn.cf.attributes import add_ancillary
from geofsrcnn.cf.expected_error import error_attrs, error_encoding
from geofsrcnn.cf.refine import refine
from geofsrcnn.errors import InputError
from tests.support.grids import regular


@pytest.mark.filterwarnings("ignore:W-REPEATED")
def test_upscaled_fields_have_a_name_for_their_error():
    """Fields and totals; no categories, nothing that is copied or left out, and none unless they are asked for."""
    dataset = regular()
    dataset["people"] = dataset["tas"].assign_attrs(units="persons", standard_name="", cell_methods="area: sum")
    dataset["soil"] = dataset["tas"].astype("int16").assign_attrs(flag_values=np.int16([250, 300]), units="1")
    plan = refine(dataset, 3, error=True)
    assert plan.errors == {"tas": "tas_error", "people": "people_error"}
    assert refine(dataset, 3, variables=["tas"], error=True).errors == {"tas": "tas_error"}
    assert refine(dataset, 3).errors == {}


@pytest.mark.parametrize("taken", ["field", "number", "dimension", "bounds"])
def test_a_name_that_is_taken_is_refused(taken):
    """Nothing is overwritten and no other name is made up, whoever has the name."""
    dataset = regular()
    if taken == "field":
        dataset["tas_error"] = dataset["tas"]
    elif taken == "number":
        dataset["tas_error"] = 1.0
    elif taken == "dimension":
        dataset = dataset.rename(time="tas_error")
    else:
        dataset = dataset.rename(lat_bnds="tas_error")
        dataset["lat"].attrs["bounds"] = "tas_error"
    with pytest.raises(InputError, match="tas_error, the name of the expected error of tas, is taken: leave that"):
        refine(dataset, 3, error=True)


def test_the_error_of_an_earlier_run_makes_room_when_it_is_left_out():
    """The field alone is chosen: its error is made anew under the same name."""
    dataset = regular()
    dataset["tas_error"] = dataset["tas"]
    assert refine(dataset, 3, variables=["tas"], error=True).errors == {"tas": "tas_error"}


@pytest.mark.parametrize(
    ("units", "said"),
    [("K", True), ("degC", True), ("degrees_Fahrenheit", True), ("degF", True), ("m", False), ("", False)],
)
def test_errors_of_temperatures_are_differences(units, said):
    """As CF has it (3.1.2): the unit is that of the field, and a word says that its zero does not count."""
    attrs = error_attrs("t", {"units": units, "standard_name": "air_temperature", "valid_max": 5.0, "scale_factor": 2})
    assert attrs["units"] == units
    assert (attrs.get("units_metadata") == "temperature: difference") == said
    assert set(attrs) - {"units_metadata"} == {"units", "long_name", "comment"}
    assert attrs["long_name"] == "expected absolute error of t"


def test_the_grid_is_that_of_the_field():
    """Coordinates, grid mapping and areas are referred to; how the field is packed is not."""
    references = {"coordinates": "lat lon", "grid_mapping": "crs", "cell_measures": "area: areacella"}
    attrs = error_attrs("t", {**references, "cell_methods": "time: mean", "_FillValue": 5})
    assert {key: attrs[key] for key in references} == references
    assert "cell_methods" not in attrs
    assert "units" not in attrs
    packed = {"dtype": "int16", "scale_factor": 0.1, "_FillValue": -1, "zlib": True, "filters": (), "coordinates": "a"}
    assert error_encoding(packed) == {"zlib": True, "coordinates": "a"}


def test_a_field_refers_to_its_error_once():
    """Behind what it referred to before."""
    assert add_ancillary({}, "t_error") == {"ancillary_variables": "t_error"}
    assert add_ancillary({"ancillary_variables": "t_error flag"}, "t_error")["ancillary_variables"] == "flag t_error"
