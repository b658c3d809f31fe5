"""The engine: blocks, tiles, threads and what happens when something goes wrong."""

from __future__ import annotations

import threading
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn.engine.base import BANDS, TILE, Job, Rule, band_groups
from geofsrcnn.engine.run import run
from geofsrcnn.engine.tile import KNOWN, _upscale, upscale_block, upscale_tile
from geofsrcnn.errors import ModelError
from geofsrcnn.grids.windows import Margin, Plan, Tile, Window
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.inference import Classical, Network
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.cells import Cells, spread
from geofsrcnn.values.kernels import resample
from tests.support.strategies import factors, masks, seeds, shapes

NO_MARGIN = Margin(0, 0, 0, 0)


class Memory:
    """Source and sink in memory that remember who called and in which order."""

    def __init__(self, values, factor, fail_read=None, fail_write=None):
        self.values, self.valid = values, np.ones(values.shape, bool)
        self.fine = np.full((values.shape[0], values.shape[1] * factor, values.shape[2] * factor), np.nan)
        self.fail_read, self.fail_write = fail_read, fail_write
        self.reads, self.writes = 0, []
        self.readers, self.encoders, self.writers = set(), set(), set()

    @property
    def shape(self):
        return self.values.shape

    def read(self, window, bands):
        self.reads += 1
        self.readers.add(threading.get_ident())
        if self.reads == self.fail_read:
            raise OSError("the disk is gone")
        index = (bands, *window.slices())
        return Cells(self.values[index], self.valid[index])

    def prepare(self, window, cells, bands):
        self.encoders.add(threading.get_ident())
        return partial(self.write, window, cells, bands)

    def write(self, window, cells, bands):
        self.writers.add(threading.get_ident())
        if len(self.writes) == self.fail_write:
            raise KeyboardInterrupt
        self.writes.append((window, bands))
        self.fine[(bands, *window.slices())] = cells.values


def plan_of(shape, tile_size, job):
    extent = Window(0, shape[0], 0, shape[1])
    return Plan(extent, extent, tile_size, job.reach, job.factor)


# Blocks


@given(shapes, factors, st.sampled_from(["bilinear", "cubic", "lanczos", "lanczos-bp"]), seeds)
def test_a_whole_raster_in_one_block_is_padded_at_its_edges(shape, factor, method, seed):
    """With no margin every side is the raster's edge: cells there are replicated."""
    x = np.random.default_rng(seed).normal(size=(1, *shape))
    found = upscale_block(Classical(method, factor), x, np.ones(x.shape, bool), NO_MARGIN)
    halo = Classical(method, factor).halo
    wide = resample(np.pad(x[0], halo, mode="edge"), factor, method)
    assert found.shape == (1, shape[0] * factor, shape[1] * factor)
    assert np.allclose(found[0], wide[halo * factor : -halo * factor, halo * factor : -halo * factor], atol=3e-6)


@given(st.tuples(*[st.integers(0, 14)] * 4), seeds)
def test_margins_beyond_the_halo_are_cut_and_shorter_ones_padded(random_network, margins, seed):
    """A block gives the cells of its core, whatever was read around it."""
    network = Network(random_network(2).model)
    halo = network.halo
    top, bottom, left, right = margins
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1, top + 5 + bottom, left + 6 + right))
    found = upscale_block(network, x, np.ones(x.shape, bool), Margin(*margins))
    spare = [max(m - halo, 0) for m in margins]
    cut = x[:, spare[0] : x.shape[1] - spare[1], spare[2] : x.shape[2] - spare[3]]
    short = [max(halo - m, 0) for m in margins]
    padded = np.pad(cut, [(0, 0), tuple(short[:2]), tuple(short[2:])], mode="edge")
    assert np.array_equal(found, network(torch.from_numpy(padded)[None]).numpy()[0])


