"""The network that corrects another by a guide: how a checkpoint holds it, and what it can stand on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geofsrcnn import upscale_array
from geofsrcnn.errors import ConfigError, ModelError
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.checkpoint import Card, Section, load_checkpoint, save_checkpoint
from geofsrcnn.networks.guided import (
    GUIDED,
    Correction,
    Guided,
    GuidedConfig,
    correction_of,
    guided_model,
    known_correction,
    section_of,
)
from tests.support.networks import TINY, random_model

SIZES = {"d": 6, "s": 4, "m": 1}


def random_correction(factor=3, seed=0):
    """A correcting network, every weight drawn."""
    torch.manual_seed(seed)
    correction = Correction(GuidedConfig(factor, **SIZES))
    with torch.no_grad():
        for weight in correction.parameters():
            weight.normal_(0, 0.2)
    return correction


def saved(path, section=None, factor=3, **config):
    sections = {} if section is None else {GUIDED: section}
    save_checkpoint(path, random_model(factor=factor, **TINY, **config), Card("guided"), sections=sections)
    return path


def scene(factor=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(12, 13)), rng.normal(size=(2, 12 * factor, 13 * factor))


def test_a_checkpoint_holds_it(tmp_path):
    """Saved and loaded it corrects alike, and what is known of its training is kept."""
    correction = random_correction()
    path = saved(tmp_path / "a.safetensors", section_of(correction, {"what": "words", "steps": 7}))
    checkpoint = load_checkpoint(path)
    assert checkpoint.sections[GUIDED].values == {"what": "words", "steps": 7, "sizes": SIZES}
    assert correction_of(checkpoint).config == correction.config
    coarse, guide = scene()
    loaded = load_model(path)
    found = upscale_array(coarse, 3, loaded, guide=guide, threads=1)
    expected = upscale_array(coarse, 3, guided_model(loaded, correction), guide=guide, threads=1)
    assert np.array_equal(found, expected)
    assert not np.allclose(found, upscale_array(coarse, 3, loaded, threads=1), atol=1e-3)


def test_without_its_own_a_network_takes_that_of_default(tmp_path):
    """Also a classical method; where there is none, one is begun, always the same."""
    shipped = correction_of(load_checkpoint("default", 2))
    assert shipped is not None
    for model in (load_model(saved(tmp_path / "a.safetensors", factor=2)), load_model("lanczos-bp", 2)):
        found = known_correction(model)
        assert all(torch.equal(a, b) for a, b in zip(found.parameters(), shipped.parameters(), strict=True))
    untaught = load_model("lanczos-bp", 7)
    assert known_correction(untaught) is None
    first, again = (guided_model(untaught).upsampler.correction.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_model_that_follows_a_guide_stays_as_it_is():
    """Or takes another correction in place of its own, on the same first network."""
    model = guided_model(load_model("default", 2))
    assert guided_model(model) is model
    other = guided_model(model, random_correction(2))
    assert isinstance(other.upsampler, Guided)
    assert other.upsampler.correction.config.d == SIZES["d"]
    assert type(other.upsampler.first) is type(model.upsampler.first)


DAMAGES = {
    "bounds": lambda section: Section({"sizes": {"d": 0}}, section.arrays),
    "too large": lambda section: Section({"sizes": {**SIZES, "d": 10**9}}, section.arrays),
    "no whole number": lambda section: Section({"sizes": {**SIZES, "m": 1.5}}, section.arrays),
    "truth": lambda section: Section({"sizes": {**SIZES, "m": True}}, section.arrays),
    "name": lambda section: Section({"sizes": {**SIZES, "depth": 8}}, section.arrays),
    "sizes": lambda section: Section({"sizes": 3}, section.arrays),
    "list": lambda section: Section({"sizes": [1, 2]}, section.arrays),
    "other sizes": lambda section: Section({"sizes": {**SIZES, "s": 5}}, section.arrays),
    "no sizes": lambda section: Section({"steps": 1}, section.arrays),
    "missing": lambda section: Section(section.values, {k: v for k, v in section.arrays.items() if k != "slopes"}),
    "nothing": lambda section: Section(section.values),
    "unexpected": lambda section: Section(section.values, section.arrays | {"more": np.zeros(1, np.float32)}),
    "shape": lambda section: Section(section.values, section.arrays | {"slopes": np.zeros(9, np.float32)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_one_is_refused(tmp_path, damage):
    """One line says which file it is; the network without a guide is still of use."""
    path = saved(tmp_path / "damaged.safetensors", DAMAGES[damage](section_of(random_correction(), {})))
    coarse, guide = scene()
    model = load_model(path)
    with pytest.raises(ModelError, match=r"^the guided network of damaged\.safetensors does not fit \(") as caught:
        upscale_array(coarse, 3, model, guide=guide)
    assert "\n" not in str(caught.value)
    assert np.isfinite(upscale_array(coarse, 3, model)).all()


def test_one_of_another_factor_is_refused(tmp_path):
    """Its layers have other shapes."""
    path = saved(tmp_path / "a.safetensors", section_of(random_correction(2), {}))
    with pytest.raises(ModelError, match=r"the guided network of a\.safetensors does not fit"):
        guided_model(load_model(path))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    section = section_of(random_correction(), {})
    section.arrays["slopes"][0] = np.nan
    with pytest.raises(ModelError, match=r"weight guided\.slopes of .*a\.safetensors is not finite"):
        saved(tmp_path / "a.safetensors", section)


def test_what_it_cannot_stand_on_is_refused(tmp_path):
    """Cells repeated, several bands at once, and units of a network's own."""
    several = saved(tmp_path / "several.safetensors", channels=2)
    own_units = saved(tmp_path / "units.safetensors", unit_free=False, skip="cubic")
    for model in ("nearest", several, own_units):
        with pytest.raises(ModelError, match=r"model \w+ cannot follow a guide: take a shipped network \(default\)"):
            guided_model(load_model(model, 3))


@pytest.mark.parametrize(("name", "value"), [("factor", 1), ("factor", 9), ("d", 0), ("s", 65), ("m", 0), ("m", "2")])
def test_sizes_out_of_bounds_are_refused(name, value):
    with pytest.raises(ConfigError, match=rf"{name} must be a whole number from"):
        GuidedConfig.from_dict({"factor": 2, name: value})


def test_an_untrained_one_adds_a_share_of_the_middle_regression():
    """So that a factor that no shipped network was taught for gains from a guide that explains the field."""
    rng = np.random.default_rng(0)
    fine = rng.normal(size=(100, 100)).cumsum(0).cumsum(1)
    coarse = fine.reshape(20, 5, 20, 5).mean((1, 3))
    alone, followed = (
        upscale_array(coarse, 5, "lanczos-bp", guide=guide, threads=1) for guide in (None, 3 * fine - 200)
    )
    errors = [np.sqrt(((each - fine)[40:60, 40:60] ** 2).mean()) for each in (alone, followed)]
    assert errors[1] < 0.6 * errors[0]
