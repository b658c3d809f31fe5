"""The accessor on real NetCDF: annual mean temperature of a climate model (Iris' sample data), three times finer.

pip install iris-sample-data
python examples/accessor.py
"""

from __future__ import annotations

from pathlib import Path

import iris_sample_data
import numpy as np
import xarray as xr

import geofsrcnn  # noqa: F401  registers the accessor


def main() -> None:
    """Open, upscale, compare, store."""
    path = Path(iris_sample_data.__file__).parent / "sample_data" / "E1_north_america.nc"
    with xr.open_dataset(path, engine="netcdf4") as dataset:
        coarse = dataset.isel(time=slice(-10, None)).load()
    print(coarse.fsrcnn.grid, end="\n\n")

    fine = coarse.fsrcnn.upscale(3)
    print(fine, end="\n\n")

    means = fine["air_temperature"].coarsen(latitude=3, longitude=3).mean()
    gap = np.abs(means.to_numpy() - coarse["air_temperature"].to_numpy()).max()
    print(f"largest difference of a block's mean from its coarse cell: {gap:.1e} K")

    warming = fine["air_temperature"].isel(time=-1) - fine["air_temperature"].isel(time=0)
    warmest = warming.isel(warming.argmax(...))
    print(
        f"largest difference of the last year from the tenth last: {float(warmest):.2f} K "
        f"at {float(warmest.latitude):.2f} N, {float(warmest.longitude) % 360:.2f} E"
    )
    fine.to_netcdf("fine.nc", engine="netcdf4")
    print("stored in fine.nc")


if __name__ == "__main__":
    main()
