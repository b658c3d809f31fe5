"""FSRCNNs that others trained, as checkpoints of ours: the same arithmetic, with all shapes checked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from geofsrcnn._types import Array, StrPath
from geofsrcnn.errors import ConfigError, InputError, ModelError, UsageError, printable
from geofsrcnn.files.paths import local_path
from geofsrcnn.networks.card import Card
from geofsrcnn.networks.checkpoint import (
    Checkpoint,
    check_output,
    load_checkpoint,
    save_checkpoint,
    today,
    unknown_sources,
)
from geofsrcnn.networks.config import FSRCNNConfig
from geofsrcnn.networks.foreign import MAX_FILE, MAX_WEIGHTS, Foreign, read_foreign
from geofsrcnn.networks.fsrcnn import FSRCNN
from geofsrcnn.networks.inference import Network
from geofsrcnn.options import FACTORS, check_factor
from geofsrcnn.values.kernels import offsets

_LEAST = 5
"""Convolutions of an FSRCNN: feature extraction, shrinking, mapping, expanding, deconvolution."""


def convert_weights(
    weights: StrPath,
    out: StrPath,
    factor: int | None = None,
    *,
    data_range: float = 1.0,
    padding: int | None = None,
    pad_layers: bool = False,
    overwrite: bool = False,
) -> Checkpoint:
    """Convert the weights of an FSRCNN that another program trained.

    Parameters
    ----------
    weights : str or path
        A state dict of PyTorch (.pth, .pt), weights of MATLAB as the paper's authors pass them on (.mat), a Caffe model
        (.caffemodel), or a frozen TensorFlow graph as OpenCV has them (.pb).
    out : str or path
        The checkpoint, ``.safetensors``.
    factor : int, optional
        Fine cells along one side of a coarse cell, where the file does not say it.
    data_range : float
        Value of your rasters that was 1 in training: 255 for 8 bits.
    padding : int, optional
        Fine cells that the deconvolution's output is cut by on its first sides, which says where results lie. If not
        given, half of its kernel, or what puts a smooth field right.
    pad_layers : bool
        Pad every layer as its program does, so that the field's edges come out the same; such a network has to see a
        field at once. If False, edges are repeated once at the input, and large rasters are run in tiles.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Checkpoint
        As `load_checkpoint` gives it.

    Raises
    ------
    UsageError
        If an argument is wrong, or the factor is needed.
    ModelError
        If the file is missing, refused, or no FSRCNN.
    OutputError
        If the checkpoint cannot be written.
    """
    factor = None if factor is None else check_factor(factor)
    if not (np.isfinite(data_range) and data_range > 0):
        raise UsageError(f"data_range= must be a number above 0, got {data_range!r}")
    target = check_output(out, [weights], overwrite=overwrite)
    data, path = _read(weights)
    foreign = read_foreign(data, path)
    try:
        factor = _factor(foreign, factor)
        _check_layers(foreign)
        foreign.biases = [values * np.float32(data_range) for values in foreign.biases]
        model, moved = _build(foreign, factor, padding, pad_layers=pad_layers), 0
        if foreign.transposed and padding is None and (moved := measure_shift(model, data_range)):
            model = _build(foreign, factor, foreign.weights[-1].shape[2] // 2 + moved, pad_layers=pad_layers)
    except (ConfigError, ModelError) as error:
        raise ModelError(f"weights of {printable(path.name)} are none of an FSRCNN that can be run: {error}") from None
    facts = {"converted_from": path.name, "sha256": hashlib.sha256(data).hexdigest(), "data_range": data_range}
    if moved:
        facts["moved"] = moved
    save_checkpoint(target, model, _card(foreign, model.config, facts), overwrite=overwrite)
    return load_checkpoint(target)


def _read(weights: StrPath) -> tuple[bytes, Path]:
    """The bytes of a file that is small enough."""
    try:
        path = local_path(weights)
        if path.is_file() and path.stat().st_size <= MAX_FILE:
            return path.read_bytes(), path
    except InputError as error:
        raise ModelError(str(error)) from None
    except OSError as error:
        raise ModelError(f"cannot read {printable(path)} ({error.strerror})") from None
    why = f"larger than {MAX_FILE // 2**20} MiB" if path.is_file() else "no file"
    raise ModelError(f"not weights of an FSRCNN: {printable(path)} is {why}")


def _factor(foreign: Foreign, factor: int | None) -> int:
    """The factor, from the file or the user."""
    if foreign.factor is not None and foreign.factor not in FACTORS:
        stated = printable(str(foreign.factor))[:20]
        raise ModelError(f"they are for factor {stated}, not a whole number from {FACTORS[0]} to {FACTORS[-1]}")
    if foreign.factor is not None and factor not in (None, foreign.factor):
        raise ModelError(f"they are for factor {foreign.factor}, not {factor}")
    if factor is None and foreign.factor is None:
        raise UsageError("the weights do not say for which factor they are: give factor=")
    return factor or foreign.factor or 0


def _check_layers(foreign: Foreign) -> None:
    """Refuse layers that could not be an FSRCNN's, before anything is computed of them."""
    if len(foreign.weights) < _LEAST:
        raise ModelError(f"there are {len(foreign.weights)} convolutions, not {_LEAST} or more")
    channels = foreign.weights[0].shape[1]
    if foreign.biases and foreign.biases[-1].size != channels:
        raise ModelError(f"the last layer has {foreign.biases[-1].size} biases, not one for each of {channels} bands")


