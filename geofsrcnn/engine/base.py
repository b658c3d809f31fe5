"""The engine's surroundings: a source of coarse cells, a sink of fine ones, a job between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from geofsrcnn._types import Range, Write
from geofsrcnn.errors import ModelError, UsageError
from geofsrcnn.grids.windows import Window, read_margin
from geofsrcnn.networks.catalog import Model
from geofsrcnn.options import check_tile_size
from geofsrcnn.values.cells import Cells
from geofsrcnn.values.encoding import shared_range

if TYPE_CHECKING:
    from geofsrcnn.networks.inference import Upsampler

TILE = 160
"""Coarse cells along one side of a tile on a CPU: activations stay in the cache, halos stay cheap."""

DEVICE_TILE = 512
"""The same on a GPU."""

BANDS = 16
"""Bands of a tile that are upscaled together."""

FREE: Range = (-math.inf, math.inf)
"""Bounds of what has none."""


class Source(Protocol):
    """Where coarse cells come from; used by one thread at a time."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows, columns."""
        ...

    def read(self, window: Window, bands: slice) -> Cells:
        """The cells of a window."""
        ...


class Sink(Protocol):
    """Where fine cells go."""

    def prepare(self, window: Window, cells: Cells, bands: slice) -> Write:
        """Encode the cells of a window, on the thread that computed them; what is returned stores them.

        Several threads prepare at once, so that nothing shared may change here. Stored is on the calling thread, in the
        order of the plan.
        """
        ...


@dataclass(frozen=True)
class Rule:
    """The treatment of a band's values, and what they keep to; a warning says where coarse ones do not.

    `geofsrcnn.engine.rules.rule_of` makes it of what a variable is, `geofsrcnn.engine.tile` carries it out.

    Parameters
    ----------
    limits : tuple of float
        Bounds in physical units: what was asked for, and what can be stored. Coarse cells beyond come out at them.
    natural : tuple of float
        Bounds that the quantity is taken to have. Coarse cells beyond keep their value, only others stay within.
    value_period : float
        Values repeat after it, as directions do: 360 for degrees; 0 if they do not. Not to be confused with the
        period of a grid, columns around the globe.
    start : float, optional
        Where directions start to count: 0, or minus half the period. Not given, each tile tells by its values.
    divisor : int
        Fine values are divided by it: the fine cells of a coarse one where values are totals over a cell, else 1.
    repeats : bool
        Values are repeated, whatever the model is (categories).
    watched : bool
        Nothing says what the values are: a warning says if they turn negative where no coarse one is.
    step : float
        Step between neighbouring values as they are stored, of integers; 0 for floats.
    key : str
        What a user calls the band in ``kinds=``.
    numbered : bool
        The key is the number of a band.
    taken_for : str
        The kind of variable that it is taken for, and the evidence.
    """

    limits: Range = FREE
    natural: Range = FREE
    value_period: float = 0.0
    start: float | None = None
    divisor: int = 1
    repeats: bool = False
    watched: bool = False
    step: float = 0.0
    key: str = ""
    numbered: bool = False
    taken_for: str = ""

    @property
    def bounds(self) -> Range:
        """Bounds of fine values in ordinary cells, before they are divided."""
        return shared_range(self.limits, self.natural)


NO_RULE = Rule()


@dataclass(frozen=True)
class Job:
    """The work on each tile.

    Parameters
    ----------
    model : Upsampler or None
        None repeats cells (nearest), whatever their type.
    factor : int
        Fine cells along one side of a coarse cell.
    rules : sequence of Rule
        What the values of each band keep to; nothing if empty.
    errors : bool
        Tell the expected error of each fine cell too.
    known : dict
        Results for tiles of one value, which come again and again (`geofsrcnn.engine.tile`).
    """

    model: Upsampler | None
    factor: int
    rules: Sequence[Rule] = ()
    errors: bool = False
    known: dict[Any, Cells] = field(default_factory=dict, repr=False, compare=False)

    @property
    def reach(self) -> int:
        """Cells read around a tile: the halo, and once more where its missing cells are filled from."""
        return 0 if self.model is None else read_margin(self.model.halo)


def tile_size_of(tile_size: int | None, model: Model, shape: tuple[int, int]) -> int:
    """Coarse cells along one side of a tile: those asked for, or what suits the device; all if the model needs them.

    Raises
    ------
    UsageError
        If it is not a positive whole number, or below the model's halo.
    """
    if model.whole_field:
        return max(shape)
    if tile_size is None:
        return TILE if model.device == "cpu" else DEVICE_TILE
    check_tile_size(tile_size)
    if tile_size < model.halo:
        raise UsageError(f"tile size {tile_size} is below the halo of {model.name}, {model.halo} cells")
    return tile_size


def band_groups(count: int, model: Upsampler | None) -> list[slice]:
    """Bands that go through a tile together: all that the model joins, else a bounded number.

    Raises
    ------
    ModelError
        If the model takes another number of bands.
    """
    if model is None or model.channels == 1:
        return [slice(start, min(start + BANDS, count)) for start in range(0, count, BANDS)]
    if count != model.channels:
        raise ModelError(f"the model takes {model.channels} bands, the raster has {count}: choose them with bidx=")
    return [slice(0, count)]
