"""What does a batch run cost over a loop, and what do two workers gain?

    python benchmarks/batch.py [--files 12] [--side 700] [--rounds 3] [--factor 3] [--model default] [--large 0]

In each round the same rasters go through `upscale_file` with one thread in a loop, through a batch run of one worker
and through one of two; the start of the cluster is not counted. Figures are medians of ratios within a round. With
``--large 4096`` it is one raster of so many rows and columns instead, in one process of two threads, and in parts on
two workers.
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

from geofsrcnn.batch.results import Tally
from geofsrcnn.batch.run import upscale_files
from geofsrcnn.upscale.file import upscale_file


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in {"files": 12, "side": 700, "rounds": 3, "factor": 3}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--large", type=int, default=0)
    parser.add_argument("--model", default="default")
    chosen = parser.parse_args()
    if chosen.large:
        _in_parts(chosen.large, chosen.factor, chosen.model, chosen.rounds)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [_raster(folder / f"{number:03d}.tif", chosen.side, number) for number in range(chosen.files)]
        upscale_file(paths[0], folder / "warm.tif", chosen.factor, model=chosen.model, threads=1)
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


def _in_parts(side: int, factor: int, model: str, rounds: int) -> None:
    """One raster, whole and in parts."""
    ratios, rates = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = _raster(folder / "large.tif", side, 0)
        for number in range(rounds):
            start = time.perf_counter()
            upscale_file(path, folder / "single.tif", factor, model=model, threads=2)
            single = time.perf_counter() - start
            whole: list[float] = []

            def progress(tally: Tally, whole: list[float] = whole) -> None:
                if tally.parts and tally.parts_done == tally.parts and not whole:
                    whole.append(tally.seconds)

            out = folder / "out"
            options = {"model": model, "workers": 2, "split": side**2 // 8, "progress": progress}
            result = upscale_files([path], out, factor, **options)
            [made] = result.done
            assert (out / made.output).read_bytes() == (folder / "single.tif").read_bytes()
            rates.append(made.cells / (result.seconds - whole[0]) / 1e6)
            ratios.append(result.seconds / single)
            print(
                f"round {number}: {single:.1f} s whole, {whole[0]:.1f} s + {result.seconds - whole[0]:.1f} s in parts"
            )
            shutil.rmtree(out)
            (folder / "single.tif").unlink()
    print(f"{side} x {side} cells, x{factor}, {model}: the same bytes in {statistics.median(ratios):.2f} of the time")
    print(f"put together at {statistics.median(rates):.0f} million fine cells a second ({_listed(rates, 1, '.0f')})")


def _listed(values: list[float], times: float, form: str) -> str:
    return ", ".join(f"{times * value:{form}}" for value in values)


def _loop(paths: list[Path], out: Path, factor: int, model: str) -> float:
    out.mkdir()
    start = time.perf_counter()
    for path in paths:
        upscale_file(path, out / f"{path.stem}_x{factor}.tif", factor, model=model, threads=1)
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
