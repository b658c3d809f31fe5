"""How a field's stored numbers become cells, and fine cells become stored numbers again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import InputError
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import Missing, Packing, loses_digits


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
        """Of an array whose numbers are values, with a nodata value that missing cells get again."""
        marks, dtype = () if nodata is None else (nodata,), dtype.newbyteorder("=")
        packing = Packing(dtype, missing=Missing(marks))
        return cls(packing, replace(packing, mark=nodata), dtype, raw=raw)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Smallest and largest fine value that can be stored and is not missing; None where nothing stops them."""
        return self.fine.limits

    def decode(self, stored: Array, name: str) -> Cells:
        """The cells of stored numbers.

        Parameters
        ----------
        stored : ndarray (band, y, x)
            As stored.
        name : str
            Of the field, for messages.

        Raises
        ------
        InputError
            If integers are too large to be computed with.
        """
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        numbers = stored if stored.dtype == self.coarse.dtype else stored.view(self.coarse.dtype.newbyteorder("="))
        valid = self.coarse.missing.valid(numbers)
        if self.raw:
            return Cells(stored, valid)
        if loses_digits(numbers, valid):
            raise InputError(f"integers beyond 2**53 in {name} would lose digits: subtract an offset first")
        return Cells(self.coarse.decode(numbers), valid)

    def encode(self, cells: Cells) -> Array:
        """The numbers that fine cells are stored as; missing cells keep what they hold where they have no mark."""
        if self.raw:
            return cells.values
        return self.fine.encode(cells.values, cells.valid).view(self.dtype.newbyteorder("="))
