"""Which variables say where cells are: latitudes, longitudes, their boundaries; by role, attribute or name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

import numpy as np
import xarray as xr

from geofsrcnn.cf.attributes import attribute, has_role
from geofsrcnn.errors import InputError, printable
from geofsrcnn.values.encoding import is_scaled
from geofsrcnn.values.quantity_units import Measure, read_units
from geofsrcnn.values.quantity_words import is_boundary, place_named

Place = Literal["latitude", "longitude"]

PLACES: tuple[Place, ...] = ("latitude", "longitude")

MOST = {"latitude": 90.5, "longitude": 720.5}
"""Largest magnitudes of degrees."""


def place_of(variable: xr.Variable | xr.DataArray, name: str) -> Place | None:
    """Tell which place a variable holds: its attributes say so, or its name where they say nothing else.

    A variable whose units are plain degrees, or none, is what it is called, if its values can be that.
    """
    for which in PLACES:
        if has_role(variable, which):
            return which
    units = read_units(str(variable.attrs.get("units", "")))
    if variable.attrs.get("standard_name") or variable.dtype.kind not in "iuf":
        return None
    if units.text and units.measure is not Measure.DEGREES:
        return None
    named = place_named(name)
    for which in PLACES:
        if named == which and not is_boundary(name) and _within(variable, MOST[which]):
            return which
    return None


def has_place_role(variable: xr.Variable | xr.DataArray, name: str, role: str) -> bool:
    """Tell whether a variable is an X, Y, latitude or longitude."""
    return has_role(variable, role) or place_of(variable, name) == role


def any_along(dataset: xr.Dataset, dim: str, roles: Sequence[str]) -> bool:
    """Tell whether a variable along this dimension alone has one of the roles."""
    return any(
        v.dims == (dim,) and any(has_place_role(v, str(name), role) for role in roles)
        for name, v in dataset.variables.items()
    )


def is_place_like(name: str, variable: xr.Variable | xr.DataArray) -> bool:
    """Tell whether a variable holds latitudes, longitudes, or corners of cells by its name."""
    if place_of(variable, name) is not None:
        return True
    return place_named(name) is not None and is_boundary(name)


def _within(variable: xr.Variable | xr.DataArray, most: float) -> bool:
    """Tell whether finite values are at most so large; only those in memory or along two dimensions are looked at."""
    if variable.ndim > 2 or is_scaled(variable.attrs):
        return True
    values = variable.to_numpy()
    values = values[np.isfinite(values) & (np.abs(values) < 1e15)]  # not marks of missing cells
    return bool(values.size) and bool((np.abs(values) <= most).mean() > 0.5)


def refuse_other_angles(variable: xr.Variable | xr.DataArray, name: str) -> None:
    """Refuse latitudes and longitudes that do not count degrees, where places on the globe are computed of them."""
    if (unit := angle_of(variable)) and place_of(variable, name) is not None:
        raise InputError(f"{printable(name)} counts in {printable(unit)}: give latitudes and longitudes in degrees")


def positions_of(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Pairs of latitude and longitude of two or more dimensions, each with the longitude named most like it."""
    many = {str(name): v for name, v in dataset.variables.items() if v.ndim >= 2}
    found: dict[Place, list[str]] = {"latitude": [], "longitude": []}
    for name, variable in many.items():
        which = place_of(variable, name)
        if which is not None:
            refuse_other_angles(variable, name)
            found[which].append(name)
    pairs = []
    for latitude in found["latitude"]:
        alike = [name for name in found["longitude"] if many[name].dims == many[latitude].dims]
        if alike:
            pairs.append((latitude, max(alike, key=lambda name: _likeness(latitude, name))))
    return pairs


def _likeness(latitude: str, longitude: str) -> float:
    """How alike two names are, but for the word that differs."""
    other = latitude.lower().replace("lat", "lon").replace("gphi", "glam")
    return SequenceMatcher(None, other, longitude.lower()).ratio()


def angle_of(variable: xr.Variable | xr.DataArray) -> str:
    """The unit of angles other than degrees, such as grads, that a variable counts in; "" where it is none."""
    units = str(variable.attrs.get("units", "")).strip()
    return units if read_units(units).measure in {Measure.GRADS, Measure.RADIANS} else ""


def degrees_of(variable: xr.DataArray, name: str) -> Place | None:
    """Tell whether a coordinate counts degrees of latitude or of longitude, rotated ones included.

    Those in grads or radians are coordinates like those of a projection: no pole lies at 90, nor goes the globe to 360.
    """
    if angle_of(variable):
        return None
    for which in PLACES:
        if variable.attrs.get("standard_name") == f"grid_{which}":
            return which
    return place_of(variable, name)


def bounds_name(dataset: xr.Dataset, variable: xr.DataArray) -> str | None:
    """The variable with a coordinate's cell boundaries (CF 7.1), by its attribute, else by its name and shape."""
    stated, own = attribute(variable, "bounds"), str(variable.name)
    if isinstance(stated, str) and stated in dataset.variables:
        return stated if _bounds(dataset.variables[stated], variable) else None
    for name, other in dataset.variables.items():
        if _named_after(str(name), own) and _bounds(other, variable) and _encloses(other, variable):
            return str(name)
    return None


def _named_after(name: str, coordinate: str) -> bool:
    """Tell whether a name is that of a coordinate's boundaries: `lat_bnds`, `vertices_longitude`."""
    return is_boundary(name) and set(coordinate.lower().split("_")) <= set(name.lower().split("_"))


def _bounds(stated: xr.Variable, variable: xr.DataArray) -> bool:
    """Tell whether a variable has the shape of a coordinate's boundaries."""
    return stated.dims[:-1] == variable.dims and (variable.ndim > 1 or stated.shape[-1] == 2)


def _encloses(stated: xr.Variable, variable: xr.DataArray) -> bool:
    """Tell whether boundaries that nothing refers to lie around the coordinate, but for cells across a date line."""
    edges, values = stated.to_numpy(), variable.to_numpy()
    if edges.dtype.kind not in "iuf" or values.dtype.kind not in "iuf":
        return False
    inside = (edges.min(-1) <= values) & (values <= edges.max(-1))
    return bool(inside.mean() > 0.9)
