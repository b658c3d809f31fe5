"""What a file or folder is: by its first bytes on the way in, by the end of its name on the way out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from geofsrcnn.errors import InputError, printable

Signature = Literal["GeoTIFF", "HDF5", "NetCDF", "Zarr", "ZIP", "GRIB", "unknown"]

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")

ZARR_METADATA = (*ZARR_MARKS, ".zattrs", ".zmetadata")


def head(path: Path, size: int = 16) -> bytes:
    """The first bytes of a file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"cannot read {printable(path)} ({error.strerror}): check its permissions") from None


def sniff(path: Path) -> Signature:
    """What a file or folder is, by its first bytes; its suffix does not count.

    Parameters
    ----------
    path : Path
        An existing file or folder.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if path.is_dir():
        return "Zarr" if is_zarr(path) else "unknown"
    start = head(path)
    if start[:4] in TIFF_MAGIC:
        return "GeoTIFF"
    if start[:8] == HDF5_MAGIC:
        return "HDF5"
    if start[:3] == b"CDF" and start[3:4] in (b"\1", b"\2", b"\5"):
        return "NetCDF"
    if start[:4] == b"PK\3\4":
        return "ZIP"
    return "GRIB" if start[:4] == b"GRIB" else "unknown"


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((folder / mark).exists() for mark in ZARR_MARKS)


FormatName = Literal["GeoTIFF", "NetCDF", "Zarr"]

FORMATS: dict[str, FormatName] = {"HDF5": "NetCDF", "NetCDF": "NetCDF", "Zarr": "Zarr", "ZIP": "Zarr"}
"""What files of a kind are read as; others as rasters."""

SUFFIX_FORMATS: dict[str, FormatName] = {
    ".tif": "GeoTIFF",
    ".tiff": "GeoTIFF",
    ".nc": "NetCDF",
    ".nc4": "NetCDF",
    ".zarr": "Zarr",
}
"""What an output is, by the end of its name."""

CHECKPOINT_SUFFIX = ".safetensors"


def is_checkpoint_name(name: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a checkpoint's file, and not of a model in the package."""
    text = os.fspath(name)
    return os.sep in text or text.endswith(CHECKPOINT_SUFFIX)
