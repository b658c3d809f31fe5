"""xarray objects by a finer guide: numbers of the engine, coordinates as by upscale, guides from anywhere."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pytest
import rioxarray  # noqa: F401  registers ds.rio
import xarray as xr

from geofsrcnn import (
    GeofsrcnnError,
    GeofsrcnnWarning,
    InputError,
    Model,
    ModelError,
    UsageError,
    Verdict,
    load_model,
    sharpen_dataarray,
    sharpen_dataset,
    upscale_array,
    upscale_dataset,
)
from geofsrcnn.networks.guided import GuidedConfig, guided_model, only_regression
from geofsrcnn.training.guided_verdict import ALONE, REGRESSION
from geofsrcnn.values.blocks import block_mean
from tests.support.grids import curvilinear, globe, projected, regular
from tests.support.rasters import terrain

NOW = {"minutes": 0, "always": True}
"""Follow the guide with what the shipped network can."""


def chosen_model(verdict: Verdict) -> Model:
    """The model that a verdict says is applied: the shipped network, or local regression."""
    shipped = load_model("default", verdict.factor)
    regression = only_regression(GuidedConfig(verdict.factor))
    return guided_model(shipped, regression) if verdict.chosen == REGRESSION else shipped


def guide_for(dataset: xr.Dataset, factor: int = 2, seed: int = 5) -> xr.DataArray:
    """Elevation on the finer grid of a dataset."""
    fine = upscale_dataset(dataset, factor, "nearest")
    grid = dataset.fsrcnn.grid
    shape = fine.sizes[grid.y], fine.sizes[grid.x]
    places = {name: v for name, v in fine.coords.items() if set(v.dims) <= {grid.y, grid.x}}
    return xr.DataArray(terrain(shape, seed=seed, high=2000.0), places, (grid.y, grid.x), "elevation")


def related(rows: int = 40, columns: int = 48, factor: int = 2, **options: float) -> tuple[xr.Dataset, xr.DataArray]:
    """A temperature that falls with elevation, and the elevation."""
    dataset = regular(rows=rows, columns=columns, **options)
    guide = guide_for(dataset, factor)
    lapse = block_mean(guide.to_numpy(), factor)[None] * -0.0065
    level = np.arange(dataset.sizes["time"])[:, None, None]
    values = 290 + lapse + level + np.linspace(0, 3, columns)
    dataset["tas"] = dataset["tas"].copy(data=values.astype("float32"))
    return dataset, guide


# ------------------------------------------------------------------------------------------- numbers and metadata


def test_the_numbers_are_the_engines():
    """Dataset, DataArray and accessor give what arrays give; blocks keep their means."""
    dataset, guide = related()
    coarse = dataset["tas"].to_numpy()
    fine, verdicts = sharpen_dataset(dataset, guide, **NOW)
    expected = upscale_array(coarse, 2, chosen_model(verdicts["tas"]), guide=guide)
    assert np.array_equal(fine["tas"], expected)
    assert not np.allclose(expected, upscale_array(coarse, 2))
    assert np.allclose(block_mean(fine["tas"].to_numpy(), 2), coarse, atol=1e-4)
    alone, verdict = sharpen_dataarray(dataset["tas"], guide, **NOW)
    assert verdict.methods == verdicts["tas"].methods
    assert np.array_equal(alone, expected)
    assert np.array_equal(dataset.fsrcnn.sharpen(guide, **NOW)["tas"], expected)
    assert dataset["tas"].fsrcnn.sharpen(guide.to_dataset(), **NOW).identical(alone)


@pytest.mark.parametrize("make", [regular, globe, projected, curvilinear])
@pytest.mark.parametrize("factor", [2, 3])
def test_all_but_the_values_is_as_by_upscale(make, factor):
    """Coordinates, bounds, grid mapping, attributes; the factor is that of the guide."""
    dataset = make()
    plain = upscale_dataset(dataset, factor)
    fine, verdicts = sharpen_dataset(dataset, guide_for(dataset, factor), **NOW)
    assert list(fine.variables) == list(plain.variables)
    (name,) = verdicts
    for other in plain.variables:
        if other != name:
            assert fine[other].identical(plain[other]) or other in fine[name].coords, other
            assert fine[other].variable.identical(plain[other].variable), other
    own = {k: v for k, v in fine[name].attrs.items() if not k.startswith("geofsrcnn_")}
    assert own == plain[name].attrs
    assert fine[name].encoding == plain[name].encoding
    assert fine[name].attrs["geofsrcnn_guide"] == "elevation (as it is)"
    assert fine[name].attrs["geofsrcnn_verdict"] == verdicts[name].words()
    assert fine.attrs["history"] == plain.attrs["history"] + ", guided by elevation (as it is)"


def test_it_learns_on_the_field_itself():
    """A field that follows elevation gains; the table says so, and which slices were scored."""
    dataset, guide = related(rows=116, columns=116)
    fine, verdicts = sharpen_dataset(dataset, guide, minutes=0.02)
    verdict = verdicts["tas"]
    assert verdict.held_out
    assert verdict.steps > 0
    assert verdict.chosen != ALONE
    assert [name[:9] for name in verdict.bands] == ["tas, time"] * 2
    assert fine["tas"].attrs["geofsrcnn_applied"] == verdict.chosen
    truth = 290 - 0.0065 * guide.to_numpy() + np.linspace(0, 3, 232)[None]
    errors = [np.abs(each["tas"][0] - truth).mean() for each in (fine, upscale_dataset(dataset, 2))]
    assert errors[0] < 0.8 * errors[1]


def test_at_most_six_slices_are_learned_from():
    """Spread over all of them; the rest is read once, to be made finer."""
    dataset, guide = related(times=20)
    _, verdicts = sharpen_dataset(dataset, guide, **NOW)
    assert len(verdicts["tas"].bands) == 6
    assert verdicts["tas"].bands[-1] == f"tas, time {dataset['time'].to_numpy()[-1]}"


def test_a_guide_that_does_not_help_is_left_out():
    """Noise gives what upscale gives, unless it is to be followed always."""
    dataset, guide = related(rows=60, columns=60)
    noise = guide.copy(data=np.random.default_rng(0).normal(size=guide.shape))
    fine, verdicts = sharpen_dataset(dataset, noise, minutes=0)
    assert verdicts["tas"].chosen == fine["tas"].attrs["geofsrcnn_applied"] == ALONE
    assert np.array_equal(fine["tas"], upscale_dataset(dataset, 2)["tas"])
    followed, verdicts = sharpen_dataset(dataset, noise, **NOW)
    assert verdicts["tas"].chosen != ALONE
    assert not np.array_equal(followed["tas"], upscale_dataset(dataset, 2)["tas"])


def test_missing_cells_of_either():
    """Missing coarse cells stay missing; where the guide is missing the field is as without it."""
    dataset, guide = related()
    dataset["tas"][0, 3:5, 7] = np.nan
    guide = guide.copy()
    guide[:, 60:] = np.nan
    fine = dataset.fsrcnn.sharpen(guide, **NOW)["tas"].to_numpy()
    plain = upscale_dataset(dataset, 2, overshoot="none")["tas"].to_numpy()
    assert np.array_equal(np.isnan(fine), np.isnan(plain))
    assert np.array_equal(fine[..., 60:], plain[..., 60:], equal_nan=True)
    assert not np.array_equal(fine[..., :60], plain[..., :60], equal_nan=True)
    means = block_mean(fine, 2)
    assert np.allclose(means, dataset["tas"], atol=1e-4, equal_nan=True)


def test_packed_integers_come_out_packed():
    """Not decoded: stored numbers in and out, marks of missing cells too; a packed guide is unpacked."""
    dataset, guide = related()
    packing = {"scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -999}
    stored = np.rint((dataset["tas"] - 273.15) / 0.01).astype("int16").to_numpy()
    stored[0, 0, 0] = -999
    packed = dataset.assign(tas=(dataset["tas"].dims, stored, {**dataset["tas"].attrs, **packing}))
    fine = packed.fsrcnn.sharpen(guide, **NOW)
    assert fine["tas"].dtype == "int16"
    assert (fine["tas"][0, :2, :2] == -999).all()
    assert (fine["tas"] == -999).sum() == 4
    decoded = xr.decode_cf(packed).fsrcnn.sharpen(guide, **NOW)["tas"]
    assert np.allclose(xr.decode_cf(fine)["tas"], decoded, atol=0.006, equal_nan=True)
    halves = guide.copy(data=(2 * guide).round().astype("int32").to_numpy()).assign_attrs(scale_factor=0.5)
    unpacked = guide.copy(data=(2 * guide).round().to_numpy() / 2)
    assert np.array_equal(packed.fsrcnn.sharpen(halves, **NOW)["tas"], packed.fsrcnn.sharpen(unpacked, **NOW)["tas"])


def test_there_is_no_seam_at_the_date_line():
    """A global field and guide rolled by k columns give the same result rolled."""
    dataset = globe()
    guide = guide_for(dataset)
    dataset["z"] = dataset["z"].copy(data=block_mean(guide.to_numpy(), 2))
    whole = dataset.fsrcnn.sharpen(guide, **NOW)["z"].to_numpy()
    rolled = dataset.assign(z=dataset["z"].roll(lon=17, roll_coords=False))
    again = rolled.fsrcnn.sharpen(guide.roll(lon=34, roll_coords=False), **NOW)["z"].to_numpy()
    assert np.allclose(np.roll(whole, 34, axis=1), again, atol=1e-5)


def test_categories_and_directions_come_out_as_by_upscale():
    """A warning says what is repeated; alone they are refused."""
    dataset, guide = related()
    dims = dataset["tas"].dims
    dataset["wd"] = dims, (dataset["tas"].to_numpy() * 7) % 360, {"standard_name": "wind_from_direction"}
    dataset["soil"] = dims, (dataset["tas"].to_numpy() % 5).astype("int8"), {"flag_values": np.arange(5, dtype="int8")}
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED"):
        fine, verdicts = sharpen_dataset(dataset, guide, **NOW)
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED"):
        plain = upscale_dataset(dataset, 2)
    assert set(verdicts) == {"tas"}
    for name in ("wd", "soil"):
        assert fine[name].identical(plain[name].assign_coords(fine[name].coords))
    with pytest.raises(UsageError, match="categories or directions"):
        dataset["wd"].fsrcnn.sharpen(guide, **NOW)


def test_totals_are_divided():
    """Parts of a cell sum to it."""
    dataset, guide = related()
    dataset["tas"].attrs = {"units": "persons"}
    fine = dataset.fsrcnn.sharpen(guide, kinds={"tas": "total"}, **NOW)["tas"].to_numpy()
    assert np.allclose(4 * block_mean(fine, 2), dataset["tas"], rtol=1e-5)


# ------------------------------------------------------------------------------------------- where the guide lies


def test_a_guide_may_run_either_way_and_reach_further():
    """Rows and columns are found by their coordinates, longitudes in any convention; beyond it the guide is missing."""
    dataset, guide = related()
    expected = dataset.fsrcnn.sharpen(guide, **NOW)["tas"]
    assert expected.attrs["geofsrcnn_guide"] == "elevation (as it is)"
    for other in (
        guide[::-1],
        guide[:, ::-1].transpose(),
        guide.assign_coords(lon=("lon", guide["lon"].to_numpy() % 360, guide["lon"].attrs)),
        guide.astype("float32").assign_coords(lat=guide["lat"].astype("float32"), lon=guide["lon"].astype("float32")),
        guide.pad(lat=3, lon=(4, 0), mode="edge").assign_coords(
            lat=40 + 20 - 0.375 + 0.25 * (3 - np.arange(86)), lon=guide["lon"][0].item() + 0.25 * (np.arange(100) - 4)
        ),
    ):
        found = dataset.fsrcnn.sharpen(other.assign_attrs(guide.attrs), **NOW)["tas"]
        assert np.allclose(found, expected, atol=1e-3)
        assert found.attrs["geofsrcnn_guide"] == "elevation (as it is)"
    half = dataset.fsrcnn.sharpen(guide.isel(lat=slice(20, None)), **NOW)["tas"]
    masked = dataset.fsrcnn.sharpen(guide.where(guide["lat"] <= guide["lat"][20]), **NOW)["tas"]
    assert half.equals(masked)


def test_other_cells_are_interpolated_or_averaged():
    """Linearly between those of about the same size, averaged if they are much finer; the attribute says which."""
    dataset, guide = related()
    plane = guide.copy(data=np.add.outer(np.arange(80.0) ** 2, np.arange(96.0) ** 2 / 9))
    expected = dataset.fsrcnn.sharpen(plane, **NOW)["tas"]
    shifted = plane.interp(lat=plane["lat"].to_numpy()[1:-1] + 0.05, lon=plane["lon"].to_numpy()[1:-1] - 0.1)
    found = dataset.fsrcnn.sharpen(shifted, **NOW)["tas"]
    assert found.attrs["geofsrcnn_guide"] == "elevation (linear)"
    assert np.allclose(found[:, 30:-30, 30:-30], expected[:, 30:-30, 30:-30], atol=0.01)
    finer = upscale_dataset(plane.to_dataset(), 3, "bilinear")["elevation"]
    found = dataset.fsrcnn.sharpen(finer, 2, **NOW)["tas"]
    assert found.attrs["geofsrcnn_guide"] == "elevation (average)"
    assert np.allclose(found, expected, atol=0.02)


def test_a_guide_in_another_crs_is_warped():
    """Latitudes and longitudes under a field in metres, found through both CRS."""
    dataset = projected(rows=60, columns=60)
    guide = guide_for(dataset).rio.write_crs(32633)
    guide = guide.copy(data=np.add.outer(np.arange(120.0) ** 2, np.arange(120.0) ** 2))
    expected = dataset.fsrcnn.sharpen(guide, **NOW)["dem"]
    turned = guide.rio.reproject("EPSG:4326", nodata=np.nan)
    found = dataset.fsrcnn.sharpen(turned, 2, **NOW)["dem"]
    assert found.attrs["geofsrcnn_guide"] == "elevation (linear)"
    inner = slice(40, 80)
    spread = float(expected.std())
    assert np.allclose(found[inner, inner], expected[inner, inner], atol=0.03 * spread)  # of which the guide makes 0.12


def test_rasters_as_rioxarray_opens_them():
    """Bands of both; all bands of the guide guide each of the raster's."""
    dataset = projected(rows=40, columns=40)
    coarse = dataset["dem"].expand_dims(band=[1, 2]).assign_attrs(dataset["dem"].attrs).rio.write_crs(32633)
    one, two = guide_for(dataset, seed=1), guide_for(dataset, seed=2)
    guide = xr.concat([one, two], "band").assign_coords(band=[1, 2]).rio.write_crs(32633)
    fine, verdict = sharpen_dataarray(coarse, guide, **NOW)
    expected = upscale_array(coarse.to_numpy(), 2, chosen_model(verdict), guide=np.stack([one, two]))
    assert np.array_equal(fine, expected)
    assert fine.rio.transform().a == 15


