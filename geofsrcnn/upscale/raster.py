"""Raster files into GeoTIFFs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geofsrcnn.engine.base import Rule, Sink, Source
from geofsrcnn.engine.onto import Onto, around_globe
from geofsrcnn.engine.rules import rule_of_band, rule_of_repeated
from geofsrcnn.engine.sources import PeriodicSource
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.files.paths import watch_changes
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.upscale.task import EachSink, ErrorFile, Task, check_pixels, no_errors, provenance
from geofsrcnn.values.encoding import stored_limits
from geofsrcnn.values.expected_errors import type_beside_errors
from geofsrcnn.values.quantity import Kind, Quantity
from geofsrcnn.values.storage import type_of_parts

if TYPE_CHECKING:
    from geofsrcnn.formats.creation import Format
    from geofsrcnn.formats.geotiff import GeoTiffSink
    from geofsrcnn.formats.raster import RasterMetadata, RasterSource


@contextmanager
def open_raster(path: Path, target: Path, model: Model, options: UpscaleOptions) -> Iterator[Task]:
    """A raster as a task, with everything checked that can be before the first tile."""
    from geofsrcnn.formats.bands import check_joint, quantities_of, warn_of_guesses
    from geofsrcnn.formats.georeference import as_geotiff_holds
    from geofsrcnn.formats.raster import RasterSource

    check_unchanged = watch_changes([path])
    repeats = model.upsampler is None
    sparse = options.allow_sparse or options.bounds is not None  # of a part it is asked below
    with RasterSource(path, replace(options, allow_sparse=sparse), raw=repeats) as source:
        rows, columns = source.grid.shape
        whole = Window(0, rows, 0, columns)
        region = whole if options.bounds is None else source.grid.window(options.bounds, period=source.period)
        if not options.allow_sparse:
            source.check_declared(*region.shape)
        grid, onto = _grid_of(source, region, model, options)
        check_pixels(math.prod(grid.shape), options.max_pixels)
        quantities = quantities_of(source, options.kinds or {})
        check_joint(source, quantities, model)
        options = replace(options, dtype=_type_of(source, quantities, options.dtype))
        source.raw = repeats and not any(quantity.kind is Kind.TOTAL for quantity in quantities)
        if onto is not None and not onto.overlap.exact and any(each.kind is Kind.TOTAL for each in quantities):
            raise UsageError(
                f"{printable(path.name)} holds totals of cells, which a warp does not keep: take a grid of its own CRS "
                "that is not turned, or say with kinds= that it holds a field"
            )
        warn_of_guesses(source, quantities, repeats=repeats)
        errors = _bands_with_errors(source, quantities) if options.error else []
        beside = errors if options.error_file is None else []
        dtype = _type_with_errors(source, options.dtype) if beside else options.dtype
        if beside:
            source.turn_alpha_into_mask()
        cells, window, onto = _from_edge(source, region, onto)
        stream = Stream(
            printable(path.name),
            cells,
            model,
            window,
            rules=_rules(source, quantities, model, options),
            period=0 if onto else source.period,
            tile_size=options.tile_size,
            workers=options.workers,
            itemsize=_bytes_of_cell(source, dtype, len(beside)),
            errors=options.error,
            onto=onto,
        )
        grid = as_geotiff_holds(grid, printable(path.name))
        output = _output(source, grid, stream, quantities, beside, replace(options, dtype=dtype))
        apart = _error_file(output, errors, options)
        with source.block_cache():
            yield Task(
                [stream],
                output,
                target,
                model,
                (region.shape, grid.shape),
                options,
                check_unchanged,
                error_bands=len(errors),
                error_file=apart,
                dtype=dtype if dtype != options.dtype else None,
                grid=None if onto is None else onto.method,
            )


def _bands_with_errors(source: RasterSource, quantities: Sequence[Quantity]) -> list[int]:
    """Positions of the bands that have an expected error: all but categories.

    Raises
    ------
    UsageError
        If none has.
    """
    found = [number for number, quantity in enumerate(quantities) if quantity.kind is not Kind.CATEGORY]
    if not found:
        raise no_errors(printable(source.path.name))
    return found


def _type_with_errors(source: RasterSource, chosen: str | None) -> str | None:
    """The type of an output that holds errors too, instead of the chosen one or the raster's."""
    types = {np.dtype(chosen)} if chosen is not None else {band.dtype for band in source.bands}
    if len(types) > 1:  # which is refused where the output is made
        return chosen
    floating = type_beside_errors(types.pop())
    return chosen if floating is None else floating.name


