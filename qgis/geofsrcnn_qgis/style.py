# SPDX-License-Identifier: GPL-2.0-or-later
"""The style of a layer, given to another that is loaded when a tool has ended."""

from __future__ import annotations

from typing import Any

from qgis.core import QgsMapLayer, QgsProcessingLayerPostProcessorInterface
from qgis.PyQt.QtXml import QDomDocument

PARTS = QgsMapLayer.StyleCategory.Symbology | QgsMapLayer.StyleCategory.Rendering


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


def keep_style(context: Any, target: str, style: QDomDocument, name: str) -> None:
    """Let a layer that will be loaded have a style and a name."""
    if context.willLoadLayerOnCompletion(target):
        details = context.layerToLoadOnCompletionDetails(target)
        details.name = name
        details.setPostProcessor(StyleGiver(style))
