"""Speed beside the machine's matrix products and beside the article's way, all in one run, interleaved.

Each round times, in this order: float32 torch.mm (the limit), the article's network on a whole image of 1024 x 1024
(replicate padding at every layer, ConvTranspose2d, torch's own threads), our engine on an array, and our engine from
file to file. Figures are medians of the rounds' ratios, their spread beside them; wall time and CPU time.

    python benchmarks/speed.py --size 4096 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from noise import Noise, Nothing, write_input
from torch import nn

from geofsrcnn.engine.base import TILE, Job
from geofsrcnn.engine.run import run
from geofsrcnn.grids.windows import Plan, Window
from geofsrcnn.networks.catalog import Model, load_model
from geofsrcnn.upscale.file import upscale_file

FACTOR = 3
ARTICLE_SIZE = 1024
MATRIX = 2048


class Article(nn.Module):
    """The article's network with the one change that makes it run: a centred deconvolution without padding mode."""

    def __init__(self) -> None:
        super().__init__()

        def convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="replicate")

        self.layers = nn.Sequential(
            convolution(1, 64, 5),
            nn.PReLU(),
            convolution(64, 32, 1),
            nn.PReLU(),
            *(convolution(32, 32, 3) for _ in range(4)),
            nn.PReLU(),
            convolution(32, 64, 1),
            nn.PReLU(),
            nn.ConvTranspose2d(64, 1, 9, stride=3, padding=3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The fine image."""
        return self.layers(x)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def limit() -> tuple[float, float]:
    """Wall and CPU seconds for 10**9 multiply-adds of a float32 matrix product."""
    a, b = torch.randn(MATRIX, MATRIX), torch.randn(MATRIX, MATRIX)
    torch.mm(a, b)
    times = [timed(lambda: torch.mm(a, b)) for _ in range(7)]
    unit = 1e9 / MATRIX**3
    return statistics.median(t[0] for t in times) * unit, statistics.median(t[1] for t in times) * unit


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048, help="rows and columns of our raster")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--tile-size", type=int, default=TILE)
    parser.add_argument("--compress", default=None, help="creation option COMPRESS of the output, such as NONE")
    parser.add_argument("--no-files", action="store_true")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    method = load_model(options.model, FACTOR, precision=options.precision)
    article, image = Article().eval(), torch.randn(1, 1, ARTICLE_SIZE, ARTICLE_SIZE)
    source = Noise(options.size)
    job = Job(method.upsampler, FACTOR)
    extent = Window(0, options.size, 0, options.size)
    plan = Plan(extent, extent, options.tile_size, job.reach, FACTOR)
    co = {} if options.compress is None else {"COMPRESS": options.compress}
    print(f"{cores} cores, load {os.getloadavg()[0]:.2f}, torch {torch.__version__}, {options.size} x {options.size}, "
          f"x{FACTOR}, {method.name}, {options.precision}, tile {options.tile_size}")  # fmt: skip
    rounds = []
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        coarse, fine = Path(folder) / "coarse.tif", Path(folder) / "fine.tif"
        write_input(coarse, source.values)
        for number in range(options.rounds + 1):
            figures = {"limit": limit(), "article": timed(lambda: article(image))}
            figures["engine"] = timed(lambda: run(job, source, Nothing(), plan, cores))
            if not options.no_files:
                figures["file"] = timed(
                    lambda: upscale_file(coarse, fine, FACTOR, options.model, precision=options.precision,
                                           tile_size=options.tile_size, co=co, overwrite=True)
                )  # fmt: skip
            if number:  # the first round warms up
                rounds.append(figures)
    report(rounds, method, options.size)


def report(rounds: list[dict[str, tuple[float, float]]], method: Model, size: int) -> None:
    """Print medians and spreads of the ratios."""
    cells = size * size
    work = method.operations * cells / 1e9
    rates = [1 / r["limit"][0] for r in rounds]
    print(f"load after {os.getloadavg()[0]:.2f}; limit {statistics.median(rates):.0f} (from {min(rates):.0f} to "
          f"{max(rates):.0f}) thousand million multiply-adds a second, wall")  # fmt: skip
    for name in ("engine", "file"):
        if name not in rounds[0]:
            continue
        seconds = [r[name][0] for r in rounds]
        print(f"{name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), "
              f"{9 * cells / statistics.median(seconds) / 1e6:.1f} million fine cells a second")  # fmt: skip
        for kind, label in ((0, "wall"), (1, "CPU")):
            fraction = [work * r["limit"][kind] / r[name][kind] for r in rounds]
            speed = [r["article"][kind] * cells / ARTICLE_SIZE**2 / r[name][kind] for r in rounds]
            print(f"  {label:4}: {show(fraction)} of the limit, {show(speed)} x the article's way")


def show(values: list[float]) -> str:
    """Median and spread."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
