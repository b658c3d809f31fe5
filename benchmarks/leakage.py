"""Does any training raster show a validation site? Checked by extent and by correlation.

*Extent*: one site as trainings count them, which overlaps and has cell sizes within a factor of 8. Such a pair is
printed; whether it is leakage depends on what it shows (global fields of other variables all overlap).

*Correlation*: the roughest 48 x 48 cells of each validation band, high-passed, are searched for in each training
raster (first and middle band) at its own, half and double cell size, upright and upside down. Smooth fields reach
0.75 with fields that have nothing to do with them; what is above --limit is printed as a match.

    python benchmarks/leakage.py --validation VALIDATION... --train RASTER...
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from skimage.filters import gaussian

from geofsrcnn.evaluation.rasters import chosen_bands
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.affine import Grid
from geofsrcnn.training.patches import Field, read_fields, same_site
from geofsrcnn.values.blocks import block_mean, repeat

TILE = 48


def main() -> None:
    """Print pairs, and the largest correlation for each validation band."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validation", nargs="+", type=Path, required=True)
    parser.add_argument("--train", nargs="+", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=0.8)
    options = parser.parse_args()
    sites = {path.stem: grid(path) for path in options.validation}
    for path in options.train:
        here = grid(path)
        if shared := [name for name, site in sites.items() if same_site(site, here)]:
            print(f"extent: {path.stem} covers ground of {', '.join(shared)}")
    tiles = {f.name: tile for path in options.validation for f in bands(path) if (tile := roughest(f)) is not None}
    searched = torch.tensor(np.stack([turned for tile in tiles.values() for turned in (tile, tile[::-1])]))
    searched = F.normalize((searched - searched.mean((1, 2), keepdim=True)).flatten(1)).reshape(-1, 1, TILE, TILE)
    best = dict.fromkeys(tiles, (0.0, ""))
    for path in options.train:
        for f in bands(path):
            for size, image in sizes(filled(f.values)):
                for name, found in zip(tiles, correlations(image, searched).reshape(-1, 2).amax(1), strict=True):
                    if found > best[name][0]:
                        best[name] = float(found), f"{f.name} at {size} of its cell size"
    for name, (value, where) in best.items():
        print(f"{'MATCH' if value > options.limit else 'correlation'} {name}: {value:.2f} in {where}")


def correlations(image: np.ndarray, tiles: torch.Tensor) -> torch.Tensor:
    """Largest normalised cross-correlation of each tile ``(n, 1, TILE, TILE)``, of norm 1, anywhere in an image."""
    x = torch.tensor(image, dtype=torch.float32)[None, None]
    mean = F.avg_pool2d(x, TILE, 1)
    deviation = (F.avg_pool2d(x**2, TILE, 1) - mean**2).clamp(min=1e-4).sqrt() * TILE
    return (F.conv2d(x, tiles) / deviation).amax((2, 3))[0]


def bands(path: Path) -> list[Field]:
    """The first and the middle band."""
    fields = read_fields(path)
    return [fields[index - 1] for index in chosen_bands(path)]


def grid(path: Path) -> Grid:
    """Where a raster lies."""
    with RasterSource(path) as source:
        return source.grid


def filled(values: np.ndarray) -> np.ndarray:
    """Less what is smooth, missing cells at 0."""
    valid = np.isfinite(values)
    known = np.where(valid, values, values[valid].mean())
    rest = np.where(valid, known - gaussian(known, 4), 0)
    return (rest / max(rest.std(), 1e-30)).astype(np.float32)


def sizes(image: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """At its own, double and half cell size, where a tile fits; large images cut."""
    image = image[:1600, :1600]
    found = [(1.0, image), (2.0, block_mean(image, 2)), (0.5, repeat(image[:600, :600], 2))]
    return [(size, each) for size, each in found if min(each.shape) >= TILE + 8]


def roughest(f: Field) -> np.ndarray | None:
    """The square of cells with the largest standard deviation, of those with at most a quarter missing."""
    image = filled(f.values)
    squares = [
        image[y : y + TILE, x : x + TILE]
        for y in range(0, image.shape[0] - TILE + 1, TILE // 2)
        for x in range(0, image.shape[1] - TILE + 1, TILE // 2)
        if np.isfinite(f.values[y : y + TILE, x : x + TILE]).mean() >= 0.75
    ]
    return max(squares, key=np.std) if squares else None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
