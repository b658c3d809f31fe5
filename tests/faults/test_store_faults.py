"""Full disks and bits that flip, with NetCDF and Zarr: an output is whole or absent.

After each fault: the final name is absent or a whole store, old or new; the input is as it was; the exit code is the
stated one; the next run succeeds and leaves nothing beside its output. Each test requires that its fault occurred.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from tests.support import processes
from tests.support.faults import NO_FULL, Work, full


@pytest.fixture(params=[".nc", ".zarr"])
def work(request, tmp_path, undisturbed) -> Work:
    """A fresh `Work` with each format."""
    return Work(tmp_path, undisturbed(request.param))


# ---------------------------------------------------------------------------------------------------- full disk

SWEEP = """
import json, os, resource, shutil, signal, sys, warnings
from pathlib import Path
import xarray as xr
from geofsrcnn import upscale_file
from geofsrcnn.errors import OutputError

source, output = args[0], Path(args[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
no_limit = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)

def once(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        upscale_file(source, output, 3, "bilinear", threads=1, tile_size=64)
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

upscale_file(source, output, 3, "bilinear", threads=1, tile_size=64)
size = max(path.stat().st_size for path in [output, *output.rglob("*")] if path.is_file())
shutil.rmtree(output) if output.is_dir() else output.unlink()
limits = sorted({size * i // 20 for i in range(21)} | set(range(size - 40, size + 1)) | {2 * size + 4096})
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
print(json.dumps([size, found]))
"""


def test_full_disk_at_many_sizes_and_each_of_the_last_bytes(work):
    """Wherever files can grow no more, also in the last bytes and at close: an error and nothing left, or all of it."""
    total = float(work.expected.astype("float64").sum())
    done = processes.run(work.source, work.output, script=SWEEP)
    assert done.code == 0, done.err
    size, found = json.loads(done.out)
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
            assert error.endswith(": is the file larger than is allowed (ulimit -f)?"), error
        if result is not None:
            assert result == total
    assert failed > 50
    assert found[-1][2] == total
    work.check_next_run()


PLENTY = "import geofsrcnn.upscale.task; geofsrcnn.upscale.task.free_bytes = lambda _: 2**40\n"
"""Of space, while it is checked."""


@pytest.mark.parametrize("old", [False, True])
def test_a_real_full_file_system(work, tmp_path, old):
    """On a file system of 60 KiB: exit 5, one line, nothing left, the old output kept."""
    output = tmp_path / "small" / work.output.name
    lies = f"Path({str(output)!r})"
    empty = (
        f"{lies}.mkdir(); ({lies} / '.zgroup').write_text('{{}}')" if output.suffix == ".zarr" else f"{lies}.touch()"
    )
    prelude = full(output.parent, "60k", empty if old else "") + PLENTY
    options = (*work.options, "--dtype", "float64", *(["--overwrite"] if old else []))
    done = processes.run("upscale", work.source, output, *options, prelude=prelude, end=True)
    if done.code == NO_FULL:
        pytest.skip(f"no user namespace with a tmpfs here: {done.out.strip()[:80]}")
    assert done.code == 5, done.err
    assert done.out.split() == ([output.name] if old else [])
    assert len(done.errors) == 1


# ------------------------------------------------------------------------------------------------------ results

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
