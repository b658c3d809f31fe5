"""Raster files into GeoTIFFs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geofsrcnn.engine.base import FREE, Rule, Sink, Source
from geofsrcnn.engine.rules import extremes_of, rule_of
from geofsrcnn.engine.sources import PeriodicSource
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import printable
from geofsrcnn.files.paths import watch_changes
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.upscale.task import Task, check_pixels, provenance, refuse_error
from geofsrcnn.values.encoding import stored_limits
from geofsrcnn.values.quantity import Kind, Quantity
from geofsrcnn.values.storage import type_of_parts

if TYPE_CHECKING:
    from geofsrcnn.formats.creation import Format
    from geofsrcnn.formats.geotiff import GeoTiffSink
    from geofsrcnn.formats.raster import Band, RasterSource


@contextmanager
def open_raster(path: Path, target: Path, model: Model, options: UpscaleOptions) -> Iterator[Task]:
    """A raster as a task, with everything checked that can be before the first tile."""
    from geofsrcnn.formats.bands import quantities_of, warn_of_guesses
    from geofsrcnn.formats.creation import Format, check_creation_options
    from geofsrcnn.formats.georeference import as_geotiff_holds
    from geofsrcnn.formats.geotiff import rehearse
    from geofsrcnn.formats.raster import RasterSource

    refuse_error(options, "GeoTIFF")
    check_unchanged = watch_changes([path])
    repeats = model.upsampler is None
    sparse = options.allow_sparse or options.bounds is not None  # of a part it is asked below
    with RasterSource(path, replace(options, allow_sparse=sparse), raw=repeats) as source:
        rows, columns = source.grid.shape
        whole = Window(0, rows, 0, columns)
        region = whole if options.bounds is None else source.grid.window(options.bounds, period=source.period)
        if not options.allow_sparse:
            source.check_declared(*region.shape)
        fine = region.shape[0] * model.factor, region.shape[1] * model.factor
        check_pixels(math.prod(fine), options.max_pixels)
        quantities = quantities_of(source, options.kinds or {})
        options = replace(options, dtype=_type_of(source, quantities, options.dtype))
        dtype = np.dtype(options.dtype or source.bands[0].dtype)
        source.raw = repeats and not any(quantity.kind is Kind.TOTAL for quantity in quantities)
        warn_of_guesses(source, quantities, repeats=repeats)
        cells, window = _from_edge(source, region)
        stream = Stream(
            printable(path.name),
            cells,
            model,
            window,
            rules=_rules(source, quantities, model, options),
            period=source.period,
            tile_size=options.tile_size,
            workers=options.workers,
            itemsize=dtype.itemsize * len(source.order) // len(source.bands),
        )
        form = Format(options.dtype, options.cog, dict(options.co or {}), provenance(model))
        check_creation_options(form, dtype)
        grid = as_geotiff_holds(source.grid, printable(path.name)).crop(region).refine(model.factor)
        rehearse(source.metadata, grid, form, masked=source.has_mask or source.alpha_as_mask)
        output = _GeoTIFF(source, grid, stream, form, quantities)
        with source.block_cache():
            yield Task([stream], output, target, model, (region.shape, fine), options, check_unchanged)


def _from_edge(source: RasterSource, region: Window) -> tuple[Source, Window]:
    """The source as its columns follow each other from the region on, where that goes over the edge of the globe."""
    if region.x0 >= 0 and region.x1 <= source.grid.shape[1]:
        return source, region
    from_region = PeriodicSource(source, source.period, region.x0, source.period)
    return from_region, region.shift(0, -region.x0)


def _type_of(source: RasterSource, quantities: Sequence[Quantity], chosen: str | None) -> str | None:
    """The type of the output, where it is not the raster's: what was asked for, or what totals need."""
    dtype = None if chosen is None else np.dtype(chosen)
    for band, quantity in zip(source.bands, quantities, strict=True):
        if quantity.kind is Kind.TOTAL:
            dtype = type_of_parts(f"band {band.index} of {printable(source.path.name)}", band.dtype, dtype)
    return None if dtype is None else dtype.name


def _rules(source: RasterSource, quantities: Sequence[Quantity], model: Model, options: UpscaleOptions) -> list[Rule]:
    """Return what becomes of each band, by what it is, what can be stored, and what was asked for."""
    pairs = list(zip(source.bands, quantities, strict=True))
    if model.upsampler is None:  # stored numbers are repeated, whatever they mean; but totals divided
        ends = [stored_limits(np.dtype(options.dtype or band.dtype)) or FREE for band in source.bands]
        divisors = [model.factor**2 if quantity.kind is Kind.TOTAL else 1 for quantity in quantities]
        return [Rule(limits, divisor=divisor) for limits, divisor in zip(ends, divisors, strict=True)]
    return [_rule(source, number, band, quantity, model, options) for number, (band, quantity) in enumerate(pairs)]


def _rule(
    source: RasterSource, number: int, band: Band, quantity: Quantity, model: Model, options: UpscaleOptions
) -> Rule:
    packing = band.packing_as(options.dtype)
    return rule_of(
        quantity,
        str(band.index),
        model.factor,
        stored=packing.limits,
        value_range=options.value_range,
        numbered=True,
        step=packing.step,
        extremes=lambda: extremes_of(source, slice(number, number + 1)),
    )


@dataclass(frozen=True)
class _GeoTIFF:
    """A GeoTIFF that is like the raster it comes from."""

    source: RasterSource
    grid: Grid
    stream: Stream
    form: Format
    quantities: Sequence[Quantity]

    less: str = "part of it with bounds="
    folder: bool = False

    def check(self) -> None:
        from geofsrcnn.formats.sample import warn_of_values

        self.source.check_georeference()
        warn_of_values(self.source, self.quantities, rounded=self.form.dtype is None)

    @contextmanager
    def begin(self, staging: Path) -> Iterator[_Writing]:
        from geofsrcnn.formats.geotiff import GeoTiffSink

        block = self.stream.plan.tile_size * self.stream.model.factor
        split = len(self.stream.groups) > 1
        with GeoTiffSink(staging, self.source.metadata, self.grid, block, self.form, split=split) as sink:
            yield _Writing(sink, self.stream.workers)


@dataclass(frozen=True)
class _Writing:
    tiff: GeoTiffSink
    workers: int

    def sink(self, _: int) -> Sink:
        return self.tiff

    def finish(self, step: Callable[[], None]) -> None:
        self.tiff.finish(step, self.workers)
