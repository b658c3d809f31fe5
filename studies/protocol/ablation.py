"""Variants of a network or training, several seeds each, told apart by what they score where they were not trained.

Errors are those of whole fields, rims included: ``inside`` and ``rim`` are root mean squares of errors further from the
edge than `RIM` coarse cells and nearer. A variant's difference to the first one is taken seed by seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import skimage

from geofsrcnn.values.blocks import block_mean
from protocol.engine import upscale_with
from protocol.grids import read_grids
from protocol.images import Array, Photo, make_coarse, make_fine, read_image, to_luma, trim
from protocol.patches import PAPER_SCALES, Coarsen, augment
from protocol.runs import Options, Run, parse, run_missing
from protocol.training import save, train

RIM = 4
"""Coarse cells from the edge that count as rim."""

HOLD_OUT = 5
"""Every so many-th of the 91 images is scored on, not trained on."""


PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""Photographs in scikit-image's package."""


@cache
def split_images(folder: Path, hold_out: int = HOLD_OUT) -> tuple[list[Array], list[Photo]]:
    """Read the 91 images: those to train on, and the luma of those that are held out; 0 holds out none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix == ".png")
    held = set(paths[hold_out // 2 :: hold_out]) if hold_out else set()
    return [read_image(p) for p in paths if p not in held], [
        Photo(p.stem, to_luma(read_image(p))) for p in paths if p in held
    ]


@cache
def read_domain(
    data: Path, domain: str, scales: tuple[float, ...] = PAPER_SCALES
) -> tuple[list[Array], list[Photo], Coarsen]:
    """Fine fields to train on, fields to score on, and how both are made coarser, of ``images`` or ``grids``.

    Images are trained on at several scales, grids as they are.
    """
    if domain == "grids":
        return [each.luma for each in read_grids(data / "train")], read_grids(data / "validation"), block_mean
    images, held = split_images(data / "benchmark" / "T91")
    return augment(images, scales), held, make_coarse


def errors(upscale: Callable[[Array], Array], photos: Sequence[Photo], factor: int, coarsen: Coarsen) -> dict[str, Any]:
    """Root mean square errors of a method ``inside`` and at the ``rim``, field by field."""
    found = {}
    for photo in photos:
        truth = trim(photo.luma, factor)
        if min(truth.shape) < 4 * RIM * factor:
            continue
        square = (upscale(coarsen(truth, factor)) - truth) ** 2
        edge = RIM * factor
        inner = square[edge:-edge, edge:-edge]
        rim = (square.sum() - inner.sum()) / (square.size - inner.size)
        found[photo.name] = {"inside": float(np.sqrt(inner.mean())), "rim": float(np.sqrt(rim))}
    return found


@cache
def read_more() -> list[Array]:
    """Read the photographs that scikit-image carries: they stand in for General-100, which is not at hand."""
    return [read_image(Path(skimage.__file__).parent / "data" / name) for name in PHOTOGRAPHS]


def train_run(run: Run, options: Options) -> dict[str, Any]:
    """Train a run's network, keep its weights, and measure its errors."""
    examples, photos, coarsen = read_domain(options.data, run.domain, run.settings.scales)
    if run.more:
        examples = [*examples, *augment(read_more(), run.settings.scales)]
    model = options.begin(run)
    trained = train(model, examples, run.settings, coarsen, every=max(run.settings.steps // 4, 1))
    save(trained.model, options.weights(run.name))
    found = errors(upscale_with(trained.model), photos, run.settings.factor, coarsen)
    return {"curve": trained.curve, "errors": found, "operations": trained.model.config.operations}


def bicubic_errors(data: Path, domain: str, factor: int) -> dict[str, Any]:
    """Errors of bicubic interpolation, which others are divided by."""
    _, photos, coarsen = read_domain(data, domain)
    return errors(lambda coarse: make_fine(coarse, factor), photos, factor, coarsen)


def run_ablation(study: str, doc: str | None, arguments: list[str] | None = None) -> None:
    """Run what a study's results lack."""
    options = parse(study, doc, arguments)
    results = run_missing(options, lambda run: train_run(run, options))
    for domain, factor in {(run.domain, run.settings.factor) for run in options.runs}:
        if (name := f"bicubic {domain} x{factor}") not in results.values:
            results.values[name] = {"errors": bicubic_errors(options.data, domain, factor)}
            results.save()


def compare(
    results: Mapping[str, Any], variants: Sequence[str], seeds: Sequence[int], place: str = "inside"
) -> dict[str, tuple[float, float]]:
    """Compare variants with the first one.

    Parameters
    ----------
    results : mapping
        By the names of runs, ``VARIANT#SEED``.
    variants : sequence of str
        The first one is what the others are compared with.
    seeds : sequence of int
        Those of each variant.
    place : {"inside", "rim"}
        Which errors.

    Returns
    -------
    dict
        For each variant the mean over seeds of the difference in dB (positive is better), a mean over fields, and its
        standard error.
    """
    found = {}
    for variant in variants:
        gains = [
            _gain(results[f"{variants[0]}#{seed}"]["errors"], results[f"{variant}#{seed}"]["errors"], place)
            for seed in seeds
        ]
        spread = float(np.std(gains, ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
        found[variant] = float(np.mean(gains)), spread
    return found


def level(
    results: Mapping[str, Any], reference: str, variant: str, seeds: Sequence[int], place: str = "inside"
) -> float:
    """Mean gain of a variant over bicubic interpolation in dB."""
    gains = [_gain(results[reference]["errors"], results[f"{variant}#{seed}"]["errors"], place) for seed in seeds]
    return float(np.mean(gains))


def _gain(before: Mapping[str, Any], after: Mapping[str, Any], place: str) -> float:
    """Mean over fields of 20 log10 of the ratio of errors."""
    return float(np.mean([20 * math.log10(before[name][place] / after[name][place]) for name in before]))
