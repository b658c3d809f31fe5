"""Teach a network to follow a finer guide, on rasters of several bands: any band coarse, others its guide."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from geofsrcnn._types import Array
from geofsrcnn.engine.guided_source import GuideArray, GuidedSource
from geofsrcnn.errors import InputError
from geofsrcnn.files.paths import local_path
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.checkpoint import GUIDED, Checkpoint, check_output, load_checkpoint, save_checkpoint
from geofsrcnn.networks.guided import Correction, Guided, GuidedConfig, guided_model, section_of
from geofsrcnn.training.guided import fit_correction, ratio_of
from geofsrcnn.training.guided_scenes import GuidedOptions, Scene, read_scene
from geofsrcnn.training.log import Report
from geofsrcnn.training.patches import Field, blur_field, split
from geofsrcnn.values.blocks import block_mean

MOST = 960
"""Fine rows and columns of a raster that are learned from, at most: its first ones."""

SETS = 3
"""Guides that are made for each band."""


@dataclass(frozen=True)
class GuidedResult:
    """The outcome of a training of guided networks.

    Parameters
    ----------
    out : str
        The checkpoint.
    score : float
        Geometric mean over held-out bands of RMSE divided by that of the same network without a guide.
    seconds : float
        Wall time.
    fields : dict
        That ratio for each held-out band and guide.
    """

    out: str
    score: float
    seconds: float
    fields: dict[str, float] = field(default_factory=dict)


def train_guided(
    model: str | os.PathLike[str] | Checkpoint,
    fine: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    options: GuidedOptions | None = None,
    sizes: GuidedConfig | None = None,
    validation: Sequence[str | os.PathLike[str]] = (),
    alpha: str = "auto",
    overwrite: bool = False,
    report: Report | None = None,
    each_step: Callable[[], None] = lambda: None,
) -> GuidedResult:
    """Teach a network to follow a finer guide, and write it with what it learned.

    Each band of a raster is coarse once, with others of its bands as the guide; some guides are made worse, or have
    nothing to do with the band, so that the network learns what to trust.

    Parameters
    ----------
    model : str, path or Checkpoint
        ``default-x3`` or another shipped network, or a checkpoint: unit-free, of one band. Its values stay as they are.
    fine : sequence of path
        Rasters of two bands or more on the fine grid.
    out : path
        Checkpoint to write, ``.safetensors``.
    options : GuidedOptions, optional
        Steps, batches and learning rate.
    sizes : GuidedConfig, optional
        Sizes of the correcting network.
    validation : sequence of path
        Rasters to choose the best weights by, instead of held-out sites.
    alpha : {"auto", "none"}
        "none": a band that is tagged as alpha holds values like any other, such as infrared.
    overwrite : bool
        Replace an existing `out`.
    report : callable, optional
        Gets a dict of figures after each validation.
    each_step : callable
        Called before each step; what it raises ends the training.

    Returns
    -------
    GuidedResult
        How much the guide helps on held-out rasters.

    Raises
    ------
    UsageError, InputError, ModelError
        If an argument is wrong, or rasters or the network cannot be used.
    OutputError
        If the checkpoint exists or cannot be written.
    TrainError
        If the loss is no longer finite.
    """
    start, options = time.monotonic(), options or GuidedOptions()
    checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
    factor = checkpoint.config.factor
    torch.manual_seed(options.seed)
    correction = Correction(sizes or GuidedConfig(factor))
    guided = guided_model(load_model(checkpoint), correction).upsampler
    assert isinstance(guided, Guided)
    paths, others = ([local_path(path) for path in group] for group in (fine, validation))
    target = check_output(out, [checkpoint.path, *paths, *others], overwrite=overwrite)
    training, held_out = split(paths, others, factor, hold_out=options.hold_out, seed=options.seed, alpha=alpha)
    rng = np.random.default_rng(options.seed)
    scenes = _scenes(guided, training, rng, worse=True)
    scored = _scenes(guided, held_out, rng, worse=False)
    if not scenes or not scored:
        raise InputError("guided networks learn from rasters of two bands or more, on at least two sites")

    def step(_: float) -> bool:
        each_step()
        return True

    best, score = fit_correction(correction, scenes, scored, options, report=report, each_step=step)
    ratios = {scene.name: round(ratio_of(best, scene), 4) for scene in scored}
    facts = {
        "data": sorted({each.file for each in training}),
        "training": {**asdict(options), "validation": bool(validation)},
        "held_out": {
            "what": "RMSE divided by that of the same network without a guide",
            "geometric_mean": round(score, 4),
            "fields": ratios,
        },
    }
    sections = {**checkpoint.sections, GUIDED: section_of(best, facts)}
    save_checkpoint(target, checkpoint.networks, replace(checkpoint.card), sections=sections, overwrite=overwrite)
    return GuidedResult(str(target), score, time.monotonic() - start, ratios)


def _scenes(model: Guided, fields: Sequence[Field], rng: np.random.Generator, *, worse: bool) -> list[Scene]:
    """Make scenes of each band of each raster of several."""
    rasters = []
    for file, group in itertools.groupby(fields, lambda each: each.file):
        bands = [each.values for each in group]
        if len(bands) > 1:
            rows, columns = (min(n, MOST) // model.factor * model.factor for n in bands[0].shape)
            rasters.append((file, np.stack(bands)[:, :rows, :columns].astype(np.float64)))
    scenes = []
    for file, raster in rasters:
        for band in range(len(raster)):
            for _ in range(SETS if worse else 1):
                others = [other for other in range(len(raster)) if other != band]
                count = int(rng.integers(1, len(others) + 1)) if worse else len(others)
                guide = raster[sorted(rng.choice(others, count, replace=False))]
                guide = _worsen(guide, [other for _, other in rasters], rng) if worse else guide
                scenes.append(_scene(model, raster[band : band + 1], guide, f"{file}, band {band + 1}"))
    return scenes


def _scene(model: Guided, truth: Array, guide: Array, name: str) -> Scene:
    coarse = GuideArray(block_mean(truth, model.factor))
    source = GuidedSource(coarse, [GuideArray(guide)], model.factor)
    _, rows, columns = coarse.shape
    return read_scene(model, source, GuideArray(truth), Window(0, rows, 0, columns), 0, name)


def _worsen(guide: Array, rasters: Sequence[Array], rng: np.random.Generator) -> Array:
    """Make a guide worse in one of several ways, or leave it as it is in two of five cases."""
    way, deviation = rng.random(), np.nanstd(guide, axis=(1, 2), keepdims=True)
    noise: Array = rng.normal(size=guide.shape)
    if way < 0.08:
        return noise
    if way < 0.14:  # smooth, and unrelated
        return noise.cumsum(1).cumsum(2)
    if way < 0.22:
        other = rasters[int(rng.integers(len(rasters)))]
        fits = other.shape[1] >= guide.shape[1] and other.shape[2] >= guide.shape[2]
        return other[:2, : guide.shape[1], : guide.shape[2]] if fits else guide
    if way < 0.32:
        dy, dx = (int(rng.integers(-1, 2)) for _ in range(2))
        return np.roll(guide, (dy, dx), (1, 2))
    if way < 0.42:
        return np.stack([blur_field(band, rng.uniform(0.5, 1.2)) for band in guide])
    if way < 0.52:
        worse: Array = guide + noise * deviation * rng.uniform(0.02, 0.15)
        return worse
    if way < 0.6:
        return np.concatenate([guide, noise[:1]])
    return guide
