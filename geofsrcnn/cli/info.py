"""`geofsrcnn info` and `geofsrcnn models`."""

from __future__ import annotations

import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.flags import with_flags
from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Factor
from geofsrcnn.cli.params import (
    DEBUG,
    DRIVER,
    GROUP,
    INSIDE,
    JSON,
    STRICT,
    refuse_given,
)
from geofsrcnn.cli.show import bands_text, size_text
from geofsrcnn.cli.signals import echo_json, guarded
from geofsrcnn.cli.tables import show_columns, show_text
from geofsrcnn.cli.upscale import upscale
from geofsrcnn.errors import printable
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX
from geofsrcnn.process import harden_gdal

if TYPE_CHECKING:
    from geofsrcnn.networks.catalog import ModelInfo
    from geofsrcnn.upscale.describe import DatasetDescription, RasterDescription


@click.command("info", cls=Command, example="dem.tif", flags_of=upscale)
@click.argument("name", metavar="FILE|MODEL")
@section(
    "Options",
    click.option("--factor", "-f", type=Factor(), default=None, help="Which of the models of a name."),
    *(GROUP, DRIVER, INSIDE, JSON, STRICT, DEBUG),
)
@guarded
def info(
    *, name: str, factor: int | None, driver: str | None, inside: str | None, group: str | None, as_json: bool
) -> None:
    """Describe a raster, a dataset or a model.

    Of a file it tells what upscale takes it for, band by band or variable by variable; of a model, by name or file,
    what it was trained on, how good it is where, and what it is not for.
    """
    harden_gdal(driver)
    if name.endswith(CHECKPOINT_SUFFIX) or not (Path(name).suffix or os.sep in name or Path(name).exists()):
        refuse_given(["driver", "inside", "group"], "is for files, not for models")
        from geofsrcnn.networks.checkpoint import load_checkpoint

        card = load_checkpoint(name, factor).to_dict()
        echo_json(card) if as_json else _show_card(card)
        return
    refuse_given(["factor"], "is for models")
    from geofsrcnn.upscale.describe import RasterDescription, describe_file

    found = describe_file(name, driver=driver, inside=inside, group=group)
    if isinstance(found, RasterDescription) and found.refused:
        found = replace(found, refused=with_flags(found.refused))
    if as_json:
        echo_json(found.to_dict())
    elif isinstance(found, RasterDescription):
        _show_raster(found)
    else:
        _show_dataset(found)


def _show_raster(r: RasterDescription) -> None:
    """Show the grid, what is said of the whole file, and a line for each band."""
    numbers = {"affine": r.affine, "bounds": r.bounds}
    facts = {
        "file": r.file,
        "size": f"{r.rows} x {r.columns} cells, {bands_text(len(r.bands))}",
        "crs": r.crs,
        **{name: values and " ".join(f"{value:.15g}" for value in values) for name, values in numbers.items()},
        "gcps": r.gcps and str(r.gcps),
        "rpcs": r.rpcs and "yes",
        "mask": r.mask and "yes",
        "tags": ", ".join(f"{key} {value}" for key, value in r.tags.items()),
        "refused": r.refused,
    }
    for label, text in facts.items():
        if text:
            show_text(label, text)
    click.echo()
    rows = [
        (
            *(b.index, b.dtype, printable(b.unit or ""), _scaling_text(b.scale, b.offset)),
            *(None if b.nodata is None else f"{b.nodata:.17g}", b.colour, printable(b.description or "")),
            f"{b.kind} ({b.because})" if b.kind else "",
        )
        for b in r.bands
    ]
    show_columns(("band", "type", "unit", "scaled", "nodata", "colour", "description", "taken for"), rows)


def _show_dataset(d: DatasetDescription) -> None:
    """Show the grid, and a line for each variable."""
    click.echo(f"{d.file}: {d.format}\n{d.grid}\n")
    rows = [
        (
            *(v.name, ", ".join(f"{dim} {size}" for dim, size in v.dimensions.items())),
            *(f"{v.dtype} {_scaling_text(v.scale, v.offset)}".rstrip(), v.unit, v.becomes),
            f"{v.kind} ({v.because})" if v.kind else "",
        )
        for v in d.variables
    ]
    show_columns(("variable", "dimensions", "type", "unit", "becomes", "taken for"), rows)


def _scaling_text(scale: float, offset: float) -> str:
    """How values come of stored ones; empty if they are the same."""
    return "" if (scale, offset) == (1, 0) else f"* {scale:g} + {offset:g}"


