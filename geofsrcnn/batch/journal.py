"""The journal of a batch run: one JSON line a file, appended and fsynced, so that a killed run can be resumed."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from geofsrcnn.errors import OutputError, UsageError, printable
from geofsrcnn.files.locks import lock_file
from geofsrcnn.system import BINARY

VERSION = 1

NAME = "geofsrcnn-batch.jsonl"

BEGIN = b'{"journal"'
"""How each begins."""


@dataclass
class JournalState:
    """The work of the runs before this one, as their journal says.

    Parameters
    ----------
    begun : set of str
        Outputs that they may have written.
    last : dict
        The last word about each output.
    """

    begun: set[str] = field(default_factory=set)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_journal(path: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> JournalState:
    """Return what a `Journal` with these arguments would begin with; nothing is written or locked.

    Raises
    ------
    OutputError, UsageError
        As `Journal` would.
    """
    try:
        data = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"cannot read the journal {printable(path)} ({error.strerror})") from error
    return _parse(data, path, json.loads(json.dumps(settings)), resume=resume, overwrite=overwrite) or JournalState()


def _parse(data: bytes, path: Path, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> JournalState | None:
    """Return what is to be resumed; None to begin anew."""
    shown = printable(path)
    if not (data.startswith(BEGIN) or BEGIN.startswith(data)):
        raise OutputError(f"this is no journal: {shown}: name another file, or move it away")
    lines = _lines(data, path)
    head = next(lines, None)
    if head is None:
        return None
    earlier = JournalState()
    for line in lines:
        _take(earlier, line)
    empty = not (earlier.begun or earlier.last)  # of a run that found no cluster
    if not (empty or resume or overwrite):
        raise OutputError(
            f"an earlier run has a journal here: {shown}: use resume=True to go on, overwrite=True to begin anew"
        )
    if head.get("journal") != VERSION or not isinstance(head.get("settings"), dict):
        raise OutputError(f"no journal of this version: {shown}: move it away")
    if empty:
        return None
    before, wanted = _flat(head["settings"]), _flat(settings)
    differing = sorted(key for key in {*before, *wanted} if before.get(key) != wanted.get(key))
    if differing and not overwrite:
        was, now = (printable(each.get(differing[0], "none")) for each in (before, wanted))
        raise UsageError(
            f"the run to resume had another {' and '.join(differing)} ({was}, not {now}): give it the same, or begin "
            "anew with overwrite=True"
        )
    return None if differing or not resume else earlier


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, each option for itself."""
    options = settings.get("options")
    each = options if isinstance(options, dict) else {}
    return {**{key: value for key, value in settings.items() if key != "options"}, **each}


def _lines(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines."""
    for number, line in enumerate(io.BytesIO(data), 1):
        if not line.endswith(b"\n"):
            return
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict):
            raise OutputError(f"the journal is damaged: {printable(path)}, line {number}: move it away")
        yield {sys.intern(key): value for key, value in entry.items()}


def _take(known: JournalState, line: dict[str, Any]) -> None:
    output = str(line.get("output"))
    if line.get("state") == "begun":
        known.begun.add(output)
    else:
        known.last[output] = line


class Journal:
    """The journal of a folder of outputs; locked while it is open.

    Parameters
    ----------
    path : Path
        The file; its folder exists.
    settings : mapping
        Settings that all outputs depend on: model, factor, options, as plain values.
    resume : bool
        Go on from an earlier journal, if there is one.
    overwrite : bool
        Begin anew even if there is one, and with `resume`, even if it has other settings.

    Raises
    ------
    OutputError
        If another run holds it, it cannot be read or written, or there is one without `resume`.
    UsageError
        If the earlier run had other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        self.path = path
        self.earlier = JournalState()
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | BINARY, 0o666)
        except OSError as error:
            raise OutputError(f"cannot write the journal {printable(path)} ({error.strerror})") from error
        try:
            self._lock()
            self._begin(json.loads(json.dumps(settings)), resume=resume, overwrite=overwrite)
        except BaseException:
            os.close(self._file)
            raise

    def _lock(self) -> None:
        try:
            lock_file(self._file)
        except BlockingIOError:
            raise OutputError(f"another batch run writes here: {printable(self.path)} is locked: wait for it") from None
        except OSError:  # a file system without locks: two runs at once do the work twice, and harm nothing else
            pass

    def _begin(self, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        with os.fdopen(os.dup(self._file), "rb") as file:
            file.seek(0)
            data = file.read()
        earlier = _parse(data, self.path, settings, resume=resume, overwrite=overwrite)
        if earlier is None:
            os.ftruncate(self._file, 0)
            self._append({"journal": VERSION, "settings": settings})
            return
        self.earlier = earlier
        if not data.endswith(b"\n"):  # a torn last line, of a run that was killed
            os.ftruncate(self._file, data.rfind(b"\n") + 1)

    def write(self, state: str, output: str, **facts: Any) -> None:
        """Append a line about an output, on the disk when this returns.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        self._append({"state": state, "output": output, **facts})

    def _append(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, ensure_ascii=True, allow_nan=False) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(f"cannot write the journal {printable(self.path)} ({error.strerror})") from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
