"""Evaluation: scores that anyone can compute, and a verdict that says no when the answer is no."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.evaluation.rasters import (
    DRAWN,
    LARGEST,
    Evaluation,
    Score,
    TooFewCells,
    compare_raster,
    evaluate_array,
    evaluate_raster,
)
from geofsrcnn.evaluation.report import NAMES
from geofsrcnn.evaluation.scores import geometric_mean, scored_mask
from geofsrcnn.networks.checkpoint import Card, save_checkpoint
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.kernels import CLASSICAL, resample
from tests.support import processes
from tests.support.networks import random_model
from tests.support.rasters import state, terrain, write


def smooth(shape: tuple[int, int] = (96, 120), seed: int = 0) -> np.ndarray:
    """A field that has structure where interpolation can find it."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.5) * 100 + 280


def test_scores_are_what_anyone_computes():
    """RMSE, MAE and bias of the model and of every classical method, over the cells that count, by hand."""
    truth = smooth()
    evaluation = evaluate_array(truth, 3, ["default", "bilinear"])
    coarse = block_mean(truth, 3)
    inner = (slice(12, 84), slice(12, 108))
    assert evaluation.cells == 72 * 96
    fields = {"default-x3": upscale_array(coarse, 3), **{m: resample(coarse, 3, m) for m in CLASSICAL}}
    assert set(evaluation.models) == {"default-x3", "bilinear"}
    assert tuple(evaluation.classical) == CLASSICAL
    for name, score in {**evaluation.classical, **evaluation.models}.items():
        error = (fields[name] - truth)[inner]
        close = {"rel": 1e-5, "abs": 1e-9} if name == "bilinear" else {"rel": 1e-9, "abs": 1e-11}
        assert score.rmse == pytest.approx(math.sqrt(np.mean(error**2)), **close)
        assert score.mae == pytest.approx(np.mean(abs(error)), **close)
        assert score.bias == pytest.approx(np.mean(error), abs=1e-6)
    best = min(CLASSICAL, key=lambda m: evaluation.classical[m].rmse)
    assert evaluation.best_classical == best
    ours = evaluation.models["default-x3"].rmse
    assert evaluation.to_best("default-x3") == ours / evaluation.classical[best].rmse
    assert evaluation.to_bicubic("default-x3") == ours / evaluation.classical["cubic-0.75"].rmse


def test_missing_cells_do_not_count(tmp_path):
    """Cells near a missing one count for nobody, and what stands under it has no influence."""
    found = []
    for rubbish in (-9999.0, 1e6):
        values = smooth().astype("float32")
        values[40:43, 50:60] = rubbish
        (evaluation,) = evaluate_raster(write(tmp_path / f"{rubbish}.tif", values, nodata=rubbish), 3)
        found.append(evaluation)
    valid = np.ones((32, 40), bool)
    valid[13:15, 16:20] = False
    assert found[0].cells == scored_mask(valid, 3).sum()
    assert found[0].models == found[1].models
    assert found[0].classical == found[1].classical


def scores(model: float, **classical: float) -> Evaluation:
    """An evaluation with these RMSE; the other methods are at 10."""
    others = {m: Score(classical.get(m.replace("-", "_").replace(".", "_"), 10.0), 1.0, 0.0) for m in CLASSICAL}
    return Evaluation("a/dem.tif", 1, "m", 3, 5000, False, {"net": Score(model, 1.0, 0.0)}, others)


@pytest.mark.parametrize(
    ("evaluation", "words"),
    [
        (
            scores(7.6, lanczos_bp=8.0),
            "net is best: RMSE 5.0 % below lanczos-bp, the best of 13 classical methods, and 24.0 % below bicubic.",
        ),
        (
            scores(8.0, lanczos_bp=8.001),
            "net is no better than lanczos-bp, the best classical method here, and 20.0 % below bicubic.",
        ),
        (
            scores(10.5, cubic_c=8.4),
            "cubic-c is best: RMSE 20.0 % below net (5.0 % above bicubic); on data like this take --model cubic-c.",
        ),
    ],
    ids=["better", "the same", "worse"],
)
def test_the_verdict_says_what_is_so(evaluation, words):
    """Better, no better, and worse each in their words, with the figures by hand."""
    assert evaluation.verdict() == words


