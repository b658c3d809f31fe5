"""Pairs of coarse and fine fields, and static fields, read and checked."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Mask
from geofsrcnn.cf.dates import Date, Step, day_of_year
from geofsrcnn.cf.times import decode_times
from geofsrcnn.errors import InputError, OutputError, UsageError, printable, warn
from geofsrcnn.files.paths import expand
from geofsrcnn.formats.open import open_dataset
from geofsrcnn.grids.axis import same_places
from geofsrcnn.grids.fine import Domain
from geofsrcnn.pairs.dimensions import select_names
from geofsrcnn.pairs.fields import TIMES_PER_BLOCK, Fields, fields_of, join_fields
from geofsrcnn.pairs.frames import Frame, check_known, transform_axes
from geofsrcnn.pairs.interpolate import average, degrees_apart, domain_of, regrid, share_outside, steps_over
from geofsrcnn.pairs.match import NOWHERE
from geofsrcnn.pairs.match_times import common_step, common_times
from geofsrcnn.pairs.quantities import convert, unit_conversion
from geofsrcnn.system import allocate_on_disk

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
    frame : Frame
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
    frame: Frame = field(default_factory=Frame)
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

    def blocks(self, chosen: Mask) -> Iterator[Array]:
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
            allocate_on_disk(file, size)
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
    with ExitStack() as opened:
        coarse_fields = _open(coarse, predictors, "coarse", opened)
        fine_fields = _open(fine, targets, "fine", opened)
        all_fields = [*coarse_fields, *fine_fields]
        grid = _Grid(domain_of(fine_fields[0], factor), fine_fields[0].frame, margin)
        for fields in coarse_fields:
            _check_place(fields, fine_fields[0], grid.domain)
        step = common_step(all_fields)
        dates, indexes = _shared_times(all_fields, step, wanted)
        coarse_variables = _variables(coarse_fields, indexes[: len(coarse_fields)], predictors, units or {})
        fine_variables = _variables(fine_fields, indexes[len(coarse_fields) :], targets, units or {})
        if targets:
            fine_variables.sort(key=lambda each: _rank(each.fields, each.name, targets))
        for each in fine_variables:
            _same_grid(each.fields, fine_fields[0], grid.domain, factor)
        partner = partners_of(
            [each.header for each in fine_variables], [each.header for each in coarse_variables], partners or {}
        )
        if units is None:
            coarse_variables = _as_targets_count(coarse_variables, fine_variables, partner)
        members = len(members_of(all_fields)) or 1
        values = _read_values(coarse_variables, fine_variables, partner, grid, members, len(dates))
        return Pairs(
            grid.domain,
            values.coarse,
            values.partners,
            values.fine,
            np.array([day_of_year(date, step) for date in dates] * members, np.float64),
            dates * members,
            [each.header for each in coarse_variables],
            [each.header for each in fine_variables],
            partner,
            margin,
            grid.frame,
            {each.name: share_outside(each.fields, grid.domain, grid.frame) for each in coarse_variables},
            {each.name: each.fields.spacing for each in coarse_variables},
            step,
        )


@dataclass(frozen=True)
class _Grid:
    """The fine grid, CRS and units of its coordinates, and the coarse cells around it that are read."""

    domain: Domain
    frame: Frame
    margin: int


def _open(paths: Sequence[str | os.PathLike[str]], names: Sequence[str], side: str, opened: ExitStack) -> list[Fields]:
    """Open coarse or fine files until `opened` is closed, those that have the same fields joined."""
    found = []
    for path in expand(paths):
        shown = printable(path.name)
        found.append(fields_of(decode_times(opened.enter_context(open_dataset(path)), shown), shown, names))
    all_fields = join_fields(found)
    _check_names(names, all_fields, side)
    return all_fields


def _shared_times(
    all_fields: list[Fields], step: Step, wanted: Callable[[Date, Step], bool]
) -> tuple[list[Date], list[list[int]]]:
    """Find the wanted times that all have: their dates, and their indexes in each dataset."""
    indexes = common_times(all_fields)
    dates = _dates_of(all_fields, indexes)
    _warn_of_times_left_out(all_fields, len(dates))
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
    header : DataArray
        For its name, units and other attributes.
    conversion : tuple of float
        Scale and offset into these units.
    """

    fields: Fields
    name: str
    index: list[int]
    header: xr.DataArray
    conversion: tuple[float, float] = (1.0, 0.0)

    @property
    def units(self) -> str:
        """Units of the values that are read."""
        return str(self.header.attrs.get("units", ""))

    def in_units(self, wanted: str) -> _Variable:
        """The variable in other units; as it is where it does not convert, or units are not stated."""
        daily = self.fields.is_daily
        conversion = unit_conversion(self.name, self.header.attrs, self.units, wanted, is_daily=daily)
        if conversion is None or not self.units or not wanted:
            return self
        return replace(self, header=self.header.assign_attrs(units=wanted), conversion=conversion)

    def load(self, part: slice, member: int) -> xr.DataArray:
        """Read some of the times of a member."""
        return convert(self.fields.at(self.name, self.index[part], member).load(), self.conversion)


