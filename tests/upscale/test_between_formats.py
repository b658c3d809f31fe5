"""GeoTIFF into NetCDF and Zarr and back: places, marks, names and units as each of them says it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio
import xarray as xr

from geofsrcnn import upscale_dataset, upscale_file
from geofsrcnn.errors import GeofsrcnnWarning, InputError, UsageError
from tests.support.grids import GAUSSIAN, curvilinear, globe, projected, regular
from tests.support.rasters import UTM, read, terrain, write
from tests.support.stores import MODEL, packed, reopened, stored


def test_a_geotiff_becomes_a_dataset(tmp_path):
    """To NetCDF and Zarr: the cells of the GeoTIFF way, a georeference that GDAL, rioxarray and odc-geo read alike."""
    import odc.geo.xr  # noqa: F401
    import rioxarray  # noqa: F401

    field = terrain((3, 30, 41), high=900).astype("float32")
    field[:, 3, 4] = -9999
    path = write(tmp_path / "coarse.tif", field, nodata=-9999)
    upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=16)
    expected = read(tmp_path / "fine.tif")
    for name in ("fine.nc", "fine.zarr"):
        upscale_file(path, tmp_path / name, 3, MODEL, tile_size=16)
        fine = reopened(tmp_path / name, decode_coords="all")
        values = fine["band_data"]
        assert np.array_equal(np.where(np.isnan(values), -9999, values), expected)
        assert fine["band"].to_numpy().tolist() == [1, 2, 3]
        assert fine["band_data"].rio.crs == rasterio.crs.CRS.from_epsg(32633)
        with rasterio.open(tmp_path / "fine.tif") as d:
            assert values.rio.transform().almost_equals(d.transform, 1e-9)
            assert values.odc.geobox.transform.almost_equals(d.transform, 1e-9)
            assert values.odc.geobox.crs.epsg == 32633
    with rasterio.open(f"netcdf:{tmp_path / 'fine.nc'}:band_data") as d, rasterio.open(tmp_path / "fine.tif") as e:
        assert d.crs == e.crs
        assert d.transform.almost_equals(e.transform, 1e-9)


def test_packed_and_geographic_rasters(tmp_path):
    """Scale, offset, units, descriptions of bands; latitude and longitude named as CF has them."""
    path = write(
        tmp_path / "coarse.tif",
        (terrain((2, 20, 24)) * 1000).astype("uint16"),
        crs="EPSG:4326",
        transform=rasterio.Affine(0.25, 0, 5, 0, -0.25, 50),
        nodata=0,
    )
    with rasterio.open(path, "r+") as d:
        d.scales, d.offsets = (0.1, 0.1), (5.0, 5.0)
        d.descriptions, d.units = ("red", "green"), ("K", "K")
    upscale_file(path, tmp_path / "fine.nc", 2, "small")
    upscale_file(path, tmp_path / "fine.tif", 2, "small")
    fine = reopened(tmp_path / "fine.nc", mask_and_scale=False, decode_coords="all")
    assert np.array_equal(fine["band_data"], read(tmp_path / "fine.tif"))
    assert fine["band_data"].attrs["scale_factor"] == 0.1
    assert fine["band_data"].attrs["units"] == "K"
    assert fine["band_name"].to_numpy().tolist() == ["red", "green"]
    assert fine["y"].attrs["standard_name"] == "latitude"
    upscale_file(tmp_path / "fine.nc", tmp_path / "back.tif", 2, "nearest")
    with rasterio.open(tmp_path / "back.tif") as d:
        assert (d.count, d.nodata, d.scales, d.offsets) == (2, 0, (0.1, 0.1), (5.0, 5.0))
        assert np.allclose(d.transform[:6], (0.0625, 0, 5, 0, -0.0625, 50))
        assert d.crs == rasterio.crs.CRS.from_epsg(4326)


def test_masks_and_alpha_become_marks(tmp_path):
    """A mask is stored as NaN; integers need a value for it."""
    field = terrain((1, 20, 24)).astype("float32")
    mask = np.full((20, 24), 255, "uint8")
    mask[5:8, 5:8] = 0
    for dtype in ("float32", "uint8"):
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"),
            rasterio.open(
                tmp_path / f"{dtype}.tif", "w", driver="GTiff", count=1, height=20, width=24, dtype=dtype, **UTM
            ) as d,
        ):
            d.write((field * 200).astype(dtype))
            d.write_mask(mask)
    upscale_file(tmp_path / "float32.tif", tmp_path / "fine.nc", 3, MODEL)
    found = reopened(tmp_path / "fine.nc")["band_data"]
    assert np.array_equal(np.isnan(found), np.repeat(np.repeat(mask == 0, 3, 0), 3, 1))
    with pytest.raises(InputError, match=r"uint8.tif has a mask and no nodata value: say with nodata="):
        upscale_file(tmp_path / "uint8.tif", tmp_path / "none.nc", 3, MODEL)
    upscale_file(tmp_path / "uint8.tif", tmp_path / "fine2.nc", 3, MODEL, nodata=255)
    assert (reopened(tmp_path / "fine2.nc", mask_and_scale=False)["band_data"] == 255).sum() == 81


def test_a_field_becomes_a_geotiff(tmp_path):
    """One field of a dataset, a band for each time and level, packing kept; labels say which is which."""
    path = stored(packed(), tmp_path / "coarse.nc")
    upscale_file(path, tmp_path / "fine.nc", 3, MODEL)
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=10, cog=True, variables=["tas"])
    fine = reopened(tmp_path / "fine.nc", mask_and_scale=False)["tas"]
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.abs(d.read().astype(int) - fine.to_numpy()).max() <= 1
        assert (d.read() == -32768).sum() == (fine == -32768).sum() > 0
        assert d.descriptions[1] == "temperature, time 2000-01-02 12:00:00"
        assert (d.nodata, d.scales[0], d.offsets[0], d.units[0]) == (-32768, 0.01, 270.0, "K")
        assert d.crs == rasterio.crs.CRS.from_epsg(4326)
        assert np.allclose(d.bounds, (-10.25, 39.75, 4.75, 51.75))
        assert d.tags()["GEOFSRCNN_FACTOR"] == "3"
        assert d.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    fields = regular()
    fields["pr"] = fields["tas"] * 2
    fields.to_netcdf(tmp_path / "two.nc", engine="netcdf4")
    with pytest.raises(UsageError, match="a GeoTIFF holds one field, there are tas, pr: use variables="):
        upscale_file(tmp_path / "two.nc", tmp_path / "none.tif", 3, MODEL)
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(tmp_path / "two.nc", tmp_path / "pr.tif", 3, MODEL, variables=["pr"])
    assert read(tmp_path / "pr.tif").shape == (2, 72, 90)


def test_names_of_bands_and_tags_come_back(tmp_path):
    """From GeoTIFF to NetCDF and back: descriptions and tags; what NetCDF has no place for is said."""
    path = write(tmp_path / "coarse.tif", terrain((2, 20, 26), high=900).astype("float32"))
    with rasterio.open(path, "r+") as d:
        d.descriptions = ("red", "near infrared")
        d.update_tags(SENSOR="OLI")
    upscale_file(path, tmp_path / "fine.nc", 2, "cubic")
    upscale_file(tmp_path / "fine.nc", tmp_path / "finer.tif", 2, "cubic")
    with rasterio.open(tmp_path / "finer.tif") as d:
        assert d.descriptions == ("red", "near infrared")
        assert d.tags()["SENSOR"] == "OLI"
    with rasterio.open(path, "r+") as d:
        d.update_tags(1, STATISTICS_KIND="made up", GAIN="3")
    with pytest.warns(GeofsrcnnWarning, match="W-LEFT-OUT: coarse.tif has tags of bands, which only a GeoTIFF output"):
        upscale_file(path, tmp_path / "again.nc", 2, "cubic")
    cover = write(tmp_path / "cover.tif", np.random.default_rng(0).integers(0, 3, (20, 26)).astype("uint8"))
    with rasterio.open(cover, "r+") as d:
        d.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
    with pytest.warns(GeofsrcnnWarning, match="W-LEFT-OUT: cover.tif has a colour table"):
        upscale_file(cover, tmp_path / "cover.zarr", 2, "nearest")


def test_text_along_time_is_no_name_of_a_band(tmp_path):
    """ERA5's `expver` beside the times: bands are named by time, and each by another."""
    dataset = regular(times=3)
    dataset["expver"] = ("time", np.array(["0001"] * 3))
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(stored(dataset, tmp_path / "coarse.nc"), tmp_path / "fine.tif", 2, "cubic", variables=["tas"])
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert d.descriptions[2] == "temperature, time 2000-01-04 00:00:00"
    chars = projected().expand_dims(band=2).copy()
    chars["name"] = ("band", np.array([b"ab", b"cd"]))
    chars.to_netcdf(tmp_path / "chars.nc", format="NETCDF3_CLASSIC")
    upscale_file(tmp_path / "chars.nc", tmp_path / "chars.tif", 2, "cubic", variables=["dem"])
    with rasterio.open(tmp_path / "chars.tif") as d:
        assert d.descriptions == ("ab", "cd")


