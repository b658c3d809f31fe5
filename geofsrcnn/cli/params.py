"""Types of parameters, and the options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import click
from click.core import ParameterSource

from geofsrcnn.cf.dates import parse_day
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.options import ALPHA, FACTORS, PRECISIONS, is_share


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
        return self.fail(f"{value!r} is not a whole number from 2 to 8", param, ctx)


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


FACTOR = click.option(
    "--factor",
    "-f",
    type=Factor(),
    default=None,
    help="How many times finer, 2-8.  [default: that of a model's file, else 3]",
)
MODEL = click.option(
    "--model",
    "-m",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped model or a classical method (geofsrcnn models lists them), or a .safetensors file.",
)
VARIABLES = click.option(
    "--variables", type=Names(), default=None, help="Fields of a NetCDF or Zarr, such as tas,pr.  [default: all]"
)
BIDX = click.option("--bidx", "-b", type=Indexes(), default=None, help="Bands, such as 1,2,3.  [default: all]")
BOUNDS = click.option(
    "--bounds",
    type=float,
    nargs=4,
    default=None,
    metavar="W S E N",
    help="Only the coarse cells that meet these bounds, in the raster's CRS.",
)
NODATA = click.option(
    "--nodata",
    type=Nodata(),
    default=None,
    metavar="NUMBER",
    help="Stored value of missing cells, instead of the file's.",
)
RANGE = click.option(
    "--range",
    "value_range",
    type=float,
    nargs=2,
    default=None,
    metavar="MIN MAX",
    help="Bounds that the result keeps, in physical units; cell means are kept within them.",
)
KINDS = click.option(
    "--as",
    "kinds",
    type=Option("NAME=KIND"),
    multiple=True,
    help="What a variable, or a band by its number, is: field, never-negative, fraction, direction, category or "
    "total, instead of what its header tells (geofsrcnn info). May be given several times.",
)
DRIVER = click.option(
    "--driver",
    default=None,
    metavar="NAME",
    help="GDAL driver of the input, if it is no GeoTIFF (HFA, JP2OpenJPEG, VRT).",
)
INSIDE = click.option(
    "--inside", default=None, metavar="NAME", help="The file to read within a ZIP, gzip, bzip2 or xz file."
)
GROUP = click.option("--group", default=None, metavar="NAME", help="Group of a NetCDF or Zarr that has several.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, cuda or cuda:N."
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Of the network's arithmetic.",
)
STRICT = click.option("--strict", is_flag=True, help="Take warnings as errors.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress and no summary.")
DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks.")

RASTER_OPTIONS = (
    DRIVER,
    INSIDE,
    click.option("--subdataset", default=None, metavar="NAME", help="Page or subdataset, by name or number from 1."),
    click.option(
        "--crs",
        default=None,
        metavar="CRS",
        help="CRS of a raster that states none, or a wrong one, such as EPSG:32633.",
    ),
    click.option(
        "--alpha",
        type=click.Choice(ALPHA),
        default="auto",
        show_default=True,
        help="none: a band that is tagged as alpha holds values, such as infrared.",
    ),
    click.option("--sidecars", is_flag=True, help="Let .aux.xml, .msk, .tfw and the like beside the input count."),
)
INPUT_OPTIONS = (
    GROUP,
    click.option(
        "--x", default=None, metavar="NAME", help="Horizontal dimension of a NetCDF or Zarr, where it is not found."
    ),
    click.option("--y", default=None, metavar="NAME", help="The other one."),
    *RASTER_OPTIONS,
    click.option(
        "--also", multiple=True, metavar="FILE", help="More predictors, for a model that was trained on pairs."
    ),
)
REPORT_OPTIONS = (
    click.option("--report", default=None, metavar="DIR", help="Write report.html, report.md and report.json there."),
    click.option("--overwrite", is_flag=True, help="Replace the report."),
)
OUTPUT_OPTIONS = (
    click.option(
        "--error",
        is_flag=True,
        help="Add the expected absolute error of each cell: bands or variables NAME_error. Whole numbers of a GeoTIFF "
        "become floats.",
    ),
    click.option(
        "--dtype", default=None, metavar="TYPE", help="Type of the output.  [default: the input's, and its packing]"
    ),
    click.option(
        "--overshoot",
        type=Share(),
        default=None,
        metavar="SHARE",
        help="How far fine cells may leave the range of the 3 x 3 coarse cells around, as a share of it, 0 to 1; none: "
        "no limit.  [default: what the model says]",
    ),
    click.option("--cog", is_flag=True, help="Write a cloud optimised GeoTIFF with overviews."),
    click.option("--co", type=Option(), multiple=True, help="GDAL creation option; may be given several times."),
)
PERFORMANCE_OPTIONS = (
    DEVICE,
    PRECISION,
    click.option(
        "--tile-size", type=click.IntRange(1), default=None, metavar="N", help="Coarse cells along one side of a tile."
    ),
)
SAFETY_OPTIONS = (
    STRICT,
    click.option(
        "--max-pixels", type=click.IntRange(1), default=None, metavar="N", help="Refuse an output of more cells."
    ),
    click.option("--allow-lossy", is_flag=True, help="Accept 64-bit integers beyond 2**53."),
    click.option("--allow-sparse", is_flag=True, help="Accept files that declare a thousand times their size."),
)
MESSAGE_OPTIONS = (JSON, QUIET, DEBUG)


def parse_weight(name: str, text: str) -> float:
    """The number of ``NAME=NUMBER``."""
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--weight {printable(name)} must be a number, got {printable(text)}") from None


def parse_range(text: str) -> tuple[float, float]:
    """The two numbers of ``LOW:HIGH``."""
    low, _, high = text.partition(":")
    try:
        found = float(low), float(high)
    except ValueError:
        found = math.nan, math.nan
    if not found[0] < found[1]:
        raise UsageError(f"--limits must be LOW:HIGH, LOW below HIGH, such as 0:inf, got '{printable(text)}'")
    return found


def given_names(*sources: ParameterSource) -> set[str]:
    """Parameters that stand on the command line or in its configuration file."""
    context = click.get_current_context()
    wanted = sources or (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
    return {name for name in context.params if context.get_parameter_source(name) in wanted}


def refuse_given(names: Iterable[str], words: str) -> None:
    """Refuse options of these names that the user gave."""
    context = click.get_current_context()
    options = {param.name: param.opts[0] for param in context.command.params}
    for name in names:
        if name in given_names():
            raise UsageError(f"{options[name]} {words}")
