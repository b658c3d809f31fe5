"""A training from the command line, on rasters or on pairs: its options, its progress, what it prints."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from geofsrcnn.cli.progress import Display, State, refuse_quiet, show_progress
from geofsrcnn.cli.signals import Interrupted, echo_json, stops, tell
from geofsrcnn.errors import printable

if TYPE_CHECKING:
    from geofsrcnn.training.schedule import Schedule


@contextmanager
def resumable() -> Iterator[None]:
    """Let an interrupted training tell how it goes on."""
    try:
        yield
    except Interrupted as interrupt:
        interrupt.left = "the same command with --resume goes on"
        raise


@dataclass(frozen=True)
class Session:
    """Options of any training on the command line besides its schedule and what it learns from."""

    out: str
    device: str
    overwrite: bool
    as_json: bool
    quiet: bool
    progress_mode: str


@dataclass(frozen=True)
class SeedSession(Session):
    """The same of one that can be repeated with several seeds, each of which can be resumed."""

    factor: int
    seeds: int
    resume: bool
    log: str | None
    curves: str | None
    tensorboard: str | None


AnySession = TypeVar("AnySession", bound=Session)


def take_session(kind: type[AnySession], options: dict[str, Any]) -> AnySession:
    """Take the options of a session of this kind out of those of a command."""
    session = kind(**{each.name: options.pop(each.name) for each in fields(kind)})
    refuse_quiet(session.progress_mode, quiet=session.quiet)
    return session


class _Progress:
    """Shows how trainings go, in lines or as ``--progress`` asks, and ends them where a signal asks for it."""

    def __init__(
        self,
        session: Session,
        report: Display,
        check: Callable[[], None],
        text: Callable[[dict[str, Any]], str],
        show: Callable[[Any], None],
    ) -> None:
        self._session, self._report, self._check = session, report, check
        self._text, self._show = text, show
        self._several = isinstance(session, SeedSession) and session.seeds > 1
        self._lines = not session.quiet and session.progress_mode in ("auto", "bar")
        self._hint: Callable[[], None] | None = None
        self._state = State(0, 1)

    def step(self, done: int, total: int) -> None:
        """Show the step; after a minute, how long the rest will take."""
        from geofsrcnn.training.log import time_left

        self._check()
        self._state = State(done, total)
        self._report(self._state)
        if self._lines and self._session.progress_mode == "auto":
            self._hint = self._hint or time_left(total, tell, taken=done)
            self._hint()

    def record(self, record: dict[str, Any], seed: int = 0) -> None:
        """Show the figures of a validation."""
        self._tell(f"seed {seed}  {self._text(record)}" if self._several else self._text(record))

    def nothing_to_resume(self) -> None:
        """Say that a training begins anew; a scheduler that always asks to resume is not refused."""
        self._tell(f"nothing to resume beside {printable(self._session.out)}: it begins anew")

    def skipped(self, target: Path) -> None:
        """Name a training that was finished before."""
        if self._lines:
            tell(f"{printable(self._as_given(target))}: finished before")

    def result(self, result: Any) -> None:
        """Print what came of a training."""
        if not self._session.as_json:
            self._show(replace(result, out=str(self._as_given(Path(result.out)))))

    def _tell(self, words: str) -> None:
        """Print a line, or give it to programs with the progress."""
        if self._lines:
            tell(words)
        else:
            self._report(replace(self._state, event=words))

    def _as_given(self, target: Path) -> Path:
        """Return the name of a checkpoint in the folder as the user named it."""
        return Path(self._session.out).parent / target.name

    def end(self) -> None:
        """Show that all is done, also where a training ended early."""
        self._report(State(self._state.total, self._state.total))


class _Silent:
    """Ends trainings where a signal asks for it; another process shows how they go."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def step(self, *_: int) -> None:
        """Take a step."""
        self.check()

    def _nothing(self, *_: Any) -> None:
        """Show nothing."""

    record = nothing_to_resume = skipped = result = _nothing


@contextmanager
def show_training(
    session: Session, unit: str, text: Callable[[dict[str, Any]], str], show: Callable[[Any], None]
) -> Iterator[_Progress]:
    """Yield what shows how a training goes and ends it where a signal asks for it.

    `text` words a record, `show` prints a result.
    """
    with show_progress(session.progress_mode, "training", unit, silent=True) as report, stops() as check:
        progress = _Progress(session, report, check, text, show)
        yield progress
        progress.end()


def each_seed(
    session: SeedSession,
    schedule: Schedule,
    inputs: Sequence[Path],
    train_one: Callable[..., Any],
    identify_one: Callable[..., dict[str, Any]],
    text: Callable[[dict[str, Any]], str],
    show: Callable[[Any], None],
) -> None:
    """Train with each seed, and print results and their spread.

    `train_one` and `identify_one` are those of `train_seeds`; `text` words a record, `show` prints a result.
    """
    from geofsrcnn.training.processes import is_first
    from geofsrcnn.training.repeat import Repetition, train_seeds

    own = {each.name for each in fields(Repetition)} & {each.name for each in fields(SeedSession)}
    given = {name: getattr(session, name) for name in own}
    shared = Repetition(**given, schedule=schedule, inputs=inputs)
    if not is_first():  # another process says and writes it all
        warnings.showwarning = lambda *_, **__: None
        with stops() as check:
            train_seeds(shared, train_one, identify_one, _Silent(check))
        return
    unit = "steps" if schedule.minutes is None else "seconds"
    with resumable(), show_training(session, unit, text, show) as progress:
        found = train_seeds(shared, train_one, identify_one, progress)
    if session.as_json:
        echo_json(found.to_dict())
    elif session.seeds > 1:
        for name, (mean, std) in found.spread.items():
            click.echo(f"{printable(name)}: {mean:.4g}, standard deviation {std:.2g} over {session.seeds} seeds")
