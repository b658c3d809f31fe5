"""Remote input, where it is asked for: https, s3 and gs through fsspec, from hosts and buckets that were named.

A file is fetched whole, checked, and then read like any local one; of a Zarr store chunks are read as they are needed.
What fails is tried again, and in the end an error, not a missing chunk, which would read as zeros.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from geofsrcnn.errors import GeofsrcnnError, LimitError, RemoteError, UsageError, printable
from geofsrcnn.files.kinds import ZARR_METADATA
from geofsrcnn.files.staging import USABLE, free_bytes

SCHEMES = ("https", "http", "s3", "gs")

ATTEMPTS = 4
"""How often a request is tried."""

PAUSE = 0.5
"""Seconds before the second try; twice as long before each further one."""

TIMEOUT = 30
"""Seconds without an answer, or without a byte of it."""

BLOCK = 8 * 2**20
"""Bytes that are compared at a time."""


@dataclass(frozen=True)
class RemoteZarr:
    """A Zarr store that is read where it is.

    Parameters
    ----------
    url : str
        Without query and user, for messages.
    files : fsspec.asyn.AsyncFileSystem
        Asynchronous.
    path : str
        In `files`.
    """

    url: str
    files: Any
    path: str

    @property
    def name(self) -> str:
        """The last part of its URL."""
        return self.url.rstrip("/").rpartition("/")[2]


def is_remote(name: str | os.PathLike[str]) -> bool:
    """Tell whether a name is a URL of a kind that can be read."""
    text = os.fspath(name)
    return "://" in text and text.split("://", 1)[0].lower() in SCHEMES and not Path(text).exists()


@contextmanager
def fetch_remote(
    url: str, allowed: Sequence[str], meanwhile: Callable[[], None] = lambda: None
) -> Iterator[Path | RemoteZarr]:
    """A local copy of a remote file, removed afterwards; or a Zarr store that is read where it is.

    Parameters
    ----------
    url : str
        ``https://``, ``s3://`` or ``gs://``; ``http://`` on this machine only. A Zarr store's ends in ``.zarr``.
    allowed : sequence of str
        Hosts and buckets that may be asked.
    meanwhile : callable
        Called now and then; what it raises ends the wait.

    Yields
    ------
    Path or RemoteZarr

    Raises
    ------
    RemoteError
        If the host was not named, or the file cannot be had.
    LimitError
        If the disk has no room for it.
    """
    shown, host = _check(url, allowed)
    zarr = urlsplit(url).path.rstrip("/").endswith(".zarr")
    files, path = _filesystem(url, host, asynchronous=zarr)
    if zarr:
        try:
            yield RemoteZarr(shown, files, path)
        finally:
            _close(files)
        return
    folder = Path(tempfile.mkdtemp(prefix="geofsrcnn-"))
    try:
        yield _fetch(files, path, folder, shown, meanwhile)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check(url: str, allowed: Sequence[str]) -> tuple[str, str]:
    """The URL without secrets, and its host or bucket, which must be allowed."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    shown = printable(f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}")
    if not host:
        raise RemoteError(f"no host in {shown}: give a whole URL")
    if host not in {name.strip().lower() for name in allowed}:
        raise RemoteError(f"remote input is not allowed: {shown}: allow it with allow_remote='{host}'")
    if parts.scheme.lower() == "http" and not is_loopback(host):
        raise RemoteError(f"http is neither private nor safe from changes: {shown}: use https")
    return shown, host


