"""The command line: parse, call, print. No arithmetic here.

Results go to stdout, everything else to stderr. An error is one line; its class decides the exit code.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from geofsrcnn import __version__
from geofsrcnn.errors import (
    BatchError,
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    InternalError,
    ModelError,
    OutputError,
    UsageError,
    printable,
)
from geofsrcnn.process import harden_gdal, keep_freed_memory

if TYPE_CHECKING:
    from types import FrameType

    from geofsrcnn.archive import BatchResult, FileResult, Tally
    from geofsrcnn.comparison import Comparison
    from geofsrcnn.evaluate import Evaluation, Score
    from geofsrcnn.train import Result
    from geofsrcnn.train_pairs import PairResult
    from geofsrcnn.upscale import Estimate, Summary

_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


class Interrupted(BaseException):
    """A signal asks the run to end; work under way is cleaned up on the way out."""

    left = "no unfinished file is left"

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


def _echo_json(facts: Any) -> None:
    """Print as JSON, which has no NaN and no infinity: those as text."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, float) and not math.isfinite(value) else value

    click.echo(json.dumps(plain(facts), allow_nan=False))


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
            click.echo(f"geofsrcnn: interrupted, {interrupt.left}", err=True)
            code = interrupt.exit_code
        except click.exceptions.Exit:
            raise
        except BrokenPipeError:  # as of any filter whose reader has gone
            code = 141
        except OSError as error:
            code = _fail(
                OutputError(f"cannot print ({error.strerror}): free space?"), OutputError.exit_code, debug=debug
            )
        except Exception as error:  # noqa: BLE001  a defect: one line for the user, all of it with --debug
            text = f"internal error: {type(error).__name__}: {printable(error)}: please report it with --debug"
            if debug:
                traceback.print_exception(error, file=sys.stderr)
            code = _fail(InternalError(text), InternalError.exit_code, debug=False)
        else:
            return
        click.get_current_context().exit(code)

    return run


def main() -> None:
    """Entry point: click's own usage errors become one line as well."""
    debug = "--debug" in sys.argv[1:]
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except GeofsrcnnError as error:  # while options are read
        code = _fail(error, error.exit_code, debug=debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f": see {context.command_path} --help" if context else ""
        code = _fail(UsageError(printable(error.format_message().rstrip(".")) + hint), 2, debug=debug)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads on, or the disk is full: said already, or not worth saying
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


class _Names(click.ParamType[tuple[str, ...]]):
    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} is not a list of names such as tas,pr", param, ctx)
        return names


class _Option(click.ParamType[tuple[str, str]]):
    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, sep, rest = (value[0], "=", value[1]) if isinstance(value, tuple) else str(value).partition("=")
        if not sep or not key:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, rest


class _Day(click.ParamType[str]):
    """In any calendar: a year of 360 days has a 30 February."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            _, month, day = (int(part) for part in str(value).split("-"))
        except ValueError:
            month = day = 0
        if not (1 <= month <= 12 and 1 <= day <= 31):
            self.fail(f"until must be a day such as 1993-06-01, got {value!r}", param, ctx)
        return str(value)


def _options(*options: Callable[..., Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """All of them on a command, in this order."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


_FILE_OPTIONS = (
    click.option(
        "--factor",
        "-f",
        type=_Factor(),
        default=3,
        show_default="3; that of a model's file",
        help="How many times finer, 2-8.",
    ),
    click.option(
        "--model",
        "-m",
        default="default",
        show_default=True,
        help="A shipped model or a classical method (geofsrcnn models lists them), or a .safetensors file.",
    ),
    click.option("--bidx", "-b", type=_Indexes(), default=None, help="Bands, such as 1,2,3.  [default: all]"),
    click.option("--variables", type=_Names(), default=None, help="Fields of a NetCDF or Zarr, such as tas,pr.  [all]"),
    click.option("--group", default=None, help="Group of a NetCDF or Zarr that has several."),
    click.option("--x", default=None, help="Horizontal dimension of a NetCDF or Zarr, where it is not found."),
    click.option("--y", default=None, help="The other one."),
    click.option(
        "--bounds",
        type=float,
        nargs=4,
        default=None,
        metavar="W S E N",
        help="Only the coarse cells that meet these bounds, in the raster's CRS.",
    ),
    click.option("--nodata", type=float, default=None, help="Stored value of missing cells, instead of the file's."),
    click.option(
        "--range",
        "value_range",
        type=float,
        nargs=2,
        default=None,
        metavar="MIN MAX",
        help="Bounds that the result keeps, in physical units; cell means are kept within them.",
    ),
    click.option("--tile-size", type=click.IntRange(1), default=None, help="Coarse cells along one side of a tile."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    click.option(
        "--precision",
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        show_default=True,
        help="Of the network's arithmetic.",
    ),
    click.option("--dtype", default=None, help="Type of the output.  [default: the input's, and its packing]"),
    click.option("--cog", is_flag=True, help="Write a cloud optimised GeoTIFF with overviews."),
    click.option("--co", type=_Option(), multiple=True, help="GDAL creation option; may be given several times."),
    click.option("--strict", is_flag=True, help="Take warnings as errors."),
    click.option("--max-pixels", type=click.IntRange(1), default=None, help="Refuse an output of more cells."),
    click.option(
        "--driver", default=None, help="GDAL driver of the input, if it is no GeoTIFF (HFA, JP2OpenJPEG, VRT)."
    ),
    click.option("--sidecars", is_flag=True, help="Let .aux.xml, .msk, .tfw and the like beside the input count."),
    click.option("--allow-lossy", is_flag=True, help="Accept 64-bit integers beyond 2**53."),
    click.option("--allow-sparse", is_flag=True, help="Accept files that declare a thousand times their size."),
)
_SAID_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON."),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no summary."),
    click.option("--debug", is_flag=True, help="Show tracebacks."),
)
_upscale_options = _options(
    click.argument("source", metavar="INPUT"),
    click.argument("target", metavar="OUTPUT"),
    *_FILE_OPTIONS,
    click.option("--threads", type=click.IntRange(1), default=None, help="Threads that compute.  [default: cores]"),
    click.option(
        "--also", multiple=True, metavar="FILE", help="More predictors, for a model that was trained on pairs."
    ),
    click.option("--overwrite", is_flag=True, help="Replace an existing output."),
    click.option(
        "--allow-remote",
        type=_Names(),
        default=(),
        metavar="HOST[,HOST]",
        help="Hosts or buckets that INPUT may be read from, as https://, s3:// or gs://.",
    ),
    click.option("--dry-run", is_flag=True, help="Print the sizes, memory, time and disk that it would take."),
    *_SAID_OPTIONS,
)


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
    harden_gdal(options["driver"])
    from geofsrcnn.dispatch import estimate_file, upscale_file

    options |= {"bidx": bidx or (), "factor": _factor(options["factor"], options["model"])}
    if dry_run:
        _show_estimate(estimate_file(source, target, co=dict(co), **options), as_json=as_json)
        return
    with _progress("upscaling", shown=not quiet and not as_json) as show, _stops() as check:

        def progress(done: int, total: int) -> None:
            check()
            if show is not None:
                show(done, total)

        summary = upscale_file(source, target, co=dict(co), progress=progress, **options)
    if as_json:
        _echo_json(summary.to_dict())
    elif not quiet:
        _show_summary(summary)


