"""Guides: read as they are, warped or averaged to the fine grid, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.warp import transform

from geofsrcnn.errors import InputError, RemoteError
from geofsrcnn.formats.guide import GuideRaster, cells_of, find_factor
from geofsrcnn.grids.affine import Grid
from geofsrcnn.grids.windows import Window
from geofsrcnn.values.blocks import block_mean
from tests.support.rasters import NOWHERE, created, plain, write

UTM33 = CRS.from_epsg(32633)
WEST, NORTH = 500_000.0, 5_000_000.0


def grid(shape, cell=10.0, east=0.0, south=0.0, crs=UTM33):
    """A grid whose corner lies so many metres from that of the guides."""
    return Grid(shape, Affine(cell, 0, WEST + east, 0, -cell, NORTH - south), crs)


def guide(path, values, cell=10.0, **profile):
    """A guide at the corner."""
    place = {"crs": UTM33, "transform": Affine(cell, 0, WEST, 0, -cell, NORTH)}
    return write(path, values, **{**place, **profile})


def cells(path, wanted, bands=slice(None), window=None):
    """What a guide gives on a grid."""
    with GuideRaster(path, wanted) as raster:
        return raster.read(window or Window(0, wanted.shape[0], 0, wanted.shape[1]), bands), raster


def ramp(shape=(20, 24)):
    """Two bands that say where they are, of which all interpolation makes the same."""
    y, x = np.indices(shape, dtype="float32")
    return np.stack([100 + y + 3 * x, 50 - 2 * y + x])


def test_a_guide_on_the_fine_grid_is_read_as_it_is(tmp_path):
    """By windows and by bands, whatever it is called."""
    values = ramp()
    found, raster = cells(guide(tmp_path / "g.tif", values), grid((20, 24)), slice(1, 2), Window(3, 9, 2, 24))
    assert (raster.fit.method, raster.fit.scale, raster.shape, raster.shown) == ("as it is", 1.0, (2, 20, 24), "g.tif")
    assert np.array_equal(found.values, values[1:, 3:9, 2:24])
    assert found.valid.all()


def test_grids_that_differ_by_rounding_are_the_same(tmp_path):
    """A thousandth of a cell at most, at each corner."""
    values = ramp()
    path = guide(tmp_path / "g.tif", values, transform=Affine(10 + 1e-4, 0, WEST, 0, -10, NORTH + 1e-3))
    found, raster = cells(path, grid((20, 24)))
    assert raster.fit.method == "as it is"
    assert np.array_equal(found.values, values)
    path = guide(tmp_path / "h.tif", values, transform=Affine(10.01, 0, WEST, 0, -10, NORTH))
    assert cells(path, grid((20, 24)))[1].fit.method == "cubic"


def test_a_guide_without_a_crs_counts_if_its_grid_is_the_fine_one(tmp_path):
    path = guide(tmp_path / "g.tif", ramp(), crs=None)
    assert cells(path, grid((20, 24)))[1].fit.method == "as it is"
    with pytest.raises(InputError, match=r"g.tif cannot be placed: both rasters need a transform and a CRS.*20 x 24"):
        cells(path, grid((22, 24)))


def test_without_any_place_the_shapes_decide(tmp_path):
    path = write(tmp_path / "g.tif", ramp(), **NOWHERE)
    assert cells(path, Grid((20, 24)))[1].fit.method == "as it is"
    with pytest.raises(InputError, match="cannot be placed"):
        cells(path, Grid((20, 26)))
    with pytest.raises(InputError, match="cannot be placed"):
        cells(path, grid((20, 24)))


def test_a_guide_half_a_cell_off_is_interpolated_in_place(tmp_path):
    """A plane is that plane there."""
    found, raster = cells(guide(tmp_path / "g.tif", ramp()), grid((15, 18), east=25, south=15))
    y, x = np.indices((15, 18))
    assert raster.fit.method == "cubic"
    assert np.abs(found.values[0] - (100 + (y + 1.5) + 3 * (x + 2.5))).max() < 2e-3
    assert np.abs(found.values[1] - (50 - 2 * (y + 1.5) + (x + 2.5))).max() < 2e-3


def test_a_finer_guide_is_averaged(tmp_path):
    """Block means, not samples."""
    values = np.random.default_rng(0).normal(size=(2, 24, 24))
    found, raster = cells(guide(tmp_path / "g.tif", values, cell=5.0), grid((8, 8), cell=15.0))
    assert (raster.fit.method, round(raster.fit.scale, 6)) == ("average", 3.0)
    assert np.abs(found.values - block_mean(values, 3)).max() < 1e-9


def test_whole_numbers_are_not_rounded_when_warped(tmp_path):
    """A guide of bytes has fractions between its cells."""
    path = guide(tmp_path / "g.tif", ramp().astype("uint8"))
    found, _ = cells(path, grid((15, 18), east=25, south=15))
    assert abs(found.values[0, 0, 0] - 109.0) < 1e-3
    assert abs(found.values[0, 0, 1] - found.values[0, 0, 0] - 3.0) < 1e-3
    assert abs(found.values[1, 0, 0] - 49.5) < 2e-3


def test_a_guide_of_another_crs_is_put_in_place(tmp_path):
    """A field known in closed form comes out at the fine cells' own places, to a small part of its variation."""
    here = Grid((40, 44), Affine(20, 0, WEST, 0, -20, NORTH), UTM33)
    with plain():
        x, y = WEST + 20 * (np.arange(44) + 0.5), NORTH - 20 * (np.arange(40) + 0.5)
        xs, ys = np.meshgrid(x, y)
        lon, lat = (np.reshape(each, here.shape) for each in transform(UTM33, "EPSG:4326", xs.ravel(), ys.ravel()))

    def field(lon, lat):
        return np.sin((lon - 15) * 2500) + np.cos((lat - 45) * 1700)

    step = 2e-4
    west, north = lon.min() - 0.002, lat.max() + 0.002
    rows, columns = (int((np.ptp(each) + 0.004) / step) for each in (lat, lon))
    gx, gy = west + step * (np.arange(columns) + 0.5), north - step * (np.arange(rows) + 0.5)
    path = write(
        tmp_path / "g.tif",
        field(gx[None, :], gy[:, None]),
        crs="EPSG:4326",
        transform=Affine(step, 0, west, 0, -step, north),
    )
    found, raster = cells(path, here)
    assert raster.fit.method in ("cubic", "average")
    assert found.valid.all()
    assert np.abs(found.values[0] - field(lon, lat)).max() < 0.03


