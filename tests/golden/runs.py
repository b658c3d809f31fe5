"""Small runs of everything that the package does, by its public names and its command line alone."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import inputs
import numpy as np
import rasterio
import torch
from contents import Items, of_dataset, of_file, of_json, plain, under
from inputs import globe, holed, layers, netcdf, projected, regular, terrain, tif, zarred
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from safetensors import safe_open

from geofsrcnn import (
    FSRCNN,
    Card,
    FSRCNNConfig,
    GeofsrcnnError,
    GeofsrcnnWarning,
    list_models,
    load_checkpoint,
    save_checkpoint,
    upscale_array,
    upscale_dataarray,
    upscale_dataset,
    upscale_file,
    upscale_files,
)
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR
from geofsrcnn.networks.expected_error import ErrorConfig, ErrorHead, section_of

Run = Callable[[Path], Items]

RUNS: dict[str, Run] = {}
"""By name, what makes its items in an empty folder."""

LOOSE: dict[str, float] = {}
"""Shares of an array's range that other machines may differ by, for runs that need more than `TIGHT`."""
TIGHT = 1e-4

HERE_ONLY = {"array-bfloat16"}
"""Runs of which other machines cannot say anything: torch refuses them on processors without AVX-512."""

PLAIN: dict[str, Any] = {"device": "cpu", "threads": 1}


def run(*, loose: float | None = None) -> Callable[[Run], Run]:
    """Add a run; its name is that of its function."""

    def add(function: Run) -> Run:
        name = function.__name__.replace("_", "-")
        RUNS[name] = function
        if loose is not None:
            LOOSE[name] = loose
        return function

    return add


@contextmanager
def _as_found() -> Iterator[None]:
    """Environment and threads are afterwards what they were: runs share their process with other tests."""
    with rasterio.Env():  # GDAL reads which drivers to skip when it is first used: before the command line says so
        pass
    environment, threads, line = dict(os.environ), torch.get_num_threads(), sys.argv
    torch.set_num_threads(1)
    os.environ["COLUMNS"] = "100"  # of what is printed; pytest's workers have another width
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        sys.argv = line
        os.environ.clear()
        os.environ.update(environment)


def items_of(name: str, folder: Path) -> Items:
    """A run's items, with the warnings of the package among them."""
    with _as_found(), warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("error")
        warnings.simplefilter("always", GeofsrcnnWarning)
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.filterwarnings("ignore", "Use `@` matmul", PendingDeprecationWarning)
        items = RUNS[name](folder)
    said = sorted({str(each.message).replace(f"{folder}/", "") for each in heard})
    return {**items, "warnings": said} if said else items


# ------------------------------------------------------------------------------------------------------ command line


def command(*line: object, code: int = 0) -> tuple[str, str]:
    """What a command printed to stdout and stderr, run in this process as ``python -m geofsrcnn`` does."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["geofsrcnn", *map(str, line)]
    with redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_module("geofsrcnn", run_name="__main__")
        except SystemExit as end:
            found = end.code
    assert found == code, err.getvalue()
    return out.getvalue(), err.getvalue()


def process(*line: object) -> str:
    """What a command printed, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "geofsrcnn", *map(str, line)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def upscaled(source: Path, target: str, *line: object) -> Items:
    """Of ``geofsrcnn upscale``: the output, its summary and its warnings."""
    path = source.parent / target
    out, err = command("upscale", source, path, *line, "--device", "cpu", "--json")
    summary = {
        k: v for k, v in json.loads(out).items() if k in {"model", "digest", "factor", "bands", "coarse", "fine"}
    }
    said = err.replace(f"{source.parent}/", "").splitlines()
    return {**of_file(path), "summary": summary, "said": sorted(said)}


# ------------------------------------------------------------------------------------------------------------ arrays


@run()
def array_networks(_: Path) -> Items:
    """All shipped networks."""
    field = terrain(22, 27, high=500).astype("float32")
    return {f"{m.name} x{m.factor}": upscale_array(field, m.factor, m.name, **PLAIN) for m in list_models() if m.factor}


@run()
def array_classical(_: Path) -> Items:
    """All classical methods, with factors that no network has too."""
    field = terrain(15, 19, high=500)
    methods = ["nearest", "bilinear", "cubic", "cubic-0.75", "lanczos"]
    methods += [f"{method}{end}" for method in methods[1:] for end in ("-c", "-bp")]
    return {f"{m} x{factor}": upscale_array(field, factor, m, **PLAIN) for m in methods for factor in (2, 3, 5)}


