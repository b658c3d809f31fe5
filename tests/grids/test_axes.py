"""Cells along an axis and over a mesh: split within their bounds, against hand cases and pyproj."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geofsrcnn.errors import InputError
from geofsrcnn.grids.axis import axis_of, period_along
from geofsrcnn.grids.fine import Domain
from geofsrcnn.grids.longitude import columns_near
from geofsrcnn.grids.mesh import mesh_of, mesh_period

GAUSSIAN_N4 = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(8)[0]))[::-1]
"""Eight Gaussian latitudes, north first."""


@given(
    start=st.floats(-180, 180),
    step=st.sampled_from([0.25, -0.25, 1 / 3, 2.5, -30.0]),
    count=st.integers(2, 40),
    factor=st.integers(2, 8),
    dtype=st.sampled_from(["float64", "float32"]),
)
def test_even_cells_are_split_evenly(start, step, count, factor, dtype):
    """Parts are evenly spaced, fill the same extent, and average to the coordinate of their cell."""
    values = (start + step * np.arange(count)).astype(dtype)
    axis = axis_of(values)
    fine = axis.split(factor)
    assert fine.values.dtype == np.float64
    assert np.allclose(np.diff(fine.values), step / factor, rtol=2e-3)
    assert np.allclose(fine.values.reshape(-1, factor).mean(1), values, atol=1e-3 * abs(step))
    assert np.allclose([fine.edges[0, 0], fine.edges[-1, 1]], [axis.edges[0, 0], axis.edges[-1, 1]])
    assert axis.even
    assert fine.even


def test_a_hand_case():
    """Two cells of 10 in halves."""
    fine = axis_of(np.array([10.0, 20.0])).split(2)
    assert fine.values.tolist() == [7.5, 12.5, 17.5, 22.5]
    assert fine.edges.tolist() == [[5, 10], [10, 15], [15, 20], [20, 25]]


def test_stated_bounds_hold():
    """Cells are split within their bounds, though the coordinate is not in their middle, in either order."""
    values, bounds = np.array([1.0, 3.0, 8.0]), np.array([[0.0, 2.0], [2.0, 5.0], [5.0, 9.0]])
    fine = axis_of(values, bounds).split(2)
    assert fine.edges.tolist() == [[0, 1], [1, 2], [2, 3.5], [3.5, 5], [5, 7], [7, 9]]
    falling = axis_of(values[::-1], bounds[::-1]).split(2)
    assert falling.values.tolist() == fine.values[::-1].tolist()
    assert falling.edges[0].tolist() == [9, 7]


@pytest.mark.parametrize(
    "bounds",
    [
        np.zeros((3, 2)),  # of no width
        np.array([[5.0, 6.0], [6.0, 7.0], [7.0, 8.0]]),  # elsewhere
        np.array([[np.nan, 2.0], [2.0, 5.0], [5.0, 9.0]]),
        np.zeros((3, 4)),
    ],
)
def test_bounds_that_make_no_cells_are_passed_over(bounds):
    """Edges then lie midway."""
    assert axis_of(np.array([1.0, 2.0, 3.0]), bounds).edges.tolist() == [[0.5, 1.5], [1.5, 2.5], [2.5, 3.5]]


def test_latitudes_stop_at_the_poles():
    """A grid with points on the poles has half cells there, which split into narrower parts."""
    axis = axis_of(np.linspace(90, -90, 721), latitude=True)
    assert axis.edges[0].tolist() == [90.0, 89.875]
    assert axis.edges[-1].tolist() == [-89.875, -90.0]
    assert not axis.even
    fine = axis.split(3)
    assert fine.edges.max() == 90
    assert np.allclose(fine.values[:3], 90 - 0.125 * np.array([1, 3, 5]) / 6)
    assert axis_of(np.linspace(90, -90, 721)).even


def test_gaussian_latitudes_are_split_midway():
    """Uneven coordinates without bounds: edges midway, ends as far out as the first edge is in, not past the pole."""
    axis = axis_of(GAUSSIAN_N4, latitude=True)
    middle = (GAUSSIAN_N4[1:] + GAUSSIAN_N4[:-1]) / 2
    assert np.allclose(axis.edges[1:, 0], middle)
    assert axis.edges[0, 0] <= 90
    assert not axis.even
    fine = axis.split(2)
    assert np.all(np.diff(fine.values) < 0)
    assert np.allclose(fine.edges[::2, 0], axis.edges[:, 0])


def test_longitudes_may_jump_by_a_turn():
    """359, 0, 1 go on evenly; 0.5 west of -179.5 as well."""
    axis = axis_of(np.array([358.0, 359.0, 0.0, 1.0]), longitude=True)
    assert np.allclose(axis.values, [358, 359, 360, 361])
    assert axis.even


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([1.0, np.nan, 3.0], "missing values"),
        ([1.0, 3.0, 2.0], "neither rises nor falls"),
        ([1.0, 1.0, 2.0], "neither rises nor falls"),
        ([7.0], "one cell and no bounds"),
    ],
)
def test_coordinates_that_make_no_cells(values, words):
    """Named and refused."""
    with pytest.raises(InputError, match=f"coordinate lat {words}|coordinate lat has {words}"):
        axis_of(np.array(values), name="lat")


def test_one_cell_with_bounds():
    """Its bounds say how large it is, and which way it goes."""
    assert axis_of(np.array([5.0]), np.array([[0.0, 10.0]])).split(2).values.tolist() == [2.5, 7.5]
    assert axis_of(np.array([5.0]), np.array([[10.0, 0.0]])).split(2).values.tolist() == [7.5, 2.5]


@pytest.mark.parametrize(
    ("values", "period"),
    [
        (np.arange(0, 360, 2.5), 144),
        (np.arange(-180, 180, 0.25), 1440),
        (np.arange(0, 360.1, 2.5), 144),
        (np.arange(358.75, -1, -1.25), 288),
        (np.arange(0, 180, 2.5), 0),
        (np.arange(0, 357, 2.5), 0),
        (np.array([0.0, 120.0, 240.0]), 3),
        (np.arange(0, 360, 0.1).astype("float32"), 3600),
    ],
)
def test_columns_around_the_globe(values, period):
    """All, all but a repeated one, or none."""
    assert period_along(axis_of(values, longitude=True)) == period


@pytest.mark.parametrize(
    ("x", "factor", "is_global"),
    [
        (np.arange(0, 360, 2.5), 3, True),
        ((np.arange(0, 360, 2.5) + 180) % 360, 3, True),  # which jumps from 357.5 to 0
        (np.arange(0, 360, 2.5), 5, False),  # whose last block has four columns
        (np.arange(0, 362, 2.5), 5, False),  # whose last column is the first
        (np.arange(0, 350, 2.5), 4, False),
    ],
)
def test_whole_blocks_around_the_globe(x, factor, is_global):
    """All columns, wherever they begin, and no part of a block; nothing that is no longitude goes around."""
    assert Domain(np.arange(6.0), x, factor, is_longitude=True).is_global == is_global
    assert not Domain(np.arange(6.0), x, factor).is_global


@pytest.mark.parametrize(("gap", "closed"), [(14, True), (16, False)])
def test_uneven_columns_are_closed_if_none_is_missing(gap, closed):
    """Columns of 10 degrees, more or less, go on beyond the last one only where its neighbour is the first."""
    known = np.cumsum([0, *[9, 11, 10] * 11, 10, 20 - gap]).astype(float)
    places, found = columns_near(known, np.array([1.0, 359.0]))
    assert places[found == 5].tolist() == [50.0]
    assert ((-gap in places), (360.0 in places)) == (closed, closed)


def rotated(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True latitude and longitude of a rotated grid's points, by pyproj."""
    crs = CRS.from_cf(
        {
            "grid_mapping_name": "rotated_latitude_longitude",
            "grid_north_pole_latitude": 39.25,
            "grid_north_pole_longitude": -162.0,
        }
    )
    longitude, latitude = np.meshgrid(columns, rows)
    x, y = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(longitude, latitude)
    return y, x


