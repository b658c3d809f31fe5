"""Any file into any other: which way it goes, by its first bytes and by the end of the name of the output.

From GeoTIFF to GeoTIFF it goes as a raster; all else goes as a CF dataset.
"""

from __future__ import annotations

import math
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn._types import Progress, Range, StrPath
from geofsrcnn.errors import InputError, ModelError, UsageError, printable
from geofsrcnn.files.kinds import FORMATS, SUFFIX_FORMATS, FormatName, sniff
from geofsrcnn.files.paths import identity, local_path, refuse_same, size_of
from geofsrcnn.files.remote import RemoteZarr, fetched, is_remote
from geofsrcnn.files.staging import check_target, free_bytes, staged
from geofsrcnn.formats.open import as_dataset, need_xarray
from geofsrcnn.networks.catalog import Method, load_method, of_pairs
from geofsrcnn.options import check_bounds, check_dtype, check_factor, check_range, check_tile_size, workers_of
from geofsrcnn.upscale.raster import opened_raster
from geofsrcnn.upscale.task import Estimate, Summary, Task, check_disk, check_pixels, provenance, time_of_tile

if TYPE_CHECKING:
    import xarray as xr

    from geofsrcnn.cf.refine import Refinement
    from geofsrcnn.engine.base import Sink
    from geofsrcnn.formats.geotiff import Format
    from geofsrcnn.formats.writer import Writer
    from geofsrcnn.grids.affine import Grid
    from geofsrcnn.networks.checkpoint import Checkpoint
    from geofsrcnn.upscale.stream import Engine, Field
    from geofsrcnn.values.cells import Cells

_RASTER_ONLY = {
    "bounds": "--bounds cuts rasters: cut a dataset before (xarray's sel, or ncks)",
    "cog": "--cog needs a GeoTIFF output",
    "co": "--co needs a GeoTIFF output",
    "allow_lossy": "--allow-lossy is for rasters",
}

_RASTER_INPUT = {
    "bidx": "--bidx is for rasters: choose fields with --variables",
    "nodata": "--nodata is for rasters: a dataset says with _FillValue which cells are missing",
    "sidecars": "--sidecars is for rasters",
    "allow_sparse": "--allow-sparse is for rasters",
}

_DATASET_INPUT = {
    "variables": "--variables is for NetCDF and Zarr: choose bands with --bidx",
    "x": "--x and --y are for NetCDF and Zarr",
    "y": "--x and --y are for NetCDF and Zarr",
    "group": "--group is for NetCDF and Zarr",
}

OPTIONS = {
    *("value_range", "tile_size", "threads", "device", "precision", "dtype", "overwrite", "max_pixels"),
    *(_RASTER_ONLY | _RASTER_INPUT | _DATASET_INPUT),
    "driver",
}
"""Keyword arguments of `upscale_file`."""


def upscale_file(
    src: StrPath,
    dst: StrPath,
    factor: int = 3,
    model: StrPath | Checkpoint = "default",
    *,
    also: Sequence[StrPath] = (),
    allow_remote: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Any,
) -> Summary:
    """Upscale a GeoTIFF, NetCDF or Zarr into any of the three.

    The output appears under its name only when it is whole and verified; a failed run leaves nothing, and the
    input is never touched.

    Parameters
    ----------
    src : str or path
        A GeoTIFF, NetCDF of any kind, a Zarr group of version 2 or 3, or any GDAL raster with `driver`. What it is,
        its first bytes say.
    dst : str or path
        Ends in ``.tif`` or ``.tiff``, ``.nc`` or ``.nc4``, or ``.zarr``.
    factor, model
        As for `geofsrcnn.upscale_array`.
    also : sequence of path
        More files with predictors, for a model that was trained on pairs.
    allow_remote : sequence of str
        Hosts and buckets that `src` may be fetched from: a URL with https, s3 or gs. A file is fetched whole into the
        folder of temporary files; the chunks of a store whose URL ends in ``.zarr`` are read as they are needed.
    progress : callable, optional
        ``progress(done, total)`` after each tile; what it raises ends the run, and nothing is written.
    **options
        For all: `value_range`, `tile_size`, `threads`, `device`, `precision`, `dtype`, `overwrite`, `max_pixels`.
        For raster inputs: `bidx`, `nodata`, `driver`, `sidecars`, `allow_sparse`. For GeoTIFF outputs: `cog`, `co`.
        From raster to GeoTIFF: `bounds`, `allow_lossy`. All as for `geofsrcnn.upscale_raster`. For NetCDF and Zarr:
        `variables`, `x` and `y` as for `geofsrcnn.upscale_dataset`, and `group`.

    Returns
    -------
    Summary

    Raises
    ------
    GeofsrcnnError
        One of its classes, with nothing written; see `geofsrcnn.errors`.
    """
    if (trained := of_pairs(model)) is not None:
        return _downscale(src, dst, factor, trained, also, progress, options)
    if also:
        raise UsageError("--also is for models that were trained on pairs")
    if is_remote(src):
        with fetched(os.fspath(src), allow_remote, lambda: None if progress is None else progress(0, 1)) as place:
            return _upscale(place, dst, factor, model, progress, options)
    return _upscale(src, dst, factor, model, progress, options)


