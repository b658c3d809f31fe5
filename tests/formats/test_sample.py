"""A look at some cells: missing ones that nothing declares, and whole numbers whose finer cells are steps, are said."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from geofsrcnn import upscale_file
from geofsrcnn.errors import GeofsrcnnWarning
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.formats.sample import SIDE, read_samples
from tests.support.rasters import terrain, write


@pytest.fixture
def paths(tmp_path):
    """An input and an output name."""
    return tmp_path / "coarse.tif", tmp_path / "fine.tif"


def told(*args: object, **options: object) -> list[str]:
    """The warnings of an upscaling."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeofsrcnnWarning)
        upscale_file(*args, **options)
    return [str(w.message) for w in caught if issubclass(w.category, GeofsrcnnWarning)]


@pytest.mark.parametrize(
    ("dtype", "mark"),
    [
        ("float32", -9999),
        ("float32", -999.9),
        ("float32", 1e20),
        ("float64", -99999),
        ("int16", -9999),
        ("int16", -32768),
        ("int16", -32767),
        ("int32", -2147483647),
        ("int16", 32767),
    ],
)
def test_a_usual_mark_of_missing_cells_is_said(paths, dtype, mark):
    """Cells of -9999, -32767 or 1e20 far from all others, undeclared: W-NODATA names the option; with it, silence."""
    data = terrain((60, 70), low=100, high=900).astype(dtype)
    data[20:24, 30:34] = mark
    write(paths[0], data)
    (said,) = [words for words in told(*paths, 2, "bilinear") if not words.startswith("W-STEPS")]
    start, number = said.split(", far from all others, which nothing declares to be missing: if they are, ")
    assert start == f"W-NODATA: band 1 of coarse.tif holds many cells of {number.rpartition('=')[2]}"
    assert float(number.removeprefix("say so with nodata=")) == mark
    again = told(*paths, 2, "bilinear", nodata=mark, overwrite=True)
    assert not [words for words in again if words.startswith("W-NODATA")]
    assert told(*paths, 2, "nearest", overwrite=True) == []


def test_a_second_mark_beside_a_declared_one_is_said(paths):
    """Nodata -9999 is declared, -32768 stands for missing cells as well."""
    data = terrain((60, 70), low=100, high=900).astype("int16")
    data[20:24, 30:34], data[40:44, 30:34] = -9999, -32768
    write(paths[0], data, nodata=-9999)
    assert any("many cells of -32768, far" in words for words in told(*paths, 2, "bilinear"))


def test_a_collar_is_said(paths):
    """A scene that lies turned in a frame of zeros: W-NODATA; with an alpha band or a declared value, silence."""
    y, x = np.mgrid[:300, :310]
    inside = (abs(y - 150 + 0.3 * (x - 155)) < 110) & (abs(x - 155 - 0.3 * (y - 150)) < 110)
    data = np.where(inside, terrain((300, 310), low=6000, high=14000), 0).astype("uint16")
    write(paths[0], data)
    assert any("many cells of 0, far" in words for words in told(*paths, 2, "bilinear"))
    assert told(write(paths[0], data, nodata=0), paths[1], 2, "bilinear", overwrite=True) == []


HARMLESS = {
    "a sea at 0 m": lambda y, x, t: np.maximum(t - 300, 0),
    "rain": lambda y, x, t: np.where(t > 600, (t - 600) / 10, 0).astype("float32"),
    "depths to -9999": lambda y, x, t: -9999 + 8 * t,
    "classes": lambda y, x, t: (5 * np.floor(t / 200)).astype("uint8"),
    "saturated imagery": lambda y, x, t: np.minimum(t / 3, 255).astype("uint8"),
    "temperatures about 0": lambda y, x, t: (t - 500) / 20,
}


@pytest.mark.parametrize("kind", HARMLESS)
def test_values_that_are_values_are_not_taken_for_missing(paths, kind):
    """Seas at 0 m, dry cells, classes, saturated pixels and deep trenches get no warning."""
    y, x = np.mgrid[:120, :130]
    data = HARMLESS[kind](y, x, terrain((120, 130), low=0, high=1000))
    assert told(write(paths[0], data), paths[1], 2, "bilinear") == []


@pytest.mark.parametrize(
    ("dtype", "options", "hint"),
    [
        ("int16", {}, True),
        ("int32", {}, True),
        ("int16", {"dtype": "float32"}, False),
        ("int16", {"dtype": "int16"}, False),
        ("float32", {}, False),
        ("uint8", {}, False),
        ("uint16", {}, False),
    ],
)
def test_a_surface_in_whole_numbers_gets_a_hint(paths, dtype, options, hint):
    """A DEM in whole metres comes out in steps, which --dtype float32 prevents; no hint for imagery's types."""
    write(paths[0], np.rint(terrain((80, 90), low=0, high=250)).astype(dtype))
    said = told(*paths, 2, "bilinear", **options)
    assert any(words.startswith("W-STEPS: coarse.tif holds whole numbers that differ by") for words in said) is hint
    assert not hint or "dtype='float32' keeps fractions" in said[0]


@pytest.mark.parametrize("about", [{"units": ("m",)}, {"descriptions": ("Elevation",)}])
def test_unsigned_heights_get_the_hint_by_unit_or_name(paths, about):
    """Metres or a name tell a DEM from imagery where the type does not."""
    import rasterio

    write(paths[0], np.rint(terrain((80, 90), low=0, high=250)).astype("uint16"))
    with rasterio.open(paths[0], "r+") as d:
        for key, value in about.items():
            setattr(d, key, value)
    assert any(words.startswith("W-STEPS") for words in told(*paths, 2, "bilinear"))


def test_imagery_in_signed_numbers_gets_no_hint(paths):
    """Reflectance in int16 differs by hundreds from cell to cell."""
    data = np.random.default_rng(0).normal(3000, 400, (80, 90)).astype("int16")
    assert told(write(paths[0], data), paths[1], 2, "bilinear") == []


def test_the_look_is_bounded(tmp_path, monkeypatch):
    """Nine windows at the corners, edges and the middle, whatever the size; none of a raster in huge blocks."""
    large = write(tmp_path / "large.tif", np.zeros((2000, 3000), "uint8"), tiled=True)
    with RasterSource(large) as source:
        (seen,) = read_samples(source)
    assert [g.values.shape for g in seen] == 9 * [(SIDE, SIDE)]
    assert sum(int(g.edges.sum()) for g in seen) == 4 * (2 * SIDE - 1) + 4 * SIDE
    monkeypatch.setattr("geofsrcnn.formats.sample.LARGEST_BLOCK", 256 * 256 - 1)
    with RasterSource(large) as source:
        assert read_samples(source) == []
