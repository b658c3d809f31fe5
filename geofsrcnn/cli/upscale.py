"""`geofsrcnn upscale` and `rio upscale`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Names, Sides
from geofsrcnn.cli.params import (
    BIDX,
    BOUNDS,
    FACTOR,
    INPUT_OPTIONS,
    KINDS,
    MESSAGE_OPTIONS,
    MODEL,
    NODATA,
    OUTPUT_OPTIONS,
    OVERWRITE,
    PERFORMANCE_OPTIONS,
    RANGE,
    SAFETY_OPTIONS,
    STOP_WITH_STDIN,
    THREADS,
    VARIABLES,
)
from geofsrcnn.cli.progress import PROGRESS, count_units, refuse_quiet, show_progress
from geofsrcnn.cli.show import show_estimate, show_summary
from geofsrcnn.cli.signals import echo_json, guarded, stops
from geofsrcnn.process import harden_gdal

_SECTIONS = (
    section(
        "Most used",
        *(FACTOR, MODEL, VARIABLES, BIDX, BOUNDS, NODATA, RANGE, KINDS),
        OVERWRITE,
        click.option("--dry-run", is_flag=True, help="Print the sizes, memory, time and disk that it would take."),
    ),
    section(
        "Instead of a factor",
        click.option(
            "--resolution",
            type=Sides(),
            default=None,
            metavar="R",
            help="Cells of this width, in units of the CRS; W,H where they are not square.",
        ),
        click.option("--like", default=None, metavar="FILE", help="The cells of this raster or dataset."),
    ),
    section("Input", *INPUT_OPTIONS),
    section(
        "Output",
        *OUTPUT_OPTIONS,
        click.option(
            "--error-file",
            default=None,
            metavar="FILE",
            help="Write the expected errors of a raster to a GeoTIFF of their own; OUTPUT keeps its type.",
        ),
    ),
    section(
        "Performance",
        *PERFORMANCE_OPTIONS,
        THREADS,
    ),
    section(
        "Safety",
        *SAFETY_OPTIONS,
        click.option(
            "--allow-remote",
            type=Names(),
            default=(),
            metavar="HOST[,HOST]",
            help="Hosts or buckets that INPUT may be read from, as https://, s3:// or gs://.",
        ),
    ),
    section("Messages", PROGRESS, STOP_WITH_STDIN, *MESSAGE_OPTIONS),
)


def _as_command(function: Callable[..., None]) -> click.Command:
    """Give a function the arguments and options of upscaling, and make it a command."""
    arguments = click.argument("source", metavar="INPUT"), click.argument("target", metavar="OUTPUT")
    for decorator in reversed((*arguments, *_SECTIONS)):
        function = decorator(function)
    return click.command("upscale", cls=Command, example="dem.tif dem_x3.tif --factor 3")(function)


def _upscale(
    *,
    source: str,
    target: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    progress_mode: str,
    co: tuple[tuple[str, str], ...],
    bidx: tuple[int, ...] | None,
    **options: Any,
) -> None:
    refuse_quiet(progress_mode, quiet=quiet)
    harden_gdal(options["driver"])
    from geofsrcnn.upscale.file import estimate_file, upscale_file

    options["bidx"] = bidx or ()
    if dry_run:
        show_estimate(estimate_file(source, target, co=dict(co), **options), as_json=as_json)
        return
    with show_progress(progress_mode, "upscaling", "tiles", silent=quiet or as_json) as show, stops() as check:
        summary = upscale_file(source, target, co=dict(co), progress=count_units(show, check), **options)
    if as_json:
        echo_json(summary.to_dict())
    elif not quiet:
        show_summary(summary, target)


@_as_command
@guarded
def upscale(**options: Any) -> None:
    """Make a raster or dataset finer.

    INPUT is a GeoTIFF, a NetCDF or a Zarr store; the name of OUTPUT says what is written: .tif, .nc or .zarr.
    """
    _upscale(**options)


@_as_command
def rio_upscale(**options: Any) -> None:
    """Make a raster finer (geofsrcnn).

    INPUT is a GeoTIFF; the name of OUTPUT says what is written: .tif, .nc or .zarr.
    """
    guarded(_upscale)(**options)
