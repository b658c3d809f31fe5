"""``ds.fsrcnn`` and ``da.fsrcnn``: the xarray accessor, a thin shell around `geofsrcnn.upscale.dataset`.

It is registered while xarray is being imported, perhaps by a module of ours, so it imports those when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import xarray as xr

if TYPE_CHECKING:
    from geofsrcnn._types import Range
    from geofsrcnn.cf.grid import CFGrid
    from geofsrcnn.networks.checkpoint import Checkpoint


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
        factor: int = 3,
        model: str | os.PathLike[str] | Checkpoint = "default",
        *,
        variables: Iterable[str] | None = None,
        x: str | None = None,
        y: str | None = None,
        value_range: Range | None = None,
        tile_size: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        precision: str = "float32",
    ) -> xr.Dataset:
        """The same fields on a finer grid; arguments as for `geofsrcnn.upscale_dataset`.

        Returns
        -------
        Dataset
            Lazy where the input was. With a model that was trained on pairs, its targets on its fine grid, in memory.
        """
        from geofsrcnn.errors import ModelError, UsageError
        from geofsrcnn.networks.catalog import of_pairs
        from geofsrcnn.upscale.dataset import upscale_dataset

        if (trained := of_pairs(model)) is not None:
            given = {"variables": variables, "x": x, "y": y, "value_range": value_range, "tile_size": tile_size}
            if wrong := [name for name, value in given.items() if value is not None]:
                raise UsageError(f"{', '.join(wrong)}: not for models that were trained on pairs")
            if factor != trained.config.factor:
                raise ModelError(f"model {trained.card.name} is for factor {trained.config.factor}, not {factor}")
            from geofsrcnn.pairs.apply import downscale_dataset

            return downscale_dataset(self._dataset, trained, device=device, precision=precision)

        return upscale_dataset(
            self._dataset,
            factor,
            model,
            variables=variables,
            x=x,
            y=y,
            value_range=value_range,
            tile_size=tile_size,
            threads=threads,
            device=device,
            precision=precision,
        )


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
        self,
        factor: int = 3,
        model: str | os.PathLike[str] | Checkpoint = "default",
        *,
        x: str | None = None,
        y: str | None = None,
        value_range: Range | None = None,
        tile_size: int | None = None,
        threads: int | None = None,
        device: str = "auto",
        precision: str = "float32",
    ) -> xr.DataArray:
        """The same field on a finer grid; arguments as for `geofsrcnn.upscale_dataarray`.

        Returns
        -------
        DataArray
            Lazy where the input was.
        """
        from geofsrcnn.upscale.dataset import upscale_dataarray

        return upscale_dataarray(
            self._array,
            factor,
            model,
            x=x,
            y=y,
            value_range=value_range,
            tile_size=tile_size,
            threads=threads,
            device=device,
            precision=precision,
        )