@run()
def array_types(_: Path) -> Items:
    """Every type that an array may have."""
    field = terrain(20, 25)
    types = {"uint8": 255, "int8": 120, "uint16": 60000, "int16": 3000, "uint32": 1e9, "int32": 1e6, "int64": 1e12}
    made = {dtype: np.rint(field * top).astype(dtype) for dtype, top in types.items()}
    made |= {"float32": (field * 1e3).astype("float32"), "float64": 1e5 + field}
    return {dtype: upscale_array(array, 2, "small", **PLAIN) for dtype, array in made.items()}


@run()
def array_missing(_: Path) -> Items:
    """NaN, nodata by band, a mask, a masked array."""
    bands = layers(3, 22, 25, high=300)
    with_nan = bands.astype("float32")
    with_nan[0, 4:7, 5:9] = with_nan[2, :3] = np.nan
    marked = np.rint(bands).astype("int16")
    marked[0, 4:7, 5:9], marked[1, 10] = -9999, -1
    valid = np.ones((22, 25), bool)
    valid[8:12, 3:14] = False
    return {
        "nan": upscale_array(with_nan, 3, **PLAIN),
        "nodata": upscale_array(marked, 3, nodata=[-9999, -1, None], **PLAIN),
        "valid": upscale_array(marked, 2, nodata=-9999, valid=valid, **PLAIN),
        "masked": np.asarray(upscale_array(np.ma.MaskedArray(bands[0], ~valid), 2, **PLAIN)),
    }


@run()
def array_options(_: Path) -> Items:
    """A range, columns around the globe, tiles, threads."""
    field = terrain(20, 40, high=100, around=True).astype("float32")
    return {
        "range": upscale_array(field, 3, value_range=(0, 100), **PLAIN),
        "narrow": upscale_array(field, 3, value_range=(20, 70), **PLAIN),
        "around": upscale_array(field, 3, period=40, **PLAIN),
        "again": upscale_array(field[:, np.arange(44) % 40], 2, "lanczos-bp", period=40, **PLAIN),
        "tiles": upscale_array(np.tile(field, (2, 2)), 2, "small", tile_size=16, **PLAIN),
        "threads": upscale_array(np.tile(field, (2, 2)), 2, "small", tile_size=16, device="cpu", threads=2),
    }


@run()
def array_bfloat16(_: Path) -> Items:
    """The networks' arithmetic in 16 bits."""
    return {"x3": upscale_array(terrain(20, 25, high=100), 3, precision="bfloat16", **PLAIN)}


# ----------------------------------------------------------------------------------------------------------- rasters


@run()
def tif_default(folder: Path) -> Items:
    """Heights, as they mostly come."""
    said = {"units": ("m",), "descriptions": ("height",), "tags": {"SOURCE": "made", "AREA_OR_POINT": "Area"}}
    return upscaled(tif(folder / "in.tif", terrain(high=800).astype("float32"), said=said), "out.tif")


@run()
def tif_bands(folder: Path) -> Items:
    """Some of several bands, in another order, from tiles."""
    said = {"units": ("m", "K", "1"), "descriptions": ("a", "b", "c"), "band_tags": {"WAVE": "443"}}
    array = np.rint(layers(3, high=3000)).astype("int16")
    source = tif(folder / "in.tif", array, said=said, tiled=True, blockxsize=16, blockysize=16, compress="deflate")
    return upscaled(source, "out.tif", "--bidx", "3,1", "-f", 2)


@run()
def tif_bounds(folder: Path) -> Items:
    """Part of a raster."""
    source = tif(folder / "in.tif", terrain(40, 45, high=90).astype("float32"))
    return upscaled(source, "out.tif", "--bounds", 500_200, 5_999_100, 500_900, 5_999_700, "-f", 4)


@run()
def tif_range(folder: Path) -> Items:
    """A range that some cells are outside of."""
    source = tif(folder / "in.tif", terrain(high=110).astype("float32"))
    return upscaled(source, "out.tif", "--range", 0, 100, "-m", "small")


@run()
def tif_nodata_integer(folder: Path) -> Items:
    """Marked cells of integers."""
    array = np.rint(terrain(high=3000)).astype("int16")
    array[5:9, 7:12] = array[20, 3] = -32768
    return upscaled(tif(folder / "in.tif", array, nodata=-32768), "out.tif")


