"""Guides on grids that are not theirs, but whose cells are."""

from __future__ import annotations

import numpy as np
import rasterio
from rasterio.transform import from_origin

from geofsrcnn.formats.guide import GuideRaster
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import Window


def write(path, values, west, north, cell, **profile):
    shape = {"count": 1, "height": values.shape[0], "width": values.shape[1]}
    place = {"crs": "EPSG:32633", "transform": from_origin(west, north, cell, cell)}
    with rasterio.open(path, "w", driver="GTiff", dtype="float64", **shape, **place, **profile) as raster:
        raster.write(values, 1)
    return path


def test_a_guide_that_begins_elsewhere_is_read_cell_by_cell(tmp_path):
    """Where cells coincide nothing is resampled; beyond the guide's edge cells are missing."""
    values = np.random.default_rng(0).normal(size=(14, 20))
    coarse = write(tmp_path / "coarse.tif", np.zeros((6, 8)), 500_000, 5_000_000, 20)
    guide = write(tmp_path / "guide.tif", values, 499_970, 5_000_020, 10)
    with RasterSource(coarse) as source, GuideRaster(guide, source.grid.refine(2)) as beside:
        cells = beside.read(Window(0, 12, 0, 16), slice(None))
    assert beside.fit.method == "as it is"
    assert np.array_equal(cells.values[0], values[2:, 3:19])
    assert cells.valid.all()
    with RasterSource(coarse) as source, GuideRaster(guide, source.grid.refine(4)) as beside:
        assert beside.fit.method == "cubic"
    narrow = write(tmp_path / "narrow.tif", values[:, :10], 500_000, 5_000_000, 10)
    with RasterSource(coarse) as source, GuideRaster(narrow, source.grid.refine(2)) as beside:
        cells = beside.read(Window(0, 12, 0, 16), slice(None))
    assert np.array_equal(cells.valid[0], np.broadcast_to(np.arange(16) < 10, (12, 16)))
    assert np.array_equal(cells.values[0, :, :10], values[:12, :10])


def test_missing_cells_of_a_warped_guide_are_missing(tmp_path):
    """By its nodata value, and beyond its edge, in another CRS too."""
    values = np.random.default_rng(0).normal(size=(60, 60))
    values[20:30, 20:30] = -9999
    coarse = write(tmp_path / "coarse.tif", np.zeros((40, 40)), 499_500, 5_000_500, 40)
    guide = write(tmp_path / "guide.tif", values, 500_003, 5_000_004, 20, nodata=-9999)
    with RasterSource(coarse) as source, GuideRaster(guide, source.grid.refine(2)) as beside:
        cells = beside.read(Window(0, 80, 0, 80), slice(None))
    assert beside.fit.method == "cubic"
    valid = cells.valid[0]
    assert not valid[:24].any()
    assert not valid[:, :24].any()
    assert 0.7 * 3500 < valid[25:80, 25:80].sum() < 3025
    assert not valid[47:53, 47:53].any()
    assert np.abs(cells.values[0][valid]).max() < 20
