"""`geofsrcnn convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.param_types import Factor
from geofsrcnn.cli.params import DEBUG, JSON, OVERWRITE, QUIET, TIMES_FINER
from geofsrcnn.cli.show import bands_text
from geofsrcnn.cli.signals import echo_json, guarded
from geofsrcnn.errors import printable

if TYPE_CHECKING:
    from geofsrcnn.networks.checkpoint import Checkpoint


@click.command("convert", cls=Command, example="fsrcnn_x3.pth fsrcnn_x3.safetensors --factor 3 --data-range 255")
@click.argument("weights", metavar="WEIGHTS")
@click.argument("out", metavar="OUTPUT")
@section(
    "Options",
    click.option("--factor", "-f", type=Factor(), default=None, help=f"{TIMES_FINER}  [default: what the file says]"),
    click.option(
        "--data-range",
        type=float,
        default=1.0,
        show_default=True,
        metavar="NUMBER",
        help="Value of your rasters that was 1 in training, such as 255 for 8 bits.",
    ),
    click.option(
        "--padding",
        type=int,
        default=None,
        metavar="N",
        help="Of the deconvolution.  [default: half its kernel, or what puts a smooth field right]",
    ),
    click.option(
        "--pad-layers",
        is_flag=True,
        help="Pad every layer as the other program does: the same edges, but no tiles, so no large rasters.",
    ),
    OVERWRITE,
    *(JSON, QUIET, DEBUG),
)
@guarded
def convert(*, weights: str, out: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Convert an FSRCNN that another program trained.

    WEIGHTS is a state dict of PyTorch (.pth, .pt), weights of MATLAB (.mat), a Caffe model (.caffemodel) or a frozen
    TensorFlow graph as OpenCV has them (.pb); OUTPUT a .safetensors file. Nothing in WEIGHTS is executed.
    """
    from geofsrcnn.networks.convert import convert_weights

    found = convert_weights(weights, out, **options)
    if as_json:
        echo_json(found.to_dict())
    elif not quiet:
        _show(found, out)


def _show(found: Checkpoint, out: str) -> None:
    """Say what the network is, which values it takes, and whether it was put right."""
    config, facts = found.config, found.card.training
    moved = ""
    if "moved" in facts:
        moved = f"; its deconvolution lay {facts['moved']:+d} fine cells off, which is put right"
    click.echo(
        f"{printable(out)}: {printable(found.card.summary)}: {bands_text(config.channels)}, "
        f"(d, s, m) = ({config.d}, {config.s}, {config.m}), values of 0 to {facts['data_range']:g}{moved}"
    )
