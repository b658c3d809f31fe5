"""What the mapping does: the network with less and less of it.

Trains what ``results/mapping.json`` lacks; settings are in ``mapping.toml``.

    python studies/mapping.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import level, run_ablation
from protocol.tables import comparison, gain, seeds_of

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
    seeds = seeds_of("mapping", f"{VARIANTS[0]} images")
    whole, none = (level(results, "bicubic images x3", f"{name} images", seeds) for name in (VARIANTS[0], "none"))
    return {
        "whole": f"{whole:.2f}",
        "kept": f"{none:.2f}",
        "without": gain("mapping", results, VARIANTS[0], "none", "images", "inside"),
        "one_layer": gain("mapping", results, "none", "one layer", "images", "inside"),
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
