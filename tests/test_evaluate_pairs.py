"""Models of pairs on later times, and reports from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
import xarray as xr
from pairfiles import SMALL, changed, made, trained
from rasters import write

from geofsrcnn.downscale import downscale_dataset
from geofsrcnn.errors import InputError, ModelError, UsageError
from geofsrcnn.evaluate import compare_raster
from geofsrcnn.evaluate_pairs import evaluate_pairs
from geofsrcnn.train_pairs import PairOptions, train_pairs

UNTIL = "2000-06-01"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Made pairs, and models: of two members, and of another seed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("pairs")
    found = made(folder, lapse=True)
    for name, options in {"two": {"members": 2}, "other": {"seed": 5}}.items():
        found[name] = folder / f"{name}.safetensors"
        trained(found, found[name], **options)
    return found


def evaluated(files: dict[str, Path], *names: str, **options: object):
    """The only target's comparison."""
    (found,) = evaluate_pairs([files[name] for name in names], [files["coarse"]], [files["fine"]], **options)
    return found


@pytest.mark.filterwarnings("ignore:W-UNSEEN")  # a random walk
def test_scores_are_those_of_what_the_model_gives(files):
    """Area-weighted RMSE, CRPS and methods by hand from the applied model; nothing that was fitted on counts."""
    found = evaluated(files, "two")
    with xr.open_dataset(files["coarse"]) as coarse, xr.open_dataset(files["fine"]) as fine:
        later = (fine["time"] >= np.datetime64(UNTIL)).to_numpy()
        made_, truth = downscale_dataset(coarse.isel(time=later), files["two"]), fine["tas"][later].to_numpy()
        first = fine["tas"][~later].to_numpy()
        plain = coarse["t"].interp(lat=fine["lat"], lon=fine["lon"]).to_numpy()
    assert found.span == (UNTIL, "2000-08-27")
    assert found.times == later.sum()
    weights = np.cos(np.deg2rad(np.asarray(made_["lat"])))[:, None] * np.ones(truth.shape)
    weights[~np.isfinite(truth) | ~np.isfinite(made_["tas"].to_numpy())] = 0

    def rmse(estimate: np.ndarray) -> float:
        return float(np.sqrt(np.average(np.nan_to_num(estimate - truth) ** 2, weights=weights)))

    assert found.cells == (weights > 0).sum()
    assert found.scores["network"]["rmse"] == pytest.approx(rmse(made_["tas"].to_numpy()), rel=1e-4)
    assert found.scores["bilinear"]["rmse"] == pytest.approx(rmse(plain[later]), rel=1e-4)
    assert found.scores["climatology"]["rmse"] == pytest.approx(rmse(first.mean(0)), rel=1e-4)
    corrected = plain[later] + (first - plain[~later]).mean(0)
    assert found.scores["mean correction"]["rmse"] == pytest.approx(rmse(corrected), rel=1e-4)
    assert {"nearest", "bicubic", "lanczos", "cell regression"} < set(found.scores)
    assert {"crps", "spread_skill"} <= set(found.scores["network"])
    spread = made_["tas_spread"].to_numpy()
    day = found.maps.when
    at = [str(stamp)[:10] for stamp in made_["time"].to_numpy()].index(day)
    assert np.allclose(found.maps.spread, spread[at], atol=1e-4, equal_nan=True)
    assert np.allclose(found.maps.fine["network"], made_["tas"][at], atol=1e-3, equal_nan=True)


def test_several_models_stand_side_by_side(files):
    """By their files' names; a later day leaves fewer times."""
    found = evaluated(files, "two", "other", since="2000-08-01")
    assert found.models == ("two", "other")
    assert found.times == 27
    assert found.scores["two"]["rmse"] != found.scores["other"]["rmse"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"since": "2000-05-31"}, InputError, "fitted on days up to 2000-05-31: since must be later"),
        ({"since": "tomorrow"}, UsageError, "since must be a day such as 1993-06-01"),
        ({"since": "2001-01-01"}, InputError, "no time from 2001-01-01 on"),
    ],
)
def test_days_that_were_fitted_on_are_refused(files, options, error, words):
    """Leakage, and what is no day."""
    with pytest.raises(error, match=words):
        evaluated(files, "two", **options)


