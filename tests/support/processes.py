"""The command line in processes of its own, forked from one that has imported everything.

A run costs a twentieth of a second instead of two, and still is a process: exit code, signals, limits and stderr are
real. Only the interpreter's own end, which takes most of a short run's time, is left out unless asked for. Elsewhere
than on Linux each is started anew.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SELF = Path(__file__)
FORKS = sys.platform == "linux"
PRELOADED = (
    *(
        "cli.main",
        "cli.train_session",
        "engine.lazy",
        "engine.run",
        "formats.geotiff",
        "formats.netcdf",
        "formats.raster",
    ),
    *("formats.field_tiff", "formats.raster_cf", "formats.zarr", "networks.checkpoint", "networks.inference"),
    *("upscale.dataset", "upscale.fields", "upscale.file", "upscale.pairs", "upscale.raster", "upscale.sharpen"),
    *("upscale.via_cf", "batch.run", "evaluation.rasters", "pairs.train", "training.rasters"),
)
OTHERS = ("torch._dynamo", "distributed")
"""What optimisers import, and what clusters are made with."""

PATIENCE = 300
"""Seconds: only what hangs is ended, however busy the machine is."""


@dataclass(frozen=True)
class Finished:
    """How a process ended: its code (negative for a signal), what it said, and bytes at its peak."""

    code: int
    out: str
    err: str
    peak: int

    @property
    def errors(self) -> list[str]:
        """Lines that report errors."""
        return [line for line in self.err.splitlines() if line.startswith("geofsrcnn: error: ")]

    def refused(self, code: int) -> str:
        """The only line that is no warning, of a run that must have ended with `code`."""
        lines = [line for line in self.err.splitlines() if not line.startswith("geofsrcnn: warning: ")]
        assert (self.code, len(lines), len(self.errors)) == (code, 1, 1), self
        assert not self.out
        return lines[0].removeprefix("geofsrcnn: error: ")


class Run:
    """A process under way."""

    def __init__(self, connection: socket.socket, pid: int, pipes: tuple[int, int]) -> None:
        self._connection, self.pid, self._pipes = connection, pid, pipes

    def send(self, number: int) -> None:
        """Send a signal; one that comes too late is no error."""
        os.kill(self.pid, number)

    @property
    def ended(self) -> bool:
        """Whether it has come to its end, which `wait` tells of."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    def wait(self, timeout: float = PATIENCE) -> Finished:
        """Wait for its end; it is killed, and the test fails, after `timeout` seconds."""
        self._connection.send(json.dumps({"wait": self.pid, "timeout": timeout}).encode())
        reply = json.loads(self._connection.recv(65536))
        texts = []
        for pipe in self._pipes:
            with os.fdopen(pipe, encoding="utf-8", errors="replace") as file:
                texts.append(file.read())
        assert not reply["late"], f"not finished after {timeout} s: {texts}"
        return Finished(reply["code"], *texts, reply["peak"] * 1024)


class Alone:
    """A process under way that was started anew, where processes are not forked."""

    def __init__(self, request: dict[str, Any]) -> None:
        import pytest

        if missing := {"fsize", "uid"} & set(request):
            pytest.skip(f"needs {missing.pop()} of Linux")
        self._folder = tempfile.TemporaryDirectory()
        self._files = {name: Path(self._folder.name) / name for name in ("out", "err", "peak")}
        line = [sys.executable, str(SELF), json.dumps({**request, "peak": str(self._files["peak"])})]
        with self._files["out"].open("wb") as out, self._files["err"].open("wb") as err:
            self._process = subprocess.Popen(line, stdout=out, stderr=err)
        self.pid = self._process.pid

    def send(self, number: int) -> None:
        """Send a signal."""
        if os.name == "nt":
            import pytest

            pytest.skip("a signal ends a process at once on Windows")
        self._process.send_signal(number)

    @property
    def ended(self) -> bool:
        """Whether it has come to its end."""
        return self._process.poll() is not None

    def wait(self, timeout: float = PATIENCE) -> Finished:
        """Wait for its end; it is killed, and the test fails, after `timeout` seconds."""
        try:
            code = self._process.wait(timeout)
        finally:
            self._process.kill()
            self._process.wait()
        out, err = (self._files[name].read_text(encoding="utf-8", errors="replace") for name in ("out", "err"))
        peak = int(self._files["peak"].read_text(encoding="utf-8")) if self._files["peak"].exists() else 0
        self._folder.cleanup()
        return Finished(code, out, err, peak)


