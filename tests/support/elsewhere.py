"""Processes such as on Windows: what POSIX has and Windows has not is taken away from them and all that they start.

Folders can be neither opened nor synced, files are synced only where they may be written, and what is open is neither
renamed nor removed. Libraries that have ways of their own there keep theirs here.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from tests.support.places import ROOT

MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
OF_OS = ("O_DIRECTORY", "O_NOFOLLOW", "fchmod", "posix_fallocate", "sched_getaffinity")
OF_SIGNAL = ("SIGHUP", "SIGKILL", "pthread_sigmask")

LIBRARIES = ("filelock", "locket", "psutil")
"""Libraries with ways of their own for each system."""

START = "from tests.support import elsewhere\nelsewhere.take_away()\n"

MAPS = Path("/proc/self/maps")

IN_USE, DENIED, EXISTS = 32, 5, 183
"""Numbers of errors of Windows."""


def refuse(number, path, kind=PermissionError):
    """An error as Windows raises it."""
    error = kind(17 if kind is FileExistsError else 13, "refused as on Windows", str(path))
    error.winerror = number
    raise error


def refuse_open(path):
    """Refuse to touch what this process has open or mapped, or a folder that holds such a file."""
    path = os.path.realpath(path)
    opened = [line.split(maxsplit=5)[-1] for line in MAPS.read_text(encoding="utf-8").splitlines()]
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            opened.append(str(each.readlink()))
    if any(each == path or each.startswith(f"{path}/") for each in opened):
        refuse(IN_USE, path)


def open_(path, flags, *more, real=os.open, **options):
    """Open no folders."""
    if isinstance(path, (str, bytes, os.PathLike)) and Path(os.fsdecode(path)).is_dir():
        refuse(DENIED, path)
    return real(path, flags, *more, **options)


def fsync(number, real=os.fsync):
    """Sync only what may be written."""
    flags = Path(f"/proc/self/fdinfo/{number}").read_text(encoding="ascii").split("flags:")[1].split()[0]
    if not int(flags, 8) & (os.O_WRONLY | os.O_RDWR):
        raise OSError(9, "refused as on Windows")
    real(number)


def rename(old, new, *, real=os.rename):
    """Replace nothing."""
    refuse_open(old)
    if os.path.lexists(new):
        refuse(EXISTS, new, FileExistsError)
    real(old, new)


def replace(old, new, *, real=os.replace):
    """Replace no folder, and nothing that is open."""
    refuse_open(old)
    refuse_open(new)
    if Path(new).is_dir():
        refuse(DENIED, new)
    real(old, new)


def unlink(path, *, dir_fd=None, real=os.unlink):
    """Remove nothing that is open."""
    if dir_fd is None:
        refuse_open(path)
    real(path, dir_fd=dir_fd)


class Library(ctypes.CDLL):
    """No library without a name."""

    def __init__(self, name, *more, **options):
        if name is None:
            raise TypeError("there is no CDLL(None) on Windows")
        super().__init__(name, *more, **options)


def take_away() -> None:
    """Take POSIX away from this process, before it imports anything that would keep a part of it."""
    for each in LIBRARIES:
        with suppress(ImportError):
            import_module(each)
    for each in MODULES:
        sys.modules[each] = None  # type: ignore[assignment]
    for each in OF_OS:
        delattr(os, each)
    for each in OF_SIGNAL:
        delattr(signal, each)
    os.open, os.fsync, os.rename, os.replace, os.unlink, os.remove = open_, fsync, rename, replace, unlink, unlink
    ctypes.CDLL = Library
    shutil._use_fd_functions = False

    from geofsrcnn import system

    system.WINDOWS = True


def python(folder: Path, *args: object, elsewhere: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run Python as on Windows, or as here; the folder gets what it begins with."""
    from tests.support.processes import PATIENCE

    (folder / "sitecustomize.py").write_text(START if elsewhere else "", encoding="utf-8")
    everything = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", **env}
    line = [sys.executable, *map(str, args)]
    return subprocess.run(line, env=everything, capture_output=True, encoding="utf-8", timeout=PATIENCE, check=False)
