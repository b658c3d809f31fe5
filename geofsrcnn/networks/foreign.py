"""Weights of FSRCNNs that others trained, read from the layouts that they are passed around in.

Files are untrusted, and small: their size, layers and values are bounded, and nothing in them is executed. A layer is
told by the shape of its weights and its place in the file, not by its name, of which there are as many as programs.
Caffe and TensorFlow also say what is computed: what is not on a short list of what an FSRCNN needs is refused. State
dicts and files of MATLAB hold weights only.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofsrcnn._types import Array
from geofsrcnn.errors import ModelError, need, printable
from geofsrcnn.networks.wire import Message, numbers, parse

MAX_FILE = 16 * 2**20

MAX_MAT = 2**20
"""Bytes of a MATLAB file, which may hold a thousand times as much, compressed."""

MAX_WEIGHTS = 2**24
"""Values of all layers together: layers that share a storage are counted each."""

MAX_LAYERS = 64
"""Weights, biases and slopes of all layers: 20 convolutions and what stands between them have 59."""

_CAFFE_IDLE = {"Input", "Data", "HDF5Data", "MemoryData", "Split", "EuclideanLoss"}
"""Layers of Caffe that change no values on the way to the output."""

_OPERATORS = {
    ("Placeholder", 0),
    ("Const", 0),
    ("Identity", 0),
    ("Identity", 1),
    ("Conv2D", 1),
    ("Add", 1),
    ("BiasAdd", 1),
    ("DepthToSpace", 0),
    ("Transpose", 1),
}
"""Operators of TensorFlow outside activations, with how many of their inputs are constants."""

_PRELU = {("Relu", 0): 1, ("Abs", 0): 1, ("Sub", 0): 1, ("Mul", 1): 2, ("Add", 0): 1}
"""How many of each a PReLU takes: ``relu(x) + slope * (x - abs(x)) * 0.5``."""

_CHANNEL_ORDERS = ([0, 3, 1, 2], [0, 2, 3, 1])
"""Axes of a Transpose that only puts bands before or behind rows and columns."""

_HINTS = {"T", "Tperm", "dtype", "shape", "value", "block_size", "use_cudnn_on_gpu"}
"""Attributes of TensorFlow that change no arithmetic, or are read where they matter."""


@dataclass
class Foreign:
    """Layers in the order in which they are applied, as PyTorch has them.

    Parameters
    ----------
    layout : str
        What the file is, in words.
    weights : list of ndarray (out, in, k, k)
        Of convolutions; the last is ``(in, out, k, k)`` if it is a transposed one.
    biases, slopes : list of ndarray (channels,)
        Of convolutions and of PReLUs.
    factor : int, optional
        Stride of the transposed convolution, or block of the pixel shuffle, where the file says it.
    transposed : bool
        The last layer is a transposed convolution; else it stands before a pixel shuffle.
    padding : str
        What its program puts around each layer.
    """

    layout: str
    weights: list[Array] = field(default_factory=list)
    biases: list[Array] = field(default_factory=list)
    slopes: list[Array] = field(default_factory=list)
    factor: int | None = None
    transposed: bool = True
    padding: str = "zeros"

    def add(self, values: Array, *, is_bias: bool = False) -> None:
        """Add the values of a layer by their shape.

        Raises
        ------
        ValueError
            If there are none, or more than an FSRCNN has.
        """
        values = np.asarray(values, np.float32)
        before = [*self.weights, *self.biases, *self.slopes]
        if not values.size:
            raise ValueError("a layer is empty")
        if len(before) >= MAX_LAYERS:
            raise ValueError(f"it has more than {MAX_LAYERS} weights, biases and slopes")
        if sum(each.size for each in before) + values.size > MAX_WEIGHTS:
            raise ValueError(f"its layers hold more than {MAX_WEIGHTS} values")
        if is_bias:
            self.biases.append(values.reshape(-1))
        elif values.ndim == 4:
            self.weights.append(values)
        else:
            self.slopes.append(values.reshape(-1))


def read_foreign(data: bytes, path: Path) -> Foreign:
    """Read the weights in a file.

    Parameters
    ----------
    data : bytes
        The file.
    path : Path
        Its name, for messages, and for what the first bytes do not tell.

    Returns
    -------
    Foreign
        The layers; not yet checked for being those of an FSRCNN.

    Raises
    ------
    ModelError
        If it is no such file, or is damaged.
    """
    shown = printable(path.name)
    reader: Callable[[bytes], Foreign]
    if data[:4] == b"PK\x03\x04" or data[:1] == b"\x80":
        reader = _read_torch
    elif data[:10] == b"MATLAB 5.0":
        need("convert", "scipy.io")
        reader = _read_matlab
    elif path.suffix == ".caffemodel":
        reader = _read_caffe
    elif path.suffix == ".pb":
        reader = _read_tensorflow
    else:
        raise ModelError(f"not weights that are known: {shown}: give a .pth, .pt, .mat (not v7.3), .caffemodel or .pb")
    try:
        return reader(data)
    except Exception as error:  # noqa: BLE001  libraries and damaged files raise whatever they like
        what = printable(str(error).strip().partition("\n")[0])[:200] or type(error).__name__
        raise ModelError(f"cannot read weights from {shown}: {what}") from None


def _read_torch(data: bytes) -> Foreign:
    """Read a state dict, or a checkpoint that holds one."""
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(each.file_size for each in archive.infolist()) > MAX_FILE:
                raise ValueError("it holds more than its size")
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  torch's own words tell people to load it unsafely
        raise ValueError("it is damaged, or holds more than weights, which could run code") from None
    found = Foreign("a PyTorch state dict")
    for name, tensor in _state_dict(loaded).items():
        if tensor.numel() > MAX_WEIGHTS or tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            raise ValueError(f"{name} holds more than its size")
        if tensor.ndim in (1, 4):
            found.add(tensor.float().numpy(), is_bias=str(name).endswith("bias"))
        else:
            raise ValueError(f"{name} is no weight of an FSRCNN (shape {tuple(tensor.shape)})")
    return found


def _state_dict(loaded: Any) -> dict[str, torch.Tensor]:
    """Find the tensors by name, in what was saved or one level below."""
    inner = [each for each in loaded.values() if isinstance(each, dict)] if isinstance(loaded, dict) else []
    for each in (loaded, *inner):
        if isinstance(each, dict) and each and all(isinstance(value, torch.Tensor) for value in each.values()):
            return each
    raise ValueError("it holds no state dict")


def _read_matlab(data: bytes) -> Foreign:
    """Read what the authors' code for MATLAB loads: cells ``weights_conv``, ``biases_conv``, ``prelu_conv``.

    Or a variable a layer (``weights_conv1`` and on, ``weights_deconv``, ``prelu1``). Weights are (channel, cells of
    the kernel, filter), columns of a kernel one after the other.
    """
    from scipy.io import loadmat

    if len(data) > MAX_MAT:
        raise ValueError(f"it is larger than {MAX_MAT // 2**20} MiB")
    values = {name: each for name, each in loadmat(io.BytesIO(data)).items() if not name.startswith("__")}
    found = Foreign("weights of MATLAB", padding="replicate")
    for each in _layers(values, "weights_"):
        found.add(_matlab_kernel(each))
    for each in _layers(values, "biases_"):
        found.add(each, is_bias=True)
    for each in _layers(values, "prelu"):
        if np.size(each):
            found.add(each.reshape(-1))
    return found


def _layers(values: dict[str, Any], prefix: str) -> list[Array]:
    """Variables of a kind in order: the deconvolution last, cells apart."""
    names = sorted(
        (name for name in values if name.startswith(prefix)), key=lambda name: ("deconv" in name, len(name), name)
    )
    found = [cell for name in names for cell in (values[name].flat if values[name].dtype == object else [values[name]])]
    if not found:
        raise ValueError(f"it has no variables {prefix}")
    return found


def _matlab_kernel(values: Array) -> Array:
    """Take kernels ``(channel, k * k, filter)`` apart, ``(filter, channel, k, k)``."""
    values = np.asarray(values, np.float32)
    values = values.reshape(*values.shape, *[1] * (3 - values.ndim))
    side = math.isqrt(values.shape[1])
    return values.reshape(values.shape[0], side, side, values.shape[2], order="F").transpose(3, 0, 1, 2)


def _text(value: int | bytes) -> str:
    """Text of a protocol buffer; a hostile file may have a number there, of which bytes() would be as long."""
    if isinstance(value, bytes):
        return value.decode()
    raise ValueError("it has a number where a name is needed")


def _read_caffe(data: bytes) -> Foreign:
    """Read a Caffe ``NetParameter``: convolutions and PReLUs in order, and last a deconvolution with its stride."""
    found = Foreign("a Caffe model")
    for layer in parse(data).get(100, []):
        message = parse(layer)
        kind = _text(message.get(2, [b""])[0])
        if kind in _CAFFE_IDLE:
            continue
        if kind not in ("Convolution", "Deconvolution", "PReLU"):
            raise ValueError(f"its layer of type {kind} is not converted")
        if found.factor is not None:
            raise ValueError("a layer stands behind its deconvolution")
        for number, values in enumerate(_blobs(message)):
            found.add(values, is_bias=number == 1)
        if kind == "Deconvolution":
            found.factor = _stride(message)
        elif kind == "Convolution" and (stride := _stride(message)) != 1:
            raise ValueError(f"its convolution of stride {stride} is not converted")
    if found.factor is None:
        raise ValueError("it has no deconvolution")
    return found


def _stride(layer: Message) -> int:
    """Stride of a convolution, which must be the same both ways, of one group and without holes."""
    param = parse(b"".join(layer.get(106, [])))

    def steps(*fields: int) -> set[int]:
        return {step for each in fields for value in param.get(each, []) for step in numbers(value)} or {1}

    for name, number in (("group", 5), ("axis", 16), ("dilation", 18)):
        if steps(number) != {1}:
            raise ValueError(f"its convolution of {name} {max(steps(number))} is not converted")
    strides = steps(6, 13, 14)
    if len(strides) != 1:
        raise ValueError("its convolution of two strides is not converted")
    return strides.pop()


def _blobs(layer: Message) -> list[Array]:
    """The weights, and where it has them the biases, of a Caffe layer."""
    blobs = layer.get(7, [])
    if len(blobs) not in (1, 2):
        raise ValueError(f"it has a layer of {len(blobs)} blobs, not of weights and biases")
    return [_blob(parse(each)) for each in blobs]


def _blob(message: Message) -> Array:
    """The values of a Caffe ``BlobProto``, with its shape in either form."""
    values = np.concatenate([np.frombuffer(each, "<f4") for each in message.get(5, [])])
    if 7 in message:
        shape = [size for value in parse(message[7][0]).get(1, []) for size in numbers(value)]
    else:
        shape = [message.get(number, [1])[0] for number in (1, 2, 3, 4)]
        shape = shape if shape[0] > 1 or shape[1] > 1 else shape[-1:]
    return values.reshape(shape)


def _read_tensorflow(data: bytes) -> Foreign:
    """Read a frozen graph of TensorFlow: convolutions, biases and PReLUs as OpenCV's models have them."""
    nodes = [_Node.parse(parse(each)) for each in parse(data).get(1, [])]
    constants = {node.name: node.constant() for node in nodes if node.operator == "Const"}
    for node in nodes:
        if node.operator == "Identity" and node.inputs[0] in constants:
            constants[node.name] = constants[node.inputs[0]]
    _check_graph(nodes, constants)
    found = Foreign("a TensorFlow graph", transposed=False)
    for node in nodes:
        given = [constants[name] for name in node.inputs if name in constants]
        if node.operator == "Conv2D":
            found.add(given[0].transpose(3, 2, 0, 1))
        elif node.operator in ("Add", "BiasAdd") and given:
            found.add(given[0], is_bias=True)
        elif node.operator == "Mul" and given[0].ndim:
            found.add(given[0])
        elif node.operator == "DepthToSpace":
            found.factor = parse(node.attributes["block_size"]).get(3, [0])[0]
    if found.weights and found.weights[0].shape[1] != 1:
        raise ValueError("it is of several bands, which its pixel shuffle orders in another way: not converted")
    return found


