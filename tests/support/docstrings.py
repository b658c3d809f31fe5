"""Docstrings that are missing, incomplete or untrue, by numpydoc's validation: ``python -m tests.support.docstrings``.

A public name, as the package's stub and the accessor offer them, has a complete docstring. Any other may be one
sentence; where it has sections, they are true.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import geofsrcnn
from tests.support import structure

COMPLETE = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR07", "PR10", "RT01", "RT03", "YD01", "SS03"}
"""Checks of public names: a docstring, all parameters in order with type and words, what is returned."""

TRUE = {"PR01", "PR02", "PR03", "PR10"}
"""Checks of docstrings that name parameters."""

ACCESSORS = ("DatasetAccessor", "DataTreeAccessor", "DataArrayAccessor")


def public_objects() -> Iterator[tuple[str, Any]]:
    """Yield the public functions and classes, and their public methods, each with its path."""
    accessor = importlib.import_module("geofsrcnn.accessor")
    offered = [getattr(geofsrcnn, name) for name in geofsrcnn.__all__ if not name.startswith("_")]
    for each in (*offered, *(getattr(accessor, name) for name in ACCESSORS)):
        yield f"{each.__module__}.{each.__qualname__}", each
        yield from _members(each)


def described_objects() -> Iterator[tuple[str, Any]]:
    """Yield the functions, classes and methods of all modules that have a docstring, each with its path."""
    for name in sorted(structure.sources().keys() - {"__main__"}):  # which others run, and may not be imported before
        module = importlib.import_module(f"geofsrcnn.{name}" if name else "geofsrcnn")
        for each in vars(module).values():
            if getattr(each, "__module__", None) == module.__name__ and (
                inspect.isfunction(each) or inspect.isclass(each)
            ):
                yield f"{module.__name__}.{each.__qualname__}", each
                yield from _members(each)


def _members(owner: Any) -> Iterator[tuple[str, Any]]:
    if not inspect.isclass(owner):
        return
    for name, member in vars(owner).items():
        function = getattr(member, "fget", None) or getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function):
            yield f"{owner.__module__}.{owner.__qualname__}.{name}", function


def breaches() -> list[str]:
    """List what is wrong with docstrings, a line each."""
    public = dict(public_objects())
    rest = {path: each for path, each in described_objects() if path not in public}
    found = [line for path, each in public.items() for line in judged(path, each, COMPLETE)]
    return found + [line for path, each in rest.items() for line in judged(path, each, TRUE)]


def judged(path: str, described: Any, checks: set[str]) -> Iterator[str]:
    """Yield what the checks and the exceptions that it raises say of an object's docstring."""
    text = inspect.getdoc(described) or ""
    if checks is COMPLETE or "Parameters\n---" in text:
        for code, words in validate(path)["errors"]:
            if code in checks and not (code == "PR01" and set(re.findall(r"'([^']+)'", words)) <= inherited(described)):
                yield f"{path}: {code} {words}"
    if inspect.isfunction(described) and (checks is COMPLETE or "Raises\n---" in text):
        yield from (f"{path}: {words}" for words in raises(described))


def inherited(described: Any) -> set[str]:
    """Return the parameters of a class that the classes it extends document."""
    bases = described.__mro__[1:] if inspect.isclass(described) else ()
    documented = [parameter for base in bases for parameter in NumpyDocString(inspect.getdoc(base) or "")["Parameters"]]
    return {name.strip() for parameter in documented for name in parameter.name.split(",")}


def raises(function: Any) -> Iterator[str]:
    """Yield the errors that a function raises without a word, and those it names that are none.

    Errors that functions it calls raise are not looked for.
    """
    names = {**vars(builtins), **vars(importlib.import_module("geofsrcnn.errors")), **function.__globals__}
    entries = [
        word.strip()
        for each in NumpyDocString(inspect.getdoc(function) or "")["Raises"]
        for word in each.type.split(",")
    ]
    told = [names.get(entry) for entry in entries]
    for entry, error in zip(entries, told, strict=True):
        if not (inspect.isclass(error) and issubclass(error, Exception)):
            yield f"{entry} is no error"
    for name in _raised(function):
        error = names.get(name)
        if (
            inspect.isclass(error)
            and issubclass(error, geofsrcnn.GeofsrcnnError)
            and not set(error.__mro__) & set(told)
        ):
            yield f"raises {name} without a word"


def _raised(function: Any) -> Iterator[str]:
    """Yield the names of what stands after ``raise`` in a function itself."""
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise):
            call = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            if isinstance(call, ast.Name):
                yield call.id


if __name__ == "__main__":
    lines = breaches()
    print("\n".join(lines))
    sys.exit(bool(lines))
