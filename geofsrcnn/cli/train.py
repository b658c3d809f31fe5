"""`geofsrcnn train`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geofsrcnn.cli.params import Day, Factor, Names, Option, given_names, refuse_given
from geofsrcnn.cli.signals import guarded
from geofsrcnn.cli.train_pairs import run_train_pairs
from geofsrcnn.cli.train_session import PAIRS, Session, each_seed
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.options import PRECISIONS
from geofsrcnn.process import harden_gdal, keep_freed_memory

if TYPE_CHECKING:
    from geofsrcnn.training.schedule import Result


FILES = (
    *("fine", "also_fine", "coarse", "static", "validation", "start", "teacher", "card"),
    *("out", "log", "curves", "tensorboard"),
)


def _configure(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the options of a file as defaults."""
    if path is None:
        return
    from geofsrcnn.cli.config import Kind, Option, read_options

    def kind(param: click.Parameter) -> Kind:
        if isinstance(param, click.Option) and param.is_flag:
            return "flag"
        kinds: dict[type, Kind] = {
            click.IntRange: "whole",
            Factor: "whole",
            click.types.FloatParamType: "number",
            Names: "names",
            Day: "day",
            Option: "table",
        }
        return kinds.get(type(param.type), "text")

    options = {
        name.removeprefix("--"): Option(str(param.name), kind(param), param.multiple)
        for param in context.command.params
        if isinstance(param, click.Option) and param.name != "config"
        for name in param.opts
        if name.startswith("--")
    }
    context.default_map = read_options(Path(path), options)


def _refuse_nameless() -> None:
    """Refuse names that can be no file's or folder's of data: empty, ``.`` or ``..``."""
    context = click.get_current_context()
    for param in context.command.params:
        value = context.params.get(str(param.name))
        for name in value if isinstance(value, tuple) else (value,):
            if param.name in FILES and name is not None and Path(name).name in ("", ".."):
                raise UsageError(f"{param.opts[0]} needs the name of a file, got {printable(name)!r}")


