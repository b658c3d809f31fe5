"""Train the head that gives the expected error, on a network that stays as it is."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from geofsrcnn.errors import UsageError
from geofsrcnn.evaluation.calibration import calibration, spread_of_ratios
from geofsrcnn.files.paths import local_path
from geofsrcnn.networks.catalog import check_device
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Checkpoint, load_checkpoint, save_checkpoint
from geofsrcnn.networks.expected_error import ErrorConfig, ErrorHead, section_of
from geofsrcnn.networks.fsrcnn import FSRCNN, run_with_features
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import adamw, deterministic_torch, move_average, take_step
from geofsrcnn.training.patches import Batch, Patches, prefetch
from geofsrcnn.training.rasters import Rasters, Scored
from geofsrcnn.training.schedule import ERROR_RECIPE, SHORT_WARM_UP, TrainOptions
from geofsrcnn.training.states import check_checkpoint

SMALLEST = 1e-4
"""Errors below this share of a patch's roughness count as this: float32 holds no smaller ones."""


@dataclass(frozen=True)
class ErrorResult:
    """The outcome of a training of expected errors.

    Parameters
    ----------
    out : str
        The checkpoint.
    ratio : float
        Geometric mean over held-out fields of mean expected divided by mean true error, before it was set to 1.
    spread : float
        Standard deviation of the logarithm of that ratio over the held-out fields.
    steps : int
        Steps taken.
    seconds : float
        Wall time.
    fields : dict
        The ratio for each held-out field, after the mean was set to 1.
    """

    out: str
    ratio: float
    spread: float
    steps: int
    seconds: float
    fields: dict[str, float] = field(default_factory=dict)


