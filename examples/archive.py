"""Upscale a whole archive of climate models' output, in one command that can be killed and given again.

    python examples/archive.py DIR [OPTIONS OF geofsrcnn batch]

326 NetCDF files of CMIP6 models (esmvaltool-sample-data, CC BY-SA 4.0), on latitudes and longitudes and
on curvilinear ocean grids, become twice as fine in DIR, in folders as they have; DIR/report.html tells about the run.
Kill it whenever you like: what is done is not done again. About three minutes on two cores.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import esmvaltool_sample_data


def main() -> None:
    """Run the command."""
    folder, *options = sys.argv[1:]
    source = Path(next(iter(esmvaltool_sample_data.__path__)))
    command = ["batch", str(source), "-o", folder, "--factor", "2", "--resume", "--report", f"{folder}/report.html"]
    print(f"$ geofsrcnn {' '.join(command)}", flush=True)
    sys.exit(subprocess.run([sys.executable, "-m", "geofsrcnn", *command, *options], check=False).returncode)


if __name__ == "__main__":
    main()
