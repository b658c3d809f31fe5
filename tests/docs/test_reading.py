"""Followed from top to bottom, the pages work: commands end well, Python runs, and what is printed is as shown."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from geofsrcnn.cli.main import cli
from tests.support import processes
from tests.support.pages import PAGES, Block, options_of, page, shows

ELSEWHERE = ("s3://", "gs://", "https://", "tls://", "torchrun")
"""Command lines with one of these are only parsed: they need other machines."""

SHORT = {
    "train": ["--steps", "2", "--patch", "16", "--quiet"],
    "train-pairs": ["--steps", "2", "--quiet"],
    "train-error": ["--steps", "2", "--patch", "16", "--quiet"],
    "batch": ["--dry-run"],
    "sharpen": ["--minutes", "0"],
}
"""What is appended to command lines that would take long; the last value of an option counts."""

DROPPED = {"train": ["--minutes"]}
"""Options with a value that would lengthen them, which are left out."""


@pytest.mark.parametrize("name", PAGES)
def test_a_reader_can_follow_the_page(name, folder):
    """All its blocks in order, in one folder and one Python session."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, ran = "", [[""]]
    for block in page(name).blocks:
        where = f"{name}, line {block.line}"
        if block.language == "sh":
            printed, ran = run_commands(block, where), block.commands
        elif block.language == "python" and "dask_jobqueue" not in block.text:
            printed = run_python(block, where, names)
        elif block.language == "text" and printed:
            assert plain(block.text) == plain(printed), where
        elif block.language == "console" and block.commands == ran[-1:] and ran[-1][1] not in SHORT:
            assert shows(block.text.partition("\n")[2], printed), where
        elif block.language in ("toml", "json"):
            block.save(folder)


def run_commands(block: Block, where: str) -> str:
    """Run the commands of a block, shortened; what the last one prints."""
    said = ""
    for program, command, *arguments in block.commands:
        if any(word in line for line in arguments for word in ELSEWHERE):
            continue
        words = shorten(command, arguments)
        done = processes.run(command, *words, cwd=str(Path.cwd()))
        assert done.code == 0, f"{where}: {program} {shlex.join([command, *words])}\n{done.err}"
        said = done.out
    return said


def shorten(command: str, arguments: list[str]) -> list[str]:
    """A command line that takes a second instead of an hour, and may replace what stands there."""
    words = list(arguments)
    for option in DROPPED.get(command, []):
        if option in words:
            del words[words.index(option) : words.index(option) + 2]
    again = ["--overwrite"] if "--overwrite" in options_of(command) and "--resume" not in words else []
    if command.startswith("evaluate") and "--report" not in words:
        again = []
    return [*words, *SHORT.get(command, []), *again]


def run_python(block: Block, where: str, names: dict[str, object]) -> str:
    """Run a block in the page's session; what it prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(block.text, where, "exec"), names)  # our own pages
    return said.getvalue()


def plain(text: str) -> str:
    """Text with its spaces made one; digits of hashes count as nothing."""
    return re.sub(r"\s+", " ", re.sub(r"sha256 \w+", "sha256", text)).strip()


def test_commands_are_found():
    """The reader of pages finds commands, continued lines and transcripts included."""
    block = Block("sh", "geofsrcnn upscale a b \\\n    --factor 2  # words\nmake demo\n", 1)
    assert block.commands == [["geofsrcnn", "upscale", "a", "b", "--factor", "2"]]
    shown = Block("console", "$ geofsrcnn models\ngeofsrcnn: warning: W-X\n", 1)
    assert shown.commands == [["geofsrcnn", "models"]]
    assert sum(len(block.commands) for name in PAGES for block in page(name).blocks) > 50
    assert set(SHORT) | set(DROPPED) <= set(cli.commands)
