"""A stream onto a grid that is wanted: fine cells are averaged before they are written, tile by tile.

For each tile of wanted cells the coarse cells below it are upscaled, so that never more than a tile of the fine map is
held, whatever its size. Where tiles meet, coarse cells are upscaled twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np

from geofsrcnn._types import Array, Mask, Write
from geofsrcnn.engine.base import FREE, NO_RULE, Rule, Sink, Source
from geofsrcnn.engine.directions import start_of
from geofsrcnn.engine.sources import PeriodicSource
from geofsrcnn.grids.overlap import Sums
from geofsrcnn.grids.windows import Tile, Window
from geofsrcnn.values.cells import Cells

BLOCK = 16
"""Rows and columns of a tile are a multiple of it, as the blocks of a TIFF are."""


LARGEST = 4
"""Tiles that need more coarse cells than so many others are cut."""


class Overlap(Protocol):
    """Where wanted cells lie on the fine grid: `geofsrcnn.grids.overlap.AreaOverlap`, or a warp."""

    @property
    def shape(self) -> tuple[int, int]:
        """Wanted rows and columns."""
        ...

    @property
    def complete(self) -> bool:
        """True if no wanted cell lies wholly beyond the fine grid."""
        ...

    @property
    def complete_around(self) -> bool:
        """The same, where the fine grid goes around the globe, so that none lies beyond its first or last column."""
        ...

    @property
    def exact(self) -> bool:
        """True if sums are kept."""
        ...

    @property
    def area(self) -> float:
        """Fine cells to a wanted one, on average."""
        ...

    def shift(self, columns: int, cells: int) -> Self:
        """The same with fine columns that are numbered from another one on, and are so many."""
        ...

    def part(self, wanted: Window, fine: Window) -> Self:
        """The same for a window of wanted cells on a window of fine ones."""
        ...

    def needed(self, wanted: Window) -> Window:
        """Fine cells that a window of wanted ones needs; at least one."""
        ...

    def areas(self, wanted: Window) -> Array:
        """Fine cells to each of some wanted ones, ``(y, x)``."""
        ...

    def average(self, field: Sums, fine: Window, wanted: Window, *, slopes: bool = True) -> Sums:
        """Average a field of some fine cells over some wanted ones."""
        ...

    def majority(self, values: Array, valid: Mask, fine: Window, wanted: Window) -> Array:
        """Find the value that most of each wanted cell has."""
        ...


@dataclass(frozen=True)
class Onto:
    """A grid that is wanted instead of the fine one.

    Parameters
    ----------
    overlap : Overlap
        Where its cells lie on the fine grid.
    factor : int
        Fine cells along one side of a coarse cell.
    missing : float
        The value that missing cells hold.
    method : str
        How fine cells come onto which cells, in words.
    """

    overlap: Overlap
    factor: int
    missing: float = math.nan
    method: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Wanted rows and columns."""
        return self.overlap.shape

    def part(self, wanted: Window, coarse: Window) -> Onto:
        """The same for a window of wanted cells on a window of coarse ones, for overlaps by area."""
        return replace(self, overlap=self.overlap.part(wanted, coarse.refine(self.factor)))

    def core(self, wanted: Window) -> Window:
        """Coarse cells whose parts a window of wanted cells needs."""
        fine, f = self.overlap.needed(wanted), self.factor
        return Window(fine.y0 // f, -(-fine.y1 // f), fine.x0 // f, -(-fine.x1 // f))

    def side(self, tile_size: int) -> int:
        """Wanted cells along one side of a tile of about so many coarse ones."""
        return max(BLOCK, int(tile_size / self.coarse_side) // BLOCK * BLOCK)

    @property
    def coarse_side(self) -> float:
        """Coarse cells along one side of a wanted one, about."""
        return math.sqrt(self.overlap.area) / self.factor


def around_globe(source: Source, period: int, onto: Onto) -> tuple[Source, Onto]:
    """A source and a wanted grid as columns follow each other around the globe; as they are where `period` is 0.

    There is a turn more on either side, so that nothing that is wanted lies at an edge.
    """
    if not period:
        return source, onto
    shifted = onto.overlap.shift(period * onto.factor, 3 * period * onto.factor)
    return PeriodicSource(source, period, -period, 3 * period), replace(onto, overlap=shifted)


@dataclass(frozen=True)
class OntoPlan:
    """Tiles of a wanted grid; the same plan gives the same result to the last bit.

    Parameters
    ----------
    onto : Onto
        The grid.
    extent : Window
        All coarse cells that may be read.
    side : int
        Wanted cells along one side of a tile.
    reach : int
        Coarse cells that are read around those of a tile.
    """

    onto: Onto
    extent: Window
    side: int
    reach: int

    @property
    def tile_size(self) -> int:
        """Coarse cells along one side of a tile, about."""
        return math.ceil(self.side * self.onto.coarse_side) + 1

    def __len__(self) -> int:
        return len(self._tiles)

    def __iter__(self) -> Iterator[Tile]:
        return iter(self._tiles)

    @cached_property
    def _tiles(self) -> Sequence[Tile]:
        rows, columns = self.onto.overlap.shape
        whole = Window(0, rows, 0, columns)
        return [tile for window in _cut(whole, self.side) for tile in self._bounded(window)]

    def _bounded(self, wanted: Window) -> Iterator[Tile]:
        """A tile; quarters of it where it needs far more coarse cells than others, as around a pole."""
        core, side = self.onto.core(wanted), max(wanted.shape)
        if math.prod(core.shape) > LARGEST * (self.tile_size + 2) ** 2 and side > BLOCK:
            half = max(BLOCK, side // 2 // BLOCK * BLOCK)
            for window in _cut(wanted, half):
                yield from self._bounded(window)
        else:
            yield Tile(core, core.grow(self.reach, self.extent), wanted)


def _cut(window: Window, side: int) -> Iterator[Window]:
    """Cut a window in windows of so many rows and columns; the last ones may be smaller."""
    for y in range(window.y0, window.y1, side):
        for x in range(window.x0, window.x1, side):
            yield Window(y, min(y + side, window.y1), x, min(x + side, window.x1))


@dataclass(frozen=True)
class OntoSink:
    """A sink whose cells are averaged onto the wanted grid first.

    Parameters
    ----------
    sink : Sink
        Where these go.
    onto : Onto
        The grid.
    rules : sequence of Rule
        What the values of each band are; nothing if empty.
    repeats : bool
        Values are repeated, whatever they are.
    """

    sink: Sink
    onto: Onto
    rules: Sequence[Rule] = ()
    repeats: bool = False

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Average the fine cells of a tile onto a window of wanted ones, and pass these on."""
        rules = self.rules[bands] or [NO_RULE] * len(cells.values)
        tile = _TileOnto(self.onto, self.onto.core(window).refine(self.onto.factor), window)
        return self.sink.prepare(window, tile.average(cells, rules, repeats=self.repeats), bands)


@dataclass(frozen=True)
class _TileOnto:
    """Fine cells of a tile, and the window of wanted ones that they are averaged onto."""

    onto: Onto
    fine: Window
    wanted: Window

    def average(self, cells: Cells, rules: Sequence[Rule], *, repeats: bool) -> Cells:
        """Average cells, each band by its rule; a wanted cell is valid where some part of it is."""
        errors = [None] * len(rules) if cells.errors is None else list(cells.errors)
        layers = zip(cells.values, cells.valid, errors, rules, strict=True)
        found = [self._layer(*layer, repeats=repeats) for layer in layers]
        return Cells(
            np.stack([values for values, _, _ in found]),
            np.stack([valid for _, valid, _ in found]),
            None if cells.alpha is None else np.stack([self._alpha(layer) for layer in cells.alpha]),
            None if cells.mask is None else self._mask(cells.mask),
            None if cells.errors is None else np.stack([told for _, _, told in found if told is not None]),
        )

    def _layer(
        self, values: Array, valid: Mask, errors: Array | None, rule: Rule, *, repeats: bool
    ) -> tuple[Array, Mask, Array | None]:
        """Values of a band, which of them are valid, and their expected errors if there are some."""
        told = None if errors is None else self._errors(errors, rule)
        total = rule.divisor > 1
        if (repeats and not total) or rule.repeats:
            shares = self._sums(np.zeros(valid.shape), valid, slopes=False).shares
            found = self.onto.overlap.majority(values, valid, self.fine, self.wanted)
        elif rule.value_period:
            found, shares = self._directions(values, valid, rule)
        else:
            sums = self._sums(values, valid, slopes=not repeats)
            shares = sums.shares  # of a total, what lies in a cell counts, not its mean
            found = sums.values * self.onto.overlap.areas(self.wanted) if total else _divide(sums)
        there: Mask = shares > 0
        missing = 0 if found.dtype.kind != "f" and math.isnan(self.onto.missing) else self.onto.missing
        return found if there.all() else np.where(there, found, found.dtype.type(missing)), there, told

    def _sums(self, values: Array, valid: Mask, *, slopes: bool) -> Sums:
        """Average the valid cells of a band over the wanted ones."""
        field = Sums(np.where(valid, values, 0.0).astype(np.float64, copy=False), valid.astype(np.float64))
        return self.onto.overlap.average(field, self.fine, self.wanted, slopes=slopes)

    def _errors(self, errors: Array, rule: Rule) -> Array:
        """Average expected errors, of a total add them up: those of neighbours are taken to have one sign."""
        sums = self._sums(errors, np.isfinite(errors), slopes=False)
        return (
            np.where(sums.shares > 0, sums.values * self.onto.overlap.areas(self.wanted), np.nan)
            if rule.divisor > 1
            else _divide(sums)
        )

    def _directions(self, values: Array, valid: Mask, rule: Rule) -> tuple[Array, Array]:
        """Directions of mean unit vectors, and valid shares; most common value where no cell has a direction."""
        start, period = start_of(rule, values, valid), rule.value_period
        told = valid
        if rule.natural != FREE or rule.start is None:  # others stand for no direction, as 999 may
            told = valid & (values >= start) & (values <= start + period)
        radians = np.where(told, values, 0.0) * (2 * math.pi / period)
        sine, cosine = (self._sums(part, told, slopes=True) for part in (np.sin(radians), np.cos(radians)))
        angle = np.arctan2(sine.values, cosine.values) * (period / (2 * math.pi))
        found = (angle - start) % period + start
        if told is valid or told.all():
            return found, sine.shares
        shares = self._sums(radians, valid, slopes=False).shares
        other = self.onto.overlap.majority(values, valid, self.fine, self.wanted)
        return np.where(sine.shares > 0, found, other), shares

    def _alpha(self, alpha: Array) -> Array:
        """Average an alpha band; 0 beyond the raster."""
        found = _divide(self._sums(alpha, np.ones(alpha.shape, bool), slopes=False))
        return np.nan_to_num(found, nan=0.0).round().astype(alpha.dtype)

    def _mask(self, mask: Array) -> Array:
        """A mask that is open where a part of a wanted cell is."""
        shares = self._sums(np.zeros(mask.shape), mask > 0, slopes=False).shares
        return np.where(shares > 0, 255, 0).astype(mask.dtype)


def _divide(sums: Sums) -> Array:
    """Means over what is valid; NaN where nothing is."""
    found: Array = np.full(sums.values.shape, np.nan)
    np.divide(sums.values, sums.shares, out=found, where=sums.shares > 0)
    return found
