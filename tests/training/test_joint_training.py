"""Networks that are trained on all bands together, from rasters to the fine raster."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geofsrcnn import evaluate_raster, upscale_array, upscale_file
from geofsrcnn.errors import ConfigError, InputError, ModelError, UsageError
from geofsrcnn.evaluation.scores import rmse, scored_mask
from geofsrcnn.networks.checkpoint import BANDS, Card, Section, load_checkpoint, save_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig, widen
from geofsrcnn.training.patches import Field, Patches, read_fields
from geofsrcnn.training.rasters import prepare, train_model
from geofsrcnn.training.schedule import TrainOptions
from geofsrcnn.values.blocks import block_mean, repeat
from tests.support import processes
from tests.support.networks import random_model
from tests.support.rasters import created, read, terrain, write

pytestmark = pytest.mark.usefixtures("one_thread")

THREE = FSRCNNConfig(factor=2, channels=3, joint=True, d=9, s=4, m=1)
QUICK = {"batch_size": 4, "patch": 8, "validate_every": 60, "steps": 120, "learning_rate": 3e-3}
NAMES = ("red", "green", "nir")
ALONE = "import torch; torch.set_num_threads(1)\n"


def write_bands(path: Path, values: np.ndarray, names: tuple[str, ...] = NAMES, **profile: object) -> Path:
    """A raster with names of bands."""
    with created(path, values.shape, values.dtype.name, **profile) as dataset:
        dataset.write(values)
        dataset.descriptions = names
    return path


def bands(seed: int = 3, shape: tuple[int, int] = (140, 260)) -> np.ndarray:
    """Three bands with edges in common, in units of their own."""
    base = terrain(shape, seed=seed)
    return np.stack([base, 1e4 * base**2 + 7, 50 - base + 0.3 * terrain(shape, seed=seed + 9)]).astype("float32")


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write_bands(tmp_path_factory.mktemp("fine") / "site.tif", bands())


@pytest.fixture(scope="module")
def model(fine, tmp_path_factory) -> Path:
    """A network that was trained on it."""
    out = tmp_path_factory.mktemp("model") / "m.safetensors"
    train_model([fine], 2, out, config=THREE, options=TrainOptions(**QUICK))
    return out


# ------------------------------------------------------------------------------------------------------ the training


def test_a_joint_training_scores_each_band_and_keeps_their_names(fine, model):
    """The card names the bands; each is scored as upscaling gives it."""
    checkpoint = load_checkpoint(model)
    assert checkpoint.config == THREE
    assert checkpoint.band_names == NAMES
    assert list(checkpoint.card.scores["fields"]) == ["site#1", "site#2", "site#3"]
    assert checkpoint.card.scores["geometric_mean"] < 1
    held_out = read(fine)[:, :, 195:].astype(float)[..., :64]
    scored = prepare(Field("site", None, read(fine)[:, :, 195:].astype(float), NAMES), 2, THREE.halo, anchored=False)
    coarse = block_mean(read(fine)[:, :, 195:].astype(float), 2)
    found = upscale_array(coarse, 2, checkpoint)
    assert held_out.shape == (3, 140, 64)
    for number, band in enumerate(scored):
        where = scored_mask(np.isfinite(coarse[number]), 2)
        ratio = rmse(found[number], band.truth, where) / band.baseline
        assert ratio == pytest.approx(checkpoint.card.scores["fields"][band.name], abs=2e-3)


def test_a_training_goes_on_where_it_was_stopped(fine, model, tmp_path):
    """To the same weights, bit for bit."""
    out, steps = tmp_path / "m.safetensors", iter(range(1000))

    def stop() -> None:
        if next(steps) == 70:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model([fine], 2, out, config=THREE, options=TrainOptions(**QUICK), each_step=stop)
    train_model([fine], 2, out, config=THREE, options=TrainOptions(**QUICK), resume=True)
    other = load_checkpoint(model).model.state_dict()
    assert all(torch.equal(tensor, other[name]) for name, tensor in load_checkpoint(out).model.state_dict().items())


def test_the_command_trains_and_the_model_upscales_by_name(fine, tmp_path):
    """``--joint`` takes the number of bands from the rasters, ``info`` names them."""
    out = tmp_path / "m.safetensors"
    line = ("--size", "small", "--steps", 2, "--patch", 8, "--batch-size", 2)
    done = processes.run("train", fine, "--joint", "-f", 2, "-o", out, *line, prelude=ALONE)
    assert done.code == 0, done.err
    config = load_checkpoint(out).config
    assert (config.channels, config.joint, config.d, config.s) == (3, True, 51, 8)
    assert "3 bands together (red, green, nir)" in " ".join(processes.run("info", out).out.split())
    assert json.loads(processes.run("info", out, "--json").out)["band_names"] == list(NAMES)
    done = processes.run("upscale", fine, tmp_path / "fine.tif", "-f", 2, "--model", out)
    assert done.code == 0, done.err
    assert read(tmp_path / "fine.tif").shape == (3, 280, 520)


def test_one_band_has_nothing_to_share(tmp_path):
    """Said in one line, before anything is trained."""
    path = write(tmp_path / "one.tif", terrain((90, 90)).astype("float32"))
    done = processes.run("train", path, "--joint", "-f", 2, "-o", tmp_path / "m.safetensors")
    assert "--joint is for two bands or more that help each other, there is 1" in done.refused(2)


@pytest.mark.parametrize(
    ("others", "names", "words"),
    [
        (slice(2), NAMES[:2], "b has 2 bands, the network takes 3: bands that are learned together are the same"),
        (slice(3), ("red", "nir", "green"), "b has red, nir, green, site has red, green, nir: bands that are learned"),
    ],
)
def test_rasters_of_other_bands_are_refused(fine, tmp_path, others, names, words):
    """By number, and by names where both have names; on either side."""
    other = write_bands(tmp_path / "b.tif", bands(4)[others], names)
    for validation in ([], [other]):
        paths = [fine] if validation else [fine, other]
        with pytest.raises(InputError, match=words):
            train_model(
                paths, 2, tmp_path / "m.safetensors", config=THREE, validation=validation, options=TrainOptions(**QUICK)
            )


def test_rasters_without_names_fit_by_number(fine, tmp_path):
    """What has no names says nothing of them; the card takes them from those that have."""
    other = write(tmp_path / "b.tif", bands(4), transform=None)
    out = tmp_path / "m.safetensors"
    train_model([other, fine], 2, out, config=THREE, options=TrainOptions(**{**QUICK, "steps": 1}))
    assert load_checkpoint(out).band_names == NAMES


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"channels": 1}, "joint=True is for two bands or more that help each other, there is 1"),
        ({"unit_free": False}, "joint=True needs unit_free=True"),
        ({"d": 8}, "d must be a multiple of the 3 bands with joint=True, got 8"),
        ({"joint": 1}, "joint must be true or false"),
    ],
)
def test_joint_networks_that_cannot_be(config, words):
    """Each is a ConfigError that names what is wrong."""
    with pytest.raises(ConfigError, match=words):
        FSRCNNConfig(**{"channels": 3, "joint": True, "d": 9, **config})


@pytest.mark.parametrize("channels", [2, 3, 4, 7, 12, 40])
@pytest.mark.parametrize("size", [{"d": 64, "s": 32, "m": 4}, {"d": 32, "s": 5, "m": 1}])
def test_a_joint_network_costs_as_much_a_band(channels, size):
    """About as many operations a band as the network of one band has, or fewer where it would be too wide."""
    one = {"factor": 3, **size}
    share = FSRCNNConfig(**widen(one, channels)).operations / channels / FSRCNNConfig(**one).operations
    assert share < 1.1
    assert channels > 4 or share > 0.8


def test_a_teacher_takes_the_same_bands(fine, tmp_path):
    """A network of one band cannot teach one of three."""
    teacher = tmp_path / "t.safetensors"
    save_checkpoint(teacher, random_model(1, factor=2, d=8, s=4, m=1), Card(name="t"))
    with pytest.raises(UsageError, match="the teacher must have the same factor and bands together"):
        train_model([fine], 2, tmp_path / "m.safetensors", config=THREE, teacher=teacher)


# --------------------------------------------------------------------------------------------------------- patches


def test_bands_of_a_patch_lie_together(tmp_path):
    """All bands are cut, turned and mirrored alike; each in units of its own roughness, missing where it was."""
    base = terrain((60, 64), seed=5)
    values = np.stack([base, 1000 * base + 3e4, np.full(base.shape, 4.0), np.where(base > 0.5, np.nan, -base)])
    (field,) = read_fields(write(tmp_path / "a.tif", values.astype("float64"), nodata=np.nan), joint=True)
    assert field.values.shape == values.shape
    options = TrainOptions(batch_size=8, patch=8, blur=0.5, mix=0.5, quantise=0, noise=0)
    for step in range(3):
        batch = Patches([field], 2, 3, options).draw(step)
        assert batch.coarse.shape == (8, 4, 14, 14)
        assert batch.fine.shape == batch.valid.shape == (8, 4, 16, 16)
        assert np.allclose(batch.fine[:, 0], batch.fine[:, 1], atol=1e-3)
        assert (batch.fine[:, 2] == 0).all()
        assert batch.valid[:, :3].all()
        there = batch.valid[:, 3]
        assert 0.2 < there.mean() < 1
        rest = batch.fine - repeat(block_mean(batch.fine, 2), 2)
        counted = rest[:, 3][there]
        assert np.isfinite(counted).all()


def test_where_a_band_is_missing_throughout_the_others_are_learned(tmp_path):
    """It counts nowhere, and nothing warns."""
    values = bands(5, (60, 64)).astype(float)
    values[1] = np.nan
    batch = Patches([Field("a", None, values, NAMES)], 2, 3, TrainOptions(batch_size=4, patch=8)).draw(0)
    assert not batch.valid[:, 1].any()
    assert batch.valid[:, ::2].all()
    assert np.isfinite(batch.coarse).all()
    assert (batch.coarse[:, 1] == 0).all()
    assert [band.band for band in prepare(Field("a", None, values, NAMES), 2, 3, anchored=False)] == [0, 2]


# ------------------------------------------------------------------------------------------------- upscaling rasters


def coarse_raster(path: Path, names: tuple[str, ...] = NAMES, **profile: object) -> Path:
    """A raster of the trained network's bands."""
    return write_bands(path, bands(8, (30, 34))[: len(names)], names, **profile)


