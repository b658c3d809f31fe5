"""Upscale dask arrays lazily: chunks stay where they are, only their edges travel.

1. Chunks that are smaller than what their neighbours need of them, twice the halo, are merged (`_rechunk`).
2. Of each chunk up to four edges are cut, its first and last rows and columns: a small task each. A neighbour above or
   below needs all columns of an edge, one at a corner some of them, so four edges serve eight neighbours.
3. A task for each chunk puts it and the strips around it together, upscales them, and keeps the chunk's own cells
   (`_upscale_chunk`). The strips are known from the sizes of the chunks alone (`_Chunks.strips_around`).
4. Where expected errors are asked for, that task gives values and errors together, and two small ones take them apart.
5. A finer guide is chunked as the array is, its edges are cut alike, and the task gets those of both.

Around the globe the first chunk of a row follows the last, less last columns that repeat the first ones. Workers hold
each model once, by its digest.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from geofsrcnn._types import Array
from geofsrcnn.engine.arrays import ArrayTask
from geofsrcnn.engine.base import NO_RULE, Rule
from geofsrcnn.engine.guided_source import guide_sources
from geofsrcnn.engine.onto import Onto
from geofsrcnn.engine.watch import Watch
from geofsrcnn.grids.overlap import AreaOverlap, AxisOverlap
from geofsrcnn.grids.windows import Window, read_margin
from geofsrcnn.networks.catalog import Model, load_model
from geofsrcnn.networks.ready import ready_model
from geofsrcnn.options import Overshoot
from geofsrcnn.values.storage import Storage

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.networks.guided import Correction

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Recipe:
    """The work on each chunk.

    Parameters
    ----------
    model : str or Checkpoint
        A classical method's name, or a network.
    factor : int
        Fine cells along one side of a coarse cell.
    storage : Storage
        How values are stored.
    rule : Rule
        What they keep to; each process that computes warns once of coarse ones that do not.
    period : int
        Columns around the globe, or 0.
    tile_size : int, optional
        Coarse cells along one side of a tile.
    device, precision : str
        As for `upscale_array`.
    name : str
        Of the array, for messages.
    errors : bool
        Tell the expected error of each fine cell too.
    overshoot : float or "none", optional
        As for `upscale_array`.
    correction : Correction, optional
        The network that follows a guide.
    """

    model: str | Checkpoint
    factor: int
    storage: Storage
    rule: Rule = NO_RULE
    period: int = 0
    tile_size: int | None = None
    device: str = "auto"
    precision: str = "float32"
    name: str = "the array"
    errors: bool = False
    overshoot: Overshoot = None
    correction: Correction | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """All of it as plain values, the network by its digest."""
        model = self.model if isinstance(self.model, str) else self.model.digest
        rest = dataclasses.astuple(self.storage), dataclasses.astuple(self.rule), self.period, self.tile_size
        followed = "" if self.correction is None else self.correction.digest
        return model, self.factor, self.device, self.precision, self.errors, self.overshoot, followed, *rest


@dataclass(frozen=True)
class LazyGuide:
    """A finer guide beside a dask array.

    Parameters
    ----------
    arrays : sequence of ndarray (k, factor * y, factor * x) or (time, k, factor * y, factor * x)
        In memory, NaN where missing; the bands of all count.
    time_axis : int, optional
        The axis of the coarse array whose times those of four dimensions have.
    """

    arrays: Sequence[Array]
    time_axis: int | None = None

    def chunk(self, array: da.Array, chunks: _Chunks, factor: int) -> list[da.Array]:
        """The arrays in the chunks of a coarse one."""
        fine = [tuple(size * factor for size in sizes) for sizes in (chunks.rows, chunks.columns)]
        found = []
        for each in self.arrays:
            times = () if each.ndim == 3 or self.time_axis is None else (array.chunks[self.time_axis],)
            found.append(da.from_array(each, (*times, (each.shape[-3],), *fine)))
        return found

    def place(self, guide: da.Array, lead: tuple[int, ...]) -> tuple[int, ...]:
        """Leading indexes of the chunks of a guide, by those of the coarse array."""
        return (0,) if guide.ndim == 3 or self.time_axis is None else (lead[self.time_axis], 0)


_watches: dict[str, Watch] = {}
"""By the name of the result: tasks of one that run in this process warn once of what they find."""


def upscale_chunks(array: da.Array, recipe: Recipe, model: Model, guide: LazyGuide | None = None) -> da.Array:
    """A dask array ``(..., y, x)`` upscaled; nothing is computed.

    Parameters
    ----------
    array : dask.array.Array (..., y, x)
        Chunked in any way along any dimension; rows and columns are rechunked only where chunks are smaller than what
        their neighbours need of them.
    recipe : Recipe
        What to do, without expected errors.
    model : Model
        The recipe's, for its halo.
    guide : LazyGuide, optional
        That the recipe's correction follows.

    Returns
    -------
    dask.array.Array (..., factor * y, factor * x)
        Each chunk from one of the array's (rechunked) chunks.
    """
    return _in_chunks(array, recipe, model, guide or LazyGuide(()))


def upscale_chunks_with_errors(array: da.Array, recipe: Recipe, model: Model) -> tuple[da.Array, da.Array]:
    """The same, and the expected error of each cell, floating, NaN where missing.

    A chunk of both is computed once if both are computed together.
    """
    both = _in_chunks(array, replace(recipe, errors=True), model, LazyGuide(()))
    values = _part_of(both, 0, both.dtype)
    return values, _part_of(both, 1, recipe.storage.error_dtype)


def upscale_chunks_onto(array: da.Array, recipe: Recipe, model: Model, onto: Onto) -> tuple[da.Array, da.Array | None]:
    """The same onto a grid that is wanted; with the expected error of each cell if the recipe asks for it.

    A chunk of wanted cells has about those of one of the array's chunks, and is made of the coarse cells that it needs,
    those at its edge once more than its neighbour.
    """
    rows, columns = array.shape[-2:]
    if period := recipe.period:
        array = da.concatenate([array[..., :period]] * 3, axis=-1)
        columns, recipe = 3 * period, replace(recipe, period=0)
        onto = replace(onto, overlap=onto.overlap.shift(period * onto.factor, columns * onto.factor))
    overlap, extent = onto.overlap, Window(0, rows, 0, columns)
    assert isinstance(overlap, AreaOverlap), overlap
    reach = max(rows, columns) if model.whole_field else read_margin(model.halo)
    lines = []
    for y in _windows(overlap.rows, array.chunks[-2], onto.factor):
        line = []
        for x in _windows(overlap.columns, array.chunks[-1], onto.factor):
            wanted = Window(*y, *x)
            read = onto.core(wanted).grow(reach, extent)
            block = array[(..., *read.slices())].rechunk({array.ndim - 2: -1, array.ndim - 1: -1})
            line.append(_onto_chunk(block, recipe, onto.part(wanted, read)))
        lines.append(line)
    values = da.block([[each[0] for each in line] for line in lines])
    if not recipe.errors:
        return values, None
    return values, da.block([[each[1] for each in line] for line in lines])


def _windows(axis: AxisOverlap, chunks: Sequence[int], factor: int) -> list[tuple[int, int]]:
    """First and end of the wanted cells whose middles lie in each chunk."""
    chunk = np.searchsorted(np.cumsum(chunks)[:-1] * factor, axis.edges.mean(1), side="right")
    starts = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), len(chunk)]
    return list(itertools.pairwise(starts))


def _onto_chunk(block: da.Array, recipe: Recipe, onto: Onto) -> list[da.Array]:
    """Values of a chunk of wanted cells, and expected errors if the recipe asks for them."""
    sizes = (*block.chunks[:-2], *((size,) for size in onto.shape))
    dtype = recipe.storage.dtype.newbyteorder("=")
    made = block.map_blocks(
        _upscale_onto,  # type: ignore[arg-type]
        recipe,
        onto,
        dtype=dtype,
        chunks=sizes,
        meta=np.empty((0,) * block.ndim, dtype),
    )
    return [_part_of(made, 0, dtype), _part_of(made, 1, recipe.storage.error_dtype)] if recipe.errors else [made]


def _upscale_onto(block: Array, recipe: Recipe, onto: Onto) -> Array | tuple[Array, ...]:
    """Upscale what a chunk of wanted cells needs, and average it."""
    model = ready_model(recipe.model, recipe.factor, recipe.device, recipe.precision)
    model = load_model(model, overshoot=recipe.overshoot)
    task = ArrayTask(model, [recipe.storage], [recipe.rule], 0, recipe.tile_size, recipe.name, onto=onto)
    bands = block.reshape(-1, *block.shape[-2:])
    what, shape = (bands, Window(0, bands.shape[1], 0, bands.shape[2]), 1), (*block.shape[:-2], *onto.shape)
    if recipe.errors:
        return tuple(each.reshape(shape) for each in task.upscale_with_errors(*what))
    return task.upscale(*what).reshape(shape)


def _part_of(pairs: da.Array, number: int, dtype: np.dtype[Any]) -> da.Array:
    """One array of those whose chunks a task has made together."""
    name = f"{pairs.name}-{number}"
    keys = itertools.product([pairs.name], *map(range, pairs.numblocks))
    graph = {(name, *key[1:]): (operator.getitem, key, number) for key in keys}
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[pairs])  # type: ignore[arg-type, list-item]
    return da.Array(layers, name, pairs.chunks, dtype=dtype)


def _in_chunks(array: da.Array, recipe: Recipe, model: Model, guide: LazyGuide) -> da.Array:
    """Each chunk upscaled: an array, or the two of `_upscale_chunk` if the recipe asks for errors."""
    array, chunks = _rechunk(array, recipe.period, model)
    guides = guide.chunk(array, chunks, recipe.factor)
    token = tokenize(array.name, recipe.identity, [each.name for each in guides], guide.time_axis)
    name, plan = f"fsrcnn-{token}", f"fsrcnn-plan-{token}"
    graph: dict[Key | str, Any] = {plan: _Plan(recipe, chunks, name, guide.time_axis)}
    strips_of = {index: chunks.strips_around(*index) for index in np.ndindex(chunks.shape)}
    cut_array = _EdgeCutter(array, f"fsrcnn-strip-{token}", chunks.cuts())
    fine_cuts = chunks.cuts(recipe.factor)
    cut_guides = [_EdgeCutter(each, f"fsrcnn-guide-{n}-{token}", fine_cuts) for n, each in enumerate(guides)]
    for lead in np.ndindex(array.numblocks[:-2]):
        for index, strips in strips_of.items():
            beside = [cut.keys(graph, guide.place(cut.array, lead), index, strips) for cut in cut_guides]
            keys = cut_array.keys(graph, lead, index, strips)
            graph[name, *lead, *index] = (_upscale_chunk, plan, *index, *keys, beside)
    fine = [tuple(size * recipe.factor for size in sizes) for sizes in (chunks.rows, chunks.columns)]
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[array, *guides])  # type: ignore[arg-type, list-item]
    return da.Array(layers, name, (*array.chunks[:-2], *fine), dtype=recipe.storage.dtype.newbyteorder("="))


@dataclass(frozen=True)
class _EdgeCutter:
    """Keys of the chunks of an array and of their edges.

    Parameters
    ----------
    array : dask.array.Array
        Coarse, or a guide.
    name : str
        Of the edges.
    cuts : dict of str to tuple
        Indexes of the edges in a chunk.
    """

    array: da.Array
    name: str
    cuts: dict[str, tuple[Any, ...]]

    def keys(
        self,
        graph: dict[Key | str, Any],
        lead: tuple[int, ...],
        index: tuple[int, ...],
        strips: Sequence[_Strip],
    ) -> list[Any]:
        """Key of a chunk and a list of those of the edges around it, whose tasks are put into the graph."""
        keys = [(self.name, strip.edge, *lead, *strip.chunk) for strip in strips]
        for key, strip in zip(keys, strips, strict=True):
            if key not in graph:
                graph[key] = (operator.getitem, (self.array.name, *lead, *strip.chunk), self.cuts[strip.edge])
        return [(self.array.name, *lead, *index), keys]


def _rechunk(array: da.Array, period: int, model: Model) -> tuple[da.Array, _Chunks]:
    """The array with chunks that are large enough for their neighbours, and these chunks."""
    reach = read_margin(model.halo)
    repeated = array.shape[-1] - period if period else 0
    rows, columns = _at_least(array.chunks[-2], reach), _at_least(array.chunks[-1], reach + repeated)
    if model.whole_field:
        rows, columns = array.shape[-2:-1], array.shape[-1:]
    chunks = _Chunks(rows, columns, reach, repeated, wraps=bool(period) and len(columns) > 1)
    return array.rechunk({array.ndim - 2: rows, array.ndim - 1: columns}), chunks


class _Strip(NamedTuple):
    """Cells that a chunk needs of one of its neighbours."""

    dy: int
    """Where the neighbour lies: -1 above, 0 beside, 1 below."""
    dx: int
    """-1 left, 0 above or below, 1 right."""
    chunk: tuple[int, int]
    """The neighbour's row and column among the chunks."""
    edge: str
    """The edge of the neighbour that the cells lie on: top, bottom, left or right."""
    first: int | None
    """The first of the edge's columns that is needed, as in a slice."""
    last: int | None
    """The end of these columns."""


