"""`geofsrcnn train-pairs`."""

from __future__ import annotations

import math
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Day, Names, Option
from geofsrcnn.cli.params import (
    DEBUG,
    DEVICE,
    JSON,
    OVERWRITE,
    QUIET,
    STRICT,
    parse_range,
    parse_weight,
)
from geofsrcnn.cli.signals import guarded
from geofsrcnn.cli.train_options import (
    ALSO_FINE,
    CONFIG,
    FACTOR,
    FINE,
    OPTIMISER,
    OUT,
    PROGRESS,
    RECORDS,
    RESUME,
    SEEDS,
    VALIDATION,
    all_fine,
    refuse_both,
    refuse_nameless,
    schedule_options,
)
from geofsrcnn.cli.train_session import SeedSession, each_seed, take_session
from geofsrcnn.errors import printable
from geofsrcnn.pairs.spec import BASES, CONSERVING, PairOptions, PairsSpec
from geofsrcnn.process import harden_gdal, keep_freed_memory

if TYPE_CHECKING:
    from geofsrcnn.pairs.train import PairResult

_DEFAULTS = PairOptions()

_EXAMPLE = "observed.nc --coarse era5.nc --static elevation.nc --factor 4 --until 2010-01-01 --out here.safetensors"


@click.command("train-pairs", cls=Command, example=_EXAMPLE)
@FINE
@section(
    "Most used",
    click.option(
        "--coarse", multiple=True, required=True, metavar="FILE", help="Coarse fields of the same times; several times."
    ),
    click.option("--static", multiple=True, metavar="FILE", help="Fine fields without times, such as elevation."),
    click.option(
        "--until", type=Day(), required=True, metavar="YYYY-MM-DD", help="Fit on the days before, score on the others."
    ),
    *(FACTOR, OUT, CONFIG),
    click.option(
        "--partner",
        "partners",
        type=Option(),
        multiple=True,
        metavar="TARGET=PREDICTOR",
        help="The predictor that is the same quantity; found by names where not given.",
    ),
    *schedule_options(_DEFAULTS, "steps"),
    *(RESUME, OVERWRITE),
)
@section(
    "Data",
    ALSO_FINE,
    click.option("--predictors", type=Names(), default=(), help="Coarse variables, separated by commas."),
    click.option("--targets", type=Names(), default=(), help="Fine variables, separated by commas."),
    click.option(
        "--transform",
        "transforms",
        type=Option(),
        multiple=True,
        metavar="PREDICTOR=sqrt|log1p",
        help="Taken before a predictor is standardised.",
    ),
    click.option(
        "--limits",
        type=Option(),
        multiple=True,
        metavar="TARGET=LOW:HIGH",
        help="Smallest and largest value, such as rr=0:inf.",
    ),
    click.option(
        "--weight",
        "weights",
        type=Option(),
        multiple=True,
        metavar="TARGET=NUMBER",
        help="How much the errors of a target count; 1 where not given.",
    ),
    click.option(
        "--calendar/--no-calendar", default=PairsSpec.calendar, show_default=True, help="Day of the year as predictor."
    ),
)
@section(
    "Network",
    click.option(
        "--base",
        type=click.Choice(BASES),
        default=PairsSpec.base,
        show_default=True,
        help="Each fine cell's regression on its partner, or the partner and a mean correction (changing climates).",
    ),
    click.option(
        "--conserving",
        type=click.Choice(CONSERVING),
        default=PairsSpec.conserving,
        show_default=True,
        help="Keep block means: auto where they are the coarse values; area: cells count by their area; positive: "
        "values stay at or above zero too.",
    ),
    *schedule_options(_DEFAULTS, "members", "distribution", "dropout"),
)
@section("Optimiser", *schedule_options(_DEFAULTS, "minutes", *OPTIMISER))
@section("Validation", *schedule_options(_DEFAULTS, *VALIDATION), SEEDS)
@section("Records", *RECORDS, *schedule_options(_DEFAULTS, "save_minutes"))
@section("Performance", DEVICE, *schedule_options(_DEFAULTS, "precision"))
@section("Messages", PROGRESS, JSON, QUIET, STRICT, DEBUG)
@guarded
def train_pairs(*, fine: tuple[str, ...], also_fine: tuple[str, ...], **options: Any) -> None:
    """Train a network on pairs of coarse and fine fields.

    FINE are fields of the resolution that is wanted, those of --coarse are of the same times. The network is for that
    place and those variables; it starts from a regression of each fine cell.
    """
    harden_gdal()
    fine = all_fine(fine, also_fine)
    refuse_nameless()
    refuse_both("steps", "minutes")
    session = take_session(SeedSession, options)
    named = {each.name: options.pop(each.name) for each in fields(PairsSpec) if each.name in options}
    for name in ("partners", "transforms"):
        named[name] = dict(named[name])
    named["limits"] = {name: parse_range(text) for name, text in named["limits"]}
    named["weights"] = {name: parse_weight(name, text) for name, text in named["weights"]}
    spec = PairsSpec(fine=fine, **named)
    schedule = PairOptions(**options)
    from geofsrcnn.pairs.train import identify_pairs
    from geofsrcnn.pairs.train import train_pairs as train_on_pairs

    keep_freed_memory()
    train_one = partial(train_on_pairs, spec, session.factor, device=session.device, resume=session.resume)
    identify_one = partial(identify_pairs, spec, session.factor)
    each_seed(session, schedule, spec.files, train_one, identify_one, _progress_text, _show_pairs)


def _progress_text(record: dict[str, Any]) -> str:
    """A line about how a training stands."""
    stage = next((words.format(record[key]) for key, words in _STAGES.items() if key in record), "")
    loss = f"{record['loss']:.4f}" if record["step"] else "     -"
    of = "of the mean absolute error" if "distribution" in record else "of the best baseline"
    return f"{stage}step {record['step']:6d}  loss {loss}  {record['score']:.4f} {of}"


_STAGES = {"member": "member {}  ", "held_out": "held out {}  ", "distribution": "distribution  "}
"""Words for the networks of a training, by the key that their records have."""


def _show_pairs(result: PairResult) -> None:
    from geofsrcnn.evaluation.scores import mean_and_std
    from geofsrcnn.evaluation.verdict import compare_in_words
    from geofsrcnn.pairs.pairing import BASELINES, MEANS_KEPT

    matched = {"months": "months (matched by year and month)", "years": "years (matched by year)"}
    times = f"{result.times[0]} {matched.get(result.matched, 'times')}"
    click.echo(f"{printable(result.out)}: fitted on {times}, RMSE on the {result.times[1]} after them:")
    order = ("network", *BASELINES, MEANS_KEPT)
    methods = [name for name in order if any(name in scores for scores in result.scores.values())]
    click.echo("target".ljust(16) + "".join(f"{name:>18}" for name in methods))
    for name, scores in result.scores.items():
        click.echo(f"{printable(name):16}" + "".join(f"{scores.get(m, math.nan):18.4g}" for m in methods))
        least, best = result.best_baseline(name)
        click.echo(f"  {compare_in_words('the network', scores['network'] / least, best)}")
        if name in result.distributions:
            ratio = result.distributions[name]
            click.echo(f"  its distribution: CRPS {ratio:.3g} of the mean absolute error")
        if len(alone := result.members[name]) > 1:
            mean, std = mean_and_std(alone)
            each = ", ".join(f"{value:.4g}" for value in alone)
            click.echo(f"  its members alone: {each}; mean {mean:.4g}, standard deviation {std:.2g}")
