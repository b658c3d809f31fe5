"""Weights of other programs: the converted network gives what that program gives, and hostile files give nothing."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from scipy import ndimage
from scipy.io import savemat
from torch import nn

import geofsrcnn
from geofsrcnn import ModelError, OutputError, UsageError, convert_weights

D, S, M = 7, 4, 2


class Parts(nn.Module):
    """Named as in one widely used program: three parts, numbered within."""

    def __init__(self, factor, channels=1):
        super().__init__()
        self.first_part = nn.Sequential(nn.Conv2d(channels, D, 5, padding=2), nn.PReLU(D))
        middle = [nn.Conv2d(D, S, 1), nn.PReLU(S)]
        for _ in range(M):
            middle += [nn.Conv2d(S, S, 3, padding=1), nn.PReLU(S)]
        self.mid_part = nn.Sequential(*middle, nn.Conv2d(S, D, 1), nn.PReLU(D))
        self.last_part = nn.ConvTranspose2d(D, channels, 9, factor, 4, output_padding=factor - 1)

    def forward(self, x):
        return self.last_part(self.mid_part(self.first_part(x)))


class Stages(nn.Module):
    """Named by the paper's stages, one slope a layer, the mapping activated after its last layer only."""

    def __init__(self, factor, channels=1):
        super().__init__()
        self.feature_extraction = nn.Sequential(nn.Conv2d(channels, D, 5, padding=2), nn.PReLU())
        self.shrink = nn.Sequential(nn.Conv2d(D, S, 1), nn.PReLU())
        self.map = nn.Sequential(*(nn.Conv2d(S, S, 3, padding=1) for _ in range(M)), nn.PReLU())
        self.expand = nn.Sequential(nn.Conv2d(S, D, 1), nn.PReLU())
        self.deconv = nn.ConvTranspose2d(D, channels, 9, factor, 4, output_padding=factor - 1)

    def forward(self, x):
        for stage in (self.feature_extraction, self.shrink, self.map, self.expand, self.deconv):
            x = stage(x)
        return x


def drawn(module: nn.Module, seed: int = 0) -> nn.Module:
    """The same with every weight drawn."""
    torch.manual_seed(seed)
    for weight in module.parameters():
        nn.init.normal_(weight, 0, 0.3 if weight.ndim > 1 else 0.2)
    return module.eval().requires_grad_(False)


def field(*shape: int) -> np.ndarray:
    """Values of 0 to 1, float32."""
    return np.random.default_rng(1).random(shape).astype(np.float32)


