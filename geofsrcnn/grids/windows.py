"""Windows, tiles and halos: integer arithmetic only, no data and no geography.

All pairs are ``(y, x)``; windows are half open. A tile's *core* is what it contributes; its *read* window
is the core with the halo around it, cut at the raster's edge; its *write* window is the core on the fine grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geofsrcnn.errors import UsageError


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open rectangle of cells, ``rows y0 <= y < y1`` and ``columns x0 <= x < x1``.

    Examples
    --------
    >>> Window(0, 2, 1, 5).shape
    (2, 4)
    """

    y0: int
    y1: int
    x0: int
    x1: int

    def __str__(self) -> str:
        return f"rows {self.y0} to {self.y1}, columns {self.x0} to {self.x1}"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.y1 - self.y0, self.x1 - self.x0

    def slices(self) -> tuple[slice, slice]:
        """Index of the window in an array ``(y, x)``."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @classmethod
    def middle(cls, shape: tuple[int, int], side: int) -> Window:
        """Return the window of at most `side` rows and columns in the middle of a grid.

        Examples
        --------
        >>> Window.middle((10, 3), 4)
        Window(y0=3, y1=7, x0=0, x1=3)
        """
        (rows, columns), (y, x) = shape, (max(0, (n - side) // 2) for n in shape)
        return cls(y, min(rows, y + side), x, min(columns, x + side))

    def grow(self, cells: int, within: Window) -> Window:
        """The window with `cells` more on each side, cut at `within`."""
        return Window(
            max(self.y0 - cells, within.y0),
            min(self.y1 + cells, within.y1),
            max(self.x0 - cells, within.x0),
            min(self.x1 + cells, within.x1),
        )

    def shift(self, dy: int, dx: int) -> Window:
        """The window moved by whole cells."""
        return Window(self.y0 + dy, self.y1 + dy, self.x0 + dx, self.x1 + dx)

    def refine(self, factor: int) -> Window:
        """The same area on the grid that is `factor` times finer."""
        return Window(self.y0 * factor, self.y1 * factor, self.x0 * factor, self.x1 * factor)


@dataclass(frozen=True, slots=True)
class Margin:
    """Cells on each side of a core within the array that holds it."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work.

    Parameters
    ----------
    core : Window
        Coarse cells that the tile contributes.
    read : Window
        Coarse cells that are read for it: the core and its halo, cut at the raster's edge.
    write : Window
        Fine cells that it writes, relative to the region's first cell.
    """

    core: Window
    read: Window
    write: Window

    @property
    def margin(self) -> Margin:
        """Cells of `read` around `core`."""
        return Margin(
            self.core.y0 - self.read.y0,
            self.read.y1 - self.core.y1,
            self.core.x0 - self.read.x0,
            self.read.x1 - self.core.x1,
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """How a region is cut into tiles; the same plan gives the same result to the last bit.

    Parameters
    ----------
    extent : Window
        All cells that may be read: the whole raster.
    region : Window
        The cells to be upscaled, inside `extent`.
    tile_size : int
        Rows and columns of a tile's core, in coarse cells; the last ones may be smaller.
    reach : int
        Cells read around a core, in coarse cells.
    factor : int
        Fine cells along one side of a coarse cell.

    Raises
    ------
    UsageError
        If the tile size is not positive or the region is not inside the extent.
    """

    extent: Window
    region: Window
    tile_size: int
    reach: int
    factor: int

    def __post_init__(self) -> None:
        if self.tile_size < 1:
            raise UsageError(f"tile size must be at least 1, got {self.tile_size}")
        e, r = self.extent, self.region
        if not (e.y0 <= r.y0 < r.y1 <= e.y1 and e.x0 <= r.x0 < r.x1 <= e.x1):
            raise UsageError(f"region {r} is empty or not inside the raster {e}")

    def __len__(self) -> int:
        rows, columns = self.region.shape
        return -(-rows // self.tile_size) * -(-columns // self.tile_size)

    def __iter__(self) -> Iterator[Tile]:
        r, step = self.region, self.tile_size
        for y in range(r.y0, r.y1, step):
            for x in range(r.x0, r.x1, step):
                core = Window(y, min(y + step, r.y1), x, min(x + step, r.x1))
                yield Tile(
                    core=core,
                    read=core.grow(self.reach, self.extent),
                    write=core.shift(-r.y0, -r.x0).refine(self.factor),
                )


def read_margin(halo: int) -> int:
    """Cells to read around a window: the halo, and once more, where missing cells within it are filled from."""
    return 2 * halo
