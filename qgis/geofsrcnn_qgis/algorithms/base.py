# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tools share: how they run the program, its parameters, its progress in QGIS's dialogs."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, Sequence

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

from .. import settings
from ..process import Cancelled, Listener, ToolError
from ..program import KNOWN_MODELS, find, model_names, run_program, version_of, with_progress

KINDS = ("what its metadata say", "field", "never-negative", "fraction", "direction", "category", "total")
"""What cells are, as ``--as`` of the program calls it; the first leaves it to the program."""


PARAMETERS = {
    "--as": "The cells are",
    "--bidx": "Bands",
    "--bounds": "Only this part",
    "--dtype float32": "Keep fractions",
    "--error": "Add how wrong each cell may be",
    "--factor": "How many times finer",
    "--model": "Model",
    "--range": "No value below, above",
    "--threads": "Threads",
    "--variables": "Variables",
}
"""What the tools call options that the program's messages name; others stand under 'Further options'."""


def in_our_words(text: str) -> str:
    """Return a message of the program with the names of parameters in place of those of options."""
    known = "|".join(PARAMETERS)
    return re.sub(rf"({known})(?![\w-])", lambda found: f"'{PARAMETERS[found[0]]}'", text)


class FeedbackListener(Listener):
    """Passes on what the program says to a dialog of QGIS, and its Cancel button to the program."""

    def __init__(self, feedback: Any) -> None:
        self.feedback = feedback

    def progress(self, done: float, total: float) -> None:
        """Move the bar."""
        self.feedback.setProgress(100.0 * done / total)

    def warn(self, text: str) -> None:
        """Show a warning."""
        self.feedback.pushWarning(in_our_words(text))

    def say(self, text: str) -> None:
        """Show a line."""
        self.feedback.pushConsoleInfo(text)

    def cancelled(self) -> bool:
        """Tell whether Cancel was pressed."""
        return bool(self.feedback.isCanceled())


