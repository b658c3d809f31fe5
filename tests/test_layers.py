"""Who may import whom, and what importing the package costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import geofsrcnn

PACKAGE = Path(geofsrcnn.__file__).parent
MODULES = {path.stem: ast.parse(path.read_text()) for path in PACKAGE.glob("*.py")}

LAYERS = (
    {"__init__", "_version", "errors", "process"},
    {"config", "grid", "tiles", "files"},
    {"remote", "journal", "cluster"},
    {"manifest"},
    {"cells", "nodata", "normalize", "domain", "resample", "metrics", "comparison", "methods", "axes", "units"},
    {
        "model",
        "inference",
        "checkpoint",
        "pairing",
        "resume",
        "ranks",
        "report",
        "logbook",
        "seeds",
        "raster",
        "cf",
        "align",
        "store",
    },
    {"pairnet", "geotiff", "predict", "patches", "netcdf", "zarrstore", "parts"},
    {"upscale", "train", "rastergrid"},
    {"opening", "compare"},
    {"evaluate", "chunked", "pairs"},
    {"dataset"},
    {"accessor", "gridded", "downscale", "train_pairs"},
    {"dispatch", "evaluate_pairs"},
    {"worker", "batchpage"},
    {"archive"},
    {"cli"},
    {"__main__"},
)
"""From the bottom; a module imports from its own line or a lower one."""


def imports(nodes: list[ast.stmt] | ast.AST, *, everywhere: bool) -> set[str]:
    """Names of imported modules; at module level only, unless everywhere. Imports for types alone do not count."""
    found: set[str] = set()
    stack = list(nodes.body) if isinstance(nodes, ast.Module) else list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack += node.orelse
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif everywhere or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            stack += list(ast.iter_child_nodes(node))
    return found


def own(names: set[str]) -> set[str]:
    """Modules of the package among imported names."""
    return {
        parts[1]
        for name in names
        if (parts := name.split("."))[0] == "geofsrcnn" and parts[1:2] and parts[1] in MODULES
    }


def foreign(names: set[str]) -> set[str]:
    """Top-level packages among imported names."""
    return {name.split(".")[0] for name in names} - {"geofsrcnn"}


def reached(module: str, *, everywhere: bool = True) -> tuple[set[str], set[str]]:
    """Modules and packages that a module leads to, itself included."""
    seen, packages, stack = set(), set(), [module]
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        names = imports(MODULES[name], everywhere=everywhere)
        packages |= foreign(names)
        stack += own(names)
    return seen, packages


@pytest.mark.parametrize("module", ["model", "checkpoint", "inference", "predict", "resume"])
def test_networks_never_reach_files_of_rasters(module):
    """What runs torch imports neither raster, geotiff nor cf, neither rasterio nor xarray, not even through others."""
    modules, packages = reached(module)
    assert not modules & {"raster", "geotiff", "cf"}
    assert not packages & {"rasterio", "xarray", "dask"}


@pytest.mark.parametrize("module", ["raster", "geotiff", "patches", "cf", "store", "netcdf", "zarrstore", "rastergrid"])
def test_files_of_rasters_never_reach_networks(module):
    """What reads and writes rasters imports no torch, not even through others."""
    modules, packages = reached(module)
    assert not modules & {"model", "checkpoint", "inference", "predict"}
    assert not packages & {"torch", "safetensors"}


@pytest.mark.parametrize("module", ["__init__", "cli", "upscale", "methods", "evaluate", "dispatch", "report"])
def test_heavy_parts_are_imported_where_they_are_used(module):
    """Importing these modules loads neither torch, rasterio nor matplotlib, directly or through others."""
    _, packages = reached(module, everywhere=False)
    assert not packages & {"torch", "rasterio", "safetensors", "rich", "xarray", "dask", "matplotlib"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_layers_are_not_turned_over(module):
    """No module imports one of a higher line, wherever the import stands; types and lazy names excepted."""
    rank = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    assert module in rank, f"{module} has no line in LAYERS"
    higher = {name for name in own(imports(MODULES[module], everywhere=True)) if rank[name] > rank[module]}
    # methods loads networks when asked for one
    assert higher - ({"checkpoint", "inference"} if module == "methods" else set()) == set()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_form_no_cycle(module):
    """No module leads back to itself through imports at module level."""
    for name in own(imports(MODULES[module], everywhere=False)) - {"__init__"}:
        assert module not in reached(name, everywhere=False)[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arithmetic_on_integers_needs_no_arrays(module):
    """errors, tiles, files and grid import no numpy; numpy's line imports no torch."""
    packages = foreign(imports(MODULES[module], everywhere=True))
    if module in LAYERS[0] | LAYERS[1]:
        assert not packages & {"numpy", "torch", "rasterio"}
    elif module in LAYERS[2] - {"methods"}:
        assert not packages & {"torch", "rasterio"}


def test_public_names_are_exact():
    """``__all__`` is what the package offers: each name is found, and documentation's list is the same."""
    assert set(geofsrcnn.__all__) == set(geofsrcnn._HOME) | {"__version__"}
    assert set(dir(geofsrcnn)) == set(geofsrcnn.__all__)
    assert set(geofsrcnn.__all__) == {
        *("FSRCNN", "FSRCNNConfig", "GeofsrcnnError", "GeofsrcnnWarning", "__version__"),
        *("load_checkpoint", "save_checkpoint"),
        *("upscale_array", "upscale_dataarray", "upscale_dataset", "upscale_file", "upscale_files", "upscale_raster"),
    }
    for name in geofsrcnn.__all__:
        assert getattr(geofsrcnn, name) is not None


def test_unknown_names_are_attribute_errors():
    """A name that the package does not have is missing in the usual way."""
    with pytest.raises(AttributeError, match="module 'geofsrcnn' has no attribute 'upscale_everything'"):
        _ = geofsrcnn.upscale_everything


@pytest.mark.parametrize("code", ["import geofsrcnn", "import geofsrcnn.cli", "import geofsrcnn.upscale"])
def test_imports_load_no_torch(code):
    """A fresh interpreter that imports the package has loaded neither torch nor rasterio."""
    check = "; import sys; print([m for m in ('torch', 'rasterio', 'safetensors') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["upscale", "--help"], ["train", "--help"], ["--version"]])
def test_help_loads_no_torch(arguments):
    """``python -m geofsrcnn --help`` answers without loading torch, rasterio or numpy."""
    command = [sys.executable, "-X", "importtime", "-m", "geofsrcnn", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "geofsrcnn" in done.stdout
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "geofsrcnn.cli" in loaded
    assert not loaded & {"torch", "rasterio", "numpy"}
