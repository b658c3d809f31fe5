"""Rasters that are block-averaged, upscaled, and compared with themselves, beside classical methods.

Fine cells are scored that lie at least `MARGIN` coarse cells from edges and from missing cells. All methods go through
the engine, by what the band holds: what cannot be negative is not, directions are judged by their angles, categories
are repeated and judged by the share of right ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Unpack

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array, Mask, Progress
from geofsrcnn.engine.arrays import ArrayTask
from geofsrcnn.engine.base import NO_RULE, Rule
from geofsrcnn.engine.directions import start_of
from geofsrcnn.engine.rules import rule_of_band
from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.evaluation.calibration import Fit
from geofsrcnn.evaluation.comparer import Comparer, Subject
from geofsrcnn.evaluation.comparison import Comparison, unique_names
from geofsrcnn.evaluation.scores import MARGIN, MIN_CELLS, scored_mask
from geofsrcnn.evaluation.terrain import Terrain, terrain_of
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.open import open_raster_within
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model, ModelLike, load_model, refuse_pairs
from geofsrcnn.networks.config import DEFAULT_FACTOR
from geofsrcnn.options import RasterOptions, UpscaleOptions, workers_of
from geofsrcnn.values.angles import mean_direction, shorter_way
from geofsrcnn.values.blocks import block_mean, block_mode, repeat
from geofsrcnn.values.kernels import CLASSICAL
from geofsrcnn.values.quantity import Kind, Quantity
from geofsrcnn.values.storage import Storage

if TYPE_CHECKING:
    from geofsrcnn.formats.raster import Band, RasterSource

LARGEST = 2048
"""A raster of more fine rows and columns than this is scored on windows."""

WINDOWS, WINDOW = 3, 768
"""So many windows along each side, of so many fine cells."""

TILES = 8
"""Tiles along each side of a window, which intervals are made of."""

EXACT = 1e-6
"""An RMSE below this share of the truth's standard deviation is no error but rounding of float32."""

_INSTEAD = "evaluate takes rasters, evaluate-pairs datasets: write a GeoTIFF of it, or evaluate a model of pairs"
"""Remedy where a dataset is given."""

METHODS_NOTE = (
    "Cubic is GDAL's (a = -0.5), cubic-0.75 OpenCV's and torch's bicubic; -c keeps block means, -bp projects back."
)
"""How the names of baselines are to be read."""


class TooFewCells(InputError):  # noqa: N818  a kind of InputError
    """Too few cells are scored, or they are all the same."""


@dataclass(frozen=True)
class _Methods:
    """Networks by the names that are shown, and all classical methods, ready for a factor."""

    factor: int
    networks: dict[str, Model]
    classical: dict[str, Model]

    def __len__(self) -> int:
        return len(self.networks) + len(self.classical)


@dataclass(frozen=True)
class _Field:
    """A band on the windows on which it is scored.

    Parameters
    ----------
    name, unit : str
        For messages and tables.
    truth : ndarray (window, y, x)
        NaN where missing; whole blocks.
    factor : int
        Fine cells along one side of a coarse cell.
    quantity : Quantity
        What it is.
    rule : Rule
        What its values keep to.
    y, x : ndarray
        Coordinates of the window that is drawn.
    crs : str
        CRS of the coordinates as WKT; ``""`` where unknown.
    index : int
        Where the band stands among those of the raster, from 0.
    terrains : sequence of Terrain
        The cells of each window, where values are elevations; else none.
    together : sequence of ndarray (band, y, x)
        Coarse values of all bands of the raster, window by window, where some model takes them together.
    """

    name: str
    unit: str
    truth: Array
    factor: int
    quantity: Quantity
    rule: Rule
    y: Array
    x: Array
    crs: str = ""
    index: int = 0
    terrains: Sequence[Terrain] = ()
    together: Sequence[Array] = ()

    @property
    def shown(self) -> int:
        """The window that is drawn, in the raster's middle."""
        return len(self.truth) // 2


