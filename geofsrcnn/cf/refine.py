"""The role of each variable of a dataset on the finer grid (CF 1.11).

`refine` looks at the metadata and the coordinates of a dataset, not at its fields, and says of each variable what is
to be done with it; coordinates, bounds, grid mappings and cell areas of the finer grid it makes itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np
import xarray as xr
from affine import Affine
from pyproj.exceptions import CRSError

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import (
    HORIZONTAL,
    PACKED_ATTRS,
    REFERENCES,
    attribute,
    counts_time,
    fine_dataset_attrs,
    fine_encoding,
    join_names,
)
from geofsrcnn.cf.crs import columns_around, crs_of, geotransform_text, in_units_of
from geofsrcnn.cf.encoding import storage_of
from geofsrcnn.cf.expected_error import error_names
from geofsrcnn.cf.grid import (
    CFGrid,
    axis_along,
    coordinate_values,
    find_grid,
    is_monotonic,
    numbers_cells,
)
from geofsrcnn.cf.header import coordinates_of, header_of
from geofsrcnn.cf.places import bounds_name, degrees_of, has_place_role, is_place_like, positions_of
from geofsrcnn.errors import InputError, UsageError, printable, warn
from geofsrcnn.grids.axis import Axis
from geofsrcnn.grids.longitude import unwrap
from geofsrcnn.grids.mesh import mesh_of
from geofsrcnn.grids.overlap import AreaOverlap
from geofsrcnn.values.encoding import MARKS, SCALING, VALID, is_scaled
from geofsrcnn.values.guesses import warn_of_repeated, warn_of_totals
from geofsrcnn.values.quantity import Kind, Quantity, quantity_as, quantity_of
from geofsrcnn.values.storage import PARTS


class Role(Enum):
    """Role of a variable on the finer grid; its value says it in words."""

    FIELD = "upscaled"
    EXTENSIVE = "upscaled, divided among parts"
    REPEATED = "repeated"
    DERIVED = "made anew"
    COPIED = "copied"
    OMITTED = "left out"


@dataclass(frozen=True)
class Refinement:
    """The plan for a dataset on the grid that is `factor` times finer.

    Parameters
    ----------
    grid : CFGrid
        The coarse grid.
    factor : int
        Fine cells along one side of a coarse cell.
    roles : dict of str to Role
        The role of each variable.
    quantities : dict of str to Quantity
        The quantity that each variable on the grid is taken for.
    derived : dict of str to xarray.Variable
        Those that are made anew for the finer grid, and new ones.
    attrs : dict
        Attributes of the dataset; `history` is left to the caller.
    errors : dict of str to str
        Names of the variables of expected errors, by field.
    overlap : AreaOverlap, optional
        Where the cells of a grid that is wanted instead lie on the finer one.
    """

    grid: CFGrid
    factor: int
    roles: dict[str, Role]
    quantities: dict[str, Quantity] = field(default_factory=dict)
    derived: dict[str, xr.Variable] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    overlap: AreaOverlap | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        rows, columns = self.grid.shape
        return (rows * self.factor, columns * self.factor) if self.overlap is None else self.overlap.shape

    def has_cells(self, variable: xr.Variable) -> bool:
        """Tell whether a variable has a number for each cell."""
        return {self.grid.y, self.grid.x} <= set(variable.dims) and variable.dtype.kind in "iuf"

    def repeat(self, variable: xr.Variable) -> xr.Variable:
        """Repeat the cells of a variable; of a grid that is wanted instead, take the one in the middle of each."""
        if self.overlap is None:
            return repeat_cells(variable, self.grid, self.factor)
        axes = {self.grid.y: self.overlap.rows, self.grid.x: self.overlap.columns}
        index = {dim: axis.nearest // self.factor for dim, axis in axes.items() if dim in variable.dims}
        found: xr.Variable = variable.isel(index)
        found.encoding = fine_encoding(variable)
        return found

    def variables(
        self, dataset: xr.Dataset, upscaled: Callable[[str], xr.Variable], elsewhere: Collection[str] = ()
    ) -> dict[str, xr.Variable]:
        """The variables of the finer dataset, each by its role: fields by `upscaled`, without those `elsewhere`."""
        fine: dict[str, xr.Variable] = {}
        for name, role in self.roles.items():
            if name in elsewhere or role is Role.OMITTED:
                continue
            if role is Role.DERIVED:
                fine[name] = self.derived[name]
            elif role is Role.REPEATED:
                whole = self.overlap is None or not self.has_cells(dataset.variables[name])
                fine[name] = self.repeat(dataset.variables[name]) if whole else upscaled(name)
            else:
                fine[name] = dataset.variables[name] if role is Role.COPIED else upscaled(name)
        return fine | {name: variable for name, variable in self.derived.items() if name not in fine}


def refine(
    dataset: xr.Dataset,
    factor: int,
    *,
    variables: Iterable[str] | None = None,
    x: str | None = None,
    y: str | None = None,
    kinds: Mapping[str, str] | None = None,
    error: bool = False,
) -> Refinement:
    """Plan what becomes of each variable on the grid that is `factor` times finer.

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
    kinds : mapping of str to str, optional
        Kinds of variables by name, in the words of `values.quantity.Kind`, instead of what their headers tell.
    error : bool
        Each field that is upscaled gets its expected error beside it.

    Returns
    -------
    Refinement

    Raises
    ------
    InputError, UsageError
        As for `find_grid`, and if coordinates make no cells, a field's type cannot be upscaled, `kinds` are wrong, or
        the name of an expected error is taken.
    """
    grid = find_grid(dataset, variables=variables, x=x, y=y)
    grid = replace(grid, period=grid.period or _period_by_crs(dataset, grid))
    derived = {
        **_fine_axes(dataset, grid, factor),
        **_fine_places(dataset, grid, factor),
        **_fine_areas(dataset, grid, factor),
    }
    derived |= fine_mappings(dataset, grid, derived)
    wanted = None if variables is None else _needed(dataset, grid.variables)
    quantities = _quantities(dataset, grid, kinds or {})
    roles: dict[str, Role] = {}
    for name, variable in ((str(n), v) for n, v in dataset.variables.items()):
        if name in derived:
            roles[name] = Role.DERIVED
        else:
            roles[name] = _role(dataset, name, variable, grid, wanted, quantities.get(name))
    errors = _errors(dataset, roles, derived) if error else {}
    _warn_of_roles(roles, quantities, everything=wanted is None)
    return Refinement(grid, factor, roles, quantities, derived, fine_dataset_attrs(dataset.attrs, factor), errors)


def _errors(dataset: xr.Dataset, roles: Mapping[str, Role], derived: Collection[str]) -> dict[str, str]:
    """Return the names of the expected errors of all fields that are upscaled."""
    fields = [name for name, role in roles.items() if role in (Role.FIELD, Role.EXTENSIVE)]
    kept = [name for name, role in roles.items() if role is not Role.OMITTED]
    return error_names(fields, [*kept, *derived, *map(str, dataset.sizes)])


def _period_by_crs(dataset: xr.Dataset, grid: CFGrid) -> int:
    """Return how many columns of an evenly spaced grid make the whole globe by its CRS; 0 if they do not."""
    straight = grid.kind in ("projected", "latitude-longitude") and grid.even
    if not straight or grid.mapping is None or grid.shape[1] < 3:
        return 0
    variable = dataset[str(grid.x_coordinate)]
    values = coordinate_values(variable).astype(float)
    try:
        if (crs := crs_of(dataset, grid)) is None:
            return 0
        unit = in_units_of(crs, str(variable.attrs.get("units", "")), printable(str(grid.x_coordinate)))
    except (InputError, CRSError):  # a GeoTIFF output says it, others do not need the CRS
        return 0
    return columns_around(crs, unit * float(values[-1] - values[0]) / (len(values) - 1), len(values))


def _quantities(dataset: xr.Dataset, grid: CFGrid, kinds: Mapping[str, str]) -> dict[str, Quantity]:
    """Return the quantity of each variable along the grid, as found or as given."""
    if unknown := [name for name in kinds if name not in dataset.variables]:
        raise UsageError(f"kinds= names no variable: {join_names(unknown)}: there are {join_names(dataset.data_vars)}")
    coordinates = coordinates_of(dataset)
    known = dataset.encoding.get("quantities", {})  # of a raster's bands, which say more than a variable can
    found = {}
    for name, variable in ((str(n), v) for n, v in dataset.variables.items()):
        if {grid.y, grid.x} & set(variable.dims):
            header = header_of(dataset, name, coordinates, (grid.y, grid.x))
            told = quantity_as(kinds[name], header) if name in kinds else _common_quantity(known.get(name, ()))
            found[name] = quantity_of(header) if told is None else told
    return found


def _common_quantity(quantities: Sequence[Quantity]) -> Quantity | None:
    """Return the quantity of a variable whose bands have one each: that of all of them, else a field."""
    if not quantities:
        return None
    alike = len({each.kind for each in quantities}) == 1
    return quantities[0] if alike else Quantity(Kind.FIELD, "bands of several kinds")


def _warn_of_roles(roles: Mapping[str, Role], quantities: Mapping[str, Quantity], *, everything: bool) -> None:
    """Say what is not made finer as a field is, where that was guessed or loses something."""
    omitted = [name for name, role in roles.items() if role is Role.OMITTED]
    unplaced = [n for n in omitted if everything or quantities[n].kind is Kind.PLACE]
    if unplaced:
        warn(
            "W-PLACES", f"left out, for they say where coarse cells are and cannot be made anew: {join_names(unplaced)}"
        )
    said = [name for name, quantity in quantities.items() if quantity.given and quantity.kind is Kind.CATEGORY]
    repeats = [name for name, role in roles.items() if role is Role.REPEATED and name not in said]
    if repeats:
        why = [f"{n} ({quantities[n].evidence})" if quantities[n].kind is Kind.CATEGORY else n for n in repeats]
        warn_of_repeated(why)
    warn_of_totals({n: quantities[n] for n, role in roles.items() if role is Role.EXTENSIVE}, "NAME")


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
                found += str(attribute(variable, key) or "").split()
    return needed


def _role(
    dataset: xr.Dataset,
    name: str,
    variable: xr.Variable,
    grid: CFGrid,
    wanted: set[str] | None,
    quantity: Quantity | None,
) -> Role:
    across = {grid.y, grid.x} & set(variable.dims)
    if quantity is None:
        return Role.COPIED
    if wanted is not None and name not in wanted and name in dataset.data_vars:
        return Role.OMITTED
    if variable.dtype.kind == "c":
        raise InputError(f"variable {printable(name)} is complex: take its real and imaginary part, or its modulus")
    asked = wanted is not None and name in grid.variables
    place = quantity.kind is Kind.PLACE and len(across) == 2
    if not asked and (place or (variable.ndim > 1 and is_place_like(name, variable))):
        return Role.OMITTED
    if len(across) < 2 or variable.dtype.kind not in "iufm" or counts_time(variable):
        return Role.REPEATED
    return {Kind.CATEGORY: Role.REPEATED, Kind.TOTAL: Role.EXTENSIVE}.get(quantity.kind, Role.FIELD)


def _fine_axes(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Coordinates of one dimension and their bounds."""
    derived: dict[str, xr.Variable] = {}
    for dim, main in ((grid.y, grid.y_coordinate), (grid.x, grid.x_coordinate)):
        for name, variable in ((str(n), dataset[n]) for n, v in dataset.variables.items() if v.dims == (dim,)):
            places = any(has_place_role(variable, name, role) for role in HORIZONTAL)
            if name in derived or not (name == main or places) or variable.dtype.kind not in "iuf":
                continue
            if name != main and not is_monotonic(variable):
                continue
            if numbers_cells(variable) and grid.kind in ("curvilinear", "index"):
                numbers = np.arange(variable.size * factor) + variable.to_numpy()[0]
                attrs = _coordinate_attrs(dataset, variable)
                derived[name] = xr.Variable((dim,), numbers.astype(variable.dtype), attrs)
            else:
                derived |= _fine_axis(dataset, variable, factor, derived)
    return derived


