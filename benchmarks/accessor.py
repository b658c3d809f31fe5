"""What the accessor costs over `upscale_array`: 24 x 721 x 1440 float32, interleaved, median of the ratios.

python benchmarks/accessor.py [--model default] [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import xarray as xr

from geofsrcnn import load_checkpoint, upscale_array


def main() -> None:
    """Print each round's seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_checkpoint(options.model, 3)
    field = np.random.default_rng(0).normal(size=(24, 721, 1440)).astype("float32")
    dataset = xr.Dataset(
        {"t": (("time", "lat", "lon"), field)},
        {
            "lat": ("lat", np.linspace(90, -90, 721), {"units": "degrees_north"}),
            "lon": ("lon", np.arange(0, 360, 0.25), {"units": "degrees_east"}),
        },
    )

    def array() -> np.ndarray:
        return upscale_array(field, 3, model, period=1440)

    def accessor() -> np.ndarray:
        return dataset.fsrcnn.upscale(3, model)["t"].to_numpy()

    ratios = []
    for number in range(options.rounds):
        seconds, sums = {}, set()
        for run in (array, accessor) if number % 2 else (accessor, array):
            start = time.perf_counter()
            fine = run()
            seconds[run] = time.perf_counter() - start
            sums.add(float(fine.sum(dtype="float64")))
            del fine  # the other one is to find the same memory free
        assert len(sums) == 1
        ratios.append(seconds[accessor] / seconds[array])
        print(f"array {seconds[array]:.1f} s, accessor {seconds[accessor]:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median {median(ratios):.3f}")


if __name__ == "__main__":
    main()
