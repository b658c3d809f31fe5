"""Write the pages of the studies, docs/studies/NAME.md, from their results and the texts in studies/texts.

python studies/make_pages.py
"""

from __future__ import annotations

import importlib

from protocol.runs import HERE
from protocol.tables import DOCS, load_complete, render

STUDIES = sorted(path.stem for path in (HERE / "texts").glob("*.md"))
"""Studies that have a page."""


def make_page(study: str) -> str:
    """Make a study's page."""
    results = load_complete(study)
    if results is None:
        raise SystemExit(f"results of {study} are missing: run python studies/{study}.py DIR")
    return render(study, importlib.import_module(study).facts(results))


def main() -> None:
    """Write them all."""
    DOCS.mkdir(parents=True, exist_ok=True)
    for study in STUDIES:
        (DOCS / f"{study}.md").write_text(make_page(study), encoding="utf-8")


if __name__ == "__main__":
    main()
