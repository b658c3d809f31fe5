"""The common part of writers of NetCDF, Zarr and GeoTIFF datasets."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from geofsrcnn._types import Array, Write
from geofsrcnn.errors import GeofsrcnnError, OutputError, printable
from geofsrcnn.files.staging import no_room

Index = tuple[slice, ...]

MAX_BLOCK = 256 * 2**20
"""Bytes of one chunk or block: it is held whole to read one value of it, and small files can declare gigabytes."""

DIFFERS = "the output read back differs from what was written"


@dataclass(frozen=True)
class NewField:
    """A field to be written.

    Parameters
    ----------
    name : str
        Its variable.
    sizes : dict of str to int
        Its dimensions, in their order.
    dtype : numpy.dtype
        As stored.
    attrs : dict
        Packing and missing marks included.
    chunks : tuple of int
        Cells that are written together, along each dimension.
    encoding : dict
        How the coarse field was stored.
    marks : tuple of float
        Stored values of missing cells, whether attributes state them or the NetCDF library has them by itself.
    """

    name: str
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    chunks: Sequence[int]
    encoding: Mapping[str, Any] = field(default_factory=dict)
    marks: tuple[float, ...] = ()


class Writer(Protocol):
    """The writer that a format offers."""

    bands_first: bool
    """True if rows and columns must be the last dimensions."""

    def define(self, fields: Sequence[NewField]) -> None:
        """All fields that are to come."""
        ...

    def prepare(self, name: str, index: Index, values: Array) -> Write:
        """Encode a part of a field, on any thread; what is returned stores it, on the calling one."""
        ...

    def finish(self, each_part: Callable[[], None], threads: int) -> None:
        """Make it whole, and compare it with what was written, part by part, on so many threads."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@contextmanager
def writing(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Turn what a library raises when it cannot write to a path into an error of ours."""
    try:
        yield
    except GeofsrcnnError:
        raise
    except failures as error:
        advice = no_room(error, path)
        if not advice and not isinstance(error, OSError) and "HDF error" not in str(error):
            advice = ": the format cannot hold it, choose another"
        raise OutputError(f"cannot write the output ({printable(error)}){advice}") from error


class Checksums:
    """Checksums of what was written, to compare with what can be read."""

    def __init__(self) -> None:
        self._sums: list[tuple[str, Index, int]] = []

    def add(self, name: str, index: Index, expected: int) -> None:
        """Note the checksum of a part of a field that was written."""
        self._sums.append((name, index, expected))

    def compare(
        self, path: Path, read: Callable[[str, Index], Array], each_part: Callable[[], None], threads: int
    ) -> None:
        """Read all parts again, on so many threads.

        Raises
        ------
        OutputError
            If one is not what was written.
        """

        def check(part: tuple[str, Index, int]) -> None:
            name, index, expected = part
            if checksum(read(name, index)) != expected:
                raise mismatch(printable(name), path)

        pool = ThreadPoolExecutor(min(threads, os.cpu_count() or 1), "geofsrcnn-verify")
        try:
            for _ in pool.map(check, self._sums):
                each_part()
        finally:
            pool.shutdown(cancel_futures=True)


def mismatch(what: str, path: Path) -> OutputError:
    """Make the error of a part that reads back as something else than was written."""
    return OutputError(f"{DIFFERS} ({what}){no_room(None, path)}")


def checksum(values: Array) -> int:
    """Return a checksum of numbers, whatever the order of their bytes."""
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.ndim > 2 and native.strides[-2:] == (0, 0):
        return _checksum_of_repeated(native[..., :1, :1].tobytes(), native.itemsize, math.prod(native.shape[-2:]))
    return zlib.crc32(np.ascontiguousarray(native).view(np.uint8).data)


@lru_cache(256)
def _checksum_of_repeated(cells: bytes, size: int, times: int) -> int:
    """The checksum of cells of so many bytes, each repeated; sea and empty blocks come again and again."""
    return zlib.crc32(b"".join(cells[start : start + size] * times for start in range(0, len(cells), size)))
