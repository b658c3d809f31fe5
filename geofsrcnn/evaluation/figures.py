"""Figures of comparisons: maps, spectra, scatter plots."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from geofsrcnn._types import Array
from geofsrcnn.errors import printable
from geofsrcnn.evaluation.calibration import BINS, Calibration, Reliability
from geofsrcnn.evaluation.comparison import Comparison, Maps
from geofsrcnn.evaluation.graticule import Frame
from geofsrcnn.evaluation.report import MARK, scores_of
from geofsrcnn.grids.axis import borders

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#555555",
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
}

_MODEL, _BASELINE, _MISSING = "#d55e00", "#0072b2", "#cccccc"

_OTHERS = ("#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#8c564b", "#bcbd22", "#9467bd")
"""Colours of baselines other than the best: of more, not all are drawn."""

_WIDTH = 10.0


@dataclass(frozen=True)
class Picture:
    """A figure with its words."""

    title: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The figure as text."""
        return base64.b64encode(self.png).decode()


def draw_figures(c: Comparison) -> list[Picture]:
    """Draw what there is to see: maps, spectra, scatter."""
    from matplotlib import style

    drawings = (_draw_maps, _draw_spectra, _draw_scatter, _draw_reliability)
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names in scripts that the font lacks
        return [picture for draw in drawings if (picture := draw(c)) is not None]


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, bbox_inches="tight", metadata={"Software": None})
    return file.getvalue()


def _text(name: str, longest: int = 34) -> str:
    """A name that fits into a picture."""
    shown = printable(name)
    return shown if len(shown) <= longest else f"{shown[: longest - 12]}…{shown[-11:]}"


def _best_of_each_kind(c: Comparison, among: Iterable[str]) -> list[str]:
    """The best baseline and the best network of those that are there."""
    found = [m for m in among if m in c.scores]
    kinds = ([m for m in found if m not in c.models], [m for m in found if m in c.models])
    return [min(kind, key=lambda method: c.scores[method]["rmse"]) for kind in kinds if kind]


