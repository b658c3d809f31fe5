"""Tasks of the workers of a batch: one file, a part of a large one, or its parts put together.

Nothing is raised but by defects of the cluster: what a task has to say goes back as a `messages.Report`.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from geofsrcnn.batch.manifest import output_path, output_url
from geofsrcnn.batch.messages import Done, Failed, Mismatch, Outcome, Part, Report, Settings, Split, Stopped, Work
from geofsrcnn.batch.parts import part_path, parts_folder, read_parts, remove_parts, shares, write_part
from geofsrcnn.batch.state import work_state
from geofsrcnn.errors import (
    BatchError,
    GeofsrcnnError,
    GeofsrcnnWarning,
    LimitError,
    OutputError,
    as_error,
    printable,
)
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX
from geofsrcnn.files.paths import content_digest, refuse_changed
from geofsrcnn.files.remote import RemoteZarr, fetch_remote, is_remote, upload
from geofsrcnn.options import workers_of
from geofsrcnn.process import harden_gdal, keep_freed_memory

if TYPE_CHECKING:
    from distributed import Worker

    from geofsrcnn.networks.catalog import Model
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.options import UpscaleOptions
    from geofsrcnn.upscale.task import Summary, Task

VERSIONED = ("geofsrcnn", "torch")

ASSEMBLING = 4
"""Threads that put parts together: all others of a large run wait for it."""


class Setup(WorkerPlugin):
    """Brings the model's bytes to each worker once, those that join later too, and keeps GDAL from the network.

    Parameters
    ----------
    digest : str
        SHA-256 of the checkpoint; empty for classical methods.
    checkpoint : bytes
        The file.
    driver : str, optional
        GDAL driver that must stay available.
    """

    def __init__(self, digest: str, checkpoint: bytes, driver: str | None) -> None:
        self.name = f"geofsrcnn-{digest or 'classical'}-{driver}"  # so that runs beside each other keep theirs
        self.digest, self.checkpoint, self.driver = digest, checkpoint, driver

    def setup(self, worker: Worker) -> None:
        """On the worker, before its first task."""
        harden_gdal(self.driver)
        keep_freed_memory()
        _checkpoints[self.digest] = self.checkpoint
        _worker["number"] = worker.name if isinstance(worker.name, int) else 0


class _StopRequested(BaseException):
    """The run was asked to end."""


_checkpoints: dict[str, bytes] = {}
"""Files of models that `Setup` has brought, by their SHA-256."""

_worker: dict[str, int] = {}
"""The number of this worker, which chooses its GPU."""

_stopped_runs: set[str] = set()

_one_at_a_time = threading.Lock()
"""Held by a task: warnings are caught for a whole process, so that threads of one worker take turns."""


def stop(run: str) -> None:
    """End the tasks of a run between two tiles; called on each worker."""
    _stopped_runs.add(run)


def prepare(settings: Settings) -> dict[str, str]:
    """Import what tasks need and load the model, before the first one; the versions here."""
    _model(settings)
    return versions()


def versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def compare_versions(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """List versions on a worker beside those where the run was begun."""
    return ", ".join(f"{name} {theirs.get(name)} (here {version})" for name, version in ours.items())


def _report(function: Callable[..., Outcome]) -> Callable[..., Report]:
    """Wrap a task, so that its outcome, errors among them, and its warnings come back as a report."""

    @wraps(function)
    def run(settings: Settings, work: Work, *arguments: Any) -> Report:
        if (here := versions()) != dict(settings.versions):
            words = compare_versions(here, settings.versions)
            return Report(Mismatch(f"a worker on {socket.gethostname()} has {words}"))
        start, state = time.perf_counter(), work_state(settings, work)
        with _one_at_a_time, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error" if settings.strict else "always", GeofsrcnnWarning)
            outcome = _attempt(function, settings, work, *arguments)
        ours = dict.fromkeys(str(each.message) for each in caught if isinstance(each.message, GeofsrcnnWarning))
        return Report(outcome, tuple(ours), time.perf_counter() - start, state)

    return run


def _attempt(function: Callable[..., Outcome], *arguments: Any) -> Outcome:
    try:
        return function(*arguments)
    except _StopRequested:
        return Stopped()
    except GeofsrcnnError as error:
        return Failed(error.exit_code, str(error))
    except MemoryError:
        return Failed(LimitError.exit_code, "not enough memory: take a smaller tile_size=")
    except Exception as problem:  # noqa: BLE001  a warning, or a defect, in one line
        told = as_error(problem)
        return Failed(told.exit_code, str(told))


@_report
def upscale_work(settings: Settings, work: Work) -> Outcome:
    """Upscale one input; or say into how many parts it should be split."""
    with _output(settings, work) as target:
        with _source(settings, work) as source, _open(settings, work, source, target) as task:
            cells = task.coarse_cells
            splits = settings.split and cells > 2 * settings.split and task.units > 1
            if splits and not is_remote(work.source) and not is_remote(settings.folder):
                parts = len(shares(task.units, cells, settings.split))
                return Split(parts)
            task.check()
            start = time.perf_counter()
            size = task.write(_progress(settings))
            summary = task.summary(time.perf_counter() - start, size)
        return _done(target, summary)


@_report
def compute_part(settings: Settings, work: Work, state: str, number: int) -> Outcome:
    """Compute one part of a split input into its file, unless that is there."""
    folder = parts_folder(settings, work, state)
    path = part_path(folder, number)
    if path.exists():
        return Part()
    _check_state(settings, work, state)
    with _open(settings, work, Path(work.source), output_path(settings.folder, work.target)) as task:
        share = shares(task.units, task.coarse_cells, settings.split)[number]
        folder.mkdir(exist_ok=True)
        with write_part(path) as part:
            task.compute(share, part, _progress(settings))
    return Part()


@_report
def assemble_parts(settings: Settings, work: Work, state: str, count: int) -> Outcome:
    """Write the output from its parts, which are removed then."""
    folder, target = parts_folder(settings, work, state), output_path(settings.folder, work.target)
    _check_state(settings, work, state)
    threads = min(ASSEMBLING, os.cpu_count() or 1)
    with _open(settings, work, Path(work.source), target, threads) as task:
        task.check()
        start = time.perf_counter()
        size = task.write(_progress(settings), read_parts([part_path(folder, number) for number in range(count)]))
        summary = task.summary(time.perf_counter() - start, size)
    remove_parts(folder)
    return _done(target, summary)


def _check_state(settings: Settings, work: Work, state: str) -> None:
    refuse_changed(Path(work.source), state, work_state(settings, work))


@contextmanager
def _open(settings: Settings, work: Work, source: Path | RemoteZarr, target: Path, threads: int = 1) -> Iterator[Task]:
    from geofsrcnn.upscale.file import open_task

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {printable(target.parent)} ({error.strerror})") from error
    with open_task(source, target, settings.factor, _model(settings), _options(settings, work, threads)) as task:
        yield task


@contextmanager
def _source(settings: Settings, work: Work) -> Iterator[Path | RemoteZarr]:
    if not is_remote(work.source):
        yield Path(work.source)
        return
    with fetch_remote(work.source, settings.allow_remote, _check_stop(settings)) as place:
        yield place


@contextmanager
def _output(settings: Settings, work: Work) -> Iterator[Path]:
    """A local path; what stands there in the end is brought to the folder of outputs, if that is remote."""
    if not is_remote(settings.folder):
        yield output_path(settings.folder, work.target)
        return
    with tempfile.TemporaryDirectory(prefix="geofsrcnn-") as folder:
        target = Path(folder) / Path(work.target).name
        yield target
        if target.exists():
            upload(target, output_url(settings.folder, work.target), settings.allow_remote, _check_stop(settings))


def _options(settings: Settings, work: Work, threads: int) -> UpscaleOptions:
    return replace(
        settings.options,
        threads=threads,
        overwrite=True,
        variables=work.variables or settings.options.variables,
        device=_device(settings.options.device),
    )


def _device(device: str) -> str:
    """Where this worker computes: the GPUs of a machine are shared out among its workers."""
    if device in ("auto", "cuda"):
        import torch

        if count := torch.cuda.device_count():
            return f"cuda:{_worker.get('number', 0) % count}"
    return device


def _model(settings: Settings) -> Model:
    """Return the model of all tasks, loaded once in a process for a device and precision."""
    from geofsrcnn.networks.ready import ready_model, ready_model_of

    rest = settings.factor, _device(settings.options.device), settings.options.precision
    if not settings.digest:
        return ready_model(settings.model, *rest)
    return ready_model_of(settings.digest, lambda: _checkpoint(settings), *rest)


def _checkpoint(settings: Settings) -> Checkpoint:
    """Return the checkpoint that `Setup` has brought."""
    from geofsrcnn.networks.checkpoint import parse_checkpoint

    data = _checkpoints.get(settings.digest, b"")
    if hashlib.sha256(data).hexdigest() != settings.digest:
        raise BatchError(f"the model {printable(settings.model)} has not reached this worker whole: run again")
    return parse_checkpoint(data, Path(f"{settings.model}{CHECKPOINT_SUFFIX}"))


def _done(target: Path, summary: Summary) -> Done:
    cells = round(summary.cells_per_second * summary.seconds)
    return Done(content_digest(target), summary.output_bytes, cells)


def _check_stop(settings: Settings) -> Callable[[], None]:
    def check() -> None:
        if settings.run in _stopped_runs:
            raise _StopRequested

    return check


def _progress(settings: Settings) -> Callable[[int, int], None]:
    check = _check_stop(settings)
    return lambda _done, _total: check()


def processes() -> int:
    """How many workers suit this machine: one for each GPU, or for each core that this process may use."""
    import torch

    return torch.cuda.device_count() or workers_of(None)
