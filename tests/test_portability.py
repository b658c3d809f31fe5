"""The main jobs where POSIX is missing, as on Windows: `tests.support.elsewhere` takes it away."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.support.elsewhere import python as run_python
from tests.support.places import ROOT
from tests.support.rasters import read, terrain, write

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes away what only Linux has")

POSIX = (
    *("fcntl", "resource", "termios", "SIGHUP", "pthread_sigmask", "sched_getaffinity", "posix_fallocate"),
    *("O_NOFOLLOW", "O_DIRECTORY", "renameat2", "getrusage", "getrlimit", "flock", "statvfs", "getuid", "fchmod"),
)


Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def python(tmp_path_factory: pytest.TempPathFactory) -> Python:
    """``python(*args, elsewhere=True, **env)``: runs as on Windows, or here."""
    return partial(run_python, tmp_path_factory.mktemp("begin"))


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    """A raster in a folder of its own."""
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.tif", terrain((30, 40)).astype("float32"))


def values(path: Path) -> np.ndarray:
    """The only field of a file."""
    if path.suffix == ".tif":
        return read(path)
    with xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else "netcdf4") as dataset:
        return dataset["band_data"].to_numpy()


def names(folder: Path) -> list[str]:
    """All names in a folder."""
    return sorted(each.name for each in folder.iterdir())


def test_no_other_module_asks_for_posix():
    """What Windows lacks is named in `system` alone."""
    word = re.compile(rf"\b({'|'.join(POSIX)})\b")
    found = {
        path.name: match[0]
        for path in sorted((ROOT / "geofsrcnn").rglob("*.py"))
        if path.name != "system.py" and (match := word.search(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_posix_is_gone(python):
    """The modules and calls are not there, and folders cannot be opened: what the other tests rest on."""
    script = f"""
import os, signal
for name in {POSIX[:3]}:
    try:
        __import__(name)
    except ImportError:
        pass
    else:
        raise AssertionError(name)
assert not any(hasattr(each, name) for each in (os, signal) for name in {POSIX[3:9]})
try:
    os.open(".", os.O_RDONLY)
except PermissionError:
    print("gone")
"""
    assert python("-c", script).stdout == "gone\n"


@pytest.mark.parametrize("suffix", [".tif", ".nc", ".zarr"])
def test_a_raster_becomes_finer(python, raster, tmp_path, suffix):
    """Into each format, once more over itself, and the same as here; nothing else is left."""
    here, there = tmp_path / "here" / f"x{suffix}", tmp_path / "there" / f"x{suffix}"
    for out, factors in ((here, (2,)), (there, (3, 2))):
        out.parent.mkdir()
        for factor in factors:
            line = ("-m", "geofsrcnn", "upscale", raster, out, "-f", factor, "-m", "bilinear", "-q", "--overwrite")
            done = python(*line, elsewhere=out is there)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            assert names(out.parent) == [out.name]
    assert values(there).shape[-2:] == (60, 80)
    assert np.array_equal(values(there), values(here))


def test_an_archive_becomes_finer(python, raster, tmp_path):
    """A batch on two workers, which are as on Windows too; and once more, where nothing is left to do."""
    shutil.copy(raster, raster.with_name("b.tif"))
    line = ("-m", "geofsrcnn", "batch", raster.parent, "--output-dir", tmp_path / "out", "-f", 2, "-m", "bilinear")
    done = python(*line, "--workers", 2)
    assert done.returncode == 0, done
    assert "2 done, 0 failed" in done.stdout
    done = python(*line, "--workers", 2, "--resume")
    assert done.returncode == 0, done
    assert names(tmp_path / "out") == ["a_x2.tif", "b_x2.tif", "geofsrcnn-batch.jsonl"]


def test_an_output_that_is_open_is_named(python, raster, tmp_path):
    """Windows does not replace what is open, in QGIS for instance: one line says so, and the old file stays."""
    out = tmp_path / "out.tif"
    out.write_bytes(b"old")
    script = f"""
from geofsrcnn import upscale_file
held = open({str(out)!r}, "rb")
try:
    upscale_file({str(raster)!r}, {str(out)!r}, 2, "bilinear", overwrite=True)
except OSError as error:
    print(error)
"""
    done = python("-c", script)
    assert done.stdout == f"cannot write {out} (refused as on Windows): is it open in another program?\n", done
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["in", "out.tif"]


STAGED = """
import os, sys
from geofsrcnn.files.staging import staged
with staged(sys.argv[1], overwrite=True, folder=True) as path:
    path.mkdir()
    (path / "zarr.json").write_text(sys.argv[2], encoding="utf-8")
    exec(sys.argv[3])
"""


@pytest.fixture
def put(python: Python) -> Python:
    """``put(target, text, script="")``: puts a store of one file onto its name, after a script."""
    return lambda target, text, script="": python("-c", STAGED, target, text, script)


def test_leftovers_go_and_work_of_live_runs_stays(put, tmp_path):
    """A folder cannot be opened to be locked: a file in it is; the next run removes what a dead one left."""
    target = tmp_path / "x.zarr"
    assert put(target, "dead", "os._exit(7)").returncode == 7
    [left] = names(tmp_path)
    assert left.endswith(".part")
    within = f"""
import subprocess
subprocess.run([sys.executable, "-c", {STAGED!r}, sys.argv[1], "inner", ""], check=True)
assert path.exists()
assert sorted(os.listdir({str(tmp_path)!r})) == sorted([path.parent.name, "x.zarr"])
"""
    done = put(target, "outer", within)
    assert done.returncode == 0, done
    assert names(tmp_path) == ["x.zarr"]
    assert (target / "zarr.json").read_text(encoding="utf-8") == "outer"


def test_a_store_is_never_lost(put, tmp_path):
    """Two renames replace a folder: where the process dies between them, the next run brings the old one back."""
    target = tmp_path / "x.zarr"
    assert put(target, "old").returncode == 0
    die = "import pathlib\ndef rename(*_, real=os.rename):\n    real(*_)\n    os._exit(7)\nos.rename = rename"
    assert put(target, "new", die).returncode == 7
    assert not target.exists()
    assert put(target, "newer", "raise SystemExit(3)").returncode == 3
    assert names(tmp_path) == ["x.zarr"]
    assert (target / "zarr.json").read_text(encoding="utf-8") == "old"


def test_names_that_a_terminal_cannot_show(python, raster, tmp_path):
    """Letters that the encoding of stdout lacks, as that of Windows for pipes, are shown as escapes."""
    out = tmp_path / "→.tif"
    line = ("-m", "geofsrcnn", "upscale", raster, out, "-f", 2, "-m", "bilinear")
    done = python(*line, elsewhere=False, PYTHONIOENCODING="cp1252:strict")
    assert done.returncode == 0, done
    assert "\\u2192.tif: 30 x 40 -> 60 x 80" in done.stdout
    assert out.exists()
