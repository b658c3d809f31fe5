"""Values watched on their way through the engine; a warning says once what is suspicious about them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array, Mask, Range, Write
from geofsrcnn.engine.base import FREE, Rule, Sink, Source
from geofsrcnn.errors import warn
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells

ROUNDING = 1e-6
"""Part of a bound by which packed values leave it when they are decoded."""

TRACE = 1e-3
"""Part of the largest value by which values may leave the range of their quantity unreported: spectral models and
packing leave traces of negative rain."""


class Watch:
    """A record of the cells of a field, coarse and fine, which may come in pieces, and the warnings that follow.

    Parameters
    ----------
    name : str
        Name of the field, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._warned: set[str] = set()
        self._records: dict[int, _BandRecord] = {}

    def look_coarse(self, cells: Cells, rules: Sequence[Rule], bands: slice) -> None:
        """Look at coarse cells; a warning tells of the first outside the bounds that fine ones keep."""
        if cells.undeclared:
            self._warn_once("W-HUGE", "values of 3.4e38 and more, taken as missing: declare them as nodata")
        cells = cells.one_cell() or cells
        for band, values, valid, rule in zip(_numbers(bands), cells.values, cells.valid, rules, strict=False):
            if rule.watched:
                self._records.setdefault(band, _BandRecord(rule.key, rule.numbered)).add_coarse(values[valid])
        if "W-RANGE" not in self._warned and (found := _describe_first_beyond(cells, rules)):
            self._warn_once("W-RANGE", f"values {found}")

    def _warn_once(self, code: str, words: str) -> None:
        if code not in self._warned:
            self._warned.add(code)
            warn(code, f"{self._name} holds {words}")

    def add_fine(self, seen: Sequence[_Negative]) -> None:
        """Take in what `look_for_negative` saw of fine cells, for `warn_of_negative`."""
        for part in seen:
            if part.band in self._records:
                self._records[part.band].add_fine(part)

    def has_negative(self, band: int) -> bool:
        """Tell whether a coarse cell of a band that was seen is negative: then fine ones may be, and do not count."""
        record = self._records.get(band)
        return record is not None and record.coarse_min < 0

    def warn_of_negative(self, *, complete: bool = True) -> None:
        """Warn, once, of fine cells below 0 where no coarse one is; their share is given if all cells were seen."""
        negative = [record for record in self._records.values() if record.coarse_min >= 0 and record.negative_cells]
        if not negative:
            return
        worst = max(negative, key=lambda record: record.negative_cells / record.fine_cells)
        self._records = {}
        key = worst.key or self._name
        percent = 100 * worst.negative_cells / worst.fine_cells
        share = f"{percent:.2g} % of the fine ones are (smallest {worst.fine_min:.3g})" if complete else None
        words = f"no coarse cell is below 0, {share or 'some fine ones are'}"
        where = f"{self._name}, band {key}" if worst.numbered else self._name
        warn(
            "W-NEGATIVE",
            f"{where}: {words}: if it cannot be negative, say what it is: kinds={{'{key}': 'never-negative'}} "
            "(or fraction, category, direction)",
        )


@dataclass
class _BandRecord:
    """The cells of one band that were seen so far; negative fine ones only where no coarse one is."""

    key: str
    numbered: bool
    coarse_min: float = math.inf
    coarse_max: float = 0.0
    fine_min: float = 0.0
    fine_cells: int = 0
    negative_cells: int = 0

    def add_coarse(self, values: Array) -> None:
        if values.size:
            self.coarse_min = min(self.coarse_min, float(values.min()))
            self.coarse_max = max(self.coarse_max, float(values.max()))

    def add_fine(self, seen: _Negative) -> None:
        self.fine_cells += seen.cells
        if self.coarse_min < 0:
            return
        slack = max(seen.step / 2, ROUNDING * self.coarse_max)
        below = seen.values[seen.values < -slack]
        if below.size:
            self.negative_cells += below.size
            self.fine_min = min(self.fine_min, float(below.min()))


