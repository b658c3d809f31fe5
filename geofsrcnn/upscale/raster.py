"""Raster files into GeoTIFFs."""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn._types import Progress
from geofsrcnn.engine.base import tile_size_of
from geofsrcnn.engine.sources import Watched
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.files.kinds import GEOTIFF_SUFFIXES
from geofsrcnn.files.paths import local_path, refuse_same
from geofsrcnn.files.staging import check_target, free_bytes, staged
from geofsrcnn.grids.windows import Plan, Window
from geofsrcnn.networks.catalog import Method, load_method
from geofsrcnn.options import check_bounds, check_dtype, check_factor, check_range, check_tile_size, workers_of
from geofsrcnn.upscale.task import Estimate, Summary, check_disk, check_pixels, provenance, time_of_tile
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import stored_limits, within

if TYPE_CHECKING:
    from geofsrcnn.engine.base import Job, Sink, Source
    from geofsrcnn.networks.checkpoint import Checkpoint


def upscale_raster(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    factor: int = 3,
    model: str | os.PathLike[str] | Checkpoint = "default",
    *,
    bidx: Sequence[int] = (),
    bounds: tuple[float, float, float, float] | None = None,
    nodata: float | None = None,
    value_range: tuple[float, float] | None = None,
    tile_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    dtype: str | None = None,
    cog: bool = False,
    co: Mapping[str, str] | None = None,
    overwrite: bool = False,
    max_pixels: int | None = None,
    driver: str | None = None,
    sidecars: bool = False,
    allow_lossy: bool = False,
    allow_sparse: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Upscale a raster file into a GeoTIFF.

    The output appears under its name only when it is whole and verified; a failed run leaves nothing, and the
    input is never touched.

    Parameters
    ----------
    src : str or path
        A GeoTIFF, or any GDAL raster with `driver`.
    dst : str or path
        The GeoTIFF to write.
    factor, model, value_range, tile_size, threads, device, precision
        As for `upscale_array`; the range in physical units.
    bidx : sequence of int
        Bands, counted from 1; all if empty.
    bounds : tuple of float, optional
        ``(west, south, east, north)`` in the raster's CRS: only the coarse cells that meet it. They come out
        as they would from the whole raster.
    nodata : float, optional
        Stored value of missing cells, instead of the file's.
    dtype : str, optional
        Type of the output instead of the input's.
    cog : bool
        Write a cloud optimised GeoTIFF with overviews.
    co : mapping of str, optional
        GDAL creation options.
    overwrite : bool
        Replace an existing output.
    max_pixels : int, optional
        Refuse an output of more cells.
    driver : str, optional
        GDAL driver to open the input with instead of GTiff.
    sidecars : bool
        Let GDAL use sidecar files of the input.
    allow_lossy : bool
        Accept 64-bit integers beyond 2**53, which lose digits.
    allow_sparse : bool
        Accept files that declare a thousand times their size.
    progress : callable, optional
        ``progress(done, total)`` after each tile, and again for each one that is read back; what it raises ends
        the run, and nothing is written.

    Returns
    -------
    Summary

    Raises
    ------
    GeofsrcnnError
        UsageError, InputError, ModelError, OutputError, LimitError or RemoteError; see `geofsrcnn.errors`.
    """
    start = time.perf_counter()
    with opened_raster(
        src,
        dst,
        factor,
        model,
        bidx=bidx,
        bounds=bounds,
        nodata=nodata,
        value_range=value_range,
        tile_size=tile_size,
        threads=threads,
        device=device,
        precision=precision,
        dtype=dtype,
        cog=cog,
        co=co,
        overwrite=overwrite,
        max_pixels=max_pixels,
        driver=driver,
        sidecars=sidecars,
        allow_lossy=allow_lossy,
        allow_sparse=allow_sparse,
    ) as task:
        task.check()
        size = task.write(progress)
    return task.summary(time.perf_counter() - start, size)


def estimate_raster(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    factor: int = 3,
    model: str | os.PathLike[str] | Checkpoint = "default",
    **options: Any,
) -> Estimate:
    """What `upscale_raster` would take, with the same checks and arguments; nothing is written.

    Time comes from one tile of noise, computed here and now.

    Raises
    ------
    GeofsrcnnError
        As `upscale_raster` would before its first tile, but for a disk that is too small.
    """
    options.pop("progress", None)
    with opened_raster(src, dst, factor, model, **options) as task:
        return task.estimate()


@dataclass(frozen=True)
class _RasterTask:
    """A raster run with everything opened and checked."""

    source: Any
    target: Path
    method: Method
    region: Window
    plan: Plan
    around: int
    workers: int
    dtype: str | None
    value_range: tuple[float, float] | None
    cog: bool
    co: Mapping[str, str]
    overwrite: bool

    @property
    def units(self) -> int:
        from geofsrcnn.engine.run import band_groups

        return len(self.plan) * len(band_groups(len(self.source.bands), self.method.upsampler))

    @property
    def coarse_cells(self) -> int:
        return math.prod(self.plan.region.shape) * len(self.source.bands)

    @property
    def fine(self) -> tuple[int, int]:
        rows, columns = self.plan.region.shape
        return rows * self.method.factor, columns * self.method.factor

    @property
    def output_bytes(self) -> int:
        """Size of the output before compression."""
        itemsize = np.dtype(self.dtype or self.source.bands[0].dtype).itemsize
        return math.prod(self.fine) * len(self.source.order) * itemsize

    def __enter__(self) -> _RasterTask:
        return self

    def __exit__(self, *_: object) -> None:
        self.source.close()

    def check(self) -> None:
        check_disk(self.target, self.output_bytes, "part of it with --bounds")
        self.source.check_georeference()

    def compute(self, share: range, sink: Sink, progress: Progress | None) -> None:
        from geofsrcnn.engine.run import run

        job, cells = self._work()
        with self.source.block_cache():
            run(job, cells, sink, self.plan, self.workers, progress, share=share)
        self.source.check_unchanged()

    def write(self, progress: Progress | None, made: Iterator[Cells] | None = None) -> int:
        from geofsrcnn.engine.run import run
        from geofsrcnn.formats.geotiff import Format, GeoTiffSink

        method, source, units = self.method, self.source, self.units
        form = Format(self.dtype, self.cog, self.co, provenance(method))
        grid = source.grid.crop(self.region).refine(method.factor)
        job, cells = self._work()
        with source.block_cache(), staged(self.target, overwrite=self.overwrite) as staging:
            block = self.plan.tile_size * method.factor
            with GeoTiffSink(staging, source, grid, block, form, split=units > len(self.plan)) as sink:
                run(job, cells, sink, self.plan, self.workers, progress, made=made)
                sink.finish(lambda: None if progress is None else progress(units, units), self.workers)
            source.check_unchanged()
            return staging.stat().st_size

    def _work(self) -> tuple[Job, Source]:
        from geofsrcnn.engine.base import Job
        from geofsrcnn.engine.sources import AroundGlobe

        job = Job(self.method.upsampler, self.method.factor, self._limits())
        watched: Source = Watched(self.source, self.value_range, printable(self.source.path.name))
        if self.around:
            watched = AroundGlobe(watched, self.around, job.reach)
        return job, watched

    def summary(self, seconds: float, size: int) -> Summary:
        rows, columns = self.fine
        return Summary(
            output=str(self.target),
            model=self.method.name,
            digest=self.method.digest,
            factor=self.method.factor,
            bands=len(self.source.bands),
            coarse=self.plan.region.shape,
            fine=self.fine,
            seconds=seconds,
            cells_per_second=len(self.source.bands) * rows * columns / seconds,
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            device=self.method.device,
            output_bytes=size,
        )

    def _limits(self) -> list[tuple[float, float]]:
        """Bounds of each band in physical units: what its type can store, and the range asked for."""
        limits = []
        for band in self.source.bands:
            dtype = np.dtype(self.dtype or band.dtype)
            stored = band.limits if band.limits and self.dtype is None else stored_limits(dtype)
            if stored is not None:
                low, high = (value * band.scale + band.offset for value in stored)
                stored = min(low, high), max(low, high)
            limits.append(within(stored, self.value_range) or (-math.inf, math.inf))
        return limits

    def estimate(self) -> Estimate:
        from geofsrcnn.engine.run import band_groups
        from geofsrcnn.formats.geotiff import Format, check_options

        check_options(Format(self.dtype, self.cog, self.co), np.dtype(self.dtype or self.source.bands[0].dtype))
        bands, model = len(self.source.bands), self.method.upsampler
        group = band_groups(bands, model)[0]
        together = group.stop - group.start if model is not None and model.channels > 1 else 1
        rows, columns = (min(n, self.plan.tile_size) for n in self.plan.region.shape)
        seconds = time_of_tile(self.method, (rows, columns), together)
        running = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        fine = rows * columns * self.method.factor**2
        pending = (2 * self.workers + 2) * min(bands, 16) * fine * 8
        return Estimate(
            bands=bands,
            coarse=self.plan.region.shape,
            fine=self.fine,
            tiles=len(self.plan),
            seconds=seconds * len(self.plan) * bands / together / self.workers,
            memory=running + pending,
            disk=self.output_bytes,
            disk_free=free_bytes(self.target),
            model=self.method.name,
            device=self.method.device,
        )


def opened_raster(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    factor: int,
    model: str | os.PathLike[str] | Checkpoint,
    *,
    bidx: Sequence[int] = (),
    bounds: tuple[float, float, float, float] | None = None,
    nodata: float | None = None,
    value_range: tuple[float, float] | None = None,
    tile_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    dtype: str | None = None,
    cog: bool = False,
    co: Mapping[str, str] | None = None,
    overwrite: bool = False,
    max_pixels: int | None = None,
    driver: str | None = None,
    sidecars: bool = False,
    allow_lossy: bool = False,
    allow_sparse: bool = False,
) -> _RasterTask:
    """Check everything that can be checked before the first tile, cheap checks first; arguments of `upscale_raster`."""
    factor = check_factor(factor)
    check_range(value_range, model)
    check_bounds(bounds)
    check_tile_size(tile_size)
    check_dtype(dtype)
    workers = workers_of(threads)
    path, target = local_path(src), Path(dst).absolute()
    models = [Path(model)] if isinstance(model, (str, os.PathLike)) and Path(model).is_file() else []
    refuse_same(target, path, *models)
    check_target(Path(os.path.realpath(target)), overwrite=overwrite)
    if Path(dst).suffix.lower() not in GEOTIFF_SUFFIXES:
        raise UsageError(
            f"the output is a GeoTIFF, its name must end in {' or '.join(GEOTIFF_SUFFIXES)}: {printable(dst)}"
        )
    method = load_method(model, factor, device=device, precision=precision)
    if tile_size is not None:
        tile_size_of(tile_size, method, (tile_size, tile_size))
    from geofsrcnn.formats.raster import RasterSource

    source = RasterSource(
        path,
        nodata=nodata,
        bidx=tuple(bidx),
        driver=driver,
        sidecars=sidecars,
        raw=method.upsampler is None,
        allow_lossy=allow_lossy,
        allow_sparse=allow_sparse,
    )
    try:
        rows, columns = source.grid.shape
        extent = Window(0, rows, 0, columns)
        region = extent if bounds is None else source.grid.window(bounds)
        check_pixels(math.prod(region.shape) * factor**2, max_pixels)
        size = tile_size_of(tile_size, method, region.shape)
        reach = 2 * method.halo
        around = source.around if method.upsampler is not None and not method.upsampler.whole else 0
        if around:
            plan = Plan(Window(0, rows, 0, columns + 2 * reach), region.shift(0, reach), size, reach, factor)
        else:
            plan = Plan(extent, region, size, reach, factor)
    except BaseException:
        source.close()
        raise
    return _RasterTask(
        source, target, method, region, plan, around, workers, dtype, value_range, cog, dict(co or {}), overwrite
    )