def _downscale(
    src: StrPath,
    dst: StrPath,
    factor: int,
    model: Checkpoint,
    also: Sequence[StrPath],
    progress: Progress | None,
    options: Mapping[str, Any],
) -> Summary:
    """Apply a model that was trained on pairs."""
    taken = {"device", "precision", "overwrite"}
    for key, value in options.items():
        if key not in taken and not (
            value is None or value is False or (isinstance(value, (Mapping, Sequence)) and not value)
        ):
            name = {"value_range": "range"}.get(key, key.replace("_", "-"))
            raise UsageError(f"--{name} is not for models that were trained on pairs")
    if factor != model.config.factor:
        raise ModelError(f"model {model.card.name} is for factor {model.config.factor}, not {factor}")
    if is_remote(src):
        raise UsageError("models that were trained on pairs take local files: download them first")
    need_xarray()
    from geofsrcnn.pairs.apply import downscale_files

    start = time.perf_counter()
    task = downscale_files(
        [src, *also],
        dst,
        model,
        device=options.get("device") or "auto",
        precision=options.get("precision") or "float32",
        overwrite=bool(options.get("overwrite")),
        progress=progress,
    )
    seconds = time.perf_counter() - start
    domain, targets = task.pairing.domain, len(task.pairing.targets)
    return Summary(
        output=os.fspath(Path(dst).absolute()),
        model=model.card.name,
        digest=model.digest,
        factor=factor,
        bands=task.count * targets,
        coarse=(domain.padded[0] // factor, domain.padded[1] // factor),
        fine=domain.shape,
        seconds=seconds,
        cells_per_second=task.count * targets * math.prod(domain.shape) / seconds,
        peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        device=task.device,
        output_bytes=size_of(Path(dst)),
    )


def _upscale(
    src: StrPath | RemoteZarr,
    dst: StrPath,
    factor: int,
    model: StrPath | Checkpoint,
    progress: Progress | None,
    options: Mapping[str, Any],
) -> Summary:
    start = time.perf_counter()
    with opened_task(src, dst, factor, model, options) as task:
        task.check()
        size = task.write(progress)
    return task.summary(time.perf_counter() - start, size)


def estimate_file(
    src: StrPath,
    dst: StrPath,
    factor: int = 3,
    model: StrPath | Checkpoint = "default",
    *,
    allow_remote: Sequence[str] = (),
    **options: Any,
) -> Estimate:
    """What `upscale_file` would take, with the same checks and arguments; nothing is written.

    Raises
    ------
    GeofsrcnnError
        As `upscale_file` would before its first tile, but for a disk that is too small.
    """
    options.pop("progress", None)
    if options.pop("also", ()) or of_pairs(model) is not None:
        raise UsageError("--dry-run is not for models that were trained on pairs: they hold a few times at once")
    if is_remote(src):
        with fetched(os.fspath(src), allow_remote) as place:
            return _estimate(place, dst, factor, model, options)
    return _estimate(src, dst, factor, model, options)


def _estimate(
    src: StrPath | RemoteZarr, dst: StrPath, factor: int, model: StrPath | Checkpoint, options: Mapping[str, Any]
) -> Estimate:
    with opened_task(src, dst, factor, model, options) as task:
        return task.estimate()


@contextmanager
def opened_task(
    src: StrPath | RemoteZarr, dst: StrPath, factor: int, model: StrPath | Checkpoint, options: Mapping[str, Any]
) -> Iterator[Task]:
    """A run of `upscale_file` with everything opened and checked, but for what `Task.check` does.

    Raises
    ------
    GeofsrcnnError
        As `upscale_file` would before its first tile.
    """
    kinds = _checked(src, dst, factor, model, options)
    if kinds == ("GeoTIFF", "GeoTIFF") and not isinstance(src, RemoteZarr):
        with opened_raster(src, dst, factor, model, **_without(options, _DATASET_INPUT)) as task:
            yield task
    else:
        with _opened(src, dst, factor, model, kinds, options) as task:
            yield task


def _without(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in names}


def _checked(
    src: StrPath | RemoteZarr, dst: StrPath, factor: int, model: StrPath | Checkpoint, options: Mapping[str, Any]
) -> tuple[FormatName, FormatName]:
    """What input and output are, after all checks that need no look into files but their first bytes."""
    if unknown := sorted(set(options) - OPTIONS):
        raise UsageError(f"unknown arguments {', '.join(unknown)}: there are {', '.join(sorted(OPTIONS))}")
    check_factor(factor)
    check_range(options.get("value_range"), model)
    check_bounds(options.get("bounds"))
    check_tile_size(options.get("tile_size"))
    check_dtype(options.get("dtype"))
    workers_of(options.get("threads"))
    path, target, suffix = _place(src), Path(dst).absolute(), Path(dst).suffix.lower()
    inputs = [] if isinstance(path, RemoteZarr) else [path]
    if isinstance(model, (str, os.PathLike)) and Path(model).is_file():
        inputs.append(Path(model))
    refuse_same(target, *inputs)
    folder = SUFFIX_FORMATS.get(suffix) == "Zarr"
    check_target(Path(os.path.realpath(target)), overwrite=bool(options.get("overwrite")), folder=folder)
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(f"the output's name must end in {', '.join(SUFFIX_FORMATS)}: {printable(os.fspath(dst))}")
    kind = "Zarr" if isinstance(path, RemoteZarr) else sniff(path)
    found = FORMATS.get(kind, "GeoTIFF") if options.get("driver") is None else "GeoTIFF"
    kinds = found, SUFFIX_FORMATS[suffix]
    wrong = _DATASET_INPUT if found == "GeoTIFF" else _RASTER_INPUT
    if kinds != ("GeoTIFF", "GeoTIFF"):
        wrong = wrong | (_without(_RASTER_ONLY, {"cog": "", "co": ""}) if kinds[1] == "GeoTIFF" else _RASTER_ONLY)
    for key, words in wrong.items():
        value = options.get(key)
        if not (value is None or value is False or (isinstance(value, (Mapping, Sequence)) and not value)):
            raise UsageError(words)
    return kinds


def _place(src: StrPath | RemoteZarr) -> Path | RemoteZarr:
    return src if isinstance(src, RemoteZarr) else local_path(src)


@dataclass(frozen=True)
class _DatasetTask:
    """A run with everything opened and checked."""

    dataset: xr.Dataset
    source: Path | RemoteZarr
    kinds: tuple[FormatName, FormatName]
    target: Path
    engine: Engine
    fields: Sequence[Field]
    overwrite: bool
    identity: tuple[int, ...]
    form: Format | None = None
    grid: Grid | None = None

    @property
    def units(self) -> int:
        return self.engine.parts(self.fields)

    @property
    def coarse_cells(self) -> int:
        return self.cells // self.engine.plan.factor**2

    @property
    def cells(self) -> int:
        """Of the output's fields."""
        return sum(each.fine_cells for each in self.fields)

    @property
    def bands(self) -> int:
        """Horizontal slices of all fields."""
        return sum(each.bands for each in self.fields)

    @property
    def output_bytes(self) -> int:
        """Of the output's fields, before compression."""
        return sum(each.fine_cells * each.dtype.itemsize for each in self.fields)

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns before and after."""
        (rows, columns), factor = self.engine.plan.grid.shape, self.engine.plan.factor
        return (rows, columns), (rows * factor, columns * factor)

    def check(self) -> None:
        check_disk(self.target, self.output_bytes, "fewer --variables")

    def compute(self, share: range, sink: Sink, progress: Progress | None) -> None:
        self.engine.run(self.fields, lambda *_: sink, progress, share)
        self._check_unchanged()

    def write(self, progress: Progress | None, made: Iterator[Cells] | None = None) -> int:
        from geofsrcnn.upscale.stream import FieldSink

        units = self.units

        def step(done: int, _: int = 0) -> None:
            if progress is not None:
                progress(done, units)

        with staged(self.target, overwrite=self.overwrite, folder=self.kinds[1] == "Zarr") as staging:
            writer = self._writer(staging)
            try:
                self.engine.define(self.dataset, self.fields, writer)
                self.engine.run(self.fields, partial(FieldSink, writer), step, made=made)
                writer.finish(lambda: step(units))
            finally:
                writer.close()
            self._check_unchanged()
            return size_of(staging)

    def _check_unchanged(self) -> None:
        if isinstance(self.source, Path) and identity(self.source) != self.identity:
            raise InputError(f"{printable(self.source.name)} was changed while it was read: run again")

    def summary(self, seconds: float, size: int) -> Summary:
        coarse, fine = self.shapes
        return Summary(
            output=str(self.target),
            model=self.engine.method.name,
            digest=self.engine.method.digest,
            factor=self.engine.plan.factor,
            bands=self.bands,
            coarse=coarse,
            fine=fine,
            seconds=seconds,
            cells_per_second=self.cells / seconds,
            peak_memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            device=self.engine.method.device,
            output_bytes=size,
        )

    def _writer(self, staging: Path) -> Writer:
        from geofsrcnn.upscale.stream import rest_of

        dataset, plan = self.dataset, self.engine.plan
        if self.form is not None and self.grid is not None:
            from geofsrcnn.formats.raster_cf import GeoTIFFWriter

            return GeoTIFFWriter(staging, dataset, self.grid.refine(plan.factor), self.form)
        rest = rest_of(dataset, plan, self.fields, self.engine.method)
        if self.kinds[1] == "Zarr":
            from geofsrcnn.formats.zarr import ZarrWriter, version_of

            return ZarrWriter(staging, rest, version_of(self.source) if self.kinds[0] == "Zarr" else 3)
        from geofsrcnn.formats.netcdf import DEFAULT_FORM, NetCDFWriter, form_of

        own = isinstance(self.source, Path) and self.kinds[0] == "NetCDF"
        model = form_of(self.source, self.output_bytes) if own else DEFAULT_FORM  # type: ignore[arg-type]
        return NetCDFWriter(staging, rest, model, list(dataset.encoding.get("unlimited_dims", ())))

    def estimate(self) -> Estimate:
        """Sizes, and the time of a tile of noise, computed here and now."""
        method, (coarse, fine) = self.engine.method, self.shapes
        tile = min(coarse[0], self.engine.tile), min(coarse[1], self.engine.tile)
        seconds = time_of_tile(method, tile, 1)
        running = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        cells = math.prod(tile) * method.factor**2
        return Estimate(
            bands=self.bands,
            coarse=coarse,
            fine=fine,
            tiles=self.engine.parts(self.fields),
            seconds=seconds * self.cells / cells / self.engine.workers,
            memory=running + (2 * self.engine.workers + 2) * max(4 * 2**20, cells * 4) * 2,
            disk=self.output_bytes,
            disk_free=free_bytes(self.target),
            model=method.name,
            device=method.device,
        )


@contextmanager
def _opened(
    src: StrPath | RemoteZarr,
    dst: StrPath,
    factor: int,
    model: StrPath | Checkpoint,
    kinds: tuple[FormatName, FormatName],
    options: Mapping[str, Any],
) -> Iterator[_DatasetTask]:
    """Check everything that can be checked before the first tile, cheap checks first."""
    value_range: Range | None = options.get("value_range")
    workers, unpacked = workers_of(options.get("threads")), _unpacked(options.get("dtype"))
    path, target, overwrite = _place(src), Path(dst).absolute(), bool(options.get("overwrite"))
    method = load_method(
        model, factor, device=options.get("device") or "auto", precision=options.get("precision") or "float32"
    )
    need_xarray()
    from geofsrcnn.cf.refine import refine
    from geofsrcnn.upscale.dataset import check_bands
    from geofsrcnn.upscale.stream import Engine, fields_of

    check_bands(method)
    before = identity(path) if isinstance(path, Path) else ()
    with as_dataset(path, kinds[0], options, raw=method.upsampler is None) as dataset:
        plan = refine(
            dataset, factor, variables=options.get("variables") or None, x=options.get("x"), y=options.get("y")
        )
        fields = fields_of(dataset, plan, unpacked)
        if kinds[1] == "GeoTIFF":
            fields = [each for each in fields if each.name in plan.grid.variables]  # not what they refer to
        engine = Engine(method, plan, value_range, options.get("tile_size"), workers)
        check_pixels(sum(each.fine_cells for each in fields), options.get("max_pixels"))
        form, grid = _geotiff(dataset, plan, fields, method, options) if kinds[1] == "GeoTIFF" else (None, None)
        if kinds[0] == "Zarr":
            from geofsrcnn.formats.zarr import warn_of_missing_chunks

            warn_of_missing_chunks(path, options.get("group"), [each.name for each in fields])
        yield _DatasetTask(dataset, path, kinds, target, engine, fields, overwrite, before, form, grid)


def _geotiff(
    dataset: xr.Dataset, plan: Refinement, fields: Sequence[Field], method: Method, options: Mapping[str, Any]
) -> tuple[Format, Grid]:
    """How a GeoTIFF is written, and its grid before refinement."""
    from geofsrcnn.formats.geotiff import Format, check_options
    from geofsrcnn.formats.raster_cf import grid_of

    if len(fields) > 1:
        names = printable(", ".join(each.name for each in fields))
        raise UsageError(f"a GeoTIFF holds one field, there are {names}: use --variables")
    form = Format(None, bool(options.get("cog")), dict(options.get("co") or {}), provenance(method))
    check_options(form, fields[0].dtype)
    return form, grid_of(dataset, plan.grid)


def _unpacked(dtype: str | None) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    if dtype not in ("float32", "float64"):
        raise UsageError(
            f"type {printable(dtype)!r}: with NetCDF or Zarr, fields keep their type and packing, or become float32 or "
            "float64 with --dtype"
        )
    return np.dtype(dtype)