def start(*args: object, **setup: Any) -> Run | Alone:
    """Start ``geofsrcnn ARGS``.

    Setup: ``fsize`` (largest file, bytes), ``uid``, ``cwd``, ``env``, ``umask``, ``prelude`` (Python source run
    first), ``script`` (Python source run instead, with ``args``), ``end`` (let the interpreter end as it does for a
    user).
    """
    request = {"args": [str(a) for a in args], **setup}
    if not FORKS:
        return Alone(request)
    connection = _server()
    out, err = os.pipe(), os.pipe()
    socket.send_fds(connection, [json.dumps(request).encode()], [out[1], err[1]])
    os.close(out[1])
    os.close(err[1])
    return Run(connection, json.loads(connection.recv(65536))["pid"], (out[0], err[0]))


def run(*args: object, timeout: float = PATIENCE, **setup: Any) -> Finished:
    """Run ``geofsrcnn ARGS`` to its end."""
    return start(*args, **setup).wait(timeout)


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _keep.append(
        subprocess.Popen([sys.executable, str(SELF), str(theirs.fileno())], pass_fds=[theirs.fileno()])  # ends with us
    )
    theirs.close()
    return ours


_keep: list[Any] = []


def _serve(connection: socket.socket) -> None:
    for name in PRELOADED:
        __import__(f"geofsrcnn.{name}")
    for name in OTHERS:
        with suppress(ImportError):
            __import__(name)
    gc.freeze()  # children need not copy what is never collected
    while True:
        data, fds, *_ = socket.recv_fds(connection, 65536, 2)
        if not data:
            return
        request = json.loads(data)
        if "wait" in request:
            reply = _await(request["wait"], request["timeout"])
        else:
            pid = os.fork()
            if pid == 0:
                _child(request, fds)
                return
            reply = {"pid": pid}
            for fd in fds:
                os.close(fd)
        connection.send(json.dumps(reply).encode())


def _await(pid: int, timeout: float) -> dict[str, Any]:
    deadline, late = time.monotonic() + timeout, False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {"code": code, "peak": usage.ru_maxrss, "late": late}
        if time.monotonic() > deadline and not late:
            late = True
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _child(request: dict[str, Any], fds: list[int]) -> None:
    try:
        _run(request, fds)
    except SystemExit as end:
        if request.get("end") or not isinstance(end.code, int):
            raise
        code = end.code
    else:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(request: dict[str, Any], fds: list[int]) -> None:
    """In the child: set up, and do what the installed command does."""
    for fd, number in zip(fds, (1, 2), strict=False):  # none where it was started anew
        os.dup2(fd, number)
        os.close(fd)
    os.environ.update(request.get("env", {}))
    os.umask(request.get("umask", 0o022))
    os.chdir(request.get("cwd", "."))
    if "fsize" in request:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["fsize"], request["fsize"]))
    if "uid" in request:
        os.setgroups([])
        os.setgid(request["uid"])
        os.setuid(request["uid"])
    exec(request.get("prelude", ""), {})  # the tests' own words
    if "script" in request:
        exec(request["script"], {"args": request["args"]})
        return
    from geofsrcnn.cli.main import main

    sys.argv = ["geofsrcnn", *request["args"]]
    main()


def _run_alone(request: dict[str, Any]) -> None:
    """In a process that was started anew."""
    from geofsrcnn.machine import peak_memory

    try:
        _run(request, [])
    finally:
        Path(request["peak"]).write_text(str(peak_memory()), encoding="utf-8")


if __name__ == "__main__":
    sys.path[0] = str(SELF.parents[2])
    if sys.argv[1].isdigit():
        _serve(socket.socket(fileno=int(sys.argv[1])))
    else:
        _run_alone(json.loads(sys.argv[1]))
