"""Levels become predictors, members of an ensemble are run over, and units come with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from geofsrcnn import upscale_file
from geofsrcnn.errors import InputError, UsageError
from geofsrcnn.networks.checkpoint import load_checkpoint
from geofsrcnn.pairs import apply, fields
from geofsrcnn.pairs.apply import downscale_dataset
from geofsrcnn.pairs.dimensions import split_levels
from geofsrcnn.pairs.evaluate import evaluate_pairs
from geofsrcnn.pairs.fields import fields_of
from geofsrcnn.pairs.network import pairing_of
from geofsrcnn.pairs.spec import PairOptions
from geofsrcnn.upscale import pairs as upscale_pairs
from tests.support import processes
from tests.support.pairfiles import SMALL, made, train_files

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.filterwarnings("ignore:W-PAIRS", "ignore:W-UNSEEN")]

LINE = {"until": "2000-06-01", "sizes": SMALL, "options": PairOptions(steps=4), "overwrite": True}


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    return made(tmp_path_factory.mktemp("levels"), lapse=True)


def loaded(path: Path) -> xr.Dataset:
    with xr.open_dataset(path) as dataset:
        return dataset.load()


def on_levels(dataset: xr.Dataset, name: str, levels: list[float], attrs: dict[str, str]) -> xr.Dataset:
    """The same field on levels, a degree more on each."""
    whole = xr.concat([dataset + i for i in range(len(levels))], pd.Index(levels, name=name), join="exact")
    whole[name].attrs = attrs
    for each in dataset.data_vars:
        whole[each].attrs = dataset[each].attrs
    return whole


@pytest.mark.parametrize(
    ("dim", "levels", "attrs", "names"),
    [
        ("level", [850, 500], {}, ["t850", "t500"]),
        ("plev", [85000.0, 50000.0], {"units": "Pa", "axis": "Z"}, ["t850", "t500"]),
        ("pressure_level", [850.0, 500.0], {"units": "hPa"}, ["t850", "t500"]),
        ("isobaricInhPa", [850.0, 2.5], {"units": "hPa"}, ["t850", "t2.5"]),
        ("height", [2.0, 100.0], {"units": "m", "positive": "up"}, ["t2m", "t100m"]),
        ("k", [1, 2], {"standard_name": "model_level_number", "positive": "down"}, ["t1", "t2"]),
    ],
)
def test_levels_are_named_by_what_they_are(files, dim, levels, attrs, names):
    """Pressure in hPa whatever the file's unit, heights with their unit; the values are those of the level."""
    whole = on_levels(loaded(files["coarse"])[["t"]], dim, levels, attrs)
    fields = fields_of(whole, "a.nc")
    assert list(fields.names) == names
    assert fields.parents == dict.fromkeys(names, "t")
    for i, name in enumerate(names):
        assert np.array_equal(fields.at(name, [3])[0], whole["t"].isel({dim: i}).isel(time=3))


def test_levels_stay_lazy_and_names_are_their_own(files):
    """A level keeps its chunks; two of the same name are refused; one level keeps its variable's name."""
    coarse = loaded(files["coarse"])[["t"]]
    whole = on_levels(coarse, "level", [850, 500], {})
    assert split_levels(whole.chunk())[0]["t500"].chunks is not None
    with pytest.raises(InputError, match="levels of t and variables have the same names"):
        split_levels(whole.assign(t850=coarse["t"]))
    single = whole.isel(level=[1])
    assert fields_of(single, "a.nc").names == ("t",)
    assert fields_of(single, "a.nc", ["t500"]).names == ("t500",)
    with pytest.raises(InputError, match="besides time, member, level, y and x: scenario"):
        fields_of(whole.rename(level="scenario"), "a.nc")


def test_a_model_of_levels_is_trained_evaluated_and_applied(files, tmp_path):
    """All levels, or some by their names, or by that of their variable; in one file or each in its own."""
    whole = on_levels(loaded(files["coarse"])[["t"]], "level", [850, 700, 500], {"units": "hPa"})
    whole.to_netcdf(tmp_path / "c.nc")
    out, fine = tmp_path / "m.safetensors", [files["fine"]]
    for chosen, names in (
        ((), ["t850", "t700", "t500"]),
        (("t",), ["t850", "t700", "t500"]),
        (("t700", "t500"), ["t700", "t500"]),
    ):
        train_files([tmp_path / "c.nc"], fine, 4, out, **LINE, predictors=chosen, partners={"tas": names[0]})
        assert [p.name for p in pairing_of(load_checkpoint(out)).predictors] == names
    (found,) = evaluate_pairs([out], [tmp_path / "c.nc"], fine)
    assert found.times == 88
    one = downscale_dataset(whole, out)["tas"]
    apart = [whole[["t"]].isel(level=[i]) for i in (2, 1)]
    assert np.array_equal(downscale_dataset(apart, out)["tas"], one, equal_nan=True)
    with pytest.raises(UsageError, match="no coarse variable t925: there are t500, t700, t850"):
        train_files([tmp_path / "c.nc"], fine, 4, out, **LINE, predictors=["t925"])


