"""Train a network on fine rasters: coarse patches are block means of fine ones.

The schedule is AdamW with a warm-up and a cosine; what is kept is the moving average of the weights, whenever it does
better on the held-out fields, or that of the last step. The batch of a step depends on the seed and the step
alone, so a training that was stopped goes on exactly as if it had not been (`resume`).
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geofsrcnn._types import Array
from geofsrcnn.errors import ConfigError, InputError, UsageError, printable
from geofsrcnn.evaluation.scores import MIN_CELLS, rmse, scored_mask
from geofsrcnn.files.paths import local_path
from geofsrcnn.formats.raster import RasterSource
from geofsrcnn.grids.windows import read_margin
from geofsrcnn.networks.card import Card
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import (
    BANDS,
    Checkpoint,
    Section,
    load_checkpoint,
    save_checkpoint,
    today,
    unknown_sources,
)
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.training.branches import add_branches
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import Run, Teacher, Training, batch_loss, deterministic_torch, fit, identify, record
from geofsrcnn.training.patches import Batch, Field, Patches, digest, split
from geofsrcnn.training.processes import join_processes
from geofsrcnn.training.schedule import BASELINE, Result, TrainOptions
from geofsrcnn.training.states import State, open_checkpoint, remove_states, save_state
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.fill import fill
from geofsrcnn.values.kernels import resample

MAX_VALIDATION = 768
"""Fine rows and columns of a validation field that are scored; its middle is taken."""


def train_model(  # noqa: PLR0913  all but the first three by name
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    out: str | os.PathLike[str],
    *,
    config: FSRCNNConfig | None = None,
    options: TrainOptions | None = None,
    validation: Sequence[str | os.PathLike[str]] = (),
    card: str | os.PathLike[str] | dict[str, Any] | None = None,
    start: str | os.PathLike[str] | Checkpoint | None = None,
    teacher: str | os.PathLike[str] | Checkpoint | None = None,
    device: str = "auto",
    overwrite: bool = False,
    resume: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> Result:
    """Train a network and keep the best checkpoint.

    Parameters
    ----------
    fine : sequence of path
        Rasters of the fine grid; every band is a field, rasters of the same area are one site. With a joint network
        all bands of a raster are learned together, and are the same in all rasters.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``; replaced whenever validation improves on the untrained network, which
        is written at the end if none was better (``keep="last"``: the last one is).
    config : FSRCNNConfig, optional
        Sizes and forms of the network; its factor must be `factor`. ``FSRCNNConfig(factor=3, channels=4, joint=True)``
        takes four bands together.
    options : TrainOptions, optional
        Options of the training.
    validation : sequence of path
        Rasters to validate on instead of held-out sites.
    card : path or dict, optional
        TOML with ``summary``, ``limits``, ``created`` and ``[[data]]`` (name, source, licence) for the model card.
    start : path or Checkpoint, optional
        Weights to start from. From another factor, the last layer and the skip are new, the rest is kept.
    teacher : path or Checkpoint, optional
        Network of the same factor to learn from beside the truth (Hinton et al. 2015).
    device : str
        ``auto``, ``cpu``, ``cuda``.
    overwrite : bool
        Replace an existing `out`.
    resume : bool
        Resume from the state that a stopped training left beside `out`; from the start if there is none.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training, its state saved.

    Returns
    -------
    Result
        The score on validation fields, and what the training took.

    Raises
    ------
    UsageError
        If an argument is wrong, or does not fit the network or the unfinished training.
    InputError, ModelError
        If rasters, `start` or `teacher` cannot be used.
    OutputError
        If the checkpoint exists or cannot be written.
    TrainError
        If the loss is no longer finite.
    """
    options = options or TrainOptions()
    config = _check_config(config or FSRCNNConfig(factor=factor), factor)
    paths = [local_path(path) for path in fine]
    others = (*validation, *(x for x in (start, teacher, card) if isinstance(x, (str, os.PathLike))))
    inputs = [*paths, *(Path(other) for other in others)]
    target, unfinished = open_checkpoint(out, inputs, overwrite=overwrite, resume=resume)
    written = _read_card(card)
    device = check_device(device)
    rasters = Rasters.read(paths, [local_path(path) for path in validation], config, options)
    model = _first_model(config, options, start)
    loaded = None if teacher is None else _teacher(teacher, config).to(device)
    with join_processes(device, options.batch_size, timed=options.minutes is not None) as ranks:
        run = Run(model.to(device), options, ranks)
        training = _RasterTraining(run, target, report, rasters, loaded, written)
        training.may_replace = overwrite or unfinished is not None
        return training.fit(unfinished, each_step)


def identify_rasters(
    fine: Sequence[str | os.PathLike[str]],
    factor: int,
    *,
    config: FSRCNNConfig,
    options: TrainOptions,
    validation: Sequence[str | os.PathLike[str]] = (),
    teacher: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Return what tells the training with these arguments of `train_model` from others."""
    config = _check_config(config, factor)
    paths, held_out = ([local_path(path) for path in names] for names in (fine, validation))
    taught = None if teacher is None else _teacher(teacher, config).digest
    return identify(config, options, Rasters.read(paths, held_out, config, options).digest, taught)


