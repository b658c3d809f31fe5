"""Intervals of scores: they hold the truth as often as they say, whatever neighbours have in common."""

from __future__ import annotations

import numpy as np
import pytest

from geofsrcnn.evaluation import bootstrap
from geofsrcnn.evaluation.bootstrap import FEWEST, block_length, rmse_intervals

CELLS = 20


def persistent(rng: np.random.Generator, phi: float, times: int) -> np.ndarray:
    """A series of variance 1 and lag-1 autocorrelation `phi`."""
    noise = rng.normal(size=times + 100)
    series = np.zeros(times + 100)
    for i in range(1, times + 100):
        series[i] = phi * series[i - 1] + noise[i] * np.sqrt(1 - phi**2)
    return series[100:]


def squares(rng: np.random.Generator, phi: float, times: int, ratio: float) -> dict[str, np.ndarray]:
    """Squared errors of two methods on days that are hard or easy for both, the RMSE of one `ratio` of the other's."""
    size = np.exp(0.25 * persistent(rng, phi, times))[:, None]
    a = rng.normal(size=(times, CELLS)) * size
    b = ratio * (0.9 * a + np.sqrt(1 - 0.9**2) * rng.normal(size=(times, CELLS)) * size)
    return {"baseline": (a**2).sum(1), "network": (b**2).sum(1)}


@pytest.mark.parametrize(("phi", "times"), [(0.0, 60), (0.5, 300), (0.8, 300), (0.9, 1000)])
def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch, phi, times):
    """Of 300 samples: the ratio's 95 % interval on 92 to 98 %; the RMSE's on 85 % and more, as few days are few."""
    monkeypatch.setattr(bootstrap, "REPLICATES", 300)
    rng = np.random.default_rng(5)
    rmse, held = np.exp(0.25**2), np.zeros(2)
    for _ in range(300):
        found = rmse_intervals(squares(rng, phi, times, 0.97), np.full(times, float(CELLS)), "baseline", ordered=True)
        low, high = found["network"]["ratio"]
        held[0] += low <= 0.97 <= high
        low, high = found["baseline"]["rmse"]
        held[1] += low <= rmse <= high
    assert 0.92 <= held[0] / 300 <= 0.985
    assert held[1] / 300 >= 0.85


def test_days_of_their_own_would_be_too_sure():
    """Of days that are alike, drawing each for itself gives intervals of the RMSE far too narrow: blocks are wider."""
    rng = np.random.default_rng(3)
    sums = squares(rng, 0.9, 1000, 1.0)
    widths = [
        np.ptp(rmse_intervals(sums, np.full(1000, float(CELLS)), None, ordered=ordered)["baseline"]["rmse"])
        for ordered in (True, False)
    ]
    assert widths[0] > 1.5 * widths[1]


def test_blocks_are_longer_the_more_alike_neighbours_are():
    """1 for noise, more for persistence, half of the series at most."""
    rng = np.random.default_rng(0)
    lengths = [block_length(persistent(rng, phi, 1000)) for phi in (0.0, 0.5, 0.9)]
    assert lengths[0] <= 2 < lengths[1] < lengths[2]
    assert block_length(np.arange(20.0)) <= 10
    assert block_length(np.ones(30)) == 1


def test_intervals_are_the_same_each_time_and_hold_the_score():
    """Draws are seeded; the baseline has no ratio to itself."""
    sums, weights = squares(np.random.default_rng(1), 0.5, 100, 0.9), np.full(100, float(CELLS))
    first, again = (rmse_intervals(sums, weights, "baseline", ordered=True) for _ in range(2))
    assert first == again
    assert set(first["baseline"]) == {"rmse"}
    low, high = first["network"]["ratio"]
    assert low < np.sqrt(sums["network"].sum() / sums["baseline"].sum()) < high


def test_few_units_have_no_interval():
    """And units without weight do not count."""
    sums, weights = squares(np.random.default_rng(1), 0.0, FEWEST, 0.9), np.ones(FEWEST)
    assert set(rmse_intervals(sums, weights, "baseline", ordered=True)) == {"baseline", "network"}
    weights[3] = 0
    assert rmse_intervals(sums, weights, "baseline", ordered=True) == {}


def test_no_error_is_no_yardstick():
    """Of a baseline without error there is no ratio, and no warning."""
    sums = {"baseline": np.zeros(20), "network": np.ones(20)}
    found = rmse_intervals(sums, np.ones(20), "baseline", ordered=True)
    assert found == {"baseline": {"rmse": (0.0, 0.0)}, "network": {"rmse": (1.0, 1.0)}}