def test_unsigned_flags_reach_a_geotiff(tmp_path):
    """Flags that are stored as signed bytes and count from 0 to 255 are unsigned bytes in a GeoTIFF."""
    flags = np.random.default_rng(0).integers(0, 256, (20, 26)).astype("uint8")
    dataset = projected()
    dataset["dqf"] = (
        ("y", "x"),
        flags.view("int8"),
        {"_Unsigned": "true", "flag_values": np.arange(4, dtype="int8"), "grid_mapping": "spatial_ref"},
    )
    with pytest.warns(GeofsrcnnWarning, match="W-REPEATED: .*dqf"):
        upscale_file(stored(dataset, tmp_path / "a.nc"), tmp_path / "a.tif", 2, "cubic", variables=["dqf"])
    assert np.array_equal(read(tmp_path / "a.tif")[0], np.repeat(np.repeat(flags, 2, 0), 2, 1))


def test_unknown_arguments_are_refused(tmp_path):
    """An argument that does nothing is an error, whatever the formats."""
    for source in (stored(projected(), tmp_path / "a.nc"), write(tmp_path / "a.tif", terrain((20, 26)))):
        with pytest.raises(UsageError, match=r"unknown arguments resampling: there are .*variables"):
            upscale_file(source, tmp_path / "b.nc", 2, "cubic", resampling="cubic")


