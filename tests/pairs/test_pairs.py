"""Training on pairs: grids and times that fit, nothing of later times, a network that finds what is known."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.enums import Resampling
from rasterio.transform import array_bounds
from rasterio.warp import calculate_default_transform, reproject

from geofsrcnn import load_checkpoint, upscale_array, upscale_file
from geofsrcnn.errors import ConfigError, GeofsrcnnWarning, InputError, ModelError, OutputError, UsageError
from geofsrcnn.evaluation.rasters import evaluate_raster
from geofsrcnn.grids.fine import Domain
from geofsrcnn.networks.checkpoint import Section, save_checkpoint
from geofsrcnn.networks.limits import conserve
from geofsrcnn.pairs import read
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.fields import fields_of
from geofsrcnn.pairs.frames import GLOBE, Frame
from geofsrcnn.pairs.interpolate import average, interpolate
from geofsrcnn.pairs.match_times import common_times
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.read import read_static_predictors
from geofsrcnn.pairs.spec import PairOptions
from geofsrcnn.pairs.statistics import CellRegression, unshuffle, with_means
from geofsrcnn.training.rasters import train_model
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.kernels import resample
from tests.support import processes
from tests.support.pairfiles import QUICK, SMALL, changed, elevation, made, train_files, trained
from tests.support.places import SHARED
from tests.support.rasters import state, write

pytestmark = pytest.mark.usefixtures("one_thread")

IBERIA = SHARED / "data" / "pairs" / "iberia"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Files of made pairs."""
    return made(tmp_path_factory.mktemp("pairs"), lapse=True)


# ------------------------------------------------------------------------------------------------ grids and times


@given(rows=st.integers(2, 20), factor=st.integers(2, 5), margin=st.integers(0, 3), step=st.sampled_from([0.5, -2.0]))
def test_coarse_cells_lie_in_the_middle_of_their_blocks(rows, factor, margin, step):
    """Middles of blocks, evenly on beyond the grid; padding makes whole blocks and is cropped again."""
    domain = Domain(3 + step * np.arange(rows), np.arange(6.0), factor)
    middles, _ = domain.block_centers(margin)
    assert np.allclose(middles[margin], 3 + step * (factor - 1) / 2)
    assert np.allclose(np.diff(middles), step * factor)
    assert len(middles) * factor == domain.padded[0] + 2 * margin * factor
    fine = np.random.default_rng(0).random((2, rows, 6))
    padded = domain.pad(fine)
    assert padded.shape[1:] == domain.padded
    assert np.isnan(padded).sum() == padded.size - fine.size
    assert np.array_equal(domain.crop(padded), fine)


def test_fields_are_interpolated_linearly_whatever_their_order():
    """A plane stays one, rows rising or falling, longitudes from 0 to 360 or from -180; beyond the edge, the edge."""
    y, x = np.arange(40.0, 50.0), np.arange(-8.0, 6.0)
    plane = 2 * y[:, None] - 3 * x
    for rows, turn in ((slice(None), 0), (slice(None, None, -1), 360)):
        dataset = xr.Dataset(
            {"a": (("lat", "lon"), plane[rows])},
            {"lat": ("lat", y[rows], {"units": "degrees_north"}), "lon": ("lon", x % 360 if turn else x)},
        )
        dataset["lon"].attrs["units"] = "degrees_east"
        fields = fields_of(dataset, "a.nc")
        found = interpolate(dataset["a"], fields.grid, np.array([44.25, 60]), np.array([-2.5, 0.75]), is_longitude=True)
        assert np.allclose(found, 2 * np.array([[44.25], [49]]) - 3 * np.array([-2.5, 0.75]))


def test_finer_statics_are_averaged_and_coarser_ones_interpolated():
    """Means over the fine cells, as block means; a grid of fewer cells is interpolated."""
    height = elevation(24, 30)

    def dataset(values: np.ndarray, step: float) -> xr.DataArray:
        y, x = ((np.arange(n) + 0.5) * step for n in values.shape)
        return xr.Dataset({"z": (("y", "x"), values)}, {"y": ("y", y, {"axis": "Y"}), "x": ("x", x, {"axis": "X"})})

    domain = Domain(1.5 + 3.0 * np.arange(8), 1.5 + 3.0 * np.arange(10), 4, is_longitude=False)
    fine = dataset(height, 1.0)
    found = average(fine["z"], fields_of(fine, "z.nc").grid, domain)
    assert np.allclose(domain.crop(found), block_mean(height, 3))
    turned = fine.isel(y=slice(None, None, -1))
    upside = Domain(domain.y[::-1], domain.x, 4)
    assert np.allclose(
        upside.crop(average(turned["z"], fields_of(turned, "z.nc").grid, upside)), block_mean(height, 3)[::-1]
    )
    coarse = dataset(np.arange(4.0)[:, None] + np.zeros(5), 6.0)
    assert np.allclose(
        average(coarse["z"], fields_of(coarse, "z").grid, domain)[1:7, 0], np.arange(4.5, 20, 3) / 6 - 0.5
    )


def test_times_are_matched_by_value():
    """Daily at noon and at midnight are the same days; other calendars match by date; none in common is an error."""

    def at(times: object, name: str) -> object:
        size = len(times)  # type: ignore[arg-type]
        dataset = xr.Dataset({"a": (("time", "y", "x"), np.zeros((size, 3, 4)))}, {"time": times})
        return fields_of(dataset, name)

    days = np.datetime64("2001-02-26T12", "ns") + np.arange(6).astype("m8[D]")
    other = xr.date_range("2001-02-27", periods=4, calendar="noleap", use_cftime=True)
    assert common_times([at(days, "a"), at(other, "b")]) == [[1, 2, 3, 4], [0, 1, 2, 3]]
    with pytest.raises(InputError, match="no time is in all of the files: a 2001-02-26 to 2001-03-03; c 1999"):
        common_times([at(days, "a"), at(np.array(["1999-01-01"], "M8[ns]"), "c")])


# ------------------------------------------------------------------------------------------------------ constants


