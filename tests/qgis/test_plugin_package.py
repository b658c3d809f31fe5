"""The zip of the plugin, and the rules of the repository that it goes to; nothing here needs QGIS."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import package
import pytest

from tests.support.places import ROOT
from tests.support.plugin import PLUGINS


@pytest.fixture
def folder(tmp_path):
    """A copy of the plugin, without caches."""
    return shutil.copytree(package.PLUGIN, tmp_path / "geofsrcnn_qgis", ignore=shutil.ignore_patterns("__pycache__"))


def packed(folder: Path) -> Path:
    """A folder's archive."""
    package.write_zip(folder, folder.parent / "made.zip")
    return folder.parent / "made.zip"


def found(folder: Path) -> list[str]:
    """The rules of form that a folder breaks when it is packed."""
    return list(package.form_problems(packed(folder)))


def test_the_plugin_breaks_no_rule(folder, tmp_path):
    """Its zip has all of its files and none besides, and is the same at each time and in each place."""
    done = subprocess.run(
        [sys.executable, PLUGINS / "package.py", "made/plugin.zip"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "no rule of the QGIS plugin repository is broken" in done.stdout
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["plugin.zip"]
    with zipfile.ZipFile(tmp_path / "made" / "plugin.zip") as archive:
        inside = set(archive.namelist())
    assert inside == {path.relative_to(tmp_path).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert (folder / "LICENSE").read_text().strip().startswith("GNU GENERAL PUBLIC LICENSE")
    for path in folder.rglob("*"):
        path.touch()
        path.chmod(0o777)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "plugin.cpython-311.pyc").touch()
    assert found(folder) == []
    assert (tmp_path / "made.zip").read_bytes() == (tmp_path / "made" / "plugin.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("algorithms/more.so", "", "geofsrcnn_qgis/algorithms/more.so: .so is no text and no picture"),
        ("install.EXE", "", ".EXE is no text"),
        (".hidden", "", "geofsrcnn_qgis/.hidden: caches and hidden files are refused"),
        ("__MACOSX/x.py", "", "__MACOSX/x.py: caches and hidden files are refused"),
        ("wrong.py", "def f(:\n", "geofsrcnn_qgis/wrong.py, line 1: invalid syntax"),
        ("long.py", f"# {'x' * 600}\n", "long.py, line 1: 602 characters in one line"),
    ],
)
def test_a_file_that_the_repository_refuses(folder, name, content, words):
    """Binaries, hidden files, what is no Python: each in one line."""
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    (line,) = found(folder)
    assert words in line


def test_what_the_scanners_find(folder):
    """Bandit and detect-secrets, as the repository runs them."""
    (folder / "careless.py").write_text("import os, subprocess\nassert os.system(name)\n")
    (folder / "key.py").write_text("place = 'https://me:hunter2hunter2@example.org'\n")
    lines = list(package.scan_problems(packed(folder)))
    begins = (
        "geofsrcnn_qgis/careless.py, line 2: B101",
        "geofsrcnn_qgis/careless.py, line 2: B605",
        "geofsrcnn_qgis/key.py, line 1: this looks like a secret (Basic Auth",
    )
    assert all(line.startswith(begin) for line, begin in zip(sorted(lines), begins, strict=True)), lines


@pytest.mark.parametrize("name", ["__init__.py", "metadata.txt", "LICENSE"])
def test_a_file_that_the_repository_wants(folder, name):
    """Its absence."""
    (folder / name).unlink()
    assert found(folder) == [f"{name} is missing: add it to the folder"]


@pytest.mark.parametrize("name", package.REQUIRED)
def test_a_field_that_the_repository_wants(folder, name):
    """Its absence, and its emptiness."""
    text = (folder / "metadata.txt").read_text()
    start = text.index(f"\n{name}=") + 1
    for line in ("", f"{name}=\n"):
        (folder / "metadata.txt").write_text(text[:start] + line + text[_end_of_field(text, start) :])
        assert found(folder) == [f"metadata.txt: {name} is missing"]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("version", "first", "version=first is not valid"),
        ("qgisMinimumVersion", "3", "qgisMinimumVersion=3 is not valid"),
        ("author", "us/them", "author=us/them is not valid"),
        ("email", "nobody", "email=nobody is not valid"),
        ("email", "me@example.org", "email=me@example.org is not valid"),
        ("homepage", "http://homepage", "homepage=http://homepage is not valid"),
        ("tracker", "https://bugs", "tracker=https://bugs is not valid"),
        ("experimental", "perhaps", "experimental=perhaps is not valid"),
        ("license", "Apache-2.0", "license=Apache-2.0 is not valid"),
        ("icon", "gone.png", "the icon gone.png is not there"),
        ("supportsQt6", "True", "supportsQt6 is obsolete"),
    ],
)
def test_a_field_that_the_repository_refuses(folder, field, value, words):
    """One that is there, or is added."""
    text = (folder / "metadata.txt").read_text()
    start = text.find(f"\n{field}=") + 1 or len(text)
    (folder / "metadata.txt").write_text(f"{text[:start]}{field}={value}\n{text[_end_of_field(text, start) :]}")
    (line,) = found(folder)
    assert line == f"metadata.txt: {words}" or line.startswith(f"metadata.txt: {words}:")


