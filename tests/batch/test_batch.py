"""Batch runs on a real cluster: everything that can be done is, equal to single runs, and what cannot is said."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn.batch.journal import NAME
from geofsrcnn.batch.messages import Done, Mismatch, Part, Settings, Work
from geofsrcnn.batch.options import BatchKeywords, BatchOptions
from geofsrcnn.batch.run import upscale_files
from geofsrcnn.errors import BatchError, GeofsrcnnWarning, InputError, ModelError, OutputError, RemoteError, UsageError
from geofsrcnn.options import FileOptions, UpscaleOptions
from geofsrcnn.upscale.file import upscale_file
from tests.support import processes
from tests.support.archives import PLAIN, dataset, same
from tests.support.clusters import FORKED, children, gone, local
from tests.support.faults import JOURNAL, Gate, until
from tests.support.rasters import digest, state, terrain, write

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.usefixtures("forked_workers")


@pytest.fixture
def archive(tmp_path) -> Path:
    """A folder of three rasters, a dataset, a text that is no raster, and an empty file."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a.tif", "b.tif", "sub/a.tif")):
        write(folder / name, terrain((40, 50), seed=number).astype("float32"))
    dataset(folder / "t.nc")
    (folder / "text.tif").write_text("no raster")
    (folder / "empty.nc").touch()
    return folder


def states(result) -> dict[str, str]:
    return {each.output: each.state for each in result.files}


