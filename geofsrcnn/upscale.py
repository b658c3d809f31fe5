"""Upscale an array or a raster file: where the engine meets data.

Results are the same whichever way the cells come: file or array, whatever the tile size and the threads.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from geofsrcnn._version import __version__
from geofsrcnn.cells import Cells
from geofsrcnn.errors import InputError, LimitError, UsageError, printable, warn
from geofsrcnn.files import check_target, free_bytes, local_path, refuse_same, staged
from geofsrcnn.methods import Method, check_factor, load_method
from geofsrcnn.nodata import Mask, Missing, encode, loses_digits, stored_limits, stored_nodata, valid_mask, within
from geofsrcnn.tiles import Plan, Window

if TYPE_CHECKING:
    from geofsrcnn.checkpoint import Checkpoint
    from geofsrcnn.predict import Job, Sink, Source

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]

OUTPUT_TYPES = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float32", "float64"),
)


SUFFIXES = (".tif", ".tiff")
"""Endings of names that a GeoTIFF may have."""


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Parameters
    ----------
    output : str
        Path of the output.
    model, digest : str
        What made it.
    factor : int
        Fine cells along one side of a coarse cell.
    bands : int
        Bands that were upscaled.
    coarse, fine : tuple of int
        Rows and columns before and after.
    seconds : float
        Wall time from opening the input to the verified output.
    cells_per_second : float
        Fine cells of all bands in a second.
    peak_memory : int
        Largest resident memory of the process so far, bytes.
    device : str
        Where the model ran.
    output_bytes : int
        Size of the output.
    """

    output: str
    model: str
    digest: str
    factor: int
    bands: int
    coarse: tuple[int, int]
    fine: tuple[int, int]
    seconds: float
    cells_per_second: float
    peak_memory: int
    device: str
    output_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


@dataclass(frozen=True)
class Estimate:
    """What a run would take.

    Parameters
    ----------
    bands : int
        Bands to upscale.
    coarse, fine : tuple of int
        Rows and columns before and after.
    tiles : int
        Units of work.
    seconds : float
        From a timed tile on this machine, input and output not counted.
    memory : int
        Resident bytes at the peak, about.
    disk : int
        Bytes of the output before compression.
    disk_free : int
        Bytes free where the output goes.
    model, device : str
        What would run, where.
    """

    bands: int
    coarse: tuple[int, int]
    fine: tuple[int, int]
    tiles: int
    seconds: float
    memory: int
    disk: int
    disk_free: int
    model: str
    device: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return asdict(self)


def tile_size_of(tile_size: int | None, method: Method, shape: tuple[int, int]) -> int:
    """Coarse cells along one side of a tile: those asked for, or what suits the device; all if the model needs them.

    Raises
    ------
    UsageError
        If it is not a positive whole number, or below the model's halo.
    """
    from geofsrcnn.predict import DEVICE_TILE, TILE

    if method.upsampler is not None and method.upsampler.whole:
        return max(shape)
    if tile_size is None:
        return TILE if method.device == "cpu" else DEVICE_TILE
    check_tile_size(tile_size)
    if tile_size < method.halo:
        raise UsageError(f"tile size {tile_size} is below the halo of {method.name}, {method.halo} cells")
    return tile_size