def test_places_are_exact_where_projections_bend(tmp_path):
    """Longitudes and latitudes on a polar grid, to a small part of a cell."""
    polar = CRS.from_epsg(3413)
    here = Grid((64, 64), Affine(20_000, 0, -900_000, 0, -20_000, -900_000), polar)
    xs, ys = np.meshgrid(-900_000 + 20_000 * (np.arange(64) + 0.5), -900_000 - 20_000 * (np.arange(64) + 0.5))
    with plain():
        lon, lat = (np.reshape(each, here.shape) for each in transform(polar, "EPSG:4326", xs.ravel(), ys.ravel()))
    step, west, north = 0.05, -94.0, 83.0
    rows, columns = np.indices((320, 1520)) + 0.5
    values = np.stack([west + step * columns, north - step * rows])
    path = write(tmp_path / "g.tif", values, crs="EPSG:4326", transform=Affine(step, 0, west, 0, -step, north))
    found, _ = cells(path, here)
    assert found.valid.all()
    along = np.abs(np.diff(lon, axis=1)).max(), np.abs(np.diff(lat, axis=0)).max()
    assert np.abs(found.values[0] - lon).max() < 0.1 * along[0]
    assert np.abs(found.values[1] - lat).max() < 0.1 * along[1]


@pytest.mark.parametrize("turn", [30.0, 90.0])
def test_rotated_guides_are_put_in_place(tmp_path, turn):
    """Whatever way their rows run."""
    own = Affine(10, 0, WEST, 0, -10, NORTH) * Affine.rotation(turn, pivot=(30, 30))
    rows, columns = np.indices((60, 60)) + 0.5
    x, y = own.a * columns + own.b * rows + own.c, own.d * columns + own.e * rows + own.f
    path = write(tmp_path / "g.tif", (x - WEST) + 2 * (NORTH - y), crs=UTM33, transform=own)
    wanted = grid((20, 20), east=200, south=200)
    found, _ = cells(path, wanted)
    east, south = 200 + 10 * (np.arange(20) + 0.5), 200 + 10 * (np.arange(20) + 0.5)
    assert found.valid.all()
    assert np.abs(found.values[0] - (east[None, :] + 2 * south[:, None])).max() < 1.0  # of 22 from cell to cell
    assert abs(cells_of(GuideRaster(path, wanted).own, wanted) - 1) < 1e-9