@dataclass(frozen=True)
class _Chunks:
    """Chunks of an array along rows and columns, and what each needs of the others.

    Parameters
    ----------
    rows, columns : tuple of int
        Sizes of the chunks.
    reach : int
        Cells that a chunk needs around it.
    repeated : int
        Last columns that repeat the first ones, of a grid that goes around the globe.
    wraps : bool
        The first chunk of a row follows the last. A single one is its own neighbour: `ArrayTask` sees to that.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    reach: int
    repeated: int
    wraps: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of chunks."""
        return len(self.rows), len(self.columns)

    def cuts(self, factor: int = 1) -> dict[str, tuple[Any, ...]]:
        """Indexes of the four edges in a chunk of so many times finer cells; at the sides with the repeated columns."""
        high, wide = self.reach * factor, (self.reach + self.repeated) * factor
        return {
            "top": (..., slice(None, high), slice(None)),
            "bottom": (..., slice(-high, None), slice(None)),
            "left": (..., slice(None, wide)),
            "right": (..., slice(-wide, None)),
        }

    def strips_around(self, row: int, column: int) -> tuple[_Strip, ...]:
        """Strips of the up to eight neighbours of a chunk; those at its corners lie on top and bottom edges."""
        strips = []
        for dy, dx in itertools.product((-1, 0, 1), repeat=2) if self.reach else ():
            i, j = row + dy, column + dx
            past_date_line = not 0 <= j < len(self.columns)
            if dy == dx == 0 or not 0 <= i < len(self.rows) or (past_date_line and not self.wraps):
                continue
            skip = self.repeated if past_date_line else 0
            first, last = {-1: (-self.reach - skip, -skip or None), 0: (None, None), 1: (skip, skip + self.reach)}[dx]
            edge = {-1: "bottom", 1: "top", 0: {-1: "right", 1: "left", 0: ""}[dx]}[dy]
            strips.append(_Strip(dy, dx, (i, j % len(self.columns)), edge, first, last))
        return tuple(strips)


