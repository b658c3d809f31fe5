"""Trees of datasets: each node with fields is made finer, the others follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Unpack

import xarray as xr

from geofsrcnn.errors import InputError, UsageError
from geofsrcnn.networks.catalog import ModelLike, load_model
from geofsrcnn.options import DatasetOptions, UpscaleOptions
from geofsrcnn.upscale.dataset import upscale_dataset


def upscale_datatree(
    tree: xr.DataTree,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    variables: Iterable[str] | None = None,
    **options: Unpack[DatasetOptions],
) -> xr.DataTree:
    """Upscale the fields of every node of a tree.

    Nodes without fields pass, their horizontal coordinates as those of the finer nodes below them.

    Parameters
    ----------
    tree : DataTree
        Nodes may take their coordinates from nodes above.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`.
    variables : iterable of str, optional
        Fields to upscale, where a node has them; the others on the grid are left out. All if not given.
    **options
        ``x``, ``y``, ``value_range``, ``overshoot``, ``kinds``, ``error``, ``quantiles``, ``tile_size``, ``threads``,
        ``device`` and ``precision``, as for `geofsrcnn.upscale_dataset`.

    Returns
    -------
    DataTree
        The same nodes, those with fields on the finer grid; lazy where the input was.

    Raises
    ------
    InputError, UsageError, ModelError
        As for `geofsrcnn.upscale_dataset`; InputError if no node has fields.
    """
    if not isinstance(tree, xr.DataTree):
        raise UsageError(f"a DataTree is needed, got {type(tree).__name__}: upscale_dataset takes a Dataset")
    given = UpscaleOptions.of(options)
    if given.wants_grid:
        raise UsageError("like= and resolution= are for Datasets and DataArrays: upscale the nodes one by one")
    loaded = load_model(model, factor, device=given.device, precision=given.precision)
    wanted = None if variables is None else [variables] if isinstance(variables, str) else list(variables)
    coarse = {node.path: node.to_dataset(inherit=True) for node in tree.subtree}
    fine: dict[str, xr.Dataset] = {}
    for path, dataset in coarse.items():
        chosen = _fields(dataset, wanted)
        if chosen:
            fine[path] = upscale_dataset(dataset, factor, loaded, variables=chosen if wanted else None, **options)
    if not fine:
        raise InputError("no node of the tree has a variable with two horizontal dimensions")
    for path, dataset in coarse.items():
        if path not in fine:
            fine[path] = _follow(path, dataset, coarse, fine)
    return xr.DataTree.from_dict({path: fine[path] for path in coarse}, name=tree.name)


def _fields(dataset: xr.Dataset, wanted: list[str] | None) -> list[str]:
    """Variables of a node that may be fields."""
    if wanted is not None:
        return [name for name in wanted if name in dataset.variables]
    return [str(name) for name, variable in dataset.data_vars.items() if variable.ndim >= 2]


def _follow(
    path: str, dataset: xr.Dataset, coarse: Mapping[str, xr.Dataset], fine: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """A node without fields, on the grid of the finer nodes below it."""
    under = path.rstrip("/") + "/"
    for below, result in fine.items():
        if not below.startswith(under):
            continue
        grown = {dim for dim, size in result.sizes.items() if coarse[below].sizes.get(dim, size) != size}
        along = [str(name) for name, v in dataset.variables.items() if grown & set(v.dims)]
        kept = dataset.drop_vars(along)
        finer = {name: result[name].variable for name in along if name in result.variables}
        return kept.assign_coords(finer) if finer else kept
    return dataset
