"""Configuration files: the same words as the command line, and errors with line and key."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.cli.config import Kind, Option, parse_options, read_options
from geofsrcnn.errors import ConfigError
from geofsrcnn.networks.checkpoint import load_checkpoint
from tests.support import processes
from tests.support.rasters import terrain, write

OPTIONS = {
    "factor": Option("factor", "whole"),
    "fine": Option("also_fine", "text", several=True),
    "out": Option("out", "text"),
    "save-minutes": Option("save_minutes", "number"),
    "until": Option("until", "day"),
    "calendar": Option("calendar", "flag"),
    "targets": Option("targets", "names"),
    "partner": Option("partners", "table", several=True),
}
GOOD = """
# a comment
fine = [
  "a.tif",
  "b.tif",
]
factor\t=\t3   # tabs
out = "m.safetensors"
save_minutes = 2
until = 2010-01-01
calendar = false
targets = ["tg", "rr"]
partner = {tg = "tas", rr = "pr"}
"""
VALUES = {
    "also_fine": ["a.tif", "b.tif"],
    "factor": 3,
    "out": "m.safetensors",
    "save_minutes": 2,
    "until": "2010-01-01",
    "calendar": False,
    "targets": ("tg", "rr"),
    "partners": [("tg", "tas"), ("rr", "pr")],
}

WRONG = {
    "unknown": ("\nfactr = 3", 2, "unknown key factr: did you mean factor?"),
    "unknown, nothing near": ("x = 3", 1, "unknown key x: keys are the names of options"),
    "unknown after a text of several lines": ('out = """\nfactr = 3\n"""\nfactr = 3', 4, "unknown key factr"),
    "unknown and odd": ('"a\\u001b b" = 1', 1, r"unknown key a\\x1b b"),
    "a table": ("factor = 3\n[train]\nout = 'x'", 2, "unknown key train"),
    "twice": ("factor = 3\nout = 'm'\nfactor = 3", 3, "factor is given twice"),
    "twice, the second of several lines": ("fine = 'a'\nfine = [\n'b',\n]", 2, "fine is given twice"),
    "twice in two ways": ("save-minutes = 3\nsave_minutes = 3", 2, "save_minutes is given twice"),
    "text for a number": ("factor = '3'", 1, "factor must be a whole number, not the text '3'"),
    "exponent": ("factor = 1e1", 1, "factor must be a whole number, not 10.0"),
    "bool for a whole number": ("factor = true", 1, "factor must be a whole number, not true"),
    "bool for a number": ("save-minutes = false", 1, "save-minutes must be a number, not false"),
    "beyond 64 bits": ("factor = 9223372036854775808", 1, "factor must be a whole number, not one beyond 64 bits"),
    "thousands of digits": (f"factor = {'9' * 5000}", 1, "factor: not TOML"),
    "number for a text": ("out = 3", 1, "out must be a text, not 3"),
    "number for a flag": ("calendar = 1", 1, "calendar must be true or false, not 1"),
    "list for one": ("\n\nout = ['a']", 3, "out must be a text, not a list of str"),
    "nested list": ("fine = [\n['a'],\n]", 1, "fine must be a text or a list of texts, not a list of list"),
    "table for one": ("factor = {a = 1}", 1, "factor must be a whole number, not a table of int"),
    "dotted": ("out = 'm'\nfactor.a = 1", 2, "factor must be a whole number, not a table"),
    "text for a table": ("partner = 'tg=tas'", 1, r"partner must be a table such as .*, not the text 'tg=tas'"),
    "numbers in a table": ("partner = {tg = 1}", 1, r"partner must be a table such as .*, not a table of int"),
    "day and time": ("until = 2010-01-01T00:00:00", 1, "until must be a day such as 2010-01-01, not a date or time"),
    "day for a text": ("out = 2010-01-01", 1, "out must be a text, not a date or time"),
    "no value": ("factor = 3\nout =\n", 2, "out: not TOML"),
    "no quotes": ("factor = 3\nout = m.safetensors\n", 2, "out: not TOML"),
    "open": ("factor = 3\nout = 'm", 2, "out: not TOML"),
    "YAML": ("factor: 3", 1, "not TOML"),
    "a lone return": ("factor = 3\rout = 'm'", 1, "factor: not TOML"),
}


def refused(text: str) -> str:
    """The message that a text is refused with: one printable line."""
    with pytest.raises(ConfigError) as caught:
        parse_options(text, OPTIONS, "c.toml")
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_each_kind_of_value_is_read():
    """Lists, tables, comments, tabs and either way to join words."""
    assert parse_options(GOOD, OPTIONS, "c.toml") == VALUES
    assert parse_options("[partner]\ntg = 'tas'", OPTIONS, "c.toml") == {"partners": [("tg", "tas")]}
    assert parse_options("", OPTIONS, "c.toml") == {}


@pytest.mark.parametrize("name", WRONG)
def test_errors_say_line_and_key(name):
    """Each wrong text: one line with the file, the line of the key, and what is wrong."""
    text, line, words = WRONG[name]
    message = refused(text)
    assert message.startswith(f"c.toml, line {line}: ")
    assert re.search(words, message), message


def test_deep_nesting_is_refused():
    """Brackets without end neither crash nor hang."""
    assert "nested too deeply" in refused("fine = " + "[" * 100_000)


@given(
    before=st.lists(st.sampled_from(["", "# x", "out = 'm'", "fine = [\n 'a', # ]\n]", "partner = {a = 'factr = 1'}"])),
    key=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda key: key.replace("_", "-") not in OPTIONS),
)
def test_the_line_of_any_key_is_found(before, key):
    """An unknown key of any characters after any statements: its own line is said."""
    before = list(dict.fromkeys(before))
    quoted = '"' + "".join(f"\\U{ord(c):08x}" for c in key) + '"'
    text = "\n".join([*before, f"{quoted} = 0"])
    assert tomllib.loads(text)[key] == 0
    assert f"c.toml, line {text.count(chr(10)) + 1}: unknown key" in refused(text)


@given(st.text() | st.lists(st.sampled_from([*"[]{}='\"\n,#.", "factor", "fine", "3", "true", " "])).map("".join))
def test_any_text_is_read_or_refused(text):
    """Whatever the text: values of known options, or a ConfigError of one line."""
    try:
        found = parse_options(text, OPTIONS, "c.toml")
    except ConfigError:
        refused(text)
    else:
        assert set(found) <= {option.name for option in OPTIONS.values()}


@pytest.mark.parametrize("kind", ["text", "whole", "number", "flag", "day"])
@given(value=st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1.0]) | st.sampled_from(["a", "3"]))
def test_no_value_changes_its_type(kind: Kind, value):
    """What is taken is what was written; numbers, texts and true are never taken for each other."""
    text = f"k = {json.dumps(value)}"
    right = {"whole": (int,), "number": (int, float), "flag": (bool,)}.get(kind, (str,))
    if type(value) in right:
        found = parse_options(text, {"k": Option("k", kind)}, "c.toml")["k"]
        assert (found, type(found)) == (value, type(value))
    else:
        with pytest.raises(ConfigError, match="k must be"):
            parse_options(text, {"k": Option("k", kind)}, "c.toml")


def test_files(tmp_path):
    """A mark and other ends of lines are no matter; what is no text, too large or not there is refused."""
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_options(path, OPTIONS) == VALUES
    path.write_bytes(b"factor = 3\nout = '\xff'\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        read_options(path, OPTIONS)
    path.write_bytes(b"factor = 3\n#" + b"x" * 2**21)
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_options(path, OPTIONS)
    for missing, words in ((tmp_path, "Is a directory"), (tmp_path / "no.toml", "No such file"), (Path(), "directory")):
        with pytest.raises(ConfigError, match=words):
            read_options(missing, OPTIONS)


# ---------------------------------------------------------------------------------------------- on the command line


def configured(folder: Path, text: str, *line: object) -> processes.Finished:
    """A training whose options are in a file."""
    (folder / "c.toml").write_text(text)
    prelude = "import torch; torch.set_num_threads(1)\n"
    return processes.run("train", "--config", "c.toml", *line, cwd=str(folder), prelude=prelude)


TRAINING = 'fine = ["a.tif"]\nfactor = 2\nout = "m.safetensors"\nsize = "small"\nsteps = 6\nbatch-size = 2\npatch = 8\n'


def test_a_training_from_a_file(tmp_path):
    """All options from the file, required ones too; the command line wins, FINE over the file's."""
    write(tmp_path / "a.tif", terrain((140, 260), seed=3, high=500).astype("float32"))
    write(tmp_path / "b.tif", terrain((140, 260), seed=4, high=500).astype("float32"))
    done = configured(tmp_path, TRAINING + "quiet = true\njson = true")
    assert (done.code, done.err) == (0, ""), done.err
    assert json.loads(done.out)["steps"] == 6, done
    done = configured(tmp_path, TRAINING, "b.tif", "--steps", 4, "-o", "n.safetensors", "--json")
    assert json.loads(done.out)["steps"] == 4
    found = [load_checkpoint(tmp_path / name).card for name in ("m.safetensors", "n.safetensors")]
    assert [[row["name"] for row in card.data] for card in found] == [["a"], ["b"]]
    assert [card.training["batch_size"] for card in found] == [2, 2]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("factr = 3", (), "c.toml, line 1: unknown key factr: did you mean factor"),
        ("config = 'd.toml'", (), "unknown key config"),
        ("help = true", (), "unknown key help"),
        ("factor = 99", (), "Invalid value for '--factor' / '-f': 99 is not a whole number from 2 to 8"),
        (TRAINING.replace("small", "huge"), (), "Invalid value for '--size'"),
        (TRAINING.replace("steps = 6", "steps = 0"), (), "Invalid value for '--steps': 0 is not in the range"),
        ("fine = 'a.tif'", (), "Missing option '--factor'"),
        (TRAINING + "until = 2000-01-01", (), "c.toml, line 8: unknown key until"),
        (TRAINING + "freeze = ['']", (), "is not a list of names"),
        (TRAINING, ("--until", "2000-01-01"), "No such option '--until'"),
        (TRAINING + "learning-rate = nan", (), "learning_rate and charbonnier_eps must be positive"),
    ],
)
def test_files_are_refused_as_the_command_line_is(tmp_path, text, line, words):
    """What is wrong in a file is a usage error of one line, before any raster is opened."""
    assert words in configured(tmp_path, text, *line).refused(2)
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]


PAIRS = """
fine = "f.nc"
coarse = ["c.nc", "d.nc"]
factor = 4
out = "m.safetensors"
until = 2000-06-01
predictors = ["t", "z"]
partner = {tas = "t"}
limits = {tas = "-90:60"}
calendar = false
members = 2
learning-rate = 2e-3
"""


def test_a_training_on_pairs_takes_a_file_too(tmp_path):
    """Its own options are keys, and those of rasters are not."""
    for text, code, words in (
        (PAIRS, 3, "no such file: c.nc"),
        (PAIRS + "patch = 8", 2, "line 13: unknown key patch"),
        (PAIRS.replace("2000-06-01", "'June'"), 2, "until must be a day"),
    ):
        (tmp_path / "c.toml").write_text(text)
        assert words in processes.run("train-pairs", "--config", "c.toml", cwd=str(tmp_path)).refused(code)


def test_a_missing_file(tmp_path):
    """Said in one line."""
    done = processes.run("train", "a.tif", "--config", "no.toml", "-f", 2, "-o", "m.safetensors", cwd=str(tmp_path))
    assert "cannot read the configuration 'no.toml' (No such file or directory)" in done.refused(2)
