"""Rasters onto a grid that is wanted: its cells exactly, means and totals kept, in one piece, or a clear refusal."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.warp import Resampling, reproject, transform

from geofsrcnn import upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.upscale.file import estimate_file
from tests.support.rasters import created, digest, opened, plain, read, terrain, write

CLASSICAL = "lanczos-bp"
X, Y = 500_000.0, 6_000_000.0


def like(path, width, height, shape, at=(0.0, 0.0), **profile):
    """A raster of so wide and high cells, its corner so far right of and below that of the rasters here."""
    transform = Affine(width, 0.0, X + at[0], 0.0, -height, Y - at[1])
    with created(path, (2, *shape), "uint8", **{"transform": transform, **profile}):
        pass
    return path


def onto(tmp_path, values, grid=None, *, model=CLASSICAL, name="out.tif", source=None, **options):
    """What a raster of these values becomes on the grid of another, and the summary."""
    source = write(tmp_path / "in.tif", values) if source is None else source
    summary = upscale_file(source, tmp_path / name, None, model, like=grid, overwrite=True, **options)
    return read(tmp_path / name), summary


def test_cells_are_those_of_the_other_raster(tmp_path):
    """Size, transform and CRS to the last bit, whatever its bands hold; the input keeps its own names and tags."""
    source = tmp_path / "in.tif"
    with created(source, (2, 20, 24), "int16", nodata=-1) as dataset:
        dataset.write(terrain((2, 20, 24), high=3000).astype("int16"))
        dataset.descriptions, dataset.units = ("red", "near infrared"), ("m", "m")
        dataset.scales, dataset.offsets = (0.1, 0.1), (5.0, 5.0)
        dataset.update_tags(SENSOR="MSI")
    before = digest(source)
    grid = like(tmp_path / "like.tif", 13.7, 11.1, (31, 29), at=(101.3, 99.9))
    _, summary = onto(tmp_path, None, grid, source=source)
    assert digest(source) == before
    with opened(tmp_path / "out.tif") as found, opened(grid) as wanted:
        assert (found.transform, found.shape, found.crs) == (wanted.transform, wanted.shape, wanted.crs)
        assert found.dtypes == ("int16", "int16")
        assert found.descriptions == ("red", "near infrared")
        assert (found.units, found.scales, found.offsets) == (("m", "m"), (0.1, 0.1), (5.0, 5.0))
        assert found.nodata == -1
        assert found.tags()["SENSOR"] == "MSI"
        assert found.tags()["GEOFSRCNN_GRID"] == summary.grid == "averaged by area onto the cells of like.tif"
    assert (summary.factor, summary.coarse, summary.fine) == (3, (20, 24), (31, 29))


def test_the_fine_grid_itself_gives_the_fine_map(tmp_path):
    """Where the wanted cells are the parts of coarse ones, every bit is that of upscaling by the factor."""
    values = terrain((2, 30, 40), low=300, high=2000).astype("float32")
    grid = like(tmp_path / "like.tif", 10, 10, (90, 120))
    found, summary = onto(tmp_path, values, grid, model="default")
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 3, "default")
    assert np.array_equal(found, read(tmp_path / "fine.tif"))
    assert summary.factor == 3


@pytest.mark.parametrize("resolution", [20, (15, 10), (20, 22.5), 25, (40, 12)])
def test_means_are_kept_where_edges_meet(tmp_path, resolution):
    """The mean over the smallest area of whole cells of both grids is that of the coarse cells in it."""
    values = terrain((30, 60), low=300, high=2000)
    found, _ = onto(tmp_path, values, model="small", resolution=resolution)
    width, height = (resolution, resolution) if np.ndim(resolution) == 0 else resolution
    rows, columns = (int(np.lcm(300, round(10 * side))) // 10 for side in (height, width))

    def means(field, height, width):
        y, x = round(rows / height), round(columns / width)
        return field.reshape(field.shape[0] // y, y, field.shape[1] // x, x).mean((1, 3))

    off = np.abs(means(found[0], height, width) - means(values, 30, 30))
    assert off.max() < 1e-6 * 1700  # the rounding of the network


@settings(max_examples=10)
@given(st.floats(10.5, 29.5), st.floats(10.5, 29.5), st.tuples(st.floats(-40, 60), st.floats(-40, 60)), st.booleans())
def test_planes_stay_where_they_are(tmp_path_factory, width, height, at, south_up):
    """No shift at any width and place of cells: a plane has its own value in the middle of each, to rounding."""
    tmp_path = tmp_path_factory.mktemp("plane")
    y, x = np.mgrid[:40, :44] * 30 + 15.0
    source = write(tmp_path / "in.tif", 1e5 + 3 * x - 2 * y)
    shape = int(600 / height), int(600 / width)
    transform = Affine(width, 0, X + 360 + at[0], 0, -height, Y - 300 - at[1])
    if south_up:
        transform = Affine(width, 0, X + 360 + at[0], 0, height, Y - 300 - at[1] - height * shape[0])
    grid = like(tmp_path / "like.tif", 1, 1, shape, transform=transform)
    found, _ = onto(tmp_path, None, grid, model="default", source=source)
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    across = transform.c + transform.a * columns - X
    down = Y - (transform.f + transform.e * rows)
    assert np.abs(found[0] - (1e5 + 3 * across - 2 * down)).max() < 2e-3  # float32 of the network, 150 m a cell


@pytest.mark.parametrize("tile_size", [16, 23, 64])
@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_are_the_whole(tmp_path, tile_size, threads):
    """Where tiles end does not matter, nor who computes them; missing cells and a wanted grid beyond the raster too."""
    values = terrain((90, 100), low=200, high=900)
    values[20:30, 40:55] = np.nan
    grid = like(tmp_path / "like.tif", 17.3, 21.1, (150, 190), at=(-70, -30))
    whole, _ = onto(tmp_path, values, grid, model="default", tile_size=1000)
    found, _ = onto(tmp_path, values, grid, model="default", tile_size=tile_size, threads=threads)
    assert np.array_equal(np.isnan(found), np.isnan(whole))
    assert np.nanmax(np.abs(found - whole)) <= 1e-5 * 700


def test_a_fine_map_averaged_by_gdal_is_near(tmp_path):
    """Their mean is that of gdalwarp -r average; cells differ by what slopes within fine cells make."""
    values = terrain((60, 80), low=200, high=900)
    values[20:27, 30:36] = np.nan
    grid = like(tmp_path / "like.tif", 20, 20, (90, 120))
    found = onto(tmp_path, values, grid)[0][0]
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 2, CLASSICAL)
    expected = np.full(found.shape, np.nan)
    with opened(tmp_path / "fine.tif") as fine, opened(grid) as wanted:
        places = {"src_transform": fine.transform, "dst_transform": wanted.transform}
        crs = {"src_crs": fine.crs, "dst_crs": fine.crs}
        missing = {"src_nodata": np.nan, "dst_nodata": np.nan}
        reproject(fine.read(1), expected, **places, **crs, **missing, resampling=Resampling.average)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    steps = max(np.nanmax(np.abs(np.diff(expected, axis=axis))) for axis in (0, 1))
    assert np.nanmax(np.abs(found - expected)) < steps / 4
    assert abs(np.nanmean(found - expected)) < 1e-3 * np.nanstd(expected)


def test_it_is_nearer_to_the_truth_than_flat_cells(tmp_path):
    """A smooth field of 20 m from cells of 30 m: the average of flat fine cells is at least a third worse."""
    y, x = (np.mgrid[:360, :360] + 0.5) / 60
    truth = np.sin(3 * x + y) + np.cos(2 * y - x)
    coarse, wanted = (truth.reshape(360 // n, n, 360 // n, n).mean((1, 3)) for n in (6, 4))
    found = onto(tmp_path, coarse, resolution=20)[0][0]
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 2, CLASSICAL)
    flat = read(tmp_path / "fine.tif", 1).repeat(3, 0).repeat(3, 1).reshape(90, 4, 90, 4).mean((1, 3))
    inside = slice(8, -8), slice(8, -8)
    errors = [np.sqrt(np.mean((each - wanted)[inside] ** 2)) for each in (found, flat)]
    assert errors[0] < errors[1] / 1.33


def test_totals_are_kept(tmp_path):
    """What lies in a cell is shared by area: nothing is lost and nothing added, beside missing cells too."""
    values = terrain((30, 40), low=0, high=50)
    values[5:9, 7:12] = np.nan
    grid = like(tmp_path / "like.tif", 17.3, 21.1, (60, 90), at=(-70, -30))
    found, _ = onto(tmp_path, values, grid, kinds={"1": "total"}, model="small")
    assert np.nansum(found) == pytest.approx(np.nansum(values), rel=1e-7)
    assert np.nanmin(found) >= 0


def test_directions_meet_at_north(tmp_path):
    """The mean of 350 and 10 degrees is north; what is no direction stays where it is."""
    values = np.tile([350.0, 10.0], (12, 6)).astype("float32")
    values[:4] = 999.0
    with pytest.warns(GeofsrcnnWarning, match="W-RANGE"):
        found, _ = onto(tmp_path, values, resolution=20, kinds={"1": "direction"}, model="default")
    assert (found[0, :4] == 999).all()
    off = np.minimum(found[0, 8:] % 360, 360 - found[0, 8:] % 360)
    assert off.max() < 40


def test_classes_go_to_the_larger_part(tmp_path):
    """By category and by nearest: only classes that are there, and colours and nodata are kept."""
    rng = np.random.default_rng(0)
    classes = rng.choice(np.array([3, 7, 9, 0], np.uint8), (20, 20))
    source = tmp_path / "in.tif"
    with created(source, (1, 20, 20), "uint8", nodata=0) as dataset:
        dataset.write(classes[None])
        dataset.write_colormap(1, {3: (1, 2, 3, 255), 7: (4, 5, 6, 255), 9: (7, 8, 9, 255)})
    found, _ = onto(tmp_path, None, source=source, model="nearest", resolution=20)
    assert set(np.unique(found)) <= {0, 3, 7, 9}
    assert np.array_equal(found[0, ::3, ::3], classes[::2, ::2])  # whose first cell lies in one coarse cell
    with opened(tmp_path / "out.tif") as dataset:
        assert dataset.colormap(1)[7] == (4, 5, 6, 255)
    plain = write(tmp_path / "plain.tif", classes, nodata=0)
    again, _ = onto(tmp_path, None, source=plain, resolution=20, kinds={"1": "category"})
    assert np.array_equal(again, found)


def test_errors_are_averaged_as_they_are(tmp_path):
    """The mean of the expected errors of the fine cells: what it is at most, as those of neighbours may cancel."""
    values = terrain((30, 40), low=200, high=900).astype("float32")
    grid = like(tmp_path / "like.tif", 10, 10, (90, 120))
    found, summary = onto(tmp_path, values, grid, model="default", error=True)
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 3, "default", error=True)
    assert np.array_equal(found, read(tmp_path / "fine.tif"))
    assert summary.error_bands == 1
    apart, _ = onto(tmp_path, values, resolution=20, model="default", error_file=tmp_path / "error.tif")
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 2, "default", error=True, overwrite=True)
    errors = read(tmp_path / "error.tif", 1)
    fine = read(tmp_path / "fine.tif", 2).repeat(3, 0).repeat(3, 1).reshape(45, 4, 60, 4).mean((1, 3))
    assert errors.shape == apart.shape[1:]
    assert np.allclose(errors, fine, rtol=5e-3)


def test_masks_and_alpha_follow(tmp_path):
    """A mask is open where a part of a cell is; alpha is averaged, and none lies beyond the raster."""
    colours = terrain((3, 20, 20), low=20, high=200).astype("uint8")
    mask = np.full((20, 20), 255, np.uint8)
    mask[:, :7] = 0
    source = tmp_path / "masked.tif"
    with created(source, colours.shape, "uint8") as dataset:
        dataset.write(colours)
        dataset.write_mask(mask)
    grid = like(tmp_path / "like.tif", 20, 20, (32, 32), at=(-10, -10))
    onto(tmp_path, None, grid, source=source)
    with opened(tmp_path / "out.tif") as dataset:
        found = dataset.dataset_mask()
    places = np.arange(32) * 20 - 10
    across = (places + 20 > 210) & (places < 600)
    assert np.array_equal(found > 0, (places + 20 > 0)[:, None] & (places < 600)[:, None] & across)
    rgba = np.concatenate([colours, mask[None]])
    options = {"photometric": "RGB", "alpha": "NON-PREMULTIPLIED"}
    clear = write(tmp_path / "rgba.tif", rgba, **options)
    seen, _ = onto(tmp_path, None, grid, source=clear)
    assert (seen[3, 1:-1, 0] == 0).all()
    assert (seen[3, 1:-2, 12:-2] == 255).all()
    assert (seen[3, 1:-2, 11] > 0).all()


def test_missing_cells_beyond_the_raster_need_a_value(tmp_path):
    """Floats get NaN, and say so; whole numbers without a nodata value are refused before anything is written."""
    values = terrain((20, 20), high=200)
    grid = like(tmp_path / "like.tif", 20, 20, (40, 40), at=(-10, -10))
    found, _ = onto(tmp_path, values.astype("float32"), grid)
    with opened(tmp_path / "out.tif") as dataset:
        assert np.isnan(dataset.nodata)
    assert np.isnan(found[0, -1, -1])
    assert np.isfinite(found[0, :31, :31]).all()
    (tmp_path / "out.tif").unlink()
    with pytest.raises(InputError, match=r"does not cover all of the wanted grid.*nodata="):
        onto(tmp_path, values.astype("uint8"), grid)
    assert not (tmp_path / "out.tif").exists()
    marked, _ = onto(tmp_path, values.astype("uint8"), grid, nodata=255)
    assert (marked[0, -1] == 255).all()


@pytest.mark.parametrize(
    ("resolution", "shape"), [(20, (15, 18)), (16, (19, 23)), ((17.5, 13), (24, 21)), (30, (10, 12))]
)
def test_a_resolution_covers_the_raster_from_its_corner(tmp_path, resolution, shape):
    """Last rows and columns may reach beyond it, and hold what lies within."""
    values = terrain((10, 12), low=5, high=9)
    found, summary = onto(tmp_path, values, resolution=resolution)
    assert found.shape[1:] == shape
    assert np.isfinite(found).all()
    width, height = (resolution, resolution) if np.ndim(resolution) == 0 else resolution
    with opened(tmp_path / "out.tif") as dataset:
        assert dataset.transform == Affine(width, 0, X, 0, -height, Y)
    assert f"onto cells of {width:g} x {height:g}" in summary.grid


def test_a_part_of_a_raster_at_a_resolution(tmp_path):
    """The grid begins with the first coarse cell of the bounds, and values are those of the whole raster."""
    values = terrain((40, 40), low=5, high=9)
    whole, _ = onto(tmp_path, values, resolution=20)
    onto(tmp_path, values, resolution=20, bounds=(X + 310, Y - 900, X + 600, Y - 290))
    with opened(tmp_path / "out.tif") as dataset:
        assert dataset.transform == Affine(20, 0, X + 300, 0, -20, Y - 270)
    aligned, _ = onto(tmp_path, values, resolution=20, bounds=(X + 300, Y - 900, X + 600, Y - 300))
    assert np.abs(aligned - whole[:, 15:45, 15:30]).max() < 1e-12


def test_longitudes_may_count_from_another_meridian(tmp_path):
    """From 0 to 360 onto -180 to 180: no seam and nothing missing."""
    values = np.cos(np.radians(np.arange(0, 360, 5) + 2.5)) + np.zeros((24, 72))
    source = write(tmp_path / "in.tif", values, crs="EPSG:4326", transform=Affine(5, 0, 0, 0, -5, 60))
    transform = Affine(2, 0, -180, 0, -2, 58)
    grid = like(tmp_path / "like.tif", 1, 1, (50, 180), transform=transform, crs="EPSG:4326")
    found, _ = onto(tmp_path, None, grid, source=source)
    middle = np.radians(-180 + 2 * np.arange(180) + 1.0)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - np.cos(middle)).max() < 2e-3


def test_a_disk_of_cells_is_never_held(tmp_path):
    """A wanted grid a thousand times as wide as what is there takes memory for a tile, not for its cells."""
    source = write(tmp_path / "in.tif", terrain((60, 60)).astype("float32"))
    grid = like(tmp_path / "like.tif", 10, 10, (30_000, 30_000), at=(-1000, -1000), SPARSE_OK="TRUE")
    estimate = estimate_file(source, tmp_path / "out.tif", model=CLASSICAL, like=grid)
    assert estimate.fine == (30_000, 30_000)
    assert estimate.memory < 2 * 2**30


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"resolution": 45}, UsageError, "coarser than those of in.tif, 1.5 times"),
        ({"resolution": 3}, UsageError, "10 times finer than those of in.tif: ask for cells at most 8 times"),
        ({"resolution": 5, "model": "small"}, ModelError, "small makes cells at most . times finer.*need 6"),
        ({"resolution": 0}, UsageError, "resolution= must be above 0"),
        ({"resolution": (10, 10, 10)}, UsageError, "resolution= must be the width"),
        ({"resolution": "20"}, UsageError, "resolution= must be the width of a cell"),
        ({"resolution": True}, UsageError, "resolution= must be the width of a cell"),
        ({"resolution": 1e-320}, UsageError, "inf times finer than those of in.tif"),
        ({"like": "a\0b"}, InputError, "not a file name"),
        ({"resolution": float("nan")}, UsageError, "resolution= must be above 0"),
        ({"resolution": 10, "like": "like.tif"}, UsageError, "leave out resolution="),
        ({"like": "like.tif", "bounds": (0, 0, 1, 1)}, UsageError, "leave out resolution= and bounds="),
        ({"like": "like.tif", "factor": 3}, UsageError, "exclude each other"),
        ({"like": "missing.tif"}, InputError, "no such file"),
        ({"like": "away.tif"}, InputError, "covers nothing of in.tif"),
        ({"like": "nowhere.tif"}, InputError, "nowhere.tif, the raster of like=, has no transform"),
        ({"like": "bare.tif"}, InputError, "bare.tif, the raster of like=, has no CRS"),
        ({"like": "text.txt"}, InputError, "text.txt, the raster of like=, is no GeoTIFF"),
        ({"like": "coarse.tif"}, UsageError, "coarser"),
    ],
)
def test_wrong_requests_are_refused_in_a_line(tmp_path, monkeypatch, options, error, words):
    """Before anything is written, and nothing is left."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.tif", terrain((20, 20)))
    like(tmp_path / "like.tif", 10, 10, (60, 60))
    like(tmp_path / "away.tif", 10, 10, (60, 60), at=(1e5, 0))
    like(tmp_path / "nowhere.tif", 1, 1, (60, 60), transform=None, crs=None)
    like(tmp_path / "bare.tif", 10, 10, (60, 60), crs=None)
    like(tmp_path / "coarse.tif", 100, 60, (10, 10))
    (tmp_path / "text.txt").write_text("none")
    with pytest.raises(error, match=words) as caught:
        upscale_file("in.tif", "out.tif", **{"model": CLASSICAL, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.tif").exists()


@pytest.mark.parametrize("name", ["out.tif", "out.nc"])
def test_an_interrupted_run_leaves_nothing(tmp_path, name):
    """After some tiles; inputs are what they were, and the next run gives what an undisturbed one gives."""
    source = write(tmp_path / "in.tif", terrain((90, 100)).astype("float32"))
    grid = like(tmp_path / "like.tif", 17, 17, (120, 130))
    before, names = (digest(source), digest(grid)), sorted(path.name for path in tmp_path.iterdir())

    def interrupt(done, _):
        if done == 3:
            raise KeyboardInterrupt

    options = {"like": grid, "tile_size": 16, "threads": 2}
    with pytest.raises(KeyboardInterrupt):
        upscale_file(source, tmp_path / name, None, CLASSICAL, progress=interrupt, **options)
    assert (digest(source), digest(grid)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert upscale_file(source, tmp_path / name, None, CLASSICAL, **options).fine == (120, 130)


# ---------------------------------------------------------------------------------------------- other CRSs


def other_crs(path, crs, width, shape):
    """A raster of cells of a width in another CRS, in the middle of the rasters here."""
    with plain():
        (x,), (y,) = transform("EPSG:32633", crs, [X + 600], [Y - 600])
    corner = Affine(width, 0, x - shape[1] / 2 * width, 0, -width, y + shape[0] / 2 * width)
    return like(path, 1, 1, shape, transform=corner, crs=crs)


TURNED = Affine.translation(X + 400, Y - 500) * Affine.rotation(30) * Affine.scale(20, -20)


@pytest.mark.parametrize(
    ("crs", "width", "shape"),
    [("EPSG:32632", 20, (26, 30)), ("EPSG:4326", 2e-4, (24, 30)), ("EPSG:3035", 25, (20, 20)), (None, 0, (20, 20))],
)
def test_planes_stay_in_other_crs(tmp_path, crs, width, shape):
    """Through a warp a plane lies off by less than a fiftieth of a cell, on average by next to nothing."""
    y, x = np.mgrid[:40, :40] * 30 + 15.0
    source = write(tmp_path / "in.tif", 1e4 + x - 2 * y)
    if crs is None:
        grid = like(tmp_path / "like.tif", 1, 1, shape, transform=TURNED)
    else:
        grid = other_crs(tmp_path / "like.tif", crs, width, shape)
    found, summary = onto(tmp_path, None, grid, source=source, model="default")
    assert summary.grid == "warped (GDAL, average) onto the cells of like.tif"
    with opened(grid) as wanted:
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        t = wanted.transform
        places = t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f
        across, up = transform(wanted.crs, "EPSG:32633", *(each.ravel() for each in places))
    expected = 1e4 + (np.array(across) - X) - 2 * (Y - np.array(up))
    off = found[0].ravel() - expected
    assert np.isfinite(off).all()
    assert np.abs(off).max() < 0.02 * 90
    assert abs(off.mean()) < 2e-4 * 90


@pytest.mark.parametrize("tile_size", [16, 23])
def test_tiles_are_the_whole_in_another_crs(tmp_path, tile_size):
    """Also where cells are missing, and beyond the raster; missing cells are those of GDAL, and so is the mean."""
    values = terrain((40, 40), low=200, high=900)
    values[20:25, 10:15] = np.nan
    grid = other_crs(tmp_path / "like.tif", "EPSG:32632", 20, (80, 80))
    whole, _ = onto(tmp_path, values, grid, model="default", tile_size=1000, threads=1)
    found, _ = onto(tmp_path, values, grid, model="default", tile_size=tile_size, threads=3)
    assert np.array_equal(np.isnan(found), np.isnan(whole))
    assert np.nanmax(np.abs(found - whole)) <= 1e-5 * 700
    upscale_file(tmp_path / "in.tif", tmp_path / "fine.tif", 2, "default")
    expected = np.full(found.shape[1:], np.nan)
    with opened(tmp_path / "fine.tif") as fine, opened(grid) as wanted:
        places = {"src_transform": fine.transform, "dst_transform": wanted.transform}
        crs = {"src_crs": fine.crs, "dst_crs": wanted.crs}
        missing = {"src_nodata": np.nan, "dst_nodata": np.nan}
        reproject(fine.read(1), expected, **places, **crs, **missing, resampling=Resampling.average, tolerance=0.0)
    assert np.array_equal(np.isnan(whole[0]), np.isnan(expected))
    assert abs(np.nanmean(whole[0] - expected)) < 1e-3 * np.nanstd(expected)


@pytest.mark.parametrize("west", [-180, 0])
def test_the_date_line_and_the_pole_have_no_seam(tmp_path, west):
    """A map of the globe, from either meridian on, onto cells around the pole."""

    def value(longitude, latitude):
        return 10 + np.cos(np.radians(latitude)) * (
            3 * np.cos(np.radians(longitude)) + 2 * np.sin(np.radians(longitude))
        )

    longitudes, latitudes = np.meshgrid(west + 2 * np.arange(180) + 1.0, 89 - 2.0 * np.arange(90))
    place = {"crs": "EPSG:4326", "transform": Affine(2, 0, west, 0, -2, 90)}
    source = write(tmp_path / "in.tif", value(longitudes, latitudes), **place)
    around = Affine(100e3, 0, -3e6, 0, -100e3, 3e6)
    grid = like(tmp_path / "like.tif", 1, 1, (60, 60), transform=around, crs="EPSG:3413")
    found, _ = onto(tmp_path, None, grid, source=source, tile_size=16)
    rows, columns = np.mgrid[:60, :60] + 0.5
    with plain():
        places = transform("EPSG:3413", "EPSG:4326", *(each.ravel() for each in around_of(around, columns, rows)))
    expected = value(*map(np.array, places)).reshape(60, 60)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - expected).max() < 0.05


def around_of(affine, columns, rows):
    """Coordinates of places in cells."""
    return affine.a * columns + affine.c, affine.e * rows + affine.f


def test_classes_and_totals_in_another_crs(tmp_path):
    """Classes go to the larger part, no others appear; totals are refused, as a warp does not keep them."""
    classes = np.random.default_rng(0).choice(np.array([3, 7, 9], np.uint8), (40, 40)).repeat(2, 0)[:40]
    source = write(tmp_path / "in.tif", classes, nodata=0)
    grid = other_crs(tmp_path / "like.tif", "EPSG:32632", 20, (80, 80))
    found, _ = onto(tmp_path, None, grid, source=source, model="nearest")
    assert set(np.unique(found)) == {0, 3, 7, 9}
    again, _ = onto(tmp_path, None, grid, source=source, kinds={"1": "category"})
    assert np.array_equal(found, again)
    with pytest.raises(UsageError, match="totals of cells, which a warp does not keep"):
        onto(tmp_path, classes.astype("float32"), grid, kinds={"1": "total"})


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4269", "EPSG:3857"])
@pytest.mark.parametrize("tile_size", [16, 1000])
def test_both_sides_of_the_date_line_are_found(tmp_path, crs, tile_size):
    """A raster from 160 to 200 degrees onto a map of the globe that is cut at 180: nothing of it is left out."""
    longitudes = 160.5 + np.arange(40)
    values = 10 + np.cos(np.radians(longitudes)) + np.zeros((40, 40))
    source = write(tmp_path / "in.tif", values, crs="EPSG:4326", transform=Affine(1, 0, 160, 0, -1, 20))
    half = 20037508.342789244 if crs == "EPSG:3857" else 180.0
    whole = Affine(half / 360, 0, -half * 1.0005, 0, -half / 360, half / 12)
    grid = like(tmp_path / "like.tif", 1, 1, (60, 721), transform=whole, crs=crs)
    found, _ = onto(tmp_path, None, grid, source=source, tile_size=tile_size)
    longitudes = -180.09 + 0.5 * np.arange(721) + 0.25
    there = np.abs(longitudes) > 159.75
    assert np.isfinite(found[0][:, there]).all()
    assert np.isnan(found[0][:, ~there]).all()
    assert np.abs(found[0] - (10 + np.cos(np.radians(longitudes))))[:, there].max() < 5e-3


@pytest.mark.parametrize(
    ("crs", "corner", "shape"),
    [
        ("EPSG:4326", Affine(3, 0, -180, 0, -3, 90), (60, 120)),
        ("EPSG:3413", Affine(300e3, 0, -9e6, 0, -300e3, 9e6), (60, 60)),
        ("ESRI:54030", Affine(300e3, 0, -18e6, 0, -300e3, 6e6), (40, 120)),
    ],
)
def test_a_map_of_the_globe_may_end_before_the_poles(tmp_path, crs, corner, shape):
    """Cells beyond its first and last row, or beyond the globe, need a value for missing cells like any others."""
    values = np.full((24, 72), 90, np.uint8)
    place = {"crs": "EPSG:4326", "transform": Affine(5, 0, -180, 0, -5, 60)}
    source = write(tmp_path / "in.tif", values, **place)
    grid = like(tmp_path / "like.tif", 1, 1, shape, transform=corner, crs=crs)
    with pytest.raises(InputError, match="does not cover all of the wanted grid"):
        onto(tmp_path, None, grid, source=source)
    marked, _ = onto(tmp_path, None, grid, source=source, nodata=255)
    assert set(np.unique(marked)) == {90, 255}
    onto(tmp_path, None, grid, source=write(tmp_path / "in.tif", values.astype("float32"), **place))
    with opened(tmp_path / "out.tif") as dataset:
        assert np.isnan(dataset.nodata)
        assert np.isnan(dataset.read()).any()


def test_large_numbers_of_classes_come_through_a_warp(tmp_path):
    """Ids of parcels have more digits than GDAL compares: none becomes another one."""
    ids = np.random.default_rng(0).integers(2**52, 2**53, (40, 40))
    source = write(tmp_path / "in.tif", ids)
    found, _ = onto(
        tmp_path, None, other_crs(tmp_path / "like.tif", "EPSG:32632", 20, (20, 20)), source=source, model="nearest"
    )
    assert set(np.unique(found)) <= set(np.unique(ids))
    assert len(np.unique(found)) > 100


@pytest.mark.parametrize(
    ("crs", "corner", "factor"),
    [
        ("EPSG:3031", Affine(100e3, 0, -3e6, 0, -100e3, 3e6), 2),
        ("EPSG:32701", Affine(60e3, 0, 2e5, 0, -60e3, 8.5e6), 3),
    ],
)
def test_cells_are_compared_where_the_raster_lies(tmp_path, crs, corner, factor):
    """A grid of latitudes and longitudes of the globe: in its middle its cells are wider, or PROJ has no place."""
    source = write(
        tmp_path / "in.tif", terrain((60, 60) if factor == 2 else (15, 15), low=10, high=20), crs=crs, transform=corner
    )
    step = 0.6 if factor == 2 else 0.25
    shape = round(180 / step), round(360 / step)
    grid = like(tmp_path / "like.tif", 1, 1, shape, transform=Affine(step, 0, -180, 0, -step, 90), crs="EPSG:4326")
    found, summary = onto(tmp_path, None, grid, source=source)
    assert summary.factor == factor
    assert np.nanmin(found) > 9


@pytest.mark.parametrize("tile_size", [16, 1000])
@pytest.mark.parametrize(
    ("crs", "east", "wanted_crs", "corner", "shape"),
    [
        ("EPSG:6933", 17367530.445161, "EPSG:4326", Affine(1, 0, 0.5, 0, -1, 20), (40, 360)),
        ("EPSG:3857", 20037508.342789, "EPSG:4326", Affine(1, 0, -0.3, 0, -1, 20), (40, 360)),
        ("EPSG:4326", 180.0, "EPSG:3857", Affine(15e4, 0, -20167508, 0, -15e4, 3e6), (40, 268)),
    ],
)
def test_cells_over_the_ends_of_a_map_of_the_globe(tmp_path, crs, east, wanted_crs, corner, shape, tile_size):
    """Wherever a map is cut, cells over the cut are like any others."""
    middles = np.radians(-180 + 5 * np.arange(72) + 2.5)
    place = Affine(east / 36, 0, -east, 0, -east / 36, east / 6)
    source = write(tmp_path / "in.tif", np.cos(middles) + np.zeros((12, 72)), crs=crs, transform=place)
    grid = like(tmp_path / "like.tif", 1, 1, shape, transform=corner, crs=wanted_crs)
    found, _ = onto(tmp_path, None, grid, source=source, tile_size=tile_size)
    longitudes = corner.c + corner.a * (np.arange(shape[1]) + 0.5)
    if wanted_crs == "EPSG:3857":
        longitudes = longitudes * 180 / 20037508.342789
    assert np.isfinite(found).all()
    assert np.abs(found[0] - np.cos(np.radians(longitudes))).max() < 5e-3
