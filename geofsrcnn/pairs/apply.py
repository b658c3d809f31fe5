"""Apply a network that was trained on pairs: coarse fields in, targets on its fine grid out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.delayed import delayed

from geofsrcnn._types import Array, Progress
from geofsrcnn.cf.attributes import history
from geofsrcnn.cf.dates import Step, day_of_year
from geofsrcnn.cf.grid import CFGrid
from geofsrcnn.cf.times import decode_times
from geofsrcnn.engine.base import Sink
from geofsrcnn.engine.lazy import ready_model
from geofsrcnn.engine.run import torch_threads
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model, ModelLike, load_model
from geofsrcnn.networks.checkpoint import Checkpoint
from geofsrcnn.pairs.dimensions import split_levels
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK, Fields, find_fields, join_fields
from geofsrcnn.pairs.interpolate import regrid, share_outside
from geofsrcnn.pairs.match import match_predictor
from geofsrcnn.pairs.match_times import common_step, common_times
from geofsrcnn.pairs.network import downscale, pairing_of
from geofsrcnn.pairs.pairing import Pairing
from geofsrcnn.pairs.places import Frame, check_known
from geofsrcnn.pairs.quantities import convert
from geofsrcnn.pairs.read import members_of
from geofsrcnn.values.cells import Cells

MANY = 0.001
"""Share of a predictor's values outside what was trained on that is worth a warning."""

MAPPING = "crs"
"""The grid mapping of results that are not on latitudes and longitudes."""


@dataclass(frozen=True)
class Source:
    """Where a predictor's values lie, and what brings them into the units that the model takes.

    Parameters
    ----------
    grid : CFGrid
        Of the field.
    place : Frame
        CRS and units of its coordinates.
    conversion : tuple of float
        Scale and offset.
    """

    grid: CFGrid
    place: Frame
    conversion: tuple[float, float] = (1.0, 0.0)

    def values(self, field: xr.DataArray) -> xr.DataArray:
        """A field, in memory, in the model's units."""
        return convert(field, self.conversion)


