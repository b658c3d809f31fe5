"""Windows, tiles and plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.errors import UsageError
from geofsrcnn.grids.windows import Margin, Plan, Tile, Window
from tests.support.strategies import factors, shapes


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    rows, columns = draw(shapes)
    y0, x0 = draw(st.integers(0, rows - 1)), draw(st.integers(0, columns - 1))
    region = Window(y0, draw(st.integers(y0 + 1, rows)), x0, draw(st.integers(x0 + 1, columns)))
    return Plan(Window(0, rows, 0, columns), region, draw(st.integers(1, 30)), draw(st.integers(0, 15)), draw(factors))


@given(plans())
def test_cores_cover_the_region_exactly_once(plan):
    """Every cell of the region is in one core, every other cell in none."""
    count = np.zeros(plan.extent.shape, int)
    for tile in plan:
        count[tile.core.slices()] += 1
    expected = np.zeros_like(count)
    expected[plan.region.slices()] = 1
    assert np.array_equal(count, expected)


@given(plans())
def test_write_windows_cover_the_fine_grid_exactly_once(plan):
    """Every fine cell of the output is written once, none outside."""
    count = np.zeros(tuple(n * plan.factor for n in plan.region.shape), int)
    for tile in plan:
        w = tile.write
        assert 0 <= w.y0 < w.y1 <= count.shape[0]
        assert 0 <= w.x0 < w.x1 <= count.shape[1]
        count[w.slices()] += 1
    assert (count == 1).all()


@given(plans())
def test_reads_hold_the_reach_or_end_at_the_edge(plan):
    """A read window has exactly the reach on each side, fewer only where the raster ends."""
    for tile in plan:
        m, e, r = tile.margin, plan.extent, tile.read
        for cells, at_edge in (
            (m.top, r.y0 == e.y0),
            (m.bottom, r.y1 == e.y1),
            (m.left, r.x0 == e.x0),
            (m.right, r.x1 == e.x1),
        ):
            assert cells == plan.reach or (0 <= cells < plan.reach and at_edge)


@given(plans())
def test_length_is_the_number_of_tiles_and_no_core_passes_the_tile_size(plan):
    """``len`` counts what iteration yields; cores are at most a tile large."""
    tiles = list(plan)
    assert len(plan) == len(tiles)
    assert all(0 < n <= plan.tile_size for tile in tiles for n in tile.core.shape)


def test_margin_counts_cells_around_the_core():
    """A margin is what the read window has beyond the core."""
    assert Tile(Window(3, 5, 4, 9), Window(1, 6, 0, 12), Window(0, 1, 0, 1)).margin == Margin(2, 1, 4, 3)


@pytest.mark.parametrize("size", [0, -1])
def test_tile_size_below_one_is_refused(size):
    """A plan needs tiles."""
    with pytest.raises(UsageError, match=f"tile size must be at least 1, got {size}"):
        Plan(Window(0, 4, 0, 4), Window(0, 4, 0, 4), size, 0, 3)


@pytest.mark.parametrize("region", [Window(0, 0, 0, 4), Window(0, 5, 0, 4), Window(-1, 2, 0, 4), Window(0, 4, 3, 2)])
def test_region_outside_the_raster_is_refused(region):
    """A region must hold cells and lie inside the raster."""
    with pytest.raises(UsageError, match="is empty or not inside the raster"):
        Plan(Window(0, 4, 0, 4), region, 2, 0, 3)
