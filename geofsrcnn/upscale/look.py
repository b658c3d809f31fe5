"""A look at some values of a field before all of them go through, for warnings of what nothing declares."""

from __future__ import annotations

import numpy as np

from geofsrcnn.errors import GeofsrcnnError, printable
from geofsrcnn.grids.windows import Window
from geofsrcnn.upscale.fields import Field, FieldSource
from geofsrcnn.values.classes import may_hold_classes, warn_of_classes
from geofsrcnn.values.encoding import refuse_lost_digits
from geofsrcnn.values.quantity import Kind
from geofsrcnn.values.sentinels import Sample, find_sentinel, warn_of_mark

SIDE = 384
"""Cells along one side of the middle of the first grid that are looked at.

Rasters have nine windows for marks of missing cells, as many cells in all, and one of 256 for classes
(`geofsrcnn.formats.sample`); chunks of datasets are dear to open, so that one window serves both here.
"""


def warn_of_values(field: Field) -> None:
    """Warn of undeclared missing cells, and of whole numbers that look like classes.

    Parameters
    ----------
    field : Field
        That is made finer as a field is; nothing of it is read if it is made of dask chunks.
    """
    if field.raw or field.variable.chunks is not None or field.quantity.kind is Kind.CATEGORY:
        return
    rows, columns = (field.sizes[dim] for dim in field.dims[-2:])
    try:
        stored = FieldSource(field).stored(field.lead_groups.bands[0], Window.middle((rows, columns), SIDE))[0]
        valid = field.storage.coarse.missing.valid(stored)
        refuse_lost_digits(stored, valid, field.name)
    except (GeofsrcnnError, OSError, RuntimeError, ValueError, KeyError):  # the run says it where it matters
        return
    name = printable(field.name)
    if valid.any() and (mark := find_sentinel([Sample(stored, valid, np.zeros(stored.shape, bool))])) is not None:
        warn_of_mark(name, mark, f"in its _FillValue (ncatted -a _FillValue,{name},o,f,{mark} FILE)")
    if may_hold_classes(field.storage.coarse, field.quantity, str(field.variable.attrs.get("units", ""))):
        warn_of_classes(name, stored, valid, f"say so with kinds={{'{name}': 'category'}}")
