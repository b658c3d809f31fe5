"""What can be run by name, loaded once; its factor is the default; options are refused in the same words."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner

import geofsrcnn
from geofsrcnn.cli.main import cli
from geofsrcnn.errors import ModelError, UsageError
from geofsrcnn.networks import checkpoint
from geofsrcnn.networks.card import MODELS, read_card, shipped_models
from geofsrcnn.networks.catalog import Model, list_models, load_model

SMALL = MODELS / "small-x2.safetensors"


@pytest.fixture
def reads(monkeypatch):
    """The checkpoint files that this process reads from here on."""
    found = []
    real = checkpoint._read
    monkeypatch.setattr(checkpoint, "_read", lambda path: found.append(path) or real(path))
    return found


@pytest.fixture
def raster(tmp_path):
    """Two bands with some structure, large enough to be judged on several windows."""
    rows, columns = np.mgrid[0:96, 0:2100]
    values = np.stack([np.sin(rows / 5) + np.cos(columns / 7), np.cos(rows / 4) * np.sin(columns / 9)])
    path = tmp_path / "raster.tif"
    with rasterio.open(
        path,
        "w",
        "GTiff",
        2100,
        96,
        2,
        dtype="float32",
        crs="EPSG:32633",
        transform=rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000),
    ) as new:
        new.write(values.astype("float32"))
    return path


def test_a_run_reads_the_model_once(reads, raster, tmp_path):
    """`upscale` by name and by file."""
    for model in ("small", str(SMALL)):
        done = CliRunner().invoke(
            cli, ["upscale", str(raster), str(tmp_path / "fine.tif"), "-f", "2", "-m", model, "--overwrite"]
        )
        assert done.exit_code == 0, done.output
        assert len(reads) == 1
        reads.clear()


@pytest.mark.parametrize("report", [False, True])
def test_evaluation_of_bands_and_windows_reads_the_model_once(reads, raster, tmp_path, report):
    """`evaluate` on two bands, nine windows each; with a page as well."""
    line = ["evaluate", str(raster), "--model", "small", "-f", "2"]
    done = CliRunner().invoke(cli, [*line, "--report", str(tmp_path / "page")] if report else line)
    assert done.exit_code == 0, done.output
    assert len(reads) == 1


def test_a_dataset_of_several_fields_reads_the_model_once(reads):
    """Eager and lazy, through the accessor."""
    rng = np.random.default_rng(0)
    fields = {name: (("y", "x"), rng.random((20, 30))) for name in "abc"}
    dataset = xr.Dataset(fields, {"y": np.arange(20.0), "x": np.arange(30.0)})
    for each in (dataset, dataset.chunk(x=15)):
        each.fsrcnn.upscale(2, SMALL).load(scheduler="synchronous")
    assert len(reads) == 2


def test_a_batch_reads_the_model_once(reads, raster, tmp_path):
    """What goes to the worker is what was read."""
    result = geofsrcnn.upscale_files([raster], tmp_path / "out", 2, SMALL, workers=1)
    assert [each.state for each in result.files] == ["done"]
    assert len(reads) == 1


def test_a_loaded_model_is_taken_as_it_is(reads, raster, tmp_path):
    """Every entrance takes what `load_model` gave, and its factor."""
    model = load_model(SMALL)
    assert geofsrcnn.upscale_array(np.zeros((9, 9)), model=model).shape == (18, 18)
    assert geofsrcnn.upscale_file(raster, tmp_path / "fine.tif", model=model).factor == 2
    assert geofsrcnn.evaluate_raster(raster, models=[model])[0].factor == 2
    dataset = xr.Dataset({"z": (("y", "x"), np.zeros((9, 9)))})
    assert geofsrcnn.upscale_dataset(dataset, model=model).sizes["x"] == 18
    assert len(reads) == 1


@pytest.mark.parametrize(("model", "factor"), [(SMALL, 2), ("default", 3), ("bilinear", 3), ("nearest", 3)])
def test_the_factor_is_the_files_or_three(model, factor):
    """Where none is given."""
    assert load_model(model).factor == factor


def test_another_factor_is_refused():
    """In the same words of a file and of a model that is loaded."""
    for model in (SMALL, load_model(SMALL)):
        with pytest.raises(ModelError, match="is for factor 2, not 3"):
            load_model(model, 3)


def refusals(tmp_path, **options):
    """What each entrance says of an option with nearest."""
    field = np.random.default_rng(0).random((9, 9))
    dataset = xr.Dataset({"z": (("y", "x"), field)}, {"y": np.arange(9.0), "x": np.arange(9.0)})
    path = tmp_path / "in.nc"
    dataset.to_netcdf(path)
    calls = (
        lambda: geofsrcnn.upscale_array(field, 2, "nearest", **options),
        lambda: geofsrcnn.upscale_dataset(dataset, 2, "nearest", **options),
        lambda: dataset.fsrcnn.upscale(2, "nearest", **options),
        lambda: dataset["z"].fsrcnn.upscale(2, "nearest", **options),
        lambda: geofsrcnn.upscale_file(path, tmp_path / "out.nc", 2, "nearest", **options),
        lambda: geofsrcnn.upscale_files([path], tmp_path / "out", 2, "nearest", **options),
    )
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        yield str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"value_range": (0, 1)}, "nearest repeats cells as they are and keeps to no range"),
        ({"value_range": (1, 0)}, "value_range= must be a smaller and a larger number"),
        ({"tile_size": 0}, "tile size must be a positive whole number"),
        ({"precision": "float8"}, "precision must be one of float32, bfloat16, auto"),
    ],
)
def test_options_are_refused_in_the_same_words(tmp_path, options, words):
    """From arrays, datasets, accessors, files and batches."""
    said = set(refusals(tmp_path, **options))
    assert len(said) == 1
    assert words in said.pop()


def test_models_say_what_they_are():
    """A network, a classical method, and one that repeats."""
    network, classical, nearest = (load_model(name, 2) for name in ("small", "lanczos-bp", "nearest"))
    assert (network.name, len(network.members), network.of_pairs) == ("small-x2", 1, False)
    assert network.digest == network.checkpoint.digest
    assert (classical.digest, classical.checkpoint) == ("", None)
    assert (nearest.members, nearest.halo, nearest.upsampler) == ((), 0, None)
    assert isinstance(nearest, Model)


def test_a_folder_named_like_a_model_is_no_matter(tmp_path, monkeypatch):
    """A name without a suffix is that of a model in the package, whatever lies in the working folder."""
    (tmp_path / "default").write_text("something else")
    monkeypatch.chdir(tmp_path)
    assert load_model("default", 2).factor == 2


@pytest.mark.parametrize("wrong", [{"device": "foo"}, {"precision": "bfloat16"}])
def test_a_loaded_model_runs_as_it_was_loaded(wrong):
    """What is asked for otherwise is refused, not ignored."""
    with pytest.raises(UsageError, match="is loaded with"):
        geofsrcnn.upscale_array(np.zeros((9, 9)), model=load_model(SMALL), **wrong)


def test_what_can_be_run_by_name_is_listed():
    """Networks by factor and cost, then the classical methods; each can be loaded."""
    found = list_models()
    networks = [model for model in found if model.factor is not None]
    both = [(name, factor) for factor in (2, 3, 4) for name in ("small", "default")]
    assert [(model.name, model.factor) for model in networks] == [*both, *(("default", n) for n in (5, 6))]
    assert all(model.of_bicubic < 1 and model.file_bytes > 10_000 and model.operations > 1000 for model in networks)
    assert "lanczos-bp" in {model.name for model in found[len(networks) :]}
    for model in found:
        assert load_model(model.name, model.factor).factor == (model.factor or 3)


@pytest.mark.parametrize("arguments", [["models", "--json"], ["models"]])
def test_models_are_listed_without_torch(arguments):
    """Dialogs ask for the list each time they open: it is read from the headers of the files."""
    command = [sys.executable, "-X", "importtime", "-m", "geofsrcnn", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "lanczos-bp" in done.stdout) == (0, True)
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "geofsrcnn.networks.card" in loaded
    assert not loaded & {"torch", "safetensors", "rasterio"}


def test_a_card_is_what_the_loaded_model_has():
    """The header alone tells it."""
    for path in shipped_models():
        checked = checkpoint.load_checkpoint(path)
        assert read_card(path) == (checked.config, checked.card)


def test_the_facts_of_a_checkpoint_are_plain():
    """Card and network in one, as JSON takes it; a classical method has none."""
    checked = checkpoint.load_checkpoint("small", 2)
    facts = json.loads(json.dumps(checked.to_dict()))
    assert (facts["name"], facts["factor"], facts["network"]["d"]) == ("small-x2", 2, 32)
    assert facts["sha256"] == checked.digest
    with pytest.raises(ModelError, match="cubic is a classical method, which has no checkpoint"):
        checkpoint.load_checkpoint("cubic")
