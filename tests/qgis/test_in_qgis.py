"""The plugin in QGIS, without windows; skipped where QGIS is missing (``make qgis-test`` installs it)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import rasterio
import xarray as xr

from tests.support.faults import until
from tests.support.plugin import alive, children

ERROR = "ERROR:\t"


def errors(done) -> list[str]:
    """Lines that QGIS reports as errors."""
    return [line[len(ERROR) :] for line in done.stderr.splitlines() if line.startswith(ERROR)]


def test_a_dem_is_that_of_the_command_to_a_byte(qgis, jacksboro, tmp_path):
    """The main job."""
    done = qgis.run_tool("upscale", INPUT=jacksboro, FACTOR=3, OUTPUT=tmp_path / "plugin.tif")
    assert done.returncode == 0, done.stderr
    assert "114 x 134 cells became 342 x 402" in done.stdout
    assert "100 - done." in done.stdout
    command = qgis.run(qgis.program, "upscale", jacksboro, tmp_path / "command.tif", "--factor", 3)
    assert command.returncode == 0
    assert (tmp_path / "plugin.tif").read_bytes() == (tmp_path / "command.tif").read_bytes()


def test_a_layer_with_statistics_beside_it_is_the_same(qgis, jacksboro, tmp_path):
    """QGIS writes them there when it shows a layer."""
    source = tmp_path / "coarse.tif"
    source.write_bytes(jacksboro.read_bytes())
    with rasterio.open(source, "r+") as opened:
        opened.update_tags(1, STATISTICS_MINIMUM="1")
    sidecar = Path(f"{source}.aux.xml")
    sidecar.write_text(
        '<PAMDataset><PAMRasterBand band="1"><Metadata><MDI key="STATISTICS_MAXIMUM">9</MDI></Metadata>'
        "</PAMRasterBand></PAMDataset>",
        encoding="utf-8",
    )
    done = qgis.run_tool("upscale", INPUT=source, FACTOR=2, MODEL="cubic", OUTPUT=tmp_path / "fine.tif")
    assert done.returncode == 0, done.stderr
    assert "W-SIDECAR" not in done.stdout + done.stderr
    with rasterio.open(tmp_path / "fine.tif") as opened:
        assert opened.tags(1).get("STATISTICS_MAXIMUM") is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"FACTOR": 7}, "no model 'default' for factor 7"),
        ({"FACTOR": 3, "OPTIONS": "--colour"}, "no such option '--colour'"),
        ({"FACTOR": 3, "MINIMUM": 5, "MAXIMUM": 1}, "'no value below, above'"),
    ],
)
def test_what_is_wrong_is_one_line(qgis, jacksboro, tmp_path, parameters, words):
    """That of the command; nothing is written."""
    done = qgis.run_tool("upscale", INPUT=jacksboro, OUTPUT=tmp_path / "fine.tif", **parameters)
    assert done.returncode == 1
    (line,) = errors(done)
    assert words in line.lower()
    assert list(tmp_path.iterdir()) == []


def test_without_the_program_qgis_says_how_to_install_it(qgis, jacksboro, tmp_path):
    """And 'Check the program' does as well; 'Install the program' can still be run."""
    empty = {"GEOFSRCNN": "", "XDG_DATA_HOME": str(tmp_path)}
    path = "/usr/bin/qgis_process.bin"
    for tool in (["geofsrcnn:upscale", f"--INPUT={jacksboro}", f"--OUTPUT={tmp_path}/fine.tif"], ["geofsrcnn:check"]):
        done = qgis.run(path, "run", *tool, **empty)
        assert done.returncode == 1
        assert "geofsrcnn is not installed: run 'Install the program'" in done.stderr
    done = qgis.run(path, "run", "geofsrcnn:install", "--PACKAGE=no such package", PATH="", **empty)
    assert done.returncode == 1
    assert "neither uv nor Python 3.11, 3.12 or 3.13 was found" in done.stderr


def test_check_says_which_program_it_is(qgis):
    """Where it is, its version, and what it can do."""
    done = qgis.run_tool("check")
    assert done.returncode == 0, done.stderr
    assert f"PROGRAM:\t{qgis.program}" in done.stdout
    assert "VERSION:\t0.1.0" in done.stdout
    assert "default, 3 times finer" in done.stdout


@pytest.mark.parametrize("form", ["nc", "zarr"])
def test_a_dataset_keeps_its_times_and_names(qgis, dataset, tmp_path, form):
    """Of a Zarr store a file in it is named, as dialogs choose no folders."""
    source = dataset
    if form == "zarr":
        with xr.open_dataset(dataset) as opened:
            opened.to_zarr(tmp_path / "coarse.zarr", zarr_format=2)
        source = tmp_path / "coarse.zarr" / ".zgroup"
    done = qgis.run_tool("upscale_file", INPUT=source, FACTOR=2, MODEL="cubic", OUTPUT=tmp_path / "fine.nc")
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "fine.nc") as fine, xr.open_dataset(dataset) as coarse:
        assert set(fine) == set(coarse)
        assert fine["tas"].attrs["units"] == coarse["tas"].attrs["units"]
        assert fine["tas"].shape == (3, 48, 60)
        assert (fine["time"] == coarse["time"]).all()


def test_a_finer_dataset_is_shown_if_that_is_wished(qgis, dataset, tmp_path):
    """Each variable as a layer, its times as bands; a store that QGIS cannot read is said to be whole."""
    found = qgis.script("shown.py", dataset, *(tmp_path / f"fine.{suffix}" for suffix in ("nc", "tif", "zarr")))
    shown = {suffix: found[f"{suffix} True"] for suffix in ("nc", "tif", "zarr")}
    assert shown["nc"] == {"layers": [["fine tas", 3, 48, 60, True]], "said": []}
    assert shown["tif"]["layers"] == [["fine", 3, 48, 60, True]]
    assert shown["zarr"]["layers"] or "fine.zarr, so that it is not shown" in shown["zarr"]["said"][-1]
    assert [found[f"{suffix} False"]["layers"] for suffix in ("nc", "tif", "zarr")] == [[], [], []]


def test_the_page_of_an_evaluation(qgis, jacksboro, tmp_path):
    """A verdict in the log, and the page on disk."""
    done = qgis.run_tool("evaluate", INPUT=jacksboro, FACTOR=3, OUTPUT=tmp_path / "report")
    assert done.returncode == 0, done.stderr
    assert "The network default-x3 is better than" in done.stdout
    page = tmp_path / "report" / "report.html"
    assert f"PAGE:\t{page}" in done.stdout
    assert "default-x3" in page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def layers(qgis, jacksboro, dataset, tmp_path_factory):
    """What layers of each kind became."""
    folder = tmp_path_factory.mktemp("layers")
    source = folder / "dem ä.tif"
    source.write_bytes(jacksboro.read_bytes())
    return qgis.script("layers.py", source, dataset, folder)


WHOLE = {"shape": [1, 228, 268], "crs": "EPSG:4326", "missing": None, "west": pytest.approx(-84.41), "warnings": []}
MEAN = {"virtual": 2}
"""Of what it became, over that of the DEM."""


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("file", {}),
        ("options", {}),
        ("grid", {}),
        ("vrt", {}),
        ("zip", {}),
        ("memory", {}),
        ("crs", {"crs": "EPSG:4267"}),
        ("missing", {"missing": 300}),
        ("virtual", {"missing": pytest.approx(-3.4e38, rel=0.01)}),
        ("part", {"shape": [1, 114, 134], "west": pytest.approx(-84.41 + 67 * 9 / 3600)}),
        ("error", {"shape": [2, 228, 268]}),
        ("more", {}),
    ],
)
def test_layers_of_every_kind(layers, kind, expected):
    """Whatever QGIS shows, as long as it holds values."""
    found = dict(layers[kind])
    mean = found.pop("mean") / layers["file"]["mean"]
    assert found == {**WHOLE, **expected}
    assert mean == pytest.approx(MEAN.get(kind, 1), rel=0.3 if kind == "part" else 1e-3)


def test_a_subdataset(layers):
    """A variable of a NetCDF as QGIS shows it."""
    assert layers["subdataset"]["shape"] == [3, 48, 60]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("web", "a map is a web map (WMS or XYZ): pictures of data, not data"),
        ("missing_range", "several missing values, or a range of them"),
        ("missing_values", "several missing values, or a range of them"),
        ("wrong_options", "further options cannot be read"),
    ],
)
def test_layers_that_are_refused(layers, kind, words):
    """In one line, once."""
    assert words in layers[kind]["error"]
    assert len(layers[kind]["errors"]) <= 1


def test_the_result_is_shown_as_the_layer_is(qgis, jacksboro, tmp_path):
    """Colours, limits, opacity and bands; classes stay classes. A style that wants a band that is gone is left out."""
    source = tmp_path / "coarse.tif"
    source.write_bytes(jacksboro.read_bytes())
    found = qgis.script("style.py", source)
    assert found["coloured"] == {
        "name": "my dem x2",
        "kind": "singlebandpseudocolor",
        "limits": [321.5, 987.5],
        "opacity": 0.75,
    }
    assert found["bands 2 to 4"] == [3, "multibandcolor", [3, 2, 1]]
    assert max(found["bands 1 and 2"][2]) <= 2
    assert found["classes"] == [32, 10, 90]
    assert found["whole"] == [True, False]


def test_cancel_leaves_nothing(qgis, large, tmp_path):
    """The button of the dialog."""
    (tmp_path / "out").mkdir()
    found = qgis.script("cancel.py", large, tmp_path / "out" / "fine.tif")
    ((_, results),) = found["ends"]
    assert "Cancelled: no unfinished file is left." in found["log"]
    assert "OUTPUT" not in results
    assert found["shares"][0] < 100
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed_qgis_leaves_nothing(qgis, large, tmp_path, number):
    """The program notices that QGIS has gone."""
    options = {"MODEL": "default", "THREADS": 1, "OPTIONS": "--tile-size 64"}
    process = qgis.start_tool("upscale", INPUT=large, FACTOR=3, OUTPUT=tmp_path / "fine.tif", **options)
    until(lambda: any(tmp_path.glob(".*.part")) or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    found = [pid for pid in children(process.pid) if b"geofsrcnn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == 1
    process.send_signal(number)
    process.communicate()
    until(lambda: not alive(found[0]))
    assert list(tmp_path.iterdir()) == []
