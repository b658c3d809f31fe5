"""A GeoTIFF read back and compared with what was written, before it is published."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import rasterio
from rasterio.windows import Window as RasterioWindow

from geofsrcnn.formats.creation import writing_env
from geofsrcnn.formats.writer import checksum, mismatch
from geofsrcnn.grids.windows import Window

SMALL = 4096
"""Bytes of a stored block up to which it is compared as it is stored: it holds little else than one value."""

KNOWN = 1024
"""Small blocks that are remembered."""


@dataclass(frozen=True)
class Written:
    """A window that was written.

    Parameters
    ----------
    window : Window
        Which.
    indexes : tuple of int
        Bands; none for the mask.
    checksum : int
        Of its numbers.
    """

    window: Window
    indexes: tuple[int, ...]
    checksum: int


@dataclass(frozen=True)
class _Handle:
    """The file open for GDAL and, where it lies on a disk, for its bytes."""

    dataset: Any
    file: BinaryIO | None

    def close(self) -> None:
        self.dataset.close()
        if self.file is not None:
            self.file.close()


class Readback:
    """The windows of a GeoTIFF as they can be read, on any thread.

    A block that is stored in the same few bytes as one before is not decoded again: sea, empty blocks.

    Parameters
    ----------
    path : Path
        The file, or one in GDAL's memory.
    on_disk : bool
        It is a file.
    """

    def __init__(self, path: Path, *, on_disk: bool) -> None:
        self._path, self._on_disk = path, on_disk
        self._idle: deque[_Handle] = deque()
        self._known: dict[tuple[Any, ...], int] = {}

    @contextmanager
    def open(self) -> Iterator[Any]:
        """The file opened again, by its path and with a handle that no other thread has."""
        with self._handle() as handle:
            yield handle.dataset

    @contextmanager
    def _handle(self) -> Iterator[_Handle]:
        with writing_env():
            handle = self._idle.pop() if self._idle else self._open()
            try:
                yield handle
            finally:
                self._idle.append(handle)

    def _open(self) -> _Handle:
        dataset = rasterio.open(self._path, driver="GTiff", sharing=False)
        return _Handle(dataset, self._path.open("rb") if self._on_disk else None)

    def close(self) -> None:
        """Close the file; no thread may be reading it."""
        while self._idle:
            self._idle.pop().close()

    def compare(self, each: Sequence[Written]) -> None:
        """Read windows back.

        Raises
        ------
        OutputError
            If one is not what was written.
        """
        with self._handle() as handle:
            for written in each:
                if self._checksum(handle, written) != written.checksum:
                    raise mismatch(str(written.window), self._path)

    def _checksum(self, handle: _Handle, written: Written) -> int:
        """The checksum of a window as it can be read."""
        dataset, indexes = handle.dataset, written.indexes
        blocks = _small_blocks(handle, written)
        key = (written.window.shape, indexes, blocks)
        if blocks and (known := self._known.get(key)) is not None:
            return known
        area = RasterioWindow.from_slices(*written.window.slices())
        found = checksum(dataset.read(indexes, window=area) if indexes else dataset.read_masks(1, window=area))
        if blocks:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[key] = found
        return found


def _small_blocks(handle: _Handle, written: Written) -> tuple[bytes, ...]:
    """The blocks that make up a window as they are stored, one for each band; nothing if one is large, or cut."""
    dataset, window = handle.dataset, written.window
    rows, columns = dataset.block_shapes[0]
    whole = window.shape == (min(rows, dataset.height - window.y0), min(columns, dataset.width - window.x0))
    if handle.file is None or not written.indexes or not whole or window.y0 % rows or window.x0 % columns:
        return ()
    blocks, place = [], f"{window.x0 // columns}_{window.y0 // rows}"
    for index in written.indexes:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{key}_{place}", "TIFF", bidx=index) or 0) for key in ("OFFSET", "SIZE")
        )
        if not 0 < size <= SMALL:
            return ()
        handle.file.seek(offset)
        blocks.append(handle.file.read(size))
    return tuple(blocks)
