"""Parameters in the library's messages, as the flags of the command that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

_PARAMETER = re.compile(
    r"""(?<![^\s(,;:'"])(?P<name>[a-z_]+)=
    (?:(?P<word>True|False|None)\b
      |(?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)
      |(?P<quote>['"])(?P<text>[^'"]*)(?P=quote)
      |\{(?P<key>[^{}:]+):\s*(?P<value>[^{}:]+)\}
    )?
    (?![\w/=]|\.\w)""",
    re.VERBOSE,
)
"""``name=``, ``name=True``, ``name=3``, ``name='text'``, ``name={'key': 'value'}`` or ``name={'key': (1, 2)}``.

But not within a path.
"""


def with_flags(text: str) -> str:
    """Replace parameters of the running command by their flags: ``use overwrite=True`` becomes ``use --overwrite``."""
    context = click.get_current_context(silent=True)
    return text if context is None else replace_parameters(text, context.command)


def replace_parameters(text: str, command: click.Command) -> str:
    """Replace the parameters that `command` has, or the one that it speaks for; all others stay as they are."""
    options = {**dict(_by_name(getattr(command, "flags_of", command))), **dict(_by_name(command))}

    def flag(found: re.Match[str]) -> str:
        param = options.get(found["name"])
        if param is None:
            return found[0]
        if not isinstance(param, click.Option):
            return found[0] if found[0][-1] != "=" else param.human_readable_name.strip("[].")
        if found["word"] == "False":
            return next(iter(param.secondary_opts), found[0])
        values = (found["number"], found["text"], found["key"] and f"{_bare(found['key'])}={_bare(found['value'])}")
        return " ".join([_long(param), *filter(None, values)])

    return _PARAMETER.sub(flag, text)


def _by_name(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    """Parameters by their names in Python and by their flags; options come last, for they win over arguments."""
    for param in sorted(command.params, key=lambda each: isinstance(each, click.Option)):
        if isinstance(param, click.Option):
            yield _long(param).removeprefix("--").replace("-", "_"), param
        yield str(param.name), param


def _long(option: click.Option) -> str:
    return max(option.opts, key=len)


def _bare(text: str) -> str:
    """A word as it is typed: without quotes, two numbers as ``LOW:HIGH``."""
    return text.strip().strip("'\"()").replace(", ", ":")
