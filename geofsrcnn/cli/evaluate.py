"""`geofsrcnn evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.params import Factor, Indexes, Nodata, refuse_given
from geofsrcnn.cli.show import file_names, show_comparisons
from geofsrcnn.cli.signals import echo_json, guarded, stops
from geofsrcnn.errors import InputError, printable
from geofsrcnn.options import PRECISIONS
from geofsrcnn.process import harden_gdal

if TYPE_CHECKING:
    from geofsrcnn.evaluation.rasters import Evaluation, Score


@click.command("evaluate")
@click.argument("rasters", nargs=-1, required=True, metavar="RASTER...")
@click.option("--report", default=None, metavar="DIR", help="Write report.html, report.md and report.json there.")
@click.option("--overwrite", is_flag=True, help="Replace the report.")
@click.option(
    "--factor",
    "-f",
    type=Factor(),
    default=None,
    show_default="that of a model's file, else 3",
    help="How many times finer, 2-8.",
)
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    default=("default",),
    show_default=True,
    help="As for upscale; several times to compare several.",
)
@click.option("--bidx", "-b", type=Indexes(), default=None, help="Bands, such as 1,2,3.  [default: all]")
@click.option("--nodata", type=Nodata(), default=None, help="Stored value of missing cells, instead of the file's.")
@click.option("--driver", default=None, help="GDAL driver of rasters that are no GeoTIFF.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="float32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print all scores as JSON.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@guarded
def evaluate(
    *,
    rasters: tuple[str, ...],
    report: str | None,
    overwrite: bool,
    factor: int | None,
    models: tuple[str, ...],
    bidx: tuple[int, ...] | None,
    as_json: bool,
    driver: str | None,
    **options: Any,
) -> None:
    """Is it any good on my data? Each RASTER is block-averaged, upscaled, and compared with itself.

    Beside the models stand all classical methods: nearest, bilinear, cubic (a = -0.5 and -0.75) and lanczos3, each
    plain, with conservation (-c) and with back-projection (-bp). RMSE, MAE and bias are in the raster's units.
    --report writes all measures, maps and spectra of a part.
    """
    if report is None:
        refuse_given(["overwrite"], "is for --report")
    harden_gdal(driver)
    if report is not None:
        _report_rasters(
            rasters, factor, models, bidx or (), report, driver, options, overwrite=overwrite, as_json=as_json
        )
        return
    from geofsrcnn.evaluation.rasters import evaluate_raster
    from geofsrcnn.networks.catalog import load_model

    device, precision = options.pop("device"), options.pop("precision")
    loaded = [load_model(model, factor, device=device, precision=precision) for model in models]
    found: list[Evaluation] = []
    with stops() as check:
        for raster in rasters:
            found += evaluate_raster(raster, factor, loaded, bidx=bidx or (), driver=driver, each_part=check, **options)
    if not found:
        raise InputError("no raster has enough valid cells to judge by, or any structure")
    if as_json:
        echo_json([evaluation.to_dict() for evaluation in found])
    elif len(found) == 1:
        _show_evaluation(found[0])
    else:
        _show_evaluations(found)


def _report_rasters(
    rasters: tuple[str, ...],
    factor: int | None,
    models: tuple[str, ...],
    bidx: tuple[int, ...],
    report: str,
    driver: str | None,
    options: dict[str, Any],
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from geofsrcnn.evaluation.page import check_report
    from geofsrcnn.evaluation.rasters import compare_raster
    from geofsrcnn.networks.catalog import load_model

    check_report(report, overwrite=overwrite)
    device, precision = options.pop("device"), options.pop("precision")
    loaded = [load_model(model, factor, device=device, precision=precision) for model in models]
    found = []
    with stops() as check:
        for raster in rasters:
            found += compare_raster(raster, factor, loaded, bidx=bidx, driver=driver, each_part=check, **options)
    if not found:
        raise InputError("no raster has enough valid cells to judge by, or any structure")
    named = zip(found[0].models, loaded, strict=True)
    facts = {f"model {name}": f"sha256 {model.digest}" for name, model in named if model.digest}
    facts |= {"rasters": file_names(rasters), "factor": str(found[0].factor)}
    title = f"{file_names(models)} on block-averaged rasters"
    show_comparisons(found, report, title, facts, overwrite=overwrite, as_json=as_json)


def _show_evaluation(e: Evaluation) -> None:
    """All methods on one field, best first, and the verdict."""
    from geofsrcnn.values.kernels import BICUBIC

    unit = f", {printable(e.unit)}" if e.unit else ""
    windows = ", on windows spread over the raster" if e.windowed else ""
    click.echo(f"{printable(e.name)}, x{e.factor}: {e.cells:,} fine cells count{windows}\n")
    click.echo(f"{'method':18}{'RMSE' + unit:>16}{'MAE':>12}{'bias':>12}{'of bicubic':>12}")
    bicubic = e.classical[BICUBIC].rmse
    rows = sorted((e.classical | e.models).items(), key=lambda row: row[1].rmse)
    for name, score in rows:
        click.echo(f"{name:18}{score.rmse:16.5g}{score.mae:12.5g}{_bias(score):>12}{score.rmse / bicubic:12.3f}")
    click.echo(
        "\ncubic is GDAL's (a = -0.5), cubic-0.75 OpenCV's and torch's bicubic; -c keeps block means, -bp projects back"
    )
    click.echo(f"\n{e.verdict()}")


def _bias(score: Score) -> str:
    """The mean error; what is only rounding is 0."""
    return "0" if abs(score.bias) < 1e-9 * score.rmse else f"{score.bias:.1g}"


def _show_evaluations(found: list[Evaluation]) -> None:
    """A line a field and model, means over the fields, and the verdict for each model."""
    from geofsrcnn.evaluation.scores import geometric_mean

    width = max(len(printable(e.name)) for e in found) + 2
    head = f"{'field':{width}}{'model':14}{'RMSE':>11}{'MAE':>11}{'bias':>10}{'of bicubic':>12}{'of best':>9}"
    click.echo(f"{head}  best classical")
    for e in found:
        for model, score in e.models.items():
            click.echo(
                f"{printable(e.name):{width}}{model:14}{score.rmse:11.4g}{score.mae:11.4g}{_bias(score):>10}"
                f"{e.to_bicubic(model):12.3f}{e.to_best(model):9.3f}  {e.best_classical}"
            )
    click.echo("")
    for model in found[0].models:
        ratios = [e.to_best(model) for e in found]
        worst = max(found, key=lambda e: e.to_best(model))
        better = sum(ratio < 1 for ratio in ratios)
        click.echo(
            f"{model} is better than the best classical method of each field on {better} of {len(found)} fields: RMSE "
            f"{geometric_mean(ratios):.3f} of it and {geometric_mean([e.to_bicubic(model) for e in found]):.3f} of "
            f"bicubic (geometric means), at worst {worst.to_best(model):.3f} of it ({printable(worst.name)})."
        )
