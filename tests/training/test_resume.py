"""A training that was stopped goes on exactly as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn.errors import GeofsrcnnWarning, OutputError, TrainError, UsageError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.training.rasters import train_model
from geofsrcnn.training.schedule import Result, TrainOptions
from geofsrcnn.training.states import State, folder_of, load_state, save_state
from tests.support import processes
from tests.support.faults import STEPS, Gate
from tests.support.rasters import digest, terrain, write

pytestmark = pytest.mark.usefixtures("one_thread")  # what is this small waits for more where cores are busy

TINY = FSRCNNConfig(factor=2, d=8, s=4, m=2)
OPTIONS = {
    "steps": 24,
    "batch_size": 3,
    "patch": 8,
    "validate_every": 5,
    "blur": 0.3,
    "mix": 0.5,
    "pyramid_levels": 1,
    "branches": True,
}
ALWAYS = 1e-9
"""Minutes between saved states: one after each step."""


class StopError(Exception):
    """Ends a training from within."""


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write(tmp_path_factory.mktemp("fine") / "site.tif", terrain((140, 260), seed=3, high=500).astype("float32"))


def train(fine: Path, out: Path, *, stop: int | None = None, **more: object) -> Result:
    """A short training, stopped before a step if told so."""
    steps = 0

    def each_step() -> None:
        nonlocal steps
        if steps == stop:
            raise StopError
        steps += 1

    known = {field.name for field in dataclasses.fields(TrainOptions)}
    options = TrainOptions(**{**OPTIONS, **{k: more.pop(k) for k in list(more) if k in known}})
    return train_model([fine], 2, out, **{"config": TINY, "options": options, "each_step": each_step, **more})


@pytest.fixture(scope="module")
def undisturbed(fine, tmp_path_factory) -> Path:
    """The checkpoint of the training that nothing stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "m.safetensors"
    train(fine, out)
    return out


@settings(max_examples=6)
@given(stops=st.lists(st.integers(0, 23), min_size=1, max_size=3))
def test_stopped_and_resumed_is_the_same_file(fine, undisturbed, tmp_path_factory, stops):
    """Stopped at any steps and resumed, the checkpoint is that of the undisturbed training, byte for byte."""
    out = tmp_path_factory.mktemp("stopped") / "m.safetensors"
    for stop in stops:
        with suppress(StopError):
            train(fine, out, stop=stop, resume=True, overwrite=True)
    train(fine, out, resume=True, overwrite=True)
    assert digest(out) == digest(undisturbed)
    assert [p.name for p in out.parent.iterdir()] == ["m.safetensors"]


def test_killed_and_resumed_is_the_same_file(fine, tmp_path):
    """The same for SIGKILL at random moments, on the command line."""
    line = ("--size", "small", "--steps", 30, "--patch", 8, "--batch-size", 4, "-q", "--save-minutes", ALWAYS)
    alone = "import torch; torch.set_num_threads(1)\n"
    whole, out, moments = tmp_path / "whole.safetensors", tmp_path / "m.safetensors", random.Random(7)
    assert processes.run("train", fine, "-f", 2, "-o", whole, *line, prelude=alone).code == 0
    for turn in range(3):
        gate = Gate(tmp_path / "gates" / str(turn), at=moments.randrange(2, 9), places=STEPS)
        run = processes.start("train", fine, "-f", 2, "-o", out, *line, "--resume", prelude=alone + gate.prelude)
        gate.reached(run)
        if turn == 2:  # the others are killed between two steps, this one at any moment, if it is not done by then
            gate.open()
            time.sleep(moments.uniform(0, 0.05))
        run.send(signal.SIGKILL)
        assert run.wait().code == -signal.SIGKILL or turn == 2
    if out.exists():
        out.unlink()
    loud = [part for part in line if part != "-q"]
    done = processes.run("train", fine, "-f", 2, "-o", out, *loud, "--resume", prelude=alone)
    assert done.code == 0
    assert "step     30" in done.err
    assert "begins anew" not in done.err
    first, second = (load_checkpoint(p, 2) for p in (whole, out))
    assert first.card.scores == second.card.scores
    weights = second.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in first.model.state_dict().items())


def test_a_signal_saves_the_state_and_says_how_to_go_on(fine, tmp_path):
    """SIGTERM ends a training after its step with exit 143, its state saved to that very step."""
    out, log = tmp_path / "m.safetensors", tmp_path / "log.jsonl"
    line = ("--size", "small", "--steps", 100_000, "--patch", 8, "--batch-size", 4, "-q", "--log", log)
    gate = Gate(tmp_path / "gate", at=5, places=STEPS)
    alone = "import torch; torch.set_num_threads(1)\n"
    run = processes.start("train", fine, "-f", 2, "-o", out, *line, prelude=alone + gate.prelude)
    gate.reached(run)
    run.send(signal.SIGTERM)
    gate.asked(run)
    gate.open()
    done = run.wait()
    assert done.code == 143
    assert done.err == "geofsrcnn: interrupted, the same command with --resume goes on\n"
    state = load_state(out)
    assert state is not None
    assert state.step == 4  # steps before the signal, of which none is lost
    assert processes.run("train", fine, "-f", 2, "-o", out, *line).refused(5).endswith("use --resume or --overwrite")


