"""Learning rates: the paper's 1e-3 and 1e-4, the article's 10e-3 and 10e-4, and others.

Trains what ``results/rates.json`` lacks; settings are in ``rates.toml``.

    python studies/rates.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("rates", __doc__, arguments)


if __name__ == "__main__":
    main()
