"""Grids are found by their metadata, and every variable of a dataset gets its place on the finer one."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.cf.encoding import limits_of, packing_of
from geofsrcnn.cf.grid import find_grid
from geofsrcnn.cf.refine import Role, refine
from geofsrcnn.errors import GeofsrcnnWarning, InputError, UsageError
from tests.support.grids import GAUSSIAN, curvilinear, globe, projected, regular


def renamed(dataset: xr.Dataset, **attrs: dict[str, str]) -> xr.Dataset:
    """Latitude and longitude as other names, with the given attributes alone."""
    names = list(attrs)
    result = xr.Dataset({"tas": (("time", *names), dataset["tas"].values)})
    for name, source in zip(names, ("lat", "lon"), strict=True):
        result[name] = ((name,), dataset[source].values, attrs[name])
    return result


# -------------------------------------------------------------------------------------------------------- grid


@pytest.mark.parametrize(
    ("dataset", "dims", "kind", "period"),
    [
        (regular(), ("lat", "lon"), "latitude-longitude", 0),
        (globe(), ("lat", "lon"), "latitude-longitude", 64),
        (globe(repeat=1), ("lat", "lon"), "latitude-longitude", 64),
        (projected(), ("y", "x"), "projected", 0),
        (curvilinear(), ("j", "i"), "curvilinear", 0),
        (renamed(regular(), a={"axis": "Y"}, b={"axis": "X"}), ("a", "b"), "projected", 0),
        (
            renamed(regular(), a={"standard_name": "latitude"}, b={"units": "degrees_east"}),
            ("a", "b"),
            "latitude-longitude",
            0,
        ),
        (
            renamed(regular(), r={"standard_name": "grid_latitude"}, q={"standard_name": "grid_longitude"}),
            ("r", "q"),
            "rotated",
            0,
        ),
        (renamed(regular(), latitude={}, longitude={}), ("latitude", "longitude"), "latitude-longitude", 0),
        (renamed(regular(), x={"axis": "Y"}, y={"axis": "X"}), ("x", "y"), "projected", 0),
        (xr.Dataset({"z": (("y", "x"), np.zeros((4, 5)))}), ("y", "x"), "index", 0),
        (xr.Dataset({"z": (("time", "nj", "ni"), np.zeros((2, 4, 5)))}), ("nj", "ni"), "index", 0),
        (xr.Dataset({"z": (("eta_rho", "xi_rho"), np.zeros((4, 5)))}), ("eta_rho", "xi_rho"), "index", 0),
    ],
)
def test_grids_are_found(dataset, dims, kind, period):
    """By axis, standard name and units, by places of two dimensions, by names at last; never by names against those."""
    grid = find_grid(dataset)
    assert (grid.y, grid.x) == dims
    assert grid.kind == kind
    assert grid.period == period
    assert grid.shape == tuple(dataset.sizes[dim] for dim in dims)


def test_the_grid_says_what_it_is():
    """A line that a person can check."""
    assert repr(find_grid(globe())) == (
        "32 x 64 cells along (lat, lon), latitude (lat) and longitude (lon), evenly spaced, around the globe; fields: z"
    )


def test_dimensions_can_be_named():
    """Where nothing says which they are, the two arguments do."""
    dataset = xr.Dataset({"z": (("down", "across", "band"), np.zeros((4, 5, 3)))})
    with pytest.raises(
        UsageError, match=r"cannot tell which dimensions are horizontal: z\(down, across, band\): .*y= and x="
    ):
        find_grid(dataset)
    assert find_grid(dataset, y="down", x="across").shape == (4, 5)
    with pytest.raises(UsageError, match="no dimension sideways: there are down, across, band"):
        find_grid(dataset, y="down", x="sideways")
    with pytest.raises(UsageError, match="give both dimensions"):
        find_grid(dataset, y="down")


def test_several_grids_are_listed():
    """Two grids in a dataset: the message lists them with their fields, and either argument settles it."""
    both = xr.merge([regular(), projected()], compat="no_conflicts", combine_attrs="drop")
    with pytest.raises(UsageError, match=r"several grids: \(lat, lon\): tas; \(y, x\): dem: choose with variables="):
        find_grid(both)
    assert find_grid(both, variables=["dem"]).y == "y"
    assert find_grid(both, y="lat", x="lon").variables == ("tas",)
    with pytest.raises(UsageError, match="no variable nosuch: there are tas"):
        find_grid(both, variables=["nosuch"])


def test_meshes_are_refused():
    """Latitude and longitude along one dimension are a list of places."""
    mesh = xr.Dataset(
        {"tas": (("time", "cell"), np.zeros((2, 9)))},
        {
            "lat": ("cell", np.zeros(9), {"units": "degrees_north"}),
            "lon": ("cell", np.zeros(9), {"units": "degrees_east"}),
        },
    )
    with pytest.raises(InputError, match="both lie along cell: an unstructured mesh"):
        find_grid(mesh)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (xr.Dataset({"a": ("time", np.zeros(3))}), "no variable with two horizontal dimensions; variables: a"),
        (xr.Dataset(), "no variable with two"),
        (regular().isel(lat=slice(0, 0)), "grid without cells: lat has 0"),
        (regular().isel(lat=[0, 2, 1]), "neither rises nor falls"),
    ],
)
def test_datasets_without_a_grid(dataset, words):
    """Each with its own words."""
    with pytest.raises(InputError, match=words):
        find_grid(dataset)


# ------------------------------------------------------------------------------------------------------ refine


@pytest.mark.parametrize("falling", [True, False])
@pytest.mark.parametrize("swapped", [True, False])
def test_coordinates_and_bounds_are_split(falling, swapped):
    """Fine bounds follow each other, fill the coarse ones and keep their order; coordinates are their middles."""
    dataset = regular(falling=falling)
    if swapped:
        dataset["lat_bnds"] = dataset["lat_bnds"][:, ::-1]
    made = refine(dataset, 3).derived
    fine, coarse = made["lat_bnds"].to_numpy(), dataset["lat_bnds"].to_numpy()
    assert fine.shape == (72, 2)
    assert np.allclose(fine.mean(1), made["lat"].to_numpy())
    assert np.allclose(fine.reshape(24, 6).min(1), coarse.min(1))
    assert np.allclose(fine.reshape(24, 6).max(1), coarse.max(1))
    assert np.sign(fine[0, 1] - fine[0, 0]) == np.sign(coarse[0, 1] - coarse[0, 0])
    assert made["lat"].attrs == dataset["lat"].attrs
    assert made["lat"].dtype == np.float64


def test_uneven_cells_get_bounds():
    """Gaussian latitudes without bounds: the finer ones have them, since their middles do not tell them."""
    refinement = refine(globe(latitude=GAUSSIAN), 2)
    assert refinement.derived["lat"].attrs["bounds"] == "lat_bnds"
    bounds = refinement.derived["lat_bnds"].to_numpy()
    assert np.allclose(bounds[1:, 0], bounds[:-1, 1])
    assert "bounds" not in refinement.derived["lon"].attrs
    assert not refinement.grid.even


def test_longitudes_keep_their_convention():
    """Parts of a cell stay near it, across 360 and across 180."""
    dataset = regular(columns=8).assign_coords(lon=("lon", [358.0, 359.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))
    dataset = dataset.drop_vars("lon_bnds")
    dataset["lon"].attrs["units"] = "degrees_east"
    fine = refine(dataset, 2).derived["lon"].to_numpy()
    assert np.allclose(fine[:6], [357.75, 358.25, 358.75, 359.25, -0.25, 0.25])


def test_geotransform_follows():
    """GDAL's six numbers for the finer grid; none where cells are uneven."""
    made = refine(projected(), 3).derived["spatial_ref"].attrs
    assert [float(n) for n in made["GeoTransform"].split()] == [500000, 10, 0, 6000000, 0, -10]
    assert made["crs_wkt"] == projected()["spatial_ref"].attrs["crs_wkt"]
    uneven = projected()
    uneven = uneven.assign_coords(y=("y", uneven["y"].values - np.arange(20) ** 2, uneven["y"].attrs))
    assert "GeoTransform" not in refine(uneven, 3).derived["spatial_ref"].attrs


