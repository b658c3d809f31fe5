"""Kinds of files and folders: by first bytes on the way in, by the end of the name on the way out."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Literal

from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.files.names import is_path

Data = Literal["GeoTIFF", "HDF5", "NetCDF", "Zarr", "ZIP", "GRIB", "unknown"]
Packed = Literal["archive", "gzip", "bzip2", "xz", "7z", "Zstandard", "tar", "kerchunk", "web page", "Git LFS pointer"]
Signature = Data | Packed

PACKED: dict[str, str] = {
    "archive": "a ZIP archive",
    "gzip": "a gzip file",
    "bzip2": "a bzip2 file",
    "xz": "an xz file",
    "7z": "a 7z archive",
    "Zstandard": "a Zstandard file",
    "tar": "a tar archive",
    "kerchunk": "references of kerchunk, not data",
    "web page": "a web page, not data",
    "Git LFS pointer": "a pointer of Git LFS, not data",
}
"""Kinds of files that hold data packed, or speak of it; "ZIP" is one of a Zarr store."""

SINGLE_SUFFIXES = {"gzip": ".gz", "bzip2": ".bz2", "xz": ".xz"}
"""Kinds that hold one file, packed, by the end of their names."""

PACKED_SUFFIXES = (".zip", *SINGLE_SUFFIXES.values())
"""Ends of names of what a file can be read from within."""

GIT_LFS_MAGIC = b"version https://git-lfs"

_STARTS: dict[bytes, Signature] = {
    b"GRIB": "GRIB",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    GIT_LFS_MAGIC: "Git LFS pointer",
}

DRIVERS: dict[bytes, str] = {
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
    b"EHFA_HEADER_TAG": "HFA",
    b"<VRTDataset": "VRT",
    b"\x89PNG\r\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"SQLite format 3\0": "GPKG",
    b"ncols": "AAIGrid",
    b"NITF": "NITF",
    b"DSAA": "GSAG",
    b"DSBB": "GSBG",
    b"DSRB": "GS7BG",
}
"""Drivers of GDAL by the first bytes of their files."""

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")

ZARR_METADATA = (*ZARR_MARKS, ".zattrs", ".zmetadata")


DRIVER_SUFFIXES: dict[str, tuple[str, ...]] = {
    "JP2OPENJPEG": (".jp2", ".j2k", ".jpx"),
    "HFA": (".img",),
    "VRT": (".vrt",),
    "GRIB": (".grib", ".grb", ".grib2", ".grb2"),
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "GPKG": (".gpkg",),
    "AAIGRID": (".asc",),
    "NITF": (".ntf", ".nitf"),
    "SRTMHGT": (".hgt",),
    "EHDR": (".bil", ".flt"),
    "ENVI": (".dat", ".img", ".bsq"),
    "USGSDEM": (".dem",),
    "DTED": (".dt0", ".dt1", ".dt2"),
    "GSAG": (".grd",),
    "GSBG": (".grd",),
    "GS7BG": (".grd",),
}
"""Ends of names of the files of GDAL's drivers, in capitals."""


def head(path: Path, size: int = 16) -> bytes:
    """Read the first bytes of a file; an InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError:
        raise InputError(f"no such file: {printable(path)}") from None
    except OSError as error:
        raise InputError(f"cannot read {printable(path)} ({error.strerror}): check its permissions") from None


def sniff(path: Path) -> Signature:
    """Return what a file or folder is by its first bytes, whatever its suffix; an InputError if it cannot be read."""
    if path.is_dir():
        return "Zarr" if is_zarr(path) else "unknown"
    start = head(path, 512)
    if start[:4] in TIFF_MAGIC:
        return "GeoTIFF"
    if start[:8] == HDF5_MAGIC:
        return "HDF5"
    if start[:3] == b"CDF" and start[3:4] in (b"\1", b"\2", b"\5"):
        return "NetCDF"
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return "archive" if _is_plain_zip(path) else "ZIP"
    if start[257:262] == b"ustar":
        return "tar"
    for magic, kind in _STARTS.items():
        if start.startswith(magic):
            return kind
    return _sniff_text(start.lstrip().lower())


def _sniff_text(start: bytes) -> Signature:
    """Return what a text is, by its first letters, in small ones."""
    if start.startswith((b"<!doctype html", b"<html")):
        return "web page"
    keys = (b'"refs"', b'".zgroup"', b'".zattrs"', b'".zmetadata"', b'"zarr.json"')
    return "kerchunk" if start.startswith(b"{") and any(key in start for key in keys) else "unknown"


def driver_of(path: Path) -> str | None:
    """GDAL's driver for a raster that is no GeoTIFF, where its first bytes say it."""
    start = head(path, 64)
    return next((driver for magic, driver in DRIVERS.items() if start.lstrip(b"\xef\xbb\xbf").startswith(magic)), None)


def zip_names(path: Path) -> list[str] | None:
    """List the files in a ZIP; None if it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [each.filename for each in archive.infolist() if not each.is_dir()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None


def _is_plain_zip(path: Path) -> bool:
    """Tell whether a ZIP can be read and holds no Zarr store."""
    names = zip_names(path)
    return names is not None and not any(name.rpartition("/")[2] in ZARR_MARKS for name in names)


def is_zarr(folder: Path) -> bool:
    """Tell whether a folder is a Zarr store."""
    return any((folder / mark).exists() for mark in ZARR_MARKS)


FormatName = Literal["GeoTIFF", "NetCDF", "Zarr"]

FORMATS: dict[str, FormatName] = {"HDF5": "NetCDF", "NetCDF": "NetCDF", "Zarr": "Zarr", "ZIP": "Zarr"}
"""Formats that files of a kind are read as; others are rasters."""

SUFFIX_FORMATS: dict[str, FormatName] = {
    ".tif": "GeoTIFF",
    ".tiff": "GeoTIFF",
    ".nc": "NetCDF",
    ".nc4": "NetCDF",
    ".zarr": "Zarr",
}
"""Formats of outputs, by the ends of their names."""


def is_folder(form: FormatName | None) -> bool:
    """Tell whether outputs of a format are folders."""
    return form == "Zarr"


def check_geotiff_name(path: Path, what: str) -> None:
    """Refuse a name that is none of a GeoTIFF with a UsageError that says what is, or writes, one."""
    suffixes = [suffix for suffix, form in SUFFIX_FORMATS.items() if form == "GeoTIFF"]
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{what} a GeoTIFF, whose name must end in {' or '.join(suffixes)}: {printable(path.name)}")


CHECKPOINT_SUFFIX = ".safetensors"


def is_checkpoint_name(name: str | os.PathLike[str]) -> bool:
    """Tell whether a name is that of a checkpoint's file, and not of a model in the package."""
    text = os.fspath(name)
    return is_path(text) or text.endswith(CHECKPOINT_SUFFIX)
