"""Upscale dask arrays lazily: chunks stay where they are, only their edges travel.

1. Chunks that are smaller than what their neighbours need of them, twice the halo, are merged (`_rechunk`).
2. Of each chunk up to four edges are cut, its first and last rows and columns: a small task each. A neighbour above or
   below needs all columns of an edge, one at a corner some of them, so four edges serve eight neighbours.
3. A task for each chunk puts it and the strips around it together, upscales them, and keeps the chunk's own cells
   (`_upscale_chunk`). The strips are known from the sizes of the chunks alone (`_Chunks.strips_around`).
4. Where expected errors are asked for, that task gives values and errors together, and two small ones take them apart.

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
from geofsrcnn.engine.watch import Watch
from geofsrcnn.grids.windows import Window, read_margin
from geofsrcnn.networks.catalog import Model, load_model
from geofsrcnn.networks.ready import ready_model
from geofsrcnn.options import Overshoot
from geofsrcnn.values.storage import Storage

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint

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

    @property
    def identity(self) -> tuple[Any, ...]:
        """All of it as plain values, the network by its digest."""
        model = self.model if isinstance(self.model, str) else self.model.digest
        rest = dataclasses.astuple(self.storage), dataclasses.astuple(self.rule), self.period, self.tile_size
        return model, self.factor, self.device, self.precision, self.errors, self.overshoot, *rest


_watches: dict[str, Watch] = {}
"""By the name of the result: tasks of one that run in this process warn once of what they find."""


def upscale_chunks(array: da.Array, recipe: Recipe, model: Model) -> da.Array:
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

    Returns
    -------
    dask.array.Array (..., factor * y, factor * x)
        Each chunk from one of the array's (rechunked) chunks.
    """
    return _in_chunks(array, recipe, model)


def upscale_chunks_with_errors(array: da.Array, recipe: Recipe, model: Model) -> tuple[da.Array, da.Array]:
    """The same, and the expected error of each cell, floating, NaN where missing.

    A chunk of both is computed once if both are computed together.
    """
    both = _in_chunks(array, replace(recipe, errors=True), model)
    values = _part_of(both, 0, both.dtype)
    return values, _part_of(both, 1, recipe.storage.error_dtype)


def _part_of(pairs: da.Array, number: int, dtype: np.dtype[Any]) -> da.Array:
    """One array of those whose chunks a task has made together."""
    name = f"{pairs.name}-{number}"
    keys = itertools.product([pairs.name], *map(range, pairs.numblocks))
    graph = {(name, *key[1:]): (operator.getitem, key, number) for key in keys}
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[pairs])  # type: ignore[arg-type, list-item]
    return da.Array(layers, name, pairs.chunks, dtype=dtype)


def _in_chunks(array: da.Array, recipe: Recipe, model: Model) -> da.Array:
    """Each chunk upscaled: an array, or the two of `_upscale_chunk` if the recipe asks for errors."""
    array, chunks = _rechunk(array, recipe.period, model)
    token = tokenize(array.name, recipe.identity)
    name, strip_name, plan = f"fsrcnn-{token}", f"fsrcnn-strip-{token}", f"fsrcnn-plan-{token}"
    graph: dict[Key | str, Any] = {plan: _Plan(recipe, chunks, name)}
    cuts = chunks.cuts()
    strips_of = {index: chunks.strips_around(*index) for index in np.ndindex(chunks.shape)}
    for lead in np.ndindex(array.numblocks[:-2]):
        for index, strips in strips_of.items():
            keys = [(strip_name, strip.edge, *lead, *strip.chunk) for strip in strips]
            for key, strip in zip(keys, strips, strict=True):
                if key not in graph:
                    graph[key] = (operator.getitem, (array.name, *lead, *strip.chunk), cuts[strip.edge])
            graph[name, *lead, *index] = (_upscale_chunk, plan, *index, (array.name, *lead, *index), keys)
    fine = [tuple(size * recipe.factor for size in sizes) for sizes in (chunks.rows, chunks.columns)]
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[array])  # type: ignore[arg-type, list-item]
    return da.Array(layers, name, (*array.chunks[:-2], *fine), dtype=recipe.storage.dtype.newbyteorder("="))


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

    def cuts(self) -> dict[str, tuple[Any, ...]]:
        """Indexes of the four edges in a chunk; those at the sides have the repeated columns besides."""
        wide = self.reach + self.repeated
        return {
            "top": (..., slice(None, self.reach), slice(None)),
            "bottom": (..., slice(-self.reach, None), slice(None)),
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
    """

    recipe: Recipe
    chunks: _Chunks
    name: str


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


def _upscale_chunk(plan: _Plan, row: int, column: int, chunk: Array, edges: list[Array]) -> Array | tuple[Array, ...]:
    """Upscale a chunk, with those edges of its neighbours that `strips_around` names; with its errors if asked for."""
    recipe, strips = plan.recipe, plan.chunks.strips_around(row, column)
    pieces = {(s.dy, s.dx): edge[..., s.first : s.last] for s, edge in zip(strips, edges, strict=True)}
    pieces[0, 0] = chunk
    present = [[pieces[dy, dx] for dx in (-1, 0, 1) if (dy, dx) in pieces] for dy in (-1, 0, 1)]
    block = np.concatenate([np.concatenate(line, axis=-1) for line in present if line], axis=-2)
    top = pieces[-1, 0].shape[-2] if (-1, 0) in pieces else 0
    left = pieces[0, -1].shape[-1] if (0, -1) in pieces else 0
    rows, columns = chunk.shape[-2:]
    period = 0 if plan.chunks.wraps else recipe.period
    watch = _watches.setdefault(plan.name, Watch(recipe.name))
    model = ready_model(recipe.model, recipe.factor, recipe.device, recipe.precision)
    model = load_model(model, overshoot=recipe.overshoot)
    task = ArrayTask(model, [recipe.storage], [recipe.rule], period, recipe.tile_size, recipe.name, watch)
    bands = block.reshape(-1, *block.shape[-2:])
    region = Window(top, top + rows, left, left + columns)
    shape = *chunk.shape[:-2], rows * recipe.factor, columns * recipe.factor
    if recipe.errors:
        return tuple(each.reshape(shape) for each in task.upscale_with_errors(bands, region, 1))
    return task.upscale(bands, region, 1).reshape(shape)
