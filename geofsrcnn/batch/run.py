"""An archive of any size: many files, or large ones in parts, on the workers of a dask cluster, to the end.

What to do is planned from names alone (`manifest`, `planning`), what is done stands in a journal (`journal`), tasks go
to a cluster a few at a time (`cluster`), and what each does is in `worker`.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from geofsrcnn._types import StrPath
from geofsrcnn._version import __version__
from geofsrcnn.batch.cluster import (
    Failure,
    Task,
    TaskPool,
    check_address,
    local_cluster,
    need_distributed,
    scheduler,
    wait_for_workers,
)
from geofsrcnn.batch.journal import NAME, Journal, read_journal
from geofsrcnn.batch.manifest import Item, endings_of, read_items
from geofsrcnn.batch.messages import Done, Failed, Mismatch, Part, Report, Settings, Split, Stopped
from geofsrcnn.batch.options import RETRIES, BatchKeywords, BatchOptions, split_keywords
from geofsrcnn.batch.parts import parts_folder, remove_parts
from geofsrcnn.batch.planning import PERMANENT, Planner, remove_stale_parts, result_of, work_of
from geofsrcnn.batch.results import BatchResult, FileResult, Tally
from geofsrcnn.errors import (
    BatchError,
    GeofsrcnnError,
    InputError,
    InternalError,
    ModelError,
    OutputError,
    UsageError,
    printable,
    warn,
)
from geofsrcnn.files.paths import expand, local_path
from geofsrcnn.files.remote import is_remote, list_remote
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model
from geofsrcnn.options import UpscaleOptions, check_factor

if TYPE_CHECKING:
    from distributed import Client

Progress = Callable[[Tally], None]


def upscale_files(
    inputs: Sequence[StrPath],
    output_dir: StrPath,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Unpack[BatchKeywords],
) -> BatchResult:
    """Upscale many files on a dask cluster; what failed is in the result, each with its reason.

    Each output appears when it is whole and verified, and equals that of `geofsrcnn.upscale_file` or the command of
    the same options to the last bit; inputs are never touched. A journal in the folder of outputs says what is done,
    and ``resume=True`` goes on from there.

    Parameters
    ----------
    inputs : sequence of str or path
        Paths, globs, folders, URLs, ``@LIST``, or manifests of JSON lines with ``input``, ``output`` and
        ``variables``.
    output_dir : str or path
        Folder or URL (``s3://``) of the outputs; a folder is made if it is not there.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`.
    dry_run : bool
        Plan only: what is done, by the journal if there is one, and what would be; inputs that are not there have
        failed, as they would.
    progress : callable, optional
        Called with a `Tally` a few times a second; what it raises ends the run.
    **options
        Those of `geofsrcnn.BatchOptions`, such as ``workers`` and ``resume``, and of `geofsrcnn.UpscaleOptions` but
        ``threads``.

    Returns
    -------
    BatchResult
        Each input with its output, or the reason why it has none.

    Raises
    ------
    UsageError, InputError, ModelError
        Before any work: if an argument is wrong, a list cannot be read, no input exists, or there is no such model.
    OutputError
        If the folder of outputs cannot be made, or the journal or page not be written.
    BatchError
        If the cluster is lost, or has no workers for too long.

    Examples
    --------
    >>> result = upscale_files(["coarse/*.tif"], "fine", 3, resume=True)  # doctest: +SKIP
    >>> [each.reason for each in result.failed]  # doctest: +SKIP
    []
    """
    batch, chosen = split_keywords(options)
    factor = None if factor is None else check_factor(factor)
    need_distributed()
    if batch.address != "local":
        check_address(batch.address)
    folder = os.fspath(output_dir) if is_remote(output_dir) else str(Path(output_dir).absolute())
    page = _check_page(batch, folder)
    device = "auto" if isinstance(model, Model) else "cpu"
    loaded = load_model(model, factor, device=device, precision=chosen.precision, overshoot=chosen.overshoot)
    check_options(loaded, chosen)
    also = [os.fspath(path) for path in expand(chosen.also)]
    chosen = replace(chosen, precision=loaded.precision, overshoot=loaded.overshoot, also=also)
    settings = _settings(loaded, folder, batch, chosen)
    items = _read_items(inputs, settings, batch, progress)
    _refuse_missing(items)
    shipped = _checkpoint_bytes(loaded)
    file, facts = _journal_file(batch.journal, folder), _journal_facts(settings, batch)
    if dry_run:
        resume = batch.resume or not batch.overwrite
        planner = Planner(settings, batch, read_journal(file, facts, resume=resume, overwrite=batch.overwrite))
        return BatchResult(_plan_only(items, planner), folder, str(file), 0.0, 0)
    if not is_remote(folder):
        _make_folder(Path(folder))
    with Journal(file, facts, resume=batch.resume, overwrite=batch.overwrite) as log:
        results = _take_earlier(items, Planner(settings, batch, log.earlier), log, progress)
        todo = [item for item in items if item.target not in results]
        if not is_remote(folder):
            remove_stale_parts(items, todo, settings)
        run = _Batch(settings, log, results, Tally(len(todo)), progress)
        seconds, threads = _run_on_cluster(run, todo, shipped, batch) if todo else (0.0, 0)
    result = BatchResult(tuple(results[item.target] for item in items), folder, str(file), seconds, threads)
    if page is not None:
        from geofsrcnn.batch.page import write_page

        write_page(result, page)
    return result


def _check_page(batch: BatchOptions, folder: str) -> Path | None:
    """Return where the page goes, checked before any work is done."""
    if batch.report is None:
        return None
    from geofsrcnn.batch.page import check_page

    return check_page(batch.report, folder, overwrite=batch.overwrite, resume=batch.resume)


def _settings(model: Model, folder: str, batch: BatchOptions, options: UpscaleOptions) -> Settings:
    from geofsrcnn.batch.worker import versions

    return Settings(
        run=secrets.token_hex(8),
        factor=model.factor,
        model=model.name,
        digest=model.digest,
        options=options,
        folder=folder,
        split=batch.split,
        allow_remote=tuple(batch.allow_remote),
        strict=batch.strict,
        versions=versions(),
    )


def _read_items(
    inputs: Sequence[StrPath], settings: Settings, batch: BatchOptions, progress: Progress | None
) -> list[Item]:
    nothing = Tally(0)
    return read_items(
        inputs,
        settings.folder,
        settings.factor,
        batch.pattern,
        lambda url: list_remote(url, settings.allow_remote),
        (lambda: progress(nothing)) if progress is not None else (lambda: None),
        endings_of(settings.options.driver, settings.options.inside),
    )


def _refuse_missing(items: Sequence[Item]) -> None:
    """Refuse inputs none of which exists: a mistyped name leaves no journal in the way of the right one."""
    if not any(is_remote(item.source) or _may_exist(Path(item.source)) for item in items):
        others = f", nor any other of {len(items)} inputs" if len(items) > 1 else ""
        raise InputError(f"no such file: {printable(items[0].source)}{others}")


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # whoever opens it says more
        return True


def _checkpoint_bytes(model: Model) -> bytes:
    """Return the file that workers load; nothing of classical methods, which have a name."""
    if model.checkpoint is None:
        return b""
    if not model.checkpoint.content:
        raise ModelError(f"model {model.name} has no file for the workers to load: save it first (save_checkpoint)")
    return model.checkpoint.content


def _journal_file(journal: StrPath | None, folder: str) -> Path:
    if journal is not None:
        if is_remote(journal):
            raise UsageError("the journal must be a local file")
        return Path(journal).absolute()
    if is_remote(folder):
        raise UsageError("outputs at a URL need journal=, a local file that says what is done")
    return Path(folder) / NAME


def _journal_facts(settings: Settings, batch: BatchOptions) -> dict[str, Any]:
    """Return all that outputs depend on, and the folder of a journal that does not move with it."""
    facts = {
        "version": __version__,
        "factor": settings.factor,
        "model": settings.digest or settings.model,
        "options": {key: repr(value) for key, value in sorted(settings.options.given().items())},
        "strict": settings.strict,
    }
    return facts if batch.journal is None else {**facts, "folder": settings.folder}


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the output folder {printable(folder)} ({error.strerror})") from error


def _plan_only(items: Sequence[Item], planner: Planner) -> tuple[FileResult, ...]:
    found = zip(items, planner.all(items), strict=True)
    return tuple(before or _look_at(item) for item, before in found)


def _look_at(item: Item) -> FileResult:
    """Tell what a run would begin with: the work, or the failure of a local input that is not there."""
    try:
        if not is_remote(item.source):
            local_path(item.source)
    except GeofsrcnnError as error:
        return FileResult(item.source, item.target, "failed", code=error.exit_code, reason=str(error))
    return FileResult(item.source, item.target, "waiting")


def _take_earlier(
    items: Sequence[Item], planner: Planner, log: Journal, progress: Progress | None
) -> dict[str, FileResult]:
    """Return the results that earlier runs have settled, by output; new failures go into the journal."""
    results: dict[str, FileResult] = {}
    tally = Tally(len(items))
    for number, result in enumerate(planner.all(items)):
        if progress is not None and number % 100 == 0:
            progress(tally)
        if result is not None:
            results[result.output] = result
    for result in results.values():
        if result.state == "failed" and not result.before:
            log.write("failed", result.output, input=result.source, code=result.code, reason=result.reason)
    return results


def _run_on_cluster(run: _Batch, todo: Sequence[Item], model: bytes, batch: BatchOptions) -> tuple[float, int]:
    """Do what is left to do on the cluster that is asked for; return seconds and threads."""
    where: AbstractContextManager[Client]
    if batch.is_local:
        from geofsrcnn.batch.worker import processes

        retries = RETRIES if batch.retries is None else batch.retries
        where = local_cluster(batch.workers or processes(), retries, dashboard=batch.dashboard)
    else:
        address = None if batch.scheduler_file is not None else batch.address
        where = scheduler(address, batch.scheduler_file, batch.scheduler_timeout)
    with where as client:
        run.tally.dashboard = client.dashboard_link if batch.dashboard else ""
        return run.run(TaskPool(client, batch.scheduler_timeout, run.check), model, todo)


@dataclass
class _SplitFile:
    """A file that is done in parts."""

    item: Item
    state: str
    parts: int
    left: int
    seconds: float = 0.0
    warnings: dict[str, None] = field(default_factory=dict)
    failed: bool = False


@dataclass
class _Batch:
    """A run under way."""

    settings: Settings
    log: Journal
    results: dict[str, FileResult]
    tally: Tally
    progress: Progress | None

    def check(self) -> None:
        """Show how far the run is; called a few times a second."""
        if self.progress is not None:
            self.progress(self.tally)

    def run(self, pool: TaskPool, model: bytes, todo: Sequence[Item]) -> tuple[float, int]:
        """Run the tasks of all files; return seconds and threads."""
        client: Any = pool.client
        self._prepare(pool, model)
        threads = sum(client.nthreads().values())
        self.tally.begun = time.monotonic()
        try:
            pool.run(self._tasks(todo), self._handle_result)
        except BaseException:
            self._stop(client)
            raise
        return self.tally.seconds, threads

    def _prepare(self, pool: TaskPool, model: bytes) -> None:
        """Wait for workers, and equip them; again if one of them dies meanwhile.

        Raises
        ------
        UsageError
            If they lack the package or have another version of it.
        BatchError
            If there are none, or they die, for too long.
        """
        client: Any = pool.client
        deadline = time.monotonic() + pool.timeout
        while True:
            wait_for_workers(client, pool.timeout, self.check)
            try:
                self._equip_workers(client, model)
            except GeofsrcnnError:
                raise
            except OSError as error:  # distributed's word for a worker that is no longer there
                if client.status != "running" or time.monotonic() > deadline:
                    words = printable(error)[:200]
                    raise BatchError(f"the workers cannot begin ({words}): look at their logs") from error
                time.sleep(0.2)
            except Exception as error:  # whatever workers raise that lack the package
                words = f"{type(error).__name__}: {printable(error)}"[:200]
                raise UsageError(
                    f"workers cannot import geofsrcnn ({words}): install the same version there"
                ) from error
            else:
                return

    def _equip_workers(self, client: Any, model: bytes) -> None:
        """Give all workers the model, after a look at their versions; a UsageError says which are others."""
        from geofsrcnn.batch.worker import Setup, compare_versions, prepare, versions

        client.register_plugin(Setup(self.settings.digest, model, self.settings.options.driver))
        for address, theirs in sorted(client.run(versions).items()):
            if theirs != self.settings.versions:
                words = compare_versions(theirs, self.settings.versions)
                raise UsageError(f"the worker {printable(address)} has {words}: install the same versions")
        client.run(prepare, self.settings)
        if max(client.nthreads().values(), default=1) > 1:
            warn("W-THREADS", "workers have several threads each, which take turns: start them with one each")

    def _stop(self, client: Any) -> None:
        """Let tasks under way clean up, for as long as a tile may take."""
        from geofsrcnn.batch.worker import stop

        if client.status != "running":
            return
        with suppress(Exception):
            client.run(stop, self.settings.run, on_error="ignore")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and any(client.processing().values()):
                time.sleep(0.1)

    def _tasks(self, todo: Sequence[Item]) -> Iterator[Task]:
        from geofsrcnn.batch.worker import upscale_work

        for item in todo:
            self.log.write("begun", item.target, input=item.source)
            yield Task(upscale_work, (self.settings, work_of(item)), item)

    def _handle_result(self, task: Task, result: Report | Failure) -> Iterator[Task]:
        """Note the result of a task; return the tasks that follow from it."""
        report = Report(Failed(BatchError.exit_code, result.reason)) if isinstance(result, Failure) else result
        about: Item | _SplitFile = task.about
        match report.outcome:
            case Mismatch(reason):
                raise UsageError(f"{printable(reason)}: install the same versions")
            case Stopped():
                raise BatchError("another run of the same name stopped this one")
            case Split(parts) if isinstance(about, Item):
                return self._split(about, parts, report.fingerprint or "")
        if isinstance(about, _SplitFile):
            return self._handle_part(about, report)
        self._finish(about, report)
        return iter(())

    def _split(self, item: Item, parts: int, state: str) -> Iterator[Task]:
        """Return the tasks of the parts of a file; those that have not begun end with the first that fails."""
        from geofsrcnn.batch.worker import compute_part

        split = _SplitFile(item, state, parts, parts)
        self.tally.parts += parts
        return (
            Task(compute_part, (self.settings, work_of(item), state, number), split)
            for number in range(parts)
            if not split.failed
        )

    def _handle_part(self, split: _SplitFile, report: Report) -> Iterator[Task]:
        """Note a part, or all of them put together; return the task that puts them together after the last."""
        from geofsrcnn.batch.worker import assemble_parts

        split.seconds += report.seconds
        split.warnings |= dict.fromkeys(report.warnings)
        if split.failed:
            return iter(())
        work = work_of(split.item)
        if isinstance(report.outcome, Part):
            split.left -= 1
            self.tally.parts_done += 1
            if split.left == 0:
                return iter([Task(assemble_parts, (self.settings, work, split.state, split.parts), split)])
            return iter(())
        self.tally.parts -= split.parts
        self.tally.parts_done -= split.parts - split.left
        if isinstance(report.outcome, Failed):
            split.failed = True
            if report.outcome.code in PERMANENT:
                remove_parts(parts_folder(self.settings, work, split.state))
        self._finish(split.item, Report(report.outcome, tuple(split.warnings), split.seconds, split.state))
        return iter(())

    def _finish(self, item: Item, report: Report) -> None:
        """Note the end of a file, in the journal first."""
        state = "done" if isinstance(report.outcome, Done) else "failed"
        facts = _facts_of(report)
        if item.variables:
            facts["variables"] = list(item.variables)
        self.log.write(state, item.target, input=item.source, **facts)
        result = result_of(item, {"state": state, **facts}, before=False)
        self.results[item.target] = result
        self.tally.last = result
        if isinstance(report.outcome, Done):
            self.tally.done += 1
            self.tally.cells += report.outcome.cells
        else:
            self.tally.failed += 1
        self.check()


def _facts_of(report: Report) -> dict[str, Any]:
    """Return what the journal says of a file that has come to its end."""
    facts: dict[str, Any] = {}
    if report.fingerprint is not None:
        facts = {"warnings": list(report.warnings), "seconds": report.seconds, "fingerprint": report.fingerprint}
    match report.outcome:
        case Done(sha256, size, cells):
            return {**facts, "sha256": sha256, "bytes": size, "cells": cells}
        case Failed(code, reason):
            return {**facts, "code": code, "reason": reason}
    raise InternalError(f"no file ends as {report.outcome}")
