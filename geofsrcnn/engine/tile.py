"""The arithmetic of a tile: fill, local offset, network, conservation, range, crop."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from geofsrcnn._types import Array, Mask
from geofsrcnn.engine.base import FREE, TILE, Job, Rule
from geofsrcnn.engine.directions import upscale_directions
from geofsrcnn.engine.guides import fit_guide, prepare_guide
from geofsrcnn.grids.windows import Margin, Tile, Window
from geofsrcnn.networks.config import NUMPY_PADDING
from geofsrcnn.networks.guidance import GuideBlock
from geofsrcnn.networks.guided import Guided
from geofsrcnn.networks.inference import Upsampler
from geofsrcnn.networks.limits import clip, conserve, cut, neighbour_bounds, settled
from geofsrcnn.values.blocks import repeat
from geofsrcnn.values.cells import Cells, spread
from geofsrcnn.values.fill import fill

SAFE = (2.0**-60, 2.0**60)
"""Magnitudes that float32 arithmetic bears; other blocks are scaled by a power of two and back."""


KNOWN = 1024
"""Results for tiles of one value that are kept."""


def upscale_block(
    model: Upsampler,
    values: Array,
    valid: Mask,
    margin: Margin,
    rules: Sequence[Rule] = (),
) -> Array:
    """Upscale the core of a block.

    Missing cells are filled from their neighbours, the raster's edge is padded, the model is applied, and bounds
    are kept.

    Parameters
    ----------
    model : Upsampler
        Network or classical method.
    values : ndarray (band, y, x), float32 or float64
        Core and halo; anything where invalid.
    valid : ndarray (band, y, x) of bool
        True where valid.
    margin : Margin
        Cells around the core in `values`. A side with fewer than the model's halo is the raster's edge; with
        invalid cells a side has twice the halo, or reaches the edge.
    rules : sequence of Rule
        What the values of each band keep to; nothing if empty.

    Returns
    -------
    ndarray (band, factor * y, factor * x), the type of `values`
        The core on the fine grid; cells of invalid coarse cells hold anything finite.
    """
    return _upscale_block(model, values, valid, margin, rules)[0]


def _upscale_block(
    model: Upsampler,
    values: Array,
    valid: Mask,
    margin: Margin,
    rules: Sequence[Rule],
    *,
    errors: bool = False,
    guide: GuideBlock | None = None,
) -> tuple[Array, Array | None]:
    values = fill_block(model, values, valid, margin)
    scales = _safe_scales(values, model)
    x = torch.from_numpy(np.ascontiguousarray(values if scales is None else values * scales))
    groups = x.unsqueeze(1) if model.channels == 1 else x.unsqueeze(0)
    expected = None
    if errors:
        told = [model.with_error(batch) for batch in _batches(model, groups)]
        fine, expected = (_join(parts) for parts in zip(*told, strict=True))
    elif guide is not None and isinstance(model, Guided):
        own = torch.from_numpy(own_cells(model, valid, margin))
        fine = _join([model.guided(*each) for each in zip(groups.unsqueeze(1), itertools.repeat(guide), own)])
    else:
        fine = _join([model(batch) for batch in _batches(model, groups)])
    for bands, rule in _alike(rules, scales):
        if rule.bounds != FREE:
            scale = 1.0 if scales is None else float(scales[bands.start, 0, 0])
            _keep_range(model, fine[bands], x[bands], rule, scale)
            if expected is not None:
                _limit_errors(model, expected[bands], cut(x[bands], model.halo), rule, scale)
    found = _unscale(fine.numpy(), scales)
    return found, None if expected is None else _unscale(expected.numpy().astype(found.dtype, copy=False), scales)


def _batches(model: Upsampler, groups: torch.Tensor) -> Sequence[torch.Tensor]:
    """Bands that the model computes apart, as many in one call as have the cells of a tile: small grids, many times.

    Results are the same to the last bit however many there are, but where each has a single cell: for that, libraries
    have a way of their own.
    """
    single = groups.shape[-2] == groups.shape[-1] == 2 * model.halo + 1
    return torch.split(groups, 1 if single else _count_together(groups))


def _count_together(fields: torch.Tensor) -> int:
    """Fields that have as many cells as a tile together, or one."""
    return max(1, TILE**2 // (fields.shape[-2] * fields.shape[-1]))


def _alike(rules: Sequence[Rule], scales: Array | None) -> Iterator[tuple[slice, Rule]]:
    """Neighbouring bands that keep to the same bounds, scaled alike."""

    def key(band: int) -> tuple[Any, ...]:
        return rules[band].limits, rules[band].natural, None if scales is None else float(scales[band, 0, 0])

    for _, group in itertools.groupby(range(len(rules)), key):
        bands = list(group)
        yield slice(bands[0], bands[-1] + 1), rules[bands[0]]


def fill_block(model: Upsampler, values: Array, valid: Mask, margin: Margin) -> Array:
    """Fill missing cells from their neighbours, and give a block the model's halo: cut, or padded at raster edges.

    Parameters
    ----------
    model : Upsampler
        Network or classical method.
    values : ndarray (band, y, x), float32 or float64
        Core and halo; anything where invalid.
    valid : ndarray (band, y, x) of bool
        True where valid.
    margin : Margin
        Cells around the core in `values`.

    Returns
    -------
    ndarray (band, y + 2 halo, x + 2 halo), the type of `values`
        As the model takes it.
    """
    if not valid.all():
        rings = max(values.shape[1:]) if model.whole_field else model.halo
        beyond = np.nan if model.joint else 0.0  # where one band is missing, others may be valid: it tells them nothing
        values = fill(values, valid, rings, beyond).astype(values.dtype, copy=False)
    return _fit_halo(values, margin, model.halo, NUMPY_PADDING[model.padding])


def own_cells(model: Upsampler, valid: Mask, margin: Margin) -> Mask:
    """Cells of a block that has the model's halo which have a value of their own: neither filled nor padded.

    Parameters
    ----------
    model : Upsampler
        Network or classical method.
    valid : ndarray (band, y, x) of bool
        True where valid.
    margin : Margin
        Cells around the core in `valid`.

    Returns
    -------
    ndarray (band, y + 2 halo, x + 2 halo) of bool
    """
    return _fit_halo(valid, margin, model.halo, "constant")


def _join(blocks: Sequence[torch.Tensor]) -> torch.Tensor:
    """Bands of results ``(1, band, y, x)``."""
    return (blocks[0] if len(blocks) == 1 else torch.cat(list(blocks))).flatten(0, 1)


def _unscale(values: Array, scales: Array | None) -> Array:
    if scales is None:
        return values
    with np.errstate(over="ignore"):
        unscaled: Array = values / scales
    return unscaled


def _limit_errors(model: Upsampler, errors: torch.Tensor, core: torch.Tensor, rule: Rule, scale: float) -> None:
    """Bring expected errors within what bounds leave open, in place: none where a mean leaves no choice."""
    low, high = (end * scale for end in rule.bounds)
    with torch.inference_mode():
        errors.clamp_(max=high - low)
        if model.conserving:
            without_choice = settled(core, low, high).repeat_interleave(model.factor, -2)
            errors.masked_fill_(without_choice.repeat_interleave(model.factor, -1), 0.0)


def _fit_halo(values: Array, margin: Margin, halo: int, mode: str) -> Array:
    """Cut what was read for filling only, and pad where the raster ends."""
    sides = (margin.top, margin.bottom, margin.left, margin.right)
    top, bottom, left, right = (max(side - halo, 0) for side in sides)
    values = values[:, top : values.shape[1] - bottom, left : values.shape[2] - right]
    short = [max(halo - side, 0) for side in sides]
    if not any(short):
        return values
    pads = [(0, 0), (short[0], short[1]), (short[2], short[3])]
    return np.pad(values, pads, mode=mode)  # type: ignore[call-overload,no-any-return]


def _safe_scales(values: Array, model: Upsampler) -> Array | None:
    """Factors ``(band, 1, 1)`` for a block's bands, the same for all that have no units of their own; None if all 1."""
    if not model.unit_free:
        return None
    largest = [float(np.abs(band[np.isfinite(band)]).max(initial=0.0)) for band in values] if model.joint else []
    scales = [_safe_scale(each) for each in largest or [float(np.abs(values).max())] * len(values)]
    return None if set(scales) == {1.0} else np.array(scales, values.dtype).reshape(-1, 1, 1)


