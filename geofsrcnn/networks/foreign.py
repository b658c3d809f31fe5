"""Weights of FSRCNNs that others trained, read from the layouts that they are passed around in.

Files are untrusted, and small: their size is bounded, nothing in them is executed, and what is no weight of an FSRCNN
is refused. A layer is told by the shape of its weights and its place in the file, not by its name, of which there are
as many as programs.
"""

from __future__ import annotations

import io
import math
import zipfile
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
        """Add the values of a layer by their shape."""
        values = np.asarray(values, np.float32)
        if values.ndim == 4:
            self.weights.append(values)
        elif is_bias:
            self.biases.append(values.reshape(-1))
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
    found.weights = [_matlab_kernel(each) for each in _layers(values, "weights_")]
    found.biases = [np.float32(each).reshape(-1) for each in _layers(values, "biases_")]
    found.slopes = [np.float32(each).reshape(-1) for each in _layers(values, "prelu") if np.size(each)]
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


def _read_caffe(data: bytes) -> Foreign:
    """Read a Caffe ``NetParameter``: layers in order, with their type, blobs and the deconvolution's stride."""
    found = Foreign("a Caffe model")
    for layer in parse(data).get(100, []):
        message = parse(layer)
        kind = bytes(message.get(2, [b""])[0]).decode()
        blobs = [_blob(parse(each)) for each in message.get(7, [])]
        if kind in ("Convolution", "Deconvolution", "PReLU"):
            for number, values in enumerate(blobs):
                found.add(values, is_bias=number == 1)
        elif blobs:
            raise ValueError(f"layer of type {kind} is none of an FSRCNN")
        if kind == "Deconvolution" and 106 in message:
            strides = parse(message[106][0]).get(6, [])
            found.factor = next((each for value in strides for each in numbers(value)), None)
    return found


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
    found = Foreign("a TensorFlow graph", transposed=False)
    nodes = [_Node.parse(parse(each)) for each in parse(data).get(1, [])]
    constants = {node.name: node.constant() for node in nodes if node.operator == "Const"}
    halves = 0
    for node in nodes:
        given = [constants[name] for name in node.inputs if name in constants]
        if node.operator == "Conv2D":
            found.add(given[0].transpose(3, 2, 0, 1))
        elif node.operator in ("Add", "AddV2", "BiasAdd"):
            for values in given:
                found.add(values, is_bias=True)
        elif node.operator == "Mul":  # a PReLU: max(x, 0) + slope * (x - |x|) * 0.5
            for values in given:
                halves += int(values.ndim == 0 and float(values) == 0.5)
                if values.ndim:
                    found.add(values)
        elif node.operator == "DepthToSpace":
            found.factor = parse(node.attributes["block_size"]).get(3, [None])[0]
        elif node.operator == "Conv2DBackpropInput":
            raise ValueError(
                "its deconvolution is a transposed convolution, of which TensorFlow has a layout of its own"
            )
    if halves != len(found.slopes):
        raise ValueError("its activations are not written as a PReLU's")
    return found


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
        name, operator = (bytes(message[number][0]).decode() for number in (1, 2))
        entries = [parse(each) for each in message.get(5, [])]
        return cls(
            name,
            operator,
            [bytes(each).decode() for each in message.get(3, [])],
            {bytes(entry[1][0]).decode(): entry[2][0] for entry in entries},
        )

    def constant(self) -> Array:
        """The values of a constant; whole numbers, which say axes, are empty."""
        tensor = parse(parse(self.attributes["value"])[8][0])
        if tensor.get(1) != [1]:
            return np.zeros((0,) * 2, np.float32)
        shape = [parse(each).get(1, [0])[0] for each in parse(tensor[2][0]).get(2, [])] if 2 in tensor else []
        content = b"".join(tensor.get(4, tensor.get(5, [])))
        return np.frombuffer(content, "<f4").reshape(shape)
