# SPDX-License-Identifier: GPL-2.0-or-later
"""What a raster layer is, as a file that the program reads: the file itself, a small VRT, or a copy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsProviderRegistry,
    QgsRasterFileWriter,
    QgsRasterPipe,
)

from .process import Listener, ToolError

PICTURES = {"wms"}
"""Providers of maps from servers, WMS and XYZ tiles: pictures of data, not data."""

WRITTEN = {"virtualraster", "wcs", "postgresraster"}
"""Providers whose cells are known to QGIS alone: they are written out first."""

EVERYWHERE = {
    *("GTiff", "COG", "VRT", "AAIGrid", "HFA", "PNG", "JPEG", "JP2OpenJPEG", "GPKG", "netCDF", "HDF5", "HDF5Image"),
    *("ENVI", "EHdr", "SRTMHGT", "SAGA", "GSBG", "GS7BG", "PCIDSK", "BMP", "GIF", "WEBP", "USGSDEM", "DTED", "NITF"),
}
"""Drivers that the program's GDAL has as well; files of others are copied by QGIS's."""

LOWEST = -3.4028234663852886e38
"""The smallest float32, which stands for missing cells in QGIS's calculations."""

REMOTE = re.compile(r"/vsi(mem|curl|s3|gs|az|adls|oss|swift|webhdfs|hdfs)")
"""Files that the program does not open: on servers, which it is not to reach, or in QGIS's memory."""


@dataclass(frozen=True)
class Missing:
    """Missing values of a band: whether the file's own counts or is ignored, and the ranges that the user has set."""

    kept: bool
    ignored: bool
    ranges: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LayerFacts:
    """A raster layer as it stands in the project, for use in another thread.

    Parameters
    ----------
    name, provider, source : str
        As QGIS calls them.
    crs : str
        WKT, where the user has set another CRS than the file's; else empty.
    nodata : tuple of Missing
        For each band.
    clone : object
        A provider of its own, of layers that are written out.
    shape : tuple of int
        Rows and columns.
    extent : object
        As QGIS gives it.
    """

    name: str
    provider: str
    source: str
    crs: str
    nodata: tuple[Missing, ...]
    clone: Any
    shape: tuple[int, int]
    extent: Any


def facts_of(layer: Any) -> LayerFacts:
    """Read what there is to know of a layer; in QGIS's main thread.

    Raises
    ------
    ToolError
        If it holds no cells that could be made finer.
    """
    provider = layer.dataProvider()
    name = layer.providerType()
    if name in PICTURES:
        raise ToolError(
            f"{layer.name()} is a web map (WMS or XYZ): pictures of data, not data: choose a layer with values of its own"
        )
    if name != "gdal" and name not in WRITTEN:
        raise ToolError(f"{layer.name()} comes from {name}, which cannot be read here: save it as a GeoTIFF first")
    own = layer.crs() != provider.crs() and layer.crs().isValid()
    nodata = []
    for band in range(1, provider.bandCount() + 1):
        has, uses = provider.sourceHasNoDataValue(band), provider.useSourceNoDataValue(band)
        ranges = tuple((each.min(), each.max()) for each in provider.userNoDataValues(band))
        nodata.append(Missing(has and uses, has and not uses, ranges))
    clone = provider.clone() if name in WRITTEN else None
    wkt = layer.crs().toWkt() if own or clone is not None else ""
    shape = provider.ySize(), provider.xSize()
    return LayerFacts(layer.name(), name, layer.source(), wkt, tuple(nodata), clone, shape, provider.extent())


