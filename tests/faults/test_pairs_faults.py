"""Pairs that do not fit, gaps and values that are none, kills: refused or harmless."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine

from geofsrcnn import load_checkpoint
from geofsrcnn.errors import GeofsrcnnWarning, InputError, TrainError
from geofsrcnn.pairs.spec import PairOptions
from tests.support import processes
from tests.support.faults import STEPS, Gate
from tests.support.pairfiles import QUICK, SMALL, changed, made, train_files, trained
from tests.support.rasters import write

pytestmark = pytest.mark.usefixtures("one_thread")  # what is this small waits for more where cores are busy

KILLS = 3
ALONE = "import torch; torch.set_num_threads(1)\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Files of made pairs."""
    return made(tmp_path_factory.mktemp("pairs"), lapse=True)


def weights(path: Path) -> list[torch.Tensor]:
    """All of a checkpoint's."""
    return list(load_checkpoint(path).model.state_dict().values())


def same(one: Path, other: Path) -> bool:
    """Whether two checkpoints have the same weights, to the bit."""
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def projected(path: Path, to: Path) -> Path:
    """A file's grid as metres of UTM."""
    with xr.open_dataset(path) as dataset:
        other = dataset.load().rename(lat="y", lon="x")
    other["y"] = (
        "y",
        5e6 - 1e5 * np.arange(other.sizes["y"]),
        {"units": "m", "standard_name": "projection_y_coordinate"},
    )
    other["x"] = (
        "x",
        2e5 + 1e5 * np.arange(other.sizes["x"]),
        {"units": "m", "standard_name": "projection_x_coordinate"},
    )
    other["crs"] = ((), 0, {"grid_mapping_name": "transverse_mercator", "crs_wkt": _utm()})
    for name in ("t", "stability"):
        other[name].attrs["grid_mapping"] = "crs"
    other.to_netcdf(to)
    return to


def _utm() -> str:
    from pyproj import CRS

    return CRS.from_epsg(32632).to_wkt()


def test_another_crs_is_met_at_its_places_or_refused(files, tmp_path):
    """Metres against degrees: elsewhere they do not cover, and without a CRS numbers alone say nothing."""
    utm = projected(files["coarse"], tmp_path / "utm.nc")
    far = changed(utm, tmp_path / "far.nc", y=lambda y: y - 4e6)
    with pytest.raises(InputError, match=r"far.nc \(y .*does not cover fine.nc \(lat 45.25 to 50, "):
        trained({**files, "coarse": far}, tmp_path / "m.safetensors")
    with xr.open_dataset(utm) as dataset:
        silent = dataset.load().drop_vars("crs")
    silent.to_netcdf(tmp_path / "silent.nc")
    with pytest.raises(InputError, match=r"fine.nc is latitude-longitude, silent.nc states no CRS: give it a grid_map"):
        trained({**files, "coarse": tmp_path / "silent.nc"}, tmp_path / "m.safetensors")


def test_another_place_is_refused(files, tmp_path):
    """Both extents are named."""
    far = changed(files["coarse"], tmp_path / "far.nc", lat=lambda y: y - 60)
    with pytest.raises(InputError, match=r"far.nc \(lat -15.5 to -9.5, .*does not cover fine.nc \(lat 45.25 to 50, "):
        trained({**files, "coarse": far}, tmp_path / "m.safetensors")


def test_coarse_fields_are_coarser(files, tmp_path):
    """The same file on both sides, or one as fine, is no pair."""
    line = {"until": "2000-06-01", "sizes": SMALL, "options": PairOptions(**QUICK)}
    with pytest.raises(InputError, match=r"fine.nc has a cell every 0.25, fine.nc every 0.25: coarse fields must be"):
        train_files([files["fine"]], [files["fine"]], 4, tmp_path / "m.safetensors", **line)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars_are_matched_by_date(files, tmp_path, calendar):
    """Days that one of them has not are said and left out, all others stay."""
    with xr.open_dataset(files["coarse"]) as dataset:
        other = dataset.load().convert_calendar(calendar, align_on="date")
    other.to_netcdf(tmp_path / "coarse.nc")
    with pytest.warns(GeofsrcnnWarning, match=r"W-TIMES: times without a partner are left out: fine.nc \d+"):
        scores = trained({**files, "coarse": tmp_path / "coarse.nc"}, tmp_path / "m.safetensors", steps=2)
    assert np.isfinite(scores["tas"]["network"])


