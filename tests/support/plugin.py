"""The plugin of QGIS in tests: its modules, the program that it runs, and QGIS in an environment of its own.

QGIS's embedded Python takes the standard library of the first ``python3`` on PATH, so that a virtual environment's
would end it: it is started with next to no variables, as a desktop starts it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import ROOT

PLUGINS = ROOT / "qgis"
INSIDE = ROOT / "tests" / "qgis" / "inside"
PROCESS = "/usr/bin/qgis_process.bin"
"""The wrapper beside it is broken in Debian 12: it passes options that the program does not know."""

if str(PLUGINS) not in sys.path:
    sys.path.append(str(PLUGINS))  # the modules of the plugin that import no QGIS

WRAPPER = """#!{python}
import sys
sys.path.insert(0, {root!r})
from geofsrcnn.cli.main import main
main()
"""


def make_program(folder: Path) -> Path:
    """A program ``geofsrcnn`` that runs this source tree."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "geofsrcnn"
    path.write_text(WRAPPER.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
    path.chmod(0o755)
    return path


def make_wheel(folder: Path, version: str, answers: str | None = None, more: str = "") -> Path:
    """A package ``geofsrcnn`` whose program tells its version, and does no more; with more lines of metadata."""
    folder.mkdir(exist_ok=True)
    path, info = folder / f"geofsrcnn-{version}-py3-none-any.whl", f"geofsrcnn-{version}.dist-info"
    answer = f"geofsrcnn, version {version}" if answers is None else answers
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("geofsrcnn/__init__.py", f"def main():\n    print({answer!r})\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: geofsrcnn\nVersion: {version}\n{more}")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngeofsrcnn = geofsrcnn:main\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@functools.cache
def why_no_qgis() -> str:
    """Why QGIS cannot be run here; empty if it can."""
    if not Path(PROCESS).is_file():
        return f"no {PROCESS}: make qgis-test installs it"
    clean = {"PATH": "/usr/bin:/bin", "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(["/usr/bin/python3", "-c", "import qgis.core"], env=clean, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2]


def require_qgis(*, windows: bool = False) -> None:
    """Skip a test where QGIS is missing, or a screen for it; fail it if GEOFSRCNN_REQUIRE_QGIS wants it there."""
    why = why_no_qgis()
    if not why and windows and not Path("/usr/bin/xvfb-run").is_file():
        why = "no xvfb-run: make qgis-test installs it"
    if why:
        if os.environ.get("GEOFSRCNN_REQUIRE_QGIS"):
            pytest.fail(why)
        pytest.skip(why)


class Qgis:
    """QGIS with the plugin, a profile of its own, and no window.

    Parameters
    ----------
    folder : Path
        Of all that it writes.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        ini = folder / "profile" / "profiles" / "default" / "QGIS" / "QGIS3.ini"
        for each in (self.home, ini.parent):
            each.mkdir(parents=True)
        self.home.chmod(0o700)
        ini.write_text("[PythonPlugins]\ngeofsrcnn_qgis=true\nprocessing=true\n", encoding="utf-8")
        self.program = make_program(folder / "program")
        self.variables = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "QT_QPA_PLATFORM": "offscreen",
            "XDG_RUNTIME_DIR": str(self.home),
            "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
            "QGIS_PLUGINPATH": str(PLUGINS),
            "GEOFSRCNN": str(self.program),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, *command: object, **variables: str) -> subprocess.Popen[str]:
        """Start a command in the environment of this QGIS."""
        line = list(map(str, command))
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(line, env={**self.variables, **variables}, cwd=self.home, text=True, **both)

    def run_tool(self, tool: str, **parameters: object) -> subprocess.CompletedProcess[str]:
        """Run a tool of the plugin to its end."""
        return self.run(PROCESS, *_line(tool, parameters))

    def start_tool(self, tool: str, **parameters: object) -> subprocess.Popen[str]:
        """Start a tool of the plugin."""
        return self.start(PROCESS, *_line(tool, parameters))

    def run(self, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*command, **variables)
        out, err = process.communicate(timeout=550)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def script(self, name: str, *arguments: object, **variables: str) -> Any:
        """Run a script of tests/qgis/inside with QGIS's Python, and return what it prints in the end, read as JSON."""
        done = self.run("/usr/bin/python3", INSIDE / name, *arguments, **variables)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.strip().rpartition("\n")[2])

    def desktop(self, name: str, seen: Path, **variables: str) -> Any:
        """Run a script of tests/qgis/inside in QGIS with its windows, on a screen that nobody sees.

        It is told by DESKTOP_SEEN where to write what this returns, read as JSON; pictures lie beside it.
        """
        shown = [
            "--noversioncheck",
            "--nologo",
            "--profiles-path",
            self.home.parent / "profile",
            "--code",
            INSIDE / name,
        ]
        variables = {"QT_QPA_PLATFORM": "xcb", "DESKTOP_SEEN": str(seen), **variables}
        screen = ["/usr/bin/xvfb-run", "--auto-servernum", "--server-args=-screen 0 1600x1100x24"]
        done = self.run(*screen, "/usr/bin/qgis.bin", *shown, **variables)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(seen.read_text(encoding="utf-8"))


def _line(tool: str, parameters: Mapping[str, object]) -> list[str]:
    return ["run", f"geofsrcnn:{tool}", *(f"--{name}={value}" for name, value in parameters.items())]
