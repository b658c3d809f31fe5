"""Options that both trainings share; their defaults are those of the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geofsrcnn.cli.config import read_options
from geofsrcnn.cli.help import Decorator
from geofsrcnn.cli.param_types import Factor, Names
from geofsrcnn.cli.params import TIMES_FINER, given_names
from geofsrcnn.cli.progress import progress_option
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.pairs.spec import MAX_MEMBERS
from geofsrcnn.training.schedule import BOUNDS, CHOICES

if TYPE_CHECKING:
    from geofsrcnn.training.schedule import Schedule

_FILES = {
    *("fine", "also_fine", "coarse", "static", "validation", "start", "teacher", "model", "card"),
    *("out", "log", "curves", "tensorboard"),
}
"""Parameters that name files or folders of data."""

_FIELDS: dict[str, tuple[click.ParamType[Any], str]] = {
    "steps": (click.IntRange(*BOUNDS["steps"]), "Optimiser steps."),
    "minutes": (click.FLOAT, "End after this time instead; not reproducible to the bit."),
    "batch_size": (click.IntRange(*BOUNDS["batch_size"]), "Patches, or times, in a step."),
    "learning_rate": (click.FLOAT, "Peak learning rate."),
    "lr_schedule": (click.Choice(CHOICES["lr_schedule"]), "Of the learning rate after its rise."),
    "last_layer_lr_ratio": (click.FLOAT, "The last layer's learning rate over the others'."),
    "weight_decay": (click.FLOAT, "Of the optimiser, AdamW."),
    "ema_decay": (click.FLOAT, "Of the moving average of the weights, which is what is kept."),
    "loss": (click.Choice(CHOICES["loss"]), "Of errors in units of a patch's, or a cell's, roughness."),
    "charbonnier_eps": (click.FLOAT, "Epsilon of the Charbonnier loss sqrt(e^2 + eps^2)."),
    "validate_every": (click.IntRange(*BOUNDS["validate_every"]), "Steps between validations."),
    "patience": (
        click.IntRange(*BOUNDS["patience"]),
        "End after so many validations without a better score; 0 for never.",
    ),
    "keep": (click.Choice(CHOICES["keep"]), "The best weights on the held-out data, or those of the last step."),
    "frozen": (click.IntRange(*BOUNDS["frozen"]), "First steps of the last layer only."),
    "freeze": (Names(), "Stages that are never trained, such as feature,shrink."),
    "precision": (click.Choice(CHOICES["precision"]), "Of the convolutions; weights and loss stay float32."),
    "seed": (click.IntRange(*BOUNDS["seed"]), "Of weights, of what is drawn, and of held-out sites."),
    "save_minutes": (click.FLOAT, "Minutes between saved states."),
    "patch": (click.IntRange(*BOUNDS["patch"]), "Coarse cells along a patch."),
    "balance": (click.FLOAT, "Draw files by their number of cells to this power."),
    "pyramid_levels": (click.IntRange(*BOUNDS["pyramid_levels"]), "Halve fields so often for more fields."),
    "blur": (click.FLOAT, "Share of patches that are smoothed first."),
    "mix": (click.FLOAT, "Share of patches with part of another added."),
    "noise": (click.FLOAT, "Share of patches with white noise added."),
    "quantise": (click.FLOAT, "Share of patches rounded to few levels."),
    "branches": (click.BOOL, "Train each mapping layer as 3x3 + 1x1 + identity, folded when kept."),
    "teacher_weight": (click.FLOAT, "The teacher's share of the loss."),
    "hold_out": (click.FLOAT, "Share of the sites to validate on without --validation."),
    "dropout": (click.FLOAT, "Share of channels left out at random."),
    "members": (click.IntRange(1, MAX_MEMBERS), "Networks whose mean is the result."),
    "distribution": (click.BOOL, "Learn how wrong the result may be: a distribution in each cell."),
}
"""Type and help of each field of a schedule."""

OPTIMISER = (
    *("batch_size", "learning_rate", "lr_schedule", "last_layer_lr_ratio", "weight_decay", "ema_decay", "loss"),
    *("charbonnier_eps", "frozen", "freeze"),
)
"""Fields of any schedule that say how weights move."""

VALIDATION = ("validate_every", "patience", "keep", "seed")
"""Fields of any schedule that say what is kept."""

PATCHES = ("patch", "balance", "pyramid_levels", "blur", "mix", "noise", "quantise")
"""Fields of a schedule on rasters that say how patches are drawn."""


def schedule_options(defaults: Schedule, *names: str) -> tuple[Decorator, ...]:
    """Make an option of each of these fields of a schedule, with the schedule's value as its default."""
    return tuple(_option(name, getattr(defaults, name)) for name in names)


