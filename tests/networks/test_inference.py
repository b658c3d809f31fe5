"""Networks ready to run: the same numbers as in training, a halo that is neither too small nor too large."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from geofsrcnn.networks.inference import Classical, Network
from geofsrcnn.values.kernels import CLASSICAL, resample
from tests.support.networks import FREE, TINY, VARIANTS, deconvolution_to_subpixel, random_model
from tests.support.strategies import factors, seeds


@pytest.mark.parametrize("name", list(VARIANTS))
def test_network_is_the_trained_forward_pass(name):
    """Folding and fusing change no result beyond rounding, for every form of the network."""
    model = random_model(4, **{**TINY, **VARIANTS[name]})
    torch.manual_seed(0)
    x = torch.rand(2, model.config.channels, 29, 33) * 4
    with torch.no_grad():
        expected = model(x)
    found = Network(model)(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 2e-6 * (expected.max() - expected.min())
    assert expected.std() > 0.1


@pytest.mark.parametrize("name", ["default sizes", "slope a channel", "positive", "biases"])
def test_network_takes_double_precision(name):
    """float64 in gives float64 out, near the float32 result."""
    model = random_model(4, **{**TINY, **VARIANTS[name]})
    x = torch.rand(1, 1, 29, 33, dtype=torch.float64)
    network = Network(model)
    found = network(x)
    assert found.dtype == torch.float64
    assert torch.allclose(found.float(), network(x.float()), atol=2e-5)


@pytest.mark.parametrize("name", ["default sizes", "small sizes", "slope a channel", "three bands", "joint", "no skip"])
def test_bfloat16_is_close(name):
    """In bfloat16 the hourglass differs by a few per cent of its residual; block means still hold."""
    model = random_model(4, **{**TINY, **VARIANTS[name]})
    torch.manual_seed(0)
    x = torch.rand(1, model.config.channels, 29, 33) * 4
    exact, rough = Network(model)(x), Network(model, precision="bfloat16")(x)
    halo = model.config.halo
    residual = exact - F.interpolate(x[..., halo:-halo, halo:-halo], scale_factor=model.config.factor)
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * residual.abs().max()
    if model.config.conserving == "mean":
        assert torch.allclose(F.avg_pool2d(rough, 3), x[..., halo:-halo, halo:-halo], atol=1e-5)


def test_network_is_a_copy():
    """Changes to the model after it was made ready have no effect; running it changes nothing."""
    model = random_model(0, **TINY)
    network, x = Network(model), torch.rand(1, 1, 15, 15)
    first = network(x)
    model.feature.weight *= 2
    assert torch.equal(network(x), first)


def test_deconvolution_stage_is_the_papers_transposed_convolution():
    """The whole network equals one written with torch's own layers, transposed convolution included."""
    model = random_model(7, d=6, s=4, m=2, **{**FREE, "bias": True, "conserving": "none", "mapping_prelu": "each"})
    torch.manual_seed(1)
    deconvolution = torch.nn.ConvTranspose2d(6, 1, 9, stride=3, padding=3, bias=False)
    with torch.no_grad():
        model.deconvolution.weight.copy_(deconvolution_to_subpixel(deconvolution.weight, 3))
        model.deconvolution.bias.fill_(0.3)
        x = torch.rand(1, 1, 30, 30)
        h = F.prelu(model.feature(x), model.feature_prelu.weight)
        h = F.prelu(model.shrink(h), model.shrink_prelu.weight)
        for layer, slope in zip(model.mapping, model.mapping_prelu, strict=True):
            h = F.prelu(layer(h), slope.weight)
        h = F.prelu(model.expand(h), model.expand_prelu.weight)
        expected = deconvolution(h)[..., 3:-3, 3:-3] + 0.3  # its outermost cells lack neighbours
    assert torch.allclose(Network(model)(x), expected, atol=1e-5)


# Units


