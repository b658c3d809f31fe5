"""A network as an ONNX graph, which does what `geofsrcnn.networks.fsrcnn.run_layers` does, operator by operator.

The graph repeats the field's edges itself: whole fields go in and come out. But for the layers bands are apart: a field
``(n, c, y, x)`` is ``(n * c, 1, y, x)`` there, and its blocks of fine cells are ``(n * c, f * f, y, x)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from geofsrcnn.networks.config import NUMPY_PADDING, FSRCNNConfig
from geofsrcnn.networks.fsrcnn import Layer, Weights
from geofsrcnn.networks.roughness import FLOOR

OPSET = 17

IR_VERSION = 8
"""Version of the file's format, the one that came with the opset: older programs refuse newer ones."""

INPUT, OUTPUT = "coarse", "fine"

_TINY = float(np.finfo(np.float32).tiny)

Axis = Literal[2, 3]


def build_graph(config: FSRCNNConfig, weights: Weights[Layer], size: tuple[int, int] | None = None) -> onnx.GraphProto:
    """Build the graph of a network.

    Parameters
    ----------
    config : FSRCNNConfig
        Of a network whose bands in are those out.
    weights : Weights
        As `FSRCNN.weights` gives them.
    size : tuple of int, optional
        Coarse cells ``(y, x)`` of the single field that the graph takes; fields of any number and size if not given.

    Returns
    -------
    GraphProto
        From ``coarse`` (n, channels, y, x) to ``fine`` (n, channels, factor * y, factor * x), both float32.
    """
    graph, c, f = Graph(), config.channels, config.factor
    _add_network(graph, config, weights)
    shapes: dict[str, list[str | int]] = {INPUT: ["n", c, "y", "x"], OUTPUT: ["n", c, f"{f}*y", f"{f}*x"]}
    if size is not None:
        shapes = {INPUT: [1, c, *size], OUTPUT: [1, c, *(f * cells for cells in size)]}
    coarse, fine = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    return helper.make_graph(graph.nodes, "FSRCNN", [coarse], [fine], graph.constants)


@dataclass
class Graph:
    """Nodes and constants in order; each method adds what it is named for, and returns the name of its output."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """A node with one output."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def weight(self, values: Tensor) -> str:
        """A constant of float32."""
        return self.constant(values.detach().cpu().numpy())

    def integers(self, *values: int) -> str:
        """A constant that says places or shapes."""
        return self.constant(values, np.int64)

    def pad(self, x: str, cells: int, mode: str) -> str:
        """Cells on each side, as many as are said."""
        return self.add("Pad", x, self.integers(*([0, 0, cells, cells] * 2)), mode=mode) if cells else x

    def cut(self, x: str, cells: int) -> str:
        """The field without so many cells on each side."""
        if not cells:
            return x
        return self.add("Slice", x, *(self.integers(each, each) for each in (cells, -cells)), self.integers(2, 3))

    def difference(self, x: str, axis: Axis) -> str:
        """Each cell's difference to the next one along an axis, one less than there are cells."""
        after, before = (
            self.add("Slice", x, self.integers(start), self.integers(end), self.integers(axis))
            for start, end in ((1, np.iinfo(np.int64).max), (0, -1))
        )
        return self.add("Sub", after, before)

    def regroup(self, x: str, channels: int) -> str:
        """The same values with so many channels a field, and as many fields as that makes."""
        return self.add("Reshape", x, self.integers(-1, channels, 0, 0))

    def layer(self, x: str, layer: Layer) -> str:
        """A convolution and its activation."""
        weights = [self.weight(values) for values in (layer.weight, layer.bias) if values is not None]
        x = self.add("Conv", x, *weights, group=layer.groups)
        if layer.slopes is None:
            return x
        if layer.slopes.numel() == 1:  # programs fuse it with the convolution
            return self.add("LeakyRelu", x, alpha=float(layer.slopes))
        return self.add("PRelu", x, self.weight(layer.slopes.reshape(-1, 1, 1)))

    def mean(self, x: str) -> str:
        """Means of blocks."""
        return self.add("ReduceMean", x, axes=[1])

    def clip(self, x: str, low: str, high: str | None) -> str:
        """Values within bounds; None: there is no upper one."""
        x = self.add("Max", x, low)
        return x if high is None else self.add("Min", x, high)


def _add_network(g: Graph, config: FSRCNNConfig, weights: Weights[Layer]) -> None:
    several = config.channels > 1
    x = g.pad(INPUT, config.halo, NUMPY_PADDING[config.padding])
    bands = g.regroup(x, 1) if several else x
    local = _differences(g, bands) if config.unit_free or weights.skip is not None else ""
    hidden = local if config.unit_free else x
    if config.unit_free and several:
        hidden = g.regroup(local, 2 * config.channels)
    units = _roughness(g, config, bands) if config.joint else None
    blocks = _hourglass(g, config, hidden, weights.layers, units)
    if weights.skip is not None:
        blocks = g.add("Add", blocks, g.layer(g.cut(local, config.halo - config.skip_halo), weights.skip))
    blocks = _assemble(g, config, bands, blocks)
    shuffle = partial(g.add, "DepthToSpace", blocks, blocksize=config.factor, mode="CRD")
    if several:
        g.add("Reshape", shuffle(), g.integers(-1, config.channels, 0, 0), output=OUTPUT)
    else:
        shuffle(output=OUTPUT)


