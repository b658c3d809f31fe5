"""Draw the pictures of the pages in docs/howto, from the files that following them leaves in a folder.

python examples/pictures.py FOLDER [PAGE ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import iris_sample_data
import matplotlib.pyplot as plt
import numpy as np
import rasterio
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LightSource

import geofsrcnn
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.kernels import resample

OUT = Path(__file__).parents[1] / "docs" / "howto"


def dem(folder: Path) -> None:
    """Hillshades of a part above; elevation, and how wrong it may be, below."""
    with rasterio.open(folder / "dem.tif") as raster:
        coarse = raster.read(1).astype(float)
    with rasterio.open(folder / "fine.tif") as raster:
        fine, error = raster.read()
    part = (slice(530, 650), slice(600, 780))
    light = LightSource(azdeg=315, altdeg=45)
    shades = {
        "as it is, 90 m": repeat(light.hillshade(coarse, dx=75, dy=92), 3),
        "bicubic, 30 m": light.hillshade(resample(coarse, 3, "cubic"), dx=25, dy=31),
        "geofsrcnn, 30 m": light.hillshade(fine, dx=25, dy=31),
    }
    figure, axes = plt.subplots(2, 3, figsize=(12, 5.2), layout="constrained")
    for axis, (name, shade) in zip(axes[0], shades.items(), strict=True):
        show(axis, shade[part], name, cmap="gray", vmin=0.1, vmax=1)
    difference = fine - resample(coarse, 3, "cubic")
    limit = np.percentile(abs(difference[part]), 99)
    show(axes[1, 0], fine[part], "elevation, m", bar=True, cmap="terrain")
    show(axes[1, 1], difference[part], "geofsrcnn less bicubic, m", bar=True, cmap="RdBu_r", vmin=-limit, vmax=limit)
    show(axes[1, 2], error[part], "expected error, m", bar=True, cmap="magma_r", vmin=0)
    save(figure, "dem")


def satellite(folder: Path) -> None:
    """Colours and shortwave infrared: as it is, alone, and with the guide."""
    with rasterio.open(folder / "bands_10m.tif") as raster:
        colours = np.moveaxis(raster.read([3, 2, 1]), 0, -1).astype(float)
    fields = {}
    for title, name in (("SWIR, 20 m", "swir_20m"), ("alone, 10 m", "alone_10m"), ("with the guide, 10 m", "swir_10m")):
        with rasterio.open(folder / f"{name}.tif") as raster:
            fields[title] = raster.read(1).astype(float)
    fields["SWIR, 20 m"] = repeat(fields["SWIR, 20 m"], 2)
    part = (slice(44, 114), slice(84, 168))
    low, high = np.percentile(colours[part], (1, 99), axis=(0, 1))
    figure, axes = plt.subplots(2, 2, figsize=(10, 8.6), layout="constrained")
    show(axes[0, 0], np.clip((colours - low) / (high - low), 0, 1)[part], "red, green, blue, 10 m: the guide")
    low, high = np.percentile(fields["with the guide, 10 m"][part], (1, 99))
    for axis, (title, field) in zip(axes.flat[1:], fields.items(), strict=True):
        show(axis, field[part], title, cmap="cividis", vmin=low, vmax=high)
    save(figure, "satellite")


def reanalysis(folder: Path) -> None:
    """A year as it is and finer; how wrong it may be; how much warmer the end is than the beginning."""
    source = f"{iris_sample_data.path}/E1_north_america.nc"
    coarse = xr.open_dataset(source, engine="netcdf4")["air_temperature"]
    fine = xr.open_dataset(folder / "fine.nc", engine="netcdf4").isel(time=0)
    finer = geofsrcnn.upscale_dataarray(coarse, 3)
    part = {"latitude": slice(24, 56), "longitude": slice(234, 282)}
    fields = {
        "last year as it is, K": coarse.isel(time=-1).sel(part),
        "3 times finer, K": fine["air_temperature"].sel(part),
        "expected error, K": fine["air_temperature_error"].sel(part),
        "warming in 210 years, 3 times finer, K": (finer[-30:].mean("time") - finer[:30].mean("time")).sel(part),
    }
    low, high = float(fields["3 times finer, K"].min()), float(fields["3 times finer, K"].max())
    looks = [{"cmap": "viridis", "vmin": low, "vmax": high}] * 2 + [{"cmap": "magma_r", "vmin": 0}, {"cmap": "YlOrRd"}]
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.4), layout="constrained")
    for axis, (title, field), look in zip(axes.flat, fields.items(), looks, strict=True):
        edges = [field[name].to_numpy() for name in ("longitude", "latitude")]
        image = axis.pcolormesh(*edges, field.to_numpy(), shading="nearest", rasterized=True, **look)
        axis.set(title=title, xlabel="degrees east", ylabel="degrees north", aspect=1.3)
        figure.colorbar(image, ax=axis, shrink=0.9, pad=0.02)
    save(figure, "reanalysis")


def show(axis: Axes, field: np.ndarray, title: str, *, bar: bool = False, **look: object) -> None:
    """One map without axes, with a bar of its colours if asked for."""
    image = axis.imshow(field, interpolation="nearest", **look)
    axis.set(title=title, xticks=[], yticks=[])
    if bar:
        axis.figure.colorbar(image, ax=axis, shrink=0.85, pad=0.02)


def save(figure: plt.Figure, name: str) -> None:
    """Write it small enough for a page."""
    figure.savefig(OUT / f"{name}.png", dpi=80, pil_kwargs={"optimize": True})


PAGES = {"dem": dem, "satellite": satellite, "reanalysis": reanalysis}

if __name__ == "__main__":
    for page in sys.argv[2:] or PAGES:
        PAGES[page](Path(sys.argv[1]))