def truth(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """The other program's result."""
    bands = torch.from_numpy(np.ascontiguousarray(x))
    return module(bands[None])[0].numpy()


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether they are the same but for rounding."""
    return found.shape == expected.shape and np.abs(found - expected).max() <= 3e-6 * np.ptp(expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("program", [Parts, Stages])
def test_state_dicts_of_pytorch(tmp_path, program, factor, channels):
    """Padded layer by layer everything is the same; padded at the input, all but the edges."""
    module = drawn(program(factor, channels))
    torch.save(module.state_dict(), tmp_path / "a.pth")
    x = field(channels, 33, 38)
    expected = truth(module, x)
    whole = convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", factor, padding=4, pad_layers=True)
    assert near(geofsrcnn.upscale_array(x, model=whole, device="cpu"), expected)
    tiled = convert_weights(tmp_path / "a.pth", tmp_path / "b.safetensors", factor, padding=4)
    found = geofsrcnn.upscale_array(x, model=tiled, device="cpu", tile_size=9)
    inside = np.s_[:, 8 * factor : -8 * factor, 8 * factor : -8 * factor]
    assert near(found[inside], expected[inside])
    assert not near(found, expected)
    assert (tiled.config.channels, tiled.config.d, tiled.config.s, tiled.config.m) == (channels, D, S, M)


@pytest.mark.parametrize("wrap", [lambda d: {"model": d, "step": 3}, lambda d: {"state_dict": d, "best": 31.5}])
@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_within_checkpoints(tmp_path, wrap, legacy):
    """Beside a step or a score, under names that a parallel run prefixed, in either of PyTorch's formats."""
    module = drawn(Parts(3))
    weights = OrderedDict((f"module.{name}", each) for name, each in module.state_dict().items())
    torch.save(wrap(weights), tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    found = convert_weights(tmp_path / "a.pt", tmp_path / "a.safetensors", 3, padding=4, pad_layers=True)
    x = field(1, 12, 15)
    assert near(geofsrcnn.upscale_array(x, model=found, device="cpu"), truth(module, x))


def test_other_units(tmp_path):
    """With a data range of R the network is R g(x / R)."""
    module = drawn(Parts(2))
    torch.save(module.state_dict(), tmp_path / "a.pth")
    found = convert_weights(
        tmp_path / "a.pth", tmp_path / "a.safetensors", 2, data_range=255, padding=4, pad_layers=True
    )
    x = field(1, 12, 15)
    assert near(geofsrcnn.upscale_array(255 * x, model=found, device="cpu"), 255 * truth(module, x))
    assert found.card.training["data_range"] == 255
    assert "values of 0 to 255" in found.card.limits


def matlab(module: nn.Module, *, cells: bool) -> dict[str, object]:
    """Its weights as MATLAB's program takes them: (channel, kernel column by column, filter)."""
    convolutions = [each for each in module.modules() if isinstance(each, (nn.Conv2d, nn.ConvTranspose2d))]
    kernels = [each.weight.numpy().transpose(1, 3, 2, 0) for each in convolutions]
    weights = [np.float64(each.reshape(each.shape[0], -1, each.shape[3])) for each in kernels]
    biases = [np.float64(each.bias.numpy())[:, None] for each in convolutions]
    slopes = [np.float64(each.weight.numpy())[:, None] for each in module.modules() if isinstance(each, nn.PReLU)]
    if cells:

        def cell(arrays):
            found = np.empty((1, len(arrays)), object)
            found[0, :] = arrays
            return found

        return {"weights_conv": cell(weights), "biases_conv": cell(biases), "prelu_conv": cell(slopes)}
    names = [*(f"conv{number}" for number in range(1, len(weights))), "deconv"]
    found = {f"weights_{name}": each for name, each in zip(names, weights, strict=True)}
    found |= {f"biases_{name}": each for name, each in zip(names, biases, strict=True)}
    return found | {f"prelu{number}": each for number, each in enumerate([*slopes, np.empty((0, 0))], 1)}


def run_matlab(weights: dict[str, object], x: np.ndarray, factor: int) -> np.ndarray:
    """The authors' program: layer by layer, edges repeated, the deconvolution by adding kernels up."""
    cells = {name: list(each[0]) for name, each in weights.items()}
    hidden = [np.float64(x)]
    for kernel, bias, slope in zip(cells["weights_conv"][:-1], cells["biases_conv"], cells["prelu_conv"], strict=False):
        channels, area, filters = kernel.shape
        side = round(area**0.5)
        layer = []
        for i in range(filters):
            total = bias[i, 0] + sum(
                ndimage.correlate(hidden[j], kernel[j, :, i].reshape(side, side, order="F"), mode="nearest")
                for j in range(channels)
            )
            layer.append(np.maximum(total, 0) + slope[i, 0] * np.minimum(total, 0))
        hidden = layer
    rows, columns = x.shape
    output = np.zeros(((rows + 2) * factor + 8, (columns + 2) * factor + 8))
    last = cells["weights_conv"][-1]
    for number, values in enumerate(hidden):
        wide = np.pad(values, 1, mode="edge")
        kernel = last[0, :, number].reshape(9, 9, order="F")
        for i, j in np.ndindex(wide.shape):
            output[i * factor : i * factor + 9, j * factor : j * factor + 9] += wide[i, j] * kernel
    start = 4 + factor
    return output[start : start + rows * factor, start : start + columns * factor] + cells["biases_conv"][-1][0, 0]


@pytest.mark.parametrize("cells", [True, False])
def test_weights_of_matlab(tmp_path, cells):
    """The authors' program gives the same, but for the last fine cells, where it repeats one cell instead of two."""
    module = drawn(Parts(3))
    savemat(tmp_path / "x3.mat", matlab(module, cells=cells), do_compression=True)
    found = convert_weights(tmp_path / "x3.mat", tmp_path / "a.safetensors", 3, padding=4, pad_layers=True)
    x = field(11, 13)
    expected = run_matlab(matlab(module, cells=True), x, 3)
    result = geofsrcnn.upscale_array(x, model=found, device="cpu")
    assert near(result[:-1, :-1], expected[:-1, :-1])


FIELDS = {
    "NetParameter": {"layer": (100, "*LayerParameter")},
    "LayerParameter": {
        "name": (1, "string"),
        "type": (2, "string"),
        "blobs": (7, "*BlobProto"),
        "convolution_param": (106, "ConvolutionParameter"),
    },
    "ConvolutionParameter": {
        "num_output": (1, "uint32"),
        "kernel_size": (4, "*uint32"),
        "group": (5, "uint32"),
        "stride": (6, "*uint32"),
        "stride_h": (13, "uint32"),
        "stride_w": (14, "uint32"),
        "dilation": (18, "*uint32"),
    },
    "BlobProto": {
        **{name: (number, "int32") for number, name in enumerate(("num", "channels", "height", "width"), 1)},
        "data": (5, "*float"),
        "shape": (7, "BlobShape"),
    },
    "BlobShape": {"dim": (1, "*int64")},
    "GraphDef": {"node": (1, "*NodeDef")},
    "NodeDef": {
        "name": (1, "string"),
        "op": (2, "string"),
        "input": (3, "*string"),
        "attr": (5, "*AttrEntry"),
    },
    "AttrEntry": {"key": (1, "string"), "value": (2, "AttrValue")},
    "AttrValue": {
        "list": (1, "ListValue"),
        "s": (2, "bytes"),
        "i": (3, "int64"),
        "type": (6, "int32"),
        "tensor": (8, "TensorProto"),
    },
    "ListValue": {"i": (3, "*int64")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
    },
    "TensorShapeProto": {"dim": (2, "*Dim")},
    "Dim": {"size": (1, "int64")},
}
"""What is used here of the schemas of Caffe and TensorFlow: number and type of each field, ``*`` for repeated ones."""


@pytest.fixture(scope="module")
def messages():
    """Classes of these messages, made by Google's own library."""
    file = descriptor_pb2.FileDescriptorProto(name="weights.proto", package="w", syntax="proto2")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, content in FIELDS.items():
        message = file.message_type.add(name=name)
        for key, (number, kind) in content.items():
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            kind = kind.removeprefix("*")  # noqa: PLW2901
            each = message.field.add(name=key, number=number, label=label)
            if kind in FIELDS:
                each.type, each.type_name = kinds.TYPE_MESSAGE, f".w.{kind}"
            else:
                each.type = getattr(kinds, f"TYPE_{kind.upper()}")
            if kind in ("float", "int64") and label == kinds.LABEL_REPEATED:
                each.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"w.{name}")) for name in FIELDS}


