"""What does a batch run cost over a loop, and what do two workers gain?

    python benchmarks/batch.py [--files 12] [--side 700] [--rounds 3] [--factor 3] [--model default]

In each round the same rasters go through `upscale_raster` with one thread in a loop, through a batch run of one worker
and through one of two; the start of the cluster is not counted. Figures are medians of ratios within a round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geofsrcnn.archive import upscale_files
from geofsrcnn.upscale import upscale_raster


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"files": 12, "side": 700, "rounds": 3, "factor": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", default="default")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [_raster(folder / f"{number:03d}.tif", chosen.side, number) for number in range(chosen.files)]
        upscale_raster(paths[0], folder / "warm.tif", chosen.factor, model=chosen.model, threads=1)
        read, made = (each.stat().st_size / 1e6 for each in (paths[0], folder / "warm.tif"))
        rounds: list[dict[str, float]] = []
        for number in range(chosen.rounds):
            seconds = {"loop": _loop(paths, folder / "loop", chosen.factor, chosen.model)}
            for workers in (1, 2) if number % 2 else (2, 1):
                out = folder / f"batch{workers}"
                result = upscale_files(paths, out, chosen.factor, model=chosen.model, workers=workers)
                assert len(result.done) == len(paths), result.failed
                seconds[f"{workers}"] = result.seconds
                for path in paths:
                    one, other = (each / f"{path.stem}_x{chosen.factor}.tif" for each in (folder / "loop", out))
                    assert one.read_bytes() == other.read_bytes()
                shutil.rmtree(out)
            shutil.rmtree(folder / "loop")
            rounds.append(seconds)
            print({key: round(value, 2) for key, value in seconds.items()}, flush=True)
    each = statistics.median(r["loop"] for r in rounds) / chosen.files
    print(
        f"{chosen.files} files, {chosen.side} x {chosen.side} cells, x{chosen.factor}, {chosen.model}: {each:.2f} s "
        f"each in the loop, {read:.1f} MB read, {made:.1f} MB written"
    )
    over = [r["1"] / r["loop"] - 1 for r in rounds]
    gain = [r["1"] / r["2"] for r in rounds]
    print(f"one worker over the loop: {100 * statistics.median(over):+.1f} % ({_listed(over, 100, '+.1f')})")
    print(f"two workers against one: {statistics.median(gain):.2f} times ({_listed(gain, 1, '.2f')})")


def _listed(values: list[float], times: float, form: str) -> str:
    return ", ".join(f"{times * value:{form}}" for value in values)


def _loop(paths: list[Path], out: Path, factor: int, model: str) -> float:
    out.mkdir()
    start = time.perf_counter()
    for path in paths:
        upscale_raster(path, out / f"{path.stem}_x{factor}.tif", factor, model=model, threads=1)
    return time.perf_counter() - start


def _raster(path: Path, side: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    values = np.cumsum(np.cumsum(rng.normal(size=(side, side)), 0), 1).astype(np.float32)
    form = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32", "compress": "deflate"}
    with rasterio.open(path, "w", crs="EPSG:32630", transform=from_origin(0, 0, 30, 30), **form) as file:
        file.write(values, 1)
    return path


if __name__ == "__main__":
    main()
