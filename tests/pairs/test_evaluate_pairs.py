"""Models of pairs against the truth of later times: every score by other means, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from scipy import ndimage

from geofsrcnn import load_checkpoint
from geofsrcnn.errors import InputError, ModelError, UsageError
from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.report import NAMES
from geofsrcnn.evaluation.verdict import verdict
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.spec import PairOptions
from geofsrcnn.values.blocks import block_mean
from tests.support import processes
from tests.support.pairfiles import DEGREES, METRES, QUICK, SMALL, changed, made, train_files, trained
from tests.support.rasters import terrain, write

pytestmark = pytest.mark.usefixtures("one_thread")

FITTED = 152
"""Times before the first of June."""


@dataclass(frozen=True)
class Case:
    """Files with models: `a` and `b` of two seeds, `both` with the two as members."""

    folder: Path
    files: dict[str, Path]

    def evaluated(self, *models: str, **options: object) -> Comparison:
        """The comparison of models by name, on all files unless told otherwise."""
        coarse, fine = (options.pop(name, self.files[name]) for name in ("coarse", "fine"))
        (found,) = evaluate_pairs([self.folder / f"{m}.safetensors" for m in models], [coarse], [fine], **options)
        return found


@pytest.fixture(scope="module")
def case(tmp_path_factory, one_thread) -> Case:
    """All that most tests need."""
    folder = tmp_path_factory.mktemp("case")
    files = made(folder, lapse=True)
    for name, options in {"a": {"seed": 0}, "b": {"seed": 1}, "both": {"seed": 0, "members": 2}}.items():
        trained(files, folder / f"{name}.safetensors", steps=20, validate_every=20, **options)
    return Case(folder, files)


@pytest.fixture(scope="module")
def plain(case) -> Comparison:
    """The comparison of `a` on all later times."""
    return case.evaluated("a")


@pytest.fixture(scope="module")
def later(case) -> tuple[xr.Dataset, xr.DataArray, np.ndarray]:
    """Coarse fields, truth and weights of the times after those that were fitted on."""
    part = {"time": slice(FITTED, None)}
    with xr.open_dataset(case.files["coarse"]) as coarse, xr.open_dataset(case.files["fine"]) as fine:
        truth = fine["tas"].load().isel(part)
        weights = np.where(np.isfinite(truth), np.cos(np.deg2rad(truth["lat"].to_numpy()))[None, :, None], 0)
        return coarse.load().isel(part), truth, weights


def weighted(errors: np.ndarray, weights: np.ndarray) -> float:
    """Root of the weighted mean square of errors."""
    return float(np.sqrt(np.sum(weights * np.nan_to_num(errors) ** 2) / weights.sum()))


# ---------------------------------------------------------------------------------------------------------- scores


@pytest.mark.filterwarnings("ignore:W-NOCRS")
def test_the_scores_are_those_of_the_training(tmp_path):
    """On a grid in metres, where all cells are as large: the network and what was fitted."""
    files = made(tmp_path, lapse=True, places=METRES)
    scores = trained(files, tmp_path / "m.safetensors", steps=20, validate_every=20)["tas"]
    found = Case(tmp_path, files).evaluated("m")
    assert (found.times, found.span, found.models) == (88, ("2000-06-01", "2000-08-27"), ("network",))
    assert found.cells == 88 * (20 * 29 - 1)
    assert {name: found.scores[name]["rmse"] for name in scores} == pytest.approx(scores, rel=1e-5)


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_cells_count_by_their_area(case, later, plain):
    """On latitudes: the network's errors from what it gives to a Dataset, weighted with numpy."""
    coarse, truth, weights = later
    estimate = downscale_dataset(coarse, case.folder / "a.safetensors")["tas"].to_numpy()
    found = plain.scores["network"]
    error = estimate - truth.to_numpy()
    known = weights > 0
    assert found["rmse"] == pytest.approx(weighted(error, weights), rel=1e-5)
    assert found["mae"] == pytest.approx(np.average(np.abs(error[known]), weights=weights[known]), rel=1e-5)
    assert found["bias"] == pytest.approx(np.average(error[known], weights=weights[known]), rel=1e-4)
    (xx, xy), (_, yy) = np.cov(estimate[known], truth.to_numpy()[known], aweights=weights[known])
    assert found["correlation"] == pytest.approx(xy / np.sqrt(xx * yy), rel=1e-5)
    assert abs(found["rmse"] / np.sqrt(np.mean(error[known] ** 2)) - 1) > 1e-4


