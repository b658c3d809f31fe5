"""The sensitive variables d, s and m: the paper's table, on photographs and on grids.

Trains what ``results/sensitivity.json`` lacks; settings are in ``sensitivity.toml``.

    python studies/sensitivity.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("sensitivity", __doc__, arguments)


if __name__ == "__main__":
    main()
