"""Time of SRCNN, FSRCNN and FSRCNN-s on the same image, through the same engine: what "fast" meant, and means.

    python studies/speed.py

An image of 240 x 240 cells is made three times finer, as in the paper's introduction. Weights are random: they do not
change the time. Networks take turns, the median of the rounds counts, on one thread and on two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
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
from protocol.tables import table
from protocol.training import PAPER_FORM

FACTOR = 3

ARTICLE = "the article's (64, 32, 4)"

FORMS: dict[str, SRCNNConfig | FSRCNNConfig] = {
    "SRCNN-Ex": SRCNNConfig(FACTOR, kernels=(9, 5, 5)),
    "SRCNN": SRCNNConfig(FACTOR),
    "FSRCNN": FSRCNNConfig(FACTOR, **PRESETS["paper"]),
    "FSRCNN-s": FSRCNNConfig(FACTOR, **{**PRESETS["paper"], "d": 32, "s": 5, "m": 1}),
    "FSRCNN, one slope a layer": FSRCNNConfig(FACTOR, **{**PRESETS["paper"], "prelu": "layer"}),
    "FSRCNN, zeros at each layer": FSRCNNConfig(FACTOR, **PAPER_FORM),
    ARTICLE: FSRCNNConfig(FACTOR, **{**PRESETS["paper"], "d": 64, "s": 32, "m": 4}),
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


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times faster one network is than another: the median of the rounds."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    one, two = results["1 threads"], results["2 threads"]
    rates = {name: 1 / statistics.median(times) for name, times in one.items()}

    def row(name: str) -> list[str]:
        low, _, high = statistics.quantiles(one[name], n=4)
        return [
            name,
            f"{FORMS[name].operations:,}",
            f"{1000 / rates[name]:.0f} ms",
            f"{1000 * low:.0f} to {1000 * high:.0f}",
            f"{rates[name]:.1f}",
            f"{1 / statistics.median(two[name]):.1f}",
            f"{ratio(one, 'SRCNN-Ex', name):.1f}",
        ]

    header = [
        "network",
        "multiply-adds",
        "median",
        "half of the rounds",
        "images a second",
        "two threads",
        "times faster",
    ]
    return {
        "table": table(header, [row(name) for name in FORMS]),
        "size": results["size"],
        "rounds": len(one["FSRCNN"]),
        "of_ex": f"{ratio(one, 'SRCNN-Ex', 'FSRCNN'):.0f}",
        "printed_of_ex": f"{ratio(one, 'SRCNN-Ex', 'FSRCNN, zeros at each layer'):.0f}",
        "of_srcnn": f"{ratio(one, 'SRCNN', 'FSRCNN'):.1f}",
        "small_of_srcnn": f"{ratio(one, 'SRCNN', 'FSRCNN-s'):.1f}",
        "operations": f"{FORMS['SRCNN-Ex'].operations / FORMS['FSRCNN'].operations:.0f}",
        "srcnn_rate": f"{rates['SRCNN']:.1f}",
        "rate": f"{rates['FSRCNN']:.0f}",
        "layer_rate": f"{rates['FSRCNN, one slope a layer']:.0f}",
        "small_rate": f"{rates['FSRCNN-s']:.0f}",
        "layer": f"{ratio(one, 'FSRCNN', 'FSRCNN, one slope a layer'):.1f}",
        "article": f"{FORMS[ARTICLE].operations / FORMS['FSRCNN'].operations:.1f}",
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "speed.json")
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results: dict[str, Any] = {"size": options.size, "factor": FACTOR}
    for threads in options.threads:
        seconds = measure(options.size, options.rounds, threads)
        results[f"{threads} threads"] = {name: [round(each, 5) for each in times] for name, times in seconds.items()}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
