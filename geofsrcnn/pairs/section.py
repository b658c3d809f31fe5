"""Words and arrays of what stands around a network of pairs, as a section of its checkpoint, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geofsrcnn._types import Array
from geofsrcnn.cf.dates import parse_day
from geofsrcnn.errors import ConfigError
from geofsrcnn.grids.fine import Domain
from geofsrcnn.options import FACTORS
from geofsrcnn.pairs.frames import GLOBE, Frame
from geofsrcnn.pairs.pairing import (
    BILINEAR,
    CLIMATOLOGY,
    CONSERVING,
    CORRECTION,
    REGRESSION,
    Pairing,
    Predictor,
    Target,
)
from geofsrcnn.pairs.quantities import unit_conversion
from geofsrcnn.pairs.spec import MAX_MEMBERS
from geofsrcnn.values.normalize import Normalizer


def pack(pairing: Pairing) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.float32]]]:
    """A pairing as plain values and arrays without NaN, for a checkpoint."""
    domain, frame = pairing.domain, pairing.frame
    words = {
        "y": domain.y.tolist(),
        "x": domain.x.tolist(),
        "factor": domain.factor,
        "names": list(domain.names),
        "turning": domain.is_longitude,
        "predictors": [_predictor_words(predictor) for predictor in pairing.predictors],
        "targets": [_target_words(target) for target in pairing.targets],
        "statics": list(pairing.static_names),
        "calendar": pairing.calendar,
        "fitted": [str(day) for day in pairing.fitted],
        "members": pairing.members,
        **({} if frame.is_globe else {"crs": frame.crs, "scale": list(frame.scale)}),
    }
    zeros = np.zeros(domain.padded)
    arrays: dict[str, Array] = {}
    for name, (baseline, part) in _CELLS.items():
        cells = [target.baselines.get(baseline, (zeros, zeros))[part] for target in pairing.targets]
        arrays[name] = np.stack([np.nan_to_num(each) for each in cells])
    arrays["spread"], arrays["known"] = np.nan_to_num(pairing.std), np.isfinite(pairing.std)
    arrays["statics"] = pairing.static_predictors
    return words, {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def _predictor_words(predictor: Predictor) -> dict[str, Any]:
    return {
        "name": predictor.name,
        "units": predictor.units,
        "transform": predictor.normalizer.transform,
        "mean": float(predictor.normalizer.mean),
        "spread": float(predictor.normalizer.std),
        "span": [float(end) for end in predictor.span],
        "spacing": [float(step) for step in predictor.spacing],
        "outside": float(predictor.outside),
    }


def _target_words(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "attrs": target.attrs,
        "partner": target.partner,
        "base": target.base,
        "lines": sorted(target.baselines),
        "conserving": target.conserving,
        "limits": [None if np.isinf(end) else float(end) for end in target.limits],
    }


_CELLS = {
    "climatology": (CLIMATOLOGY, 1),
    "correction": (CORRECTION, 1),
    "slope": (REGRESSION, 0),
    "offset": (REGRESSION, 1),
}
"""Arrays of a checkpoint: of which baseline they are the slope (0) or offset (1)."""


def shapes(words: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays that go with the words of a card; none without words."""
    if not words:
        return {}
    rows, columns = _domain(words).padded
    cells = {name: (len(words["targets"]), rows, columns) for name in (*_CELLS, "spread", "known")}
    return {**cells, "statics": (len(words["statics"]), rows, columns)}


def member_count(words: dict[str, Any]) -> int:
    """Networks that go with the words of a card; one without words."""
    count = int(words["members"]) if words else 1
    if not 1 <= count <= MAX_MEMBERS:
        raise ConfigError("members that cannot be")
    return count


