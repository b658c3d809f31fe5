"""What describes a raster is kept or rescaled in the output, and every value written is checked."""

from __future__ import annotations

import errno
import itertools
import math
import os
import warnings

import numpy as np
import pytest
import rasterio
import tifffile
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.rpc import RPC
from rasterio.transform import GCPTransformer, RPCTransformer

from geofsrcnn import __version__, upscale_array, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, OutputError, UsageError
from geofsrcnn.formats.geotiff import GeoTiffSink
from geofsrcnn.upscale.file import estimate_file
from tests.support.rasters import NOWHERE, created, opened, read, terrain, write

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


@pytest.fixture
def paths(tmp_path):
    """An input and an output name in folders of their own."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return tmp_path / "in" / "coarse.tif", tmp_path / "out" / "fine.tif"


AFFINES = {
    "north-up": Affine(30, 0, 500_000, 0, -30, 6_000_000),
    "south-up": Affine(30, 0, 500_000, 0, 30, 5_000_000),
    "mirrored": Affine(-30, 0, 500_000, 0, -30, 6_000_000),
    "rotated": Affine.translation(500_000, 6_000_000) @ Affine.rotation(33) @ Affine.scale(30, -20),
    "sheared": Affine(30, 4.5, 500_000, -7.25, -30, 6_000_000),
    "degrees": Affine(1 / 120, 0, -179.5, 0, -1 / 120, 83.7),
}


@pytest.mark.parametrize("factor", [2, 3, 7])
@pytest.mark.parametrize("kind", AFFINES)
def test_affine_is_scaled_and_corners_stay(paths, kind, factor):
    """Any affine, rotated, sheared or mirrored, is the old one scaled by 1/f; corners and orientation stay."""
    affine = AFFINES[kind]
    write(paths[0], terrain((13, 17)), transform=affine)
    upscale_file(*paths, factor, "bilinear")
    with opened(paths[1]) as d:
        assert d.shape == (13 * factor, 17 * factor)
        assert d.transform.almost_equals(affine @ Affine.scale(1 / factor), 1e-9)
        for column, row in itertools.product((0, 17), (0, 13)):
            assert d.transform @ (column * factor, row * factor) == pytest.approx(affine @ (column, row), rel=1e-14)
    assert np.array_equal(read(paths[1], 1), upscale_array(read(paths[0], 1), factor, "bilinear"))


@pytest.mark.parametrize("kind", ["north-up", "south-up", "mirrored", "degrees"])
def test_bounds_are_the_same_to_the_last_bit(paths, kind):
    """The bounds that rasterio computes are those of the input."""
    write(paths[0], terrain((13, 17)), transform=AFFINES[kind])
    upscale_file(*paths, 3, "bilinear")
    with opened(paths[0]) as coarse, opened(paths[1]) as fine:
        assert fine.bounds == coarse.bounds


@pytest.mark.parametrize(
    "crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035", "+proj=laea +lat_0=12.5 +lon_0=3 +units=m", None]
)
def test_crs_is_kept(paths, crs):
    """The CRS comes out as it went in; none is made up."""
    write(paths[0], terrain(), crs=crs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        upscale_file(*paths, 2, "nearest")
    with opened(paths[0]) as coarse, opened(paths[1]) as fine:
        assert fine.crs == coarse.crs
        assert (fine.crs is None) == (crs is None)


def test_names_units_and_tags_are_kept(paths):
    """Band names, units, tags of file and bands, and tags in domains of their own are kept; statistics are not."""
    with created(paths[0], (2, 12, 13), "float32") as d:
        d.write(terrain((2, 12, 13)).astype("float32"))
        d.descriptions = ("temperature", "Niederschlag in mm, größer 0")
        d.units = ("K", "mm")
        d.update_tags(MODEL="era", NOTE="a=b & <c>", STATISTICS_MEAN="3")
        d.update_tags(1, long_name="2 m temperature", STATISTICS_MAXIMUM="7")
        d.update_tags(ns="MINE", key="value", other="x=y")
    upscale_file(*paths, 2, "bilinear")
    with opened(paths[1]) as d:
        assert d.descriptions == ("temperature", "Niederschlag in mm, größer 0")
        assert d.units == ("K", "mm")
        assert {"MODEL": "era", "NOTE": "a=b & <c>"}.items() <= d.tags().items()
        assert "STATISTICS_MEAN" not in d.tags()
        assert d.tags(1) == {"long_name": "2 m temperature"}
        assert d.tags(ns="MINE") == {"key": "value", "other": "x=y"}


def test_xmp_is_kept_to_the_byte(paths):
    """An XMP packet, full of equals signs and line breaks, is the same in the output."""
    packet = '<?xpacket begin="\ufeff" id="W5M0"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/"><a b="c=d"/></x:xmpmeta>\n'
    with created(paths[0], (1, 8, 8), "uint8") as d:
        d.write(np.arange(64, dtype="uint8").reshape(1, 8, 8))
        key, _, value = packet.partition("=")  # rasterio joins them again
        d.update_tags(ns="xml:XMP", **{key: value})
    with tifffile.TiffFile(paths[0]) as file:
        before = file.pages[0].tags.valueof(700)
    assert before.startswith(packet.encode())
    upscale_file(*paths, 2, "nearest")
    with tifffile.TiffFile(paths[1]) as file:
        assert file.pages[0].tags.valueof(700) == before


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize(("scale", "offset"), [(0.1, -40.0), (2.5, 100.0), (-0.5, 3.0), (1e-4, 0.0)])
def test_scale_and_offset_are_kept_and_values_are_physical(paths, dtype, scale, offset):
    """Packed bands keep scale and offset; stored values are the physical ones packed again, within half a step."""
    stored = np.rint(terrain((11, 12), low=20, high=110)).astype(dtype)
    with created(paths[0], stored.shape, dtype) as d:
        d.write(stored, 1)
        d.scales, d.offsets = (scale,), (offset,)
    upscale_file(*paths, 3, "lanczos-bp")
    with opened(paths[1]) as d:
        assert (d.scales, d.offsets, d.dtypes[0]) == ((scale,), (offset,), dtype)
        fine = d.read(1)
    physical = upscale_array(stored * scale + offset, 3, "lanczos-bp")
    packed = (physical - offset) / scale
    inside = (packed > np.iinfo(dtype).min) & (packed < np.iinfo(dtype).max)
    assert inside.any()
    assert np.abs(fine - packed)[inside].max() <= 0.5 + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "int16"])
@pytest.mark.parametrize("out", [None, "float32"])
def test_nearest_repeats_stored_values_of_packed_bands(paths, dtype, out):
    """With nearest, stored values are repeated whatever scale and offset say, also into another type."""
    stored = np.rint(terrain((5, 6), low=0, high=90)).astype(dtype)
    with created(paths[0], stored.shape, dtype) as d:
        d.write(stored, 1)
        d.scales, d.offsets = (0.25,), (-10.0,)
    upscale_file(*paths, 2, "nearest", dtype=out)
    with opened(paths[1]) as d:
        assert (d.scales, d.offsets) == ((0.25,), (-10.0,))
        assert (d.read(1) == stored.repeat(2, 0).repeat(2, 1)).all()


def test_bands_may_have_their_own_scale(paths):
    """Each band is unpacked and packed with its own scale and offset."""
    stored = np.rint(terrain((2, 9, 10), low=10, high=200)).astype("uint8")
    with created(paths[0], stored.shape, "uint8") as d:
        d.write(stored)
        d.scales, d.offsets = (0.5, 3.0), (0.0, -7.0)
    upscale_file(*paths, 2, "bilinear", dtype="float64")
    with opened(paths[1]) as d:
        assert (d.scales, d.offsets) == ((0.5, 3.0), (0.0, -7.0))
        fine = d.read()
    for band in range(2):
        assert np.allclose(fine[band], upscale_array(stored[band].astype(float), 2, "bilinear"), atol=1e-5)


def test_colour_interpretation_is_kept(paths):
    """Red, green, blue and others come out as what they are."""
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]
    with created(paths[0], (3, 9, 9), "uint8", photometric="RGB") as d:
        d.write(np.rint(terrain((3, 9, 9), high=255)).astype("uint8"))
        d.colorinterp = colours
    upscale_file(*paths, 2, "bilinear")
    with opened(paths[1]) as d:
        assert list(d.colorinterp) == colours
    with tifffile.TiffFile(paths[1]) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB


GCPS = [
    GroundControlPoint(row=0, col=0, x=10.0, y=50.0, z=120.0, id="a", info="harbour"),
    GroundControlPoint(row=0, col=17, x=10.5, y=50.1, z=0.0, id="b"),
    GroundControlPoint(row=13, col=17, x=10.6, y=49.5, z=7.0, id="c"),
    GroundControlPoint(row=13, col=0, x=10.1, y=49.4, z=8.0, id="d"),
    GroundControlPoint(row=6.5, col=8.25, x=10.3, y=49.76, z=9.0, id="e"),
]


def test_ground_control_points_stay_on_their_places(paths):
    """GCPs keep world coordinates, names and CRS, at f times their row and column; no affine is made up."""
    write(paths[0], terrain((13, 17)), crs=None, transform=None, gcps=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(paths[0], "r+") as d:
            d.gcps = (GCPS, "EPSG:4326")
    upscale_file(*paths, 3, "bilinear")
    with opened(paths[0]) as coarse, opened(paths[1]) as fine:
        before, after = coarse.gcps, fine.gcps
        assert fine.transform.is_identity
    assert after[1] == before[1] == rasterio.CRS.from_epsg(4326)
    assert len(after[0]) == len(GCPS)
    for old, new in zip(before[0], after[0], strict=True):
        assert (new.x, new.y, new.z, new.id) == (old.x, old.y, old.z, old.id)
        assert (new.row, new.col) == (3 * old.row, 3 * old.col)
    with GCPTransformer(before[0]) as old, GCPTransformer(after[0]) as new:
        assert new.xy(3 * 5 + 1, 3 * 4 + 1) == pytest.approx(old.xy(5, 4), abs=1e-9)


RPCS = RPC(
    height_off=200.0,
    height_scale=500.0,
    lat_off=49.5,
    lat_scale=0.1,
    line_off=8.0,
    line_scale=9.0,
    long_off=10.5,
    long_scale=0.15,
    samp_off=7.0,
    samp_scale=8.5,
    line_num_coeff=[0.01, 0.02, -1.01, 0.03, 0.001] + [0.0] * 15,
    line_den_coeff=[1.0, 0.001, 0.0005, 0.0002] + [0.0] * 16,
    samp_num_coeff=[0.02, 1.02, 0.01, -0.02, 0.001] + [0.0] * 15,
    samp_den_coeff=[1.0, 0.0004, -0.0002, 0.0001] + [0.0] * 16,
    err_bias=0.5,
    err_rand=0.2,
)


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_rpcs_point_at_the_same_places(paths, factor):
    """RPCs are rescaled: the centre of a coarse cell is the centre of its f x f fine cells on the ground."""
    write(paths[0], terrain((16, 15)), **NOWHERE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(paths[0], "r+") as d:
            d.rpcs = RPCS
    upscale_file(*paths, factor, "bilinear")
    with opened(paths[0]) as coarse, opened(paths[1]) as fine:
        before, after = coarse.rpcs, fine.rpcs
        assert fine.transform.is_identity
    assert before.to_gdal() != after.to_gdal()
    assert (after.err_bias, after.height_off, after.lat_off) == (0.5, 200.0, 49.5)
    exact = {"RPC_PIXEL_ERROR_THRESHOLD": "1e-10"}
    with RPCTransformer(before, **exact) as old, RPCTransformer(after, **exact) as new:
        for row, column in itertools.product((0, 7, 15), (0, 6, 14)):
            place = old.xy(row, column, zs=150, offset="center")
            middle = [factor * (n + 0.5) - 0.5 for n in (row, column)]
            assert new.xy(*middle, zs=150, offset="center") == pytest.approx(place, abs=1e-9)


def test_pixel_is_point_keeps_the_extent(paths):
    """A raster whose pixels are points keeps that tag, and its extent."""
    with created(paths[0], (1, 10, 11), "float32") as d:
        d.write(terrain((1, 10, 11)).astype("float32"))
        d.update_tags(AREA_OR_POINT="Point")
    upscale_file(*paths, 3, "bilinear")
    with opened(paths[0]) as coarse, opened(paths[1]) as fine:
        assert fine.tags()["AREA_OR_POINT"] == coarse.tags()["AREA_OR_POINT"] == "Point"
        assert fine.bounds == coarse.bounds


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        *(("uint8", 0), ("uint8", 255), ("int8", -128), ("int16", -9999), ("int32", -(2**31)), ("int64", -1)),
        *(("uint64", 0), ("float32", -9999.0), ("float32", math.nan), ("float32", -3.4028234663852886e38)),
        ("float64", -1e308),
    ],
)
def test_nodata_is_kept_and_stays_where_it_was(paths, dtype, nodata):
    """Fine cells are missing exactly where their coarse cell is, stored as the same nodata value."""
    values = np.rint(terrain((14, 15), low=1, high=100)).astype(dtype)
    missing = np.random.default_rng(1).random(values.shape) < 0.2
    values[missing] = nodata
    write(paths[0], values, nodata=nodata)
    upscale_file(*paths, 2, "lanczos-bp")
    with opened(paths[1]) as d:
        assert d.nodata == nodata or math.isnan(nodata) == math.isnan(d.nodata) == True  # noqa: E712
        fine = d.read(1)
    same = np.isnan(fine) if math.isnan(nodata) else fine == np.array(nodata, dtype)
    assert np.array_equal(same, missing.repeat(2, 0).repeat(2, 1))
    other = np.where(missing, np.array(50, dtype), values)
    given = upscale_array(other, 2, "lanczos-bp", valid=~missing, nodata=nodata)
    assert np.array_equal(fine, given, equal_nan=True)


def test_nodata_given_by_the_caller_replaces_the_files(paths):
    """--nodata says what is missing, whatever the file says, and is written to the output."""
    values = np.full((6, 6), 7, "int16")
    values[2, 3] = -1
    write(paths[0], values, nodata=7)
    upscale_file(*paths, 2, "bilinear", nodata=-1)
    with opened(paths[1]) as d:
        assert d.nodata == -1
        assert (d.read(1) == 7).sum() == 4 * 35


@pytest.mark.parametrize("values", [(0, 255), (0, 77, 255)])
def test_an_internal_mask_is_repeated_and_hides_values(paths, values):
    """A mask of the file, also of several levels, is repeated; masked cells have no influence on others."""
    data = np.rint(terrain((3, 10, 11), low=10, high=200)).astype("uint8")
    mask = np.random.default_rng(2).choice(np.array(values, "uint8"), size=(10, 11))
    results = []
    for rubbish in (0, 255):
        with created(paths[0], data.shape, "uint8") as d:
            d.write(np.where(mask == 0, np.uint8(rubbish), data))
            d.write_mask(mask)
        upscale_file(*paths, 2, "lanczos-bp", overwrite=True)
        with opened(paths[0]) as coarse, opened(paths[1]) as fine:
            assert MaskFlags.per_dataset in fine.mask_flag_enums[0]
            assert np.array_equal(fine.read_masks(1), coarse.read_masks(1).repeat(2, 0).repeat(2, 1))
            results.append(fine.read())
    assert not paths[1].with_name("fine.tif.msk").exists()
    valid = (mask != 0).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(results[0][:, valid], results[1][:, valid])
    assert not np.array_equal(results[0], results[1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("place", [2, 4])
def test_alpha_is_repeated_and_transparent_cells_have_no_influence(paths, dtype, place):
    """Alpha, grey or RGB, is repeated, never interpolated; wholly transparent cells do not bleed."""
    full = np.iinfo(dtype).max
    data = np.rint(terrain((place, 10, 11), low=10, high=200)).astype(dtype)
    data[-1] = np.random.default_rng(3).choice([0, full // 3, full], size=(10, 11))
    hidden = data[-1] == 0
    results = []
    for rubbish in (0, full):
        data[:-1, hidden] = rubbish
        write(paths[0], data, alpha="YES", photometric="RGB" if place == 4 else "MINISBLACK")
        upscale_file(*paths, 2, "lanczos-bp", overwrite=True)
        with opened(paths[1]) as d:
            assert d.colorinterp[-1] == ColorInterp.alpha
            results.append(d.read())
    assert np.array_equal(results[0][-1], data[-1].repeat(2, 0).repeat(2, 1))
    valid = results[0][-1] != 0
    assert np.array_equal(results[0][:, valid], results[1][:, valid])
    assert not np.array_equal(results[0], results[1])


@pytest.mark.parametrize("bidx", [(1, 2, 3), (3, 1)], ids=str)
def test_alpha_that_is_left_out_becomes_a_mask(paths, bidx):
    """Of RGBA without its alpha the output carries a mask: cells that were transparent stay missing."""
    data = np.rint(terrain((4, 10, 11), low=10, high=200)).astype("uint8")
    data[-1] = np.random.default_rng(3).choice([0, 255], size=(10, 11))
    write(paths[0], data, alpha="YES", photometric="RGB")
    upscale_file(*paths, 2, "bilinear", bidx=bidx)
    with opened(paths[1]) as d:
        assert d.count == len(bidx)
        assert ColorInterp.alpha not in d.colorinterp
        assert np.array_equal(d.read_masks(1), data[-1].repeat(2, 0).repeat(2, 1))


def test_alpha_in_another_type_stays_opaque(paths):
    """255 of uint8 is 65535 of uint16 and back; a type that readers take for no mask is refused."""
    data = np.rint(terrain((4, 10, 11), low=10, high=200)).astype("uint8")
    data[-1] = np.random.default_rng(3).choice([0, 51, 255], size=(10, 11))
    write(paths[0], data, alpha="YES", photometric="RGB")
    upscale_file(*paths, 2, "bilinear", dtype="uint16")
    alpha = read(paths[1], 4)
    assert np.array_equal(alpha, data[-1].astype("uint16").repeat(2, 0).repeat(2, 1) * 257)
    for dtype in ("int8", "float32"):
        with pytest.raises(UsageError, match=f"an alpha band cannot be {dtype}: take uint8 or uint16, or leave it out"):
            upscale_file(*paths, 2, "bilinear", dtype=dtype, overwrite=True)
    upscale_file(*paths, 2, "bilinear", dtype="float32", bidx=(1, 2, 3), overwrite=True)
    with opened(paths[1]) as d:
        assert np.array_equal(d.read_masks(1) == 0, data[-1].repeat(2, 0).repeat(2, 1) == 0)


def test_nearest_into_a_narrower_type_is_clipped(paths):
    """300, -5 and 1000 are 255, 0 and 255 as uint8, not 44, 251 and 232."""
    write(paths[0], np.array([[300, -5], [70, 1000]], "int16"))
    with pytest.warns(GeofsrcnnWarning, match=r"W-RANGE: .* outside the range 0 to 255, such as 300 \(75 %"):
        upscale_file(*paths, 2, "nearest", dtype="uint8")
    assert read(paths[1], 1)[::2, ::2].tolist() == [[255, 0], [70, 255]]


def test_doubles_beyond_float32_are_missing_and_said(paths):
    """An undeclared -1.797e308 in doubles is missing, with a warning; a declared one is nodata, without."""
    values = terrain((20, 21))
    values[4, 5] = -1.7976931348623157e308
    write(paths[0], values)
    with pytest.warns(GeofsrcnnWarning, match="holds values of 3.4e38 and more, taken as missing"):
        upscale_file(*paths, 2, "bilinear")
    write(paths[0], values, nodata=-1.7976931348623157e308)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        upscale_file(*paths, 2, "bilinear", overwrite=True)
    assert (read(paths[1], 1)[8:10, 10:12] == -1.7976931348623157e308).all()


def test_a_colour_table_goes_with_nearest(paths):
    """Classes are repeated by nearest with their colours; any other model refuses them."""
    colours = {0: (0, 0, 0, 255), 1: (10, 200, 30, 255), 2: (250, 0, 0, 255)}
    data = np.random.default_rng(4).integers(0, 3, (9, 8)).astype("uint8")
    with created(paths[0], data.shape, "uint8") as d:
        d.write(data, 1)
        d.write_colormap(1, colours)
    with pytest.raises(InputError, match=r"categorical raster \(palette\): coarse.tif.*model='nearest'"):
        upscale_file(*paths, 2, "bilinear")
    assert not paths[1].exists()
    upscale_file(*paths, 2, "nearest")
    with opened(paths[1]) as d:
        assert {i: d.colormap(1)[i] for i in colours} == colours
        assert d.colorinterp == (ColorInterp.palette,)
        assert np.array_equal(d.read(1), data.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("dtype", "bits"), [("uint8", 2), ("uint8", 4), ("uint16", 10), ("uint16", 12), ("uint16", 14)]
)
def test_narrow_types_stay_narrow(paths, dtype, bits):
    """NBITS is kept; values are clipped to what so many bits hold, and block means are kept."""
    top = 2**bits - 1
    data = np.random.default_rng(5).choice([0, top, top // 2], size=(12, 13)).astype(dtype)
    write(paths[0], data, nbits=bits)
    upscale_file(*paths, 2, "lanczos")
    with opened(paths[1]) as d:
        assert d.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == str(bits)
        assert d.dtypes == (dtype,)
        fine = d.read(1)
    assert fine.min() == 0
    assert fine.max() == top
    assert np.unique(fine).size > min(3, top)


def test_one_bit_needs_nearest(paths):
    """One bit is a class map: nearest repeats it, in one bit."""
    data = np.random.default_rng(6).integers(0, 2, (9, 8)).astype("uint8")
    write(paths[0], data, nbits=1)
    with pytest.raises(InputError, match="categorical raster"):
        upscale_file(*paths, 2, "bilinear")
    upscale_file(*paths, 2, "nearest")
    with opened(paths[1]) as d:
        assert d.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == "1"
        assert np.array_equal(d.read(1), data.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("dtype", [*INTEGERS, "float32", "float64"])
def test_types_are_kept_and_files_equal_arrays(paths, dtype):
    """Every type comes out as itself, to the last bit what `upscale_array` gives."""
    data = terrain((19, 18), low=1, high=120)
    data = (data if dtype.startswith("f") else np.rint(data)).astype(dtype)
    write(paths[0], data)
    upscale_file(*paths, 3, "lanczos-bp", tile_size=12)
    with opened(paths[1]) as d:
        assert d.dtypes == (dtype,)
        assert np.array_equal(d.read(1), upscale_array(data, 3, "lanczos-bp", tile_size=12))


def test_half_floats_are_read(paths):
    """16-bit floats are upscaled as float32."""
    data = terrain((9, 10), low=-3, high=900).astype("float32")
    write(paths[0], data, nbits=16)
    stored = read(paths[0], 1)
    assert not np.array_equal(stored, data)
    upscale_file(*paths, 2, "lanczos-bp")
    with opened(paths[1]) as d:
        assert d.dtypes == ("float32",)
        assert np.array_equal(d.read(1), upscale_array(stored, 2, "lanczos-bp"))


@pytest.mark.parametrize(
    "layout", ["pixel", "band", "tiled", "odd tiles", "strips", "one strip", "one column of strips"]
)
@pytest.mark.parametrize("missing", [False, True])
def test_every_layout_gives_the_same_bits(paths, random_network, layout, missing):
    """Interleave, strips and tiles of the input do not matter: all equal the array's result bit for bit."""
    data = terrain((3, 41, 53), low=100, high=900).astype("float32")
    if missing:
        data[:, np.random.default_rng(7).random((41, 53)) < 0.1] = -9999
    options = {
        "pixel": {"interleave": "pixel"},
        "band": {"interleave": "band", "compress": "deflate", "predictor": 3},
        "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 32, "compress": "lzw"},
        "odd tiles": {"tiled": True, "blockxsize": 48, "blockysize": 16, "interleave": "pixel"},
        "strips": {"blockysize": 3, "compress": "zstd"},
        "one strip": {"blockysize": 41},
        "one column of strips": {"blockysize": 1},
    }[layout]
    write(paths[0], data, nodata=-9999 if missing else None, **options)
    model = random_network(2)
    upscale_file(*paths, 2, model, tile_size=20, threads=2)
    with opened(paths[0]) as coarse, opened(paths[1]) as d:
        assert d.profile["interleave"] == coarse.profile["interleave"] == options.get("interleave", "pixel")
        fine = d.read()
    expected = upscale_array(data, 2, model, tile_size=20, nodata=-9999 if missing else None)
    assert np.array_equal(fine, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 23), (23, 1), (2, 2), (3, 300)])
