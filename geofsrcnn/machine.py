"""Cores and memory, as the operating system counts them for this process."""

from __future__ import annotations

import os

from geofsrcnn.system import peak_resident


def count_cores() -> int:
    """Count the cores that this process may use."""
    import psutil

    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):  # macOS binds no process to cores
        return os.cpu_count() or 1
    return len(process.cpu_affinity()) or 1


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, bytes; where no peak is kept, what it holds now."""
    if (peak := peak_resident()) is not None:
        return peak
    import psutil

    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))
