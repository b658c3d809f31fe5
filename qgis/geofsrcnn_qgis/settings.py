# SPDX-License-Identifier: GPL-2.0-or-later
"""The setting of the plugin, which stands in QGIS's options, under Processing, Providers."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt.QtGui import QIcon

ICON = Path(__file__).parent / "icon.png"

GROUP, PROGRAM = "geofsrcnn", "GEOFSRCNN_PROGRAM"


def program() -> str:
    """Return where the program is, as the user has set it; empty if it is to be looked for."""
    from processing.core.ProcessingConfig import ProcessingConfig

    return str(ProcessingConfig.getSetting(PROGRAM) or "")


def add() -> None:
    """Add the setting to QGIS's options."""
    from processing.core.ProcessingConfig import ProcessingConfig, Setting

    words = "The program geofsrcnn (empty: it is looked for; its file, or the folder of its environment)"
    ProcessingConfig.setGroupIcon(GROUP, QIcon(str(ICON)))
    ProcessingConfig.addSetting(Setting(GROUP, PROGRAM, words, "", valuetype=Setting.FILE))
    ProcessingConfig.readSettings()


def remove() -> None:
    """Remove the setting from QGIS's options; its value stays for the next time."""
    from processing.core.ProcessingConfig import ProcessingConfig

    ProcessingConfig.removeSetting(PROGRAM)
