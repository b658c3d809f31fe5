"""Folders that tests read from."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The project's."""

SHARED = ROOT.parent / "shared"
"""Data beside the project; absent where only the project is."""
