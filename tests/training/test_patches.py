"""Fields, sites that never mix, and patches that are what a network meets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.grids.affine import Grid
from geofsrcnn.training.patches import Field, Patches, digest, prefetch, read_fields, sites, split
from geofsrcnn.training.schedule import TrainOptions
from geofsrcnn.values.blocks import block_mean, repeat
from tests.support.rasters import read, terrain, write


@pytest.fixture(scope="module")
def fine(tmp_path_factory) -> Path:
    """A raster to train on."""
    return write(tmp_path_factory.mktemp("fine") / "site.tif", terrain((140, 260), seed=3, high=500).astype("float32"))


# ------------------------------------------------------------------------------------------------------- sites

boxes = st.tuples(*[st.integers(0, 12)] * 2, st.integers(1, 6), st.integers(1, 6), st.sampled_from([0.5, 1.0, 2.0]))


def grid(box: tuple[int, int, int, int, float]) -> Grid:
    """A grid of the box ``x, y, width, height`` at some resolution."""
    x, y, width, height, step = box
    return Grid((int(height / step), int(width / step)), Affine(step, 0, x, 0, -step, y), "EPSG:32633")


def overlap(a: Grid, b: Grid) -> bool:
    """Whether two grids share an area."""
    (al, ab, ar, at), (bl, bb, br, bt) = a.bounds, b.bounds
    return min(ar, br) > max(al, bl) and min(at, bt) > max(ab, bb)


@given(st.lists(boxes, min_size=1, max_size=8))
def test_grids_that_overlap_are_one_site(found):
    """Grids that overlap share a site; those of different sites never do, however they are chained."""
    grids = [grid(box) for box in found]
    number = sites(grids)
    for i, a in enumerate(grids):
        for j, b in enumerate(grids):
            if overlap(a, b):
                assert number[i] == number[j]


def test_a_chain_of_overlaps_is_one_site():
    """Sites are joined through what lies between them, whatever the order; touching edges do not join."""
    left, middle, right = grid((0, 4, 4, 4, 1.0)), grid((3, 4, 4, 4, 1.0)), grid((6, 4, 4, 4, 1.0))
    apart = grid((10, 4, 2, 4, 1.0))
    for order in ([left, middle, right, apart], [right, left, apart, middle], [apart, left, right, middle]):
        number = dict(zip(map(id, order), sites(order), strict=True))
        assert number[id(left)] == number[id(middle)] == number[id(right)] != number[id(apart)]


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory) -> list[Path]:
    """Rasters of seven places, two of them twice."""
    folder = tmp_path_factory.mktemp("mosaic")
    paths = []
    for number, x in enumerate([0, 1000, 2000, 3000, 4000, 5000, 6000, 2010, 5010]):
        values = terrain((30, 40), seed=number)
        transform = Affine(10, 0, 500_000 + x, 0, -10, 6_000_000)
        paths.append(write(folder / f"{number}.tif", values, transform=transform))
    return paths


@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 0.99), order=st.permutations(range(9)))
def test_held_out_sites_never_overlap_trainingsites(mosaic, seed, share, order):
    """Whatever the seed, the share and the order, no held-out field shares an area with a training field."""
    paths = [mosaic[i] for i in order]
    training, held_out = split(paths, [], 2, hold_out=share, seed=seed)
    assert held_out
    assert len(training) + len(held_out) == 9
    assert not any(overlap(a.grid, b.grid) for a in training for b in held_out)


def test_one_site_is_cut_with_a_gap(fine):
    """Of a single site the right quarter is held out, and a strip between is used by neither."""
    training, held_out = split([fine], [], 2, hold_out=0.2, seed=0)
    whole = read(fine, 1)
    left, right = training[0].values, held_out[0].values
    assert np.array_equal(left, whole[:, : left.shape[1]])
    assert np.array_equal(right, whole[:, -right.shape[1] :])
    assert whole.shape[1] - left.shape[1] - right.shape[1] == 32
    assert right.shape[1] == 65


def test_fields_hold_nan_where_cells_are_missing(tmp_path):
    """Fields are float64 in physical units, NaN where missing, one a band."""
    values = np.rint(terrain((2, 9, 10), low=1, high=99)).astype("int16")
    values[1, 3, 4] = -7
    path = write(tmp_path / "a.tif", values, nodata=-7)
    first, second = read_fields(path)
    assert (first.name, second.name) == ("a#1", "a#2")
    assert np.array_equal(first.values, values[0])
    assert np.argwhere(np.isnan(second.values)).tolist() == [[3, 4]]


def test_a_raster_is_not_both_trained_on_and_validated_on(fine, tmp_path):
    """The same file on both sides is refused, under another name too."""
    link = tmp_path / "other.tif"
    link.symlink_to(fine)
    for validation in (fine, link):
        with pytest.raises(InputError, match=r"(site|other).tif is to train on and to validate on: choose one"):
            split([fine], [validation], 2, hold_out=0.2, seed=0)


def test_validation_on_the_ground_that_is_trained_on_is_said(mosaic):
    """Rasters of the same ground on both sides, other moments maybe, are used with a warning that names them."""
    with pytest.warns(
        GeofsrcnnWarning, match=r"7 is validated on and covers ground of 2, which is trained on \(1 such"
    ):
        training, held_out = split(mosaic[:7], [mosaic[7]], 2, hold_out=0.2, seed=0)
    assert (len(training), len(held_out)) == (7, 1)


def test_digest_tells_data_apart(tmp_path):
    """The digest depends on names, values and order, and on nothing else."""
    values = terrain((20, 20), seed=1)
    a, b = (read_fields(write(tmp_path / name, values))[0] for name in ("a.tif", "b.tif"))
    changed = Field(a.name, a.grid, np.where(values == values.max(), np.nan, values))
    assert digest([a, b]) == digest([Field(a.name, a.grid, a.values.copy()), b])
    assert len({digest(fields) for fields in ([a, b], [b, a], [a], [changed, b])}) == 4


# ----------------------------------------------------------------------------------------------------- patches


def patches(values: np.ndarray | list[np.ndarray], factor: int = 2, **options: object) -> Patches:
    """Patches of fields given as arrays."""
    arrays = values if isinstance(values, list) else [values]
    fields = [Field(f"f{i}#1", Grid(v.shape, None, None), v) for i, v in enumerate(arrays)]
    plain = {"patch": 8, "batch_size": 3, "balance": 0.5, "pyramid_levels": 0, "blur": 0.0, "mix": 0.0, "seed": 0}
    halo, anchored = options.pop("halo", 4), options.pop("anchored", False)
    return Patches(fields, factor, halo, TrainOptions(**{**plain, **options}), anchored=anchored)


@given(
    factor=st.integers(2, 5),
    seed=st.integers(0, 1000),
    blur=st.sampled_from([0.0, 1.0]),
    mix=st.sampled_from([0.0, 1.0]),
)
def test_coarse_is_the_block_mean_of_fine(factor, seed, blur, mix):
    """The inner part of the input is the block mean of the truth, in the same units, for each patch."""
    made = patches(terrain((90, 120), seed=seed, high=400) + 101325, factor, blur=blur, mix=mix, seed=seed)
    batch = made.draw(0)
    assert batch.coarse.shape == (3, 1, 16, 16)
    assert batch.fine.shape == (3, 1, 8 * factor, 8 * factor)
    assert (batch.coarse.dtype, batch.fine.dtype, batch.valid) == (np.float32, np.float32, None)
    inner = batch.coarse[:, 0, 4:-4, 4:-4]
    assert np.allclose(block_mean(batch.fine[:, 0], factor), inner, atol=2e-5 * np.abs(inner).max())


def test_errors_count_in_units_of_roughness():
    """Fine less coarse has standard deviation 1 in each patch, whatever the field's units; so units do not matter."""
    values = terrain((90, 120), seed=3)
    first, second = patches(values).draw(5), patches(values * 2000 - 500_000).draw(5)
    assert first.origins == second.origins
    rest = first.fine[:, 0] - repeat(block_mean(first.fine[:, 0], 2), 2)
    assert np.allclose(rest.std((1, 2)), 1, atol=1e-3)
    assert np.allclose(first.fine, second.fine, atol=1e-3)


