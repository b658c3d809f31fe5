"""Scenes that a guided network learns from: evidence and truth, and batches of patches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from geofsrcnn.engine.base import Source
from geofsrcnn.engine.guides import fit_guide, prepare_guide
from geofsrcnn.engine.tile import fill_block, own_cells
from geofsrcnn.errors import InputError
from geofsrcnn.grids.windows import Plan, Tile, Window, read_margin
from geofsrcnn.networks.guidance import GuideBlock
from geofsrcnn.networks.guided import Evidence
from geofsrcnn.networks.limits import cut
from geofsrcnn.training.schedule import check_options
from geofsrcnn.values.cells import Cells

if TYPE_CHECKING:
    from geofsrcnn.networks.guided import Guided

TILE = 192
"""Coarse cells along one side of a tile in which evidence is gathered."""

TRIES = 50
"""Places that are tried for each patch."""

LEAST_KNOWN = 0.5
"""Share of a patch's cells of which the truth and the guide are known, at least."""

FLAT = 1e-6
"""Patches to which less than this share of their largest value is to be added teach nothing but rounding."""


@dataclass(frozen=True)
class GuidedOptions:
    """How a guided network is trained.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    learning_rate : float
        The largest; it falls to 0 along a cosine.
    batch_size : int
        Patches of a step.
    patch : int
        Coarse cells along one side of a patch, halo not counted.
    ema_decay : float
        Of the moving average of the weights, which is what is kept.
    validate_every : int
        Steps between two validations.
    hold_out : float
        Share of the sites to hold out, where rasters are learned from.
    seed : int
        Of patches, first weights and the choice of sites.

    Raises
    ------
    ConfigError
        If a value makes no sense.
    """

    steps: int = 5000
    learning_rate: float = 2e-3
    batch_size: int = 16
    patch: int = 24
    ema_decay: float = 0.999
    validate_every: int = 500
    hold_out: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Scene:
    """A band of a field with a guide: what the network sees in each coarse cell, and the truth.

    Parameters
    ----------
    name : str
        For messages and tables.
    coarse : Tensor (1, y, x), float32
        Coarse values, less a constant.
    added, beyond : Tensor (factor * factor, y, x), float32
        What the first network adds to the coarse value in each fine cell, and what of it is beyond interpolation.
    details : Tensor (factor * factor * windows, y, x), float32
        What the guide tells, by regression.
    truth : Tensor (factor * factor, y, x), float32
        What is right to be added.
    counts : Tensor (y, x) of bool
        Cells of which the truth is known.
    usable : Tensor (y, x) of bool
        Cells with a guide.
    offset : float
        The constant that is missing in `coarse`.
    guide : GuideBlock, optional
        The guide itself, for simple methods.
    """

    name: str
    coarse: Tensor
    added: Tensor
    beyond: Tensor
    details: Tensor
    truth: Tensor
    counts: Tensor
    usable: Tensor
    offset: float = 0.0
    guide: GuideBlock | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Coarse rows and columns."""
        return self.coarse.shape[-2], self.coarse.shape[-1]

    @property
    def evidence(self) -> Evidence:
        """All of it as the network takes it."""
        return Evidence(self.coarse[None], self.added[None], self.beyond[None], self.details[None])


def read_scene(
    model: Guided, source: Source, truth: Source, window: Window, band: int, name: str, *, keep_guide: bool = False
) -> Scene:
    """Gather a scene tile by tile.

    Parameters
    ----------
    model : Guided
        Whose evidence it is.
    source : Source
        Coarse cells with their guide beside them.
    truth : Source
        Their fine cells.
    window : Window
        Coarse cells that are wanted.
    band : int
        Of both sources.
    name : str
        For messages and tables.
    keep_guide : bool
        Keep the guide too.

    Returns
    -------
    Scene
    """
    _, rows, columns = source.shape
    plan = Plan(Window(0, rows, 0, columns), window, TILE, read_margin(model.halo), model.factor)
    offset = _level(source, window, band)
    found: dict[str, Tensor] = {}
    for tile in plan:
        fine = truth.read(tile.core.refine(model.factor), slice(band, band + 1))
        parts = _parts(model, source.read(tile.read, slice(band, band + 1)), fine, tile, offset)
        for key, part in parts.items():
            whole = found.setdefault(key, torch.empty(*part.shape[:-2], *window.shape, dtype=part.dtype))
            whole[(..., *tile.core.shift(-window.y0, -window.x0).slices())] = part
    means, details = (found.pop(key) for key in ("means", "guide_details"))
    guide = GuideBlock(means, details, found["usable"]) if keep_guide else None
    return Scene(name, **found, offset=offset, guide=guide)


def _level(source: Source, window: Window, band: int) -> float:
    """The mean of some cells, which is taken from all for the sake of rounding."""
    middle = Window.middle(window.shape, TILE).shift(window.y0, window.x0)
    cells = source.read(middle, slice(band, band + 1))
    return float(cells.values[cells.valid].mean()) if cells.valid.any() else 0.0


def _parts(model: Guided, cells: Cells, fine: Cells, tile: Tile, offset: float) -> dict[str, Tensor]:
    """The parts of a scene in the core of a tile."""
    assert cells.guide is not None
    margin, halo, inner = tile.margin, model.halo, model.correction.config.halo
    guide = fit_guide(prepare_guide(cells.guide, model.factor, halo), margin, halo)
    x = torch.from_numpy(fill_block(model, cells.values, cells.valid, margin).astype(np.float64) - offset)[None]
    valid = torch.from_numpy(own_cells(model, cells.valid, margin)[0])
    with torch.inference_mode():
        seen, core = model.gather(x, guide, valid), cut(x, halo)[0]
        values = torch.from_numpy(np.where(fine.valid, fine.values - offset, np.nan))[None]
        right = F.pixel_unshuffle(values, model.factor)[0] - core
        known = right.isfinite().all(0) & cut(valid, halo)
        return {
            "coarse": core.float(),
            "added": cut(seen.added[0], inner),
            "beyond": cut(seen.beyond[0], inner),
            "details": cut(seen.details[0], inner),
            "truth": torch.where(known, right, 0.0).float(),
            "counts": known,
            "usable": cut(guide.usable, halo),
            "means": cut(guide.means, halo).float(),
            "guide_details": cut(guide.details, halo).float(),
        }


@dataclass(frozen=True)
class GuidedBatch:
    """Patches: what the network sees with its halo around, and what is right.

    Parameters
    ----------
    seen : Evidence
        ``(n, ..., y + 2 halo, x + 2 halo)``.
    truth : Tensor (n, factor * factor, y, x)
        What is right to be added to the coarse values.
    counts : Tensor (n, 1, y, x) of bool
        Cells that count.
    """

    seen: Evidence
    truth: Tensor
    counts: Tensor


def draw_batch(scenes: Sequence[Scene], factor: int, halo: int, options: GuidedOptions, step: int) -> GuidedBatch:
    """Draw the patches of a step, each turned, mirrored and scaled by how much there is to be added.

    Raises
    ------
    InputError
        If the scenes hold next to nothing to learn from.
    """
    rng = np.random.default_rng((options.seed, step))
    side = min(options.patch + 2 * halo, max(min(scene.shape) for scene in scenes))
    large = [scene for scene in scenes if min(scene.shape) >= side]
    drawn: list[tuple[Tensor, ...]] = []
    for _ in range(TRIES * options.batch_size):
        scene = large[rng.integers(len(large))]
        y, x = (int(rng.integers(n - side + 1)) for n in scene.shape)
        found = _patch(scene, factor, halo, Window(y, y + side, x, x + side), int(rng.integers(8)))
        drawn += [] if found is None else [found]
        if len(drawn) == options.batch_size:
            *seen, truth, counts = (torch.stack(parts) for parts in zip(*drawn, strict=True))
            return GuidedBatch(Evidence(*seen), cut(truth, halo), cut(counts, halo))
    raise InputError("next to nothing to learn from: the field is flat, or the guide covers too little of it")


def _patch(scene: Scene, factor: int, halo: int, window: Window, turn: int) -> tuple[Tensor, ...] | None:
    """Cut a patch out of a scene; None if it has too little to learn from."""
    index = (..., *window.slices())
    counts, truth = (scene.counts & scene.usable)[index], scene.truth[index]
    if cut(counts, halo).float().mean() < LEAST_KNOWN:
        return None
    coarse, scale = scene.coarse[index], float(truth[:, counts].std())
    if scale <= FLAT * float(coarse.abs().max()):
        return None
    seen = coarse - coarse.mean(), scene.added[index], scene.beyond[index], scene.details[index]
    turned = [_turn(part / scale, factor, turn) for part in (*seen, truth)]
    return *turned, _turn(counts[None], factor, turn)


def _turn(x: Tensor, factor: int, turn: int) -> Tensor:
    """Turn or mirror a field in one of 8 ways; channels that are the fine cells of a block move as these do."""
    if len(x) > 1:
        x = x.reshape(-1, factor**2, *x.shape[1:])[:, _order(factor, turn)].flatten(0, 1)
    return _move(x, turn)


def _move(x: Tensor, turn: int) -> Tensor:
    x = x.flip(-1) if turn & 1 else x
    x = x.flip(-2) if turn & 2 else x
    return x.transpose(-1, -2) if turn & 4 else x


@cache
def _order(factor: int, turn: int) -> Tensor:
    """Where each fine cell of a block comes from."""
    return _move(torch.arange(factor**2).reshape(factor, factor), turn).flatten()
