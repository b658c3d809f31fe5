"""PSNR and SSIM as the literature has them: luma of 8 bits, the result rounded, a border left out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.ndimage import correlate1d

from protocol.images import Array, Photo, make_coarse, trim

Upscale = Callable[[Array], Array]
"""From a coarse luma ``(y, x)`` to a fine one, in grey levels."""


def psnr(truth: Array, result: Array, border: int) -> float:
    """Peak signal-to-noise ratio in dB, without `border` cells on each side, the result rounded to 8 bits."""
    error = _inside(truth, border) - _inside(np.clip(np.round(result), 0, 255), border)
    return 10 * math.log10(255**2 / float(np.mean(error**2)))


def ssim(truth: Array, result: Array, border: int) -> float:
    """Structural similarity (Wang et al. 2004): a Gaussian of 11 x 11 cells, 1.5 wide, whole windows only."""
    a, b = (_inside(each, border) for each in (truth, np.clip(np.round(result), 0, 255)))
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    both = _smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(value.mean())


def _smooth(image: Array) -> Array:
    line = np.exp(-0.5 * ((np.arange(11) - 5) / 1.5) ** 2)
    line /= line.sum()
    smooth: Array = correlate1d(correlate1d(image, line, axis=0), line, axis=1)[5:-5, 5:-5]
    return smooth


def _inside(image: Array, border: int) -> Array:
    return image[border:-border, border:-border] if border else image


def score(upscale: Upscale, photos: Sequence[Photo], factor: int) -> dict[str, dict[str, float]]:
    """Score a method on images: each is made coarser, upscaled, and compared with itself.

    Parameters
    ----------
    upscale : callable
        The method.
    photos : sequence of Photo
        Their rows and columns are trimmed to multiples of `factor`.
    factor : int
        Also the border, in fine cells, that is left out.

    Returns
    -------
    dict
        For each image its ``psnr`` in dB, and ``ssim``.
    """
    scores = {}
    for photo in photos:
        truth = trim(photo.luma, factor)
        result = upscale(make_coarse(truth, factor))
        scores[photo.name] = {"psnr": psnr(truth, result, factor), "ssim": ssim(truth, result, factor)}
    return scores


def mean(scores: Mapping[str, Mapping[str, float]], measure: str = "psnr") -> float:
    """Mean of a measure over images, as tables have it."""
    return float(np.mean([each[measure] for each in scores.values()]))
