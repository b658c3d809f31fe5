"""Values that are watched on their way: which ones a warning tells of."""

import warnings

import numpy as np
import pytest

from geofsrcnn.engine.base import Rule
from geofsrcnn.engine.watch import RangeCheckedSink, Watch, look_for_negative
from geofsrcnn.errors import GeofsrcnnWarning
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells

NEVER_NEGATIVE = Rule(natural=(0.0, np.inf), key="rain", taken_for="rain")
UNKNOWN = Rule(watched=True, key="z")


def cells_of(*smallest: float) -> Cells:
    """Bands of values from 1 to 100, but for the smallest one."""
    values = np.linspace(1, 100, 12, dtype=np.float32).reshape(1, 3, 4).repeat(len(smallest), 0)
    values[:, 1, 2] = smallest
    return Cells(values, np.ones(values.shape, bool))


@pytest.mark.parametrize("rules", [[NEVER_NEGATIVE] * 3, [Rule(), NEVER_NEGATIVE, NEVER_NEGATIVE]])
def test_the_first_band_beyond_its_bounds_is_told(rules):
    """Bands that keep to the same bounds are looked at together; traces of spectral models are passed over."""
    with pytest.warns(GeofsrcnnWarning, match=r"W-RANGE: rain holds values outside the range 0 to inf, such as -5 "):
        Watch("rain").look_coarse(cells_of(1, -0.01, -5), rules, slice(0, 3))


def test_missing_cells_lie_within_all_bounds():
    """What a missing cell holds is no value."""
    cells = cells_of(1, -5, 1)
    cells.valid[1, 1, 2] = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Watch("rain").look_coarse(cells, [NEVER_NEGATIVE] * 3, slice(0, 3))


def test_bands_with_negative_coarse_cells_are_passed_over(monkeypatch):
    """Fine ones may be negative then, so that nothing is told of them; of other bands it is."""

    class Nothing:
        def prepare(self, *_):
            return lambda: None

    watch, rules, window = Watch("z"), [UNKNOWN] * 2, Window(0, 3, 0, 4)
    watch.look_coarse(cells_of(-1, 1), rules, slice(0, 2))
    assert [each.band for each in look_for_negative(cells_of(-2, -3), rules, slice(0, 2))] == [0, 1]
    sink = RangeCheckedSink(Nothing(), rules, watch)
    looked = []
    monkeypatch.setattr(
        "geofsrcnn.engine.watch._negative_values", lambda values, _: looked.append(values.min()) or values[values < 0]
    )
    sink.prepare(window, cells_of(-2, -3), slice(0, 2))()
    assert looked == [-3]
    with pytest.warns(
        GeofsrcnnWarning, match=r"no coarse cell is below 0, 8\.3 % of the fine ones are \(smallest -3\)"
    ):
        watch.warn_of_negative()
