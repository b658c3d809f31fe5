"""Evaluation: scores that anyone can compute, and a verdict that says no when the answer is no."""

from __future__ import annotations

import gzip
import json
import math
import os
import pty
import re
import subprocess
import sys
import warnings
from contextlib import suppress

import numpy as np
import pytest
import rasterio
import xarray as xr
from scipy import ndimage

from geofsrcnn import upscale_array
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.evaluation import comparer, rasters
from geofsrcnn.evaluation.rasters import LARGEST, METHODS_NOTE, TooFewCells, evaluate_array, evaluate_raster
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
    """RMSE, MAE and bias of the network and of every classical method, over the cells that are scored, by hand."""
    truth = smooth()
    found = evaluate_array(truth, 3, ["default", "bilinear"])
    coarse = block_mean(truth, 3)
    inner = (slice(12, 84), slice(12, 108))
    assert found.cells == 72 * 96
    fields = {"default-x3": upscale_array(coarse, 3), **{m: resample(coarse, 3, m) for m in CLASSICAL}}
    assert (found.models, found.baselines) == (("default-x3",), CLASSICAL)
    for name, score in found.scores.items():
        error = (fields[name] - truth)[inner]
        rel = 1e-5 if not name.endswith("-bp") else 2e-3  # near edges rounds of back-projection see more of them
        assert score["rmse"] == pytest.approx(math.sqrt(np.mean(error**2)), rel=rel)
        assert score["mae"] == pytest.approx(np.mean(abs(error)), rel=rel)
        assert score["bias"] == pytest.approx(np.mean(error), abs=1e-3)
    best = min(CLASSICAL, key=lambda m: found.scores[m]["rmse"])
    assert found.best_baseline == best
    ours = found.scores["default-x3"]["rmse"]
    assert found.ratio("default-x3") == ours / found.scores[best]["rmse"]
    assert found.ratio("default-x3", "cubic-0.75") == ours / found.scores["cubic-0.75"]["rmse"]
    low, high = found.intervals["default-x3"]["ratio"]
    assert low < found.ratio("default-x3") < high


def test_missing_cells_do_not_count(tmp_path):
    """Cells near a missing one count for nobody, and what stands under it has no influence."""
    found = []
    for rubbish in (-9999.0, 1e6):
        values = smooth().astype("float32")
        values[40:43, 50:60] = rubbish
        (comparison,) = evaluate_raster(write(tmp_path / f"{rubbish}.tif", values, nodata=rubbish), 3)
        found.append(comparison)
    valid = np.ones((32, 40), bool)
    valid[13:15, 16:20] = False
    assert found[0].cells == scored_mask(valid, 3).sum()
    assert found[0].scores == found[1].scores
    assert found[0].intervals == found[1].intervals


def test_a_network_that_loses_is_told_so(tmp_path):
    """With a network of random weights the answer is no, and names a method that upscale takes."""
    path, model = write(tmp_path / "a.tif", smooth().astype("float32")), tmp_path / "bad.safetensors"
    save_checkpoint(model, random_model(3, factor=3, d=8, s=4, m=1), Card(name="bad"))
    done = processes.run("evaluate", path, "-f", 3, "-m", model)
    assert done.code == 0
    verdict = next(line for line in done.out.splitlines() if line.startswith("The network bad is worse than "))
    method = re.search(r"Take (\S+), or train on more\.", verdict)[1]
    assert method in CLASSICAL
    coarse = write(tmp_path / "coarse.tif", block_mean(smooth(), 3).astype("float32"))
    assert processes.run("upscale", coarse, tmp_path / "f.tif", "-m", method, "-q").code == 0


def test_the_command_prints_all_methods_best_first(tmp_path):
    """One field: the network and thirteen methods in order of RMSE, and a verdict; the raster is not touched."""
    path = write(tmp_path / "field.tif", smooth().astype("float32"), crs="EPSG:32633")
    before = state(path)
    done = processes.run("evaluate", path, "--factor", 2, "--model", "small", "--model", "lanczos-bp")
    assert (done.code, done.err) == (0, "")
    assert state(path) == before
    lines = done.out.splitlines()
    assert lines[0] == "field.tif band 1: x2, scored on 8,320 fine cells"
    rows = [re.split(r"  +", line) for line in lines[3 : 4 + len(CLASSICAL)]]
    assert {row[0] for row in rows} == {"◆ small-x2", *CLASSICAL}
    assert re.split(r"  +", lines[2])[1:4] == ["to best baseline", "95 % interval", "RMSE"]
    errors = [float(row[-5]) for row in rows]
    assert errors == sorted(errors)
    assert re.match(r"The network small-x2 is better than \S+, the best baseline: RMSE [\d.]+ % below \(", lines[-4])
    assert lines[-1] == METHODS_NOTE
    plain = processes.run("evaluate", path, "-f", 2, "-m", "lanczos-bp").out
    assert "No network was compared; lanczos-bp has the smallest RMSE." in plain


