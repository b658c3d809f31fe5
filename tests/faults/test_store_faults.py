"""Full disks, signals, kills, races and files that change, with NetCDF and Zarr: an output is whole or absent.

After each fault: the final name is absent or a whole store, old or new; the input is as it was; the exit code is the
stated one; the next run succeeds and leaves nothing beside its output. Each test requires that its fault occurred.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support import processes
from tests.support.grids import regular

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

SLOW = """
import time
import geofsrcnn.formats.netcdf, geofsrcnn.formats.zarr
for kind in (geofsrcnn.formats.netcdf.NetCDFWriter, geofsrcnn.formats.zarr.ZarrWriter):
    def write(*args, quick=kind.write):
        time.sleep(0.02)
        quick(*args)
    kind.write = write
"""
"""Writers that take their time: about a second for the field below."""


def values(path: Path) -> np.ndarray:
    """The field of a store, as stored."""
    engine = "zarr" if path.suffix == ".zarr" else "netcdf4"
    with xr.open_dataset(path, engine=engine, decode_cf=False) as dataset:
        assert set(dataset.variables) == {"tas", "time", "lat", "lon", "lat_bnds", "lon_bnds", "height"}
        return dataset["tas"].to_numpy()


def digests(path: Path) -> dict[str, str]:
    """Of a file, or of all files in a folder."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path.parent)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


class Work:
    """An input, an output name in an empty folder, and what a run without faults gives."""

    def __init__(self, folder: Path, suffix: str) -> None:
        for name in ("in", "out"):
            (folder / name).mkdir()
        dataset = regular(rows=36, columns=44, times=3)
        self.source, self.output = folder / "in" / f"coarse{suffix}", folder / "out" / f"fine{suffix}"
        if suffix == ".nc":
            dataset["tas"].encoding = {"zlib": True}
            dataset.to_netcdf(self.source, engine="netcdf4")
        else:
            dataset.to_zarr(self.source, zarr_format=2)
        self.options = ("-m", "bilinear", "--tile-size", 12, "--threads", 1, "-q")
        self.before = digests(self.source)
        done = self.run()
        assert (done.code, done.err) == (0, "")
        self.expected = values(self.output)
        self.sizes = [p.stat().st_size for p in [self.output, *self.output.rglob("*")] if p.is_file()]
        self.clear()

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

    def put_old(self) -> dict[str, str]:
        """An older output of the same kind; its digests."""
        done = processes.run("upscale", self.source, self.output, "-f", 2, "-m", "nearest", "-q", "--overwrite")
        assert done.code == 0
        return digests(self.output)

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
        assert digests(self.source) == self.before
        done = self.run("--overwrite", end=True)
        assert (done.code, done.err) == (0, "")
        assert self.check_output()
        assert self.left() == []

    def under_way(self, run: processes.Run) -> None:
        """Wait until a run has begun to write."""
        for _ in range(5000):
            if list(self.output.parent.glob(".fine.*.part/output.*")):
                return
            time.sleep(0.002)
        raise AssertionError(run.wait(1))


@pytest.fixture(params=[".nc", ".zarr"])
def work(request, tmp_path):
    """A fresh `Work` with each format."""
    return Work(tmp_path, request.param)


# ---------------------------------------------------------------------------------------------------- full disk

SWEEP = """
import json, os, resource, shutil, signal, sys, warnings
from pathlib import Path
import xarray as xr
from geofsrcnn import upscale_file
from geofsrcnn.errors import OutputError

source, output, size = args[0], Path(args[1]), int(args[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limits = sorted({size * i // 20 for i in range(21)} | set(range(size - 40, size + 1)) | {2 * size + 4096})
no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

def once(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        upscale_file(source, output, 3, "bilinear", threads=1, tile_size=12)
        error = None
    except OutputError as caught:
        error = str(caught)
    resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
    total = None
    if output.exists():
        engine = "zarr" if output.suffix == ".zarr" else "netcdf4"
        with xr.open_dataset(output, engine=engine, decode_cf=False) as d:
            total = float(d["tas"].to_numpy().astype("float64").sum())
        shutil.rmtree(output) if output.is_dir() else output.unlink()
    return [limit, error, total, os.listdir(output.parent)]

found = []
for limit in limits:  # each in a process of its own: HDF5 does not bear many files that could not be closed
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, json.dumps(once(limit)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as result:
        text = result.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, limit
    found.append(json.loads(text))
print(json.dumps(found))
"""


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 1.0])
def test_full_disk_on_the_command_line(work, part):
    """Exit 5 with one error line, whatever HDF5 does when the process ends; the old output stays."""
    old = work.put_old()
    done = work.run("--overwrite", fsize=int(max(work.sizes) * part) - 1, end=True)
    assert (done.code, len(done.errors)) == (5, 1), done
    assert digests(work.output) == old
    assert work.left() == []
    work.check_next_run()