@pytest.mark.parametrize("vertices", [True, False])
def test_curvilinear_grids_are_split(vertices):
    """Places and vertices, cell numbers counted on, areas divided."""
    dataset = curvilinear(vertices=vertices)
    made = refine(dataset, 2).derived
    assert made["i"].to_numpy().tolist() == list(range(80))
    latitude = made["latitude"].to_numpy()
    assert np.allclose(latitude.reshape(18, 2, 40, 2).mean((1, 3)), dataset["latitude"], atol=0.02)
    assert ("vertices_latitude" in made) == vertices
    if vertices:
        corners = made["vertices_longitude"].to_numpy()
        assert corners.shape == (36, 80, 4)
        assert np.allclose(corners[::2, ::2, 0], dataset["vertices_longitude"][..., 0])
        assert np.allclose(corners[1::2, 1::2, 2], dataset["vertices_longitude"][..., 2])
    area = made["areacello"].to_numpy()
    assert np.allclose(area.reshape(18, 2, 40, 2).sum((1, 3)), dataset["areacello"])


def test_areas_on_the_globe_follow_the_sine():
    """A cell area is divided as the sphere's surface is."""
    dataset = globe(rows=6)
    edges = np.radians(np.linspace(90, -90, 7))
    dataset["area"] = (
        ("lat", "lon"),
        np.repeat(-np.diff(np.sin(edges))[:, None], 64, 1),
        {"standard_name": "cell_area"},
    )
    fine = refine(dataset, 3).derived["area"].to_numpy()
    parts = -np.diff(np.sin(np.radians(np.linspace(90, -90, 19))))
    assert np.allclose(fine[:, 0] * 3, parts)


