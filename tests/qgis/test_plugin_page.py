"""The page about the plugin is true: its messages, its words, its pictures."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.support.pages import page
from tests.support.places import ROOT
from tests.support.plugin import PLUGINS

TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in (PLUGINS / "geofsrcnn_qgis").rglob("*.py")]


def texts() -> Iterator[str]:
    """The texts in the plugin, with … for what is put in."""
    for node in (node for tree in TREES for node in ast.walk(tree)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_messages_are_those_of_the_plugin():
    """Word for word."""
    rows = page("docs/qgis.md").text.partition("| message | do this |")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `(.*)` \|", rows, flags=re.MULTILINE)
    assert len(messages) > 10
    assert set(messages) - set(texts()) == set()


def test_its_parameters_entries_and_tools_are_those_of_the_plugin():
    """What stands in bold are parameters, behind the menu's name its entries."""
    text, said = page("docs/qgis.md").text, set(texts())
    names = {name for line in text.splitlines() for name in re.findall(r"\*\*([A-Z][^*]+)\*\*", line)}
    assert len(names) >= 8
    assert [name for name in names if not any(each.startswith(name) for each in said)] == []
    entries = set(re.findall(r"\*Raster > geofsrcnn > ([^*]+)\*", text.replace("\n", " ")))
    assert len(entries) == 5
    assert entries <= said
    tools = set(re.findall(r"`geofsrcnn:(\w+)`", text))
    assert tools == {"upscale", "upscale_file", "evaluate", "check", "install"} <= said


@pytest.mark.parametrize("name", ["qgis.png", "qgis-dialog.png"])
def test_its_pictures_are_small(name):
    """So that the page loads at once."""
    assert f"]({name})" in page("docs/qgis.md").text
    assert 20_000 < (ROOT / "docs" / name).stat().st_size < 400_000