def _safe_scale(largest: float) -> float:
    """A power of two that brings a magnitude to where float32 has room; 1 for ordinary ones."""
    if largest == 0 or SAFE[0] <= largest <= SAFE[1]:
        return 1.0
    # only as far as needed: small values beside a huge one keep their digits
    return 2.0 ** (60 - math.frexp(largest)[1]) if largest > 1 else min(2.0 ** (-60 - math.frexp(largest)[1]), 2.0**900)


def _keep_range(model: Upsampler, fine: torch.Tensor, x: torch.Tensor, rule: Rule, scale: float) -> None:
    """Bring blocks of bands that leave their bounds back into them, in place; conserving models keep their means.

    Bounds are those of the rule, and those of the model's overshoot within them.
    """
    low, high = (end * scale for end in rule.bounds)
    with torch.inference_mode():
        smallest, largest = torch.aminmax(fine.flatten(1), dim=1)
        (leaving,) = (~((low <= smallest) & (largest <= high))).nonzero(as_tuple=True)
        for some in torch.split(leaving, _count_together(x)) if len(leaving) else ():
            fine[some] = _kept(model, fine[some].unsqueeze(1), x[some].unsqueeze(1), rule, scale).squeeze(1)


def _kept(model: Upsampler, fine: torch.Tensor, x: torch.Tensor, rule: Rule, scale: float) -> torch.Tensor:
    """Fine bands ``(n, 1, y, x)`` within their bounds."""
    low, high = (end * scale for end in rule.bounds)
    core = cut(x, model.halo)
    blocks = torch.nn.functional.pixel_unshuffle(fine, model.factor)
    outside = ((blocks < low) | (blocks > high)).any(1, keepdim=True)
    bounds: Sequence[float | torch.Tensor] = (low, high)
    if model.overshoot is not None:
        around = neighbour_bounds(x, model.halo, model.overshoot)
        bounds = [(core + bound).clamp(low, high) for bound in around]
    kept = conserve(blocks.unsqueeze(1), core, *bounds).squeeze(1) if model.conserving else clip(blocks, *bounds)
    if rule.natural != FREE:
        beyond = (core < rule.natural[0] * scale) | (core > rule.natural[1] * scale)
        kept = torch.where(beyond, core.clamp(*(end * scale for end in rule.limits)), kept)
    return torch.nn.functional.pixel_shuffle(torch.where(outside, kept, blocks), model.factor)


