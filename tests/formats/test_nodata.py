"""Which cells of a raster are missing: as GDAL says, exactly, whatever the type and however the file states it."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp, MaskFlags

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import GeofsrcnnError, GeofsrcnnWarning, InputError
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.options import UpscaleOptions
from tests.support.rasters import ODD, UTM, blocks, created, opened, read, terrain, write

TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}

DRIVERS = {
    ".vrt": "VRT",
    ".img": "HFA",
    ".asc": "AAIGrid",
    ".bil": "EHdr",
    ".grb": "GRIB",
    ".grib": "GRIB",
    ".jp2": "JP2OpenJPEG",
}
"""GDAL's drivers of rasters that are no GeoTIFF."""

HOLE = (slice(4, 7), slice(3, 8))
SHAPE = {"width": 14, "height": 12, "count": 1, "dtype": "uint8"}
FINE_HOLE = (slice(8, 14), slice(6, 16))


def vrt(path: Path, plain: Path, bands: list[str], dtype: str) -> Path:
    """A VRT of band 1 of another raster, several times, with something of its own in each."""
    with opened(plain) as d:
        rows, columns = d.shape
    text = "".join(
        f'<VRTRasterBand dataType="{TYPES[dtype]}" band="{number}">{inner}<SimpleSource><SourceFilename '
        f'relativeToVRT="1">{plain.name}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>'
        for number, inner in enumerate(bands, 1)
    )
    place = "<SRS>EPSG:32633</SRS><GeoTransform>500000,30,0,6000000,0,-30</GeoTransform>"
    path.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}">{place}{text}</VRTDataset>', encoding="utf-8"
    )
    return path


def stating(path: Path, array: np.ndarray, nodata: object, **options: str) -> Path:
    """A GeoTIFF that states a nodata value in any spelling; rasterio writes doubles only."""
    plain = write(path.with_name("plain.tif"), array)
    made = vrt(path.with_name("plain.vrt"), plain, [f"<NoDataValue>{nodata}</NoDataValue>"], array.dtype.name)
    rasterio.shutil.copy(made, path, driver="GTiff", **options)
    return path


def masked(path: Path, band: int = 1) -> np.ndarray:
    """Cells that GDAL masks."""
    with opened(path) as d:
        return d.read_masks(band) == 0


def silent(*args: object, **options: object) -> None:
    """An upscaling without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeofsrcnnWarning)
        warnings.filterwarnings("ignore", "W-STEPS")
        upscale_file(*args, **options)


@pytest.fixture
def paths(tmp_path):
    """An input and an output name."""
    return tmp_path / "coarse.tif", tmp_path / "fine.tif"


def test_a_nodata_value_of_six_digits_masks_its_cells(paths):
    """A tag of -3.40282e+38 stands for cells of -3.4028235e+38, as GDAL and QGIS take it."""
    data = terrain((12, 14), low=500, high=600).astype("float32")
    data[HOLE] = np.finfo("f4").min
    write(paths[0], data, nodata=-3.40282e38)
    silent(*paths, 2, "bilinear")
    expected = np.zeros((24, 28), bool)
    expected[FINE_HOLE] = True
    assert np.array_equal(masked(paths[1]), expected)
    fine = read(paths[1], 1)[~expected]
    assert 499 < fine.min() < fine.max() < 601


def test_no_valid_cell_comes_as_close_to_nodata_as_gdal_masks(paths):
    """Bilinear passes 7.000001 beside nodata 7: the cell steps out of GDAL's tolerance."""
    data = np.tile(np.array([6.0, 10.000004], "float32"), (6, 5))
    assert np.isclose(upscale_array(data, 2, "bilinear"), 7, rtol=4e-7, atol=0).any()
    write(paths[0], data, nodata=7.0)
    silent(*paths, 2, "bilinear")
    assert not masked(paths[1]).any()
    assert np.abs(read(paths[1], 1) - upscale_array(data, 2, "bilinear")).max() < 1e-5


