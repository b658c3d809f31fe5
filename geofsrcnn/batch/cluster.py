"""Tasks on dask.distributed: a pool of a few at a time, whose small results come back as they end.

What becomes of dead workers is dask's: their tasks run elsewhere. A task that outlived `retries` workers may be the
cause of their end, or have stood beside it: it is run once more when all others are done, alone.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import queue
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from geofsrcnn.errors import BatchError, UsageError, need, printable, warn
from geofsrcnn.files.remote import is_loopback
from geofsrcnn.system import keep_interrupts_from_children

if TYPE_CHECKING:
    from distributed import Client, Future

AHEAD = 2
"""Tasks under way for each thread: one runs, one waits beside it."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Check = Callable[[], None]


@dataclass(frozen=True)
class Task:
    """One call on a worker.

    Parameters
    ----------
    function : callable
        A function of a module, whose result is small.
    arguments : tuple
        Small too.
    about : object
        For whoever takes the result.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    about: Any = None


@dataclass(frozen=True)
class Failure:
    """A task that gave no result, and why, in words."""

    reason: str


@dataclass(frozen=True)
class _Killed(Failure):
    """A task whose workers ended while they ran it."""


@dataclass
class _Backlog:
    """Tasks that are not submitted yet.

    Parameters
    ----------
    new : iterator of Task
        Tasks of the run.
    follow_ups : deque of Task
        Tasks that results have led to; they go first.
    suspects : deque of Task
        Tasks that outlived too many workers; they go last.
    runs_suspect : bool
        A suspect is under way, and nothing else may be.
    """

    new: Iterator[Task]
    follow_ups: deque[Task] = field(default_factory=deque)
    suspects: deque[Task] = field(default_factory=deque)
    runs_suspect: bool = False

    def take(self, *, idle: bool) -> Task | None:
        """Take the next task; None if there is none, or only suspects, and the cluster is not idle."""
        if self.follow_ups:
            return self.follow_ups.popleft()
        task = next(self.new, None)
        if task is None and self.suspects and idle:
            self.runs_suspect = True
            return self.suspects.popleft()
        return task


@contextmanager
def local_cluster(workers: int, retries: int, *, dashboard: bool = False) -> Iterator[Client]:
    """Processes of one thread each on this machine, reachable from it alone.

    Raises
    ------
    UsageError
        If the extra is not installed.
    """
    distributed = need_distributed()
    import dask

    settings = {
        "distributed.scheduler.allowed-failures": retries,
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(_THREADS, 1),  # dask's own also trims malloc: +50 % time
        "distributed.worker.profile.enabled": False,  # nobody looks at it, and it takes 2 % of the time
        "distributed.admin.tick.interval": "1s",  # every 20 ms otherwise: 5 % of the time
        "distributed.admin.system-monitor.interval": "1s" if dashboard else "10s",
        "distributed.worker.memory.monitor-interval": "500ms",
        "distributed.comm.timeouts.connect": "30s",
    }
    if dashboard:
        _need_bokeh()
    with dask.config.set(settings), _quiet():
        with keep_interrupts_from_children():
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # else port 8787, with a warning where that is taken
                scheduler_kwargs={"dashboard": dashboard},
                silence_logs=logging.CRITICAL,
            )
        with close_afterwards(cluster), distributed.Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def close_afterwards(cluster: Any) -> Iterator[Any]:
    """Close a local cluster in the end; a worker that is being started again just then cannot be waited for."""
    try:
        yield cluster
    finally:
        with suppress(AssertionError):  # of dask's, which asks a process to end that it has not started yet
            cluster.close()


@contextmanager
def scheduler(address: str | None, file: str | os.PathLike[str] | None, timeout: float) -> Iterator[Client]:
    """A client of a scheduler that is there already, by an address that `check_address` has seen, or by its file.

    Raises
    ------
    UsageError
        If the address is none, or nobody answers.
    """
    distributed = need_distributed()
    deadline = time.monotonic() + timeout
    if file is not None:
        address = _address_in(Path(file), deadline)
        check_address(address)
    assert address is not None
    shown = printable(address)
    try:
        with _quiet():
            client = distributed.Client(
                address, timeout=max(1, deadline - time.monotonic()), set_as_default=False, name="geofsrcnn"
            )
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"no scheduler at {shown} ({printable(str(error) or type(error).__name__)[:200]})") from error
    try:
        yield client
    finally:
        with suppress(Exception), _quiet():
            client.close(timeout=5)


def _address_in(file: Path, deadline: float) -> str:
    """The address in a scheduler's file, which a cluster that starts may be about to write."""
    while True:
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            if time.monotonic() > deadline:
                what = error.strerror if isinstance(error, OSError) else "it holds no address"
                raise UsageError(f"no scheduler at {printable(file)} ({what})") from error
        time.sleep(0.1)


