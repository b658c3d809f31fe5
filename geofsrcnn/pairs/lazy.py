"""Apply a network of pairs lazily: a dask array of its targets, some times a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import delayed

from geofsrcnn._types import Array
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.networks.checkpoint import Checkpoint
from geofsrcnn.networks.ready import ready_model
from geofsrcnn.pairs.downscaling import Downscaling, Layout, Networks, downscale_block
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.outputs import DTYPE
from geofsrcnn.pairs.unseen import UnseenValues


def compute_lazily(task: Downscaling) -> da.Array:
    """All times as a dask array, a unit of work a chunk, which needs these times of the predictors alone."""
    model = task.model
    layouts = tuple(predictor.layout for predictor in task.predictors)
    recipe = _Recipe(model.checkpoint, model.device, model.precision, layouts, task.units, task.threads, task.quantiles)
    blocks = []
    for number in range(task.units):
        times, member = task.unit(number)
        days = task.days[times]
        fields = [predictor.at(times, member) for predictor in task.predictors]
        bare = [_without_values(field, layout.grid) for field, layout in zip(fields, layouts, strict=True)]
        arrays = [field.data for field in fields]
        name = f"fsrcnn-pairs-{tokenize(model.digest, model.device, model.precision, task.quantiles, days, arrays)}"
        compute = delayed(partial(_from_arrays, recipe, bare, days), name=f"{name}-recipe", traverse=False)
        shape = (len(days), len(task.outputs()), *task.shapes[1])
        blocks.append(da.from_delayed(compute(*arrays, dask_key_name=name), shape, DTYPE))
    whole: da.Array = da.concatenate(blocks)
    return whole


@dataclass(frozen=True)
class _Recipe:
    """All that blocks have in common; travels to the workers, which load the model once a process."""

    checkpoint: Checkpoint | None
    device: str
    precision: str
    layouts: tuple[Layout, ...]
    blocks: int
    threads: int | None
    quantiles: tuple[float, ...]


def _without_values(field: xr.DataArray, grid: CFGrid) -> xr.DataArray:
    """A field with the coordinates that say where its cells are, and nothing in them."""
    axes = {name: field[name].load() for name in (grid.y_coordinate, grid.x_coordinate) if name is not None}
    return xr.DataArray(np.broadcast_to(np.float32(0), field.shape), axes, field.dims, field.name)


def _from_arrays(recipe: _Recipe, bare: Sequence[xr.DataArray], days: Array, *values: Array) -> Array:
    """A block of times, from the values of the predictors."""
    assert recipe.checkpoint is not None
    model = ready_model(recipe.checkpoint, recipe.checkpoint.config.factor, recipe.device, recipe.precision)
    pairing = pairing_of(model)
    fields = [field.copy(data=array) for field, array in zip(bare, values, strict=True)]
    unseen = UnseenValues(pairing)
    networks = Networks.of(model, pairing, recipe.quantiles)
    fine = downscale_block(networks, recipe.layouts, fields, days, unseen, recipe.threads)
    unseen.report(recipe.blocks)
    return fine