@pytest.mark.parametrize("value", [-3.4028234663852886e38, 3.4028234663852886e38, -3.4e38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_float_is_missing_without_a_tag(paths, dtype, value):
    """An undeclared -3.4028e38 is missing, with W-HUGE once, and reaches no neighbour."""
    data = terrain((2, 12, 14), low=500, high=600).astype(dtype)
    data[:, *HOLE] = value
    write(paths[0], data)
    with pytest.warns(GeofsrcnnWarning, match=r"W-HUGE: coarse.tif holds values of 3.4e38 and more, taken as") as told:
        upscale_file(*paths, 2, "bilinear", tile_size=8)
    assert len(told) == 1
    fine = read(paths[1])
    assert (fine[:, *FINE_HOLE] == data.dtype.type(value)).all()
    outside = np.ones((24, 28), bool)
    outside[FINE_HOLE] = False
    assert 499 < fine[:, outside].min() < fine[:, outside].max() < 601


EXACT_VALUES = [
    ("int64", -(2**63)),
    ("int64", -(2**63) + 2),
    ("int64", 2**63 - 1),
    ("int64", 2**53 + 1),
    ("uint64", 2**64 - 1),
    ("uint64", 2**64 - 2),
]


@pytest.mark.parametrize(("dtype", "nodata"), EXACT_VALUES)
@pytest.mark.parametrize("options", [{}, {"cog": True}, {"co": {"BIGTIFF": "YES"}}])
@pytest.mark.parametrize("model", ["bilinear", "nearest"])
def test_nodata_of_64_bits_is_exact(paths, dtype, nodata, options, model):
    """The ends of 64-bit integers and values between doubles mask their cells, before and after."""
    data = np.rint(terrain((12, 14), high=300)).astype(dtype)
    data[HOLE] = nodata
    stating(paths[0], data, nodata, **({"BIGTIFF": "YES"} if options else {}))
    assert masked(paths[0]).sum() == 15
    silent(*paths, 2, model, **options)
    fine = read(paths[1], 1)
    assert np.array_equal(masked(paths[1]), np.repeat(np.repeat(data == dtype_value(dtype, nodata), 2, 0), 2, 1))
    assert (fine[FINE_HOLE] == dtype_value(dtype, nodata)).all()
    assert fine[~masked(paths[1])].max() <= 300
    silent(paths[1], paths[1].with_name("again.tif"), 2, model)  # the output states it as GDAL does
    assert masked(paths[1].with_name("again.tif")).sum() == 15 * 16


def dtype_value(dtype: str, value: int) -> np.generic:
    """A number of a type."""
    return np.dtype(dtype).type(value)


def test_nodata_of_64_bits_can_be_given(paths):
    """--nodata takes all digits, in files and arrays."""
    data = np.full((8, 9), 5, "uint64")
    data[2, 3] = 2**64 - 1
    write(paths[0], data)
    silent(*paths, 2, "bilinear", nodata=2**64 - 1)
    assert masked(paths[1]).sum() == 4
    assert (read(paths[1], 1)[~masked(paths[1])] == 5).all()
    assert np.array_equal(upscale_array(data, 2, "bilinear", nodata=2**64 - 1), read(paths[1], 1))


def test_a_large_nodata_value_that_gdal_reads_in_part_is_said(paths):
    """Rasterio spells int64's least value as -9.2e+18, of which GDAL reads -9."""
    data = np.full((8, 9), 5, "int64")
    data[2, 3] = -9
    write(paths[0], data, nodata=-9.223372036854775e18)
    with pytest.warns(GeofsrcnnWarning, match=r"W-NODATA: coarse.tif states nodata -9.2\S+, which GDAL reads as -9 in"):
        upscale_file(*paths, 2, "bilinear")
    assert masked(paths[1]).sum() == 4


def test_nodata_of_64_bits_in_other_formats_is_exact_or_asked_for(paths):
    """A VRT's value beyond 2**53 cannot be read exactly through rasterio: one line asks for it."""
    plain = write(paths[0].with_name("plain.tif"), np.full((8, 9), 5, "int64"))
    source = vrt(paths[0].with_suffix(".vrt"), plain, [f"<NoDataValue>{2**63 - 1}</NoDataValue>"], "int64")
    with pytest.raises(InputError, match=r"the nodata value of coarse.vrt is too large to be .*: give it with nodata="):
        upscale_file(source, paths[1], 2, "bilinear", driver="VRT")
    silent(source, paths[1], 2, "bilinear", driver="VRT", nodata=2**63 - 1)
    vrt(source, plain, ["<NoDataValue>5</NoDataValue>"], "int64")
    silent(source, paths[1], 2, "bilinear", driver="VRT", overwrite=True)
    assert masked(paths[1]).all()


def test_a_fraction_as_nodata_of_integers_is_cut_as_gdal_does(paths):
    """1.9 masks ones in GDAL: here too, with W-NODATA."""
    data = np.full((8, 9), 5, "uint8")
    data[2, 3] = 1
    stating(paths[0], data, 1.9)
    assert masked(paths[0]).sum() == 1
    with pytest.warns(GeofsrcnnWarning, match="states nodata 1.9, which uint8 cannot hold: taken as 1, as GDAL does"):
        upscale_file(*paths, 2, "bilinear")
    assert masked(paths[1]).sum() == 4


@pytest.mark.parametrize("model", ["bilinear", "nearest"])
def test_values_for_a_combination_of_bands_become_a_mask(paths, model):
    """NODATA_VALUES: cells where all bands hold theirs are missing, a zero in one band is a value."""
    data = np.stack([np.full((12, 14), value, "uint8") for value in (10, 20, 30)])
    data[:, *HOLE] = 0
    data[0, 10, 10] = 0
    with created(paths[0], data.shape, "uint8", photometric="RGB") as d:
        d.update_tags(NODATA_VALUES="0 0 0")
        d.write(data)
    silent(*paths, 2, model)
    expected = np.zeros((24, 28), bool)
    expected[FINE_HOLE] = True
    assert all(np.array_equal(masked(paths[1], band), expected) for band in (1, 2, 3))
    assert (read(paths[1], 2)[~expected] == 20).all()
    silent(*paths, 2, model, bidx=(2,), overwrite=True)
    assert np.array_equal(masked(paths[1]), expected)


def test_values_for_another_number_of_bands_are_said_to_count_for_nothing(paths):
    """NODATA_VALUES with two values for three bands: GDAL takes none, and W-NODATA says so."""
    with created(paths[0], (3, 8, 9), "uint8") as d:
        d.update_tags(NODATA_VALUES="0 0")
        d.write(np.zeros((3, 8, 9), "uint8"))
    with pytest.warns(
        GeofsrcnnWarning, match="W-NODATA: coarse.tif has 3 bands and the tag NODATA_VALUES=0 0: not one"
    ):
        upscale_file(*paths, 2, "bilinear")


MASKED = '<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource><SourceFilename relativeToVRT="1">{}</SourceFilename>'
MASKED += "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_masks_of_single_bands_count(paths, dtype):
    """A mask of one band of two masks that band: as NaN in floats, as --nodata in integers, which is asked for."""
    plain = write(paths[0].with_name("plain.tif"), np.full((12, 14), 50, dtype))
    mask = np.full((12, 14), 255, "uint8")
    mask[HOLE] = 0
    write(paths[0].with_name("mask.tif"), mask)
    source = vrt(paths[0].with_suffix(".vrt"), plain, ["", MASKED.format("mask.tif")], dtype)
    with rasterio.open(source) as d:
        assert d.mask_flag_enums == ([MaskFlags.all_valid], [])
    if dtype == "int16":
        with pytest.raises(
            InputError, match=r"band 2 of coarse.vrt has a mask of its own and no nodata value: say with"
        ):
            upscale_file(source, paths[1], 2, "bilinear", driver="VRT")
    options = {"driver": "VRT", "nodata": -1 if dtype == "int16" else None, "overwrite": True}
    silent(source, paths[1], 2, "bilinear", **options)
    assert not masked(paths[1], 1).any()
    expected = np.zeros((24, 28), bool)
    expected[FINE_HOLE] = True
    assert np.array_equal(masked(paths[1], 2), expected)
    silent(source, paths[1], 2, "bilinear", driver="VRT", bidx=(2,), overwrite=True)
    assert np.array_equal(masked(paths[1]), expected)
    assert (read(paths[1], 1)[~expected] == 50).all()


def test_nodata_of_some_bands_is_refused(paths):
    """A GeoTIFF holds one nodata value for all bands: a band without one would lose its zeros."""
    data = np.full((12, 14), 50, "uint8")
    data[HOLE] = 0
    plain = write(paths[0].with_name("plain.tif"), data)
    source = vrt(paths[0].with_suffix(".vrt"), plain, ["<NoDataValue>0</NoDataValue>", ""], "uint8")
    for model in ("bilinear", "nearest"):
        with pytest.raises(InputError, match=r"bands state several nodata values \(0.0, none\), a GeoTIFF holds one"):
            upscale_file(source, paths[1], 2, model, driver="VRT")
    silent(source, paths[1], 2, "nearest", driver="VRT", bidx=(2,))
    assert (read(paths[1], 1)[FINE_HOLE] == 0).all()
    assert not masked(paths[1]).any()


def test_nan_as_nodata_of_some_bands_is_that_of_all(paths):
    """NaN is missing in bands that do not say so as well."""
    plain = write(paths[0].with_name("plain.tif"), np.full((12, 14), 50, "float32"))
    source = vrt(paths[0].with_suffix(".vrt"), plain, ["<NoDataValue>nan</NoDataValue>", ""], "float32")
    silent(source, paths[1], 2, "bilinear", driver="VRT")
    with opened(paths[1]) as d:
        assert math.isnan(d.nodata)


def test_nodata_beside_rasters_of_other_drivers_is_said_or_used(tmp_path):
    """A PNG's nodata lies in its .aux.xml: W-SIDECAR names it, --sidecars uses it; statistics there are no matter."""
    source, output = tmp_path / "a.png", tmp_path / "fine.tif"
    data = np.full((12, 14), 50, "uint8")
    data[HOLE] = 0
    with rasterio.Env(GDAL_PAM_ENABLED="NO"), rasterio.open(source, "w", driver="PNG", **UTM, **SHAPE) as d:
        d.write(data, 1)
    aux = source.with_name("a.png.aux.xml")
    pam = "<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>500000,30,0,6000000,0,-30</GeoTransform>{}</PAMDataset>"
    aux.write_text(pam.format('<PAMRasterBand band="1"><NoDataValue>0</NoDataValue></PAMRasterBand>'))
    with pytest.warns(GeofsrcnnWarning) as told:
        upscale_file(source, output, 2, "bilinear", driver="PNG")
    assert "W-SIDECAR: ignored beside a.png: a.png.aux.xml: read with sidecars=True" in [str(w.message) for w in told]
    assert not masked(output).any()
    silent(source, output, 2, "bilinear", driver="PNG", sidecars=True, overwrite=True)
    assert masked(output).sum() == 60
    aux.write_text('<PAMDataset><Metadata><MDI key="STATISTICS_MEAN">3</MDI></Metadata></PAMDataset>')
    with pytest.warns(GeofsrcnnWarning, match="W-NOGEO") as told:
        upscale_file(source, output, 2, "bilinear", driver="PNG", overwrite=True)
    assert len(told) == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "uint64"])
