"""`geofsrcnn train`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import DEBUG, DEVICE, JSON, OVERWRITE, QUIET, STRICT
from geofsrcnn.cli.signals import guarded
from geofsrcnn.cli.train_options import (
    ALSO_FINE,
    CONFIG,
    FACTOR,
    FINE,
    OPTIMISER,
    OUT,
    PATCHES,
    PROGRESS,
    RECORDS,
    RESUME,
    SEEDS,
    VALIDATION,
    VALIDATION_RASTERS,
    all_fine,
    refuse_both,
    refuse_nameless,
    schedule_options,
)
from geofsrcnn.cli.train_pairs import train_pairs
from geofsrcnn.cli.train_session import SeedSession, each_seed, take_session
from geofsrcnn.errors import printable
from geofsrcnn.networks.config import CHOICES, PRESETS, FSRCNNConfig, widen
from geofsrcnn.process import harden_gdal, keep_freed_memory
from geofsrcnn.training.schedule import BASELINE, TrainOptions

if TYPE_CHECKING:
    from geofsrcnn.training.schedule import Result

_DEFAULTS = TrainOptions()

_SIZES = {name: str(tuple(sizes.values())) for name, sizes in PRESETS.items() if set(sizes) == {"d", "s", "m"}}
"""Presets that are nothing but sizes, as help shows them."""
*_FIRST, _LAST = _SIZES.values()

_EXAMPLE = "dem1.tif dem2.tif --factor 3 --minutes 30 --out mine.safetensors"


@click.command("train", cls=Command, example=_EXAMPLE, for_pairs=train_pairs)
@FINE
@section(
    "Most used",
    *(FACTOR, OUT, CONFIG, VALIDATION_RASTERS),
    *schedule_options(_DEFAULTS, "steps", "minutes"),
    click.option(
        "--size",
        type=click.Choice(list(_SIZES)),
        default="default",
        show_default=True,
        help=f"Of the network: (d, s, m) = {', '.join(_FIRST)} or {_LAST}; with --joint as large a band.",
    ),
    click.option("--start", default=None, metavar="M.safetensors", help="Checkpoint to start from, of any factor."),
    *(RESUME, OVERWRITE),
)
@section(
    "Data",
    ALSO_FINE,
    *schedule_options(_DEFAULTS, *PATCHES),
)
@section(
    "Network",
    click.option(
        "--joint", is_flag=True, help="Learn all bands together, so that they help each other; the same in all rasters."
    ),
    click.option(
        "--prelu",
        type=click.Choice(CHOICES["prelu"]),
        default=FSRCNNConfig.prelu,
        show_default=True,
        help="One PReLU slope a layer (faster) or a channel (the paper's).",
    ),
    click.option(
        "--conserving",
        type=click.Choice(CHOICES["conserving"]),
        default=FSRCNNConfig.conserving,
        show_default=True,
        help="Keep block means; positive: values stay at or above zero too.",
    ),
    click.option(
        "--overshoot",
        type=click.FloatRange(0, 1),
        default=None,
        metavar="SHARE",
        help="How far fine cells may leave the range of the 3 x 3 coarse cells around, as a share of it.",
    ),
    click.option("--teacher", default=None, metavar="MODEL", help="Learn from this model as well."),
    *schedule_options(_DEFAULTS, "teacher_weight", "branches"),
)
@section("Optimiser", *schedule_options(_DEFAULTS, *OPTIMISER))
@section("Validation", *schedule_options(_DEFAULTS, "hold_out", *VALIDATION), SEEDS)
@section(
    "Records",
    click.option("--card", default=None, metavar="TOML", help="summary, limits and [[data]] for the model card."),
    *(*RECORDS, *schedule_options(_DEFAULTS, "save_minutes")),
)
@section("Performance", DEVICE, *schedule_options(_DEFAULTS, "precision"))
@section("Messages", PROGRESS, JSON, QUIET, STRICT, DEBUG)
@guarded
def train(
    *,
    fine: tuple[str, ...],
    also_fine: tuple[str, ...],
    size: str,
    joint: bool,
    validation: tuple[str, ...],
    start: str | None,
    teacher: str | None,
    card: str | None,
    **options: Any,
) -> None:
    """Train a network on fine rasters.

    FINE are rasters of the resolution that is wanted; the coarse ones are made from them by block means.
    """
    harden_gdal()
    fine = all_fine(fine, also_fine)
    refuse_nameless()
    refuse_both("steps", "minutes")
    refuse_both("hold_out", "validation")
    form = {name: options.pop(name) for name in ("prelu", "conserving", "overshoot")}
    session = take_session(SeedSession, options)
    schedule = TrainOptions(**options)
    from geofsrcnn.training.rasters import count_bands, identify_rasters, train_model

    keep_freed_memory()
    sizes = {"factor": session.factor, **PRESETS[size]}
    sizes = widen(sizes, count_bands(fine[0])) if joint else sizes
    config = FSRCNNConfig.from_dict({**sizes, **form})
    decisive: dict[str, Any] = {"config": config, "validation": validation, "teacher": teacher}
    also: dict[str, Any] = {"card": card, "start": start, "device": session.device, "resume": session.resume}
    train_one = partial(train_model, fine, session.factor, **decisive, **also)
    identify_one = partial(identify_rasters, fine, session.factor, **decisive)
    named = (*fine, *validation, *(name for name in (start, teacher, card) if name is not None))
    inputs = [Path(name).absolute() for name in named]
    each_seed(session, schedule, inputs, train_one, identify_one, _progress_text, _show_result)


def _progress_text(record: dict[str, Any]) -> str:
    """A line about how a training stands."""
    spent, done = record["seconds"], record["done"]
    left = "" if done == 0 else f", {spent / done * (1 - done) / 60:.1f} min left"
    return (
        f"step {record['step']:6d}  loss {record['loss']:.4f}  held out {record['score']:.4f} of {BASELINE} "
        f"(best {record['best']:.4f}){left}"
    )


def _show_result(result: Result) -> None:
    from geofsrcnn.evaluation.verdict import compare_in_words

    verdict = compare_in_words(
        "the network", result.score, BASELINE, rank="the strongest classical method on most data"
    )
    fields = "1 held-out field" if len(result.fields) == 1 else f"{len(result.fields)} held-out fields"
    click.echo(
        f"{printable(result.out)}: {verdict} Scored on {fields}; {result.steps} steps, {result.seconds / 60:.1f} min"
    )