def test_thin_rasters(paths, random_network, shape):
    """One cell, one row and one column come out as their arrays do."""
    data = terrain(shape).astype("float32") if min(shape) > 1 else np.ones(shape, "float32")
    data.flat[0] += 3
    write(paths[0], data)
    upscale_file(*paths, 3, random_network(3))
    assert np.array_equal(read(paths[1], 1), upscale_array(data, 3, random_network(3)))


def test_300_bands_come_out_each_as_itself(paths):
    """Many bands go through in groups; each is what it would be alone."""
    data = np.random.default_rng(8).normal(size=(300, 5, 4)).astype("float32")
    write(paths[0], data, interleave="pixel")
    upscale_file(*paths, 2, "lanczos")
    fine = read(paths[1])
    assert fine.shape == (300, 10, 8)
    assert np.array_equal(fine[299], upscale_array(data[299], 2, "lanczos"))


@pytest.mark.parametrize(
    "profile", [{"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG", "BIGTIFF": "YES", "tiled": True}]
)
def test_big_endian_and_bigtiff(paths, profile):
    """Byte order and BigTIFF make no difference."""
    data = terrain((20, 21), high=3000).astype("int16")
    write(paths[0], data, **profile)
    assert paths[0].read_bytes()[:4] in (b"MM\0*", b"MM\0+", b"II+\0")
    upscale_file(*paths, 2, "lanczos-bp")
    assert np.array_equal(read(paths[1], 1), upscale_array(data, 2, "lanczos-bp"))


