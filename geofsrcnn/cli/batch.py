"""`geofsrcnn batch`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.batch.options import LEAST, RETRIES, BatchOptions
from geofsrcnn.cli.flags import with_flags
from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Names
from geofsrcnn.cli.params import (
    BIDX,
    BOUNDS,
    FACTOR,
    INPUT_OPTIONS,
    KINDS,
    MESSAGE_OPTIONS,
    MODEL,
    NODATA,
    OUTPUT_OPTIONS,
    PERFORMANCE_OPTIONS,
    RANGE,
    SAFETY_OPTIONS,
    STOP_WITH_STDIN,
    VARIABLES,
)
from geofsrcnn.cli.progress import PROGRESS, Display, State, refuse_quiet, show_progress
from geofsrcnn.cli.show import duration_text, files_text, size_text
from geofsrcnn.cli.signals import echo_json, guarded, stops, tell
from geofsrcnn.errors import BatchError, printable
from geofsrcnn.process import harden_gdal

if TYPE_CHECKING:
    from geofsrcnn.batch.results import BatchResult, Tally

_DEFAULTS = BatchOptions()


@click.command("batch", cls=Command, example="'coarse/*.tif' --output-dir fine --factor 3 --resume")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUTS...")
@section(
    "Most used",
    click.option("--output-dir", "-o", required=True, metavar="DIR", help="Folder of the outputs, or s3://."),
    *(FACTOR, MODEL, VARIABLES, BIDX, RANGE, KINDS),
    click.option("--resume", is_flag=True, help="Continue from the journal of an earlier run, if there is one."),
    click.option(
        "--overwrite",
        is_flag=True,
        help="Replace outputs that no run in the journal made; begin anew without --resume, or with other options.",
    ),
    click.option("--dry-run", is_flag=True, help="Print what is done and what would be; nothing is opened or written."),
)
@section("Input", BOUNDS, NODATA, *INPUT_OPTIONS)
@section(
    "Output",
    click.option(
        "--pattern",
        default=_DEFAULTS.pattern,
        show_default=True,
        metavar="TEXT",
        help="Names of the outputs; their suffix says what they are.",
    ),
    *OUTPUT_OPTIONS,
    click.option("--journal", metavar="FILE", help="Where the journal is, if not in the folder of outputs."),
    click.option("--report", metavar="FILE", help="Write a page with throughput, failures and thumbnails (.html)."),
)
@section(
    "Workers",
    click.option(
        "--workers",
        type=click.IntRange(LEAST["workers"]),
        metavar="N",
        help="Processes of this machine.  [default: cores, or GPUs]",
    ),
    click.option(
        "--scheduler",
        "address",
        default=_DEFAULTS.address,
        show_default=True,
        metavar="local|ADDRESS",
        help="Processes of this machine, or a dask scheduler (tls://HOST:8786) whose workers see the same paths.",
    ),
    click.option("--scheduler-file", metavar="FILE", help="File of a dask scheduler, instead of its address."),
    click.option(
        "--scheduler-timeout",
        type=click.FloatRange(0, min_open=True),
        default=_DEFAULTS.scheduler_timeout,
        show_default=True,
        metavar="SECONDS",
        help="Give up after so long without scheduler or workers.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(LEAST["retries"]),
        default=None,
        metavar="N",
        help=f"Tries more for a file whose worker died, of the local cluster.  [default: {RETRIES}]",
    ),
    click.option(
        "--retry-failed", is_flag=True, help="With --resume, try again what failed before, whatever the reason."
    ),
    click.option("--dashboard", is_flag=True, help="Start dask's dashboard, on this machine only."),
)
@section(
    "Performance",
    *PERFORMANCE_OPTIONS,
    click.option(
        "--split",
        type=click.IntRange(LEAST["split"]),
        default=_DEFAULTS.split,
        show_default=True,
        metavar="CELLS",
        help="Coarse cells of the parts in which larger inputs are shared among workers; 0: none is.",
    ),
)
@section(
    "Safety",
    *SAFETY_OPTIONS,
    click.option(
        "--allow-remote",
        type=Names(),
        default=(),
        metavar="HOST[,HOST]",
        help="Hosts or buckets that may be read from and written to, as https://, s3:// or gs://.",
    ),
)
@section("Messages", PROGRESS, STOP_WITH_STDIN, *MESSAGE_OPTIONS)
@guarded
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
    progress_mode: str,
    **options: Any,
) -> None:
    """Make many files, or very large ones, finer.

    All cores are used, or a dask cluster; the same command with --resume continues a run that was killed.

    INPUTS are files, globs, folders, URLs, @LIST (a name a line, # for comments) or manifests (.jsonl: input, output,
    variables); names in them start from the current folder.

    Files that fail do not stop the others: they are listed in the end, and the exit code is 9.
    """
    refuse_quiet(progress_mode, quiet=quiet)
    harden_gdal(options["driver"])
    from geofsrcnn.batch.run import upscale_files

    page = None
    if report is not None:  # written here, as its texts name flags
        from geofsrcnn.batch.page import check_page, write_page

        page = check_page(report, output_dir, overwrite=options["overwrite"], resume=options["resume"])
    strict = click.get_current_context().params["strict"]  # for the files; the other uses of it are seen to
    silent = quiet or as_json or dry_run
    with show_progress(progress_mode, "upscaling", "files", silent=silent, logged=True) as show, stops() as check:
        report_tally = _tally_reporter(show)

        def progress(tally: Tally) -> None:
            check()
            report_tally(tally)

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
        result = _in_flags(result)
        if page is not None and not dry_run:
            write_page(result, page)
    if as_json:
        echo_json(result.to_dict())
    elif not quiet:
        _show_batch(result, None if dry_run else report)
    if result.failed:
        raise BatchError(f"{len(result.failed)} of {files_text(len(result.files))} failed")


def _tally_reporter(show: Display) -> Callable[[Tally], None]:
    """Return what shows the files that have ended, each failure once, and the dashboard's address."""
    dashboard, last = "", None

    def report(tally: Tally) -> None:
        nonlocal dashboard, last
        if tally.dashboard != dashboard:
            dashboard = tally.dashboard
            tell(f"dashboard: {dashboard}")
        event, ended, last = "", last is not tally.last, tally.last
        if last is not None and ended and last.state == "failed":
            event = f"failed: {printable(last.source)}: {with_flags(printable(last.reason))}"
        counts = {"failed": tally.failed}
        words = [f"{tally.failed} failed"]
        if tally.parts:
            counts |= {"parts_done": tally.parts_done, "parts": tally.parts}
            words.append(f"{tally.parts_done} of {tally.parts} parts")
        words.append(f"{tally.cells / max(tally.seconds, 1e-9) / 1e6:.2g} million cells a second")
        if tally.total:
            show(State(tally.done + tally.failed, tally.total, ", ".join(words), event, counts))

    return report


