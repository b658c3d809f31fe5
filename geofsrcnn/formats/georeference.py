"""Where a raster says its cells lie: transform, CRS, ground control points, RPCs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geofsrcnn.errors import warn
from geofsrcnn.grids.affine import Grid

POLYNOMIALS = ("line_num_coeff", "line_den_coeff", "samp_num_coeff", "samp_den_coeff")
"""Of RPCs; each has 20 coefficients."""


@contextmanager
def quiet() -> Iterator[None]:
    """Without rasterio's warning that a raster has no transform; `check_georeference` says it in our words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def read_grid(dataset: Any, shown: str) -> Grid:
    """The grid of an opened raster, as a GeoTIFF can say it.

    Where both a transform and ground control points are stated, the transform counts, as it does for GDAL.

    Parameters
    ----------
    dataset : DatasetReader
        Of rasterio.
    shown : str
        Its name in messages.
    """
    with quiet():
        affine, crs = dataset.transform, dataset.crs
        points, point_crs = dataset.gcps
    placed = affine != Affine.identity()
    if placed and points:
        words = f"has a transform and {len(points)} ground control points, of which a GeoTIFF holds one"
        warn("W-GCPS", f"{shown} {words}: the transform is kept")
        points = []
    return Grid(
        shape=(dataset.height, dataset.width),
        affine=affine if placed else None,
        crs=crs or None,
        gcps=tuple((p.row, p.col, p.x, p.y, p.z, p.id, p.info) for p in points),
        gcp_crs=point_crs or None if points else None,
        rpcs=_read_rpcs(dataset, shown),
    )


def _read_rpcs(dataset: Any, shown: str) -> Any:
    """Rational polynomial coefficients; none, with a warning, where they are not all there."""
    try:
        rpcs = dataset.rpcs
    except (KeyError, ValueError, IndexError) as error:
        missing = error.args[0] if isinstance(error, KeyError) else "numbers in them"
    else:
        short = [name for name in POLYNOMIALS if rpcs is not None and len(getattr(rpcs, name)) != 20]
        if not short:
            return rpcs
        missing = f"20 coefficients of {short[0].upper()}"
    warn("W-RPC", f"{shown} has incomplete RPCs, without {missing}: the output has none")
    return None
