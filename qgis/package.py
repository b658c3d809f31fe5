"""Makes the zip of the plugin, and holds it against the rules of the QGIS plugin repository.

``python qgis/package.py`` writes ``dist/geofsrcnn_qgis.zip``, always the same bytes for the same files. The rules are
those that the repository states (plugins.qgis.org/docs/publish) and checks at an upload: the form of the archive,
metadata.txt, Bandit and detect-secrets. Not checked here: that the three addresses in metadata.txt answer.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PLUGIN = Path(__file__).parent / "geofsrcnn_qgis"

LARGEST = 25_000_000
"""Bytes of a plugin."""

LONGEST_LINE = 500
"""Characters; what is longer is taken for code that hides something."""

KINDS = {".py", ".txt", ".md", ".png", ".svg", ""}
"""Suffixes of what a plugin of ours consists of; LICENSE has none. Programs and libraries are forbidden."""

FOLDERS = {"__MACOSX", "__pycache__"}
"""Folders that must not be in it, beside hidden ones."""

REQUIRED = ("name", "description", "version", "qgisMinimumVersion", "author", "email", "about", "tracker", "repository")

ADDRESSES = ("homepage", "tracker", "repository")
"""Fields that hold addresses; each must answer when the plugin is uploaded."""

FORMS = {
    "version": r"\d+(\.\d+)+",
    "qgisMinimumVersion": r"\d+\.\d+",
    "qgisMaximumVersion": r"\d+\.\d+",
    "author": r"[^/]+",
    "email": r"[^@\s]+@(?!([^@\s]+\.)?example\.)[^@\s]+\.[a-z]+",  # the domains example.* belong to nobody
    **dict.fromkeys(ADDRESSES, r"https://[\w.-]+\.[a-z]+(/\S*)?"),
    **dict.fromkeys(("experimental", "deprecated", "server", "hasProcessingProvider"), r"(?i)true|false|yes|no"),
    "license": r"GPL-(2|3)\.0-or-later",
}
"""Forms of fields in metadata.txt."""

OBSOLETE = ("supportsQt6",)
"""Fields that the repository no longer takes; qgisMaximumVersion says it now."""

PERMITTED = "B404"
"""The rule of Bandit that the repository leaves out: that subprocess is imported. Its calls are judged one by one."""

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every file in the archive."""


def write_zip(folder: Path, target: Path) -> None:
    """Pack a plugin, without caches; stored as it is, as compressors differ from computer to computer."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
            name = path.relative_to(folder.parent)
            if path.is_file() and "__pycache__" not in name.parts:
                entry = zipfile.ZipInfo(name.as_posix(), EARLIEST)
                entry.create_system, entry.external_attr = 3, 0o100644 << 16  # a plain file of Unix, on every system
                archive.writestr(entry, path.read_bytes())


def form_problems(path: Path) -> Iterator[str]:
    """Yield each rule about the form of an archive and its metadata that is broken, in a line that says what to do."""
    if path.stat().st_size > LARGEST:
        yield f"{path.name}: {path.stat().st_size:,} bytes, and the repository takes {LARGEST:,}: leave something out"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        yield from _names(archive)
        tops = {name.partition("/")[0] for name in names}
        if len(tops) != 1:
            yield f"one folder must hold all of it, and there are {', '.join(sorted(tops))}"
            return
        (top,) = tops
        if not re.fullmatch(r"[A-Za-z]\w+", top, re.ASCII) or "plugin" in top.lower():
            yield f"{top}: the folder's name must consist of letters, digits and _, without the word plugin"
        if missing := [name for name in ("__init__.py", "metadata.txt", "LICENSE") if f"{top}/{name}" not in names]:
            yield from (f"{name} is missing: add it to the folder" for name in missing)
            return
        yield from _metadata(archive.read(f"{top}/metadata.txt").decode(), top, names)
        for name in names:
            if name.endswith(".py"):
                yield from _code(name, archive.read(name).decode())


def scan_problems(path: Path) -> Iterator[str]:
    """Yield what the scanners of the repository find in an archive."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        yield from _bandit(folder)
        yield from _secrets(folder)


def _names(archive: zipfile.ZipFile) -> Iterator[str]:
    """Yield what is wrong with the files, by their names and permissions."""
    for entry in archive.infolist():
        name, path = entry.filename, PurePosixPath(entry.filename)
        if ".." in name or "\\" in name or path.is_absolute() or re.match("[A-Za-z]:", name):
            yield f"{name}: names must be relative, with / between folders"
        elif FOLDERS & set(path.parts) or any(part.startswith(".") for part in path.parts):
            yield f"{name}: caches and hidden files are refused: remove it"
        elif path.suffix.lower() not in KINDS:
            yield f"{name}: {path.suffix} is no text and no picture: binaries are refused"
        elif (entry.external_attr >> 16) & 0o111:
            yield f"{name}: a file that can be executed is suspicious: take the permission away"


def _metadata(text: str, top: str, names: list[str]) -> Iterator[str]:
    """Yield what is wrong with metadata.txt."""
    parser = configparser.ConfigParser()
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # fields are told apart by case
    try:
        parser.read_string(text)
        fields = dict(parser.items("general"))
    except configparser.Error as error:
        yield f"metadata.txt cannot be read: {error.message.splitlines()[0]}"
        return
    yield from (f"metadata.txt: {name} is missing" for name in REQUIRED if not fields.get(name, "").strip())
    yield from (f"metadata.txt: {name} is obsolete: remove it" for name in OBSOLETE if name in fields)
    for name, form in FORMS.items():
        value = fields.get(name, "").strip()
        if value and not re.fullmatch(form, value):
            yield f"metadata.txt: {name}={value} is not valid"
    icon = fields.get("icon", "").removeprefix("./")
    if f"{top}/{icon}" not in names:
        yield f"metadata.txt: the icon {icon} is not there"


def _code(name: str, text: str) -> Iterator[str]:
    """Yield what is wrong with a module, as text."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        yield f"{name}, line {error.lineno}: {error.msg}"
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > LONGEST_LINE:
            yield f"{name}, line {number}: {len(line)} characters in one line"


def _bandit(folder: str) -> Iterator[str]:
    """Yield what Bandit finds."""
    report = _report(["bandit", "--quiet", "--recursive", folder, "--format", "json", "--skip", PERMITTED], folder)
    for found in report["results"]:
        name = Path(found["filename"]).relative_to(folder).as_posix()
        yield f"{name}, line {found['line_number']}: {found['test_id']}, {found['issue_text']}"


def _secrets(folder: str) -> Iterator[str]:
    """Yield what detect-secrets takes for passwords and keys."""
    report = _report(["detect_secrets", "scan", "--all-files", "--exclude-files", r"metadata\.txt", "."], folder)
    for name, entries in report["results"].items():
        yield from (
            f"{name}, line {each['line_number']}: this looks like a secret ({each['type']})" for each in entries
        )


def _report(command: list[str], folder: str) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Run a module that prints JSON."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout)


def main() -> None:
    """Pack the plugin; keep the archive only if it breaks no rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", nargs="?", type=Path, default=Path("dist/geofsrcnn_qgis.zip"), help="the zip")
    target = parser.parse_args().target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent) as folder:
        made = Path(folder) / target.name
        write_zip(PLUGIN, made)
        if found := [*form_problems(made), *scan_problems(made)]:
            sys.exit("\n".join(found))
        made.replace(target)
    print(f"{target}: {target.stat().st_size:,} bytes; no rule of the QGIS plugin repository is broken")


if __name__ == "__main__":
    main()
