"""``ds.fsrcnn``, ``da.fsrcnn`` and ``dt.fsrcnn``: the xarray accessor, a thin shell around `geofsrcnn.upscale`.

It is registered while xarray is being imported, perhaps by a module of ours, so it imports those when it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, Unpack, overload

import xarray as xr

from geofsrcnn.options import LEARNING_MINUTES, DatasetOptions, FieldOptions, GridOptions

if TYPE_CHECKING:
    from geofsrcnn.cf.grid import CFGrid
    from geofsrcnn.networks.catalog import ModelLike


@xr.register_dataset_accessor("fsrcnn")
class DatasetAccessor:
    """Upscale a Dataset: ``ds.fsrcnn.upscale(3)``.

    Parameters
    ----------
    dataset : Dataset
        Fields of any dimensions besides the horizontal ones, in memory or of dask chunks.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def grid(self) -> CFGrid:
        """Horizontal grid that was found (`CFGrid`): its dimensions, coordinates and CRS."""
        from geofsrcnn.cf.grid import find_grid

        return find_grid(self._dataset)

    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        variables: Iterable[str] | None = None,
        like: xr.Dataset | xr.DataArray | None = None,
        resolution: float | tuple[float, float] | None = None,
        **options: Unpack[DatasetOptions],
    ) -> xr.Dataset:
        """Upscale the fields, as `geofsrcnn.upscale_dataset` does.

        Parameters
        ----------
        factor : int, optional
            Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
        model : str, path, Checkpoint or Model
            As for `geofsrcnn.load_model`. One that was trained on pairs finds its predictors by name.
        variables : iterable of str, optional
            Fields to upscale; the others on the grid are left out. All if not given.
        like : Dataset or DataArray, optional
            Its cells are wanted, instead of a factor.
        resolution : float or tuple of float, optional
            Width, or width and height, of the cells that are wanted, instead of a factor.
        **options
            ``x``, ``y``, ``value_range``, ``overshoot``, ``kinds``, ``error``, ``quantiles``, ``tile_size``,
            ``threads``, ``device`` and ``precision``, as for `geofsrcnn.upscale_dataset`.

        Returns
        -------
        Dataset
            Fields and coordinates on the finer grid, in their own types and units; lazy where the input was. With a
            model that was trained on pairs, its targets on its fine grid.

        Raises
        ------
        InputError, UsageError, ModelError
            If there is no grid, an argument is wrong, or there is no such model.
        """
        from geofsrcnn.upscale.dataset import upscale_dataset

        return upscale_dataset(
            self._dataset, factor, model, variables=variables, like=like, resolution=resolution, **options
        )

    def sharpen(
        self,
        guide: xr.Dataset | xr.DataArray,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        minutes: float = LEARNING_MINUTES,
        always: bool = False,
        variables: Iterable[str] | None = None,
        **options: Unpack[FieldOptions],
    ) -> xr.Dataset:
        """Sharpen the fields by a finer guide, as `geofsrcnn.sharpen_dataset` does.

        Parameters
        ----------
        guide : Dataset or DataArray
            Of the same ground, on the finer grid or one that can be brought there; all its fields of numbers count.
        factor : int, optional
            Fine cells along one side of a coarse cell, 2 to 8; by the cells of the guide if not given.
        model : str, path, Checkpoint or Model
            As for `geofsrcnn.load_model`.
        minutes : float
            Learn on each field for at most so long; 0 applies what the model can already.
        always : bool
            Follow the guide even where it does not help.
        variables : iterable of str, optional
            Fields to sharpen; the others on the grid are left out. All if not given.
        **options
            ``x``, ``y``, ``value_range``, ``kinds``, ``tile_size``, ``threads``, ``device`` and ``precision``, as for
            `geofsrcnn.upscale_dataset`.

        Returns
        -------
        Dataset
            As of `upscale`; how well the guide helps is the attribute ``geofsrcnn_verdict`` of each field.

        Raises
        ------
        InputError, UsageError, ModelError
            If there is no grid, the guide does not fit, an argument is wrong, or there is no such model.
        """
        from geofsrcnn.upscale.sharpen_dataset import sharpen_dataset

        fine, _ = sharpen_dataset(
            self._dataset, guide, factor, model, minutes=minutes, always=always, variables=variables, **options
        )
        return fine


