"""Expected errors in a GeoTIFF: bands behind those of the values, or a file of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from rasterio.enums import ColorInterp

from geofsrcnn._types import Array, Write
from geofsrcnn.formats.geotiff import GeoTiffSink
from geofsrcnn.formats.raster import Band, RasterMetadata
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.expected_errors import error_name, error_title
from geofsrcnn.values.rounding import round_mantissa


def with_error_bands(metadata: RasterMetadata, numbers: Sequence[int]) -> RasterMetadata:
    """Describe a raster with errors behind all bands; they are packed as the values are, but for the offset.

    So they compare with the values whether a reader unpacks them or not.

    Parameters
    ----------
    metadata : RasterMetadata
        The values' description.
    numbers : sequence of int
        Positions among the bands with values of those that have errors.
    """
    first = max(metadata.order) + 1
    errors = [_error_band(metadata.bands[number], first + k) for k, number in enumerate(numbers)]
    order = [*metadata.order, *(band.index for band in errors)]
    return replace(metadata, bands=[*metadata.bands, *errors], order=order, interleave="band")


def only_errors(metadata: RasterMetadata, numbers: Sequence[int]) -> RasterMetadata:
    """Describe a raster of errors alone, in physical units, missing where NaN; arguments as for `with_error_bands`."""
    plain = {"dtype": np.dtype(np.float32), "nodata": float("nan"), "scale": 1.0}
    errors = [
        replace(_error_band(metadata.bands[number], k), **plain)  # type: ignore[arg-type]
        for k, number in enumerate(numbers, 1)
    ]
    errors[0] = replace(errors[0], colour=ColorInterp.gray)
    order = [band.index for band in errors]
    return replace(metadata, bands=errors, alpha=(), order=order, interleave="band", colourmap=None, creation={})


def _error_band(band: Band, index: int) -> Band:
    name = band.description or f"band_{band.index}"
    title = band.tags.get("long_name") or band.description or f"band {band.index}"
    return replace(
        band,
        index=index,
        scale=abs(band.scale),
        offset=0.0,
        description=error_name(name),
        colour=ColorInterp.undefined,
        bits=None,
        tags={"long_name": error_title(title)},
        domains={},
    )


class ErrorSink:
    """A sink for the expected errors of cells.

    Parameters
    ----------
    tiff : GeoTiffSink
        Where they go.
    metadata : RasterMetadata
        Its description, whose last bands are those of errors.
    numbers : sequence of int
        Positions, among the bands that come, of those that have errors.
    """

    def __init__(self, tiff: GeoTiffSink, metadata: RasterMetadata, numbers: Sequence[int]) -> None:
        first = len(metadata.bands) - len(numbers)
        self._tiff, self._position = tiff, {number: first + k for k, number in enumerate(numbers)}
        self._scales = {number: metadata.bands[place].scale for number, place in self._position.items()}

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Encode the errors of a window of some of the bands."""
        assert cells.errors is not None
        own = [number for number in range(bands.start, bands.stop) if number in self._position]
        if not own:
            return lambda: None
        errors = np.stack([_rounded(cells.errors[number - bands.start], self._scales[number]) for number in own])
        first = self._position[own[0]]
        return self._tiff.prepare(window, Cells(errors, ~np.isnan(errors)), slice(first, first + len(own)))


def _rounded(errors: Array, scale: float) -> Array:
    """Errors of which what is stored, errors divided by the scale, has few digits."""
    return round_mantissa(errors) if scale == 1 else round_mantissa(errors.astype(np.float64) / scale) * scale
