"""The recipe in miniature: sources converted as it says, models trained one after another, the same files each time."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import rasterio
from affine import Affine

from geofsrcnn.evaluation.rasters import evaluate_raster
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, GUIDED, load_checkpoint, shipped_models
from geofsrcnn.networks.config import PRESETS
from tests.support.places import ROOT
from tests.support.rasters import read, terrain, write

sys.path.insert(0, str(ROOT / "examples"))
import recipe

pytestmark = pytest.mark.usefixtures("one_thread")  # what is this small waits for more where cores are busy

RENAMED = {
    "rate": "learning_rate",
    "softness": "charbonnier_eps",
    "coarser": "pyramid_levels",
    "check_every": "validate_every",
}
"""Names that options had when the cards of the small models were written, and those that they have now."""

REAL = tomllib.loads((ROOT / "examples" / "recipe.toml").read_text(encoding="utf-8"))

MINIATURE = """
[[source]]
name = "winds"
domain = "wind"
units = "m/s"
package = "pypi:winds==1.0"
file = ["data/a.nc", "data/b.nc"]
licence = "CC0"
origin = "made up"
reader = "netcdf"
variables = ["u", "v"]
select = [{ time = 1 }]
mask = "sea"
crs = "EPSG:4326"
window = [10, 90, 0, 100]
missing = [-99.0]
valid = [-500, 500]

[[source]]
name = "hills"
domain = "elevation"
units = "m"
package = "sdist:hills==2.0"
file = "hills-2.0/hills.tif"
licence = "CC0"
origin = "made up"
reader = "gdal"
bands = [2]
dtype = "int16"

[[source]]
name = "given"
domain = "elevation"
units = "m"
repository = "somewhere"
licence = "MIT"

[[source]]
name = "nowhere"
domain = "elevation"
units = "m"
repository = "elsewhere"
licence = "MIT"

[[source]]
name = "unseen"
domain = "imagery"
units = "counts"
repository = "somewhere"
licence = "MIT"
role = "errors"
guides = "held out"

[[source]]
name = "joining"
domain = "imagery"
units = "counts"
repository = "somewhere"
licence = "MIT"
role = "later"
guides = "learned"

[[source]]
name = "held"
domain = "elevation"
units = "m"
repository = "somewhere"
licence = "MIT"
role = "held out"

[card]
limits = "a miniature"
created = "2026-01-01"

[[model]]
name = "small-x2"
size = "small"
factor = 2
summary = "first"
options = { steps = 12, batch_size = 2, patch = 8, validate_every = 6, learning_rate = 3e-3, blur = 0.5, mix = 0.5, \
pyramid_levels = 1 }

[[model]]
name = "small-x3"
size = "small"
factor = 3
start = "small-x2"
summary = "from the first"
options = { steps = 8, batch_size = 2, patch = 8, validate_every = 4, frozen = 2 }

[[model]]
name = "taught-x2"
size = "small"
factor = 2
teacher = "small-x2"
summary = "learns from the first"
options = { steps = 8, batch_size = 2, patch = 8, validate_every = 4, branches = true }

[[model]]
name = "default-first-x2"
size = "default"
factor = 2
shipped = false
summary = "where the last starts"
options = { steps = 4, batch_size = 2, patch = 8, validate_every = 4 }

