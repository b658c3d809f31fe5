"""Types of parameters: texts of the command line as values."""

from __future__ import annotations

import re
from typing import Any

import click

from geofsrcnn.cf.dates import parse_day
from geofsrcnn.options import FACTORS, is_share


class Factor(click.ParamType[int]):
    """A whole number from 2 to 8."""

    name = "factor"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The value of a text, or of a value that was converted before."""
        try:
            if float(value) in FACTORS:
                return int(float(value))
        except (TypeError, ValueError):
            pass
        return self.fail(f"{value!r} is not a whole number from {FACTORS[0]} to {FACTORS[-1]}", param, ctx)


class Indexes(click.ParamType[tuple[int, ...]]):
    """Band numbers from 1, separated by commas."""

    name = "bands"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The value of a text, or of a value that was converted before."""
        if isinstance(value, tuple):
            return value
        try:
            indexes = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            indexes = ()
        if not indexes or min(indexes) < 1:
            self.fail(f"{value!r} is not a list of bands such as 1,2,3", param, ctx)
        return indexes


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The value of a text, or of a value that was converted before."""
        names = value if isinstance(value, tuple) else tuple(part.strip() for part in str(value).split(","))
        if not all(names):
            self.fail(f"{value!r} is not a list of names such as tas,pr", param, ctx)
        return names


class Shares(click.ParamType[tuple[float, ...]]):
    """Numbers separated by commas; the options say which are shares."""

    name = "shares"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """The value of a text, or of a value that was converted before."""
        try:
            shares = value if isinstance(value, tuple) else tuple(float(part) for part in str(value).split(","))
        except ValueError:
            shares = ()
        if not shares and value != ():
            self.fail(f"{value!r} is not a list of numbers such as 0.1,0.5,0.9", param, ctx)
        return shares


class Sides(click.ParamType[tuple[float, float]]):
    """Width of a cell, or its width and height, with a comma between them."""

    name = "sides"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """The value of a text, or of a value that was converted before."""
        try:
            sides = value if isinstance(value, tuple) else tuple(float(part) for part in str(value).split(","))
        except ValueError:
            sides = ()
        if len(sides) not in (1, 2):
            self.fail(f"{value!r} is not a width such as 10, or a width and a height such as 10,20", param, ctx)
        return sides[0], sides[-1]


class Nodata(click.types.FloatParamType):
    """A number; whole ones keep the digits that doubles have no room for, as 64-bit integers do."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value of a text, or of a value that was converted before."""
        whole = re.fullmatch(r"[+-]?\d{16,20}", str(value))
        return int(str(value)) if whole else super().convert(value, param, ctx)


class Share(click.ParamType[float | str]):
    """A number from 0 to 1, or the word none."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        """The value of a text, or of a value that was converted before."""
        try:
            if value == "none" or is_share(float(value)):
                return "none" if value == "none" else float(value)
        except (TypeError, ValueError):
            pass
        return self.fail(f"{value!r} is not a number from 0 to 1, nor none", param, ctx)


class Option(click.ParamType[tuple[str, str]]):
    """Two texts with an equals sign between them."""

    def __init__(self, name: str = "KEY=VALUE") -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The value of a text, or of a value that was converted before."""
        key, sep, rest = (value[0], "=", value[1]) if isinstance(value, tuple) else str(value).partition("=")
        if not sep or not key:
            self.fail(f"{value!r} is not {self.name}", param, ctx)
        return key, rest


class Day(click.ParamType[str]):
    """A day of any calendar."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value of a text, or of a value that was converted before."""
        if parse_day(str(value)) is None:
            self.fail(f"{value!r} is not a day such as 1993-06-01", param, ctx)
        return str(value)
