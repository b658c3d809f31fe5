"""Values beyond the edge: zeros, replicated or reflected ones, at each layer or once at the input.

Trains what ``results/padding.json`` lacks; settings are in ``padding.toml``.

    python studies/padding.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import run_ablation
from protocol.tables import comparison, gain

VARIANTS = (
    "zeros at each layer",
    "replicate at each layer",
    "reflect at each layer",
    "zeros once",
    "replicate once",
    "reflect once",
)


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    return {
        "table": comparison("padding", results, VARIANTS, ("images", "grids")),
        "once": gain("padding", results, "replicate at each layer", "replicate once", "grids", "rim"),
        "zeros_once_images": gain("padding", results, VARIANTS[0], "zeros once", "images", "rim"),
        "replicate_grids": gain("padding", results, VARIANTS[0], "replicate at each layer", "grids", "rim"),
        "zeros_once_grids": gain("padding", results, VARIANTS[0], "zeros once", "grids", "rim"),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("padding", __doc__, arguments)


if __name__ == "__main__":
    main()
