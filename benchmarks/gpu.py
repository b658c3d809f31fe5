"""What a GPU gives beside the processor: equal results, cells a second, steps of training a second.

    python benchmarks/gpu.py [--device cuda] [--size 4096] [--rounds 5] [--skip equality arrays files training]

Equality: every shipped model at several tile sizes against the processor; the largest difference as a share of the
range of the 3 x 3 coarse cells around (goal 1e-4). Arrays and files: medians of interleaved rounds, the processor's
among them; `streams` gives every thread a CUDA stream and pinned buffers, which the package does not do by itself.
Training: steps of `default` in float32 and with bfloat16 (AMP). `--device cpu` runs all of it where there is no GPU,
with no streams.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise import Noise, Nothing, write_input
from torch import Tensor
from torch.nn.functional import max_pool2d

from geofsrcnn.engine.arrays import upscale_array
from geofsrcnn.engine.base import Job
from geofsrcnn.engine.run import run
from geofsrcnn.grids.windows import Plan, Window
from geofsrcnn.networks.catalog import list_models, load_model
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.inference import Upsampler
from geofsrcnn.training.loop import Run, penalty
from geofsrcnn.training.schedule import TrainOptions
from geofsrcnn.upscale.file import upscale_file

FACTOR = 3
PARTS = ("equality", "arrays", "files", "training")


class Streamed:
    """An upsampler that computes and copies in a CUDA stream of each thread, through pinned buffers."""

    def __init__(self, upsampler: Upsampler, device: torch.device) -> None:
        self._upsampler, self._device = upsampler, device
        self._streams = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._upsampler, name)

    def __call__(self, x: Tensor) -> Tensor:
        """``(n, c, y, x)`` to the fine core, both in the processor's memory."""
        if not hasattr(self._streams, "own"):
            self._streams.own = torch.cuda.Stream(self._device)
        with torch.cuda.stream(self._streams.own):
            fine = self._upsampler(x.pin_memory().to(self._device, non_blocking=True))
            here = torch.empty(fine.shape, dtype=fine.dtype, pin_memory=True)
            here.copy_(fine, non_blocking=True)
        self._streams.own.synchronize()
        return here


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of work."""
    settle(device)
    start = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - start


def time_rounds(
    candidates: dict[str, Callable[[], object]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Time candidates by turns: seconds of each round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, work in candidates.items():
            took = seconds(work, device)
            if number:  # the first round warms up
                times[name].append(took)
    return times


def compare_rounds(candidates: dict[str, Callable[[], object]], rounds: int, cells: int, device: torch.device) -> None:
    """Time candidates by turns, and print medians."""
    for name, each in time_rounds(candidates, rounds, device).items():
        print(f"  {name:28} {statistics.median(each):8.3f} s ({min(each):.3f} to {max(each):.3f}), "
              f"{cells / statistics.median(each) / 1e6:.2f} million coarse cells a second")  # fmt: skip


def local_range(coarse: np.ndarray) -> np.ndarray:
    """Range of the 3 x 3 cells around each cell, ``(1, y, x)``."""
    x = torch.from_numpy(coarse)[None]
    return (max_pool2d(x, 3, 1, 1) + max_pool2d(-x, 3, 1, 1))[0].numpy()


def check_equality(device: str, size: int, tiles: Sequence[int]) -> None:
    """Print how far every shipped model's results on the device are from the processor's."""
    coarse = Noise(min(size, 400)).values
    around = local_range(coarse)
    networks = [(info.name, info.factor) for info in list_models() if info.factor is not None]
    for name, factor in networks:
        expected = upscale_array(coarse, factor, name, device="cpu")
        share = np.repeat(np.repeat(around, factor, axis=1), factor, axis=2)
        found = {}
        for tile in tiles:
            result = upscale_array(coarse, factor, name, device=device, tile_size=tile)
            found[tile] = float((np.abs(result - expected) / share).max())
        print(f"  {name} x{factor}: " + ", ".join(f"tile {tile} {each:.1e}" for tile, each in found.items()))


def compare_arrays(device: torch.device, size: int, tiles: Sequence[int], rounds: int) -> None:
    """Time runs from array to nothing, of each tile size."""
    source = Noise(size)
    extent = Window(0, size, 0, size)
    threads = len(os.sched_getaffinity(0))

    def work(on: str, tile: int, wrap: bool) -> Callable[[], object]:
        upsampler = load_model("default", FACTOR, device=on).upsampler
        assert upsampler is not None
        job = Job(Streamed(upsampler, device) if wrap else upsampler, FACTOR)
        return lambda: run(job, source, Nothing(), Plan(extent, extent, tile, job.reach, FACTOR), threads)

    candidates = {f"cpu, tile {tiles[0]}": work("cpu", tiles[0], wrap=False)}
    for tile in tiles:
        candidates[f"{device}, tile {tile}"] = work(str(device), tile, wrap=False)
        if device.type == "cuda":
            candidates[f"{device}, tile {tile}, streams"] = work(str(device), tile, wrap=True)
    compare_rounds(candidates, rounds, size**2, device)


def compare_files(device: torch.device, size: int, tiles: Sequence[int], rounds: int) -> None:
    """Time runs from file to file."""
    with tempfile.TemporaryDirectory() as folder:
        coarse, fine = Path(folder) / "coarse.tif", Path(folder) / "fine.tif"
        write_input(coarse, Noise(size).values)

        def work(on: str, tile: int) -> Callable[[], object]:
            return lambda: upscale_file(coarse, fine, FACTOR, device=on, tile_size=tile, overwrite=True)

        candidates = {f"cpu, tile {tiles[0]}": work("cpu", tiles[0])}
        candidates |= {f"{device}, tile {tile}": work(str(device), tile) for tile in tiles}
        compare_rounds(candidates, rounds, size**2, device)


def train_steps(device: torch.device, precision: str, patch: int, batch: int) -> Iterator[None]:
    """Take steps of a training of `default`, one each time."""
    options = TrainOptions(patch=patch, batch_size=batch, precision=precision)
    config = FSRCNNConfig(factor=FACTOR, **PRESETS["default"])
    state = Run(FSRCNN(config).to(device), options)
    side = patch + 2 * state.model.halo
    random = torch.Generator().manual_seed(0)
    coarse = torch.randn(batch, 1, side, side, generator=random).to(device)
    fine = torch.randn(batch, 1, FACTOR * patch, FACTOR * patch, generator=random).to(device)
    while True:
        with state.autocast():
            result = state.model(coarse)
        state.take_step(penalty(result.float() - fine, None, options), [])
        yield


def compare_training(device: torch.device, rounds: int, patch: int, batch: int) -> None:
    """Time steps of training."""
    steps = 10
    kinds = {precision: train_steps(device, precision, patch, batch) for precision in ("float32", "bfloat16")}
    candidates = {name: lambda each=each: [next(each) for _ in range(steps)] for name, each in kinds.items()}
    for precision, times in time_rounds(candidates, rounds, device).items():
        rates = [steps / took for took in times]
        print(f"  {precision}: {statistics.median(rates):.1f} steps a second ({min(rates):.1f} to {max(rates):.1f})")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the coarse raster")
    parser.add_argument("--tiles", type=int, nargs="+", default=[128, 256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=[])
    options = parser.parse_args()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    print(f"{name}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f}, torch {torch.__version__}")
    parts: dict[str, Callable[[], None]] = {
        "equality": lambda: check_equality(str(device), options.size, options.tiles),
        "arrays": lambda: compare_arrays(device, options.size, options.tiles, options.rounds),
        "files": lambda: compare_files(device, options.size, options.tiles, options.rounds),
        "training": lambda: compare_training(device, options.rounds, options.patch, options.batch),
    }
    for part, measure in parts.items():
        if part not in options.skip:
            print(part)
            measure()
    if device.type == "cuda":
        print(f"peak memory of the GPU: {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