KM, FEET = "+proj=utm +zone=33 +datum=WGS84 +units=km", "EPSG:2263"
GOES = {
    "grid_mapping_name": "geostationary",
    "perspective_point_height": 35786023.0,
    "sweep_angle_axis": "x",
    "longitude_of_projection_origin": -75.0,
    "latitude_of_projection_origin": 0.0,
    "semi_major_axis": 6378137.0,
    "semi_minor_axis": 6356752.3,
}


@pytest.mark.parametrize(
    ("crs", "unit", "metres", "step"),
    [
        ("EPSG:32633", "m", 1, 10),
        ("EPSG:32633", "metres", 1, 10),
        ("EPSG:32633", "km", 1000, 10),
        ("EPSG:32633", "kilometers", 1000, 10),
        ("EPSG:32633", "", 1, 10),
        (KM, "km", 1000, 0.01),
        (KM, "m", 1, 0.01),
        (FEET, "US_survey_foot", 1200 / 3937, 10 * 3937 / 1200),
        (FEET, "m", 1, 10 * 3937 / 1200),
        (GOES, "rad", 35786023.0, 10),
        (GOES, "m", 1, 10),
        ("EPSG:32633", "rad", 1, None),
        ("EPSG:32633", "degrees", 1, None),
        ("EPSG:32633", "parsecs", 1, None),
        ("EPSG:4326", "m", 1, None),
    ],
)
def test_coordinates_count_in_the_units_of_the_crs(tmp_path, crs, unit, metres, step):
    """Whatever coordinates count in, a GeoTIFF's transform counts in units of its CRS; other units are refused."""
    from pyproj import CRS

    made = CRS.from_cf(crs) if isinstance(crs, dict) else CRS.from_user_input(crs)
    dataset = xr.Dataset(
        {"dem": (("y", "x"), terrain((20, 26)), {"grid_mapping": "m"}), "m": ((), 0, {"crs_wkt": made.to_wkt()})},
        {
            name: (name, (start + 30 * np.arange(size)) / metres, {"units": unit, "axis": name.upper()})
            for name, start, size in (("y", 4000, 20), ("x", 5000, 26))
        },
    )
    source = stored(dataset, tmp_path / "coarse.nc")
    if step is None:
        with pytest.raises(InputError, match=f"coordinate y counts in {unit}, the CRS of the grid mapping in"):
            upscale_file(source, tmp_path / "fine.tif", 3, MODEL)
        return
    upscale_file(source, tmp_path / "fine.tif", 3, MODEL)
    with rasterio.open(tmp_path / "fine.tif") as d:
        t = d.transform
    assert np.allclose([t.a, t.e, t.c, t.f], [step, -step, 498.5 * step, 458.5 * step])


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (curvilinear(), "latitude and longitude of two dimensions"),
        (globe(latitude=GAUSSIAN), "unevenly spaced rows or columns"),
        (regular().drop_vars(["lat_bnds", "lon_bnds"]).rename(lat="rlat", lon="rlon"), "rotated pole"),
    ],
)
def test_grids_that_a_geotiff_cannot_say(tmp_path, dataset, words):
    """Refused with the reason, before any work."""
    if "rlat" in dataset.dims:
        for name, standard in (("rlat", "grid_latitude"), ("rlon", "grid_longitude")):
            dataset[name].attrs = {"standard_name": standard, "units": "degrees"}
    path = stored(dataset, tmp_path / "coarse.nc")
    with pytest.raises(InputError, match=f"{words}.*, which a GeoTIFF cannot say"):
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["coarse.nc"]


