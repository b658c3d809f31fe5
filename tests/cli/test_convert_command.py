"""`geofsrcnn convert`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json

import pytest
import torch

from geofsrcnn.networks.config import PRESETS
from tests.support import processes
from tests.support.networks import TINY, random_model


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A state dict of another program: the layers of a paper's network under other names."""
    model = random_model(3, **{**PRESETS["paper"], **TINY})
    stages = [model.feature, model.feature_prelu, model.shrink, model.shrink_prelu, model.mapping[0]]
    stages += [model.mapping_prelu[0], model.expand, model.expand_prelu, torch.nn.ConvTranspose2d(8, 1, 9, 3, 4)]
    path = tmp_path_factory.mktemp("weights") / "theirs.pth"
    torch.save(torch.nn.Sequential(*stages).state_dict(), path)
    return path


def test_it_says_what_it_converted(tmp_path, weights):
    """Layout, sizes and values; the checkpoint runs by its name."""
    out = tmp_path / "ours.safetensors"
    done = processes.run("convert", weights, out, "--factor", 3, "--data-range", 255)
    words = "FSRCNN x3 of another program, converted from a PyTorch state dict: 1 band, (d, s, m) = (8, 4, 1), "
    assert (done.code, done.err, done.out) == (0, "", f"{out}: {words}values of 0 to 255\n")
    facts = json.loads(processes.run("info", out, "--json").out)
    assert (facts["factor"], facts["training"]["converted_from"]) == (3, "theirs.pth")
    again = processes.run("convert", weights, out, "--factor", 2, "--json", "--overwrite")
    assert json.loads(again.out)["factor"] == 2
    assert processes.run("convert", weights, out, "--factor", 2, "--quiet", "--overwrite").out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "do not say for which factor they are: give --factor"),
        (["--factor", 3, "--padding", 12], 2, "--padding must be from 0 to 8"),
        (["--factor", 3, "--data-range", -1], 2, "--data-range must be a number above 0"),
    ],
)
def test_refusals_are_one_line(tmp_path, weights, arguments, code, words):
    """With their exit code, and nothing written."""
    assert words in processes.run("convert", weights, tmp_path / "ours.safetensors", *arguments).refused(code)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_of_weights(tmp_path):
    """Exit code 4, as of any model that is refused."""
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    line = processes.run("convert", tmp_path / "a.h5", tmp_path / "a.safetensors", "--factor", 3).refused(4)
    assert line.startswith("not weights that are known: a.h5: give a .pth")
