"""`geofsrcnn export`: what it prints and writes, and its exit codes."""

from __future__ import annotations

import json

import onnxruntime
import pytest

from tests.support import processes


def test_it_says_what_it_wrote(tmp_path):
    """Shapes, size, and how near it comes to the network; the file runs."""
    path = tmp_path / "a.onnx"
    done = processes.run("export", "default", path, "--factor", 2)
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert done.out.startswith(f"{path}: default-x2, (n, 1, y, x) -> (n, 1, 2*y, 2*x), ")
    assert f"KiB; ONNX Runtime {onnxruntime.__version__} differs from the network by " in done.out
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map["factor"] == "2"


def test_json_and_a_fixed_size(tmp_path):
    """The same facts on one line, for programs."""
    done = processes.run("export", "small", tmp_path / "a.onnx", "--size", 12, 14, "--json")
    facts = json.loads(done.out)
    assert (facts["coarse"], facts["fine"]) == ([1, 1, 12, 14], [1, 1, 36, 42])
    assert (facts["halo"], facts["file_bytes"]) == (4, (tmp_path / "a.onnx").stat().st_size)
    quiet = processes.run("export", "small", tmp_path / "a.onnx", "--overwrite", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["default", "a.tif"], 2, "the name of an ONNX file must end in .onnx: a.tif"),
        (["default", "a.onnx", "--size", 0, 4], 2, "--size must be two whole numbers from 1 to 65536, got (0, 4)"),
        (["default", "there.onnx"], 5, "use --overwrite"),
        (["cubic", "a.onnx"], 4, "cannot export cubic: it is no FSRCNN"),
        (["missing.safetensors", "a.onnx"], 4, "missing.safetensors"),
        (["default", "a.onnx", "--factor", 7], 4, "no model 'default' for factor 7"),
    ],
)
def test_refusals_are_one_line(tmp_path, arguments, code, words):
    """With their exit code, and nothing written."""
    (tmp_path / "there.onnx").write_text("mine")
    assert words in processes.run("export", *arguments, cwd=str(tmp_path)).refused(code)
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]
    assert (tmp_path / "there.onnx").read_text() == "mine"
