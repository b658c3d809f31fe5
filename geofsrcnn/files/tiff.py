"""The nodata value of a TIFF as its file spells it, where rasterio rounds it to a double: 64-bit integers.

GDAL keeps it as text in a tag of the image (GDAL_NODATA, 42113).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from geofsrcnn.errors import OutputError, printable

NODATA_TAG = 42113

LONGEST = 64
"""Bytes of the text that are looked at; 64-bit integers have 20 at most."""

ROOM = 1.2345678901234568e18
"""A nodata value of 64-bit integers that rasterio writes with more letters than any of them has."""


class Text(NamedTuple):
    """A text in a file."""

    offset: int
    size: int
    """With the zeros at its end."""
    value: str


def nodata_text(path: Path) -> str | None:
    """The nodata value of the first image of a TIFF, as it is spelt; None if it states none."""
    with path.open("rb") as file:
        found = _find(file)
    return None if found is None else found.value


def write_nodata(path: Path, value: int) -> None:
    """Spell a 64-bit nodata value exactly, in a file that was written with `ROOM`.

    Raises
    ------
    OutputError
        If the file has no place for it.
    """
    with path.open("r+b") as file:
        found = _find(file)
        text = str(value).encode() + b"\0"
        if found is None or found.size < len(text):
            raise OutputError(f"cannot write nodata {value} into {printable(path.name)}: choose another with --nodata")
        file.seek(found.offset)
        file.write(text.ljust(found.size, b"\0"))


def _find(file: BinaryIO) -> Text | None:
    """The tag in the first directory: its text lies elsewhere, or in the entry itself if it is short."""
    try:
        order = "<" if file.read(2) == b"II" else ">"
        big = _numbers(file, order + "H")[0] == 43
        if big:
            file.seek(8)
        # an entry: tag, type, count, and the value or where it is; a count of entries before them
        count, entry, offset = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
        place = struct.calcsize("<" + offset)
        file.seek(_numbers(file, order + offset)[0])
        for _ in range(min(_numbers(file, order + count)[0], 65535)):
            tag, _, size = _numbers(file, order + entry)
            here = file.tell()
            if tag == NODATA_TAG:
                start = here if size <= place else _numbers(file, order + offset)[0]
                file.seek(start)
                text = file.read(min(size, LONGEST)).split(b"\0")[0]
                return Text(start, size, text.decode("ascii", "replace"))
            file.seek(here + place)
    except struct.error:  # the file ends before its directory does
        return None
    return None


def _numbers(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))
