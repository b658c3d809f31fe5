"""Help of a command: options in named sections, and an example at the end.

A command is declared so, the options that people need first in the first section::

    @click.command("upscale", cls=Command, example="dem.tif dem_x3.tif --factor 3")
    @click.argument("source", metavar="INPUT")
    @section("Most used", FACTOR, MODEL)
    @section("Messages", JSON, QUIET, DEBUG)
    @guarded
    def upscale(...)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from geofsrcnn.errors import UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

WIDTH = 100
"""Columns that help takes at most, on a wider terminal too."""

_COLUMN = 30
"""Width of the column of flags; click's own."""


def section(title: str, *options: Decorator) -> Decorator:
    """Give a command these options, which its help lists under `title` in this order."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        before = len(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        for param in getattr(function, "__click_params__")[before:]:  # noqa: B009  where click's decorators gather them
            param.section = title
        return function

    return add


class Command(click.Command):
    """A command whose help has sections and an example, which is given without the command's name.

    Parameters
    ----------
    *args
        As click takes them.
    example : str
        Arguments and options of a run.
    flags_of : Command, optional
        Another command whose flags its messages name beside its own.
    for_pairs : Command, optional
        The command of the same task on pairs of coarse and fine fields: its options are pointed there.
    **kwargs
        As click takes them.
    """

    def __init__(
        self,
        *args: Any,
        example: str,
        flags_of: click.Command | None = None,
        for_pairs: click.Command | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.context_settings = {"max_content_width": WIDTH, **self.context_settings}
        self.example = example
        self.flags_of = flags_of or self
        self.for_pairs = for_pairs

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an option of the command for pairs is refused with that command's name."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            other = self.for_pairs
            if other is None or not any(error.option_name in param.opts for param in other.params):
                raise
            raise UsageError(
                f"{error.option_name} is for pairs of coarse and fine fields: use {other.name} (--help shows how)"
            ) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write options by section; those of none, such as ``--help``, join the last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        title = "Options"
        for param in self.get_params(ctx):
            title = getattr(param, "section", title)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                sections.setdefault(title, []).append(record)
        width = max(len(flag) for records in sections.values() for flag, _ in records)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl([(flag.ljust(min(width, _COLUMN)), text) for flag, text in records])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example as it is to be typed, on several lines where it is long."""
        words = f"{ctx.command_path} {self.example}".rstrip().replace(" --", "\n--").split("\n")
        lines = [words[0]]
        for word in words[1:]:
            if len(lines[-1]) + len(word) + 5 > formatter.width:
                lines.append(f"  {word}")
            else:
                lines[-1] += f" {word}"
        with formatter.section("Example"):
            indent = " " * formatter.current_indent
            formatter.write(indent + f" \\\n{indent}".join(lines) + "\n")
