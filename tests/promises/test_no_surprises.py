"""Promise 6: a fine cell leaves the range of its 3 x 3 coarse cells by at most a stated share of it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import geofsrcnn  # noqa: F401  registers the accessor
from geofsrcnn import load_checkpoint, load_model, upscale_array, upscale_dataset, upscale_file, upscale_files
from geofsrcnn.errors import GeofsrcnnWarning, UsageError
from geofsrcnn.networks.checkpoint import shipped_models
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.fill import fill
from geofsrcnn.values.kernels import CLASSICAL
from tests.support import processes
from tests.support.rasters import blocks, read, terrain, write
from tests.support.strategies import factors, fields, masks, seeds, tile_sizes

FORMS = st.sampled_from(
    [
        {},
        {"prelu": "channel"},
        {"skip": "cubic"},
        {"skip": "none"},
        {"conserving": "none"},
        {"conserving": "none", "skip": "none"},
        {"conserving": "none", "skip": "none", "unit_free": False, "bias": True},
        {"conserving": "none", "skip": "none", "unit_free": False, "pad_layers": True},
    ]
)
"""Forms of the network that know no bounds of their own."""
shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
MODELS = [(path.stem, load_checkpoint(path).config.factor) for path in shipped_models()]


def around(coarse):
    """Smallest and largest of the 3 x 3 cells, those at the edge repeated."""
    return (each(coarse, 3, mode="nearest") for each in (ndimage.minimum_filter, ndimage.maximum_filter))


def excess(coarse, fine, factor, share):
    """How far fine cells lie beyond the bounds, at or below 0 where they do not."""
    low, high = around(coarse)
    spare = share * (high - low)
    return np.maximum(repeat(low - spare, factor) - fine, fine - repeat(high + spare, factor))


def rounding(coarse, fine):
    """What the type of the result leaves open."""
    return 4 * np.finfo(fine.dtype).eps * (np.abs(coarse).max() + np.ptp(coarse)) + 1e-300


@given(factors, FORMS, shares, st.sampled_from(["float32", "float64"]), st.sampled_from([0.0, 101325.0]), st.data())
def test_no_cell_leaves_the_range_by_more(random_network, factor, form, share, dtype, middle, data):
    """For any weights and any field, and blocks keep their means."""
    coarse = data.draw(fields(middle=middle, width=10.0, dtype=dtype))
    model = random_network(factor, seed=data.draw(st.integers(0, 2)), **form)
    fine = upscale_array(coarse, factor, model, overshoot=share, threads=1)
    assert excess(coarse, fine, factor, share).max() <= rounding(coarse, fine)
    if model.config.conserving != "none":
        assert np.abs(block_mean(fine, factor) - coarse).max() <= rounding(coarse, fine)


@given(factors, shares, seeds)
def test_networks_that_keep_above_zero_keep_to_both(random_network, factor, share, seed):
    """At or above 0, within the range around, and block means kept."""
    rain = np.clip(np.random.default_rng(seed).normal(0, 5, (12, 14)), 0, None)
    fine = upscale_array(rain, factor, random_network(factor, conserving="positive"), overshoot=share, threads=1)
    assert fine.min() >= 0
    assert excess(rain, fine, factor, share).max() <= rounding(rain, fine)
    assert np.abs(block_mean(fine, factor) - rain).max() <= rounding(rain, fine)


@pytest.mark.parametrize("method", CLASSICAL)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_classical_methods_without_ringing(method, share):
    """They keep to the share that is asked for; those that keep means still do."""
    coarse = np.random.default_rng(0).normal(size=(20, 24)).cumsum(0)
    coarse[8:, 10:] += 30
    fine = upscale_array(coarse, 3, method, overshoot=share)
    assert excess(coarse, fine, 3, share).max() <= rounding(coarse, fine)
    if method.endswith("-c"):
        assert np.abs(block_mean(fine, 3) - coarse).max() <= 1e-5
    free = upscale_array(coarse, 3, method)
    assert np.array_equal(upscale_array(coarse, 3, method, overshoot="none"), free)
    if method.startswith("lanczos"):
        assert excess(coarse, free, 3, share).max() > 0.3  # an edge of 30 rings


@pytest.mark.parametrize(("name", "factor"), MODELS)
def test_shipped_models_keep_to_half_the_range_by_themselves(name, factor):
    """Nothing has to be asked for."""
    assert load_checkpoint(name, factor).config.overshoot == 0.5
    coarse = np.random.default_rng(4).choice([0.0, 0.1, 5.0], size=(30, 33), p=[0.8, 0.15, 0.05])
    fine = upscale_array(coarse, factor, name)
    assert excess(coarse, fine, factor, 0.5).max() <= rounding(coarse, fine)
    assert factor == 2 or excess(coarse, upscale_array(coarse, factor, name, overshoot="none"), factor, 0.5).max() > 0


@pytest.mark.parametrize(("name", "factor"), MODELS)
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_shipped_models_keep_to_the_range(name, factor, share):
    """Each keeps to a half where it is asked for, and to less, and means are kept."""
    rng = np.random.default_rng(1)
    for coarse in (rng.normal(size=(30, 33)), np.round(rng.normal(size=(30, 33)).cumsum(0).cumsum(1))):
        coarse[5, 6] += 30
        fine = upscale_array(coarse, factor, name, overshoot=share)
        assert excess(coarse, fine, factor, share).max() <= rounding(coarse, fine)
        assert np.abs(block_mean(fine, factor) - coarse).max() <= rounding(coarse, fine)
        free = upscale_array(coarse, factor, name, overshoot="none")
        assert share == 0.5 or excess(coarse, free, factor, share).max() > 0.1


@given(factors, FORMS, st.data())
def test_blocks_within_the_range_are_the_same_to_the_last_bit(random_network, factor, form, data):
    """Only blocks with a cell beyond are touched."""
    coarse = data.draw(fields(width=10.0))
    model = random_network(factor, **form)
    free, limited = (upscale_array(coarse, factor, model, overshoot=k, threads=1) for k in ("none", 0.25))
    beyond = (blocks(excess(coarse, free, factor, 0.25), factor) > -1e-12).any(-1)
    assert np.array_equal(limited[~repeat(beyond, factor)], free[~repeat(beyond, factor)])


@given(factors, st.tuples(*[st.floats(-50, 50)] * 2), st.sampled_from([0.0, 101325.0]))
def test_planes_are_untouched(random_network, factor, slopes, offset):
    """They never leave the range, so no bit of them changes away from edges, whatever the share."""
    y, x = np.mgrid[:12, :14]
    plane = offset + slopes[0] * y + slopes[1] * x
    free, limited = (upscale_array(plane, factor, random_network(factor), overshoot=k) for k in ("none", 0.0))
    halo = random_network(factor).config.halo * factor
    assert np.array_equal(free[halo:-halo, halo:-halo], limited[halo:-halo, halo:-halo])


@given(factors, tile_sizes, st.integers(1, 3), st.data())
def test_tiled_is_whole(random_network, factor, tile_size, threads, data):
    """The cells around are those of the whole field, not of a tile; missing ones are filled alike."""
    coarse = data.draw(fields(middle=data.draw(st.sampled_from([0.0, 101325.0])), width=10.0))
    coarse[~data.draw(masks(coarse.shape))] = np.nan
    model = random_network(factor)
    whole = upscale_array(coarse, factor, model, overshoot=0.1, tile_size=1000, threads=1)
    tiled = upscale_array(coarse, factor, model, overshoot=0.1, tile_size=tile_size, threads=threads)
    assert np.array_equal(np.isnan(tiled), np.isnan(whole))
    assert (np.abs(np.nan_to_num(tiled) - np.nan_to_num(whole)) <= 1e-4).all()


@given(
    factors,
    st.sampled_from([{}, {"skip": "cubic"}, {"conserving": "none"}]),
    st.integers(-20, 20),
    st.integers(-9999, 9999),
)
def test_scale_and_offset_pass_through(random_network, factor, form, power, offset):
    """U(a X + b) = a U(X) + b with a limit as without one: the range around scales as the values do."""
    coarse = np.random.default_rng(power % 7).integers(-1024, 1024, (9, 12)) / 64
    a, b = 2.0**power, float(offset) * 2.0**power
    model = random_network(factor, **form)
    base = upscale_array(coarse, factor, model, overshoot=0.25, threads=1)
    found = upscale_array(a * coarse + b, factor, model, overshoot=0.25, threads=1)
    assert np.abs((found - b) / a - base).max() <= 1e-5 * np.ptp(coarse)


@given(factors, shares, st.data())
def test_missing_cells_around_are_those_that_the_network_sees(random_network, factor, share, data):
    """Filled from their neighbours, and so may widen the range; what stands under the mask does not matter."""
    coarse = data.draw(fields(width=10.0))
    valid = data.draw(masks(coarse.shape))
    model = random_network(factor)
    one, other = (
        upscale_array(np.where(valid, coarse, rubbish), factor, model, valid=valid, overshoot=share, threads=1)
        for rubbish in (np.nan, 1e30)
    )
    there = repeat(valid, factor)
    assert np.array_equal(one[there], other[there])
    seen = fill(coarse[None], valid[None], 2)[0]
    assert (excess(seen, one, factor, share)[there] <= rounding(coarse, one)).all()


@pytest.mark.parametrize("model", ["default", "small", "lanczos", "lanczos-c", "lanczos-bp", "bilinear-bp"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_a_range_is_kept_as_well(model, share):
    """Both bounds hold, and means within them where the method keeps means."""
    levels, frequency = [0, 0.02, 0.05, 0.1, 0.5, 1], [0.3, 0.2, 0.2, 0.1, 0.1, 0.1]
    coarse = np.random.default_rng(138).choice(levels, size=(24, 24), p=frequency)
    fine = upscale_array(coarse, 2, model, value_range=(0, 10), overshoot=share)
    assert fine.min() >= 0
    assert excess(coarse, fine, 2, share).max() <= rounding(coarse, fine)
    if model in ("default", "small", "lanczos-c"):
        assert np.abs(block_mean(fine, 2) - coarse).max() <= 1e-6


def test_cells_beyond_a_range_come_out_at_its_end():
    """Where the range leaves no room around a coarse cell, the range wins."""
    coarse = np.random.default_rng(2).uniform(0, 1, (20, 20))
    coarse[10, 10:12], coarse[5, 5:8] = 9.0, -9.0
    with pytest.warns(GeofsrcnnWarning, match="W-RANGE"):
        fine = upscale_array(coarse, 3, "default", value_range=(0, 1), overshoot=0.1)
    assert (fine[30:33, 30:36] == 1).all()
    assert (fine[15:18, 15:24] == 0).all()
    assert fine.min() == 0
    assert fine.max() == 1


def test_the_sea_beside_mountains_stays_level_where_its_neighbours_are():
    """Flat 3 x 3 cells stay flat to the last bit, however near the mountains are."""
    coarse = np.zeros((20, 20))
    coarse[:, 12:] = 3000
    fine = upscale_array(coarse, 3, "lanczos", overshoot=0.5)
    assert (fine[:, : 3 * 11] == 0).all()
    assert (upscale_array(coarse, 3, "lanczos")[:, : 3 * 11] != 0).any()


def crane():
    """A surface model: a plain that rises by 1 m in 40 cells, with one cell of 30 m."""
    surface = 100 + np.add.outer(np.zeros(36), np.arange(40) / 40)
    surface[18, 20] += 30
    return surface.astype("float32")


@pytest.mark.parametrize("model", ["small", "default", "lanczos-bp"])
def test_a_crane_on_a_plain_digs_no_pits(tmp_path, model):
    """One cell of 30 m above a plain is no higher, and the plain around no lower, than by half of its height."""
    coarse = crane()
    fine = upscale_array(coarse, 3, model, overshoot=0.5)
    assert excess(coarse, fine, 3, 0.5).max() <= rounding(coarse, fine)
    plain = upscale_array(np.where(coarse > 110, 100.5, coarse), 3, model, overshoot=0.5)
    untouched = ndimage.maximum_filter(coarse, 3) < 110
    assert excess(coarse, fine, 3, 0.5)[repeat(untouched, 3)].max() <= rounding(coarse, fine)
    assert np.abs(fine - plain)[repeat(untouched, 3)].max() < 0.1  # of 30 m, a cell away
    source = write(tmp_path / "dsm.tif", coarse, crs="EPSG:32633")
    upscale_file(source, tmp_path / "fine.tif", 3, model, overshoot=0.5)
    assert np.array_equal(read(tmp_path / "fine.tif", 1), fine)


@pytest.mark.parametrize(("model", "share"), [("lanczos", 0.0), ("small", 0.1), ("small", "none")])
def test_all_entrances_take_it(tmp_path, model, share):
    """Arrays, files, datasets, lazy ones, a batch, and a model that was loaded so, give the same."""
    coarse = crane()
    wanted = upscale_array(coarse, 3, model, overshoot=share)
    assert (not np.array_equal(wanted, upscale_array(coarse, 3, model, overshoot=0.25))) or share == 0.25
    source = write(tmp_path / "dsm.tif", coarse, crs="EPSG:32633")
    coordinates = {"y": np.arange(36.0)[::-1] * 10, "x": np.arange(40.0) * 10}
    ds = xr.Dataset({"z": (("y", "x"), coarse)}, coordinates)
    ready = load_model(model, 3, overshoot=share)
    found = {
        "dataset": upscale_dataset(ds, 3, model, overshoot=share)["z"],
        "lazy": ds.chunk(y=20, x=20).fsrcnn.upscale(3, model, overshoot=share)["z"],
        "array": ds["z"].fsrcnn.upscale(3, model, overshoot=share),
        "tree": xr.DataTree(ds).fsrcnn.upscale(3, model, overshoot=share)["z"],
        "loaded": upscale_array(coarse, 3, ready),
        "loaded, lazy": ds.chunk(y=20, x=20).fsrcnn.upscale(3, ready)["z"],
    }
    upscale_file(source, tmp_path / "fine.tif", 3, model, overshoot=share)
    found["file"] = read(tmp_path / "fine.tif", 1)
    for name, kwargs in {"batch": {"model": model, "overshoot": share}, "batch, loaded": {"model": ready}}.items():
        folder = tmp_path / name
        assert upscale_files([source], folder, 3, workers=1, **kwargs).failed == []
        found[name] = read(next(folder.glob("*.tif")), 1)
    for name, fine in found.items():
        assert np.allclose(np.asarray(fine), wanted, rtol=0, atol=2e-5), name


def test_the_command_line_takes_it(tmp_path):
    """A number, or the word none, in `upscale` and in `batch`."""
    coarse = crane()
    source = write(tmp_path / "dsm.tif", coarse, crs="EPSG:32633")
    for text, share in (("0", 0.0), ("none", "none")):
        wanted = upscale_array(coarse, 3, "lanczos", overshoot=share)
        options = ("-f", "3", "-m", "lanczos", "--overshoot", text)
        assert processes.run("upscale", source, tmp_path / f"{text}.tif", *options).code == 0
        assert np.array_equal(read(tmp_path / f"{text}.tif", 1), wanted)
        assert processes.run("batch", source, "-o", tmp_path / text, *options, "--workers", "1").code == 0
        assert np.array_equal(read(next((tmp_path / text).glob("*.tif")), 1), wanted)


def test_a_network_that_is_trained_so_keeps_to_it(tmp_path):
    """From the command line, and its card says so."""
    source = write(tmp_path / "fine.tif", terrain((160, 200)).astype("float32"), crs="EPSG:32633")
    model = tmp_path / "m.safetensors"
    options = ("-f", "2", "--size", "small", "--steps", "2", "--patch", "8", "--batch-size", "2", "--overshoot", "0.25")
    assert processes.run("train", source, "-o", model, *options).code == 0
    assert load_checkpoint(model).config.overshoot == 0.25
    assert "overshoot 0.25" in " ".join(processes.run("info", model).out.split())
    assert excess(crane(), upscale_array(crane(), 2, model), 2, 0.25).max() <= 1e-4


def test_lazy_results_of_another_share_have_another_name():
    """Dask keeps results by name."""
    ds = xr.Dataset({"z": (("y", "x"), crane())}).chunk()
    names = {ds.fsrcnn.upscale(3, "small", overshoot=k)["z"].data.name for k in (0.1, 0.2, "none")}
    assert len(names) == 3


def test_a_model_says_its_own_share(random_network):
    """A configuration's share is the default of a run; a run's own replaces it."""
    coarse = np.random.default_rng(3).normal(size=(12, 13))
    model = random_network(3, overshoot=0.0)
    fine = upscale_array(coarse, 3, model)
    assert excess(coarse, fine, 3, 0.0).max() <= rounding(coarse, fine)
    free = upscale_array(coarse, 3, model, overshoot="none")
    assert excess(coarse, free, 3, 0.0).max() > 0.1
    assert np.array_equal(free, upscale_array(coarse, 3, random_network(3)))
    assert np.array_equal(fine, upscale_array(coarse, 3, random_network(3), overshoot=0))


@pytest.mark.parametrize("wrong", [-0.1, 1.5, "all", True, float("nan"), (0, 1)])
def test_what_is_no_share_is_refused(wrong):
    """With the same words, by arrays and by models."""
    words = "overshoot= must be a number from 0 to 1, or none"
    with pytest.raises(UsageError, match=words):
        upscale_array(crane(), 3, "lanczos", overshoot=wrong)
    with pytest.raises(UsageError, match=words):
        load_model("lanczos", 3, overshoot=wrong)