def test_a_batch_depends_on_seed_and_step_alone():
    """Drawn again, in another order or ahead of time, it is the same; other steps and seeds give others."""
    made = patches(terrain((90, 120)))
    later = made.draw(7)
    assert np.array_equal(later.fine, patches(terrain((90, 120))).draw(7).fine)
    stream = prefetch(made.draw, 6)
    next(stream)
    assert np.array_equal(next(stream).fine, later.fine)
    assert not np.array_equal(made.draw(8).fine, later.fine)
    assert not np.array_equal(patches(terrain((90, 120)), seed=1).draw(7).fine, later.fine)


def test_mixed_patches_are_sums_of_two():
    """The first is wholly in it, the next one of the step at most as much; what it is made of is named."""
    y, x = np.mgrid[0:60, 0:60]
    made = [
        patches([np.sin(3.0 * x * x), 1e6 * np.cos(2.0 * y * y)], patch=8, mix=mix, batch_size=6) for mix in (0.0, 1.0)
    ]
    plain, mixed = (m.draw(2) for m in made)
    assert mixed.origins == [f"{a} + {b}" for a, b in zip(plain.origins, np.roll(plain.origins, -1), strict=True)]
    for i, both in enumerate(mixed.fine[:, 0]):
        parts = np.stack([plain.fine[i].ravel(), plain.fine[(i + 1) % 6].ravel()], axis=1)
        weights, rest, *_ = np.linalg.lstsq(parts, both.ravel(), rcond=None)
        assert rest.size == 0 or rest[0] < 1e-6 * (both**2).sum()
        assert (weights > -1e-5).all()


