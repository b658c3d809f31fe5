"""Clusters of this machine whose workers begin in a tenth of a second."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask

from geofsrcnn.batch.cluster import close_afterwards

if TYPE_CHECKING:
    from distributed import LocalCluster

PRELOADED = [
    *("distributed", "distributed.nanny", "distributed.worker", "netCDF4", "numpy", "rasterio", "torch", "xarray"),
    *("zarr", "dask.array", "geofsrcnn.batch.run", "geofsrcnn.batch.worker", "geofsrcnn.cf.refine"),
    *("geofsrcnn.engine.lazy", "geofsrcnn.engine.run", "geofsrcnn.formats.geotiff", "geofsrcnn.formats.netcdf"),
    *("geofsrcnn.formats.open", "geofsrcnn.formats.zarr", "geofsrcnn.networks.catalog", "geofsrcnn.upscale.file"),
]
"""Imported once, in the process that workers are forked from."""


def forked() -> None:
    """From now on workers are forked from a process that has imported all, instead of importing it themselves."""
    import distributed.utils

    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows has none
        return
    dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
    distributed.utils.get_mp_context()  # which sets a list of its own, once
    multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)


@contextmanager
def local(workers: int = 2, threads: int = 1, **options: Any) -> Iterator[LocalCluster]:
    """A cluster whose workers are started again when they die."""
    import distributed

    settings = {"distributed.scheduler.allowed-failures": 2, "distributed.scheduler.worker-saturation": 1.0}
    forked()
    with dask.config.set(settings):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=50,
            **options,
        )
    with close_afterwards(cluster):
        yield cluster


FORKED = "from tests.support.clusters import forked; forked()\n"
"""For the command in a process of its own."""


def children(pid: int) -> list[int]:
    """Of a process, and theirs."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(each.parent.name)] = int(each.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
