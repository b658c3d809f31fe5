"""Protocol buffers without their schema: the fields of a message by number, as bytes or whole numbers.

The format is that of https://protobuf.dev/programming-guides/encoding. Of the schemas of Caffe and TensorFlow a dozen
fields are needed: less than what a compiler of schemas would bring.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

Message: TypeAlias = dict[int, list[Any]]
"""Values of each field in order: int of a varint, bytes of everything else."""


def parse(data: bytes | memoryview) -> Message:
    """Take a message apart, one level deep.

    Raises
    ------
    ValueError
        If it is cut short, or no message.
    """
    message: Message = {}
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        match key & 7:
            case 0:
                value, place = _varint(data, place)
                message.setdefault(key >> 3, []).append(value)
                continue
            case 1 | 5 as kind:
                size = 8 if kind == 1 else 4
            case 2:
                size, place = _varint(data, place)
            case _:
                raise ValueError("it is no protocol buffer")
        if place + size > len(data):
            raise ValueError("it is cut short")
        message.setdefault(key >> 3, []).append(bytes(data[place : place + size]))
        place += size
    return message


def numbers(value: int | bytes) -> Iterator[int]:
    """Yield whole numbers of a repeated field, packed or not."""
    if isinstance(value, int):
        yield value
        return
    place = 0
    while place < len(value):
        number, place = _varint(value, place)
        yield number


def _varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, and the place behind it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise ValueError("it is cut short")
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise ValueError("it is no protocol buffer")
