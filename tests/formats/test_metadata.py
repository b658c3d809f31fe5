"""Tags of a raster and of its bands: kept where they hold for the finer raster, left out where they do not."""

from __future__ import annotations

import base64

import numpy as np
import pytest
import rasterio.shutil
import tifffile
from affine import Affine

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.formats.metadata import is_stale
from geofsrcnn.formats.tiff import EXTRA_SAMPLES, coordinate_epoch, has_associated_alpha, read_tag
from tests.support.rasters import created, opened, plain, read, terrain, write

ICC = base64.b64encode(b"a profile of colours" * 7).decode()


def colours(bands=4):
    """Bytes of so many bands, the last one opaque."""
    data = terrain((bands, 16, 18), high=255).astype("uint8")
    data[-1] = 255
    return data


def test_tags_of_bands_are_kept_in_every_domain(tmp_path):
    """Wavelengths, which GDAL and QGIS look for in the domain IMAGERY of a band, come out as they were."""
    with created(tmp_path / "in.tif", (2, 16, 18), "float32") as d:
        d.write(terrain((2, 16, 18)).astype("float32"))
        for index, wavelength in ((1, "0.49"), (2, "0.842")):
            d.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=wavelength)
            d.update_tags(index, note=f"band {index}")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear", bidx=(2, 1))
    with opened(tmp_path / "out.tif") as fine:
        assert [fine.tags(i, ns="IMAGERY") for i in (1, 2)] == [
            {"CENTRAL_WAVELENGTH_UM": "0.842"},
            {"CENTRAL_WAVELENGTH_UM": "0.49"},
        ]
        assert fine.tags(1)["note"] == "band 2"


def test_what_states_the_resolution_is_left_out(tmp_path):
    """Zoom levels, sizes of cells and dots an inch are those of the coarse raster; other tags stay."""
    with created(tmp_path / "in.tif", (1, 16, 18), "float32") as d:
        d.write(terrain((1, 16, 18)).astype("float32"))
        d.update_tags(ns="TILING_SCHEME", NAME="GoogleMapsCompatible", ZOOM_LEVEL="12")
        d.update_tags(ns="MINE", PIXEL_SIZE="30", who="me")
        d.update_tags(1, NADIRDATARESOLUTION="500m", TEMPORAL_RESOLUTION="P8D")
        d.update_tags(TIFFTAG_XRESOLUTION="72", TIFFTAG_RESOLUTIONUNIT="2", geospatial_lat_resolution="0.25")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    with opened(tmp_path / "out.tif") as fine:
        assert "TILING_SCHEME" not in fine.tag_namespaces()
        assert fine.tags(ns="MINE") == {"who": "me"}
        assert fine.tags(1) == {"TEMPORAL_RESOLUTION": "P8D"}
        assert not [key for key in fine.tags() if "RESOL" in key.upper()]


@pytest.mark.parametrize(
    ("key", "stale"),
    [
        ("GSD", True),
        ("SENSOR_GSD_NADIR", True),
        ("DATAROWS500M", True),
        ("CEOS_LINE_SPACING_METERS", True),
        ("cell_size", True),
        ("STATISTICS_MAXIMUM", True),
        ("SPECTRAL_RESOLUTION", False),
        ("time_coverage_resolution", False),
        ("BIT_RESOLUTION", False),
        ("TIFFTAG_SOFTWARE", False),
        ("SAMPLE", False),
        ("CLOUDS_DETECTED", False),
    ],
)
def test_which_tags_speak_of_the_coarse_cells(key, stale):
    """By words of their names, whatever their case."""
    assert is_stale(key) == stale


@pytest.mark.parametrize("cog", [False, True])
def test_colour_profile_is_kept(tmp_path, cog):
    """The ICC profile is that of the input, bit for bit."""
    write(tmp_path / "in.tif", colours(3), photometric="RGB", SOURCE_ICC_PROFILE=ICC)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear", cog=cog)
    with opened(tmp_path / "out.tif") as fine:
        assert fine.tags(ns="COLOR_PROFILE")["SOURCE_ICC_PROFILE"] == ICC


@pytest.mark.parametrize(("alpha", "number"), [("PREMULTIPLIED", 1), ("NON-PREMULTIPLIED", 2)])
def test_associated_alpha_stays_associated(tmp_path, alpha, number):
    """Colours that are stored multiplied with alpha are read as such in the output, and others are not."""
    write(tmp_path / "in.tif", colours(), photometric="RGB", ALPHA=alpha)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    assert read_tag(tmp_path / "out.tif", EXTRA_SAMPLES) == (number,)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert [int(each) for each in file.pages[0].extrasamples] == [number]


