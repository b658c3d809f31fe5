"""A run that faults happen to: its input, its output, what it gives undisturbed, and a gate that it waits at.

Nothing here depends on how fast a machine is: a run waits at the gate until a test has done its worst, and the
clocks, minutes, only end what hangs.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr

from tests.support import processes
from tests.support.grids import regular
from tests.support.rasters import read, terrain, write

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

WRITES = ("formats.geotiff:GeoTiffSink._write", "formats.netcdf:NetCDFWriter._write", "formats.zarr:ZarrWriter._write")
"""Of a tile."""

STEPS = ("cli.signals:Request.check",)
"""Before each step of a training, where it looks whether a signal came."""

JOURNAL = ("batch.run:_Batch._finish",)
"""Before the line in the journal about a file that a batch run has done."""

GATE = """
import importlib, os, time
from pathlib import Path
from geofsrcnn.cli.signals import REQUEST

folder, begun = Path({folder!r}), 0
for place in {places!r}:
    module, _, name = place.partition(":")
    owner = getattr(importlib.import_module("geofsrcnn." + module), name.split(".")[0])
    name = name.split(".")[1]
    def gated(*args, go_on=getattr(owner, name), **options):
        global begun
        begun += 1
        with (folder / "begun").open("a") as log:
            log.write("x")
        if begun == {at}:
            (folder / f"waits-{{os.getpid()}}").touch()
            while not (folder / "open").exists():
                if REQUEST.number is not None:
                    (folder / "asked").touch()
                time.sleep(0.002)
        return go_on(*args, **options)
    setattr(owner, name, gated)
"""
"""Calls are counted, and the process waits before one of them until the gate is open."""


FULL = """
import ctypes, os, sys
from pathlib import Path

folder, size = {folder!r}, {size!r}
of_c, ids = ctypes.CDLL(None, use_errno=True), (os.getuid(), os.getgid())
user_and_mounts, private, recursive = 0x10020000, 0x40000, 0x4000

def done(result):
    if result:
        raise OSError(ctypes.get_errno(), "refused")

try:
    done(of_c.unshare(user_and_mounts))
    Path("/proc/self/setgroups").write_text("deny")
    for kind, own in zip(("uid", "gid"), ids):
        Path("/proc/self/" + kind + "_map").write_text("0 " + str(own) + " 1")
    done(of_c.mount(b"none", b"/", None, recursive | private, None))
    done(of_c.mount(b"tmpfs", folder.encode(), b"tmpfs", 0, b"size=" + size.encode()))
except OSError as error:
    print(error, flush=True)
    os._exit({none})
{more}
if pid := os.fork():
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(*sorted(os.listdir(folder)), sep="\\n", flush=True)
    os._exit(code)
"""
"""The process goes on with a file system of its own in a folder; when it has ended, what lies there is printed."""

NO_FULL = 77
"""The exit code where the kernel gives none."""


def full(folder: Path, size: str, more: str = "") -> str:
    """A prelude: a file system of so many bytes, that only this process sees, and what is done there first."""
    folder.mkdir()
    return FULL.format(folder=str(folder), size=size, more=more, none=NO_FULL)


def until(condition: Callable[[], object], run: processes.Run | None = None, patience: float = 300) -> None:
    """Wait until something is so; the test fails, with what the run said, if it never is."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline or (run is not None and run.ended):
            raise AssertionError(f"never so: {run and run.wait(1)}")
        time.sleep(0.002)


class Gate:
    """Where runs wait, before one of their calls of some function (the first is 1; at 0 they are counted only)."""

    def __init__(self, folder: Path, at: int = 0, places: tuple[str, ...] = WRITES) -> None:
        folder.mkdir(parents=True)
        self.folder, self.prelude = folder, GATE.format(folder=str(folder), at=at, places=places)

    @property
    def begun(self) -> int:
        """Calls that have begun."""
        log = self.folder / "begun"
        return log.stat().st_size if log.exists() else 0

    def reached(self, *runs: processes.Run) -> None:
        """Wait until all of these runs wait here."""
        for run in runs:
            until(lambda run=run: (self.folder / f"waits-{run.pid}").exists(), run)

    def asked(self, run: processes.Run) -> None:
        """Wait until a run that waits here has taken note of a signal."""
        until((self.folder / "asked").exists, run)

    def open(self) -> None:
        """Let them go on."""
        (self.folder / "open").touch()


