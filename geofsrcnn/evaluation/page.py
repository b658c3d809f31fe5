"""Comparisons as one page, and as files beside each other."""

from __future__ import annotations

import base64
import html
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from geofsrcnn.errors import OutputError, printable
from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.figures import Picture, draw_figures, need_matplotlib
from geofsrcnn.evaluation.report import (
    MARK,
    NAMES,
    _about,
    _glossary,
    _heading,
    _over_models_in_words,
    _Table,
    _tables,
    to_json,
    to_markdown,
    verdict,
)
from geofsrcnn.files.staging import SUFFIX, check_target, staged

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
        parts += [
            f'<p class="soft">{_html(_over_models_in_words(c))}</p>',
            *map(_html_figure, draw_figures(c)),
            *others,
        ]
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


def _html_figure(picture: Picture) -> str:
    data = base64.b64encode(picture.png).decode()
    return (
        f'<h3>{_html(picture.title)}</h3><figure><div><img alt="{_html(picture.title)}" '
        f'src="data:image/png;base64,{data}"></div><figcaption>{_html(picture.caption)}</figcaption></figure>'
    )


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
