"""The engine: one function does the arithmetic of a block, everything else moves data to and from it.

Reading, computing and writing overlap: one thread reads, workers with one torch thread each compute, the calling
thread writes. What is under way is bounded, so memory does not depend on the raster's size.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from geofsrcnn.cells import Cells
from geofsrcnn.errors import ModelError
from geofsrcnn.inference import Upsampler
from geofsrcnn.model import conserve
from geofsrcnn.nodata import Mask, fill
from geofsrcnn.resample import repeat
from geofsrcnn.tiles import Margin, Plan, Tile, Window

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
Limits = tuple[float, float]

TILE = 160
"""Coarse cells along one side of a tile on a CPU: activations stay in the cache, halos stay cheap."""

DEVICE_TILE = 512
"""The same on a GPU."""

BANDS = 16
"""Bands of a tile that are upscaled together."""

SAFE = (2.0**-60, 2.0**60)
"""Magnitudes that float32 arithmetic bears; other blocks are scaled by a power of two and back."""

_PAD_MODES = {"replicate": "edge", "zeros": "constant", "reflect": "reflect"}


class Source(Protocol):
    """Where coarse cells come from; used by one thread at a time."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        ...

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window."""
        ...


class Sink(Protocol):
    """Where fine cells go; used by the calling thread only."""

    def write(self, window: Window, cells: Cells, bands: slice) -> None:
        """Take the cells of a window."""
        ...


class AroundGlobe:
    """A source whose columns go around the globe: as many as are read around a tile stand on either side again.

    Parameters
    ----------
    source : Source
        Its first column's neighbour is the column `period` - 1, and column `period` is the first again.
    period : int
        Columns around the globe: all of the source's, less last ones that repeat the first.
    margin : int
        Columns to add on either side.
    """

    def __init__(self, source: Source, period: int, margin: int) -> None:
        self._source, self._period, self._margin = source, period, margin

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns with those added."""
        bands, rows, columns = self._source.shape
        return bands, rows, columns + 2 * self._margin

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window, in as many pieces as it takes."""
        columns = self._source.shape[2]
        index = np.arange(window.x0, window.x1) - self._margin
        index = np.where((index >= 0) & (index < columns), index, index % self._period)
        starts = [0, *(np.flatnonzero(np.diff(index) != 1) + 1), index.size]
        pieces = [
            self._source.read(Window(window.y0, window.y1, int(index[a]), int(index[b - 1]) + 1), bands)
            for a, b in itertools.pairwise(starts)
        ]
        if len(pieces) == 1:
            return pieces[0]
        alphas = [piece.alpha for piece in pieces if piece.alpha is not None]
        masks = [piece.mask for piece in pieces if piece.mask is not None]
        return Cells(
            np.concatenate([piece.values for piece in pieces], axis=-1),
            np.concatenate([piece.valid for piece in pieces], axis=-1),
            np.concatenate(alphas, axis=-1) if alphas else None,
            np.concatenate(masks, axis=-1) if masks else None,
        )


@dataclass(frozen=True)
class Job:
    """What is done to each tile.

    Parameters
    ----------
    model : Upsampler or None
        None repeats cells (nearest), whatever their type.
    factor : int
        Fine cells along one side of a coarse cell.
    limits : sequence of tuple of float
        Bounds that the values of each band keep, in physical units; none if empty.
    """

    model: Upsampler | None
    factor: int
    limits: Sequence[Limits] = ()

    @property
    def reach(self) -> int:
        """Cells read around a tile: the halo, and once more where its missing cells are filled from."""
        return 0 if self.model is None else 2 * self.model.halo


def upscale_block(
    model: Upsampler,
    values: Array,
    valid: Mask,
    margin: Margin,
    limits: Sequence[Limits] = (),
) -> Array:
    """Upscale the core of a block.

    Missing cells are filled from their neighbours, the raster's edge is padded, the model is applied, and bounds
    are kept.

    Parameters
    ----------
    model : Upsampler
        Network or classical method.
    values : ndarray (band, y, x), float32 or float64
        Core and halo; anything where invalid.
    valid : ndarray (band, y, x) of bool
        True where valid.
    margin : Margin
        Cells around the core in `values`. A side with fewer than the model's halo is the raster's edge; with
        invalid cells a side has twice the halo, or reaches the edge.
    limits : sequence of tuple of float
        Bounds that the values of each band keep; none if empty.

    Returns
    -------
    ndarray (band, factor * y, factor * x), the type of `values`
        The core on the fine grid; cells of invalid coarse cells hold anything finite.
    """
    halo = model.halo
    if not valid.all():
        rings = max(values.shape[1:]) if model.whole else halo
        values = fill(values, valid, rings).astype(values.dtype, copy=False)
    values = _fit_halo(values, margin, halo, model.padding)
    scale = _safe_scale(values) if model.unit_free else 1.0
    x = torch.from_numpy(np.ascontiguousarray(values * values.dtype.type(scale) if scale != 1 else values))
    groups = x.unsqueeze(1) if model.channels == 1 else x.unsqueeze(0)
    blocks = [model(group.unsqueeze(0)) for group in groups]
    fine = (blocks[0] if len(blocks) == 1 else torch.cat(blocks)).flatten(0, 1)
    core = x[..., halo : x.shape[-2] - halo, halo : x.shape[-1] - halo]
    for band, (low, high) in enumerate(limits):
        _keep_range(model, fine[band], core[band], low * scale, high * scale)
    result: Array = fine.numpy()
    if scale == 1:
        return result
    with np.errstate(over="ignore"):
        unscaled: Array = result / result.dtype.type(scale)
    return unscaled


def _fit_halo(values: Array, margin: Margin, halo: int, padding: str) -> Array:
    """Cut what was read for filling only, and pad where the raster ends."""
    sides = (margin.top, margin.bottom, margin.left, margin.right)
    top, bottom, left, right = (max(side - halo, 0) for side in sides)
    values = values[:, top : values.shape[1] - bottom, left : values.shape[2] - right]
    short = [max(halo - side, 0) for side in sides]
    if not any(short):
        return values
    pads = [(0, 0), (short[0], short[1]), (short[2], short[3])]
    return np.pad(values, pads, mode=_PAD_MODES[padding])  # type: ignore[call-overload,no-any-return]


def _safe_scale(values: Array) -> float:
    """A power of two that brings a block's magnitude to where float32 has room; 1 for ordinary values."""
    largest = float(np.abs(values).max())
    if largest == 0 or SAFE[0] <= largest <= SAFE[1]:
        return 1.0
    # only as far as needed: small values beside a huge one keep their digits
    return 2.0 ** (60 - math.frexp(largest)[1]) if largest > 1 else min(2.0 ** (-60 - math.frexp(largest)[1]), 2.0**900)