def facts(path: Path) -> dict[str, tuple[str, int, int]]:
    """Content, time and inode of a file, or of all files in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    found = {}
    for each in files:
        status = each.stat()
        content = hashlib.sha256(each.read_bytes()).hexdigest()
        found[str(each.relative_to(path.parent))] = (content, status.st_mtime_ns, status.st_ino)
    return found


def values(path: Path) -> np.ndarray:
    """The field of a file, as stored."""
    if path.suffix == ".tif":
        return read(path)
    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine, decode_cf=False) as dataset:
        assert set(dataset.variables) == {"tas", "time", "lat", "lon", "lat_bnds", "lon_bnds", "height"}
        return dataset["tas"].to_numpy()


class Undisturbed:
    """An input, what a run gives that nothing happens to, and an older output: made once for all that begin so."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self.source, self.output = folder / f"coarse{suffix}", folder / f"fine{suffix}"
        self.older = folder / "older" / f"fine{suffix}"
        if suffix == ".tif":
            write(self.source, terrain((96, 112)).astype("float32"))
        else:
            dataset = regular(rows=36, columns=44, times=3)
            dataset["tas"].encoding = {"zlib": True} if suffix == ".nc" else {}
            if suffix == ".nc":
                dataset.to_netcdf(self.source, engine="netcdf4")
            else:
                dataset.to_zarr(self.source, zarr_format=2)
        tile = 16 if suffix == ".tif" else 12
        self.options = ("-m", "bilinear", "--tile-size", tile, "--threads", 1, "-q")
        gate = Gate(folder / "gate")
        done = processes.run("upscale", self.source, self.output, *self.options, prelude=gate.prelude, end=True)
        assert (done.code, done.err) == (0, "")
        self.writes = gate.begun
        assert self.writes >= 12
        self.expected = values(self.output)
        self.sizes = [p.stat().st_size for p in [self.output, *self.output.rglob("*")] if p.is_file()]
        self.older.parent.mkdir()
        done = processes.run("upscale", self.source, self.older, "-f", 2, "-m", "nearest", "-q")
        assert done.code == 0, done


def copied(path: Path, to: Path) -> None:
    """A copy of a file or a store."""
    if path.is_dir():
        shutil.copytree(path, to)
    else:
        shutil.copy(path, to)


class Work:
    """An input and an output name in an empty folder, beside what a run without faults gives."""

    def __init__(self, folder: Path, undisturbed: Undisturbed) -> None:
        for name in ("in", "out"):
            (folder / name).mkdir()
        self.folder, self.gates = folder, 0
        self.source = folder / "in" / undisturbed.source.name
        self.output = folder / "out" / undisturbed.output.name
        copied(undisturbed.source, self.source)
        self.before = facts(self.source)
        self.older, self.options, self.writes = undisturbed.older, undisturbed.options, undisturbed.writes
        self.expected, self.sizes = undisturbed.expected, undisturbed.sizes

    def gate(self, at: int = 0) -> Gate:
        """A new gate."""
        self.gates += 1
        return Gate(self.folder / "gates" / str(self.gates), at)

    def clear(self) -> None:
        """Remove the output."""
        if self.output.is_dir():
            shutil.rmtree(self.output)
        self.output.unlink(missing_ok=True)

    def start(self, *more: object, **setup: object) -> processes.Run:
        """Start a run."""
        return processes.start("upscale", self.source, self.output, *self.options, *more, **setup)

    def run(self, *more: object, **setup: object) -> processes.Finished:
        """Run to the end."""
        return self.start(*more, **setup).wait()

    def begun(self, *more: object, at: int = 3, **setup: object) -> tuple[processes.Run, Gate]:
        """A run that has begun to write, and waits; and its gate."""
        gate = self.gate(at)
        run = self.start(*more, prelude=gate.prelude, **setup)
        gate.reached(run)
        assert list(self.output.parent.glob(".fine.*.part/output.*"))
        return run, gate

    def put_old(self) -> dict[str, tuple[str, int, int]]:
        """An older output of the same kind; what it is."""
        self.clear()
        copied(self.older, self.output)
        return facts(self.output)

    def left(self) -> list[str]:
        """Names beside the output, hidden ones too."""
        return sorted(p.name for p in self.output.parent.iterdir() if p != self.output)

    def check_output(self) -> bool:
        """Whether there is an output, which must then be whole."""
        if not self.output.exists():
            return False
        assert np.array_equal(values(self.output), self.expected)
        return True

    def check_next_run(self) -> None:
        """The next run is as good as the first and cleans up; the input never changed."""
        assert facts(self.source) == self.before
        done = self.run("--overwrite")  # an end of the interpreter as that of every run that nothing happens to
        assert (done.code, done.err) == (0, "")
        assert self.check_output()
        assert self.left() == []
