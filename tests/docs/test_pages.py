"""Links lead somewhere, options and tests that pages name exist, and the README stays short."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib

import click
import pytest

import geofsrcnn
from geofsrcnn import load_checkpoint
from geofsrcnn.cli.main import cli
from tests.support.pages import ALL, FOREIGN, PAGES, Page, options_of, page
from tests.support.places import ROOT

LANGUAGES = {"sh", "console", "python", "text", "toml", "json", "bash", "html"}
"""Of fenced blocks: run (sh, python, html), printed (text), a transcript (console), laid out (toml), read."""

RUN_EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_every_page_is_listed():
    """A page of docs/ that the tests do not know is not tested."""
    found = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert found == {name for name in PAGES if name.startswith("docs/")}


def test_the_readme_is_short():
    """At most 150 lines of at most 120 characters."""
    lines = page("README.md").text.splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120


def test_each_page_is_led_to():
    """From the README each page of docs/ is one click away, others from the index of their folder or of docs/."""
    indices = {"docs": "README.md", "docs/howto": "docs/index.md", "docs/studies": "docs/studies/index.md"}
    assert {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")} == set(indices)
    for folder, name in indices.items():
        start = (ROOT / name).parent
        led = {(start / link.partition("#")[0]).resolve() for link in page(name).links}
        assert {path for path in (ROOT / folder).glob("*.md") if path != ROOT / name} <= led


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    """Files and headings that a page links to exist."""
    here = page(name)
    for link in here.links:
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (here.path.parent / place).resolve() if place else here.path
        assert target.is_file(), f"{name} links to {link}"
        if anchor:
            assert anchor in Page(str(target.relative_to(ROOT))).anchors, f"{name} links to {link}"


@pytest.mark.parametrize("name", PAGES)
def test_blocks_have_a_language(name):
    """Each fenced block says what it is, so that it is tested as such."""
    assert [block.line for block in page(name).blocks if block.language not in LANGUAGES] == []
    assert page(name).text.count("```") == 2 * len(page(name).blocks)


@pytest.mark.parametrize("name", [name for name, about in PAGES.items() if about])
def test_options_exist(name):
    """Each option that the prose names belongs to a command that the page is about."""
    known = {option for about in PAGES[name] for option in options_of(about)} | FOREIGN
    assert page(name).options - known == set()


@pytest.mark.parametrize("name", PAGES)
def test_commands_parse(name, tmp_path, monkeypatch):
    """Each command line names options that its command has, with values that it takes."""
    monkeypatch.chdir(tmp_path)
    for block in page(name).blocks:
        block.save(tmp_path)
        for program, command, *arguments in block.commands:
            assert program == "geofsrcnn" or command == "upscale", arguments
            parse(command, arguments)


@pytest.mark.parametrize("name", PAGES)
def test_extras_and_examples_exist(name):
    """Extras of pip, and scripts that are run or referred to, are there."""
    text = page(name).text
    named = {extra for group in re.findall(r'pip install "?\.\[([\w,]+)\]', text) for extra in group.split(",")}
    assert named <= RUN_EXTRAS
    for script in re.findall(r"\b((?:examples|benchmarks|tests)/[\w/]+\.(?:py|toml|json))", text):
        assert (ROOT / script).is_file(), script


def test_promises_name_their_tests():
    """Each test that stands on the page of promises is there."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page("docs/promises.md").text)
    assert len(named) >= 12
    for place, test in named:
        tree = ast.parse((ROOT / place).read_text(encoding="utf-8"))
        assert test in {each.name for each in tree.body if isinstance(each, ast.FunctionDef)}, f"{place}::{test}"


@pytest.mark.parametrize("name", ["README.md", "docs/models.md"])
def test_scores_are_those_of_the_cards(name):
    """The validation scores in tables of models are what the shipped models' cards state."""
    for model in ("small", "default"):
        cards = [load_checkpoint(model, factor).card for factor in (2, 3, 4)]
        wanted = [card.scores["of_best_classical"] for card in cards]
        rows = re.findall(rf"^\| `{model}` \|(.* 0\.\d.*)\|$", page(name).text, flags=re.MULTILINE)
        found = [float(number) for number in re.findall(r"\b0\.\d{3}\b", rows[-1])][-3:]
        assert found == pytest.approx(wanted, abs=6e-4), model


def test_every_public_name_is_listed():
    """The page about Python has each name that geofsrcnn offers, in code."""
    listed = set(re.findall(r"`(\w+)`", page("docs/python.md").prose))
    assert set(geofsrcnn.__all__) - {"__version__"} - listed == set()


def test_every_public_name_has_its_docstring_on_the_site():
    """The page of all functions asks for each name once, and for no others."""
    asked = re.findall(r"^::: geofsrcnn\.(\w+)$", page("docs/api.md").text, flags=re.MULTILINE)
    assert sorted(asked) == sorted(set(geofsrcnn.__all__) - {"__version__"})


def test_contributing_names_what_there_is():
    """Modules, functions and fields that CONTRIBUTING names with their package are in the package."""
    packages = {path.stem for path in (ROOT / "geofsrcnn").iterdir()}
    named = set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", page("CONTRIBUTING.md").prose))
    ours = {name for name in named if name.partition(".")[0] in packages}
    assert len(ours) > 20
    assert [name for name in sorted(ours) if not is_there(name)] == []


def is_there(name: str) -> bool:
    """Tell whether a dotted name below geofsrcnn is a module, or something in one."""
    module, rest = "geofsrcnn", name.split(".")
    while rest and importlib.util.find_spec(f"{module}.{rest[0]}"):
        module, rest = f"{module}.{rest[0]}", rest[1:]
        if not hasattr(importlib.import_module(module), "__path__"):
            break
    found: object = importlib.import_module(module)
    for part in rest:
        if part in getattr(found, "__dataclass_fields__", {}):
            continue
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def parse(command: str, arguments: list[str]) -> None:
    """Let click read a command line, as far as to types of values; nothing is run."""
    found = cli.commands[command]
    with click.Context(found, info_name=command) as context:
        found.parse_args(context, list(arguments))


def test_the_commands_are_these():
    """The pages are about the commands that there are."""
    assert set(cli.commands) == ALL
