"""GeoTIFFs read back: what was not written is found, what is stored alike is decoded once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from geofsrcnn.errors import OutputError
from geofsrcnn.formats import readback
from geofsrcnn.formats.readback import KNOWN, Readback, Written
from geofsrcnn.formats.writer import checksum
from geofsrcnn.grids.windows import Window
from tests.support.rasters import write

BLOCK = 32
LAYOUT = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "predictor": 2}


def windows(shape, side=BLOCK):
    """Windows that cover a raster, cut at its edges."""
    rows, columns = shape
    return [
        Window(y, min(y + side, rows), x, min(x + side, columns))
        for y, x in itertools.product(range(0, rows, side), range(0, columns, side))
    ]


def written(values, groups, side=BLOCK):
    """What a writer would remember of an array ``(band, y, x)``, its bands in groups."""
    return [
        Written(window, group, checksum(values[([i - 1 for i in group], *window.slices())]))
        for window in windows(values.shape[1:], side)
        for group in groups
    ]


@pytest.fixture
def decoded(monkeypatch):
    """The shapes of what is decoded."""
    shapes = []
    monkeypatch.setattr(readback, "checksum", lambda values: shapes.append(values.shape) or checksum(values))
    return shapes


@pytest.mark.parametrize("pair", [(7, 9), (0, 0)])
@pytest.mark.parametrize("groups", [[(1, 2)], [(1,), (2,)], [(2, 1)]])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_blocks_stored_alike_are_decoded_once(tmp_path, decoded, interleave, groups, pair):
    """One of each shape and band; a block of another value among them is found, whichever it is."""
    values = np.stack([np.full((100, 150), value, "uint8") for value in pair])
    path = write(tmp_path / "a.tif", values, interleave=interleave, **LAYOUT)
    claims = written(values, groups)
    file = Readback(path, on_disk=True)
    file.compare(claims)
    assert len(decoded) == 4 * len(groups)  # inside, right, bottom, corner
    for number in (0, 7, len(claims) - 1):
        changed = values.copy()
        window = claims[number].window
        changed[(claims[number].indexes[0] - 1, *window.slices())] = 8
        other = Readback(write(tmp_path / f"{number}.tif", changed, interleave=interleave, **LAYOUT), on_disk=True)
        with pytest.raises(OutputError, match=f"differs from what was written .{window}"):
            other.compare(claims)
        other.close()
    file.close()


@pytest.mark.parametrize("side", [16, 48, 2 * BLOCK])
def test_windows_that_are_no_blocks_are_decoded(tmp_path, decoded, side):
    """Parts of blocks, several of them, and the mask."""
    values = np.full((1, 100, 150), 7, "uint8")
    file = Readback(write(tmp_path / "a.tif", values, **LAYOUT), on_disk=True)
    claims = written(values, [(1,)], side)
    mask = Written(Window(0, BLOCK, 0, BLOCK), (), checksum(np.full((BLOCK, BLOCK), 255, np.uint8)))
    file.compare([*claims, mask, mask])
    assert len(decoded) == len(claims) + 2
    with pytest.raises(OutputError, match="differs"):
        file.compare([Written(claims[1].window, (1,), claims[1].checksum + 1)])
    file.close()


def test_large_blocks_are_always_decoded(tmp_path, decoded):
    """Uncompressed ones, though they are alike."""
    values = np.full((1, 256, 256), 7, "float32")
    file = Readback(write(tmp_path / "a.tif", values, tiled=True, blockxsize=128, blockysize=128), on_disk=True)
    file.compare(written(values, [(1,)], 128))
    assert len(decoded) == 4
    file.close()


def test_what_is_remembered_is_bounded(tmp_path):
    """Blocks that all differ do not fill the memory."""
    values = np.arange(40 * 40, dtype="int16").repeat(16, axis=0).reshape(1, 40, 640).repeat(16, axis=1)
    path = write(tmp_path / "a.tif", values, **{**LAYOUT, "blockxsize": 16, "blockysize": 16})
    file = Readback(path, on_disk=True)
    file.compare(written(values, [(1,)], 16))
    assert 0 < len(file._known) <= KNOWN < 40 * 40
    file.close()