def test_overviews_are_never_the_source(paths):
    """Overviews of the input are neither read nor copied."""
    data = terrain((64, 64), high=255).astype("uint8")
    write(paths[0], data, tiled=True, blockxsize=16, blockysize=16)
    with rasterio.open(paths[0], "r+") as d:
        d.build_overviews([2, 4])
    write_level = [d.overviews(1) for d in [rasterio.open(paths[0])]]
    assert write_level == [[2, 4]]
    upscale_file(*paths, 2, "bilinear")
    with opened(paths[1]) as d:
        assert d.overviews(1) == []
        assert np.array_equal(d.read(1), upscale_array(data, 2, "bilinear"))


def test_bands_can_be_chosen_and_ordered(paths):
    """--bidx takes bands in the given order, with their names."""
    data = terrain((3, 8, 9)).astype("float32")
    with created(paths[0], data.shape, "float32") as d:
        d.write(data)
        d.descriptions = ("a", "b", "c")
    upscale_file(*paths, 2, "bilinear", bidx=(3, 1))
    with opened(paths[1]) as d:
        assert d.descriptions == ("c", "a")
        assert np.array_equal(d.read(), upscale_array(data[[2, 0]], 2, "bilinear"))


@pytest.mark.parametrize("kind", ["north-up", "south-up", "mirrored"])
def test_bounds_give_the_crop_of_the_whole_result(paths, random_network, kind):
    """Part of a raster comes out as the same part of the whole result, bit for bit, in its place."""
    affine = AFFINES[kind]
    data = terrain((50, 60)).astype("float32")
    data[np.random.default_rng(9).random(data.shape) < 0.05] = np.nan
    write(paths[0], data, transform=affine)
    model = random_network(3)
    upscale_file(*paths, 3, model, tile_size=8)
    whole = read(paths[1], 1)
    x0, y0 = affine @ (16.0, 8.0)
    x1, y1 = affine @ (39.4, 31.0)
    bounds = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    upscale_file(*paths, 3, model, tile_size=8, bounds=bounds, overwrite=True)
    with opened(paths[1]) as d:
        assert d.transform.almost_equals(affine @ Affine.translation(16, 8) @ Affine.scale(1 / 3), 1e-9)
        assert np.array_equal(d.read(1), whole[24:93, 48:120], equal_nan=True)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_another_type_on_request(paths, dtype):
    """--dtype rounds and clips into the type asked for."""
    data = terrain((10, 11), low=-50, high=400)
    write(paths[0], data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "W-RANGE")
        upscale_file(*paths, 2, "bilinear", dtype=dtype)
    expected = upscale_array(data, 2, "bilinear")
    fine = read(paths[1], 1)
    assert fine.dtype == dtype
    if dtype[0] in "ui":
        info = np.iinfo(dtype)
        assert (fine == np.clip(np.rint(expected), info.min, info.max)).mean() > 0.99
    else:
        assert np.array_equal(fine, expected.astype(dtype))


