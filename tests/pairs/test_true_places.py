"""Where fields are: each CRS is its own, and fields of several meet at true places or not at all."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geofsrcnn.errors import GeofsrcnnWarning, InputError
from geofsrcnn.grids.fine import Domain
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.fields import fields_of
from geofsrcnn.pairs.frames import GLOBE, Frame, transform_axes
from geofsrcnn.pairs.interpolate import average, regrid, share_outside
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.read import read_static_predictors
from geofsrcnn.pairs.spec import PairOptions
from tests.support.pairfiles import SMALL, train_files
from tests.support.rasters import write

pytestmark = pytest.mark.usefixtures("one_thread")

TIMES = 60

POLE = {
    "grid_mapping_name": "rotated_latitude_longitude",
    "grid_north_pole_latitude": 39.25,
    "grid_north_pole_longitude": -162.0,
}
LAMBERT = CRS.from_epsg(3034).to_cf()


def weather(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """A smooth field of the globe at some times ``(time, ...)``, known at each place."""
    phase = np.random.default_rng(0).uniform(0, 6, (TIMES, 3)) if latitude.ndim else np.zeros((1, 3))
    phase = phase.reshape(-1, 3, *[1] * latitude.ndim)
    a, b = np.deg2rad(latitude), np.deg2rad(longitude)
    return 280 + 5 * np.sin(3 * a + phase[:, 0]) + 4 * np.cos(a) * np.sin(2 * b + phase[:, 1]) + np.cos(phase[:, 2])


def stamps() -> np.ndarray:
    """A day after the other."""
    return np.datetime64("2000-01-01", "ns") + np.arange(TIMES).astype("m8[D]")


def globe(step: float = 1.0, east: float = 360) -> xr.Dataset:
    """Coarse fields on latitudes and longitudes from 0 on."""
    lat, lon = np.arange(-90 + step / 2, 90, step), np.arange(0, east, step)
    values = weather(*np.meshgrid(lat, lon, indexing="ij"))
    degrees = {"units": "degrees_north"}, {"units": "degrees_east"}
    return xr.Dataset(
        {"tas": (("time", "lat", "lon"), values, {"units": "K"})},
        {"time": stamps(), "lat": ("lat", lat, degrees[0]), "lon": ("lon", lon, degrees[1])},
    )


def true_places(mapping: dict[str, object], y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Latitudes and longitudes by PROJ."""
    columns, rows = np.meshgrid(x, y)
    move = Transformer.from_crs(CRS.from_cf(mapping), 4326, always_xy=True)
    longitude, latitude = move.transform(columns, rows)
    return latitude, longitude


def regional(mapping: dict[str, object], y: np.ndarray, x: np.ndarray, noise: float = 0.05) -> xr.Dataset:
    """Fine fields on axes of another CRS, which state it and their latitudes and longitudes."""
    latitude, longitude = true_places(mapping, y, x)
    values = weather(latitude, longitude)
    values = values + noise * np.random.default_rng(1).normal(size=values.shape)
    rotated = "rotated" in str(mapping["grid_mapping_name"])
    words = ("grid_latitude", "grid_longitude") if rotated else ("projection_y_coordinate", "projection_x_coordinate")
    units = "degrees" if rotated else "m"
    dims = "time", "ry", "rx"
    return xr.Dataset(
        {"tas": (dims, values, {"units": "K", "grid_mapping": "mapping"}), "mapping": ((), 0, mapping)},
        {
            "time": stamps(),
            "ry": ("ry", y, {"standard_name": words[0], "units": units}),
            "rx": ("rx", x, {"standard_name": words[1], "units": units}),
            "lat": (dims[1:], latitude, {"units": "degrees_north"}),
            "lon": (dims[1:], longitude, {"units": "degrees_east"}),
        },
    )


ROTATED = regional(POLE, -6 + 0.5 * np.arange(16), -6 + 0.5 * np.arange(20))
PROJECTED = regional(LAMBERT, 2.0e6 + 5e4 * np.arange(16), 3.6e6 + 5e4 * np.arange(20))


