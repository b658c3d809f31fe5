"""Training of expected errors on a network that stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geofsrcnn import load_checkpoint, save_checkpoint, train_error, upscale_array
from geofsrcnn.errors import InputError, OutputError, UsageError
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Card, Section
from geofsrcnn.training.expected_error import likelihood
from geofsrcnn.training.patches import Field, Patches
from geofsrcnn.training.schedule import ERROR_RECIPE, TrainOptions
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.kernels import resample
from tests.support import processes
from tests.support.networks import TINY, random_model
from tests.support.rasters import terrain, write

SHORT = replace(ERROR_RECIPE, steps=150, batch_size=8, patch=12, pyramid_levels=0)


def rough(seed: int, shape=(90, 108)) -> np.ndarray:
    """A plain on the left, mountains on the right."""
    x = np.arange(shape[1])
    hills = terrain(shape, seed=seed, high=100) + np.random.default_rng(seed).normal(0, 1, shape)
    return (hills * np.where(x < shape[1] // 2, 0.1, 1.0)).astype(np.float32)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A network with random weights, in a file."""
    path = tmp_path_factory.mktemp("network") / "plain.safetensors"
    save_checkpoint(path, random_model(**TINY), Card("plain", summary="for tests"))
    return path


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    """Six sites."""
    folder = tmp_path_factory.mktemp("rasters")
    return [write(folder / f"site{i}.tif", rough(i), transform=Affine.translation(1e4 * i, 0)) for i in range(6)]


@pytest.fixture(scope="module")
def trained(network, rasters, tmp_path_factory):
    """The network with its errors, and what its training said."""
    out = tmp_path_factory.mktemp("trained") / "with.safetensors"
    records = []
    result = train_error(network, rasters, out, options=replace(SHORT, validate_every=50), report=records.append)
    return out, result, records


def test_expected_errors_fit_on_a_field_that_was_not_trained_on(trained):
    """Their mean is that of the true ones, and they are large where those are."""
    truth = rough(77)
    fine, expected = upscale_array(block_mean(truth, 3), 3, trained[0], error=True, threads=1)
    error = np.abs(fine - truth)
    assert 0.7 < expected.mean() / error.mean() < 1.4
    plain, mountains = np.s_[:, :40], np.s_[:, 68:]
    for part in (plain, mountains):
        assert 0.5 < expected[part].mean() / error[part].mean() < 2
    assert expected[mountains].mean() > 5 * expected[plain].mean()


def test_values_stay_as_they_were(network, trained):
    """Weights, card and results are those of the network that it was trained on."""
    before, after = load_checkpoint(network), load_checkpoint(trained[0])
    weights = after.model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in before.model.state_dict().items())
    assert after.card == before.card
    coarse = rough(1)[::3, ::3]
    assert np.array_equal(upscale_array(coarse, 3, network), upscale_array(coarse, 3, trained[0]))


def test_the_card_says_how_well_they_fit(trained):
    """Held-out fields, their ratios about 1, and how it was trained."""
    out, result, records = trained
    facts = load_checkpoint(out).sections[EXPECTED_ERROR].values
    assert facts["held_out"]["fields"] == result.fields
    assert np.exp(np.mean(np.log(list(result.fields.values())))) == pytest.approx(1, abs=1e-3)
    assert set(result.fields) & {f"{name}#1" for name in facts["data"]} == set()
    assert facts["training"]["steps"] == result.steps == 150
    assert [record["step"] for record in records] == [50, 100, 150]
    assert records[-1]["loss"] < records[0]["loss"]


def test_the_same_seed_gives_the_same_head(network, rasters, tmp_path):
    """To the last bit; another seed another one, and another schedule."""
    heads = []
    for number, options in enumerate(({}, {}, {"seed": 1}, {"lr_schedule": "constant"})):
        out = tmp_path / f"{number}.safetensors"
        train_error(network, rasters, out, options=replace(SHORT, steps=5, **options))
        heads.append(load_checkpoint(out).sections[EXPECTED_ERROR].arrays["hidden.weight"])
    assert np.array_equal(heads[0], heads[1])
    assert not any(np.array_equal(heads[0], other) for other in heads[2:])


def test_what_cannot_be_is_refused_and_nothing_written(network, rasters, tmp_path):
    """An output that exists, rasters too small to judge by, a model of pairs; an interrupt leaves nothing."""
    out = tmp_path / "out.safetensors"
    with pytest.raises(OutputError, match="exists"):
        train_error(network, rasters, network, options=SHORT)
    small = write(tmp_path / "small.tif", rough(0, (20, 20)))
    with pytest.raises(InputError, match="name rasters in validation="):
        train_error(network, rasters, out, validation=[small], options=SHORT)
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        train_error(network, rasters, tmp_path / "out.tif", options=SHORT)
    of_pairs = tmp_path / "pairs.safetensors"
    save_checkpoint(of_pairs, random_model(**TINY), Card("pairs"), sections={"pairing": Section({"some": 1})})
    with pytest.raises(UsageError, match="models of pairs tell their errors otherwise"):
        train_error(of_pairs, rasters, out, options=SHORT)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_error(network, rasters, out, options=SHORT, each_step=interrupt)
    assert {path.name for path in tmp_path.iterdir()} == {"small.tif", "pairs.safetensors"}


INTERRUPTED = """
import os, signal
from geofsrcnn.training import expected_error as training
take = training._Run._step
def step(self, number, batch):
    if number == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return take(self, number, batch)
training._Run._step = step
"""