def _fine_axis(
    dataset: xr.Dataset, variable: xr.DataArray, factor: int, derived: Mapping[str, xr.Variable]
) -> dict[str, xr.Variable]:
    """A coordinate of one dimension, and its bounds where they are stated or cells are uneven."""
    name, (dim,) = str(variable.name), variable.dims
    axis, bounds = axis_along(dataset, name), bounds_name(dataset, variable)
    fine = axis.split(factor)
    shift = np.zeros(1)
    if degrees_of(variable, name) == "longitude":  # back to the convention of the cell that it is part of
        shift = np.repeat(coordinate_values(variable).astype(np.float64) - axis.values, factor)
    attrs = _coordinate_attrs(dataset, variable)
    if bounds is None and not fine.even:
        bounds = attrs["bounds"] = _free_name(f"{name}_bnds", {*dataset.variables, *derived})
    found = {name: _float64((dim,), fine.values + shift, attrs)}
    if bounds is None or bounds in derived:
        return found
    edges = fine.edges + shift[:, None]
    stated = dataset.variables.get(bounds)
    if stated is None:
        others = {str(d) for d, size in dataset.sizes.items() if size != 2}
        return found | {bounds: _float64((dim, _free_name("bnds", others)), edges, {})}
    if _runs_against(stated.to_numpy(), axis):
        edges = edges[:, ::-1]
    return found | {bounds: _float64(stated.dims, edges, _unpacked_attrs(stated))}


