"""A field is one thing: in memory, in chunks, decoded or not, and in a file it becomes the same."""

import warnings

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning
from tests.support.grids import regular
from tests.support.rasters import terrain

RAIN = {"standard_name": "precipitation_flux", "units": "kg m-2 s-1"}


def stored(tmp_path, field: np.ndarray, attrs: dict, encoding: dict):
    """A file with the field, twice."""
    dataset = regular(times=2)
    dataset["v"] = (("time", "lat", "lon"), field, attrs)
    path = tmp_path / "in.nc"
    dataset[["v"]].to_netcdf(path, encoding={"v": encoding})
    return path


def ways(path, **options):
    """Values of the finer field by each way there is, and what was said."""
    out = {}
    for name, keywords in {
        "decoded": {},
        "undecoded": {"mask_and_scale": False},
        "chunks": {"chunks": {"lat": 12}},
        "undecoded chunks": {"chunks": {"time": 1}, "mask_and_scale": False},
        "file": None,
    }.items():
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if keywords is None:
                upscale_file(path, path.with_name("out.nc"), 3, "small", **options)
                fine = xr.open_dataset(path.with_name("out.nc"))
            else:
                fine = xr.decode_cf(upscale_dataset(xr.open_dataset(path, **keywords), 3, "small", **options))
            values = fine["v"].transpose("time", "lat", "lon").to_numpy()
        codes = {str(each.message)[:7] for each in said if issubclass(each.category, GeofsrcnnWarning)}
        out[name] = values, codes
    return out


@pytest.mark.parametrize("total", [False, True])
@pytest.mark.parametrize(
    "encoding",
    [
        {"dtype": "float32", "_FillValue": -999.0},
        {"dtype": "int16", "scale_factor": 0.01, "add_offset": 200.0, "_FillValue": -32768},
        {"dtype": "float32", "scale_factor": 0.5, "_FillValue": 1e20},
    ],
)
def test_a_field_becomes_the_same_by_every_way(tmp_path, encoding, total):
    """Packed or not, with missing cells, divided or not: within a step of the packing, missing where it was."""
    field = terrain((2, 24, 30), low=150, high=300)
    field[0, 4:7, 5] = np.nan
    path = stored(tmp_path, field, {"units": "1", "cell_methods": "area: sum"} if total else {"units": "K"}, encoding)
    found = ways(path)
    expected = found["file"][0]
    assert np.isnan(expected).sum() == 27
    step = encoding.get("scale_factor", 1e-4) if encoding["dtype"] == "int16" and not total else 2e-4
    for values, codes in found.values():
        np.testing.assert_allclose(values, expected, atol=1.01 * step)
        assert codes == ({"W-PARTS"} if total and encoding["dtype"] == "int16" else set())
    if total:
        sums = expected.reshape(2, 24, 3, 30, 3).sum((2, 4))
        np.testing.assert_allclose(sums, np.where(np.isnan(field), np.nan, sums), atol=1e-3)
        assert abs(np.nanmean(sums) - np.nanmean(field)) < 0.3


def test_what_a_quantity_cannot_be_is_said_by_every_way(tmp_path):
    """Rain below zero keeps its value and is said; the cells beside it stay at 0 and above."""
    rain = np.maximum(terrain((2, 24, 30), low=-1, high=1), 0)
    rain[1, 10, 10] = -0.5
    for values, codes in ways(stored(tmp_path, rain, RAIN, {"dtype": "float32"})).values():
        assert codes == {"W-RANGE"}
        block = values[1, 30:33, 30:33]
        np.testing.assert_allclose(block, -0.5, atol=1e-6)
        values[1, 30:33, 30:33] = 0
        assert values.min() >= 0


def test_traces_below_zero_are_not_said(tmp_path):
    """Spectral models leave rain of -1e-9: nothing that a user can act on."""
    rain = np.maximum(terrain((2, 24, 30), low=-1, high=1), -1e-9)
    assert all(not codes for _, codes in ways(stored(tmp_path, rain, RAIN, {"dtype": "float32"})).values())


def test_the_range_of_a_total_is_that_of_whole_cells(tmp_path):
    """`--range` speaks of the coarse values, before they are divided: none of these is said to leave it."""
    field = terrain((2, 24, 30), low=10, high=90)
    path = stored(tmp_path, field, {"units": "1", "cell_methods": "area: sum"}, {"dtype": "float32"})
    for values, codes in ways(path, value_range=(10, 90)).values():
        assert not codes
        assert values.min() >= 10 / 9 - 1e-6
        assert values.max() <= 10 + 1e-6