@pytest.mark.parametrize("end", ["min", "max"])
def test_a_nodata_value_at_the_end_of_a_type_costs_no_mean(paths, dtype, end):
    """Cells beside the nodata value at the type's end are limited before it: block means within half a step."""
    info = np.iinfo(dtype)
    nodata, inner = getattr(info, end), 1 if end == "min" else -1
    if dtype == "uint64" and end == "max":  # beyond 2**53
        return
    data = (
        np.full((20, 22), nodata, dtype) + np.dtype(dtype).type(1)
        if inner > 0
        else np.full((20, 22), nodata - 1, dtype)
    )
    data[6:14, 6:16] = int(nodata) + 60 * inner
    data[9, 9] = int(nodata) + inner
    data[0, :5] = nodata
    write(paths[0], data, nodata=nodata)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "W-NODATA: .* holds many cells of -32767")  # which is a value here
        upscale_file(*paths, 3, "default")
    fine, hole = read(paths[1], 1), data == nodata
    assert np.array_equal(masked(paths[1]), np.repeat(np.repeat(hole, 3, 0), 3, 1))
    means = blocks(fine.astype(np.float64), 3).mean(-1)
    assert np.abs(means - data.astype(np.float64))[~hole].max() <= 0.5 + 1e-6 * (dtype == "uint32")
    array = upscale_array(data, 3, nodata=int(nodata))
    assert np.array_equal(array, fine)


