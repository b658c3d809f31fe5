"""How the plugin finds and runs the program; nothing here needs QGIS."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from geofsrcnn_qgis import program as tool
from geofsrcnn_qgis.process import Cancelled, Listener, ToolError

from geofsrcnn import list_models
from tests.support.faults import until
from tests.support.plugin import PLUGINS, alive, children, make_program


class Heard(Listener):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.shares, self.warnings, self.lines = [], [], []

    def progress(self, done, total):
        self.shares.append((done, total))

    def warn(self, text):
        self.warnings.append(text)

    def say(self, text):
        self.lines.append(text)


class Impatient(Heard):
    """Asks for the end as soon as something is done."""

    def cancelled(self):
        return any(done for done, _ in self.shares)


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A user who has installed nothing; their home."""
    for name in ("GEOFSRCNN", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(tool, "USUAL", (tmp_path / "usual",))
    return tmp_path


def test_the_program_is_found_where_it_is_looked_for_first(alone, monkeypatch):
    """The setting, GEOFSRCNN, our own environment, PATH, where users install: each before the next."""
    places = [alone / "usual", alone / "path", tool.own_environment() / "bin", alone / "variable", alone / "setting"]
    expected = []
    for place in places:
        make_program(place)
        if place == tool.own_environment() / "bin":
            assert tool.find() == expected[-1]  # half of an environment is none
            (tool.own_environment() / tool.READY).touch()
        if place == alone / "variable":
            monkeypatch.setenv("GEOFSRCNN", str(place / "geofsrcnn"))
        expected.append(place / "geofsrcnn")
        assert tool.find(str(place) if place == alone / "setting" else "") == expected[-1]


def test_an_environment_may_be_named_instead_of_the_program(alone):
    """As people know the folder that they made."""
    path = make_program(alone / "venv" / "bin")
    assert tool.find(str(alone / "venv")) == path


@pytest.mark.parametrize("way", ["setting", "variable"])
def test_a_program_that_is_named_and_not_there_is_no_other(alone, monkeypatch, way):
    """Whoever names one wants that one."""
    make_program(alone / "path")
    monkeypatch.setenv("GEOFSRCNN", str(alone / "gone") if way == "variable" else "")
    with pytest.raises(ToolError, match="gone, where geofsrcnn is not: correct or empty it"):
        tool.find(str(alone / "gone") if way == "setting" else "")


def test_without_a_program_it_is_said_how_to_install_one(alone):
    """In the words of QGIS's menus."""
    with pytest.raises(ToolError, match="is not installed: run 'Install the program'"):
        tool.find()
    assert tool.model_names() == list(tool.KNOWN_MODELS)


def test_models_are_those_of_the_program(program):
    """Asked once; the default stands first."""
    names = tool.model_names(str(program))
    assert names[0] == "default"
    assert set(names) == {model.name for model in list_models()}
    assert set(tool.KNOWN_MODELS) <= set(names)
    assert len(tool._models) == 1
    tool.model_names(str(program))
    assert len(tool._models) == 1


def test_its_version_is_looked_at(program, tmp_path):
    """An old one, and another program, are refused in one line."""
    assert tool.version_of(program) == "0.1.0"
    for words, message in (("geofsrcnn, version 0.0.9", "0.1 or newer is needed"), ("hello", "answers 'hello'")):
        other = tmp_path / "other"
        other.write_text(f"#!/bin/sh\necho {words}\n")
        other.chmod(0o755)
        with pytest.raises(ToolError, match=message):
            tool.version_of(other)


def upscale(program: Path, source: Path, target: Path, listener: Listener, *more: str) -> str:
    """Run the program as the plugin does."""
    return tool.run_program(program, tool.with_progress("upscale", str(source), str(target), *more), listener)


HOSTILE = {
    "PYTHONHOME": "/usr",
    "PYTHONPATH": "/usr/lib/python3/dist-packages",
    "PYTHONEXECUTABLE": "/usr/bin/python3",
    "PYTHONPLATLIBDIR": "nowhere",
    "PYTHONSTARTUP": "/nowhere.py",
    "PROJ_LIB": "/usr/share/proj",
    "PROJ_DATA": "/usr/share/proj",
    "GDAL_DATA": "/usr/share/gdal",
    "GDAL_DRIVER_PATH": "/usr/lib",
    "LD_LIBRARY_PATH": "/usr/lib",
    "QT_PLUGIN_PATH": "/usr/lib",
}
"""What QGIS sets for itself on one system or another."""


def test_variables_of_qgis_do_not_reach_it(program, tmp_path, jacksboro, monkeypatch):
    """All of them set, the result is the same to a byte."""
    upscale(program, jacksboro, tmp_path / "plain.tif", Listener())
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    upscale(program, jacksboro, tmp_path / "hostile.tif", Listener())
    assert (tmp_path / "hostile.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


def test_progress_and_warnings_come_through(program, large, jacksboro, tmp_path):
    """Tiles as they are done, to the last; what is to be said of the data."""
    heard = Heard()
    alone = shutil.copy(large, tmp_path / "large.tif")  # QGIS may have written statistics beside the shared one
    upscale(program, alone, tmp_path / "fine.tif", heard, "--tile-size", "64", "--model", "cubic")
    done, total = heard.shares[-1]
    assert done == total > 100
    assert heard.shares == sorted(heard.shares)
    assert (heard.warnings, heard.lines) == ([], [])
    source = tmp_path / "coarse.tif"
    shutil.copy(jacksboro, source)
    source.with_suffix(".tfw").touch()
    upscale(program, source, tmp_path / "coarse_x3.tif", heard)
    assert [text.partition(":")[0] for text in heard.warnings] == ["W-SIDECAR"]


@pytest.mark.parametrize(
    ("source", "more", "words"),
    [
        ("coarse", ["--model", "nothing"], "no model 'nothing' in the package"),
        ("gone", [], "no such file: .*gone.tif"),
        ("coarse", ["--bounds", "0", "0", "1", "1"], "outside|do not meet|no coarse cell"),
    ],
)
def test_what_is_wrong_is_one_line(program, jacksboro, tmp_path, source, more, words):
    """That of the program, without its name; nothing is left."""
    path = jacksboro if source == "coarse" else tmp_path / "gone.tif"
    heard = Heard()
    with pytest.raises(ToolError, match=words) as caught:
        upscale(program, path, tmp_path / "fine.tif", heard, *more)
    assert "\n" not in str(caught.value)
    assert not str(caught.value).startswith("geofsrcnn")
    assert heard.lines == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("exit 3", "geofsrcnn ended with code 3: it said nothing"),
        ("echo what happened >&2; kill -9 $$", "geofsrcnn ended with code -9: what happened"),
    ],
)
def test_a_program_that_dies_is_told_of(tmp_path, body, words):
    """With its last words."""
    path = tmp_path / "geofsrcnn"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    with pytest.raises(ToolError, match=words):
        tool.run_program(path, ["upscale"], Listener())


