"""Where the cells of a raster lie, as files say it in several ways, and how the output says it."""

from __future__ import annotations

from xml.sax.saxutils import escape

import numpy as np
import pytest
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS

from geofsrcnn import upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.formats.georeference import as_geotiff_holds
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.formats.tiff import coordinate_epoch
from geofsrcnn.grids.affine import Grid
from geofsrcnn.options import UpscaleOptions
from tests.support.rasters import NOWHERE, opened, plain, terrain, write

POINTS = "".join(
    f'<GCP Id="{i}" Pixel="{x}" Line="{y}" X="{10 + x / 10}" Y="{50 - y / 10}"/>'
    for i, (x, y) in enumerate([(0, 0), (12, 0), (0, 8), (12, 8), (5, 4)])
)
CORNER = "<GeoTransform>500000, 30, 0, 6000000, 0, -30</GeoTransform>"


def vrt(folder, *parts, shape=(8, 12)):
    """A VRT of a small raster, with parts of its XML; the raster lies beside it."""
    rows, columns = shape
    write(folder / "cells.tif", terrain(shape).astype("float32"), **NOWHERE)
    path = folder / "in.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}">{"".join(parts)}'
        '<VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">cells.tif</SourceFilename><SourceBand>1</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    return path


def test_a_transform_counts_where_there_are_points_as_well(tmp_path):
    """Charts and the like have both: transform and CRS are kept, as by gdal_translate, and a warning says so."""
    gcps = f'<GCPList Projection="EPSG:4326">{POINTS}</GCPList>'
    path = vrt(tmp_path, "<SRS>EPSG:32633</SRS>", CORNER, gcps)
    with pytest.warns(GeofsrcnnWarning, match=r"W-GCPS: in.vrt has a transform and 5 ground control points"):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", driver="VRT")
    with opened(tmp_path / "out.tif") as fine:
        assert tuple(fine.transform)[:6] == (10, 0, 500_000, 0, -10, 6_000_000)
        assert fine.crs == "EPSG:32633"
        assert fine.gcps == ([], None)


def test_points_without_a_crs_are_kept(tmp_path):
    """Scanned plans are placed in a local grid: the points come out at three times their row and column."""
    path = vrt(tmp_path, f"<GCPList>{POINTS}</GCPList>")
    with pytest.warns(GeofsrcnnWarning, match="W-NOGEO: in.vrt has no CRS"):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", driver="VRT")
    with opened(tmp_path / "out.tif") as fine:
        points, crs = fine.gcps
        assert crs is None
        assert [(p.row, p.col) for p in points] == [(0, 0), (0, 36), (24, 0), (24, 36), (12, 15)]
        assert [(p.x, p.y) for p in points][-1] == (10.5, 49.6)


COMPLETE = {
    **{f"{name}_{what}": "1.5" for name in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for what in ("OFF", "SCALE")},
    **{f"{axis}_{part}_COEFF": " ".join(["0.5"] * 20) for axis in ("LINE", "SAMP") for part in ("NUM", "DEN")},
}


def test_rpcs_do_not_fit_a_wanted_grid(tmp_path):
    """They count in cells of the raster, and are left out with a warning."""
    domain = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in COMPLETE.items())
    path = vrt(tmp_path, "<SRS>EPSG:32633</SRS>", CORNER, f'<Metadata domain="RPC">{domain}</Metadata>')
    with opened(path) as coarse:
        width = coarse.res[0]
    with pytest.warns(GeofsrcnnWarning, match="W-RPC: in.vrt has RPCs, which count in its own cells"):
        upscale_file(path, tmp_path / "out.tif", None, "bilinear", driver="VRT", resolution=width / 1.5)
    with opened(tmp_path / "out.tif") as fine:
        assert fine.rpcs is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"LAT_OFF": None}, "without LAT_OFF"),
        ({"SAMP_DEN_COEFF": "1 0 0"}, "without 20 coefficients of SAMP_DEN_COEFF"),
        ({"HEIGHT_OFF": "unknown"}, "without numbers in them"),
    ],
)
def test_incomplete_rpcs_are_left_out_with_a_warning(tmp_path, changes, words):
    """RPCs of which some are missing place nothing: the result has none."""
    items = {key: value for key, value in (COMPLETE | changes).items() if value is not None}
    domain = "".join(f'<MDI key="{key}">{value}</MDI>' for key, value in items.items())
    path = vrt(tmp_path, "<SRS>EPSG:32633</SRS>", CORNER, f'<Metadata domain="RPC">{domain}</Metadata>')
    with pytest.warns(GeofsrcnnWarning, match=f"W-RPC: in.vrt has incomplete RPCs, {words}"):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", driver="VRT")
    with opened(tmp_path / "out.tif") as fine:
        assert fine.rpcs is None
        assert np.isfinite(fine.read()).all()


