"""How well methods do that follow a guide: scores on parts of a scene whose truth is known, and a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geofsrcnn._types import Array, Facts
from geofsrcnn.evaluation.guided import SIMPLE, ergas, high_pass, spectral_angle, substitute
from geofsrcnn.networks.guidance import RADII
from geofsrcnn.networks.guided import Correction
from geofsrcnn.networks.limits import cut
from geofsrcnn.training.guided import MARGIN, corrected_blocks, divide, mean_ratio
from geofsrcnn.training.guided_scenes import Scene

ALONE, AS_SHIPPED, LEARNED = "without the guide", "with the guide", "with the guide, learned on this scene"

REGRESSION = SIMPLE[-1]
"""The simple method that can be applied in place of a network."""

WITH_GUIDE = (AS_SHIPPED, LEARNED, REGRESSION)
"""Methods that can be applied and follow the guide."""

CLEARLY = 0.8
"""Local regression is applied where its error is below this share of the best network's. On 16 bands of five scenes a
share of 0.98 chose it too often, by few cells: 0.466 of the error without a guide instead of 0.449 at x3."""

TOO_FAR = 0.35
"""Shift of a guide in coarse cells that is worth a word."""


@dataclass(frozen=True)
class MethodScore(Facts):
    """A method on the parts that were held out.

    Parameters
    ----------
    name : str
        What it is.
    rmse : tuple of float
        Of each band, in its units.
    ratio : float
        Geometric mean over bands of RMSE divided by that without the guide.
    sam : float or None
        Spectral angle in degrees, of several bands.
    ergas : float or None
        Relative dimensionless global error, of several bands.
    """

    name: str
    rmse: tuple[float, ...]
    ratio: float
    sam: float | None = None
    ergas: float | None = None


@dataclass(frozen=True)
class Verdict(Facts):
    """How well a guide helps, on parts of the scene that were held out, one scale coarser.

    Parameters
    ----------
    factor : int
        Fine cells along one side of a coarse cell.
    bands : tuple of str
        Names of the bands that were scored.
    cells : int
        Fine cells of a band that were scored; 0 if the scene is too small to tell.
    held_out : bool
        True if they were held out; False if nothing was learned, so that all of the scene could be scored.
    methods : tuple of MethodScore
        Without the guide, simple methods, the networks.
    chosen : str
        Name of the method that is applied.
    steps : int
        Steps that were learned.
    shift : tuple of float, optional
        Rows and columns, in coarse cells, by which the guide lies further along than the field, where that can be told.
    """

    factor: int
    bands: tuple[str, ...]
    cells: int
    held_out: bool
    methods: tuple[MethodScore, ...]
    chosen: str
    steps: int
    shift: tuple[float, float] | None = None

    def score(self, name: str) -> MethodScore | None:
        """Return the score of a method.

        Parameters
        ----------
        name : str
            Of the method.

        Returns
        -------
        MethodScore, optional
            None if it was not scored.
        """
        return next((method for method in self.methods if method.name == name), None)

    @property
    def best_simple(self) -> MethodScore | None:
        """The simple method that did best."""
        simple = [method for method in self.methods if method.name in SIMPLE]
        return min(simple, key=lambda method: method.ratio, default=None)

    @property
    def misplaced(self) -> bool:
        """True if the guide lies a third of a coarse cell or more off."""
        return self.shift is not None and max(map(abs, self.shift)) >= TOO_FAR

    def words(self) -> str:
        """Say in a sentence how much the guide helps.

        Returns
        -------
        str
            Without a full stop.
        """
        chosen, simple = self.score(self.chosen), self.best_simple
        if not self.cells or chosen is None or simple is None:
            return "too little of the scene has values and a guide to tell how much the guide helps"
        where = "on parts that were held out" if self.held_out else "on the whole scene"
        if self.chosen == ALONE:
            best = min(method.ratio for method in self.methods if method.name in WITH_GUIDE)
            return f"the guide does not help {where}, one scale coarser: RMSE is {_against(best)} it"
        if chosen == simple:
            return f"{where}, one scale coarser, RMSE is {_against(chosen.ratio)} the guide, and no network does better"
        return (
            f"{where}, one scale coarser, RMSE is {_against(chosen.ratio)} the guide, and "
            f"{_against(chosen.ratio / simple.ratio, 'that of')} {simple.name}, the best simple method"
        )


def _against(ratio: float, than: str = "that without") -> str:
    percent = 100 * (ratio - 1)
    return f"{abs(percent):.1f} % {'above' if percent > 0 else 'below'} {than}"


def score_methods(
    shipped: Correction, learned: Correction | None, scenes: Sequence[Scene], bands: int
) -> tuple[list[MethodScore], int]:
    """Score all methods on scenes whose truth is known.

    Parameters
    ----------
    shipped : Correction
        What the model's file has learned of guides.
    learned : Correction, optional
        What was learned of the scene.
    scenes : sequence of Scene
        With their guides; the bands of a part follow each other.
    bands : int
        How many there are of each part.

    Returns
    -------
    tuple of list of MethodScore and int
        None if no cell can be scored; and the fine cells of a band that were.
    """
    truths: list[Array] = []
    estimates: dict[str, list[Array]] = {}
    for first in range(0, len(scenes), bands):
        group = scenes[first : first + bands]
        inside = torch.stack([scene.counts & scene.usable for scene in group]).all(0)
        truths.append(np.stack([_values(scene, scene.truth, inside) for scene in group]))
        of_bands = [_all_methods(shipped, learned, scene) for scene in group]
        for name in of_bands[0]:
            values = [_values(scene, blocks[name], inside) for scene, blocks in zip(group, of_bands, strict=True)]
            estimates.setdefault(name, []).append(np.stack(values))
    if not sum(truth.size for truth in truths):
        return [], 0
    truth = np.concatenate(truths, 1)
    joined = {name: np.concatenate(values, 1) for name, values in estimates.items()}
    return _compare(joined, truth, shipped.config.factor), truth.shape[1]


def _values(scene: Scene, blocks: Tensor, inside: Tensor) -> Array:
    """The values of the fine cells that count, away from edges, in units of the field."""
    values = cut(blocks + scene.coarse, MARGIN)[:, cut(inside, MARGIN)].double() + scene.offset
    found: Array = values.numpy().ravel()
    return found


def _all_methods(shipped: Correction, learned: Correction | None, scene: Scene) -> dict[str, Tensor]:
    """Compute what each method adds to the coarse values of a scene."""
    assert scene.guide is not None
    counts = (scene.counts & scene.usable).numpy()
    given = scene.coarse[0].double().numpy(), scene.guide.means.double().numpy(), scene.guide.details.double().numpy()
    middle = scene.details.reshape(len(RADII), -1, *scene.shape)[len(RADII) // 2]
    filtered, substituted = (torch.from_numpy(method(*given, counts)).float() for method in (high_pass, substitute))
    added = dict(zip(SIMPLE, (filtered, substituted, middle), strict=True))
    found = {ALONE: scene.added}
    found |= {name: scene.added + each - each.mean(0) for name, each in added.items()}
    found[AS_SHIPPED] = corrected_blocks(shipped, scene)
    if learned is not None:
        found[LEARNED] = corrected_blocks(learned, scene)
    return found


def _compare(estimates: Mapping[str, Array], truth: Array, factor: int) -> list[MethodScore]:
    """Score the estimates ``(band, n)`` of all methods against the truth."""
    alone = np.sqrt(((estimates[ALONE] - truth) ** 2).mean(1))
    methods = []
    for name, values in estimates.items():
        errors = np.sqrt(((values - truth) ** 2).mean(1))
        several = len(truth) > 1
        methods.append(
            MethodScore(
                name,
                tuple(float(error) for error in errors),
                mean_ratio(map(divide, errors.tolist(), alone.tolist())),
                spectral_angle(values, truth) if several else None,
                ergas(list(errors), list(truth.mean(1)), factor) if several else None,
            )
        )
    return methods


def choose(methods: Sequence[MethodScore], *, always: bool) -> str:
    """Name the method to apply: the best of those that can be, or of those with the guide."""
    ratios = {method.name: method.ratio for method in methods}
    names = [name for name in ratios if name in (AS_SHIPPED, LEARNED) or (name == ALONE and not always)]
    best = min(names, key=lambda name: ratios[name], default=AS_SHIPPED)
    return REGRESSION if ratios.get(REGRESSION, math.inf) < CLEARLY * ratios.get(best, 0.0) else best
