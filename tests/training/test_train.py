"""Training: a checkpoint that works, sites that never mix, and failures that leave good checkpoints alone."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geofsrcnn import upscale_array, upscale_file
from geofsrcnn.errors import ConfigError, InputError, ModelError, OutputError, TrainError, UsageError
from geofsrcnn.evaluation.scores import rmse, scored_mask
from geofsrcnn.networks.checkpoint import Card, load_checkpoint, save_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.expected_error import section_of
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.training import branches, loop
from geofsrcnn.training.loop import Run
from geofsrcnn.training.rasters import train_model
from geofsrcnn.training.schedule import STAGES, TrainOptions
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.kernels import resample
from tests.support import processes
from tests.support.faults import STEPS, Gate, until
from tests.support.networks import random_head
from tests.support.rasters import digest, read, state, terrain, write

pytestmark = pytest.mark.usefixtures("one_thread")  # what is this small waits for more where cores are busy

TINY = FSRCNNConfig(factor=2, d=8, s=4, m=1)
QUICK = {"steps": 30, "batch_size": 4, "patch": 8, "validate_every": 15}


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write(tmp_path_factory.mktemp("fine") / "site.tif", terrain((140, 260), seed=3, high=500).astype("float32"))


def trained(fine: Path, out: Path, **options: object) -> dict[str, torch.Tensor]:
    """Weights of a quick training."""
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**{**QUICK, **options}))
    return dict(load_checkpoint(out, 2).model.state_dict())


ALONE = "import torch; torch.set_num_threads(1)\n"

LINE = ("--size", "small", "--steps", 40, "--patch", 8, "--batch-size", 4)


def test_a_training_on_the_command_line_gives_a_model_that_works(fine, tmp_path):
    """Train, look at the card, upscale with the result: better than nothing, and in its units."""
    out, coarse, output = tmp_path / "m.safetensors", tmp_path / "coarse.tif", tmp_path / "fine.tif"
    card, log = tmp_path / "card.toml", tmp_path / "log.jsonl"
    card.write_text('summary = "hills"\nlimits = "no rain"\n[[data]]\nname = "n"\nsource = "s"\nlicence = "CC0"\n')
    before = state(fine)
    done = processes.run(
        "train", fine, "-f", 2, "-o", out, *LINE, "--card", card, "--log", log, "--json", prelude=ALONE
    )
    assert done.code == 0, done.err
    assert "step     40" in done.err
    result = json.loads(done.out)
    assert (result["out"], result["steps"]) == (str(out), 40)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["step"] for r in records] == [0, 40]
    loaded = load_checkpoint(out, 2)
    assert (loaded.card.summary, loaded.card.limits) == ("hills", "no rain")
    assert loaded.card.data == [{"name": "n", "source": "s", "licence": "CC0"}]
    assert loaded.card.scores["geometric_mean"] == pytest.approx(result["score"], abs=1e-4)
    assert loaded.card.training["steps"] == 40
    assert state(fine) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.toml", "log.jsonl", "m.safetensors"]

    truth = read(fine, 1).astype(np.float64)
    write(coarse, block_mean(truth, 2).astype("float32"))
    done = processes.run("upscale", coarse, output, "-f", 2, "-m", out, "-q")
    assert (done.code, done.err) == (0, "")
    result_error = np.sqrt(np.mean((read(output, 1) - truth) ** 2))
    bilinear = np.sqrt(np.mean((resample(block_mean(truth, 2), 2, "bilinear") - truth) ** 2))
    assert result_error < bilinear


def test_the_score_is_of_the_held_out_quarter(fine, tmp_path):
    """The score in the card is what anyone computes from the checkpoint and the part that was held out."""
    out = tmp_path / "m.safetensors"
    result = train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK))
    held_out = read(fine, 1).astype(np.float64)[:, 260 * 3 // 4 :]
    truth = held_out[:, : held_out.shape[1] // 2 * 2]
    coarse = block_mean(truth, 2)
    where = scored_mask(np.isfinite(coarse), 2)
    ours = rmse(upscale_array(coarse, 2, out), truth, where)
    assert result.score == pytest.approx(ours / rmse(resample(coarse, 2, "lanczos-bp"), truth, where), rel=1e-3)
    assert list(result.fields) == ["site#1"]


def test_the_same_seed_gives_the_same_weights(fine, tmp_path):
    """Seed and steps decide the weights to the last bit; another seed gives others."""
    first, again, other = (trained(fine, tmp_path / f"{i}.safetensors", seed=seed) for i, seed in enumerate((5, 5, 6)))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_starts_from_a_checkpoint(fine, tmp_path):
    """--start takes another checkpoint's weights, of the same configuration only."""
    start = tmp_path / "a.safetensors"
    trained(fine, start)
    out = tmp_path / "b.safetensors"
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK, learning_rate=1e-12), start=start)
    old, new = (load_checkpoint(p).model.state_dict() for p in (start, out))
    assert all(torch.allclose(old[name], new[name], atol=1e-8) for name in old)
    with pytest.raises(UsageError, match="the checkpoint to start from has another configuration"):
        train_model([fine], 2, out, config=FSRCNNConfig(factor=2, d=9, s=4, m=1), start=start, overwrite=True)
    assert load_checkpoint(out, 2).config == TINY


