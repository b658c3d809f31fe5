"""What the bands of a raster are."""

from __future__ import annotations

from collections.abc import Mapping

from geofsrcnn.errors import UsageError, printable
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.values.quantity import Quantity, header_of_band, quantity_as, quantity_of


def quantities_of(source: RasterSource, kinds: Mapping[str, str]) -> list[Quantity]:
    """What each band is, by its description, unit and tags, or by the user's word, for its number or description.

    Raises
    ------
    UsageError
        If a band is named that is not there.
    """
    headers = [
        header_of_band(band.description, band.unit, band.dtype, name=source.path.stem, tags=band.tags)
        for band in source.bands
    ]
    names = [{str(band.index), band.description or ""} for band in source.bands]
    if unknown := [name for name in kinds if not any(name in own for own in names)]:
        there = ", ".join(str(band.index) for band in source.bands)
        raise UsageError(f"--as: no band {printable(', '.join(unknown))}: there are {there}")
    found = []
    for own, header in zip(names, headers, strict=True):
        said = [kind for name, kind in kinds.items() if name in own]
        found.append(quantity_as(said[0], header) if said else quantity_of(header))
    return found
