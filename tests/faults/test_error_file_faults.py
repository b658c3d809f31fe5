"""Faults while two files are written, values and their expected errors: both appear whole, or none."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest

from tests.support import processes
from tests.support.faults import Gate
from tests.support.rasters import digest, read, terrain, write

SWEEP = """
import json, os, resource, signal, sys
from pathlib import Path
from geofsrcnn import load_checkpoint, upscale_file
from geofsrcnn.errors import OutputError

source, folder, size = args[0], Path(args[2]), int(args[3])
model = load_checkpoint(args[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff's own words
found = []
for limit in sorted({size * i // 30 for i in range(31)} | set(range(size - 66, size + 1, 6)) | {size}):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        upscale_file(source, folder / "fine.tif", 3, model, threads=1, tile_size=16, error_file=folder / "error.tif")
        error = None
    except OutputError as caught:
        error = str(caught)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found.append([error, sorted(os.listdir(folder))])
    for path in folder.iterdir():
        path.unlink()
print(json.dumps(found))
"""


class Pair:
    """An input, and names for an output and its file of errors in a folder of their own."""

    def __init__(self, folder, model):
        (folder / "out").mkdir()
        self.source = write(folder / "coarse.tif", terrain((60, 70), low=50, high=60).astype("float32"))
        self.folder, self.model = folder / "out", model.path
        self.paths = [self.folder / "error.tif", self.folder / "fine.tif"]
        self.gate = Gate(folder / "gate", at=4)

    def start(self, *more, **setup):
        """Start a run in some tiles."""
        options = ("-m", self.model, "--error-file", self.paths[0], "--tile-size", 16, "--threads", 1, "-q")
        return processes.start("upscale", self.source, self.paths[1], *options, *more, **setup)

    def left(self):
        """Names in the folder that are of neither file."""
        return sorted(path.name for path in self.folder.iterdir() if path not in self.paths)

    def check_next_run(self):
        """It makes both whole, and removes what was left."""
        done = self.start("--overwrite").wait()
        assert (done.code, done.err) == (0, "")
        assert self.left() == []
        assert [read(path).shape for path in self.paths] == [(1, 180, 210)] * 2
        assert (read(self.paths[0]) > 0).all()


@pytest.fixture
def pair(tmp_path, with_errors):
    """A fresh `Pair`."""
    return Pair(tmp_path, with_errors)


def test_full_disk_at_every_size(pair):
    """Wherever the disk ends for one file or the other: an error and nothing left, or both."""
    pair.check_next_run()
    size = max(path.stat().st_size for path in pair.paths)
    for path in pair.paths:
        path.unlink()
    done = processes.run(pair.source, pair.model, pair.folder, size, script=SWEEP)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert len(found) > 40
    for error, names in found[:-1]:
        assert names == []
        assert error.endswith(": is the file larger than is allowed (ulimit -f)?"), error
    assert found[-1] == [None, ["error.tif", "fine.tif"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_older_files_as_they_are(pair, number):
    """Asked to end, nothing is left; killed, what is left of both goes in the next run."""
    for path in pair.paths:
        write(path, np.zeros((5, 5), "float32"))
    before = [digest(path) for path in pair.paths]
    run = pair.start("--overwrite", prelude=pair.gate.prelude)
    pair.gate.reached(run)
    assert len(pair.left()) == 2
    run.send(number)
    if number == signal.SIGTERM:
        pair.gate.asked(run)
    pair.gate.open()
    assert run.wait().code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert len(pair.left()) == (0 if number == signal.SIGTERM else 2)
    assert [digest(path) for path in pair.paths] == before
    pair.check_next_run()


def test_killed_between_two_names_a_run_is_not_taken_for_done(pair):
    """The values' file comes last: without it the next run knows that there is something to do."""
    kill = (
        "import os, geofsrcnn.files.staging as s; publish = s._publish_file\n"
        "def once(*args, **options):\n    publish(*args, **options)\n    os.kill(os.getpid(), 9)\n"
        "s._publish_file = once"
    )
    assert pair.start(prelude=kill).wait().code == -signal.SIGKILL
    assert [path.exists() for path in pair.paths] == [True, False]
    assert "output exists: " in pair.start().wait().refused(5)
    pair.check_next_run()
