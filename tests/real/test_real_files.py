"""Real files: the sample data of Iris and of ESMValTool (CMIP6), upscaled and read by the tools that users have."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import load_checkpoint, upscale_file
from geofsrcnn.errors import GeofsrcnnError, InputError
from geofsrcnn.values.blocks import block_mean

MODEL = load_checkpoint("small", 2)


def samples(package: str) -> list[Path]:
    """NetCDF files of a package, if it is installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return []
    return sorted(Path(found.submodule_search_locations[0]).rglob("*.nc"))


IRIS, CMIP = samples("iris_sample_data"), samples("esmvaltool_sample_data")

REFUSED: dict[str, tuple[type[GeofsrcnnError], str]] = {
    "SOI_Darwin.nc": (InputError, "no variable with two horizontal dimensions"),
    "atlantic_profiles.nc": (InputError, "coordinate lon neither rises nor falls throughout"),
    "mesh_C4_synthetic_float.nc": (InputError, "an unstructured mesh"),
    "vlstr_type.nc": (InputError, "coordinate lat has one cell and no bounds"),
}
"""What has no grid to refine."""


def one_of_each(paths: list[Path]) -> list[Path]:
    """One file of each folder's model and variable: many differ in years only."""
    seen: dict[tuple[str, ...], Path] = {}
    for path in paths:
        seen.setdefault(tuple(path.name.split("_")[:3]), path)
    return list(seen.values())


CHOSEN = CMIP if "GEOFSRCNN_ALL_FILES" in os.environ else one_of_each(CMIP)[2::7]


def check(path: Path, output: Path) -> None:
    """Upscale, and look at the result with xarray and cf-xarray."""
    import cf_xarray  # noqa: F401

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        summary = upscale_file(path, output, 2, MODEL)
        with (
            xr.open_dataset(path, engine="netcdf4") as coarse,
            xr.open_dataset(output, engine="netcdf4") as fine,
        ):
            assert summary.fine == tuple(2 * n for n in summary.coarse)
            if "time" in coarse.variables:
                assert fine["time"].dtype == coarse["time"].dtype
                assert np.array_equal(fine["time"], coarse["time"])
            for axis in ("X", "Y", "T"):
                assert set(fine.cf.axes.get(axis, [])) == set(coarse.cf.axes.get(axis, []))
            for name in ("latitude", "longitude"):
                assert set(fine.cf.coordinates.get(name, [])) == set(coarse.cf.coordinates.get(name, []))
            said = [v.attrs.get("bounds") or v.encoding.get("bounds") for v in coarse.variables.values()]
            means = 0
            for name in coarse.data_vars:
                a, b = coarse[name], fine[name]
                grown = [dim for dim in a.dims if b.sizes[dim] != a.sizes[dim]]
                if len(grown) != 2 or name in said or a.dtype.kind != "f":
                    continue
                if a.dims[-2:] != tuple(grown):
                    a, b = a.transpose(..., *grown), b.transpose(..., *grown)
                a, b = a.to_numpy().reshape(-1, *a.shape[-2:])[:40], b.to_numpy().reshape(-1, *b.shape[-2:])[:40]
                assert np.array_equal(np.isnan(b), np.repeat(np.repeat(np.isnan(a), 2, -2), 2, -1))
                if "sum" in str(coarse[name].attrs.get("cell_methods", "")) or name == "areacello":
                    continue
                step = abs(coarse[name].encoding.get("scale_factor", 0)) or (
                    1 if coarse[name].encoding.get("dtype", np.dtype("f4")).kind in "iu" else 0
                )
                span = np.nanmax(a, initial=0) - np.nanmin(a, initial=0)
                largest = np.nanmax(np.abs(a), initial=0)
                assert np.nanmax(np.abs(block_mean(b.astype("f8"), 2) - a), initial=0) <= (
                    step * 0.51 + 2e-5 * span + 2.0**-22 * largest
                )
                means += 1
            assert means


@pytest.mark.skipif(not IRIS, reason="iris-sample-data is not installed")
@pytest.mark.parametrize("path", IRIS, ids=lambda path: path.stem)
def test_iris_sample_data(path, tmp_path):
    """Opens with decoded times, axes found, block means equal to the input; or has no grid, which is said."""
    if path.name in REFUSED:
        kind, words = REFUSED[path.name]
        with pytest.raises(kind, match=words):
            upscale_file(path, tmp_path / "fine.nc", 2, MODEL)
        assert list(tmp_path.iterdir()) == []
        return
    check(path, tmp_path / "fine.nc")


@pytest.mark.skipif(not CMIP, reason="esmvaltool-sample-data is not installed")
@pytest.mark.parametrize("path", CHOSEN, ids=lambda path: "-".join(path.name.split("_")[:3]))
def test_cmip6(path, tmp_path):
    """The same on CMIP6 models; on all files where the environment says GEOFSRCNN_ALL_FILES."""
    check(path, tmp_path / "fine.nc")


def complaints(path: Path, report: Path) -> set[str]:
    """What the CF checker says of a file, sizes and paths left out."""
    from compliance_checker.runner import CheckSuite, ComplianceChecker

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        CheckSuite.load_all_available_checkers()
        ComplianceChecker.run_checker(str(path), ["cf:1.8"], 0, "normal", output_filename=report, output_format="json")
    found = json.loads(report.read_text(encoding="utf-8"))["cf:1.8"]
    said = {m for key in ("high_priorities", "medium_priorities") for c in found[key] for m in c["msgs"]}
    return {re.sub(r"[\d.]+", "N", message) for message in said}


@pytest.mark.skipif(
    not IRIS or importlib.util.find_spec("compliance_checker") is None, reason="no CF checker, or no files"
)
@pytest.mark.parametrize(
    "path", [p for p in IRIS if p.name not in REFUSED] + CHOSEN[:3], ids=lambda path: path.stem[:30]
)
def test_the_cf_checker_finds_nothing_new(path, tmp_path):
    """Whatever it says of the result, it says of the input as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        upscale_file(path, tmp_path / path.name, 2, MODEL)
    report = tmp_path / "report.json"
    assert complaints(tmp_path / path.name, report) - complaints(path, report) == set()
