"""Values beyond the edge: zeros, replicated or reflected ones, at each layer or once at the input.

Trains what ``results/padding.json`` lacks; settings are in ``padding.toml``.

    python studies/padding.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("padding", __doc__, arguments)


if __name__ == "__main__":
    main()
