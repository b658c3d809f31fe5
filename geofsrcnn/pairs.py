"""Coarse and fine fields of the same times, read, brought together, and divided into times to fit on and to score on.

What is fitted (means, spreads, regressions) is fitted on the first part alone.
"""

from __future__ import annotations

import glob
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
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
from geofsrcnn.resample import block_mean

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
    outside : dict of str to float
        Share of the fine cells that lie beyond a predictor's grid, where its edge values stand.
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
    outside: dict[str, float] = field(default_factory=dict)

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
                raise UsageError(
                    f"no {what} variable {printable(', '.join(missing))}: there are {', '.join(sorted(names))}"
                )
            if twice := sorted(name for name in names if sum(name in fields.names for fields in found) > 1):
                raise InputError(f"several {what} files have {printable(', '.join(twice))}: rename, or leave one out")
        domain = domain_of(truths[0], factor)
        indexes = common_times([*sources, *truths])
        stamps = _stamps([*sources, *truths], indexes)
        _say_what_is_left_out([*sources, *truths], len(stamps))
        y, x = domain.middles(margin)
        at_coarse: list[Array] = []
        at_fine: list[Array] = []
        before: list[xr.DataArray] = []
        outside: dict[str, float] = {}
        for fields, chosen in zip(sources, indexes, strict=False):
            for name in _named(fields, predictors):
                given = fields.at(name, chosen)
                before.append(given)
                outside[name] = share_outside(fields, domain)
                for places, into in (((y, x), at_coarse), ((domain.y, domain.x), at_fine)):
                    into.append(interpolated(given, fields.grid, *places, turning=domain.turning))
        after, values = [], []
        for fields, chosen in zip(truths, indexes[len(sources) :], strict=True):
            if domain_of(fields, factor).shape != domain.shape:
                raise InputError(f"{fields.shown} and {truths[0].shown} have other fine grids: bring them onto one")
            for name in _named(fields, targets):
                given = fields.at(name, chosen)
                after.append(given)
                values.append(given.to_numpy())
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
            outside,
        )


