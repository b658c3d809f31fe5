"""What values of a dataset tell before they go through: marks that nothing declares, classes that nothing names."""

import warnings

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning
from tests.support.rasters import terrain

PLACES = {
    "lat": ("lat", 50 - 0.5 * np.arange(60), {"units": "degrees_north"}),
    "lon": ("lon", 0.5 * np.arange(72), {"units": "degrees_east"}),
}


def said_of(values: np.ndarray, tmp_path, **attrs: object) -> set[str]:
    """Codes of what is said of a field, in memory and in a file, which say the same."""
    dataset = xr.Dataset({"v": (("lat", "lon"), values, attrs)}, PLACES)
    dataset.to_netcdf(tmp_path / "in.nc", encoding={"v": {"_FillValue": None}})
    found = []
    for run in (
        lambda: upscale_dataset(dataset, 2, "small"),
        lambda: upscale_file(tmp_path / "in.nc", tmp_path / "out.nc", 2, "small", overwrite=True),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run()
        found.append({str(each.message).split(":")[0] for each in caught if each.category is GeofsrcnnWarning})
    assert found[0] == found[1]
    return found[0]


@pytest.mark.parametrize("mark", [-9999.0, 1e20, -999.0])
def test_marks_that_nothing_declares_are_said(tmp_path, mark):
    """As of rasters: -9999 and the like, apart from all other values."""
    field = terrain((60, 72), low=270, high=290).astype("float32")
    assert said_of(field, tmp_path, units="K", standard_name="air_temperature") == set()
    field[4:7, 5:9] = mark
    assert said_of(field, tmp_path, units="K", standard_name="air_temperature") == {"W-NODATA"}
    assert said_of(field, tmp_path, units="K", standard_name="air_temperature", missing_value=np.float32(mark)) == set()


def test_classes_that_nothing_names_are_said(tmp_path):
    """Whole numbers in patches, without a gradient; not where the header says what they are."""
    rng = np.random.default_rng(0)
    classes = np.kron(rng.choice([1, 4, 9, 14, 20, 22], (15, 18)), np.ones((4, 4), int)).astype("uint8")
    assert said_of(classes, tmp_path, long_name="GLC2000") == {"W-CLASSES"}
    assert said_of(classes, tmp_path, long_name="GLC2000", units="1") == {"W-CLASSES"}
    assert said_of(classes, tmp_path, long_name="GLC2000", units="m") == set()
    assert said_of(classes, tmp_path, long_name="land cover class") == {"W-REPEATED"}
    counts = np.round(terrain((60, 72), high=200)).astype("uint8")
    assert said_of(counts, tmp_path, long_name="GLC2000") == set()
