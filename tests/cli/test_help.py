"""Help of the commands: sections, an example that runs as it stands, and lines that fit."""

from __future__ import annotations

import shlex

import click
import pytest

from geofsrcnn.cli.help import Command
from geofsrcnn.cli.main import cli
from geofsrcnn.values.quantity import STATED

COMMANDS = {name: command for name, command in cli.commands.items() if isinstance(command, Command)}


def help_of(name: str) -> str:
    """Text of ``--help``."""
    parent = click.Context(cli, info_name="geofsrcnn")
    return click.Context(COMMANDS[name], parent=parent, info_name=name, **COMMANDS[name].context_settings).get_help()


def sections_of(name: str) -> dict[str, list[str]]:
    """Flags under each heading."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in help_of(name).splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line.rstrip(":")
        elif heading and line.startswith("  -"):
            found.setdefault(heading, []).append(next(w for w in line.split() if w.startswith("--")))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_listed_once(name):
    """Whatever section it is in."""
    listed = sorted(flag for flags in sections_of(name).values() for flag in flags)
    options = [param for param in COMMANDS[name].params if isinstance(param, click.Option)]
    longest = sorted(["--help", *(max(param.opts, key=len) for param in options)])
    assert [flag.partition("/")[0].rstrip(",") for flag in listed] == longest


@pytest.mark.parametrize("name", ["upscale", "batch", "train", "train-pairs"])
def test_what_people_need_first_comes_first(name):
    """Ten options in the first section, and no section that is too long to be read."""
    sections = sections_of(name)
    assert next(iter(sections)) == "Most used"
    assert len(sections["Most used"]) == 10
    assert max(map(len, sections.values())) <= 12


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_a_command(name):
    """It has the command's name, and options and values that the command takes."""
    line = help_of(name).rpartition("Example:\n")[2]
    words = shlex.split(line.replace("\\\n", ""))
    assert words[:2] == ["geofsrcnn", name]
    COMMANDS[name].make_context(name, words[2:])


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_lines_fit_the_terminal(monkeypatch, name, width):
    """No line is longer than a narrow terminal, nor than can be read on a wide one."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, help_of(name).splitlines())) <= min(width, 100)


def test_commands_are_told_apart_at_a_glance():
    """In the order of their use, each with a whole sentence on a narrow terminal."""
    text = click.Context(cli, info_name="geofsrcnn", terminal_width=80).get_help()
    rows = text.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows] == list(cli.commands)
    assert all(row.endswith(".") and "..." not in row for row in rows)


def test_help_names_all_kinds_that_a_user_may_give():
    """They stand in the help as words, for importing them costs numpy."""
    shown = " ".join(help_of("upscale").split()).replace("- ", "-")
    assert all(kind.value in shown for kind in STATED)
