"""The command line: parse, call, print. No arithmetic here.

Results go to stdout, everything else to stderr. An error is one line; its class decides the exit code.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn import __version__
from geofsrcnn.errors import (
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    InternalError,
    UsageError,
    printable,
)

if TYPE_CHECKING:
    from types import FrameType

    from geofsrcnn.upscale import Estimate, Summary

# Drivers that open other files or servers. GDAL reads this once, before its first use in the process.
_SKIPPED_DRIVERS = (
    "VRT GTI WMS WMTS WCS HTTP STACIT STACTA DERIVED PDF MBTiles Rasterlite KMLSUPEROVERLAY PLMOSAIC EEDA EEDAI"
)
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Interrupted(BaseException):
    """A signal asks the run to end; work under way is cleaned up on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = _SIGNALS[signal.Signals(number)]


class _Request:
    """What signals ask for, and whether it waits for the end of a unit of work."""

    def __init__(self) -> None:
        self.waits = False
        self.number: int | None = None

    def take(self, number: int) -> None:
        """The first signal: note it, or end the run here."""
        self.number = number
        if not self.waits:
            raise Interrupted(number)

    def check(self) -> None:
        """End the run if a signal asked for it."""
        if self.number is not None:
            raise Interrupted(self.number)


_request = _Request()


@contextmanager
def _signals() -> Iterator[None]:
    """The first signal ends the run cleanly, the second at once."""

    def handle(number: int, _: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, lambda again, _: os._exit(_SIGNALS[signal.Signals(again)]))
        _request.take(number)

    _request.number = None
    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _stops() -> Iterator[Callable[[], None]]:
    """Signals wait until the yielded function is called, between two units of work.

    An exception out of the blue would be lost in GDAL's callbacks, or leave a file half published.
    """
    _request.waits = True
    try:
        yield _request.check
    finally:
        _request.waits = False


@contextmanager
def _warnings(*, strict: bool) -> Iterator[None]:
    """Warnings of the package as one line each on stderr, once a kind and file; or as errors."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = str(message)
        if isinstance(message, GeofsrcnnWarning) and text not in shown:
            shown.add(text)
            click.echo(f"geofsrcnn: warning: {text}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error" if strict else "always", GeofsrcnnWarning)
        warnings.showwarning = show
        yield


def _fail(error: BaseException, code: int, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    click.echo(f"geofsrcnn: error: {error}", err=True)
    return code


def _guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Errors of the package as one line and their exit code; for commands with ``--debug``."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        debug = bool(kwargs.pop("debug", False))
        strict = bool(kwargs.pop("strict", False))
        try:
            with _warnings(strict=strict), _signals():
                function(*args, **kwargs)
        except GeofsrcnnError as error:
            code = _fail(error, error.exit_code, debug=debug)
        except GeofsrcnnWarning as warning:
            code = _fail(InputError(f"{warning} (--strict)"), InputError.exit_code, debug=debug)
        except Interrupted as interrupt:
            click.echo("geofsrcnn: interrupted, no unfinished file is left", err=True)
            code = interrupt.exit_code
        except click.exceptions.Exit:
            raise
        except Exception as error:  # noqa: BLE001  a defect: one line for the user, all of it with --debug
            text = f"internal error: {type(error).__name__}: {printable(error)}: please report it with --debug"
            if debug:
                traceback.print_exception(error, file=sys.stderr)
            code = _fail(InternalError(text), InternalError.exit_code, debug=False)
        else:
            return
        click.get_current_context().exit(code)

    return run


def _harden_gdal(driver: str | None = None) -> None:
    """GDAL's environment for a process of ours: no network, no drivers that open other files but the one asked for."""
    skipped = [name for name in _SKIPPED_DRIVERS.split() if driver is None or name.upper() != driver.upper()]
    os.environ["GDAL_SKIP"] = " ".join(skipped)
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"
    os.environ["CPL_VSIL_CURL_ALLOWED_EXTENSIONS"] = ".none"


