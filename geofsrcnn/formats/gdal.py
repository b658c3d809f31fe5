"""GDAL as rasterio gives it: its errors and warnings, which drivers open what, and files opened safely."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio.drivers
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError

from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.files.archives import refuse_packed
from geofsrcnn.files.kinds import driver_of, head, sniff
from geofsrcnn.files.paths import says_more_than_statistics, sidecars_of
from geofsrcnn.process import LINKING_DRIVERS, PROJ_VARIABLES

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""Errors of GDAL, as rasterio raises them: some calls let GDAL's own errors through."""

REFUSED_DRIVERS = frozenset(
    [
        *({name.upper() for name in LINKING_DRIVERS} - {"VRT"}),
        *("NETCDF", "HDF4", "HDF4IMAGE", "HDF5", "HDF5IMAGE", "BAG", "KEA", "ZARR"),  # a second HDF5 library
        *("OGR_VRT", "MEM"),
    ]
)
"""Drivers, in capitals, that open no file even if they are asked for; a VRT is for who names it."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning that a raster has no transform; `check_georeference` says it in our words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def gdal_message(error: BaseException) -> str:
    """GDAL's own words, which rasterio often keeps in the cause."""
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return printable(str(cause).strip() or type(cause).__name__)[:300]


def warn_of_proj() -> None:
    """Say that PROJ finds no database of its version where the environment sends it.

    For processes that are not ours, whose environment we leave alone; `geofsrcnn.process.harden_gdal` is for ours.
    """
    if not (found := [name for name in PROJ_VARIABLES if name in os.environ]):
        return
    try:
        with rasterio.Env():
            CRS.from_epsg(4326)
    except CRSError:
        words = f"{found[0]}={printable(os.environ[found[0]])} is of another installation, CRSs lose their EPSG codes"
        warn("W-PROJ", f"{words}: unset it before Python starts")


def choose_driver(path: Path, driver: str | None) -> str:
    """Choose the driver to force, after a look at the file's first bytes."""
    if driver is not None:
        known = {name.upper(): name for name in rasterio.drivers.raster_driver_extensions().values()}
        if driver.upper() in REFUSED_DRIVERS:
            raise UsageError(f"driver {printable(driver)} is not opened: convert the file with gdal_translate first")
        return str(known.get(driver.upper(), driver))
    kind = sniff(path)
    if kind == "GeoTIFF":
        return "GTiff"
    shown = printable(path.name)
    refuse_packed(path, kind)
    if kind == "unknown":
        if path.is_dir():
            raise InputError(f"a folder, neither a GeoTIFF nor a Zarr group: {shown}: name a file in it")
        start = head(path)
        found = "it is empty" if not start else f"it starts with '{printable(start.decode('latin-1'))}'"
        if (likely := driver_of(path)) is not None:
            raise InputError(f"not a GeoTIFF: {shown} ({found}): read it with driver='{likely}'")
        raise InputError(f"not a GeoTIFF: {shown} ({found}): name GDAL's driver with driver= if it is another raster")
    if kind == "GRIB":
        raise InputError(f"GRIB, not a GeoTIFF: {shown}: read it with driver='GRIB'")
    raise InputError(f"{kind}, not a GeoTIFF: {shown}: convert it with gdal_translate first")


def _options(driver: str, *, sidecars: bool) -> dict[str, str]:
    """GDAL's configuration for an open: nothing is read or written beside the file itself."""
    if sidecars:
        return {"GDAL_DISABLE_READDIR_ON_OPEN": "NO", "GDAL_PAM_ENABLED": "YES"}
    # other drivers' headers lie beside the file by design
    listing = "EMPTY_DIR" if driver == "GTiff" else "NO"
    return {"GDAL_DISABLE_READDIR_ON_OPEN": listing, "GDAL_PAM_ENABLED": "NO"}


def open_file(path: Path, driver: str, *, sidecars: bool) -> Any:
    """Open a raster with a driver, without its sidecars unless they are asked for; an InputError if GDAL cannot."""
    warn_of_proj()
    try:
        with rasterio.Env(**_options(driver, sidecars=sidecars)), quiet():
            dataset = rasterio.open(path, driver=driver, sharing=False)
    except (*GDAL_ERRORS, OSError, ValueError, TypeError, MemoryError) as error:
        raise InputError(
            f"cannot open {printable(path.name)} as {printable(driver)} ({gdal_message(error)})"
        ) from error
    return dataset


def warn_of_sidecars(path: Path, *, own: bool) -> None:
    """Name the files beside a raster that have no say; other drivers read their own headers, but not GDAL's."""
    beside = sidecars_of(path)
    if own:
        beside = [each for each in beside if each.name.endswith(".aux.xml") and says_more_than_statistics(each)]
    if found := sorted({p.name for p in beside}):
        warn(
            "W-SIDECAR",
            f"ignored beside {printable(path.name)}: {printable(', '.join(found))}: read with sidecars=True",
        )
