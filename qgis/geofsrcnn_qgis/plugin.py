# SPDX-License-Identifier: GPL-2.0-or-later
"""The plugin: adds the tools to Processing and to the Raster menu, and offers to install the program."""

from __future__ import annotations

from typing import Any

from qgis.core import Qgis, QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction, QPushButton

from . import settings
from .process import ToolError
from .program import NotInstalled, find
from .provider import Provider

MENU = "geofsrcnn"

ENTRIES = (
    ("Make a raster finer…", "geofsrcnn:upscale"),
    ("Make a NetCDF or Zarr file finer…", "geofsrcnn:upscale_file"),
    ("Is it any good on my data?…", "geofsrcnn:evaluate"),
    ("Check the program…", "geofsrcnn:check"),
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
        self.offer: Any = None  # a function that held it would be collected with it, and QGIS would call what is gone

    def initProcessing(self) -> None:
        """Add the tools; all that ``qgis_process`` calls."""
        self.provider = Provider()
        QgsApplication.processingRegistry().addProvider(self.provider)

    def initGui(self) -> None:
        """Add the tools and the menu, and say if the program is missing."""
        self.initProcessing()
        for words, tool in ENTRIES:
            action = QAction(QIcon(str(settings.ICON)), words, self.iface.mainWindow())
            action.triggered.connect(lambda _checked=False, tool=tool: open_dialog(tool))
            self.iface.addPluginToRasterMenu(MENU, action)
            self.actions.append(action)
        self._offer_to_install()

    def unload(self) -> None:
        """Take everything away again."""
        for action in self.actions:
            self.iface.removePluginRasterMenu(MENU, action)
        self.actions.clear()
        if self.iface is not None:
            self._withdraw_offer()
        if self.provider is not None:
            QgsApplication.processingRegistry().removeProvider(self.provider)
            self.provider = None

    def _offer_to_install(self) -> None:
        """Show a bar with a button if the program is not there, and what is wrong if a place is named where it is not."""
        bar = self.iface.messageBar()
        try:
            find(settings.program())
        except NotInstalled:
            self.offer = bar.createMessage(MENU, "the tools need a program that is not on this computer yet")
            button = QPushButton("Install…", self.offer)
            button.clicked.connect(self._install)
            self.offer.layout().addWidget(button)
            bar.pushWidget(self.offer, Qgis.MessageLevel.Warning)
        except ToolError as error:
            bar.pushMessage(MENU, str(error), Qgis.MessageLevel.Warning, 0)

    def _install(self) -> None:
        """Open the dialog that installs the program, and take the offer away when it is there."""
        open_dialog("geofsrcnn:install")
        try:
            find(settings.program())
        except ToolError:
            return
        self._withdraw_offer()

    def _withdraw_offer(self) -> None:
        """Take the bar with the button away, if it is there; the user may have closed it."""
        if self.offer is not None and self.offer in self.iface.messageBar().items():
            self.iface.messageBar().popWidget(self.offer)
        self.offer = None


def open_dialog(tool: str) -> None:
    """Open the dialog of a tool."""
    import processing

    processing.execAlgorithmDialog(tool)
