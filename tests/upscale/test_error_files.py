"""Outputs with expected errors: refusals before anything is opened for writing, estimates, two files as one."""

from __future__ import annotations

import numpy as np
import pytest

from geofsrcnn import upscale_file
from geofsrcnn.errors import LimitError, ModelError, OutputError, UsageError
from geofsrcnn.files import staging
from geofsrcnn.formats.error_bands import ErrorSink
from geofsrcnn.upscale import task
from geofsrcnn.upscale.file import estimate_file
from tests.support.rasters import read, terrain, write


@pytest.fixture
def source(tmp_path):
    """A raster in a folder of its own, and an empty folder `out` beside it."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    return write(tmp_path / "in" / "coarse.tif", terrain((20, 22)).astype("float32"))


@pytest.fixture
def out(source):
    """The folder of outputs."""
    return source.parents[1] / "out"


@pytest.mark.parametrize("options", [{"error": True}, {"error_file": "error.tif"}], ids=str)
@pytest.mark.parametrize("model", ["cubic", "nearest", "lanczos-bp", "network"])
def test_models_without_errors_are_refused(source, out, random_network, model, options):
    """Classical methods and networks without a head, in a line that says what to do."""
    given = random_network(3) if model == "network" else model
    options = {key: out / value if key == "error_file" else value for key, value in options.items()}
    with pytest.raises(
        ModelError, match=r"gives no expected error: (take a shipped network|add it with train_error \(geofs)"
    ):
        upscale_file(source, out / "fine.tif", 3, given, **options)
    assert not list(out.iterdir())


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("out/fine.tif", UsageError, "error_file= is the output: .*: give another name, or error=True"),
        ("in/coarse.tif", UsageError, "output is the input"),
        ("out/error.nc", UsageError, r"error_file= is a GeoTIFF, whose name must end in .tif or .tiff: error.nc"),
        ("nowhere/error.tif", OutputError, "output folder is missing"),
        ("out", UsageError, "error_file= is a GeoTIFF"),
    ],
)
def test_names_that_cannot_be(source, out, with_errors, name, error, words):
    """The same file twice, the input, other formats, folders that are not there."""
    with pytest.raises(error, match=words):
        upscale_file(source, out / "fine.tif", 3, with_errors, error_file=source.parents[1] / name, overwrite=True)
    assert not list(out.iterdir())


def test_a_link_to_the_output_is_the_output(source, out, with_errors):
    """Under another name."""
    (out / "fine.tif").touch()
    (out / "link.tif").symlink_to("fine.tif")
    with pytest.raises(UsageError, match="error_file= is the output"):
        upscale_file(source, out / "fine.tif", 3, with_errors, error_file=out / "link.tif", overwrite=True)


def test_an_existing_file_of_errors_is_kept(source, out, with_errors):
    """Unless overwrite=True says otherwise."""
    (out / "error.tif").write_text("mine")
    with pytest.raises(OutputError, match=r"output exists: .*error.tif: use overwrite=True"):
        upscale_file(source, out / "fine.tif", 3, with_errors, error_file=out / "error.tif")
    assert [path.name for path in out.iterdir()] == ["error.tif"]
    upscale_file(source, out / "fine.tif", 3, with_errors, error_file=out / "error.tif", overwrite=True)
    assert read(out / "error.tif").dtype == np.float32


@pytest.mark.parametrize("target", ["fine.nc", "fine.zarr"])
def test_datasets_have_no_file_of_errors(source, out, with_errors, target):
    """They have variables."""
    with pytest.raises(UsageError, match="error_file= is for rasters and GeoTIFF: elsewhere error=True"):
        upscale_file(source, out / target, 3, with_errors, error_file=out / "error.tif")


def test_estimates_count_errors(source, out, with_errors):
    """Bytes of bands and of a file of their own, and the memory of tiles under way."""
    places = source, out / "fine.tif", 3, with_errors
    plain, beside = estimate_file(*places), estimate_file(*places, error=True)
    apart = estimate_file(*places, error_file=out / "error.tif")
    assert plain.disk == 60 * 66 * 4
    assert beside.disk == apart.disk == 2 * plain.disk
    write(source, terrain((3, 20, 22), high=200).astype("uint8"))
    assert estimate_file(*places).disk == 3 * 60 * 66
    assert estimate_file(*places, error=True).disk == 6 * 60 * 66 * 4
    assert estimate_file(*places, error_file=out / "error.tif").disk == 3 * 60 * 66 * 5
    assert estimate_file(*places, error=True, kinds={"2": "category"}).disk == -(-5 * 4 // 3) * 3 * 60 * 66


def test_a_disk_that_is_too_small_for_both_is_refused(source, out, with_errors, monkeypatch):
    """Files on one file system need room together."""
    size = 60 * 66 * 4
    monkeypatch.setattr(task, "free_bytes", lambda _: 1.5 * size)
    upscale_file(source, out / "fine.tif", 3, with_errors)
    for more in ({"error": True}, {"error_file": out / "error.tif"}):
        with pytest.raises(LimitError, match="are free where it goes"):
            upscale_file(source, out / "other.tif", 3, with_errors, **more)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("which", [0, 1])
def test_both_files_appear_or_none(source, out, with_errors, monkeypatch, which, overwrite):
    """Whichever cannot be put onto its name: older files stay as they were, and nothing is left beside them."""
    paths = [out / "error.tif", out / "fine.tif"]
    for path in paths if overwrite else ():
        path.write_text(f"older {path.name}")
    publish, calls = staging._publish_file, []

    def fail_once(*args, **options):
        calls.append(args)
        if len(calls) == which + 1:
            raise OSError(5, "Input/output error")
        publish(*args, **options)

    monkeypatch.setattr(staging, "_publish_file", fail_once)
    with pytest.raises(OutputError, match="Input/output error"):
        upscale_file(source, paths[1], 3, with_errors, error_file=paths[0], overwrite=overwrite)
    assert len(calls) == which + 1
    assert sorted(out.iterdir()) == (paths if overwrite else [])
    assert all(path.read_text() == f"older {path.name}" for path in out.iterdir())


def test_an_output_that_appears_meanwhile_takes_both_back(source, out, with_errors, monkeypatch):
    """The values' name is taken while tiles are written: the file of errors does not appear without them."""
    prepare = ErrorSink.prepare

    def also_take_the_name(*args):
        (out / "fine.tif").write_text("another run's")
        return prepare(*args)

    monkeypatch.setattr(ErrorSink, "prepare", also_take_the_name)
    with pytest.raises(OutputError, match=r"output exists: .*fine.tif: another run made it"):
        upscale_file(source, out / "fine.tif", 3, with_errors, error_file=out / "error.tif")
    assert [path.read_text() for path in out.iterdir()] == ["another run's"]


def test_files_in_two_folders(source, out, with_errors):
    """Each is made beside its own name."""
    (out / "errors").mkdir()
    upscale_file(source, out / "fine.tif", 3, with_errors, error_file=out / "errors" / "fine.tif")
    assert sorted(path.name for path in out.rglob("*")) == ["errors", "fine.tif", "fine.tif"]
