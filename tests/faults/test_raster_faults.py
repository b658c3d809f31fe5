"""Full disks, permissions and files that change, with GeoTIFF: an output is whole or absent.

After each fault: the final name is absent or a whole file, old or new; the input is as it was; the exit code is the
stated one; the next run succeeds and leaves nothing beside its output. Each test requires that its fault occurred.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tests.support import processes
from tests.support.faults import NO_FULL, Work, full
from tests.support.rasters import read, state, terrain, write

NOTHING = "import geofsrcnn.engine.run; geofsrcnn.engine.run.upscale_tile = None"
"""Whoever computes a tile fails."""


@pytest.fixture
def work(tmp_path, undisturbed) -> Work:
    """A fresh `Work` with GeoTIFF."""
    return Work(tmp_path, undisturbed(".tif"))


# ---------------------------------------------------------------------------------------------------- full disk

SWEEP = """
import json, os, resource, signal, sys
from pathlib import Path
import numpy as np, rasterio
from geofsrcnn import upscale_file
from geofsrcnn.errors import OutputError

source, output, forms, size = args[0], Path(args[1]), json.loads(args[2]), int(args[3])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff's own words
limits = sorted({size * i // 24 for i in range(25)} | set(range(size - 66, size + 1)) | {size + 4096, 2 * size})
found = []
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        upscale_file(source, output, 3, "bilinear", threads=1, **forms)
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
    from geofsrcnn import upscale_file

    upscale_file(work.source, work.output, 3, "bilinear", threads=1, **form)
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
            assert error.endswith(": is the file larger than is allowed (ulimit -f)?"), error
        if result is not None:
            assert result == total
    assert found[-1][2] == total
    work.check_next_run()


PLENTY = "import geofsrcnn.upscale.task; geofsrcnn.upscale.task.free_bytes = lambda _: 2**40\n"
"""Of space, while it is checked: another process takes it after that."""


@pytest.mark.parametrize(("option", "code"), [("--cog", 5), ("-q", 6)])
def test_a_real_full_file_system(tmp_path, option, code):
    """On a file system of 1 MiB, space is checked before the start, and running out of it on the way is exit 5."""
    noise = np.random.default_rng(0).normal(size=(260, 260)).astype("float32")
    source, output = write(tmp_path / "noise.tif", noise), tmp_path / "small" / "out.tif"
    prelude = full(output.parent, "1m") + (PLENTY if code == 5 else "")
    done = processes.run("upscale", source, output, "-f", 2, "-m", "nearest", option, prelude=prelude, end=True)
    if done.code == NO_FULL:
        pytest.skip(f"no user namespace with a tmpfs here: {done.out.strip()[:80]}")
    assert done.code == code, done.err
    assert done.out.strip() == ""
    errors = [text for text in done.err.splitlines() if not text.startswith("_tiff")]
    assert len(errors) == 1
    assert errors[0].startswith("geofsrcnn: error: ")
    assert ("is the disk full?" if code == 5 else "are free where it goes") in errors[0]


# -------------------------------------------------------------------------------------------------- permissions


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
    message = processes.run("upscale", source, output, "-m", "bilinear", uid=65534, prelude=NOTHING).refused(5)
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


# ------------------------------------------------------------------------------------- inputs that change


@pytest.mark.parametrize("size", [0, 300, 20_000])
def test_an_input_cut_short_during_the_run(work, size):
    """An input that is cut short in place is exit 3, never a crash; there is no output."""
    run, gate = work.begun()
    os.truncate(work.source, size)
    gate.open()
    message = run.wait().refused(3)
    assert "cannot read " in message or "was changed while it was read" in message
    assert not work.output.exists()
    assert work.left() == []


def test_an_input_removed_during_the_run(work):
    """An input that is removed while it is read is exit 3, too: the result would be of a file that is no more."""
    run, gate = work.begun()
    work.source.unlink()
    gate.open()
    assert run.wait().refused(3) == "coarse.tif was changed while it was read: run again"
    assert not work.output.exists()
    assert work.left() == []


# ---------------------------------------------------------------------------------------------- verification

FLIP = """
from geofsrcnn.formats.geotiff import GeoTiffSink
verify = GeoTiffSink._verify
def flip(sink, *args):
    if not sink._path.exists():  # the rehearsal in memory
        return verify(sink, *args)
    with sink._path.open("r+b") as file:
        file.seek(PLACE)
        old = file.read(1)
        file.seek(PLACE)
        file.write(bytes([old[0] ^ 1]))
    return verify(sink, *args)
GeoTiffSink._verify = flip
"""


def test_a_byte_that_flips_before_it_is_read_back(work):
    """A bit that flips in the data is found, exit 5, whatever the compression; the fault-free run is well."""
    found = 0
    for compress in ("ZSTD", "DEFLATE", "NONE"):
        for part in (0.4, 0.7):
            place = int(max(work.sizes) * part)
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
