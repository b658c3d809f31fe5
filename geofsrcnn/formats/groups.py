"""Groups of NetCDF and Zarr: which one has the fields, and what it takes from its parents."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn.cf.attributes import REFERENCES
from geofsrcnn.cf.encoding import stored_chunk
from geofsrcnn.cf.places import is_place_like
from geofsrcnn.errors import InputError, LimitError, UsageError, printable, warn
from geofsrcnn.formats.writer import MAX_BLOCK


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
        size = math.prod(stored_chunk(variable) or (1,)) * variable.dtype.itemsize
        if size > MAX_BLOCK:
            raise LimitError(
                f"chunk of {size / 2**20:.0f} MiB of {printable(name)} in {shown} (limit {MAX_BLOCK // 2**20}): "
                "rechunk it first"
            )


def header(ndim: int, dtype: Any, attrs: Mapping[str, Any]) -> xr.Variable:
    """A variable without its values."""
    return xr.Variable([str(i) for i in range(ndim)], np.empty([0] * ndim, dtype), attrs)


def has_fields(variables: Mapping[str, xr.Variable]) -> bool:
    """Tell whether one may be a field: numbers along two or more dimensions, no bounds, no latitudes or longitudes."""
    known = {str(v.attrs.get(key)) for v in variables.values() for key in ("bounds", "climatology")}
    return any(
        v.ndim >= 2 and v.dtype.kind in "iufc" and name not in known and not is_place_like(str(name), v)
        for name, v in variables.items()
    )


def choose_group(found: Mapping[str, bool], wanted: str | None, shown: str) -> str:
    """Choose the group to read: the one asked for, else the root, else the only one that may have fields.

    `found` are groups that have variables, and whether these may be fields; "" is the root.

    Raises
    ------
    UsageError
        If it is not there, or several are and none was chosen.
    """
    if wanted is not None:
        if wanted.strip("/") not in found:
            raise UsageError(f"no group {printable(wanted)} with variables in {shown}: there are {_list(found)}")
        return wanted.strip("/")
    names = [name for name, fields in found.items() if fields] or list(found) or [""]
    if len(names) > 1 and "" not in names:
        raise UsageError(f"several groups in {shown}: {_list(names)}: choose one with group=")
    if len(names) > 1:
        rest = _list(name for name in names if name)
        warn("W-GROUPS", f"left out of {shown}: groups {rest}: choose one with group=")
    return "" if "" in names else names[0]


def _list(names: Iterable[str]) -> str:
    return printable(", ".join(name or "/" for name in names)) or "none"


def with_parents(group: str, read: Callable[[str], xr.Dataset]) -> xr.Dataset:
    """A group's variables, and those of the groups around it that it refers to or that are its coordinates (CF 2.7)."""
    dataset = _with_paths(read(group), group, read)
    parts = group.split("/") if group else []
    unlimited = set(dataset.encoding.get("unlimited_dims", ()))
    for depth in reversed(range(len(parts))):
        above = read("/".join(parts[:depth]))
        while taken := _inherit(dataset, above):
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


def _inherit(dataset: xr.Dataset, above: xr.Dataset) -> dict[str, xr.Variable]:
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
