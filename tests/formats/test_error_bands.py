"""Expected errors in GeoTIFFs: the numbers of `upscale_array`, behind all bands or in a file of their own."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from rasterio.enums import ColorInterp

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, OutputError, UsageError
from geofsrcnn.formats.geotiff import GeoTiffSink
from geofsrcnn.values.blocks import repeat
from tests.support.rasters import created, opened, read, state, terrain, write

DIGITS = 2**-10
"""Relative difference of what is stored and what was computed, at most."""


@pytest.fixture
def paths(tmp_path):
    """An input, an output and a file of errors, in folders of their own."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return tmp_path / "in" / "coarse.tif", tmp_path / "out" / "fine.tif", tmp_path / "out" / "error.tif"


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        yield


def alike(found, expected):
    """The same errors to what is stored of them, missing where they are."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected) - DIGITS * expected) <= 1e-30


@pytest.mark.parametrize("nodata", [None, 0, 7])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_errors_stand_behind_all_bands_as_floats(paths, with_errors, dtype, nodata):
    """Of every type, with missing cells or none: those of arrays, missing where values are, and nowhere else."""
    data = np.rint(terrain((2, 14, 17), low=1, high=200)).astype(dtype)
    data[:, 3:6, 5:7] = 1 if nodata is None else nodata
    write(paths[0], data, nodata=nodata)
    fine, errors = upscale_array(data, 3, with_errors, nodata=nodata, error=True)
    summary = upscale_file(*paths[:2], 3, with_errors, error=True)
    wide = np.result_type(dtype, np.float32)
    with opened(paths[1]) as d:
        assert (d.count, d.dtypes, d.nodata) == (4, (wide.name,) * 4, nodata)
        found = d.read()
    valid = ~np.isnan(errors)
    rounding = 0 if data.dtype.kind == "f" else 0.5001 if nodata is None else 1  # whole numbers keep clear of nodata
    assert np.abs(found[:2] - fine)[valid].max() <= rounding
    if nodata is not None:
        assert np.array_equal(found[2:] == nodata, ~valid)
        assert np.array_equal(found[:2] == nodata, ~valid)
    alike(np.where(valid, found[2:], np.nan), errors)
    assert (summary.error_bands, summary.error_output) == (2, None)
    assert summary.dtype == (None if wide == dtype else wide.name)


def test_no_error_is_missing_because_it_equals_nodata(paths, with_errors):
    """An error that would be stored as the nodata value is stored beside it, as far as GDAL tells them apart."""
    data = terrain((12, 13), low=500, high=900).astype("float32")
    write(paths[0], data)
    upscale_file(*paths[:2], 3, with_errors, error=True)
    errors = read(paths[1], 2)
    write(paths[0], data, nodata=float(errors[5, 5]))
    upscale_file(*paths[:2], 3, with_errors, error=True, overwrite=True)
    with opened(paths[1]) as d:
        assert d.nodata == errors[5, 5]
        assert (d.read_masks() == 255).all()
        assert np.allclose(d.read(2), errors, rtol=1e-5)


@pytest.mark.parametrize("nodata", [None, 0, 7])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float64"])
def test_errors_in_a_file_of_their_own_leave_values_as_they_are(paths, with_errors, dtype, nodata):
    """The values' file is the one that comes without errors, to the byte; theirs is float32 with NaN."""
    data = np.rint(terrain((2, 14, 17), low=1, high=200)).astype(dtype)
    data[:, 3:6, 5:7] = 1 if nodata is None else nodata
    write(paths[0], data, nodata=nodata)
    upscale_file(*paths[:2], 3, with_errors)
    plain = paths[1].read_bytes()
    summary = upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], overwrite=True)
    assert paths[1].read_bytes() == plain
    with opened(paths[1]) as d, opened(paths[2]) as e:
        assert (e.count, e.dtypes, math.isnan(e.nodata)) == (2, ("float32", "float32"), True)
        assert (e.crs, e.transform, e.shape) == (d.crs, d.transform, d.shape)
        alike(e.read(), upscale_array(data, 3, with_errors, nodata=nodata, error=True)[1])
    assert (summary.error_bands, summary.error_output, summary.dtype) == (2, str(paths[2]), None)
    assert summary.output_bytes == len(plain) + paths[2].stat().st_size


