"""Simple methods that follow a guide, and the measures by which sharpened imagery is judged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geofsrcnn._types import Array, Mask

SIMPLE = ("high-pass filter", "component substitution", "local regression")
"""Names of the simple methods: `high_pass`, `substitute`, and regression within the middle window."""


def fit_guide_to(coarse: Array, means: Array, counts: Mask) -> Array:
    """Regress a field on the block means of a guide, over all cells that count.

    Parameters
    ----------
    coarse : ndarray (y, x)
        The field.
    means : ndarray (k, y, x)
        Block means of the guide's bands.
    counts : ndarray (y, x) of bool
        Cells that count.

    Returns
    -------
    ndarray (k,)
        The slope of each band.
    """
    if not counts.any():
        return np.zeros(len(means))
    bands, field = means[:, counts], coarse[counts]
    bands = bands - bands.mean(1, keepdims=True)
    units = np.abs(bands).max(1)
    units[units == 0] = 1.0
    slopes, *_ = np.linalg.lstsq((bands / units[:, None]).T, field - field.mean(), rcond=None)
    found: Array = slopes / units
    return found


def high_pass(coarse: Array, means: Array, details: Array, counts: Mask) -> Array:
    """Add the details of the guide's mean band, scaled to the field's deviation (Chavez et al. 1991).

    Parameters
    ----------
    coarse, means
        As for `fit_guide_to`.
    details : ndarray (k, factor * factor, y, x)
        The guide less its interpolated block means.
    counts : ndarray (y, x) of bool
        Cells that count.

    Returns
    -------
    ndarray (factor * factor, y, x)
        What is added to the interpolated field.
    """
    band, field = means.mean(0)[counts], coarse[counts]
    gain = 0.0
    if band.size and band.std() > 0 and field.std() > 0:
        gain = np.sign(np.corrcoef(band, field)[0, 1]) * field.std() / band.std()
    added: Array = gain * details.mean(0)
    return added


def substitute(coarse: Array, means: Array, details: Array, counts: Mask) -> Array:
    """Add the details of the mix of bands that fits the field best over the whole scene (Aiazzi et al. 2007).

    Parameters and result are those of `high_pass`.
    """
    added: Array = np.einsum("k,ksyx->syx", fit_guide_to(coarse, means, counts), details)
    return added


def spectral_angle(estimate: Array, truth: Array) -> float:
    """Mean angle between the bands of cells as vectors, in degrees (Kruse et al. 1993).

    Parameters
    ----------
    estimate, truth : ndarray (band, n)
        Values of the same cells.

    Returns
    -------
    float
        0 where the bands are in proportion everywhere; NaN if there is no cell.
    """
    lengths = np.linalg.norm(estimate, axis=0) * np.linalg.norm(truth, axis=0)
    known = lengths > 0
    if not known.any():
        return float("nan")
    cosines = (estimate * truth).sum(0)[known] / lengths[known]
    return float(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))).mean())


def ergas(errors: Sequence[float], means: Sequence[float], factor: int) -> float:
    """Relative dimensionless global error of synthesis (Wald 2000).

    Parameters
    ----------
    errors, means : sequence of float
        RMSE and mean of each band.
    factor : int
        Fine cells along one side of a coarse cell.

    Returns
    -------
    float
        0 is best; NaN where a mean is 0.

    Examples
    --------
    >>> round(ergas([1.0, 2.0], [100.0, 100.0], 2), 3)
    0.791
    """
    if not all(means):
        return float("nan")
    relative = [(error / mean) ** 2 for error, mean in zip(errors, means, strict=True)]
    return float(100 / factor * np.sqrt(np.mean(relative)))
