"""How good a fine field is against the true one: scores over the cells that count.

A coarse cell counts only if it lies at least `MARGIN` coarse cells from the raster's edge and from invalid
cells, so that no method is judged by how it treats edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.evaluation.registration import cross_spectrum
from geofsrcnn.values.blocks import repeat

MARGIN = 4
"""Coarse cells between a scored cell and the nearest edge or invalid cell."""

MIN_CELLS = 400
"""Fine cells that a field needs to be judged by."""


def scored_mask(valid: Mask, factor: int, margin: int = MARGIN) -> Mask:
    """Fine cells that count in a score.

    Parameters
    ----------
    valid : ndarray (y, x) of bool
        Valid coarse cells.
    factor : int
        Fine cells along one side of a coarse cell.
    margin : int
        Coarse cells (Chebyshev distance) to the nearest edge or invalid cell.

    Returns
    -------
    ndarray (factor * y, factor * x) of bool
    """
    inside = np.pad(valid, margin, constant_values=False)
    for axis in (0, 1):
        lines = np.moveaxis(inside, axis, 0)
        count = lines.shape[0] - 2 * margin
        near = np.ones_like(lines[:count])
        for shift in range(2 * margin + 1):
            near &= lines[shift : shift + count]
        inside = np.moveaxis(near, 0, axis)
    return repeat(inside, factor)


def rmse(estimate: Array, truth: Array, where: Mask) -> float:
    """Root of the mean squared error over the cells of `where`, in the field's units."""
    errors = Errors()
    errors.add(estimate, truth, where)
    return errors.rmse


def geometric_mean(ratios: Sequence[float]) -> float:
    """The mean of ratios over fields; 1e-12 stands for 0.

    Examples
    --------
    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    return math.exp(log_ratios(ratios).mean())


def log_ratios(ratios: Sequence[float]) -> Array:
    """Take logarithms of ratios; 1e-12 stands for 0."""
    result: Array = np.log(np.maximum(ratios, 1e-12))
    return result


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over a sample of networks; 0 of a single one.

    Examples
    --------
    >>> mean_and_std([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    found = np.array(values, dtype=np.float64)
    return float(found.mean()), float(found.std(ddof=1)) if found.size > 1 else 0.0


class Errors:
    """Errors of an estimate, gathered part by part; weighted, where weights are given.

    Examples
    --------
    >>> errors = Errors()
    >>> errors.add(np.array([1.0, 5.0]), np.array([1.0, 2.0]), np.array([True, True]))
    >>> errors.mae, errors.bias, errors.count
    (1.5, 1.5, 2)
    """

    def __init__(self) -> None:
        self.count, self._weight, self._squares, self._sizes, self._sum = 0, 0.0, 0.0, 0.0, 0.0

    def add(self, estimate: Array, truth: Array, where: Mask, weights: Array | None = None) -> None:
        """Take in the cells of `where`; weights are of the same shape."""
        error = estimate[where].astype(np.float64) - truth[where]
        weight = np.ones(error.size) if weights is None else weights[where]
        self.count += error.size
        self._weight += float(weight.sum())
        self._squares += float((weight * np.square(error)).sum())
        self._sizes += float((weight * np.abs(error)).sum())
        self._sum += float((weight * error).sum())

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in the field's units."""
        return math.sqrt(self._squares / self._weight)

    @property
    def mae(self) -> float:
        """Mean absolute error, in the field's units."""
        return self._sizes / self._weight

    @property
    def bias(self) -> float:
        """Mean error, estimate less truth, in the field's units."""
        return self._sum / self._weight


class Correlation:
    """Pearson's correlation, gathered part by part around an origin near the data, so that digits are kept.

    Examples
    --------
    >>> both = Correlation()
    >>> x = np.array([1e5, 1e5 + 1, 1e5 + 3])
    >>> both.add(x, 2 * x, np.array([True, True, True]))
    >>> round(both.value, 12)
    1.0
    """

    def __init__(self) -> None:
        self._origin: tuple[float, float] | None = None
        self._sums = np.zeros(6)

    def add(self, estimate: Array, truth: Array, where: Mask, weights: Array | None = None) -> None:
        """Take in the cells of `where`; weights are of the same shape."""
        x, y = estimate[where].astype(np.float64), truth[where].astype(np.float64)
        if self._origin is None and x.size:
            self._origin = float(x[0]), float(y[0])  # a constant's differences from it are exactly 0
        if self._origin is None:
            return
        x, y = x - self._origin[0], y - self._origin[1]
        w = np.ones(x.size) if weights is None else weights[where]
        self._sums += [w.sum(), w @ x, w @ y, w @ (x * x), w @ (x * y), w @ (y * y)]

    @property
    def value(self) -> float:
        """From -1 to 1; NaN where either is constant."""
        n, x, y, xx, xy, yy = self._sums
        both = (xx - x * x / n) * (yy - y * y / n)
        return min(max(float((xy - x * y / n) / math.sqrt(both)), -1.0), 1.0) if both > 0 else math.nan


