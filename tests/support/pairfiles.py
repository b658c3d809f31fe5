"""Small pairs of coarse and fine files with a known relation, and quick trainings on them."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import cbook

from geofsrcnn.pairs.spec import PairOptions, PairsSpec
from geofsrcnn.pairs.train import PairResult, train_pairs
from geofsrcnn.values.blocks import block_mean

QUICK = {"steps": 60, "validate_every": 30, "batch_size": 16}
SMALL = {"d": 16, "s": 8, "m": 1}

DEGREES = {"units": "degrees_north"}, {"units": "degrees_east"}
METRES = {"axis": "Y", "units": "m"}, {"axis": "X", "units": "m"}


def elevation(rows: int, columns: int) -> np.ndarray:
    """A part of a real DEM in kilometres."""
    with cbook.get_sample_data("jacksboro_fault_dem.npz") as data:
        whole = data["elevation"].astype(np.float64)
    return block_mean(whole[: rows * 8, : columns * 8], 8) / 1000


def made(
    folder: Path,
    *,
    times: int = 240,
    rows: int = 20,
    columns: int = 29,
    lapse: bool = False,
    places: tuple[dict[str, str], ...] = DEGREES,
) -> dict[str, Path]:
    """Coarse and fine temperature: a smooth field, and a lapse rate (that a second predictor tells) times elevation."""
    rng = np.random.default_rng(5)
    height = elevation(rows, columns)
    y, x = 50 - 0.25 * np.arange(rows), 5 + 0.25 * np.arange(columns)
    waves = rng.normal(size=(times, 3)).cumsum(0) * 0.2
    smooth = 10 + waves[:, :1, None] + waves[:, 1:2, None] * (y[:, None] - 48) / 3 + waves[:, 2:, None] * (x - 8) / 4
    rate = -6.5 + (4 * rng.normal(size=times) if lapse else np.zeros(times))
    fine = smooth + rate[:, None, None] * height
    fine[:, 2, 3] = np.nan
    stamps = np.datetime64("2000-01-01T12") + np.arange(times).astype("m8[D]")
    cy, cx = 50.5 - 1.0 * np.arange(7), 4.0 + 1.0 * np.arange(10)
    coarse = 10 + waves[:, :1, None] + waves[:, 1:2, None] * (cy[:, None] - 48) / 3 + waves[:, 2:, None] * (cx - 8) / 4
    stability = np.broadcast_to(rate[:, None, None], coarse.shape)
    paths = {name: folder / f"{name}.nc" for name in ("coarse", "fine", "height")}
    xr.Dataset(
        {
            "t": (("time", "lat", "lon"), coarse, {"units": "degC", "standard_name": "air_temperature"}),
            "stability": (("time", "lat", "lon"), stability, {"units": "K km-1"}),
        },
        {"time": stamps.astype("M8[D]").astype("M8[ns]"), "lat": ("lat", cy, places[0]), "lon": ("lon", cx, places[1])},
    ).to_netcdf(paths["coarse"])
    xr.Dataset(
        {"tas": (("time", "lat", "lon"), fine, {"units": "degC", "standard_name": "air_temperature"})},
        {"time": stamps.astype("M8[ns]"), "lat": ("lat", y, places[0]), "lon": ("lon", x, places[1])},
    ).to_netcdf(paths["fine"])
    xr.Dataset({"z": (("lat", "lon"), height)}, {"lat": ("lat", y, places[0]), "lon": ("lon", x, places[1])}).to_netcdf(
        paths["height"]
    )
    return paths


def train_files(coarse: list[Path], fine: list[Path], factor: int, out: Path, **options: object) -> PairResult:
    """Train on files; keywords are those of a `PairsSpec` and of `train_pairs` together."""
    told = {each.name for each in fields(PairsSpec)} & set(options)
    spec = PairsSpec(coarse, fine, **{name: options.pop(name) for name in told})  # type: ignore[arg-type]
    return train_pairs(spec, factor, out, **options)  # type: ignore[arg-type]


def trained(files: dict[str, Path], out: Path, **options: object) -> dict[str, dict[str, float]]:
    """Scores of a quick training."""
    result = train_files(
        [files["coarse"]],
        [files["fine"]],
        4,
        out,
        until="2000-06-01",
        static=[files["height"]],
        sizes=SMALL,
        options=PairOptions(**{**QUICK, **options}),
    )
    return result.scores


def changed(path: Path, to: Path, **changes: object) -> Path:
    """A file with some of its variables or coordinates changed by functions."""
    with xr.open_dataset(path) as dataset:
        other = dataset.load()
    for name, change in changes.items():
        attrs = other[name].attrs
        other[name] = change(other[name])  # type: ignore[operator]
        other[name].attrs = {**attrs, **other[name].attrs}
    other.to_netcdf(to)
    return to