def _has_certificates() -> bool:
    """Tell whether dask's configuration names certificates, or a loader of them.

    Raises
    ------
    UsageError
        If they cannot be read.
    """
    import dask
    from distributed.security import Security

    if dask.config.get("distributed.client.security-loader", None):
        return True
    security: Any = Security  # which has no types
    try:
        return security().get_connection_args("client").get("ssl_context") is not None
    except (OSError, ValueError) as error:
        raise UsageError(f"certificates of dask's configuration: {printable(error)}") from error


def check_address(address: str) -> None:
    """Refuse what is no address of a scheduler, or needs certificates that are not there; warn of an open one.

    Raises
    ------
    UsageError
        With what to give instead.
    """
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("tcp", "tls", "ws", "wss", "ucx") or not parts.hostname or not port:
        raise UsageError(f"scheduler must be local, or an address such as tcp://HOST:8786, got '{printable(address)}'")
    if parts.scheme in ("tcp", "ws") and not is_loopback(parts.hostname):
        warn("W-SCHEDULER", f"{printable(address)} is not encrypted, and who reaches it can run code: use tls://")
    if parts.scheme in ("tls", "wss") and not _has_certificates():
        keys = "ca-file, client.cert and client.key under distributed.comm.tls"
        raise UsageError(f"{printable(address)} needs certificates: name them in dask's configuration ({keys})")


def need_distributed() -> Any:
    """dask.distributed.

    Raises
    ------
    UsageError
        With what to install.
    """
    need("batch", "distributed")
    import distributed

    return distributed


def _need_bokeh() -> None:
    if importlib.util.find_spec("bokeh") is None:
        raise UsageError("the dashboard needs bokeh: pip install bokeh")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without distributed's own log, which repeats at length what is reported here in a line."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def wait_for_workers(client: Client, timeout: float, check: Check) -> None:
    """Wait for the first worker.

    Raises
    ------
    BatchError
        If none comes in `timeout` seconds.
    """
    calls: Any = client  # whose methods have no types
    deadline = time.monotonic() + timeout
    while not calls.nthreads():
        check()
        if time.monotonic() > deadline:
            raise BatchError(f"the scheduler has had no workers for {timeout:g} s: start some, then run again")
        time.sleep(0.1)