def is_loopback(host: str) -> bool:
    """Tell whether a host's name or address is of this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _filesystem(url: str, host: str, *, asynchronous: bool) -> tuple[Any, str]:
    """The file system of a URL, with limits of time, and no way to other hosts."""
    scheme = url.split("://", 1)[0].lower()
    try:
        import fsspec

        if scheme in ("http", "https"):
            import aiohttp

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
            traces = aiohttp.TraceConfig()
            traces.on_request_redirect.append(_refuse_other_hosts(host))
            options: dict[str, Any] = {"client_kwargs": {"timeout": timeout, "trace_configs": [traces]}}
        elif scheme == "s3":
            limits = {"connect_timeout": TIMEOUT, "read_timeout": TIMEOUT, "retries": {"max_attempts": 1}}
            anonymous = os.environ.get("AWS_NO_SIGN_REQUEST", "").upper() in ("YES", "TRUE", "1")
            options = {"anon": anonymous, "config_kwargs": limits}
        else:
            os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which asks Google of each bucket
            options = {"timeout": TIMEOUT}
        files, path = fsspec.core.url_to_fs(url, skip_instance_cache=True, asynchronous=asynchronous, **options)
    except ImportError as error:
        raise UsageError(f"{printable(error)}: pip install 'geofsrcnn[remote]'") from None
    if hasattr(files, "retries"):
        files.retries = 1
    return files, str(path)


def _refuse_other_hosts(host: str) -> Callable[..., Any]:
    async def redirected(_: Any, __: Any, answer: Any) -> None:
        target = urlsplit(answer.response.headers.get("Location", "")).hostname
        if target is not None and target.lower() != host:
            raise RemoteError(f"{host} sends to another host, {printable(target)}: give its URL, and allow it")

    return redirected


def _fetch(files: Any, path: str, folder: Path, shown: str, meanwhile: Callable[[], None]) -> Path:
    target = folder / (Path(urlsplit(shown).path).name or "file")
    before = _state(files, path, shown, meanwhile)
    size = before[0]
    if size is not None and size > USABLE * free_bytes(target):
        raise LimitError(
            f"{shown} has {size / 2**30:.1f} GiB, too much for {folder.parent}: set TMPDIR to a larger disk"
        )

    def fetch() -> None:
        files.get_file(path, str(target))
        found = target.stat().st_size
        if size is not None and found != size:
            raise OSError(f"{found} bytes came instead of {size}")

    _run_in_thread(lambda: with_retries(fetch, shown), meanwhile)
    if _state(files, path, shown, meanwhile) != before:
        raise RemoteError(f"{shown} changed while it was fetched: run again")
    return target


def _state(files: Any, path: str, shown: str, meanwhile: Callable[[], None]) -> tuple[int | None, str]:
    """Size and ETag."""

    def ask() -> dict[str, Any]:
        files.invalidate_cache()
        return dict(files.info(path))

    about = _run_in_thread(lambda: with_retries(ask, shown), meanwhile)
    size = about.get("size")
    return (None if size is None else int(size)), str(about.get("ETag") or about.get("etag") or "")


def with_retries(request: Callable[[], Any], shown: str, verb: str = "read") -> Any:
    """Return the result of a request, tried again where that may help; a RemoteError if it fails to the end."""
    attempt = 0
    while True:
        try:
            return request()
        except GeofsrcnnError:
            raise
        except Exception as raised:  # what libraries of remote files raise has no common class
            if (error := refusal(raised, shown, attempt, verb)) is not None:
                raise error from raised
            time.sleep(PAUSE * 2**attempt)
            attempt += 1


def refusal(raised: Exception, shown: str, attempt: int, verb: str = "read") -> GeofsrcnnError | None:
    """Return the error that a request is given up with; None if it is worth another attempt."""
    error = _cause_of(raised)
    if isinstance(error, GeofsrcnnError):
        return error
    if isinstance(error, (FileNotFoundError, PermissionError)):
        words = "not found" if isinstance(error, FileNotFoundError) else "no permission"
        return RemoteError(f"cannot {verb} {shown}: {words}: check the URL and your credentials")
    if attempt == ATTEMPTS - 1 or _is_final(error):
        return RemoteError(f"cannot {verb} {shown} ({_short_message(error)}), tried {attempt + 1} times")
    return None


def _close(files: Any) -> None:
    """Close the connections of an asynchronous file system, in the loop that opened them."""
    from zarr.core.sync import sync

    async def close() -> None:
        session = getattr(files, "_session", None) or getattr(files, "_s3", None)
        if session is not None:
            await session.close()

    with suppress(Exception):
        sync(close())


def _cause_of(error: Exception) -> BaseException:
    """Return the error behind fsspec's, which calls every failed look at a URL a file that is not found."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None and getattr(cause, "status", None) != 404:
        return cause
    return error


