"""Better than 2016 at the same operations: what each change since then gives, one added to the other.

Trains what ``results/better.json`` lacks; settings are in ``better.toml``.

    python studies/better.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from protocol.ablation import compare, level, run_ablation
from protocol.runs import HERE, read_runs
from protocol.tables import seeds_of, show, table

STEPS = (
    "paper",
    "+ input carried at first",
    "+ rate 4e-3, falling",
    "+ average of weights",
    "+ cubic skip, cells repeated once",
    "+ unit-free, no biases",
    "+ Charbonnier loss",
    "+ mirrored patches",
    "+ learned skip",
    "+ branches",
)
"""Each adds to the one before."""

ASIDE = ("with block means kept", "with one slope a layer")
"""Each changes `+ learned skip`."""


OWN_FORM = "with Charbonnier loss, mirrored patches"
"""Changes `+ average of weights`, and nothing of the paper's graph."""

PLACES = ("inside", "rim")


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    seeds = seeds_of("better", STEPS[0])

    def differences(before: str, after: str) -> list[str]:
        return [show(compare(results, [before, after], seeds, place)[after], len(seeds)) for place in PLACES]

    first = [f"bicubic {level(results, 'bicubic images x3', STEPS[0], seeds, place):+.2f}" for place in PLACES]
    steps = [[after, *differences(before, after)] for before, after in pairwise(STEPS)]
    return {
        "steps": table(["added", *PLACES], [[STEPS[0], *first], *steps]),
        "aside": table(["changed", *PLACES], [[name, *differences("+ learned skip", name)] for name in ASIDE]),
        "own_form": differences("+ average of weights", OWN_FORM),
        "early": differences(STEPS[0], STEPS[3]),
        "late": differences(STEPS[3], STEPS[-1]),
        "count": f"{read_runs(HERE / 'better.toml')[0].settings.steps:,}",
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("better", __doc__, arguments)


if __name__ == "__main__":
    main()
