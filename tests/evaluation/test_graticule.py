"""Axes, meridians and parallels of maps: where they are, what they say, and that they disturb nothing."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure
from pyproj import CRS, Transformer

from geofsrcnn.evaluation.graticule import Frame, degrees_text, round_values, unwrapped

ROTATED = CRS.from_cf(
    {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 39.25,
        "grid_north_pole_longitude": -162.0,
    }
).to_wkt()


def decorated(crs: str, x: tuple[float, float], y: tuple[float, float]):
    """The axes of a map with these limits, in units of its CRS."""
    frame = Frame.of(crs)
    axes = Figure().subplots()
    axes.set(xlim=np.array(x) / frame.unit, ylim=np.array(y) / frame.unit)
    frame.decorate(axes, labelled=True)
    frame.name_axes([axes], axes)
    return axes


@pytest.mark.parametrize(
    ("crs", "kind", "names"),
    [
        ("EPSG:4326", "degrees", ("latitude", "longitude")),
        ("EPSG:32633", "projected", ("northing (km)", "easting (km)")),
        ("EPSG:2263", "projected", ("northing (km)", "easting (km)")),
        (ROTATED, "rotated", ("latitude about a rotated pole (°)", "longitude about a rotated pole (°)")),
        ("", "plain", ("y", "x")),
        ("no CRS at all", "plain", ("y", "x")),
    ],
)
def test_axes_are_named_by_the_crs(crs, kind, names):
    """Degrees, kilometres, degrees about a pole; where nothing is known, y and x."""
    axes = decorated(crs, (0, 10), (0, 10))
    assert Frame.of(crs).kind == kind
    assert (axes.get_ylabel(), axes.get_xlabel()) == names


def test_lengths_are_drawn_in_kilometres():
    """Whatever the CRS counts: metres, or feet of the US survey."""
    assert Frame.of("EPSG:32633").unit == 1000
    assert Frame.of("EPSG:2263").unit == pytest.approx(3280.833, abs=1e-3)


@pytest.mark.parametrize(
    ("crs", "x", "y"),
    [
        ("EPSG:32633", (4e5, 5.3e5), (6.0e6, 6.1e6)),
        ("EPSG:3035", (2.6e6, 6.5e6), (1.6e6, 4.5e6)),
        ("EPSG:3413", (-2e6, 2e6), (-2e6, 2e6)),
        (ROTATED, (-28, 18), (-23, 22)),
    ],
)
def test_lines_lie_where_their_labels_say(crs, x, y):
    """Each label stands on its meridian or parallel, and inside the map, whose limits stay."""
    axes, frame = decorated(crs, x, y), Frame.of(crs)
    assert np.allclose(np.array(axes.get_xlim()) * frame.unit, x)
    to_globe = Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
    labels = [(text.get_text(), text.xy) for text in axes.texts]
    assert len(labels) >= 3
    assert {text[-1] for text, _ in labels} & set("EWNS")
    for text, place in labels:
        there = to_globe.transform(*(np.array(place) * frame.unit))
        letters, found = ("NS", there[1]) if text[-1] in "NS" else ("EW", there[0])
        assert degrees_text(round(float(found), 3), letters) == text
        assert x[0] < place[0] * frame.unit < x[1]
        assert y[0] < place[1] * frame.unit < y[1]


def test_parallels_are_named_at_the_left_edge():
    """Where a reader looks for them, above the row of longitudes."""
    axes = decorated("EPSG:31985", (2.888e5, 2.985e5), (9.111e6, 9.121e6))
    (parallel,) = (text for text in axes.texts if text.get_text() == "8°S")
    low, high = axes.get_xlim()
    assert (parallel.xy[0] - low) / (high - low) < 0.05


@pytest.mark.parametrize(("columns", "width"), [(3, 0.4), (4, 0.4), (3, 0.15), (4, 0.1)])
def test_longitudes_keep_apart(columns, width):
    """Also below maps that are narrow, or beside many others."""
    figure, frame = Figure((10, 7), layout="compressed"), Frame.of("EPSG:4326")
    grid = figure.subplots(2, columns, sharex=True, sharey=True)
    grid[0, 0].set(xlim=(-113.25, -113.25 + width), ylim=(37.1, 37.5))
    for axes in grid.flat:
        axes.set_aspect(1.25)
        axes.tick_params(labelsize=8)
        frame.decorate(axes, labelled=False)
    figure.draw_without_rendering()
    labels = [each for each in grid[1, 0].get_xticklabels() if each.get_text()]
    boxes = [label.get_window_extent() for label in labels]
    assert boxes
    assert all(after.x0 - before.x1 >= 0.8 * before.height for before, after in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("x", "y", "text"), [((-84.4, -84.1), (36.4, 36.7), "5 km"), ((-10, -9.99), (40, 40.01), "200 m")]
)
def test_a_scale_bar_is_as_long_as_it_says(x, y, text):
    """On the sphere, at the map's latitude."""
    axes = decorated("EPSG:4326", x, y)
    assert [each.get_text() for each in axes.texts] == [text]
    ends = axes.lines[-1].get_xdata()
    metres = float(text.split()[0]) * (1000 if text.endswith("km") else 1)
    assert (ends[1] - ends[0]) * 111_195 * np.cos(np.deg2rad(sum(y) / 2)) == pytest.approx(metres, rel=1e-3)


def test_a_globe_has_no_scale_bar_but_round_degrees():
    """A length holds for one latitude only."""
    axes = decorated("EPSG:4326", (0, 360), (-90, 90))
    assert list(axes.texts) == []
    assert list(axes.get_xticks()) == [0, 90, 180, 270, 360]
    assert [axes.xaxis.get_major_formatter()(value, 0) for value in (0, 90, 180, 270)] == ["0°", "90°E", "180°", "90°W"]


def test_a_map_far_from_any_meridian_is_drawn_all_the_same():
    """Coordinates beyond what a projection holds have no lines, and are no error."""
    axes = decorated("EPSG:32633", (1e9, 1.1e9), (1e9, 1.1e9))
    assert list(axes.texts) == []


def test_round_values_and_the_date_line():
    """At most five of them; longitudes about the date line keep together, those of a globe stay."""
    for low, high in ((0.0, 0.01), (-7.3, 12.9), (-180.0, 180.0)):
        values = round_values(low, high)
        assert 1 <= len(values) <= 5
        assert all(low <= value <= high for value in values)
    assert np.ptp(unwrapped(np.array([179.0, -179.0, np.nan])[:2])) == 2
    globe = np.linspace(-180, 180, 9)
    assert np.array_equal(unwrapped(globe), globe)
