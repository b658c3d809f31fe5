"""The deconvolution's geometry at each factor: how large its output is, and where it lies.

    python studies/deconvolution.py

A kernel of ones is applied to a single cell: the middle of what comes out should be the middle of that cell's block.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from protocol.runs import HERE
from protocol.tables import table

CELLS = 11
"""Coarse cells of the field that is probed."""


def probe(factor: int, kernel: int, padding: int, output_padding: int = 0) -> dict[str, Any]:
    """Measure a transposed convolution.

    Parameters
    ----------
    factor : int
        Its stride.
    kernel, padding, output_padding : int
        As of `torch.nn.ConvTranspose2d`.

    Returns
    -------
    dict
        ``cells`` of the output for `CELLS` coarse ones, and its ``shift`` in fine cells.
    """
    x = torch.zeros(1, 1, CELLS, CELLS)
    x[0, 0, CELLS // 2, CELLS // 2] = 1
    ones = torch.ones(1, 1, kernel, kernel)
    out = torch.nn.functional.conv_transpose2d(x, ones, stride=factor, padding=padding, output_padding=output_padding)[
        0, 0
    ]
    middle = float((out.sum(0) * torch.arange(out.shape[1])).sum() / out.sum())
    expected = factor * (CELLS // 2) + (factor - 1) / 2
    return {
        "kernel": kernel,
        "padding": padding,
        "output_padding": output_padding,
        "cells": out.shape[0],
        "shift": middle - expected,
    }


def measure() -> dict[str, Any]:
    """Measure, for factors 2 to 8, the article's numbers, those that only mend the size, and the centred ones."""
    found = {}
    for factor in range(2, 9):
        taps = 5 if factor == 2 else 3
        printed = probe(factor, 9, 4)
        mended = probe(factor, 9, 4, factor * CELLS - printed["cells"])
        centred = probe(factor, taps * factor, (taps - 1) * factor // 2)
        found[f"x{factor}"] = {"printed": printed, "mended": mended, "centred": centred}
    return found


WORDS = {"printed": "as printed", "mended": "size mended", "centred": "centred"}


def facts(results: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what the study's page says."""
    rows = []
    for factor, forms in results.items():
        for name, word in WORDS.items():
            form = forms[name]
            numbers = f"{form['kernel']}, {form['padding']}, {form['output_padding']}"
            missing = int(factor[1:]) * CELLS - form["cells"]
            rows.append([factor, word, numbers, missing or "–", abs(form["shift"]) or "–"])
    header = ["factor", "form", "kernel, padding, output padding", "rows missing", "shift in fine cells"]
    return {"table": table(header, rows)}


def main(arguments: list[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results" / "deconvolution.json")
    options = parser.parse_args(arguments)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(measure(), indent=1) + "\n")


if __name__ == "__main__":
    main()