[[model]]
name = "default-x2"
size = "default"
factor = 2
start = "default-first-x2"
later = true
created = "2026-02-02"
summary = "taught all"
options = { steps = 4, batch_size = 2, patch = 8, validate_every = 4, keep = "last" }
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with the recipe, given rasters, scoring rasters, and packages as if fetched."""
    home = tmp_path_factory.mktemp("recipe")
    (home / "recipe.toml").write_text(MINIATURE)
    for folder in (
        "given/elevation",
        "more/imagery",
        "score/elevation",
        "out/packages/winds-1.0",
        "out/packages/hills-2.0",
    ):
        (home / folder).mkdir(parents=True)
    write(home / "given" / "elevation" / "given.tif", terrain((90, 100), seed=1, high=500).astype("float32"))
    away = {"transform": Affine(30.0, 0.0, 600_000.0, 0.0, -30.0, 6_000_000.0)}
    write(home / "given" / "elevation" / "held.tif", terrain((90, 100), seed=2).astype("float32"), **away)
    away = {"transform": Affine(30.0, 0.0, 700_000.0, 0.0, -30.0, 6_000_000.0)}
    write(home / "score" / "elevation" / "unseen.tif", terrain((90, 100), seed=3).astype("float32"), **away)
    for number, name in enumerate(("unseen", "joining")):
        away = {"transform": Affine(30.0, 0.0, 800_000.0 + 9_000 * number, 0.0, -30.0, 6_000_000.0)}
        write(
            home / "more" / "imagery" / f"{name}.tif", terrain((2, 90, 100), seed=7 + number).astype("float32"), **away
        )
    with zipfile.ZipFile(home / "out/packages/winds-1.0/winds-1.0-py3-none-any.whl", "w") as pack:
        for name, seed in (("a", 4), ("b", 5)):
            winds(home / f"{name}.nc", seed)
            pack.write(home / f"{name}.nc", f"data/{name}.nc")
    write(home / "hills.tif", np.rint(terrain((2, 100, 90), seed=6, high=900)).astype("int16"))
    with tarfile.open(home / "out/packages/hills-2.0/hills-2.0.tar.gz", "w:gz") as pack:
        pack.add(home / "hills.tif", "hills-2.0/hills.tif")
    return home


def winds(path: Path, seed: int) -> None:
    """A netCDF file, south up, with a land mask, packed values and a mark of its own."""
    with netCDF4.Dataset(path, "w") as d:
        for name, size in (("time", 2), ("lat", 100), ("lon", 100)):
            d.createDimension(name, size)
        d.createVariable("lat", "f8", ("lat",))[:] = -12.25 + 0.25 * np.arange(100)
        d.createVariable("lon", "f8", ("lon",))[:] = 5 + 0.5 * np.arange(100)
        sea = np.ones((100, 100))
        sea[:20, :30] = 0
        d.createVariable("sea", "f4", ("lat", "lon"))[:] = sea
        for number, name in enumerate(("u", "v")):
            values = terrain((2, 100, 100), seed=seed + 10 * number, low=-20, high=20)
            values[1, 50, 60] = -99
            values[1, 55, 60] = 1e4
            d.createVariable(name, "f4", ("time", "lat", "lon"))[:] = values


def run(world: Path, out: str, *more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command."""
    line = ["recipe.py", "--recipe", "recipe.toml", "--rasters", "given", "--out", out, *more]
    monkeypatch.chdir(world)
    monkeypatch.setattr(sys, "argv", line)
    recipe.main()


