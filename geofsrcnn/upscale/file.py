"""Any file into any other: which way it goes, by its first bytes and by the end of the name of the output.

From GeoTIFF to GeoTIFF it goes as a raster; all else goes as a CF dataset.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from geofsrcnn._types import Progress, StrPath
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.files.archives import unpack
from geofsrcnn.files.kinds import SUFFIX_FORMATS, FormatName, check_geotiff_name, is_checkpoint_name, is_folder
from geofsrcnn.files.paths import local_path, match_names, refuse_same
from geofsrcnn.files.remote import RemoteZarr, fetch_remote, is_remote
from geofsrcnn.files.staging import check_target
from geofsrcnn.formats.open import input_format, need_xarray, open_dataset
from geofsrcnn.networks.catalog import ModelLike, check_options, least_factor, load_model, model_file
from geofsrcnn.options import RunOptions, UpscaleOptions, check_factor
from geofsrcnn.upscale.task import Estimate, Summary, Task


def upscale_file(
    src: StrPath,
    dst: StrPath,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    allow_remote: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[RunOptions],
) -> Summary:
    """Upscale a GeoTIFF, NetCDF or Zarr into any of the three.

    The output appears under its name only when it is whole and verified; a failed run leaves nothing, and the
    input is never touched.

    Parameters
    ----------
    src : str or path
        A GeoTIFF, NetCDF of any kind, a Zarr group of version 2 or 3, or any GDAL raster with `driver`. What it is,
        its first bytes say. With a model of pairs, a pattern of names as well.
    dst : str or path
        Ends in ``.tif`` or ``.tiff``, ``.nc`` or ``.nc4``, or ``.zarr``.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`.
    allow_remote : sequence of str
        Hosts and buckets that `src` may be fetched from: a URL with https, s3 or gs. A file is fetched whole into the
        folder of temporary files; the chunks of a store whose URL ends in ``.zarr`` are read as they are needed.
    progress : callable, optional
        ``progress(done, total)`` after each tile, and again for what is read back; what it raises ends the run, and
        nothing is written.
    **options
        Those of `geofsrcnn.UpscaleOptions`.

    Returns
    -------
    Summary
        The output's size, and what the run took.

    Raises
    ------
    UsageError, InputError, ModelError, OutputError, LimitError, RemoteError
        If an argument, the input or the model is wrong, or the output cannot be written; nothing is left of it then.
    """
    src, model, chosen = _expand_pattern(src, model, UpscaleOptions.of(options))

    def fetching() -> None:
        if progress is not None:
            progress(0, 1)

    with _local(src, allow_remote, fetching) as place:
        start = time.perf_counter()
        with open_task(place, dst, factor, model, chosen) as task:
            task.check()
            size = task.write(progress)
        return task.summary(time.perf_counter() - start, size)


def estimate_file(
    src: StrPath,
    dst: StrPath,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    allow_remote: Sequence[str] = (),
    **options: Unpack[RunOptions],
) -> Estimate:
    """Estimate what `upscale_file` would take, with the same checks and arguments; nothing is written.

    Time comes from one tile of noise, computed here and now.

    Raises
    ------
    GeofsrcnnError
        As `upscale_file` would before its first tile, but for a disk that is too small.
    """
    src, model, chosen = _expand_pattern(src, model, UpscaleOptions.of(options))
    with (
        _local(src, allow_remote, lambda: None) as place,
        open_task(place, dst, factor, model, chosen) as task,
    ):
        return task.estimate()


def _expand_pattern(
    src: StrPath, model: ModelLike, options: UpscaleOptions
) -> tuple[StrPath, ModelLike, UpscaleOptions]:
    """For a model of pairs, the first file of a pattern, and the others as more files with predictors.

    The model comes back loaded where it had to be looked at.
    """
    by_name = isinstance(model, (str, os.PathLike)) and not is_checkpoint_name(model)
    found = [] if by_name or is_remote(src) else match_names(os.fspath(src))
    if found in ([], [os.fspath(src)]):
        return src, model, options
    loaded = load_model(model, device=options.device, precision=options.precision)
    if loaded.of_pairs:
        src, options = found[0], replace(options, also=[*found[1:], *options.also])
    return src, loaded, options


@contextmanager
def _local(src: StrPath, allow_remote: Sequence[str], check: Callable[[], None]) -> Iterator[Path | RemoteZarr]:
    """The input on this machine, fetched if need be; or a store whose chunks are read as they are needed."""
    if not is_remote(src):
        yield local_path(src)
        return
    with fetch_remote(os.fspath(src), allow_remote, check) as place:
        yield place


@contextmanager
def open_task(
    src: Path | RemoteZarr, dst: StrPath, factor: int | None, model: ModelLike, options: UpscaleOptions
) -> Iterator[Task]:
    """A run of `upscale_file` with everything opened and checked, but for what `Task.check` does.

    Raises
    ------
    GeofsrcnnError
        As `upscale_file` would before its first tile.
    """
    factor = None if factor is None else check_factor(factor)
    if factor is not None and options.wants_grid:
        raise UsageError("factor= and a wanted grid, like= or resolution=, exclude each other: leave one out")
    target = Path(dst).absolute()
    written = _check_places(src, target, model, options)
    with _unpack(src, options.inside) as place, _open_local(place, target, written, factor, model, options) as task:
        yield task


@contextmanager
def _unpack(src: Path | RemoteZarr, inside: str | None) -> Iterator[Path | RemoteZarr]:
    """The input, or the file within it that is asked for."""
    if isinstance(src, RemoteZarr):
        yield src
        return
    with unpack(src, inside) as place:
        yield place


@contextmanager
def _open_local(
    src: Path | RemoteZarr,
    target: Path,
    written: FormatName,
    factor: int | None,
    model: ModelLike,
    options: UpscaleOptions,
) -> Iterator[Task]:
    formats = input_format(src, options.driver), written
    if options.wants_grid:
        factor = least_factor(model, _needed_factor(src, formats, options))
    loaded = load_model(model, factor, device=options.device, precision=options.precision, overshoot=options.overshoot)
    check_options(loaded, options)
    options.refuse_formats(*formats)
    if loaded.of_pairs:
        from geofsrcnn.upscale.pairs import open_pairs

        opened = open_pairs([src, *map(Path, options.also)], target, formats[1], loaded, options)
    elif formats == ("GeoTIFF", "GeoTIFF") and isinstance(src, Path):
        from geofsrcnn.upscale.raster import open_raster

        opened = open_raster(src, target, loaded, options)
    else:
        from geofsrcnn.upscale.via_cf import open_via_cf

        opened = open_via_cf(src, target, formats, loaded, options)
    with opened as task:
        yield task


def _needed_factor(src: Path | RemoteZarr, formats: tuple[FormatName, FormatName], options: UpscaleOptions) -> int:
    """Find the smallest factor that is fine enough for the grid that is wanted, in a first look at the input."""
    if formats != ("GeoTIFF", "GeoTIFF") or isinstance(src, RemoteZarr):
        need_xarray()
        from geofsrcnn.upscale.wanted_fields import WantedAxes, WantedRaster

        with warnings.catch_warnings(action="ignore"), open_dataset(src, options, raw=True) as dataset:
            kind = WantedRaster if formats[1] == "GeoTIFF" else WantedAxes
            return kind.of_options(dataset, options).factor
    from geofsrcnn.formats.raster import RasterSource
    from geofsrcnn.formats.wanted import needed_factor, wanted_grid

    with (
        warnings.catch_warnings(action="ignore"),  # they come when the raster is opened to be upscaled
        RasterSource(src, replace(options, allow_sparse=True), allow_classes=True) as source,
    ):
        grid, shown = source.grid, printable(src.name)
        return needed_factor(grid, wanted_grid(grid, options, shown), shown)


def _check_places(src: Path | RemoteZarr, target: Path, model: ModelLike, options: UpscaleOptions) -> FormatName:
    """Refuse outputs that cannot be, before anything is opened; what an output of this name is."""
    others = [Path(each) for each in options.also]
    others += [] if options.like is None else [local_path(options.like)]
    inputs = [each for each in (src, model_file(model), *others) if isinstance(each, Path)]
    refuse_same(target, *inputs)
    if options.error_file is not None:
        _check_error_file(Path(options.error_file).absolute(), target, inputs, options)
    suffix = target.suffix.lower()
    folder = is_folder(SUFFIX_FORMATS.get(suffix))
    check_target(Path(os.path.realpath(target)), overwrite=options.overwrite, folder=folder)
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(f"the output's name must end in {', '.join(SUFFIX_FORMATS)}: {printable(target.name)}")
    return SUFFIX_FORMATS[suffix]


def _check_error_file(path: Path, target: Path, inputs: Sequence[Path], options: UpscaleOptions) -> None:
    """Refuse a file of expected errors that cannot be."""
    refuse_same(path, *inputs)
    try:
        refuse_same(path, target)
    except UsageError:
        words = f"error_file= is the output: {printable(path)}: give another name, or error=True"
        raise UsageError(words) from None
    check_geotiff_name(path, "error_file= is")
    check_target(Path(os.path.realpath(path)), overwrite=options.overwrite)
