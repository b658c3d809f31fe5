"""Learning on a scene: how it is split, what is chosen, and what the verdict says."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from geofsrcnn.engine.guided_source import BlockMeanSource, GuideArray
from geofsrcnn.errors import ModelError
from geofsrcnn.grids.windows import Window
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.guided import Guided
from geofsrcnn.training import own_scene
from geofsrcnn.training.guided_verdict import ALONE, AS_SHIPPED, LEARNED, MethodScore, Verdict, choose
from geofsrcnn.training.own_scene import LEAST_SIDE, MOST_BANDS, MOST_FLOATS, learn_scene
from geofsrcnn.values.blocks import block_mean

LESS = replace(own_scene.LESSON, steps=30, validate_every=15)

SIMPLE = ("high-pass filter", "component substitution", "local regression")


def scene(shape=(112, 112), bands=1, factor=2, seed=0):
    """A coarse field of some bands, a guide that shows the same edges, and the truth."""
    rng = np.random.default_rng(seed)
    fine = [n * factor for n in shape]
    base = 3 * ndimage.gaussian_filter(rng.normal(size=fine), 1.2)
    own = [ndimage.gaussian_filter(rng.normal(size=fine), 1.0) for _ in range(bands + 1)]
    truth = 1000 + 100 * np.stack([(n + 1) * base + 0.3 * each for n, each in enumerate(own)])
    return block_mean(truth[:bands], factor), truth[bands:], truth[:bands]


def learn(coarse, guide, model="default", factor=2, **options):
    names = {n: f"band {n + 1}" for n in range(len(coarse))}
    return learn_scene(load_model(model, factor), GuideArray(coarse), [GuideArray(guide)], names, **options)


@pytest.fixture
def lesson(monkeypatch):
    """A short lesson."""
    monkeypatch.setattr(own_scene, "LESSON", LESS)


def cells_of(windows):
    """How often each cell is in a window, by its row and column."""
    found = {}
    for window in windows:
        for cell in itertools.product(range(window.y0, window.y1), range(window.x0, window.x1)):
            found[cell] = found.get(cell, 0) + 1
    return found


@pytest.mark.parametrize("shape", [(56, 56), (57, 91), (112, 112), (113, 250), (400, 130)])
def test_parts_never_overlap(shape):
    """Each cell is learned from, or held out, once; a quarter is held out, never two of one row or column of parts."""
    parts = own_scene._split(shape, 2, 1)
    learned, held_out = cells_of(parts.learned), cells_of(parts.held_out)
    assert set(learned.values()) == set(held_out.values()) == {1}
    assert not learned.keys() & held_out.keys()
    assert len(learned) + len(held_out) == shape[0] * shape[1]
    assert 0.2 < len(held_out) / (shape[0] * shape[1]) < 0.5
    count = math.isqrt(len(parts.learned) + len(parts.held_out))
    assert len(parts.held_out) == len({each.x0 for each in parts.held_out}) == len({each.y0 for each in parts.held_out})
    assert len(parts.held_out) == count**2 // 4
    assert all(min(window.shape) >= LEAST_SIDE for window in parts.held_out)


@pytest.mark.parametrize("shape", [(55, 400), (3, 3), (1, 900), (27, 27)])
def test_small_scenes_are_not_learned_from(shape):
    parts = own_scene._split(shape, 2, 1)
    assert (parts.learned, parts.held_out) == ([], [])
    assert parts.all == [Window(0, shape[0], 0, shape[1])]


@pytest.mark.parametrize(("factor", "bands"), [(2, 1), (3, 6), (8, 6)])
def test_large_scenes_are_learned_from_in_parts(factor, bands):
    """So that what is held in memory has a bound, and the parts still do not overlap."""
    parts = own_scene._split((20_000, 30_000), factor, bands)
    windows = parts.learned + parts.held_out
    assert sum(math.prod(each.shape) for each in windows) * bands * 6 * factor**2 <= MOST_FLOATS
    for a, b in itertools.combinations(windows, 2):
        assert a.y1 <= b.y0 or b.y1 <= a.y0 or a.x1 <= b.x0 or b.x1 <= a.x0
    assert math.prod(parts.all[0].shape) * bands * 6 * factor**2 <= MOST_FLOATS


@pytest.mark.usefixtures("lesson")
def test_a_guide_that_helps_is_followed():
    """On a scene that is large enough, what was learned there; better at full scale too."""
    coarse, guide, truth = scene()
    found = learn(coarse, guide)
    verdict = found.verdict
    assert [method.name for method in verdict.methods] == [ALONE, *SIMPLE, AS_SHIPPED, LEARNED]
    assert verdict.chosen == LEARNED
    assert (verdict.factor, verdict.bands, verdict.held_out, verdict.steps) == (2, ("band 1",), True, LESS.steps)
    assert verdict.score(LEARNED).ratio < min(verdict.score(AS_SHIPPED).ratio, verdict.best_simple.ratio) < 0.5
    assert verdict.score(LEARNED).ratio == pytest.approx(
        verdict.score(LEARNED).rmse[0] / verdict.score(ALONE).rmse[0], rel=1e-6
    )
    assert verdict.cells == 4 * (28 - 18) ** 2
    assert not verdict.misplaced
    assert abs(verdict.shift[0]) < 0.1
    plain, sharp = (
        np.sqrt(((sharpen(model, coarse, guide) - truth) ** 2)[:, 20:-20, 20:-20].mean())
        for model in (load_model("default", 2), found.model)
    )
    assert sharp < 0.5 * plain
    assert f"{100 * (1 - verdict.score(LEARNED).ratio):.1f} % below that without the guide" in verdict.words()
    assert verdict.words().startswith("on parts that were held out, one scale coarser")


@pytest.mark.usefixtures("lesson")
def test_a_guide_of_noise_is_left_out_or_costs_next_to_nothing():
    """At full scale, where the truth is known, at most one percent."""
    coarse, _, truth = scene((120, 120))
    noise = np.random.default_rng(5).normal(size=(2, 240, 240))
    found = learn(coarse, noise)
    assert found.verdict.score(found.verdict.chosen).ratio <= 1.0
    assert found.verdict.shift is None
    errors = [
        np.sqrt(((sharpen(model, coarse, noise) - truth) ** 2)[:, 20:-20, 20:-20].mean())
        for model in (found.model, load_model("default", 2))
    ]
    assert errors[0] <= 1.01 * errors[1]


def sharpen(model, coarse, guide):
    from geofsrcnn import upscale_array

    follows = isinstance(model.upsampler, Guided)
    return upscale_array(coarse, model.factor, model, guide=guide if follows else None, overshoot="none", threads=1)


@pytest.mark.usefixtures("lesson")
def test_the_same_seed_gives_the_same():
    coarse, guide, _ = scene()
    first, again, other = (learn(coarse, guide, seed=seed) for seed in (1, 1, 2))
    weights = [each.correction.state_dict() for each in (first, again, other)]
    assert first.verdict == again.verdict
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_no_minutes_apply_what_is_known():
    """It is scored on all of the scene."""
    coarse, guide, _ = scene()
    verdict = learn(coarse, guide, minutes=0).verdict
    assert (verdict.chosen, verdict.held_out, verdict.steps) == (AS_SHIPPED, False, 0)
    assert verdict.cells == 4 * (56 - 18) ** 2
    assert verdict.score(LEARNED) is None
    assert verdict.words().startswith("on the whole scene, one scale coarser, RMSE is ")


@pytest.mark.usefixtures("lesson")
def test_the_learning_ends_when_time_is_up():
    """After the step that is under way; the best until then counts."""
    coarse, guide, _ = scene()
    shares = []
    verdict = learn(coarse, guide, minutes=1e-9, each_step=shares.append).verdict
    assert (shares, verdict.steps) == ([0.0], 1)
    assert verdict.score(LEARNED) is not None


@pytest.mark.usefixtures("lesson")
def test_what_a_step_raises_ends_it():
    coarse, guide, _ = scene()

    def stop(done):
        if done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(coarse, guide, each_step=stop)


def test_several_bands_have_angles_and_ergas():
    """By the definitions, from the values that are scored; of one band there are none."""
    coarse, guide, _ = scene((60, 60), bands=3)
    verdict = learn(coarse, guide, minutes=0).verdict
    assert verdict.bands == ("band 1", "band 2", "band 3")
    for method in verdict.methods:
        assert len(method.rmse) == 3
        assert 0 < method.sam < 10
        relative = np.array(method.rmse) / coarse.mean((1, 2))
        assert method.ergas == pytest.approx(100 / 2 * np.sqrt((relative**2).mean()), rel=0.02)
    alone = learn(coarse[:1], guide, minutes=0).verdict.score(ALONE)
    assert (alone.sam, alone.ergas) == (None, None)
    assert alone.rmse[0] == pytest.approx(verdict.score(ALONE).rmse[0], rel=1e-6)


def test_of_many_bands_some_are_learned_from():
    """Spread over all."""
    coarse, guide, _ = scene((40, 40), bands=11)
    assert learn(coarse, guide, minutes=0).verdict.bands == (
        "band 1",
        "band 3",
        "band 5",
        "band 7",
        "band 9",
        "band 11",
    )
    assert MOST_BANDS == 6


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (2, 3), (3, 40), (30, 30)])
def test_scenes_that_are_too_small_are_said(shape):
    coarse, guide, _ = scene(shape)
    verdict = learn(coarse, guide).verdict
    assert (verdict.cells, verdict.methods, verdict.chosen, verdict.shift) == (0, (), AS_SHIPPED, None)
    assert verdict.words() == "too little of the scene has values and a guide to tell how much the guide helps"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("missing", ["field", "guide", "nearly all of the guide"])
def test_scenes_with_next_to_nothing_in_them_are_said(missing):
    """Nothing is learned, and no figure is made up."""
    coarse, guide, _ = scene((120, 120))
    if missing == "field":
        coarse[:] = np.nan
    elif missing == "guide":
        guide[:] = np.nan
    else:
        guide[:, 20:] = np.nan
    found = learn(coarse, guide)
    assert (found.verdict.cells, found.verdict.steps, found.verdict.shift) == (0, 0, None)
    assert "too little of the scene" in found.verdict.words()


@pytest.mark.filterwarnings("error")
def test_a_flat_field_gains_nothing():
    """Where everything is right already, the guide is left out."""
    _, guide, _ = scene((120, 120))
    verdict = learn(np.full((1, 120, 120), 7.0), guide).verdict
    assert (verdict.chosen, verdict.steps) == (ALONE, 0)
    assert verdict.words() == (
        "the guide does not help on the whole scene, one scale coarser: RMSE is 0.0 % below that without it"
    )


def test_always_follows_the_guide_even_so():
    coarse, _, _ = scene((60, 60))
    noise = np.random.default_rng(2).normal(size=(3, 120, 120))
    assert learn(coarse, noise, minutes=0).verdict.chosen == ALONE
    found = learn(coarse, noise, minutes=0, always=True)
    assert found.verdict.chosen == AS_SHIPPED
    assert isinstance(found.model.upsampler, Guided)


@pytest.mark.parametrize(("dy", "dx"), [(1, 0), (0, -1), (-2, 3)])
def test_a_shift_of_the_guide_is_told(dy, dx):
    """In coarse cells, positive further down and to the right; a third of one is worth a word."""
    coarse, guide, _ = scene((60, 70))
    verdict = learn(coarse, np.roll(guide, (dy, dx), (1, 2)), minutes=0).verdict
    assert np.abs(np.array(verdict.shift) - [dy / 2, dx / 2]).max() < 0.1
    assert verdict.misplaced


def test_units_do_not_matter_to_what_is_learned():
    """Neither those of the field nor those of the guide."""
    coarse, guide, _ = scene((60, 60))
    plain = learn(coarse, guide, minutes=0).verdict
    for scale, unit in ((1e30, 1.0), (1e-30, 1.0), (1.0, 1e30), (1.0, -1e-30)):
        other = learn(coarse * scale, guide * unit, minutes=0).verdict
        assert other.chosen == plain.chosen
        assert other.shift == pytest.approx(plain.shift, abs=0.011)
        for method, known in zip(other.methods, plain.methods, strict=True):
            assert method.ratio == pytest.approx(known.ratio, rel=2e-3), method.name


def test_models_that_cannot_follow_are_refused_before_anything_is_read():
    class Untouched:
        shape = (1, 60, 60)

        def read(self, *_):
            raise AssertionError

    with pytest.raises(ModelError, match="model nearest cannot follow a guide"):
        learn_scene(load_model("nearest", 2), Untouched(), [Untouched()], {0: "a"})


def test_block_means_are_read_in_strips():
    """As from the whole, however few cells fit."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 61, 80))
    values[0, 13, 17] = np.nan
    source = BlockMeanSource(GuideArray(values), 3)
    window = Window(2, 19, 1, 25)
    expected = block_mean(values, 3)[(slice(1), *window.slices())]
    assert source.shape == (2, 20, 26)
    with pytest.MonkeyPatch.context() as patch:
        for most in (2**22, 500, 1):
            patch.setattr("geofsrcnn.engine.guided_source.MOST_CELLS", most)
            cells = source.read(window, slice(0, 1))
            assert np.array_equal(cells.values, expected, equal_nan=True)
            assert np.array_equal(cells.valid, np.isfinite(expected))


