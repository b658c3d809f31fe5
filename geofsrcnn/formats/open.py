"""Any file as a dataset, its fields not read: a GeoTIFF, a NetCDF, a Zarr; what it is, its first bytes say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from geofsrcnn.errors import InputError, UsageError, need, printable
from geofsrcnn.files.archives import refuse_packed, unpack
from geofsrcnn.files.kinds import FORMATS, FormatName, sniff
from geofsrcnn.files.remote import RemoteZarr
from geofsrcnn.options import UpscaleOptions

if TYPE_CHECKING:
    import xarray as xr

    from geofsrcnn.formats.raster import RasterSource
    from geofsrcnn.formats.writer import Writer


def input_format(path: Path | RemoteZarr, driver: str | None = None) -> FormatName:
    """Return what an input is read as: "GeoTIFF" for any raster, and for whatever a driver of GDAL is named for.

    Raises
    ------
    InputError
        If it holds its data packed, or none at all.
    """
    if isinstance(path, RemoteZarr):
        return "Zarr"
    if driver is not None:
        return "GeoTIFF"
    kind = sniff(path)
    refuse_packed(path, kind)
    return FORMATS.get(kind, "GeoTIFF")


@contextmanager
def open_raster_within(
    path: Path, options: UpscaleOptions, instead: str, *, allow_classes: bool = False
) -> Iterator[RasterSource]:
    """A raster, out of what it may be packed in, where datasets are not taken.

    Raises
    ------
    InputError
        If it is a dataset, with `instead`: what takes one, or what to do; or if it cannot be read.
    """
    from geofsrcnn.formats.raster import RasterSource

    with unpack(path, options.inside) as found:
        if (form := input_format(found, options.driver)) != "GeoTIFF":
            raise InputError(f"{printable(found.name)} is a dataset ({form}): {instead}")
        with RasterSource(found, options, allow_classes=allow_classes) as source:
            yield source


@contextmanager
def open_dataset(
    path: Path | RemoteZarr, options: UpscaleOptions | None = None, *, raw: bool = False
) -> Iterator[xr.Dataset]:
    """A GeoTIFF, NetCDF or Zarr as a dataset, as it is stored.

    Parameters
    ----------
    path : Path or RemoteZarr
        Checked before by `geofsrcnn.files.paths.local_path`.
    options : UpscaleOptions, optional
        Those of the input: group, bands, nodata, driver. Without any it is read to learn or judge, not to be upscaled.
    raw : bool
        Cells are only repeated, whatever they mean.

    Raises
    ------
    InputError, UsageError
        If it cannot be read, or what reads it is not installed.
    """
    rounded = options is not None and options.dtype is None
    options = UpscaleOptions() if options is None else options
    need_xarray()
    form = input_format(path, options.driver)
    if form == "Zarr":
        from geofsrcnn.formats import zarr

        with zarr.open_store(path, options.group) as dataset:
            yield dataset
    elif form == "NetCDF" and isinstance(path, Path):
        from geofsrcnn.formats import netcdf

        with netcdf.open_file(path, options.group) as dataset:
            yield dataset
    elif isinstance(path, Path):
        from geofsrcnn.formats.bands import quantities_of, warn_of_guesses
        from geofsrcnn.formats.raster import RasterSource
        from geofsrcnn.formats.raster_cf import dataset_of
        from geofsrcnn.formats.sample import warn_of_values

        with RasterSource(path, options, raw=raw) as source:
            source.check_georeference()
            quantities = quantities_of(source, options.kinds or {})
            if len(source.bands) > 1:  # one band is a variable, of which `cf.refine` says it
                warn_of_guesses(source, quantities, repeats=raw)
            warn_of_values(source, quantities, rounded=rounded)
            with source.block_cache():
                yield dataset_of(source, quantities)


def create_store(
    form: FormatName,
    path: Path,
    frame: xr.Dataset,
    *,
    like: Path | RemoteZarr | None = None,
    size: int = 0,
    unlimited: Sequence[str] = (),
) -> Writer:
    """A new NetCDF or Zarr, with all but the fields that are to be written part by part.

    Parameters
    ----------
    form : {"NetCDF", "Zarr"}
        What it is.
    path : Path
        Where.
    frame : Dataset
        Its coordinates, attributes and small variables.
    like : Path or RemoteZarr, optional
        An input whose version it takes over where that has the same format.
    size : int
        Bytes of its fields, by which a NetCDF may need another form than its input.
    unlimited : sequence of str
        Dimensions without an end.
    """
    same = like is not None and input_format(like) == form
    if form == "Zarr":
        from geofsrcnn.formats.zarr import ZarrWriter, version_of

        return ZarrWriter(path, frame, version_of(like) if same and like is not None else 3)
    if form != "NetCDF":
        raise UsageError(f"fields are not written part by part into a {form}")
    from geofsrcnn.formats.netcdf import DEFAULT_FORM, NetCDFWriter, form_of

    own = form_of(like, size) if same and isinstance(like, Path) else DEFAULT_FORM
    return NetCDFWriter(path, frame, own, list(unlimited))


def need_xarray() -> None:
    """Refuse in one line where the extra with xarray is not installed.

    Raises
    ------
    UsageError
        With what to install.
    """
    need("netcdf,zarr", "cf_xarray", "xarray")