def test_simple_methods_by_other_libraries(case, later, plain):
    """xarray interpolates, numpy fits on the earlier times, torch and Pillow resample."""
    coarse, truth, weights = later
    with xr.open_dataset(case.files["coarse"]) as all_coarse, xr.open_dataset(case.files["fine"]) as fine:
        given, earlier = all_coarse["t"].load(), fine["tas"].load().to_numpy()[:FITTED]
    y, x = truth["lat"].to_numpy(), truth["lon"].to_numpy()
    partner = given.interp(lat=y, lon=x).to_numpy()
    assert np.isfinite(partner).all()
    before, after = partner[:FITTED], partner[FITTED:]
    regressed = np.full_like(after, np.nan)
    for i, j in np.ndindex(len(y), len(x)):
        if np.isfinite(earlier[0, i, j]):
            regressed[:, i, j] = np.polyval(np.polyfit(before[:, i, j], earlier[:, i, j], 1), after[:, i, j])
    middles = [v[0] + s * (1.5 + 4 * np.arange(-4, n + 4)) for v, s, n in ((y, -0.25, 5), (x, 0.25, 8))]
    inside = (np.clip(v, *np.sort(given[c].to_numpy())[[0, -1]]) for c, v in zip(("lat", "lon"), middles, strict=True))
    blocks = coarse["t"].interp(dict(zip(("lat", "lon"), inside, strict=True))).to_numpy()

    def inner(fine: np.ndarray) -> np.ndarray:
        return fine[:, 16 : 16 + len(y), 16 : 16 + len(x)]

    def lanczos(each: np.ndarray) -> np.ndarray:
        size = each.shape[1] * 4, each.shape[0] * 4
        return np.asarray(Image.fromarray(each.astype("float32")).resize(size, Image.Resampling.LANCZOS))

    cubic = torch.nn.functional.interpolate(torch.from_numpy(blocks)[None], scale_factor=4, mode="bicubic")[0].numpy()
    wanted = {
        "climatology": np.broadcast_to(earlier.mean(0), after.shape),
        "bilinear": after,
        "mean correction": after + (earlier - before).mean(0),
        "cell regression": regressed,
        "nearest": inner(blocks.repeat(4, 1).repeat(4, 2)),
        "bicubic": inner(cubic),
        "lanczos": inner(np.stack([lanczos(each) for each in blocks])),
    }
    found = plain
    assert set(found.scores) == {"network", *wanted}
    for name, fine in wanted.items():
        rmse = weighted(fine - truth.to_numpy(), weights)
        assert found.scores[name]["rmse"] == pytest.approx(rmse, rel=1e-5), name
    i = [str(t)[:10] for t in truth["time"].to_numpy()].index(found.maps.when)
    assert np.allclose(found.maps.coarse, blocks[i, 4:-4, 4:-4], atol=1e-5)
    assert np.allclose(found.maps.truth, truth[i], atol=1e-5, equal_nan=True)
    assert np.allclose(found.maps.fine["mean correction"], wanted["mean correction"][i], atol=1e-4, equal_nan=True)
    assert np.array_equal(found.maps.y, y)
    assert np.array_equal(found.maps.x, x)


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_members_are_scored_together(case, later, plain):
    """Their mean is the network; CRPS and spread over error by hand from the two seeds alone."""
    coarse, truth, weights = later
    values = [downscale_dataset(coarse, case.folder / f"{m}.safetensors")["tas"].to_numpy() for m in "ab"]
    wanted, known = truth.to_numpy(), weights > 0
    found = case.evaluated("both")
    scores = found.scores["network"]
    assert scores["rmse"] == pytest.approx(weighted(np.mean(values, axis=0) - wanted, weights), rel=1e-5)
    away = (np.abs(values[0] - wanted) + np.abs(values[1] - wanted)) / 2 - np.abs(values[0] - values[1]) / 4
    assert scores["crps"] == pytest.approx(np.average(away[known], weights=weights[known]), rel=1e-4)
    spread = np.std(values, axis=0, ddof=1)
    ratio = np.sqrt(3 / 2) * weighted(spread, weights) / scores["rmse"]
    assert scores["spread_skill"] == pytest.approx(ratio, rel=1e-3)
    i = [str(t)[:10] for t in truth["time"].to_numpy()].index(found.maps.when)
    assert np.allclose(found.maps.spread, np.where(known[i], spread[i], np.nan), atol=1e-4, equal_nan=True)
    assert not {"crps", "spread_skill"} & set(plain.scores["network"])


