"""What becomes of values by what they are: in datasets, chunks, files and bands of rasters."""

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, UsageError
from tests.support import processes
from tests.support.grids import regular
from tests.support.rasters import read, terrain, write

DIMS = ("time", "lat", "lon")
RAIN = {"units": "m", "long_name": "Total precipitation", "standard_name": "unknown", "GRIB_shortName": "tp"}
RAIN_LIKE = np.maximum(terrain((2, 24, 30), low=-1, high=1), 0).astype("float32")


def dataset_of(values: np.ndarray, name: str = "v", **attrs: object) -> xr.Dataset:
    """A dataset with one field."""
    times = values.shape[0] if values.ndim == 3 else 2
    dataset = regular(times=times)[["tas"]].rename(tas=name)
    dataset[name] = (DIMS[-values.ndim :], values, attrs)
    return dataset


def fine_of(values: np.ndarray, name: str = "v", options: dict | None = None, **attrs: object) -> np.ndarray:
    """The field, 3 times finer."""
    return upscale_dataset(dataset_of(values, name, **attrs), 3, "small", **(options or {}))[name].to_numpy()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), wet=st.floats(-1, 0.9), scale=st.sampled_from([1e-9, 1.0, 1e6]))
def test_what_cannot_be_negative_is_not(seed, wet, scale):
    """No coarse value of 0 and above gives a fine one below, and means stay."""
    rain = np.maximum(terrain((2, 24, 30), seed=seed, low=wet - 1, high=wet + 0.1), 0) * scale
    fine = fine_of(rain, "tp", **RAIN)
    assert fine.min() >= 0
    np.testing.assert_allclose(fine.reshape(2, 24, 3, 30, 3).mean((2, 4)), rain, atol=1e-5 * scale)


@pytest.mark.parametrize("way", ["chunks", "file"])
def test_rain_as_centres_write_it(tmp_path, way):
    """ERA5's total precipitation, whose standard name is unknown, by every way."""
    dataset = dataset_of(RAIN_LIKE, "tp", **RAIN)
    if way == "chunks":
        fine = upscale_dataset(dataset.chunk(lat=12), 3, "small")["tp"].to_numpy()
    else:
        dataset.to_netcdf(tmp_path / "in.nc")
        upscale_file(tmp_path / "in.nc", tmp_path / "out.nc", 3, "small")
        fine = xr.open_dataset(tmp_path / "out.nc")["tp"].to_numpy()
    assert fine.min() == 0
    np.testing.assert_allclose(fine, fine_of(RAIN_LIKE, "tp", **RAIN), atol=1e-6)


@pytest.mark.parametrize(
    ("values", "attrs", "high"),
    [
        (np.clip(terrain((24, 30), low=-1, high=2), 0, 1), {"units": "(0 - 1)", "long_name": "Total cloud cover"}, 1),
        (np.clip(terrain((24, 30), low=-100, high=200), 0, 100), {"units": "%", "long_name": "cloud cover"}, 100),
        (np.clip(terrain((24, 30), low=-90, high=180), 0, 87), {"description": "VEGETATION FRACTION"}, 100),
        (np.clip(terrain((24, 30), low=-1, high=2), 0, 1), {"description": "VEGETATION FRACTION"}, 1),
    ],
)
def test_fractions_stay_within(values, attrs, high):
    """In whatever words units say it, and where they do not by the values."""
    fine = fine_of(values, "VEGFRA", **attrs)
    assert fine.min() >= 0
    assert fine.max() <= high
    free = fine_of(values, options={"kinds": {"v": "field"}}, **attrs)
    assert free.min() < 0
    assert free.max() > values.max()


@pytest.mark.parametrize("start", [0, -180])
@pytest.mark.parametrize("chunks", [None, {"lat": 8}])
def test_directions_keep_their_convention(start, chunks):
    """From 0 to 360 or from -180 to 180, as the coarse ones."""
    steady = (340 + 2 * np.arange(30) - start) % 360.0 * np.ones((24, 1)) + start
    dataset = dataset_of(steady, "wd", standard_name="wind_from_direction", units="degree")
    fine = upscale_dataset(dataset if chunks is None else dataset.chunk(chunks), 3, "small")["wd"].to_numpy()
    true = 340 + 2 * ((np.arange(90) - 1) / 3)
    assert np.abs((fine - true + 180) % 360 - 180)[:, 3:-3].max() < 0.5
    assert start <= fine.min() <= fine.max() < start + 360