def _bytes_of_cell(source: RasterSource, dtype: str | None, error_bands: int) -> int:
    """Bytes of a fine cell of a band, with its part of alpha bands and bands of errors."""
    itemsize = np.dtype(dtype or source.bands[0].dtype).itemsize
    return -(-itemsize * (len(source.order) + error_bands) // len(source.bands))


def _grid_of(source: RasterSource, region: Window, model: Model, options: UpscaleOptions) -> tuple[Grid, Onto | None]:
    """The grid of the output, and how fine cells come onto it where it is not the fine one.

    Raises
    ------
    InputError
        If cells that are wanted are missing, and nothing can stand for them.
    """
    if not options.wants_grid:
        return source.grid.crop(region).refine(model.factor), None
    from geofsrcnn.formats.wanted import overlap_on, wanted_grid

    shown = printable(source.path.name)
    wanted = wanted_grid(source.grid.crop(region), options, shown)
    if source.grid.rpcs is not None:
        warn("W-RPC", f"{shown} has RPCs, which count in its own cells: the output has none")
    overlap = overlap_on(source.grid.refine(model.factor), wanted, shown)
    marked = all(band.dtype.kind == "f" or band.nodata is not None for band in source.bands)
    masked = source.has_mask or source.alpha_index is not None
    if (overlap.complete_around if source.period else overlap.complete) or masked:
        pass
    elif marked:
        source.declare_nan()
    else:
        raise InputError(
            f"{shown} does not cover all of the wanted grid, and says not which value stands for missing cells: give "
            "one with nodata="
        )
    words = f"{overlap.method} onto {options.wanted_cells}"
    return wanted, Onto(overlap, model.factor, math.nan if marked else 0.0, words)


def _from_edge(source: RasterSource, region: Window, onto: Onto | None) -> tuple[Source, Window, Onto | None]:
    """The source as its columns follow each other from the region on, where that goes over the edge of the globe."""
    if onto is not None:
        cells, onto = around_globe(source, source.period, onto)
        return cells, onto.core(Window(0, onto.shape[0], 0, onto.shape[1])), onto
    if region.x0 >= 0 and region.x1 <= source.grid.shape[1]:
        return source, region, None
    from_region = PeriodicSource(source, source.period, region.x0, source.period)
    return from_region, region.shift(0, -region.x0), None


def _type_of(source: RasterSource, quantities: Sequence[Quantity], chosen: str | None) -> str | None:
    """The type of the output, where it is not the raster's: what was asked for, or what totals need."""
    dtype = None if chosen is None else np.dtype(chosen)
    for band, quantity in zip(source.bands, quantities, strict=True):
        if quantity.kind is Kind.TOTAL:
            dtype = type_of_parts(f"band {band.index} of {printable(source.path.name)}", band.dtype, dtype)
    return None if dtype is None else dtype.name


def _rules(source: RasterSource, quantities: Sequence[Quantity], model: Model, options: UpscaleOptions) -> list[Rule]:
    """Return what becomes of each band, by what it is, what can be stored, and what was asked for."""
    if model.upsampler is None:  # stored numbers are repeated, whatever they mean; but totals divided
        ends = [stored_limits(np.dtype(options.dtype or band.dtype)) for band in source.bands]
        return [
            rule_of_repeated(model.factor, total=quantity.kind is Kind.TOTAL, limits=limits)
            for quantity, limits in zip(quantities, ends, strict=True)
        ]
    asked = model.factor, options.value_range
    return [
        rule_of_band(source, position, band.index, quantity, band.packing_as(options.dtype), *asked)
        for position, (band, quantity) in enumerate(zip(source.bands, quantities, strict=True))
    ]


@dataclass(frozen=True)
class _GeoTIFF:
    """A GeoTIFF that is like the raster it comes from, with bands of expected errors or of nothing else.

    Parameters
    ----------
    source : RasterSource
        Where it comes from.
    metadata : RasterMetadata
        Its own description.
    grid : Grid
        The fine one.
    stream : Stream
        What fills it.
    form : Format
        How it is written.
    quantities : sequence of Quantity
        What each band of the source is.
    errors : sequence of int
        Positions of the source's bands whose errors it holds.
    values : bool
        True if it holds values.
    less : str
        The request that makes it smaller.
    folder : bool
        True if it is a folder.
    """

    source: RasterSource
    metadata: RasterMetadata
    grid: Grid
    stream: Stream
    form: Format
    quantities: Sequence[Quantity]
    errors: Sequence[int] = ()
    values: bool = True

    less: str = "part of it with bounds="
    folder: bool = False

    def rehearse(self) -> None:
        """Fail now with what would fail after the work."""
        from geofsrcnn.formats.creation import check_creation_options
        from geofsrcnn.formats.geotiff import rehearse

        check_creation_options(self.form, np.dtype(self.form.dtype or self.metadata.bands[0].dtype))
        rehearse(self.metadata, self.grid, self.form, masked=self._masked)

    @property
    def _masked(self) -> bool:
        """True if a mask is written too."""
        return self.values and (self.source.has_mask or self.source.alpha_as_mask)

    def check(self) -> None:
        from geofsrcnn.formats.sample import warn_of_values

        self.source.check_georeference()
        warn_of_values(self.source, self.quantities, rounded=self.form.dtype is None)

    @contextmanager
    def begin(self, staging: Path) -> Iterator[_Writing]:
        from geofsrcnn.formats.error_bands import ErrorSink
        from geofsrcnn.formats.geotiff import GeoTiffSink

        block = self.stream.block
        split = len(self.stream.groups) > 1
        threads = 1 if self._masked else self.stream.workers  # blocks of the mask would overtake those of values
        with GeoTiffSink(staging, self.metadata, self.grid, block, self.form, split=split, threads=threads) as tiff:
            sinks: list[Sink] = [tiff] if self.values else []
            if self.errors:
                sinks.append(ErrorSink(tiff, self.metadata, self.errors))
            yield _Writing(tiff, EachSink(sinks), self.stream.workers)


def _output(
    source: RasterSource,
    grid: Grid,
    stream: Stream,
    quantities: Sequence[Quantity],
    errors: Sequence[int],
    options: UpscaleOptions,
) -> _GeoTIFF:
    """The GeoTIFF of the values, with bands of some of their errors."""
    from geofsrcnn.formats.creation import Format
    from geofsrcnn.formats.error_bands import with_error_bands

    metadata = with_error_bands(source.metadata, errors) if errors else source.metadata
    tags = provenance(stream.model, errors=bool(errors), onto=None if stream.onto is None else stream.onto.method)
    form = Format(options.dtype, options.cog, dict(options.co or {}), tags)
    output = _GeoTIFF(source, metadata, grid, stream, form, quantities, errors)
    output.rehearse()
    return output


def _error_file(values: _GeoTIFF, errors: Sequence[int], options: UpscaleOptions) -> ErrorFile | None:
    """A GeoTIFF of errors alone, if there is to be one beside that of the values."""
    from geofsrcnn.formats.error_bands import only_errors

    if options.error_file is None:
        return None
    form = replace(
        values.form,
        dtype="float32",
        provenance={**values.form.provenance, **provenance(values.stream.model, errors=True)},
    )
    metadata = only_errors(values.metadata, errors)
    output = replace(values, metadata=metadata, form=form, errors=errors, values=False)
    output.rehearse()
    return ErrorFile(Path(options.error_file).absolute(), output, 4 * len(errors) * math.prod(values.grid.shape))


@dataclass(frozen=True)
class _Writing:
    tiff: GeoTiffSink
    cells: Sink
    workers: int

    def sink(self, _: int) -> Sink:
        return self.cells

    def finish(self, step: Callable[[], None]) -> None:
        self.tiff.finish(step, self.workers)
