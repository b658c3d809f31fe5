# SPDX-License-Identifier: GPL-2.0-or-later
"""The style of a layer, given to another that is loaded when a tool has ended."""

from __future__ import annotations

from typing import Any, Sequence

from qgis.core import QgsMapLayer, QgsProcessingLayerPostProcessorInterface
from qgis.PyQt.QtXml import QDomDocument

PARTS = QgsMapLayer.StyleCategory.Symbology | QgsMapLayer.StyleCategory.Rendering


BANDS = ("band", "grayBand", "redBand", "greenBand", "blueBand", "alphaBand")
"""Attributes of a style that hold the number of a band; 0 or less where there is none."""


class StyleGiver(QgsProcessingLayerPostProcessorInterface):
    """Gives a style to a layer that QGIS has loaded; in the main thread.

    Parameters
    ----------
    style : QDomDocument
        What `style_of` gave.
    """

    alive: list[StyleGiver] = []
    """Those that QGIS may still call: it holds no reference that Python knows of."""

    def __init__(self, style: QDomDocument) -> None:
        super().__init__()
        self.style = style
        StyleGiver.alive = [*StyleGiver.alive[-7:], self]

    def postProcessLayer(self, layer: Any, context: Any, feedback: Any) -> None:
        """Give the style."""
        layer.importNamedStyle(self.style, PARTS)
        layer.triggerRepaint()


def style_of(layer: Any) -> QDomDocument:
    """Return how a layer is shown."""
    style = QDomDocument("qgis")
    layer.exportNamedStyle(style, categories=PARTS)
    return style


def for_bands(style: QDomDocument, bands: Sequence[int]) -> QDomDocument | None:
    """Return a style of a layer for some of its bands, which are numbered anew; None if it needs another one."""
    if not bands:
        return style
    renderers = style.elementsByTagName("rasterrenderer")
    for renderer in (renderers.at(index).toElement() for index in range(renderers.count())):
        for name in BANDS:
            number = int(renderer.attribute(name, "0"))
            if number > 0 and number not in bands:
                return None
            if number > 0:
                renderer.setAttribute(name, bands.index(number) + 1)
    return style


def keep_style(context: Any, target: str, style: QDomDocument | None, name: str) -> None:
    """Let a layer that will be loaded have a name and a style, QGIS's own if there is none."""
    if context.willLoadLayerOnCompletion(target):
        details = context.layerToLoadOnCompletionDetails(target)
        details.name = name
        if style is not None:
            details.setPostProcessor(StyleGiver(style))