@xr.register_datatree_accessor("fsrcnn")
class DataTreeAccessor:
    """Upscale a DataTree: ``dt.fsrcnn.upscale(3)``.

    Parameters
    ----------
    tree : DataTree
        Nodes may take their coordinates from nodes above.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        variables: Iterable[str] | None = None,
        **options: Unpack[DatasetOptions],
    ) -> xr.DataTree:
        """Upscale the fields of every node, as `geofsrcnn.upscale_datatree` does.

        Parameters
        ----------
        factor : int, optional
            Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
        model : str, path, Checkpoint or Model
            As for `geofsrcnn.load_model`.
        variables : iterable of str, optional
            Fields to upscale, where a node has them; the others on the grid are left out. All if not given.
        **options
            ``x``, ``y``, ``value_range``, ``overshoot``, ``kinds``, ``error``, ``quantiles``, ``tile_size``,
            ``threads``, ``device`` and ``precision``, as for `geofsrcnn.upscale_dataset`.

        Returns
        -------
        DataTree
            The same nodes, those with fields on the finer grid; lazy where the input was.

        Raises
        ------
        InputError, UsageError, ModelError
            If no node has fields, an argument is wrong, or there is no such model.
        """
        from geofsrcnn.upscale.tree import upscale_datatree

        return upscale_datatree(self._tree, factor, model, variables=variables, **options)


@xr.register_dataarray_accessor("fsrcnn")
class DataArrayAccessor:
    """Upscale a DataArray: ``da.fsrcnn.upscale(3)``.

    Parameters
    ----------
    array : DataArray
        One field of any dimensions besides the horizontal ones, in memory or of dask chunks.
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @property
    def grid(self) -> CFGrid:
        """Horizontal grid that was found (`CFGrid`): its dimensions, coordinates and CRS."""
        from geofsrcnn.cf.grid import find_grid
        from geofsrcnn.upscale.dataset import as_dataset

        return find_grid(as_dataset(self._array)[0])

    @overload
    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        error: Literal[False] = False,
        **options: Unpack[GridOptions],
    ) -> xr.DataArray: ...

    @overload
    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        error: Literal[True],
        **options: Unpack[GridOptions],
    ) -> xr.Dataset: ...

    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        error: bool = False,
        **options: Unpack[GridOptions],
    ) -> xr.DataArray | xr.Dataset:
        """Upscale the field, as `geofsrcnn.upscale_dataarray` does.

        Parameters
        ----------
        factor : int, optional
            Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
        model : str, path, Checkpoint or Model
            As for `geofsrcnn.load_model`; none that was trained on pairs.
        error : bool
            Tell the expected absolute error of each fine cell too.
        **options
            ``x``, ``y``, ``value_range``, ``overshoot``, ``kinds``, ``tile_size``, ``threads``, ``device``,
            ``precision``, ``like`` and ``resolution``, as for `geofsrcnn.upscale_dataset`.

        Returns
        -------
        DataArray or Dataset
            The field on the finer grid with its coordinates, in its own type and units; lazy where the input was. With
            `error` a Dataset of two: NAME and NAME_error; the name is ``field`` where the array has none.

        Raises
        ------
        InputError, UsageError, ModelError
            If there is no grid, an argument is wrong, or there is no such model.
        """
        from geofsrcnn.upscale.dataset import upscale_dataarray

        return upscale_dataarray(self._array, factor, model, error=error, **options)

    def sharpen(
        self,
        guide: xr.Dataset | xr.DataArray,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        minutes: float = LEARNING_MINUTES,
        always: bool = False,
        **options: Unpack[FieldOptions],
    ) -> xr.DataArray:
        """Sharpen the field by a finer guide, as `geofsrcnn.sharpen_dataarray` does.

        Parameters
        ----------
        guide : Dataset or DataArray
            Of the same ground, on the finer grid or one that can be brought there; all its fields of numbers count.
        factor : int, optional
            Fine cells along one side of a coarse cell, 2 to 8; by the cells of the guide if not given.
        model : str, path, Checkpoint or Model
            As for `geofsrcnn.load_model`.
        minutes : float
            Learn for at most so long; 0 applies what the model can already.
        always : bool
            Follow the guide even where it does not help.
        **options
            ``x``, ``y``, ``value_range``, ``kinds``, ``tile_size``, ``threads``, ``device`` and ``precision``, as for
            `geofsrcnn.upscale_dataset`.

        Returns
        -------
        DataArray
            As of `upscale`; how well the guide helps is its attribute ``geofsrcnn_verdict``.

        Raises
        ------
        InputError, UsageError, ModelError
            If there is no grid, the guide does not fit, an argument is wrong, or there is no such model.
        """
        from geofsrcnn.upscale.sharpen_dataset import sharpen_dataarray

        fine, _ = sharpen_dataarray(self._array, guide, factor, model, minutes=minutes, always=always, **options)
        return fine
