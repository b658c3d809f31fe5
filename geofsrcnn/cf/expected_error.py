"""Variables of expected errors beside their fields, after CF 1.11."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from geofsrcnn.cf.attributes import PACKED_ATTRS
from geofsrcnn.errors import InputError, printable
from geofsrcnn.values.expected_errors import error_name, error_title
from geofsrcnn.values.quantity_units import read_units

_SHARED = ("units", "coordinates", "grid_mapping", "cell_measures")
"""Attributes that an expected error has in common with its field."""

_COMMENT = "mean absolute error that the network expects; no standard error, which is a standard deviation"


def error_names(fields: Iterable[str], taken: Iterable[str]) -> dict[str, str]:
    """Name the variable of expected errors of each field: ``NAME_error``.

    Parameters
    ----------
    fields : iterable of str
        That are made finer.
    taken : iterable of str
        Names of all variables and dimensions of the finer dataset.

    Raises
    ------
    InputError
        If such a name is taken.

    Examples
    --------
    >>> error_names(["tas"], ["tas", "lat", "lon"])
    {'tas': 'tas_error'}
    """
    names = {field: error_name(field) for field in fields}
    taken = set(taken)
    for field, name in names.items():
        if name in taken:
            raise InputError(
                f"{printable(name)}, the name of the expected error of {printable(field)}, is taken: leave that "
                "variable out with variables=, or rename it"
            )
    return names


def error_attrs(field: str, attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of the expected errors of a field with these attributes.

    They have no standard name: its modifier ``standard_error`` is for standard deviations (CF appendix C). Errors are
    differences, which CF tells of temperatures (3.1.2).
    """
    shared = {key: attrs[key] for key in _SHARED if key in attrs}
    if read_units(str(attrs.get("units", ""))).is_temperature:
        shared["units_metadata"] = "temperature: difference"
    return {"long_name": error_title(field), **shared, "comment": _COMMENT}


def error_encoding(encoding: Mapping[str, Any]) -> dict[str, Any]:
    """Storage of expected errors: compressed as their field is, and not packed."""
    return {key: value for key, value in encoding.items() if key not in {"dtype", "filters", *PACKED_ATTRS}}