def test_all_is_done_or_refused_with_a_reason(archive, cluster, tmp_path):
    """Good files equal single runs; bad ones fail alone; a second run does nothing; no input is touched."""
    before = {path: state(path) for path in archive.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    result = upscale_files([archive], out, 3, address=cluster, **PLAIN)
    assert states(result) == {
        **dict.fromkeys(("a_x3.tif", "b_x3.tif", "sub/a_x3.tif", "t_x3.nc"), "done"),
        **dict.fromkeys(("text_x3.tif", "empty_x3.nc"), "failed"),
    }
    assert {each.output: each.code for each in result.failed} == {"text_x3.tif": 3, "empty_x3.nc": 3}
    assert all(each.reason and "\n" not in each.reason for each in result.failed)
    for each in result.done:
        single = tmp_path / f"single{Path(each.output).suffix}"
        upscale_file(each.source, single, 3, overwrite=True, **PLAIN)
        assert same(out / each.output, single)
        assert each.size == (out / each.output).stat().st_size
        assert each.sha256 == digest(out / each.output)
    assert {path: state(path) for path in archive.rglob("*") if path.is_file()} == before

    times = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    again = upscale_files([archive], out, 3, address="tcp://127.0.0.1:9", resume=True, **PLAIN)  # nobody is there
    assert (states(again), again.workers) == (states(result), 0)
    assert all(each.before for each in again.files)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == times
    assert not list(out.rglob(".*"))


def test_what_changed_since_is_done_again(archive, cluster, tmp_path):
    """An input that changed, an output that is gone or cut, a failure that may pass; and nothing else."""
    out = tmp_path / "out"
    upscale_files([archive], out, 3, address=cluster, **PLAIN)
    write(archive / "a.tif", terrain((41, 50), seed=9).astype("float32"))
    (out / "b_x3.tif").unlink()
    (out / "t_x3.nc").write_bytes((out / "t_x3.nc").read_bytes()[:-1])
    shutil.copy(archive / "sub" / "a.tif", archive / "text.tif")
    result = upscale_files([archive], out, 3, address=cluster, resume=True, **PLAIN)
    assert {each.output for each in result.files if not each.before} == {
        "a_x3.tif",
        "b_x3.tif",
        "t_x3.nc",
        "text_x3.tif",
    }
    assert [each.output for each in result.failed] == ["empty_x3.nc"]
    with rasterio.open(out / "a_x3.tif") as made:
        assert made.shape == (123, 150)


def test_outputs_of_others_are_kept(archive, cluster, tmp_path):
    """A file that no run in the journal made fails alone, unless --overwrite."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "a_x3.tif").write_text("mine")
    result = upscale_files([archive / "a.tif", archive / "b.tif"], out, 3, address=cluster, **PLAIN)
    assert states(result) == {"a_x3.tif": "failed", "b_x3.tif": "done"}
    assert (result.failed[0].code, (out / "a_x3.tif").read_text()) == (5, "mine")
    result = upscale_files(
        [archive / "a.tif", archive / "b.tif"], out, 3, address=cluster, resume=True, overwrite=True, **PLAIN
    )
    assert states(result) == {"a_x3.tif": "done", "b_x3.tif": "done"}


LARGE = {
    "plain": {},
    "nodata": {"nodata": -9999.0},
    "cog": {},
    "bands": {},
    "mask": {},
}


@pytest.mark.parametrize("kind", sorted(LARGE))
def test_a_raster_in_parts_is_the_same_file(kind, cluster, tmp_path, random_network):
    """To the byte, with missing cells, masks and many bands, however it is cut."""
    rng = np.random.default_rng(1)
    bands = 19 if kind == "bands" else 1
    shape = (50, 60) if kind == "bands" else (90, 110)
    values = terrain((bands, *shape), seed=3).astype("float32")
    path = tmp_path / "in.tif"
    if kind == "nodata":
        values[:, rng.random(shape) < 0.1] = -9999
    write(path, values, **LARGE[kind])
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(rng.random(shape) < 0.9)
    model = random_network(3)
    options = {"tile_size": 16, "cog": kind == "cog"}
    upscale_file(path, tmp_path / "single.tif", 3, model, threads=1, **options)
    for split in (500, 3000):
        out = tmp_path / f"out{split}"
        result = upscale_files([path], out, 3, model, address=cluster, split=split, **options)
        assert states(result) == {"in_x3.tif": "done"}, result.failed
        assert digest(out / "in_x3.tif") == digest(tmp_path / "single.tif")
        assert sorted(each.name for each in out.iterdir()) == [NAME, "in_x3.tif"]


@pytest.mark.filterwarnings("ignore:W-DATUM")
@pytest.mark.parametrize("target", [".nc", ".zarr", ".tif"])
@pytest.mark.parametrize("source", [".nc", ".zarr"])
def test_a_dataset_in_parts_is_the_same(source, target, cluster, tmp_path):
    path = dataset(tmp_path / f"in{source}", (40, 60, 70))
    single = tmp_path / f"single{target}"
    upscale_file(path, single, 3, **PLAIN)
    out = tmp_path / "out"
    result = upscale_files([path], out, 3, address=cluster, split=5000, pattern=f"{{stem}}{target}", **PLAIN)
    assert not result.failed, result.failed
    assert same(out / f"in{target}", single)
    assert sorted(each.name for each in out.iterdir()) == sorted([NAME, f"in{target}"])


@pytest.mark.filterwarnings("ignore:W-DATUM")
@pytest.mark.parametrize("target", [".nc", ".zarr", ".tif"])
def test_expected_errors_in_parts_are_the_same(target, cluster, tmp_path, random_network, with_errors):
    """Parts carry errors with the values; a network that gives none is refused before anything is begun."""
    path, model = dataset(tmp_path / "in.nc", (10, 60, 70)), with_errors
    options = {"error": True, "tile_size": 16, "device": "cpu"}
    single = tmp_path / f"single{target}"
    upscale_file(path, single, 3, model, threads=1, **options)
    for split in (0, 5000):
        out = tmp_path / f"out{split}"
        pattern = f"{{stem}}{target}"
        result = upscale_files([path], out, 3, model, address=cluster, split=split, pattern=pattern, **options)
        assert not result.failed, result.failed
        assert same(out / f"in{target}", single)
    with pytest.raises(ModelError, match="model random gives no expected error"):
        upscale_files([path], tmp_path / "none", 3, random_network(3), address=cluster, **options)
    assert not (tmp_path / "none").exists()


def test_resuming_without_the_errors_of_before_is_refused(cluster, tmp_path, with_errors):
    """As with any other option: half an archive with errors and half without is nobody's wish."""
    path, out = dataset(tmp_path / "in.nc"), tmp_path / "out"
    upscale_files([path], out, 3, with_errors, address=cluster, error=True)
    with pytest.raises(UsageError, match=r"another error \(True, not none\)"):
        upscale_files([path], out, 3, with_errors, address=cluster, resume=True)


def test_the_command_asks_for_expected_errors(tmp_path, with_errors):
    """``geofsrcnn batch --error`` writes them, and refuses what gives none before it begins."""
    common = ("batch", dataset(tmp_path / "in.nc"), "-o", tmp_path / "out", "--workers", 1, "--error")
    refused = processes.run(*common, "-m", "cubic", prelude=FORKED).refused(4)
    assert refused == "model cubic gives no expected error: take a shipped network (default)"
    done = processes.run(*common, "-m", with_errors.path, prelude=FORKED)
    assert done.code == 0, done.err
    with xr.open_dataset(tmp_path / "out" / "in_x3.nc", engine="netcdf4") as found:
        assert list(found.data_vars) == ["tas", "tas_error"]


def test_expected_errors_of_a_raster_in_parts(cluster, tmp_path, with_errors):
    """Bands of errors come out of parts as of a run of its own; a file of errors is for one file."""
    path = write(tmp_path / "in.tif", terrain((90, 110), high=900).astype("int16"), nodata=0)
    options = {"error": True, "tile_size": 32}
    upscale_file(path, tmp_path / "single.tif", 3, with_errors, **options)
    result = upscale_files([path], tmp_path / "out", 3, with_errors, address=cluster, split=1000, **options)
    assert not result.failed, result.failed
    assert same(tmp_path / "out" / "in_x3.tif", tmp_path / "single.tif")
    with pytest.raises(UsageError, match="many files have their errors as bands, with error=True"):
        upscale_files([path], tmp_path / "out", 3, with_errors, error_file="errors.tif")


def test_keywords_are_those_of_the_options():
    """The typed keywords of a batch run are its own options and those of files."""
    own = {each.name for each in fields(BatchOptions)}
    assert set(BatchKeywords.__annotations__) == own | set(FileOptions.__annotations__)


def test_parts_are_made_where_they_are_asked_for(cluster, tmp_path, monkeypatch):
    """The two tests above would pass if nothing were split."""
    import geofsrcnn.batch.run as module

    seen = []
    part = module._Batch._handle_part

    def watched(batch, split, report):
        seen.append(type(report.outcome))
        return part(batch, split, report)

    monkeypatch.setattr(module._Batch, "_handle_part", watched)
    path = write(tmp_path / "in.tif", terrain((90, 110)).astype("float32"))
    upscale_files([path], tmp_path / "out", 3, address=cluster, split=1000, **PLAIN)
    assert seen == [Part] * 9 + [Done]
    seen.clear()
    upscale_files([path], tmp_path / "out0", 3, address=cluster, split=0, **PLAIN)
    assert seen == []


def test_parts_hold_all_of_a_unit_and_damage_is_found(tmp_path):
    """Values, validity and expected errors come back; a flipped byte is an error, and the part is made anew."""
    from geofsrcnn.batch.parts import read_parts, write_part
    from geofsrcnn.grids.windows import Window
    from geofsrcnn.values.cells import Cells

    path = tmp_path / "0.npz"
    values = terrain((1, 20, 20)).astype("float32")
    cells = Cells(values, values > 0.5, errors=np.where(values > 0.5, values / 9, np.float32(np.nan)))
    with write_part(path) as part:
        part.prepare(Window(0, 20, 0, 20), cells, slice(0, 1))()
    [found] = read_parts([path])
    assert np.array_equal(found.values, cells.values)
    assert np.array_equal(found.valid, cells.valid)
    assert np.array_equal(found.errors, cells.errors, equal_nan=True)
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)
    with pytest.raises(OutputError, match=r"cannot read the part .*0\.npz"):
        list(read_parts([path]))
    assert not path.exists()


