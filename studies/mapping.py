"""What the mapping does: the network with less and less of it.

Trains what ``results/mapping.json`` lacks; settings are in ``mapping.toml``.

    python studies/mapping.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("mapping", __doc__, arguments)


if __name__ == "__main__":
    main()