def test_a_training_with_nothing_to_resume_says_so_and_begins(fine, tmp_path):
    """A scheduler may always ask to resume; whoever mistyped the name reads that it begins anew."""
    line = ("train", fine, "-f", 2, "--size", "small", "--steps", 2, "--patch", 8, "--batch-size", 2)
    said = "nothing to resume beside m.safetensors: it begins anew"
    for name, more, lines in (("a", (), 1), ("b", ("-q",), 0), ("c", ("--progress", "json"), 1)):
        (tmp_path / name).mkdir()
        done = processes.run(*line, "-o", "m.safetensors", "--resume", *more, cwd=str(tmp_path / name))
        assert done.code == 0, done.err
        assert done.err.count(said) == lines
    assert said not in processes.run(*line, "-o", "n.safetensors", cwd=str(tmp_path)).err
    again = processes.run(*line, "-o", "m.safetensors", "--resume", cwd=str(tmp_path / "a"))
    assert again.refused(5) == "m.safetensors is finished: nothing is left to resume; use --overwrite"
    assert said not in again.err


def stopped(fine: Path, out: Path, at: int = 12) -> list[Path]:
    """States of a training that was stopped, newest first."""
    with pytest.raises(StopError):
        train(fine, out, stop=at, save_minutes=ALWAYS)
    found = sorted(folder_of(out).iterdir(), reverse=True)
    assert len(found) == 2
    return found


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, b"cut"], ids=["empty", "zeros", "cut"])
def test_a_damaged_state_is_passed_over(fine, undisturbed, tmp_path, damage):
    """If the newest state is damaged, the one before it serves, with a warning; the result is the same."""
    out = tmp_path / "m.safetensors"
    newest, older = stopped(fine, out)
    newest.write_bytes(newest.read_bytes()[:-40] if damage == b"cut" else damage)
    with pytest.warns(GeofsrcnnWarning, match=rf"state {newest.name} is damaged .* and passed over"):
        train(fine, out, resume=True)
    assert digest(out) == digest(undisturbed)
    assert not older.exists()


def test_no_sound_state_is_an_error_until_overwritten(fine, undisturbed, tmp_path):
    """Nothing is begun silently over the remains of a training; overwrite begins anew, remains included."""
    out = tmp_path / "m.safetensors"
    for path in stopped(fine, out):
        path.write_bytes(b"rubbish")
    with pytest.raises(TrainError, match=r"no sound state in .*: remove it, or use overwrite=True"), pytest.warns():
        train(fine, out, resume=True)
    train(fine, out, overwrite=True)
    assert digest(out) == digest(undisturbed)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_overwriting_does_not_mix_with_older_states(fine, undisturbed, tmp_path):
    """A training begun anew and stopped early is resumed from its own state, not from the later one before it."""
    out = tmp_path / "m.safetensors"
    stopped(fine, out, at=20)
    with pytest.raises(StopError):
        train(fine, out, stop=3, overwrite=True, save_minutes=ALWAYS)
    state = load_state(out)
    assert state is not None
    assert state.step == 3
    train(fine, out, resume=True)
    assert digest(out) == digest(undisturbed)


def test_resume_of_another_training_is_refused(fine, tmp_path):
    """Other options, sizes or rasters are not what was begun; the state stays for the right command."""
    out = tmp_path / "m.safetensors"
    stopped(fine, out)
    other = write(tmp_path / "other.tif", terrain((140, 260), seed=4).astype("float32"))
    for more, words in [
        ({"learning_rate": 0.5}, "the unfinished training had other learning_rate: give it the same"),
        ({"config": FSRCNNConfig(factor=2, d=8, s=4, m=1)}, "had other network sizes"),
    ]:
        with pytest.raises(UsageError, match=words):
            train(fine, out, resume=True, **more)
    with pytest.raises(UsageError, match="had other data"):
        train(other, out, resume=True)
    with pytest.raises(
        OutputError, match=r"an unfinished training lies in .*m.training: use resume=True or overwrite=True"
    ):
        train(fine, out)
    assert load_state(out) is not None


def test_a_state_with_numbers_that_are_not_finite_is_not_saved(tmp_path):
    """NaN never reaches a state, and one in a file is not taken up."""
    out = tmp_path / "m.safetensors"
    bad = State(7, {"model.feature.weight": torch.tensor([1.0, float("nan")])}, {})
    with pytest.raises(TrainError, match=r"model.feature.weight is not finite at step 7"):
        save_state(out, bad)
    assert load_state(out) is None


def test_states_hold_all_that_decides_the_rest(fine, tmp_path):
    """Weights, their average, both moments, steps, the best score, and what tells this training from others."""
    out = tmp_path / "m.safetensors"
    stopped(fine, out)
    state = load_state(out)
    assert state is not None
    names = {name.split(".")[0] for name in state.tensors}
    assert names == {"model", "ema", "optimiser"}
    moments = {name.split(".")[1] for name in state.tensors if name.startswith("optimiser")}
    assert moments == {"step", "exp_avg", "exp_avg_sq"}
    assert set(state.values["identity"]) == {"config", "options", "data", "teacher", "arguments"}
    assert json.loads(json.dumps(state.values))["step"] == state.step
