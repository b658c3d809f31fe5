"""Patches of images to train on: fine ones, and the same places of the coarser image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from protocol.images import Array, rescale, to_luma, trim

PAPER_SCALES = (1.0, 0.9, 0.8, 0.7, 0.6)
"""Sizes of each image that is trained on; with four rotations the paper's 20-fold augmentation."""

Coarsen = Callable[[Array, int], Array]
"""From a fine field ``(y, x)`` and a factor to the coarse one."""

WHITE = 255.0
"""Networks see grey levels as shares of it."""


_MODES: dict[str, Any] = {"replicate": "edge", "zeros": "constant", "reflect": "reflect"}


def pad(field: Array, halo: int, padding: str) -> Array:
    """Add cells around a field, as `FSRCNNConfig.padding` says."""
    padded: Array = np.pad(field, halo, mode=_MODES[padding])
    return padded


def augment(images: Sequence[Array], scales: Sequence[float] = PAPER_SCALES) -> list[Array]:
    """Luma of images ``(y, x)`` or ``(y, x, 3)`` at several sizes."""
    return [to_luma(rescale(image, scale)) for image in images for scale in scales]


class Patches:
    """Random patches of fine fields; those of a step depend on the seed and the step alone.

    Parameters
    ----------
    fields : sequence of ndarray (y, x)
        Of 0 to 255.
    factor : int
        Fine cells along one side of a coarse cell.
    coarsen : callable
        From a fine field and the factor to the coarse field.
    patch : int
        Coarse cells along one side; smaller fields are left out.
    halo : int
        Coarse cells that the network needs around.
    padding : {"replicate", "zeros", "reflect"}
        Values beyond a field's edge.
    batch : int
        Patches in a step.
    mirror : bool
        Mirror half of them, beside the paper's rotations.
    seed : int
        Of all draws.
    """

    def __init__(
        self,
        fields: Sequence[Array],
        factor: int,
        coarsen: Coarsen,
        *,
        patch: int,
        halo: int,
        padding: str,
        batch: int,
        mirror: bool = False,
        seed: int = 0,
    ) -> None:
        self._factor, self._patch, self._halo, self._batch = factor, patch, halo, batch
        self._mirror, self._seed = mirror, seed
        fines = [fine for fine in (trim(field, factor) for field in fields) if min(fine.shape) >= patch * factor]
        if not fines:
            raise SystemExit(f"no field has {patch} x {patch} coarse cells: take smaller patches")
        self._pairs = [
            (pad(coarsen(fine, factor), halo, padding).astype(np.float32) / WHITE, fine.astype(np.float32) / WHITE)
            for fine in fines
        ]
        places = [(fine.shape[0] // factor - patch + 1) * (fine.shape[1] // factor - patch + 1) for fine in fines]
        self._shares = np.cumsum(places) / sum(places)

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """Draw coarse ``(n, 1, y + 2 halo, x + 2 halo)`` and fine ``(n, 1, factor y, factor x)`` patches."""
        random = np.random.default_rng([self._seed, step])
        drawn = [self._cut(random) for _ in range(self._batch)]
        coarse, fine = (torch.from_numpy(np.stack(each)[:, None]) for each in zip(*drawn, strict=True))
        return coarse, fine

    def _cut(self, random: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        coarse, fine = self._pairs[int(np.searchsorted(self._shares, random.uniform(), "right"))]
        size, f = self._patch + 2 * self._halo, self._factor
        y, x = (int(random.integers(n - size + 1)) for n in coarse.shape)
        turns, mirrored = int(random.integers(4)), self._mirror and random.uniform() < 0.5
        both = []
        for image, top, left, width in ((coarse, y, x, size), (fine, f * y, f * x, f * self._patch)):
            cells = np.rot90(image[top : top + width, left : left + width], turns)
            both.append(cells[:, ::-1] if mirrored else cells)
        return both[0], both[1]
