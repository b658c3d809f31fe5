"""Every odd NetCDF, HDF5 and Zarr comes out right or is refused in one line, and is left as it was."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from zarr.storage import ZipStore

from geofsrcnn import load_checkpoint, upscale_dataset, upscale_file
from geofsrcnn.cf.encoding import packing_of
from geofsrcnn.errors import GeofsrcnnError
from tests.support.rasters import ODD, state

FILES = sorted(p.name for p in ODD.glob("*") if p.name.endswith((".nc", ".h5", ".bag", ".zarr.zip", ".file.zip")))
MODEL = load_checkpoint("small", 3)

NO_FIELD = "no variable with two horizontal dimensions"
WHICH = "cannot tell which dimensions are horizontal"
ARRAY = "is one Zarr array without coordinates"

REFUSED = {
    "gdal__array_attrs.zarr.zip": "cannot read .*Expecting value",
    "gdal__array_dimensions_upper_level.zarr.zip": "coordinate lat neither rises nor falls",
    "gdal__byte_truncated.nc": "cannot read gdal__byte_truncated.nc",
    "gdal__compound_well_aligned.zarr.zip": ARRAY,
    "gdal__delta_filter_i4.zarr.zip": ARRAY,
    "gdal__dummy_HDFEOS_with_geo_projection.h5": f"{WHICH}: test",
    "gdal__dummy_HDFEOS_with_sinu_projection.h5": f"{WHICH}: test",
    "gdal__enumeration.nc": NO_FIELD,
    "gdal__f2_le.zarr.zip": ARRAY,
    "gdal__fake_EMIT_L2A_with_good_wavelengths.nc": f"{WHICH}: reflectance",
    "gdal__fake_EMIT_L2B_MIN.nc": f"{WHICH}: some_var",
    "gdal__fixedscaleoffset_dtype_f8_astype_u2.zarr.zip": ARRAY,
    "gdal__invalid_bag_vlen_bag_version.bag": NO_FIELD,
    "gdal__larger_than_INT_MAX_pixels.bag": f"{WHICH}: elevation",
    "gdal__lz4.zarr.zip": ARRAY,
    "gdal__order_f_s3.zarr.zip": ARRAY,
    "gdal__order_f_u1.zarr.zip": ARRAY,
    "gdal__order_f_u4.zarr.zip": ARRAY,
    "gdal__test_georef_metadata.bag": "several groups .*: choose one with group=",
    "gdal__test_ogr_no_xyz_var.nc": NO_FIELD,
    "gdal__uint16_imagecodecs_tiff.zarr.zip": "codec not available",
    "gdal__uint16_imagecodecs_tiff_inconsistent_size.zarr.zip": "codec not available",
    "gdal__v3_fixed_length_utf32.zarr.zip": "dimension_names",
    "gdal__v3_transposed_sharding.zarr.zip": "chunk_shape",
    "gdal__v3_vlen_utf8.zarr.zip": "dimension_names",
    "gdal__y_x_other_dim_thanks_to_geolocation.nc": f"{WHICH}: rhos",
    "h5py__vlen_string_dset.h5": NO_FIELD,
    "nc4py__issue1152.nc": NO_FIELD,
    "nc4py__issue671.nc": f"{WHICH}: soil_moisture",
    "nc4py__ubyte.nc": NO_FIELD,
    "netcdfc__nctest_netcdf4_classic.nc": "has several horizontal dimensions, i2, i3",
    "netcdfc__ref_byte.zarr.zip": "",
    "netcdfc__ref_nctest_64bit_offset.nc": "has several horizontal dimensions, i2, i3",
    "netcdfc__ref_nctest_classic.nc": "has several horizontal dimensions, i2, i3",
    "netcdfc__ref_noshape.file.zip": "",
    "netcdfc__ref_test_360_day_1900.nc": NO_FIELD,
    "netcdfc__ref_test_365_day_1900.nc": NO_FIELD,
    "netcdfc__ref_test_366_day_1900.nc": NO_FIELD,
    "netcdfc__ref_test_corrupt_magic.nc": NO_FIELD,
    "netcdfc__ref_tst_dims.nc": NO_FIELD,
    "netcdfc__tdset.h5": f"{WHICH}: dset1",
}
"""What has no grid, or cannot be read, with what must be said."""

SETTLED = {
    "gdal__fake_EMIT_L2A_with_good_wavelengths.nc": {"y": "downtrack", "x": "crosstrack"},
    "gdal__fake_EMIT_L2B_MIN.nc": {"y": "downtrack", "x": "crosstrack"},
    "nc4py__issue671.nc": {"y": "numRows", "x": "numCells"},
    "gdal__dummy_HDFEOS_with_geo_projection.h5": {
        "group": "HDFEOS/GRIDS/test/Data Fields",
        "y": "phony_dim_0",
        "x": "phony_dim_1",
    },
}
"""What an argument settles."""


def opened(path: Path) -> xr.Dataset:
    """As xarray reads it, calendars aside."""
    if path.suffix == ".zip":
        return xr.open_dataset(ZipStore(path, mode="r"), engine="zarr", decode_times=False, consolidated=False)
    return xr.open_dataset(path, engine="netcdf4", decode_times=False)


@pytest.mark.skipif(not FILES, reason="no odd files beside the project")
@pytest.mark.parametrize("name", FILES)
def test_right_or_refused(name, tmp_path):
    """Refused in one line, or the numbers of the accessor, in NetCDF and in Zarr."""
    path = ODD / name
    before = state(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name in REFUSED:
            with pytest.raises(GeofsrcnnError) as caught:
                upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
            assert re.search(REFUSED[name], str(caught.value))
            assert "\n" not in str(caught.value)
            assert list(tmp_path.iterdir()) == []
        else:
            with opened(path) as coarse:
                expected = upscale_dataset(coarse.load(), 3, MODEL)
            for output, engine in (("fine.nc", "netcdf4"), ("fine.zarr", "zarr")):
                upscale_file(path, tmp_path / output, 3, MODEL)
                with xr.open_dataset(tmp_path / output, engine=engine, decode_times=False) as fine:
                    same_numbers(expected, fine)
    assert state(path) == before


def same_numbers(expected: xr.Dataset, fine: xr.Dataset) -> None:
    """The same variables; numbers to half a packing step."""
    assert set(expected.variables) == set(fine.variables)
    for name in expected.variables:
        a, b = expected[name], fine[name]
        assert a.shape == b.shape
        if a.dtype.kind not in "fiu" or not a.size:
            continue
        packing = packing_of(b)
        step = abs(packing.scale) if packing.dtype.kind in "iu" else 0.0
        x, y = a.to_numpy().astype("f8"), b.to_numpy().astype("f8")
        for values in (x, y):  # what the NetCDF library fills with; Zarr is told that it is missing
            values[np.abs(values) > 9e36] = np.nan
        assert np.array_equal(np.isnan(x), np.isnan(y))
        span = np.nanmax(x, initial=0) - np.nanmin(x, initial=0)
        assert np.nanmax(np.abs(x - y), initial=0) <= step * 0.501 + 1e-5 * span


@pytest.mark.skipif(not FILES, reason="no odd files beside the project")
@pytest.mark.parametrize("name", SETTLED)
def test_an_argument_settles_it(name, tmp_path):
    """What is ambiguous comes out once the dimensions or the group are named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = upscale_file(ODD / name, tmp_path / "fine.nc", 2, "bilinear", **SETTLED[name])
    assert summary.fine == tuple(2 * n for n in summary.coarse)


@pytest.mark.skipif(not FILES, reason="no odd files beside the project")
@pytest.mark.parametrize("name", ["cfgrib__reduced_gg.grib", "cfgrib__regular_gg_ml.grib", "xarray__example.grib"])
def test_grib(name, tmp_path):
    """GDAL's driver reads regular and Gaussian grids; a reduced one is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "reduced" in name:
            with pytest.raises(GeofsrcnnError, match=r"cannot open .* as GRIB"):
                upscale_file(ODD / name, tmp_path / "fine.zarr", 2, "bilinear", driver="GRIB")
            return
        summary = upscale_file(ODD / name, tmp_path / "fine.zarr", 2, "bilinear", driver="GRIB")
    with xr.open_dataset(tmp_path / "fine.zarr", engine="zarr") as fine:
        assert fine["band_data"].shape[-2:] == summary.fine