def _show_card(facts: dict[str, Any]) -> None:
    """Show a model's card: what it is, what it is not for, how good it is where, what it was made of."""
    network = facts["network"]
    click.echo(f"{printable(facts['name'])}: {printable(facts['summary']) or 'no summary'}\n")
    overshoot = "without limit" if network["overshoot"] is None else f"{network['overshoot']:g}"
    sizes = f"(d, s, m) = ({network['d']}, {network['s']}, {network['m']})"
    named = f" ({', '.join(map(printable, facts['band_names']))})" if "band_names" in facts else ""
    bands = f"{bands_text(facts['bands'])}{' together' if network.get('joint') else ''}{named}"
    show_text(
        "network",
        f"FSRCNN x{facts['factor']}, {bands}, {sizes}, {facts['operations']:,} multiply-adds a "
        f"coarse cell, {facts['parameters']:,} weights, halo {facts['halo']} cells, conserving "
        f"{network['conserving']}, overshoot {overshoot}",
    )
    if facts["limits"]:
        show_text("limits", printable(facts["limits"]))
    _show_scores(facts["scores"])
    if "expected_error" in facts:
        errors = facts["expected_error"]
        _show_errors(errors.get("calibration", errors.get("held_out")))
    if isinstance(guided := facts.get("guided"), dict):
        _show_guided(guided.get("held_out"))
    training = ", ".join(f"{k} {_plain(v)}" for k, v in facts["training"].items() if v is not None)
    show_text("training", training)
    licences: dict[str, list[str]] = {}
    for row in facts["data"]:
        licences.setdefault(printable(row.get("licence", "")), []).append(printable(row.get("name", "")))
    for number, (licence, names) in enumerate(licences.items()):
        show_text("data" if number == 0 else "", f"{licence or 'no licence stated'}: {', '.join(names)}")
    show_text("file", f"{size_text(facts['file_bytes'])}, created {facts['created']} by geofsrcnn {facts['version']}")
    show_text("sha256", facts["sha256"])


def _show_scores(scores: dict[str, Any]) -> None:
    """Show single figures in a paragraph, and tables of them."""
    single = {key: value for key, value in scores.items() if not isinstance(value, dict)}
    if single:
        words = (f"{k.replace('_', ' ')} {_plain(v)}" if k != "what" else _plain(v) for k, v in single.items())
        show_text("scores", "; ".join(words))
    for table in (value for value in scores.values() if isinstance(value, dict)):
        if all(isinstance(column, dict) for column in table.values()):
            _show_methods(table)
        else:
            show_text("", ", ".join(f"{printable(name)} {_plain(value)}" for name, value in table.items()))


def _show_errors(calibration: Any) -> None:
    """Show how well expected errors fit, over all fields, by field and domain; a file may say anything here."""
    if not isinstance(calibration, dict):
        show_text("errors", "given for each fine cell; the card does not say how well they fit")
        return
    single = {key: value for key, value in calibration.items() if not isinstance(value, dict)}
    words = (f"{k.replace('_', ' ')} {_plain(v)}" if k != "what" else _plain(v) for k, v in single.items())
    show_text("errors", "; ".join(words))
    domains, ratios = calibration.get("domains"), {"field": calibration.get("fields")}
    if isinstance(domains, dict):
        ratios["domain"] = {name: fit.get("ratio") for name, fit in domains.items() if isinstance(fit, dict)}
    for part, found in ratios.items():
        if isinstance(found, dict):
            by_name = ", ".join(f"{printable(k)} {_plain(v)}" for k, v in found.items())
            show_text("", f"ratio by {part}: {by_name}")


def _show_guided(held_out: Any) -> None:
    """Show how much a finer guide helps; a file may say anything here."""
    words = ["follows a finer guide (geofsrcnn sharpen)"]
    if isinstance(held_out, dict):
        words += [_plain(held_out.get("what", "")), f"geometric mean {_plain(held_out.get('geometric_mean', ''))}"]
    show_text("guides", "; ".join(word for word in words if word))
    fields = held_out.get("fields") if isinstance(held_out, dict) else None
    if isinstance(fields, dict):
        show_text("", ", ".join(f"{printable(name)} {_plain(value)}" for name, value in fields.items()))


def _show_methods(table: dict[str, dict[str, Any]]) -> None:
    """Show figures by method and column, the best method first."""

    def sort_key(name: str) -> float:
        figures = [column.get(name) for column in table.values()]
        return sum(figure if isinstance(figure, int | float) else math.inf for figure in figures)

    names = sorted({name: None for column in table.values() for name in column}, key=sort_key)
    rows = [(printable(name), *(_cell(column.get(name)) for column in table.values())) for name in names]
    show_columns(("", *map(printable, table)), rows, indent=10)


def _cell(value: Any) -> str | float | None:
    return value if value is None or isinstance(value, int | float) else printable(value)


def _plain(value: Any) -> str:
    return " ".join(map(printable, value)) if isinstance(value, list) else printable(value)


@click.command("models", cls=Command, example="")
@section("Options", JSON, DEBUG)
@guarded
def models(*, as_json: bool) -> None:
    """List shipped models and classical methods."""
    from geofsrcnn.networks.catalog import list_models

    found = list_models()
    networks = [model for model in found if model.factor is not None]
    classical = [model.name for model in found if model.factor is None]
    if as_json:
        echo_json({"models": [asdict(model) for model in networks], "classical": classical})
    else:
        _show_models(networks, classical)


def _show_models(networks: list[ModelInfo], classical: list[str]) -> None:
    """Show a line for each network, and the names of the classical methods."""
    rows = [
        (
            *(model.name, model.factor, model.operations, model.of_bicubic, model.of_best_classical),
            *("" if model.file_bytes is None else size_text(model.file_bytes), printable(model.summary)),
        )
        for model in networks
    ]
    show_columns(("name", "factor", "operations", "of bicubic", "of best", "file", "summary"), rows)
    click.echo(
        "\noperations: multiply-adds a coarse cell; of bicubic, of best: RMSE on fields of sources not trained on,\n"
        "divided by bicubic's and by that of the best classical method of each field (geofsrcnn info NAME -f FACTOR)\n"
        "\nclassical methods, any factor from 2 to 8 (-c: block means kept, -bp: back-projection):"
    )
    show_text("", ", ".join(classical), indent=0)