def _option(name: str, default: Any) -> Decorator:
    flag, (kind, words) = f"--{name.replace('_', '-')}", _FIELDS[name]
    if default is False:
        return click.option(flag, is_flag=True, help=words)
    metavar = "N" if isinstance(kind, click.IntRange) else "NUMBER" if kind is click.FLOAT else None
    shown = default not in (None, ())
    return click.option(flag, type=kind, default=default, show_default=shown, metavar=metavar, help=words)


def _configure(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the options of a file as defaults."""
    if path is not None:
        context.default_map = read_options(Path(path), context)


FINE = click.argument("fine", nargs=-1, metavar="[FINE...]")
ALSO_FINE = click.option("--fine", "also_fine", multiple=True, metavar="FILE", help="As FINE; several times.")
CONFIG = click.option(
    "--config",
    metavar="TOML",
    callback=_configure,
    is_eager=True,
    expose_value=False,
    help="Options by name, such as steps = 2000; those given here win. Paths are relative to the current folder.",
)
FACTOR = click.option("--factor", "-f", type=Factor(), required=True, help=TIMES_FINER)
VALIDATION_RASTERS = click.option(
    "--validation", "-v", multiple=True, metavar="FINE", help="Raster to validate on; several times."
)
OUT = click.option("--out", "-o", required=True, metavar="M.safetensors", help="Checkpoint to write.")
RESUME = click.option("--resume", is_flag=True, help="Resume a training that was stopped, exactly.")
PROGRESS = progress_option(
    "On stderr; auto: a line for each validation; json: lines with done, total and seconds_left, for programs."
)
SEEDS = click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Repeat it with so many seeds, into NAME-seed1 and so on beside --out.",
)
RECORDS: tuple[Decorator, ...] = (
    click.option("--log", default=None, metavar="FILE", help="Append figures as JSON lines."),
    click.option(
        "--curves", default=None, metavar="FILE.png", help="Draw loss and score by step, anew at each validation."
    ),
    click.option("--tensorboard", default=None, metavar="DIR", help="Write events for TensorBoard."),
)


def all_fine(fine: tuple[str, ...], also_fine: tuple[str, ...]) -> tuple[str, ...]:
    """The fine files of a command line; those of a configuration file only where it gives none."""
    if fine and "also_fine" not in given_names(ParameterSource.COMMANDLINE):
        also_fine = ()
    if not fine + also_fine:
        raise UsageError("nothing to train on: give FINE files")
    return fine + also_fine


def refuse_nameless() -> None:
    """Refuse names that can be no file's or folder's of data: empty, ``.`` or ``..``."""
    context = click.get_current_context()
    for param in context.command.params:
        value = context.params.get(str(param.name))
        for name in value if isinstance(value, tuple) else (value,):
            if param.name in _FILES and name is not None and Path(name).name in ("", ".."):
                raise UsageError(f"{param.opts[0]} needs the name of a file, got '{printable(name)}'")


def refuse_both(one: str, other: str) -> None:
    """Refuse two parameters of which one is to be given."""
    if {one, other} <= given_names():
        raise UsageError(f"{one}= and {other}= exclude each other: give one")
