"""`geofsrcnn evaluate-pairs`."""

from __future__ import annotations

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import DEBUG, DEVICE, JSON, REPORT_OPTIONS, STOP_WITH_STDIN, STRICT, refuse_given
from geofsrcnn.cli.progress import PROGRESS, count_units, show_progress
from geofsrcnn.cli.show import file_names, show_comparisons
from geofsrcnn.cli.signals import guarded, stops


@click.command(
    "evaluate-pairs", cls=Command, example="here.safetensors --fine observed.nc --coarse era5.nc --report report"
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@section(
    "Most used",
    click.option("--fine", multiple=True, required=True, metavar="FILE", help="True fine fields; several times."),
    click.option(
        "--coarse", multiple=True, required=True, metavar="FILE", help="Coarse fields of the same times; several times."
    ),
    click.option(
        "--since", default=None, metavar="YYYY-MM-DD", help="First day.  [default: after all that was fitted on]"
    ),
    *REPORT_OPTIONS,
)
@section("Performance", DEVICE)
@section("Messages", PROGRESS, STOP_WITH_STDIN, JSON, STRICT, DEBUG)
@guarded
def evaluate_pairs(
    *,
    models: tuple[str, ...],
    fine: tuple[str, ...],
    coarse: tuple[str, ...],
    since: str | None,
    report: str | None,
    overwrite: bool,
    device: str,
    as_json: bool,
    progress_mode: str,
) -> None:
    """Compare models of pairs with the truth on later times.

    MODELs are checkpoints that train-pairs wrote. Beside them stand interpolations, each cell's mean, mean correction
    and regression. --report writes all measures, maps and spectra.
    """
    if report is None:
        refuse_given(["overwrite"], "is for --report")
    from geofsrcnn.evaluation.page import check_report
    from geofsrcnn.networks.checkpoint import load_checkpoint
    from geofsrcnn.pairs.evaluate import evaluate_pairs as compare
    from geofsrcnn.pairs.network import pairing_of

    if report is not None:
        check_report(report, overwrite=overwrite)
    loaded = [load_checkpoint(model) for model in models]
    with show_progress(progress_mode, "evaluating", "times", silent=as_json) as show, stops() as check:
        found = compare(loaded, coarse, fine, since=since, device=device, progress=count_units(show, check))
    facts = {}
    for name, checkpoint in zip(found[0].models, loaded, strict=True):
        fitted = " to ".join(map(str, pairing_of(checkpoint).fitted))
        words = f"{checkpoint.card.summary}; fitted on {fitted}; sha256 {checkpoint.digest}"
        facts[f"model {name}"] = f"{checkpoint.path.name}; {words}"
    facts |= {"fine": file_names(fine), "coarse": file_names(coarse)}
    show_comparisons(found, report, f"{file_names(models)} on later times", facts, overwrite=overwrite, as_json=as_json)
