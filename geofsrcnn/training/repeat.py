"""A training with one or several seeds: one after the other, each resumable, and how far their results differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from geofsrcnn.evaluation.scores import mean_and_std
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.training import seeds
from geofsrcnn.training.log import check_logbook, logbook
from geofsrcnn.training.processes import is_first, join_processes
from geofsrcnn.training.states import folder_of, has_states, steps_taken

if TYPE_CHECKING:
    from geofsrcnn.training.schedule import Schedule


@dataclass(frozen=True)
class Repetition:
    """Arguments that trainings with several seeds share, whatever they learn from.

    Parameters
    ----------
    out : str
        Checkpoint of the first seed; the others are ``NAME-seed1`` and so on beside it.
    factor : int
        Fine cells along one side of a coarse cell.
    schedule : Schedule
        Of each training; its seed is that of the first.
    seeds : int
        How many trainings.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    inputs : sequence of Path
        Files that nothing may be written over.
    overwrite, resume : bool
        Replace what is there, or continue from it.
    log, curves, tensorboard : str, optional
        Where figures are kept: JSON lines, a PNG, a folder of events.
    """

    out: str
    factor: int
    schedule: Schedule
    seeds: int = 1
    device: str = "auto"
    inputs: Sequence[Path] = ()
    overwrite: bool = False
    resume: bool = False
    log: str | None = None
    curves: str | None = None
    tensorboard: str | None = None

    def plans(self) -> Iterator[tuple[Path, Schedule]]:
        """Yield the checkpoint and the schedule of each seed."""
        for number, target in enumerate(seeds.targets(self.out, self.seeds)):
            yield target, replace(self.schedule, seed=self.schedule.seed + number * self.networks)

    @property
    def networks(self) -> int:
        """Networks of each training, each of which has a seed of its own."""
        return getattr(self.schedule, "networks", 1)

    @property
    def steps(self) -> int:
        """Steps of each training."""
        return getattr(self.schedule, "total_steps", self.schedule.steps)


class Listener(Protocol):
    """A listener that hears how trainings go; what it raises ends them."""

    def step(self, done: int, total: int) -> None:
        """Hear, before each step, of how many it is; of a training by the clock, of how many seconds."""

    def record(self, record: dict[str, Any], seed: int) -> None:
        """Hear the figures of a validation."""

    def nothing_to_resume(self) -> None:
        """Hear that no earlier run left anything of what is to be resumed: it begins at its first step."""

    def skipped(self, target: Path) -> None:
        """Hear that a training was finished by an earlier run."""

    def result(self, result: Any) -> None:
        """Hear what came of a training."""


@dataclass(frozen=True)
class Repeated:
    """Results of trainings with several seeds.

    Parameters
    ----------
    results : list of dict
        Of each training; of one that was finished before, its checkpoint and scores.
    scores : list of dict
        Figures by name that the seeds are compared by.
    """

    results: list[dict[str, Any]] = field(default_factory=list)
    scores: list[dict[str, float]] = field(default_factory=list)

    @property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Mean and standard deviation over the seeds, by name."""
        return {name: mean_and_std([each[name] for each in self.scores]) for name in self.scores[0]}

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON takes it; of one training, its result alone."""
        if len(self.results) == 1:
            return self.results[0]
        spread = {name: {"mean": mean, "std": std} for name, (mean, std) in self.spread.items()}
        return {"results": self.results, "spread": spread}


def train_seeds(
    shared: Repetition, train_one: Callable[..., Any], identify_one: Callable[..., dict[str, Any]], listener: Listener
) -> Repeated:
    """Train with each seed, keep figures, and leave out what an earlier run has finished.

    `train_one` is `geofsrcnn.train_model` or `geofsrcnn.train_pairs` with its data, a ``functools.partial``: it takes
    ``out``, ``options``, ``overwrite``, ``report`` and ``each_step``. `identify_one` takes ``options``, and tells
    such a training from others (`geofsrcnn.training.loop.identify`).

    Raises
    ------
    GeofsrcnnError
        As of each training; before the first of them, if a later one would be refused.
    """
    plans = list(shared.plans())
    targets = [target for target, _ in plans]
    several = len(plans) > 1
    kept = {"log": shared.log, "curves": shared.curves, "events": shared.tensorboard}
    if several:
        seeds.check_targets(targets, shared.inputs, overwrite=shared.overwrite, resume=shared.resume)
    check_logbook(**kept, others=[*shared.inputs, *targets], overwrite=shared.overwrite or shared.resume)
    ended = _finished(shared, plans, identify_one) if several and shared.resume else {}
    if shared.resume and not any(has_states(target) or target.exists() for target in targets):
        listener.nothing_to_resume()
    count_step = _counter(shared, len(plans), _steps_before(shared, targets, ended), listener)
    found = Repeated()
    timed = shared.schedule.minutes is not None
    together = join_processes(check_device(shared.device), shared.schedule.batch_size, timed=timed)
    with together, logbook(**(kept if is_first() else {}), resumed=shared.resume) as write:
        for target, plan in plans:
            if target in ended:
                found.scores.append(ended[target])
                found.results.append({"out": str(target), "scores": ended[target]})
                listener.skipped(target)
                continue
            begun = folder_of(target).is_dir()

            def report(record: dict[str, Any], seed: int = plan.seed) -> None:
                write({**record, "seed": seed} if several else record)
                listener.record(record, seed)

            def each_step(target: Path = target) -> None:
                count_step()
                if several and is_first():
                    seeds.begin(target)

            result = train_one(
                out=target,
                options=plan,
                overwrite=shared.overwrite or (several and shared.resume and begun),
                report=report,
                each_step=each_step,
            )
            found.scores.append(seeds.scores_of(result))
            found.results.append(result.__dict__)
            listener.result(result)
    return found


def _finished(
    shared: Repetition, plans: list[tuple[Path, Schedule]], identify_one: Callable[..., dict[str, Any]]
) -> dict[Path, dict[str, float]]:
    """Scores of the trainings that earlier runs have finished."""
    return {
        target: seeds.finished_scores(target, shared.factor, identify_one(options=plan))
        for target, plan in plans
        if seeds.is_finished(target)
    }


def _steps_before(shared: Repetition, targets: list[Path], ended: dict[Path, dict[str, float]]) -> int:
    """Steps that earlier runs have taken."""
    if not shared.resume:
        return 0
    whole = shared.steps
    return sum(whole if target in ended else steps_taken(target) for target in targets)


def _counter(shared: Repetition, trainings: int, before: int, listener: Listener) -> Callable[[], None]:
    """Return what tells the listener of each step, or of the seconds where the schedule ends by the clock."""
    minutes = shared.schedule.minutes
    total = trainings * (shared.steps if minutes is None else round(minutes * 60))
    calls, start = 0, time.monotonic()

    def count() -> None:
        nonlocal calls
        done = before + calls if minutes is None else int(time.monotonic() - start)
        listener.step(min(done, total), total)
        calls += 1

    return count
