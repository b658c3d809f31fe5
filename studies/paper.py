"""The paper's table: FSRCNN, FSRCNN-s and SRCNN from 91 images, scored on Set5 and Set14 at x2, x3, x4.

Trains what ``results/paper.json`` lacks (settings: ``paper.toml``).

    python studies/paper.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from protocol.ablation import split_images
from protocol.engine import upscale_with
from protocol.images import Photo, make_fine, read_photos
from protocol.patches import augment
from protocol.runs import Options, Run, parse, run_missing
from protocol.scores import Upscale, mean, score
from protocol.tables import table
from protocol.training import Network, save, train

TESTS = ("Set5", "Set14")

FACTORS = (2, 3, 4)

CURVE = (2000, 4000, 10000, 20000, 30000, 50000, 100000, 150000)
"""Steps that the page shows of the longest training."""

PUBLISHED: dict[str, dict[str, tuple[float, float, float]]] = {
    "bicubic": {"Set5": (33.66, 30.39, 28.42), "Set14": (30.23, 27.54, 26.00)},
    "SRCNN": {"Set5": (36.33, 32.45, 30.15), "Set14": (32.15, 29.01, 27.21)},
    "SRCNN-Ex": {"Set5": (36.67, 32.83, 30.45), "Set14": (32.35, 29.26, 27.44)},
    "FSRCNN-s": {"Set5": (36.53, 32.55, 30.04), "Set14": (32.22, 29.08, 27.12)},
    "FSRCNN": {"Set5": (36.94, 33.06, 30.55), "Set14": (32.54, 29.37, 27.50)},
}
"""PSNR in dB at x2, x3, x4 after training on the 91 images (Dong, Loy, Tang 2016, table 3)."""

ROWS = {
    **{name: f"{name} x{{}}" for name in PUBLISHED},
    "FSRCNN, new deconvolution alone": "FSRCNN x{}, deconvolution",
    "FSRCNN-s improved": "FSRCNN-s improved x{}",
}
"""Runs of the table's rows, for a factor."""


def score_all(upscale: Upscale, data: Path, factor: int) -> dict[str, Any]:
    """Score a method on the images of the tables."""
    return {name: score(upscale, read_photos(data / name), factor) for name in TESTS}


def measure(model: Network, photos: list[Photo], factor: int) -> dict[str, float]:
    """Mean PSNR of a network in training, for its curve."""
    return {"psnr": round(mean(score(upscale_with(model), photos, factor)), 3)}


def train_run(run: Run, options: Options) -> dict[str, Any]:
    """Train a run's network and score it."""
    images, _ = split_images(options.data / "benchmark" / "T91", hold_out=0)
    model = options.begin(run)
    factor = run.settings.factor
    watch = partial(measure, photos=read_photos(options.data / "benchmark" / "Set5"), factor=factor)
    trained = train(model, augment(images, run.settings.scales), run.settings, measure=watch, tell=print)
    save(trained.model, options.weights(run.name))
    scores = score_all(upscale_with(trained.model), options.data / "benchmark", factor)
    return {"curve": trained.curve, "scores": scores, "operations": trained.model.config.operations}


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""

    def row(name: str, test: str) -> list[str]:
        cells = [name]
        for factor, published in zip(FACTORS, PUBLISHED.get(name, {}).get(test, (None,) * 3), strict=True):
            found = results.get(ROWS[name].format(factor))
            cells.append("" if published is None else f"{published:.2f}")
            scores = None if found is None else found["scores"][test]
            cells += ["", ""] if scores is None else [f"**{mean(scores):.2f}**", f"{mean(scores, 'ssim'):.4f}"]
        return cells

    header = ["network", *(text for factor in FACTORS for text in (f"x{factor}, paper", "here", "SSIM"))]
    curve = results["FSRCNN x3"]["curve"]
    points = [point for point in curve if point["step"] in CURVE]
    return {
        **{test: table(header, [row(name, test) for name in ROWS]) for test in TESTS},
        "srcnn": f"{results['SRCNN x3']['run']['settings']['steps']:,}",
        "srcnn_ex": f"{results['SRCNN-Ex x3']['run']['settings']['steps']:,}",
        "curve": table(
            ["steps", "seconds of CPU", "Set5, x3"],
            [[f"{point['step']:,}", f"{point['seconds']:,.0f}", f"{point['psnr']:.2f}"] for point in points],
        ),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options = parse("paper", __doc__, arguments)
    results = run_missing(options, lambda run: train_run(run, options))
    for factor in FACTORS:
        if (name := f"bicubic x{factor}") not in results.values:
            bicubic = partial(make_fine, factor=factor)
            results.values[name] = {"scores": score_all(bicubic, options.data / "benchmark", factor)}
            results.save()


if __name__ == "__main__":
    main()
