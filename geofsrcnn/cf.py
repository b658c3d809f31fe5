"""Grids in xarray objects after CF 1.11: which dimensions are horizontal, and what each variable becomes.

`refine` looks at the metadata and the coordinates of a dataset, not at its fields, and says of each variable what is
to be done with it on the finer grid; coordinates, bounds, grid mappings and cell areas of that grid it makes itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from cf_xarray.criteria import coordinate_criteria

from geofsrcnn.axes import Axis, axis_of, columns_around, mesh_around, mesh_of
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.nodata import Missing, stored_limits, within

Array = npt.NDArray[Any]
Kind = Literal["latitude-longitude", "projected", "rotated", "curvilinear", "index"]
Role = Literal["field", "total", "repeated", "made", "same", "dropped"]
"""What becomes of a variable: upscaled; upscaled and divided among the parts of a cell; repeated; made anew for the
finer grid; copied; left out."""

Y_NAMES = re.compile(
    r"(y|lat|latitude|rlat|nlat|j|nj|yc|row|rows|south_north|grid_latitude|northing|number_of_lines)\d*"
)
X_NAMES = re.compile(
    r"(x|lon|longitude|rlon|nlon|i|ni|xc|column|columns|west_east|grid_longitude|easting|pixels_per_line)\d*"
)
LATITUDE_NAMES = re.compile(r"(lat|latitude)\d*")
LONGITUDE_NAMES = re.compile(r"(lon|longitude)\d*")
HORIZONTAL = ("X", "Y", "latitude", "longitude")

REFERENCES = (
    *("bounds", "climatology", "coordinates", "grid_mapping", "cell_measures", "formula_terms"),
    "ancillary_variables",
)
"""Attributes that name other variables (CF appendix A)."""

STALE_ENCODING = {
    *("chunksizes", "preferred_chunks", "chunks", "shards", "source", "original_shape", "contiguous", "unlimited_dims"),
    "fletcher32",
}
PACKED_ATTRS = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
"""Attributes that say how values are stored (CF 8.1)."""

RESOLUTION = re.compile(r"geospatial_(lat|lon)_resolution")
CATEGORIES = re.compile(r"binary_mask|area_type|status_flag|quality_flag")

NEVER_NEGATIVE = ("precipitation", "rainfall", "snowfall", "specific_humidity", "relative_humidity", "wind_speed")
"""Parts of the standard names of quantities that are 0 or more (CF standard name table)."""

NEGATIVE = re.compile(r"tendency|change|anomaly|difference|due_to|convergence|divergence|correction|increment|_log")
"""Words of standard names whose quantities may be negative all the same."""


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
    around : int
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
    around: int = 0
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
            "around the globe" if self.around else "",
            f"grid mapping {self.mapping}" if self.mapping else "",
        ]
        said = ", ".join(note for note in notes if note)
        return (
            f"{self.shape[0]} x {self.shape[1]} cells along ({self.y}, {self.x}), {where}"
            f"{', ' + said if said else ''}; fields: {', '.join(self.variables) or 'none'}"
        )

    __repr__ = __str__


@dataclass(frozen=True)
class Refinement:
    """What a dataset becomes on the grid that is `factor` times finer.

    Parameters
    ----------
    grid : CFGrid
        The coarse grid.
    factor : int
        Fine cells along one side of a coarse cell.
    roles : dict of str to str
        What is done with each variable.
    made : dict of str to xarray.Variable
        Variables with the role "made".
    attrs : dict
        Of the dataset; `history` is left to the caller.
    """

    grid: CFGrid
    factor: int
    roles: dict[str, Role]
    made: dict[str, xr.Variable] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)


# -------------------------------------------------------------------------------------------------------- grid


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
        raise UsageError(f"names must be text, which {_listed(strange)} is not: rename first")
    names = _chosen(dataset, variables)
    if (x is None) != (y is None):
        raise UsageError("give both dimensions of the grid, --x and --y, or none")
    if x is not None and x == y:
        raise UsageError(f"--x and --y are both {printable(x)}: they are two dimensions")
    if x is not None and y is not None:
        for name, option, others in ((y, "--y", ("X", "longitude")), (x, "--x", ("Y", "latitude"))):
            if name not in dataset.dims:
                raise UsageError(f"no dimension {printable(name)}: there are {_listed(dataset.dims)}")
            if _along(dataset, name, (*others, "T", "Z")) or _is_time(dataset, name):
                raise UsageError(
                    f"{option} {printable(name)} is another axis by its metadata: give the right dimension"
                )
        pairs = {(y, x): [n for n in names if {x, y} <= set(dataset[n].dims)]}
    else:
        pairs = {}
        for name in names:
            pair = _pair(dataset, name)
            if pair is not None:
                pairs.setdefault(pair, []).append(name)
    fields = {pair: found for pair, found in pairs.items() if found}
    if not fields:
        raise _no_grid(dataset, names)
    if len(fields) > 1:
        found = "; ".join(f"({a}, {b}): {_listed(members)}" for (a, b), members in fields.items())
        raise UsageError(f"several grids: {found}: choose with --variables, or with --y and --x")
    ((pair, members),) = fields.items()
    return _described(dataset, *pair, tuple(members))


def _chosen(dataset: xr.Dataset, variables: Iterable[str] | None) -> list[str]:
    """Variables that may be fields."""
    if variables is not None:
        if not isinstance(variables, Iterable):
            raise UsageError(f"variables must be names, got {variables!r}")
        names = [variables] if isinstance(variables, str) else list(variables)
        if missing := [name for name in names if name not in dataset.variables]:
            raise UsageError(f"no variable {_listed(missing)}: there are {_listed(dataset.data_vars)}")
        return names
    helpers = _helpers(dataset)
    return [str(name) for name in dataset.data_vars if name not in helpers and dataset[name].ndim >= 2]


def _helpers(dataset: xr.Dataset) -> set[str]:
    """Variables that others refer to (bounds, coordinates, grid mappings, cell measures), and latitudes themselves."""
    found: set[str] = set()
    for name, variable in dataset.variables.items():
        for key in REFERENCES[:-1]:
            found |= {word.rstrip(":") for word in str(_said(variable, key) or "").split()}
        if is_place(variable):
            found.add(str(name))
    return found & {str(name) for name in dataset.variables}


def _said(variable: xr.Variable | xr.DataArray, key: str) -> Any:
    """An attribute, wherever xarray has put it."""
    return variable.attrs.get(key, variable.encoding.get(key))


def _is(variable: xr.Variable | xr.DataArray, role: str) -> bool:
    """Whether a variable's attributes say that it is an X, Y, latitude or longitude."""
    return any(variable.attrs.get(key) in values for key, values in coordinate_criteria[role].items())


