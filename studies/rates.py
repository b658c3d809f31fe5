"""Learning rates: the paper's 1e-3 and 1e-4, the article's 10e-3 and 10e-4, and others.

Trains what ``results/rates.json`` lacks; settings are in ``rates.toml``.

    python studies/rates.py DIR
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocol.ablation import compare, run_ablation
from protocol.runs import HERE, read_runs
from protocol.tables import comparison, seeds_of, show

VARIANTS = (
    "1e-3 and 1e-4",
    "10e-3 and 10e-4",
    "1e-3 everywhere",
    "4e-3 and 4e-4, falling",
    "1e-3 and 1e-4, carrying",
    "10e-3 and 10e-4, carrying",
    "4e-3 and 4e-4, falling, carrying",
)


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    seeds = seeds_of("rates", VARIANTS[0])

    def gain(before: str, after: str) -> str:
        return show(compare(results, [before, after], seeds)[after], len(seeds))

    def spread(rates: str) -> str:
        """Smallest and largest standard error of two first weights, against the paper's rates and weights."""
        names = [rates, f"{rates}, carrying"]
        errors = sorted(compare(results, [VARIANTS[0], name], seeds)[name][1] for name in names)
        return f"{errors[0]:.2f} to {errors[1]:.2f}"

    return {
        "table": comparison("rates", results, VARIANTS, ("images",)),
        "steps": f"{read_runs(HERE / 'rates.toml')[0].settings.steps:,}",
        "printed": gain("1e-3 and 1e-4", "10e-3 and 10e-4"),
        "spread": spread("10e-3 and 10e-4"),
        "calm": spread("4e-3 and 4e-4, falling"),
        "falling": gain("1e-3 and 1e-4", "4e-3 and 4e-4, falling"),
        "everywhere": gain("1e-3 and 1e-4", "1e-3 everywhere"),
        "printed_carrying": gain("1e-3 and 1e-4, carrying", "10e-3 and 10e-4, carrying"),
        "falling_carrying": gain("1e-3 and 1e-4, carrying", "4e-3 and 4e-4, falling, carrying"),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("rates", __doc__, arguments)


if __name__ == "__main__":
    main()
