"""Train a network on fine rasters: coarse patches are block means of fine ones.

The schedule is AdamW with a warm-up and a cosine; what is kept is the moving average of the weights, whenever it does
better on the held-out fields, or that of the last step. The batch of a step depends on the seed and the step
alone, so a training that was stopped goes on exactly as if it had not been (`resume`).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geofsrcnn._types import Array
from geofsrcnn.errors import ConfigError, InputError, OutputError, UsageError, printable
from geofsrcnn.evaluation.scores import rmse, scored_mask
from geofsrcnn.files.paths import local_path, refuse_same
from geofsrcnn.files.staging import check_target
from geofsrcnn.grids.windows import read_margin
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import Card, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.training.branches import add_branches
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import Run, Teacher, batch_loss, deterministic_torch, fit
from geofsrcnn.training.patches import Batch, Field, Patches, digest, made_ahead, split
from geofsrcnn.training.processes import joined
from geofsrcnn.training.schedule import Result, TrainOptions
from geofsrcnn.training.states import folder_of, has_states, load_state, remove_states, save_state
from geofsrcnn.values.blocks import block_mean
from geofsrcnn.values.fill import fill
from geofsrcnn.values.kernels import resample

BASELINE = "lanczos-bp"
"""The strongest classical method on most fields; scores during training are ratios to it."""

MIN_SCORED = 400
"""Fine cells that a validation field needs to count."""

MAX_VALIDATION = 768
"""Fine rows and columns of a validation field that are scored; its middle is taken."""


def train_model(
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
        Rasters of the fine grid; every band is a field, rasters of the same area are one site.
    factor : int
        Fine cells along one side of a coarse cell.
    out : path
        Checkpoint to write, ``.safetensors``; replaced whenever validation improves on the untrained network, which
        is written at the end if none was better (``keep="last"``: the last one is).
    config : FSRCNNConfig, optional
        Network; its factor must be `factor`.
    options : TrainOptions, optional
        How to train.
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
        Go on from the state that a stopped training left beside `out`; from the start if there is none.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training, its state saved.

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
    others = (*validation, *(x for x in (start, teacher, card) if isinstance(x, (str, os.PathLike))))
    refuse_same(target, *paths, *(Path(other) for other in others))
    if has_states(target) and not (resume or overwrite):
        raise OutputError(f"an unfinished training lies in {printable(folder_of(target))}: use --resume or --overwrite")
    unfinished = load_state(target) if resume else None
    check_target(target, overwrite=overwrite or unfinished is not None)
    written = _read_card(card)
    device = check_device(device)

    training, held_out = split(
        paths, [local_path(p) for p in validation], factor, hold_out=options.hold_out, seed=options.seed
    )
    anchored = config.conserving == "positive"
    scored = [s for s in (_prepare(f, factor, config.halo, anchored=anchored) for f in held_out) if s is not None]
    if not scored:
        raise InputError("no validation field has enough valid cells and any structure: give --validation rasters")
    patches = Patches(
        training,
        factor,
        config.halo,
        patch=options.patch,
        batch_size=options.batch_size,
        balance=options.balance,
        pyramid_levels=options.pyramid_levels,
        blur=options.blur,
        mix=options.mix,
        seed=options.seed,
        anchored=anchored,
    )
    torch.manual_seed(options.seed)
    model = FSRCNN(config)
    if start is not None:
        _start_from(model, start)
    if options.branches:
        add_branches(model)
    guide = None if teacher is None else _teacher(teacher, config).to(device)
    identity = {
        "config": config.to_dict(),
        "options": {**dataclasses.asdict(options), "save_minutes": None},
        "data": digest(training + held_out),
        "teacher": None if guide is None else guide.digest,
    }
    with joined(device, options.batch_size, timed=options.minutes is not None) as ranks:
        run = Run(model.to(device), options, ranks)
        if unfinished is not None:
            run.restore(unfinished, identity)
        elif ranks.first:
            remove_states(target)
        ours = unfinished is not None

        def keep(best: FSRCNN, score: float, fields: dict[str, float], step: int) -> None:
            nonlocal ours
            save_checkpoint(
                target,
                best,
                Card(
                    name=target.stem,
                    summary=written.get("summary", ""),
                    data=written.get("data") or [{"name": n, "source": "", "licence": ""} for n in patches.files],
                    scores={
                        "what": f"RMSE divided by that of {BASELINE}, held-out sites",
                        "geometric_mean": round(score, 4),
                        "fields": {n: round(v, 4) for n, v in fields.items()},
                    },
                    training={**dataclasses.asdict(options), "step": step},
                    limits=written.get("limits", ""),
                    created=written.get("created") or dt.datetime.now(dt.UTC).date().isoformat(),
                ),
                overwrite=overwrite or ours,
            )
            ours = True

        def save() -> None:
            save_state(target, run.state(identity))

        def loss_of(batch: Batch) -> tuple[Tensor, list[str]]:
            own = run.ranks.share(options.batch_size)
            coarse, fine = (torch.from_numpy(part[own]).to(device) for part in (batch.coarse, batch.fine))
            valid = None if batch.valid is None else torch.from_numpy(batch.valid[own]).to(device)
            return batch_loss(run, coarse, fine, valid, guide, options), batch.origins

        def validate(model: FSRCNN) -> dict[str, float]:
            return _validate(model, scored, device)

        with deterministic_torch():
            result = fit(
                run, made_ahead(patches.draw, run.step), loss_of, validate, keep, save, report, each_step, str(target)
            )
        if ranks.first:
            remove_states(target)
        return result


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
    """The weights of a checkpoint; from another factor, all but the last layer and the skip."""
    given = start if isinstance(start, Checkpoint) else load_checkpoint(start)
    if dataclasses.replace(given.config, factor=model.config.factor) != model.config:
        raise UsageError("the checkpoint to start from has another configuration")
    weights = given.model.state_dict()
    if given.config.factor != model.config.factor:
        weights = {k: v for k, v in weights.items() if not k.startswith(("deconvolution.", "skip"))}
    model.load_state_dict(weights, strict=False)


def _teacher(teacher: str | os.PathLike[str] | Checkpoint, config: FSRCNNConfig) -> Teacher:
    given = teacher if isinstance(teacher, Checkpoint) else load_checkpoint(teacher, config.factor)
    if given.config.factor != config.factor or given.config.channels != 1 or given.sections:
        raise UsageError("the teacher must have the same factor and one band")
    return Teacher(given.model, given.config.halo, given.digest)


@dataclass
class _Scored:
    """A validation field with its coarse version and the baselines' scores."""

    name: str
    coarse: Tensor
    offset: float
    truth: Array
    where: npt.NDArray[np.bool_]
    baseline: float


def _prepare(f: Field, factor: int, halo: int, *, anchored: bool) -> _Scored | None:
    """Block means, filled and padded, counted from 0 if anchored there; None where too few cells count."""
    rows, columns = (min(n, MAX_VALIDATION) // factor * factor for n in f.values.shape)
    y, x = ((n - m) // 2 for n, m in zip(f.values.shape, (rows, columns), strict=True))
    truth = f.values[y : y + rows, x : x + columns]
    coarse = block_mean(truth, factor)
    valid = np.isfinite(coarse)
    where = scored_mask(valid, factor)
    if where.sum() < MIN_SCORED:
        return None
    coarse = fill(coarse[None], valid[None], read_margin(halo))[0]
    baseline = rmse(resample(coarse, factor, BASELINE), truth, where)
    if baseline <= 1e-9 * float(np.abs(truth[where]).max()):  # constant but for rounding
        return None
    offset = 0.0 if anchored else float(coarse.mean())
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