@dataclass(frozen=True)
class Rasters:
    """Data of a training: patches to learn from, fields to be scored on, the digest of both, names of joint bands."""

    patches: Patches
    scored: list[list[Scored]]
    digest: str
    band_names: tuple[str, ...] = ()

    @classmethod
    def read(cls, paths: list[Path], validation: list[Path], config: FSRCNNConfig, options: TrainOptions) -> Rasters:
        """Read rasters, and hold out sites where none are given to validate on.

        Parameters
        ----------
        paths, validation : list of Path
            Rasters of the fine grid to learn from, and to be scored on; without the latter, sites are held out.
        config : FSRCNNConfig
            Of the network: its factor, its halo, and whether it counts from 0.
        options : TrainOptions
            How patches are drawn, and how much is held out.

        Raises
        ------
        InputError
            If rasters cannot be used, or no field can be scored.
        """
        factor, anchored = config.factor, config.conserving == "positive"
        training, held_out = split(
            paths, validation, factor, hold_out=options.hold_out, seed=options.seed, channels=config.channels
        )
        scored = [bands for f in held_out if (bands := prepare(f, factor, config.halo, anchored=anchored))]
        if not scored:
            raise InputError(
                "no validation field has enough valid cells and any structure: name rasters in validation="
            )
        fields = training + held_out
        patches = Patches(training, factor, config.halo, options, anchored=anchored)
        named = (f.bands for f in fields if all(f.bands))
        return cls(patches, scored, digest(fields), next(named, ()))