def test_a_network_that_loses_is_told_so(tmp_path):
    """With a network of random weights the answer is no, and names a method that upscale takes."""
    path, model = write(tmp_path / "a.tif", smooth().astype("float32")), tmp_path / "bad.safetensors"
    save_checkpoint(model, random_model(3, factor=3, d=8, s=4, m=1), Card(name="bad"))
    done = processes.run("evaluate", path, "-f", 3, "-m", model)
    assert done.code == 0
    verdict = done.out.splitlines()[-1]
    assert " is best: RMSE " in verdict
    method = verdict.rstrip(".").split("--model ")[1]
    assert method in CLASSICAL
    coarse = write(tmp_path / "coarse.tif", block_mean(smooth(), 3).astype("float32"))
    assert processes.run("upscale", coarse, tmp_path / "f.tif", "-m", method, "-q").code == 0


def test_the_command_prints_all_methods_best_first(tmp_path):
    """One field: thirteen rows in order of RMSE, the verdict last; the raster is not touched."""
    path = write(tmp_path / "dem.tif", smooth().astype("float32"), crs="EPSG:32633")
    before = state(path)
    done = processes.run("evaluate", path, "--factor", 2, "--model", "lanczos-bp")
    assert (done.code, done.err) == (0, "")
    assert state(path) == before
    lines = done.out.splitlines()
    assert lines[0] == "dem.tif band 1, x2: 8,320 fine cells count"
    rows = [line.split() for line in lines[3 : 3 + len(CLASSICAL)]]
    assert {row[0] for row in rows} == set(CLASSICAL)
    errors = [float(row[1]) for row in rows]
    assert errors == sorted(errors)
    assert (
        lines[-1]
        == "lanczos-bp is no better than lanczos-bp, the best classical method here, and "
        + (lines[-1].split(", and ")[1])
    )


def test_several_fields_are_summed_up(tmp_path):
    """Two bands and a second raster: a line each, geometric means, how often it is better, and the worst."""
    two = write(tmp_path / "two.tif", np.stack([smooth(seed=1), smooth(seed=2)]).astype("float32"))
    one = write(tmp_path / "one.tif", smooth(seed=3).astype("float32"))
    done = processes.run("evaluate", two, one, "-f", 3, "-m", "default", "-m", "nearest")
    assert done.code == 0
    lines = done.out.splitlines()
    names = [" ".join(line.split()[:3]) for line in lines[1:7]]
    assert names == [f"{n} band {b}" for n, b in (("two.tif", 1), ("two.tif", 2), ("one.tif", 1)) for _ in range(2)]
    every = json.loads(processes.run("evaluate", two, one, "-f", 3, "-m", "default", "-m", "nearest", "--json").out)
    assert [e["band"] for e in every] == [1, 2, 1]
    mean = geometric_mean([e["to_best_classical"]["default-x3"] for e in every])
    assert (
        f"default-x3 is better than the best classical method of each field on 3 of 3 fields: RMSE {mean:.3f}"
        in (lines[8])
    )
    assert "nearest is better than the best classical method of each field on 0 of 3 fields" in lines[9]


def test_fields_too_small_are_left_out_and_said(tmp_path):
    """A raster in which too few cells count is left out with a warning; if none is left, that is an error."""
    small, plane = tmp_path / "small.tif", tmp_path / "plane.tif"
    write(small, smooth((40, 40)).astype("float32"))
    y, x = np.mgrid[:90, :90]
    write(plane, (2.0 * y + x))
    good = write(tmp_path / "good.tif", smooth().astype("float32"))
    done = processes.run("evaluate", small, good, plane, "-f", 3, "-m", "bilinear")
    assert done.code == 0
    assert "left out: too few cells to judge by: " in done.err
    assert "small.tif band 1 has 225 at least 4 coarse cells from edges" in done.err
    assert "good.tif band 1, x3" in done.out
    words = processes.run("evaluate", small, "-f", 3, "-m", "bilinear").errors[-1]
    assert words.endswith("no raster has enough valid cells to judge by, or any structure")
    assert processes.run("evaluate", small, good, "-m", "bilinear", "--strict").code == 3
    with pytest.raises(TooFewCells, match="the field has 225 at least 4 coarse cells"):
        evaluate_array(smooth((40, 40)), 3, ["bilinear"])
    with pytest.raises(TooFewCells, match="the field is constant, or a plane, where it counts"):
        evaluate_array(np.full((90, 90), 7.0), 3, ["bilinear"])