def test_several_models_stand_under_their_files_names(case, plain, tmp_path):
    """Each scores as alone; names of methods and names that repeat are numbered."""
    found = case.evaluated("b", "a")
    assert found.models == ("b", "a")
    assert found.scores["a"] == pytest.approx(plain.scores["network"])
    assert found.scores["b"]["rmse"] != found.scores["a"]["rmse"]
    shutil.copy(case.folder / "a.safetensors", tmp_path / "bilinear.safetensors")
    shutil.copy(case.folder / "b.safetensors", tmp_path / "a.safetensors")
    paths = [tmp_path / "bilinear.safetensors", tmp_path / "a.safetensors", case.folder / "a.safetensors"]
    (found,) = evaluate_pairs(paths, [case.files["coarse"]], [case.files["fine"]], since="2000-08-20")
    assert found.models == ("bilinear (2)", "a", "a (2)")
    assert found.scores["bilinear (2)"] == found.scores["a (2)"]
    assert found.scores["bilinear"]["rmse"] != found.scores["bilinear (2)"]["rmse"]


@pytest.mark.filterwarnings("ignore:W-PAIRS")
def test_units_are_converted(case, plain, tmp_path):
    """A partner in kelvin, said in the file or known from the training: scores of degrees."""
    kelvin = changed(case.files["coarse"], tmp_path / "k.nc", t=lambda t: (t + 273.15).assign_attrs(units="K"))
    trained({**case.files, "coarse": kelvin}, tmp_path / "a.safetensors", steps=20, validate_every=20)
    with xr.open_dataset(kelvin) as dataset:
        bare = dataset.load()
    del bare["t"].attrs["units"]
    bare.to_netcdf(tmp_path / "bare.nc")
    for coarse in (kelvin, tmp_path / "bare.nc"):
        found = Case(tmp_path, case.files).evaluated("a", coarse=coarse)
        assert found.unit == "degC"
        assert set(found.scores) == set(plain.scores)
        for name, scores in plain.scores.items():
            assert found.scores[name]["rmse"] == pytest.approx(scores["rmse"], rel=1e-3), name
        assert np.allclose(found.maps.coarse, plain.maps.coarse, atol=1e-3)


@pytest.fixture(scope="module")
def rain(tmp_path_factory) -> tuple[Path, Path]:
    """Days of rain, many of them dry, which a regression of each cell takes below zero; coarse and fine."""
    folder = tmp_path_factory.mktemp("rain")
    rng = np.random.default_rng(4)
    shape = (200, 12, 16)
    noise = ndimage.gaussian_filter(rng.normal(size=shape), (0, 3, 3))
    fine = 12 * np.maximum(noise / noise.std() - 0.6, 0) * np.exp(rng.normal(size=shape[1:]) * 0.3)
    coarse = np.stack([block_mean(each, 4) for each in fine])
    day = np.datetime64("2000-01-01", "ns") + np.arange(200).astype("m8[D]")
    for name, values, step in (("fine", fine, 0.25), ("coarse", coarse, 1.0), ("noisy", coarse * 1.2, 1.0)):
        y, x = (step * (np.arange(n) + 0.5) for n in values.shape[1:])
        places = {"lat": ("lat", y, DEGREES[0]), "lon": ("lon", x, DEGREES[1])}
        field = {"pr": (("time", "lat", "lon"), values, {"units": "mm/day"})}
        xr.Dataset(field, {"time": day, **places}).to_netcdf(folder / f"{name}.nc")
    return folder, folder / "fine.nc"


