"""`geofsrcnn evaluate`."""

from __future__ import annotations

import os
from typing import Any

import click

from geofsrcnn.cli.evaluate_pairs import evaluate_pairs
from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import (
    BIDX,
    DEBUG,
    DEVICE,
    FACTOR,
    JSON,
    KINDS,
    NODATA,
    PRECISION,
    RASTER_OPTIONS,
    REPORT_OPTIONS,
    STOP_WITH_STDIN,
    STRICT,
    refuse_given,
)
from geofsrcnn.cli.progress import PROGRESS, count_units, show_progress
from geofsrcnn.cli.show import file_names, show_comparisons
from geofsrcnn.cli.signals import guarded, stops
from geofsrcnn.errors import InputError
from geofsrcnn.process import harden_gdal

MODELS = click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    default=("default",),
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped model or a .safetensors file; several times to compare several.",
)


@click.command("evaluate", cls=Command, example="dem.tif --factor 3 --report report", for_pairs=evaluate_pairs)
@click.argument("rasters", nargs=-1, required=True, metavar="RASTER...")
@section("Most used", FACTOR, MODELS, BIDX, NODATA, KINDS, *REPORT_OPTIONS)
@section("Input", *RASTER_OPTIONS)
@section("Performance", DEVICE, PRECISION)
@section("Messages", PROGRESS, STOP_WITH_STDIN, JSON, STRICT, DEBUG)
@guarded
def evaluate(
    *,
    rasters: tuple[str, ...],
    factor: int | None,
    models: tuple[str, ...],
    device: str,
    precision: str,
    report: str | None,
    overwrite: bool,
    as_json: bool,
    progress_mode: str,
    **options: Any,
) -> None:
    """Tell whether models are any good on your data.

    Each RASTER is block-averaged, upscaled, and compared with itself. Beside the models stand all classical methods:
    nearest, bilinear, cubic (a = -0.5 and -0.75) and lanczos3, each plain, with conservation (-c) and with
    back-projection (-bp). Categories are judged by the share of right ones, directions by their angles. --report writes
    all measures, maps and spectra.
    """
    if report is None:
        refuse_given(["overwrite"], "is for --report")
    harden_gdal(options["driver"])
    from geofsrcnn.evaluation.page import check_report
    from geofsrcnn.evaluation.rasters import METHODS_NOTE, count_fields, evaluate_raster
    from geofsrcnn.networks.catalog import load_model

    if report is not None:
        check_report(report, overwrite=overwrite)
    rasters = tuple({os.path.realpath(raster): raster for raster in rasters}.values())  # each once
    loaded = [load_model(model, factor, device=device, precision=precision) for model in models]
    options["bidx"] = options["bidx"] or ()
    counts = [count_fields(raster, factor, loaded, **options) for raster in rasters]
    found = []
    with show_progress(progress_mode, "evaluating", "fields", silent=as_json) as show, stops() as check:
        for number, raster in enumerate(rasters):
            progress = count_units(show, check, before=sum(counts[:number]), total=sum(counts))
            found += evaluate_raster(raster, factor, loaded, detail=report is not None, progress=progress, **options)
    if not found:
        raise InputError(f"nothing to judge by in {file_names(rasters)}: give a larger raster, or a smaller factor=")
    networks = [model for model in loaded if model.digest]
    facts = {f"model {name}": f"sha256 {model.digest}" for name, model in zip(found[0].models, networks, strict=False)}
    facts |= {"rasters": file_names(rasters), "factor": str(found[0].factor)}
    title = f"{file_names(models)} on block-averaged rasters"
    notes = [METHODS_NOTE] if any(len(each.scores) > 1 for each in found) else []  # categories are judged by one
    show_comparisons(found, report, title, facts, notes=notes, overwrite=overwrite, as_json=as_json)
