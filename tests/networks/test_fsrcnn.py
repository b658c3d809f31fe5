"""The network: sizes, rewritings that must be exact, and promises that hold for any weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geofsrcnn.errors import ConfigError, InputError
from geofsrcnn.networks.config import PRESETS, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import (
    FSRCNN,
    differences,
    on_differences,
)
from geofsrcnn.networks.limits import conserve, neighbour_bounds
from geofsrcnn.values.kernels import filter_bank
from tests.support.networks import TINY, deconvolution_to_subpixel, random_model
from tests.support.strategies import factors, seeds

odd = st.sampled_from([1, 3, 5, 7])


@pytest.mark.parametrize(
    ("sizes", "halo", "operations"),
    [({}, 7, 47744), (PRESETS["default"], 7, 47744), (PRESETS["small"], 4, 3937), (PRESETS["paper"], 7, 12464)],
)
def test_halo_and_operations_of_the_presets(sizes, halo, operations):
    """Sizes by name have the halo and the multiply-adds that DESIGN.md states."""
    config = FSRCNNConfig(**sizes)
    assert (config.halo, config.operations) == (halo, operations)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_operations_are_those_of_the_layers(factor):
    """Multiply-adds count every weight of the convolutions once for a coarse cell."""
    model = random_model(**TINY, factor=factor, channels=2)
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model.config.operations == weights


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"factor": 1}, "factor must be a whole number from 2 to 8, got 1"),
        ({"factor": 9}, "factor must be a whole number from 2 to 8"),
        ({"d": 0}, "d must be a whole number"),
        ({"m": 17}, "m must be a whole number"),
        ({"s": True}, "s must be a whole number"),
        ({"d": 8.0}, "d must be a whole number"),
        ({"feature_kernel": 4}, "feature_kernel must be odd"),
        ({"deconvolution_taps": 2}, "deconvolution_taps must be odd"),
        ({"prelu": "none"}, "prelu must be one of layer, channel"),
        ({"skip": "nearest"}, "skip must be one of learned, cubic, none"),
        ({"conserving": True}, "conserving must be one of"),
        ({"bias": 1}, "bias must be true or false"),
        ({"bias": True}, "biases carry units"),
        ({"pad_layers": True}, "pad_layers is the article's form"),
        ({"inputs": 5}, "inputs of other bands need unit_free=False"),
    ],
)
def test_impossible_configurations_are_refused(values, message):
    """Each value out of bounds, and each combination that makes no sense, is named."""
    with pytest.raises(ConfigError, match=message):
        FSRCNNConfig(**values)


def test_small_fields_cannot_be_reflected_at_each_layer():
    """Two rows are fewer than the first kernel reaches beyond the edge: one line says so."""
    model = FSRCNN(FSRCNNConfig(pad_layers=True, padding="reflect", unit_free=False, skip="none", conserving="none"))
    with pytest.raises(InputError, match="reflects at each layer needs fields of 3 x 3 cells or more"):
        model(torch.zeros(1, 1, 2, 9))


def test_configuration_goes_through_a_dictionary():
    """A configuration comes back from plain values; unknown names are refused."""
    config = FSRCNNConfig(factor=4, d=9, padding="reflect")
    assert FSRCNNConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ConfigError, match="unknown configuration keys: colour, size"):
        FSRCNNConfig.from_dict({"size": 3, "colour": 1})
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign"):
        config.d = 3


# Rewritings that must lose nothing


@given(seeds, st.integers(1, 3), st.integers(1, 4), odd, st.integers(0, 6), st.integers(0, 6))
def test_filters_without_sum_act_on_differences(seed, channels, outputs, k, rows, columns):
    """In double precision, filters that sum to zero give on the values what their rewriting gives on differences."""
    torch.manual_seed(seed)
    filters = torch.randn(outputs, channels, k, k, dtype=torch.float64)
    filters -= filters.mean((2, 3), keepdim=True)
    x = torch.randn(2, channels, k + rows, k + columns, dtype=torch.float64)
    assert torch.allclose(F.conv2d(differences(x), on_differences(filters)), F.conv2d(x, filters), atol=1e-12)


def test_differences_by_hand():
    """Right neighbour less cell, lower neighbour less cell, 0 where there is none, channel by channel."""
    x = torch.tensor([[[[1.0, 4.0], [10.0, 20.0]], [[0.0, 1.0], [2.0, 5.0]]]])
    expected = [[[3, 0], [10, 0]], [[9, 16], [0, 0]], [[1, 0], [3, 0]], [[2, 4], [0, 0]]]
    assert differences(x)[0].tolist() == expected


def test_differences_are_taken_in_the_inputs_precision():
    """1e9 and 1e9 + 0.125 differ by 0.125 though float32 cannot tell them apart."""
    x = torch.tensor([[[[1e9, 1e9 + 0.125]]]], dtype=torch.float64)
    assert differences(x, torch.float32)[0, 0, 0, 0] == 0.125


@given(seeds, factors, st.sampled_from([1, 3, 5]), st.integers(1, 3), st.integers(1, 4))
def test_subpixel_convolution_is_the_transposed_convolution(seed, factor, t, channels, d):
    """A centred ConvTranspose2d and its rewriting before a pixel shuffle give the same field."""
    torch.manual_seed(seed)
    layer = nn.ConvTranspose2d(d, channels, t * factor, stride=factor, padding=(t - 1) * factor // 2, bias=False)
    x = torch.randn(1, d, 6, 7)
    with torch.no_grad():
        weight = deconvolution_to_subpixel(layer.weight, factor)
        assert weight.shape == (channels * factor**2, d, t, t)
        found = F.pixel_shuffle(F.conv2d(x, weight, padding=t // 2), factor)
        expected = layer(x)
    assert expected.shape == (1, channels, 6 * factor, 7 * factor)
    assert torch.allclose(found, expected, atol=1e-6)


def test_kernel_9_with_padding_3_is_the_centred_one_at_3():
    """Factor 3: kernel 9, padding 3 covers 3 H cells; one weight moved alone lands where torch puts it."""
    weight = torch.zeros(1, 1, 9, 9)
    weight[0, 0, 2, 7] = 1
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    expected = F.conv_transpose2d(x, weight, stride=3, padding=3)
    found = F.pixel_shuffle(F.conv2d(x, deconvolution_to_subpixel(weight, 3), padding=1), 3)
    assert expected.shape == (1, 1, 15, 15)
    assert torch.equal(found, expected)
    assert found[0, 0, 3 * 2 - 3 + 2, 3 * 2 - 3 + 7] == 1


# Projections


@given(seeds, st.sampled_from([3, 5, 7]), st.integers(1, 3))
def test_feature_filters_do_not_see_planes(seed, kernel, channels):
    """The first layer's filters, as applied, are blind to 1, x and y, for any weights."""
    model = random_model(seed, **TINY, feature_kernel=kernel, channels=channels)
    filters = model.feature_filters().double()
    line = torch.arange(kernel, dtype=torch.float64) - kernel // 2
    for plane in (torch.ones(kernel, kernel), line[:, None].expand(kernel, kernel), line.expand(kernel, kernel)):
        assert (filters * plane).sum((2, 3)).abs().max() < 1e-5
    assert filters.abs().max() > 0.05