def train_error(
    model: str | os.PathLike[str] | Checkpoint,
    fine: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    options: TrainOptions = ERROR_RECIPE,
    sizes: ErrorConfig | None = None,
    validation: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    overwrite: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> ErrorResult:
    """Teach a network how large its errors are, and write it with what it learned.

    Parameters
    ----------
    model : str, path or Checkpoint
        ``default-x3`` or another shipped network, or a checkpoint: unit-free, of one band. Its values stay as they are.
    fine : sequence of path
        Rasters of the fine grid, best ones that the network was not trained on: it makes smaller errors on those that
        it was.
    out : path
        Checkpoint to write, ``.safetensors``; with `overwrite` it may be that of the network itself.
    options : TrainOptions
        Steps, batches, learning rate and its schedule, and how patches are drawn; other options have no effect.
    sizes : ErrorConfig, optional
        Sizes of the head.
    validation : sequence of path
        Rasters to set the mean by instead of held-out sites.
    device : str
        ``auto``, ``cpu``, ``cuda``.
    overwrite : bool
        Replace an existing `out`.
    report : callable, optional
        Gets a dict of figures now and then.
    each_step : callable
        Called before each step; what it raises ends the training.

    Returns
    -------
    ErrorResult
        How well expected errors fit on held-out fields.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, or rasters or the network cannot be used.
    OutputError
        If the checkpoint exists or cannot be written.
    TrainError
        If the loss is no longer finite.
    """
    start = time.monotonic()
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    if checkpoint.of_pairs:
        raise UsageError("models of pairs tell their errors otherwise: take a network that was trained on rasters")
    paths, others = ([local_path(path) for path in group] for group in (fine, validation))
    target = check_checkpoint(out, [*paths, *others], overwrite=overwrite, resume=False)
    config = checkpoint.config
    torch.manual_seed(options.seed)
    head = ErrorHead(config, sizes)
    rasters = Rasters.read(paths, others, config, options)
    run = _Run(checkpoint.model, head.to(check_device(device)), rasters.patches, options)
    with deterministic_torch():
        run.fit(report, each_step)
    ratios = run.ratios([each for bands in rasters.scored for each in bands])
    mean, spread = spread_of_ratios(list(ratios.values()))
    run.scale(1 / mean)
    fields = {name: round(ratio / mean, 4) for name, ratio in ratios.items()}
    what = "mean expected error divided by mean true error, held-out fields"
    facts = {
        "held_out": {"what": what, "geometric_mean": 1.0, "spread": round(spread, 4), "fields": fields},
        "data": rasters.patches.files,
        "training": {**asdict(options), "validation": bool(validation)},
    }
    sections = {**checkpoint.sections, EXPECTED_ERROR: section_of(run.head, facts)}
    save_checkpoint(target, checkpoint.networks, replace(checkpoint.card), sections=sections, overwrite=overwrite)
    return ErrorResult(str(target), mean, spread, options.steps, time.monotonic() - start, fields)


class _Run:
    """The head in training on a network that is frozen."""

    def __init__(self, model: FSRCNN, head: ErrorHead, patches: Patches, options: TrainOptions) -> None:
        self.device = next(head.parameters()).device
        self.model, self.head, self.patches, self.options = model, head, patches, options
        self.model = model.to(self.device)
        self.ema_head = copy.deepcopy(head)
        self.optimiser = adamw(head.parameters(), options.learning_rate)

    def fit(self, report: Report | None, each_step: Callable[[], None]) -> None:
        """Train to the schedule's end; the averaged weights are the head's then."""
        steps, losses = self.options.steps, list[float]()
        for step, batch in enumerate(prefetch(self.patches.draw, 0)):
            if report is not None and step and (step % self.options.validate_every == 0 or step == steps):
                report({"step": step, "done": step / steps, "loss": round(float(np.mean(losses)), 5)})
                losses = []
            if step == steps:
                break
            each_step()
            losses.append(self._step(step, batch))
        self.head.load_state_dict(self.ema_head.state_dict())

    def _step(self, step: int, batch: Batch) -> float:
        options = self.options
        coarse, fine = (torch.from_numpy(part).to(self.device) for part in (batch.coarse, batch.fine))
        valid = None if batch.valid is None else torch.from_numpy(batch.valid).to(self.device)
        expected, error = self._expect(coarse, fine)
        loss = likelihood(expected, error, valid)
        rate = options.learning_rate_at(step, step / options.steps, SHORT_WARM_UP)
        value = take_step(self.optimiser, loss, rate, step)
        move_average(self.ema_head, self.head, options.ema_decay_at(step))
        return value

    def _expect(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Expected and true absolute errors."""
        with torch.no_grad():
            found, features = run_with_features(self.model.config, coarse, self.model.weights())
        return self.head(features), (found.float() - fine).abs()

    def ratios(self, scored: Sequence[Scored]) -> dict[str, float]:
        """Mean expected error divided by the mean true one, by the names of fields."""
        found = {}
        with torch.inference_mode():
            for f in scored:
                unit = np.std(f.truth[f.where])
                coarse = (f.coarse / float(unit)).to(self.device)
                fine, features = run_with_features(self.model.config, coarse, self.model.weights())
                expected, values = (x[0, 0].cpu().numpy().astype(np.float64) for x in (self.head(features), fine))
                fit = calibration(expected, np.abs(values + (f.offset - f.truth) / unit), f.where)
                if fit is not None and fit.ratio > 0:
                    found[f.name] = fit.ratio
        return found

    def scale(self, factor: float) -> None:
        """Multiply all expected errors."""
        with torch.no_grad():
            assert self.head.gain.bias is not None
            self.head.gain.bias.add_(math.log(factor))


def likelihood(expected: Tensor, error: Tensor, valid: Tensor | None) -> Tensor:
    """Negative log-likelihood of absolute errors under Laplace distributions of these scales, where they count.

    Its minimum is where the scale is the mean of ``|e|`` (Kendall and Gal 2017).
    """
    scale = expected + SMALLEST
    each = scale.log() + error / scale
    return each.mean() if valid is None else each[valid].mean()
