"""Expected beside true errors: a raster is block-averaged, upscaled, and compared with itself.

    python examples/expected_error.py OUT.png [RASTER ...]

A row for matplotlib's Jacksboro fault DEM, and one for the first band of each raster: the fine values, the absolute
error that the network expects in each cell, and the true one, on the same scale.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import rasterio
from matplotlib import cbook

from geofsrcnn import upscale_array
from geofsrcnn.evaluation.calibration import calibration
from geofsrcnn.evaluation.scores import scored_mask
from geofsrcnn.values.blocks import block_mean

FACTOR, LARGEST = 3, 240


def main(out: Path, rasters: list[Path]) -> None:
    """Draw a row a raster, and print how well the errors fit."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as dem:
        fields = [("Jacksboro fault DEM", "m", whole_blocks(dem["elevation"].astype(np.float64)))]
    fields += map(read, rasters)
    figure, axes = plt.subplots(
        len(fields), 3, figsize=(11, 3.5 * len(fields)), layout="constrained", squeeze=False, dpi=80
    )
    for row, (name, unit, truth) in zip(axes, fields, strict=True):
        coarse = block_mean(truth, FACTOR)
        fine, expected = upscale_array(coarse, FACTOR, error=True)
        error = np.abs(fine - truth)
        fit = calibration(expected, error, scored_mask(np.isfinite(coarse), FACTOR))
        assert fit is not None
        print(f"{name}: expected / true {fit.ratio:.2f}, rank correlation {fit.rank:.2f}, {fit.cells:,} cells")
        draw(row, name, unit, fine, expected, error)
    figure.savefig(out, pil_kwargs={"optimize": True})


def read(path: Path) -> tuple[str, str, np.ndarray]:
    """Name, unit and values of the first band, NaN where missing, cut to whole blocks."""
    with rasterio.open(path) as raster:
        values = raster.read(1, masked=True).astype(np.float64).filled(np.nan)
        unit = raster.units[0] or ""
    return path.stem, unit, whole_blocks(values)


def whole_blocks(values: np.ndarray) -> np.ndarray:
    """Rows and columns that fill blocks."""
    rows, columns = (n // FACTOR * FACTOR for n in values.shape)
    return values[:rows, :columns]


def draw(row: np.ndarray, name: str, unit: str, fine: np.ndarray, expected: np.ndarray, error: np.ndarray) -> None:
    """The middle of the fields; both errors on one scale."""
    start = [max(0, (n - LARGEST) // 2) for n in fine.shape]
    part = tuple(slice(s, s + LARGEST) for s in start)
    label = f" ({unit})" if unit else ""
    low, high = np.nanpercentile(fine[part], (0.5, 99.5))
    limit = float(np.nanpercentile(error[part], 98))
    looks = [
        (fine, f"{name}{label}", {"cmap": "viridis", "vmin": low, "vmax": high}),
        (expected, f"expected error{label}", {"cmap": "magma_r", "vmin": 0, "vmax": limit}),
        (error, f"true error{label}", {"cmap": "magma_r", "vmin": 0, "vmax": limit}),
    ]
    for axis, (field, title, look) in zip(row, looks, strict=True):
        image = axis.imshow(field[part], interpolation="nearest", **look)
        axis.set(title=title, xticks=[], yticks=[])
        if field is not expected:
            bar = axis.figure.colorbar(image, ax=axis, shrink=0.85, extend="both" if field is fine else "max")
            bar.ax.tick_params(labelsize=8)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
