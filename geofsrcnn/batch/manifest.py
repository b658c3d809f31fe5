"""Inputs and outputs of a batch run: names only, no file is opened but lists of names.

An input is a path, a glob, a folder, a URL, ``@LIST`` or a manifest of JSON lines; each becomes one output under one
folder, named by a pattern.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import posixpath
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, NamedTuple

from geofsrcnn.batch.options import PATTERN
from geofsrcnn.errors import InputError, OutputError, UsageError, printable
from geofsrcnn.files.kinds import DRIVER_SUFFIXES, PACKED_SUFFIXES, SUFFIX_FORMATS, is_zarr
from geofsrcnn.files.names import name_problem
from geofsrcnn.files.paths import match_names
from geofsrcnn.files.remote import is_remote

ENDINGS = (*SUFFIX_FORMATS, ".zarr.zip")
"""Ends of names that are taken from a folder."""

MANIFESTS = (".jsonl", ".ndjson")

_FIELDS = ("stem", "factor", "suffix")

Listing = Callable[[str], Sequence[str]]

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Item:
    """One input and its output.

    Parameters
    ----------
    source : str
        Absolute path or URL.
    target : str
        Name of the output relative to the folder of outputs, with ``/``.
    variables : tuple of str
        Fields of a dataset to take; all if empty.
    problem : str
        Why it can have no output, if it cannot.
    """

    source: str
    target: str
    variables: tuple[str, ...] = ()
    problem: str = ""


def output_path(folder: str, target: str) -> Path:
    """The file or store of an output, by its name within a local folder of outputs."""
    return Path(folder) / target


def output_url(folder: str, target: str) -> str:
    """The same of a remote folder."""
    return f"{folder.rstrip('/')}/{target}"


def name_of(source: str) -> str:
    """The last part of an input's path or URL."""
    return source.split("?", 1)[0].rstrip("/").rpartition("/")[2] if is_remote(source) else Path(source).name


class _Found(NamedTuple):
    """An input that was found, and what a manifest says of it."""

    source: str
    subfolder: str = ""
    """Folder of its output within the folder of outputs."""
    output: str | None = None
    """Name of its output, if a manifest gives it."""
    variables: tuple[str, ...] = ()


def read_items(
    inputs: Iterable[str | os.PathLike[str]],
    folder: str,
    factor: int,
    pattern: str = PATTERN,
    listing: Listing = list,
    check: Check = lambda: None,
    endings: tuple[str, ...] = ENDINGS,
) -> list[Item]:
    """All inputs with the names of their outputs, each input once.

    Parameters
    ----------
    inputs : iterable of str or path
        Paths and globs (``**`` for folders below), folders (all GeoTIFF, NetCDF and Zarr in them and below, whose
        subfolders come again in the outputs), URLs, ``@LIST`` (one of these a line), or files of JSON lines with
        ``input`` and, if wanted, ``output`` (a name in the folder of outputs) and ``variables``. Globs and folders do
        not find what is in the folder of outputs, if that lies within.
    folder : str
        Path or URL of the folder of outputs.
    factor : int
        For the pattern.
    pattern : str
        Name of an output, of ``{stem}``, ``{factor}`` and ``{suffix}``: the input's, or ``.tif`` where outputs have no
        such suffix.
    listing : callable
        URLs that a URL with ``*`` stands for.
    check : callable
        Called for each input that is found; what it raises ends it.
    endings : tuple of str
        Ends of names that are taken from folders.

    Raises
    ------
    UsageError
        If two inputs have the same output, an output is an input or leaves the folder, or the pattern is wrong.
    InputError
        If a list or manifest cannot be read, or there are no inputs.
    OutputError
        If no input can have an output, or the name of one is too long.
    """
    output_of = _Pattern(pattern, factor)
    items: dict[Item, None] = {}
    outputs = None if is_remote(folder) else Path(folder).resolve()
    for found in _expand(inputs, listing, outputs, check, endings):
        check()
        if found.output is None:
            target = str(PurePosixPath(found.subfolder) / output_of(found.source))
            problem = _problem(target)
        else:
            target, problem = found.output, ""
        target = target if problem else _check_inside(target, found.source)
        items[Item(found.source, target, found.variables, problem)] = None
    if not items:
        raise InputError("no inputs: give files, folders, globs, @LIST or a manifest (.jsonl)")
    if all(item.problem for item in items):
        raise OutputError(f"no input can have an output: {next(iter(items)).problem}")
    _refuse_collisions(list(items), folder)
    return list(items)