@pytest.mark.parametrize("factor", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("skip", ["learned", "cubic"])
@pytest.mark.parametrize("kernel", [3, 9, 13])
def test_skip_filters_reproduce_planes(factor, skip, kernel):
    """The skip's filters, as applied, give 1, x and y at the fine cells' centres, for any weights."""
    model = random_model(3, **TINY, factor=factor, skip=skip, skip_kernel=kernel)
    filters = model.skip_filters().double()[:, 0]
    k = filters.shape[-1]
    line = torch.arange(k, dtype=torch.float64) - k // 2
    centre = (np.arange(factor) + 0.5) / factor - 0.5
    y, x = np.meshgrid(centre, centre, indexing="ij")
    assert np.allclose(filters.sum((1, 2)), 1, atol=1e-5)
    assert np.allclose((filters * line[:, None]).sum((1, 2)), y.ravel(), atol=1e-5)
    assert np.allclose((filters * line).sum((1, 2)), x.ravel(), atol=1e-5)


def test_learned_skip_starts_as_lanczos_with_back_projection():
    """Before training the skip is the strongest classical method, cut to its kernel and made exact on planes."""
    bank = filter_bank("lanczos-bp", 3)
    spare = (bank.shape[-1] - 9) // 2
    start = bank[..., spare:-spare, spare:-spare].reshape(9, 9, 9)
    filters = FSRCNN(FSRCNNConfig(**TINY)).skip_filters()[:, 0].detach().numpy()
    assert np.abs(filters - start).max() < 0.02
    wide = FSRCNN(FSRCNNConfig(**TINY, skip_kernel=31)).skip_filters()[:, 0].detach().numpy()
    assert np.abs(wide[:, 3:-3, 3:-3] - bank.reshape(9, 25, 25)).max() < 1e-3


def test_a_new_network_is_near_its_skip():
    """Weights drawn anew leave the residual small, so that training starts at the skip."""
    torch.manual_seed(0)
    model = FSRCNN(FSRCNNConfig(**TINY))
    x = torch.randn(1, 1, 28, 28)
    with torch.no_grad():
        whole = model(x)
        model.deconvolution.weight *= 0
        assert (whole - model(x)).std() < 0.1 * x.std()


# Conservation


@given(seeds, st.sampled_from([(0.0, np.inf), (-0.5, 0.5), (-np.inf, 0.3), (-np.inf, np.inf), (0.1, 0.4)]), factors)
def test_conserve_keeps_range_and_means(seed, bounds, factor):
    """Results lie in the range; block means equal the coarse cells, cut at the range."""
    low, high = bounds
    torch.manual_seed(seed)
    fine = torch.randn(1, 1, factor**2, 5, 6, dtype=torch.float64)
    coarse = torch.randn(1, 1, 5, 6, dtype=torch.float64) * 0.5
    coarse[..., 0, 0] = max(low, -9)
    coarse[..., 0, 1] = min(high, 9)
    found = conserve(fine, coarse, low, high)
    assert float(found.min()) >= low
    assert float(found.max()) <= high
    assert torch.allclose(found.mean(2), coarse.clamp(low, high), atol=1e-14)


def test_conserve_leaves_what_is_right_alone():
    """Values inside the range whose mean is the coarse cell are not touched."""
    fine = torch.tensor([0.25, 0.75, 0.5, 0.5]).reshape(1, 1, 4, 1, 1)
    assert torch.equal(conserve(fine, torch.full((1, 1, 1, 1), 0.5), 0.0, 1.0), fine)


@pytest.mark.parametrize("conserving", ["mean", "positive"])
def test_block_means_hold_in_training_too(conserving):
    """The network's forward pass conserves block means for any weights, with gradients on."""
    model = random_model(1, **TINY, conserving=conserving).requires_grad_(True)
    x = torch.rand(2, 1, 20, 20) * 3
    fine = model(x)
    coarse = x[..., model.config.halo : -model.config.halo, model.config.halo : -model.config.halo]
    assert torch.allclose(F.avg_pool2d(fine, 3), coarse, atol=1e-5)
    fine.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("skip", ["learned", "cubic", "none"])
@given(seed=seeds, scale=st.integers(-20, 20))
def test_forward_is_homogeneous(skip, seed, scale):
    """Multiplying the input by a power of two multiplies the output, to the last bit."""
    model = random_model(2, **TINY, skip=skip)
    torch.manual_seed(seed)
    x = torch.randn(1, 1, 13, 14)
    with torch.no_grad():
        assert torch.equal(model(x * 2.0**scale), model(x) * 2.0**scale)


def test_bands_in_may_be_others_than_bands_out():
    """Networks of pairs take as many channels as they are given and make their targets, counted in the operations."""
    plain = {"unit_free": False, "skip": "none", "conserving": "none", "bias": True}
    config = FSRCNNConfig(factor=2, d=8, s=4, m=1, inputs=5, channels=2, **plain)
    model = FSRCNN(config)
    x = torch.randn(3, 5, 6 + 2 * config.halo, 7 + 2 * config.halo)
    assert model(x).shape == (3, 2, 12, 14)
    assert config.operations == 5 * 8 * 25 + 8 * 4 + 4 * 4 * 9 + 4 * 8 + 8 * 2 * 4 * 9


# No surprises


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, "0.5", float("nan")])
def test_an_overshoot_is_a_share(wrong):
    """Anything but a number from 0 to 1, or None, is refused."""
    with pytest.raises(ConfigError, match="overshoot must be a number from 0 to 1, or None"):
        FSRCNNConfig(overshoot=wrong)