@pytest.mark.parametrize(
    "methods", ["area: sum", "lat: lon: sum", "lon: lat: sum", "area: time: sum", "row: column: sum"]
)
def test_totals_however_they_are_stated(methods):
    """CF 7.3: sums over area, in any order, beside time; a sum over time alone is none."""
    people = terrain((2, 24, 30), low=50, high=100)
    fine = fine_of(people, cell_methods=methods)
    np.testing.assert_allclose(fine.reshape(2, 24, 3, 30, 3).sum((2, 4)), people, rtol=1e-5)
    other = fine_of(people, cell_methods="time: sum")
    np.testing.assert_allclose(other.reshape(2, 24, 3, 30, 3).mean((2, 4)), people, rtol=1e-5)


def test_totals_by_their_units_are_said():
    """Persons in cells are divided, and said, for nothing but words and units tell it."""
    people = terrain((2, 24, 30), low=50, high=100)
    with pytest.warns(GeofsrcnnWarning, match=r"W-TOTAL: .* unless kinds=\{'NAME': 'field'\}: pop \(.*persons"):
        fine = fine_of(people, "pop", units="persons", long_name="population")
    np.testing.assert_allclose(fine.reshape(2, 24, 3, 30, 3).sum((2, 4)), people, rtol=1e-5)


def test_categories_say_why():
    """Classes that only a name tells are repeated, with the evidence."""
    classes = np.random.default_rng(0).integers(1, 9, (24, 30)).astype("float32")
    with pytest.warns(GeofsrcnnWarning, match=r"W-REPEATED: .*LU_INDEX \(units 'category'\)"):
        fine = fine_of(classes, "LU_INDEX", units="category", description="Dominant category")
    assert np.array_equal(fine, classes.repeat(3, 0).repeat(3, 1))


def test_the_user_overrules_the_header(tmp_path):
    """`kinds` and `--as`: a field that is called rain, a direction that nothing tells; wrong words are refused."""
    anomaly = terrain((24, 30), low=-1, high=1)
    with pytest.warns(GeofsrcnnWarning, match=r"W-RANGE: .*taken for never-negative .*kinds=\{'pr': 'field'\}"):
        fine_of(anomaly, "pr", units="mm")
    assert fine_of(anomaly, "pr", options={"kinds": {"pr": "field"}}, units="mm").min() < -0.5
    turning = (340 + 2 * np.arange(30)) % 360.0 * np.ones((24, 1))
    dataset_of(turning, "a", units="1").to_netcdf(tmp_path / "in.nc")
    run = processes.run("upscale", tmp_path / "in.nc", tmp_path / "out.nc", "-m", "small", "--as", "a=direction")
    assert run.code == 0
    fine = xr.open_dataset(tmp_path / "out.nc")["a"].to_numpy()
    assert np.abs((fine[:, 3:-3] - 340 - 2 * ((np.arange(90) - 1) / 3)[3:-3] + 180) % 360 - 180).max() < 0.5
    for kinds, words in (
        ({"b": "field"}, "kinds= names no variable: b"),
        ({"a": "colour"}, "colour is no kind of variable"),
    ):
        with pytest.raises(UsageError, match=words):
            fine_of(turning, "a", options={"kinds": kinds})


def test_fields_that_turn_negative_are_said(tmp_path):
    """Where nothing says what they are: the share of the fine cells, in datasets, files and rasters."""
    field = np.maximum(terrain((24, 30), low=-1, high=1), 0).astype("float32")
    with pytest.warns(GeofsrcnnWarning, match="W-NEGATIVE") as caught:
        fine = fine_of(field)
    share = 100 * (fine < -1e-6).mean()
    said = f"v: no coarse cell is below 0, {share:.2g} % of the fine ones are (smallest {fine.min():.3g})"
    assert said in str(caught[0].message)
    write(tmp_path / "in.tif", field[None])
    with pytest.warns(
        GeofsrcnnWarning, match=rf"W-NEGATIVE: in.tif, band 1: .*, {share:.2g} % .*kinds=\{{'1': 'never-negative'\}}"
    ):
        upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "small")
    upscale_file(tmp_path / "in.tif", tmp_path / "kept.tif", 3, "small", kinds={"1": "never-negative"})
    assert read(tmp_path / "kept.tif").min() == 0