def _variables(
    all_fields: Sequence[Fields], indexes: Sequence[list[int]], names: Sequence[str], units: Mapping[str, str]
) -> list[_Variable]:
    found = [
        _Variable(fields, name, index, fields.at(name, index))
        for fields, index in zip(all_fields, indexes, strict=True)
        for name in select_names(fields.names, fields.parents, names)
    ]
    return [variable.in_units(units.get(variable.name, variable.units)) for variable in found]


def _as_targets_count(
    predictors: list[_Variable], targets: Sequence[_Variable], partner: Sequence[int | None]
) -> list[_Variable]:
    """Bring daily totals of precipitation into the rates of their targets, and rates into totals."""
    found = list(predictors)
    for target, i in zip(targets, partner, strict=True):
        if i is None or found[i] is not predictors[i]:  # a predictor of two targets counts as the first does
            continue
        if unit_conversion(target.name, target.header.attrs, found[i].units, target.units) is None:
            found[i] = found[i].in_units(target.units)
    return found


@dataclass(frozen=True)
class _Values:
    """Values of all times as `Pairs` has them, allocated and filled block by block."""

    coarse: Array
    partners: Array
    fine: Array

    @classmethod
    def allocate(cls, count: int, predictors: int, targets: int, grid: _Grid) -> _Values:
        """Allocate those of so many times, predictors and targets."""
        rows, columns = grid.domain.padded
        factor, around = grid.domain.factor, 2 * grid.margin
        coarse = allocate((count, predictors, rows // factor + around, columns // factor + around))
        partners, fine = (allocate((count, targets, rows, columns)) for _ in range(2))
        return cls(coarse, partners, fine)


def _read_values(
    predictors: Sequence[_Variable],
    targets: Sequence[_Variable],
    partner: Sequence[int | None],
    grid: _Grid,
    members: int,
    count: int,
) -> _Values:
    """Read predictors on the coarse grid and at the fine cells, and targets, some times after the other.

    Parameters
    ----------
    predictors, targets : sequence of _Variable
        To read.
    partner : sequence of int or None
        Predictor that is the same quantity as each target.
    grid : _Grid
        Onto which.
    members : int
        Of the ensemble, or 1.
    count : int
        Times.
    """
    domain = grid.domain
    values = _Values.allocate(members * count, len(predictors), len(targets), grid)
    centers = domain.block_centers(grid.margin)
    for member, start in itertools.product(range(members), range(0, count, TIMES_PER_BLOCK)):
        block = slice(start, min(start + TIMES_PER_BLOCK, count))
        to = slice(member * count + block.start, member * count + block.stop)
        for i, predictor in enumerate(predictors):
            field, frames = predictor.load(block, member), (predictor.fields.frame, grid.frame)
            values.coarse[to, i] = regrid(field, predictor.fields.grid, frames, *centers)
            for k in (k for k, at in enumerate(partner) if at == i):
                at_fine_cells = regrid(field, predictor.fields.grid, frames, domain.y, domain.x)
                values.partners[to, k] = domain.pad(at_fine_cells)
        for k, target in enumerate(targets):
            values.fine[to, k] = domain.pad(target.load(block, member).to_numpy().astype(np.float32))
    for k, at in enumerate(partner):
        if at is None:
            values.partners[:, k] = np.nan
    return values


def _check_names(wanted: Sequence[str], found: Sequence[Fields], side: str) -> None:
    """Refuse names that are not there, and such as are in several files."""
    names = {name for fields in found for name in fields.names}
    known = names | {parent for fields in found for parent in fields.parents.values()}
    if missing := [name for name in wanted if name not in known]:
        raise UsageError(f"no {side} variable {printable(', '.join(missing))}: there are {', '.join(sorted(names))}")
    if twice := sorted(name for name in names if sum(name in fields.names for fields in found) > 1):
        raise InputError(f"several {side} files have {printable(', '.join(twice))}: rename, or leave one out")


def _rank(fields: Fields, name: str, wanted: Sequence[str]) -> int:
    """The index among names of a variable, or of that whose level it is."""
    return wanted.index(name if name in wanted else fields.parents[name])


def members_of(all_fields: Sequence[Fields]) -> list[Any]:
    """The members of an ensemble that all datasets with members have; none where there is no ensemble.

    Raises
    ------
    InputError
        If they have other ones.
    """
    having = [fields for fields in all_fields if fields.member is not None]
    for fields in having[1:]:
        if fields.members != having[0].members:
            words = f"{fields.shown} and {having[0].shown} have other members"
            raise InputError(
                f"{words} ({len(fields.members)} and {len(having[0].members)}): select those that both have"
            )
    return having[0].members if having else []


def _check_place(coarse: Fields, fine: Fields, domain: Domain) -> None:
    """Refuse coarse fields of another place, of an unknown CRS, or no coarser than the fine ones."""
    check_known((coarse.frame, fine.frame), (coarse.shown, fine.shown))
    if not fine.frame.crs:
        _check_latitudes(coarse, fine)
    if share_outside(coarse, domain, fine.frame) > NOWHERE:
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
    if all(cells >= 0.999 for cells in steps_over(coarse, domain, fine.frame)):
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
    if transform_axes(domain.y, domain.x, other.frame, fields.frame, (other.shown, fields.shown)) is not None:
        words = f"{fields.shown} is {fields.frame}, {other.shown} {other.frame}"
        raise InputError(f"{words}, or another one: bring fine fields onto one grid")
    for mine, wanted, what in ((own.y, domain.y, "rows"), (own.x, domain.x, "columns")):
        words = f"{fields.shown} and {other.shown} have other fine grids"
        if len(mine) != len(wanted):
            raise InputError(f"{words} ({len(mine)} and {len(wanted)} {what}): bring them onto one")
        if not same_places(mine, wanted):
            off = int(np.argmax(np.abs(mine - wanted)))
            raise InputError(f"{words} ({what} at {mine[off]:g} and {wanted[off]:g}): bring them onto one")


def read_static_predictors(
    paths: Sequence[str | os.PathLike[str]], domain: Domain, frame: Frame
) -> tuple[Array, list[str]]:
    """Fields without times as means over the cells of the padded fine grid ``(k, Y, X)``, and their names.

    Those of another CRS are brought to where they are; bilinearly where the fine grid is the finer one.

    Parameters
    ----------
    paths : sequence of path
        NetCDF, Zarr or GeoTIFF; names may be patterns.
    domain : Domain
        The fine grid.
    frame : Frame
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
            check_known((fields.frame, frame), (fields.shown, "the fine grid"))
            for name in fields.names:
                layer = fields.dataset[name].squeeze(drop=True).transpose(fields.grid.y, fields.grid.x)
                layers.append(average(layer, fields.grid, domain, (fields.frame, frame)))
                names.append(f"{path.stem}:{name}" if len(fields.names) > 1 else path.stem)
                if not np.isfinite(layers[-1]).any():
                    raise InputError(f"{printable(path.name)} has no value on the fine grid: check its coordinates")
    return np.stack(layers) if layers else np.zeros((0, *domain.padded)), names


def _dates_of(all_fields: list[Fields], indexes: list[list[int]]) -> list[Date]:
    for fields, index in zip(all_fields, indexes, strict=True):
        if fields.time is not None:
            return [fields.dates[i] for i in index]
    raise InputError("no file has a time axis: to train on rasters of one time, give the fine ones alone")


def _warn_of_times_left_out(all_fields: list[Fields], shared: int) -> None:
    longer = [f"{f.shown} {len(f.dates) - shared}" for f in all_fields if f.time is not None and len(f.dates) > shared]
    if longer:
        warn("W-TIMES", f"times without a partner are left out: {', '.join(longer)}; {shared} are in all files")


def in_units(pairs: Pairs, k: int) -> tuple[float, float]:
    """Scale and offset of a target's partner to the target's units; 1 and 0 where they are not known."""
    at, target = pairs.partner[k], pairs.targets[k]
    given = "" if at is None else str(pairs.predictors[at].attrs.get("units", ""))
    wanted = str(target.attrs.get("units", ""))
    return unit_conversion(str(target.name), target.attrs, given, wanted) or (1.0, 0.0)


def partners_of(
    targets: Sequence[xr.DataArray], predictors: Sequence[xr.DataArray], given: Mapping[str, str]
) -> list[int | None]:
    """The index of the predictor that is the same quantity as each target: as given, else by `partner_of`."""
    predictor_names, target_names = ([str(each.name) for each in some] for some in (predictors, targets))
    refuse_unknown("predictor", "partners", given.values(), predictor_names)
    refuse_unknown("target", "partners", given, target_names)
    return [
        predictor_names.index(given[name]) if name in given else partner_of(target, predictors)
        for name, target in zip(target_names, targets, strict=True)
    ]


def refuse_unknown(what: str, parameter: str, named: Iterable[str], there: Sequence[str]) -> None:
    """Refuse names in a parameter that are not there."""
    if missing := [name for name in named if name not in there]:
        names, known = (printable(", ".join(each)) for each in (missing, there))
        raise UsageError(f"no {what} {names} for {parameter}=: there are {known}")


def partner_of(target: xr.DataArray, predictors: Sequence[xr.DataArray]) -> int | None:
    """The index of the predictor of the same quantity: by standard name, of several by the name too, else by name."""
    standard = target.attrs.get("standard_name")
    same = [i for i, each in enumerate(predictors) if standard and each.attrs.get("standard_name") == standard]
    names = [predictor.name for predictor in predictors]
    if target.name in names and (not same or names.index(target.name) in same):
        return names.index(target.name)
    return same[0] if same else None