def check_tile_size(tile_size: int | None) -> None:
    """Refuse tile sizes that no model can use.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if tile_size is not None and (
        not isinstance(tile_size, (int, np.integer)) or isinstance(tile_size, bool) or tile_size < 1
    ):
        raise UsageError(f"tile size must be a positive whole number, got {tile_size!r}")


def workers_of(threads: int | None) -> int:
    """Threads that compute: those asked for, or one for each core.

    Raises
    ------
    UsageError
        If it is not a positive whole number.
    """
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, (int, np.integer)) or isinstance(threads, bool) or threads < 1:
        raise UsageError(f"threads must be a positive whole number, got {threads!r}")
    return int(threads)


def check_range(value_range: tuple[float, float] | None, model: object) -> None:
    """Refuse ranges that are none, or that the model cannot keep.

    Raises
    ------
    UsageError
        If the two numbers are not in order, or cells are only repeated.
    """
    if value_range is None:
        return
    if model == "nearest":
        raise UsageError("nearest repeats cells as they are and keeps to no range: leave out the range or the model")
    try:
        low, high = value_range
        wrong = math.isnan(low) or math.isnan(high) or not low < high
    except (TypeError, ValueError):
        raise UsageError(f"range must be a smaller and a larger number, got {value_range!r}") from None
    if wrong:
        raise UsageError(f"range must be a smaller and a larger number, got {low} {high}")


def check_dtype(dtype: str | None) -> None:
    """Refuse types that no output has.

    Raises
    ------
    UsageError
        If it is none of them.
    """
    if dtype is not None and dtype not in OUTPUT_TYPES:
        raise UsageError(f"type {printable(dtype)!r} cannot be written: take one of {', '.join(OUTPUT_TYPES)}")


def check_bounds(bounds: tuple[float, float, float, float] | None) -> None:
    """Refuse bounds that are none.

    Raises
    ------
    UsageError
        If they are not four numbers in order.
    """
    if bounds is None:
        return
    west, south, east, north = bounds
    if not all(map(math.isfinite, bounds)) or not (west < east and south < north):
        raise UsageError(f"bounds must be four numbers, west below east and south below north, got {bounds}")


class _ArraySource:
    """An array ``(band, y, x)`` as a source."""

    def __init__(self, array: Array, valid: Mask) -> None:
        self._array, self._valid = array, valid
        small = array.dtype.itemsize <= 2 or array.dtype == np.float32
        self._type = np.float32 if small else np.float64
        self.raw = False

    @property
    def shape(self) -> tuple[int, int, int]:
        bands, rows, columns = self._array.shape
        return bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        index = (bands, *window.slices())
        values = self._array[index]
        return Cells(values if self.raw else values.astype(self._type), self._valid[index])


class Watched:
    """A source that warns of values outside the range that the result is to keep."""

    def __init__(self, source: Source, value_range: tuple[float, float] | None, name: str) -> None:
        self._source, self._range, self._name = source, value_range, name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the source."""
        return self._source.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """The source's cells, after a look at them."""
        cells = self._source.read(window, bands)
        if self._range is not None and warn_outside(cells.values, cells.valid, self._range, self._name):
            self._range = None
        return cells


def warn_outside(values: Array, valid: Mask, limits: tuple[float, float], name: str) -> bool:
    """Warn of valid values outside a range; whether there are any."""
    low, high = limits
    outside = valid & ((values < low) | (values > high))
    if not outside.any():
        return False
    warn(
        "W-RANGE",
        f"{name} holds values outside the range {low:g} to {high:g}, such as {values[outside][0]:g}: they come out at "
        "its bounds, and their cells' means with them",
    )
    return True


class _ArraySink:
    """An array ``(band, y, x)`` of the input's type as a sink."""

    def __init__(
        self, shape: tuple[int, int, int], dtype: np.dtype[Any], nodata: Sequence[float | None] | Missing
    ) -> None:
        self.array: Array = np.empty(shape, dtype)
        self._nodata = nodata

    def write(self, window: Window, cells: Cells, bands: slice) -> None:
        chosen = range(*bands.indices(self.array.shape[0]))
        for band, values, valid in zip(chosen, cells.values, cells.valid, strict=True):
            if isinstance(self._nodata, Missing):
                stored = encode(values, valid, self.array.dtype, self._nodata.rewritten(self.array.dtype))
                self._nodata.keep_clear(stored, valid, values)
            else:
                stored = encode(values, valid, self.array.dtype, self._nodata[band])
            self.array[(band, *window.slices())] = stored


def upscale_array(
    array: npt.ArrayLike,
    factor: int = 3,
    model: str | os.PathLike[str] | Checkpoint = "default",
    *,
    nodata: float | Sequence[float | None] | None = None,
    valid: npt.ArrayLike | None = None,
    value_range: tuple[float, float] | None = None,
    around: int = 0,
    tile_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    progress: Progress | None = None,
) -> Array:
    """Upscale an array.

    Parameters
    ----------
    array : array_like (y, x) or (band, y, x)
        Integers, float32 or float64, in any units; edges of cells are assumed to fill the extent.
    factor : int
        Fine cells along one side of a coarse cell, 2 to 8.
    model : str, path or Checkpoint
        Name of a shipped model, a ``.safetensors`` file, a loaded checkpoint, or a classical method:
        one of `geofsrcnn.resample.CLASSICAL` (nearest, bilinear, cubic, lanczos, lanczos-bp, ...).
    nodata : float or sequence of float, optional
        Value of missing cells, for all bands or each; NaN is always missing. Written to missing fine cells.
    valid : array_like of bool, optional
        True where valid, the shape of `array` or ``(y, x)``; together with `nodata`.
    value_range : tuple of float, optional
        Smallest and largest value; results keep to it and blocks keep their means.
    around : int
        Columns that go around the globe, so that the first is the last one's neighbour: all columns, less last ones
        that repeat the first. 0 for none.
    tile_size : int, optional
        Coarse cells along one side of a tile; chosen for the device if not given. No effect on the result
        beyond 1e-5 of the local range.
    threads : int, optional
        Threads that compute; all cores if not given.
    device : str
        ``auto`` (CUDA if there is one), ``cpu``, ``cuda``, ``cuda:N``.
    precision : {"float32", "bfloat16"}
        Of the network's arithmetic.
    progress : callable, optional
        ``progress(done, total)`` after each tile.

    Returns
    -------
    ndarray (factor * y, factor * x) or (band, factor * y, factor * x)
        Of the input's type; integers are rounded and clipped. Missing cells hold the nodata value, or what
        the coarse cell holds if there is none.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, the array cannot be upscaled, or there is no such model.

    Examples
    --------
    >>> coarse = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> upscale_array(coarse, 2, "bilinear").shape
    (4, 4)
    """
    factor = check_factor(factor)
    check_range(value_range, model)
    workers = workers_of(threads)
    check_tile_size(tile_size)
    method = load_method(model, factor, device=device, precision=precision)
    coarse, flat = as_bands(np.asarray(array))
    values = _per_band(nodata, len(coarse), coarse.dtype)
    mask = np.stack([valid_mask(layer, value) for layer, value in zip(coarse, values, strict=True)])
    if valid is not None:
        mask &= _as_mask(np.asarray(valid), coarse.shape)
    if isinstance(array, np.ma.MaskedArray):
        mask &= _as_mask(~np.ma.getmaskarray(array), coarse.shape)
    _check_around(around, coarse.shape[2])
    extent = Window(0, coarse.shape[1], 0, coarse.shape[2])
    task = ArrayTask(method, within(stored_limits(coarse.dtype), value_range), value_range, around, tile_size)
    fine = task.upscale(coarse, mask, extent, values, workers, progress)
    return fine[0] if flat else fine


