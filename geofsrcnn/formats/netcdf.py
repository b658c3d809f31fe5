"""NetCDF files in and out: opened as they are stored, written part by part, read back.

One HDF5 library a process, and one thread in it at a time: every call goes through xarray's lock for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr
from xarray.backends.locks import HDF5_LOCK

from geofsrcnn._types import Array, Write
from geofsrcnn.cf.encoding import NEVER_FILLED
from geofsrcnn.errors import GeofsrcnnError, InputError, printable
from geofsrcnn.formats.groups import check_variables, choose_group, has_fields, header, with_parents
from geofsrcnn.formats.writer import Checksums, Index, NewField, checksum, writing

FAILURES = (OSError, RuntimeError, ValueError, AttributeError, TypeError, KeyError)
"""Errors of netCDF4 and xarray for files that are damaged or odd."""

DEFAULT_FORM = "NETCDF4"
"""Data model of outputs whose input is no NetCDF."""


@contextmanager
def open_file(path: Path, group: str | None = None) -> Iterator[xr.Dataset]:
    """A file's variables as they are stored: nothing decoded, nothing read before it is asked for.

    Raises
    ------
    InputError
        If it cannot be read, or holds a type that cannot be copied.
    LimitError
        If a chunk is too large to be held.
    UsageError
        If the file has groups with variables, and none or a missing one is named.
    """
    shown = printable(path.name)
    with ExitStack() as held:

        def read(name: str) -> xr.Dataset:
            options: dict[str, Any] = {"decode_cf": False, "cache": False, "group": name or None}
            opened = held.enter_context(xr.open_dataset(path, engine="netcdf4", **options))
            for key in never_filled[name]:
                opened.variables[key].encoding[NEVER_FILLED] = True
            return opened

        try:
            with HDF5_LOCK, netCDF4.Dataset(path) as file:
                groups = dict(_groups(file))
                never_filled = {name: _never_filled(inner) for name, inner in groups.items()}
                found = {name: has_fields(_headers(inner)) for name, inner in groups.items() if inner.variables}
            dataset = with_parents(choose_group(found, group, shown), read)
        except GeofsrcnnError:
            raise
        except FAILURES as error:
            raise InputError(f"cannot read {shown} ({printable(error)}): check it with ncdump -h") from error
        check_variables(dataset, shown)
        yield dataset


def _groups(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    yield name, group
    for part, inner in group.groups.items():
        yield from _groups(inner, f"{name}/{part}".strip("/"))


def _never_filled(group: Any) -> list[str]:
    """Numbers that the library was told not to fill: what it would fill with is a value there."""
    numbers = {key: v for key, v in group.variables.items() if getattr(v.dtype, "kind", "") in "iuf"}
    return [key for key, v in numbers.items() if v.get_fill_value() is None]


def _headers(group: Any) -> dict[str, xr.Variable]:
    """Variables without their values."""
    found = {}
    for name, variable in group.variables.items():
        dtype = variable.dtype if isinstance(variable.dtype, np.dtype) else object
        found[name] = header(variable.ndim, dtype, {key: variable.getncattr(key) for key in variable.ncattrs()})
    return found


def form_of(path: Path, size: int) -> str:
    """The data model of a file that is `size` bytes larger: a file's own, with room for it."""
    with HDF5_LOCK, netCDF4.Dataset(path) as file:
        form = str(file.data_model)
    return "NETCDF3_64BIT_OFFSET" if form == "NETCDF3_CLASSIC" and size > 2**31 - 2**20 else form