def _keep_range(model: Upsampler, fine: torch.Tensor, core: torch.Tensor, low: float, high: float) -> None:
    """Bring blocks that leave their bounds back into them, in place; with conserving models they keep their means."""
    smallest, largest = torch.aminmax(fine)
    if low <= smallest and largest <= high:
        return
    with torch.inference_mode():
        if not model.conserving:
            fine.clamp_(low, high)
            return
        blocks = torch.nn.functional.pixel_unshuffle(fine[None, None], model.factor)
        outside = ((blocks < low) | (blocks > high)).any(1, keepdim=True)
        kept = conserve(blocks.unsqueeze(1), core[None, None], low, high).squeeze(1)
        fine.copy_(torch.nn.functional.pixel_shuffle(torch.where(outside, kept, blocks), model.factor)[0, 0])


def upscale_tile(job: Job, cells: Cells, tile: Tile, bands: slice = slice(None)) -> Cells:
    """The fine cells of a tile from the coarse cells read for it.

    Invalid coarse cells become ``factor x factor`` invalid fine cells that hold the same value; alpha and mask
    are repeated.
    """
    core = _core(tile.margin, cells.values.shape)
    coarse, valid = cells.values[core], repeat(cells.valid[core], job.factor)
    if job.model is None or not valid.any():
        fine = repeat(coarse, job.factor)
    else:
        fine = upscale_block(job.model, cells.values, cells.valid, tile.margin, job.limits[bands])
        if not valid.all():
            fine = np.where(valid, fine, repeat(coarse, job.factor))
    alpha = None if cells.alpha is None else repeat(cells.alpha[core], job.factor)
    mask = None if cells.mask is None else repeat(cells.mask[core[1:]], job.factor)
    return Cells(fine, valid, alpha, mask)


