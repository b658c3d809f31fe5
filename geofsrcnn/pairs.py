"""Coarse and fine fields of the same times, read, brought together, and divided into times to fit on and to score on.

What is fitted (means, spreads, regressions) is fitted on the first part alone.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from geofsrcnn.align import Fields, averaged, common_times, domain_of, fields_of, interpolated
from geofsrcnn.domain import Domain
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.files import local_path
from geofsrcnn.metrics import rmse
from geofsrcnn.normalize import Normalizer
from geofsrcnn.opening import opened_dataset
from geofsrcnn.pairing import CellRegression, Pairing, Predictor, Target

Array = npt.NDArray[Any]

FEWEST = 20
"""Times that a fine cell needs to be trained on."""

TEXTS = ("units", "standard_name", "long_name", "cell_methods")


@dataclass(frozen=True)
class Pairs:
    """All fields in memory, on grids that fit.

    Parameters
    ----------
    domain : Domain
        The fine grid.
    coarse : ndarray (time, predictor, y, x)
        On the coarse grid, in the predictors' units, without margin or with `margin` cells around.
    partners : ndarray (time, predictor, Y, X)
        The same at the padded fine grid's cells.
    fine : ndarray (time, target, Y, X)
        Padded; NaN where missing.
    days : ndarray (time,)
        Of the year, from 0.
    stamps : list of tuple
        Of the times.
    predictors, targets : list of DataArray
        For names, units and other words.
    margin : int
        Coarse cells around the grid in `coarse`.
    """

    domain: Domain
    coarse: Array
    partners: Array
    fine: Array
    days: Array
    stamps: list[tuple[int, ...]]
    predictors: list[xr.DataArray]
    targets: list[xr.DataArray]
    margin: int

    @property
    def digest(self) -> str:
        """SHA-256 of all values, hexadecimal."""
        result = hashlib.sha256()
        for part in (self.coarse, self.fine, self.days):
            result.update(np.ascontiguousarray(part).view(np.uint8).data)
        return result.hexdigest()


def expanded(names: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Files by name or pattern.

    Raises
    ------
    InputError
        If there is none.
    """
    found: list[Path] = []
    for name in names:
        text = os.fspath(name)
        matches = [text] if Path(text).exists() or not glob.has_magic(text) else sorted(glob.glob(text))  # noqa: PTH207
        if not matches:
            raise InputError(f"no file matches {printable(text)}")
        found += [local_path(match) for match in matches]
    return found


def read_pairs(
    coarse: Sequence[str | os.PathLike[str]],
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    margin: int,
    *,
    predictors: Sequence[str] = (),
    targets: Sequence[str] = (),
) -> Pairs:
    """Read coarse and fine files, and bring them onto one pair of grids at the times that all have.

    Parameters
    ----------
    coarse, fine : sequence of path
        NetCDF, Zarr or GeoTIFF; names may be patterns.
    factor : int
        Fine cells along one side of a coarse cell.
    margin : int
        Coarse cells around the fine grid that are read as well.
    predictors, targets : sequence of str
        Variables; all fields if none are given.

    Raises
    ------
    InputError, UsageError
        If a file has no such fields, there is no common time, or grids cannot be brought together.
    """
    with ExitStack() as held:

        def read(path: Path, wanted: Sequence[str]) -> Fields:
            dataset = xr.decode_cf(held.enter_context(opened_dataset(path)), decode_timedelta=False)
            there = [name for name in wanted if name in dataset.variables]
            return fields_of(dataset, printable(path.name), there or None)

        sources = [read(path, predictors) for path in expanded(coarse)]
        truths = [read(path, targets) for path in expanded(fine)]
        for wanted, found, what in ((predictors, sources, "coarse"), (targets, truths, "fine")):
            names = {name for fields in found for name in fields.names}
            if missing := [name for name in wanted if name not in names]:
                raise UsageError(f"no {what} variable {printable(', '.join(missing))}: there are {', '.join(names)}")
        domain = domain_of(truths[0], factor)
        indexes = common_times([*sources, *truths])
        stamps = _stamps([*sources, *truths], indexes)
        _say_what_is_left_out([*sources, *truths], len(stamps))
        y, x = domain.middles(margin)
        at_coarse: list[Array] = []
        at_fine: list[Array] = []
        before: list[xr.DataArray] = []
        for fields, chosen in zip(sources, indexes, strict=False):
            for name in _named(fields, predictors):
                field = fields.at(name, chosen)
                before.append(field)
                for places, into in (((y, x), at_coarse), ((domain.y, domain.x), at_fine)):
                    into.append(interpolated(field, fields.grid, *places, turning=domain.turning))
        after, values = [], []
        for fields, chosen in zip(truths, indexes[len(sources) :], strict=True):
            if domain_of(fields, factor).shape != domain.shape:
                raise InputError(f"{fields.shown} and {truths[0].shown} have other fine grids: bring them onto one")
            for name in _named(fields, targets):
                field = fields.at(name, chosen)
                after.append(field)
                values.append(field.to_numpy())
        return Pairs(
            domain,
            np.stack(at_coarse, 1).astype(np.float64),
            domain.pad(np.stack(at_fine, 1).astype(np.float64)),
            domain.pad(np.stack(values, 1).astype(np.float64)),
            np.array([day_of_year(stamp) for stamp in stamps], np.float64),
            stamps,
            before,
            after,
            margin,
        )


