"""Directions go through sine and cosine: whatever is called north, the result is the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn.engine.arrays import ArrayTask
from geofsrcnn.engine.base import Rule
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.values.storage import Storage
from tests.support.rasters import terrain

DEGREES = Rule(value_period=360.0)


def upscaled(field: np.ndarray, model: str = "small", rule: Rule = DEGREES, **options: object) -> np.ndarray:
    """A field of directions, 3 times finer."""
    task = ArrayTask(load_model(model, 3), [Storage.plain(field.dtype)], [rule], **options)
    return task.upscale(field[None], Window(0, field.shape[0], 0, field.shape[1]), 1)[0]


def apart(one: np.ndarray, other: np.ndarray, period: float = 360.0) -> np.ndarray:
    """Difference of directions."""
    return np.abs((one - other + period / 2) % period - period / 2)


def winds(seed: int) -> np.ndarray:
    """Smooth directions that pass north several times."""
    return (terrain((26, 30), seed=seed, low=-500, high=500) % 360).astype("float64")


@settings(max_examples=15)
@given(seed=st.integers(0, 99), eighths=st.integers(1, 7), by=st.floats(0, 360))
def test_directions_commute_with_the_compass(seed, eighths, by):
    """Turned by eighths the result turns with them; by any angle it does to 1 degree on average."""
    field = winds(seed)
    fine = upscaled(field)
    assert 0 <= fine.min() <= fine.max() < 360
    assert apart(upscaled((field + 45 * eighths) % 360), fine + 45 * eighths).max() < 1e-3
    assert apart(upscaled((field + by) % 360), fine + by).mean() < 1


def test_directions_meet_at_north():
    """A wind that turns steadily through north: each fine cell lies on the line, none goes through south."""
    steady = (340 + 2 * np.arange(30)) % 360.0 * np.ones((20, 1))
    true = 340 + 2 * ((np.arange(90) - 1) / 3)
    assert apart(upscaled(steady), true)[:, 3:-3].max() < 0.5
    assert np.ptp(upscaled(steady, "nearest", Rule())) > 300


@pytest.mark.parametrize(("period", "start"), [(360.0, -180.0), (2 * np.pi, 0.0), (2 * np.pi, -np.pi)])
def test_units_and_conventions(period, start):
    """Degrees and radians, from 0 and from minus half a turn: the same directions."""
    field = winds(3)
    own = (np.radians(field) if period < 7 else field) * 1.0
    own = (own - start) % period + start
    fine = upscaled(own, rule=Rule(value_period=period, start=start))
    assert start <= fine.min() <= fine.max() < start + period
    assert apart(fine * 360 / period, upscaled(field)).max() < 1e-3


def test_means_are_those_of_vectors():
    """The mean unit vector of a block points where the coarse cell does."""
    field = winds(5)
    fine = np.radians(upscaled(field)).reshape(26, 3, 30, 3)
    mean = np.degrees(np.arctan2(np.sin(fine).mean((1, 3)), np.cos(fine).mean((1, 3))))
    assert apart(mean, field).max() < 1e-4


def test_tiles_and_missing_cells():
    """Any tile gives the same; missing cells stay missing and harm nothing."""
    field = winds(7)
    field[8:11, 12] = np.nan
    whole = upscaled(field)
    assert np.isnan(whole).sum() == 27
    assert np.nanmax(apart(upscaled(field, tile_size=14), whole)) < 1e-2


def test_a_mark_does_not_turn_a_tile():
    """A few -1 that stand for no direction are kept, and the others count from 0 as they would without them."""
    field = winds(7)
    marked = field.copy()
    marked[8:11, 12] = -1
    fine, mark = upscaled(marked), np.repeat(np.repeat(marked == -1, 3, 0), 3, 1)
    assert (fine[mark] == -1).all()
    field[8:11, 12] = np.nan
    assert np.array_equal(fine[~mark], upscaled(field)[~mark])