def _in_flags(result: BatchResult) -> BatchResult:
    """Return the result with reasons and warnings that name flags."""
    files = (
        replace(each, reason=with_flags(each.reason), warnings=tuple(map(with_flags, each.warnings)))
        for each in result.files
    )
    return replace(result, files=tuple(files))


def _show_batch(result: BatchResult, page: str | None) -> None:
    """Show what is to do, what failed and why, what was warned of, and a line about all of it."""
    for each in result.files:
        if each.state == "waiting":
            click.echo(f"{printable(each.source)} -> {printable(each.output)}")
    for each in result.failed:
        when = "failed before (--retry-failed tries again)" if each.before else "failed"
        click.echo(f"{when}: {printable(each.source)}: {printable(each.reason)}")
    texts_by_code: dict[str, list[str]] = {}
    for text in (text for each in result.files for text in each.warnings):
        texts_by_code.setdefault(text.partition(":")[0], []).append(text)
    for code, texts in sorted(texts_by_code.items()):
        click.echo(f"warnings of {printable(code)}: {len(texts)}, such as {printable(texts[0])}")
    click.echo(_summary_text(result))
    click.echo(f"journal: {printable(result.journal)}")
    if page is not None:
        click.echo(f"report: {printable(page)}")


def _summary_text(result: BatchResult) -> str:
    """How many files are done, to do and failed, and how fast it went."""
    waiting = len(result.files) - len(result.done) - len(result.failed)
    words = [f"{files_text(len(result.files))}: {len(result.done)} done"]
    words += [f"{waiting} to do"] if waiting else []
    words += [f"{len(result.failed)} failed"]
    words += [f"{result.of_before} of them by earlier runs"] if result.of_before else []
    line = ", ".join(words)
    if not result.done_now:
        return line
    threads = "1 thread" if result.workers == 1 else f"{result.workers} threads"
    speed = f"{result.cells_per_second / 1e6:.2g} million cells a second"
    return f"{line}; {size_text(result.size)} in {duration_text(result.seconds)} on {threads}, {speed}"
