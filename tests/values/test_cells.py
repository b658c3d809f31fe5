"""Masks, filling and encoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.values.cells import Cells, is_one_value, join_bands, spread
from geofsrcnn.values.encoding import Missing, Packing, stored_nodata, to_stored
from geofsrcnn.values.fill import fill
from geofsrcnn.values.storage import Storage, decode_bands, encode_bands
from tests.support.strategies import RUBBISH, masks, seeds, shapes

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FLOATS = ("float32", "float64")


def valid_mask(values, nodata):
    """Cells that are valid with this nodata value."""
    return Missing(() if nodata is None else (nodata,)).valid(values)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("nodata", [None, -9999.0, np.nan, np.inf])
def test_nan_and_infinities_are_always_missing(dtype, nodata):
    """NaN and infinities are invalid whatever the nodata value."""
    values = np.array([1, np.nan, np.inf, -np.inf, 0], dtype)
    assert valid_mask(values, nodata).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("nodata", [-9999.9, 3.4028234663852886e38, -3.4e38, 0.1])
def test_nodata_is_compared_as_stored(nodata):
    """A nodata value given as double is found in float32 data that holds its rounding."""
    values = np.array([nodata, 1.5], np.float32)
    assert valid_mask(values, nodata).tolist() == [False, True]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_nodata_that_a_type_cannot_hold_is_none(dtype):
    """Fractions, NaN and values beyond the type mask nothing."""
    info = np.iinfo(dtype)
    for nodata in (0.5, np.nan, np.inf, float(info.max) * 2 + 2, float(info.min) * 2 - 2):
        assert stored_nodata(nodata, np.dtype(dtype)) is None
        assert valid_mask(np.array([0, info.max], dtype), nodata).all()
    assert stored_nodata(int(info.min), np.dtype(dtype)) == info.min


def naive_fill(values, valid, rings):
    filled, known = np.where(valid, values, 0.0), valid.copy()
    rows, columns = valid.shape
    for _ in range(rings):
        new, now = filled.copy(), known.copy()
        for y in range(rows):
            for x in range(columns):
                near = (slice(max(y - 1, 0), y + 2), slice(max(x - 1, 0), x + 2))
                if not known[y, x] and known[near].any():
                    new[y, x], now[y, x] = filled[near][known[near]].mean(), True
        filled, known = new, now
    return filled


@given(shapes, st.integers(0, 5), seeds, st.data())
def test_fill_is_the_ring_by_ring_mean_of_known_neighbours(shape, rings, seed, data):
    """Filling equals a plain loop over cells: rings, means of the 8 neighbours, 0 beyond."""
    valid = data.draw(masks(shape))
    values = np.random.default_rng(seed).normal(5, 1, shape)
    found = fill(values[None], valid[None], rings)[0]
    assert np.allclose(found, naive_fill(values, valid, rings), rtol=1e-12, atol=1e-12)
    assert np.array_equal(found[valid], values[valid])


@given(shapes, st.sampled_from(RUBBISH), seeds, st.data())
def test_fill_does_not_see_what_stands_under_the_mask(shape, rubbish, seed, data):
    """Filled values keep their bits whatever the invalid cells held."""
    valid = data.draw(masks(shape))[None]
    values = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    expected = fill(values, valid, 4)
    assert np.array_equal(fill(np.where(valid, values, np.float32(rubbish)), valid, 4), expected)
    assert np.isfinite(expected).all()


def test_fill_keeps_a_constant_and_treats_bands_apart():
    """A hole in a constant is filled with that constant, in each band from its own."""
    valid = np.ones((2, 7, 9), bool)
    valid[0, 2:5, 3:6] = False
    values = np.stack([np.full((7, 9), 5000.1), np.full((7, 9), -3.0)])
    assert np.allclose(fill(values, valid, 3), values, rtol=1e-15)


@pytest.mark.parametrize("dtype", INTEGERS)
@given(values=st.lists(st.floats(-1e20, 1e20) | st.floats(-300, 300), min_size=1, max_size=8))
def test_integers_are_rounded_to_even_and_clipped(dtype, values):
    """Each value becomes the nearest integer that the type holds, ties to even, as Python's own integers."""
    info = np.iinfo(dtype)
    found = to_stored(np.array(values), np.ones(len(values), bool), np.dtype(dtype))
    assert [int(v) for v in found] == [min(max(round(v), info.min), info.max) for v in values]


def test_values_beyond_the_type_do_not_wrap():
    """Infinities and the ends of 64-bit integers come out at the type's ends."""
    values = np.array([np.inf, -np.inf, 2.0**64, -(2.0**64)])
    for dtype in ("uint64", "int64", "uint8"):
        info = np.iinfo(dtype)
        assert to_stored(values, np.ones(4, bool), np.dtype(dtype)).tolist() == [info.max, info.min] * 2


