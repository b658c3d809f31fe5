"""Troubleshooting lists the warnings and exit codes that there are, and no others."""

from __future__ import annotations

import ast
import re

from geofsrcnn import errors
from geofsrcnn.cli import signals
from tests.support.pages import PAGES, page
from tests.support.places import ROOT

BROKEN_PIPE = 141

SIGNALS = {128 + number for number in (1, 2, 15, 21)}
"""Exit codes of runs that a signal ended, on any system."""


def warned() -> set[str]:
    """Codes that the package's source gives to warnings."""
    found: set[str] = set()
    for path in (ROOT / "geofsrcnn").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        found |= {text for text in strings if isinstance(text, str) and re.fullmatch(r"W-[A-Z]+(-[A-Z]+)*", text)}
    return found


def test_each_warning_is_explained_once():
    """The tables have a row for each code of the source, in the order of the alphabet, and none else."""
    tables = page("docs/troubleshooting.md").text.split("## Warnings")[1].split("###")
    rows = [re.findall(r"^\| (W-[A-Z-]+) \|", table, flags=re.MULTILINE) for table in tables]
    assert sorted(code for table in rows for code in table) == sorted(warned())
    assert all(table == sorted(table) for table in rows)


def test_pages_name_only_warnings_that_exist():
    """No page speaks of a warning that there is none of."""
    assert set().union(*(page(name).codes for name in PAGES)) <= warned()


def test_each_exit_code_is_explained():
    """The table of exit codes has those of all errors, of signals, of a closed pipe, and of success."""
    table = page("docs/troubleshooting.md").text.split("## Exit codes")[1].split("##")[0]
    listed = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, flags=re.MULTILINE) for code in row.split(",")
    }
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, errors.GeofsrcnnError)}
    assert set(signals.SIGNALS.values()) <= SIGNALS
    assert listed == codes | SIGNALS | {0, BROKEN_PIPE}
