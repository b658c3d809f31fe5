# SPDX-License-Identifier: GPL-2.0-or-later
"""A NetCDF file or a Zarr store made finer, all its variables and times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    QgsProcessingContext,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterString,
    QgsRasterLayer,
)

from .base import FeedbackListener, Tool, Values, model_parameters, more_parameters, summary_text, value_parameters

INSIDE_ZARR = {"zarr.json", ".zgroup", ".zmetadata", ".zattrs"}
"""Files at the top of a Zarr store: a dialog for files cannot choose the folder."""


class UpscaleFile(Tool):
    """``geofsrcnn upscale`` on a dataset."""

    identifier = "upscale_file"
    title = "Upscale NetCDF or Zarr file"
    help = (
        "Makes all variables and times of a NetCDF file or a Zarr store finer. Times, units and attributes are kept, "
        "which a raster layer of QGIS does not hold: so give the file, not a layer.\n\n"
        "<b>File</b>: a .nc file; of a Zarr store its folder, or the file zarr.json, .zgroup or .zmetadata in it.\n\n"
        "<b>Variables</b>: names with commas between, such as t2m,tp; all if empty.\n\n"
        "<b>Finer file</b>: its suffix says what is written: .nc, .zarr or .tif. Each of its variables can be shown as a "
        "layer, with a band for each time; Zarr only where QGIS's GDAL reads it."
    )

    def initAlgorithm(self, config: Any = None) -> None:
        """Add the parameters."""
        self.addParameter(QgsProcessingParameterFile("INPUT", "File (NetCDF or Zarr)"))
        variables = QgsProcessingParameterString("VARIABLES", "Variables (all if empty)", "", False, True)
        kinds = "NetCDF files (*.nc);;Zarr stores (*.zarr);;GeoTIFF files (*.tif)"
        for parameter in (
            *model_parameters(asks=self.provider() is not None),
            variables,
            *value_parameters(),
            *more_parameters(),
            QgsProcessingParameterFileDestination("OUTPUT", "Finer file", kinds),
            QgsProcessingParameterBoolean("LOAD", "Show its variables in the project", True),
        ):
            self.addParameter(parameter)

    def work(self, parameters: dict[str, Any], context: Any, listener: FeedbackListener) -> dict[str, Any]:
        """Run the program on the file."""
        self.shown: dict[str, str] = {}
        source = Path(self.parameterAsFile(parameters, "INPUT", context)).absolute()
        if source.name in INSIDE_ZARR:
            source = source.parent
        target = self.parameterAsFileOutput(parameters, "OUTPUT", context)
        values = Values(self, parameters, context)
        arguments = [*values.model(), *values.values(), *values.more(), "--overwrite"]
        if values.given("VARIABLES"):
            arguments += ["--variables", values.text("VARIABLES").replace(" ", "")]
        path = str(Path(target).absolute())
        summary = self.run_command("upscale", [str(source), path, *arguments], path, listener)
        listener.feedback.pushInfo(summary_text(summary))
        if self.parameterAsBool(parameters, "LOAD", context):
            self.shown = layers_in(path, summary["fine"])
            if not self.shown:
                listener.warn(f"QGIS cannot read {path}, so that it is not shown: the file is whole all the same")
        return {"OUTPUT": target}

    def postProcessAlgorithm(self, context: Any, feedback: Any) -> dict[str, Any]:
        """Let QGIS show the finer variables; in the main thread, which owns the layers of the project."""
        for source, name in self.shown.items():
            layer = QgsRasterLayer(source, name, "gdal")
            details = QgsProcessingContext.LayerDetails(name, context.project(), "OUTPUT")
            details.forceName = True
            context.temporaryLayerStore().addMapLayer(layer)
            context.addLayerToLoadOnCompletion(layer.id(), details)
        return {}


def layers_in(path: str, shape: list[int]) -> dict[str, str]:
    """Return the variables of a file that lie on a grid, as QGIS opens them, and their names; none if it cannot."""
    dataset = _open(path)
    if dataset is None:
        return {}
    parts = [source for source, _ in dataset.GetSubDatasets()]
    if not parts:
        return {path: Path(path).stem}
    sizes = {source: _open(source) for source in parts}
    fields = [source for source, part in sizes.items() if part and [part.RasterYSize, part.RasterXSize] == shape]
    return {source: f"{Path(path).stem} {source.rpartition(':')[2].strip('/')}" for source in fields}


def _open(source: str) -> gdal.Dataset | None:
    """Open a raster; None if GDAL cannot."""
    try:
        return gdal.OpenEx(source, gdal.OF_RASTER)
    except RuntimeError:  # where another plugin has switched GDAL's exceptions on
        return None
