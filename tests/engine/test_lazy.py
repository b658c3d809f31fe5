"""Dask in, dask out: the same numbers as in memory in any chunking, nothing computed early, little sent about."""

from __future__ import annotations

import operator
import pickle

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn import load_checkpoint, upscale_array
from geofsrcnn.engine.base import Rule
from geofsrcnn.engine.lazy import Recipe, _at_least, upscale_chunks, upscale_chunks_with_errors
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.values.storage import Storage
from tests.support.clusters import local
from tests.support.rasters import terrain

SMALL = load_checkpoint("small", 3)
METHOD = load_model(SMALL, 3)
FLOATS = Storage.plain(np.dtype("float32"))
DOUBLES = Storage.plain(np.dtype("float64"))


def chunked(array: np.ndarray, chunks: object, **options: object) -> da.Array:
    """Upscaled lazily by the small model."""
    recipe = Recipe(SMALL, 3, **{"storage": Storage.plain(array.dtype), **options})
    return upscale_chunks(da.from_array(array, chunks=chunks), recipe, METHOD)


@st.composite
def chunkings(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """Any chunks that add up to a size."""
    cuts = sorted(draw(st.sets(st.integers(1, size - 1), max_size=5)))
    return tuple(int(n) for n in np.diff([0, *cuts, size]))


@settings(max_examples=30)
@given(data=st.data(), period=st.sampled_from([0, 60, 59]), holes=st.booleans())
def test_any_chunking_gives_the_same_numbers(data, period, holes):
    """Uneven chunks, chunks below the halo, chunks along bands; around the globe; with missing cells at seams."""
    field = terrain((3, 44, 60), seed=data.draw(st.integers(0, 99))).astype("float32")
    if holes:
        field[:, 17:20, 40:] = np.nan
    if period == 59:
        field[..., -1] = field[..., 0]
    chunks = data.draw(st.sampled_from([(3,), (1, 2), (1, 1, 1)])), data.draw(chunkings(44)), data.draw(chunkings(60))
    lazy = chunked(field, chunks, period=period)
    result = lazy.compute(scheduler="synchronous")
    assert lazy.shape == result.shape == (3, 132, 180)
    assert lazy.dtype == result.dtype == np.float32
    assert all(
        block.shape == tuple(c[0] for c in lazy.blocks[0, 0, 0].chunks) for block in [lazy.blocks[0, 0, 0].compute()]
    )
    expected = upscale_array(field, 3, SMALL, period=period, threads=1)
    assert np.array_equal(np.isnan(result), np.isnan(expected))
    assert np.nanmax(np.abs(result - expected)) < 1e-5


def test_nothing_is_computed_before_it_is_asked_for():
    """Building the graph reads no block."""

    def touched(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    source = da.zeros((60, 60), chunks=(20, 30), dtype="float32").map_blocks(touched, dtype="float32")
    lazy = upscale_chunks(source, Recipe(SMALL, 3, FLOATS), METHOD)
    assert lazy.chunks == ((60, 60, 60), (90, 90))


def test_limits_and_nodata_are_kept():
    """Bounds hold in every chunk, and stored marks stay where they were."""
    rng = np.random.default_rng(0)
    field = np.maximum(rng.normal(size=(40, 50)).cumsum(1), 0).astype("float32")
    field[10, 30] = -999
    lazy = chunked(field, (20, 25), rule=Rule((0.0, np.inf)), storage=Storage.plain(field.dtype, -999.0))
    result = lazy.compute(scheduler="synchronous")
    expected = upscale_array(field, 3, SMALL, nodata=-999, value_range=(0, np.inf), threads=1)
    assert np.abs(result - expected).max() < 1e-5
    assert np.sort(np.unique(result))[1] == 0
    assert (result == -999).sum() == 9


@pytest.mark.parametrize("model", ["lanczos-bp", "nearest"])
def test_classical_methods_run_lazily(model):
    """Named methods as well, categories of any integer type included."""
    field = (terrain((40, 50)) * 200).astype("uint8" if model == "nearest" else "float32")
    storage = Storage.plain(field.dtype, raw=model == "nearest")
    lazy = upscale_chunks(da.from_array(field, chunks=(13, 21)), Recipe(model, 2, storage), load_model(model, 2))
    assert np.array_equal(lazy.compute(scheduler="synchronous"), upscale_array(field, 2, model))


def test_a_chunk_takes_few_tasks_and_sends_strips_only():
    """At most five tasks a chunk, and what goes from chunk to chunk is a strip of what the network sees."""
    lazy = upscale_chunks(
        da.zeros((10, 400, 400), chunks=(1, 100, 100), dtype="float32"), Recipe(SMALL, 3, FLOATS), METHOD
    )
    tasks = dict(lazy.dask.layers[lazy.name])
    assert len(tasks) <= 5 * 160 + 1
    cuts = [task for task in tasks.values() if isinstance(task, tuple) and task[0] is operator.getitem]
    reach = 2 * METHOD.halo
    for _, _, index in cuts:
        sizes = [len(range(*part.indices(100))) for part in index[1:]]
        assert min(sizes) == reach


def test_chunks_are_merged_only_where_they_must():
    """Small ones join the next, the last one the one before."""
    assert _at_least((100, 100, 100), 14) == (100, 100, 100)
    assert _at_least((5,) * 12, 14) == (15, 15, 15, 15)
    assert _at_least((20, 20, 3), 14) == (20, 23)
    assert _at_least((3, 20, 20), 14) == (23, 20)
    assert _at_least((3, 2), 14) == (5,)


def test_the_recipe_travels():
    """Pickled it is the same recipe, with the same name in graphs."""
    recipe = Recipe(SMALL, 3, FLOATS, Rule((0.0, 1.0)))
    other = pickle.loads(pickle.dumps(recipe))
    assert other.identity == recipe.identity
    field = da.from_array(terrain((40, 50)), chunks=20)
    assert upscale_chunks(field, recipe, METHOD).name == upscale_chunks(field, other, METHOD).name
    assert upscale_chunks(field, Recipe(SMALL, 3, FLOATS), METHOD).name != upscale_chunks(field, recipe, METHOD).name


@settings(max_examples=15)
@given(data=st.data(), holes=st.booleans(), bounds=st.sampled_from([(-np.inf, np.inf), (0.0, 1.0)]))
def test_errors_are_those_in_memory_to_the_bit(random_network, data, holes, bounds):
    """Where chunks are the tiles: errors, and the values beside them."""
    checkpoint = random_network(3, data.draw(st.integers(0, 3)), errors=True)
    model = load_model(checkpoint)
    side, bands = data.draw(st.integers(2 * model.halo, 24)), data.draw(st.integers(1, 3))
    shape = bands, side * data.draw(st.integers(1, 3)), side * data.draw(st.integers(1, 3))
    field = terrain(shape, seed=data.draw(st.integers(0, 99))).astype(
        data.draw(st.sampled_from(["float32", "float64"]))
    )
    if holes:
        field[np.random.default_rng(1).random(shape) < 0.1] = np.nan
    recipe = Recipe(checkpoint, 3, Storage.plain(field.dtype), Rule(bounds))
    source = da.from_array(field, chunks=(data.draw(st.integers(1, bands)), side, side))
    values, errors = upscale_chunks_with_errors(source, recipe, model)
    limits = None if np.isinf(bounds).any() else bounds
    expected = upscale_array(field, 3, checkpoint, value_range=limits, tile_size=side, threads=1, error=True)
    lazy = values, errors, upscale_chunks(source, recipe, model)  # the last without errors, in the same graph
    found = dask.compute(*lazy, scheduler="synchronous")
    for array, result, eager in zip(lazy, found, (*expected, expected[0]), strict=True):
        assert array.dtype == result.dtype == eager.dtype
        assert np.array_equal(result, eager, equal_nan=True)


def test_values_and_errors_of_a_chunk_are_computed_once(random_network, monkeypatch):
    """Together they take the tasks of one, whether asked for as arrays or as a Dataset; one alone takes as many."""
    from geofsrcnn.engine import lazy

    computed = []
    compute = lazy._upscale_chunk

    def count(plan, row, column, *pieces):
        computed.append((row, column))
        return compute(plan, row, column, *pieces)

    monkeypatch.setattr(lazy, "_upscale_chunk", count)
    checkpoint = random_network(3, errors=True)
    field = da.from_array(terrain((60, 90)), chunks=30)
    values, errors = upscale_chunks_with_errors(field, Recipe(checkpoint, 3, DOUBLES), load_model(checkpoint))
    assert computed == []
    both = xr.Dataset({"values": (("y", "x"), values), "errors": (("y", "x"), errors)})
    for asked in (lambda: dask.compute(values, errors), both.compute, both.mean().compute, errors.compute):
        asked()
        assert sorted(computed) == list(np.ndindex(2, 3))
        computed.clear()


def test_on_a_cluster():
    """Two worker processes: the same numbers, one torch thread in a task, the model made once a worker."""
    distributed = pytest.importorskip("distributed")
    field = terrain((4, 60, 80)).astype("float32")
    with local(workers=2, threads=2) as cluster, distributed.Client(cluster) as client:
        result = chunked(field, (1, 20, 40)).compute()
        ready = client.run(_ready)
    assert np.array_equal(result, upscale_array(field, 3, SMALL, threads=1))
    assert list(ready.values()) == [1, 1]


def _ready() -> int:
    from geofsrcnn.networks import ready

    return len(ready._models)
