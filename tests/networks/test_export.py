"""Exported networks: ONNX Runtime and OpenCV give what the engine gives, and what cannot be exported is refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import geofsrcnn
from geofsrcnn import Card, ModelError, OutputError, UsageError, export_onnx, save_checkpoint
from geofsrcnn.networks import onnx_graph
from geofsrcnn.networks.checkpoint import Section
from tests.support.networks import TINY, VARIANTS, random_model
from tests.support.reading import read_dem


def run(path: Path, x: np.ndarray) -> np.ndarray:
    """The result of ONNX Runtime."""
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"coarse": x})
    return found


def field(*shape: int) -> np.ndarray:
    """A rough field, float32."""
    values = np.random.default_rng(1).normal(size=shape).cumsum(-1).cumsum(-2)
    return values.astype(np.float32)


def engine(model: object, x: np.ndarray) -> np.ndarray:
    """The engine's result for ``(n, band, y, x)``, in one tile."""
    loaded = geofsrcnn.load_model(model, device="cpu")
    return np.stack([geofsrcnn.upscale_array(each, model=loaded, device="cpu", tile_size=512) for each in x])


def near(found: np.ndarray, expected: np.ndarray, share: float = 3e-6) -> bool:
    """Tell whether they are the same but for rounding."""
    return found.shape == expected.shape and np.abs(found - expected).max() <= share * np.ptp(expected)


@pytest.fixture
def saved(tmp_path):
    """Save a network with random weights; its path."""

    def save(limit=None, **config):
        model = random_model(4, **{**TINY, **config})
        model.config = dataclasses.replace(model.config, overshoot=limit)
        path = tmp_path / "random.safetensors"
        save_checkpoint(path, model, Card("random"), overwrite=True)
        return path

    return save


@pytest.mark.parametrize("limit", [None, 0.0, 0.5])
@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_form_of_the_network_is_exported(saved, tmp_path, name, limit):
    """All forms, with and without a limit: the same as the engine's, but for rounding."""
    path = saved(limit, **VARIANTS[name])
    done = export_onnx(path, tmp_path / "random.onnx")
    x = field(2, done.coarse[1], 29, 34)
    found = run(tmp_path / "random.onnx", x)
    assert near(found, engine(path, x), 1e-5 if limit == 0 else 3e-6)
    assert 0 <= done.difference < 1e-5


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("name", ["small", "default"])
def test_shipped_networks_in_other_programs(tmp_path, name, factor):
    """ONNX Runtime and OpenCV give the engine's result, on odd sizes, and keep block means and limits."""
    path = tmp_path / "model.onnx"
    done = export_onnx(name, path, factor)
    assert (done.coarse, done.fine) == (("n", 1, "y", "x"), ("n", 1, f"{factor}*y", f"{factor}*x"))
    x = field(3, 1, 37, 21)
    expected = engine(geofsrcnn.load_model(name, factor), x)
    found = run(path, x)
    assert near(found, expected)
    means = found.reshape(3, 1, 37, factor, 21, factor).mean((3, 5))
    assert np.abs(means - x).max() <= 1e-6 * np.ptp(x)
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    assert near(net.forward(), expected)


def test_a_field_of_one_cell(tmp_path):
    """Nothing is too small: edges are repeated."""
    export_onnx("default", tmp_path / "a.onnx")
    for shape in ((1, 9), (2, 3)):
        x = field(1, 1, *shape)
        assert near(run(tmp_path / "a.onnx", x), engine("default", x))
    assert np.array_equal(run(tmp_path / "a.onnx", np.full((1, 1, 1, 1), 7, np.float32)), np.full((1, 1, 3, 3), 7))


def test_real_terrain(tmp_path):
    """A DEM in metres: the same as the engine's to a fifth of a millimetre."""
    x = read_dem()[None, None, :131, :147]
    export_onnx("default", tmp_path / "a.onnx")
    assert np.abs(run(tmp_path / "a.onnx", x) - engine("default", x)).max() <= 2e-4