def test_names_units_and_tags(paths, with_errors):
    """NAME_error with the band's unit and no colour; what they are is in the tags of the band and of the file."""
    data = terrain((2, 12, 13)).astype("float32")
    with created(paths[0], data.shape, "float32") as d:
        d.write(data)
        d.set_band_description(1, "temperature")
        d.units = ("K", "mm")
        d.update_tags(1, long_name="2 m temperature", STATISTICS_MAXIMUM="7")
        d.update_tags(NOTE="kept")
    upscale_file(*paths[:2], 3, with_errors, error=True)
    with opened(paths[1]) as d:
        assert d.descriptions == ("temperature", None, "temperature_error", "band_2_error")
        assert d.units == ("K", "mm", "K", "mm")
        assert d.colorinterp[2:] == (ColorInterp.undefined, ColorInterp.undefined)
        assert d.tags(3) == {"long_name": "expected absolute error of 2 m temperature"}
        assert d.tags(4) == {"long_name": "expected absolute error of band 2"}
        assert d.tags()["GEOFSRCNN_ERROR"].startswith("expected absolute error")
        assert d.tags()["NOTE"] == "kept"
    upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], overwrite=True)
    with opened(paths[1]) as d, opened(paths[2]) as e:
        assert "GEOFSRCNN_ERROR" not in d.tags()
        assert e.tags()["GEOFSRCNN_ERROR"].startswith("expected absolute error")
        assert (e.descriptions, e.units) == (("temperature_error", "band_2_error"), ("K", "mm"))


def test_an_output_with_errors_can_be_an_input(paths, with_errors):
    """Its tag goes where no errors are added; bands of errors are upscaled like any other."""
    write(paths[0], terrain((9, 9)).astype("float32"))
    upscale_file(*paths[:2], 3, with_errors, error=True)
    upscale_file(*paths[1:], 3, with_errors)
    with opened(paths[2]) as d:
        assert "GEOFSRCNN_ERROR" not in d.tags()
        assert d.descriptions == (None, "band_1_error")


def test_values_keep_to_what_their_type_holds(paths, with_errors):
    """Bytes that become floats beside their errors do not leave 0 to 255, and keep their fractions."""
    data = np.random.default_rng(0).choice([0, 9, 245, 255], (20, 22)).astype("uint8")
    write(paths[0], data)
    upscale_file(*paths[:2], 3, with_errors, error=True)
    values = read(paths[1], 1)
    assert values.min() >= 0
    assert values.max() <= 255
    assert not np.array_equal(values, np.rint(values))


def test_packed_bands_have_packed_errors(paths, with_errors):
    """Errors are packed with the values' scale and no offset: they compare with them packed and unpacked."""
    data = np.rint(terrain((2, 14, 17), low=-900, high=900)).astype("int16")
    data[:, 4, 4] = -999
    with created(paths[0], data.shape, "int16", nodata=-999) as d:
        d.write(data)
        d.scales, d.offsets = (0.25, -0.5), (273.15, 3.0)
    physical = data * np.array([0.25, -0.5])[:, None, None] + np.array([273.15, 3.0])[:, None, None]
    physical[data == -999] = np.nan
    errors = upscale_array(physical, 3, with_errors, error=True)[1]
    upscale_file(*paths[:2], 3, with_errors, error=True)
    with opened(paths[1]) as d:
        assert (d.scales, d.offsets) == ((0.25, -0.5, 0.25, 0.5), (273.15, 3.0, 0.0, 0.0))
        found = d.read([3, 4]).astype("float64")
    found[found == -999] = np.nan
    alike(found * np.array([0.25, 0.5])[:, None, None], errors)
    stored = found[np.isfinite(found)].astype("float32").view("uint32")
    assert (stored & (2**14 - 1) == 0).all()
    upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], overwrite=True)
    with opened(paths[2]) as d:
        assert (d.scales, d.offsets) == ((1.0, 1.0), (0.0, 0.0))
        alike(d.read(), errors)


def test_categories_have_none(paths, with_errors):
    """Bands that are repeated get no band of errors; where there are no others, it is refused."""
    data = np.rint(terrain((3, 12, 13), high=200)).astype("float32")
    write(paths[0], data)
    summary = upscale_file(*paths[:2], 3, with_errors, error=True, kinds={"2": "category"})
    with opened(paths[1]) as d:
        assert d.descriptions[3:] == ("band_1_error", "band_3_error")
        alike(d.read([4, 5]), upscale_array(data[[0, 2]], 3, with_errors, error=True)[1])
    assert summary.error_bands == 2
    upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], kinds={"2": "category"}, overwrite=True)
    with opened(paths[2]) as d:
        alike(d.read(), upscale_array(data[[0, 2]], 3, with_errors, error=True)[1])
    with pytest.raises(UsageError, match=r"coarse.tif holds categories, .* no expected error: leave out error=True"):
        upscale_file(paths[0], paths[1], 3, with_errors, error=True, bidx=(2,), kinds={"2": "category"}, overwrite=True)