def test_a_cog_cannot_say_that_alpha_is_associated(tmp_path):
    """GDAL's driver writes any alpha as not multiplied: a warning says so."""
    write(tmp_path / "in.tif", colours(), photometric="RGB", ALPHA="PREMULTIPLIED")
    with pytest.warns(GeofsrcnnWarning, match="W-COG: .* that colours are multiplied with alpha: leave out cog=True"):
        upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear", cog=True)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tags_of_any_tiff_are_read(tmp_path, order, big):
    """Classic or big, of either byte order, one value or several."""
    data = np.zeros((8, 9, 5), "uint8")
    kinds = ["assocalpha", "unspecified"]
    with tifffile.TiffWriter(tmp_path / "in.tif", byteorder=order, bigtiff=big) as file:
        file.write(data, photometric="rgb", extrasamples=kinds, extratags=[(65000, 12, 3, (0.5, 1.5, 2.5))])
    assert has_associated_alpha(tmp_path / "in.tif")
    assert read_tag(tmp_path / "in.tif", EXTRA_SAMPLES) == (1, 0)
    assert read_tag(tmp_path / "in.tif", 65000) == (0.5, 1.5, 2.5)


def test_a_broken_directory_states_nothing(tmp_path):
    """Cut, empty or pointing nowhere: no tags, no error; GDAL says what is wrong with the file."""
    write(tmp_path / "whole.tif", colours(), photometric="RGB", ALPHA="PREMULTIPLIED")
    content = (tmp_path / "whole.tif").read_bytes()
    for number, broken in enumerate((b"", content[:6], content[:12], b"II*\0\xff\xff\xff\xff", b"no TIFF at all")):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(broken)
        assert read_tag(path, EXTRA_SAMPLES) == ()
        assert coordinate_epoch(path) is None


def test_web_optimised_input(tmp_path):
    """A COG of a tiling scheme gives a GeoTIFF that claims none."""
    kind = {"crs": "EPSG:3857", "transform": Affine(40, 0, 1e6, 0, -40, 6e6)}
    write(tmp_path / "plain.tif", terrain((40, 40)).astype("float32"), **kind)
    with plain():
        rasterio.shutil.copy(
            tmp_path / "plain.tif", tmp_path / "in.tif", driver="COG", TILING_SCHEME="GoogleMapsCompatible"
        )
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 2, "bilinear")
    with opened(tmp_path / "in.tif") as coarse, opened(tmp_path / "out.tif") as fine:
        assert "TILING_SCHEME" in coarse.tag_namespaces()
        assert "TILING_SCHEME" not in fine.tag_namespaces()


@pytest.mark.parametrize(("dtype", "high"), [("uint8", 255), ("uint16", 60000), ("float32", 1)])
def test_white_may_be_the_smallest_value(tmp_path, dtype, high):
    """Scanned maps: the ramp of greys that GDAL shows is no table of classes, and the output still starts at white."""
    data = np.rint(terrain((40, 41), high=high)).astype(dtype)
    write(tmp_path / "in.tif", data, photometric="MINISWHITE")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    with opened(tmp_path / "out.tif") as fine:
        assert fine.tags(ns="IMAGE_STRUCTURE")["MINISWHITE"] == "YES"
    with pytest.warns(GeofsrcnnWarning, match="W-COG: GDAL's COGs cannot say that the smallest value is white"):
        upscale_file(tmp_path / "in.tif", tmp_path / "cog.tif", 3, "bilinear", cog=True)
    assert np.array_equal(read(tmp_path / "out.tif", 1), upscale_array(data, 3, "bilinear"))


@pytest.mark.parametrize(
    ("ramp", "smallest"),
    [({v: (v, v, v) for v in range(256)}, "black"), ({v: (255 - v,) * 3 for v in range(256)}, "white")],
)
def test_a_palette_of_greys_holds_no_classes(tmp_path, ramp, smallest):
    """It shows what a grey image would: the output is one, as dark at the same values."""
    data = np.rint(terrain((20, 21), high=255)).astype("uint8")
    with created(tmp_path / "in.tif", (1, 20, 21), "uint8") as d:
        d.write(data, 1)
        d.write_colormap(1, ramp)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].photometric.name == {"black": "MINISBLACK", "white": "MINISWHITE"}[smallest]


@pytest.mark.parametrize(
    "table",
    [
        {0: (0, 0, 0), 1: (128, 128, 128), 2: (255, 255, 255)},  # three classes
        {v: (v, v, v // 2) for v in range(256)},
        {v: (v // 64 * 64,) * 3 for v in range(256)},
        {v: (v, v, v) for v in range(100)},
    ],
)
def test_other_palettes_hold_classes(tmp_path, table):
    """Few greys, uneven ones, or colours: refused but for nearest."""
    with created(tmp_path / "in.tif", (1, 20, 21), "uint8") as d:
        d.write(np.zeros((20, 21), "uint8"), 1)
        d.write_colormap(1, table)
    with pytest.raises(InputError, match=r"categorical raster \(palette\)"):
        upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "nearest")