POND = (
    'COMPD_CS["pond",PROJCS["local",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Azimuthal_Equidistant"],'
    'PARAMETER["latitude_of_center",52],PARAMETER["longitude_of_center",10],PARAMETER["false_easting",0],'
    'PARAMETER["false_northing",0],UNIT["metre",1]],VERT_CS["my pond",VERT_DATUM["my pond",2005],'
    'UNIT["fathom",1.8288],AXIS["Depth",DOWN]]]'
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18", "PROJ ob_tran o_proj=longlat"),
        ("+proj=healpix", "PROJ healpix"),
        ("+proj=eqearth", "Equal Earth"),
    ],
)
def test_a_crs_that_no_geotiff_holds_is_named_before_the_work(tmp_path, text, name):
    """Rotated poles and the like have no GeoTIFF keys: refused with the name of the CRS, whatever the model."""
    srs = CRS.from_user_input(text).to_wkt(version="WKT2_2019")
    path = vrt(tmp_path, f"<SRS>{escape(srs)}</SRS>", CORNER)
    with pytest.raises(InputError, match=f"a GeoTIFF cannot hold the CRS {name} of in.vrt: warp it first"):
        upscale_file(path, tmp_path / "out.tif", 3, "bilinear", driver="VRT")
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("text", ["EPSG:7415", "EPSG:4979", "ESRI:102035", "EPSG:3395", "+proj=wintri"])
def test_a_crs_that_a_geotiff_holds_is_kept_without_a_word(text):
    """Compound, three-dimensional, of other bodies and by parameters only: as it was, and no warning."""
    crs = CRS.from_user_input(text)
    grid = Grid((2, 3), Affine(1, 0, 0, 0, -1, 2), crs)
    assert as_geotiff_holds(grid, "it") == grid


@pytest.mark.parametrize(("text", "kept"), [("ESRI:104613", "EUREF"), (POND, "Azimuthal_Equidistant")])
def test_the_horizontal_part_of_a_crs_is_kept_where_that_is_all_there_is_room_for(text, kept):
    """A vertical part that GeoTIFF has no keys for (a third axis of ESRI's, a pond's fathoms) goes, with a warning."""
    crs = CRS.from_user_input(text)
    with pytest.warns(GeofsrcnnWarning, match="W-CRS: a GeoTIFF cannot hold the vertical part of the CRS of it"):
        found = as_geotiff_holds(Grid((2, 3), Affine(1, 0, 20, 0, -1, 62), crs), "it").crs
    assert not found.to_wkt().startswith("COMPD_CS")
    assert kept in found.to_wkt()


def test_coordinate_epoch_is_kept(tmp_path):
    """Of a dynamic CRS; GDAL's own GeoTIFF with an epoch gives one with the same."""
    with plain():
        rasterio.shutil.copy(_dated(tmp_path, "EPSG:9000"), tmp_path / "in.tif", driver="GTiff")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "bilinear")
    assert coordinate_epoch(tmp_path / "out.tif") == coordinate_epoch(tmp_path / "in.tif") == 2021.3
    with opened(tmp_path / "in.tif") as coarse, opened(tmp_path / "out.tif") as fine:
        assert fine.crs == coarse.crs == "EPSG:9000"
        rasterio.shutil.copy(fine, tmp_path / "out.vrt", driver="VRT")
    assert 'coordinateEpoch="2021.3"' in (tmp_path / "out.vrt").read_text()


def _dated(folder, code):
    return vrt(
        folder, f'<SRS coordinateEpoch="2021.3">{code}</SRS>', "<GeoTransform>10, .1, 0, 50, 0, -.1</GeoTransform>"
    )


def test_an_epoch_that_cannot_be_written_is_said():
    """A static CRS has none."""
    grid = Grid((2, 3), Affine(1, 0, 0, 0, -1, 2), CRS.from_epsg(27700), epoch=2021.3)
    with pytest.warns(GeofsrcnnWarning, match="W-EPOCH: the coordinate epoch 2021.3 of it cannot be written"):
        assert as_geotiff_holds(grid, "it").epoch is None


def test_a_mosaic_of_any_size_is_read(tmp_path):
    """A VRT of some hundred bytes may stand for gigabytes, which lie in other files."""
    path = vrt(tmp_path, "<SRS>EPSG:32633</SRS>", CORNER)
    path.write_text(
        path.read_text().replace('rasterXSize="12" rasterYSize="8"', 'rasterXSize="20000" rasterYSize="20000"')
    )
    bounds = (500_000, 6_000_000 - 30 * 8, 500_000 + 30 * 12, 6_000_000)
    upscale_file(path, tmp_path / "out.tif", 2, "nearest", driver="VRT", bounds=bounds)
    with opened(tmp_path / "out.tif") as fine:
        assert fine.bounds == bounds
    with RasterSource(path, UpscaleOptions(driver="VRT")) as source:  # without bounds, its size is no reason either
        assert source.shape == (1, 20000, 20000)
