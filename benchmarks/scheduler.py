"""How many tasks can the scheduler drive, and in how much memory?

    python benchmarks/scheduler.py [--tasks 100000] [--workers 2] [--ahead 2]

Tasks that do nothing go through the same window and journal as a batch run's. Printed are tasks a second and the
resident memory of the process that holds driver and scheduler, as they go; then the same without the journal. With
``--ahead 100`` so many tasks are under way as on a cluster of fifty times the workers.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geofsrcnn.batch import cluster
from geofsrcnn.batch.cluster import Task, TaskPool, local_cluster
from geofsrcnn.batch.journal import Journal


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ahead", type=int, default=cluster.AHEAD)
    chosen = parser.parse_args()
    cluster.AHEAD = chosen.ahead
    with local_cluster(chosen.workers, 2) as client, tempfile.TemporaryDirectory() as folder:
        for journalled in (True, False):
            path = Path(folder) / f"{journalled}.jsonl"
            with Journal(path, {}, resume=False, overwrite=False) as log:
                rate = _drive(TaskPool(client), chosen.tasks, log if journalled else None)
            print(f"{'with' if journalled else 'without'} journal: {rate:.0f} tasks a second, {_memory():.0f} MiB")
            if journalled:
                print(f"journal: {path.stat().st_size / chosen.tasks:.0f} bytes a task")


def _drive(pool: TaskPool, count: int, log: Journal | None) -> float:
    ended = 0

    def tasks() -> Iterator[Task]:
        for number in range(count):
            if log is not None:
                log.write("begun", f"{number}.tif", input=f"/archive/{number}.tif")
            yield Task(os.getpid, (), number)

    def done(task: Task, _: Any) -> tuple[Task, ...]:
        nonlocal ended
        ended += 1
        if log is not None:
            log.write("done", f"{task.about}.tif", input=f"/archive/{task.about}.tif", bytes=1, sha256="0" * 64)
        if ended % (count // 5) == 0:
            rate = ended / (time.perf_counter() - start)
            print(f"  {ended} tasks: {rate:.0f} a second, {_memory():.0f} MiB", flush=True)
        return ()

    start = time.perf_counter()
    pool.run(tasks(), done)
    return count / (time.perf_counter() - start)


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