def test_totals_have_those_of_their_parts(paths, with_errors):
    """Divided as the values are."""
    data = np.rint(terrain((12, 13), high=900)).astype("int32")
    write(paths[0], data)
    upscale_file(*paths[:2], 3, with_errors, error=True, kinds={"1": "total"})
    expected = upscale_array(data.astype("float64"), 3, with_errors, error=True)[1] / 9
    with opened(paths[1]) as d:
        assert d.dtypes == ("float64", "float64")
        alike(d.read(2), expected)


RGB = np.rint(terrain((4, 30, 32), low=10, high=200)).astype("uint8")
RGB[3] = np.random.default_rng(3).choice([0, 100, 255], (30, 32))


def test_alpha_becomes_a_mask_beside_errors_and_stays_where_they_are_apart(paths, with_errors):
    """Floats have no alpha: a warning says so, and which option keeps it."""
    write(paths[0], RGB, alpha="YES", photometric="RGB")
    with pytest.warns(GeofsrcnnWarning, match="W-MASK: the alpha band of coarse.tif becomes a mask, .* error_file="):
        upscale_file(*paths[:2], 3, with_errors, error=True)
    clear = repeat(RGB[3] == 0, 3)
    errors = upscale_array(RGB[:3], 3, with_errors, valid=RGB[3] != 0, error=True)[1]
    with opened(paths[1]) as d:
        assert (d.count, d.dtypes[0]) == (6, "float32")
        assert d.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, *[ColorInterp.undefined] * 3)
        assert np.array_equal(d.read_masks(5) == 0, clear)
        alike(d.read([4, 5, 6]), errors)
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeofsrcnnWarning)
        upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], overwrite=True)
    with opened(paths[1]) as d, opened(paths[2]) as e:
        assert np.array_equal(d.read(4), repeat(RGB[3], 3))
        assert (e.count, e.mask_flag_enums[0][0].name) == (3, "nodata")
        alike(e.read(), errors)


@pytest.mark.parametrize("cog", [False, True])
def test_masks_stay(paths, with_errors, cog):
    """A mask inside the file is repeated and hides errors, in a COG as well."""
    mask = np.where(terrain((30, 32), seed=4) < 0.3, np.uint8(0), np.uint8(255))
    with created(paths[0], (30, 32), "int16") as d:
        d.write(RGB[0].astype("int16"), 1)
        d.write_mask(mask)
    upscale_file(*paths[:2], 3, with_errors, error=True, cog=cog)
    with opened(paths[1]) as d:
        assert d.nodata is None
        assert np.array_equal(d.read_masks(2), repeat(mask, 3))
        alike(d.read(2), upscale_array(RGB[0], 3, with_errors, valid=mask != 0, error=True)[1])


@pytest.mark.parametrize("apart", [False, True])
def test_cogs(paths, with_errors, apart):
    """Both files are COGs, with the same numbers, names and tags."""
    data = terrain((90, 100)).astype("float32")
    data[:9, :20] = np.nan
    write(paths[0], data, nodata=np.nan)
    errors = upscale_array(data, 3, with_errors, error=True)[1]
    more = {"error_file": paths[2]} if apart else {"error": True}
    upscale_file(*paths[:2], 3, with_errors, cog=True, co={"BLOCKSIZE": "128"}, **more)
    with opened(paths[2] if apart else paths[1]) as d:
        assert d.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert d.overviews(1) == [2, 4]
        assert d.descriptions[-1] == "band_1_error"
        assert "GEOFSRCNN_ERROR" in d.tags()
        alike(d.read(d.count), errors)


def test_bounds_give_the_crop_of_the_whole_errors(paths, with_errors):
    """Bit for bit, in its place, beside the values and apart."""
    write(paths[0], terrain((50, 60)).astype("float32"))
    upscale_file(*paths[:2], 3, with_errors, tile_size=12, error=True)
    whole = read(paths[1])[:, 36:90, 36:108]
    with opened(paths[0]) as d:
        (left, top), (right, bottom) = d.transform @ (12, 12), d.transform @ (36, 30)
    part = {"bounds": (left, bottom, right, top), "tile_size": 12, "overwrite": True}
    upscale_file(*paths[:2], 3, with_errors, error=True, **part)
    assert np.array_equal(read(paths[1]), whole)
    upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], **part)
    assert np.array_equal(read(paths[2], 1), whole[1])