def _factor(factor: int, model: str) -> int:
    """The factor that was asked for; where none was, that of a checkpoint."""
    if "factor" in _given() or not model.endswith(".safetensors"):
        return factor
    from geofsrcnn.checkpoint import load_checkpoint

    return load_checkpoint(model).config.factor


@cli.command("upscale")
@_upscale_options
@_guarded
def upscale(**options: Any) -> None:
    """Make the raster or dataset INPUT (GeoTIFF, NetCDF, Zarr) finer and write it to OUTPUT (.tif, .nc, .zarr)."""
    _upscale(**options)


@click.command("upscale")
@_upscale_options
def rio_upscale(**options: Any) -> None:
    """Make the raster INPUT finer and write it to OUTPUT, a .tif, .nc or .zarr (geofsrcnn)."""
    _guarded(_upscale)(**options)


@cli.command("batch")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@click.option("--output-dir", "-o", required=True, metavar="DIR", help="Folder of the outputs, or s3://.")
@click.option(
    "--pattern",
    default="{stem}_x{factor}{suffix}",
    show_default=True,
    help="Names of the outputs; their suffix says what they are.",
)
@click.option(
    "--scheduler",
    "address",
    default="local",
    show_default=True,
    metavar="local|ADDRESS",
    help="Processes of this machine, or a dask scheduler (tls://HOST:8786) whose workers see the same paths.",
)
@click.option("--scheduler-file", metavar="F", help="File of a dask scheduler, instead of its address.")
@click.option("--workers", type=click.IntRange(1), help="Processes of this machine.  [default: cores, or GPUs]")
@click.option("--resume", is_flag=True, help="Carry on from the journal of an earlier run, if there is one.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace outputs that no run in the journal made; begin anew without --resume, or with other options.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=None,
    show_default="2",
    help="Tries more for a file whose worker died; of the local cluster.",
)
@click.option("--retry-failed", is_flag=True, help="With --resume, try again what failed before, whatever the reason.")
@click.option(
    "--split",
    type=click.IntRange(0),
    default=2048**2,
    show_default=True,
    metavar="CELLS",
    help="Coarse cells of the parts in which larger inputs are shared among workers; 0: none is.",
)
@click.option("--journal", metavar="FILE", help="Where the journal is, if not in the folder of outputs.")
@click.option(
    "--timeout",
    "patience",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Give up after so many seconds without scheduler or workers.",
)
@click.option("--report", metavar="FILE", help="Write a page with throughput, failures and thumbnails (.html).")
@click.option("--dashboard", is_flag=True, help="Start dask's dashboard, on this machine only.")
@click.option("--dry-run", is_flag=True, help="Print what is done and what would be; nothing is opened or written.")
@click.option(
    "--allow-remote",
    type=_Names(),
    default=(),
    metavar="HOST[,HOST]",
    help="Hosts or buckets that may be read from and written to, as https://, s3:// or gs://.",
)
@_options(*_FILE_OPTIONS, *_SAID_OPTIONS)
@_guarded
def batch(
    *,
    inputs: tuple[str, ...],
    output_dir: str,
    co: tuple[tuple[str, str], ...],
    bidx: tuple[int, ...] | None,
    report: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Upscale many files, or very large ones, on all cores or a dask cluster; a killed run is carried on.

    INPUTS are files, globs, folders, URLs, @LIST (a name a line, # for comments) or manifests (.jsonl: input, output,
    variables); names in them start from the current folder.
    Files that fail do not stop the others: they are listed in the end, and the exit code is 9.
    """
    harden_gdal(options["driver"])
    from geofsrcnn.archive import upscale_files

    strict = click.get_current_context().params["strict"]  # for the files; the other uses of it are seen to
    again = options["overwrite"] or options["resume"]
    target = None if report is None else _check_page(report, output_dir, overwrite=again)
    options["factor"] = _factor(options["factor"], options["model"])
    if target is not None:
        from geofsrcnn.batchpage import write_page
        from geofsrcnn.report import need_matplotlib

        need_matplotlib()
    said: list[str] = []
    with _batch_progress(shown=not (quiet or as_json or dry_run)) as show, _stops() as check:

        def progress(tally: Tally) -> None:
            check()
            if tally.dashboard and not said:
                said.append(tally.dashboard)
                click.echo(f"dashboard: {tally.dashboard}", err=True)
            show(tally)

        result = upscale_files(
            inputs,
            output_dir,
            bidx=bidx or (),
            co=dict(co),
            dry_run=dry_run,
            strict=strict,
            progress=progress,
            **options,
        )
    if target is not None and not dry_run:
        write_page(result, target)
    if as_json:
        _echo_json(result.to_dict())
    elif not quiet:
        _show_batch(result, None if dry_run else target)
    if result.failed:
        raise BatchError(f"{len(result.failed)} of {_files(len(result.files))} failed")


@contextmanager
def _batch_progress(*, shown: bool) -> Iterator[Callable[[Tally], None]]:
    """A bar on a terminal; in a log, a line for each failure, and one now and then."""
    if not shown:
        yield lambda _: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("files", total=None)

            def show(tally: Tally) -> None:
                bar.update(
                    task,
                    completed=tally.done + tally.failed,
                    total=tally.total,
                    description=_how_far(tally),
                )

            yield show
        return
    yield _PlainProgress()


class _PlainProgress:
    """Lines for a log: each failure, and how far it is, every half minute and at the end."""

    every = 30.0

    def __init__(self) -> None:
        self._said = time.monotonic()
        self._last: FileResult | None = None

    def __call__(self, tally: Tally) -> None:
        now, ended = time.monotonic(), tally.done + tally.failed
        if tally.last is not self._last:
            self._last = tally.last
            if tally.last is not None and tally.last.state == "failed":
                click.echo(f"failed: {printable(tally.last.source)}: {printable(tally.last.reason)}", err=True)
        elif ended == tally.total or now - self._said < self.every:
            return
        if ended == tally.total or now - self._said >= self.every:
            self._said = now
            left = (
                f", {_duration(tally.seconds / ended * (tally.total - ended))} left" if 0 < ended < tally.total else ""
            )
            click.echo(f"{ended} of {_files(tally.total)}, {_how_far(tally)}{left}", err=True)


def _how_far(tally: Tally) -> str:
    parts = f", {tally.parts_done} of {tally.parts} parts" if tally.parts else ""
    return f"{tally.failed} failed{parts}, {tally.cells / max(tally.seconds, 1e-9) / 1e6:.2g} million cells a second"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _show_batch(result: BatchResult, page: Path | None) -> None:
    if waiting := [each for each in result.files if each.state == "waiting"]:
        for each in waiting:
            click.echo(f"{printable(each.source)} -> {printable(each.output)}")
    for each in result.failed:
        when = "failed before (--retry-failed tries again)" if each.before else "failed"
        click.echo(f"{when}: {printable(each.source)}: {printable(each.reason)}")
    heard: dict[str, list[str]] = {}
    for each in result.files:
        for text in each.warnings:
            heard.setdefault(text.partition(":")[0], []).append(text)
    for kind, texts in sorted(heard.items()):
        click.echo(f"warnings of {printable(kind)}: {len(texts)}, such as {printable(texts[0])}")
    done = [each for each in result.done if not each.before]
    before = sum(each.before for each in result.files)
    words = [f"{_files(len(result.files))}: {len(result.done)} done"]
    if waiting:
        words.append(f"{len(waiting)} to do")
    words.append(f"{len(result.failed)} failed")
    if before:
        words.append(f"{before} of them by earlier runs")
    line = ", ".join(words)
    if done:
        cells = sum(each.cells for each in done)
        threads = "1 thread" if result.workers == 1 else f"{result.workers} threads"
        line += (
            f"; {_size(sum(each.size for each in done))} in {_duration(result.seconds)} on {threads}, "
            f"{cells / max(result.seconds, 1e-9) / 1e6:.2g} million cells a second"
        )
    click.echo(line)
    click.echo(f"journal: {printable(result.journal)}")
    if page is not None:
        click.echo(f"report: {printable(page)}")


def _check_page(name: str, output_dir: str, *, overwrite: bool) -> Path:
    """Where a page goes, before any work is done; a new folder of outputs will be there."""
    from geofsrcnn.files import check_target

    path = Path(name).absolute()
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"the report is a page, its name must end in .html: {printable(name)}")
    if path.parent.exists() or path.parent != Path(output_dir).absolute():
        check_target(path, overwrite=overwrite)
    return path


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


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _bands(count: int) -> str:
    return "1 band" if count == 1 else f"{count} bands"


def _show_summary(s: Summary) -> None:
    click.echo(
        f"{printable(s.output)}: {_shape(s.coarse)} -> {_shape(s.fine)}, {_bands(s.bands)}, {_size(s.output_bytes)}; "
        f"{s.model} on {s.device}, {s.seconds:.1f} s, {s.cells_per_second / 1e6:.2g} million cells a second, "
        f"peak memory {_size(s.peak_memory)}"
    )


def _show_estimate(e: Estimate, *, as_json: bool) -> None:
    if as_json:
        _echo_json(e.to_dict())
        return
    tiles = "1 tile" if e.tiles == 1 else f"{e.tiles} tiles"
    click.echo(f"size     {_shape(e.coarse)} -> {_shape(e.fine)} cells, {_bands(e.bands)}, {tiles}")
    click.echo(f"memory   about {_size(e.memory)}")
    click.echo(f"time     about {_duration(e.seconds)} of computing with {e.model} on {e.device}")
    click.echo(f"disk     at most {_size(e.disk)}, {_size(e.disk_free)} free")


@cli.command("info")
@click.argument("name", metavar="FILE|MODEL")
@click.option("--factor", "-f", type=_Factor(), default=None, help="Which of the models of a name.")
@click.option("--driver", default=None, help="GDAL driver of a raster that is no GeoTIFF.")
@click.option("--group", default=None, help="Group of a NetCDF or Zarr that has several.")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@_guarded
def info(*, name: str, factor: int | None, driver: str | None, group: str | None, as_json: bool) -> None:
    """Describe a raster or dataset as upscale sees it, or a model."""
    harden_gdal(driver)
    is_model = name.endswith(".safetensors") or not (Path(name).suffix or os.sep in name or Path(name).exists())
    stored = None
    if not is_model and driver is None:
        from geofsrcnn.dispatch import describe_file

        stored = describe_file(name, group)
    facts = stored or (_model_facts(name, factor) if is_model else _raster_facts(name, driver))
    if as_json:
        _echo_json(facts)
    elif is_model:
        _show_card(facts)
    elif stored is not None:
        _show_dataset(facts)
    else:
        _show_facts(facts)


def _model_facts(name: str, factor: int | None) -> dict[str, Any]:
    from geofsrcnn.checkpoint import load_checkpoint
    from geofsrcnn.resample import CLASSICAL

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
    from geofsrcnn.raster import RasterSource

    refused = None
    try:
        RasterSource(name, driver=driver).close()
    except InputError as error:
        refused = str(error)
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
            "refused": refused,
            "tags": {printable(k): printable(v) for k, v in source.tags.items()},
        }


def _show_dataset(facts: dict[str, Any]) -> None:
    click.echo(f"{facts['file']}: {facts['format']}\n{facts['grid']}\n")
    rows = [("variable", "dimensions", "type", "unit", "becomes")]
    for v in facts["variables"]:
        sizes = ", ".join(f"{dim} {size}" for dim, size in v["dimensions"].items())
        packed = v["scale"] != 1 or v["offset"] != 0
        kind = v["type"] + (f" * {v['scale']:g} + {v['offset']:g}" if packed else "")
        rows.append((v["name"], sizes, kind, v["unit"], v["becomes"]))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        cells = [text.ljust(width) for text, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[4]]).rstrip())


def _show_card(facts: dict[str, Any]) -> None:
    """A model's card: what it is, what it is not for, how good it is where, what it was made of."""
    network = facts["network"]
    click.echo(f"{printable(facts['name'])}: {printable(facts['summary']) or 'no summary'}\n")
    sizes = f"(d, s, m) = ({network['d']}, {network['s']}, {network['m']})"
    _show_text(
        "network",
        f"FSRCNN x{facts['factor']}, {_bands(facts['bands'])}, {sizes}, {facts['operations']:,} multiply-adds a coarse "
        f"cell, {facts['parameters']:,} weights, halo {facts['halo']} cells, conserving {network['conserving']}",
    )
    if facts["limits"]:
        _show_text("limits", printable(facts["limits"]))
    scores = facts["scores"]
    plain = {k: v for k, v in scores.items() if not isinstance(v, dict)}
    if plain:
        _show_text(
            "scores",
            "; ".join(f"{k.replace('_', ' ')} {_plain(v)}" if k != "what" else _plain(v) for k, v in plain.items()),
        )
    for table in (v for v in scores.values() if isinstance(v, dict)):
        _show_table(table)
    training = ", ".join(f"{k} {_plain(v)}" for k, v in facts["training"].items() if v is not None)
    _show_text("training", training)
    licences: dict[str, list[str]] = {}
    for row in facts["data"]:
        licences.setdefault(printable(row.get("licence", "")), []).append(printable(row.get("name", "")))
    for number, (licence, names) in enumerate(licences.items()):
        _show_text("data" if number == 0 else "", f"{licence or 'no licence stated'}: {', '.join(names)}")
    _show_text("file", f"{_size(facts['file_bytes'])}, created {facts['created']} by geofsrcnn {facts['version']}")
    _show_text("sha256", facts["sha256"])


def _show_text(label: str, text: str) -> None:
    """A paragraph beside its label, as wide as the terminal."""
    width = max(60, shutil.get_terminal_size((110, 24)).columns)
    lines = textwrap.wrap(text, width - 10, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        click.echo(f"{label if number == 0 else '':10}{line}")


def _show_table(table: dict[str, Any]) -> None:
    """Figures by row; of tables in a table, the inner names are the rows and the outer the columns."""
    if not all(isinstance(column, dict) for column in table.values()):
        _show_text("", ", ".join(f"{printable(name)} {_plain(value)}" for name, value in table.items()))
        return
    names = list(dict.fromkeys(name for column in table.values() for name in column))
    names.sort(key=lambda name: sum(_number(column.get(name)) for column in table.values()))
    widths = [max(len(printable(head)), 6) + 2 for head in table]
    heads = "".join(f"{printable(head):>{width}}" for head, width in zip(table, widths, strict=True))
    click.echo(f"{'':10}{'':14}{heads}")
    for name in names:
        cells = "".join(
            f"{_plain(column.get(name, '')):>{width}}" for column, width in zip(table.values(), widths, strict=True)
        )
        click.echo(f"{'':10}{printable(name):14}{cells}")


def _number(value: Any) -> float:
    """A figure of a card, for sorting; what is none comes last."""
    return float(value) if isinstance(value, int | float) else math.inf


def _show_facts(facts: dict[str, Any]) -> None:
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


_RATIOS = {"of_bicubic": 12, "of_best_classical": 9}


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
                "of_bicubic": checkpoint.card.scores.get("of_bicubic"),
                "of_best_classical": checkpoint.card.scores.get("of_best_classical"),
                "file_bytes": path.stat().st_size,
                "summary": checkpoint.card.summary,
            }
        )
    if as_json:
        _echo_json({"models": rows, "classical": list(CLASSICAL)})
        return
    rows.sort(key=lambda row: (row["factor"], row["operations"]))
    head = f"{'name':10}{'factor':>7}{'operations':>12}{'of bicubic':>12}{'of best':>9}{'file':>11}"
    click.echo(f"{head}  summary")
    for row in rows:
        figures = (f"{_plain(row[key]) if row[key] is not None else '':>{width}}" for key, width in _RATIOS.items())
        click.echo(
            f"{row['name']:10}{row['factor']:>7}{row['operations']:>12,}{''.join(figures)}"
            f"{_size(row['file_bytes']):>11}  {printable(row['summary'])}"
        )
    click.echo(
        "\noperations: multiply-adds a coarse cell; of bicubic, of best: RMSE on fields of sources not trained on,\n"
        "divided by bicubic's and by that of the best classical method of each field (geofsrcnn info NAME -f FACTOR)"
    )
    click.echo(
        f"\nclassical methods, any factor from 2 to 8 (-c: block means kept, -bp: back-projection):\n"
        f"{', '.join(CLASSICAL)}"
    )


