"""Time of SRCNN, FSRCNN and FSRCNN-s on the same image, through the same engine: what "fast" meant, and means.

    python studies/speed.py

An image of 240 x 240 cells is made three times finer, as in the paper's introduction. Weights are random: they do not
change the time. Networks take turns, the median of the rounds counts, on one thread and on all.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofsrcnn import upscale_array
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.srcnn import SRCNN, SRCNNConfig
from protocol.engine import as_model
from protocol.runs import HERE
from protocol.training import PAPER_FORM

FACTOR = 3

FORMS: dict[str, SRCNNConfig | FSRCNNConfig] = {
    "SRCNN-Ex": SRCNNConfig(FACTOR, kernels=(9, 5, 5)),
    "SRCNN": SRCNNConfig(FACTOR),
    "FSRCNN": FSRCNNConfig(FACTOR, **PRESETS["paper"]),
    "FSRCNN-s": FSRCNNConfig(FACTOR, **{**PRESETS["paper"], "d": 32, "s": 5, "m": 1}),
    "FSRCNN, zeros at each layer": FSRCNNConfig(FACTOR, **PAPER_FORM),
    "FSRCNN (64, 32, 4), the article's": FSRCNNConfig(FACTOR, **{**PRESETS["paper"], "d": 64, "s": 32, "m": 4}),
    "default": FSRCNNConfig(FACTOR, overshoot=0.5),
    "small": FSRCNNConfig(FACTOR, **PRESETS["small"], overshoot=0.5),
}
"""Networks by the names of the table."""


def make_model(name: str) -> Model:
    """Make a network of random weights ready to run."""
    torch.manual_seed(0)
    config = FORMS[name]
    return as_model(SRCNN(config) if isinstance(config, SRCNNConfig) else FSRCNN(config), name)


def measure(size: int, rounds: int, threads: int) -> dict[str, list[float]]:
    """Measure the seconds of each network in each round."""
    models = {name: make_model(name) for name in FORMS}
    image = np.random.default_rng(0).uniform(0, 1, (size, size)).astype(np.float32)
    found: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        for name, model in models.items():
            started = time.perf_counter()
            upscale_array(image, FACTOR, model, threads=threads)
            if number:  # the first round warms up
                found[name].append(time.perf_counter() - started)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "speed.json")
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results: dict[str, Any] = {"size": options.size, "factor": FACTOR, "machine": platform.machine()}
    for threads in options.threads:
        seconds = measure(options.size, options.rounds, threads)
        results[f"{threads} threads"] = {
            name: {
                "median": statistics.median(times),
                "fastest": min(times),
                "slowest": max(times),
                "operations": FORMS[name].operations * options.size**2,
            }
            for name, times in seconds.items()
        }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
