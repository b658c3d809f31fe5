"""Slopes and shading of elevations, against planes, against gdaldem, and as scores of an evaluation."""

import math
import shutil
import subprocess

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import cbook
from rasterio.crs import CRS

from geofsrcnn.evaluation.rasters import evaluate_raster
from geofsrcnn.evaluation.terrain import METRES_OF_A_DEGREE, is_elevation, terrain_of
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from tests.support.rasters import write

UTM = CRS.from_epsg(32617)


@pytest.fixture(scope="module")
def dem():
    """The Jacksboro fault, metres."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        return data["elevation"].astype("float64")


def terrain(shape, affine, crs=UTM, words="dem", unit="m"):
    return terrain_of(Grid(shape, affine, crs), Window(0, shape[0], 0, shape[1]), words, unit)


@given(st.floats(0, 360), st.floats(0, 70), st.sampled_from([-1, 1]), st.floats(1, 5000), st.floats(1, 5000))
def test_a_plane_has_its_slope_and_faces_the_light(aspect, steepness, upright, width, height):
    """A plane that falls towards any side; rows may run either way; light is the cosine to the sun."""
    affine = Affine(width, 0, 500000, 0, upright * height, 4000000)
    y, x = np.mgrid[:5, :6] + 0.5
    east, north = affine.a * x, affine.e * y
    gradient = math.tan(math.radians(steepness))
    falls = math.radians(aspect)
    z = -gradient * (east * math.sin(falls) + north * math.cos(falls))
    found = terrain((5, 6), affine).derive(z)
    inner = (slice(1, -1), slice(1, -1))
    assert found["slope"][inner] == pytest.approx(np.full((3, 4), steepness), abs=1e-6)
    azimuth, altitude, tilt = math.radians(315), math.radians(45), math.radians(steepness)
    light = math.cos(tilt) * math.sin(altitude) + math.sin(tilt) * math.cos(altitude) * math.cos(azimuth - falls)
    assert found["hillshade"][inner] == pytest.approx(np.full((3, 4), 255 * max(light, 0)), abs=1e-5)
    assert np.isnan(found["slope"][0]).all()
    assert np.isnan(found["slope"][:, -1]).all()


@pytest.mark.skipif(shutil.which("gdaldem") is None, reason="no gdaldem here: apt-get install gdal-bin")
def test_it_is_what_gdaldem_gives(dem, tmp_path):
    """To its 8 bits of shading."""
    path = write(tmp_path / "dem.tif", dem.astype("float32"), crs="EPSG:32617", transform=(90, 0, 0, 0, -80, 0))
    found = terrain(dem.shape, Affine(90, 0, 0, 0, -80, 0)).derive(dem)
    for what, tolerance in (("slope", 2e-4), ("hillshade", 1.6)):
        subprocess.run(["gdaldem", what, path, tmp_path / "out.tif"], check=True, capture_output=True)
        with rasterio.open(tmp_path / "out.tif") as out:
            theirs = out.read(1).astype("float64")
        inner = (slice(1, -1), slice(1, -1))
        assert np.abs(found[what][inner] - theirs[inner]).max() < tolerance


def test_cells_of_degrees_are_narrower_towards_the_poles():
    """A slope along a row at 60 degrees north is twice that of the same values at the equator."""
    x = np.mgrid[:3, :3][1] * 10.0
    step = 1e-3
    slopes = []
    for north in (1.5 * step, 60 + 1.5 * step):
        found = terrain((3, 3), Affine(step, 0, 0, 0, -step, north), CRS.from_epsg(4326)).derive(x)
        slopes.append(math.tan(math.radians(found["slope"][1, 1])))
    assert slopes[0] == pytest.approx(10 / (step * METRES_OF_A_DEGREE))
    assert slopes[1] == pytest.approx(2 * slopes[0], rel=1e-6)


@pytest.mark.parametrize(
    ("words", "unit", "expected"),
    [
        ("", "m", True),
        ("elevation", "", True),
        ("USGS_DEM_13", "metre", True),
        ("", "", False),
        ("elevation", "ft", False),
        ("total precipitation", "m", False),
        ("terrain", "K", False),
        ("canopy height", "m", False),
    ],
)
def test_only_elevations_in_metres_are_terrain(words, unit, expected):
    assert is_elevation(words, unit) == expected


@pytest.mark.parametrize("given", [{"affine": None}, {"affine": Affine(1, 1, 0, 0, -1, 0)}, {"crs": None}])
def test_without_a_place_there_is_no_slope(given):
    """A raster without transform or CRS, or a rotated one, says nothing of metres."""
    assert terrain(**{"shape": (5, 5), "affine": Affine(1, 0, 0, 0, -1, 0), **given}) is None


def test_an_evaluation_tells_them(dem, tmp_path):
    """Of each method, where the band is of elevations; the network is better than any baseline in both."""
    degrees = (1 / 1200, 0, -84.41, 0, -1 / 1200, 36.73)
    path = write(tmp_path / "dem.tif", dem.astype("float32"), crs="EPSG:4326", transform=degrees)
    (found,) = evaluate_raster(path, 3)
    for measure in ("slope", "hillshade"):
        figures = {method: scores[measure] for method, scores in found.scores.items()}
        assert min(figures, key=figures.get) == "default-x3"
        assert figures["default-x3"] < 0.98 * figures[found.best_baseline]
    assert 0.5 < found.scores["default-x3"]["slope"] < 5
    other = write(tmp_path / "rain.tif", dem.astype("float32"), crs="EPSG:4326", transform=degrees)
    (found,) = evaluate_raster(other, 3)
    assert "slope" not in found.scores["nearest"]