def test_a_nodata_value_that_the_type_cannot_hold_is_refused(paths):
    """--dtype that cannot hold nodata is refused before anything is written."""
    write(paths[0], terrain((5, 5)), nodata=-9999)
    with pytest.raises(UsageError, match=r"nodata -9999.0 cannot be stored as uint8: choose another type with dtype="):
        upscale_file(*paths, 2, "bilinear", dtype="uint8")
    assert not list(paths[1].parent.iterdir())


@pytest.mark.parametrize("model", ["bilinear", "nearest"])
def test_missing_floats_do_not_become_numbers_in_integers(paths, model):
    """NaN into an integer type needs a nodata value: without one it is refused, with one it is kept missing."""
    data = terrain((6, 7), low=1, high=90).astype("float32")
    data[2, 3] = np.nan
    write(paths[0], data)
    with pytest.raises(InputError, match=r"missing cells .*nodata="):
        upscale_file(*paths, 2, model, dtype="uint8")
    assert not list(paths[1].parent.iterdir())
    upscale_file(*paths, 2, model, dtype="uint8", nodata=0)
    with opened(paths[1]) as d:
        assert d.nodata == 0
        assert (d.read(1) == 0).sum() == 4


def test_a_range_is_kept(paths):
    """--range bounds what comes out, in physical units."""
    data = np.random.default_rng(10).choice([0.0, 1.0], size=(12, 12)).astype("float32")
    write(paths[0], data)
    upscale_file(*paths, 2, "lanczos")
    assert read(paths[1]).min() < 0
    upscale_file(*paths, 2, "lanczos", value_range=(0, 1), overwrite=True)
    fine = read(paths[1])
    assert fine.min() >= 0
    assert fine.max() <= 1


