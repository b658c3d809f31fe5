"""A report of comparisons, in words, tables and pictures: JSON, Markdown and one HTML page that stands alone."""

from __future__ import annotations

import base64
import html
import io
import json
import math
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geofsrcnn.comparison import MEASURES, Comparison
from geofsrcnn.errors import OutputError, not_installed, printable
from geofsrcnn.files import SUFFIX, check_target, staged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

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


# ------------------------------------------------------------------------------------------------------------ words


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
        return f"{who} {be} better than {simple}, the best simple method: RMSE {much}."
    advice = f"Take {simple}, or train on more."
    if worse == count:
        return f"{who} {be} worse than {simple}: RMSE {much}. {advice}"
    if better == 0:
        return f"{who} {be} no better than {simple}: RMSE {much}. {advice}"
    some = f"Only {better} of {count} networks {'is' if better == 1 else 'are'}"
    return f"{some} better than {simple}: RMSE {much}. {advice}"


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
    scores = _scores(c)
    shared = [m for m in _COLUMNS if all(m in scores[model] for model in c.models)]
    return {m: _mean_and_spread(scores[model][m] for model in c.models) for m in shared}


def _scores(c: Comparison) -> dict[str, dict[str, float]]:
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


# ----------------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class _Table:
    """Text, ready for Markdown or HTML; heads are (text, unit, explanation), cells (text, whether the best)."""

    caption: str
    corner: str
    heads: list[tuple[str, str, str]]
    rows: list[tuple[str, list[tuple[str, bool]]]]


def _tables(c: Comparison) -> list[_Table]:
    """Scores by method, in two groups, and RMSE of parts of the times."""
    scores = _scores(c)
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


# ------------------------------------------------------------------------------------------------- JSON and Markdown


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
    present = {measure for c in comparisons for found in _scores(c).values() for measure in found}
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


# ------------------------------------------------------------------------------------------------------------- HTML

_CSS = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5a646e; --line: #d7dce0; --back: #fff; --tint: #f2f5f7; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8eb; --soft: #a3adb6; --line: #3d464e; --back: #171b1f; --tint: #22282d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1080px; color: var(--ink); background: var(--back);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1.2rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .2rem; padding-top: 1rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.8rem 0 .5rem; }
h1, h2, h3, p, li, td, th { overflow-wrap: break-word; }
p { margin: .4rem 0; }
.facts { margin: 1.5rem 0 1rem; }
.soft, figcaption, small { color: var(--soft); }
.soft, figcaption { font-size: .88rem; }
.words { margin: 0 0 1.5rem; padding: .8rem 1.1rem; background: var(--tint); border-left: 4px solid var(--soft);
  border-radius: 3px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: bottom; }
