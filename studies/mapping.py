"""What the mapping does: the network with less and less of it.

Trains what ``results/mapping.json`` lacks; settings are in ``mapping.toml``.

    python studies/mapping.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import run_ablation
from protocol.page import comparison, gain

VARIANTS = (
    "whole",
    "one layer",
    "of single cells",
    "linear",
    "none",
    "all stages linear",
)


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    return {
        "table": comparison("mapping", results, VARIANTS, ("images", "grids")),
        "single_cells": gain("mapping", results, VARIANTS[0], "of single cells", "images", "inside"),
        "linear": gain("mapping", results, VARIANTS[0], "linear", "images", "inside"),
        "all_linear": gain("mapping", results, VARIANTS[0], "all stages linear", "images", "inside"),
        "all_linear_grids": gain("mapping", results, VARIANTS[0], "all stages linear", "grids", "inside"),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("mapping", __doc__, arguments)


if __name__ == "__main__":
    main()
