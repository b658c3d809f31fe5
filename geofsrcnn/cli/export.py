"""`geofsrcnn export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from geofsrcnn.cli.help import Command, section
from geofsrcnn.cli.params import DEBUG, FACTOR, JSON, OVERSHOOT, OVERWRITE, QUIET
from geofsrcnn.cli.show import size_text
from geofsrcnn.cli.signals import echo_json, guarded
from geofsrcnn.errors import printable

if TYPE_CHECKING:
    from geofsrcnn.networks.export import Exported


@click.command("export", cls=Command, example="default default-x3.onnx --factor 3")
@click.argument("model", metavar="MODEL")
@click.argument("output", metavar="OUTPUT")
@section(
    "Options",
    FACTOR,
    click.option(
        "--size",
        type=int,
        nargs=2,
        default=None,
        metavar="ROWS COLUMNS",
        help="Take one field of so many coarse cells, for programs that need to know.  [default: any]",
    ),
    OVERSHOOT,
    OVERWRITE,
    *(JSON, QUIET, DEBUG),
)
@guarded
def export(*, model: str, output: str, as_json: bool, quiet: bool, **options: Any) -> None:
    """Write a network as an ONNX file.

    MODEL is a shipped model or a .safetensors file, OUTPUT ends in .onnx. The file runs where there is no PyTorch: in
    ONNX Runtime, OpenCV or a browser. It does what the network does, and no more: missing cells, ranges and kinds of
    variables are left to the program that runs it.
    """
    from geofsrcnn.networks.export import export_onnx

    done = export_onnx(model, output, **options)
    if as_json:
        echo_json(done.to_dict())
    elif not quiet:
        _show(done, output)


def _show(done: Exported, output: str) -> None:
    """Say what was written, and how near it comes to the network."""
    coarse, fine = (f"({', '.join(map(str, shape))})" for shape in (done.coarse, done.fine))
    click.echo(
        f"{printable(output)}: {printable(done.model)}, {coarse} -> {fine}, {size_text(done.file_bytes)}; "
        f"ONNX Runtime {done.runtime} differs from the network by {done.difference:.1g} of the range at most"
    )
