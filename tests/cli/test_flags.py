"""Messages of the library name parameters; the command line prints its flags."""

from __future__ import annotations

import json

import click
import numpy as np
import pytest

from geofsrcnn.cli.flags import replace_parameters, with_flags
from geofsrcnn.cli.upscale import upscale
from tests.support import processes
from tests.support.rasters import created, write


@click.command()
@click.argument("fine", nargs=-1, metavar="FINE...")
@click.option("--overwrite", is_flag=True)
@click.option("--factor", "-f")
@click.option("--range", "value_range")
@click.option("--model", "-m", "models", multiple=True)
@click.option("--as", "kinds", multiple=True)
@click.option("--also-fine", multiple=True)
@click.option("--calendar/--no-calendar")
def command(**_: object) -> None:
    """Stand for any command."""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("output exists: a.tif: use overwrite=True", "output exists: a.tif: use --overwrite"),
        ("give factor=, or a model", "give --factor, or a model"),
        ("use overwrite=True.", "use --overwrite."),
        ("value_range=: low above high", "--range: low above high"),
        ("(factor=3)", "(--factor 3)"),
        ("use model='nearest' or 'cubic'", "use --model nearest or 'cubic'"),
        ("say it with kinds={'rr': 'total'}", "say it with --as rr=total"),
        ("say it with kinds={'rr': (0, inf)}", "say it with --as rr=0:inf"),
        ("factor=1e+20", "--factor 1e+20"),
        ("say it with kinds=", "say it with --as"),
        ("without the day: calendar=False", "without the day: --no-calendar"),
        ("give fine= rasters", "give FINE rasters"),
        ("give also_fine=", "give --also-fine"),
        ("use overwrite=False", "use overwrite=False"),
        ("give steps=, not minutes=", "give steps=, not minutes="),
        ("/data/factor=3/a.tif is missing", "/data/factor=3/a.tif is missing"),
        ("missing: factor=3/a.tif", "missing: factor=3/a.tif"),
        ("missing: factor=3.tif", "missing: factor=3.tif"),
        ("factor=x.tif", "factor=x.tif"),
        ("a.factor=", "a.factor="),
        ("x == factor==3", "x == factor==3"),
    ],
)
def test_parameters_become_flags(text, shown):
    """As the running command spells them; what it does not have, and names of files, are left alone."""
    assert replace_parameters(text, command) == shown


def test_nothing_is_replaced_without_a_command():
    """In Python, a message is what it is; under a command, of any nesting, its own options count."""
    assert with_flags("use overwrite=True") == "use overwrite=True"
    with click.Context(upscale):
        assert with_flags("use overwrite=True, value_range=") == "use --overwrite, --range"


def test_info_speaks_of_the_flags_of_upscale(tmp_path):
    """What upscale would refuse is said in the flags that upscale has, as text and as JSON."""
    path = tmp_path / "classes.tif"
    with created(path, (9, 8), "uint8") as raster:
        raster.write(np.ones((1, 9, 8), "uint8"))
        raster.write_colormap(1, {0: (0, 0, 0, 255), 1: (10, 200, 30, 255)})
    assert "--model nearest" in json.loads(processes.run("info", path, "--json").out)["refused"]
    assert "model=" not in processes.run("info", path).out


def test_batch_gives_reasons_in_flags(tmp_path):
    """On the terminal and in JSON."""
    write(tmp_path / "a.tif", np.ones((9, 8), "uint8"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a_x3.tif").touch()
    line = ("batch", tmp_path / "a.tif", "-o", tmp_path / "out", "--workers", 1)
    (failed,) = json.loads(processes.run(*line, "--json").out)["files"]
    assert failed["reason"] == "output exists: use --overwrite"
    assert "output exists: use --overwrite" in processes.run(*line, "--resume").out
