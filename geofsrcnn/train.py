"""Train a network on fine rasters: coarse patches are block means of fine ones.

Each patch is taken at any fine offset, so blocks fall everywhere; only patches without missing cells are used.
A patch's error counts in units of its own roughness (standard deviation of fine minus coarse), so that no domain's
units dominate. Whole sites are held out for validation.
"""

from __future__ import annotations

import copy
import datetime as dt
import json
import math
import os
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geofsrcnn.checkpoint import Card, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.errors import ConfigError, InputError, OutputError, TrainError, UsageError, printable
from geofsrcnn.files import check_target, local_path, refuse_same
from geofsrcnn.grid import Grid
from geofsrcnn.methods import check_device
from geofsrcnn.metrics import rmse, scored_mask
from geofsrcnn.model import FSRCNN, FSRCNNConfig
from geofsrcnn.nodata import fill
from geofsrcnn.raster import RasterSource
from geofsrcnn.resample import block_mean, resample
from geofsrcnn.tiles import Window

Array = npt.NDArray[Any]
Report = Callable[[dict[str, Any]], None]

BASELINE = "lanczos-bp"
"""The strongest classical method on most fields; scores during training are ratios to it."""

MIN_SCORED = 400
"""Fine cells that a validation field needs to count."""

MAX_VALIDATION = 768
"""Fine rows and columns of a validation field that are scored; its middle is taken."""


