# SPDX-License-Identifier: GPL-2.0-or-later
"""How good models are on a layer of the user's, as a page."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingOutputHtml,
    QgsProcessingParameterBand,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterRasterLayer,
)
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QDesktopServices
from qgis.utils import iface

from ..process import ToolError
from ..source import as_file, facts_of
from .base import FeedbackListener, Tool, Values, as_advanced, model_parameters


class Evaluate(Tool):
    """``geofsrcnn evaluate`` on a raster layer."""

    identifier = "evaluate"
    title = "Evaluate on my data (is it any good?)"
    help = (
        "Tells how good a model is on data of yours. The layer is made coarser, then finer again, and compared with "
        "itself; beside the model stand bilinear, cubic and other methods of the field.\n\n"
        "The result is a page with a verdict, tables and maps, which opens when it is done. Take a layer as fine as what "
        "you want to make, of the same kind and from a similar region."
    )

    def initAlgorithm(self, config: Any = None) -> None:
        """Add the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", "Raster layer"))
        for parameter in model_parameters(asks=self.provider() is not None):
            self.addParameter(parameter)
        bands = QgsProcessingParameterBand("BANDS", "Bands (all if empty)", None, "INPUT", True, True)
        self.addParameter(as_advanced(bands))
        self.addParameter(QgsProcessingParameterFolderDestination("OUTPUT", "Folder of the page"))
        self.addOutput(QgsProcessingOutputHtml("PAGE", "Page"))

    def look(self, parameters: dict[str, Any], context: Any) -> None:
        """Read the layer."""
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer is None or not layer.isValid():
            raise ToolError("the raster layer cannot be opened: is its file still there?")
        self.facts, self.page = facts_of(layer), ""

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Run the program on the layer."""
        target = self.parameterAsString(parameters, "OUTPUT", context)
        values = Values(self, parameters, context)
        bands = self.parameterAsInts(parameters, "BANDS", context) if values.given("BANDS") else []
        path = Path(target).absolute()
        with tempfile.TemporaryDirectory(prefix="geofsrcnn-") as folder:
            source, more = as_file(self.facts, bands, Path(folder), listener)
            arguments = [source, *values.model(), "--report", str(path), "--overwrite", *more]
            found = self.run_command("evaluate", arguments, str(path), listener)
        for comparison in found["variables"]:
            listener.feedback.pushInfo(comparison["verdict"])
        self.page = str(path / "report.html")
        return {"OUTPUT": target, "PAGE": self.page}

    def postProcessAlgorithm(self, context: Any, feedback: Any) -> dict[str, Any]:
        """Open the page, where there are windows; in the main thread."""
        if self.page and iface is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self.page))
        return {}
