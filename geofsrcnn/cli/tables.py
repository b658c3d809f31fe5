"""Tables and paragraphs on stdout: aligned for people, whole lines without colour where nobody's terminal is."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import click

Cell: TypeAlias = "str | float | None"
"""A text, a number or nothing."""


def show_text(label: str, text: str, *, indent: int = 10) -> None:
    """Print a paragraph beside its label, as wide as the terminal."""
    width = max(60, shutil.get_terminal_size((110, 24)).columns)
    lines = textwrap.wrap(text, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        click.echo(f"{label if number == 0 else '':{indent}}{line}")


def show_columns(heads: Sequence[str], rows: Iterable[Sequence[Cell]], *, indent: int = 0) -> None:
    """Print rows under their heads: numbers to the right and with equal decimals, columns without any cell left out.

    On a terminal long texts continue within their column; elsewhere each row is one line, however long.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    columns = [
        (head, cells)
        for head, cells in zip(heads, zip(*rows, strict=True), strict=bool(rows))
        if any(cell not in (None, "") for cell in cells)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    texts = []
    for head, cells in columns:
        numeric = all(not isinstance(cell, str) for cell in cells)
        table.add_column(Text(head), justify="right" if numeric else "left", overflow="fold")
        texts.append(_texts(cells))
    for row in zip(*texts, strict=True):
        table.add_row(*map(Text, row))
    whole = Padding(table, (0, 0, 0, indent))
    console = Console(highlight=False)
    if not sys.stdout.isatty():
        console.width = max(console.measure(whole, options=console.options.update(max_width=10**6)).maximum, 80)
    with console.capture() as capture:
        console.print(whole)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _texts(cells: Sequence[Cell]) -> list[str]:
    """A column's cells as text; all floats with as many decimals as the longest needs."""
    plain = [str(cell) for cell in cells if isinstance(cell, float)]
    if any("e" in text or "n" in text for text in plain):  # 1e-05, nan, inf
        return ["" if cell is None else str(cell) for cell in cells]
    decimals = max((len(text.partition(".")[2]) for text in plain), default=0)
    return [_text(cell, decimals) for cell in cells]


def _text(cell: Cell, decimals: int) -> str:
    if isinstance(cell, float):
        return f"{cell:,.{decimals}f}"
    if isinstance(cell, int):
        return f"{cell:,}"
    return cell or ""
