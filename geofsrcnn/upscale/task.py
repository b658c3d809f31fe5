"""A run with everything opened and checked, what it did, and what it would take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geofsrcnn._types import Progress
from geofsrcnn._version import __version__
from geofsrcnn.errors import LimitError, printable
from geofsrcnn.files.staging import free_bytes
from geofsrcnn.networks.catalog import Method
from geofsrcnn.values.cells import Cells

if TYPE_CHECKING:
    from geofsrcnn.engine.base import Sink


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Parameters
    ----------
    output : str
        Path of the output.
    model, digest : str
        What made it.
    factor : int
        Fine cells along one side of a coarse cell.
    bands : int
        Bands that were upscaled.
    coarse, fine : tuple of int
        Rows and columns before and after.
    seconds : float
        Wall time from opening the input to the verified output.
    cells_per_second : float
        Fine cells of all bands in a second.
    peak_memory : int
        Largest resident memory of the process so far, bytes.
    device : str
        Where the model ran.
    output_bytes : int
        Size of the output.
    """

    output: str
    model: str
    digest: str
    factor: int
    bands: int
    coarse: tuple[int, int]
    fine: tuple[int, int]
    seconds: float
    cells_per_second: float
    peak_memory: int
    device: str
    output_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Parameters
    ----------
    bands : int
        Bands to upscale.
    coarse, fine : tuple of int
        Rows and columns before and after.
    tiles : int
        Units of work.
    seconds : float
        From a timed tile on this machine, input and output not counted.
    memory : int
        Resident bytes at the peak, about.
    disk : int
        Bytes of the output before compression.
    disk_free : int
        Bytes free where the output goes.
    model, device : str
        What would run, where.
    """

    bands: int
    coarse: tuple[int, int]
    fine: tuple[int, int]
    tiles: int
    seconds: float
    memory: int
    disk: int
    disk_free: int
    model: str
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


class Task(Protocol):
    """A run with everything opened and checked, whatever the input is."""

    @property
    def units(self) -> int:
        """Tiles, of a group of bands each, in the order that they are written in."""
        ...

    @property
    def coarse_cells(self) -> int:
        """Of all bands and times."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before the first tile."""
        ...

    def compute(self, share: range, sink: Sink, progress: Progress | None) -> None:
        """Some units, into a sink of the caller's."""
        ...

    def write(self, progress: Progress | None, made: Iterator[Cells] | None = None) -> int:
        """The output, computed here or from what was made of all units; its size."""
        ...

    def summary(self, seconds: float, size: int) -> Summary:
        """What was done."""
        ...

    def estimate(self) -> Estimate:
        """What it would take."""
        ...


def check_disk(target: Path, size: int, less: str) -> None:
    """Refuse an output that the disk has no room for.

    Raises
    ------
    LimitError
        If it has not; `less` says how to write less.
    """
    free = free_bytes(target)
    if size > 0.9 * free:
        raise LimitError(
            f"the output has {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free where it goes: "
            f"make room, take a smaller --factor or {less}"
        )


def check_pixels(pixels: int, limit: int | None) -> None:
    """Refuse an output of more cells than allowed.

    Raises
    ------
    LimitError
        If it has more.
    """
    if limit is not None and pixels > limit:
        raise LimitError(f"the output has {pixels} cells, --max-pixels allows {limit}")


def provenance(method: Method) -> dict[str, str]:
    """Tags that say how an output was made."""
    tags = {
        "GEOFSRCNN_VERSION": __version__,
        "GEOFSRCNN_MODEL": printable(method.name),
        "GEOFSRCNN_FACTOR": str(method.factor),
        "GEOFSRCNN_MODEL_SHA256": method.digest,
    }
    return {key: value for key, value in tags.items() if value}


def time_of_tile(method: Method, shape: tuple[int, int], bands: int) -> float:
    """Seconds that a tile of noise takes here and now, on one thread."""
    from geofsrcnn.engine.base import Job
    from geofsrcnn.engine.tile import upscale_tile
    from geofsrcnn.grids.windows import Tile, Window

    job = Job(method.upsampler, method.factor)
    rows, columns = (n + 2 * job.reach for n in shape)
    noise = np.random.default_rng(0).normal(size=(bands, rows, columns)).astype(np.float32)
    core = Window(job.reach, rows - job.reach, job.reach, columns - job.reach)
    tile = Tile(core, Window(0, rows, 0, columns), core)
    cells = Cells(noise, np.ones(noise.shape, bool))
    upscale_tile(job, cells, tile)
    start = time.perf_counter()
    for _ in range(3):
        upscale_tile(job, cells, tile)
    return (time.perf_counter() - start) / 3