def ensemble(dataset: xr.Dataset, dim: str = "number") -> xr.Dataset:
    """Three members, the first as it was."""
    spread = np.random.default_rng(2).normal(size=2)
    whole = xr.concat([dataset, dataset + spread[0], dataset + spread[1]], pd.Index([0, 1, 2], name=dim), join="exact")
    for each in dataset.data_vars:
        whole[each].attrs = dataset[each].attrs
    return whole


@pytest.mark.parametrize("dim", ["number", "realization", "member_id", "ensemble"])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_model_runs_over_every_member(files, tmp_path, dim, lazy):
    """Each as it would alone, in memory and lazily; what has no members goes with all."""
    train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", **LINE)
    coarse = loaded(files["coarse"])
    many = ensemble(coarse[["t"]], dim)
    given = [many.chunk(time=50) if lazy else many, coarse[["stability"]]]
    found = downscale_dataset(given, tmp_path / "m.safetensors")["tas"]
    assert found.dims == (dim, "time", "lat", "lon")
    assert (found.chunks is not None) == lazy
    for i in range(3):
        alone = downscale_dataset([many.isel({dim: i}, drop=True), given[1]], tmp_path / "m.safetensors")["tas"]
        assert np.array_equal(found.isel({dim: i}), alone, equal_nan=True)
    assert found[dim].attrs["standard_name"] == "realization"


@pytest.mark.parametrize("name", ["o.nc", "o.zarr"])
def test_files_of_an_ensemble_are_written(files, tmp_path, name):
    """As the accessor gives them, for several networks too."""
    line = {**LINE, "options": PairOptions(steps=4, members=2)}
    train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", **line)
    many = ensemble(loaded(files["coarse"]))
    many.to_netcdf(tmp_path / "c.nc")
    upscale_file(tmp_path / "c.nc", tmp_path / name, model=tmp_path / "m.safetensors")
    wanted = downscale_dataset(many, tmp_path / "m.safetensors")
    with xr.open_dataset(tmp_path / name, engine="zarr" if name.endswith("zarr") else None) as found:
        assert dict(found.sizes) == {"number": 3, "time": 240, "lat": 20, "lon": 29}
        for each in ("tas", "tas_spread"):
            assert np.allclose(found[each], wanted[each], atol=1e-5, equal_nan=True)


def test_members_train_as_times_of_their_own(files, tmp_path):
    """Three members are three times as many samples, with one truth or one for each; others' members are refused."""
    coarse, fine = loaded(files["coarse"]), loaded(files["fine"])
    ensemble(coarse).to_netcdf(tmp_path / "c.nc")
    ensemble(fine).to_netcdf(tmp_path / "f.nc")
    out = tmp_path / "m.safetensors"
    for truth in (files["fine"], tmp_path / "f.nc"):
        assert train_files([tmp_path / "c.nc"], [truth], 4, out, **LINE).times == (3 * 152, 3 * 88)
        (found,) = evaluate_pairs([out], [tmp_path / "c.nc"], [truth])
        assert found.times == 3 * 88
    ensemble(fine).isel(number=slice(0, 2)).to_netcdf(tmp_path / "two.nc")
    with pytest.raises(InputError, match=r"two\.nc and c\.nc have other members \(2 and 3\)"):
        train_files([tmp_path / "c.nc"], [tmp_path / "two.nc"], 4, out, **LINE)


def test_each_member_is_paired_with_its_own_truth(tmp_path):
    """Members that differ much: the regression of each cell is that over all of them, each with its own."""
    rng = np.random.default_rng(0)
    shifts, times = np.array([0.0, 30.0, -20.0]), 60
    coarse = rng.normal(size=(3, times, 4, 5)).cumsum(1) + shifts[:, None, None, None]
    fine = (2 * coarse + 5).repeat(4, -1).repeat(4, -2) + rng.normal(size=(3, times, 16, 20)) * 0.01
    day = pd.date_range("2000-01-01", periods=times)
    for name, values, step in (("c", coarse, 1.0), ("f", fine, 0.25)):
        y, x = (step * (np.arange(n) + 0.5) for n in values.shape[-2:])
        degrees = {"units": "degrees_north"}, {"units": "degrees_east"}
        places = {"time": day, "lat": ("lat", y, degrees[0]), "lon": ("lon", x, degrees[1])}
        xr.Dataset({"t": (("member", "time", "lat", "lon"), values, {"units": "K"})}, places).to_netcdf(
            tmp_path / f"{name}.nc"
        )
    line = {**LINE, "until": "2000-02-15"}
    scores = train_files([tmp_path / "c.nc"], [tmp_path / "f.nc"], 4, tmp_path / "m.safetensors", **line).scores["t"]
    assert scores["cell regression"] < 10  # what interpolation between cells leaves; 40 if members were mixed up
    assert scores["climatology"] > 20


