"""Apply a network that was trained on pairs: coarse fields in, targets on its fine grid out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from geofsrcnn._types import Array, Progress
from geofsrcnn.cf.attributes import history
from geofsrcnn.errors import InputError, ModelError, UsageError, printable, warn
from geofsrcnn.files.paths import refuse_same
from geofsrcnn.files.staging import check_target, staged
from geofsrcnn.formats.open import opened_dataset
from geofsrcnn.formats.writer import NewField, Writer
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import Checkpoint, load_checkpoint
from geofsrcnn.networks.inference import Network
from geofsrcnn.pairs.interpolate import interpolated
from geofsrcnn.pairs.network import downscaled, is_of_pairs, pairing_of
from geofsrcnn.pairs.pairing import Pairing, Predictor
from geofsrcnn.pairs.read import NOWHERE, day_of_year, expanded, share_outside
from geofsrcnn.pairs.times import TOGETHER, Fields, common_times, fields_of, joined
from geofsrcnn.values.units import differ

MANY = 0.001
"""Share of a predictor's values outside what was trained on that is worth a warning."""

BEYOND = 0.02
"""Share of the fine cells beyond a predictor's grid, more than in training, that is worth a warning."""

RESOLUTION = 0.02
"""Relative difference of a predictor's spacing up to which it is the same resolution."""