@pytest.mark.parametrize("name", ["default sizes", "small sizes", "cubic skip", "three bands", "slope a channel"])
@given(seed=seeds, power=st.integers(-18, 18), offset=st.integers(-(2**24), 2**24))
def test_scale_and_offset_pass_through_unchanged(name, seed, power, offset):
    """U(a X + b) is a U(X) + b to the rounding of the result alone, where a X + b is exact."""
    network = NETWORKS[name]
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.integers(-1024, 1024, (1, network.channels, 17, 18)) / 64)
    a, b = 2.0**power, float(offset)
    if not torch.equal((a * x + b) - b, a * x):
        return
    found, expected = network(a * x + b), a * network(x) + b
    assert (found - expected).abs().max() <= 4 * np.spacing(abs(b) + a * 100)


@pytest.mark.parametrize(
    "name", ["default sizes", "small sizes", "cubic skip", "no skip", "positive", "not conserving"]
)
@given(value=st.floats(-(2.0**127), 2.0**127, width=32))
def test_constants_come_out_to_the_last_bit(name, value):
    """A constant in is the same constant out, whatever the weights."""
    network = NETWORKS[name]
    value = abs(value) if name == "positive" else value
    if name == "positive" and not 1e-37 < value < 1e37:  # the engine scales such blocks first
        return
    found = network(torch.full((1, 1, 17, 18), value))
    assert (found == value).all()


NETWORKS = {
    name: Network(random_model(5, **{**TINY, **VARIANTS[name]}))
    for name in (
        *("default sizes", "small sizes", "cubic skip", "no skip", "positive", "not conserving"),
        *("three bands", "slope a channel"),
    )
}


# The halo


def assert_halo_is_exact(upsampler, channels=1):
    """Everything beyond the halo is without influence, each side's outermost cells are not."""
    halo, f = upsampler.halo, upsampler.factor
    size, middle = 2 * halo + 5, halo + 2
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(size=(1, channels, size, size)))

    def block(field):
        padded = np.pad(field, [(0, 0), (0, 0), (halo, halo), (halo, halo)], mode="edge")
        fine = upsampler(torch.from_numpy(padded)).numpy()
        return fine[..., middle * f : (middle + 1) * f, middle * f : (middle + 1) * f]

    before = block(x)
    outside = np.ones((size, size), bool)
    outside[middle - halo : middle + halo + 1, middle - halo : middle + halo + 1] = False
    beyond = x.copy()
    beyond[..., outside] *= 1e3 * rng.random(beyond[..., outside].shape)
    assert np.array_equal(block(beyond), before)
    for y, x_ in ((-halo, 0), (halo, 0), (0, -halo), (0, halo)):
        moved = x.copy()
        moved[..., middle + y, middle + x_] += 1e4
        assert not np.array_equal(block(moved), before), (y, x_)


@pytest.mark.parametrize("name", [n for n in VARIANTS if not n.startswith("article")])
def test_halo_is_minimal(name):
    """A cell at the halo's distance changes the output on each of four sides; one farther changes no bit."""
    model = random_model(6, **{**TINY, **VARIANTS[name]})
    assert_halo_is_exact(Network(model), model.config.channels)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("t", [1, 3, 5])
def test_halo_is_minimal_for_each_depth_and_deconvolution(m, t):
    """The same for 1 to 4 mapping layers and 1, 3 and 5 taps; the halo is 2 + m + (t - 1) / 2."""
    model = random_model(6, **{**TINY, "m": m}, deconvolution_taps=t, skip="cubic")
    assert model.config.halo == 2 + m + (t - 1) // 2
    assert_halo_is_exact(Network(model))


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("method", [m for m in CLASSICAL if m != "nearest"])
def test_halo_of_classical_methods_is_minimal(method, factor):
    """The same for the classical methods in the engine."""
    assert_halo_is_exact(Classical(method, factor))


# Classical methods in the engine


@pytest.mark.parametrize("method", CLASSICAL)
@given(factor=factors, seed=seeds)
def test_classical_methods_in_the_engine_are_the_reference(method, factor, seed):
    """The filter bank on differences gives what plain resampling gives, inside."""
    upsampler = Classical(method, factor)
    halo = upsampler.halo
    x = np.random.default_rng(seed).normal(size=(2 * halo + 6, 2 * halo + 7))
    inside = (slice(halo * factor, (halo + 6) * factor), slice(halo * factor, (halo + 7) * factor))
    found = upsampler(torch.from_numpy(x)[None, None])[0, 0].numpy()
    assert np.allclose(found, resample(x, factor, method)[inside], atol=3e-6)
