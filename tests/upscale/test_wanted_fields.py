"""Datasets onto a grid that is wanted: in memory, of dask chunks, NetCDF and Zarr, with the coordinates of that."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pyproj
import pytest
import xarray as xr
from rasterio.warp import transform

from geofsrcnn import upscale_dataset, upscale_file, upscale_files
from geofsrcnn.errors import GeofsrcnnWarning, InputError, ModelError, UsageError
from geofsrcnn.upscale.wanted_fields import WantedAxes
from tests.support.rasters import opened, terrain, write

MODEL = "small"
LAT, LON = 60 - 2.5 * np.arange(30), 2.5 * np.arange(144)


def globe(fields=None, *, lat=LAT, lon=LON):
    """Temperature of two times, and a mask, around the globe."""
    field = terrain((2, len(lat), len(lon)), low=260, high=300)
    found = {"tas": (("time", "lat", "lon"), field, {"units": "K", "standard_name": "air_temperature"})}
    return xr.Dataset(
        {**found, **(fields or {})},
        {
            "time": ("time", np.array(["2000-01-01", "2000-01-02"], "M8[ns]")),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )


def places(lat, lon):
    """A dataset of which only the grid counts."""
    field = ("latitude", "longitude"), np.zeros((len(lat), len(lon)))
    coordinates = {
        "latitude": ("latitude", lat, {"units": "degrees_north"}),
        "longitude": ("longitude", lon, {"units": "degrees_east"}),
    }
    return xr.Dataset({"z": field}, coordinates)


WANTED = places(40.3 - 1.1 * np.arange(40), -40.2 + 0.9 * np.arange(80))
"""Across the meridian where the datasets here begin."""


def test_coordinates_are_those_of_the_other_dataset():
    """To the last bit, so that both can be subtracted; units, names and history stay those of the dataset."""
    fine = globe().fsrcnn.upscale(like=WANTED, model=MODEL)
    assert np.array_equal(fine.lat, WANTED.latitude)
    assert np.array_equal(fine.lon, WANTED.longitude)
    assert fine.lat.attrs == globe().lat.attrs
    assert fine.tas.attrs == globe().tas.attrs
    assert fine.tas.shape == (2, 40, 80)
    assert np.isfinite(fine.tas).all()
    assert "upscaled 3 times" in fine.history
    assert fine.history.endswith("averaged by area onto the cells of another dataset")
    assert globe().fsrcnn.upscale(like=WANTED.z, model=MODEL).identical(fine)
    assert globe().tas.fsrcnn.upscale(like=WANTED.z, model=MODEL).equals(fine.tas)
    assert globe().tas.isel(time=0).fsrcnn.upscale(model=MODEL, resolution=2).dims == ("lat", "lon")


def test_the_finer_grid_itself_gives_the_finer_dataset():
    """Every bit is that of upscaling by the factor."""
    fine = globe().fsrcnn.upscale(3, MODEL)
    assert np.array_equal(globe().fsrcnn.upscale(like=fine, model=MODEL).tas, fine.tas)


def test_chunks_are_the_whole():
    """Lazily, with expected errors and across the meridian, as in memory; chunks follow those of the dataset."""
    whole = globe().fsrcnn.upscale(like=WANTED, model="default", error=True)
    lazy = globe().chunk({"time": 1, "lat": 10, "lon": 36}).fsrcnn.upscale(like=WANTED, model="default", error=True)
    assert lazy.tas.chunks is not None
    assert len(lazy.tas.chunks[1]) > 1
    for name in ("tas", "tas_error"):
        assert np.abs(lazy[name] - whole[name]).max() <= 1e-5 * 40
        assert lazy[name].dtype == whole[name].dtype


@pytest.mark.parametrize("name", ["fine.nc", "fine.zarr"])
@pytest.mark.parametrize("source", ["coarse.nc", "coarse.zarr"])
def test_files_give_the_numbers_of_memory(tmp_path, source, name):
    """Part by part, with classes by their larger part, in tiles of any size."""
    classes = np.random.default_rng(0).choice(np.array([1, 4, 7], "int16"), (30, 144)).repeat(1, 0)
    attrs = {"flag_values": np.array([1, 4, 7], "int16"), "flag_meanings": "sea land ice"}
    coarse = globe({"kind": (("lat", "lon"), classes, attrs)})
    path = tmp_path / source
    coarse.to_netcdf(path) if path.suffix == ".nc" else coarse.to_zarr(path, zarr_format=2)
    WANTED.to_netcdf(tmp_path / "like.nc")
    with pytest.warns(GeofsrcnnWarning, match="W-CLASSES|W-REPEAT"):
        summary = upscale_file(path, tmp_path / name, None, MODEL, like=tmp_path / "like.nc", tile_size=13)
    with pytest.warns(GeofsrcnnWarning, match="W-CLASSES|W-REPEAT"):
        expected = coarse.fsrcnn.upscale(like=WANTED, model=MODEL)
    opened = xr.open_dataset if name.endswith("nc") else xr.open_zarr
    with opened(tmp_path / name) as found:
        assert np.array_equal(found.lat, WANTED.latitude)
        assert np.abs(found.tas - expected.tas).max() <= 1e-5 * 40
        assert np.array_equal(found.kind, expected.kind)
        assert set(np.unique(found.kind)) <= {1, 4, 7}
        assert found.history.endswith("averaged by area onto the cells of like.nc")
    assert (summary.grid, summary.fine) == ("averaged by area onto the cells of like.nc", (40, 80))


def test_a_resolution_begins_where_the_dataset_does():
    """Cell by cell from its edge on, around the globe; means are kept."""
    fine = globe().fsrcnn.upscale(resolution=1.0, model=MODEL)
    assert fine.tas.shape == (2, 75, 360)
    assert fine.lat.values[[0, -1]] == pytest.approx([60.75, -13.25])
    assert fine.lon.values[[0, -1]] == pytest.approx([-0.75, 358.25])
    means = (
        fine.tas.values.reshape(2, 15, 5, 72, 5).mean((2, 4)),
        globe().tas.values.reshape(2, 15, 2, 72, 2).mean((2, 4)),
    )
    assert np.abs(means[0] - means[1]).max() < 1e-6 * 40


def test_totals_and_areas_are_kept():
    """What lies in the cells of the wanted grid together is what lay in the coarse ones, of cell areas too."""
    area = ("lat", "lon"), terrain((30, 144), low=10, high=20), {"standard_name": "cell_area", "units": "m2"}
    people = ("lat", "lon"), terrain((30, 144), low=0, high=50), {"units": "1"}
    coarse = globe({"areacella": area, "people": people})
    wide = places(70 - 1.3 * np.arange(80), 1.7 * np.arange(100))
    regional = coarse.isel(lon=slice(10, 60))
    fine = regional.fsrcnn.upscale(like=wide, model=MODEL, kinds={"people": "total"})
    assert np.isnan(fine.people[0]).all()
    for name in ("people", "areacella"):
        assert float(fine[name].sum()) == pytest.approx(float(regional[name].sum()), rel=1e-6)


def test_cells_may_be_uneven():
    """Rows of a Gaussian grid: a field that grows with latitude has its own value in the middle of wanted cells."""
    lat = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(48)[0]))[::-1]
    coarse = globe(lat=lat).isel(time=0, drop=True)
    coarse["tas"] = coarse.tas * 0 + (280 + 0.5 * coarse.lat)
    fine = coarse.fsrcnn.upscale(like=WANTED, model="lanczos-bp")
    assert np.abs(fine.tas - (280 + 0.5 * fine.lat)).max() < 0.05  # of 0.55 from cell to cell


def test_bounds_follow():
    """Boundaries of cells are those of the wanted ones; those that say where other cells are, are left out."""
    coarse = globe().isel(time=0, drop=True)
    edges = np.stack([LAT + 1.25, LAT - 1.25], 1)
    coarse["lat"].attrs["bounds"] = "lat_bnds"
    coarse["lat_bnds"] = (("lat", "bnds"), edges)
    fine = coarse.fsrcnn.upscale(resolution=2, model=MODEL)
    assert fine.lat_bnds.shape == (fine.sizes["lat"], 2)
    assert np.allclose(fine.lat_bnds.mean("bnds"), fine.lat)
    assert float(fine.lat_bnds[0, 0]) == 61.25


def test_a_raster_into_netcdf_and_like_a_raster(tmp_path):
    """By way of a dataset, onto the cells of a GeoTIFF."""
    write(tmp_path / "in.tif", terrain((20, 20), high=9).astype("float32"))
    write(tmp_path / "like.tif", np.zeros((30, 30), "uint8"), transform=[20, 0, 500_000, 0, -20, 6_000_000])
    summary = upscale_file(tmp_path / "in.tif", tmp_path / "out.nc", None, MODEL, like=tmp_path / "like.tif")
    upscale_file(tmp_path / "in.tif", tmp_path / "out.tif", None, MODEL, like=tmp_path / "like.tif")
    assert summary.grid == "averaged by area onto the cells of like.tif"
    with xr.open_dataset(tmp_path / "out.nc") as found:
        assert found.band_data.shape == (30, 30)
        assert found.x.values[[0, -1]].tolist() == [500_010, 500_590]


def temperature(longitude, latitude):
    """A smooth field on the globe."""
    east, north = np.radians(longitude), np.radians(latitude)
    return 280 + 5 * np.cos(north) * np.cos(3 * east) + 10 * np.sin(2 * north)


@pytest.mark.parametrize(
    ("crs", "corner", "shape", "method"),
    [
        ("EPSG:32631", [40e3, 0, 2e5, 0, -40e3, 6e6], (30, 24), "warped (GDAL, average)"),
        ("EPSG:4326", [0.4, 0, -20.3, 0, -0.4, 60.1], (50, 80), "averaged by area"),
        ("EPSG:3857", [5e4, 0, -1e6, 0, -5e4, 6e6], (30, 40), "warped (GDAL, average)"),
    ],
)
def test_reanalysis_onto_the_cells_of_a_geotiff(tmp_path, crs, corner, shape, method):
    """Each time a band, across the meridian where the dataset begins, in whatever CRS; rows at the poles count too."""
    lat, lon = np.linspace(90, -90, 121), np.arange(0, 360, 1.5)
    coarse = globe(lat=lat, lon=lon)
    coarse["tas"] = coarse.tas.copy(data=temperature(*np.meshgrid(lon, lat)) + np.arange(2)[:, None, None])
    coarse.to_netcdf(tmp_path / "in.nc")
    write(tmp_path / "like.tif", np.zeros(shape, "uint8"), crs=crs, transform=corner)
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM|W-POLES"):
        summary = upscale_file(tmp_path / "in.nc", tmp_path / "out.tif", None, "lanczos-bp", like=tmp_path / "like.tif")
    assert summary.grid == f"{method} onto the cells of like.tif"
    with opened(tmp_path / "out.tif") as found, opened(tmp_path / "like.tif") as wanted:
        assert (found.transform, found.shape, found.crs) == (wanted.transform, wanted.shape, wanted.crs)
        first, second = found.read()
        rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
        t = found.transform
        places = transform(crs, "EPSG:4326", (t.a * columns + t.c).ravel(), (t.e * rows + t.f).ravel())
    assert np.abs(first - temperature(*map(np.array, places)).reshape(shape)).max() < 0.02
    assert np.allclose(second - first, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"factor": 3, "like": WANTED}, UsageError, "exclude each other"),
        ({"resolution": 1, "like": WANTED}, UsageError, "leave out resolution="),
        ({"resolution": 5}, UsageError, "coarser than those of the dataset, 2 times"),
        ({"resolution": 0.1}, UsageError, "25 times finer"),
        ({"resolution": 1e-9}, UsageError, "times finer than those of the dataset: ask for cells at most 8"),
        ({"resolution": 1e-320}, UsageError, "inf times finer"),
        ({"resolution": "12"}, UsageError, "resolution= must be the width of a cell"),
        ({"resolution": 0.5, "model": "small"}, ModelError, "at most 4 times finer, the wanted ones need 5"),
        ({"like": "like.nc"}, UsageError, "must be a Dataset or a DataArray, got str"),
        ({"like": xr.Dataset()}, InputError, "like= has no grid"),
        (
            {"like": WANTED.isel(latitude=slice(0, 3)).assign_coords(latitude=[-80.0, -81, -82])},
            InputError,
            "covers nothing",
        ),
        ({"like": WANTED.drop_vars(["latitude", "longitude"])}, InputError, "like= has a grid that is index"),
        (
            {"like": xr.Dataset({"a": (("y", "x"), np.zeros((9, 9)))}, {"y": np.arange(9.0), "x": np.arange(9.0)})},
            InputError,
            "reproject one of them first|the wanted cells",
        ),
    ],
)
def test_wrong_requests_are_refused_in_a_line(options, error, words):
    """Before anything is computed."""
    with pytest.raises(error, match=words) as caught:
        upscale_dataset(globe(), **{"model": MODEL, **options})
    assert "\n" not in str(caught.value)


def test_others_say_that_they_take_a_factor(tmp_path):
    """Trees, guides and batches, instead of leaving the request out."""
    with pytest.raises(UsageError, match="upscale the nodes one by one"):
        xr.DataTree(globe()).fsrcnn.upscale(resolution=1)
    with pytest.raises(UsageError, match="a guide says which cells are wanted"):
        globe().fsrcnn.sharpen(globe().fsrcnn.upscale(3, MODEL), resolution=1)
    with pytest.raises(UsageError, match="a batch takes a factor"):
        upscale_files([tmp_path / "in.tif"], tmp_path / "out", resolution=10)


def test_whole_numbers_beyond_the_dataset_need_a_mark():
    """Counts without a _FillValue are refused where the wanted grid goes beyond them; with one it stands there."""
    count = ("lat", "lon"), terrain((30, 144), low=1, high=90).astype("int16"), {"units": "1"}
    coarse = globe({"n": count})[["n"]]
    north = places(75 - 1.1 * np.arange(40), 0.9 * np.arange(80))
    with pytest.raises(InputError, match="n does not cover all of the wanted grid, and has no _FillValue"):
        coarse.fsrcnn.upscale(like=north, model=MODEL)
    coarse.n.attrs["_FillValue"] = np.int16(-1)
    fine = coarse.fsrcnn.upscale(like=north, model=MODEL)
    assert (fine.n[0] == -1).all()
    assert (fine.n[20:] > 0).all()


@pytest.mark.parametrize("chunks", [None, {"lat": 9, "lon": 11}])
def test_both_sides_of_the_date_line_are_found(chunks):
    """A dataset from 160 to 200 degrees onto a map of the globe that is cut at 180: nothing of it is left out."""
    coarse = globe(lat=20.5 - np.arange(40), lon=160.5 + np.arange(40.0)).isel(time=0, drop=True)
    coarse["tas"] = coarse.tas.copy(data=280 + np.cos(np.radians(coarse.lon.values)) + np.zeros((40, 40)))
    fine = coarse.chunk(chunks or {}) if chunks else coarse
    fine = fine.fsrcnn.upscale(like=places(20.25 - 0.5 * np.arange(60), -179.75 + 0.5 * np.arange(720)), model=MODEL)
    there = np.abs(fine.lon.values) > 160
    assert np.isfinite(fine.tas.values[:, there]).all()
    assert np.isnan(fine.tas.values[:, ~there]).all()
    assert np.abs(fine.tas - (280 + np.cos(np.radians(fine.lon))))[:, there].max() < 5e-3


@pytest.mark.parametrize("model", [MODEL, "nearest"])
@pytest.mark.parametrize("uneven", ["wanted", "coarse"])
def test_totals_are_kept_on_uneven_cells(model, uneven):
    """Rows of a Gaussian grid, or of one that grows: what lies in a cell goes by its own area, not by a mean one."""
    growing = -20 + np.cumsum(1 + 0.5 * np.sin(np.arange(90) / 5))
    lat = {"wanted": 60 - 2.5 * np.arange(30), "coarse": growing[::3]}[uneven]
    people = ("lat", "lon"), terrain((30, 144), low=0, high=50), {"units": "1"}
    area = ("lat", "lon"), terrain((30, 144), low=10, high=20), {"standard_name": "cell_area", "units": "m2"}
    coarse = globe({"areacella": area, "people": people}, lat=lat).isel(lon=slice(10, 60))
    rows = {"wanted": growing, "coarse": np.linspace(-22, 80, 110)}[uneven]
    fine = coarse.fsrcnn.upscale(like=places(rows, 1.7 * np.arange(100)), model=model, kinds={"people": "total"})
    for name in ("people", "areacella"):
        assert float(fine[name].sum()) == pytest.approx(float(coarse[name].sum()), rel=1e-6)


def test_gaps_between_cells_are_refused():
    """A missing column whose bounds say so: nothing stands for what lies there."""
    coarse = globe().isel(lon=[*range(10), *range(11, 30)])
    coarse["lon"].attrs["bounds"] = "lon_bnds"
    coarse["lon_bnds"] = (("lon", "bnds"), np.stack([coarse.lon - 1.25, coarse.lon + 1.25], 1))
    with pytest.raises(InputError, match="columns with gaps between their bounds"):
        coarse.fsrcnn.upscale(resolution=1, model=MODEL)
    assert np.isfinite(coarse.drop_vars("lon_bnds").fsrcnn.upscale(resolution=1, model=MODEL).tas).all()


@pytest.mark.parametrize("silent", ["dataset", "like"])
def test_a_crs_that_only_one_states_is_no_match(silent):
    """Metres of a UTM zone and metres of nowhere are not compared, as with rasters."""

    def plane(step, *, stated):
        axes = {
            name: (
                name,
                sign * step * np.arange(20.0),
                {"units": "m", "standard_name": f"projection_{name}_coordinate"},
            )
            for name, sign in (("y", -1), ("x", 1))
        }
        mapping = {"grid_mapping": "crs"} if stated else {}
        found = xr.Dataset({"tas": (("y", "x"), terrain((20, 20)), mapping)}, axes)
        return found.assign(crs=((), 0, pyproj.CRS(32633).to_cf())) if stated else found

    with pytest.raises(InputError, match="states no CRS"):
        plane(30, stated=silent != "dataset").fsrcnn.upscale(like=plane(20, stated=silent != "like"), model=MODEL)
    for stated in (True, False):
        plane(30, stated=stated).fsrcnn.upscale(like=plane(20, stated=stated), model=MODEL)


def test_a_wide_grid_is_compared_by_some_of_its_places():
    """A CRS in other words, and ten thousand million cells: not one of them is made to see that it is the same."""

    def plane(step, count, crs):
        axes = {
            name: (
                name,
                sign * (np.arange(count) + 0.5) * step,
                {"units": "m", "standard_name": f"projection_{name}_coordinate"},
            )
            for name, sign in (("y", -1), ("x", 1))
        }
        field = xr.Variable(("y", "x"), da.zeros((count, count), chunks=20_000), {"grid_mapping": "crs"})
        return xr.Dataset({"tas": field, "crs": ((), 0, pyproj.CRS(crs).to_cf())}, axes)

    fine = plane(20, 100_000, "+proj=utm +zone=33 +datum=WGS84")
    wanted = WantedAxes.of(plane(30, 60_000, "EPSG:32633"), fine, None)
    assert wanted.factor == 2
