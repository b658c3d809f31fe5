"""Fields of a dataset that is stored, through the engine into another store: in memory that does not grow with them.

The coarse dataset is read as it is stored; what is not a field is copied or made for the finer grid by `cf`; fields
go part by part, block after block of their leading indexes (times, levels).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Progress, Range
from geofsrcnn.cf.attributes import PACKED_ATTRS, fine_attrs, history
from geofsrcnn.cf.encoding import Packing, limits_of, missing_of, packing_of
from geofsrcnn.cf.refine import Refinement, repeated, without_dangling
from geofsrcnn.engine.base import tile_size_of
from geofsrcnn.engine.sources import Watched
from geofsrcnn.errors import GeofsrcnnError, InputError, printable, warn
from geofsrcnn.formats.writer import NewField, Writer
from geofsrcnn.grids.windows import Plan, Window
from geofsrcnn.networks.catalog import Method
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import Missing, encode, loses_digits, within

if TYPE_CHECKING:
    from geofsrcnn.engine.base import Sink

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
    total : bool
        A cell's value is divided among its parts.
    raw : bool
        Stored values are repeated, whatever they mean.
    unpacked : numpy.dtype, optional
        Floating type that values are written in, instead of the variable's.
    """

    name: str
    variable: xr.Variable
    dims: tuple[str, ...]
    factor: int
    total: bool = False
    raw: bool = False
    unpacked: np.dtype[Any] | None = None

    @cached_property
    def packing(self) -> Packing:
        """How values are stored."""
        return packing_of(self.variable)

    @cached_property
    def missing(self) -> Missing:
        """Which stored values are missing."""
        return missing_of(self.variable)

    @property
    def divide(self) -> int:
        """What values are divided by."""
        return self.factor**2 if self.total else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the finer field."""
        return self.variable.dtype if self.unpacked is None else self.unpacked

    @property
    def sizes(self) -> dict[str, int]:
        """Of the coarse field, leading dimensions first."""
        return {dim: self.variable.sizes[dim] for dim in self.dims}

    @property
    def bands(self) -> int:
        """Horizontal slices."""
        return math.prod(self.variable.sizes[dim] for dim in self.dims[:-2])

    @property
    def fine_cells(self) -> int:
        """Cells of the finer field."""
        return math.prod(self.sizes.values()) * self.factor**2

    @cached_property
    def _stored_chunk(self) -> dict[str, int]:
        """Cells of the stored chunks along each dimension."""
        encoding = self.variable.encoding
        chunk = encoding.get("shards") or encoding.get("chunksizes") or encoding.get("chunks")
        sizes = chunk or [1] * self.variable.ndim
        return dict(zip(map(str, self.variable.dims), map(int, sizes), strict=True))

    @cached_property
    def along(self) -> int:
        """The leading dimension that blocks extend along: the one of the longest chunks, then the longest."""
        lead = self.dims[:-2]
        return max(range(len(lead)), key=lambda i: (self._stored_chunk[lead[i]], self.sizes[lead[i]]), default=-1)

    @cached_property
    def chunk(self) -> int:
        """Indexes along that dimension in a stored chunk."""
        return (
            1 if self.along < 0 else min(self._stored_chunk[self.dims[self.along]], self.sizes[self.dims[self.along]])
        )

    def blocks(self, together: int) -> Iterator[Lead]:
        """Blocks of leading indexes: `together` along one dimension, one along the others."""
        parts = []
        for i, dim in enumerate(self.dims[:-2]):
            size, step = self.sizes[dim], together if i == self.along else 1
            parts.append([slice(start, min(start + step, size)) for start in range(0, size, step)])
        yield from itertools.product(*parts)

    def read(self, lead: Lead, window: Window) -> Array:
        """Stored values ``(band, y, x)`` of a block of leading indexes."""
        index = dict(zip(self.dims, (*lead, *window.slices()), strict=True))
        part = self.variable[tuple(index[str(dim)] for dim in self.variable.dims)]
        return part.transpose(*self.dims).to_numpy().reshape(-1, *window.shape)


@dataclass(frozen=True)
class Blocks:
    """The bands of a field, numbered block after block, so that a block is a slice of bands."""

    leads: tuple[Lead, ...]

    @cached_property
    def slices(self) -> list[slice]:
        """Bands of each block."""
        sizes = [math.prod(part.stop - part.start for part in lead) for lead in self.leads]
        ends = list(itertools.accumulate(sizes))
        return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]

    @cached_property
    def _by_start(self) -> dict[int, Lead]:
        return {bands.start: lead for bands, lead in zip(self.slices, self.leads, strict=True)}

    def lead(self, bands: slice) -> Lead:
        """The block of these bands."""
        return self._by_start[bands.start]


class FieldSource:
    """A field as a source; whole grids are held where they are small."""

    def __init__(self, field: Field, blocks: Blocks) -> None:
        self._field, self._blocks = field, blocks
        dtype, packing = field.variable.dtype, field.packing
        plain = (packing.scale, packing.offset) == (1.0, 0.0)
        self._type = np.float32 if plain and (dtype.itemsize <= 2 or dtype == np.float32) else np.float64
        rows, columns = self.shape[1:]
        self._holds = field.along >= 0 and field.chunk * rows * columns * dtype.itemsize <= SLAB
        self._held: tuple[Any, Array] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        rows, columns = (self._field.sizes[dim] for dim in self._field.dims[-2:])
        return self._field.bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window of one block, in physical units."""
        field, packing = self._field, self._field.packing
        try:
            stored = self._stored(self._blocks.lead(bands), window)
        except GeofsrcnnError:
            raise
        except Exception as error:  # codecs and HDF5 raise anything
            raise InputError(f"cannot read {printable(field.name)} at {window} ({printable(error)})") from error
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        if field.raw:
            return Cells(stored, np.ones(stored.shape, bool))
        stored = stored.view(packing.dtype.newbyteorder("="))
        valid = field.missing.valid(stored)
        if loses_digits(stored, valid):
            raise InputError(f"integers beyond 2**53 in {printable(field.name)} would lose digits: subtract an offset")
        values: Array = stored.astype(self._type)
        if self._type == np.float64:
            values = values * (packing.scale / field.divide) + packing.offset / field.divide
        elif field.divide > 1:
            values = values / np.float32(field.divide)
        return Cells(values, valid)

    def _stored(self, lead: Lead, window: Window) -> Array:
        """Stored values ``(band, y, x)``, as many whole grids at once as a stored chunk has."""
        field = self._field
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

    def __init__(self, writer: Writer, field: Field, blocks: Blocks) -> None:
        self._writer, self._field, self._blocks = writer, field, blocks
        self._dims = order_of(field, writer)

    def write(self, window: Window, cells: Cells, bands: slice) -> None:
        """Take a window of one block."""
        field = self._field
        stored = self._encode(cells)
        place = dict(zip(field.dims, (*self._blocks.lead(bands), *window.slices()), strict=True))
        shape = [place[dim].stop - place[dim].start for dim in field.dims]
        turned = stored.reshape(shape).transpose([field.dims.index(dim) for dim in self._dims])
        self._writer.write(field.name, tuple(place[dim] for dim in self._dims), np.ascontiguousarray(turned))

    def _encode(self, cells: Cells) -> Array:
        field, packing, values = self._field, self._field.packing, cells.values
        if field.raw:
            return values
        if field.unpacked is not None:
            marked = np.where(cells.valid, values, np.nan)
            return encode(marked, cells.valid, field.unpacked)
        exact = packing.dtype.kind != "f" or (packing.scale, packing.offset) == (1.0, 0.0)
        mark = packing.nodata[0] if packing.nodata and (field.total or not exact) else None
        mark = field.missing.rewritten(packing.dtype) if mark is None else mark
        if values.dtype == np.float64:
            values = (values - packing.offset) / packing.scale
        stored = encode(values, cells.valid, packing.dtype.newbyteorder("="), mark)
        field.missing.keep_clear(stored, cells.valid, values)
        return stored.view(field.dtype.newbyteorder("="))