def without_latitudes(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.copy(deep=True).drop_vars(["lat", "lon"])


def without_mapping(dataset: xr.Dataset) -> xr.Dataset:
    dataset = dataset.copy(deep=True).drop_vars("mapping")
    dataset["tas"].attrs.pop("grid_mapping")
    return dataset


def with_empty_mapping(dataset: xr.Dataset) -> xr.Dataset:
    dataset = dataset.copy(deep=True)
    dataset["mapping"].attrs = {}
    return dataset


def in_kilometres(dataset: xr.Dataset) -> xr.Dataset:
    dataset = dataset.copy(deep=True)
    for name in ("ry", "rx"):
        dataset = dataset.assign_coords({name: (name, dataset[name].to_numpy() / 1000, {**dataset[name].attrs})})
        dataset[name].attrs["units"] = "km"
    return dataset


def train(folder: Path, fine: xr.Dataset, coarse: xr.Dataset) -> dict[str, float]:
    """RMSE by method."""
    fine.to_netcdf(folder / "fine.nc")
    coarse.to_netcdf(folder / "coarse.nc")
    line = {"until": "2000-02-10", "sizes": SMALL, "options": PairOptions(steps=2), "overwrite": True}
    return train_files([folder / "coarse.nc"], [folder / "fine.nc"], 4, folder / "m.safetensors", **line).scores["tas"]


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
@pytest.mark.parametrize(
    ("fine", "change"),
    [
        (ROTATED, without_latitudes),
        (ROTATED, without_mapping),
        (ROTATED, with_empty_mapping),
        (PROJECTED, without_latitudes),
        (PROJECTED, in_kilometres),
    ],
)
def test_coarse_fields_of_the_globe_meet_regional_ones_at_true_places(tmp_path, fine, change):
    """A rotated pole, stated or told by latitudes and longitudes, a projection: interpolation leaves the noise alone.

    So does the result of the model, which says where it lies.
    """
    scores = train(tmp_path, change(fine), globe())
    assert scores["bilinear"] == pytest.approx(0.05, rel=0.1)
    result = downscale_dataset(globe(), tmp_path / "m.safetensors")
    assert float(np.abs(result["tas"].to_numpy() - fine["tas"].to_numpy()).max()) < 0.4
    known = CRS.from_cf(result[result["tas"].attrs["grid_mapping"]].attrs)
    scale = 1000 if result["ry"].attrs["units"] == "km" else 1
    move = Transformer.from_crs(known, 4326, always_xy=True)
    longitude, latitude = move.transform(*np.meshgrid(result["rx"] * scale, result["ry"] * scale))
    assert np.allclose(latitude, fine["lat"], atol=1e-3)
    assert np.allclose(longitude, fine["lon"], atol=1e-3)


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_coarse_fields_of_a_rotated_pole_meet_fine_ones_of_the_globe(tmp_path):
    """The other way round."""
    coarse = regional(POLE, np.arange(-20, 21, 2.0), np.arange(-20, 21, 2.0), noise=0)
    fine = globe(0.5).sel(lat=slice(46, 56), lon=slice(10, 22))
    noise = 0.05 * np.random.default_rng(1).normal(size=fine["tas"].shape)
    scores = train(tmp_path, fine.assign(tas=(fine["tas"] + noise).assign_attrs(units="K")), coarse)
    assert scores["bilinear"] == pytest.approx(0.05, rel=0.15)


def test_grids_of_two_poles_are_not_the_same(tmp_path):
    """Coarse fields on another pole, whose numbers are those of the fine ones, lie elsewhere."""
    other = regional({**POLE, "grid_north_pole_longitude": 10.0}, np.arange(-8, 9, 2.0), np.arange(-8, 9, 2.0))
    with pytest.raises(InputError, match=r"coarse\.nc .* does not cover fine\.nc"):
        train(tmp_path, ROTATED, other)


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [(without_mapping(without_latitudes(ROTATED)), globe()), (without_mapping(PROJECTED), globe())],
)
def test_a_grid_of_no_stated_crs_is_refused_beside_the_globe(tmp_path, fine, coarse):
    """Numbers alone say nothing: in one line, which names the file and what it lacks."""
    with pytest.raises(InputError, match=r"coarse\.nc is latitude-longitude, fine\.nc states no CRS: give it a grid_"):
        train(tmp_path, fine, coarse)


@pytest.mark.parametrize("frames", [(Frame(GLOBE), Frame()), (Frame(), Frame(GLOBE))])
def test_points_are_not_carried_to_a_grid_of_no_stated_crs(frames):
    """Nor from one: a line says it. Two such grids have the same numbers, of which others see to."""
    with pytest.raises(InputError, match="a is latitude-longitude, b states no CRS: give it a grid_mapping"):
        transform_axes(np.arange(3.0), np.arange(3.0), *frames, ("a", "b") if frames[0].crs else ("b", "a"))
    assert transform_axes(np.arange(3.0), np.arange(3.0), Frame(), Frame()) is None


