"""An archive of any size: many files, or large ones in parts, on the workers of a dask cluster, to the end.

What to do is planned from names alone (`manifest`), what is done stands in a journal (`journal`), tasks go through a
sliding window on a cluster (`cluster`), and what each does is in `worker`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from geofsrcnn._types import StrPath
from geofsrcnn._version import __version__
from geofsrcnn.batch.cluster import Failure, Task, Window, local_cluster, need_distributed, scheduler, wait_for_workers
from geofsrcnn.batch.journal import NAME, Earlier, Journal, read_journal
from geofsrcnn.batch.manifest import PATTERN, Item, endings_of, read_items
from geofsrcnn.batch.results import BatchResult, FileResult, Tally
from geofsrcnn.errors import (
    BatchError,
    GeofsrcnnError,
    InputError,
    ModelError,
    OutputError,
    UsageError,
    printable,
    warn,
)
from geofsrcnn.files.paths import expanded, size_of
from geofsrcnn.files.remote import is_remote, listed, remote_exists
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model
from geofsrcnn.options import (
    FileOptions,
    UpscaleOptions,
    check_factor,
)

if TYPE_CHECKING:
    from distributed import Client

    from geofsrcnn.batch.worker import Settings

SPLIT = 2048**2
"""Coarse cells, of all bands and times, of a part."""

PLANNERS = 16
"""Inputs whose state is asked for at a time."""

PERMANENT = (2, 3, 4)
"""Exit codes of failures that the same input meets again."""


def upscale_files(
    inputs: Sequence[StrPath],
    output_dir: StrPath,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    pattern: str = PATTERN,
    address: str = "local",
    scheduler_file: StrPath | None = None,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    retries: int | None = None,
    retry_failed: bool = False,
    split: int = SPLIT,
    journal: StrPath | None = None,
    patience: float = 60.0,
    strict: bool = False,
    dashboard: bool = False,
    dry_run: bool = False,
    allow_remote: Sequence[str] = (),
    progress: Callable[[Tally], None] | None = None,
    **options: Unpack[FileOptions],
) -> BatchResult:
    """Upscale many files on a dask cluster; what failed is in the result, each with its reason.

    Each output appears when it is whole and verified, and equals that of `geofsrcnn.upscale_file` or the command of
    the same options to the last bit; inputs are never touched. A journal in the folder of outputs says what is done,
    and `resume` carries on from there.

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
    pattern : str
        Names of the outputs, of ``{stem}``, ``{factor}`` and ``{suffix}``.
    address : str
        ``"local"``: processes of one thread each on this machine; or the address of a dask scheduler whose workers
        see the same paths.
    scheduler_file : str or path, optional
        Of a dask scheduler, instead of its address.
    workers : int, optional
        Of the local cluster; one for each core, or GPU, by default.
    resume : bool
        Carry on from the journal of an earlier run, if there is one. Files that are done, or whose input cannot be
        used, are not looked at again, unless the input has changed since.
    overwrite : bool
        Replace outputs that no run in the journal made, and a journal that is not resumed.
    retries : int, optional
        How often a file is tried again whose worker died, on the local cluster; 2 by default. Other schedulers have
        their own (dask's ``distributed.scheduler.allowed-failures``).
    retry_failed : bool
        With `resume`, try again what failed before, also where only the input could be the reason.
    split : int
        Coarse cells of a part, of all bands and times; inputs with more than twice as many are shared among workers.
        0: none is.
    journal : str or path, optional
        Its file, instead of one in `output_dir`; needed where that is a URL.
    patience : float
        Seconds to wait for the scheduler, and for workers when there are none.
    strict : bool
        Files with warnings fail.
    dashboard : bool
        Start dask's dashboard, on this machine only.
    dry_run : bool
        Plan only: what is done and what would be.
    allow_remote : sequence of str
        Hosts and buckets that may be read from and written to.
    progress : callable, optional
        Called with a `Tally` a few times a second; what it raises ends the run.
    **options
        Those of `geofsrcnn.UpscaleOptions`, but `threads`.

    Returns
    -------
    BatchResult
        Each input with its output, or the reason why it has none.

    Raises
    ------
    UsageError, InputError, ModelError
        Before any work: if an argument is wrong, a list cannot be read, or there is no such model.
    OutputError
        If the folder of outputs cannot be made, or the journal not be written.
    BatchError
        If the cluster is lost, or has no workers for too long.
    """
    _check(address, scheduler_file, workers, retries, split, patience, dashboard=dashboard)
    if "threads" in options:
        raise UsageError("unknown arguments threads: a task of a batch has one")
    chosen = UpscaleOptions.of(options)
    factor = None if factor is None else check_factor(factor)
    need_distributed()
    folder = os.fspath(output_dir) if is_remote(output_dir) else str(Path(output_dir).absolute())
    nothing = Tally(0)
    check = (lambda: progress(nothing)) if progress is not None else (lambda: None)
    loaded = load_model(model, factor, device="auto" if isinstance(model, Model) else "cpu", precision=chosen.precision)
    check_options(loaded, chosen)
    chosen = replace(chosen, precision=loaded.precision, also=[os.fspath(path) for path in expanded(chosen.also)])
    ends = endings_of(chosen.driver, chosen.inside)
    items = read_items(inputs, folder, loaded.factor, pattern, lambda url: listed(url, allow_remote), check, ends)
    shipped = _checkpoint_bytes(loaded)
    facts = {
        "version": __version__,
        "factor": loaded.factor,
        "model": loaded.digest or loaded.name,
        "options": {key: repr(value) for key, value in sorted(chosen.given().items())},
        "strict": strict,
    }
    if journal is not None:  # one in the folder moves with it
        facts["folder"] = folder
    file = _journal_file(journal, folder)
    also = tuple(os.fspath(path) for path in chosen.also)
    planning = _Planning(items, folder, tuple(allow_remote), chosen.sidecars, also, resume, overwrite, retry_failed)
    if dry_run:
        earlier = read_journal(file, facts, resume=resume, overwrite=overwrite)
        files = tuple(
            found or FileResult(item.source, item.target, "waiting")
            for item, found in zip(items, planning.all(earlier), strict=True)
        )
        return BatchResult(files, folder, str(file), 0.0, 0)
    from geofsrcnn.batch.worker import Settings, versions

    run = secrets.token_hex(8)
    settings = Settings(
        run, loaded.factor, loaded.name, loaded.digest, chosen, folder, split, tuple(allow_remote), strict, versions()
    )
    if not is_remote(folder):
        _make_folder(Path(folder))
    with Journal(file, facts, resume=resume, overwrite=overwrite) as log:
        results: dict[str, FileResult] = {}
        tally = Tally(len(items))
        for number, result in enumerate(planning.all(log)):
            if progress is not None and number % 100 == 0:
                progress(tally)
            if result is not None:
                results[result.output] = result
        for result in results.values():
            if result.state == "failed" and not result.before:
                log.write("failed", result.output, input=result.source, code=result.code, reason=result.reason)
        todo = [item for item in items if item.target not in results]
        if not is_remote(folder):
            _remove_stale_parts(items, todo, settings)
        batch = _Batch(settings, log, results, Tally(len(todo)), progress)
        seconds, threads = 0.0, 0
        if todo:
            where: AbstractContextManager[Client]
            if address == "local" and scheduler_file is None:
                from geofsrcnn.batch.worker import processes

                where = local_cluster(workers or processes(), 2 if retries is None else retries, dashboard=dashboard)
            else:
                where = scheduler(None if scheduler_file is not None else address, scheduler_file, patience)
            with where as client:
                batch.tally.dashboard = client.dashboard_link if dashboard else ""
                window = Window(client, patience, batch.check)
                seconds, threads = batch.run(window, shipped, todo)
    return BatchResult(tuple(results[item.target] for item in items), folder, str(file), seconds, threads)


def _check(
    address: str,
    scheduler_file: StrPath | None,
    workers: int | None,
    retries: int | None,
    split: int,
    patience: float,
    *,
    dashboard: bool,
) -> None:
    if scheduler_file is not None and address != "local":
        raise UsageError("address= and scheduler_file= exclude each other: give one")
    local = {"workers": workers is not None, "retries": retries is not None, "dashboard": dashboard}
    if (address != "local" or scheduler_file is not None) and any(local.values()):
        given = next(name for name, there in local.items() if there)
        raise UsageError(f"{given}= is for the local cluster: that of a scheduler has its own")
    for name, value, least in (("workers", workers, 1), ("retries", retries, 0), ("split", split, 0)):
        if value is not None and (isinstance(value, bool) or value != int(value) or value < least):
            raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if not patience > 0:
        raise UsageError(f"timeout must be a positive number of seconds, got {patience!r}")


def _checkpoint_bytes(model: Model) -> bytes:
    """The file that workers load; nothing of classical methods, which have a name."""
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the output folder {printable(folder)} ({error.strerror})") from error


@dataclass(frozen=True)
class _Planning:
    """What an earlier run left to do."""

    items: Sequence[Item]
    folder: str
    allow_remote: tuple[str, ...]
    sidecars: bool
    also: tuple[str, ...]
    resume: bool
    overwrite: bool
    retry_failed: bool

    def all(self, log: Journal | Earlier) -> Iterator[FileResult | None]:
        """`before` of each, many at a time: each may wait for a network."""
        with ThreadPoolExecutor(PLANNERS) as pool:
            for start in range(0, len(self.items), 1000):
                yield from pool.map(lambda item: self.before(item, log), self.items[start : start + 1000])

    def before(self, item: Item, log: Journal | Earlier) -> FileResult | None:
        """What became of an input already; None if it is to be done."""
        from geofsrcnn.batch.worker import state_of

        if item.problem:
            return FileResult(item.source, item.target, "failed", code=InputError.exit_code, reason=item.problem)
        last = log.last.get(item.target)
        same = last is not None and last.get("input") == item.source and _variables(last) == item.variables
        state = state_of(item.source, self.allow_remote, sidecars=self.sidecars, also=self.also) if same else ""
        if last is not None and same and last.get("fingerprint", "") == state:
            if last.get("state") == "done" and self._is_there(item, int(last.get("bytes", -1))):
                return _result(item, last, before=True)
            permanent = last.get("code") in PERMANENT and "fingerprint" in last and not self.retry_failed
            if last.get("state") == "failed" and permanent:
                return _result(item, last, before=True)
        if not self.overwrite and item.target not in log.begun and self._is_there(item, None):
            return FileResult(
                item.source,
                item.target,
                "failed",
                code=OutputError.exit_code,
                reason="output exists: use overwrite=True",
            )
        return None

    def _is_there(self, item: Item, size: int | None) -> bool:
        if is_remote(self.folder):
            return remote_exists(f"{self.folder.rstrip('/')}/{item.target}", self.allow_remote)
        path = Path(self.folder) / item.target
        try:
            return path.exists() and size in (None, size_of(path))
        except OSError:
            return False


def _remove_stale_parts(items: Sequence[Item], todo: Sequence[Item], settings: Settings) -> None:
    """Remove parts that a killed run left and that this one has no use for: of other inputs, models or options."""
    from geofsrcnn.batch.worker import KEY, PARTS, parts_folder, parts_prefix, work_state

    due = {item.target for item in todo}
    targets = {(Path(settings.folder) / item.target): item for item in items if not item.problem}
    begins = {(target.parent, parts_prefix(target)): item for target, item in targets.items()}
    for parent in {target.parent for target in targets}:
        if not parent.is_dir():
            continue
        for name in os.listdir(parent):  # noqa: PTH208  folders of outputs are long
            begin, end = name[: -len(PARTS) - KEY], name[-len(PARTS) - KEY :]
            item = begins.get((parent, begin))
            if item is None or not end.endswith(PARTS):
                continue
            work = _work(item)
            if item.target not in due or parts_folder(settings, work, work_state(settings, work)).name != name:
                shutil.rmtree(parent / name, ignore_errors=True)


def _variables(line: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(line.get("variables", ()))


def _result(item: Item, facts: Mapping[str, Any], *, before: bool) -> FileResult:
    return FileResult(
        item.source,
        item.target,
        facts["state"],
        before,
        int(facts.get("code", 0)),
        str(facts.get("reason", "")),
        tuple(facts.get("warnings", ())),
        str(facts.get("sha256", "")),
        int(facts.get("bytes", 0)),
        int(facts.get("cells", 0)),
        float(facts.get("seconds", 0.0)),
    )


@dataclass
class _Split:
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
    progress: Callable[[Tally], None] | None

    def check(self) -> None:
        """Called a few times a second."""
        if self.progress is not None:
            self.progress(self.tally)

    def run(self, window: Window, model: bytes, todo: Sequence[Item]) -> tuple[float, int]:
        """All files; seconds and threads."""
        from geofsrcnn.batch.worker import stop

        client: Any = window.client
        self._prepare(window, model)
        threads = sum(client.nthreads().values())
        self.tally.begun = time.monotonic()
        try:
            window.run(self._tasks(todo), self._ended)
        except BaseException:
            self._stop(client, stop)
            raise
        return self.tally.seconds, threads

    def _prepare(self, window: Window, model: bytes) -> None:
        """Bring the workers what they need; again if one of them dies meanwhile.

        Raises
        ------
        UsageError
            If they lack the package or have another version of it.
        BatchError
            If there are none, or they die, for too long.
        """
        client: Any = window.client
        deadline = time.monotonic() + window.patience
        while True:
            wait_for_workers(client, window.patience, self.check)
            try:
                self._bring(client, model)
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

    def _bring(self, client: Any, model: bytes) -> None:
        from geofsrcnn.batch.worker import Setup, prepare, versions

        client.register_plugin(Setup(self.settings.digest, model, self.settings.options.driver))
        for address, theirs in sorted(client.run(versions).items()):
            if theirs != self.settings.versions:
                words = ", ".join(f"{name} {theirs.get(name)} (here {ours})" for name, ours in versions().items())
                raise UsageError(f"the worker {printable(address)} has {words}: install the same versions")
        client.run(prepare, self.settings)
        if max(client.nthreads().values(), default=1) > 1:
            warn("W-THREADS", "workers have several threads each, which take turns: start them with one each")

    def _stop(self, client: Any, stop: Callable[[str], None]) -> None:
        """Let tasks under way clean up, for as long as a tile may take."""
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
            yield Task(upscale_work, (self.settings, _work(item)), item)

    def _ended(self, task: Task, result: Any) -> Iterator[Task]:
        """Note what a task has to say; the tasks that follow from it."""
        about: Item | _Split = task.about
        facts: dict[str, Any]
        if isinstance(result, Failure):
            facts = {"state": "failed", "code": BatchError.exit_code, "reason": result.reason}
        else:
            facts = result
        if facts["state"] == "mismatch":
            raise UsageError(f"{printable(facts['reason'])}: install the same versions")
        if facts["state"] == "stopped":
            raise BatchError("another run of the same name stopped this one")
        if facts["state"] == "split" and isinstance(about, Item):
            return self._split(about, facts)
        if isinstance(about, _Split):
            return self._part(about, facts)
        self._finish(about, facts)
        return iter(())

    def _split(self, item: Item, facts: Mapping[str, Any]) -> Iterator[Task]:
        from geofsrcnn.batch.worker import compute_part

        count = int(facts["parts"])
        split = _Split(item, str(facts["fingerprint"]), count, count)
        self.tally.parts += count
        return (
            Task(compute_part, (self.settings, _work(item), split.state, number), split)
            for number in range(count)
            if not split.failed
        )

    def _part(self, split: _Split, facts: Mapping[str, Any]) -> Iterator[Task]:
        """A part, or all of them put together."""
        from geofsrcnn.batch.worker import assemble_parts, parts_folder

        split.seconds += float(facts.get("seconds", 0.0))
        split.warnings |= dict.fromkeys(facts.get("warnings", ()))
        if split.failed:
            return iter(())
        if facts["state"] == "part":
            split.left -= 1
            self.tally.parts_done += 1
            if split.left == 0:
                work = _work(split.item)
                return iter([Task(assemble_parts, (self.settings, work, split.state, split.parts), split)])
            return iter(())
        self.tally.parts -= split.parts
        self.tally.parts_done -= split.parts - split.left
        split.failed = facts["state"] == "failed"
        if split.failed and facts["code"] in PERMANENT:
            from geofsrcnn.batch.parts import remove_parts

            remove_parts(parts_folder(self.settings, _work(split.item), split.state))
        whole = {"seconds": split.seconds, "warnings": list(split.warnings), "fingerprint": split.state}
        self._finish(split.item, {**facts, **whole})
        return iter(())

    def _finish(self, item: Item, facts: Mapping[str, Any]) -> None:
        kept = {key: value for key, value in facts.items() if key != "state"}
        if item.variables:
            kept["variables"] = list(item.variables)
        self.log.write(str(facts["state"]), item.target, input=item.source, **kept)
        result = _result(item, facts, before=False)
        self.results[item.target] = result
        self.tally.last = result
        if result.state == "done":
            self.tally.done += 1
            self.tally.cells += result.cells
        else:
            self.tally.failed += 1
        self.check()


def _work(item: Item) -> Any:
    from geofsrcnn.batch.worker import Work

    return Work(item.source, item.target, item.variables)
