"""The head that gives the expected error: its form, and how a checkpoint holds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geofsrcnn.errors import ConfigError, ModelError
from geofsrcnn.networks.catalog import load_model
from geofsrcnn.networks.checkpoint import EXPECTED_ERROR, Card, Section, load_checkpoint, save_checkpoint
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.expected_error import ErrorConfig, ErrorHead, head_of, means_around, section_of
from geofsrcnn.networks.fsrcnn import FSRCNN, run_with_features
from geofsrcnn.networks.inference import Classical, Network
from tests.support.networks import TINY, random_head, random_model


@pytest.mark.parametrize("preset", ["small", "default", "large"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_halo_of_the_network_is_enough(preset, factor):
    """The head reaches no further than the network, and gives a value for each fine cell."""
    config = FSRCNNConfig(factor=factor, **PRESETS[preset])
    model, head = random_model(factor=factor, **PRESETS[preset]), random_head(config)
    x = torch.zeros(1, 1, 2 * config.halo + 9, 2 * config.halo + 9, requires_grad=True)
    torch.nn.init.normal_(x)
    _, features = run_with_features(config, x, model.weights())
    errors = head(features)
    assert errors.shape == (1, 1, 9 * factor, 9 * factor)
    assert (errors > 0).all()
    errors[0, 0, 4 * factor, 4 * factor].backward()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("form", [{"skip": "cubic"}, {"prelu": "channel"}, {"skip": "none"}, {"conserving": "none"}])
def test_features_on_the_way_change_no_bit(form):
    """The network with its errors gives the values that it gives without."""
    model = random_model(**TINY, **form)
    network = Network(model, head=random_head(model.config))
    x = torch.randn(2, 1, 30, 31)
    assert torch.equal(network(x), network.with_error(x)[0])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_layers_ready_for_inference_change_last_bits_only(factor):
    """Packed and fused convolutions give the errors that the trained module gives."""
    model = random_model(factor=factor, **TINY)
    head, x = random_head(model.config), torch.randn(1, 1, 40, 41)
    _, features = run_with_features(model.config, x, model.weights())
    ready = Network(model, head=head).with_error(x)[1]
    assert torch.allclose(ready, head(features), rtol=2e-5, atol=0)


@pytest.mark.parametrize("radii", [(0,), (0, 1), (1, 2), (1, 4), (2, 7), (1, 4, 13), (3,)])
def test_means_over_cells_around(radii):
    """Of all radii, those that are steps on the way to the next ones and those that are not."""
    x = torch.rand(2, 3, 40, 37, dtype=torch.float64)
    for radius, found in zip(radii, means_around(x, radii, 8), strict=True):
        count = 2 * radius + 1
        whole = torch.nn.functional.avg_pool2d(x, count, 1)
        spare = (whole.shape[-2] - 8) // 2
        assert torch.allclose(found, whole[..., spare : spare + 8, spare:-spare], rtol=1e-12)


def test_a_checkpoint_holds_it(tmp_path):
    """Saved and loaded it gives the same errors; what stands beside it in the card is kept."""
    model, x = random_model(**TINY), torch.randn(1, 1, 20, 20)
    head = random_head(model.config, channels=3, hidden=5, radius=1)
    path = tmp_path / "with.safetensors"
    save_checkpoint(
        path, model, Card("with"), sections={EXPECTED_ERROR: section_of(head, {"calibration": {"terrain": 1.0}})}
    )
    checkpoint = load_checkpoint(path)
    assert checkpoint.sections[EXPECTED_ERROR].values["calibration"] == {"terrain": 1.0}
    found, expected = load_model(path).upsampler.with_error(x), Network(model, head=head).with_error(x)
    assert torch.equal(found[1], expected[1])


def test_a_checkpoint_without_it_gives_none(tmp_path):
    """Older files load as before."""
    path = tmp_path / "without.safetensors"
    save_checkpoint(path, random_model(**TINY), Card("without"))
    assert head_of(load_checkpoint(path)) is None
    assert not load_model(path).gives_error


@pytest.mark.parametrize(
    "damage",
    [
        lambda section: Section({"sizes": {"channels": 0}}, section.arrays),
        lambda section: Section({"sizes": {"channel": 8}}, section.arrays),
        lambda section: Section({"sizes": 3}, section.arrays),
        lambda section: Section(section.values, {k: v for k, v in section.arrays.items() if k != "gain.bias"}),
        lambda section: Section(section.values, section.arrays | {"more": np.zeros(1, np.float32)}),
        lambda section: Section(section.values, section.arrays | {"gain.bias": np.zeros(2, np.float32)}),
    ],
    ids=["size", "name", "sizes", "missing", "unexpected", "shape"],
)
def test_a_damaged_one_is_refused(tmp_path, damage):
    """One line says which file it is, before anything runs."""
    model = random_model(**TINY)
    path = tmp_path / "damaged.safetensors"
    section = damage(section_of(random_head(model.config), {}))
    save_checkpoint(path, model, Card("damaged"), sections={EXPECTED_ERROR: section})
    with pytest.raises(ModelError, match=r"damaged\.safetensors") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


def test_what_it_cannot_stand_on_is_refused():
    """Networks with units of their own, and of several bands."""
    for config in (FSRCNNConfig(unit_free=False, skip="cubic"), FSRCNNConfig(channels=2)):
        with pytest.raises(ConfigError, match="unit-free network of one band"):
            ErrorHead(config)
    with pytest.raises(ConfigError, match="radius must be a whole number"):
        ErrorConfig(radius=0)


def test_classical_methods_refuse():
    """A filter bank knows nothing of its errors."""
    with pytest.raises(ModelError, match="no expected error"):
        Classical("cubic", 3).with_error(torch.zeros(1, 1, 9, 9))


def test_it_starts_as_a_share_of_the_magnitudes():
    """Before training each fine cell of a block has the same share of the mean magnitude, which is smooth to train."""
    config = FSRCNNConfig(**TINY)
    model, head = FSRCNN(config), ErrorHead(config)
    x = torch.randn(1, 1, 20, 20)
    errors = head(run_with_features(config, x, model.weights())[1])
    blocks = torch.nn.functional.pixel_unshuffle(errors, config.factor)
    assert torch.allclose(blocks, blocks[:, :1].expand_as(blocks))