def test_a_range_is_in_physical_units(paths):
    """--range of a packed raster bounds the unpacked values."""
    stored = np.random.default_rng(11).choice([0, 100], size=(12, 12)).astype("int16")
    with created(paths[0], stored.shape, "int16") as d:
        d.write(stored, 1)
        d.scales, d.offsets = (0.1,), (5.0,)
    upscale_file(*paths, 2, "lanczos", value_range=(5, 15))
    fine = read(paths[1])
    assert fine.min() == 0
    assert fine.max() == 100
    upscale_file(*paths, 2, "lanczos", overwrite=True)
    assert read(paths[1]).min() < 0


def test_a_cog_is_one(paths):
    """--cog gives GDAL's COG layout, with overviews, in the same place and with the same values and tags."""
    data = terrain((200, 210)).astype("float32")
    data[:20, :30] = -9999
    with created(paths[0], data.shape, "float32", nodata=-9999) as d:
        d.write(data, 1)
        d.descriptions = ("height",)
        d.units = ("m",)
        d.update_tags(NOTE="kept")
    upscale_file(*paths, 3, "lanczos-bp", cog=True)
    with opened(paths[0]) as coarse, opened(paths[1]) as d:
        assert d.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert d.block_shapes == [(512, 512)]
        assert d.overviews(1) == [2]
        assert (d.descriptions, d.units, d.nodata, d.tags()["NOTE"]) == (("height",), ("m",), -9999, "kept")
        assert (d.crs, d.bounds) == (coarse.crs, coarse.bounds)
        assert d.tags()["GEOFSRCNN_MODEL"] == "lanczos-bp"
        fine = d.read(1)
        small = d.read(1, out_shape=(300, 315))
    assert np.array_equal(fine, upscale_array(data, 3, "lanczos-bp", nodata=-9999))
    assert (small[:30, :45] == -9999).all()
    assert (small != -9999).sum() == small.size - 30 * 45