def test_cells_without_coordinates_are_placed_by_their_number():
    """Where neither says where it lies."""
    coarse = xr.DataArray(terrain((40, 44)), dims=("y", "x"))
    guide = xr.DataArray(terrain((80, 88), seed=4), dims=("y", "x"))
    expected = upscale_array(coarse.to_numpy(), 2, guide=guide.to_numpy())
    assert np.array_equal(coarse.fsrcnn.sharpen(guide, **NOW), expected)
    named = coarse.rename(y="a", x="b")
    assert np.array_equal(named.fsrcnn.sharpen(guide.rename(y="a", x="b"), y="a", x="b", **NOW), expected)


# -------------------------------------------------------------------------------------------------------- times


def test_a_guide_of_the_same_times_guides_each_by_its_own():
    """In whatever order they stand, beside a map that holds for all."""
    dataset, guide = related(times=3)
    other = guide_for(dataset, seed=9)
    times = dataset["time"].to_numpy()
    moving = xr.concat([other, 2 * guide, guide - other], "time").assign_coords(time=times)
    both = xr.Dataset({"elevation": guide, "moving": moving.isel(time=[2, 0, 1])})
    fine, verdicts = sharpen_dataset(dataset, both, **NOW)
    model = chosen_model(verdicts["tas"])
    for number in range(3):
        beside = np.stack([guide.to_numpy(), moving[number].to_numpy()])
        expected = upscale_array(dataset["tas"][number].to_numpy(), 2, model, guide=beside)
        assert np.allclose(fine["tas"][number], expected, atol=1e-4)


