"""Precipitation as daily totals beside rates: one is brought into the other where it is known that a time is a day."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.spec import PairOptions
from geofsrcnn.values.blocks import block_mean
from tests.support.pairfiles import DEGREES, SMALL, train_files

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:W-UNSEEN")]

RATE, TOTAL = "kg m-2 s-1", "mm"
PER_MILLIMETRE = {RATE: 1 / 86400, TOTAL: 1.0, "m": 1e-3}
LINE = {"sizes": SMALL, "options": PairOptions(steps=2), "calendar": False}


def write(path: Path, units: str, factor: int, freq: str = "D", name: str = "pr") -> Path:
    """Rain of 120 times, the block means of 12 x 16 cells, in mm a time or as a rate of as many a day."""
    rng = np.random.default_rng(4)
    fine = np.maximum(rng.normal(size=(120, 3, 4)).repeat(4, 1).repeat(4, 2) + rng.normal(size=(120, 12, 16)), 0)
    values = np.stack([block_mean(each, factor) for each in fine]) * PER_MILLIMETRE[units]
    y, x = (factor * 0.25 * (np.arange(n) + 0.5) for n in values.shape[1:])
    places = {"lat": ("lat", y, DEGREES[0]), "lon": ("lon", x, DEGREES[1])}
    times = pd.date_range("2000-01-01", periods=120, freq=freq)
    xr.Dataset({name: (("time", "lat", "lon"), values, {"units": units})}, {"time": times, **places}).to_netcdf(path)
    return path


@pytest.mark.parametrize(("coarse_units", "fine_units"), [(RATE, TOTAL), (TOTAL, RATE), (RATE, "m")])
def test_daily_totals_and_rates_are_converted(tmp_path, coarse_units, fine_units):
    """In training, evaluation and use; their block means are kept, as those of one unit are."""
    coarse = write(tmp_path / "coarse.nc", coarse_units, 4)
    same = write(tmp_path / "same.nc", fine_units, 4)
    fine, out = write(tmp_path / "fine.nc", fine_units, 1), tmp_path / "m.safetensors"
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeofsrcnnWarning)
        scores = train_files([coarse], [fine], 4, out, until="2000-04-01", **LINE).scores["pr"]
        (found,) = evaluate_pairs([out], [coarse], [fine])
    pairing = pairing_of(load_checkpoint(out))
    assert (pairing.predictors[0].units, pairing.targets[0].conserving) == (fine_units, "mean")
    assert scores["bilinear"] < scores["climatology"]
    assert found.scores["bilinear"]["rmse"] == pytest.approx(scores["bilinear"], rel=0.05)
    with xr.open_dataset(coarse) as one, xr.open_dataset(same) as other:
        results = [downscale_dataset(each.load(), out)["pr"] for each in (one, other)]
    scale = float(results[1].max())
    assert np.allclose(results[0] / scale, results[1] / scale, atol=1e-4)


def test_totals_of_other_steps_are_not_converted(tmp_path):
    """A month has no one length, and what is said in millimetres of it may be a mean of days."""
    coarse, fine = write(tmp_path / "c.nc", RATE, 4, "MS"), write(tmp_path / "f.nc", TOTAL, 1, "MS")
    with pytest.warns(GeofsrcnnWarning, match=r"pr counts in mm, its partner in kg m-2 s-1: the regression converts"):
        train_files([coarse], [fine], 4, tmp_path / "m.safetensors", until="2008-01-01", **LINE)


def test_depths_of_other_water_are_not_converted(tmp_path):
    """Of snow on the ground, say: millimetres that did not fall on the day."""
    coarse, fine = write(tmp_path / "c.nc", RATE, 4, name="snd"), write(tmp_path / "f.nc", TOTAL, 1, name="snd")
    with pytest.warns(GeofsrcnnWarning, match=r"snd counts in mm, its partner in kg m-2 s-1: the regression converts"):
        train_files([coarse], [fine], 4, tmp_path / "m.safetensors", until="2000-04-01", **LINE)


def test_a_rate_of_no_known_step_is_refused_by_a_model_of_totals(tmp_path):
    """One time alone does not say how long it is."""
    coarse, out = write(tmp_path / "c.nc", RATE, 4), tmp_path / "m.safetensors"
    train_files([coarse], [write(tmp_path / "f.nc", TOTAL, 1)], 4, out, until="2000-04-01", **LINE)
    with xr.open_dataset(coarse) as dataset:
        one = dataset.isel(time=slice(0, 1)).load()
    with pytest.raises(InputError, match="pr is in kg m-2 s-1, the model was trained on mm: convert it first"):
        downscale_dataset(one, out)
    starts = one["time"].to_numpy()
    one["time"].attrs["bounds"] = "time_bnds"
    one["time_bnds"] = (("time", "n"), np.stack([starts, starts + np.timedelta64(1, "D")], 1))
    assert downscale_dataset(one, out).sizes["time"] == 1