def test_a_cog_with_a_mask_and_of_classes(paths):
    """A COG keeps the mask, and overviews of classes hold classes."""
    data = np.random.default_rng(12).integers(0, 3, (300, 300)).astype("uint8") * 100
    with created(paths[0], data.shape, "uint8") as d:
        d.write(data, 1)
        d.write_colormap(1, {0: (0, 0, 0, 255), 100: (1, 2, 3, 255), 200: (9, 9, 9, 255)})
    upscale_file(*paths, 2, "nearest", cog=True, co={"BLOCKSIZE": "128"})
    with opened(paths[1]) as d:
        assert d.block_shapes == [(128, 128)]
        assert d.overviews(1)[0] == 2
        assert set(np.unique(d.read(1, out_shape=(150, 150)))) == {0, 100, 200}
        assert d.colormap(1)[100] == (1, 2, 3, 255)
    mask = np.where(np.arange(300)[:, None] < 150, np.uint8(255), np.uint8(0)).repeat(300, 1)
    with created(paths[0], (300, 300), "int16") as d:
        d.write(data.astype("int16"), 1)
        d.write_mask(mask)
    upscale_file(*paths, 2, "bilinear", cog=True, overwrite=True)
    with opened(paths[1]) as d:
        assert np.array_equal(d.read_masks(1), mask.repeat(2, 0).repeat(2, 1))


