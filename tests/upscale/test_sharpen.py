"""Rasters sharpened by a guide: what the output is, what is refused, and that nothing is left of what fails."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from rasterio.enums import ColorInterp
from scipy import ndimage

from geofsrcnn.errors import GeofsrcnnWarning, InputError, LimitError, ModelError, OutputError, UsageError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.networks.guided import GUIDED
from geofsrcnn.training import own_scene
from geofsrcnn.training.guided_verdict import ALONE, AS_SHIPPED, LEARNED
from geofsrcnn.upscale.file import upscale_file
from geofsrcnn.upscale.sharpen import sharpen_file
from geofsrcnn.values.blocks import block_mean, repeat
from tests.support.rasters import NOWHERE, UTM, created, opened, read, state, write

SHAPE = (44, 50)
FINE = {**UTM, "transform": UTM["transform"] @ Affine.scale(1 / 2)}
QUICK = {"minutes": 0, "threads": 1}


def ground(shape=SHAPE, bands=2, seed=0):
    """Coarse bands, and a guide of as many bands that shows the same edges."""
    rng = np.random.default_rng(seed)
    base = 3 * ndimage.gaussian_filter(rng.normal(size=[2 * n for n in shape]), 1.2)
    own = [base + 0.3 * ndimage.gaussian_filter(rng.normal(size=base.shape), 1.0) for _ in range(2 * bands)]
    fine = np.stack(own)
    return block_mean(50 + 10 * fine[:bands], 2), fine[bands:]


@pytest.fixture
def scene(tmp_path):
    """A raster of one band, and its guide of two."""
    coarse, guide = ground()
    return write(tmp_path / "coarse.tif", coarse[:1].astype("float32")), write(tmp_path / "guide.tif", guide, **FINE)


@pytest.fixture
def output(tmp_path):
    """A name in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "fine.tif"


def test_the_output_is_like_the_raster(tmp_path, output):
    """Grid, CRS, type, names, units, nodata, tags and missing cells; and the guide and the verdict are noted."""
    coarse, guide = ground()
    coarse[0, 5:9, 7:11] = -99
    path = tmp_path / "coarse.tif"
    with created(path, coarse.shape, "float32", nodata=-99) as raster:
        raster.write(coarse.astype("float32"))
        raster.descriptions = ("red", "infrared")
        raster.units = ("1", "1")
        raster.update_tags(AREA_OR_POINT="Area", SENSOR="MSI")
    write(tmp_path / "guide.tif", guide, **FINE)
    before = state(path), state(tmp_path / "guide.tif")
    done = sharpen_file(path, output, tmp_path / "guide.tif", **QUICK)
    assert (state(path), state(tmp_path / "guide.tif")) == before
    verdict = done.verdict
    assert (verdict.chosen, verdict.bands, done.guides) == (AS_SHIPPED, ("red", "infrared"), ("as it is",))
    with opened(output) as raster:
        assert (raster.count, raster.shape, raster.crs) == (2, (88, 100), UTM["crs"])
        assert raster.transform.almost_equals(FINE["transform"])
        assert raster.dtypes == ("float32", "float32")
        assert (raster.descriptions, raster.units, raster.nodata) == (("red", "infrared"), ("1", "1"), -99)
        tags, values = raster.tags(), raster.read(masked=True)
    assert tags["SENSOR"] == "MSI"
    assert tags["GEOFSRCNN_GUIDE"] == "guide.tif (as it is)"
    assert tags["GEOFSRCNN_APPLIED"] == "with the guide"
    assert tags["GEOFSRCNN_VERDICT"] == verdict.words()
    assert tags["GEOFSRCNN_MODEL"].startswith("default-x2")
    assert np.array_equal(np.ma.getmaskarray(values), repeat(coarse == -99, 2))
    known = coarse != -99
    assert np.abs(block_mean(values.filled(0), 2) - coarse)[known].max() < 1e-4
    assert (done.summary.factor, done.summary.fine, done.summary.bands) == (2, (88, 100), 2)
    assert done.to_dict()["verdict"]["chosen"] == "with the guide"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_whole_numbers_stay_whole_numbers(tmp_path, scene, output, dtype):
    """Block means are kept to what rounding leaves, and differ from those without a guide within the blocks."""
    coarse = read(scene[0]).round().astype(dtype)
    path = write(tmp_path / "whole.tif", coarse)
    sharpen_file(path, output, scene[1], **QUICK)
    found = read(output)
    assert found.dtype == dtype
    assert np.abs(block_mean(found, 2) - coarse).max() <= 0.5
    upscale_file(path, output, 2, overwrite=True, threads=1)
    assert np.abs(found.astype(int) - read(output)).max() > 2


