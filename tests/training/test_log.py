"""What is kept of a training: lines, curves, events; what is said of the time left; several seeds."""

from __future__ import annotations

import importlib.util
import json
import math
from contextlib import nullcontext
from pathlib import Path

import matplotlib.image
import pytest
import torch

from geofsrcnn.errors import OutputError, UsageError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.training import log as logbook
from tests.support import processes
from tests.support.pairfiles import made
from tests.support.rasters import state, terrain, write

ALONE = "import torch; torch.set_num_threads(1)\n"
LINE = ("-f", 2, "--size", "small", "--steps", 6, "--patch", 8, "--batch-size", 2, "-q")


def record(step: int, score: float = 1.0, **more: int) -> dict[str, float]:
    """A record of a made training."""
    return {"step": step, "loss": 0.1, "score": score, "learning_rate": 1e-3, **more}


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write(tmp_path_factory.mktemp("fine") / "site.tif", terrain((140, 260), seed=3, high=500).astype("float32"))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Files of made pairs."""
    return made(tmp_path_factory.mktemp("pairs"))


def steps(path: Path) -> list[int]:
    """Of the records of a file."""
    return [each["step"] for each in logbook.read_back(path)]


def test_lines_are_read_back(tmp_path):
    """All records, but those that a resume took again and lines that are none."""
    log = tmp_path / "log.jsonl"
    assert logbook.read_back(log) == []
    report = logbook.json_lines(log)
    for step in (0, 10, 20, 10, 20, 30):
        report(record(step))
    with log.open("a") as file:
        file.write('[]\n{"step": 1}\n{"step": 40, "loss": tr')
    assert steps(log) == [0, 10, 20, 30]
    report = logbook.json_lines(tmp_path / "seeds.jsonl")
    for each in (record(0, seed=0), record(5, seed=0), record(0, seed=1), record(5, seed=1, member=0)):
        report(each)
    assert steps(tmp_path / "seeds.jsonl") == [0, 5, 0, 5]


def test_curves_are_drawn_from_before_a_resume(tmp_path):
    """A drawing with the log's records is that of a training that was not stopped, and differs from one without."""
    log, whole, resumed, rest = (tmp_path / name for name in ("log.jsonl", "a.png", "b.png", "c.png"))
    for first, path, resume in ((0, whole, False), (20, resumed, True), (20, rest, False)):
        kept = log if path in (whole, resumed) else tmp_path / "other.jsonl"
        with logbook.logbook(log=str(kept), curves=str(path), resumed=resume) as report:
            for step in range(first, 40, 10):
                report(record(step, 1 - step / 100))
    images = [matplotlib.image.imread(path) for path in (whole, resumed, rest)]
    assert images[0].shape[:2] == (768, 768)
    assert (images[0] == images[1]).all()
    assert (images[0] != images[2]).any()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".jsonl", ".jsonl", ".png", ".png", ".png"]


def test_curves_of_any_records(tmp_path):
    """One record, several runs, zeros, values of many sizes: each gives a picture."""
    for records in (
        [record(0)],
        [record(0), record(5, 0.0)],
        [record(s, 10.0**-s, seed=k, member=k) for k in range(12) for s in (0, 1, 2)],
        [{**record(5), "loss": math.inf}, record(6)],
    ):
        logbook.draw_curves(tmp_path / "a.png", records)
        assert matplotlib.image.imread(tmp_path / "a.png").shape[:2] == (768, 768)


def test_events_are_read_by_tensorboard(tmp_path):
    """Scalars by step in the folder, each run in its own; those that a stopped training had too far are dropped."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def found(folder: Path) -> list[tuple[int, float]]:
        events = EventAccumulator(str(folder)).Reload()
        assert set(events.Tags()["scalars"]) == set(logbook.SCALARS)
        return [(each.step, each.value) for each in events.Scalars("score")]

    with logbook.tensorboard(tmp_path / "one") as report:
        report(record(0))
        report(record(10, 0.75))
    assert found(tmp_path / "one") == [(0, 1), (10, 0.75)]
    with logbook.tensorboard(tmp_path / "two") as report:
        report(record(0, seed=1, member=0))
        report(record(0, 0.5, seed=1, member=1))
    assert found(tmp_path / "two" / "seed1-member1") == [(0, 0.5)]


@pytest.mark.parametrize(("package", "argument"), [("tensorboard", "events"), ("matplotlib", "curves")])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package, argument):
    """Before the training, with the command that installs it."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else there(name))
    extra = {"tensorboard": "tensorboard", "matplotlib": "report"}[package]
    with pytest.raises(UsageError, match=rf"needs the package {package}: pip install 'geofsrcnn\[{extra}\]'"):
        logbook.check_logbook(**{argument: str(tmp_path / "a.png")})