def test_creation_options_are_passed_on(paths):
    """--co sets compression, block size and BigTIFF."""
    write(paths[0], terrain((80, 90)).astype("float32"))
    options = {"compress": "LZW", "BLOCKXSIZE": "64", "BLOCKYSIZE": "32", "BIGTIFF": "YES"}
    upscale_file(*paths, 2, "bilinear", co=options)
    with opened(paths[1]) as d:
        assert d.compression.name == "lzw"
        assert d.block_shapes == [(32, 64)]
    assert paths[1].read_bytes()[:4] == b"II+\0"


@pytest.mark.parametrize(
    "key", ["DRIVER", "width", "COUNT", "dtype", "NODATA", "CRS", "Transform", "gcps", "MODE", "sharing"]
)
def test_creation_options_cannot_change_what_is_written(paths, key):
    """--co is for GDAL's options, not for what describes the raster."""
    write(paths[0], terrain((8, 9)).astype("float32"))
    with pytest.raises(UsageError, match=f"creation option {key.upper()} is not yours to set"):
        upscale_file(*paths, 2, "bilinear", co={key: "1"})
    assert not list(paths[1].parent.iterdir())


@pytest.mark.parametrize("compress", ["JPEG", "webp", "LERC", "LERC_ZSTD", "JXL"])
def test_lossy_compression_is_refused(paths, compress):
    """Compressions that change values are refused by name."""
    write(paths[0], terrain((8, 9), high=255).astype("uint8"))
    for cog in (False, True):
        with pytest.raises(UsageError, match=f"COMPRESS={compress} changes the values"):
            upscale_file(*paths, 2, "bilinear", co={"compress": compress}, cog=cog)
    assert not list(paths[1].parent.iterdir())


@pytest.mark.parametrize("codec", ["jpeg", "webp", "lerc", "zstd", "lzma", "packbits"])
def test_every_codec_in_is_lossless_out(paths, codec):
    """Whatever compressed the input, the output is lossless."""
    data = np.rint(terrain((3, 40, 41), high=255)).astype("uint8")
    write(paths[0], data, compress=codec, interleave="pixel", **({"photometric": "YCBCR"} if codec == "jpeg" else {}))
    stored = read(paths[0])
    upscale_file(*paths, 2, "lanczos-bp")
    with opened(paths[1]) as d:
        assert d.compression.name == "zstd"
        assert np.array_equal(d.read(), upscale_array(stored, 2, "lanczos-bp"))


def test_provenance_is_in_the_tags(paths, random_network):
    """The output says what made it: version, model, digest and factor."""
    model = random_network(3)
    write(paths[0], terrain((9, 9)).astype("float32"))
    upscale_file(*paths, 3, model)
    with opened(paths[1]) as d:
        tags = d.tags()
    assert tags["GEOFSRCNN_VERSION"] == __version__
    assert tags["GEOFSRCNN_FACTOR"] == "3"
    assert (tags["GEOFSRCNN_MODEL"], tags["GEOFSRCNN_MODEL_SHA256"]) == ("random", model.digest)


def test_provenance_of_an_upscaled_output_is_of_the_last_run(paths, random_network):
    """Upscaling a result again writes the new provenance over the old, and nothing of the old stays."""
    write(paths[0], terrain((9, 9)).astype("float32"))
    upscale_file(*paths, 3, random_network(3))
    again = paths[1].with_name("again.tif")
    upscale_file(paths[1], again, 2, "cubic")
    with opened(again) as d:
        assert (d.tags()["GEOFSRCNN_MODEL"], d.tags()["GEOFSRCNN_FACTOR"]) == ("cubic", "2")
        assert "GEOFSRCNN_MODEL_SHA256" not in d.tags()


