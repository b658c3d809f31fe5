"""A coarse raster beside the finer one, hillshaded by QGIS: the picture of docs/qgis.md.

After ``make demo``: ``/usr/bin/python3 qgis/picture.py demo/coarse.tif demo/fine.tif docs/qgis.png``
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (
    QgsApplication,
    QgsColorRampShader,
    QgsHillshadeRenderer,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsRasterShader,
    QgsRectangle,
    QgsSingleBandPseudoColorRenderer,
)
from qgis.PyQt.QtCore import QRect, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFont, QImage, QPainter

ROWS, COLUMNS = (44, 80), (44, 88)
"""The part that is shown, in cells of the coarse raster, as the whole shows no cells."""

SIZE, TITLE, GAP = 12, 34, 12
"""Pixels: of a coarse cell, above a panel and between panels."""

METRES_TO_DEGREES = 1 / 111_120
"""Of latitude: heights are in metres, places in degrees."""

COLOURS = ((260, "#5d7a4a"), (420, "#a8b27a"), (620, "#d9c89a"), (820, "#b08f68"), (980, "#f2efe9"))
"""Of heights in metres."""


def coloured(path: str) -> QgsRasterLayer:
    """A layer in colours of its heights."""
    layer = QgsRasterLayer(path, "colours")
    ramp = QgsColorRampShader()
    ramp.setColorRampType(QgsColorRampShader.Interpolated)
    ramp.setColorRampItemList([QgsColorRampShader.ColorRampItem(value, QColor(name)) for value, name in COLOURS])
    shader = QgsRasterShader()
    shader.setRasterShaderFunction(ramp)
    layer.setRenderer(QgsSingleBandPseudoColorRenderer(layer.dataProvider(), 1, shader))
    return layer


def shaded(path: str) -> QgsRasterLayer:
    """A layer of its shadows, which darkens what lies below it."""
    layer = QgsRasterLayer(path, "shadows")
    renderer = QgsHillshadeRenderer(layer.dataProvider(), 1, 315, 45)
    renderer.setZFactor(METRES_TO_DEGREES)
    layer.setRenderer(renderer)
    layer.setBlendMode(QPainter.CompositionMode_Multiply)
    return layer


def rendered(path: str, refined: int) -> QImage:
    """The part of a raster as QGIS draws it, one pixel a cell; its shadows have lines between cells at other scales."""
    layers = [shaded(path), coloured(path)]
    whole = layers[0].extent()
    step = layers[0].rasterUnitsPerPixelX() * refined
    west, north = whole.xMinimum() + COLUMNS[0] * step, whole.yMaximum() - ROWS[0] * step
    width, height = COLUMNS[1] - COLUMNS[0], ROWS[1] - ROWS[0]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[0].crs())
    settings.setExtent(QgsRectangle(west, north - height * step, west + width * step, north))
    settings.setOutputSize(QSize(width * refined, height * refined))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage().scaled(width * SIZE, height * SIZE)


def main(coarse: str, fine: str, target: str) -> None:
    """Draw both, and write the picture."""
    images = rendered(coarse, 1), rendered(fine, 3)
    width, height = images[0].width(), images[0].height()
    picture = QImage(2 * width + GAP, TITLE + height, QImage.Format_RGB32)
    picture.fill(Qt.white)
    painter = QPainter(picture)
    painter.setFont(QFont("DejaVu Sans", 13))
    titles = "the layer: cells of 9 arc seconds (280 m)", "upscaled x3: cells of 3 arc seconds (93 m)"
    for number, title in enumerate(titles):
        left = number * (width + GAP)
        painter.drawText(QRect(left, 0, width, TITLE), Qt.AlignCenter, title)
        painter.drawImage(left, TITLE, images[number])
    painter.end()
    if not picture.save(target):
        sys.exit(f"{target} cannot be written")


if __name__ == "__main__":
    application = QgsApplication([], False)
    application.initQgis()
    main(*sys.argv[1:4])
    os._exit(0)  # QGIS would end with a crash where Python still holds layers