def test_it_is_free_of_units(tmp_path):
    """A multiple plus a constant comes out as that; a plane comes out as that plane."""
    export_onnx("default", tmp_path / "a.onnx")
    x = field(1, 1, 20, 25)
    found = run(tmp_path / "a.onnx", x)
    assert near(run(tmp_path / "a.onnx", 4 * x + 1024), 4 * found + 1024, 1e-5)
    y = np.arange(30, dtype=np.float32)[:, None] * 2 - np.arange(30, dtype=np.float32)
    inside = run(tmp_path / "a.onnx", y[None, None])[0, 0, 27:-27, 27:-27]
    place = (np.arange(90) - 1) / 3
    assert np.allclose(inside, (place[:, None] * 2 - place)[27:-27, 27:-27], atol=1e-5)


def test_dry_cells_stay_dry(saved, tmp_path):
    """A network that keeps values at or above zero leaves no trace in cells that are zero."""
    export_onnx(saved(conserving="positive"), tmp_path / "a.onnx")
    x = np.maximum(np.random.default_rng(0).normal(size=(4, 1, 64, 60)), 0).astype(np.float32)
    found = run(tmp_path / "a.onnx", x)
    assert np.all(found[x.repeat(3, 2).repeat(3, 3) == 0] == 0)


def test_a_fixed_size(tmp_path):
    """One field of that size, and no other."""
    done = export_onnx("small", tmp_path / "a.onnx", size=(19, 24))
    assert (done.coarse, done.fine) == ((1, 1, 19, 24), (1, 1, 57, 72))
    x = field(1, 1, 19, 24)
    assert near(run(tmp_path / "a.onnx", x), engine("small", x))
    with pytest.raises(Exception, match="invalid dimensions"):
        run(tmp_path / "a.onnx", field(1, 1, 20, 24))


def test_tiles_fit_together(tmp_path):
    """Tiles with so many cells around as the file says give the whole, without the cells around."""
    export_onnx("default", tmp_path / "a.onnx")
    x, halo = field(1, 1, 40, 60), int(metadata(tmp_path / "a.onnx")["halo"])
    whole = run(tmp_path / "a.onnx", x)
    part = run(tmp_path / "a.onnx", x[..., 20 - halo : 30 + halo, 10 - halo : 50 + halo])
    inside = part[..., 3 * halo : -3 * halo, 3 * halo : -3 * halo]
    assert near(inside, whole[..., 60:90, 30:150])
    less = halo - 1
    part = run(tmp_path / "a.onnx", x[..., 20 - less : 30 + less, 10 - less : 50 + less])
    assert not near(part[..., 3 * less : -3 * less, 3 * less : -3 * less], whole[..., 60:90, 30:150])


def metadata(path: Path) -> dict[str, str]:
    """The properties that a file states."""
    return {each.key: each.value for each in onnx.load(path).metadata_props}


def test_the_file_says_what_it_is(tmp_path):
    """Factor, halo, network, licence, data and version, as text; the format is one that older programs read."""
    done = export_onnx("default", tmp_path / "a.onnx", 2)
    model, facts = onnx.load(tmp_path / "a.onnx"), metadata(tmp_path / "a.onnx")
    checkpoint = geofsrcnn.load_checkpoint("default", 2)
    assert (facts["model"], facts["factor"], facts["halo"]) == ("default-x2", "2", str(checkpoint.config.halo))
    assert json.loads(facts["network"]) == checkpoint.config.to_dict()
    assert (facts["unit_free"], facts["conserving"], facts["overshoot"]) == ("true", "mean", "0.5")
    assert (facts["licence"], json.loads(facts["data"])) == ("Apache-2.0", checkpoint.card.data)
    assert (facts["geofsrcnn"], facts["sha256"]) == (geofsrcnn.__version__, checkpoint.digest)
    assert ([each.version for each in model.opset_import], model.ir_version) == ([17], 8)
    assert done.file_bytes == (tmp_path / "a.onnx").stat().st_size
    assert (done.model, done.halo) == ("default-x2", checkpoint.config.halo)


def test_networks_of_others_state_no_licence(saved, tmp_path):
    """What a file of your own may be used for is not ours to say."""
    export_onnx(saved(), tmp_path / "a.onnx")
    assert metadata(tmp_path / "a.onnx")["licence"] == ""


def test_the_limit_can_be_taken_off(tmp_path):
    """As in a run: another limit, another graph."""
    export_onnx("small", tmp_path / "a.onnx", overshoot="none")
    export_onnx("small", tmp_path / "b.onnx", overshoot=0)
    x = field(1, 1, 20, 22)
    for name, overshoot in (("a", "none"), ("b", 0)):
        expected = geofsrcnn.upscale_array(x[0], model="small", overshoot=overshoot, device="cpu")[None]
        assert near(run(tmp_path / f"{name}.onnx", x), expected)
    assert metadata(tmp_path / "a.onnx")["overshoot"] == "null"


