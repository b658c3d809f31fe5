"""Rasters in which there is little or nothing: sea, empty blocks, no values at all.

    python benchmarks/sea.py [--rows 12188] [--columns 11451] [--factor 3] [--model default] [--threads N]

Bytes: a file without blocks, one whose cells are all missing, one of a single value, and sea with islands of noise on
1 % of it. Wall time and CPU time of `upscale_file`, imports not counted, and cells a second.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.windows import Window

from geofsrcnn.errors import GeofsrcnnWarning
from geofsrcnn.upscale.file import upscale_file

ISLAND = 256


def main() -> None:
    """Parse, make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rows": 12188, "columns": 11451, "factor": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", GeofsrcnnWarning)
    options = {"model": chosen.model, "threads": chosen.threads, "allow_sparse": True, "overwrite": True}
    with tempfile.TemporaryDirectory() as name:
        coarse, fine = Path(name) / "coarse.tif", Path(name) / "fine.tif"
        for kind in ("value", "empty", "missing", "value", "islands"):
            first = not coarse.exists()  # which loads what is needed
            shape = (ISLAND, ISLAND) if first else (chosen.rows, chosen.columns)
            make(coarse, kind, shape)
            wall, cpu = time.perf_counter(), time.process_time()
            summary = upscale_file(coarse, fine, chosen.factor, **options)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if not first:
                print(
                    f"{kind}: {wall:.1f} s, {cpu:.1f} s of CPU, {summary.fine[0] * summary.fine[1] / wall / 1e6:.0f} "
                    f"million fine cells a second, {summary.output_bytes / 2**20:.1f} MiB "
                    f"(load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )


def make(path: Path, kind: str, shape: tuple[int, int]) -> None:
    """A raster of bytes of one kind."""
    rows, columns = shape
    rng = np.random.default_rng(0)
    nodata = 255 if kind == "missing" else None
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=rows, width=columns, nodata=nodata,
        crs="EPSG:32632", transform=from_origin(500000, 5000000, 10, 10), tiled=True, compress="deflate",
        sparse_ok=kind != "value",
    ) as d:  # fmt: skip
        if kind == "value":
            d.write(np.full((1, rows, columns), 7, np.uint8))
        for _ in range(rows * columns // 100 // ISLAND**2 if kind == "islands" else 0):
            place = Window(rng.integers(columns - ISLAND), rng.integers(rows - ISLAND), ISLAND, ISLAND)
            d.write(rng.integers(1, 200, (1, ISLAND, ISLAND), np.uint8), window=place)


if __name__ == "__main__":
    main()