def unpack(words: dict[str, Any], arrays: dict[str, Array]) -> Pairing:
    """The pairing that `pack` has taken apart.

    Raises
    ------
    ConfigError
        If the words do not go together.
    """
    known = arrays["known"] > 0
    cells = {name: np.where(known, arrays[name], np.nan).astype(np.float64) for name in (*_CELLS, "spread")}
    predictors = [_predictor(each) for each in words["predictors"]]
    units = {predictor.name: predictor.units for predictor in predictors}
    targets = [
        _target(each, {name: array[k] for name, array in cells.items()}, units)
        for k, each in enumerate(words["targets"])
    ]
    first, last = (parse_day(str(day)) for day in words["fitted"])
    if first is None or last is None:
        raise ConfigError("days that cannot be")
    return Pairing(
        _domain(words),
        predictors,
        targets,
        arrays["statics"],
        bool(words["calendar"]),
        tuple(map(str, words["statics"])),
        (first, last),
        member_count(words),
        _frame(words),
    )


def _predictor(words: dict[str, Any]) -> Predictor:
    mean, std = (np.asarray(float(words[name])) for name in ("mean", "spread"))
    low, high = map(float, words["span"])
    rows, columns = map(float, words["spacing"])
    return Predictor(
        str(words["name"]),
        str(words["units"]),
        Normalizer(mean, std, str(words["transform"])),
        (low, high),
        (rows, columns),
        float(words["outside"]),
    )


def _target(words: dict[str, Any], cells: dict[str, Array], units: dict[str, str]) -> Target:
    """The target of some words.

    Parameters
    ----------
    words : dict
        Of the target.
    cells : dict of str to ndarray (y, x)
        Its arrays, NaN in cells that were never seen.
    units : dict of str to str
        Of predictors by name.
    """
    name, partner = str(words["name"]), words["partner"]
    attrs = {str(key): str(value) for key, value in words["attrs"].items()}
    if partner is not None and partner not in units:
        raise ConfigError(f"no predictor {partner}")
    conversion = unit_conversion(name, attrs, units.get(partner, ""), attrs.get("units", ""))
    fitted = _baselines(cells, conversion or (1.0, 0.0))
    baselines = {str(method): fitted[method] for method in words["lines"]}
    if words["base"] not in baselines:
        raise ConfigError(f"no base {words['base']}")
    conserving = str(words["conserving"])
    if conserving not in CONSERVING:
        raise ConfigError(f"conserving that is not known, {conserving}")
    if conserving != "none" and BILINEAR not in baselines:
        raise ConfigError("conserving without a partner in the same units")
    low, high = words["limits"]
    limits = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    return Target(name, attrs, partner, baselines, str(words["base"]), cells["spread"], limits, conserving)


def _baselines(cells: dict[str, Array], conversion: tuple[float, float]) -> dict[str, tuple[Array, Array]]:
    """Slope and offset of every baseline, from the arrays of a target and the units of its partner."""
    scale, offset = (np.full(cells["spread"].shape, number) for number in conversion)
    return {
        CLIMATOLOGY: (np.zeros_like(scale), cells["climatology"]),
        BILINEAR: (scale, offset),
        CORRECTION: (scale, cells["correction"]),
        REGRESSION: (cells["slope"], cells["offset"]),
    }


def _frame(words: dict[str, Any]) -> Frame:
    if "crs" not in words:
        return Frame(GLOBE) if words["turning"] else Frame()
    y, x = map(float, words["scale"])
    frame = Frame(str(words["crs"]), (y, x))
    if not frame.is_valid:
        raise ConfigError("a CRS that cannot be")
    return frame


def _domain(words: dict[str, Any]) -> Domain:
    y, x = (np.asarray(words[name], np.float64) for name in ("y", "x"))
    factor = int(words["factor"])
    if y.ndim != 1 or x.ndim != 1 or min(len(y), len(x)) < 2 or factor not in FACTORS:
        raise ConfigError("coordinates or factor that cannot be")
    rows, columns = map(str, words["names"])
    return Domain(y, x, factor, (rows, columns), bool(words["turning"]))
