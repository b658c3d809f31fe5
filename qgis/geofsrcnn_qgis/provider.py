# SPDX-License-Identifier: GPL-2.0-or-later
"""The group of tools in the Processing Toolbox."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from . import settings
from .algorithms.check import Check
from .algorithms.evaluate import Evaluate
from .algorithms.install import Install
from .algorithms.upscale_file import UpscaleFile
from .algorithms.upscale_raster import UpscaleRaster

TOOLS = (UpscaleRaster, UpscaleFile, Evaluate, Check, Install)


class Provider(QgsProcessingProvider):
    """Tools that run the program geofsrcnn."""

    def id(self) -> str:
        """Return the name that scripts use."""
        return "geofsrcnn"

    def name(self) -> str:
        """Return the name in the toolbox."""
        return "geofsrcnn"

    def longName(self) -> str:
        """Return the name with what it is."""
        return "geofsrcnn (finer rasters)"

    def icon(self) -> QIcon:
        """Return the icon of the tools."""
        return QIcon(str(settings.ICON))

    def load(self) -> bool:
        """Add the setting, and the tools."""
        settings.add()
        self.refreshAlgorithms()
        return True

    def unload(self) -> None:
        """Remove the setting."""
        settings.remove()

    def loadAlgorithms(self) -> None:
        """Add the tools."""
        for tool in TOOLS:
            self.addAlgorithm(tool())

    def supportsNonFileBasedOutput(self) -> bool:
        """Return False: the program writes files."""
        return False

    def supportedOutputRasterLayerExtensions(self) -> list[str]:
        """Return suffixes of what the program writes and QGIS shows."""
        return ["tif", "nc"]

    def defaultRasterFileExtension(self) -> str:
        """Return the suffix of temporary outputs."""
        return "tif"