def test_models_travel_to_the_workers(archive, cluster, tmp_path, random_network):
    """A checkpoint's file is needed by the driver alone, and a wrong factor is refused before any work."""
    model = random_network(2)
    path = tmp_path / "m.safetensors"
    shutil.copy(model.path, path)
    result = upscale_files([archive / "a.tif"], tmp_path / "out", 2, path, address=cluster)
    upscale_file(archive / "a.tif", tmp_path / "single.tif", 2, path, threads=1)
    assert digest(tmp_path / "out" / "a_x2.tif") == digest(tmp_path / "single.tif")
    assert result.workers == 2
    with pytest.raises(ModelError, match="is for factor 2, not 3"):
        upscale_files([archive / "a.tif"], tmp_path / "out3", 3, path, address=cluster)
    assert not (tmp_path / "out3").exists()


def test_warnings_come_back_and_strict_makes_them_failures(cluster, tmp_path):
    path = write(tmp_path / "in.tif", terrain((20, 20)).astype("float32"), crs=None, transform=None)
    result = upscale_files([path], tmp_path / "out", 3, address=cluster, **PLAIN)
    assert [text.split(":")[0] for text in result.files[0].warnings] == ["W-NOGEO"]
    result = upscale_files([path], tmp_path / "strict", 3, address=cluster, strict=True, **PLAIN)
    assert (result.failed[0].code, "W-NOGEO" in result.failed[0].reason) == (3, True)


