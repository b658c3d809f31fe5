"""Distributions that are learned with a model of pairs: they know the noise, and come out everywhere alike."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import geofsrcnn
from geofsrcnn.errors import ConfigError, ModelError, UsageError
from geofsrcnn.networks.checkpoint import Section, load_checkpoint, save_checkpoint
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.spec import FOLDS, PairOptions, PairsSpec
from geofsrcnn.pairs.train import identify_pairs
from tests.support import processes
from tests.support.pairfiles import QUICK, SMALL, made, train_files, trained

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:W-PAIRS", "ignore:W-UNSEEN"),
]

TIMES = 360

OPTIONS = PairOptions(**{**QUICK, "steps": 300}, members=2, distribution=True)


def noise_of(columns: int) -> np.ndarray:
    """Standard deviation of the noise of temperature by column: a fifth of a degree in the west, two in the east."""
    return np.geomspace(0.2, 2.0, columns)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Temperature with more noise in the east, and rain that falls by chance, the more likely the more there is."""
    folder = tmp_path_factory.mktemp("noisy")
    found = made(folder, times=TIMES)
    rng = np.random.default_rng(3)
    with xr.open_dataset(found["coarse"]) as dataset:
        coarse = dataset.load()
    with xr.open_dataset(found["fine"]) as dataset:
        fine = dataset.load()
    amount = np.exp(rng.normal(0.5, 1.0, TIMES))
    attrs = {"units": "mm day-1", "standard_name": "precipitation_flux"}
    sizes = coarse["t"].shape
    coarse["pr"] = ("time", "lat", "lon"), np.broadcast_to(amount[:, None, None], sizes), attrs
    fine["tas"] += rng.normal(size=fine["tas"].shape) * noise_of(fine.sizes["lon"])
    chance = (amount / (amount + 2))[:, None, None]
    wet = rng.uniform(size=fine["tas"].shape) < chance
    fine["rr"] = fine["tas"].dims, wet * rng.gamma(2.0, amount[:, None, None] / chance / 2, wet.shape), attrs
    for name, dataset in {"coarse": coarse, "fine": fine}.items():
        found[name] = folder / f"noisy_{name}.nc"
        dataset.to_netcdf(found[name])
    return found


def train(files: dict[str, Path], out: Path, options: PairOptions = OPTIONS, **keywords: object):
    """Train on temperature and rain until 2000-10-01, the last 86 days left to score on."""
    named = {"until": "2000-10-01", "limits": {"rr": (0.0, np.inf)}, "sizes": SMALL, "options": options}
    return train_files([files["coarse"]], [files["fine"]], 4, out, **named, **keywords)


def later_truth(files: dict[str, Path]) -> xr.Dataset:
    """The true fields of the days that were not fitted on, at the times of the coarse ones."""
    with xr.open_dataset(files["fine"]) as dataset:
        truth = dataset.sel(time=slice("2000-10-01", None)).load()
    return truth.assign_coords(time=truth["time"].dt.floor("D"))


@pytest.fixture(scope="module")
def model(files, tmp_path_factory) -> Path:
    """A model of two networks with distributions."""
    out = tmp_path_factory.mktemp("model") / "m.safetensors"
    result = train(files, out)
    assert set(result.distributions) == {"tas", "rr"}
    assert all(0.5 < ratio < 0.8 for ratio in result.distributions.values())  # of a Gaussian known well 0.71
    return out


@pytest.fixture(scope="module")
def fine(files, model, tmp_path_factory) -> xr.Dataset:
    """What the model gives for all days, written and read again."""
    target = tmp_path_factory.mktemp("whole") / "fine.nc"
    geofsrcnn.upscale_file(files["coarse"], target, model=model, quantiles=(0.1, 0.5, 0.975))
    with xr.open_dataset(target) as dataset:
        return dataset.load()


