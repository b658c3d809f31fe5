"""`geofsrcnn info` and `geofsrcnn models`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import DEBUG, DRIVER, GROUP, INSIDE, JSON, STRICT, Factor
from geofsrcnn.cli.show import bands_text, plain_text, show_facts, show_table, show_text, size_text
from geofsrcnn.cli.signals import echo_json, guarded
from geofsrcnn.errors import InputError, ModelError, printable
from geofsrcnn.files.archives import unpacked
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX
from geofsrcnn.files.paths import local_path
from geofsrcnn.process import harden_gdal


@click.command("info", cls=Command, example="dem.tif")
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
    """Describe a raster or dataset as upscale sees it, or a model."""
    harden_gdal(driver)
    is_model = name.endswith(CHECKPOINT_SUFFIX) or not (Path(name).suffix or os.sep in name or Path(name).exists())
    if is_model:
        facts, show = _model_facts(name, factor), _show_card
    else:
        with unpacked(local_path(name), inside) as path:
            facts, show = _file_facts(str(path), driver, group)
    if as_json:
        echo_json(facts)
    else:
        show(facts)


def _file_facts(name: str, driver: str | None, group: str | None) -> tuple[dict[str, Any], Callable[..., None]]:
    """Facts of a raster or dataset, and what shows them."""
    from geofsrcnn.upscale.describe import describe_file

    stored = None if driver is not None else describe_file(name, group)
    return (stored, _show_dataset) if stored is not None else (_raster_facts(name, driver), show_facts)


def _model_facts(name: str, factor: int | None) -> dict[str, Any]:
    from geofsrcnn.networks.checkpoint import load_checkpoint
    from geofsrcnn.values.kernels import CLASSICAL

    if name in CLASSICAL:
        raise ModelError(f"{name} is a classical method, which has no card: geofsrcnn models says what there is")
    checkpoint = load_checkpoint(name, factor)
    config, card = checkpoint.config, checkpoint.card
    return {
        "name": card.name,
        "summary": card.summary,
        "factor": config.factor,
        "bands": config.channels,
        "network": {k: v for k, v in config.to_dict().items() if k not in ("factor", "channels")},
        "halo": config.halo,
        "operations": config.operations,
        "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
        "data": card.data,
        "scores": card.scores,
        "training": card.training,
        "limits": card.limits,
        "created": card.created,
        "version": card.version,
        "sha256": checkpoint.digest,
        "file_bytes": checkpoint.path.stat().st_size,
    }


def _raster_facts(name: str, driver: str | None) -> dict[str, Any]:
    from geofsrcnn.formats.bands import quantities_of
    from geofsrcnn.formats.raster import RasterSource

    refused = None
    try:
        RasterSource(name, driver=driver).close()
    except InputError as error:
        refused = str(error)
    with RasterSource(name, driver=driver, raw=True) as source:
        source.check_georeference()
        quantities = [*quantities_of(source, {}), *[None] * len(source.alpha)]
        grid = source.grid
        rotated = grid.affine is not None and bool(grid.affine.b or grid.affine.d)
        return {
            "file": printable(source.path),
            "rows": grid.shape[0],
            "columns": grid.shape[1],
            "crs": None if grid.crs is None else printable(grid.crs.to_string()),
            "affine": None if grid.affine is None else list(grid.affine)[:6],
            "bounds": None if grid.affine is None or rotated else list(grid.bounds),
            "gcps": len(grid.gcps),
            "rpcs": grid.rpcs is not None,
            "bands": [
                {
                    "index": b.index,
                    "type": b.dtype.name,
                    "nodata": b.nodata,
                    "scale": b.scale,
                    "offset": b.offset,
                    "unit": b.unit,
                    "description": b.description,
                    "colour": b.colour.name,
                    "kind": "" if q is None else q.kind.value,
                    "because": "" if q is None else printable(q.evidence),
                }
                for b, q in zip((*source.bands, *source.alpha), quantities, strict=True)
            ],
            "mask": source.has_mask,
            "refused": refused,
            "tags": {printable(k): printable(v) for k, v in source.tags.items()},
        }


def _show_dataset(facts: dict[str, Any]) -> None:
    click.echo(f"{facts['file']}: {facts['format']}\n{facts['grid']}\n")
    rows = [("variable", "dimensions", "type", "unit", "becomes", "taken for")]
    for v in facts["variables"]:
        sizes = ", ".join(f"{dim} {size}" for dim, size in v["dimensions"].items())
        packed = v["scale"] != 1 or v["offset"] != 0
        kind = v["type"] + (f" * {v['scale']:g} + {v['offset']:g}" if packed else "")
        taken = f"{v['kind']} ({v['because']})" if v["kind"] else ""
        rows.append((v["name"], sizes, kind, v["unit"], v["becomes"], taken))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[5]]).rstrip())


def _show_card(facts: dict[str, Any]) -> None:
    """A model's card: what it is, what it is not for, how good it is where, what it was made of."""
    network = facts["network"]
    click.echo(f"{printable(facts['name'])}: {printable(facts['summary']) or 'no summary'}\n")
    sizes = f"(d, s, m) = ({network['d']}, {network['s']}, {network['m']})"
    show_text(
        "network",
        f"FSRCNN x{facts['factor']}, {bands_text(facts['bands'])}, {sizes}, {facts['operations']:,} multiply-adds a "
        f"coarse cell, {facts['parameters']:,} weights, halo {facts['halo']} cells, conserving {network['conserving']}",
    )
    if facts["limits"]:
        show_text("limits", printable(facts["limits"]))
    scores = facts["scores"]
    plain = {k: v for k, v in scores.items() if not isinstance(v, dict)}
    if plain:
        show_text(
            "scores",
            "; ".join(
                f"{k.replace('_', ' ')} {plain_text(v)}" if k != "what" else plain_text(v) for k, v in plain.items()
            ),
        )
    for table in (v for v in scores.values() if isinstance(v, dict)):
        show_table(table)
    training = ", ".join(f"{k} {plain_text(v)}" for k, v in facts["training"].items() if v is not None)
    show_text("training", training)
    licences: dict[str, list[str]] = {}
    for row in facts["data"]:
        licences.setdefault(printable(row.get("licence", "")), []).append(printable(row.get("name", "")))
    for number, (licence, names) in enumerate(licences.items()):
        show_text("data" if number == 0 else "", f"{licence or 'no licence stated'}: {', '.join(names)}")
    show_text("file", f"{size_text(facts['file_bytes'])}, created {facts['created']} by geofsrcnn {facts['version']}")
    show_text("sha256", facts["sha256"])