def test_64_bits_without_a_sign_keep_their_means(paths):
    """A sharp edge down to 0 in uint64: what is below 0 is clipped, and the cell's mean kept."""
    data = np.zeros((20, 22), "uint64")
    data[6:14, 6:16] = 200
    write(paths[0], data)
    silent(*paths, 3, "default")
    means = blocks(read(paths[1], 1).astype(np.float64), 3).mean(-1)
    assert np.abs(means - data.astype(np.float64)).max() <= 0.5


# -------------------------------------------------------------------------------- the same as GDAL's mask bands

NEAR = st.sampled_from([0.0, 1e-8, 2e-7, 4e-7, 4.7e-7, 4.8e-7, 6e-7, 1e-6, -4e-7, -6e-7, 0.1])
FLOAT_VALUES = [
    0.0,
    -9999.0,
    1e20,
    -3.4028234663852886e38,
    3.4e38,
    1.7,
    -1.7976931348623157e308,
    math.nan,
    math.inf,
    1e-30,
]


@st.composite
def stated(draw):
    """A type, a nodata value as a file spells it, and values at and about it."""
    dtype = draw(st.sampled_from(sorted(TYPES)))
    if dtype.startswith("float"):
        nodata = draw(st.sampled_from(FLOAT_VALUES) | st.floats(-1e6, 1e6))
        text = draw(st.sampled_from(["{!r}", "{:.6g}", "{:.7g}"])).format(nodata)
        with np.errstate(all="ignore"):
            values = [nodata * (1 + draw(NEAR)) if math.isfinite(nodata) else nodata for _ in range(6)]
            return text, np.array([*values, 1.5, -2.5, 0.0]).astype(dtype)
    info = np.iinfo(dtype)
    nodata = draw(st.sampled_from([info.min, info.min + 1, info.max, info.max - 1, 0, 7, -9999, 2**53 + 1, 2**70, 0.5]))
    around = [int(nodata) + step for step in (-1, 0, 1, 2, 512)]
    return str(nodata), np.array([v for v in [*around, 0, 1, 7, 100] if info.min <= v <= info.max], dtype)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stated())
