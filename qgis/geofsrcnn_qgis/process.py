# SPDX-License-Identifier: GPL-2.0-or-later
"""Other programs: what they see of our environment, their lines as they come, how they end. No QGIS here."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess  # nosec B404
import sys
import threading
from pathlib import Path
from typing import Callable, Iterable, Mapping, Sequence

WINDOWS = sys.platform == "win32"

ALLOWED = re.compile(
    r"HOME|USER|LOGNAME|USERNAME|SHELL|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TMP|TEMP|XDG_\w+_HOME"
    r"|SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|HOMEDRIVE|HOMEPATH|APPDATA|LOCALAPPDATA|PROGRAMDATA"
    r"|PROGRAMFILES|NUMBER_OF_PROCESSORS|PROCESSOR_ARCHITECTURE"
    r"|HTTPS?_PROXY|NO_PROXY|ALL_PROXY|CUDA_VISIBLE_DEVICES|(OMP|OPENBLAS|MKL)_NUM_THREADS",
    re.IGNORECASE,
)
"""Variables that another program may see.

QGIS sets many for its own Python, GDAL and PROJ (PYTHONHOME, PYTHONPATH, PYTHONEXECUTABLE, PROJ_LIB, GDAL_DRIVER_PATH),
with which another Python does not start, or works with the wrong data. So only what is known to be needed goes through.
"""

PATIENCE = 120
"""Seconds that a program has to clean up after it was asked to end; a step of a slow computer fits well within."""


class ToolError(Exception):
    """What went wrong, in one line for the user."""


class Cancelled(Exception):
    """The user asked for the end; the program has ended, and has left nothing."""


class Listener:
    """Who wants to know how a program gets on; nobody, unless a subclass says more."""

    def progress(self, done: float, total: float) -> None:
        """Take how much is done of how much."""

    def warn(self, text: str) -> None:
        """Take a warning."""

    def say(self, text: str) -> None:
        """Take another line."""

    def cancelled(self) -> bool:
        """Tell whether the program is to end."""
        return False


def environment(folder: Path, more: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that a program in a folder may see, `more` of ours among them."""
    names = set(more)
    found = {name: value for name, value in os.environ.items() if ALLOWED.fullmatch(name) or name in names}
    root = os.environ.get("SYSTEMROOT", r"C:\Windows")
    system = [rf"{root}\System32", root] if WINDOWS else ["/usr/local/bin", "/usr/bin", "/bin"]
    return {**found, "PATH": os.pathsep.join([str(folder), *system]), "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1"}


def run(
    command: Sequence[str],
    variables: Mapping[str, str],
    take: Callable[[str], None],
    cancelled: Callable[[], bool],
    *,
    stops_with_stdin: bool = True,
) -> tuple[int, str]:
    """Run a program to its end.

    Parameters
    ----------
    command : sequence of str
        Path of the program, and its arguments; no shell sees them.
    variables : mapping
        Its environment, all of it.
    take : callable
        Called with each line that it writes to stderr, and with those of stdout if it does not stop with stdin.
    cancelled : callable
        Asked some times a second whether it is to end.
    stops_with_stdin : bool
        True if it ends cleanly when its standard input does; else it and what it started are ended by force.

    Returns
    -------
    code : int
        Its exit code.
    out : str
        What it wrote to stdout; nothing if that was given to `take`.

    Raises
    ------
    Cancelled
        If it was to end, and has ended.
    ToolError
        If it cannot be started.
    """
    try:
        process = subprocess.Popen(  # nosec B603  # a list of arguments; no shell
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stops_with_stdin else subprocess.STDOUT,
            env=dict(variables),
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=not (stops_with_stdin or WINDOWS),
        )
    except OSError as error:
        raise ToolError(f"{command[0]} cannot be run ({error.strerror})") from None
    out: list[str] = []
    lines: queue.Queue[str | None] = queue.Queue()
    told = process.stderr if stops_with_stdin else process.stdout
    threads = [threading.Thread(target=_read, args=(told, lines.put), daemon=True)]
    if stops_with_stdin:
        threads.append(threading.Thread(target=lambda: out.append(process.stdout.read()), daemon=True))
    for thread in threads:
        thread.start()
    try:
        _listen(lines, take, cancelled)
        code = process.wait()
    except BaseException:
        _end(process, stops_with_stdin=stops_with_stdin)
        raise
    finally:
        for thread in threads:
            thread.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()
    return code, "".join(out)


def _read(pipe: Iterable[str], put: Callable[[str | None], None]) -> None:
    """Pass lines on, and None after the last."""
    for line in pipe:
        put(line.rstrip("\r\n"))
    put(None)


def _listen(lines: queue.Queue[str | None], take: Callable[[str], None], cancelled: Callable[[], bool]) -> None:
    """Pass lines on until the last, and look between them whether the end is asked for."""
    while True:
        if cancelled():
            raise Cancelled
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        if line is None:
            return
        take(line)


def _end(process: subprocess.Popen[str], *, stops_with_stdin: bool) -> None:
    """End a program: by the end of its input, and by force if that takes too long or means nothing to it."""
    process.stdin.close()
    if stops_with_stdin:
        try:
            process.wait(PATIENCE)
            return
        except subprocess.TimeoutExpired:
            process.kill()
    elif WINDOWS:
        process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            process.kill()
    process.wait()
