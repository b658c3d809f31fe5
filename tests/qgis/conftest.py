"""The DEM of matplotlib's sample data, made coarse, the program, and QGIS."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import cbook

from geofsrcnn.values.blocks import block_mean
from tests.support.grids import regular
from tests.support.plugin import Qgis, make_program, require_qgis
from tests.support.rasters import write

collect_ignore_glob = ["inside/*"]
"""Scripts that QGIS's own Python runs."""


@pytest.fixture(scope="session")
def jacksboro(tmp_path_factory):
    """A coarse DEM of the Jacksboro fault in a CRS of degrees; QGIS writes statistics beside it."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as dem:
        elevation = dem["elevation"].astype("float64")
    rows, columns = (size // 3 * 3 for size in elevation.shape)
    path = tmp_path_factory.mktemp("jacksboro") / "coarse dem, ä.tif"
    step = 9 / 3600
    return write(
        path,
        block_mean(elevation[:rows, :columns], 3).astype("float32"),
        crs="EPSG:4326",
        transform=(step, 0, -84.41, 0, -step, 36.73),
    )


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A NetCDF file of one variable and three times."""
    path = tmp_path_factory.mktemp("dataset") / "coarse.nc"
    regular(rows=24, columns=30, times=3).to_netcdf(path, engine="netcdf4")
    return path


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The program, apart from any environment."""
    return make_program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def qgis(tmp_path_factory):
    """QGIS with the plugin; the test is skipped where there is none."""
    require_qgis()
    return Qgis(tmp_path_factory.mktemp("qgis"))


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A raster that takes some seconds, in many tiles."""
    rows, columns = np.mgrid[0:800, 0:800]
    values = 500 + 100 * np.sin(rows / 31) * np.cos(columns / 17)
    return write(tmp_path_factory.mktemp("large") / "large.tif", values.astype("float32"))
