"""`geofsrcnn sharpen`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Factor
from geofsrcnn.cli.params import (
    BIDX,
    CO,
    COG,
    DTYPE,
    KINDS,
    MESSAGE_OPTIONS,
    MODEL,
    NODATA,
    OVERWRITE,
    PERFORMANCE_OPTIONS,
    RANGE,
    RASTER_OPTIONS,
    SAFETY_OPTIONS,
    STOP_WITH_STDIN,
    THREADS,
    TIMES_FINER,
)
from geofsrcnn.cli.progress import PROGRESS, State, count_units, refuse_quiet, show_progress
from geofsrcnn.cli.show import show_summary
from geofsrcnn.cli.signals import echo_json, guarded, stops
from geofsrcnn.cli.tables import show_columns
from geofsrcnn.options import LEARNING_MINUTES
from geofsrcnn.process import harden_gdal

if TYPE_CHECKING:
    from geofsrcnn.training.guided_verdict import Verdict


@click.command("sharpen", cls=Command, example="red_20m.tif red_10m.tif --guide rgbn_10m.tif")
@click.argument("source", metavar="INPUT")
@click.argument("target", metavar="OUTPUT")
@section(
    "Most used",
    click.option(
        "--guide",
        "-g",
        multiple=True,
        required=True,
        metavar="FILE",
        help="A finer raster of the same ground, whose bands all count; may be given several times.",
    ),
    click.option(
        "--factor",
        "-f",
        type=Factor(),
        default=None,
        help=f"{TIMES_FINER}  [default: that of the first guide's cells]",
    ),
    click.option(
        "--minutes",
        type=click.FloatRange(0),
        default=LEARNING_MINUTES,
        show_default=True,
        help="Learn on the scene for at most so long; 0: apply what the model can already.",
    ),
    MODEL,
    click.option(
        "--save-model", default=None, metavar="FILE", help="Keep what was learned, as --model of other scenes."
    ),
    click.option("--always", is_flag=True, help="Follow the guide even where it does not help."),
    *(BIDX, NODATA, RANGE, KINDS),
    OVERWRITE,
)
@section("Input", *RASTER_OPTIONS)
@section("Output", DTYPE, COG, CO)
@section(
    "Performance",
    *PERFORMANCE_OPTIONS,
    THREADS,
)
@section("Safety", *SAFETY_OPTIONS)
@section("Messages", PROGRESS, STOP_WITH_STDIN, *MESSAGE_OPTIONS)
@guarded
def sharpen(
    *,
    source: str,
    target: str,
    as_json: bool,
    quiet: bool,
    progress_mode: str,
    co: tuple[tuple[str, str], ...],
    bidx: tuple[int, ...] | None,
    **options: Any,
) -> None:
    """Make a raster finer by a finer one of the same ground.

    INPUT is the coarse raster, such as a band of 20 m beside bands of 10 m, OUTPUT a GeoTIFF. The network learns on the
    scene itself, one scale coarser; parts that are held out tell how well that goes.
    """
    refuse_quiet(progress_mode, quiet=quiet)
    harden_gdal(options["driver"])
    from geofsrcnn.upscale.sharpen import sharpen_file

    options["bidx"] = bidx or ()
    with show_progress(progress_mode, "sharpening", "steps", silent=quiet or as_json) as show, stops() as check:

        def learning(done: float) -> None:
            check()
            show(State(int(1000 * done), 1000, "learning on the scene"))

        done = sharpen_file(
            source, target, progress=count_units(show, check), each_step=learning, co=dict(co), **options
        )
    if as_json:
        echo_json(done.to_dict())
    elif not quiet:
        _show_verdict(done.verdict)
        show_summary(done.summary, target)


def _show_verdict(verdict: Verdict) -> None:
    """Print how well each method does, and what follows."""
    rows = [
        (method.name, *(f"{error:.4g}" for error in method.rmse), method.ratio, method.sam, method.ergas)
        for method in verdict.methods
    ]
    if rows:
        click.echo(f"scored on {verdict.cells:,} fine cells, field and guide made {verdict.factor} times coarser:\n")
        measures = (*(f"RMSE, {band}" for band in verdict.bands), "of that without", "SAM, degrees", "ERGAS")
        show_columns(("", *measures), [tuple(_rounded(cell) for cell in row) for row in rows])
        click.echo()
    words = verdict.words()
    click.echo(f"{words[0].upper()}{words[1:]}. Applied: {verdict.chosen}.")


def _rounded(cell: str | float | None) -> str | float | None:
    return round(cell, 3) if isinstance(cell, float) else cell
