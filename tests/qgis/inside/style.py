"""The result in a project: how it is shown, and what it is called."""

from __future__ import annotations

import sys

from qgis.core import QgsProject, QgsRasterLayer
from started import run


def main() -> dict[str, object]:
    """The style of a layer and of what it became."""
    import processing
    from qgis.core import QgsSingleBandPseudoColorRenderer

    layer = QgsRasterLayer(sys.argv[1], "my dem")
    renderer = QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1)
    renderer.setClassificationMin(321.5)
    renderer.setClassificationMax(987.5)
    renderer.setOpacity(0.75)
    layer.setRenderer(renderer)
    QgsProject.instance().addMapLayer(layer)
    parameters = {"INPUT": layer, "FACTOR": 2, "MODEL": "cubic", "OUTPUT": "TEMPORARY_OUTPUT"}
    processing.runAndLoadResults("geofsrcnn:upscale", parameters)
    (fine,) = (each for each in QgsProject.instance().mapLayers().values() if each.id() != layer.id())
    shown = fine.renderer()
    return {
        "name": fine.name(),
        "kind": shown.type(),
        "limits": [shown.classificationMin(), shown.classificationMax()],
        "opacity": shown.opacity(),
    }


run(main)
