"""Train on coarse and fine fields of the same times, see whether it is any good, and apply it.

    python examples/pairs.py DIR

Air temperature of HadGEM2-AO over North America, 240 years (iris-sample-data, Open Government Licence): its means over
4 x 4 cells are the coarse fields, written to DIR as a user would have them. Years before 2000 are fitted on, those from
2000 to 2099 are scored on; they are warmer, so a cell is its partner with a mean correction before the network, not its
regression, which does worse there. With files of your own the commands at the end are all you need.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import iris_sample_data
import xarray as xr

FACTOR = 4


def main() -> None:
    """Make the files, and run the commands."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(iris_sample_data.path) / "E1_north_america.nc"
    with xr.open_dataset(source, engine="netcdf4", decode_times=xr.coders.CFDatetimeCoder(use_cftime=True)) as dataset:
        fine = dataset[["air_temperature"]].load()
    size = {"latitude": FACTOR, "longitude": FACTOR}
    coarse = fine.coarsen(size, boundary="trim").mean(keep_attrs=True)
    fine.to_netcdf(folder / "fine.nc")
    coarse.to_netcdf(folder / "coarse.nc")
    options = f"--factor {FACTOR} --until 2000-01-01 --base correction --no-calendar"
    for command in (
        f"train-pairs fine.nc --coarse coarse.nc {options} --out model.safetensors",
        "evaluate-pairs model.safetensors --fine fine.nc --coarse coarse.nc --report report",
        "upscale coarse.nc result.nc --model model.safetensors",
    ):
        print(f"$ geofsrcnn {command}", flush=True)
        subprocess.run([sys.executable, "-m", "geofsrcnn", *command.split(), "--overwrite"], cwd=folder, check=True)


if __name__ == "__main__":
    main()
