"""The end of standard input as a signal: how a run notices that the program which started it has gone."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable


def watch_stdin(ended: Callable[[], None]) -> None:
    """Call a function, from a thread of its own, when standard input ends; what comes before is not looked at.

    A pipe ends when all who could write to it have closed it or died, however they did, on every system.
    """
    threading.Thread(target=_wait, args=(ended,), daemon=True, name="stdin").start()


def _wait(ended: Callable[[], None]) -> None:
    try:
        while sys.stdin is not None and os.read(0, 4096):
            pass
    except OSError:  # no standard input that could be read is one that has ended
        pass
    ended()


def signal_main_thread(number: signal.Signals) -> None:
    """Raise a signal in the main thread, whose handler runs as if it came from outside."""
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, number)
