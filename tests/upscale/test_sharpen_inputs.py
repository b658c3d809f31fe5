"""Inputs that may be sharpened, and options that have a meaning then."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from geofsrcnn.errors import InputError
from geofsrcnn.upscale.sharpen import sharpen_file
from tests.support.archives import dataset
from tests.support.rasters import UTM, read, terrain, write

FINE = {**UTM, "transform": UTM["transform"] @ UTM["transform"].scale(1 / 3)}


@pytest.fixture
def guide(tmp_path):
    """On the grid that a raster of 24 x 29 cells has at factor 3."""
    return write(tmp_path / "guide.tif", terrain((72, 87), seed=1), **FINE)


def test_a_raster_within_a_zip_is_sharpened(tmp_path, guide):
    """As the same raster beside it, and the ZIP stays what it is."""
    path = write(tmp_path / "a.tif", terrain())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.write(path, "a.tif")
    sharpen_file(path, tmp_path / "plain.tif", guide, minutes=0)
    sharpen_file(tmp_path / "a.zip", tmp_path / "within.tif", guide, minutes=0, inside="a.tif")
    assert np.array_equal(read(tmp_path / "within.tif"), read(tmp_path / "plain.tif"))


def test_a_dataset_is_refused_with_what_to_do(tmp_path, guide):
    """Before anything is learned."""
    with pytest.raises(InputError, match=r"a.nc is a dataset \(NetCDF\): sharpen takes rasters: open it with xarray"):
        sharpen_file(dataset(tmp_path / "a.nc"), tmp_path / "out.tif", guide, minutes=0)