def test_a_patch_is_not_mixed_with_one_that_has_too_few_cells():
    """Sums whose cells are mostly missing are not made."""
    rng = np.random.default_rng(0)
    values = terrain((60, 120))
    values[:, 60:][rng.random((60, 60)) < 0.6] = np.nan
    made = patches(values, patch=8, mix=1.0, batch_size=6)
    origins = [origin for step in range(20) for origin in made.draw(step).origins]
    shares = [" + " in origin for origin in origins]
    assert any(shares)
    assert not all(shares)


def test_smoothing_that_leaves_no_cell_says_nothing():
    """Isolated cells are gone after smoothing: such a patch is passed over, without numpy's warnings."""
    values = np.full((60, 120), np.nan)
    values[:, :60] = terrain((60, 60))
    values[::2, 60::2] = 1.0
    made = patches(values, patch=8, halo=4, blur=1.0, batch_size=6)
    assert all("f0" in origin for step in range(20) for origin in made.draw(step).origins)


def test_patches_are_turned_and_mirrored():
    """All eight orientations of a ramp come up, and nothing else."""
    y, x = np.mgrid[0:40, 0:40]
    made = patches(3.0 * x + y + 0.001 * terrain((40, 40)), patch=8, halo=4)
    seen = set()
    for step in range(40):
        for fine in made.draw(step).fine[:, 0]:
            steps = fine[8, 9] - fine[8, 8], fine[9, 8] - fine[8, 8]
            seen.add((np.sign(steps[0]), np.sign(steps[1]), abs(steps[0]) > abs(steps[1])))
    assert len(seen) == 8


def test_what_stands_under_missing_cells_has_no_influence():
    """Missing cells are filled from valid ones and do not count; a coarse cell counts if all its fine cells do."""
    values = terrain((60, 60), seed=2)
    values[20:23, 30:40] = np.nan
    made = patches(values, patch=16, batch_size=8)
    batch = next(b for b in map(made.draw, range(50)) if b.valid is not None and not b.valid.all())
    assert np.isfinite(batch.coarse).all()
    assert np.isfinite(batch.fine).all()
    blocks = batch.valid[:, 0].reshape(8, 16, 2, 16, 2)
    assert (blocks.all((2, 4)) == blocks.any((2, 4))).all()
    assert 0.5 < batch.valid.mean() < 1
    rest = np.where(batch.valid, batch.fine - repeat(batch.coarse[:, :, 4:-4, 4:-4], 2), 0)
    assert np.allclose(np.sqrt((rest**2).sum((1, 2, 3)) / batch.valid.sum((1, 2, 3))), 1, atol=1e-3)


def test_small_fields_are_trained_on():
    """A field smaller than a patch with its halo serves, what lies beyond it does not count."""
    batch = patches(terrain((30, 26)), patch=16).draw(0)
    assert batch.coarse.shape == (3, 1, 24, 24)
    assert (batch.valid.sum((1, 2, 3)) == 30 * 26).all()


def test_fields_serve_at_coarser_resolutions_too():
    """With pyramid_levels=1 some patches come from the field's own 2 x 2 block means."""
    values = np.kron(np.random.default_rng(0).normal(size=(30, 30)), [[1.0, -1.0], [-1.0, 1.0]]) + terrain((60, 60))
    plain = {b.origins[0].split(" ", 1)[1] for b in map(patches(values, patch=8, halo=2).draw, range(30))}
    both = {
        b.origins[0].split(" ", 1)[1] for b in map(patches(values, patch=8, halo=2, pyramid_levels=1).draw, range(60))
    }
    assert all(int(o.split("-")[1].split()[0]) >= 24 for o in plain)
    smoothest = min(
        np.abs(np.diff(b.fine[0, 0])).mean()
        for b in map(patches(values, patch=8, halo=2, pyramid_levels=1).draw, range(60))
    )
    sharpest = min(np.abs(np.diff(b.fine[0, 0])).mean() for b in map(patches(values, patch=8, halo=2).draw, range(60)))
    assert smoothest < 0.8 * sharpest
    assert len(both) > 1