@given(seed=st.integers(0, 2**31), level=st.sampled_from([0.0, 1e5]), cuts=st.lists(st.integers(1, 59), max_size=3))
def test_each_cell_has_its_least_squares(seed, level, cuts):
    """As numpy's fit of each cell, NaN left out, whatever the blocks; cells of few values have none."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(60, 2, 3)) + level
    y = 3 * x + rng.normal(size=x.shape)
    y[rng.random(y.shape) < 0.2] = np.nan
    y[5:, 0, 0] = np.nan
    cells = CellRegression((2, 3))
    for a, b in zip(np.split(x, sorted(set(cuts))), np.split(y, sorted(set(cuts))), strict=True):
        cells.add(a, b)
    slope, offset, left = cells.solve(20)
    assert np.isnan([slope[0, 0], offset[0, 0], left[0, 0]]).all()
    for i, j in ((0, 1), (1, 2)):
        known = np.isfinite(y[:, i, j])
        line, residual, *_ = np.polyfit(x[known, i, j] - level, y[known, i, j], 1, full=True)
        assert np.allclose((slope[i, j], offset[i, j] + slope[i, j] * level), line, rtol=1e-6)
        assert left[i, j] == pytest.approx(float(np.sqrt(residual[0] / known.sum())), rel=1e-6)


@given(seed=st.integers(0, 2**31), slope=st.sampled_from([1.0, 0.0, -2.0]))
def test_a_given_slope_leaves_the_mean_difference(seed, slope):
    """Offset and what is left are mean and standard deviation of the differences."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 40, 2, 2))
    cells = CellRegression((2, 2))
    cells.add(x[:10], y[:10])
    cells.add(x[10:], y[10:])
    slopes, offset, left = cells.solve(20, slope)
    assert (slopes == slope).all()
    assert np.allclose(offset, (y - slope * x).mean(0))
    assert np.allclose(left, (y - slope * x).std(0))


def test_a_correction_needs_the_same_units(files, tmp_path):
    """A partner in unknown units cannot be corrected by a constant; with the same units it is the base."""
    kelvin = changed(files["coarse"], tmp_path / "k.nc", t=lambda t: (t * 1.8).assign_attrs(units="grad"))
    line = {"until": "2000-06-01", "sizes": SMALL, "options": PairOptions(steps=2), "base": "correction"}
    with pytest.raises(UsageError, match="target tas counts in degC, its partner in grad"):
        train_files([kelvin], [files["fine"]], 4, tmp_path / "m.safetensors", **line)
    train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", **line)
    (target,) = pairing_of(load_checkpoint(tmp_path / "m.safetensors")).targets
    slope, _ = target.baselines[target.base]
    assert np.nanmin(slope) == np.nanmax(slope) == 1
    with pytest.raises(UsageError, match="base= must be one of regression, correction, got 'x'"):
        train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "n.safetensors", **{**line, "base": "x"})


def test_fine_statics_become_coarse_channels():
    """Sub-pixel by sub-pixel, as torch's pixel_unshuffle."""
    fine = np.random.default_rng(0).random((2, 8, 12)).astype("float32")
    assert np.array_equal(unshuffle(fine, 4), torch.nn.functional.pixel_unshuffle(torch.from_numpy(fine)[None], 4)[0])


# ------------------------------------------------------------------------------------------------------- training


@pytest.mark.filterwarnings("ignore:W-UNSEEN")  # a random walk
def test_a_known_answer(tmp_path):
    """Fine = smooth + lapse rate times elevation, the rate told by a second predictor: the network explains 95 % of
    what bicubic leaves on later times, and the regression of each cell does not."""
    files = made(tmp_path, times=400, lapse=True)
    out = tmp_path / "m.safetensors"
    scores = train_files(
        [files["coarse"]],
        [files["fine"]],
        4,
        out,
        until="2000-11-01",
        static=[files["height"]],
        sizes={"d": 32, "s": 16, "m": 1},
        options=PairOptions(steps=800, batch_size=16, dropout=0.0, learning_rate=3e-3, validate_every=800),
    ).scores["tas"]
    assert scores["network"] < 0.35 * scores["cell regression"]
    with xr.open_dataset(files["coarse"]) as coarse, xr.open_dataset(files["fine"]) as truth:
        later = slice(310, None)
        found = downscale_dataset(coarse.isel(time=later), out)["tas"].to_numpy()
        wanted = truth["tas"].isel(time=later).to_numpy()
    domain = Domain(*(truth[name].to_numpy() for name in ("lat", "lon")), 4, is_longitude=True)
    blocks = np.nan_to_num(domain.pad(wanted), nan=np.nanmean(wanted))[:, :20, :28]
    bicubic = np.stack([resample(block_mean(each, 4), 4, "cubic-0.75") for each in blocks])
    left, error = wanted[:, :20, :28] - bicubic, wanted[:, :20, :28] - found[:, :20, :28]
    known = np.isfinite(error)
    assert np.var(error[known]) < 0.05 * np.var(left[known])


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_the_model_gives_what_was_scored(files, tmp_path):
    """Trained, saved, loaded and applied to the later times: the same RMSE; NaN where nothing was ever seen."""
    out = tmp_path / "m.safetensors"
    scores = trained(files, out)
    with xr.open_dataset(files["coarse"]) as coarse, xr.open_dataset(files["fine"]) as truth:
        found = downscale_dataset(coarse, out)
        later = (truth["time"] >= np.datetime64("2000-06-01")).to_numpy()
        error = (found["tas"].to_numpy() - truth["tas"].to_numpy())[later]
    assert np.sqrt(np.nanmean(error**2)) == pytest.approx(scores["tas"]["network"], rel=1e-5)
    assert np.isnan(found["tas"][:, 2, 3]).all()
    assert np.isfinite(found["tas"]).sum() == found["tas"].size - found.sizes["time"]
    assert found["tas"].attrs["units"] == "degC"
    assert "m, sha256 " in found.attrs["history"]
    card = load_checkpoint(out).card
    assert card.scores["tas"]["network"] == pytest.approx(scores["tas"]["network"], abs=1e-5)


