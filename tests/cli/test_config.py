"""Configuration files: the same words as the command line, and errors with file and key."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geofsrcnn.cli.config import read_options
from geofsrcnn.cli.param_types import Day, Factor, Names, Option
from geofsrcnn.errors import ConfigError
from geofsrcnn.networks.checkpoint import load_checkpoint
from tests.support import processes
from tests.support.rasters import terrain, write


@click.command()
@click.option("--factor", "-f", type=Factor())
@click.option("--steps", type=click.IntRange(1))
@click.option("--fine", "also_fine", multiple=True)
@click.option("--out", "-o")
@click.option("--save-minutes", type=float)
@click.option("--until", type=Day())
@click.option("--calendar/--no-calendar")
@click.option("--targets", type=Names())
@click.option("--partner", "partners", type=Option(), multiple=True)
def command(**_: object) -> None:
    """Stand for a training."""


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
    "also_fine": ("a.tif", "b.tif"),
    "factor": 3,
    "out": "m.safetensors",
    "save_minutes": 2.0,
    "until": "2010-01-01",
    "calendar": False,
    "targets": ("tg", "rr"),
    "partners": (("tg", "tas"), ("rr", "pr")),
}

WRONG = {
    "unknown": ("factr = 3", ": unknown key factr: did you mean factor?"),
    "unknown, nothing near": ("x = 3", ": unknown key x: keys are the names of options"),
    "unknown and odd": ('"a\\u001b b" = 1', ": unknown key a\\x1b b"),
    "a table": ("[train]\nout = 'x'", ": unknown key train"),
    "twice": ("factor = 3\nout = 'm'\nfactor = 3", " is not TOML: Cannot overwrite a value (at "),
    "twice in two ways": ("save-minutes = 3\nsave_minutes = 3", ": save_minutes is given twice"),
    "text for a number": ("factor = '3'", ": factor must be a whole number, not 3"),
    "out of range": ("factor = 9", ": factor: 9 is not a whole number from 2 to 8"),
    "none of a range": ("steps = 0", ": steps: 0 is not in the range x>=1"),
    "exponent": ("factor = 1e1", ": factor must be a whole number, not 10.0"),
    "bool for a whole number": ("steps = true", ": steps must be a whole number, not True"),
    "bool for a number": ("save-minutes = false", ": save-minutes must be a number, not False"),
    "thousands of digits": (f"factor = {'9' * 5000}", " is not TOML: "),
    "number for a text": ("out = 3", ": out must be a text, not 3"),
    "number for a flag": ("calendar = 1", ": calendar must be true or false, not 1"),
    "list for one": ("out = ['a']", ": out must be a text, not ['a']"),
    "nested list": ("fine = [\n['a'],\n]", ": fine must be a text or a list of texts, not [['a']]"),
    "table for one": ("factor = {a = 1}", ": factor must be a whole number, not {'a': 1}"),
    "text for a table": ("partner = 'tg=tas'", ": partner must be a table such as "),
    "numbers in a table": ("partner = {tg = 1}", ": partner must be a table such as "),
    "day and time": ("until = 2010-01-01T00:00:00", ": until must be a text, not 2010-01-01 00:00:00"),
    "no day": ("until = 'June'", ": until: 'June' is not a day such as 1993-06-01"),
    "no value": ("factor = 3\nout =\n", " is not TOML: Invalid value (at line 2"),
    "YAML": ("factor: 3", " is not TOML: "),
}


def read(folder: Path, text: str) -> dict[str, object]:
    """What a file of this text gives."""
    path = folder / "c.toml"
    path.write_text(text, encoding="utf-8", newline="")
    return read_options(path, click.Context(command))


def refused(folder: Path, text: str) -> str:
    """The message that a text is refused with: one printable line that names the file."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(str(folder / "c.toml"))
    return message.removeprefix(str(folder / "c.toml"))


def test_each_kind_of_value_is_read(tmp_path):
    """Lists, tables, comments, tabs and either way to join words."""
    assert read(tmp_path, GOOD) == VALUES
    assert read(tmp_path, "[partner]\ntg = 'tas'") == {"partners": (("tg", "tas"),)}
    assert read(tmp_path, "fine = 'a.tif'\ntargets = 'tg,rr'") == {"also_fine": ("a.tif",), "targets": ("tg", "rr")}
    assert read(tmp_path, "") == {}


@pytest.mark.parametrize("name", WRONG)
def test_errors_name_file_and_key(tmp_path, name):
    """Each wrong text: one line with the file, the key, and what is wrong; the parser's own have the line."""
    text, words = WRONG[name]
    assert refused(tmp_path, text).startswith(words)


def test_deep_nesting_is_refused(tmp_path):
    """Brackets without end neither crash nor hang."""
    assert "nested too deeply" in refused(tmp_path, "fine = " + "[" * 100_000)


@given(st.text() | st.lists(st.sampled_from([*"[]{}='\"\n,#.", "factor", "fine", "3", "true", " "])).map("".join))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_read_or_refused(tmp_path, text):
    """Whatever the text: values of known options, or a ConfigError of one line."""
    try:
        found = read(tmp_path, text)
    except ConfigError:
        refused(tmp_path, text)
    else:
        assert set(found) <= {param.name for param in command.params}


def test_files(tmp_path):
    """A mark and other ends of lines are no matter; what is no text or not there is refused."""
    assert read(tmp_path, "\ufeff" + GOOD.replace("\n", "\r\n")) == VALUES
    (tmp_path / "c.toml").write_bytes(b"factor = 3\nout = '\xff'\n")
    context = click.Context(command)
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_options(tmp_path / "c.toml", context)
    for missing, words in ((tmp_path, "Is a directory"), (tmp_path / "no.toml", "No such file"), (Path(), "directory")):
        with pytest.raises(ConfigError, match=words):
            read_options(missing, context)


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
        ("factr = 3", (), "c.toml: unknown key factr: did you mean factor"),
        ("config = 'd.toml'", (), "unknown key config"),
        ("help = true", (), "unknown key help"),
        ("factor = 99", (), "c.toml: factor: 99 is not a whole number from 2 to 8"),
        (TRAINING.replace("small", "huge"), (), "c.toml: size: 'huge' is not one of"),
        (TRAINING.replace("steps = 6", "steps = 0"), (), "c.toml: steps: 0 is not in the range"),
        ("fine = 'a.tif'", (), "Missing option '--factor'"),
        (TRAINING + "until = 2000-01-01", (), "c.toml: unknown key until"),
        (TRAINING + "freeze = ['']", (), "is not a list of names"),
        (TRAINING, ("--until", "2000-01-01"), "--until is for pairs of coarse and fine fields: use train-pairs"),
        (TRAINING + "learning-rate = nan", (), "--learning-rate must be positive, got nan"),
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
        (PAIRS + "patch = 8", 2, "c.toml: unknown key patch"),
        (PAIRS.replace("2000-06-01", "'June'"), 2, "'June' is not a day"),
    ):
        (tmp_path / "c.toml").write_text(text)
        assert words in processes.run("train-pairs", "--config", "c.toml", cwd=str(tmp_path)).refused(code)


def test_a_missing_file(tmp_path):
    """Said in one line."""
    done = processes.run("train", "a.tif", "--config", "no.toml", "-f", 2, "-o", "m.safetensors", cwd=str(tmp_path))
    assert "cannot read the configuration 'no.toml' (No such file or directory)" in done.refused(2)
