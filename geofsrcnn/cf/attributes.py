"""Attributes of variables after CF 1.11: what they say of axes and places, and which of them a finer grid keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from cf_xarray.criteria import coordinate_criteria

from geofsrcnn._version import __version__
from geofsrcnn.errors import printable
from geofsrcnn.grids.resolution import states_resolution
from geofsrcnn.values import quantity_units
from geofsrcnn.values.encoding import MARKS, SCALING

CONVENTIONS = "CF-1.11"
"""Version of CF that datasets made here state (CF 2.6.1)."""

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

PACKED_ATTRS = (*SCALING, *MARKS, "_Unsigned")
"""Attributes that say how values are stored (CF 8.1)."""

_STEPS = ("DX", "DY")

_STAGGERED = ("WEST-EAST_GRID_DIMENSION", "SOUTH-NORTH_GRID_DIMENSION")
"""Global attributes of WRF: metres between cells; numbers of cell edges."""


def attribute(variable: xr.Variable | xr.DataArray, key: str) -> Any:
    """An attribute, wherever xarray has put it."""
    return variable.attrs.get(key, variable.encoding.get(key))


def add_ancillary(attrs: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Add variables to those that hold something about a field's values, cell by cell (CF 3.4)."""
    words = [word for word in str(attrs.get("ancillary_variables", "")).split() if word not in names]
    return {**attrs, "ancillary_variables": " ".join([*words, *names])}


def has_role(variable: xr.Variable | xr.DataArray, role: str) -> bool:
    """Tell whether a variable's attributes say that it is an X, Y, latitude or longitude."""
    attrs = variable.attrs
    if any(attrs.get(key) in values for key, values in coordinate_criteria[role].items()):
        return True
    return quantity_units.read_units(str(attrs.get("units", ""))).place == role


def is_time(dataset: xr.Dataset, dim: str) -> bool:
    """Tell whether the coordinate along a dimension holds times, decoded or not."""
    if dim not in dataset.variables:
        return False
    variable = dataset.variables[dim]
    return variable.dtype.kind in "Mm" or counts_time(variable)


def counts_time(variable: xr.Variable | xr.DataArray) -> bool:
    """Tell whether a variable counts units of time since a date."""
    return quantity_units.counts_time(str(variable.attrs.get("units", "")))


def join_names(names: Iterable[Any]) -> str:
    """Names, separated by commas."""
    return printable(", ".join(map(str, names))) or "none"


def fine_dataset_attrs(attrs: Mapping[Any, Any], factor: int) -> dict[str, Any]:
    """Global attributes on the finer grid: WRF's steps and sizes follow it, other resolutions are left out."""
    fine = {k: v for k, v in attrs.items() if not states_resolution(str(k))}
    for key in _STEPS:
        if isinstance(fine.get(key), (float, np.floating)):
            fine[key] = fine[key] / type(fine[key])(factor)
    for key in _STAGGERED:
        if isinstance(fine.get(key), (int, np.integer)):
            fine[key] = type(fine[key])((fine[key] - 1) * factor + 1)
    return fine


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


def history(before: object, name: str, digest: str, factor: int, guide: str = "", onto: str = "") -> str:
    """The history attribute with a line more; without the time, so that the same run gives the same file."""
    words = (f", sha256 {digest}" if digest else "") + (f", guided by {guide}" if guide else "")
    words += f", {onto}" if onto else ""
    line = f"geofsrcnn {__version__}: upscaled {factor} times, model {printable(name)}{words}"
    return f"{before}\n{line}" if before else line


def enumeration(variable: xr.Variable | xr.DataArray) -> dict[str, int] | None:
    """Names and values of a NetCDF enumeration type."""
    metadata = np.dtype(variable.encoding.get("dtype", variable.dtype)).metadata or {}
    return metadata.get("enum")
