"""Tasks of the workers of a batch: one file, a part of a large one, or its parts put together.

Nothing is raised but by defects of the cluster: what a task has to say is small and plain, and goes back as a dict.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from geofsrcnn.batch.parts import part_path, read_parts, remove_parts, shares, writing_part
from geofsrcnn.errors import (
    BatchError,
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    LimitError,
    OutputError,
    printable,
)
from geofsrcnn.files.kinds import CHECKPOINT_SUFFIX
from geofsrcnn.files.paths import content_digest, fingerprint, sidecars_of
from geofsrcnn.files.remote import RemoteZarr, fetched, is_remote, remote_state, uploaded
from geofsrcnn.options import workers_of
from geofsrcnn.process import harden_gdal, keep_freed_memory

if TYPE_CHECKING:
    from distributed import Worker

    from geofsrcnn.networks.catalog import Model
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.options import UpscaleOptions
    from geofsrcnn.upscale.task import Summary, Task

Facts = dict[str, Any]

VERSIONED = ("geofsrcnn", "torch")

PARTS = ".parts"

KEY = 12
"""Characters that name what parts were made of."""


@dataclass(frozen=True)
class Settings:
    """Settings that all tasks of a run have in common.

    Parameters
    ----------
    run : str
        Names the run.
    factor : int
        Fine cells along one side of a coarse cell.
    model, digest : str
        A classical method, or a checkpoint by its SHA-256, which `Setup` has brought.
    options : UpscaleOptions
        But for what a worker adds.
    folder : str
        Of the outputs, a path or a URL.
    split : int
        Coarse cells of a part; larger files are split. 0: none is.
    allow_remote : tuple of str
        Hosts and buckets.
    strict : bool
        Warnings are errors.
    versions : mapping
        Of the packages that results depend on.
    """

    run: str
    factor: int
    model: str
    digest: str
    options: UpscaleOptions
    folder: str
    split: int
    allow_remote: tuple[str, ...]
    strict: bool
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Work:
    """One input, its output relative to the folder of outputs, and the fields to take."""

    source: str
    target: str
    variables: tuple[str, ...] = ()


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
        _brought[self.digest] = self.checkpoint
        _place["number"] = worker.name if isinstance(worker.name, int) else 0


class Stopped(BaseException):
    """The run was asked to end."""


_brought: dict[str, bytes] = {}

_loaded: dict[tuple[str, int, str, str], Model] = {}

_place: dict[str, int] = {}

_stopped: set[str] = set()

_turn = threading.Lock()
"""Held by a task: warnings are caught for a whole process, so that threads of one worker take turns."""


def stop(run: str) -> None:
    """End the tasks of a run between two tiles; called on each worker."""
    _stopped.add(run)


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


def _reported(function: Callable[..., Facts]) -> Callable[..., Facts]:
    """Wrap a task, so that errors and warnings come back as facts."""

    @wraps(function)
    def run(settings: Settings, work: Work, *arguments: Any) -> Facts:
        if (here := versions()) != dict(settings.versions):
            words = ", ".join(f"{name} {here[name]} (here {settings.versions[name]})" for name in here)
            return {"state": "mismatch", "reason": f"a worker on {socket.gethostname()} has {words}"}
        start, state = time.perf_counter(), work_state(settings, work)
        with _turn, warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("ignore")
            warnings.simplefilter("error" if settings.strict else "always", GeofsrcnnWarning)
            facts = _attempt(function, settings, work, *arguments)
        said = dict.fromkeys(str(each.message) for each in heard if isinstance(each.message, GeofsrcnnWarning))
        return {"warnings": list(said), "seconds": time.perf_counter() - start, "fingerprint": state, **facts}

    return run


def _attempt(function: Callable[..., Facts], *arguments: Any) -> Facts:
    try:
        return function(*arguments)
    except Stopped:
        return {"state": "stopped"}
    except GeofsrcnnError as error:
        return {"state": "failed", "code": error.exit_code, "reason": str(error)}
    except GeofsrcnnWarning as warning:
        return {"state": "failed", "code": InputError.exit_code, "reason": f"{warning} (strict=True)"}
    except MemoryError:
        return {
            "state": "failed",
            "code": LimitError.exit_code,
            "reason": "not enough memory: take a smaller tile_size=",
        }
    except Exception as error:  # noqa: BLE001  a defect, in one line
        words = f"internal error: {type(error).__name__}: {printable(error)}"
        return {"state": "failed", "code": 1, "reason": words[:500]}


def state_of(source: str, allow_remote: tuple[str, ...], *, sidecars: bool = False, also: Sequence[str] = ()) -> str:
    """Return a text that changes when an input does, or what is read beside it; empty if it is not there."""
    if not is_remote(source):
        beside = [*(sidecars_of(Path(source)) if sidecars else ()), *map(Path, also)]
        return " ".join([fingerprint(Path(source)), *(f"{each.name} {fingerprint(each)}" for each in beside)])
    try:
        return remote_state(source, allow_remote)
    except GeofsrcnnError:
        return ""


def work_state(settings: Settings, work: Work) -> str:
    """`state_of` the input of a work."""
    return state_of(
        work.source,
        settings.allow_remote,
        sidecars=settings.options.sidecars,
        also=[os.fspath(path) for path in settings.options.also],
    )


@_reported
def upscale_work(settings: Settings, work: Work) -> Facts:
    """Upscale one input; or say into how many parts it should be split."""
    with _output(settings, work) as target:
        with _source(settings, work) as source, _opened(settings, work, source, target) as task:
            cells = task.coarse_cells
            splits = settings.split and cells > 2 * settings.split and task.units > 1
            if splits and not is_remote(work.source) and not is_remote(settings.folder):
                parts = len(shares(task.units, cells, settings.split))
                return {"state": "split", "parts": parts}
            task.check()
            start = time.perf_counter()
            size = task.write(_progress(settings))
            summary = task.summary(time.perf_counter() - start, size)
        return _done(target, summary)


@_reported
def compute_part(settings: Settings, work: Work, state: str, number: int) -> Facts:
    """Compute one part of a split input into its file, unless that is there."""
    folder = parts_folder(settings, work, state)
    path = part_path(folder, number)
    if path.exists():
        return {"state": "part"}
    _check_state(settings, work, state)
    with _opened(settings, work, Path(work.source), _local(settings, work)) as task:
        share = shares(task.units, task.coarse_cells, settings.split)[number]
        folder.mkdir(exist_ok=True)
        with writing_part(path) as part:
            task.compute(share, part, _progress(settings))
    return {"state": "part"}


@_reported
def assemble_parts(settings: Settings, work: Work, state: str, count: int) -> Facts:
    """Write the output from its parts, which are removed then."""
    folder, target = parts_folder(settings, work, state), _local(settings, work)
    _check_state(settings, work, state)
    with _opened(settings, work, Path(work.source), target) as task:
        task.check()
        start = time.perf_counter()
        size = task.write(_progress(settings), read_parts([part_path(folder, number) for number in range(count)]))
        summary = task.summary(time.perf_counter() - start, size)
    remove_parts(folder)
    return _done(target, summary)


def parts_folder(settings: Settings, work: Work, state: str) -> Path:
    """Where the parts of an input in this state, made with these settings, are kept: beside its output."""
    target = _local(settings, work)
    made_of = [settings.factor, settings.model, settings.digest, settings.options.given(), settings.split, state]
    key = hashlib.sha256(repr((made_of, work, dict(settings.versions))).encode()).hexdigest()[:KEY]
    return target.with_name(f"{parts_prefix(target)}{key}{PARTS}")


def parts_prefix(target: Path) -> str:
    """How the names of folders of parts of an output begin."""
    return "." + os.fsdecode(os.fsencode(target.name)[:200]) + "."


def _local(settings: Settings, work: Work) -> Path:
    return Path(settings.folder) / work.target


def _check_state(settings: Settings, work: Work, state: str) -> None:
    if work_state(settings, work) != state:
        raise InputError(f"{printable(Path(work.source).name)} was changed while it was read: run again")


@contextmanager
def _opened(settings: Settings, work: Work, source: Path | RemoteZarr, target: Path) -> Iterator[Task]:
    from geofsrcnn.upscale.file import open_task

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {printable(target.parent)} ({error.strerror})") from error
    with open_task(source, target, settings.factor, _model(settings), _options(settings, work)) as task:
        yield task


@contextmanager
def _source(settings: Settings, work: Work) -> Iterator[Path | RemoteZarr]:
    if not is_remote(work.source):
        yield Path(work.source)
        return
    with fetched(work.source, settings.allow_remote, _check_stop(settings)) as place:
        yield place


@contextmanager
def _output(settings: Settings, work: Work) -> Iterator[Path]:
    """A local path; what stands there in the end is brought to the folder of outputs, if that is remote."""
    if not is_remote(settings.folder):
        yield _local(settings, work)
        return
    with tempfile.TemporaryDirectory(prefix="geofsrcnn-") as folder:
        target = Path(folder) / Path(work.target).name
        yield target
        if target.exists():
            url = f"{settings.folder.rstrip('/')}/{work.target}"
            uploaded(target, url, settings.allow_remote, _check_stop(settings))


def _options(settings: Settings, work: Work) -> UpscaleOptions:
    return replace(
        settings.options,
        threads=1,
        overwrite=True,
        variables=work.variables or settings.options.variables,
        device=_device(settings.options.device),
    )


def _device(device: str) -> str:
    """Where this worker computes: the GPUs of a machine are shared out among its workers."""
    if device in ("auto", "cuda"):
        import torch

        if count := torch.cuda.device_count():
            return f"cuda:{_place.get('number', 0) % count}"
    return device


def _model(settings: Settings) -> Model:
    """Return the model of all tasks, loaded once in a process for a device and precision."""
    device, precision = _device(settings.options.device), settings.options.precision
    key = (settings.digest or settings.model, settings.factor, device, precision)
    if key not in _loaded:
        from geofsrcnn.networks.catalog import load_model

        source = _checkpoint(settings) if settings.digest else settings.model
        _loaded[key] = load_model(source, settings.factor, device=device, precision=precision)
    return _loaded[key]


def _checkpoint(settings: Settings) -> Checkpoint:
    """Return the checkpoint that `Setup` has brought."""
    from geofsrcnn.networks.checkpoint import parse_checkpoint

    data = _brought.get(settings.digest, b"")
    if hashlib.sha256(data).hexdigest() != settings.digest:
        raise BatchError(f"the model {printable(settings.model)} has not reached this worker whole: run again")
    return parse_checkpoint(data, Path(f"{settings.model}{CHECKPOINT_SUFFIX}"))


def _done(target: Path, summary: Summary) -> Facts:
    return {
        "state": "done",
        "sha256": content_digest(target),
        "bytes": summary.output_bytes,
        "cells": round(summary.cells_per_second * summary.seconds),
    }


def _check_stop(settings: Settings) -> Callable[[], None]:
    def check() -> None:
        if settings.run in _stopped:
            raise Stopped

    return check


def _progress(settings: Settings) -> Callable[[int, int], None]:
    check = _check_stop(settings)
    return lambda _done, _total: check()


def processes() -> int:
    """How many workers suit this machine: one for each GPU, or for each core that this process may use."""
    import torch

    return torch.cuda.device_count() or workers_of(None)