def test_a_large_raster_is_judged_on_windows(tmp_path):
    """Beyond the limit nine windows spread over the raster are read, corners included, and it is said."""
    shape = (LARGEST + 152, 900)
    field = terrain(shape, seed=4)
    path = write(tmp_path / "large.tif", field)
    (evaluation,) = evaluate_raster(path, 4, ["bilinear"])
    assert evaluation.windowed
    assert evaluation.cells == 3 * (768 - 32) * (900 - 32)
    done = processes.run("evaluate", path, "-f", 4, "-m", "bilinear")
    assert "on windows spread over the raster" in done.out.splitlines()[0]


def test_units_and_scales_are_physical(tmp_path):
    """Stored counts with scale and offset are judged in physical units, and the unit is printed."""
    counts = np.rint(smooth() * 100).astype("int32")
    path = write(tmp_path / "t.tif", counts)
    import rasterio

    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (0.01,), (-273.15,), ("degC",)
    (evaluation,) = evaluate_raster(path, 3, ["bilinear"])
    plain = evaluate_array(counts / 100 - 273.15, 3, ["bilinear"])
    assert evaluation.unit == "degC"
    assert evaluation.models["bilinear"].rmse == pytest.approx(plain.models["bilinear"].rmse, rel=1e-6)
    assert "RMSE, degC" in processes.run("evaluate", path, "-m", "bilinear").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nowhere.tif",), 3, "no such file: nowhere.tif"),
        (("{raster}", "-f", "9"), 2, "is not a whole number from 2 to 8"),
        (("{raster}", "-m", "nonsense"), 4, "no model 'nonsense' in the package"),
        (("{raster}", "-b", "2"), 2, "no band 2 in a.tif: it has 1"),
        (("{raster}", "--precision", "float8"), 2, "is not one of"),
        (("{raster}", "--device", "abacus"), 2, "no device 'abacus' here"),
        (("{folder}",), 3, "a folder, neither a GeoTIFF nor a Zarr group"),
        ((), 2, "Missing argument 'RASTER...'"),
    ],
)
def test_refusals(tmp_path, arguments, code, words):
    """Each wrong argument is one line with its exit code."""
    raster = write(tmp_path / "a.tif", smooth().astype("float32"))
    filled = [a.format(raster=raster, folder=tmp_path) for a in arguments]
    assert words in processes.run("evaluate", *filled).refused(code)


def test_refusals_in_python():
    """The same in Python: classes that say whose mistake it is."""
    with pytest.raises(InputError, match=r"must be \(y, x\), got 3 dimensions"):
        evaluate_array(np.zeros((2, 50, 50)), 3, ["bilinear"])
    with pytest.raises(UsageError, match="factor must be a whole number from 2 to 8"):
        evaluate_array(smooth(), 1, ["bilinear"])
    with pytest.raises(ModelError, match="no model 'x' for factor 3"):
        evaluate_array(smooth(), 3, ["x"])


def test_left_out_bands_are_warnings_in_python(tmp_path):
    """evaluate_raster gives the bands that can be judged and warns of the others."""
    bands = np.stack([np.full((90, 90), 5.0), smooth((90, 90))])
    with pytest.warns(GeofsrcnnWarning, match="left out: nothing to judge by: .* band 1 is constant"):
        (evaluation,) = evaluate_raster(write(tmp_path / "a.tif", bands), 3, ["bilinear"])
    assert evaluation.band == 2


# --------------------------------------------------------------------------------------------------------- reports


