"""Locks that say whether the process that took them still lives: the system gives them up when it ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from geofsrcnn import system

NAME = "lock"
"""File in a folder that is locked in its place, where folders cannot be opened."""


def lock_file(number: int) -> None:
    """Lock an open file or folder for this process, until it is closed.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    OSError
        If the file system has no locks.
    """
    from filelock import lock_descriptor

    if not lock_descriptor(number, blocking=False):
        raise BlockingIOError


def open_to_lock(folder: Path) -> int:
    """Open a folder that is no link, or where folders cannot be opened, a file in it."""
    number = system.open_folder(folder)
    if number is not None:
        return number
    if folder.is_symlink() or not folder.is_dir():
        raise NotADirectoryError(str(folder))
    return os.open(folder / NAME, os.O_RDWR | os.O_CREAT | system.NO_FOLLOW | system.BINARY)


def remove_dead(folder: Path, rescue: Callable[[Path], None]) -> None:
    """Remove a folder whose process is dead, once `rescue` has seen it; one in use, or that cannot be locked, stays."""
    try:
        number = open_to_lock(folder)
    except OSError:
        return
    try:
        lock_file(number)
        rescue(folder)
        shutil.rmtree(folder, ignore_errors=True)  # while it is locked: nobody takes it up in between
    except OSError:
        return
    finally:
        os.close(number)
    with suppress(OSError):  # what is open cannot be removed on Windows
        (folder / NAME).unlink()
        folder.rmdir()
