"""Pairs of coarse and fine fields, and static fields, read and checked."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rasterio.warp
import xarray as xr
from affine import Affine
from pyproj import CRS

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError, OutputError, UsageError, printable, warn
from geofsrcnn.files.paths import expanded
from geofsrcnn.formats.open import open_dataset
from geofsrcnn.formats.raster_cf import crs_of, grid_of
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.axis import same_places
from geofsrcnn.grids.fine import Domain
from geofsrcnn.grids.longitude import near
from geofsrcnn.pairs.interpolate import averaged, domain_of, interpolated
from geofsrcnn.pairs.times import TOGETHER, Fields, common_times, fields_of, joined
from geofsrcnn.values.units import conversion

TEXTS = ("units", "standard_name", "long_name", "cell_methods")

IN_MEMORY = 4 * 2**30
"""Bytes of fields from which on they are kept in a file without a name, of which the system holds what is used."""


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
    stamps : list of tuple
        Of the times.
    predictors, targets : list of DataArray
        For names, units and other words.
    partner : list of int or None
        Place of each target's partner among the predictors.
    margin : int
        Coarse cells around the grid in `coarse`.
    crs : CRS or None
        Of the fine grid, if known.
    outside : dict of str to float
        Share of the fine cells that lie beyond a predictor's grid, where its edge values stand.
    spacing : dict of str to tuple of float
        Between rows and between columns of each predictor's own grid.
    """

    domain: Domain
    coarse: Array
    partners: Array
    fine: Array
    days: Array
    stamps: list[tuple[int, ...]]
    predictors: list[xr.DataArray]
    targets: list[xr.DataArray]
    partner: list[int | None]
    margin: int
    crs: CRS | None = None
    outside: dict[str, float] = field(default_factory=dict)
    spacing: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of all values, hexadecimal."""
        result = hashlib.sha256()
        for part in (self.coarse, self.fine, self.days):
            result.update(np.ascontiguousarray(part).view(np.uint8).data)
        return result.hexdigest()

    def blocks(self, chosen: Array) -> Iterator[Array]:
        """Indexes of the chosen times, some after the other."""
        times = np.nonzero(chosen)[0]
        for start in range(0, len(times), TOGETHER):
            yield times[start : start + TOGETHER]


def room(shape: tuple[int, ...]) -> Array:
    """An array to fill, float32; in a file without a name where it is large.

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
    wanted: Callable[[tuple[int, ...]], bool] = lambda _: True,
) -> Pairs:
    """Read coarse and fine files, and bring them onto one pair of grids at the times that all have.

    Parameters
    ----------
    coarse, fine : sequence of path
        NetCDF or Zarr; names may be patterns.
    factor : int
        Fine cells along one side of a coarse cell.
    margin : int
        Coarse cells around the fine grid that are read as well.
    predictors, targets : sequence of str
        Variables; all fields if none are given.
    partners : dict of str to str
        Predictors by target; found by names where not given.
    wanted : callable
        Whether a time is read.

    Raises
    ------
    InputError, UsageError
        If a file has no such fields, there is no common time, or grids cannot be brought together.
    """
    with ExitStack() as held:

        def read(path: Path, wanted: Sequence[str]) -> Fields:
            dataset = xr.decode_cf(held.enter_context(open_dataset(path)), decode_timedelta=False)
            there = [name for name in wanted if name in dataset.variables]
            return fields_of(dataset, printable(path.name), there or None)

        sources = joined([read(path, predictors) for path in expanded(coarse)])
        truths = joined([read(path, targets) for path in expanded(fine)])
        for chosen, found, what in ((predictors, sources, "coarse"), (targets, truths, "fine")):
            names = {name for fields in found for name in fields.names}
            if missing := [name for name in chosen if name not in names]:
                raise UsageError(
                    f"no {what} variable {printable(', '.join(missing))}: there are {', '.join(sorted(names))}"
                )
            if twice := sorted(name for name in names if sum(name in fields.names for fields in found) > 1):
                raise InputError(f"several {what} files have {printable(', '.join(twice))}: rename, or leave one out")
        domain = domain_of(truths[0], factor)
        for fields in sources:
            _check_place(fields, truths[0], domain)
        indexes = common_times([*sources, *truths])
        stamps = _stamps([*sources, *truths], indexes)
        _say_what_is_left_out([*sources, *truths], len(stamps))
        kept = [i for i, stamp in enumerate(stamps) if wanted(stamp)]
        stamps, indexes = [stamps[i] for i in kept], [[index[i] for i in kept] if index else [] for index in indexes]
        given = [(f, n, i) for f, i in zip(sources, indexes, strict=False) for n in _named(f, predictors)]
        aims = [(f, n, i) for f, i in zip(truths, indexes[len(sources) :], strict=True) for n in _named(f, targets)]
        if targets:
            aims.sort(key=lambda each: targets.index(each[1]))
        for fields, _, _ in aims:
            _same_grid(fields, truths[0], domain, factor)
        before, after = ([fields.at(name, index) for fields, name, index in each] for each in (given, aims))
        partner = partners_of(after, before, partners or {})
        times, (rows, columns) = len(stamps), domain.padded
        low = room((times, len(given), rows // factor + 2 * margin, columns // factor + 2 * margin))
        high, near = room((times, len(aims), rows, columns)), room((times, len(aims), rows, columns))
        middles = domain.middles(margin)
        for start in range(0, times, TOGETHER):
            part = slice(start, start + TOGETHER)

            def some(each: tuple[Fields, str, list[int]], part: slice = part) -> xr.DataArray:
                fields, name, index = each
                return fields.at(name, index[part]).load()

            for i, each in enumerate(given):
                values = some(each)
                low[part, i] = interpolated(values, each[0].grid, *middles, turning=domain.turning)
                for k in (k for k, at in enumerate(partner) if at == i):
                    there = interpolated(values, each[0].grid, domain.y, domain.x, turning=domain.turning)
                    near[part, k] = domain.pad(there)
            for k, each in enumerate(aims):
                high[part, k] = domain.pad(some(each).to_numpy().astype(np.float32))
        for k, at in enumerate(partner):
            if at is None:
                near[:, k] = np.nan
        return Pairs(
            domain,
            low,
            near,
            high,
            np.array([day_of_year(stamp) for stamp in stamps], np.float64),
            stamps,
            before,
            after,
            partner,
            margin,
            place_of(truths[0]),
            {name: share_outside(fields, domain) for fields, name, _ in given},
            {name: fields.spacing for fields, name, _ in given},
        )


def _check_place(coarse: Fields, fine: Fields, domain: Domain) -> None:
    """Refuse coarse fields of another CRS, of another place, or no coarser than the fine ones."""
    places = place_of(coarse), place_of(fine)
    kinds = coarse.grid.kind, fine.grid.kind
    if places[0] != places[1] and (None not in places or kinds[0] != kinds[1]):
        one, other = (kind if place is None else str(place.name) for place, kind in zip(places, kinds, strict=True))
        raise InputError(f"{coarse.shown} is {one}, {fine.shown} is {other}: warp one to the other's CRS first")
    if share_outside(coarse, domain) > NOWHERE:
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
    if all(0 < own <= wanted * 1.001 for own, wanted in zip(coarse.spacing, fine.spacing, strict=True)):
        words = f"{coarse.shown} has a cell every {coarse.spacing[0]:g}, {fine.shown} every {fine.spacing[0]:g}"
        raise InputError(f"{words}: coarse fields must be coarser, take their block means first")


NOWHERE = 0.9
"""Share of the fine cells beyond a coarse grid from which on the two are of other places."""


def _same_grid(fields: Fields, other: Fields, domain: Domain, factor: int) -> None:
    """Refuse fine fields on another grid."""
    own = domain_of(fields, factor)
    for mine, wanted, what in ((own.y, domain.y, "rows"), (own.x, domain.x, "columns")):
        words = f"{fields.shown} and {other.shown} have other fine grids"
        if len(mine) != len(wanted):
            raise InputError(f"{words} ({len(mine)} and {len(wanted)} {what}): bring them onto one")
        if not same_places(mine, wanted):
            off = int(np.argmax(np.abs(mine - wanted)))
            raise InputError(f"{words} ({what} at {mine[off]:g} and {wanted[off]:g}): bring them onto one")


def share_outside(fields: Fields, domain: Domain) -> float:
    """Share of a domain's cells whose middles lie beyond the cells of a grid."""
    shares = []
    for name, places in ((fields.grid.y_coordinate, domain.y), (fields.grid.x_coordinate, domain.x)):
        known = np.sort(fields.dataset[str(name)].to_numpy().astype(np.float64))
        if name == fields.grid.x_coordinate and domain.turning:
            known = np.sort(near(known, places.mean()))
        half = (known[-1] - known[0]) / max(len(known) - 1, 1) / 2
        shares.append(np.mean((places < known[0] - half) | (places > known[-1] + half)))
    return float(1 - (1 - shares[0]) * (1 - shares[1]))


def read_statics(paths: Sequence[str | os.PathLike[str]], domain: Domain, crs: CRS | None) -> tuple[Array, list[str]]:
    """Fields without times as means over the cells of the padded fine grid ``(k, Y, X)``, and their names.

    Those of another CRS are warped (GDAL's average, or bilinear where the fine grid is the finer one).

    Parameters
    ----------
    paths : sequence of path
        NetCDF, Zarr or GeoTIFF; names may be patterns.
    domain : Domain
        The fine grid.
    crs : CRS or None
        Its, if known.

    Raises
    ------
    InputError
        If one changes with time, or cannot be brought onto the fine grid.
    """
    layers, names = [], []
    for path in expanded(paths):
        with open_dataset(path) as stored:
            dataset = xr.decode_cf(stored, decode_times=False)
            fields = fields_of(dataset, printable(path.name))
            for name in fields.names:
                layer = dataset[name].squeeze(drop=True).transpose(fields.grid.y, fields.grid.x)
                own = place_of(fields)
                if own == crs:
                    layers.append(averaged(layer, fields.grid, domain))
                elif own is None or crs is None:
                    known, other = (fields.shown, "the fine grid") if crs is None else ("the fine grid", fields.shown)
                    raise InputError(f"{known} states a CRS, {other} none: give it one, or warp {fields.shown} first")
                else:
                    layers.append(_warped(layer.to_numpy(), grid_of(dataset, fields.grid), domain, crs))
                names.append(f"{path.stem}:{name}" if len(fields.names) > 1 else path.stem)
                if not np.isfinite(layers[-1]).any():
                    raise InputError(f"{printable(path.name)} has no value on the fine grid: check its coordinates")
    return np.stack(layers) if layers else np.zeros((0, *domain.padded)), names


def place_of(fields: Fields) -> CRS | None:
    """The CRS of fields; WGS 84 for latitude and longitude of any datum, whose differences are far below a cell."""
    found = crs_of(fields.dataset, fields.grid)
    if fields.grid.kind == "latitude-longitude" or (found is not None and found.is_geographic):
        return CRS.from_epsg(4326)
    return found


def _warped(values: Array, grid: Grid, domain: Domain, crs: CRS) -> Array:
    rows, columns = domain.shape
    for places in (domain.y, domain.x):
        steps = np.diff(places)
        if np.abs(steps - steps.mean()).max() > 1e-3 * abs(steps.mean()):
            raise InputError("static fields of another CRS need an evenly spaced fine grid: warp them first")
    down, right = (np.diff(places).mean() for places in (domain.y, domain.x))
    corner = Affine(right, 0, domain.x[0] - right / 2, 0, down, domain.y[0] - down / 2)
    made: Array = np.full((rows, columns), np.nan)
    with rasterio.Env():
        wanted = rasterio.crs.CRS.from_wkt(crs.to_wkt())
        size = abs(rasterio.warp.calculate_default_transform(grid.crs, wanted, *grid.shape[::-1], *grid.bounds)[0].a)
        rasterio.warp.reproject(
            np.asarray(values, np.float64),
            made,
            src_transform=grid.affine,
            src_crs=grid.crs,
            src_nodata=np.nan,
            dst_transform=corner,
            dst_crs=wanted,
            dst_nodata=np.nan,
            resampling=rasterio.enums.Resampling.average if size < abs(right) else rasterio.enums.Resampling.bilinear,
        )
    if not np.isfinite(made).any():
        raise InputError("a static field of another CRS does not reach the fine grid: check the CRS of both")
    return domain.pad(made)


def _named(fields: Fields, wanted: Sequence[str]) -> list[str]:
    return [name for name in fields.names if not wanted or name in wanted]


def _stamps(every: list[Fields], indexes: list[list[int]]) -> list[tuple[int, ...]]:
    for fields, chosen in zip(every, indexes, strict=True):
        if fields.time is not None:
            return [fields.stamps[i] for i in chosen]
    raise InputError("no file has a time axis: to train on rasters of one time, give the fine ones alone")


def day_of_year(stamp: tuple[int, ...]) -> float:
    """Days since the year began, from 0; months are equally long, as in no calendar and nearly in all."""
    month, day = stamp[1:3]
    return (month - 1) * 30.4375 + day - 1


def _say_what_is_left_out(every: list[Fields], shared: int) -> None:
    longer = [f"{f.shown} {len(f.stamps) - shared}" for f in every if f.time is not None and len(f.stamps) > shared]
    if longer:
        warn("W-TIMES", f"times without a partner are left out: {', '.join(longer)}; {shared} are in all files")


def day_text(stamp: tuple[int, ...]) -> str:
    """The day of a time, ``YYYY-MM-DD``."""
    year, month, day = stamp[:3]
    return f"{year:04d}-{month:02d}-{day:02d}"


def in_units(pairs: Pairs, k: int) -> tuple[float, float]:
    """Scale and offset of a target's partner to the target's units; 1 and 0 where they are not known."""
    at = pairs.partner[k]
    given, wanted = (
        "" if each is None else str(each.attrs.get("units", ""))
        for each in (None if at is None else pairs.predictors[at], pairs.targets[k])
    )
    return conversion(given, wanted) or (1.0, 0.0)


def partners_of(
    targets: Sequence[xr.DataArray], predictors: Sequence[xr.DataArray], said: dict[str, str]
) -> list[int | None]:
    """Which predictor is the same quantity as each target: as said, else by standard name, else by name."""
    known, aims = ([str(each.name) for each in some] for some in (predictors, targets))
    refuse_unknown("predictor", said.values(), known)
    refuse_unknown("target", said, aims)
    return [
        known.index(said[str(target.name)]) if str(target.name) in said else partner_of(target, predictors)
        for target in targets
    ]


def refuse_unknown(what: str, named: Iterable[str], there: Sequence[str]) -> None:
    """Refuse names that are not there."""
    if missing := [name for name in named if name not in there]:
        raise UsageError(f"no {what} {printable(', '.join(missing))}: there are {printable(', '.join(there))}")


def partner_of(target: xr.DataArray, predictors: Sequence[xr.DataArray]) -> int | None:
    """Which predictor is the same quantity: by standard name, else by name."""
    said = target.attrs.get("standard_name")
    for i, predictor in enumerate(predictors):
        if said and predictor.attrs.get("standard_name") == said:
            return i
    names = [predictor.name for predictor in predictors]
    return names.index(target.name) if target.name in names else None