def test_a_folder_of_jp2(cluster, tmp_path):
    """Tiles of Sentinel-2, by their driver alone: a COG of each."""
    (tmp_path / "in").mkdir()
    kind = {"driver": "JP2OpenJPEG", "QUALITY": 100, "REVERSIBLE": "YES", "NBITS": 15}
    for name in ("B05", "B06"):
        write(tmp_path / "in" / f"{name}.jp2", terrain((40, 44), high=9000).astype("uint16"), **kind)
    options = {"driver": "JP2OpenJPEG", "cog": True, "address": cluster}
    result = upscale_files([tmp_path / "in"], tmp_path / "out", 2, "bilinear", **options)
    assert sorted(each.output for each in result.files) == ["B05_x2.tif", "B06_x2.tif"]
    assert {each.state for each in result.files} == {"done"}, result.files


def test_a_dry_run_writes_nothing(archive, cluster, tmp_path):
    out = tmp_path / "out"
    result = upscale_files([archive], out, 3, dry_run=True, **PLAIN)
    assert set(states(result).values()) == {"waiting"}
    assert not out.exists()
    upscale_files([archive / "a.tif"], out, 3, address=cluster, **PLAIN)
    before = state(out / NAME)
    result = upscale_files([archive], out, 3, dry_run=True, resume=True, **PLAIN)
    assert [each.output for each in result.done] == ["a_x3.tif"]
    assert state(out / NAME) == before


def test_a_dry_run_names_inputs_that_are_not_there(archive, cluster, tmp_path):
    """Of a manifest too: with the code and the reason that a run has, and its exit code."""
    manifest = tmp_path / "work.jsonl"
    rows = [{"input": str(archive / "a.tif")}, {"input": str(tmp_path / "nowhere.tif")}]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    planned = upscale_files([manifest], tmp_path / "out", 3, dry_run=True, **PLAIN)
    assert states(planned) == {"a_x3.tif": "waiting", "nowhere_x3.tif": "failed"}
    ran = upscale_files([manifest], tmp_path / "out", 3, address=cluster, **PLAIN)
    assert [(each.code, each.reason) for each in planned.failed] == [(each.code, each.reason) for each in ran.failed]
    done = processes.run("batch", manifest, "-o", tmp_path / "other", "-f", 3, "-m", "bilinear", "--dry-run")
    assert (done.code, done.errors) == (9, ["geofsrcnn: error: 1 of 2 files failed"])
    assert f"failed: {tmp_path / 'nowhere.tif'}: no such file: {tmp_path / 'nowhere.tif'}" in done.out
    assert not (tmp_path / "other").exists()


def test_a_dry_run_works_beside_a_journal(archive, cluster, tmp_path):
    """It shows what is left to do, and all of it where the journal would be begun anew."""
    out = tmp_path / "out"
    upscale_files([archive / "a.tif"], out, 3, address=cluster, **PLAIN)
    before = state(out / NAME)
    inputs = [archive / "a.tif", archive / "b.tif"]
    planned = upscale_files(inputs, out, 3, dry_run=True, **PLAIN)
    assert states(planned) == {"a_x3.tif": "done", "b_x3.tif": "waiting"}
    anew = upscale_files(inputs, out, 3, dry_run=True, overwrite=True, **PLAIN)
    assert set(states(anew).values()) == {"waiting"}
    assert state(out / NAME) == before


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"inputs": ["none.tif"]}, InputError, r"no such file: .*none\.tif$"),
        ({"inputs": ["none.tif", "nor.nc"]}, InputError, r"no such file: .*none\.tif, nor any other of 2 inputs"),
        ({"pattern": "a{stem}"}, OutputError, r"output name aa has none of \.tif, .*: end pattern= in {suffix}"),
        ({"pattern": "{name}"}, UsageError, "pattern '{name}' has {name}"),
        ({"address": "foo"}, UsageError, "scheduler must be local, or an address"),
        ({"address": "tls://127.0.0.1:9"}, UsageError, "tls://127.0.0.1:9 needs certificates"),
        ({"workers": 0}, UsageError, "workers= must be"),
    ],
)
def test_a_mistyped_command_leaves_nothing_and_says_why_beside_a_journal(
    archive, cluster, tmp_path, options, error, words
):
    """Or the corrected one would be refused, and the reason hidden by that of the journal."""
    out = tmp_path / "out"
    arguments = {"inputs": [archive / "a.tif"], "output_dir": out, "factor": 3, **PLAIN}
    with pytest.raises(error, match=words):
        upscale_files(**{**arguments, **options})
    assert not out.exists()
    assert not upscale_files(address=cluster, **arguments).failed
    with pytest.raises(error, match=words):
        upscale_files(**{**arguments, **options})


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"address": "tcp://127.0.0.1:8786", "scheduler_file": "x"}, UsageError, "exclude each other"),
        ({"address": "tcp://127.0.0.1:8786", "workers": 2}, UsageError, "workers= is for the local cluster"),
        ({"address": "tcp://127.0.0.1:8786", "retries": 2}, UsageError, "retries= is for the local cluster"),
        ({"scheduler_file": "x", "dashboard": True}, UsageError, "dashboard= is for the local cluster"),
        ({"workers": 0}, UsageError, "workers= must be a whole number of at least 1"),
        ({"retries": -1}, UsageError, "retries= must be"),
        ({"split": -1}, UsageError, "split= must be"),
        ({"scheduler_timeout": 0}, UsageError, "scheduler_timeout= must be"),
        ({"threads": 2}, UsageError, "unknown arguments threads"),
        ({"nonsense": 2}, UsageError, "unknown arguments nonsense"),
        ({"factor": 1}, UsageError, "factor must be"),
        ({"model": "none"}, ModelError, "no model 'none'"),
        ({"address": "tcp://127.0.0.1:9", "scheduler_timeout": 1}, UsageError, "no scheduler at tcp://127.0.0.1:9"),
        ({"scheduler_file": "none.json", "scheduler_timeout": 1}, UsageError, "no scheduler at none.json"),
        (
            {"scheduler_file": "card.json", "scheduler_timeout": 1},
            UsageError,
            "no scheduler at card.json .it holds no address",
        ),
        ({"output_dir": "s3://b/x"}, UsageError, "outputs at a URL need journal="),
    ],
)
def test_wrong_arguments_start_nothing(archive, tmp_path, monkeypatch, options, error, words):
    monkeypatch.chdir(tmp_path)
    Path("card.json").write_text("[]", encoding="utf-8")
    arguments = {"output_dir": tmp_path / "out", **PLAIN, **options}
    with pytest.raises(error, match=words):
        upscale_files([archive / "a.tif"], **arguments)
    assert not list(tmp_path.rglob("*_x3.tif"))