class NetCDFWriter:
    """A new file: what is small at once, fields part by part, then read back and compared.

    Parameters
    ----------
    path : Path
        Not yet existing.
    rest : Dataset
        Everything but the fields, as it is to be stored.
    form : str
        NetCDF data model, such as "NETCDF4" or "NETCDF3_64BIT_OFFSET".
    unlimited : sequence of str
        Unlimited dimensions.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    bands_first = False

    def __init__(self, path: Path, rest: xr.Dataset, form: str, unlimited: Sequence[str]) -> None:
        self._path, self._unlimited = path, set(unlimited)
        self._sums = Checksums()
        present = [dim for dim in unlimited if dim in rest.dims]
        rest.attrs = _holdable(rest.attrs)
        for variable in rest.variables.values():
            variable.attrs = _holdable(variable.attrs)
        with writing(self._path, *FAILURES):
            rest.to_netcdf(path, engine="netcdf4", format=form, unlimited_dims=present)  # type: ignore[call-overload]
            with HDF5_LOCK:
                self._file = netCDF4.Dataset(path, "a")

    def define(self, fields: Sequence[NewField]) -> None:
        """All fields that are to come, with the filters of the coarse ones."""
        with writing(self._path, *FAILURES), HDF5_LOCK:
            for new in fields:
                self._define(new)

    def _define(self, new: NewField) -> None:
        for dim, size in new.sizes.items():
            if dim not in self._file.dimensions:
                self._file.createDimension(dim, None if dim in self._unlimited else size)
        options: dict[str, Any] = {}
        if self._file.data_model.startswith("NETCDF4"):
            options = {"chunksizes": tuple(new.chunks), **_filters(new.encoding)}
        fill = new.attrs.get("_FillValue")
        dtype = new.dtype.newbyteorder("=")
        variable = self._file.createVariable(new.name, dtype, tuple(new.sizes), fill_value=fill, **options)
        variable.set_auto_maskandscale(False)
        variable.setncatts(_holdable({key: value for key, value in new.attrs.items() if key != "_FillValue"}))

    def prepare(self, name: str, index: Index, values: Array) -> Write:
        """A part of a field, as stored; the library itself compresses it, where it is written."""
        return partial(self._write, name, index, values, checksum(values))

    def _write(self, name: str, index: Index, values: Array, expected: int) -> None:
        with writing(self._path, *FAILURES), HDF5_LOCK:
            self._file.variables[name][index] = values
        self._sums.add(name, index, expected)

    def finish(self, each_part: Callable[[], None], threads: int) -> None:
        """Close the file, open it again, and compare all that was written.

        Raises
        ------
        OutputError
            If a part is not what was written: the disk may be full.
        """
        with writing(self._path, *FAILURES):
            with HDF5_LOCK:
                self._file.close()
                file = netCDF4.Dataset(self._path)
                file.set_auto_maskandscale(False)

            def read(name: str, index: Index) -> Array:
                with HDF5_LOCK:
                    return np.asarray(file.variables[name][index])

            try:
                self._sums.compare(self._path, read, each_part, threads)
            finally:
                with HDF5_LOCK:
                    file.close()

    def close(self) -> None:
        """Let go of the file, whatever state it is in: the first error counts, and the file is about to be removed."""
        with HDF5_LOCK, suppress(*FAILURES):
            if self._file.isopen():
                self._file.close()


def _holdable(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes as NetCDF holds them: texts, numbers and rows of either; anything else as JSON."""
    held: dict[str, Any] = {}
    for key, value in attrs.items():
        parts = value if isinstance(value, (list, tuple)) else [value]
        texts, numbers = (
            all(isinstance(p, kind) for p in parts) for kind in (str, (int, float, np.generic, np.ndarray))
        )
        plain = texts or (numbers and np.asarray(value).dtype.kind in "iufSU")
        held[str(key)] = value if plain else json.dumps(value, default=str)
    return held


def _filters(encoding: Any) -> dict[str, Any]:
    """Lossless compression as before; light where the input was no NetCDF."""
    if encoding.get("zstd"):
        return {"compression": "zstd", "complevel": 1, "shuffle": bool(encoding.get("shuffle"))}
    if "zlib" not in encoding or encoding["zlib"]:
        return {"zlib": True, "complevel": encoding.get("complevel") or 1, "shuffle": encoding.get("shuffle", True)}
    return {}