def test_variables_say_what_they_are(fine):
    """The mean under its own name, beside it standard deviations, the chance of a wet cell, and quantiles."""
    shares = ("q10", "q50", "q97_5")
    names = {"tas", "rr", "tas_std", "rr_std", "rr_wet", *(f"{n}_{q}" for n in ("tas", "rr") for q in shares)}
    assert set(fine.data_vars) == names
    assert fine["rr_wet"].attrs["units"] == "1"
    assert fine["rr_wet"].attrs["long_name"] == "probability of at least 1 mm day-1 of rr"
    assert fine["tas_std"].attrs["units"] == "degC"
    assert fine["tas_std"].attrs["long_name"] == "standard deviation of the error of tas"
    assert fine["rr_q97_5"].attrs["long_name"] == "0.975 quantile of rr"
    assert "standard_name" not in fine["rr_q10"].attrs
    assert fine["tas"].attrs["ancillary_variables"] == "tas_std tas_q10 tas_q50 tas_q97_5"
    assert fine["rr"].attrs["ancillary_variables"] == "rr_std rr_wet rr_q10 rr_q50 rr_q97_5"


def test_the_noise_is_known(files, fine):
    """Standard deviations grow from west to east as the noise does, and are its size on days not fitted on."""
    later = slice("2000-10-01", None)
    std = fine["tas_std"].sel(time=later).mean(("time", "lat")).to_numpy()
    noise = noise_of(len(std))
    assert np.corrcoef(np.log(std), np.log(noise))[0, 1] > 0.97
    assert np.abs(np.log(std / noise))[4:].max() < 0.4
    rain = later_truth(files)["rr"]
    sure = fine["rr_wet"].sel(time=later)
    assert float(sure.mean()) == pytest.approx(float((rain >= 1).mean()), abs=0.05)
    by_day = xr.corr(sure.mean(("lat", "lon")), (rain >= 1).mean(("lat", "lon")))
    assert float(by_day) > 0.9


def test_quantiles_are_in_order_and_hold(files, fine):
    """Those of rain are never below 0; a tenth of later temperatures lies below the first."""
    for name in ("tas", "rr"):
        assert bool((fine[f"{name}_q10"] <= fine[f"{name}_q50"]).where(fine[name].notnull(), True).all())
        assert bool((fine[f"{name}_q50"] <= fine[f"{name}_q97_5"]).where(fine[name].notnull(), True).all())
    assert float(fine["rr_q10"].min()) == 0
    tas = later_truth(files)["tas"]
    below = (tas < fine["tas_q10"].sel(time=tas["time"])).where(tas.notnull()).mean()
    assert float(below) == pytest.approx(0.1, abs=0.04)
    assert np.allclose(fine["tas_q50"], fine["tas"], atol=1e-4, equal_nan=True)


def test_means_are_those_without_distributions(files, model, tmp_path):
    """The networks behind the means are trained as they are without, to the bit."""
    plain = PairOptions(**{**QUICK, "steps": 300}, members=2)
    train(files, tmp_path / "plain.safetensors", plain)
    pairs = zip(load_checkpoint(tmp_path / "plain.safetensors").members, load_checkpoint(model).members, strict=True)
    for a, b in pairs:
        assert all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())
    with xr.open_dataset(files["coarse"]) as coarse:
        part = coarse.isel(time=slice(0, 5)).load()
    found = downscale_dataset(part, tmp_path / "plain.safetensors")
    assert set(found.data_vars) == {"tas", "rr", "tas_spread", "rr_spread"}
    with pytest.raises(UsageError, match="quantiles= is for models that were trained with distribution=True"):
        downscale_dataset(part, tmp_path / "plain.safetensors", quantiles=(0.5,))


def test_lazy_and_eager_are_equal(files, model, fine):
    """Dask chunks give the same numbers as files, quantiles among them."""
    with xr.open_dataset(files["coarse"], chunks={"time": 100}) as coarse:
        lazy = coarse.fsrcnn.upscale(model=model, quantiles=(0.1, 0.5, 0.975))
        assert lazy["tas_q10"].chunks is not None
        computed = lazy.compute(scheduler="synchronous")
        other = coarse.fsrcnn.upscale(model=model, quantiles=(0.2,))
    for name in fine.data_vars:
        assert np.array_equal(computed[name], fine[name], equal_nan=True), name
    assert lazy["tas"].data.name != other["tas"].data.name
    assert "tas_q20" in other


