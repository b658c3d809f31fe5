"""Progress for programs and logs: every line can be read, few of them, the first and the last always."""

from __future__ import annotations

import json

import numpy as np
import pytest

from geofsrcnn.cli.progress import JsonLines, PlainLines, State
from geofsrcnn.evaluation.rasters import evaluate_raster
from geofsrcnn.values.kernels import CLASSICAL
from tests.support import processes
from tests.support.rasters import terrain, write


def field(*shape: int) -> np.ndarray:
    """A field that nothing is to be said of."""
    return terrain(shape, low=10, high=20)


def parsed(err: str) -> list[dict]:
    """The lines of JSON on stderr."""
    return [json.loads(line) for line in err.splitlines() if line.startswith("{")]


class Clock:
    """Seconds as the test says."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def test_lines_are_few_and_the_first_and_last_are_among_them(capsys, clock):
    """A thousand reports in ten seconds give at most five lines a second; seconds left follow the rate."""
    show = JsonLines("tiles", clock)
    for done in range(1001):
        clock.now = 100 + done / 100
        show(State(done, 1000))
    lines = parsed(capsys.readouterr().err)
    assert 40 <= len(lines) <= 51
    assert lines[0] == {"done": 0, "total": 1000, "unit": "tiles", "seconds": 0.0, "seconds_left": None}
    assert lines[-1] == {"done": 1000, "total": 1000, "unit": "tiles", "seconds": 10.0, "seconds_left": 0.0}
    assert all(line["seconds"] + line["seconds_left"] == pytest.approx(10, abs=0.11) for line in lines[1:])


def test_the_last_line_comes_however_fast_it_all_was(capsys, clock):
    """Once, although what is read back is reported as well."""
    show = JsonLines("tiles", clock)
    for done in (0, 1, 2, 3, 3, 3):
        show(State(done, 3))
    assert [line["done"] for line in parsed(capsys.readouterr().err)] == [0, 3]


def test_what_happened_between_two_lines_is_in_the_second(capsys, clock):
    """The latest event, once, beside counts and status."""
    show = JsonLines("files", clock)
    show(State(0, 9))
    show(State(1, 9, event="failed: a.tif"))
    show(State(2, 9, event="failed: b.tif"))
    clock.now += 1
    show(State(3, 9, "2 failed", counts={"failed": 2}))
    clock.now += 1
    show(State(3, 9))
    *_, second, third = parsed(capsys.readouterr().err)
    assert second["message"] == "failed: b.tif"
    assert (second["status"], second["failed"]) == ("2 failed", 2)
    assert "message" not in third


def test_a_log_has_a_line_now_and_then(capsys, clock):
    """Every half minute, and at the end, once; failures are the command's own list in the end."""
    show = PlainLines("files", clock)
    for done in range(11):
        clock.now = 100 + done * 10
        show(State(done, 10, "0 failed", "failed: x.tif" if done == 1 else ""))
    show(State(10, 10))
    assert capsys.readouterr().err.splitlines() == [
        "3 of 10 files, 0 failed, 70.0 s left",
        "6 of 10 files, 0 failed, 40.0 s left",
        "9 of 10 files, 0 failed, 10.0 s left",
        "10 of 10 files, 0 failed",
    ]


def test_one_file_is_no_files(capsys, clock):
    PlainLines("files", clock)(State(1, 1, "1 failed"))
    assert capsys.readouterr().err == "1 of 1 file, 1 failed\n"


def test_upscale_tells_programs(tmp_path):
    """Lines on stderr up to the last tile; stdout holds the summary alone."""
    source, output = tmp_path / "a.tif", tmp_path / "b.tif"
    write(source, field(40, 50))
    ended = processes.run("upscale", source, output, "--tile-size", "16", "--progress", "json", "--json")
    assert ended.code == 0, ended
    assert json.loads(ended.out)["factor"] == 3
    lines = parsed(ended.err)
    assert ended.err.count("\n") == len(lines) >= 2
    assert lines[0]["done"] == 1
    assert lines[-1]["done"] == lines[-1]["total"] == 12
    assert [line["done"] for line in lines] == sorted(line["done"] for line in lines)


