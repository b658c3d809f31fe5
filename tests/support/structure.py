"""What the structure of the package promises, as a list of what breaks it.

The ladder of packages stands in CONTRIBUTING.md, where people read it, and is read from there.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from tests.support.places import ROOT

PACKAGE = ROOT / "geofsrcnn"

LONGEST = 660
"""Lines of a module."""

LONGEST_COMMAND = 300
"""Lines of a module of the command line, which holds no logic."""

HEAVY = {
    "torch": {"networks", "engine", "training", "pairs", "batch.worker"},
    "safetensors": {"networks", "training"},
    "onnx": {"networks.export", "networks.onnx_graph"},
    "onnxruntime": {"networks.export"},
    "rasterio": {"formats", "training.patches", "pairs.read"},
    "netCDF4": {"formats"},
    "zarr": {"formats", "files.remote"},
    "xarray": {"cf", "formats", "pairs", "upscale", "accessor"},
    "dask": {"engine.lazy", "formats", "batch", "pairs.lazy"},
    "distributed": {"batch"},
    "click": {"cli"},
    "psutil": {"machine"},
    "filelock": {"files.locks"},
    **{posix: {"system"} for posix in ("ctypes", "fcntl", "resource", "termios")},
    "pint": {"values.units"},
    "jinja2": {"evaluation.shell"},
    "matplotlib": {"evaluation", "training.log", "batch.page"},
}
"""Packages and modules that may import a heavy library, wherever the import stands."""

LONGEST_FUNCTION = 80
"""Lines of a function, less its docstring."""

FRAGMENTS = ("What", "Of", "Whether")
"""Words that no docstring begins with: it is a sentence, or names what the thing is."""

NO_NUMPY = {"errors", "process", "_version", "files"}
"""What loads no numpy either."""


class Import(NamedTuple):
    """An import in a module."""

    name: str
    line: int
    lazy: bool
    for_types: bool


def sources(package: Path = PACKAGE) -> dict[str, str]:
    """The text of each module by its name, ``engine.tile`` or, of a package's own module, ``engine``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def ladder(text: str | None = None) -> dict[str, int]:
    """The line of each package and module of the root, from 0 for what imports nothing of the others."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8") if text is None else text
    rows = re.findall(r"^(\d+) {2,}(.+)$", text, re.MULTILINE)
    return {name: int(line) for line, names in rows for name in re.findall(r"[\w.]+", names)}


@cache
def imports(text: str) -> tuple[Import, ...]:
    """All imports of a module."""

    def walk(node: ast.AST, *, lazy: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(alias.name, child.lineno, lazy, for_types) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                module = "." * child.level + (child.module or "")
                yield from (Import(f"{module}.{a.name}", child.lineno, lazy, for_types) for a in child.names)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                yield from walk(ast.Module(child.body, []), lazy=lazy, for_types=True)
                yield from walk(ast.Module(child.orelse, []), lazy=lazy, for_types=for_types)
            else:
                inside = lazy or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
                yield from walk(child, lazy=inside, for_types=for_types)

    return tuple(walk(ast.parse(text), lazy=False, for_types=False))


@cache
def form(text: str) -> tuple[bool, int]:
    """Whether a module has a docstring, and how many statements."""
    tree = ast.parse(text)
    return ast.get_docstring(tree) is not None, len(tree.body)


def own(name: str, modules: Mapping[str, str]) -> str | None:
    """The module of the package that an imported name is, or is in; "" for the root."""
    if name.split(".", maxsplit=1)[0] != "geofsrcnn":
        return None
    inner = name.removeprefix("geofsrcnn").removeprefix(".")
    while inner and inner not in modules:
        inner = inner.rpartition(".")[0]
    return inner


def within(module: str, places: set[str]) -> bool:
    """Whether a module is one of the places, or in one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


def breaches(modules: Mapping[str, str], lines: Mapping[str, int] | None = None) -> list[str]:
    """What breaks the structure, a line each; nothing if all is well."""
    lines = ladder() if lines is None else lines
    return [
        *_upward(modules, lines),
        *_heavy(modules),
        *_circles(modules),
        *_forms(modules),
        *_functions(modules),
        *_flags(modules),
    ]


def _upward(modules: Mapping[str, str], lines: Mapping[str, int]) -> Iterator[str]:
    """Imports that go up or sideways, and packages without a line."""
    for module, text in modules.items():
        room = module.split(".")[0]
        if room in ("", "__main__"):
            continue
        if room not in lines:
            yield f"{module}: {room} has no line in CONTRIBUTING.md"
            continue
        for each in imports(text):
            to = own(each.name, modules)
            if each.name.startswith("."):
                yield f"{module}:{each.line} imports relatively"
            elif to == "":
                yield f"{module}:{each.line} imports {each.name} from the root: name the module that has it"
            elif to is not None and to.split(".")[0] != room and lines.get(to.split(".")[0], 99) >= lines[room]:
                yield f"{module}:{each.line} imports {to}, which is no lower line"


def _heavy(modules: Mapping[str, str]) -> Iterator[str]:
    """Libraries where they do not belong."""
    for module, text in modules.items():
        for each in imports(text):
            library = each.name.split(".")[0]
            if each.for_types:
                continue
            if library in HEAVY and not within(module, HEAVY[library]):
                yield f"{module}:{each.line} imports {library}, which is for {', '.join(sorted(HEAVY[library]))}"
            if library == "numpy" and within(module, NO_NUMPY):
                yield f"{module}:{each.line} imports numpy"