def test_float64_beyond_float32_is_clipped():
    """A valid value too large for float32 becomes the largest one that is not taken for missing."""
    found = to_stored(np.array([1e39, -1e39, 3.4e38, 1.0]), np.ones(4, bool), np.dtype("float32"))
    assert np.allclose(found, [3.399e38, -3.399e38, 3.399e38, 1], rtol=1e-6)
    assert valid_mask(found, None).all()


def test_limits_narrow_the_type():
    """With NBITS=4, values stop at 15, and a value that would be the nodata value at the end steps inside."""
    ones = np.ones(3, bool)
    assert to_stored(np.array([20.0, 14.8, -1]), ones, np.dtype("uint8"), limits=(0, 15)).tolist() == [15, 15, 0]
    assert to_stored(np.array([20.0, 14.8, 3]), ones, np.dtype("uint8"), 15, (0, 15)).tolist() == [14, 14, 3]


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
@given(end=st.sampled_from(["min", "max", "middle"]), seed=seeds)
def test_no_valid_value_is_encoded_as_nodata(dtype, end, seed):
    """Valid cells never equal the nodata value, at the type's ends too, and move one step at most."""
    kind = np.dtype(dtype)
    info = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    nodata = {"min": float(info.min), "max": float(info.max), "middle": 7.0}[end]
    missing = stored_nodata(nodata, kind)
    if missing is None:  # the largest 64-bit integers are no doubles
        return
    rng = np.random.default_rng(seed)
    wanted = np.full(9, float(nodata)) + (rng.uniform(-0.4, 0.4, 9) if end == "middle" and kind.kind != "f" else 0)
    valid = rng.random(9) < 0.6
    found = to_stored(wanted, valid, kind, nodata)
    assert np.array_equal(valid_mask(found, nodata), valid)
    if kind.kind == "f":
        assert np.isfinite(found).all()
        assert end != "middle" or np.allclose(found, 7.0, rtol=2e-6, atol=0)
    else:
        assert all(abs(int(v) - int(missing)) == 1 for v in found[valid])


def test_an_accident_takes_the_side_of_the_wanted_value():
    """7.3 beside nodata 7 becomes 8, 6.8 becomes 6."""
    assert to_stored(np.array([7.3, 6.8]), np.ones(2, bool), np.dtype("int16"), 7).tolist() == [8, 6]


def test_invalid_cells_keep_what_they_hold_without_nodata():
    """Without a nodata value an invalid cell keeps its value; NaN becomes NaN in floats."""
    valid = np.array([True, False])
    assert to_stored(np.array([1.0, 4.0]), valid, np.dtype("uint8")).tolist() == [1, 4]
    assert np.isnan(to_stored(np.array([1.0, np.nan]), valid, np.dtype("float32"))[1])
    assert np.isnan(to_stored(np.array([1.0, 5.0]), valid, np.dtype("float32"), np.nan)[1])


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
def test_encode_returns_an_array_of_its_own(dtype):
    """Encoding values that have the type already changes neither them nor the input."""
    values = np.array([1, 2, 3], dtype)
    found = to_stored(values, np.array([True, True, False]), np.dtype(dtype), 2)
    assert values.tolist() == [1, 2, 3]
    assert found[0] == 1
    assert found[1] != 2
    assert found[2] == 2


@pytest.mark.parametrize(("source", "target"), [("int16", "uint8"), ("uint16", "int8"), ("int64", "int32")])
def test_integers_are_clipped_not_wrapped(source, target):
    """Integers stored in a narrower type stop at its ends, as floats do."""
    info, own = np.iinfo(target), np.iinfo(source)
    values = np.array([own.min, info.min, 0, 7, info.max, own.max]).astype(source)
    stored = to_stored(values, np.ones(6, bool), np.dtype(target), None)
    assert stored.tolist() == np.clip(values.astype(object), info.min, info.max).tolist()


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_at_the_end_of_float32_are_missing(dtype):
    """±3.4028e38, whatever digits it was written with, and what lies beyond stand for missing cells; 3.3e38 is one."""
    values = [1.0, 3.3e38, 3.4028234663852886e38, -3.4028234663852886e38, -3.40282e38, -3.4e38, 1e39, -1.797e308]
    with np.errstate(over="ignore"):
        stored = np.array([*values, np.nan]).astype(dtype)
    assert valid_mask(stored, None).tolist() == [True, True] + 7 * [False]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("nodata", "value", "masked"),
    [
        (-3.40282e38, np.finfo("f4").min, True),
        (-9999.0, -9999.004, True),
        (-9999.0, -9999.01, False),
        (1e20, 1.0000002e20, True),
        (1e20, 1.000001e20, False),
        (0.0, 1e-40, False),
        (-3.4028234663852886e38, -1e30, False),
    ],
)
def test_nodata_is_compared_with_the_tolerance_of_gdal(dtype, nodata, value, masked):
    """Within 4.8e-7 of the nodata value a float is missing, a double too; 0 is 0 only."""
    assert valid_mask(np.array([value, 1.5], dtype), nodata).tolist() == [not masked, True]