def test_large_files_do_not_drown_small_ones():
    """Files are drawn in proportion to their cells to the power of balance."""
    small, large = terrain((40, 40)), terrain((160, 160), seed=1)
    for balance, share in ((0.0, 0.5), (0.5, 0.8), (1.0, 16 / 17)):
        made = patches([small, large], balance=balance, batch_size=8)
        drawn = [o.split("#")[0] for step in range(60) for o in made.draw(step).origins]
        assert drawn.count("f1") / len(drawn) == pytest.approx(share, abs=0.07)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((60, 60), 7.0), "found too few patches with valid cells and any structure"),
        (np.full((60, 60), np.nan), "found too few patches with valid cells and any structure"),
        (terrain((15, 60)), "no raster of 16 x 16 fine cells or more to train on"),
    ],
)
def test_fields_without_use_are_refused(values, words):
    """Constant, missing and tiny fields end in one line, not in a loop."""
    with pytest.raises(InputError, match=words):
        patches(values).draw(0)


def test_the_same_ground_in_another_crs_is_the_same_site():
    """A grid in UTM and one in degrees over it are one site; another zone's are not."""
    utm = Grid((100, 100), Affine(30, 0, 500_000, 0, -30, 6_000_000), "EPSG:32633")
    degrees = Grid((60, 60), Affine(0.0005, 0, 15.01, 0, -0.0005, 54.145), "EPSG:4326")
    elsewhere = Grid((60, 60), Affine(0.0005, 0, 3.01, 0, -0.0005, 54.145), "EPSG:4326")
    assert sites([utm, degrees, elsewhere]) == [0, 0, 2]


@pytest.mark.parametrize(("crs", "same"), [("EPSG:4326", True), (None, False)])
def test_the_same_ground_a_full_circle_on_is_the_same_site(crs, same):
    """Longitudes from 0 to 360 and from -180 to 180 show the same ground; without a CRS they need not be longitudes."""
    west, east = (Grid((20, 30), Affine(0.5, 0, left, 0, -0.5, 40), crs) for left in (-85.0, 275.0))
    around = Grid((360, 720), Affine(0.5, 0, 0, 0, -0.5, 90), crs)
    elsewhere = Grid((20, 30), Affine(0.5, 0, -60.0, 0, -0.5, 40), crs)
    assert (sites([west, east]) == [0, 0]) is same
    assert (sites([west, around]) == [0, 0]) is same
    assert sites([elsewhere, east]) == [0, 1]


def test_ground_across_the_date_line_is_one_site():
    """A grid in UTM from 179 E to 179 W, and one in degrees east of the line; 160 E is elsewhere."""
    fiji = Grid((400, 700), Affine(300, 0, 715_000, 0, -300, 8_100_000), "EPSG:32760")
    degrees = [Affine(0.003, 0, left, 0, -0.003, -17.4) for left in (-179.6, 160.0)]
    east, elsewhere = (Grid((90, 90), affine, "EPSG:4326") for affine in degrees)
    assert sites([fiji, east, elsewhere]) == [0, 0, 2]


def test_ground_of_another_body_is_another_site_and_nothing_is_printed(capfd):
    """The Moon's longitudes are not the Earth's; GDAL's error about it is not the user's."""
    earth = Grid((10, 10), Affine(0.1, 0, 10, 0, -0.1, 51), "EPSG:4326")
    moon = Grid((10, 10), Affine(3000, 0, 300_000, 0, -3000, 1_530_000), "+proj=eqc +R=1737400 +units=m +no_defs")
    assert sites([earth, moon]) == [0, 1]
    assert capfd.readouterr() == ("", "")


def test_a_hard_link_is_the_same_raster(fine, tmp_path):
    """The same file under a second name is on one side only."""
    link = tmp_path / "other.tif"
    link.hardlink_to(fine)
    with pytest.raises(InputError, match=r"other.tif is to train on and to validate on: choose one"):
        split([fine], [link], 2, hold_out=0.2, seed=0)


def test_zero_stays_where_it_is_if_asked():
    """Anchored patches of a field that is not negative are not negative, and are in units of roughness."""
    batch = patches(terrain((90, 120), low=0, high=9), anchored=True).draw(0)
    assert batch.fine.min() >= 0
    assert batch.coarse.min() >= 0
    assert patches(terrain((90, 120), low=0, high=9)).draw(0).fine.min() < 0