@click.command("train")
@click.argument("fine", nargs=-1, metavar="[FINE...]")
@click.option(
    "--config",
    metavar="TOML",
    callback=_configure,
    is_eager=True,
    expose_value=False,
    help="Options by name, such as steps = 2000; those given here win. Paths are relative to the current folder.",
)
@click.option("--coarse", multiple=True, metavar="FILE", help="Coarse fields of the same times: train on pairs.")
@click.option("--fine", "also_fine", multiple=True, metavar="FILE", help="As FINE; several times.")
@click.option("--static", multiple=True, metavar="FILE", help="Pairs: fine fields without times, such as elevation.")
@click.option(
    "--until",
    type=Day(),
    default=None,
    metavar="YYYY-MM-DD",
    help="Pairs: fit on the days before, score on the others.",
)
@click.option("--predictors", type=Names(), default=None, help="Pairs: coarse variables, separated by commas.")
@click.option("--targets", type=Names(), default=None, help="Pairs: fine variables, separated by commas.")
@click.option(
    "--partner",
    "partners",
    type=Option(),
    multiple=True,
    metavar="TARGET=PREDICTOR",
    help="Pairs: the predictor that is the same quantity; found by names where not given.",
)
@click.option(
    "--transform",
    "transforms",
    type=Option(),
    multiple=True,
    metavar="PREDICTOR=sqrt|log1p",
    help="Pairs: taken before a predictor is standardised.",
)
@click.option(
    "--limits",
    type=Option(),
    multiple=True,
    metavar="TARGET=LOW:HIGH",
    help="Pairs: smallest and largest value, such as rr=0:inf.",
)
@click.option(
    "--weight",
    "weights",
    type=Option(),
    multiple=True,
    metavar="TARGET=NUMBER",
    help="Pairs: how much the errors of a target count; 1 where not given.",
)
@click.option(
    "--base",
    type=click.Choice(["regression", "correction"]),
    default="regression",
    show_default=True,
    help="Pairs: each fine cell's regression on its partner, or the partner and a mean correction (changing climates).",
)
@click.option("--calendar/--no-calendar", default=True, show_default=True, help="Pairs: day of the year as predictor.")
@click.option(
    "--dropout", type=float, default=0.2, show_default=True, help="Pairs: share of channels left out at random."
)
@click.option(
    "--members", type=click.IntRange(1), default=1, show_default=True, help="Pairs: networks whose mean is the result."
)
@click.option("--weight-decay", type=float, default=0.0, show_default="0; 0.01 for pairs", help="Weight decay.")
@click.option("--factor", "-f", type=Factor(), required=True, help="How many times finer, 2-8.")
@click.option("--out", "-o", required=True, metavar="M.safetensors", help="Checkpoint to write.")
@click.option(
    "--size",
    type=click.Choice(["default", "small", "large"]),
    default="default",
    show_default=True,
    help="Of the network: (d, s, m) = (64, 32, 4), (32, 5, 1) or (64, 48, 12).",
)
@click.option(
    "--prelu",
    type=click.Choice(["layer", "channel"]),
    default="layer",
    show_default=True,
    help="One PReLU slope a layer (faster) or a channel (the paper's).",
)
@click.option(
    "--conserving",
    type=click.Choice(["mean", "area", "positive", "none"]),
    default="mean",
    show_default="mean; for pairs where they are the coarse values",
    help="Keep block means; area (pairs): cells count by their area; positive: values stay at or above zero too.",
)
@click.option(
    "--steps", type=click.IntRange(1), default=20000, show_default="20000; 1500 for pairs", help="Optimiser steps."
)
@click.option("--minutes", type=float, default=None, help="End after this time instead; not reproducible to the bit.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=16,
    show_default="16; 32 for pairs",
    help="Patches, or times, in a step.",
)
@click.option("--patch", type=click.IntRange(4), default=32, show_default=True, help="Coarse cells along a patch.")
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Peak learning rate.")
@click.option(
    "--loss",
    type=click.Choice(["charbonnier", "l1", "mse"]),
    default="charbonnier",
    show_default="charbonnier; mse for pairs",
    help="Of errors in units of a patch's roughness, or of what a cell's regression leaves.",
)
@click.option(
    "--charbonnier-eps",
    type=float,
    default=0.3,
    show_default=True,
    help="Epsilon of the Charbonnier loss sqrt(e^2 + eps^2).",
)
@click.option(
    "--balance", type=float, default=0.5, show_default=True, help="Draw files by their number of cells to this power."
)
@click.option(
    "--pyramid-levels",
    type=click.IntRange(0, 6),
    default=0,
    show_default=True,
    help="Halve fields so often for more fields.",
)
@click.option("--blur", type=float, default=0.0, show_default=True, help="Share of patches that are smoothed first.")
@click.option("--mix", type=float, default=0.0, show_default=True, help="Share of patches with part of another added.")
@click.option("--branches", is_flag=True, help="Train each mapping layer as 3x3 + 1x1 + identity, folded when kept.")
@click.option(
    "--frozen", type=click.IntRange(0), default=0, show_default=True, help="First steps of the last layer only."
)
@click.option("--freeze", type=Names(), default=(), metavar="STAGES", help="Never trained, such as feature,shrink.")
@click.option(
    "--last-layer-lr-ratio",
    type=float,
    default=1.0,
    show_default=True,
    help="The last layer's learning rate over the others'.",
)
@click.option(
    "--lr-schedule",
    type=click.Choice(["cosine", "constant"]),
    default="cosine",
    show_default=True,
    help="Of the learning rate after its rise.",
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    default=0,
    show_default="never",
    help="End after so many validations without a better score.",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the convolutions; weights and loss stay float32.",
)
@click.option(
    "--keep",
    type=click.Choice(["best", "last"]),
    default="best",
    show_default="best; last for pairs",
    help="The best weights on the held-out fields, or those of the last step.",
)
@click.option("--validation", "-v", multiple=True, metavar="FINE", help="Raster to validate on; several times.")
@click.option(
    "--hold-out",
    type=float,
    default=0.15,
    show_default=True,
    help="Share of the sites to validate on without --validation.",
)
@click.option("--start", default=None, metavar="M.safetensors", help="Checkpoint to start from, of any factor.")
@click.option("--teacher", default=None, metavar="MODEL", help="Learn from this model as well.")
@click.option("--teacher-weight", type=float, default=0.5, show_default=True, help="The teacher's share of the loss.")
@click.option("--card", default=None, metavar="TOML", help="summary, limits and [[data]] for the model card.")
@click.option("--log", default=None, metavar="FILE", help="Append figures as JSON lines.")
@click.option(
    "--curves", default=None, metavar="FILE.png", help="Draw loss and score by step, anew at each validation."
)
@click.option("--tensorboard", default=None, metavar="DIR", help="Write events for TensorBoard.")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=0,
    show_default=True,
    help="Of weights, patches and held-out sites.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Repeat it with so many seeds, into NAME-seed1 and so on beside --out.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--overwrite", is_flag=True, help="Replace an existing checkpoint.")
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped, exactly.")
@click.option("--save-minutes", type=float, default=5.0, show_default=True, help="Minutes between saved states.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@guarded
def train(
    *,
    fine: tuple[str, ...],
    also_fine: tuple[str, ...],
    coarse: tuple[str, ...],
    size: str,
    prelu: str,
    conserving: str,
    validation: tuple[str, ...],
    start: str | None,
    teacher: str | None,
    card: str | None,
    **options: Any,
) -> None:
    """Train a network on fine rasters, or on pairs of coarse and fine fields.

    FINE are rasters of the resolution that is wanted; the coarse ones are made from them by block means. With --coarse
    FINE are fields of the same times, and the network is for that place and those variables; it starts from a
    regression of each fine cell.
    """
    harden_gdal()
    if fine and "also_fine" not in given_names(ParameterSource.COMMANDLINE):  # those of a file then
        also_fine = ()
    fine = (*fine, *also_fine)
    _refuse_nameless()
    for one, other in (("steps", "minutes"), ("hold_out", "validation")):
        if {one, other} <= given_names():
            raise UsageError(f"--{one.replace('_', '-')} and --{other} exclude each other: give one")
    if not fine:
        raise UsageError("nothing to train on: give FINE rasters")
    pairs = {name: options.pop(name) for name in PAIRS}
    session = Session(**{each.name: options.pop(each.name) for each in fields(Session)})
    from geofsrcnn.training.rasters import train_model
    from geofsrcnn.training.schedule import TrainOptions

    keep_freed_memory()
    if coarse:
        run_train_pairs(coarse, fine, pairs, session)
        return
    refuse_given([*PAIRS], "is for pairs: it needs --coarse")
    from geofsrcnn.networks.config import PRESETS, FSRCNNConfig

    sizes = {"factor": session.factor, **PRESETS[size], "prelu": prelu, "conserving": conserving}
    config = FSRCNNConfig.from_dict(sizes)
    schedule = TrainOptions(**options)

    def said(record: dict[str, Any]) -> str:
        spent, done = record["seconds"], record["done"]
        left = "" if done == 0 else f", {spent / done * (1 - done) / 60:.1f} min left"
        return (
            f"step {record['step']:6d}  loss {record['loss']:.4f}  held out {record['score']:.4f} of lanczos-bp "
            f"(best {record['best']:.4f}){left}"
        )

    train_one = partial(
        train_model,
        fine,
        session.factor,
        config=config,
        validation=validation,
        card=card,
        start=start,
        teacher=teacher,
        device=session.device,
        resume=session.resume,
    )
    named = (*fine, *validation, *(name for name in (start, teacher, card) if name is not None))
    each_seed(session, schedule, [Path(name).absolute() for name in named], train_one, said, _show_trained)


def _show_trained(result: Result) -> None:
    verdict = "better than" if result.score < 0.999 else "no better than" if result.score < 1.001 else "worse than"
    click.echo(
        f"{printable(result.out)}: {verdict} lanczos-bp, the strongest classical method on most data: RMSE "
        f"{result.score:.4f} of it on {len(result.fields)} held-out fields; {result.steps} steps, "
        f"{result.seconds / 60:.1f} min"
    )
