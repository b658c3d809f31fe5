"""Small grids, many times: what does one time take, from file to file and in the network alone?

    python benchmarks/small_grids.py [--times 2000] [--rows 10] [--columns 13] [--models small default] [--threads 1]

NetCDF to NetCDF, of temperature and of rain, which must not turn negative. CPU time, medians of rounds; the network
alone is timed on as many cells in calls of its own size.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from geofsrcnn.engine.base import TILE
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.upscale.file import upscale_file

FACTOR, ROUNDS = 3, 3
UNITS = {"air_temperature": "K", "precipitation_flux": "kg m-2 s-1"}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"times": 2000, "rows": 10, "columns": 13, "threads": 1}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--models", nargs="+", default=["small", "default"])
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    shape = chosen.times, chosen.rows, chosen.columns
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "coarse.nc", Path(name) / "fine.nc"
        for model in chosen.models:
            alone = network(model, shape)
            for quantity in UNITS:
                dataset_of(quantity, shape).to_netcdf(source)

                def run(model: str = model) -> None:
                    upscale_file(source, target, FACTOR, model, overwrite=True, threads=chosen.threads)

                each = cpu(run) / chosen.times
                print(
                    f"{model}, {quantity}, {chosen.rows} x {chosen.columns}: {1e3 * each:.3f} ms a time, "
                    f"{1e3 * alone:.3f} of it in the network",
                    flush=True,
                )


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds, the first time not counted."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def network(name: str, shape: tuple[int, int, int]) -> float:
    """CPU seconds of one time in the network."""
    model = load_model(name, FACTOR).upsampler
    assert model is not None
    rows, columns = (n + 2 * model.halo for n in shape[1:])
    batch = torch.randn(min(shape[0], max(1, TILE**2 // (rows * columns))), 1, rows, columns)
    return cpu(lambda: model(batch)) / len(batch)


def dataset_of(quantity: str, shape: tuple[int, int, int]) -> xr.Dataset:
    """Many times of a small field."""
    rng = np.random.default_rng(0)
    amount = rng.normal(size=shape).astype("float32")
    values = 280 + 5 * amount if quantity == "air_temperature" else 1e-4 * np.maximum(amount, 0)
    coordinates = {
        "time": ("time", np.arange(shape[0]), {"units": "days since 2000-01-01"}),
        "lat": ("lat", 40 + 0.5 * np.arange(shape[1]), {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", 5 + 0.5 * np.arange(shape[2]), {"units": "degrees_east", "standard_name": "longitude"}),
    }
    field = (("time", "lat", "lon"), values, {"units": UNITS[quantity], "standard_name": quantity})
    return xr.Dataset({"field": field}, coordinates)


if __name__ == "__main__":
    main()
