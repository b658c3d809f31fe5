"""Rasters for tests: made small, read back plainly, and looked at for changes."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from tests.support.places import SHARED

ODD = SHARED / "data" / "odd"
"""Odd files of other projects' test suites; absent where only the project is."""

UTM = {"crs": "EPSG:32633", "transform": Affine(30.0, 0.0, 500_000.0, 0.0, -30.0, 6_000_000.0)}
NOWHERE: dict[str, Any] = {"crs": None, "transform": None}


def terrain(shape: tuple[int, ...] = (24, 29), *, seed: int = 0, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """A field with structure at all scales, from `low` to `high`, float64."""
    rng = np.random.default_rng(seed)
    field = rng.normal(size=shape).cumsum(-1).cumsum(-2) + rng.normal(size=shape)
    field -= field.min()
    return low + (high - low) * field / field.max()


@contextmanager
def plain() -> Iterator[None]:
    """Plain rasterio: no sidecars read, none written, no warning of a missing transform."""
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO", "GDAL_TIFF_INTERNAL_MASK": "YES"}
    with rasterio.Env(**options), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@contextmanager
def created(path: Path, shape: tuple[int, ...], dtype: str, **profile: Any) -> Iterator[Any]:
    """A new raster open for writing, in UTM unless told otherwise."""
    count, rows, columns = shape if len(shape) == 3 else (1, *shape)
    options = {"driver": "GTiff", **UTM, "count": count, "height": rows, "width": columns, "dtype": dtype, **profile}
    options = {key: value for key, value in options.items() if value is not None}
    with plain(), rasterio.open(path, "w", **options) as dataset:
        yield dataset


def write(path: Path, array: np.ndarray, **profile: Any) -> Path:
    """A raster of an array ``(y, x)`` or ``(band, y, x)``; returns its path."""
    bands = array if array.ndim == 3 else array[None]
    with created(path, bands.shape, bands.dtype.name, **profile) as dataset:
        dataset.write(bands)
    return path


def read(path: Path, band: int | None = None) -> np.ndarray:
    """Stored values, of one band or of all."""
    with plain(), rasterio.open(path) as dataset:
        return dataset.read(band)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A raster open for reading, without its sidecars."""
    with plain(), rasterio.open(path) as dataset:
        yield dataset


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(path: Path) -> tuple[Any, ...]:
    """What must not change about an input: content, time, inode, and the names beside it."""
    status = path.stat()
    return digest(path), status.st_mtime_ns, status.st_ino, sorted(p.name for p in path.parent.iterdir())


def blocks(values: np.ndarray, factor: int) -> np.ndarray:
    """Cells of each block along the last axis: ``(..., y, x, factor * factor)``."""
    *front, rows, columns = values.shape
    split = values.reshape(*front, rows // factor, factor, columns // factor, factor)
    return np.moveaxis(split, -3, -2).reshape(*front, rows // factor, columns // factor, factor**2)
