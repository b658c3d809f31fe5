"""Score models on fine rasters, field by field, as a Markdown table: RMSE divided by the best classical method's.

Each raster is block-averaged, upscaled and compared with itself (evaluation.rasters); of a series of bands the first
and the middle one are taken. The best classical method is the one that turns out best on that very field.
Geometric means stand below, over all fields that are large enough for the factor.

    python benchmarks/score.py --factor 2 3 4 --model small default -- RASTER...
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.rasters import chosen_bands, evaluate_raster
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.checkpoint import shipped_models
from geofsrcnn.values.kernels import BICUBIC


def score(paths: list[Path], factor: int, models: list[str], precision: str = "float32") -> list[Comparison]:
    """All fields that are large enough, in order of the rasters' names."""
    return [
        comparison
        for path in sorted(paths, key=lambda path: (path.parent.name, path.name))
        for comparison in evaluate_raster(path, factor, models, bidx=chosen_bands(path), precision=precision)
    ]


def table(columns: dict[tuple[str, int], dict[str, tuple[float, float]]]) -> str:
    """Markdown: a row a field, a column a model and factor, geometric means below."""
    fields = sorted({name for scores in columns.values() for name in scores})
    lines = [
        "| field | " + " | ".join(f"{model} x{factor}" for model, factor in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for name in fields:
        cells = [f"{scores[name][0]:.3f}" if name in scores else "" for scores in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for which, label in enumerate(("of the best classical method", "of bicubic")):
        means = [geometric_mean([s[which] for s in scores.values()]) for scores in columns.values()]
        lines.append(f"| **geometric mean, {label}** | " + " | ".join(f"**{mean:.3f}**" for mean in means) + " |")
    worst = [max(s[0] for s in scores.values()) for scores in columns.values()]
    lines.append("| largest, of the best classical method | " + " | ".join(f"{value:.3f}" for value in worst) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--factor", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--model", nargs="+", default=["small", "default"])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--json", action="store_true", help="all scores of all methods")
    options = parser.parse_args()
    there = {path.stem for path in shipped_models()}
    columns: dict[tuple[str, int], dict[str, tuple[float, float]]] = {}
    every: list[dict[str, object]] = []
    for factor in options.factor:
        models = [m for m in options.model if f"{m}-x{factor}" in there or m.endswith(".safetensors")]
        if not models:
            continue
        for e in score(options.rasters, factor, models, options.precision):
            every.append({"field": e.name, "factor": e.factor, "cells": e.cells, "scores": e.scores})
            for model, shown in zip(models, e.models, strict=True):
                column = columns.setdefault((Path(model).stem, factor), {})
                column[e.name.replace(".tif band", "")] = (e.ratio(shown), e.ratio(shown, BICUBIC))
    print(json.dumps(every, indent=1) if options.json else table(columns))


if __name__ == "__main__":
    main()
