"""Rasters of the globe: no seam where their columns end, and bounds that go over the edge."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from affine import Affine

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import InputError
from geofsrcnn.grids.affine import Grid
from tests.support.rasters import opened, read, terrain, write

TURNS = {
    "EPSG:4326": 360.0,
    "EPSG:3857": 2 * 20037508.342789244,
    "EPSG:4087": 2 * 20037508.342789244,
    "EPSG:6933": 2 * 17367530.445161372,
    "EPSG:3395": 2 * 20037508.342789244,
    "+proj=cea +lon_0=180 +lat_ts=30 +units=km": 2 * 17367.530445161372,
    "EPSG:4902": 400.0,  # in grads, from Paris
}
AROUND = {"model": "small", "factor": 3}


def globe(path, crs, *, columns=36, repeated=0, left=-0.5, dtype="float32"):
    """A raster whose columns go around, and its cells."""
    turn = TURNS[crs]
    cells = terrain((18, columns)).astype(dtype)
    cells = np.concatenate([cells, cells[:, :repeated]], axis=1)
    write(path, cells, crs=crs, transform=Affine(turn / columns, 0, left * turn, 0, -turn / columns, turn / 4))
    return cells


@pytest.mark.parametrize("repeated", [0, 1])
@pytest.mark.parametrize("crs", TURNS)
def test_no_seam_where_the_columns_end(tmp_path, crs, repeated):
    """In degrees and in projections whose meridians are parallel, also where the last column is the first again."""
    cells = globe(tmp_path / "in.tif", crs, repeated=repeated)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", **AROUND)
    expected = upscale_array(cells, **AROUND, period=36)
    assert np.abs(read(tmp_path / "out.tif", 1) - expected).max() < 1e-5
    assert np.abs(upscale_array(cells, **AROUND) - expected).max() > 1e-3
    if crs == "EPSG:4902":  # CF has no grads
        return
    upscale_file(tmp_path / "in.tif", tmp_path / "out.nc", **AROUND)
    with xr.open_dataset(tmp_path / "out.nc") as fine:
        assert np.abs(fine["band_data"].to_numpy() - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("crs", "columns", "step"), [("EPSG:3857", 35, 1.0), ("EPSG:32633", 36, 1.0), ("EPSG:6933", 36, 1.01)]
)
def test_columns_that_do_not_go_around(tmp_path, crs, columns, step):
    """Part of the globe, a projection that has none, and cells that do not fit have edges."""
    cells = terrain((18, columns)).astype("float32")
    width = step * 40075016.68557849 / 36
    write(tmp_path / "in.tif", cells, crs=crs, transform=Affine(width, 0, -width * 18, 0, -width, width * 9))
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", **AROUND)
    assert np.array_equal(read(tmp_path / "out.tif", 1), upscale_array(cells, **AROUND))


@pytest.mark.parametrize(
    ("left", "bounds", "first", "count"),
    [
        (0, (-10, -20, 20, 20), -1, 3),
        (0, (350, -20, 380, 20), 35, 3),
        (-0.5, (170, -20, 200, 20), 35, 3),
        (-0.5, (340, -20, 380, 20), 52, 4),
        (0, (-180, -20, 180, 20), -18, 36),
        (-0.5, (0, -20, 360, 20), 18, 36),
        (0, (-540, -20, -520, 20), -54, 2),
    ],
)
@pytest.mark.parametrize("repeated", [0, 1])
def test_bounds_over_the_edge_of_the_globe(tmp_path, left, bounds, first, count, repeated):
    """Both sides of the edge come out, side by side and where the bounds say, as they do from the whole globe."""
    cells = globe(tmp_path / "in.tif", "EPSG:4326", left=left, repeated=repeated)[:, :36]
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", **AROUND, bounds=bounds)
    with opened(tmp_path / "out.tif") as fine:
        assert fine.bounds == pytest.approx(bounds)
    rolled = upscale_array(np.roll(cells, -first, axis=1), **AROUND, period=36)
    assert np.abs(read(tmp_path / "out.tif", 1) - rolled[21:33, : 3 * count]).max() < 1e-5


def test_bounds_in_metres_go_around_as_well(tmp_path):
    """Web maps are cut at the date line: a window over Fiji."""
    globe(tmp_path / "in.tif", "EPSG:3857")
    step, edge = TURNS["EPSG:3857"] / 36, TURNS["EPSG:3857"] / 2
    bounds = (edge - 2 * step, -step, edge + step, step)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", **AROUND, bounds=bounds)
    upscale_file(tmp_path / "in.tif", tmp_path / "whole.tif", **AROUND)
    whole = read(tmp_path / "whole.tif", 1)[8 * 3 : 10 * 3]
    assert np.abs(read(tmp_path / "out.tif", 1) - np.roll(whole, 6, axis=1)[:, :9]).max() < 1e-5


def test_more_than_the_globe_is_all_of_it(tmp_path):
    """As it lies in the raster; and what lies beyond the raster's rows is still no part of it."""
    cells = globe(tmp_path / "in.tif", "EPSG:4326", left=0)
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", **AROUND, bounds=(-200, -95, 200, 95))
    assert np.abs(read(tmp_path / "out.tif", 1) - upscale_array(cells, **AROUND, period=36)).max() < 1e-5
    with pytest.raises(InputError, match="do not meet"):
        upscale_file(tmp_path / "in.tif", tmp_path / "no.tif", **AROUND, bounds=(-10, 91, 20, 95))


def test_bounds_of_a_raster_with_edges_stay_within():
    """Without a globe, a window is cut at the raster's edge."""
    grid = Grid((18, 36), Affine(10, 0, 0, 0, -10, 90))
    assert grid.window((-10, -20, 20, 20)).shape == (4, 2)
    assert grid.window((-10, -20, 20, 20), period=36).shape == (4, 3)
