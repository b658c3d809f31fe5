"""Fields of a stored dataset as streams, and the rest of it as it is to be stored.

The coarse dataset is read as it is stored; what is not a field is copied or made for the finer grid by `cf`; fields
go part by part, group after group of their leading indexes (times, levels), in memory that does not grow with them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Range, Write, each_of
from geofsrcnn.cf.attributes import PACKED_ATTRS, add_ancillary, fine_attrs, history
from geofsrcnn.cf.encoding import limits_of, packing_of, storage_of, stored_chunk
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.cf.refine import Refinement, Role, drop_dangling
from geofsrcnn.engine.base import Rule, Source
from geofsrcnn.engine.onto import Onto, Overlap, around_globe
from geofsrcnn.engine.rules import extremes_of, rule_of, rule_of_repeated
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import GeofsrcnnError, InputError, printable, warn
from geofsrcnn.formats.writer import Writer
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import VALID
from geofsrcnn.values.quantity import UNKNOWN, Quantity
from geofsrcnn.values.rounding import round_mantissa
from geofsrcnn.values.storage import Storage, type_of_parts

Lead = tuple[slice, ...]

SLAB = 128 * 2**20
"""Bytes of whole coarse grids that are held, so that a chunk of many times is read once."""

PART = 4 * 2**20
"""Bytes of a part that is written, about."""


@dataclass(frozen=True)
class Field:
    """A variable's horizontal slices as bands of the engine.

    Parameters
    ----------
    name : str
        Of the variable.
    variable : Variable
        As stored, lazily.
    dims : tuple of str
        Leading dimensions, then y and x.
    factor : int
        Fine cells along one side of a coarse cell.
    quantity : Quantity
        What its values are.
    each : sequence of Quantity
        What those of each band are, where they differ.
    total : bool
        A cell's value is divided among its parts.
    repeats : bool
        Cells are repeated, whatever the model is.
    unpacked : numpy.dtype, optional
        Floating type that values are written in, instead of the variable's.
    together : int
        Leading indexes along `along` that go through a tile together.
    error : str
        The variable of its expected errors; empty if none are told.
    onto : Onto, optional
        The grid that is wanted instead of the fine one.
    """

    name: str
    variable: xr.Variable
    dims: tuple[str, ...]
    factor: int
    quantity: Quantity = UNKNOWN
    each: Sequence[Quantity] = ()
    total: bool = False
    repeats: bool = False
    unpacked: np.dtype[Any] | None = None
    together: int = 1
    error: str = ""
    onto: Onto | None = None

    @property
    def raw(self) -> bool:
        """True if stored values are repeated, whatever they mean."""
        return self.repeats and not self.total and self.unpacked is None

    @cached_property
    def storage(self) -> Storage:
        """How its numbers become cells, and fine cells numbers."""
        moved = self.onto is not None
        return storage_of(self.variable, total=self.total, raw=self.raw, unpacked=self.unpacked, moved=moved)

    @property
    def some_groups(self) -> list[slice]:
        """The first group, the last, and those at quarters between: seasons differ."""
        every = self.lead_groups.bands
        return [every[i] for i in sorted({round(k * (len(every) - 1) / 4) for k in range(5)})]

    def rules(self, value_range: Range | None) -> list[Rule]:
        """Return what becomes of each band's values."""
        if len(self.each) != self.bands:
            return [self.rule(value_range)] * self.bands
        return [replace(self, quantity=quantity).rule(value_range) for quantity in self.each]

    def rule(self, value_range: Range | None) -> Rule:
        """Return what becomes of its values, by what they are, what can be stored, and what was asked for."""
        if self.repeats:
            return rule_of_repeated(self.factor, total=self.total)
        stored = None
        if self.unpacked is None and not self.total:  # stored as it was
            stored = self.storage.limits if value_range is not None else limits_of(self.variable)
        lazy, single = self.variable.chunks is not None, replace(self, together=1)  # whatever goes together
        return rule_of(
            self.quantity,
            printable(self.name),
            self.factor,
            stored=stored,
            value_range=value_range,
            step=self.storage.fine.step,
            extremes=lambda: None if lazy else extremes_of(FieldSource(single), *single.some_groups),
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the finer field."""
        return self.variable.dtype if self.unpacked is None else self.unpacked

    @property
    def itemsize(self) -> int:
        """Bytes of a fine cell where it is stored, with its expected error."""
        return self.dtype.itemsize + (self.storage.error_dtype.itemsize if self.error else 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes of the coarse field, leading dimensions first."""
        return {dim: self.variable.sizes[dim] for dim in self.dims}

    @property
    def bands(self) -> int:
        """Horizontal slices."""
        return math.prod(self.variable.sizes[dim] for dim in self.dims[:-2])

    @property
    def fine_cells(self) -> int:
        """Cells of the finer field."""
        return self.bands * math.prod(self.fine_shape)

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Rows and columns of the finer field."""
        if self.onto is not None:
            return self.onto.shape
        rows, columns = (self.sizes[dim] * self.factor for dim in self.dims[-2:])
        return rows, columns

    @cached_property
    def _stored_chunk(self) -> dict[str, int]:
        """Cells of the stored chunks along each dimension."""
        sizes = stored_chunk(self.variable) or [1] * self.variable.ndim
        return dict(zip(map(str, self.variable.dims), map(int, sizes), strict=True))

    @cached_property
    def along(self) -> int:
        """The leading dimension that groups extend along: the one of the longest chunks, then the longest."""
        lead = self.dims[:-2]
        return max(range(len(lead)), key=lambda i: (self._stored_chunk[lead[i]], self.sizes[lead[i]]), default=-1)

    @cached_property
    def chunk(self) -> int:
        """Indexes along that dimension in a stored chunk."""
        return (
            1 if self.along < 0 else min(self._stored_chunk[self.dims[self.along]], self.sizes[self.dims[self.along]])
        )

    @cached_property
    def lead_groups(self) -> LeadGroups:
        """Groups of leading indexes: `together` along one dimension, one along the others."""
        parts = []
        for i, dim in enumerate(self.dims[:-2]):
            size, step = self.sizes[dim], self.together if i == self.along else 1
            parts.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
        return LeadGroups(tuple(itertools.product(*parts)))

    def read(self, lead: Lead, window: Window) -> Array:
        """Stored values ``(band, y, x)`` of a group of leading indexes."""
        index = dict(zip(self.dims, (*lead, *window.slices()), strict=True))
        part = self.variable[tuple(index[str(dim)] for dim in self.variable.dims)]
        return part.transpose(*self.dims).to_numpy().reshape(-1, *window.shape)


@dataclass(frozen=True)
class LeadGroups:
    """Groups of leading indexes (times, levels). Bands are numbered group after group: each is a slice of them."""

    leads: tuple[Lead, ...]

    @cached_property
    def bands(self) -> list[slice]:
        """Bands of each group."""
        sizes = [math.prod(part.stop - part.start for part in lead) for lead in self.leads]
        ends = list(itertools.accumulate(sizes))
        return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    @cached_property
    def _by_start(self) -> dict[int, Lead]:
        return {bands.start: lead for bands, lead in zip(self.bands, self.leads, strict=True)}

    def lead(self, bands: slice) -> Lead:
        """The group of these bands."""
        return self._by_start[bands.start]


class FieldSource:
    """A field as a source; whole grids are held where they are small."""

    def __init__(self, field: Field) -> None:
        self._field = field
        dtype = field.variable.dtype
        rows, columns = self.shape[1:]
        self._holds = field.along >= 0 and field.chunk * rows * columns * dtype.itemsize <= SLAB
        self._held: tuple[Any, Array] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        rows, columns = (self._field.sizes[dim] for dim in self._field.dims[-2:])
        return self._field.bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window of one group, in physical units."""
        field = self._field
        try:
            stored = self.stored(bands, window)
        except GeofsrcnnError:
            raise
        except Exception as error:  # codecs and HDF5 raise anything
            raise InputError(f"cannot read {printable(field.name)} at {window} ({printable(error)})") from error
        return field.storage.decode(stored, printable(field.name))

    def stored(self, bands: slice, window: Window) -> Array:
        """Stored values ``(band, y, x)`` of one group; as many whole grids are read at once as a stored chunk has."""
        field, lead = self._field, self._field.lead_groups.lead(bands)
        if not self._holds:
            return field.read(lead, window)
        along, length = field.along, field.chunk
        first, last = lead[along].start, lead[along].stop
        start = first // length * length
        stop = min(-(-last // length) * length, field.sizes[field.dims[along]])
        whole = (*lead[:along], slice(start, stop), *lead[along + 1 :])
        key = tuple((part.start, part.stop) for part in whole)
        if self._held is None or self._held[0] != key:
            self._held = key, field.read(whole, Window(0, self.shape[1], 0, self.shape[2]))
        values: Array = self._held[1][(slice(first - start, last - start), *window.slices())]
        return values


class FieldSink:
    """A new field as a sink."""

    def __init__(self, writer: Writer, field: Field) -> None:
        self._writer, self._field = writer, field
        self._dims = order_of(field, writer)

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Encode a window of one group."""
        field = self._field
        writes = [self._part(field.name, window, field.storage.encode(cells, printable(field.name)), bands)]
        if field.error:
            assert cells.errors is not None, field.error
            errors = round_mantissa(cells.errors.astype(field.storage.error_dtype, copy=False))
            writes.append(self._part(field.error, window, errors, bands))
        return each_of(writes)

    def _part(self, name: str, window: Window, stored: Array, bands: slice) -> Write:
        """A part of a variable, prepared by the writer."""
        field = self._field
        place = dict(zip(field.dims, (*field.lead_groups.lead(bands), *window.slices()), strict=True))
        shape = [place[dim].stop - place[dim].start for dim in field.dims]
        turned = stored.reshape(shape).transpose([field.dims.index(dim) for dim in self._dims])
        index = tuple(place[dim] for dim in self._dims)
        return self._writer.prepare(name, index, np.ascontiguousarray(turned))


def order_of(field: Field, writer: Writer) -> tuple[str, ...]:
    """Dimensions as the writer takes them."""
    return field.dims if writer.bands_first else tuple(str(dim) for dim in field.variable.dims)


def fields_of(dataset: xr.Dataset, plan: Refinement, unpacked: np.dtype[Any] | None, model: Model) -> list[Field]:
    """Variables that go part by part: fields, totals, and numbers that are repeated in both directions.

    Raises
    ------
    InputError
        If one has no cells.
    """
    found = []
    for name, role in plan.roles.items():
        variable = dataset.variables[name]
        if role in (Role.FIELD, Role.EXTENSIVE) or (role is Role.REPEATED and plan.has_cells(variable)):
            field = field_of(name, variable, plan, unpacked, model)
            found.append(replace(field, each=dataset.encoding.get("quantities", {}).get(name, ())))
    return found


def field_of(name: str, variable: xr.Variable, plan: Refinement, unpacked: np.dtype[Any] | None, model: Model) -> Field:
    """A variable as a field.

    Raises
    ------
    InputError
        If it has no cells.
    """
    role, grid = plan.roles[name], plan.grid
    if 0 in variable.shape:
        raise InputError(
            f"variable {printable(name)} has no cells ({dict(variable.sizes)}): choose others with variables="
        )
    lead = [str(dim) for dim in variable.dims if dim not in (grid.y, grid.x)]
    total = role is Role.EXTENSIVE
    if total:
        unpacked = type_of_parts(printable(name), packing_of(variable).dtype, unpacked, variable.dtype)
    elif role is Role.REPEATED:
        unpacked = None
    dims, quantity = (*lead, grid.y, grid.x), plan.quantities[name]
    repeats = role is Role.REPEATED or model.upsampler is None
    field = Field(name, variable, dims, plan.factor, quantity, total=total, repeats=repeats, unpacked=unpacked)
    field = replace(field, error=plan.errors.get(name, ""))
    return field if plan.overlap is None else replace(field, onto=onto_of(field, plan.overlap, grid.period))


def onto_of(field: Field, overlap: Overlap, period: int) -> Onto:
    """The grid that is wanted, and what a field's missing cells hold.

    Raises
    ------
    InputError
        If cells that are wanted are missing, and nothing can stand for them.
    """
    marks, dtype = field.storage.coarse.missing.marks, field.dtype
    complete = overlap.complete_around if period else overlap.complete
    if not (complete or marks or dtype.kind == "f"):
        raise InputError(
            f"{printable(field.name)} does not cover all of the wanted grid, and has no _FillValue for missing cells: "
            "give it one"
        )
    return Onto(overlap, field.factor, marks[0] if field.raw and marks else math.nan)


def rest_of(dataset: xr.Dataset, plan: Refinement, fields: Sequence[Field], model: Model, onto: str = "") -> xr.Dataset:
    """Everything but the fields, as it is to be stored; its history says onto which cells."""
    rest = plan.variables(dataset, dataset.variables.__getitem__, [field.name for field in fields])
    kept = {name: _with_texts(name, variable.copy(deep=False)) for name, variable in rest.items()}
    for variable in kept.values():
        variable.attrs = drop_dangling(variable.attrs, plan)
        if variable.dtype.kind == "f" and "_FillValue" not in variable.attrs:
            variable.encoding = {**variable.encoding, "_FillValue": None}  # xarray would add one
        for key in ("_FillValue", "coordinates"):  # stored as they are, in the place where xarray looks
            if key in variable.attrs:
                variable.encoding = {k: v for k, v in variable.encoding.items() if k != key}
    words = history(dataset.attrs.get("history"), model.name, model.digest, model.factor, onto=onto)
    attrs = {**plan.attrs, "history": words}
    return xr.Dataset(kept, attrs=attrs)


def _with_texts(name: str, variable: xr.Variable) -> xr.Variable:
    """Characters of a text along a dimension as texts, which xarray writes; one that says nothing as a number.

    xarray would give ``char crs`` a dimension, and readers lose the grid mapping; its type has no meaning (CF 5.6).
    """
    if variable.dtype != "S1":
        return variable
    if variable.ndim == 0 and not bytes(variable.values).strip(b"\0 "):
        return xr.Variable((), np.int32(0), variable.attrs)
    text: xr.Variable = xr.conventions.decode_cf_variable(
        name, variable, mask_and_scale=False, decode_times=False, decode_endianness=False
    )
    return text


def field_stream(field: Field, grid: CFGrid, model: Model, options: UpscaleOptions) -> Stream:
    """A field on its way through the engine, group after group of its leading indexes."""
    rows, columns = grid.shape
    if field.chunk * rows * columns * field.dtype.itemsize > SLAB and field.chunk > field.together:
        warn(
            "W-CHUNKS",
            f"{printable(field.name)} has chunks of {field.chunk} along {printable(field.dims[field.along])}, "
            "each read many times: rechunk it to few of them and larger maps",
        )
    source: Source = FieldSource(field)
    onto, region = field.onto, Window(0, rows, 0, columns)
    if onto is not None:
        source, onto = around_globe(source, grid.period, onto)
        region = onto.core(Window(0, onto.shape[0], 0, onto.shape[1]))
    return Stream(
        printable(field.name),
        source,
        model,
        region,
        repeats=field.repeats,
        rules=field.rules(options.value_range),
        period=0 if onto else grid.period,
        tile_size=options.tile_size,
        workers=options.workers,
        groups_in_order=field.lead_groups.bands,
        itemsize=field.itemsize,
        errors=bool(field.error),
        onto=onto,
    )


def with_parts(field: Field, side: int, shape: tuple[int, int]) -> Field:
    """A field with as many leading indexes together as make a part of a good size, on tiles of this side."""
    cells = math.prod(min(n, side) for n in shape) * field.factor**2
    length = 1 if field.along < 0 else field.sizes[field.dims[field.along]]
    return replace(field, together=max(1, min(PART // (cells * max(field.dtype.itemsize, 4)), length)))


def field_attrs(dataset: xr.Dataset, field: Field) -> Mapping[str, Any]:
    """Attributes of the finer field, without those of a packing that it has no longer."""
    attrs = fine_attrs(dataset, field.variable)
    if field.error:
        attrs = add_ancillary(attrs, field.error)
    if field.unpacked is None:
        return attrs
    return {k: v for k, v in attrs.items() if k not in (*PACKED_ATTRS, *VALID)}
