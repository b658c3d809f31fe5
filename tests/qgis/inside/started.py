"""QGIS without windows, with the plugin: what the scripts beside this one begin with."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

sys.path += ["/usr/share/qgis/python/plugins", *os.environ["QGIS_PLUGINPATH"].split(os.pathsep)]

from qgis.core import QgsApplication, QgsProcessingFeedback


class Told(QgsProcessingFeedback):
    """Remembers errors and warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def reportError(self, error: str, fatalError: bool = False) -> None:
        self.errors.append(error)

    def pushWarning(self, warning: str) -> None:
        self.warnings.append(warning)


def run(main: Callable[[], Any]) -> None:
    """Run a function in QGIS, and print what it returns as the last line."""
    application = QgsApplication([], False)
    application.initQgis()
    from geofsrcnn_qgis.plugin import Plugin
    from processing.core.Processing import Processing

    Processing.initialize()
    plugin = Plugin(None)
    plugin.initProcessing()
    print(json.dumps(main()), flush=True)
    os._exit(0)  # layers that Python still holds would end QGIS with a crash


def outcome(tool: str, **parameters: Any) -> dict[str, Any]:
    """What comes of a tool: its outputs, or its error."""
    import processing
    from qgis.core import QgsProcessingException

    told = Told()
    try:
        found = processing.run(f"geofsrcnn:{tool}", parameters, feedback=told)
    except QgsProcessingException as error:
        return {"error": str(error), "errors": told.errors}
    return {**found, "warnings": told.warnings}