def test_roles():
    """Fields, totals, categories, text, one direction, areas, and what is not on the grid."""
    dataset = curvilinear()
    shape = dataset["tos"].shape
    dataset["mask"] = (("j", "i"), np.zeros(shape, "int8"), {"flag_values": [0, 1], "flag_meanings": "land sea"})
    dataset["sea"] = (("j", "i"), np.zeros(shape, bool))
    dataset["name"] = (("j", "i"), np.full(shape, "a"))
    dataset["people"] = (("j", "i"), np.zeros(shape), {"cell_methods": "area: sum"})
    dataset["count"] = (("j", "i"), np.zeros(shape, "int16"))
    dataset["zonal"] = (("j",), np.zeros(shape[0]))
    dataset["when"] = (("time",), np.zeros(3))
    with pytest.warns(GeofsrcnnWarning, match=r"W-REPEATED: .*mask \(flag_values\), sea \(.*boolean\), name, zonal"):
        roles = refine(dataset, 2).roles
    assert {n for n, r in roles.items() if r == Role.REPEATED} == {"mask", "sea", "name", "zonal"}
    assert roles["people"] == Role.EXTENSIVE
    assert {n for n, r in roles.items() if r == Role.FIELD} == {"tos", "count"}
    assert roles["when"] == Role.COPIED
    assert roles["areacello"] == roles["latitude"] == roles["vertices_longitude"] == Role.DERIVED
    chosen = refine(dataset[["tos", "count", "areacello"]], 2, variables=["tos"])
    assert chosen.roles["count"] == Role.OMITTED


def test_complex_fields_are_refused():
    """By name."""
    dataset = projected()
    dataset["dem"] = dataset["dem"].astype("complex64")
    with pytest.raises(InputError, match="variable dem is complex"):
        refine(dataset, 2)


def test_words_on_resolution_are_left_out():
    """What held for the coarse grid is not said of the finer one."""
    dataset = regular().assign_attrs(geospatial_lat_resolution="0.5 degrees", geospatial_lat_min=40.0)
    dataset["lat"].attrs["actual_range"] = [40.0, 51.5]
    refinement = refine(dataset, 2)
    assert "geospatial_lat_resolution" not in refinement.attrs
    assert refinement.attrs["geospatial_lat_min"] == 40.0
    assert "actual_range" not in refinement.derived["lat"].attrs


# ----------------------------------------------------------------------------------------------------- storage


def variable(attrs: dict[str, object] | None = None, encoding: dict[str, object] | None = None, dtype: str = "float32"):
    """A variable with attributes and encoding."""
    return xr.Variable(("y", "x"), np.zeros((2, 2), dtype), attrs or {}, encoding or {})


