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
    units: Iterator[Unit]
    writes: Generator[Write]
    if groups:
        units = ((bands, tile) for bands in groups for tile in plan)
    else:
        groups = band_groups(source.shape[0], job.model)
        units = ((bands, tile) for tile in plan for bands in groups)
    total = len(plan) * len(groups)
    if share is not None:
        units, total = itertools.islice(units, share.start, share.stop), len(share)
    if precomputed is not None:
        writes = (sink.prepare(tile.write, next(precomputed), bands) for bands, tile in units)
    elif workers == 1:
        writes = _compute_here(job, source, sink, units)
    else:
        writes = _compute_on_threads(job, source, sink, units, workers)
    with closing(writes):
        for done, write in enumerate(writes, 1):
            write()
            if progress is not None:
                progress(done, total)


def _compute_here(job: Job, source: Source, sink: Sink, units: Iterator[Unit]) -> Generator[Write]:
    """Yield what stores the results of units, which are computed in the calling thread."""
    with torch_threads(1):
        for bands, tile in units:
            yield _compute(job, sink, source.read(tile.read, bands), tile, bands)


def _compute_on_threads(job: Job, source: Source, sink: Sink, units: Iterator[Unit], workers: int) -> Generator[Write]:
    """Yield what stores the results of units, in order, while threads read and compute the next ones."""
    with _threads(workers) as (reader, pool):
        pending: deque[Future[Write]] = deque()
        for bands, tile in units:
            if len(pending) >= 2 * workers + 1:  # bounds the memory of what waits to be written
                yield pending.popleft().result()
            cells = reader.submit(source.read, tile.read, bands)
            pending.append(pool.submit(_compute_when_read, job, sink, cells, tile, bands))
        while pending:
            yield pending.popleft().result()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads of torch's own; as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compute_when_read(job: Job, sink: Sink, cells: Future[Cells], tile: Tile, bands: slice) -> Write:
    return _compute(job, sink, cells.result(), tile, bands)


def _compute(job: Job, sink: Sink, cells: Cells, tile: Tile, bands: slice) -> Write:
    """Upscale a tile, and encode it."""
    return sink.prepare(tile.write, upscale_tile(job, cells, tile, bands), bands)


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
