"""Who may import whom, how large modules are, what importing the package costs; proved by breaking it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys

import pytest

import geofsrcnn
from tests.support import structure

MODULES = structure.sources()
PLAIN = sorted(module for module in MODULES if not structure.within(module, structure.HEAVY["torch"]))
NUMPY = sorted(module for module in MODULES if structure.within(module, {"grids", "values"}))


def test_the_structure_holds():
    """Imports go down, libraries stay where they belong, nothing leads back to itself, no module is too long."""
    assert structure.breaches(MODULES) == []


def broken(module: str, line: str) -> list[str]:
    """What is found where a line is added to a module."""
    return structure.breaches({**MODULES, module: f"{MODULES[module]}\n{line}\n"})


@pytest.mark.parametrize("module", PLAIN)
def test_an_import_of_torch_is_found(module):
    """In each module that is not to load it, at its top and inside a function."""
    assert any(f"{module}:" in found and "torch" in found for found in broken(module, "import torch"))
    assert any("torch" in found for found in broken(module, "def later():\n    import torch"))


@pytest.mark.parametrize("module", NUMPY)
def test_an_import_of_what_stands_higher_is_found(module):
    """The arithmetic imports no engine, not even for a moment."""
    line = "def later():\n    from geofsrcnn.engine.run import run"
    assert any("which is no lower line" in found for found in broken(module, line))


@pytest.mark.parametrize(
    ("module", "line", "words"),
    [
        ("grids.windows", "from geofsrcnn.grids.affine import Grid", "leads back to itself"),
        ("values.cells", "import geofsrcnn", "from the root"),
        ("values.cells", "from geofsrcnn import upscale_array", "from the root"),
        ("files.kinds", "import numpy", "imports numpy"),
        ("formats.netcdf", "from geofsrcnn.engine.base import Source", "which is no lower line"),
        ("engine.tile", "import rasterio", "imports rasterio"),
        ("networks.fsrcnn", "import xarray", "imports xarray"),
        ("cli.show", "from .signals import fail", "relatively"),
        ("values", "LIMIT = 1", "holds more than a paragraph"),
        ("values.cells", "\n" * structure.LONGEST, "lines"),
        ("cli.show", "\n" * structure.LONGEST_COMMAND, "lines"),
        (
            "values.cells",
            "class A:\n    def f():" + "\n" * structure.LONGEST_FUNCTION + "        pass",
            "A.f has 81 lines",
        ),
        ("process", "def f():\n    'Whether it is.'", "begins with 'Whether'"),
        ("process", "LIMIT = 1\n'What is most.'", "LIMIT: its docstring begins with 'What'"),
        ("process", "def f(x):\n    raise ValueError(f'{x}: use --overwrite')", "names the flag --overwrite"),
    ],
)
def test_other_breaches_are_found(module, line, words):
    """Circles, the root, siblings, libraries where they do not belong, packages that do something, length, words."""
    assert any(words in found for found in broken(module, line))


def test_a_package_without_a_line_is_found(tmp_path):
    """A new package needs its place in the ladder; all modules of a folder are read."""
    tree = tmp_path / "geofsrcnn"
    shutil.copytree(structure.PACKAGE, tree, ignore=shutil.ignore_patterns("__pycache__", "weights"))
    assert structure.sources(tree) == MODULES
    (tree / "novelty.py").write_text('"""New."""\n', encoding="utf-8")
    assert any("novelty has no line" in found for found in structure.breaches(structure.sources(tree)))


TESTS = structure.sources_of_tests()
APART = {"docs", "faults", "golden", "promises", "qgis", "real", "studies", "support"}
"""What is about the product as a whole."""


def test_no_test_imports_another():
    """What tests share stands in tests.support and in conftest modules; each name stands for one module."""
    assert structure.ties_of_tests(TESTS) == []
    assert structure.twins_of_tests(TESTS) == []


@pytest.mark.parametrize(
    "line",
    [
        "from tests.grids.test_axes import test_even_cells_are_split_evenly",
        "import tests.conftest",
        "def later():\n    from tests import conftest",
        "from test_axes import cases",
        "from conftest import cluster",
        "from .test_axes import cases",
    ],
)
def test_an_import_of_a_test_is_found(line):
    """Wherever it stands, and however it is written."""
    module = "tests.engine.test_lazy"
    broken_tests = {**TESTS, module: f"{TESTS[module]}\n{line}\n"}
    assert any(found.startswith(f"{module}:") for found in structure.ties_of_tests(broken_tests))


def test_no_test_looks_at_a_clock():
    """What happens in what order is proved by gates and counts; patience, of minutes, stands in tests.support."""
    apart = ("tests.golden.", "tests.qgis.inside.")  # the latter run in QGIS's own Python, without tests.support
    timed = {name: text for name, text in TESTS.items() if not name.startswith(apart)}
    assert structure.clocks_of_tests(timed) == []
    assert structure.clocks_of_tests({**timed, "tests.x": "time." + "monotonic()"}) == ["tests.x"]


def test_tests_mirror_the_package():
    """Each package has a folder of tests, and each folder is a package or one of those that stand apart."""
    packages = {path.parent.name for path in structure.PACKAGE.glob("*/__init__.py")}
    assert structure.rooms_of_tests(TESTS) - APART == packages


def stated(text: str) -> dict[str, str]:
    """The public names of a stub, and the module of each."""
    return {
        alias.asname: str(node.module)
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def missing(names: dict[str, str], modules: dict[str, str]) -> list[str]:
    """Public names that their module does not define."""
    found = []
    for name, module in names.items():
        body = ast.parse(modules.get(module, "")).body
        defined = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        defined |= {
            n.id for each in body if isinstance(each, ast.Assign) for n in each.targets if isinstance(n, ast.Name)
        }
        found += [] if name in defined else [name]
    return found


STUB = (structure.PACKAGE / "__init__.pyi").read_text(encoding="utf-8")


def test_public_names_are_exact():
    """The package offers what its stub lists, and documentation's list is the same."""
    names = stated(STUB)
    assert missing(names, MODULES) == []
    assert set(geofsrcnn.__all__) == set(dir(geofsrcnn)) == set(names)
    assert set(names) == {
        *("FSRCNN", "FSRCNNConfig", "Card", "Checkpoint", "Comparison", "Estimate", "Summary"),
        *("BatchOptions", "BatchResult"),
        *("GeofsrcnnError", "UsageError", "ConfigError", "InputError", "ModelError", "OutputError", "LimitError"),
        *("RemoteError", "TrainError", "BatchError", "InternalError", "GeofsrcnnWarning", "__version__"),
        *("load_checkpoint", "save_checkpoint", "train_model", "train_error", "ErrorResult", "train_pairs"),
        *("train_guided", "GuidedResult", "GuidedOptions", "sharpen_file", "Sharpened", "Verdict", "MethodScore"),
        *("sharpen_dataset", "sharpen_dataarray"),
        *("TrainOptions", "PairOptions"),
        *("PairsSpec", "export_onnx", "Exported", "convert_weights"),
        *("evaluate_raster", "evaluate_pairs"),
        *("upscale_array", "upscale_dataarray", "upscale_dataset", "upscale_datatree", "upscale_file", "upscale_files"),
        *("UpscaleOptions", "Model", "load_model", "ModelInfo", "list_models"),
        *("RasterDescription", "DatasetDescription", "describe_file"),
    }
    for name in geofsrcnn.__all__:
        assert getattr(geofsrcnn, name) is not None


