"""Comparisons in tables: for the terminal, as Markdown, as JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from geofsrcnn._types import Facts, plain_values
from geofsrcnn.errors import printable
from geofsrcnn.evaluation.bootstrap import INTERVAL
from geofsrcnn.evaluation.comparison import Comparison, Interval
from geofsrcnn.evaluation.measures import (
    BADNESS,
    GROUPS,
    INTERVAL_RANK,
    MEASURES,
    Measure,
    decimals,
    number_text,
    unit_text,
)
from geofsrcnn.evaluation.scores import mean_and_std
from geofsrcnn.evaluation.verdict import errors_in_words, overall, ratios_of, verdict

NAMES = ("report.json", "report.md", "report.html")
"""The files of a report."""

MARK = "◆"
"""Stands before the networks in tables."""


def _over_models(c: Comparison) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over the models, by measure; nothing where they are not trainings of one kind."""
    if not c.repeated:
        return {}
    scores = scores_of(c)
    shared = [m for m in MEASURES if all(m in scores[model] for model in c.models)]
    return {m: mean_and_std([scores[model][m] for model in c.models]) for m in shared}


def scores_of(c: Comparison) -> dict[str, dict[str, float]]:
    """Scores with the ratio to the best baseline, by rising RMSE."""
    if all("rmse" not in scores for scores in c.scores.values()):
        return c.scores
    found = sorted(c.scores.items(), key=lambda each: (math.isnan(each[1]["rmse"]), each[1]["rmse"]))
    best = c.scores[c.best_baseline]["rmse"] if c.baselines else 0
    return {method: {**scores, **({"ratio": scores["rmse"] / best} if best else {})} for method, scores in found}


def heading(c: Comparison) -> str:
    """Name and unit of what was compared."""
    return printable(c.name) + (f" ({printable(c.unit)})" if c.unit else "")


def basis_text(c: Comparison) -> str:
    """Say what the scores stand on."""
    span = " to ".join(dict.fromkeys(filter(None, map(printable, c.span))))
    times = f" at {c.times} time{'s' if c.times != 1 else ''}, {span}" if span else ""
    windows = f" of {c.windows} windows spread over the raster" if c.windows > 1 else ""
    return f"x{c.factor}, scored on {c.cells:,} fine cells{windows}{times}"


def over_models_text(c: Comparison) -> str:
    """Mean and standard deviation over several models in words; nothing of a single model."""
    found = _over_models(c)
    if not found:
        return ""
    texts = []
    for measure, (mean, deviation) in found.items():
        unit, places = unit_text(measure, c), decimals(measure, c)
        shown = f"{number_text(mean, places)} ± {number_text(deviation, places)}"
        texts.append(f"{MEASURES[measure].title} {shown}{' ' + unit if unit else ''}")
    return f"Mean over {len(c.models)} networks ± standard deviation: {', '.join(texts)}."


class Head(NamedTuple):
    """Head of a column: text, unit, explanation, and its rank where room is short (see `Measure`)."""

    text: str
    unit: str = ""
    tip: str = ""
    rank: int = 1


class Cell(NamedTuple):
    """Text, and whether it is the best of its column."""

    text: str
    best: bool = False


class Row(NamedTuple):
    """Row of a table; a network's is marked."""

    name: str
    cells: list[Cell]
    network: bool = False


@dataclass(frozen=True)
class Table:
    """Text, ready for the terminal, Markdown or HTML."""

    caption: str
    corner: str
    heads: list[Head]
    rows: list[Row]


def terminal_table(c: Comparison, *, few: bool) -> Table | None:
    """Table of the scores that a terminal shows; of `few` methods only, the models and the best baseline."""
    shown = [measure for measure in MEASURES.values() if measure.rank]
    return _score_table(c, "Scores", shown, (*c.models, c.best_baseline) if few else tuple(c.scores))


def _score_table(c: Comparison, caption: str, measures: Sequence[Measure], methods: Sequence[str]) -> Table | None:
    """Table of measures by method, by rising RMSE, with intervals; none where no method has any."""
    scores = {name: found for name, found in scores_of(c).items() if name in methods}
    heads, columns = [], []
    for measure in measures:
        key = measure.key
        if not any(key in found for found in scores.values()):
            continue
        unit = unit_text(key, c)
        heads.append(Head(measure.title, unit, measure.meaning, measure.rank))
        columns.append(_column([found.get(key, math.nan) for found in scores.values()], key, c))
        intervals = [c.intervals.get(method, {}).get(key) for method in scores]
        if any(intervals):
            heads.append(Head(INTERVAL, unit, f"of {measure.title}, by bootstrap", INTERVAL_RANK))
            columns.append([Cell(_interval_text(each, decimals(key, c))) for each in intervals])
    rows = [Row(_mark(name, c), list(cells), name in c.models) for name, *cells in zip(scores, *columns, strict=True)]
    return Table(caption, "method", heads, rows) if columns else None


def tables(c: Comparison) -> list[Table]:
    """Tables of scores by method, in groups, and of the RMSE of parts of the times."""
    methods = list(scores_of(c))
    by_group = (_score_table(c, caption, measures, methods) for caption, measures in GROUPS.items())
    found = [table for table in by_group if table is not None]
    if c.calibrations:
        found.append(_calibration_table(c))
    unit = f", {printable(c.unit)}" if c.unit else ""
    for kind, parts in c.parts.items():
        rows = [
            Row(printable(part), _column([own.get(m, math.nan) for m in methods], "rmse", c))
            for part, own in parts.items()
        ]
        heads = [Head(_mark(method, c)) for method in methods]
        found.append(Table(f"RMSE by {printable(kind)}{unit}", printable(kind), heads, rows))
    return found


