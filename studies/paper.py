"""The paper's table: FSRCNN, FSRCNN-s and SRCNN from 91 images, scored on Set5 and Set14 at x2, x3, x4.

Trains what ``results/paper.json`` lacks (settings: ``paper.toml``).

    python studies/paper.py DIR
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from protocol.ablation import split_images
from protocol.engine import upscale_with
from protocol.images import Photo, read_photos
from protocol.patches import augment
from protocol.runs import Options, Run, parse, run_missing
from protocol.scores import Upscale, mean, score
from protocol.training import Network, make_network, take_over, train

TESTS = ("Set5", "Set14")


def score_all(upscale: Upscale, data: Path, factor: int) -> dict[str, Any]:
    """Score a method on the images of the tables."""
    return {name: score(upscale, read_photos(data / name), factor) for name in TESTS}


def measure(model: Network, photos: list[Photo], factor: int) -> dict[str, float]:
    """Mean PSNR of a network in training, for its curve."""
    return {"psnr": round(mean(score(upscale_with(model), photos, factor)), 3)}


def train_run(run: Run, options: Options) -> dict[str, Any]:
    """Train a run's network and score it."""
    images, _ = split_images(options.data / "benchmark" / "T91", hold_out=0)
    model = make_network(run.settings)
    if run.start:
        take_over(model, options.work / f"{run.start}.pt")
    factor = run.settings.factor
    watch = partial(measure, photos=read_photos(options.data / "benchmark" / "Set5"), factor=factor)
    trained = train(model, augment(images, run.settings.scales), run.settings, measure=watch, tell=print)
    torch.save(trained.model.state_dict(), options.work / f"{run.name}.pt")
    scores = score_all(upscale_with(trained.model), options.data / "benchmark", factor)
    return {"curve": trained.curve, "scores": scores, "operations": trained.model.config.operations}


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    options = parse("paper", __doc__, arguments)
    run_missing(options, lambda run: train_run(run, options))


if __name__ == "__main__":
    main()