_RATIOS = {"of_bicubic": 12, "of_best_classical": 9}


@click.command("models", cls=Command, example="")
@section("Options", JSON, DEBUG)
@guarded
def models(*, as_json: bool) -> None:
    """List the models in the package and the classical methods."""
    from geofsrcnn.networks.checkpoint import load_checkpoint, shipped_models
    from geofsrcnn.values.kernels import CLASSICAL

    rows: list[dict[str, Any]] = []
    for path in shipped_models():
        checkpoint = load_checkpoint(path)
        rows.append(
            {
                "name": path.stem.rsplit("-x", 1)[0],
                "factor": checkpoint.config.factor,
                "operations": checkpoint.config.operations,
                "of_bicubic": checkpoint.card.scores.get("of_bicubic"),
                "of_best_classical": checkpoint.card.scores.get("of_best_classical"),
                "file_bytes": path.stat().st_size,
                "summary": checkpoint.card.summary,
            }
        )
    if as_json:
        echo_json({"models": rows, "classical": list(CLASSICAL)})
        return
    rows.sort(key=lambda row: (row["factor"], row["operations"]))
    head = f"{'name':10}{'factor':>7}{'operations':>12}{'of bicubic':>12}{'of best':>9}{'file':>11}"
    click.echo(f"{head}  summary")
    for row in rows:
        figures = (f"{plain_text(row[key]) if row[key] is not None else '':>{width}}" for key, width in _RATIOS.items())
        click.echo(
            f"{row['name']:10}{row['factor']:>7}{row['operations']:>12,}{''.join(figures)}"
            f"{size_text(row['file_bytes']):>11}  {printable(row['summary'])}"
        )
    click.echo(
        "\noperations: multiply-adds a coarse cell; of bicubic, of best: RMSE on fields of sources not trained on,\n"
        "divided by bicubic's and by that of the best classical method of each field (geofsrcnn info NAME -f FACTOR)"
    )
    click.echo(
        f"\nclassical methods, any factor from 2 to 8 (-c: block means kept, -bp: back-projection):\n"
        f"{', '.join(CLASSICAL)}"
    )