class _RasterTraining(Training[Batch]):
    """Train on patches of fine rasters, whose coarse versions are block means."""

    def __init__(
        self,
        run: Run,
        out: Path,
        report: Report | None,
        rasters: Rasters,
        teacher: Teacher | None,
        written: dict[str, Any],
    ) -> None:
        super().__init__(run, out, report)
        self.options = cast("TrainOptions", run.options)
        self.device = str(next(run.model.parameters()).device)
        self.rasters = rasters
        self.teacher = teacher
        self.written = written
        self.may_replace = False

    @property
    def identity(self) -> dict[str, Any]:
        """Return the facts that tell this training from others."""
        teacher = None if self.teacher is None else self.teacher.digest
        return identify(self.run.model.config, self.options, self.rasters.digest, teacher)

    def fit(self, unfinished: State | None, each_step: Callable[[], None]) -> Result:
        """Train to the schedule's end, from a saved state if there is one."""
        first = self.run.ranks.first
        if unfinished is not None:
            self.run.restore(unfinished, self.identity)
        elif first:
            remove_states(self.out)
        with deterministic_torch():
            result = fit(self, each_step)
        if first:
            remove_states(self.out)
        return result

    def draw(self, step: int) -> Batch:
        """Make the patches of a step."""
        return self.rasters.patches.draw(step)

    def loss(self, batch: Batch) -> tuple[Tensor, list[str]]:
        """Return the loss of patches, and where they lie."""
        own = self.run.ranks.shard(self.options.batch_size)
        coarse, fine = (torch.from_numpy(part[own]).to(self.device) for part in (batch.coarse, batch.fine))
        valid = None if batch.valid is None else torch.from_numpy(batch.valid[own]).to(self.device)
        return batch_loss(self.run, coarse, fine, valid, self.teacher, self.options), batch.origins

    def validate(self, model: FSRCNN) -> dict[str, float]:
        """Return each field's RMSE divided by the baseline's."""
        scores = {}
        with torch.inference_mode():
            for bands in self.rasters.scored:
                found = model(bands[0].coarse.to(self.device))[0].cpu().numpy()
                for f in bands:
                    fine = found[f.band].astype(np.float64) + f.offset
                    scores[f.name] = rmse(fine, f.truth, f.where) / f.baseline
        return scores

    def keep(self, model: FSRCNN, step: int) -> None:
        """Write the checkpoint with its card."""
        written, files = self.written, self.rasters.patches.files
        card = Card(
            name=self.out.stem,
            summary=written.get("summary", ""),
            data=written.get("data") or unknown_sources(files),
            scores={
                "what": f"RMSE divided by that of {BASELINE}, held-out sites",
                "geometric_mean": round(self.run.best_score, 4),
                "fields": {name: round(ratio, 4) for name, ratio in self.run.best_ratios.items()},
            },
            training=record(self.identity, self.options, step),
            limits=written.get("limits", ""),
            created=written.get("created") or today(),
        )
        names = self.rasters.band_names
        sections = {BANDS: Section({"names": list(names)})} if names else {}
        save_checkpoint(self.out, model, card, sections=sections, overwrite=self.may_replace)
        self.may_replace = True

    def save(self) -> None:
        """Write the run's state."""
        save_state(self.out, self.run.state(self.identity))


