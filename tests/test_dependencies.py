"""What a bare installation can do: rasters, with the dependencies that every installation has."""

import subprocess
import sys

import numpy as np

from tests.support.rasters import terrain, write

BARE = """
import sys

EXTRAS = {"xarray", "netCDF4", "cf_xarray", "cftime", "dask", "pint", "zarr", "matplotlib", "skimage", "distributed",
          "scipy", "pandas", "fsspec", "aiohttp", "onnx", "onnxruntime"}

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refused())
import numpy as np
import geofsrcnn
from geofsrcnn.cli.info import info

assert geofsrcnn.upscale_array(np.ones((9, 9)), 3, "small").shape == (27, 27)
print(geofsrcnn.upscale_file(sys.argv[1], sys.argv[2], 3, "small").fine)
info.main([sys.argv[1]], standalone_mode=False)
"""


def test_rasters_need_no_extras(tmp_path):
    """Arrays, a GeoTIFF and `info` where nothing of the extras is installed."""
    path = write(tmp_path / "in.tif", terrain((24, 30), low=5, high=9).astype(np.float32))
    line = [sys.executable, "-c", BARE, str(path), str(tmp_path / "out.tif")]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "(72, 90)" in done.stdout
    assert "field (nothing says otherwise)" in done.stdout
