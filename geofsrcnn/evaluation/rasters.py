"""Is it any good on my data? A raster is block-averaged, upscaled, and compared with itself, beside classical methods.

Fine cells count that lie at least `MARGIN` coarse cells from edges and from missing cells.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array
from geofsrcnn.engine.arrays import upscale_array
from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.evaluation.comparer import Comparer
from geofsrcnn.evaluation.scores import MARGIN, Errors, geometric_mean, scored_mask
from geofsrcnn.files.paths import local_path
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import DEFAULT_FACTOR, Model, ModelLike, load_model, refuse_pairs
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.fill import fill
from geofsrcnn.values.kernels import BICUBIC, CLASSICAL, resample

if TYPE_CHECKING:
    from geofsrcnn.evaluation.comparison import Comparison

MIN_CELLS = 400
"""Fine cells that must count."""

LARGEST = 2048
"""A raster of more fine rows and columns than this is judged on windows."""

WINDOWS, WINDOW = 3, 768
"""So many windows along each side, of so many fine cells."""

SAME = 1e-3
"""Relative difference of two RMSE below which neither method is called better."""


class TooFewCells(InputError):  # noqa: N818  a kind of InputError
    """Too few cells count, or they are all the same."""


@dataclass(frozen=True)
class Score:
    """How far a method is from the truth, in the field's units.

    Parameters
    ----------
    rmse, mae : float
        Root mean squared and mean absolute error.
    bias : float
        Mean error, estimate less truth.
    """

    rmse: float
    mae: float
    bias: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all methods on one field.

    Parameters
    ----------
    raster : str
        The file, or ``""``.
    band : int
        From 1.
    unit : str
        Of the band, if the file says.
    factor : int
        Fine cells along one side of a coarse cell.
    cells : int
        Fine cells that counted.
    windowed : bool
        Whether windows were judged rather than the whole raster.
    models : dict of str to Score
        The models, in the order given.
    classical : dict of str to Score
        All of `geofsrcnn.values.kernels.CLASSICAL`.
    """

    raster: str
    band: int
    unit: str
    factor: int
    cells: int
    windowed: bool
    models: dict[str, Score]
    classical: dict[str, Score]

    @property
    def name(self) -> str:
        """File and band."""
        return f"{Path(self.raster).name} band {self.band}" if self.raster else f"band {self.band}"

    @property
    def best_classical(self) -> str:
        """The classical method with the smallest RMSE."""
        return min(self.classical, key=lambda method: self.classical[method].rmse)

    @property
    def best_model(self) -> str:
        """The model with the smallest RMSE."""
        return min(self.models, key=lambda method: self.models[method].rmse)

    def to_best(self, model: str) -> float:
        """A model's RMSE divided by the best classical method's; below 1 the model is better."""
        return self.models[model].rmse / self.classical[self.best_classical].rmse

    def to_bicubic(self, model: str) -> float:
        """A model's RMSE divided by bicubic's (a = -0.75, as in OpenCV and torch)."""
        return self.models[model].rmse / self.classical[BICUBIC].rmse

    def verdict(self) -> str:
        """One sentence: what is best, by how much, and what follows."""
        model, method = self.best_model, self.best_classical
        ratio, share = self.to_best(model), 100 * (1 - self.to_bicubic(model))
        bicubic = f"{abs(share):.1f} % {'below' if share >= 0 else 'above'} bicubic"
        if ratio < 1 - SAME:
            return (
                f"{model} is best: RMSE {100 * (1 - ratio):.1f} % below {method}, the best of {len(CLASSICAL)} "
                f"classical methods, and {bicubic}."
            )
        if ratio <= 1 + SAME:
            return f"{model} is no better than {method}, the best classical method here, and {bicubic}."
        return (
            f"{method} is best: RMSE {100 * (1 - 1 / ratio):.1f} % below {model} ({bicubic}); on data like this take "
            f"--model {method}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, ratios and verdict included."""
        return {
            **asdict(self),
            "best_classical": self.best_classical,
            "to_best_classical": {m: self.to_best(m) for m in self.models},
            "to_bicubic": {m: self.to_bicubic(m) for m in self.models},
            "verdict": self.verdict(),
        }


def evaluate_array(
    truth: npt.ArrayLike,
    factor: int | None = None,
    models: Sequence[ModelLike] = ("default",),
    *,
    device: str = "auto",
    precision: str = "float32",
) -> Evaluation:
    """Block-average a field, upscale it again, and compare with itself.

    Parameters
    ----------
    truth : array_like (y, x)
        The fine field, NaN where missing; rows and columns that do not fill a block are left out.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; that of the models, else 3.
    models : sequence of str, path, Checkpoint or Model
        As `geofsrcnn.load_model` takes them.
    device, precision : str
        The same.

    Returns
    -------
    Evaluation

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, too few cells count, or there is no such model.

    Examples
    --------
    >>> y, x = np.mgrid[0:60, 0:60]
    >>> evaluation = evaluate_array(np.sin(x / 7) + np.cos(y / 5), 2, ["bilinear"])
    >>> evaluation.best_classical
    'bilinear-bp'
    """
    field = np.asarray(truth, dtype=np.float64)
    if field.ndim != 2:
        raise InputError(f"a field to evaluate on must be (y, x), got {field.ndim} dimensions {field.shape}")
    names, factor = _named(models, factor, device, precision)
    return _evaluate(iter([field]), factor, names, _About())


def evaluate_raster(
    path: str | os.PathLike[str],
    factor: int | None = None,
    models: Sequence[ModelLike] = ("default",),
    *,
    bidx: Sequence[int] = (),
    nodata: float | None = None,
    driver: str | None = None,
    device: str = "auto",
    precision: str = "float32",
    each_part: Callable[[], None] = lambda: None,
) -> list[Evaluation]:
    """Evaluate models on each band of a raster.

    A raster of more than 2048 fine rows or columns is judged on nine windows of 768 x 768, evenly spread, so that
    memory is bounded.

    Parameters
    ----------
    path : str or path
        The fine raster.
    factor, models, device, precision
        As for `evaluate_array`.
    bidx : sequence of int
        Bands, from 1; all if empty.
    nodata : float, optional
        Stored value of missing cells, instead of the file's.
    driver : str, optional
        GDAL driver, if it is no GeoTIFF.
    each_part : callable
        Called before each band and window; what it raises ends the evaluation.

    Returns
    -------
    list of Evaluation
        One a band; bands in which too few cells count, or that are constant, are left out.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, the raster cannot be read, or there is no such model.

    Warns
    -----
    GeofsrcnnWarning
        If a band is left out.
    """
    from geofsrcnn.formats.raster import RasterSource

    names, factor = _named(models, factor, device, precision)
    found = local_path(path)
    results = []
    with RasterSource(found, driver=driver, nodata=nodata, bidx=tuple(bidx)) as source, source.block_cache():
        _, rows, columns = source.shape
        windows = _windows(rows, columns)

        def parts(index: int) -> Iterator[Array]:
            for window in windows:
                each_part()
                cells = source.read(window, slice(index, index + 1))
                yield np.where(cells.valid, cells.values.astype(np.float64), np.nan)[0]

        for index, band in enumerate(source.bands):
            about = _About(os.fspath(found), band.index, band.unit or "", len(windows) > 1)
            try:
                results.append(_evaluate(parts(index), factor, names, about))
            except TooFewCells as error:
                warn("W-CELLS", f"left out: {error}")
    return results


COMPARED = {
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": BICUBIC,
    "lanczos": "lanczos",
    "lanczos-bp": "lanczos-bp",
}
"""Classical methods of a report, by the names there."""

DRAWN = 1024
"""Fine rows and columns that are compared for a report, in the raster's middle."""


def compare_raster(
    path: str | os.PathLike[str],
    factor: int | None = None,
    models: Sequence[ModelLike] = ("default",),
    *,
    bidx: Sequence[int] = (),
    nodata: float | None = None,
    driver: str | None = None,
    device: str = "auto",
    precision: str = "float32",
    each_part: Callable[[], None] = lambda: None,
) -> list[Comparison]:
    """All measures and maps of models and classical methods on each band of a raster, of its middle if it is large.

    Arguments, errors and warnings as for `evaluate_raster`.

    Returns
    -------
    list of Comparison
        One a band.
    """
    from geofsrcnn.formats.raster import RasterSource

    names, factor = _named(models, factor, device, precision)
    found = local_path(path)
    results = []
    with RasterSource(found, driver=driver, nodata=nodata, bidx=tuple(bidx)) as source, source.block_cache():
        sizes = [min(n, DRAWN) // factor * factor for n in source.shape[1:]]
        top, left = ((n - size) // 2 for n, size in zip(source.shape[1:], sizes, strict=True))
        window = Window(top, top + sizes[0], left, left + sizes[1])
        affine = source.grid.affine
        x, y = (np.arange(size) + start + 0.5 for size, start in zip(sizes[::-1], (left, top), strict=True))
        if affine is not None and affine.b == affine.d == 0:
            x, y = affine.a * x + affine.c, affine.e * y + affine.f
        for index, band in enumerate(source.bands):
            each_part()
            cells = source.read(window, slice(index, index + 1))
            truth = np.where(cells.valid, cells.values.astype(np.float64), np.nan)[0]
            shown = f"{printable(found.name)} band {band.index}"
            coarse = block_mean(truth, factor)
            where = scored_mask(np.isfinite(coarse), factor)
            extent = (float(truth[where].min()), float(truth[where].max())) if where.any() else (0.0, 0.0)
            if where.sum() < MIN_CELLS or extent[0] == extent[1]:
                warn("W-CELLS", f"left out: {shown} has too few cells that count, or is constant")
                continue
            comparer = Comparer(shown, band.unit or "", factor, models=tuple(names), y=y, x=x, extent=extent, times=1)
            estimates = _estimates(coarse, factor, names, COMPARED)
            wanted = np.where(where, truth, np.nan)[None]
            made = {name: fine[None] for name, fine in estimates}
            comparer.add(wanted, made, stamps=[], coarse=coarse[None], conserved=True)
            result = comparer.finish()
            if min(score["rmse"] for score in result.scores.values()) <= 1e-12 * max(map(abs, extent)):
                warn("W-CELLS", f"left out: a method gives {shown} exactly: nothing to judge by")
                continue
            results.append(result)
    return results


def chosen_bands(path: str | os.PathLike[str]) -> list[int]:
    """The first and the middle band of a raster: enough to judge a series by."""
    from geofsrcnn.formats.raster import RasterSource

    with RasterSource(path) as source:
        indexes = [band.index for band in source.bands]
    return sorted({indexes[0], indexes[len(indexes) // 2]})


def domain_scores(evaluations: dict[str, list[Evaluation]], model: str) -> dict[str, Any]:
    """What a model card says of fields that a model was not trained on.

    Parameters
    ----------
    evaluations : dict of str to list of Evaluation
        Fields of each domain.
    model : str
        Name of the model in the evaluations.

    Returns
    -------
    dict
        Ratios to bicubic (geometric means) of the model and of every classical method for each domain, and of the
        model to the best classical method of each field over all.
    """
    every = [evaluation for fields in evaluations.values() for evaluation in fields]

    def ratios(fields: list[Evaluation]) -> dict[str, float]:
        methods = {"this model": [e.to_bicubic(model) for e in fields]}
        for method in CLASSICAL:
            methods[method] = [e.classical[method].rmse / e.classical[BICUBIC].rmse for e in fields]
        return {method: round(geometric_mean(values), 3) for method, values in methods.items()}

    return {
        "what": "RMSE divided by bicubic's (a = -0.75), geometric means over fields of sources not trained on",
        "fields": len(every),
        "of_bicubic": round(geometric_mean([e.to_bicubic(model) for e in every]), 4),
        "of_best_classical": round(geometric_mean([e.to_best(model) for e in every]), 4),
        "worst_of_best_classical": round(max(e.to_best(model) for e in every), 4),
        "domains": {
            f"{domain} ({len(fields)})": ratios(fields) for domain, fields in sorted(evaluations.items()) if fields
        },
    }


@dataclass(frozen=True)
class _About:
    """What is evaluated."""

    raster: str = ""
    band: int = 1
    unit: str = ""
    windowed: bool = False


def _named(
    models: Sequence[ModelLike], factor: int | None, device: str, precision: str
) -> tuple[dict[str, Model], int]:
    """Models by the name that is shown, and their factor; loaded and checked before anything is read."""
    named: dict[str, Model] = {}
    for model in models:
        loaded = load_model(model, factor, device=device, precision=precision)
        refuse_pairs(loaded, "evaluate it on coarse and fine fields of the same times (evaluate-pairs)")
        factor = loaded.factor
        name, number = printable(loaded.name), 2
        while name in named or name == "truth":  # which has its own place in reports
            name, number = f"{printable(loaded.name)} ({number})", number + 1
        named[name] = loaded
    return named, DEFAULT_FACTOR if factor is None else factor


def _windows(rows: int, columns: int) -> list[Window]:
    """The whole raster, or windows evenly spread over it."""
    spans = []
    for count in (rows, columns):
        if count <= LARGEST:
            spans.append([(0, count)])
        else:
            starts = [round(i * (count - WINDOW) / (WINDOWS - 1)) for i in range(WINDOWS)]
            spans.append([(start, start + WINDOW) for start in starts])
    return [Window(y0, y1, x0, x1) for y0, y1 in spans[0] for x0, x1 in spans[1]]


def _evaluate(
    parts: Iterator[Array],
    factor: int,
    models: dict[str, Model],
    about: _About,
) -> Evaluation:
    errors = {name: Errors() for name in (*models, *(m for m in CLASSICAL if m not in models))}
    largest = 0.0
    for part in parts:
        rows, columns = (n // factor * factor for n in part.shape)
        truth = part[:rows, :columns]
        coarse = block_mean(truth, factor)
        valid = np.isfinite(coarse)
        where = scored_mask(valid, factor)
        if not where.any():
            continue
        largest = max(largest, float(np.abs(truth[where]).max()))
        simple = {method: method for method in CLASSICAL if method not in models}
        for name, fine in _estimates(coarse, factor, models, simple):
            errors[name].add(fine, truth, where)
    cells = next(iter(errors.values())).count
    shown = f"{printable(about.raster)} band {about.band}" if about.raster else "the field"
    if cells < MIN_CELLS:
        raise TooFewCells(
            f"too few cells to judge by: {shown} has {cells} at least {MARGIN} coarse cells from edges and missing "
            f"cells, {MIN_CELLS} are needed: take a larger raster or a smaller --factor"
        )
    if min(e.rmse for e in errors.values()) <= 1e-12 * largest:
        raise TooFewCells(f"nothing to judge by: {shown} is constant, or a plane, where it counts")
    scores = {name: Score(e.rmse, e.mae, e.bias) for name, e in errors.items()}
    return Evaluation(
        about.raster,
        about.band,
        about.unit,
        factor,
        cells,
        about.windowed,
        {name: scores[name] for name in models},
        {method: scores[method] for method in CLASSICAL},
    )


def _estimates(
    coarse: Array, factor: int, models: dict[str, Model], simple: dict[str, str]
) -> Iterator[tuple[str, Array]]:
    """Fine fields of models, then of classical methods, by the names they are given."""
    for name, model in models.items():
        yield name, upscale_array(coarse, factor, model)
    filled = fill(coarse[None], np.isfinite(coarse)[None], 16)[0]
    for name, method in simple.items():
        if name not in models:
            yield name, resample(filled, factor, method)