def _build(foreign: Foreign, factor: int, padding: int | None, *, pad_layers: bool) -> FSRCNN:
    """Build our network of the same arithmetic."""
    first, shrink, *mapping, _, last = foreign.weights
    if foreign.transposed:
        last = to_subpixel(last, factor, padding)
    config = FSRCNNConfig(
        factor=factor,
        channels=first.shape[1],
        d=first.shape[0],
        s=shrink.shape[0],
        m=len(mapping),
        feature_kernel=first.shape[-1],
        mapping_kernel=mapping[0].shape[-1],
        deconvolution_taps=last.shape[-1],
        bias=bool(foreign.biases),
        prelu="layer" if all(slopes.size == 1 for slopes in foreign.slopes) else "channel",
        mapping_prelu="each" if len(foreign.slopes) == len(mapping) + 3 else "last",
        unit_free=False,
        skip="none",
        conserving="none",
        padding="zeros" if pad_layers and foreign.padding == "zeros" else "replicate",
        pad_layers=pad_layers,
    )
    biases = [*foreign.biases[:-1], *(values.repeat(factor**2) for values in foreign.biases[-1:])]
    return _fill(config, [*foreign.weights[:-1], last], biases, foreign.slopes)


def _fill(config: FSRCNNConfig, weights: list[Array], biases: list[Array], slopes: list[Array]) -> FSRCNN:
    """Put weights into a network, if all of them fit."""
    model = FSRCNN(config)
    layers = [model.feature, model.shrink, *model.mapping, model.expand, model.deconvolution]
    activations = [model.feature_prelu, model.shrink_prelu, *model.mapping_prelu, model.expand_prelu]
    places = [
        *((layer.weight, "weights") for layer in layers),
        *((layer.bias, "biases") for layer in layers if config.bias),
        *((activation.weight, "slopes") for activation in activations),
    ]
    given = [*weights, *biases, *slopes]
    if len(places) != len(given):
        counts = f"{len(weights)} convolutions, {len(biases)} biases and {len(slopes)} PReLUs"
        raise ModelError(f"{counts} do not fit together")
    for (place, what), values in zip(places, given, strict=True):
        if tuple(place.shape) != values.shape:
            raise ModelError(f"{what} of shape {values.shape} stand where {tuple(place.shape)} are needed")
        place.data = torch.tensor(values)
    return model.eval().requires_grad_(False)