def test_overwriting(fine, tmp_path):
    """An existing checkpoint needs overwrite, and no training starts without it; rasters are never written to."""
    out = tmp_path / "m.safetensors"
    trained(fine, out)
    before = digest(out)
    with pytest.raises(OutputError, match=r"output exists: .*m.safetensors: use overwrite=True"):
        train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK))
    assert digest(out) == before
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK, seed=4), overwrite=True)
    assert digest(out) != before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    link = tmp_path / "link.safetensors"
    link.symlink_to(fine)
    seen = state(fine)
    with pytest.raises(UsageError, match="output is the input"):
        train_model([fine], 2, link, config=TINY, overwrite=True)
    assert state(fine) == seen


def test_a_loss_that_is_not_finite_leaves_the_old_checkpoint(fine, tmp_path):
    """An absurd rate ends in TrainError, exit 8, and a good checkpoint under that name stays as it was."""
    out = tmp_path / "m.safetensors"
    trained(fine, out)
    before = digest(out)
    done = processes.run(
        "train",
        fine,
        "-f",
        2,
        "-o",
        out,
        *LINE,
        "--steps",
        4000,
        "--learning-rate",
        "1e30",
        "--overwrite",
        "-q",
        prelude=ALONE,
    )
    message = done.refused(8)
    assert re.fullmatch(
        r"the loss or its gradient is not finite at step \d+, 4 steps so far: take a smaller learning rate, or look at "
        r"site#1 rows \d+-\d+ columns \d+-\d+(; site#1 rows \d+-\d+ columns \d+-\d+)*",
        message,
    )
    assert digest(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    new = tmp_path / "new.safetensors"
    with pytest.raises(TrainError, match=r"not finite at step [1-9]"):
        trained(fine, new, learning_rate=1e30, steps=4000)
    if new.exists():
        assert all(torch.isfinite(t).all() for t in load_checkpoint(new).model.state_dict().values())


def test_values_that_overflow_do_not_reach_a_checkpoint(tmp_path):
    """Rasters at the end of float32 end in an error or in a finite checkpoint, never in one with NaN."""
    huge = write(tmp_path / "huge.tif", terrain((120, 160), low=-1e38, high=1e38).astype("float32"))
    out = tmp_path / "m.safetensors"
    with suppress(TrainError):
        trained(huge, out)
    if out.exists():
        assert all(torch.isfinite(t).all() for t in load_checkpoint(out).model.state_dict().values())


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_keeps_the_best_checkpoint_so_far(fine, tmp_path, name):
    """A signal ends a training within a step, with its code; what was saved is whole, nothing else is left."""
    out, log = tmp_path / "out" / "m.safetensors", tmp_path / "out" / "log.jsonl"
    out.parent.mkdir()
    gate = Gate(tmp_path / "gate", at=40, places=STEPS)
    line = (*LINE, "--steps", 100_000, "--validate-every", 5, "--log", log, "-q")
    run = processes.start("train", fine, "-f", 2, "-o", out, *line, prelude=ALONE + gate.prelude)
    gate.reached(run)
    run.send(signal.Signals[name])
    gate.asked(run)
    gate.open()
    done = run.wait()
    assert done.code == 128 + signal.Signals[name]
    assert done.err == "geofsrcnn: interrupted, the same command with --resume goes on\n"
    assert gate.begun == 40  # no step after the signal
    assert 0 < load_checkpoint(out, 2).card.training["step"] < 40
    assert sorted(p.name for p in out.parent.iterdir()) == ["log.jsonl", "m.safetensors", "m.training"]


def test_sigkill_during_training(fine, tmp_path):
    """A training that is killed at random moments leaves a whole checkpoint; the next one cleans up."""
    out, moments = tmp_path / "out" / "m.safetensors", random.Random(22)
    out.parent.mkdir()
    trained(fine, out)
    seen = {digest(out)}
    for seed in range(4):
        gate = Gate(tmp_path / "gates" / str(seed), at=20 + moments.randrange(10), places=STEPS)
        line = (*LINE, "--steps", 100_000, "--validate-every", 5, "--learning-rate", 0.01, "--seed", seed + 1)
        run = processes.start(
            "train", fine, "-f", 2, "-o", out, *line, "--overwrite", "-q", prelude=ALONE + gate.prelude
        )
        gate.reached(run)
        until(lambda: digest(out) not in seen, run)
        if seed % 2:
            gate.open()
            time.sleep(moments.uniform(0, 0.2))
        run.send(signal.SIGKILL)
        assert run.wait().code == -signal.SIGKILL
        seen.add(load_checkpoint(out, 2).digest)
    assert len(seen) == 5
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK), overwrite=True)
    assert [p.name for p in out.parent.iterdir()] == ["m.safetensors"]


