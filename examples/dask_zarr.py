"""Dask and Zarr: a store of many times, upscaled lazily on a cluster of this machine, chunk by chunk, into another.

    pip install iris-sample-data distributed
    python examples/dask_zarr.py FOLDER

The same from the command line, without dask: geofsrcnn upscale FOLDER/coarse.zarr FOLDER/other.zarr --factor 2
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import iris_sample_data
import numpy as np
import xarray as xr
from dask.distributed import Client, LocalCluster

import geofsrcnn


def main() -> None:
    """Make a store, upscale it lazily, compute on a cluster, compare with a part upscaled in memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore", "Consolidated metadata|.*not have a Zarr V3")

    source = Path(iris_sample_data.__file__).parent / "sample_data" / "A1B_north_america.nc"
    with xr.open_dataset(source, engine="netcdf4") as dataset:
        chunked = dataset.drop_encoding().chunk(time=40)
        chunked.to_zarr(folder / "coarse.zarr", mode="w", zarr_format=2)

    coarse = xr.open_zarr(folder / "coarse.zarr")
    fine = coarse.fsrcnn.upscale(2)
    print(fine["air_temperature"].data, end="\n\n")

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster):
        fine.to_zarr(folder / "fine.zarr", mode="w", zarr_format=2)

    stored = xr.open_zarr(folder / "fine.zarr")
    print(stored, end="\n\n")
    part = coarse["air_temperature"].isel(time=slice(0, 3)).load()
    expected = geofsrcnn.upscale_dataarray(part, 2)
    gap = np.abs(stored["air_temperature"].isel(time=slice(0, 3)).to_numpy() - expected.to_numpy()).max()
    print(f"largest difference from the same years upscaled in memory: {gap:.1e} K")


if __name__ == "__main__":
    main()