def _draw_maps(c: Comparison) -> Picture | None:
    """Truth and fields of the best methods above; the coarse field and their errors below."""
    from matplotlib.figure import Figure

    maps = c.maps
    if maps is None or not np.isfinite(maps.truth).any():
        return None
    shown = _best_of_each_kind(c, maps.fine)
    members = c.models[0] if maps.spread is not None and c.models and c.models[0] in maps.fine else None
    frame = Frame.of(maps.crs)
    y, x = _edges(maps.y / frame.unit), _edges(maps.x / frame.unit)
    columns = 1 + len(shown) + (members is not None)
    height = (_WIDTH - 1.2) / max(columns, 3) * frame.height(y, x)
    figure = Figure((_WIDTH, 2 * height + 1.0), layout="compressed")
    axes = figure.subplots(2, columns, sharex=True, sharey=True, squeeze=False)

    rain = any("wet_days" in found for found in c.scores.values())
    unit = f" ({_text(c.unit)})" if c.unit else ""
    values = _value_look(maps.truth, rain=rain)
    above = _draw_map(axes[0, 0], y, x, maps.truth, "truth", values)
    rows, cols = (_coarse_edges(e, n, c.factor) for e, n in zip((y, x), maps.coarse.shape, strict=True))
    _draw_map(axes[1, 0], rows, cols, maps.coarse, "coarse (what is given)", values)
    _draw_colour_bar(above, axes[0, : len(shown) + 1], f"value{unit}", extend="max" if rain else "both")
    errors = {method: maps.fine[method] - maps.truth for method in shown}
    look = _error_look(errors.values())
    for i, (method, error) in enumerate(errors.items(), 1):
        _draw_map(axes[0, i], y, x, maps.fine[method], _mark(method, c), values)
        below = _draw_map(axes[1, i], y, x, error, "its error", look)
    if shown:
        _draw_colour_bar(below, axes[1, : len(shown) + 1], f"error{unit}", extend="both")
    if members is not None and maps.spread is not None:
        _draw_spread(axes[:, -1], y, x, maps.spread, maps.fine[members] - maps.truth, _text(members, 20), unit)

    axes[0, 0].set(xlim=sorted((x[0], x[-1])), ylim=sorted((y[0], y[-1])))
    for each in axes.flat:
        each.set_aspect(frame.aspect(y))
        frame.decorate(each, labelled=each is axes[0, 0])
    frame.name_axes(axes[:, 0], axes[1, (columns - 1) // 2])
    return Picture("Maps", _maps_caption(maps, shown), _png(figure))


def _maps_caption(maps: Maps, shown: list[str]) -> str:
    when = f"{printable(maps.when)}. " if maps.when else ""
    drawn = (maps.truth, maps.coarse, *(maps.fine[method] for method in shown))
    grey = "" if all(np.isfinite(field).all() for field in drawn) else "; grey is missing or not scored"
    return f"{when}Truth, coarse field and estimates share one scale, errors (estimate less truth) another{grey}."


def _value_look(truth: Array, *, rain: bool) -> dict[str, Any]:
    """Colours of values: white where no rain falls, else between the truth's outer percentiles."""
    from matplotlib.colors import PowerNorm

    low, high = np.nanquantile(truth, (0.005, 0.995))
    high = high if high > low else low + 1
    if rain:
        return {"norm": PowerNorm(0.5, 0, high if high > 0 else 1), "cmap": "Blues"}
    return {"norm": _normalize(low, high), "cmap": "viridis"}


def _error_look(errors: Iterable[Array]) -> dict[str, Any]:
    """Colours of errors: white at 0, as far on either side."""
    limit = _largest(errors)
    return {"norm": _normalize(-limit, limit), "cmap": "RdBu_r"}


def _draw_spread(axes: Any, y: Array, x: Array, spread: Array, error: Array, name: str, unit: str) -> None:
    """Spread of the members of a network above, the size of its error below."""
    size = np.abs(error)
    width = {"norm": _normalize(0, _largest([spread, size])), "cmap": "magma_r"}
    drawn = _draw_map(axes[0], y, x, spread, "spread of members", width)
    _draw_map(axes[1], y, x, size, f"size of error, {name}", width)
    _draw_colour_bar(drawn, axes, f"spread, size of error{unit}", extend="max")


def _normalize(low: float, high: float) -> Any:
    from matplotlib.colors import Normalize

    return Normalize(low, high)


def _mark(method: str, c: Comparison) -> str:
    return f"{MARK} {_text(method)}" if method in c.models else _text(method)


def _largest(fields: Iterable[Array]) -> float:
    """The size that 99 % stay below; 1 if all are 0 or missing."""
    sizes = np.abs(np.concatenate([field[np.isfinite(field)] for field in fields] or [np.zeros(0)]))
    return float(np.quantile(sizes, 0.99)) or 1.0 if sizes.size else 1.0


def _edges(centres: Array) -> Array:
    """Borders of cells; a single one is as wide as 1."""
    return borders(centres) if len(centres) > 1 else np.array([centres[0] - 0.5, centres[0] + 0.5])


def _coarse_edges(edges: Array, count: int, factor: int) -> Array:
    """Every so many of the fine borders, and beyond them in steps of the last fine cell."""
    missing = max(0, count * factor + 1 - len(edges))
    beyond = edges[-1] + np.arange(1, missing + 1) * (edges[-1] - edges[-2])
    return np.concatenate([edges, beyond])[: count * factor + 1 : factor]


def _draw_map(axes: Axes, y: Array, x: Array, field: Array, title: str, look: dict[str, Any]) -> Any:
    axes.set_facecolor(_MISSING)
    axes.set_title(title, parse_math=False)
    axes.locator_params(axis="y", nbins=5)
    axes.locator_params(axis="x", nbins=4)
    return axes.pcolormesh(x, y, np.ma.masked_invalid(field), **look)


def _draw_colour_bar(drawn: Any, axes: Any, label: str, extend: str = "neither") -> None:
    bar = drawn.figure.colorbar(drawn, ax=axes, extend=extend)
    bar.set_label(label, parse_math=False)


def _draw_spectra(c: Comparison) -> Picture | None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    truth = c.spectra.get("truth")
    if truth is None or np.count_nonzero(np.asarray(truth) > 0) < 2:
        return None
    order = [m for m in scores_of(c) if m in c.spectra]
    best = _best_of_each_kind(c, order)
    others = sorted((m for m in order if m not in c.models and m not in best), key=lambda m: m.endswith(("-c", "-bp")))
    colours = dict(zip(others, _OTHERS, strict=False))  # plain methods before their variants
    order = [m for m in order if m in colours or m in c.models or m in best]
    figure = Figure((_WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    lines = []
    for method in reversed(order):
        network, thick = method in c.models, method in best
        look: dict[str, Any] = {"color": _MODEL if network else colours.get(method, _BASELINE)}
        look |= {"linewidth": 2.0 if thick else 1.1, "alpha": 0.45 if network and not thick else 1}
        look |= {"zorder": 2 + thick * (1 + network)}
        power = _positive(c.spectra[method])
        lines.append(left.plot(c.wavelengths, power, **look)[0])
        right.plot(c.wavelengths, power / _positive(truth), **look)
    lines.append(left.plot(c.wavelengths, _positive(truth), color="black", linewidth=3.2, zorder=2.5)[0])
    right.axhline(1, color="black", linewidth=3.2, zorder=2.5)
    for axes, label in ((left, _power_label(c.unit)), (right, "power divided by the truth's")):
        axes.set(xscale="log", yscale="log", xlabel="wavelength (fine cells)")
        axes.set_ylabel(label, parse_math=False)
        axes.set_xlim(np.max(c.wavelengths), np.min(c.wavelengths))
        axes.axvline(2 * c.factor, color="#555555", linewidth=0.9, linestyle="--")
        axes.xaxis.set_major_locator(LogLocator(2))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    legend = figure.legend(lines[::-1], ["x"] * len(lines), loc="outside lower center", ncols=4)
    for text, name in zip(legend.get_texts(), ["truth", *order], strict=True):
        text.set_parse_math(False)
        text.set_text(_mark(name, c))
    caption = (
        "Squared Fourier coefficients of the tapered fields, averaged over directions and over times or windows; "
        "finer to the right. Dashed: two coarse cells "
        f"({2 * c.factor} fine cells), the shortest wavelength that the coarse field can hold."
    )
    return Picture("Spectra", caption, _png(figure))


def _power_label(unit: str) -> str:
    """Power and its unit, the square of the values'."""
    if not unit:
        return "power"
    shown = _text(unit)
    return f"power ({shown}²)" if shown.isalnum() else f"power (({shown})²)"


def _positive(power: Array) -> Array:
    return np.where(np.asarray(power) > 0, power, np.nan)


def _draw_scatter(c: Comparison) -> Picture | None:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    shown = [m for m in _best_of_each_kind(c, c.scatter) if c.scatter[m].any()]
    if not shown:
        return None
    unit = f" ({_text(c.unit)})" if c.unit else ""
    ends = (c.edges[0], c.edges[-1])
    most = max(c.scatter[m].max() for m in shown)
    figure = Figure((_WIDTH, 4.6), layout="compressed")
    grid = figure.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, method in zip(grid, shown, strict=True):
        counts = np.ma.masked_equal(c.scatter[method].T, 0)
        drawn = axes.pcolormesh(c.edges, c.edges, counts, norm=LogNorm(1, max(2, most)), cmap="viridis_r")
        axes.plot(ends, ends, color="black", linewidth=0.9)
        axes.set(aspect="equal", xlabel=f"truth{unit}")
        axes.set_title(_mark(method, c), parse_math=False)
        axes.xaxis.label.set_parse_math(False)
    grid[0].set_ylabel(f"estimate{unit}", parse_math=False)
    _draw_colour_bar(drawn, grid, "values")
    caption = "Number of values in each bin, on a logarithmic scale; line: 1 to 1."
    return Picture("Estimate against truth", caption, _png(figure))


def _draw_reliability(c: Comparison) -> Picture | None:
    """Mean true error of the cells whose expected error is about as large, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    curves: dict[str, Calibration | Reliability] = {**c.calibrations, **c.reliability}
    if not curves:
        return None
    unit = f" ({_text(c.unit)})" if c.unit else ""
    figure = Figure((_WIDTH / 2, 4.2), layout="constrained")
    axes = figure.subplots()
    colours = (_MODEL, *_OTHERS)
    for fit, colour in zip(curves.values(), colours, strict=False):
        axes.plot(_positive(np.array(fit.expected)), _positive(np.array(fit.true)), "o-", color=colour, markersize=4)
    found = np.array([v for fit in curves.values() for v in (*fit.expected, *fit.true) if v > 0])
    if not found.size:
        return None
    ends = found.min() / 1.3, found.max() * 1.3
    axes.plot(ends, ends, color="black", linewidth=0.9)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, (1, 2, 5) if ends[1] < 300 * ends[0] else (1,)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel(f"expected error{unit}", parse_math=False)
    axes.set_ylabel(f"true error{unit}", parse_math=False)
    axes.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    legend = axes.legend(axes.lines[:-1], ["x"] * (len(axes.lines) - 1), loc="upper left")
    for text, model in zip(legend.get_texts(), curves, strict=False):
        text.set_parse_math(False)
        text.set_text(_mark(model, c))
    caption = (
        f"Cells in {BINS} groups of the same number, by their expected absolute errors: mean expected and mean true "
        "error of each. On the line they agree; above it errors are larger than expected."
    )
    return Picture("Expected errors", caption, _png(figure))
