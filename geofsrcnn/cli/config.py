"""Options of a command from a TOML file: each key is an option's name, each error names file and key."""

from __future__ import annotations

import datetime as dt
import difflib
import tomllib
from pathlib import Path
from typing import Any

import click

from geofsrcnn.cli.param_types import Factor, Names, Option
from geofsrcnn.errors import ConfigError, printable

_WORDS: dict[type | tuple[type, ...], str] = {
    bool: "true or false",
    int: "a whole number",
    (int, float): "a number",
    str: "a text",
}


def read_options(path: Path, context: click.Context) -> dict[str, Any]:
    """Read the values that a TOML file gives to the options of a command, by their names in Python.

    Keys are names of options, words joined by ``-`` or ``_``; those that may be given several times take lists, those
    of the form ``NAME=TEXT`` tables.

    Raises
    ------
    ConfigError
        If it cannot be read, is not TOML, or a key or value is not what an option takes.
    """
    options = {
        flag.removeprefix("--"): param
        for param in context.command.params
        if isinstance(param, click.Option) and param.name != "config"
        for flag in param.opts
        if flag.startswith("--")
    }
    found: dict[str, Any] = {}
    for key, value in _load(path).items():
        where, plain = f"{printable(path)}: {printable(key)}", key.replace("_", "-")
        if plain not in options:
            near = difflib.get_close_matches(plain, options, 1)
            hint = f"did you mean {near[0]}?" if near else "keys are the names of options (--help lists them)"
            raise ConfigError(f"{printable(path)}: unknown key {printable(key)}: {hint}")
        option = options[plain]
        if option.name in found:
            raise ConfigError(f"{where} is given twice")
        try:
            found[str(option.name)] = option.type_cast_value(context, _check_value(value, option, where))
        except click.BadParameter as error:
            raise ConfigError(f"{where}: {printable(error.message)}") from None
    return found


def _load(path: Path) -> dict[str, Any]:
    shown = printable(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration '{shown}' ({error.strerror}): give a TOML file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{shown} is not UTF-8: save it as UTF-8") from None
    except ValueError as error:
        raise ConfigError(f"{shown} is not TOML: {printable(error)}") from None
    except RecursionError:
        raise ConfigError(f"{shown}: values are nested too deeply: options take none") from None


def _check_value(value: Any, option: click.Option, where: str) -> Any:
    """Return a value as click takes it; TOML has types, so that ``"3"`` or true is no number."""
    kind = type(option.type)
    numbers: dict[type, Any] = {click.IntRange: int, Factor: int, click.types.FloatParamType: (int, float)}
    wanted = bool if option.is_flag else numbers.get(kind, str)
    words = _WORDS[wanted]
    if type(value) is dt.date:
        value = value.isoformat()
    parts = [value]
    if kind is Option:
        words = 'a table such as {NAME = "text"}'
        parts = list(value.values()) if isinstance(value, dict) else [None]
    elif option.multiple or kind is Names:
        words += " or a list of texts"
        parts = value if isinstance(value, list) else parts
    if not all(isinstance(part, wanted) and isinstance(part, bool) == option.is_flag for part in parts):
        raise ConfigError(f"{where} must be {words}, not {printable(value)[:40]}")
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(parts) if option.multiple or isinstance(value, list) else value
