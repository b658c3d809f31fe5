"""A training from the command line, on rasters or on pairs: its options, its seeds, how it goes on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import click

from geofsrcnn.cli.signals import Interrupted, echo_json, stops
from geofsrcnn.errors import printable


@contextmanager
def resumable() -> Iterator[None]:
    """An interrupted training says how it goes on."""
    try:
        yield
    except Interrupted as interrupt:
        interrupt.left = "the same command with --resume goes on"
        raise


@dataclass(frozen=True)
class Session:
    """What any training is told on the command line besides what it learns from."""

    out: str
    factor: int
    seeds: int
    device: str
    overwrite: bool
    resume: bool
    log: str | None
    curves: str | None
    tensorboard: str | None
    as_json: bool
    quiet: bool


def take_session(options: dict[str, Any]) -> Session:
    """Take the options of a session out of those of a command."""
    return Session(**{each.name: options.pop(each.name) for each in fields(Session)})


def each_seed(
    session: Session,
    schedule: Any,
    inputs: list[Path],
    train_one: Callable[..., Any],
    said: Callable[[dict[str, Any]], str],
    show: Callable[[Any], None],
    arguments: dict[str, str] | None = None,
) -> None:
    """Train with each seed: reports, files, results, and their spread.

    `train_one` takes ``out``, ``options``, ``overwrite``, ``report`` and ``each_step``; `said` words a record, `show`
    prints a result; `arguments` decide what is trained besides the schedule.
    """
    from geofsrcnn.networks.catalog import check_device
    from geofsrcnn.training import seeds
    from geofsrcnn.training.log import check_logbook, logbook, time_left
    from geofsrcnn.training.processes import is_first, joined
    from geofsrcnn.training.states import folder_of, steps_taken

    targets = seeds.targets(session.out, session.seeds)
    several = len(targets) > 1
    if several:
        seeds.check_targets(targets, inputs, overwrite=session.overwrite, resume=session.resume)
    kept = {"log": session.log, "curves": session.curves, "events": session.tensorboard}
    check_logbook(**kept, others=[*inputs, *targets], overwrite=session.overwrite or session.resume)
    if not is_first():  # as another process says and writes it all
        kept = {}
        warnings.showwarning = lambda *_, **__: None
    members = getattr(schedule, "members", 1)  # each of which has a seed of its own
    plans = [replace(schedule, seed=schedule.seed + k * members) for k in range(len(targets))]
    ended = {
        target: seeds.finished_scores(target, session.factor, plan, arguments)
        for target, plan in zip(targets, plans, strict=True)
        if several and session.resume and seeds.is_finished(target)
    }
    each = schedule.steps * members
    taken = sum(each if t in ended else steps_taken(t) if session.resume else 0 for t in targets)
    loud = is_first() and not session.quiet
    hint = time_left(each * len(targets), lambda line: click.echo(line, err=True), taken=taken)
    timed = loud and schedule.minutes is None
    scores: list[dict[str, float]] = []
    results: list[dict[str, Any]] = []
    together = joined(check_device(session.device), schedule.batch_size, timed=schedule.minutes is not None)
    with stops() as check, resumable(), together, logbook(**kept, resumed=session.resume) as write:
        for target, plan in zip(targets, plans, strict=True):
            if target in ended:
                scores.append(ended[target])
                results.append({"out": str(target), "scores": ended[target]})
                if loud:
                    click.echo(f"{printable(target)}: finished before", err=True)
                continue
            begun = folder_of(target).is_dir()

            def report(record: dict[str, Any], seed: int = plan.seed) -> None:
                write({**record, "seed": seed} if several else record)
                if loud:
                    click.echo(f"seed {seed}  {said(record)}" if several else said(record), err=True)

            def each_step(target: Path = target) -> None:
                check()
                if several and is_first():
                    seeds.begin(target)
                if timed:
                    hint()

            result = train_one(
                out=target,
                options=plan,
                overwrite=session.overwrite or (several and session.resume and begun),
                report=report,
                each_step=each_step,
            )
            scores.append(seeds.scores_of(result))
            results.append(result.__dict__)
            if is_first() and not session.as_json:
                show(result)
    if not is_first():
        return
    spread = {name: seeds.spread([each[name] for each in scores]) for name in scores[0]}
    if session.as_json:
        whole = {"results": results, "spread": {n: {"mean": m, "std": d} for n, (m, d) in spread.items()}}
        echo_json(whole if several else results[0])
    elif several:
        for name, (mean, std) in spread.items():
            click.echo(f"{printable(name)}: {mean:.4g}, standard deviation {std:.2g} over {len(targets)} seeds")