def to_subpixel(weight: Array, factor: int, padding: int | None = None) -> Array:
    """Rewrite a transposed convolution as a convolution before a pixel shuffle, cell by cell the same.

    Parameters
    ----------
    weight : ndarray (d, c, k, k)
        Of a transposed convolution with this stride, whose output has `factor` cells a coarse one
        (``output_padding=factor - 1`` with the padding that is usual).
    factor : int
        The stride.
    padding : int, optional
        Cells that its output is cut by on the first sides; ``k // 2`` if not given.

    Returns
    -------
    ndarray (c * factor * factor, d, t, t)
        t is odd, and as large as needed: of a kernel of 9 with padding 4 it is 5 at x2 and x3, and 3 at x4.

    Raises
    ------
    ModelError
        If the kernel is not square, or far larger than an FSRCNN's.
    UsageError
        If the padding is not less than the kernel.

    Notes
    -----
    Fine cell ``f i + p`` has of coarse cell ``i + j`` the share of the kernel's element ``p + padding - f j``.
    """
    d, c, k, width = weight.shape
    if k != width:
        raise ModelError(f"the kernel of the deconvolution is {k} x {width}, not square")
    cut = k // 2 if padding is None else padding
    if not 0 <= cut < k:
        raise UsageError(f"padding= must be from 0 to {k - 1}, less than the deconvolution's kernel, got {cut}")
    radius = max((factor - 1 + cut) // factor, (k - 1 - cut) // factor)
    taps = 2 * radius + 1
    if d * c * (factor * taps) ** 2 > MAX_WEIGHTS:
        raise ModelError(f"the deconvolution of shape {weight.shape} would take more than {MAX_WEIGHTS} weights")
    element = np.arange(factor)[:, None] + cut - factor * (np.arange(taps) - radius)
    known = (element >= 0) & (element < k)
    element = element.clip(0, k - 1)
    found = weight[:, :, element[:, :, None, None], element[None, None]] * (known[:, :, None, None] & known)
    result: Array = found.transpose(1, 2, 4, 0, 3, 5).reshape(c * factor**2, d, taps, taps)
    return result


def measure_shift(model: FSRCNN, data_range: float) -> int:
    """Measure by how many whole fine cells a smooth hill comes out too far from the field's first corner.

    Programs train with several conventions of where the deconvolution's output lies, which its weights do not tell.

    Parameters
    ----------
    model : FSRCNN
        As it would be run.
    data_range : float
        Value that was 1 in training.

    Returns
    -------
    int
        Below 0 if it lies too near; 0 if what comes out is no hill, so that nothing can be said.
    """
    f, cells, wide = model.config.factor, 48, 6.0
    middle = (cells - 1) / 2

    def hill(places: Array) -> Array:
        line = np.exp(-((places - middle) ** 2) / (2 * wide**2))
        return data_range * (0.25 + 0.5 * line[:, None] * line)

    coarse = np.broadcast_to(hill(np.arange(cells)), (model.config.channels, cells, cells))
    x = F.pad(torch.tensor(coarse[None], dtype=torch.float32), [model.halo] * 4, mode="replicate")
    found = Network(model)(x)[0].mean(0).numpy()
    true = hill(np.array([i + each for i in range(cells) for each in offsets(f)]))
    inside = np.s_[8 * f : -8 * f, 8 * f : -8 * f]
    slopes = [slope[inside].ravel() for slope in np.gradient(true)]
    terms = np.stack([true[inside].ravel(), np.ones_like(slopes[0]), *slopes], axis=1)
    solution, *_ = np.linalg.lstsq(terms, found[inside].ravel(), rcond=None)
    misfit = np.std(found[inside].ravel() - terms @ solution) / np.std(terms[:, 0])
    down, right = -solution[2:] / solution[0] if solution[0] > 0.5 else (0.0, 0.0)
    return round(float(down)) if misfit < 0.1 and round(float(down)) == round(float(right)) else 0


def _card(foreign: Foreign, config: FSRCNNConfig, facts: dict[str, Any]) -> Card:
    """Say where the network comes from, and what values it takes."""
    most = facts["data_range"]
    return Card(
        name=Path(facts["converted_from"]).stem,
        summary=f"FSRCNN x{config.factor} of another program, converted from {foreign.layout}",
        data=unknown_sources([facts["converted_from"]]),
        training=facts,
        limits=f"takes values of 0 to {most:g}, as it was trained on; not free of units, block means are not kept",
        created=today(),
    )