def endings_of(driver: str | None, inside: str | None) -> tuple[str, ...]:
    """Return the ends of names that are taken from a folder, with a driver of GDAL or from packed files."""
    if inside is not None:
        return PACKED_SUFFIXES
    return DRIVER_SUFFIXES.get((driver or "").upper(), ENDINGS)


class _Pattern:
    """Names of outputs from names of inputs."""

    def __init__(self, pattern: str, factor: int) -> None:
        try:
            used = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
        except ValueError as error:
            raise UsageError(f"pattern '{printable(pattern)}' is wrong ({error}): such as {PATTERN}") from None
        if any(spec or conversion for _, _, spec, conversion in string.Formatter().parse(pattern)):
            raise UsageError(f"pattern '{printable(pattern)}' is wrong (names take no format): such as {PATTERN}")
        if unknown := [name for name in used if name not in _FIELDS]:
            raise UsageError(
                f"pattern '{printable(pattern)}' has {{{printable(unknown[0])}}}: there are "
                + ", ".join(f"{{{name}}}" for name in _FIELDS)
            )
        self._pattern, self._factor = pattern, factor

    def __call__(self, source: str) -> str:
        path = PurePosixPath(name_of(source))
        if path.suffix.lower() == ".zip" and path.stem.lower().endswith(".zarr"):
            path = PurePosixPath(path.stem)
        if path.suffix.lower() in PACKED_SUFFIXES and PurePosixPath(path.stem).suffix:
            path = PurePosixPath(path.stem)
        suffix = path.suffix if path.suffix.lower() in SUFFIX_FORMATS else ".tif"
        return self._pattern.format(stem=path.stem, factor=self._factor, suffix=suffix)


def _expand(
    inputs: Iterable[str | os.PathLike[str]],
    listing: Listing,
    outputs: Path | None,
    check: Check,
    endings: tuple[str, ...],
    within: tuple[str, ...] = (),
) -> Iterator[_Found]:
    """Yield the inputs that paths, globs, folders, URLs, lists and manifests stand for."""
    for given in inputs:
        text = os.fspath(given)
        if text.startswith("@") and not Path(text).exists():
            lines = [line.strip() for line in _lines(Path(text[1:]))]
            own = os.path.realpath(text[1:])
            if own in within:
                raise InputError(f"the list {printable(text[1:])} lists itself: take that line out")
            named = [line for line in lines if line and not line.startswith("#")]
            yield from _expand(named, listing, outputs, check, endings, (*within, own))
        elif text.lower().endswith(MANIFESTS) and not is_remote(text):
            yield from _manifest(Path(text))
        elif is_remote(text):
            yield from map(_Found, listing(text) if "*" in text else [text])
        else:
            yield from _local(text, outputs, check, endings)


def _local(text: str, outputs: Path | None, check: Check, endings: tuple[str, ...]) -> Iterator[_Found]:
    """Yield files of a path, folder or glob, with the subfolder that each lies in; none of the folder of outputs."""
    path, found = Path(text), [Path(name) for name in match_names(text)]
    if found != [path]:
        root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
        found = _leave_out([each for each in found if each.is_file() or is_zarr(each)], root, outputs)
        if not found:
            raise InputError(f"no file fits {printable(text)}: check the pattern")
        for each in found:
            yield _Found(str(each.absolute()), str(each.parent.relative_to(root).as_posix()))
    elif path.is_dir() and not is_zarr(path):
        found = _leave_out(sorted(_in_folder(path, set(), check, endings)), path, outputs)
        if not found:
            raise InputError(f"no {', '.join(endings)} in {printable(text)}: give files or a glob")
        for each in found:
            yield _Found(str(each.absolute()), str(each.parent.relative_to(path).as_posix()))
    else:
        yield _Found(str(path.absolute()))


