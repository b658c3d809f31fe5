"""Names of files: which may be opened, whether two are the same, what identifies their content."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from geofsrcnn.errors import InputError, RemoteError, UsageError, printable
from geofsrcnn.files.kinds import ZARR_METADATA, head, is_zarr
from geofsrcnn.files.names import scheme_of


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
        raise InputError(f"not a file name: '{shown}' (empty or with control characters)")
    if "://" in text and scheme_of(text) and not Path(text).exists():
        raise RemoteError(f"remote input is not allowed: {_without_secrets(shown)}: download the file first")
    if text.startswith("/vsi"):
        raise RemoteError(f"GDAL's virtual file systems are not read: {_without_secrets(shown)}: give a local file")
    if text.startswith("<") or text == "-":
        raise InputError(f"not a file name: {shown[:60]!r}: give the path of a local file")
    path = Path(text)
    try:
        status = path.stat()
    except FileNotFoundError:
        driver = scheme_of(text)
        if driver.isalnum():
            raise InputError(f"not a file name: {shown} ({driver}: names a GDAL driver): give a local file") from None
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


def identity(path: Path) -> tuple[int, ...]:
    """Return numbers that change when a file is replaced or written; none if it is gone.

    Of a Zarr folder: when files came or went in any of its folders (chunks are replaced, not written in place), and
    the files with metadata.
    """
    return tuple(n for s in _states(path) for n in (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns))


def watch_changes(paths: Sequence[Path]) -> Callable[[], None]:
    """Return a function that raises an InputError if one of these inputs is not as it is now."""
    before = [identity(path) for path in paths]

    def check_unchanged() -> None:
        for path, was in zip(paths, before, strict=True):
            refuse_changed(path, was, identity(path))

    return check_unchanged


def refuse_changed(path: Path, was: object, now: object) -> None:
    """Refuse an input whose state is another than it was when reading began, with an InputError."""
    if now != was:
        raise InputError(f"{printable(path.name)} was changed while it was read: run again")


def fingerprint(path: Path) -> str:
    """Like `identity`, of what every machine sees alike: sizes and times of change; empty if the file is gone."""
    states = _states(path)
    if len(states) == 1:
        return f"{states[0].st_size}-{states[0].st_mtime_ns}"
    text = " ".join(f"{state.st_size}-{state.st_mtime_ns}" for state in states)
    return hashlib.sha256(text.encode()).hexdigest() if states else ""


_SIDECARS = (".aux.xml", ".msk", ".aux", ".tfw", ".tifw", ".wld", ".tab", ".rpb", "_rpc.txt", ".imd")

AUX_XML = 2**20
"""Bytes of an ``.aux.xml`` that are looked at."""


def sidecars_of(path: Path) -> list[Path]:
    """The files beside a raster that GDAL would take into account, in small letters or capitals."""
    ends = {form for end in _SIDECARS for form in (end, end.upper())}
    beside = {path.with_name(stem + end) for stem in (path.name, path.stem) for end in ends}
    return sorted(each for each in beside if os.path.exists(each))  # noqa: PTH110  a name may be too long: no error


def says_more_than_statistics(sidecar: Path) -> bool:
    """Tell whether an ``.aux.xml`` changes a raster; viewers leave many with statistics and histograms alone."""
    text = head(sidecar, AUX_XML).decode("utf-8", "replace")
    text = re.sub(r"<Histograms>.*?</Histograms>|<MDI key=.STATISTICS_.*?</MDI>|<!--.*?-->", "", text, flags=re.DOTALL)
    rest = re.sub(r"</?(?:PAMDataset|PAMRasterBand|Metadata)\b[^>]*>|<\?.*?\?>", "", text)
    return bool(rest.strip())


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
    """Refuse an output that is one of the inputs, under whatever name, with a UsageError."""
    for path in inputs:
        same = os.path.realpath(output) == os.path.realpath(path)
        if not same:
            with suppress(OSError):
                same = output.samefile(path)
        if same:
            raise UsageError(f"output is the input: {printable(output)}: give another name")
        if path.is_dir() and is_zarr(path) and Path(os.path.realpath(path)) in Path(os.path.realpath(output)).parents:
            raise UsageError(f"output lies within the input: {printable(output)}: give another folder")


def match_names(text: str) -> list[str]:
    """Return the names that a pattern stands for, sorted, ``**`` for folders below; the name itself if it is none."""
    if not glob.has_magic(text) or os.path.exists(text):  # noqa: PTH110  a folder may not be looked into: no error
        return [text]
    return sorted(glob.glob(text, recursive=True))  # noqa: PTH207  a pattern may be absolute


def expand(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """List files by name or pattern; an InputError if one matches none."""
    found: list[Path] = []
    for name in names:
        text = os.fspath(name)
        if not (matches := match_names(text)):
            raise InputError(f"no file matches {printable(text)}")
        found += map(local_path, matches)
    return found
