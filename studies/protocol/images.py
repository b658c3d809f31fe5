"""Photographs as the literature has them: luma, MATLAB's imresize, the sets Set5, Set14 and T91."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from geofsrcnn.values.kernels import KERNELS

Array = npt.NDArray[np.float64]

LUMA = (65.481, 128.553, 24.966)
"""Weights of red, green and blue of 0 to 255, in ITU-R BT.601; luma has 16 to 235."""


@dataclass(frozen=True)
class Photo:
    """The luma of an image.

    Parameters
    ----------
    name : str
        Stem of its file.
    luma : ndarray (y, x), float64
        Whole grey levels: 16 to 235, of a grey image 0 to 255.
    """

    name: str
    luma: Array


def read_photos(folder: Path) -> list[Photo]:
    """Read all images of a folder, by name."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".bmp", ".jpg"})
    if not paths:
        raise SystemExit(f"no images (.png, .bmp, .jpg) in {folder}")
    return [Photo(path.stem, to_luma(read_image(path))) for path in paths]


def read_image(path: Path) -> Array:
    """Read an image ``(y, x, 3)`` of 0 to 255; a grey one ``(y, x)``."""
    with Image.open(path) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"), np.float64)


def to_luma(image: Array) -> Array:
    """Luma of an image ``(y, x, 3)``, in whole grey levels as MATLAB's ``rgb2ycbcr`` gives it for 8 bits.

    A grey image ``(y, x)`` is its own: Set14 has one, which converted would score 1.3 dB more than in the literature.
    """
    if image.ndim == 2:
        return image
    result: Array = np.round(16 + image @ np.array(LUMA) / 255)
    return result


def trim(image: Array, factor: int) -> Array:
    """Cut rows and columns off the end until `factor` divides their numbers."""
    rows, columns = (n - n % factor for n in image.shape[:2])
    return image[:rows, :columns]


def imresize(image: Array, shape: tuple[int, int], scale: float | None = None) -> Array:
    """Resize as MATLAB's ``imresize`` does: bicubic (Keys 1981, a = -0.5), smoothed when made smaller.

    Parameters
    ----------
    image : ndarray (y, x) or (y, x, 3)
        Any values.
    shape : tuple of int
        Rows and columns of the result.
    scale : float, optional
        Result's cells a cell of the image, where it is not the ratio of their numbers.

    Returns
    -------
    ndarray (shape), float64
        Not rounded.
    """
    down, across = (
        _weights(n, m, scale if scale is not None else m / n) for n, m in zip(image.shape[:2], shape, strict=True)
    )
    rows = np.tensordot(down, image, axes=(1, 0))
    return np.moveaxis(np.tensordot(across, rows, axes=(1, 1)), 0, 1)


@lru_cache(maxsize=256)
def _weights(given: int, wanted: int, scale: float) -> Array:
    """Matrix ``(wanted, given)`` of one axis; beyond the edge the image is mirrored, its last cell twice."""
    _, cubic = KERNELS["cubic"]
    stretch = min(scale, 1.0)
    centre = (np.arange(wanted) + 0.5) / scale - 0.5
    count = int(np.ceil(4 / stretch)) + 2
    cells = np.floor(centre - 2 / stretch).astype(int)[:, None] + np.arange(count)
    weights = cubic(stretch * (centre[:, None] - cells))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(given), np.arange(given)[::-1]])
    matrix: Array = np.zeros((wanted, given))
    np.add.at(matrix, (np.arange(wanted)[:, None], mirrored[cells % (2 * given)]), weights)
    return matrix


def make_coarse(fine: Array, factor: int) -> Array:
    """Make an image `factor` times coarser; its rows and columns are multiples of `factor`."""
    rows, columns = (n // factor for n in fine.shape)
    return imresize(fine, (rows, columns))


def make_fine(coarse: Array, factor: int) -> Array:
    """Make an image `factor` times finer by bicubic interpolation, the baseline of the literature."""
    rows, columns = (n * factor for n in coarse.shape)
    return imresize(coarse, (rows, columns))


def rescale(image: Array, scale: float) -> Array:
    """Resize an image ``(y, x)`` or ``(y, x, 3)`` by a number, in whole levels of 0 to 255."""
    if scale == 1:
        return image
    rows, columns = (math.ceil(n * scale) for n in image.shape[:2])
    result: Array = np.clip(np.round(imresize(image, (rows, columns), scale)), 0, 255)
    return result