def count_bands(path: str | os.PathLike[str]) -> int:
    """Count the bands of a raster that a network can learn together; alpha is none of them.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    with RasterSource(local_path(path)) as source:
        return len(source.bands)


def _check_config(config: FSRCNNConfig, factor: int) -> FSRCNNConfig:
    if config.factor != factor:
        raise UsageError(f"the configuration is for factor {config.factor}, not {factor}")
    if (config.channels != 1 and not config.joint) or config.inputs or config.pad_layers:
        raise UsageError("train takes networks of one band, or joint ones, that pad at the input")
    return config


def _first_model(
    config: FSRCNNConfig, options: TrainOptions, start: str | os.PathLike[str] | Checkpoint | None
) -> FSRCNN:
    """Return the network that a training begins with."""
    torch.manual_seed(options.seed)
    model = FSRCNN(config)
    if start is not None:
        _start_from(model, start)
    if options.branches:
        add_branches(model)
    return model


def _read_card(card: str | os.PathLike[str] | dict[str, Any] | None) -> dict[str, Any]:
    if card is None:
        return {}
    if not isinstance(card, dict):
        return _check_card(*_read_toml(local_path(card)))
    return _check_card(card, "the model")


def _read_toml(found: Path) -> tuple[dict[str, Any], str]:
    shown = printable(found.name)
    if found.stat().st_size > 2**20:
        raise ConfigError(f"card is larger than 1 MiB: {printable(found)}")
    try:
        return tomllib.loads(found.read_text(encoding="utf-8-sig")), shown
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"card {shown} is not TOML ({printable(error)})") from None
    except OSError as error:
        raise ConfigError(f"cannot read the card {shown} ({error.strerror})") from None


def _check_card(card: dict[str, Any], shown: str) -> dict[str, Any]:
    if unknown := sorted(set(card) - {"summary", "limits", "created", "data"}):
        raise ConfigError(f"card {shown} has unknown keys: {', '.join(map(printable, unknown))}")
    texts = all(isinstance(card.get(key, ""), str) for key in ("summary", "limits", "created"))
    rows = card.get("data", [])
    if not texts or not isinstance(rows, list) or not all(map(_is_texts, rows)):
        raise ConfigError(f"card {shown}: summary and limits are texts, data a list of tables of texts")
    return card


def _is_texts(row: object) -> bool:
    return isinstance(row, dict) and all(isinstance(value, str) for value in row.values())


def _start_from(model: FSRCNN, start: str | os.PathLike[str] | Checkpoint) -> None:
    """The weights of a checkpoint, whatever its overshoot; from another factor, all but the last layer and the skip."""
    given = start if isinstance(start, Checkpoint) else load_checkpoint(start)
    config = model.config
    if dataclasses.replace(given.config, factor=config.factor, overshoot=config.overshoot) != config:
        raise UsageError("the checkpoint to start from has another configuration")
    weights = given.model.state_dict()
    if given.config.factor != model.config.factor:
        weights = {k: v for k, v in weights.items() if not k.startswith(("deconvolution.", "skip"))}
    model.load_state_dict(weights, strict=False)


def _teacher(teacher: str | os.PathLike[str] | Checkpoint, config: FSRCNNConfig) -> Teacher:
    given = teacher if isinstance(teacher, Checkpoint) else load_checkpoint(teacher, config.factor)
    own, bands = given.config, (config.channels, config.joint)
    if own.factor != config.factor or (own.channels, own.joint) != bands or given.of_pairs:
        raise UsageError(
            f"the teacher must have the same factor and {'bands together' if config.joint else 'one band'}"
        )
    return Teacher(given.model, given.config.halo, given.digest)


@dataclass
class Scored:
    """A band of a validation field with its coarse version and the baseline's score.

    Parameters
    ----------
    name : str
        File stem and band.
    coarse : Tensor (1, band, y + 2 halo, x + 2 halo)
        Of all bands of the field that are learned together.
    offset : float
        What was subtracted from this band.
    truth : ndarray (y, x)
        This band.
    where : ndarray (y, x) of bool
        Cells that are scored.
    baseline : float
        RMSE of the baseline.
    band : int
        Where it stands in `coarse`.
    """

    name: str
    coarse: Tensor
    offset: float
    truth: Array
    where: npt.NDArray[np.bool_]
    baseline: float
    band: int = 0


def prepare(f: Field, factor: int, halo: int, *, anchored: bool) -> list[Scored]:
    """Block means, filled and padded, counted from 0 if anchored there; without bands where too few cells count."""
    rows, columns = (min(n, MAX_VALIDATION) // factor * factor for n in f.values.shape[-2:])
    y, x = ((n - m) // 2 for n, m in zip(f.values.shape[-2:], (rows, columns), strict=True))
    truth = f.values.reshape(-1, *f.values.shape[-2:])[:, y : y + rows, x : x + columns]
    coarse = block_mean(truth, factor)
    valid = np.isfinite(coarse)
    coarse = fill(coarse, valid, read_margin(halo))
    offsets = [0.0 if anchored else float(band.mean()) for band in coarse]
    padded = [np.pad(band - offset, halo, mode="edge") for band, offset in zip(coarse, offsets, strict=True)]
    given = torch.from_numpy(np.stack(padded).astype(np.float32))[None]
    scored = []
    for number, offset in enumerate(offsets):
        where = scored_mask(valid[number], factor)
        if where.sum() < MIN_CELLS:
            continue
        baseline = rmse(resample(coarse[number], factor, BASELINE), truth[number], where)
        if baseline <= 1e-9 * float(np.abs(truth[number][where]).max()):  # constant but for rounding
            continue
        name = f"{f.name}#{number + 1}" if f.bands else f.name
        scored.append(Scored(name, given, offset, truth[number], where, baseline, number))
    return scored
