"""Packed files: refused with the way to unpack them, or one of the files within unpacked for a while."""

from __future__ import annotations

import bz2
import fnmatch
import gzip
import lzma
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from geofsrcnn import system
from geofsrcnn.errors import InputError, LimitError, UsageError, printable
from geofsrcnn.files.kinds import PACKED, SINGLE_SUFFIXES, Signature, sniff, zip_names
from geofsrcnn.files.names import is_reserved

_SHOWN = 5
"""Names of a ZIP that a message lists."""

_BLOCK = 8 * 2**20
_RESERVE = 2**28  # bytes that are left free on the disk

_OPENERS: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
"""Functions that open files which hold one packed file."""

_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)
"""Errors of unpacking; RuntimeError where a password is needed or a method is not known."""


def refuse_packed(path: Path, kind: Signature) -> None:
    """Refuse a file that holds others packed, or only refers to data, with an InputError that says what to do."""
    shown = printable(path.name)
    if kind == "archive":
        names = zip_names(path) or []
        one = f", or read one of its files with inside='{printable(names[0])}'" if names else ""
        words = f"{PACKED[kind]}, of {_listed(names) or 'nothing'}: {shown}: {_INSTEAD[kind]}"
        raise InputError(f"{words}{one}")
    if kind in PACKED:
        one = f", or read it with inside='{printable(_name_within(path))}'" if kind in _OPENERS else ""
        raise InputError(f"{PACKED[kind]}: {shown}: {_INSTEAD.get(kind, 'unpack it first')}{one}")


_INSTEAD = {
    "archive": "unpack it first (unzip)",
    "gzip": "unpack it first (gunzip)",
    "bzip2": "unpack it first (bunzip2)",
    "xz": "unpack it first (unxz)",
    "kerchunk": 'open it with xarray.open_dataset(..., engine="kerchunk") and use ds.fsrcnn.upscale',
    "web page": "the download went wrong, perhaps for want of a log-in",
    "Git LFS pointer": "fetch the data with git lfs pull",
}
"""Remedies by kind."""


@contextmanager
def unpack(path: Path, inside: str | None) -> Iterator[Path]:
    """One of the files of a ZIP, or the content of a gzip, bzip2 or xz file, in a folder of its own for a while.

    Parameters
    ----------
    path : Path
        Local.
    inside : str, optional
        Name within it, or a pattern that one name fits; without, the path itself is yielded.

    Raises
    ------
    InputError
        If it cannot be unpacked.
    UsageError
        If it is not packed, or holds no file of that name.
    LimitError
        If the disk has no room for it.
    """
    if inside is None:
        yield path
        return
    name, beside = _choose(path, inside)
    if system.WINDOWS and is_reserved(_last_part(name)):
        raise InputError(f"cannot unpack {printable(name)} of {printable(path.name)}: Windows reserves its name")
    folder = Path(tempfile.mkdtemp(prefix="geofsrcnn-"))
    try:
        try:
            for each in (name, *beside):
                with _open_member(path, each) as packed, (folder / _last_part(each)).open("wb") as file:
                    _copy(packed, file, folder, printable(each))
        except _BROKEN as error:
            raise InputError(
                f"cannot unpack {printable(inside)} of {printable(path.name)} ({printable(error)})"
            ) from error
        yield folder / _last_part(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _choose(path: Path, inside: str) -> tuple[str, list[str]]:
    """Choose the file that is asked for, and those beside it that belong to it: headers, projections, statistics."""
    kind, shown = sniff(path), printable(path.name)
    names: list[str] = []
    if kind in ("archive", "ZIP"):
        names = zip_names(path) or []
    elif kind in _OPENERS:
        names = [_name_within(path)]
    if not names:
        raise UsageError(f"inside= is for packed files, which {shown} is not")
    found = [name for name in names if name == inside] or [name for name in names if _last_part(name) == inside]
    found = found or fnmatch.filter(names, inside)
    if not found:
        raise UsageError(f"no file {printable(inside)} in {shown}: there are {_listed(names)}")
    if len(found) > 1:
        raise UsageError(f"{len(found)} files in {shown} fit {printable(inside)}: {_listed(found)}: name one of them")
    place = PurePosixPath(found[0])
    beside = [name for name in names if name != found[0] and PurePosixPath(name).parent == place.parent]
    own = (f"{place.stem}.", f"{place.stem}_rpc.txt", f"{place.stem}_RPC.TXT")
    return found[0], [name for name in beside if _last_part(name).startswith(own)]


def _last_part(name: str) -> str:
    """Return the name of a member without its folders, whatever way they lead."""
    return PurePosixPath(name).name or "inside"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(printable, names[:_SHOWN])) + more


@contextmanager
def _open_member(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open the content of a member of a ZIP, or of a file that holds one."""
    kind = sniff(path)
    if kind in _OPENERS:
        with _OPENERS[kind](path) as packed:
            yield packed
        return
    with zipfile.ZipFile(path) as archive, archive.open(name) as packed:
        yield packed


def _copy(packed: IO[bytes], file: IO[bytes], folder: Path, shown: str) -> None:
    while block := packed.read(_BLOCK):
        if shutil.disk_usage(folder).free < _RESERVE:
            raise LimitError(f"no room to unpack {shown} in {printable(folder.parent)}: set TMPDIR to a larger disk")
        file.write(block)


def _name_within(path: Path) -> str:
    """The name of the only file of a gzip, bzip2 or xz file."""
    return path.stem if path.suffix.lower() in SINGLE_SUFFIXES.values() else path.name