@dataclass(frozen=True)
class Downscaling:
    """A network of pairs with the coarse fields that it needs, found and checked.

    Parameters
    ----------
    model : Model
        Of pairs.
    pairing : Pairing
        What stands around its networks.
    fields : list of tuple
        For each predictor its dataset and name.
    indexes : list of list of int
        For each predictor the times that all have.
    conversions : list of tuple of float
        For each predictor scale and offset into the model's units.
    threads : int, optional
        Threads that compute; torch's own number if not given.
    """

    model: Model
    pairing: Pairing
    fields: list[tuple[Fields, str]]
    indexes: list[list[int]]
    conversions: list[tuple[float, float]]
    threads: int | None = None

    @property
    def sources(self) -> list[Source]:
        """Where the predictors are, and how they come into the model's units."""
        return [
            Source(f.grid, f.place, conversion)
            for (f, _), conversion in zip(self.fields, self.conversions, strict=True)
        ]

    @property
    def ensemble(self) -> tuple[str, list[Any]] | None:
        """The dimension and the labels of the members of an ensemble that is run over."""
        every = [fields for fields, _ in self.fields]
        name = next((fields.member for fields in every if fields.member is not None), None)
        return None if name is None else (name, members_of(every))

    @property
    def runs(self) -> int:
        """Members of the ensemble, or 1."""
        return 1 if self.ensemble is None else len(self.ensemble[1])

    @property
    def timed(self) -> tuple[Fields, list[int]]:
        """The first dataset with times, and the times."""
        for (fields, _), index in zip(self.fields, self.indexes, strict=True):
            if fields.time is not None:
                return fields, index
        raise UsageError("the coarse fields have no time axis: add one")

    @property
    def count(self) -> int:
        """Times."""
        return len(self.timed[1])

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns before and after."""
        domain, factor = self.pairing.domain, self.pairing.factor
        return (domain.padded[0] // factor, domain.padded[1] // factor), domain.shape

    @property
    def step(self) -> Step:
        """Distance of times."""
        return common_step([fields for fields, _ in self.fields])

    @property
    def blocks(self) -> int:
        """Blocks of times."""
        return -(-self.count // TIMES_PER_BLOCK)

    @property
    def units(self) -> int:
        """Blocks of times of all members of an ensemble, one member after the other."""
        return self.runs * self.blocks

    @property
    def bands(self) -> int:
        """Horizontal slices of all targets."""
        return self.runs * self.count * len(self.pairing.targets)

    @property
    def coarse_cells(self) -> int:
        """Number of coarse cells, of all targets and times."""
        return self.bands * math.prod(self.shapes[0])

    @property
    def fine_cells(self) -> int:
        """Number of fine cells, of all targets and times."""
        return self.bands * math.prod(self.shapes[1])

    @property
    def fine_bytes(self) -> int:
        """Bytes of all variables, before compression."""
        return self.runs * self.count * len(self.outputs()) * math.prod(self.shapes[1]) * 4

    def part(self, number: int) -> tuple[int, slice]:
        """The member and the times of a unit."""
        member, block = divmod(number, self.blocks)
        return member, slice(block * TIMES_PER_BLOCK, min((block + 1) * TIMES_PER_BLOCK, self.count))

    def run(
        self,
        sink: Sink,
        progress: Progress | None = None,
        share: range | None = None,
        precomputed: Iterator[Cells] | None = None,
    ) -> None:
        """Write all units into a sink, or a share of them, computed here or before.

        A unit's cells are bands of the output, the variables of a time before those of the next.
        """
        rows, columns = self.shapes[1]
        count, own = len(self.outputs()), range(self.units) if share is None else share
        outside = Outside(self.pairing)
        for done, number in enumerate(own, 1):
            member, part = self.part(number)
            if precomputed is None:
                values = self.compute(part, outside, member).reshape(-1, rows, columns)
                cells = Cells(values, np.isfinite(values))
            else:
                cells = next(precomputed)
            first = member * self.count
            bands = slice((first + part.start) * count, (first + part.stop) * count)
            sink.write(Window(0, rows, 0, columns), cells, bands)
            if progress is not None:
                progress(done, len(own))
        if precomputed is None:
            outside.say(-(-self.units // len(own)))

    def seconds(self) -> float:
        """Estimate how long computing takes here, from the first time, computed now."""
        start = time.perf_counter()
        self.compute(slice(0, 1), Outside(self.pairing))
        return (time.perf_counter() - start) * self.count * self.runs

    def memory(self) -> int:
        """Bytes that are under way at the peak, about: float64 fields of a block, of each member and their mean."""
        fields = len(self.outputs()) * (len(self.model.members) + 2) + len(self.fields)
        return min(TIMES_PER_BLOCK, self.count) * fields * math.prod(self.shapes[1]) * 8

    def frame(self) -> xr.Dataset:
        """The result without its targets: coordinates and words."""
        fields, index = self.timed
        domain, times = self.pairing.domain, fields.dataset[fields.time].isel({fields.time: index})
        y, x = domain.names
        words = self.pairing.place.axes()
        kept = {k: v for k, v in times.encoding.items() if k in ("units", "calendar")}
        attrs = {k: v for k, v in times.attrs.items() if k != "bounds"}
        coordinates = {
            "time": xr.Variable("time", times.to_numpy(), attrs, kept),
            y: xr.Variable(y, domain.y, words[0]),
            x: xr.Variable(x, domain.x, words[1]),
        }
        if (ensemble := self.ensemble) is not None:
            name, labels = ensemble
            coordinates[name] = xr.Variable(name, np.asarray(labels), {"standard_name": "realization"})
        mapping = self.pairing.place.mapping()
        return xr.Dataset(
            {} if mapping is None else {MAPPING: xr.Variable((), np.int32(0), mapping)},
            coordinates,
            {"Conventions": "CF-1.11", "history": history(None, self.model.name, self.model.digest, self.model.factor)},
        )

    @property
    def lead(self) -> dict[str, int]:
        """Dimensions before y and x, and their sizes: the members of an ensemble, times."""
        members = {} if self.ensemble is None else {self.ensemble[0]: self.runs}
        return {**members, "time": self.count}

    def outputs(self) -> list[tuple[str, dict[str, str]]]:
        """Names and attributes of the variables: the targets, then, of several members, the spread of each."""
        targets = self.pairing.targets
        placed = {} if self.pairing.place.mapping() is None else {"grid_mapping": MAPPING}
        found = [(target.name, {**target.attrs, **placed}) for target in targets]
        if len(self.model.members) > 1:
            words = f"standard deviation of {len(self.model.members)} networks"
            for target in targets:
                named = f"{words}, {target.attrs.get('long_name', target.name)}"
                units = {k: v for k, v in target.attrs.items() if k == "units"}
                found.append((f"{target.name}_spread", {"long_name": named, **units, **placed}))
        return found

    def compute(self, part: slice, outside: Outside | None = None, member: int = 0) -> Array:
        """Some times of a member, ``(time, output, y, x)`` float32; NaN where no value was ever seen."""
        coarse = [
            each.at(name, index[part], member).load()
            for (each, name), index in zip(self.fields, self.indexes, strict=True)
        ]
        given = self.model, self.pairing, self.sources, coarse, self.days(part)
        return downscale_block(*given, threads=self.threads, outside=outside)

    def days(self, part: slice) -> Array:
        """Days of the year of some times, from 0."""
        timed, index = self.timed
        return np.array([day_of_year(timed.dates[i], self.step) for i in index[part]])


def downscale_block(
    model: Model,
    pairing: Pairing,
    sources: Sequence[Source],
    coarse: Sequence[xr.DataArray],
    days: Array,
    *,
    threads: int | None = None,
    outside: Outside | None = None,
) -> Array:
    """Some times, ``(time, output, y, x)`` float32, from the predictors at these times, in memory, and their grids."""
    domain, reach = pairing.domain, model.halo
    coarse = [source.values(field) for source, field in zip(sources, coarse, strict=True)]

    def at(place: int, y: Array, x: Array) -> Array:
        source = sources[place]
        return regrid(coarse[place], source.grid, (source.place, pairing.place), y, x)

    given = np.stack([at(place, *domain.block_centers(reach)) for place in range(len(sources))], 1)
    if outside is not None:
        outside.add(given)
    near = []
    for target in pairing.targets:
        place = pairing.partner(target)
        if place is None:
            near.append(np.full((len(days), *domain.shape), np.nan))
        else:
            near.append(at(place, domain.y, domain.x))
    partners = domain.pad(np.stack(near, 1))
    with nullcontext() if threads is None else torch_threads(threads):
        members = downscale(model.members, pairing, given, partners, days, "cpu")
    mean = np.mean(members, axis=0)
    spread = [np.std(members, axis=0, ddof=1)] if len(members) > 1 else []
    return np.concatenate([mean, *spread], axis=1).astype(np.float32)


class Outside:
    """Values beyond those that a network was trained on, counted."""

    def __init__(self, pairing: Pairing) -> None:
        self._predictors = pairing.predictors
        self._count = np.zeros(len(pairing.predictors))
        self._missing = np.zeros(len(pairing.predictors))
        self._all = 0
        self._span = [[np.inf, -np.inf] for _ in pairing.predictors]

    def add(self, given: Array) -> None:
        """Take in ``(time, predictor, y, x)``."""
        self._all += given[:, 0].size
        for i, predictor in enumerate(self._predictors):
            values = given[:, i]
            low, high = predictor.span
            spare = 1e-5 * (high - low)  # what interpolation rounds
            self._count[i] += ((values < low - spare) | (values > high + spare)).sum()
            self._missing[i] += (~np.isfinite(values)).sum()
            own = self._span[i]
            own[:] = np.fmin(own[0], np.fmin.reduce(values, None)), np.fmax(own[1], np.fmax.reduce(values, None))

    def say(self, blocks: int = 1) -> None:
        """Warn of predictors with more than `MANY` of their values outside, and of those without any.

        Where this is one of several blocks that know nothing of each other, it has to have as many for all of them.
        """
        for predictor, missing in zip(self._predictors, self._missing, strict=True):
            if missing == self._all and blocks == 1:
                warn("W-MISSING", f"{printable(predictor.name)} has no value: its mean stands in for it")
        for predictor, count, span in zip(self._predictors, self._count, self._span, strict=True):
            low, high = predictor.span
            if count > MANY * self._all * blocks:
                warn(
                    "W-UNSEEN",
                    f"{100 * count / self._all:.1f} % of the values of {printable(predictor.name)} lie outside what "
                    f"the model was trained on ({low:.4g} to {high:.4g}; here {span[0]:.4g} to "
                    f"{span[1]:.4g}): results there are guesses",
                )


def prepare(sources: Sequence[xr.Dataset], model: Model, threads: int | None = None) -> Downscaling:
    """Find in decoded datasets what a model of pairs needs; errors as for `downscale_dataset`."""
    pairing = pairing_of(model)
    fields, conversions = _find_predictors(sources, pairing)
    return Downscaling(model, pairing, fields, common_times([each for each, _ in fields]), conversions, threads)


def downscale_dataset(
    coarse: xr.Dataset | Sequence[xr.Dataset], model: ModelLike, threads: int | None = None
) -> xr.Dataset:
    """Targets of a network that was trained on pairs, on its fine grid.

    Parameters
    ----------
    coarse : Dataset, or several
        Decoded, with the network's predictors by name, on any grids with coordinates of one dimension.
    model : path, Checkpoint or Model
        Of pairs.
    threads : int, optional
        Threads that compute.

    Returns
    -------
    Dataset
        ``(time, y, x)``, float32; NaN where the network has never seen a value. With several members their mean, and
        ``NAME_spread``, their standard deviation. Lazy, some times a chunk, where a predictor was.

    Raises
    ------
    InputError, UsageError, ModelError
        If a predictor is not there or in other units, there is no common time, or the model is no such one.
    """
    given = [coarse] if isinstance(coarse, xr.Dataset) else coarse
    task = prepare([decode_times(each, "the coarse fields") for each in given], load_model(model), threads)
    fine = _lazy(task) if any(_is_lazy(each.dataset[name]) for each, name in task.fields) else _eager(task)
    dims = (*task.lead, *task.pairing.domain.names)
    shape = *task.lead.values(), *task.shapes[1]
    return task.frame().assign(
        {name: (dims, fine[:, k].reshape(shape), attrs) for k, (name, attrs) in enumerate(task.outputs())}
    )


def _is_lazy(field: xr.DataArray) -> bool:
    return field.chunks is not None


def _eager(task: Downscaling) -> Array:
    outside = Outside(task.pairing)
    parts = [task.part(number) for number in range(task.units)]
    fine = np.concatenate([task.compute(part, outside, member) for member, part in parts])
    outside.say()
    return fine


def _lazy(task: Downscaling) -> da.Array:
    """All times as a dask array, a block of them a chunk, which needs these times of the predictors alone."""
    import dask.array as da

    model = task.model
    recipe = _Recipe(
        model.checkpoint,
        model.device,
        model.precision,
        tuple(task.sources),
        task.units,
        task.threads,
    )
    blocks = []
    for number in range(task.units):
        member, part = task.part(number)
        fields = [
            each.at(name, index[part], member) for (each, name), index in zip(task.fields, task.indexes, strict=True)
        ]
        bare = [_without_values(field, source.grid) for field, source in zip(fields, recipe.sources, strict=True)]
        arrays = [field.data for field in fields]
        name = f"fsrcnn-pairs-{tokenize(model.digest, model.device, model.precision, task.days(part), arrays)}"
        make = delayed(partial(_from_arrays, recipe, bare, task.days(part)), name=f"{name}-recipe", traverse=False)
        shape = (part.stop - part.start, len(task.outputs()), *task.shapes[1])
        blocks.append(da.from_delayed(make(*arrays, dask_key_name=name), shape, np.float32))
    whole: da.Array = da.concatenate(blocks)
    return whole


@dataclass(frozen=True)
class _Recipe:
    """All that blocks have in common; travels to the workers, which load the model once a process."""

    checkpoint: Checkpoint | None
    device: str
    precision: str
    sources: tuple[Source, ...]
    blocks: int
    threads: int | None


def _without_values(field: xr.DataArray, grid: CFGrid) -> xr.DataArray:
    """A field with the coordinates that say where its cells are, and nothing in them."""
    places = {name: field[name].load() for name in (grid.y_coordinate, grid.x_coordinate) if name is not None}
    return xr.DataArray(np.broadcast_to(np.float32(0), field.shape), places, field.dims, field.name)


def _from_arrays(recipe: _Recipe, bare: Sequence[xr.DataArray], days: Array, *values: Array) -> Array:
    """A block of times, from the values of the predictors."""
    assert recipe.checkpoint is not None
    model = ready_model(recipe.checkpoint, recipe.checkpoint.config.factor, recipe.device, recipe.precision)
    pairing = pairing_of(model)
    coarse = [field.copy(data=array) for field, array in zip(bare, values, strict=True)]
    outside = Outside(pairing)
    fine = downscale_block(model, pairing, recipe.sources, coarse, days, threads=recipe.threads, outside=outside)
    outside.say(recipe.blocks)
    return fine


def _find_predictors(
    sources: Sequence[xr.Dataset], pairing: Pairing
) -> tuple[list[tuple[Fields, str]], list[tuple[float, float]]]:
    """Find for each predictor the dataset that has it, and scale and offset into the model's units."""
    wanted = [predictor.name for predictor in pairing.predictors]
    apart = [split_levels(each, wanted)[0] for each in sources]
    found, conversions = [], []
    for predictor in pairing.predictors:
        having = [each for each in apart if predictor.name in each.variables]
        if not having:
            names = ", ".join(str(name) for each in apart for name in each.data_vars)
            words = f"no variable {printable(predictor.name)}, which the model needs"
            raise InputError(f"{words}: there are {printable(names)}; name the file that has it in also=")
        (fields,) = join_fields([find_fields(each, printable(predictor.name), [predictor.name]) for each in having])
        field = fields.dataset[predictor.name]
        check_known((fields.place, pairing.place), (fields.shown, "the model's grid"))
        outside = share_outside(fields, pairing.domain, pairing.place)
        conversions.append(match_predictor(predictor, field.attrs, fields.spacing, outside))
        found.append((fields, predictor.name))
    return found, conversions
