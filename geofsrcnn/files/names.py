"""Names of files: what file systems and GDAL take them for."""

from __future__ import annotations

import ntpath
import os
import sys
from pathlib import PureWindowsPath

from geofsrcnn import system

_LONGEST = 255  # bytes of a name

_RESERVED = frozenset('<>:"/\\|?*')
"""Characters that no name on Windows has."""


def name_problem(name: str) -> str:
    """Say why no output can have a name: it is too long, or Windows keeps it; nothing if it can."""
    if len(os.fsencode(name)) > _LONGEST:
        return f"output name is longer than {_LONGEST} bytes"
    return "output name is one that Windows reserves" if system.WINDOWS and is_reserved(name) else ""


def is_reserved(name: str) -> bool:
    """Tell whether Windows takes a name for a device (``aux.tif``), a stream of a file, or another name."""
    if not _RESERVED.isdisjoint(name) or name.endswith((" ", ".")):
        return True
    if sys.version_info >= (3, 13):
        return ntpath.isreserved(name)
    return PureWindowsPath(name).is_reserved()


def scheme_of(text: str) -> str:
    """Return what stands before the first colon of a name; nothing for a drive of Windows, which has one letter."""
    head, colon, _ = text.partition(":")
    return head if colon and len(head) > 1 else ""


def is_path(name: str) -> bool:
    """Tell whether a name leads through folders."""
    return any(each is not None and each in name for each in (os.sep, os.altsep))
