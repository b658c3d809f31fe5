"""`geofsrcnn sharpen`: what it prints, its exit codes, and signals while it learns."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
from affine import Affine
from scipy import ndimage

from tests.support import processes
from tests.support.faults import STEPS, Gate
from tests.support.rasters import UTM, opened, read, state, write

FINE = {**UTM, "transform": UTM["transform"] @ Affine.scale(1 / 2)}


def ground(shape, bands, seed=0):
    """Coarse bands, and a guide of one band that shows the same edges."""
    rng = np.random.default_rng(seed)
    base = 3 * ndimage.gaussian_filter(rng.normal(size=[2 * n for n in shape]), 1.2)
    own = [base + 0.3 * ndimage.gaussian_filter(rng.normal(size=base.shape), 1.0) for _ in range(bands + 1)]
    fine = 50 + 10 * np.stack(own)
    coarse = fine[:bands].reshape(bands, shape[0], 2, shape[1], 2).mean((2, 4))
    return coarse.astype("float32"), fine[bands:]


@pytest.fixture
def scene(tmp_path):
    """Paths of a raster of two bands, of its guide, and of an output in a folder of its own."""
    coarse, guide = ground((40, 44), 2)
    (tmp_path / "out").mkdir()
    paths = write(tmp_path / "coarse.tif", coarse), write(tmp_path / "guide.tif", guide, **FINE)
    return *paths, tmp_path / "out" / "fine.tif"


def sharpen(source, guide, output, *options, minutes=0, **setup):
    return processes.run(
        "sharpen", source, output, "--guide", guide, "--minutes", minutes, "--threads", 1, *options, **setup
    )


def test_the_table_and_what_follows(scene):
    """A line for each method with all its measures, a sentence, what is applied, and the summary."""
    done = sharpen(*scene)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "scored on 32 fine cells, field and guide made 2 times coarser:"
    assert lines[2].split("  ")[-1] == "ERGAS"
    for head in ("RMSE, band 1", "RMSE, band 2", "of that without", "SAM, degrees", "ERGAS"):
        assert head in lines[2]
    names = ("without the guide", "high-pass filter", "component substitution", "local regression", "with the guide")
    for line, name in zip(lines[3:8], names, strict=True):
        assert line.startswith(name)
        values = [float(cell) for cell in line.removeprefix(name).split()]
        assert len(values) == 5
        assert (values[2] == 1.0) == (name == "without the guide")
    assert lines[9].startswith("On the whole scene, one scale coarser, RMSE is ")
    assert lines[9].endswith(". Applied: with the guide.")
    assert lines[10].startswith(f"{scene[2]}: 40 x 44 -> 80 x 88, 2 bands")
    assert len(lines) == 11


def test_json_has_plain_values(scene):
    """The same as a result in Python, on one line."""
    done = sharpen(*scene, "--json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    facts = json.loads(done.out, parse_constant=pytest.fail)
    assert set(facts) == {"summary", "verdict", "guides"}
    assert (facts["guides"], facts["summary"]["fine"]) == (["as it is"], [80, 88])
    verdict = facts["verdict"]
    assert (verdict["chosen"], verdict["held_out"], verdict["bands"]) == ("with the guide", False, ["band 1", "band 2"])
    assert verdict["methods"][0]["name"] == "without the guide"
    assert all(len(method["rmse"]) == 2 and method["sam"] > 0 for method in verdict["methods"])


def test_json_of_what_has_no_number(tmp_path, scene):
    """ERGAS of a band whose mean is 0 is no number, which JSON says as text."""
    values = read(scene[0])
    values[0] = 0
    done = sharpen(write(tmp_path / "zero.tif", values), *scene[1:], "--json")
    assert done.code == 0
    facts = json.loads(done.out, parse_constant=pytest.fail)
    assert {method["ergas"] for method in facts["verdict"]["methods"]} == {"nan"}


def test_quiet_says_nothing(scene):
    done = sharpen(*scene, "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert scene[2].exists()


@pytest.mark.parametrize("shape", [(1, 1), (3, 60), (12, 12)])
def test_small_scenes_have_no_table(tmp_path, shape):
    coarse, guide = ground(shape, 1)
    output = tmp_path / "fine.tif"
    done = sharpen(write(tmp_path / "a.tif", coarse), write(tmp_path / "g.tif", guide, **FINE), output, minutes=1)
    assert (done.code, done.err) == (0, "")
    words = "Too little of the scene has values and a guide to tell how much the guide helps."
    assert done.out.splitlines()[0] == f"{words} Applied: with the guide."
    assert read(output).shape == (1, 2 * shape[0], 2 * shape[1])


REFUSED = {
    "no guide": ([], 2, "Missing option '--guide'"),
    "minutes": (["-g", "guide.tif", "--minutes", "-1"], 2, "-1.0 is not in the range x>=0"),
    "factor": (["-g", "guide.tif", "--factor", "9"], 2, "--factor"),
    "output": (
        ["-g", "guide.tif", "--save-model", "out/fine.tif"],
        2,
        "the checkpoint's name must end in .safetensors: fine",
    ),
    "same": (["-g", "coarse.tif"], 3, "or name the factor with --factor"),
    "no finer": (
        ["-g", "coarse.tif", "-f", "2"],
        3,
        "the guide coarse.tif is no finer than the raster: it tells nothi",
    ),
    "none": (["-g", "none.tif"], 3, "no such file: none.tif"),
    "classical": (
        ["-g", "guide.tif", "--model", "cubic", "--save-model", "m.safetensors"],
        2,
        "cubic is a classical method, which has no file: --save-model needs a network",
    ),
    "nearest": (["-g", "guide.tif", "--model", "nearest"], 4, "model nearest cannot follow a guide"),
    "driver": (["-g", "guide.tif", "--driver", "netCDF"], 2, "driver netCDF is not opened"),
    "remote": (["-g", "https://example.org/g.tif"], 7, "remote input is not allowed"),
    "directions": (["-g", "guide.tif", "--as", "1=direction", "--as", "2=category"], 2, "holds categories or direct"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_line(scene, case):
    """With the exit code of its kind, and nothing is written."""
    options, code, words = REFUSED[case]
    folder = scene[0].parent
    done = processes.run("sharpen", "coarse.tif", "out/fine.tif", *options, cwd=str(folder))
    assert words in done.refused(code)
    assert not list((folder / "out").iterdir())
    assert sorted(each.name for each in folder.iterdir()) == ["coarse.tif", "guide.tif", "out"]


def test_an_output_is_replaced_only_if_told_to(scene):
    scene[2].write_bytes(b"old")
    assert "--overwrite" in sharpen(*scene).refused(5)
    assert scene[2].read_bytes() == b"old"
    assert sharpen(*scene, "--overwrite").code == 0


def test_a_warning_is_an_error_if_told_to(tmp_path, scene):
    """Before anything is written."""
    guide = write(tmp_path / "moved.tif", np.roll(read(scene[1]), 2, -1), **FINE)
    done = sharpen(scene[0], guide, scene[2])
    assert done.code == 0
    assert done.err.startswith("geofsrcnn: warning: W-SHIFT: what the guide shows lies 0.")
    scene[2].unlink()
    assert "W-SHIFT" in sharpen(scene[0], guide, scene[2], "--strict").refused(3)
    assert not scene[2].exists()


def test_options_of_rasters_hold(tmp_path, scene):
    """Bands, ranges, types, nodata, creation options."""
    done = sharpen(*scene, "--bidx", 2, "--range", 0, 60, "--dtype", "int16", "--co", "COMPRESS=LZW", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["verdict"]["bands"] == ["band 2"]
    with opened(scene[2]) as raster:
        assert (raster.count, raster.dtypes, raster.profile["compress"]) == (1, ("int16",), "lzw")
        assert raster.read().max() <= 60


def test_a_model_is_saved_and_taken_up(tmp_path, scene):
    """Of a scene on which nothing could be learned, what was known."""
    saved = tmp_path / "mine.safetensors"
    assert sharpen(*scene, "--save-model", saved).code == 0
    first = read(scene[2])
    done = sharpen(*scene, "--model", saved, "--overwrite")
    assert done.code == 0, done.err
    assert np.array_equal(read(scene[2]), first)
    assert "--overwrite" in sharpen(scene[0], scene[1], tmp_path / "b.tif", "--save-model", saved).refused(5)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_it_learns_leaves_nothing(tmp_path, name, code):
    """Neither an output nor a model nor a work file, and the inputs are as they were."""
    for folder in ("in", "out"):
        (tmp_path / folder).mkdir()
    coarse, guide = ground((112, 112), 1)
    paths = write(tmp_path / "in" / "a.tif", coarse), write(tmp_path / "in" / "g.tif", guide, **FINE)
    before, output = [state(path) for path in paths], tmp_path / "out" / "fine.tif"
    gate = Gate(tmp_path / "gate", at=4, places=STEPS)
    command = ("sharpen", paths[0], output, "-g", paths[1], "--save-model", output.parent / "m.safetensors")
    run = processes.start(*command, prelude=gate.prelude)
    gate.reached(run)
    run.send(signal.Signals[name])
    gate.asked(run)
    gate.open()
    done = run.wait()
    assert (done.code, done.out) == (code, "")
    assert done.err.splitlines()[-1] == "geofsrcnn: interrupted, no unfinished file is left"
    assert not list(output.parent.iterdir())
    assert [state(path) for path in paths] == before