def evaluate_array(
    truth: npt.ArrayLike,
    factor: int | None = None,
    models: Sequence[ModelLike] = ("default",),
    *,
    device: str = "auto",
    precision: str = "float32",
    detail: bool = False,
) -> Comparison:
    """Block-average a field, upscale it again, and compare with itself.

    Parameters
    ----------
    truth : array_like (y, x)
        The fine field, NaN where missing; rows and columns that do not fill a block are left out.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the models, else 3.
    models : sequence of str, path, Checkpoint or Model
        As `geofsrcnn.load_model` takes them. Classical methods stand among the baselines, all of which are compared.
    device, precision : str
        As for `evaluate_raster`.
    detail : bool
        Measure structure as well (spectra, SSIM, quantiles, shifts, maps); needs the extra ``report``.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, too few cells are scored, or there is no such model.

    Examples
    --------
    >>> y, x = np.mgrid[0:60, 0:60]
    >>> evaluate_array(np.sin(x / 7) + np.cos(y / 5), 2, ["nearest"]).best_baseline
    'bilinear-bp'
    """
    field = np.asarray(truth, dtype=np.float64)
    if field.ndim != 2:
        raise InputError(f"a field to evaluate on must be (y, x), got {field.ndim} dimensions {field.shape}")
    methods = _load_methods(models, factor, device, precision)
    rows, columns = (n // methods.factor * methods.factor for n in field.shape)
    whole, places = field[None, :rows, :columns], (np.arange(rows) + 0.5, np.arange(columns) + 0.5)
    quantity = Quantity(Kind.FIELD, "")
    return _compare(_Field("the field", "", whole, methods.factor, quantity, NO_RULE, *places), methods, detail=detail)


def evaluate_raster(
    path: str | os.PathLike[str],
    factor: int | None = None,
    models: Sequence[ModelLike] = ("default",),
    *,
    device: str = "auto",
    precision: str = "float32",
    detail: bool = False,
    progress: Progress | None = None,
    **options: Unpack[RasterOptions],
) -> list[Comparison]:
    """Evaluate models on each band of a raster, beside all classical methods.

    A raster of more than 2048 fine rows or columns is scored on nine windows of 768 x 768, evenly spread, so that
    memory is bounded.

    Parameters
    ----------
    path : str or path
        The fine raster.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the models, else 3.
    models : sequence of str, path, Checkpoint or Model
        As `geofsrcnn.load_model` takes them. Classical methods stand among the baselines, all of which are compared.
    device : str
        ``auto`` (CUDA if there is one), ``cpu``, ``cuda``, ``cuda:N``.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the networks.
    detail : bool
        Measure structure as well (spectra, SSIM, quantiles, shifts, maps); needs the extra ``report``.
    progress : callable, optional
        Called with fields done and all of them (`count_fields`), before a window is read and after each of them; what
        it raises ends the evaluation.
    **options
        ``bidx``, ``nodata``, ``driver``, ``inside``, ``subdataset``, ``crs``, ``alpha``, ``sidecars`` and ``kinds``, as
        for `geofsrcnn.UpscaleOptions`.

    Returns
    -------
    list of Comparison
        One a band; bands in which too few cells are scored, or that are constant, are left out.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, the raster cannot be read, or there is no such model.

    Warns
    -----
    GeofsrcnnWarning
        If a band is left out.
    """
    from geofsrcnn.formats.bands import quantities_with_classes

    settings = UpscaleOptions.of(options)
    methods = _load_methods(models, factor, device, precision)
    results = []
    with open_raster_within(local_path(path), settings, _INSTEAD, allow_classes=True) as source, source.block_cache():
        quantities = quantities_with_classes(source, settings.kinds or {})
        windows = _windows(source.shape, methods.factor)
        together = _read_together(source, quantities, methods, windows)
        counter = _Counter(progress, len(source.bands) * len(windows) * len(methods))
        for index, (band, quantity) in enumerate(zip(source.bands, quantities, strict=True)):
            counter.reach(index * len(windows) * len(methods))
            try:
                field = _read_field(source, index, quantity, methods.factor, windows, counter.show)
                field = replace(field, index=index, together=together)
                result = _compare(field, methods, detail=detail, each_field=counter.add)
            except TooFewCells as error:
                warn("W-CELLS", f"left out: {error}")
                continue
            results.append(replace(result, file=os.fspath(path), band=band.index))
        counter.reach(counter.total)
    return results


def count_fields(
    path: str | os.PathLike[str], factor: int | None, models: Sequence[Model], **options: Unpack[RasterOptions]
) -> int:
    """Count the fine fields that an evaluation of a raster compares: one a band, window and method.

    Parameters
    ----------
    path, factor, models, **options
        As for `evaluate_raster`; models are loaded already.

    Returns
    -------
    int

    Raises
    ------
    UsageError, InputError, ModelError
        As of `evaluate_raster`.
    """
    methods = _load_methods(models, factor)
    settings = UpscaleOptions.of(options)
    with open_raster_within(local_path(path), settings, _INSTEAD, allow_classes=True) as source:
        return len(source.bands) * len(_windows(source.shape, methods.factor)) * len(methods)


class _Counter:
    """Counts the fields of an evaluation, and reports each."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.total = total
        self._progress, self._done = progress, 0

    def show(self) -> None:
        if self._progress is not None:
            self._progress(self._done, self.total)

    def reach(self, done: int) -> None:
        """Go on from here, whatever was left out."""
        self._done = done
        self.show()

    def add(self) -> None:
        self.reach(self._done + 1)


def chosen_bands(path: str | os.PathLike[str]) -> list[int]:
    """The first and the middle band of a raster: enough to judge a series by."""
    from geofsrcnn.formats.raster import RasterSource

    with RasterSource(path) as source:
        indexes = [band.index for band in source.bands]
    return sorted({indexes[0], indexes[len(indexes) // 2]})


def _load_methods(
    models: Sequence[ModelLike], factor: int | None, device: str = "auto", precision: str = "float32"
) -> _Methods:
    """Load all methods before anything is read."""
    networks: list[Model] = []
    for model in models:
        loaded = load_model(model, factor, device=device, precision=precision)
        refuse_pairs(loaded, "evaluate it on coarse and fine fields of the same times (evaluate-pairs)")
        factor = loaded.factor
        if loaded.checkpoint is not None:  # classical methods are compared anyway
            networks.append(loaded)
    factor = DEFAULT_FACTOR if factor is None else factor
    names = unique_names([printable(each.name) for each in networks], {"truth", *CLASSICAL})
    return _Methods(factor, dict(zip(names, networks, strict=True)), _load_classical(factor))


@cache
def _load_classical(factor: int) -> dict[str, Model]:
    """Load all classical methods, once for all that they are compared on."""
    return {method: load_model(method, factor) for method in CLASSICAL}


def _read_field(
    source: RasterSource,
    index: int,
    quantity: Quantity,
    factor: int,
    windows: Sequence[Window],
    each_window: Callable[[], None],
) -> _Field:
    """One band on all windows."""
    band, truth = source.bands[index], []
    for window in windows:
        each_window()
        truth.append(source.read(window, slice(index, index + 1)).with_nan()[0])
    shown, affine = windows[len(windows) // 2], source.grid.affine
    y, x = np.arange(shown.y0, shown.y1) + 0.5, np.arange(shown.x0, shown.x1) + 0.5
    upright = affine is not None and affine.b == affine.d == 0
    if affine is not None and upright:
        y, x = affine.e * y + affine.f, affine.a * x + affine.c
    crs = source.grid.crs.to_wkt() if upright and source.grid.crs is not None else ""
    name = f"{printable(source.path.name)} band {band.index}"
    fields = np.stack(truth)
    rule = rule_of_band(source, index, band.index, quantity, band.packing, factor)
    rule = replace(rule, divisor=1, watched=False)  # totals are judged by the means of blocks
    terrains = _terrains(source, band, windows) if quantity.kind is Kind.FIELD else []
    return _Field(name, band.unit or "", fields, factor, quantity, rule, y, x, crs, terrains=terrains)


def _terrains(source: RasterSource, band: Band, windows: Sequence[Window]) -> list[Terrain]:
    """The cells of windows, if the band holds elevations."""
    words = " ".join([band.description or "", *band.tags.values(), source.path.stem])
    found = (terrain_of(source.grid, window, words, band.unit or "") for window in windows)
    return [terrain for terrain in found if terrain is not None]


def _read_together(
    source: RasterSource, quantities: Sequence[Quantity], methods: _Methods, windows: Sequence[Window]
) -> list[Array]:
    """Coarse values ``(band, y, x)`` of all bands on all windows, if some model takes them together; else none."""
    from geofsrcnn.formats.bands import check_joint

    joint = [model for model in methods.networks.values() if model.upsampler and model.upsampler.channels > 1]
    for model in joint:
        check_joint(source, quantities, model)
    bands = slice(0, len(source.bands))
    return [block_mean(source.read(each, bands).with_nan(), methods.factor) for each in windows] if joint else []


def _windows(shape: tuple[int, int, int], factor: int) -> list[Window]:
    """The whole raster, or windows evenly spread over it, in whole blocks."""
    spans = []
    for count in shape[1:]:
        if count <= LARGEST:
            spans.append([(0, count // factor * factor)])
        else:
            starts = [round(i * (count - WINDOW) / (WINDOWS - 1)) for i in range(WINDOWS)]
            spans.append([(start, start + WINDOW // factor * factor) for start in starts])
    return [Window(y0, y1, x0, x1) for y0, y1 in spans[0] for x0, x1 in spans[1]]


def _compare(
    field: _Field, methods: _Methods, *, detail: bool, each_field: Callable[[], None] = lambda: None
) -> Comparison:
    """Score all methods on a band.

    Raises
    ------
    TooFewCells
        If it cannot be scored.
    """
    factor = field.factor
    if field.rule.repeats:
        coarse = np.stack([block_mode(each, factor) for each in field.truth])
    elif field.rule.value_period:
        coarse = _mean_direction(field.truth, factor, field.rule)
    else:
        coarse = block_mean(field.truth, factor)
    scored = np.stack([scored_mask(np.isfinite(each), factor) for each in coarse])
    count = int(scored.sum())
    if count < MIN_CELLS:
        raise TooFewCells(
            f"too few cells to judge by: {field.name} has {count} at least {MARGIN} coarse cells from edges and gaps, "
            f"{MIN_CELLS} are needed: take a larger raster or a smaller factor="
        )
    if field.rule.repeats:
        return _compare_classes(field, coarse, scored)
    extent = float(field.truth[scored].min()), float(field.truth[scored].max())
    subject = Subject(
        field.name, field.unit, factor, field.y, field.x, extent, period=field.rule.value_period, crs=field.crs
    )
    comparer = Comparer(
        subject,
        models=tuple(methods.networks),
        times=len(coarse),
        show=field.shown,
        tiles=TILES,
        detail=detail and not field.rule.value_period,
    )
    fits = {name: Fit() for name, model in methods.networks.items() if model.gives_error}
    for number, (truth, given, where) in enumerate(zip(field.truth, coarse, scored, strict=True)):
        together = field.together[number] if field.together else None
        terrain = field.terrains[number] if field.terrains else None
        estimates = _estimates(given, together, field, methods, each_field, fits, truth, where)
        comparer.add(
            truth[None], estimates, where=where[None], dates=[], coarse=given[None], conserved=True, terrain=terrain
        )
    calibrations = {name: found for name, fit in fits.items() if (found := fit.finish()) is not None}
    result = replace(comparer.finish(), times=1, windows=len(coarse), calibrations=calibrations)
    if min(scores["rmse"] for scores in result.scores.values()) <= EXACT * float(field.truth[scored].std()):
        raise TooFewCells(f"nothing to judge by: {field.name} is constant, or a plane, where it is scored")
    return result


def _estimates(
    coarse: Array,
    together: Array | None,
    field: _Field,
    methods: _Methods,
    each_field: Callable[[], None],
    fits: Mapping[str, Fit],
    truth: Array,
    where: Mask,
) -> Iterator[tuple[str, Array]]:
    """Fine fields of all methods, as upscaling gives them, each once the one before is scored.

    Expected errors of those that give them are held against the truth on the way. Models that take bands together get
    all of them.
    """
    extent = Window(0, coarse.shape[0], 0, coarse.shape[1])
    for name, model in {**methods.networks, **methods.classical}.items():
        storage = Storage.plain(coarse.dtype, raw=model.upsampler is None)
        task = ArrayTask(model, [storage], [field.rule], name=field.name)
        if together is not None and model.upsampler is not None and model.upsampler.channels > 1:
            rules = [field.rule if band == field.index else NO_RULE for band in range(len(together))]
            fine = replace(task, rules=rules).upscale(together, extent, workers_of(None))[field.index][None]
        elif name in fits:
            fine, expected = task.upscale_with_errors(coarse[None], extent, workers_of(None))
            fits[name].add(expected[0], _distance(fine[0], truth, field.rule.value_period), where)
        else:
            fine = task.upscale(coarse[None], extent, workers_of(None))
        yield name, fine
        each_field()


def _distance(a: Array, b: Array, period: float) -> Array:
    """Size of the difference; of directions the shorter way round."""
    difference = a - b
    return np.abs(shorter_way(difference, period) if period else difference)


def _mean_direction(truth: Array, factor: int, rule: Rule) -> Array:
    """Direction of the mean unit vector of each block."""
    angles = mean_direction(truth * (2 * np.pi / rule.value_period), factor)
    start = start_of(rule, truth, np.isfinite(truth))
    result: Array = (angles * rule.value_period / (2 * np.pi) - start) % rule.value_period + start
    return result


def _compare_classes(field: _Field, coarse: Array, scored: Mask) -> Comparison:
    """Share of the cells that get their class; categories are repeated, so no other method competes."""
    right = (repeat(coarse, field.factor) == field.truth)[scored]
    none = np.zeros(0)
    share = {"nearest": {"accuracy": float(right.mean())}}
    return Comparison(
        field.name, field.unit, field.factor, 1, right.size, ("", ""), (), share, none, {}, none, {}, None,
        windows=len(coarse),
    )  # fmt: skip
