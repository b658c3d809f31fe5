"""Runs that faults happen to, with each format."""

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.faults import Undisturbed, Work


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """What a run gives that nothing happens to, by the suffix of its files."""

    @cache
    def made(suffix: str) -> Undisturbed:
        return Undisturbed(tmp_path_factory.mktemp("undisturbed"), suffix)

    return made


@pytest.fixture(params=[".tif", ".nc", ".zarr"])
def work(request: pytest.FixtureRequest, tmp_path: Path, undisturbed: Callable[[str], Undisturbed]) -> Work:
    """A fresh `Work` with each format."""
    return Work(tmp_path, undisturbed(request.param))


if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # faults are made with what only Linux has
