"""A run with everything opened and checked, what it did, and what it would take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from geofsrcnn._types import Facts, Progress, Write, each_of
from geofsrcnn._version import __version__
from geofsrcnn.engine.base import Sink
from geofsrcnn.errors import LimitError, UsageError, printable
from geofsrcnn.files.paths import size_of
from geofsrcnn.files.staging import USABLE, free_bytes, staged_together
from geofsrcnn.grids.windows import Window
from geofsrcnn.machine import peak_memory
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.values.cells import Cells


@dataclass(frozen=True)
class Summary(Facts):
    """The result of a run.

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
    device, precision : str
        Where the model ran, and in which arithmetic.
    output_bytes : int
        Size of the output, with the file of expected errors if there is one.
    error_bands : int
        Bands whose expected errors were written.
    error_output : str, optional
        Path of the file of expected errors, if they have one of their own.
    dtype : str, optional
        Type of all bands, where expected errors among them made it another than the input's.
    grid : str, optional
        How cells came onto a grid that was wanted instead of a factor.
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
    precision: str
    output_bytes: int
    error_bands: int = 0
    error_output: str | None = None
    dtype: str | None = None
    grid: str | None = None


@dataclass(frozen=True)
class Estimate(Facts):
    """An estimate of what a run would take.

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
    model, device, precision : str
        What would run, where, and in which arithmetic.
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
    precision: str


class Workload(Protocol):
    """A part of a run that is made finer in units of work, one after the other, into one sink."""

    @property
    def units(self) -> int:
        """Units of work, in the order that they are written in."""
        ...

    @property
    def bands(self) -> int:
        """Horizontal slices."""
        ...

    @property
    def coarse_cells(self) -> int:
        """Cells of all bands."""
        ...

    @property
    def fine_cells(self) -> int:
        """Cells of all bands."""
        ...

    @property
    def fine_bytes(self) -> int:
        """Before compression."""
        ...

    def run(
        self,
        sink: Sink,
        progress: Progress | None = None,
        share: range | None = None,
        precomputed: Iterator[Cells] | None = None,
    ) -> None:
        """Write all units into a sink, or a share of them, computed here or before."""
        ...

    def seconds(self) -> float:
        """Estimate what computing takes here."""
        ...

    def memory(self) -> int:
        """Bytes that are under way at the peak, about."""
        ...


class Writing(Protocol):
    """An output that is being written."""

    def sink(self, number: int) -> Sink:
        """Where the fine cells of a stream go."""
        ...

    def finish(self, step: Callable[[], None]) -> None:
        """Write what is left, and verify all; `step` is called now and then, and may end the run."""
        ...


class Output(Protocol):
    """How an output is written."""

    @property
    def less(self) -> str:
        """The request that makes the output smaller, if the disk is too small."""
        ...

    @property
    def folder(self) -> bool:
        """True if it is a folder."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before the first unit."""
        ...

    def begin(self, staging: Path) -> AbstractContextManager[Writing]:
        """Write into a work folder or file."""
        ...


@dataclass(frozen=True)
class ErrorFile:
    """A file of its own for expected errors.

    Parameters
    ----------
    target : Path
        Where to.
    output : Output
        How it is written.
    size : int
        Its bytes before compression.
    """

    target: Path
    output: Output
    size: int