def test_packed_numbers_are_unpacked(tmp_path, scene, output):
    """By scale and offset; the output is packed alike."""
    values = read(scene[0])
    with created(tmp_path / "packed.tif", values.shape, "int16", nodata=-32768) as raster:
        raster.write(np.round((values - 40) / 0.01).astype("int16"))
        raster.scales, raster.offsets = (0.01,), (40.0,)
    done = sharpen_file(tmp_path / "packed.tif", output, scene[1], **QUICK)
    with opened(output) as raster:
        assert (raster.dtypes, raster.scales, raster.offsets, raster.nodata) == (("int16",), (0.01,), (40.0,), -32768)
        found = raster.read() * 0.01 + 40
    plain = sharpen_file(scene[0], output, scene[1], overwrite=True, **QUICK)
    assert np.abs(found - read(output)).max() < 0.05
    assert done.verdict.methods[0].rmse[0] == pytest.approx(plain.verdict.methods[0].rmse[0], rel=1e-2)


@pytest.mark.parametrize("mark", ["mask", "alpha"])
def test_masks_and_alpha_go_along(tmp_path, scene, output, mark):
    """What they hide is missing, does no harm, and is hidden in the output."""
    values = read(scene[0])[0].clip(1, 200).round().astype("uint8")
    hidden = np.zeros(SHAPE, bool)
    hidden[10:14, 20:30] = True
    found = []
    for rubbish in (0, 255):
        stored = np.where(hidden, rubbish, values).astype("uint8")
        with created(tmp_path / "a.tif", (1 + (mark == "alpha"), *SHAPE), "uint8") as raster:
            raster.write(stored, 1)
            if mark == "mask":
                raster.write_mask(~hidden)
            else:
                raster.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
                raster.write(255 * (~hidden).astype("uint8"), 2)
        sharpen_file(tmp_path / "a.tif", output, scene[1], overwrite=True, **QUICK)
        with opened(output) as raster:
            assert np.array_equal(raster.read_masks(1) == 0, repeat(hidden, 2))
            found.append(raster.read(1)[repeat(~hidden, 2)])
    assert np.array_equal(*found)


def test_guides_of_several_files_count_as_bands_of_one(tmp_path, scene, output):
    guide = read(scene[1])
    parts = [write(tmp_path / f"g{n}.tif", band, **FINE) for n, band in enumerate(guide)]
    done = sharpen_file(scene[0], output, parts, **QUICK)
    together = read(output)
    alone = sharpen_file(scene[0], output, scene[1], overwrite=True, **QUICK)
    assert np.array_equal(together, read(output))
    assert (done.guides, done.verdict) == (("as it is", "as it is"), alone.verdict)
    sharpen_file(scene[0], output, parts[0], overwrite=True, **QUICK)
    assert not np.array_equal(together, read(output))


def test_where_a_guide_is_missing_the_result_is_that_without(tmp_path, scene, output):
    """A cell of the coarse raster of which it shows a part only counts as missing."""
    guide = read(scene[1])
    guide[0, :, 41:] = np.nan
    sharpen_file(scene[0], output, write(tmp_path / "part.tif", guide, **FINE), **QUICK)
    found = read(output)
    upscale_file(scene[0], output, 2, overshoot="none", overwrite=True, threads=1)
    plain = read(output)
    assert np.abs(found - plain)[..., 40:].max() < 1e-4
    assert np.abs(found - plain)[..., 20:40].max() > 1


