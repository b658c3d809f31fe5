"""A source on its way through a model: planned in tiles, around the globe, watched for its range."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from geofsrcnn._types import Progress
from geofsrcnn.engine.base import Job, Rule, Sink, Source, band_groups, tile_size_of
from geofsrcnn.engine.onto import Onto, OntoPlan, OntoSink
from geofsrcnn.engine.sources import PeriodicSource
from geofsrcnn.engine.watch import RangeCheckedSink, RangeCheckedSource, Watch
from geofsrcnn.grids.windows import Plan, Tile, Window
from geofsrcnn.values.cells import Cells

if TYPE_CHECKING:
    from geofsrcnn.networks.catalog import Model


@dataclass(frozen=True)
class Stream:
    """A source on its way through the engine, checked; its units of work are a tile and a group of bands each.

    Parameters
    ----------
    name : str
        For messages.
    source : Source
        Where coarse cells come from.
    model : Model
        Network or classical method that makes them finer.
    region : Window
        Coarse cells that are wanted; all bands of them.
    repeats : bool
        Cells are repeated, whatever the model is.
    rules : sequence of Rule
        What the values of each band keep to; nothing if empty.
    period : int
        Columns that go around the globe, so that the first is the last one's neighbour; 0 if they do not.
    tile_size : int, optional
        Coarse cells along one side of a tile; chosen for the device if not given.
    workers : int
        Threads that compute.
    groups_in_order : sequence of slice
        Groups of bands in the order that they are written in, all tiles of one before the next; if empty, groups are
        chosen here, and all groups of a tile are written before the next tile.
    itemsize : int
        Bytes of a fine cell where it is stored.
    watch : Watch, optional
        Looks at the values; one of its own if not given.
    errors : bool
        Tell the expected error of each fine cell too; the model gives it.
    onto : Onto, optional
        The grid that is wanted instead of the fine one; the region is what it needs.
    """

    name: str
    source: Source
    model: Model
    region: Window
    repeats: bool = False
    rules: Sequence[Rule] = ()
    period: int = 0
    tile_size: int | None = None
    workers: int = 1
    groups_in_order: Sequence[slice] = ()
    itemsize: int = 4
    watch: Watch | None = None
    errors: bool = False
    onto: Onto | None = None

    @cached_property
    def job(self) -> Job:
        """The work on each tile."""
        model = None if self.repeats else self.model.upsampler
        return Job(model, self.model.factor, self.rules, errors=self.errors and not self.repeats)

    @cached_property
    def plan(self) -> Plan | OntoPlan:
        """The tiles; the source that is read has more columns where it goes around the globe."""
        _, rows, columns = self.source.shape
        reach, side = self.job.reach, tile_size_of(self.tile_size, self.model, self.region.shape)
        if self.onto is not None:
            return OntoPlan(self.onto, Window(0, rows, 0, columns), self.onto.side(side), reach)
        if not self._goes_around:
            return Plan(Window(0, rows, 0, columns), self.region, side, reach, self.model.factor)
        extent = Window(0, rows, 0, columns + 2 * reach)
        return Plan(extent, self.region.shift(0, reach), side, reach, self.model.factor)

    @property
    def _goes_around(self) -> bool:
        return bool(self.period and self.job.reach and not self.model.whole_field and self.onto is None)

    @property
    def block(self) -> int:
        """Rows and columns that are written at once."""
        return self.plan.side if isinstance(self.plan, OntoPlan) else self.plan.tile_size * self.model.factor

    @cached_property
    def groups(self) -> Sequence[slice]:
        """Bands that go through a tile together."""
        return self.groups_in_order or band_groups(self.source.shape[0], self.job.model)

    @property
    def units(self) -> int:
        """Units of work: a tile and a group of bands each."""
        return len(self.plan) * len(self.groups)

    @property
    def bands(self) -> int:
        """Bands of the source."""
        return self.source.shape[0]

    @property
    def coarse_cells(self) -> int:
        """Cells of all bands."""
        return self.bands * self.region.shape[0] * self.region.shape[1]

    @property
    def fine_cells(self) -> int:
        """Cells of all bands."""
        if self.onto is not None:
            return self.bands * math.prod(self.onto.overlap.shape)
        return self.coarse_cells * self.model.factor**2

    @property
    def fine_bytes(self) -> int:
        """Before compression."""
        return self.fine_cells * self.itemsize

    def run(
        self,
        sink: Sink,
        progress: Progress | None = None,
        share: range | None = None,
        precomputed: Iterator[Cells] | None = None,
    ) -> None:
        """Write all units into a sink, or a share of them, computed here or before (`geofsrcnn.engine.run.run`)."""
        from geofsrcnn.engine.run import run

        watch = self.watch or Watch(self.name)
        source: Source = RangeCheckedSource(self.source, self.rules, watch)
        if precomputed is None and self.onto is not None:
            sink = OntoSink(sink, self.onto, self.rules, repeats=self.job.model is None)
        if precomputed is None and any(rule.watched for rule in self.rules):
            sink = RangeCheckedSink(sink, self.rules, watch)
        if self._goes_around:
            reach = self.job.reach
            source = PeriodicSource(source, self.period, -reach, self.source.shape[2] + 2 * reach)
        run(self.job, source, sink, self.plan, self.workers, progress, self.groups_in_order, share, precomputed)
        watch.warn_of_negative(complete=self.watch is None and (share is None or len(share) == self.units))

    def seconds(self) -> float:
        """Estimate what computing takes here, from a tile of noise, computed now."""
        (rows, columns), bands = self._largest
        tiles = self.coarse_cells / (rows * columns * bands)
        return time_of_tile(self.job, (rows, columns), bands) * tiles / self.workers

    def memory(self) -> int:
        """Bytes that are under way at the peak, about."""
        shape, _ = self._largest
        bands: int = self.groups[0].stop - self.groups[0].start
        each = 16 if self.job.errors else 8
        return (2 * self.workers + 2) * bands * shape[0] * shape[1] * self.model.factor**2 * each

    @property
    def _largest(self) -> tuple[tuple[int, int], int]:
        """Rows and columns of a tile, and bands that the model computes together."""
        rows, columns = (min(n, self.plan.tile_size) for n in self.region.shape)
        together = self.job.model.channels if self.job.model is not None else 1
        return (rows, columns), together


def time_of_tile(job: Job, shape: tuple[int, int], bands: int) -> float:
    """Seconds that a tile of noise takes here and now, on one thread."""
    from geofsrcnn.engine.tile import upscale_tile

    rows, columns = (n + 2 * job.reach for n in shape)
    noise = np.random.default_rng(0).normal(size=(bands, rows, columns)).astype(np.float32)
    core = Window(job.reach, rows - job.reach, job.reach, columns - job.reach)
    tile = Tile(core, Window(0, rows, 0, columns), core)
    cells = Cells(noise, np.ones(noise.shape, bool))
    free = Job(job.model, job.factor, errors=job.errors)
    upscale_tile(free, cells, tile)
    start = time.perf_counter()
    for _ in range(3):
        upscale_tile(free, cells, tile)
    return (time.perf_counter() - start) / 3
