"""Texts that commands print."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geofsrcnn._version import __version__
from geofsrcnn.cli.signals import echo_json
from geofsrcnn.errors import printable

if TYPE_CHECKING:
    from geofsrcnn.evaluation.comparison import Comparison
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


def show_summary(s: Summary) -> None:
    """Print what a run did."""
    click.echo(
        f"{printable(s.output)}: {shape_text(s.coarse)} -> {shape_text(s.fine)}, {bands_text(s.bands)}, "
        f"{size_text(s.output_bytes)}; "
        f"{s.model} on {s.device}, {s.seconds:.1f} s, {s.cells_per_second / 1e6:.2g} million cells a second, "
        f"peak memory {size_text(s.peak_memory)}"
    )


def show_estimate(e: Estimate, *, as_json: bool) -> None:
    """Print what a run would take."""
    if as_json:
        echo_json(e.to_dict())
        return
    tiles = "1 tile" if e.tiles == 1 else f"{e.tiles} tiles"
    click.echo(f"size     {shape_text(e.coarse)} -> {shape_text(e.fine)} cells, {bands_text(e.bands)}, {tiles}")
    click.echo(f"memory   about {size_text(e.memory)}")
    click.echo(f"time     about {duration_text(e.seconds)} of computing with {e.model} on {e.device}")
    click.echo(f"disk     at most {size_text(e.disk)}, {size_text(e.disk_free)} free")


def file_names(names: Iterable[str]) -> str:
    """Names of files, without their folders."""
    return ", ".join(Path(name).name for name in names)


def show_comparisons(
    found: list[Comparison],
    report: str | None,
    title: str,
    facts: dict[str, str],
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Main scores and a verdict each; the report, if one is wanted."""
    from geofsrcnn.evaluation.page import write_report
    from geofsrcnn.evaluation.report import to_json, verdict

    facts |= {"geofsrcnn": __version__}
    written = [] if report is None else write_report(report, found, title=title, facts=facts, overwrite=overwrite)
    if as_json:
        echo_json(to_json(found, title=title, facts=facts))
        return
    for comparison in found:
        unit = f" ({printable(comparison.unit)})" if comparison.unit else ""
        span = " to ".join(dict.fromkeys(filter(None, comparison.span)))
        when = f", {comparison.times} times, {span}" if span else ""
        click.echo(f"{printable(comparison.name)}{unit}, x{comparison.factor}: {comparison.cells:,} values{when}\n")
        columns = ("rmse", "mae", "bias", "correlation", "ssim", "spectrum_ratio")
        click.echo(f"{'':18}" + "".join(f"{column.replace('_', ' '):>16}" for column in columns))
        for name, scores in sorted(comparison.scores.items(), key=lambda row: row[1]["rmse"]):
            tiny = 1e-9 * scores["rmse"]  # what is only rounding is 0
            shown = {c: 0.0 if abs(scores[c]) < tiny else scores[c] for c in columns if c in scores}
            cells = "".join(f"{shown[c]:16.4g}" if c in shown else f"{'':16}" for c in columns)
            click.echo(f"{printable(name):18}{cells}")
        click.echo(f"\n{verdict(comparison)}\n")
    for path in written[-1:]:
        click.echo(f"report: {printable(path)}")
