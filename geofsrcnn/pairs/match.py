"""Tell whether coarse fields fit a model of pairs: the one answer for applying it and for evaluating it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geofsrcnn.errors import InputError, printable, warn
from geofsrcnn.pairs.pairing import Predictor
from geofsrcnn.pairs.quantities import unit_conversion

NOWHERE = 0.9
"""Share of the fine cells beyond a coarse grid from which on the two are of other places."""

BEYOND = 0.02
"""Share of the fine cells beyond a predictor's grid, in use more than in training, that is worth a warning."""

_RESOLUTION = 0.02
"""Relative difference of a predictor's spacing up to which it is the same resolution."""


def match_predictor(
    predictor: Predictor,
    attrs: Mapping[str, Any],
    spacing: tuple[float, float],
    outside: float,
    shown: str = "the model",
    *,
    is_daily: bool = False,
) -> tuple[float, float]:
    """Return scale and offset from a field's units to those of the predictor that it stands for.

    A warning tells where the field covers less of the fine grid than in training.

    Parameters
    ----------
    predictor : Predictor
        As the model was trained on it.
    attrs : mapping
        Of the field: its units among them.
    spacing : tuple of float
        Between the field's rows and columns; 0 where unknown.
    outside : float
        Share of the fine cells that lie beyond the field's grid.
    shown : str
        The model, for messages.
    is_daily : bool
        Each value of the field is that of a day.

    Raises
    ------
    InputError
        If the units do not convert, or the field is on another resolution or at another place.
    """
    name, units = printable(predictor.name), str(attrs.get("units", ""))
    conversion = unit_conversion(predictor.name, attrs, units, predictor.units, is_daily=is_daily)
    if conversion is None:
        words = f"{name} is in {printable(units)}, {shown} was trained on {printable(predictor.units)}"
        raise InputError(f"{words}: convert it first")
    for own, wanted, what in zip(spacing, predictor.spacing, ("rows", "columns"), strict=True):
        if own and wanted and abs(own / wanted - 1) > _RESOLUTION:
            words = f"{name} has {what} every {own:g}, {shown} was trained on {wanted:g}"
            raise InputError(f"{words}: bring it onto that grid first")
    if outside > NOWHERE:
        raise InputError(f"{name} does not cover {shown}'s grid: check its coordinates")
    if outside > predictor.outside + BEYOND:
        warn(
            "W-PLACE",
            f"{100 * outside:.0f} % of the fine cells lie beyond the grid of {name}, "
            f"{100 * predictor.outside:.0f} % did in training: its edge values stand there",
        )
    return conversion
