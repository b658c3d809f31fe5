"""Peak memory of the command on rasters of several sizes, made on the fly.

python benchmarks/memory.py --sizes 4096 12288
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window


def write_input(path: Path, size: int, *, tiled: bool) -> None:
    """A rough float32 raster, written block by block."""
    rng = np.random.default_rng(0)
    shape = {"height": size, "width": size, "count": 1}
    layout = {"tiled": True, "blockxsize": 512, "blockysize": 512} if tiled else {"blockysize": 1}
    transform = rasterio.transform.from_origin(500000, 5000000, 30, 30)
    step = 512
    with rasterio.open(path, "w", driver="GTiff", dtype="float32", crs="EPSG:32632", transform=transform,
                       compress="deflate", zlevel=1, **shape, **layout) as d:  # fmt: skip
        for row in range(0, size, step):
            rows = min(step, size - row)
            strip = rng.normal(size=(rows, size), scale=20).cumsum(axis=1).astype(np.float32)
            d.write(strip, 1, window=Window(0, row, size, rows))


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 12288])
    parser.add_argument("--model", default="default")
    parser.add_argument("--striped", action="store_true", help="input in strips of one row instead of tiles")
    options = parser.parse_args()
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            coarse, fine = Path(folder) / "coarse.tif", Path(folder) / "fine.tif"
            write_input(coarse, size, tiled=not options.striped)
            command = ["upscale", str(coarse), str(fine), "--factor", "3", "--model", options.model, "--json"]
            load = os.getloadavg()[0]
            done = subprocess.run([sys.executable, "-m", "geofsrcnn", *command], check=True, capture_output=True)
            summary = json.loads(done.stdout)
            print(
                f"{size} x {size}: peak memory {summary['peak_memory'] / 2**20:.0f} MiB, {summary['seconds']:.0f} s, "
                f"{summary['cells_per_second'] / 1e6:.1f} million fine cells a second, output "
                f"{summary['output_bytes'] / 2**30:.2f} GiB (load before {load:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