def _is_final(error: BaseException) -> bool:
    """Tell whether a server will not change its answer: 4xx but for timeouts and too many requests."""
    status = getattr(error, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in (408, 425, 429)


def _short_message(error: BaseException) -> str:
    """An error in a few words, without secrets."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"status {status}"
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return f"no answer in {TIMEOUT} s"
    return printable(str(error).split("?", 1)[0].strip() or type(error).__name__)[:200]


def _run_in_thread(work: Callable[[], Any], meanwhile: Callable[[], None]) -> Any:
    """Return the result of work in another thread, calling `meanwhile` until it comes."""
    done: dict[str, Any] = {}

    def run() -> None:
        try:
            done["result"] = work()
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            done["error"] = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.1)
        meanwhile()
    if "error" in done:
        raise done["error"]
    return done["result"]


def _open_host(url: str, allowed: Sequence[str]) -> tuple[Any, str, str]:
    """Return the file system of a URL, which must be allowed, the path on it, and the URL without secrets."""
    shown, host = _check(url, allowed)
    return *_filesystem(url, host, asynchronous=False), shown


def remote_state(url: str, allowed: Sequence[str]) -> str:
    """Return what changes when a remote file does: its size and ETag; of a Zarr store, those of its metadata.

    Raises
    ------
    RemoteError
        If it cannot be had.
    """
    files, path, shown = _open_host(url, allowed)
    names = [path]
    if urlsplit(url).path.rstrip("/").endswith(".zarr"):
        names = [f"{path.rstrip('/')}/{mark}" for mark in ZARR_METADATA]
        names = [name for name in names if with_retries(lambda name=name: files.exists(name), shown)]  # type: ignore[misc]
        if not names:
            raise RemoteError(f"cannot read {shown}: not found: check the URL and your credentials")
    return " ".join("-".join(map(str, _state(files, name, shown, lambda: None))) for name in names)


def remote_exists(url: str, allowed: Sequence[str]) -> bool:
    """Tell whether there is a file or store of this name; a RemoteError if there is no answer."""
    files, path, shown = _open_host(url, allowed)
    return bool(with_retries(lambda: files.exists(path), shown))


def list_remote(url: str, allowed: Sequence[str]) -> list[str]:
    """The URLs that one with ``*`` stands for, sorted.

    Raises
    ------
    RemoteError
        If there are none, or they cannot be listed.
    """
    files, path, shown = _open_host(url, allowed)
    found = sorted(map(str, with_retries(lambda: files.glob(path), shown)))
    if not found:
        raise RemoteError(f"no file fits {shown}: check the URL and your credentials")
    return [name if "://" in name else f"{urlsplit(url).scheme}://{name}" for name in found]


def upload(path: Path, url: str, allowed: Sequence[str], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Bring a file, or a folder whose metadata come last, to a URL, and read it back.

    Raises
    ------
    RemoteError
        If it cannot be written, or differs.
    """
    files, target, shown = _open_host(url, allowed)
    names = {path: target}
    if path.is_dir():
        inner = sorted((each for each in path.rglob("*") if each.is_file()), key=lambda e: (e.parent == path, e.name))
        names = {each: f"{target}/{each.relative_to(path).as_posix()}" for each in inner}

    def send(each: Path, name: str) -> None:
        files.put_file(str(each), name)
        files.invalidate_cache()
        with each.open("rb") as ours, files.open(name, "rb") as theirs:
            while block := ours.read(BLOCK):
                if theirs.read(len(block)) != block:
                    raise OSError("what was uploaded differs")
            if theirs.read(1):
                raise OSError("what was uploaded differs")

    for each, name in names.items():
        _run_in_thread(lambda each=each, name=name: with_retries(lambda: send(each, name), shown, "write"), meanwhile)  # type: ignore[misc]
