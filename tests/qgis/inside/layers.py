"""Layers of each kind, made finer: what comes of them."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsRasterBandStats,
    QgsRasterDataProvider,
    QgsRasterLayer,
    QgsRasterRange,
)
from started import outcome, run

DEM, NETCDF, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])


def opened(source: str, name: str = "läyer / one", provider: str = "gdal") -> QgsRasterLayer:
    """A layer."""
    layer = QgsRasterLayer(source, name, provider)
    assert layer.isValid(), source
    return layer


def with_missing(*ranges: tuple[float, float]) -> QgsRasterLayer:
    """A layer whose user takes some values for missing."""
    layer = opened(DEM)
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(*each) for each in ranges])
    return layer


def virtual() -> QgsRasterLayer:
    """A layer that QGIS computes from another, as its raster calculator makes it."""
    base, part = opened(DEM, "base"), QgsRasterDataProvider.VirtualRasterInputLayers()
    part.name, part.uri, part.provider = "base", base.source(), "gdal"
    words = QgsRasterDataProvider.VirtualRasterParameters()
    words.crs, words.extent, words.width, words.height = base.crs(), base.extent(), base.width(), base.height()
    words.formula, words.rInputLayers = '"base@1" * 2', [part]
    return opened(QgsRasterDataProvider.encodeVirtualRasterProviderUri(words), "virtual", "virtualraster")


def made(suffix: str, form: str) -> str:
    """The DEM in another format."""
    path = str(FOLDER / f"dem.{suffix}")
    assert gdal.Translate(path, DEM, format=form) is not None
    return path


def in_another_crs() -> QgsRasterLayer:
    """A layer that the user has given another CRS."""
    layer = opened(DEM)
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:4267"))
    return layer


def zipped() -> str:
    """The DEM in an archive."""
    with zipfile.ZipFile(FOLDER / "dem.zip", "w") as file:
        file.write(DEM, "inner.tif")
    return f"/vsizip/{FOLDER}/dem.zip/inner.tif"


def facts(name: str, layer: QgsRasterLayer, **more: object) -> dict[str, object]:
    """What a layer becomes."""
    target = FOLDER / f"{name}.tif"
    more = {"FACTOR": 2, "MODEL": "cubic", **more}
    found = outcome("upscale", INPUT=layer, OUTPUT=str(target), **more)
    if "error" in found:
        return found
    fine = opened(str(target))
    provider = fine.dataProvider()
    return {
        "shape": [provider.bandCount(), fine.height(), fine.width()],
        "crs": fine.crs().authid(),
        "missing": provider.sourceNoDataValue(1) if provider.sourceHasNoDataValue(1) else None,
        "west": fine.extent().xMinimum(),
        "mean": provider.bandStatistics(1, QgsRasterBandStats.Mean).mean,
        "warnings": [text.partition(":")[0] for text in found["warnings"]],
    }


def main() -> dict[str, object]:
    """Each kind by its name."""
    gdal.Translate("/vsimem/dem.tif", DEM)
    extent = opened(DEM).extent()
    part = f"{extent.center().x()},{extent.xMaximum()},{extent.yMinimum()},{extent.center().y()} [EPSG:4326]"
    layers = {
        "file": opened(DEM),
        "options": opened(f"{DEM}|option:NUM_THREADS=2"),
        "subdataset": opened(f'NETCDF:"{NETCDF}":tas'),
        "grid": opened(made("asc", "AAIGrid")),
        "vrt": opened(made("vrt", "VRT")),
        "zip": opened(zipped()),
        "memory": opened("/vsimem/dem.tif"),
        "crs": in_another_crs(),
        "missing": with_missing((300, 300)),
        "missing_range": with_missing((300, 301)),
        "missing_values": with_missing((300, 300), (301, 301)),
        "virtual": virtual(),
        "web": opened("type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png&zmax=3&zmin=0", "a map", "wms"),
    }
    found = {name: facts(name, layer) for name, layer in layers.items()}
    found["part"] = facts("part", opened(DEM), EXTENT=part)
    found["error"] = facts("error", opened(DEM), MODEL="default", ERROR=True)
    found["more"] = facts("more", opened(DEM), MINIMUM=0, KIND="never-negative", THREADS=1, OPTIONS="--dtype float64")
    found["wrong_options"] = facts("wrong_options", opened(DEM), OPTIONS='--dtype "float64')
    return found


run(main)