def test_a_cluster_that_is_not_there_leaves_nothing_in_the_way(archive, cluster, tmp_path):
    with pytest.raises(UsageError, match=r"no scheduler at tcp://127\.0\.0\.1:9"):
        upscale_files(
            [archive / "a.tif"], tmp_path / "out", 3, address="tcp://127.0.0.1:9", scheduler_timeout=1, **PLAIN
        )
    assert not upscale_files([archive / "a.tif"], tmp_path / "out", 3, address=cluster, **PLAIN).failed


def test_odd_names_fail_alone(cluster, tmp_path):
    """Each with its reason, again and again, and the others are done."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.tif", "new\nline.tif", f"{'x' * 250}.tif"):
        write(folder / name, terrain((20, 20)).astype("float32"))
    for resume in (False, True):
        result = upscale_files([folder], tmp_path / "out", 3, address=cluster, resume=resume, **PLAIN)
        assert [each.output for each in result.done] == ["a_x3.tif"]
        assert sorted(each.reason.split(":")[0] for each in result.failed) == [
            "its name has control characters",
            "output name is longer than 255 bytes",
        ]
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["a_x3.tif", NAME]


def test_what_failed_is_tried_again_if_asked_for(archive, cluster, tmp_path):
    """A reason that was not in the input, such as permissions or a missing package, may be gone."""
    out = tmp_path / "out"
    upscale_files([archive], out, 3, address=cluster, **PLAIN)
    result = upscale_files([archive], out, 3, address=cluster, resume=True, retry_failed=True, **PLAIN)
    assert sorted(each.output for each in result.files if not each.before) == ["empty_x3.nc", "text_x3.tif"]


def test_a_journal_elsewhere_belongs_to_its_folder(archive, cluster, tmp_path):
    """Or outputs of others in another folder would be taken for its own."""
    one, journal = [archive / "a.tif"], tmp_path / "j.jsonl"
    upscale_files(one, tmp_path / "out", 3, address=cluster, journal=journal, **PLAIN)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a_x3.tif").write_text("mine")
    with pytest.raises(UsageError, match="the run to resume had another folder"):
        upscale_files(one, tmp_path / "other", 3, address=cluster, journal=journal, resume=True, **PLAIN)
    with pytest.raises(UsageError, match=r"had another tile_size .16, not 8\)"):
        upscale_files(one, tmp_path / "out", 3, "bilinear", tile_size=8, address=cluster, journal=journal, resume=True)
    assert (tmp_path / "other" / "a_x3.tif").read_text() == "mine"


def test_what_lies_beside_an_input_counts_where_it_is_read(cluster, tmp_path):
    """A sidecar that changes has the file done again, with --sidecars."""
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "a.tif", terrain((20, 20)).astype("float32"))
    before = {}
    for sidecars in (True, False):
        options = {"address": cluster, "resume": True, "sidecars": sidecars, **PLAIN}
        out = tmp_path / f"out{sidecars}"
        upscale_files([path], out, 3, **options)
        (tmp_path / "in" / "a.tfw").write_text("5\n0\n0\n-5\n0\n0\n")
        before[sidecars] = upscale_files([path], out, 3, **options).files[0].before
        (tmp_path / "in" / "a.tfw").unlink()
    assert before == {True: False, False: True}


def test_parts_that_nobody_needs_are_removed(cluster, tmp_path):
    """Of another state of the input, or of other options; those of this run are taken up."""
    path = write(tmp_path / "in.tif", terrain((60, 70)).astype("float32"))
    out = tmp_path / "out"
    options = {"address": cluster, "split": 1000, **PLAIN}
    upscale_files([path], out, 3, **options)
    (out / ".in_x3.tif.0123456789ab.parts").mkdir()
    (out / ".in_x3.tif.0123456789ab.parts" / "000000.npz").write_bytes(b"old")
    (out / ".other_x3.tif.0123456789ab.parts").mkdir()
    (out / "in_x3.tif").unlink()
    assert not upscale_files([path], out, 3, resume=True, **options).failed
    assert sorted(each.name for each in out.iterdir()) == [".other_x3.tif.0123456789ab.parts", NAME, "in_x3.tif"]


def test_threads_of_a_worker_take_turns(tmp_path):
    """So that warnings are those of their file; that it is slower is said."""
    paths = []
    for number in range(20):
        odd = {"crs": None, "transform": None} if number % 2 else {}
        paths.append(write(tmp_path / f"{number:02d}.tif", terrain((20, 20)).astype("float32"), **odd))
    with (
        local(workers=1, threads=3) as threads,
        pytest.warns(GeofsrcnnWarning, match="W-THREADS: workers have several threads"),
    ):
        result = upscale_files(paths, tmp_path / "out", 3, address=threads.scheduler_address, **PLAIN)
    said = [[text.split(":")[0] for text in each.warnings] for each in result.files]
    assert said == [["W-NOGEO"] if number % 2 else [] for number in range(20)]


def test_runs_beside_each_other_keep_their_models(archive, cluster, tmp_path, random_network):
    """A worker that joins gets the models of all runs that are under way."""
    from geofsrcnn.batch.worker import Setup

    setups = [Setup(digest, b"", driver) for digest in ("", "a", "b") for driver in (None, "VRT")]
    assert len({each.name for each in setups}) == len(setups)


def test_a_page_without_matplotlib_is_refused_before_the_work(archive, tmp_path):
    prelude = "import sys; sys.modules['matplotlib'] = None"
    command = ("batch", archive, "-o", tmp_path / "out", "--report", tmp_path / "r.html", "-m", "bilinear")
    assert "is not installed: pip install 'geofsrcnn[report]'" in processes.run(*command, prelude=prelude).refused(2)
    assert not (tmp_path / "out").exists()


def test_the_dashboard_is_on_this_machine_only(archive, tmp_path, monkeypatch):
    """Its address is said, and it answers; without it nothing of it does."""
    import urllib.request

    answers: list[int] = []

    def progress(tally) -> None:
        if tally.dashboard and not answers:
            assert tally.dashboard.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(tally.dashboard) as page:
                answers.append(page.status)

    one = [archive / "a.tif"]
    assert not upscale_files(one, tmp_path / "out", 3, workers=1, dashboard=True, progress=progress, **PLAIN).failed
    assert answers == [200]
    answers.clear()
    assert not upscale_files(one, tmp_path / "out2", 3, workers=1, progress=progress, **PLAIN).failed
    assert not answers
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match="the dashboard needs bokeh: pip install bokeh"):
        upscale_files(one, tmp_path / "out3", 3, dashboard=True, **PLAIN)


def test_an_open_scheduler_elsewhere_is_warned_of(archive, tmp_path):
    with pytest.warns(GeofsrcnnWarning, match="W-SCHEDULER"), pytest.raises(UsageError, match="no scheduler"):
        upscale_files(
            [archive / "a.tif"], tmp_path / "out", address="tcp://scheduler.invalid:8786", scheduler_timeout=1, **PLAIN
        )


def test_no_workers_for_a_time_is_an_error(archive, tmp_path):
    with (
        local(workers=0) as empty,
        pytest.raises(BatchError, match="no workers for 1 s"),
    ):
        upscale_files(
            [archive / "a.tif"], tmp_path / "out", address=empty.scheduler_address, scheduler_timeout=1, **PLAIN
        )


def test_other_versions_on_workers_are_refused(archive, cluster, tmp_path, monkeypatch):
    import geofsrcnn.batch.worker

    monkeypatch.setattr(geofsrcnn.batch.worker, "version", lambda _: "9.9")
    with pytest.raises(UsageError, match=r"the worker tcp://.* has geofsrcnn [\d.]+.* \(here 9.9\)"):
        upscale_files([archive / "a.tif"], tmp_path / "out", address=cluster, **PLAIN)


def test_a_worker_that_joins_with_other_versions_stops_the_run(tmp_path):
    """What a worker that came later says of a task."""
    from geofsrcnn.batch.worker import upscale_work

    settings = Settings(
        "r", 3, "bilinear", "", UpscaleOptions(), str(tmp_path), 0, (), False, {"geofsrcnn": "9", "torch": "9"}
    )
    outcome = upscale_work(settings, Work("x.tif", "y.tif")).outcome
    assert isinstance(outcome, Mismatch)
    assert "has geofsrcnn" in outcome.reason


# ------------------------------------------------------------------------------------------------- the command


def test_the_command(archive, tmp_path):
    """With processes of its own: a table of failures, exit code 9, a journal, JSON; and again with nothing to do."""
    out = tmp_path / "out"
    common = ("batch", archive, "-o", out, "--factor", 3, "-m", "bilinear", "--workers", 2)
    run = processes.run(*common, prelude=FORKED)
    assert run.code == 9, run
    assert run.errors == ["geofsrcnn: error: 2 of 6 files failed"]
    assert f"failed: {archive}/text.tif: " in run.out
    assert "6 files: 4 done, 2 failed; " in run.out
    assert " on 2 threads, " in run.out
    assert "6 of 6 files, 2 failed" in run.err
    assert not list(out.rglob(".*"))
    again = processes.run(*common, "--resume", "--json")
    assert again.code == 9
    facts = json.loads(again.out)
    assert [each["before"] for each in facts["files"]] == [True] * 6
    assert "an earlier run has a journal here" in processes.run(*common).refused(5)
    assert processes.run(*common, "--dry-run", "--resume").out.count("failed before") == 2


def test_a_failure_is_said_once_without_a_terminal(archive, tmp_path):
    """In the list at the end; until then their number is."""
    run = processes.run("batch", archive / "text.tif", "-o", tmp_path / "out", "--workers", 1, prelude=FORKED)
    assert run.code == 9
    assert (run.out + run.err).count("text.tif (it starts with") == 1
    assert "1 of 1 file, 1 failed" in run.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_clean_and_resume_finishes(number, cluster, tmp_path):
    """No unfinished file stays, what is done is kept, the next run does the rest."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in range(20):
        write(folder / f"{name:02d}.tif", terrain((40, 50), seed=name).astype("float32"))
    common = ("batch", folder, "-o", out, "--factor", 3, "--workers", 2, "--resume")
    gate = Gate(tmp_path / "gate", at=4, places=JOURNAL)
    run = processes.start(*common, prelude=FORKED + gate.prelude)
    gate.reached(run)
    if number == signal.SIGINT:  # a terminal sends it to all of its processes
        import psutil

        for each in psutil.Process(run.pid).children(recursive=True):
            each.send_signal(number)
    run.send(number)
    gate.asked(run)
    gate.open()
    ended = run.wait()
    assert ended.code == 128 + number, ended
    assert "Traceback" not in ended.err
    assert ended.err.endswith("geofsrcnn: interrupted, no unfinished file is left\n")
    assert not list(out.rglob(".*"))
    assert gate.begun == 4  # what was done, and nothing after the signal
    assert 4 <= len(list(out.glob("*.tif"))) < 20
    result = upscale_files([folder], out, 3, address=cluster, resume=True)
    assert (len(result.done), len(result.failed)) == (20, 0)
    assert len(list(out.glob("*.tif"))) == 20


