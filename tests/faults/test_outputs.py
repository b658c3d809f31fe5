"""Full disks, signals, kills, races and files that change: an output is whole or absent, and the next run is well.

After each fault: the final name is absent or a whole output, old or new; the input is as it was; the exit code is the
stated one; the next run succeeds and leaves nothing beside its output. Each test requires that its fault occurred.
GEOFSRCNN_SEEDS=10 for more moments of signals and kills.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.faults import SIGNALS, Gate, Work, facts, until

MOMENTS = 3 * int(os.environ.get("GEOFSRCNN_SEEDS", "3"))

# ---------------------------------------------------------------------------------------------------- full disk


@pytest.mark.parametrize("part", [0.1, 0.9, 1.0])
def test_full_disk_on_the_command_line(work, part):
    """Exit 5 with one error line, whatever HDF5 does when the process ends; the old output stays."""
    old = work.put_old()
    done = work.run("--overwrite", fsize=int(max(work.sizes) * part) - 1, end=True)
    assert (done.code, len(done.errors)) == (5, 1), done
    if work.output.suffix == ".tif":
        others = [line for line in done.err.splitlines() if line not in done.errors]
        assert all(line.startswith("_tiff") for line in others)  # libtiff's own words, past GDAL's handler
    assert facts(work.output) == old
    assert work.left() == []
    work.check_next_run()


def test_full_disk_where_no_output_was(work):
    """Nothing is left."""
    done = work.run(fsize=max(work.sizes) // 2)
    assert (done.code, len(done.errors)) == (5, 1), done
    assert not work.output.exists()
    assert work.left() == []
    work.check_next_run()


# ------------------------------------------------------------------------------------------------ signals, kills


@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_the_run_cleanly(work, name):
    """SIGINT, SIGTERM, SIGHUP: 130, 143, 129 after the tile under way, nothing left, the old output kept."""
    old = work.put_old()
    run, gate = work.begun("--overwrite", end=True)
    run.send(signal.Signals[name])
    gate.asked(run)
    gate.open()
    done = run.wait()
    assert (done.code, done.out) == (SIGNALS[name], "")
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert gate.begun == 3 < work.writes  # none after the signal
    assert work.left() == []
    assert facts(work.output) == old
    work.check_next_run()


@pytest.mark.parametrize(("first", "second"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGINT"), ("SIGHUP", "SIGTERM")])
def test_a_second_signal_ends_it_at_once(work, first, second):
    """The first signal waits for the tile under way; the second does not, and its leftover goes in the next run."""
    run, gate = work.begun()
    run.send(signal.Signals[first])
    gate.asked(run)
    assert not run.ended
    run.send(signal.Signals[second])  # the gate stays shut: the tile never ends
    assert run.wait().code == SIGNALS[second]
    assert not work.output.exists()
    assert len(work.left()) == 1
    work.check_next_run()


PIPE = """
import os
os.dup2(os.open({path!r}, os.O_RDONLY), 0)
"""


class Pipe:
    """The standard input of runs, which ends when it is closed."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.prelude = PIPE.format(path=str(path))
        self._end = os.open(path, os.O_RDWR)

    def close(self) -> None:
        """Let it end, as when the process at the other end is killed."""
        os.close(self._end)


def _begun_with_pipe(work: Work, *more: object) -> tuple[processes.Run, Gate, Pipe]:
    """A run that watches its standard input, has begun to write, and waits."""
    pipe, gate = Pipe(work.output.parent.parent / "stdin"), work.gate(3)
    run = work.start("--stop-with-stdin", *more, prelude=pipe.prelude + gate.prelude, end=True)
    gate.reached(run)
    return run, gate, pipe


def test_the_end_of_stdin_ends_the_run_cleanly(work):
    """As SIGTERM does, when the program that started it dies, however it does."""
    old = work.put_old()
    run, gate, pipe = _begun_with_pipe(work, "--overwrite")
    pipe.close()
    gate.asked(run)
    gate.open()
    done = run.wait()
    assert (done.code, done.out) == (143, "")
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert gate.begun == 3 < work.writes
    assert work.left() == []
    assert facts(work.output) == old
    work.check_next_run()


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM"])
def test_the_end_of_stdin_is_no_second_signal(work, first):
    """A terminal's Ctrl-C ends a program and what it started: the pipe between them closes a moment later."""
    run, gate, pipe = _begun_with_pipe(work)
    run.send(signal.Signals[first])
    gate.asked(run)
    threads = Path(f"/proc/{run.pid}/task")
    before = len(list(threads.iterdir()))
    pipe.close()
    until(lambda: len(list(threads.iterdir())) < before, run)  # that which watched has seen it
    gate.open()
    done = run.wait()
    assert done.code == SIGNALS[first]
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert work.left() == []


def test_a_run_with_an_open_stdin_ends_as_any(work):
    """What is written to it is not looked at."""
    pipe = Pipe(work.output.parent.parent / "stdin")
    os.write(pipe._end, b"some words\n")
    done = work.run("--stop-with-stdin", prelude=pipe.prelude)
    assert (done.code, done.err) == (0, "")
    pipe.close()
    assert work.check_output()