@dataclass(frozen=True)
class Downscaling:
    """A network of pairs with the coarse fields that it needs, found and checked.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of `geofsrcnn.pairs.train`.
    pairing : Pairing
        What stands around the network.
    networks : list of Network
        Its members, ready to run.
    device : str
        Where it runs.
    fields : list of tuple
        For each predictor its dataset and name.
    indexes : list of list of int
        For each predictor the times that all have.
    """

    checkpoint: Checkpoint
    pairing: Pairing
    networks: list[Network]
    device: str
    fields: list[tuple[Fields, str]]
    indexes: list[list[int]]

    @property
    def timed(self) -> tuple[Fields, list[int]]:
        """The first dataset with times, and the times."""
        for (fields, _), index in zip(self.fields, self.indexes, strict=True):
            if fields.time is not None:
                return fields, index
        raise UsageError("the coarse fields have no time axis: add one")

    @property
    def count(self) -> int:
        """Times."""
        return len(self.timed[1])

    def frame(self) -> xr.Dataset:
        """The result without its targets: coordinates and words."""
        fields, index = self.timed
        domain, stamps = self.pairing.domain, fields.dataset[fields.time].isel({fields.time: index})
        y, x = domain.names
        words = (
            {"units": "degrees_north", "standard_name": "latitude"},
            {"units": "degrees_east", "standard_name": "longitude"},
        )
        words = words if domain.turning else ({"axis": "Y"}, {"axis": "X"})
        card, factor = self.checkpoint.card, self.pairing.factor
        kept = {k: v for k, v in stamps.encoding.items() if k in ("units", "calendar")}
        return xr.Dataset(
            {},
            {
                "time": xr.Variable("time", stamps.to_numpy(), stamps.attrs, kept),
                y: (y, domain.y, words[0]),
                x: (x, domain.x, words[1]),
            },
            {"Conventions": "CF-1.11", "history": history(None, card.name, self.checkpoint.digest, factor)},
        )

    def outputs(self) -> list[tuple[str, dict[str, str]]]:
        """Names and attributes of the variables: the targets, then the spread of each if there are several members."""
        targets = self.pairing.targets
        found = [(target.name, target.attrs) for target in targets]
        if len(self.networks) > 1:
            words = f"standard deviation of {len(self.networks)} networks"
            for target in targets:
                named = f"{words}, {target.attrs.get('long_name', target.name)}"
                units = {k: v for k, v in target.attrs.items() if k == "units"}
                found.append((f"{target.name}_spread", {"long_name": named, **units}))
        return found

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Some times after the other, ``(time, output, y, x)`` float32; NaN where no value was ever seen."""
        outside = _Outside(self.pairing)
        for start in range(0, self.count, TOGETHER):
            part = slice(start, min(start + TOGETHER, self.count))
            yield part, self._some([index[part] for index in self.indexes], outside).astype(np.float32)
        outside.say()

    def _some(self, indexes: list[list[int]], outside: _Outside) -> Array:
        domain, reach = self.pairing.domain, self.networks[0].halo
        coarse: list[Array] = []
        near: list[Array] = []
        wanted = {target.partner for target in self.pairing.targets}
        for (each, name), index in zip(self.fields, indexes, strict=True):
            field = each.at(name, index).load()
            coarse.append(interpolated(field, each.grid, *domain.middles(reach), turning=domain.turning))
            at_fine = name in wanted
            near.append(
                interpolated(field, each.grid, domain.y, domain.x, turning=domain.turning) if at_fine else np.zeros(0)
            )
        given = np.stack(coarse, 1)
        outside.add(given)
        stamped = next((e, i) for (e, _), i in zip(self.fields, indexes, strict=True) if e.time is not None)
        days = np.array([day_of_year(stamped[0].stamps[i]) for i in stamped[1]])
        places = [self.pairing.partner(target) for target in self.pairing.targets]
        nothing = np.full((len(days), *domain.shape), np.nan)
        partners = domain.pad(np.stack([nothing if i is None else near[i] for i in places], 1))
        members = downscaled(self.networks, self.pairing, given, partners, days, "cpu")  # which move what they get
        mean = np.mean(members, axis=0)
        return np.concatenate([mean, np.std(members, axis=0, ddof=1)], axis=1) if len(members) > 1 else mean


class _Outside:
    """Values beyond those that a network was trained on, counted."""

    def __init__(self, pairing: Pairing) -> None:
        self._predictors = pairing.predictors
        self._count = np.zeros(len(pairing.predictors))
        self._missing = np.zeros(len(pairing.predictors))
        self._all = 0
        self._span = [[np.inf, -np.inf] for _ in pairing.predictors]

    def add(self, given: Array) -> None:
        """Take in ``(time, predictor, y, x)``."""
        self._all += given[:, 0].size
        for i, predictor in enumerate(self._predictors):
            values = given[:, i]
            low, high = predictor.span
            spare = 1e-5 * (high - low)  # what interpolation rounds
            self._count[i] += ((values < low - spare) | (values > high + spare)).sum()
            self._missing[i] += (~np.isfinite(values)).sum()
            own = self._span[i]
            own[:] = np.fmin(own[0], np.fmin.reduce(values, None)), np.fmax(own[1], np.fmax.reduce(values, None))

    def say(self) -> None:
        """Warn of predictors with more than `MANY` of their values outside, and of those without any."""
        for predictor, missing in zip(self._predictors, self._missing, strict=True):
            if missing == self._all:
                warn("W-MISSING", f"{printable(predictor.name)} has no value: its mean stands in for it")
        for predictor, count, span in zip(self._predictors, self._count, self._span, strict=True):
            low, high = predictor.span
            if count > MANY * self._all:
                warn(
                    "W-UNSEEN",
                    f"{100 * count / self._all:.1f} % of the values of {printable(predictor.name)} lie outside what "
                    f"the model was trained on ({low:.4g} to {high:.4g}; here {span[0]:.4g} to "
                    f"{span[1]:.4g}): results there are guesses",
                )


def prepared(
    sources: Sequence[xr.Dataset],
    model: str | os.PathLike[str] | Checkpoint,
    *,
    device: str = "auto",
    precision: str = "float32",
) -> Downscaling:
    """Find in the datasets what a network of pairs needs; arguments and errors as for `downscale_dataset`."""
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    if not is_of_pairs(checkpoint):
        raise ModelError(f"model {checkpoint.card.name} was not trained on pairs: use upscale_dataset")
    pairing, device = pairing_of(checkpoint), check_device(device)
    fields = _found(sources, pairing)
    indexes = common_times([each for each, _ in fields])
    networks = [Network(model, device, precision) for model in checkpoint.members]
    return Downscaling(checkpoint, pairing, networks, device, fields, indexes)


def downscale_dataset(
    coarse: xr.Dataset | Sequence[xr.Dataset],
    model: str | os.PathLike[str] | Checkpoint,
    *,
    device: str = "auto",
    precision: str = "float32",
) -> xr.Dataset:
    """Targets of a network that was trained on pairs, on its fine grid.

    Parameters
    ----------
    coarse : Dataset, or several
        Decoded, with the network's predictors by name, on any grids with coordinates of one dimension.
    model : path or Checkpoint
        Of `geofsrcnn.pairs.train`.
    device, precision : str
        As for `geofsrcnn.upscale_array`.

    Returns
    -------
    Dataset
        ``(time, y, x)`` in memory, float32; NaN where the network has never seen a value. With several members their
        mean, and ``NAME_spread``, their standard deviation.

    Raises
    ------
    InputError, UsageError, ModelError
        If a predictor is not there or in other units, there is no common time, or the model is no such one.
    """
    sources = [coarse] if isinstance(coarse, xr.Dataset) else list(coarse)
    task = prepared(sources, model, device=device, precision=precision)
    fine = np.concatenate([block for _, block in task.blocks()])
    dims = ("time", *task.pairing.domain.names)
    return task.frame().assign({name: (dims, fine[:, k], attrs) for k, (name, attrs) in enumerate(task.outputs())})


def downscale_files(
    coarse: Sequence[str | os.PathLike[str]],
    dst: str | os.PathLike[str],
    model: str | os.PathLike[str] | Checkpoint,
    *,
    device: str = "auto",
    precision: str = "float32",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Downscaling:
    """`downscale_dataset` from files into a NetCDF or Zarr, some times after the other, whole or not at all.

    Raises
    ------
    GeofsrcnnError
        One of its classes, with nothing written.
    """
    target = Path(dst).absolute()
    kind = {".nc": "NetCDF", ".nc4": "NetCDF", ".zarr": "Zarr"}.get(target.suffix.lower())
    if kind is None:
        raise UsageError(f"networks of pairs write NetCDF or Zarr: {printable(target.name)} must end in .nc or .zarr")
    paths = expanded(coarse)
    refuse_same(target, *paths)
    check_target(target, overwrite=overwrite, folder=kind == "Zarr")
    with ExitStack() as held:
        stored = [held.enter_context(opened_dataset(path)) for path in paths]
        decoded = [xr.decode_cf(each, decode_timedelta=False) for each in stored]
        task = prepared(decoded, model, device=device, precision=precision)
        with staged(target, overwrite=overwrite, folder=kind == "Zarr") as staging:
            _write(task, staging, kind, progress)
    return task


def _write(task: Downscaling, staging: Path, kind: str, progress: Progress | None) -> None:
    frame, outputs = task.frame(), task.outputs()
    writer: Writer
    if kind == "Zarr":
        from geofsrcnn.formats.zarr import ZarrWriter

        writer = ZarrWriter(staging, frame, 3)
    else:
        from geofsrcnn.formats.netcdf import DEFAULT_FORM, NetCDFWriter

        writer = NetCDFWriter(staging, frame, DEFAULT_FORM, [])
    try:
        rows, columns = task.pairing.domain.shape
        y, x = task.pairing.domain.names
        for name, words in outputs:
            attrs = {**words, "_FillValue": np.float32(np.nan)}
            sizes = {"time": task.count, y: rows, x: columns}
            chunks = (min(TOGETHER, task.count), rows, columns)
            writer.define(NewField(name, sizes, np.dtype("float32"), attrs, chunks))
        for part, block in task.blocks():
            for k, (name, _) in enumerate(outputs):
                writer.write(name, (part, slice(0, rows), slice(0, columns)), np.ascontiguousarray(block[:, k]))
            if progress is not None:
                progress(part.stop, task.count)
        writer.finish(lambda: None if progress is None else progress(task.count, task.count))
    finally:
        writer.close()


def _found(sources: Sequence[xr.Dataset], pairing: Pairing) -> list[tuple[Fields, str]]:
    """For each predictor the dataset that has it."""
    found = []
    for predictor in pairing.predictors:
        having = [each for each in sources if predictor.name in each.variables]
        if not having:
            names = ", ".join(str(name) for each in sources for name in each.data_vars)
            words = f"no variable {printable(predictor.name)}, which the model needs"
            raise InputError(f"{words}: there are {names}; give the file that has it with --also")
        (fields,) = joined([fields_of(each, printable(predictor.name), [predictor.name]) for each in having])
        units = str(having[0][predictor.name].attrs.get("units", ""))
        if differ(units, predictor.units):
            raise InputError(
                f"{printable(predictor.name)} is in {printable(units)}, the model was trained on "
                f"{printable(predictor.units)}: convert it first"
            )
        check_spacing(predictor, fields.spacing)
        check_place(predictor, share_outside(fields, pairing.domain))
        found.append((fields, predictor.name))
    return found


def check_place(predictor: Predictor, outside: float) -> None:
    """Refuse a predictor of another place, and warn of one that covers less of the fine grid than in training.

    Raises
    ------
    InputError
    """
    if outside > NOWHERE:
        raise InputError(f"{printable(predictor.name)} does not cover the model's grid: check its coordinates")
    if outside > predictor.outside + BEYOND:
        warn(
            "W-PLACE",
            f"{100 * outside:.0f} % of the fine cells lie beyond the grid of {printable(predictor.name)}, "
            f"{100 * predictor.outside:.0f} % did in training: its edge values stand there",
        )


def check_spacing(predictor: Predictor, spacing: tuple[float, float]) -> None:
    """Refuse a predictor on a grid of another resolution than was trained on; 0 stands for an unknown one.

    Raises
    ------
    InputError
    """
    for own, wanted, what in zip(spacing, predictor.spacing, ("rows", "columns"), strict=True):
        if own and wanted and abs(own / wanted - 1) > RESOLUTION:
            raise InputError(
                f"{printable(predictor.name)} has {what} every {own:g}, the model was trained on {wanted:g}: bring "
                "it onto that grid first"
            )
