"""Datasets for batch runs, and whether two outputs are equal."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from tests.support.rasters import digest, terrain

PLAIN = {"model": "bilinear", "tile_size": 16}
"""Options of a quick run."""


def dataset(path: Path, shape: tuple[int, ...] = (7, 20, 30)) -> Path:
    """Temperature on latitudes and longitudes; to NetCDF or Zarr."""
    times, rows, columns = shape
    field = xr.DataArray(
        terrain(shape, low=250, high=300).astype("float32"),
        dims=("time", "lat", "lon"),
        coords={"time": np.arange(times), "lat": np.arange(rows) * 0.5, "lon": np.arange(columns) * 0.5},
        attrs={"units": "K", "standard_name": "air_temperature"},
    )
    field.lat.attrs = {"units": "degrees_north", "standard_name": "latitude"}
    field.lon.attrs = {"units": "degrees_east", "standard_name": "longitude"}
    whole = field.to_dataset(name="tas")
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            whole.chunk(time=2).to_zarr(path)
    else:
        whole.to_netcdf(path, engine="netcdf4")
    return path


def same(one: Path, other: Path) -> bool:
    """Whether two outputs are equal: to the byte where they are GeoTIFF, else in all but the time in the history."""
    if one.suffix == ".tif":
        return digest(one) == digest(other)
    engine = "zarr" if one.is_dir() else "netcdf4"
    with (
        xr.open_dataset(one, engine=engine, decode_cf=False) as a,
        xr.open_dataset(other, engine=engine, decode_cf=False) as b,
    ):
        a.attrs.pop("history"), b.attrs.pop("history")
        return bool(a.identical(b))