def ssim(estimate: Array, truth: Array, span: float) -> float:
    """Mean structural similarity (Wang et al. 2004), over windows that hold finite cells alone; NaN if there are none.

    Gaussian windows of standard deviation 1.5, cut off at 5 cells, as in the paper.

    Parameters
    ----------
    estimate, truth : ndarray (y, x)
        NaN where missing.
    span : float
        Range of the truth's values.
    """
    from skimage.metrics import structural_similarity

    reach = 5
    valid = np.isfinite(estimate) & np.isfinite(truth)
    if min(truth.shape) <= 2 * reach or not valid.any():
        return math.nan
    inner = _whole(valid, reach)
    if not inner.any():
        return math.nan
    level = float(truth[valid].mean())  # the fill, which no window that counts holds
    a, b = (np.where(valid, each, level).astype(np.float64) for each in (truth, estimate))
    _, each = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    return float(each[inner].mean())


def _whole(valid: Mask, reach: int) -> Mask:
    """Cells around which all within so many rows and columns are valid."""
    inside = np.zeros_like(valid)
    windows = np.lib.stride_tricks.sliding_window_view(valid, (2 * reach + 1, 2 * reach + 1))
    inside[reach:-reach, reach:-reach] = windows.all((-1, -2))
    return inside


def radial_spectrum(field: Array) -> tuple[Array, Array]:
    """Power by wavelength, averaged over all directions.

    Parameters
    ----------
    field : ndarray (..., y, x)
        Missing cells (NaN) count as the mean of the others. Edges are tapered (Hann).

    Returns
    -------
    wavelengths : ndarray (k,)
        In cells, falling, down to 2.
    power : ndarray (..., k)
        Mean square of the Fourier coefficients in rings one wavenumber of the shorter side wide.

    Examples
    --------
    >>> wavelengths, power = radial_spectrum(np.sin(2 * np.pi * np.arange(64) / 8) * np.ones((64, 1)))
    >>> float(wavelengths[power.argmax()])
    8.0
    """
    rows, columns = field.shape[-2:]
    known = np.isfinite(field)
    count = np.maximum(known.sum((-2, -1), keepdims=True), 1)
    around = np.where(known, field, 0).sum((-2, -1), keepdims=True) / count
    taper = np.hanning(rows + 2)[1:-1, None] * np.hanning(columns + 2)[None, 1:-1]
    power = np.abs(np.fft.rfft2(np.where(known, field - around, 0) * taper)) ** 2
    twice = np.full(power.shape[-1], 2.0)  # of the two halves of the spectrum, one is kept
    twice[0] = 1
    if columns % 2 == 0:
        twice[-1] = 1
    side = min(rows, columns)
    ring = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]) * side
    number = np.rint(ring).astype(int)
    last = side // 2
    use = (number >= 1) & (number <= last)
    weight = np.broadcast_to(twice, ring.shape)
    flat = (power * weight)[..., use]
    sums = np.stack([np.bincount(number[use], each, last + 1)[1:] for each in flat.reshape(-1, flat.shape[-1])])
    shares = np.bincount(number[use], weight[use], last + 1)[1:]
    return side / np.arange(1, last + 1), (sums / shares).reshape(*field.shape[:-2], last)


def crps(members: Array, truth: Array) -> Array:
    """Continuous ranked probability score of each value (Gneiting, Raftery 2007): E|X - y| - E|X - X'| / 2.

    Parameters
    ----------
    members : ndarray (m, ...)
        Equally likely values.
    truth : ndarray (...)

    Examples
    --------
    >>> crps(np.array([[0.0], [2.0]]), np.array([1.0])).tolist()
    [0.5]
    """
    m = len(members)
    ordered = np.sort(members, axis=0)
    ranks = (2 * np.arange(m) - m + 1).reshape(-1, *[1] * (members.ndim - 1))
    result: Array = np.abs(members - truth).mean(0) - (ranks * ordered).sum(0) / m**2
    return result


def shift(estimate: Array, truth: Array) -> tuple[float, float]:
    """Shift ``(y, x)`` of `estimate` against `truth` in fine cells, by phase correlation.

    The phase of the cross spectrum is fitted with a plane over wavelengths of more than 10 cells, weighted by its
    amplitude (Stone et al. 2001): exact to a few thousandths of a cell where the fields share structure, up to shifts
    of 4 cells.

    Parameters
    ----------
    estimate, truth : ndarray (y, x)
        Finite fields of the same shape.

    Returns
    -------
    tuple of float
        Positive where the estimate lies further along the axis than the truth.
    """
    cross, ky, kx = cross_spectrum(estimate, truth)
    low = (np.hypot(ky, kx) < 0.1) & (np.hypot(ky, kx) > 0)
    weight = np.sqrt(np.abs(cross[low]))
    design = -2 * np.pi * np.stack([ky[low], kx[low]], axis=1)
    solution, *_ = np.linalg.lstsq(design * weight[:, None], np.angle(cross[low]) * weight, rcond=None)
    return float(solution[0]), float(solution[1])