def on_terminal(*args: object, columns: int) -> list[str]:
    """Lines that a command prints on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "geofsrcnn", *map(str, args)]
    with subprocess.Popen(
        line, stdout=theirs, stderr=subprocess.DEVNULL, env={**os.environ, "COLUMNS": str(columns)}
    ) as run:
        os.close(theirs)
        found = b""
        with suppress(OSError):  # which ends a terminal that nobody writes to any more
            while part := os.read(ours, 65536):
                found += part
    os.close(ours)
    assert run.returncode == 0
    return found.decode().splitlines()


def test_the_table_fits_the_terminal(tmp_path):
    """Columns are left out, the least important first, until no row is broken; what is piped has all of them."""
    path = write(tmp_path / "field.tif", smooth().astype("float32") * 1000, crs="EPSG:32633")
    line = ("evaluate", path, "-f", 2, "-m", "small")
    piped = processes.run(*line, env={"COLUMNS": "60"}).out.splitlines()
    whole = "to best baseline 95 % interval RMSE 95 % interval MAE bias correlation"
    assert " ".join(piped[2].split()) == whole
    for columns, wanted in (
        (80, "to best baseline RMSE MAE bias correlation"),
        (50, "to best baseline RMSE bias"),
    ):
        lines = on_terminal(*line, columns=columns)
        table = lines[2 : 4 + len(CLASSICAL)]
        assert max(map(len, table)) <= columns
        assert " ".join(table[0].split()) == wanted
        assert [row.split("  ")[0] for row in table] == [row.split("  ")[0] for row in piped[2 : 4 + len(CLASSICAL)]]


def test_several_fields_are_summed_up(tmp_path):
    """Two bands and a second raster: how often each network is better, geometric means, and the worst."""
    two = write(tmp_path / "two.tif", np.stack([smooth(seed=1), smooth(seed=2)]).astype("float32"))
    one = write(tmp_path / "one.tif", smooth(seed=3).astype("float32"))
    line = ("evaluate", two, one, "-f", 3, "-m", "default", "-m", "small")
    done = processes.run(*line)
    assert done.code == 0
    every = json.loads(processes.run(*line, "--json").out)
    fields = every["variables"]
    assert [(e["name"], e["band"], e["file"]) for e in fields] == [
        (f"{path.name} band {band}", band, str(path)) for path, band in ((two, 1), (two, 2), (one, 1))
    ]
    mean = geometric_mean([e["ratios"]["default-x3"] for e in fields])
    words = "default-x3 is better than the best baseline on 3 of 3 fields, worse on 0, no clear difference on 0: RMSE "
    assert every["overall"][0].startswith(f"{words}{mean:.3f}")
    assert every["overall"][1].startswith("small-x3 is better than the best baseline on ")
    assert all(words in done.out for words in (*every["overall"], *(e["verdict"] for e in fields)))


def test_a_raster_given_twice_counts_once(tmp_path):
    """By whatever name."""
    path = write(tmp_path / "a.tif", smooth().astype("float32"))
    (tmp_path / "link.tif").symlink_to(path)
    done = processes.run("evaluate", "a.tif", path, "link.tif", "-m", "bilinear", "--json", cwd=str(tmp_path))
    assert len(json.loads(done.out)["variables"]) == 1


def test_of_many_fields_few_methods_are_shown(tmp_path):
    """The networks and the best baseline of each; all methods are in the JSON."""
    path = write(tmp_path / "a.tif", np.stack([smooth((60, 60), seed=i) for i in range(5)]).astype("float32"))
    done = processes.run("evaluate", path, "-f", 2, "-m", "small")
    assert done.out.count("◆ small-x2") == 5
    assert "bilinear-c" not in done.out


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
    assert "small.tif band 1 has 225 at least 4 coarse cells from edges and gaps" in done.err
    assert "good.tif band 1: x3" in done.out
    words = processes.run("evaluate", small, "-f", 3, "-m", "bilinear").errors[-1]
    assert words.endswith("nothing to judge by in small.tif: give a larger raster, or a smaller --factor")
    assert processes.run("evaluate", small, good, "-m", "bilinear", "--strict").code == 3
    with pytest.raises(TooFewCells, match="the field has 225 at least 4 coarse cells"):
        evaluate_array(smooth((40, 40)), 3, ["bilinear"])
    with pytest.raises(TooFewCells, match="the field is constant, or a plane, where it is scored"):
        evaluate_array(np.full((90, 90), 7.0), 3, ["bilinear"])


def test_a_large_raster_is_judged_on_windows(tmp_path):
    """Beyond the limit nine windows spread over the raster are read, corners included, and it is said."""
    shape = (LARGEST + 152, 900)
    field = terrain(shape, seed=4)
    path = write(tmp_path / "large.tif", field)
    (evaluation,) = evaluate_raster(path, 4, ["bilinear"])
    assert (evaluation.windows, evaluation.times) == (3, 1)
    assert evaluation.cells == 3 * (768 - 32) * (900 - 32)
    done = processes.run("evaluate", path, "-f", 4, "-m", "bilinear")
    assert done.out.splitlines()[0].endswith("fine cells of 3 windows spread over the raster")


def test_classical_methods_are_loaded_once(tmp_path, monkeypatch):
    """Not once a band, window or raster."""
    path = write(tmp_path / "a.tif", np.stack([smooth(), smooth(seed=1)]).astype("float32"))
    loads: list[object] = []
    load = rasters.load_model
    monkeypatch.setattr(
        rasters, "load_model", lambda model, *rest, **more: loads.append(model) or load(model, *rest, **more)
    )
    rasters._load_classical.cache_clear()
    assert len([*evaluate_raster(path, 3, ["nearest"]), *evaluate_raster(path, 3, ["nearest"])]) == 4
    assert [loads.count(method) for method in CLASSICAL if method != "nearest"] == [1] * (len(CLASSICAL) - 1)


def test_units_and_scales_are_physical(tmp_path):
    """Stored counts with scale and offset are judged in physical units, and the unit is printed."""
    counts = np.rint(smooth() * 100).astype("int32")
    path = write(tmp_path / "t.tif", counts)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.units = (0.01,), (-273.15,), ("degC",)
    (evaluation,) = evaluate_raster(path, 3, ["bilinear"])
    plain = evaluate_array(counts / 100 - 273.15, 3, ["bilinear"])
    assert evaluation.unit == "degC"
    assert evaluation.scores["bilinear"]["rmse"] == pytest.approx(plain.scores["bilinear"]["rmse"], rel=1e-4)
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
        (("{raster}", "--as", "1=category", "--as", "1=direction"), 2, "--as names 1 twice: give one kind"),
        (("{raster}", "--as", "1=nonsense"), 2, "nonsense is no kind of variable: --as takes field, "),
        (("{dataset}",), 3, "b.nc is a dataset (NetCDF): evaluate takes rasters, evaluate-pairs datasets"),
        (("{folder}",), 3, "a folder, neither a GeoTIFF nor a Zarr group"),
        (
            ("m.safetensors", "--fine", "{raster}"),
            2,
            "--fine is for pairs of coarse and fine fields: use evaluate-pairs",
        ),
        (("{raster}", "--fein", "{raster}"), 2, "No such option '--fein'"),
        ((), 2, "Missing argument 'RASTER...'"),
    ],
)
def test_refusals(tmp_path, arguments, code, words):
    """Each wrong argument is one line with its exit code."""
    raster = write(tmp_path / "a.tif", smooth().astype("float32"))
    xr.Dataset({"a": (("y", "x"), smooth())}).to_netcdf(tmp_path / "b.nc", engine="netcdf4")
    filled = [a.format(raster=raster, folder=tmp_path, dataset=tmp_path / "b.nc") for a in arguments]
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


def test_detail_adds_structure_and_maps(tmp_path):
    """The same errors; block means are kept; maps lie where the raster does."""
    values = smooth((100, 121)).astype("float32")
    values[70, 30] = -1
    path = write(tmp_path / "a.tif", values, nodata=-1, crs="EPSG:32633")
    (found,), (other,) = evaluate_raster(path, 3, detail=True), evaluate_raster(path, 3)
    assert (found.models, found.cells, found.times, found.span) == (("default-x3",), other.cells, 1, ("", ""))
    assert other.maps is None
    for name, scores in other.scores.items():
        assert scores.items() <= found.scores[name].items()
        assert {"ssim", "psnr", "p99", "spectrum_ratio"} <= set(found.scores[name])
    assert found.scores["default-x3"]["conservation"] < 1e-6 * np.ptp(values)
    assert found.scores["bilinear"]["conservation"] > 1e-2
    assert np.allclose(found.maps.x, 500_000 + 30 * (np.arange(120) + 0.5))
    assert np.allclose(found.maps.y, 6_000_000 - 30 * (np.arange(99) + 0.5))
    assert "UTM zone 33N" in found.maps.crs
    inner = values[:99, :120]
    known = np.isfinite(found.maps.truth)
    assert known.sum() == found.cells
    assert np.array_equal(found.maps.truth[known], inner[known])
    whole = ~np.isnan(found.maps.coarse)
    assert whole.sum() == whole.size - 1
    assert np.allclose(found.maps.coarse[whole], block_mean(inner, 3)[whole])


def test_a_large_raster_is_drawn_in_its_middle(tmp_path, monkeypatch):
    """So many rows and columns, of whole blocks, with their coordinates."""
    monkeypatch.setattr(comparer, "DRAWN", 100)
    field = terrain((300, 141), seed=4)
    (found,) = evaluate_raster(write(tmp_path / "a.tif", field), 3, ["bilinear"], detail=True)
    assert found.maps.truth.shape == (99, 99)
    known = np.isfinite(found.maps.truth)
    assert np.array_equal(found.maps.truth[known], field[99:198, 21:120][known])
    assert (found.maps.x[0], found.maps.y[0]) == (500_000 + 30 * 21.5, 6_000_000 - 30 * 99.5)


def test_what_cannot_be_compared_is_left_out(tmp_path):
    """Constants, planes, and rasters that are too small, each with a warning."""
    y, x = np.mgrid[:90, :90]
    bands = np.stack([np.full((90, 90), 5.0), smooth((90, 90)), 2.0 * y + x])
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        (found,) = evaluate_raster(write(tmp_path / "a.tif", bands), 3, ["nearest"])
    assert found.name == "a.tif band 2"
    constant, plane = (str(each.message) for each in said)
    assert "a.tif band 1 is constant, or a plane" in constant
    assert "a.tif band 3 is constant, or a plane" in plane
    with pytest.warns(GeofsrcnnWarning, match=r"b\.tif band 1 has 0 at least 4 coarse cells"):
        assert evaluate_raster(write(tmp_path / "b.tif", np.ones((2, 2))), 3, ["nearest"]) == []


# ------------------------------------------------------------------------------------------------ what a variable is


def test_categories_are_judged_by_the_share_of_right_ones(tmp_path):
    """Each block's most frequent class repeated, whatever the model; a report and JSON say it too."""
    rng = np.random.default_rng(0)
    classes = (ndimage.gaussian_filter(rng.normal(size=(90, 96)), 3) > 0).astype("uint8") * 4 + 7
    path = write(tmp_path / "classes.tif", classes)
    (found,) = evaluate_raster(path, 3, ["small"], kinds={"1": "category"})
    blocks = classes.reshape(30, 3, 32, 3).swapaxes(1, 2).reshape(30, 32, 9)
    mode = np.where((blocks == 11).sum(-1) > 4, 11, 7).repeat(3, 0).repeat(3, 1)
    inner = (slice(12, 78), slice(12, 84))
    assert found.scores == {"nearest": {"accuracy": pytest.approx((mode == classes)[inner].mean())}}
    assert (found.models, found.cells) == ((), 66 * 72)
    line = ("evaluate", path, "-f", 3, "--as", "1=category", "--report", tmp_path / "r")
    done = processes.run(*line)
    share = f"{100 * found.scores['nearest']['accuracy']:.1f} %"
    words = f"Categories are repeated, whatever the model: {share} of the fine cells get their class."
    assert done.code == 0, done.err
    assert words in done.out
    assert "Cubic is" not in done.out  # no other method stands in the table
    assert words in (tmp_path / "r" / "report.html").read_text()
    assert json.loads(processes.run(*line, "--overwrite", "--json").out)["variables"][0]["verdict"] == words


