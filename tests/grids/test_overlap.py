"""Averages by area: exact overlaps, planes stay planes, sums are kept, nothing leaves the range of its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject

from geofsrcnn.grids.overlap import AreaOverlap, AxisOverlap, Sums, limited_slopes
from geofsrcnn.grids.windows import Window
from tests.support.strategies import seeds

widths = st.floats(1.0, 3.0)


def axis(start, width, count, cells):
    """Wanted cells of one width from a place on, on so many fine ones."""
    edges = start + width * np.arange(count + 1)
    return AxisOverlap.of(np.stack([edges[:-1], edges[1:]], 1), cells)


def onto(values, rows, columns, valid=None, *, slopes=True):
    """Means of a field over wanted cells, and the share of each that is valid."""
    valid = np.ones(values.shape, bool) if valid is None else valid
    overlap = AreaOverlap(rows, columns)
    wanted = Window(0, overlap.shape[0], 0, overlap.shape[1])
    fine = Window(0, values.shape[0], 0, values.shape[1])
    field = Sums(np.where(valid, values, 0.0), valid.astype(float))
    sums = overlap.average(field, fine, wanted, slopes=slopes)
    with np.errstate(invalid="ignore"):
        return sums.values / sums.shares, sums.shares


@given(st.floats(-2, 2), widths, st.floats(-2, 2), widths, st.tuples(*[st.floats(-50, 50)] * 2))
def test_planes_stay_in_place(y0, height, x0, width, slopes):
    """The mean over a cell is the plane's value in its middle, to rounding, away from edges."""
    y, x = np.mgrid[:24, :30] + 0.5
    plane = 300 + slopes[0] * y + slopes[1] * x
    rows, columns = axis(y0 + 3, height, 5, 24), axis(x0 + 3, width, 5, 30)
    found, _ = onto(plane, rows, columns)
    middles = [each.edges.mean(1) for each in (rows, columns)]
    expected = 300 + slopes[0] * middles[0][:, None] + slopes[1] * middles[1]
    assert np.abs(found - expected).max() <= 1e-12 * (300 + 50 * max(map(abs, slopes)))


@given(seeds, st.floats(1.0, 2.0), st.floats(1.0, 2.0), st.floats(0.01, 0.99))
def test_sums_are_kept(seed, height, width, offset):
    """What lies in the wanted cells together is what lies in the fine ones, also beside missing cells."""
    rng = np.random.default_rng(seed)
    values, valid = rng.normal(size=(11, 13)), rng.random((11, 13)) > 0.2
    rows = axis(-offset, height, int(14 / height) + 2, 11)
    columns = axis(-offset, width, int(16 / width) + 2, 13)
    means, shares = onto(values, rows, columns, valid)
    area = np.outer(rows.widths, columns.widths)
    assert np.nansum(means * shares * area) == pytest.approx(values[valid].sum(), abs=1e-9)
    assert (shares * area).sum() == pytest.approx(valid.sum())


@given(seeds, widths, widths)
def test_nothing_leaves_the_range_of_its_neighbours(seed, height, width):
    """Rain beside dry cells does not become negative, nor a fraction more than 1."""
    rain = np.random.default_rng(seed).exponential(size=(40, 40)) ** 4
    rows, columns = axis(0.4, height, 12, 40), axis(0.7, width, 12, 40)
    for values in (rain, rain.max() - rain):
        found, _ = onto(values, rows, columns)
        assert found.min() >= -1e-9 * rain.max()
        assert found.max() <= rain.max() * (1 + 1e-9)


def test_cells_that_are_the_fine_ones_keep_every_bit():
    """Where the wanted grid is the fine one, also with edges in few digits, values are untouched."""
    values = np.random.default_rng(0).normal(size=(9, 8)) * 1e5
    edges = np.round(np.arange(9) / 120, 10) * 120
    columns = AxisOverlap.of(np.stack([edges[1:], edges[:-1]], 1), 8)
    found, shares = onto(values, axis(0.0, 1.0, 9, 9), columns)
    assert np.array_equal(found, values)
    assert (shares == 1).all()


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_overlaps_are_those_of_gdal(missing):
    """Of flat cells the average is GDAL's, which knows no others, and it has the same missing cells."""
    rng = np.random.default_rng(1)
    values, valid = rng.normal(size=(40, 50)), rng.random((40, 50)) >= missing
    fine, wanted = Affine(10.0, 0, 0, 0, -10.0, 400), Affine(13.7, 0, 21.3, 0, -17.1, 390.4)
    expected = np.full((20, 30), np.nan)
    reproject(
        np.where(valid, values, np.nan),
        expected,
        src_transform=fine,
        dst_transform=wanted,
        src_crs="EPSG:32633",
        dst_crs="EPSG:32633",
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.average,
    )
    found, shares = onto(values, axis(0.96, 1.71, 20, 40), axis(2.13, 1.37, 30, 50), valid, slopes=False)
    assert np.array_equal(shares > 0, np.isfinite(expected))
    assert np.nanmax(np.abs(found - expected)) < 1e-9


def test_slopes_beside_missing_cells_and_at_ends_are_none():
    """There nothing tells of a slope."""
    shares = np.array([1.0, 1, 1, 0, 1, 1, 1, 1])
    assert limited_slopes(Sums(np.arange(8.0) * shares, shares)).tolist() == [0, 1, 0, 0, 0, 1, 1, 0]


def test_the_majority_counts_areas():
    """The class of most of a cell; the smaller number of two that have as much; what is missing only where all is."""
    overlap = AreaOverlap(axis(0.0, 1.0, 1, 1), axis(0.25, 1.5, 2, 4))
    window = Window(0, 1, 0, 4), Window(0, 1, 0, 2)
    classes = np.array([[7, 3, 3, 9]])
    assert overlap.majority(classes, np.ones((1, 4), bool), *window).tolist() == [[3, 3]]
    assert overlap.majority(np.array([[7, 3, 9, 9]]), np.array([[True, False, True, True]]), *window).tolist() == [
        [7, 9]
    ]
    level = AreaOverlap(axis(0.0, 1.0, 1, 1), axis(0.5, 1.0, 1, 2))
    assert level.majority(np.array([[5, 2]]), np.ones((1, 2), bool), Window(0, 1, 0, 2), Window(0, 1, 0, 1)) == 2
    none = level.majority(np.array([[5, 5]]), np.zeros((1, 2), bool), Window(0, 1, 0, 2), Window(0, 1, 0, 1))
    assert none.tolist() == [[5]]


def test_wanted_cells_beyond_the_grid_have_no_share():
    """None, and some of one at the edge; where they are counted from is the lower edge, in whatever order."""
    rows = AxisOverlap.of(np.array([[1.5, 0.5], [0.5, -0.5], [-0.5, -1.5]]), 3)
    _, shares = onto(np.ones((3, 3)), rows, axis(0.0, 1.0, 3, 3))
    assert shares[:, 0].tolist() == [1.0, 0.5, 0.0]
    assert not rows.complete
    assert AxisOverlap.of(np.array([[-0.4, 1.5], [1.5, 3.4]]), 3).complete
