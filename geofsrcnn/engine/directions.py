"""Directions through a model: as sine and cosine, so that 350 and 10 degrees meet at north."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import FREE, Rule
from geofsrcnn.grids.windows import Margin
from geofsrcnn.values.angles import mean_direction
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.quantity import direction_start

if TYPE_CHECKING:
    from geofsrcnn.networks.inference import Upsampler

    Block = Callable[[Array, Mask], tuple[Array, Array | None]]

FRAMES = tuple(math.radians(degrees) for degrees in (0, 45, 180, 225))
"""Turns of the compass that a direction is computed in. A network treats sine and cosine each for itself, so that the
result depends on where north is; the mean over these frames does not for eighth turns, and is nearer to the truth: of
ERA-Interim winds, 3 times finer, 1.055 degrees on average instead of 1.105 in one frame; turned by 13 to 70 degrees it
changes by 0.09 degrees on average instead of 0.2 to 0.5."""


def upscale_directions(
    block: Block, model: Upsampler, values: Array, valid: Mask, margin: Margin, rule: Rule
) -> tuple[Array, Array | None]:
    """Upscale the core of a block of directions.

    Parameters
    ----------
    block : callable
        Upscales a block of ordinary values, and tells their expected errors or not.
    model, values, valid, margin
        As for `geofsrcnn.engine.tile.upscale_block`.
    rule : Rule
        Whose period and start the directions have.

    Returns
    -------
    fine : ndarray (band, factor * y, factor * x), the type of `values`
        From the start to one period above it; cells beyond stand for no direction, and keep what they hold. With models
        that keep means, the mean unit vector of a block points where the coarse cell does (Mardia and Jupp 2000, 2.2).
    errors : ndarray (band, factor * y, factor * x), optional
        Expected absolute error of each direction, at most a quarter of the period: that of one that may be any. NaN
        where there is none.
    """
    start = start_of(rule, values, valid)
    if rule.natural != FREE or rule.start is None:
        with np.errstate(invalid="ignore"):
            valid = valid & (values >= start) & (values <= start + rule.value_period)  # others stand for no direction
    radians = values * values.dtype.type(2 * math.pi / rule.value_period)
    sine: Array = np.zeros(1)
    cosine: Array = np.zeros(1)
    errors = []
    for turn in FRAMES:  # turned forth before the model, and back after it
        turned = np.concatenate([np.sin(radians + turn), np.cos(radians + turn)]).astype(values.dtype, copy=False)
        fine_of_frame, expected = block(turned, np.concatenate([valid, valid]))
        sines, cosines = np.split(fine_of_frame, 2)
        errors += [] if expected is None else [_error_of_angle(fine_of_frame, expected)]
        sine = sine + sines * math.cos(turn) - cosines * math.sin(turn)
        cosine = cosine + cosines * math.cos(turn) + sines * math.sin(turn)
    angle = np.arctan2(sine, cosine)
    core = (slice(None), *(slice(a, n - b) for a, b, n in zip(*_sides(margin), values.shape[1:], strict=True)))
    if model.conserving:
        angle = _keep_mean_direction(angle, radians[core], model.factor)
    angle *= rule.value_period / (2 * math.pi)
    fine: Array = ((angle - start) % rule.value_period + start).astype(values.dtype)
    fine = np.where(fine < start + rule.value_period, fine, values.dtype.type(start))  # rounded up to the next turn
    told = repeat(valid[core], model.factor)
    fine = np.where(told, fine, repeat(values[core], model.factor))
    if not errors:
        return fine, None
    expected = np.mean(errors, axis=0) * (rule.value_period / (2 * math.pi))
    return fine, np.where(told, expected, np.nan).astype(values.dtype)


def start_of(rule: Rule, values: Array, valid: Mask) -> float:
    """Return where directions start to count: the rule's start, or by these values where it has none."""
    if rule.start is not None:
        return rule.start
    known = values[valid]
    return direction_start(rule.value_period, float(known.min()), float(known.max())) if known.size else 0.0


def _error_of_angle(components: Array, errors: Array) -> Array:
    """Expected absolute error of an angle, in radians, from those of its sine and cosine, one behind the other.

    The part across the direction turns it, the more the shorter the vector is.
    """
    (sine, cosine), (of_sine, of_cosine) = np.split(components, 2), np.split(errors, 2)
    across = np.hypot(cosine * of_sine, sine * of_cosine)
    with np.errstate(divide="ignore", invalid="ignore"):
        turned: Array = across / (sine**2 + cosine**2)
    return np.fmin(turned, math.pi / 2)


def _sides(margin: Margin) -> tuple[tuple[int, int], tuple[int, int]]:
    """Cells before and after the core, along rows and columns."""
    return (margin.top, margin.left), (margin.bottom, margin.right)


def _keep_mean_direction(angle: Array, coarse: Array, factor: int) -> Array:
    """Each block turned so that its mean unit vector points where the coarse cell does; all in radians."""
    turned: Array = angle + repeat((coarse - mean_direction(angle, factor)).astype(angle.dtype, copy=False), factor)
    return turned
