"""The recipe of the conda package asks for what the project does."""

from __future__ import annotations

import re
import tomllib

import yaml

from geofsrcnn import __version__
from tests.support.places import ROOT

NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base", "dask": "dask-core", "cf-xarray": "cf_xarray"}
"""Packages that conda-forge calls otherwise."""


def test_the_recipe_asks_for_what_the_project_does():
    """The same packages in the same versions: of the project, and of the extras netcdf, zarr and report."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    extras = [line for name in ("netcdf", "zarr", "report") for line in project["optional-dependencies"][name]]
    wanted = {conda(line) for line in project["dependencies"] + extras}
    python, *run = recipe["requirements"]["run"]
    assert set(run) == wanted
    assert (
        python.replace("${{ python_min }}", recipe["context"]["python_min"]) == "python " + project["requires-python"]
    )
    assert recipe["context"]["version"] == __version__


def conda(requirement: str) -> str:
    """A requirement in conda's words."""
    name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(>=[\d.]+)", requirement).groups()
    return f"{NAMES.get(name, name.lower())} {version}"
