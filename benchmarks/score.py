"""Score a model and the classical methods on fine rasters, field by field.

Each raster is cut to a multiple of the factor, block-averaged, upscaled and compared with itself over the cells that
count (geofsrcnn.metrics). Two ratios: to bicubic (a = -0.75) and to the best classical method of that very field.

    python benchmarks/score.py --factor 3 --model default RASTER...
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

from geofsrcnn.metrics import BICUBIC, classical_scores, rmse, scored_mask, shift
from geofsrcnn.nodata import fill
from geofsrcnn.resample import block_mean
from geofsrcnn.train import Field, read_fields
from geofsrcnn.upscale import upscale_array

MIN_SCORED = 400


def chosen_bands(path: Path) -> list[Field]:
    """The first and the middle band of a series, two bands of multi-band imagery."""
    fields = read_fields(path)
    return fields if len(fields) == 1 else [fields[0], fields[len(fields) // 2]]


def score(field: Field, factor: int, model: str, precision: str) -> dict[str, object] | None:
    """The RMSE of all methods on one field, or None where too few cells count."""
    rows, columns = (n // factor * factor for n in field.values.shape)
    truth = field.values[:rows, :columns]
    coarse = block_mean(truth, factor)
    valid = np.isfinite(coarse)
    where = scored_mask(valid, factor)
    if where.sum() < MIN_SCORED:
        return None
    fine = upscale_array(coarse.astype(np.float32), factor, model, precision=precision)
    scores = classical_scores(fill(coarse[None], valid[None], 16)[0], truth, where, factor)
    best = min(scores, key=lambda method: scores[method])
    mine = rmse(fine, truth, where)
    filled = np.where(where, truth, truth[where].mean())
    moved = shift(np.where(where, fine, filled), filled)
    return {
        "field": field.name,
        "rmse": mine,
        "bicubic": scores[BICUBIC],
        "best": best,
        "to_bicubic": mine / scores[BICUBIC],
        "to_best": mine / scores[best],
        "bias": float((fine[where] - truth[where]).mean()),
        "shift": moved,
        "classical": scores,
    }


def mean(values: list[float]) -> float:
    """Geometric mean."""
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rasters", nargs="+", type=Path)
    parser.add_argument("--factor", type=int, default=3)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    fields = [field for path in sorted(options.rasters) for field in chosen_bands(path)]
    rows = [row for f in fields if (row := score(f, options.factor, options.model, options.precision))]
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'field':28}{'RMSE':>12}{'bicubic':>12}{'to bicubic':>12}{'to best':>9}  {'best classical':15} shift y, x")
    for row in rows:
        y, x = row["shift"]
        print(
            f"{row['field']:28}{row['rmse']:12.5g}{row['bicubic']:12.5g}{row['to_bicubic']:12.3f}"
            f"{row['to_best']:9.3f}  {row['best']:15} {y:+.3f} {x:+.3f}"
        )
    for key in ("to_bicubic", "to_best"):
        values = [row[key] for row in rows]
        print(f"{key}: geometric mean {mean(values):.4f}, largest {max(values):.4f}, {len(values)} fields")


if __name__ == "__main__":
    main()
