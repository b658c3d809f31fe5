"""What the first directory of a TIFF says that GDAL does not hand on through rasterio.

TIFF 6.0, BigTIFF and GeoTIFF 1.1 (OGC 19-008), of which the coordinate epoch is a later addition by GDAL.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

EXTRA_SAMPLES, GEO_KEYS, GEO_DOUBLES = 338, 34735, 34736
"""Tags: kinds of bands beyond the colours, keys of the georeference, numbers that they refer to."""

ASSOCIATED_ALPHA = 1
"""An extra sample that the colours are multiplied with."""

COORDINATE_EPOCH = 5120
"""GeoKey of the decimal year that the coordinates of a dynamic CRS hold for."""

_TYPES = {3: "H", 4: "I", 12: "d", 16: "Q"}
_MOST = 2**16  # values of a tag; those that are wanted have far fewer


def has_associated_alpha(path: Path) -> bool:
    """Whether colours are stored multiplied with the alpha band."""
    return ASSOCIATED_ALPHA in read_tag(path, EXTRA_SAMPLES)


def coordinate_epoch(path: Path) -> float | None:
    """The decimal year of the coordinates, where one is stated."""
    keys, numbers = read_tag(path, GEO_KEYS), read_tag(path, GEO_DOUBLES)
    for start in range(4, len(keys) - 3, 4):  # a header of four numbers, then key, place, count, value or index
        key, place, _, index = (int(each) for each in keys[start : start + 4])
        if key == COORDINATE_EPOCH and place == GEO_DOUBLES and index < len(numbers):
            return float(numbers[index])
    return None


def read_tag(path: Path, wanted: int) -> tuple[float, ...]:
    """The numbers of a tag in the first directory; none if the file lacks it, or is no TIFF that can be followed."""
    try:
        with path.open("rb") as file:
            return _read_tag(file, wanted)
    except (OSError, struct.error, KeyError, ValueError, OverflowError):
        return ()


def _read_tag(file: BinaryIO, wanted: int) -> tuple[float, ...]:
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}[start[:2]]
    big = struct.unpack(order + "H", start[2:4]) == (43,)
    offset = struct.unpack(order + ("Q" if big else "I"), start[8:16] if big else start[4:8])[0]
    file.seek(offset)
    count = struct.unpack(order + ("Q" if big else "H"), file.read(8 if big else 2))[0]
    entry = order + ("HHQ8s" if big else "HHI4s")
    for _ in range(min(count, _MOST)):
        tag, kind, number, value = struct.unpack(entry, file.read(struct.calcsize(entry)))
        if tag == wanted and kind in _TYPES and number <= _MOST:
            form = f"{order}{number}{_TYPES[kind]}"
            size = struct.calcsize(form)
            if size > len(value):
                file.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
                value = file.read(size)
            return struct.unpack(form, value[:size])
    return ()