MARKS = ["nodata", "nan", "inf", "huge", "mask", "alpha"]


def with_hole(path, mark, shape=(12, 12)):
    """A guide with a missing cell at (4, 4) of all bands; of the first band alone where that can be said."""
    values = np.tile(np.arange(12.0, dtype="float32"), (2, 12, 1)) + 10
    place = {"crs": UTM33, "transform": Affine(10, 0, WEST, 0, -10, NORTH)}
    known = np.ones(shape, bool)
    known[4, 4] = False
    holes = {"nodata": -9999.0, "nan": np.nan, "inf": np.inf, "huge": -3.4e38}
    if mark in holes:
        values[0, 4, 4] = holes[mark]
        return write(path, values, **place, nodata=-9999.0 if mark == "nodata" else None)
    values[:, 4, 4] = 200
    count = 3 if mark == "alpha" else 2
    with created(path, (count, *shape), "uint8", **place, **({"alpha": "yes"} if mark == "alpha" else {})) as raster:
        raster.write(values.astype("uint8"), [1, 2])
        if mark == "mask":
            raster.write_mask(255 * known.astype("uint8"))
        else:
            raster.colorinterp = [ColorInterp.gray, ColorInterp.undefined, ColorInterp.alpha]
            raster.write(255 * known.astype("uint8"), 3)
    return path


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    ("wanted", "there"),
    [(grid((12, 12)), (4, 4)), (grid((10, 10), east=10, south=10), (3, 3))],
    ids=["same", "offset"],
)
def test_missing_cells_are_missing_on_cells_that_coincide(tmp_path, mark, wanted, there):
    """And no other cell is."""
    found, raster = cells(with_hole(tmp_path / "g.tif", mark), wanted)
    assert raster.fit.method == "as it is"
    assert raster.shape[0] == 2
    valid = np.logical_and.reduce(found.valid)
    assert np.argwhere(~valid).tolist() == [list(there)]


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    "wanted", [grid((10, 10), east=5, south=5), grid((6, 6), cell=20.0)], ids=["interpolated", "averaged"]
)
def test_marks_of_missing_cells_get_into_no_value(tmp_path, mark, wanted):
    """Neither of their own band nor of another."""
    found, raster = cells(with_hole(tmp_path / "g.tif", mark), wanted)
    assert raster.fit.method in ("cubic", "average")
    assert found.valid.mean() > 0.8
    for values, valid in zip(found.values, found.valid, strict=True):
        assert 9 < values[valid].min() <= values[valid].max() < 24


def test_a_guide_that_covers_a_part_is_missing_elsewhere(tmp_path):
    found, raster = cells(guide(tmp_path / "g.tif", ramp((10, 10))), grid((10, 10), east=-40, south=60))
    assert raster.fit.method == "as it is"
    inside = np.zeros((10, 10), bool)
    inside[:4, 4:] = True
    assert np.array_equal(found.valid, np.stack([inside, inside]))


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (grid((10, 10), east=1e5), "the guide g.tif does not cover any of the raster"),
        (grid((10, 10), south=-100), "the guide g.tif does not cover any of the raster"),
        (grid((10, 10), crs=CRS.from_epsg(32634)), "the guide g.tif does not cover any of the raster"),
        (Grid((10, 10), Affine(0.1, 0, 170, 0, -0.1, 10), CRS.from_epsg(4326)), "the guide"),
    ],
)
def test_guides_that_lie_elsewhere_are_refused(tmp_path, wanted, words):
    with pytest.raises(InputError, match=words):
        cells(guide(tmp_path / "g.tif", ramp((10, 10))), wanted)


