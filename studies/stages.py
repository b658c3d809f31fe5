"""Two stages of training, as in the paper, against one.

Trains what ``results/stages.json`` lacks; settings are in ``stages.toml``.

    python studies/stages.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("stages", __doc__, arguments)


if __name__ == "__main__":
    main()
