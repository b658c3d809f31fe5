"""Calls of POSIX, and what stands in for them where they are missing; no other module asks for them.

Each is looked for where it is used, and has a stand-in where it is missing: on Windows, and in part on macOS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any

WINDOWS = os.name == "nt"

END_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that ask a run to end; SIGBREAK is Ctrl-Break on Windows, and what a parent there can send."""

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
"""Flag of what is opened only if it is no link; none on Windows, where links need rights that few have."""

BINARY = getattr(os, "O_BINARY", 0)
"""Flag of files whose line ends stay as they are; needed on Windows alone."""

_UNSYNCED = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP)
"""Numbers of errors of systems and file systems that cannot sync folders."""

_AT_FDCWD = -100
_EXCLUSIVELY, _EXCHANGING = {"renameat2": 1, "renamex_np": 4}, {"renameat2": 2, "renamex_np": 2}
"""Flags of renaming, by the function that takes them: Linux has the first, macOS the second."""


def _resource() -> Any:
    """Return the module of limits and usage of a process; None where there is none."""
    try:
        return import_module("resource")
    except ImportError:
        return None


def c_function(name: str) -> Any:
    """Return a function of the C library; None where it has none of this name."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), name, None)
    except (OSError, TypeError):  # Windows has no CDLL(None)
        return None


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    _sync(path, os.O_RDWR if WINDOWS else os.O_RDONLY)  # Windows flushes only what may be written


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, where folders can be synced."""
    try:
        _sync(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _UNSYNCED:
            raise


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def open_folder(path: Path) -> int | None:
    """Open a folder that is no link, to be locked; None on systems where folders cannot be opened."""
    directory = getattr(os, "O_DIRECTORY", None)
    return None if directory is None else os.open(path, os.O_RDONLY | directory | NO_FOLLOW)


def rename_exclusively(old: Path, new: Path) -> bool:
    """Rename a file or folder onto a free name in one step; False where the system or file system has no such call.

    Raises
    ------
    FileExistsError
        If the name is taken.
    """
    if WINDOWS:
        old.rename(new)
        return True
    return _rename(old, new, _EXCLUSIVELY)


def exchange(old: Path, new: Path) -> bool:
    """Let two names change places in one step; False where the system or file system has no such call."""
    return _rename(old, new, _EXCHANGING)


def _rename(old: Path, new: Path, flags: dict[str, int]) -> bool:
    names = os.fsencode(old), os.fsencode(new)
    if call := c_function("renameat2"):
        failed = call(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags["renameat2"])
    elif call := c_function("renamex_np"):
        failed = call(*names, flags["renamex_np"])
    else:
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(new))


def allocate_on_disk(file: IO[bytes], size: int) -> None:
    """Give a new file its size, and its room on the disk now: what is mapped cannot ask for room later.

    Raises
    ------
    OSError
        If the disk has no room for it.
    """
    if (reserve := getattr(os, "posix_fallocate", None)) is not None:
        reserve(file.fileno(), 0, size)
        return
    block = bytes(min(size, 2**24))
    for start in range(0, size, len(block)):
        file.write(block[: size - start])
    file.flush()


def limits_file_size() -> bool:
    """Tell whether this process may write files up to some size only (``ulimit -f``)."""
    limits = _resource()
    return limits is not None and limits.getrlimit(limits.RLIMIT_FSIZE)[0] != limits.RLIM_INFINITY


def peak_resident() -> int | None:
    """Largest resident memory of this process so far, bytes; None where the system does not tell it so."""
    usage = _resource()
    if usage is None:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others KiB
    return int(usage.getrusage(usage.RUSAGE_SELF).ru_maxrss) * unit


@contextmanager
def keep_interrupts_from_children() -> Iterator[None]:
    """Threads and processes that begin here never see a Ctrl-C, which a terminal sends to all of them at once."""
    posix: Any = signal
    if not hasattr(posix, "pthread_sigmask"):
        with _ignore_console():
            yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which unblocks the signal where it begins
    before = posix.pthread_sigmask(posix.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        posix.pthread_sigmask(posix.SIG_SETMASK, before)


@contextmanager
def _ignore_console() -> Iterator[None]:
    """On Windows: this process ignores a Ctrl-C for a moment, and processes that begin meanwhile for good."""
    libraries = getattr(ctypes, "windll", None)
    if libraries is None:
        yield
        return
    libraries.kernel32.SetConsoleCtrlHandler(None, 1)
    try:
        yield
    finally:
        libraries.kernel32.SetConsoleCtrlHandler(None, 0)