def order_of(field: Field, writer: Writer) -> tuple[str, ...]:
    """Dimensions as the writer takes them."""
    return field.dims if writer.bands_first else tuple(str(dim) for dim in field.variable.dims)


def fields_of(dataset: xr.Dataset, plan: Refinement, unpacked: np.dtype[Any] | None) -> list[Field]:
    """Variables that go part by part: fields, totals, and numbers that are repeated in both directions.

    Raises
    ------
    InputError
        If one has no cells.
    """
    grid = plan.grid
    found = []
    for name, role in plan.roles.items():
        variable = dataset.variables[name]
        both = {grid.y, grid.x} <= set(variable.dims) and variable.dtype.kind in "iuf"
        if role not in ("field", "total") and not (role == "repeated" and both):
            continue
        if 0 in variable.shape:
            raise InputError(
                f"variable {printable(name)} has no cells ({dict(variable.sizes)}): choose others with --variables"
            )
        lead = [str(dim) for dim in variable.dims if dim not in (grid.y, grid.x)]
        whole = role == "total" and variable.dtype.kind in "iu"
        dtype = None if role == "repeated" else np.dtype("float64") if whole and unpacked is None else unpacked
        found.append(
            Field(name, variable, (*lead, grid.y, grid.x), plan.factor, role == "total", role == "repeated", dtype)
        )
    return found