def test_worker_processes_end_with_the_driver(archive, tmp_path):
    """None is left after SIGKILL."""
    gate = Gate(tmp_path / "gate", at=1, places=JOURNAL)
    run = processes.start("batch", archive, "-o", tmp_path / "out", "--workers", 2, "-q", prelude=gate.prelude)
    gate.reached(run)
    workers = children(run.pid)
    assert len(workers) >= 2
    run.send(signal.SIGKILL)
    run.wait()
    until(lambda: all(gone(pid) for pid in workers))


def test_a_page_with_thumbnails(archive, tmp_path):
    page = tmp_path / "out" / "page.html"  # in a folder that the run makes
    run = processes.run(
        "batch", archive, "-o", tmp_path / "out", "-m", "bilinear", "--workers", 1, "--report", page, prelude=FORKED
    )
    assert run.code == 9, run
    text = page.read_text()
    assert text.count("data:image/png") >= 4
    assert "text.tif" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "<script" not in text


def test_the_page_of_the_command_names_flags_and_counts_warnings(tmp_path):
    """As the terminal does; a warning that many files have is one row."""
    folder, page = tmp_path / "in", tmp_path / "r.html"
    folder.mkdir()
    for number in range(5):
        write(folder / f"{number}.tif", terrain((20, 20)).astype("float32"), crs=None, transform=None)
    (folder / "text.tif").write_text("no raster")
    common = ("batch", folder, "-o", tmp_path / "out", "-m", "bilinear", "--workers", 1, "--report", page)
    assert processes.run(*common, prelude=FORKED).code == 9
    text = page.read_text()
    assert "with --driver if it is another raster" in text
    assert "driver=" not in text
    names = ", ".join(f"{folder}/{number}.tif" for number in range(3))
    assert text.count("W-NOGEO") == 1
    assert f"<td>5</td><td>{names}</td>" in text
    assert "output exists" in processes.run(*common, prelude=FORKED).refused(5)