def upscale_tile(job: Job, cells: Cells, tile: Tile, bands: slice = slice(None)) -> Cells:
    """The fine cells of a tile from the coarse cells read for it.

    Invalid coarse cells become ``factor x factor`` invalid fine cells that hold the same value; alpha and mask
    are repeated. The arrays may be views of one cell, which cannot be written to.
    """
    one = cells.one_cell()
    if one is None or not _repeats_itself(job, cells, one):
        return _upscale(job, cells, tile, bands)
    rows, columns = (side * job.factor for side in tile.core.shape)
    return _upscale_one_cell(job, one, bands).spread((rows, columns))


def _upscale(job: Job, cells: Cells, tile: Tile, bands: slice) -> Cells:
    core = _core(tile.margin, cells.values.shape)
    coarse, valid = cells.values[core], cells.valid[core]
    fine_shape = (job.factor * coarse.shape[1], job.factor * coarse.shape[2])
    valid = spread(valid, fine_shape) if valid.all() else repeat(valid, job.factor)
    rules, errors = job.rules[bands], None
    if job.model is None or not valid.any():
        fine = repeat(coarse, job.factor)
        errors = np.full(fine.shape, np.nan, np.float32) if job.errors else None
    else:
        fine, errors = _upscale_bands(job.model, cells, tile.margin, rules, errors=job.errors)
        if not valid.all():
            fine = np.where(valid, fine, repeat(coarse, job.factor))
            errors = None if errors is None else np.where(valid, errors, errors.dtype.type(np.nan))
    for band, rule in enumerate(rules):
        if rule.divisor > 1:
            fine[band] = np.where(valid[band], fine[band] / fine.dtype.type(rule.divisor), fine[band])
            if errors is not None:
                errors[band] /= rule.divisor
    alpha = None if cells.alpha is None else repeat(cells.alpha[core], job.factor)
    mask = None if cells.mask is None else repeat(cells.mask[core[1:]], job.factor)
    return Cells(fine, valid, alpha, mask, errors)