def _leave_out(found: list[Path], root: Path, outputs: Path | None) -> list[Path]:
    if outputs is None or root.resolve() not in (outputs, *outputs.parents):
        return found
    if outputs == root.resolve():
        raise UsageError(f"outputs would lie among the inputs in {printable(root)}: choose another output_dir=")
    return [each for each in found if outputs not in each.resolve().parents]


def _in_folder(folder: Path, seen: set[tuple[int, int]], check: Check, endings: tuple[str, ...]) -> Iterator[Path]:
    """Its files and those of folders below, each folder once, as links may lead around."""
    check()
    try:
        state, entries = folder.stat(), list(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot look into {printable(folder)} ({error.strerror}): give files or a glob") from None
    if (state.st_dev, state.st_ino) in seen:
        return
    seen.add((state.st_dev, state.st_ino))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not is_zarr(entry):
            yield from _in_folder(entry, seen, check, endings)
        elif entry.name.lower().endswith(endings):
            yield entry


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"cannot read the list {printable(path)} ({words})") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ."""
    if twice := [key for i, (key, _) in enumerate(pairs) if key in dict(pairs[:i])]:
        raise ValueError(f"{twice[0]} stands there twice")
    return dict(pairs)


def _manifest(path: Path) -> Iterator[_Found]:
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        where = f"{printable(path)}, line {number}"
        try:
            entry = json.loads(line, object_pairs_hook=_unique_keys)
        except ValueError as error:
            raise InputError(f"{where} is no JSON ({printable(error)})") from None
        if not isinstance(entry, dict) or not isinstance(entry.get("input"), str):
            raise InputError(f'{where} must be an object with "input", a path')
        if unknown := sorted(set(entry) - {"input", "output", "variables"}):
            raise InputError(f"{where} has {printable(unknown[0])}: there are input, output, variables")
        output, variables = entry.get("output"), entry.get("variables", [])
        if not (output is None or isinstance(output, str)) or not _are_texts(variables):
            raise InputError(f'{where}: "output" is a name, "variables" a list of names')
        source = entry["input"]
        source = source if is_remote(source) else str(Path(source).absolute())
        yield _Found(source, output=output, variables=tuple(variables))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _problem(target: str) -> str:
    """Why a name that follows from the input's can be none of an output; empty if it can."""
    if any(ord(c) < 32 for c in target):
        return "its name has control characters: rename it"
    if words := name_problem(PurePosixPath(target).name):
        return f"{words}: choose another pattern="
    if PurePosixPath(target).suffix.lower() not in SUFFIX_FORMATS:
        return f"output name {printable(target)} has none of {', '.join(SUFFIX_FORMATS)}: end pattern= in {{suffix}}"
    return ""


def _check_inside(target: str, source: str) -> str:
    """The output's name, which must not leave its folder."""
    normal = name_within(PurePath(target))
    if not normal or any(ord(c) < 32 for c in target):
        raise UsageError(f"the output of {printable(source)} leaves the folder of outputs: '{printable(target)}'")
    return normal


def name_within(target: PurePath) -> str:
    """Write the way of a path within a folder with ``/``; empty if it leads out of it, or nowhere."""
    normal = posixpath.normpath(target.as_posix())
    return "" if target.anchor or normal == "." or normal.startswith("..") else normal


def _refuse_collisions(items: Sequence[Item], folder: str) -> None:
    remote = is_remote(folder)
    sources = {item.source if is_remote(item.source) else os.path.realpath(item.source) for item in items}
    item_of: dict[str, Item] = {}
    for item in items:
        target = output_url(folder, item.target) if remote else os.path.realpath(output_path(folder, item.target))
        if (other := item_of.setdefault(target, item)) is not item:
            raise UsageError(
                f"{printable(other.source)} and {printable(item.source)} have the same output, "
                f"{printable(item.target)}: give a folder that holds both, or a manifest with names"
            )
        if target in sources:
            raise UsageError(f"output is an input: {printable(target)}: choose another output_dir= or pattern=")
        if not remote and not item.problem and (words := name_problem(Path(target).name)):
            raise OutputError(f"{words}: {printable(item.target)[:80]}...")
