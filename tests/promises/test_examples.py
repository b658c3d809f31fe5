"""What the examples show, and what pages show of them, is what happens."""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from tests.support import processes
from tests.support.pages import page, shows
from tests.support.places import ROOT


@pytest.fixture
def example(tmp_path, monkeypatch, capfd) -> Callable[..., str]:
    """``example(name, *arguments)`` runs an example in an empty folder as Python runs it, and gives what it prints.

    In this process, which has imported everything; the commands that it starts are forked, with ``more`` arguments for
    each of some name.
    """

    def start(command: list[object], *, cwd: Path = tmp_path, check: bool = False, **more: list[object]):
        words = [str(word) for word in command]
        assert words[:3] == [sys.executable, "-m", "geofsrcnn"]
        done = processes.run(*words[3:], *more.get(words[3], []), cwd=str(cwd))
        print(done.out, end="")
        assert done.code == 0 or not check, done
        return subprocess.CompletedProcess(words, done.code)

    def run(name: str, *arguments: object, **more: list[object]) -> str:
        path = str(ROOT / "examples" / name)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [path, *map(str, arguments)])
        monkeypatch.setattr(subprocess, "run", functools.partial(start, **more))
        runpy.run_path(path, run_name="__main__")
        return capfd.readouterr().out

    return run


def test_demo_runs_and_the_network_wins(example, tmp_path):
    """The demo upscales a real DEM, ranks the network first, keeps the bounds and draws the picture."""
    said = example("demo.py")
    assert "The network default-x3 is better than lanczos-bp, the best baseline" in said
    (shown,) = [block.text for block in page("README.md").blocks if block.language == "console"]
    assert shows(shown, said)
    assert "same bounds: True" in said
    assert (tmp_path / "demo" / "comparison.png").stat().st_size > 50_000
    with rasterio.open(tmp_path / "demo" / "fine.tif") as fine:
        assert fine.shape == (342, 402)
        assert fine.bounds == pytest.approx((-84.41375, 36.447917, -84.07875, 36.732917), abs=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("iris_sample_data") is None, reason="iris-sample-data is not installed")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("accessor.py", "largest difference of a block's mean from its coarse cell: [0-9.]+e-05 K"),
        ("dask_zarr.py", r"from the same years upscaled in memory: \d\.\de[+-]\d+ K"),
    ],
)
def test_examples_on_real_netcdf_run(example, tmp_path, name, words):
    """They end well, print what they promise, and leave no worker behind."""
    if name == "dask_zarr.py":  # a process of its own, as its workers belong to it
        command = [sys.executable, ROOT / "examples" / name, tmp_path / "stores"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        said = done.stdout
    else:
        said = example(name)
    assert re.search(words, said), said
    gap = float(re.search(r"largest difference (?:of a block|from the same).*: ([0-9.e+-]+) K", said)[1])
    assert gap < 1e-4


def test_the_example_of_pairs_beats_simple_methods(example, tmp_path):
    """Three commands on data that a package ships: trained, evaluated, applied, better on the later, warmer century."""
    said = example("pairs.py", tmp_path)
    verdict = r"The network is better than block means kept, the best baseline: RMSE \d+\.\d % below"
    assert re.search(verdict, said), said
    (shown,) = [block.text for block in page("docs/howto/pairs.md").blocks if block.language == "console"]
    on_stderr = ("geofsrcnn: warning: ", "step ")
    assert shows("".join(line for line in shown.splitlines(keepends=True) if not line.startswith(on_stderr)), said)
    with xr.open_dataset(tmp_path / "result.nc") as result, xr.open_dataset(tmp_path / "fine.nc") as fine:
        later = (fine["time"].dt.year >= 2000).to_numpy()
        error = (result["air_temperature"].to_numpy() - fine["air_temperature"].to_numpy())[later]
    assert np.sqrt((error**2).mean()) < 0.25
    report = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "The network is better than block means kept" in report


def test_the_example_of_an_archive_finds_it_whole(tmp_path):
    """All files of the package are planned, each with an output in a folder as it has; nothing is written."""
    command = [sys.executable, ROOT / "examples" / "archive.py", tmp_path / "fine", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"326 files: 0 done, 326 to do, 0 failed", done.stdout), done.stdout[-300:]
    assert not (tmp_path / "fine").exists()