def test_fill_values_are_gaps(files, tmp_path):
    """-9999 with its _FillValue trains as NaN does, to the bit; so does an infinite coarse value."""
    holed = changed(files["fine"], tmp_path / "nan.nc", tas=lambda t: t.where(t["lon"] > 6))
    with xr.open_dataset(holed) as dataset:
        dataset.load().to_netcdf(tmp_path / "filled.nc", encoding={"tas": {"_FillValue": -9999.0}})
    for name in ("nan", "filled"):
        trained({**files, "fine": tmp_path / f"{name}.nc"}, tmp_path / f"{name}.safetensors")
    assert same(tmp_path / "nan.safetensors", tmp_path / "filled.safetensors")
    for name, value in (("gap", np.nan), ("inf", np.inf)):
        coarse = changed(
            files["coarse"], tmp_path / f"{name}.nc", t=lambda t, v=value: t.where(t["time"].dt.day != 7, v)
        )
        trained({**files, "coarse": coarse}, tmp_path / f"{name}.safetensors")
    assert same(tmp_path / "gap.safetensors", tmp_path / "inf.safetensors")


@pytest.mark.parametrize(
    ("which", "words"),
    [("coarse", "no valid value to standardise by"), ("fine", "target tas has no cell with 20 values that differ")],
)
def test_fields_without_values_are_refused(files, tmp_path, which, words):
    """Nothing but gaps, on either side."""
    name = {"coarse": "t", "fine": "tas"}[which]
    empty = changed(files[which], tmp_path / "empty.nc", **{name: lambda t: t * np.nan})
    with pytest.raises(InputError, match=words):
        trained({**files, which: empty}, tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.filterwarnings("ignore:W-PAIRS")
def test_a_loss_that_is_no_number_ends_the_training(files, tmp_path):
    """A rate far too large: exit 8, nothing broken left."""
    out = tmp_path / "m.safetensors"
    with pytest.raises(TrainError, match="take a smaller learning rate"):
        trained(files, out, learning_rate=1e30, steps=400, validate_every=400)
    assert not out.exists()


def test_kills_change_nothing(files, tmp_path):
    """SIGKILL at random steps, then --resume: the undisturbed weights, to the bit; the output absent or whole."""
    rest = [
        *("train-pairs", files["fine"], "--coarse", files["coarse"], "--factor", 4, "--until", "2000-06-01"),
        *("--steps", 40, "--batch-size", 8, "--save-minutes", "1e-9", "-q"),
    ]
    whole, out = tmp_path / "whole.safetensors", tmp_path / "m.safetensors"
    done = processes.run(*rest, "--out", whole, prelude=ALONE)
    assert done.code == 0, done
    draw = random.Random(7)
    for turn in range(KILLS):
        gate = Gate(tmp_path / "gates" / str(turn), at=draw.randrange(2, 12), places=STEPS)
        run = processes.start(*rest, "--out", out, "--resume", prelude=ALONE + gate.prelude)
        gate.reached(run)  # in all less than 40 steps, so that no run is done before
        run.send(signal.SIGKILL)
        assert run.wait().code == -signal.SIGKILL
        assert any(out.with_suffix(".training").iterdir())
        if out.exists():
            load_checkpoint(out)
    done = processes.run(*rest, "--out", out, "--resume", prelude=ALONE)
    assert done.code == 0, done
    assert same(whole, out)


def test_rasters_of_one_time_are_no_pairs(tmp_path):
    """GeoTIFFs without times have no partners."""
    place = {"crs": "EPSG:32633", "nodata": None}
    rasters = [
        write(
            tmp_path / f"{n}.tif", np.ones((n, n), np.float32), transform=Affine(48 / n, 0, 0, 0, -48 / n, 48), **place
        )
        for n in (8, 16)
    ]
    with pytest.raises(InputError, match="no file has a time axis"):
        train_files(rasters[:1], rasters[1:], 2, tmp_path / "m.safetensors", until="2000-01-01", sizes=SMALL)
