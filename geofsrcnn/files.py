"""Names and files: what may be opened, and outputs that appear whole or not at all.

An output is built in a work folder beside it, verified by the caller, fsynced and then linked or renamed onto
its name. The work folder is locked while its process lives, so a later run can tell a leftover from a run.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from geofsrcnn.errors import InputError, OutputError, RemoteError, UsageError, printable

Kind = Literal["GeoTIFF", "HDF5", "NetCDF", "Zarr", "ZIP", "GRIB", "unknown"]

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")
ZARR_METADATA = (*ZARR_MARKS, ".zattrs", ".zmetadata")
SUFFIX = ".part"

_AT_FDCWD, _NO_REPLACE, _EXCHANGE = -100, 1, 2  # of renameat2(2)


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
        return "Zarr" if _is_zarr(path) else "unknown"
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


def _is_zarr(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in ZARR_MARKS)


def identity(path: Path) -> tuple[int, ...]:
    """What changes when a file is replaced or written; nothing if it is gone.

    Of a Zarr folder: when files came or went in any of its folders (chunks are replaced, not written in place), and
    the files with metadata.
    """
    return tuple(n for s in _states(path) for n in (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns))


def fingerprint(path: Path) -> str:
    """The same of what every machine sees alike: sizes and times of change; empty if the file is gone."""
    states = _states(path)
    if len(states) == 1:
        return f"{states[0].st_size}-{states[0].st_mtime_ns}"
    text = " ".join(f"{state.st_size}-{state.st_mtime_ns}" for state in states)
    return hashlib.sha256(text.encode()).hexdigest() if states else ""


_SIDECARS = (".aux.xml", ".msk", ".aux", ".tfw", ".tifw", ".wld", ".rpb", ".RPB", "_rpc.txt", "_RPC.TXT", ".IMD")


def sidecars_of(path: Path) -> list[Path]:
    """The files beside a raster that GDAL would take into account."""
    beside = {path.with_name(stem + end) for stem in (path.name, path.stem) for end in _SIDECARS}
    return sorted(each for each in beside if each.exists())


def _states(path: Path) -> list[os.stat_result]:
    try:
        marks = [path]
        if path.is_dir():
            tree = sorted(os.walk(path))
            marks = [Path(folder) for folder, _, _ in tree]
            marks += [Path(folder) / name for folder, _, names in tree for name in names if name in ZARR_METADATA]
        return [mark.stat() for mark in marks]
    except OSError:
        return []


def content_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a folder, that of its files' names and digests."""
    if path.is_dir():
        total = hashlib.sha256()
        for each in sorted(each for each in path.rglob("*") if each.is_file()):
            total.update(f"{each.relative_to(path).as_posix()}\0{content_digest(each)}\n".encode())
        return total.hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files)


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
        if path.is_dir() and _is_zarr(path) and Path(os.path.realpath(path)) in Path(os.path.realpath(output)).parents:
            raise UsageError(f"output lies within the input: {printable(output)}: give another folder")


@contextmanager
def staged(target: str | os.PathLike[str], *, overwrite: bool = False, folder: bool = False) -> Iterator[Path]:
    """A path to write to, published as `target` if the block ends well, removed if not.

    Parameters
    ----------
    target : str or path
        Final name. If it is a link, the file that it points to is replaced.
    overwrite : bool
        Replace an existing file; without it, one that exists, or appears meanwhile, is an error.
    folder : bool
        The output is a folder, a Zarr store, and may replace one.

    Yields
    ------
    Path
        A name in a new, locked folder on the target's file system; not yet existing.

    Raises
    ------
    OutputError
        If the target exists, is of the wrong kind, or cannot be written.
    """
    final = Path(os.path.realpath(target))
    check_target(final, overwrite=overwrite, folder=folder)
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
            _remove(work)
        except OSError as error:
            raise OutputError(f"cannot remove {printable(work)} ({error.strerror}): remove it by hand") from error
        finally:
            os.close(lock)


def _remove(work: Path) -> None:
    """Remove a work folder, into which threads of a failed writer (Zarr's) may still be writing for a moment."""
    for pause in (0.01, 0.1, 0.5, 1.0):
        with suppress(OSError):
            shutil.rmtree(work)
        if not work.exists():
            return
        time.sleep(pause)
    shutil.rmtree(work)


def check_target(target: Path, *, overwrite: bool, folder: bool = False) -> None:
    """Refuse a target that cannot become the output, before any work is done.

    Raises
    ------
    OutputError
        If it exists without `overwrite`, is a folder (of anything but Zarr, where the output is one), or its folder
        is missing or not writable.
    """
    shown = printable(target)
    if len(os.fsencode(target.name)) > 255:
        raise OutputError(f"output name is longer than 255 bytes: {shown[:80]}...")
    try:
        if target.is_dir() and not (folder and _is_zarr(target)):
            what = "output is a folder that holds no Zarr" if folder else "output is a folder"
            raise OutputError(f"{what}: {shown}: give {'another' if folder else 'a file'} name")
        if target.exists() and not folder and not target.is_file():
            raise OutputError(f"output is a device or pipe, not a file: {shown}: give a file name")
        if target.exists() and folder and not target.is_dir():
            raise OutputError(f"output is a file, not a folder: {shown}: give another name")
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
    for name in os.listdir(final.parent):  # noqa: PTH208  folders of outputs are long: a tenth of the time
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
    """Put a finished file or folder onto its name and make both durable."""
    if staging.is_dir():
        for folder, _, names in os.walk(staging, topdown=False):
            for name in names:
                _sync(Path(folder) / name)
            _sync(Path(folder))
        _publish_folder(staging, final, overwrite=overwrite)
    else:
        _sync(staging)
        _publish_file(staging, final, overwrite=overwrite)
    _sync(final.parent)


def _sync(path: Path) -> None:
    """Make a file's or a folder's content durable."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _publish_file(staging: Path, final: Path, *, overwrite: bool) -> None:
    if overwrite:
        with suppress(FileNotFoundError):
            staging.chmod(final.stat().st_mode & 0o7777)
        staging.replace(final)
        return
    try:
        os.link(staging, final)
    except FileExistsError:
        raise _appeared(final) from None
    except OSError:
        _rename_new(staging, final)


def _publish_folder(staging: Path, final: Path, *, overwrite: bool) -> None:
    """One rename: onto a free name, or the old folder changes places with the new one and goes with the work folder."""
    if overwrite and final.exists():
        if not _rename_at(staging, final, _EXCHANGE):
            raise OutputError(f"this file system cannot replace a folder at once: remove {printable(final)} first")
        return
    try:
        if not _rename_at(staging, final, _NO_REPLACE):
            _rename_new(staging, final)
    except FileExistsError:
        raise _appeared(final) from None


def _rename_at(old: Path, new: Path, flags: int) -> bool:
    """``renameat2``; False where the system or the file system has none."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(new))


def _rename_new(staging: Path, final: Path) -> None:
    """Where there are no hard links or flags: take the name exclusively, then rename onto it."""
    try:
        if staging.is_dir():
            final.mkdir()
        else:
            os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        raise _appeared(final) from None
    try:
        staging.replace(final)
    except BaseException:
        if staging.is_dir():
            with suppress(OSError):
                final.rmdir()
        else:
            final.unlink(missing_ok=True)
        raise


def _appeared(final: Path) -> OutputError:
    return OutputError(f"output exists: {printable(final)}: another run made it; use --overwrite")