def test_of_fine_files_one_of_which_states_no_crs_that_is_named(tmp_path):
    """Of the same fields at other times, and of other fields."""
    silent = without_mapping(without_latitudes(PROJECTED))
    for other in (silent.isel(time=slice(30, None)), silent.rename(tas="pr")):
        PROJECTED.isel(time=slice(None, None if "pr" in other else 30)).to_netcdf(tmp_path / "a.nc")
        other.to_netcdf(tmp_path / "b.nc")
        globe().to_netcdf(tmp_path / "coarse.nc")
        fine = [tmp_path / "a.nc", tmp_path / "b.nc"]
        with pytest.raises(InputError, match=r"a\.nc is .*, b\.nc states no CRS: give it a grid_mapping"):
            train_files([tmp_path / "coarse.nc"], fine, 4, tmp_path / "m.safetensors", until="2000-02-10")


def test_grids_of_no_stated_crs_are_told_apart_by_their_latitudes(tmp_path):
    """The same numbers and other latitudes are refused, the same ones are not; without latitudes a warning says it."""
    y, x = 2.0e6 + 2e5 * np.arange(-1, 6), 3.6e6 + 2e5 * np.arange(-1, 7)
    fine = without_mapping(PROJECTED)
    with pytest.raises(InputError, match="that are the same have latitudes and longitudes"):
        train(tmp_path, fine, without_mapping(regional(CRS.from_epsg(32634).to_cf(), y, x)))
    coarse = without_mapping(regional(LAMBERT, y, x))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "W-UNSEEN")
        train(tmp_path, fine, coarse)
    with pytest.warns(GeofsrcnnWarning, match=r"W-NOCRS: neither coarse\.nc nor fine\.nc states a CRS"):
        train(tmp_path, without_latitudes(fine), without_latitudes(coarse))


@pytest.mark.filterwarnings("ignore:W-UNSEEN")
def test_a_model_knows_its_pole(tmp_path):
    """Fine fields of the same numbers about another pole are no truth for it."""
    train(tmp_path, without_latitudes(ROTATED), globe())
    place = pairing_of(load_checkpoint(tmp_path / "m.safetensors")).frame
    assert place.is_geographic
    assert not place.is_globe
    other = without_latitudes(ROTATED)
    other["mapping"].attrs["grid_north_pole_longitude"] = 10.0
    other.to_netcdf(tmp_path / "other.nc")
    with pytest.raises(InputError, match="is for a grid on a rotated pole"):
        evaluate_pairs([tmp_path / "m.safetensors"], [tmp_path / "coarse.nc"], [tmp_path / "other.nc"])


@given(
    pole=st.tuples(st.floats(-80, 80), st.floats(-179, 179), st.floats(-179, 179)),
    at=st.tuples(st.integers(-30, 30), st.integers(-60, 60)),
)
def test_a_rotated_pole_is_found_from_latitudes_and_longitudes(pole, at):
    """Whatever pole and origin, as PROJ has them."""
    mapping = {**POLE, "grid_north_pole_latitude": pole[0], "grid_north_pole_longitude": pole[1]}
    mapping["north_pole_grid_longitude"] = pole[2]
    y, x = at[0] + 0.5 * np.arange(8), at[1] + 0.5 * np.arange(9)
    latitude, longitude = true_places(mapping, y, x)
    dims = "ry", "rx"
    dataset = xr.Dataset(
        {"t": (dims, np.zeros(latitude.shape))},
        {
            "ry": ("ry", y, {"axis": "Y", "units": "degrees"}),
            "rx": ("rx", x, {"axis": "X", "units": "degrees"}),
            "lat": (dims, latitude.astype("f4"), {"units": "degrees_north"}),
            "lon": (dims, longitude.astype("f4"), {"units": "degrees_east"}),
        },
    )
    fields = fields_of(dataset, "a.nc", ["t"])
    moved = transform_axes(y, x, fields.frame, Frame(GLOBE))
    assert moved is not None
    assert np.allclose(moved[0], latitude, atol=1e-3)
    off = (moved[1] - longitude + 180) % 360 - 180
    assert np.abs(off * np.cos(np.deg2rad(latitude))).max() < 1e-3