def test_one_time_of_a_guide_is_a_map_for_all():
    """As orography of a reanalysis is stored."""
    dataset, guide = related()
    single = guide.expand_dims(time=[99.0])
    assert dataset.fsrcnn.sharpen(single, **NOW)["tas"].equals(dataset.fsrcnn.sharpen(guide, **NOW)["tas"])


def test_times_beside_a_field_without_them_are_bands():
    """As all other dimensions are."""
    dataset, guide = related()
    two = xr.concat([guide, guide_for(dataset, seed=8)], "time")
    still = dataset.isel(time=0, drop=True)
    fine, verdicts = sharpen_dataset(still, two, **NOW)
    expected = upscale_array(still["tas"].to_numpy(), 2, chosen_model(verdicts["tas"]), guide=two.to_numpy())
    assert np.array_equal(fine["tas"], expected)


# --------------------------------------------------------------------------------------------------------- lazy


@pytest.mark.parametrize("chunks", [{"time": 1, "lat": 25, "lon": 30}, {"time": 2, "lat": -1, "lon": 41}])
@pytest.mark.parametrize("timed", [False, True])
def test_chunks_stay_lazy_and_give_the_same(chunks, timed):
    """Whatever the chunks and the order of dimensions; graphs can travel."""
    dataset, guide = related(times=3, rows=60, columns=90)
    if timed:
        maps = [guide, guide_for(dataset, seed=7), guide_for(dataset, seed=8)]
        guide = xr.concat(maps, "time").assign_coords(time=dataset["time"].to_numpy())
    expected = dataset.fsrcnn.sharpen(guide, **NOW)["tas"]
    lazy = dataset.chunk(chunks).transpose("lon", "time", "lat", ...).fsrcnn.sharpen(guide, **NOW)["tas"]
    assert dask.is_dask_collection(lazy.data)
    assert np.allclose(lazy.transpose(*expected.dims), expected, atol=1e-4)
    assert lazy.attrs == expected.attrs
    pickle.loads(pickle.dumps(dict(lazy.data.dask)))