def test_a_program_that_cannot_be_started(tmp_path):
    """In one line."""
    path = tmp_path / "geofsrcnn"
    path.write_text("text")
    with pytest.raises(ToolError, match="geofsrcnn cannot be run"):
        tool.run_program(path, ["--version"], Listener())


def test_cancel_leaves_nothing(program, large, tmp_path):
    """No output, no folder of work, no process."""
    before = children(os.getpid())
    with pytest.raises(Cancelled):
        upscale(program, large, tmp_path / "fine.tif", Impatient(), "--tile-size", "64", "--threads", "1")
    assert list(tmp_path.iterdir()) == []
    assert set(children(os.getpid())) <= set(before)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from geofsrcnn_qgis import program
from geofsrcnn_qgis.process import Listener

class Told(Listener):
    def progress(self, done, total):
        if done:
            print(done, flush=True)

program.run_program(Path(sys.argv[2]), program.with_progress("upscale", *sys.argv[3:]), Told())
"""


def test_the_program_ends_when_qgis_is_killed(program, large, tmp_path):
    """SIGKILL, which nothing can catch; the program notices, and leaves nothing."""
    line = [sys.executable, "-c", PARENT, PLUGINS, program, large, tmp_path / "fine.tif", "--tile-size", "64"]
    with subprocess.Popen([*map(str, line), "--threads", "1"], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline().strip().isdigit()
        assert any(tmp_path.glob(".*.part"))
        (child,) = (pid for pid in children(parent.pid) if "geofsrcnn" in _command(pid))
        parent.send_signal(signal.SIGKILL)
        until(lambda: not alive(child))
    assert list(tmp_path.iterdir()) == []
