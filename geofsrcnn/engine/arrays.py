"""Arrays through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array, Mask, Progress
from geofsrcnn.engine.stream import Stream
from geofsrcnn.errors import InputError, UsageError
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model, refuse_pairs
from geofsrcnn.options import UpscaleOptions
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import (
    Missing,
    Packing,
    loses_digits,
    stored_limits,
    stored_nodata,
    valid_mask,
    within,
)


class _ArraySource:
    """An array ``(band, y, x)`` as a source."""

    def __init__(self, array: Array, valid: Mask, *, raw: bool) -> None:
        self._array, self._valid, self._packing, self._raw = array, valid, Packing(array.dtype), raw

    @property
    def shape(self) -> tuple[int, int, int]:
        bands, rows, columns = self._array.shape
        return bands, rows, columns

    def read(self, window: Window, bands: slice) -> Cells:
        index = (bands, *window.slices())
        values = self._array[index]
        return Cells(values if self._raw else self._packing.decode(values), self._valid[index])


class _ArraySink:
    """An array ``(band, y, x)`` as a sink, each band with its packing."""

    def __init__(self, shape: tuple[int, int], packings: Sequence[Packing]) -> None:
        self.array: Array = np.empty((len(packings), *shape), packings[0].dtype)
        self._packings = packings

    def write(self, window: Window, cells: Cells, bands: slice) -> None:
        chosen = range(*bands.indices(len(self._packings)))
        for band, values, valid in zip(chosen, cells.values, cells.valid, strict=True):
            self.array[(band, *window.slices())] = self._packings[band].encode(values, valid)


def upscale_array(
    array: npt.ArrayLike,
    factor: int | None = None,
    model: ModelLike = "default",
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
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the model's file, else 3.
    model : str, path, Checkpoint or Model
        Name of a shipped model, a ``.safetensors`` file, a loaded checkpoint or model, or a classical method:
        one of `geofsrcnn.values.kernels.CLASSICAL` (nearest, bilinear, cubic, lanczos, lanczos-bp, ...).
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
    options = UpscaleOptions(
        value_range=value_range, tile_size=tile_size, threads=threads, device=device, precision=precision
    )
    loaded = load_model(model, factor, device=device, precision=precision)
    refuse_pairs(loaded)
    check_options(loaded, options)
    coarse, flat = as_bands(np.asarray(array))
    values = _per_band(nodata, len(coarse), coarse.dtype)
    mask = np.stack([valid_mask(layer, value) for layer, value in zip(coarse, values, strict=True)])
    if valid is not None:
        mask &= _as_mask(np.asarray(valid), coarse.shape)
    if isinstance(array, np.ma.MaskedArray):
        mask &= _as_mask(~np.ma.getmaskarray(array), coarse.shape)
    _check_around(around, coarse.shape[2])
    extent = Window(0, coarse.shape[1], 0, coarse.shape[2])
    task = ArrayTask(loaded, within(stored_limits(coarse.dtype), value_range), value_range, around, tile_size)
    fine = task.upscale(coarse, mask, extent, values, options.workers, progress)
    return fine[0] if flat else fine


@dataclass(frozen=True)
class ArrayTask:
    """How arrays are upscaled, everything checked.

    Parameters
    ----------
    model : Model
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

    model: Model
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
        if self.model.upsampler is not None and loses_digits(coarse, mask):
            raise InputError(f"integers beyond 2**53 in {self.name} would lose digits: subtract an offset first")
        source = _ArraySource(coarse, mask, raw=self.model.upsampler is None)
        limits = [self.limits] * len(coarse) if self.limits else ()
        stream = Stream(
            self.name,
            source,
            self.model,
            region,
            limits=limits,
            expected=self.value_range,
            period=self.around,
            tile_size=self.tile_size,
            workers=workers,
        )
        rows, columns = (n * self.model.factor for n in region.shape)
        packings = (
            [Packing(coarse.dtype, missing=nodata, mark=nodata.rewritten(coarse.dtype))] * len(coarse)
            if isinstance(nodata, Missing)
            else [Packing(coarse.dtype, mark=mark) for mark in nodata]
        )
        sink = _ArraySink((rows, columns), packings)
        stream.run(sink, progress)
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
