"""Names and files: what may be opened, and outputs that appear whole or not at all.

An output is built in a work folder beside it, verified by the caller, fsynced and then linked or renamed onto
its name. The work folder is locked while its process lives, so a later run can tell a leftover from a run.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from geofsrcnn.errors import InputError, OutputError, RemoteError, UsageError, printable

Kind = Literal["GeoTIFF", "HDF5", "NetCDF", "Zarr", "GRIB", "unknown"]

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
SUFFIX = ".part"


def local_path(name: str | os.PathLike[str]) -> Path:
    """The absolute path of an existing local file or folder.

    Names that GDAL or NetCDF would read as something else (URLs, ``/vsi``, ``vrt://``, XML, ``DRIVER:file``)
    are refused before any library sees them.

    Parameters
    ----------
    name : str or path
        As the user typed it.

    Returns
    -------
    Path

    Raises
    ------
    RemoteError
        If the name is a URL or one of GDAL's network file systems.
    InputError
        If it is no plain name, does not exist, or is neither a file nor a folder.
    """
    text = os.fspath(name)
    shown = printable(text)
    if not text or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise InputError(f"not a file name: {shown!r} (empty or with control characters)")
    if "://" in text and not Path(text).exists():
        raise RemoteError(f"remote input is not allowed: {_without_secrets(shown)}: download the file first")
    if text.startswith("/vsi"):
        raise RemoteError(f"GDAL's virtual file systems are not read: {_without_secrets(shown)}: give a local file")
    if text.startswith("<") or text == "-":
        raise InputError(f"not a file name: {shown[:60]!r}: give the path of a local file")
    path = Path(text)
    try:
        status = path.stat()
    except FileNotFoundError:
        head = text.split(":", 1)[0]
        if ":" in text and head.isalnum():
            raise InputError(f"not a file name: {shown} ({head}: names a GDAL driver): give a local file") from None
        raise InputError(f"no such file: {shown}") from None
    except OSError as error:
        raise InputError(f"cannot look at {shown} ({error.strerror}): check the path and its permissions") from None
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"neither a file nor a folder: {shown} (type {oct(status.st_mode >> 12)})")
    return path.absolute()


def _without_secrets(text: str) -> str:
    """A URL without its query and user."""
    head, sep, rest = text.partition("://")
    rest = rest.split("?", 1)[0]
    host, slash, tail = rest.partition("/")
    return head + sep + host.rsplit("@", 1)[-1] + slash + tail


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


def sniff(path: Path) -> Kind:
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
        marks = (".zarray", ".zgroup", "zarr.json")
        return "Zarr" if any((path / mark).exists() for mark in marks) else "unknown"
    start = head(path)
    if start[:4] in TIFF_MAGIC:
        return "GeoTIFF"
    if start[:8] == HDF5_MAGIC:
        return "HDF5"
    if start[:3] == b"CDF" and start[3:4] in (b"\1", b"\2", b"\5"):
        return "NetCDF"
    return "GRIB" if start[:4] == b"GRIB" else "unknown"


def refuse_same(output: Path, *inputs: Path) -> None:
    """Refuse an output that is one of the inputs, under whatever name.

    Raises
    ------
    UsageError
        If it is.
    """
    for path in inputs:
        same = os.path.realpath(output) == os.path.realpath(path)
        if not same:
            with suppress(OSError):
                same = output.samefile(path)
        if same:
            raise UsageError(f"output is the input: {printable(output)}: give another name")


@contextmanager
def staged(target: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """A path to write to, published as `target` if the block ends well, removed if not.

    Parameters
    ----------
    target : str or path
        Final name. If it is a link, the file that it points to is replaced.
    overwrite : bool
        Replace an existing file; without it, one that exists, or appears meanwhile, is an error.

    Yields
    ------
    Path
        A file name in a new, locked folder on the target's file system; not yet existing.

    Raises
    ------
    OutputError
        If the target exists, is a folder, or cannot be written.
    """
    final = Path(os.path.realpath(target))
    check_target(final, overwrite=overwrite)
    _remove_leftovers(final)
    work, lock = _work_folder(final)
    try:
        staging = work / ("output" + final.suffix)
        try:
            yield staging
            _publish(staging, final, overwrite=overwrite)
        except OSError as error:
            if isinstance(error, OutputError | RemoteError):
                raise
            raise OutputError(f"cannot write {printable(final)} ({error.strerror or error}): free space?") from error
    finally:
        try:
            shutil.rmtree(work)
        except OSError as error:
            raise OutputError(f"cannot remove {printable(work)} ({error.strerror}): remove it by hand") from error
        finally:
            os.close(lock)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target that cannot become the output, before any work is done.

    Raises
    ------
    OutputError
        If it is a folder, exists without `overwrite`, or its folder is missing or not writable.
    """
    shown = printable(target)
    if len(os.fsencode(target.name)) > 255:
        raise OutputError(f"output name is longer than 255 bytes: {shown[:80]}...")
    try:
        if target.is_dir():
            raise OutputError(f"output is a folder: {shown}: give a file name")
        if target.exists() and not target.is_file():
            raise OutputError(f"output is a device or pipe, not a file: {shown}: give a file name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"output exists: {shown}: use --overwrite")
        if not target.parent.is_dir():
            raise OutputError(f"output folder is missing: {printable(target.parent)}: make it first")
    except PermissionError:
        raise OutputError(f"cannot look into {printable(target.parent)}: check its permissions") from None
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OutputError(f"output folder is not writable: {printable(target.parent)}: check its permissions")


def free_bytes(target: Path) -> int:
    """Bytes free on the target's file system."""
    return shutil.disk_usage(target.parent).free


def _prefix(final: Path) -> str:
    return "." + os.fsdecode(os.fsencode(final.name)[:200]) + "."


def _work_folder(final: Path) -> tuple[Path, int]:
    """A new locked folder beside the target."""
    while True:
        work = final.parent / f"{_prefix(final)}{secrets.token_hex(4)}{SUFFIX}"
        try:
            work.mkdir(mode=0o777)
            lock = os.open(work, os.O_RDONLY)
        except FileExistsError:
            continue
        except FileNotFoundError:  # taken for a leftover between the two calls
            continue
        except OSError as error:
            raise OutputError(f"cannot write into {printable(final.parent)} ({error.strerror})") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:  # a file system without locks: leftovers there are never removed
            return work, lock
        if work.exists():
            return work, lock
        os.close(lock)


def _remove_leftovers(final: Path) -> None:
    """Remove the work folders of dead processes for the same output."""
    prefix = _prefix(final)
    for name in (entry.name for entry in final.parent.iterdir()):
        middle = name.removeprefix(prefix).removesuffix(SUFFIX)
        if not (name.startswith(prefix) and name.endswith(SUFFIX) and len(middle) == 8):
            continue
        work = final.parent / name
        try:
            lock = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(work, ignore_errors=True)
        except OSError:
            pass
        finally:
            os.close(lock)


def _publish(staging: Path, final: Path, *, overwrite: bool) -> None:
    """Put a finished file onto its name and make both durable."""
    with staging.open("rb") as file:
        os.fsync(file.fileno())
    if overwrite:
        with suppress(FileNotFoundError):
            staging.chmod(final.stat().st_mode & 0o7777)
        staging.replace(final)
    else:
        try:
            os.link(staging, final)
        except FileExistsError:
            raise OutputError(f"output exists: {printable(final)}: another run made it; use --overwrite") from None
        except OSError:
            _rename_new(staging, final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _rename_new(staging: Path, final: Path) -> None:
    """For file systems without hard links: take the name exclusively, then rename onto it."""
    try:
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise OutputError(f"output exists: {printable(final)}: another run made it; use --overwrite") from None
    try:
        staging.replace(final)
    except BaseException:
        final.unlink(missing_ok=True)
        raise