@pytest.mark.parametrize("padding", ["replicate", "zeros", "reflect"])
def test_padding_is_the_models(random_network, padding):
    """Beyond the raster's edge lies what the model was trained with."""
    network = Network(random_network(3, padding=padding).model)
    x = np.random.default_rng(0).normal(size=(1, 9, 11)).astype(np.float32)
    mode = {"replicate": "edge", "zeros": "constant", "reflect": "reflect"}[padding]
    padded = np.pad(x, [(0, 0), (network.halo,) * 2, (network.halo,) * 2], mode=mode)
    found = upscale_block(network, x, np.ones(x.shape, bool), NO_MARGIN)
    assert np.array_equal(found, network(torch.from_numpy(padded)[None]).numpy()[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_keeps_its_type_and_its_input(random_network, dtype):
    """Results have the type of the values, and the values are left as they were."""
    x = np.random.default_rng(0).normal(size=(2, 9, 11)).astype(dtype)
    before = x.copy()
    found = upscale_block(
        Network(random_network(3).model), x, np.ones(x.shape, bool), NO_MARGIN, [Rule((-1.0, 1.0))] * 2
    )
    assert found.dtype == dtype
    assert np.array_equal(x, before)


def test_bands_of_a_single_channel_model_are_upscaled_apart(random_network):
    """Each band comes out as it would alone; a model of three channels mixes them."""
    x = np.random.default_rng(0).normal(size=(3, 12, 13)).astype(np.float32)
    valid = np.ones(x.shape, bool)
    network = Network(random_network(3).model)
    together = upscale_block(network, x, valid, NO_MARGIN)
    for band in range(3):
        alone = upscale_block(network, x[band : band + 1], valid[:1], NO_MARGIN)
        assert np.array_equal(alone[0], together[band])
    joined = Network(random_network(3, channels=3).model)
    first = upscale_block(joined, x, valid, NO_MARGIN)
    x[2] *= -1
    assert not np.allclose(upscale_block(joined, x, valid, NO_MARGIN)[0], first[0], atol=1e-3)


@settings(max_examples=60)
@given(st.data())
def test_bands_computed_together_are_what_each_is_alone(random_network, data):
    """To the last bit, for networks, classical methods and expected errors, within bounds or not, with missing cells.

    Grids of few cells go through the network many at a time, so that how they are grouped must not show.
    """
    factor = data.draw(st.sampled_from([2, 3, 4]))
    kind = data.draw(st.sampled_from(["network", "no surprises", "errors", "cubic", "lanczos-bp"]))
    if kind in ("cubic", "lanczos-bp"):
        model = Classical(kind, factor)
    elif kind == "errors":
        model = load_model(random_network(3, errors=True)).upsampler
    else:
        model = Network(random_network(factor, overshoot=0.5 if kind == "no surprises" else None).model)
    count, rows, columns = (data.draw(st.integers(1, most)) for most in (9, 14, 14))
    rng = np.random.default_rng(data.draw(seeds))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    values = rng.normal(size=(count, rows, columns)).astype(dtype)
    valid = rng.random(values.shape) < data.draw(st.sampled_from([0.7, 2.0]))
    bounds = data.draw(st.sampled_from([{}, {"natural": (0.0, np.inf)}, {"limits": (-0.5, 0.5)}]))
    rules = [Rule(**bounds if data.draw(st.booleans()) else {}) for _ in range(count)]
    window = Window(0, rows, 0, columns)
    job = Job(model, model.factor, rules, errors=kind == "errors")
    tile = Tile(window, window, window.refine(model.factor))
    together = upscale_tile(job, Cells(values, valid), tile, slice(0, count))
    for band in range(count):
        one = slice(band, band + 1)
        alone = upscale_tile(job, Cells(values[one], valid[one]), tile, one)
        assert np.array_equal(alone.values[0], together.values[band])
        if kind == "errors":
            assert np.array_equal(alone.errors[0], together.errors[band], equal_nan=True)


@pytest.mark.parametrize("name", ["small", "default"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 40), (3, 1), (10, 13), (20, 31), (72, 60)])
def test_shipped_models_give_each_of_many_times_what_it_gives_alone(name, factor, shape):
    """At sizes at which libraries may choose other ways of convolving."""
    model = load_model(name, factor).upsampler
    x = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    together = upscale_block(model, x, np.ones(x.shape, bool), NO_MARGIN)
    for band in range(5):
        alone = upscale_block(model, x[band : band + 1], np.ones((1, *shape), bool), NO_MARGIN)
        assert np.array_equal(alone[0], together[band])


def test_many_small_grids_take_few_calls(monkeypatch):
    """As many together as have the cells of a tile."""
    calls, compute = [], Classical.__call__
    monkeypatch.setattr(Classical, "__call__", lambda self, x: calls.append(x.shape) or compute(self, x))
    method = Classical("cubic", 2)
    for shape, together in (((10, 13), TILE**2 // (14 * 17)), ((160, 160), 1), ((1, 1), 1)):
        calls.clear()
        x = np.random.default_rng(0).normal(size=(200 if shape == (10, 13) else 3, *shape)).astype(np.float32)
        upscale_block(method, x, np.ones(x.shape, bool), NO_MARGIN)
        assert {each[0] for each in calls[:-1]} <= {together}
        assert len(calls) == -(-len(x) // together)


# Tiles


@given(shapes, factors, st.data())
def test_a_tile_is_valid_where_its_coarse_cells_are(random_network, shape, factor, data):
    """Validity is repeated; invalid fine cells hold what the coarse cell holds; valid ones are finite."""
    mask = data.draw(masks(shape))[None]
    values = np.where(mask, np.random.default_rng(0).normal(size=(1, *shape)), np.nan)
    window = Window(0, shape[0], 0, shape[1])
    job = Job(Network(random_network(factor).model), factor)
    cells = upscale_tile(job, Cells(values, mask), Tile(window, window, window.refine(factor)))
    assert np.array_equal(cells.valid, repeat(mask, factor))
    assert np.array_equal(np.isnan(cells.values), ~cells.valid)


def test_alpha_and_mask_are_repeated():
    """Alpha bands and the dataset's mask of the core are repeated as stored."""
    values = np.random.default_rng(0).normal(size=(1, 6, 7))
    alpha, mask = np.arange(42, dtype=np.uint16).reshape(1, 6, 7), np.arange(42, dtype=np.uint8).reshape(6, 7)
    tile = Tile(Window(2, 4, 1, 6), Window(0, 6, 0, 7), Window(0, 0, 0, 0))
    cells = upscale_tile(
        Job(Classical("bilinear", 2), 2), Cells(values, np.ones(values.shape, bool), alpha, mask), tile
    )
    assert np.array_equal(cells.alpha, repeat(alpha[:, 2:4, 1:6], 2))
    assert np.array_equal(cells.mask, repeat(mask[2:4, 1:6], 2))
    assert cells.values.shape == (1, 4, 10)


def test_without_a_model_cells_are_repeated_whatever_their_type():
    """Nearest repeats stored values, integers and complex numbers alike, and reads no halo."""
    values = np.array([[[1 + 2j, 3]]])
    window = Window(0, 1, 0, 2)
    cells = upscale_tile(Job(None, 3), Cells(values, np.ones(values.shape, bool)), Tile(window, window, window))
    assert np.array_equal(cells.values, repeat(values, 3))
    assert Job(None, 3).reach == 0
    assert Job(Classical("cubic", 3), 3).reach == 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, -0.1, 273.15, 101325.7, 1e-7, 2.0**60])
@pytest.mark.parametrize("name", ["small", "default", "cubic", "lanczos-bp", "bilinear"])
def test_networks_and_methods_repeat_a_constant(name, value, dtype):
    """To the last bit, for a field of any size: a flat tile needs none of them."""
    model = load_model(name, 3).upsampler
    for cells in (1, 5, 40):
        side = cells + 2 * model.halo
        found = model(torch.full((1, 1, side, side), value, dtype=dtype))
        assert torch.equal(found, torch.full((1, 1, 3 * cells, 3 * cells), value, dtype=dtype))


@pytest.mark.parametrize("odd_one", [None, (0, 0), (0, -1), (9, 8), (-1, -1), "missing", "infinite"])
def test_tiles_of_one_value_are_not_computed(monkeypatch, odd_one):
    """A single cell that differs, wherever it is, and the whole tile is."""
    computed, compute = [], Classical.__call__
    monkeypatch.setattr(Classical, "__call__", lambda self, x: computed.append(x.shape[-1]) or compute(self, x))
    job = Job(Classical("bilinear", 3), 3, [Rule(divisor=9)])
    values, valid = np.full((1, 20, 20), 7.5), np.ones((1, 20, 20), bool)
    if isinstance(odd_one, tuple):
        values[0][odd_one] = 8
    elif odd_one == "infinite":
        values[:] = np.inf
    elif odd_one:
        valid[0, 9, 8] = False
    core = Window(2, 18, 0, 20)
    cells = upscale_tile(job, Cells(values, valid), Tile(core, Window(0, 20, 0, 20), core.refine(3)))
    assert cells.values.shape == cells.valid.shape == (1, 48, 60)
    if odd_one is None:
        assert (cells.values == 7.5 / 9).all()
        assert cells.valid.all()
    assert (max(computed) > 20) == (odd_one is not None)


def test_zeros_around_a_raster_are_no_part_of_one_value(random_network):
    """A constant beside a padding of zeros is a step."""
    model = Network(random_network(3, padding="zeros").model)
    values, window = np.ones((1, 9, 9)), Window(0, 9, 0, 9)
    cells = upscale_tile(Job(model, 3), Cells(values, values > 0), Tile(window, window, window.refine(3)))
    assert np.ptp(cells.values) > 0


@given(st.data())
def test_what_is_known_of_one_value_is_what_a_job_without_memory_gives(random_network, data):
    """Bands, types, values, validity, alpha and mask are told apart, in any order."""
    model = data.draw(st.sampled_from([Network(random_network(2).model), Classical("cubic", 2), None]))
    rules = [Rule(divisor=4), Rule(limits=(0.0, 2.0)), Rule(natural=(2.0, 9.0)), Rule(divisor=9)]
    job = Job(model, 2, rules)
    window = Window(0, 6, 0, 7)
    tile = Tile(window, window, window.refine(2))
    for start in data.draw(st.permutations([0, 1, 2, 0])):
        bands, shape = slice(start, start + 2), (2, *window.shape)
        dtype = data.draw(st.sampled_from([np.float32, np.float64]))
        values = spread(np.array(data.draw(pairs_of([3.0, 7.0, np.nan])), dtype).reshape(2, 1, 1), shape[1:])
        valid = spread(np.array(data.draw(pairs_of([True, False]))).reshape(2, 1, 1), shape[1:]) & np.isfinite(values)
        mask = np.full(shape[1:], data.draw(st.sampled_from([0, 255])), np.uint8)
        alpha = data.draw(st.sampled_from([None, np.ones((1, *shape[1:]), np.uint8)]))
        cells = Cells(values, valid, alpha, mask)
        found, expected = upscale_tile(job, cells, tile, bands), _upscale(Job(model, 2, rules), cells, tile, bands)
        assert found.values.dtype == expected.values.dtype
        for name in ("values", "valid", "alpha", "mask"):
            assert np.array_equal(getattr(found, name), getattr(expected, name), equal_nan=name == "values"), name
    assert job.known or not valid.any()


@pytest.mark.parametrize("method", ["cubic", None])
def test_what_is_known_of_one_value_is_of_its_bands(method):
    """The same values in bands of another rule, or of another type, give something else."""
    model, window = None if method is None else Classical(method, 2), Window(0, 4, 0, 4)
    job = Job(model, 2, [Rule(), Rule(divisor=4)])
    tile = Tile(window, window, window.refine(2))
    for dtype in (np.float32, np.float64):
        for band, expected in ((0, 8), (1, 2), (0, 8)):
            values = np.full((1, 4, 4), 8, dtype)
            found = upscale_tile(job, Cells(values, values > 0), tile, slice(band, band + 1)).values
            assert found.dtype == dtype
            assert (found == expected).all()


def pairs_of(values):
    """Two of some values."""
    return st.lists(st.sampled_from(values), min_size=2, max_size=2)


def test_what_is_known_of_one_value_is_bounded():
    """A raster of many such tiles, each of another value, does not fill the memory."""
    job, window = Job(None, 2), Window(0, 2, 0, 2)
    for number in range(KNOWN + 5):
        values = np.full((1, 2, 2), number)
        cells = upscale_tile(job, Cells(values, values >= 0), Tile(window, window, window))
        assert (cells.values == number).all()
    assert len(job.known) <= KNOWN


# Runs


@pytest.mark.parametrize("workers", [1, 3])
def test_results_made_elsewhere_are_encoded_by_the_workers(workers):
    """They are taken in order by one thread, encoded by others, written in order; nothing is read or computed."""
    memory = Memory(np.random.default_rng(0).normal(size=(2, 11, 14)), 2)
    job, takers = Job(Classical("cubic", 2), 2), set()
    plan = plan_of((11, 14), 4, job)

    def results():
        for number, tile in enumerate(plan):
            takers.add(threading.get_ident())
            rows, columns = (2 * n for n in tile.core.shape)
            yield Cells(np.full((2, rows, columns), number), np.ones((2, rows, columns), bool))

    run(job, memory, memory, plan, workers, precomputed=results())
    assert memory.reads == 0
    assert len(takers) == 1
    assert (threading.get_ident() in memory.encoders) == (workers == 1)
    for number, tile in enumerate(plan):
        assert (memory.fine[(slice(None), *tile.write.slices())] == number).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_tiles_are_written_once_in_the_plans_order_by_the_caller(workers):
    """One thread reads, others compute and encode, the calling one writes in order, progress counts to the end."""
    memory = Memory(np.random.default_rng(0).normal(size=(BANDS + 3, 11, 14)), 2)
    job = Job(Classical("cubic", 2), 2)
    plan, seen = plan_of((11, 14), 4, job), []
    run(job, memory, memory, plan, workers, lambda done, total: seen.append((done, total)))
    groups = [slice(0, BANDS), slice(BANDS, BANDS + 3)]
    assert memory.writes == [(tile.write, bands) for tile in plan for bands in groups]
    assert memory.writers == {threading.get_ident()}
    assert len(memory.readers) == 1
    assert (memory.encoders == memory.writers) == (workers == 1)
    assert not memory.encoders & memory.writers or workers == 1
    assert seen == [(i + 1, 2 * len(plan)) for i in range(2 * len(plan))]
    expected = [resample(band, 2, "cubic") for band in memory.values]
    inside = (slice(None), slice(4, -4), slice(4, -4))
    assert np.allclose(memory.fine[inside], np.stack(expected)[inside], atol=1e-5)
    assert not np.isnan(memory.fine).any()


def test_torchs_threads_are_as_before_a_run():
    """A run leaves torch's number of threads alone."""
    before = torch.get_num_threads()
    memory = Memory(np.zeros((1, 9, 9)), 2)
    job = Job(Classical("cubic", 2), 2)
    run(job, memory, memory, plan_of((9, 9), 4, job), 2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [({"fail_read": 3}, OSError, "the disk is gone"), ({"fail_write": 2}, KeyboardInterrupt, "^$")],
)
def test_a_failure_goes_on_and_ends_the_threads(failure, error, message):
    """An error of the source and an interrupt in the calling thread come through; later tiles are not read."""
    before = threading.active_count()
    memory = Memory(np.zeros((1, 40, 40)), 2, **failure)
    job = Job(Classical("cubic", 2), 2)
    with pytest.raises(error, match=message):
        run(job, memory, memory, plan_of((40, 40), 4, job), 2)
    assert threading.active_count() == before
    assert len(memory.writes) == 2
    assert memory.reads < 20


def test_what_is_under_way_is_bounded():
    """No more than a few tiles for each worker are read ahead of what is written."""
    memory = Memory(np.zeros((1, 60, 60)), 2)
    ahead = []
    write = memory.write

    def watch(window, cells, bands):
        write(window, cells, bands)
        ahead.append(memory.reads - len(memory.writes))

    memory.write = watch
    job = Job(Classical("bilinear", 2), 2)
    run(job, memory, memory, plan_of((60, 60), 4, job), 2)
    assert len(memory.writes) == 225
    assert max(ahead) <= 5


def test_bands_go_together_only_where_the_model_joins_them(random_network):
    """A model of one channel takes any number of bands in bounded groups, one of three takes three."""
    one = Network(random_network(3).model)
    three = Network(random_network(3, channels=3).model)
    assert band_groups(2 * BANDS + 1, one) == [
        slice(0, BANDS),
        slice(BANDS, 2 * BANDS),
        slice(2 * BANDS, 2 * BANDS + 1),
    ]
    assert band_groups(3, three) == [slice(0, 3)]
    with pytest.raises(ModelError, match="the model takes 3 bands, the raster has 4"):
        band_groups(4, three)
