"""Comparisons in words and tables: the verdict, Markdown, JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from geofsrcnn.errors import printable
from geofsrcnn.evaluation.comparison import MEASURES, Comparison

NAMES = ("report.json", "report.md", "report.html")
"""The files of a report."""

SAME = 1e-3
"""Relative difference of two RMSE below which neither method is called better."""

MARK = "◆"
"""Stands before the networks in tables."""


class _Column(NamedTuple):
    """How a measure is shown: unit and decimals are the variable's where None; what is best, least, most, 0 or 1."""

    head: str
    unit: str | None
    decimals: int | None
    best: str


_COLUMNS = {
    "rmse": _Column("RMSE", None, None, "least"),
    "ratio": _Column("to best simple", "", 3, "least"),
    "mae": _Column("MAE", None, None, "least"),
    "bias": _Column("bias", None, None, "0"),
    "correlation": _Column("correlation", "", 4, "most"),
    "psnr": _Column("PSNR", "dB", 2, "most"),
    "ssim": _Column("SSIM", "", 4, "most"),
    "crps": _Column("CRPS", None, None, "least"),
    "spread_skill": _Column("spread / error", "", 2, "1"),
    "spectrum_ratio": _Column("fine power", "", 3, "1"),
    "p1": _Column("1st pct.", None, None, "0"),
    "p5": _Column("5th pct.", None, None, "0"),
    "p95": _Column("95th pct.", None, None, "0"),
    "p99": _Column("99th pct.", None, None, "0"),
    "wet_days": _Column("wet share", "", 4, "0"),
    "wet_intensity": _Column("wet mean", None, None, "0"),
    "shift_y": _Column("shift y", "cells", 2, "0"),
    "shift_x": _Column("shift x", "cells", 2, "0"),
    "conservation": _Column("block means", None, None, "least"),
}

_GROUPS = {
    "Skill": ("rmse", "ratio", "mae", "bias", "correlation", "psnr", "ssim", "crps", "spread_skill"),
    "Fine structure, extremes and position": tuple(list(_COLUMNS)[9:]),
}

_GLOSSARY = {**MEASURES, "ratio": "RMSE divided by the best simple method's; below 1 the method is better"}

_BADNESS: dict[str, Callable[[float], float]] = {
    "least": lambda value: value,
    "most": lambda value: -value,
    "0": abs,
    "1": lambda value: abs(math.log(value)) if value > 0 else math.inf,
}


def verdict(comparison: Comparison) -> str:
    """What is best, by how much, and what follows, in one or two sentences.

    Parameters
    ----------
    comparison : Comparison
        Of one model, or of several, such as trainings from several seeds.

    Returns
    -------
    str
        On one line; says plainly where the networks are no better than the best simple method.
    """
    c = comparison
    if not c.models:
        return f"No network was compared; {printable(c.best_simple)} has the smallest RMSE."
    if len(c.models) == len(c.scores):
        return f"No simple method was compared; {printable(c.best_model)} has the smallest RMSE."
    simple = printable(c.best_simple)
    ratios = _ratios(c)
    if not all(map(math.isfinite, ratios.values())):
        return f"Networks and simple methods cannot be compared: the RMSE of {simple} is 0, or an RMSE is no number."
    better = sum(r < 1 - SAME for r in ratios.values())
    worse = sum(r > 1 + SAME for r in ratios.values())
    count = len(ratios)
    if count == 1:
        who, be = "The network" if c.models[0] == "network" else f"The network {printable(c.models[0])}", "is"
        ours, theirs = (_number(c.scores[m]["rmse"], _places("rmse", c)) for m in (c.models[0], c.best_simple))
        much = f"{_share(ratios[c.models[0]])} ({ours} against {theirs}{' ' + printable(c.unit) if c.unit else ''})"
    else:
        who, be = "Both networks" if count == 2 else f"All {count} networks", "are"
        mean, spread = _mean_and_spread(ratios.values())
        much = f"{_share(mean)} on average (ratio {mean:.3f} ± {spread:.3f}, mean and standard deviation)"
    if better == count:
        return f"{who} {be} better than {simple}, the best simple method: RMSE {much}.{_but(c)}"
    advice = f"Take {simple}, or train on more."
    if worse == count:
        return f"{who} {be} worse than {simple}: RMSE {much}. {advice}"
    if better == 0:
        return f"{who} {be} no better than {simple}: RMSE {much}. {advice}"
    some = f"Only {better} of {count} networks {'is' if better == 1 else 'are'}"
    return f"{some} better than {simple}: RMSE {much}. {advice}"


BIASED = 0.02
"""How much more of its RMSE a network's bias is than that of the best simple method, to be named."""

