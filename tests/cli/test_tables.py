"""Tables: numbers with equal decimals, whole names where no terminal is, and no colour codes."""

from __future__ import annotations

from geofsrcnn.cli.tables import show_columns
from tests.support import processes
from tests.support.rasters import terrain, write


def test_numbers_are_aligned_and_empty_columns_left_out(capsys):
    """Floats of a column have the decimals of the longest; thousands are separated; None is nothing."""
    show_columns(
        ("name", "cells", "ratio", "unit", "tiny"),
        [("a", 1234567, 0.5, None, 1e-07), ("bcd", 8, 1.2345, "", None)],
        indent=2,
    )
    assert capsys.readouterr().out.splitlines() == [
        "  name      cells   ratio   tiny",
        "  a     1,234,567  0.5000  1e-07",
        "  bcd           8  1.2345",
    ]


def test_no_rows_are_no_table(capsys):
    """Not even heads."""
    show_columns(("a", "b"), [])
    assert capsys.readouterr().out.strip() == ""


def test_markup_is_text(capsys):
    """Brackets in the texts of files are no styles."""
    show_columns(("a",), [("[red]x[/red] :smile:",)])
    assert "[red]x[/red] :smile:" in capsys.readouterr().out


def test_what_is_piped_is_whole_and_plain(tmp_path):
    """A long name stays on its line although the terminal's width is said to be small; no escape codes."""
    import rasterio

    path = write(tmp_path / "a.tif", terrain((4, 4)))
    name = "a name that is longer than any terminal is wide " * 4
    with rasterio.open(path, "r+") as dataset:
        dataset.set_band_description(1, name.strip())
    done = processes.run("info", path, env={"COLUMNS": "80"})
    assert done.code == 0
    assert any(name.strip() in line for line in done.out.splitlines())
    assert "\x1b" not in done.out