def test_what_does_not_fit_a_model_is_refused(files, tmp_path):
    """Another fine grid, other units, another kind of model."""
    with xr.open_dataset(files["fine"]) as dataset:
        dataset.isel(lon=slice(1, None)).to_netcdf(tmp_path / "grid.nc")
    with pytest.raises(InputError, match=r"two.safetensors is for columns from 5 to 12 \(29\), the fine files have"):
        evaluate_pairs([files["two"]], [files["coarse"]], [tmp_path / "grid.nc"])
    kelvin = changed(files["coarse"], tmp_path / "k.nc", t=lambda t: (t + 273.15).assign_attrs(units="K"))
    with pytest.raises(InputError, match=r"t is in K, two.safetensors takes degC"):
        evaluate_pairs([files["two"]], [kelvin], [files["fine"]])
    with pytest.raises(ModelError, match="model default-x3 was not trained on pairs"):
        evaluate_pairs(["default"], [files["coarse"]], [files["fine"]])
    with pytest.raises(UsageError, match="no model to evaluate"):
        evaluate_pairs([], [files["coarse"]], [files["fine"]])


def test_reports_from_the_command_line(files, tmp_path):
    """A page for pairs; an existing one is kept; wrong options are refused in one line."""
    line = ["evaluate", files["two"], "--fine", files["fine"], "--coarse", files["coarse"]]
    done = processes.run(*line, "--report", tmp_path / "report", "--json")
    found = json.loads(done.out, parse_constant=pytest.fail)
    assert found["variables"][0]["scores"]["network"]["rmse"] > 0
    assert found == json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    assert "sha256" in (tmp_path / "report" / "report.html").read_text()
    assert "--overwrite" in processes.run(*line, "--report", tmp_path / "report").refused(5)
    for wrong, words in (
        ([*line, "--factor", "4"], "--factor is not for pairs"),
        ([*line[:2], "--coarse", files["coarse"]], "pairs need --fine"),
        (["evaluate", "a.tif", "--since", "2000-01-01"], "--since is for pairs"),
        (["evaluate", "default", "--fine", "a.tif", "--model", "small"], "--model is what stands before --fine"),
    ):
        assert words in processes.run(*wrong).refused(2)


def test_rasters_are_compared_where_they_lie(tmp_path):
    """A plane of its own coordinates: maps carry them, models keep block means and find no shift."""
    y, x = 5000 - 10 * (np.arange(120) + 0.5), 300 + 10 * (np.arange(150) + 0.5)
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(120, 150)).cumsum(0).cumsum(1)
    rough -= np.linspace(0, rough[-1, -1], 150)
    path = write(tmp_path / "a.tif", rough.astype(np.float32), transform=rasterio_affine(), nodata=None)
    (found,) = compare_raster(path, 3, ["default", "cubic"])
    assert np.allclose(found.maps.y, y)
    assert np.allclose(found.maps.x, x)
    assert found.models == ("default-x3", "cubic")
    assert found.scores["default-x3"]["conservation"] < 1e-5 * np.ptp(rough)
    assert found.scores["bicubic"]["conservation"] > 100 * found.scores["default-x3"]["conservation"]
    assert np.array_equal(np.isfinite(found.maps.truth), np.isfinite(found.maps.fine["default-x3"]))


def rasterio_affine():
    """Of the raster above."""
    from affine import Affine

    return Affine(10, 0, 300, 0, -10, 5000)


def test_limits_hold_for_each_member(files, tmp_path):
    """The mean of members within limits is within them."""
    out = tmp_path / "m.safetensors"
    train_pairs(
        [files["coarse"]],
        [files["fine"]],
        4,
        out,
        until=UNTIL,
        sizes=SMALL,
        limits={"tas": (9.0, 10.0)},
        options=PairOptions(steps=5, members=2),
    )
    (found,) = evaluate_pairs([out], [files["coarse"]], [files["fine"]])
    values = found.maps.fine["network"]
    assert np.nanmin(values) >= 9
    assert np.nanmax(values) <= 10
