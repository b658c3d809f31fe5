"""NCEP reanalysis to E-OBS over Iberia: temperature and rain of winter days, with elevation.

    python examples/iberia.py DIR PAIR ELEVATION

PAIR is a folder with ncep_surface.nc, ncep_levels.nc (coarse) and eobs_fine.nc (SantanderMetGroup/climate4R.datasets);
ELEVATION any raster or NetCDF of heights that covers Iberia, such as ETOPO1. Winters before 1993-06 are fitted on, and
later ones scored on: a model of four members and of how wrong they may be, a report, and the result for all days.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the commands."""
    folder, pair, elevation = (Path(name).absolute() for name in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    surface, levels, fine = (pair / name for name in ("ncep_surface.nc", "ncep_levels.nc", "eobs_fine.nc"))
    targets = "--partner tg=tas --partner rr=pr --transform pr=sqrt --limits rr=0:inf"
    began = time.monotonic()
    coarse = f"--coarse {surface} --coarse {levels}"
    given = f"{coarse} --static {elevation} --factor 4 --until 1993-06-01"
    for command in (
        f"train-pairs {fine} {given} {targets} --members 4 --distribution --out iberia.safetensors --overwrite",
        f"evaluate-pairs iberia.safetensors --fine {fine} {coarse} --report report --overwrite",
        f"upscale {surface} iberia.nc --also {levels} --factor 4 --model iberia.safetensors --overwrite",
    ):
        print(f"$ geofsrcnn {command}", flush=True)
        subprocess.run([sys.executable, "-m", "geofsrcnn", *command.split()], cwd=folder, check=True)
    print(f"{(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    main()
