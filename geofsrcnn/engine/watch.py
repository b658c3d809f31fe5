"""Values watched on their way through the engine: what is wrong with them is said once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import FREE, NO_RULE, Limits, Rule, Source
from geofsrcnn.errors import warn
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells

ROUNDING = 1e-6
"""Part of a bound by which packed values leave it when they are decoded."""

TRACE = 1e-3
"""Part of the largest value by which values may leave the range of their quantity unsaid: spectral models and packing
leave traces of negative rain."""


class Watch:
    """What has been seen of a field; pieces of it may come one after the other.

    Parameters
    ----------
    name : str
        Of the field, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name, self._said = name, False

    def look(self, cells: Cells, rules: Sequence[Rule]) -> None:
        """See coarse cells: the first outside the bounds that fine ones keep is said."""
        if self._said:
            return
        for values, valid, rule in zip(cells.values, cells.valid, rules, strict=True):
            if rule != NO_RULE and (said := _beyond(values, valid, rule)):
                self._said = True
                warn("W-RANGE", f"{self._name} holds values {said}")
                return


class Watched:
    """A source whose cells are watched.

    Parameters
    ----------
    source : Source
        What is read.
    rules : sequence of Rule
        What the values of each band keep to.
    watch : Watch
        Who looks.
    """

    def __init__(self, source: Source, rules: Sequence[Rule], watch: Watch) -> None:
        self._source, self._rules, self._watch = source, rules, watch

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the source."""
        return self._source.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The source's cells, after a look at them."""
        cells = self._source.read(window, bands)
        if self._rules:
            self._watch.look(cells, self._rules[bands])
        return cells


def _beyond(values: Array, valid: Mask, rule: Rule) -> str:
    """Which values lie outside their bounds, in words, and what becomes of them; nothing if none do."""
    rounding = ROUNDING * max((abs(end) for end in rule.limits if math.isfinite(end)), default=0.0)
    if said := _outside(values, valid, rule.limits, rounding):
        return f"{said}: they come out at its bounds, and their cells' means with them"
    trace = TRACE * float(np.abs(values).max(initial=0, where=valid)) if rule.natural != FREE else 0.0
    if said := _outside(values, valid, rule.natural, trace):
        return f"{said}: such cells keep their value; another range can be asked for (--range)"
    return ""


def _outside(values: Array, valid: Mask, limits: Limits, slack: float) -> str:
    low, high = limits
    outside = valid & ((values < low - slack) | (values > high + slack))
    if limits == FREE or not outside.any():
        return ""
    return f"outside the range {low:g} to {high:g}, such as {values[outside][0]:g}"
