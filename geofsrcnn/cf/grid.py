"""Grids in xarray objects after CF 1.11: which dimensions are horizontal, and where their cells are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import (
    REFERENCES,
    attribute,
    is_time,
    join_names,
)
from geofsrcnn.cf.encoding import missing_of, packing_of
from geofsrcnn.cf.places import any_along, bounds_name, degrees_of, has_place_role, is_place_like, positions_of
from geofsrcnn.errors import InputError, UsageError, printable
from geofsrcnn.grids.axis import Axis, axis_of, period_along
from geofsrcnn.grids.mesh import mesh_period
from geofsrcnn.values.encoding import Missing, is_scaled
from geofsrcnn.values.quantity_words import X_NAMES, Y_NAMES

Kind = Literal["latitude-longitude", "projected", "rotated", "curvilinear", "index"]


@dataclass(frozen=True)
class CFGrid:
    """The horizontal grid of a dataset.

    Parameters
    ----------
    y, x : str
        Its dimensions.
    shape : tuple of int
        Cells along them.
    kind : str
        "latitude-longitude", "projected", "rotated", "curvilinear" (latitude and longitude of two dimensions alone say
        where cells are) or "index" (nothing does).
    y_coordinate, x_coordinate : str or None
        Variables of one dimension that say where rows and columns are.
    latitude, longitude : str or None
        Variables of two or more dimensions that do.
    mapping : str or None
        Grid mapping variable.
    period : int
        Columns that make the whole globe, so that the first is the last one's neighbour; 0 if they do not.
    even : bool
        Both axes are evenly spaced.
    variables : tuple of str
        Fields on this grid.
    """

    y: str
    x: str
    shape: tuple[int, int]
    kind: Kind
    y_coordinate: str | None = None
    x_coordinate: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    mapping: str | None = None
    period: int = 0
    even: bool = False
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = {
            "latitude-longitude": f"latitude ({self.y_coordinate}) and longitude ({self.x_coordinate})",
            "projected": f"projected ({self.y_coordinate}, {self.x_coordinate})",
            "rotated": f"rotated latitude and longitude ({self.y_coordinate}, {self.x_coordinate})",
            "curvilinear": f"curvilinear ({self.latitude}, {self.longitude})",
            "index": "without coordinates",
        }[self.kind]
        notes = [
            "evenly spaced" if self.even else "",
            "around the globe" if self.period else "",
            f"grid mapping {self.mapping}" if self.mapping else "",
        ]
        said = ", ".join(note for note in notes if note)
        return (
            f"{self.shape[0]} x {self.shape[1]} cells along ({self.y}, {self.x}), {where}"
            f"{', ' + said if said else ''}; fields: {', '.join(self.variables) or 'none'}"
        )

    __repr__ = __str__


def find_grid(
    dataset: xr.Dataset, *, variables: Iterable[str] | None = None, x: str | None = None, y: str | None = None
) -> CFGrid:
    """The horizontal grid of a dataset's fields.

    Dimensions are found by the axis, standard_name and units of coordinates, then by latitude and longitude of two
    dimensions, then by names.

    Parameters
    ----------
    dataset : Dataset
        With coordinates as variables; nothing but those is computed.
    variables : iterable of str, optional
        Fields to look at; all if not given.
    x, y : str, optional
        Dimensions, where they cannot be found or are not unique.

    Returns
    -------
    CFGrid

    Raises
    ------
    InputError
        If there is no horizontal grid, or a mesh without rows and columns.
    UsageError
        If a name is not there, or several grids are and none was chosen; the message lists them.
    """
    if strange := [name for name in (*dataset.variables, *dataset.dims) if not isinstance(name, str)]:
        raise UsageError(f"names must be text, which {join_names(strange)} is not: rename first")
    names = _choose_fields(dataset, variables)
    positions = positions_of(dataset)  # once: names alone are believed after a look at the values
    if (x is None) != (y is None):
        raise UsageError("give both dimensions of the grid, x= and y=, or none")
    fields: dict[tuple[str, str], list[str]] = {}
    if x is not None and y is not None:
        _check_dims(dataset, y, x)
        if members := [name for name in names if {x, y} <= set(dataset[name].dims)]:
            fields[y, x] = members
    else:
        for name in names:
            pair = _pair(dataset, name, [str(dim) for dim in dataset[name].dims], positions)
            if pair is not None:
                fields.setdefault(pair, []).append(name)
    if not fields and not dataset.data_vars and variables is None:  # coordinates alone, as at the root of a tree
        pair = _pair(dataset, "", [str(dim) for dim in dataset.dims], positions)
        fields = {} if pair is None else {pair: []}
    if not fields:
        raise _no_grid(dataset, names)
    if len(fields) > 1:
        listed = "; ".join(f"({a}, {b}): {join_names(members)}" for (a, b), members in fields.items())
        raise UsageError(f"several grids: {listed}: choose with variables=, or with y= and x=")
    ((pair, members),) = fields.items()
    return _describe(dataset, *pair, tuple(members), positions)


def _check_dims(dataset: xr.Dataset, y: str, x: str) -> None:
    """Refuse dimensions that are one, are not there, or are other axes by their metadata."""
    if x == y:
        raise UsageError(f"x= and y= are both {printable(x)}: they are two dimensions")
    for name, option, others in ((y, "y", ("X", "longitude")), (x, "x", ("Y", "latitude"))):
        if name not in dataset.dims:
            raise UsageError(f"no dimension {printable(name)}: there are {join_names(dataset.dims)}")
        if any_along(dataset, name, (*others, "T", "Z")) or is_time(dataset, name):
            raise UsageError(f"{option}='{printable(name)}' is another axis by its metadata: give the right dimension")


def _choose_fields(dataset: xr.Dataset, variables: Iterable[str] | None) -> list[str]:
    """Variables that may be fields."""
    if variables is not None:
        if not isinstance(variables, Iterable):
            raise UsageError(f"variables must be names, got {variables!r}")
        names = [variables] if isinstance(variables, str) else list(variables)
        if missing := [name for name in names if name not in dataset.variables]:
            raise UsageError(f"no variable {join_names(missing)}: there are {join_names(dataset.data_vars)}")
        return names
    helpers = _helper_names(dataset)
    return [str(name) for name in dataset.data_vars if name not in helpers and dataset[name].ndim >= 2]


def _helper_names(dataset: xr.Dataset) -> set[str]:
    """Variables that others refer to (bounds, coordinates, grid mappings, cell measures), and latitudes themselves."""
    found: set[str] = set()
    for name, variable in dataset.variables.items():
        for key in REFERENCES[:-1]:
            found |= {word.rstrip(":") for word in str(attribute(variable, key) or "").split()}
        if is_place_like(str(name), variable):
            found.add(str(name))
    return found & {str(name) for name in dataset.variables}


def _pair(
    dataset: xr.Dataset, name: str, dims: Sequence[str], positions: Sequence[tuple[str, str]]
) -> tuple[str, str] | None:
    """The horizontal dimensions ``(y, x)`` among those of a variable."""
    rows = [dim for dim in dims if any_along(dataset, dim, ("Y", "latitude"))]
    columns = [dim for dim in dims if any_along(dataset, dim, ("X", "longitude"))]
    if set(rows) & set(columns):  # latitude and longitude along one dimension: a list of places
        return None
    if len(rows) == len(columns) == 1:
        return rows[0], columns[0]
    for latitude, longitude in positions:
        plane = dataset[latitude].dims[-2:]
        if set(plane) <= set(dims) and set(plane) == set(dataset[longitude].dims[-2:]):
            return str(plane[0]), str(plane[1])
    rows = rows or [dim for dim in dims if Y_NAMES.fullmatch(dim.lower())]
    columns = columns or [dim for dim in dims if X_NAMES.fullmatch(dim.lower())]
    if len(rows) == len(columns) == 1 and rows != columns:
        return rows[0], columns[0]
    if len(rows) > 1 or len(columns) > 1:
        raise UsageError(
            f"variable {printable(name)} has several horizontal dimensions, {join_names([*rows, *columns])}: "
            "choose with y= and x="
        )
    return None


def _no_grid(dataset: xr.Dataset, names: list[str]) -> InputError | UsageError:
    mesh = [
        str(v.dims[0])
        for name, v in dataset.variables.items()
        if v.ndim == 1
        and has_place_role(v, str(name), "latitude")
        and any_along(dataset, str(v.dims[0]), ("longitude",))
    ]
    if mesh:
        return InputError(
            f"latitude and longitude both lie along {printable(mesh[0])}: an unstructured mesh, reduced grid or list "
            "of places has no rows and columns: interpolate it to a grid first"
        )
    fields = [name for name in names if dataset[name].ndim >= 2]
    if not fields:
        if names and len(names) < len(dataset.data_vars):
            return InputError(
                f"no two horizontal dimensions: {join_names(names)}; variables: {join_names(dataset.variables)}"
            )
        return InputError(f"no variable with two horizontal dimensions; variables: {join_names(dataset.variables)}")
    shown = "; ".join(f"{name}({', '.join(map(str, dataset[name].dims))})" for name in fields[:5])
    return UsageError(f"cannot tell which dimensions are horizontal: {printable(shown)}: name them with y= and x=")


def _describe(
    dataset: xr.Dataset, y: str, x: str, members: tuple[str, ...], positions: Sequence[tuple[str, str]]
) -> CFGrid:
    """Everything about a grid whose dimensions are known."""
    shape = int(dataset.sizes[y]), int(dataset.sizes[x])
    if 0 in shape:
        raise InputError(f"grid without cells: {printable(y)} has {shape[0]}, {printable(x)} has {shape[1]}")
    rows, columns = _coordinate(dataset, y, ("Y", "latitude")), _coordinate(dataset, x, ("X", "longitude"))
    place = next((pair for pair in positions if set(dataset[pair[0]].dims[-2:]) == {y, x}), (None, None))
    if place[0] is not None:  # which is preferred to rows that are not numbered in order
        rows, columns = (n if n is not None and is_monotonic(dataset[n]) else None for n in (rows, columns))
    kind = _kind(dataset, rows, columns, curvilinear=place[0] is not None)
    period, even = 0, False
    if kind in ("latitude-longitude", "projected", "rotated"):
        along_y, along_x = (axis_along(dataset, str(n)) for n in (rows, columns))
        even = along_y.even and along_x.even
        period = period_along(along_x) if kind != "projected" else 0
    if kind in ("projected", "curvilinear") and place[0] is not None:
        period = _period(dataset, place, (y, x))
    named = (_mapping(dataset[n], (rows, columns)) for n in members)
    mapping = next((m for m in named if m in dataset.variables), None)
    return CFGrid(y, x, shape, kind, rows, columns, place[0], place[1], mapping, period, even, members)


def _kind(dataset: xr.Dataset, rows: str | None, columns: str | None, *, curvilinear: bool) -> Kind:
    """Tell the kind of a grid by its coordinates of one dimension, and whether there are some of two as well."""
    if rows is None or columns is None:
        return "curvilinear" if curvilinear else "index"
    if curvilinear and numbers_cells(dataset[rows]) and numbers_cells(dataset[columns]):
        return "curvilinear"
    if dataset[rows].attrs.get("standard_name") == "grid_latitude":
        return "rotated"
    degrees = all(degrees_of(dataset[name], name) is not None for name in (rows, columns))
    return "latitude-longitude" if degrees else "projected"


def _period(dataset: xr.Dataset, place: tuple[str | None, str | None], dims: tuple[str, str]) -> int:
    """Columns around the globe by latitude and longitude of two dimensions."""
    if dataset[place[0]].ndim != 2:
        return 0
    latitude, longitude = (coordinate_values(dataset[n].transpose(*dims), marked=True) for n in place)
    return mesh_period(latitude, longitude)


def _mapping(variable: xr.DataArray, coordinates: Sequence[str | None]) -> str | None:
    """The grid mapping variable, in the short form, or in the expanded one that of these coordinates (CF 5.6)."""
    words = str(attribute(variable, "grid_mapping") or "").split()
    own = ""
    for word in words:
        own = word if word.endswith(":") else own
        if word in coordinates and own:
            return own.rstrip(":")
    return words[0].rstrip(":") if words else None


def _coordinate(dataset: xr.Dataset, dim: str, roles: Sequence[str]) -> str | None:
    """The variable along a dimension that says where its cells are."""
    along = [
        str(name)
        for name, v in dataset.variables.items()
        if v.dims == (dim,) and v.dtype.kind in "iuf" and np.isfinite(v.to_numpy()).any()
    ]
    if dim in along:
        return dim
    return next((name for role in roles for name in along if has_place_role(dataset[name], name, role)), None)


def numbers_cells(variable: xr.DataArray) -> bool:
    """Tell whether a coordinate only numbers the cells."""
    if variable.attrs.get("units", "1") not in ("1", "") or variable.size < 2:
        return False
    values = variable.to_numpy().astype(np.float64)
    return bool(np.all(np.diff(values) == 1) and np.all(values == np.rint(values)))


def is_monotonic(variable: xr.DataArray) -> bool:
    """Tell whether a coordinate rises or falls throughout."""
    steps = np.diff(variable.to_numpy().astype(np.float64))
    return bool((steps > 0).all() or (steps < 0).all())


def axis_along(dataset: xr.Dataset, name: str) -> Axis:
    """Cells along a coordinate of one dimension, with its stated bounds."""
    variable = dataset[name]
    bounds, which = bounds_name(dataset, variable), degrees_of(variable, name)
    return axis_of(
        coordinate_values(variable),
        None if bounds is None else coordinate_values(dataset[bounds]),
        latitude=which == "latitude",
        longitude=which == "longitude",
        name=printable(name),
    )


def coordinate_values(variable: xr.DataArray, *, marked: bool = False) -> Array:
    """Values of a coordinate, of their own type unless they are still packed or `marked` and some are missing.

    Coordinates along a dimension have no missing values (CF 2.5.1): a 0 is 0, though Zarr's fill value be 0 as well.
    """
    values: Array = variable.to_numpy()
    missing = Missing(missing_of(variable).marks)
    if marked and missing.marks and values.dtype.kind in "iuf" and not (valid := missing.valid(values)).all():
        values = np.where(valid, values, np.nan)
    if is_scaled(variable.attrs):
        return packing_of(variable).decode(values, np.dtype(np.float64))
    return values