@pytest.mark.parametrize("repeat", [0, 2])
def test_chunks_around_the_globe(repeat):
    """The first follows the last, of the guide as well; last columns may repeat the first."""
    dataset = globe(repeat=repeat)
    guide = guide_for(dataset)
    guide[:, 128:] = guide[:, : 2 * repeat].to_numpy()
    dataset["z"] = dataset["z"].copy(data=block_mean(guide.to_numpy(), 2))
    expected = dataset.fsrcnn.sharpen(guide, **NOW)["z"]
    lazy = dataset.chunk(lat=16, lon=32).fsrcnn.sharpen(guide, **NOW)["z"]
    assert len(lazy.chunks[1]) > 1
    assert np.allclose(lazy, expected, atol=1e-4)


def test_another_lesson_is_another_array():
    """Names of lazy arrays tell guides and what was learned apart."""
    dataset, guide = related()
    lazy = dataset.chunk(lat=20)
    names = [lazy.fsrcnn.sharpen(each, **NOW)["tas"].data.name for each in (guide, guide + 1, guide)]
    assert names[0] == names[2] != names[1]


# ------------------------------------------------------------------------------------------------------ refused


def refused() -> dict[str, tuple[type[Exception], str, object]]:
    """Wrong guides of `related`, and what is said."""
    _, guide = related()
    times = xr.concat([guide, guide, guide], "time").assign_coords(time=[0.0, 1.0, 3.0])
    return {
        "an array": (UsageError, "guide must be a DataArray or a Dataset, got ndarray", guide.to_numpy()),
        "no grid": (InputError, "the guide: no variable with two horizontal", xr.DataArray(np.zeros(3), dims="a")),
        "no numbers": (InputError, "the guide has no field of numbers", guide.astype(bool)),
        "no coordinates": (InputError, "bring it onto that grid first", guide.drop_vars(["lat", "lon"])),
        "elsewhere": (InputError, "covers nothing of the dataset", guide.assign_coords(lat=guide["lat"] - 60)),
        "coarser": (InputError, r"1 rows and 1 columns .*factor=", guide[::2, ::2]),
        "as coarse": (InputError, "elevation is no finer than the dataset", guide.coarsen(lat=2, lon=2).mean()),
        "uneven": (InputError, r"2 rows and 0.667 columns .*factor=", guide[:, ::3]),
        "no whole factor": (
            InputError,
            "2.5 rows .*factor=",
            guide.interp(
                lat=guide["lat"][0].item() - 0.2 * np.arange(80), lon=guide["lon"][0].item() + 0.2 * np.arange(96)
            ),
        ),
        "other times": (InputError, "has not all times of tas: give it the same times, or one map", times),
        "metres": (
            InputError,
            "the guide states no CRS",
            guide.rename(lat="y", lon="x").assign_coords(y=np.arange(80.0), x=np.arange(96.0)),
        ),
    }