# ----------------------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize(
    ("given_units", "wanted", "scale"),
    [("m s**-1", "m s-1", 1), ("Pa", "hPa", 100), ("m", "mm", 1e-3), ("deg C", "degC", 1), ("%", "1", 100)],
)
def test_predictors_in_other_units_train_and_apply(files, tmp_path, given_units, wanted, scale):
    """Converted for the partner's correction; a model takes its predictors, and is scored, in any unit."""
    coarse, fine = loaded(files["coarse"])[["t"]], loaded(files["fine"])
    for dataset, name in ((coarse, "t"), (fine, "tas")):
        dataset[name].attrs["units"] = wanted
    coarse.to_netcdf(tmp_path / "same.nc")
    fine.to_netcdf(tmp_path / "f.nc")
    other = coarse.assign(t=(coarse["t"] * scale).assign_attrs(coarse["t"].attrs | {"units": given_units}))
    other.to_netcdf(tmp_path / "c.nc")
    scores = {}
    for name in ("same", "c"):
        out = tmp_path / f"{name}.safetensors"
        line = {**LINE, "base": "correction"}
        scores[name] = train_files([tmp_path / f"{name}.nc"], [tmp_path / "f.nc"], 4, out, **line).scores["tas"]
    assert scores["c"] == pytest.approx(scores["same"], rel=1e-3)
    model = tmp_path / "same.safetensors"
    ours, theirs = (downscale_dataset(each, model)["tas"] for each in (coarse, other))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4, equal_nan=True)
    found, again = (evaluate_pairs([model], [tmp_path / f"{n}.nc"], [tmp_path / "f.nc"])[0] for n in ("same", "c"))
    assert again.scores["network"]["rmse"] == pytest.approx(found.scores["network"]["rmse"], rel=1e-4)


def test_a_range_of_temperatures_keeps_its_zero(files, tmp_path):
    """Kelvins of a difference are as many degrees: no 273 comes in."""
    coarse, fine = loaded(files["coarse"])[["t"]], loaded(files["fine"])
    words = {"long_name": "diurnal temperature range", "standard_name": ""}
    coarse["t"].attrs.update(words, units="K")
    fine["tas"].attrs.update(words, units="degC")
    coarse.rename(t="tas").to_netcdf(tmp_path / "c.nc")
    fine.to_netcdf(tmp_path / "f.nc")
    scores = train_files([tmp_path / "c.nc"], [tmp_path / "f.nc"], 4, tmp_path / "m.safetensors", **LINE).scores["tas"]
    assert scores["bilinear"] < 50


def test_the_command_says_what_was_matched(tmp_path, files):
    """Months are said; levels in a file train from the command line."""
    months = pd.date_range("1980-01-01", periods=240, freq="MS")
    coarse = on_levels(loaded(files["coarse"])[["t"]].assign_coords(time=months), "level", [850, 500], {})
    coarse.to_netcdf(tmp_path / "c.nc")
    loaded(files["fine"]).assign_coords(time=months + pd.Timedelta(14, "D")).to_netcdf(tmp_path / "f.nc")
    line = (
        "--coarse",
        tmp_path / "c.nc",
        "-f",
        4,
        "--until",
        "1990-01-01",
        "--steps",
        2,
        "-o",
        tmp_path / "m.safetensors",
    )
    done = processes.run("train-pairs", tmp_path / "f.nc", *line)
    assert done.code == 0, done.err
    assert "fitted on 120 months (matched by year and month), RMSE on the 120 after them" in done.out


def test_files_are_decoded_once_and_their_levels_taken_apart_once(files, tmp_path, monkeypatch):
    """Each coarse file of a model of pairs, from the file to the fields."""
    train_files([files["coarse"]], [files["fine"]], 4, tmp_path / "m.safetensors", **LINE)
    counts: dict[str, int] = {"decode_times": 0, "split_levels": 0}

    def counted(name, function):
        def called(*given):
            counts[name] += 1
            return function(*given)

        return called

    for module in (apply, fields, upscale_pairs):
        for name in counts:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    upscale_file(files["coarse"], tmp_path / "out.nc", None, tmp_path / "m.safetensors")
    assert counts == {"decode_times": 1, "split_levels": 1}