def palette(path, colours):
    with created(path, (12, 12), "uint8", crs=UTM33, transform=Affine(10, 0, WEST, 0, -10, NORTH)) as raster:
        raster.write(np.full((12, 12), 3, "uint8"), 1)
        raster.write_colormap(1, colours)
    return path


def test_a_palette_is_no_guide_but_a_ramp_of_greys_is(tmp_path):
    path = palette(tmp_path / "classes.tif", {n: (n * 40 % 256, n * 90 % 256, 7, 255) for n in range(256)})
    with pytest.raises(InputError, match=r"the guide classes.tif holds classes or a palette: expand it first"):
        cells(path, grid((12, 12)))
    path = palette(tmp_path / "grey.tif", {n: (n, n, n, 255) for n in range(256)})
    assert cells(path, grid((12, 12)))[0].values.max() == 3


def test_complex_guides_are_refused(tmp_path):
    path = guide(tmp_path / "g.tif", np.ones((4, 4), "complex64"))
    with pytest.raises(InputError, match=r"the guide g.tif has no band of real numbers"):
        cells(path, grid((4, 4)))


def test_files_that_are_no_rasters_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no such file: .*none.tif"):
        GuideRaster(tmp_path / "none.tif", grid((4, 4)))
    for name, start in {"a.nc": b"CDF\x01", "a.zip": b"PK\3\4", "a.vrt": b"<VRTDataset", "a.tif": b""}.items():
        (tmp_path / name).write_bytes(start + bytes(60 if start else 0))
        for read in (GuideRaster, find_factor):
            with pytest.raises(InputError, match=rf"^the guide {name} is no GeoTIFF: convert it first"):
                read(tmp_path / name, grid((4, 4)))
    with pytest.raises(RemoteError, match="remote input is not allowed"):
        GuideRaster("https://example.org/a.tif", grid((4, 4)))


def test_a_damaged_block_is_reported(tmp_path):
    """When it is read, with the guide's name."""
    path = guide(tmp_path / "g.tif", np.random.default_rng(0).normal(size=(64, 64)), compress="deflate")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot read rows 0 to 64, columns 0 to 64 of the guide g.tif"):
        cells(path, grid((64, 64)))


@pytest.mark.parametrize(("cell", "factor"), [(20.0, 2), (30.0, 3), (23.0, 2), (80.0, 8), (41.0, 4)])
def test_the_factor_is_found(tmp_path, cell, factor):
    """To the nearest whole number."""
    path = guide(tmp_path / "g.tif", ramp())
    assert find_factor(path, grid((10, 12), cell=cell)) == factor


def test_the_factor_is_found_across_crs(tmp_path):
    path = guide(tmp_path / "g.tif", ramp())
    degrees = Grid((10, 10), Affine(0.0005, 0, 15.0, 0, -0.00036, 45.15), CRS.from_epsg(4326))
    assert find_factor(path, degrees) == 4


def test_the_factor_is_that_of_shapes_where_nothing_has_a_place(tmp_path):
    path = write(tmp_path / "g.tif", ramp(), **NOWHERE)
    assert find_factor(path, Grid((10, 12))) == 2
    for shape in ((10, 13), (20, 24), (2, 3)):
        with pytest.raises(InputError, match="has no transform: name the factor"):
            find_factor(path, Grid(shape))


@pytest.mark.parametrize("cell", [10.0, 5.0, 100.0])
def test_a_factor_that_cannot_be_is_refused(tmp_path, cell):
    path = guide(tmp_path / "g.tif", ramp())
    with pytest.raises(InputError, match=r"g.tif is [\d.]+ times finer than the raster: a guide is 2 to 8 times"):
        find_factor(path, grid((10, 12), cell=cell))