def test_a_report_has_the_scores_of_the_evaluation(tmp_path):
    """The same fields, cells and errors; block means are kept; maps lie where the raster does."""
    values = smooth((100, 121)).astype("float32")
    values[70, 30] = -1
    path = write(tmp_path / "a.tif", values, nodata=-1)
    (found,), (other,) = compare_raster(path, 3), evaluate_raster(path, 3)
    assert (found.models, found.cells, found.times, found.span) == (("default-x3",), other.cells, 1, ("", ""))
    assert set(found.scores) == {"default-x3", "nearest", "bilinear", "bicubic", "lanczos", "lanczos-bp"}
    every = {**other.classical, **other.models, "bicubic": other.classical["cubic-0.75"]}
    for name, scores in found.scores.items():
        wanted = every[name]
        assert (scores["rmse"], scores["mae"]) == pytest.approx((wanted.rmse, wanted.mae), rel=1e-9), name
    assert found.scores["default-x3"]["conservation"] < 1e-6 * np.ptp(values)
    assert found.scores["bilinear"]["conservation"] > 1e-2
    top, left = (100 - 99) // 2, (121 - 120) // 2
    assert np.allclose(found.maps.x, 500_000 + 30 * (left + np.arange(120) + 0.5))
    assert np.allclose(found.maps.y, 6_000_000 - 30 * (top + np.arange(99) + 0.5))
    inner = values[top : top + 99, left : left + 120]
    known = np.isfinite(found.maps.truth)
    assert known.sum() == found.cells
    assert np.array_equal(found.maps.truth[known], inner[known])
    whole = ~np.isnan(found.maps.coarse)
    assert whole.sum() == whole.size - 1
    assert np.allclose(found.maps.coarse[whole], block_mean(inner, 3)[whole])


def test_a_large_raster_is_compared_in_its_middle(tmp_path, monkeypatch):
    """So many rows and columns, of whole blocks, with their coordinates."""
    monkeypatch.setattr("geofsrcnn.evaluation.rasters.DRAWN", 100)
    assert DRAWN % 8 == 0
    field = terrain((300, 140), seed=4)
    (found,) = compare_raster(write(tmp_path / "a.tif", field), 3, ["bilinear"])
    assert found.maps.truth.shape == (99, 99)
    known = np.isfinite(found.maps.truth)
    assert np.array_equal(found.maps.truth[known], field[100:199, 20:119][known])
    assert (found.maps.x[0], found.maps.y[0]) == (500_000 + 30 * 20.5, 6_000_000 - 30 * 100.5)


def test_what_cannot_be_compared_is_left_out(tmp_path):
    """Constants, planes, and rasters that are too small, each with a warning."""
    y, x = np.mgrid[:90, :90]
    bands = np.stack([np.full((90, 90), 5.0), smooth((90, 90)), 2.0 * y + x])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (found,) = compare_raster(write(tmp_path / "a.tif", bands), 3, ["nearest"])
    assert found.name == "a.tif band 2"
    constant, plane = (str(each.message) for each in said)
    assert "a.tif band 1 has too few cells that count, or is constant" in constant
    assert "a method gives a.tif band 3 exactly" in plane
    with pytest.warns(GeofsrcnnWarning, match=r"b\.tif band 1 has too few cells that count"):
        assert compare_raster(write(tmp_path / "b.tif", np.ones((2, 2))), 3, ["nearest"]) == []


def test_a_report_of_rasters_is_written(tmp_path):
    """Models by --model: the report, strict JSON, and what there is is not replaced."""
    path = write(tmp_path / "a.tif", smooth().astype("float32"))
    done = processes.run("evaluate", path, "-m", "default", "-m", "bilinear", "--report", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    assert sorted(each.name for each in (tmp_path / "r").iterdir()) == sorted(NAMES)
    printed = json.loads(done.out, parse_constant=pytest.fail)
    assert json.loads((tmp_path / "r" / "report.json").read_text(), parse_constant=pytest.fail) == printed
    assert printed["variables"][0]["models"] == ["default-x3", "bilinear"]
    assert set(printed["facts"]) == {"model default-x3", "rasters", "factor", "geofsrcnn"}
    assert "exists" in processes.run("evaluate", path, "--report", tmp_path / "r").refused(5)
    assert "--overwrite is for --report" in processes.run("evaluate", path, "--overwrite").refused(2)
