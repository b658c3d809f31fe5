"""What the README and the examples show is what happens."""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn.cli.main import cli
from tests.support import processes
from tests.support.places import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def commands() -> list[list[str]]:
    """The geofsrcnn and rio commands of the README, without comments."""
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    typed = [block for block in blocks if "$ " not in block]  # the others show what is printed
    lines = [line for block in typed for line in block.splitlines() if re.match(r"(geofsrcnn|rio) ", line)]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_demo_runs_and_the_network_wins(example, tmp_path):
    """The demo upscales a real DEM, ranks the network first, keeps the bounds and draws the picture."""
    said = example("demo.py")
    assert "default-x3 is best" in said
    assert "same bounds: True" in said
    assert (tmp_path / "demo" / "comparison.png").stat().st_size > 50_000
    with rasterio.open(tmp_path / "demo" / "fine.tif") as fine:
        assert fine.shape == (342, 402)


def test_readme_names_only_commands_and_options_that_exist():
    """Every command line of the README parses."""
    found = commands()
    assert len(found) >= 9
    for name, *arguments in found:
        command = cli.commands[name]
        with click.Context(command) as context:
            command.make_parser(context).parse_args(list(arguments))


def test_readme_python_runs(tmp_path, monkeypatch):
    """The Python of the README runs as printed and gives the shapes that it states."""
    monkeypatch.chdir(tmp_path)
    shape = {"height": 30, "width": 20, "count": 1}
    transform = rasterio.transform.from_origin(0, 10, 1, 1)
    with rasterio.open(
        "in.tif", "w", driver="GTiff", dtype="float32", crs="EPSG:32632", transform=transform, **shape
    ) as d:
        d.write(np.random.default_rng(0).normal(size=(1, 30, 20)).astype(np.float32))
    snippet = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0]
    names: dict = {}
    exec(compile(snippet, "README.md", "exec"), names)  # our own README
    assert names["fine"].shape == (2, 120, 180)
    assert names["summary"].fine == (90, 60)


def test_readme_accessor_prints_what_it_shows(capsys):
    """The grid and the Dataset on the finer grid are printed as the README has them."""
    ((snippet, shown),) = re.findall(r"```python\n([^`]*xarray[^`]*)```\n\n```\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(snippet, "README.md", "exec"), {})  # our own README
    assert capsys.readouterr().out == shown


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
    """Three commands on data that a package ships: trained, evaluated, applied, better on the later, warmer century.

    The training is a part of what it is for a user.
    """
    said = example("pairs.py", tmp_path, train=["--steps", 1500])
    assert re.search(r"the network is \d+\.\d % below the best baseline, block means kept", said), said
    assert re.search(r"result.nc: 10 x 13 -> 37 x 49, 240 bands", said)
    with xr.open_dataset(tmp_path / "result.nc") as result, xr.open_dataset(tmp_path / "fine.nc") as fine:
        later = (fine["time"].dt.year >= 2000).to_numpy()
        error = (result["air_temperature"].to_numpy() - fine["air_temperature"].to_numpy())[later]
    assert np.sqrt((error**2).mean()) < 0.25
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "The network is better than block means kept" in page


def test_the_example_of_an_archive_finds_it_whole(tmp_path):
    """All files of the package are planned, each with an output in a folder as it has; nothing is written."""
    command = [sys.executable, ROOT / "examples" / "archive.py", tmp_path / "fine", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"326 files: 0 done, 326 to do, 0 failed", done.stdout), done.stdout[-300:]
    assert not (tmp_path / "fine").exists()
