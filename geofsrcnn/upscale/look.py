"""A look at some values of a field before all of them go through: what nothing declares is said."""

from __future__ import annotations

import numpy as np

from geofsrcnn.errors import GeofsrcnnError, printable, warn
from geofsrcnn.grids.windows import Window
from geofsrcnn.upscale.fields import Field, FieldSource
from geofsrcnn.values.classes import count_classes
from geofsrcnn.values.encoding import refuse_lost_digits
from geofsrcnn.values.quantity import Kind
from geofsrcnn.values.sentinels import Glimpse, sentinel

SIDE = 384
"""Cells along one side of the middle of the first grid that are looked at."""


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
    y, x = (max(0, (n - SIDE) // 2) for n in (rows, columns))
    window = Window(y, min(rows, y + SIDE), x, min(columns, x + SIDE))
    try:
        stored = FieldSource(field).stored(field.blocks.slices[0], window)[0]
        valid = field.storage.coarse.missing.valid(stored)
        refuse_lost_digits(stored, valid, field.name)
    except (GeofsrcnnError, OSError, RuntimeError, ValueError, KeyError):  # the run says it where it matters
        return
    _warn_of_missing(field, Glimpse(stored, valid, np.zeros(stored.shape, bool)))
    _warn_of_classes(field, Glimpse(stored, valid, np.zeros(stored.shape, bool)))


def _warn_of_missing(field: Field, seen: Glimpse) -> None:
    if not seen.valid.any() or (found := sentinel([seen])) is None:
        return
    name = printable(field.name)
    words = f"{name} holds many cells of {found}, far from all others, which nothing declares to be missing"
    warn("W-NODATA", f"{words}: if they are, say so in its _FillValue (ncatted -a _FillValue,{name},o,f,{found} FILE)")


def _warn_of_classes(field: Field, seen: Glimpse) -> None:
    plain = seen.values.dtype.kind in "iu" and field.storage.coarse.plain and field.quantity.untold
    if plain and (count := count_classes(seen.values, seen.valid)) > 0:
        name = printable(field.name)
        words = f"{name} holds {count} values without a gradient between them, as classes have"
        warn("W-CLASSES", f"{words}: if it holds classes or flags, say so with --as {name}=category")