def is_place(variable: xr.Variable) -> bool:
    """Whether a variable's attributes say that it is a latitude or a longitude."""
    return _is(variable, "latitude") or _is(variable, "longitude")


def _pair(dataset: xr.Dataset, name: str) -> tuple[str, str] | None:
    """The horizontal dimensions ``(y, x)`` of a variable."""
    dims = [str(dim) for dim in dataset[name].dims]
    rows = [dim for dim in dims if _along(dataset, dim, ("Y", "latitude"))]
    columns = [dim for dim in dims if _along(dataset, dim, ("X", "longitude"))]
    if set(rows) & set(columns):  # latitude and longitude along one dimension: a list of places
        return None
    if len(rows) == len(columns) == 1:
        return rows[0], columns[0]
    for latitude, longitude in _places(dataset):
        around = dataset[latitude].dims[-2:]
        if set(around) <= set(dims) and set(around) == set(dataset[longitude].dims[-2:]):
            return str(around[0]), str(around[1])
    rows = rows or [dim for dim in dims if Y_NAMES.fullmatch(dim.lower())]
    columns = columns or [dim for dim in dims if X_NAMES.fullmatch(dim.lower())]
    if len(rows) == len(columns) == 1 and rows != columns:
        return rows[0], columns[0]
    if len(rows) > 1 or len(columns) > 1:
        raise UsageError(
            f"variable {printable(name)} has several horizontal dimensions, {_listed([*rows, *columns])}: "
            "choose with --y and --x"
        )
    return None


def _along(dataset: xr.Dataset, dim: str, roles: Sequence[str]) -> bool:
    """Whether a variable along this dimension alone has one of the roles."""
    return any(v.dims == (dim,) and any(_is(v, role) for role in roles) for v in dataset.variables.values())


def _is_time(dataset: xr.Dataset, dim: str) -> bool:
    """Whether the coordinate along a dimension holds times, decoded or not."""
    if dim not in dataset.variables:
        return False
    variable = dataset.variables[dim]
    return variable.dtype.kind in "Mm" or _counts_time(variable)


def _counts_time(variable: xr.Variable | xr.DataArray) -> bool:
    return re.search(r"\bsince\b", str(variable.attrs.get("units", ""))) is not None