def test_points_are_interpolated_across_the_date_line():
    """On longitudes from 0 to 360, at places of both sides of Greenwich and of the date line; missing cells stay so."""
    coarse = globe()
    fields = fields_of(coarse, "a.nc")
    for origin in (0.0, 180.0):
        pole = {**POLE, "grid_north_pole_latitude": 30.0, "grid_north_pole_longitude": origin + 180}
        place = Frame(CRS.from_cf(pole).to_wkt())
        y, x = np.arange(-5, 6.0), np.arange(-10, 11.0)
        latitude, longitude = true_places(pole, y, x)
        assert np.abs((longitude - origin + 180) % 360 - 180).max() < 40
        found = regrid(coarse["tas"], fields.grid, (fields.frame, place), y, x)
        assert np.allclose(found, weather(latitude, longitude), atol=0.01)
        assert share_outside(fields, Domain(y, x, 2, ("y", "x"), is_longitude=True), place) == 0
        gap = coarse["tas"].where(coarse["lat"] < 200).copy()
        gap[:, int(latitude[3, 4] + 90), round(longitude[3, 4]) % 360] = np.nan
        holed = regrid(gap, fields.grid, (fields.frame, place), y, x)
        assert np.isnan(holed[:, 3, 4]).all()
        assert np.isfinite(holed).mean() > 0.98


def test_the_expanded_form_names_the_axes_own_mapping():
    """Of two grid mappings, the one that lists the axes (CF 5.6)."""
    dataset = ROTATED.copy(deep=True)
    dataset["datum"] = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    dataset["tas"].attrs["grid_mapping"] = "datum: lat lon mapping: ry rx"
    place = fields_of(dataset, "a.nc", ["tas"]).frame
    assert place.is_geographic
    assert not place.is_globe


# --------------------------------------------------------------------------------------------------------- statics


@pytest.mark.parametrize("step", [4e3, 2e5])
def test_statics_of_another_crs_are_where_they_belong(tmp_path, step):
    """Latitudes as a raster in metres, onto a rotated pole: each cell its own, by means of finer cells or between."""
    y, x = -2 + 0.5 * np.arange(8), -2 + 0.5 * np.arange(8)
    latitude, _ = true_places(POLE, y, x)
    middles = (np.arange(int(2.4e6 / step)) + 0.5) * step
    move = Transformer.from_crs(3035, 4326, always_xy=True)
    _, north = move.transform(*np.meshgrid(3.6e6 + middles, 4.2e6 - middles))
    affine = rasterio.Affine(step, 0, 3.6e6, 0, -step, 4.2e6)
    write(tmp_path / "north.tif", north[None].astype("f4"), crs="EPSG:3035", transform=affine)
    domain = Domain(y, x, 4, ("ry", "rx"), is_longitude=True)
    (layer,), names = read_static_predictors([tmp_path / "north.tif"], domain, Frame(CRS.from_cf(POLE).to_wkt()))
    assert names == ["north"]
    assert np.allclose(domain.crop(layer), latitude, atol=0.03)


def test_statics_that_end_within_the_grid_have_no_value_beyond():
    """Cells of the fine grid that a static field of another CRS does not reach stay unknown."""
    y, x = -2 + 0.5 * np.arange(8), -2 + 0.5 * np.arange(8)
    field = globe(0.1, 18.05)["tas"].isel(time=0)
    fields = fields_of(field.to_dataset(), "a.nc")
    latitude, longitude = true_places(POLE, y, x)
    domain, place = Domain(y, x, 4, ("ry", "rx"), is_longitude=True), Frame(CRS.from_cf(POLE).to_wkt())
    found = domain.crop(average(field, fields.grid, domain, (fields.frame, place)))
    assert np.array_equal(np.isfinite(found), longitude < 18.05)
    assert np.allclose(found[np.isfinite(found)], weather(latitude, longitude)[0][np.isfinite(found)], atol=0.02)


def test_statics_of_another_crs_from_the_command_line(tmp_path):
    """Without GDAL's VRT driver, which would open files that a raster names."""
    fine = without_latitudes(ROTATED)
    train(tmp_path, fine, globe())
    values = np.random.default_rng(0).random((1, 90, 90)).astype("f4")
    write(tmp_path / "utm.tif", values, crs="EPSG:32633", transform=rasterio.Affine(2e4, 0, -4e5, 0, -2e4, 6.7e6))
    line = ("train-pairs", "fine.nc", "--coarse", "coarse.nc", "-f", "4", "--until", "2000-02-10", "--steps", "2")
    line = (sys.executable, "-m", "geofsrcnn", *line, "--static", "utm.tif", "-o", "s.safetensors")
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert pairing_of(load_checkpoint(tmp_path / "s.safetensors")).static_names == ("utm",)
