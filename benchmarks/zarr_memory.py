"""Peak memory of ``geofsrcnn upscale`` on a Zarr of 2 GB made on the fly, and on one half as long.

    python benchmarks/zarr_memory.py FOLDER [--model bilinear] [--factor 2]

FOLDER needs room for about 10 GB with the defaults.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import xarray as xr
import zarr


def main() -> None:
    """Print the size of each input and the command's peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="bilinear")
    parser.add_argument("--factor", default="2")
    options = parser.parse_args()
    for times in (258, 516):
        source, output = options.folder / f"coarse{times}.zarr", options.folder / "fine.zarr"
        if not source.exists():
            make(source, times)
        command = [sys.executable, "-m", "geofsrcnn", "upscale", source, output, "-f", options.factor]
        command += ["-m", options.model, "--overwrite", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        summary = json.loads(done.stdout)
        print(
            f"{times * 721 * 1440 * 4 / 1e9:.2f} GB: peak {summary['peak_memory'] / 2**20:.0f} MiB, "
            f"{summary['seconds']:.0f} s",
            flush=True,
        )


def make(path: Path, times: int) -> None:
    """Hourly fields of 0.25 degrees."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(721, 1440)).cumsum(0).cumsum(1).astype("float32")
    xr.Dataset(
        coords={
            "time": ("time", np.arange(times), {"units": "hours since 2000-01-01"}),
            "lat": ("lat", np.linspace(90, -90, 721), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(1440) * 0.25, {"units": "degrees_east"}),
        }
    ).to_zarr(path, zarr_format=2)
    root = zarr.open_group(path, mode="r+")
    field = root.create_array("t2m", shape=(times, 721, 1440), chunks=(1, 721, 1440), dtype="float32")
    field.attrs["_ARRAY_DIMENSIONS"] = ["time", "lat", "lon"]
    for i in range(times):
        field[i] = base + rng.normal(size=base.shape).astype("float32")


if __name__ == "__main__":
    main()
