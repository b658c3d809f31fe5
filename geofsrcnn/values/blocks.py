"""Blocks of cells: their means, and cells repeated."""

from __future__ import annotations

import numpy as np

from geofsrcnn._types import Array


def block_mean(fine: Array, factor: int, areas: Array | None = None) -> Array:
    """Mean of each ``factor x factor`` block; rows and columns that do not fill a block are cut off.

    Parameters
    ----------
    fine : ndarray (..., y, x)
        Any numeric type.
    factor : int
        Fine cells along one side of a block.
    areas : ndarray (y,), optional
        Areas of the cells of each row, as weights; there may be more rows than the field has.

    Returns
    -------
    ndarray (..., y // factor, x // factor), float64
        NaN where any cell of the block is NaN.

    Examples
    --------
    >>> block_mean(np.arange(8.0).reshape(2, 4), 2)
    array([[2.5, 4.5]])
    >>> block_mean(np.arange(8.0).reshape(2, 4), 2, np.array([3.0, 1.0]))
    array([[1.5, 3.5]])
    """
    rows, columns = fine.shape[-2] // factor, fine.shape[-1] // factor
    cut = fine[..., : rows * factor, : columns * factor]
    blocks = cut.reshape(*fine.shape[:-2], rows, factor, columns, factor)
    if areas is not None:
        blocks = blocks * row_shares(areas[: rows * factor], factor)[:, :, None, None]
    result: Array = blocks.mean(axis=(-3, -1), dtype=np.float64)
    return result


def block_mode(fine: Array, factor: int) -> Array:
    """Most frequent value of each ``factor x factor`` block, the smallest of several; NaN where any cell is NaN.

    Examples
    --------
    >>> block_mode(np.array([[1, 2, 5, 5], [2, 2, 4, 4]]), 2)
    array([[2, 4]])
    """
    rows, columns = fine.shape[-2] // factor, fine.shape[-1] // factor
    blocks = fine[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor).swapaxes(1, 2)
    ordered = np.sort(blocks.reshape(rows, columns, factor**2), -1)
    mode = ordered[..., 0]
    for times in range(1, factor**2):  # values that stand there more often than so many times
        again = ordered[..., times:] == ordered[..., :-times]
        if not again.any():
            break
        found = np.take_along_axis(ordered, again.argmax(-1)[..., None], -1)[..., 0]
        mode = np.where(again.any(-1), found, mode)
    result: Array = mode if fine.dtype.kind != "f" else np.where(np.isnan(ordered[..., -1]), np.nan, mode)
    return result


def row_shares(areas: Array, factor: int) -> Array:
    """Return area weights of rows in each block ``(y // factor, factor)``; 1 on average."""
    blocks = areas.reshape(-1, factor)
    result: Array = blocks / blocks.mean(1, keepdims=True)
    return result


def repeat(coarse: Array, factor: int) -> Array:
    """Each cell as a ``factor x factor`` block, of the same type.

    Examples
    --------
    >>> repeat(np.array([[1, 2]]), 2)
    array([[1, 1, 2, 2],
           [1, 1, 2, 2]])
    """
    return coarse.repeat(factor, axis=-2).repeat(factor, axis=-1)