def _free_name(name: str, taken: Collection[Any]) -> str:
    """The name, or one like it that is not taken."""
    while name in taken:
        name += "_"
    return name


def _runs_against(stated: Array, axis: Axis) -> bool:
    """Tell whether stated bounds run against the index."""
    return bool((stated[0, 1] - stated[0, 0]) * (axis.edges[0, 1] - axis.edges[0, 0]) < 0)


def _coordinate_attrs(dataset: xr.Dataset, variable: xr.DataArray) -> dict[str, Any]:
    """Attributes of a coordinate on the finer grid, limits in its new type."""
    attrs = {k: v for k, v in variable.attrs.items() if k not in {"actual_range", *SCALING}}
    attrs.pop("bounds", None)
    if (bounds := bounds_name(dataset, variable)) is not None:
        attrs["bounds"] = bounds
    packed = is_scaled(variable.attrs)
    for key in (*VALID, *MARKS):
        if key in attrs and variable.dtype.kind in "iuf":
            if key.startswith("valid") and not packed and np.asarray(attrs[key]).dtype.kind in "iuf":
                attrs[key] = np.asarray(attrs[key], np.float64)[()]
            else:
                del attrs[key]
    return attrs


def _unpacked_attrs(variable: xr.Variable | xr.DataArray) -> dict[str, Any]:
    """Attributes of boundaries that are stored as they are."""
    return {k: v for k, v in variable.attrs.items() if k not in {"actual_range", *PACKED_ATTRS}}


