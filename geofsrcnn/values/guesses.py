"""Warnings of what variables and bands are taken for where that was guessed, of datasets and rasters alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geofsrcnn.errors import printable, warn
from geofsrcnn.values.quantity import Kind, Quantity


def warn_of_repeated(names: Sequence[str], of: str = "") -> None:
    """Say what is repeated.

    Parameters
    ----------
    names : sequence of str
        At least one, with the evidence of each.
    of : str
        The file that they belong to, if it is to be named.
    """
    words = "not interpolated but repeated (categories, text, or one direction)"
    warn("W-REPEATED", _sentence(of, words, names))


def warn_of_totals(quantities: Mapping[str, Quantity], key: str, of: str = "") -> None:
    """Say what is divided among the parts of cells though no convention, and no user, says that it is a total.

    Parameters
    ----------
    quantities : mapping of str to Quantity
        What each variable or band is taken for.
    key : str
        Stands for the name in the remedy.
    of : str
        The file that they belong to, if it is to be named.
    """
    guessed = [f"{n} ({q.evidence})" for n, q in quantities.items() if q.kind is Kind.TOTAL and not q.stated]
    if guessed:
        words = f"taken for totals of cells, divided among their parts unless kinds={{'{key}': 'field'}}"
        warn("W-TOTAL", _sentence(of, words, guessed))


def _sentence(of: str, words: str, names: Sequence[str]) -> str:
    return f"{of} {words}: ".lstrip() + printable(", ".join(names))
