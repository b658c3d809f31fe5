"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.core import ParameterSource

from geofsrcnn.cli.param_types import Factor, Indexes, Names, Nodata, Option, Share, Shares
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.networks.config import DEFAULT_FACTOR
from geofsrcnn.options import ALPHA, FACTORS, PRECISION_CHOICES, UpscaleOptions

TIMES_FINER = f"How many times finer, {FACTORS[0]}-{FACTORS[-1]}."

FACTOR = click.option(
    "--factor",
    "-f",
    type=Factor(),
    default=None,
    help=f"{TIMES_FINER}  [default: that of a model's file, else {DEFAULT_FACTOR}]",
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
    "--device", default=UpscaleOptions.device, show_default=True, metavar="DEVICE", help="auto, cpu, cuda or cuda:N."
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(PRECISION_CHOICES),
    default=UpscaleOptions.precision,
    show_default=True,
    help="Of the network's arithmetic; auto: bfloat16 where this machine is faster with it.",
)
STRICT = click.option("--strict", is_flag=True, help="Take warnings as errors.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
STOP_WITH_STDIN = click.option(
    "--stop-with-stdin",
    is_flag=True,
    help="End cleanly when standard input ends, as it does when the program that started this one is gone.",
)
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
        default=UpscaleOptions.alpha,
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
ERROR = click.option(
    "--error",
    is_flag=True,
    help="Add the expected absolute error of each cell: bands or variables NAME_error. Whole numbers of a GeoTIFF "
    "become floats.",
)
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace an existing output.")
DTYPE = click.option(
    "--dtype", default=None, metavar="TYPE", help="Type of the output.  [default: the input's, and its packing]"
)
OVERSHOOT = click.option(
    "--overshoot",
    type=Share(),
    default=None,
    metavar="SHARE",
    help="How far fine cells may leave the range of the 3 x 3 coarse cells around, as a share of it, 0 to 1; none: "
    "no limit.  [default: what the model says]",
)
QUANTILES = click.option(
    "--quantiles",
    type=Shares(),
    default=(),
    metavar="Q[,Q]",
    help="Write quantiles too, such as 0.1,0.9, of a model that was trained on pairs with --distribution.",
)
COG = click.option("--cog", is_flag=True, help="Write a cloud optimised GeoTIFF with overviews.")
CO = click.option("--co", type=Option(), multiple=True, help="GDAL creation option; may be given several times.")
OUTPUT_OPTIONS = (ERROR, DTYPE, OVERSHOOT, QUANTILES, COG, CO)
PERFORMANCE_OPTIONS = (
    DEVICE,
    PRECISION,
    click.option(
        "--tile-size", type=click.IntRange(1), default=None, metavar="N", help="Coarse cells along one side of a tile."
    ),
)
THREADS = click.option(
    "--threads",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Threads that compute.  [default: cores]",
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
        raise UsageError(f"--limits must be LOW:HIGH, such as 0:inf, got '{printable(text)}'") from None
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