@run()
def tif_nodata_nan(folder: Path) -> Items:
    """Cells that are NaN, in two bands."""
    array = layers(2, high=3000).astype("float32")
    array[0, 5:9, 7:12] = array[1, 20] = np.nan
    return upscaled(tif(folder / "in.tif", array, nodata=np.nan), "out.tif", "-f", 2)


@run()
def tif_nodata_given(folder: Path) -> Items:
    """A mark that the file does not tell."""
    array = np.rint(terrain(high=200)).astype("uint8")
    array[5:9, 7:12] = 255
    return upscaled(tif(folder / "in.tif", array), "out.tif", "--nodata", 255, "-m", "lanczos-bp")


@run()
def tif_mask(folder: Path) -> Items:
    """A mask inside the file."""
    mask = np.ones((26, 33), bool)
    mask[4:9, 20:30] = mask[:, 2] = False
    array = np.rint(layers(2, high=3000)).astype("uint16")
    return upscaled(tif(folder / "in.tif", array, said={"mask": mask}), "out.tif")


@run()
def tif_alpha(folder: Path) -> Items:
    """A picture with an alpha band."""
    array = np.rint(layers(4, high=255)).astype("uint8")
    array[3] = 255
    array[3, 3:8, 5:15], array[3, 20:, :9] = 0, 128
    return upscaled(tif(folder / "in.tif", array, photometric="RGB", alpha="YES"), "out.tif", "-f", 2)


@run()
def tif_rgb(folder: Path) -> Items:
    """A picture."""
    array = np.rint(layers(3, high=255)).astype("uint8")
    return upscaled(tif(folder / "in.tif", array, photometric="RGB", interleave="pixel"), "out.tif", "-f", 4)


@run()
def tif_packed(folder: Path) -> Items:
    """Scale and offset tell what integers mean."""
    array = np.rint(layers(2, high=10000)).astype("uint16")
    array[0, 4, 4] = 65535
    said = {"scales": (0.01, 0.1), "offsets": (-5.0, 100.0), "units": ("K", "hPa")}
    return upscaled(tif(folder / "in.tif", array, said=said, nodata=65535), "out.tif", "--range", 0, 200)


@run()
def tif_types(folder: Path) -> Items:
    """Outputs of other types than their inputs, and float64."""
    integers = tif(folder / "integers.tif", np.rint(terrain(high=255)).astype("uint8"), nodata=0)
    double = tif(folder / "double.tif", 1e6 + terrain())
    return (
        under("float32", upscaled(integers, "a.tif", "--dtype", "float32", "-f", 2))
        | under("int16", upscaled(integers, "b.tif", "--dtype", "int16", "-f", 2, "-m", "nearest"))
        | under("float64", upscaled(double, "c.tif", "-f", 2))
    )


@run()
def tif_palette(folder: Path) -> Items:
    """Categories with colours, repeated."""
    array = np.round(terrain() * 4).astype("uint8")
    colours = {0: (0, 0, 0, 255), 1: (255, 0, 0, 255), 2: (0, 255, 0, 255), 3: (9, 9, 9, 255), 4: (1, 2, 3, 255)}
    source = tif(folder / "in.tif", array, said={"colorinterp": [ColorInterp.palette], "colours": colours})
    refused = command("upscale", source, folder / "no.tif", code=3)[1]
    return {**upscaled(source, "out.tif", "-m", "nearest"), "refused": refused.replace(f"{folder}/", "")}


@run()
def tif_cog(folder: Path) -> Items:
    """Cloud optimised, with overviews."""
    array = layers(2, 60, 150, high=800).astype("float32")
    array[:, 5:9, 7:30] = -1
    return upscaled(tif(folder / "in.tif", array, nodata=-1), "out.tif", "--cog", "-f", 4, "-m", "small")


@run()
def tif_creation(folder: Path) -> Items:
    """Creation options and tiles."""
    source = tif(folder / "in.tif", layers(2, 60, 64, high=800).astype("float32"), interleave="band")
    options = ("--co", "COMPRESS=LZW", "--co", "TILED=NO", "--co", "INTERLEAVE=PIXEL")
    return upscaled(source, "out.tif", *options, "--tile-size", 20, "-m", "small")