def test_what_is_missing_is_missing_in_all(fine):
    """A cell without truth has no distribution; all others have one."""
    for name in fine.data_vars:
        own = "rr" if str(name).startswith("rr") else "tas"
        assert np.array_equal(fine[name].isnull(), fine[own].isnull()), name
    assert bool(fine["tas"][:, 2, 3].isnull().all())


def test_a_stopped_training_resumes_to_the_same(files, tmp_path):
    """Stopped among the networks that serve the distributions, and in the one that gives them."""
    steps, whole = 60, tmp_path / "whole.safetensors"
    options = replace(OPTIONS, steps=steps)
    assert options.total_steps == steps * (2 + FOLDS) + steps // 2
    train(files, whole, options)
    for number, count in enumerate((steps * (2 + FOLDS - 1) + 40, options.total_steps - 20)):
        out, left = tmp_path / f"{number}.safetensors", iter(range(count))

        def stop(left=left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(files, out, options, each_step=stop)
        train(files, out, options, resume=True)
        found, wanted = (load_checkpoint(path).sections["distribution"] for path in (out, whole))
        assert found.values == wanted.values == {"families": ["gaussian", "bernoulli-gamma"], "wet": [None, 1.0]}
        assert all(np.array_equal(array, wanted.arrays[name]) for name, array in found.arrays.items())


def test_evaluation_scores_distributions(files, model, fine):
    """CRPS, spread, intervals and wet days, by hand from the variables that are written."""
    tas, rr = (each.scores["network"] for each in evaluate_pairs([model], [files["coarse"]], [files["fine"]]))
    truth = later_truth(files)
    found = fine.sel(time=truth["time"])
    weight = np.cos(np.deg2rad(truth["lat"])) * xr.ones_like(truth["tas"])
    error = found["tas"] - truth["tas"]
    known = weight.where(error.notnull(), 0)
    ratio = np.sqrt((found["tas_std"] ** 2).weighted(known).mean() / (error**2).weighted(known).mean())
    assert tas["spread_skill"] == pytest.approx(float(ratio), rel=1e-3)
    assert tas["spread_skill"] == pytest.approx(1, abs=0.15)
    assert tas["within_50"] == pytest.approx(0.5, abs=0.06)
    assert tas["within_90"] == pytest.approx(0.9, abs=0.05)
    assert tas["crps"] < 0.75 * tas["mae"]
    assert "wet_chance" not in tas
    wet = (found["rr_wet"] - (truth["rr"] >= 1)).weighted(weight.where(found["rr"].notnull(), 0)).mean()
    assert rr["wet_chance"] == pytest.approx(float(wet), abs=1e-4)
    assert abs(rr["wet_chance"]) < 0.05
    assert rr["within_50"] == pytest.approx(0.5, abs=0.06)
    assert rr["within_90"] == pytest.approx(0.9, abs=0.05)


def test_the_report_draws_how_well_distributions_fit(files, model, tmp_path):
    """Errors grow with those that are expected, group by group, of rain too; drawn as those of rasters are."""
    line = ("evaluate-pairs", model, "--fine", files["fine"], "--coarse", files["coarse"], "--report", tmp_path / "r")
    assert processes.run(*line).code == 0
    found = json.loads((tmp_path / "r" / "report.json").read_text())
    for variable in found["variables"]:
        groups = variable["reliability"]["network"]
        expected, true = np.array(groups["expected"]), np.array(groups["true"])
        assert len(expected) == len(true) == 10
        assert (np.diff(expected) > 0).all()
        assert np.corrcoef(np.log(expected), np.log(true))[0, 1] > 0.95
        assert abs(np.log(true.mean() / expected.mean())) < 0.2
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.count("On the line they agree; above it errors are larger than expected.") == 2


@pytest.mark.parametrize(
    ("limits", "options", "warned"),
    [
        ({}, {"distribution": True}, True),
        ({}, {}, False),
        ({"rr": (0.0, np.inf)}, {"distribution": True}, False),
        ({"rr": (-1.0, np.inf)}, {"distribution": True}, False),
    ],
)
def test_rain_without_limits_is_warned_of(files, tmp_path, limits, options, warned):
    """Where distributions are learned; temperatures, which are negative or never 0, are not taken for rain."""
    spec = PairsSpec(coarse=[files["coarse"]], fine=[files["fine"]], until="2000-10-01", limits=limits)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        identify_pairs(spec, 4, sizes=SMALL, options=PairOptions(**options))
    said = [str(each.message) for each in caught if "as of rain" in str(each.message)]
    assert len(said) == warned
    assert all("% of the values of rr are 0 and none is negative" in words for words in said)


def test_the_warning_names_the_flag(files, tmp_path):
    """As it is to be typed."""
    line = ("--coarse", files["coarse"], "-f", 4, "--until", "2000-10-01", "--distribution", "--steps", 1)
    done = processes.run("train-pairs", files["fine"], *line, "-o", tmp_path / "m.safetensors")
    assert done.code == 0
    assert "as of rain: --limits rr=0:inf makes its distribution a chance and an amount" in done.err


DAMAGE = {
    "a family": lambda section: Section({**section.values, "families": ["gaussian", "cauchy"]}, section.arrays),
    "too few": lambda section: Section({**section.values, "families": ["gaussian"]}, section.arrays),
    "no limit": lambda section: Section({**section.values, "families": ["bernoulli-gamma"] * 2}, section.arrays),
    "an amount": lambda section: Section({**section.values, "wet": [None, -1.0]}, section.arrays),
    "a text": lambda section: Section({**section.values, "wet": "none"}, section.arrays),
    "a weight": lambda section: Section(section.values, dict(list(section.arrays.items())[1:])),
    "a shape": lambda section: Section(section.values, {n: a.ravel() for n, a in section.arrays.items()}),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_sections_are_refused(damage, files, model, tmp_path):
    """A ModelError in one line, before anything is read."""
    sound = load_checkpoint(model)
    sections = {**sound.sections, "distribution": damage(sound.sections["distribution"])}
    save_checkpoint(tmp_path / "m.safetensors", sound.members, sound.card, sections=sections)
    with xr.open_dataset(files["coarse"]) as coarse, pytest.raises(ModelError, match=r"m\.safetensors") as caught:
        downscale_dataset(coarse, tmp_path / "m.safetensors")
    assert "\n" not in str(caught.value)


def test_one_target_without_limits(tmp_path):
    """One network, one Gaussian target, without rain."""
    files = made(tmp_path, lapse=True)
    trained(files, tmp_path / "m.safetensors", distribution=True, steps=10)
    with xr.open_dataset(files["coarse"]) as coarse:
        found = downscale_dataset(coarse.isel(time=slice(0, 3)).load(), tmp_path / "m.safetensors", quantiles=(0.9,))
    assert set(found.data_vars) == {"tas", "tas_std", "tas_q90"}
    above = (found["tas_q90"] - found["tas"]) / found["tas_std"]
    assert np.allclose(above.to_numpy()[found["tas"].notnull().to_numpy()], 1.2816, atol=2e-3)


def test_options_are_checked(files, model, tmp_path):
    """On the command line and in Python, each in words of its own."""
    with pytest.raises(ConfigError, match="distribution= must be True or False"):
        PairOptions(distribution="yes")
    for shares in ((0.0,), (1.0,), (0.5, 0.5), ("x",), (float("nan"),)):
        with pytest.raises(UsageError, match="quantiles= must be different shares between 0 and 1"):
            geofsrcnn.upscale_file(files["coarse"], tmp_path / "f.nc", model=model, quantiles=shares)
    with pytest.raises(UsageError, match="quantiles= is for models that were trained on pairs"):
        geofsrcnn.upscale_file(files["coarse"], tmp_path / "f.nc", model="default", quantiles=(0.5,))
    line = ["upscale", files["coarse"], tmp_path / "f.nc", "-m", model, "--quantiles"]
    assert "--quantiles must be different shares between 0 and 1" in processes.run(*line, "0.1,2", check=False).err
    assert "is not a list of numbers" in processes.run(*line, "0.1,x", check=False).err
    assert not (tmp_path / "f.nc").exists()
    processes.run(*line, "0.25,0.75")
    with xr.open_dataset(tmp_path / "f.nc") as found:
        assert {"rr_q25", "rr_q75"} <= set(found.data_vars)