def test_a_page_is_refused_before_any_work(archive, tmp_path):
    """Of a name that is none of a page, or where one stands already."""
    with pytest.raises(UsageError, match=r"its name must end in .html: .*x.txt"):
        upscale_files([archive], tmp_path / "out", 3, report=tmp_path / "x.txt", **PLAIN)
    (tmp_path / "x.html").touch()
    with pytest.raises(OutputError, match=r"output exists: .*x.html: use overwrite=True"):
        upscale_files([archive], tmp_path / "out", 3, report=tmp_path / "x.html", **PLAIN)
    assert not (tmp_path / "out").exists()


def test_buckets_in_and_out(bucket, archive, tmp_path, monkeypatch):
    """A glob in one bucket, outputs in another, a journal here: equal to local runs, and a second run does nothing."""
    import s3fs

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    files = s3fs.S3FileSystem(skip_instance_cache=True)
    for name in ("a.tif", "b.tif", "text.tif", "t.nc"):
        files.put(str(archive / name), f"data/many/{name}")
    files.put(str(dataset(tmp_path / "s.zarr")), "data/many/s.zarr", recursive=True)
    files.mkdir("made")
    inputs = ["s3://data/many/*.tif", "s3://data/many/t.nc", "s3://data/many/s.zarr"]
    options = {"workers": 1, "journal": tmp_path / "j.jsonl", "allow_remote": ["data", "made"], **PLAIN}
    result = upscale_files(inputs, "s3://made/x3", 3, **options)
    assert states(result) == {
        **dict.fromkeys(("a_x3.tif", "b_x3.tif", "t_x3.nc", "s_x3.zarr"), "done"),
        "text_x3.tif": "failed",
    }
    files.get("made/x3", str(tmp_path / "back"), recursive=True)
    for source, output in (("a.tif", "a_x3.tif"), ("t.nc", "t_x3.nc"), ("../s.zarr", "s_x3.zarr")):
        single = tmp_path / f"single{Path(output).suffix}"
        upscale_file((archive / source).resolve(), single, 3, **PLAIN)
        assert same(tmp_path / "back" / output, single)
    again = upscale_files(inputs, "s3://made/x3", 3, resume=True, **options)
    assert (all(each.before for each in again.files), again.workers) == (True, 0)
    files.put(str(archive / "b.tif"), "data/many/a.tif")
    again = upscale_files(inputs, "s3://made/x3", 3, resume=True, **options)
    assert [each.output for each in again.files if not each.before] == ["a_x3.tif"]
    with pytest.raises(RemoteError, match="allow it with allow_remote='data'"):
        upscale_files(inputs, tmp_path / "out", 3, workers=1, **PLAIN)
    closed = upscale_files(["s3://data/many/a.tif"], tmp_path / "o", 3, workers=1, allow_remote=["made"], **PLAIN)
    assert (closed.failed[0].code, "allow_remote='data'" in closed.failed[0].reason) == (7, True)
