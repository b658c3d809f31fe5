"""Train a network that corrects another by a finer guide; the other one stays as it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from geofsrcnn.evaluation.scores import geometric_mean
from geofsrcnn.networks.guided import Correction
from geofsrcnn.networks.limits import cut
from geofsrcnn.training.guided_scenes import GuidedBatch, GuidedOptions, Scene, draw_batch
from geofsrcnn.training.log import Report
from geofsrcnn.training.loop import adamw, deterministic_torch, move_average, take_step
from geofsrcnn.training.patches import prefetch
from geofsrcnn.training.schedule import SHORT_WARM_UP, ema_decay_at, learning_rate_at

SOFTNESS = 1e-3
"""Errors below this, in units of what there is to be added, count by their square (Charbonnier loss)."""

MARGIN = 9
"""Coarse cells at the edge of a scene that are not scored: those that networks reach from, and a few more."""


def fit_correction(
    correction: Correction,
    scenes: Sequence[Scene],
    held_out: Sequence[Scene],
    options: GuidedOptions,
    *,
    report: Report | None = None,
    each_step: Callable[[float], bool] = lambda _: True,
) -> tuple[Correction, float]:
    """Train a correcting network, and return the one that did best on held-out scenes, and how well.

    Parameters
    ----------
    correction : Correction
        Not changed.
    scenes, held_out : sequence of Scene
        To learn from, and to be scored on.
    options : GuidedOptions
        How.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step with the share of them that is done; False ends the training.

    Returns
    -------
    tuple of Correction and float
        The averaged weights at the best validation, and their score: the geometric mean over held-out scenes of RMSE
        divided by that without a guide.

    Raises
    ------
    InputError
        If the scenes hold next to nothing to learn from.
    TrainError
        If the loss is no longer finite.
    """
    best, score = copy.deepcopy(correction).requires_grad_(False), overall(correction, held_out)
    run = _Run(copy.deepcopy(correction).train().requires_grad_(True), options)
    factor, halo = correction.config.factor, correction.config.halo

    def draw(step: int) -> GuidedBatch:
        return draw_batch(scenes, factor, halo, options, step)

    with deterministic_torch():
        for step, batch in enumerate(prefetch(draw, 0)):
            if step and (step % options.validate_every == 0 or step == options.steps):
                found = overall(run.average, held_out)
                if found < score:
                    best, score = copy.deepcopy(run.average), found
                if report is not None:
                    report({"step": step, "done": step / options.steps, "loss": round(run.loss, 5), "score": found})
            if step == options.steps or not each_step(step / options.steps):
                return best.eval(), score
            run.take_step(step, batch)
    raise AssertionError("batches do not end")


class _Run:
    """A correcting network in training, and the moving average of its weights."""

    def __init__(self, model: Correction, options: GuidedOptions) -> None:
        self.model, self.options = model, options
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.device = next(model.parameters()).device
        self.optimiser = adamw(model.parameters(), options.learning_rate)
        self.loss = 0.0

    def take_step(self, step: int, batch: GuidedBatch) -> None:
        """Take an optimiser step from the loss of a batch."""
        options = self.options
        seen = batch.seen.to(self.device)
        added = cut(seen.added, self.model.config.halo)
        error = added + self.model(seen) - batch.truth.to(self.device)
        each = (error.square() + SOFTNESS**2).sqrt().mean(1, keepdim=True)
        counts = batch.counts.to(self.device)
        loss = torch.where(counts, each, 0.0).sum() / counts.sum()
        rate = learning_rate_at(options.learning_rate, step, step / options.steps, SHORT_WARM_UP)
        self.loss = take_step(self.optimiser, loss, rate, step)
        move_average(self.average, self.model, ema_decay_at(options.ema_decay, step))


def overall(correction: Correction, scenes: Sequence[Scene]) -> float:
    """Geometric mean over scenes of RMSE divided by that without a guide; 1 if none can be scored."""
    return mean_ratio([ratio_of(correction, scene) for scene in scenes])


def mean_ratio(ratios: Iterable[float]) -> float:
    """Geometric mean of ratios, of those that can be told; 1 if none can."""
    known = [ratio for ratio in ratios if math.isfinite(ratio)]
    return geometric_mean(known) if known else 1.0


def divide(error: float, alone: float) -> float:
    """RMSE divided by that without a guide; NaN if that is 0 or unknown."""
    return error / alone if alone > 0 else math.nan


def ratio_of(correction: Correction, scene: Scene) -> float:
    """RMSE of a corrected scene divided by that without a guide; NaN if nothing can be scored."""
    alone, corrected = (rmse_of(scene, found) for found in (scene.added, corrected_blocks(correction, scene)))
    return divide(corrected, alone)


def corrected_blocks(correction: Correction, scene: Scene) -> Tensor:
    """Give what is added to each coarse value ``(factor * factor, y, x)``; as without a guide near the edge."""
    halo = correction.config.halo
    if min(scene.shape) <= 2 * halo:
        return scene.added
    device = next(correction.parameters()).device
    with torch.inference_mode():
        found = correction(scene.evidence.to(device))[0].cpu()
    result = scene.added.clone()
    inner = (..., slice(halo, -halo), slice(halo, -halo))
    result[inner] += torch.where(cut(scene.usable, halo), found, 0.0)
    return result


def rmse_of(scene: Scene, blocks: Tensor) -> float:
    """RMSE over the cells whose truth and guide are known, away from edges."""
    inside = cut(scene.counts & scene.usable, MARGIN)
    error = cut(blocks - scene.truth, MARGIN)[:, inside]
    return float(error.double().square().mean().sqrt()) if error.numel() else math.nan
