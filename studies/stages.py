"""Two stages of training, as in the paper, against one.

Trains what ``results/stages.json`` lacks; settings are in ``stages.toml``.

    python studies/stages.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import PHOTOGRAPHS, run_ablation
from protocol.runs import HERE, read_runs
from protocol.tables import comparison

VARIANTS = ("91 images", "91 images first, then all", "all from the start")


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    return {
        "table": comparison("stages", results, VARIANTS, ("images",)),
        "count": len(PHOTOGRAPHS),
        "steps": f"{read_runs(HERE / 'stages.toml')[0].settings.steps:,}",
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("stages", __doc__, arguments)


if __name__ == "__main__":
    main()