def _float64(dims: Sequence[Any], values: Array, attrs: Mapping[str, Any]) -> xr.Variable:
    """A coordinate or boundaries: without valid limits that the finer cells leave, marked where some are missing."""
    missing = np.isnan(values)
    known = values[~missing]
    low, high = (known.min(), known.max()) if known.size else (np.nan, np.nan)
    kept = dict(attrs)
    for key in VALID:
        ends = np.ravel(kept.get(key, []))
        below = key != "valid_max" and ends.size and ends[0] > low
        if below or (key != "valid_min" and ends.size and ends[-1] < high):
            del kept[key]
    mark = np.nan if missing.any() else None
    return xr.Variable(dims, values, kept, encoding={"dtype": np.dtype("float64"), "_FillValue": mark})


def _fine_places(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Latitude and longitude of two and more dimensions, and their vertices."""
    derived: dict[str, xr.Variable] = {}
    for names in positions_of(dataset):
        centres = [dataset[name] for name in names]
        dims = centres[0].dims
        if set(dims[-2:]) == {grid.y, grid.x}:
            derived |= _split_places(dataset, centres, factor, grid.period if dims[-1] == grid.x else 0)
    return derived


def _vertices_of(dataset: xr.Dataset, centres: Sequence[xr.DataArray]) -> list[xr.DataArray]:
    """Stated latitudes and longitudes of cells' four corners; none if they do not fit the centres."""
    names = [bounds_name(dataset, each) for each in centres]
    if None in names:
        return []
    vertices = [dataset[name] for name in names]
    fit = all(each.dims[:-1] == centres[0].dims and each.shape[-1] == 4 for each in vertices)
    return vertices if fit else []


def _split_places(
    dataset: xr.Dataset, centres: Sequence[xr.DataArray], factor: int, period: int
) -> dict[str, xr.Variable]:
    """Latitude and longitude of the parts of cells, and their vertices where the file states some."""
    *lead, rows, columns = centres[0].shape  # a mesh for each index of leading dimensions, such as times
    vertices = _vertices_of(dataset, centres)
    latitudes, longitudes = (coordinate_values(v, marked=True).reshape(-1, rows, columns) for v in centres)
    stated = [coordinate_values(v, marked=True).reshape(-1, rows, columns, 4) for v in vertices]
    meshes, orders = [], []
    for i, (latitude, longitude) in enumerate(zip(latitudes, longitudes, strict=True)):
        mesh, order = mesh_of(latitude, longitude, (stated[0][i], stated[1][i]) if stated else None, period=period)
        meshes.append(mesh.split(factor))
        orders.append(list(order))
    shape = (*lead, rows * factor, columns * factor)
    derived: dict[str, xr.Variable] = {}
    for variable, part in zip(centres, ("latitude", "longitude"), strict=True):
        cells = np.stack([getattr(mesh, part) for mesh in meshes])
        attrs = _coordinate_attrs(dataset, variable)
        if not vertices:
            attrs.pop("bounds", None)
        derived[str(variable.name)] = _float64(variable.dims, cells.reshape(shape), attrs)
    for variable, part in zip(vertices, ("latitudes", "longitudes"), strict=False):
        corners = np.stack([getattr(m, part)[..., order] for m, order in zip(meshes, orders, strict=True)])
        derived[str(variable.name)] = _float64(variable.dims, corners.reshape(*shape, 4), _unpacked_attrs(variable))
    return derived


def _fine_areas(dataset: xr.Dataset, grid: CFGrid, factor: int) -> dict[str, xr.Variable]:
    """Cell areas, each divided among its parts: by the sine of latitude on the globe, else equally."""
    measured = {
        word
        for name in grid.variables
        for word in re.findall(r"area:\s*(\S+)", str(attribute(dataset[name], "cell_measures") or ""))
    }
    derived: dict[str, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        area = variable.attrs.get("standard_name") == "cell_area" or name in measured
        if not area or not {grid.y, grid.x} <= set(variable.dims):
            continue
        shares = np.full(grid.shape[0] * factor, 1 / factor)
        if grid.kind == "latitude-longitude" and grid.y_coordinate is not None:
            fine = axis_along(dataset, grid.y_coordinate).split(factor)
            areas = fine.sphere_areas.reshape(-1, factor)
            shares = (areas / areas.sum(1, keepdims=True)).ravel()
        part = xr.Variable((grid.y,), shares / factor)
        derived[str(name)] = _share_out(repeat_cells(variable, grid, factor), part)
    return derived


def _share_out(area: xr.Variable, part: xr.Variable) -> xr.Variable:
    """Areas times a share, decoded or not: in floats, since parts of whole numbers are none; missing ones NaN."""
    storage = storage_of(area, total=True)
    packed = storage.coarse.dtype.kind in "iu" or not storage.coarse.plain
    cells = storage.decode(area.to_numpy(), "cell areas")
    values = np.where(cells.valid, cells.values, np.nan)
    shared = (xr.Variable(area.dims, values) * part).transpose(*area.dims).data
    stale = {"actual_range", *PACKED_ATTRS, *VALID}
    attrs = {k: v for k, v in area.attrs.items() if k not in stale}
    dtype = PARTS if packed else area.dtype
    encoding = {k: v for k, v in area.encoding.items() if k not in {"dtype", *PACKED_ATTRS}}
    mark = np.nan if np.isnan(values).any() else None
    return xr.Variable(area.dims, shared.astype(dtype), attrs, encoding | {"_FillValue": mark})


def fine_mappings(dataset: xr.Dataset, grid: CFGrid, derived: Mapping[str, xr.Variable]) -> dict[str, xr.Variable]:
    """Grid mappings, whose GeoTransform (GDAL's) follows the grid; without one where cells are uneven."""
    found: dict[str, xr.Variable] = {}
    for name, variable in dataset.variables.items():
        if "GeoTransform" not in variable.attrs:
            continue
        attrs = dict(variable.attrs)
        del attrs["GeoTransform"]
        if grid.even and grid.y_coordinate in derived and grid.x_coordinate in derived:
            rows, columns = (derived[str(n)].to_numpy() for n in (grid.y_coordinate, grid.x_coordinate))
            if grid.kind == "latitude-longitude":
                columns = unwrap(columns)
            if len(rows) > 1 and len(columns) > 1:
                dy, dx = ((v[-1] - v[0]) / (len(v) - 1) for v in (rows, columns))
                corner = Affine(dx, 0.0, columns[0] - dx / 2, 0.0, dy, rows[0] - dy / 2)
                attrs["GeoTransform"] = geotransform_text(corner)
        found[str(name)] = xr.Variable(variable.dims, variable.data, attrs, variable.encoding)
    return found


def repeat_cells(variable: xr.Variable, grid: CFGrid, factor: int) -> xr.Variable:
    """Each cell's value for all its parts, lazily if the variable is lazy."""
    index = {dim: np.repeat(np.arange(variable.sizes[dim]), factor) for dim in (grid.y, grid.x) if dim in variable.dims}
    fine: xr.Variable = variable.isel(index)
    fine.encoding = fine_encoding(variable)
    return fine


def drop_dangling(attrs: Mapping[str, Any], plan: Refinement) -> dict[str, Any]:
    """Attributes less the references to variables that are left out."""
    out = {name for name, role in plan.roles.items() if role is Role.OMITTED} - set(plan.errors.values())
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
