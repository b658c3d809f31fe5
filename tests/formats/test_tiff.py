"""The nodata value of a TIFF as it is spelt: read and written in place, in all kinds of TIFF."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from geofsrcnn.errors import OutputError
from geofsrcnn.formats.tiff import nodata_text, write_nodata


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("text", ["0", "255", "-9999", "-9.2233720368547758e+18", "x" * 40])
def test_the_text_is_found_and_replaced(tmp_path, big, order, text):
    """In classic and BigTIFF of both byte orders, in the entry itself or elsewhere; a longer one needs room."""
    path = tmp_path / "a.tif"
    data = np.arange(12, dtype="int64").reshape(3, 4)
    tifffile.imwrite(path, data, bigtiff=big, byteorder=order, extratags=[(42113, 2, 0, text, True)])
    assert nodata_text(path) == text
    if len(text) < 20:
        before = path.read_bytes()
        with pytest.raises(OutputError, match=r"cannot write nodata -9223372036854775808 into a.tif: choose another"):
            write_nodata(path, -(2**63))
        assert path.read_bytes() == before
        return
    write_nodata(path, -(2**63))
    assert nodata_text(path) == "-9223372036854775808"
    assert np.array_equal(tifffile.imread(path), data)


def test_no_text(tmp_path):
    """A TIFF without the tag, and one that ends before its directory, state nothing."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 4), "int64"))
    assert nodata_text(path) is None
    for size in (0, 2, 6, 12, 40):
        (tmp_path / "b.tif").write_bytes(path.read_bytes()[:size])
        assert nodata_text(tmp_path / "b.tif") is None
