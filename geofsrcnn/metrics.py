"""How good a fine field is against the true one: scores over the cells that count.

A coarse cell counts only if it lies at least `MARGIN` coarse cells from the raster's edge and from invalid
cells, so that no method is judged by how it treats edges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from geofsrcnn.resample import KERNELS, repeat, resample

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

MARGIN = 4
"""Coarse cells between a scored cell and the nearest edge or invalid cell."""

BICUBIC = "cubic-0.75"
"""What OpenCV and torch call bicubic."""

BASELINES = tuple(f"{kernel}{suffix}" for kernel in KERNELS for suffix in ("", "-c", "-bp") if kernel != "nearest")
BASELINES = ("nearest", *BASELINES)
"""Classical methods that a network is compared with."""


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
    error = estimate[where].astype(np.float64) - truth[where]
    return float(np.sqrt(np.mean(error**2)))


def classical_scores(coarse: Array, truth: Array, where: Mask, factor: int) -> dict[str, float]:
    """RMSE of each of `BASELINES`.

    Parameters
    ----------
    coarse : ndarray (y, x)
        Finite values (fill missing cells first).
    truth : ndarray (factor * y, factor * x)
        The true fine field.
    where : ndarray (factor * y, factor * x) of bool
        Cells that count.
    factor : int
        Fine cells along one side of a coarse cell.

    Returns
    -------
    dict of str to float
        Method: RMSE, in the field's units.
    """
    return {method: rmse(resample(coarse, factor, method), truth, where) for method in BASELINES}


def shift(estimate: Array, truth: Array) -> tuple[float, float]:
    """Shift ``(y, x)`` of `estimate` against `truth` in fine cells, by phase correlation.

    The phase of the cross spectrum is fitted with a plane over the low half of the frequencies, weighted by
    its amplitude (Stone et al. 2001): exact to a few thousandths of a cell where the fields share structure.

    Parameters
    ----------
    estimate, truth : ndarray (y, x)
        Finite fields of the same shape.

    Returns
    -------
    tuple of float
        Positive where the estimate lies further along the axis than the truth.
    """
    rows, columns = truth.shape
    taper = np.hanning(rows)[:, None] * np.hanning(columns)[None, :]
    spectra = [np.fft.fft2((field - field.mean()) * taper) for field in (estimate, truth)]
    cross = spectra[0] * np.conj(spectra[1])
    ky, kx = np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(columns), indexing="ij")
    low = (np.hypot(ky, kx) < 0.1) & (np.hypot(ky, kx) > 0)
    weight = np.sqrt(np.abs(cross[low]))
    design = -2 * np.pi * np.stack([ky[low], kx[low]], axis=1)
    solution, *_ = np.linalg.lstsq(design * weight[:, None], np.angle(cross[low]) * weight, rcond=None)
    return float(solution[0]), float(solution[1])
