"""The sensitive variables d, s and m: the paper's table, on photographs and on grids.

Trains what ``results/sensitivity.json`` lacks; settings are in ``sensitivity.toml``.

    python studies/sensitivity.py DIR
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from geofsrcnn.networks.config import FSRCNNConfig
from protocol.ablation import compare, level, run_ablation
from protocol.runs import HERE, read_runs
from protocol.tables import seeds_of, show, table
from protocol.training import PAPER_FORM

Sizes = tuple[int, int, int]

DOMAINS = ("images", "grids")

PUBLISHED: dict[Sizes, float] = {
    (48, 12, 2): 32.87,
    (48, 12, 3): 32.88,
    (48, 12, 4): 33.08,
    (56, 12, 2): 33.00,
    (56, 12, 3): 32.97,
    (56, 12, 4): 33.16,
    (48, 16, 2): 32.95,
    (48, 16, 3): 33.10,
    (48, 16, 4): 33.18,
    (56, 16, 2): 33.01,
    (56, 16, 3): 33.12,
    (56, 16, 4): 33.17,
}
"""PSNR in dB on Set5 at x3 by d, s, m (Dong, Loy, Tang 2016, table 2)."""

CHANGES = {"d": (48, 56), "s": (12, 16), "m": (2, 4)}
"""Changes of one variable whose effects the page tells."""


def name(sizes: Sizes, domain: str) -> str:
    """Name a run, without its seed."""
    return f"{', '.join(map(str, sizes))} {domain}"


def changes(variable: str) -> list[tuple[Sizes, Sizes]]:
    """List the settings before and after the change of one variable, the others as they are."""
    before, after = CHANGES[variable]
    place = "dsm".index(variable)
    found = [(sizes, (*sizes[:place], after, *sizes[place + 1 :])) for sizes in PUBLISHED if sizes[place] == before]
    return [(one, other) for one, other in found if other in PUBLISHED]  # type: ignore[misc]  # three of them


def published_effect(variable: str) -> str:
    """Write the same difference after the paper's table."""
    return f"{np.mean([PUBLISHED[other] - PUBLISHED[one] for one, other in changes(variable)]):+.2f}"


def effect(results: Mapping[str, Any], variable: str, domain: str) -> str:
    """Write the mean difference in dB that a change of one variable makes, over seeds and settings of the others."""
    gains: list[float] = []
    for pair in changes(variable):
        names = [name(sizes, domain) for sizes in pair]
        gains += [compare(results, names, [seed])[names[1]][0] for seed in seeds_of("sensitivity", names[0])]
    return show((float(np.mean(gains)), float(np.std(gains, ddof=1)) / math.sqrt(len(gains))), len(gains))


def row(results: Mapping[str, Any], sizes: Sizes) -> list[object]:
    """One network: its size, the paper's figure, and gains over bicubic interpolation here."""
    d, s, m = sizes
    operations = FSRCNNConfig(**{**PAPER_FORM, "d": d, "s": s, "m": m}).operations
    gains = [
        level(results, f"bicubic {domain} x3", name(sizes, domain), seeds_of("sensitivity", name(sizes, domain)))
        for domain in DOMAINS
    ]
    return [f"{d}, {s}, {m}", f"{operations:,}", f"{PUBLISHED[sizes]:.2f}", *(f"{gain:+.2f}" for gain in gains)]


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    header = ["d, s, m", "multiply-adds", "paper, Set5", *(f"{domain}, inside" for domain in DOMAINS)]
    effects = {(variable, domain): effect(results, variable, domain) for variable, domain in product(CHANGES, DOMAINS)}
    return {
        "table": table(header, [row(results, sizes) for sizes in PUBLISHED]),
        "effects": table(
            ["change", "paper, Set5", *DOMAINS],
            [
                [
                    f"{variable} from {before} to {after}",
                    published_effect(variable),
                    *(effects[variable, domain] for domain in DOMAINS),
                ]
                for variable, (before, after) in CHANGES.items()
            ],
        ),
        **{f"{variable}_{domain}": found for (variable, domain), found in effects.items()},
        "steps": f"{read_runs(HERE / 'sensitivity.toml')[0].settings.steps:,}",
        "seeds": len(seeds_of("sensitivity", name((48, 12, 2), "images"))),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("sensitivity", __doc__, arguments)


if __name__ == "__main__":
    main()