def _places(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """Pairs of latitude and longitude of two or more dimensions."""
    many = {str(name): v for name, v in dataset.variables.items() if v.ndim >= 2}
    latitudes = [name for name, v in many.items() if _is(v, "latitude")]
    longitudes = [name for name, v in many.items() if _is(v, "longitude")]
    return [(a, b) for a in latitudes for b in longitudes if many[a].dims == many[b].dims]


def _no_grid(dataset: xr.Dataset, names: list[str]) -> InputError | UsageError:
    mesh = [
        str(v.dims[0])
        for v in dataset.variables.values()
        if v.ndim == 1 and _is(v, "latitude") and _along(dataset, str(v.dims[0]), ("longitude",))
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
                f"no two horizontal dimensions: {_listed(names)}; variables: {_listed(dataset.variables)}"
            )
        return InputError(f"no variable with two horizontal dimensions; variables: {_listed(dataset.variables)}")
    shown = "; ".join(f"{name}({', '.join(map(str, dataset[name].dims))})" for name in fields[:5])
    return UsageError(f"cannot tell which dimensions are horizontal: {printable(shown)}: name them with --y and --x")


def _listed(names: Iterable[Any]) -> str:
    return printable(", ".join(map(str, names))) or "none"


def _described(dataset: xr.Dataset, y: str, x: str, members: tuple[str, ...]) -> CFGrid:
    """Everything about a grid whose dimensions are known."""
    shape = int(dataset.sizes[y]), int(dataset.sizes[x])
    if 0 in shape:
        raise InputError(f"grid without cells: {printable(y)} has {shape[0]}, {printable(x)} has {shape[1]}")
    rows, columns = _coordinate(dataset, y, ("Y", "latitude")), _coordinate(dataset, x, ("X", "longitude"))
    place = next((pair for pair in _places(dataset) if set(dataset[pair[0]].dims[-2:]) == {y, x}), (None, None))
    if place[0] is not None:  # which say it better than rows that are not numbered in order
        rows, columns = (n if n is not None and _in_order(dataset[n]) else None for n in (rows, columns))
    kind: Kind
    if rows is not None and columns is not None:
        degrees = [_degrees_of(dataset[n], n) is not None for n in (rows, columns)]
        rotated = dataset[rows].attrs.get("standard_name") == "grid_latitude"
        kind = "rotated" if rotated else "latitude-longitude" if all(degrees) else "projected"
        if place[0] is not None and _counts(dataset[rows]) and _counts(dataset[columns]):
            kind = "curvilinear"
    else:
        kind = "curvilinear" if place[0] is not None else "index"
    around, even = 0, False
    if kind in ("latitude-longitude", "projected", "rotated"):
        along_y, along_x = (_axis(dataset, str(n)) for n in (rows, columns))
        even = along_y.even and along_x.even
        around = columns_around(along_x) if kind != "projected" else 0
    elif kind == "curvilinear" and dataset[place[0]].ndim == 2:
        latitude, longitude = (dataset[n].transpose(y, x).to_numpy() for n in place)
        around = mesh_around(latitude, longitude)
    mapping = next((m for m in (_mapping(dataset[n]) for n in members) if m in dataset.variables), None)
    return CFGrid(y, x, shape, kind, rows, columns, place[0], place[1], mapping, around, even, members)


def _mapping(variable: xr.DataArray) -> str | None:
    """The grid mapping variable, in the short form or the first of the expanded one (CF 5.6)."""
    words = str(_said(variable, "grid_mapping") or "").split()
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
    return next((name for role in roles for name in along if _is(dataset[name], role)), None)


def _counts(variable: xr.DataArray) -> bool:
    """Whether a coordinate only numbers the cells."""
    if variable.attrs.get("units", "1") not in ("1", "") or variable.size < 2:
        return False
    values = variable.to_numpy().astype(np.float64)
    return bool(np.all(np.diff(values) == 1) and np.all(values == np.rint(values)))


def _in_order(variable: xr.DataArray) -> bool:
    """Whether a coordinate rises or falls throughout."""
    steps = np.diff(variable.to_numpy().astype(np.float64))
    return bool((steps > 0).all() or (steps < 0).all())


def _degrees_of(variable: xr.DataArray, name: str) -> str | None:
    """Whether a coordinate counts degrees of latitude or of longitude, rotated ones included."""
    standard = str(variable.attrs.get("standard_name", ""))
    for which, names in (("latitude", LATITUDE_NAMES), ("longitude", LONGITUDE_NAMES)):
        if _is(variable, which) or standard == f"grid_{which}":
            return which
        unsaid = not any(key in variable.attrs for key in ("standard_name", "units"))
        if unsaid and names.fullmatch(name.lower()):
            return which
    return None


def _axis(dataset: xr.Dataset, name: str) -> Axis:
    """Cells along a coordinate of one dimension, with its stated bounds."""
    variable = dataset[name]
    bounds, which = _bounds(dataset, variable), _degrees_of(variable, name)
    return axis_of(
        _unpacked(variable),
        None if bounds is None else _unpacked(dataset[bounds]),
        latitude=which == "latitude",
        longitude=which == "longitude",
        name=printable(name),
    )


def _bounds(dataset: xr.Dataset, variable: xr.DataArray) -> str | None:
    """The variable with a coordinate's cell boundaries, where it has one more dimension (CF 7.1)."""
    name = _said(variable, "bounds")
    if not isinstance(name, str) or name not in dataset.variables:
        return None
    stated = dataset.variables[name]
    whole = stated.dims[:-1] == variable.dims and (variable.ndim > 1 or stated.shape[-1] == 2)
    return str(name) if whole else None


def _unpacked(variable: xr.DataArray, *, marked: bool = False) -> Array:
    """Values of a coordinate, of their own type unless they are still packed or `marked` and some are missing.

    Coordinates along a dimension have no missing values (CF 2.5.1): a 0 is 0, though Zarr's fill value be 0 as well.
    """
    values: Array = variable.to_numpy()
    missing = Missing(missing_of(variable).marks)
    if marked and missing.marks and values.dtype.kind in "iuf" and not (valid := missing.valid(values)).all():
        values = np.where(valid, values, np.nan)
    if "scale_factor" in variable.attrs or "add_offset" in variable.attrs:
        scale, offset = (float(variable.attrs.get(k, d)) for k, d in (("scale_factor", 1), ("add_offset", 0)))
        return values.astype(np.float64) * scale + offset
    return values


# ------------------------------------------------------------------------------------------------------ refine


def refine(
    dataset: xr.Dataset,
    factor: int,
    *,
    variables: Iterable[str] | None = None,
    x: str | None = None,
    y: str | None = None,
) -> Refinement:
    """What becomes of each variable on the grid that is `factor` times finer.

    Each cell is split into ``factor x factor`` parts within its bounds: stated ones, else midway between
    coordinates, latitudes up to the poles.

    Parameters
    ----------
    dataset : Dataset
        As xarray decodes it, or not decoded.
    factor : int
        Fine cells along one side of a coarse cell.
    variables, x, y
        As for `find_grid`. Other fields on the grid are left out where `variables` are given.

    Returns
    -------
    Refinement

    Raises
    ------
    InputError, UsageError
        As for `find_grid`, and if coordinates make no cells or a field's type cannot be upscaled.
    """
    grid = find_grid(dataset, variables=variables, x=x, y=y)
    made = {
        **_fine_axes(dataset, grid, factor),
        **_fine_places(dataset, grid, factor),
        **_fine_areas(dataset, grid, factor),
    }
    made |= _fine_mappings(dataset, grid, made)
    wanted = None if variables is None else _needed(dataset, grid.variables)
    roles: dict[str, Role] = {}
    for name, variable in dataset.variables.items():
        roles[str(name)] = "made" if name in made else _role(dataset, str(name), variable, grid, wanted)
    repeated = [name for name, role in roles.items() if role == "repeated"]
    if repeated:
        warn("W-REPEATED", f"not interpolated but repeated (categories, text, or one direction): {_listed(repeated)}")
    attrs = {k: v for k, v in dataset.attrs.items() if not RESOLUTION.fullmatch(str(k))}
    return Refinement(grid, factor, roles, made, attrs)


def without_dangling(attrs: Mapping[str, Any], plan: Refinement) -> dict[str, Any]:
    """Attributes less the references to variables that are left out."""
    out = {name for name, role in plan.roles.items() if role == "dropped"}
    kept = dict(attrs)
    for key in REFERENCES:
        words = str(kept.get(key, "")).split()
        if not out & set(words):
            continue
        rest = [word for word in words if word not in out]
        if key in ("coordinates", "ancillary_variables") and rest:
            kept[key] = " ".join(rest)
        else:
            del kept[key]
    return kept


def _needed(dataset: xr.Dataset, chosen: Sequence[str]) -> set[str]:
    """Fields, and all that they refer to: coordinates, and what the levels of their coordinates are made of."""
    needed: set[str] = set()
    found = list(chosen)
    while found:
        name = found.pop()
        if name in dataset.variables and name not in needed:
            needed.add(name)
            variable = dataset.variables[name]
            found += map(str, variable.dims)
            for key in ("coordinates", "bounds", "formula_terms"):
                found += str(_said(variable, key) or "").split()
    return needed


def _role(dataset: xr.Dataset, name: str, variable: xr.Variable, grid: CFGrid, wanted: set[str] | None) -> Role:
    across = {grid.y, grid.x} & set(variable.dims)
    if not across:
        return "same"
    if wanted is not None and name not in wanted and name in dataset.data_vars:
        return "dropped"
    category = any(key in variable.attrs for key in ("flag_values", "flag_masks", "flag_meanings"))
    category |= CATEGORIES.search(str(variable.attrs.get("standard_name", ""))) is not None
    category |= enumeration(variable) is not None
    if variable.dtype.kind == "c":
        raise InputError(f"variable {printable(name)} is complex: take its real and imaginary part, or its modulus")
    if len(across) < 2 or category or variable.dtype.kind not in "iuf" or _counts_time(variable):
        return "repeated"
    total = re.search(r"\barea:\s*sum", str(variable.attrs.get("cell_methods", "")))
    return "total" if total else "field"


def _fine_axes(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Coordinates of one dimension and their bounds."""
    made: dict[str, xr.Variable] = {}
    for dim, main in ((grid.y, grid.y_coordinate), (grid.x, grid.x_coordinate)):
        for name, variable in ((str(n), dataset[n]) for n, v in dataset.variables.items() if v.dims == (dim,)):
            places = any(_is(variable, role) for role in coordinate_criteria if role in HORIZONTAL)
            if name in made or not (name == main or places) or variable.dtype.kind not in "iuf":
                continue
            if name != main and not _in_order(variable):
                continue
            if _counts(variable) and grid.kind in ("curvilinear", "index"):
                first = variable.to_numpy()[0]
                count = np.arange(variable.size * factor) + first
                made[name] = xr.Variable((dim,), count.astype(variable.dtype), _coordinate_attrs(dataset, variable))
                continue
            axis, bounds = _axis(dataset, name), _bounds(dataset, variable)
            fine = axis.split(factor)
            shift = np.zeros(1)
            if _degrees_of(variable, name) == "longitude":  # back to the convention of the cell that it is part of
                shift = np.repeat(_unpacked(variable).astype(np.float64) - axis.values, factor)
            attrs = _coordinate_attrs(dataset, variable)
            if bounds is None and not fine.even:
                bounds = _free(f"{name}_bnds", {*dataset.variables, *made})
                attrs["bounds"] = bounds
            made[name] = _float64((dim,), fine.values + shift, attrs)
            if bounds is not None and bounds not in made:
                stated = dataset.variables.get(bounds)
                other = {str(d) for d, size in dataset.sizes.items() if size != 2}
                dims = (dim, _free("bnds", other)) if stated is None else stated.dims
                edges = fine.edges + shift[:, None]
                if stated is not None and _against(stated.to_numpy(), axis):
                    edges = edges[:, ::-1]
                made[bounds] = _float64(dims, edges, {} if stated is None else _unpacked_attrs(stated))
    return made


def _free(name: str, taken: Collection[Any]) -> str:
    """The name, or one like it that is not taken."""
    while name in taken:
        name += "_"
    return name


def _against(stated: Array, axis: Axis) -> bool:
    """Whether stated bounds run against the index."""
    return bool((stated[0, 1] - stated[0, 0]) * (axis.edges[0, 1] - axis.edges[0, 0]) < 0)


def _coordinate_attrs(dataset: xr.Dataset, variable: xr.DataArray) -> dict[str, Any]:
    """Attributes of a coordinate on the finer grid, limits in its new type."""
    attrs = {k: v for k, v in variable.attrs.items() if k not in {"actual_range", "scale_factor", "add_offset"}}
    attrs.pop("bounds", None)
    if (bounds := _bounds(dataset, variable)) is not None:
        attrs["bounds"] = bounds
    for key in ("valid_min", "valid_max", "valid_range", "_FillValue", "missing_value"):
        if key in attrs and variable.dtype.kind in "iuf":
            if key.startswith("valid"):
                attrs[key] = np.asarray(attrs[key], np.float64)[()]
            else:
                del attrs[key]
    return attrs


def _unpacked_attrs(variable: xr.Variable | xr.DataArray) -> dict[str, Any]:
    """Attributes of boundaries that are stored as they are."""
    return {k: v for k, v in variable.attrs.items() if k not in {"actual_range", *PACKED_ATTRS}}


def _float64(dims: Sequence[Any], values: Array, attrs: Mapping[str, Any]) -> xr.Variable:
    return xr.Variable(dims, values, attrs, encoding={"dtype": np.dtype("float64"), "_FillValue": None})


def _fine_places(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Latitude and longitude of two and more dimensions, and their vertices."""
    made: dict[str, xr.Variable] = {}
    for latitude, longitude in _places(dataset):
        both = dataset[latitude], dataset[longitude]
        dims = both[0].dims
        if set(dims[-2:]) != {grid.y, grid.x}:
            continue
        names = [_bounds(dataset, v) for v in both]
        corners = None if None in names else [dataset[n] for n in names]
        if corners is not None and any(v.dims[:-1] != dims or v.shape[-1] != 4 for v in corners):
            corners = None
        values = [_unpacked(v, marked=True).reshape(-1, *v.shape[-2:]) for v in both]
        stated = None if corners is None else [_unpacked(v, marked=True).reshape(-1, *v.shape[-3:]) for v in corners]
        around = grid.around if dims[-1] == grid.x else 0
        fine, orders = [], []
        for i in range(len(values[0])):
            vertices = None if stated is None else (stated[0][i], stated[1][i])
            mesh, order = mesh_of(values[0][i], values[1][i], vertices, around=around)
            fine.append(mesh.split(factor))
            orders.append(order)
        shape = (*both[0].shape[:-2], *(n * factor for n in both[0].shape[-2:]))
        for variable, part in zip(both, ("latitude", "longitude"), strict=True):
            cells = np.stack([getattr(mesh, part) for mesh in fine]).reshape(shape)
            made[str(variable.name)] = _float64(dims, cells, _coordinate_attrs(dataset, variable))
        if corners is not None:
            for variable, part in zip(corners, ("latitudes", "longitudes"), strict=True):
                cells = np.stack([getattr(m, part)[..., list(o)] for m, o in zip(fine, orders, strict=True)])
                made[str(variable.name)] = _float64(variable.dims, cells.reshape(*shape, 4), _unpacked_attrs(variable))
        else:
            for variable in both:
                made[str(variable.name)].attrs.pop("bounds", None)
    return made


def _fine_areas(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Cell areas, each divided among its parts: by the sine of latitude on the globe, else equally."""
    measured = {
        word
        for name in grid.variables
        for word in re.findall(r"area:\s*(\S+)", str(_said(dataset[name], "cell_measures") or ""))
    }
    made: dict[str, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        area = variable.attrs.get("standard_name") == "cell_area" or name in measured
        if not area or not {grid.y, grid.x} <= set(variable.dims):
            continue
        shares = np.full(grid.shape[0] * factor, 1 / factor)
        if grid.kind == "latitude-longitude" and grid.y_coordinate is not None:
            fine = _axis(dataset, grid.y_coordinate).split(factor)
            heights = np.abs(np.diff(np.sin(np.radians(fine.edges)), axis=1))[:, 0].reshape(-1, factor)
            shares = (heights / heights.sum(1, keepdims=True)).ravel()
        part = xr.Variable((grid.y,), shares / factor)
        fine_area = repeated(variable, grid, factor) * part
        attrs = {k: v for k, v in variable.attrs.items() if k != "actual_range"}
        made[str(name)] = xr.Variable(
            variable.dims,
            fine_area.transpose(*variable.dims).data.astype(variable.dtype),
            attrs,
            fine_encoding(variable),
        )
    return made


def _fine_mappings(dataset: xr.Dataset, grid: CFGrid, made: Mapping[str, xr.Variable]) -> dict[str, xr.Variable]:
    """Grid mappings, whose GeoTransform (GDAL's) follows the grid; without one where cells are uneven."""
    found: dict[str, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        if "GeoTransform" not in variable.attrs:
            continue
        attrs = dict(variable.attrs)
        del attrs["GeoTransform"]
        if grid.even and grid.y_coordinate in made and grid.x_coordinate in made:
            rows, columns = (made[str(n)].to_numpy() for n in (grid.y_coordinate, grid.x_coordinate))
            if grid.kind == "latitude-longitude":
                columns = np.unwrap(columns, period=360)  # 350, 355, 0, 5 are even
            if len(rows) > 1 and len(columns) > 1:
                dy, dx = ((v[-1] - v[0]) / (len(v) - 1) for v in (rows, columns))
                numbers = columns[0] - dx / 2, dx, 0.0, rows[0] - dy / 2, 0.0, dy
                attrs["GeoTransform"] = " ".join(repr(float(number)) for number in numbers)
        found[str(name)] = xr.Variable(variable.dims, variable.data, attrs, variable.encoding)
    return found


def repeated(variable: xr.Variable, grid: CFGrid, factor: int) -> xr.Variable:
    """Each cell's value for all its parts, lazily if the variable is lazy."""
    index = {dim: np.repeat(np.arange(variable.sizes[dim]), factor) for dim in (grid.y, grid.x) if dim in variable.dims}
    fine: xr.Variable = variable.isel(index)
    fine.encoding = fine_encoding(variable)
    return fine


# ----------------------------------------------------------------------------------------------------- storage


@dataclass(frozen=True)
class Packing:
    """How a variable is stored (CF 8.1).

    Parameters
    ----------
    dtype : numpy.dtype
        Of the stored numbers.
    scale, offset : float
        Value = scale * stored + offset.
    nodata : tuple of float
        Stored values of missing cells.
    valid : tuple of float, optional
        Smallest and largest stored value of valid cells, where the file says so.
    """

    dtype: np.dtype[Any]
    scale: float = 1.0
    offset: float = 0.0
    nodata: tuple[float, ...] = ()
    valid: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float] | None:
        """Smallest and largest value that can be stored, missing marks at the ends left out; None for floats."""
        bounds = stored_limits(self.dtype)
        if bounds is None:
            return None
        low, high = bounds
        low, high = low + (low in self.nodata), high - (high in self.nodata)
        ends = low * self.scale + self.offset, high * self.scale + self.offset
        return min(ends), max(ends)


def enumeration(variable: xr.Variable | xr.DataArray) -> dict[str, int] | None:
    """Names and values of a NetCDF enumeration type."""
    metadata = np.dtype(variable.encoding.get("dtype", variable.dtype)).metadata or {}
    return metadata.get("enum")


def packing_of(variable: xr.Variable | xr.DataArray) -> Packing:
    """How a variable is or was stored, whether xarray has decoded it or not."""
    dtype = np.dtype(variable.encoding.get("dtype", variable.dtype))
    if dtype.kind not in "iuf":
        dtype = variable.dtype
    unsigned = str(_said(variable, "_Unsigned")).lower()
    if (dtype.kind, unsigned) in {("i", "true"), ("u", "false")}:
        dtype = np.dtype(f"{'u' if unsigned == 'true' else 'i'}{dtype.itemsize}")
    scale, offset = (_number(variable, key) for key in ("scale_factor", "add_offset"))
    marks = [_numbers(_said(variable, key)) for key in ("_FillValue", "missing_value")]
    packing = Packing(
        dtype,
        1.0 if scale is None else scale,
        0.0 if offset is None else offset,
        tuple(dict.fromkeys(_stored(m, dtype) for mark in marks for m in mark)),
    )
    return replace(packing, valid=_valid_range(variable, packing))


def _numbers(marks: Any) -> list[Any]:
    """Marks of missing cells; texts that are no numbers mark none."""
    found = []
    for mark in [] if marks is None else np.ravel(marks):
        if isinstance(mark, (str, bytes)):
            text = mark.decode(errors="replace") if isinstance(mark, bytes) else mark
            try:
                found.append(np.float64(text.strip().rstrip("fFdDlLsSbB")))
            except ValueError:
                continue
        else:
            found.append(mark)
    return found


def _number(variable: xr.Variable | xr.DataArray, key: str) -> float | None:
    """A packing attribute, which must be a number that can be undone."""
    given = _said(variable, key)
    if given is None:
        return None
    try:
        number = float(np.ravel(given)[0])
    except (TypeError, ValueError, IndexError):
        number = math.nan
    if not math.isfinite(number) or (key == "scale_factor" and number == 0):
        raise InputError(f"{key} is {printable(str(given))}, which nothing can be packed by: mend the attribute")
    return number


def _stored(number: Any, dtype: np.dtype[Any]) -> float:
    """A mark in the type that counts: -1 of a signed type stands for 255 where bytes are unsigned."""
    if dtype.kind == "f":
        return float(dtype.type(number))
    if dtype.kind == "u" and np.asarray(number).dtype.kind == "i" and number < 0:
        return float(int(number) + 2 ** (8 * dtype.itemsize))
    if dtype.kind == "i" and np.asarray(number).dtype.kind == "u" and number > np.iinfo(dtype).max:
        return float(int(number) - 2 ** (8 * dtype.itemsize))
    return int(number) if np.asarray(number).dtype.kind in "iu" else float(number)  # 64 bits keep their digits


def missing_of(variable: xr.Variable | xr.DataArray) -> Missing:
    """Which values of a variable are missing, decoded or not, and which ones would be stored as missing."""
    packing = packing_of(variable)
    packed = any(key in variable.attrs for key in ("scale_factor", "add_offset"))
    marked = any(key in variable.attrs for key in ("_FillValue", "missing_value"))
    limits = packing.valid
    if limits is not None and not packed:  # by half a step more: decoding rounds
        step = abs(packing.scale) / 2 if (packing.scale, packing.offset) != (1.0, 0.0) else 0.0
        ends = sorted(end * packing.scale + packing.offset for end in limits)
        limits = ends[0] - step, ends[1] + step
    if marked or packing.dtype.kind not in "iu":
        return Missing(packing.nodata if marked else (), limits)
    codes = tuple(mark * packing.scale + packing.offset for mark in packing.nodata)
    return Missing((), limits, codes, abs(packing.scale))


def limits_of(variable: xr.Variable | xr.DataArray) -> tuple[float, float] | None:
    """The range that a field's values keep: what its type stores, its valid range, what its quantity can be.

    Parameters
    ----------
    variable : Variable or DataArray
        With attributes and encoding.

    Returns
    -------
    tuple of float, or None
        In the variable's units, unpacked.
    """
    packing = packing_of(variable)
    limits = packing.limits
    valid = None
    if packing.valid is not None:
        ends = sorted(end * packing.scale + packing.offset for end in packing.valid)
        valid = ends[0], ends[1]
    for bounds in (valid, _natural(variable)):
        try:
            limits = within(limits, bounds)
        except UsageError:  # a range that the type cannot store: wrong, and no reason to stop
            continue
    return limits


def _valid_range(variable: xr.Variable | xr.DataArray, packing: Packing) -> tuple[float, float] | None:
    """`valid_range`, or `valid_min` and `valid_max`, as stored: of the packed type they count packed units."""
    given = variable.attrs.get("valid_range")
    pair = (
        (variable.attrs.get("valid_min"), variable.attrs.get("valid_max")) if given is None else tuple(np.ravel(given))
    )
    if len(pair) != 2 or all(end is None for end in pair):
        return None
    try:
        low, high = (d if end is None else float(end) for end, d in zip(pair, (-math.inf, math.inf), strict=True))
    except (TypeError, ValueError):
        return None
    stored = next(np.asarray(end).dtype for end in pair if end is not None)
    if stored.kind not in "iu" and (packing.scale, packing.offset) != (1.0, 0.0):
        low, high = sorted((end - packing.offset) / packing.scale for end in (low, high))
    elif stored.kind == "i" and math.isfinite(low) and math.isfinite(high):
        low, high = (_stored(stored.type(end), packing.dtype) for end in (low, high))
    least, most = stored_limits(packing.dtype) or (-math.inf, math.inf)
    return (low, high) if low < high and low < most and high > least else None


def _natural(variable: xr.Variable | xr.DataArray) -> tuple[float, float] | None:
    """The range of a quantity by its standard name and units."""
    name, units = str(variable.attrs.get("standard_name", "")), str(variable.attrs.get("units", ""))
    if not name or NEGATIVE.search(name):
        return None
    if name.endswith("area_fraction"):
        return (0.0, 100.0) if units in ("%", "percent") else (0.0, 1.0) if units in ("1", "") else None
    if units and units[0] not in "-+" and any(part in name for part in NEVER_NEGATIVE):
        return 0.0, math.inf
    return None


def fine_attrs(dataset: xr.Dataset, variable: xr.Variable) -> dict[str, Any]:
    """Attributes of a field on the finer grid: without what held for the coarse one, or refers to nothing."""
    attrs = {k: v for k, v in variable.attrs.items() if k != "actual_range"}
    names = enumeration(variable)
    if names is not None and "flag_values" not in attrs:
        attrs["flag_values"] = np.array(list(names.values()), variable.dtype)
        attrs["flag_meanings"] = " ".join(name.replace(" ", "_") for name in names)
    for key in ("cell_measures", "ancillary_variables"):
        words = str(attrs.get(key, "")).split()
        if words and not all(word.endswith(":") or word in dataset.variables for word in words):
            del attrs[key]
    return attrs


def fine_encoding(variable: xr.Variable) -> dict[str, Any]:
    """How a variable is stored on the finer grid: compression and packing stay, the layout of chunks does not."""
    kept = {k: v for k, v in variable.encoding.items() if k not in STALE_ENCODING}
    if {"_FillValue", "missing_value"} <= set(kept) and not np.array_equal(kept["_FillValue"], kept["missing_value"]):
        del kept["missing_value"]  # xarray stores one mark
    return kept
