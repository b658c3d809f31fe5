"""Small rasters and datasets of all kinds, made by formula."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from pyproj import CRS

UTM: dict[str, Any] = {"crs": "EPSG:32633", "transform": Affine(30.0, 0.0, 500_000.0, 0.0, -30.0, 6_000_000.0)}
NOWHERE: dict[str, Any] = {"crs": None, "transform": None}

GAUSSIAN = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(24)[0]))[::-1]
"""24 Gaussian latitudes, north first."""

LATITUDE = {"units": "degrees_north", "standard_name": "latitude"}
LONGITUDE = {"units": "degrees_east", "standard_name": "longitude"}


def terrain(
    rows: int = 26, columns: int = 33, *, seed: int = 0, low: float = 0.0, high: float = 1.0, around: bool = False
) -> np.ndarray:
    """Waves of several lengths and a little noise, from `low` to `high`; going around the globe on request."""
    y, x = np.mgrid[:rows, :columns].astype("float64")
    turn = 2 * np.pi / columns if around else 0.37
    field = np.zeros((rows, columns))
    for number in range(1, 6):
        phase = 1.7 * number + 0.61 * seed
        field += np.sin(number * turn * x + phase + np.sin(0.21 * number * y + phase)) / number
        field += np.cos(0.29 * number * y - phase) / number
    field += 0.1 * np.random.default_rng(seed).normal(size=field.shape)
    field -= field.min()
    return low + (high - low) * field / field.max()


def layers(count: int, rows: int = 26, columns: int = 33, **options: Any) -> np.ndarray:
    """Several of them."""
    return np.stack([terrain(rows, columns, seed=seed, **options) for seed in range(count)])


# ----------------------------------------------------------------------------------------------------------- rasters


def tif(path: Path, array: np.ndarray, *, said: dict[str, Any] | None = None, **profile: Any) -> Path:
    """A raster of an array ``(y, x)`` or ``(band, y, x)``.

    `said` are attributes of the opened file, such as scales, besides ``mask``, ``tags``, ``band_tags``, ``colours``.
    """
    bands = array if array.ndim == 3 else array[None]
    count, rows, columns = bands.shape
    options = {"driver": "GTiff", **UTM, "count": count, "height": rows, "width": columns, "dtype": bands.dtype.name}
    options = {key: value for key, value in {**options, **profile}.items() if value is not None}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES", GDAL_PAM_ENABLED="NO"),
        rasterio.open(path, "w", **options) as file,
    ):
        for key, value in (said or {}).items():
            if key == "mask":
                file.write_mask(value)
            elif key == "tags":
                file.update_tags(**value)
            elif key == "band_tags":
                file.update_tags(1, **value)
            elif key == "colours":
                file.write_colormap(1, value)
            else:
                setattr(file, key, value)
        file.write(bands)
    return path


# ---------------------------------------------------------------------------------------------------------- datasets


def regular(*, rows: int = 24, columns: int = 30, times: int = 2, dtype: str = "float32") -> xr.Dataset:
    """Temperature and rain on latitude and longitude with bounds, a time axis, and a scalar."""
    latitude = (40 + 0.5 * np.arange(rows))[::-1]
    longitude = -10 + 0.5 * np.arange(columns)
    tas = layers(times, rows, columns, low=250, high=300).astype(dtype)
    rain = np.maximum(layers(times, rows, columns, low=-1e-4, high=1e-4), 0).astype(dtype)
    dims = ("time", "lat", "lon")
    about = {"units": "K", "standard_name": "air_temperature", "cell_methods": "area: time: mean"}
    rained = {"units": "kg m-2 s-1", "standard_name": "precipitation_flux", "cell_methods": "time: mean"}
    return xr.Dataset(
        {
            "tas": (dims, tas, about),
            "pr": (dims, rain, rained),
            "lat_bnds": (("lat", "bnds"), latitude[:, None] + np.array([-0.25, 0.25])),
            "lon_bnds": (("lon", "bnds"), longitude[:, None] + np.array([-0.25, 0.25])),
            "height": ((), 2.0, {"units": "m"}),
        },
        {
            "time": ("time", np.arange(times) * 1.5, {"units": "days since 2000-01-01", "calendar": "360_day"}),
            "lat": ("lat", latitude, {**LATITUDE, "bounds": "lat_bnds"}),
            "lon": ("lon", longitude, {**LONGITUDE, "bounds": "lon_bnds"}),
        },
        {"title": "made up", "history": "made", "Conventions": "CF-1.11"},
    )


def holed(dataset: xr.Dataset) -> xr.Dataset:
    """Some cells of the temperature missing."""
    dataset["tas"][0, 3:6, 7] = np.nan
    dataset["tas"][:, 15, 20:24] = np.nan
    return dataset


def projected(*, rows: int = 20, columns: int = 26) -> xr.Dataset:
    """A DEM, a land cover and a count of people in UTM, with a grid mapping as rioxarray writes it."""
    x, y = 500_015.0 + 30 * np.arange(columns), 6_000_000.0 - 15 - 30 * np.arange(rows)
    wkt = CRS.from_epsg(32633).to_wkt()
    mapping = {"grid_mapping": "spatial_ref"}
    cover = np.round(terrain(rows, columns, seed=4) * 4).astype("uint8")
    people = np.round(terrain(rows, columns, seed=5) * 1000).astype("int32")
    flags = {"flag_values": np.arange(5, dtype="uint8"), "flag_meanings": "a b c d e", **mapping}
    return xr.Dataset(
        {
            "dem": (("y", "x"), terrain(rows, columns, high=800), {"units": "m", **mapping}),
            "cover": (("y", "x"), cover, flags),
            "people": (("y", "x"), people, {"cell_methods": "area: sum", "units": "1", **mapping}),
        },
        {
            "x": ("x", x, {"units": "m", "standard_name": "projection_x_coordinate", "axis": "X"}),
            "y": ("y", y, {"units": "m", "standard_name": "projection_y_coordinate", "axis": "Y"}),
            "spatial_ref": (
                (),
                0,
                {"crs_wkt": wkt, "spatial_ref": wkt, "GeoTransform": "500000.0 30.0 0.0 6000000.0 0.0 -30.0"},
            ),
        },
    )


def globe(*, rows: int = 24, columns: int = 48, repeat: int = 0, latitude: np.ndarray | None = None) -> xr.Dataset:
    """A field all around the globe; with its last columns repeating the first, or on other latitudes, on request."""
    bounds: dict[str, Any] = {}
    if latitude is None:
        latitude = 90 - 180 * (np.arange(rows) + 0.5) / rows
    else:
        edges = np.concatenate([[90.0], (latitude[1:] + latitude[:-1]) / 2, [-90.0]])
        bounds = {"lat_bnds": (("lat", "bnds"), np.stack([edges[:-1], edges[1:]], axis=1))}
    index = np.arange(columns + repeat)
    field = terrain(len(latitude), columns, seed=3, high=50, around=True)[:, index % columns]
    return xr.Dataset(
        {"z": (("lat", "lon"), field, {"units": "m"}), **bounds},
        {
            "lat": ("lat", latitude, {**LATITUDE, **({"bounds": "lat_bnds"} if bounds else {})}),
            "lon": ("lon", 360 / columns * index, LONGITUDE),
        },
    )


def curvilinear(*, rows: int = 18, columns: int = 30) -> xr.Dataset:
    """An ocean field on latitudes and longitudes of two dimensions with vertices, and areas of cells."""
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))
    latitude, longitude = -40 + 2.0 * j + 0.05 * i, 5 + 3.0 * i - 0.1 * j
    around = [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]
    sea = {"units": "degC", "cell_measures": "area: areacello", "standard_name": "sea_surface_temperature"}
    dataset = xr.Dataset(
        {
            "tos": (("j", "i"), terrain(rows, columns, high=30), sea),
            "areacello": (("j", "i"), 1e9 + terrain(rows, columns), {"units": "m2", "standard_name": "cell_area"}),
        },
        {
            "i": ("i", np.arange(columns), {"units": "1", "long_name": "cell index along first dimension"}),
            "j": ("j", np.arange(rows), {"units": "1", "long_name": "cell index along second dimension"}),
            "latitude": (("j", "i"), latitude, {**LATITUDE, "bounds": "vertices_latitude"}),
            "longitude": (("j", "i"), longitude, {**LONGITUDE, "bounds": "vertices_longitude"}),
        },
    )
    for name, base, dj, di in (("latitude", latitude, 2.0, 0.05), ("longitude", longitude, -0.1, 3.0)):
        corners = np.stack([base + a * dj + b * di for a, b in around], axis=-1)
        dataset[f"vertices_{name}"] = (("j", "i", "vertices"), corners)
    return dataset


def netcdf(path: Path, dataset: xr.Dataset, **options: Any) -> Path:
    """A dataset as NetCDF."""
    dataset.to_netcdf(path, **options)
    return path


def zarred(path: Path, dataset: xr.Dataset, *, version: int = 3, **options: Any) -> Path:
    """A dataset as Zarr."""
    dataset.to_zarr(path, zarr_format=version, consolidated=version == 2, **options)
    return path


def stored_bytes(path: Path) -> Path:
    """Unsigned bytes in a signed type, with a fill value, a second mark, and a scale: written as they are."""
    field = np.clip(np.rint(terrain(20, 26) * 255), 0, 254).astype("uint8")
    field[3, 4], field[9, 9] = 255, 7
    with netCDF4.Dataset(path, "w") as file:
        for dim, size in (("y", 20), ("x", 26)):
            file.createDimension(dim, size)
            axis = file.createVariable(dim, "f8", (dim,))
            axis[:] = np.arange(size)
            axis.axis = dim.upper()
        variable = file.createVariable("dn", "i1", ("y", "x"), fill_value=np.int8(-1))
        variable.set_auto_maskandscale(False)
        variable.setncatts({"_Unsigned": "true", "missing_value": np.int8(7), "scale_factor": 0.5})
        variable[:] = field.view("int8")
    return path


def pairs(folder: Path, *, times: int = 90, rows: int = 20, columns: int = 29) -> dict[str, Path]:
    """Coarse and fine temperature: a smooth field and a lapse rate times elevation, and the elevation."""
    rng = np.random.default_rng(5)
    height = terrain(rows, columns, seed=8)
    y, x = 50 - 0.25 * np.arange(rows), 5 + 0.25 * np.arange(columns)
    cy, cx = 50.5 - 1.0 * np.arange(7), 4.0 + 1.0 * np.arange(10)
    waves = rng.normal(size=(times, 3)).cumsum(0) * 0.2

    def smooth(north: np.ndarray, east: np.ndarray) -> np.ndarray:
        level, up, right = (waves[:, k, None, None] for k in range(3))
        return 10 + level + up * (north[:, None] - 48) / 3 + right * (east - 8) / 4

    fine = smooth(y, x) - 6.5 * height
    fine[:, 2, 3] = np.nan
    time = (np.datetime64("2000-01-01T12") + np.arange(times).astype("m8[D]")).astype("M8[ns]")
    about = {"units": "degC", "standard_name": "air_temperature"}
    dims = ("time", "lat", "lon")
    on_coarse = {"lat": ("lat", cy, LATITUDE), "lon": ("lon", cx, LONGITUDE)}
    on_fine = {"lat": ("lat", y, LATITUDE), "lon": ("lon", x, LONGITUDE)}
    return {
        "coarse": netcdf(
            folder / "coarse.nc", xr.Dataset({"t": (dims, smooth(cy, cx), about)}, {"time": time, **on_coarse})
        ),
        "fine": netcdf(folder / "fine.nc", xr.Dataset({"tas": (dims, fine, about)}, {"time": time, **on_fine})),
        "height": netcdf(folder / "height.nc", xr.Dataset({"z": (("lat", "lon"), height)}, on_fine)),
    }
