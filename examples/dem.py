"""Train on a DEM, and carry what was learned over to another factor.

    python examples/dem.py DIR [DEM]

A network for x3 is trained on the left three quarters of a DEM (matplotlib's Jacksboro Fault, USGS, if none is given)
and scored on the right quarter; then one for x4 twice: from scratch, and from the x3 network, whose layers but the last
it takes over (Dong, Loy, Tang 2016). Scores are RMSE divided by that of lanczos with back-projection.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rasterio
from matplotlib import cbook

STEPS = 800
COMMANDS = {
    "x3": "--factor 3 --out x3.safetensors",
    "x4 from scratch": "--factor 4 --out x4.safetensors",
    "x4 from x3": "--factor 4 --start x3.safetensors --frozen 100 --out x4-from-x3.safetensors",
}


def main() -> None:
    """Make the raster if none is given, and run the commands."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    dem = Path(sys.argv[2]).absolute() if len(sys.argv) > 2 else jacksboro(folder)
    for name, options in COMMANDS.items():
        command = f"train {dem} {options} --steps {STEPS} --overwrite --quiet --json"
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "geofsrcnn", *command.split()], cwd=folder, check=True, stdout=subprocess.PIPE
        )
        score, minutes = json.loads(done.stdout)["score"], (time.monotonic() - began) / 60
        print(f"{name:16} RMSE {score:.3f} of lanczos-bp on the held-out quarter, {STEPS} steps, {minutes:.1f} min")


def jacksboro(folder: Path) -> Path:
    """Matplotlib's DEM as a GeoTIFF."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        values = data["elevation"].astype(np.int16)
        west, east = (float(data[name]) for name in ("xmin", "xmax"))
        north, south = (float(data[name]) for name in ("ymin", "ymax"))  # the first row's edge is called ymin there
    rows, columns = values.shape
    path = folder / "jacksboro.tif"
    affine = rasterio.transform.from_bounds(west, south, east, north, columns, rows)
    profile = {"driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": "int16", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", **profile, transform=affine) as out:
        out.write(values, 1)
    return path


if __name__ == "__main__":
    main()
