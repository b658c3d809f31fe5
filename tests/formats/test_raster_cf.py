"""Fields of datasets as bands of rasters."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn import upscale_file


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ("days since 2000-01-01", ["2000-01-02T00:00:00", "2000-01-03T00:00:00"]),
        ("months since 2000-01-01", ["2000-02-01T00:00:00", "2000-03-01T00:00:00"]),
        ("years since 2000-01-01", ["2001-01-01T00:00:00", "2002-01-01T00:00:00"]),
        ("hours", ["1 hours", "2 hours"]),
        ("months since nobody knows", ["1 months since nobody knows", "2 months since nobody knows"]),
    ],
)
def test_bands_are_labelled_by_their_dates(tmp_path, units, words):
    """In whatever units times count; by the numbers that stand there where these are none."""
    degrees = {"units": "degrees_north"}, {"units": "degrees_east"}
    dataset = xr.Dataset(
        {"tas": (("time", "lat", "lon"), np.random.default_rng(0).random((2, 8, 9)).astype("f4"), {"units": "K"})},
        {
            "time": ("time", np.array([1, 2], "i4"), {"units": units}),
            "lat": ("lat", 50 - np.arange(8.0), degrees[0]),
            "lon": ("lon", np.arange(9.0), degrees[1]),
        },
    )
    dataset.to_netcdf(tmp_path / "a.nc")
    with pytest.warns(match="W-DATUM"):
        upscale_file(tmp_path / "a.nc", tmp_path / "a.tif", 2, "bilinear")
    with rasterio.open(tmp_path / "a.tif") as made:
        assert [text.removeprefix("tas, ").removeprefix("time ") for text in made.descriptions] == words