def rest_of(dataset: xr.Dataset, plan: Refinement, fields: Sequence[Field], method: Method) -> xr.Dataset:
    """Everything but the fields, as it is to be stored."""
    kept: dict[str, xr.Variable] = {}
    streamed = {field.name for field in fields}
    for name, role in plan.roles.items():
        if name in streamed or role == "dropped":
            continue
        variable = dataset.variables[name]
        if role == "made":
            kept[name] = plan.made[name].copy(deep=False)
        elif role == "repeated":
            kept[name] = repeated(variable, plan.grid, plan.factor)
        else:
            kept[name] = variable.copy(deep=False)
        if kept[name].dtype == "S1":  # characters of a text along a dimension: xarray writes texts
            kept[name] = xr.conventions.decode_cf_variable(
                name, kept[name], mask_and_scale=False, decode_times=False, decode_endianness=False
            )
    kept |= {name: variable.copy(deep=False) for name, variable in plan.made.items() if name not in kept}
    for variable in kept.values():
        variable.attrs = without_dangling(variable.attrs, plan)
        if variable.dtype.kind == "f" and "_FillValue" not in variable.attrs:
            variable.encoding = {**variable.encoding, "_FillValue": None}  # xarray would add one
        for key in ("_FillValue", "coordinates"):  # stored as they are, in the place where xarray looks
            if key in variable.attrs:
                variable.encoding = {k: v for k, v in variable.encoding.items() if k != key}
    words = history(dataset.attrs.get("history"), method.name, method.digest, method.factor)
    attrs = {**plan.attrs, "history": words}
    return xr.Dataset(kept, attrs=attrs)