def test_cells_are_missing_where_gdal_masks_them(tmp_path, made):
    """For all types and nodata values, in any spelling: valid is what GDAL's mask says, less NaN, infinite and huge."""
    text, values = made
    path = stating(tmp_path / "in.tif", values[None], text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeofsrcnnWarning)
        with RasterSource(path, UpscaleOptions(allow_lossy=True)) as source:
            valid = source.read(Window(0, 1, 0, values.size), slice(None)).valid[0, 0]
    with np.errstate(invalid="ignore"):
        sensible = (
            np.abs(values.astype(np.float64)) < 3.399e38 if values.dtype.kind == "f" else np.ones(values.size, bool)
        )
    assert valid.tolist() == (~masked(path)[0] & sensible).tolist()


@pytest.mark.skipif(not ODD.exists(), reason="needs the odd files")
@pytest.mark.parametrize(
    "path",
    [
        path
        for pattern in ("*.tif", "*.tiff", *(f"*{suffix}" for suffix in DRIVERS))
        for path in sorted(ODD.glob(pattern))
    ],
    ids=lambda path: path.name[:40],
)
def test_odd_files_are_masked_as_gdal_masks_them(path):
    """Every odd raster that opens: missing cells are those of GDAL's masks, less NaN, infinite and huge ones."""
    driver = DRIVERS.get(path.suffix)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with RasterSource(path, UpscaleOptions(driver=driver), raw=True) as source:
                rows, columns = (min(n, 600) for n in source.grid.shape)
                cells = source.read(Window(0, rows, 0, columns), slice(None))
                bands = source.bands
        except GeofsrcnnError:
            return
        options = {"GDAL_PAM_ENABLED": "NO", "GDAL_DISABLE_READDIR_ON_OPEN": "NO" if driver else "EMPTY_DIR"}
        with rasterio.Env(**options), rasterio.open(path) as d:
            window = ((0, rows), (0, columns))
            masks = d.read_masks([b.index for b in bands], window=window) != 0
            if ColorInterp.alpha in d.colorinterp:  # of other types than GDAL's masks have, too
                masks &= d.read(d.colorinterp.index(ColorInterp.alpha) + 1, window=window) != 0
    for band, values, valid, mask in zip(bands, cells.values, cells.valid, masks, strict=True):
        with np.errstate(invalid="ignore"):
            sensible = np.abs(values) < 3.399e38 if band.dtype.kind == "f" else np.ones(values.shape, bool)
        assert np.array_equal(valid, mask & sensible), band.index