def _struck(work: Work, number: int, draw: random.Random, turn: int, *more: object) -> object:
    """How a run ended that a signal met: in its first moments, at a write that is drawn, or some time after that."""
    gate = work.gate(draw.randint(1, work.writes))
    run = work.start(*more, prelude=gate.prelude)
    if turn % 3:
        gate.reached(run)
    else:
        gate.open()
    if turn % 3 == 2:
        gate.open()
    if turn % 3 != 1:
        time.sleep(draw.uniform(0, 0.15))
    run.send(number)
    gate.open()
    return run.wait()


def test_signals_at_any_moment(work):
    """At whatever moment a signal comes: stopped with nothing left, or done with a whole output; never both."""
    draw, codes = random.Random(20), Counter[int]()
    for turn in range(MOMENTS):
        work.clear()
        done = _struck(work, signal.SIGTERM, draw, turn)
        codes[done.code] += 1
        whole = work.check_output()
        if done.code == 143:
            assert not whole
            assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
        elif done.code == 0:
            assert whole
            assert done.err == ""
        else:  # before the handlers stand, or after they have gone
            assert done.code == -signal.SIGTERM
            assert done.err == ""
        assert work.left() == []
    assert codes[143], codes
    work.check_next_run()


@pytest.mark.parametrize("old", [False, True])
def test_sigkill_at_any_moment(work, old):
    """Killed, the name is absent or as before, or a whole output; the next run removes what was left."""
    draw, codes = random.Random(21), Counter[int]()
    left = kept = 0
    before = work.put_old() if old else {}
    for turn in range(MOMENTS):
        done = _struck(work, signal.SIGKILL, draw, turn, *(["--overwrite"] if old else []))
        codes[done.code] += 1
        assert done.code in (0, -signal.SIGKILL)
        left += bool(work.left())
        if not work.output.exists() or facts(work.output) == before:
            assert done.code
            kept += 1
        else:
            assert work.check_output()
            work.clear()
            before = work.put_old() if old else {}
    assert codes[-signal.SIGKILL]
    assert left  # each one is in the way of the next run, which removes it; how many depends on the machine
    assert kept
    work.check_next_run()


def test_a_stopped_writer_is_no_fault(work):
    """A process that is stopped for a while and goes on gives the usual result."""
    run, gate = work.begun()
    run.send(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{run.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T")
    gate.open()
    run.send(signal.SIGCONT)
    done = run.wait()
    assert (done.code, done.err) == (0, "")
    assert work.check_output()
    assert work.left() == []


# --------------------------------------------------------------------------------------------------------- races


@pytest.mark.parametrize("count", [2, 4])
def test_processes_that_race_for_one_output(work, count):
    """Of processes that write one output at the same time, exactly one succeeds, the others say that it exists."""
    gate = work.gate(at=1)
    runs = [work.start(prelude=gate.prelude) for _ in range(count)]
    gate.reached(*runs)  # all have found no output
    gate.open()
    done = [run.wait() for run in runs]
    assert sorted(d.code for d in done) == [0] + [5] * (count - 1)
    for loser in (d for d in done if d.code):
        assert loser.refused(5).startswith("output exists: ")
        assert "another run made it" in loser.err
    assert work.check_output()
    assert work.left() == []
    assert work.run().refused(5).startswith("output exists: ")  # one that comes later
    work.check_next_run()


def test_processes_that_overwrite_one_output(work):
    """With --overwrite all succeed and the output is whole."""
    gate = work.gate(at=1)
    runs = [work.start("--overwrite", prelude=gate.prelude) for _ in range(3)]
    gate.reached(*runs)
    gate.open()
    done = [run.wait() for run in runs]
    assert [(d.code, d.err) for d in done] == [(0, "")] * 3
    assert work.check_output()
    assert work.left() == []


# ----------------------------------------------------------------------------------------- files that change


def test_an_input_replaced_during_the_run(work):
    """A file that is replaced while it is read, a Zarr whose metadata is: exit 3, and there is no output."""
    run, gate = work.begun()
    mark = work.source if work.source.is_file() else work.source / ".zattrs"
    other = mark.with_name("other")
    other.write_bytes(mark.read_bytes())
    other.replace(mark)
    replaced = facts(work.source)
    gate.open()
    assert run.wait().refused(3) == f"{work.source.name} was changed while it was read: run again"
    assert not work.output.exists()
    assert work.left() == []
    assert facts(work.source) == replaced


def test_an_output_folder_removed_during_the_run(work):
    """An output folder that vanishes is exit 5 in one line; Zarr may make it again, and then the store is whole."""
    run, gate = work.begun()
    shutil.rmtree(work.output.parent)
    gate.open()
    done = run.wait()
    if done.code or work.output.suffix != ".zarr":
        assert (done.code, len(done.errors)) == (5, 1), done
        work.output.parent.mkdir(exist_ok=True)
    else:
        assert work.check_output()
    work.check_next_run()


def test_an_output_that_appears_during_the_run(work):
    """What appears under the output's name meanwhile is not replaced: exit 5."""
    run, gate = work.begun()
    work.output.write_bytes(b"someone else's")
    gate.open()
    assert "another run made it; use --overwrite" in run.wait().refused(5)
    assert work.output.read_bytes() == b"someone else's"
    assert work.left() == []