@pytest.mark.parametrize(
    ("latitude", "dropped", "top"),
    [
        (np.linspace(90, -90, 31), 2, 87.0),
        (np.linspace(-90, 90, 31), 2, 87.0),
        (np.linspace(-90, 84, 30), 1, 87.0),
        (np.linspace(87, -87, 30), 0, 90.0),
    ],
)
def test_rows_at_the_poles(tmp_path, latitude, dropped, top):
    """ERA5's rows at 90 degrees are half cells: a GeoTIFF has all other cells, as they are in NetCDF, and says so."""
    dataset = globe(latitude=latitude)
    path = stored(dataset, tmp_path / "coarse.nc")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=11)
    words = {0: "", 1: "one row left out", 2: "two rows left out"}[dropped]
    assert [words in str(each.message) for each in heard if "W-POLES" in str(each.message)] == [True] * bool(dropped)
    expected = upscale_dataset(dataset, 3, MODEL)["z"]
    expected = expected.sortby(expected.dims[0], ascending=False).to_numpy()
    first, last = (3 * int(abs(latitude).max() == 90 and pole in latitude) for pole in (90, -90))
    expected = expected[first : len(expected) - last]
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert d.transform.e < 0
        assert d.bounds.top == pytest.approx(top)
        assert d.shape == expected.shape
        assert np.abs(d.read(1) - expected).max() < 1e-5


@pytest.mark.parametrize("turned", [("lat",), ("lon",), ("lat", "lon")])
@pytest.mark.parametrize("cog", [False, True])
def test_north_is_up_in_a_geotiff(tmp_path, turned, cog):
    """Rising latitudes (all of CMIP) or falling longitudes: the GeoTIFF is the same as of the usual order."""
    dataset = regular(times=2)[["tas"]]
    for dim in turned:
        dataset = dataset.isel({dim: slice(None, None, -1)})
    path = stored(dataset, tmp_path / "coarse.nc")
    with pytest.warns(GeofsrcnnWarning, match="W-DATUM"):
        upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=10, cog=cog)
    fine = upscale_dataset(dataset, 3, MODEL).sortby("lat", ascending=False).sortby("lon")
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert d.transform.a > 0 > d.transform.e
        places = [d.xy(row, column) for row, column in ((0, 0), (d.height - 1, d.width - 1))]
        assert np.abs(d.read() - fine["tas"].to_numpy()).max() < 1e-4
    assert np.allclose(places, [(fine.lon[0], fine.lat[0]), (fine.lon[-1], fine.lat[-1])])


