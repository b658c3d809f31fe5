"""Where maps lie: names and units of their axes, meridians and parallels, a scale bar."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn._types import Array, Mask
from geofsrcnn.evaluation.terrain import METRES_OF_A_DEGREE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEPS = (*(a * 10.0**e for e in range(-4, 1) for a in (1, 2, 5)), 10.0, 15.0, 20.0, 30.0, 60.0, 90.0)
"""Degrees between meridians, or between parallels."""

_LINES = 4
"""So many meridians, or parallels, at most."""

_CHARACTERS = 40
"""Room for labels below a map of a third of a figure's width; between two labels there are `_GAP`."""

_GAP = 3

_TALLEST = 1.3
"""Height of a map in a figure, in widths, at most; taller ones are narrower."""

_MARGIN = 0.08
"""Share of a map's side that a label takes."""

_INK = "#333333"


@dataclass(frozen=True)
class Frame:
    """Kind and unit of the coordinates of maps.

    Parameters
    ----------
    kind : {"plain", "degrees", "projected", "rotated"}
        Unknown, longitudes and latitudes, lengths, or degrees about a rotated pole.
    unit : float
        What coordinates are divided by to be drawn: lengths are drawn in kilometres.
    crs : pyproj.CRS, optional
        Of the coordinates.
    """

    kind: str = "plain"
    unit: float = 1.0
    crs: Any = None

    @classmethod
    def of(cls, crs: str) -> Frame:
        """Read a CRS; coordinates of one that cannot be read are unknown."""
        from pyproj import CRS
        from pyproj.exceptions import CRSError

        try:
            found = CRS.from_user_input(crs) if crs else None
        except CRSError:
            found = None
        if found is None:
            return cls()
        if found.is_projected:
            metres = found.axis_info[0].unit_conversion_factor if found.axis_info else 1.0
            return cls("projected", 1000 / metres, found)
        return cls("rotated" if found.is_derived else "degrees", 1.0, found) if found.is_geographic else cls()

    def aspect(self, y: Array) -> float:
        """Height of a unit along y, in units along x."""
        middle = math.radians(float(y[0] + y[-1]) / 2)
        return 1 / max(math.cos(middle), 0.05) if self.kind == "degrees" else 1.0

    def name_axes(self, left: Iterable[Axes], below: Axes) -> None:
        """Write what the coordinates are, beside the left maps and below one."""
        words = {
            "plain": ("y", "x"),
            "degrees": ("latitude", "longitude"),
            "projected": ("northing (km)", "easting (km)"),
            "rotated": ("latitude about a rotated pole (°)", "longitude about a rotated pole (°)"),
        }
        for each in left:
            each.set_ylabel(words[self.kind][0], fontsize=8)
        below.set_xlabel(words[self.kind][1], fontsize=8)

    def decorate(self, axes: Axes, *, labelled: bool) -> None:
        """Draw meridians and parallels over a map whose limits are set; labels and a scale bar on one of several."""
        if self.kind == "degrees":
            axes.set_xticks(self._meridians(axes, *axes.get_xlim()))
            axes.set_yticks(round_values(*axes.get_ylim()))
            axes.xaxis.set_major_formatter(lambda value, _: degrees_text(value, "EW"))
            axes.yaxis.set_major_formatter(lambda value, _: degrees_text(value, "NS"))
            axes.grid(visible=True, color=_INK, linewidth=0.4, alpha=0.35)
            if labelled:
                self._draw_scale_bar(axes)
        elif self.kind != "plain":
            self._draw_lines(axes, labelled=labelled)

    def height(self, y: Array, x: Array) -> float:
        """Height of a map between these edges, in widths."""
        ratio = self.aspect(y) * abs(float((y[-1] - y[0]) / (x[-1] - x[0])))
        return min(_TALLEST, ratio)

    def _meridians(self, axes: Axes, low: float, high: float) -> list[float]:
        """Round longitudes, so few that their labels keep apart."""
        grid = axes.get_gridspec()
        y = np.array(axes.get_ylim())
        whole = self.aspect(y) * float(y[1] - y[0]) / (high - low)
        room = _CHARACTERS * min(1, _TALLEST / whole) * 3 / max(3, 1 if grid is None else grid.ncols)
        values: list[float] = []
        for most in range(_LINES, 0, -1):
            values = round_values(low, high, most)
            if sum(len(degrees_text(value, "EW")) + _GAP for value in values) <= room:
                break
        return values

    def _draw_lines(self, axes: Axes, *, labelled: bool) -> None:
        from pyproj import Transformer

        limits = axes.get_xlim(), axes.get_ylim()
        to_globe = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        from_globe = Transformer.from_crs("EPSG:4326", self.crs, always_xy=True)
        x, y = np.meshgrid(*(np.linspace(*ends, 25) * self.unit for ends in limits))
        longitudes, latitudes = to_globe.transform(x, y)
        spans = [_ends(unwrapped(longitudes)), _ends(latitudes)]
        for axis, letters in enumerate(("EW", "NS")):
            for value in round_values(*spans[axis]):
                along = np.linspace(*spans[1 - axis], 400)
                fixed = np.full(400, value)
                there = from_globe.transform(fixed, along) if axis == 0 else from_globe.transform(along, fixed)
                x, y = (each / self.unit for each in there)
                axes.plot(x, y, color=_INK, linewidth=0.4, alpha=0.5)
                room = _inside(x, limits[0]) & _inside(y, limits[1], lowest=2 * axis)
                if labelled and room.any() and not (axis == 1 and abs(value) == 90):
                    first = np.flatnonzero(room)[0]
                    _write(axes, x[first], y[first], degrees_text(value, letters))
        axes.set(xlim=limits[0], ylim=limits[1])

    def _draw_scale_bar(self, axes: Axes) -> None:
        x, y = axes.get_xlim(), axes.get_ylim()
        kilometres = METRES_OF_A_DEGREE * math.cos(math.radians(sum(y) / 2)) / 1000
        whole = (x[1] - x[0]) * kilometres
        if kilometres < 1 or whole > 5000:  # a length holds for one latitude only
            return
        power = 10 ** math.floor(math.log10(whole / 4))
        length = max(power * step for step in (1, 2, 5) if power * step <= whole / 4)
        start, height = x[0] + 0.05 * (x[1] - x[0]), y[0] + 0.06 * (y[1] - y[0])
        ends = [start, start + length / kilometres]
        axes.plot(ends, [height] * 2, color="white", linewidth=4, solid_capstyle="butt")
        axes.plot(ends, [height] * 2, color=_INK, linewidth=2, solid_capstyle="butt")
        _write(axes, ends[0], height, f"{length:g} km" if length >= 1 else f"{1000 * length:g} m", above=5)


