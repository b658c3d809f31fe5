# SPDX-License-Identifier: GPL-2.0-or-later
"""The program geofsrcnn: where it is, what it can do, and how it is run. No QGIS here."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any, Sequence

from .process import WINDOWS, Cancelled, Listener, ToolError, environment, run

LEAST = (0, 1)
"""The oldest version that this plugin works with."""

NAME = "geofsrcnn.exe" if WINDOWS else "geofsrcnn"

READY = "geofsrcnn-ready"
"""A file in an environment of ours, written when all of it is there."""

USUAL = (Path.home() / ".local" / "bin", *(() if WINDOWS else map(Path, ("/opt/homebrew/bin", "/usr/local/bin"))))
"""Where users install programs; desktops often start QGIS without the PATH of their terminals."""

KNOWN_MODELS = ("default", "small", "lanczos-bp", "cubic", "bilinear", "nearest")
"""Models of every version, for lists that are made before the program is asked."""

HOW_TO_INSTALL = (
    "geofsrcnn is not installed: run 'Install the program' of the geofsrcnn tools in the Processing Toolbox, or name the "
    "program in Settings > Options > Processing > Providers > geofsrcnn"
)


class NotInstalled(ToolError):
    """The program is nowhere, and no place was named for it."""

    def __init__(self) -> None:
        super().__init__(HOW_TO_INSTALL)


def data_folder() -> Path:
    """Return the folder of the user that our environment lies in; no administrator is needed, upgrades keep it."""
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "geofsrcnn"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "geofsrcnn"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "geofsrcnn"


def own_environment() -> Path:
    """Return the environment that 'Install the program' makes."""
    return data_folder() / "venv"


def program_in(place: Path) -> Path | None:
    """Return the program in an environment, or the program itself; None if it is not there."""
    if place.is_dir():
        places = (place / "Scripts" / NAME, place / "bin" / NAME, place / NAME)
        return next((each for each in places if each.is_file()), None)
    return place if place.is_file() else None


def which(name: str) -> str | None:
    """Find a program on PATH, or where users install."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, USUAL)]))


def find(setting: str = "") -> Path:
    """Find the program: in the setting, in GEOFSRCNN, in our own environment, on PATH and where users install.

    Raises
    ------
    NotInstalled
        If it is nowhere.
    ToolError
        If it is not where the setting or the variable say.
    """
    for place, words in ((setting, "the setting names"), (os.environ.get("GEOFSRCNN", ""), "GEOFSRCNN names")):
        if place.strip():
            found = program_in(Path(place.strip()).expanduser())
            if found is None:
                raise ToolError(f"{words} {place.strip()}, where geofsrcnn is not: correct or empty it")
            return found.absolute()
    if (own_environment() / READY).is_file():
        found = program_in(own_environment())
        if found is not None:
            return found
    where = which("geofsrcnn")
    if where is None:
        raise NotInstalled
    return Path(where).absolute()


def run_program(program: Path, arguments: Sequence[str], listener: Listener) -> str:
    """Run ``geofsrcnn ARGUMENTS`` and return what it prints.

    Raises
    ------
    ToolError
        With its own line, if it fails.
    Cancelled
        If the listener asked for the end; nothing is left over.
    """
    errors: list[str] = []
    start = "geofsrcnn: error: "

    def take(line: str) -> None:
        if line.startswith("{"):
            state = json.loads(line)
            if state.get("total"):
                listener.progress(state["done"], state["total"])
        elif line.startswith("geofsrcnn: warning: "):
            listener.warn(line[len("geofsrcnn: warning: ") :])
        else:
            errors.append(line)
            if not line.startswith(start):
                listener.say(line)

    code, out = run([str(program), *arguments], environment(program.parent), take, listener.cancelled)
    if listener.cancelled() and code in (129, 130, 143):
        raise Cancelled
    if code != 0:
        own = [line[len(start) :] for line in errors if line.startswith(start)]
        last = next((line for line in reversed(errors) if line.strip()), "it said nothing")
        raise ToolError(own[-1] if own else f"geofsrcnn ended with code {code}: {last}")
    return out


def with_progress(command: str, *arguments: str) -> list[str]:
    """Return the arguments of a command whose progress can be followed, and that ends when we do."""
    return [command, *arguments, "--json", "--progress", "json", "--stop-with-stdin"]


def version_of(program: Path) -> str:
    """Return the version of a program, which must be one that this plugin works with."""
    out = run_program(program, ["--version"], Listener())
    found = re.search(r"version (\d+)\.(\d+)\S*", out)
    if found is None:
        raise ToolError(f"{program} is not geofsrcnn: it answers '{out.strip()[:60]}'")
    if tuple(map(int, found.groups())) < LEAST:
        least = ".".join(map(str, LEAST))
        raise ToolError(f"{program} is {found[0]}, and {least} or newer is needed: run 'Install the program'")
    return found[0][len("version ") :]


_models: dict[tuple[str, int], dict[str, Any]] = {}


def models_of(program: Path) -> dict[str, Any]:
    """Return what ``geofsrcnn models`` lists; asked once for a program that does not change."""
    key = str(program), program.stat().st_mtime_ns
    if key not in _models:
        _models[key] = json.loads(run_program(program, ["models", "--json"], Listener()))
    return _models[key]


def model_names(setting: str = "") -> list[str]:
    """List the names of models and classical methods; those of every version if the program cannot be asked."""
    try:
        listed = models_of(find(setting))
        names = [model["name"] for model in listed["models"]]
        return sorted(set(names), key=lambda name: (name != "default", names.index(name))) + listed["classical"]
    except (ToolError, OSError, ValueError, KeyError):
        return list(KNOWN_MODELS)
