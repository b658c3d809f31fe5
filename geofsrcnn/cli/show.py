"""Texts that commands print."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn._version import __version__
from geofsrcnn.cli.signals import echo_json
from geofsrcnn.errors import printable

if TYPE_CHECKING:
    from geofsrcnn.evaluation.comparison import Comparison
    from geofsrcnn.evaluation.report import Table
    from geofsrcnn.upscale.task import Estimate, Summary


def files_text(count: int) -> str:
    """A number of files."""
    return "1 file" if count == 1 else f"{count} files"


def size_text(count: float) -> str:
    """A number of bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration_text(seconds: float) -> str:
    """A number of seconds."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def shape_text(shape: tuple[int, int]) -> str:
    """Rows and columns."""
    return f"{shape[0]} x {shape[1]}"


def bands_text(count: int) -> str:
    """A number of bands."""
    return "1 band" if count == 1 else f"{count} bands"


def show_summary(s: Summary, target: str) -> None:
    """Print what a run did; the output by the name that the user gave it."""
    made = _model_text(s) + (f", {s.grid}" if s.grid else "")
    click.echo(
        f"{printable(target)}: {shape_text(s.coarse)} -> {shape_text(s.fine)}, {bands_text(s.bands)}{_errors_text(s)}, "
        f"{size_text(s.output_bytes)}; {made}, {s.seconds:.1f} s, "
        f"{s.cells_per_second / 1e6:.2g} million cells a second, peak memory {size_text(s.peak_memory)}"
    )


def _model_text(run: Summary | Estimate) -> str:
    """Say what runs, where, and in which arithmetic if it is not the usual one."""
    return f"{run.model} on {run.device}" + ("" if run.precision == "float32" else f" in {run.precision}")


def _errors_text(s: Summary) -> str:
    """Say where expected errors are, and which type they made of all bands."""
    if not s.error_bands:
        return ""
    apart = "" if s.error_output is None else f" in {printable(Path(s.error_output).name)}"
    of_some = "" if s.error_bands == s.bands else f" of {s.error_bands}"
    return f" and expected errors{of_some}{apart}" + (f", stored as {s.dtype}" if s.dtype else "")


def show_estimate(e: Estimate, *, as_json: bool) -> None:
    """Print what a run would take."""
    if as_json:
        echo_json(e.to_dict())
        return
    tiles = "1 tile" if e.tiles == 1 else f"{e.tiles} tiles"
    click.echo(f"size     {shape_text(e.coarse)} -> {shape_text(e.fine)} cells, {bands_text(e.bands)}, {tiles}")
    click.echo(f"memory   about {size_text(e.memory)}")
    click.echo(f"time     about {duration_text(e.seconds)} of computing with {_model_text(e)}")
    click.echo(f"disk     at most {size_text(e.disk)}, {size_text(e.disk_free)} free")


def file_names(names: Iterable[str]) -> str:
    """Names of files, without their folders."""
    return ", ".join(Path(name).name for name in names)


_FULL_TABLES = 4
"""Comparisons of which each method is shown, at most; of more, models and the best baseline."""


def show_comparisons(
    found: list[Comparison],
    report: str | None,
    title: str,
    facts: dict[str, str],
    *,
    notes: Sequence[str] = (),
    overwrite: bool,
    as_json: bool,
) -> None:
    """Print scores and a verdict each; write the report, if one is wanted."""
    from geofsrcnn.evaluation.page import write_report
    from geofsrcnn.evaluation.report import NAMES, basis_text, heading, terminal_table, to_json
    from geofsrcnn.evaluation.verdict import errors_in_words, overall, verdict

    preface: dict[str, Any] = {"title": title, "facts": {**facts, "geofsrcnn": __version__}, "notes": notes}
    if report is not None:
        write_report(report, found, **preface, overwrite=overwrite)
    if as_json:
        echo_json(to_json(found, **preface))
        return
    for comparison in found:
        click.echo(f"{heading(comparison)}: {basis_text(comparison)}\n")
        table = terminal_table(comparison, few=len(found) > _FULL_TABLES)
        if table is not None:
            _show_scores(table)
        click.echo("\n" + "\n".join([verdict(comparison), *errors_in_words(comparison)]) + "\n")
    where = [] if report is None else [f"report: {printable(Path(report) / NAMES[-1])}"]
    for words in (*overall(found), *notes, *where):
        click.echo(words)


def _show_scores(table: Table) -> None:
    """Show a row a method, numbers under the heads of their columns, as many as a terminal is wide."""
    heads = [head.text + (f", {head.unit}" if head.unit else "") for head in table.heads]
    lines = [["", *heads], *([row.name, *(cell.text for cell in row.cells)] for row in table.rows)]
    widths = [max(map(len, column)) + 2 for column in zip(*lines, strict=True)]
    shown = list(range(len(widths)))
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else sum(widths)
    ranks = {i: head.rank for i, head in enumerate(table.heads, 1) if head.rank > 1}
    for i in sorted(ranks, key=lambda i: (-ranks[i], -i)):
        if sum(widths[i] for i in shown) > room:
            shown.remove(i)
    for line in lines:
        click.echo(line[0].ljust(widths[0]) + "".join(line[i].rjust(widths[i]) for i in shown[1:]))
