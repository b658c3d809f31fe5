"""Measures of fine fields against the truth: independent references, gaps, weights, blocks of times."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from geofsrcnn.cf.dates import Date
from geofsrcnn.errors import InputError
from geofsrcnn.evaluation import comparer
from geofsrcnn.evaluation.comparer import SHIFTS, Comparer, Subject
from geofsrcnn.evaluation.comparison import Comparison
from geofsrcnn.evaluation.measures import MEASURES
from geofsrcnn.evaluation.scores import Correlation, Errors, crps, radial_spectrum, ssim
from geofsrcnn.values.blocks import block_mean, repeat
from geofsrcnn.values.units import conversion, differ

ROWS, COLUMNS, FACTOR, TIMES = 24, 32, 4, 6


def fields(seed: int, times: int = TIMES) -> tuple[np.ndarray, np.ndarray]:
    """Smooth truth and a noisy estimate of it."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(times, ROWS, COLUMNS)).cumsum(1).cumsum(2) / 5 + 3
    return truth, truth + rng.normal(size=truth.shape) * 0.5 + 0.1


def compared(truth: np.ndarray, estimate: np.ndarray, cuts: tuple[int, ...] = (), **options: object) -> Comparison:
    """The comparison of one network and one baseline, times in blocks."""
    members = options.pop("members", None)
    rows, columns = truth.shape[1:]
    known = truth[np.isfinite(truth)]
    extent = float(known.min()), float(known.max())
    about = {key: options.pop(key) for key in ("weights", "wet", "period") if key in options}
    subject = Subject("t", "K", FACTOR, np.arange(rows), np.arange(columns), extent, **about)
    comparer = Comparer(subject, models=("network",), times=len(truth), **options)
    dates = [Date(2000 + i // 4, 1 + 3 * (i % 4), 5) for i in range(len(truth))]
    for start, stop in zip((0, *cuts), (*cuts, len(truth)), strict=True):
        comparer.add(
            truth[start:stop],
            {"network": estimate[start:stop], "zero": np.zeros_like(truth[start:stop])},
            dates=dates[start:stop],
            coarse=np.stack([block_mean(each, FACTOR) for each in truth[start:stop]]),
            conserved=True,
            members=None if members is None else members[:, start:stop],
        )
    return comparer.finish()


def test_measures_are_those_of_other_libraries():
    """scikit-image, scipy and numpy on complete fields."""
    truth, estimate = fields(0)
    scores = compared(truth, estimate).scores["network"]
    span = np.ptp(truth)
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((estimate - truth) ** 2)))
    assert scores["mae"] == pytest.approx(np.abs(estimate - truth).mean())
    assert scores["bias"] == pytest.approx((estimate - truth).mean())
    assert scores["correlation"] == pytest.approx(scipy.stats.pearsonr(estimate.ravel(), truth.ravel())[0])
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(truth, estimate, data_range=span))
    line = {"data_range": span, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    low = truth.min()
    wanted = [structural_similarity(a - low, b - low, **line) for a, b in zip(truth, estimate, strict=True)]
    assert scores["ssim"] == pytest.approx(np.mean(wanted))
    for p in (1, 5, 95, 99):
        own, other = (np.quantile(v, p / 100, method="inverted_cdf") for v in (estimate, truth))
        assert scores[f"p{p}"] == pytest.approx(own - other, abs=1e-5)
    means = np.stack([block_mean(e - t, FACTOR) for e, t in zip(estimate, truth, strict=True)])
    assert scores["conservation"] == pytest.approx(np.sqrt((means**2).mean()))
    assert set(scores) <= set(MEASURES)


def test_parts_are_those_of_their_times():
    """Seasons and months by hand."""
    truth, estimate = fields(1)
    parts = compared(truth, estimate).parts
    assert list(parts["season"]) == ["DJF", "MAM", "JJA", "SON"]
    assert list(parts["month"]) == ["01", "04", "07", "10"]
    for number, name in enumerate(parts["season"]):
        wanted = np.sqrt(np.mean((estimate[number::4] - truth[number::4]) ** 2))
        assert parts["season"][name]["network"] == pytest.approx(wanted)


def test_directions_are_judged_by_their_angles():
    """359 and 1 degree are 2 degrees apart, on either side; no correlation is given."""
    truth = np.tile([1.0, 359.0], (TIMES, ROWS, COLUMNS // 2))
    estimate = np.tile([359.0, 3.0], (TIMES, ROWS, COLUMNS // 2))
    scores = compared(truth, estimate, period=360.0, detail=False).scores["network"]
    assert (scores["rmse"], scores["mae"], scores["bias"]) == pytest.approx((np.sqrt(10), 3, 1))
    assert "correlation" not in scores


def test_values_alone_without_detail():
    """The same errors; no spectra, no maps, nothing that needs more than numpy."""
    truth, estimate = fields(1)
    whole, found = compared(truth, estimate), compared(truth, estimate, detail=False)
    assert (found.spectra, found.scatter, found.maps) == ({}, {}, None)
    for measure in ("rmse", "mae", "bias", "correlation", "conservation"):
        assert found.scores["network"][measure] == whole.scores["network"][measure]
    assert found.intervals == whole.intervals
    assert "ssim" not in found.scores["network"]


def test_methods_one_after_the_other():
    """Where it is said which cells are scored, estimates may come from an iterator."""
    truth, estimate = fields(1)
    subject = Subject("t", "K", FACTOR, np.arange(ROWS), np.arange(COLUMNS), (0.0, 1.0))
    comparer = Comparer(subject, models=("a",), times=TIMES)
    where = np.zeros(truth.shape, bool)
    where[:, :8] = True
    coarse = np.stack([block_mean(each, FACTOR) for each in truth])
    comparer.add(truth, iter([("a", estimate), ("b", truth + 1)]), where=where, dates=[], coarse=coarse)
    found = comparer.finish()
    assert found.cells == where.sum()
    assert found.scores["a"]["rmse"] == pytest.approx(np.sqrt(np.mean((estimate - truth)[:, :8] ** 2)))
    assert found.scores["b"]["rmse"] == pytest.approx(1)


def test_maps_are_of_the_middle_of_a_large_field(monkeypatch):
    """Whole coarse cells, at most so many fine ones."""
    monkeypatch.setattr(comparer, "DRAWN", 18)
    truth, estimate = fields(2)
    maps = compared(truth, estimate).maps
    assert maps.truth.shape == (16, 16)
    assert np.array_equal(maps.truth, truth[0, 4:20, 8:24])
    assert np.array_equal(maps.coarse, block_mean(truth[0], FACTOR)[1:5, 2:6])
    assert (maps.y[0], maps.x[0]) == (4, 8)


def test_rain_by_hand():
    """Wet is what was said or more; share and mean amount less the truth's."""
    truth, estimate = (np.array(v, float)[None].repeat(16, 1).repeat(16, 2) for v in ([[0, 2]], [[1, 4]]))
    scores = compared(truth, estimate, wet=1.0).scores["network"]
    assert scores["wet_days"] == pytest.approx(0.5)
    assert scores["wet_intensity"] == pytest.approx(2.5 - 2)
    assert "wet_days" not in compared(truth, estimate).scores["network"]


def test_the_truth_itself_is_perfect():
    """No error, whatever the measure."""
    truth, _ = fields(2)
    scores = compared(truth, truth).scores["network"]
    perfect = {"correlation": 1, "ssim": 1, "spectrum_ratio": 1}
    for name, value in scores.items():
        assert value == pytest.approx(perfect.get(name, 0), abs=1e-9), name


@given(seed=st.integers(0, 100), cuts=st.sets(st.integers(1, TIMES - 1)))
def test_blocks_of_times_change_nothing(seed, cuts):
    """However the times are cut, gaps, weights and members included."""
    truth, estimate = fields(seed)
    truth[2, 3:6, 4:9] = np.nan
    members = np.stack([estimate, estimate + 0.3])
    weights = np.cos(np.linspace(0, 1, ROWS))[:, None] * np.ones(COLUMNS)
    whole, cut = (compared(truth, estimate, c, members=members, weights=weights) for c in ((), tuple(sorted(cuts))))
    for method, scores in whole.scores.items():
        assert cut.scores[method] == pytest.approx(scores, rel=1e-9, abs=1e-12)
    assert np.allclose(whole.spectra["network"], cut.spectra["network"])
    assert np.array_equal(whole.scatter["network"], cut.scatter["network"])
    assert whole.cells == cut.cells == np.isfinite(truth).sum() == whole.scatter["network"].sum()


@given(seed=st.integers(0, 100))
def test_missing_cells_do_not_count(seed):
    """Measures of values are those of the compacted data; structure that of whole windows."""
    truth, estimate = fields(seed, 2)
    mask = np.random.default_rng(seed).random(truth.shape) < 0.2
    holed = np.where(mask, np.nan, truth)
    scores = compared(holed, estimate).scores["network"]
    kept_truth, kept = truth[~mask], estimate[~mask]
    assert scores["rmse"] == pytest.approx(np.sqrt(np.mean((kept - kept_truth) ** 2)))
    assert scores["correlation"] == pytest.approx(np.corrcoef(kept, kept_truth)[0, 1])
    own, other = (np.quantile(v, 0.95, method="inverted_cdf") for v in (kept, kept_truth))
    assert scores["p95"] == pytest.approx(own - other, abs=1e-5)
    edge = np.full(truth.shape, np.nan)
    edge[:, 2:-3, 4:-1] = truth[:, 2:-3, 4:-1]
    inner = truth[0, 2:-3, 4:-1], estimate[0, 2:-3, 4:-1]
    assert ssim(estimate[0], edge[0], 5.0) == pytest.approx(ssim(inner[1], inner[0], 5.0))


@given(seed=st.integers(0, 100), row=st.integers(0, ROWS - 1))
def test_a_weight_of_two_is_two_rows(seed, row):
    """Measures of values with a row that counts twice are those with the row repeated."""
    truth, estimate = fields(seed, 1)
    weights = np.ones((ROWS, COLUMNS))
    weights[row] = 2
    once = compared(truth, estimate, weights=weights).scores["network"]
    twice = compared(*(np.insert(v, row, v[:, row], axis=1) for v in (truth, estimate))).scores["network"]
    for name in ("rmse", "mae", "bias", "correlation", "p1", "p5", "p95", "p99"):
        assert once[name] == pytest.approx(twice[name], rel=1e-9), name


def test_digits_are_kept_far_from_zero():
    """Pressure 101325 +- 0.1 correlates as 0 +- 0.1 does."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 400)) * 0.1
    y = y + x
    found = []
    for level in (0.0, 101325.0):
        both = Correlation()
        for a, b in zip(x, y, strict=True):
            both.add(a + level, b + level, np.ones(400, bool))
        found.append(both.value)
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[0] == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def test_a_level_changes_nothing():
    """Kelvin or degrees, pressure or its anomaly: every measure of 273.15 or 101325 more is the same."""
    truth, estimate = (each * 0.02 for each in fields(3))
    members = np.stack([estimate, estimate + 0.01])
    for level, rel in ((273.15, 1e-8), (101325.0, 1e-5)):
        found = [compared(truth + d, estimate + d, members=members + d).scores["network"] for d in (0.0, level)]
        assert found[1] == pytest.approx(found[0], rel=rel, abs=1e-8)


def test_a_constant_has_no_correlation():
    """Whatever its value and the parts; and of itself nothing correlates more than fully."""
    for level, sizes in itertools.product((0.1, 1 / 3, 273.15), itertools.pairwise(range(3, 40))):
        both = Correlation()
        for size in sizes:
            weights = np.cos(np.arange(size) / 30)
            both.add(np.full(size, level), np.arange(float(size)), np.ones(size, bool), weights)
        assert np.isnan(both.value)
    for seed in range(200):
        x = np.random.default_rng(seed).normal(size=9)
        both = Correlation()
        both.add(3 * x, x, np.ones(9, bool))
        assert 1 - 1e-12 < both.value <= 1


@pytest.mark.parametrize("columns", [32, 33])
def test_quantiles_of_samples(monkeypatch, columns):
    """Of more values than are held: however the times are cut, and of all columns, not the same few each time."""
    monkeypatch.setattr(comparer, "SAMPLE", 2560)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 16, columns)) + 3 * np.arange(columns) % 8
    estimate = truth + rng.normal(size=truth.shape) * 0.1 + np.arange(columns) % 4
    whole, cut = (compared(truth, estimate, cuts).scores["network"] for cuts in ((), (1, 7, 30)))
    for p in (1, 5, 95, 99):
        own, other = (np.quantile(v, p / 100) for v in (estimate, truth))
        assert whole[f"p{p}"] == pytest.approx(own - other, abs=0.5)
        assert cut[f"p{p}"] == whole[f"p{p}"]


@pytest.mark.parametrize("times", [40, 41, 79])
def test_shifts_are_measured_on_some_times(monkeypatch, times):
    """At most so many, the same ones however the times are cut."""
    seen = []
    monkeypatch.setattr(comparer, "shift", lambda _, truth: seen.append(truth[0, 0]) or (0.0, 0.0))
    truth, estimate = fields(1, times)
    compared(truth, estimate)
    first, seen[:] = list(seen), []
    compared(truth, estimate, (5, 6))
    assert first == seen
    assert SHIFTS / 2 < len(first) <= SHIFTS


def test_nothing_in_common_is_refused():
    """A truth where no estimate is."""
    truth, estimate = fields(0)
    truth[:, :5], estimate[:, 5:] = np.nan, np.nan
    with pytest.raises(InputError, match="nothing to compare: where t is known, some method gives nothing"):
        compared(truth, estimate)


def test_maps_are_those_of_the_time_that_is_shown():
    """In whichever block it comes; missing values are missing in all."""
    truth, estimate = fields(0)
    truth[3, 2, 1] = np.nan
    members = np.stack([estimate - 1, estimate, estimate + 1])
    for cuts in ((), (3,), (1, 4)):
        maps = compared(truth, estimate, cuts, members=members, show=3).maps
        assert maps.when == "2000-10-05"
        assert list(maps.fine) == ["network", "zero"]
        assert np.array_equal(maps.truth, truth[3], equal_nan=True)
        assert np.array_equal(maps.coarse, block_mean(truth[3], FACTOR), equal_nan=True)
        wanted = np.where(np.isfinite(truth[3]), estimate[3], np.nan)
        assert np.array_equal(maps.fine["network"], wanted, equal_nan=True)
        assert np.allclose(maps.spread, np.where(np.isfinite(truth[3]), 1, np.nan), equal_nan=True)


def test_scatter_counts_pairs_of_bins():
    """As numpy's histogram of two dimensions; estimates beyond the truth's range stand at its ends."""
    truth, estimate = fields(4)
    found = compared(truth, estimate)
    inside = np.clip(estimate, found.edges[0], found.edges[-1])
    wanted, *_ = np.histogram2d(truth.ravel(), inside.ravel(), bins=(found.edges, found.edges))
    assert np.array_equal(found.scatter["network"], wanted)


@given(seed=st.integers(0, 1000), count=st.integers(2, 9))
def test_crps_is_the_integral_of_squared_differences(seed, count):
    """Of the members' distribution and the step at the truth, integrated numerically."""
    rng = np.random.default_rng(seed)
    members, truth = rng.normal(size=count), float(rng.normal())
    places = np.linspace(-8, 8, 160_001)
    below = (members[:, None] <= places).mean(0)
    wanted = ((below - (places >= truth)) ** 2).sum() * (places[1] - places[0])
    assert float(crps(members[:, None], np.array([truth]))[0]) == pytest.approx(wanted, abs=2e-3)


def test_spread_of_members_that_know_their_error():
    """Truth and members of one distribution: the spread is the error (Fortin et al. 2014)."""
    rng = np.random.default_rng(4)
    truth, *members = rng.normal(size=(9, 20, ROWS, COLUMNS))
    scores = compared(truth, np.mean(members, axis=0), members=np.array(members)).scores["network"]
    assert scores["spread_skill"] == pytest.approx(1, abs=0.02)
    assert scores["crps"] == pytest.approx(crps(np.array(members), truth).mean())


@pytest.mark.parametrize("wavelength", [4, 8, 16])
def test_a_wave_has_its_wavelength(wavelength):
    """In either direction; white noise is flat."""
    wave = np.sin(2 * np.pi * np.arange(64) / wavelength + 0.3)
    for field in (wave * np.ones((64, 1)), wave[:, None] * np.ones(64)):
        wavelengths, power = radial_spectrum(field)
        assert wavelengths[power.argmax()] == wavelength
    _, power = radial_spectrum(np.random.default_rng(0).normal(size=(200, 64, 64)))
    flat = power.mean(0)[1:]
    assert flat.max() / flat.min() < 1.15


@pytest.mark.parametrize("shape", [(24, 24), (25, 25), (20, 33), (31, 18)])
def test_rings_hold_the_power_of_the_whole_spectrum(shape):
    """The mean of the squared coefficients of a full transform in each ring; missing cells stand at the mean."""
    field = np.random.default_rng(0).normal(size=shape) + 5
    field[3, 4] = np.nan
    rows, columns = shape
    window = np.sin(np.pi * np.arange(1, rows + 1) / (rows + 1)) ** 2
    window = window[:, None] * np.sin(np.pi * np.arange(1, columns + 1) / (columns + 1)) ** 2
    power = np.abs(np.fft.fft2(np.nan_to_num(field - np.nanmean(field)) * window)) ** 2
    side = min(shape)
    number = np.rint(np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.fftfreq(columns)) * side)
    wavelengths, found = radial_spectrum(field)
    assert np.allclose(wavelengths, side / np.arange(1, side // 2 + 1))
    assert np.allclose(found, [power[number == k].mean() for k in range(1, side // 2 + 1)])
    assert np.allclose(radial_spectrum(np.stack([field, 2 * field]))[1], [found, 4 * found])


def test_smooth_estimates_lack_fine_power():
    """Repeated cells have too much of it, block means of twice the size too little."""
    truth, _ = fields(7)
    smooth = np.stack([repeat(block_mean(each, 8), 8) for each in truth])
    noisy = truth + np.random.default_rng(0).normal(size=truth.shape)
    found = [compared(truth, each).scores["network"]["spectrum_ratio"] for each in (smooth, noisy)]
    assert found[0] < 1 < found[1]


def test_a_moved_field_is_found_moved():
    """By a fine cell along y: where it lies too far, the shift is positive."""
    rng = np.random.default_rng(9)
    whole = gaussian_filter(rng.normal(size=(3, 97, 128)), (0, 3, 3))
    scores = compared(whole[:, 1:], whole[:, :-1]).scores["network"]
    assert scores["shift_y"] == pytest.approx(1, abs=0.05)
    assert scores["shift_x"] == pytest.approx(0, abs=0.05)


def test_errors_are_weighted():
    """A hand case: weights 1 and 3."""
    errors = Errors()
    errors.add(np.array([1.0, 2.0]), np.array([0.0, 0.0]), np.array([True, True]), np.array([1.0, 3.0]))
    assert (errors.rmse, errors.mae, errors.bias) == (pytest.approx((13 / 4) ** 0.5), 1.75, 1.75)


@pytest.mark.parametrize(
    ("given_", "wanted", "value", "becomes"),
    [
        ("K", "degrees_celsius", 300.0, 26.85),
        ("degC", "kelvin", 10.0, 283.15),
        ("kg m-2 s-1", "mm/day", 1 / 86400, 1.0),
        ("mm day-1", "kg m**-2 s**-1", 86400.0, 1.0),
        ("m/day", "mm/h", 0.024, 1.0),
        ("", "mm", 3.0, 3.0),
    ],
)
def test_units_are_converted(given_, wanted, value, becomes):
    """By hand."""
    scale, offset = conversion(given_, wanted)
    assert scale * value + offset == pytest.approx(becomes)
    assert differ(given_, wanted) == (value != becomes)


def test_other_quantities_are_not_converted():
    """Rain is no temperature, and what is unknown stays unknown."""
    assert conversion("K", "mm/day") is None
    assert conversion("hPa", "mm") is None
    assert differ("hPa", "mm")