def _core(margin: Margin, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    return (
        slice(None),
        slice(margin.top, shape[1] - margin.bottom),
        slice(margin.left, shape[2] - margin.right),
    )


def run(
    job: Job,
    source: Source,
    sink: Sink,
    plan: Plan,
    workers: int,
    progress: Progress | None = None,
    groups: Sequence[slice] = (),
    share: range | None = None,
    made: Iterator[Cells] | None = None,
) -> None:
    """Upscale all tiles of a plan from a source to a sink.

    Tiles are written in the plan's order, all bands of one before the next; with `groups`, all tiles of a group of
    bands before the next. On an error, or an interrupt in the calling thread, tiles under way
    are finished and dropped, the others never started, and the exception goes on.

    Parameters
    ----------
    job : Job
        What to do.
    source, sink : Source, Sink
        Where from and where to.
    plan : Plan
        The tiles, read with ``job.reach`` cells around.
    workers : int
        Threads that compute; 1 does everything in the calling thread.
    progress : callable, optional
        ``progress(done, total)`` after each tile, in the calling thread.
    groups : sequence of slice
        Bands that go through a tile together; chosen here if not given.
    share : range, optional
        Only these of the units, a tile and a group of bands each, in the order that they are written in.
    made : iterator of Cells, optional
        The results of the units, made elsewhere: nothing is read or computed.
    """
    together = groups or band_groups(source.shape[0], job.model)
    units: Iterator[tuple[slice, Tile]]
    units = ((b, tile) for b in groups for tile in plan) if groups else ((b, tile) for tile in plan for b in together)
    total = len(plan) * len(together)
    if share is not None:
        units, total = itertools.islice(units, share.start, share.stop), len(share)
    done = 0

    def take(tile: Tile, bands: slice, cells: Cells) -> None:
        nonlocal done
        sink.write(tile.write, cells, bands)
        done += 1
        if progress is not None:
            progress(done, total)

    if made is not None:
        for bands, tile in units:
            take(tile, bands, next(made))
        return
    if workers == 1:
        with _one_torch_thread():
            for bands, tile in units:
                take(tile, bands, upscale_tile(job, source.read(tile.read, bands), tile, bands))
        return
    with _threads(workers) as (reader, pool):
        pending: deque[tuple[Tile, slice, Future[Cells]]] = deque()

        def finish_one() -> None:
            tile, bands, future = pending.popleft()
            take(tile, bands, future.result())

        for bands, tile in units:
            if len(pending) >= 2 * workers + 1:
                finish_one()
            cells = reader.submit(source.read, tile.read, bands)
            pending.append((tile, bands, pool.submit(_compute, job, cells, tile, bands)))
        while pending:
            finish_one()


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _compute(job: Job, cells: Future[Cells], tile: Tile, bands: slice) -> Cells:
    return upscale_tile(job, cells.result(), tile, bands)


def band_groups(count: int, model: Upsampler | None) -> list[slice]:
    """Bands that go through a tile together: all that the model joins, else a bounded number.

    Raises
    ------
    ModelError
        If the model takes another number of bands.
    """
    if model is None or model.channels == 1:
        return [slice(start, min(start + BANDS, count)) for start in range(0, count, BANDS)]
    if count != model.channels:
        raise ModelError(f"the model takes {model.channels} bands, the raster has {count}: choose them with --bidx")
    return [slice(0, count)]


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