def test_categories_and_directions_come_out_as_without_a_guide(tmp_path, output):
    """Among other bands; of a raster that holds nothing else they are refused."""
    coarse, guide = ground(bands=3)
    coarse[1] = np.round(coarse[1]) % 5
    coarse[2] = coarse[2] * 7 % 360
    path, beside = write(tmp_path / "a.tif", coarse), write(tmp_path / "g.tif", guide, **FINE)
    kinds = {"2": "category", "3": "direction"}
    done = sharpen_file(path, output, beside, kinds=kinds, **QUICK)
    assert done.verdict.bands == ("band 1",)
    found = read(output)
    upscale_file(path, output, 2, kinds=kinds, overshoot="none", overwrite=True, threads=1)
    plain = read(output)
    assert np.array_equal(found[1], repeat(coarse[1], 2))
    assert np.abs(found[0] - plain[0]).max() > 1
    with pytest.raises(UsageError, match=r"a.tif holds categories or directions: a guide tells nothing of them"):
        sharpen_file(path, output, beside, bidx=(2, 3), kinds=kinds, overwrite=True, **QUICK)


def test_a_guide_of_noise_is_left_out(tmp_path, scene, output):
    """The result is then that of upscale to the last bit, but for the tags; unless it is always to be followed."""
    noise = np.random.default_rng(1).normal(size=(3, 88, 100))
    path = write(tmp_path / "noise.tif", noise, **FINE)
    done = sharpen_file(scene[0], output, path, **QUICK)
    assert done.verdict.chosen == ALONE
    found = read(output)
    with opened(output) as raster:
        assert raster.tags()["GEOFSRCNN_APPLIED"] == "without the guide"
        assert raster.tags()["GEOFSRCNN_VERDICT"].startswith("the guide does not help")
    upscale_file(scene[0], output, 2, overwrite=True, threads=1)
    assert np.array_equal(found, read(output))
    done = sharpen_file(scene[0], output, path, always=True, overwrite=True, **QUICK)
    assert done.verdict.chosen == AS_SHIPPED
    assert not np.array_equal(found, read(output))


def test_a_part_within_bounds_is_that_of_the_whole(tmp_path, scene, output):
    """The guide lies where it lies."""
    sharpen_file(scene[0], output, scene[1], **QUICK)
    whole = read(output)
    x, y = UTM["transform"] * (12, 30)
    sharpen_file(scene[0], output, scene[1], bounds=(x, y, x + 30 * 20, y + 30 * 15), overwrite=True, **QUICK)
    assert np.abs(read(output) - whole[:, 30:60, 24:64]).max() < 1e-3


def test_around_the_globe_the_guide_goes_along(tmp_path, output):
    """Without a seam, and in a part that goes over the edge of the raster."""
    coarse, guide = ground((30, 60), bands=1)
    turned = [np.roll(each, shift, -1) for each, shift in ((coarse, 20), (guide, 40))]
    degrees = {"crs": "EPSG:4326", "transform": Affine(6, 0, -180, 0, -6, 90)}
    finer = {**degrees, "transform": Affine(3, 0, -180, 0, -3, 90)}
    found = []
    for number, (field, beside) in enumerate(((coarse, guide), turned)):
        paths = [tmp_path / f"{name}{number}.tif" for name in ("a", "g")]
        write(paths[0], field, **degrees), write(paths[1], beside, **finer)
        sharpen_file(paths[0], output, paths[1], always=True, overwrite=True, **QUICK)
        found.append(read(output))
    assert np.abs(np.roll(found[0], 40, -1) - found[1]).max() < 1e-3
    sharpen_file(
        tmp_path / "a0.tif",
        output,
        tmp_path / "g0.tif",
        bounds=(150, -60, 240, 60),
        always=True,
        overwrite=True,
        **QUICK,
    )
    expected = np.concatenate([found[0][:, 10:50, 110:], found[0][:, 10:50, :20]], -1)
    assert read(output).shape == expected.shape
    assert np.abs(read(output) - expected).max() < 1e-3