def test_a_raster_comes_out_as_its_array(model, tmp_path):
    """By the file's way as by the array's; bands keep their names."""
    source, output = coarse_raster(tmp_path / "a.tif"), tmp_path / "fine.tif"
    upscale_file(source, output, 2, model)
    assert np.array_equal(read(output), upscale_array(read(source), 2, model))


def test_bands_in_another_order_are_refused_with_the_order(model, tmp_path):
    """The order that bidx= is to give stands in the message, and is right; without names any order will do."""
    output, turned = tmp_path / "fine.tif", ("nir", "red", "green")
    source = write_bands(tmp_path / "a.tif", bands(8, (30, 34))[[2, 0, 1]], turned)
    words = r"takes red, green, nir together, a.tif has nir, red, green: choose them in its order with bidx= \(2,3,1\)"
    with pytest.raises(ModelError, match=words):
        upscale_file(source, output, 2, model)
    upscale_file(source, output, 2, model, bidx=(2, 3, 1))
    assert np.array_equal(read(output), upscale_array(bands(8, (30, 34)), 2, model))
    done = processes.run("upscale", source, tmp_path / "b.tif", "-f", 2, "--model", model)
    assert "choose them in its order with --bidx (2,3,1)" in done.refused(4)
    plain = write(tmp_path / "plain.tif", bands(8, (30, 34)))
    upscale_file(plain, tmp_path / "c.tif", 2, model)
    assert np.array_equal(read(tmp_path / "c.tif"), read(output))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("red", "green"), "takes red, green, nir together, a.tif has 2 bands: choose them with bidx="),
        (("red", "green", "swir"), "takes red, green, nir together, a.tif has red, green, swir: choose them"),
        (("red", "land_cover_class", "nir"), "a.tif has red, land_cover_class, nir"),
    ],
)
def test_other_bands_are_refused(model, tmp_path, names, words):
    """By number and by name."""
    source = coarse_raster(tmp_path / "a.tif", names)
    with pytest.raises(ModelError, match=words):
        upscale_file(source, tmp_path / "fine.tif", 2, model)
    with pytest.raises(ModelError, match=words):
        evaluate_raster(source, 2, [model])