def test_full_disk_at_many_sizes_and_each_of_the_last_bytes(work):
    """Wherever files can grow no more, also in the last bytes and at close: an error and nothing left, or all of it."""
    total, size = float(work.expected.astype("float64").sum()), max(work.sizes)
    done = processes.run(work.source, work.output, size, script=SWEEP, timeout=240)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found) > 55
    failed = 0
    for limit, error, result, left in found:
        assert left == []
        assert (error is None) == (result is not None)
        if limit < size:
            assert error, limit
        if error:
            failed += 1
            assert "\n" not in error
            assert "disk full?" in error or "is the disk full" in error or "free space?" in error, error
        if result is not None:
            assert result == total
    assert failed > 50
    assert found[-1][2] == total
    work.check_next_run()


@pytest.mark.parametrize("old", [False, True])
def test_a_real_full_file_system(work, tmp_path, old):
    """On a file system of 60 KiB: exit 5, one line, nothing left, the old output kept."""
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=60k tmpfs {small} && "
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", mount + "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no user namespace with a tmpfs here: {tried.stderr.strip()[:80]}")
    script = (
        "import sys; import geofsrcnn.upscale.task; geofsrcnn.files.staging.free_bytes = lambda _: 2**40;"
        "from geofsrcnn.cli.main import main; main()"
    )
    output = small / work.output.name
    command = [sys.executable, "-c", script, "upscale", work.source, output, *work.options, "--dtype", "float64"]
    if old:
        command.append("--overwrite")
        store = f"mkdir {output} && echo '{{}}' > {output}/.zgroup"
        mount += f"{store if output.suffix == '.zarr' else f'touch {output}'} && "
    line = mount + " ".join(f"'{part}'" for part in command) + f"; code=$?; ls -A {small}; exit $code"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == 5, done.stderr
    assert done.stdout.split() == ([output.name] if old else [])
    errors = [text for text in done.stderr.splitlines() if text.startswith("geofsrcnn: error: ")]
    assert len(errors) == 1


# ------------------------------------------------------------------------------------------------ signals, kills


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_the_run_cleanly(work, name):
    """SIGINT, SIGTERM, SIGHUP: 130, 143, 129 within a tile's time, nothing left, the old output kept."""
    old = work.put_old()
    run = work.start("--overwrite", prelude=SLOW, end=True)
    work.under_way(run)
    begin = time.monotonic()
    run.send(signal.Signals[name])
    done = run.wait()
    assert (done.code, done.out) == (SIGNALS[name], "")
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert time.monotonic() - begin < 2
    assert work.left() == []
    assert digests(work.output) == old
    work.check_next_run()


def test_signals_at_any_moment(work):
    """At whatever moment a signal comes: stopped with nothing left, or done with a whole output; never both."""
    moments = random.Random(20)
    slow = SLOW.replace("0.02", "0.004")
    took = work.run("--overwrite", prelude=slow).seconds
    codes: Counter[int] = Counter()
    for _ in range(9):
        work.clear()
        run = work.start(prelude=slow)
        time.sleep(moments.uniform(0, took))
        run.send(signal.SIGTERM)
        done = run.wait()
        codes[done.code] += 1
        whole = work.check_output()
        assert done.code in (0, 143, -signal.SIGTERM)
        assert whole == (done.code == 0)
        assert work.left() == []
    assert codes[143] >= 2, codes
    work.check_next_run()


def test_sigkill_at_any_moment(work):
    """Killed at random moments, the final name is absent or a whole store; the next run removes what was left."""
    moments = random.Random(21)
    slow = SLOW.replace("0.02", "0.004")
    took = work.run(prelude=slow).seconds
    killed = left = 0
    for _ in range(10):
        work.clear()
        run = work.start(prelude=slow)
        time.sleep(moments.uniform(0, took))
        run.send(signal.SIGKILL)
        killed += run.wait().code == -signal.SIGKILL
        work.check_output()
        left += bool(work.left())
    assert killed >= 5
    assert left >= 2  # each one is in the way of the next run, which removes it
    work.check_next_run()