@pytest.mark.filterwarnings("ignore:W-PAIRS", "ignore:W-UNSEEN")
@pytest.mark.parametrize("limits", [None, {"pr": (0.0, np.inf)}, {"pr": (0.0, 8.0)}])
@pytest.mark.parametrize(
    ("coarse", "conserving", "kept"), [("noisy", "none", False), ("coarse", "auto", True), ("noisy", "mean", True)]
)
def test_a_network_that_was_taught_nothing_is_no_better(rain, tmp_path, limits, coarse, conserving, kept):
    """Limits and block means are no skill of the network: the best baseline has them too."""
    folder, fine = rain
    out, given = tmp_path / "m.safetensors", [folder / f"{coarse}.nc"]
    line = {
        "until": "2000-05-01",
        "sizes": SMALL,
        "options": PairOptions(steps=1, learning_rate=1e-9),
        "calendar": False,
    }
    trained_scores = train_files(given, [fine], 4, out, **line, limits=limits or {}, conserving=conserving).scores["pr"]
    (found,) = evaluate_pairs([out], given, [fine])
    assert verdict(found).startswith(("No clear difference between the network and", "The network is worse than"))
    assert found.ratio("network") > 0.9995
    assert min(v for k, v in trained_scores.items() if k != "network") < 1.0005 * trained_scores["network"]
    assert ("block means kept" in found.scores) == ("block means kept" in trained_scores) == kept
    if kept:
        assert found.scores["block means kept"]["rmse"] == pytest.approx(found.scores["network"]["rmse"], rel=1e-3)
    if limits is not None:
        assert all(np.nanmin(fine_) >= 0 for fine_ in found.maps.fine.values())


@pytest.mark.filterwarnings("ignore:W-PAIRS", "ignore:W-UNSEEN")
@pytest.mark.parametrize(
    ("units", "scale", "name", "wet"),
    [
        ("kg m-2 s-1", 1 / 86400, "pr", True),
        ("m/h", 1e-3 / 24, "precipitation", True),
        ("mm/3h", 1 / 8, "rain", True),
        ("mm", 1.0, "tp", True),
        ("m", 1e-3, "tp", True),
        ("inch/day", 1 / 25.4, "prcp", True),
        ("m s-1", 1e-3 / 86400, "wind", False),
        ("mm", 1.0, "depth", False),
        ("mm/day", 1.0, "evaporation", False),
    ],
)
def test_wet_days_are_those_of_1_mm_a_day_in_any_unit(rain, tmp_path, units, scale, name, wet):
    """The share and its mean are those of mm/day; speeds, depths and evaporation have none."""
    folder, _ = rain
    paths = {}
    for each in ("coarse", "fine"):
        with xr.open_dataset(folder / f"{each}.nc") as dataset:
            other = dataset.load().rename(pr=name)
        other[name] = (other[name] * scale).assign_attrs(units=units)
        paths[each] = tmp_path / f"{each}.nc"
        other.to_netcdf(paths[each])
    line = {"until": "2000-05-01", "sizes": SMALL, "options": PairOptions(steps=2)}
    train_files([paths["coarse"]], [paths["fine"]], 4, tmp_path / "m.safetensors", **line, limits={name: (0, np.inf)})
    (found,) = evaluate_pairs([tmp_path / "m.safetensors"], [paths["coarse"]], [paths["fine"]])
    scores = found.scores["bilinear"]
    assert ("wet_days" in scores) == wet
    if wet:
        with xr.open_dataset(folder / "coarse.nc") as c, xr.open_dataset(folder / "fine.nc") as f:
            truth = f["pr"].sel(time=slice("2000-05-01", None))
            inside = {k: np.clip(truth[k].to_numpy(), c[k].min().item(), c[k].max().item()) for k in ("lat", "lon")}
            partner = c["pr"].sel(time=truth.time).interp(inside).to_numpy()
        weights = np.cos(np.deg2rad(truth["lat"].to_numpy()))[:, None] * np.ones(16)
        shares = [np.average(each >= 1, weights=np.broadcast_to(weights, each.shape)) for each in (partner, truth)]
        assert scores["wet_days"] == pytest.approx(shares[0] - shares[1], abs=2e-3)


# ----------------------------------------------------------------------------------------------------------- times


def test_times_that_were_fitted_on_do_not_count(case, plain, tmp_path):
    """Whatever stands there; the model of the later fit decides; `since` leaves out more."""
    other = changed(case.files["fine"], tmp_path / "fine.nc", tas=lambda t: t.where(t.time >= t.time[FITTED], 99.0))
    assert case.evaluated("a", fine=other).scores == plain.scores
    found = case.evaluated("a", since="2000-08-01")
    assert (found.times, found.span) == (27, ("2000-08-01", "2000-08-27"))
    line = {"until": "2000-08-20", "sizes": SMALL, "options": PairOptions(**{**QUICK, "steps": 2})}
    train_files([case.files["coarse"]], [case.files["fine"]], 4, tmp_path / "late.safetensors", **line)
    paths = [case.folder / "a.safetensors", tmp_path / "late.safetensors"]
    (found,) = evaluate_pairs(paths, [case.files["coarse"]], [case.files["fine"]])
    assert found.span == ("2000-08-20", "2000-08-27")
    assert found.models == ("a", "late")


