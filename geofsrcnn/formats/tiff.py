"""The first directory of a TIFF, for what GDAL does not hand on through rasterio, or only rounded.

TIFF 6.0, BigTIFF and GeoTIFF 1.1 (OGC 19-008), of which the coordinate epoch is a later addition by GDAL, as is the tag
with the nodata value as a text (GDAL_NODATA).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from geofsrcnn.errors import OutputError, printable

EXTRA_SAMPLES, GEO_KEYS, GEO_DOUBLES, NODATA = 338, 34735, 34736, 42113
"""Tags: kinds of bands beyond the colours, keys of the georeference, numbers that they refer to, the nodata value."""

ASSOCIATED_ALPHA = 1
"""An extra sample that the colours are multiplied with."""

COORDINATE_EPOCH = 5120
"""GeoKey of the decimal year that the coordinates of a dynamic CRS hold for."""

NODATA_PLACEHOLDER = 1.2345678901234568e18
"""A nodata value of 64-bit integers that rasterio writes with more letters than any of them has."""

MAX_NODATA_BYTES = 64
"""Bytes of a nodata value that are looked at; 64-bit integers have 20 at most."""

_TYPES = {2: "c", 3: "H", 4: "I", 12: "d", 16: "Q"}
_MAX_ENTRIES = 2**16  # entries, and values of a tag; those that are wanted have far fewer


@dataclass(frozen=True)
class _Tag:
    """Where the values of a tag stand."""

    order: str
    form: str
    count: int
    offset: int

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return struct.calcsize(self.form) * self.count


def has_associated_alpha(path: Path) -> bool:
    """Tell whether colours are stored multiplied with the alpha band."""
    return ASSOCIATED_ALPHA in read_tag(path, EXTRA_SAMPLES)


def coordinate_epoch(path: Path) -> float | None:
    """The decimal year of the coordinates, where one is stated."""
    keys, numbers = read_tag(path, GEO_KEYS), read_tag(path, GEO_DOUBLES)
    for start in range(4, len(keys) - 3, 4):  # a header of four numbers, then key, place, count, value or index
        key, place, _, index = (int(each) for each in keys[start : start + 4])
        if key == COORDINATE_EPOCH and place == GEO_DOUBLES and index < len(numbers):
            return float(numbers[index])
    return None


def nodata_text(path: Path) -> str | None:
    """The nodata value as the file spells it, where rasterio rounds it to a double; None if it states none."""
    try:
        with path.open("rb") as file:
            tag = _find(file, NODATA)
            if tag is None:
                return None
            file.seek(tag.offset)
            return file.read(min(tag.size, MAX_NODATA_BYTES)).split(b"\0")[0].decode("ascii", "replace")
    except _UNREADABLE:
        return None


def write_nodata(path: Path, value: int) -> None:
    """Spell a 64-bit nodata value exactly, in a file that was written with `NODATA_PLACEHOLDER`.

    Raises
    ------
    OutputError
        If the file has no place for it.
    """
    with path.open("r+b") as file:
        tag, text = _find(file, NODATA), str(value).encode() + b"\0"
        if tag is None or tag.size < len(text):
            raise OutputError(f"cannot write nodata {value} into {printable(path.name)}: choose another with nodata=")
        file.seek(tag.offset)
        file.write(text.ljust(tag.size, b"\0"))


def read_tag(path: Path, wanted: int) -> tuple[float, ...]:
    """The numbers of a tag in the first directory; none if the file lacks it, or is no TIFF that can be followed."""
    try:
        with path.open("rb") as file:
            tag = _find(file, wanted)
            if tag is None or tag.count > _MAX_ENTRIES:
                return ()
            file.seek(tag.offset)
            return struct.unpack(f"{tag.order}{tag.count}{tag.form}", file.read(tag.size))
    except _UNREADABLE:
        return ()


_UNREADABLE = (OSError, struct.error, KeyError, ValueError, OverflowError)


def _find(file: BinaryIO, wanted: int) -> _Tag | None:
    """A tag of the first directory: its values lie elsewhere, or in the entry itself if they are short."""
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    big = struct.unpack(order + "H", start[2:4]) == (43,)
    word = "Q" if big else "I"
    file.seek(struct.unpack(order + word, start[8:16] if big else start[4:8])[0])
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    entry = order + "HH" + word
    for _ in range(min(count, _MAX_ENTRIES)):
        tag, kind, number = struct.unpack(entry, file.read(struct.calcsize(entry)))
        here = file.tell()
        value = file.read(struct.calcsize(word))
        if tag == wanted and kind in _TYPES:
            found = _Tag(order, _TYPES[kind], number, here)
            return found if found.size <= len(value) else replace(found, offset=struct.unpack(order + word, value)[0])
    return None
