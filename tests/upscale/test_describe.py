"""Descriptions of files: what `geofsrcnn info` prints, for Python."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from geofsrcnn import DatasetDescription, RasterDescription, describe_file
from geofsrcnn.errors import InputError
from tests.support.rasters import created, terrain, write
from tests.support.stores import packed, stored


def test_a_raster(tmp_path):
    """Grid and bands, with types of their own; all of it is plain for JSON."""
    path = write(tmp_path / "a.tif", terrain((2, 20, 24)).astype("float32"), nodata=-1)
    found = describe_file(path)
    assert isinstance(found, RasterDescription)
    assert (found.rows, found.columns, found.crs, found.mask, found.refused) == (20, 24, "EPSG:32633", False, None)
    assert [(band.index, band.dtype, band.nodata, band.kind) for band in found.bands] == [
        (1, "float32", -1.0, "field"),
        (2, "float32", -1.0, "field"),
    ]
    assert json.loads(json.dumps(found.to_dict()))["bands"][1]["index"] == 2


def test_a_dataset(tmp_path):
    """Variables with packing and what becomes of them."""
    found = describe_file(stored(packed(), tmp_path / "a.nc"))
    assert isinstance(found, DatasetDescription)
    assert found.format == "NetCDF"
    (tas,) = [variable for variable in found.variables if variable.name == "tas"]
    assert dataclasses.asdict(tas) == {
        "name": "tas",
        "dimensions": {"time": 5, "lat": 24, "lon": 30},
        "dtype": "int16",
        "scale": 0.01,
        "offset": 270.0,
        "missing": tas.missing,
        "unit": "K",
        "kind": "field",
        "because": tas.because,
        "becomes": "upscaled",
    }


def test_what_is_refused(tmp_path):
    """A missing file; a raster that upscaling would refuse is described with its words."""
    with pytest.raises(InputError, match="no such file"):
        describe_file(tmp_path / "none.tif")
    path = tmp_path / "classes.tif"
    with created(path, (9, 8), "uint8") as raster:
        raster.write(np.ones((1, 9, 8), "uint8"))
        raster.write_colormap(1, {0: (0, 0, 0, 255), 1: (10, 200, 30, 255)})
    found = describe_file(path)
    assert isinstance(found, RasterDescription)
    assert found.refused is not None
    assert found.refused.startswith("categorical raster (palette)")
    assert (found.bands[0].kind, found.bands[0].because) == ("category", "palette")