def test_what_was_learned_is_kept_and_taken_up(monkeypatch, tmp_path, output):
    """A saved model applies as it is what was learned, on this scene and on others of the same bands."""
    monkeypatch.setattr(own_scene, "LESSON", replace(own_scene.LESSON, steps=20, validate_every=10))
    coarse, guide = ground((112, 112), bands=1)
    paths = write(tmp_path / "a.tif", coarse), write(tmp_path / "g.tif", guide, **FINE)
    saved = tmp_path / "mine.safetensors"
    done = sharpen_file(paths[0], output, paths[1], save_model=saved, threads=1)
    assert (done.verdict.chosen, done.verdict.steps) == (LEARNED, 20)
    first = read(output)
    checkpoint = load_checkpoint(saved)
    values = checkpoint.sections[GUIDED].values
    told = values["held_out"]
    assert (told["what"], told["steps"], told["bands"]) == (done.verdict.words(), 20, ["band 1"])
    assert set(checkpoint.sections) == set(load_checkpoint("default", 2).sections)
    again = sharpen_file(paths[0], output, paths[1], model=saved, overwrite=True, **QUICK)
    assert again.verdict.chosen == AS_SHIPPED
    assert np.array_equal(read(output), first)
    default = sharpen_file(paths[0], output, paths[1], overwrite=True, **QUICK)
    assert again.verdict.score(AS_SHIPPED).ratio < default.verdict.score(AS_SHIPPED).ratio
    upscale_file(paths[0], output, 2, model=saved, overwrite=True, threads=1)
    plain = read(output)
    upscale_file(paths[0], output, 2, overwrite=True, threads=1)
    assert np.array_equal(plain, read(output))


def untouched(*_, **__):
    raise AssertionError("the learning has begun")