@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Parameters
    ----------
    steps : int
        Optimiser steps of the whole schedule.
    minutes : float, optional
        End after this time instead, the schedule stretched to it; not reproducible to the bit.
    batch : int
        Patches in a step.
    patch : int
        Coarse cells along one side of what a patch is scored on.
    rate : float
        Peak learning rate (AdamW), after a warm-up of 200 steps, then a cosine to 0.
    softness : float
        Of the Charbonnier loss ``sqrt(e^2 + softness^2)``, in units of a patch's roughness.
    average : float
        Decay of the moving average of the weights, which is what is kept.
    check_every : int
        Steps between validations.
    seed : int
        Of weights, patches and held-out sites.
    hold_out : float
        Share of the sites that is held out where no validation rasters are given.
    """

    steps: int = 20_000
    minutes: float | None = None
    batch: int = 16
    patch: int = 32
    rate: float = 1e-3
    softness: float = 0.3
    average: float = 0.999
    check_every: int = 500
    seed: int = 0
    hold_out: float = 0.15

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "patch", "check_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise ConfigError(f"minutes must be positive, got {self.minutes}")
        if self.seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {self.seed}")
        if not 0 < self.hold_out < 1:
            raise ConfigError(f"hold_out must be between 0 and 1, got {self.hold_out}")
        if not (self.rate > 0 and self.softness > 0 and 0 <= self.average < 1):
            raise ConfigError("rate and softness must be positive, average from 0 to below 1")


@dataclass
class Field:
    """One band of a raster in memory.

    Parameters
    ----------
    name : str
        File stem and band.
    grid : Grid
        Of the file.
    values : ndarray (y, x), float64
        NaN where missing.
    """

    name: str
    grid: Grid
    values: Array


@dataclass(frozen=True)
class Result:
    """What a training gave.

    Parameters
    ----------
    out : str
        The checkpoint.
    score : float
        Geometric mean over validation fields of RMSE divided by that of lanczos3 with back-projection.
    steps : int
        Steps taken; the best checkpoint may be an earlier one.
    seconds : float
        Wall time.
    fields : dict
        The ratio for each validation field.
    """

    out: str
    score: float
    steps: int
    seconds: float
    fields: dict[str, float] = field(default_factory=dict)


def train_model(
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    out: str | os.PathLike[str],
    *,
    config: FSRCNNConfig | None = None,
    options: TrainOptions | None = None,
    validation: Sequence[str | os.PathLike[str]] = (),
    card: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | Checkpoint | None = None,
    device: str = "auto",
    overwrite: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> Result:
    """Train a network and keep the best checkpoint.

    Parameters
    ----------
    fine : sequence of path
        Rasters of the fine grid; every band is a field, rasters of the same area are one site.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``; replaced whenever validation improves on the untrained network, which
        is written at the end if none was better.
    config : FSRCNNConfig, optional
        Network; its factor must be `factor`.
    options : TrainOptions, optional
        How to train.
    validation : sequence of path
        Rasters to validate on instead of held-out sites.
    card : path, optional
        TOML with ``summary``, ``limits`` and ``[[data]]`` (name, source, licence) for the model card.
    start : path or Checkpoint, optional
        Weights to start from, of the same configuration.
    device : str
        ``auto``, ``cpu``, ``cuda``.
    overwrite : bool
        Replace an existing `out`.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training.

    Returns
    -------
    Result

    Raises
    ------
    UsageError, InputError, OutputError, TrainError
        If an argument is wrong, rasters cannot be used, or the loss is no longer finite.
    """
    options = options or TrainOptions()
    config = config or FSRCNNConfig(factor=factor)
    if config.factor != factor:
        raise UsageError(f"the configuration is for factor {config.factor}, not {factor}")
    if config.channels != 1 or config.pad_layers:
        raise UsageError("train takes one-band networks that pad at the input")
    target = Path(out).absolute()
    if target.suffix != ".safetensors":
        raise UsageError(f"the checkpoint's name must end in .safetensors: {printable(target.name)}")
    paths = [local_path(path) for path in fine]
    refuse_same(target, *paths)
    check_target(target, overwrite=overwrite)
    written = _read_card(card)
    device = check_device(device)

    training, held_out = _split(paths, [local_path(p) for p in validation], factor, options)
    size = factor * (options.patch + 2 * config.halo)
    usable = [f for f in training if min(f.values.shape) >= size]
    if not usable:
        raise InputError(f"no raster of {size} x {size} fine cells or more to train on: take a smaller --patch")
    scored = [s for s in (_prepare(f, factor, config.halo) for f in held_out) if s is not None]
    if not scored:
        raise InputError("no validation field has enough valid cells: give --validation rasters")

    torch.manual_seed(options.seed)
    model = FSRCNN(config).to(device)
    if start is not None:
        given = start if isinstance(start, Checkpoint) else load_checkpoint(start, factor)
        if given.config != config:
            raise UsageError("the checkpoint to start from has another configuration")
        model.load_state_dict(given.model.state_dict())
    names = sorted({f.name.split("#")[0] for f in usable})
    ours = False

    def keep(best: FSRCNN, score: float, fields: dict[str, float], step: int, seconds: float) -> None:
        nonlocal ours
        save_checkpoint(
            target,
            best,
            Card(
                name=target.stem,
                summary=written.get("summary", ""),
                data=written.get("data") or [{"name": n, "source": "", "licence": ""} for n in names],
                scores={
                    "what": f"RMSE divided by that of {BASELINE}, held-out sites",
                    "geometric_mean": round(score, 4),
                    "fields": {n: round(v, 4) for n, v in fields.items()},
                },
                training={**options.__dict__, "step": step, "taken_minutes": round(seconds / 60, 1)},
                limits=written.get("limits", ""),
                created=dt.datetime.now(dt.UTC).date().isoformat(),
            ),
            overwrite=overwrite or ours,
        )
        ours = True

    return _fit(model, usable, scored, options, device, keep, report, each_step, str(target))


def _read_card(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    if path is None:
        return {}
    found = local_path(path)
    if found.stat().st_size > 2**20:
        raise ConfigError(f"card is larger than 1 MiB: {printable(found)}")
    try:
        card = tomllib.loads(found.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"card {printable(found.name)} is not TOML ({printable(error)})") from None
    except OSError as error:
        raise ConfigError(f"cannot read the card {printable(found.name)} ({error.strerror})") from None
    if unknown := sorted(set(card) - {"summary", "limits", "data"}):
        raise ConfigError(f"card {printable(found.name)} has unknown keys: {', '.join(map(printable, unknown))}")
    texts = all(isinstance(card.get(key, ""), str) for key in ("summary", "limits"))
    rows = card.get("data", [])
    if not texts or not isinstance(rows, list) or not all(map(_is_texts, rows)):
        raise ConfigError(f"card {printable(found.name)}: summary and limits are texts, data a list of tables of texts")
    return card


def _is_texts(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(value, str) for value in row.values())


def read_fields(path: Path) -> list[Field]:
    """All bands of a raster, in memory, NaN where missing."""
    with RasterSource(path) as source:
        bands, rows, columns = source.shape
        cells = source.read(Window(0, rows, 0, columns), slice(0, bands))
        values = np.where(cells.valid, cells.values.astype(np.float64), np.nan)
        return [
            Field(f"{path.stem}#{band.index}", source.grid, v) for band, v in zip(source.bands, values, strict=True)
        ]


def _split(
    paths: list[Path], validation: list[Path], factor: int, options: TrainOptions
) -> tuple[list[Field], list[Field]]:
    """Fields to train on and fields to validate on, never of the same site."""
    if both := {path.resolve() for path in paths} & {path.resolve() for path in validation}:
        raise InputError(f"{printable(both.pop().name)} is to train on and to validate on: choose one")
    files = [read_fields(path) for path in paths]
    if validation:
        return [f for fields in files for f in fields], [f for path in validation for f in read_fields(path)]
    sites = _sites([fields[0].grid for fields in files])
    count = len(set(sites))
    if count == 1:
        return _split_one(files, factor)
    order = np.random.default_rng(options.seed).permutation(sorted(set(sites)))
    out = set(order[: max(1, round(options.hold_out * count))].tolist())
    training = [f for site, fields in zip(sites, files, strict=True) if site not in out for f in fields]
    held_out = [f for site, fields in zip(sites, files, strict=True) if site in out for f in fields]
    return training, held_out


def _sites(grids: list[Grid]) -> list[int]:
    """A number for each grid; grids that overlap at comparable resolution, or are equal, share it."""
    number = list(range(len(grids)))
    for i, a in enumerate(grids):
        for j, b in enumerate(grids[:i]):
            if _same_site(a, b):
                old, new = number[i], number[j]
                number = [new if n == old else n for n in number]
    return number


def _same_site(a: Grid, b: Grid) -> bool:
    if a.affine is None or b.affine is None or a.crs != b.crs:
        return a.shape == b.shape and a.affine == b.affine and a.crs == b.crs
    if not 1 / 8 < abs(a.affine.determinant / b.affine.determinant) ** 0.5 < 8:
        return False
    (al, ab, ar, at), (bl, bb, br, bt) = (_box(g) for g in (a, b))
    return al < br and bl < ar and ab < bt and bb < at


def _box(grid: Grid) -> tuple[float, float, float, float]:
    assert grid.affine is not None
    rows, columns = grid.shape
    t, corners = grid.affine, ((0, 0), (columns, 0), (0, rows), (columns, rows))
    x = [t.a * column + t.b * row + t.c for column, row in corners]
    y = [t.d * column + t.e * row + t.f for column, row in corners]
    return min(x), min(y), max(x), max(y)


def _split_one(files: list[list[Field]], factor: int) -> tuple[list[Field], list[Field]]:
    """One site: the right quarter validates, with a strip between that neither side uses."""
    training, held_out = [], []
    for f in (f for fields in files for f in fields):
        columns = f.values.shape[1]
        cut, gap = columns * 3 // 4, 16 * factor
        training.append(Field(f.name, f.grid, f.values[:, : max(cut - gap, 0)]))
        held_out.append(Field(f.name, f.grid, f.values[:, cut:]))
    return training, held_out


@dataclass
class _Scored:
    """A validation field with its coarse version and the baselines' scores."""

    name: str
    coarse: Tensor
    offset: float
    truth: Array
    where: npt.NDArray[np.bool_]
    baseline: float


