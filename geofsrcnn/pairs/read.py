"""Pairs of coarse and fine fields, and static fields, read and checked."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.dates import Date, Step, day_of_year
from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import InputError, OutputError, UsageError, printable, warn
from geofsrcnn.files.paths import expand
from geofsrcnn.formats.open import open_dataset
from geofsrcnn.grids.axis import same_places
from geofsrcnn.grids.fine import Domain
from geofsrcnn.pairs.dimensions import select_names
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK, Fields, fields_of, join_fields
from geofsrcnn.pairs.interpolate import average, degrees_apart, domain_of, regrid, share_outside, steps_over
from geofsrcnn.pairs.match import NOWHERE
from geofsrcnn.pairs.match_times import common_step, common_times
from geofsrcnn.pairs.places import Frame, check_known, transform_axes
from geofsrcnn.pairs.quantities import convert, unit_conversion

TEXTS = ("units", "standard_name", "long_name", "cell_methods", "units_metadata")

IN_MEMORY = 4 * 2**30
"""Bytes of fields from which on they are memory-mapped to a temporary file."""


@dataclass(frozen=True)
class Pairs:
    """All fields, on grids that fit; float32.

    Parameters
    ----------
    domain : Domain
        The fine grid.
    coarse : ndarray (time, predictor, y + 2 margin, x + 2 margin)
        On the coarse grid, in the predictors' units, with `margin` cells around.
    partners : ndarray (time, target, Y, X)
        Each target's partner, at the padded fine grid's cells; NaN for a target without one.
    fine : ndarray (time, target, Y, X)
        Padded; NaN where missing.
    days : ndarray (time,)
        Of the year, from 0.
    dates : list of Date
        Of the times; again for each member of an ensemble.
    predictors, targets : list of DataArray
        For names, units and other words.
    partner : list of int or None
        Place of each target's partner among the predictors.
    margin : int
        Coarse cells around the grid in `coarse`.
    place : Frame
        CRS and units of the fine grid's coordinates.
    outside : dict of str to float
        Share of the fine cells that lie beyond a predictor's grid, where its edge values stand.
    spacing : dict of str to tuple of float
        Between rows and between columns of each predictor's own grid.
    step : str
        Between times: "hours", "days", "months", "years", or "".
    """

    domain: Domain
    coarse: Array
    partners: Array
    fine: Array
    days: Array
    dates: list[Date]
    predictors: list[xr.DataArray]
    targets: list[xr.DataArray]
    partner: list[int | None]
    margin: int
    place: Frame = field(default_factory=Frame)
    outside: dict[str, float] = field(default_factory=dict)
    spacing: dict[str, tuple[float, float]] = field(default_factory=dict)
    step: Step = ""

    @property
    def digest(self) -> str:
        """SHA-256 of all values, hexadecimal."""
        result = hashlib.sha256()
        for part in (self.coarse, self.fine, self.days):
            result.update(np.ascontiguousarray(part).view(np.uint8).data)
        return result.hexdigest()

    def inner(self, times: Array, predictor: int) -> Array:
        """A predictor ``(time, y, x)`` on the coarse grid, without the cells around it."""
        within = slice(self.margin, -self.margin or None)
        return self.coarse[times, predictor, within, within]

    def blocks(self, chosen: Array) -> Iterator[Array]:
        """Indexes of the chosen times, some after the other."""
        times = np.nonzero(chosen)[0]
        for start in range(0, len(times), TIMES_PER_BLOCK):
            yield times[start : start + TIMES_PER_BLOCK]


def allocate(shape: tuple[int, ...]) -> Array:
    """Allocate an array to fill, float32; memory-mapped to a temporary file where it is large.

    Raises
    ------
    OutputError
        If the disk has no room for it.
    """
    size = 4 * math.prod(shape)
    if size <= IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            words = f"no room for {size / 2**30:.1f} GiB of fields in {printable(tempfile.gettempdir())}"
            raise OutputError(f"{words} ({error.strerror}): set TMPDIR to a folder on a larger disk") from None
        return np.memmap(file, np.float32, "r+", shape=shape)


def read_pairs(
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    margin: int,
    *,
    predictors: Sequence[str] = (),
    targets: Sequence[str] = (),
    partners: dict[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    wanted: Callable[[Date, Step], bool] = lambda _date, _step: True,
) -> Pairs:
    """Read coarse and fine files, and bring them onto one pair of grids at the times that all have.

    Members of an ensemble, where there are some, follow each other, each with all times.

    Parameters
    ----------
    coarse, fine : sequence of path
        NetCDF or Zarr; names may be patterns.
    factor : int
        Fine cells along one side of a coarse cell.
    margin : int
        Coarse cells around the fine grid that are read as well.
    predictors, targets : sequence of str
        Variables, or levels of them; all fields if none are given.
    partners : dict of str to str
        Predictors by target; found by names where not given.
    units : mapping of str to str
        Units by variable that values are brought into where that can be; a file's own where not given.
    wanted : callable
        Whether a time is read, from its date and the step between times.

    Raises
    ------
    InputError, UsageError
        If a file has no such fields, there is no common time, or grids cannot be brought together.
    """
    with ExitStack() as held:
        sources = _open(coarse, predictors, "coarse", held)
        truths = _open(fine, targets, "fine", held)
        every = [*sources, *truths]
        domain, place = domain_of(truths[0], factor), truths[0].place
        for fields in sources:
            _check_place(fields, truths[0], domain)
        step = common_step(every)
        dates, indexes = _shared_times(every, step, wanted)
        given = _variables(sources, indexes[: len(sources)], predictors, units or {})
        aims = _variables(truths, indexes[len(sources) :], targets, units or {})
        if targets:
            aims.sort(key=lambda each: _rank(each.fields, each.name, targets))
        for each in aims:
            _same_grid(each.fields, truths[0], domain, factor)
        partner = partners_of([each.words for each in aims], [each.words for each in given], partners or {})
        members = len(members_of(every)) or 1
        low, near, high = _read_values(given, aims, partner, (domain, place, margin), (members, len(dates)))
        return Pairs(
            domain,
            low,
            near,
            high,
            np.array([day_of_year(date, step) for date in dates] * members, np.float64),
            dates * members,
            [each.words for each in given],
            [each.words for each in aims],
            partner,
            margin,
            place,
            {each.name: share_outside(each.fields, domain, place) for each in given},
            {each.name: each.fields.spacing for each in given},
            step,
        )


def _open(paths: Sequence[str | os.PathLike[str]], names: Sequence[str], what: str, held: ExitStack) -> list[Fields]:
    """Open files until `held` is closed, those that have the same fields joined."""
    found = []
    for path in expand(paths):
        shown = printable(path.name)
        found.append(fields_of(decode_times(held.enter_context(open_dataset(path)), shown), shown, names))
    every = join_fields(found)
    _check_names(names, every, what)
    return every


def _shared_times(
    every: list[Fields], step: Step, wanted: Callable[[Date, Step], bool]
) -> tuple[list[Date], list[list[int]]]:
    """Find the wanted times that all have: their dates, and their indexes in each dataset."""
    indexes = common_times(every)
    dates = _dates_of(every, indexes)
    _say_what_is_left_out(every, len(dates))
    kept = [i for i, date in enumerate(dates) if wanted(date, step)]
    return [dates[i] for i in kept], [[index[i] for i in kept] if index else [] for index in indexes]


@dataclass(frozen=True)
class _Variable:
    """A variable of some files.

    Parameters
    ----------
    fields : Fields
        That have it.
    name : str
        Its name there.
    index : list of int
        Times that are read.
    words : DataArray
        For its name, units and other attributes.
    conversion : tuple of float
        Scale and offset into these units.
    """

    fields: Fields
    name: str
    index: list[int]
    words: xr.DataArray
    conversion: tuple[float, float]

    def load(self, part: slice, member: int) -> xr.DataArray:
        """Read some of the times of a member."""
        return convert(self.fields.at(self.name, self.index[part], member).load(), self.conversion)


def _variables(
    every: Sequence[Fields], indexes: Sequence[list[int]], names: Sequence[str], units: Mapping[str, str]
) -> list[_Variable]:
    return [
        _Variable(fields, name, index, *_in_wanted_units(fields.at(name, index), units))
        for fields, index in zip(every, indexes, strict=True)
        for name in select_names(fields.names, fields.parents, names)
    ]


def _read_values(
    given: Sequence[_Variable],
    aims: Sequence[_Variable],
    partner: Sequence[int | None],
    grid: tuple[Domain, Frame, int],
    sizes: tuple[int, int],
) -> tuple[Array, Array, Array]:
    """Read predictors on the coarse grid and at the fine cells, and targets, some times after the other.

    Parameters
    ----------
    given, aims : sequence of _Variable
        Predictors and targets.
    partner : sequence of int or None
        Predictor that is the same quantity as each target.
    grid : tuple
        The fine grid, what its coordinates count, and the coarse cells around it.
    sizes : tuple of int
        Members and times.
    """
    (domain, place, margin), (members, times) = grid, sizes
    (rows, columns), count, factor = domain.padded, members * times, domain.factor
    low = allocate((count, len(given), rows // factor + 2 * margin, columns // factor + 2 * margin))
    near, high = (allocate((count, len(aims), rows, columns)) for _ in range(2))
    middles = domain.block_centers(margin)
    for member, start in itertools.product(range(members), range(0, times, TIMES_PER_BLOCK)):
        part = slice(start, min(start + TIMES_PER_BLOCK, times))
        to = slice(member * times + part.start, member * times + part.stop)
        for i, predictor in enumerate(given):
            values, own, places = predictor.load(part, member), predictor.fields.grid, (predictor.fields.place, place)
            low[to, i] = regrid(values, own, places, *middles)
            for k in (k for k, at in enumerate(partner) if at == i):
                near[to, k] = domain.pad(regrid(values, own, places, domain.y, domain.x))
        for k, target in enumerate(aims):
            high[to, k] = domain.pad(target.load(part, member).to_numpy().astype(np.float32))
    for k, at in enumerate(partner):
        if at is None:
            near[:, k] = np.nan
    return low, near, high


def _check_names(wanted: Sequence[str], found: Sequence[Fields], what: str) -> None:
    """Refuse names that are not there, and such as are in several files."""
    names = {name for fields in found for name in fields.names}
    known = names | {parent for fields in found for parent in fields.parents.values()}
    if missing := [name for name in wanted if name not in known]:
        raise UsageError(f"no {what} variable {printable(', '.join(missing))}: there are {', '.join(sorted(names))}")
    if twice := sorted(name for name in names if sum(name in fields.names for fields in found) > 1):
        raise InputError(f"several {what} files have {printable(', '.join(twice))}: rename, or leave one out")


def _rank(fields: Fields, name: str, wanted: Sequence[str]) -> int:
    """The place of a variable, or of that whose level it is, among names."""
    return wanted.index(name if name in wanted else fields.parents[name])


def _in_wanted_units(words: xr.DataArray, units: Mapping[str, str]) -> tuple[xr.DataArray, tuple[float, float]]:
    """A field in the units that are wanted, in words, and how its values come there; as it is where they cannot."""
    own = str(words.attrs.get("units", ""))
    wanted = units.get(str(words.name), own)
    conversion = unit_conversion(str(words.name), words.attrs, own, wanted)
    if conversion is None or not own or not wanted:
        return words, (1.0, 0.0)
    return words.assign_attrs(units=wanted), conversion


def members_of(every: Sequence[Fields]) -> list[Any]:
    """The members of an ensemble that all datasets with members have; none where there is no ensemble.

    Raises
    ------
    InputError
        If they have other ones.
    """
    having = [fields for fields in every if fields.member is not None]
    for fields in having[1:]:
        if fields.members != having[0].members:
            words = f"{fields.shown} and {having[0].shown} have other members"
            raise InputError(
                f"{words} ({len(fields.members)} and {len(having[0].members)}): select those that both have"
            )
    return having[0].members if having else []


def _check_place(coarse: Fields, fine: Fields, domain: Domain) -> None:
    """Refuse coarse fields of another place, of an unknown CRS, or no coarser than the fine ones."""
    check_known((coarse.place, fine.place), (coarse.shown, fine.shown))
    if not fine.place.crs:
        _check_latitudes(coarse, fine)
    if share_outside(coarse, domain, fine.place) > NOWHERE:
        ends = [
            f"{name} {np.min(values):g} to {np.max(values):g}"
            for fields in (coarse, fine)
            for name in (fields.grid.y_coordinate, fields.grid.x_coordinate)
            if name is not None
            for values in (fields.dataset[name].to_numpy(),)
        ]
        raise InputError(
            f"{coarse.shown} ({', '.join(ends[:2])}) does not cover {fine.shown} ({', '.join(ends[2:])}): check the "
            "coordinates of both"
        )
    if all(cells >= 0.999 for cells in steps_over(coarse, domain, fine.place)):
        words = f"{coarse.shown} has a cell every {coarse.spacing[0]:g}, {fine.shown} every {fine.spacing[0]:g}"
        raise InputError(f"{words}: coarse fields must be coarser, take their block means first")


def _check_latitudes(coarse: Fields, fine: Fields) -> None:
    """Refuse grids of no stated CRS whose latitudes and longitudes of two dimensions are not the same.

    Where these are not there, say that coordinates were taken as they are.
    """
    off = degrees_apart(coarse, fine)
    both = f"{coarse.shown} and {fine.shown}"
    if off is None:
        words = f"neither {coarse.shown} nor {fine.shown} states a CRS, and their coordinates are taken for the same"
        warn("W-NOCRS", f"{words}: give both a grid_mapping")
    elif off > APART:
        words = f"coordinates of {both} that are the same have latitudes and longitudes {off:.2g} coarse cells apart"
        raise InputError(f"{words}: they are of other CRS, warp one to the other's first")


APART = 0.5
"""Coarse cells between the latitudes and longitudes of two grids up to which they are of one CRS."""


def _same_grid(fields: Fields, other: Fields, domain: Domain, factor: int) -> None:
    """Refuse fine fields on another grid."""
    own = domain_of(fields, factor)
    if transform_axes(domain.y, domain.x, other.place, fields.place, (other.shown, fields.shown)) is not None:
        words = f"{fields.shown} is {fields.place}, {other.shown} {other.place}"
        raise InputError(f"{words}, or another one: bring fine fields onto one grid")
    for mine, wanted, what in ((own.y, domain.y, "rows"), (own.x, domain.x, "columns")):
        words = f"{fields.shown} and {other.shown} have other fine grids"
        if len(mine) != len(wanted):
            raise InputError(f"{words} ({len(mine)} and {len(wanted)} {what}): bring them onto one")
        if not same_places(mine, wanted):
            off = int(np.argmax(np.abs(mine - wanted)))
            raise InputError(f"{words} ({what} at {mine[off]:g} and {wanted[off]:g}): bring them onto one")


def read_static_predictors(
    paths: Sequence[str | os.PathLike[str]], domain: Domain, place: Frame
) -> tuple[Array, list[str]]:
    """Fields without times as means over the cells of the padded fine grid ``(k, Y, X)``, and their names.

    Those of another CRS are brought to where they are; bilinearly where the fine grid is the finer one.

    Parameters
    ----------
    paths : sequence of path
        NetCDF, Zarr or GeoTIFF; names may be patterns.
    domain : Domain
        The fine grid.
    place : Frame
        CRS and units of its coordinates.

    Raises
    ------
    InputError
        If one changes with time, or cannot be brought onto the fine grid.
    """
    layers, names = [], []
    for path in expand(paths):
        with open_dataset(path) as stored:
            dataset = xr.decode_cf(stored, decode_times=False)
            fields = fields_of(dataset, printable(path.name))
            check_known((fields.place, place), (fields.shown, "the fine grid"))
            for name in fields.names:
                layer = fields.dataset[name].squeeze(drop=True).transpose(fields.grid.y, fields.grid.x)
                layers.append(average(layer, fields.grid, domain, (fields.place, place)))
                names.append(f"{path.stem}:{name}" if len(fields.names) > 1 else path.stem)
                if not np.isfinite(layers[-1]).any():
                    raise InputError(f"{printable(path.name)} has no value on the fine grid: check its coordinates")
    return np.stack(layers) if layers else np.zeros((0, *domain.padded)), names


def _dates_of(every: list[Fields], indexes: list[list[int]]) -> list[Date]:
    for fields, index in zip(every, indexes, strict=True):
        if fields.time is not None:
            return [fields.dates[i] for i in index]
    raise InputError("no file has a time axis: to train on rasters of one time, give the fine ones alone")


def _say_what_is_left_out(every: list[Fields], shared: int) -> None:
    longer = [f"{f.shown} {len(f.dates) - shared}" for f in every if f.time is not None and len(f.dates) > shared]
    if longer:
        warn("W-TIMES", f"times without a partner are left out: {', '.join(longer)}; {shared} are in all files")


def in_units(pairs: Pairs, k: int) -> tuple[float, float]:
    """Scale and offset of a target's partner to the target's units; 1 and 0 where they are not known."""
    at = pairs.partner[k]
    given, wanted = (
        "" if each is None else str(each.attrs.get("units", ""))
        for each in (None if at is None else pairs.predictors[at], pairs.targets[k])
    )
    aim = pairs.targets[k]
    return unit_conversion(str(aim.name), aim.attrs, given, wanted) or (1.0, 0.0)


def partners_of(
    targets: Sequence[xr.DataArray], predictors: Sequence[xr.DataArray], said: dict[str, str]
) -> list[int | None]:
    """Which predictor is the same quantity as each target: as said, else by standard name, else by name."""
    known, aims = ([str(each.name) for each in some] for some in (predictors, targets))
    refuse_unknown("predictor", "partners", said.values(), known)
    refuse_unknown("target", "partners", said, aims)
    return [
        known.index(said[str(target.name)]) if str(target.name) in said else partner_of(target, predictors)
        for target in targets
    ]


def refuse_unknown(what: str, parameter: str, named: Iterable[str], there: Sequence[str]) -> None:
    """Refuse names in a parameter that are not there."""
    if missing := [name for name in named if name not in there]:
        names, known = (printable(", ".join(each)) for each in (missing, there))
        raise UsageError(f"no {what} {names} for {parameter}=: there are {known}")


def partner_of(target: xr.DataArray, predictors: Sequence[xr.DataArray]) -> int | None:
    """Which predictor is the same quantity: by standard name, of several by the name too, else by name."""
    said = target.attrs.get("standard_name")
    same = [i for i, predictor in enumerate(predictors) if said and predictor.attrs.get("standard_name") == said]
    names = [predictor.name for predictor in predictors]
    if target.name in names and (not same or names.index(target.name) in same):
        return names.index(target.name)
    return same[0] if same else None
