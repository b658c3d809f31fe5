# SPDX-License-Identifier: GPL-2.0-or-later
"""Putting the program into an environment of the user's own, apart from QGIS's Python. No QGIS here.

Everything lies in one folder of the user, so that no administrator is needed and nothing of QGIS changes. An
environment is used only when all of it is there; a run that fails or is cancelled leaves what was there before.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, Sequence

from .process import WINDOWS, Cancelled, Listener, ToolError, environment, run
from .program import READY, data_folder, own_environment, program_in, version_of, which

EXTRAS = "[netcdf,zarr,report]"
"""What the tools need beside the package itself."""

PACKAGE = f"geofsrcnn{EXTRAS}"

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions of Python that geofsrcnn runs on."""

INSTALLER_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_PROXY"),
    *("PIP_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_CONSTRAINT", "PIP_NO_INDEX", "PIP_DEFAULT_TIMEOUT"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_FIND_LINKS", "UV_CACHE_DIR", "UV_NATIVE_TLS"),
    *("UV_OFFLINE", "UV_PYTHON_INSTALL_MIRROR", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"),
)
"""Variables of pip and uv that say where packages come from: those of an organisation's own index."""

NO_PYTHON = (
    "neither uv nor Python 3.11, 3.12 or 3.13 was found: install one of them for yourself (python.org, or the page of uv "
    "at docs.astral.sh; no administrator is needed), then run this again; Debian and Ubuntu have a part of Python that "
    "is needed in a package of its own, python3-venv"
)

PROBE = "import json, ssl, sys, venv, ensurepip; print(json.dumps([list(sys.version_info[:2]), sys.executable]))"
"""What a Python must be able to do: environments with pip (Debian has that in a package of its own), that fetches."""


@dataclass(frozen=True)
class Maker:
    """What makes an environment: uv, or a Python that is new enough.

    Parameters
    ----------
    path : Path
        Of the program.
    uv : bool
        True if it is uv.
    words : str
        What it is, for people.
    """

    path: Path
    uv: bool
    words: str

    def steps(self, place: Path, package: str) -> list[list[list[str]]]:
        """Return the steps that make an environment with a package in a place: commands, of which one must work.

        A bare PyTorch brings gigabytes for GPUs on Linux; uv takes the build that fits the computer, from PyTorch's own
        index, which not every network reaches.
        """
        if self.uv:
            versions = f">={OLDEST[0]}.{OLDEST[1]},<{NEWEST[0]}.{NEWEST[1] + 1}"
            make = [str(self.path), "venv", "--no-project", "--python", versions, str(place)]
            fill = [str(self.path), "pip", "install", "--python", str(place)]
            return [[make], [[*fill, "--torch-backend", "auto", package], [*fill, package]]]
        programs = place / ("Scripts" if WINDOWS else "bin")
        make = [str(self.path), "-I", "-m", "venv", str(place)]
        pip = [str(programs / "python"), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        if not sys.platform.startswith("linux"):
            return [[make], [[*pip, package]]]
        uv = [str(programs / "uv"), "pip", "install", "--python", str(place), "--torch-backend", "auto", package]
        return [[make], [[*pip, "uv"], []], [uv, [*pip, package]]]


def find_maker(listener: Listener) -> Maker:
    """Find uv, or a Python from 3.11 to 3.13, on PATH, where users install them, and beside QGIS.

    Raises
    ------
    ToolError
        If there is none.
    """
    uv = which("uv")
    if uv is not None:
        return Maker(Path(uv), uv=True, words=f"uv ({uv})")
    for python in _pythons():
        found = _probe(python, listener)
        if found is not None:
            return found
    raise ToolError(NO_PYTHON)


def _pythons() -> Iterator[Path]:
    """Yield what may be a Python, the newest versions first; QGIS's own on Windows and macOS last."""
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)] + ["python3", "python"]
    seen: set[str] = set()
    found = [which(name) for name in names]
    if WINDOWS:
        programs = Path(os.environ.get("LOCALAPPDATA", "")) / "Programs" / "Python"
        found += [str(programs / f"Python3{minor}" / "python.exe") for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        found += [str(Path(sys.exec_prefix) / "python.exe")]
    elif sys.platform == "darwin":
        versions = Path("/Library/Frameworks/Python.framework/Versions")
        found += [str(versions / f"3.{minor}" / "bin" / "python3") for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
        found += [str(Path(sys.exec_prefix) / "bin" / "python3")]
    for each in found:
        if each and Path(each).is_file() and os.path.realpath(each) not in seen:
            seen.add(os.path.realpath(each))
            yield Path(each)


def _probe(python: Path, listener: Listener) -> Maker | None:
    """Return a Python as a maker, if it can be one."""
    said: list[str] = []
    try:
        code, _ = run(
            [str(python), "-I", "-c", PROBE],
            environment(python.parent),
            said.append,
            listener.cancelled,
            stops_with_stdin=False,
        )
        version, executable = json.loads(said[-1]) if code == 0 else ([0, 0], "")
    except (ToolError, ValueError, IndexError):
        return None
    if not OLDEST <= tuple(version) <= NEWEST:
        return None
    return Maker(Path(executable), uv=False, words=f"Python {version[0]}.{version[1]} ({executable})")


def install(listener: Listener, package: str = "", maker: Maker | None = None) -> Path:
    """Make the environment anew, with the newest geofsrcnn in it, and return the program.

    Parameters
    ----------
    listener : Listener
        Is told of each step, and may ask for the end.
    package : str
        What pip or uv is to install instead of the published package: a wheel's path, or a requirement.
    maker : Maker, optional
        What makes it, if that is known.

    Raises
    ------
    ToolError
        If there is nothing to install with, or a step fails; what was there before is there again.
    Cancelled
        If the listener asked for the end; what was there before is there again.
    """
    maker = find_maker(listener) if maker is None else maker
    package = package.strip() or PACKAGE
    wanted = f"{package}{EXTRAS}" if package.endswith(".whl") else package
    place = own_environment()
    before = place.with_name("venv-before")
    listener.say(f"Environment: {place}, made with {maker.words}. PyTorch is large: this takes minutes.")
    data_folder().mkdir(parents=True, exist_ok=True)
    if (place / READY).is_file():
        _remove(before)
        os.replace(place, before)
    else:  # nothing, or what a run that was killed has left; what that one moved away comes back if this one fails
        _remove(place)
    try:
        for number, step in enumerate(maker.steps(place, wanted)):
            _run_step(step, _Packages(listener, number))
        program = program_in(place)
        if program is None:
            raise ToolError(f"{package} brings no program geofsrcnn")
        version = version_of(program)
        (place / READY).write_text(version, encoding="utf-8")
    except BaseException:
        _remove(place)
        if before.exists():
            os.replace(before, place)
        raise
    _remove(before)
    listener.progress(1, 1)
    listener.say(f"geofsrcnn {version} is ready: {program}")
    return program


class _Packages:
    """Takes the lines of an installer, and tells progress by the packages that it names."""

    usual = 45
    """Packages that an environment has, more or less."""

    def __init__(self, listener: Listener, number: int) -> None:
        self.listener, self.number, self.lines, self.count = listener, number, list[str](), 0

    def take(self, line: str) -> None:
        """Pass a line on."""
        self.lines.append(line)
        self.listener.say(line)
        if self.number and re.match(r"\s*(Collecting|Requirement already|\+ )", line):
            self.count += 1
        share = min(self.count / self.usual, 1.0) if self.number else 0.0
        self.listener.progress(5 + 90 * share if self.number else 2, 100)


def _run_step(commands: Sequence[Sequence[str]], packages: _Packages) -> None:
    """Run the first command of a step that works, none if that is one; a ToolError with the last words of the last."""
    for number, command in enumerate(commands):
        try:
            if command:
                _run_command(command, packages)
        except ToolError as error:
            if number + 1 == len(commands):
                raise
            packages.listener.say(f"{error}; another way is tried")
        else:
            return


def _run_command(command: Sequence[str], packages: _Packages) -> None:
    """Run one command of an installer."""
    packages.lines.clear()
    variables = environment(Path(command[0]).parent, INSTALLER_VARIABLES)
    code, _ = run(command, variables, packages.take, packages.listener.cancelled, stops_with_stdin=False)
    if packages.listener.cancelled():
        raise Cancelled
    if code != 0:
        errors = [line.strip() for line in packages.lines if re.match(r"\s*(ERROR|error|×|Error)", line)]
        last = errors or [line.strip() for line in packages.lines if line.strip()] or ["it said nothing"]
        raise ToolError(f"{Path(command[0]).name} failed ({last[-1][:300]}): the whole text is in the log")


def _remove(folder: Path) -> None:
    """Remove a folder, if it is there."""
    if folder.exists():
        shutil.rmtree(folder)
