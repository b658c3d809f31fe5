"""Full disks, signals, kills, races and files that change: an output is whole or absent, and the next run is well.

After each fault: the final name is absent or a whole file, old or new; the input is as it was; the exit code is the
stated one; the next run succeeds and leaves nothing beside its output. Each test requires that its fault occurred.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.support import processes
from tests.support.rasters import digest, read, state, terrain, write

SIGNALS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}

SLOW = """
import time
from geofsrcnn.formats.geotiff import GeoTiffSink
quick = GeoTiffSink.write
def write(*args):
    time.sleep(0.02)
    quick(*args)
GeoTiffSink.write = write
"""
"""A writer that takes its time: about a second for the raster below."""

STUCK = """
import time
import geofsrcnn.engine.run as predict
quick = predict.upscale_tile
def upscale_tile(*args):
    time.sleep(5)
    return quick(*args)
predict.upscale_tile = upscale_tile
"""
"""A tile that takes five seconds."""


class Work:
    """An input, an output name in an empty folder, and what a run without faults gives."""

    def __init__(self, folder: Path) -> None:
        for name in ("in", "out"):
            (folder / name).mkdir()
        self.source = write(folder / "in" / "coarse.tif", terrain((96, 112)).astype("float32"))
        self.output = folder / "out" / "fine.tif"
        self.options = ("-m", "bilinear", "--tile-size", 16, "--threads", 1, "-q")
        self.before = state(self.source)
        assert self.run().code == 0
        self.expected = read(self.output)
        self.size = self.output.stat().st_size
        self.output.unlink()

    def start(self, *more: object, **setup: object) -> processes.Run:
        """Start a run."""
        return processes.start("upscale", self.source, self.output, *self.options, *more, **setup)

    def run(self, *more: object, **setup: object) -> processes.Finished:
        """Run to the end."""
        return self.start(*more, **setup).wait()

    def left(self) -> list[str]:
        """Names beside the output, hidden ones too."""
        return sorted(p.name for p in self.output.parent.iterdir() if p != self.output)

    def check_output(self) -> bool:
        """Whether there is an output, which must then be whole."""
        if not self.output.exists():
            return False
        assert np.array_equal(read(self.output), self.expected)
        return True

    def check_next_run(self) -> None:
        """The next run is as good as the first and cleans up; the input never changed."""
        assert state(self.source) == self.before
        done = self.run("--overwrite", end=True)
        assert (done.code, done.err) == (0, "")
        assert self.check_output()
        assert self.left() == []

    def under_way(self, run: processes.Run) -> Path:
        """Wait until a run has begun to write; the file that it writes."""
        for _ in range(3000):
            found = list(self.output.parent.glob(".fine.tif.*.part/output.tif"))
            if found:
                return found[0]
            time.sleep(0.002)
        raise AssertionError(run.wait(1))


@pytest.fixture
def work(tmp_path):
    """A fresh `Work`."""
    return Work(tmp_path)


# ---------------------------------------------------------------------------------------------------- full disk

SWEEP = """
import json, os, resource, signal, sys
from pathlib import Path
import numpy as np, rasterio
from geofsrcnn import upscale_raster
from geofsrcnn.errors import OutputError

