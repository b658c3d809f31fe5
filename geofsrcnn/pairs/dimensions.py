"""Dimensions besides time, y and x: levels, which become variables, and members of an ensemble, which are run over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from geofsrcnn.cf.attributes import has_role
from geofsrcnn.errors import InputError, printable
from geofsrcnn.values.units import conversion

_LEVELS = re.compile(
    r"p?lev(el)?s?|plevs?\d*|pressure(_levels?)?|isobaric\w*|lv_isbl\d*|height\w*|altitude\w*|depth\w*|z|hybrid\w*|"
    r"model_?levels?|bottom_top|air_pressure"
)

_MEMBERS = re.compile(r"numbers?|members?(_id)?|realizations?|realisations?|ens(emble)?s?(_?mem(ber)?s?)?|run|variant")


def is_member(dataset: xr.Dataset, dim: str) -> bool:
    """Tell whether a dimension counts the members of an ensemble."""
    attrs = dataset[dim].attrs if dim in dataset.variables else {}
    stated = attrs.get("standard_name") == "realization" or attrs.get("axis") == "E"
    return stated or bool(_MEMBERS.fullmatch(dim.lower()))


def is_level(dataset: xr.Dataset, dim: str) -> bool:
    """Tell whether a dimension is vertical."""
    if _LEVELS.fullmatch(dim.lower()):
        return True
    if dim not in dataset.variables:
        return False
    variable = dataset[dim]
    return has_role(variable, "vertical") or has_role(variable, "Z") or _is_pressure(variable)


def _is_pressure(variable: xr.DataArray) -> bool:
    units = str(variable.attrs.get("units", ""))
    return bool(units) and conversion(units, "hPa") is not None


def split_levels(dataset: xr.Dataset, wanted: Iterable[str] = ()) -> tuple[xr.Dataset, dict[str, str]]:
    """Each level of a variable as a variable of its own, named by it: ``ta`` at 850 hPa is ``ta850``.

    A single level stays under the variable's name, unless its own is wanted.

    Parameters
    ----------
    dataset : Dataset
        Read when asked for.
    wanted : iterable of str
        Names that are needed.

    Returns
    -------
    dataset : Dataset
        With the levels instead of their variables.
    parents : dict of str to str
        The variable of each level.

    Raises
    ------
    InputError
        If two levels have the same name.
    """
    wanted = set(wanted)
    found: dict[str, xr.DataArray] = {}
    parents: dict[str, str] = {}
    for name in map(str, dataset.data_vars):
        variable = dataset[name]
        dims = [str(dim) for dim in variable.dims if variable.ndim > 2 and is_level(dataset, str(dim))]
        if len(dims) != 1:
            continue
        (dim,) = dims
        names = [f"{name}{label}" for label in _labels(dataset, dim)]
        if variable.sizes[dim] == 1 and (name in wanted or not wanted & set(names)):
            continue
        if len(set(names)) < len(names) or set(names) & {*found, *map(str, dataset.variables)}:
            raise InputError(f"levels of {printable(name)} and variables have the same names: rename, or select some")
        found |= {new: variable.isel({dim: i}, drop=True).rename(new) for i, new in enumerate(names)}
        parents |= dict.fromkeys(names, name)
    return dataset.drop_vars(set(parents.values())).assign(found), parents


def _labels(dataset: xr.Dataset, dim: str) -> list[str]:
    """Levels in words: pressures in hPa, lengths with their unit, all else as it is."""
    if dim not in dataset.variables or dataset[dim].ndim != 1:
        return [str(i) for i in range(dataset.sizes[dim])]
    variable = dataset[dim]
    values, units = variable.to_numpy(), str(variable.attrs.get("units", ""))
    if values.dtype.kind not in "iuf":
        return [printable(value) for value in values]
    if units and (found := conversion(units, "hPa")) is not None:
        return [_text(value * found[0]) for value in values]
    unit = units if units in ("m", "km", "cm") else ""
    return [f"{_text(value)}{unit}" for value in values]


def _text(value: float) -> str:
    return f"{float(np.round(value, 6)):g}"


def select_names(names: Sequence[str], parents: dict[str, str], wanted: Sequence[str]) -> list[str]:
    """The names that are wanted, each level of a variable where its name is; all if none are."""
    return [name for name in names if not wanted or name in wanted or parents.get(name) in wanted]
