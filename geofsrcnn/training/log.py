"""Logs of a training: records as JSON lines, curves, TensorBoard's events, the time that is left."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geofsrcnn.errors import OutputError, UsageError, printable
from geofsrcnn.files.paths import refuse_same
from geofsrcnn.files.staging import check_target, staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Record = dict[str, Any]

Report = Callable[[Record], None]

SCALARS = ("loss", "score", "learning_rate")
"""Figures of a record that are drawn by step."""


def check_logbook(
    *,
    log: str | None = None,
    curves: str | None = None,
    events: str | None = None,
    others: Sequence[Path] = (),
    overwrite: bool = False,
) -> None:
    """Refuse names that cannot be written to, before any work is done.

    Parameters
    ----------
    log, curves, events : str, optional
        As for `logbook`.
    others : sequence of Path
        Inputs and outputs of the training, none of which they may be.
    overwrite : bool
        Curves may replace a file.

    Raises
    ------
    UsageError, OutputError
        If a name or a missing package stands against it.
    """
    taken = list(others)
    for name in (log, curves):
        if name is not None:
            path = Path(name).absolute()
            refuse_same(path, *taken)
            check_target(path, overwrite=overwrite or name is log)
            taken.append(path)
    if curves is not None:
        if Path(curves).suffix != ".png":
            raise UsageError(f"curves= must end in .png: {printable(curves)}")
        _needs("matplotlib", "curves=", "report")
    if events is not None:
        folder = Path(events).absolute()
        refuse_same(folder, *taken)
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"tensorboard= needs a folder: {printable(folder)} is a file")
        if not folder.parent.is_dir():
            raise OutputError(f"output folder is missing: {printable(folder.parent)}: make it first")
        _needs("tensorboard", "tensorboard=", "tensorboard")


def _needs(package: str, option: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{option} needs the package {package}: pip install 'geofsrcnn[{extra}]'")


@contextmanager
def logbook(
    *, log: str | None = None, curves: str | None = None, events: str | None = None, resumed: bool = False
) -> Iterator[Report]:
    """A report that keeps each record in all the ways that are given.

    Parameters
    ----------
    log : str, optional
        File to which records are appended as lines of JSON.
    curves : str, optional
        PNG that is drawn anew at each record.
    events : str, optional
        Folder of TensorBoard's events.
    resumed : bool
        The curves begin with what the log has already.

    Yields
    ------
    callable
        Takes a record: ``step``, ``loss``, ``score``, ``learning_rate``, and ``seed`` and ``member`` where there are
        several.
    """
    with ExitStack() as stack:
        before = read_back(Path(log)) if log is not None and resumed else []
        reports = [
            *([] if log is None else [json_lines(Path(log))]),
            *([] if curves is None else [curve_plotter(Path(curves), before)]),
            *([] if events is None else [stack.enter_context(tensorboard(Path(events)))]),
        ]

        def report(record: Record) -> None:
            for each in reports:
                each(record)

        yield report


def json_lines(path: Path) -> Report:
    """A report that appends each record to a file as a line of JSON."""

    def write(record: Record) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {printable(path)} ({error.strerror}): check the log's name") from error

    return write


def read_back(path: Path) -> list[Record]:
    """The records of a file of JSON lines; lines that are none, such as a torn last one, are passed over."""
    if not path.exists():
        return []
    found: list[Record] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and all(type(record.get(name)) in (int, float) for name in ("step", *SCALARS)):
            found = append_record(found, record)
    return found


def append_record(records: Sequence[Record], record: Record) -> list[Record]:
    """Records and the next one; what the same run had at that step or later is taken back, as a resume does."""
    return [each for each in records if run_of(each) != run_of(record) or each["step"] < record["step"]] + [record]


def run_of(record: Record) -> str:
    """The part of a training that a record is of.

    Examples
    --------
    >>> run_of({"step": 5, "seed": 1, "member": 0}), run_of({"step": 5})
    ('seed 1, member 0', '')
    """
    return ", ".join(f"{name} {record[name]}" for name in ("seed", "member") if name in record)


def curve_plotter(path: Path, before: Sequence[Record] = ()) -> Report:
    """A report that draws the curves of all records so far."""
    records = list(before)

    def draw(record: Record) -> None:
        nonlocal records
        records = append_record(records, record)
        draw_curves(path, records)

    return draw


def draw_curves(path: Path, records: Sequence[Record]) -> None:
    """Draw loss and score by step as a PNG, each run a line, the smallest score marked; replaces the file whole.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True)
    runs: dict[str, list[Record]] = {}
    for record in records:
        runs.setdefault(run_of(record), []).append(record)
    for name, own in runs.items():
        trained = [each for each in own if each["step"] > 0]  # before the first step there is no loss
        _line(upper, trained, "loss", name)
        _line(lower, own, "score", name)
    best = min(records, key=lambda record: float(record["score"]))
    lower.plot(best["step"], best["score"], "o", color="black", markersize=5)
    lower.annotate(
        f"{best['score']:.4f}",
        (best["step"], best["score"]),
        xytext=(0, -14),
        textcoords="offset points",
        ha="center",
        fontsize="small",
    )
    lower.margins(y=0.2)
    lower.axhline(1, color="black", linewidth=0.8, linestyle="--")
    upper.set(ylabel="loss", title="Training")
    lower.set(ylabel="score: error divided by the baseline's", xlabel="step")
    for axes in (upper, lower):
        axes.grid(visible=True, which="both", alpha=0.25)
    if 1 < len(runs) <= 10:
        upper.legend(fontsize="small", ncols=1 + len(runs) // 6)
    with staged(path, overwrite=True) as staging:
        figure.savefig(staging, format="png", dpi=120)


def _line(axes: Axes, records: Sequence[Record], name: str, label: str) -> None:
    """One run's figures by step; on a logarithmic axis where they span more than a factor of 3."""
    values = [float(each[name]) for each in records]
    axes.plot([each["step"] for each in records], values, marker=".", markersize=4, linewidth=1.3, label=label)
    if values and min(values) > 0 and max(values) > 3 * min(values) and math.isfinite(max(values)):
        axes.set_yscale("log")


@contextmanager
def tensorboard(folder: Path) -> Iterator[Report]:
    """A report that writes TensorBoard's events, each run in a folder of its own where there are several."""
    from torch.utils.tensorboard import SummaryWriter

    with ExitStack() as stack:
        writers: dict[str, SummaryWriter] = {}

        def write(record: Record) -> None:
            name = run_of(record)
            step = int(record["step"])
            try:
                if name not in writers:
                    own = folder / name.replace(", ", "-").replace(" ", "")
                    # events that a stopped training had from this step on do not count
                    writers[name] = SummaryWriter(str(own), purge_step=step)
                    stack.callback(writers[name].close)
                for scalar in SCALARS:
                    writers[name].add_scalar(scalar, record[scalar], step)
                writers[name].flush()
            except OSError as error:
                raise OutputError(f"cannot write events to {printable(folder)} ({error.strerror})") from error

        yield write


def time_left(steps: int, say: Callable[[str], None], *, taken: int = 0, delay: float = 60.0) -> Callable[[], None]:
    """A function to be called before each step, which says once how long the rest will take.

    Parameters
    ----------
    steps : int
        Of the whole training.
    say : callable
        Gets one line, such as ``about 12 min left (3,400 of 20,000 steps, 4.2 steps/s)``.
    taken : int
        Steps before the first call.
    delay : float
        Seconds after the first call that the rate is measured over.
    """
    begin = 0.0
    calls = 0
    estimated = False

    def each_step() -> None:
        nonlocal begin, calls, estimated
        if estimated:
            return
        now = time.monotonic()
        if calls == 0:
            begin = now
        elif now - begin >= delay:
            estimated = True
            rate = calls / max(now - begin, 1e-9)
            done = taken + calls
            left = _minutes(max(0, steps - done) / rate)
            say(f"about {left} left ({done:,} of {steps:,} steps, {rate:.2g} steps/s)")
        calls += 1

    return each_step


def _minutes(seconds: float) -> str:
    """A rough time in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