@dataclass(frozen=True)
class _Negative:
    """Negative values among the fine cells of a tile and band, of so many cells that are valid."""

    band: int
    step: float
    cells: int
    values: Array


def look_for_negative(
    cells: Cells, rules: Sequence[Rule], bands: slice, passed: Callable[[int], bool] = lambda _: False
) -> list[_Negative]:
    """Look at fine cells of bands that are watched, but for those that are passed over; on any thread."""
    seen = cells.one_cell() or cells  # of one value, negative ones are so before, and do not count
    times = cells.values[0].size // seen.values[0].size
    each = zip(_numbers(bands), seen.values, seen.valid, rules, strict=False)
    return [
        _Negative(band, rule.step, times * int(valid.sum()), _negative_values(values, valid))
        for band, values, valid, rule in each
        if rule.watched and not passed(band)
    ]


def _negative_values(values: Array, valid: Mask) -> Array:
    if values.min() >= 0:  # which is soon said
        return values[:0]
    return values[valid & (values < 0)]


def _numbers(bands: slice) -> Iterator[int]:
    return itertools.count(bands.start or 0)


class RangeCheckedSource:
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
        """Bands, rows and columns of the source."""
        return self._source.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The source's cells, after a look at them."""
        cells = self._source.read(window, bands)
        if self._rules:
            self._watch.look_coarse(cells, self._rules[bands], bands)
        return cells


class RangeCheckedSink:
    """A sink whose cells are watched; as for `RangeCheckedSource`."""

    def __init__(self, sink: Sink, rules: Sequence[Rule], watch: Watch) -> None:
        self._sink, self._rules, self._watch = sink, rules, watch

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Pass the cells on, after a look at them, which counts when they are written."""
        seen = look_for_negative(cells, self._rules[bands], bands, self._watch.has_negative)
        store = self._sink.prepare(window, cells, bands)

        def write() -> None:
            self._watch.add_fine(seen)
            store()

        return write


def _describe_first_beyond(cells: Cells, rules: Sequence[Rule]) -> str:
    """Say so of the first band of which values lie outside their bounds; nothing if there is none."""
    start = 0
    for rule, alike in itertools.groupby(rules):
        bands = slice(start, start := start + len(list(alike)))
        values, valid = cells.values[bands], cells.valid[bands]
        if any(limits != FREE and _outside(values, valid, limits).any() for limits in (rule.limits, rule.natural)):
            each = zip(values, valid, strict=True)
            if found := next(filter(None, (_describe_beyond(*band, rule) for band in each)), ""):
                return found
    return ""


def _describe_beyond(values: Array, valid: Mask, rule: Rule) -> str:
    """Say which values lie outside their bounds, and what becomes of them; nothing if none do."""
    rounding = ROUNDING * max((abs(end) for end in rule.limits if math.isfinite(end)), default=0.0)
    if found := _describe_outside(values, valid, rule.limits, rounding):
        return f"{found}: they come out at its bounds, and their cells' means with them"
    trace = TRACE * float(np.abs(values).max(initial=0, where=valid)) if rule.natural != FREE else 0.0
    if found := _describe_outside(values, valid, rule.natural, trace):
        meant = f"it is taken for {rule.taken_for}, unless kinds={{'{rule.key}': 'field'}}"
        return f"{found}: such cells keep their value, the others stay within; {meant}"
    return ""


def _describe_outside(values: Array, valid: Mask, limits: Range, slack: float) -> str:
    """Say how many values lie outside a range by more than `slack`, and give one of them; nothing if none do."""
    low, high = limits
    if limits == FREE or not (outside := _outside(values, valid, limits, slack)).any():
        return ""
    share = 100 * outside.sum() / valid.sum()
    return f"outside the range {low:g} to {high:g}, such as {values[outside][0]:g} ({share:.3g} % of a tile)"


def _outside(values: Array, valid: Mask, limits: Range, slack: float = 0.0) -> Mask:
    """True where a value lies outside a range by more than `slack`."""
    low, high = limits
    outside: Mask = valid & ((values < low - slack) | (values > high + slack))
    return outside
