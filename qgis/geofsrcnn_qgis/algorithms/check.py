# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the program is, and what it can do."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingOutputString

from .. import settings
from ..program import find, models_of, version_of
from .base import FeedbackListener, Tool


class Check(Tool):
    """Says which program the tools run."""

    identifier = "check"
    title = "Check the program"
    help = (
        "Says which program geofsrcnn the tools run, its version and its models; or how to install it, if it is not there. "
        "It is looked for in the setting (Settings > Options > Processing > Providers > geofsrcnn), the variable "
        "GEOFSRCNN, the environment that 'Install the program' makes, and on PATH."
    )

    def initAlgorithm(self, config: Any = None) -> None:
        """Add the outputs."""
        self.addOutput(QgsProcessingOutputString("PROGRAM", "Program"))
        self.addOutput(QgsProcessingOutputString("VERSION", "Version"))

    def canExecute(self) -> tuple[bool, str]:
        """Tell that it can always run: it says what is missing."""
        return True, ""

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Find the program, and ask it."""
        program = find(settings.program())
        version = version_of(program)
        listener.feedback.pushInfo(f"geofsrcnn {version}: {program}")
        for model in models_of(program)["models"]:
            listener.feedback.pushInfo(f"{model['name']}, {model['factor']} times finer: {model['summary']}")
        return {"PROGRAM": str(program), "VERSION": version}
