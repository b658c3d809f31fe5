"""A PReLU after each mapping convolution, or one after the last: the article's first question.

python studies/activation.py DIR
"""

from __future__ import annotations

from protocol.ablation import run_ablation


def main(arguments: list[str] | None = None) -> None:
    """Run the study."""
    run_ablation("activation", __doc__, arguments)


if __name__ == "__main__":
    main()
