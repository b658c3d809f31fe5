"""The command `geofsrcnn` and its groups."""

from __future__ import annotations

import io
import os
import sys

import click

from geofsrcnn._version import __version__
from geofsrcnn.cli.batch import batch
from geofsrcnn.cli.convert import convert
from geofsrcnn.cli.evaluate import evaluate
from geofsrcnn.cli.evaluate_pairs import evaluate_pairs
from geofsrcnn.cli.export import export
from geofsrcnn.cli.help import WIDTH
from geofsrcnn.cli.info import info, models
from geofsrcnn.cli.sharpen import sharpen
from geofsrcnn.cli.signals import fail
from geofsrcnn.cli.train import train
from geofsrcnn.cli.train_error import train_error
from geofsrcnn.cli.train_pairs import train_pairs
from geofsrcnn.cli.upscale import upscale
from geofsrcnn.errors import GeofsrcnnError, UsageError, printable


def main() -> None:
    """Entry point: click's own usage errors become one line as well."""
    debug = "--debug" in sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding != "utf-8":
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a name is no reason to fail: Windows' pipes have few letters
    try:
        code = cli.main(prog_name="geofsrcnn", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except GeofsrcnnError as error:  # while options are read
        code = fail(error, error.exit_code, debug=debug)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f": see {context.command_path} --help" if context else ""
        code = fail(UsageError(printable(error.format_message().rstrip(".")) + hint), 2, debug=debug)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads on, or the disk is full: said already, or not worth saying
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code if isinstance(code, int) else 0)


class Group(click.Group):
    """Commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Names of the commands, those that people need first on top."""
        return list(self.commands)


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
    epilog="geofsrcnn COMMAND --help lists the options of a command.",
)
@click.version_option(__version__, prog_name="geofsrcnn")
def cli() -> None:
    """Make geospatial rasters 2 to 8 times finer: in place, in one piece, in their own units."""


for command in (
    *(upscale, sharpen, batch, info, models),
    *(evaluate, evaluate_pairs, train, train_pairs, train_error, export, convert),
):
    cli.add_command(command)