def _differences(g: Graph, bands: str) -> str:
    """Differences to the right and the lower neighbour, 0 in the last column and row: two channels."""
    right = g.add("Pad", g.difference(bands, 3), g.integers(0, 0, 0, 0, 0, 0, 0, 1))
    lower = g.add("Pad", g.difference(bands, 2), g.integers(0, 0, 0, 0, 0, 0, 1, 0))
    return g.add("Concat", right, lower, axis=1)


def _hourglass(
    g: Graph, config: FSRCNNConfig, hidden: str, layers: Sequence[Layer], units: tuple[str, str] | None
) -> str:
    """The network's residual of each block."""
    c = config.channels
    hidden = g.cut(hidden, config.halo - config.network_halo)
    if units is not None:
        hidden = g.cut(hidden, config.roughness_radius - layers[0].radius)
    for number, layer in enumerate(layers):
        if config.pad_layers:
            hidden = g.pad(hidden, layer.radius, NUMPY_PADDING[config.padding])
        hidden = g.layer(hidden, layer)
        if units is not None and number == 0:
            hidden = g.regroup(g.add("Div", g.regroup(hidden, config.d // c), units[1]), config.d)
    blocks = g.regroup(hidden, config.factor**2) if c > 1 else hidden
    if units is not None:
        blocks = g.add("Mul", blocks, g.cut(units[0], config.network_halo - config.roughness_radius))
    return blocks


def _roughness(g: Graph, config: FSRCNNConfig, bands: str) -> tuple[str, str]:
    """The roughness of each band, and a divisor beside it that is never 0 (`geofsrcnn.networks.roughness`)."""
    cells = 2 * config.roughness_radius + 1

    def mean(difference: str, rows: int, columns: int) -> str:
        window = [cells - rows, cells - columns]
        return g.add("AveragePool", g.add("Abs", difference), kernel_shape=window)

    def average(*parts: str) -> str:
        return g.add("Mul", reduce(partial(g.add, "Add"), parts), g.constant(1 / len(parts)))

    bands = g.cut(bands, config.halo - config.network_halo)
    along_y, along_x = g.difference(bands, 2), g.difference(bands, 3)
    slope = average(mean(along_y, 1, 0), mean(along_x, 0, 1))
    rough = average(
        mean(g.difference(along_y, 2), 2, 0), mean(g.difference(along_x, 3), 0, 2), mean(g.difference(along_x, 2), 1, 1)
    )
    divisor = g.add("Add", rough, g.add("Mul", slope, g.constant(FLOOR)))
    return rough, g.add("Max", divisor, g.constant(_TINY))


def _assemble(g: Graph, config: FSRCNNConfig, bands: str, blocks: str) -> str:
    """Coarse values plus residuals, conserved and limited, as `geofsrcnn.networks.fsrcnn.assemble` has them."""
    core = g.cut(bands, config.halo)
    conserving, positive = config.conserving != "none", config.conserving == "positive"
    absolute = config.skip == "none" and not conserving
    bounds = None
    if config.overshoot is not None:
        around = g.cut(bands, config.halo - 1) if config.halo else g.pad(bands, 1, "edge")
        bounds = _neighbour_bounds(g, around, core, config.overshoot)
    if bounds is not None and (absolute or positive):
        low, high = (g.add("Add", core, bound) for bound in bounds)
        bounds = (low, high)
    if conserving:
        blocks = g.add("Sub", blocks, g.mean(blocks))
    if bounds is not None and not positive:
        blocks = _conserve(g, blocks, g.constant(0), *bounds) if conserving else g.clip(blocks, *bounds)
    if not absolute:
        blocks = g.add("Add", blocks, core)
    if positive:
        zero = g.constant(0)
        blocks = _conserve(g, blocks, core, zero, None)
        if bounds is not None:
            blocks = _conserve(g, blocks, core, *(g.add("Max", bound, zero) for bound in bounds))
    return blocks


def _neighbour_bounds(g: Graph, around: str, core: str, overshoot: float) -> tuple[str, str]:
    """Bounds by the 3 x 3 coarse cells around, as differences from the coarse cell."""
    highest = g.add("MaxPool", around, kernel_shape=[3, 3])
    lowest = g.add("Neg", g.add("MaxPool", g.add("Neg", around), kernel_shape=[3, 3]))
    spare = g.add("Mul", g.add("Sub", highest, lowest), g.constant(overshoot))
    low = g.add("Sub", g.add("Sub", lowest, core), spare)
    return low, g.add("Add", g.add("Sub", highest, core), spare)


def _conserve(g: Graph, blocks: str, coarse: str, low: str, high: str | None) -> str:
    """Clip blocks and restore their means, as `geofsrcnn.networks.limits.conserve` does."""

    def shares(room: str) -> str:  # where there is no room, none is needed
        return g.add("Div", room, g.add("Max", g.mean(room), g.constant(_TINY)))

    clipped, target = g.clip(blocks, low, high), g.clip(coarse, low, high)
    missing = g.mean(g.add("Sub", target, clipped))
    zero = g.constant(0)
    up, down = g.add("Max", missing, zero), g.add("Min", missing, zero)  # one of them is 0
    if high is not None:
        up = g.add("Mul", up, shares(g.add("Sub", high, clipped)))
    down = g.add("Mul", down, shares(g.add("Sub", clipped, low)))
    kept = g.clip(g.add("Add", clipped, g.add("Add", up, down)), low, high)
    settled = g.add("LessOrEqual", coarse, low)
    if high is not None:
        settled = g.add("Or", settled, g.add("GreaterOrEqual", coarse, high))
    return g.add("Where", settled, target, kept)
