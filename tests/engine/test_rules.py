"""What becomes of a band's values, by what it is and how it is stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geofsrcnn.engine.base import FREE
from geofsrcnn.engine.rules import SAMPLE, rule_of_band
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import Packing
from geofsrcnn.values.quantity import Kind, Quantity

BYTES = Packing(np.dtype("uint8"), scale=0.5)
OPEN_FRACTION = Quantity(Kind.FRACTION, "by its name", limits=(0.0, np.inf))
"""Of 1 or of 100: its values tell."""


class Bands:
    """Bands in memory."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def read(self, window, bands):
        values = self.values[(bands, *window.slices())]
        return Cells(values, np.isfinite(values))


def test_the_middle_of_a_band_tells_how_its_values_count():
    """Not what lies far outside it, nor another band: the same whatever part of the raster is wanted."""
    values = np.full((2, SAMPLE + 8, 4), 0.5, np.float32)
    values[0], values[1, 0] = 80.0, 80.0
    rules = [rule_of_band(Bands(values), k, k + 1, OPEN_FRACTION, Packing(values.dtype), 2) for k in (0, 1)]
    assert [rule.natural for rule in rules] == [(0.0, 100.0), (0.0, 1.0)]
    assert [rule.key for rule in rules] == ["1", "2"]


@pytest.mark.parametrize(("kind", "limits", "divisor"), [(Kind.FIELD, (0.0, 127.5), 1), (Kind.TOTAL, FREE, 9)])
def test_fields_keep_to_what_is_stored_and_parts_of_totals_do_not(kind, limits, divisor):
    """The largest byte bounds a field; of totals, whose parts are stored as floats, nothing."""
    values = np.zeros((1, 3, 3), np.float32)
    rule = rule_of_band(Bands(values), 0, 1, Quantity(kind, ""), BYTES, 3)
    assert (rule.limits, rule.divisor) == (limits, divisor)
    assert rule.step == 0.5
    asked = rule_of_band(Bands(values), 0, 1, Quantity(kind, ""), BYTES, 3, (1.0, 200.0))
    assert asked == replace(rule, limits=(1.0, min(limits[1], 200.0)), natural=FREE, watched=False)
