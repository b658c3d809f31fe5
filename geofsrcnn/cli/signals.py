"""Signals, errors and warnings of a command, and its exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.flags import with_flags
from geofsrcnn.cli.stdin import signal_main_thread, watch_stdin
from geofsrcnn.errors import (
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    InternalError,
    OutputError,
    as_error,
    printable,
)
from geofsrcnn.files.staging import FULL
from geofsrcnn.system import END_SIGNALS

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = {each: 128 + each for each in END_SIGNALS}
"""Exit codes of runs that a signal ended, as shells give them."""


class Interrupted(BaseException):
    """A signal asks the run to end; work under way is cleaned up on the way out."""

    left = "no unfinished file is left"

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = SIGNALS[signal.Signals(number)]


class Request:
    """The end that a signal asks for, at once or after a unit of work."""

    def __init__(self) -> None:
        self.waits = False
        self.number: int | None = None
        self.listens = False
        self._of_stdin = False

    def take(self, number: int) -> None:
        """The first signal: note it, or end the run here."""
        self.number = number
        if not self.waits:
            raise Interrupted(number)

    def end_with_stdin(self) -> None:
        """Ask for the end as SIGTERM does, because standard input has ended, if there is still a run to end."""
        if self.listens:
            self._of_stdin = True
            signal_main_thread(signal.SIGTERM)

    def is_of_stdin(self, number: int) -> bool:
        """Tell, once, whether a signal is that of standard input's end: with another's it makes no second one."""
        if number != signal.SIGTERM:
            return False
        found, self._of_stdin = self._of_stdin, False
        return found

    def check(self) -> None:
        """End the run if a signal asked for it."""
        if self.number is not None:
            raise Interrupted(self.number)


REQUEST = Request()


@contextmanager
def signals() -> Iterator[None]:
    """The first signal ends the run cleanly, the second at once."""

    def end_at_once(number: int, _: FrameType | None) -> None:
        if not REQUEST.is_of_stdin(number):
            os._exit(SIGNALS[signal.Signals(number)])

    def handle(number: int, _: FrameType | None) -> None:
        REQUEST.is_of_stdin(number)
        for each in SIGNALS:
            signal.signal(each, end_at_once)
        REQUEST.take(number)

    REQUEST.number = None
    REQUEST.listens = True
    before = {each: signal.signal(each, handle) for each in SIGNALS}
    try:
        yield
    finally:
        REQUEST.listens = False
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def stops() -> Iterator[Callable[[], None]]:
    """Signals wait until the yielded function is called, between two units of work.

    An exception out of the blue would be lost in GDAL's callbacks, or leave a file half published.
    """
    REQUEST.waits = True
    try:
        yield REQUEST.check
    finally:
        REQUEST.waits = False


def tell(text: str) -> None:
    """Print a line on stderr, above a progress bar if there is one: rich's stand-in for stderr is not for click."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def show_warnings(*, strict: bool) -> Iterator[None]:
    """Warnings of the package as one line each on stderr, once a kind and file; or as errors."""
    shown: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        text = with_flags(str(message))
        if isinstance(message, GeofsrcnnWarning) and text not in shown:
            shown.add(text)
            tell(f"geofsrcnn: warning: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error" if strict else "always", GeofsrcnnWarning)
        warnings.showwarning = show
        yield


def fail(error: BaseException, code: int, *, debug: bool) -> int:
    """Print an error as one line, all of it with ``--debug``; its exit code."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    click.echo(f"geofsrcnn: error: {with_flags(str(error))}", err=True)
    return code


def echo_json(facts: Any) -> None:
    """Print as JSON, which has no NaN and no infinity: those as text."""
    from geofsrcnn._types import plain_values

    click.echo(json.dumps(plain_values(facts, str), allow_nan=False))


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Errors of the package as one line and their exit code; for commands with ``--debug``.

    ``--strict`` and ``--stop-with-stdin`` are seen to as well, where a command has them.
    """

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        debug = bool(kwargs.pop("debug", False))
        strict = bool(kwargs.pop("strict", False))
        stop_with_stdin = bool(kwargs.pop("stop_with_stdin", False))
        try:
            with show_warnings(strict=strict), signals():
                if stop_with_stdin:
                    watch_stdin(REQUEST.end_with_stdin)
                function(*args, **kwargs)
        except GeofsrcnnError as error:
            code = fail(error, error.exit_code, debug=debug)
        except GeofsrcnnWarning as warning:
            code = fail(as_error(warning), InputError.exit_code, debug=debug)
        except Interrupted as interrupt:
            click.echo(f"geofsrcnn: interrupted, {interrupt.left}", err=True)
            code = interrupt.exit_code
        except click.exceptions.Exit:
            raise
        except BrokenPipeError:  # as of any filter whose reader has gone
            code = 141
        except OSError as error:
            full = ": free space?" if error.errno in FULL else ""
            what = "cannot print" if error.filename is None else f"cannot use {printable(error.filename)}"
            code = fail(OutputError(f"{what} ({error.strerror}){full}"), OutputError.exit_code, debug=debug)
        except Exception as error:  # noqa: BLE001  a defect: one line for the user, all of it with --debug
            text = f"{as_error(error)}: please report it with --debug"
            if debug:
                traceback.print_exception(error, file=sys.stderr)
            code = fail(InternalError(text), InternalError.exit_code, debug=False)
        else:
            return
        click.get_current_context().exit(code)

    return run
