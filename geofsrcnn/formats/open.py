"""Any file as a dataset, its fields not read: a GeoTIFF, a NetCDF, a Zarr; what it is, its first bytes say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geofsrcnn.errors import not_installed
from geofsrcnn.files.kinds import FORMATS, FormatName, sniff
from geofsrcnn.files.remote import RemoteZarr

if TYPE_CHECKING:
    import xarray as xr


@contextmanager
def opened_dataset(path: Path) -> Iterator[xr.Dataset]:
    """A GeoTIFF, NetCDF or Zarr as a dataset, as it is stored.

    Raises
    ------
    InputError, UsageError
        If it cannot be read.
    """
    need_xarray()
    with as_dataset(path, FORMATS.get(sniff(path), "GeoTIFF"), {}) as dataset:
        yield dataset


@contextmanager
def as_dataset(
    path: Path | RemoteZarr, kind: FormatName, options: Mapping[str, Any], *, raw: bool = False
) -> Iterator[xr.Dataset]:
    """The input as it is stored; `raw` is for cells that are only repeated, whatever they mean."""
    if isinstance(path, RemoteZarr) or kind == "Zarr":
        from geofsrcnn.formats import zarr

        with zarr.opened(path, options.get("group")) as dataset:
            yield dataset
    elif kind == "NetCDF":
        from geofsrcnn.formats import netcdf

        with netcdf.opened(path, options.get("group")) as dataset:
            yield dataset
    else:
        from geofsrcnn.formats.raster import RasterSource
        from geofsrcnn.formats.raster_cf import dataset_of

        with RasterSource(
            path,
            nodata=options.get("nodata"),
            bidx=tuple(options.get("bidx") or ()),
            driver=options.get("driver"),
            sidecars=bool(options.get("sidecars")),
            raw=raw,
            allow_sparse=bool(options.get("allow_sparse")),
        ) as source:
            source.check_georeference()
            with source.block_cache():
                yield dataset_of(source)


def need_xarray() -> None:
    """Refuse in one line where the extra with xarray is not installed.

    Raises
    ------
    UsageError
        With what to install.
    """
    try:
        import cf_xarray
        import xarray
    except ImportError as error:
        raise not_installed(error, "netcdf,zarr") from None
    assert cf_xarray is not None
    assert xarray is not None
