"""Arrays through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, Unpack, overload

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array, Mask, Progress, Write
from geofsrcnn.engine.base import FREE, NO_RULE, Rule, Source
from geofsrcnn.engine.guided_source import BandGuides, GuideArray, GuidedSource
from geofsrcnn.engine.onto import Onto, around_globe
from geofsrcnn.engine.stream import Stream
from geofsrcnn.engine.watch import Watch
from geofsrcnn.errors import InputError, UsageError
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model, refuse_pairs
from geofsrcnn.options import ArrayOptions, UpscaleOptions
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import stored_nodata, within
from geofsrcnn.values.storage import Storage, decode_bands, encode_bands

_T = TypeVar("_T")


class ArraySource:
    """An array as a source; all bands are stored alike, or each in its way.

    Parameters
    ----------
    array : ndarray (band, y, x)
        As stored.
    storages : sequence of Storage
        How the bands are stored: one for all, or one for each.
    valid : ndarray (band, y, x) of bool, optional
        False where missing whatever the values are.
    name : str
        For messages.
    """

    def __init__(self, array: Array, storages: Sequence[Storage], valid: Mask | None, name: str) -> None:
        self._array, self._storages, self._valid, self._name = array, storages, valid, name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        bands, rows, columns = self._array.shape
        return bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window."""
        index = (bands, *window.slices())
        values = self._array[index]
        valid = None if self._valid is None else self._valid[index]
        if len(self._storages) == 1:
            return self._storages[0].decode(values, self._name, valid)
        return decode_bands(self._storages[bands], list(values), self._name, valid)


class _ArraySink:
    """An array ``(band, y, x)`` as a sink; all bands are stored alike, or each in its way."""

    def __init__(
        self, shape: tuple[int, int, int], storages: Sequence[Storage], name: str, *, errors: bool = False
    ) -> None:
        self.array: Array = np.empty(shape, storages[0].dtype.newbyteorder("="))
        self.errors: Array | None = np.empty(shape, storages[0].error_dtype) if errors else None
        self._storages, self._name = storages, name

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        if len(self._storages) == 1:
            stored = self._storages[0].encode(cells, self._name)
        else:
            stored = encode_bands(self._storages[bands], cells, [self._name] * len(cells.values))
        return partial(self._write, window, stored, cells.errors, bands)

    def _write(self, window: Window, stored: Array, errors: Array | None, bands: slice) -> None:
        self.array[(bands, *window.slices())] = stored
        if self.errors is not None:
            assert errors is not None
            self.errors[(bands, *window.slices())] = errors


@overload
def upscale_array(
    array: npt.ArrayLike,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    nodata: float | Sequence[float | None] | None = None,
    valid: npt.ArrayLike | None = None,
    period: int = 0,
    progress: Progress | None = None,
    guide: npt.ArrayLike | None = None,
    error: Literal[False] = False,
    **options: Unpack[ArrayOptions],
) -> Array: ...


@overload
def upscale_array(
    array: npt.ArrayLike,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    nodata: float | Sequence[float | None] | None = None,
    valid: npt.ArrayLike | None = None,
    period: int = 0,
    progress: Progress | None = None,
    guide: npt.ArrayLike | None = None,
    error: Literal[True],
    **options: Unpack[ArrayOptions],
) -> tuple[Array, Array]: ...


