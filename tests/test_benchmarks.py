"""Benchmarks of speed run, in miniature: they use the engine's parts, which change."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

FIGURE = r"\d+\.\d+ s \("


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Benchmarks set torch's threads to the cores that they see, here one; others find them as they were."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def load(name):
    """A benchmark as a module; nothing runs yet."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(path.stem for path in BENCHMARKS.glob("*.py") if path.stem != "noise"))
def test_what_it_imports_is_there(name, monkeypatch):
    """Every benchmark finds the parts of the package that it measures."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    assert callable(load(name).main)


@pytest.mark.parametrize(
    ("name", "arguments", "shown"),
    [
        ("speed", "--size 96 --rounds 1", rf"engine: {FIGURE}.*file: {FIGURE}"),
        ("training", "--patch 8 --batch-size 2 --rounds 1 --threads 1", r"a step: \d+\.\d ms"),
        (
            "gpu",
            "--device cpu --size 96 --tiles 64 96 --rounds 1 --patch 8 --batch 2",
            rf"small x2: tile 64 0.0e\+00, tile 96 0.0e\+00.*arrays.*{FIGURE}.*files.*{FIGURE}.*bfloat16: \d",
        ),
    ],
)
def test_it_runs(name, arguments, shown, capsys, monkeypatch):
    """Figures of all its parts come out."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [name, *arguments.split()])
    module = load(name)
    for size in ("ARTICLE_SIZE", "MATRIX"):
        monkeypatch.setattr(module, size, 96, raising=False)
    module.main()
    assert re.search(shown, capsys.readouterr().out, re.DOTALL)