def share_outside(fields: Fields, domain: Domain) -> float:
    """Share of a domain's cells whose middles lie beyond the cells of a grid."""
    shares = []
    for name, places in ((fields.grid.y_coordinate, domain.y), (fields.grid.x_coordinate, domain.x)):
        known = np.sort(fields.dataset[str(name)].to_numpy().astype(np.float64))
        if name == fields.grid.x_coordinate and domain.turning:
            known = np.sort(known + 360 * np.round((places.mean() - known) / 360))
        half = (known[-1] - known[0]) / max(len(known) - 1, 1) / 2
        shares.append(np.mean((places < known[0] - half) | (places > known[-1] + half)))
    return float(1 - (1 - shares[0]) * (1 - shares[1]))


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
                layer = dataset[name].squeeze(drop=True).transpose(fields.grid.y, fields.grid.x)
                layers.append(averaged(layer, fields.grid, domain))
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
    base: str = "regression",
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
    base : {"regression", "correction"}
        What a target is before the network: a regression of each cell on its partner, or the partner with the mean
        difference of each cell, for a climate that leaves what it was fitted on.
    partners : dict of str to str
        Predictors by target; found by names where not given.
    transforms : dict of str to str
        Of predictors; none where not given.
    limits : dict of str to tuple of float
        Smallest and largest value of targets.
    """
    predictors = [
        Predictor(
            str(given.name),
            str(given.attrs.get("units", "")),
            Normalizer.fit([pairs.coarse[first, i]], transform=(transforms or {}).get(str(given.name), "none")),
        )
        for i, given in enumerate(pairs.predictors)
    ]
    known = [predictor.name for predictor in predictors]
    aims = [str(wanted.name) for wanted in pairs.targets]
    for what, named, there in (
        ("predictor", [*(partners or {}).values(), *(transforms or {})], known),
        ("target", [*(partners or {}), *(limits or {})], aims),
    ):
        if missing := [name for name in named if name not in there]:
            raise UsageError(f"no {what} {printable(', '.join(missing))}: there are {printable(', '.join(there))}")
    for low, high in (limits or {}).values():
        if not low < high:
            raise UsageError(f"limits must be a smaller and a larger number, got {low} and {high}")
    targets = []
    for k, wanted in enumerate(pairs.targets):
        said = (partners or {}).get(str(wanted.name))
        i = known.index(said) if said in known else partner_of(wanted, pairs.predictors)
        if base == "correction" and i is not None and differ(str(wanted.attrs.get("units", "")), predictors[i].units):
            raise UsageError(
                f"target {printable(wanted.name)} and its partner differ in units, which a correction of the mean does "
                "not convert: convert one, or take --base regression"
            )
        cells = CellRegression(pairs.domain.padded)
        cells.add(None if i is None else pairs.partners[first, i], pairs.fine[first, k])
        slope, offset, spread = cells.fitted(FEWEST, 1.0 if base == "correction" and i is not None else None)
        if not (spread > 0).any():
            words = f"target {printable(wanted.name)} has no cell with {FEWEST} values that differ"
            raise InputError(f"{words} among the times to fit on: take a later day, or another variable")
        targets.append(
            Target(
                str(wanted.name),
                {key: str(wanted.attrs[key]) for key in TEXTS if key in wanted.attrs},
                None if i is None else known[i],
                slope,
                offset,
                spread,
                (limits or {}).get(str(wanted.name), (-np.inf, np.inf)),
            )
        )
    standard = np.stack([Normalizer.fit([layer]).encode(layer) for layer in statics]) if len(statics) else statics
    return Pairing(pairs.domain, predictors, targets, np.nan_to_num(standard), calendar, tuple(names))


def diagnose(pairs: Pairs, pairing: Pairing, first: Array) -> list[str]:
    """What does not fit, in words: grids that do not cover the fine one, constants, units, shifted fields."""
    found = [
        f"{100 * share:.0f} % of the fine cells lie beyond the grid of {printable(name)}, whose edge values stand there"
        for name, share in pairs.outside.items()
        if share > 0.02
    ]
    for i, predictor in enumerate(pairing.predictors):
        values = pairs.coarse[first, i]
        if np.nanmin(values) == np.nanmax(values):
            found.append(f"predictor {printable(predictor.name)} is constant: leave it out with --predictors")
    known = {predictor.name: i for i, predictor in enumerate(pairing.predictors)}
    for k, target in enumerate(pairing.targets):
        shown = printable(target.name)
        if target.partner is None:
            found.append(f"target {shown} has no partner among the predictors: name one with --partner {shown}=NAME")
            continue
        units = target.attrs.get("units", ""), pairing.predictors[known[target.partner]].units
        if differ(*units):
            words = f"target {shown} counts in {printable(units[0])}, its partner in {printable(units[1])}"
            found.append(f"{words}: the regression converts, plain interpolation is left out of the comparison")
        shift = shift_of(pairs, known[target.partner], k, first)
        if shift != (0, 0):
            words = (
                f"{printable(target.partner)} fits {shown} best when shifted by {shift[0]} rows and {shift[1]} columns"
            )
            found.append(f"{words} of the coarse grid: check the coordinates of both")
    return found


def differ(one: str, other: str) -> bool:
    """Whether two units are stated and not the same."""
    return bool(one) and bool(other) and one != other


def shift_of(pairs: Pairs, i: int, k: int, first: Array) -> tuple[int, int]:
    """By how many coarse rows and columns a predictor is shifted against a target, from their anomalies' correlation.

    A shift counts where it leaves a fifth less of the variance unexplained than none.
    """
    reach = min(2, pairs.margin)
    truth = np.stack([block_mean(each, pairs.domain.factor) for each in pairs.fine[first, k]])
    cells = (np.isfinite(truth).all(0)).nonzero()
    if len(cells[0]) < FEWEST // 4:
        return 0, 0

    def anomalies(values: Array) -> Array:
        around: Array = values - values.mean(0)  # of the place
        around -= around.mean(1, keepdims=True)  # of the day
        return around

    shifts = list(itertools.product(range(-reach, reach + 1), repeat=2))
    given = {
        (dy, dx): pairs.coarse[first, i][:, cells[0] + pairs.margin + dy, cells[1] + pairs.margin + dx]
        for dy, dx in shifts
    }
    whole = np.logical_and.reduce([np.isfinite(values).all(0) for values in given.values()])  # the same cells for all
    if whole.sum() < FEWEST // 4:
        return 0, 0
    wanted = anomalies(truth[:, *cells][:, whole])
    found = {}
    for shift, values in given.items():
        a = anomalies(values[:, whole])
        size = np.sqrt((a**2).sum() * (wanted**2).sum())
        found[shift] = float((a * wanted).sum() / size) if size > 0 else 0.0
    best = max(found, key=lambda shift: found[shift])
    clear = found[best] > 0.3 and 1 - found[best] ** 2 < 0.8 * (1 - max(found[0, 0], 0) ** 2)
    return best if clear else (0, 0)


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
                if not differ(target.attrs.get("units", ""), pairing.predictors[known.index(target.partner)].units):
                    scores["bilinear"] = partner
                    scores["mean correction"] = partner + _climatology(truth - partner, first)
                cells = CellRegression(pairs.domain.padded)
                cells.add(partner[first], truth[first])
                slope, offset, _ = cells.fitted(FEWEST)
                scores["cell regression"] = slope * partner + offset
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