def upscale_array(
    array: npt.ArrayLike,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    nodata: float | Sequence[float | None] | None = None,
    valid: npt.ArrayLike | None = None,
    period: int = 0,
    progress: Progress | None = None,
    guide: npt.ArrayLike | None = None,
    error: bool = False,
    **options: Unpack[ArrayOptions],
) -> Array | tuple[Array, Array]:
    """Upscale an array.

    Parameters
    ----------
    array : array_like (y, x) or (band, y, x)
        Integers, float32 or float64, in any units; edges of cells are assumed to fill the extent.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        Name of a shipped model, a ``.safetensors`` file, a loaded checkpoint or model, or a classical method:
        one of `geofsrcnn.values.kernels.CLASSICAL` (nearest, bilinear, cubic, lanczos, lanczos-bp, ...).
    nodata : float or sequence of float, optional
        Value of missing cells, for all bands or each; NaN is always missing. Written to missing fine cells.
    valid : array_like of bool, optional
        True where valid, the shape of `array` or ``(y, x)``; together with `nodata`.
    period : int
        Columns that go around the globe, so that the first is the last one's neighbour: all columns, less last ones
        that repeat the first. 0 for none.
    progress : callable, optional
        ``progress(done, total)`` after each tile.
    guide : array_like (factor * y, factor * x) or (k, factor * y, factor * x), optional
        Bands on the fine grid that the result follows where they tell of it, in any units; NaN where missing, as are
        masked cells. Fields without a guide come out as without one.
    error : bool
        Return the expected absolute error of each fine cell too.
    **options
        ``value_range`` (smallest and largest value; results keep to it and blocks keep their means), ``overshoot``,
        ``tile_size``, ``threads``, ``device`` and ``precision``, as for `geofsrcnn.UpscaleOptions`.

    Returns
    -------
    ndarray (factor * y, factor * x) or (band, factor * y, factor * x)
        Fine values in the units and of the type of `array`; integers are rounded and clipped. Missing cells hold the
        nodata value, or what the coarse cell holds if there is none; of a masked array they are masked, whatever they
        were missing by. With `error` a tuple of two: fine values, and their expected absolute errors in the same units,
        float32 or float64, NaN in missing cells.

    Raises
    ------
    UsageError
        If an argument is wrong.
    InputError
        If the array has no cells, another number of dimensions, or a type that is not upscaled.
    ModelError
        If there is no such model, or it takes another number of bands.

    Examples
    --------
    >>> coarse = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> upscale_array(coarse, 2, "bilinear").shape
    (4, 4)
    """
    given = UpscaleOptions.of({**options, "error": error})
    loaded = load_model(model, factor, device=given.device, precision=given.precision, overshoot=given.overshoot)
    refuse_pairs(loaded)
    check_options(loaded, given, guided=guide is not None)
    coarse, flat = as_bands(np.asarray(array))
    _check_period(period, coarse.shape[2])
    storages = [Storage.plain(coarse.dtype, v, raw=loaded.upsampler is None) for v in _per_band(nodata, coarse)]
    followed: Sequence[Source] = ()
    if guide is not None:
        from geofsrcnn.networks.guided import guided_model

        loaded, followed = guided_model(loaded), (GuideArray(_guide_on(guide, coarse.shape, loaded.factor)),)
    rules = [Rule(within(storage.limits, given.value_range) or FREE) for storage in storages]
    mask = _valid_cells(array, valid, coarse.shape)
    task = ArrayTask(loaded, storages, rules, period, given.tile_size, guides=followed)
    what = coarse, Window(0, coarse.shape[1], 0, coarse.shape[2]), given.workers, progress, mask
    fine, errors = task.upscale_with_errors(*what) if error else (task.upscale(*what), None)
    if isinstance(array, np.ma.MaskedArray) and mask is not None:
        fine = np.ma.MaskedArray(fine, ~repeat(task.valid(coarse) & mask, loaded.factor), fill_value=array.fill_value)
    fine = fine.reshape(fine.shape[1:]) if flat else fine
    return fine if errors is None else (fine, errors.reshape(fine.shape))


def _guide_on(guide: npt.ArrayLike, shape: tuple[int, ...], factor: int) -> Array:
    """A guide as ``(k, y, x)``, floating, NaN where missing; an InputError says why it does not fit."""
    values = np.ma.filled(np.ma.masked_array(guide, dtype=np.float64), np.nan)
    values = values[None] if values.ndim == 2 else values
    fine = shape[1] * factor, shape[2] * factor
    if values.ndim != 3 or values.shape[1:] != fine or not len(values):
        raise InputError(f"guide must be on the fine grid, {fine} or (k, {fine[0]}, {fine[1]}), got {values.shape}")
    return values


def _valid_cells(array: npt.ArrayLike, valid: npt.ArrayLike | None, shape: tuple[int, ...]) -> Mask | None:
    """Return the cells that are valid by an argument and by the mask of a masked array; None if neither says."""
    mask = _as_mask(np.asarray(valid), shape) if valid is not None else None
    if isinstance(array, np.ma.MaskedArray):
        kept = _as_mask(~np.ma.getmaskarray(array), shape)
        return kept if mask is None else mask & kept
    return mask


