"""A CRS after CF: the same axes and grid mapping wherever a field comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio
import xarray as xr
from pyproj import CRS

from geofsrcnn import upscale_file
from geofsrcnn.cf.crs import axes_of, crs_of, in_units_of, is_rotated, mapping_of
from geofsrcnn.cf.grid import find_grid
from tests.support.rasters import write

POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
HEIGHT = 35785831.0
GEOSTATIONARY = f"+proj=geos +h={HEIGHT} +lon_0=0 +sweep=y"


@pytest.mark.parametrize(
    ("crs", "scale", "name", "unit", "size"),
    [
        (CRS.from_epsg(4326), 1.0, "longitude", "degrees_east", 1.0),
        (CRS.from_epsg(4807), 1.0, "longitude", "grad", 1.0),
        (CRS.from_cf(POLE), 1.0, "grid_longitude", "degrees", 1.0),
        (CRS.from_epsg(32633), 1.0, "projection_x_coordinate", "m", 1.0),
        (CRS.from_epsg(32633), 1000.0, "projection_x_coordinate", "km", 1000.0),
        (CRS.from_epsg(2263), 1.0, "projection_x_coordinate", "US_survey_foot", 1.0),
        (CRS.from_user_input(GEOSTATIONARY), HEIGHT, "projection_x_angular_coordinate", "rad", HEIGHT),
        (CRS.from_user_input(GEOSTATIONARY), 1.0, "projection_x_coordinate", "m", 1.0),
    ],
)
def test_axes_say_what_they_count_in_units_that_are_read_again(crs, scale, name, unit, size):
    """What `axes_of` writes, `in_units_of` reads."""
    y, x = axes_of(crs, (scale, scale))
    assert (x["standard_name"], x["units"], x["axis"]) == (name, unit, "X")
    assert y["standard_name"] == name.replace("longitude", "latitude").replace("_x_", "_y_")
    assert y["axis"] == "Y"
    if "degrees_" not in unit:
        assert math.isclose(in_units_of(crs, unit, "x"), size)


def test_axes_of_no_crs_claim_no_unit():
    """Which way they go is all that is known."""
    assert axes_of(None) == ({"axis": "Y"}, {"axis": "X"})


@pytest.mark.parametrize(
    "crs",
    [
        CRS.from_epsg(4326),
        CRS.from_cf(POLE),
        CRS.from_epsg(3034),
        CRS.from_user_input(GEOSTATIONARY),
        CRS.from_user_input("EPSG:4326+5773"),
    ],
)
def test_a_grid_mapping_is_read_as_what_was_written(crs):
    """By its parameters, by crs_wkt, and by the text that GDAL reads."""
    dataset = xr.Dataset(
        {"t": (("y", "x"), np.zeros((3, 4)), {"grid_mapping": "m"}), "m": ((), 0, mapping_of(crs))},
        {"y": ("y", np.arange(3.0), axes_of(crs)[0]), "x": ("x", np.arange(4.0), axes_of(crs)[1])},
    )
    assert crs_of(dataset, find_grid(dataset)) == CRS.from_wkt(crs.to_wkt())
    assert CRS.from_wkt(mapping_of(crs)["spatial_ref"]).is_geographic == crs.is_geographic
    assert is_rotated(crs) == ("grid_north_pole_latitude" in mapping_of(crs))


def test_a_raster_about_a_rotated_pole_becomes_such_a_dataset(tmp_path):
    """Its axes are no latitudes and longitudes of the globe, and its pole is stated for CF and for GDAL."""
    affine = rasterio.Affine(0.5, 0, -10, 0, -0.5, 8)
    write(tmp_path / "a.tif", np.random.default_rng(0).random((1, 12, 14)).astype("f4"), crs=None, transform=affine)
    wkt = CRS.from_cf(POLE).to_wkt()
    upscale_file(tmp_path / "a.tif", tmp_path / "a.nc", 2, "bilinear", crs=wkt)
    with xr.open_dataset(tmp_path / "a.nc") as made:
        assert made["y"].attrs["standard_name"] == "grid_latitude"
        assert made["x"].attrs["units"] == "degrees"
        assert np.allclose(made["y"], 8 - 0.25 * (np.arange(24) + 0.5))
        mapping = made[made["band_data"].attrs["grid_mapping"]].attrs
        assert mapping["grid_mapping_name"] == "rotated_latitude_longitude"
        assert mapping["grid_north_pole_longitude"] == -162
        assert CRS.from_wkt(mapping["spatial_ref"]) == CRS.from_wkt(wkt)
