"""`geofsrcnn train` on pairs."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.params import given_names, parse_range, parse_weight, refuse_given
from geofsrcnn.cli.train_session import COMMON, OUTPUT, PAIRS, SCHEDULE, Session, each_seed
from geofsrcnn.errors import UsageError, printable

if TYPE_CHECKING:
    from geofsrcnn.pairs.train import PairResult


def run_train_pairs(coarse: tuple[str, ...], fine: tuple[str, ...], pairs: dict[str, Any], session: Session) -> None:
    """Train on pairs, once or several times, and print what came of it."""
    from geofsrcnn.files.paths import expanded
    from geofsrcnn.pairs.train import PairOptions, arguments_of, train_pairs
    from geofsrcnn.values.normalize import TRANSFORMS

    context = click.get_current_context()
    known = {*COMMON, *OUTPUT, *PAIRS, *SCHEDULE, "conserving"}
    refuse_given([str(p.name) for p in context.command.params if p.name not in known], "is not for pairs (--coarse)")
    if pairs["until"] is None:
        raise UsageError("pairs need --until YYYY-MM-DD: days before are fitted on, the others are scored on")
    schedule = PairOptions(**{name: context.params[name] for name in SCHEDULE if name in given_names()})
    limits = {name: parse_range(text) for name, text in pairs["limits"]}
    weights = {name: parse_weight(name, text) for name, text in pairs["weights"]}
    for name, transform in pairs["transforms"]:
        if transform not in TRANSFORMS:
            raise UsageError(f"--transform {printable(name)} must be one of {', '.join(TRANSFORMS)}")

    def said(record: dict[str, Any]) -> str:
        member = f"member {record['member']}  " if "member" in record else ""
        loss = f"{record['loss']:.4f}" if record["step"] else "     -"
        figures = f"loss {loss}  {record['score']:.4f} of the best simple method"
        return f"{member}step {record['step']:6d}  {figures}"

    given: dict[str, Any] = {
        "until": pairs["until"],
        "static": pairs["static"],
        "calendar": pairs["calendar"],
        "base": pairs["base"],
        "conserving": context.params["conserving"] if "conserving" in given_names() else "auto",
        "predictors": pairs["predictors"] or (),
        "targets": pairs["targets"] or (),
        "partners": dict(pairs["partners"]),
        "transforms": dict(pairs["transforms"]),
        "limits": limits,
        "weights": weights,
    }
    train_one = partial(
        train_pairs, coarse, fine, session.factor, **given, device=session.device, resume=session.resume
    )
    arguments = arguments_of(coarse, fine, **given)
    inputs = expanded([*coarse, *fine, *pairs["static"]])
    each_seed(session, schedule, inputs, train_one, said, _show_pairs, arguments)


def _show_pairs(result: PairResult) -> None:
    from geofsrcnn.training.seeds import spread

    matched = {"months": "months (matched by year and month)", "years": "years (matched by year)"}
    times = f"{result.times[0]} {matched.get(result.matched, 'times')}"
    click.echo(f"{printable(result.out)}: fitted on {times}, RMSE on the {result.times[1]} after them:")
    order = ("network", "climatology", "bilinear", "mean correction", "cell regression", "block means kept")
    methods = [name for name in order if any(name in scores for scores in result.scores.values())]
    click.echo("target".ljust(16) + "".join(f"{name:>18}" for name in methods))
    for name, scores in result.scores.items():
        click.echo(f"{printable(name):16}" + "".join(f"{scores.get(m, math.nan):18.4g}" for m in methods))
        best = min((value, method) for method, value in scores.items() if method != "network")
        share = scores["network"] / best[0]
        verdict = f"{100 * (1 - share):.1f} % below" if share < 1 else f"{100 * (share - 1):.1f} % above"
        click.echo(f"  the network is {verdict} the best simple method, {best[1]}")
        if len(alone := result.members[name]) > 1:
            mean, std = spread(alone)
            each = ", ".join(f"{value:.4g}" for value in alone)
            click.echo(f"  its members alone: {each}; mean {mean:.4g}, standard deviation {std:.2g}")
