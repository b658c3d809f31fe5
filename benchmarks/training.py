"""How fast is a step of training, beside the machine's matrix product?

    python benchmarks/training.py [--size default] [--patch 48] [--batch-size 16] [--rounds 9] [--threads 2]
        [--device cpu]

Rounds are interleaved; figures are medians of ratios to `torch.mm` (2048 x 2048, float32) timed in the same round.
Counted are the multiply-adds that the network does for a patch and its halo: forward, and backward for weights and
inputs (not for the first layer's input). `loading` is the share of a step's time that is spent waiting for patches of
a real raster, which are made beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.process import keep_freed_memory
from geofsrcnn.training.loop import Run, penalty
from geofsrcnn.training.patches import Patches, prefetch, split
from geofsrcnn.training.schedule import TrainOptions


def operations(config: FSRCNNConfig, patch: int) -> float:
    """Multiply-adds of a step for one patch, forward and backward."""
    d, s, f, taps = config.d, config.s, config.factor, config.deconvolution_taps
    size = patch + 2 * config.halo - (config.feature_kernel - 1) - 2 * (config.halo - config.network_halo)
    first = 2 * d * config.feature_kernel**2 * size**2  # two differences a cell
    rest = d * s * size**2
    for _ in range(config.m):
        size -= config.mapping_kernel - 1
        rest += s * s * config.mapping_kernel**2 * size**2
    rest += s * d * size**2 + d * f * f * taps**2 * (size - taps + 1) ** 2
    return float(3 * rest + 2 * first)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"patch": 48, "batch-size": 16, "rounds": 9, "threads": 2, "factor": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--size", default="default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    keep_freed_memory()  # as the command does
    device = torch.device(chosen.device)

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))

    def product() -> float:
        settle()
        start = time.perf_counter()
        torch.mm(a, b)
        settle()
        return 2048**3 / (time.perf_counter() - start)

    config = FSRCNNConfig(factor=chosen.factor, **PRESETS[chosen.size])
    options = TrainOptions(patch=chosen.patch, batch_size=chosen.batch_size, precision=chosen.precision)
    run = Run(FSRCNN(config).to(device), options)
    with tempfile.TemporaryDirectory() as folder:
        fields = split([_raster(Path(folder))], [], chosen.factor, hold_out=0.15, seed=0)[0]
    patches = Patches(fields, chosen.factor, config.halo, options)
    batches = prefetch(patches.draw, 0)
    spent: list[float] = []
    waited: list[float] = []
    ratios: list[float] = []
    steps = 6
    for number in range(chosen.rounds + 1):
        limit = statistics.median(product() for _ in range(5))
        began, waiting = time.perf_counter(), 0.0
        for _ in range(steps):
            before = time.perf_counter()
            batch = next(batches)
            waiting += time.perf_counter() - before
            coarse, fine = (torch.from_numpy(part).to(device) for part in (batch.coarse, batch.fine))
            with run.autocast():
                result = run.model(coarse)
            run.take_step(penalty(result.float() - fine, None, options), batch.origins)
        settle()
        took = time.perf_counter() - began
        if number:  # the first round warms up
            ratios.append(operations(config, chosen.patch) * chosen.batch_size * steps / took / limit)
            spent.append(took / steps)
            waited.append(waiting / took)
    useful = 3 * config.operations * chosen.patch**2 / operations(config, chosen.patch)
    print(
        f"{chosen.size} x{chosen.factor}, patch {chosen.patch}, batch {chosen.batch_size}, {chosen.threads} threads, "
        f"{device}"
    )
    print(
        f"of torch.mm: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds)"
    )
    print(f"of it without the halo: {statistics.median(ratios) * useful:.3f}")
    print(f"a step: {1e3 * statistics.median(spent):.1f} ms; loading: {100 * statistics.median(waited):.1f} % of it")


def _raster(folder: Path) -> Path:
    """A rough surface of 1200 x 1200 cells."""
    import rasterio

    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft2(rng.normal(size=(1200, 1200)))
    distance = np.hypot(np.fft.fftfreq(1200)[:, None], np.fft.rfftfreq(1200)[None, :])
    surface = np.fft.irfft2(spectrum / np.maximum(distance, 1e-3) ** 1.5).astype(np.float32)
    path = folder / "surface.tif"
    affine = rasterio.transform.from_origin(0, 0, 30, 30)
    with rasterio.open(
        path, "w", driver="GTiff", width=1200, height=1200, count=1, dtype="float32", transform=affine, crs="EPSG:32633"
    ) as out:
        out.write(surface, 1)
    with RasterSource(path) as source:
        assert source.shape == (1, 1200, 1200)
    return path


if __name__ == "__main__":
    main()