@cli.command("evaluate")
@click.argument("names", nargs=-1, required=True, metavar="RASTER... | MODEL...")
@click.option(
    "--fine",
    multiple=True,
    metavar="FILE",
    help="True fine fields, several times; what stands before are then MODELs.",
)
@click.option("--coarse", multiple=True, metavar="FILE", help="Pairs: coarse fields of the same times; several times.")
@click.option("--since", default=None, metavar="YYYY-MM-DD", help="Pairs: first day; after all that was fitted on.")
@click.option("--report", default=None, metavar="DIR", help="Write report.html, report.md and report.json there.")
@click.option("--overwrite", is_flag=True, help="Replace the report.")
@click.option("--factor", "-f", type=_Factor(), default=3, show_default=True, help="How many times finer, 2-8.")
@click.option(
    "--model",
    "-m",
    "models",
    multiple=True,
    default=("default",),
    show_default=True,
    help="As for upscale; several times to compare several.",
)
@click.option("--bidx", "-b", type=_Indexes(), default=None, help="Bands, such as 1,2,3.  [default: all]")
@click.option("--nodata", type=float, default=None, help="Stored value of missing cells, instead of the file's.")
@click.option("--driver", default=None, help="GDAL driver of rasters that are no GeoTIFF.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print all scores as JSON.")
@click.option("--strict", is_flag=True, help="Take warnings as errors.")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@_guarded
def evaluate(
    *,
    names: tuple[str, ...],
    fine: tuple[str, ...],
    coarse: tuple[str, ...],
    since: str | None,
    report: str | None,
    overwrite: bool,
    factor: int,
    models: tuple[str, ...],
    bidx: tuple[int, ...] | None,
    as_json: bool,
    driver: str | None,
    **options: Any,
) -> None:
    """Is it any good on my data? Each RASTER is block-averaged, upscaled, and compared with itself.

    Beside the models stand all classical methods: nearest, bilinear, cubic (a = -0.5 and -0.75) and lanczos3, each
    plain, with conservation (-c) and with back-projection (-bp). RMSE, MAE and bias are in the raster's units.

    With --fine and --coarse, MODELs that were trained on pairs are compared with the truth on later times, beside
    interpolations, each cell's mean, mean correction and regression. --report writes all measures, maps, spectra.
    """
    if report is None:
        _refuse_given(["overwrite"], "is for --report")
    if coarse:
        _refuse_given(["factor", "models", "bidx", "nodata", "driver", "precision"], "is not for pairs (--coarse)")
        if not fine:
            raise UsageError("pairs need --fine: the true fields")
        _evaluate_pairs(names, fine, coarse, since, report, options["device"], overwrite=overwrite, as_json=as_json)
        return
    _refuse_given(["since"], "is for pairs: it needs --coarse")
    rasters = fine or names
    if fine:
        _refuse_given(["models"], "is what stands before --fine: leave it out")
        models = names
        from geofsrcnn.methods import of_pairs

        if any(of_pairs(model) for model in models):
            raise UsageError("a model of pairs takes coarse fields of the same times: give them with --coarse")
    harden_gdal(driver)
    if report is not None:
        _report_rasters(
            rasters, factor, models, bidx or (), report, driver, options, overwrite=overwrite, as_json=as_json
        )
        return
    from geofsrcnn.evaluate import evaluate_raster

    found: list[Evaluation] = []
    with _stops() as check:
        for raster in rasters:
            found += evaluate_raster(raster, factor, models, bidx=bidx or (), driver=driver, each_part=check, **options)
    if not found:
        raise InputError("no raster has enough valid cells to judge by, or any structure")
    if as_json:
        _echo_json([evaluation.to_dict() for evaluation in found])
    elif len(found) == 1:
        _show_evaluation(found[0])
    else:
        _show_evaluations(found)