@pytest.mark.parametrize("name", sorted(stated(STUB)))
def test_a_missing_public_name_is_found(name):
    """A name whose definition is gone, or stands elsewhere, is missed."""
    names = stated(STUB)
    gone = {module: text.replace(name, f"{name}_gone") for module, text in MODULES.items()}
    assert name in missing(names, gone)


def test_unknown_names_are_attribute_errors():
    """A name that the package does not have is missing in the usual way."""
    with pytest.raises(AttributeError, match="upscale_everything"):
        _ = geofsrcnn.upscale_everything  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module", ["geofsrcnn", "geofsrcnn.cli.main", "geofsrcnn.upscale.file", "geofsrcnn.formats.open"]
)
def test_imports_load_nothing_heavy(module):
    """A fresh interpreter that imports these has loaded neither torch, rasterio nor xarray."""
    heavy = ("torch", "rasterio", "safetensors", "rich", "xarray", "dask", "matplotlib")
    code = f"import {module}, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_model_is_loaded_without_the_compiler_of_torch():
    """Which takes longer to import than all else together, and is never used."""
    code = "import geofsrcnn, sys; geofsrcnn.load_checkpoint('small', 3); print('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["upscale", "--help"], ["train", "--help"], ["--version"]])
def test_help_loads_no_torch(arguments):
    """``python -m geofsrcnn --help`` answers without loading torch, rasterio or numpy."""
    command = [sys.executable, "-X", "importtime", "-m", "geofsrcnn", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "geofsrcnn" in done.stdout
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "geofsrcnn.cli.main" in loaded
    assert not loaded & {"torch", "rasterio", "numpy"}
