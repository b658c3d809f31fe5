"""The result in a project: how it is shown, and what it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from osgeo import gdal
from qgis.core import (
    Qgis,
    QgsMultiBandColorRenderer,
    QgsPalettedRasterRenderer,
    QgsProject,
    QgsRasterLayer,
    QgsSingleBandPseudoColorRenderer,
)
from started import run

FOLDER = Path(sys.argv[1]).parent


def finer(layer: QgsRasterLayer, **more: Any) -> QgsRasterLayer:
    """What a layer of the project becomes in it."""
    import processing

    project = QgsProject.instance()
    project.removeAllMapLayers()
    project.addMapLayer(layer)
    parameters = {"INPUT": layer, "FACTOR": 2, "MODEL": "cubic", "OUTPUT": "TEMPORARY_OUTPUT", **more}
    processing.runAndLoadResults("geofsrcnn:upscale", parameters)
    (fine,) = (each for each in project.mapLayers().values() if each.id() != layer.id())
    return fine


def coloured() -> dict[str, Any]:
    """One band in colours, half transparent."""
    layer = QgsRasterLayer(sys.argv[1], "my dem")
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1)
    renderer.setClassificationMin(321.5)
    renderer.setClassificationMax(987.5)
    renderer.setOpacity(0.75)
    layer.setRenderer(renderer)
    fine = finer(layer)
    shown = fine.renderer()
    limits = [shown.classificationMin(), shown.classificationMax()]
    return {"name": fine.name(), "kind": shown.type(), "limits": limits, "opacity": shown.opacity()}


def bands(wanted: list[int]) -> list[Any]:
    """Some bands of a layer that shows its bands 4, 3 and 2."""
    path = str(FOLDER / "scene.vrt")
    gdal.Translate(path, sys.argv[1], format="VRT", bandList=[1, 1, 1, 1])
    layer = QgsRasterLayer(path, "scene")
    layer.setRenderer(QgsMultiBandColorRenderer(layer.dataProvider(), 4, 3, 2))
    fine = finer(layer, BANDS=wanted)
    return [fine.bandCount(), fine.renderer().type(), fine.renderer().usesBands()]


def classes() -> list[float]:
    """The values of a layer of two classes."""
    path = str(FOLDER / "cover.tif")
    dataset = gdal.GetDriverByName("GTiff").Create(path, 16, 16)
    dataset.SetGeoTransform((0, 1, 0, 0, 0, -1))
    dataset.GetRasterBand(1).Fill(10)
    dataset.GetRasterBand(1).WriteRaster(3, 5, 6, 6, bytes([90] * 36))
    dataset = None
    layer = QgsRasterLayer(path, "cover")
    parts = QgsPalettedRasterRenderer.classDataFromRaster(layer.dataProvider(), 1)
    layer.setRenderer(QgsPalettedRasterRenderer(layer.dataProvider(), 1, parts))
    fine = finer(layer)
    found = QgsPalettedRasterRenderer.classDataFromRaster(fine.dataProvider(), 1)
    return [fine.width(), *(each.value for each in found)]


def fractions() -> list[bool]:
    """Whether what a layer of whole numbers becomes holds whole numbers, without the box and with it."""
    path = str(FOLDER / "whole.tif")
    gdal.Translate(path, sys.argv[1], outputType=gdal.GDT_Int16)
    layers = (QgsRasterLayer(path, name) for name in ("without", "with"))
    types = [finer(layer, FRACTIONS=layer.name() == "with").dataProvider().dataType(1) for layer in layers]
    return [found == Qgis.DataType.Int16 for found in types]


def main() -> dict[str, Any]:
    """Styles of layers and of what they became."""
    return {
        "coloured": coloured(),
        "bands 2 to 4": bands([2, 3, 4]),
        "bands 1 and 2": bands([1, 2]),
        "classes": classes(),
        "whole": fractions(),
    }


run(main)