def test_bands_of_several_nodata_values_are_refused(paths):
    """Bands that state several nodata values do not fit a GeoTIFF: one at a time, or refused."""
    vrt = paths[0].with_suffix(".vrt")
    for number in (1, 2):
        write(paths[0].with_name(f"{number}.tif"), np.full((4, 4), number, "int16"))
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{n}"><NoDataValue>{-n}</NoDataValue><SimpleSource>'
        f'<SourceFilename relativeToVRT="1">{n}.tif</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand>"
        for n in (1, 2)
    )
    vrt.write_text(f'<VRTDataset rasterXSize="4" rasterYSize="4">{bands}</VRTDataset>')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        with pytest.raises(InputError, match=r"bands state several nodata values \(-1.0, -2.0\)"):
            upscale_file(vrt, paths[1], 2, "nearest", driver="VRT")
        upscale_file(vrt, paths[1], 2, "nearest", driver="VRT", bidx=(2,))
    with opened(paths[1]) as d:
        assert (d.nodata, d.count) == (-2, 1)


@pytest.mark.parametrize("byte", ["first", "middle", "last"])
def test_a_block_that_changed_on_disk_is_found(paths, monkeypatch, byte):
    """A byte that flips between writing and reading back is found; no output appears."""
    write(paths[0], terrain((60, 60)).astype("float32"))
    verify = GeoTiffSink._verify
    flipped = []

    def flip(sink, each_window, threads):
        if not sink._path.exists():  # the rehearsal in memory
            return verify(sink, each_window, threads)
        with tifffile.TiffFile(sink._path) as file:
            page = file.pages[0]
            number = {"first": 0, "middle": len(page.dataoffsets) // 2, "last": -1}[byte]
            place = page.dataoffsets[number] + page.databytecounts[number] // 2
        with sink._path.open("r+b") as file:
            file.seek(place)
            old = file.read(1)
            file.seek(place)
            file.write(bytes([old[0] ^ 0x10]))
        flipped.append(place)
        return verify(sink, each_window, threads)

    monkeypatch.setattr(GeoTiffSink, "_verify", flip)
    for compress in ("NONE", "DEFLATE"):
        with pytest.raises(OutputError, match="the output read back differs from what was written"):
            upscale_file(*paths, 2, "bilinear", tile_size=16, co={"COMPRESS": compress})
        assert not list(paths[1].parent.iterdir())
    assert len(flipped) == 2


def test_an_absent_tag_is_found(paths, monkeypatch):
    """Provenance that did not reach the file is found."""
    write(paths[0], terrain((6, 6)).astype("float32"))
    monkeypatch.setattr(GeoTiffSink, "_describe", lambda sink: None)
    with pytest.raises(
        OutputError, match=r"differs from what was written \(size, type, nodata, CRS, transform or tags\)"
    ):
        upscale_file(*paths, 2, "bilinear")
    assert not list(paths[1].parent.iterdir())


@pytest.mark.parametrize("bits", [1, 12, 15])
@pytest.mark.parametrize("co", [{}, {"COMPRESS": "ZSTD", "BLOCKSIZE": "128"}])
def test_a_cog_of_fewer_bits_than_the_type(paths, bits, co):
    """No predictor goes with such bits: the COG is written without one, and its values are those of a plain GeoTIFF."""
    data = np.minimum(terrain((40, 41), high=4000), 2**bits - 1)
    write(paths[0], data.astype("uint8" if bits < 8 else "uint16"), NBITS=bits)
    upscale_file(*paths, 2, "nearest", cog=True, co=co)
    plain = paths[1].with_name("plain.tif")
    upscale_file(paths[0], plain, 2, "nearest")
    assert np.array_equal(read(paths[1]), read(plain))
    with opened(paths[1]) as d:
        assert d.tags(1, ns="IMAGE_STRUCTURE")["NBITS"] == str(bits)
        assert d.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert sorted(each.name for each in paths[1].parent.iterdir()) == ["fine.tif", "plain.tif"]


def test_what_gdal_refuses_is_found_before_the_work(paths):
    """A predictor on 12 bits fails at the first block: seen on a tiny output, also by an estimate, in GDAL's words."""
    write(paths[0], terrain((40, 41), high=4000).astype("uint16"), NBITS=12)
    for run in (estimate_file, upscale_file):
        with pytest.raises(OutputError, match=r"the output \(.*PREDICTOR=2 is only supported with .*\)$"):
            run(*paths, 2, "bilinear", co={"PREDICTOR": "2", "COMPRESS": "LZW"})


def test_the_disk_is_asked_after_only_where_it_is_full(paths, monkeypatch):
    """Any other failure says its own reason and no more."""
    write(paths[0], terrain((20, 20)).astype("float32"))
    put = GeoTiffSink._put

    def fail(sink, *rest):
        if not sink._path.parent.exists():  # the rehearsal in memory
            return put(sink, *rest)
        raise failure

    monkeypatch.setattr(GeoTiffSink, "_put", fail)
    failure = RasterioError("the moon is in the wrong phase")
    with pytest.raises(OutputError, match=r"^cannot write the output \(the moon is in the wrong phase\)$"):
        upscale_file(*paths, 2, "bilinear")
    failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OutputError, match=r"\(.*No space left on device\): is the disk full\?$"):
        upscale_file(*paths, 2, "bilinear")
    failure = RasterioError("write error")
    monkeypatch.setattr("geofsrcnn.files.staging.free_bytes", lambda _: 2**20)
    with pytest.raises(OutputError, match=r"\(write error\): is the disk full\?$"):
        upscale_file(*paths, 2, "bilinear")
