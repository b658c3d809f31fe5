"""A plan of tiles through the engine, and the threads that compute it.

Reading, computing and writing overlap: one thread reads, workers with one torch thread each compute and encode, the
calling thread writes. What is under way is bounded, so memory does not depend on the size of the raster.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from geofsrcnn._types import Progress, Write
from geofsrcnn.engine.base import Job, Sink, Source, band_groups
from geofsrcnn.engine.onto import OntoPlan
from geofsrcnn.engine.tile import upscale_tile
from geofsrcnn.grids.windows import Plan, Tile
from geofsrcnn.values.cells import Cells

Unit = tuple[slice, Tile]
"""Bands and a tile."""


def run(
    job: Job,
    source: Source,
    sink: Sink,
    plan: Plan | OntoPlan,
    workers: int,
    progress: Progress | None = None,
    groups: Sequence[slice] = (),
    share: range | None = None,
    precomputed: Iterator[Cells] | None = None,
) -> None:
    """Upscale all tiles of a plan from a source to a sink.

    Tiles are written in the plan's order, all bands of one before the next; with `groups`, all tiles of a group of
    bands before the next. On an error, or an interrupt in the calling thread, tiles under way are finished and dropped,
    the others never started, and the exception goes on.

    Parameters
    ----------
    job : Job
        What to do.
    source, sink : Source, Sink
        Where from and where to.
    plan : Plan or OntoPlan
        The tiles, read with ``job.reach`` cells around.
    workers : int
        Threads that compute; 1 does everything in the calling thread.
    progress : callable, optional
        ``progress(done, total)`` after each tile, in the calling thread.
    groups : sequence of slice
        Bands that go through a tile together; chosen here if not given.
    share : range, optional
        Only these of the units, a tile and a group of bands each, in the order that they are written in.
    precomputed : iterator of Cells, optional
        The results of the units, computed elsewhere: nothing is read or computed.
    """
    work: _Work = _Computing(job, source, sink) if precomputed is None else _Passing(precomputed, sink)
    units: Iterator[Unit]
    if groups:
        units = ((bands, tile) for bands in groups for tile in plan)
    else:
        groups = band_groups(source.shape[0], job.model)
        units = ((bands, tile) for tile in plan for bands in groups)
    total = len(plan) * len(groups)
    if share is not None:
        units, total = itertools.islice(units, share.start, share.stop), len(share)
    writes = _here(work, units) if workers == 1 else _on_threads(work, units, workers)
    with closing(writes):
        for done, write in enumerate(writes, 1):
            write()
            if progress is not None:
                progress(done, total)


class _Work(Protocol):
    """The work on each unit."""

    def read(self, unit: Unit) -> Cells:
        """Take in the cells that the unit is made of; one unit after the other."""
        ...

    def prepare(self, unit: Unit, cells: Cells) -> Write:
        """Make it; several threads at once. What is returned stores the result."""
        ...


@dataclass(frozen=True)
class _Computing:
    """Coarse cells are read, upscaled and encoded."""

    job: Job
    source: Source
    sink: Sink

    def read(self, unit: Unit) -> Cells:
        bands, tile = unit
        return self.source.read(tile.read, bands)

    def prepare(self, unit: Unit, cells: Cells) -> Write:
        bands, tile = unit
        return self.sink.prepare(tile.write, upscale_tile(self.job, cells, tile, bands), bands)


@dataclass(frozen=True)
class _Passing:
    """Fine cells that were computed before are encoded."""

    precomputed: Iterator[Cells]
    sink: Sink

    def read(self, _: Unit) -> Cells:
        return next(self.precomputed)

    def prepare(self, unit: Unit, cells: Cells) -> Write:
        bands, tile = unit
        return self.sink.prepare(tile.write, cells, bands)


def _here(work: _Work, units: Iterator[Unit]) -> Generator[Write]:
    """Yield what stores the results of units, which are made in the calling thread."""
    with torch_threads(1):
        for unit in units:
            yield work.prepare(unit, work.read(unit))


def _on_threads(work: _Work, units: Iterator[Unit], workers: int) -> Generator[Write]:
    """Yield what stores the results of units, in order, while threads read and make the next ones."""
    with _threads(workers) as (reader, pool):
        pending: deque[Future[Write]] = deque()
        for unit in units:
            if len(pending) >= 2 * workers + 1:  # bounds the memory of what waits to be written
                yield pending.popleft().result()
            cells = reader.submit(work.read, unit)
            pending.append(pool.submit(_prepare_when_read, work, unit, cells))
        while pending:
            yield pending.popleft().result()


def _prepare_when_read(work: _Work, unit: Unit, cells: Future[Cells]) -> Write:
    return work.prepare(unit, cells.result())


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of torch's own; as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _threads(workers: int) -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """A reading thread and computing threads; torch's own threads are as before afterwards."""
    before = torch.get_num_threads()
    reader = ThreadPoolExecutor(1, "geofsrcnn-read")
    pool = ThreadPoolExecutor(workers, "geofsrcnn-compute", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield reader, pool
    finally:
        for executor in (pool, reader):
            executor.shutdown(wait=False, cancel_futures=True)
        for executor in (reader, pool):
            executor.shutdown(wait=True)
        torch.set_num_threads(before)