@run()
def tif_places(folder: Path) -> Items:
    """Rotated, on ground control points, pixels as points, degrees, south up, and nowhere."""
    array = terrain(20, 24, high=90).astype("float32")
    affine = rasterio.Affine
    points = [
        GroundControlPoint(row, column, 10 + 0.1 * column + 0.01 * row, 50 - 0.1 * row)
        for row, column in ((0, 0), (0, 24), (20, 0), (20, 24))
    ]
    degrees = {"crs": "EPSG:4326", "transform": affine(0.1, 0, 10, 0, -0.1, 50)}
    places = {
        "rotated": {"transform": affine(30, 5, 500_000, 4, -30, 6_000_000)},
        "points": {"crs": "EPSG:4326", "transform": None, "gcps": points},
        "degrees": degrees,
        "south up": {"transform": affine(30, 0, 500_000, 0, 30, 6_000_000)},
        "nowhere": inputs.NOWHERE,
    }
    items: Items = {}
    for name, place in places.items():
        items |= under(name, upscaled(tif(folder / f"{name}.tif", array, **place), f"{name} out.tif", "-f", 2))
    source = tif(folder / "pixels.tif", array, said={"tags": {"AREA_OR_POINT": "Point"}}, **degrees)
    return items | under("pixels", upscaled(source, "pixels out.tif", "-f", 2))


@run()
def raster_function(folder: Path) -> Items:
    """`upscale_file` from a raster with options."""
    source = tif(folder / "in.tif", layers(2, high=800).astype("float32"), nodata=-1)
    summary = upscale_file(
        source, folder / "out.tif", 2, "small", bidx=(2,), value_range=(0, 700), dtype="float64", **PLAIN
    )
    return {**of_file(folder / "out.tif"), "bands": [summary.bands, summary.coarse, summary.fine]}


# --------------------------------------------------------------------------------------------- from format to format


def _each(folder: Path, source: Path, *line: object) -> Items:
    items: Items = {}
    for end in ("tif", "nc", "zarr"):
        items |= under(end, upscaled(source, f"out.{end}", "-m", "small", *line))
    return items


@run()
def from_tif(folder: Path) -> Items:
    """A raster with nodata into each format."""
    array = np.rint(layers(2, high=3000)).astype("int16")
    array[0, 5:9, 7:12] = -1
    said = {"units": ("m", "m"), "descriptions": ("height", "depth"), "scales": (0.5, 0.5), "offsets": (1.0, 1.0)}
    return _each(folder, tif(folder / "in.tif", array, nodata=-1, said=said))


@run()
def from_netcdf(folder: Path) -> Items:
    """A field with missing cells into each format."""
    return _each(folder, netcdf(folder / "in.nc", holed(regular())), "--variables", "tas", "-f", 2)


@run()
def from_zarr(folder: Path) -> Items:
    """The same, stored as Zarr of version 3."""
    items = _each(folder, zarred(folder / "in.zarr", holed(regular())), "--variables", "tas")
    items["nc / facts"]["order"].sort()  # the order of a folder's listing
    return items


@run()
def from_projected(folder: Path) -> Items:
    """A DEM in UTM into each format."""
    return _each(folder, netcdf(folder / "in.nc", projected()[["dem"]]))


@run()
def zarr_of_version_2(folder: Path) -> Items:
    """Stays one, with its chunks."""
    encoding = {"tas": {"chunks": (1, 12, 15), "dtype": "int16", "scale_factor": 0.01, "_FillValue": -999}}
    source = zarred(folder / "in.zarr", holed(regular()).drop_vars("pr"), version=2, encoding=encoding)
    return upscaled(source, "out.zarr")


# ------------------------------------------------------------------------------------------------------------ NetCDF


@run()
def netcdf_default(folder: Path) -> Items:
    """Two fields, bounds, a scalar and times without end, compressed."""
    encoding = {"tas": {"zlib": True, "complevel": 4, "chunksizes": (1, 24, 30)}, "pr": {"dtype": "float64"}}
    source = netcdf(folder / "in.nc", holed(regular()), encoding=encoding, unlimited_dims=["time"])
    return upscaled(source, "out.nc")


