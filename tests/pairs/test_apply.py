"""A model of pairs is a model like any other: estimated, lazy, in batch and in parts, refused in the same words."""

from __future__ import annotations

import json
from pathlib import Path

import distributed
import numpy as np
import pytest
import xarray as xr

import geofsrcnn
from geofsrcnn.errors import UsageError
from geofsrcnn.networks import checkpoint
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK
from geofsrcnn.upscale.file import estimate_file
from tests.support import processes
from tests.support.pairfiles import made, trained

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """Files of made pairs, and a model that was trained on them."""
    folder = tmp_path_factory.mktemp("pairs")
    found = made(folder, lapse=True)
    trained(found, folder / "m.safetensors", steps=3)
    return found | {"model": folder / "m.safetensors"}


@pytest.fixture(scope="module")
def whole(files, tmp_path_factory) -> xr.Dataset:
    """What a single run gives."""
    target = tmp_path_factory.mktemp("whole") / "fine.nc"
    geofsrcnn.upscale_file(files["coarse"], target, model=files["model"])
    with xr.open_dataset(target) as dataset:
        return dataset.load()


def test_it_is_estimated(files, tmp_path):
    """Sizes are those of the run, nothing is written."""
    estimate = estimate_file(files["coarse"], tmp_path / "fine.nc", model=files["model"])
    summary = geofsrcnn.upscale_file(files["coarse"], tmp_path / "again.nc", model=files["model"])
    assert (estimate.bands, estimate.coarse, estimate.fine) == (summary.bands, summary.coarse, summary.fine)
    assert estimate.disk == summary.bands * np.prod(summary.fine) * 4
    assert estimate.tiles == -(-summary.bands // TIMES_PER_BLOCK)
    assert estimate.seconds > 0
    assert not (tmp_path / "fine.nc").exists()
    line = ["upscale", files["coarse"], tmp_path / "fine.nc", "-m", files["model"], "--dry-run", "--json"]
    assert json.loads(processes.run(*line).out)["bands"] == estimate.bands


def test_lazy_in_lazy_out(files, whole):
    """Chunks of the input in any way, the same numbers, nothing computed before."""
    with xr.open_dataset(files["coarse"], chunks={"time": 7}) as coarse:
        fine = coarse.fsrcnn.upscale(model=files["model"])
        assert fine["tas"].chunks is not None
        assert np.array_equal(fine["tas"].compute(scheduler="synchronous"), whole["tas"], equal_nan=True)
        again = coarse.fsrcnn.upscale(model=files["model"])
        assert fine["tas"].data.name == again["tas"].data.name


def test_lazily_on_a_cluster(files, whole, cluster):
    """Blocks travel to workers, which load the model themselves."""
    with (
        distributed.Client(cluster, set_as_default=False) as client,
        xr.open_dataset(files["coarse"], chunks={"time": 50}) as coarse,
    ):
        fine = client.compute(coarse.fsrcnn.upscale(model=files["model"])["tas"]).result()
    assert np.array_equal(fine, whole["tas"], equal_nan=True)


def test_eager_in_eager_out(files, whole):
    """In memory, as from the file."""
    with xr.open_dataset(files["coarse"]) as coarse:
        eager = geofsrcnn.upscale_dataset(coarse, model=files["model"])
        assert eager["tas"].chunks is None
        assert np.array_equal(eager["tas"], whole["tas"], equal_nan=True)


@pytest.mark.parametrize("split", [0, 2000])
def test_in_batch_and_in_parts(files, whole, tmp_path, split):
    """A batch gives what the single run gives, also from parts that were made apart, and warns of nothing else."""
    parts = []
    result = geofsrcnn.upscale_files(
        [files["coarse"]],
        tmp_path,
        model=files["model"],
        workers=1,
        split=split,
        pattern="{stem}_fine.nc",
        strict=True,
        progress=lambda tally: parts.append(tally.parts),
    )
    assert [(each.state, each.reason) for each in result.files] == [("done", "")]
    assert (max(parts) > 1) == bool(split)
    with xr.open_dataset(tmp_path / "coarse_fine.nc") as fine:
        assert np.array_equal(fine["tas"], whole["tas"], equal_nan=True)
        assert fine.attrs["history"] == whole.attrs["history"]


@pytest.mark.parametrize("options", [{"value_range": (0, 9)}, {"dtype": "float64"}, {"tile_size": 8}])
def test_what_has_no_meaning_is_refused_in_the_same_words(files, tmp_path, options):
    """From files, estimates, batches, datasets and the accessor, before anything is opened."""
    with xr.open_dataset(files["coarse"]) as coarse:
        calls = [
            lambda: geofsrcnn.upscale_file(files["coarse"], tmp_path / "a.nc", model=files["model"], **options),
            lambda: estimate_file(files["coarse"], tmp_path / "a.nc", model=files["model"], **options),
            lambda: geofsrcnn.upscale_files([files["coarse"]], tmp_path / "b", model=files["model"], **options),
        ]
        if "dtype" not in options:
            calls += [
                lambda: geofsrcnn.upscale_dataset(coarse, model=files["model"], **options),
                lambda: coarse.fsrcnn.upscale(model=files["model"], **options),
            ]
        said = set()
        for call in calls:
            with pytest.raises(UsageError, match="is not for models that were trained on pairs") as caught:
                call()
            said.add(str(caught.value))
    assert len(said) == 1
    assert not list(tmp_path.iterdir())


def test_another_file_with_predictors_is_noticed(files, tmp_path):
    """A batch that is resumed does again what was made with a file that has changed since."""
    with xr.open_dataset(files["coarse"]) as coarse:
        coarse[["t"]].to_netcdf(tmp_path / "t.nc")
        coarse[["stability"]].to_netcdf(tmp_path / "s.nc")
        line = {"model": files["model"], "also": [tmp_path / "s.nc"], "workers": 1, "resume": True}
        found = []
        for change in (False, False, True):
            if change:
                (coarse[["stability"]] * 0.99).assign_attrs(changed="yes").to_netcdf(tmp_path / "s.nc")
            (result,) = geofsrcnn.upscale_files([tmp_path / "t.nc"], tmp_path / "out", **line).files
            found.append((result.state, result.before))
    assert found == [("done", False), ("done", True), ("done", False)]


def test_a_pattern_reads_the_model_once(files, whole, tmp_path, monkeypatch):
    """Its files are the predictors; looking whether the model is of pairs loads it for the run."""
    with xr.open_dataset(files["coarse"]) as coarse:
        for name in ("t", "stability"):
            coarse[[name]].to_netcdf(tmp_path / f"part_{name}.nc")
    reads, real = [], checkpoint._read
    monkeypatch.setattr(checkpoint, "_read", lambda path: reads.append(path) or real(path))
    geofsrcnn.upscale_file(tmp_path / "part_*.nc", tmp_path / "fine.nc", model=files["model"])
    assert len(reads) == 1
    with xr.open_dataset(tmp_path / "fine.nc") as fine:
        assert np.array_equal(fine["tas"], whole["tas"], equal_nan=True)
