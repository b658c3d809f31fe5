"""Find what is wrong with pairs: places, shifts, constants, units."""

from __future__ import annotations

import itertools

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import printable
from geofsrcnn.pairs.fit import FEWEST
from geofsrcnn.pairs.match import BEYOND
from geofsrcnn.pairs.pairing import Pairing
from geofsrcnn.pairs.quantities import unit_conversion
from geofsrcnn.pairs.read import Pairs
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.units import differ


def diagnose(pairs: Pairs, pairing: Pairing, first: Array) -> list[str]:
    """Say what does not fit: grids that do not cover the fine one, constants, units, shifted fields."""
    found = [
        f"{100 * share:.0f} % of the fine cells lie beyond the grid of {printable(name)}, whose edge values stand there"
        for name, share in pairs.outside.items()
        if share > BEYOND
    ]
    found += [
        f"predictor {printable(predictor.name)} is constant: leave it out of predictors="
        for predictor in pairing.predictors
        if predictor.span[0] == predictor.span[1]
    ]
    for k, target in enumerate(pairing.targets):
        shown, at = printable(target.name), pairs.partner[k]
        if (share := _share_beyond(pairs, k, target.limits, first)) > MANY_BEYOND:
            low, high = target.limits
            words = f"{100 * share:.3g} % of the values of {shown} that are fitted on lie beyond its limits"
            found.append(f"{words} ({low:g} to {high:g}): check them, and its units")
        if at is None:
            found.append(f"target {shown} has no partner among the predictors: name one in partners=")
            continue
        units = target.attrs.get("units", ""), pairing.predictors[at].units
        if bool(units[0]) != bool(units[1]):
            silent, other = (shown, units[1]) if units[1] else (printable(target.partner), units[0])
            found.append(f"{silent} states no units: they are taken for {printable(other)}")
        if differ(*units):
            words = f"target {shown} counts in {printable(units[0])}, its partner in {printable(units[1])}"
            known_as = unit_conversion(target.name, target.attrs, units[1], units[0]) is not None
            after = "converted" if known_as else "the regression converts, plain interpolation is left out"
            found.append(f"{words}: {after}")
        shift = shift_of(pairs, at, k, first)
        if shift != (0, 0):
            words = (
                f"{printable(target.partner)} fits {shown} best when shifted by {shift[0]} rows and {shift[1]} columns"
            )
            found.append(f"{words} of the coarse grid: check the coordinates of both")
    return found


MANY_BEYOND = 0.001
"""Share of a target's values beyond its limits that is worth a word."""


def _share_beyond(pairs: Pairs, k: int, limits: tuple[float, float], first: Array) -> float:
    """Share of a target's known values that lie beyond limits."""
    beyond = known = 0
    for times in pairs.blocks(first):
        values = pairs.fine[times, k]
        beyond += int(((values < limits[0]) | (values > limits[1])).sum())
        known += int(np.isfinite(values).sum())
    return beyond / max(known, 1)


SHIFT_TIMES = 400


def shift_of(pairs: Pairs, i: int, k: int, first: Array) -> tuple[int, int]:
    """By how many coarse rows and columns a predictor is shifted against a target, from their anomalies' correlation.

    A shift counts where it leaves a fifth less of the variance unexplained than none. At most `SHIFT_TIMES` are looked
    at, evenly chosen.
    """
    reach = min(2, pairs.margin)
    times = np.nonzero(first)[0]
    times = times[np.unique(np.linspace(0, len(times) - 1, SHIFT_TIMES).astype(int))]
    truth = np.stack([block_mean(each, pairs.domain.factor) for each in pairs.fine[times, k].astype(np.float64)])
    cells = (np.isfinite(truth).all(0)).nonzero()
    if len(cells[0]) < FEWEST // 4:
        return 0, 0

    def anomalies(values: Array) -> Array:
        around: Array = values - values.mean(0)  # of the place
        around -= around.mean(1, keepdims=True)  # of the day
        return around

    shifts = list(itertools.product(range(-reach, reach + 1), repeat=2))
    given = {
        (dy, dx): pairs.coarse[times, i].astype(np.float64)[
            :, cells[0] + pairs.margin + dy, cells[1] + pairs.margin + dx
        ]
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
