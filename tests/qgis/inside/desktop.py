"""QGIS with its windows: what a user meets who has not installed the program, and then has; run by ``qgis --code``.

What was seen is written to the file that DESKTOP_SEEN names, pictures of windows into its folder.
"""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import QTimer
from qgis.PyQt.QtWidgets import QApplication, QProgressBar, QPushButton, QTextEdit
from qgis.utils import iface, loadPlugin, startPlugin, unloadPlugin

SEEN = Path(os.environ["DESKTOP_SEEN"])
PLUGIN = "geofsrcnn_qgis"


def settle(until: Callable[[], object] = lambda: False, seconds: float = 1) -> None:
    """Let QGIS work until something is so."""
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        QApplication.processEvents()
        time.sleep(0.01)


def button(widget: Any, words: str) -> QPushButton:
    """A button of a window by its words."""
    (found,) = (each for each in widget.findChildren(QPushButton) if each.text().replace("&", "") == words)
    return found


def picture(widget: Any, name: str) -> None:
    """Keep how a window looks."""
    settle()
    widget.grab().save(str(SEEN.parent / f"{name}.png"))


def run_dialog(dialog: Any, name: str, cancel_at: int | None = None) -> str:
    """Press Run, or Cancel once so much is done; what the dialog says when it has ended."""
    dialog.resize(900, 700)
    dialog.show()
    picture(dialog, name)
    ends = []
    dialog.algorithmFinished.connect(lambda ok, _results: ends.append(ok))
    button(dialog, "Run").click()
    if cancel_at is not None:
        bar = dialog.findChild(QProgressBar)
        settle(lambda: ends or bar.value() >= cancel_at, 200)
        button(dialog, "Cancel").click()
    settle(lambda: ends, 200)
    picture(dialog, f"{name}-done")
    texts = [each.toPlainText() for each in dialog.findChildren(QTextEdit)]  # the log and the help
    return next(text for text in texts if "QGIS version" in text)


def messages() -> list[str]:
    """What the message bar says."""
    return [item.text() for item in iface.messageBar().items()]


def entries() -> list[str]:
    """What stands in the menu."""
    menus = [each.menu() for each in iface.rasterMenu().actions() if each.menu() and each.text() == "geofsrcnn"]
    return [action.text() for menu in menus for action in menu.actions()]


def tools() -> list[str]:
    """What stands in the toolbox."""
    provider = QgsApplication.processingRegistry().providerById("geofsrcnn")
    return [] if provider is None else [tool.id() for tool in provider.algorithms()]


def set_program(path: str) -> list[object]:
    """Set the program in QGIS's options; whether their search finds it, and what is kept."""
    from processing.core.ProcessingConfig import ProcessingConfig
    from processing.gui.ConfigDialog import ConfigDialog

    dialog = ConfigDialog()
    dialog.searchBox.setText("geofsrcnn")
    (item,) = (item for setting, item in dialog.items.items() if setting.group == "geofsrcnn" and not setting.hidden)
    item.setText(path)
    hidden = dialog.tree.isRowHidden(item.row(), item.parent().index())
    dialog.tree.expandAll()
    dialog.resize(900, 400)
    dialog.show()
    picture(dialog, "setting")
    dialog.accept()
    dialog.close()
    return [not hidden, str(ProcessingConfig.getSetting("GEOFSRCNN_PROGRAM"))]


def without_program(seen: dict[str, Any]) -> None:
    """The message, its button, and the program installed with it."""
    iface.mainWindow().resize(1400, 900)
    seen["tools"], seen["entries"], seen["messages"] = tools(), entries(), messages()
    picture(iface.mainWindow(), "message")

    def install() -> None:
        dialogs = [
            each for each in QApplication.topLevelWidgets() if each.isVisible() and hasattr(each, "setParameters")
        ]
        if not dialogs:
            QTimer.singleShot(200, install)
            return
        (dialog,) = dialogs
        dialog.setParameters({"PACKAGE": os.environ["DESKTOP_PACKAGE"]})
        seen["installed"] = run_dialog(dialog, "install")
        dialog.close()

    QTimer.singleShot(1000, install)
    iface.messageBar().currentItem().findChild(QPushButton).click()
    seen["messages_after"] = messages()


def with_program(seen: dict[str, Any]) -> None:
    """A layer made finer from the dialog; another, cancelled; the plugin unloaded and loaded again."""
    import processing

    seen["setting_found"], seen["setting"] = set_program(os.environ["DESKTOP_PROGRAM"])
    layer = QgsRasterLayer(os.environ["DESKTOP_LAYER"], "my dem")
    QgsProject.instance().addMapLayer(layer)
    dialog = processing.createAlgorithmDialog("geofsrcnn:upscale")
    dialog.resize(900, 600)
    dialog.show()
    picture(dialog, "dialog")
    dialog.close()
    dialog = processing.createAlgorithmDialog("geofsrcnn:upscale", {"INPUT": layer, "FACTOR": 2, "MODEL": "cubic"})
    seen["upscaled"] = run_dialog(dialog, "upscale")
    dialog.close()
    seen["layers"] = sorted(each.name() for each in QgsProject.instance().mapLayers().values())
    large = os.environ["DESKTOP_LARGE"]
    parameters = {"INPUT": large, "OPTIONS": "--tile-size 64", "THREADS": 1, "OUTPUT": str(SEEN.parent / "fine.tif")}
    dialog = processing.createAlgorithmDialog("geofsrcnn:upscale", parameters)
    seen["cancelled"] = run_dialog(dialog, "cancel", cancel_at=1)
    dialog.close()
    picture(iface.mainWindow(), "result")
    unloadPlugin(PLUGIN)
    seen["unloaded"] = [tools(), entries()]
    loadPlugin(PLUGIN)
    startPlugin(PLUGIN)
    seen["reloaded"] = [tools(), entries()]


def main() -> None:
    """Write what was seen, or what went wrong, and end."""
    seen: dict[str, Any] = {}
    try:
        without_program(seen)
        with_program(seen)
    except Exception:  # noqa: BLE001  QGIS would show it in a window, and wait
        seen["failed"] = traceback.format_exc()
    SEEN.write_text(json.dumps(seen, indent=1), encoding="utf-8")
    os._exit(0)


main()