FEWER = 0.01
"""How much further its share of wet days is from the truth's, to be named."""


def _but(c: Comparison) -> str:
    """What got worse all the same, as a sentence; of several networks by their means."""

    def both(measure: str) -> tuple[float, float]:
        ours = [c.scores[model].get(measure, 0.0) for model in c.models]
        return sum(ours) / len(ours), c.scores[c.best_simple].get(measure, 0.0)

    worse = []
    ours, theirs = both("bias")
    if abs(ours) - abs(theirs) > BIASED * both("rmse")[0]:
        places, unit = _places("bias", c), f" {printable(c.unit)}" if c.unit else ""
        numbers = [_number(value, places, signed=True) for value in (ours, theirs)]
        worse.append(f"the bias ({numbers[0]} against {numbers[1]}{unit})")
    ours, theirs = both("wet_days")
    if abs(ours) - abs(theirs) > FEWER:
        numbers = [_number(100 * value, 1, signed=True) for value in (ours, theirs)]
        worse.append(f"the share of wet days ({numbers[0]} against {numbers[1]} % of the values off)")
    return f" Worse: {' and '.join(worse)}." if worse else ""


def _share(ratio: float) -> str:
    return f"{100 * abs(ratio - 1):.1f} % {'below' if ratio < 1 else 'above'}"


def _ratios(c: Comparison) -> dict[str, float]:
    """Each model's RMSE to the best simple method's; NaN where that is 0; none where there is no simple method."""
    if len(c.models) == len(c.scores):
        return {}
    return {m: c.ratio(m) if c.scores[c.best_simple]["rmse"] else math.nan for m in c.models}


def _mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    found = np.array(list(values), dtype=np.float64)
    return float(found.mean()), float(found.std(ddof=1))


def _over_models(c: Comparison) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over the models, by measure and of the ratio; nothing for a single model."""
    if len(c.models) < 2:
        return {}
    scores = scores_of(c)
    shared = [m for m in _COLUMNS if all(m in scores[model] for model in c.models)]
    return {m: _mean_and_spread(scores[model][m] for model in c.models) for m in shared}


def scores_of(c: Comparison) -> dict[str, dict[str, float]]:
    """Scores with the ratio to the best simple method, by rising RMSE."""
    found = sorted(c.scores.items(), key=lambda each: (math.isnan(each[1]["rmse"]), each[1]["rmse"]))
    best = c.scores[c.best_simple]["rmse"] if len(c.scores) > len(c.models) else 0
    return {method: {**scores, **({"ratio": scores["rmse"] / best} if best else {})} for method, scores in found}


def _about(c: Comparison) -> str:
    """What was compared."""
    span = " to ".join(dict.fromkeys(filter(None, map(printable, c.span))))
    times = f"{c.times} time{'s' if c.times != 1 else ''}" + (f" ({span})" if span else "")
    return f"{c.factor} x {c.factor} fine cells to a coarse one; {times}; {c.cells:,} values counted"


def _heading(c: Comparison) -> str:
    return printable(c.name) + (f" ({printable(c.unit)})" if c.unit else "")


def _over_models_in_words(c: Comparison) -> str:
    found = _over_models(c)
    if not found:
        return ""
    texts = []
    for measure, (mean, spread) in found.items():
        column, unit, places = _COLUMNS[measure], _unit(measure, c), _places(measure, c)
        shown = f"{_number(mean, places)} ± {_number(spread, places)}"
        texts.append(f"{column.head} {shown}{' ' + unit if unit else ''}")
    return f"Mean over {len(c.models)} networks ± standard deviation: {', '.join(texts)}."


@dataclass(frozen=True)
class _Table:
    """Text, ready for Markdown or HTML; heads are (text, unit, explanation), cells (text, whether the best)."""

    caption: str
    corner: str
    heads: list[tuple[str, str, str]]
    rows: list[tuple[str, list[tuple[str, bool]]]]


def _tables(c: Comparison) -> list[_Table]:
    """Scores by method, in two groups, and RMSE of parts of the times."""
    scores = scores_of(c)
    names = [f"{MARK} {printable(m)}" if m in c.models else printable(m) for m in scores]
    tables = []
    for caption, group in _GROUPS.items():
        measures = [m for m in group if any(m in found for found in scores.values())]
        columns = [_column([found.get(m, math.nan) for found in scores.values()], m, c) for m in measures]
        heads = [(_COLUMNS[m].head, _unit(m, c), _GLOSSARY[m]) for m in measures]
        rows = [(name, [column[i] for column in columns]) for i, name in enumerate(names)]
        if columns:
            tables.append(_Table(caption, "method", heads, rows))
    for kind, parts in c.parts.items():
        rows = [
            (printable(part), _column([found.get(m, math.nan) for m in scores], "rmse", c))
            for part, found in parts.items()
        ]
        heads = [(name, "", "") for name in names]
        unit = f", {printable(c.unit)}" if c.unit else ""
        tables.append(_Table(f"RMSE by {printable(kind)}{unit}", printable(kind), heads, rows))
    return tables


def _column(values: Sequence[float], measure: str, c: Comparison) -> list[tuple[str, bool]]:
    """Cells; the best are marked unless all look the same."""
    signed = _COLUMNS[measure].best == "0"
    badness = _BADNESS[_COLUMNS[measure].best]
    texts = [_number(value, _places(measure, c), signed=signed) for value in values]
    found = [(badness(value), text) for value, text in zip(values, texts, strict=True) if math.isfinite(value)]
    best = min(found)[1] if len({text for _, text in found}) > 1 else None
    return [(text, text == best) for text in texts]


def _unit(measure: str, c: Comparison) -> str:
    unit = _COLUMNS[measure].unit
    return printable(c.unit) if unit is None else unit


def _places(measure: str, c: Comparison) -> int:
    """Decimals: in the variable's unit so many that the largest RMSE has four digits."""
    places = _COLUMNS[measure].decimals
    if places is not None:
        return places
    largest = max((s["rmse"] for s in c.scores.values() if math.isfinite(s["rmse"])), default=0.0)
    return max(0, 3 - math.floor(math.log10(largest))) if largest > 0 else 3


