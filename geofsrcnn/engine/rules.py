"""From what a band or a variable is to what becomes of its values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from geofsrcnn._types import Range
from geofsrcnn.engine.base import FREE, Rule, Source
from geofsrcnn.errors import UsageError
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.encoding import Packing, within
from geofsrcnn.values.quantity import Kind, Quantity, direction_start, fraction_limits

SAMPLE = 1024
"""Cells along one side of the middle of a field that is looked at."""

Extremes = Callable[[], Range | None]


def rule_of_band(
    source: Source,
    position: int,
    number: int,
    quantity: Quantity,
    packing: Packing,
    factor: int,
    value_range: Range | None = None,
) -> Rule:
    """Return what becomes of a raster band's values, whether they are upscaled or evaluated.

    Where units and names leave open how values count, the middle of the band tells: it is bounded however large the
    raster is, and does not depend on what part of it is wanted, so that an evaluation judges what upscaling does.

    Parameters
    ----------
    source : Source
        The raster.
    position : int
        Where the band stands among those of the source, from 0.
    number : int
        Of the band in its file, which the user calls it by in ``kinds=``.
    quantity : Quantity
        What its values are.
    packing : Packing
        How they are stored when they are finer.
    factor : int
        Fine cells along one side of a coarse cell.
    value_range : tuple of float, optional
        What was asked for, instead of what the quantity can be.
    """
    return rule_of(
        quantity,
        str(number),
        factor,
        stored=None if quantity.kind is Kind.TOTAL else packing.limits,  # parts of totals are stored as floats
        value_range=value_range,
        step=packing.step,
        numbered=True,
        extremes=lambda: extremes_of(source, slice(position, position + 1)),
    )


def rule_of(
    quantity: Quantity,
    key: str,
    factor: int,
    *,
    stored: Range | None = None,
    value_range: Range | None = None,
    step: float = 0.0,
    numbered: bool = False,
    extremes: Extremes = lambda: None,
) -> Rule:
    """Return what becomes of values, by what they are.

    Parameters
    ----------
    quantity : Quantity
        What they are.
    key : str
        What the user calls them in ``kinds=``.
    factor : int
        Fine cells along one side of a coarse cell.
    stored : tuple of float, optional
        What can be stored.
    value_range : tuple of float, optional
        What was asked for, instead of what the quantity can be.
    step : float
        Step between neighbouring values as they are stored, of integers; 0 for floats.
    numbered : bool
        The key is the number of a band.
    extremes : callable
        Smallest and largest of some values; asked only where units and names leave open how they count.
    """
    taken_for = f"{quantity.kind.value} ({quantity.evidence})"
    rule = Rule(
        within(stored, value_range) or FREE,
        divisor=_divisor(factor, total=quantity.kind is Kind.TOTAL),
        step=step,
        key=key,
        numbered=numbered,
        taken_for=taken_for,
    )
    if quantity.kind is Kind.CATEGORY:
        return Rule(repeats=True, key=key, taken_for=taken_for)
    if quantity.kind is Kind.DIRECTION and quantity.period:
        start = _start(quantity.period, value_range, extremes)
        return Rule(
            natural=FREE if start is None or value_range is not None else (start, start + quantity.period),
            value_period=quantity.period,
            start=start,
            key=key,
            numbered=numbered,
            taken_for=taken_for,
        )
    if value_range is not None:
        return rule
    unsigned = stored is not None and stored[0] >= 0
    return replace(rule, natural=_natural(quantity, extremes), watched=quantity.unknown and not unsigned)


def rule_of_repeated(factor: int, *, total: bool, limits: Range | None = None) -> Rule:
    """Return what becomes of numbers that are repeated, whatever they mean; totals are divided all the same.

    Parameters
    ----------
    factor : int
        Fine cells along one side of a coarse cell.
    total : bool
        They are totals over a cell.
    limits : tuple of float, optional
        What can be stored.
    """
    return Rule(limits or FREE, divisor=_divisor(factor, total=total))


def _divisor(factor: int, *, total: bool) -> int:
    """Return what fine values are divided by: a total is shared equally by the fine cells of its coarse one."""
    return factor**2 if total else 1


def _start(period: float, value_range: Range | None, extremes: Extremes) -> float | None:
    """Where directions start to count: where was asked for, or by their values.

    Raises
    ------
    UsageError
        If the range that was asked for is not one turn.
    """
    if value_range is not None:
        if abs(value_range[1] - value_range[0] - period) > 1e-6 * period:
            low, high = value_range
            raise UsageError(f"value_range= is {low:g} to {high:g}: directions keep to one turn, such as 0 {period:g}")
        return value_range[0]
    found = extremes()
    return None if found is None else direction_start(period, *found)


def _natural(quantity: Quantity, extremes: Extremes) -> Range:
    """Bounds of a quantity; those of a fraction whose units do not tell, by what it holds."""
    if quantity.limits is None:
        return FREE
    if quantity.kind is Kind.FRACTION and math.isinf(quantity.limits[1]) and (found := extremes()) is not None:
        return fraction_limits(*found)
    return quantity.limits


def extremes_of(source: Source, *groups: slice) -> Range | None:
    """Smallest and largest value in the middle of some groups of bands; none if all cells there are missing."""
    window = Window.middle(source.shape[1:], SAMPLE)
    pieces = (source.read(window, bands) for bands in groups)
    values = np.concatenate([cells.values[cells.valid] for cells in pieces])
    return (float(np.min(values)), float(np.max(values))) if values.size else None
