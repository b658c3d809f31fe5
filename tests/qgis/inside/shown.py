"""A dataset made finer in a project: the layers that it is shown as."""

from __future__ import annotations

import sys

from qgis.core import QgsProject
from started import Told, run


def main() -> dict[str, object]:
    """Names, sizes and units of the layers, with the box ticked and not."""
    import processing

    source, *targets = sys.argv[1:]
    found, project = {}, QgsProject.instance()
    for target in targets:
        for load in (True, False):
            told = Told()
            parameters = {"INPUT": source, "FACTOR": 2, "MODEL": "cubic", "OUTPUT": target, "LOAD": load}
            processing.runAndLoadResults("geofsrcnn:upscale_file", parameters, feedback=told)
            layers = [
                [layer.name(), layer.bandCount(), layer.height(), layer.width(), layer.isValid()]
                for layer in project.mapLayers().values()
            ]
            found[f"{target.rpartition('.')[2]} {load}"] = {
                "layers": sorted(layers),
                "said": told.warnings + told.errors,
            }
            project.removeAllMapLayers()
    return found


run(main)