@pytest.mark.parametrize("model", ["default", "nearest"])
def test_palettes_are_categories(tmp_path, model):
    """A raster with a palette is judged as the same classes without one are, whatever the model; as a field never."""
    classes = (smooth() > 280).astype("uint8")
    plain, path = write(tmp_path / "plain.tif", classes), write(tmp_path / "palette.tif", classes)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (200, 30, 30, 255), 1: (10, 200, 30, 255)})
    (wanted,) = evaluate_raster(plain, 3, [model], kinds={"1": "category"})
    for said in ({}, {"1": "category"}):
        (found,) = evaluate_raster(path, 3, [model], kinds=said)
        assert (found.scores, found.cells, found.models) == (wanted.scores, wanted.cells, ())
    line = ("evaluate", path, "--model", model)
    assert "of the fine cells get their class" in processes.run(*line).out
    words = "band 1 of palette.tif holds categories (palette): leave out its --as"
    assert processes.run(*line, "--as", "1=field").refused(2) == words


def test_directions_are_judged_by_their_angles(tmp_path):
    """Around north, where 359 and 1 are neighbours, errors are as large as around south."""
    turns = smooth((90, 96)) - 280
    scores = []
    for start in (0.0, 180.0):
        path = write(tmp_path / f"{start}.tif", ((turns + start) % 360).astype("float32"))
        (found,) = evaluate_raster(path, 3, ["small"], kinds={"1": "direction"}, detail=True)
        assert "correlation" not in found.scores["nearest"]
        scores.append({name: each["rmse"] for name, each in found.scores.items()})
    assert scores[0] == pytest.approx(scores[1], rel=1e-2)
    (field,) = evaluate_raster(path, 3, ["small"], kinds={"1": "field"})
    assert scores[1]["cubic"] == pytest.approx(field.scores["cubic"]["rmse"], rel=0.05)