def test_nothing_of_later_times_is_fitted(files, tmp_path):
    """Other values after the day change no constant and no weight."""
    first = trained(files, tmp_path / "a.safetensors")
    with xr.open_dataset(files["fine"]) as dataset:
        changed = dataset.load()
    changed["tas"][160:] *= 3
    changed.to_netcdf(tmp_path / "fine.nc")
    second = trained({**files, "fine": tmp_path / "fine.nc"}, tmp_path / "b.safetensors")
    a, b = (load_checkpoint(tmp_path / name) for name in ("a.safetensors", "b.safetensors"))
    assert first != second
    for name, tensor in a.model.state_dict().items():
        assert torch.equal(tensor, b.model.state_dict()[name]), name
    assert a.sections["pairing"].values == b.sections["pairing"].values


def test_stopped_and_resumed_is_the_same_file(files, tmp_path):
    """A training that was stopped goes on exactly as if it had not been."""
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    trained(files, whole)
    arguments = ([files["coarse"]], [files["fine"]], 4, parts)
    rest = {"until": "2000-06-01", "static": [files["height"]], "sizes": SMALL, "options": PairOptions(**QUICK)}

    class StopError(Exception):
        pass

    def stop(after: int) -> object:
        left = iter(range(after))

        def step() -> None:
            if next(left, None) is None:
                raise StopError

        return step

    for after in (7, 25):
        with pytest.raises(StopError):
            train_files(*arguments, **rest, resume=True, each_step=stop(after))
    with pytest.raises(UsageError, match="the unfinished training had other until"):
        train_files(*arguments, **{**rest, "until": "2000-06-02"}, resume=True)
    train_files(*arguments, **rest, resume=True)
    a, b = (load_checkpoint(path) for path in (whole, parts))
    for name, tensor in a.model.state_dict().items():
        assert torch.equal(tensor, b.model.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore:W-PAIRS")  # rain in mm/day from kg m-2 s-1
@pytest.mark.skipif(not IBERIA.is_dir(), reason="the Iberia pair is not beside the project")
def test_iberia_beats_the_regression_of_each_cell(tmp_path):
    """Winters to 1993-02 fitted, later ones scored: 3 % below the regression of each cell at least, in 500 steps."""
    scores = train_files(
        sorted(IBERIA.glob("ncep_*.nc")),
        [IBERIA / "eobs_fine.nc"],
        4,
        tmp_path / "m.safetensors",
        until="1993-06-01",
        partners={"tg": "tas", "rr": "pr"},
        transforms={"pr": "sqrt"},
        limits={"rr": (0.0, np.inf)},
        options=PairOptions(steps=500),
    ).scores
    assert scores["tg"]["cell regression"] == pytest.approx(1.444, abs=0.001)  # as in the data's description
    assert scores["rr"]["cell regression"] == pytest.approx(4.170, abs=0.003)
    for name in ("tg", "rr"):
        assert scores[name]["network"] < 0.97 * scores[name]["cell regression"]


# ---------------------------------------------------------------------------------------------- on the command line


def test_three_commands(files, tmp_path):
    """Train, look, apply: NetCDF and Zarr hold the numbers of memory, and inputs are untouched."""
    out = tmp_path / "m.safetensors"
    before = state(files["fine"])
    line = ("--coarse", files["coarse"], "--static", files["height"], "--until", "2000-06-01", "-f", 4, "-o", out)
    done = processes.run("train-pairs", files["fine"], *line, "--steps", 40)
    assert done.code == 0, done.err
    assert "fitted on 152 times, RMSE on the 88 after them" in done.out
    assert re.search(r"network (is better than|is worse than|and) ", done.out)
    assert state(files["fine"]) == before
    assert "tas from t, stability, x4" in processes.run("info", out).out
    for name in ("fine.nc", "fine.zarr"):
        done = processes.run("upscale", files["coarse"], tmp_path / name, "-f", 4, "-m", out, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)["fine"] == [20, 29]
        with xr.open_dataset(tmp_path / name) as fine, xr.open_dataset(files["coarse"]) as coarse:
            expected = downscale_dataset(coarse, out)
            assert np.allclose(fine["tas"], expected["tas"], equal_nan=True, atol=1e-5)
            assert np.array_equal(fine["time"], coarse["time"])
    again = processes.run("upscale", files["coarse"], tmp_path / "fine.nc", "-f", 4, "-m", out)
    assert "output exists" in again.refused(5)


@pytest.fixture(scope="module")
def known(files, tmp_path_factory) -> Path:
    """A folder with a model, what it was trained on, and coarse files that do not fit it."""
    folder = tmp_path_factory.mktemp("known")
    trained(files, folder / "m.safetensors", steps=2, validate_every=2)
    with xr.open_dataset(files["coarse"]) as dataset:
        coarse = dataset.load()
    coarse.to_netcdf(folder / "coarse.nc")
    coarse[["t"]].to_netcdf(folder / "one.nc")
    coarse["t"].attrs["units"] = "m"
    coarse.to_netcdf(folder / "metres.nc")
    return folder


@pytest.mark.parametrize(
    ("source", "output", "factor", "model", "options", "kind", "words"),
    [
        ("metres.nc", "fine.nc", 4, "m", {}, InputError, "t is in m, the model was trained on degC"),
        ("one.nc", "fine.nc", 4, "m", {}, InputError, "no variable stability"),
        ("coarse.nc", "fine.nc", 3, "m", {}, ModelError, "is for factor 4, not 3"),
        (
            *("coarse.nc", "fine.nc", 4, "m", {"value_range": (0, 1)}, UsageError),
            "value_range= is not for models that were trained on pairs",
        ),
        ("coarse.nc", "fine.tif", 4, "m", {}, UsageError, r"must end in \.nc or \.zarr"),
        (
            *("coarse.nc", "fine.nc", 3, "small", {"also": ["one.nc"]}, UsageError),
            "also= is for models that were trained on pairs",
        ),
    ],
)
def test_what_does_not_fit_is_refused(known, monkeypatch, source, output, factor, model, options, kind, words):
    """In one line, with nothing written."""
    monkeypatch.chdir(known)
    with pytest.raises(kind, match=words) as caught:
        upscale_file(source, output, factor, "m.safetensors" if model == "m" else model, **options)
    assert "\n" not in str(caught.value)
    assert not list(known.glob("fine*"))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--coarse", "coarse.nc"), 2, "Missing option '--until'"),
        (("--until", "2000-06-01"), 2, "Missing option '--coarse'"),
        (("--coarse", "coarse.nc", "--until", "1990-01-01"), 3, "no time to fit on before 1990-01-01"),
        (("--coarse", "coarse.nc", "--until", "2090-01-01"), 3, "and --until must part them"),
        (("--coarse", "coarse.nc", "--until", "2000-06-01", "--limits", "x=0:1"), 2, "no target x for --limits: there"),
        (("--coarse", "coarse.nc", "--until", "2000-06-01", "--partner", "x=t"), 2, "no target x for --partner: there"),
        (("--coarse", "coarse.nc", "--until", "2000-06-01", "--weight", "x=1"), 2, "no target x for --weight: there"),
        (
            ("--coarse", "coarse.nc", "--until", "2000-06-01", "--limits", "tas=3:1"),
            2,
            "--limits must be a smaller and a larger number, got 3.0 and 1.0",
        ),
        (
            ("--coarse", "coarse.nc", "--until", "June"),
            2,
            "Invalid value for '--until': 'June' is not a day such as 1993-06-01",
        ),
        (("--coarse", "coarse.nc", "--until", "2000-06-01", "--blur", 0.5), 2, "No such option '--blur'"),
        (("--coarse", "coarse.nc", "--until", "2000-06-01", "--predictors", "x"), 2, "no coarse variable x"),
    ],
)
def test_training_on_what_does_not_fit_is_refused(files, known, tmp_path, options, code, words):
    """In one line, with nothing written."""
    line = ("train-pairs", files["fine"], "-f", 4, "-o", tmp_path / "n.safetensors")
    assert words in processes.run(*line, *options, cwd=str(known)).refused(code)
    assert not list(tmp_path.iterdir())


