"""What of a raster is read, and as what, where the user knows better: alpha, pages and subdatasets, the CRS."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, UsageError
from tests.support import processes
from tests.support.rasters import NOWHERE, opened, plain, read, terrain, write


def tagged(path, alpha):
    """Three colours, and a fourth band that is tagged as alpha."""
    data = np.rint(terrain((4, 40, 44), low=20, high=220)).astype("uint8")
    data[3] = alpha
    return write(path, data, photometric="RGB", ALPHA="YES"), data


def infrared():
    """Measurements, some of them 0."""
    values = np.rint(terrain((40, 44), seed=5, low=20, high=200)).astype("uint8")
    values[5:8, 5:8] = 0
    return values


def test_infrared_that_is_tagged_as_alpha(tmp_path):
    """A warning names the option; with it, the band is upscaled like the others, and its zeros make no holes."""
    path, data = tagged(tmp_path / "in.tif", infrared())
    with pytest.warns(GeofsrcnnWarning, match=r"W-ALPHA: band 4 of in.tif is tagged as alpha .* use alpha='none'"):
        upscale_file(path, tmp_path / "alpha.tif", 3, "bilinear")
    upscale_file(path, tmp_path / "out.tif", 3, "bilinear", alpha="none")
    assert np.array_equal(read(tmp_path / "out.tif"), upscale_array(data, 3, "bilinear"))
    with opened(tmp_path / "out.tif") as fine:
        assert ColorInterp.alpha not in fine.colorinterp
        assert fine.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert (fine.read_masks() == 255).all()


SOFT = np.full((40, 44), 255, "uint8")
SOFT[:, :9] = 25 * np.arange(9)
SOFTER = np.full((40, 44), 255, "uint8")
SOFTER[:20], SOFTER[:, :12] = 0, np.arange(0, 240, 20)
HALF = np.full((40, 44), 128, "uint8")
HALF[:20] = 0


@pytest.mark.parametrize("alpha", [SOFT, SOFTER, HALF, np.full((40, 44), 255, "uint8"), np.zeros((40, 44), "uint8")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_alpha_that_is_alpha_is_no_reason_for_a_warning(tmp_path, alpha, dtype):
    """Opaque, clear, half of both, or soft at the edge, and opaque at 255 in a type that goes on to 65535."""
    _, data = tagged(tmp_path / "bytes.tif", alpha)
    path = write(tmp_path / "in.tif", data.astype(dtype), photometric="RGB", ALPHA="YES")
    upscale_file(path, tmp_path / "out.tif", 3, "bilinear")
    assert np.array_equal(read(tmp_path / "out.tif", 4), alpha.repeat(3, 0).repeat(3, 1))


@pytest.fixture
def pages(tmp_path):
    """A TIFF of three pages."""
    cells = terrain((3, 20, 24)).astype("float32")
    for number, page in enumerate(cells):
        with plain():
            options = {"APPEND_SUBDATASET": "YES"} if number else {}
            kind = {"driver": "GTiff", "height": 20, "width": 24, "count": 1, "dtype": "float32"}
            place = {"crs": "EPSG:32633", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 6e6)}
            with rasterio.open(tmp_path / "in.tif", "w", **kind, **place, **options) as d:
                d.write(page, 1)
    return tmp_path / "in.tif", cells


def test_pages_are_chosen_by_number(tmp_path, pages):
    """The first is read with a warning that there are others, any by its number; what is not there is refused."""
    path, cells = pages
    with pytest.warns(GeofsrcnnWarning, match=r"W-PAGES: in.tif has 3 pages: .*, others with subdataset=2"):
        upscale_file(path, tmp_path / "first.tif", 3, "bilinear")
    assert np.array_equal(read(tmp_path / "first.tif", 1), upscale_array(cells[0], 3, "bilinear"))
    for number in (1, 2, 3):
        name = tmp_path / f"{number}.tif"
        upscale_file(path, name, 3, "bilinear", subdataset=number)
        assert np.array_equal(read(name, 1), upscale_array(cells[number - 1], 3, "bilinear"))
    with pytest.raises(UsageError, match=r"no subdataset 4 in in.tif: there are 3"):
        upscale_file(path, tmp_path / "no.tif", 3, "bilinear", subdataset=4)
    with pytest.raises(UsageError, match=r"no subdataset 2 in first.tif: it is one raster"):
        upscale_file(tmp_path / "first.tif", tmp_path / "no.tif", 3, "bilinear", subdataset="2")


def test_tables_of_a_geopackage_are_chosen_by_name(tmp_path):
    """Without a name the message lists them."""
    cells = np.rint(terrain((2, 256, 256), high=255)).astype("uint8")
    path = tmp_path / "in.gpkg"
    place = {"crs": "EPSG:3857", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}
    for number, name in enumerate(("dem", "slope")):
        options = {"RASTER_TABLE": name, "APPEND_SUBDATASET": "YES" if number else "NO", "TILE_FORMAT": "PNG"}
        kind = {"driver": "GPKG", "height": 256, "width": 256, "count": 1, "dtype": "uint8"}
        with plain(), rasterio.open(path, "w", **kind, **place, **options) as d:
            d.write(cells[number], 1)
    with pytest.raises(InputError, match=r"in.gpkg holds several rasters: dem, slope: choose one with subdataset="):
        upscale_file(path, tmp_path / "no.tif", 2, "nearest", driver="GPKG")
    upscale_file(path, tmp_path / "out.tif", 2, "nearest", driver="GPKG", subdataset="slope", bidx=(1,))
    assert np.array_equal(read(tmp_path / "out.tif", 1), cells[1].repeat(2, 0).repeat(2, 1))


def test_a_crs_can_be_stated(tmp_path):
    """Where the file has none, or a wrong one; it goes into the output, and there is no warning of a missing one."""
    for name, crs in (("none", None), ("wrong", "EPSG:4326")):
        path = write(tmp_path / f"{name}.tif", terrain((20, 24)).astype("float32"), crs=crs)
        upscale_file(path, tmp_path / f"{name}_out.tif", 3, "bilinear", crs="EPSG:32633")
        with opened(tmp_path / f"{name}_out.tif") as fine:
            assert fine.crs == "EPSG:32633"
    with pytest.raises(UsageError, match=r"crs=.EPSG:1234567. is no CRS \(.*\): give EPSG:CODE or WKT"):
        upscale_file(path, tmp_path / "no.tif", 3, "bilinear", crs="EPSG:1234567")


def test_a_crs_of_control_points_can_be_stated(tmp_path):
    """It is that of the points where there is no transform."""
    path = write(tmp_path / "in.tif", terrain((20, 24)).astype("float32"), **NOWHERE)
    points = [rasterio.control.GroundControlPoint(r, c, 10 + c, 50 - r) for r, c in ((0, 0), (0, 24), (20, 0))]
    with plain(), rasterio.open(path, "r+") as d:
        d.gcps = (points, rasterio.CRS())
    upscale_file(path, tmp_path / "out.tif", 3, "bilinear", crs="EPSG:4326")
    with opened(tmp_path / "out.tif") as fine:
        assert fine.gcps[1] == "EPSG:4326"
        assert fine.transform.is_identity


def test_the_command_takes_them(tmp_path, pages):
    """``--subdataset``, ``--crs`` and ``--alpha``."""
    path, cells = pages
    options = ("--subdataset", "2", "--crs", "EPSG:32634", "--alpha", "none", "-m", "bilinear", "-q")
    done = processes.run("upscale", path, tmp_path / "out.tif", *options)
    assert (done.code, done.err) == (0, "")
    assert np.array_equal(read(tmp_path / "out.tif", 1), upscale_array(cells[1], 3, "bilinear"))
    with opened(tmp_path / "out.tif") as fine:
        assert fine.crs == "EPSG:32634"


def test_integers_that_look_like_classes(tmp_path):
    """A warning names --model nearest, once; none with it, none for colours, and none for elevations."""
    rng = np.random.default_rng(0)
    cells = np.kron(rng.choice([2, 4, 5, 6, 8, 11], (20, 20)), np.ones((6, 6))).astype("uint8")
    path = write(tmp_path / "a.tif", np.stack([cells, cells]))
    with pytest.warns(GeofsrcnnWarning, match=r"W-CLASSES: band 1 of a.tif holds 6 values .* model='nearest'") as heard:
        upscale_file(path, tmp_path / "out.tif", 2, "bilinear")
    assert len(heard) == 1
    upscale_file(path, tmp_path / "nearest.tif", 2, "nearest")
    write(tmp_path / "rgb.tif", np.stack([cells] * 3), photometric="RGB")
    upscale_file(tmp_path / "rgb.tif", tmp_path / "rgb_out.tif", 2, "bilinear")
    write(tmp_path / "dem.tif", np.rint(terrain((120, 120), high=40)).astype("int16"))
    upscale_file(tmp_path / "dem.tif", tmp_path / "dem_out.tif", 2, "bilinear")
