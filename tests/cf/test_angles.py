"""Latitudes and longitudes in grads or radians, which are not degrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.cf.grid import find_grid
from geofsrcnn.errors import InputError
from geofsrcnn.pairs.frames import frame_of
from tests.support.rasters import terrain

PARIS = "EPSG:4807"
"""NTF (Paris), in grads."""


def globe(unit: str, turn: float) -> xr.Dataset:
    """A field on the whole globe, with so many units around it."""
    rows, columns = 60, 120
    y = (np.arange(rows) + 0.5) * turn / 2 / rows - turn / 4
    x = np.arange(columns) * turn / columns
    return xr.Dataset(
        {"t": (("lat", "lon"), terrain((rows, columns)), {"units": "K"})},
        coords={
            "lat": ("lat", y, {"units": unit, "standard_name": "latitude"}),
            "lon": ("lon", x, {"units": unit, "standard_name": "longitude"}),
        },
    )


@pytest.mark.parametrize(
    ("unit", "turn"), [("gon", 400), ("grad", 400), ("grads", 400), ("grade", 400), ("radian", 2 * np.pi)]
)
def test_no_pole_lies_at_90_grads(unit, turn):
    """Finer coordinates are evenly spaced in their unit, up to the poles."""
    fine = upscale_dataset(globe(unit, turn), 2, "bilinear")
    step = turn / 240
    assert np.allclose(fine.lat, (np.arange(120) + 0.5) * step - turn / 4)
    assert np.allclose(fine.lon, (np.arange(240) - 0.5) * step)
    assert fine.lat.attrs["units"] == unit


def test_places_on_the_globe_are_not_computed_of_grads():
    """Pairs of fields meet by their latitudes, curvilinear grids lie by them: both refuse what is not degrees."""
    dataset = globe("gon", 400)
    with pytest.raises(InputError, match="lat counts in gon: give latitudes and longitudes in degrees"):
        frame_of(dataset, find_grid(dataset))
    curvilinear = dataset.rename(lat="y", lon="x").drop_vars(["y", "x"])
    grids = np.meshgrid(dataset.lat, dataset.lon, indexing="ij")
    for name, values, like in zip(("lat2", "lon2"), grids, ("lat", "lon"), strict=True):
        curvilinear[name] = ("y", "x"), values, dataset[like].attrs
    with pytest.raises(InputError, match="lat2 counts in gon"):
        find_grid(curvilinear)


def test_a_geotiff_in_grads_stays_where_it_is(tmp_path: Path):
    """By way of NetCDF, whose units the CRS has too."""
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 1, "dtype": "float32", "crs": PARIS}
    with rasterio.open(tmp_path / "a.tif", "w", transform=from_origin(0, 54, 0.1, 0.1), **profile) as dataset:
        dataset.write(terrain((30, 40)).astype("float32"), 1)
    upscale_file(tmp_path / "a.tif", tmp_path / "b.nc", 2, "bilinear")
    upscale_file(tmp_path / "b.nc", tmp_path / "c.tif", 2, "bilinear")
    with rasterio.open(tmp_path / "c.tif") as dataset:
        assert dataset.crs == PARIS
        assert dataset.transform.almost_equals(from_origin(0, 54, 0.025, 0.025), 1e-9)
