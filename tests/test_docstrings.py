"""Public names are described in full, and what docstrings say of parameters and errors is true."""

from __future__ import annotations

import re

import pytest

import geofsrcnn
from geofsrcnn.errors import InputError, OutputError
from tests.support import docstrings
from tests.support.places import ROOT


def test_docstrings_are_complete_and_true():
    """As ``make check`` finds."""
    assert docstrings.breaches() == []


def test_public_names_are_looked_at():
    """Functions, classes, methods and properties of the stub, and the accessor's."""
    paths = {path for path, _ in docstrings.public_objects()}
    assert {
        "geofsrcnn.engine.arrays.upscale_array",
        "geofsrcnn.errors.InputError",
        "geofsrcnn.options.UpscaleOptions.refuse_formats",
        "geofsrcnn.networks.fsrcnn.FSRCNN.halo",
        "geofsrcnn.accessor.DataArrayAccessor.upscale",
    } <= paths


def test_the_documentation_lists_every_public_name():
    """In the table of ``docs/python.md``; those of versions apart."""
    rows = (ROOT / "docs" / "python.md").read_text(encoding="utf-8").split("## All names")[1]
    assert set(re.findall(r"`([A-Za-z]\w+)`", rows)) == set(geofsrcnn.__all__) - {"__version__"}


def complete(first: int, second: str) -> float:
    """Add.

    Parameters
    ----------
    first : int
        Metres.
    second : str
        Seconds.

    Returns
    -------
    float
        Their sum.

    Raises
    ------
    OutputError
        If there is none.
    """
    if second:
        raise OutputError
    return first


class Base:
    """A base.

    Parameters
    ----------
    first : int
        Metres.
    """


class Extended(Base):
    """An extension of `Base`.

    Parameters
    ----------
    second : int
        Seconds.
    """

    def __init__(self, first: int, second: int, third: int = 0) -> None: ...


def test_parameters_of_a_base_are_described_there(monkeypatch):
    """A class need not repeat them; those that neither describes are missed."""
    path = f"{__name__}.Extended"
    assert any("PR01" in line and "third" in line for line in docstrings.judged(path, Extended, docstrings.COMPLETE))
    monkeypatch.setattr(Extended, "__init__", lambda self, first, second: None)
    assert list(docstrings.judged(path, Extended, docstrings.COMPLETE)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("    first : int\n        Metres.\n", ""), "PR01"),
        (("second : str", "third : str"), "PR02"),
        (
            (
                "    first : int\n        Metres.\n    second : str\n",
                "    second : str\n        Metres.\n    first : int\n",
            ),
            "PR03",
        ),
        (("    -------\n    float\n        Their sum.\n", ""), "RT01"),
        (("    -------\n    float\n        Their sum.\n", "    -------\n    float\n"), "RT03"),
        (("OutputError\n        If", "InputError\n        If"), "raises OutputError without a word"),
        (("OutputError\n        If", "OutputEror\n        If"), "OutputEror is no error"),
    ],
)
def test_breaches_are_found(monkeypatch, change, words):
    """A parameter that is missing, unknown or out of order, nothing of what is returned or raised, an unknown error."""
    path = f"{__name__}.complete"
    assert InputError is not OutputError
    assert list(docstrings.judged(path, complete, docstrings.COMPLETE)) == []
    changed = complete.__doc__.replace(*change)
    assert changed != complete.__doc__
    monkeypatch.setattr(complete, "__doc__", changed)
    assert any(words in line for line in docstrings.judged(path, complete, docstrings.COMPLETE))
