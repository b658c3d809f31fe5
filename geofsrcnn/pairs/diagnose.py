"""Find what does not fit in pairs: cover of the fine grid, constants, limits, units, shifts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.errors import printable
from geofsrcnn.pairs.fit import FEWEST
from geofsrcnn.pairs.match import BEYOND
from geofsrcnn.pairs.pairing import Pairing, Predictor, Target
from geofsrcnn.pairs.predictive import MANY_ZEROS
from geofsrcnn.pairs.quantities import unit_conversion
from geofsrcnn.pairs.read import Pairs
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.units import differ


def diagnose(pairs: Pairs, pairing: Pairing, training_period: Mask, *, distribution: bool = False) -> list[str]:
    """Find what does not fit: grids that do not cover the fine one, constants, units, shifted fields.

    Where distributions are to be learned, also amounts with many zeros that are not told to be such.
    """
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
        found += _diagnose_limits(pairs, k, target, training_period)
        found += _diagnose_amounts(pairs, k, target, training_period) if distribution else []
        at = pairs.partner[k]
        if at is None:
            found.append(f"target {printable(target.name)} has no partner among the predictors: name one in partners=")
        else:
            found += _diagnose_units(target, pairing.predictors[at])
            found += _diagnose_shift(target, shift_of(pairs, at, k, training_period))
    return found


def _diagnose_limits(pairs: Pairs, k: int, target: Target, training_period: Mask) -> list[str]:
    low, high = target.limits
    share = share_where(pairs, k, training_period, lambda values: (values < low) | (values > high))
    if share <= MANY_BEYOND:
        return []
    words = f"{100 * share:.3g} % of the values of {printable(target.name)} that are fitted on lie beyond its limits"
    return [f"{words} ({low:g} to {high:g}): check them, and its units"]


def _diagnose_amounts(pairs: Pairs, k: int, target: Target, training_period: Mask) -> list[str]:
    """Find what looks like rain and has no limits, so that its distribution is a Gaussian."""
    if target.limits[0] != -math.inf:
        return []
    zeros = share_where(pairs, k, training_period, lambda values: values == 0)
    if zeros < MANY_ZEROS or share_where(pairs, k, training_period, lambda values: values < 0) > 0:
        return []
    words = f"{100 * zeros:.3g} % of the values of {printable(target.name)} are 0 and none is negative, as of rain"
    return [f"{words}: limits={{'{printable(target.name)}': (0, inf)}} makes its distribution a chance and an amount"]


def _diagnose_units(target: Target, partner: Predictor) -> list[str]:
    own, given, shown = target.attrs.get("units", ""), partner.units, printable(target.name)
    if bool(own) != bool(given):
        silent, other = (shown, given) if given else (printable(partner.name), own)
        return [f"{silent} states no units: they are taken for {printable(other)}"]
    if not differ(own, given):
        return []
    is_converted = unit_conversion(target.name, target.attrs, given, own) is not None
    after = "converted" if is_converted else "the regression converts, plain interpolation is left out"
    return [f"target {shown} counts in {printable(own)}, its partner in {printable(given)}: {after}"]


def _diagnose_shift(target: Target, shift: tuple[int, int]) -> list[str]:
    if shift == (0, 0):
        return []
    partner, shown = printable(target.partner), printable(target.name)
    words = f"{partner} fits {shown} best when shifted by {shift[0]} rows and {shift[1]} columns"
    return [f"{words} of the coarse grid: check the coordinates of both"]


MANY_BEYOND = 0.001
"""Share of a target's values beyond its limits that is worth a warning."""


def share_where(pairs: Pairs, k: int, training_period: Mask, condition: Callable[[Array], Mask]) -> float:
    """Share of a target's known values that a condition holds of."""
    held = known = 0
    for times in pairs.blocks(training_period):
        values = pairs.fine[times, k]
        held += int(condition(values).sum())
        known += int(np.isfinite(values).sum())
    return held / max(known, 1)


SHIFT_TIMES = 400


def shift_of(pairs: Pairs, i: int, k: int, training_period: Mask) -> tuple[int, int]:
    """By how many coarse rows and columns a predictor is shifted against a target, from their anomalies' correlation.

    A shift counts where it leaves a fifth less of the variance unexplained than none. At most `SHIFT_TIMES` are looked
    at, evenly chosen.
    """
    reach = min(2, pairs.margin)
    times = np.nonzero(training_period)[0]
    times = times[np.unique(np.linspace(0, len(times) - 1, SHIFT_TIMES).astype(int))]
    truth = np.stack([block_mean(each, pairs.domain.factor) for each in pairs.fine[times, k].astype(np.float64)])
    cells = (np.isfinite(truth).all(0)).nonzero()
    if len(cells[0]) < FEWEST // 4:
        return 0, 0

    def anomalies(values: Array) -> Array:
        result: Array = values - values.mean(0)  # of each cell
        result -= result.mean(1, keepdims=True)  # of each time
        return result

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
