"""How near a raster comes to the truth on a grid that no whole factor reaches, as a Markdown table.

Each raster is averaged to coarse cells of C cells, and brought onto cells of W (`--grids C:W`) in three ways: with
resolution=; as averages of flat fine cells, which is what gdalwarp -r average makes of the fine map; and by bilinear
interpolation of the coarse cells. The table has RMSE against the averages of the truth, and that of slopes, divided by
that of flat cells.

    python benchmarks/wanted_grid.py --grids 3:2 5:4 5:2 4:3 -- RASTER...
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray as xr

from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.overlap import AreaOverlap, AxisOverlap, Sums
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.blocks import block_mean

SIDE = 480
"""Cells along one side of the middle of a raster that is looked at; a multiple of all grids."""

EDGE = 4
"""Wanted cells at the edge that are not scored."""


def read(path: Path) -> np.ndarray:
    """The middle of the first band, as large as whole cells of all grids allow; NaN where missing."""
    with RasterSource(path) as source:
        side = min(SIDE, min(source.shape[1:]) // 60 * 60)
        return source.read(Window.middle(source.shape[1:], side), slice(0, 1)).with_nan()[0]


def ways(coarse: xr.DataArray, wanted: float) -> dict[str, np.ndarray]:
    """The field on wanted cells, in each way."""
    found = coarse.fsrcnn.upscale(resolution=wanted)
    factor = int(np.ceil(float(coarse.x[1] - coarse.x[0]) / wanted - 1e-9))
    fine = coarse.fsrcnn.upscale(factor).to_numpy()
    width = fine.shape[0] / found.shape[0]
    edges = width * (np.arange(found.shape[0])[:, None] + np.array([0, 1]))
    overlap = AreaOverlap(AxisOverlap.of(edges, len(fine)), AxisOverlap.of(edges, len(fine)))
    whole = Window(0, len(fine), 0, len(fine)), Window(0, len(found), 0, len(found))
    flat = overlap.average(Sums(fine, np.ones(fine.shape)), *whole, slopes=False).values
    return {"wanted": found.to_numpy(), "flat": flat, "bilinear": coarse.interp(x=found.x, y=found.y).to_numpy()}


def score(truth: np.ndarray, cells: int, wanted: int) -> dict[str, tuple[float, float]]:
    """RMSE of values and of slopes, of each way."""
    values = block_mean(truth, cells)
    at = cells * (np.arange(len(values)) + 0.5)
    coarse = xr.DataArray(values, {"y": at, "x": at}, ("y", "x"))
    right = block_mean(truth, wanted)
    inside = (..., slice(EDGE, -EDGE), slice(EDGE, -EDGE))

    def rmse(field: np.ndarray) -> tuple[float, float]:
        slopes = np.stack(np.gradient(field)) - np.stack(np.gradient(right))
        return float(np.sqrt(np.mean((field - right)[inside] ** 2))), float(np.sqrt(np.mean(slopes[inside] ** 2)))

    return {name: rmse(field) for name, field in ways(coarse, float(wanted)).items()}


def main() -> None:
    """Print a line for each raster and grid, and the geometric means."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--grids", nargs="+", default=["3:2", "5:4", "5:2", "4:3"], metavar="C:W")
    args = parser.parse_args()
    print("| raster | grid | RMSE | of slopes | bilinear |\n|---|---|---|---|---|")
    ratios: dict[str, list[tuple[float, float, float]]] = {grid: [] for grid in args.grids}
    for path in args.rasters:
        truth = read(path)
        if not np.isfinite(truth).all():
            continue
        for grid in args.grids:
            cells, wanted = map(int, grid.split(":"))
            found = score(truth, cells, wanted)
            each = tuple(a / b for a, b in zip(found["wanted"], found["flat"], strict=True))
            ratios[grid].append((*each, found["bilinear"][0] / found["flat"][0]))
            print(f"| {path.name} | {grid} | " + " | ".join(f"{ratio:.3f}" for ratio in ratios[grid][-1]) + " |")
    for grid, rows in ratios.items():
        means = np.exp(np.mean(np.log(rows), axis=0)) if rows else []
        print(f"| all | {grid} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
