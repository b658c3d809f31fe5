"""The folder in which a reader follows a page: inputs as the pages name them, small, laid out once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.pages import page
from tests.support.reading import lay_out


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All inputs; to be copied, not written to."""
    folder = tmp_path_factory.mktemp("docs")
    lay_out(folder)
    for name in ("docs/pairs.md", "docs/training.md"):  # here.safetensors and mine.safetensors, which other pages take
        make_model, *_ = page(name).blocks[0].commands
        words = [word for word in make_model[1:] if word not in ("--minutes", "30")]
        done = processes.run(*words, "--steps", 2, "--quiet", cwd=str(folder))
        assert done.code == 0, done
    return folder


@pytest.fixture
def folder(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the inputs, and the current folder."""
    place = tmp_path / "work"
    shutil.copytree(inputs, place)
    monkeypatch.chdir(place)
    return place
