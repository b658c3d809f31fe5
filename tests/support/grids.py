"""Datasets for tests: small fields on grids of all kinds, as users have them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from tests.support.rasters import terrain

GAUSSIAN = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0]))[::-1]
"""32 Gaussian latitudes, north first."""


def regular(
    *,
    rows: int = 24,
    columns: int = 30,
    times: int = 2,
    falling: bool = True,
    west: float = -10.0,
    dtype: str = "float32",
) -> xr.Dataset:
    """Temperature on latitude and longitude with bounds, and a time axis."""
    latitude = 40 + 0.5 * np.arange(rows)
    longitude = west + 0.5 * np.arange(columns)
    latitude = latitude[::-1] if falling else latitude
    field = terrain((times, rows, columns), seed=rows, low=250, high=300).astype(dtype)
    return xr.Dataset(
        {
            "tas": (
                ("time", "lat", "lon"),
                field,
                {
                    "units": "K",
                    "standard_name": "air_temperature",
                    "long_name": "temperature",
                    "cell_methods": "area: time: mean",
                },
            ),
            "lat_bnds": (("lat", "bnds"), latitude[:, None] + np.array([-0.25, 0.25])),
            "lon_bnds": (("lon", "bnds"), longitude[:, None] + np.array([-0.25, 0.25])),
            "height": ((), 2.0, {"units": "m"}),
        },
        {
            "time": ("time", np.arange(times) * 1.5, {"units": "days since 2000-01-01", "calendar": "360_day"}),
            "lat": ("lat", latitude, {"units": "degrees_north", "standard_name": "latitude", "bounds": "lat_bnds"}),
            "lon": ("lon", longitude, {"units": "degrees_east", "standard_name": "longitude", "bounds": "lon_bnds"}),
        },
        {"title": "made up", "history": "made", "Conventions": "CF-1.11"},
    )


def globe(*, rows: int = 32, columns: int = 64, repeat: int = 0, latitude: np.ndarray | None = None) -> xr.Dataset:
    """A smooth field on the whole globe, from longitude 0 eastward, last columns repeating the first on request."""
    latitude = 90 - 180 * (np.arange(rows) + 0.5) / rows if latitude is None else latitude
    field = terrain((len(latitude), columns), seed=3)
    field += field[:, ::-1]  # no jump at longitude 0
    index = np.arange(columns + repeat)
    return xr.Dataset(
        {"z": (("lat", "lon"), field[:, index % columns])},
        {
            "lat": ("lat", latitude, {"units": "degrees_north"}),
            "lon": ("lon", 360 / columns * index, {"units": "degrees_east"}),
        },
    )


def projected(*, rows: int = 20, columns: int = 26) -> xr.Dataset:
    """UTM with a grid mapping as rioxarray writes it, GeoTransform included."""
    from pyproj import CRS

    x, y = 500_015.0 + 30 * np.arange(columns), 6_000_000.0 - 15 - 30 * np.arange(rows)
    wkt = CRS.from_epsg(32633).to_wkt()
    return xr.Dataset(
        {"dem": (("y", "x"), terrain((rows, columns), high=800), {"units": "m", "grid_mapping": "spatial_ref"})},
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


def curvilinear(*, rows: int = 18, columns: int = 40, vertices: bool = True) -> xr.Dataset:
    """An ocean field on latitudes and longitudes of two dimensions, with cell numbers along i and j, and areas."""
    i, j = np.meshgrid(np.arange(columns), np.arange(rows))
    latitude, longitude = -40 + 2.0 * j + 0.05 * i, 5 + 3.0 * i - 0.1 * j
    around = [(-0.5, -0.5), (-0.5, 0.5), (0.5, 0.5), (0.5, -0.5)]
    dataset = xr.Dataset(
        {
            "tos": (
                ("j", "i"),
                terrain((rows, columns), high=30),
                {"units": "degC", "cell_measures": "area: areacello", "standard_name": "sea_surface_temperature"},
            ),
            "areacello": (("j", "i"), 1e9 + terrain((rows, columns)), {"units": "m2", "standard_name": "cell_area"}),
        },
        {
            "i": ("i", np.arange(columns), {"units": "1", "long_name": "cell index along first dimension"}),
            "j": ("j", np.arange(rows), {"units": "1", "long_name": "cell index along second dimension"}),
            "latitude": (("j", "i"), latitude, {"units": "degrees_north", "standard_name": "latitude"}),
            "longitude": (("j", "i"), longitude, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )
    if vertices:
        for name, base, dj, di in (("latitude", latitude, 2.0, 0.05), ("longitude", longitude, -0.1, 3.0)):
            corners = np.stack([base + a * dj + b * di for a, b in around], axis=-1)
            dataset[f"vertices_{name}"] = (("j", "i", "vertices"), corners)
            dataset[name].attrs["bounds"] = f"vertices_{name}"
    return dataset
