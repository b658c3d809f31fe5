"""The Markdown pages of the project, read into blocks, headings, links and options."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geofsrcnn.cli.main import cli
from tests.support.places import ROOT

ALL = {
    "upscale",
    "sharpen",
    "batch",
    "info",
    "models",
    "train",
    "train-pairs",
    "train-error",
    "evaluate",
    "evaluate-pairs",
    "export",
    "convert",
}

PAGES: dict[str, set[str]] = {
    "README.md": ALL,
    "CODE_OF_CONDUCT.md": set(),
    "CONTRIBUTING.md": ALL,
    "SECURITY.md": {"upscale"},
    "docs/archives.md": {"batch", "upscale"},
    "docs/api.md": set(),
    "docs/command-line.md": ALL,
    "docs/commands.md": ALL,
    "docs/conventions.md": {"upscale"},
    "docs/evaluation.md": {"evaluate", "evaluate-pairs", "upscale", "train-pairs"},
    "docs/expected-error.md": {"upscale", "evaluate", "info", "train-error"},
    "docs/export.md": {"convert", "export"},
    "docs/formats.md": {"upscale", "info"},
    "docs/glossary.md": ALL,
    "docs/howto/archive.md": {"batch"},
    "docs/howto/dem.md": {"upscale", "evaluate", "info"},
    "docs/howto/pairs.md": {"train-pairs", "evaluate-pairs", "upscale"},
    "docs/howto/reanalysis.md": {"upscale", "info"},
    "docs/howto/satellite.md": {"upscale", "evaluate", "sharpen"},
    "docs/index.md": set(),
    "docs/install.md": {"upscale", "evaluate", "train"},
    "docs/limits.md": {"upscale", "evaluate"},
    "docs/models.md": {"upscale", "info", "evaluate"},
    "docs/pairs.md": {"train-pairs", "evaluate-pairs", "upscale"},
    "docs/promises.md": {"upscale"},
    "docs/python.md": set(),
    "docs/qgis.md": set(),
    "docs/quantities.md": {"upscale", "info"},
    "docs/recipe.md": {"train"},
    "docs/scaling.md": {"batch", "upscale"},
    "docs/sharpen.md": {"sharpen"},
    "docs/speed.md": {"upscale"},
    "docs/studies/activation.md": set(),
    "docs/studies/better.md": set(),
    "docs/studies/deconvolution.md": set(),
    "docs/studies/features.md": set(),
    "docs/studies/index.md": set(),
    "docs/studies/mapping.md": set(),
    "docs/studies/padding.md": set(),
    "docs/studies/paper.md": set(),
    "docs/studies/rates.md": set(),
    "docs/studies/sensitivity.md": set(),
    "docs/studies/speed.md": set(),
    "docs/studies/stages.md": set(),
    "docs/training.md": {"train", "train-error", "upscale", "evaluate"},
    "docs/troubleshooting.md": ALL,
}
"""Every page, and the commands that it is about: an option it names belongs to one of them."""

FOREIGN = {
    "--interface",
    "--no-dashboard",
    "--nthreads",
    "--nproc-per-node",
    "--protocol",
    "--constraint",
    "--extra-index-url",
    "--no-deps",
    "--recipe",
    "--channel",
}
"""Options of other programs: dask's, torchrun's, pip's, rattler-build's."""


@dataclass(frozen=True)
class Block:
    """A fenced block of code: its language, its text, and the line of the page on which it begins."""

    language: str
    text: str
    line: int

    @property
    def commands(self) -> list[list[str]]:
        """The geofsrcnn and rio commands in it, as words without comments; continued lines are one."""
        if self.language not in ("sh", "console", "bash"):
            return []
        joined = re.sub(r"\\\n\s*", " ", self.text)
        lines = [re.sub(r"^\$ ", "", line.strip()) for line in joined.splitlines()]
        if self.language == "console":
            lines = [line for line, raw in zip(lines, joined.splitlines(), strict=True) if raw.startswith("$ ")]
        ours = [re.split(r" [>|&]", line)[0] for line in lines if "geofsrcnn" in line or line.startswith("rio ")]
        found = [shlex.split(line, comments=True) for line in ours]
        return [words[_start(words) :] for words in found if _start(words) < len(words)]

    def save(self, folder: Path) -> None:
        """Write the file that it is: a manifest, or TOML whose first line is a comment with its name."""
        if self.language == "json":
            (folder / "work.jsonl").write_text(self.text, encoding="utf-8")
        elif named := re.match(r"# ([\w.]+)\n", self.text):
            (folder / named[1]).write_text(self.text, encoding="utf-8")


def _start(words: list[str]) -> int:
    """Where the words of our command begin, behind torchrun's, say; their number if nowhere."""
    places = [i for i, word in enumerate(words[:-1]) if word in ("geofsrcnn", "rio")]
    return places[0] if places and not words[0].startswith(("pip", "git", "eval", "python")) else len(words)


class Page:
    """A page: its name, relative to the project, and what stands on it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ROOT / name

    @cached_property
    def text(self) -> str:
        """As it is stored."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> list[Block]:
        """Its fenced blocks, in order."""
        found = re.finditer(r"^```(\w*)\n(.*?)^```$", self.text, flags=re.DOTALL | re.MULTILINE)
        return [Block(each[1], each[2], self.text[: each.start()].count("\n") + 1) for each in found]

    @cached_property
    def prose(self) -> str:
        """Its text without fenced blocks."""
        return re.sub(r"^```.*?^```$", "", self.text, flags=re.DOTALL | re.MULTILINE)

    @cached_property
    def anchors(self) -> set[str]:
        """Anchors of its headings, as forges make them."""
        heads = re.findall(r"^#+ (.*)$", self.prose, flags=re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", head.strip().lower()).replace(" ", "-") for head in heads}

    @cached_property
    def links(self) -> list[str]:
        """Targets of its links and pictures."""
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    @cached_property
    def codes(self) -> set[str]:
        """Warnings that it names."""
        return set(re.findall(r"\bW-[A-Z]+(?:-[A-Z]+)*\b", self.text))

    @cached_property
    def options(self) -> set[str]:
        """Options that its prose names in code."""
        spans = [span for span in re.findall(r"`([^`]+)`", self.prose) if not span.startswith("python ")]
        return {option for span in spans for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}


def page(name: str) -> Page:
    """A page by its name."""
    return Page(name)


def options_of(command: str) -> set[str]:
    """All options of a command, and of the program; of a command that is not there only these."""
    found = cli.commands.get(command)
    params = cli.params if found is None else [*cli.params, *found.params]
    return {"--help"} | {option for param in params for option in (*param.opts, *param.secondary_opts)}


def shows(transcript: str, printed: str) -> bool:
    """Tell whether a transcript is what was printed, but for numbers and folders.

    A line of ``...`` stands for lines that are left out, ``...`` at a line's end for the rest of it.
    """
    lines = iter(_masked(printed))
    return all(any(_is_start(line, other) for other in lines) for line in _masked(transcript))


def _is_start(line: str, other: str) -> bool:
    return other.startswith(line.removesuffix(" ...")) if line.endswith(" ...") else line == other


def _masked(text: str) -> list[str]:
    """Lines that hold words, with numbers as #, files without folders, and one space between words."""
    plain = re.sub(r"[-+]?\d[\w.,+-]*", "#", re.sub(r"[^\s:]*/", "", text))
    return [" ".join(line.split()) for line in plain.splitlines() if line.strip(" .")]