@pytest.mark.parametrize(
    ("made", "limits"),
    [
        (variable(), None),
        (variable(encoding={"dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0}), (-3271.8, 3281.7)),
        (
            variable(encoding={"dtype": "int16", "scale_factor": 0.1, "add_offset": 5.0, "_FillValue": -32768}),
            (-3271.7, 3281.7),
        ),
        (variable(encoding={"dtype": "uint8", "scale_factor": -1.0, "_FillValue": 255}), (-254, 0)),
        (variable({"_Unsigned": "true"}, {"dtype": "int8"}), (0, 255)),
        (variable({"scale_factor": 2.0, "_FillValue": np.int8(-128)}, dtype="int8"), (-254, 254)),
        (variable({"valid_range": np.array([-5.0, 60.0])}), (-5, 60)),
        (variable({"valid_min": 0.0}), (0, np.inf)),
        (variable({"valid_range": np.array([0, 100], "int16")}, {"dtype": "int16", "scale_factor": 0.5}), (0, 50)),
        (variable({"valid_range": np.array([70000.0, 80000.0])}, {"dtype": "int16"}), (-32768, 32767)),
        (variable({"valid_range": "0 to 5"}), None),
    ],
)
def test_limits(made, limits):
    """What the type stores, and the valid range in packed or unpacked units."""
    found = limits_of(made)
    assert found is None if limits is None else np.allclose(found, limits)


def test_packing():
    """Type, scale, offset and marks of missing cells, decoded or not."""
    packing = packing_of(variable(encoding={"dtype": "int16", "_FillValue": -1, "missing_value": -2}))
    assert packing.missing.marks == (-1.0, -2.0)
    assert packing_of(variable({"_FillValue": np.int64(2**62 + 1)}, dtype="int64")).missing.marks == (2**62 + 1,)
    unsigned = packing_of(variable({"_Unsigned": "true", "_FillValue": np.int16(-1)}, dtype="int16"))
    assert (unsigned.dtype, unsigned.missing.marks) == (np.uint16, (65535.0,))
    loss = packing_of(variable({"_Unsigned": "false", "_FillValue": np.uint16(65535)}, dtype="uint16"))
    assert (loss.dtype, loss.missing.marks) == (np.int16, (-1.0,))
    for key, value in (("scale_factor", 0.0), ("scale_factor", "abc"), ("add_offset", np.nan)):
        with pytest.raises(InputError, match=f"{key} is .*, which nothing can be packed by"):
            packing_of(variable({key: value}, dtype="int16"))
    signed = packing_of(variable({"_Unsigned": "false", "valid_range": np.array([-90, 90], "int8")}, dtype="uint8"))
    assert (signed.dtype, signed.missing.limits) == (np.int8, (-90, 90))


@pytest.mark.parametrize("way", ["float", "packed", "integer", "undecoded"])
def test_areas_are_shared_out_in_floats(tmp_path, way):
    """Missing ones stay missing, packed and whole ones lose nothing; sums are those of the coarse cells."""
    areas = np.round(1000 + 500 * np.random.default_rng(0).random((12, 14))) + 5
    known = np.ones(areas.shape, bool)
    if way != "integer":
        known[3:5, 4:7] = False
    dataset = regular(rows=12, columns=14)[["tas"]]
    values = areas.astype("int32") if way == "integer" else np.where(known, areas, np.nan)
    dataset["area"] = (("lat", "lon"), values, {"units": "m2", "standard_name": "cell_area"})
    encoding = {
        "packed": {"dtype": "int16", "scale_factor": 1.0, "add_offset": 5.0, "_FillValue": np.int16(-1)},
        "integer": {"dtype": "int32"},
    }.get(way, {"dtype": "float32", "_FillValue": np.float32(1e20)})
    dataset.to_netcdf(tmp_path / "in.nc", encoding={"area": encoding})
    with xr.open_dataset(tmp_path / "in.nc", mask_and_scale=way != "undecoded") as opened:
        fine = xr.decode_cf(upscale_dataset(opened, 2, "bilinear"))["area"].to_numpy()
    upscale_file(tmp_path / "in.nc", tmp_path / "out.nc", 2, "bilinear")
    with xr.open_dataset(tmp_path / "out.nc") as stored:
        np.testing.assert_allclose(stored["area"], fine, rtol=1e-6)
    assert np.isnan(fine).sum() == 4 * (~known).sum()
    sums = fine.reshape(12, 2, 14, 2).sum((1, 3))
    np.testing.assert_allclose(sums[known], areas[known], rtol=1e-6)
