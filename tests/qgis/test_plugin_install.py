"""How the plugin installs the program: real environments and pip, a small package; nothing here needs QGIS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from geofsrcnn_qgis import install as installer
from geofsrcnn_qgis import program as tool
from geofsrcnn_qgis.process import Cancelled, Listener, ToolError

from tests.support.plugin import make_wheel


class Heard(Listener):
    """Remembers what it is told, and asks for the end once a word is said."""

    def __init__(self, last_word: str = "never said") -> None:
        self.lines, self.shares, self.last_word = [], [], last_word

    def progress(self, done, total):
        self.shares.append(done / total)

    def say(self, text):
        self.lines.append(text)

    def cancelled(self):
        return any(self.last_word in line for line in self.lines)


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A user with nothing installed, without a network, and with the Python that runs the tests; their data folder."""
    for name in ("GEOFSRCNN", "PIP_CONSTRAINT", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).resolve().parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(tool, "USUAL", ())
    return tmp_path / "data" / "geofsrcnn"


def test_it_is_installed_and_found_and_brought_up_to_date(home, tmp_path):
    """Progress grows; a second run makes it anew, and leaves no older one."""
    heard = Heard()
    path = installer.install(heard, str(make_wheel(tmp_path / "w", "0.1.5")))
    assert path == tool.find() == home / "venv" / "bin" / "geofsrcnn"
    assert tool.version_of(path) == "0.1.5"
    assert heard.shares == sorted(heard.shares)
    assert (heard.shares[-1], heard.lines[-1]) == (1, f"geofsrcnn 0.1.5 is ready: {path}")
    installer.install(Heard(), str(make_wheel(tmp_path / "w", "0.2.0")))
    assert tool.version_of(tool.find()) == "0.2.0"
    assert [each.name for each in home.iterdir()] == ["venv"]


def test_what_fails_leaves_what_was_there(home, tmp_path):
    """A package that pip cannot read, and one whose program is none; with the installer's own words."""
    broken = tmp_path / "geofsrcnn-9-py3-none-any.whl"
    broken.write_text("no wheel")
    other = str(make_wheel(tmp_path / "other", "3.0", "something else"))
    for package, words in ((str(broken), "failed \\(ERROR: .*: the whole text is in the log"), (other, "is not geofs")):
        with pytest.raises(ToolError, match=words):
            installer.install(Heard(), package)
        assert list(home.iterdir()) == []
    installer.install(Heard(), str(make_wheel(tmp_path / "w", "0.1.5")))
    with pytest.raises(ToolError):
        installer.install(Heard(), str(broken))
    assert tool.version_of(tool.find()) == "0.1.5"
    assert [each.name for each in home.iterdir()] == ["venv"]


def test_a_file_is_installed_with_what_the_tools_need(home, tmp_path):
    """As the published package is: NetCDF, Zarr and reports; here none of it can be found."""
    needs = "Provides-Extra: netcdf\nRequires-Dist: a-package-that-is-not-there; extra == 'netcdf'\n"
    with pytest.raises(ToolError, match="No matching distribution found for a-package-that-is-not-there"):
        installer.install(Heard(), str(make_wheel(tmp_path / "w", "0.1.5", more=needs)))


@pytest.mark.parametrize("last_word", ["Environment:", "another way is tried"])
def test_cancel_leaves_what_was_there(home, tmp_path, last_word):
    """While the environment is made, and while pip works."""
    with pytest.raises(Cancelled):
        installer.install(Heard(last_word), str(make_wheel(tmp_path / "w", "0.1.5")))
    assert list(home.iterdir()) == []


def test_half_an_environment_is_made_anew(home, tmp_path):
    """What a run has left that was killed."""
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "venv" / "bin" / "geofsrcnn").touch()
    with pytest.raises(ToolError, match="is not installed"):
        tool.find()
    assert tool.version_of(installer.install(Heard(), str(make_wheel(tmp_path / "w", "0.1.5")))) == "0.1.5"


def test_without_a_python_it_is_said_what_to_get(home, monkeypatch, tmp_path):
    """A Python that is too old is none, and what is no Python neither."""
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    (tmp_path / "old").mkdir()
    for name, body in (("python3", 'echo "[[3, 9], \\"/usr/bin/python3\\"]"'), ("python", "exit 1")):
        path = tmp_path / "old" / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    with pytest.raises(ToolError, match=r"neither uv nor Python 3.11, 3.12 or 3.13 was found: install one"):
        installer.install(Heard())
    assert not home.exists()


def test_uv_comes_before_any_python(home, monkeypatch, tmp_path):
    """It finds or fetches a Python by itself."""
    path = tmp_path / "bin" / "uv"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
    maker = installer.find_maker(Listener())
    assert (maker.path, maker.uv) == (path, True)
    make, fill = maker.steps(tmp_path / "venv", "geofsrcnn")
    assert make == [[str(path), "venv", "--no-project", "--python", ">=3.11,<3.14", str(tmp_path / "venv")]]
    assert [command[-1] for command in fill] == ["geofsrcnn", "geofsrcnn"]