def test_a_mesh_is_split_where_the_projection_says():
    """Against pyproj: parts of a 0.44 degree rotated grid lie within 1 % of a cell of where they belong."""
    rows, columns = np.arange(-10, 10, 0.44), np.arange(-12, 12, 0.44)
    mesh, order = mesh_of(*rotated(rows, columns))
    assert order == (0, 1, 2, 3)
    fine = mesh.split(3)
    latitude, longitude = rotated(axis_of(rows).split(3).values, axis_of(columns).split(3).values)
    scale = np.cos(np.radians(latitude))
    off = np.hypot(fine.latitude - latitude, (fine.longitude - longitude) * scale)
    assert off.max() < 0.01 * 0.44
    assert off[3:-3, 3:-3].max() < 0.001 * 0.44


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 2, 3, 0), (3, 2, 1, 0), (2, 1, 0, 3)])
def test_vertices_keep_their_order(order):
    """Stated vertices in any order around the cell: the parts' vertices come in the same one and fill the cell."""
    rows, columns = np.arange(40, 50, 1.0), np.arange(0, 12, 1.5)
    longitude, latitude = np.meshgrid(columns, rows)
    ring = [(-0.5, -0.75), (-0.5, 0.75), (0.5, 0.75), (0.5, -0.75)]
    latitudes = np.stack([latitude + ring[k][0] for k in order], axis=-1)
    longitudes = np.stack([longitude + ring[k][1] for k in order], axis=-1)
    mesh, found = mesh_of(latitude, longitude, (latitudes, longitudes))
    assert found == order
    fine = mesh.split(2)
    corner = order.index(0)
    assert np.isclose(fine.latitudes[..., list(found)][0, 0, corner], 39.5, atol=1e-9)
    assert np.isclose(fine.longitudes[..., list(found)][0, 0, corner], -0.75, atol=1e-9)


