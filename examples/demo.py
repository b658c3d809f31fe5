"""The main job on a real raster: matplotlib's Jacksboro fault DEM, block-averaged and upscaled again.

Writes demo/coarse.tif, demo/fine.tif and demo/comparison.png, and prints how far each method is from the truth.
The network has never seen this site.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib import cbook
from matplotlib.colors import LightSource
from rasterio.transform import from_bounds

from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.kernels import resample

FACTOR = 3


def main() -> None:
    """Make the coarse raster, upscale it with the command, compare."""
    folder = Path("demo")
    folder.mkdir(exist_ok=True)
    truth, bounds = read_dem()
    coarse = block_mean(truth, FACTOR).astype(np.float32)
    write(folder / "truth.tif", truth.astype(np.float32), bounds)
    write(folder / "coarse.tif", coarse, bounds)

    geofsrcnn("upscale", folder / "coarse.tif", folder / "fine.tif", "--factor", FACTOR, "--overwrite")
    with rasterio.open(folder / "fine.tif") as fine_raster, rasterio.open(folder / "coarse.tif") as coarse_raster:
        fine = fine_raster.read(1)
        print("same bounds:", fine_raster.bounds == coarse_raster.bounds)
    drift = abs(block_mean(fine, FACTOR) - coarse).max()
    print(f"largest difference of a block's mean from its coarse cell: {drift:.1e} m\n")

    geofsrcnn("evaluate", folder / "truth.tif", "--factor", FACTOR)
    draw(folder / "comparison.png", truth, coarse, fine)
    print(f"\npicture: {folder / 'comparison.png'}")


def read_dem() -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Elevation in metres, cut to whole blocks, and its bounds in degrees."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as dem:
        elevation = dem["elevation"].astype(np.float64)
        west, east = (float(dem[key]) for key in ("xmin", "xmax"))
        north, south = (float(dem[key]) for key in ("ymin", "ymax"))  # the first row's edge is called ymin there
    rows, columns = (n // FACTOR * FACTOR for n in elevation.shape)
    dy, dx = (north - south) / elevation.shape[0], (east - west) / elevation.shape[1]
    return elevation[:rows, :columns], (west, north - rows * dy, west + columns * dx, north)


def geofsrcnn(*arguments: object) -> None:
    """Run a command, and show it."""
    words = [str(argument) for argument in arguments]
    print("$ geofsrcnn", *words, flush=True)
    subprocess.run([sys.executable, "-m", "geofsrcnn", *words], check=True)


def write(path: Path, field: np.ndarray, bounds: tuple[float, float, float, float]) -> None:
    """A GeoTIFF as anyone would have it."""
    rows, columns = field.shape
    transform = from_bounds(*bounds, columns, rows)
    shape = {"height": rows, "width": columns, "count": 1}
    with rasterio.open(path, "w", driver="GTiff", dtype="float32", crs="EPSG:4326", transform=transform, **shape) as d:
        d.write(field, 1)
        d.set_band_unit(1, "m")


def draw(path: Path, truth: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> None:
    """Hillshades of a part above, errors below."""
    part = (slice(60, 240), slice(90, 330))
    light = LightSource(azdeg=315, altdeg=45)
    bicubic = resample(coarse, FACTOR, "cubic-0.75")
    shade = {
        f"coarse, {coarse.shape[0]} x {coarse.shape[1]} cells": repeat(light.hillshade(coarse, dx=180, dy=180), FACTOR),
        "bicubic": light.hillshade(bicubic, dx=60, dy=60),
        "geofsrcnn": light.hillshade(fine, dx=60, dy=60),
        "truth": light.hillshade(truth, dx=60, dy=60),
    }
    errors = [repeat(coarse, FACTOR) - truth, bicubic - truth, fine - truth]
    limit = float(np.percentile(abs(errors[1][part]), 98))
    figure, axes = plt.subplots(2, 4, figsize=(15, 6.6), layout="constrained")
    for axis, (name, field) in zip(axes[0], shade.items(), strict=True):
        axis.imshow(field[part], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(name)
    for axis, error in zip(axes[1], errors, strict=False):
        image = axis.imshow(error[part], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(f"error, RMSE {np.sqrt(np.mean(error[part] ** 2)):.1f} m")
    figure.colorbar(image, ax=axes[1, :3], label="error, m", location="bottom", shrink=0.4, aspect=40, pad=0.02)
    heights = axes[1, 3].imshow(truth[part], cmap="terrain", interpolation="nearest")
    axes[1, 3].set_title("truth: elevation")
    figure.colorbar(heights, ax=axes[1, 3], label="m", location="bottom", shrink=0.8, aspect=30, pad=0.02)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle("Jacksboro fault DEM, block-averaged x3 and upscaled again (part)")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