@dataclass(frozen=True)
class ArrayTask:
    """How arrays are upscaled, everything checked.

    Parameters
    ----------
    model : Model
        Network or classical method.
    storages : sequence of Storage
        How the bands are stored: one for all, or one for each.
    rules : sequence of Rule
        What the values keep to: one for all bands, or one for each.
    period : int
        Columns around the globe, or 0.
    tile_size : int, optional
        Coarse cells along one side of a tile.
    name : str
        Name of the array, for messages.
    watch : Watch, optional
        Looks at the values; one of its own if not given.
    guides : sequence of Source
        On the fine grid; the model follows them.
    onto : Onto, optional
        The grid that is wanted instead of the fine one.
    """

    model: Model
    storages: Sequence[Storage]
    rules: Sequence[Rule] = (NO_RULE,)
    period: int = 0
    tile_size: int | None = None
    name: str = "the array"
    watch: Watch | None = None
    guides: Sequence[Source] = ()
    onto: Onto | None = None

    def upscale(
        self,
        coarse: Array,
        region: Window,
        workers: int,
        progress: Progress | None = None,
        valid: Mask | None = None,
    ) -> Array:
        """Upscale the cells of a region of an array ``(band, y, x)``; cells that are not `valid` are missing as well.

        Raises
        ------
        InputError
            If integers are too large to be computed with.
        """
        return self._run(coarse, region, workers, progress, valid).array

    def upscale_with_errors(
        self,
        coarse: Array,
        region: Window,
        workers: int,
        progress: Progress | None = None,
        valid: Mask | None = None,
    ) -> tuple[Array, Array]:
        """The same, and the expected error of each cell, floating, NaN where missing.

        Raises
        ------
        InputError
            If integers are too large to be computed with.
        """
        sink = self._run(coarse, region, workers, progress, valid, errors=True)
        assert sink.errors is not None
        return sink.array, sink.errors

    def _run(
        self,
        coarse: Array,
        region: Window,
        workers: int,
        progress: Progress | None,
        valid: Mask | None,
        *,
        errors: bool = False,
    ) -> _ArraySink:
        source: Source = ArraySource(coarse, self.storages, valid, self.name)
        groups: list[slice] = []
        if self.guides:
            source = GuidedSource(source, self.guides, self.model.factor)
        onto = self.onto
        if onto is not None:
            source, onto = around_globe(source, self.period, onto)
        if any(isinstance(guide, BandGuides) for guide in self.guides):
            groups = [slice(band, band + 1) for band in range(len(coarse))]
        stream = Stream(
            self.name,
            source,
            self.model,
            region,
            repeats=self.storages[0].raw,
            rules=_for_each_band(self.rules, coarse),
            period=0 if onto else self.period,
            tile_size=self.tile_size,
            workers=workers,
            groups_in_order=groups,
            watch=self.watch,
            errors=errors,
            onto=onto,
        )
        rows, columns = region.refine(self.model.factor).shape if onto is None else onto.shape
        sink = _ArraySink((len(coarse), rows, columns), self.storages, self.name, errors=errors)
        stream.run(sink, progress)
        return sink

    def valid(self, coarse: Array) -> Mask:
        """Tell which cells of an array ``(band, y, x)`` hold no nodata value."""
        layers = zip(_for_each_band(self.storages, coarse), coarse, strict=True)
        return np.stack([storage.coarse.missing.valid(layer) for storage, layer in layers])


def _for_each_band(given: Sequence[_T], array: Array) -> list[_T]:
    """Return a value for each band, of one for all or of one for each."""
    return [*given] * (len(array) // len(given))


def _check_period(period: int, columns: int) -> None:
    if period and not columns // 2 < period <= columns:
        raise UsageError(f"period must be 0, or all columns, {columns}, less those that repeat the first, got {period}")


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


def _per_band(nodata: float | Sequence[float | None] | None, array: Array) -> list[float | None]:
    """Nodata of each band, or one for all."""
    one_for_all = nodata is None or np.ndim(nodata) == 0  # type: ignore[arg-type]
    given: list[Any] = [nodata] if one_for_all else list(nodata)  # type: ignore[arg-type]
    if not one_for_all and len(given) != len(array):
        raise UsageError(f"{len(given)} nodata values for {len(array)} bands: give one, or one for each band")
    try:
        values = [_plain_number(value) for value in given]
    except (TypeError, ValueError):
        raise UsageError(f"nodata must be a number, or one for each band, got {nodata!r}") from None
    for value in values:
        if value is not None and stored_nodata(value, array.dtype) is None:
            raise UsageError(f"nodata {value} cannot be stored as {array.dtype}, the array's type")
    return values


def _plain_number(value: float | None) -> float | None:
    """A nodata value; integers keep their digits, of which doubles have 53 bits."""
    if value is None:
        return None
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return int(value) if is_integer else float(value)


def _as_mask(valid: Array, shape: tuple[int, ...]) -> Mask:
    if valid.dtype != bool or valid.shape not in (shape, shape[1:]):
        raise InputError(f"valid must be bool of shape {shape} or {shape[1:]}, got {valid.dtype} {valid.shape}")
    return np.broadcast_to(valid, shape)
