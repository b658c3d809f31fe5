"""How much a guide helps: each band of rasters made coarse, the others are its guide, and the truth is known.

    python benchmarks/sharpen.py RASTER... [--factor 2 --factor 3] [--minutes 5]

Learning sees the coarse band and the guide alone, one scale coarser; scores are at the full scale, against the truth
that it has not seen. Simple methods are those of the verdict of `geofsrcnn sharpen`. The column *noise* is what a guide
of noise costs on the first band of each raster.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geofsrcnn.engine.guided_source import GuideArray, GuidedSource
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.guided import guided_model
from geofsrcnn.training.guided_scenes import read_scene
from geofsrcnn.training.guided_verdict import ALONE, AS_SHIPPED, LEARNED, MethodScore, score_methods
from geofsrcnn.training.own_scene import learn_scene
from geofsrcnn.training.patches import read_fields
from geofsrcnn.values.blocks import block_mean


def main() -> None:
    """Print a line for each band and factor, and means over them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--factor", type=int, action="append", default=[])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--model", default="default")
    parser.add_argument("--band", type=int, action="append", default=[], help="positions from 1; all if not given")
    options = parser.parse_args()
    print("| band | factor | default | best simple | guided | learned here | applied | noise | s |\n|" + "---|" * 9)
    for factor in options.factor or [2, 3]:
        rows = []
        for path in options.rasters:
            raster = np.stack([field.values for field in read_fields(path, alpha="none")])
            bands = options.band or range(1, len(raster) + 1)
            rows += [run(path.stem, raster, band - 1, factor, options.model, options.minutes) for band in bands]
        columns = [[ratio for ratio in column if not math.isnan(ratio)] for column in zip(*rows, strict=True)]
        means = [geometric_mean(column) for column in columns]
        worst = max(row[3] / row[0] for row in rows)
        print(row("geometric mean", factor, means, ""))
        print(f"applied against best simple: {means[3] / means[0]:.3f}, worst {worst:.3f}; to default {means[3]:.3f}")


def run(name: str, raster: np.ndarray, band: int, factor: int, model: str, minutes: float) -> tuple[float, ...]:
    """Score one band: ratios to the same network without a guide of all that there is."""
    rows, columns = (n // factor * factor for n in raster.shape[1:])
    truth, guide = raster[band : band + 1, :rows, :columns], np.delete(raster, band, 0)[:, :rows, :columns]
    start = time.perf_counter()
    found = score(truth, guide, factor, model, minutes)
    seconds = time.perf_counter() - start
    costs = math.nan
    if band == 0:
        noise = np.random.default_rng(0).normal(size=guide.shape)
        costs = score(truth, noise, factor, model, minutes)["applied"]
    simple = min(m for key, m in found.items() if key not in (ALONE, AS_SHIPPED, LEARNED, "applied"))
    shown = simple, found[AS_SHIPPED], found.get(LEARNED, found[AS_SHIPPED]), found["applied"], costs
    print(row(f"{name} {band + 1}", factor, shown, f"{seconds:.0f}"), flush=True)
    return shown


def row(name: str, factor: int, ratios: Sequence[float], seconds: str) -> str:
    """A line of the table."""
    return (
        f"| {name} | x{factor} | 1 | "
        + " | ".join("" if math.isnan(ratio) else f"{ratio:.3f}" for ratio in ratios)
        + f" | {seconds} |"
    )


def score(truth: np.ndarray, guide: np.ndarray, factor: int, model: str, minutes: float) -> dict[str, float]:
    """Learn on a scene, and score at its full scale."""
    loaded = load_model(model, factor)
    coarse, beside = GuideArray(block_mean(truth, factor)), GuideArray(guide)
    lesson = learn_scene(loaded, coarse, [beside], {0: "band"}, minutes=minutes)
    ready = guided_model(loaded).upsampler
    _, rows, columns = coarse.shape
    whole = Window(0, rows, 0, columns)
    scene = read_scene(ready, GuidedSource(coarse, [beside], factor), GuideArray(truth), whole, 0, "", keep_guide=True)
    learned = lesson.correction if lesson.verdict.chosen == LEARNED else None
    methods: list[MethodScore] = score_methods(ready.correction, learned, [scene], 1)[0]
    ratios = {method.name: method.ratio for method in methods}
    return {**ratios, "applied": ratios[lesson.verdict.chosen]}


if __name__ == "__main__":
    main()
