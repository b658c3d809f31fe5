"""How a field's stored numbers become cells, and fine cells become stored numbers again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofsrcnn._types import Array, Mask, Range
from geofsrcnn.errors import InputError, UsageError, warn
from geofsrcnn.values.cells import Cells, is_one_value, join_bands, spread
from geofsrcnn.values.encoding import Missing, Packing, refuse_lost_digits
from geofsrcnn.values.expected_errors import error_type

PARTS = np.dtype(np.float64)
"""Type of the parts of totals that are stored as whole numbers, which their parts are not."""


def type_of_parts(
    name: str, stored: np.dtype[Any], asked: np.dtype[Any] | None = None, held: np.dtype[Any] = PARTS
) -> np.dtype[Any] | None:
    """Return the type that parts of totals are stored in; None for that of the totals.

    Parameters
    ----------
    name : str
        Of the band or field.
    stored : numpy.dtype
        Of its stored numbers.
    asked : numpy.dtype, optional
        Type that was asked for.
    held : numpy.dtype
        That of its values in memory, where these are floats already.

    Raises
    ------
    UsageError
        If whole numbers were asked for.

    Warns
    -----
    GeofsrcnnWarning
        If the type changes without anybody having asked for it.
    """
    if asked is not None:
        if asked.kind in "iu":
            raise UsageError(
                f"{name} holds totals of cells, whose parts are no whole numbers: take dtype='float64', or "
                "say with kinds= that it holds a field"
            )
        return asked
    if stored.kind not in "iu":
        return None
    wanted = held if held.kind == "f" else PARTS
    warn("W-PARTS", f"{name} holds totals of cells as whole numbers, which their parts are not: stored as {wanted}")
    return wanted


@dataclass(frozen=True)
class Storage:
    """A field before and after it is made finer, wherever it is held: in memory, in a chunk, in a file.

    Parameters
    ----------
    coarse, fine : Packing
        How values are stored before and after.
    dtype : numpy.dtype
        Of the fine numbers; that of `fine`, or its signed or unsigned sister where a store knows only one of them.
    raw : bool
        Stored numbers are repeated, whatever they mean.
    """

    coarse: Packing
    fine: Packing
    dtype: np.dtype[Any]
    raw: bool = False

    @classmethod
    def plain(cls, dtype: np.dtype[Any], nodata: float | None = None, *, raw: bool = False) -> Storage:
        """Make the storage of an array whose numbers are values, with a nodata value that missing cells get again."""
        marks, dtype = () if nodata is None else (nodata,), dtype.newbyteorder("=")
        packing = Packing(dtype, missing=Missing(marks))
        return cls(packing, replace(packing, mark=nodata), dtype, raw=raw)

    @property
    def limits(self) -> Range | None:
        """Smallest and largest fine value that can be stored and is not missing; None where nothing stops them."""
        return self.fine.limits

    @property
    def error_dtype(self) -> np.dtype[Any]:
        """Floating type that expected errors are held in: float32, or float64 where values have more digits."""
        return error_type(self.dtype)

    def decode(self, stored: Array, name: str, valid: Mask | None = None, *, lossy: bool = False) -> Cells:
        """Decode stored numbers into cells.

        Parameters
        ----------
        stored : ndarray (band, y, x)
            As stored.
        name : str
            Of the field, for messages.
        valid : ndarray of bool, optional
            A mask beside the stored numbers, True where valid.
        lossy : bool
            Accept integers that lose digits.

        Raises
        ------
        InputError
            If integers are too large to be computed with.
        """
        if _repeats(stored) and (valid is None or is_one_value(valid)):
            one = None if valid is None else valid[:, :1, :1]
            return self.decode(stored[:, :1, :1], name, one, lossy=lossy).spread(stored.shape[1:])
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        numbers = stored if stored.dtype == self.coarse.dtype else stored.view(self.coarse.dtype.newbyteorder("="))
        missing = self.coarse.missing
        masked = np.True_ if valid is None else valid
        valid = missing.valid(numbers) & masked
        if self.raw:
            return Cells(stored, valid)
        if not lossy:
            refuse_lost_digits(numbers, valid, name)
        undeclared = missing.undeclared(numbers) & masked
        return Cells(self.coarse.decode(numbers), valid, undeclared=bool(undeclared.any()))

    def encode(self, cells: Cells, name: str) -> Array:
        """Encode fine cells as stored numbers; missing cells keep what they hold where they have no mark.

        Raises
        ------
        InputError
            If missing cells have neither a mark nor a number that an integer type holds.
        """
        if self.raw:
            return cells.values
        if _repeats(cells.values) and is_one_value(cells.valid):
            one = self.encode(Cells(cells.values[:, :1, :1], cells.valid[:, :1, :1]), name)
            return spread(one, cells.values.shape[1:])
        if self.fine.dtype.kind != "f" and self.fine.mark is None and not np.isfinite(cells.values).all():
            words = f"missing cells in {name} cannot be stored as {self.fine.dtype}"
            raise InputError(f"{words}: say with nodata= which value stands for them")
        return self.fine.encode(cells.values, cells.valid).view(self.dtype.newbyteorder("="))


def _repeats(field: Array) -> bool:
    """Tell whether a field ``(band, y, x)`` has several cells, of one value in each band."""
    return math.prod(field.shape[1:]) > 1 and is_one_value(field)


def decode_bands(
    storages: Sequence[Storage], stored: Sequence[Array], name: str, valid: Mask | None = None, *, lossy: bool = False
) -> Cells:
    """Decode bands ``(y, x)`` that are stored each in its way; arguments as for `Storage.decode`."""
    masks = [None] * len(storages) if valid is None else [mask[None] for mask in valid]
    each = [s.decode(v[None], name, m, lossy=lossy) for s, v, m in zip(storages, stored, masks, strict=True)]
    return Cells(
        join_bands([cells.values for cells in each]),
        join_bands([cells.valid for cells in each]),
        undeclared=any(cells.undeclared for cells in each),
    )


def encode_bands(storages: Sequence[Storage], cells: Cells, names: Sequence[str]) -> Array:
    """Encode bands that are stored each in its way; arguments as for `Storage.encode`."""
    parts = zip(storages, cells.values, cells.valid, names, strict=True)
    return join_bands([s.encode(Cells(values[None], valid[None]), name) for s, values, valid, name in parts])