def caffe(messages, module: nn.Module, *, old: bool = False, stride: int = 3, others=("Input",), **change) -> bytes:
    """A Caffe model with blobs of either form of shape; `change` is made to the first convolution's parameters."""
    net = messages["NetParameter"]()

    def add(kind, *blobs, **param):
        layer = net.layer.add(name="x", type=kind, **param)
        for values in blobs:
            blob = layer.blobs.add(data=values.ravel().tolist())
            if old:
                blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - values.ndim) + values.shape
            else:
                blob.shape.dim.extend(values.shape)

    for kind in others:
        add(kind)
    for each in module.modules():
        if isinstance(each, nn.PReLU):
            add("PReLU", each.weight.numpy())
        elif isinstance(each, (nn.Conv2d, nn.ConvTranspose2d)):
            kind, step = ("Convolution", 1) if isinstance(each, nn.Conv2d) else ("Deconvolution", stride)
            values = {"kernel_size": [each.kernel_size[0]], "stride": [step], **change}
            param, change = messages["ConvolutionParameter"](**values), {}
            add(kind, each.weight.numpy(), each.bias.numpy(), convolution_param=param)
    return net.SerializeToString()


@pytest.mark.parametrize("old", [False, True])
def test_caffe_models(tmp_path, messages, old):
    """Layers in order, with the stride; blobs with either form of shape."""
    module = drawn(Parts(3))
    (tmp_path / "x3.caffemodel").write_bytes(caffe(messages, module, old=old))
    found = convert_weights(tmp_path / "x3.caffemodel", tmp_path / "a.safetensors", padding=4, pad_layers=True)
    x = field(1, 14, 11)
    assert near(geofsrcnn.upscale_array(x, model=found, device="cpu"), truth(module, x))
    with pytest.raises(ModelError, match="they are for factor 3, not 4"):
        convert_weights(tmp_path / "x3.caffemodel", tmp_path / "b.safetensors", 4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stride": 0}, "for factor 0, not a whole number from 2 to 8"),
        ({"stride": 10**6}, "for factor 1000000, not a whole number from 2 to 8"),
        ({"dilation": [2]}, "convolution of dilation 2"),
        ({"group": 2}, "convolution of group 2"),
        ({"stride_h": 2}, "convolution of two strides"),
        ({"stride": 3, "others": ["Input", "Eltwise"]}, "layer of type Eltwise is not converted"),
        ({"stride": 3, "others": ["Sigmoid"]}, "layer of type Sigmoid is not converted"),
        ({"stride": 3, "others": ["PReLU"]}, "layer of 0 blobs"),
    ],
)
def test_caffe_models_that_compute_other_things_are_refused(tmp_path, messages, change, words):
    """Strides, holes, groups and layers that an FSRCNN has not; nothing large is allocated first."""
    (tmp_path / "a.caffemodel").write_bytes(caffe(messages, drawn(Parts(3)), **change))
    with pytest.raises(ModelError, match=words) as caught:
        convert_weights(tmp_path / "a.caffemodel", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.caffemodel"]


def test_caffe_layers_in_another_order_are_refused(tmp_path, messages):
    """A stride before the end, a deconvolution that is not last, or none."""
    sound = messages["NetParameter"].FromString(caffe(messages, drawn(Parts(3)), others=()))
    *first, last = sound.layer
    strided = messages["LayerParameter"].FromString(first[0].SerializeToString())
    strided.convolution_param.stride[:] = [2]
    for layers, words in (
        ([strided, *first[1:], last], "convolution of stride 2 is not converted"),
        ([last, *first], "stands behind its deconvolution"),
        (first, "has no deconvolution"),
    ):
        (tmp_path / "a.caffemodel").write_bytes(messages["NetParameter"](layer=layers).SerializeToString())
        with pytest.raises(ModelError, match=words):
            convert_weights(tmp_path / "a.caffemodel", tmp_path / "a.safetensors", 3)


PLAIN = {"strides": [1] * 4, "dilations": [1] * 4, "padding": b"SAME", "data_format": b"NHWC"}
"""Attributes of TensorFlow's convolutions as OpenCV's models have them."""


def tensorflow(
    messages, module: nn.Module, factor: int, *, half: float = 0.5, ends=(), order=(0, 3, 1, 2), **change
) -> bytes:
    """A frozen graph of a network whose last layer is a convolution before a pixel shuffle; constants come first.

    `ends` are operators behind it, and `change` is made to the attributes of convolutions.
    """
    graph = messages["GraphDef"]()
    nodes = []

    def constant(name, values):
        values = np.float32(values)
        node = graph.node.add(name=name, op="Const")
        tensor = messages["TensorProto"](dtype=1)
        tensor.tensor_shape.SetInParent()
        tensor.tensor_shape.dim.extend(messages["Dim"](size=size) for size in values.shape)
        if values.size == 1:
            tensor.float_val.append(float(values.item()))
        else:
            tensor.tensor_content = values.tobytes()
        node.attr.add(key="value").value.tensor.CopyFrom(tensor)
        return name

    def node(name, operator, *inputs, **attr):
        nodes.append((name, operator, inputs, attr))
        return name

    layers = [each for each in module if isinstance(each, (nn.Conv2d, nn.PReLU))]
    x = node("in", "Placeholder")
    for number, each in enumerate(layers):
        if isinstance(each, nn.PReLU):
            minus = node(f"sub{number}", "Sub", x, node(f"abs{number}", "Abs", x))
            part = node(f"mul{number}", "Mul", constant(f"alpha{number}", each.weight.numpy()), minus)
            part = node(f"half{number}", "Mul", part, constant(f"h{number}", half))
            x = node(f"prelu{number}", "Add", node(f"relu{number}", "Relu", x), part)
            continue
        kernel = node(f"read{number}", "Identity", constant(f"f{number}", each.weight.numpy().transpose(2, 3, 1, 0)))
        x = node(f"conv{number}", "Conv2D", x, kernel, **PLAIN | change)
        if each.bias is not None:
            x = node(f"add{number}", "AddV2", x, constant(f"b{number}", each.bias.numpy()))
    x = node("shuffle", "DepthToSpace", x, block_size=factor, data_format=b"NHWC")
    x = node("bands", "BiasAdd", x, constant("last", [0.125] * module[0].in_channels))
    for operator in ends:
        x = node(operator, operator, x)
    axes = messages["TensorProto"](dtype=3, tensor_content=np.int32(order).tobytes())
    axes.tensor_shape.dim.add(size=4)
    graph.node.add(name="axes", op="Const").attr.add(key="value").value.tensor.CopyFrom(axes)
    node("out", "Transpose", x, "axes")
    for name, operator, inputs, attr in nodes:
        each = graph.node.add(name=name, op=operator, input=list(inputs))
        for key, value in attr.items():
            place = each.attr.add(key=key).value
            if isinstance(value, int):
                place.i = value
            elif isinstance(value, bytes):
                place.s = value
            else:
                place.list.i.extend(value)
    return graph.SerializeToString()


def subpixel(factor: int, channels: int = 1) -> nn.Sequential:
    """A network whose last layer is a convolution before a pixel shuffle."""
    layers = [nn.Conv2d(channels, D, 5, padding=2), nn.PReLU(D), nn.Conv2d(D, S, 1), nn.PReLU(S)]
    layers += [nn.Conv2d(S, S, 3, padding=1), nn.PReLU(S), nn.Conv2d(S, D, 1), nn.PReLU(D)]
    return drawn(nn.Sequential(*layers, nn.Conv2d(D, channels * factor**2, 1, bias=False), nn.PixelShuffle(factor)))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_frozen_graphs_of_tensorflow(tmp_path, messages, factor):
    """Convolutions with their weights the other way around, PReLUs of four operators, a pixel shuffle."""
    module = subpixel(factor)
    (tmp_path / "FSRCNN.pb").write_bytes(tensorflow(messages, module, factor))
    found = convert_weights(tmp_path / "FSRCNN.pb", tmp_path / "a.safetensors", pad_layers=True)
    x = field(1, 14, 11)
    assert near(geofsrcnn.upscale_array(x, model=found, device="cpu"), truth(module, x) + 0.125)


def test_other_activations_are_not_taken_for_prelus(tmp_path, messages):
    """A slope that counts twice would be wrong without a word."""
    (tmp_path / "a.pb").write_bytes(tensorflow(messages, subpixel(2), 2, half=1.0))
    with pytest.raises(ModelError, match="not written as a PReLU's"):
        convert_weights(tmp_path / "a.pb", tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"strides": [1, 2, 2, 1]}, "Conv2D with such strides is not converted"),
        ({"dilations": [1, 2, 2, 1]}, "Conv2D with such dilations is not converted"),
        ({"padding": b"VALID"}, "Conv2D with such padding is not converted"),
        ({"data_format": b"NCHW"}, "Conv2D with such data_format is not converted"),
        ({"groups": 2}, "Conv2D with such groups is not converted"),
        ({"order": (0, 2, 1, 3)}, "Transpose is not converted"),
        ({"ends": ["Tanh"]}, "operator Tanh with 0 constants is not converted"),
        ({"ends": ["Relu"]}, "not written as a PReLU's"),
        ({"ends": ["DepthToSpace"]}, "2 pixel shuffles"),
    ],
)
def test_graphs_that_compute_other_things_are_refused(tmp_path, messages, change, words):
    """Attributes and operators that an FSRCNN has not."""
    (tmp_path / "a.pb").write_bytes(tensorflow(messages, subpixel(2), 2, **change))
    with pytest.raises(ModelError, match=words) as caught:
        convert_weights(tmp_path / "a.pb", tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pb"]


@pytest.mark.parametrize("block", [0, 10**6])
def test_blocks_of_graphs_are_checked(tmp_path, messages, block):
    """Before anything is repeated that often."""
    (tmp_path / "a.pb").write_bytes(tensorflow(messages, subpixel(2), block))
    with pytest.raises(ModelError, match=f"for factor {block}, not a whole number from 2 to 8"):
        convert_weights(tmp_path / "a.pb", tmp_path / "a.safetensors")


def test_graphs_of_several_bands_are_refused(tmp_path, messages):
    """TensorFlow's pixel shuffle has bands last, ours first: the result would be scrambled."""
    (tmp_path / "a.pb").write_bytes(tensorflow(messages, subpixel(2, 3), 2))
    with pytest.raises(ModelError, match="of several bands"):
        convert_weights(tmp_path / "a.pb", tmp_path / "a.safetensors")


def varint(number: int) -> bytes:
    """A number of a protocol buffer."""
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


@pytest.mark.parametrize(
    ("suffix", "outer", "inner"),
    [
        (".caffemodel", b"\xa2\x06", b"\x10"),
        (".pb", b"\x0a", b"\x08"),
        (".pb", b"\x0a", b"\x0a\x01a\x12\x01b\x18"),
        (".pb", b"\x0a", b"\x0a\x01a\x12\x01b\x2a\x0c\x12\x00\x08"),
    ],
    ids=["type", "name", "input", "attribute"],
)
def test_numbers_are_no_names(tmp_path, suffix, outer, inner):
    """A number where a name is needed is no count of bytes to allocate."""
    content = inner + varint(2**56) + b"\x12\x00" * (inner == b"\x08")
    (tmp_path / f"a{suffix}").write_bytes(outer + varint(len(content)) + content)
    with pytest.raises(ModelError, match="a number where a name is needed"):
        convert_weights(tmp_path / f"a{suffix}", tmp_path / "a.safetensors", 3)


@pytest.mark.parametrize(("centre", "moved"), [(3, -2), (4, -1), (5, None), (6, 1)])
def test_results_are_put_right(tmp_path, centre, moved):
    """A deconvolution that interpolates, laid around other cells: a plane comes out in its place all the same."""
    module = drawn(Parts(3))
    for weight in module.parameters():
        nn.init.zeros_(weight) if weight.ndim > 1 or len(weight) == 1 else nn.init.ones_(weight)
    for each in module.modules():
        if isinstance(each, nn.Conv2d):
            each.bias.zero_()
            each.weight[0, 0, each.kernel_size[0] // 2, each.kernel_size[0] // 2] = 1
    hat = np.maximum(1 - np.abs(np.arange(9) - centre) / 3, 0)
    module.last_part.weight[0, 0] = torch.tensor(np.outer(hat, hat))
    torch.save(module.state_dict(), tmp_path / "a.pth")
    found = convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", 3)
    assert found.card.training.get("moved") == moved
    places = (np.arange(60) - 1) / 3
    plane = np.arange(20.0)[:, None] / 40 + np.arange(20.0) / 80
    result = geofsrcnn.upscale_array(plane.astype(np.float32), model=found, device="cpu")
    expected = places[:, None] / 40 + places / 80
    assert np.allclose(result[9:-9, 9:-9], expected[9:-9, 9:-9], atol=1e-6)


class Command:
    """A pickle of it runs a command when it is loaded carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def saved(value: object, **options: object) -> bytes:
    """The bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def bomb() -> bytes:
    """A small archive that holds a hundred megabytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**8)
    return file.getvalue()


def changed(name: str, values: torch.Tensor | None) -> bytes:
    """A state dict with another tensor, or without one."""
    weights = Parts(3).state_dict()
    if values is None:
        del weights[name]
    else:
        weights[name] = values
    return saved(weights)


HOSTILE = {
    "a module": (lambda: saved(Parts(3)), "damaged, or holds more than weights"),
    "numbers": (lambda: saved({"a": 1, "b": [2]}), "holds no state dict"),
    "an archive that is a bomb": (bomb, "holds more than its size"),
    "cut short": (lambda: saved(Parts(3).state_dict())[:9000], "cannot read weights"),
    "a view": (lambda: changed("last_part.weight", torch.zeros(1).expand(9000, 9000)), "holds more than its size"),
    "a small view": (lambda: changed("last_part.weight", torch.zeros(1).expand(D, 1, 9, 9)), "more than its size"),
    "not finite": (lambda: changed("last_part.bias", torch.tensor([float("nan")])), "not finite"),
    "a missing layer": (lambda: changed("mid_part.0.weight", None), "none of an FSRCNN that can be run"),
    "a missing slope": (lambda: changed("first_part.1.weight", None), "do not fit together|stand where"),
    "another shape": (lambda: changed("mid_part.2.weight", torch.zeros(5, 4, 3, 3)), "stand where"),
    "an even kernel": (lambda: changed("first_part.0.weight", torch.zeros(D, 1, 4, 4)), "feature_kernel must be odd"),
    "too many channels": (lambda: changed("first_part.0.weight", torch.zeros(999, 1, 5, 5)), "d must be"),
    "a matrix": (lambda: changed("first_part.0.weight", torch.zeros(D, 5)), "no weight of an FSRCNN"),
    "no layers": (lambda: saved({"a": torch.zeros(3)}), "there are 0 convolutions"),
    "layers that share a storage": (lambda: saved(dict.fromkeys(map(str, range(65)), torch.zeros(3))), "more than 64"),
    "values that share a storage": (
        lambda: saved(dict.fromkeys("abcde", torch.zeros(2048, 2048, 1, 1, dtype=torch.int8))),
        "layers hold more than 16777216 values",
    ),
    "a wide kernel": (lambda: changed("last_part.weight", torch.zeros(D, 1, 5, 9)), "is 5 x 9, not square"),
    "a high kernel": (lambda: changed("last_part.weight", torch.zeros(D, 1, 9, 5)), "is 9 x 5, not square"),
    "a large deconvolution": (
        lambda: changed("last_part.weight", torch.zeros(2048, 1024, 1, 1, dtype=torch.int8)),
        "would take more than 16777216 weights",
    ),
    "an empty layer": (lambda: changed("last_part.weight", torch.zeros(0, 1, 9, 9)), "a layer is empty"),
    "too many biases": (lambda: changed("last_part.bias", torch.zeros(10**5)), "last layer has 100000 biases"),
    "MATLAB, cut short": (lambda: b"MATLAB 5.0 MAT-file" + b" " * 200, "cannot read weights"),
    "text": (lambda: b"weights = 3\n", "not weights that are known"),
    "nothing": (lambda: b"", "not weights that are known"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_and_damaged_files_are_refused(tmp_path, name):
    """In one line, with nothing written."""
    make, words = HOSTILE[name]
    (tmp_path / "a.pth").write_bytes(make())
    with pytest.raises(ModelError, match=words) as caught:
        convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", 3)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_nothing_in_a_file_is_executed(tmp_path):
    """A pickle of a command is refused, and the command is not run."""
    for number, data in enumerate((pickle.dumps(Command(tmp_path / "run")), saved({"a": Command(tmp_path / "run")}))):
        (tmp_path / f"{number}.pth").write_bytes(data)
        with pytest.raises(ModelError, match="could run code"):
            convert_weights(tmp_path / f"{number}.pth", tmp_path / "a.safetensors", 3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("suffix", [".pb", ".caffemodel"])
def test_random_bytes_are_no_model(tmp_path, suffix):
    """Whatever stands in the file, it is an error of one line."""
    rng = np.random.default_rng(0)
    cases = [rng.bytes(int(size)) for size in rng.integers(0, 300, 200)]
    cases += [b"\x0a\xff\xff\xff\xff\x7f", b"\xa2\x06\x02\x3a\x00", struct.pack("<BQ", 9, 1) * 50, b"\x80" * 40]
    for data in cases:
        (tmp_path / f"a{suffix}").write_bytes(b"\x0a" + data if suffix == ".pb" else b"\xa2\x06" + data)
        with pytest.raises(ModelError):
            convert_weights(tmp_path / f"a{suffix}", tmp_path / "a.safetensors", 3)


def test_graphs_that_are_cut_short(tmp_path, messages):
    """Wherever a sound graph ends too early, it is refused."""
    data = tensorflow(messages, subpixel(2), 2)
    rng = np.random.default_rng(1)
    for place in rng.integers(1, len(data), 60):
        (tmp_path / "a.pb").write_bytes(data[:place])
        with pytest.raises(ModelError):
            convert_weights(tmp_path / "a.pb", tmp_path / "a.safetensors", 2)
    assert not (tmp_path / "a.safetensors").exists()


def test_the_rest_of_what_is_refused(tmp_path):
    """Factors, names and numbers that are missing or wrong; large files; outputs that exist."""
    torch.save(Parts(3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match="do not say for which factor they are: give factor="):
        convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors")
    for setup, words in (
        ({"padding": 9}, "padding= must be from 0 to 8"),
        ({"padding": -1}, "padding="),
        ({"data_range": 0}, "data_range="),
        ({"data_range": float("nan")}, "data_range="),
        ({"factor": 9}, "factor"),
    ):
        with pytest.raises(UsageError, match=words):
            convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", **{"factor": 3, **setup})
    with pytest.raises(UsageError, match=r"must end in \.safetensors"):
        convert_weights(tmp_path / "a.pth", tmp_path / "a.pth", 3)
    with pytest.raises(ModelError, match=r"missing\.pth"):
        convert_weights(tmp_path / "missing.pth", tmp_path / "a.safetensors", 3)
    with pytest.raises(ModelError, match="no file"):
        convert_weights(tmp_path, tmp_path / "a.safetensors", 3)
    with (tmp_path / "large.pth").open("wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(ModelError, match="larger than 16 MiB"):
        convert_weights(tmp_path / "large.pth", tmp_path / "a.safetensors", 3)
    (tmp_path / "a.safetensors").write_text("mine")
    with pytest.raises(OutputError, match="output exists"):
        convert_weights(tmp_path / "a.pth", tmp_path / "a.safetensors", 3)
    assert (tmp_path / "a.safetensors").read_text() == "mine"


def test_the_card_says_where_it_comes_from(tmp_path):
    """File, digest, layout; and that its licence is not known."""
    torch.save(drawn(Parts(4)).state_dict(), tmp_path / "theirs.pth")
    card = convert_weights(tmp_path / "theirs.pth", tmp_path / "a.safetensors", 4).card
    assert (card.name, card.summary) == ("theirs", "FSRCNN x4 of another program, converted from a PyTorch state dict")
    assert card.training["converted_from"] == "theirs.pth"
    assert card.data == [{"name": "theirs.pth", "source": "", "licence": ""}]
    assert len(card.training["sha256"]) == 64