@dataclass(frozen=True)
class _Plan:
    """All that the tasks of a result have in common; travels to the workers once.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    chunks : _Chunks
        The chunks of the coarse array.
    name : str
        The name of the result.
    time_axis : int, optional
        The axis of the array whose times guides have.
    """

    recipe: Recipe
    chunks: _Chunks
    name: str
    time_axis: int | None = None


def _at_least(chunks: Sequence[int], smallest: int) -> tuple[int, ...]:
    """Chunks merged with their neighbours until none is smaller.

    Examples
    --------
    >>> _at_least((20, 20, 3), 14)
    (20, 23)
    """
    merged: list[int] = []
    for size in chunks:
        if merged and merged[-1] < smallest:
            merged[-1] += size
        else:
            merged.append(size)
    if len(merged) > 1 and merged[-1] < smallest:
        merged[-2:] = [merged[-2] + merged[-1]]
    return tuple(merged)


def _upscale_chunk(
    plan: _Plan, row: int, column: int, chunk: Array, edges: list[Array], guides: list[tuple[Array, list[Array]]]
) -> Array | tuple[Array, ...]:
    """Upscale a chunk, with those edges of its neighbours that `strips_around` names; with its errors if asked for."""
    recipe, strips = plan.recipe, plan.chunks.strips_around(row, column)
    block, top, left = _join(chunk, edges, strips, 1)
    rows, columns = chunk.shape[-2:]
    period = 0 if plan.chunks.wraps else recipe.period
    watch = _watches.setdefault(plan.name, Watch(recipe.name))
    model = ready_model(recipe.model, recipe.factor, recipe.device, recipe.precision)
    model = load_model(model, overshoot=recipe.overshoot)
    task = ArrayTask(model, [recipe.storage], [recipe.rule], period, recipe.tile_size, recipe.name, watch)
    if recipe.correction is not None:
        from geofsrcnn.networks.guided import guided_model

        beside = [_join(*guide, strips, recipe.factor)[0] for guide in guides]
        sources = guide_sources(beside, chunk.shape[:-2], plan.time_axis)
        task = replace(task, model=guided_model(model, recipe.correction), guides=sources)
    bands = block.reshape(-1, *block.shape[-2:])
    region = Window(top, top + rows, left, left + columns)
    shape = *chunk.shape[:-2], rows * recipe.factor, columns * recipe.factor
    if recipe.errors:
        return tuple(each.reshape(shape) for each in task.upscale_with_errors(bands, region, 1))
    return task.upscale(bands, region, 1).reshape(shape)


def _join(chunk: Array, edges: Sequence[Array], strips: Sequence[_Strip], factor: int) -> tuple[Array, int, int]:
    """A chunk with the strips around it, of so many times finer cells, and how many rows and columns come before it."""
    pieces = {(0, 0): chunk}
    for strip, edge in zip(strips, edges, strict=True):
        ends = (None if end is None else end * factor for end in (strip.first, strip.last))
        pieces[strip.dy, strip.dx] = edge[..., slice(*ends)]
    present = [[pieces[dy, dx] for dx in (-1, 0, 1) if (dy, dx) in pieces] for dy in (-1, 0, 1)]
    block = np.concatenate([np.concatenate(line, axis=-1) for line in present if line], axis=-2)
    top = pieces[-1, 0].shape[-2] if (-1, 0) in pieces else 0
    left = pieces[0, -1].shape[-1] if (0, -1) in pieces else 0
    return block, top, left