@dataclass(frozen=True)
class EachSink:
    """Several sinks that all take the same cells."""

    sinks: Sequence[Sink]

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Pass the cells on."""
        return each_of([sink.prepare(window, cells, bands) for sink in self.sinks])


@dataclass(frozen=True)
class Task:
    """A run with everything opened and checked, whatever goes in and out.

    Parameters
    ----------
    streams : sequence of Workload
        A raster has one, a dataset one a field.
    output : Output
        How they are written.
    target : Path
        Where to.
    model : Model
        What with.
    shapes : tuple of tuple of int
        Rows and columns before and after.
    options : UpscaleOptions
        How.
    check_unchanged : callable
        Raises if the input was changed since it was opened.
    error_bands : int
        Bands whose expected errors are written.
    error_file : ErrorFile, optional
        The file that these go to, if not to the output.
    dtype : str, optional
        Type of all bands, where expected errors among them make it another than the input's.
    grid : str, optional
        How cells come onto a grid that is wanted instead of a factor.
    """

    streams: Sequence[Workload]
    output: Output
    target: Path
    model: Model
    shapes: tuple[tuple[int, int], tuple[int, int]]
    options: UpscaleOptions
    check_unchanged: Callable[[], None] = lambda: None
    error_bands: int = 0
    error_file: ErrorFile | None = None
    dtype: str | None = None
    grid: str | None = None

    @property
    def units(self) -> int:
        """Units of all streams, in the order that they are written in."""
        return sum(stream.units for stream in self.streams)

    @property
    def coarse_cells(self) -> int:
        """Cells of all bands and times."""
        return sum(stream.coarse_cells for stream in self.streams)

    @property
    def fine_cells(self) -> int:
        """Cells of all bands and times."""
        return sum(stream.fine_cells for stream in self.streams)

    @property
    def fine_bytes(self) -> int:
        """Before compression."""
        return sum(stream.fine_bytes for stream in self.streams)

    @property
    def bands(self) -> int:
        """Horizontal slices of all streams."""
        return sum(stream.bands for stream in self.streams)

    def check(self) -> None:
        """Refuse what can be refused before the first unit."""
        sizes = {self.target: self.fine_bytes}
        if self.error_file is not None:
            together = self.target.parent.stat().st_dev == self.error_file.target.parent.stat().st_dev
            sizes[self.error_file.target] = self.error_file.size
            sizes[self.target] += self.error_file.size if together else 0
        for target, size in sizes.items():
            check_disk(target, size, self.output.less)
        self.output.check()

    def compute(self, share: range, sink: Sink, progress: Progress | None) -> None:
        """Some of the units, into a sink of the caller's."""
        self._run(lambda _: sink, progress, share)
        self.check_unchanged()

    def write(self, progress: Progress | None, precomputed: Iterator[Cells] | None = None) -> int:
        """Write the output, from units computed here or before, and return its size."""

        def step() -> None:
            if progress is not None:
                progress(self.units, self.units)

        outputs = [(self.target, self.output)]
        if self.error_file is not None:  # first, so that a run that is killed in between is not taken for done
            outputs.insert(0, (self.error_file.target, self.error_file.output))
        targets = [target for target, _ in outputs]
        with staged_together(targets, overwrite=self.options.overwrite, folder=self.output.folder) as stagings:
            with ExitStack() as held:
                pairs = zip(outputs, stagings, strict=True)
                begun = [held.enter_context(output.begin(staging)) for (_, output), staging in pairs]
                self._run(lambda number: EachSink([each.sink(number) for each in begun]), progress, None, precomputed)
                for each in begun:
                    each.finish(step)
            self.check_unchanged()
            return sum(map(size_of, stagings))

    def _run(
        self,
        sink_of: Callable[[int], Sink],
        progress: Progress | None,
        share: range | None = None,
        precomputed: Iterator[Cells] | None = None,
    ) -> None:
        """Run the streams one after the other."""
        share = range(self.units) if share is None else share
        first = done = 0
        for number, stream in enumerate(self.streams):
            own = range(max(share.start - first, 0), min(share.stop - first, stream.units))
            if own:

                def step(now: int, _: int, before: int = done, total: int = len(share)) -> None:
                    if progress is not None:
                        progress(before + now, total)

                stream.run(sink_of(number), step, own, precomputed)
            first += stream.units
            done += len(own)

    def summary(self, seconds: float, size: int) -> Summary:
        """Return what was done."""
        coarse, fine = self.shapes
        return Summary(
            output=os.fspath(self.target),
            model=self.model.name,
            digest=self.model.digest,
            factor=self.model.factor,
            bands=self.bands,
            coarse=coarse,
            fine=fine,
            seconds=seconds,
            cells_per_second=self.fine_cells / seconds,
            peak_memory=peak_memory(),
            device=self.model.device,
            precision=self.model.precision,
            output_bytes=size,
            error_bands=self.error_bands,
            error_output=None if self.error_file is None else os.fspath(self.error_file.target),
            dtype=self.dtype,
            grid=self.grid,
        )

    def estimate(self) -> Estimate:
        """Estimate what it would take; nothing is written."""
        coarse, fine = self.shapes
        return Estimate(
            bands=self.bands,
            coarse=coarse,
            fine=fine,
            tiles=self.units,
            seconds=sum(stream.seconds() for stream in self.streams),
            memory=peak_memory() + max(stream.memory() for stream in self.streams),
            disk=self.fine_bytes + (0 if self.error_file is None else self.error_file.size),
            disk_free=free_bytes(self.target),
            model=self.model.name,
            device=self.model.device,
            precision=self.model.precision,
        )


def check_disk(target: Path, size: int, less: str) -> None:
    """Refuse an output that the disk has no room for.

    Raises
    ------
    LimitError
        If it has not; `less` says how to write less.
    """
    free = free_bytes(target)
    if size > USABLE * free:
        raise LimitError(
            f"the output has {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free where it goes: "
            f"make room, take a smaller factor, or {less}"
        )


def check_pixels(pixels: int, limit: int | None) -> None:
    """Refuse an output of more cells than allowed.

    Raises
    ------
    LimitError
        If it has more.
    """
    if limit is not None and pixels > limit:
        raise LimitError(f"the output has {pixels} cells, more than max_pixels={limit} allows")


def no_errors(shown: str) -> UsageError:
    """Make the error of an input in which nothing has an expected error, which was asked for."""
    return UsageError(f"{shown} holds categories, which are repeated and have no expected error: leave out error=True")


def provenance(model: Model, *, errors: bool = False, onto: str | None = None) -> dict[str, str]:
    """Tags that say how an output was made, how it came onto a wanted grid, and whether expected errors are in it."""
    tags = {
        "GEOFSRCNN_VERSION": __version__,
        "GEOFSRCNN_MODEL": printable(model.name),
        "GEOFSRCNN_FACTOR": str(model.factor),
        "GEOFSRCNN_MODEL_SHA256": model.digest,
        "GEOFSRCNN_GRID": onto or "",
        "GEOFSRCNN_ERROR": "expected absolute error, in bands whose names end in _error" if errors else "",
        **{name: printable(text) for name, text in model.notes.items()},
    }
    return {key: value for key, value in tags.items() if value}