# ----------------------------------------------------------------------------------------------------- refusals

CARDS = {
    "unknown key": (b'subtitle = "x"\n', "has unknown keys: subtitle"),
    "not TOML": (b"summary: x\n", "is not TOML"),
    "duplicate key": (b'summary = "x"\nsummary = "y"\n', "is not TOML"),
    "a number": (b"summary = 3\n", "summary and limits are texts"),
    "rows no tables": (b'data = ["a"]\n', "data a list of tables"),
    "data a table": (b'[data]\nname = "x"\n', "data a list of tables"),
    "a date": (b'[[data]]\nname = "x"\ndate = 2020-01-01\n', "data a list of tables of texts"),
    "a NaN": (b"[[data]]\nname = nan\n", "data a list of tables of texts"),
    "not UTF-8": (b'summary = "\xff"\n', "is not TOML"),
    "deep": (b"summary = " + b"[" * 50_000, "is not TOML"),
    "2 MiB": (b"#" * (2**20 + 1), "card is larger than 1 MiB"),
    "NUL": (b'summary = "\0"\n', "is not TOML"),
    "tab": (b'summary = "a"\n\tlimits = 3\n', "summary and limits are texts"),
}


@pytest.mark.parametrize("name", CARDS)
def test_bad_cards(fine, tmp_path, name):
    """Each wrong card is a ConfigError in its own words, before any training."""
    content, words = CARDS[name]
    card = tmp_path / "card.toml"
    card.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        train_model([fine], 2, tmp_path / "m.safetensors", config=TINY, card=card)
    assert [p.name for p in tmp_path.iterdir()] == ["card.toml"]


def test_cards_that_are_no_files(fine, tmp_path):
    """A missing card and a folder are refused in one line on the command line."""
    out = tmp_path / "m.safetensors"
    assert "no such file" in processes.run("train", fine, "-f", 2, "-o", out, "--card", tmp_path / "x").refused(3)
    assert "cannot read the card" in processes.run("train", fine, "-f", 2, "-o", out, "--card", tmp_path).refused(2)