def _check_graph(nodes: list[_Node], constants: dict[str, Array]) -> None:
    """Refuse a graph that computes more than is converted."""
    operators = {node.name: node.operator for node in nodes}
    counts: Counter[tuple[str, int]] = Counter()
    halves = 0
    for node in nodes:
        if not all(name in operators for name in node.inputs):
            raise ValueError(f"{node.name} has an input that is no node of the graph")
        for name, value in node.attributes.items():
            if not _is_plain(name, value):
                raise ValueError(f"its {node.operator} with such {name} is not converted")
        given = [constants[name] for name in node.inputs if name in constants]
        counts[node.operator, len(given)] += 1
        halves += node.operator == "Mul" and len(given) == 1 and given[0].ndim == 0 and float(given[0]) == 0.5
        if node.operator == "Sub" and operators[node.inputs[1]] != "Abs":
            raise ValueError("its activations are not written as a PReLU's")
        if (
            node.operator == "Transpose"
            and given
            and not any(np.array_equal(given[0], axes) for axes in _CHANNEL_ORDERS)
        ):
            raise ValueError("its Transpose is not converted")
    for operator, number in counts:
        if operator == "Conv2DBackpropInput":
            raise ValueError(
                "its deconvolution is a transposed convolution, of which TensorFlow has a layout of its own"
            )
        if (operator, number) not in _OPERATORS | set(_PRELU):
            raise ValueError(f"its operator {operator} with {number} constants is not converted")
    if any(counts[operator] != times * halves for operator, times in _PRELU.items()):
        raise ValueError("its activations are not written as a PReLU's")
    if counts["DepthToSpace", 0] != 1:
        raise ValueError(f"it has {counts['DepthToSpace', 0]} pixel shuffles, not one")


