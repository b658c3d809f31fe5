# SPDX-License-Identifier: GPL-2.0-or-later
"""Installing the program for the user, without an administrator."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsProcessingOutputString, QgsProcessingParameterString

from ..install import install
from ..program import own_environment
from .base import FeedbackListener, Tool, Values, as_advanced


class Install(Tool):
    """Makes an environment with the program in it."""

    identifier = "install"
    title = "Install the program"
    help = (
        "Installs the program geofsrcnn for you, or the newest version of it, in a folder of your own. No administrator "
        "is needed, and nothing of QGIS changes. It needs the internet, some minutes and 1 to 2 GB of disk.\n\n"
        "uv or Python 3.11, 3.12 or 3.13 must be on the computer; new versions of QGIS for Windows bring one.\n\n"
        "To remove it, delete the folder that the log names."
    )

    def initAlgorithm(self, config: Any = None) -> None:
        """Add the parameter and the output."""
        words = "Package, instead of the published one (a .whl file, or what pip takes)"
        self.addParameter(as_advanced(QgsProcessingParameterString("PACKAGE", words, "", False, True)))
        self.addOutput(QgsProcessingOutputString("PROGRAM", "Program"))

    def canExecute(self) -> tuple[bool, str]:
        """Tell that it can always run."""
        return True, ""

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Install."""
        listener.feedback.pushInfo(f"Folder: {own_environment()}")
        program = install(listener, Values(self, parameters, context).text("PACKAGE"))
        return {"PROGRAM": str(program)}