class Tool(QgsProcessingAlgorithm):
    """A tool that runs the program."""

    identifier = ""
    title = ""
    help = ""
    words = ("super-resolution", "upscale", "downscale", "resample", "finer", "DEM")

    def name(self) -> str:
        """Return the name that scripts use."""
        return self.identifier

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.title

    def shortDescription(self) -> str:
        """Return the first sentence of the help."""
        return self.help.split(". ")[0]

    def shortHelpString(self) -> str:
        """Return the help beside the dialog."""
        return self.help

    def tags(self) -> list[str]:
        """Return words that the tool is searched by."""
        return list(self.words)

    def createInstance(self) -> Tool:
        """Return a new tool of the kind."""
        return type(self)()

    def canExecute(self) -> tuple[bool, str]:
        """Tell whether the program is there, and what to do if not."""
        try:
            find(settings.program())
        except ToolError as error:
            return False, str(error)
        return True, ""

    def prepareAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> bool:
        """Look at the project, which only the main thread may do; what is wrong is said when the tool runs."""
        self.refusal = ""
        try:
            self.look(parameters, context)
        except ToolError as error:
            self.refusal = str(error)
        return True

    def look(self, parameters: dict[str, Any], context: Any) -> None:
        """Read what the tool needs of the project."""

    def processAlgorithm(self, parameters: dict[str, Any], context: Any, feedback: Any) -> dict[str, Any]:
        """Run the tool; what fails is one line for the user."""
        if self.refusal:
            raise QgsProcessingException(self.refusal)
        try:
            return self.work(parameters, context, FeedbackListener(feedback))
        except Cancelled:
            feedback.pushInfo("Cancelled: no unfinished file is left.")
            return {}
        except ToolError as error:
            raise QgsProcessingException(str(error)) from None

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Do what the tool is for, and return its outputs."""
        raise NotImplementedError

    def run_command(self, command: str, arguments: Sequence[str], target: str, listener: FeedbackListener) -> Any:
        """Run a command of the program that writes a target, and return what it prints, read as JSON.

        What it finishes although it was cancelled goes as well, unless it took the place of something older.
        """
        program = find(settings.program())
        version_of(program)
        line = with_progress(command, *arguments)
        listener.feedback.pushCommandInfo(" ".join(map(shlex.quote, ["geofsrcnn", *line])))
        fresh = not Path(target).exists()
        try:
            return json.loads(run_program(program, line, listener))
        except Cancelled:
            if fresh and Path(target).is_file():
                Path(target).unlink()
            raise
        except ToolError as error:
            raise ToolError(in_our_words(str(error))) from None


def as_advanced(parameter: QgsProcessingParameterDefinition) -> QgsProcessingParameterDefinition:
    """Return a parameter that stands under 'Advanced parameters'."""
    parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
    return parameter


def model_parameters(*, asks: bool) -> list[QgsProcessingParameterDefinition]:
    """Return the factor, the model, and a file that stands in for it.

    Parameters
    ----------
    asks : bool
        True where a dialog opens: then the program is asked what models it has.
    """
    names = model_names(settings.program()) if asks else list(KNOWN_MODELS)
    number = QgsProcessingParameterNumber.Integer
    factor = QgsProcessingParameterNumber("FACTOR", "How many times finer", number, 3, False, 2, 8)
    model = QgsProcessingParameterEnum("MODEL", "Model", names, False, names[0], False, True)
    file = QgsProcessingParameterFile(
        "MODEL_FILE", "A model's file instead (.safetensors)", extension="safetensors", optional=True
    )
    return [factor, model, as_advanced(file)]


def value_parameters() -> list[QgsProcessingParameterDefinition]:
    """Return the range of values and the expected error."""
    number = QgsProcessingParameterNumber.Double
    return [
        QgsProcessingParameterNumber("MINIMUM", "No value below", number, None, True),
        QgsProcessingParameterNumber("MAXIMUM", "No value above", number, None, True),
        QgsProcessingParameterBoolean("ERROR", "Add how wrong each cell may be (expected error)", False),
    ]


def more_parameters() -> list[QgsProcessingParameterDefinition]:
    """Return what few need."""
    number = QgsProcessingParameterNumber.Integer
    return [
        as_advanced(QgsProcessingParameterNumber("THREADS", "Threads (all cores if empty)", number, None, True, 1)),
        as_advanced(
            QgsProcessingParameterString("OPTIONS", "Further options of geofsrcnn, such as --cog", "", False, True)
        ),
    ]


class Values:
    """The values of a tool's parameters as arguments of the program."""

    def __init__(self, tool: QgsProcessingAlgorithm, parameters: dict[str, Any], context: Any) -> None:
        self._of = tool, parameters, context

    def given(self, name: str) -> bool:
        """Tell whether a parameter that may be left out has a value."""
        _, parameters, _ = self._of
        return parameters.get(name) not in (None, "")

    def text(self, name: str) -> str:
        """Return a text."""
        tool, parameters, context = self._of
        return str(tool.parameterAsString(parameters, name, context)).strip()

    def model(self) -> list[str]:
        """Return the factor and the model."""
        tool, parameters, context = self._of
        file = self.text("MODEL_FILE") if tool.parameterDefinition("MODEL_FILE") else ""
        model = file or tool.parameterAsEnumString(parameters, "MODEL", context)
        return ["--factor", str(tool.parameterAsInt(parameters, "FACTOR", context)), "--model", model]

    def values(self) -> list[str]:
        """Return the range, of which one end may be left out, and the expected error."""
        tool, parameters, context = self._of
        found = []
        if self.given("MINIMUM") or self.given("MAXIMUM"):
            low = tool.parameterAsDouble(parameters, "MINIMUM", context) if self.given("MINIMUM") else "-inf"
            high = tool.parameterAsDouble(parameters, "MAXIMUM", context) if self.given("MAXIMUM") else "inf"
            found += ["--range", str(low), str(high)]
        if tool.parameterAsBool(parameters, "ERROR", context):
            found.append("--error")
        return found

    def more(self) -> list[str]:
        """Return the arguments of what few need."""
        tool, parameters, context = self._of
        found = []
        if self.given("THREADS"):
            found += ["--threads", str(tool.parameterAsInt(parameters, "THREADS", context))]
        try:
            return found + shlex.split(self.text("OPTIONS"))
        except ValueError as error:
            raise ToolError(f"further options cannot be read ({error}): close all quotes") from None


def summary_text(summary: dict[str, Any]) -> str:
    """Return what was done in one line."""
    sizes = ["?" if not summary.get(name) else " x ".join(map(str, summary[name])) for name in ("coarse", "fine")]
    return f"{summary['model']}: {sizes[0]} cells became {sizes[1]} in {summary['seconds']:.1f} seconds"