def main() -> None:
    """Entry point: click's own usage errors become one line as well."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f": see {context.command_path} --help" if context else ""
        code = _fail(UsageError(printable(error.format_message().rstrip(".")) + hint), 2, debug=debug)
    sys.exit(code if isinstance(code, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="geofsrcnn")
def cli() -> None:
    """Make geospatial rasters 2 to 8 times finer: in place, in one piece, in their own units."""


class _Factor(click.ParamType[int]):
    name = "factor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            if float(value) in range(2, 9):
                return int(float(value))
        except (TypeError, ValueError):
            pass
        return self.fail(f"{value!r} is not a whole number from 2 to 8", param, ctx)


class _Indexes(click.ParamType[tuple[int, ...]]):
    name = "bands"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            indexes = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            indexes = ()
        if not indexes or min(indexes) < 1:
            self.fail(f"{value!r} is not a list of bands such as 1,2,3", param, ctx)
        return indexes


class _Option(click.ParamType[tuple[str, str]]):
    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, sep, rest = str(value).partition("=")
        if not sep or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, rest


def _upscale_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.argument("source", metavar="INPUT"),
        click.argument("target", metavar="OUTPUT"),
        click.option("--factor", "-f", type=_Factor(), default=3, show_default=True, help="How many times finer, 2-8."),
        click.option(
            "--model",
            "-m",
            default="default",
            show_default=True,
            help="A shipped model (see geofsrcnn models), a .safetensors file, or a classical method: "
            "nearest, bilinear, cubic, lanczos, lanczos-bp.",
        ),
        click.option("--bidx", "-b", type=_Indexes(), default=None, help="Bands, such as 1,2,3.  [default: all]"),
        click.option(
            "--bounds",
            type=float,
            nargs=4,
            default=None,
            metavar="W S E N",
            help="Only the coarse cells that meet these bounds, in the raster's CRS.",
        ),
        click.option(
            "--nodata", type=float, default=None, help="Stored value of missing cells, instead of the file's."
        ),
        click.option(
            "--range",
            "value_range",
            type=float,
            nargs=2,
            default=None,
            metavar="MIN MAX",
            help="Bounds that the result keeps, in physical units; cell means are kept within them.",
        ),
        click.option(
            "--tile-size", type=click.IntRange(1), default=None, help="Coarse cells along one side of a tile."
        ),
        click.option("--threads", type=click.IntRange(1), default=None, help="Threads that compute.  [default: cores]"),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--precision",
            type=click.Choice(["float32", "bfloat16"]),
            default="float32",
            show_default=True,
            help="Of the network's arithmetic.",
        ),
        click.option("--dtype", default=None, help="Type of the output.  [default: the input's]"),
        click.option("--cog", is_flag=True, help="Write a cloud optimised GeoTIFF with overviews."),
        click.option("--co", type=_Option(), multiple=True, help="GDAL creation option; may be given several times."),
        click.option("--overwrite", is_flag=True, help="Replace an existing output."),
        click.option("--strict", is_flag=True, help="Take warnings as errors."),
        click.option("--max-pixels", type=click.IntRange(1), default=None, help="Refuse an output of more cells."),
        click.option(
            "--driver", default=None, help="GDAL driver of the input, if it is no GeoTIFF (HFA, JP2OpenJPEG, VRT)."
        ),
        click.option("--sidecars", is_flag=True, help="Let .aux.xml, .msk, .tfw and the like beside the input count."),
        click.option("--allow-lossy", is_flag=True, help="Accept 64-bit integers beyond 2**53."),
        click.option("--allow-sparse", is_flag=True, help="Accept files that declare a thousand times their size."),
        click.option("--dry-run", is_flag=True, help="Print the sizes, memory, time and disk that it would take."),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
        click.option("--quiet", "-q", is_flag=True, help="No progress and no summary."),
        click.option("--debug", is_flag=True, help="Show tracebacks."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _upscale(
    *,
    source: str,
    target: str,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    co: tuple[tuple[str, str], ...],
    bidx: tuple[int, ...] | None,
    **options: Any,
) -> None:
    _harden_gdal(options["driver"])
    from geofsrcnn.upscale import estimate_raster, upscale_raster

    options |= {"bidx": bidx or ()}
    if dry_run:
        _show_estimate(estimate_raster(source, target, **options), as_json=as_json)
        return
    with _progress("upscaling", shown=not quiet and not as_json) as show, _stops() as check:

        def progress(done: int, total: int) -> None:
            check()
            if show is not None:
                show(done, total)

        summary = upscale_raster(source, target, co=dict(co), progress=progress, **options)
    if as_json:
        click.echo(json.dumps(summary.to_dict()))
    elif not quiet:
        _show_summary(summary)


@cli.command("upscale")
@_upscale_options
@_guarded
def upscale(**options: Any) -> None:
    """Make the raster INPUT finer and write it to the GeoTIFF OUTPUT."""
    _upscale(**options)


@click.command("upscale")
@_upscale_options
def rio_upscale(**options: Any) -> None:
    """Make the raster INPUT finer and write it to the GeoTIFF OUTPUT (geofsrcnn)."""
    _guarded(_upscale)(**options)


@contextmanager
def _progress(label: str, *, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr if that is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn("tiles"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _bands(count: int) -> str:
    return "1 band" if count == 1 else f"{count} bands"


def _show_summary(s: Summary) -> None:
    click.echo(
        f"{s.output}: {_shape(s.coarse)} -> {_shape(s.fine)}, {_bands(s.bands)}, {_size(s.output_bytes)}; {s.model} on "
        f"{s.device}, {s.seconds:.1f} s, {s.cells_per_second / 1e6:.1f} million cells a second, "
        f"peak memory {_size(s.peak_memory)}"
    )


def _show_estimate(e: Estimate, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(e.to_dict()))
        return
    click.echo(f"size     {_shape(e.coarse)} -> {_shape(e.fine)} cells, {_bands(e.bands)}, {e.tiles} tiles")
    click.echo(f"memory   about {_size(e.memory)}")
    click.echo(f"time     about {e.seconds:.1f} s of computing with {e.model} on {e.device}")
    click.echo(f"disk     at most {_size(e.disk)}, {_size(e.disk_free)} free")


@cli.command("info")
@click.argument("name", metavar="FILE|MODEL")
@click.option("--factor", "-f", type=_Factor(), default=None, help="Which of the models of a name.")
@click.option("--driver", default=None, help="GDAL driver of a raster that is no GeoTIFF.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@_guarded
def info(*, name: str, factor: int | None, driver: str | None, as_json: bool) -> None:
    """Describe a raster as upscale sees it, or a model."""
    _harden_gdal(driver)
    is_model = name.endswith(".safetensors") or not (Path(name).suffix or os.sep in name or Path(name).exists())
    facts = _model_facts(name, factor) if is_model else _raster_facts(name, driver)
    _show_facts(facts, as_json=as_json)


def _model_facts(name: str, factor: int | None) -> dict[str, Any]:
    from geofsrcnn.checkpoint import load_checkpoint

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
    from geofsrcnn.raster import RasterSource

    with RasterSource(name, driver=driver, raw=True) as source:
        source.check_georeference()
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
                }
                for b in (*source.bands, *source.alpha)
            ],
            "mask": source.has_mask,
            "tags": {printable(k): printable(v) for k, v in source.tags.items()},
        }


def _show_facts(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, allow_nan=True))
        return
    for key, value in facts.items():
        label = f"{key.replace('_', ' '):11}"
        if isinstance(value, dict):
            click.echo(f"{label}" + ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if not isinstance(v, dict)))
            for inner in (v for v in value.values() if isinstance(v, dict)):
                for name, figure in inner.items():
                    click.echo(f"{'':11}{printable(name)} {_plain(figure)}")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for number, row in enumerate(value):
                words = ", ".join(
                    f"{printable(v)}" if k in ("name", "source", "licence") else f"{k} {_plain(v)}"
                    for k, v in row.items()
                    if v not in (None, "")
                )
                click.echo(f"{label if number == 0 else '':11}{words}")
        elif value not in (None, "", [], {}):
            click.echo(f"{label}{_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(_plain(v) for v in value)
    return printable(value)


@cli.command("models")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@_guarded
def models(*, as_json: bool) -> None:
    """List the models in the package and the classical methods."""
    from geofsrcnn.checkpoint import load_checkpoint, shipped_models
    from geofsrcnn.resample import CLASSICAL

    rows: list[dict[str, Any]] = []
    for path in shipped_models():
        checkpoint = load_checkpoint(path)
        rows.append(
            {
                "name": path.stem.rsplit("-x", 1)[0],
                "factor": checkpoint.config.factor,
                "operations": checkpoint.config.operations,
                "file_bytes": path.stat().st_size,
                "summary": checkpoint.card.summary,
            }
        )
    if as_json:
        click.echo(json.dumps({"models": rows, "classical": list(CLASSICAL)}))
        return
    click.echo(f"{'name':10}{'factor':>8}{'multiply-adds a cell':>22}{'file':>12}  summary")
    for row in rows:
        click.echo(
            f"{row['name']:10}{row['factor']:>8}{row['operations']:>22,}{_size(row['file_bytes']):>12}  "
            f"{printable(row['summary'])}"
        )
    click.echo(f"\nclassical methods, any factor from 2 to 8: {', '.join(CLASSICAL)}")


@cli.command("train")
@click.argument("fine", nargs=-1, required=True, metavar="FINE...")
@click.option("--factor", "-f", type=_Factor(), required=True, help="How many times finer, 2-8.")
@click.option("--out", "-o", required=True, metavar="M.safetensors", help="Checkpoint to write.")
@click.option(
    "--size",
    type=click.Choice(["default", "small"]),
    default="default",
    show_default=True,
    help="Of the network: (d, s, m) = (64, 32, 4) or (32, 5, 1).",
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
    type=click.Choice(["mean", "positive", "none"]),
    default="mean",
    show_default=True,
    help="Keep block means; positive keeps values at or above zero as well.",
)
@click.option("--steps", type=click.IntRange(1), default=20000, show_default=True, help="Optimiser steps.")
@click.option("--minutes", type=float, default=None, help="End after this time instead; not reproducible to the bit.")
@click.option("--batch", type=click.IntRange(1), default=16, show_default=True, help="Patches in a step.")
@click.option("--patch", type=click.IntRange(4), default=32, show_default=True, help="Coarse cells along a patch.")
@click.option("--rate", type=float, default=1e-3, show_default=True, help="Peak learning rate.")
@click.option("--validation", "-v", multiple=True, metavar="FINE", help="Raster to validate on; several times.")
@click.option("--hold-out", type=float, default=0.15, show_default=True, help="Share of sites to validate on else.")
@click.option("--start", default=None, metavar="M.safetensors", help="Checkpoint to start from.")
@click.option("--card", default=None, metavar="TOML", help="summary, limits and [[data]] for the model card.")
@click.option("--log", default=None, metavar="FILE", help="Append figures as JSON lines.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, patches and held-out sites.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--overwrite", is_flag=True, help="Replace an existing checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@_guarded
def train(
    *,
    fine: tuple[str, ...],
    factor: int,
    out: str,
    size: str,
    prelu: str,
    conserving: str,
    validation: tuple[str, ...],
    start: str | None,
    card: str | None,
    log: str | None,
    device: str,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a network on the fine rasters FINE: coarse ones are their block means."""
    _harden_gdal()
    from geofsrcnn.model import PRESETS, FSRCNNConfig
    from geofsrcnn.train import TrainOptions, json_lines, train_model

    config = FSRCNNConfig.from_dict(
        {
            "factor": factor,
            **PRESETS[size],
            "prelu": prelu,
            "conserving": conserving,
        }
    )
    schedule = TrainOptions(**options)
    write = None if log is None else json_lines(Path(log))
    begin = time.monotonic()

    def report(record: dict[str, Any]) -> None:
        if write is not None:
            write(record)
        if not quiet:
            spent = time.monotonic() - begin
            left = "" if record["done"] == 0 else f", {spent / record['done'] * (1 - record['done']) / 60:.1f} min left"
            click.echo(
                f"step {record['step']:6d}  loss {record['loss']:.4f}  held out {record['score']:.4f} of lanczos-bp "
                f"(best {record['best']:.4f}){left}",
                err=True,
            )

    with _stops() as check:
        result = train_model(
            fine,
            factor,
            out,
            config=config,
            options=schedule,
            validation=validation,
            card=card,
            start=start,
            device=device,
            overwrite=overwrite,
            report=report,
            each_step=check,
        )
    if as_json:
        click.echo(json.dumps(result.__dict__))
        return
    verdict = "better" if result.score < 1 else "no better"
    click.echo(
        f"{printable(result.out)}: RMSE {result.score:.4f} of lanczos-bp on {len(result.fields)} held-out fields "
        f"({verdict} than the best classical method), {result.steps} steps, {result.seconds / 60:.1f} min"
    )
