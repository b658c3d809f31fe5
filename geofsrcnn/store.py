"""What NetCDF, Zarr and GeoTIFF have in common as stores of named fields: what is written, and its comparison.

A store is opened as it is: nothing decoded, nothing read before it is asked for. It is written field by field and part
by part, and read back.
"""

from __future__ import annotations

import math
import posixpath
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr

from geofsrcnn.cf import REFERENCES, is_place
from geofsrcnn.errors import GeofsrcnnError, InputError, LimitError, OutputError, UsageError, printable, warn

Array = npt.NDArray[Any]
Index = tuple[slice, ...]

MAX_BLOCK = 256 * 2**20
"""Bytes of one chunk: it is held whole to read one value of it, and small files can declare chunks of gigabytes."""


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
    """

    name: str
    sizes: Mapping[str, int]
    dtype: np.dtype[Any]
    attrs: Mapping[str, Any]
    chunks: Sequence[int]
    encoding: Mapping[str, Any] = field(default_factory=dict)


class Writer(Protocol):
    """What a format offers for writing."""

    bands_first: bool
    """Whether rows and columns must be the last dimensions."""

    def define(self, new: NewField) -> None:
        """A field to come."""
        ...

    def write(self, name: str, index: Index, values: Array) -> None:
        """A part of a field, as stored."""
        ...

    def finish(self, each_part: Callable[[], None]) -> None:
        """Make it whole, and compare it with what was written, part by part."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@contextmanager
def writing(*failures: type[Exception]) -> Iterator[None]:
    """What a library raises when it cannot write, as an error of ours."""
    try:
        yield
    except GeofsrcnnError:
        raise
    except failures as error:
        full = isinstance(error, OSError) or "HDF error" in str(error)
        advice = "is the disk full?" if full else "the format cannot hold it, choose another"
        raise OutputError(f"cannot write the output ({printable(error)}): {advice}") from error


class Checksums:
    """Checksums of what was written, to compare with what can be read."""

    def __init__(self) -> None:
        self._sums: list[tuple[str, Index, int]] = []

    def add(self, name: str, index: Index, values: Array) -> None:
        """Note a part of a field."""
        self._sums.append((name, index, _checksum(values)))

    def compare(self, read: Callable[[str, Index], Array], each_part: Callable[[], None]) -> None:
        """Read all parts again.

        Raises
        ------
        OutputError
            If one is not what was written.
        """
        for name, index, expected in self._sums:
            if _checksum(read(name, index)) != expected:
                raise OutputError(f"the output read back differs from what was written ({printable(name)}): disk full?")
            each_part()


def _checksum(values: Array) -> int:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    return zlib.crc32(np.ascontiguousarray(native).view(np.uint8).data)


def check_variables(dataset: xr.Dataset, shown: str) -> None:
    """Refuse what cannot be held or copied, before anything is read.

    Raises
    ------
    InputError
        If a variable has a compound type.
    LimitError
        If a chunk is too large.
    """
    for name, variable in dataset.variables.items():
        if variable.dtype.kind == "V":
            raise InputError(f"variable {printable(name)} of {shown} has a compound type: take it out first")
        encoding = variable.encoding
        chunk = encoding.get("shards") or encoding.get("chunksizes") or encoding.get("chunks") or (1,)
        size = math.prod(chunk) * variable.dtype.itemsize
        if size > MAX_BLOCK:
            raise LimitError(
                f"chunk of {size / 2**20:.0f} MiB of {printable(name)} in {shown} (limit {MAX_BLOCK // 2**20}): "
                "rechunk it first"
            )


# ------------------------------------------------------------------------------------------------------ groups


def has_fields(variables: Mapping[str, xr.Variable]) -> bool:
    """Whether one may be a field: numbers along two or more dimensions, no bounds, no latitudes or longitudes."""
    known = {str(v.attrs.get(key)) for v in variables.values() for key in ("bounds", "climatology")}
    return any(
        v.ndim >= 2 and v.dtype.kind in "iufc" and name not in known and not is_place(v)
        for name, v in variables.items()
    )