@pytest.mark.filterwarnings("ignore:W-TIMES")
def test_other_times_are_refused(case, tmp_path):
    """Days that were fitted on, days that are none, and files that end before."""
    with pytest.raises(InputError, match="fitted on days up to 2000-05-31: since= must be later, got 2000-05-31"):
        case.evaluated("a", since="2000-05-31")
    with pytest.raises(UsageError, match="since= must be a day such as 1993-06-01, got June"):
        case.evaluated("a", since="June")
    with pytest.raises(InputError, match="no time from 2001-01-01 on: give later files"):
        case.evaluated("a", since="2001-01-01")
    with xr.open_dataset(case.files["fine"]) as fine:
        fine.isel(time=slice(0, FITTED)).to_netcdf(tmp_path / "early.nc")
    with pytest.raises(InputError, match="no time after 2000-05-31, the last day that was fitted on"):
        case.evaluated("a", fine=tmp_path / "early.nc")


# ---------------------------------------------------------------------------------------------------- what must fit


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("fine", {"lat": lambda y: y + 0.1}, r"a\.safetensors is for rows from 50 to 45.25 \(20\), the fine files"),
        ("fine", {"lon": lambda x: x * 1.1}, r"a\.safetensors is for columns from 5 to 12 \(29\), the fine files"),
        ("fine", {"tas": lambda t: t.assign_attrs(units="m")}, r"tas is in m, a\.safetensors gives degC"),
        ("coarse", {"t": lambda t: t.assign_attrs(units="m")}, r"t is in m, a\.safetensors was trained on degC"),
        ("coarse", {"lat": lambda y: y * 0.5 + 24}, r"t has rows every 0.5, a\.safetensors was trained on 1"),
    ],
)
def test_other_files_are_refused(case, tmp_path, file, change, words):
    """Another grid, other units, another resolution: in one line."""
    other = changed(case.files[file], tmp_path / "other.nc", **change)
    with pytest.raises(InputError, match=words) as caught:
        case.evaluated("a", **{file: other})
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:W-PAIRS")
def test_models_that_cannot_stand_together_are_refused(case, tmp_path, random_network):
    """Another factor, another partner, a model of rasters, and none at all."""
    line = {"until": "2000-06-01", "sizes": SMALL, "options": PairOptions(**{**QUICK, "steps": 2})}
    files = [case.files["coarse"]], [case.files["fine"]]
    train_files(*files, 3, tmp_path / "f.safetensors", **line)
    train_files(*files, 4, tmp_path / "p.safetensors", **line, partners={"tas": "stability"})
    for name, words in (
        ("f", r"f\.safetensors is for factor 3, the first model for 4"),
        ("p", r"p\.safetensors refines stability, the first model t"),
    ):
        with pytest.raises(InputError, match=words):
            evaluate_pairs([case.folder / "a.safetensors", tmp_path / f"{name}.safetensors"], *files)
    with pytest.raises(ModelError, match="model random was not trained on pairs: evaluate it on rasters"):
        evaluate_pairs([random_network(4)], *files)
    with pytest.raises(UsageError, match="no model to evaluate"):
        evaluate_pairs([], *files)


def test_a_truth_that_does_not_vary_is_refused(case, tmp_path):
    """One value at all later times."""
    flat = changed(case.files["fine"], tmp_path / "flat.nc", tas=lambda t: t * 0 + 5)
    with pytest.raises(InputError, match="tas has no two different values at the times to score on"):
        case.evaluated("a", fine=flat)


# ---------------------------------------------------------------------------------------------- on the command line


