"""The arithmetic of networks: what is asked for runs, and auto is one of the two."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import geofsrcnn
from geofsrcnn.cli.main import cli
from geofsrcnn.networks import precision
from geofsrcnn.networks.catalog import load_model
from tests.support.rasters import terrain, write


@pytest.fixture(autouse=True)
def _measure_anew():
    precision._fastest.cache_clear()
    yield
    precision._fastest.cache_clear()


@pytest.mark.parametrize(("slow", "chosen"), [(torch.float32, "bfloat16"), (torch.bfloat16, "float32")])
def test_auto_takes_the_faster_one(slow, chosen, monkeypatch):
    """Whichever convolution takes several times as long here, auto takes the other, and the result is the other's."""
    true = precision.conv2d

    def slowed(x, weight):
        return [true(x, weight) for _ in range(40 if x.dtype == slow else 1)][-1]

    monkeypatch.setattr(precision, "conv2d", slowed)
    assert load_model("small", 3, precision="auto").precision == chosen
    rough = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    result = geofsrcnn.upscale_array(rough, 3, "small", precision="auto")
    assert np.array_equal(result, geofsrcnn.upscale_array(rough, 3, "small", precision=chosen))


def test_auto_measures_once_in_a_process(monkeypatch):
    """A second model does not wait for it."""
    load_model("small", 3, precision="auto")
    monkeypatch.setattr(precision, "conv2d", None)
    load_model("small", 2, precision="auto")


@pytest.mark.parametrize("asked", ["float32", "bfloat16", "auto"])
def test_classical_methods_are_computed_in_float32(asked):
    """They say so, and a loaded one can be asked for as before."""
    model = load_model("cubic", 3, precision=asked)
    assert model.precision == "float32"
    assert load_model(model, precision=asked) is model


@pytest.mark.parametrize(
    ("asked", "shown"), [("float32", "small-x3 on cpu, "), ("bfloat16", "small-x3 on cpu in bfloat16, ")]
)
def test_the_summary_says_which_ran(asked, shown, tmp_path):
    """In the line, and in the JSON."""
    source = write(tmp_path / "coarse.tif", terrain((12, 15), low=100, high=200).astype("float32"))
    line = ["upscale", str(source), str(tmp_path / "fine.tif"), "--model", "small", "--device", "cpu"]
    line += ["--precision", asked, "--overwrite"]
    assert shown in CliRunner().invoke(cli, line).stdout
    assert json.loads(CliRunner().invoke(cli, [*line, "--json"]).stdout)["precision"] == asked