@dataclass(frozen=True)
class ArrayTask:
    """How arrays are upscaled, everything checked.

    Parameters
    ----------
    method : Method
        What with.
    limits : tuple of float, optional
        That every result keeps.
    value_range : tuple of float, optional
        That the input is expected to keep.
    around : int
        Columns around the globe, or 0.
    tile_size : int, optional
        Coarse cells along one side of a tile.
    name : str
        Of the array, for messages.
    """

    method: Method
    limits: tuple[float, float] | None = None
    value_range: tuple[float, float] | None = None
    around: int = 0
    tile_size: int | None = None
    name: str = "the array"

    def upscale(
        self,
        coarse: Array,
        mask: Mask,
        region: Window,
        nodata: Sequence[float | None] | Missing,
        workers: int,
        progress: Progress | None = None,
    ) -> Array:
        """The region's cells on the fine grid, from an array ``(band, y, x)`` around it.

        Missing cells get the nodata value of their band; where several marks are missing cells, they keep theirs.
        0 workers: this thread.

        Raises
        ------
        InputError
            If integers are too large to be computed with.
        """
        from geofsrcnn.predict import AroundGlobe, Job, run

        if self.method.upsampler is not None and loses_digits(coarse, mask):
            raise InputError(f"integers beyond 2**53 in {self.name} would lose digits: subtract an offset first")
        method, factor = self.method, self.method.factor
        bands, rows, columns = coarse.shape
        job = Job(method.upsampler, factor, [self.limits] * bands if self.limits else ())
        source = _ArraySource(coarse, mask)
        source.raw = method.upsampler is None
        watched: Source = Watched(source, self.value_range, self.name)
        extent = Window(0, rows, 0, columns)
        if self.around and job.reach and not (method.upsampler and method.upsampler.whole):
            watched = AroundGlobe(watched, self.around, job.reach)
            extent = Window(0, rows, 0, columns + 2 * job.reach)
            region = region.shift(0, job.reach)
        fine = tuple(n * factor for n in region.shape)
        sink = _ArraySink((bands, *fine), coarse.dtype, nodata)
        plan = Plan(extent, region, tile_size_of(self.tile_size, method, region.shape), job.reach, factor)
        run(job, watched, sink, plan, workers, progress)
        return sink.array


def _check_around(around: int, columns: int) -> None:
    if around and not columns // 2 < around <= columns:
        raise UsageError(f"around must be 0, or all columns, {columns}, less those that repeat the first, got {around}")


def as_bands(array: Array) -> tuple[Array, bool]:
    """An array as ``(band, y, x)``, and whether it had no bands.

    Raises
    ------
    InputError
        If its type or its shape cannot be upscaled.
    """
    if array.dtype.kind == "b" or array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise InputError(f"array of type {array.dtype} cannot be upscaled: convert it to float32 first")
    if array.ndim not in (2, 3):
        raise InputError(f"array must be (y, x) or (band, y, x), got {array.ndim} dimensions {array.shape}")
    if 0 in array.shape:
        raise InputError(f"array without cells: shape {array.shape}")
    return (array[None], True) if array.ndim == 2 else (array, False)