def test_the_command_shows_and_writes(case, tmp_path):
    """Scores and verdict on the screen, a report where asked for, strict JSON, and what there is is not replaced."""
    models = case.folder / "a.safetensors", case.folder / "b.safetensors"
    line = ("--fine", case.files["fine"], "--coarse", case.files["coarse"])
    line += ("--since", "2000-08-20")
    done = processes.run("evaluate-pairs", *models, *line)
    assert done.code == 0, done.err
    found = case.evaluated("a", "b", since="2000-08-20")
    assert f"tas (degC): x4, scored on {found.cells:,} fine cells at 8 times, 2000-08-20 to 2000-08-27" in done.out
    rows = [row.removeprefix("◆ ").split() for row in done.out.splitlines()[3:12]]
    order = sorted(found.scores, key=lambda name: found.scores[name]["rmse"])
    assert [row[0] for row in rows] == [name.split()[0] for name in order]
    assert f"{found.scores['a']['rmse']:.3f}" in next(row for row in rows if row[0] == "a")
    done = processes.run("evaluate-pairs", *models, *line, "--report", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == sorted(NAMES)
    assert "exists" in processes.run("evaluate-pairs", *models, *line, "--report", tmp_path / "r").refused(5)

    def never(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    printed = json.loads(done.out, parse_constant=never)
    assert json.loads((tmp_path / "r" / "report.json").read_text(), parse_constant=never) == printed
    (variable,) = printed["variables"]
    assert variable["scores"] == {name: pytest.approx(scores, rel=1e-5) for name, scores in found.scores.items()}
    digest = load_checkpoint(models[1]).digest
    assert printed["facts"]["model b"].endswith(f"fitted on 2000-01-01 to 2000-05-31; sha256 {digest}")


def test_times_are_counted_for_programs(case, monkeypatch):
    """From none to all, block by block."""
    line = ("--fine", case.files["fine"], "--coarse", case.files["coarse"], "--since", "2000-08-20")
    ended = processes.run("evaluate-pairs", case.folder / "a.safetensors", *line, "--progress", "json", "--json")
    lines = [json.loads(each) for each in ended.err.splitlines() if each.startswith("{")]
    assert [(each["done"], each["total"], each["unit"]) for each in lines] == [(0, 8, "times"), (8, 8, "times")]
    monkeypatch.setattr("geofsrcnn.pairs.read.TIMES_PER_BLOCK", 3)
    seen: list[int] = []
    case.evaluated("a", since="2000-08-20", progress=lambda done, _: seen.append(done))
    assert seen == [0, 3, 6, 8]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{a}", "--fine", "{fine}", "--coarse", "{coarse}", "--since", "2000-01-05"), 3, "--since must be later"),
        (("{a}", "--fine", "{fine}", "--coarse", "{coarse}", "--overwrite"), 2, "--overwrite is for --report"),
        (("{a}", "--fine", "{fine}", "--coarse", "{coarse}", "-f", "4"), 2, "No such option"),
        (("{a}", "--coarse", "{coarse}"), 2, "Missing option '--fine'"),
        (("{a}", "--fine", "{fine}"), 2, "Missing option '--coarse'"),
        (("default", "--fine", "{fine}", "--coarse", "{coarse}"), 4, "was not trained on pairs"),
        (("{a}", "--fine", "no.nc", "--coarse", "{coarse}"), 3, "no.nc"),
    ],
)
def test_wrong_arguments_are_one_line(case, tmp_path, arguments, code, words):
    """Each with its exit code, and nothing is written."""
    names = {**case.files, "a": case.folder / "a.safetensors", "raster": tmp_path / "none.tif"}
    filled = [each.format(**names) for each in arguments]
    assert words in processes.run("evaluate-pairs", *filled, cwd=str(tmp_path)).refused(code)
    assert not list(tmp_path.iterdir())


def test_nothing_is_said_of_outputs(case, tmp_path):
    """A DEM of whole metres among the files brings no word on how its finer cells are stored: none are."""
    heights = write(tmp_path / "dem.tif", np.rint(terrain((80, 90), low=0, high=250)).astype("int16"))
    line = ("evaluate-pairs", case.folder / "a.safetensors", "--fine", heights, "--coarse", case.files["coarse"])
    done = processes.run(*line)
    assert "no fine variable tas" in done.refused(2)
    assert "W-STEPS" not in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-f", "3"), "model a is for factor 4, not 3"),
        ((), "evaluate it on coarse and fine fields of the same times (evaluate-pairs)"),
        (("--report", "r"), "model a was trained on pairs"),
    ],
)
def test_rasters_take_no_model_of_pairs(case, tmp_path, options, words):
    """`evaluate` names the command that takes it, before the raster is read."""
    line = (tmp_path / "none.tif", "--model", case.folder / "a.safetensors", *options)
    assert words in processes.run("evaluate", *line, cwd=str(tmp_path)).refused(4)
    assert not list(tmp_path.iterdir())