def _number(value: float, places: int, *, signed: bool = False) -> str:
    """Fixed decimals, or powers of ten where those would be many; zero has no sign."""
    if not math.isfinite(value):
        return "–"
    if places > 7:
        return f"{value:{'+' if signed and value else ''}.3e}"
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text if float(text) else text.lstrip("+-")


def to_json(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> dict[str, Any]:
    """All but maps and scatter as plain values, for ``json.dumps(..., allow_nan=False)``.

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
            **{key: getattr(c, key) for key in ("name", "unit", "factor", "times", "cells", "span", "models")},
            "verdict": verdict(c),
            "best_simple": c.best_simple if len(c.scores) > len(c.models) else None,
            "best_model": c.best_model if c.models else None,
            "to_best_simple": _ratios(c),
            "over_models": {m: {"mean": mean, "std": std} for m, (mean, std) in _over_models(c).items()},
            **{key: getattr(c, key) for key in ("scores", "parts", "wavelengths", "spectra")},
        }
        for c in comparisons
    ]
    plain: dict[str, Any] = _plain({"title": title, "facts": facts, "notes": notes, "variables": variables})
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_markdown(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """Words and tables; parameters as for `to_json`."""
    lines = [f"# {_markdown(title)}", ""]
    lines += [f"- **{_markdown(_heading(c))}**: {_markdown(verdict(c))}" for c in comparisons]
    rows = [f"| {_markdown(key)} | {_markdown(value)} |" for key, value in facts.items()]
    lines += ["", "| | |", "| --- | --- |", *rows] if rows else []
    lines += ["", *(f"- {_markdown(note)}" for note in notes)]
    for c in comparisons:
        lines += ["", f"## {_markdown(_heading(c))}", "", _markdown(_about(c))]
        for table in _tables(c):
            lines += ["", f"**{_markdown(table.caption)}**", "", *_markdown_table(table)]
        lines += ["", _markdown(_over_models_in_words(c))]
    lines += ["", "## What is measured", "", *(f"- {head}: {text}" for head, text in _glossary(comparisons))]
    return "\n".join(line for i, line in enumerate(lines) if line or lines[i - 1]) + "\n"


def _glossary(comparisons: Sequence[Comparison]) -> list[tuple[str, str]]:
    present = {measure for c in comparisons for found in scores_of(c).values() for measure in found}
    words = [(f"{MARK}", "a network; all other methods are simple ones")]
    return words + [(column.head, _GLOSSARY[m]) for m, column in _COLUMNS.items() if m in present]


def _markdown(text: str) -> str:
    """Text that Markdown and the HTML in it leave as it is."""
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", re.sub(r"([\\`*_\[\]|<>&~$#])", r"\\\1", printable(text)))


def _markdown_table(table: _Table) -> list[str]:
    heads = [table.corner, *(head + (f", {unit}" if unit else "") for head, unit, _ in table.heads)]
    rows = [[_markdown(name), *(f"**{text}**" if best else text for text, best in cells)] for name, cells in table.rows]
    rule = ["---", *("--:" for _ in table.heads)]
    return [f"| {' | '.join(row)} |" for row in ([_markdown(head) for head in heads], rule, *rows)]
