"""Climate grids as fields to train and score on, beside photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from geofsrcnn.evaluation.rasters import chosen_bands
from protocol.images import Array, Photo
from protocol.patches import WHITE

DOMAINS = ("temperature", "pressure", "wind", "rain", "other", "ocean")
"""Folders of `../shared/data` whose fields are climate grids."""


def read_grids(folder: Path, domains: tuple[str, ...] = DOMAINS) -> list[Photo]:
    """Read the complete fields of a folder's rasters, each from 0 to 255: the first and the middle band of each."""
    paths = sorted(path for domain in domains for path in (folder / domain).glob("*.tif"))
    found = [field for path in paths for field in _read(path)]
    if not found:
        raise SystemExit(f"no complete fields in {folder}")
    return found


def _read(path: Path) -> list[Photo]:
    fields = []
    with rasterio.open(path) as source:
        for band in chosen_bands(path):
            values = source.read(band, masked=True).astype(np.float64)
            if np.ma.is_masked(values) or not np.isfinite(values).all() or np.ptp(values) == 0:
                continue
            fields.append(Photo(f"{path.stem}#{band}", _to_grey(values.filled())))
    return fields


def _to_grey(values: Array) -> Array:
    scaled: Array = (values - values.min()) / np.ptp(values) * WHITE
    return scaled
