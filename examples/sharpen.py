"""A band sharpened by the others: it is block-averaged, made finer with and without them, and compared with itself.

    python examples/sharpen.py OUT.png RASTER [RASTER ...]

A row for the last band of each raster, by its other bands: the coarse band, the network alone, the network with the
guide, and the truth.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio

from geofsrcnn import upscale_array
from geofsrcnn.values.blocks import block_mean, repeat

FACTOR, SHOWN = 3, 180


def main(out: Path, rasters: list[Path]) -> None:
    """Draw a row a raster, and print how much the guide helps."""
    figure, axes = plt.subplots(
        len(rasters), 4, figsize=(13, 3.4 * len(rasters)), layout="constrained", squeeze=False, dpi=80
    )
    for row, path in zip(axes, rasters, strict=True):
        bands = read(path)
        truth, guide = bands[-1], bands[:-1]
        coarse = block_mean(truth, FACTOR)
        alone, guided = (upscale_array(coarse, FACTOR, guide=given) for given in (None, guide))
        errors = [float(np.sqrt(np.nanmean((field - truth) ** 2))) for field in (alone, guided)]
        print(f"{path.stem}: RMSE {errors[1]:.4g} with the guide, {errors[0]:.4g} without")
        titles = [f"{path.stem}, coarse", f"alone, RMSE {errors[0]:.3g}", f"guided, RMSE {errors[1]:.3g}", "truth"]
        draw(row, [repeat(coarse, FACTOR), alone, guided, truth], titles)
    figure.savefig(out, pil_kwargs={"optimize": True})


def read(path: Path) -> np.ndarray:
    """All bands ``(band, y, x)``, NaN where missing, cut to whole blocks."""
    with rasterio.open(path) as raster:
        values = raster.read(masked=True).astype(np.float64).filled(np.nan)
    rows, columns = (n // FACTOR * FACTOR for n in values.shape[1:])
    return values[:, :rows, :columns]


def draw(row: np.ndarray, fields: list[np.ndarray], titles: list[str]) -> None:
    """The middle of the fields, on one scale."""
    start = [max(0, (n - SHOWN) // 2) for n in fields[0].shape]
    part = tuple(slice(s, s + SHOWN) for s in start)
    low, high = np.nanpercentile(fields[-1][part], (1, 99))
    for axis, field, title in zip(row, fields, titles, strict=True):
        axis.imshow(field[part], interpolation="nearest", cmap="gray", vmin=low, vmax=high)
        axis.set(title=title, xticks=[], yticks=[])


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
