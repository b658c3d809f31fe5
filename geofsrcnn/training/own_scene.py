"""Learn to follow a guide on the user's own scene, one scale coarser, and tell how well that goes.

Field and guide are made coarser by the factor, so that the given field is the truth; what is learned there is applied
one scale finer (Wald et al. 1997; Lanaras et al. 2018). Parts of the scene are held out: they choose the weights, and
tell how far the result may be trusted.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from geofsrcnn.engine.base import Source
from geofsrcnn.engine.guided_source import BlockMeanSource, GuidedSource, coarsen_guide
from geofsrcnn.errors import InputError
from geofsrcnn.evaluation.guided import fit_guide_to
from geofsrcnn.evaluation.registration import Registration, register
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import Model
from geofsrcnn.networks.guided import Correction, Guided, guided_model, known_correction, only_regression
from geofsrcnn.options import LEARNING_MINUTES
from geofsrcnn.training.guided import MARGIN, fit_correction
from geofsrcnn.training.guided_scenes import GuidedOptions, Scene, read_scene
from geofsrcnn.training.guided_verdict import ALONE, LEARNED, REGRESSION, Verdict, choose, score_methods
from geofsrcnn.training.log import Report

MOST_FLOATS = 60_000_000
"""Numbers that are held in memory to learn from."""

MOST_BANDS = 6
"""Bands that are learned from."""

LEAST_SIDE = 3 * MARGIN + 1
"""Rows and columns of a part that is held out, so that something is left of it without its edges."""

LESSON = GuidedOptions(steps=400, learning_rate=5e-4, batch_size=8, ema_decay=0.99, validate_every=50)
"""For a network that follows guides already."""

FIRST_LESSON = GuidedOptions(steps=1500, learning_rate=2e-3, batch_size=8, ema_decay=0.995, validate_every=150)
"""For one that has never seen any."""


COHERENT = 0.3
"""How well phases of field and guide agree where a shift can be told."""


@dataclass(frozen=True)
class Lesson:
    """The outcome of learning on a scene.

    Parameters
    ----------
    model : Model
        The one to apply.
    verdict : Verdict
        How well it does.
    correction : Correction
        The correcting network that was learned, or given.
    """

    model: Model
    verdict: Verdict
    correction: Correction


def learn_scene(
    model: Model,
    source: Source,
    guides: Sequence[Source],
    names: Mapping[int, str],
    *,
    minutes: float = LEARNING_MINUTES,
    always: bool = False,
    seed: int = 0,
    report: Report | None = None,
    each_step: Callable[[float], None] = lambda _: None,
) -> Lesson:
    """Learn to follow a guide on a scene, and choose what to apply to it.

    Parameters
    ----------
    model : Model
        A network or classical method; what its file has learned of guides is the start.
    source : Source
        The field, coarse.
    guides : sequence of Source
        On its fine cells.
    names : mapping of int to str
        Of the bands of the field that are to be learned from, by their positions.
    minutes : float
        Learn for at most so long; 0 applies what the model can already.
    always : bool
        Follow the guide even where that does not help.
    seed : int
        Of the patches.
    report : callable, optional
        Gets a dict of figures now and then.
    each_step : callable
        Called before each step with the share that is done; what it raises ends the learning.

    Returns
    -------
    Lesson

    Raises
    ------
    ModelError
        If the model cannot follow a guide.
    """
    ready = guided_model(model)
    guided = cast("Guided", ready.upsampler)
    bands = _some(list(names))
    shift = _misplacement(source, bands[0], guides, model.factor)
    parts = _split(_reduced_shape(source, model.factor), model.factor, len(bands))
    learned, steps = None, 0
    if parts.learned and minutes > 0:
        scenes = _read(guided, source, guides, parts.learned, bands)
        held_out = _read(guided, source, guides, parts.held_out, bands, keep_guide=True)
        learned, steps = _learn(guided.correction, scenes, held_out, _options(model, seed), minutes, report, each_step)
    else:
        held_out = _read(guided, source, guides, parts.all, bands, keep_guide=True)
    methods, cells = score_methods(guided.correction, learned, held_out, len(bands))
    chosen = choose(methods, always=always)
    correction = guided.correction
    if chosen == REGRESSION:
        correction = only_regression(correction.config)
    elif learned is not None and chosen == LEARNED:
        correction = learned
    shown = tuple(names[band] for band in bands)
    verdict = Verdict(model.factor, shown, cells, learned is not None, tuple(methods), chosen, steps, shift)
    applied = model if chosen == ALONE else guided_model(model, correction)
    return Lesson(applied, verdict, correction)


def _options(model: Model, seed: int) -> GuidedOptions:
    return replace(FIRST_LESSON if known_correction(model) is None else LESSON, seed=seed)


def _reduced_shape(source: Source, factor: int) -> tuple[int, int]:
    _, rows, columns = source.shape
    return rows // factor, columns // factor


@dataclass(frozen=True)
class _Parts:
    """Windows of a scene, one scale coarser: to learn from, held out, or all of it where nothing is learned."""

    learned: list[Window]
    held_out: list[Window]
    all: list[Window]


def _split(shape: tuple[int, int], factor: int, bands: int) -> _Parts:
    """Cut a scene into 4 x 4 parts, or 2 x 2 of a small one; one of each row and column of parts is held out."""
    per_cell = bands * (1 + 6 * factor**2)
    side = math.isqrt(MOST_FLOATS // per_cell)
    whole = Window.middle(shape, side)
    count = next((n for n in (4, 2) if min(shape) // n >= LEAST_SIDE), 0)
    learned: list[Window] = []
    held_out: list[Window] = []
    for row, column in itertools.product(range(count), repeat=2):
        part = Window(*_part(shape[0], row, count), *_part(shape[1], column, count))
        middle = Window.middle(part.shape, side // count).shift(part.y0, part.x0)
        (held_out if column == _HELD_OUT[count][row] else learned).append(middle)
    return _Parts(learned, held_out, [whole] if min(shape) else [])


_HELD_OUT = {4: (1, 3, 0, 2), 2: (1, -1)}
"""The column of parts that is held out in each row of parts."""


def _part(length: int, number: int, count: int) -> tuple[int, int]:
    return length * number // count, length * (number + 1) // count


def _some(bands: Sequence[int]) -> list[int]:
    """Choose the bands that are learned from, spread over all."""
    places = np.linspace(0, len(bands) - 1, min(len(bands), MOST_BANDS)).round()
    return [bands[int(place)] for place in places]


def _read(
    model: Guided,
    source: Source,
    guides: Sequence[Source],
    windows: Sequence[Window],
    bands: Sequence[int],
    *,
    keep_guide: bool = False,
) -> list[Scene]:
    """Read the parts of a scene one scale coarser, band by band within each."""
    coarse = BlockMeanSource(source, model.factor)
    beside = [coarsen_guide(guide, model.factor) for guide in guides]
    guided = GuidedSource(coarse, beside, model.factor)
    return [
        read_scene(model, guided, source, window, band, f"{number}", keep_guide=keep_guide)
        for number, window in enumerate(windows)
        for band in bands
    ]


def _learn(
    correction: Correction,
    scenes: Sequence[Scene],
    held_out: Sequence[Scene],
    options: GuidedOptions,
    minutes: float,
    report: Report | None,
    each_step: Callable[[float], None],
) -> tuple[Correction | None, int]:
    """Train a correcting network on a scene; None if the scene holds too little to learn from."""
    start, steps = time.monotonic(), 0

    def go_on(done: float) -> bool:
        nonlocal steps
        each_step(done)
        steps += 1
        return time.monotonic() - start < 60 * minutes

    try:
        best, _ = fit_correction(correction, scenes, held_out, options, report=report, each_step=go_on)
    except InputError:
        return None, 0
    return best, steps


def _misplacement(source: Source, band: int, guides: Sequence[Source], factor: int) -> tuple[float, float] | None:
    """Find how far the guide lies off, in coarse cells; None where that cannot be told."""
    window = Window.middle(source.shape[1:], 1024)
    cells = source.read(window, slice(band, band + 1))
    coarser = [BlockMeanSource(guide, factor) for guide in guides]
    beside = [guide.read(window, slice(None)) for guide in coarser]
    means = np.concatenate([each.values for each in beside]).astype(np.float64)
    valid = np.logical_and.reduce([cells.valid[0], *(layer for each in beside for layer in each.valid)])
    if valid.mean() < 0.5 or min(window.shape) < 32:
        return None
    field = np.where(valid, cells.values[0], cells.values[0][valid].mean()).astype(np.float64)
    means = np.where(valid, means, means[:, valid].mean(1)[:, None, None])
    fitted = np.einsum("k,kyx->yx", fit_guide_to(field, means, valid), means)
    found: Registration = register(fitted, field)
    return (found.y, found.x) if found.coherence >= COHERENT else None