def _is_plain(name: str, value: bytes) -> bool:
    """Tell whether an attribute leaves an operator what it is in an FSRCNN."""
    message = parse(value)
    if name in ("strides", "dilations", "explicit_paddings"):
        steps = [each for entry in message.get(1, []) for each in parse(entry).get(3, [])]
        return all(step == 1 for each in steps for step in numbers(each))
    if name in ("padding", "data_format"):
        return message.get(2) == [b"SAME" if name == "padding" else b"NHWC"]
    return name in _HINTS or name.startswith("_")


@dataclass(frozen=True)
class _Node:
    """A node of a TensorFlow graph."""

    name: str
    operator: str
    inputs: list[str]
    attributes: dict[str, bytes]

    @classmethod
    def parse(cls, message: Message) -> _Node:
        """Take a ``NodeDef`` apart."""
        name, operator = (_text(message[number][0]) for number in (1, 2))
        entries = [parse(each) for each in message.get(5, [])]
        return cls(
            name,
            "Add" if operator == "AddV2" else operator,
            [_text(each).removesuffix(":0") for each in message.get(3, [])],
            {_text(entry[1][0]): entry[2][0] for entry in entries},
        )

    def constant(self) -> Array:
        """The values of a constant of float32, or of int32, which say axes; of other types it is empty."""
        tensor = parse(parse(self.attributes["value"])[8][0])
        if tensor.get(1) not in ([1], [3]):
            return np.zeros((0,) * 2, np.float32)
        shape = [parse(each).get(1, [0])[0] for each in parse(tensor[2][0]).get(2, [])] if 2 in tensor else []
        content = b"".join(tensor.get(4, tensor.get(5, [])))
        return np.frombuffer(content, "<f4" if tensor[1] == [1] else "<i4").reshape(shape)
