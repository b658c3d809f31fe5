"""Local regression in place of a network, where no network does better."""

from __future__ import annotations

import numpy as np
import pytest

from geofsrcnn import upscale_array
from geofsrcnn.engine.guided_source import GuideArray
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.guided import GuidedConfig, guided_model, only_regression
from geofsrcnn.training.guided_verdict import ALONE, AS_SHIPPED, LEARNED, REGRESSION, MethodScore, Verdict, choose
from geofsrcnn.training.own_scene import learn_scene
from geofsrcnn.values.blocks import block_mean


def test_it_is_exact_where_the_guide_tells_all():
    """A field that is a multiple of its guide comes out as it, but for the ridge; a network would hold back."""
    fine = np.random.default_rng(0).normal(size=(96, 96))
    coarse = block_mean(fine, 4)
    model = guided_model(load_model("default", 4), only_regression(GuidedConfig(4)))
    found = upscale_array(coarse, 4, model, guide=7 - 3 * fine, threads=1)
    plain = upscale_array(coarse, 4, threads=1)
    inside = slice(20, -20), slice(20, -20)
    assert np.abs(found - fine)[inside].std() < 0.6 * np.abs(plain - fine)[inside].std()
    assert np.abs(block_mean(found, 4) - coarse).max() < 1e-6


@pytest.mark.parametrize(
    ("ratios", "always", "chosen"),
    [
        ({ALONE: 1.0, REGRESSION: 0.35, AS_SHIPPED: 0.5}, False, REGRESSION),
        ({ALONE: 1.0, REGRESSION: 0.45, AS_SHIPPED: 0.5}, False, AS_SHIPPED),
        ({ALONE: 1.0, REGRESSION: 0.4, AS_SHIPPED: 0.5, LEARNED: 0.3}, False, LEARNED),
        ({ALONE: 1.0, REGRESSION: 1.2, AS_SHIPPED: 1.1}, False, ALONE),
        ({ALONE: 1.0, REGRESSION: 1.2, AS_SHIPPED: 1.1}, True, AS_SHIPPED),
    ],
)
def test_the_best_is_chosen(ratios, always, chosen):
    methods = tuple(MethodScore(name, (ratio,), ratio) for name, ratio in ratios.items())
    assert choose(methods, always=always) == chosen
    words = Verdict(2, ("a",), 100, False, methods, chosen, 0).words()
    assert ("no network does better" in words) == (chosen == REGRESSION)
    assert ("does not help" in words) == (chosen == ALONE)


def test_it_is_applied_where_it_did_best():
    """The model that a lesson gives does what the table says."""
    rng = np.random.default_rng(1)
    fine = rng.normal(size=(4 * 88, 4 * 88))
    source, guide = GuideArray(block_mean(fine[None], 4)), GuideArray(2 * fine[None])
    lesson = learn_scene(load_model("default", 4), source, [guide], {0: "a"}, minutes=0)
    scores = {method.name: method.ratio for method in lesson.verdict.methods}
    assert lesson.verdict.chosen == min((ALONE, AS_SHIPPED, REGRESSION), key=lambda name: scores[name]) == REGRESSION
    regression = guided_model(load_model("default", 4), only_regression(GuidedConfig(4)))
    given = {"guide": 2 * fine, "threads": 1}
    coarse = block_mean(fine, 4)
    found = upscale_array(coarse, 4, lesson.model, **given)
    assert np.array_equal(found, upscale_array(coarse, 4, regression, **given))