def test_configurations_without_an_overshoot_have_no_limit():
    """Cards from before it existed load as they were; networks of other bands have no range to keep to."""
    assert FSRCNNConfig.from_dict({"factor": 2}).overshoot is None
    assert FSRCNNConfig.from_dict(FSRCNNConfig(overshoot=0.5).to_dict()).overshoot == 0.5
    with pytest.raises(ConfigError, match="overshoot"):
        FSRCNNConfig(inputs=3, unit_free=False, skip="none", conserving="none", overshoot=0.5)


@given(seeds, factors, st.sampled_from([0.0, 0.2, 1.0]))
def test_conserve_keeps_bounds_of_each_block(seed, factor, share):
    """Bounds may differ from block to block; means within them are kept."""
    torch.manual_seed(seed)
    x = torch.randn(1, 2, 7, 8, dtype=torch.float64)
    fine = torch.randn(1, 2, factor**2, 5, 6, dtype=torch.float64) * 3
    low, high = (x[..., 1:-1, 1:-1] + bound for bound in neighbour_bounds(x, 1, share))
    found = conserve(fine, x[..., 1:-1, 1:-1], low, high)
    assert (found >= low.unsqueeze(2)).all()
    assert (found <= high.unsqueeze(2)).all()
    assert torch.allclose(found.mean(2), x[..., 1:-1, 1:-1], atol=1e-13)


@pytest.mark.parametrize("conserving", ["mean", "positive", "none"])
def test_the_limit_holds_in_training_and_lets_gradients_pass(conserving):
    """Training computes what inference does, with finite gradients, which a limit changes."""
    x = torch.randn(2, 1, 20, 21).abs()
    gradients = []
    for overshoot in (0.1, None):
        torch.manual_seed(0)
        model = FSRCNN(FSRCNNConfig(factor=2, conserving=conserving, overshoot=overshoot, **TINY))
        with torch.no_grad():
            model.deconvolution.weight *= 200
        fine = model(x)
        with torch.no_grad():
            assert torch.allclose(fine, model(x), atol=1e-6)
        fine.square().sum().backward()
        gradients.append(torch.cat([each.grad.flatten() for each in model.parameters()]))
    assert gradients[0].isfinite().all()
    assert gradients[0].count_nonzero() > 0.9 * len(gradients[0])
    assert not torch.allclose(*gradients)