def test_the_last_weights_are_kept_on_request(fine, tmp_path):
    """`keep="last"` gives the weights of the schedule's end, though earlier ones did better on the held-out field."""
    harmful = {"learning_rate": 3.0, "ema_decay": 0.0, "steps": 9, "validate_every": 3}
    best, last = tmp_path / "best.safetensors", tmp_path / "last.safetensors"
    assert processes.run("train", "--help").out.count("--keep [best|last]") == 1
    first = trained(fine, best, **harmful)
    second = trained(fine, last, keep="last", **harmful)
    steps = [load_checkpoint(path, 2).card.training["step"] for path in (best, last)]
    assert steps[0] < 9 == steps[1]
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_card_with_a_mark_and_a_wrong_key_on_the_command_line(fine, tmp_path):
    """A byte order mark is no matter; an unknown key is exit 2 with its name."""
    card = tmp_path / "card.toml"
    card.write_bytes(b'\xef\xbb\xbfsummary = "x"\nfactor = 2\n')
    done = processes.run("train", fine, "-f", 2, "-o", tmp_path / "m.safetensors", "--card", card)
    assert done.refused(2) == "card card.toml has unknown keys: factor"


@pytest.mark.parametrize(
    ("shape", "fill", "words"),
    [
        ((15, 40), None, "no validation field has enough valid cells|no raster of 16 x 16 fine cells or more"),
        ((200, 200), math.nan, "no validation field has enough valid cells|found too few patches"),
        ((200, 200), 7.0, "no validation field has enough valid cells|found too few patches"),
    ],
)
def test_rasters_that_are_of_no_use(tmp_path, shape, fill, words):
    """Rasters that are too small, all missing or constant are refused, and there is no checkpoint."""
    values = terrain(shape) if fill is None else np.full(shape, fill)
    source, out = write(tmp_path / "a.tif", values), tmp_path / "m.safetensors"
    with pytest.raises(InputError, match=words):
        trained(source, out, patch=19)
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        *(
            {"steps": 0},
            {"batch_size": 0},
            {"patch": -1},
            {"validate_every": 0},
            {"seed": -1},
            {"hold_out": 0},
            {"hold_out": 1},
        ),
        *(
            {"minutes": 0},
            {"minutes": math.nan},
            {"minutes": math.inf},
            {"learning_rate": 0},
            {"learning_rate": math.nan},
        ),
        *(
            {"charbonnier_eps": 0},
            {"ema_decay": 1},
            {"loss": "huber"},
            {"keep": "first"},
            {"balance": 2},
            {"blur": -0.1},
            {"mix": 1.5},
            {"pyramid_levels": -1},
        ),
        *({"frozen": -1}, {"teacher_weight": 1.5}, {"save_minutes": 0}),
    ],
    ids=str,
)
def test_options_that_make_no_sense(options):
    """Each wrong option is a ConfigError that names it."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        TrainOptions(**options)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (FSRCNNConfig(factor=3, d=8, s=4, m=1), "the configuration is for factor 3, not 2"),
        (FSRCNNConfig(factor=2, d=8, s=4, m=1, channels=2), "train takes networks of one band, or joint ones"),
    ],
)
def test_networks_that_cannot_be_trained_here(fine, tmp_path, config, words):
    """Networks of another factor or of several bands are usage errors."""
    with pytest.raises(UsageError, match=words):
        train_model([fine], 2, tmp_path / "m.safetensors", config=config)
    assert not list(tmp_path.iterdir())


def test_a_step_that_is_not_finite_is_left_out(fine, tmp_path, monkeypatch):
    """A loss that is not finite changes no weight, is counted, and the training goes on; four in a row end it."""
    losses = iter([*[1.0] * 5, math.nan, math.inf, *[1.0] * 23])
    real = loop.penalty
    monkeypatch.setattr(loop, "penalty", lambda *a: real(*a) * next(losses))
    result = train_model([fine], 2, tmp_path / "m.safetensors", config=TINY, options=TrainOptions(**QUICK))
    assert result.steps == 30
    losses = iter([*[1.0] * 5, *[math.nan] * 4])
    with pytest.raises(TrainError, match=r"not finite at step 8, 4 steps so far: .* look at site#1 rows"):
        train_model([fine], 2, tmp_path / "n.safetensors", config=TINY, options=TrainOptions(**QUICK))


def test_the_loss_counts_valid_cells_only():
    """Each loss by hand, over the cells that count."""
    error, valid = torch.tensor([3.0, -4.0, 100.0]), torch.tensor([True, True, False])
    for loss, expected in (("mse", 12.5), ("l1", 3.5), ("charbonnier", (13**0.5 + 20**0.5) / 2 - 2)):
        options = TrainOptions(loss=loss, charbonnier_eps=2.0)
        assert float(loop.penalty(error, valid, options)) == pytest.approx(expected)
    assert float(loop.penalty(error[:2], None, TrainOptions(loss="mse"))) == 12.5


def test_branches_fold_into_one_convolution():
    """3 x 3 + 1 x 1 + identity is one 3 x 3 convolution: the folded network gives the same, and is a plain one."""
    torch.manual_seed(0)
    model = FSRCNN(FSRCNNConfig(factor=3, d=8, s=4, m=3))
    plain = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    branches.add_branches(model)
    x = torch.randn(2, 1, 20, 22)
    with torch.no_grad():
        assert torch.equal(branches.fold(model)(x), model(x))
        for layer in model.mapping:
            beside = layer.parametrizations["weight"][0]
            beside.point.normal_()
            beside.straight.normal_()
        hidden = torch.randn(2, 4, 9, 9)
        layer = model.mapping[1]
        beside, original = layer.parametrizations["weight"][0], layer.parametrizations["weight"].original
        apart = (
            torch.nn.functional.conv2d(hidden, original)
            + torch.nn.functional.conv2d(hidden[..., 1:-1, 1:-1], beside.point[:, :, None, None])
            + hidden[..., 1:-1, 1:-1] * beside.straight[:, None, None]
        )
        assert torch.allclose(layer(hidden), apart, atol=1e-5)
        assert torch.allclose(branches.fold(model)(x), model(x), atol=1e-5)
    assert set(branches.fold(model).state_dict()) == set(plain)
    assert not torch.equal(branches.fold(model).mapping[1].weight, plain["mapping.1.weight"])


def test_branches_are_trained_and_folded(fine, tmp_path):
    """A training with branches gives a plain checkpoint, other than one without."""
    with_branches = trained(fine, tmp_path / "a.safetensors", branches=True)
    without = trained(fine, tmp_path / "b.safetensors")
    assert set(with_branches) == set(without)
    assert not torch.equal(with_branches["mapping.0.weight"], without["mapping.0.weight"])


def test_another_factor_keeps_the_trunk(fine, tmp_path):
    """From x2 to x3: all but the last layer and the skip come from the checkpoint; while frozen they stay."""
    start, out = tmp_path / "x2.safetensors", tmp_path / "x3.safetensors"
    old = trained(fine, start)
    config = dataclasses.replace(TINY, factor=3)
    options = TrainOptions(**{**QUICK, "frozen": 30})
    train_model([fine], 3, out, config=config, options=options, start=start)
    new = load_checkpoint(out, 3).model.state_dict()
    kept = {name for name in old if not name.startswith(("deconvolution", "skip"))}
    assert len(kept) >= 8
    assert all(torch.equal(old[name], new[name]) for name in kept)
    assert new["deconvolution.weight"].shape[0] == 9
    train_model([fine], 3, out, config=config, options=TrainOptions(**QUICK), start=start, overwrite=True)
    assert not torch.equal(load_checkpoint(out, 3).model.state_dict()["feature.weight"], old["feature.weight"])


def test_a_teacher_is_followed(fine, tmp_path):
    """With all of the loss on the teacher, the network comes nearer to the teacher than to the truth it never sees."""
    teacher = tmp_path / "teacher.safetensors"
    train_model([fine], 2, teacher, config=FSRCNNConfig(factor=2, d=8, s=4, m=3), options=TrainOptions(**QUICK))
    weights = {}
    for share in (0.0, 1.0):
        options = TrainOptions(**{**QUICK, "teacher_weight": share})
        out = tmp_path / f"{share}.safetensors"
        train_model([fine], 2, out, config=TINY, options=options, teacher=teacher)
        weights[share] = load_checkpoint(out).model.state_dict()
    alone = trained(fine, tmp_path / "alone.safetensors")
    assert all(torch.equal(alone[name], weights[0.0][name]) for name in alone)
    assert not torch.equal(alone["feature.weight"], weights[1.0]["feature.weight"])
    config = dataclasses.replace(TINY, factor=3)
    with pytest.raises(ModelError, match="is a model for factor 2, not 3"):
        train_model([fine], 3, tmp_path / "x.safetensors", config=config, teacher=teacher)


def test_minutes_end_a_training(fine, tmp_path, monkeypatch):
    """A training of some minutes ends after them, by the clock, and says how many steps it took."""
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks) / 10))  # a tenth each look at it
    out = tmp_path / "m.safetensors"
    options = TrainOptions(**{**QUICK, "minutes": 0.02, "steps": 1})
    result = train_model([fine], 2, out, config=TINY, options=options)
    assert result.steps > 1
    assert 1.2 <= result.seconds < 2
    upscaled = tmp_path / "fine.tif"
    upscale_file(fine, upscaled, 2, out)
    assert read(upscaled, 1).shape == (280, 520)
    assert result.out == str(out)


def test_a_positive_network_is_trained_on_positive_fields(fine, tmp_path):
    """With conserving='positive' zero stays where it is: training starts at lanczos-bp, not far off it."""
    config = dataclasses.replace(TINY, conserving="positive")
    scores = []
    options = TrainOptions(**QUICK)
    out = tmp_path / "m.safetensors"
    result = train_model(
        [fine], 2, out, config=config, options=options, report=lambda record: scores.append(record["score"])
    )
    assert scores[0] == pytest.approx(1, abs=0.02)
    assert result.score <= scores[0]


def test_no_output_of_a_training_is_one_of_its_inputs(fine, tmp_path):
    """--log and --out never name a raster, a card or a checkpoint that is read, and the log is not the checkpoint."""
    card, start, out = tmp_path / "card.toml", tmp_path / "start.safetensors", tmp_path / "m.safetensors"
    card.write_text('summary = "x"\n')
    trained(fine, start)
    other = write(tmp_path / "other.tif", terrain((140, 260), seed=5).astype("float32"))
    before = [state(path) for path in (fine, card, start, other)]
    line = ("train", fine, "-f", 2, *LINE, "--card", card, "--start", start, "-v", other, "--overwrite")
    for log in (fine, card, start, other, out):
        assert "output is the input" in processes.run(*line, "-o", out, "--log", log).refused(2)
    assert "output is the input" in processes.run(*line, "-o", start).refused(2)
    assert "output folder is missing" in processes.run(*line, "-o", out, "--log", tmp_path / "no" / "log").refused(5)
    assert [state(path) for path in (fine, card, start, other)] == before


# ------------------------------------------------------------------------------------------------------- schedules


def test_frozen_stages_stay_as_they_were(fine, tmp_path):
    """Weights of stages that are not trained are those of the start, to the bit; the others move."""
    start = tmp_path / "start.safetensors"
    before = trained(fine, start)
    out = tmp_path / "m.safetensors"
    options = TrainOptions(**QUICK, keep="last", freeze=("feature", "mapping"))
    train_model([fine], 2, out, config=TINY, options=options, start=start)
    after = load_checkpoint(out).model.state_dict()
    for name, tensor in before.items():
        frozen = name.startswith(("feature", "mapping"))
        assert torch.equal(tensor, after[name]) == frozen, name


def test_the_deconvolution_has_a_rate_of_its_own():
    """A tenth of the others', as in the paper; a constant rate stays after the warm-up, a cosine falls to 0."""
    for shape, last in (("constant", 1.0), ("cosine", 0.0)):
        run = Run(FSRCNN(TINY), TrainOptions(steps=1000, last_layer_lr_ratio=0.1, lr_schedule=shape))
        run.step = 300
        run.take_step(sum(p.square().sum() for p in run.model.parameters()), [])
        rates = {
            name: group["lr"]
            for group in run.optimiser.param_groups
            for name, parameter in run.parameters.items()
            if any(parameter is own for own in group["params"])
        }
        assert rates["deconvolution.weight"] == pytest.approx(0.1 * rates["feature.weight"])
        run.step = 1000
        assert run.learning_rate == pytest.approx(last * 1e-3, abs=1e-9)