def test_a_mesh_crosses_the_date_line():
    """Longitudes stay near their cell's, none is an average over the turn."""
    rows, columns = np.arange(-5, 6, 1.0), np.arange(175, 186, 1.0)
    longitude, latitude = np.meshgrid((columns + 180) % 360 - 180, rows)
    fine = mesh_of(latitude, longitude)[0].split(3)
    own = np.repeat(np.repeat(longitude, 3, 0), 3, 1)
    assert np.abs(fine.longitude - own).max() < 0.6


def test_which_meshes_go_around():
    """A whole turn does, with up to two columns again; half of one does not."""
    rows = np.arange(-60, 61, 5.0)

    def mesh(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        longitude, latitude = np.meshgrid(columns, rows)
        return latitude, longitude

    assert mesh_period(*mesh(np.arange(0, 360, 5.0))) == 72
    assert mesh_period(*mesh(np.arange(0, 361, 5.0))) == 72
    assert mesh_period(*mesh(np.arange(0, 370, 5.0))) == 72
    assert mesh_period(*mesh(np.arange(0, 380, 5.0))) == 0
    assert mesh_period(*mesh(np.arange(0, 180, 5.0))) == 0
    assert mesh_period(*mesh(np.arange(0, 15, 5.0))) == 0


def test_missing_places_stay_missing():
    """A centre that is NaN spoils its neighbours' corners at most, and nothing else."""
    longitude, latitude = np.meshgrid(np.arange(0, 20, 1.0), np.arange(40, 60, 1.0))
    latitude[5, 5] = longitude[5, 5] = np.nan
    fine = mesh_of(latitude, longitude)[0].split(2)
    assert np.isnan(fine.latitude[10:12, 10:12]).all()
    assert np.isfinite(fine.latitude[:8]).all()
