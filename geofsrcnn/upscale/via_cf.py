"""Any file into a NetCDF, Zarr or GeoTIFF by way of a CF dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn.engine.base import tile_size_of
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.files.kinds import FormatName, is_folder
from geofsrcnn.files.paths import watch_changes
from geofsrcnn.files.remote import RemoteZarr
from geofsrcnn.formats.open import create_store, need_xarray, open_dataset
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.upscale.store import StoreOutput
from geofsrcnn.upscale.task import Task, check_pixels, no_errors, provenance
from geofsrcnn.values.expected_errors import type_beside_errors

if TYPE_CHECKING:
    import xarray as xr

    from geofsrcnn.cf.refine import Refinement
    from geofsrcnn.formats.creation import Format
    from geofsrcnn.formats.writer import NewField, Writer
    from geofsrcnn.upscale.fields import Field
    from geofsrcnn.upscale.wanted_fields import WantedAxes, WantedRaster


@contextmanager
def open_via_cf(
    path: Path | RemoteZarr,
    target: Path,
    formats: tuple[FormatName, FormatName],
    model: Model,
    options: UpscaleOptions,
) -> Iterator[Task]:
    """A dataset as a task, with everything checked that can be before the first tile, cheap checks first."""
    unpacked = _floating_type(options.dtype)
    need_xarray()
    from geofsrcnn.cf.refine import refine
    from geofsrcnn.upscale.dataset import check_bands
    from geofsrcnn.upscale.fields import FieldSink, field_stream, fields_of, with_parts
    from geofsrcnn.upscale.look import warn_of_values

    check_bands(model)
    check_unchanged = watch_changes([path] if isinstance(path, Path) else [])
    with open_dataset(path, options, raw=model.upsampler is None) as dataset:
        plan = refine(
            dataset,
            model.factor,
            variables=options.variables or None,
            x=options.x,
            y=options.y,
            kinds=None if formats[0] == "GeoTIFF" else options.kinds,  # of bands, which `open_dataset` has asked for
            error=options.error,
        )
        wanted = _wanted_of(dataset, formats[1], options)
        plan = plan if wanted is None else wanted.put_plan(dataset, plan)
        fields = fields_of(dataset, plan, unpacked, model)
        if formats[1] == "GeoTIFF":
            fields = [each for each in fields if each.name in plan.grid.variables]  # not what they refer to
        fields = fields if wanted is None else wanted.put(fields, plan.grid.period)
        if options.error and not any(each.error for each in fields):
            raise no_errors(printable(path.name))
        dtype = None
        if formats[1] == "GeoTIFF" and (floating := _type_with_errors(fields)) is not None:
            dtype, fields = floating.name, [replace(each, unpacked=floating) for each in fields]
        rows = _rows_of(dataset, plan, formats[1] if wanted is None else "NetCDF")
        if formats[0] != "GeoTIFF" and model.upsampler is not None:  # of rasters `open_dataset` has said it
            for each in fields:
                warn_of_values(each)
        check_pixels(sum(each.fine_cells for each in fields), options.max_pixels)
        side = tile_size_of(options.tile_size, model, plan.grid.shape)
        fields = [with_parts(each, side, plan.grid.shape) for each in fields]
        make = _writer_of(dataset, path, plan, rows, fields, formats, model, options, wanted)
        if formats[0] == "Zarr":
            from geofsrcnn.formats.zarr import warn_of_missing_chunks

            warn_of_missing_chunks(path, options.group, [each.name for each in fields])
        region = Window(rows.start, rows.stop, 0, plan.grid.shape[1])
        streams = [field_stream(each, plan.grid, model, options) for each in fields]
        if wanted is None:
            streams = [replace(each, region=region) for each in streams]
        output = StoreOutput(
            make,
            lambda writer: [new for each in fields for new in _new_fields(dataset, plan, side, each, writer)],
            lambda writer, number: FieldSink(writer, fields[number]),
            folder=is_folder(formats[1]),
            less="fewer variables",
            threads=options.workers,
        )
        shapes = region.shape, region.refine(plan.factor).shape if wanted is None else fields[0].fine_shape
        told = sum(not rule.repeats for each in streams if each.errors for rule in each.rules)
        yield Task(
            streams,
            output,
            target,
            model,
            shapes,
            options,
            check_unchanged,
            error_bands=told,
            dtype=dtype,
            grid=_words_of(fields),
        )


def _wanted_of(dataset: xr.Dataset, target: FormatName, options: UpscaleOptions) -> WantedAxes | WantedRaster | None:
    """The grid that is wanted instead of a factor."""
    if not options.wants_grid:
        return None
    from geofsrcnn.upscale.wanted_fields import WantedAxes, WantedRaster

    return (WantedRaster if target == "GeoTIFF" else WantedAxes).of_options(dataset, options)


def _words_of(fields: Sequence[Field]) -> str | None:
    """How fields come onto a grid that is wanted instead of a factor; None if none is."""
    onto = fields[0].onto
    return None if onto is None else onto.method


def _rows_of(dataset: xr.Dataset, plan: Refinement, target: FormatName) -> slice:
    """Rows that the output can say; all but for a GeoTIFF."""
    if target != "GeoTIFF":
        return slice(0, plan.grid.shape[0])
    from geofsrcnn.formats.field_tiff import even_rows

    return even_rows(dataset, plan.grid)


def _type_with_errors(fields: Sequence[Field]) -> np.dtype[Any] | None:
    """The type that a field with errors is unpacked to in a GeoTIFF; None without errors, or for its own."""
    storage = next((each.storage for each in fields if each.error), None)  # of the only one: several are refused
    return None if storage is None else type_beside_errors(storage.dtype, unpacked=not storage.fine.plain)


def _floating_type(dtype: str | None) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    if dtype not in ("float32", "float64"):
        raise UsageError(
            f"type '{printable(dtype)}': with NetCDF or Zarr, fields keep their type and packing, or become float32 or "
            "float64 with dtype="
        )
    return np.dtype(dtype)


def _writer_of(
    dataset: xr.Dataset,
    path: Path | RemoteZarr,
    plan: Refinement,
    rows: slice,
    fields: Sequence[Field],
    formats: tuple[FormatName, FormatName],
    model: Model,
    options: UpscaleOptions,
    wanted: WantedAxes | WantedRaster | None,
) -> Callable[[Path], Writer]:
    """Return what makes the writer of the output in its work folder."""
    if formats[1] == "GeoTIFF":
        from geofsrcnn.formats.field_tiff import GeoTIFFWriter, grid_of

        form = _geotiff_form(fields, model, options)
        known = None if wanted is None else wanted.geotiff
        grid = grid_of(dataset, plan.grid, rows).refine(plan.factor) if known is None else known
        finer = dataset.copy()
        finer.attrs = dict(plan.attrs)
        return lambda staging: GeoTIFFWriter(staging, finer, grid, form, options.workers)
    from geofsrcnn.upscale.fields import rest_of

    return lambda staging: create_store(
        formats[1],
        staging,
        rest_of(dataset, plan, fields, model, onto=_words_of(fields) or ""),
        like=path if formats[0] == formats[1] else None,
        size=sum(each.fine_cells * each.itemsize for each in fields),
        unlimited=list(dataset.encoding.get("unlimited_dims", ())),
    )


def _geotiff_form(fields: Sequence[Field], model: Model, options: UpscaleOptions) -> Format:
    """How a GeoTIFF is written."""
    from geofsrcnn.formats.creation import Format, check_creation_options

    if len(fields) > 1:
        names = printable(", ".join(each.name for each in fields))
        raise UsageError(f"a GeoTIFF holds one field, there are {names}: use variables=")
    tags = provenance(model, errors=options.error, onto=_words_of(fields))
    form = Format(None, options.cog, dict(options.co or {}), tags)
    check_creation_options(form, fields[0].dtype)
    return form


def _new_fields(dataset: xr.Dataset, plan: Refinement, side: int, field: Field, writer: Writer) -> Iterator[NewField]:
    """A field that is to come, as its writer takes it, in chunks of tiles of this side; then its expected errors."""
    from geofsrcnn.cf.expected_error import error_attrs
    from geofsrcnn.cf.refine import drop_dangling
    from geofsrcnn.formats.writer import NewField
    from geofsrcnn.upscale.fields import field_attrs, order_of

    grid, factor = plan.grid, plan.factor
    order = order_of(field, writer)
    fine = [min(n, side) * factor for n in grid.shape]
    if field.onto is not None:
        fine = [min(n, field.onto.side(side)) for n in field.onto.shape]
    chunks = dict(zip(field.dims, (*[1] * (len(field.dims) - 2), *fine), strict=True))
    if field.along >= 0:
        chunks[field.dims[field.along]] = field.together
    finer = field.sizes | dict(zip((grid.y, grid.x), field.fine_shape, strict=True))
    sizes = {dim: finer[dim] for dim in order}
    attrs = drop_dangling(field_attrs(dataset, field), plan)
    if field.unpacked is not None:
        attrs["_FillValue"] = field.unpacked.type("nan")
    values = NewField(
        field.name,
        sizes,
        field.dtype,
        attrs,
        [chunks[d] for d in order],
        field.variable.encoding,
        field.storage.coarse.missing.marks,
    )
    yield values
    if field.error:
        dtype = field.storage.error_dtype
        told = {**error_attrs(field.name, attrs), "_FillValue": dtype.type("nan")}
        yield replace(values, name=field.error, dtype=dtype, attrs=told, marks=())