@pytest.mark.parametrize(
    ("values", "attrs"),
    [
        (np.maximum(terrain((24, 30), low=-1, high=1), 0), {"units": "degC", "standard_name": "air_temperature"}),
        (terrain((24, 30), low=5, high=9), {}),
        (terrain((24, 30), low=-5, high=9), {}),
        (np.round(np.maximum(terrain((24, 30), low=-90, high=90), 0)).astype("uint8"), {}),
    ],
)
def test_nothing_is_said_without_need(values, attrs):
    """Of what is known, never comes near 0, is negative anyway, or cannot be stored negative."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine_of(values, **attrs)


def test_bands_of_rasters_are_told_alike(tmp_path):
    """By description and unit: rain, a direction and a class in one file; each comes out as what it is."""
    rain = RAIN_LIKE[0] * 9
    turning = ((340 + 2 * np.arange(30)) % 360.0 * np.ones((24, 1))).astype("float32")
    classes = np.random.default_rng(0).integers(0, 11, (24, 30)).astype("float32")
    path = write(tmp_path / "in.tif", np.stack([rain, turning, classes]))
    import rasterio

    with rasterio.open(path, "r+") as d:
        d.descriptions = ("precipitation", "wind direction", "land cover class")
        d.units = ("mm", "degree", None)
    with pytest.warns(GeofsrcnnWarning, match=r"W-REPEATED: bands of in.tif not interpolated .*: 3 \("):
        upscale_file(path, tmp_path / "out.tif", 3, "small")
    fine = read(tmp_path / "out.tif")
    assert fine[0].min() == 0
    assert np.abs((fine[1] - 340 - 2 * ((np.arange(90) - 1) / 3) + 180) % 360 - 180)[:, 3:-3].max() < 0.5
    assert np.array_equal(fine[2], classes.repeat(3, 0).repeat(3, 1))
    run = processes.run("info", path)
    assert "never-negative" in run.out
    with pytest.raises(UsageError, match=r"no band 7 for kinds= in in.tif: it has 1, 2, 3"):
        upscale_file(path, tmp_path / "no.tif", 3, "small", kinds={"7": "field"})


def test_a_raster_becomes_a_dataset_by_what_its_band_is(tmp_path):
    """Rain into NetCDF as into GeoTIFF, a kind by number too; bands of several kinds do not fit one variable."""
    import rasterio

    path = write(tmp_path / "in.tif", np.stack([RAIN_LIKE[0], RAIN_LIKE[1]]))
    with rasterio.open(path, "r+") as d:
        d.descriptions, d.units = ("rain", "rain"), ("mm", "mm")
    upscale_file(path, tmp_path / "out.nc", 3, "small")
    assert xr.open_dataset(tmp_path / "out.nc")["band_data"].min() == 0
    upscale_file(path, tmp_path / "free.nc", 3, "small", kinds={"1": "field", "2": "field"})
    assert xr.open_dataset(tmp_path / "free.nc")["band_data"].min() < 0
    with pytest.raises(UsageError, match=r"no band 3 for kinds= in in.tif: it has 1, 2"):
        upscale_file(path, tmp_path / "no.nc", 3, "small", kinds={"3": "field"})
    upscale_file(path, tmp_path / "both.nc", 3, "small", kinds={"1": "field"})
    both = xr.open_dataset(tmp_path / "both.nc")["band_data"]
    assert both[0].min() < 0
    assert both[1].min() == 0
    with pytest.raises(InputError, match=r"some bands of in.tif are totals \(1 total, 2 never-negative\)"):
        upscale_file(path, tmp_path / "no.nc", 3, "small", kinds={"1": "total"})


def test_what_the_user_calls_a_category_is_repeated_without_a_word(tmp_path):
    """In a dataset as in a raster; what cannot be anything else is said whatever it is called."""
    cover = np.random.default_rng(0).integers(0, 9, (24, 30)).astype("float32")
    fine = fine_of(cover, "cover", options={"kinds": {"cover": "category"}}, units="1")
    assert np.array_equal(fine, cover.repeat(3, 0).repeat(3, 1))
    write(tmp_path / "in.tif", cover[None])
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", 3, "small", kinds={"1": "category"})
    assert np.array_equal(read(tmp_path / "out.tif")[0], fine)
    dataset = dataset_of(cover, "cover").assign(row=("lat", np.arange(24.0)))
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*: row$"):
        upscale_dataset(dataset, 3, "small", kinds={"row": "field"})


def test_marks_among_directions_stay_and_are_said(tmp_path):
    """-1 of flat cells among aspects from 0 to 360: the convention stays, the marks too, nothing mixes with them."""
    import rasterio

    aspect = ((340 + 2 * np.arange(30)) % 360.0 * np.ones((24, 1))).astype("float32")
    flat = aspect.copy()
    flat[8:12, 10:15] = -1
    path = write(tmp_path / "aspect.tif", flat[None])
    with pytest.warns(GeofsrcnnWarning, match=r"W-RANGE: aspect.tif holds values outside .* 0 to 360, such as -1"):
        upscale_file(path, tmp_path / "out.tif", 3, "small")
    fine = read(tmp_path / "out.tif")[0]
    marked = np.kron(flat == -1, np.ones((3, 3), bool))
    assert np.array_equal(fine == -1, marked)
    true = (340 + 2 * ((np.arange(90) - 1) / 3)) * np.ones((72, 1))
    off = np.abs((fine - true + 180) % 360 - 180)
    assert off[:, 3:-3][~marked[:, 3:-3]].max() < 1
    assert fine[~marked].min() >= 0
    upscale_file(path, tmp_path / "asked.tif", 3, "small", value_range=(-180, 180), nodata=-1)
    asked = read(tmp_path / "asked.tif")[0]
    assert -180 <= asked[~marked].min() < -5
    with pytest.raises(UsageError, match=r"value_range= is 0 to 100: directions keep to one turn, such as 0 360"):
        upscale_file(path, tmp_path / "no.tif", 3, "small", value_range=(0, 100))
    with rasterio.open(path) as d:
        assert d.descriptions == (None,)


def test_units_that_differ_between_bands_are_not_made_one(tmp_path):
    """NetCDF has one unit a variable: none is better than the first band's, and it is said."""
    import rasterio

    path = write(tmp_path / "in.tif", terrain((2, 24, 30), low=5, high=9))
    with rasterio.open(path, "r+") as d:
        d.units = ("m/s", "K")
    with pytest.warns(GeofsrcnnWarning, match=r"W-LEFT-OUT: .*units that differ between bands"):
        upscale_file(path, tmp_path / "out.nc", 3, "small")
    assert "units" not in xr.open_dataset(tmp_path / "out.nc")["band_data"].attrs


def test_a_fraction_is_judged_by_all_seasons(tmp_path):
    """Snow cover without units, of 0 to 1 % in summer and 0 to 100 in winter: within 100, in memory as in a file."""
    cover = np.clip(terrain((9, 24, 30), low=-100, high=200), 0, 100)
    cover[:4] /= 150
    dataset = dataset_of(cover, "snc", long_name="snow cover fraction")
    dataset.to_netcdf(tmp_path / "in.nc")
    upscale_file(tmp_path / "in.nc", tmp_path / "out.nc", 3, "small")
    fine = upscale_dataset(dataset, 3, "small")["snc"].to_numpy()
    right = upscale_dataset(dataset, 3, "small", value_range=(0, 100))["snc"].to_numpy()
    np.testing.assert_allclose(fine, right, atol=1e-4)
    np.testing.assert_allclose(xr.open_dataset(tmp_path / "out.nc")["snc"], right, atol=1e-4)
