"""Names that Windows keeps, drives, and what stands before a colon."""

from __future__ import annotations

import pytest

from geofsrcnn import system
from geofsrcnn.errors import InputError, OutputError
from geofsrcnn.files.kinds import is_checkpoint_name
from geofsrcnn.files.names import is_reserved, name_problem, scheme_of
from geofsrcnn.files.paths import local_path
from geofsrcnn.files.staging import check_target

DEVICES = ("aux.tif", "NUL", "con.nc", "COM1.zarr", "lpt9.tif")


@pytest.mark.parametrize("name", [*DEVICES, "a:b.tif", "what?.tif", "a|b.nc", "a<b.nc", "x.tif ", "x.tif."])
def test_names_that_windows_reserves(tmp_path, monkeypatch, name):
    """Devices, streams and characters that no name has there are refused there as outputs, before any work."""
    assert is_reserved(name)
    assert name_problem(name) == ""
    monkeypatch.setattr(system, "WINDOWS", True)
    with pytest.raises(OutputError, match=r"output name is one that Windows reserves: .*: give another name"):
        check_target(tmp_path / name, overwrite=True)


@pytest.mark.parametrize("name", ["x.tif", "auxiliary.tif", "com10.nc", "höhe.tif", ".x.part", "a b.tif", "console.nc"])
def test_other_names_are_free(name):
    """What only looks like a device is none."""
    assert not is_reserved(name)


@pytest.mark.parametrize(
    ("text", "scheme"),
    [("C:\\data\\x.tif", ""), ("c:/x.tif", ""), ("x.tif", ""), ("NETCDF:x.nc:t", "NETCDF"), ("s3://b/x", "s3")],
)
def test_a_drive_is_no_scheme(text, scheme):
    """One letter before a colon is a drive of Windows, more are a driver of GDAL or a scheme."""
    assert scheme_of(text) == scheme


@pytest.mark.parametrize("name", ["C:\\data\\x.tif", "C:/data/x.tif", "C://data/x.tif", "D:x.tif"])
def test_a_missing_file_on_a_drive(tmp_path, monkeypatch, name):
    """It is missing, and neither remote nor a driver's."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^no such file: "):
        local_path(name)


def test_a_checkpoint_on_windows(monkeypatch):
    """Both slashes lead through folders there."""
    assert not is_checkpoint_name("models\\mine")
    monkeypatch.setattr("os.sep", "\\")
    monkeypatch.setattr("os.altsep", "/")
    assert is_checkpoint_name("models\\mine")
    assert is_checkpoint_name("models/mine")
    assert not is_checkpoint_name("default")