@pytest.mark.parametrize(
    ("names", "kind", "words"),
    [
        ({"curves": "a.png"}, OutputError, "output exists"),
        ({"curves": "a.pdf"}, UsageError, "curves= must end in .png"),
        ({"curves": "no/a.png"}, OutputError, "folder is missing"),
        ({"log": "."}, OutputError, "is a folder"),
        ({"log": "a.png", "others": [Path("a.png")]}, UsageError, "output is the input"),
        ({"events": "a.png", "others": [Path("a.png")]}, UsageError, "output is the input"),
        ({"log": "a.png", "curves": "a.png", "overwrite": True}, UsageError, "output is the input"),
        ({"events": "a.png"}, OutputError, "is a file"),
        ({"events": "no/x"}, OutputError, "folder is missing"),
        ({"curves": "a.png", "log": "log", "overwrite": True}, None, ""),
    ],
)
def test_names_that_cannot_be_written_to(tmp_path, monkeypatch, names, kind, words):
    """Inputs, each other, folders, missing folders and existing curves are refused before any work."""
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"old")
    with pytest.raises(kind, match=words) if kind else nullcontext():
        logbook.check_logbook(**names)
    assert Path("a.png").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("seconds", "taken", "words"),
    [
        (1, 0, "about 16 min left (60 of 1,000 steps, 1 steps/s)"),
        (0.125, 500, "about 2 s left (980 of 1,000 steps, 8 steps/s)"),
        (60, 0, "about 16.6 h left (1 of 1,000 steps, 0.017 steps/s)"),
    ],
)
def test_the_time_left_is_said_once(monkeypatch, seconds, taken, words):
    """After the delay, from the steps of this process, in round words."""
    clock = [100.0]
    monkeypatch.setattr(logbook.time, "monotonic", lambda: clock[0])
    said: list[str] = []
    each_step = logbook.time_left(1000, said.append, taken=taken, delay=60)
    for _ in range(600):
        each_step()
        clock[0] += seconds
    assert said == [words]


# ---------------------------------------------------------------------------------------------- on the command line


def test_a_training_keeps_what_is_asked_for(fine, tmp_path):
    """Lines, curves and events beside the checkpoint; none of them in a process that is not the first."""
    pytest.importorskip("tensorboard")
    kept = ("--log", "log.jsonl", "--curves", "c.png", "--tensorboard", "events")
    line = (
        "train",
        fine,
        *LINE,
        *kept,
        "--freeze",
        "feature,shrink",
        "--last-layer-lr-ratio",
        0.1,
        "--lr-schedule",
        "constant",
    )
    done = processes.run(*line, "-o", "m.safetensors", cwd=str(tmp_path), prelude=ALONE)
    assert (done.code, done.err) == (0, "")
    assert steps(tmp_path / "log.jsonl") == [0, 6]
    assert matplotlib.image.imread(tmp_path / "c.png").shape[:2] == (768, 768)
    assert list((tmp_path / "events").glob("events*"))
    training = load_checkpoint(tmp_path / "m.safetensors").card.training
    assert (training["freeze"], training["last_layer_lr_ratio"], training["lr_schedule"]) == (
        ["feature", "shrink"],
        0.1,
        "constant",
    )
    assert "output exists: " in processes.run(*line, "-o", "n.safetensors", cwd=str(tmp_path)).refused(5)
    (tmp_path / "other").mkdir()
    done = processes.run(
        *(part for part in line if part != "-q"),
        *("-o", "o.safetensors", "--json"),
        cwd=str(tmp_path / "other"),
        env={"RANK": "1"},
        prelude=ALONE,
    )
    assert (done.code, done.out, done.err) == (0, "", "")
    assert {path.name for path in (tmp_path / "other").iterdir()} <= {"o.safetensors"}


def test_the_expected_time_on_the_command_line(fine, tmp_path):
    """One line of it in a training, whatever its number of steps; none with --quiet."""
    soon = "from geofsrcnn.training import log\nlog.time_left.__kwdefaults__['delay'] = 0\n"
    for quiet, count in (((), 1), (("-q",), 0)):
        line = ("train", fine, *LINE[:-1], *quiet, "-o", tmp_path / "m.safetensors", "--overwrite")
        done = processes.run(*line, prelude=ALONE + soon)
        assert sum(" of 6 steps, " in each for each in done.err.splitlines()) == count, done


def test_the_checkpoint_is_named_as_it_was_given(fine, tmp_path):
    """A relative name stays so, also those of further seeds."""
    line = ("train", fine, *LINE[:-1], "-o", "./m.safetensors", "--seeds", 2)
    done = processes.run(*line, cwd=str(tmp_path), prelude=ALONE)
    assert [each.partition(":")[0] for each in done.out.splitlines()[:2]] == ["m.safetensors", "m-seed1.safetensors"]


