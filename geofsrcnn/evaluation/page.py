"""Comparisons as one page, and as files beside each other."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from geofsrcnn.errors import OutputError, printable
from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.figures import draw_figures
from geofsrcnn.evaluation.report import (
    NAMES,
    basis_text,
    glossary,
    heading,
    over_models_text,
    tables,
    to_json,
    to_markdown,
)
from geofsrcnn.evaluation.shell import need_report, render_page
from geofsrcnn.evaluation.verdict import errors_in_words, overall, verdict
from geofsrcnn.files.staging import SUFFIX, check_target, staged


def to_html(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """Give one page that needs nothing else: words, tables and pictures; parameters as for `to_json`.

    Raises
    ------
    UsageError
        If matplotlib or Jinja2 is not installed.
    """
    need_report()
    fields = [
        {
            "heading": heading(c),
            "verdict": " ".join([verdict(c), *errors_in_words(c)]),
            "basis": basis_text(c),
            "over_models": over_models_text(c),
            "tables": tables(c),
            "pictures": draw_figures(c),
        }
        for c in comparisons
    ]
    preface = {"title": title, "facts": facts, "notes": notes, "overall": overall(comparisons)}
    return render_page("evaluation.html.j2", fields=fields, glossary=glossary(comparisons), **preface)


def check_report(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder that cannot become the report's, or a report that cannot be drawn, before any work is done.

    Parameters
    ----------
    folder : str or path
        Of the report; links are followed.
    overwrite : bool
        Whether a report there may be replaced.

    Returns
    -------
    Path
        The folder, without links.

    Raises
    ------
    UsageError
        If matplotlib or Jinja2 is not installed.
    OutputError
        If the folder exists without `overwrite`, or holds anything but a report.
    """
    need_report()
    final = Path(os.path.realpath(folder))
    try:
        foreign = sorted(p for p in final.iterdir() if p.name not in NAMES and p.suffix != SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        check_target(final, overwrite=False, folder=True)
        return final
    except OSError as error:
        raise OutputError(f"cannot look into {printable(final)} ({error.strerror}): check its permissions") from None
    if not overwrite:
        raise OutputError(f"output exists: {printable(final)}: use overwrite=True")
    if foreign:
        raise OutputError(f"output folder holds more than a report: {printable(foreign[0])}: give another name")
    return final


def write_report(
    folder: str | os.PathLike[str],
    comparisons: Sequence[Comparison],
    *,
    title: str,
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write ``report.json``, ``report.md`` and ``report.html`` into a folder that appears whole or not at all.

    Parameters
    ----------
    folder : str or path
        To be made; its parent must be there.
    comparisons, title, facts, notes
        As for `to_json`.
    overwrite : bool
        Replace the files of a report that is there; a folder with any other file is refused.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UsageError
        If matplotlib or Jinja2 is not installed.
    OutputError
        If the folder is refused (see `check_report`), or cannot be written.

    Notes
    -----
    Files of an old report are replaced once all three new ones are written, each by one rename.
    """
    final = check_report(folder, overwrite=overwrite)
    preface: dict[str, Any] = {"title": title, "facts": facts, "notes": notes}
    texts = (
        json.dumps(to_json(comparisons, **preface), allow_nan=False, indent=1) + "\n",
        to_markdown(comparisons, **preface),
        to_html(comparisons, **preface),
    )
    with ExitStack() as stack:
        if final.is_dir():
            targets = [stack.enter_context(staged(final / name, overwrite=True)) for name in NAMES]
        else:
            staging = stack.enter_context(staged(final, folder=True))
            staging.mkdir()
            targets = [staging / name for name in NAMES]
        for target, text in zip(targets, texts, strict=True):
            target.write_text(text, encoding="utf-8")
    return [final / name for name in NAMES]