@pytest.mark.filterwarnings("ignore:.*covers ground of")
def test_the_recipe_makes_the_models_and_again_the_same(world, monkeypatch, capsys):
    """Sources are made, models trained in order and scored; a second run does nothing; anew, the files are the same."""
    own = ("--only", "small-x2", "small-x3", "taught-x2")
    run(world, "out", "--score", "score", *own, monkeypatch=monkeypatch)
    printed = capsys.readouterr().out
    assert "left out, in no package: nowhere (elsewhere)" in printed
    assert "4 of 7 sources" in printed
    names = ["small-x2", "small-x3", "taught-x2"]
    files = [world / "out" / f"{name}.safetensors" for name in names]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    first, second, third = (load_checkpoint(path) for path in files)
    assert (first.config.factor, second.config.factor, third.config.factor) == (2, 3, 2)
    assert first.card.summary == "first"
    assert first.card.limits == "a miniature"
    assert source_names(first.card.data) == ["winds", "hills", "given"]
    assert first.card.data[2] == {"name": "given", "source": "somewhere", "licence": "MIT"}
    assert first.card.scores["fields"] == 1
    assert set(first.card.scores["domains"]["elevation (1)"]) >= {"this model", "nearest", "lanczos-bp"}
    assert [json.loads(line)["step"] for line in (world / "out" / "small-x2.jsonl").read_text().splitlines()] == [
        0,
        6,
        12,
    ]

    run(world, "out", *own, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.count("there already: ") == 3
    for path in files:
        path.unlink()
    run(world, "out", "--score", "score", *own, monkeypatch=monkeypatch)
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == digests


@pytest.mark.filterwarnings("ignore:.*covers ground of")
def test_networks_learn_from_sources_of_their_roles_and_then_errors_and_guides(world, monkeypatch, capsys):
    """Sources that join later, errors on what no network saw, guides on rasters of bands; only in what is shipped."""
    steps = ("--only", "default-first-x2", "default-x2", "--steps", "3", "--rasters", "given", "more")
    run(world, "out", *steps, monkeypatch=monkeypatch)
    first, shipped = (
        load_checkpoint(world / "out" / f"{name}.safetensors") for name in ("default-first-x2", "default-x2")
    )
    assert source_names(first.card.data) == ["winds", "hills", "given"]
    assert source_names(shipped.card.data) == ["winds", "hills", "given", "joining"]
    assert (first.card.created, shipped.card.created) == ("2026-01-01", "2026-02-02")
    assert not first.sections
    assert set(shipped.sections) == {EXPECTED_ERROR, GUIDED}
    assert source_names(shipped.sections[EXPECTED_ERROR].values["data"]) == ["unseen", "held"]
    assert source_names(shipped.sections[GUIDED].values["data"]) == ["joining"]
    assert set(shipped.sections[GUIDED].values["held_out"]["fields"]) == {"unseen, band 1", "unseen, band 2"}
    assert shipped.config.overshoot == recipe.OVERSHOOT
    assert first.config.overshoot is None
    capsys.readouterr()
    run(world, "out", *steps, monkeypatch=monkeypatch)
    again = capsys.readouterr().out
    assert again.count("there already: ") == 2
    assert "expected errors" not in again
    assert "with a guide" not in again


def test_sources_are_converted_as_the_recipe_says(world, monkeypatch):
    """Bands stacked, north up, placed by their coordinates, cut, what is missing NaN; whole numbers stay whole."""
    run(world, "out", "--fetch-only", monkeypatch=monkeypatch)
    with rasterio.open(world / "out/rasters/wind/winds.tif") as d:
        assert (d.count, d.shape, d.dtypes[0], d.crs.to_epsg()) == (4, (80, 100), "float32", 4326)
        assert d.units == ("m/s",) * 4
        assert d.tags()["licence"] == "CC0"
        north = -12.25 + 0.25 * 99
        assert d.transform.almost_equals(Affine(0.5, 0, 4.75, 0, -0.25, north + 0.125 - 10 * 0.25))
        bands = d.read()
    with netCDF4.Dataset(world / "a.nc") as d:
        expected = np.asarray(d["v"][1])[::-1].copy()
    expected[80:, :30] = np.nan
    expected[99 - 50, 60] = expected[99 - 55, 60] = np.nan
    assert np.array_equal(bands[1], expected[10:90], equal_nan=True)
    hills = read(world / "out/rasters/elevation/hills.tif")
    assert np.array_equal(hills, read(world / "hills.tif", 2)[None])
    assert hills.dtype == np.int16


def test_the_recipe_names_its_sources():
    """Every source has a licence, a domain and units, names are unique, and none is of a validation site."""
    names = [(source["domain"], source["name"]) for source in REAL["source"]]
    assert len(set(names)) == len(names) > 100
    for source in REAL["source"]:
        assert source["licence"]
        assert source["domain"] in {"elevation", "imagery", "temperature", "wind", "rain", "pressure", "ocean", "other"}
        assert source["units"]
        assert ("package" in source) != ("repository" in source)
        assert "origin" in source or "repository" in source
        assert "none" not in source["licence"].lower()
    assert not {
        name for _, name in names if name.startswith(("hvsampledata", "jacksboro", "topobathy", "zion", "olinda"))
    }
    roles = Counter(source.get("role") for source in REAL["source"])
    assert set(roles) == {None, "later", "errors", "held out"}
    assert 5 < roles["held out"] < 30 < roles["errors"]


@pytest.mark.parametrize("path", shipped_models(), ids=lambda path: path.stem)
def test_a_shipped_model_is_the_recipes(path):
    """Factor, sizes, options, words and data of each file in the package are those of the recipe."""
    (model,) = (model for model in REAL["model"] if model["name"] == path.stem)
    checkpoint = load_checkpoint(path)
    config, card = checkpoint.config.to_dict(), checkpoint.card
    assert config["factor"] == model["factor"]
    assert {key: config[key] for key in PRESETS[model["size"]]} == PRESETS[model["size"]]
    trained = {RENAMED.get(key, key): value for key, value in card.training.items()}
    assert {key: trained[key] for key in model["options"]} == model["options"]
    assert (card.summary, card.limits, card.created) == (
        model["summary"],
        REAL["card"]["limits"],
        model.get("created", REAL["card"]["created"]),
    )
    roles = {None, "later"} if model.get("later") else {None}
    assert source_names(card.data) == source_names(s for s in REAL["source"] if s.get("role") in roles)
    if model.get("later"):
        errors, guided = (checkpoint.sections[section].values["data"] for section in (EXPECTED_ERROR, GUIDED))
        assert source_names(errors) == source_names(
            s for s in REAL["source"] if s.get("role") in {"errors", "held out"}
        )
        assert source_names(guided) == source_names(s for s in REAL["source"] if s.get("guides") == "learned")


def test_a_field_that_a_classical_method_has_right_is_no_score(tmp_path):
    """A long wave is left out; terrain is not."""
    wave = np.add.outer(np.sin(np.arange(80) / 30), np.sin(np.arange(90) / 30))
    for name, values, perfect in (("wave", wave, True), ("hills", terrain((80, 90)), False)):
        (found,) = evaluate_raster(write(tmp_path / f"{name}.tif", values), 2, ["small"])
        assert recipe.is_perfect(found, float(values.std())) is perfect


def source_names(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Of sources."""
    return [row["name"] for row in rows]