def choose_group(found: Mapping[str, bool], wanted: str | None, shown: str) -> str:
    """The group to read: the one asked for, else the root, else the only one; those without fields do not count.

    Parameters
    ----------
    found : dict of str to bool
        Groups that have variables, and whether these may be fields; "" is the root.
    wanted : str, optional
        As the user typed it.
    shown : str
        The file, for messages.

    Raises
    ------
    UsageError
        If it is not there, or several are and none was chosen.
    """
    if wanted is not None:
        if wanted.strip("/") not in found:
            raise UsageError(f"no group {printable(wanted)} with variables in {shown}: there are {_listed(found)}")
        return wanted.strip("/")
    names = [name for name, fields in found.items() if fields] or list(found) or [""]
    if len(names) > 1 and "" not in names:
        raise UsageError(f"several groups in {shown}: {_listed(names)}: choose one with --group")
    if len(names) > 1:
        rest = _listed(name for name in names if name)
        warn("W-GROUPS", f"left out of {shown}: groups {rest}: choose one with --group")
    return "" if "" in names else names[0]


def _listed(names: Iterable[str]) -> str:
    return printable(", ".join(name or "/" for name in names)) or "none"


def with_parents(group: str, read: Callable[[str], xr.Dataset]) -> xr.Dataset:
    """A group's variables, and those of the groups around it that it refers to or that are its coordinates (CF 2.7).

    Parameters
    ----------
    group : str
        Its path, parts between slashes; "" is the root.
    read : callable
        Opens a group.
    """
    dataset = _with_paths(read(group), group, read)
    parts = group.split("/") if group else []
    unlimited = set(dataset.encoding.get("unlimited_dims", ()))
    for depth in reversed(range(len(parts))):
        above = read("/".join(parts[:depth]))
        while taken := _inherited(dataset, above):
            dataset = dataset.assign(taken)
        dataset.attrs = {**above.attrs, **dataset.attrs}
        unlimited |= set(above.encoding.get("unlimited_dims", ()))
    dataset.encoding["unlimited_dims"] = unlimited & set(dataset.dims)
    return dataset


def _with_paths(dataset: xr.Dataset, group: str, read: Callable[[str], xr.Dataset]) -> xr.Dataset:
    """With the variables that attributes name by a path ("/crs", "../lat"), which they name plainly from then on."""
    plain: dict[str, xr.Variable] = {}

    def found(word: str) -> str:
        folder, name = posixpath.split(posixpath.normpath(posixpath.join("/", group, word)))
        with suppress(OSError, KeyError, ValueError):
            there = read(folder.strip("/")).variables[name]
            if all(dataset.sizes.get(dim, size) == size for dim, size in there.sizes.items()):
                plain.setdefault(name, there)
                return name
        return word

    for variable in dataset.variables.values():
        for key in REFERENCES:
            if "/" in str(variable.attrs.get(key, "")):
                words = str(variable.attrs[key]).split()
                variable.attrs[key] = " ".join(found(word) if "/" in word else word for word in words)
    return dataset.assign({name: there for name, there in plain.items() if name not in dataset.variables})


def _inherited(dataset: xr.Dataset, above: xr.Dataset) -> dict[str, xr.Variable]:
    """Variables of a parent that a group lacks and means."""
    meant = {str(dim) for dim in dataset.dims}
    for variable in dataset.variables.values():
        for key in REFERENCES:
            meant |= {word.rstrip(":") for word in str(variable.attrs.get(key, "")).split()}
    return {
        name: variable
        for name, variable in ((str(n), v) for n, v in above.variables.items())
        if name in meant
        and name not in dataset.variables
        and all(dataset.sizes.get(dim, size) == size for dim, size in variable.sizes.items())
    }
