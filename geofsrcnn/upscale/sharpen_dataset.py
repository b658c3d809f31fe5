"""xarray objects made finer by a guide: an object of the fine resolution that shows the same ground."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
import xarray as xr

from geofsrcnn.cf.attributes import history
from geofsrcnn.cf.grid import find_grid
from geofsrcnn.cf.refine import Refinement, refine
from geofsrcnn.engine.arrays import ArraySource
from geofsrcnn.engine.base import Source
from geofsrcnn.engine.guided_source import guide_sources
from geofsrcnn.errors import UsageError, printable
from geofsrcnn.networks.catalog import Model, ModelLike, check_options, load_model
from geofsrcnn.networks.guided import guided_model
from geofsrcnn.options import LEARNING_MINUTES, FieldOptions, UpscaleOptions
from geofsrcnn.training.guided_verdict import ALONE, Verdict
from geofsrcnn.training.own_scene import MOST_BANDS, Lesson, learn_scene
from geofsrcnn.upscale.dataset import as_dataarray, as_dataset, follow_plan, upscale_values
from geofsrcnn.upscale.fields import Field
from geofsrcnn.upscale.place_guide import FieldGuide, Guide, PlacedGuide
from geofsrcnn.upscale.sharpen import check_cells, check_minutes, warn_of_shift


def sharpen_dataset(
    dataset: xr.Dataset,
    guide: xr.Dataset | xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    minutes: float = LEARNING_MINUTES,
    always: bool = False,
    variables: Iterable[str] | None = None,
    each_step: Callable[[float], None] = lambda _: None,
    **options: Unpack[FieldOptions],
) -> tuple[xr.Dataset, dict[str, Verdict]]:
    """Sharpen the fields of a dataset by a finer guide of the same ground, such as a climate field by elevation.

    Each field learns on itself, one scale coarser, where it is the truth, from up to six of its slices (times, levels);
    parts are held out and say how well that goes. A field that the guide does not help comes out as it would without.
    Categories and directions come out as by `upscale_dataset`, and so does all else: coordinates, bounds, attributes.

    Parameters
    ----------
    dataset : Dataset
        Fields of any dimensions besides the horizontal ones, in memory or of dask chunks, as for `upscale_dataset`.
    guide : Dataset or DataArray
        All its fields of numbers count, and each of their slices, as bands, in any units; NaN where missing. Where its
        cells are those of the finer grid, in either direction, it is taken as it is, elsewhere interpolated linearly,
        or averaged if it is twice as fine or more; its CRS may be another if both state theirs. One map guides all
        times of a field; of a guide with several times along the field's own dimension that of the same time does.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; by the cells of the guide if not given.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`; a file that `geofsrcnn.sharpen_file` wrote starts from what was learned then.
    minutes : float
        Learn on each field for at most so long; 0 applies what the model can already.
    always : bool
        Follow the guide even where it does not help.
    variables : iterable of str, optional
        Fields to sharpen; the others on the grid are left out. All if not given.
    each_step : callable
        Called before each step of the learning with the share of a field's that is done; what it raises ends the run.
    **options
        ``x``, ``y``, ``value_range``, ``kinds``, ``tile_size``, ``threads``, ``device`` and ``precision``, as for
        `geofsrcnn.upscale_dataset`.

    Returns
    -------
    tuple of Dataset and dict of str to Verdict
        The finer dataset, lazy where the input was (the learning is not), and of each field that was sharpened how well
        the guide helps; in words it is the attribute ``geofsrcnn_verdict`` of the field too, beside
        ``geofsrcnn_applied`` and ``geofsrcnn_guide``.

    Raises
    ------
    InputError
        If there is no horizontal grid, a field cannot be upscaled, or the guide does not fit the dataset.
    UsageError
        If an argument is wrong, or no field can be sharpened.
    ModelError
        If there is no such model, or it cannot follow a guide.
    """
    if not isinstance(dataset, xr.Dataset):
        raise UsageError(f"a Dataset is needed, got {type(dataset).__name__}: sharpen_dataarray takes a DataArray")
    check_minutes(minutes)
    given = UpscaleOptions.of({**options, "variables": variables})
    finer = Guide(_as_dataset(guide), given.x, given.y)
    grid = find_grid(dataset, variables=given.variables, x=given.x, y=given.y)
    factor = finer.find_factor(dataset, grid) if factor is None else factor
    loaded = load_model(model, factor, device=given.device, precision=given.precision, overshoot=given.overshoot)
    check_options(loaded, given, guided=True)
    guided_model(loaded)  # refuses those that cannot
    plan = refine(dataset, loaded.factor, variables=given.variables, x=given.x, y=given.y, kinds=given.kinds)
    placed = finer.place(dataset, plan)
    check_cells(placed.cells, loaded.factor, ", ".join(map(printable, placed.fields)), "the dataset")
    run = _Run(dataset, plan, loaded, given, placed, minutes, always, each_step)
    result = follow_plan(dataset, plan, loaded, run.sharpen)
    if not run.verdicts:
        raise UsageError("all fields are categories or directions: a guide tells nothing of them")
    for name, verdict in run.verdicts.items():
        result[name].attrs |= _notes(run.guide, verdict)
    words = history(dataset.attrs.get("history"), loaded.name, loaded.digest, loaded.factor, str(run.guide))
    result.attrs["history"] = words
    return result, run.verdicts


def sharpen_dataarray(
    array: xr.DataArray,
    guide: xr.Dataset | xr.DataArray,
    factor: int | None = None,
    model: ModelLike = "default",
    *,
    minutes: float = LEARNING_MINUTES,
    always: bool = False,
    each_step: Callable[[float], None] = lambda _: None,
    **options: Unpack[FieldOptions],
) -> tuple[xr.DataArray, Verdict]:
    """Sharpen a DataArray by a finer guide of the same ground: one field, with its coordinates.

    Parameters
    ----------
    array : DataArray
        A field of any dimensions besides the horizontal ones. Missing cells are NaN.
    guide : Dataset or DataArray
        As for `geofsrcnn.sharpen_dataset`.
    factor : int, optional
        Fine cells along one side of a coarse cell, 2 to 8; by the cells of the guide if not given.
    model : str, path, Checkpoint or Model
        As for `geofsrcnn.load_model`.
    minutes : float
        Learn for at most so long; 0 applies what the model can already.
    always : bool
        Follow the guide even where it does not help.
    each_step : callable
        Called before each step of the learning with the share that is done; what it raises ends the run.
    **options
        ``x``, ``y``, ``value_range``, ``kinds``, ``tile_size``, ``threads``, ``device`` and ``precision``, as for
        `geofsrcnn.upscale_dataset`.

    Returns
    -------
    tuple of DataArray and Verdict
        The field on the finer grid, and how well the guide helps, in words the attribute ``geofsrcnn_verdict`` too.

    Raises
    ------
    InputError, UsageError, ModelError
        As for `geofsrcnn.sharpen_dataset`.
    """
    if not isinstance(array, xr.DataArray):
        raise UsageError(f"a DataArray is needed, got {type(array).__name__}: sharpen_dataset takes a Dataset")
    dataset, name = as_dataset(array)
    whole, verdicts = sharpen_dataset(
        dataset,
        guide,
        factor,
        model,
        minutes=minutes,
        always=always,
        variables=[name],
        each_step=each_step,
        **options,
    )
    return as_dataarray(whole, name, array), verdicts[name]


def _as_dataset(guide: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(guide, xr.DataArray):
        return as_dataset(guide)[0]
    if not isinstance(guide, xr.Dataset):
        raise UsageError(
            f"guide must be a DataArray or a Dataset, got {type(guide).__name__}: open it with xarray or rioxarray"
        )
    return guide


@dataclass
class _Run:
    """Fields of a dataset sharpened one after the other.

    Parameters
    ----------
    dataset : Dataset
        The coarse one.
    plan : Refinement
        What becomes of each variable.
    model : Model
        The one to start from.
    options : UpscaleOptions
        How it is upscaled.
    guide : PlacedGuide
        On the finer grid.
    minutes, always, each_step
        As for `sharpen_dataset`.
    verdicts : dict of str to Verdict
        Of the fields that were sharpened, so far.
    """

    dataset: xr.Dataset
    plan: Refinement
    model: Model
    options: UpscaleOptions
    guide: PlacedGuide
    minutes: float
    always: bool
    each_step: Callable[[float], None]
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def sharpen(self, field: Field, data: Any) -> tuple[Any, None]:
        """Fine values of a field, of its values ``(..., y, x)`` as they are stored."""
        model, beside = self.model, None
        if not field.repeats and not field.rule(self.options.value_range).value_period:
            beside = self.guide.beside(self.dataset[field.name])
            lesson = self._learn(field, data, beside)
            self.verdicts[field.name] = lesson.verdict
            model, beside = lesson.model, None if lesson.verdict.chosen == ALONE else beside
        fine, _ = upscale_values(field, data, self.plan, model, self.options, beside)
        return fine, None

    def _learn(self, field: Field, data: Any, beside: FieldGuide) -> Lesson:
        """Learn on some slices of a field, and say what a user should know of the guide."""
        count = math.prod(data.shape[:-2])
        chosen = [int(n) for n in np.linspace(0, count - 1, min(count, MOST_BANDS)).round()]
        places = [np.unravel_index(number, data.shape[:-2]) for number in chosen]
        slices = np.stack([np.asarray(data[place]) for place in places])
        source: Source = ArraySource(slices, [field.storage], None, printable(field.name))
        names = {n: self._name(field, place) for n, place in enumerate(places)}
        lesson = learn_scene(
            self.model,
            source,
            guide_sources(beside.bands, data.shape[:-2], beside.time_axis(field.dims), chosen),
            names,
            minutes=self.minutes,
            always=self.always,
            each_step=self.each_step,
        )
        warn_of_shift(lesson.verdict, f"that of {printable(field.name)}", "its coordinates")
        return lesson

    def _name(self, field: Field, place: Sequence[Any]) -> str:
        """The name of a slice of a field."""
        lead = list(zip(field.dims[:-2], place, strict=True))
        labels = [
            f"{dim} {self.dataset[dim].to_numpy()[number] if dim in self.dataset.variables else number}"
            for dim, number in lead
            if self.dataset.sizes[dim] > 1
        ]
        return printable(", ".join([field.name, *labels]))


def _notes(guide: PlacedGuide, verdict: Verdict) -> dict[str, str]:
    """Attributes that say what a field follows, and how well that went."""
    return {
        "geofsrcnn_guide": str(guide),
        "geofsrcnn_applied": verdict.chosen,
        "geofsrcnn_verdict": verdict.words(),
    }
