"""``ds.fsrcnn``, ``da.fsrcnn`` and ``dt.fsrcnn``: the xarray accessor, a thin shell around `geofsrcnn.upscale.dataset`.

It is registered while xarray is being imported, perhaps by a module of ours, so it imports those when it is used.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Unpack

import xarray as xr

from geofsrcnn.options import FieldOptions

if TYPE_CHECKING:
    from geofsrcnn.cf.grid import CFGrid
    from geofsrcnn.networks.catalog import ModelLike


@xr.register_dataset_accessor("fsrcnn")
class DatasetAccessor:
    """Upscale a Dataset: ``ds.fsrcnn.upscale(3)``."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    @property
    def grid(self) -> CFGrid:
        """The horizontal grid that was found."""
        from geofsrcnn.cf.grid import find_grid

        return find_grid(self._dataset)

    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        variables: Iterable[str] | None = None,
        **options: Unpack[FieldOptions],
    ) -> xr.Dataset:
        """The same fields on a finer grid; arguments as for `geofsrcnn.upscale_dataset`.

        Returns
        -------
        Dataset
            Lazy where the input was. With a model that was trained on pairs, its targets on its fine grid.
        """
        from geofsrcnn.upscale.dataset import upscale_dataset

        return upscale_dataset(self._dataset, factor, model, variables=variables, **options)


@xr.register_datatree_accessor("fsrcnn")
class DataTreeAccessor:
    """Upscale a DataTree: ``dt.fsrcnn.upscale(3)``."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def upscale(
        self,
        factor: int | None = None,
        model: ModelLike = "default",
        *,
        variables: Iterable[str] | None = None,
        **options: Unpack[FieldOptions],
    ) -> xr.DataTree:
        """The same tree on a finer grid; arguments as for `geofsrcnn.upscale_datatree`.

        Returns
        -------
        DataTree
            Lazy where the input was.
        """
        from geofsrcnn.upscale.tree import upscale_datatree

        return upscale_datatree(self._tree, factor, model, variables=variables, **options)


@xr.register_dataarray_accessor("fsrcnn")
class DataArrayAccessor:
    """Upscale a DataArray: ``da.fsrcnn.upscale(3)``."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @property
    def grid(self) -> CFGrid:
        """The horizontal grid that was found."""
        from geofsrcnn.cf.grid import find_grid
        from geofsrcnn.upscale.dataset import as_dataset

        return find_grid(as_dataset(self._array)[0])

    def upscale(
        self, factor: int | None = None, model: ModelLike = "default", **options: Unpack[FieldOptions]
    ) -> xr.DataArray:
        """The same field on a finer grid; arguments as for `geofsrcnn.upscale_dataarray`.

        Returns
        -------
        DataArray
            Lazy where the input was.
        """
        from geofsrcnn.upscale.dataset import upscale_dataarray

        return upscale_dataarray(self._array, factor, model, **options)
