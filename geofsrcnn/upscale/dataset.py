"""Upscale xarray objects: fields go through the engine, eagerly or lazily as they came; metadata after CF."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast, overload

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Range
from geofsrcnn.cf.attributes import PACKED_ATTRS, fine_encoding, history
from geofsrcnn.cf.expected_error import error_attrs, error_encoding
from geofsrcnn.cf.refine import Refinement, Role, drop_dangling, refine
from geofsrcnn.engine.arrays import ArrayTask, as_bands
from geofsrcnn.engine.guided_source import guide_sources
from geofsrcnn.errors import InputError, ModelError, UsageError, printable
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, least_factor, load_model, refuse_pairs
from geofsrcnn.options import GridOptions, Overshoot, UpscaleOptions
from geofsrcnn.upscale.fields import Field, field_attrs, field_of
from geofsrcnn.upscale.look import warn_of_values
from geofsrcnn.upscale.place_guide import FieldGuide
from geofsrcnn.upscale.wanted_fields import WantedAxes

if TYPE_CHECKING:
    from geofsrcnn.networks.guided import Correction


def upscale_dataset(  # noqa: PLR0913  all but the first three by name
    dataset: xr.Dataset,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    variables: Iterable[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    value_range: Range | None = None,
    overshoot: Overshoot = None,
    kinds: Mapping[str, str] | None = None,
    error: bool = False,
    quantiles: Sequence[float] = (),
    tile_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "float32",
    like: xr.Dataset | xr.DataArray | None = None,
    resolution: float | tuple[float, float] | None = None,
) -> xr.Dataset:
    """Upscale the fields of a dataset, and put them onto the finer grid.

    Coordinates, bounds, auxiliary latitude and longitude, cell areas and GeoTransform are those of the finer grid;
    variables without both horizontal dimensions pass as they are; categories are repeated, and a warning says so.

    Parameters
    ----------
    dataset : Dataset
        Fields of any dimensions besides the horizontal ones, in memory or of dask chunks. Missing cells are NaN, or
        what ``_FillValue`` and ``missing_value`` say where they are not decoded.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`. One that was trained on pairs finds its predictors by name.
    variables : iterable of str, optional
        Fields to upscale; the others on the grid are left out. All if not given.
    x, y : str, optional
        Horizontal dimensions, where they cannot be found.
    value_range : tuple of float, optional
        Smallest and largest value of all fields. Without it: what a field's type can store, its ``valid_range``, and
        what its quantity can be (precipitation is never negative).
    overshoot : float or "none", optional
        Share of the range of the 3 x 3 coarse cells around, 0 to 1, by which fine values may leave it; "none": no
        limit. If not given, what the model says.
    kinds : mapping of str to str, optional
        Kinds of variables, where their headers mislead: ``{"wd": "direction"}``; one of field, never-negative,
        fraction, direction, category and total for each.
    error : bool
        Add to each field NAME that is upscaled the expected absolute error of its cells, NAME_error, an ancillary
        variable in the units of its differences: float32, or float64 for values of as many digits. Fields that are
        repeated or copied have none.
    quantiles : sequence of float
        Shares between 0 and 1 of which quantiles are given too, by a model of pairs that gives distributions.
    tile_size : int, optional
        Coarse cells along one side of a tile; chosen for the device if not given.
    threads : int, optional
        Threads that compute; all cores if not given. With dask, its scheduler decides.
    device : str
        ``auto`` (CUDA if there is one), ``cpu``, ``cuda``, ``cuda:N``.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the network.
    like : Dataset or DataArray, optional
        Of the same CRS: its cells are wanted instead of a factor, and its coordinates are taken over to the last bit.
        The smallest factor that is fine enough, then the average by area.
    resolution : float or tuple of float, optional
        Width, or width and height, of the cells that are wanted instead of a factor, in units of the coordinates; the
        grid begins where the dataset does, and covers all of it.

    Returns
    -------
    Dataset
        Lazy where the input was. Types, units, names, attributes and packing are kept; ``history`` is longer.

    Raises
    ------
    InputError
        If there is no horizontal grid, a field cannot be upscaled, or the name of an expected error is taken.
    UsageError
        If an argument is wrong, or several grids are there and none was chosen.
    ModelError
        If there is no such model, it takes several bands at once, or gives no expected error where one is asked for.
    """
    if not isinstance(dataset, xr.Dataset):
        raise UsageError(f"a Dataset is needed, got {type(dataset).__name__}: upscale_dataarray takes a DataArray")
    options = UpscaleOptions(
        variables=cast("Sequence[str] | None", variables),
        x=x,
        y=y,
        value_range=value_range,
        overshoot=overshoot,
        kinds=kinds,
        error=error,
        quantiles=quantiles,
        tile_size=tile_size,
        threads=threads,
        device=device,
        precision=precision,
        resolution=cast("tuple[float, float] | None", resolution),
    )
    wanted = None
    if like is not None or resolution is not None:
        wanted = _wanted(dataset, factor, like, options)
        factor = least_factor(model, wanted.factor)
    loaded = load_model(model, factor, device=device, precision=precision, overshoot=overshoot)
    check_options(loaded, options)
    if loaded.of_pairs and like is not None:
        raise UsageError("like= is not for models that were trained on pairs")
    if loaded.of_pairs:
        from geofsrcnn.pairs.apply import downscale_dataset

        return downscale_dataset(dataset, loaded, threads, options.quantiles)
    check_bands(loaded)
    if not dataset.variables:  # as the root of a tree
        return dataset.copy()
    plan = refine(dataset, loaded.factor, variables=options.variables, x=x, y=y, kinds=options.kinds, error=error)
    plan = plan if wanted is None else wanted.put_plan(dataset, plan)
    result = follow_plan(dataset, plan, loaded, lambda field, data: upscale_values(field, data, plan, loaded, options))
    onto = "" if wanted is None else wanted.words
    result.attrs["history"] = history(
        dataset.attrs.get("history"), loaded.name, loaded.digest, loaded.factor, onto=onto
    )
    return result


def _wanted(
    dataset: xr.Dataset, factor: int | None, like: xr.Dataset | xr.DataArray | None, options: UpscaleOptions
) -> WantedAxes:
    """The cells that are wanted instead of a factor."""
    if factor is not None:
        raise UsageError("factor= and a wanted grid, like= or resolution=, exclude each other: leave one out")
    if like is not None and options.resolution is not None:
        raise UsageError("like= says which cells are wanted: leave out resolution=")
    if like is not None and not isinstance(like, xr.Dataset | xr.DataArray):
        raise UsageError(f"like= must be a Dataset or a DataArray, got {type(like).__name__}: open it first")
    return WantedAxes.of(dataset, like, options.resolution, options.x, options.y)


def follow_plan(
    dataset: xr.Dataset, plan: Refinement, model: Model, upscale: Callable[[Field, Any], tuple[Any, Any | None]]
) -> xr.Dataset:
    """Put a dataset onto the finer grid.

    Parameters
    ----------
    dataset : Dataset
        The coarse one.
    plan : Refinement
        What becomes of each variable.
    model : Model
        What makes fields finer.
    upscale : callable
        Gives the fine values of a field, of its values ``(..., y, x)`` as they are stored, and their expected errors or
        None.
    """
    errors: dict[str, xr.Variable] = {}

    def fine_field(name: str) -> xr.Variable:
        values, expected = _fine_field(dataset, name, plan, model, upscale)
        if expected is not None:
            errors[name] = expected
        return values

    fine = plan.variables(dataset, fine_field)
    fine |= {plan.errors[name]: expected for name, expected in errors.items()}
    return _assemble(dataset, plan, fine)


def _assemble(dataset: xr.Dataset, plan: Refinement, fine: Mapping[str, xr.Variable]) -> xr.Dataset:
    """Put fine variables in the places of the coarse ones, in the same order; new coordinates come last.

    Expected errors stand behind their fields, and are coordinates as they are.
    """
    beside = {error: name for name, error in plan.errors.items()}
    changed = {name: variable for name, variable in fine.items() if plan.roles.get(name) is not Role.COPIED}
    result = dataset.drop_vars([name for name in map(str, dataset.variables) if name in changed or name not in fine])
    coordinates = {name for name in changed if beside.get(name, name) in dataset.coords}
    result = result.assign({name: v for name, v in changed.items() if name not in coordinates})
    result = result.assign_coords({name: v for name, v in changed.items() if name in coordinates})
    places = (each for name in map(str, dataset.data_vars) for each in (name, plan.errors.get(name, name)))
    order = [name for name in dict.fromkeys(places) if name in result.data_vars]
    ordered = result[[*order, *(name for name in map(str, result.data_vars) if name not in order)]]
    result = ordered.assign_coords({name: v for name, v in result.coords.items() if name not in ordered.coords})
    for variable in result.variables.values():
        variable.attrs = drop_dangling(variable.attrs, plan)
    result.attrs = dict(plan.attrs)
    result.encoding = {k: v for k, v in dataset.encoding.items() if k == "unlimited_dims"}
    return result


@overload
def upscale_dataarray(
    array: xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    error: Literal[False] = False,
    **options: Unpack[GridOptions],
) -> xr.DataArray: ...


@overload
def upscale_dataarray(
    array: xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    error: Literal[True],
    **options: Unpack[GridOptions],
) -> xr.Dataset: ...


@overload
def upscale_dataarray(
    array: xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    error: bool,
    **options: Unpack[GridOptions],
) -> xr.DataArray | xr.Dataset: ...


def upscale_dataarray(
    array: xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    error: bool = False,
    **options: Unpack[GridOptions],
) -> xr.DataArray | xr.Dataset:
    """Upscale a DataArray: one field, with its coordinates.

    Parameters
    ----------
    array : DataArray
        A field of any dimensions besides the horizontal ones, in memory or of dask chunks. Missing cells are NaN.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`; none that was trained on pairs.
    error : bool
        Tell the expected absolute error of each fine cell too, as for `geofsrcnn.upscale_dataset`.
    **options
        ``x``, ``y``, ``value_range``, ``overshoot``, ``kinds``, ``tile_size``, ``threads``, ``device``,
        ``precision``, ``like`` and ``resolution``, as for `geofsrcnn.upscale_dataset`.

    Returns
    -------
    DataArray or Dataset
        The field on the finer grid with its coordinates, in its own type and units; lazy where the input was. With
        `error` a Dataset of two: NAME and NAME_error; the name is ``field`` where the array has none.

    Raises
    ------
    InputError, UsageError, ModelError
        As for `geofsrcnn.upscale_dataset`; ModelError for a model that was trained on pairs.
    """
    if not isinstance(array, xr.DataArray):
        raise UsageError(f"a DataArray is needed, got {type(array).__name__}: upscale_dataset takes a Dataset")
    given = UpscaleOptions.of({name: value for name, value in options.items() if name != "like"})
    if options.get("like") is None and given.resolution is None:  # which tell the factor
        model = load_model(model, factor, device=given.device, precision=given.precision)
        refuse_pairs(model)
    dataset, name = as_dataset(array)
    whole = upscale_dataset(dataset, factor, model, variables=[name], error=error, **options)
    return whole if error else as_dataarray(whole, name, array)


def as_dataarray(dataset: xr.Dataset, name: str, array: xr.DataArray) -> xr.DataArray:
    """A field of a finer dataset alone, called as the coarse array is."""
    fine = dataset[name].rename(array.name)
    for coordinate in fine.coords.values():  # boundaries of cells do not fit into a DataArray
        for facts in (coordinate.attrs, coordinate.encoding):
            if facts.get("bounds") not in fine.coords:
                facts.pop("bounds", None)
    return fine


def as_dataset(array: xr.DataArray) -> tuple[xr.Dataset, str]:
    """A DataArray alone in a Dataset, and its name there."""
    name = "field" if array.name is None else str(array.name)
    while name in array.coords or name in array.dims:
        name += "_"
    return array.rename(name).to_dataset(), name


def check_bands(model: Model) -> None:
    """Refuse models of several bands: fields are upscaled one by one.

    Raises
    ------
    ModelError
        If it takes more than one.
    """
    if model.upsampler is not None and model.upsampler.channels != 1:
        raise ModelError(
            f"model {model.name} takes {model.upsampler.channels} bands: fields are upscaled one by one, "
            "it is for bands of a raster into a GeoTIFF, and for arrays (band, y, x)"
        )


def _fine_field(
    dataset: xr.Dataset,
    name: str,
    plan: Refinement,
    model: Model,
    upscale: Callable[[Field, Any], tuple[Any, Any | None]],
) -> tuple[xr.Variable, xr.Variable | None]:
    """One field on the finer grid, and its expected errors where they are asked for."""
    stored = dataset.variables[name]
    duration = stored.dtype if stored.dtype.kind == "m" else None
    field = field_of(name, stored if duration is None else _counts(stored), plan, None, model)
    data = field.variable.transpose(*field.dims).data
    check_array(data, name)
    if isinstance(data, np.ndarray) and model.upsampler is not None and duration is None:
        warn_of_values(field)
    fine, errors = upscale(field, data)
    encoding, attrs = fine_encoding(stored), field_attrs(dataset, field)
    told = error_encoding(encoding)
    if duration is not None:
        fine = _blockwise(_durations, fine, duration)
        errors = None if errors is None else _blockwise(_durations, errors, duration)
        told["dtype"] = np.dtype(np.float64)
    elif field.unpacked is not None:
        encoding = {k: v for k, v in encoding.items() if k not in {"dtype", *PACKED_ATTRS}}
    dims = field.variable.dims
    result = xr.Variable(field.dims, fine, attrs, encoding).transpose(*dims)
    if errors is None:
        return result, None
    return result, xr.Variable(field.dims, errors, error_attrs(name, attrs), told).transpose(*dims)


def upscale_values(
    field: Field, data: Any, plan: Refinement, model: Model, options: UpscaleOptions, guide: FieldGuide | None = None
) -> tuple[Any, Any | None]:
    """Values ``(..., y, x)`` of a field made finer, now or lazily as they came; and their expected errors."""
    upscale = _upscale_now if isinstance(data, np.ndarray) else _upscale_lazily
    return upscale(field, data, plan, model, options, guide)


def _upscale_now(
    field: Field, data: Array, plan: Refinement, model: Model, options: UpscaleOptions, guide: FieldGuide | None
) -> tuple[Array, Array | None]:
    """Values ``(..., y, x)`` of a field in memory, made finer; and their expected errors."""
    coarse, _ = as_bands(data.reshape(-1, *data.shape[-2:]))
    rule = field.rule(options.value_range)
    task = ArrayTask(
        model, [field.storage], [rule], plan.grid.period, options.tile_size, printable(field.name), onto=field.onto
    )
    if guide is not None:
        sources = guide_sources(guide.bands, data.shape[:-2], guide.time_axis(field.dims))
        task = replace(task, guides=sources)
    region = Window(0, coarse.shape[1], 0, coarse.shape[2])
    if not field.error:
        fine = task.upscale(coarse, region, options.workers)
        return fine.reshape(*data.shape[:-2], *fine.shape[-2:]), None
    fine, errors = task.upscale_with_errors(coarse, region, options.workers)
    shape = *data.shape[:-2], *fine.shape[-2:]
    return fine.reshape(shape), errors.reshape(shape)


def _upscale_lazily(
    field: Field, data: Any, plan: Refinement, model: Model, options: UpscaleOptions, guide: FieldGuide | None
) -> tuple[Any, Any | None]:
    """The same for the chunks of a field; nothing is computed."""
    from geofsrcnn.engine.lazy import LazyGuide, Recipe, upscale_chunks, upscale_chunks_onto, upscale_chunks_with_errors

    recipe = Recipe(
        model.checkpoint or model.name,
        plan.factor,
        field.storage,
        field.rule(options.value_range),
        plan.grid.period,
        options.tile_size,
        model.device,
        model.precision,
        printable(field.name),
        overshoot=model.overshoot,
        correction=None if guide is None else _correction_of(model),
    )
    if field.onto is not None:
        return upscale_chunks_onto(data, replace(recipe, errors=bool(field.error)), model, field.onto)
    if field.error:
        return upscale_chunks_with_errors(data, recipe, model)
    beside = None if guide is None else LazyGuide(guide.bands, guide.time_axis(field.dims))
    return upscale_chunks(data, recipe, model, beside), None


def _correction_of(model: Model) -> Correction | None:
    """The network of a model that follows guides."""
    from geofsrcnn.networks.guided import Guided

    return model.upsampler.correction if isinstance(model.upsampler, Guided) else None


def check_array(data: object, name: str) -> None:
    """Refuse values that are held neither by numpy nor by dask.

    Raises
    ------
    InputError
    """
    kind = type(data)
    if not isinstance(data, np.ndarray) and kind.__module__.partition(".")[0] != "dask":
        raise InputError(
            f"{printable(name)} holds its values as {kind.__module__}.{kind.__qualname__}: make them numpy's or dask's "
            "first (pint: ds.pint.dequantify(), metpy: ds.metpy.dequantify(), sparse: ds.as_numpy())"
        )


def _counts(variable: xr.Variable) -> xr.Variable:
    """Durations as numbers, NaN where they are not known."""

    def numbers(durations: Array) -> Array:
        return np.where(np.isnat(durations), np.nan, durations.astype(np.int64).astype(np.float64))

    return xr.Variable(variable.dims, _blockwise(numbers, variable.data, np.dtype(np.float64)))


def _durations(numbers: Array) -> Array:
    """Numbers as whole steps of a duration; what is not known is no date."""
    known = np.isfinite(numbers)
    return np.where(known, np.rint(np.where(known, numbers, 0)).astype(np.int64), np.iinfo(np.int64).min)


def _blockwise(function: Callable[[Array], Array], data: Any, dtype: np.dtype[Any]) -> Any:
    """A function of each cell, lazily where the values are lazy; a type of the same size is reinterpreted."""

    def apply(values: Array) -> Array:
        result = function(values)
        return result if result.dtype.kind == dtype.kind else result.view(dtype)

    return apply(data) if isinstance(data, np.ndarray) else data.map_blocks(apply, dtype=dtype)