def test_sigkill_while_an_old_output_is_replaced(work):
    """Killed at random moments, an old store is as it was or the new one is whole."""
    moments = random.Random(22)
    slow = SLOW.replace("0.02", "0.002")
    took = work.run(prelude=slow).seconds
    kept = 0
    for _ in range(6):
        old = work.put_old()
        run = work.start("--overwrite", prelude=slow)
        time.sleep(moments.uniform(0.3, 1.1) * took)
        run.send(signal.SIGKILL)
        run.wait()
        kept += digests(work.output) == old
        assert digests(work.output) == old or work.check_output()
    assert kept >= 2
    work.check_next_run()


def test_processes_that_race_for_one_output(work):
    """Of processes that start together with one output, exactly one succeeds, the others say that it exists."""
    for _ in range(3):
        work.clear()
        at = time.monotonic() + 1.0
        runs = [work.start(at=at, prelude=SLOW.replace("0.02", "0.004")) for _ in range(2)]
        done = [run.wait() for run in runs]
        assert sorted(d.code for d in done) == [0, 5]
        assert next(d for d in done if d.code).refused(5).startswith("output exists: ")
        assert work.check_output()
        assert work.left() == []
    work.check_next_run()


# ------------------------------------------------------------------------------------------------ inputs, results


def test_an_input_that_changes_during_the_run(work):
    """A NetCDF that is replaced, a Zarr whose metadata is: exit 3, and there is no output."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    mark = work.source if work.source.is_file() else work.source / ".zattrs"
    other = mark.with_name("other")
    other.write_bytes(mark.read_bytes())
    other.replace(mark)
    assert "was changed while it was read: run again" in run.wait().refused(3)
    assert not work.output.exists()
    assert work.left() == []


def test_an_output_folder_removed_during_the_run(work):
    """An output folder that vanishes is exit 5 in one line; Zarr may make it again, and then the store is whole."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    while work.output.parent.exists():
        shutil.rmtree(work.output.parent, ignore_errors=True)
    done = run.wait()
    if done.code or work.output.suffix == ".nc":
        assert (done.code, len(done.errors)) == (5, 1), done
        work.output.parent.mkdir()
    else:
        assert work.check_output()
    work.check_next_run()


FLIP = """
import os
from pathlib import Path
import geofsrcnn.formats.netcdf, geofsrcnn.formats.zarr
def flipped(finish):
    def flip(writer, *args):
        path = Path(writer._path)
        if path.is_file():
            writer._file.sync()
        else:
            path = max((p for p in (path / "tas").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        place = path.stat().st_size * 2 // 3
        with path.open("r+b") as file:
            file.seek(place)
            old = file.read(1)
            file.seek(place)
            file.write(bytes([old[0] ^ 1]))
        finish(writer, *args)
    return flip
for kind in (geofsrcnn.formats.netcdf.NetCDFWriter, geofsrcnn.formats.zarr.ZarrWriter):
    kind.finish = flipped(kind.finish)
"""


def test_a_byte_that_flips_before_it_is_read_back(work):
    """A bit that flips in the data is found: exit 5, nothing left; the fault-free run is well."""
    done = work.run(prelude=FLIP)
    assert (done.code, len(done.errors)) == (5, 1), done
    assert not work.output.exists()
    assert work.left() == []
    work.check_next_run()


def test_memory_does_not_grow_with_time(tmp_path):
    """A store 40 times as long takes hardly more memory."""
    peaks = []
    for times in (10, 400):
        source = tmp_path / f"{times}.zarr"
        field = np.ones((times, 100, 140), "float32")
        xr.Dataset({"z": (("time", "y", "x"), field)}, {"y": np.arange(100.0), "x": np.arange(140.0)}).to_zarr(
            source, encoding={"z": {"chunks": (10, 100, 140)}}, zarr_format=2
        )
        done = processes.run("upscale", source, tmp_path / f"{times}-fine.zarr", "-m", "nearest", "--threads", 1, "-q")
        assert (done.code, done.err) == (0, "")
        peaks.append(done.peak)
    assert peaks[1] - peaks[0] < 60 * 2**20  # the output has 192 MiB
