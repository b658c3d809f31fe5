"""Inputs that may be sharpened, and options that have a meaning then."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from geofsrcnn.engine.arrays import upscale_array
from geofsrcnn.errors import InputError, OutputError, UsageError
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.networks.guided import guided_model
from geofsrcnn.training.guided_rasters import train_guided
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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"error": True}, "guided networks give no expected error: leave out error=True"),
        ({"overshoot": 0.5}, "sets no limit to it: leave out overshoot="),
    ],
)
def test_options_without_a_meaning_are_refused_alike(tmp_path, guide, options, words):
    """In files and in arrays, with the same words."""
    path = write(tmp_path / "a.tif", terrain())
    with pytest.raises(UsageError, match=words):
        sharpen_file(path, tmp_path / "out.tif", guide, minutes=0, **options)
    with pytest.raises(UsageError, match=words):
        upscale_array(read(path, 1), 3, guide=read(guide, 1), **options)


def test_no_limit_of_overshoot_is_what_a_guide_gives(guide):
    """Asked for, it is no other than without."""
    coarse, beside = terrain(), read(guide, 1)
    free, plain = (upscale_array(coarse, 3, guide=beside, **more) for more in ({"overshoot": "none"}, {}))
    assert np.array_equal(free, plain)


def test_a_guided_model_takes_no_limit():
    """Nor is one passed over in silence."""
    with pytest.raises(UsageError, match="leave out overshoot="):
        load_model(guided_model(load_model("default", 3)), overshoot=0.5)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("m.pt", UsageError, "the checkpoint's name must end in .safetensors: m.pt"),
        ("there.safetensors", OutputError, "there.safetensors"),
        ("guide.tif", UsageError, "must end in .safetensors"),
    ],
)
def test_checkpoints_to_write_are_refused_alike(tmp_path, guide, name, error, words):
    """Before anything is read or learned, whoever writes them."""
    (tmp_path / "there.safetensors").write_bytes(b"mine")
    path = write(tmp_path / "a.tif", terrain())
    with pytest.raises(error, match=words):
        sharpen_file(path, tmp_path / "out.tif", guide, minutes=0, save_model=tmp_path / name)
    with pytest.raises(error, match=words):
        train_guided("default-x3", [guide], tmp_path / name)
    assert (tmp_path / "there.safetensors").read_bytes() == b"mine"


def test_a_model_is_not_replaced_by_what_is_learned_from_it(tmp_path, guide):
    """It is an input, which is never touched."""
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(load_checkpoint("default", 3).content)
    path = write(tmp_path / "a.tif", terrain())
    with pytest.raises(UsageError, match="output is the input"):
        sharpen_file(path, tmp_path / "out.tif", guide, model=mine, minutes=0, save_model=mine, overwrite=True)
    with pytest.raises(UsageError, match="output is the input"):
        train_guided(mine, [guide], mine, overwrite=True)
