"""A run that faults happen to, with each format."""

from pathlib import Path

import pytest

from tests.support.faults import Work


@pytest.fixture(params=[".tif", ".nc", ".zarr"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Work:
    """A fresh `Work` with each format."""
    return Work(tmp_path, request.param)