@pytest.mark.parametrize("model", ["lanczos-bp", "nearest"])
def test_classical_methods_are_refused(tmp_path, model):
    """They are no networks."""
    with pytest.raises(ModelError, match=f"cannot export {model}: it is no FSRCNN"):
        export_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_models_of_pairs_are_refused(tmp_path):
    """Their predictors and calendar are more than a network."""
    path = tmp_path / "pairs.safetensors"
    model = random_model(unit_free=False, skip="none", conserving="none", inputs=3, **TINY)
    save_checkpoint(path, model, Card("pairs"), sections={"pairing": Section({"predictors": 3})})
    with pytest.raises(ModelError, match="cannot export pairs: it was trained on pairs"):
        export_onnx(path, tmp_path / "a.onnx")


def test_a_size_that_cannot_be_reflected_is_refused(tmp_path, saved):
    """ONNX Runtime reflects fewer cells than there are; one more cell than the halo runs."""
    path = saved(padding="reflect")
    halo = geofsrcnn.load_model(path, 3, device="cpu").halo
    with pytest.raises(UsageError, match=f"size= must be more than {halo} both ways"):
        export_onnx(path, tmp_path / "a.onnx", size=(halo + 1, halo))
    assert not (tmp_path / "a.onnx").exists()
    export_onnx(path, tmp_path / "a.onnx", size=(halo + 1, halo + 1))
    x = field(1, 1, halo + 1, halo + 1)
    assert near(run(tmp_path / "a.onnx", x), engine(path, x))


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ({"output": "a.tif"}, "must end in .onnx: a.tif"),
        ({"size": (0, 4)}, r"size= must be two whole numbers from 1 to 65536, got \(0, 4\)"),
        ({"size": (4, 10**9)}, "got"),
        ({"size": (4, 4.5)}, "got"),
        ({"size": (8, 8, 8)}, r"size= must be two whole numbers from 1 to 65536, got \(8, 8, 8\)"),
        ({"size": (8,)}, "size= must be two"),
        ({"size": 8}, "size= must be two"),
        ({"size": "88"}, "size= must be two"),
        ({"overshoot": 2}, "overshoot="),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, setup, words):
    """With nothing written."""
    arguments = {"output": "a.onnx", **setup}
    with pytest.raises(UsageError, match=words) as caught:
        export_onnx("small", tmp_path / arguments.pop("output"), **arguments)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_output_is_not_replaced_unasked(tmp_path):
    """Only with overwrite, and never if the new one fails."""
    path = tmp_path / "a.onnx"
    path.write_text("mine")
    with pytest.raises(OutputError, match="output exists"):
        export_onnx("small", path)
    assert path.read_text() == "mine"
    export_onnx("small", path, overwrite=True)
    assert run(path, field(1, 1, 4, 4)).shape == (1, 1, 12, 12)


def test_a_graph_that_does_something_else_is_not_published(tmp_path, monkeypatch):
    """It is run before it appears."""
    monkeypatch.setattr(onnx_graph.Graph, "mean", lambda graph, x: graph.add("ReduceMax", x, axes=[1]))
    with pytest.raises(OutputError, match="does not do what the network does"):
        export_onnx("small", tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra(tmp_path, monkeypatch):
    """The line says what to install."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"onnx is not installed: pip install 'geofsrcnn\[export\]'"):
        export_onnx("small", tmp_path / "a.onnx")


def test_a_network_that_is_loaded_already(tmp_path):
    """With the limit that it was loaded with, wherever its hourglass is computed."""
    model = geofsrcnn.load_model("small", 4, device="cpu", overshoot=0.25, precision="bfloat16")
    done = export_onnx(model, tmp_path / "a.onnx")
    assert (done.model, metadata(tmp_path / "a.onnx")["overshoot"]) == ("small-x4", "0.25")
    x = torch.rand(1, 1, 12, 13).numpy()
    assert near(run(tmp_path / "a.onnx", x), engine(geofsrcnn.load_model("small", 4, overshoot=0.25), x))