def test_global_rasters_wrap_as_well(tmp_path):
    """A GeoTIFF of the whole globe has no seam where its columns end; cut by bounds, neither; masks go around too."""
    dataset = globe()
    field = dataset["z"].to_numpy().astype("float32")
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(5.625, 0, -2.8125, 0, -5.625, 90)}
    path = write(tmp_path / "coarse.tif", field, **place)
    upscale_file(path, tmp_path / "fine.tif", 3, MODEL, tile_size=16)
    expected = upscale_dataset(dataset, 3, MODEL)["z"].to_numpy()
    assert np.abs(read(tmp_path / "fine.tif")[0] - expected).max() < 1e-5
    upscale_file(path, tmp_path / "part.tif", 3, MODEL, bounds=(-2, -40, 60, 40))
    with rasterio.open(tmp_path / "part.tif") as d:
        assert np.allclose(d.bounds, (-2.8125, -45, 64.6875, 45), atol=6)
        rows, columns = (round((90 - d.bounds.top) / 1.875), round((d.bounds.left + 2.8125) / 1.875))
        assert np.abs(d.read(1) - expected[rows : rows + d.height, columns : columns + d.width]).max() < 1e-5
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), rasterio.open(path, "r+") as d:
        d.write_mask(np.arange(64)[None].repeat(32, 0) > 3)
    upscale_file(path, tmp_path / "masked.tif", 3, MODEL, tile_size=16)
    with rasterio.open(tmp_path / "masked.tif") as d:
        assert np.array_equal(d.read_masks(1)[0] != 0, np.arange(192) > 11)


def test_longitude_that_jumps_by_360_is_even_all_the_same(tmp_path):
    """350, 355, 0, 5: the transform of the GeoTIFF and the GeoTransform of the NetCDF go on past 360."""
    from pyproj import CRS

    dataset = regular(columns=6).isel(time=0).drop_vars(["lat_bnds", "lon_bnds"])
    dataset = dataset.assign_coords(lon=("lon", [350.0, 355, 0, 5, 10, 15], {"units": "degrees_east"}))
    dataset["tas"].attrs["grid_mapping"] = "crs"
    wkt = CRS.from_epsg(4326).to_wkt()
    dataset["crs"] = ((), 0, {"crs_wkt": wkt, "GeoTransform": "347.5 5.0 0.0 52.0 0.0 -0.5"})
    path = stored(dataset, tmp_path / "coarse.nc")
    upscale_file(path, tmp_path / "fine.tif", 2, "bilinear")
    upscale_file(path, tmp_path / "fine.nc", 2, "bilinear")
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.allclose((d.transform.a, d.transform.c), (2.5, 347.5))
    numbers = [float(n) for n in reopened(tmp_path / "fine.nc")["crs"].attrs["GeoTransform"].split()]
    assert np.allclose(numbers[:2], (347.5, 2.5))


def test_grib_through_gdal(shared, tmp_path):
    """With --driver GRIB, into all three formats, and without it a hint."""
    path = shared / "data" / "odd" / "cfgrib__regular_gg_ml.grib"
    for name in ("fine.tif", "fine.nc", "fine.zarr"):
        upscale_file(path, tmp_path / name, 3, MODEL, driver="GRIB")
    with rasterio.open(tmp_path / "fine.tif") as d:
        assert np.allclose(reopened(tmp_path / "fine.nc")["band_data"], d.read(1), atol=1e-3)
    with pytest.raises(InputError, match=r"GRIB, not a GeoTIFF: .*: read it with driver='GRIB'"):
        upscale_file(path, tmp_path / "none.nc", 3, MODEL)


def test_a_stated_resolution_does_not_reach_a_geotiff(tmp_path):
    """Attributes that state the coarse grid's resolution are left out on the way to a GeoTIFF as to NetCDF."""
    dataset = projected()
    dataset.attrs = {"geospatial_lat_resolution": "1 degree", "resolution": "10 m", "title": "kept"}
    dataset.to_netcdf(tmp_path / "in.nc")
    upscale_file(tmp_path / "in.nc", tmp_path / "out.tif", 3, MODEL)
    with rasterio.open(tmp_path / "out.tif") as d:
        assert d.tags()["title"] == "kept"
        assert not any("resolution" in key.lower() for key in d.tags() if not key.startswith("TIFFTAG"))