th { font-weight: 600; }
th small { display: block; font-weight: 400; }
th[title] { cursor: help; }
tbody th, th:first-child { text-align: left; font-weight: 400; min-width: 8rem; max-width: 20rem; }
tbody tr.network { background: var(--tint); }
td b { font-weight: 700; }
.facts td { text-align: left; overflow-wrap: anywhere; }
.facts th { color: var(--soft); vertical-align: top; }
figure { margin: 0; }
figure div { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 4px; padding: .6rem; }
img { display: block; max-width: 100%; min-width: 620px; height: auto; margin: 0 auto; }
figcaption { margin-top: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; font-size: .88rem; }
dt { font-weight: 600; }
dd { margin: 0; }
@media print {
  @page { margin: 14mm; }
  :root { --ink: #000; --soft: #444; --line: #bbb; --back: #fff; --tint: #f2f5f7; }
  body { max-width: none; padding: 0; font-size: 10.5pt; print-color-adjust: exact; }
  .wide, figure div { overflow: visible; }
  img { min-width: 0; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  figure, table, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(
    comparisons: Sequence[Comparison], *, title: str, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> str:
    """One page that needs nothing else: words, tables and pictures; parameters as for `to_json`.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    need_matplotlib()
    parts = [f"<h1>{_html(title)}</h1>", '<div class="words">']
    parts += [f"<p><b>{_html(_heading(c))}.</b> {_html(verdict(c))}</p>" for c in comparisons]
    rows = (f"<tr><th>{_html(key)}</th><td>{_html(value)}</td></tr>" for key, value in facts.items())
    parts += ["</div>", f'<table class="facts"><tbody>{"".join(rows)}</tbody></table>' if facts else ""]
    parts += [f"<p>{_html(note)}</p>" for note in notes]
    for c in comparisons:
        scores, *others = map(_html_table, _tables(c))
        parts += [f'<section><h2>{_html(_heading(c))}</h2><p class="soft">{_html(_about(c))}</p>', scores]
        parts += [f'<p class="soft">{_html(_over_models_in_words(c))}</p>', *map(_html_figure, _figures(c)), *others]
        parts += ["</section>"]
    words = "".join(f"<dt>{_html(head)}</dt><dd>{_html(text)}</dd>" for head, text in _glossary(comparisons))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_html(title)}</title><style>{_CSS}</style></head>\n<body>\n"
        + "\n".join(parts)
        + f"\n<section><h2>What is measured</h2><dl>{words}</dl></section>\n</body></html>\n"
    )


def _html(text: str) -> str:
    return html.escape(printable(text))


def _html_table(table: _Table) -> str:
    heads = [f"<th>{_html(table.corner)}</th>"]
    for head, unit, tip in table.heads:
        about = f' title="{_html(tip)}"' if tip else ""
        heads.append(f"<th{about}>{_html(head)}{f'<small>{_html(unit)}</small>' if unit else ''}</th>")
    rows = []
    for name, cells in table.rows:
        mark = ' class="network"' if name.startswith(MARK) else ""
        found = "".join(f"<td>{f'<b>{text}</b>' if best else text}</td>" for text, best in cells)
        rows.append(f"<tr{mark}><th>{_html(name)}</th>{found}</tr>")
    return (
        f'<h3>{_html(table.caption)}</h3><div class="wide"><table><thead><tr>{"".join(heads)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _html_figure(picture: _Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<h3>{_html(picture.title)}</h3><figure><div><img alt="{_html(picture.title)}" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{_html(picture.caption)}</figcaption></figure>'
    )


# --------------------------------------------------------------------------------------------------------- pictures

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
}
_MODEL, _SIMPLE, _MISSING = "#d55e00", "#0072b2", "#cccccc"
_OTHERS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c564b")
_WIDTH = 10.0


@dataclass(frozen=True)
class _Picture:
    title: str
    caption: str
    png: bytes


def need_matplotlib() -> None:
    """Refuse in one line where the extra that draws is not installed.

    Raises
    ------
    UsageError
        With what to install.
    """
    try:
        import matplotlib.style
    except ImportError as error:
        raise not_installed(error, "report") from None
    assert matplotlib.style is not None


def _figures(c: Comparison) -> list[_Picture]:
    """What there is to see."""
    from matplotlib import style

    drawings = (_draw_maps, _draw_spectra, _draw_scatter)
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts that the font lacks
        return [picture for draw in drawings if (picture := draw(c)) is not None]


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()


def _text(name: str, longest: int = 34) -> str:
    """A name that fits into a picture."""
    shown = printable(name)
    return shown if len(shown) <= longest else f"{shown[: longest - 12]}…{shown[-11:]}"


def _pair(c: Comparison, among: Iterable[str]) -> list[str]:
    """The best simple method and the best network of those that are there."""
    found = [m for m in among if m in c.scores]
    kinds = ([m for m in found if m not in c.models], [m for m in found if m in c.models])
    return [min(kind, key=lambda method: c.scores[method]["rmse"]) for kind in kinds if kind]


def _draw_maps(c: Comparison) -> _Picture | None:
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.figure import Figure

    maps, unit = c.maps, f" ({_text(c.unit)})" if c.unit else ""
    shown = _pair(c, maps.fine)
    seen = maps.truth[np.isfinite(maps.truth)]
    if not seen.size:
        return None
    rain = any("wet_days" in found for found in c.scores.values())
    low, high = np.quantile(seen, (0.005, 0.995))
    high = high if high > low else low + 1
    values: dict[str, Any] = {"norm": Normalize(low, high), "cmap": "viridis"}
    if rain:
        values = {"norm": PowerNorm(0.5, 0, high if high > 0 else 1), "cmap": "Blues"}
    errors = {m: maps.fine[m] - maps.truth for m in shown}
    limit = _extent(errors.values())
    signed = {"norm": Normalize(-limit, limit), "cmap": "RdBu_r"}
    members = c.models[0] if maps.spread is not None and c.models and c.models[0] in maps.fine else None

    y, x = _edges(maps.y), _edges(maps.x)
    columns = 1 + len(shown) + (members is not None)
    tall = min(1.3, abs(y[-1] - y[0]) / abs(x[-1] - x[0]))
    figure = Figure((_WIDTH, 2 * (_WIDTH - 1.2) / max(columns, 3) * tall + 1.0), layout="compressed")
    axes = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    above = _draw_map(axes[0, 0], y, x, maps.truth, "truth", values)
    rows, cols = (_coarse_edges(e, n, c.factor) for e, n in zip((y, x), maps.coarse.shape, strict=True))
    _draw_map(axes[1, 0], rows, cols, maps.coarse, "coarse (what is given)", values)
    for i, method in enumerate(shown, 1):
        _draw_map(axes[0, i], y, x, maps.fine[method], _marked(method, c), values)
        below = _draw_map(axes[1, i], y, x, errors[method], "its error", signed)
    _draw_scale(above, axes[0, : len(shown) + 1], f"value{unit}", extend="max" if rain else "both")
    if shown:
        _draw_scale(below, axes[1, : len(shown) + 1], f"error{unit}", extend="both")
    if members is not None:
        assert maps.spread is not None
        size = np.abs(maps.fine[members] - maps.truth)
        width = {"norm": Normalize(0, _extent([maps.spread, size])), "cmap": "magma_r"}
        drawn = _draw_map(axes[0, -1], y, x, maps.spread, "spread of members", width)
        _draw_map(axes[1, -1], y, x, size, f"size of error, {_text(members, 20)}", width)
        _draw_scale(drawn, axes[:, -1], f"spread, size of error{unit}", extend="max")
    axes[0, 0].set(xlim=sorted((x[0], x[-1])), ylim=sorted((y[0], y[-1])))
    when = f"{printable(maps.when)}. " if maps.when else ""
    caption = (
        "Truth, coarse field and estimates share one scale, errors (estimate less truth) another; grey is missing."
    )
    return _Picture("Maps", when + caption, _png(figure))


def _marked(method: str, c: Comparison) -> str:
    return f"{MARK} {_text(method)}" if method in c.models else _text(method)


def _extent(fields: Iterable[Array]) -> float:
    """What 99 % of the sizes stay below; 1 if all are 0 or missing."""
    sizes = np.abs(np.concatenate([field[np.isfinite(field)] for field in fields] or [np.zeros(0)]))
    return float(np.quantile(sizes, 0.99)) or 1.0 if sizes.size else 1.0


def _edges(centres: Array) -> Array:
    """Borders between cells, and outer ones as far from the outer centres."""
    if len(centres) == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _coarse_edges(edges: Array, count: int, factor: int) -> Array:
    """Every so many of the fine borders, and beyond them in steps of the last fine cell."""
    missing = max(0, count * factor + 1 - len(edges))
    beyond = edges[-1] + np.arange(1, missing + 1) * (edges[-1] - edges[-2])
    return np.concatenate([edges, beyond])[: count * factor + 1 : factor]


def _draw_map(axes: Axes, y: Array, x: Array, field: Array, title: str, look: dict[str, Any]) -> Any:
    axes.set_facecolor(_MISSING)
    axes.set_aspect("equal")
    axes.set_title(title, parse_math=False)
    axes.locator_params(nbins=5)
    return axes.pcolormesh(x, y, np.ma.masked_invalid(field), **look)


def _draw_scale(drawn: Any, axes: Any, label: str, extend: str = "neither") -> None:
    bar = drawn.figure.colorbar(drawn, ax=axes, extend=extend)
    bar.set_label(label, parse_math=False)


def _draw_spectra(c: Comparison) -> _Picture | None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    truth = c.spectra.get("truth")
    if truth is None or np.count_nonzero(np.asarray(truth) > 0) < 2:
        return None
    order = [m for m in _scores(c) if m in c.spectra]
    best = _pair(c, order)
    colours = dict(zip((m for m in order if m not in c.models and m not in best), _OTHERS * len(order), strict=False))
    figure = Figure((_WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = []
    for method in reversed(order):
        network, thick = method in c.models, method in best
        look: dict[str, Any] = {"color": _MODEL if network else colours.get(method, _SIMPLE)}
        look |= {"linewidth": 2.0 if thick else 1.1, "alpha": 0.45 if network and not thick else 1}
        look |= {"zorder": 2 + thick * (1 + network)}
        power = _positive(c.spectra[method])
        lines.append(left.plot(c.wavelengths, power, **look)[0])
        right.plot(c.wavelengths, power / _positive(truth), **look)
    lines.append(left.plot(c.wavelengths, _positive(truth), color="black", linewidth=3.2, zorder=2.5)[0])
    right.axhline(1, color="black", linewidth=3.2, zorder=2.5)
    for axes, title in ((left, "power"), (right, "power divided by the truth's")):
        axes.set(xscale="log", yscale="log", title=title, xlabel="wavelength (fine cells)")
        axes.set_xlim(np.max(c.wavelengths), np.min(c.wavelengths))
        axes.axvline(2 * c.factor, color="#555555", linewidth=0.9, linestyle="--")
        axes.xaxis.set_major_locator(LogLocator(2))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    legend = figure.legend(lines[::-1], ["x"] * len(lines), loc="outside lower center", ncols=4)
    for text, name in zip(legend.get_texts(), ["truth", *order], strict=True):
        text.set_parse_math(False)
        text.set_text(_marked(name, c))
    caption = (
        f"Radially averaged, over all times; finer to the right. Dashed: two coarse cells ({2 * c.factor} fine cells), "
        "the shortest wavelength that the coarse field can hold."
    )
    return _Picture("Spectra", caption, _png(figure))


def _positive(power: Array) -> Array:
    return np.where(np.asarray(power) > 0, power, np.nan)


def _draw_scatter(c: Comparison) -> _Picture | None:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    shown = [m for m in _pair(c, c.scatter) if c.scatter[m].any()]
    if not shown:
        return None
    unit = f" ({_text(c.unit)})" if c.unit else ""
    ends = (c.edges[0], c.edges[-1])
    most = max(c.scatter[m].max() for m in shown)
    figure = Figure((_WIDTH, 4.6), layout="compressed")
    grid = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, method in zip(grid, shown, strict=True):
        counts = np.ma.masked_equal(c.scatter[method].T, 0)
        drawn = axes.pcolormesh(c.edges, c.edges, counts, norm=LogNorm(1, max(2, most)), cmap="viridis_r")
        axes.plot(ends, ends, color="black", linewidth=0.9)
        axes.set(aspect="equal", xlabel=f"truth{unit}")
        axes.set_title(_marked(method, c), parse_math=False)
        axes.xaxis.label.set_parse_math(False)
    grid[0].set_ylabel(f"estimate{unit}", parse_math=False)
    _draw_scale(drawn, grid, "values")
    caption = "Number of values in each bin, on a logarithmic scale; line: 1 to 1."
    return _Picture("Estimate against truth", caption, _png(figure))


# ------------------------------------------------------------------------------------------------------------ files


def check_report(folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Refuse a folder that cannot become the report's, or a report that cannot be drawn, before any work is done.

    Parameters
    ----------
    folder : str or path
        Of the report; links are followed.
    overwrite : bool
        Whether a report there may be replaced.

    Returns
    -------
    Path
        The folder, without links.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    OutputError
        If the folder exists without `overwrite`, or holds anything but a report.
    """
    need_matplotlib()
    final = Path(os.path.realpath(folder))
    try:
        foreign = sorted(p for p in final.iterdir() if p.name not in NAMES and p.suffix != SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        check_target(final, overwrite=False, folder=True)
        return final
    except OSError as error:
        raise OutputError(f"cannot look into {printable(final)} ({error.strerror}): check its permissions") from None
    if not overwrite:
        raise OutputError(f"output exists: {printable(final)}: use --overwrite")
    if foreign:
        raise OutputError(f"output folder holds more than a report: {printable(foreign[0])}: give another name")
    return final


def write_report(
    folder: str | os.PathLike[str],
    comparisons: Sequence[Comparison],
    *,
    title: str,
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write ``report.json``, ``report.md`` and ``report.html`` into a folder that appears whole or not at all.

    Parameters
    ----------
    folder : str or path
        To be made; its parent must be there.
    comparisons, title, facts, notes
        As for `to_json`.
    overwrite : bool
        Replace the files of a report that is there; a folder with any other file is refused.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    OutputError
        If the folder is refused (see `check_report`), or cannot be written.

    Notes
    -----
    Files of an old report are replaced once all three new ones are written, each by one rename.
    """
    final = check_report(folder, overwrite=overwrite)
    said: dict[str, Any] = {"title": title, "facts": facts, "notes": notes}
    texts = (
        json.dumps(to_json(comparisons, **said), allow_nan=False, indent=1) + "\n",
        to_markdown(comparisons, **said),
        to_html(comparisons, **said),
    )
    with ExitStack() as stack:
        if final.is_dir():
            targets = [stack.enter_context(staged(final / name, overwrite=True)) for name in NAMES]
        else:
            staging = stack.enter_context(staged(final, folder=True))
            staging.mkdir()
            targets = [staging / name for name in NAMES]
        for target, text in zip(targets, texts, strict=True):
            target.write_text(text, encoding="utf-8")
    return [final / name for name in NAMES]
