"""Latitudes, longitudes and boundaries are known by role, attribute and name, and made anew."""

import warnings

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import upscale_dataset
from geofsrcnn.cf.grid import find_grid
from geofsrcnn.cf.places import bounds_name, place_of, positions_of
from geofsrcnn.errors import GeofsrcnnWarning
from tests.support.grids import curvilinear, globe, regular


def made(values: object = 45.0, **attrs: object) -> xr.Variable:
    """A variable of two cells."""
    return xr.Variable(("i",), np.broadcast_to(np.float64(values), (2,)), attrs)


@pytest.mark.parametrize(
    ("name", "variable", "place"),
    [
        ("lat", made(), "latitude"),
        ("XLAT_M", made(units="degrees latitude"), "latitude"),
        ("XLONG_U", made(), "longitude"),
        ("nav_lon", made(units="degrees_east"), "longitude"),
        ("a", made(units="degrees north"), "latitude"),
        ("a", made(units="Degrees_East"), "longitude"),
        ("a", made(units="degreeN"), "latitude"),
        ("TLAT", made(units="degree"), "latitude"),
        ("TLAT", made(units="°"), "latitude"),
        ("TLAT", made(units="gon"), None),
        ("gphit", made(), "latitude"),
        ("LATIXY", made(units="degrees"), "latitude"),
        ("glamt", made(), "longitude"),
        ("geolon_c", made(units="deg"), "longitude"),
        ("lat", made(400.0), None),
        ("lat", made(units="W m-2"), None),
        ("q_lat", made(units="W m-2"), None),
        ("slope", made(units="degrees"), None),
        ("plateau", made(), None),
        ("lat_bnds", made(), None),
        ("lat", made(standard_name="surface_upward_latent_heat_flux"), None),
    ],
)
def test_what_a_place_is(name, variable, place):
    """By CF's roles, by units as they are found, by name where degrees or nothing are said; never beyond 90 degrees."""
    assert place_of(variable, name) == place