@dataclass
class TaskPool:
    """Tasks on a cluster, of which only a few are there at a time, however many there are to do.

    Parameters
    ----------
    client : distributed.Client
        Client of the cluster.
    timeout : float
        Seconds without any worker, after which the run ends.
    check : callable
        Called a few times a second; what it raises ends the run.
    """

    client: Client
    timeout: float
    check: Check = lambda: None
    _pending: dict[Any, tuple[Task, Future[Any]]] = field(default_factory=dict, init=False)
    _ended: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue, init=False)
    _number: int = field(default=0, init=False)
    _run: str = field(default_factory=lambda: secrets.token_hex(4), init=False)
    _threads: int = field(default=0, init=False)
    _counted_at: float = field(default=-1.0, init=False)
    _without_workers_since: float | None = field(default=None, init=False)

    def run(self, tasks: Iterable[Task], done: Callable[[Task, Any], Iterable[Task]]) -> None:
        """Run all tasks, and those that `done` gives for a result or a `Failure`; they go first.

        Raises
        ------
        BatchError
            If the scheduler is lost, or there are no workers for too long.
        """
        backlog = _Backlog(iter(tasks))
        calls: Any = self.client  # whose methods have no types
        try:
            while True:
                self._fill(backlog)
                if not self._pending:
                    return
                for task, result in self._ended_tasks():
                    if isinstance(result, _Killed) and not backlog.runs_suspect:
                        backlog.suspects.append(task)
                    else:
                        backlog.follow_ups.extend(done(task, result))
                if not self._pending:
                    backlog.runs_suspect = False
        finally:
            with suppress(Exception):
                calls.cancel([future for _, future in self._pending.values()])
            self._pending.clear()

    def _fill(self, backlog: _Backlog) -> None:
        """Submit tasks until enough are under way; beside a suspect none."""
        while len(self._pending) < (1 if backlog.runs_suspect else self._size()):
            task = backlog.take(idle=not self._pending)
            if task is None:
                return
            self._submit(task)

    def _submit(self, task: Task) -> None:
        self._number += 1
        future = self.client.submit(
            task.function, *task.arguments, key=f"{task.function.__name__}-{self._run}-{self._number}", pure=False
        )
        self._pending[future.key] = task, future
        calls: Any = future  # which has no types
        calls.add_done_callback(self._ended.put)

    def _ended_tasks(self) -> Iterator[tuple[Task, Any]]:
        """Yield tasks that ended since, with their results, after waiting a little for one."""
        self.check()
        self._check_cluster()
        with suppress(queue.Empty):
            ended = self._ended.get(timeout=0.2)
            while True:
                if ended.key in self._pending:
                    found = self._result(ended)
                    if found is None:
                        ended.add_done_callback(self._ended.put)
                    else:
                        yield found
                ended = self._ended.get_nowait()

    def _result(self, future: Any) -> tuple[Task, Any] | None:
        """A task that ended and its result; None if that went with its worker, so that the task runs again."""
        from distributed import CancelledError, KilledWorker

        task, _ = self._pending[future.key]
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                result = future.result(timeout=1)
                break
            except TimeoutError:
                self.check()
                if self.client.status != "running" or time.monotonic() > deadline:
                    self._raise_lost()
                if not future.done():
                    return None
            except KilledWorker as error:
                result = _Killed(f"its worker was ended {error.allowed_failures + 1} times (out of memory, or a crash)")
                break
            except CancelledError:  # by a scheduler that closes or starts anew: nobody else does
                self._raise_lost()
            except Exception as error:  # noqa: BLE001  whatever the way there and back raises
                if self.client.status != "running":
                    self._raise_lost()
                result = Failure(f"{type(error).__name__}: {printable(error)[:300]}")
                break
        del self._pending[future.key]
        return task, result

    def _raise_lost(self) -> NoReturn:
        raise BatchError("the scheduler is lost; what is finished is kept: run again with resume=True")

    def _check_cluster(self) -> None:
        """Raise an error if the scheduler is lost, or has had no workers for too long."""
        if self.client.status != "running":
            self._raise_lost()
        now = time.monotonic()
        if now - self._counted_at < 1:
            return
        self._counted_at = now
        self._threads = self._count_threads()
        if self._threads:
            self._without_workers_since = None
        elif self._without_workers_since is None:
            self._without_workers_since = now
        elif now - self._without_workers_since > self.timeout:
            raise BatchError(f"no workers for {self.timeout:g} s; what is finished is kept: run again with resume=True")

    def _count_threads(self) -> int:
        """Threads of all workers; 0 if the scheduler does not answer soon."""
        calls: Any = self.client  # whose methods have no types
        with suppress(OSError, TimeoutError, AttributeError):
            return sum(calls.sync(calls.scheduler.ncores, callback_timeout=min(self.timeout, 5)).values())
        return 0

    def _size(self) -> int:
        """How many tasks should be under way."""
        if not self._threads:
            self._threads = self._count_threads()
        return max(1, AHEAD * self._threads)