def _repeats_itself(job: Job, cells: Cells, one: Cells) -> bool:
    """Tell whether the job repeats one cell of each band to the last bit: nothing is there, or sea, empty blocks."""
    model = job.model
    if model is None or not one.valid.any():
        return True
    if job.errors or cells.guide is not None or model.joint or model.whole_field:
        return False
    if not model.unit_free or model.padding == "zeros":
        return False
    return bool(one.valid.all() and np.isfinite(one.values).all())


def _upscale_one_cell(job: Job, one: Cells, bands: slice) -> Cells:
    """Upscale cells that stand for a tile of one value as a tile of their own, or recall what that gave before."""
    fields = (one.values, one.valid, one.alpha, one.mask)
    key = (bands.start, *(None if field is None else field.tobytes() for field in fields))
    if (found := job.known.get(key)) is None:
        if len(job.known) >= KNOWN:
            job.known.clear()
        cell = Window(0, 1, 0, 1)
        found = job.known[key] = _upscale(job, one, Tile(cell, cell, cell), bands)
    return found


def _upscale_bands(
    model: Upsampler, cells: Cells, margin: Margin, rules: Sequence[Rule], *, errors: bool
) -> tuple[Array, Array | None]:
    """Upscale the core of what was read, each band by its rule: most as they are, directions and categories not."""
    guide = None
    if cells.guide is not None:
        guide = fit_guide(prepare_guide(cells.guide, model.factor, model.halo), margin, model.halo)

    def upscale(values: Array, valid: Mask, rules: Sequence[Rule] = ()) -> tuple[Array, Array | None]:
        return _upscale_block(model, values, valid, margin, rules, errors=errors, guide=guide)

    if model.channels > 1 or not any(rule.value_period or rule.repeats for rule in rules):
        return upscale(cells.values, cells.valid, rules)
    parts = []
    for band, rule in enumerate(rules):
        values, valid = cells.values[band : band + 1], cells.valid[band : band + 1]
        if rule.repeats:
            fine = repeat(values[_core(margin, values.shape)], model.factor)
            parts.append((fine, np.full(fine.shape, np.nan, fine.dtype) if errors else None))
        elif rule.value_period:
            parts.append(upscale_directions(upscale, model, values, valid, margin, rule))
        else:
            parts.append(upscale(values, valid, [rule]))
    return np.concatenate([fine for fine, _ in parts]), _concatenate([expected for _, expected in parts])


def _concatenate(bands: Sequence[Array | None]) -> Array | None:
    """Bands behind each other, where there are any."""
    there = [band for band in bands if band is not None]
    return np.concatenate(there) if there else None


def _core(margin: Margin, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    return (
        slice(None),
        slice(margin.top, shape[1] - margin.bottom),
        slice(margin.left, shape[2] - margin.right),
    )
