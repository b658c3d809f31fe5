"""Options stand once: values are made plain, wrong ones refused, each has words where it has no meaning."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from geofsrcnn.errors import UsageError
from geofsrcnn.options import FieldOptions, FileOptions, RunOptions, UpscaleOptions


def test_keywords_are_those_of_the_options():
    """The typed keywords and the options have the same names."""
    names = {each.name for each in fields(UpscaleOptions)}
    assert set(RunOptions.__annotations__) == names
    assert set(FileOptions.__annotations__) == names - {"threads", "overwrite", "error_file", "like", "resolution"}
    assert set(FieldOptions.__annotations__) <= names


def test_values_are_made_plain():
    """Lists, arrays and single names are the tuples that they mean, so that journals compare them."""
    given = UpscaleOptions(
        bidx=np.array([1, 2]),
        bounds=np.arange(4.0)[[0, 1, 2, 3]],
        variables="tas",
        also=["b.nc"],
        quantiles=[0.1, 0.9],
        co={},
        value_range=[0, 1],
    )
    assert given.given() == {
        "bidx": (1, 2),
        "bounds": (0.0, 1.0, 2.0, 3.0),
        "variables": ("tas",),
        "also": ("b.nc",),
        "quantiles": (0.1, 0.9),
        "value_range": (0.0, 1.0),
    }
    assert UpscaleOptions(bidx=[], co=None, variables=()).given() == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"bidx": (0, -1)},
        {"bidx": ("a",)},
        {"bounds": (1, 2)},
        {"bounds": "abcd"},
        {"value_range": (1,)},
        {"value_range": (np.nan, 1)},
        {"variables": 5},
        {"max_pixels": -3},
        {"max_pixels": "x"},
        {"nodata": "x"},
        {"device": 5},
        {"precision": "float8"},
        {"tile_size": True},
        {"threads": 0},
        {"dtype": "complex64"},
        {"error": "yes"},
        {"error": True, "dtype": "int16"},
        {"error_file": 5},
        {"overshoot": 1.5},
        {"overshoot": "all"},
        {"colour": "red"},
    ],
)
def test_wrong_values_are_refused(wrong):
    """In one line, before anything is opened."""
    with pytest.raises(UsageError) as caught:
        UpscaleOptions.of(wrong)
    assert "\n" not in str(caught.value)


def test_a_file_of_errors_asks_for_them():
    """With whole numbers too, which it does not stand beside."""
    options = UpscaleOptions.of({"error_file": Path("error.tif"), "dtype": "int16"})
    assert (options.error, options.error_file) == (True, "error.tif")


VALUES = {
    "value_range": (0, 1),
    "overshoot": 0.5,
    "kinds": {"a": "field"},
    "error_file": "error.tif",
    "like": "grid.tif",
    "resolution": 10,
    "dtype": "uint8",
    "tile_size": 9,
    "max_pixels": 9,
    "bidx": (1,),
    "nodata": 0,
    "driver": "VRT",
    "inside": "a.tif",
    "subdataset": "2",
    "crs": "EPSG:4326",
    "alpha": "none",
    "sidecars": True,
    "allow_sparse": True,
    "bounds": (0, 0, 1, 1),
    "allow_lossy": True,
    "cog": True,
    "co": {"a": "b"},
    "variables": ("a",),
    "x": "a",
    "y": "b",
    "group": "g",
    "also": ("b",),
    "quantiles": (0.5,),
}


@pytest.mark.parametrize("name", [each.name for each in fields(UpscaleOptions) if each.metadata["applies"]])
def test_an_option_without_meaning_is_refused_by_name(name):
    """Each option that is not for everything is refused somewhere, and says its name."""
    options, said = UpscaleOptions(**{name: VALUES[name]}), []
    for refuse in (
        lambda: options.refuse_formats("GeoTIFF", "NetCDF"),
        lambda: options.refuse_formats("NetCDF", "Zarr"),
        lambda: options.refuse_pairs(of_pairs=True),
        lambda: options.refuse_pairs(of_pairs=False),
    ):
        try:
            refuse()
        except UsageError as error:
            said.append(str(error))
    assert said
    assert all(f"{name}=" in words for words in said)
