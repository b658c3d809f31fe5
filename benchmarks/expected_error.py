"""How well expected errors fit on fine rasters, as a Markdown table by folder of the rasters.

Each band is block-averaged, upscaled and compared with itself; beside the expected error stands the local standard
deviation of the coarse field (3 x 3), the simplest guess of where errors are large. Ratio is the geometric mean over
fields of the mean expected divided by the mean true error, spread the standard deviation of its logarithm.

    python benchmarks/expected_error.py --factor 2 3 4 --model small default -- RASTER...
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from geofsrcnn import load_model, upscale_array
from geofsrcnn.evaluation.calibration import Calibration, calibration, spread_of_ratios
from geofsrcnn.evaluation.rasters import LARGEST
from geofsrcnn.evaluation.scores import MIN_CELLS, scored_mask
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.values.blocks import block_mean, repeat

Fits = dict[str, list[tuple[Calibration, float]]]


def fit(model: Model, truth: np.ndarray) -> tuple[Calibration, float] | None:
    """How well errors fit on a field, and the sparsification of the local standard deviation."""
    factor = model.factor
    truth = truth[tuple(slice(0, n // factor * factor) for n in truth.shape)]
    coarse = block_mean(truth, factor)
    where = scored_mask(np.isfinite(coarse), factor)
    if where.sum() < MIN_CELLS or np.ptp(truth[where]) == 0:
        return None
    fine, expected = upscale_array(coarse, factor, model, error=True)
    error = np.abs(fine - truth)
    found, simple = (calibration(each, error, where) for each in (expected, repeat(local_deviation(coarse), factor)))
    return None if found is None or simple is None else (found, simple.sparsification)


def local_deviation(field: np.ndarray) -> np.ndarray:
    """Standard deviation of 3 x 3 cells; NaN beside missing ones."""
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(field, 1, mode="edge"), (3, 3))
    deviation: np.ndarray = windows.std(axis=(2, 3))
    return deviation


def read(path: Path) -> list[np.ndarray]:
    """The middle of the first and of the middle band, NaN where missing."""
    with RasterSource(path) as source:
        window = Window.middle(source.shape[1:], LARGEST)
        chosen = sorted({0, len(source.bands) // 2})
        return [source.read(window, slice(band, band + 1)).with_nan()[0].astype(np.float64) for band in chosen]


def row(name: str, fits: list[tuple[Calibration, float]]) -> str:
    """A line of the table."""
    ratio, spread = spread_of_ratios([each.ratio for each, _ in fits])
    rank, area, half, ninety = (
        float(np.mean([getattr(each, key) for each, _ in fits]))
        for key in ("rank", "sparsification", "within_half", "within_ninety")
    )
    simple = float(np.mean([each for _, each in fits]))
    return (
        f"| {name} | {len(fits)} | {ratio:.2f} | {spread:.2f} | {rank:.2f} | {area:.3f} | {area / simple:.2f} | "
        f"{100 * half:.0f} | {100 * ninety:.0f} |"
    )


def main() -> None:
    """Parse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--factor", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--model", nargs="+", default=["small", "default"])
    parser.add_argument("--folders", action="store_true", help="a line a folder as well")
    options = parser.parse_args()
    fields = {path: read(path) for path in sorted(options.rasters)}
    print("| model | fields | ratio | spread | rank | AUSE | of local deviation's | within 50 %, % | within 90 %, % |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in options.model:
        for factor in options.factor:
            model = load_model(name, factor)
            found: Fits = defaultdict(list)
            for path, bands in fields.items():
                found[path.parent.name] += [each for band in bands if (each := fit(model, band)) is not None]
            print(row(f"{name} x{factor}", [each for fits in found.values() for each in fits]), flush=True)
            if options.folders:
                print("\n".join(row(f"&nbsp; {folder}", fits) for folder, fits in sorted(found.items()) if fits))


if __name__ == "__main__":
    main()
