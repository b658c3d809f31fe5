"""`geofsrcnn train-error`."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import DEBUG, DEVICE, JSON, OVERWRITE, QUIET, STRICT
from geofsrcnn.cli.progress import progress_option
from geofsrcnn.cli.signals import echo_json, guarded
from geofsrcnn.cli.train_options import (
    ALSO_FINE,
    CONFIG,
    FINE,
    OUT,
    PATCHES,
    VALIDATION_RASTERS,
    all_fine,
    refuse_both,
    refuse_nameless,
    schedule_options,
)
from geofsrcnn.cli.train_session import Session, show_training, take_session
from geofsrcnn.errors import printable
from geofsrcnn.process import harden_gdal, keep_freed_memory
from geofsrcnn.training.schedule import ERROR_RECIPE

if TYPE_CHECKING:
    from geofsrcnn.training.expected_error import ErrorResult

_EXAMPLE = "other1.tif other2.tif --model mine.safetensors --out with-errors.safetensors"


@click.command("train-error", cls=Command, example=_EXAMPLE)
@FINE
@section(
    "Most used",
    click.option(
        "--model",
        "-m",
        required=True,
        metavar="NAME|FILE",
        help="The network, such as mine.safetensors or default-x3; its values stay as they are.",
    ),
    *(OUT, CONFIG, VALIDATION_RASTERS),
    *schedule_options(ERROR_RECIPE, "steps"),
    OVERWRITE,
)
@section("Data", ALSO_FINE, *schedule_options(ERROR_RECIPE, *PATCHES))
@section("Optimiser", *schedule_options(ERROR_RECIPE, "batch_size", "learning_rate", "ema_decay"))
@section("Validation", *schedule_options(ERROR_RECIPE, "hold_out", "seed"))
@section("Performance", DEVICE)
@section(
    "Messages",
    progress_option(
        f"On stderr; auto: a line each {ERROR_RECIPE.validate_every} steps; json: lines with done, total and "
        "seconds_left, for programs."
    ),
    *(JSON, QUIET, STRICT, DEBUG),
)
@guarded
def train_error(
    *, fine: tuple[str, ...], also_fine: tuple[str, ...], model: str, validation: tuple[str, ...], **options: Any
) -> None:
    """Teach a network how wrong it may be.

    FINE are rasters of the resolution that is wanted, best ones that the network was not trained on. The checkpoint
    that is written is that network, which gives expected errors (upscale --error) besides.
    """
    harden_gdal()
    fine = all_fine(fine, also_fine)
    refuse_nameless()
    refuse_both("hold_out", "validation")
    session = take_session(Session, options)
    schedule = replace(ERROR_RECIPE, **options)
    from geofsrcnn.training.expected_error import train_error as teach

    keep_freed_memory()
    with show_training(session, "steps", _progress_text, _show_result) as progress:
        steps = count()
        result = teach(
            model,
            fine,
            session.out,
            options=schedule,
            validation=validation,
            device=session.device,
            overwrite=session.overwrite,
            report=progress.record,
            each_step=lambda: progress.step(next(steps), schedule.steps),
        )
        progress.result(result)
    if session.as_json:
        echo_json(asdict(result))


def _progress_text(record: dict[str, Any]) -> str:
    """A line about how a training stands."""
    return f"step {record['step']:6d}  loss {record['loss']:.4f}"


def _show_result(result: ErrorResult) -> None:
    """Say how well expected errors fit on the held-out fields, whose mean they were set to."""
    name, taken = printable(result.out), f"{result.steps} steps, {result.seconds / 60:.1f} min"
    if len(result.fields) == 1:
        how = "expected errors are set to the true ones of 1 held-out field; more fields would tell how well they fit"
    else:
        low, high = min(result.fields.values()), max(result.fields.values())
        how = (
            f"on {len(result.fields)} held-out fields expected errors are {low:.2f} to {high:.2f} times the true ones, "
            f"1 in the geometric mean; standard deviation of the logarithm {result.spread:.2f}"
        )
    click.echo(f"{name}: {how}; {taken}")