def test_limits_are_those_of_upscale(tmp_path):
    """What is never negative stays so in all methods: their errors are smaller than without."""
    rain = np.maximum(smooth((90, 96)) - 281, 0).astype("float32")
    path = write(tmp_path / "rain.tif", rain)
    kept, free = (evaluate_raster(path, 3, ["small"], kinds={"1": kind})[0] for kind in ("never-negative", "field"))
    for name in ("lanczos", "cubic", "cubic-bp"):
        assert kept.scores[name]["rmse"] < free.scores[name]["rmse"]
    coarse = block_mean(rain.astype(np.float64), 3)
    wanted = np.maximum(resample(coarse, 3, "cubic"), 0) - rain
    inner = (slice(12, 78), slice(12, 84))
    assert kept.scores["cubic"]["rmse"] == pytest.approx(np.sqrt(np.mean(wanted[inner] ** 2)), rel=1e-5)


def test_a_raster_is_read_as_upscale_reads_it(tmp_path):
    """A band that is tagged as alpha, a raster without CRS, a packed file, a subdataset that is not there."""
    path = write(tmp_path / "a.tif", smooth().astype("float32"))
    with gzip.open(tmp_path / "a.tif.gz", "wb") as packed:
        packed.write(path.read_bytes())
    plain = json.loads(processes.run("evaluate", path, "-f", 2, "-m", "small", "--json").out)
    line = ("-f", 2, "-m", "small", "--crs", "EPSG:32633", "--alpha", "none", "--json")
    done = processes.run("evaluate", tmp_path / "a.tif.gz", "--inside", "a.tif", *line)
    assert done.code == 0, done.err
    assert json.loads(done.out)["variables"][0]["scores"] == plain["variables"][0]["scores"]
    assert "no subdataset 3 in a.tif: it is one raster" in processes.run("evaluate", path, "--subdataset", 3).refused(2)


