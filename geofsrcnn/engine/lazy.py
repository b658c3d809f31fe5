"""Upscale dask arrays lazily: chunks stay where they are, only their edges travel.

Each chunk gives up to four strips, its first and last rows and columns, and is upscaled with the strips around it:
five small tasks a chunk. Workers hold each model once, by its digest.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from geofsrcnn.values.storage import Storage

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Recipe:
    """The work on each chunk; travels to the workers once.

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

    @property
    def identity(self) -> tuple[Any, ...]:
        """All of it as plain values, the network by its digest."""
        model = self.model if isinstance(self.model, str) else self.model.digest
        rest = dataclasses.astuple(self.storage), dataclasses.astuple(self.rule), self.period, self.tile_size
        return model, self.factor, self.device, self.precision, *rest

    @property
    def ready(self) -> Model:
        """The model ready to run."""
        return ready_model(self.model, self.factor, self.device, self.precision)


READY = 8
"""Models that a process holds ready."""

_READY: dict[tuple[Any, ...], Model] = {}

_LOCK = threading.Lock()

_WATCHES: dict[str, Watch] = {}
"""Those of the results that this process has had a part in."""


def ready_model(model: str | Checkpoint, factor: int, device: str, precision: str) -> Model:
    """A model ready to run, made once in a process."""
    key = (model if isinstance(model, str) else model.digest, factor, device, precision)
    with _LOCK:
        if key not in _READY:
            _READY[key] = load_model(model, factor, device=device, precision=precision)
            while len(_READY) > READY:
                del _READY[next(iter(_READY))]
        return _READY[key]


def upscale_chunks(array: da.Array, recipe: Recipe, model: Model) -> da.Array:
    """A dask array ``(..., y, x)`` upscaled; nothing is computed.

    Parameters
    ----------
    array : dask.array.Array (..., y, x)
        Chunked in any way along any dimension; rows and columns are rechunked only where chunks are smaller than what
        their neighbours need of them.
    recipe : Recipe
        What to do.
    model : Model
        The recipe's, for its halo.

    Returns
    -------
    dask.array.Array (..., factor * y, factor * x)
        Each chunk from one of the array's (rechunked) chunks.
    """
    reach = read_margin(model.halo)
    again = array.shape[-1] - recipe.period if recipe.period else 0  # last columns that repeat the first
    rows, columns = _at_least(array.chunks[-2], reach), _at_least(array.chunks[-1], reach + again)
    if model.whole_field:
        rows, columns = array.shape[-2:-1], array.shape[-1:]
    array = array.rechunk({array.ndim - 2: rows, array.ndim - 1: columns})
    token = tokenize(array.name, recipe.identity)
    name, strips, plan = f"fsrcnn-{token}", f"fsrcnn-strip-{token}", f"fsrcnn-recipe-{token}"
    cuts = {
        "top": (..., slice(None, reach), slice(None)),
        "bottom": (..., slice(-reach, None), slice(None)),
        "left": (..., slice(None, reach + again)),
        "right": (..., slice(-reach - again, None)),
    }
    wraps = bool(recipe.period) and len(columns) > 1
    graph: dict[Key | str, Any] = {plan: recipe}
    neighbours = {
        (i, j): list(_neighbours(i, j, (len(rows), len(columns)), reach, again, wraps=wraps)) if reach else []
        for i, j in np.ndindex(len(rows), len(columns))
    }
    for lead in np.ndindex(array.numblocks[:-2]):
        for (i, j), near in neighbours.items():
            keys = [(strips, near_.side, *lead, *near_.chunk) for near_ in near]
            for key, near_ in zip(keys, near, strict=True):
                if key not in graph:
                    graph[key] = (operator.getitem, (array.name, *lead, *near_.chunk), cuts[near_.side])
            places = tuple((*near_.place, near_.first, near_.last) for near_ in near)
            graph[(name, *lead, i, j)] = (_upscale, plan, (array.name, *lead, i, j), keys, places, wraps, name)
    chunks = (*array.chunks[:-2], *(tuple(n * recipe.factor for n in sizes) for sizes in (rows, columns)))
    layers = HighLevelGraph.from_collections(name, graph, dependencies=[array])  # type: ignore[arg-type, list-item]
    return da.Array(layers, name, chunks, dtype=recipe.storage.dtype.newbyteorder("="))


class _Neighbour(NamedTuple):
    """A chunk beside another, and what is needed of it."""

    place: tuple[int, int]
    """Above -1, beside 0 or below 1; left -1, at 0 or right 1."""
    chunk: tuple[int, int]
    side: str
    """Its strip that holds it."""
    first: int | None
    last: int | None
    """Columns of the strip."""


def _neighbours(
    i: int, j: int, blocks: tuple[int, int], reach: int, again: int, *, wraps: bool
) -> Iterator[_Neighbour]:
    """The chunks around a chunk; past the date line the first follows the last."""
    for dy, dx in itertools.product((-1, 0, 1), repeat=2):
        row, column = i + dy, j + dx
        seam = not 0 <= column < blocks[1]
        if dy == dx == 0 or not 0 <= row < blocks[0] or (seam and not wraps):
            continue
        skip = again if seam else 0
        first, last = {-1: (-reach - skip, -skip or None), 0: (None, None), 1: (skip, skip + reach)}[dx]
        side = {-1: "bottom", 1: "top", 0: {-1: "right", 1: "left", 0: ""}[dx]}[dy]
        yield _Neighbour((dy, dx), (row, column % blocks[1]), side, first, last)


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


def _upscale(
    recipe: Recipe,
    centre: Array,
    strips: list[Array],
    places: Sequence[tuple[int, int, int | None, int | None]],
    wraps: bool,
    name: str,
) -> Array:
    """One chunk, from itself and the strips around it; the name is that of the result."""
    pieces = {(dy, dx): strip[..., first:last] for strip, (dy, dx, first, last) in zip(strips, places, strict=True)}
    pieces[0, 0] = centre
    present = [[pieces[dy, dx] for dx in (-1, 0, 1) if (dy, dx) in pieces] for dy in (-1, 0, 1)]
    whole = np.concatenate([np.concatenate(row, axis=-1) for row in present if row], axis=-2)
    top = pieces[-1, 0].shape[-2] if (-1, 0) in pieces else 0
    left = pieces[0, -1].shape[-1] if (0, -1) in pieces else 0
    rows, columns = centre.shape[-2:]
    bands = whole.reshape(-1, *whole.shape[-2:])
    period = 0 if wraps else recipe.period
    watch = _WATCHES.setdefault(name, Watch(recipe.name))
    task = ArrayTask(recipe.ready, [recipe.storage], [recipe.rule], period, recipe.tile_size, recipe.name, watch)
    fine = task.upscale(bands, Window(top, top + rows, left, left + columns), 1)
    return fine.reshape(*centre.shape[:-2], *fine.shape[-2:])