@pytest.mark.parametrize(("name", "kind"), [("wind_direction", "direction"), ("land_cover_class", "category")])
def test_directions_and_categories_have_no_part(tmp_path, name, kind):
    """What is no field is refused, unless the user says that it is one."""
    network, source, output = tmp_path / "m.safetensors", tmp_path / "a.tif", tmp_path / "fine.tif"
    save_checkpoint(network, random_model(1, **THREE.to_dict()), Card(name="m"))
    values = np.round(100 * bands(8, (30, 34))).astype("int32" if kind == "category" else "float32")
    write_bands(source, values, ("red", name, "nir"))
    with pytest.raises(ModelError, match=f"band 2 of a.tif is a {kind} .*: say otherwise with kinds={{'2': 'field'}}"):
        upscale_file(source, output, 2, network)
    upscale_file(source, output, 2, network, kinds={"2": "field"})
    assert read(output).shape == (3, 60, 68)


def test_totals_are_divided_and_fractions_keep_their_bounds(tmp_path):
    """Each band by what it is, as alone."""
    network, source, output = tmp_path / "m.safetensors", tmp_path / "a.tif", tmp_path / "fine.tif"
    save_checkpoint(network, random_model(1, **THREE.to_dict()), Card(name="m"))
    base = terrain((30, 34), seed=2)
    values = np.stack([base, (base > 0.5).astype(float), 9 * base]).astype("float32")
    write_bands(source, values, ("red", "cloud_area_fraction", "population"))
    upscale_file(source, output, 2, network, kinds={"2": "fraction", "3": "total"})
    fine = read(output).astype(float)
    assert np.allclose(block_mean(fine[2], 2) * 4, values[2], atol=1e-4)
    assert fine[1].min() >= 0
    assert fine[1].max() <= 1
    assert np.allclose(block_mean(fine[1], 2), values[1], atol=1e-6)


