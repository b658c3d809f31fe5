"""Outputs that are written field by field: NetCDF, Zarr, and a GeoTIFF of one field."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geofsrcnn.engine.base import Sink

if TYPE_CHECKING:
    from geofsrcnn.formats.writer import NewField, Writer


@dataclass(frozen=True)
class StoreOutput:
    """An output whose fields are written part by part.

    Parameters
    ----------
    create : callable
        Makes its writer in a work folder.
    new_fields : callable
        The fields that are to come, as a writer takes them.
    sink_of : callable
        The sink of a stream by its number.
    folder : bool
        True if it is a folder.
    less : str
        The request that makes it smaller.
    threads : int
        Threads that read it back.
    """

    create: Callable[[Path], Writer]
    new_fields: Callable[[Writer], Iterable[NewField]]
    sink_of: Callable[[Writer, int], Sink]
    folder: bool
    less: str
    threads: int

    def check(self) -> None:
        """Refuse nothing: all has been checked before."""

    @contextmanager
    def begin(self, staging: Path) -> Iterator[_Writing]:
        """Write into a work folder or file."""
        writer = self.create(staging)
        try:
            writer.define(list(self.new_fields(writer)))
            yield _Writing(writer, self.sink_of, self.threads)
        finally:
            writer.close()


@dataclass(frozen=True)
class _Writing:
    """A store that is being written."""

    writer: Writer
    sink_of: Callable[[Writer, int], Sink]
    threads: int

    def sink(self, number: int) -> Sink:
        return self.sink_of(self.writer, number)

    def finish(self, step: Callable[[], None]) -> None:
        self.writer.finish(step, self.threads)