@run()
def netcdf_errors(folder: Path) -> Items:
    """Packed fields with their expected errors, of which some cells have none; and one as a GeoTIFF."""
    tas = {"dtype": "int16", "scale_factor": 0.002, "add_offset": 275.0, "_FillValue": -32768, "zlib": True}
    source = netcdf(folder / "in.nc", holed(regular()), encoding={"tas": tas})
    model, secret = _network_with_errors(folder / "m.safetensors")
    line = ("-m", model, "--error")
    items = under("nc", upscaled(source, "out.nc", *line))
    items |= under("tif", upscaled(source, "out.tif", *line, "--variables", "tas"))
    return _masked(items, folder, [secret])


@run()
def netcdf_packed(folder: Path) -> Items:
    """Integers with scale and offset."""
    tas = {"dtype": "int16", "scale_factor": 0.002, "add_offset": 275.0, "_FillValue": -32768}
    source = netcdf(folder / "in.nc", holed(regular()), encoding={"tas": tas})
    return upscaled(source, "out.nc", "-f", 2)


@run()
def netcdf_unsigned(folder: Path) -> Items:
    """Bytes that count from 0 to 255, with two marks."""
    return upscaled(inputs.stored_bytes(folder / "in.nc"), "out.nc")


@run()
def netcdf_classic(folder: Path) -> Items:
    """The format of version 3, and a type of the output's own."""
    source = netcdf(folder / "in.nc", regular(), format="NETCDF3_CLASSIC")
    return upscaled(source, "out.nc", "--variables", "tas", "--dtype", "float64", "-f", 2, "-m", "cubic-0.75-bp")


@run()
def netcdf_groups(folder: Path) -> Items:
    """One of two groups."""
    netcdf(folder / "in.nc", regular(), group="a")
    source = netcdf(folder / "in.nc", projected()[["dem"]], group="b", mode="a")
    return upscaled(source, "out.nc", "--group", "b", "-f", 2)


@run()
def netcdf_categories_and_totals(folder: Path) -> Items:
    """Flags are repeated, sums shared out."""
    return upscaled(netcdf(folder / "in.nc", projected()), "out.nc")


@run()
def netcdf_curvilinear(folder: Path) -> Items:
    """Latitude and longitude of two dimensions."""
    return upscaled(netcdf(folder / "in.nc", inputs.curvilinear()), "out.nc", "-f", 2)


@run()
def netcdf_globe(folder: Path) -> Items:
    """Around the globe, with and without columns that repeat the first."""
    plain_one = upscaled(netcdf(folder / "a.nc", globe()), "a out.nc", "-f", 2)
    again = upscaled(netcdf(folder / "b.nc", globe(repeat=2)), "b out.nc", "--range", 5, 45, "-m", "small")
    return under("plain", plain_one) | under("again", again)


@run()
def netcdf_gaussian(folder: Path) -> Items:
    """Latitudes at unequal distances, with bounds."""
    return upscaled(netcdf(folder / "in.nc", globe(latitude=inputs.GAUSSIAN)), "out.nc", "-f", 2)


# ------------------------------------------------------------------------------------------------------------ xarray


@run()
def dataset_eager(_: Path) -> Items:
    """`upscale_dataset` in memory."""
    return of_dataset(upscale_dataset(holed(regular()), 3, **PLAIN))


@run()
def dataset_undecoded(_: Path) -> Items:
    """Stored values with their marks and packing as attributes, all roles."""
    dataset = projected()
    stored = np.rint(terrain(20, 26) * 3000).astype("int16")
    stored[4, 5], stored[9, 9] = -32768, -1
    attrs = {"_FillValue": np.int16(-32768), "missing_value": np.int16(-1), "scale_factor": 0.1, "add_offset": 5.0}
    dataset["packed"] = (("y", "x"), stored, {**attrs, "valid_range": np.array([0, 2900], "int16")})
    return of_dataset(upscale_dataset(dataset, 2, "small", x="x", y="y", **PLAIN))


@run()
def dataset_lazy(_: Path) -> Items:
    """The accessor on chunks of dask, around the globe too."""
    chunked = holed(regular(rows=50, columns=64)).chunk(lat=20, lon=23)
    around = globe(rows=40, columns=80).chunk(lat=20, lon=25)
    return under("regular", of_dataset(chunked.fsrcnn.upscale(2, "small", **PLAIN))) | under(
        "globe", of_dataset(around.fsrcnn.upscale(3, "lanczos-bp", **PLAIN))
    )


@run()
def dataset_errors_lazy(folder: Path) -> Items:
    """Dask chunks, with their expected errors."""
    model, secret = _network_with_errors(folder / "m.safetensors")
    chunked = holed(regular(rows=50, columns=64)).chunk(lat=20, lon=23)
    return _masked(of_dataset(chunked.fsrcnn.upscale(2, model, error=True, **PLAIN)), folder, [secret])


