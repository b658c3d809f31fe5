"""Score models on fine rasters as a Markdown table: RMSE divided by the best classical method's.

Each raster is block-averaged, upscaled and compared with itself (evaluation.rasters); of a series of bands the first
and the middle one are taken. The best classical method is the one that turns out best on that very field. Rows are
fields, or with --domains the folders that rasters lie in; geometric means stand below, over all fields that are large
enough for the factor.

    python benchmarks/score.py --factor 2 3 4 --model small default -- RASTER...
    python benchmarks/score.py --domains --measure slope -- elevation/*.tif
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.rasters import chosen_bands, evaluate_raster
from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.checkpoint import shipped_models
from geofsrcnn.values.kernels import BICUBIC

Ratios = dict[tuple[str, str], tuple[float, float]]
"""Of fields, by domain and name: to the best classical method, and to bicubic."""


def score(paths: list[Path], factor: int, models: list[str], precision: str) -> list[tuple[str, Comparison]]:
    """All fields that are large enough, with their domains, in order of both."""
    return [
        (path.parent.name, comparison)
        for path in sorted(paths, key=lambda path: (path.parent.name, path.name))
        for comparison in evaluate_raster(path, factor, models, bidx=chosen_bands(path), precision=precision)
    ]


def table(columns: dict[tuple[str, int], Ratios], *, domains: bool) -> str:
    """Markdown: a row a field or a domain, a column a model and factor; means, largest and how many are above 1."""
    fields = sorted({field for ratios in columns.values() for field in ratios})

    def row(label: str, cell: Callable[[Ratios], str]) -> str:
        return f"| {label} | " + " | ".join(cell(ratios) for ratios in columns.values()) + " |"

    def mean(own: set[tuple[str, str]], which: int) -> Callable[[Ratios], str]:
        def cell(ratios: Ratios) -> str:
            found = [ratio[which] for field, ratio in ratios.items() if field in own]
            return f"{geometric_mean(found):.3f}" if found else ""

        return cell

    rows = {f"{domain}, {name}": {(domain, name)} for domain, name in fields}
    if domains:
        rows = {name: {field for field in fields if field[0] == name} for name, _ in fields}
        rows = {f"{name} ({len(own)})": own for name, own in rows.items()}
    head = "| field | " + " | ".join(f"{model} x{factor}" for model, factor in columns) + " |"
    lines = [head, "|---|" + "---|" * len(columns)]
    lines += [row(label, mean(own, 0)) for label, own in rows.items()]
    lines.append(row("**geometric mean, of the best classical method**", mean(set(fields), 0)))
    lines.append(row("**geometric mean, of bicubic**", mean(set(fields), 1)))
    lines.append(
        row("largest, of the best classical method", lambda ratios: f"{max(r for r, _ in ratios.values()):.3f}")
    )
    lines.append(row("above 1", lambda ratios: f"{sum(r > 1 for r, _ in ratios.values())} of {len(ratios)}"))
    return "\n".join(lines)


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--factor", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--model", nargs="+", default=["small", "default"])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--measure", default="rmse", choices=["rmse", "slope", "hillshade"])
    parser.add_argument("--domains", action="store_true", help="a row a folder, not a field")
    parser.add_argument("--json", action="store_true", help="all scores of all methods")
    options = parser.parse_args()
    there = {path.stem for path in shipped_models()}
    columns: dict[tuple[str, int], Ratios] = {}
    every: list[dict[str, object]] = []
    for factor in options.factor:
        models = [m for m in options.model if f"{m}-x{factor}" in there or m.endswith(".safetensors")]
        if not models:
            continue
        for domain, e in score(options.rasters, factor, models, options.precision):
            every.append({"field": e.name, "factor": e.factor, "cells": e.cells, "scores": e.scores})
            for model, shown in zip(models, e.models, strict=True):
                if options.measure in e.scores[shown]:
                    field = domain, e.name.replace(".tif band", "")
                    of_best, of_bicubic = (e.ratio(shown, other, options.measure) for other in (None, BICUBIC))
                    columns.setdefault((Path(model).stem, factor), {})[field] = of_best, of_bicubic
    print(json.dumps(every, indent=1) if options.json else table(columns, domains=options.domains))


if __name__ == "__main__":
    main()
