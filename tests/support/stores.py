"""Datasets as files, packed or not, and whether two are the same."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import xarray as xr

from geofsrcnn import load_checkpoint
from tests.support.grids import curvilinear, globe, projected, regular

MODEL = load_checkpoint("small", 3)
PACKING = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 270.0, "_FillValue": np.int16(-32768)}


def packed() -> xr.Dataset:
    """A field that is stored as integers, with holes."""
    dataset = regular(times=5)
    dataset["tas"][1, 4:7, 20:] = np.nan
    dataset["tas"].encoding = dict(PACKING)
    return dataset


GRIDS = {
    "packed": packed,
    "projected": projected,
    "globe": globe,
    "repeated column": lambda: globe(repeat=1),
    "curvilinear": curvilinear,
}


def stored(dataset: xr.Dataset, path: Path, version: int = 3) -> Path:
    """Written by xarray."""
    if path.suffix == ".zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset.to_zarr(path, zarr_format=version)
    else:
        dataset.to_netcdf(path, engine="netcdf4")
    return path


def reopened(path: Path, **options: object) -> xr.Dataset:
    """Read by xarray, in memory."""
    with xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "netcdf4", **options) as dataset:
        return dataset.load()


def close(a: xr.Dataset, b: xr.Dataset, step: float = 0.0) -> None:
    """The same variables, types, attributes and values, to half a packing step."""
    assert set(a.variables) == set(b.variables)
    assert set(a.coords) == set(b.coords)
    for name in map(str, a.variables):
        x, y = a[name], b[name]
        assert x.dims == y.dims
        assert x.dtype == y.dtype
        assert {k: v for k, v in x.attrs.items() if k != "coordinates"}.keys() == y.attrs.keys()
        if x.dtype.kind != "f":
            assert np.array_equal(x, y)
            continue
        assert np.array_equal(np.isnan(x), np.isnan(y))
        span = float(x.max() - x.min()) if x.size else 0.0
        assert np.allclose(x, y, rtol=0, atol=step / 2 * 1.001 + 1e-5 * span, equal_nan=True)
