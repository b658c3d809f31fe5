"""The files that the pages name, small and real where that is cheap: made once, copied for each page."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from matplotlib import cbook
from rasterio.crs import CRS
from rasterio.shutil import copy
from rasterio.transform import from_origin

from geofsrcnn.values.blocks import block_mean


def lay_out(folder: Path) -> None:
    """Write all of them."""
    dem = read_dem()
    rng = np.random.default_rng(0)
    _raster(folder / "in.tif", block_mean(dem[:288, :240], 4), west=490_000)
    _raster(folder / "grid.tif", np.zeros((90, 110), np.uint8), west=492_300, cell=450)
    _raster(folder / "dem.tif", dem[:132, :138], west=600_000)
    for number in (1, 2):
        _raster(folder / f"fine{number}.tif", dem[:150, 150 * number - 150 :][:, :150], west=1000_000 * number)
    classes = rng.integers(1, 5, size=(10, 12)).repeat(4, 0).repeat(4, 1).astype("uint8")
    _raster(folder / "classes.tif", classes, description="land cover class")
    _raster(folder / "rain.tif", np.maximum(rng.normal(size=(40, 50)), 0).astype("float32"), description="rain")
    image = np.stack([block_mean(dem, 2) / scale for scale in (4, 5, 6, 7)]).astype("uint8")
    _raster(folder / "image.tif", image)
    _raster(folder / "rgb_10m.tif", np.stack([dem[:120, :160] / scale for scale in (3, 4, 5)]))
    _raster(folder / "nir_20m.tif", block_mean(dem[:120, :160], 2).astype("float32"), cell=2000)
    with rasterio.open(folder / "in.tif") as raster:
        copy(raster, folder / "mosaic.vrt", driver="VRT")
    with zipfile.ZipFile(folder / "dem.zip", "w") as archive:
        archive.write(folder / "in.tif", "dem.tif")
    climate(folder, dem[:120, :160].astype("float32"))
    era5().to_netcdf(folder / "era5.nc")
    _fields({"wd": {"units": "degree", "long_name": "wind"}}, low=0, high=90).to_netcdf(folder / "wind.nc")
    land = _fields({"LULC": {}, "rr": {}}, low=1, high=9)
    land.assign(LULC=land["LULC"].astype("int16")).to_netcdf(folder / "land.nc")
    _fields({"tas": {"units": "K", "standard_name": "air_temperature"}}).chunk({"time": 1}).to_zarr(
        folder / "cmip.zarr", zarr_format=2
    )
    scenes = folder / "scenes"
    scenes.mkdir()
    for name, part in (("a.tif", slice(0, 100)), ("b.tif", slice(100, 200))):
        _raster(scenes / name, block_mean(dem[part, :120], 4))
    era5().to_netcdf(scenes / "c.nc")
    (folder / "more.txt").write_text("# one name a line\nscenes/c.nc\n")
    pairs(folder)


def read_dem() -> np.ndarray:
    """Matplotlib's Jacksboro Fault, in metres."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        return data["elevation"].astype("float32")


def era5() -> xr.Dataset:
    """Temperature and rain, two times."""
    dataset = _fields(
        {
            "t2m": {"units": "K", "standard_name": "air_temperature", "long_name": "2 metre temperature"},
            "tp": {"units": "m", "long_name": "Total precipitation"},
        }
    )
    return dataset.assign(tp=np.maximum(dataset["tp"] - 280, 0).assign_attrs(dataset["tp"].attrs))