def _ends(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _inside(values: Array, limits: tuple[float, float], lowest: float = 0.25) -> Mask:
    """Where there is room for a label beside a point, and as many labels (`lowest`) before it."""
    label = _MARGIN * (limits[1] - limits[0])
    result: Mask = (values > limits[0] + lowest * label) & (values < limits[1] - 2 * label)
    return result


def _write(axes: Axes, x: float, y: float, text: str, *, above: float = 2) -> None:
    from matplotlib.patheffects import withStroke

    shown = axes.annotate(text, (x, y), (2, above), textcoords="offset points", fontsize=6.5, color=_INK, clip_on=True)
    shown.set_path_effects([withStroke(linewidth=1.8, foreground="white")])


def round_values(low: float, high: float, most: int = _LINES) -> list[float]:
    """Round degrees between two, not many more than `most`.

    Examples
    --------
    >>> round_values(-3.2, 4.1)
    [-2.0, 0.0, 2.0, 4.0]
    """
    step = next((step for step in _STEPS if (high - low) / step <= most), _STEPS[-1])
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def degrees_text(value: float, letters: str) -> str:
    """Degrees of longitude ("EW") or latitude ("NS").

    Examples
    --------
    >>> degrees_text(-3.5, "EW"), degrees_text(0, "NS"), degrees_text(350, "EW")
    ('3.5°W', '0°', '10°W')
    """
    value = (value + 180) % 360 - 180 if letters == "EW" and abs(value) > 180 else value
    rounded = round(value, 6)
    return f"{abs(rounded):g}°{'' if rounded in (0, -180, 180) else letters[0] if rounded > 0 else letters[1]}"


def unwrapped(longitudes: Array) -> Array:
    """Longitudes without a jump at the date line, where they keep together."""
    known = longitudes[np.isfinite(longitudes)]
    if not known.size or known.max() - known.min() <= 180:
        return longitudes
    turned = longitudes % 360
    inside = turned[np.isfinite(turned)]
    return turned if inside.max() - inside.min() <= 180 else longitudes