def read_statics(paths: Sequence[str | os.PathLike[str]], domain: Domain) -> tuple[Array, list[str]]:
    """Fields without times as means over the cells of the padded fine grid ``(k, Y, X)``, and their names.

    Raises
    ------
    InputError
        If one changes with time, or has no coordinates of one dimension.
    """
    layers, names = [], []
    for path in expanded(paths):
        with opened_dataset(path) as stored:
            dataset = xr.decode_cf(stored, decode_times=False)
            fields = fields_of(dataset, printable(path.name))
            for name in fields.names:
                field = dataset[name].squeeze(drop=True).transpose(fields.grid.y, fields.grid.x)
                layers.append(averaged(field, fields.grid, domain))
                names.append(f"{path.stem}:{name}" if len(fields.names) > 1 else path.stem)
    return np.stack(layers) if layers else np.zeros((0, *domain.padded)), names


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


# ------------------------------------------------------------------------------------------------------ fitting


def partner_of(target: xr.DataArray, predictors: Sequence[xr.DataArray]) -> int | None:
    """Which predictor is the same quantity: by standard name, else by name."""
    for key in ("standard_name",):
        said = target.attrs.get(key)
        for i, predictor in enumerate(predictors):
            if said and predictor.attrs.get(key) == said:
                return i
    names = [predictor.name for predictor in predictors]
    return names.index(target.name) if target.name in names else None


def fit(
    pairs: Pairs,
    first: Array,
    *,
    statics: Array,
    names: Sequence[str] = (),
    calendar: bool = False,
    partners: dict[str, str] | None = None,
    transforms: dict[str, str] | None = None,
    limits: dict[str, tuple[float, float]] | None = None,
) -> Pairing:
    """All constants around the network, from the first part of the times.

    Parameters
    ----------
    pairs : Pairs
        All times.
    first : ndarray (time,) of bool
        Those to fit on.
    statics : ndarray (k, Y, X)
        On the padded fine grid.
    names : sequence of str
        Of the statics.
    calendar : bool
        The day of the year is a predictor.
    partners : dict of str to str
        Predictors by target; found by names where not given.
    transforms : dict of str to str
        Of predictors; none where not given.
    limits : dict of str to tuple of float
        Smallest and largest value of targets.
    """
    predictors = [
        Predictor(
            str(field.name),
            str(field.attrs.get("units", "")),
            Normalizer.fit([pairs.coarse[first, i]], transform=(transforms or {}).get(str(field.name), "none")),
        )
        for i, field in enumerate(pairs.predictors)
    ]
    known = [predictor.name for predictor in predictors]
    targets = []
    for k, field in enumerate(pairs.targets):
        said = (partners or {}).get(str(field.name))
        i = known.index(said) if said in known else partner_of(field, pairs.predictors)
        cells = CellRegression(pairs.domain.padded)
        cells.add(None if i is None else pairs.partners[first, i], pairs.fine[first, k])
        targets.append(
            Target(
                str(field.name),
                {key: str(field.attrs[key]) for key in TEXTS if key in field.attrs},
                None if i is None else known[i],
                *cells.fitted(FEWEST),
                (limits or {}).get(str(field.name), (-np.inf, np.inf)),
            )
        )
    standard = np.stack([Normalizer.fit([layer]).encode(layer) for layer in statics]) if len(statics) else statics
    return Pairing(pairs.domain, predictors, targets, np.nan_to_num(standard), calendar, tuple(names))


def baselines(pairs: Pairs, pairing: Pairing, first: Array) -> dict[str, dict[str, float]]:
    """RMSE of simple methods on the times that were not fitted on, by target.

    ``bilinear``: the partner, interpolated; ``mean correction``: with the mean difference of each cell added;
    ``cell regression``: with slope and offset of each cell; ``climatology``: each cell's mean.
    """
    known = [predictor.name for predictor in pairing.predictors]
    found: dict[str, dict[str, float]] = {}
    for k, target in enumerate(pairing.targets):
        truth = pairs.fine[:, k]
        with np.errstate(invalid="ignore"):
            scores = {"climatology": _climatology(truth, first)}
            if target.partner is not None:
                partner = pairs.partners[:, known.index(target.partner)]
                scores["bilinear"] = partner
                scores["mean correction"] = partner + _climatology(truth - partner, first)
                scores["cell regression"] = target.base(partner, len(truth))
        found[target.name] = {
            name: rmse(guess[~first], truth[~first], scored(pairs, pairing, k)[~first])
            for name, guess in ((n, np.broadcast_to(g, truth.shape)) for n, g in scores.items())
        }
    return found


def scored(pairs: Pairs, pairing: Pairing, k: int) -> npt.NDArray[np.bool_]:
    """Cells ``(time, Y, X)`` of a target that can be scored."""
    return np.isfinite(pairs.fine[:, k]) & np.isfinite(pairing.targets[k].spread)


def _climatology(values: Array, first: Array) -> Array:
    known = np.isfinite(values[first])
    return np.asarray(np.where(known, values[first], 0).sum(0) / np.maximum(known.sum(0), 1))


def batches(first: Array, size: int, seed: int, step: int) -> Iterator[Array]:
    """Indexes of times, step by step; each time once in an epoch, in an order that seed and epoch decide."""
    times = np.nonzero(first)[0]
    in_epoch = max(1, len(times) // size)
    while True:
        epoch, place = divmod(step, in_epoch)
        order = np.random.default_rng([seed, epoch]).permutation(times)
        yield order[place * size : (place + 1) * size]
        step += 1
