"""SRCNN as a network of the engine's: the baseline that FSRCNN is compared with."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn import upscale_array
from geofsrcnn.errors import ConfigError, ModelError
from geofsrcnn.networks.srcnn import SRCNN, SRCNNConfig, interpolate, srcnn_model
from geofsrcnn.values.kernels import resample

SIZES = [(9, 1, 5), (9, 5, 5), (3, 3, 1)]


def network(factor=3, kernels=(9, 1, 5), seed=0):
    torch.manual_seed(seed)
    model = SRCNN(SRCNNConfig(factor=factor, n1=8, n2=4, kernels=kernels))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model


@given(factor=st.integers(2, 8), kernels=st.sampled_from(SIZES), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_tiles_equal_the_whole_field(factor, kernels, size):
    model = srcnn_model(network(factor, kernels))
    field = np.random.default_rng(1).uniform(0, 1, (20 + size[0], 20 + size[1])).astype(np.float32)
    whole = upscale_array(field, factor, model, tile_size=64)
    tiled = upscale_array(field, factor, model, tile_size=16)
    assert whole.shape == (factor * field.shape[0], factor * field.shape[1])
    np.testing.assert_allclose(tiled, whole, atol=2e-6 * np.ptp(whole))


def reference(model, field):
    """The paper's steps on the whole fine grid, edges repeated far enough that they do not matter."""
    config, margin = model.config, 12
    x = torch.from_numpy(np.pad(field, margin, mode="edge"))[None, None]
    fine = interpolate(x, config.factor)
    for number, layer in enumerate((model.feature, model.mapping, model.reconstruction)):
        fine = F.conv2d(fine, layer.weight, layer.bias, padding="same")
        fine = F.relu(fine) if number < 2 else fine
    edge = config.factor * (margin - 2)
    return fine[0, 0, edge:-edge, edge:-edge].detach().numpy()


@pytest.mark.parametrize("kernels", SIZES)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_it_is_three_convolutions_of_the_interpolated_field(factor, kernels):
    model = network(factor, kernels)
    field = np.random.default_rng(2).uniform(0, 1, (17, 13)).astype(np.float32)
    np.testing.assert_allclose(
        upscale_array(field, factor, srcnn_model(model)), reference(model, field), rtol=1e-5, atol=2e-5
    )


def test_interpolation_is_cubic_convolution():
    field = np.random.default_rng(3).normal(size=(9, 11))
    x = torch.from_numpy(np.pad(field, 2, mode="edge"))[None, None]
    np.testing.assert_allclose(interpolate(x, 3)[0, 0].numpy(), resample(field, 3, "cubic"), atol=1e-12)


def test_training_and_inference_agree():
    model = network()
    x = torch.rand(1, 1, 12, 12)
    np.testing.assert_allclose(srcnn_model(model).upsampler(x).numpy(), model(x).detach().numpy(), atol=1e-5)


def test_it_learns():
    torch.manual_seed(0)
    model = SRCNN()
    x = torch.rand(4, 1, 10 + 2 * model.halo, 10 + 2 * model.halo)
    truth = interpolate(x, 3)[..., 6:-6, 6:-6]
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(60):
        loss = (model(x) - truth).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_overshoot_is_limited():
    field = np.zeros((12, 12), np.float32)
    field[6:] = 1
    model = network()
    with torch.no_grad():
        model.reconstruction.weight *= 20
    free, limited = (upscale_array(field, 3, srcnn_model(model), overshoot=share) for share in ("none", 0.1))
    assert np.abs(free).max() > 1.2
    assert limited.min() >= -0.1001
    assert limited.max() <= 1.1001


def test_no_expected_error():
    with pytest.raises(ModelError, match="gives no expected error"):
        upscale_array(np.zeros((9, 9), np.float32), 3, srcnn_model(network()), error=True)


@pytest.mark.parametrize("values", [{"factor": 1}, {"kernels": (9, 2, 5)}, {"kernels": (9, 5)}, {"n1": 0}])
def test_bad_sizes_are_refused(values):
    with pytest.raises(ConfigError, match="must be"):
        SRCNNConfig(**values)