@dataclass(frozen=True)
class Engine:
    """How fields are upscaled, everything checked.

    Parameters
    ----------
    method : Method
        What with.
    plan : Refinement
        Of the dataset.
    value_range : tuple of float, optional
        That all fields keep.
    tile_size : int, optional
        Coarse cells along one side of a tile.
    workers : int
        Threads that compute.
    """

    method: Method
    plan: Refinement
    value_range: Range | None
    tile_size: int | None
    workers: int

    @property
    def tile(self) -> int:
        """Coarse cells along one side of a tile."""
        return tile_size_of(self.tile_size, self.method, self.plan.grid.shape)

    def _together(self, field: Field) -> int:
        """Leading indexes that go through a tile together."""
        cells = math.prod(min(n, self.tile) for n in self.plan.grid.shape) * field.factor**2
        length = 1 if field.along < 0 else field.sizes[field.dims[field.along]]
        return max(1, min(PART // (cells * max(field.dtype.itemsize, 4)), length))

    def parts(self, fields: Sequence[Field]) -> int:
        """Tiles of all fields and blocks."""
        rows, columns = self.plan.grid.shape
        tiles = -(-rows // self.tile) * -(-columns // self.tile)
        return sum(tiles * sum(1 for _ in field.blocks(self._together(field))) for field in fields)

    def define(self, dataset: xr.Dataset, fields: Sequence[Field], writer: Writer) -> None:
        """Tell the writer which fields are to come."""
        fine = [min(n, self.tile) * self.plan.factor for n in self.plan.grid.shape]
        for field in fields:
            order = order_of(field, writer)
            chunks = dict(zip(field.dims, (*[1] * (len(field.dims) - 2), *fine), strict=True))
            if field.along >= 0:
                chunks[field.dims[field.along]] = self._together(field)
            grown = (self.plan.grid.y, self.plan.grid.x)
            sizes = {dim: field.sizes[dim] * (field.factor if dim in grown else 1) for dim in order}
            attrs = without_dangling(_attrs(dataset, field), self.plan)
            encoding = field.variable.encoding
            writer.define(NewField(field.name, sizes, field.dtype, attrs, [chunks[d] for d in order], encoding))

    def run(
        self,
        fields: Sequence[Field],
        sink_of: Callable[[Field, Blocks], Sink],
        progress: Progress | None,
        share: range | None = None,
        made: Iterator[Cells] | None = None,
    ) -> None:
        """All fields, block by block, each into its sink; or only a share of the units, or what was made of them."""
        from geofsrcnn.engine.base import Job, Source
        from geofsrcnn.engine.run import run
        from geofsrcnn.engine.sources import AroundGlobe

        rows, columns = self.plan.grid.shape
        method, factor, around = self.method, self.plan.factor, self.plan.grid.around
        whole = method.upsampler is not None and method.upsampler.whole
        done = 0
        for field in fields:
            blocks = Blocks(tuple(field.blocks(self._together(field))))
            if field.chunk * rows * columns * field.dtype.itemsize > SLAB and field.chunk > self._together(field):
                warn(
                    "W-CHUNKS",
                    f"{printable(field.name)} has chunks of {field.chunk} along {printable(field.dims[field.along])}, "
                    "each read many times: rechunk it to few of them and larger maps",
                )
            upsampler = None if field.raw else method.upsampler
            limits = None if upsampler is None else self._limits(field)
            job = Job(upsampler, factor, [limits] * field.bands if limits else ())
            fields_source: Source = FieldSource(field, blocks)
            source: Source = Watched(fields_source, self.value_range, printable(field.name))
            extent = region = Window(0, rows, 0, columns)
            if around and job.reach and not whole:
                source = AroundGlobe(source, around, job.reach)
                extent = Window(0, rows, 0, columns + 2 * job.reach)
                region = region.shift(0, job.reach)
            tiles = Plan(extent, region, self.tile, job.reach, factor)

            def step(now: int, total: int, before: int = done) -> None:
                if progress is not None:
                    progress(before + now, before + total)

            count = len(tiles) * len(blocks.leads)
            own = range(count) if share is None else range(max(share.start - done, 0), min(share.stop - done, count))
            if len(own):
                sink = sink_of(field, blocks)
                run(job, source, sink, tiles, self.workers, step, blocks.slices, own, made)
            done += count

    def _limits(self, field: Field) -> Range | None:
        """The range that a field keeps, in physical units, of a part of a cell."""
        if self.value_range is not None:
            limits = self.value_range if field.unpacked is not None else within(field.packing.limits, self.value_range)
        else:
            limits = limits_of(field.variable)
        if limits is not None and field.unpacked is not None and self.value_range is None:
            limits = _natural_only(field)
        return None if limits is None else (limits[0] / field.divide, limits[1] / field.divide)


def _natural_only(field: Field) -> Range | None:
    """The range of a field that is not stored as it was: what its quantity can be."""
    bare = xr.Variable(field.variable.dims, np.empty([0] * field.variable.ndim, np.float64), {})
    bare.attrs = {k: v for k, v in field.variable.attrs.items() if k in ("standard_name", "units")}
    return limits_of(bare)


def _attrs(dataset: xr.Dataset, field: Field) -> Mapping[str, Any]:
    attrs = fine_attrs(dataset, field.variable)
    if field.unpacked is None:
        return attrs
    stale = {*PACKED_ATTRS, "valid_range", "valid_min", "valid_max"}
    return {k: v for k, v in attrs.items() if k not in stale} | {"_FillValue": field.unpacked.type(np.nan)}
