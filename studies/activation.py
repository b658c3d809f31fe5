"""A PReLU after each mapping convolution, or one after the last: the article's first question.

Trains what ``results/activation.json`` lacks; settings are in ``activation.toml``.

    python studies/activation.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import run_ablation
from protocol.tables import comparison

DOMAINS = ("images", "grids")


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    return {
        "paper": comparison("activation", results, ["after each", "after the last"], DOMAINS),
        "article": comparison("activation", results, ["after each, article", "after the last, article"], DOMAINS),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("activation", __doc__, arguments)


if __name__ == "__main__":
    main()