def _per_band(nodata: float | Sequence[float | None] | None, bands: int, dtype: np.dtype[Any]) -> list[float | None]:
    given = [nodata] * bands if nodata is None or np.ndim(nodata) == 0 else list(nodata)  # type: ignore[arg-type]
    if len(given) != bands:
        raise UsageError(f"{len(given)} nodata values for {bands} bands: give one, or one for each band")
    try:
        values = [None if value is None else float(value) for value in given]  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise UsageError(f"nodata must be a number, or one for each band, got {nodata!r}") from None
    for value in values:
        if value is not None and stored_nodata(value, dtype) is None:
            raise UsageError(f"nodata {value} cannot be stored as {dtype}, the array's type")
    return values


def _as_mask(valid: Array, shape: tuple[int, ...]) -> Mask:
    if valid.dtype != bool or valid.shape not in (shape, shape[1:]):
        raise InputError(f"valid must be bool of shape {shape} or {shape[1:]}, got {valid.dtype} {valid.shape}")
    return np.broadcast_to(valid, shape)


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


class Task(Protocol):
    """A run with everything opened and checked, whatever the input is."""

    @property
    def units(self) -> int:
        """Tiles, of a group of bands each, in the order that they are written in."""
        ...

    @property
    def coarse_cells(self) -> int:
        """Of all bands and times."""
        ...

    def check(self) -> None:
        """Refuse what can be refused before the first tile."""
        ...

    def compute(self, share: range, sink: Sink, progress: Progress | None) -> None:
        """Some units, into a sink of the caller's."""
        ...

    def write(self, progress: Progress | None, made: Iterator[Cells] | None = None) -> int:
        """The output, computed here or from what was made of all units; its size."""
        ...

    def summary(self, seconds: float, size: int) -> Summary:
        """What was done."""
        ...

    def estimate(self) -> Estimate:
        """What it would take."""
        ...


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
        from geofsrcnn.predict import band_groups

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
        from geofsrcnn.predict import run

        job, cells = self._work()
        with self.source.block_cache():
            run(job, cells, sink, self.plan, self.workers, progress, share=share)
        self.source.check_unchanged()

    def write(self, progress: Progress | None, made: Iterator[Cells] | None = None) -> int:
        from geofsrcnn.geotiff import Format, GeoTiffSink
        from geofsrcnn.predict import run

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
        from geofsrcnn.predict import AroundGlobe, Job

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
        from geofsrcnn.geotiff import Format, check_options
        from geofsrcnn.predict import band_groups

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


def time_of_tile(method: Method, shape: tuple[int, int], bands: int) -> float:
    """Seconds that a tile of noise takes here and now, on one thread."""
    from geofsrcnn.predict import Job, upscale_tile
    from geofsrcnn.tiles import Tile

    job = Job(method.upsampler, method.factor)
    rows, columns = (n + 2 * job.reach for n in shape)
    noise = np.random.default_rng(0).normal(size=(bands, rows, columns)).astype(np.float32)
    core = Window(job.reach, rows - job.reach, job.reach, columns - job.reach)
    tile = Tile(core, Window(0, rows, 0, columns), core)
    cells = Cells(noise, np.ones(noise.shape, bool))
    upscale_tile(job, cells, tile)
    start = time.perf_counter()
    for _ in range(3):
        upscale_tile(job, cells, tile)
    return (time.perf_counter() - start) / 3


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
    if Path(dst).suffix.lower() not in SUFFIXES:
        raise UsageError(f"the output is a GeoTIFF, its name must end in {' or '.join(SUFFIXES)}: {printable(dst)}")
    method = load_method(model, factor, device=device, precision=precision)
    if tile_size is not None:
        tile_size_of(tile_size, method, (tile_size, tile_size))
    from geofsrcnn.raster import RasterSource

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


def check_disk(target: Path, size: int, less: str) -> None:
    """Refuse an output that the disk has no room for.

    Raises
    ------
    LimitError
        If it has not; `less` says how to write less.
    """
    free = free_bytes(target)
    if size > 0.9 * free:
        raise LimitError(
            f"the output has {size / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free where it goes: "
            f"make room, take a smaller --factor or {less}"
        )


def check_pixels(pixels: int, limit: int | None) -> None:
    """Refuse an output of more cells than allowed.

    Raises
    ------
    LimitError
        If it has more.
    """
    if limit is not None and pixels > limit:
        raise LimitError(f"the output has {pixels} cells, --max-pixels allows {limit}")


def provenance(method: Method) -> dict[str, str]:
    """Tags that say how an output was made."""
    tags = {
        "GEOFSRCNN_VERSION": __version__,
        "GEOFSRCNN_MODEL": printable(method.name),
        "GEOFSRCNN_FACTOR": str(method.factor),
        "GEOFSRCNN_MODEL_SHA256": method.digest,
    }
    return {key: value for key, value in tags.items() if value}