REFUSED = {
    "no guide": ({"guide": []}, UsageError, "sharpen needs a guide: name a finer raster with guide="),
    "minutes": ({"minutes": -1}, UsageError, "minutes must be a number from 0, got -1"),
    "no minutes": ({"minutes": float("nan")}, UsageError, "minutes must be a number from 0, got nan"),
    "errors": ({"error": True}, UsageError, "guided networks give no expected error: leave out error=True and error_f"),
    "NetCDF": ({"dst": "a.nc"}, UsageError, "sharpen writes a GeoTIFF, whose name must end in .tif or .tiff: a.nc"),
    "output is the guide": ({"dst": "guide.tif"}, UsageError, "output is the input"),
    "output is the raster": ({"dst": "coarse.tif"}, UsageError, "output is the input"),
    "model's name": ({"save_model": "m.pt"}, UsageError, "the checkpoint's name must end in .safetensors: m.pt"),
    "model that exists": ({"save_model": "there.safetensors"}, OutputError, "there.safetensors"),
    "model on itself": (
        {"save_model": "there.safetensors", "model": "there.safetensors"},
        UsageError,
        "output is the input",
    ),
    "model of none": (
        {"save_model": "m.safetensors", "model": "lanczos-bp"},
        UsageError,
        "lanczos-bp is a classical method, which has no file: save_model= needs a network",
    ),
    "nearest": ({"model": "nearest"}, ModelError, "model nearest cannot follow a guide: take a shipped network (defa"),
    "factor": ({"factor": 9}, UsageError, "factor must be"),
    "factor of the guide": ({"guide": "coarse.tif"}, InputError, "the guide coarse.tif is 1 times finer than the rast"),
    "no finer guide": (
        {"guide": "coarse.tif", "factor": 2},
        InputError,
        "the guide coarse.tif is no finer than the raster: it tells nothing of finer cells",
    ),
    "second guide": (
        {"guide": ["guide.tif", "coarse.tif"]},
        InputError,
        "the guide coarse.tif is no finer than the raster: it tells nothing of finer cells",
    ),
    "elsewhere": ({"guide": "far.tif"}, InputError, "the guide far.tif does not cover any of the raster: does it show"),
    "nowhere": ({"guide": "nowhere.tif"}, InputError, "the guide nowhere.tif or the raster has no transform: name th"),
    "shape": ({"guide": "nowhere.tif", "factor": 2}, InputError, "the guide nowhere.tif cannot be placed: both raste"),
    "missing guide": ({"guide": "none.tif"}, InputError, "no such file: "),
    "complex": ({"guide": "complex.tif"}, InputError, "the guide complex.tif has no band of real numbers"),
    "predictors": ({"also": ["guide.tif"]}, UsageError, "also= is for models that were trained on pairs"),
    "group": ({"group": "a"}, UsageError, "group="),
    "option": ({"colour": 1}, UsageError, "unknown arguments colour"),
    "cells": ({"max_pixels": 100}, LimitError, "max_pixels="),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_the_learning(tmp_path, scene, case, monkeypatch):
    """In one line each, with nothing written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("geofsrcnn.training.own_scene._read", untouched)
    guide = read(scene[1])
    write(tmp_path / "far.tif", guide, crs=UTM["crs"], transform=Affine(15, 0, 9e5, 0, -15, 6e6))
    write(tmp_path / "nowhere.tif", guide[:, :, :-1], **NOWHERE)
    write(tmp_path / "complex.tif", guide.astype("complex64"), **FINE)
    (tmp_path / "there.safetensors").write_bytes(b"old")
    options, error, words = REFUSED[case]
    options = {"src": "coarse.tif", "dst": "new.tif", "guide": "guide.tif", **options}
    before = state(tmp_path / "coarse.tif")
    with pytest.raises(error) as caught:
        sharpen_file(**options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(tmp_path / "coarse.tif") == before


def test_an_output_that_exists_is_refused_before_the_learning(scene, output, monkeypatch):
    output.write_bytes(b"old")
    monkeypatch.setattr("geofsrcnn.training.own_scene._read", untouched)
    with pytest.raises(OutputError, match=r"fine\.tif"):
        sharpen_file(*(scene[0], output, scene[1]))
    assert output.read_bytes() == b"old"


def test_a_disk_that_is_too_small_is_told_before_the_learning(scene, output, monkeypatch):
    monkeypatch.setattr("geofsrcnn.upscale.task.free_bytes", lambda _: 0)
    monkeypatch.setattr("geofsrcnn.training.own_scene._read", untouched)
    with pytest.raises(LimitError, match="free"):
        sharpen_file(*(scene[0], output, scene[1]))


@pytest.mark.parametrize("when", ["learning", "writing"])
def test_what_is_interrupted_leaves_nothing(tmp_path, output, when):
    """Neither a part of the output nor a work file, and an old output stays what it is."""
    coarse, guide = ground((112, 112), bands=1)
    paths = write(tmp_path / "a.tif", coarse), write(tmp_path / "g.tif", guide, **FINE)
    output.write_bytes(b"old")

    def stop(*done):
        if when == "writing" or done[0] > 0:
            raise KeyboardInterrupt

    minutes, how = (5, {"each_step": stop}) if when == "learning" else (0, {"progress": stop})
    with pytest.raises(KeyboardInterrupt):
        sharpen_file(*(paths[0], output, paths[1]), minutes=minutes, overwrite=True, **how)
    assert [each.name for each in output.parent.iterdir()] == ["fine.tif"]
    assert output.read_bytes() == b"old"


def warned(*args, **options):
    """The package's own warnings of a run."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GeofsrcnnWarning)
        sharpen_file(*args, **QUICK, **options)
    return [str(each.message) for each in found]


@pytest.mark.parametrize(
    ("east", "south", "words"),
    [
        (15, 0, r"^W-SHIFT: what the guide shows lies 0.0\d rows too far (up|down) and 0.(49|5\d) columns too far to "),
        (0, -30, r"^W-SHIFT: what the guide shows lies (0.9\d|1.0\d) rows too far up and 0.0\d columns too far to"),
    ],
)
def test_a_guide_that_lies_elsewhere_is_told(tmp_path, scene, output, east, south, words):
    """By how much, and which way: a guide that is said to lie further north shows everything too far up."""
    t = FINE["transform"]
    moved = Affine(t.a, t.b, t.c + east, t.d, t.e, t.f - south)
    found = warned(scene[0], output, write(tmp_path / "moved.tif", read(scene[1]), crs=UTM["crs"], transform=moved))
    assert len(found) == 1
    assert re.search(words, found[0])
    assert found[0].endswith("put one of them right (gdal_translate -a_ullr)")
    assert ("to the right" in found[0]) or not east


def test_a_guide_that_is_coarser_than_the_result_is_told(scene, output):
    """One scale coarser it shows all that is there, at the scale of the result it does not."""
    found = warned(scene[0], output, scene[1], factor=4)
    words = "the cells of the guide guide.tif are 2 times as large as those of the result"
    assert found == [f"W-GUIDE: {words}: it helps less than the table says"]
    assert not warned(scene[0], output, scene[1], overwrite=True)
