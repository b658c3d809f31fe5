# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin: adds the tools to Processing and to the Raster menu, and offers to install the program."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QPushButton

from . import settings
from .process import ToolError
from .program import find
from .provider import ICON, Provider

MENU = "geofsrcnn"

ENTRIES = (
    ("Make a raster finer…", "geofsrcnn:upscale"),
    ("Is it any good on my data?…", "geofsrcnn:evaluate"),
    ("Install the program…", "geofsrcnn:install"),
)


class Plugin:
    """What QGIS loads and unloads.

    Parameters
    ----------
    iface : QgisInterface or None
        QGIS's windows; None where there are none, as under ``qgis_process``.
    """

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.provider: Provider | None = None
        self.actions: list[QAction] = []

    def initProcessing(self) -> None:
        """Add the tools; all that ``qgis_process`` calls."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the tools and the menu, and say if the program is missing."""
        self.initProcessing()
        for words, tool in ENTRIES:
            action = QAction(QIcon(str(ICON)), words, self.iface.mainWindow())
            action.triggered.connect(lambda _checked=False, tool=tool: open_dialog(tool))
            self.iface.addPluginToRasterMenu(MENU, action)
            self.actions.append(action)
        self._offer_to_install()

    def unload(self) -> None:
        """Take everything away again."""
        for action in self.actions:
            self.iface.removePluginRasterMenu(MENU, action)
        self.actions.clear()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def _offer_to_install(self) -> None:
        """Show a bar with a button, if the program is not there."""
        try:
            find(settings.program())
        except ToolError as error:
            bar = self.iface.messageBar()
            message = bar.createMessage("geofsrcnn", str(error))
            button = QPushButton("Install…", message)
            button.clicked.connect(lambda: open_dialog("geofsrcnn:install"))
            message.layout().addWidget(button)
            bar.pushWidget(message, Qgis.MessageLevel.Warning)


def open_dialog(tool: str) -> None:
    """Open the dialog of a tool."""
    import processing

    processing.execAlgorithmDialog(tool)