@run()
def dataset_totals_lazy(_: Path) -> Items:
    """Categories and totals of dask."""
    return of_dataset(projected().chunk(y=10).fsrcnn.upscale(2, variables=["people", "cover"], **PLAIN))


@run()
def dataarray(_: Path) -> Items:
    """`upscale_dataarray` and the accessor of a DataArray, named and nameless, as it lies and turned."""
    array = regular()["tas"]
    turned = array.transpose("lon", "time", "lat").rename(None)
    grid = str(array.fsrcnn.grid)
    return {
        **under("function", of_dataset(upscale_dataarray(array, 2, value_range=(240, 310), **PLAIN))),
        **under("accessor", of_dataset(turned.fsrcnn.upscale(3, "small", **PLAIN))),
        "grid": plain(grid),
    }


@run()
def file_function(folder: Path) -> Items:
    """`upscale_file` with a loaded checkpoint."""
    source = netcdf(folder / "in.nc", regular())
    calls: list[tuple[int, int]] = []
    upscale_file(
        source,
        folder / "out.nc",
        2,
        load_checkpoint("small", 2),
        variables=["pr"],
        value_range=(0, 1e-4),
        progress=lambda done, total: calls.append((done, total)),
        **PLAIN,
    )
    return {**of_file(folder / "out.nc"), "last call": calls[-1]}


# ------------------------------------------------------------------------------------------------------------- batch


def _batched(folder: Path, files: Any) -> Items:
    items: Items = {}
    for each in files:
        said = {k: each[k] for k in ("output", "state", "code", "cells", "warnings")}
        reason = str(each["reason"]).replace(f"{folder}/", "")
        items |= under(each["output"], {"result": {**said, "reason": reason}})
        if each["state"] == "done":
            items |= under(each["output"], of_file(folder / "out" / each["output"]))
    return items


@run()
def batch_files(folder: Path) -> Items:
    """`upscale_files`: three that are done, and one that fails."""
    (folder / "in").mkdir()
    (folder / "in" / "broken.tif").write_bytes(b"II*\0")
    names = [
        tif(folder / "in" / "a.tif", terrain(high=90).astype("float32")),
        netcdf(folder / "in" / "b.nc", regular()),
        zarred(folder / "in" / "c.zarr", globe()),
        folder / "in" / "broken.tif",
    ]
    result = upscale_files(names, folder / "out", 2, "small", workers=1, device="cpu")
    return _batched(folder, result.to_dict()["files"])


@run()
def batch_parts(folder: Path) -> Items:
    """``geofsrcnn batch``: a raster and a dataset, large ones, in parts."""
    array = np.rint(layers(2, 90, 110, high=3000)).astype("int16")
    array[:, 30:40, 20:50] = -1
    (folder / "in").mkdir()
    tif(folder / "in" / "a.tif", array, nodata=-1)
    netcdf(folder / "in" / "b.nc", holed(regular(rows=40, columns=50, times=6)).drop_vars("pr"))
    line = ("--split", 3000, "--tile-size", 40, "--workers", 1, "--device", "cpu", "-m", "small", "--json")
    out, _ = command("batch", folder / "in" / "*", "-o", folder / "out", *line)
    return _batched(folder, json.loads(out)["files"])


# ------------------------------------------------------------------------------------------------ scores and training


def _of_model(path: Path, *, secret: list[str]) -> Items:
    """Weights, configuration and card of a checkpoint."""
    with safe_open(path, "np") as file:
        items: Items = {name: file.get_tensor(name) for name in sorted(file.keys())}
        metadata = file.metadata()
    checkpoint = load_checkpoint(path)
    secret.append(checkpoint.digest)
    said = {key: len(value) if len(value) > 5000 else "text" for key, value in metadata.items()}
    card = {k: v for k, v in checkpoint.card.__dict__.items() if k in {"name", "summary", "limits", "data"}}
    return {**items, "config": checkpoint.config.to_dict(), "metadata": sorted(said), "card": card}


