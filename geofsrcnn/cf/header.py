"""Headers of xarray variables, for `values.quantity` to tell what they are."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import xarray as xr

from geofsrcnn.cf.attributes import attribute, enumeration
from geofsrcnn.values.encoding import SCALING
from geofsrcnn.values.quantity import Header

_OWN = ("units", "standard_name", "long_name", "cell_methods")


def coordinates_of(dataset: xr.Dataset) -> set[str]:
    """Variables that stand among the coordinates of others, decoded or not."""
    stated = (str(attribute(each, "coordinates") or "").split() for each in dataset.variables.values())
    return set(map(str, dataset.coords)).union(*stated)


def header_of(dataset: xr.Dataset, name: str, coordinates: Collection[str], horizontal: tuple[str, ...] = ()) -> Header:
    """The header of a variable, decoded or not; `coordinates` are those of `coordinates_of`."""
    variable = dataset.variables[name]
    attrs = dict(variable.attrs)
    attrs |= {key: variable.encoding[key] for key in SCALING if key in variable.encoding}
    if (names := enumeration(variable)) is not None:
        attrs["flag_values"] = list(names.values())
    own = {key: str(attrs.pop(key, "")) for key in _OWN}
    dtype = variable.dtype if variable.dtype.kind in "mM" else variable.encoding.get("dtype", variable.dtype)
    coordinate = name in coordinates
    return Header(name, np.dtype(dtype), **own, attrs=attrs, coordinate=coordinate, horizontal=horizontal)