@pytest.mark.parametrize(
    ("dtype", "marks", "limits"),
    [
        ("uint8", (0.0,), (1, 255)),
        ("uint8", (255.0,), (0, 254)),
        ("uint8", (254.0, 255.0, 7.0), (0, 253)),
        ("int16", (-32768.0,), (-32767, 32767)),
        ("uint64", (), (0, 2.0**64)),
        ("int64", (-(2**63),), (-(2.0**63), 2.0**63)),
    ],
)
def test_marks_at_the_ends_of_a_type_narrow_its_limits(dtype, marks, limits):
    """What an integer type can store ends before the marks of missing cells; 64-bit types have ends as well."""
    assert Packing(np.dtype(dtype), missing=Missing(marks)).limits == limits


def test_narrow_bits_and_a_mark_narrow_the_limits_together():
    """With NBITS=4 and 15 for missing cells, values lie from 0 to 14, packed or not."""
    packing = Packing(np.dtype("uint8"), 2.0, 1.0, Missing((15.0,)), 15.0, (0, 15))
    assert packing.limits == (1.0, 29.0)


# One value


@given(st.sampled_from([*INTEGERS, *FLOATS, "float16", "bool", "complex64"]), shapes, st.booleans(), st.data())
def test_one_value_is_told_by_bits(dtype, shape, apart, data):
    """Bands have a value each; a cell of other bits anywhere counts, though it may compare as equal."""
    field = np.zeros((2, *shape), dtype)
    field[1] = np.nan if dtype in (*FLOATS, "float16") else 1
    assert is_one_value(field)
    assert is_one_value(field[:, ::-1])
    if apart and shape != (1, 1):
        cell = (data.draw(st.integers(0, 1)), *(data.draw(st.integers(0, n - 1)) for n in shape))
        field[cell] = -field[cell] if np.dtype(dtype).kind == "f" else 1 - field[cell]
        assert not is_one_value(field)


def test_what_has_no_bits_of_a_number_is_not_one_value():
    """Complex numbers of 16 bytes are repeated cell by cell."""
    assert not is_one_value(np.zeros((1, 4, 4), complex))


def test_bands_of_one_value_are_joined_as_views():
    """A band that is no such view makes all of them ordinary."""
    views = [spread(np.full((1, 1, 1), value), (3, 4)) for value in (5.0, 6.0)]
    joined = join_bands(views)
    assert joined.strides[1:] == (0, 0)
    ordinary = join_bands([views[0], views[1].copy()])
    assert ordinary.strides[1:] != (0, 0)
    assert np.array_equal(joined, ordinary)


@given(
    st.sampled_from(["uint8", "int16", "int32", "float32", "float64"]),
    st.sampled_from([0, 1, 7, 100]),
    st.sampled_from([None, 7]),
    st.sampled_from([(1.0, 0.0), (0.1, -3.0)]),
    st.sampled_from([None, True, False]),
)
def test_one_value_is_stored_like_any_cell(dtype, value, nodata, scaling, valid):
    """Decoded and encoded as a view of one cell, it is what it is beside cells that differ."""
    packing = Packing(np.dtype(dtype), *scaling, Missing(() if nodata is None else (nodata,)), nodata)
    storages = [Storage(packing, packing, packing.dtype)] * 2
    same = np.full((2, 5, 6), value, dtype)
    mixed = same.copy()
    mixed[:, -1, -1] = 3
    mask = None if valid is None else np.full(same.shape, valid)
    one, many = (decode_bands(storages, list(each), "it", mask) for each in (same, mixed))
    assert one.values.strides[1:] == (0, 0)
    assert many.values.strides[1:] != (0, 0)
    stored, expected = (encode_bands(storages, cells, ["a", "b"]) for cells in (one, many))
    for found, ordinary in ((one.values, many.values), (one.valid, many.valid), (stored, expected)):
        assert found.dtype == ordinary.dtype
        assert np.array_equal(found[:, 0], ordinary[:, 0])
        assert is_one_value(found)


def test_one_cell_stands_for_a_window_only_if_all_of_it_is_alike():
    """Masks and alpha count; what stands for the window has them too."""
    values, valid = np.ones((2, 4, 5)), np.ones((2, 4, 5), bool)
    alpha, mask = np.full((1, 4, 5), 9, np.uint8), np.full((4, 5), 255, np.uint8)
    one = Cells(values, valid, alpha, mask).one_cell()
    assert (one.values.shape, one.valid.shape, one.alpha.shape, one.mask.shape) == (
        (2, 1, 1),
        (2, 1, 1),
        (1, 1, 1),
        (1, 1),
    )
    again = one.spread((4, 5))
    for found, expected in ((again.values, values), (again.valid, valid), (again.alpha, alpha), (again.mask, mask)):
        assert np.array_equal(found, expected)
    for field in (values, valid, alpha, mask):
        before, field[..., 2, 2] = field[..., 2, 2].copy(), 0
        assert Cells(values, valid, alpha, mask).one_cell() is None
        field[..., 2, 2] = before
