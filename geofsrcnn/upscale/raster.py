"""Raster files into GeoTIFFs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geofsrcnn.engine.base import FREE, Rule, Sink, Source
from geofsrcnn.engine.sources import AroundGlobe
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import printable
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.upscale.task import Task, check_pixels, provenance
from geofsrcnn.values.encoding import stored_limits, within

if TYPE_CHECKING:
    from geofsrcnn.formats.geotiff import Format, GeoTiffSink
    from geofsrcnn.formats.raster import Band, RasterSource


@contextmanager
def open_raster(path: Path, target: Path, model: Model, options: UpscaleOptions) -> Iterator[Task]:
    """A raster as a task, with everything checked that can be before the first tile."""
    from geofsrcnn.formats.georeference import as_geotiff_holds
    from geofsrcnn.formats.geotiff import Format, check_creation_options, rehearse
    from geofsrcnn.formats.raster import RasterSource

    with RasterSource(
        path,
        **options.of_raster(),
        raw=model.upsampler is None,
        allow_lossy=options.allow_lossy,
        allow_sparse=options.allow_sparse or options.bounds is not None,
    ) as source:
        rows, columns = source.grid.shape
        whole = Window(0, rows, 0, columns)
        region = whole if options.bounds is None else source.grid.window(options.bounds, period=source.around)
        if not options.allow_sparse:
            source.check_declared(*region.shape)
        fine = region.shape[0] * model.factor, region.shape[1] * model.factor
        check_pixels(math.prod(fine), options.max_pixels)
        dtype = np.dtype(options.dtype or source.bands[0].dtype)
        cells, window = _from_edge(source, region)
        stream = Stream(
            printable(path.name),
            cells,
            model,
            window,
            rules=[band_rule(band, options) for band in source.bands],
            period=source.around,
            tile_size=options.tile_size,
            workers=options.workers,
            itemsize=dtype.itemsize * len(source.order) // len(source.bands),
        )
        form = Format(options.dtype, options.cog, dict(options.co or {}), provenance(model))
        check_creation_options(form, dtype)
        grid = as_geotiff_holds(source.grid, printable(path.name)).crop(region).refine(model.factor)
        rehearse(source, grid, form, masked=source.has_mask or source.alpha_as_mask)
        output = _GeoTIFF(source, grid, stream, form)
        with source.block_cache():
            yield Task([stream], output, target, model, (region.shape, fine), options, source.check_unchanged)


def _from_edge(source: RasterSource, region: Window) -> tuple[Source, Window]:
    """The source as its columns follow each other from the region on, where that goes over the edge of the globe."""
    if region.x0 >= 0 and region.x1 <= source.grid.shape[1]:
        return source, region
    turned = AroundGlobe(source, source.around, region.x0, source.around)
    return turned, region.shift(0, -region.x0)


def band_rule(band: Band, options: UpscaleOptions) -> Rule:
    """What a band's values keep to: what its type can store, and the range asked for."""
    stored = (
        band.limits if band.limits and options.dtype is None else stored_limits(np.dtype(options.dtype or band.dtype))
    )
    if stored is not None:
        low, high = (value * band.scale + band.offset for value in stored)
        stored = min(low, high), max(low, high)
    return Rule(within(stored, options.value_range) or FREE)


@dataclass(frozen=True)
class _GeoTIFF:
    """A GeoTIFF that is like the raster it comes from."""

    source: RasterSource
    grid: Grid
    stream: Stream
    form: Format

    less: str = "part of it with --bounds"
    folder: bool = False

    def check(self) -> None:
        self.source.check_georeference()
        self.source.check_values()

    @contextmanager
    def begin(self, staging: Path) -> Iterator[_Writing]:
        from geofsrcnn.formats.geotiff import GeoTiffSink

        block = self.stream.plan.tile_size * self.stream.model.factor
        split = len(self.stream.groups) > 1
        with GeoTiffSink(staging, self.source, self.grid, block, self.form, split=split) as sink:
            yield _Writing(sink, self.stream.workers)


@dataclass(frozen=True)
class _Writing:
    tiff: GeoTiffSink
    workers: int

    def sink(self, _: int) -> Sink:
        return self.tiff

    def finish(self, step: Callable[[], None]) -> None:
        self.tiff.finish(step, self.workers)