def as_file(facts: LayerFacts, bands: Sequence[int], folder: Path, listener: Listener) -> tuple[str, list[str]]:
    """Return a path that the program reads a layer from, and the options that it needs for it.

    Parameters
    ----------
    facts : LayerFacts
        Of the layer.
    bands : sequence of int
        Bands that are wanted, from 1; all if there are none.
    folder : Path
        Where a small file may be written, or a copy.
    listener : Listener
        Is told of copies, and may end them.
    """
    # QGIS writes statistics beside every raster that it loads; what else lies there counts for what it shows
    chosen = ["--sidecars", *(["--bidx", ",".join(map(str, bands))] if bands else [])]
    if facts.clone is not None:
        return _write_out(facts, folder, listener), chosen
    path, options = _opened_as(facts.source)
    dataset = gdal.OpenEx(path, gdal.OF_RASTER, open_options=options)
    if dataset is None:
        raise ToolError(f"{facts.name} cannot be opened ({gdal.GetLastErrorMsg() or 'is it still there?'})")
    nodata = _nodata(facts, bands)
    driver = dataset.GetDriver().ShortName
    if driver == "GTiff" and not (options or facts.crs or nodata) and Path(path).is_file():
        return str(Path(path).absolute()), chosen
    copied = driver not in EVERYWHERE or REMOTE.match(path) is not None
    target = folder / f"{_file_name(facts.name)}.{'tif' if copied else 'vrt'}"
    if copied:
        listener.say(f"{facts.name} is copied to a temporary file first")
    if not copied and Path(path).is_file():
        path = str(Path(path).absolute())
        dataset = gdal.OpenEx(path, gdal.OF_RASTER, open_options=options)
    made = gdal.Translate(
        str(target),
        dataset,
        format="GTiff" if copied else "VRT",
        bandList=list(bands),
        outputSRS=facts.crs or None,
        noData=nodata or None,
        creationOptions=["BIGTIFF=IF_SAFER"] if copied else None,
        callback=lambda share, _, __: 0 if listener.cancelled() else 1,
    )
    if made is None:
        raise ToolError(f"{facts.name} cannot be made ready ({gdal.GetLastErrorMsg()})")
    made = None  # written when it is closed
    return str(target), ["--sidecars"] if copied else ["--sidecars", "--driver", "VRT"]


def _opened_as(source: str) -> tuple[str, list[str]]:
    """Split a source of QGIS's into what GDAL opens, and its options."""
    parts = QgsProviderRegistry.instance().decodeUri("gdal", source)
    return source.split("|option:", maxsplit=1)[0], list(parts.get("openOptions") or [])


def _nodata(facts: LayerFacts, bands: Sequence[int]) -> str:
    """Return the missing value that the user has set on a layer: a number, ``none``, or empty for the file's own."""
    found = {facts.nodata[band - 1] for band in (bands or range(1, len(facts.nodata) + 1))}
    if not any(each.ignored or each.ranges for each in found):
        return ""
    if len(found) > 1:
        raise ToolError(f"{facts.name}: its bands have missing values of their own in QGIS: choose one band")
    missing = found.pop()
    if not missing.ranges:
        return "none"
    low, high = missing.ranges[0]
    if missing.kept or len(missing.ranges) > 1 or low != high:
        raise ToolError(
            f"{facts.name}: several missing values, or a range of them, are set in its properties, and a file holds "
            "one: write it out with the raster calculator first"
        )
    return repr(low)


def _write_out(facts: LayerFacts, folder: Path, listener: Listener) -> str:
    """Write a layer whose cells only QGIS knows to a GeoTIFF."""
    listener.say(f"{facts.name} is written to a temporary file first")
    target = folder / f"{_file_name(facts.name)}.tif"
    pipe = QgsRasterPipe()
    if not pipe.set(facts.clone):
        raise ToolError(f"{facts.name} cannot be read by QGIS")
    rows, columns = facts.shape
    writer = QgsRasterFileWriter(str(target))
    writer.setOutputFormat("GTiff")
    crs, context = QgsCoordinateReferenceSystem.fromWkt(facts.crs), QgsCoordinateTransformContext()
    failed = writer.writeRaster(pipe, columns, rows, facts.extent, crs, context)
    if failed or not target.is_file():
        raise ToolError(f"{facts.name} cannot be written to a temporary file: is there space?")
    _declare_missing(target)
    return str(target)


def _declare_missing(path: Path) -> None:
    """Declare the value that QGIS writes where a calculated layer has none, and says nothing of."""
    dataset = gdal.Open(str(path), gdal.GA_Update)
    for number in range(1, dataset.RasterCount + 1):
        band = dataset.GetRasterBand(number)
        if band.GetNoDataValue() is None:
            band.SetNoDataValue(LOWEST)


def _file_name(name: str) -> str:
    """Return a layer's name as that of a file, as it is what reports call it."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._")[:80] or "layer"