def _evaluate_pairs(
    models: tuple[str, ...],
    fine: tuple[str, ...],
    coarse: tuple[str, ...],
    since: str | None,
    report: str | None,
    device: str,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from geofsrcnn.checkpoint import load_checkpoint
    from geofsrcnn.evaluate_pairs import evaluate_pairs
    from geofsrcnn.pairnet import pairing_of
    from geofsrcnn.report import check_report

    if report is not None:
        check_report(report, overwrite=overwrite)
    loaded = [load_checkpoint(model) for model in models]
    with _stops() as check:
        found = evaluate_pairs(loaded, coarse, fine, since=since, device=device, each_part=check)
    facts = {}
    for name, checkpoint in zip(found[0].models, loaded, strict=True):
        fitted = " to ".join(pairing_of(checkpoint).fitted)
        words = f"{checkpoint.card.summary}; fitted on {fitted}; sha256 {checkpoint.digest}"
        facts[f"model {name}"] = f"{checkpoint.path.name}; {words}"
    facts |= {"fine": _file_names(fine), "coarse": _file_names(coarse)}
    _show_comparisons(
        found, report, f"{_file_names(models)} on later times", facts, overwrite=overwrite, as_json=as_json
    )


def _report_rasters(
    rasters: tuple[str, ...],
    factor: int,
    models: tuple[str, ...],
    bidx: tuple[int, ...],
    report: str,
    driver: str | None,
    options: dict[str, Any],
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    from geofsrcnn.evaluate import compare_raster
    from geofsrcnn.methods import load_method
    from geofsrcnn.report import check_report

    check_report(report, overwrite=overwrite)
    found = []
    with _stops() as check:
        for raster in rasters:
            found += compare_raster(raster, factor, models, bidx=bidx, driver=driver, each_part=check, **options)
    if not found:
        raise InputError("no raster has enough valid cells to judge by, or any structure")
    methods = [load_method(model, factor, device=options["device"]) for model in models]
    named = zip(found[0].models, methods, strict=True)
    facts = {f"model {name}": f"sha256 {method.digest}" for name, method in named if method.digest}
    facts |= {"rasters": _file_names(rasters), "factor": str(factor)}
    title = f"{_file_names(models)} on block-averaged rasters"
    _show_comparisons(found, report, title, facts, overwrite=overwrite, as_json=as_json)


def _file_names(names: Iterable[str]) -> str:
    return ", ".join(Path(name).name for name in names)


def _show_comparisons(
    found: list[Comparison],
    report: str | None,
    title: str,
    facts: dict[str, str],
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Main scores and a verdict each; the report, if one is wanted."""
    from geofsrcnn.report import to_json, verdict, write_report

    facts |= {"geofsrcnn": __version__}
    written = [] if report is None else write_report(report, found, title=title, facts=facts, overwrite=overwrite)
    if as_json:
        _echo_json(to_json(found, title=title, facts=facts))
        return
    for comparison in found:
        unit = f" ({printable(comparison.unit)})" if comparison.unit else ""
        span = " to ".join(dict.fromkeys(filter(None, comparison.span)))
        when = f", {comparison.times} times, {span}" if span else ""
        click.echo(f"{printable(comparison.name)}{unit}, x{comparison.factor}: {comparison.cells:,} values{when}\n")
        columns = ("rmse", "mae", "bias", "correlation", "ssim", "spectrum_ratio")
        click.echo(f"{'':18}" + "".join(f"{column.replace('_', ' '):>16}" for column in columns))
        for name, scores in sorted(comparison.scores.items(), key=lambda row: row[1]["rmse"]):
            tiny = 1e-9 * scores["rmse"]  # what is only rounding is 0
            shown = {c: 0.0 if abs(scores[c]) < tiny else scores[c] for c in columns if c in scores}
            cells = "".join(f"{shown[c]:16.4g}" if c in shown else f"{'':16}" for c in columns)
            click.echo(f"{printable(name):18}{cells}")
        click.echo(f"\n{verdict(comparison)}\n")
    for path in written[-1:]:
        click.echo(f"report: {printable(path)}")


def _show_evaluation(e: Evaluation) -> None:
    """All methods on one field, best first, and the verdict."""
    from geofsrcnn.resample import BICUBIC

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
    from geofsrcnn.metrics import geometric_mean

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


@contextmanager
def _resumable() -> Iterator[None]:
    """An interrupted training says how it goes on."""
    try:
        yield
    except Interrupted as interrupt:
        interrupt.left = "the same command with --resume goes on"
        raise


PAIRS = (
    *("static", "until", "predictors", "targets", "partners", "transforms", "limits", "weights"),
    *("calendar", "base", "dropout", "members"),
)
"""Parameters of training on pairs alone."""

SCHEDULE = (
    *("steps", "minutes", "batch", "rate", "decay", "loss", "softness", "keep", "seed", "save_minutes"),
    *("frozen", "freeze", "last_rate", "course", "patience", "precision", "dropout", "members"),
)
"""Options of its schedule that are passed on where they are given."""

COMMON = (
    *("fine", "also_fine", "coarse", "factor", "out", "seeds", "device", "overwrite", "resume"),
    *("log", "curves", "tensorboard"),
)
FILES = (
    *("fine", "also_fine", "coarse", "static", "validation", "start", "teacher", "card"),
    *("out", "log", "curves", "tensorboard"),
)
OUTPUT = ("as_json", "quiet", "strict", "debug")


def _given(*sources: ParameterSource) -> set[str]:
    """Parameters that stand on the command line or in its configuration file."""
    context = click.get_current_context()
    wanted = sources or (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return {name for name in context.params if context.get_parameter_source(name) in wanted}


def _configure(context: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the options of a file as defaults."""
    if path is None:
        return
    from geofsrcnn.config import Kind, Option, read_options

    def kind(param: click.Parameter) -> Kind:
        if isinstance(param, click.Option) and param.is_flag:
            return "flag"
        kinds: dict[type, Kind] = {
            click.IntRange: "whole",
            _Factor: "whole",
            click.types.FloatParamType: "number",
            _Names: "names",
            _Day: "day",
            _Option: "table",
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


def _refuse_given(names: Iterable[str], words: str) -> None:
    context = click.get_current_context()
    options = {param.name: param.opts[0] for param in context.command.params}
    for name in names:
        if name in _given():
            raise UsageError(f"{options[name]} {words}")


@dataclass(frozen=True)
class _Session:
    """What any training is told on the command line besides what it learns from."""

    out: str
    factor: int
    seeds: int
    device: str
    overwrite: bool
    resume: bool
    log: str | None
    curves: str | None
    tensorboard: str | None
    as_json: bool
    quiet: bool


def _each_seed(
    session: _Session,
    schedule: Any,
    inputs: list[Path],
    train_one: Callable[..., Any],
    said: Callable[[dict[str, Any]], str],
    show: Callable[[Any], None],
    arguments: dict[str, str] | None = None,
) -> None:
    """Train with each seed: reports, files, results, and their spread.

    `train_one` takes ``out``, ``options``, ``overwrite``, ``report`` and ``each_step``; `said` words a record, `show`
    prints a result; `arguments` decide what is trained besides the schedule.
    """
    from geofsrcnn import seeds
    from geofsrcnn.logbook import check_logbook, logbook, time_left
    from geofsrcnn.methods import check_device
    from geofsrcnn.ranks import is_first, joined
    from geofsrcnn.resume import folder_of, steps_taken

    targets = seeds.targets(session.out, session.seeds)
    several = len(targets) > 1
    if several:
        seeds.check_targets(targets, inputs, overwrite=session.overwrite, resume=session.resume)
    kept = {"log": session.log, "curves": session.curves, "events": session.tensorboard}
    check_logbook(**kept, others=[*inputs, *targets], overwrite=session.overwrite or session.resume)
    if not is_first():  # as another process says and writes it all
        kept = {}
        warnings.showwarning = lambda *_, **__: None
    members = getattr(schedule, "members", 1)  # each of which has a seed of its own
    plans = [replace(schedule, seed=schedule.seed + k * members) for k in range(len(targets))]
    ended = {
        target: seeds.finished_scores(target, session.factor, plan, arguments)
        for target, plan in zip(targets, plans, strict=True)
        if several and session.resume and seeds.is_finished(target)
    }
    each = schedule.steps * members
    taken = sum(each if t in ended else steps_taken(t) if session.resume else 0 for t in targets)
    loud = is_first() and not session.quiet
    hint = time_left(each * len(targets), lambda line: click.echo(line, err=True), taken=taken)
    timed = loud and schedule.minutes is None
    scores: list[dict[str, float]] = []
    results: list[dict[str, Any]] = []
    together = joined(check_device(session.device), schedule.batch, timed=schedule.minutes is not None)
    with _stops() as check, _resumable(), together, logbook(**kept, resumed=session.resume) as write:
        for target, plan in zip(targets, plans, strict=True):
            if target in ended:
                scores.append(ended[target])
                results.append({"out": str(target), "scores": ended[target]})
                if loud:
                    click.echo(f"{printable(target)}: finished before", err=True)
                continue
            begun = folder_of(target).is_dir()

            def report(record: dict[str, Any], seed: int = plan.seed) -> None:
                write({**record, "seed": seed} if several else record)
                if loud:
                    click.echo(f"seed {seed}  {said(record)}" if several else said(record), err=True)

            def each_step(target: Path = target) -> None:
                check()
                if several and is_first():
                    seeds.begin(target)
                if timed:
                    hint()

            result = train_one(
                out=target,
                options=plan,
                overwrite=session.overwrite or (several and session.resume and begun),
                report=report,
                each_step=each_step,
            )
            scores.append(seeds.scores_of(result))
            results.append(result.__dict__)
            if is_first() and not session.as_json:
                show(result)
    if not is_first():
        return
    spread = {name: seeds.spread([each[name] for each in scores]) for name in scores[0]}
    if session.as_json:
        whole = {"results": results, "spread": {n: {"mean": m, "std": d} for n, (m, d) in spread.items()}}
        _echo_json(whole if several else results[0])
    elif several:
        for name, (mean, std) in spread.items():
            click.echo(f"{printable(name)}: {mean:.4g}, standard deviation {std:.2g} over {len(targets)} seeds")


def _train_pairs(coarse: tuple[str, ...], fine: tuple[str, ...], pairs: dict[str, Any], session: _Session) -> None:
    from geofsrcnn.normalize import TRANSFORMS
    from geofsrcnn.pairs import expanded
    from geofsrcnn.train_pairs import PairOptions, arguments_of, train_pairs

    context = click.get_current_context()
    known = {*COMMON, *OUTPUT, *PAIRS, *SCHEDULE, "conserving"}
    _refuse_given([str(p.name) for p in context.command.params if p.name not in known], "is not for pairs (--coarse)")
    if pairs["until"] is None:
        raise UsageError("pairs need --until YYYY-MM-DD: days before are fitted on, the others are scored on")
    schedule = PairOptions(**{name: context.params[name] for name in SCHEDULE if name in _given()})
    limits = {name: _range(text) for name, text in pairs["limits"]}
    weights = {name: _weight(name, text) for name, text in pairs["weights"]}
    for name, transform in pairs["transforms"]:
        if transform not in TRANSFORMS:
            raise UsageError(f"--transform {printable(name)} must be one of {', '.join(TRANSFORMS)}")

    def said(record: dict[str, Any]) -> str:
        member = f"member {record['member']}  " if "member" in record else ""
        loss = f"{record['loss']:.4f}" if record["step"] else "     -"
        figures = f"loss {loss}  {record['score']:.4f} of the best simple method"
        return f"{member}step {record['step']:6d}  {figures}"

    given: dict[str, Any] = {
        "until": pairs["until"],
        "static": pairs["static"],
        "calendar": pairs["calendar"],
        "base": pairs["base"],
        "conserving": context.params["conserving"] if "conserving" in _given() else "auto",
        "predictors": pairs["predictors"] or (),
        "targets": pairs["targets"] or (),
        "partners": dict(pairs["partners"]),
        "transforms": dict(pairs["transforms"]),
        "limits": limits,
        "weights": weights,
    }
    train_one = partial(
        train_pairs, coarse, fine, session.factor, **given, device=session.device, resume=session.resume
    )
    arguments = arguments_of(coarse, fine, **given)
    inputs = expanded([*coarse, *fine, *pairs["static"]])
    _each_seed(session, schedule, inputs, train_one, said, _show_pairs, arguments)


def _show_pairs(result: PairResult) -> None:
    from geofsrcnn.seeds import spread

    click.echo(f"{printable(result.out)}: fitted on {result.times[0]} times, RMSE on the {result.times[1]} after them:")
    order = ("network", "climatology", "bilinear", "mean correction", "cell regression")
    methods = [name for name in order if any(name in scores for scores in result.scores.values())]
    click.echo("target".ljust(16) + "".join(f"{name:>18}" for name in methods))
    for name, scores in result.scores.items():
        click.echo(f"{printable(name):16}" + "".join(f"{scores.get(m, math.nan):18.4g}" for m in methods))
        best = min((value, method) for method, value in scores.items() if method != "network")
        share = scores["network"] / best[0]
        verdict = f"{100 * (1 - share):.1f} % below" if share < 1 else f"{100 * (share - 1):.1f} % above"
        click.echo(f"  the network is {verdict} the best simple method, {best[1]}")
        if len(alone := result.members[name]) > 1:
            mean, std = spread(alone)
            each = ", ".join(f"{value:.4g}" for value in alone)
            click.echo(f"  its members alone: {each}; mean {mean:.4g}, standard deviation {std:.2g}")


def _refuse_nameless() -> None:
    """Refuse names that can be no file's or folder's of data: empty, ``.`` or ``..``."""
    context = click.get_current_context()
    for param in context.command.params:
        value = context.params.get(str(param.name))
        for name in value if isinstance(value, tuple) else (value,):
            if param.name in FILES and name is not None and Path(name).name in ("", ".."):
                raise UsageError(f"{param.opts[0]} needs the name of a file, got {printable(name)!r}")


def _weight(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--weight {printable(name)} must be a number, got {printable(text)}") from None


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not found[0] < found[1]:
        raise UsageError(f"limits must be LOW:HIGH such as 0:inf, got {printable(text)!r}")
    return found


@cli.command("train")
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
    type=_Day(),
    default=None,
    metavar="YYYY-MM-DD",
    help="Pairs: fit on the days before, score on the others.",
)
@click.option("--predictors", type=_Names(), default=None, help="Pairs: coarse variables, separated by commas.")
@click.option("--targets", type=_Names(), default=None, help="Pairs: fine variables, separated by commas.")
@click.option(
    "--partner",
    "partners",
    type=_Option(),
    multiple=True,
    metavar="TARGET=PREDICTOR",
    help="Pairs: the predictor that is the same quantity; found by names where not given.",
)
@click.option(
    "--transform",
    "transforms",
    type=_Option(),
    multiple=True,
    metavar="PREDICTOR=sqrt|log1p",
    help="Pairs: taken before a predictor is standardised.",
)
@click.option(
    "--limits",
    type=_Option(),
    multiple=True,
    metavar="TARGET=LOW:HIGH",
    help="Pairs: smallest and largest value, such as rr=0:inf.",
)
@click.option(
    "--weight",
    "weights",
    type=_Option(),
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
@click.option("--decay", type=float, default=0.0, show_default="0; 0.01 for pairs", help="Weight decay.")
@click.option("--factor", "-f", type=_Factor(), required=True, help="How many times finer, 2-8.")
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
    "--batch", type=click.IntRange(1), default=16, show_default="16; 32 for pairs", help="Patches, or times, in a step."
)
@click.option("--patch", type=click.IntRange(4), default=32, show_default=True, help="Coarse cells along a patch.")
@click.option("--rate", type=float, default=1e-3, show_default=True, help="Peak learning rate.")
@click.option(
    "--loss",
    type=click.Choice(["charbonnier", "l1", "mse"]),
    default="charbonnier",
    show_default="charbonnier; mse for pairs",
    help="Of errors in units of a patch's roughness, or of what a cell's regression leaves.",
)
@click.option("--softness", type=float, default=0.3, show_default=True, help="Of the Charbonnier loss.")
@click.option(
    "--balance", type=float, default=0.5, show_default=True, help="Draw files by their number of cells to this power."
)
@click.option(
    "--coarser", type=click.IntRange(0, 6), default=0, show_default=True, help="Halve fields so often for more fields."
)
@click.option("--blur", type=float, default=0.0, show_default=True, help="Share of patches that are smoothed first.")
@click.option("--mix", type=float, default=0.0, show_default=True, help="Share of patches with part of another added.")
@click.option("--branches", is_flag=True, help="Train each mapping layer as 3x3 + 1x1 + identity, folded when kept.")
@click.option(
    "--frozen", type=click.IntRange(0), default=0, show_default=True, help="First steps of the last layer only."
)
@click.option("--freeze", type=_Names(), default=(), metavar="STAGES", help="Never trained, such as feature,shrink.")
@click.option("--last-rate", type=float, default=1.0, show_default=True, help="The last layer's share of the rate.")
@click.option(
    "--course",
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
    type=click.Choice(["float32", "bfloat16"]),
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
@_guarded
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
    if fine and "also_fine" not in _given(ParameterSource.COMMANDLINE):  # those of a file then
        also_fine = ()
    fine = (*fine, *also_fine)
    _refuse_nameless()
    for one, other in (("steps", "minutes"), ("hold_out", "validation")):
        if {one, other} <= _given():
            raise UsageError(f"--{one.replace('_', '-')} and --{other} exclude each other: give one")
    if not fine:
        raise UsageError("nothing to train on: give FINE rasters")
    pairs = {name: options.pop(name) for name in PAIRS}
    session = _Session(**{each.name: options.pop(each.name) for each in fields(_Session)})
    from geofsrcnn.train import TrainOptions, train_model

    keep_freed_memory()
    if coarse:
        _train_pairs(coarse, fine, pairs, session)
        return
    _refuse_given([*PAIRS], "is for pairs: it needs --coarse")
    from geofsrcnn.model import PRESETS, FSRCNNConfig

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
    _each_seed(session, schedule, [Path(name).absolute() for name in named], train_one, said, _show_trained)


def _show_trained(result: Result) -> None:
    verdict = "better than" if result.score < 0.999 else "no better than" if result.score < 1.001 else "worse than"
    click.echo(
        f"{printable(result.out)}: {verdict} lanczos-bp, the strongest classical method on most data: RMSE "
        f"{result.score:.4f} of it on {len(result.fields)} held-out fields; {result.steps} steps, "
        f"{result.seconds / 60:.1f} min"
    )