def _circles(modules: Mapping[str, str]) -> Iterator[str]:
    """Modules that lead back to themselves when they are imported."""
    edges = {
        module: {
            to
            for each in imports(text)
            if not (each.lazy or each.for_types) and (to := own(each.name, modules)) not in (None, module)
        }
        for module, text in modules.items()
    }
    for module in modules:
        seen: set[str] = set()
        stack = list(edges[module])
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack += edges.get(name, ())
        if module in seen:
            yield f"{module} leads back to itself"


def _forms(modules: Mapping[str, str]) -> Iterator[str]:
    """Modules that are too long or say nothing, packages whose own module does more than to say what they hold."""
    for module, text in modules.items():
        says, statements = form(text)
        if not says:
            yield f"{module} says nothing of itself"
        longest = LONGEST_COMMAND if within(module, {"cli"}) else LONGEST
        if (count := len(text.splitlines())) > longest:
            yield f"{module} has {count} lines"
        is_package = any(other.startswith(f"{module}.") for other in modules) and module
        if is_package and module != "formats" and statements > 1:
            yield f"{module}/__init__ holds more than a paragraph"


def _functions(modules: Mapping[str, str]) -> Iterator[str]:
    """Functions that are too long, and docstrings that begin in the middle of a sentence."""
    for module, text in modules.items():
        for name, length, first in definitions(text):
            path = f"{module}.{name}" if name else module
            if length > LONGEST_FUNCTION:
                yield f"{path} has {length} lines"
            if first in FRAGMENTS:
                yield f"{path}: its docstring begins with {first!r}"


@cache
def definitions(text: str) -> tuple[tuple[str, int, str], ...]:
    """Name, lines (0 but for functions) and first word of the docstring of all that a module defines, constants too."""

    def walk(node: ast.AST, owner: str) -> Iterator[tuple[str, int, str]]:
        name, is_function = owner, isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            name = f"{owner}.{node.name}" if owner else node.name
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            words = (ast.get_docstring(node) or "").split()
            length = _lines(node) - (_lines(node.body[0]) if words else 0) if is_function else 0
            yield name, length, words[0] if words else ""
        for before, each in pairwise(getattr(node, "body", ()) if isinstance(node, (ast.ClassDef, ast.Module)) else ()):
            if isinstance(before, (ast.Assign, ast.AnnAssign)) and ast.unparse(each)[:1] in ("'", '"'):
                words = ast.unparse(each).strip("'\"").split()
                yield ast.unparse(before).split(" ")[0].rstrip(":"), 0, words[0] if words else ""
        for child in ast.iter_child_nodes(node):
            yield from walk(child, name)

    return tuple(walk(ast.parse(text), ""))


def _flags(modules: Mapping[str, str]) -> Iterator[str]:
    """Flags in messages outside the command line, which makes them of parameters."""
    for module, text in modules.items():
        if within(module, {"cli"}):
            continue
        for line, flag in flags(text):
            yield f"{module}:{line} names the flag {flag}: name the parameter, as in overwrite=True"


@cache
def flags(text: str) -> tuple[tuple[int, str], ...]:
    """Lines and flags, such as ``--factor``, in the messages of a module: no docstrings, and no colours of pages."""
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return tuple(
        (node.lineno, flag)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
        for flag in re.findall(r"(?<![\w-])(?<!var\()--[a-z][a-z-]*\b(?!:\s*#)", node.value)
    )


def _lines(node: ast.AST) -> int:
    return (getattr(node, "end_lineno", 0) or 0) - getattr(node, "lineno", 1) + 1


TESTS = ROOT / "tests"


def sources_of_tests() -> dict[str, str]:
    """The text of each module of tests by its name from the root, ``tests.engine.test_lazy``."""
    paths = sorted(TESTS.rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p.read_text(encoding="utf-8") for p in paths}


def ties_of_tests(modules: Mapping[str, str]) -> list[str]:
    """Imports of modules of tests that are no helpers, a line each."""
    names = {module.rpartition(".")[2] for module in modules if is_test(module)}
    found = []
    for module, text in modules.items():
        for each in imports(text):
            parts = each.name.split(".")
            if parts[0] == "tests" and parts[1:2] != ["support"]:
                found.append(f"{module}:{each.line} imports {each.name}: what tests share stands in tests.support")
            elif each.name.startswith(".") or parts[0] in names:
                found.append(f"{module}:{each.line} imports {each.name}, which is a test")
    return found


def clocks_of_tests(modules: Mapping[str, str]) -> list[str]:
    """Modules of tests, but for helpers, that look at a clock: on a busy machine they would fail."""
    words = re.compile(r"\btime\.(monotonic|perf_counter|process_time|time)(_ns)?\(")
    return [name for name, text in modules.items() if not name.startswith("tests.support.") and words.search(text)]


def is_test(module: str) -> bool:
    """Whether tests or fixtures stand in a module."""
    name = module.rpartition(".")[2]
    return name.startswith("test_") or name == "conftest"


def twins_of_tests(modules: Mapping[str, str]) -> list[str]:
    """Names that several modules of tests have."""
    count = Counter(module.rpartition(".")[2] for module in modules if module.rpartition(".")[2].startswith("test_"))
    return [name for name, number in count.items() if number > 1]


def rooms_of_tests(modules: Mapping[str, str]) -> set[str]:
    """Packages of tests."""
    return {module.split(".")[1] for module in modules if module.count(".") > 1}