def test_seeds_of_rasters(fine, tmp_path):
    """Each seed's file is that of a training with it; finished ones are skipped; none of them is replaced unasked."""
    line = ("train", fine, *LINE, "--log", "log.jsonl", "--json")
    setup = {"cwd": str(tmp_path), "prelude": ALONE, "timeout": 120}
    done = processes.run(*line, "-o", "m.safetensors", "--seed", 4, "--seeds", 3, **setup)
    found = json.loads(done.out)
    scores = [each["score"] for each in found["results"]]
    assert [Path(each["out"]).name for each in found["results"]] == [
        *("m.safetensors", "m-seed1.safetensors", "m-seed2.safetensors")
    ]
    mean = sum(scores) / 3
    assert found["spread"]["score"]["mean"] == pytest.approx(mean)
    assert found["spread"]["score"]["std"] == pytest.approx(math.sqrt(sum((s - mean) ** 2 for s in scores) / 2))
    assert {each["seed"] for each in logbook.read_back(tmp_path / "log.jsonl")} == {4, 5, 6}
    processes.run(*line, "-o", "alone.safetensors", "--seed", 5, **setup)
    alone, second = (load_checkpoint(tmp_path / f"{n}.safetensors").model.state_dict() for n in ("alone", "m-seed1"))
    assert all(torch.equal(alone[name], second[name]) for name in alone)
    again = (*line, "-o", "m.safetensors", "--seed", 4, "--seeds", 3)
    assert "output exists" in processes.run(*again, **setup).refused(5)
    (tmp_path / "m-seed2.safetensors").unlink()
    before = [state(tmp_path / name)[:3] for name in ("m.safetensors", "m-seed1.safetensors")]
    resumed = json.loads(processes.run(*again, "--resume", **setup).out)
    assert [state(tmp_path / name)[:3] for name in ("m.safetensors", "m-seed1.safetensors")] == before
    assert resumed["results"][2]["score"] == scores[2]
    assert resumed["spread"]["score"]["mean"] == pytest.approx(mean, abs=1e-4)
    other = processes.run(*again, "--resume", "--learning-rate", 0.5, **setup)
    assert "of a training with other learning_rate: give it the same" in other.refused(2)
    (tmp_path / "m-seed1.training").mkdir()  # as of one that was killed before its first state
    resumed = json.loads(processes.run(*again, "--resume", **setup).out)
    assert [each.get("steps") for each in resumed["results"]] == [None, 6, None]


def test_finished_seeds_of_other_trainings_are_refused(fine, tmp_path):
    """Sizes, rasters and teachers decide which training it was, of finished seeds as of unfinished ones."""
    other = write(tmp_path / "other.tif", terrain((140, 260), seed=4, high=500).astype("float32"))
    setup = {"cwd": str(tmp_path), "prelude": ALONE, "timeout": 120}
    again = (*LINE, "-o", "m.safetensors", "--seeds", 2)
    assert processes.run("train", fine, *again, **setup).code == 0
    (tmp_path / "m-seed1.safetensors").rename(tmp_path / "teacher.safetensors")
    lines = {
        "network sizes": ("train", fine, *again, "--prelu", "channel"),
        "data": ("train", other, *again),
        "teacher": ("train", fine, *again, "--teacher", "teacher.safetensors"),
    }
    for words, line in lines.items():
        refused = processes.run(*line, "--resume", **setup).refused(2)
        assert f"m.safetensors is of a training with other {words}: give it the same" in refused
    assert processes.run("train", fine, *again, "--resume", **setup).code == 0


def test_members_and_seeds_of_pairs(files, tmp_path):
    """Members alone with their spread, and the spread of seeds, on the screen; records say which they are of."""
    kept = ("--log", tmp_path / "log.jsonl", "--curves", tmp_path / "c.png")
    line = ("train-pairs", files["fine"], "--coarse", files["coarse"], "-f", 4, "--until", "2000-06-01", "--steps", 5)
    several = ("--members", 2, "--seeds", 2, "--batch-size", 4)
    done = processes.run(*line, *several, *kept, "-o", tmp_path / "m.safetensors", prelude=ALONE)
    assert done.code == 0, done.err
    assert done.out.count("its members alone: ") == 2
    assert "standard deviation" in done.out.splitlines()[-1]
    assert "over 2 seeds" in done.out.splitlines()[-1]
    records = logbook.read_back(tmp_path / "log.jsonl")
    assert {(each["seed"], each["member"]) for each in records} == {(0, 0), (0, 1), (2, 0), (2, 1)}
    assert records[-1]["done"] == 1
    every = [
        model.state_dict() for n in ("m", "m-seed1") for model in load_checkpoint(tmp_path / f"{n}.safetensors").members
    ]
    first = [torch.cat([part.reshape(-1) for part in each.values()]) for each in every]
    assert not any(torch.equal(one, other) for i, one in enumerate(first) for other in first[:i])
    again = processes.run(
        *line, *several, "-o", tmp_path / "m.safetensors", "--resume", "--base", "correction", prelude=ALONE
    )
    assert "of a training with other base: give it the same" in again.refused(2)
    fine = made(tmp_path, lapse=True)["fine"]
    other = processes.run(
        "train-pairs", fine, *line[2:], *several, "-o", tmp_path / "m.safetensors", "--resume", prelude=ALONE
    )
    assert "of a training with other data: give it the same" in other.refused(2)
    before = state(files["coarse"])
    for name in ("--log", "--curves", "--tensorboard"):
        wrong = processes.run(*line, name, files["coarse"], "-o", tmp_path / "n.safetensors", "--overwrite")
        assert "output is the input" in wrong.refused(2)
    assert state(files["coarse"]) == before
