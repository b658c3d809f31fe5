"""Cancel, as the dialog's button does it: the tool runs in a thread of its own."""

from __future__ import annotations

import sys

from qgis.core import QgsApplication, QgsProcessingAlgRunnerTask, QgsProcessingContext, QgsProcessingFeedback
from qgis.PyQt.QtCore import QEventLoop
from started import run


def main() -> dict[str, object]:
    """How the tool ends that is cancelled once it has done something."""
    parameters = {
        "INPUT": sys.argv[1],
        "FACTOR": 3,
        "MODEL": "default",
        "THREADS": 1,
        "OPTIONS": "--tile-size 64",
        "OUTPUT": sys.argv[2],
    }
    tool = QgsApplication.processingRegistry().algorithmById("geofsrcnn:upscale").create()
    context, feedback, loop, shares = QgsProcessingContext(), QgsProcessingFeedback(), QEventLoop(), []
    feedback.progressChanged.connect(lambda share: (shares.append(share), feedback.cancel() if share > 0 else None))
    task = QgsProcessingAlgRunnerTask(tool, parameters, context, feedback)
    ends = []
    task.executed.connect(lambda ok, results: (ends.append([ok, results]), loop.quit()))
    QgsApplication.taskManager().addTask(task)
    loop.exec_()
    return {"ends": ends, "shares": shares, "log": feedback.textLog()}


run(main)