def test_batch_tells_programs(tmp_path):
    """Files that ended, failures among them with their reason, in flags."""
    write(tmp_path / "a.tif", field(20, 20))
    (tmp_path / "b.tif").write_bytes(b"no raster")
    target = tmp_path / "out"
    ended = processes.run("batch", tmp_path, "-o", target, "--workers", "1", "--progress", "json", timeout=300)
    assert ended.code == 9, ended
    lines = parsed(ended.err)
    assert lines[0]["done"] == 0
    assert (lines[-1]["done"], lines[-1]["total"], lines[-1]["failed"]) == (2, 2, 1)
    (message,) = [line["message"] for line in lines if "message" in line]
    assert message.startswith("failed: ")
    assert "b.tif" in message


@pytest.mark.parametrize("options", [["--progress", "none"], ["--quiet"], ["--json"], []])
def test_nothing_else_is_on_stderr(tmp_path, options):
    """Where no terminal is, and none is asked for."""
    write(tmp_path / "a.tif", field(20, 20))
    ended = processes.run("upscale", tmp_path / "a.tif", tmp_path / "b.tif", *options)
    assert (ended.code, ended.err) == (0, "")


def test_a_bar_where_one_is_asked_for(tmp_path):
    """Also where stderr is no terminal; a warning beside the bar is a line of its own and does not end the run."""
    write(tmp_path / "a.tif", terrain((20, 20)))
    ended = processes.run("upscale", tmp_path / "a.tif", tmp_path / "b.tif", "--progress", "bar")
    assert ended.code == 0, ended
    assert "upscaling" in ended.err
    assert ended.err.count("geofsrcnn: warning: W-NEGATIVE") == 1


def test_quiet_and_progress_exclude_each_other(tmp_path):
    """One line, and nothing is opened."""
    ended = processes.run("upscale", tmp_path / "no.tif", tmp_path / "b.tif", "--quiet", "--progress", "json")
    assert "leave out one" in ended.refused(2)


@pytest.mark.parametrize("schedule", [["--steps", 5], ["--minutes", 0.02]])
def test_train_tells_programs(tmp_path, schedule):
    """Steps, or seconds of a training by the clock, to the end; what a validation found is the message."""
    write(tmp_path / "a.tif", terrain((140, 260), seed=3, high=500).astype("float32"))
    line = ("train", "a.tif", "-f", 2, "-o", "m.safetensors", "--size", "small", "--patch", 8, "--batch-size", 2)
    prelude = "import torch; torch.set_num_threads(1)\n"
    ended = processes.run(*line, *schedule, "--progress", "json", "--json", cwd=str(tmp_path), prelude=prelude)
    assert ended.code == 0, ended
    lines = parsed(ended.err)
    assert ended.err.count("\n") == len(lines)
    assert {each["unit"] for each in lines} == {"steps" if schedule[0] == "--steps" else "seconds"}
    assert lines[0]["done"] == 0
    assert lines[-1]["done"] == lines[-1]["total"] == (5 if schedule[0] == "--steps" else 1)
    assert any("held out" in each.get("message", "") for each in lines)
    assert json.loads(ended.out)["steps"] >= 1


def test_evaluate_tells_programs(tmp_path):
    """Every fine field is counted: of each raster, band and method; those of bands that are left out too."""
    bands = np.stack([terrain((60, 66), high=500), np.full((60, 66), 7.0)])
    write(tmp_path / "a.tif", bands.astype("float32"))
    write(tmp_path / "b.tif", terrain((60, 66), high=500).astype("float32"))
    line = ("evaluate", tmp_path / "a.tif", tmp_path / "b.tif", "-f", 2, "-m", "small")
    ended = processes.run(*line, "--progress", "json", "--json")
    assert ended.code == 0, ended
    lines = parsed(ended.err)
    assert (lines[0]["done"], lines[0]["unit"]) == (0, "fields")
    assert lines[-1]["done"] == lines[-1]["total"] == 3 * (1 + len(CLASSICAL))
    done = [each["done"] for each in lines]
    assert done == sorted(done)


def test_evaluation_shows_each_method_of_one_raster(tmp_path):
    """A raster whose methods take minutes does not look as if it hung."""
    path = write(tmp_path / "a.tif", terrain((60, 66), high=500).astype("float32"))
    seen: list[tuple[int, int]] = []
    evaluate_raster(path, 2, ["small"], progress=lambda done, total: seen.append((done, total)))
    assert list(dict.fromkeys(seen)) == [(done, 1 + len(CLASSICAL)) for done in range(2 + len(CLASSICAL))]
