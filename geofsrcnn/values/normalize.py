"""Values of a variable as a network takes them: transformed, then standardised by stored constants.

For networks that are trained on pairs, where units and places carry meaning (the shipped ones need none of it).
Arrays in, arrays out; constants are one number, or one for each cell of a fixed grid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import ConfigError, InputError

TRANSFORMS = ("none", "sqrt", "log1p")
"""Transforms of values of 0 or more with a long tail, such as rain; odd functions, so small negatives do no harm."""


@dataclass(frozen=True)
class Normalizer:
    """``(transform(values) - mean) / std``, and back.

    Parameters
    ----------
    mean, std : ndarray () or (y, x), float64
        Mean and standard deviation of transformed values; the latter is positive.
    transform : {"none", "sqrt", "log1p"}
        ``sqrt`` and ``log1p`` of the magnitude, with the sign.

    Raises
    ------
    ConfigError
        If there is no such transform, or a standard deviation is not positive.

    Examples
    --------
    >>> rain = np.array([0.0, 1.0, 4.0, 9.0])
    >>> normalizer = Normalizer.fit([rain], transform="sqrt")
    >>> normalizer.encode(rain).round(3)
    array([-1.342, -0.447,  0.447,  1.342])
    >>> normalizer.decode(normalizer.encode(rain)).round(9)
    array([0., 1., 4., 9.])
    """

    mean: Array
    std: Array
    transform: str = "none"

    def __post_init__(self) -> None:
        if self.transform not in TRANSFORMS:
            raise ConfigError(f"transform must be one of {', '.join(TRANSFORMS)}, got {self.transform!r}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.std).all() and (self.std > 0).all()):
            raise ConfigError("mean and std must be finite, std positive")

    @classmethod
    def fit(cls, blocks: Iterable[Array], *, transform: str = "none", per_cell: bool = False) -> Normalizer:
        """Mean and standard deviation of values that come in blocks; NaN is left out.

        Sums are merged block by block (Chan, Golub, LeVeque 1983), so nothing but a block is held.

        Parameters
        ----------
        blocks : iterable of ndarray (..., y, x)
            All values, a part at a time.
        transform : {"none", "sqrt", "log1p"}
            Applied first.
        per_cell : bool
            Constants for each cell ``(y, x)``; those of cells without values are 0 and 1.

        Raises
        ------
        InputError
            If there is no value at all.
        """
        count, mean, squares = np.zeros(()), np.zeros(()), np.zeros(())
        for block in blocks:
            values = apply_transform(np.asarray(block, np.float64), transform)
            axes = tuple(range(values.ndim - 2)) if per_cell else None
            valid = np.isfinite(values)
            n = np.asarray(valid.sum(axes), np.float64)
            kept = np.where(valid, values, 0.0)
            centre = kept.sum(axes) / np.maximum(n, 1)
            off = np.where(valid, values - centre, 0.0)
            total = count + n
            step = centre - mean
            squares = squares + (off**2).sum(axes) + step**2 * count * n / np.maximum(total, 1)
            mean = mean + step * n / np.maximum(total, 1)
            count = total
        if not count.any():
            raise InputError("no valid value to standardise by")
        std = np.sqrt(squares / np.maximum(count, 1))
        rounding = 1e-9 * np.maximum(np.abs(mean), 1e-30)  # all that varies in a constant field
        return cls(mean, np.where(std > rounding, std, 1.0), transform)

    def encode(self, values: Array) -> Array:
        """Values as the network takes them."""
        result: Array = (apply_transform(values, self.transform) - self.mean) / self.std
        return result

    def decode(self, values: Array) -> Array:
        """The network's numbers in the variable's units."""
        return undo_transform(values * self.std + self.mean, self.transform)


def apply_transform(values: Array, transform: str) -> Array:
    """Transform values, by a name of `TRANSFORMS`."""
    if transform == "sqrt":
        return np.sign(values) * np.sqrt(np.abs(values))
    return np.sign(values) * np.log1p(np.abs(values)) if transform == "log1p" else values


def undo_transform(values: Array, transform: str) -> Array:
    """Invert `apply_transform`."""
    if transform == "sqrt":
        return np.asarray(np.sign(values) * values**2)
    return np.asarray(np.sign(values) * np.expm1(np.abs(values))) if transform == "log1p" else values
