"""PROJ's data of another installation, which QGIS and PostGIS put into the environment, do no harm."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import rasterio
from rasterio.env import PROJDataFinder

from geofsrcnn import upscale_file
from tests.support.rasters import terrain, write

WHEEL = PROJDataFinder().search_wheel()

pytestmark = pytest.mark.skipif(WHEEL is None, reason="rasterio brings no data of PROJ here")


@pytest.fixture(params=["older", "empty"])
def foreign(request, tmp_path):
    """A folder that PROJ of rasterio cannot use: its database has another layout, or is not there."""
    folder = tmp_path / "proj"
    folder.mkdir()
    if request.param == "older":
        shutil.copy(Path(WHEEL) / "proj.db", folder)
        with closing(sqlite3.connect(folder / "proj.db")) as database, database:
            database.execute("UPDATE metadata SET value = 0 WHERE key LIKE 'DATABASE.LAYOUT.VERSION.M%'")
    return folder


@pytest.fixture
def coarse(tmp_path):
    """A raster in a projected CRS."""
    return write(tmp_path / "coarse.tif", terrain((24, 24), low=10, high=20))


def run(variable: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python with a variable set before anything is imported."""
    env = {name: value for name, value in os.environ.items() if name not in ("PROJ_LIB", "PROJ_DATA")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=env | {variable: str(folder)}, capture_output=True, text=True)


@pytest.mark.parametrize("variable", ["PROJ_LIB", "PROJ_DATA"])
def test_the_crs_keeps_its_code_on_the_command_line(foreign, coarse, tmp_path, variable):
    """The output is the same to a byte as without the variable."""
    line = ("-m", "geofsrcnn", "upscale", coarse, "--model", "cubic")
    plain, fine = tmp_path / "plain.tif", tmp_path / "fine.tif"
    assert run("UNRELATED", foreign, *line, plain).returncode == 0
    done = run(variable, foreign, *line, fine)
    assert (done.returncode, done.stderr) == (0, "")
    assert fine.read_bytes() == plain.read_bytes()
    with rasterio.open(fine) as opened:
        assert 'AUTHORITY["EPSG","32633"]' in opened.crs.to_wkt()


IN_PYTHON = """
import sys, geofsrcnn
geofsrcnn.upscale_file(*sys.argv[1:], model="cubic")
"""


@pytest.mark.parametrize("names", [("coarse.tif", "fine.tif"), ("coarse.tif", "fine.nc"), ("coarse.nc", "fine.tif")])
def test_a_process_of_others_is_warned(foreign, coarse, tmp_path, names):
    """Its environment is not ours to change; rasterio of that process is harmed as well."""
    if names[0] == "coarse.nc":
        upscale_file(coarse, tmp_path / "coarse.nc", model="nearest", factor=2)
    done = run("PROJ_LIB", foreign, "-c", IN_PYTHON, *(tmp_path / name for name in names))
    assert done.returncode == 0, done.stderr
    line = f"W-PROJ: PROJ_LIB={foreign} is of another installation, CRSs lose their EPSG codes: unset it before Python"
    assert line in done.stderr


def test_data_that_fit_are_nothing_to_warn_of(coarse, tmp_path):
    """As where they are set for this rasterio."""
    done = run("PROJ_DATA", Path(WHEEL), "-c", IN_PYTHON, coarse, tmp_path / "fine.tif")
    assert (done.returncode, done.stderr) == (0, "")
