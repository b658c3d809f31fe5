"""Totals of cells are divided among their parts in the same way by every entrance, stored as whole numbers or not."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, UsageError
from tests.support.grids import regular
from tests.support.rasters import terrain, write

PEOPLE = np.round(terrain((20, 26), low=50, high=30000)).astype("int32")


def raster(folder: Path, dtype: str = "int32") -> Path:
    """A GeoTIFF of people in cells, some of which are missing."""
    values = PEOPLE.astype(dtype)
    values[3:5, 4] = -1
    path = write(folder / "in.tif", values[None], nodata=-1)
    with rasterio.open(path, "r+") as d:
        d.descriptions, d.units = ("population count",), ("persons",)
    return path


def netcdf(folder: Path, dtype: str = "int32") -> Path:
    """A NetCDF of the same."""
    values = PEOPLE.astype(dtype)
    values[3:5, 4] = -1
    dataset = regular(rows=20, columns=26).drop_vars("tas")
    attrs = {"long_name": "population count", "units": "persons", "_FillValue": values.dtype.type(-1)}
    dataset["people"] = (("lat", "lon"), values, attrs)
    dataset.to_netcdf(folder / "in.nc")
    return folder / "in.nc"


def fine_file(folder: Path, source: Path, suffix: str, model: str, **options: object) -> xr.DataArray:
    """The finer total out of a file, as it is stored."""
    target = upscale_file(source, folder / f"out{suffix}", 3, model, **options).output
    if suffix == ".tif":
        with rasterio.open(target) as d:
            return xr.DataArray(d.read(1), attrs={"_FillValue": d.nodata})
    opened = xr.open_zarr if suffix == ".zarr" else xr.open_dataset
    with opened(target, mask_and_scale=False) as dataset:
        return dataset["band_data" if source.suffix == ".tif" else "people"].load()


def fine_dataset(source: Path, model: str, **how: object) -> xr.DataArray:
    """The finer total of a dataset in memory, or of chunks."""
    with xr.open_dataset(source, **how) as dataset:
        return upscale_dataset(dataset, 3, model)["people"].load()


ENTRANCES = {
    "tif to tif": lambda folder, model, dtype: fine_file(folder, raster(folder, dtype), ".tif", model),
    "tif to nc": lambda folder, model, dtype: fine_file(folder, raster(folder, dtype), ".nc", model),
    "tif to zarr": lambda folder, model, dtype: fine_file(folder, raster(folder, dtype), ".zarr", model),
    "nc to nc": lambda folder, model, dtype: fine_file(folder, netcdf(folder, dtype), ".nc", model),
    "nc to tif": lambda folder, model, dtype: fine_file(folder, netcdf(folder, dtype), ".tif", model),
    "undecoded": lambda folder, model, dtype: fine_dataset(netcdf(folder, dtype), model, mask_and_scale=False),
    "decoded": lambda folder, model, dtype: fine_dataset(netcdf(folder, dtype), model),
    "dask": lambda folder, model, dtype: fine_dataset(netcdf(folder, dtype), model, chunks={"lat": 10}),
}


def run(way: str, folder: Path, model: str, dtype: str) -> tuple[xr.DataArray, set[str]]:
    """The finer total by an entrance, NaN where it is missing, and the codes of what was said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fine = ENTRANCES[way](folder, model, dtype)
    said = {each.message.code for each in caught if isinstance(each.message, GeofsrcnnWarning)}
    return fine.where(fine != fine.attrs.get("_FillValue", np.nan)), said & {"W-TOTAL", "W-PARTS"}


@pytest.mark.parametrize("model", ["small", "nearest"])
@pytest.mark.parametrize("way", ENTRANCES)
def test_whole_totals_become_floats_and_keep_their_sums(tmp_path, way, model):
    """A ninth of 50 people is 5.56 of them: nothing is rounded, by no entrance, and a warning says the type."""
    fine, said = run(way, tmp_path, model, "int32")
    assert fine.dtype == np.float64
    assert said == {"W-TOTAL", "W-PARTS"}
    sums = fine.to_numpy().reshape(20, 3, 26, 3).sum((1, 3))
    missing = np.zeros(PEOPLE.shape, bool)
    missing[3:5, 4] = True
    np.testing.assert_array_equal(np.isnan(sums), missing)
    np.testing.assert_allclose(sums[~missing], PEOPLE[~missing], rtol=1e-6)


@pytest.mark.parametrize("way", ENTRANCES)
def test_totals_in_floats_keep_their_type(tmp_path, way):
    """Nothing changes but the size of the numbers, so that nothing is said of a type."""
    fine, said = run(way, tmp_path, "small", "float32")
    assert fine.dtype == np.float32
    assert said == {"W-TOTAL"}


@pytest.mark.parametrize("asked", ["float32", "float64"])
@pytest.mark.parametrize("make", [raster, netcdf])
@pytest.mark.parametrize("suffix", [".tif", ".nc"])
def test_a_type_that_was_asked_for_is_taken(tmp_path, make, suffix, asked):
    """Without a word on types: they are as wanted."""
    with pytest.warns(GeofsrcnnWarning) as caught:
        fine = fine_file(tmp_path, make(tmp_path), suffix, "small", dtype=asked)
    assert fine.dtype == asked
    assert not [each for each in caught if each.message.code == "W-PARTS"]


def test_whole_numbers_that_are_asked_for_are_refused(tmp_path):
    """Sums would not stay, whatever the input's type is."""
    for dtype in ("int32", "float32"):
        with pytest.raises(UsageError, match=r"band 1 of in.tif holds totals .*no whole numbers: .*float64"):
            upscale_file(raster(tmp_path, dtype), tmp_path / "out.tif", 3, "small", dtype="int16")


@pytest.mark.filterwarnings("ignore:W-TOTAL")
def test_a_packed_total_of_a_raster_keeps_its_sums(tmp_path):
    """The packing of a total stays in the tags, its numbers become floats."""
    path = raster(tmp_path)
    with rasterio.open(path, "r+") as d:
        d.scales, d.offsets = (10.0,), (7.0,)
    with pytest.warns(GeofsrcnnWarning, match="W-PARTS"):
        upscale_file(path, tmp_path / "out.tif", 3, "small")
    with rasterio.open(tmp_path / "out.tif") as d:
        fine = np.where(d.read_masks(1) > 0, d.read(1) * d.scales[0] + d.offsets[0], np.nan)
    sums = fine.reshape(20, 3, 26, 3).sum((1, 3))
    assert np.nanmax(np.abs(sums / (PEOPLE * 10.0 + 7) - 1)) < 1e-6


def test_missing_totals_in_memory_are_nan():
    """Of floats that state no mark; not what libraries fill with, which is a large number."""
    values = np.arange(1.0, 101).reshape(10, 10)
    values[4, 5] = np.nan
    coarse = xr.Dataset({"n": (("y", "x"), values, {"units": "1"})})
    fine = coarse.fsrcnn.upscale(3, "small", kinds={"n": "total"})
    assert np.isnan(fine.n[12:15, 15:18]).all()
    assert int(np.isnan(fine.n).sum()) == 9
