"""Progress of a command on stderr: a bar for people, lines for logs, JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import click

from geofsrcnn.cli.show import duration_text
from geofsrcnn.errors import UsageError


def progress_option(words: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the option ``--progress`` with this help."""
    choice = click.Choice(["auto", "bar", "json", "none"])
    return click.option("--progress", "progress_mode", type=choice, default="auto", show_default=True, help=words)


PROGRESS = progress_option(
    "On stderr; auto: a bar on a terminal; json: lines with done, total and seconds_left, for programs."
)


@dataclass(frozen=True)
class State:
    """How far a run is: units done of all, in words (`status`), and what just happened (`event`)."""

    done: int
    total: int
    status: str = ""
    event: str = ""
    counts: dict[str, int] = field(default_factory=dict)


Display = Callable[[State], None]


@contextmanager
def show_progress(mode: str, label: str, unit: str, *, silent: bool, logged: bool = False) -> Iterator[Display]:
    """Yield the function that shows progress as ``--progress`` asks (`refuse_quiet` checks it with ``--quiet``).

    Parameters
    ----------
    mode : str
        ``auto``, ``bar``, ``json`` or ``none``.
    label, unit : str
        What is done, and what is counted, such as ``upscaling`` and ``tiles``.
    silent : bool
        With ``auto``, show nothing, as of ``--quiet`` and ``--json``.
    logged : bool
        With ``auto`` and no terminal, write lines now and then.
    """
    if mode == "auto" and not silent:
        mode = "bar" if sys.stderr.isatty() else "lines" if logged else "none"
    if mode == "bar":
        with _bar(label, unit) as report:
            yield report
    elif mode == "json":
        yield JsonLines(unit)
    elif mode == "lines":
        yield PlainLines(unit)
    else:
        yield lambda _: None


def count_units(
    show: Display, check: Callable[[], None], *, before: int = 0, total: int | None = None
) -> Callable[[int, int], None]:
    """Return what the library calls with units done and all of them.

    Parameters
    ----------
    show : callable
        Of `show_progress`.
    check : callable
        Of `geofsrcnn.cli.signals.stops`: ends the run where a signal asked for it.
    before, total : int
        Units done before, and all of them, where the library counts a part of the run.
    """

    def count(done: int, own_total: int) -> None:
        check()
        show(State(before + done, own_total if total is None else total))

    return count


def refuse_quiet(mode: str, *, quiet: bool) -> None:
    """Refuse to show progress and none."""
    if quiet and mode in ("bar", "json"):
        raise UsageError(f"--quiet shows no progress, --progress {mode} does: leave out one (--json is for results)")


@contextmanager
def _bar(label: str, unit: str) -> Iterator[Display]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *(TextColumn("{task.fields[label]}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)),
        *(TextColumn("{task.description}"), TimeRemainingColumn()),
    )
    console = Console(stderr=True, force_terminal=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None, label=label)
        yield lambda state: bar.update(task, completed=state.done, total=state.total, description=state.status)


class _Estimate:
    """Seconds since the start, and those that the rest will take at the same rate."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._start = clock, clock()

    def at(self, state: State) -> tuple[float, float | None]:
        """Seconds so far and seconds left, None where no unit is done yet."""
        seconds = self._clock() - self._start
        if state.done == state.total:
            return seconds, 0.0
        return seconds, seconds / state.done * (state.total - state.done) if state.done else None


class JsonLines:
    """A line of JSON for programs: at most some a second, the first and the last always.

    Each has ``done``, ``total``, ``unit``, ``seconds`` since the start and ``seconds_left`` (null where not known);
    ``status``, ``message`` and other counts where there are any.
    """

    every = 0.2

    def __init__(self, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit = unit
        self._estimate = _Estimate(clock)
        self._next = 0.0
        self._shown: tuple[int, int] | None = None
        self._event = ""

    def __call__(self, state: State) -> None:
        """Write a line, if one is due."""
        seconds, left = self._estimate.at(state)
        self._event = state.event or self._event
        units = state.done, state.total
        last = state.done == state.total and self._shown != units
        if not (self._shown is None or last or seconds >= self._next):
            return
        line: dict[str, object] = {"done": state.done, "total": state.total, "unit": self._unit, **state.counts}
        line["seconds"] = round(seconds, 1)
        line["seconds_left"] = None if left is None else round(left, 1)
        line |= {name: text for name, text in (("status", state.status), ("message", self._event)) if text}
        click.echo(json.dumps(line), err=True)
        self._next, self._shown, self._event = seconds + self.every, units, ""


class PlainLines:
    """Lines for a log: how far it is, every half minute and at the end; events are for the command's own list."""

    every = 30.0

    def __init__(self, unit: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._unit = unit
        self._estimate = _Estimate(clock)
        self._next = self.every
        self._ended = False

    def __call__(self, state: State) -> None:
        """Write a line, if one is due."""
        seconds, left = self._estimate.at(state)
        ended = state.done == state.total
        if self._ended or not (ended or seconds >= self._next):
            return
        unit = self._unit.removesuffix("s") if state.total == 1 else self._unit
        words = [f"{state.done} of {state.total} {unit}", *filter(None, [state.status])]
        if left:
            words.append(f"{duration_text(left)} left")
        click.echo(", ".join(words), err=True)
        self._next, self._ended = seconds + self.every, ended