def _prepare(f: Field, factor: int, halo: int) -> _Scored | None:
    """Block means, filled and padded; None where too few cells count."""
    rows, columns = (min(n, MAX_VALIDATION) // factor * factor for n in f.values.shape)
    y, x = ((n - m) // 2 for n, m in zip(f.values.shape, (rows, columns), strict=True))
    truth = f.values[y : y + rows, x : x + columns]
    coarse = block_mean(truth, factor)
    valid = np.isfinite(coarse)
    where = scored_mask(valid, factor)
    if where.sum() < MIN_SCORED:
        return None
    coarse = fill(coarse[None], valid[None], 2 * halo)[0]
    baseline = rmse(resample(coarse, factor, BASELINE), truth, where)
    if baseline <= 1e-9 * float(np.abs(truth[where]).max()):  # constant but for rounding
        return None
    offset = float(coarse.mean())
    padded = np.pad(coarse - offset, halo, mode="edge").astype(np.float32)
    return _Scored(f.name, torch.from_numpy(padded)[None, None], offset, truth, where, baseline)


def _validate(model: FSRCNN, fields: list[_Scored], device: str) -> dict[str, float]:
    """RMSE divided by the baseline's, for each field."""
    scores = {}
    with torch.inference_mode():
        for f in fields:
            fine = model(f.coarse.to(device))[0, 0].cpu().numpy().astype(np.float64) + f.offset
            scores[f.name] = rmse(fine, f.truth, f.where) / f.baseline
    return scores


class _Patches:
    """Endless random patches: coarse input with halo, fine truth, and the roughness that scales the error."""

    def __init__(self, fields: list[Field], factor: int, halo: int, options: TrainOptions) -> None:
        self._fields, self._factor, self._halo = fields, factor, halo
        self._size = factor * (options.patch + 2 * halo)
        self._batch = options.batch
        self._random = np.random.default_rng(options.seed)
        bands: dict[str, int] = {}
        for f in fields:
            bands[f.name.split("#")[0]] = bands.get(f.name.split("#")[0], 0) + 1
        weights = np.array([math.sqrt(f.values.size) / bands[f.name.split("#")[0]] for f in fields])
        self._weights = weights / weights.sum()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self._draw_batch)
            while True:
                batch = following.result()
                following = ahead.submit(self._draw_batch)
                yield batch

    def _draw_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        patches = [self._draw() for _ in range(self._batch)]
        coarse = np.stack([p[0] for p in patches])[:, None]
        fine = np.stack([p[1] for p in patches])[:, None]
        roughness = np.array([p[2] for p in patches])[:, None, None, None]
        return (
            torch.from_numpy((coarse / roughness).astype(np.float32)),
            torch.from_numpy((fine / roughness).astype(np.float32)),
            torch.from_numpy(roughness.astype(np.float32)),
        )

    def _draw(self) -> tuple[Array, Array, float]:
        for _ in range(1000):
            f = self._fields[self._random.choice(len(self._fields), p=self._weights)]
            rows, columns = f.values.shape
            y = int(self._random.integers(rows - self._size + 1))
            x = int(self._random.integers(columns - self._size + 1))
            fine = f.values[y : y + self._size, x : x + self._size]
            if not np.isfinite(fine).all():
                continue
            turns, mirror = int(self._random.integers(4)), bool(self._random.integers(2))
            fine = np.rot90(fine[:, ::-1] if mirror else fine, turns)
            fine = fine - fine.mean()
            coarse = block_mean(fine, self._factor)
            edge = self._factor * self._halo
            core = fine[edge:-edge, edge:-edge]
            inner = coarse[self._halo : -self._halo, self._halo : -self._halo]
            roughness = float((core - np.kron(inner, np.ones((self._factor, self._factor)))).std())
            if roughness > 1e-6 * float(np.abs(fine).max()):
                return coarse, core, roughness
        raise InputError("found no patch without missing cells and with any structure in 1000 draws")


def _fit(
    model: FSRCNN,
    fields: list[Field],
    scored: list[_Scored],
    options: TrainOptions,
    device: str,
    keep: Callable[[FSRCNN, float, dict[str, float], int, float], None],
    report: Report | None,
    each_step: Callable[[], None],
    out: str,
) -> Result:
    start = time.monotonic()
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.0, betas=(0.9, 0.99))
    patches = iter(_Patches(fields, model.config.factor, model.config.halo, options))
    best, best_fields = math.inf, {}
    untrained: FSRCNN | None = None  # written at the end only: until then an older checkpoint is worth more
    losses: list[float] = []
    step = 0
    while True:
        seconds = time.monotonic() - start
        done = step / options.steps if options.minutes is None else seconds / 60 / options.minutes
        if step % options.check_every == 0 or done >= 1:
            ratios = _validate(average, scored, device)
            score = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
            if score < best:
                best, best_fields = score, ratios
                untrained = copy.deepcopy(average) if step == 0 else None
                if step > 0:
                    keep(average, score, ratios, step, seconds)
            if report is not None:
                loss = sum(losses) / max(len(losses), 1)
                report(
                    {
                        "step": step,
                        "done": min(done, 1.0),
                        "seconds": round(seconds, 1),
                        "loss": round(loss, 5),
                        "score": round(score, 5),
                        "best": round(best, 5),
                    }
                )
            losses = []
        if done >= 1:
            if untrained is not None:
                keep(untrained, best, best_fields, 0, seconds)
            return Result(out, best, step, time.monotonic() - start, best_fields)
        each_step()
        for group in optimiser.param_groups:
            group["lr"] = options.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        coarse, fine, _ = next(patches)
        error = model(coarse.to(device)) - fine.to(device)
        loss_now = (error.square() + options.softness**2).sqrt().mean() - options.softness
        if not math.isfinite(loss_now.item()):
            raise TrainError(f"the loss is not finite at step {step}: take a smaller --rate")
        losses.append(loss_now.item())
        optimiser.zero_grad(set_to_none=True)
        loss_now.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        _follow(average, model, min(options.average, (1 + step) / (10 + step)))
        step += 1


@torch.no_grad()
def _follow(average: FSRCNN, model: FSRCNN, decay: float) -> None:
    """Move the averaged weights a little towards the model's."""
    for a, b in zip(average.parameters(), model.parameters(), strict=True):
        a.lerp_(b, 1 - decay)


def json_lines(path: Path) -> Report:
    """A report that appends each record to a file as a line of JSON."""

    def write(record: dict[str, Any]) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {printable(path)} ({error.strerror}): check the log's name") from error

    return write
