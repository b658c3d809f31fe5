# SPDX-License-Identifier: GPL-2.0-or-later
"""A layer of the project made finer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
)

from ..process import ToolError
from ..source import as_file, facts_of
from ..style import for_bands, keep_style, style_of
from .base import (
    KINDS,
    FeedbackListener,
    Tool,
    Values,
    as_advanced,
    model_parameters,
    more_parameters,
    summary_text,
    value_parameters,
)


class UpscaleRaster(Tool):
    """``geofsrcnn upscale`` on a raster layer."""

    identifier = "upscale"
    title = "Upscale raster (make it finer)"
    help = (
        "Makes a raster layer 2 to 8 times finer with a small neural network. The new cells lie exactly within the old "
        "ones, and their mean is the old cell: nothing is shifted, no unit changes, missing cells stay missing.\n\n"
        "<b>How many times finer</b>: 3 makes 9 cells of each.\n\n"
        "<b>Model</b>: default is a network (2 to 6 times finer); small is four times as fast (2 to 4 times). "
        "Classical methods serve every factor. Classes, such as land cover, are repeated, never interpolated, if the "
        "layer shows them as such (paletted), or its file says that it holds classes.\n\n"
        "<b>No value below, above</b>: limits that the result keeps, such as 0 and 100 for a share in percent.\n\n"
        "<b>Expected error</b>: a second band with the error to expect in each cell.\n\n"
        "<b>Keep fractions</b>: for layers of whole numbers, as most DEMs are: else the result has steps of one.\n\n"
        "The result is loaded in the style of the layer. Virtual rasters are written out first; web maps (WMS, XYZ) are "
        "pictures and cannot be made finer."
    )

    def initAlgorithm(self, config: Any = None) -> None:
        """Add the parameters."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", "Raster layer"))
        fractions = QgsProcessingParameterBoolean("FRACTIONS", "Keep fractions, as of heights in whole metres", False)
        for parameter in (*model_parameters(asks=self.provider() is not None), *value_parameters(), fractions):
            self.addParameter(parameter)
        bands = QgsProcessingParameterBand("BANDS", "Bands (all if empty)", None, "INPUT", True, True)
        extent = QgsProcessingParameterExtent("EXTENT", "Only this part", None, True)
        kinds = QgsProcessingParameterEnum("KIND", "The cells are", list(KINDS), False, KINDS[0], True, True)
        for parameter in (bands, extent, kinds, *more_parameters()):
            self.addParameter(as_advanced(parameter))
        self.addParameter(QgsProcessingParameterRasterDestination("OUTPUT", "Finer raster"))

    def look(self, parameters: dict[str, Any], context: Any) -> None:
        """Read the layer, its style, and the extent in its CRS."""
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer is None or not layer.isValid():
            raise ToolError("the raster layer cannot be opened: is its file still there?")
        self.facts, self.style = facts_of(layer), style_of(layer)
        self.classes = [layer.renderer().band()] if layer.renderer().type() == "paletted" else []
        self.part = self.parameterAsExtent(parameters, "EXTENT", context, layer.crs())

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Run the program on the layer."""
        target = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        values = Values(self, parameters, context)
        bands = self.parameterAsInts(parameters, "BANDS", context) if values.given("BANDS") else []
        arguments = [*values.model(), *values.values()]
        if self.parameterAsBool(parameters, "FRACTIONS", context):
            arguments += ["--dtype", "float32"]
        arguments += [*values.more(), "--overwrite"]
        if not self.part.isNull():
            edges = self.part.xMinimum(), self.part.yMinimum(), self.part.xMaximum(), self.part.yMaximum()
            arguments += ["--bounds", *map(repr, edges)]
        arguments += self._kinds(parameters, bands, context)
        with tempfile.TemporaryDirectory(prefix="geofsrcnn-") as folder:
            source, more = as_file(self.facts, bands, Path(folder), listener)
            path = str(Path(target).absolute())
            summary = self.run_command("upscale", [source, path, *arguments, *more], path, listener)
        listener.feedback.pushInfo(summary_text(summary))
        keep_style(context, target, for_bands(self.style, bands), f"{self.facts.name} x{summary['factor']}")
        return {"OUTPUT": target}

    def _kinds(self, parameters: dict[str, Any], bands: list[int], context: Any) -> list[str]:
        """Return what the cells are as arguments: as the user says, and classes where the style shows classes."""
        kind = self.parameterAsEnumString(parameters, "KIND", context)
        found = []
        for position, band in enumerate(bands or range(1, len(self.facts.nodata) + 1), 1):
            if kind in KINDS[1:]:
                found += ["--as", f"{position}={kind}"]
            elif band in self.classes:
                found += ["--as", f"{position}=category"]
        return found