def test_many_bands_and_tiles(paths, with_errors):
    """Groups of bands and tiles all find their place, whatever the layout of the input."""
    data = terrain((35, 20, 23)).astype("float32")
    for interleave in ("band", "pixel"):
        write(paths[0], data, interleave=interleave)
        upscale_file(*paths[:2], 3, with_errors, tile_size=9, error=True, overwrite=True)
        with opened(paths[1]) as d:
            assert d.count == 70
            fine, errors = upscale_array(data, 3, with_errors, tile_size=9, error=True)
            assert np.array_equal(d.read(range(1, 36)), fine)
            alike(d.read(range(36, 71)), errors)


def test_a_globe_has_no_seam(paths, with_errors):
    """Errors go around as values do."""
    data = terrain((18, 36)).astype("float32")
    write(paths[0], data, crs="EPSG:4326", transform=[10.0, 0, -180, 0, -10, 90])
    upscale_file(*paths[:2], 3, with_errors, error=True)
    alike(read(paths[1], 2), upscale_array(data, 3, with_errors, period=36, error=True)[1])


@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_whole_numbers_are_refused_beside_errors(paths, with_errors, dtype):
    """With both ways out; a floating type that is asked for is taken."""
    before = state(write(paths[0], terrain((9, 9)).astype("float32")))
    words = f"expected errors beside the values are not written as {dtype}: take dtype='float32', or a file"
    with pytest.raises(UsageError, match=words):
        upscale_file(*paths[:2], 3, with_errors, error=True, dtype=dtype)
    assert state(paths[0]) == before
    summary = upscale_file(*paths[:2], 3, with_errors, error=True, dtype="float64")
    assert (read(paths[1]).dtype, summary.dtype) == (np.float64, None)
    upscale_file(*paths[:2], 3, with_errors, error_file=paths[2], dtype=dtype, overwrite=True)
    assert (read(paths[1]).dtype, read(paths[2]).dtype) == (dtype, np.float32)


def test_bands_of_several_types_are_refused_as_without(paths, with_errors, tmp_path):
    """A VRT of a byte and a float band."""
    write(paths[0], RGB[0])
    other = write(tmp_path / "in" / "float.tif", RGB[0].astype("float32"))
    vrt = tmp_path / "in" / "both.vrt"
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n}"><SimpleSource><SourceFilename relativeToVRT="1">{path.name}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n, (kind, path) in enumerate([("Byte", paths[0]), ("Float32", other)], 1)
    )
    place = "<GeoTransform>0, 1, 0, 0, 0, -1</GeoTransform>"
    vrt.write_text(f'<VRTDataset rasterXSize="32" rasterYSize="30">{place}{bands}</VRTDataset>')
    with pytest.raises(InputError, match=r"bands of several types \(float32, uint8\) do not fit one GeoTIFF"):
        upscale_file(vrt, paths[1], 3, with_errors, error=True, driver="VRT")
    upscale_file(vrt, paths[1], 3, with_errors, error=True, driver="VRT", dtype="float32")
    alike(read(paths[1])[2:], upscale_array(RGB[[0, 0]].astype("float32"), 3, with_errors, error=True)[1])


@pytest.mark.parametrize("apart", [False, True])
def test_an_error_that_changed_on_disk_is_found(paths, with_errors, monkeypatch, apart):
    """Errors are read back like values: a byte that flips in one is found, and no file appears."""
    write(paths[0], terrain((30, 30)).astype("float32"))
    verify, flipped = GeoTiffSink._verify, []

    def flip(sink, each_window, threads):
        if sink._path.exists() and "band_1_error" in [band.description for band in sink._bands.values()]:
            data = bytearray(sink._path.read_bytes())
            data[-20100] ^= 0x40  # within a row of the last block
            sink._path.write_bytes(data)
            flipped.append(sink._path)
        return verify(sink, each_window, threads)

    monkeypatch.setattr(GeoTiffSink, "_verify", flip)
    more = {"error_file": paths[2]} if apart else {"error": True}
    with pytest.raises(OutputError, match="the output read back differs from what was written"):
        upscale_file(*paths[:2], 3, with_errors, co={"COMPRESS": "NONE"}, **more)
    assert flipped
    assert not list(paths[1].parent.iterdir())