source, output, forms, size = args[0], Path(args[1]), json.loads(args[2]), int(args[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff's own words
limits = sorted({size * i // 24 for i in range(25)} | set(range(size - 66, size + 1)) | {size + 4096, 2 * size})
found = []
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        upscale_raster(source, output, 3, "bilinear", threads=1, **forms)
        error = None
    except OutputError as caught:
        error = str(caught)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    total = None
    if output.exists():
        with rasterio.open(output) as d:
            total = float(d.read().astype("float64").sum())
        output.unlink()
    found.append([limit, error, total, os.listdir(output.parent)])
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "form", [{}, {"co": {"COMPRESS": "NONE"}}, {"co": {"TILED": "NO", "COMPRESS": "LZW"}}, {"cog": True}], ids=str
)
def test_full_disk_at_every_size_and_each_of_the_last_bytes(work, form):
    """Wherever the disk ends, also in the last 64 bytes and at close: an error and nothing left, or a whole file."""
    from geofsrcnn import upscale_raster

    upscale_raster(work.source, work.output, 3, "bilinear", threads=1, **form)
    size, total = work.output.stat().st_size, float(read(work.output).astype("float64").sum())
    work.output.unlink()
    done = processes.run(work.source, work.output, json.dumps(form), size, script=SWEEP)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found) > 85
    for limit, error, result, left in found:
        assert left == []
        assert (error is None) == (result is not None)
        if limit < size:
            assert error, limit
            assert error.endswith(("is the disk full?", "free space?", "check the creation options")), error
        if result is not None:
            assert result == total
    assert found[-1][2] == total
    work.check_next_run()


def test_full_disk_on_the_command_line(work):
    """A full disk is exit 5, one error line, nothing left; the old output stays with --overwrite."""
    for old in (False, True):
        if old:
            work.output.write_bytes(b"the old one")
        done = work.run("--overwrite", fsize=work.size // 2)
        assert (done.code, len(done.errors)) == (5, 1)
        others = [line for line in done.err.splitlines() if line not in done.errors]
        assert all(line.startswith("_tiff") for line in others)  # libtiff's own words, past GDAL's handler
        assert work.left() == []
        assert work.output.exists() == old
    assert work.output.read_bytes() == b"the old one"
    work.check_next_run()


TMPFS = """
import sys
sys.argv = ["geofsrcnn", *sys.argv[1:]]
import geofsrcnn.upscale.task
if "--cog" in sys.argv:
    geofsrcnn.files.staging.free_bytes = lambda _: 2**40  # another process takes the space after the check
from geofsrcnn.cli.main import main
main()
"""


@pytest.mark.parametrize(("option", "code"), [("--cog", 5), ("-q", 6)])
def test_a_real_full_file_system(work, tmp_path, option, code):
    """On a file system of 1 MiB, space is checked before the start, and running out of it on the way is exit 5."""
    small = tmp_path / "small"
    small.mkdir()
    noise = np.random.default_rng(0).normal(size=(260, 260)).astype("float32")
    source = write(tmp_path / "noise.tif", noise)
    mount = f"mount -t tmpfs -o size=1m tmpfs {small} && "
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", mount + "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no user namespace with a tmpfs here: {tried.stderr.strip()[:80]}")
    command = [sys.executable, "-c", TMPFS, "upscale", source, small / "out.tif", "-f", "2", "-m", "nearest", option]
    line = mount + " ".join(f"'{part}'" for part in command) + f"; code=$?; ls -A {small}; exit $code"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", line], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    errors = [text for text in done.stderr.splitlines() if not text.startswith("_tiff")]
    assert len(errors) == 1
    assert errors[0].startswith("geofsrcnn: error: ")
    assert ("is the disk full?" if code == 5 else "are free where it goes") in errors[0]


# ------------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("old", [False, True])
def test_a_signal_ends_the_run_cleanly(work, name, old):
    """SIGINT, SIGTERM, SIGHUP: 130, 143, 129 within a tile's time, nothing left, the old output kept."""
    if old:
        work.output.write_bytes(b"the old one")
    run = work.start("--overwrite", prelude=SLOW, end=True)
    work.under_way(run)
    begin = time.monotonic()
    run.send(signal.Signals[name])
    done = run.wait()
    assert (done.code, done.out) == (SIGNALS[name], "")
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert time.monotonic() - begin < 2
    assert work.left() == []
    assert work.output.exists() == old
    if old:
        assert work.output.read_bytes() == b"the old one"
    work.check_next_run()


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT"), ("SIGHUP", "SIGTERM")])
def test_a_second_signal_ends_it_at_once(work, first, second):
    """The first signal waits for the tile under way; the second does not, and its leftover goes in the next run."""
    run = work.start(prelude=STUCK)
    work.under_way(run)
    run.send(signal.Signals[first])
    time.sleep(0.3)
    begin = time.monotonic()
    run.send(signal.Signals[second])
    done = run.wait()
    assert done.code == SIGNALS[second]
    assert time.monotonic() - begin < 1.5
    assert not work.output.exists()
    assert len(work.left()) == 1
    work.check_next_run()


def test_signals_at_any_moment(work):
    """At whatever moment a signal comes: stopped with nothing left, or done with a whole output; never both."""
    moments = random.Random(20)
    took = max(work.run("--overwrite", prelude=SLOW.replace("0.02", "0.004")).seconds for _ in range(2))
    codes: Counter[int] = Counter()
    for _ in range(24):
        work.output.unlink(missing_ok=True)
        run = work.start(prelude=SLOW.replace("0.02", "0.004"))
        time.sleep(moments.uniform(0, took))
        run.send(signal.SIGTERM)
        done = run.wait()
        codes[done.code] += 1
        whole = work.check_output()
        if done.code == 143:
            assert not whole
            assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
        elif done.code == 0:
            assert whole
            assert done.err == ""
        else:  # before the handlers stand, or after they have gone
            assert (done.code, done.err) == (-signal.SIGTERM, "")
        assert work.left() == []
    assert codes[143] >= 4, codes
    work.check_next_run()


def test_sigkill_at_any_moment(work):
    """Killed at random moments, the final name is absent or a whole file; the next run removes what was left."""
    moments = random.Random(21)
    slow = SLOW.replace("0.02", "0.004")
    took = work.run(prelude=slow).seconds
    killed = left = whole = 0
    for _ in range(20):
        work.output.unlink(missing_ok=True)
        run = work.start(prelude=slow)
        time.sleep(moments.uniform(0, took))
        run.send(signal.SIGKILL)
        killed += run.wait().code == -signal.SIGKILL
        whole += work.check_output()
        left += bool(work.left())
    assert killed >= 10
    assert left >= 4  # each one is in the way of the next run, which removes it
    assert whole < 20
    work.check_next_run()


def test_sigkill_leaves_the_old_output(work):
    """A run with --overwrite that is killed leaves the old file as it was."""
    work.output.write_bytes(b"the old one")
    run = work.start("--overwrite", prelude=SLOW)
    work.under_way(run)
    time.sleep(0.2)
    run.send(signal.SIGKILL)
    assert run.wait().code == -signal.SIGKILL
    assert work.output.read_bytes() == b"the old one"
    assert len(work.left()) == 1
    work.check_next_run()


def test_a_stopped_writer_is_no_fault(work):
    """A process that is stopped for a while and goes on gives the usual result, in the usual memory."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    run.send(signal.SIGSTOP)
    time.sleep(0.5)
    run.send(signal.SIGCONT)
    done = run.wait()
    assert (done.code, done.err) == (0, "")
    assert work.check_output()
    assert work.left() == []


# -------------------------------------------------------------------------------------- permissions and races


@pytest.fixture
def anyone():
    """A folder that every user can enter, and its removal."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_without_write_permission(anyone):
    """Another user's folder: exit 5 before any computing."""
    source = write(anyone / "coarse.tif", terrain().astype("float32"))
    output = anyone / "closed" / "fine.tif"
    output.parent.mkdir(mode=0o555)
    before = state(source)
    message = processes.run("upscale", source, output, "-m", "bilinear", uid=65534, prelude=STUCK).refused(5)
    assert message.startswith("output folder is not writable: ")
    assert list(output.parent.iterdir()) == []
    assert state(source) == before
    output.parent.chmod(0o777)
    assert processes.run("upscale", source, output, "-m", "nearest", "-q", uid=65534).code == 0
    assert output.stat().st_uid == 65534


def test_files_without_read_permission(anyone):
    """Another user's unreadable input: exit 3; unreadable folder: exit 3 and 5."""
    source = write(anyone / "coarse.tif", terrain().astype("float32"))
    closed = anyone / "closed"
    closed.mkdir(mode=0o700)
    (anyone / "open").mkdir()
    (anyone / "open").chmod(0o777)
    output = anyone / "open" / "fine.tif"
    refused = processes.run("upscale", source, closed / "fine.tif", "-m", "nearest", uid=65534).refused(5)
    assert "cannot look into" in refused
    source.chmod(0o600)
    assert "Permission denied" in processes.run("upscale", source, output, "-m", "nearest", uid=65534).refused(3)
    hidden = closed / "coarse.tif"
    source.rename(hidden)
    assert "Permission denied" in processes.run("upscale", hidden, output, "-m", "nearest", uid=65534).refused(3)
    assert list(output.parent.iterdir()) == []


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_race_for_one_output(work, count):
    """Of processes that start together with one output, exactly one succeeds, the others say that it exists."""
    lost_late = 0
    for _ in range(5 if count == 2 else 3):
        work.output.unlink(missing_ok=True)
        at = time.monotonic() + 0.3
        runs = [work.start(at=at, prelude=SLOW.replace("0.02", "0.004")) for _ in range(count)]
        done = [run.wait() for run in runs]
        assert sorted(d.code for d in done) == [0] + [5] * (count - 1)
        for loser in (d for d in done if d.code):
            assert loser.refused(5).startswith("output exists: ")
            lost_late += "another run made it" in loser.err
        assert work.check_output()
        assert work.left() == []
    assert lost_late >= 2  # they did run at the same time
    work.check_next_run()


def test_processes_that_overwrite_one_output(work):
    """With --overwrite all succeed and the file is whole."""
    at = time.monotonic() + 0.15
    done = [run.wait() for run in [work.start("--overwrite", at=at) for _ in range(3)]]
    assert [d.code for d in done] == [0, 0, 0]
    assert work.check_output()
    assert work.left() == []


# ------------------------------------------------------------------------------------- inputs that change


def test_an_input_replaced_during_the_run(work):
    """An input that is replaced while it is read is exit 3, and there is no output."""
    other = write(work.source.with_name("other.tif"), terrain((96, 112), seed=9).astype("float32"))
    run = work.start(prelude=SLOW)
    work.under_way(run)
    other.replace(work.source)
    replaced = digest(work.source)
    message = run.wait().refused(3)
    assert message == "coarse.tif was changed while it was read: run again"
    assert not work.output.exists()
    assert work.left() == []
    assert digest(work.source) == replaced


@pytest.mark.parametrize("size", [0, 300, 20_000])
def test_an_input_cut_short_during_the_run(work, size):
    """An input that is cut short in place is exit 3, never a crash; there is no output."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    os.truncate(work.source, size)
    message = run.wait().refused(3)
    assert "cannot read " in message or "was changed while it was read" in message
    assert not work.output.exists()
    assert work.left() == []


def test_an_input_removed_during_the_run(work):
    """An input that is removed while it is read is exit 3, too: the result would be of a file that is no more."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    work.source.unlink()
    assert run.wait().refused(3) == "coarse.tif was changed while it was read: run again"
    assert not work.output.exists()
    assert work.left() == []


def test_an_output_folder_removed_during_the_run(work):
    """An output folder that vanishes is exit 5 in one line."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    shutil.rmtree(work.output.parent)
    done = run.wait()
    assert (done.code, len(done.errors)) == (5, 1)
    work.output.parent.mkdir()
    work.check_next_run()


def test_an_output_that_appears_during_the_run(work):
    """A file that appears under the output's name meanwhile is not replaced: exit 5."""
    run = work.start(prelude=SLOW)
    work.under_way(run)
    work.output.write_bytes(b"someone else's")
    assert "another run made it; use --overwrite" in run.wait().refused(5)
    assert work.output.read_bytes() == b"someone else's"
    assert work.left() == []


# ---------------------------------------------------------------------------------------------- verification

FLIP = """
from geofsrcnn.formats.geotiff import GeoTiffSink
verify = GeoTiffSink._verify
def flip(sink, *args):
    with sink._path.open("r+b") as file:
        file.seek(PLACE)
        old = file.read(1)
        file.seek(PLACE)
        file.write(bytes([old[0] ^ 1]))
    verify(sink, *args)
GeoTiffSink._verify = flip
"""


def test_a_byte_that_flips_before_it_is_read_back(work):
    """A bit that flips in the data is found, exit 5, whatever the compression; the fault-free run is well."""
    found = 0
    for compress in ("ZSTD", "DEFLATE", "NONE"):
        for part in (0.4, 0.7):
            place = int(work.size * part)
            done = work.run("--co", f"COMPRESS={compress}", prelude=FLIP.replace("PLACE", str(place)))
            found += done.code == 5
            assert done.code == 5, (compress, part, done)
            assert "the output read back differs from what was written" in done.errors[0]
            assert not work.output.exists()
            assert work.left() == []
    assert found == 6
    work.check_next_run()


# ---------------------------------------------------------------------------------------------------- memory


def test_memory_does_not_grow_with_the_raster(tmp_path):
    """A raster 32 times as high takes no more than the block cache in addition, a small part of its output."""
    peaks = []
    for rows in (250, 8000):
        source = write(tmp_path / f"{rows}.tif", np.ones((rows, 300)), tiled=True)
        output = tmp_path / f"{rows}-fine.tif"
        done = processes.run("upscale", source, output, "-m", "nearest", "--threads", 1, "--tile-size", 64, "-q")
        assert done.code == 0
        peaks.append(done.peak)
    assert peaks[1] - peaks[0] < 90 * 2**20  # the output has 165 MiB