def test_missing_cells_of_one_band_are_its_own(model, tmp_path):
    """Nodata of a band stays in that band; blocks of the others keep their means."""
    values = bands(8, (30, 34))
    values[1, 5:20, 7:30] = -9999
    source, output = write_bands(tmp_path / "a.tif", values, nodata=-9999), tmp_path / "fine.tif"
    upscale_file(source, output, 2, model, tile_size=16)
    fine = read(output)
    assert np.array_equal(fine == -9999, repeat(values == -9999, 2))
    assert np.allclose(block_mean(fine[[0, 2]], 2), values[[0, 2]], rtol=1e-5)


def test_no_expected_errors(model):
    """Said so, without advice that would not help."""
    with pytest.raises(ModelError, match="model m gives no expected error: only networks of one band do"):
        upscale_array(bands(8, (30, 34)), 2, model, error=True)


def test_evaluation_judges_each_band_beside_the_others(model, tmp_path):
    """As upscaling all of them gives it; classical methods take each alone."""
    source = write_bands(tmp_path / "a.tif", bands(12, (120, 130)))
    found = evaluate_raster(source, 2, [model])
    assert [comparison.band for comparison in found] == [1, 2, 3]
    truth = read(source).astype(float)
    coarse = block_mean(truth, 2)
    fine = upscale_array(coarse, 2, model)
    for band, comparison in enumerate(found):
        where = scored_mask(np.isfinite(coarse[band]), 2)
        (name,) = comparison.models
        assert comparison.scores[name]["rmse"] == pytest.approx(rmse(fine[band], truth[band], where), rel=1e-6)


@pytest.mark.parametrize("names", [["a", "b"], "abc", ["a", "b", 3], None])
def test_a_card_with_damaged_names_is_refused(tmp_path, names):
    """Names are as many as bands, and texts."""
    with pytest.raises(ModelError, match=r"the model card of .* is damaged \(bands are not 3 names\)"):
        save_checkpoint(
            tmp_path / "m.safetensors",
            random_model(1, **THREE.to_dict()),
            Card(name="m"),
            sections={BANDS: Section({"names": names})},
        )
