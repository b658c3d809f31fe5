"""Times of files as dates: in units that xarray decodes, and in months and years since a date, which it does not."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import xarray as xr

from geofsrcnn._types import Array
from geofsrcnn.cf.attributes import attribute, counts_time
from geofsrcnn.errors import InputError, need, printable
from geofsrcnn.values import quantity_units

_LONG = re.compile(r"\s*(?:common_?)?(month|mon|year|yr)s?\s+since\s+(.+)", re.IGNORECASE)

_CALENDARS = {"360": "360_day", "365": "noleap", "365_days": "noleap", "366": "all_leap", "none": "standard"}
"""Names that files give to calendars besides those of CF 4.4.1."""


def decode_times(dataset: xr.Dataset, shown: str) -> xr.Dataset:
    """A dataset with its values unpacked, missing ones NaN, and its times dates; one that is, stays as it is.

    Months and years since a date are those of the calendar: 2.5 months after the first of January it is the middle of
    March.

    Parameters
    ----------
    dataset : Dataset
        As stored.
    shown : str
        Name of its file, for messages.

    Raises
    ------
    InputError
        If a variable counts times that cannot be read.
    """
    bounds = {
        str(name): variable
        for variable in dataset.variables.values()
        if counts_time(variable) and isinstance(name := attribute(variable, "bounds"), str) and name in dataset
    }
    changed = {}
    for name, variable in dataset.variables.items():
        parent = bounds.get(str(name), variable)
        text = str(variable.attrs.get("units", parent.attrs.get("units", "")))
        calendar = str(variable.attrs.get("calendar", parent.attrs.get("calendar", "standard"))).lower()
        if not quantity_units.counts_time(text) or variable.dtype.kind not in "iuf":
            continue
        calendar = _CALENDARS.get(calendar, calendar)
        new = variable
        if (long := _LONG.fullmatch(text)) is not None:
            try:
                days = _in_days(variable.to_numpy(), long[1].lower()[0] == "y", long[2].strip(), calendar)
            except (ValueError, OverflowError, TypeError) as error:
                raise _unread(str(name), shown, text, error) from error
            new = xr.Variable(variable.dims, days, variable.attrs, variable.encoding)
            text = f"days since {long[2].strip()}"
        if new is not variable or calendar != variable.attrs.get("calendar", calendar):
            new = new.copy(deep=False)
            new.attrs = {**variable.attrs, "units": text, "calendar": calendar}
            changed[str(name)] = new
    try:
        return xr.decode_cf(dataset.assign(changed) if changed else dataset, decode_timedelta=False)
    except (ValueError, OverflowError, TypeError, AttributeError) as error:
        for name, variable in dataset.variables.items():
            if counts_time(variable) and not _is_read(variable):
                raise _unread(str(name), shown, str(variable.attrs["units"]), error) from error
        raise


def _unread(name: str, shown: str, units: str, error: Exception) -> InputError:
    words = f"{printable(name)} of {shown} counts '{printable(units)}', which cannot be read as dates"
    return InputError(f"{words} ({printable(error)[:80]}): write them as days since a date")


def _is_read(variable: xr.Variable) -> bool:
    try:
        xr.decode_cf(xr.Dataset({"times": variable}), decode_timedelta=False)["times"].load()
    except (ValueError, OverflowError, TypeError, AttributeError):
        return False
    return True


def _in_days(values: Array, years: bool, since: str, calendar: str) -> Array:
    """Days since a date of months or years since it."""
    need("netcdf", "cftime")
    import cftime

    units = f"days since {since}"
    begin = cftime.num2date(0, units, calendar, only_use_cftime_datetimes=True)

    def month(count: int) -> Any:
        """The date so many months later, at the end of a month that is shorter."""
        year, which = divmod(begin.year * 12 + begin.month - 1 + count, 12)
        first = begin.replace(year=year, month=which + 1, day=1)
        return first.replace(day=min(begin.day, first.daysinmonth))

    def days(value: float) -> float:
        """Within a month or a year, by its share."""
        whole = math.floor(value + 1e-6)
        step = 12 if years else 1
        low, high = (float(cftime.date2num(month((whole + k) * step), units, calendar)) for k in (0, 1))
        return low + max(value - whole, 0.0) * (high - low)

    found: Array = np.array([days(float(value)) for value in values.ravel()]).reshape(values.shape)
    return found