def climate(folder: Path, height: np.ndarray) -> None:
    """Temperature that falls with elevation, three times, and the elevation, twice as fine."""
    rows, columns = height.shape
    lat, lon = 47 - 0.01 * np.arange(rows), 8 + 0.01 * np.arange(columns)
    time = np.datetime64("2000-01-01") + np.arange(3).astype("m8[D]")
    warm = 285 + time.astype("i8")[:, None, None] % 7 + np.sin(lon / 0.3) - 0.0065 * height
    xr.Dataset({"elevation": (("lat", "lon"), height, {"units": "m"})}, _places(lat, lon)).to_netcdf(folder / "dem.nc")
    coarse = [axis.reshape(-1, 2).mean(1) for axis in (lat, lon)]
    _dataset({"tas": (block_mean(warm, 2), {"units": "K"})}, *coarse, time).to_netcdf(folder / "temperature.nc")


def pairs(folder: Path) -> None:
    """Fine temperature and rain, coarse fields on a wider grid, and elevation: sixty days around 2010-01-01."""
    height = block_mean(read_dem()[:320, :400], 16) / 1000
    rows, columns = height.shape
    lat, lon = 50 - 0.25 * np.arange(rows), 5 + 0.25 * np.arange(columns)
    wide_lat, wide_lon = 50.5 - np.arange(7.0), 4 + np.arange(9.0)
    time = np.datetime64("2009-12-01") + np.arange(60).astype("m8[D]")
    waves = np.random.default_rng(5).normal(size=(60, 3)).cumsum(0)

    def field(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
        return waves[:, :1, None] + waves[:, 1:2, None] * (lat[:, None] - 48) / 3 + waves[:, 2:, None] * (lon - 8) / 4

    fine, coarse = field(lat, lon), field(wide_lat, wide_lon)
    kelvin, rain = {"units": "K"}, {"units": "mm/day"}
    _dataset({"tg": (fine - 6 * height + 280, kelvin), "rr": (np.maximum(fine, 0), rain)}, lat, lon, time).to_netcdf(
        folder / "observed.nc"
    )
    _dataset({"tas": (coarse + 280, kelvin), "pr": (np.maximum(coarse, 0), rain)}, wide_lat, wide_lon, time).to_netcdf(
        folder / "era_surface.nc"
    )
    _dataset({"psl": (coarse * 10 + 101325, {"units": "Pa"})}, wide_lat, wide_lon, time).to_netcdf(
        folder / "era_levels.nc"
    )
    degrees = _places(lat, lon)
    xr.Dataset({"z": (("lat", "lon"), height, {"units": "km"})}, degrees).to_netcdf(folder / "elevation.nc")


def _raster(path: Path, values: np.ndarray, west: float = 0, description: str = "", cell: float = 1000) -> None:
    bands = np.asarray(values)[None] if np.ndim(values) == 2 else np.asarray(values)
    shape = dict(zip(("count", "height", "width"), bands.shape, strict=True))
    place = {"crs": CRS.from_epsg(32632), "transform": from_origin(west, 5_140_000, cell, cell)}
    with rasterio.open(path, "w", driver="GTiff", dtype=bands.dtype, **shape, **place) as raster:
        raster.write(bands)
        if description:
            raster.set_band_description(1, description)


def _fields(variables: dict[str, dict[str, str]], *, low: float = 270, high: float = 290) -> xr.Dataset:
    rng = np.random.default_rng(1)
    time = np.datetime64("2000-01-01") + np.arange(2).astype("m8[D]")
    lat, lon = 50 - 0.25 * np.arange(24), 5 + 0.25 * np.arange(30)
    return _dataset({n: (rng.uniform(low, high, (2, 24, 30)), a) for n, a in variables.items()}, lat, lon, time)


def _dataset(
    variables: dict[str, tuple[np.ndarray, dict[str, str]]], lat: np.ndarray, lon: np.ndarray, time: np.ndarray
) -> xr.Dataset:
    fields = {n: (("time", "lat", "lon"), v.astype("float32"), a) for n, (v, a) in variables.items()}
    return xr.Dataset(fields, {"time": time.astype("M8[ns]"), **_places(lat, lon)})


def _places(lat: np.ndarray, lon: np.ndarray) -> dict[str, Any]:
    return {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