def _expected_errors(c: Comparison) -> dict[str, Any]:
    """How well expected errors fit, where a network gives them, or distributions that they follow from."""
    found: dict[str, Mapping[str, Facts]] = {"expected_errors": c.calibrations, "reliability": c.reliability}
    return {key: {model: fit.to_dict() for model, fit in fits.items()} for key, fits in found.items() if fits}


_CALIBRATION_HEADS = (
    Head("expected / true", tip="mean expected divided by mean true absolute error; 1 is right, below 1 is too sure"),
    Head("in 50 % interval", "%", "cells whose error lies within ln 2 times the expected one; 50 is right"),
    Head("in 90 % interval", "%", "cells whose error lies within ln 10 times the expected one; 90 is right"),
    Head("rank correlation", tip="Spearman's, of expected and true errors; 1 is best"),
    Head("AUSE", tip="area between the sparsification curves of expected and true errors; 0 is best"),
)


def _calibration_table(c: Comparison) -> Table:
    """Table of how well expected errors fit."""
    rows = [
        Row(
            _mark(model, c),
            [
                Cell(text)
                for text in (
                    number_text(fit.ratio, 2),
                    number_text(100 * fit.within_half, 1),
                    number_text(100 * fit.within_ninety, 1),
                    number_text(fit.rank, 2),
                    number_text(fit.sparsification, 3),
                )
            ],
            network=True,
        )
        for model, fit in c.calibrations.items()
    ]
    return Table("Expected errors", "network", list(_CALIBRATION_HEADS), rows)


def _mark(method: str, c: Comparison) -> str:
    return f"{MARK} {printable(method)}" if method in c.models else printable(method)


def _interval_text(interval: Interval | None, places: int) -> str:
    return "" if interval is None else " to ".join(number_text(end, places) for end in interval)


def _column(values: Sequence[float], measure: str, c: Comparison) -> list[Cell]:
    """Cells; the best are marked unless all look the same."""
    signed = MEASURES[measure].best == "0"
    badness = BADNESS[MEASURES[measure].best]
    texts = [number_text(value, decimals(measure, c), signed=signed) for value in values]
    found = [(badness(value), text) for value, text in zip(values, texts, strict=True) if math.isfinite(value)]
    best = min(found)[1] if len({text for _, text in found}) > 1 else None
    return [Cell(text, text == best) for text in texts]


_KEYS = ("name", "file", "band", "unit", "factor", "times", "windows", "cells", "span", "models")


def to_json(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Give all but maps and scatter as plain values, for ``json.dumps(..., allow_nan=False)``.

    Parameters
    ----------
    comparisons : sequence of Comparison
        One a variable.
    title : str
        Heading of the report.
    facts : mapping of str to str
        What the report is about: model, files, version.
    notes : sequence of str
        Sentences for the reader.

    Returns
    -------
    dict
        What is no number is None.
    """
    variables = [
        {
            **{key: getattr(c, key) for key in _KEYS},
            "verdict": verdict(c),
            "best_baseline": c.best_baseline if c.baselines else None,
            "best_model": c.best_model if c.models else None,
            "ratios": ratios_of(c),
            "over_models": {m: {"mean": mean, "std": std} for m, (mean, std) in _over_models(c).items()},
            **_expected_errors(c),
            **{key: getattr(c, key) for key in ("scores", "intervals", "parts", "wavelengths", "spectra")},
        }
        for c in comparisons
    ]
    found = {"title": title, "facts": facts, "notes": notes, "overall": overall(comparisons), "variables": variables}
    plain: dict[str, Any] = plain_values(found, lambda _: None)
    return plain


def to_markdown(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """Give words and tables; parameters as for `to_json`."""
    lines = [f"# {_markdown(title)}", ""]
    for c in comparisons:
        said = " ".join([verdict(c), *errors_in_words(c)])
        lines.append(f"- **{_markdown(heading(c))}**: {_markdown(said)}")
    lines += [f"- {_markdown(words)}" for words in overall(comparisons)]
    rows = [f"| {_markdown(key)} | {_markdown(value)} |" for key, value in facts.items()]
    lines += ["", "| | |", "| --- | --- |", *rows] if rows else []
    lines += ["", *(f"- {_markdown(note)}" for note in notes)]
    for c in comparisons:
        lines += ["", f"## {_markdown(heading(c))}", "", _markdown(basis_text(c))]
        for table in tables(c):
            lines += ["", f"**{_markdown(table.caption)}**", "", *_markdown_table(table)]
        lines += ["", _markdown(over_models_text(c))]
    lines += ["", "## What is measured", "", *(f"- {head}: {text}" for head, text in glossary(comparisons))]
    return "\n".join(line for i, line in enumerate(lines) if line or lines[i - 1]) + "\n"


def glossary(comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    """Heads of the columns that are there, and what they mean."""
    present = {measure for c in comparisons for found in scores_of(c).values() for measure in found}
    words = [(f"{MARK}", "a network; all other methods are baselines")]
    return words + [(measure.title, measure.meaning) for key, measure in MEASURES.items() if key in present]


def _markdown(text: str) -> str:
    """Text that Markdown and the HTML in it leave as it is."""
    plain = re.sub(r"([\\`*_\[\]|<>&~$#]|^[-+=])", r"\\\1", printable(text))
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", plain)  # else a numbered list


def _markdown_table(table: Table) -> list[str]:
    heads = [table.corner, *(head.text + (f", {head.unit}" if head.unit else "") for head in table.heads)]
    rows = [
        [_markdown(row.name), *(f"**{cell.text}**" if cell.best else cell.text for cell in row.cells)]
        for row in table.rows
    ]
    rule = ["---", *("--:" for _ in table.heads)]
    return [f"| {' | '.join(row)} |" for row in ([_markdown(head) for head in heads], rule, *rows)]