def test_the_accessor_applies_it_and_others_refuse_it(files, tmp_path):
    """`ds.fsrcnn.upscale` gives what the file gives; arrays, rasters, evaluation and teaching take no such model."""
    out = tmp_path / "m.safetensors"
    trained(files, out, steps=5)
    with xr.open_dataset(files["coarse"]) as coarse:
        expected = downscale_dataset(coarse, out)["tas"]
        assert np.array_equal(coarse.fsrcnn.upscale(4, out)["tas"], expected, equal_nan=True)
        with pytest.raises(ModelError, match="is for factor 4, not 3"):
            coarse.fsrcnn.upscale(3, out)
        with pytest.raises(UsageError, match="value_range= is not for models that were trained on pairs"):
            coarse.fsrcnn.upscale(4, out, value_range=(0, 1))
    raster = write(tmp_path / "a.tif", np.random.default_rng(0).random((320, 320)).astype("float32"))
    for call in (
        lambda: upscale_array(np.zeros((9, 9)), 4, out),
        lambda: evaluate_raster(raster, 4, [str(out)]),
    ):
        with pytest.raises(ModelError, match="model m was trained on pairs"):
            call()
    with pytest.raises(UsageError, match="networks of pairs write NetCDF or Zarr"):
        upscale_file(raster, tmp_path / "b.tif", 4, out)
    with pytest.raises(UsageError, match="the teacher must have the same factor and one band"):
        train_model([raster], 4, tmp_path / "n.safetensors", teacher=out)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"partners": {"tas": "x"}}, UsageError, "no predictor x for partners=: there are t, stability"),
        ({"partners": {"x": "t"}}, UsageError, "no target x for partners=: there are tas"),
        ({"transforms": {"x": "sqrt"}}, UsageError, "no predictor x for transforms="),
        ({"transforms": {"t": "cube"}}, UsageError, "the transform of t must be one of"),
        ({"limits": {"x": (0, 1)}}, UsageError, "no target x for limits="),
        ({"limits": {"tas": (1, 1)}}, UsageError, "limits= must be a smaller and a larger number"),
        ({"until": "2000-01-10"}, InputError, "target tas has no cell with 20 values that differ"),
        ({"weights": {"x": 1.0}}, UsageError, "no target x for weights=: there are tas"),
        ({"weights": {"tas": 0.0}}, UsageError, "must be above 0"),
    ],
)
def test_wrong_names_and_numbers_are_refused(files, tmp_path, options, kind, words):
    """Names that are not there, numbers that make no sense: each in its own words, before any training."""
    arguments = ([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors")
    with pytest.raises(kind, match=words):
        train_files(*arguments, **{"until": "2000-06-01", **options})
    assert not list(tmp_path.iterdir())


def test_a_dropout_beyond_its_range_is_refused():
    """The share of channels that are left out."""
    with pytest.raises(ConfigError, match="dropout= must be from 0 to below 1, got 2"):
        PairOptions(dropout=2)


def test_a_time_that_comes_twice_is_refused(files, tmp_path):
    """The same days in two files."""
    arguments = ([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"times of coarse\.nc and 1 more repeat"):
        train_files([files["coarse"], changed(files["coarse"], tmp_path / "b.nc")], *arguments[1:], until="2000-06-01")
    assert not list(tmp_path.glob("*.safetensors"))


def test_times_that_repeat_or_are_of_another_step_are_refused():
    """No day is taken for another's hour, and none counts twice."""

    def at(times: np.ndarray, name: str) -> object:
        dataset = xr.Dataset({"a": (("time", "y", "x"), np.zeros((len(times), 3, 4)))}, {"time": times})
        return fields_of(dataset, name)

    days = np.datetime64("2001-01-01", "ns") + np.arange(4).astype("m8[D]")
    hours = np.datetime64("2001-01-01", "ns") + 6 * np.arange(16).astype("m8[h]")
    with pytest.raises(InputError, match="h has several times a day, d one: average the days first"):
        common_times([at(days, "d"), at(hours, "h")])
    with pytest.raises(InputError, match="times of d repeat"):
        common_times([at(days[[0, 1, 1]], "d"), at(days, "e")])
    assert common_times([at(hours, "a"), at(hours[3:], "b")])[0] == list(range(3, 16))


def test_times_without_a_partner_are_said(files, tmp_path):
    """Coarse fields of more days than fine ones: the others are left out, which is said."""
    with xr.open_dataset(files["fine"]) as dataset:
        dataset.isel(time=slice(0, 200)).to_netcdf(tmp_path / "fine.nc")
    with pytest.warns(GeofsrcnnWarning, match="W-TIMES: times without a partner are left out: coarse.nc 40; 200 are"):
        trained({**files, "fine": tmp_path / "fine.nc"}, tmp_path / "m.safetensors", steps=2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lat": lambda y: y * 0.5 + 25}, r"\d+ % of the fine cells lie beyond the grid of t"),
        ({"stability": lambda s: s * 0}, "predictor stability is constant"),
        ({"t": lambda t: (t + 273.15).assign_attrs(units="K")}, "target tas counts in degC, its partner in K"),
        ({"t": lambda t: t.assign_attrs(units="")}, "t states no units: they are taken for degC"),
        ({"t": lambda t: t.assign_attrs(standard_name="x")}, "target tas has no partner among the predictors"),
    ],
)
def test_what_does_not_fit_is_diagnosed(files, tmp_path, change, words):
    """Extents, constants, units and missing partners are named before the training."""
    coarse = changed(files["coarse"], tmp_path / "coarse.nc", **change)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        scores = trained({**files, "coarse": coarse}, tmp_path / "m.safetensors", steps=2)
    assert any(re.search(f"W-PAIRS: {words}", str(each.message)) for each in said)
    assert ("bilinear" in scores["tas"]) == ("partner among" not in words)


def test_units_are_converted(files, tmp_path):
    """Kelvin against degrees: the simple methods and the network are those of degrees against degrees."""
    kelvin = changed(files["coarse"], tmp_path / "k.nc", t=lambda t: (t + 273.15).assign_attrs(units="K"))
    plain = trained(files, tmp_path / "a.safetensors")["tas"]
    with pytest.warns(GeofsrcnnWarning, match="target tas counts in degC, its partner in K: converted"):
        other = trained({**files, "coarse": kelvin}, tmp_path / "b.safetensors")["tas"]
    assert other == pytest.approx(plain, rel=1e-4)


@pytest.mark.filterwarnings("ignore:W-UNSEEN", "ignore:W-NOCRS")
def test_block_means_are_kept_where_they_are_the_coarse_values(tmp_path):
    """Coarse = block means of fine, which is found: the results' block means are the coarse values, within limits."""
    rng = np.random.default_rng(3)
    fine = np.abs(rng.normal(size=(120, 12, 16)).cumsum(0) + np.arange(16)) * (rng.random((120, 12, 16)) > 0.3)
    fine[5, 2, 3] = np.nan
    coarse = np.stack([block_mean(each, 4) for each in fine])
    stamps = np.datetime64("2000-01-01") + np.arange(120).astype("m8[D]")
    words = {"units": "mm/day", "standard_name": "rain"}
    for name, values, step in (("fine", fine, 1), ("coarse", coarse, 4)):
        y, x = (np.arange(n) * step + (step - 1) / 2 for n in values.shape[1:])
        xr.Dataset(
            {name: (("time", "y", "x"), values, words)},
            {
                "time": stamps.astype("M8[ns]"),
                "y": ("y", y, {"axis": "Y", "units": "m"}),
                "x": ("x", x, {"axis": "X", "units": "m"}),
            },
        ).to_netcdf(tmp_path / f"{name}.nc")
    line = {"until": "2000-03-01", "limits": {"fine": (0, np.inf)}, "sizes": SMALL, "options": PairOptions(steps=20)}
    files = [tmp_path / "coarse.nc"], [tmp_path / "fine.nc"], 4
    out = tmp_path / "m.safetensors"
    train_files(*files, out, **line)
    assert pairing_of(load_checkpoint(out)).targets[0].conserving == "mean"
    with xr.open_dataset(files[0][0]) as given:
        found = downscale_dataset(given, out)["fine"].to_numpy()
    means = np.stack([block_mean(each, 4) for each in found])
    known = np.isfinite(coarse)
    assert np.allclose(means[known], coarse[known], rtol=1e-4, atol=1e-4)
    assert np.nanmin(found) >= 0
    train_files(*files, tmp_path / "n.safetensors", **line, conserving="none")
    assert pairing_of(load_checkpoint(tmp_path / "n.safetensors")).targets[0].conserving == "none"
    with pytest.raises(UsageError, match="conserving= must be one of auto, mean, area, positive, none"):
        train_files(*files, tmp_path / "o.safetensors", **line, conserving="all")
    train_files(*files, tmp_path / "p.safetensors", **{**line, "limits": {}}, conserving="positive")
    (target,) = pairing_of(load_checkpoint(tmp_path / "p.safetensors")).targets
    assert target.conserving == "mean"
    assert target.limits == (0, np.inf)


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_block_means_by_area_are_found_and_kept(tmp_path):
    """Coarse = means of fine weighted by area on the globe, at high latitude: found, and kept in the results."""
    rng = np.random.default_rng(4)
    lat, lon = 60.25 + 0.5 * np.arange(18), 0.25 + 0.5 * np.arange(12)
    fine = 280 + rng.normal(size=(90, 18, 12)).cumsum(0) - lat[:, None]
    areas = np.sin(np.deg2rad(lat + 0.25)) - np.sin(np.deg2rad(lat - 0.25))  # as conservative regridding has it

    def means(values):
        """Of five rows, the last of them of half a block."""
        starts = range(0, 18, 4)
        weighted = np.add.reduceat(values * areas[:, None], starts, axis=1) / np.add.reduceat(areas, starts)[:, None]
        return weighted.reshape(-1, 5, 3, 4).mean(3)

    coarse = means(fine)
    assert np.abs(block_mean(fine, 4) - coarse[:, :4]).max() > 0.02
    stamps = (np.datetime64("2000-01-01") + np.arange(90).astype("m8[D]")).astype("M8[ns]")
    places = {"fine": (lat, lon), "coarse": (61 + 2.0 * np.arange(5), 1 + 2.0 * np.arange(3))}
    for name, values in (("fine", fine), ("coarse", coarse)):
        y, x = places[name]
        xr.Dataset(
            {name: (("time", "lat", "lon"), values, {"units": "K", "standard_name": "air_temperature"})},
            {
                "time": stamps,
                "lat": ("lat", y, {"units": "degrees_north", "standard_name": "latitude"}),
                "lon": ("lon", x, {"units": "degrees_east", "standard_name": "longitude"}),
            },
        ).to_netcdf(tmp_path / f"{name}.nc")
    files = [tmp_path / "coarse.nc"], [tmp_path / "fine.nc"]
    out = tmp_path / "m.safetensors"
    train_files(*files, 4, out, until="2000-03-01", sizes=SMALL, options=PairOptions(steps=20))
    assert pairing_of(load_checkpoint(out)).targets[0].conserving == "area"
    with xr.open_dataset(files[0][0]) as given:
        found = downscale_dataset(given, out)["fine"].to_numpy()
    assert np.allclose(means(found)[:, :4], coarse[:, :4], rtol=0, atol=2e-4)
    [comparison] = evaluate_pairs([out], *files)
    assert comparison.scores["network"]["conservation"] < 1e-4
    assert comparison.scores["lanczos"]["conservation"] > 1e-3


@given(
    seed=st.integers(0, 2**31),
    low=st.sampled_from([-np.inf, 0.0]),
    high=st.sampled_from([np.inf, 3.0]),
    gaps=st.booleans(),
)
def test_means_are_kept_within_limits(seed, low, high, gaps):
    """As the networks' own arithmetic does it; blocks with a gap and missing means change nothing."""
    rng = np.random.default_rng(seed)
    fine, means = rng.normal(1, 2, (2, 6, 9)), rng.normal(1, 1, (2, 2, 3))
    if gaps:
        fine[0, 1, 1] = means[1, 1, 2] = np.nan
    found = with_means(fine, means, (low, high))
    values = fine.reshape(2, 2, 3, 3, 3).transpose(0, 2, 4, 1, 3).reshape(2, 1, 9, 2, 3)
    wanted = conserve(torch.from_numpy(values), torch.from_numpy(means[:, None]), low, high).numpy()
    wanted = wanted.reshape(2, 3, 3, 2, 3).transpose(0, 3, 1, 4, 2).reshape(2, 6, 9)
    untouched = np.isnan((block_mean(fine, 3) + means).repeat(3, 1).repeat(3, 2))
    assert np.allclose(found[~untouched], wanted[~untouched], atol=1e-9)
    assert np.array_equal(found[untouched], np.clip(fine, low, high)[untouched], equal_nan=True)
    assert np.allclose(with_means(fine, means, (low, high), np.ones(6)), found, atol=1e-12, equal_nan=True)
    areas = rng.uniform(0.5, 1, 6)
    found = with_means(fine, means, (low, high), areas)
    kept = block_mean(found, 3, areas)
    assert np.allclose(kept[np.isfinite(kept + means)], np.clip(means, low, high)[np.isfinite(kept + means)], atol=1e-9)
    assert np.nanmin(found) >= low
    assert np.nanmax(found) <= high


@pytest.mark.parametrize("areas", [None, np.linspace(0.5, 1, 6)])
def test_a_mean_at_a_limit_leaves_no_choice(areas):
    """Dry coarse cells have no trace of rain, full ones nothing else, as in the networks' own arithmetic."""
    fine = np.random.default_rng(0).gamma(1, 20, (2, 6, 9))
    means = np.array([0.0, -1.0, 50.0, 50.5, 7.0, 3.0]).reshape(1, 2, 3).repeat(2, 0)
    found = with_means(fine, means, (0.0, 50.0), areas)
    for row, column, value in ((0, 0, 0.0), (0, 1, 0.0), (0, 2, 50.0), (1, 0, 50.0)):
        assert (found[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] == value).all()


def test_statics_of_another_crs_are_warped(files, tmp_path):
    """Elevation in metres of UTM reaches the latitudes and longitudes where it belongs."""
    with xr.open_dataset(files["height"]) as dataset:
        field = dataset["z"].load()
    affine = Affine(0.25, 0, 4.875, 0, -0.25, 50.125)
    rows, columns = field.shape
    with rasterio.Env():
        to, width, height = calculate_default_transform(
            "EPSG:4326", "EPSG:32632", columns, rows, *array_bounds(rows, columns, affine), resolution=2000
        )
        warped = np.full((height, width), -9999, np.float32)
        reproject(
            field.to_numpy().astype(np.float32),
            warped,
            src_transform=affine,
            src_crs="EPSG:4326",
            dst_transform=to,
            dst_crs="EPSG:32632",
            dst_nodata=-9999,
            resampling=Resampling.bilinear,
        )
    write(tmp_path / "utm.tif", warped[None], crs="EPSG:32632", transform=to, nodata=-9999)
    domain = Domain(field["lat"].to_numpy(), field["lon"].to_numpy(), 4, ("lat", "lon"), is_longitude=True)
    (layer,), names = read_static_predictors([tmp_path / "utm.tif"], domain, Frame(GLOBE))
    assert names == ["utm"]
    off = (domain.crop(layer) - field.to_numpy())[2:-2, 2:-2]
    assert np.nanstd(off) < 0.25 * float(field.std())
    assert np.corrcoef(domain.crop(layer)[2:-2, 2:-2].ravel(), field.to_numpy()[2:-2, 2:-2].ravel())[0, 1] > 0.98
    with pytest.raises(InputError, match=r"utm\.tif is .*, the fine grid states no CRS"):
        read_static_predictors([tmp_path / "utm.tif"], domain, Frame())


def test_fields_larger_than_memory_give_the_same(files, tmp_path, monkeypatch):
    """Kept in a file without a name: the same weights, and nothing is left of it."""
    trained(files, tmp_path / "a.safetensors")
    monkeypatch.setattr(read, "IN_MEMORY", 0)
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spare"))
    held = read.allocate((3, 4))
    assert isinstance(held, np.memmap)
    trained(files, tmp_path / "b.safetensors")
    a, b = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("a.safetensors", "b.safetensors"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert list((tmp_path / "spare").iterdir()) == []
    with pytest.raises(OutputError, match=r"no room for 4000000.0 GiB of fields in .*set TMPDIR"):
        read.allocate((10**6, 2**30))


def test_members_and_their_spread(files, tmp_path):
    """Each member is the network of its own seed; results are their mean and spread; resume is exact."""
    out, whole = tmp_path / "m.safetensors", tmp_path / "whole.safetensors"
    result = [trained(files, tmp_path / f"{seed}.safetensors", seed=seed)["tas"]["network"] for seed in (0, 1)]
    line = {"until": "2000-06-01", "static": [files["height"]], "sizes": SMALL}
    options = PairOptions(**QUICK, members=2)
    arguments = [files["coarse"]], [files["fine"]], 4
    made = train_files(*arguments, whole, **line, options=options)
    assert made.members["tas"] == pytest.approx(result, rel=1e-6)
    for number, member in enumerate(load_checkpoint(whole).members):
        alone = load_checkpoint(tmp_path / f"{number}.safetensors").model.state_dict()
        assert all(torch.equal(tensor, alone[name]) for name, tensor in member.state_dict().items())
    with xr.open_dataset(files["coarse"]) as coarse:
        part = coarse.isel(time=slice(0, 5)).load()
    single = [downscale_dataset(part, tmp_path / f"{n}.safetensors")["tas"] for n in (0, 1)]
    found = downscale_dataset(part, whole)
    assert np.allclose(found["tas"], np.mean(single, axis=0), equal_nan=True, atol=1e-5)
    assert np.allclose(found["tas_spread"], np.std(single, axis=0, ddof=1), equal_nan=True, atol=1e-5)
    left = iter(range(QUICK["steps"] + 20))

    class StopError(Exception):
        pass

    def stop() -> None:
        if next(left, None) is None:
            raise StopError

    with pytest.raises(StopError):
        train_files(*arguments, out, **line, options=options, each_step=stop)
    again = train_files(*arguments, out, **line, options=options, resume=True)
    assert again.scores == made.scores
    for a, b in zip(load_checkpoint(out).members, load_checkpoint(whole).members, strict=True):
        assert all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def test_values_unlike_those_trained_on_are_said(files, tmp_path):
    """A warmer world than the network has seen, and another resolution, which is refused."""
    out = tmp_path / "m.safetensors"
    trained(files, out)
    with xr.open_dataset(files["coarse"]) as coarse:
        seen = coarse.isel(time=slice(0, 150)).load()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        downscale_dataset(seen, out)
    warmer = seen.assign(t=(seen["t"] + 20).assign_attrs(seen["t"].attrs))
    with pytest.warns(GeofsrcnnWarning, match=r"W-UNSEEN: 100.0 % of the values of t lie outside .* here 2\d"):
        downscale_dataset(warmer, out)
    with pytest.raises(InputError, match="t has rows every 2, the model was trained on 1"):
        downscale_dataset(seen.isel(lat=slice(None, None, 2)), out)


def test_another_place_than_the_models_is_refused_or_said(files, tmp_path):
    """Coarse fields elsewhere are refused at application too, and those that cover less than in training are said."""
    out = tmp_path / "m.safetensors"
    trained(files, out, steps=2)
    with xr.open_dataset(files["coarse"]) as given:
        coarse = given.isel(time=slice(0, 20)).load()
    with pytest.raises(InputError, match="t does not cover the model's grid"):
        downscale_dataset(coarse.assign_coords(lat=("lat", coarse["lat"].values - 80, coarse["lat"].attrs)), out)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        downscale_dataset(coarse.isel(lon=slice(0, 6)), out)
    assert re.match(r"W-PLACE: \d\d % of the fine cells lie beyond the grid of t, 0 % did", str(said[0].message))
    with pytest.warns(GeofsrcnnWarning, match="W-MISSING: stability has no value: its mean stands in"):
        downscale_dataset(coarse.assign(stability=coarse["stability"] * np.nan), out)
    kelvin = coarse.assign(stability=coarse["stability"].assign_attrs(units="K km-1"))
    celsius = kelvin.assign(t=kelvin["t"].assign_attrs(units="celsius"))  # another word for degC
    assert downscale_dataset(celsius, out).equals(downscale_dataset(coarse, out))


def test_a_coarse_day_without_values_does_not_count(files, tmp_path):
    """A gap among the times that are scored leaves the scores of the others."""
    gap = changed(files["coarse"], tmp_path / "c.nc", t=lambda t: t.where(t["time"] != t["time"][-3]))
    scores = trained({**files, "coarse": gap}, tmp_path / "m.safetensors")["tas"]
    plain = trained(files, tmp_path / "p.safetensors")["tas"]
    assert scores == pytest.approx(plain, rel=0.05)


def test_limits_that_the_truth_leaves_are_said(files, tmp_path):
    """A range of other units would clip most of the results."""
    line = {"until": "2000-06-01", "sizes": SMALL, "options": PairOptions(steps=2)}
    with pytest.warns(
        GeofsrcnnWarning, match=r"W-PAIRS: 100 % of the values of tas .* beyond its limits \(250 to inf\)"
    ):
        train_files(
            [files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", limits={"tas": (250, np.inf)}, **line
        )


def test_choosing_by_the_scored_times_is_said(files, tmp_path):
    """Or their scores would be taken for those of times that nothing was chosen by."""
    with pytest.warns(GeofsrcnnWarning, match="W-CHOSEN: keep=.best. chooses by the scores on the times from 2000-06"):
        trained(files, tmp_path / "m.safetensors", steps=2, keep="best")
    with pytest.raises(OutputError, match=r"m\.safetensors is finished: nothing is left to resume"):
        train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", until="2000-06-01", resume=True)


def test_files_by_year_train_and_apply_as_one(files, tmp_path):
    """Coarse and fine files in two parts each, and the second part with --also."""
    parts = {}
    for name in ("coarse", "fine"):
        with xr.open_dataset(files[name]) as whole:
            parts[name] = [tmp_path / f"{name}{i}.nc" for i in range(2)]
            for path, some in zip(parts[name], (slice(0, 100), slice(100, None)), strict=True):
                whole.isel(time=some).to_netcdf(path)
    plain = trained(files, tmp_path / "p.safetensors")["tas"]
    options = {"static": [files["height"]], "sizes": SMALL, "options": PairOptions(**QUICK)}
    out = tmp_path / "m.safetensors"
    result = train_files(parts["coarse"], parts["fine"], 4, out, until="2000-06-01", **options)
    assert result.scores["tas"] == plain
    for path, sources in ((tmp_path / "a.nc", parts["coarse"]), (tmp_path / "b.nc", [files["coarse"]])):
        upscale_file(sources[0], path, 4, out, also=sources[1:])
    with xr.open_dataset(tmp_path / "a.nc") as one, xr.open_dataset(tmp_path / "b.nc") as other:
        assert one.equals(other)


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (-1, 1)])
def test_shifted_fields_are_found(tmp_path, shift):
    """Coordinates that are off by whole coarse cells are named with rows and columns; right ones are not."""
    rng = np.random.default_rng(0)
    fine = rng.normal(size=(60, 24, 32)) + np.repeat(np.repeat(rng.normal(size=(60, 6, 8)), 4, 1), 4, 2)
    coarse = np.stack([block_mean(each, 4) for each in fine])
    stamps = np.datetime64("2001-01-01", "ns") + np.arange(60).astype("m8[D]")
    for name, values, step, off in (("fine", fine, 1, (0, 0)), ("coarse", coarse, 4, shift)):
        places = [(np.arange(n) + 0.5) * step + d * step for n, d in zip(values.shape[1:], off, strict=True)]
        axes = {"y": ("y", places[0], {"axis": "Y"}), "x": ("x", places[1], {"axis": "X"})}
        xr.Dataset({"z": (("time", "y", "x"), values)}, {"time": stamps, **axes}).to_netcdf(tmp_path / f"{name}.nc")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train_files(
            [tmp_path / "coarse.nc"],
            [tmp_path / "fine.nc"],
            4,
            tmp_path / "m.safetensors",
            until="2001-02-15",
            sizes=SMALL,
            options=PairOptions(steps=2),
        )
    found = [str(each.message) for each in said if "fits z best when shifted" in str(each.message)]
    words = f"by {shift[0]} rows and {shift[1]} columns"
    assert [words in each for each in found] == ([] if shift == (0, 0) else [True])


def test_missing_coarse_cells_harm_nothing_else(files, tmp_path):
    """Days with gaps are not dropped: a cell in a missing coarse one is NaN, all else is finite, training as well."""
    gaps = changed(files["coarse"], tmp_path / "coarse.nc", t=lambda t: t.where(t["lon"] != 7), stability=lambda s: s)
    out = tmp_path / "m.safetensors"
    scores = trained({**files, "coarse": gaps}, out)
    assert np.isfinite(scores["tas"]["network"])
    with xr.open_dataset(gaps) as dataset:
        fine = downscale_dataset(dataset, out)["tas"]
    missing = np.isnan(fine).all("time")
    lon = fine["lon"].to_numpy()
    assert set(np.nonzero(missing.to_numpy().all(0))[0]) == set(np.nonzero((lon > 6.5) & (lon <= 7.5))[0])  # its cells
    assert int(np.isnan(fine).sum()) == int(missing.sum()) * fine.sizes["time"]


DAMAGE = {
    "a factor": lambda words: {**words, "factor": 3},
    "no targets": lambda words: {**words, "targets": []},
    "coordinates": lambda words: {**words, "y": words["y"][:-5]},
    "a partner": lambda words: {**words, "targets": [{**words["targets"][0], "partner": "nothing"}]},
    "a transform": lambda words: {**words, "predictors": [{**p, "transform": "exp"} for p in words["predictors"]]},
    "a spread": lambda words: {**words, "predictors": [{**p, "spread": 0} for p in words["predictors"]]},
    "texts": lambda words: {**words, "y": "abc"},
    "a key": lambda words: {k: v for k, v in words.items() if k != "calendar"},
    "a predictor": lambda words: {**words, "predictors": words["predictors"][:1]},
}


def test_damaged_pairings_are_refused(files, tmp_path, monkeypatch):
    """A card whose words do not fit each other or the arrays is a ModelError in one line."""
    out = tmp_path / "m.safetensors"
    trained(files, out, steps=2)
    sound = load_checkpoint(out)
    section = sound.sections["pairing"]
    for i, damage in enumerate(DAMAGE.values()):
        path = tmp_path / f"{i}.safetensors"
        damaged = {"pairing": Section(damage(section.values), section.arrays)}
        save_checkpoint(path, sound.model, sound.card, sections=damaged)
        with pytest.raises(ModelError) as caught:
            pairing_of(load_checkpoint(path))
        assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:W-PAIRS")  # a second target without a partner
def test_a_target_with_more_weight_is_learned_more(files, tmp_path):
    """Two targets: the one that counts a hundredfold comes out as if it were alone, the other worse than at par."""
    with xr.open_dataset(files["fine"]) as dataset:
        both = dataset.load()
    both["other"] = both["tas"][::-1].copy(data=both["tas"].to_numpy()[::-1] * 2).assign_attrs(standard_name="other")
    both.to_netcdf(tmp_path / "both.nc")
    line = {"until": "2000-06-01", "static": [files["height"]], "sizes": SMALL, "options": PairOptions(**QUICK)}
    arguments = [files["coarse"]], [tmp_path / "both.nc"], 4
    found = [
        train_files(*arguments, tmp_path / f"{n}.safetensors", **line, weights=weights).scores["tas"]["network"]
        for n, weights in enumerate(({"tas": 0.01}, {}, {"tas": 100.0}))
    ]
    assert found[0] > found[1] > found[2]