@pytest.mark.parametrize("attrs", [{}, {"units": "degrees"}, {"units": "degrees latitude"}])
def test_places_of_two_dimensions_never_go_through_the_network(attrs):
    """Without attributes, across the date line: the fine places are those of the grid with attributes."""
    dataset = curvilinear(vertices=False)
    names = find_grid(dataset).latitude, find_grid(dataset).longitude
    right = upscale_dataset(dataset, 3, "bilinear").rename(dict(zip(names, ("nav_lat", "nav_lon"), strict=True)))
    bare = dataset.rename(dict(zip(names, ("nav_lat", "nav_lon"), strict=True)))
    for name, word in (("nav_lat", "latitude"), ("nav_lon", "longitude")):
        bare[name].attrs = {k: v.replace("latitude", word) for k, v in attrs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fine = upscale_dataset(bare, 3, "bilinear")
    for name in ("nav_lat", "nav_lon"):
        np.testing.assert_allclose(fine[name], right[name], atol=1e-9)


def test_each_latitude_goes_with_its_longitude():
    """Two staggered pairs on one grid are not mixed."""
    y, x = np.meshgrid(np.arange(5.0), np.arange(6.0), indexing="ij")
    pairs = {"TLAT": y, "ULONG": x + 0.5, "ULAT": y + 0.5, "TLONG": x}
    dataset = xr.Dataset({name: (("nlat", "nlon"), values, {"units": "degrees"}) for name, values in pairs.items()})
    assert sorted(positions_of(dataset)) == [("TLAT", "TLONG"), ("ULAT", "ULONG")]


@pytest.mark.parametrize(("south", "east"), [("degrees", "degrees"), ("degrees north", "degrees east"), ("", "")])
def test_degrees_in_any_words_make_a_globe(south, east):
    """No seam at 0 and 360, no latitude beyond 90, in whatever words units say degrees."""
    dataset = globe()
    right = upscale_dataset(dataset, 2, "small")
    for name, units in (("lat", south), ("lon", east)):
        dataset[name].attrs = {"units": units} if units else {}
    fine = upscale_dataset(dataset, 2, "small")
    assert find_grid(dataset).period
    assert abs(fine["lat"]).max() <= 90
    field = next(iter(dataset.data_vars))
    np.testing.assert_array_equal(fine[field], right[field])


def test_places_without_a_partner_are_left_out_and_said():
    """A latitude of two dimensions alone cannot be made anew, and is no field."""
    dataset = regular()
    dataset["lat2d"] = (
        ("lat", "lon"),
        np.broadcast_to(dataset["lat"].to_numpy()[:, None], (24, 30)),
        {"units": "degrees_north"},
    )
    with pytest.warns(GeofsrcnnWarning, match="W-PLACES: left out, .*: lat2d"):
        fine = upscale_dataset(dataset, 3, "bilinear")
    assert "lat2d" not in fine.variables


def test_bounds_that_nothing_refers_to_are_made_anew():
    """`lat_bnds` whose `bounds` attribute is lost, by name and shape, if they lie around the cells."""
    dataset = regular()
    bounds = dataset["lat"].attrs.pop("bounds")
    assert bounds_name(dataset, dataset["lat"]) == bounds == "lat_bnds"
    fine = upscale_dataset(dataset, 3, "bilinear")
    np.testing.assert_allclose(fine["lat_bnds"].mean("bnds"), fine["lat"], atol=1e-9)
    assert fine["lat"].attrs["bounds"] == "lat_bnds"
    dataset["lat_bnds"] = dataset["lat_bnds"] + 30
    with pytest.warns(GeofsrcnnWarning, match="W-PLACES: .*lat_bnds"):
        assert "lat_bnds" not in upscale_dataset(dataset, 3, "bilinear").variables


def test_vertices_decide_where_centres_are_missing(tmp_path):
    """Masked centres with known corners lie in the middle of them; what stays missing keeps a mark."""
    dataset = curvilinear()
    grid = find_grid(dataset)
    known = upscale_dataset(dataset, 3, "bilinear")
    for name in (grid.latitude, grid.longitude):
        dataset[name] = dataset[name].copy(data=dataset[name].to_numpy().copy())
        dataset[name][4, 5] = np.nan
    fine = upscale_dataset(dataset, 3, "bilinear")
    for name in (grid.latitude, grid.longitude):
        np.testing.assert_allclose(fine[name][12:15, 15:18], known[name][12:15, 15:18], atol=0.05)
    without = upscale_dataset(
        dataset.drop_vars([n for n in dataset.variables if "vertices" in str(n) or "bnds" in str(n)]), 3, "bilinear"
    )
    assert np.isnan(without[grid.latitude]).any()
    without.to_netcdf(tmp_path / "out.nc")
    stored = xr.open_dataset(tmp_path / "out.nc", mask_and_scale=False)
    assert np.isnan(stored[grid.latitude].attrs["_FillValue"])


def test_limits_of_a_coordinate_that_the_finer_cells_leave_are_dropped():
    """`valid_max` of the outermost coarse centre would mask the fine ones; -90 to 90 still holds."""
    dataset = regular()
    dataset["lat"].attrs |= {"valid_min": float(dataset["lat"].min()), "valid_max": 90.0}
    attrs = upscale_dataset(dataset, 3, "bilinear")["lat"].attrs
    assert "valid_min" not in attrs
    assert attrs["valid_max"] == 90


def test_rows_and_columns_that_only_number_cells_go_around():
    """Nominal x and y beside longitudes of two dimensions: no seam where the columns end."""
    dataset = curvilinear(columns=120)
    grid = find_grid(dataset)
    assert grid.period == 120
    numbered = dataset.assign_coords({grid.y: 0.5 * np.arange(18), grid.x: 1.5 * np.arange(120)})
    assert find_grid(numbered).period == 120


def test_what_states_a_resolution_follows_or_goes():
    """WRF's steps and sizes; others are left out."""
    dataset = regular()
    dataset.attrs = {
        "DX": np.float32(9000),
        "DY": 9000.0,
        "WEST-EAST_GRID_DIMENSION": np.int32(31),
        "nominal_resolution": "10 km",
        "spatial_resolution": "1 degree",
        "StructMetadata.0": "XDim=30",
        "title": "kept",
        "temporal_resolution": "kept",
    }
    attrs = upscale_dataset(dataset, 3, "bilinear").attrs
    attrs.pop("history")
    assert attrs == {
        "DX": 3000.0,
        "DY": 3000.0,
        "WEST-EAST_GRID_DIMENSION": 91,
        "title": "kept",
        "temporal_resolution": "kept",
    }
    assert attrs["DX"].dtype == np.float32
