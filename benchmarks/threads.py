"""How much of a run is done by one thread alone, and what do more threads gain and hold?

    python benchmarks/threads.py [--side 2048] [--rounds 3] [--threads 2 4 8] [--formats tif:tif nc:zarr] [--models ...]

For each model and pair of formats, FROM:TO, the calling thread's part of all CPU time with the first number of
threads, and the wall time with the others as a ratio to that with the first, medians of rounds that take turns. With
``--memory 16`` the peak memory of the command with so many threads instead, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from geofsrcnn.errors import GeofsrcnnWarning
from geofsrcnn.upscale.file import upscale_file

FACTOR = 3


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--formats", nargs="+", default=["tif:tif", "nc:tif", "nc:nc", "nc:zarr"])
    parser.add_argument("--models", nargs="+", default=["default", "small", "bilinear"])
    parser.add_argument("--memory", type=int)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", GeofsrcnnWarning)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, chosen.side)
        for model in chosen.models:
            for each in chosen.formats:
                source, target = (
                    folder / f"{stem}.{suffix}" for stem, suffix in zip("ab", each.split(":"), strict=True)
                )
                if chosen.memory:
                    print(
                        f"{model}, {each}: {memory(source, target, model, chosen.memory) / 2**20:.0f} MiB", flush=True
                    )
                    continue
                upscale_file(source, target, FACTOR, model, overwrite=True)  # loads what is needed
                rounds = [[run(source, target, model, n) for n in chosen.threads] for _ in range(chosen.rounds)]
                share = statistics.median(r[0][2] / r[0][1] for r in rounds)
                ratios = [statistics.median(r[i][0] / r[0][0] for r in rounds) for i in range(len(chosen.threads))]
                listed = ", ".join(f"{n}: {ratio:.2f}" for n, ratio in zip(chosen.threads, ratios, strict=True))
                cpu = statistics.median(r[0][1] for r in rounds)
                print(
                    f"{model}, {each}: {100 * share:.1f} % of {cpu:.2f} s of CPU "
                    f"by the calling thread; time by threads {listed} (load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )


def run(source: Path, target: Path, model: str, threads: int) -> tuple[float, float, float]:
    """Wall time, CPU time and the calling thread's CPU time."""
    clocks = (time.perf_counter, time.process_time, time.thread_time)
    before = [clock() for clock in clocks]
    upscale_file(source, target, FACTOR, model, overwrite=True, threads=threads)
    wall, cpu, own = (clock() - start for clock, start in zip(clocks, before, strict=True))
    return wall, cpu, own


def memory(source: Path, target: Path, model: str, threads: int) -> int:
    """Peak resident bytes of the command."""
    command = ["upscale", str(source), str(target), "--factor", str(FACTOR), "--model", model, "--overwrite", "--json"]
    command = [sys.executable, "-m", "geofsrcnn", *command, "--threads", str(threads)]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["peak_memory"])


def make(folder: Path, side: int) -> None:
    """A rough float32 field as a GeoTIFF and as NetCDF."""
    rng = np.random.default_rng(0)
    rows, columns = (rng.normal(size=side).cumsum() for _ in range(2))
    values = (rows[:, None] + columns[None, :] + rng.normal(size=(side, side))).astype(np.float32)
    layout = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    with rasterio.open(
        folder / "a.tif", "w", driver="GTiff", dtype="float32", count=1, height=side, width=side, crs="EPSG:32632",
        transform=from_origin(500000, 5000000, 30, 30), **layout,
    ) as d:  # fmt: skip
        d.write(values, 1)
    y, x = 60 - 0.01 * np.arange(side), 5 + 0.01 * np.arange(side)
    coordinates = {
        "lat": ("lat", y, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", x, {"units": "degrees_east", "standard_name": "longitude"}),
    }
    field = (("lat", "lon"), values, {"units": "m", "long_name": "height"})
    xr.Dataset({"height": field}, coordinates).to_netcdf(folder / "a.nc")


if __name__ == "__main__":
    main()