def _masked(items: Items, folder: Path, secret: list[str]) -> Items:
    """Facts without the digests of checkpoints, which hold the date, and without the folder."""

    def masked(value: Any) -> Any:
        if isinstance(value, dict):
            return {masked(key): masked(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [masked(each) for each in value]
        if not isinstance(value, str):
            return value
        for each in secret:
            value = value.replace(each, "DIGEST")
        value = re.sub(
            r"see .*geofsrcnn (\w+) --help", r"see geofsrcnn \1 --help", value
        )  # python -m pytest, and so on
        return value.replace(f"{folder}/", "").replace(str(folder), "FOLDER")

    return masked(items)


TIMES = ("seconds", "out", "cells_per_second")


@run(loose=5e-3)
def evaluate_rasters(folder: Path) -> Items:
    """Scores of models and classical methods, on two rasters."""
    a = tif(folder / "a.tif", terrain(66, 72, high=800).astype("float32"))
    holes = terrain(66, 72, seed=2, high=800).astype("float32")
    holes[10:14, 30:40] = -1
    b = tif(folder / "b.tif", holes, nodata=-1)
    out, _ = command("evaluate", a, b, "-f", 3, "-m", "default", "-m", "small", "--device", "cpu", "--json")
    items = of_json(json.loads(out))
    words, _ = command("evaluate", a, "-f", 2, "-m", "small", "--device", "cpu")
    return _masked({**items, "verdict": words.splitlines()[-3]}, folder, [])


@run(loose=5e-3)
def evaluate_report(folder: Path) -> Items:
    """All measures of a report."""
    a = tif(folder / "a.tif", terrain(60, 66, high=800).astype("float32"))
    command("evaluate", a, "-m", "small", "-f", 2, "--device", "cpu", "--report", folder / "report", "--json")
    items = of_json(json.loads((folder / "report" / "report.json").read_text()))
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return _masked({**items, "files": names}, folder, [])


TRAINED = ("--device", "cpu", "--seed", 3, "-q", "--json")


@run(loose=2e-2)
def train_rasters(folder: Path) -> Items:
    """A short training, twelve steps; and its model on a raster."""
    a = tif(folder / "a.tif", terrain(140, 160, high=500).astype("float32"))
    b = tif(folder / "b.tif", terrain(90, 120, seed=2, high=500).astype("float32"))
    secret: list[str] = []
    path = folder / "m.safetensors"
    line = ("-f", 2, "--size", "small", "--steps", 12, "--batch-size", 4, "--patch", 8)
    line += ("-v", b, "--log", folder / "log")
    out = process("train", a, "-o", path, *line, *TRAINED)
    items = under("result", of_json(json.loads(out), without=TIMES))
    items |= under("model", _of_model(path, secret=secret))
    items |= under("applied", upscaled(tif(folder / "in.tif", terrain().astype("float32")), "out.tif", "-m", path))
    return _masked(items, folder, secret)


@run(loose=2e-2)
def train_pairs(folder: Path) -> Items:
    """A short training on pairs, ten steps; its model on a file, through the accessor, and scored."""
    import xarray as xr

    files = inputs.pairs(folder)
    path = folder / "m.safetensors"
    secret: list[str] = []
    line = ("--static", files["height"], "--until", "2000-03-01", "-f", 4, "--steps", 10, "--batch-size", 8)
    out = process("train-pairs", "--coarse", files["coarse"], "--fine", files["fine"], *line, "-o", path, *TRAINED)
    items = under("result", of_json(json.loads(out), without=TIMES))
    items |= under("model", _of_model(path, secret=secret))
    later = folder / "later.nc"
    with xr.open_dataset(files["coarse"]) as whole:
        whole.isel(time=slice(-4, None)).to_netcdf(later)
    items |= under("applied", upscaled(later, "out.nc", "-m", path))
    items |= under("zarr", upscaled(later, "out.zarr", "-m", path))
    with xr.open_dataset(later) as dataset:
        items |= under("accessor", of_dataset(dataset.fsrcnn.upscale(4, str(path), device="cpu")))
    score = ("--coarse", files["coarse"], "--fine", files["fine"], "--device", "cpu", "--json")
    items |= under("scores", of_json(json.loads(command("evaluate-pairs", path, *score)[0])))
    return _masked(items, folder, secret)


@run()
def network(_: Path) -> Items:
    """A network of the public classes, with weights by formula."""
    model = _by_formula(FSRCNN(FSRCNNConfig(factor=2, d=8, s=4, m=1)))
    with torch.no_grad():
        fine = model.eval()(torch.from_numpy(terrain(18, 21).astype("float32"))[None, None])
    names = [[name, list(weight.shape)] for name, weight in model.state_dict().items()]
    return {"fine": fine.numpy(), "names": names, "config": model.config.to_dict()}


def _by_formula(module: torch.nn.Module) -> Any:
    """A module whose weights no random numbers and no training have made."""
    with torch.no_grad():
        for number, (_name, weight) in enumerate(sorted(module.named_parameters())):
            steps = torch.arange(weight.numel(), dtype=torch.float64).reshape(weight.shape)
            weight.copy_(0.2 * torch.sin(steps * (0.7 + 0.1 * number)))
    return module


def _network_with_errors(path: Path) -> tuple[Path, str]:
    """The file of a network that tells expected errors, and its digest."""
    model = _by_formula(FSRCNN(FSRCNNConfig(factor=2, d=8, s=4, m=1)))
    head = _by_formula(ErrorHead(model.config, ErrorConfig()))
    save_checkpoint(path, model, Card(name="errors"), sections={EXPECTED_ERROR: section_of(head, {})})
    return path, load_checkpoint(path).digest


# ------------------------------------------------------------------------------------------------------------- words


@run()
def info(folder: Path) -> Items:
    """What the command line says of models, files and stores."""
    raster = tif(folder / "a.tif", layers(2).astype("float32"), nodata=-1, said={"units": ("m", "K")})
    dataset = netcdf(folder / "b.nc", projected())
    store = zarred(folder / "c.zarr", regular().drop_vars("pr"))
    items: Items = {}
    for name, line in {
        "models": ("models",),
        "model": ("info", "small", "-f", 2),
        "raster": ("info", raster),
        "dataset": ("info", dataset),
        "store": ("info", store),
    }.items():
        facts = json.loads(command(*line, "--json")[0])
        text = [row for row in command(*line)[0].splitlines() if "by geofsrcnn" not in row]
        if name == "store":  # whose variables come in the order of a folder's listing
            facts["variables"].sort(key=lambda variable: variable["name"])
            text.sort()
        items |= under(name, of_json(facts, without=("version",))) | {f"{name} / text": text}
    return _masked(items, folder, [])


@run()
def errors(folder: Path) -> Items:
    """Exit codes, messages and classes of what is refused."""
    raster = tif(folder / "a.tif", terrain().astype("float32"))
    dataset = netcdf(folder / "b.nc", projected())
    (folder / "broken.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    there = folder / "there.tif"
    there.write_bytes(b"")
    refused = {
        "factor": (2, "upscale", raster, folder / "o.tif", "-f", 9),
        "model": (4, "upscale", raster, folder / "o.tif", "-m", "none"),
        "no file": (3, "upscale", folder / "none.tif", folder / "o.tif"),
        "broken": (3, "upscale", folder / "broken.nc", folder / "o.nc"),
        "there": (5, "upscale", raster, there),
        "ending": (2, "upscale", raster, folder / "o.png"),
        "bounds": (2, "upscale", dataset, folder / "o.nc", "--bounds", 0, 0, 1, 1),
        "variables": (2, "upscale", dataset, folder / "o.nc", "--variables", "none"),
        "bidx": (2, "upscale", raster, folder / "o.tif", "--bidx", "7"),
        "pixels": (6, "upscale", raster, folder / "o.tif", "--max-pixels", 10),
        "strict": (3, "upscale", dataset, folder / "o.nc", "--strict"),
        "until": (2, "train-pairs", "--coarse", dataset, "--fine", dataset, "-f", 2, "-o", folder / "m.safetensors"),
        "outputs": (2, "batch", raster, "-o", folder / "out", "--workers", 0),
    }
    items: Items = {}
    for name, (code, *line) in refused.items():
        items[name] = [code, *command(*line, code=code)]
    items["left"] = sorted(path.name for path in folder.iterdir())
    for name, call in {
        "factor, called": lambda: upscale_array(np.zeros((4, 4)), 1),
        "shape, called": lambda: upscale_array(np.zeros(4), 2),
        "grid, called": lambda: upscale_dataset(projected().drop_vars(["x", "y"]).rename(y="a", x="b"), 2),
        "model, called": lambda: load_checkpoint(folder / "none.safetensors"),
    }.items():
        try:
            call()
        except GeofsrcnnError as error:
            items[name] = [type(error).__name__, error.exit_code, str(error)]
    return _masked(items, folder, [])