def test_patience_ends_a_training_that_no_longer_improves(fine, tmp_path):
    """With a rate that moves nothing, two validations later."""
    options = TrainOptions(**{**QUICK, "steps": 200, "validate_every": 5}, learning_rate=1e-12, patience=2)
    result = train_model([fine], 2, tmp_path / "m.safetensors", config=TINY, options=options)
    assert result.steps <= 20
    assert load_checkpoint(tmp_path / "m.safetensors")


def test_half_the_digits_train_as_well(fine, tmp_path):
    """bfloat16 convolutions: other weights, nearly the same score; what is written is float32."""
    found = {}
    for precision in ("float32", "bfloat16"):
        options = TrainOptions(**QUICK, precision=precision)
        found[precision] = train_model([fine], 2, tmp_path / f"{precision}.safetensors", config=TINY, options=options)
    a, b = (load_checkpoint(tmp_path / f"{name}.safetensors").model.state_dict() for name in found)
    assert any(not torch.equal(a[name], b[name]) for name in a)
    assert all(tensor.dtype == torch.float32 for tensor in b.values())
    assert found["bfloat16"].score == pytest.approx(found["float32"].score, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"freeze": ("nose",)}, "freeze= takes feature, shrink"),
        ({"freeze": STAGES}, "freeze= leaves nothing to train"),
        ({"last_layer_lr_ratio": 0.0}, "last_layer_lr_ratio= must be above 0"),
        ({"lr_schedule": "zigzag"}, "lr_schedule= must be one of cosine, constant"),
        ({"precision": "float16"}, "precision= must be one of float32, bfloat16"),
        ({"patience": -1}, "patience= must be at least 0"),
        ({"patch": 3}, "patch= must be at least 4, got 3"),
        ({"pyramid_levels": 7}, "pyramid_levels= must be from 0 to 6, got 7"),
        ({"seed": 2**63}, "seed= must be from 0 to 9223372036854775807"),
        ({"ema_decay": 1.0}, "ema_decay= must be from 0 to below 1, got 1.0"),
        ({"hold_out": 2.0}, "hold_out= must be between 0 and 1, got 2.0"),
    ],
)
def test_schedules_that_make_no_sense(options, words):
    """Named in one line."""
    with pytest.raises(ConfigError, match=words):
        TrainOptions(**options)


@pytest.mark.parametrize("overshoot", [None, 0.25])
def test_a_training_starts_from_a_network_of_another_overshoot(fine, tmp_path, random_network, overshoot):
    """It has no weights: a network without a limit, or with another one, starts from one that keeps to half a range."""
    start = random_network(2, overshoot=0.5, d=TINY.d, s=TINY.s, m=TINY.m)
    out = tmp_path / "m.safetensors"
    config = dataclasses.replace(TINY, overshoot=overshoot)
    train_model([fine], 2, out, config=config, options=TrainOptions(**QUICK), start=start)
    assert load_checkpoint(out).config == config


def test_a_network_that_gives_errors_may_be_a_teacher(fine, tmp_path):
    """What it expects of its own errors is not taught."""
    teacher, out = tmp_path / "teacher.safetensors", tmp_path / "m.safetensors"
    head = section_of(random_head(TINY), {})
    save_checkpoint(teacher, FSRCNN(TINY), Card(name="teacher"), sections={"expected_error": head})
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK), teacher=teacher)
    assert load_checkpoint(out).sections == {}