def test_metadata_that_cannot_be_read(folder):
    """A field twice."""
    with (folder / "metadata.txt").open("a") as file:
        file.write("name=again\n")
    (line,) = found(folder)
    assert line.startswith("metadata.txt cannot be read: ")


def test_a_folder_with_a_name_that_is_refused(folder):
    """Each name is to be one of Python's, and not to say that it is a plugin."""
    for name in ("geofsrcnn-qgis", "geofsrcnn_plugin"):
        (line,) = found(shutil.copytree(folder, folder.with_name(name)))
        assert line.startswith(f"{name}: the folder's name must")


@pytest.mark.parametrize(
    ("name", "permissions", "words"),
    [
        ("geofsrcnn_qgis/../x.py", 0o644, "names must be relative"),
        ("geofsrcnn_qgis/a\\x.py", 0o644, "names must be relative"),
        ("geofsrcnn_qgis/x.py", 0o755, "a file that can be executed is suspicious"),
        ("other/x.py", 0o644, "one folder must hold all of it, and there are geofsrcnn_qgis, other"),
    ],
)
def test_an_archive_that_others_have_made(folder, name, permissions, words):
    """Names and permissions that this packer does not write."""
    target = packed(folder)
    with zipfile.ZipFile(target, "a") as archive:
        entry = zipfile.ZipInfo(name)
        entry.filename, entry.external_attr = name, permissions << 16
        archive.writestr(entry, "")
    (line,) = package.form_problems(target)
    assert words in line


def test_a_large_archive(folder, monkeypatch):
    """Of more than 25 MB."""
    assert package.LARGEST == 25_000_000
    monkeypatch.setattr(package, "LARGEST", 50_000)
    (line,) = found(folder)
    assert "bytes, and the repository takes 50,000" in line


def test_a_broken_rule_leaves_no_archive(tmp_path, monkeypatch):
    """And ends with the line."""
    monkeypatch.setattr(package, "LARGEST", 50_000)
    monkeypatch.setattr(sys, "argv", ["package.py", str(tmp_path / "plugin.zip")])
    with pytest.raises(SystemExit, match="the repository takes 50,000"):
        package.main()
    assert list(tmp_path.iterdir()) == []


def test_the_version_and_the_home_are_those_of_the_project():
    """The plugin has the addresses that the package has."""
    text = (package.PLUGIN / "metadata.txt").read_text()
    assert "homepage=https://github.com/geofsrcnn/geofsrcnn\n" in text
    if "[project.urls]" in (project := (ROOT / "pyproject.toml").read_text()):
        assert "https://github.com/geofsrcnn/geofsrcnn" in project


def _end_of_field(text: str, start: int) -> int:
    """Where a field of metadata.txt ends, with the lines that go on with it."""
    end = text.find("\n", start) + 1
    while text[end : end + 1] == " ":
        end = text.find("\n", end) + 1
    return end or len(text)