LINE = ("--patch", 12, "--pyramid-levels", 0, "--batch-size", 8)


def test_the_command_teaches_a_network(network, rasters, tmp_path):
    """As the function does; it says how fields differ, and `upscale --error` takes the checkpoint."""
    out = tmp_path / "with.safetensors"
    done = processes.run("train-error", *rasters, "-m", network, "-o", out, *LINE, "--steps", 20)
    assert (done.code, done.err) == (0, "step     20  loss " + done.err[18:]), done.err
    assert done.out.startswith(f"{out}: on 2 held-out fields expected errors are 0.")
    assert "1 in the geometric mean; standard deviation of the logarithm 0." in done.out
    alone = train_error(network, rasters, tmp_path / "same.safetensors", options=replace(SHORT, steps=20))
    assert out.read_bytes() == (tmp_path / "same.safetensors").read_bytes()
    single = processes.run(
        *("train-error", rasters[0], "-v", rasters[1], "-m", network, "-o", out, *LINE, "--steps", 3, "--overwrite"),
        *("--progress", "json", "--seed", 1),
    )
    assert "are set to the true ones of 1 held-out field; more fields would tell" in single.out
    assert [json.loads(line)["done"] for line in single.err.splitlines()][-1] == 3
    fine = tmp_path / "fine.tif"
    assert processes.run("upscale", rasters[2], fine, "-m", out, "--error").code == 0
    with rasterio.open(fine) as found:
        assert found.descriptions[-1] == "band_1_error"
    again = ("--steps", 20, "--overwrite", "--json", "-q")
    said = processes.run("train-error", *rasters, "-m", out, "-o", out, *LINE, *again)
    assert said.err == ""
    card = " ".join(processes.run("info", out).out.split())
    assert "mean expected error divided by mean true error, held-out fields; geometric mean 1.0; spread 0." in card
    assert all(f"{name} {ratio}" in card for name, ratio in alone.fields.items())
    assert json.loads(said.out)["fields"] == alone.fields


def test_the_command_refuses_in_one_line(network, rasters, tmp_path):
    """Nothing to learn from, a model without features, an output that is an input; an interrupt leaves nothing."""
    out = ("-o", tmp_path / "o.safetensors")
    for line, code, words in (
        ((rasters[0], *out), 2, "Missing option '--model'"),
        (("-m", network, *out), 2, "nothing to train on: give FINE files"),
        ((rasters[0], "-m", "cubic", *out), 4, "cubic is a classical method, which has no checkpoint"),
        ((rasters[0], "-m", "", *out), 2, "--model needs the name of a file"),
        ((*rasters, "-m", network, "-o", network), 5, "use --overwrite"),
        ((*rasters, "-m", network, *out, "--hold-out", 0.2, "-v", rasters[0]), 2, "--hold-out and --validation"),
        ((*rasters, "-m", network, *out, "--factor", 3), 2, "No such option '--factor'"),
    ):
        assert words in processes.run("train-error", *line).refused(code)
    stopped = processes.run(
        *("train-error", *rasters, "-m", network, *out, *LINE),
        prelude=INTERRUPTED,
    )
    assert (stopped.code, stopped.err) == (130, "geofsrcnn: interrupted, no unfinished file is left\n")
    assert list(tmp_path.iterdir()) == []


def test_the_likelihood_is_best_at_the_mean_error():
    """Of errors of any distribution; cells that do not count may hold anything."""
    error = torch.from_numpy(np.random.default_rng(0).gamma(0.7, 2.0, 20_000))
    scales = torch.linspace(0.5, 3, 101, dtype=torch.float64)
    losses = [float(likelihood(scale.expand(error.shape), error, None)) for scale in scales]
    assert float(scales[int(np.argmin(losses))]) == pytest.approx(float(error.mean()), abs=0.03)
    spoilt = torch.where(torch.arange(20_000) < 10_000, error, torch.nan)
    assert likelihood(scales[:1], spoilt, torch.arange(20_000) < 10_000).isfinite()


def field(values: np.ndarray) -> list[Field]:
    return [Field("one#1", None, values.astype(np.float64))]  # type: ignore[arg-type]


def test_patches_as_sensors_give_them():
    """Rounded to few levels, of half of them the coarse ones too; with noise; the patches behind are the same."""
    values, options = rough(3, (120, 120)), TrainOptions(patch=10, batch_size=16)
    plain = Patches(field(values), 3, 2, options).draw(4)
    rounded = Patches(field(values), 3, 2, replace(options, quantise=1.0)).draw(4)
    noisy = Patches(field(values), 3, 2, replace(options, noise=1.0)).draw(4)
    assert plain.origins == rounded.origins == noisy.origins
    assert all(len(np.unique(patch)) > 800 for patch in plain.fine)
    assert all(len(np.unique(patch)) < 600 for patch in rounded.fine)
    few = [len(np.unique(patch)) < 0.6 * patch.size for patch in rounded.coarse]
    assert 3 < sum(few) < 13
    errors = [
        np.abs(batch.fine - np.stack([resample(c[0, 2:-2, 2:-2], 3, "cubic") for c in batch.coarse])[:, None])
        for batch in (plain, noisy)
    ]
    assert errors[1].mean() > errors[0].mean()


@pytest.mark.parametrize("name", ["noise", "quantise"])
def test_shares_of_patches(name):
    """From 0 to 1."""
    with pytest.raises(Exception, match=f"{name}= must be from 0 to 1"):
        TrainOptions(**{name: 1.5})
