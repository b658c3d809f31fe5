"""Classical interpolation as filter banks, one filter a sub-pixel."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import UsageError
from geofsrcnn.values.blocks import block_mean, repeat

BACK_PROJECTIONS = 3
"""Rounds of back-projection of the ``-bp`` methods."""


def _triangle(t: Array) -> Array:
    result: Array = np.maximum(1 - np.abs(t), 0)
    return result


def _keys(a: float) -> Callable[[Array], Array]:
    """Cubic convolution with parameter `a` (Keys 1981); a = -0.5 reproduces planes."""

    def kernel(t: Array) -> Array:
        t = np.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
        result: Array = np.where(t <= 1, near, np.where(t < 2, far, 0))
        return result

    return kernel


def _lanczos3(t: Array) -> Array:
    return np.where(np.abs(t) < 3, np.sinc(t) * np.sinc(t / 3), 0)


def _box(t: Array) -> Array:
    return np.where((t >= -0.5) & (t < 0.5), 1.0, 0.0)


KERNELS: dict[str, tuple[int, Callable[[Array], Array]]] = {
    "nearest": (0, _box),
    "bilinear": (1, _triangle),
    "cubic": (2, _keys(-0.5)),
    "cubic-0.75": (2, _keys(-0.75)),
    "lanczos": (3, _lanczos3),
}
"""Name: (radius in coarse cells, kernel). ``cubic`` is GDAL's; ``cubic-0.75`` is OpenCV's and torch's."""

CLASSICAL = ("nearest", *(f"{kernel}{form}" for kernel in KERNELS if kernel != "nearest" for form in ("", "-c", "-bp")))
"""All methods by name: what the command line offers beside the networks, and what they are compared with."""

BICUBIC = "cubic-0.75"
"""Cubic convolution as OpenCV and torch have it, under the name bicubic."""


def offsets(factor: int) -> Array:
    """Centres of the fine cells, in coarse cells from the coarse cell's centre.

    Examples
    --------
    >>> offsets(2)
    array([-0.25,  0.25])
    """
    return (np.arange(factor) + 0.5) / factor - 0.5


def split_method(method: str) -> tuple[str, str]:
    """Split a method's name into kernel and suffix (``""``, ``"c"`` or ``"bp"``); a UsageError if there is none."""
    for suffix in ("bp", "c"):
        kernel = method.removesuffix(f"-{suffix}")
        if kernel != method and kernel in KERNELS:
            return kernel, suffix
    if method in KERNELS:
        return method, ""
    raise UsageError(f"no resampling method {method!r}: take one of {', '.join(CLASSICAL)}")


def taps(kernel: str, factor: int) -> Array:
    """One-dimensional filters of the sub-pixels, of a kernel of `KERNELS`.

    Returns
    -------
    ndarray (factor, 2 * radius + 1), float64
        Each row sums to 1.

    Examples
    --------
    >>> taps("bilinear", 2)
    array([[0.25, 0.75, 0.  ],
           [0.  , 0.75, 0.25]])
    """
    radius, function = KERNELS[kernel]
    distance = np.arange(-radius, radius + 1)[None, :] - offsets(factor)[:, None]
    weights = function(distance)
    result: Array = weights / weights.sum(axis=1, keepdims=True)
    return result


@lru_cache(maxsize=64)
def filter_bank(method: str, factor: int) -> Array:
    """A method of `CLASSICAL` written as one square filter for each sub-pixel.

    Returns
    -------
    ndarray (factor, factor, k, k), float64, read-only
        ``fine[f*i + p, f*j + q] = sum(bank[p, q] * coarse[i-r : i+r+1, j-r : j+r+1])`` with ``k = 2 r + 1``.
    """
    kernel, suffix = split_method(method)
    line = taps(kernel, factor)
    bank = np.einsum("pi,qj->pqij", line, line)
    if suffix:
        error = _unit(bank.shape[-1]) - bank.mean(axis=(0, 1))  # from a coarse field to what its block means lack
        if suffix == "c":
            bank = bank + error
        else:
            # each round interpolates what the error filter leaves of the field: 1 + E + E * E + ... in all
            power = correction = _unit(1)
            for _ in range(BACK_PROJECTIONS):
                power = _convolve(power, error)
                correction = np.pad(correction, (power.shape[0] - correction.shape[0]) // 2) + power
            bank = np.stack([[_convolve(filt, correction) for filt in row] for row in bank])
    result: Array = bank
    result.setflags(write=False)
    return result


def _unit(size: int) -> Array:
    result = np.zeros((size, size))
    result[size // 2, size // 2] = 1
    return result


def _convolve(a: Array, b: Array) -> Array:
    """Full two-dimensional convolution of two small square filters."""
    size = a.shape[0] + b.shape[0] - 1
    result = np.zeros((size, size))
    for (y, x), weight in np.ndenumerate(b):
        result[y : y + a.shape[0], x : x + a.shape[1]] += weight * a
    return result


def resample(coarse: Array, factor: int, method: str) -> Array:
    """Upscale finite values ``(y, x)`` with a method of `CLASSICAL`, edges replicated, in float64.

    The reference for comparisons: kernels are applied along rows and columns, and back-projection is carried
    out round by round, independently of `filter_bank`.
    """
    kernel, suffix = split_method(method)
    coarse = coarse.astype(np.float64)
    fine = _interpolate(coarse, factor, kernel)
    if suffix == "c":
        fine += repeat(coarse - block_mean(fine, factor), factor)
    elif suffix == "bp":
        for _ in range(BACK_PROJECTIONS):
            fine += _interpolate(coarse - block_mean(fine, factor), factor, kernel)
    return fine


def _interpolate(values: Array, factor: int, kernel: str) -> Array:
    """Apply a kernel along columns, then along rows."""
    line = taps(kernel, factor)
    radius = line.shape[1] // 2
    for _ in ("y", "x"):  # transposed after each
        padded = np.pad(values, [(radius, radius), (0, 0)], mode="edge")
        fine = np.zeros((len(values) * factor, values.shape[1]))
        for phase, weights in enumerate(line):
            for shift, weight in enumerate(weights):
                fine[phase::factor] += weight * padded[shift : shift + len(values)]
        values = fine.T
    return values