def test_names_are_printed_as_they_are_given(tmp_path):
    """Relative ones stay so: the report's and that of an output."""
    write(tmp_path / "a.tif", smooth().astype("float32"))
    (tmp_path / "r").mkdir()
    line = ("a.tif", "-m", "bilinear", "--report")
    for folder in ("r/s", tmp_path / "t"):
        done = processes.run("evaluate", *line, folder, cwd=str(tmp_path))
        assert done.out.splitlines()[-1] == f"report: {folder}/report.html"
    assert processes.run("upscale", "a.tif", "r/b.tif", cwd=str(tmp_path)).out.startswith("r/b.tif: 96 x 120 -> ")


def test_a_report_of_rasters_is_written(tmp_path):
    """Models by --model: the report, strict JSON, and what there is is not replaced."""
    path = write(tmp_path / "a.tif", smooth().astype("float32"))
    done = processes.run("evaluate", path, "-m", "default", "-m", "bilinear", "--report", tmp_path / "r", "--json")
    assert done.code == 0, done.err
    assert sorted(each.name for each in (tmp_path / "r").iterdir()) == sorted(NAMES)
    printed = json.loads(done.out, parse_constant=pytest.fail)
    assert json.loads((tmp_path / "r" / "report.json").read_text(), parse_constant=pytest.fail) == printed
    assert printed["variables"][0]["models"] == ["default-x3"]
    assert set(printed["facts"]) == {"model default-x3", "rasters", "factor", "geofsrcnn"}
    assert "exists" in processes.run("evaluate", path, "--report", tmp_path / "r").refused(5)
    assert "--overwrite is for --report" in processes.run("evaluate", path, "--overwrite").refused(2)
