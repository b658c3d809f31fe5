"""A rough field as a source and as a file, and a sink that drops everything: what benchmarks share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio

from geofsrcnn.engine.base import Write
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells


class Noise:
    """A rough field as a source: random walks, so that no arithmetic is spared."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        rows, columns = (rng.normal(size=size).cumsum() for _ in range(2))
        self.values = (rows[:, None] + columns[None, :] + rng.normal(size=(size, size))).astype(np.float32)[None]
        self.shape = self.values.shape

    def read(self, window: Window, bands: slice) -> Cells:
        """A window's cells."""
        values = self.values[(bands, *window.slices())]
        return Cells(values, np.ones(values.shape, bool))


class Nothing:
    """A sink that drops everything."""

    def prepare(self, *_: object) -> Write:
        """Encode nothing; nothing is stored."""
        return lambda: None


def write_input(path: Path, values: np.ndarray) -> None:
    """An uncompressed tiled GeoTIFF."""
    rows, columns = values.shape[1:]
    shape = {"height": rows, "width": columns, "count": 1}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    transform = rasterio.transform.from_origin(500000, 5000000, 30, 30)
    with rasterio.open(path, "w", driver="GTiff", dtype="float32", crs="EPSG:32632", transform=transform,
                       **shape, **tiling) as d:  # fmt: skip
        d.write(values)