def verdict_of(chosen, held_out=True, shift=None, **ratios):
    """A verdict of some methods by their ratios."""
    names = {"alone": ALONE, "shipped": AS_SHIPPED, "learned": LEARNED, "regression": SIMPLE[2], "filter": SIMPLE[0]}
    methods = tuple(MethodScore(names[key], (ratio,), ratio) for key, ratio in ratios.items())
    return Verdict(2, ("a",), 100, held_out, methods, chosen, 0, shift)


WORDS = [
    (
        verdict_of(LEARNED, alone=1.0, filter=1.2, regression=0.8, shipped=0.7, learned=0.6),
        (
            "on parts that were held out, one scale coarser, RMSE is 40.0 % below that without the guide, and 25.0 % "
            "below that of local regression, the best simple method"
        ),
    ),
    (
        verdict_of(AS_SHIPPED, held_out=False, alone=1.0, filter=0.75, regression=0.8, shipped=0.9),
        (
            "on the whole scene, one scale coarser, RMSE is 10.0 % below that without the guide, and 20.0 % above that "
            "of high-pass filter, the best simple method"
        ),
    ),
    (
        verdict_of(ALONE, alone=1.0, filter=1.2, regression=1.1, shipped=1.09, learned=1.05),
        "the guide does not help on parts that were held out, one scale coarser: RMSE is 5.0 % above that without it",
    ),
]


@pytest.mark.parametrize(("verdict", "words"), WORDS)
def test_the_verdict_in_words(verdict, words):
    assert verdict.words() == words


def test_the_best_network_is_chosen():
    """Simple methods are there to compare with; without the guide only if that may be."""
    methods = verdict_of("", alone=1.0, regression=1.09, shipped=1.3, learned=1.1).methods
    assert choose(methods, always=False) == ALONE
    assert choose(methods, always=True) == LEARNED
    assert choose((), always=False) == AS_SHIPPED


@pytest.mark.parametrize(
    ("shift", "misplaced"), [(None, False), ((0.34, -0.34), False), ((0.35, 0.0), True), ((0.0, -0.4), True)]
)
def test_a_third_of_a_cell_is_too_far(shift, misplaced):
    assert verdict_of(ALONE, alone=1.0, shift=shift).misplaced == misplaced
