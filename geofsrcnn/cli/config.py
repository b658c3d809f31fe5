"""Options of a command from a TOML file: each key is an option's name, each error says line and key."""

from __future__ import annotations

import datetime as dt
import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geofsrcnn.errors import ConfigError, printable

Kind = Literal["text", "whole", "number", "flag", "names", "day", "table"]

MAX_BYTES = 2**20
"""Of a file that is parsed at all."""

_WORDS: dict[Kind, str] = {
    "text": "a text",
    "whole": "a whole number",
    "number": "a number",
    "flag": "true or false",
    "names": "a text or a list of texts",
    "day": "a day such as 2010-01-01",
    "table": 'a table such as {NAME = "text"}',
}


@dataclass(frozen=True)
class Option:
    """What a key stands for.

    Parameters
    ----------
    name : str
        Under which its value is returned.
    kind : str
        ``text``, ``whole``, ``number``, ``flag``, ``names`` (a text or a list of texts), ``day``, or ``table`` of
        texts, returned as a list of pairs.
    several : bool
        A list of texts is taken as well as a single one.
    """

    name: str
    kind: Kind
    several: bool = False


def read_options(path: Path, options: Mapping[str, Option]) -> dict[str, Any]:
    """Read the values that a file gives to options.

    Parameters
    ----------
    path : Path
        TOML in UTF-8, at most 1 MiB.
    options : mapping of str to Option
        By key, words joined by ``-``; the file may join them by ``_``.

    Raises
    ------
    ConfigError
        If it cannot be read, is not TOML, or a key or value is not what an option takes.
    """
    shown = printable(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {shown!r} ({error.strerror}): give a TOML file") from None
    if len(content) > MAX_BYTES:
        raise ConfigError(f"the configuration is larger than 1 MiB: {shown}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown}, line {line}: not UTF-8: save it as UTF-8") from None
    return parse_options(text, options, shown)


def parse_options(text: str, options: Mapping[str, Option], shown: str) -> dict[str, Any]:
    """Take the values that a TOML text gives to options.

    Parameters
    ----------
    text : str
        TOML.
    options : mapping of str to Option
        By key, words joined by ``-``.
    shown : str
        Where the text is from, for messages.

    Raises
    ------
    ConfigError
        With line and key: text that is not TOML, an unknown key, one given twice, a value of the wrong type.

    Examples
    --------
    >>> parse_options("save-minutes = 2", {"save-minutes": Option("save_minutes", "number")}, "a.toml")
    {'save_minutes': 2}
    >>> parse_options("factr = 3", {"factor": Option("factor", "whole")}, "a.toml")
    Traceback (most recent call last):
    geofsrcnn.errors.ConfigError: a.toml, line 1: unknown key factr: did you mean factor?
    """
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _not_toml(text, error, shown) from None
    found: dict[str, Any] = {}
    for key, value in given.items():
        plain = key.replace("_", "-")
        option = options.get(plain)
        if option is None:
            near = difflib.get_close_matches(plain, options, 1)
            hint = f"did you mean {near[0]}?" if near else "keys are the names of options (--help lists them)"
            raise ConfigError(f"{shown}, line {_line(text, key)}: unknown key {printable(key)}: {hint}")
        if option.name in found:
            raise ConfigError(f"{shown}, line {_line(text, key)}: {printable(key)} is given twice")
        try:
            found[option.name] = _value(value, option)
        except TypeError:
            wanted = _WORDS["names" if option.several and option.kind == "text" else option.kind]
            raise ConfigError(
                f"{shown}, line {_line(text, key)}: {printable(key)} must be {wanted}, not {_described(value)}"
            ) from None
    return found


def _not_toml(text: str, error: Exception, shown: str) -> ConfigError:
    """The parser's error in this package's form."""
    if isinstance(error, RecursionError):
        return ConfigError(f"{shown}: values are nested too deeply: options take none")
    words, place, _ = str(error).partition(" (at ")
    lines = text.splitlines()
    at = re.search(r"line (\d+)", str(error)) if place else None
    number = int(at[1]) if at else max(len(lines), 1)
    if "Cannot overwrite" in words or "twice" in words:
        number, key = _statement(lines, number)
        return ConfigError(f"{shown}, line {number}: {printable(key)} is given twice")
    key = _key(lines[number - 1]) if lines else ""
    about = f"{printable(key)}: " if key else ""
    return ConfigError(f"{shown}, line {number}: {about}not TOML ({printable(words)})")


def _line(text: str, key: str) -> int:
    """The line on which a key of the top level stands.

    The parser tells no lines of what is right; it does of a key that is there already.
    """
    quoted = '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in key) + '"'
    try:
        tomllib.loads(f"{quoted} = 0\n{text}\n")
    except tomllib.TOMLDecodeError as error:
        if at := re.search(r"line (\d+)", str(error)):
            return _statement(text.splitlines(), int(at[1]) - 1)[0]
    return 1


def _statement(lines: list[str], number: int) -> tuple[int, str]:
    """Where the statement that ends on a line begins, and its key."""
    for begin in range(number, 0, -1):
        if key := _key(lines[begin - 1]):
            return begin, key
    return number, "a key"


def _key(line: str) -> str:
    """The key that a line begins with, if it does."""
    name = r"""([\w-]+|"[^"]*"|'[^']*')"""
    found = re.match(rf"\s*{name}\s*[=.]", line) or re.match(rf"\s*\[+\s*{name}[^\[\],]*\]+\s*(?:#.*)?$", line)
    return found[1].strip("\"'") if found else ""


def _value(value: Any, option: Option) -> Any:
    """The value as the command line's types take it; a `TypeError` if it is another."""
    if option.kind == "table":
        if not isinstance(value, dict):
            raise TypeError
        return [(key, _single(each, "text")) for key, each in value.items()]
    if option.kind == "names":
        return tuple(_single(each, "text") for each in value) if isinstance(value, list) else _single(value, "text")
    if option.several:
        return [_single(each, option.kind) for each in (value if isinstance(value, list) else [value])]
    return _single(value, option.kind)


def _single(value: Any, kind: Kind) -> Any:
    if kind == "day" and type(value) is dt.date:
        return value.isoformat()
    right: dict[Kind, tuple[type, ...]] = {"whole": (int,), "number": (int, float), "flag": (bool,)}
    if type(value) not in right.get(kind, (str,)):
        raise TypeError
    if type(value) is int and not -(2**63) <= value < 2**63:  # beyond what TOML has
        raise TypeError
    return value


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if abs(value) < 2**63 else "one beyond 64 bits"
    if isinstance(value, float):
        return str(value)
    if isinstance(value, str):
        return f"the text {printable(value[:40])!r}"
    if isinstance(value, list | dict):
        kinds = sorted({type(each).__name__ for each in (value.values() if isinstance(value, dict) else value)})
        return f"a {'table' if isinstance(value, dict) else 'list'} of {' and '.join(kinds) or 'nothing'}"
    return "a date or time"
