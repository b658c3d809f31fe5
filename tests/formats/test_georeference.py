"""Where the cells of a raster lie, as files say it in several ways, and how the output says it."""

from __future__ import annotations

import numpy as np
import pytest

from geofsrcnn import upscale_file
from geofsrcnn.errors import GeofsrcnnWarning
from tests.support.rasters import NOWHERE, opened, terrain, write

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
