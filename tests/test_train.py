"""Training: a checkpoint that works, sites that never mix, and failures that leave good checkpoints alone."""

from __future__ import annotations

import json
import math
import random
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasters import digest, read, state, terrain, write

from geofsrcnn import upscale_array, upscale_raster
from geofsrcnn.checkpoint import load_checkpoint
from geofsrcnn.errors import ConfigError, InputError, OutputError, TrainError, UsageError
from geofsrcnn.grid import Grid
from geofsrcnn.metrics import rmse, scored_mask
from geofsrcnn.model import FSRCNNConfig
from geofsrcnn.resample import block_mean, resample
from geofsrcnn.train import TrainOptions, _sites, _split, read_fields, train_model

TINY = FSRCNNConfig(factor=2, d=8, s=4, m=1)
QUICK = {"steps": 30, "batch": 4, "patch": 8, "check_every": 15}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """One torch thread: patches this small gain nothing from more, and wait for them where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write(tmp_path_factory.mktemp("fine") / "site.tif", terrain((140, 260), seed=3, high=500).astype("float32"))


def trained(fine: Path, out: Path, **options: object) -> dict[str, torch.Tensor]:
    """Weights of a quick training."""
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**{**QUICK, **options}))
    return dict(load_checkpoint(out, 2).model.state_dict())


ALONE = "import torch; torch.set_num_threads(1)\n"
OFTEN = """
from geofsrcnn.train import TrainOptions
TrainOptions.__init__.__defaults__ = tuple(5 if d == 500 else d for d in TrainOptions.__init__.__defaults__)
"""
"""Validate every 5 steps."""

LINE = ("--size", "small", "--steps", 40, "--patch", 8, "--batch", 4)


def test_a_training_on_the_command_line_gives_a_model_that_works(fine, tmp_path):
    """Train, look at the card, upscale with the result: better than nothing, and in its units."""
    out, coarse, output = tmp_path / "m.safetensors", tmp_path / "coarse.tif", tmp_path / "fine.tif"
    card, log = tmp_path / "card.toml", tmp_path / "log.jsonl"
    card.write_text('summary = "hills"\nlimits = "no rain"\n[[data]]\nname = "n"\nsource = "s"\nlicence = "CC0"\n')
    before = state(fine)
    done = processes.run(
        "train", fine, "-f", 2, "-o", out, *LINE, "--card", card, "--log", log, "--json", timeout=120, prelude=ALONE
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
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK, rate=1e-12), start=start)
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
    with pytest.raises(OutputError, match=r"output exists: .*m.safetensors: use --overwrite"):
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
    """A rate of a million ends in TrainError, exit 8, and a good checkpoint under that name stays as it was."""
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
        "--rate",
        "1e6",
        "--overwrite",
        "-q",
        timeout=120,
        prelude=ALONE,
    )
    assert re.fullmatch(r"the loss is not finite at step \d+: take a smaller --rate", done.refused(8))
    assert digest(out) == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    new = tmp_path / "new.safetensors"
    with pytest.raises(TrainError, match=r"the loss is not finite at step [1-9]"):
        trained(fine, new, rate=1e6, steps=4000)
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
    out, log = tmp_path / "m.safetensors", tmp_path / "log.jsonl"
    run = processes.start(
        "train", fine, "-f", 2, "-o", out, *LINE, "--steps", 100_000, "--log", log, "-q", prelude=ALONE + OFTEN
    )
    deadline = time.monotonic() + 60
    while not out.exists():
        assert time.monotonic() < deadline, run.wait(1)
        time.sleep(0.02)
    begin = time.monotonic()
    run.send(signal.Signals[name])
    done = run.wait()
    assert done.code == 128 + signal.Signals[name]
    assert done.err == "geofsrcnn: interrupted, no unfinished file is left\n"
    assert time.monotonic() - begin < 3
    assert load_checkpoint(out, 2).card.training["step"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "m.safetensors"]


def test_sigkill_during_training(fine, tmp_path):
    """A training that is killed at random moments leaves a whole checkpoint; the next one cleans up."""
    out, moments = tmp_path / "m.safetensors", random.Random(22)
    trained(fine, out)
    seen = {digest(out)}
    for _ in range(4):
        line = (*LINE, "--steps", 100_000, "--overwrite", "-q", "--rate", 0.01)
        run = processes.start("train", fine, "-f", 2, "-o", out, *line, prelude=ALONE + OFTEN)
        deadline = time.monotonic() + 60
        while digest(out) in seen:
            assert time.monotonic() < deadline, run.wait(1)
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.2))
        run.send(signal.SIGKILL)
        assert run.wait().code == -signal.SIGKILL
        seen.add(load_checkpoint(out, 2).digest)
    assert len(seen) == 5
    train_model([fine], 2, out, config=TINY, options=TrainOptions(**QUICK), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


# ------------------------------------------------------------------------------------------------------- sites

boxes = st.tuples(*[st.integers(0, 12)] * 2, st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.5, 1.0, 2.0]))


def grid(box: tuple[int, int, int, int, float]) -> Grid:
    """A grid of the box ``x, y, width, height`` at some resolution."""
    x, y, width, height, step = box
    return Grid((int(height / step), int(width / step)), Affine(step, 0, x, 0, -step, y), "EPSG:32633")


def overlap(a: Grid, b: Grid) -> bool:
    """Whether two grids share an area."""
    (al, ab, ar, at), (bl, bb, br, bt) = a.bounds, b.bounds
    return min(ar, br) > max(al, bl) and min(at, bt) > max(ab, bb)


@given(st.lists(boxes, min_size=1, max_size=8))
def test_grids_that_overlap_are_one_site(found):
    """Grids that overlap share a site; those of different sites never do, however they are chained."""
    grids = [grid(box) for box in found]
    sites = _sites(grids)
    for i, a in enumerate(grids):
        for j, b in enumerate(grids):
            if overlap(a, b):
                assert sites[i] == sites[j]


def test_a_chain_of_overlaps_is_one_site():
    """Sites are joined through what lies between them, whatever the order; touching edges do not join."""
    left, middle, right = grid((0, 4, 4, 4, 1.0)), grid((3, 4, 4, 4, 1.0)), grid((6, 4, 4, 4, 1.0))
    apart = grid((10, 4, 2, 4, 1.0))
    for order in ([left, middle, right, apart], [right, left, apart, middle], [apart, left, right, middle]):
        sites = dict(zip(map(id, order), _sites(order), strict=True))
        assert sites[id(left)] == sites[id(middle)] == sites[id(right)] != sites[id(apart)]


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory) -> list[Path]:
    """Rasters of seven places, two of them twice."""
    folder = tmp_path_factory.mktemp("mosaic")
    paths = []
    for number, x in enumerate([0, 1000, 2000, 3000, 4000, 5000, 6000, 2010, 5010]):
        values = terrain((30, 40), seed=number)
        transform = Affine(10, 0, 500_000 + x, 0, -10, 6_000_000)
        paths.append(write(folder / f"{number}.tif", values, transform=transform))
    return paths


@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 0.99), order=st.permutations(range(9)))
def test_held_out_sites_never_overlap_training_sites(mosaic, seed, share, order):
    """Whatever the seed, the share and the order, no held-out field shares an area with a training field."""
    paths = [mosaic[i] for i in order]
    options = TrainOptions(seed=seed, hold_out=share)
    training, held_out = _split(paths, [], 2, options)
    assert held_out
    assert len(training) + len(held_out) == 9
    assert not any(overlap(a.grid, b.grid) for a in training for b in held_out)


def test_one_site_is_cut_with_a_gap(fine):
    """Of a single site the right quarter is held out, and a strip between is used by neither."""
    training, held_out = _split([fine], [], 2, TrainOptions())
    whole = read(fine, 1)
    left, right = training[0].values, held_out[0].values
    assert np.array_equal(left, whole[:, : left.shape[1]])
    assert np.array_equal(right, whole[:, -right.shape[1] :])
    assert whole.shape[1] - left.shape[1] - right.shape[1] == 32
    assert right.shape[1] == 65


def test_fields_hold_nan_where_cells_are_missing(tmp_path):
    """Fields are float64 in physical units, NaN where missing, one a band."""
    values = np.rint(terrain((2, 9, 10), low=1, high=99)).astype("int16")
    values[1, 3, 4] = -7
    path = write(tmp_path / "a.tif", values, nodata=-7)
    first, second = read_fields(path)
    assert (first.name, second.name) == ("a#1", "a#2")
    assert np.array_equal(first.values, values[0])
    assert np.argwhere(np.isnan(second.values)).tolist() == [[3, 4]]


def test_missing_cells_are_in_no_patch(tmp_path):
    """Training on a raster with missing cells and rubbish under them gives the weights of any other rubbish."""
    results = []
    for rubbish in (-9999.0, 12345.0):
        values = terrain((200, 260), high=300).astype("float32")
        values[60:64, 60:64] = rubbish
        path = write(tmp_path / f"{rubbish}.tif", values, nodata=rubbish)
        results.append(trained(path, tmp_path / f"{rubbish}.safetensors"))
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_a_raster_is_not_both_trained_on_and_validated_on(fine, tmp_path):
    """The same file on both sides is refused, under another name too."""
    link = tmp_path / "other.tif"
    link.symlink_to(fine)
    for validation in (fine, link):
        with pytest.raises(InputError, match=r"site.tif is to train on and to validate on: choose one"):
            train_model([fine], 2, tmp_path / "m.safetensors", config=TINY, validation=[validation])
    assert not (tmp_path / "m.safetensors").exists()


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


def test_a_card_with_a_mark_and_a_wrong_key_on_the_command_line(fine, tmp_path):
    """A byte order mark is no matter; an unknown key is exit 2 with its name."""
    card = tmp_path / "card.toml"
    card.write_bytes(b'\xef\xbb\xbfsummary = "x"\nfactor = 2\n')
    done = processes.run("train", fine, "-f", 2, "-o", tmp_path / "m.safetensors", "--card", card)
    assert done.refused(2) == "card card.toml has unknown keys: factor"


@pytest.mark.parametrize(
    ("shape", "fill", "words"),
    [
        ((40, 40), None, "no raster of 54 x 54 fine cells or more to train on: take a smaller --patch"),
        ((200, 200), math.nan, "no validation field has enough valid cells|found no patch"),
        ((200, 200), 7.0, "no validation field has enough valid cells|found no patch"),
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
            {"batch": 0},
            {"patch": -1},
            {"check_every": 0},
            {"seed": -1},
            {"hold_out": 0},
            {"hold_out": 1},
        ),
        *({"minutes": 0}, {"minutes": math.nan}, {"minutes": math.inf}, {"rate": 0}, {"rate": math.nan}),
        *({"softness": 0}, {"average": 1}),
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
        (FSRCNNConfig(factor=2, d=8, s=4, m=1, channels=2), "train takes one-band networks"),
    ],
)
def test_networks_that_cannot_be_trained_here(fine, tmp_path, config, words):
    """Networks of another factor or of several bands are usage errors."""
    with pytest.raises(UsageError, match=words):
        train_model([fine], 2, tmp_path / "m.safetensors", config=config)
    assert not list(tmp_path.iterdir())


def test_minutes_end_a_training(fine, tmp_path):
    """A training of a few seconds ends after them and says how many steps it took."""
    begin = time.monotonic()
    out = tmp_path / "m.safetensors"
    options = TrainOptions(**{**QUICK, "minutes": 0.02, "steps": 1})
    result = train_model([fine], 2, out, config=TINY, options=options)
    assert 1 < time.monotonic() - begin < 20
    assert result.steps > 1
    upscaled = tmp_path / "fine.tif"
    upscale_raster(fine, upscaled, 2, out)
    assert read(upscaled, 1).shape == (280, 520)
    assert result.out == str(out)