@pytest.mark.parametrize("case", refused())
def test_guides_that_do_not_fit_are_refused(case):
    """In one line, before anything is learned."""
    kind, words, guide = refused()[case]
    dataset, _ = related()
    with pytest.raises(kind, match=words) as caught:
        sharpen_dataset(dataset, guide, 2 if case in ("metres", "as coarse") else None)
    assert isinstance(caught.value, GeofsrcnnError)
    assert "\n" not in str(caught.value)


def test_a_guide_coarser_than_the_result_is_told():
    """It helps less than the table says."""
    dataset, guide = related()
    with pytest.warns(GeofsrcnnWarning, match="W-GUIDE.*2 times as large"):
        sharpen_dataset(dataset, guide, 4, **NOW)


def test_wrong_arguments_are_refused():
    """Types, times to learn, models that follow no guide."""
    dataset, guide = related()
    with pytest.raises(UsageError, match="sharpen_dataarray takes a DataArray"):
        sharpen_dataset(dataset["tas"], guide)
    with pytest.raises(UsageError, match="sharpen_dataset takes a Dataset"):
        sharpen_dataarray(dataset, guide)
    with pytest.raises(UsageError, match="minutes must be a number from 0"):
        sharpen_dataset(dataset, guide, minutes=-1)
    with pytest.raises(ModelError, match="cannot follow a guide"):
        sharpen_dataset(dataset, guide, model="nearest")
    with pytest.raises(UsageError, match="overshoot"):
        sharpen_dataset(dataset, guide, overshoot=0.5)
    with pytest.raises(UsageError, match="no variable nope"):
        sharpen_dataset(dataset, guide, variables=["nope"])


def test_a_guide_that_lies_off_is_told():
    """By half a coarse cell."""
    dataset, guide = related(rows=80, columns=80)
    fine = terrain((162, 162), seed=5, high=2000.0)
    values = 290 - 0.0065 * block_mean(fine[1:161, 1:161], 2)
    dataset["tas"] = dataset["tas"].copy(data=np.stack([values, values]).astype("float32"))
    with pytest.warns(GeofsrcnnWarning, match=r"W-SHIFT.*that of tas the other way.*\(its coordinates\)"):
        sharpen_dataset(dataset, guide.copy(data=fine[:160, :160]), **NOW)
